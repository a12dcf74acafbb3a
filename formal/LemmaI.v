(** Lemma I: the midpoint rule with N nodes for ∫_0^1 ReLU(T(x))·e(mx) dx; m = 2r for the harmonic r of the output. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle Relu Profile.
Import ListNotations.
Open Scope R_scope.

(** ** The midpoint rule on one cell, from a bound of the second difference. *)
Lemma midpoint_from (f : R -> R) x0 r (bound : R -> R) (B : R) : 0 <= r -> (forall x, continuous f x) -> is_RInt bound 0 r B ->
  (forall s, 0 <= s <= r -> Rabs (f (x0 + s) + f (x0 - s) - 2 * f x0) <= bound s) ->
  Rabs (RInt f (x0 - r) (x0 + r) - 2 * r * f x0) <= B.
Proof.
  intros Hr Hf Es HK.
  assert (Ex : forall a b, ex_RInt f a b) by (intros; apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply Hf).
  assert (Hp : forall s, continuous (fun s => f (x0 + s)) s).
  { intros s; apply (continuous_comp (fun s => x0 + s) f); [apply (ex_derive_continuous (fun s => x0 + s)); auto_derive; exact Logic.I|apply Hf]. }
  assert (Hm : forall s, continuous (fun s => f (x0 - s)) s).
  { intros s; apply (continuous_comp (fun s => x0 - s) f); [apply (ex_derive_continuous (fun s => x0 - s)); auto_derive; exact Logic.I|apply Hf]. }
  assert (Ep : ex_RInt (fun s => f (x0 + s)) 0 r) by (apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply Hp).
  assert (Em : ex_RInt (fun s => f (x0 - s)) 0 r) by (apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply Hm).
  assert (I1 : RInt f x0 (x0 + r) = RInt (fun s => f (x0 + s)) 0 r).
  { pose proof (RInt_comp_lin f 1 x0 0 r) as H.
    replace (1 * 0 + x0) with x0 in H by ring; replace (1 * r + x0) with (x0 + r) in H by ring.
    rewrite <- H by apply Ex; apply RInt_ext; intros s _; unfold scal; simpl; unfold mult; simpl.
    rewrite Rmult_1_l; f_equal; ring. }
  assert (I2 : RInt f (x0 - r) x0 = RInt (fun s => f (x0 - s)) 0 r).
  { pose proof (RInt_comp_lin f (-1) x0 0 r) as H.
    replace (-1 * 0 + x0) with x0 in H by ring; replace (-1 * r + x0) with (x0 - r) in H by ring.
    rewrite <- (opp_RInt_swap f) by apply Ex; rewrite <- H by apply Ex.
    rewrite <- (RInt_opp (fun y => scal (-1) (f (-1 * y + x0)))).
    - apply RInt_ext; intros s _; unfold opp, scal; simpl; unfold mult; simpl.
      replace (-1 * s + x0) with (x0 - s) by ring; ring.
    - apply (ex_RInt_scal (V := R_NormedModule)).
      apply (ex_RInt_ext (fun s => f (x0 - s))); [intros s _; f_equal; ring|exact Em]. }
  rewrite <- (RInt_Chasles f (x0 - r) x0 (x0 + r)) by apply Ex; rewrite I1, I2.
  change (Rabs (RInt (fun s => f (x0 - s)) 0 r + RInt (fun s => f (x0 + s)) 0 r - 2 * r * f x0) <= B).
  set (g := fun s => f (x0 + s) + f (x0 - s) - 2 * f x0).
  assert (Eg : is_RInt g 0 r (RInt (fun s => f (x0 + s)) 0 r + RInt (fun s => f (x0 - s)) 0 r - 2 * r * f x0)).
  { replace (2 * r * f x0) with ((r - 0) * (2 * f x0)) by ring.
    refine (is_RInt_minus _ _ _ _ _ _ (is_RInt_plus _ _ _ _ _ _ (RInt_correct _ _ _ Ep) (RInt_correct _ _ _ Em)) (is_RInt_const _ _ _)). }
  rewrite (Rplus_comm (RInt (fun s => f (x0 - s)) 0 r)).
  rewrite <- (is_RInt_unique _ _ _ _ Eg).
  eapply Rle_trans; [apply abs_RInt_le; [exact Hr|eexists; exact Eg]|].
  rewrite <- (is_RInt_unique _ _ _ _ Es); apply RInt_le; [exact Hr| |eexists; exact Es|intros s Hs; apply HK; lra].
  apply (ex_RInt_norm g); eexists; exact Eg.
Qed.

Lemma midpoint (f : R -> R) x0 r K : 0 <= r -> (forall x, continuous f x) ->
  (forall s, 0 <= s <= r -> Rabs (f (x0 + s) + f (x0 - s) - 2 * f x0) <= K * s ^ 2) ->
  Rabs (RInt f (x0 - r) (x0 + r) - 2 * r * f x0) <= K * r ^ 3 / 3.
Proof.
  intros Hr Hf HK; apply (midpoint_from f x0 r (fun s => K * s ^ 2)); [exact Hr|exact Hf| |exact HK].
  replace (K * r ^ 3 / 3) with (minus (K * r ^ 3 / 3) (K * 0 ^ 3 / 3)) by (unfold minus, plus, opp; simpl; field).
  apply (is_RInt_derive (fun s => K * s ^ 3 / 3)); intros s _; [auto_derive; [exact Logic.I|field]|].
  apply (ex_derive_continuous (fun s => K * s ^ 2)); auto_derive; exact Logic.I.
Qed.

(** From a Lipschitz constant around the middle: the error is at most L·r², r half the cell's width. *)
Lemma midpoint_lipschitz (f : R -> R) x0 r L : 0 <= r -> (forall x, continuous f x) ->
  (forall x, x0 - r <= x <= x0 + r -> Rabs (f x - f x0) <= L * Rabs (x - x0)) ->
  Rabs (RInt f (x0 - r) (x0 + r) - 2 * r * f x0) <= L * r ^ 2.
Proof.
  intros Hr Hf HL; apply (midpoint_from f x0 r (fun s => 2 * L * s)); [exact Hr|exact Hf| |].
  - replace (L * r ^ 2) with (minus (L * r ^ 2) (L * 0 ^ 2)) by (unfold minus, plus, opp; simpl; field).
    apply (is_RInt_derive (fun s => L * s ^ 2)); intros s _; [auto_derive; [exact Logic.I|ring]|].
    apply (ex_derive_continuous (fun s => 2 * L * s)); auto_derive; exact Logic.I.
  - intros s Hs; pose proof (HL (x0 + s) ltac:(lra)) as H1; pose proof (HL (x0 - s) ltac:(lra)) as H2.
    replace (x0 + s - x0) with s in H1 by ring; replace (x0 - s - x0) with (- s) in H2 by ring.
    rewrite Rabs_Ropp in H2; rewrite (Rabs_pos_eq s) in H1, H2 by lra.
    replace (f (x0 + s) + f (x0 - s) - 2 * f x0) with ((f (x0 + s) - f x0) + (f (x0 - s) - f x0)) by ring.
    eapply Rle_trans; [apply Rabs_triang|]; lra.
Qed.


(** ** f(x) = ReLU(T(x))·e(mx), seen in the direction e(γ): a complex number is as long as its longest shadow. *)
Section LemmaI.
Variables (g : family) (δ : Z) (m γ : R).
Hypothesis m_pos : 0 <= m.
Let T := profile g δ.

Definition shadow (x : R) : R := T x * Re (e (m * x + γ)).
Definition f (x : R) : R := ReLU (T x) * Re (e (m * x + γ)).

(** |f″| <= (2π)²·K, K = m²|d| + Σ(h + m)²|u_h|, where T keeps its sign *)
Definition K : R := m ^ 2 * Rabs (d g) + Σ h ∈ harmonics g, (INR h + m) ^ 2 * Cmod (u g δ h).

Lemma one_minus_cos y : 0 <= 1 - cos y <= y ^ 2 / 2.
Proof.
  replace (cos y) with (cos (2 * (y / 2))) by (f_equal; field); rewrite cos_2a_sin.
  assert (Hs : Rabs (sin (y / 2)) <= Rabs (y / 2)).
  { destruct (MVT_gen sin 0 (y / 2) cos) as [c [_ Hc]].
    - intros z _; apply is_derive_Reals, derivable_pt_lim_sin.
    - intros z _; apply continuity_pt_filterlim, (ex_derive_continuous sin z); exists (cos z); apply is_derive_Reals, derivable_pt_lim_sin.
    - rewrite sin_0, !Rminus_0_r in Hc; rewrite Hc, Rabs_mult.
      assert (Rabs (cos c) <= 1) by (apply Rabs_le, COS_bound); pose proof (Rabs_pos (y / 2)); nra. }
  apply Rsqr_le_abs_1 in Hs; unfold Rsqr in Hs; pose proof (Rle_0_sqr (sin (y / 2))) as H0; unfold Rsqr in H0; simpl; nra.
Qed.

(** The second difference of one wave. *)
Lemma wave_second z n c x s :
  Rabs (Re (z * e (n * (x + s) + c))%C + Re (z * e (n * (x - s) + c))%C - 2 * Re (z * e (n * x + c))%C) <= (2 * PI) ^ 2 * (n ^ 2 * Cmod z) * s ^ 2.
Proof.
  replace (n * (x + s) + c) with ((n * x + c) + n * s) by ring.
  replace (n * (x - s) + c) with ((n * x + c) + - (n * s)) by ring.
  rewrite (e_plus (n * x + c) (n * s)), (e_plus (n * x + c) (- (n * s))), e_opp; set (w := (z * e (n * x + c))%C).
  replace (Re (z * (e (n * x + c) * e (n * s)))%C + Re (z * (e (n * x + c) * Cconj (e (n * s))))%C - 2 * Re w)
    with (- (2 * (1 - cos (2 * PI * (n * s)))) * Re w)
    by (unfold w, Re, Cconj, e, Cmult; simpl; ring).
  rewrite Rabs_mult, Rabs_Ropp.
  pose proof (one_minus_cos (2 * PI * (n * s))) as [H0 H1].
  rewrite Rabs_pos_eq by lra.
  assert (Hw : Rabs (Re w) <= Cmod z) by (unfold w; eapply Rle_trans; [apply Re_mul_le|]; rewrite Cmod_e; lra).
  apply Rle_trans with ((2 * PI * (n * s)) ^ 2 * Cmod z); [|right; ring].
  apply Rmult_le_compat; [lra|apply Rabs_pos|lra|exact Hw].
Qed.

Lemma product_wave h (z : C) x : Re (z * e (INR h * x))%C * Re (e (m * x + γ)) =
  Re (RtoC (/ 2) * z * e ((INR h + m) * x + γ))%C + Re (RtoC (/ 2) * z * e ((INR h - m) * x + - γ))%C.
Proof.
  replace ((INR h + m) * x + γ) with (INR h * x + (m * x + γ)) by ring.
  replace ((INR h - m) * x + - γ) with (INR h * x + - (m * x + γ)) by ring.
  rewrite (e_plus (INR h * x) (m * x + γ)), (e_plus (INR h * x) (- (m * x + γ))), e_opp.
  unfold Re, Cconj, Cmult, e, RtoC; simpl; field.
Qed.

Lemma shadow_second x s : Rabs (shadow (x + s) + shadow (x - s) - 2 * shadow x) <= (2 * PI) ^ 2 * K * s ^ 2.
Proof.
  unfold shadow, T, profile, K.
  set (F := fun h y => Re (RtoC (/ 2) * u g δ h * e ((INR h + m) * y + γ))%C + Re (RtoC (/ 2) * u g δ h * e ((INR h - m) * y + - γ))%C).
  assert (E : forall x, (d g + Σ h ∈ harmonics g, Re (u g δ h * e (INR h * x))%C) * Re (e (m * x + γ)) =
     Re (RtoC (d g) * e (m * x + γ))%C +
     Σ h ∈ harmonics g, F h x).
  { intros y; rewrite Rmult_plus_distr_r, Re_scal, <- sum_mul_r; f_equal; apply sum_ext; intros h _; apply product_wave. }
  rewrite !E; clear E.
  replace (Re (RtoC (d g) * e (m * (x + s) + γ))%C + (Σ h ∈ harmonics g, F h (x + s)) +
     (Re (RtoC (d g) * e (m * (x - s) + γ))%C + (Σ h ∈ harmonics g, F h (x - s))) -
     2 * (Re (RtoC (d g) * e (m * x + γ))%C + (Σ h ∈ harmonics g, F h x)))
  with ((Re (RtoC (d g) * e (m * (x + s) + γ))%C + Re (RtoC (d g) * e (m * (x - s) + γ))%C - 2 * Re (RtoC (d g) * e (m * x + γ))%C) +
     Σ h ∈ harmonics g, (F h (x + s) + F h (x - s) - 2 * F h x))
  by (rewrite sum_minus, sum_plus, sum_mul_l; ring).
  eapply Rle_trans; [apply Rabs_triang|].
  set (S := Σ h ∈ harmonics g, (INR h + m) ^ 2 * Cmod (u g δ h)).
  replace ((2 * PI) ^ 2 * (m ^ 2 * Rabs (d g) + S) * s ^ 2) with ((2 * PI) ^ 2 * (m ^ 2 * Rabs (d g)) * s ^ 2 + (2 * PI) ^ 2 * S * s ^ 2) by ring.
  apply Rplus_le_compat; [|unfold S].
  - eapply Rle_trans; [apply wave_second|]; rewrite Cmod_R; right; ring.
  - eapply Rle_trans; [apply sum_abs|]; rewrite <- sum_mul_l, <- sum_mul_r; apply sum_le; intros h _; unfold F.
    pose proof (wave_second (RtoC (/ 2) * u g δ h)%C (INR h + m) γ x s) as H1.
    pose proof (wave_second (RtoC (/ 2) * u g δ h)%C (INR h - m) (- γ) x s) as H2.
    rewrite Cmod_mult, Cmod_R, (Rabs_pos_eq (/ 2)) in H1, H2 by lra.
    match goal with |- Rabs ?X <= _ => match type of H1 with Rabs ?A <= _ => match type of H2 with Rabs ?B <= _ => replace X with (A + B) by ring end end end.
    eapply Rle_trans; [apply Rabs_triang|].
    eapply Rle_trans; [apply Rplus_le_compat; [exact H1|exact H2]|].
    pose proof (pos_INR h); pose proof (Cmod_ge_0 (u g δ h)); pose proof PI_RGT_0.
    assert ((INR h - m) ^ 2 <= (INR h + m) ^ 2) by nra.
    assert (0 <= (2 * PI) ^ 2 * s ^ 2 * Cmod (u g δ h)) by (apply Rmult_le_pos; [nra|assumption]).
    apply Rle_trans with ((2 * PI) ^ 2 * s ^ 2 * Cmod (u g δ h) * (/ 2 * ((INR h + m) ^ 2 + (INR h - m) ^ 2))); [right; ring|].
    apply Rle_trans with ((2 * PI) ^ 2 * s ^ 2 * Cmod (u g δ h) * (INR h + m) ^ 2); [|right; ring].
    apply Rmult_le_compat_l; lra.
Qed.

Lemma e_re_continuous n c x : continuous (fun x => Re (e (n * x + c))) x.
Proof. apply (ex_derive_continuous (fun x => cos (2 * PI * (n * x + c)))); auto_derive; exact Logic.I. Qed.

Lemma T_continuous x : continuous T x.
Proof.
  apply continuity_pt_filterlim; intros ε Hε.
  set (L := 2 * PI * steepness g δ + 1).
  assert (HL : 0 < L) by (unfold L; pose proof PI_RGT_0; pose proof (steepness_nonneg g δ); nra).
  exists (ε / L); split; [apply Rdiv_lt_0_compat; lra|].
  intros y [_ Hy]; simpl in *; unfold R_dist in *.
  pose proof (profile_lipschitz g δ y x) as H; fold T in H.
  apply Rmult_lt_compat_r with (r := L) in Hy; [|exact HL].
  replace (ε / L * L) with ε in Hy by (field; lra).
  unfold L in Hy; pose proof (Rabs_pos (y - x)); lra.
Qed.

Lemma f_continuous x : continuous f x.
Proof.
  apply (continuous_mult (fun x => ReLU (T x)) (fun x => Re (e (m * x + γ)))); [|apply e_re_continuous].
  apply (continuous_comp T pos); [apply T_continuous|].
  apply continuity_pt_filterlim; intros ε Hε; exists ε; split; [exact Hε|].
  intros y [_ Hy]; simpl in *; unfold R_dist in *; eapply Rle_lt_trans; [apply pos_lipschitz|exact Hy].
Qed.

Lemma f_integrable a b : ex_RInt f a b.
Proof. apply (ex_RInt_continuous (V := R_CompleteNormedModule)); intros; apply f_continuous. Qed.

(** Where T keeps its sign the rule errs by at most (2π)²K/24N² of the cell's width. *)
Lemma smooth_cell N x0 : 0 < N ->
  (forall x, x0 - / (2 * N) <= x <= x0 + / (2 * N) -> 0 <= T x) \/ (forall x, x0 - / (2 * N) <= x <= x0 + / (2 * N) -> T x <= 0) ->
  Rabs (RInt f (x0 - / (2 * N)) (x0 + / (2 * N)) - / N * f x0) <= (2 * PI) ^ 2 * K / (24 * N ^ 2) * / N.
Proof.
  intros HN HT; assert (Hr : 0 < / (2 * N)) by (apply Rinv_0_lt_compat; lra).
  replace (/ N * f x0) with (2 * / (2 * N) * f x0) by (field; lra).
  replace ((2 * PI) ^ 2 * K / (24 * N ^ 2) * / N) with ((2 * PI) ^ 2 * K * (/ (2 * N)) ^ 3 / 3) by (field; lra).
  apply midpoint; [lra|apply f_continuous|].
  intros s Hs; destruct HT as [HT|HT].
  - assert (E : forall x, x0 - / (2 * N) <= x <= x0 + / (2 * N) -> f x = shadow x).
    { intros x Hx; unfold f, shadow; f_equal; specialize (HT x Hx); pos_cases. }
    rewrite !E by lra; apply shadow_second.
  - assert (E : forall x, x0 - / (2 * N) <= x <= x0 + / (2 * N) -> f x = 0).
    { intros x Hx; unfold f; specialize (HT x Hx); replace ((T x)⁺) with 0 by pos_cases; ring. }
    rewrite !E by lra; replace (0 + 0 - 2 * 0) with 0 by ring; rewrite Rabs_R0.
    pose proof (shadow_second x0 s) as H; eapply Rle_trans; [apply Rabs_pos|exact H].
Qed.

(** t′ = T′/2π, up to sign. *)
Definition slope (x : R) : R := Σ h ∈ harmonics g, INR h * Im (u g δ h * e (INR h * x))%C.
Definition bend : R := Σ h ∈ harmonics g, (INR h ^ 2 + 2 * m * INR h) * Cmod (u g δ h).

Lemma T_derive x : is_derive T x (- (2 * PI * slope x)).
Proof.
  unfold T, profile, slope.
  replace (- (2 * PI * Σ h ∈ harmonics g, INR h * Im (u g δ h * e (INR h * x))%C))
    with (plus 0 (Σ h ∈ harmonics g, - (2 * PI * (INR h * Im (u g δ h * e (INR h * x))%C))))
    by (rewrite sum_opp, sum_mul_l; unfold plus; simpl; ring).
  refine (is_derive_plus (fun _ => d g) _ x 0 _ (is_derive_const _ _) _).
  generalize (harmonics g) as l; induction l as [|h l IH].
  - unfold sum; simpl; apply (is_derive_const 0).
  - rewrite sum_cons; refine (is_derive_plus (fun x => Re (u g δ h * e (INR h * x))%C) (fun x => Σ h ∈ l, Re (u g δ h * e (INR h * x))%C) x _ _ _ IH).
    unfold Re, Im, Cmult, e; simpl; auto_derive; [exact Logic.I|ring].
Qed.

Lemma slope_moves x y : Rabs (slope x - slope y) <= 2 * PI * (Σ h ∈ harmonics g, INR h ^ 2 * Cmod (u g δ h)) * Rabs (x - y).
Proof.
  unfold slope; rewrite <- sum_minus, (Rmult_assoc (2 * PI)), <- sum_mul_r, <- sum_mul_l.
  eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros h _.
  rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_pos_eq (INR h)) by apply pos_INR.
  replace (Im (u g δ h * e (INR h * x))%C - Im (u g δ h * e (INR h * y))%C) with (Im (u g δ h * (e (INR h * x) - e (INR h * y)))%C) by (unfold Im, Cmult, Cminus, Cplus, Copp, e; simpl; ring).
  assert (HI : Rabs (Im (u g δ h * (e (INR h * x) - e (INR h * y)))%C) <= Cmod (u g δ h) * (2 * PI * (INR h * Rabs (x - y)))).
  { eapply Rle_trans; [eapply Rle_trans; [apply Rmax_r|apply (Rmax_Cmod (u g δ h * (e (INR h * x) - e (INR h * y)))%C)]|].
    rewrite Cmod_mult; apply Rmult_le_compat_l; [apply Cmod_ge_0|].
    eapply Rle_trans; [apply e_lipschitz|]; right; rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_pos_eq (INR h)) by apply pos_INR; ring. }
  pose proof (pos_INR h); replace (2 * PI * (INR h ^ 2 * Cmod (u g δ h) * Rabs (x - y)))
    with (INR h * (Cmod (u g δ h) * (2 * PI * (INR h * Rabs (x - y))))) by ring.
  apply Rmult_le_compat_l; assumption.
Qed.

(** On a cell that may hold a root, |T| <= τ at its middle, |f′| <= |T′(middle)| + max|T″|/2N + 4πmτ, and the cell's integral errs
    by at most max|f′|/4N²: (π/2)·|t′|/N² + (π²/2)·Σ(h² + 2mh)|u_h|/N³. *)
Definition rough_error (N x0 : R) : R := PI / 2 * Rabs (slope x0) / N ^ 2 + PI ^ 2 / 2 * bend / N ^ 3.

Lemma rough_cell N x0 : 0 < N -> Rabs (T x0) <= τ g δ N ->
  Rabs (RInt f (x0 - / (2 * N)) (x0 + / (2 * N)) - / N * f x0) <= rough_error N x0.
Proof.
  intros HN HT; assert (Hr : 0 < / (2 * N)) by (apply Rinv_0_lt_compat; lra); pose proof PI_RGT_0 as Hpi.
  set (S2 := Σ h ∈ harmonics g, INR h ^ 2 * Cmod (u g δ h)).
  assert (HS2 : 0 <= S2) by (apply sum_nonneg; intros h _; apply Rmult_le_pos; [apply pow2_ge_0|apply Cmod_ge_0]).
  pose proof (steepness_nonneg g δ) as HS1.
  set (L := 2 * PI * (Rabs (slope x0) + 2 * PI * S2 * / (2 * N)) + 2 * (2 * PI * m) * τ g δ N).
  replace (/ N * f x0) with (2 * / (2 * N) * f x0) by (field; lra).
  assert (E : L * (/ (2 * N)) ^ 2 = rough_error N x0).
  { unfold L, rough_error, bend, τ, steepness.
    rewrite (sum_ext (harmonics g) (fun h => (INR h ^ 2 + 2 * m * INR h) * Cmod (u g δ h)) (fun h => INR h ^ 2 * Cmod (u g δ h) + 2 * m * (INR h * Cmod (u g δ h)))) by (intros; ring).
    rewrite sum_plus, sum_mul_l; fold S2; field; lra. }
  rewrite <- E; apply midpoint_lipschitz; [lra|apply f_continuous|]; intros x Hx.
  assert (Hd : Rabs (x - x0) <= / (2 * N)) by (apply Rabs_le; lra).
  assert (HTx : Rabs (T x - T x0) <= 2 * PI * (Rabs (slope x0) + 2 * PI * S2 * / (2 * N)) * Rabs (x - x0)).
  { destruct (MVT_gen T x0 x (fun z => - (2 * PI * slope z))) as [c [Hc1 Hc2]].
    - intros z _; apply T_derive.
    - intros z _; apply continuity_pt_filterlim, T_continuous.
    - rewrite Hc2, Rabs_mult, Rabs_Ropp, Rabs_mult, (Rabs_pos_eq (2 * PI)) by lra.
      apply Rmult_le_compat_r; [apply Rabs_pos|]; apply Rmult_le_compat_l; [lra|].
      assert (Hc3 : Rabs (c - x0) <= / (2 * N)).
      { unfold Rmin, Rmax in Hc1; repeat destruct Rle_dec in Hc1; apply Rabs_le; lra. }
      pose proof (slope_moves c x0) as Hs; fold S2 in Hs.
      replace (slope c) with (slope x0 + (slope c - slope x0)) by ring; eapply Rle_trans; [apply Rabs_triang|].
      assert (2 * PI * S2 * Rabs (c - x0) <= 2 * PI * S2 * / (2 * N)) by (apply Rmult_le_compat_l; [apply Rmult_le_pos; lra|exact Hc3]); lra. }
  unfold f; set (wx := Re (e (m * x + γ))); set (w0 := Re (e (m * x0 + γ))).
  assert (Hw : Rabs wx <= 1) by (eapply Rle_trans; [apply Re_le_Cmod|rewrite Cmod_e; lra]).
  assert (Hww : Rabs (wx - w0) <= 2 * PI * m * Rabs (x - x0)).
  { unfold wx, w0; rewrite <- Re_minus; eapply Rle_trans; [apply Re_le_Cmod|]; eapply Rle_trans; [apply e_lipschitz|].
    right; replace (m * x + γ - (m * x0 + γ)) with (m * (x - x0)) by ring; rewrite Rabs_mult, (Rabs_pos_eq m) by exact m_pos; ring. }
  assert (HR : Rabs ((T x)⁺ - (T x0)⁺) <= Rabs (T x - T x0)) by apply pos_lipschitz.
  assert (H0 : 0 <= (T x0)⁺ <= τ g δ N) by (split; [apply pos_nonneg|]; unfold Rabs in HT; destruct Rcase_abs in HT; pos_cases).
  replace ((T x)⁺ * wx - (T x0)⁺ * w0) with (((T x)⁺ - (T x0)⁺) * wx + (T x0)⁺ * (wx - w0)) by ring.
  eapply Rle_trans; [apply Rabs_triang|]; rewrite !Rabs_mult, (Rabs_pos_eq ((T x0)⁺)) by apply H0.
  assert (A1 : Rabs ((T x)⁺ - (T x0)⁺) * Rabs wx <= 2 * PI * (Rabs (slope x0) + 2 * PI * S2 * / (2 * N)) * Rabs (x - x0) * 1)
    by (apply Rmult_le_compat; try apply Rabs_pos; lra).
  assert (A2 : (T x0)⁺ * Rabs (wx - w0) <= τ g δ N * (2 * PI * m * Rabs (x - x0))) by (apply Rmult_le_compat; try apply Rabs_pos; lra).
  assert (A3 : 0 <= 2 * PI * m * τ g δ N * Rabs (x - x0)).
  { apply Rmult_le_pos; [|apply Rabs_pos]; apply Rmult_le_pos; [apply Rmult_le_pos; lra|lra]. }
  unfold L; lra.
Qed.

Lemma rough_error_nonneg N x0 : 0 < N -> 0 <= rough_error N x0.
Proof.
  intros HN; pose proof PI_RGT_0; unfold rough_error.
  assert (0 <= bend).
  { apply sum_nonneg; intros h _; apply Rmult_le_pos; [|apply Cmod_ge_0]; pose proof (pos_INR h).
    apply Rplus_le_le_0_compat; [apply pow2_ge_0|apply Rmult_le_pos; [lra|assumption]]. }
  apply Rplus_le_le_0_compat; (apply Rdiv_le_0_compat; [|apply pow_lt, HN]); apply Rmult_le_pos; try apply Rabs_pos; try assumption.
  - lra.
  - apply Rdiv_le_0_compat; [apply pow2_ge_0|lra].
Qed.

(** All cells: the N cells' middles (2c + 1)/2N. The cells in [rough] may hold a root; none outside does, by its middle. Which
    cells are taken as rough beyond that does not matter: T need only be known up to an error. *)
Definition cell (N c : nat) : R := (2 * INR c + 1) / (2 * INR N).
Theorem lemma_I (N : nat) (rough : nat -> bool) : (0 < N)%nat ->
  (forall c, (c < N)%nat -> rough c = false -> Rabs (T (cell N c)) >= τ g δ (INR N)) ->
  Rabs (RInt f 0 1 - / INR N * Σ c ∈ seq 0 N, f (cell N c))
  <= (2 * PI) ^ 2 * K / (24 * INR N ^ 2) + Σ c ∈ filter rough (seq 0 N), rough_error (INR N) (cell N c).
Proof.
  intros HN Hc; assert (HN1 : 0 < INR N) by (apply lt_0_INR, HN).
  assert (HK : 0 <= (2 * PI) ^ 2 * K / (24 * INR N ^ 2)).
  { unfold K, Rdiv; apply Rmult_le_pos; [|left; apply Rinv_0_lt_compat; nra].
    apply Rmult_le_pos; [apply pow2_ge_0|]; assert (0 <= m ^ 2 * Rabs (d g)) by (apply Rmult_le_pos; [apply pow2_ge_0|apply Rabs_pos]).
    assert (0 <= Σ h ∈ harmonics g, (INR h + m) ^ 2 * Cmod (u g δ h)); [|lra].
    apply sum_nonneg; intros h _; apply Rmult_le_pos; [apply pow2_ge_0|apply Cmod_ge_0]. }
  assert (Main : forall n, (n <= N)%nat ->
    Rabs (RInt f 0 (INR n / INR N) - / INR N * Σ c ∈ seq 0 n, f (cell N c))
    <= INR n * ((2 * PI) ^ 2 * K / (24 * INR N ^ 2) * / INR N) + Σ c ∈ filter rough (seq 0 n), rough_error (INR N) (cell N c)).
  { induction n as [|n IH]; intros Hn.
    - simpl seq; unfold sum; simpl; unfold Rdiv; rewrite Rmult_0_l, RInt_point; unfold zero; simpl.
      rewrite !Rmult_0_l, !Rmult_0_r; unfold Rminus; rewrite Ropp_0, Rplus_0_r, Rabs_R0; lra.
    - rewrite seq_S, sum_app, filter_app, sum_app, Nat.add_0_l, S_INR.
      change (sum [n] (fun c => f (cell N c))) with (f (cell N n) + 0); rewrite Rplus_0_r.
      set (x0 := cell N n).
      assert (E1 : INR n / INR N = x0 - / (2 * INR N)) by (unfold x0, cell; field; lra).
      assert (E2 : (INR n + 1) / INR N = x0 + / (2 * INR N)) by (unfold x0, cell; field; lra).
      rewrite <- (RInt_Chasles f 0 (INR n / INR N)) by apply f_integrable; unfold plus; simpl Hierarchy.AbelianGroup.plus.
      rewrite E2; rewrite E1 at 2.
      set (S := Σ c ∈ seq 0 n, f (cell N c)) in *.
      specialize (IH ltac:(lia)); specialize (Hc n ltac:(lia)); fold x0 in Hc.
      match goal with |- Rabs ?X <= _ =>
        replace X with ((RInt f 0 (INR n / INR N) - / INR N * S) + (RInt f (x0 - / (2 * INR N)) (x0 + / (2 * INR N)) - / INR N * f x0)) by (simpl; ring) end.
      eapply Rle_trans; [apply Rabs_triang|].
      assert (0 < / INR N) by (apply Rinv_0_lt_compat, HN1).
      assert (HS : Rabs (T x0) >= τ g δ (INR N) ->
        Rabs (RInt f (x0 - / (2 * INR N)) (x0 + / (2 * INR N)) - / INR N * f x0) <= (2 * PI) ^ 2 * K / (24 * INR N ^ 2) * / INR N).
      { intros HT; apply smooth_cell; [exact HN1|].
        assert (HD : forall x, x0 - / (2 * INR N) <= x <= x0 + / (2 * INR N) -> Rabs (T x - T x0) <= τ g δ (INR N)).
        { intros x Hx; apply (near_node g δ (INR N) x x0 HN1); unfold Rdiv; rewrite Rmult_1_l; apply Rabs_le; lra. }
        destruct (Rle_dec 0 (T x0)) as [H0|H0]; [left|right]; intros x Hx; specialize (HD x Hx);
          unfold Rabs in HD, HT; destruct Rcase_abs in HD; destruct Rcase_abs in HT; lra. }
      assert (0 <= (2 * PI) ^ 2 * K / (24 * INR N ^ 2) * / INR N) by (apply Rmult_le_pos; lra).
      pose proof (rough_error_nonneg (INR N) x0 HN1).
      simpl filter; destruct (rough n).
      + change (sum [n] (fun c => rough_error (INR N) (cell N c))) with (rough_error (INR N) x0 + 0).
        destruct (Rle_dec (Rabs (T x0)) (τ g δ (INR N))) as [HT|HT]; [pose proof (rough_cell (INR N) x0 HN1 HT)|specialize (HS ltac:(lra))]; lra.
      + change (sum [] (fun c => rough_error (INR N) (cell N c))) with 0; specialize (HS (Hc eq_refl)); lra. }
  specialize (Main N (le_n N)).
  replace (INR N / INR N) with 1 in Main by (field; lra).
  replace (INR N * ((2 * PI) ^ 2 * K / (24 * INR N ^ 2) * / INR N)) with ((2 * PI) ^ 2 * K / (24 * INR N ^ 2)) in Main by (field; lra).
  exact Main.
Qed.
End LemmaI.

(** A complex number is as long as its longest shadow. *)
Lemma longest_shadow z Bd : (forall γ, Rabs (Re (z * e γ)%C) <= Bd) -> Cmod z <= Bd.
Proof.
  intros H; pose proof PI_RGT_0.
  destruct (Req_dec (Cmod z) 0) as [E|E]; [rewrite E; eapply Rle_trans; [apply Rabs_pos|apply (H 0)]|].
  assert (Hz : 0 < Cmod z) by (pose proof (Cmod_ge_0 z); lra).
  assert (Hq : Cmod z * Cmod z = fst z * fst z + snd z * snd z).
  { unfold Cmod; rewrite sqrt_sqrt; [simpl; ring|]; simpl; nra. }
  set (c := fst z / Cmod z); set (s := snd z / Cmod z).
  assert (Hcs : c * c + s * s = 1) by (unfold c, s; field_simplify; [|lra]; rewrite <- (Rinv_l (Cmod z * Cmod z)) by nra; rewrite Hq at 2; field; lra).
  assert (Hx : fst z = c * Cmod z) by (unfold c; field; lra).
  assert (Hy : snd z = s * Cmod z) by (unfold s; field; lra).
  assert (Hc : -1 <= c <= 1) by nra.
  assert (A : exists t, cos t = c /\ sin t = - s).
  { destruct (Rle_dec 0 s) as [Hs|Hs].
    - exists (- acos c); rewrite cos_neg, sin_neg, cos_acos, sin_acos by lra; split; [reflexivity|f_equal].
      replace (1 - c²) with (s * s) by (unfold Rsqr; lra); apply sqrt_square, Hs.
    - exists (acos c); rewrite cos_acos, sin_acos by lra; split; [reflexivity|].
      replace (1 - c²) with (- s * - s) by (unfold Rsqr; lra); apply sqrt_square; lra. }
  destruct A as [t [Ht1 Ht2]]; specialize (H (t / (2 * PI))).
  replace (Re (z * e (t / (2 * PI)))%C) with (Cmod z) in H; [rewrite Rabs_pos_eq in H; lra|].
  unfold Re, e, Cmult; simpl; replace (2 * PI * (t / (2 * PI))) with t by (field; lra).
  rewrite Ht1, Ht2, Hx, Hy; replace (c * Cmod z * c - s * Cmod z * - s) with ((c * c + s * s) * Cmod z) by ring; rewrite Hcs; ring.
Qed.

(** *** Lemma I, for the modulus of the complex integral ∫_0^1 ReLU(T(x))·e(mx) dx. *)
Section Complex.
Variables (g : family) (δ : Z) (m : R).
Hypothesis m_pos : 0 <= m.
Definition integrand (x : R) : C := (RtoC (ReLU (profile g δ x)) * e (m * x))%C.
Definition complex_integral : C := (RInt (fun x => Re (integrand x)) 0 1, RInt (fun x => Im (integrand x)) 0 1).
Definition complex_rule (N : nat) : C :=
  (RtoC (/ INR N) * csum (seq 0 N) (fun c => integrand (cell N c)))%C.

Lemma f_integrand γ x : f g δ m γ x = Re (integrand x * e γ)%C.
Proof. unfold f, integrand; rewrite e_plus; unfold Re, Cmult, RtoC; simpl; ring. Qed.

Theorem lemma_I_complex (N : nat) (rough : nat -> bool) : (0 < N)%nat ->
  (forall c, (c < N)%nat -> rough c = false -> Rabs (profile g δ (cell N c)) >= τ g δ (INR N)) ->
  Cmod (complex_integral - complex_rule N)%C
  <= (2 * PI) ^ 2 * K g δ m / (24 * INR N ^ 2) + Σ c ∈ filter rough (seq 0 N), rough_error g δ m (INR N) (cell N c).
Proof.
  intros HN Hc; apply longest_shadow; intros γ.
  pose proof (lemma_I g δ m γ m_pos N rough HN Hc) as H.
  replace (Re ((complex_integral - complex_rule N) * e γ)%C)
    with (RInt (f g δ m γ) 0 1 - / INR N * Σ c ∈ seq 0 N, f g δ m γ (cell N c)); [exact H|].
  assert (Exr : ex_RInt (fun x => Re (integrand x)) 0 1).
  { apply (ex_RInt_ext (f g δ m 0)); [intros x _; rewrite f_integrand, e_0, Cmult_1_r; reflexivity|apply (f_integrable g δ m)]. }
  assert (Exi : ex_RInt (fun x => Im (integrand x)) 0 1).
  { apply (ex_RInt_ext (f g δ m (- / 4))); [intros x _|apply (f_integrable g δ m)].
    rewrite f_integrand; unfold e at 1; replace (2 * PI * - / 4) with (- (PI / 2)) by field.
    rewrite cos_neg, sin_neg, cos_PI2, sin_PI2; unfold Re, Im, Cmult; simpl; ring. }
  assert (E1 : RInt (f g δ m γ) 0 1 = Re (complex_integral * e γ)%C).
  { apply (is_RInt_unique (V := R_CompleteNormedModule)).
    replace (Re (complex_integral * e γ)%C)
      with (minus (scal (cos (2 * PI * γ)) (RInt (fun x => Re (integrand x)) 0 1)) (scal (sin (2 * PI * γ)) (RInt (fun x => Im (integrand x)) 0 1)))
      by (unfold complex_integral, minus, plus, opp, scal, Re, Cmult, e; simpl; unfold mult; simpl; ring).
    apply (is_RInt_ext (fun x => minus (scal (cos (2 * PI * γ)) (Re (integrand x))) (scal (sin (2 * PI * γ)) (Im (integrand x))))).
    - intros x _; rewrite f_integrand; unfold minus, plus, opp, scal, Re, Im, Cmult, e; simpl; unfold mult; simpl; ring.
    - refine (is_RInt_minus _ _ _ _ _ _ (is_RInt_scal _ _ _ _ _ (RInt_correct _ _ _ Exr)) (is_RInt_scal _ _ _ _ _ (RInt_correct _ _ _ Exi))). }
  assert (E2 : / INR N * (Σ c ∈ seq 0 N, f g δ m γ (cell N c)) = Re (complex_rule N * e γ)%C).
  { unfold complex_rule; rewrite <- Cmult_assoc, Re_scal, csum_mult_r, Re_csum; f_equal; apply sum_ext; intros c _; apply f_integrand. }
  rewrite E1, E2, <- Re_minus; f_equal; ring.
Qed.
End Complex.

(** *With rational constants*, as the kernel charges it: (2π)²/24 < 5/3, π/2 < 11/7, π²/2 < 5. *)
Theorem lemma_I_rational g δ m (N : nat) (rough : nat -> bool) : 0 <= m -> (0 < N)%nat ->
  (forall c, (c < N)%nat -> rough c = false -> Rabs (profile g δ (cell N c)) >= τ g δ (INR N)) ->
  Cmod (complex_integral g δ m - complex_rule g δ m N)%C
  <= 5 / 3 * K g δ m / INR N ^ 2 +
     Σ c ∈ filter rough (seq 0 N), (11 / 7 * Rabs (slope g δ (cell N c)) / INR N ^ 2 + 5 * bend g δ m / INR N ^ 3).
Proof.
  intros Hm HN Hc; eapply Rle_trans; [exact (lemma_I_complex g δ m Hm N rough HN Hc)|].
  assert (HN1 : 0 < INR N) by (apply lt_0_INR, HN); pose proof PI_RGT_0 as H0; pose proof pi_below as H1.
  assert (HP : PI ^ 2 < 10) by nra.
  assert (I2 : 0 < / INR N ^ 2) by (apply Rinv_0_lt_compat, pow_lt, HN1); assert (I3 : 0 < / INR N ^ 3) by (apply Rinv_0_lt_compat, pow_lt, HN1).
  assert (HK : 0 <= K g δ m).
  { unfold K; apply Rplus_le_le_0_compat; [apply Rmult_le_pos; [apply pow2_ge_0|apply Rabs_pos]|].
    apply sum_nonneg; intros h _; apply Rmult_le_pos; [apply pow2_ge_0|apply Cmod_ge_0]. }
  assert (HB : 0 <= bend g δ m).
  { apply sum_nonneg; intros h _; apply Rmult_le_pos; [|apply Cmod_ge_0]; pose proof (pos_INR h).
    apply Rplus_le_le_0_compat; [apply pow2_ge_0|apply Rmult_le_pos; lra]. }
  apply Rplus_le_compat.
  - replace ((2 * PI) ^ 2 * K g δ m / (24 * INR N ^ 2)) with (PI ^ 2 / 6 * (K g δ m * / INR N ^ 2)) by (field; lra).
    replace (5 / 3 * K g δ m / INR N ^ 2) with (5 / 3 * (K g δ m * / INR N ^ 2)) by (field; lra).
    apply Rmult_le_compat_r; [apply Rmult_le_pos; lra|lra].
  - apply sum_le; intros c _; unfold rough_error; apply Rplus_le_compat; unfold Rdiv.
    + apply Rmult_le_compat_r; [lra|]; apply Rmult_le_compat_r; [apply Rabs_pos|lra].
    + apply Rmult_le_compat_r; [lra|]; apply Rmult_le_compat_r; [exact HB|].
      assert (PI ^ 2 <= 10) by lra; lra.
Qed.

(** *The rule without its cells*: over the middles of a run of cells e(mx) is a geometric series, so that the rule is a few terms for
    every change of sign. *)
Lemma run_of_middles (N : nat) (m : R) (n i : nat) : (0 < N)%nat ->
  (csum (seq i n) (fun c => e (m * cell N c)) * (e (m / (2 * INR N)) - e (- (m / (2 * INR N)))))%C
  = (e (m * INR (i + n) / INR N) - e (m * INR i / INR N))%C.
Proof.
  intros HN; assert (HN1 : 0 < INR N) by (apply lt_0_INR, HN).
  revert i; induction n as [|n IH]; intros i.
  - rewrite Nat.add_0_r; unfold csum; simpl; ring.
  - simpl seq; rewrite csum_cons, Cmult_plus_distr_r, IH.
    replace (e (m * cell N i) * (e (m / (2 * INR N)) - e (- (m / (2 * INR N)))))%C
      with (e (m * INR (S i) / INR N) - e (m * INR i / INR N))%C.
    + replace (S i + n)%nat with (i + S n)%nat by lia; ring.
    + replace (m * INR (S i) / INR N) with (m * cell N i + m / (2 * INR N)) by (unfold cell; rewrite S_INR; field; lra).
      replace (m * INR i / INR N) with (m * cell N i + - (m / (2 * INR N))) by (unfold cell; field; lra).
      rewrite !e_plus; ring.
Qed.

(** On cells that are taken together, w with middle x: where |T| > wτ at x, |T| > τ at the middle of each. *)
Lemma cells_together g δ (N w c x : R) : 0 < N -> 1 <= w -> Rabs (x - c) <= (w - 1) / (2 * N) ->
  Rabs (profile g δ x) > w * τ g δ N -> Rabs (profile g δ c) > τ g δ N.
Proof.
  intros HN Hw Hx HT; pose proof (profile_lipschitz g δ x c) as HL; pose proof (steepness_nonneg g δ) as HS; pose proof PI_RGT_0 as HP.
  assert (HD : 2 * PI * steepness g δ * Rabs (x - c) <= (w - 1) * τ g δ N).
  { replace ((w - 1) * τ g δ N) with (2 * PI * steepness g δ * ((w - 1) / (2 * N))) by (unfold τ; field; lra).
    apply Rmult_le_compat_l; [apply Rmult_le_pos; lra|exact Hx]. }
  pose proof (Rabs_triang_inv (profile g δ x) (profile g δ c)); lra.
Qed.
