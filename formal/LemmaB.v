(** Lemma B: output directions. All numbers are integers, as the kernel computes them. *)
From Coq Require Import Reals ZArith List Bool Lia Lra.
From Formal Require Import Sums IntegerSums Relu.
Import ListNotations.
Open Scope Z_scope.

(** One term of the logits: what a neuron writes to every output, and its activation. A skip is a term with activation 1. *)
Record term := { W : nat -> Z; h : Z; ω : nat -> Z }.

Section LemmaB.
(** p tokens, q >= p outputs, L directions; U in units of 1/[unit] of what ω is in. U and ω may be anything. *)
Variables (p q L : nat) (unit : Z) (U : nat -> nat -> Z).

(** V := unit·W − U·ω, exactly, for all q outputs. *)
Definition V (t : term) (c : nat) : Z := unit * W t c - Σ l ∈ seq 0 L, (U c l * ω t l).

(** rest = max_{c<p} V − min_{c<p} V and, for outputs beyond p, over = min_{c<p} V − max_{c'>=p} V. *)
Definition rest (t : term) : Z := largest (seq 0 p) (V t) - least (seq 0 p) (V t).
Definition over (t : term) : Z := least (seq 0 p) (V t) - largest (seq p (q - p)) (V t).

Section Terms.
Variable terms : list term.
Hypothesis activations : forall t, In t terms -> 0 <= h t.

Definition logit (c : nat) : Z := Σ t ∈ terms, (W t c * h t).
(** S_l = Σ_i ω_il·h_i, one lane per direction; (U·S)_c. *)
Definition lane (l : nat) : Z := Σ t ∈ terms, (ω t l * h t).
Definition US (c : nat) : Z := Σ l ∈ seq 0 L, (U c l * lane l).

(** logit = U·S + Σ_i V[·,i]·h_i *)
Theorem lemma_B_split c : unit * logit c = US c + Σ t ∈ terms, (V t c * h t).
Proof.
  unfold logit, US, V, lane; rewrite <- zsum_mul_l.
  rewrite (zsum_ext (seq 0 L) _ (fun l => Σ t ∈ terms, (U c l * (ω t l * h t)))) by (intros; rewrite zsum_mul_l; reflexivity).
  rewrite zsum_swap, <- zsum_plus; apply zsum_ext; intros t _.
  rewrite (zsum_ext (seq 0 L) (fun l => U c l * (ω t l * h t)) (fun l => U c l * ω t l * h t)) by (intros; ring).
  rewrite zsum_mul_r; ring.
Qed.

(** η(a,b) = Σ rest_i·h_i. The rests may be rounded up: [charged] is what the kernel's lane holds. *)
Variable charged : term -> Z.
Hypothesis charged_rest : forall t, In t terms -> rest t <= charged t.
Definition η : Z := Σ t ∈ terms, (charged t * h t).

Lemma V_range t c : (c < p)%nat -> least (seq 0 p) (V t) <= V t c <= largest (seq 0 p) (V t).
Proof. intros Hc; split; [apply least_le|apply largest_ge]; apply in_seq; lia. Qed.

(** The difference of two logits is (U[c] − U[c'])·S ± η. *)
Theorem lemma_B c c' : (c < p)%nat -> (c' < p)%nat ->
  Z.abs (unit * (logit c - logit c') - (US c - US c')) <= η.
Proof.
  intros Hc Hc'; rewrite Z.mul_sub_distr_l, !lemma_B_split.
  replace (US c + zsum terms (fun t => V t c * h t) - (US c' + zsum terms (fun t => V t c' * h t)) - (US c - US c'))
    with (Σ t ∈ terms, ((V t c - V t c') * h t)).
  - eapply Z.le_trans; [apply zsum_abs|]; apply zsum_le; intros t Ht.
    pose proof (activations t Ht); pose proof (charged_rest t Ht); unfold rest in *.
    pose proof (V_range t c Hc); pose proof (V_range t c' Hc').
    rewrite Z.abs_mul, (Z.abs_eq (h t)) by assumption; apply Z.mul_le_mono_nonneg_r; lia.
  - rewrite (zsum_ext _ _ (fun t => V t c * h t - V t c' * h t)) by (intros; ring); rewrite zsum_minus; ring.
Qed.

(** Every logit is U·S + a centre that does not depend on c, ± η/2. Doubled, to stay in the integers. *)
Definition centre : Z := Σ t ∈ terms, ((largest (seq 0 p) (V t) + least (seq 0 p) (V t)) * h t).

Theorem lemma_B_centred c : (c < p)%nat -> Z.abs (2 * (unit * logit c - US c) - centre) <= η.
Proof.
  intros Hc; rewrite lemma_B_split; unfold centre, η.
  replace (2 * (US c + zsum terms (fun t => V t c * h t) - US c) - zsum terms (fun t => (largest (seq 0 p) (V t) + least (seq 0 p) (V t)) * h t))
    with (Σ t ∈ terms, ((2 * V t c - (largest (seq 0 p) (V t) + least (seq 0 p) (V t))) * h t)).
  - eapply Z.le_trans; [apply zsum_abs|]; apply zsum_le; intros t Ht.
    pose proof (activations t Ht); pose proof (charged_rest t Ht); unfold rest in *; pose proof (V_range t c Hc).
    rewrite Z.abs_mul, (Z.abs_eq (h t)) by assumption; apply Z.mul_le_mono_nonneg_r; lia.
  - rewrite (zsum_ext _ _ (fun t => 2 * (V t c * h t) - (largest (seq 0 p) (V t) + least (seq 0 p) (V t)) * h t)) by (intros; ring).
    rewrite zsum_minus, zsum_mul_l; ring.
Qed.

(** Outputs beyond p: over_i is the least that term i adds, besides its directions, to logit_c − logit_{c'}. The lane
    may hold less. *)
Variable at_least : term -> Z.
Hypothesis at_least_over : forall t, In t terms -> at_least t <= over t.

Theorem lemma_B_beyond c c' : (c < p)%nat -> (p <= c' < q)%nat ->
  US c - US c' + (Σ t ∈ terms, (at_least t * h t)) <= unit * (logit c - logit c').
Proof.
  intros Hc Hc'; rewrite Z.mul_sub_distr_l, !lemma_B_split.
  enough (zsum terms (fun t => at_least t * h t) <= zsum terms (fun t => V t c * h t) - zsum terms (fun t => V t c' * h t)) by lia.
  rewrite <- zsum_minus; apply zsum_le; intros t Ht.
  pose proof (activations t Ht); pose proof (at_least_over t Ht) as Ho; unfold over in Ho.
  pose proof (proj1 (V_range t c Hc)); assert (V t c' <= largest (seq p (q - p)) (V t)) by (apply largest_ge, in_seq; lia).
  rewrite <- Z.mul_sub_distr_r; apply Z.mul_le_mono_nonneg_r; lia.
Qed.
End Terms.

(** *** The exact strategy is the instance U = identity: V = 0, η = 0, and S is the logits. *)
Theorem lemma_B_exact terms : unit = 1 -> L = q -> (p <= q)%nat ->
  (forall c l, (c < q)%nat -> (l < q)%nat -> U c l = if Nat.eqb l c then 1 else 0) ->
  (forall t l, In t terms -> (l < q)%nat -> ω t l = W t l) ->
  (forall t c, In t terms -> (c < q)%nat -> V t c = 0) /\
  (forall t, In t terms -> (0 < p)%nat -> rest t = 0) /\
  forall c, (c < q)%nat -> logit terms c = lane terms c.
Proof.
  intros Eu EL Hpq HU Hω.
  assert (HV : forall t c, In t terms -> (c < q)%nat -> V t c = 0).
  { intros t c Ht Hc; unfold V; rewrite Eu, EL.
    rewrite (zsum_ext (seq 0 q) _ (fun l => if Nat.eqb l c then W t l else 0)).
    - rewrite (zsum_pick (W t) q c Hc); ring.
    - intros l Hl; apply in_seq in Hl; rewrite HU, Hω by (assumption || lia); destruct (Nat.eqb l c); ring. }
  split; [exact HV|]; split.
  - intros t Ht Hp; unfold rest.
    assert (N : seq 0 p <> []) by (destruct p; [lia|discriminate]).
    destruct (largest_in (seq 0 p) (V t) N) as [i [Hi ->]]; destruct (least_in (seq 0 p) (V t) N) as [j [Hj ->]].
    apply in_seq in Hi, Hj; rewrite !HV by (assumption || lia); reflexivity.
  - intros c Hc; unfold logit, lane; apply zsum_ext; intros t Ht; rewrite Hω by assumption; reflexivity.
Qed.
End LemmaB.

(** *Rounded sums*: with every S_l replaced by r·S′_l, off by at most half of r, a difference of two logits moves by at most
    half of r for every unit of both rows of U. *)
Theorem rounded_lanes (L : nat) (U : nat -> nat -> Z) (S S' : nat -> Z) (r : Z) c c' : 0 <= r ->
  (forall l, (l < L)%nat -> 2 * Z.abs (S l - r * S' l) <= r) ->
  let US S c := Σ l ∈ seq 0 L, (U c l * S l) in let size c := Σ l ∈ seq 0 L, Z.abs (U c l) in
  2 * Z.abs ((US S c - US S c') - r * (US S' c - US S' c')) <= r * (size c + size c').
Proof.
  intros Hr H US size.
  assert (One : forall c, 2 * Z.abs (US S c - r * US S' c) <= r * size c).
  { intros x; unfold US, size; rewrite <- !zsum_mul_l, <- zsum_minus.
    eapply Z.le_trans; [apply Z.mul_le_mono_nonneg_l; [lia|apply zsum_abs]|].
    rewrite <- zsum_mul_l; apply zsum_le; intros l Hl; apply in_seq in Hl; specialize (H l ltac:(lia)).
    replace (U x l * S l - r * (U x l * S' l)) with (U x l * (S l - r * S' l)) by ring; rewrite Z.abs_mul.
    pose proof (Z.abs_nonneg (U x l)); nia. }
  pose proof (One c); pose proof (One c'); rewrite Z.mul_sub_distr_l; lia.
Qed.

(** ** The rest, centred: charge Σ_i v_i·m_i exactly, for any fixed m (h̄ in the theory), and the remainder by Cauchy–Schwarz. *)
Lemma zsquare_le x y : 0 <= y -> x * x <= y * y -> Z.abs x <= y.
Proof. intros Hy H; nia. Qed.

Theorem cauchy_schwarz {I : Type} (l : list I) (x y : I -> Z) :
  (Σ i ∈ l, (x i * y i)) * (Σ i ∈ l, (x i * y i)) <= (Σ i ∈ l, (x i * x i)) * Σ i ∈ l, (y i * y i).
Proof.
  induction l as [|i l IH]; [unfold zsum; simpl; lia|]; rewrite !zsum_cons.
  set (s := zsum l (fun i => x i * y i)) in *; set (X := zsum l (fun i => x i * x i)) in *; set (Y := zsum l (fun i => y i * y i)) in *.
  assert (HX : 0 <= X) by (apply zsum_nonneg; intros; apply Z.square_nonneg).
  assert (HY : 0 <= Y) by (apply zsum_nonneg; intros; apply Z.square_nonneg).
  generalize (x i) (y i); intros u v.
  (* 2suv <= Xv² + Yu², because (2suv)² <= 4XYu²v² <= (Xv² + Yu²)² *)
  assert (H : Z.abs (2 * (s * (u * v))) <= X * (v * v) + Y * (u * u)).
  { assert (0 <= u * u) by apply Z.square_nonneg; assert (0 <= v * v) by apply Z.square_nonneg.
    apply zsquare_le; [apply Z.add_nonneg_nonneg; apply Z.mul_nonneg_nonneg; assumption|].
    replace (2 * (s * (u * v)) * (2 * (s * (u * v)))) with (4 * (s * s) * (u * u * (v * v))) by ring.
    apply Z.le_trans with (4 * (X * Y) * (u * u * (v * v))).
    - apply Z.mul_le_mono_nonneg_r; [apply Z.mul_nonneg_nonneg; assumption|lia].
    - pose proof (Z.square_nonneg (X * (v * v) - Y * (u * u))); lia. }
  replace ((u * v + s) * (u * v + s)) with (u * u * (v * v) + 2 * (s * (u * v)) + s * s) by ring.
  replace ((u * u + X) * (v * v + Y)) with (u * u * (v * v) + (X * (v * v) + Y * (u * u)) + X * Y) by ring.
  lia.
Qed.

(** ‖h − m‖² <= Σ h_i(H_i − 2m_i) + Σ m_i², H_i >= h_i: one more lane. *)
Lemma distance_lane {I : Type} (l : list I) (h m H : I -> Z) : (forall i, In i l -> 0 <= h i <= H i) ->
  Σ i ∈ l, ((h i - m i) * (h i - m i)) <= (Σ i ∈ l, (h i * (H i - 2 * m i))) + Σ i ∈ l, (m i * m i).
Proof.
  intros Hh; rewrite <- zsum_plus; apply zsum_le; intros i Hi; specialize (Hh i Hi).
  assert (h i * h i <= h i * H i) by (apply Z.mul_le_mono_nonneg_l; lia); lia.
Qed.

(** For the row v_i = V[c,i] − V[c',i] of a difference of two logits (or V[c,i] of one). *)
Theorem lemma_B_cauchy_schwarz {I : Type} (l : list I) (v h m H : I -> Z) (bound : Z) :
  (forall i, In i l -> 0 <= h i <= H i) -> 0 <= bound ->
  (Σ i ∈ l, (v i * v i)) * ((Σ i ∈ l, (h i * (H i - 2 * m i))) + Σ i ∈ l, (m i * m i)) <= bound * bound ->
  Z.abs ((Σ i ∈ l, (v i * h i)) - Σ i ∈ l, (v i * m i)) <= bound.
Proof.
  intros Hh Hb Hc; apply zsquare_le; [exact Hb|].
  rewrite <- zsum_minus, (zsum_ext l _ (fun i => v i * (h i - m i))) by (intros; ring).
  eapply Z.le_trans; [apply cauchy_schwarz|]; eapply Z.le_trans; [|exact Hc].
  apply Z.mul_le_mono_nonneg_l; [apply zsum_nonneg; intros; apply Z.square_nonneg|].
  apply distance_lane, Hh.
Qed.
