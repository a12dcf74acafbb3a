(** Theorem Q by rectangles, plain, assembled: the integral's value, the output angles, the modulus. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle Relu Fourier TheoremQ LemmaI.
Open Scope R_scope.

Lemma cos_integral (n : Z) c s : n <> 0%Z -> is_RInt (fun x => cos (c + IZR n * x)) s (s + 2 * PI) 0.
Proof.
  intros Hn; assert (IZR n <> 0) by (apply not_0_IZR; exact Hn).
  assert (E : minus (sin (c + IZR n * (s + 2 * PI)) / IZR n) (sin (c + IZR n * s) / IZR n) = 0).
  { replace (sin (c + IZR n * (s + 2 * PI))) with (sin (c + IZR n * s)).
    - unfold minus, plus, opp; simpl; ring.
    - rewrite !sin_cos; f_equal.
      rewrite <- (cos_Z_period (PI / 2 + (c + IZR n * s)) n); f_equal; ring. }
  rewrite <- E.
  apply (is_RInt_derive (fun x => sin (c + IZR n * x) / IZR n)).
  - intros x _; auto_derive; [exact Logic.I|field; assumption].
  - intros x _; apply (ex_derive_continuous (fun x => cos (c + IZR n * x))); auto_derive; exact Logic.I.
Qed.

(** One mode m >= 0 against cos(γ + 2x), over one turn. *)
Lemma mode_integral (m : Z) v γ s : (0 <= m)%Z ->
  is_RInt (fun x => cos (IZR m * (v + x)) * cos (γ + 2 * x)) s (s + 2 * PI) (if Z.eqb m 2 then PI * cos (γ - 2 * v) else 0).
Proof.
  intros Hm.
  apply (is_RInt_ext (fun x => plus (scal (/ 2) (cos ((IZR m * v + γ) + IZR (m + 2) * x))) (scal (/ 2) (cos ((IZR m * v - γ) + IZR (m - 2) * x))))).
  { intros x _; unfold plus, scal; simpl; unfold mult; simpl; rewrite plus_IZR, minus_IZR.
    replace (IZR m * v + γ + (IZR m + 2) * x) with (IZR m * (v + x) + (γ + 2 * x)) by ring.
    replace (IZR m * v - γ + (IZR m - 2) * x) with (IZR m * (v + x) - (γ + 2 * x)) by ring.
    rewrite cos_plus, cos_minus; field. }
  pose proof (cos_integral (m + 2) (IZR m * v + γ) s ltac:(lia)) as H1.
  destruct (Z.eqb_spec m 2) as [->|Hne].
  - replace (PI * cos (γ - 2 * v)) with (plus (scal (/ 2) 0) (scal (/ 2) (scal (s + 2 * PI - s) (cos (γ - 2 * v)))))
      by (unfold plus, scal; simpl; unfold mult; simpl; field).
    refine (is_RInt_plus _ _ _ _ _ _ (is_RInt_scal _ _ _ _ _ H1) (is_RInt_scal _ _ _ _ _ _)).
    apply (is_RInt_ext (fun _ => cos (γ - 2 * v))); [|apply (is_RInt_const (V := R_NormedModule))].
    intros x _; rewrite <- (cos_neg (γ - 2 * v)); f_equal; simpl; ring.
  - pose proof (cos_integral (m - 2) (IZR m * v - γ) s ltac:(lia)) as H2.
    replace 0 with (plus (scal (/ 2) 0) (scal (/ 2) 0)) by (unfold plus, scal; simpl; unfold mult; simpl; ring).
    exact (is_RInt_plus _ _ _ _ _ _ (is_RInt_scal _ _ _ _ _ H1) (is_RInt_scal _ _ _ _ _ H2)).
Qed.

Lemma finite_integral M v γ s :
  is_RInt (fun x => (1 / PI + cos (v + x) / 2 + 2 / PI * P (S M) (v + x)) * cos (γ + 2 * x)) s (s + 2 * PI) (2 / 3 * cos (γ - 2 * v)).
Proof.
  pose proof PI_RGT_0.
  induction M as [|M IH].
  - apply (is_RInt_ext (fun x => plus (plus (scal (1 / PI) (cos (IZR 0 * (v + x)) * cos (γ + 2 * x))) (scal (/ 2) (cos (IZR 1 * (v + x)) * cos (γ + 2 * x))))
       (scal (2 / (3 * PI)) (cos (IZR 2 * (v + x)) * cos (γ + 2 * x))))).
    { intros x _; unfold P, sum; simpl; unfold plus, scal; simpl; unfold mult; simpl.
      replace (0 * (v + x)) with 0 by ring; replace (1 * (v + x)) with (v + x) by ring; replace (2 * (0 + 1) * (v + x)) with (2 * (v + x)) by ring.
      rewrite cos_0; field; lra. }
    replace (2 / 3 * cos (γ - 2 * v)) with (plus (plus (scal (1 / PI) 0) (scal (/ 2) 0)) (scal (2 / (3 * PI)) (PI * cos (γ - 2 * v))))
      by (unfold plus, scal; simpl; unfold mult; simpl; field; lra).
    refine (is_RInt_plus _ _ _ _ _ _ (is_RInt_plus _ _ _ _ _ _ (is_RInt_scal _ _ _ _ _ _) (is_RInt_scal _ _ _ _ _ _)) (is_RInt_scal _ _ _ _ _ _)).
    + exact (mode_integral 0 v γ s ltac:(lia)).
    + exact (mode_integral 1 v γ s ltac:(lia)).
    + exact (mode_integral 2 v γ s ltac:(lia)).
  - set (m := Z.of_nat (2 * S (S M))).
    set (a := 2 / PI * ((-1) ^ (S M) / (4 * (INR (S M) + 1) ^ 2 - 1))).
    apply (is_RInt_ext (fun x => plus ((1 / PI + cos (v + x) / 2 + 2 / PI * P (S M) (v + x)) * cos (γ + 2 * x)) (scal a (cos (IZR m * (v + x)) * cos (γ + 2 * x))))).
    { intros x _; rewrite (P_S (S M)); unfold plus, scal; simpl plus; unfold mult; unfold a, m.
      rewrite <- INR_IZR_INZ, mult_INR, (S_INR (S M)); simpl (INR 2).
      replace ((1 + 1) * (INR (S M) + 1) * (v + x)) with (2 * (INR (S M) + 1) * (v + x)) by ring.
      cbn -[INR pow P]; pose proof (pos_INR (S M)); field; repeat split; nra. }
    replace (2 / 3 * cos (γ - 2 * v)) with (plus (2 / 3 * cos (γ - 2 * v)) (scal a 0)) by (unfold plus, scal; simpl; unfold mult; simpl; ring).
    refine (is_RInt_plus _ _ _ _ _ _ IH (is_RInt_scal _ _ _ _ _ _)).
    pose proof (mode_integral m v γ s ltac:(unfold m; lia)) as HM.
    replace (Z.eqb m 2) with false in HM by (symmetry; apply Z.eqb_neq; unfold m; lia); exact HM.
Qed.

(** ∫ ReLU(cos(v + x))·cos(γ + 2x) dx over one turn is (2/3)·cos(γ − 2v). *)
Theorem lens_integral v γ s : RInt (lens v γ) s (s + 2 * PI) = 2 / 3 * cos (γ - 2 * v).
Proof.
  pose proof PI_RGT_0.
  assert (Ex : ex_RInt (lens v γ) s (s + 2 * PI)) by apply (TheoremQ.f_integrable (lens v γ) (lens_lipschitz v γ)).
  apply Rminus_diag_uniq, Rabs_eq_0, Rle_antisym; [|apply Rabs_pos].
  apply le_epsilon; intros ε Hε; rewrite Rplus_0_l.
  destruct (nfloor_ex (2 / ε)) as [M [_ HM]]; [apply Rdiv_le_0_compat; lra|].
  pose proof (finite_integral M v γ s) as HF.
  set (g := fun x => (1 / PI + cos (v + x) / 2 + 2 / PI * P (S M) (v + x)) * cos (γ + 2 * x)) in HF.
  assert (Ed : is_RInt (fun x => minus (lens v γ x) (g x)) s (s + 2 * PI) (minus (RInt (lens v γ) s (s + 2 * PI)) (2 / 3 * cos (γ - 2 * v))))
    by exact (is_RInt_minus _ _ _ _ _ _ (RInt_correct _ _ _ Ex) HF).
  change (RInt (lens v γ) s (s + 2 * PI) - 2 / 3 * cos (γ - 2 * v)) with (minus (RInt (lens v γ) s (s + 2 * PI)) (2 / 3 * cos (γ - 2 * v))).
  rewrite <- (is_RInt_unique _ _ _ _ Ed).
  set (B := 1 / (PI * (INR (2 * S M) + 1))).
  eapply Rle_trans; [apply (abs_RInt_le_const _ s (s + 2 * PI) B); [lra|eexists; exact Ed|]|].
  - intros x _; unfold minus, plus, opp, g, lens; simpl.
    replace ((cos (v + x))⁺ * cos (γ + 2 * x) + - ((1 / PI + cos (v + x) / 2 + 2 / PI * P (S M) (v + x)) * cos (γ + 2 * x)))
      with (((cos (v + x))⁺ - (1 / PI + cos (v + x) / 2 + 2 / PI * P (S M) (v + x))) * cos (γ + 2 * x)) by ring.
    rewrite Rabs_mult; pose proof (relu_cos_series (v + x) (S M)) as HR; fold B in HR.
    assert (Rabs (cos (γ + 2 * x)) <= 1) by (apply Rabs_le, COS_bound).
    pose proof (Rabs_pos ((cos (v + x))⁺ - (1 / PI + cos (v + x) / 2 + 2 / PI * P (S M) (v + x)))).
    pose proof (Rabs_pos (cos (γ + 2 * x))); nra.
  - unfold B; pose proof (pos_INR M); rewrite mult_INR, (S_INR M), (INR_IZR_INZ 2); simpl Z.of_nat.
    replace ((s + 2 * PI - s) * (1 / (PI * (2 * (INR M + 1) + 1)))) with (2 / (2 * INR M + 3)) by (field; lra).
    apply Rmult_lt_compat_r with (r := ε) in HM; [|exact Hε].
    replace (2 / ε * ε) with 2 in HM by (field; lra).
    apply Rmult_le_reg_r with (2 * INR M + 3); [lra|].
    replace (2 / (2 * INR M + 3) * (2 * INR M + 3)) with 2 by (field; lra); nra.
Qed.

(** Theorem Q, rectangle: for weights that sum to 2π, boxes from any start, and the cost of the output angles. *)
Theorem theorem_Q_rectangle (nodes : list node) start c v : (forall n, In n nodes -> 0 <= w n) -> total nodes = 2 * PI ->
  Cmod (rule nodes v - integral nodes c v)%C
  <= 2 * boxes start (map (fun n => (w n, 2 * PI * φ n)) nodes) + Σ n ∈ nodes, w n * Cmod (e (ψ n) - e (2 * φ n + c))%C.
Proof.
  intros Hw Ht; pose proof PI_RGT_0; apply longest_shadow; intros γ.
  set (Γ := 2 * PI * (c + γ)); set (V := 2 * PI * v).
  pose proof (rectangle_lens V Γ start (map (fun n => (w n, 2 * PI * φ n)) nodes)) as HR.
  rewrite sum_map, sum_map, lens_integral in HR; cbn [fst snd] in HR.
  specialize (HR ltac:(intros n Hn; apply in_map_iff in Hn; destruct Hn as [z [<- Hz]]; apply Hw, Hz) Ht).
  set (S1 := Σ n ∈ nodes, w n * lens V Γ (2 * PI * φ n)) in HR.
  set (S2 := Σ n ∈ nodes, w n * (ReLU (cos (2 * PI * (v + φ n))) * Re ((e (ψ n) - e (2 * φ n + c)) * e γ)%C)).
  replace (Re ((rule nodes v - integral nodes c v) * e γ)%C) with ((S1 - 2 / 3 * cos (Γ - 2 * V)) + S2).
  - eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat; [exact HR|].
    eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros n Hn.
    rewrite !Rabs_mult, (Rabs_pos_eq (w n)), (Rabs_pos_eq (pos _)) by (try apply pos_nonneg; apply Hw, Hn).
    apply Rmult_le_compat_l; [apply Hw, Hn|].
    assert (R0 : 0 <= (cos (2 * PI * (v + φ n)))⁺ <= 1) by (split; [apply pos_nonneg|pose proof (COS_bound (2 * PI * (v + φ n))); pos_cases]).
    pose proof (Re_mul_le (e (ψ n) - e (2 * φ n + c))%C (e γ)) as HM; rewrite Cmod_e, Rmult_1_r in HM.
    pose proof (Rabs_pos (Re ((e (ψ n) - e (2 * φ n + c)) * e γ)%C)); nra.
  - replace (Re ((rule nodes v - integral nodes c v) * e γ)%C) with (Re (rule nodes v * e γ)%C - Re (integral nodes c v * e γ)%C)
      by (rewrite <- Re_minus; f_equal; ring).
    replace (Re (integral nodes c v * e γ)%C) with (2 / 3 * cos (Γ - 2 * V)).
    + enough (E : Re (rule nodes v * e γ)%C = S1 + S2) by (rewrite E; ring).
      unfold rule, S1, S2; rewrite csum_mult_r, Re_csum, <- sum_plus; apply sum_ext; intros n _.
      replace (lens V Γ (2 * PI * φ n)) with (ReLU (cos (2 * PI * (v + φ n))) * Re (e (2 * φ n + c) * e γ)%C).
      * rewrite <- Rmult_plus_distr_l, <- Rmult_plus_distr_l, <- Re_plus, <- !Re_scal; f_equal; ring.
      * unfold lens, V; f_equal; [f_equal; f_equal; ring|].
        rewrite <- e_plus; unfold e, Re; simpl; f_equal; unfold Γ; ring.
    + unfold integral; rewrite Ht, <- !Cmult_assoc, Re_scal.
      replace (2 * PI / (3 * PI)) with (2 / 3) by (field; lra); f_equal.
      rewrite <- !e_plus; unfold e, Re; simpl; f_equal; unfold Γ, V; ring.
Qed.
