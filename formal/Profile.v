(** Profiles: what a certificate's family claims of its members, and how far a profile moves between two nodes. *)
From Coq Require Import Reals ZArith List Lra Lia Machin.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle.
Open Scope R_scope.

(** A family: frequency k, modulus p, DC term d, harmonics H with coefficients z^A_h, z^B_h. *)
Record family := {
  k : Z; p : Z; d : R;
  harmonics : list nat;
  zA : nat -> C; zB : nat -> C;
  p_pos : (0 < p)%Z }.

(** u_h = z^A_h·e(h·k·δ/p) + z^B_h *)
Definition u (g : family) (δ : Z) (h : nat) : C :=
  (zA g h * e (INR h * IZR (k g) * IZR δ / IZR (p g)) + zB g h)%C.

(** T_{g,δ}(x) = d + Σ_h Re[u_h·e(hx)] *)
Definition profile (g : family) (δ : Z) (x : R) : R :=
  d g + Σ h ∈ harmonics g, Re (u g δ h * e (INR h * x))%C.

Section Steepness.
Variables (g : family) (δ : Z).

Definition steepness : R := Σ h ∈ harmonics g, INR h * Cmod (u g δ h).

(** |T′| <= 2πΣ h|u_h| per turn. *)
Lemma profile_lipschitz x y : Rabs (profile g δ x - profile g δ y) <= 2 * PI * steepness * Rabs (x - y).
Proof.
  unfold profile.
  replace (d g + (Σ h ∈ harmonics g, Re (u g δ h * e (INR h * x))%C) - (d g + Σ h ∈ harmonics g, Re (u g δ h * e (INR h * y))%C))
    with (Σ h ∈ harmonics g, Re (u g δ h * (e (INR h * x) - e (INR h * y)))%C).
  2: { set (s := Σ h ∈ harmonics g, Re (u g δ h * e (INR h * x))%C).
       replace (d g + s - (d g + Σ h ∈ harmonics g, Re (u g δ h * e (INR h * y))%C))
         with (s - Σ h ∈ harmonics g, Re (u g δ h * e (INR h * y))%C) by ring.
       unfold s; rewrite <- sum_minus; apply sum_ext; intros h _.
       rewrite <- Re_minus; f_equal; ring. }
  eapply Rle_trans; [apply sum_abs|].
  unfold steepness; rewrite (Rmult_assoc (2 * PI)), (Rmult_comm _ (Rabs (x - y))), <- Rmult_assoc, <- sum_mul_l.
  apply sum_le; intros h _.
  eapply Rle_trans; [apply Re_mul_le|].
  pose proof (e_lipschitz (INR h * x) (INR h * y)) as He.
  rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_pos_eq (INR h)) in He by apply pos_INR.
  pose proof (Cmod_ge_0 (u g δ h)); nra.
Qed.

(** τ_δ := (π/N)·Σ_h h|u_h| *)
Definition τ (N : R) : R := PI / N * steepness.

Lemma steepness_nonneg : 0 <= steepness.
Proof. apply sum_nonneg; intros h _; apply Rmult_le_pos; [apply pos_INR|apply Cmod_ge_0]. Qed.

(** Around a node x₀ of the midpoint rule, |T_δ(x) − T_δ(x₀)| <= τ_δ, since |x − x₀| <= 1/2N turn. *)
Lemma near_node N x x0 : 0 < N -> Rabs (x - x0) <= 1 / (2 * N) ->
  Rabs (profile g δ x - profile g δ x0) <= τ N.
Proof.
  intros HN Hx; eapply Rle_trans; [apply profile_lipschitz|].
  unfold τ; replace (PI / N * steepness) with (2 * PI * steepness * (1 / (2 * N))) by (field; lra).
  apply Rmult_le_compat_l; [|exact Hx].
  pose proof PI_RGT_0; pose proof steepness_nonneg; nra.
Qed.

End Steepness.

(** 355/113 > π. *)
Lemma pi_below : PI < 355 / 113.
Proof.
  (* Machin's series π/4 = 2·atan(1/3) + atan(1/7); the interval tactic would bring in the axioms of primitive integers. *)
  destruct (PI_2_3_7_ineq 4) as [_ H].
  cbv [sum_f_R0 tg_alt PI_2_3_7_tg Nat.mul Nat.add pow INR Ratan_seq] in H; lra.
Qed.

(** T has period one turn. *)
Lemma profile_period g δ x (m : Z) : profile g δ (x + IZR m) = profile g δ x.
Proof.
  unfold profile; f_equal; apply sum_ext; intros h _; f_equal; f_equal.
  rewrite Rmult_plus_distr_l, e_plus, INR_IZR_INZ, <- mult_IZR, e_Z; apply Cmult_1_r.
Qed.
