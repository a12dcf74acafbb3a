(** Theorem Q by rectangles, split: ReLU(x) = x/2 + |x|/2. The identity half has the modes ±1 only and no integral; the
    other half has period ½ turn, so boxes of width w_i/2 on the half circle serve. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle Relu Fourier TheoremQ LemmaI Rectangle.
Open Scope R_scope.

(** f(x) = |cos(v + x)|·cos(γ + 2x), in radians. *)
Definition folded (v γ x : R) : R := Rabs (cos (v + x)) * cos (γ + 2 * x).

Lemma folded_lipschitz v γ x y : Rabs (folded v γ x - folded v γ y) <= 2 * Rabs (x - y).
Proof.
  (* where the signs differ, cos has a root between, and each side is smooth up to it *)
  assert (Signed : forall a b, 0 <= cos (v + a) -> cos (v + b) <= 0 -> Rabs (folded v γ a - folded v γ b) <= 2 * Rabs (a - b)).
  { intros a b Ha Hb.
    assert (Ea : folded v γ a = cos (v + a) * cos (γ + 2 * a)) by (unfold folded; rewrite Rabs_pos_eq by lra; ring).
    assert (Eb : folded v γ b = - (cos (v + b) * cos (γ + 2 * b))) by (unfold folded; rewrite Rabs_left1 by lra; ring).
    destruct (IVT_gen (fun t => cos (v + t)) a b 0) as [z [Hz Ez]].
    - intros t; apply continuity_pt_filterlim, (ex_derive_continuous (fun t => cos (v + t))); auto_derive; exact Logic.I.
    - rewrite Rmin_right, Rmax_left by lra; lra.
    - pose proof (smooth_lipschitz v γ a z) as H1; pose proof (smooth_lipschitz v γ b z) as H2; rewrite Ez, Rmult_0_l, Rminus_0_r in H1, H2.
      rewrite Ea, Eb.
      replace (cos (v + a) * cos (γ + 2 * a) - - (cos (v + b) * cos (γ + 2 * b)))
        with (cos (v + a) * cos (γ + 2 * a) + cos (v + b) * cos (γ + 2 * b)) by ring.
      eapply Rle_trans; [apply Rabs_triang|].
      assert (Hd : Rabs (a - z) + Rabs (b - z) <= Rabs (a - b)).
      { unfold Rmin, Rmax in Hz; repeat destruct Rle_dec in Hz; unfold Rabs; repeat destruct Rcase_abs; lra. }
      lra. }
  assert (Same : forall a b, (0 <= cos (v + a) /\ 0 <= cos (v + b)) \/ (cos (v + a) <= 0 /\ cos (v + b) <= 0) ->
                 Rabs (folded v γ a - folded v γ b) <= 2 * Rabs (a - b)).
  { intros a b H; eapply Rle_trans; [|apply (smooth_lipschitz v γ a b)]; right; unfold folded.
    destruct H as [[H1 H2]|[H1 H2]].
    - rewrite (Rabs_pos_eq (cos (v + a))), (Rabs_pos_eq (cos (v + b))) by lra; reflexivity.
    - rewrite (Rabs_left1 (cos (v + a))), (Rabs_left1 (cos (v + b))) by lra.
      rewrite <- Rabs_Ropp; f_equal; ring. }
  destruct (Rle_dec 0 (cos (v + x))) as [Hx|Hx]; destruct (Rle_dec 0 (cos (v + y))) as [Hy|Hy].
  - apply Same; left; lra.
  - apply Signed; lra.
  - rewrite Rabs_minus_sym, (Rabs_minus_sym x); apply Signed; lra.
  - apply Same; right; lra.
Qed.

Lemma folded_period v γ x (m : Z) : folded v γ (x + IZR m * PI) = folded v γ x.
Proof.
  unfold folded; rewrite <- Rplus_assoc, abs_cos_period; f_equal.
  rewrite <- (cos_Z_period (γ + 2 * x) m); f_equal; ring.
Qed.

Lemma folded_lens v γ x : folded v γ x = lens v γ x + lens (v + PI) γ x.
Proof.
  unfold folded, lens; replace (v + PI + x) with (v + x + PI) by ring; rewrite neg_cos.
  rewrite <- Rmult_plus_distr_r; f_equal; unfold Rabs; destruct Rcase_abs; pos_cases.
Qed.

(** ∫ |cos(v + x)|·cos(γ + 2x) dx over half a turn is (2/3)·cos(γ − 2v). *)
Theorem folded_integral v γ s : RInt (folded v γ) s (s + PI) = 2 / 3 * cos (γ - 2 * v).
Proof.
  assert (Ex : forall a b, ex_RInt (folded v γ) a b) by (intros; apply (TheoremQ.f_integrable (folded v γ) (folded_lipschitz v γ))).
  assert (El : forall w a b, ex_RInt (lens w γ) a b) by (intros; apply (TheoremQ.f_integrable (lens w γ) (lens_lipschitz w γ))).
  assert (Whole : RInt (folded v γ) s (s + 2 * PI) = 4 / 3 * cos (γ - 2 * v)).
  { rewrite (RInt_ext (folded v γ) (fun x => plus (lens v γ x) (lens (v + PI) γ x))) by (intros x _; apply folded_lens).
    rewrite (RInt_plus (V := R_CompleteNormedModule)) by apply El; rewrite !lens_integral.
    replace (cos (γ - 2 * (v + PI))) with (cos (γ - 2 * v)).
    - unfold plus; simpl; field.
    - rewrite <- (cos_Z_period (γ - 2 * v) (-1)); f_equal; ring. }
  assert (Second : RInt (folded v γ) (s + PI) (s + 2 * PI) = RInt (folded v γ) s (s + PI)).
  { pose proof (RInt_comp_lin (folded v γ) 1 PI s (s + PI)) as H.
    replace (1 * s + PI) with (s + PI) in H by ring; replace (1 * (s + PI) + PI) with (s + 2 * PI) in H by ring.
    rewrite <- H by apply Ex; apply RInt_ext; intros x _; unfold scal; simpl; unfold mult; simpl.
    rewrite Rmult_1_l, <- (folded_period v γ x 1); f_equal; ring. }
  rewrite <- (RInt_Chasles (folded v γ) s (s + PI) (s + 2 * PI)), Second in Whole by apply Ex.
  unfold plus in Whole; simpl in Whole; lra.
Qed.

(** The nodes on the half circle: φ′ is φ up to half turns. They may be laid in any order: the rule does not depend on it. *)
Theorem theorem_Q_split (nodes : list node) (φ' : node -> R) start c v :
  (forall n, In n nodes -> 0 <= w n) -> total nodes = 2 * PI ->
  (forall n, In n nodes -> exists m : Z, φ n = φ' n + IZR m / 2) ->
  Cmod (rule nodes v - integral nodes c v)%C
  <= (Cmod (moment nodes 1) + Cmod (moment nodes (-1))) / 4
     + 2 * boxes start (map (fun n => (w n / 2, 2 * PI * φ' n)) nodes)
     + (Σ n ∈ nodes, w n * Cmod (e (ψ n) - e (2 * φ n + c))%C) / 2.
Proof.
  intros Hw Ht Hφ; pose proof PI_RGT_0; apply longest_shadow; intros γ.
  set (Γ := 2 * PI * (c + γ)); set (V := 2 * PI * v).
  set (half := map (fun n => (w n / 2, 2 * PI * φ' n)) nodes).
  assert (Hsum : Σ n ∈ half, fst n = PI).
  { unfold half; rewrite sum_map; cbn [fst]; unfold Rdiv; rewrite sum_mul_r; unfold total in Ht; rewrite Ht; field. }
  pose proof (rectangle (folded V Γ) (folded_lipschitz V Γ) start half) as HR.
  specialize (HR ltac:(intros n Hn; unfold half in Hn; apply in_map_iff in Hn; destruct Hn as [z [<- Hz]]; cbn [fst]; specialize (Hw z Hz); lra)).
  rewrite Hsum, folded_integral in HR; unfold half in HR at 1; rewrite sum_map in HR; cbn [fst snd] in HR.
  set (T1 := Re ((RtoC (/ 4) * (e v * moment nodes 1 + e (- v) * moment nodes (-1))) * e γ)%C).
  set (T2 := Σ n ∈ nodes, w n / 2 * folded V Γ (2 * PI * φ' n)) in *.
  set (T3 := Σ n ∈ nodes, w n / 2 * (Rabs (cos (2 * PI * (v + φ n))) * Re ((e (ψ n) - e (2 * φ n + c)) * e γ)%C)).
  replace (Re ((rule nodes v - integral nodes c v) * e γ)%C) with (T1 + (T2 - 2 / 3 * cos (Γ - 2 * V)) + T3).
  - eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat.
    + eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat; [|exact HR].
      unfold T1; eapply Rle_trans; [apply Re_mul_le|]; rewrite Cmod_e, Rmult_1_r, Cmod_mult, Cmod_R, Rabs_pos_eq by lra.
      pose proof (Cmod_triangle (e v * moment nodes 1)%C (e (- v) * moment nodes (-1))%C) as HT.
      rewrite !Cmod_mult, !Cmod_e in HT; lra.
    + unfold T3, Rdiv; rewrite <- sum_mul_r; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros n Hn.
      specialize (Hw n Hn); rewrite !Rabs_mult, Rabs_Rabsolu, (Rabs_pos_eq (w n)), (Rabs_pos_eq (/ 2)) by lra.
      assert (R0 : Rabs (cos (2 * PI * (v + φ n))) <= 1) by (apply Rabs_le, COS_bound).
      pose proof (Re_mul_le (e (ψ n) - e (2 * φ n + c))%C (e γ)) as HM; rewrite Cmod_e, Rmult_1_r in HM.
      pose proof (Rabs_pos (cos (2 * PI * (v + φ n)))).
      assert (Rabs (cos (2 * PI * (v + φ n))) * Rabs (Re ((e (ψ n) - e (2 * φ n + c)) * e γ)%C) <= 1 * Cmod (e (ψ n) - e (2 * φ n + c))%C)
        by (apply Rmult_le_compat; try apply Rabs_pos; assumption).
      rewrite Rmult_assoc, (Rmult_assoc (w n)); apply Rmult_le_compat_l; [exact Hw|]; lra.
  - replace (Re ((rule nodes v - integral nodes c v) * e γ)%C) with (Re (rule nodes v * e γ)%C - Re (integral nodes c v * e γ)%C)
      by (rewrite <- Re_minus; f_equal; ring).
    replace (Re (integral nodes c v * e γ)%C) with (2 / 3 * cos (Γ - 2 * V)).
    + enough (E : Re (rule nodes v * e γ)%C = T1 + T2 + T3) by (rewrite E; ring).
      assert (E1 : T1 = Σ n ∈ nodes, w n * (cos (2 * PI * (v + φ n)) / 2) * Re (e (ψ n) * e γ)%C).
      { unfold T1; pose proof (mode_sum nodes 1 v) as M1; pose proof (mode_sum nodes (-1) v) as M2; unfold mode in M1, M2.
        replace (1 * v) with v in M1 by ring; replace (-1 * v) with (- v) in M2 by ring.
        rewrite M1, M2, <- csum_plus, csum_mult_l, csum_mult_r, Re_csum; apply sum_ext; intros n _.
        replace (-1 * (v + φ n)) with (- (v + φ n)) by ring; replace (1 * (v + φ n)) with (v + φ n) by ring.
        replace (RtoC (/ 4) * (RtoC (w n) * e (ψ n) * e (v + φ n) + RtoC (w n) * e (ψ n) * e (- (v + φ n))) * e γ)%C
          with (RtoC (/ 4) * RtoC (w n) * (e (v + φ n) + e (- (v + φ n))) * (e (ψ n) * e γ))%C by ring.
        rewrite <- two_cos, <- !RtoC_mult, Re_scal; field. }
      rewrite E1; unfold T2, T3; rewrite <- !sum_plus; unfold rule; rewrite csum_mult_r, Re_csum; apply sum_ext; intros n Hn.
      replace (folded V Γ (2 * PI * φ' n)) with (Rabs (cos (2 * PI * (v + φ n))) * Re (e (2 * φ n + c) * e γ)%C).
      * replace (RtoC (w n) * e (ψ n) * RtoC (pos (cos (2 * PI * (v + φ n)))) * e γ)%C
          with (RtoC (w n * pos (cos (2 * PI * (v + φ n)))) * (e (ψ n) * e γ))%C by (rewrite RtoC_mult; ring).
        rewrite Re_scal.
        replace ((e (ψ n) - e (2 * φ n + c)) * e γ)%C with (e (ψ n) * e γ - e (2 * φ n + c) * e γ)%C by ring; rewrite Re_minus.
        replace (pos (cos (2 * PI * (v + φ n)))) with (cos (2 * PI * (v + φ n)) / 2 + Rabs (cos (2 * PI * (v + φ n))) / 2)
          by (unfold Rabs; destruct Rcase_abs; pos_cases).
        field.
      * destruct (Hφ n Hn) as [m Em].
        replace (2 * PI * φ' n) with (2 * PI * φ n + IZR (- m) * PI) by (rewrite Em, opp_IZR; field).
        rewrite folded_period; unfold folded, V; f_equal; [f_equal; f_equal; ring|].
        rewrite <- e_plus; unfold e, Re; simpl; f_equal; unfold Γ; ring.
    + unfold integral; rewrite Ht, <- !Cmult_assoc, Re_scal.
      replace (2 * PI / (3 * PI)) with (2 / 3) by (field; lra); f_equal.
      rewrite <- !e_plus; unfold e, Re; simpl; f_equal; unfold Γ, V; ring.
Qed.
