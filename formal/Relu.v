(** ReLU and what the lemmas use of it. *)
From Coq Require Import Reals ZArith Lra Lia.
Open Scope R_scope.

(** x⁺ := max(x, 0), which is ReLU. *)
Definition pos (x : R) : R := Rmax x 0.
Notation "x ⁺" := (pos x) (at level 1, format "x ⁺") : R_scope.
Notation ReLU := pos (only parsing).

Ltac pos_cases := unfold pos, Rmax; repeat (destruct Rle_dec); try lra.

Lemma pos_nonneg x : 0 <= x⁺. Proof. pos_cases. Qed.
Lemma pos_ge x : x <= x⁺. Proof. pos_cases. Qed.
Lemma pos_mono x y : x <= y -> x⁺ <= y⁺. Proof. intros; pos_cases. Qed.
Lemma pos_sub x y : (x + y)⁺ <= x⁺ + y⁺. Proof. pos_cases. Qed.
Lemma pos_lipschitz x y : Rabs (x⁺ - y⁺) <= Rabs (x - y).
Proof. unfold Rabs; pos_cases; repeat (destruct Rcase_abs); lra. Qed.
Lemma pos_minus x : x⁺ - x = (- x)⁺. Proof. pos_cases. Qed.

(** On integers, as the kernel computes it; the inequality is strict: at 0 a neuron is not active. *)
Definition active (x : Z) : bool := (0 <? x)%Z.
Definition relu (x : Z) : Z := Z.max x 0.

Lemma relu_spec x : IZR (relu x) = ReLU (IZR x).
Proof.
  unfold relu, pos; destruct (Z.max_spec x 0) as [[H ->]|[H ->]].
  - apply IZR_lt in H; rewrite Rmax_right; lra.
  - apply IZR_le in H; rewrite Rmax_left; lra.
Qed.

Lemma relu_active x : relu x = (x * Z.b2z (active x))%Z.
Proof. unfold relu, active; destruct (Z.ltb_spec 0 x); simpl Z.b2z; lia. Qed.
