(** The closed form, with harmonics r of the output: what G_j(δ) is, and that it is the integral in place of the sum. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle Relu Profile Coefficients LemmaI.
Import ListNotations.
Open Scope R_scope.

Section Family.
Context {I : Type}.
Variables (g : family) (members : list I) (α φ : I -> R).
(** r, the harmonic of the output, and ω_{i,rk}, the member's output weights at rk. *)
Variables (r : nat) (ω : I -> C).
Notation m := (2 * INR r).
Hypothesis α_pos : forall i, In i members -> 0 <= α i.

(** Q_{g,r} = Σ_i α_i·ω_{i,rk}·e(−2rφ_i), and the family's term e(rkδ/p)·Q_{g,r}·∫_0^1 ReLU(T_{g,δ}(x)) e(2rx) dx. *)
Definition Q_ : C := csum members (fun i => RtoC (α i) * ω i * e (- (m * φ i)))%C.
Definition turn (t : Z) : C := e (INR r * IZR (k g) * IZR t / IZR (p g)).
Definition G_ (δ : Z) : C := (turn δ * Q_ * complex_integral g δ m)%C.

(** What ideal members write at rk, turned by e(rk(a + b)/p): the same with the members' angles for nodes. *)
Definition x_ (i : I) (b : Z) : R := IZR (k g) * IZR b / IZR (p g) + φ i.
Definition written (a b : Z) : C :=
  (turn (a + b) * csum members (fun i => ω i * RtoC (ReLU (α i * profile g (a - b) (x_ i b)))))%C.

Theorem closed_form_terms a b : written a b =
  (turn (a - b) * csum members (fun i => RtoC (α i) * ω i * e (- (m * φ i)) * integrand g (a - b) m (x_ i b)))%C.
Proof.
  unfold written; rewrite !csum_mult_l; apply csum_ext; intros i Hi; specialize (α_pos i Hi).
  assert (Hp : IZR (p g) <> 0) by (apply not_0_IZR; pose proof (p_pos g); lia).
  replace (pos (α i * profile g (a - b) (x_ i b))) with (α i * pos (profile g (a - b) (x_ i b))).
  2: { unfold pos, Rmax; destruct (Rle_dec (profile g (a - b) (x_ i b)) 0); destruct (Rle_dec (α i * profile g (a - b) (x_ i b)) 0); nra. }
  unfold integrand; rewrite RtoC_mult.
  assert (E : turn (a + b) = (turn (a - b) * (e (- (m * φ i)) * e (m * x_ i b)))%C).
  { unfold turn, x_; rewrite <- !e_plus; f_equal; rewrite plus_IZR, minus_IZR; field; exact Hp. }
  rewrite E; ring.
Qed.

(** So the quadrature error at rk is a finite sum minus the integral, weight by weight. *)
Theorem closed_form_error a b : (written a b - G_ (a - b))%C =
  (turn (a - b) * csum members (fun i => RtoC (α i) * ω i * e (- (m * φ i)) * (integrand g (a - b) m (x_ i b) - complex_integral g (a - b) m)))%C.
Proof.
  rewrite closed_form_terms; unfold G_, Q_; rewrite <- Cmult_assoc, csum_mult_r.
  set (t := turn (a - b)); set (J := complex_integral g (a - b) m).
  rewrite !csum_mult_l.
  assert (D : forall (F F' : I -> C) l, (csum l F - csum l F')%C = csum l (fun i => F i - F' i)%C).
  { intros F F'; induction l as [|i l IH]; [unfold csum; simpl; ring|]; rewrite !csum_cons, <- IH; ring. }
  rewrite D; apply csum_ext; intros i _; ring.
Qed.

(** The kernel's G has Lemma I's rule in place of the integral. *)
Theorem closed_form_rule δ (N : nat) ε : Cmod (complex_integral g δ m - complex_rule g δ m N)%C <= ε ->
  Cmod (G_ δ - turn δ * Q_ * complex_rule g δ m N)%C <= Cmod Q_ * ε.
Proof.
  intros H; unfold G_.
  replace (turn δ * Q_ * complex_integral g δ m - turn δ * Q_ * complex_rule g δ m N)%C
    with (turn δ * Q_ * (complex_integral g δ m - complex_rule g δ m N))%C by ring.
  rewrite !Cmod_mult; unfold turn; rewrite Cmod_e, Rmult_1_l; apply Rmult_le_compat_l; [apply Cmod_ge_0|exact H].
Qed.
End Family.

(** *Frequencies modulo p, up to sign*: a term at rk ≡ j, or ≡ −j, is a term at j. *)
Lemma wave_mod (p j j' t : Z) : (0 < p)%Z -> (j mod p = j' mod p)%Z -> e (IZR j * IZR t / IZR p) = e (IZR j' * IZR t / IZR p).
Proof.
  intros Hp E; assert (Hp0 : IZR p <> 0) by (apply not_0_IZR; lia).
  pose proof (Z.div_mod j p ltac:(lia)) as D1; pose proof (Z.div_mod j' p ltac:(lia)) as D2.
  assert (Ej : (j = j' + (j / p - j' / p) * p)%Z) by lia; rewrite Ej.
  replace (IZR (j' + (j / p - j' / p) * p) * IZR t / IZR p) with (IZR j' * IZR t / IZR p + IZR ((j / p - j' / p) * t)).
  - rewrite e_plus, e_Z; apply Cmult_1_r.
  - rewrite plus_IZR, !mult_IZR; field; exact Hp0.
Qed.

Theorem same_frequency (p j j' t : Z) (z : C) : (0 < p)%Z -> (j' mod p = j mod p)%Z ->
  Re (z * e (IZR j' * IZR t / IZR p))%C = Re (z * e (IZR j * IZR t / IZR p))%C.
Proof. intros Hp E; rewrite (wave_mod p j' j t Hp E); reflexivity. Qed.

Theorem opposite_frequency (p j j' t : Z) (z : C) : (0 < p)%Z -> (j' mod p = (- j) mod p)%Z ->
  Re (z * e (IZR j' * IZR t / IZR p))%C = Re (Cconj z * e (IZR j * IZR t / IZR p))%C.
Proof.
  intros Hp E; rewrite (wave_mod p j' (- j) t Hp E).
  replace (IZR (- j) * IZR t / IZR p) with (- (IZR j * IZR t / IZR p)) by (rewrite opp_IZR; field; apply not_0_IZR; lia).
  rewrite e_opp; unfold Re, Cconj, Cmult; simpl; ring.
Qed.

(** *Output weights at j*: ω_{i,j} = (2/p) Σ_{c<p} W[c,i] e(−jc/p). Real weights have conjugate ones at −j. *)
Definition at_frequency (p : nat) (j : Z) (row : nat -> R) : C :=
  (RtoC (2 / INR p) * csum (seq 0 p) (fun c => RtoC (row c) * e (- (IZR j * INR c / INR p))))%C.

Lemma conj_csum {I} (l : list I) f : Cconj (csum l f) = csum l (fun i => Cconj (f i)).
Proof.
  induction l as [|i l IH]; [unfold csum, Cconj; simpl; apply injective_projections; simpl; ring|].
  rewrite !csum_cons, <- IH; unfold Cconj, Cplus; apply injective_projections; simpl; ring.
Qed.

Theorem at_opposite_frequency p j row : (0 < p)%nat -> at_frequency p (- j) row = Cconj (at_frequency p j row).
Proof.
  intros Hp; assert (INR p <> 0) by (apply not_0_INR; lia); unfold at_frequency.
  assert (M : forall x z, Cconj (RtoC x * z)%C = (RtoC x * Cconj z)%C).
  { intros x z; unfold Cconj, Cmult, RtoC; apply injective_projections; simpl; ring. }
  rewrite M, conj_csum; f_equal; apply csum_ext; intros c _; rewrite M, <- e_opp; f_equal; f_equal; rewrite opp_IZR; field; assumption.
Qed.

(** The logits' coefficient at j is that of the neurons, each times its activation, and of the skips. *)
Theorem coefficient_of_logits {I} (l : list I) p j (W : I -> nat -> R) (h : I -> R) (skip : nat -> R) :
  at_frequency p j (fun c => (Σ i ∈ l, W i c * h i) + skip c) =
  (csum l (fun i => at_frequency p j (W i) * RtoC (h i)) + at_frequency p j skip)%C.
Proof.
  unfold at_frequency; induction l as [|i l IH].
  - unfold csum at 2; simpl; rewrite Cplus_0_l; f_equal; apply csum_ext; intros c _; unfold sum; simpl; rewrite Rplus_0_l; reflexivity.
  - rewrite csum_cons, <- Cplus_assoc, <- IH.
    transitivity (RtoC (2 / INR p) * (csum (seq 0 p) (fun c => RtoC (h i) * (RtoC (W i c) * e (- (IZR j * INR c / INR p)))) +
      csum (seq 0 p) (fun c => RtoC ((Σ x ∈ l, W x c * h x) + skip c)%R * e (- (IZR j * INR c / INR p)))))%C.
    + f_equal; rewrite <- csum_plus; apply csum_ext; intros c _; rewrite sum_cons, !RtoC_plus, RtoC_mult; ring.
    + rewrite <- csum_mult_l; ring.
Qed.
