(** Theorem A: certified accuracy. What the integers of Lemmas E and B prove about the logits of the network. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle IntegerSums LemmaB.
Import ListNotations.
Open Scope R_scope.

(** The right answer. *)
Definition answer (p a b : nat) : nat := Nat.modulo (a + b) p.
(** [right p q a b N]: among the q logits N the largest is that of a + b mod p. *)
Definition right (p q a b : nat) (N : nat -> R) : Prop :=
  forall c, (c < q)%nat -> c <> answer p a b -> N (answer p a b) > N c.

Section Input.
(** One input: Lemma B's terms, with integer directions U, in units of which one is [v] logits. *)
Variables (p q L : nat) (unit : Z) (U : nat -> nat -> Z) (terms : list term).
Variables (charged at_least : term -> Z) (u : R).
Hypothesis u_pos : 0 < u.
Hypothesis unit_pos : (0 < unit)%Z.
Hypothesis activations : forall t, In t terms -> (0 <= h t)%Z.
Hypothesis charged_rest : forall t, In t terms -> (rest p L unit U t <= charged t)%Z.
Hypothesis at_least_over : forall t, In t terms -> (at_least t <= over p q L unit U t)%Z.
Notation US := (US L U terms).
Notation η := (η terms charged).
Definition v : R := u / IZR unit.
Definition over_lane : Z := (Σ t ∈ terms, (at_least t * h t))%Z.

(** The network's own logits N (in exact arithmetic), tied by Lemma K. *)
Variables (N : nat -> R) (κ_d : R).
Hypothesis K_d : forall c c', (c < q)%nat -> (c' < q)%nat ->
  Rabs ((N c - N c') - u * IZR (logit terms c - logit terms c')) <= κ_d.

Lemma v_pos : 0 < v.
Proof. unfold v; apply Rdiv_lt_0_compat; [exact u_pos|apply IZR_lt, unit_pos]. Qed.

Lemma in_units (x : Z) : u * IZR x = v * IZR (unit * x).
Proof. unfold v; rewrite mult_IZR; field; apply not_0_IZR; lia. Qed.

(** logit_s − logit_c >= (U[s] − U[c])·S − η, minus κ_d. *)
Definition margin (s c : nat) : R := v * IZR (US s - US c - η) - κ_d.
Theorem theorem_A s c : (p <= q)%nat -> (s < p)%nat -> (c < p)%nat -> N s - N c >= margin s c.
Proof.
  intros Hpq Hs Hc; pose proof (lemma_B p L unit U terms activations charged charged_rest s c Hs Hc) as HB.
  specialize (K_d s c ltac:(lia) ltac:(lia)); rewrite in_units in K_d.
  assert (Hz : (US s - US c - η <= unit * (logit terms s - logit terms c))%Z) by lia.
  apply IZR_le in Hz; pose proof v_pos; unfold margin.
  assert (v * IZR (US s - US c - η) <= v * IZR (unit * (logit terms s - logit terms c))) by (apply Rmult_le_compat_l; lra).
  unfold Rabs in K_d; destruct Rcase_abs in K_d; lra.
Qed.

(** For an output c' >= p. *)
Definition margin_beyond (s c : nat) : R := v * IZR (US s - US c + over_lane) - κ_d.
Theorem theorem_A_beyond s c : (p <= q)%nat -> (s < p)%nat -> (p <= c < q)%nat -> N s - N c >= margin_beyond s c.
Proof.
  intros Hpq Hs Hc; pose proof (lemma_B_beyond p q L unit U terms activations at_least at_least_over s c Hs Hc) as HB.
  specialize (K_d s c ltac:(lia) ltac:(lia)); rewrite in_units in K_d.
  fold over_lane in HB; apply IZR_le in HB; pose proof v_pos; unfold margin_beyond.
  assert (v * IZR (US s - US c + over_lane) <= v * IZR (unit * (logit terms s - logit terms c))) by (apply Rmult_le_compat_l; lra).
  unfold Rabs in K_d; destruct Rcase_abs in K_d; lra.
Qed.

(** An input is certified when its margin, minus twice Theorem F's bound, is positive; computed logits N̂ are within F. *)
Theorem theorem_A_certified (N_executed : nat -> R) (F : R) a b : (0 < p <= q)%nat ->
  (forall c, (c < q)%nat -> Rabs (N_executed c - N c) <= F) ->
  (forall c, (c < p)%nat -> c <> answer p a b -> margin (answer p a b) c - 2 * F > 0) ->
  (forall c, (p <= c < q)%nat -> margin_beyond (answer p a b) c - 2 * F > 0) ->
  right p q a b N_executed.
Proof.
  intros Hpq HF Hm Hb c Hc Hne.
  assert (Hs : (answer p a b < p)%nat) by (apply Nat.mod_upper_bound; lia).
  pose proof (HF (answer p a b) ltac:(lia)) as F1; pose proof (HF c Hc) as F2.
  assert (M : N (answer p a b) - N c > 2 * F).
  { destruct (Nat.lt_ge_cases c p) as [H|H].
    - pose proof (theorem_A (answer p a b) c ltac:(lia) Hs H); specialize (Hm c H Hne); lra.
    - pose proof (theorem_A_beyond (answer p a b) c ltac:(lia) Hs ltac:(lia)); specialize (Hb c ltac:(lia)); lra. }
  unfold Rabs in F1, F2; destruct Rcase_abs in F1; destruct Rcase_abs in F2; lra.
Qed.
End Input.

(** ** Margins by discs: all d of one δ at once. The directions are split into waves of the families' frequencies and the
    rest of every direction; the split is an identity, F may be anything. *)
Section Discs.
Variables (p L : nat) (J : list Z) (F : Z -> nat -> C) (U Urest : nat -> nat -> R) (S : nat -> R) (a b : nat).
Hypothesis p_pos : (0 < p)%nat.
Hypothesis split_ : forall c l, (c < p)%nat ->
  U c l = (Σ j ∈ J, Re (F j l * e (IZR j * INR c / INR p))%C) + Urest c l.

Definition US_ (c : nat) : R := Σ l ∈ seq 0 L, U c l * S l.
(** R_j = e(j(a + b)/p)·Σ_l F_jl·S_l *)
Definition R_ (j : Z) : C := (csum (seq 0 L) (fun l => F j l * RtoC (S l)) * e (IZR j * INR (a + b) / INR p))%C.

Lemma e_turn j c : e (IZR j * INR c / INR p) = (e (IZR j * INR (a + b) / INR p) * e (IZR j * (INR c - INR (a + b)) / INR p))%C.
Proof. rewrite <- e_plus; f_equal; field; apply not_0_INR; lia. Qed.

Lemma US_split c : (c < p)%nat ->
  US_ c = (Σ j ∈ J, Re (R_ j * e (IZR j * (INR c - INR (a + b)) / INR p))%C) + Σ l ∈ seq 0 L, Urest c l * S l.
Proof.
  intros Hc; unfold US_, R_.
  rewrite (sum_ext (seq 0 L) _ (fun l => (Σ j ∈ J, Re (F j l * e (IZR j * INR c / INR p))%C * S l) + Urest c l * S l)).
  2: { intros l _; rewrite (split_ c l Hc), sum_mul_r; ring. }
  rewrite sum_plus, sum_swap; f_equal; apply sum_ext; intros j _.
  rewrite e_turn, <- Cmult_assoc, csum_mult_r, Re_csum; apply sum_ext; intros l _.
  unfold Re, RtoC, Cmult; simpl; ring.
Qed.

(** (U[a+b] − U[a+b+d])·S >= Σ_j Re[G_j(1 − e(jd/p))] − Σ_j |1 − e(jd/p)|·ε_j − Σ_l range(U^rest_l)·|S_l| *)
Theorem theorem_A_discs (G : Z -> C) (ε : Z -> R) (range : nat -> R) (d : nat) s c : (s < p)%nat -> (c < p)%nat ->
  (exists m : Z, INR s = INR (a + b) + IZR m * INR p) -> (exists m : Z, INR c = INR (a + b) + INR d + IZR m * INR p) ->
  (forall j, In j J -> Cmod (R_ j - G j)%C <= ε j) ->
  (forall l, (l < L)%nat -> Rabs (Urest s l - Urest c l) <= range l) ->
  US_ s - US_ c >= (Σ j ∈ J, Re (G j * (1 - e (IZR j * INR d / INR p)))%C)
    - (Σ j ∈ J, Cmod (1 - e (IZR j * INR d / INR p))%C * ε j) - Σ l ∈ seq 0 L, range l * Rabs (S l).
Proof.
  intros Hs Hc [m Em] [m' Em'] Hε Hr.
  assert (Hp : INR p <> 0) by (apply not_0_INR; lia).
  assert (T : forall j, e (IZR j * (INR s - INR (a + b)) / INR p) = 1%C).
  { intros j; rewrite Em; replace (IZR j * (INR (a + b) + IZR m * INR p - INR (a + b)) / INR p) with (IZR (j * m)) by (rewrite mult_IZR; field; exact Hp); apply e_Z. }
  assert (T' : forall j, e (IZR j * (INR c - INR (a + b)) / INR p) = e (IZR j * INR d / INR p)).
  { intros j; rewrite Em'; replace (IZR j * (INR (a + b) + INR d + IZR m' * INR p - INR (a + b)) / INR p) with (IZR j * INR d / INR p + IZR (j * m')) by (rewrite mult_IZR; field; exact Hp).
    rewrite e_plus, e_Z; apply Cmult_1_r. }
  rewrite (US_split s Hs), (US_split c Hc).
  rewrite (sum_ext J (fun j => Re (R_ j * e (IZR j * (INR s - INR (a + b)) / INR p))%C) (fun j => Re (R_ j * 1)%C)) by (intros; rewrite T; reflexivity).
  rewrite (sum_ext J (fun j => Re (R_ j * e (IZR j * (INR c - INR (a + b)) / INR p))%C) (fun j => Re (R_ j * e (IZR j * INR d / INR p))%C)) by (intros; rewrite T'; reflexivity).
  assert (H1 : (Σ j ∈ J, (Re (G j * (1 - e (IZR j * INR d / INR p)))%C - Cmod (1 - e (IZR j * INR d / INR p))%C * ε j))
    <= Σ j ∈ J, (Re (R_ j * 1)%C - Re (R_ j * e (IZR j * INR d / INR p))%C)).
  { apply sum_le; intros j Hj; specialize (Hε j Hj); set (z := (1 - e (IZR j * INR d / INR p))%C).
    replace (Re (R_ j * 1)%C - Re (R_ j * e (IZR j * INR d / INR p))%C) with (Re (R_ j * z)%C) by (rewrite <- Re_minus; f_equal; unfold z; ring).
    pose proof (Re_mul_le (R_ j - G j)%C z) as Hz.
    replace ((R_ j - G j) * z)%C with (R_ j * z - G j * z)%C in Hz by ring; rewrite Re_minus in Hz.
    assert (Cmod (R_ j - G j)%C * Cmod z <= ε j * Cmod z) by (apply Rmult_le_compat_r; [apply Cmod_ge_0|assumption]).
    unfold Rabs in Hz; destruct Rcase_abs in Hz; lra. }
  assert (H2 : Rabs (Σ l ∈ seq 0 L, (Urest s l * S l - Urest c l * S l)) <= Σ l ∈ seq 0 L, range l * Rabs (S l)).
  { eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros l Hl; apply in_seq in Hl.
    rewrite <- Rmult_minus_distr_r, Rabs_mult; apply Rmult_le_compat_r; [apply Rabs_pos|apply Hr; lia]. }
  rewrite !sum_minus in H1; rewrite sum_minus in H2; unfold Rabs at 1 in H2; destruct Rcase_abs in H2; lra.
Qed.
End Discs.
