(** Theorem L: every logit near a closed form. Explained accuracy. The gap error. The network error. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle IntegerSums LemmaB Coefficients TheoremA.
Import ListNotations.
Open Scope R_scope.

(** ** The closed form: Σ_j Re[G_j(δ)·e(j(c − a − b)/p)] over frequencies J, for one δ = a − b. G may be anything. *)
Section ClosedForm.
Variables (p : nat) (J : list Z) (G : Z -> C).
Definition closed (a b c : nat) : R := Σ j ∈ J, Re (G j * e (IZR j * (INR c - INR a - INR b) / INR p))%C.
(** The closed form's lead of the right answer over the one d further: Σ_j Re[G_j(1 − e(jd/p))]. *)
Definition closed_gap (d : nat) : R := Σ j ∈ J, Re (G j * (1 - e (IZR j * INR d / INR p)))%C.

Lemma closed_at (a b c d : nat) (m : Z) : (0 < p)%nat -> Z.of_nat c = (Z.of_nat a + Z.of_nat b + Z.of_nat d + m * Z.of_nat p)%Z ->
  closed a b c = Σ j ∈ J, Re (G j * e (IZR j * INR d / INR p))%C.
Proof.
  intros Hp Ec; assert (Hp0 : INR p <> 0) by (apply not_0_INR; lia).
  apply (f_equal IZR) in Ec; rewrite !plus_IZR, mult_IZR, <- !INR_IZR_INZ in Ec.
  apply sum_ext; intros j _; f_equal; f_equal.
  replace (IZR j * (INR c - INR a - INR b) / INR p) with (IZR j * INR d / INR p + IZR (j * m)) by (rewrite mult_IZR, Ec; field; exact Hp0).
  rewrite e_plus, e_Z; apply Cmult_1_r.
Qed.

(** d = c − (a + b) mod p. *)
Definition ahead (a b c : nat) : nat := Z.to_nat ((Z.of_nat c - Z.of_nat a - Z.of_nat b) mod Z.of_nat p).

Lemma ahead_spec a b c : (c < p)%nat -> c <> answer p a b -> (0 < ahead a b c < p)%nat.
Proof.
  intros Hc Hne; unfold ahead.
  pose proof (Z.mod_pos_bound (Z.of_nat c - Z.of_nat a - Z.of_nat b) (Z.of_nat p) ltac:(lia)) as Hb.
  assert (H0 : ((Z.of_nat c - Z.of_nat a - Z.of_nat b) mod Z.of_nat p <> 0)%Z); [|lia].
  intros E; apply Hne; unfold answer; apply Nat2Z.inj; rewrite Nat2Z.inj_mod, Nat2Z.inj_add.
  apply Z.mod_divide in E; [|lia]; destruct E as [m Em].
  replace (Z.of_nat a + Z.of_nat b)%Z with (Z.of_nat c + (- m) * Z.of_nat p)%Z by lia.
  rewrite Z.mod_add, Z.mod_small by lia; reflexivity.
Qed.

Lemma closed_difference a b c : (c < p)%nat ->
  closed a b (answer p a b) - closed a b c = closed_gap (ahead a b c).
Proof.
  intros Hc; unfold closed_gap.
  rewrite (closed_at a b (answer p a b) 0 (- ((Z.of_nat a + Z.of_nat b) / Z.of_nat p))).
  2: lia.
  2: { unfold answer; rewrite Nat2Z.inj_mod, Nat2Z.inj_add; pose proof (Z.div_mod (Z.of_nat a + Z.of_nat b) (Z.of_nat p) ltac:(lia)); lia. }
  rewrite (closed_at a b c (ahead a b c) ((Z.of_nat c - Z.of_nat a - Z.of_nat b) / Z.of_nat p)).
  2: lia.
  2: { unfold ahead; pose proof (Z.mod_pos_bound (Z.of_nat c - Z.of_nat a - Z.of_nat b) (Z.of_nat p) ltac:(lia)).
       pose proof (Z.div_mod (Z.of_nat c - Z.of_nat a - Z.of_nat b) (Z.of_nat p) ltac:(lia)); lia. }
  rewrite <- sum_minus; apply sum_ext; intros j _.
  replace (IZR j * INR 0 / INR p) with 0 by (simpl; unfold Rdiv; ring).
  rewrite e_0, <- Re_minus; f_equal; ring.
Qed.
End ClosedForm.

(** ** Theorem L, at one input *)
Section Input.
Variables (p q L : nat) (unit : Z) (U : nat -> nat -> Z) (terms : list term) (charged : term -> Z) (u : R).
Hypothesis u_pos : 0 < u.
Hypothesis unit_pos : (0 < unit)%Z.
Hypothesis p_q : (p <= q)%nat.
Hypothesis activations : forall t, In t terms -> (0 <= h t)%Z.
Hypothesis charged_rest : forall t, In t terms -> (rest p L unit U t <= charged t)%Z.
Notation US := (US L U terms).
Notation η := (η terms charged).
Notation v := (v unit u).

Variables (N : nat -> R) (κ κ_d : R).
Hypothesis K : forall c, (c < q)%nat -> Rabs (N c - u * IZR (logit terms c)) <= κ.
Hypothesis K_d : forall c c', (c < q)%nat -> (c' < q)%nat ->
  Rabs ((N c - N c') - u * IZR (logit terms c - logit terms c')) <= κ_d.

(** Whatever the form F is, at this input; a deformed closed form is an instance. *)
Theorem theorem_L_deformed (F : nat -> R) (high low : R) : (forall c, (c < p)%nat -> low <= v * IZR (US c) - F c <= high) ->
  forall c, (c < p)%nat ->
  Rabs (N c - ((high + low) / 2 + v * IZR (centre p L unit U terms) / 2) - F c) <= (high - low) / 2 + v * IZR η / 2 + κ.
Proof.
  intros HD c Hc; pose proof (lemma_B_centred p L unit U terms activations charged charged_rest c Hc) as HB.
  specialize (K c ltac:(lia)); specialize (HD c Hc); rewrite (in_units unit u unit_pos) in K.
  pose proof (v_pos unit u u_pos unit_pos) as Hv.
  set (X := (unit * logit terms c)%Z) in *; set (Z0 := centre p L unit U terms) in *.
  assert (H1 : (2 * (X - US c) - Z0 <= η)%Z) by lia; assert (H2 : (- η <= 2 * (X - US c) - Z0)%Z) by lia.
  apply IZR_le in H1, H2; rewrite opp_IZR in H2; rewrite minus_IZR, mult_IZR, minus_IZR in H1, H2.
  apply (Rmult_le_compat_l v) in H1; [|lra]; apply (Rmult_le_compat_l v) in H2; [|lra].
  apply Rabs_le; unfold Rabs in K; destruct Rcase_abs in K; lra.
Qed.

Variables (J : list Z) (G : Z -> C) (a b : nat).
Notation closed := (closed p J G a b).

(** The deviation D_c = (U·S)_c − closed form, which is computed at every c < p. *)
Definition deviation (c : nat) : R := v * IZR (US c) - closed c.

(** |logit_c − μ(a,b) − closed form| <= (max_c D − min_c D)/2 + η/2 + κ, c < p. *)
Variables (D_max D_min : R).
Hypothesis D_bounds : forall c, (c < p)%nat -> D_min <= deviation c <= D_max.
Definition μ : R := (D_max + D_min) / 2 + v * IZR (centre p L unit U terms) / 2.
Definition error : R := (D_max - D_min) / 2 + v * IZR η / 2 + κ.

Theorem theorem_L c : (c < p)%nat -> Rabs (N c - μ - closed c) <= error.
Proof. exact (theorem_L_deformed closed D_max D_min D_bounds c). Qed.

(** The gap that the formula predicts, and how far the network's is from it. *)
Theorem gap_near c : (c < p)%nat ->
  Rabs ((N (answer p a b) - N c) - closed_gap p J G (ahead p a b c))
  <= Rabs (v * IZR (US (answer p a b) - US c) - closed_gap p J G (ahead p a b c)) + v * IZR η + κ_d.
Proof.
  intros Hc; assert (Hs : (answer p a b < p)%nat) by (apply Nat.mod_upper_bound; lia).
  pose proof (lemma_B p L unit U terms activations charged charged_rest _ _ Hs Hc) as HB.
  specialize (K_d (answer p a b) c ltac:(lia) ltac:(lia)); rewrite (in_units unit u unit_pos) in K_d.
  set (g := closed_gap p J G (ahead p a b c)); set (X := (unit * (logit terms (answer p a b) - logit terms c))%Z) in *.
  pose proof (v_pos unit u u_pos unit_pos) as Hv.
  assert (HX : Rabs (v * IZR X - v * IZR (US (answer p a b) - US c)) <= v * IZR η).
  { rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_pos_eq v) by lra; apply Rmult_le_compat_l; [lra|].
    rewrite <- minus_IZR, <- abs_IZR; apply IZR_le, HB. }
  replace (N (answer p a b) - N c - g) with ((N (answer p a b) - N c - v * IZR X) + (v * IZR X - v * IZR (US (answer p a b) - US c))
    + (v * IZR (US (answer p a b) - US c) - g)) by ring.
  eapply Rle_trans; [apply Rabs_triang|]; eapply Rle_trans; [apply Rplus_le_compat_r, Rabs_triang|]; lra.
Qed.

(** What the lanes say of the logits. *)
Definition computed (c : nat) : R := v * IZR (US c).

(** *Network error*: the Fourier coefficient at k of the network's first p logits against G_k. *)
Definition coefficient (k : Z) (g : nat -> R) : C :=
  (RtoC (2 / INR p) * csum (seq 0 p) (fun c => RtoC (g c) * e (- (IZR k * (INR c - INR a - INR b) / INR p))))%C.

Theorem network_error (k : Z) : (0 < p)%nat -> (k mod Z.of_nat p <> 0)%Z ->
  Cmod (coefficient k N - G k)%C <= Cmod (coefficient k computed - G k)%C + v * IZR η + κ_d.
Proof.
  intros Hp Hk; assert (Hp0 : INR p <> 0) by (apply not_0_INR; lia).
  set (g := fun c => N c - v * IZR (US c)).
  assert (Hg : forall c c', (c < p)%nat -> (c' < p)%nat -> g c - g c' <= v * IZR η + κ_d).
  { intros c c' Hc Hc'; unfold g.
    pose proof (lemma_B p L unit U terms activations charged charged_rest c c' Hc Hc') as HB.
    specialize (K_d c c' ltac:(lia) ltac:(lia)); rewrite (in_units unit u unit_pos) in K_d.
    pose proof (v_pos unit u u_pos unit_pos) as Hv.
    assert (HX : (unit * (logit terms c - logit terms c') - (US c - US c') <= η)%Z) by lia.
    apply IZR_le in HX; rewrite !minus_IZR in HX.
    apply (Rmult_le_compat_l v) in HX; [|lra]; unfold Rabs in K_d; destruct Rcase_abs in K_d; lra. }
  assert (Low : exists low, forall c, (c < p)%nat -> low <= g c <= low + (v * IZR η + κ_d)).
  { assert (M : forall n, (0 < n <= p)%nat -> exists m, (m < n)%nat /\ forall c, (c < n)%nat -> g m <= g c).
    { induction n as [|n IH]; intros Hn; [lia|].
      destruct n as [|n]; [exists 0%nat; split; [lia|]; intros c Hc; replace c with 0%nat by lia; lra|].
      destruct (IH ltac:(lia)) as [m [Hm Hmin]].
      destruct (Rle_dec (g m) (g (S n))) as [H|H]; [exists m|exists (S n)]; (split; [lia|]); intros c Hc;
        (destruct (Nat.eq_dec c (S n)) as [->|Hne]; [lra|]); specialize (Hmin c ltac:(lia)); lra. }
    destruct (M p ltac:(lia)) as [m [Hm Hmin]]; exists (g m); intros c Hc; specialize (Hmin c Hc); specialize (Hg c m Hc Hm); lra. }
  destruct Low as [low Hlow].
  assert (D : Cmod (coefficient k g) <= v * IZR η + κ_d).
  { pose proof (coefficient_moves (Z.of_nat p) k g low (low + (v * IZR η + κ_d)) ltac:(lia) Hk) as HC.
    rewrite Nat2Z.id in HC; specialize (HC Hlow); rewrite <- INR_IZR_INZ in HC.
    replace (coefficient k g) with (e (IZR k * (INR a + INR b) / INR p) *
      (RtoC (2 / INR p) * csum (seq 0 p) (fun c => RtoC (g c) * e (- (IZR k * INR c / INR p)))))%C.
    - rewrite Cmod_mult, Cmod_e; lra.
    - unfold coefficient; rewrite Cmult_assoc, (Cmult_comm (e _)), <- Cmult_assoc; f_equal.
      rewrite csum_mult_l; apply csum_ext; intros c _.
      replace (- (IZR k * (INR c - INR a - INR b) / INR p)) with (IZR k * (INR a + INR b) / INR p + - (IZR k * INR c / INR p)) by (field; exact Hp0).
      rewrite e_plus; ring. }
  replace (coefficient k N - G k)%C with ((coefficient k computed - G k) + coefficient k g)%C.
  - eapply Rle_trans; [apply Cmod_triangle|]; lra.
  - assert (E : (coefficient k computed + coefficient k g)%C = coefficient k N).
    { unfold coefficient, g, computed; rewrite <- Cmult_plus_distr_l, <- csum_plus; f_equal; apply csum_ext; intros c _.
      rewrite <- Cmult_plus_distr_r, <- RtoC_plus; f_equal; f_equal; ring. }
    rewrite <- E; ring.
Qed.
End Input.

(** ** Explained accuracy (X) *)

(** δ = a − b modulo p, and the inputs of one δ. *)
Definition difference (p a b : nat) : nat := Z.to_nat ((Z.of_nat a - Z.of_nat b) mod Z.of_nat p).

(** With any form F, at the inputs of one δ: E bounds the distance of every logit c < p from it, γ its gaps from below. *)
Theorem theorem_X_deformed (p : nat) (F N : nat -> nat -> nat -> R) (μ : nat -> nat -> R) (E γ : R) (δ : nat) : (0 < p)%nat ->
  (forall a b c, (a < p)%nat -> (b < p)%nat -> difference p a b = δ -> (c < p)%nat -> Rabs (N a b c - μ a b - F a b c) <= E) ->
  (forall a b c, (a < p)%nat -> (b < p)%nat -> difference p a b = δ -> (c < p)%nat -> c <> answer p a b ->
     γ <= F a b (answer p a b) - F a b c) ->
  γ > 2 * E -> forall a b, (a < p)%nat -> (b < p)%nat -> difference p a b = δ -> right p p a b (N a b).
Proof.
  intros Hp bounded least_gap Hγ a b Ha Hb Hδ c Hc Hne.
  assert (Hs : (answer p a b < p)%nat) by (apply Nat.mod_upper_bound; lia).
  pose proof (bounded a b (answer p a b) Ha Hb Hδ Hs) as B1; pose proof (bounded a b c Ha Hb Hδ Hc) as B2.
  pose proof (least_gap a b c Ha Hb Hδ Hc Hne) as HG.
  unfold Rabs in B1, B2; destruct Rcase_abs in B1; destruct Rcase_abs in B2; lra.
Qed.

Section Explained.
Variables (p : nat) (J : list Z) (G : nat -> Z -> C) (N : nat -> nat -> nat -> R) (μ : nat -> nat -> R).
Hypothesis p_pos : (0 < p)%nat.
(** E(δ) bounds |logit_c − μ − closed form| over all c < p and all inputs of that δ (Theorem L). *)
Variables (E γ : nat -> R).
Hypothesis bounded : forall a b c, (a < p)%nat -> (b < p)%nat -> (c < p)%nat ->
  Rabs (N a b c - μ a b - closed p J (G (difference p a b)) a b c) <= E (difference p a b).
(** γ(δ) is at most the closed form's least gap, min_{d≠0} Σ_j Re[G_j(δ)(1 − e(jd/p))]. *)
Hypothesis least_gap : forall δ d, (δ < p)%nat -> (0 < d < p)%nat -> γ δ <= closed_gap p J (G δ) d.

Lemma difference_lt a b : (difference p a b < p)%nat.
Proof. unfold difference; pose proof (Z.mod_pos_bound (Z.of_nat a - Z.of_nat b) (Z.of_nat p) ltac:(lia)); lia. Qed.

(** If γ(δ) > 2E(δ), all p inputs of δ are answered right. *)
Theorem theorem_X δ : γ δ > 2 * E δ ->
  forall a b, (a < p)%nat -> (b < p)%nat -> difference p a b = δ -> right p p a b (N a b).
Proof.
  apply (theorem_X_deformed p (fun a b => closed p J (G (difference p a b)) a b) N μ); [exact p_pos| |].
  - intros a b c Ha Hb Hδ Hc; rewrite <- Hδ; apply bounded; assumption.
  - intros a b c Ha Hb Hδ Hc Hne; rewrite closed_difference by exact Hc; rewrite Hδ.
    apply least_gap; [rewrite <- Hδ; apply difference_lt | apply ahead_spec; assumption].
Qed.

(** An input with outputs beyond p: these are proved below by Theorem A. *)
Corollary theorem_X_beyond q δ : (p <= q)%nat -> γ δ > 2 * E δ ->
  forall a b, (a < p)%nat -> (b < p)%nat -> difference p a b = δ ->
  (forall c, (p <= c < q)%nat -> N a b (answer p a b) > N a b c) -> right p q a b (N a b).
Proof.
  intros Hq Hγ a b Ha Hb Hδ Hbeyond c Hc Hne; destruct (Nat.lt_ge_cases c p) as [H|H].
  - apply (theorem_X δ Hγ a b Ha Hb Hδ c H Hne).
  - apply Hbeyond; lia.
Qed.

(** One sentence: every logit is within E of the closed form, whose right answer always leads by more than 2E. *)
Corollary theorem_X_one_sentence E_max γ_min : (forall δ, (δ < p)%nat -> E δ <= E_max) -> (forall δ, (δ < p)%nat -> γ_min <= γ δ) ->
  γ_min > 2 * E_max -> forall a b, (a < p)%nat -> (b < p)%nat -> right p p a b (N a b).
Proof.
  intros HE Hγ H a b Ha Hb; pose proof (difference_lt a b) as Hδ.
  apply (theorem_X (difference p a b)); auto; specialize (HE _ Hδ); specialize (Hγ _ Hδ); lra.
Qed.
End Explained.

(** ** The gap error ρ >= |gap − closed gap|/closed gap, over all inputs and d; every closed gap is positive. With ρ < 1
    every answer is right. *)
Theorem gap_error p J (G : nat -> Z -> C) (N : nat -> nat -> nat -> R) (ρ : R) : (0 < p)%nat ->
  (forall δ d, (δ < p)%nat -> (0 < d < p)%nat -> closed_gap p J (G δ) d > 0) ->
  (forall a b c, (a < p)%nat -> (b < p)%nat -> (c < p)%nat -> c <> answer p a b ->
     Rabs ((N a b (answer p a b) - N a b c) - closed_gap p J (G (difference p a b)) (ahead p a b c))
     <= ρ * closed_gap p J (G (difference p a b)) (ahead p a b c)) ->
  forall a b c, (a < p)%nat -> (b < p)%nat -> (c < p)%nat -> c <> answer p a b ->
  let g := closed_gap p J (G (difference p a b)) (ahead p a b c) in
  (1 - ρ) * g <= N a b (answer p a b) - N a b c <= (1 + ρ) * g /\ (ρ < 1 -> N a b (answer p a b) > N a b c).
Proof.
  intros Hp Hg HN a b c Ha Hb Hc Hne g.
  specialize (HN a b c Ha Hb Hc Hne); fold g in HN.
  assert (H0 : g > 0).
  { apply Hg; [|apply ahead_spec; assumption].
    unfold difference; pose proof (Z.mod_pos_bound (Z.of_nat a - Z.of_nat b) (Z.of_nat p) ltac:(lia)); lia. }
  split; [unfold Rabs in HN; destruct Rcase_abs in HN; lra|].
  intros Hρ; assert (0 < (1 - ρ) * g) by (apply Rmult_lt_0_compat; lra); unfold Rabs in HN; destruct Rcase_abs in HN; lra.
Qed.

(** ** Theorem L by discs, beyond `FULL_PRODUCT`: (max D − min D)/2 <= Σ_k |R_k − G_k| + ½ Σ_l range_c(U^rest_l)·|S_l|. *)
Theorem theorem_L_discs (p L : nat) (J : list Z) (F : Z -> nat -> C) (U Urest : nat -> nat -> R) (S : nat -> R) (a b : nat)
  (G : Z -> C) (low high : nat -> R) : (0 < p)%nat ->
  (forall c l, (c < p)%nat -> U c l = (Σ j ∈ J, Re (F j l * e (IZR j * INR c / INR p))%C) + Urest c l) ->
  (forall c l, (c < p)%nat -> (l < L)%nat -> low l <= Urest c l <= high l) ->
  exists middle, forall c, (c < p)%nat ->
    Rabs (US_ L U S c - closed p J G a b c - middle)
    <= (Σ j ∈ J, Cmod (R_ p L F S a b j - G j)%C) + / 2 * Σ l ∈ seq 0 L, (high l - low l) * Rabs (S l).
Proof.
  intros Hp Hs Hr; exists (Σ l ∈ seq 0 L, (low l + high l) / 2 * S l); intros c Hc.
  rewrite (US_split p L J F U Urest S a b Hp Hs c Hc); unfold closed.
  rewrite (sum_ext J (fun j => Re (R_ p L F S a b j * e (IZR j * (INR c - INR (a + b)) / INR p))%C)
    (fun j => Re (R_ p L F S a b j * e (IZR j * (INR c - INR a - INR b) / INR p))%C)).
  2: { intros j _; replace (INR c - INR (a + b)) with (INR c - INR a - INR b) by (rewrite plus_INR; ring); reflexivity. }
  match goal with |- Rabs (?X + ?Y - ?Z - ?M) <= _ => replace (X + Y - Z - M) with ((X - Z) + (Y - M)) by ring end.
  rewrite <- !sum_minus; eapply Rle_trans; [apply Rabs_triang|]; apply Rplus_le_compat.
  - eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros j _.
    set (w := e (IZR j * (INR c - INR a - INR b) / INR p)).
    replace (Re (R_ p L F S a b j * w)%C - Re (G j * w)%C) with (Re ((R_ p L F S a b j - G j) * w)%C) by (rewrite <- Re_minus; f_equal; ring).
    eapply Rle_trans; [apply Re_mul_le|]; unfold w; rewrite Cmod_e; lra.
  - rewrite <- sum_mul_l; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros l Hl; apply in_seq in Hl.
    specialize (Hr c l Hc ltac:(lia)).
    replace (Urest c l * S l - (low l + high l) / 2 * S l) with ((Urest c l - (low l + high l) / 2) * S l) by ring.
    rewrite Rabs_mult, <- Rmult_assoc; apply Rmult_le_compat_r; [apply Rabs_pos|apply Rabs_le; lra].
Qed.
