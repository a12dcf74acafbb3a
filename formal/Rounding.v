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

(** ** Rounding to nearest: (value + half) >> bits. *)
Definition rounded (value bits : Z) : Z := Z.shiftr (value + Z.shiftl 1 (bits - 1)) bits.

Lemma rounded_spec v s : (0 < s)%Z -> Rabs (IZR (rounded v s) - IZR v * / bpow radix2 s) <= / 2.
Proof.
  intros Hs; unfold rounded; pose proof (shifted_spec (v + Z.shiftl 1 (s - 1)) (- s)) as H.
  unfold shifted in H; rewrite Z.shiftl_opp_r, bpow_opp, Z.shiftl_1_l, plus_IZR, (IZR_Zpower radix2) in H by lia.
  assert (HS : 0 < bpow radix2 s) by apply bpow_gt_0.
  assert (E : bpow radix2 (s - 1) * / bpow radix2 s = / 2).
  { replace s with (1 + (s - 1))%Z at 2 by lia; rewrite bpow_plus, bpow_1; change (IZR radix2) with 2; pose proof (bpow_gt_0 radix2 (s - 1)); field; lra. }
  rewrite Rmult_plus_distr_r, E in H; rewrite Z.shiftl_1_l; apply Rabs_le; lra.
Qed.

(** *Tables*: points within ε and ε′ units, multiplied with each part rounded to nearest, give one within ε + ε′ + 1
    (`tables.times`), as long as ε·ε′ is at most a quarter of one. *)
Definition point_product (s : Z) (z z' : Z * Z) : Z * Z :=
  (rounded (fst z * fst z' - snd z * snd z') s, rounded (fst z * snd z' + snd z * fst z') s).

Theorem table_product (s : Z) ε ε' z z' θ θ' : (0 < s)%Z -> 0 <= ε -> 0 <= ε' -> ε * ε' <= bpow radix2 s / 4 ->
  near (bpow radix2 s) ε z θ -> near (bpow radix2 s) ε' z' θ' ->
  near (bpow radix2 s) (ε + ε' + 1) (point_product s z z') (θ + θ').
Proof.
  intros Hs Hε Hε' Hq Hz Hz'; set (S := bpow radix2 s) in *.
  assert (HS : 0 < S) by apply bpow_gt_0.
  pose proof (rounded_spec (fst z * fst z' - snd z * snd z') s Hs) as R1; pose proof (rounded_spec (fst z * snd z' + snd z * fst z') s Hs) as R2.
  fold S in R1, R2; unfold near, point_product in *; cbn [fst snd].
  set (c3 := rounded _ s) in *; set (s3 := rounded (fst z * snd z' + snd z * fst z') s) in *.
  rewrite minus_IZR, !mult_IZR in R1; rewrite plus_IZR, !mult_IZR in R2.
  set (Z1 := (IZR (fst z), IZR (snd z)) : C) in *; set (Z2 := (IZR (fst z'), IZR (snd z')) : C) in *.
  assert (Split : ((IZR c3, IZR s3) - RtoC S * e (θ + θ'))%C =
    (((IZR c3, IZR s3) - RtoC (/ S) * (Z1 * Z2)) + (RtoC (/ S) * ((Z1 - RtoC S * e θ) * (Z2 - RtoC S * e θ')) +
       (Z1 - RtoC S * e θ) * e θ' + e θ * (Z2 - RtoC S * e θ')))%C).
  { rewrite e_plus; assert (HI : (RtoC (/ S) * RtoC S)%C = 1%C) by (rewrite <- RtoC_mult, Rinv_l by lra; reflexivity).
    set (i := RtoC (/ S)) in *; set (σ := RtoC S) in *; set (e1 := e θ); set (e2 := e θ'); set (t := (IZR c3, IZR s3) : C).
    replace (t - i * (Z1 * Z2) + (i * ((Z1 - σ * e1) * (Z2 - σ * e2)) + (Z1 - σ * e1) * e2 + e1 * (Z2 - σ * e2)))%C
      with (t - i * (Z1 * Z2) + i * (Z1 * Z2) + (1 - i * σ) * (Z1 * e2 + e1 * Z2) - σ * (e1 * e2) * (1 + (1 - i * σ)))%C by ring.
    rewrite HI; ring. }
  rewrite Split; eapply Rle_trans; [apply Cmod_triangle|].
  assert (P1 : Cmod ((IZR c3, IZR s3) - RtoC (/ S) * (Z1 * Z2))%C <= 3 / 4).
  { replace (3 / 4) with (sqrt (9 / 16)) by (replace (9 / 16) with ((3 / 4) * (3 / 4)) by field; apply sqrt_square; lra).
    unfold Cmod; apply sqrt_le_1_alt; unfold Z1, Z2, Cminus, Cplus, Copp, Cmult, RtoC; simpl.
    set (x := IZR (fst z) * IZR (fst z') - IZR (snd z) * IZR (snd z')) in *.
    set (y := IZR (fst z) * IZR (snd z') + IZR (snd z) * IZR (fst z')) in *.
    match goal with |- ?X <= 9 / 16 => replace X with ((IZR c3 - x * / S) * (IZR c3 - x * / S) + (IZR s3 - y * / S) * (IZR s3 - y * / S)) by (unfold x, y; ring) end.
    assert (Q : forall a, Rabs a <= / 2 -> a * a <= / 4) by (intros a Ha; unfold Rabs in Ha; destruct Rcase_abs in Ha; nra).
    apply Q in R1; apply Q in R2; lra. }
  assert (P2 : Cmod (RtoC (/ S) * ((Z1 - RtoC S * e θ) * (Z2 - RtoC S * e θ')))%C <= / 4).
  { rewrite !Cmod_mult, Cmod_R, Rabs_pos_eq by (left; apply Rinv_0_lt_compat, HS).
    apply Rmult_le_reg_l with S; [exact HS|]; rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l by lra.
    apply Rle_trans with (ε * ε'); [apply Rmult_le_compat; try apply Cmod_ge_0; assumption|lra]. }
  assert (P3 : Cmod ((Z1 - RtoC S * e θ) * e θ')%C <= ε) by (rewrite Cmod_mult, Cmod_e; lra).
  assert (P4 : Cmod (e θ * (Z2 - RtoC S * e θ'))%C <= ε') by (rewrite Cmod_mult, Cmod_e; lra).
  pose proof (Cmod_triangle (RtoC (/ S) * ((Z1 - RtoC S * e θ) * (Z2 - RtoC S * e θ')) + (Z1 - RtoC S * e θ) * e θ')%C (e θ * (Z2 - RtoC S * e θ'))%C).
  pose proof (Cmod_triangle (RtoC (/ S) * ((Z1 - RtoC S * e θ) * (Z2 - RtoC S * e θ')))%C ((Z1 - RtoC S * e θ) * e θ')%C).
  lra.
Qed.

(** ** Enclosed products (`enclosure.product`): X = X₁·2^h + X₀ ↦ X₁·Y + ⌊X₀·Y/2^h⌋, in units 2^h coarser. *)
Theorem enclosed_product {I : Type} (l : list I) (X Y : I -> Z) (x y : I -> R) (rx ry : R) (k : Z) : (0 <= k)%Z -> 0 <= rx -> 0 <= ry ->
  (forall i, In i l -> Rabs (x i - IZR (X i)) <= rx) -> (forall i, In i l -> Rabs (y i - IZR (Y i)) <= ry) ->
  let V := (zsum l (fun i => Z.shiftr (X i) k * Y i) + Z.shiftr (zsum l (fun i => (X i - Z.shiftl (Z.shiftr (X i) k) k) * Y i)) k)%Z in
  Rabs ((Σ i ∈ l, x i * y i) - bpow radix2 k * IZR V) <=
  rx * (Σ i ∈ l, Rabs (IZR (Y i))) + ry * (Σ i ∈ l, Rabs (IZR (X i))) + INR (length l) * (rx * ry) + bpow radix2 k.
Proof.
  intros Hk Hrx Hry Hx Hy V.
  set (P := zsum l (fun i => (X i * Y i)%Z)).
  assert (EV : IZR P - bpow radix2 k <= bpow radix2 k * IZR V <= IZR P).
  { set (high := zsum l (fun i => Z.shiftr (X i) k * Y i)%Z); set (low := zsum l (fun i => ((X i - Z.shiftl (Z.shiftr (X i) k) k) * Y i)%Z)).
    assert (EP : P = (high * 2 ^ k + low)%Z).
    { unfold P, high, low; rewrite <- zsum_mul_r, <- zsum_plus; apply zsum_ext; intros i _; rewrite Z.shiftl_mul_pow2 by exact Hk; ring. }
    pose proof (shifted_spec low (- k)) as H; unfold shifted in H; rewrite Z.shiftl_opp_r, bpow_opp in H.
    unfold V; fold high low; rewrite EP, !plus_IZR, mult_IZR, (IZR_Zpower radix2) by exact Hk.
    pose proof (bpow_gt_0 radix2 k) as HB; set (b := bpow radix2 k) in *.
    assert (E : IZR low = b * (IZR low * / b)) by (field; lra).
    set (r := IZR low * / b) in *; set (r' := IZR (Z.shiftr low k)) in *; rewrite E; split; nra. }
  assert (ES : Rabs ((Σ i ∈ l, x i * y i) - IZR P) <= rx * (Σ i ∈ l, Rabs (IZR (Y i))) + ry * (Σ i ∈ l, Rabs (IZR (X i))) + INR (length l) * (rx * ry)).
  { unfold P; rewrite IZR_zsum, <- sum_minus.
    assert (EN : INR (length l) * (rx * ry) = Σ i ∈ l, rx * ry).
    { clear; induction l as [|i l IH]; [unfold sum; simpl; ring|]; rewrite sum_cons, <- IH; simpl length; rewrite S_INR; ring. }
    rewrite EN, <- !sum_mul_l, <- !sum_plus; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros i Hi.
    specialize (Hx i Hi); specialize (Hy i Hi); rewrite mult_IZR.
    replace (x i * y i - IZR (X i) * IZR (Y i)) with ((x i - IZR (X i)) * IZR (Y i) + (y i - IZR (Y i)) * IZR (X i) + (x i - IZR (X i)) * (y i - IZR (Y i))) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang|]; rewrite !Rabs_mult.
    assert (Rabs (x i - IZR (X i)) * Rabs (IZR (Y i)) <= rx * Rabs (IZR (Y i))) by (apply Rmult_le_compat_r; [apply Rabs_pos|exact Hx]).
    assert (Rabs (y i - IZR (Y i)) * Rabs (IZR (X i)) <= ry * Rabs (IZR (X i))) by (apply Rmult_le_compat_r; [apply Rabs_pos|exact Hy]).
    assert (Rabs (x i - IZR (X i)) * Rabs (y i - IZR (Y i)) <= rx * ry) by (apply Rmult_le_compat; try apply Rabs_pos; assumption).
    lra. }
  replace ((Σ i ∈ l, x i * y i) - bpow radix2 k * IZR V) with (((Σ i ∈ l, x i * y i) - IZR P) + (IZR P - bpow radix2 k * IZR V)) by ring.
  eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat; [exact ES|apply Rabs_le; lra].
Qed.
