(** Lemma K⁺: learned attention. The weights are known at every input within ε; quantised, they make the object, whose
    pre-activations are not separable; Lemma K charges the rest. *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums IntegerSums Relu LemmaB Circuit.
Import ListNotations.
Open Scope R_scope.

(** ** Scores off by e at most move a weight of softmax by e/2 at most: Σ_j |∂σ_t/∂s_j| = 2σ_t(1 − σ_t) <= 1/2. *)
Section Softmax.
Context {T : Type}.
Variables (others : list T) (x δ : T -> R) (e : R).
Hypothesis e_pos : 0 <= e.
Hypothesis moves : forall t, In t others -> Rabs (δ t) <= 2 * e.
Definition D (τ : R) : R := Σ t ∈ others, exp (x t + τ * δ t).
Definition D' (τ : R) : R := Σ t ∈ others, δ t * exp (x t + τ * δ t).

Lemma D_nonneg τ : 0 <= D τ.
Proof. apply sum_nonneg; intros; left; apply exp_pos. Qed.

Lemma D_derive τ : is_derive D τ (D' τ).
Proof.
  unfold D, D'; clear moves; induction others as [|t l IH].
  - apply (is_derive_const 0).
  - rewrite sum_cons; refine (is_derive_plus (fun τ => exp (x t + τ * δ t)) (fun τ => Σ t ∈ l, exp (x t + τ * δ t)) τ _ _ _ IH).
    auto_derive; [exact Logic.I|ring].
Qed.

Lemma D'_bound τ : Rabs (D' τ) <= 2 * e * D τ.
Proof.
  unfold D', D; rewrite <- sum_mul_l; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros t Ht.
  rewrite Rabs_mult, (Rabs_pos_eq (exp _)) by (left; apply exp_pos).
  apply Rmult_le_compat_r; [left; apply exp_pos|apply moves, Ht].
Qed.

Lemma weight_moves : Rabs (/ (1 + D 1) - / (1 + D 0)) <= e / 2.
Proof.
  destruct (MVT_gen (fun τ => / (1 + D τ)) 0 1 (fun τ => - D' τ / (1 + D τ) ^ 2)) as [c [_ Hc]].
  - intros τ _; apply (is_derive_inv (fun τ => 1 + D τ) τ (D' τ)).
    + replace (D' τ) with (plus 0 (D' τ)) by (unfold plus; simpl; ring).
      apply (is_derive_plus (fun _ => 1) D τ 0 (D' τ)); [apply (is_derive_const 1)|apply D_derive].
    + pose proof (D_nonneg τ); lra.
  - intros τ _; apply continuity_pt_filterlim, (ex_derive_continuous (fun τ => / (1 + D τ))).
    exists (- D' τ / (1 + D τ) ^ 2); apply (is_derive_inv (fun τ => 1 + D τ) τ (D' τ)).
    + replace (D' τ) with (plus 0 (D' τ)) by (unfold plus; simpl; ring).
      apply (is_derive_plus (fun _ => 1) D τ 0 (D' τ)); [apply (is_derive_const 1)|apply D_derive].
    + pose proof (D_nonneg τ); lra.
  - rewrite Hc, Rminus_0_r, Rmult_1_r; pose proof (D_nonneg c) as H0; pose proof (D'_bound c) as H1.
    assert (HS : 0 < (1 + D c) ^ 2) by (apply pow_lt; lra).
    unfold Rdiv at 1; rewrite Rabs_mult, Rabs_Ropp, (Rabs_pos_eq (/ _)) by (left; apply Rinv_0_lt_compat, HS).
    apply Rmult_le_reg_r with ((1 + D c) ^ 2); [exact HS|]; rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    assert (4 * D c <= (1 + D c) ^ 2) by (pose proof (pow2_ge_0 (1 - D c)); lra).
    assert (2 * e * D c <= e / 2 * (1 + D c) ^ 2) by nra; lra.
Qed.
End Softmax.

Theorem softmax_lipschitz {T : Type} (others : list T) (score score' : T -> R) own own' e : 0 <= e ->
  Rabs (own' - own) <= e -> (forall t, In t others -> Rabs (score' t - score t) <= e) ->
  Rabs (softmax own' (map score' others) - softmax own (map score others)) <= e / 2.
Proof.
  intros He Ho Ht; unfold softmax; rewrite !sum_map.
  set (x := fun t => score t - own); set (δ := fun t => (score' t - score t) - (own' - own)).
  rewrite (sum_ext others (fun i => exp (score' i - own')) (fun t => exp (x t + 1 * δ t))) by (intros; f_equal; unfold x, δ; ring).
  rewrite (sum_ext others (fun i => exp (score i - own)) (fun t => exp (x t + 0 * δ t))) by (intros; f_equal; unfold x; ring).
  apply (weight_moves others x δ e He); intros t Hin; specialize (Ht t Hin); unfold δ.
  unfold Rabs in *; repeat destruct Rcase_abs in *; repeat destruct Rcase_abs; lra.
Qed.

(** ** The pre-activations with weights σ: y = base + Σ_heads Σ_t (σ_t − m_t)·M_t. Primes for the network; the quantised weights
    are within ε of its own, the written M within r_M, the base within r. *)
Theorem lemma_K_plus {H T : Type} (heads : list H) (positions : list T) (σ σ' m M M' size : H -> T -> R) base base' ε r_M r :
  0 <= ε -> Rabs (base' - base) <= r ->
  (forall h t, In h heads -> In t positions -> Rabs (σ' h t - σ h t) <= ε /\ Rabs (M' h t - M h t) <= r_M /\ Rabs (M h t) <= size h t) ->
  let y σ M base := base + Σ h ∈ heads, Σ t ∈ positions, (σ h t - m h t) * M h t in
  Rabs (y σ' M' base' - y σ M base) <=
  r + ε * (Σ h ∈ heads, Σ t ∈ positions, size h t) + r_M * Σ h ∈ heads, Σ t ∈ positions, Rabs (σ' h t - m h t).
Proof.
  intros Hε Hb HM y; unfold y.
  replace (base' + (Σ h ∈ heads, Σ t ∈ positions, (σ' h t - m h t) * M' h t) - (base + Σ h ∈ heads, Σ t ∈ positions, (σ h t - m h t) * M h t))
    with ((base' - base) + Σ h ∈ heads, Σ t ∈ positions, ((σ' h t - σ h t) * M h t + (σ' h t - m h t) * (M' h t - M h t))).
  - eapply Rle_trans; [apply Rabs_triang|]; rewrite Rplus_assoc; apply Rplus_le_compat; [exact Hb|].
    rewrite <- !sum_mul_l, <- sum_plus; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros h Hh.
    rewrite <- !sum_mul_l, <- sum_plus; eapply Rle_trans; [apply sum_abs|]; apply sum_le; intros t Ht.
    destruct (HM h t Hh Ht) as [H1 [H2 H3]]; eapply Rle_trans; [apply Rabs_triang|]; rewrite !Rabs_mult.
    apply Rplus_le_compat; [|rewrite Rmult_comm]; apply Rmult_le_compat; try apply Rabs_pos; lra.
  - rewrite (sum_ext heads (fun h => Σ t ∈ positions, ((σ' h t - σ h t) * M h t + (σ' h t - m h t) * (M' h t - M h t)))
      (fun h => (Σ t ∈ positions, (σ' h t - m h t) * M' h t) - Σ t ∈ positions, (σ h t - m h t) * M h t)).
    + rewrite sum_minus; ring.
    + intros h _; rewrite <- sum_minus; apply sum_ext; intros t _; ring.
Qed.

(** Lemma K itself ([Circuit.lemma_K], [Circuit.lemma_K_difference]) asks nothing of the pre-activations but how far they move: with
    s_i = ε·Σ_heads Σ_t max|M_t| and the roundings, it holds for these. *)

(** ** Lemma B where an "activation" may have either sign, as σ − m in what a head writes through W_U: its size times the
    rest is charged, and beyond p its size times the range over all outputs. *)
Open Scope Z_scope.
Theorem lemma_B_signed p L unit U (terms : list term) (charged : term -> Z) c c' :
  (forall t, In t terms -> rest p L unit U t <= charged t) -> (c < p)%nat -> (c' < p)%nat ->
  Z.abs (unit * (logit terms c - logit terms c') - (US L U terms c - US L U terms c')) <= Σ t ∈ terms, (charged t * Z.abs (h t)).
Proof.
  intros Hc Hp Hp'; rewrite Z.mul_sub_distr_l, !(lemma_B_split L unit U terms).
  replace (US L U terms c + zsum terms (fun t => V L unit U t c * h t) - (US L U terms c' + zsum terms (fun t => V L unit U t c' * h t)) - (US L U terms c - US L U terms c'))
    with (Σ t ∈ terms, ((V L unit U t c - V L unit U t c') * h t)).
  - eapply Z.le_trans; [apply zsum_abs|]; apply zsum_le; intros t Ht; specialize (Hc t Ht); unfold rest in Hc.
    pose proof (V_range p L unit U t c Hp); pose proof (V_range p L unit U t c' Hp').
    rewrite Z.abs_mul; apply Z.mul_le_mono_nonneg_r; lia.
  - rewrite (zsum_ext _ _ (fun t => V L unit U t c * h t - V L unit U t c' * h t)) by (intros; ring); rewrite zsum_minus; ring.
Qed.

Corollary lemma_B_signed_beyond p q L unit U (terms : list term) (charged : term -> Z) c c' :
  (forall t, In t terms -> rest q L unit U t <= charged t) -> (c < p)%nat -> (p <= c' < q)%nat ->
  US L U terms c - US L U terms c' - (Σ t ∈ terms, (charged t * Z.abs (h t))) <= unit * (logit terms c - logit terms c').
Proof.
  intros Hc Hp Hp'; pose proof (lemma_B_signed q L unit U terms charged c c' Hc ltac:(lia) ltac:(lia)); lia.
Qed.
