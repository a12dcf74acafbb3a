(** The rounding of the fixed-point stages: floor shifts and quotients, products with a rounded table, angle addition with
    a tracked error. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Flocq Require Import Core.
From Formal Require Import Sums IntegerSums Circle.
Open Scope R_scope.

(** value << shift, or value >> −shift: Python's shifts round down. *)
Definition shifted (value shift : Z) : Z := Z.shiftl value shift.

Lemma shifted_spec v s : IZR (shifted v s) <= IZR v * bpow radix2 s < IZR (shifted v s) + 1.
Proof.
  unfold shifted; destruct (Z_le_dec 0 s) as [H|H].
  - rewrite Z.shiftl_mul_pow2, mult_IZR, (IZR_Zpower radix2) by lia; lra.
  - assert (E : exists n, (0 <= n)%Z /\ s = (- n)%Z) by (exists (- s)%Z; lia); destruct E as [n [Hn ->]].
    rewrite Z.shiftl_opp_r, Z.shiftr_div_pow2 by lia.
    assert (Hp : (0 < 2 ^ n)%Z) by (apply Z.pow_pos_nonneg; lia).
    replace (bpow radix2 (- n)) with (/ IZR (2 ^ n)).
    2: { rewrite bpow_opp, <- (IZR_Zpower radix2) by exact Hn; reflexivity. }
    assert (Hr : 0 < IZR (2 ^ n)) by (apply IZR_lt; exact Hp).
    pose proof (Z.div_mod v (2 ^ n) ltac:(lia)) as Hd; pose proof (Z.mod_pos_bound v (2 ^ n) Hp) as [Hm1 Hm2].
    apply (f_equal IZR) in Hd; rewrite plus_IZR, mult_IZR in Hd; apply IZR_le in Hm1; apply IZR_lt in Hm2.
    set (q := IZR (v / 2 ^ n)) in *; set (r := IZR (v mod 2 ^ n)) in *; set (D := IZR (2 ^ n)) in *.
    replace (IZR v * / D) with (q + r / D) by (rewrite Hd; field; lra).
    assert (0 <= r / D < 1); [|lra].
    split; [apply Rdiv_le_0_compat; lra|]; apply Rmult_lt_reg_r with D; [exact Hr|]; unfold Rdiv; rewrite Rmult_assoc, Rinv_l by lra; lra.
Qed.

(** x // d rounds down, d > 0: the kernel's quantisation of an exact dyadic entry over the attention weights' denominator. *)
Lemma quotient_spec x d : (0 < d)%Z -> IZR (x / d) <= IZR x / IZR d < IZR (x / d) + 1.
Proof.
  intros Hd; pose proof (Z.div_mod x d ltac:(lia)) as E; pose proof (Z.mod_pos_bound x d Hd) as [H1 H2].
  assert (D : 0 < IZR d) by (apply IZR_lt; exact Hd).
  apply (f_equal IZR) in E; rewrite plus_IZR, mult_IZR in E; apply IZR_le in H1; apply IZR_lt in H2.
  replace (IZR x / IZR d) with (IZR (x / d) + IZR (x mod d) / IZR d) by (rewrite E; field; lra).
  split; [assert (0 <= IZR (x mod d) / IZR d) by (apply Rdiv_le_0_compat; lra); lra|].
  enough (IZR (x mod d) / IZR d < 1) by lra.
  apply Rmult_lt_reg_r with (IZR d); [exact D|]; unfold Rdiv; rewrite Rmult_assoc, Rinv_l; lra.
Qed.

(** -(-x // d) rounds up. *)
Lemma quotient_up_spec x d : (0 < d)%Z -> IZR x / IZR d <= IZR (- (- x / d)).
Proof.
  intros Hd; pose proof (quotient_spec (- x) d Hd) as [H _]; rewrite opp_IZR in *; unfold Rdiv in *; lra.
Qed.

(** ** A rounded table of the circle: [near S ε z θ] says that the integer pair z is S·e(θ) up to ε. *)
Definition near (S ε : R) (z : Z * Z) (θ : R) : Prop := Cmod ((IZR (fst z), IZR (snd z)) - RtoC S * e θ)%C <= ε.

(** From an error of each part. *)
Lemma near_parts S ε c s θ : 0 <= ε -> Rabs (IZR c - S * cos (2 * PI * θ)) <= ε -> Rabs (IZR s - S * sin (2 * PI * θ)) <= ε ->
  near S (sqrt 2 * ε) (c, s) θ.
Proof.
  intros Hε H1 H2; unfold near, Cmod; cbn [fst snd].
  replace (sqrt 2 * ε) with (sqrt (2 * (ε * ε))) by (rewrite sqrt_mult, sqrt_square by nra; reflexivity).
  apply sqrt_le_1_alt; unfold Cminus, Cplus, Copp, Cmult, RtoC, e; simpl.
  assert (Q : forall a, Rabs a <= ε -> a * a <= ε * ε).
  { intros a Ha; rewrite <- (Rabs_pos_eq ε Hε) in Ha; apply Rsqr_le_abs_1 in Ha; exact Ha. }
  apply Q in H1; apply Q in H2.
  apply Rle_trans with ((IZR c - S * cos (2 * PI * θ)) * (IZR c - S * cos (2 * PI * θ)) + (IZR s - S * sin (2 * PI * θ)) * (IZR s - S * sin (2 * PI * θ))).
  - right; ring.
  - lra.
Qed.

(** A product with a table entry: x·ĉ is off by at most |x|·ε, and a sum of such products by the sum. *)
Theorem table_products {I : Type} (l : list I) (x : I -> Z) (z : I -> Z * Z) (θ ε : I -> R) (S : R) :
  (forall i, In i l -> near S (ε i) (z i) (θ i)) ->
  Rabs (IZR (zsum l (fun i => (x i * fst (z i))%Z)) - S * Σ i ∈ l, IZR (x i) * cos (2 * PI * θ i)) <= Σ i ∈ l, Rabs (IZR (x i)) * ε i.
Proof.
  intros H; rewrite IZR_zsum, <- sum_mul_l, <- sum_minus; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi.
  specialize (H i Hi); unfold near in H; rewrite mult_IZR.
  replace (IZR (x i) * IZR (fst (z i)) - S * (IZR (x i) * cos (2 * PI * θ i)))
    with (IZR (x i) * Re ((IZR (fst (z i)), IZR (snd (z i))) - RtoC S * e (θ i))%C) by (unfold Re, Cminus, Cplus, Copp, Cmult, RtoC, e; simpl; ring).
  rewrite Rabs_mult; apply Rmult_le_compat_l; [apply Rabs_pos|]; eapply Rle_trans; [apply Re_le_Cmod|exact H].
Qed.

(** *Angle addition*: the rounded product of two table entries, each part shifted down by s bits, S = 2^s, is the entry of
    the sum of the angles, and its error is the sum of the errors, their product and the rounding. *)
Definition angle_sum (s : Z) (z z' : Z * Z) : Z * Z :=
  (Z.shiftr (fst z * fst z' - snd z * snd z') s, Z.shiftr (fst z * snd z' + snd z * fst z') s).

Theorem angle_addition (s : Z) ε ε' z z' θ θ' : (0 <= s)%Z -> 0 <= ε -> 0 <= ε' ->
  near (bpow radix2 s) ε z θ -> near (bpow radix2 s) ε' z' θ' ->
  near (bpow radix2 s) (ε + ε' + ε * ε' / bpow radix2 s + sqrt 2) (angle_sum s z z') (θ + θ').
Proof.
  intros Hs Hε Hε' Hz Hz'; set (S := bpow radix2 s) in *.
  assert (HS : 0 < S) by apply bpow_gt_0.
  assert (ES : bpow radix2 (- s) = / S) by (unfold S; apply bpow_opp).
  pose proof (shifted_spec (fst z * fst z' - snd z * snd z') (- s)) as R1.
  pose proof (shifted_spec (fst z * snd z' + snd z * fst z') (- s)) as R2.
  unfold shifted in R1, R2; rewrite Z.shiftl_opp_r, ES in R1, R2.
  unfold near, angle_sum in *; cbn [fst snd].
  set (c3 := Z.shiftr (fst z * fst z' - snd z * snd z') s) in *; set (s3 := Z.shiftr (fst z * snd z' + snd z * fst z') s) in *.
  rewrite minus_IZR, !mult_IZR in R1; rewrite plus_IZR, !mult_IZR in R2.
  set (Z1 := (IZR (fst z), IZR (snd z)) : C) in *; set (Z2 := (IZR (fst z'), IZR (snd z')) : C) in *.
  assert (Split : ((IZR c3, IZR s3) - RtoC S * e (θ + θ'))%C =
    (((IZR c3, IZR s3) - RtoC (/ S) * (Z1 * Z2)) + (RtoC (/ S) * ((Z1 - RtoC S * e θ) * (Z2 - RtoC S * e θ')) +
       (Z1 - RtoC S * e θ) * e θ' + e θ * (Z2 - RtoC S * e θ')))%C).
  { rewrite e_plus; assert (HI : (RtoC (/ S) * RtoC S)%C = 1%C) by (rewrite <- RtoC_mult, Rinv_l by lra; reflexivity).
    set (i := RtoC (/ S)) in *; set (σ := RtoC S) in *; set (e1 := e θ); set (e2 := e θ'); set (t := (IZR c3, IZR s3) : C).
    replace (t - σ * (e1 * e2))%C with (t - i * (Z1 * Z2) + i * (Z1 * Z2) - σ * (e1 * e2))%C by ring.
    replace (t - i * (Z1 * Z2) + (i * ((Z1 - σ * e1) * (Z2 - σ * e2)) + (Z1 - σ * e1) * e2 + e1 * (Z2 - σ * e2)))%C
      with (t - i * (Z1 * Z2) + i * (Z1 * Z2) + (1 - i * σ) * (Z1 * e2 + e1 * Z2) - σ * (e1 * e2) * (1 + (1 - i * σ)))%C by ring.
    rewrite HI; ring. }
  rewrite Split.
  eapply Rle_trans; [apply Cmod_triangle|].
  replace (ε + ε' + ε * ε' / S + sqrt 2) with (sqrt 2 + (ε * ε' / S + ε + ε')) by ring.
  apply Rplus_le_compat.
  - unfold Cmod; apply sqrt_le_1_alt; unfold Z1, Z2, Cminus, Cplus, Copp, Cmult, RtoC; simpl.
    set (x := IZR (fst z) * IZR (fst z') - IZR (snd z) * IZR (snd z')) in *.
    set (y := IZR (fst z) * IZR (snd z') + IZR (snd z) * IZR (fst z')) in *.
    match goal with |- ?X <= 2 => replace X with ((IZR c3 - x * / S) * (IZR c3 - x * / S) + (IZR s3 - y * / S) * (IZR s3 - y * / S)) by (unfold x, y; ring) end.
    assert (Q : forall a, -1 <= a <= 0 -> a * a <= 1) by (intros; nra).
    pose proof (Q (IZR c3 - x * / S) ltac:(lra)); pose proof (Q (IZR s3 - y * / S) ltac:(lra)); lra.
  - eapply Rle_trans; [apply Cmod_triangle|]; apply Rplus_le_compat.
    + eapply Rle_trans; [apply Cmod_triangle|]; apply Rplus_le_compat.
      * rewrite !Cmod_mult, Cmod_R, Rabs_pos_eq by (left; apply Rinv_0_lt_compat, HS).
        unfold Rdiv; rewrite (Rmult_comm (ε * ε')); apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat, HS|].
        apply Rmult_le_compat; try apply Cmod_ge_0; assumption.
      * rewrite Cmod_mult, Cmod_e; lra.
    + rewrite Cmod_mult, Cmod_e; lra.
Qed.
