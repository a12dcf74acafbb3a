(** The circuit, in real numbers and in fixed point, and Lemma K. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Formal Require Import Sums IntegerSums Relu LemmaE LemmaB.
Import ListNotations.
Open Scope R_scope.

(** ** The logits at one input, in real numbers: pre-activations y, output weights W, skips k.
    logit_c = Σ_i W[c,i]·ReLU(y_i) + k_c. For a circuit y_i = A[i,a] + B[i,b] and k_c = S1[c,a] + S2[c,b]. *)
Definition logit_at {I : Type} (neurons : list I) (y : I -> R) (W : I -> nat -> R) (k : nat -> R) (c : nat) : R :=
  (Σ i ∈ neurons, W i c * ReLU (y i)) + k c.

(** ** The circuit in fixed point: integers; A and B in units u_A, W in units u_W, the skips in units u_A·u_W. *)
Record circuit (I : Type) := {
  neurons : list I;
  A : I -> nat -> Z; B : I -> nat -> Z;   (* [i][a], [i][b] *)
  out : I -> nat -> Z;                    (* [i][c] *)
  S1 : nat -> nat -> Z; S2 : nat -> nat -> Z  (* [a][c], [b][c] *) }.
Arguments neurons {I}. Arguments A {I}. Arguments B {I}. Arguments out {I}. Arguments S1 {I}. Arguments S2 {I}.

Section Circuit.
Context {I : Type}.
Variables (f : circuit I) (ω : I -> nat -> Z) (σ1 σ2 : nat -> nat -> Z).

(** h_i(a,b), and the logits, exactly. *)
Definition hidden (i : I) (a b : nat) : Z := relu (A f i a + B f i b).
Definition circuit_logit (a b c : nat) : Z :=
  ((Σ i ∈ neurons f, (out f i c * hidden i a b)) + S1 f a c + S2 f b c)%Z.

(** The terms of Lemma B: the neurons and the two skips, split the same way (σ1[a], σ2[b] for ω_i). *)
Definition skip_1 (a : nat) : term := {| W := S1 f a; h := 1; LemmaB.ω := σ1 a |}.
Definition skip_2 (b : nat) : term := {| W := S2 f b; h := 1; LemmaB.ω := σ2 b |}.
Definition neuron (a b : nat) (i : I) : term := {| W := out f i; h := hidden i a b; LemmaB.ω := ω i |}.
Definition terms (a b : nat) : list term := skip_1 a :: skip_2 b :: map (neuron a b) (neurons f).

Lemma terms_logit a b c : logit (terms a b) c = circuit_logit a b c.
Proof. unfold logit, terms, circuit_logit; rewrite !zsum_cons, zsum_map; cbn; lia. Qed.

Lemma terms_activations a b t : In t (terms a b) -> (0 <= h t)%Z.
Proof.
  intros [<-|[<-|H]]; cbn; try lia.
  apply in_map_iff in H; destruct H as [i [<- _]]; cbn; unfold hidden, relu; lia.
Qed.

(** The lanes are Lemma E's sums: S_l(a,b) and η(a,b), with the skips added. *)
Theorem lanes p groups a b l : (a < p)%nat -> (b < p)%nat -> neurons f = concat (map snd groups) ->
  lane (terms a b) l = ((Σ g ∈ groups, event_sum (snd g) p (A f) (B f) (fun i => ω i l) (fst g) a b) + σ1 a l + σ2 b l)%Z.
Proof.
  intros Ha Hb E; rewrite lemma_E_all_groups by assumption; rewrite <- E.
  unfold lane, terms; rewrite !zsum_cons, zsum_map; cbn; unfold hidden; lia.
Qed.

Theorem rest_lane p groups (r : I -> Z) (r1 r2 : nat -> Z) (charged : term -> Z) a b :
  (a < p)%nat -> (b < p)%nat -> neurons f = concat (map snd groups) ->
  (forall i, charged (neuron a b i) = r i) -> charged (skip_1 a) = r1 a -> charged (skip_2 b) = r2 b ->
  η (terms a b) charged = ((Σ g ∈ groups, event_sum (snd g) p (A f) (B f) r (fst g) a b) + r1 a + r2 b)%Z.
Proof.
  intros Ha Hb E En E1 E2; rewrite lemma_E_all_groups by assumption; rewrite <- E.
  unfold η, terms; rewrite !zsum_cons, zsum_map, E1, E2; cbn [h skip_1 skip_2].
  rewrite (zsum_ext (neurons f) (fun i => (charged (neuron a b i) * h (neuron a b i))%Z) (fun i => (r i * relu (A f i a + B f i b))%Z)).
  - lia.
  - intros i _; rewrite En; reflexivity.
Qed.

(** The same numbers in real units. *)
Variables (uA uW : R).
Hypothesis uA_pos : 0 < uA.
Hypothesis uW_pos : 0 < uW.

Definition real_logit (a b c : nat) : R :=
  logit_at (neurons f) (fun i => uA * IZR (A f i a + B f i b)) (fun i c => uW * IZR (out f i c))
    (fun c => uA * uW * IZR (S1 f a c + S2 f b c)) c.

Lemma pos_scale x : ReLU (uA * x) = uA * ReLU x.
Proof. unfold pos, Rmax; destruct (Rle_dec (uA * x) 0); destruct (Rle_dec x 0); nra. Qed.

Theorem real_logit_spec a b c : real_logit a b c = uA * uW * IZR (circuit_logit a b c).
Proof.
  unfold real_logit, logit_at, circuit_logit; rewrite !plus_IZR, IZR_zsum.
  rewrite (sum_ext (neurons f) _ (fun i => uA * uW * IZR (out f i c * hidden i a b))).
  - rewrite sum_mul_l; ring.
  - intros i _; rewrite pos_scale, mult_IZR; unfold hidden; rewrite relu_spec; ring.
Qed.
End Circuit.

(** ** Lemma K: fold, fixed point with radii, attention intervals. Primes are for the network, at one input: its
    pre-activations y′ (which need not be separable), its output weights and its skips. *)
Section LemmaK.
Context {I : Type}.
Variables (neurons : list I) (y y' : I -> R) (W W' : I -> nat -> R) (k k' : nat -> R).
Variables (q : nat) (rA rW rS : R) (s : I -> R) (s0 : R) (h maxW : I -> R).
(** For the q outputs: every entry of A and of B is within r_A, and attention moves pre-activation i by at most s_i; every entry of W is
    within r_W; the skips together are within r_S, and attention moves them by at most s. *)
Hypothesis pre : forall i, In i neurons -> Rabs (y' i - y i) <= 2 * rA + s i.
Hypothesis out_ : forall i c, In i neurons -> (c < q)%nat -> Rabs (W' i c - W i c) <= rW.
Hypothesis skips : forall c, (c < q)%nat -> Rabs (k' c - k c) <= rS + s0.
Hypothesis hidden_ : forall i, In i neurons -> ReLU (y i) <= h i.
Hypothesis largest_ : forall i c, In i neurons -> (c < q)%nat -> Rabs (W i c) <= maxW i.

(** κ = Σ_i [(max_c|W[c,i]| + r_W)(2r_A + s_i) + r_W·h_i] + r_S + s *)
Definition κ : R := (Σ i ∈ neurons, ((maxW i + rW) * (2 * rA + s i) + rW * h i)) + rS + s0.

Lemma relu_moves i : In i neurons -> Rabs (ReLU (y' i) - ReLU (y i)) <= 2 * rA + s i.
Proof. intros Hi; eapply Rle_trans; [apply pos_lipschitz|apply pre, Hi]. Qed.

Theorem lemma_K c : (c < q)%nat -> Rabs (logit_at neurons y' W' k' c - logit_at neurons y W k c) <= κ.
Proof.
  intros Hc; unfold logit_at, κ.
  replace ((Σ i ∈ neurons, W' i c * ReLU (y' i)) + k' c - ((Σ i ∈ neurons, W i c * ReLU (y i)) + k c))
  with ((Σ i ∈ neurons, (W' i c * ReLU (y' i) - W i c * ReLU (y i))) + (k' c - k c)) by (rewrite sum_minus; ring).
  eapply Rle_trans; [apply Rabs_triang|].
  rewrite Rplus_assoc; apply Rplus_le_compat; [|apply skips, Hc].
  eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi.
  pose proof (relu_moves i Hi) as Hh; specialize (out_ i c Hi Hc); specialize (hidden_ i Hi); specialize (largest_ i c Hi Hc).
  pose proof (pos_nonneg (y i)); set (h0 := ReLU (y i)) in *; set (h1 := ReLU (y' i)) in *.
  replace (W' i c * h1 - W i c * h0) with (W' i c * (h1 - h0) + (W' i c - W i c) * h0) by ring.
  eapply Rle_trans; [apply Rabs_triang|]; rewrite !Rabs_mult, (Rabs_pos_eq h0) by assumption.
  assert (Rabs (W' i c) <= maxW i + rW).
  { replace (W' i c) with (W i c + (W' i c - W i c)) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; lra. }
  apply Rplus_le_compat; apply Rmult_le_compat; try apply Rabs_pos; assumption.
Qed.

(** Any difference of two logits of one input moves by at most κ_d: the range of W over c (plus 2r_W) instead of max_c|W|,
    the other terms doubled. *)
Variable range : I -> R.
Definition κ_d : R := (Σ i ∈ neurons, ((range i + 2 * rW) * (2 * rA + s i) + 2 * rW * h i)) + 2 * (rS + s0).

Theorem lemma_K_difference c c' : (c < q)%nat -> (c' < q)%nat -> (forall i, In i neurons -> Rabs (W i c - W i c') <= range i) ->
  Rabs ((logit_at neurons y' W' k' c - logit_at neurons y' W' k' c') - (logit_at neurons y W k c - logit_at neurons y W k c')) <= κ_d.
Proof.
  intros Hc Hc' Hr; unfold logit_at, κ_d.
  match goal with |- Rabs ?X <= _ => replace X with
    ((Σ i ∈ neurons, ((W' i c - W' i c') * (ReLU (y' i) - ReLU (y i)) + ((W' i c - W i c) - (W' i c' - W i c')) * ReLU (y i))) +
     ((k' c - k c) - (k' c' - k c'))) end.
  2: { rewrite (sum_ext _ _ (fun i => W' i c * ReLU (y' i) - W' i c' * ReLU (y' i) - (W i c * ReLU (y i) - W i c' * ReLU (y i)))) by (intros; ring).
       rewrite !sum_minus; ring. }
  eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat.
  - eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi.
    pose proof (relu_moves i Hi) as Hh; specialize (hidden_ i Hi); specialize (Hr i Hi).
    pose proof (out_ i c Hi Hc) as O1; pose proof (out_ i c' Hi Hc') as O2.
    pose proof (pos_nonneg (y i)); set (h0 := ReLU (y i)) in *; set (h1 := ReLU (y' i)) in *.
    eapply Rle_trans; [apply Rabs_triang|]; rewrite !Rabs_mult, (Rabs_pos_eq h0) by assumption.
    assert (T : forall u v, Rabs (u - v) <= Rabs u + Rabs v).
    { intros u v; unfold Rminus; eapply Rle_trans; [apply Rabs_triang|]; rewrite Rabs_Ropp; lra. }
    assert (Rabs (W' i c - W' i c') <= range i + 2 * rW).
    { replace (W' i c - W' i c') with ((W i c - W i c') + ((W' i c - W i c) - (W' i c' - W i c'))) by ring.
      eapply Rle_trans; [apply Rabs_triang|]; pose proof (T (W' i c - W i c) (W' i c' - W i c')); lra. }
    assert (Rabs (W' i c - W i c - (W' i c' - W i c')) <= 2 * rW) by (pose proof (T (W' i c - W i c) (W' i c' - W i c')); lra).
    apply Rplus_le_compat; apply Rmult_le_compat; try apply Rabs_pos; assumption.
  - pose proof (skips c Hc) as K1; pose proof (skips c' Hc') as K2.
    unfold Rabs in *; repeat destruct Rcase_abs in *; repeat destruct Rcase_abs; lra.
Qed.
End LemmaK.

(** *In units*: r_A and s_i in units of A and B, r_W in units of W, the rest in units of the logits. One entry a neuron: the
    largest |W|, the range of W, s_i, h_i. *)
Definition κ_units {I : Type} (l : list I) (maxW s h : I -> Z) (rA rW rS s0 : Z) : Z :=
  ((Σ i ∈ l, ((maxW i + rW) * (2 * rA + s i) + rW * h i)) + rS + s0)%Z.
Definition κ_d_units {I : Type} (l : list I) (range s h : I -> Z) (rA rW rS s0 : Z) : Z :=
  ((Σ i ∈ l, ((range i + 2 * rW) * (2 * rA + s i) + 2 * rW * h i)) + 2 * (rS + s0))%Z.

Theorem κ_in_units {I : Type} (l : list I) (maxW s h : I -> Z) rA rW rS s0 uA uW :
  κ l (uA * IZR rA) (uW * IZR rW) (uA * uW * IZR rS) (fun i => uA * IZR (s i)) (uA * uW * IZR s0) (fun i => uA * IZR (h i)) (fun i => uW * IZR (maxW i))
  = uA * uW * IZR (κ_units l maxW s h rA rW rS s0).
Proof.
  unfold κ, κ_units; rewrite !plus_IZR, IZR_zsum, !Rmult_plus_distr_l, <- sum_mul_l; f_equal; f_equal; apply sum_ext; intros i _.
  rewrite plus_IZR, !mult_IZR, !plus_IZR, mult_IZR; ring.
Qed.

Theorem κ_d_in_units {I : Type} (l : list I) (range s h : I -> Z) rA rW rS s0 uA uW :
  κ_d l (uA * IZR rA) (uW * IZR rW) (uA * uW * IZR rS) (fun i => uA * IZR (s i)) (uA * uW * IZR s0) (fun i => uA * IZR (h i)) (fun i => uW * IZR (range i))
  = uA * uW * IZR (κ_d_units l range s h rA rW rS s0).
Proof.
  unfold κ_d, κ_d_units; rewrite plus_IZR, IZR_zsum, mult_IZR, plus_IZR.
  rewrite (Rmult_plus_distr_l (uA * uW)), <- sum_mul_l; f_equal; [|ring]; apply sum_ext; intros i _.
  rewrite plus_IZR, !mult_IZR, !plus_IZR, !mult_IZR; ring.
Qed.

(** *Attention intervals*: at every input each head may weigh position t by anything within ρ_t of m_t; o is what the head
    adds to the quantity if it attends to the position alone, and M bounds it over the tokens. Then the quantity is
    moved by at most Σ_t ρ_t·Σ_heads M. For pre-activation i this is s_i, for logit c with W_U it is s. *)
Theorem attention_moves {T H : Type} (positions : list T) (heads : list H) (weight : T -> H -> R) (m ρ : T -> R) (o M : T -> H -> R) :
  (forall t h, In t positions -> In h heads -> Rabs (weight t h - m t) <= ρ t /\ Rabs (o t h) <= M t h) ->
  Rabs ((Σ t ∈ positions, Σ h ∈ heads, weight t h * o t h) - Σ t ∈ positions, Σ h ∈ heads, m t * o t h)
  <= Σ t ∈ positions, (ρ t * Σ h ∈ heads, M t h).
Proof.
  intros Hw; rewrite <- sum_minus; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros t Ht.
  rewrite <- sum_minus, <- sum_mul_l; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros h Hh.
  destruct (Hw t h Ht Hh) as [H1 H2]; rewrite <- Rmult_minus_distr_r, Rabs_mult.
  apply Rmult_le_compat; try apply Rabs_pos; assumption.
Qed.

(** *Quantising.* The entries of the tables are rounded down: each is off by less than one unit, so r_A = u_A and so on. *)
Lemma floor_radius (u x : R) (z : Z) : 0 < u -> u * IZR z <= x < u * (IZR z + 1) -> Rabs (x - u * IZR z) <= u.
Proof. intros Hu H; apply Rabs_le; lra. Qed.

(** Where the weights of a head and the middles both sum to one, as with softmax, a constant may be taken from all that
    the head writes: half the range over all positions and tokens stands for the largest size. *)
Theorem attention_moves_normalised {T : Type} (positions : list T) (weight m ρ o : T -> R) (low high : R) :
  Σ t ∈ positions, weight t = 1 -> Σ t ∈ positions, m t = 1 ->
  (forall t, In t positions -> Rabs (weight t - m t) <= ρ t /\ low <= o t <= high) ->
  Rabs ((Σ t ∈ positions, weight t * o t) - Σ t ∈ positions, m t * o t) <= (Σ t ∈ positions, ρ t) * ((high - low) / 2).
Proof.
  intros Hw Hm H; set (c := (low + high) / 2).
  replace ((Σ t ∈ positions, weight t * o t) - Σ t ∈ positions, m t * o t) with (Σ t ∈ positions, (weight t - m t) * (o t - c)).
  - rewrite <- sum_mul_r; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros t Ht; destruct (H t Ht) as [H1 H2].
    rewrite Rabs_mult; apply Rmult_le_compat; try apply Rabs_pos; [exact H1|unfold c; apply Rabs_le; lra].
  - rewrite (sum_ext positions _ (fun t => (weight t * o t - m t * o t) - c * (weight t - m t))) by (intros; ring).
    rewrite !sum_minus, sum_mul_l, sum_minus, Hw, Hm; ring.
Qed.

(** *Softmax*: the weight of a position is 1/(1 + Σ_{others} exp(score' − score)); it is largest when its own score is, and all
    others are least. *)
Definition softmax (own : R) (others : list R) : R := / (1 + Σ x ∈ others, exp (x - own)).

Lemma softmax_is_softmax own others : softmax own others = exp own / (exp own + Σ x ∈ others, exp x).
Proof.
  unfold softmax; pose proof (exp_pos own) as H0.
  assert (H1 : 0 <= Σ x ∈ others, exp x) by (apply sum_nonneg; intros; left; apply exp_pos).
  replace (1 + Σ x ∈ others, exp (x - own)) with ((exp own + Σ x ∈ others, exp x) / exp own).
  - field; lra.
  - rewrite (sum_ext others (fun x => exp (x - own)) (fun x => exp x * / exp own)).
    + rewrite sum_mul_r; field; lra.
    + intros x _; unfold Rminus; rewrite exp_plus, exp_Ropp; reflexivity.
Qed.

Theorem softmax_bounds {T : Type} (others : list T) (score low high : T -> R) own own_low own_high :
  own_low <= own <= own_high -> (forall t, In t others -> low t <= score t <= high t) ->
  softmax own_low (map high others) <= softmax own (map score others) <= softmax own_high (map low others).
Proof.
  intros Ho Ht; unfold softmax; rewrite !sum_map.
  assert (P : forall (f : T -> R) o, 0 < 1 + Σ t ∈ others, exp (f t - o)).
  { intros f o; assert (0 <= Σ t ∈ others, exp (f t - o)) by (apply sum_nonneg; intros; left; apply exp_pos); lra. }
  assert (M : forall x y, x <= y -> exp x <= exp y) by (intros x y [H|H]; [left; apply exp_increasing, H|right; rewrite H; reflexivity]).
  split; apply Rinv_le_contravar; try apply P; apply Rplus_le_compat_l, sum_le; intros t Hin; specialize (Ht t Hin); apply M; lra.
Qed.
