(** Theorem F, composed: how the rounding errors of a transformer's layers reach its logits. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Flocq Require Import Core.
From Formal Require Import Sums Relu TheoremF.
Import ListNotations.
Open Scope R_scope.

(** ** Formats: operands rounded (u_in), sums within γ, the result rounded (u_out): binary32, TF32 and bfloat16 are instances
    (0, γ, 0), (2^-10, γ, 0), (2^-8, γ, 2^-8). A bias is a term b·1. *)
Section Formats.
Variables (u_in γ u_out λ λ' : R).
Hypothesis u_in_pos : 0 <= u_in.
Hypothesis γ_pos : 0 <= γ.
Hypothesis u_out_pos : 0 <= u_out.
Hypothesis λ_pos : 0 <= λ.

Definition product_error : R := (1 + u_in) ^ 2 * (1 + γ) * (1 + u_out) - 1.

Theorem formats {I : Type} (l : list I) (x y x' y' : I -> R) (s r : R) :
  (forall i, In i l -> Rabs (x' i - x i) <= u_in * Rabs (x i)) -> (forall i, In i l -> Rabs (y' i - y i) <= u_in * Rabs (y i)) ->
  Rabs (s - Σ i ∈ l, x' i * y' i) <= γ * (Σ i ∈ l, Rabs (x' i * y' i)) + λ -> Rabs (r - s) <= u_out * Rabs s + λ' ->
  Rabs (r - Σ i ∈ l, x i * y i) <= product_error * (Σ i ∈ l, Rabs (x i * y i)) + ((1 + u_out) * λ + λ').
Proof.
  intros Hx Hy Hs Hr; set (P := Σ i ∈ l, Rabs (x i * y i)).
  assert (HP : 0 <= P) by (apply sum_nonneg; intros; apply Rabs_pos).
  assert (H1 : (Σ i ∈ l, Rabs (x' i * y' i)) <= (1 + u_in) ^ 2 * P).
  { unfold P; rewrite <- sum_mul_l; apply sum_le; intros i Hi; specialize (Hx i Hi); specialize (Hy i Hi); rewrite !Rabs_mult.
    assert (A : Rabs (x' i) <= (1 + u_in) * Rabs (x i)) by (replace (x' i) with (x i + (x' i - x i)) by ring; eapply Rle_trans; [apply Rabs_triang|lra]).
    assert (B : Rabs (y' i) <= (1 + u_in) * Rabs (y i)) by (replace (y' i) with (y i + (y' i - y i)) by ring; eapply Rle_trans; [apply Rabs_triang|lra]).
    replace ((1 + u_in) ^ 2 * (Rabs (x i) * Rabs (y i))) with ((1 + u_in) * Rabs (x i) * ((1 + u_in) * Rabs (y i))) by ring.
    apply Rmult_le_compat; try apply Rabs_pos; assumption. }
  assert (H2 : Rabs ((Σ i ∈ l, x' i * y' i) - Σ i ∈ l, x i * y i) <= ((1 + u_in) ^ 2 - 1) * P).
  { unfold P; rewrite <- sum_minus, <- sum_mul_l; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi; specialize (Hx i Hi); specialize (Hy i Hi).
    replace (x' i * y' i - x i * y i) with ((x' i - x i) * y i + x i * (y' i - y i) + (x' i - x i) * (y' i - y i)) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang|]; rewrite !Rabs_mult.
    pose proof (Rabs_pos (x i)) as X0; pose proof (Rabs_pos (y i)) as Y0.
    assert (Rabs (x' i - x i) * Rabs (y i) <= u_in * Rabs (x i) * Rabs (y i)) by (apply Rmult_le_compat_r; assumption).
    assert (Rabs (x i) * Rabs (y' i - y i) <= Rabs (x i) * (u_in * Rabs (y i))) by (apply Rmult_le_compat_l; assumption).
    assert (Rabs (x' i - x i) * Rabs (y' i - y i) <= u_in * Rabs (x i) * (u_in * Rabs (y i))) by (apply Rmult_le_compat; try apply Rabs_pos; assumption).
    lra. }
  assert (E1 : Rabs (s - Σ i ∈ l, x i * y i) <= ((1 + u_in) ^ 2 * (1 + γ) - 1) * P + λ).
  { replace (s - Σ i ∈ l, x i * y i) with ((s - Σ i ∈ l, x' i * y' i) + ((Σ i ∈ l, x' i * y' i) - Σ i ∈ l, x i * y i)) by ring.
    eapply Rle_trans; [apply Rabs_triang|].
    assert (γ * (Σ i ∈ l, Rabs (x' i * y' i)) <= γ * ((1 + u_in) ^ 2 * P)) by (apply Rmult_le_compat_l; assumption); lra. }
  assert (E2 : Rabs s <= (1 + u_in) ^ 2 * (1 + γ) * P + λ).
  { replace s with ((s - Σ i ∈ l, x i * y i) + Σ i ∈ l, x i * y i) by ring; eapply Rle_trans; [apply Rabs_triang|].
    assert (Rabs (Σ i ∈ l, x i * y i) <= P) by apply sum_abs; lra. }
  replace (r - Σ i ∈ l, x i * y i) with ((r - s) + (s - Σ i ∈ l, x i * y i)) by ring.
  eapply Rle_trans; [apply Rabs_triang|]; unfold product_error.
  assert (u_out * Rabs s <= u_out * ((1 + u_in) ^ 2 * (1 + γ) * P + λ)) by (apply Rmult_le_compat_l; assumption); lra.
Qed.
End Formats.

(** ** One step after another. A dot product of this arithmetic errs by at most ε·Σ|x||y| + λ, an addition by a·|x + y| + λ. *)
Definition dots (ε λ : R) {I : Type} (l : list I) (f : I -> R) (b computed : R) : Prop :=
  Rabs (computed - ((Σ i ∈ l, f i) + b)) <= ε * ((Σ i ∈ l, Rabs (f i)) + Rabs b) + λ.
Definition adds (a λ x y computed : R) : Prop := Rabs (computed - (x + y)) <= a * Rabs (x + y) + λ.
(** What is known of a coordinate: the size of the exact value, and the distance of the computed one. *)
Definition signal (x x' X E : R) : Prop := Rabs x <= X /\ Rabs (x' - x) <= E.

Lemma signal_computed x x' X E : signal x x' X E -> Rabs x' <= X + E.
Proof. intros [H1 H2]; replace x' with (x + (x' - x)) by ring; eapply Rle_trans; [apply Rabs_triang|lra]. Qed.

(** An affine layer (`floating_point._affine`): E_y = |W|ᵀE_x + ε(|W|ᵀ(X + E_x) + |b|) + λ. *)
Theorem affine_rounding {I : Type} (l : list I) (x x' X E W : I -> R) b y' ε λ : 0 <= ε ->
  (forall i, In i l -> signal (x i) (x' i) (X i) (E i)) -> dots ε λ l (fun i => x' i * W i) b y' ->
  signal ((Σ i ∈ l, x i * W i) + b) y' ((Σ i ∈ l, Rabs (W i) * X i) + Rabs b)
    ((Σ i ∈ l, Rabs (W i) * E i) + ε * ((Σ i ∈ l, Rabs (W i) * (X i + E i)) + Rabs b) + λ).
Proof.
  intros Hε Hx Hd; split.
  - eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat_r; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi.
    rewrite Rabs_mult, Rmult_comm; apply Rmult_le_compat_l; [apply Rabs_pos|apply Hx, Hi].
  - replace (y' - ((Σ i ∈ l, x i * W i) + b)) with ((Σ i ∈ l, W i * (x' i - x i)) + (y' - ((Σ i ∈ l, x' i * W i) + b))).
    2: { rewrite (sum_ext l (fun i => W i * (x' i - x i)) (fun i => x' i * W i - x i * W i)) by (intros; ring); rewrite sum_minus; ring. }
    eapply Rle_trans; [apply Rabs_triang|].
    assert (A1 : Rabs (Σ i ∈ l, W i * (x' i - x i)) <= Σ i ∈ l, Rabs (W i) * E i).
    { eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi; rewrite Rabs_mult; apply Rmult_le_compat_l; [apply Rabs_pos|apply Hx, Hi]. }
    assert (A2 : (Σ i ∈ l, Rabs (x' i * W i)) <= Σ i ∈ l, Rabs (W i) * (X i + E i)).
    { apply sum_le; intros i Hi; rewrite Rabs_mult, Rmult_comm; apply Rmult_le_compat_l; [apply Rabs_pos|apply (signal_computed (x i)), Hx, Hi]. }
    unfold dots in Hd.
    assert (ε * ((Σ i ∈ l, Rabs (x' i * W i)) + Rabs b) <= ε * ((Σ i ∈ l, Rabs (W i) * (X i + E i)) + Rabs b)) by (apply Rmult_le_compat_l; lra).
    lra.
Qed.

(** An addition (`floating_point._added`). *)
Theorem added_rounding x x' X E y y' Y F s a λ Z : 0 <= a -> signal x x' X E -> signal y y' Y F -> adds a λ x' y' s -> Rabs (x + y) <= Z ->
  signal (x + y) s Z (E + F + a * (Z + (E + F)) + λ).
Proof.
  intros Ha [Hx1 Hx2] [Hy1 Hy2] Hs HZ; split; [exact HZ|]; unfold adds in Hs.
  replace (s - (x + y)) with ((s - (x' + y')) + ((x' - x) + (y' - y))) by ring.
  assert (H1 : Rabs ((x' - x) + (y' - y)) <= E + F) by (eapply Rle_trans; [apply Rabs_triang|lra]).
  assert (H2 : Rabs (x' + y') <= Z + (E + F)).
  { replace (x' + y') with ((x + y) + ((x' - x) + (y' - y))) by ring; eapply Rle_trans; [apply Rabs_triang|lra]. }
  assert (a * Rabs (x' + y') <= a * (Z + (E + F))) by (apply Rmult_le_compat_l; assumption).
  eapply Rle_trans; [apply Rabs_triang|]; lra.
Qed.

(** ReLU is exact and 1-Lipschitz. *)
Theorem relu_rounding x x' X E H : signal x x' X E -> ReLU x <= H -> signal (ReLU x) (ReLU x') H E.
Proof.
  intros [_ H2] HH; split; [rewrite Rabs_pos_eq by apply pos_nonneg; exact HH|].
  eapply Rle_trans; [apply pos_lipschitz|exact H2].
Qed.

(** The MLP and the output (`floating_point._transformer`, its last lines). The error of the hidden layer reaches the logits
    through |W_out·W_U|ᵀ at once, since the exact map of an error is linear; the spread σ = |W_out|ᵀE of it counts again only in
    the roundings that follow. *)
Section MLP.
Context {I J : Type}.
Variables (n : list I) (d : list J) (h h' H E : I -> R) (before before' B EB : J -> R).
Variables (W_out : I -> J -> R) (b_out out' after' : J -> R) (W_U : J -> R) (b_U logit' : R) (ε_n ε_d a λ : R).
Hypothesis ε_n_pos : 0 <= ε_n.
Hypothesis ε_d_pos : 0 <= ε_d.
Hypothesis a_pos : 0 <= a.
Hypothesis hidden : forall i, In i n -> signal (h i) (h' i) (H i) (E i).
Hypothesis stream : forall j, In j d -> signal (before j) (before' j) (B j) (EB j).
Hypothesis out_computed : forall j, In j d -> dots ε_n λ n (fun i => h' i * W_out i j) (b_out j) (out' j).
Hypothesis after_computed : forall j, In j d -> adds a λ (before' j) (out' j) (after' j).
Hypothesis logit_computed : dots ε_d λ d (fun j => after' j * W_U j) b_U logit'.

Definition exact_logit : R := (Σ j ∈ d, (before j + ((Σ i ∈ n, h i * W_out i j) + b_out j)) * W_U j) + b_U.
(** The size of what the MLP writes, the spread, the rounding of W_out, and the error after the addition but for the spread. *)
Definition O_ (j : J) : R := (Σ i ∈ n, Rabs (W_out i j) * H i) + Rabs (b_out j).
Definition σ_ (j : J) : R := Σ i ∈ n, Rabs (W_out i j) * E i.
Definition R_out (j : J) : R := ε_n * O_ j + λ + σ_ j * ε_n.
Definition EA (j : J) : R := EB j + R_out j + a * (B j + O_ j + (EB j + R_out j)) + λ.
Definition direct : R := (Σ j ∈ d, Rabs (W_U j) * EA j) + ε_d * ((Σ j ∈ d, Rabs (W_U j) * (B j + O_ j + EA j)) + Rabs b_U) + λ.
Definition carried : R := (Σ i ∈ n, Rabs (Σ j ∈ d, W_out i j * W_U j) * E i) + (Σ j ∈ d, Rabs (W_U j) * σ_ j) * ((1 + ε_d) * (1 + a) - 1).

Theorem mlp_rounding : Rabs (logit' - exact_logit) <= direct + carried.
Proof.
  set (s := fun j => Σ i ∈ n, (h' i - h i) * W_out i j).
  set (out := fun j => (Σ i ∈ n, h i * W_out i j) + b_out j).
  assert (Hs : forall j, Rabs (s j) <= σ_ j).
  { intros j; unfold s, σ_; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi; rewrite Rabs_mult, Rmult_comm.
    apply Rmult_le_compat_l; [apply Rabs_pos|apply hidden, Hi]. }
  assert (HO : forall j, Rabs (out j) <= O_ j).
  { intros j; unfold out, O_; eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat_r; eapply Rle_trans; [apply sum_abs|].
    apply sum_le; intros i Hi; rewrite Rabs_mult, Rmult_comm; apply Rmult_le_compat_l; [apply Rabs_pos|apply hidden, Hi]. }
  assert (Hout : forall j, In j d -> Rabs (out' j - out j - s j) <= R_out j).
  { intros j Hj; specialize (out_computed j Hj); unfold dots in out_computed.
    replace (out' j - out j - s j) with (out' j - ((Σ i ∈ n, h' i * W_out i j) + b_out j)).
    2: { unfold out, s; rewrite (sum_ext n (fun i => (h' i - h i) * W_out i j) (fun i => h' i * W_out i j - h i * W_out i j)) by (intros; ring); rewrite sum_minus; ring. }
    assert (A : (Σ i ∈ n, Rabs (h' i * W_out i j)) + Rabs (b_out j) <= O_ j + σ_ j).
    { unfold O_, σ_; enough ((Σ i ∈ n, Rabs (h' i * W_out i j)) <= (Σ i ∈ n, Rabs (W_out i j) * H i) + Σ i ∈ n, Rabs (W_out i j) * E i) by lra.
      rewrite <- sum_plus; apply sum_le; intros i Hi; rewrite Rabs_mult, Rmult_comm, <- Rmult_plus_distr_l.
      apply Rmult_le_compat_l; [apply Rabs_pos|apply (signal_computed (h i)), hidden, Hi]. }
    unfold R_out; assert (ε_n * ((Σ i ∈ n, Rabs (h' i * W_out i j)) + Rabs (b_out j)) <= ε_n * (O_ j + σ_ j)) by (apply Rmult_le_compat_l; assumption); lra. }
  assert (Hafter : forall j, In j d -> Rabs (after' j - (before j + out j) - s j) <= EA j + a * σ_ j).
  { intros j Hj; specialize (after_computed j Hj); unfold adds in after_computed; destruct (stream j Hj) as [S1 S2].
    specialize (Hout j Hj); specialize (Hs j); specialize (HO j).
    assert (C : Rabs (before' j + out' j) <= B j + O_ j + (EB j + R_out j) + σ_ j).
    { replace (before' j + out' j) with (before j + out j + (before' j - before j) + (out' j - out j - s j) + s j) by ring.
      pose proof (Rabs_triang (before j + out j + (before' j - before j) + (out' j - out j - s j)) (s j)).
      pose proof (Rabs_triang (before j + out j + (before' j - before j)) (out' j - out j - s j)).
      pose proof (Rabs_triang (before j + out j) (before' j - before j)); pose proof (Rabs_triang (before j) (out j)); lra. }
    replace (after' j - (before j + out j) - s j) with ((after' j - (before' j + out' j)) + (before' j - before j) + (out' j - out j - s j)) by ring.
    pose proof (Rabs_triang (after' j - (before' j + out' j) + (before' j - before j)) (out' j - out j - s j)).
    pose proof (Rabs_triang (after' j - (before' j + out' j)) (before' j - before j)).
    assert (a * Rabs (before' j + out' j) <= a * (B j + O_ j + (EB j + R_out j) + σ_ j)) by (apply Rmult_le_compat_l; assumption).
    unfold EA; lra. }
  unfold dots in logit_computed.
  assert (Hlast : (Σ j ∈ d, Rabs (after' j * W_U j)) <= (Σ j ∈ d, Rabs (W_U j) * (B j + O_ j + EA j)) + (1 + a) * Σ j ∈ d, Rabs (W_U j) * σ_ j).
  { rewrite <- sum_mul_l, <- sum_plus; apply sum_le; intros j Hj; rewrite Rabs_mult, Rmult_comm.
    replace (Rabs (W_U j) * (B j + O_ j + EA j) + (1 + a) * (Rabs (W_U j) * σ_ j)) with (Rabs (W_U j) * (B j + O_ j + EA j + (1 + a) * σ_ j)) by ring.
    apply Rmult_le_compat_l; [apply Rabs_pos|]; specialize (Hafter j Hj); specialize (Hs j); specialize (HO j); destruct (stream j Hj) as [S1 _].
    replace (after' j) with (before j + out j + s j + (after' j - (before j + out j) - s j)) by ring.
    pose proof (Rabs_triang (before j + out j + s j) (after' j - (before j + out j) - s j)).
    pose proof (Rabs_triang (before j + out j) (s j)); pose proof (Rabs_triang (before j) (out j)); lra. }
  assert (Hlin : Rabs (Σ j ∈ d, s j * W_U j) <= Σ i ∈ n, Rabs (Σ j ∈ d, W_out i j * W_U j) * E i).
  { replace (Σ j ∈ d, s j * W_U j) with (Σ i ∈ n, (h' i - h i) * Σ j ∈ d, W_out i j * W_U j).
    - eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi; rewrite Rabs_mult, Rmult_comm; apply Rmult_le_compat_l; [apply Rabs_pos|apply hidden, Hi].
    - unfold s; rewrite (sum_ext n _ (fun i => Σ j ∈ d, (h' i - h i) * W_out i j * W_U j)).
      + rewrite sum_swap; apply sum_ext; intros j _; rewrite <- sum_mul_r; reflexivity.
      + intros i _; rewrite <- sum_mul_l; apply sum_ext; intros j _; ring. }
  assert (Hrest : Rabs (Σ j ∈ d, (after' j - (before j + out j) - s j) * W_U j) <= (Σ j ∈ d, Rabs (W_U j) * EA j) + a * Σ j ∈ d, Rabs (W_U j) * σ_ j).
  { rewrite <- sum_mul_l, <- sum_plus; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros j Hj; rewrite Rabs_mult, Rmult_comm.
    replace (Rabs (W_U j) * EA j + a * (Rabs (W_U j) * σ_ j)) with (Rabs (W_U j) * (EA j + a * σ_ j)) by ring.
    apply Rmult_le_compat_l; [apply Rabs_pos|apply Hafter, Hj]. }
  replace (logit' - exact_logit) with ((logit' - ((Σ j ∈ d, after' j * W_U j) + b_U)) +
    ((Σ j ∈ d, (after' j - (before j + out j) - s j) * W_U j) + Σ j ∈ d, s j * W_U j)).
  2: { unfold exact_logit; fold out.
       rewrite (sum_ext d (fun j => (after' j - (before j + out j) - s j) * W_U j) (fun j => after' j * W_U j - (before j + out j) * W_U j - s j * W_U j)) by (intros; ring).
       rewrite !sum_minus; unfold out; ring. }
  eapply Rle_trans; [apply Rabs_triang|].
  pose proof (Rabs_triang (Σ j ∈ d, (after' j - (before j + out j) - s j) * W_U j) (Σ j ∈ d, s j * W_U j)).
  set (P := Σ j ∈ d, Rabs (W_U j) * σ_ j) in *; set (Q := Σ j ∈ d, Rabs (W_U j) * (B j + O_ j + EA j)) in *.
  assert (ε_d * ((Σ j ∈ d, Rabs (after' j * W_U j)) + Rabs b_U) <= ε_d * (Q + (1 + a) * P + Rabs b_U)) by (apply Rmult_le_compat_l; lra).
  unfold direct, carried; fold P Q; lra.
Qed.
End MLP.


(** The mix of the values: weights m′ within a relative error of m, |m| <= w (`floating_point._transformer`, "the mix itself"). *)
Theorem mixed_rounding {T : Type} (l : list T) (m m' w v v' X E : T -> R) moved y' ε λ : 0 <= ε -> 0 <= moved ->
  (forall t, In t l -> Rabs (m t) <= w t /\ Rabs (m' t - m t) <= moved * Rabs (m t)) ->
  (forall t, In t l -> signal (v t) (v' t) (X t) (E t)) -> dots ε λ l (fun t => m' t * v' t) 0 y' ->
  let error := Σ t ∈ l, w t * (E t + (X t + E t) * moved) in
  signal (Σ t ∈ l, m t * v t) y' (Σ t ∈ l, w t * X t) (error + ε * ((Σ t ∈ l, w t * X t) + error) + λ).
Proof.
  intros Hε Hmoved Hm Hv Hd error.
  assert (Each : forall t, In t l -> Rabs (m' t * v' t - m t * v t) <= w t * (E t + (X t + E t) * moved)).
  { intros t Ht; destruct (Hm t Ht) as [M1 M2]; pose proof (Hv t Ht) as HS; pose proof (signal_computed _ _ _ _ HS) as HC; destruct HS as [V1 V2].
    replace (m' t * v' t - m t * v t) with (m t * (v' t - v t) + (m' t - m t) * v' t) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; rewrite !Rabs_mult.
    pose proof (Rabs_pos (m t)); pose proof (Rabs_pos (v' t - v t)); pose proof (Rabs_pos (v' t)).
    assert (Rabs (m t) * Rabs (v' t - v t) <= w t * E t) by (apply Rmult_le_compat; assumption).
    assert (A : Rabs (m' t - m t) <= moved * w t).
    { eapply Rle_trans; [exact M2|]; apply Rmult_le_compat_l; assumption. }
    assert (Rabs (m' t - m t) * Rabs (v' t) <= moved * w t * (X t + E t)) by (apply Rmult_le_compat; try apply Rabs_pos; assumption).
    lra. }
  assert (Size : forall t, In t l -> Rabs (m t * v t) <= w t * X t).
  { intros t Ht; destruct (Hm t Ht) as [M1 _]; destruct (Hv t Ht) as [V1 _]; rewrite Rabs_mult; apply Rmult_le_compat; try apply Rabs_pos; assumption. }
  split; [eapply Rle_trans; [apply sum_abs|apply sum_le, Size]|].
  unfold dots in Hd; rewrite Rabs_R0 in Hd.
  assert (D1 : Rabs ((Σ t ∈ l, m' t * v' t) - Σ t ∈ l, m t * v t) <= error).
  { rewrite <- sum_minus; eapply Rle_trans; [apply sum_abs|apply sum_le, Each]. }
  assert (D2 : (Σ t ∈ l, Rabs (m' t * v' t)) <= (Σ t ∈ l, w t * X t) + error).
  { unfold error; rewrite <- sum_plus; apply sum_le; intros t Ht; specialize (Each t Ht); specialize (Size t Ht).
    replace (m' t * v' t) with (m t * v t + (m' t * v' t - m t * v t)) by ring; eapply Rle_trans; [apply Rabs_triang|lra]. }
  replace (y' - Σ t ∈ l, m t * v t) with ((y' - ((Σ t ∈ l, m' t * v' t) + 0)) + ((Σ t ∈ l, m' t * v' t) - Σ t ∈ l, m t * v t)) by ring.
  eapply Rle_trans; [apply Rabs_triang|].
  assert (ε * ((Σ t ∈ l, Rabs (m' t * v' t)) + 0) <= ε * ((Σ t ∈ l, w t * X t) + error)) by (apply Rmult_le_compat_l; lra).
  lra.
Qed.

(** *Softmax.* If every computed exponential is the exact one times a factor between 1/F and F, a weight is the exact one times
    a factor between 1/F² and F²; with F² <= exp(x), x <= 1/4, that is 1 ± (x + x²). *)
Lemma exp_below x : 0 <= x <= / 4 -> exp x - 1 <= x + x ^ 2.
Proof.
  intros Hx; pose proof (exp_ineq1_le (- (x / 2))) as H; rewrite exp_Ropp in H.
  assert (E : exp x = exp (x / 2) * exp (x / 2)) by (rewrite <- exp_plus; f_equal; field).
  set (z := exp (x / 2)) in *; assert (Hz : 0 < z) by apply exp_pos.
  assert (H1 : (1 - x / 2) * z <= 1).
  { apply Rmult_le_reg_r with (/ z); [apply Rinv_0_lt_compat, Hz|]; rewrite Rmult_assoc, Rinv_r, Rmult_1_r by lra; lra. }
  assert (H2 : ((1 - x / 2) * z) * ((1 - x / 2) * z) <= 1) by (assert (0 <= (1 - x / 2) * z) by (apply Rmult_le_pos; lra); nra).
  assert (H3 : 1 <= (1 + x + x ^ 2) * ((1 - x / 2) * (1 - x / 2))) by nra.
  rewrite E; apply Rmult_le_reg_r with ((1 - x / 2) * (1 - x / 2)); [nra|]; nra.
Qed.

Theorem softmax_rounding {T : Type} (l : list T) (a a' : T -> R) (F x : R) t : 1 <= F -> 0 <= x <= / 4 -> F ^ 2 <= exp x ->
  (forall u, In u l -> 0 < a u /\ a u / F <= a' u <= a u * F) -> In t l ->
  Rabs (a' t / (Σ u ∈ l, a' u) - a t / (Σ u ∈ l, a u)) <= (x + x ^ 2) * (a t / Σ u ∈ l, a u).
Proof.
  intros HF Hx HFx Ha Ht; pose proof (exp_below x Hx) as HE.
  set (A := Σ u ∈ l, a u); set (A' := Σ u ∈ l, a' u); destruct (Ha t Ht) as [T0 [T1 T2]].
  assert (F0 : 0 < F) by lra; assert (IF : 0 < / F) by (apply Rinv_0_lt_compat, F0).
  assert (HA : 0 < A).
  { unfold A; clear - Ha Ht; induction l as [|u l IH]; [destruct Ht|]; rewrite sum_cons.
    assert (0 <= Σ v ∈ l, a v) by (apply sum_nonneg; intros v Hv; left; apply (proj1 (Ha v (or_intror Hv)))).
    pose proof (proj1 (Ha u (or_introl eq_refl))); lra. }
  assert (B1 : A * / F <= A') by (unfold A, A'; rewrite <- sum_mul_r; apply sum_le; intros u Hu; apply (proj2 (Ha u Hu))).
  assert (B2 : A' <= A * F) by (unfold A, A'; rewrite <- sum_mul_r; apply sum_le; intros u Hu; apply (proj2 (Ha u Hu))).
  assert (HA' : 0 < A') by (assert (0 < A * / F) by (apply Rmult_lt_0_compat; assumption); lra).
  set (w := a t / A); assert (W0 : 0 < w) by (apply Rdiv_lt_0_compat; assumption).
  assert (Ea : a t = w * A) by (unfold w; field; lra).
  (* between w/F² and w·F² *)
  assert (Up : a' t / A' <= w * F ^ 2).
  { apply Rmult_le_reg_r with A'; [exact HA'|]; unfold Rdiv at 1; rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    apply Rle_trans with (w * A * F); [rewrite <- Ea; exact T2|].
    assert (HX : A <= A' * F) by (apply Rmult_le_reg_r with (/ F); [exact IF|]; rewrite Rmult_assoc, Rinv_r, Rmult_1_r by lra; exact B1).
    assert (w * F * A <= w * F * (A' * F)) by (apply Rmult_le_compat_l; [apply Rmult_le_pos; lra|exact HX]); lra. }
  assert (Down : w <= a' t / A' * F ^ 2).
  { apply Rmult_le_reg_r with A'; [exact HA'|]; replace (a' t / A' * F ^ 2 * A') with (a' t * F * F) by (field; lra).
    apply Rle_trans with (w * (A * F)); [apply Rmult_le_compat_l; lra|].
    assert (a t <= a' t * F) by (apply Rmult_le_reg_r with (/ F); [exact IF|]; rewrite (Rmult_assoc (a' t)), Rinv_r, Rmult_1_r by lra; exact T1).
    rewrite <- Rmult_assoc, <- Ea; apply Rmult_le_compat_r; lra. }
  assert (Q0 : 0 <= a' t / A').
  { apply Rmult_le_pos; [|left; apply Rinv_0_lt_compat, HA']; assert (0 < a t / F) by (apply Rdiv_lt_0_compat; assumption); lra. }
  assert (G : F ^ 2 - 1 <= x + x ^ 2) by lra; assert (G0 : 1 <= F ^ 2) by (simpl; nra).
  apply Rabs_le; split.
  - (* w − w′ <= w′(F² − 1) and w′ <= w or the difference is negative *)
    destruct (Rle_dec w (a' t / A')) as [L|L].
    + assert (0 <= (x + x ^ 2) * w) by (apply Rmult_le_pos; [simpl; nra|lra]); lra.
    + assert (a' t / A' * (F ^ 2 - 1) <= w * (x + x ^ 2)) by (apply Rmult_le_compat; lra); lra.
  - assert (w * (F ^ 2 - 1) <= w * (x + x ^ 2)) by (apply Rmult_le_compat_l; lra); lra.
Qed.

(** The absolute form: a, B the exact exponential and the sum of the others, a′, B′ the computed ones, each within a factor F; with
    F² <= 1 + y the weight is off by at most y/4, because σ(1 − σ) <= 1/4. *)
Theorem softmax_absolute (a B a' B' F y : R) : 0 < a -> 0 <= B -> 1 <= F -> F * F <= 1 + y ->
  a / F <= a' <= a * F -> B / F <= B' <= B * F ->
  Rabs (a' / (a' + B') - a / (a + B)) <= y / 4.
Proof.
  intros Ha HB HF Hy [A1 A2] [B1 B2].
  assert (F0 : 0 < F) by lra; assert (y0 : 0 <= y) by nra.
  assert (a'0 : 0 < a') by (assert (0 < a / F) by (apply Rdiv_lt_0_compat; assumption); lra).
  assert (B'0 : 0 <= B') by (assert (0 <= B / F) by (apply Rmult_le_pos; [exact HB|left; apply Rinv_0_lt_compat, F0]); lra).
  assert (A1' : a <= a' * F) by (apply Rmult_le_reg_r with (/ F); [apply Rinv_0_lt_compat, F0|]; rewrite (Rmult_assoc a'), Rinv_r, Rmult_1_r by lra; exact A1).
  assert (B1' : B <= B' * F) by (apply Rmult_le_reg_r with (/ F); [apply Rinv_0_lt_compat, F0|]; rewrite (Rmult_assoc B'), Rinv_r, Rmult_1_r by lra; exact B1).
  (* a′B <= (1 + y)·aB′ and aB′ <= (1 + y)·a′B *)
  assert (X1 : a' * B <= (1 + y) * (a * B')).
  { apply Rle_trans with (a * F * (B' * F)); [apply Rmult_le_compat; lra|].
    replace (a * F * (B' * F)) with (F * F * (a * B')) by ring; apply Rmult_le_compat_r; [apply Rmult_le_pos; lra|exact Hy]. }
  assert (X2 : a * B' <= (1 + y) * (a' * B)).
  { apply Rle_trans with (a' * F * (B * F)); [apply Rmult_le_compat; lra|].
    replace (a' * F * (B * F)) with (F * F * (a' * B)) by ring; apply Rmult_le_compat_r; [apply Rmult_le_pos; lra|exact Hy]. }
  assert (E : a' / (a' + B') - a / (a + B) = (a' * B - a * B') / ((a' + B') * (a + B))) by (field; lra).
  assert (P : 0 < (a' + B') * (a + B)) by (apply Rmult_lt_0_compat; lra).
  assert (Four : forall u v, 0 <= u -> 0 <= v -> u <= (1 + y) * v -> v <= (1 + y) * u -> u + v + a' * a + B' * B = (a' + B') * (a + B) ->
            u * v = (a' * a) * (B' * B) -> Rabs (u - v) * 4 <= y * ((a' + B') * (a + B))).
  { intros u v Hu Hv H1 H2 HS HM.
    assert (D : Rabs (u - v) <= y * Rmin u v) by (unfold Rmin; destruct Rle_dec; apply Rabs_le; nra).
    assert (M0 : 0 <= Rmin u v) by (unfold Rmin; destruct Rle_dec; assumption).
    assert (Q : 0 <= a' * a) by (apply Rmult_le_pos; lra); assert (Q' : 0 <= B' * B) by (apply Rmult_le_pos; assumption).
    assert (M : 4 * Rmin u v <= u + v + (a' * a + B' * B)).
    { assert (G : 2 * Rmin u v <= a' * a + B' * B).
      { apply Rsqr_incr_0_var; [|lra]; unfold Rsqr.
        assert (Rmin u v * Rmin u v <= u * v) by (unfold Rmin; destruct Rle_dec; nra).
        pose proof (Rle_0_sqr (a' * a - B' * B)) as S; unfold Rsqr in S; lra. }
      assert (2 * Rmin u v <= u + v) by (unfold Rmin; destruct Rle_dec; lra); lra. }
    nra. }
  specialize (Four (a' * B) (a * B') ltac:(apply Rmult_le_pos; lra) ltac:(apply Rmult_le_pos; lra) X1 X2 ltac:(ring) ltac:(ring)).
  rewrite E; unfold Rdiv; rewrite Rabs_mult, (Rabs_pos_eq (/ _)) by (left; apply Rinv_0_lt_compat, P).
  apply Rmult_le_reg_r with ((a' + B') * (a + B)); [exact P|]; rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra; lra.
Qed.
