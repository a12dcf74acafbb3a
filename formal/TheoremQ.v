(** Theorem Q: the rule, the rectangle under the curve, and the harmonic bound. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle Relu Fourier.
Import ListNotations.
Open Scope R_scope.

(** ** rectangle *)
Section Rectangle.
Variable f : R -> R.
Hypothesis lipschitz : forall x y, Rabs (f x - f y) <= 2 * Rabs (x - y).

Lemma f_continuous x : continuous f x.
Proof.
  apply continuity_pt_filterlim; intros ε Hε; exists (ε / 4); split; [lra|].
  intros y [_ Hy]; unfold dist in *; simpl in *; unfold R_dist in *.
  pose proof (lipschitz y x); lra.
Qed.

Lemma f_integrable a b : ex_RInt f a b.
Proof. apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply f_continuous. Qed.

Lemma line_integral φ s l r : is_RInt (fun x => f φ + s * (x - φ)) l r ((r - l) * f φ + s / 2 * ((r - φ) ^ 2 - (l - φ) ^ 2)).
Proof.
  replace ((r - l) * f φ + s / 2 * ((r - φ) ^ 2 - (l - φ) ^ 2))
    with (minus (f φ * r + s / 2 * (r - φ) ^ 2) (f φ * l + s / 2 * (l - φ) ^ 2))
    by (unfold minus, plus, opp; simpl; field).
  apply (is_RInt_derive (fun x => f φ * x + s / 2 * (x - φ) ^ 2)).
  - intros x _; auto_derive; [exact Logic.I|field].
  - intros x _; apply (ex_derive_continuous (fun x => f φ + s * (x - φ))); auto_derive; exact Logic.I.
Qed.

Lemma side s φ l r : l <= r -> (s = 2 /\ φ <= l \/ s = -2 /\ r <= φ) ->
  Rabs (RInt f l r - (r - l) * f φ) <= s / 2 * ((r - φ) ^ 2 - (l - φ) ^ 2).
Proof.
  intros Hlr Hs.
  assert (B : forall x, l < x < r -> f φ + - s * (x - φ) <= f x <= f φ + s * (x - φ)).
  { intros x Hx; pose proof (lipschitz x φ) as HL; unfold Rabs in HL; repeat destruct Rcase_abs in HL; destruct Hs as [[-> ?]|[-> ?]]; lra. }
  pose proof (line_integral φ s l r) as Iu; pose proof (line_integral φ (- s) l r) as Il.
  assert (Hu : RInt f l r <= (r - l) * f φ + s / 2 * ((r - φ) ^ 2 - (l - φ) ^ 2)).
  { rewrite <- (is_RInt_unique _ _ _ _ Iu); apply RInt_le; [exact Hlr|apply f_integrable|eexists; exact Iu|].
    intros x Hx; apply B, Hx. }
  assert (Hl : (r - l) * f φ + - s / 2 * ((r - φ) ^ 2 - (l - φ) ^ 2) <= RInt f l r).
  { rewrite <- (is_RInt_unique _ _ _ _ Il); apply RInt_le; [exact Hlr|eexists; exact Il|apply f_integrable|].
    intros x Hx; apply B, Hx. }
  apply Rabs_le; lra.
Qed.

(** F(x) = (x − φ)|x − φ|/2, node inside or outside. *)
Definition F (φ x : R) : R := (x - φ) * Rabs (x - φ) / 2.

Lemma box φ l r : l <= r -> Rabs (RInt f l r - (r - l) * f φ) <= 2 * (F φ r - F φ l).
Proof.
  intros Hlr; unfold F.
  destruct (Rle_dec φ l) as [H|H]; [|destruct (Rle_dec r φ) as [H'|H']].
  - pose proof (side 2 φ l r Hlr ltac:(left; split; lra)).
    rewrite (Rabs_pos_eq (r - φ)), (Rabs_pos_eq (l - φ)) by lra; lra.
  - pose proof (side (-2) φ l r Hlr ltac:(right; split; lra)).
    rewrite (Rabs_left1 (r - φ)), (Rabs_left1 (l - φ)) by lra; lra.
  - pose proof (side (-2) φ l φ ltac:(lra) ltac:(right; split; lra)) as HA.
    pose proof (side 2 φ φ r ltac:(lra) ltac:(left; split; lra)) as HB.
    rewrite <- (RInt_Chasles f l φ r) by apply f_integrable; unfold plus; simpl.
    rewrite (Rabs_pos_eq (r - φ)), (Rabs_left1 (l - φ)) by lra.
    replace (RInt f l φ + RInt f φ r - (r - l) * f φ) with ((RInt f l φ - (φ - l) * f φ) + (RInt f φ r - (r - φ) * f φ)) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; lra.
Qed.

(** Lay boxes of width w_i side by side from any start: Σ_i ∫_box |x − φ_i| dx. *)
Fixpoint boxes (start : R) (nodes : list (R * R)) : R :=
  match nodes with [] => 0 | (w, φ) :: rest => (F φ (start + w) - F φ start) + boxes (start + w) rest end.

(** |Σ w_i f(φ_i) − ∫f| <= 2·Σ_i ∫_box |x − φ_i| dx *)
Theorem rectangle start nodes : (forall n, In n nodes -> 0 <= fst n) ->
  Rabs ((Σ n ∈ nodes, fst n * f (snd n)) - RInt f start (start + Σ n ∈ nodes, fst n)) <= 2 * boxes start nodes.
Proof.
  revert start; induction nodes as [|[w φ] nodes IH]; intros start Hw.
  - unfold sum; simpl; rewrite Rplus_0_r, RInt_point; unfold zero; simpl.
    unfold Rminus; rewrite Ropp_0, Rplus_0_r, Rabs_R0; lra.
  - rewrite !sum_cons; cbn [fst snd boxes].
    assert (Hw0 : 0 <= w) by (apply (Hw (w, φ)); left; reflexivity).
    specialize (IH (start + w) (fun n Hn => Hw n (or_intror Hn))).
    rewrite <- (RInt_Chasles f start (start + w)) by apply f_integrable; unfold plus; simpl.
    rewrite <- Rplus_assoc.
    pose proof (box φ start (start + w) ltac:(lra)) as HB.
    replace (start + w - start) with w in HB by ring.
    set (I1 := RInt f start (start + w)) in *; set (I2 := RInt f (start + w) (start + w + Σ n ∈ nodes, fst n)) in *.
    set (T := Σ n ∈ nodes, fst n * f (snd n)) in *.
    replace (w * f φ + T - (I1 + I2)) with (- (I1 - w * f φ) + (T - I2)) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; rewrite Rabs_Ropp; lra.
Qed.
End Rectangle.

(** For f(x) = ReLU(cos(v + x))·Re(e^{iγ}e^{2ix}) (radians) |f′| <= √(sin² + 4cos²) <= 2. *)
Definition lens (v γ x : R) : R := ReLU (cos (v + x)) * cos (γ + 2 * x).

Lemma smooth_lipschitz v γ x y :
  Rabs (cos (v + x) * cos (γ + 2 * x) - cos (v + y) * cos (γ + 2 * y)) <= 2 * Rabs (x - y).
Proof.
  destruct (MVT_gen (fun t => cos (v + t) * cos (γ + 2 * t)) y x
    (fun t => - sin (v + t) * cos (γ + 2 * t) - 2 * cos (v + t) * sin (γ + 2 * t))) as [c [_ Hc]].
  - intros t _; auto_derive; [exact Logic.I|ring].
  - intros t _; apply continuity_pt_filterlim, (ex_derive_continuous (fun t => cos (v + t) * cos (γ + 2 * t))); auto_derive; exact Logic.I.
  - rewrite Hc, Rabs_mult; apply Rmult_le_compat_r; [apply Rabs_pos|].
    pose proof (sin2_cos2 (v + c)) as H1; pose proof (sin2_cos2 (γ + 2 * c)) as H2; unfold Rsqr in *.
    set (s1 := sin (v + c)) in *; set (c1 := cos (v + c)) in *; set (s2 := sin (γ + 2 * c)) in *; set (c2 := cos (γ + 2 * c)) in *.
    (* (s1·c2 + 2·c1·s2)² <= (s1² + 4c1²)(c2² + s2²) <= 4 *)
    apply Rle_trans with (Rabs 2); [|rewrite Rabs_pos_eq; lra]; apply Rsqr_le_abs_0; unfold Rsqr.
    assert (E : (- s1 * c2 - 2 * c1 * s2) * (- s1 * c2 - 2 * c1 * s2) =
                (s1 * s1 + 4 * (c1 * c1)) * (s2 * s2 + c2 * c2) - (s1 * s2 - 2 * c1 * c2) * (s1 * s2 - 2 * c1 * c2)) by ring.
    rewrite E, H2; set (z := s1 * s2 - 2 * c1 * c2).
    assert (0 <= z * z) by apply Rle_0_sqr; assert (0 <= s1 * s1) by apply Rle_0_sqr.
    lra.
Qed.

Lemma lens_lipschitz v γ x y : Rabs (lens v γ x - lens v γ y) <= 2 * Rabs (x - y).
Proof.
  (* where the signs differ, cos has a root between *)
  assert (Mixed : forall x y, 0 <= cos (v + x) -> cos (v + y) < 0 -> Rabs (lens v γ x - lens v γ y) <= 2 * Rabs (x - y)).
  { intros a b Ha Hb.
    assert (Ey : lens v γ b = 0) by (unfold lens; replace ((cos (v + b))⁺) with 0 by pos_cases; ring).
    assert (Ea : lens v γ a = cos (v + a) * cos (γ + 2 * a)) by (unfold lens; replace ((cos (v + a))⁺) with (cos (v + a)) by pos_cases; ring).
    destruct (IVT_gen (fun t => cos (v + t)) a b 0) as [z [Hz Ez]].
    - intros t; apply continuity_pt_filterlim, (ex_derive_continuous (fun t => cos (v + t))); auto_derive; exact Logic.I.
    - rewrite Rmin_right, Rmax_left by lra; lra.
    - pose proof (smooth_lipschitz v γ a z) as HS; rewrite Ez, Rmult_0_l in HS.
      rewrite Ey, Ea; eapply Rle_trans; [exact HS|].
      apply Rmult_le_compat_l; [lra|].
      unfold Rmin, Rmax in Hz; repeat destruct Rle_dec in Hz; unfold Rabs; repeat destruct Rcase_abs; lra. }
  destruct (Rle_dec 0 (cos (v + x))) as [Hx|Hx]; destruct (Rle_dec 0 (cos (v + y))) as [Hy|Hy].
  - unfold lens; replace ((cos (v + x))⁺) with (cos (v + x)) by pos_cases; replace ((cos (v + y))⁺) with (cos (v + y)) by pos_cases.
    apply smooth_lipschitz.
  - apply Mixed; lra.
  - rewrite Rabs_minus_sym, (Rabs_minus_sym x); apply Mixed; lra.
  - unfold lens; replace ((cos (v + x))⁺) with 0 by pos_cases; replace ((cos (v + y))⁺) with 0 by pos_cases.
    rewrite !Rmult_0_l; unfold Rminus; rewrite Rplus_opp_r, Rabs_R0; pose proof (Rabs_pos (x + - y)); lra.
Qed.

(** The rectangle bound of Theorem Q, for weights that sum to 2π and exact output angles. *)
Corollary rectangle_lens v γ start nodes : (forall n, In n nodes -> 0 <= fst n) -> Σ n ∈ nodes, fst n = 2 * PI ->
  Rabs ((Σ n ∈ nodes, fst n * lens v γ (snd n)) - RInt (lens v γ) start (start + 2 * PI)) <= 2 * boxes start nodes.
Proof. intros Hw E; rewrite <- E; apply rectangle; [apply lens_lipschitz|exact Hw]. Qed.

(** ** harmonic *)
Record node := { w : R; φ : R; ψ : R }.

Section Harmonic.
Variable nodes : list node.
Hypothesis w_nonneg : forall n, In n nodes -> 0 <= w n.

Definition total : R := Σ n ∈ nodes, w n.
(** Q_m = Σ w_i·e(ψ_i + mφ_i) *)
Definition moment (m : R) : C := csum nodes (fun n => RtoC (w n) * e (ψ n + m * φ n))%C.
(** L(v) = Σ_i w_i·e(ψ_i)·ReLU(cos 2π(v + φ_i)) *)
Definition rule (v : R) : C := csum nodes (fun n => RtoC (w n) * e (ψ n) * RtoC (ReLU (cos (2 * PI * (v + φ n)))))%C.
(** I(v) = (W/3π)·e(c)·e(−2v) *)
Definition integral (c v : R) : C := (RtoC (total / (3 * PI)) * e c * e (- (2 * v)))%C.

(** The finite sum of modes |m| <= 2M. *)
Definition mode (m v : R) : C := (e (m * v) * moment m)%C.
Definition ĥ (n : nat) : R := (-1) ^ n / (PI * (4 * (INR n + 1) ^ 2 - 1)).  (* ĥ_m for m = ±2(n + 1) *)
Definition even (n : nat) : R := 2 * (INR n + 1).
Definition finite (M : nat) (v : R) : C :=
  (RtoC (1 / PI) * mode 0 v + RtoC (/ 4) * (mode 1 v + mode (-1) v) +
   csum (seq 0 M) (fun n => RtoC (ĥ n) * (mode (even n) v + mode (- even n) v)))%C.

Lemma two_cos x : RtoC (2 * cos (2 * PI * x)) = (e x + e (- x))%C.
Proof. rewrite e_opp; apply injective_projections; unfold e, Cconj; simpl; ring. Qed.

Lemma mode_sum m v : mode m v = csum nodes (fun n => RtoC (w n) * e (ψ n) * e (m * (v + φ n)))%C.
Proof.
  unfold mode, moment; rewrite csum_mult_l; apply csum_ext; intros n _.
  rewrite <- Cmult_assoc, <- e_plus.
  replace (e (m * v) * (RtoC (w n) * e (ψ n + m * φ n)))%C with (RtoC (w n) * (e (m * v) * e (ψ n + m * φ n)))%C by ring.
  rewrite <- e_plus; f_equal; f_equal; ring.
Qed.

Lemma finite_sum M v : finite M v = csum nodes (fun n => RtoC (w n) * e (ψ n) *
   RtoC (1 / PI + cos (2 * PI * (v + φ n)) / 2 + 2 / PI * P M (2 * PI * (v + φ n))))%C.
Proof.
  pose proof PI_RGT_0.
  assert (Pair : forall m (c : R), (RtoC c * (mode m v + mode (- m) v))%C =
     csum nodes (fun n => RtoC (w n) * e (ψ n) * RtoC (c * (2 * cos (2 * PI * (m * (v + φ n))))))%C).
  { intros m c; rewrite !mode_sum, <- csum_plus, csum_mult_l; apply csum_ext; intros n _.
    rewrite RtoC_mult, two_cos; replace (- m * (v + φ n)) with (- (m * (v + φ n))) by ring; ring. }
  unfold finite; rewrite Pair.
  induction M as [|M IH].
  - unfold csum at 2; simpl; rewrite Cplus_0_r, mode_sum, csum_mult_l, <- csum_plus.
    apply csum_ext; intros n _; rewrite Rmult_0_l, e_0, !RtoC_plus.
    unfold P, sum; simpl; rewrite Rmult_0_r, Cplus_0_r.
    replace (1 * (v + φ n)) with (v + φ n) by ring.
    replace (/ 4 * (2 * cos (2 * PI * (v + φ n)))) with (cos (2 * PI * (v + φ n)) / 2) by field; ring.
  - assert (Snoc : forall (g : nat -> C), csum (seq 0 (S M)) g = (csum (seq 0 M) g + g M)%C).
    { intros g; rewrite seq_S, Nat.add_0_l; generalize (seq 0 M) as l; induction l as [|x l IHl].
      - unfold csum; simpl; ring.
      - simpl app; rewrite !csum_cons, IHl; ring. }
    rewrite Snoc, Cplus_assoc, IH, Pair, <- csum_plus; apply csum_ext; intros n _.
    rewrite P_S, <- Cmult_plus_distr_l, <- RtoC_plus; f_equal; f_equal.
    unfold ĥ, even; replace (2 * PI * (2 * (INR M + 1) * (v + φ n))) with (2 * (INR M + 1) * (2 * PI * (v + φ n))) by ring.
    pose proof (pos_INR M); field; split; nra.
Qed.

Lemma rule_near_finite M v : Cmod (rule v - finite M v)%C <= total * (1 / (PI * (INR (2 * M) + 1))).
Proof.
  rewrite finite_sum; unfold rule, total.
  rewrite <- sum_mul_r.
  replace (csum nodes (fun n => RtoC (w n) * e (ψ n) * RtoC (ReLU (cos (2 * PI * (v + φ n)))))%C -
     csum nodes (fun n => RtoC (w n) * e (ψ n) * RtoC (1 / PI + cos (2 * PI * (v + φ n)) / 2 + 2 / PI * P M (2 * PI * (v + φ n))))%C)%C
  with (csum nodes (fun n => RtoC (w n) * e (ψ n) * RtoC (ReLU (cos (2 * PI * (v + φ n))) -
     (1 / PI + cos (2 * PI * (v + φ n)) / 2 + 2 / PI * P M (2 * PI * (v + φ n)))))%C).
  - eapply Rle_trans; [apply Cmod_csum|]; apply sum_le; intros n Hn.
    rewrite !Cmod_mult, Cmod_e, !Cmod_R, (Rabs_pos_eq (w n)), Rmult_1_r by (apply w_nonneg, Hn).
    apply Rmult_le_compat_l; [apply w_nonneg, Hn|apply relu_cos_series].
  - generalize nodes as l; induction l as [|n l IHl]; [unfold csum; simpl; ring|].
    rewrite !csum_cons, IHl, RtoC_minus; ring.
Qed.

(** |L − I| <= Σ_{m≠−2, |m|<=2M} |ĥ_m||Q_m| + |ĥ_2|·|Q_−2 − W·e(c)| + W/(π(2M + 1)) *)
Definition harmonic (M : nat) (c : R) : R :=
  1 / PI * Cmod (moment 0) + / 4 * (Cmod (moment 1) + Cmod (moment (-1))) +
  (Σ n ∈ seq 0 M, Rabs (ĥ n) * (Cmod (moment (even n)) +
     Cmod (moment (- even n) - (if Nat.eqb n 0 then RtoC total * e c else RtoC 0))%C)) +
  total / (PI * (INR (2 * M) + 1)).

Theorem theorem_Q_harmonic M c v : (1 <= M)%nat -> Cmod (rule v - integral c v)%C <= harmonic M c.
Proof.
  intros HM; pose proof PI_RGT_0.
  assert (HI : integral c v = csum (seq 0 M) (fun n => RtoC (ĥ n) * (e (- even n * v) * (if Nat.eqb n 0 then RtoC total * e c else RtoC 0)))%C).
  { destruct M as [|M]; [lia|]; simpl seq; rewrite csum_cons; simpl Nat.eqb; cbv iota.
    assert (Z0 : forall l, (forall n, In n l -> (1 <= n)%nat) -> csum l (fun n => RtoC (ĥ n) * (e (- even n * v) * (if Nat.eqb n 0 then RtoC total * e c else RtoC 0)))%C = 0%C).
    { induction l as [|n l IHl]; intros Hl; [reflexivity|].
      rewrite csum_cons, IHl by (intros; apply Hl; right; assumption).
      destruct n as [|n]; [pose proof (Hl 0%nat (or_introl eq_refl)); lia|]; simpl Nat.eqb; cbv iota; ring. }
    rewrite Z0 by (intros n Hn; apply in_seq in Hn; lia).
    unfold integral, ĥ, even; simpl INR; simpl pow.
    replace (- (2 * (0 + 1)) * v) with (- (2 * v)) by ring.
    replace (total / (3 * PI)) with (1 / (PI * (4 * ((0 + 1) * ((0 + 1) * 1)) - 1)) * total) by (field; lra).
    rewrite RtoC_mult; ring. }
  replace (rule v - integral c v)%C with ((rule v - finite M v) + (finite M v - integral c v))%C by ring.
  eapply Rle_trans; [apply Cmod_triangle|].
  unfold harmonic; rewrite Rplus_comm; apply Rplus_le_compat.
  2: { eapply Rle_trans; [apply rule_near_finite|right; field; pose proof (pos_INR (2 * M)); lra]. }
  unfold finite; rewrite HI.
  assert (HD : forall (f g : nat -> C) l, (csum l f - csum l g)%C = csum l (fun n => f n - g n)%C).
  { intros f g; induction l as [|n l IHl]; [unfold csum; simpl; ring|]; rewrite !csum_cons, <- IHl; ring. }
  unfold Cminus; rewrite <- Cplus_assoc.
  change (- csum (seq 0 M) ?F)%C with (Copp (csum (seq 0 M) F)).
  fold (Cminus (csum (seq 0 M) (fun n => RtoC (ĥ n) * (mode (even n) v + mode (- even n) v)))%C
    (csum (seq 0 M) (fun n => RtoC (ĥ n) * (e (- even n * v) * (if Nat.eqb n 0 then RtoC total * e c else RtoC 0)))%C)).
  rewrite HD.
  assert (Hm : forall m, Cmod (mode m v) = Cmod (moment m)) by (intros m; unfold mode; rewrite Cmod_mult, Cmod_e; ring).
  eapply Rle_trans; [apply Cmod_triangle|]; apply Rplus_le_compat.
  - eapply Rle_trans; [apply Cmod_triangle|]; apply Rplus_le_compat; rewrite Cmod_mult, Cmod_R.
    + rewrite Hm, (Rabs_pos_eq (1 / PI)) by (apply Rdiv_le_0_compat; lra); right; reflexivity.
    + rewrite Rabs_pos_eq by lra; apply Rmult_le_compat_l; [lra|].
      eapply Rle_trans; [apply Cmod_triangle|]; rewrite !Hm; lra.
  - eapply Rle_trans; [apply Cmod_csum|]; apply sum_le; intros n _.
    set (z := if Nat.eqb n 0 then (RtoC total * e c)%C else RtoC 0).
    replace (RtoC (ĥ n) * (mode (even n) v + mode (- even n) v) - RtoC (ĥ n) * (e (- even n * v) * z))%C
      with (RtoC (ĥ n) * (mode (even n) v + e (- even n * v) * (moment (- even n) - z)))%C by (unfold mode; ring).
    rewrite Cmod_mult, Cmod_R; apply Rmult_le_compat_l; [apply Rabs_pos|].
    eapply Rle_trans; [apply Cmod_triangle|]; rewrite Hm, Cmod_mult, Cmod_e; right; unfold Cminus; ring.
Qed.
End Harmonic.
