(** Theorem Q, harmonic: the Fourier series of ReLU(cos), with its tail. *)
From Coq Require Import Reals ZArith List Lra Lia Ratan.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Relu.
Open Scope R_scope.

(** The square wave and the series of |cos|, as finite sums. *)
Definition Q (N : nat) (θ : R) : R := Σ n ∈ seq 0 N, (-1) ^ n * cos ((2 * INR n + 1) * θ) / (2 * INR n + 1).
Definition P (N : nat) (θ : R) : R := Σ n ∈ seq 0 N, (-1) ^ n * cos (2 * (INR n + 1) * θ) / (4 * (INR n + 1) ^ 2 - 1).

Lemma sum_S (f : nat -> R) N : Σ n ∈ seq 0 (S N), f n = (Σ n ∈ seq 0 N, f n) + f N.
Proof. rewrite seq_S, sum_app, Nat.add_0_l; unfold sum at 2; simpl; ring. Qed.

Lemma Q_S N θ : Q (S N) θ = Q N θ + (-1) ^ N * cos ((2 * INR N + 1) * θ) / (2 * INR N + 1).
Proof. apply sum_S. Qed.
Lemma P_S N θ : P (S N) θ = P N θ + (-1) ^ N * cos (2 * (INR N + 1) * θ) / (4 * (INR N + 1) ^ 2 - 1).
Proof. apply sum_S. Qed.

Lemma P_Q N θ : P N θ = - / 2 + cos θ * Q N θ + / 2 * (-1) ^ N * cos (2 * INR N * θ) / (2 * INR N + 1).
Proof.
  induction N as [|N IH].
  - unfold P, Q, sum; simpl; replace (2 * 0 * θ) with 0 by ring; rewrite cos_0; field.
  - rewrite P_S, Q_S, IH, S_INR; simpl pow.
    pose proof (pos_INR N) as HN; set (x := INR N) in *.
    assert (E : cos θ * cos ((2 * x + 1) * θ) = / 2 * (cos (2 * (x + 1) * θ) + cos (2 * x * θ))).
    { rewrite (form1 (2 * (x + 1) * θ)).
      replace ((2 * (x + 1) * θ - 2 * x * θ) / 2) with θ by field.
      replace ((2 * (x + 1) * θ + 2 * x * θ) / 2) with ((2 * x + 1) * θ) by field; field. }
    rewrite (Rmult_plus_distr_l (cos θ)).
    replace (cos θ * ((-1) ^ N * cos ((2 * x + 1) * θ) / (2 * x + 1)))
      with ((-1) ^ N * (cos θ * cos ((2 * x + 1) * θ)) / (2 * x + 1)) by (field; lra).
    rewrite E; field; repeat split; nra.
Qed.

Lemma abs_pm1 n : Rabs ((-1) ^ n) = 1.
Proof. apply pow_1_abs. Qed.

(** The tail telescopes. *)
Lemma P_tail θ M k : Rabs (P (M + k) θ - P M θ) <= / 2 * (/ (2 * INR M + 1) - / (2 * INR (M + k) + 1)).
Proof.
  induction k as [|k IH].
  - rewrite Nat.add_0_r; unfold Rminus; rewrite !Rplus_opp_r, Rabs_R0; lra.
  - rewrite Nat.add_succ_r, P_S, S_INR.
    pose proof (pos_INR (M + k)) as Hx; set (x := INR (M + k)) in *.
    set (t := (-1) ^ (M + k) * cos (2 * (x + 1) * θ) / (4 * (x + 1) ^ 2 - 1)).
    replace (P (M + k) θ + t - P M θ) with ((P (M + k) θ - P M θ) + t) by ring.
    eapply Rle_trans; [apply Rabs_triang|].
    assert (Rabs t <= / 2 * (/ (2 * x + 1) - / (2 * (x + 1) + 1))).
    { unfold t, Rdiv; rewrite !Rabs_mult, abs_pm1, Rmult_1_l.
      replace (/ 2 * (/ (2 * x + 1) - / (2 * (x + 1) + 1))) with (1 * / (4 * (x + 1) ^ 2 - 1)) by (field; nra).
      assert (0 < / (4 * (x + 1) ^ 2 - 1)) by (apply Rinv_0_lt_compat; nra).
      rewrite (Rabs_pos_eq (/ _)) by lra.
      apply Rmult_le_compat_r; [lra|apply Rabs_le, COS_bound]. }
    lra.
Qed.

(** The square wave is constant where cos > 0: its derivative is a Dirichlet kernel. *)
Lemma dirichlet N θ : cos θ * (Σ n ∈ seq 0 N, (-1) ^ n * sin ((2 * INR n + 1) * θ)) = - / 2 * (-1) ^ N * sin (2 * INR N * θ).
Proof.
  induction N as [|N IH].
  - unfold sum; simpl; replace (2 * 0 * θ) with 0 by ring; rewrite sin_0; ring.
  - rewrite sum_S, (Rmult_plus_distr_l (cos θ)), IH, S_INR; simpl pow.
    set (x := INR N).
    assert (E : cos θ * sin ((2 * x + 1) * θ) = / 2 * (sin (2 * (x + 1) * θ) + sin (2 * x * θ))).
    { rewrite (form3 (2 * (x + 1) * θ)).
      replace ((2 * (x + 1) * θ - 2 * x * θ) / 2) with θ by field.
      replace ((2 * (x + 1) * θ + 2 * x * θ) / 2) with ((2 * x + 1) * θ) by field; field. }
    replace (cos θ * ((-1) ^ N * sin ((2 * x + 1) * θ))) with ((-1) ^ N * (cos θ * sin ((2 * x + 1) * θ))) by ring.
    rewrite E; field.
Qed.

Lemma Q_derive N θ : is_derive (Q N) θ (- Σ n ∈ seq 0 N, (-1) ^ n * sin ((2 * INR n + 1) * θ)).
Proof.
  induction N as [|N IH].
  - unfold Q, sum; simpl; auto_derive; [exact Logic.I|ring].
  - rewrite sum_S.
    apply is_derive_ext with (fun t => Q N t + (-1) ^ N * cos ((2 * INR N + 1) * t) / (2 * INR N + 1)).
    { intros t; rewrite Q_S; reflexivity. }
    rewrite Ropp_plus_distr; refine (is_derive_plus _ _ _ _ _ IH _).
    pose proof (pos_INR N); auto_derive; [exact Logic.I|field; lra].
Qed.

Lemma Q_near_0 N θ : (0 < N)%nat -> 0 <= θ < PI / 2 -> Rabs (Q N θ - Q N 0) <= / (INR N * cos θ ^ 2).
Proof.
  intros HN Hθ.
  assert (Hn : 1 <= INR N) by (apply (le_INR 1); lia).
  set (G := fun s => - / 2 * (-1) ^ N * (cos (2 * INR N * s) / (2 * INR N * cos s))).
  assert (Hc : forall s, 0 <= s <= θ -> cos θ <= cos s).
  { intros s Hs; apply cos_decr_1; lra. }
  assert (Hp : 0 < cos θ) by (apply cos_gt_0; lra).
  destruct (MVT_gen (fun s => Q N s - G s) 0 θ (fun s => / 2 * (-1) ^ N * (cos (2 * INR N * s) * sin s / (2 * INR N * cos s ^ 2)))) as [c [Hc1 Hc2]].
  - rewrite Rmin_left, Rmax_right by lra; intros s Hs.
    assert (0 < cos s) by (pose proof (Hc s); lra).
    replace (/ 2 * (-1) ^ N * (cos (2 * INR N * s) * sin s / (2 * INR N * cos s ^ 2)))
      with ((- Σ n ∈ seq 0 N, (-1) ^ n * sin ((2 * INR n + 1) * s)) -
            (/ 2 * (-1) ^ N * (sin (2 * INR N * s) / cos s - cos (2 * INR N * s) * sin s / (2 * INR N * cos s ^ 2)))).
    + refine (is_derive_minus _ _ _ _ _ (Q_derive N s) _).
      unfold G; auto_derive; [repeat split; nra|field; repeat split; lra].
    + replace (Σ n ∈ seq 0 N, (-1) ^ n * sin ((2 * INR n + 1) * s)) with (- / 2 * (-1) ^ N * sin (2 * INR N * s) / cos s).
      * field; repeat split; lra.
      * rewrite <- dirichlet; field; lra.
  - rewrite Rmin_left, Rmax_right by lra; intros s Hs.
    assert (0 < cos s) by (pose proof (Hc s); lra).
    apply continuity_pt_filterlim, (ex_derive_continuous (fun s => Q N s - G s)).
    refine (ex_derive_minus _ _ _ (ex_intro _ _ (Q_derive N s)) _); unfold G; auto_derive; repeat split; nra.
  - rewrite Rmin_left, Rmax_right in Hc1 by lra.
    assert (Hcc := Hc c Hc1).
    assert (HG : forall s, 0 <= s <= θ -> Rabs (G s) <= / (4 * INR N * cos θ)).
    { intros s Hs; specialize (Hc s Hs); unfold G.
      rewrite Rabs_mult, Rabs_mult, abs_pm1, Rmult_1_r, Rabs_Ropp, (Rabs_pos_eq (/ 2)) by lra.
      unfold Rdiv; rewrite Rabs_mult, (Rabs_pos_eq (/ _)) by (left; apply Rinv_0_lt_compat; nra).
      assert (Rabs (cos (2 * INR N * s)) <= 1) by (apply Rabs_le, COS_bound).
      replace (/ (4 * INR N * cos θ)) with (/ 2 * (1 * / (2 * INR N * cos θ))) by (field; lra).
      apply Rmult_le_compat_l; [lra|]; apply Rmult_le_compat; [apply Rabs_pos|left; apply Rinv_0_lt_compat; nra|assumption|].
      apply Rinv_le_contravar; nra. }
    pose proof (HG 0 ltac:(lra)) as G0; pose proof (HG θ ltac:(lra)) as G1.
    assert (D : Rabs (/ 2 * (-1) ^ N * (cos (2 * INR N * c) * sin c / (2 * INR N * cos c ^ 2)) * (θ - 0)) <= / (2 * INR N * cos θ ^ 2)).
    { rewrite Rminus_0_r, !Rabs_mult, abs_pm1, Rmult_1_r, (Rabs_pos_eq (/ 2)), (Rabs_pos_eq θ) by lra.
      unfold Rdiv; rewrite !Rabs_mult, (Rabs_pos_eq (/ _)) by (left; apply Rinv_0_lt_compat; nra).
      assert (0 <= Rabs (cos (2 * INR N * c)) <= 1) by (split; [apply Rabs_pos|apply Rabs_le, COS_bound]).
      assert (0 <= Rabs (sin c) <= 1) by (split; [apply Rabs_pos|apply Rabs_le, SIN_bound]).
      assert (θ <= 2) by (pose proof PI_4; lra).
      assert (I1 : 0 < / (2 * INR N * cos c ^ 2) <= / (2 * INR N * cos θ ^ 2)).
      { split; [apply Rinv_0_lt_compat; nra|apply Rinv_le_contravar; [nra|]].
        apply Rmult_le_compat_l; [lra|apply pow_incr; lra]. }
      assert (Rabs (cos (2 * INR N * c)) * Rabs (sin c) <= 1) by nra.
      assert (0 <= Rabs (cos (2 * INR N * c)) * Rabs (sin c)) by nra.
      set (z := Rabs (cos (2 * INR N * c)) * Rabs (sin c)) in *.
      assert (z * / (2 * INR N * cos c ^ 2) <= / (2 * INR N * cos θ ^ 2)) by nra.
      assert (0 <= z * / (2 * INR N * cos c ^ 2)) by nra.
      nra. }
    rewrite <- Hc2 in D.
    replace (Q N θ - Q N 0) with ((Q N θ - G θ - (Q N 0 - G 0)) + (G θ - G 0)) by ring.
    eapply Rle_trans; [apply Rabs_triang|].
    assert (Rabs (G θ - G 0) <= / (2 * INR N * cos θ)).
    { eapply Rle_trans; [apply Rabs_triang|]; rewrite Rabs_Ropp.
      replace (/ (2 * INR N * cos θ)) with (/ (4 * INR N * cos θ) + / (4 * INR N * cos θ)) by (field; lra); lra. }
    assert (/ (2 * INR N * cos θ) <= / (2 * INR N * cos θ ^ 2)).
    { apply Rinv_le_contravar; [nra|]; apply Rmult_le_compat_l; [lra|]; pose proof (COS_bound θ); nra. }
    replace (/ (INR N * cos θ ^ 2)) with (/ (2 * INR N * cos θ ^ 2) + / (2 * INR N * cos θ ^ 2)) by (field; lra).
    lra.
Qed.

(** Leibniz. *)
Lemma Q_at_0 N : Rabs (Q (2 * N + 1) 0 - PI / 4) <= / (4 * INR N + 3).
Proof.
  assert (E : forall n, Q (S n) 0 = sum_f_R0 (tg_alt PI_tg) n).
  { induction n as [|n IH]; rewrite Q_S, Rmult_0_r, cos_0.
    - unfold Q, sum, tg_alt, PI_tg; simpl; field.
    - rewrite IH; simpl sum_f_R0; f_equal; unfold tg_alt, PI_tg, Rdiv; rewrite Rmult_1_r; f_equal; f_equal.
      rewrite plus_INR, mult_INR; simpl; ring. }
  replace (2 * N + 1)%nat with (S (2 * N)) by lia; rewrite E.
  pose proof (PI_ineq N) as [H1 H2].
  assert (T : tg_alt PI_tg (S (2 * N)) = - / (4 * INR N + 3)).
  { unfold tg_alt, PI_tg; rewrite pow_1_odd.
    replace (2 * S (2 * N) + 1)%nat with (4 * N + 3)%nat by lia.
    rewrite plus_INR, mult_INR, (INR_IZR_INZ 4), (INR_IZR_INZ 3); simpl Z.of_nat; ring. }
  rewrite tech5, T in H1.
  apply Rabs_le; lra.
Qed.

Lemma P_limit θ M : 0 <= θ < PI / 2 -> Rabs (P M θ - (- / 2 + PI / 4 * cos θ)) <= / (2 * (2 * INR M + 1)).
Proof.
  intros Hθ; apply le_epsilon; intros ε Hε.
  assert (Hp : 0 < cos θ) by (apply cos_gt_0; lra).
  pose proof (COS_bound θ) as [_ Hc1].
  destruct (nfloor_ex (Rmax 0 (3 / (ε * cos θ)))) as [n [_ Hn]]; [apply Rmax_l|].
  set (N := (2 * (M + S n) + 1)%nat).
  assert (HnN : INR n + 1 <= INR N) by (rewrite <- S_INR; apply le_INR; unfold N; lia).
  assert (HNn : 3 / (ε * cos θ) < INR N) by (pose proof (Rmax_r 0 (3 / (ε * cos θ))); lra).
  assert (HN1 : 1 <= INR N) by (apply (le_INR 1); unfold N; lia).
  pose proof (P_tail θ M (N - M)) as HT.
  replace (M + (N - M))%nat with N in HT by (unfold N; lia).
  pose proof (P_Q N θ) as HPQ.
  pose proof (Q_near_0 N θ ltac:(unfold N; lia) Hθ) as HQ.
  pose proof (Q_at_0 (M + S n)) as HL; fold N in HL.
  replace (4 * INR (M + S n) + 3) with (2 * INR N + 1) in HL
    by (unfold N; rewrite (plus_INR (2 * _)), mult_INR; simpl INR; ring).
  assert (HB : Rabs (/ 2 * (-1) ^ N * cos (2 * INR N * θ) / (2 * INR N + 1)) <= / 2 * / (2 * INR N + 1)).
  { unfold Rdiv; rewrite !Rabs_mult, abs_pm1, Rmult_1_r, (Rabs_pos_eq (/ 2)), (Rabs_pos_eq (/ (2 * INR N + 1))) by (try (left; apply Rinv_0_lt_compat); lra).
    assert (Rabs (cos (2 * INR N * θ)) <= 1) by (apply Rabs_le, COS_bound).
    assert (0 < / (2 * INR N + 1)) by (apply Rinv_0_lt_compat; lra); nra. }
  replace (P M θ - (- / 2 + PI / 4 * cos θ))
    with (- (P N θ - P M θ) + (cos θ * (Q N θ - Q N 0) + cos θ * (Q N 0 - PI / 4) + / 2 * (-1) ^ N * cos (2 * INR N * θ) / (2 * INR N + 1)))
    by (rewrite HPQ; ring).
  eapply Rle_trans; [apply Rabs_triang|]; rewrite Rabs_Ropp.
  assert (A1 : Rabs (cos θ * (Q N θ - Q N 0)) <= / (INR N * cos θ)).
  { rewrite Rabs_mult, (Rabs_pos_eq (cos θ)) by lra.
    replace (/ (INR N * cos θ)) with (cos θ * / (INR N * cos θ ^ 2)) by (field; lra).
    apply Rmult_le_compat_l; lra. }
  assert (I2 : / (2 * INR N + 1) <= / (2 * (INR N * cos θ))) by (apply Rinv_le_contravar; nra).
  assert (I3 : / (2 * (INR N * cos θ)) = / 2 * / (INR N * cos θ)) by (field; lra).
  assert (A2 : Rabs (cos θ * (Q N 0 - PI / 4)) <= / 2 * / (INR N * cos θ)).
  { rewrite Rabs_mult, (Rabs_pos_eq (cos θ)) by lra; pose proof (Rabs_pos (Q N 0 - PI / 4)); nra. }
  assert (A3 : 3 * / (INR N * cos θ) <= ε).
  { apply Rmult_le_reg_r with (INR N * cos θ); [nra|].
    rewrite Rmult_assoc, Rinv_l by nra.
    apply Rmult_lt_compat_r with (r := ε * cos θ) in HNn; [|nra].
    replace (3 / (ε * cos θ) * (ε * cos θ)) with 3 in HNn by (field; lra); nra. }
  replace (/ (2 * (2 * INR M + 1))) with (/ 2 * / (2 * INR M + 1)) by (field; pose proof (pos_INR M); lra).
  assert (0 < / (2 * INR N + 1)) by (apply Rinv_0_lt_compat; lra).
  assert (0 < / (INR N * cos θ)) by (apply Rinv_0_lt_compat; nra).
  eapply Rle_trans; [apply Rplus_le_compat; [exact HT|eapply Rle_trans; [apply Rabs_triang|apply Rplus_le_compat; [apply Rabs_triang|exact HB]]]|].
  lra.
Qed.

(** For every angle. *)
Lemma P_even N θ : P N (- θ) = P N θ.
Proof. apply sum_ext; intros n _; rewrite <- (cos_neg (2 * (INR n + 1) * θ)); f_equal; f_equal; f_equal; ring. Qed.

Lemma cos_Z_period x (m : Z) : cos (x + 2 * IZR m * PI) = cos x.
Proof.
  assert (H : forall y (n : nat), cos (y + 2 * INR n * PI) = cos y) by (intros; apply cos_period).
  destruct (Z_le_dec 0 m) as [Hm|Hm].
  - rewrite <- (Z2Nat.id m Hm), <- INR_IZR_INZ; apply H.
  - rewrite <- (H _ (Z.to_nat (- m))); f_equal; rewrite INR_IZR_INZ, Z2Nat.id, opp_IZR by lia; ring.
Qed.

Lemma P_period N θ (m : Z) : P N (θ + IZR m * PI) = P N θ.
Proof.
  apply sum_ext; intros n _; f_equal; f_equal.
  rewrite <- (cos_Z_period (2 * (INR n + 1) * θ) (Z.of_nat (S n) * m)); f_equal.
  rewrite mult_IZR, <- INR_IZR_INZ, S_INR; ring.
Qed.

Lemma abs_cos_period θ (m : Z) : Rabs (cos (θ + IZR m * PI)) = Rabs (cos θ).
Proof.
  apply Rsqr_eq_abs_0; unfold Rsqr.
  assert (E : forall t, cos t * cos t = / 2 * (1 + cos (2 * t))) by (intros t; rewrite cos_2a_cos; field).
  rewrite !E; f_equal; f_equal; rewrite <- (cos_Z_period (2 * θ) m); f_equal; ring.
Qed.

Theorem abs_cos_series θ M :
  Rabs (Rabs (cos θ) - (2 / PI + 4 / PI * P M θ)) <= 2 / (PI * (2 * INR M + 1)).
Proof.
  pose proof PI_RGT_0 as Hpi.
  (* move θ to [0, π/2] *)
  assert (Main : forall t, 0 <= t <= PI / 2 -> Rabs (Rabs (cos t) - (2 / PI + 4 / PI * P M t)) <= 2 / (PI * (2 * INR M + 1))).
  { intros t [H0 H1].
    assert (HP : Rabs (P M t - (- / 2 + PI / 4 * cos t)) <= / (2 * (2 * INR M + 1))).
    { destruct (Rle_lt_or_eq_dec _ _ H1) as [H|H]; [apply P_limit; lra|].
      rewrite (P_Q M t), H, cos_PI2, Rmult_0_l, Rmult_0_r.
      replace (- / 2 + 0 + / 2 * (-1) ^ M * cos (2 * INR M * (PI / 2)) / (2 * INR M + 1) - (- / 2 + 0))
        with (/ 2 * (-1) ^ M * cos (2 * INR M * (PI / 2)) / (2 * INR M + 1)) by ring.
      pose proof (pos_INR M).
      unfold Rdiv; rewrite !Rabs_mult, abs_pm1, Rmult_1_r, (Rabs_pos_eq (/ 2)), (Rabs_pos_eq (/ (2 * INR M + 1))) by (try (left; apply Rinv_0_lt_compat); lra).
      assert (Rabs (cos (2 * INR M * (PI * / 2))) <= 1) by (apply Rabs_le, COS_bound).
      assert (0 < / (2 * INR M + 1)) by (apply Rinv_0_lt_compat; lra).
      replace (/ (2 * (2 * INR M + 1))) with (/ 2 * / (2 * INR M + 1)) by (field; lra); nra. }
    assert (Hc : 0 <= cos t) by (apply cos_ge_0; lra).
    rewrite (Rabs_pos_eq (cos t)) by exact Hc.
    replace (cos t - (2 / PI + 4 / PI * P M t)) with (4 / PI * - (P M t - (- / 2 + PI / 4 * cos t))) by (field; lra).
    rewrite Rabs_mult, Rabs_Ropp, Rabs_pos_eq by (apply Rdiv_le_0_compat; lra).
    replace (2 / (PI * (2 * INR M + 1))) with (4 / PI * / (2 * (2 * INR M + 1))) by (pose proof (pos_INR M); field; lra).
    apply Rmult_le_compat_l; [apply Rdiv_le_0_compat; lra|exact HP]. }
  set (m := (up (θ / PI - / 2))%Z).
  destruct (archimed (θ / PI - / 2)) as [A1 A2]; fold m in A1, A2.
  set (t := θ + IZR (- m) * PI).
  assert (Ht : - PI / 2 <= t <= PI / 2).
  { unfold t; rewrite opp_IZR.
    assert (E : θ = θ / PI * PI) by (field; lra).
    set (z := θ / PI) in *; rewrite E; split; nra. }
  rewrite <- (abs_cos_period θ (- m)), <- (P_period M θ (- m)); fold t.
  destruct (Rle_dec 0 t) as [H|H]; [apply Main; lra|].
  rewrite <- (cos_neg t), <- (P_even M t); apply Main; lra.
Qed.

(** ReLU(cos θ) = 1/π + cos(θ)/2 + Σ_{even m > 0} 2ĥ_m cos(mθ); the modes beyond M' = 2M add up to at most 1/(π(M' + 1)). *)
Theorem relu_cos_series θ M :
  Rabs ((cos θ)⁺ - (1 / PI + cos θ / 2 + 2 / PI * P M θ)) <= 1 / (PI * (INR (2 * M) + 1)).
Proof.
  pose proof (abs_cos_series θ M) as H; pose proof PI_RGT_0; pose proof (pos_INR M).
  replace ((cos θ)⁺) with (/ 2 * (cos θ + Rabs (cos θ))) by (unfold Rabs; destruct Rcase_abs; pos_cases).
  replace (/ 2 * (cos θ + Rabs (cos θ)) - (1 / PI + cos θ / 2 + 2 / PI * P M θ))
    with (/ 2 * (Rabs (cos θ) - (2 / PI + 4 / PI * P M θ))) by (field; lra).
  rewrite Rabs_mult, (Rabs_pos_eq (/ 2)), mult_INR by lra; simpl INR.
  replace (1 / (PI * ((1 + 1) * INR M + 1))) with (/ 2 * (2 / (PI * (2 * INR M + 1)))) by (field; lra).
  apply Rmult_le_compat_l; lra.
Qed.
