(** Theorem Q, arc sum: at the phase offsets that p² inputs have, the rule is a difference of prefix sums, exactly. *)
From Coq Require Import Reals ZArith List Bool Permutation Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums Circle Relu Fourier TheoremQ.
Import ListNotations.
Open Scope R_scope.

(** The rule does not depend on the order of the nodes. *)
Lemma rule_permutation l l' v : Permutation l l' -> rule l v = rule l' v.
Proof. unfold rule; induction 1; rewrite ?csum_cons in *; try congruence; ring. Qed.

(** With u = e(v): L(v) = ½(u·Σ_{i in the arc} w_i e(ψ_i + φ_i) + ū·Σ_{i in the arc} w_i e(ψ_i − φ_i)). The arc holds every node
    with positive cosine and none with a negative one; at its ends the cosine is 0, so ties do not matter. *)
Theorem arc_sum nodes v (arc : node -> bool) :
  (forall n, In n nodes -> (arc n = true -> 0 <= cos (2 * PI * (v + φ n))) /\ (arc n = false -> cos (2 * PI * (v + φ n)) <= 0)) ->
  rule nodes v = (RtoC (/ 2) * (e v * csum (filter arc nodes) (fun n => RtoC (w n) * e (ψ n + φ n))
                              + e (- v) * csum (filter arc nodes) (fun n => RtoC (w n) * e (ψ n - φ n))))%C.
Proof.
  induction nodes as [|n nodes IH]; intros Ha; [unfold rule, csum; simpl; ring|].
  unfold rule in *; rewrite csum_cons, IH by (intros; apply Ha; right; assumption).
  specialize (Ha n (or_introl eq_refl)); simpl filter.
  destruct (arc n).
  - assert (H0 : 0 <= cos (2 * PI * (v + φ n))) by (apply Ha; reflexivity).
    rewrite !csum_cons.
    replace (pos (cos (2 * PI * (v + φ n)))) with (/ 2 * (2 * cos (2 * PI * (v + φ n)))) by (pos_cases).
    rewrite RtoC_mult, two_cos, Ropp_plus_distr; unfold Rminus; rewrite !e_plus; ring.
  - assert (H0 : cos (2 * PI * (v + φ n)) <= 0) by (apply Ha; reflexivity).
    replace (pos (cos (2 * PI * (v + φ n)))) with 0 by pos_cases; ring.
Qed.

(** The arc as three prefix sums: nodes sorted by phase in [0, 1), x = −¼ − v in [0, 1), the arc is [x, x + ½) around the circle. *)
Definition prefix (l : list node) (f : node -> C) (y : R) : C :=
  csum (filter (fun n => if Rlt_dec (φ n) y then true else false) l) f.
Definition in_arc (x : R) (n : node) : bool :=
  if Rlt_dec (φ n) x then (if Rlt_dec (φ n) (x - / 2) then true else false) else (if Rlt_dec (φ n) (x + / 2) then true else false).

Lemma csum_filter {I} (l : list I) (P : I -> bool) f : csum (filter P l) f = csum l (fun i => if P i then f i else 0%C).
Proof. induction l as [|x l IH]; [reflexivity|]; simpl; rewrite csum_cons; destruct (P x); rewrite ?csum_cons, IH; ring. Qed.

Theorem arc_prefixes l f x : (forall n, In n l -> 0 <= φ n < 1) -> 0 <= x < 1 ->
  csum (filter (in_arc x) l) f = (prefix l f (x + / 2) + prefix l f (x - / 2) - prefix l f x)%C.
Proof.
  intros Hl Hx; unfold prefix; rewrite !csum_filter.
  induction l as [|n l IH]; [unfold csum; simpl; ring|].
  rewrite !csum_cons, IH by (intros; apply Hl; right; assumption).
  specialize (Hl n (or_introl eq_refl)); unfold in_arc.
  destruct (Rlt_dec (φ n) x); destruct (Rlt_dec (φ n) (x - / 2)); destruct (Rlt_dec (φ n) (x + / 2)); try lra; ring.
Qed.

Lemma cos_turn_sign t (m : Z) : IZR m - / 4 <= t <= IZR m + / 4 -> 0 <= cos (2 * PI * t).
Proof.
  intros H; pose proof PI_RGT_0.
  replace (2 * PI * t) with (2 * PI * (t - IZR m) + 2 * IZR m * PI) by ring; rewrite cos_Z_period.
  apply cos_ge_0; nra.
Qed.

Theorem in_arc_spec x v (m : Z) n : 0 <= φ n < 1 -> 0 <= x < 1 -> x = - / 4 - v + IZR m ->
  (in_arc x n = true -> 0 <= cos (2 * PI * (v + φ n))) /\ (in_arc x n = false -> cos (2 * PI * (v + φ n)) <= 0).
Proof.
  intros Hn Hx Ex.
  assert (Neg : forall j : Z, IZR j + / 4 <= v + φ n <= IZR j + 3 / 4 -> cos (2 * PI * (v + φ n)) <= 0).
  { intros j Hj; pose proof (cos_turn_sign (v + φ n + / 2) (j + 1)) as H; rewrite plus_IZR in H; specialize (H ltac:(lra)).
    replace (2 * PI * (v + φ n + / 2)) with (2 * PI * (v + φ n) + PI) in H by field; rewrite neg_cos in H; lra. }
  unfold in_arc; destruct (Rlt_dec (φ n) x) as [H1|H1].
  - destruct (Rlt_dec (φ n) (x - / 2)) as [H2|H2]; split; intros E; try discriminate.
    + apply (cos_turn_sign _ (m - 1)); rewrite minus_IZR; lra.
    + apply (Neg (m - 1)%Z); rewrite minus_IZR; lra.
  - destruct (Rlt_dec (φ n) (x + / 2)) as [H2|H2]; split; intros E; try discriminate.
    + apply (cos_turn_sign _ m); lra.
    + apply (Neg m); lra.
Qed.

(** *The offsets.* The sum of two cosines of frequency k is 2|cos πk(a − b)/p| of a cosine at the offset v = k(a + b)/2p, or
    that plus ½ turn where cos πk(a − b)/p < 0: v = m/2p, m = 0..2p − 1 up to whole turns. *)
Theorem offsets (k a b : Z) (p φ : R) : p <> 0 ->
  let x := cos (PI * IZR k * (IZR a - IZR b) / p) in
  let v := IZR k * (IZR a + IZR b) / (2 * p) + (if Rlt_dec x 0 then / 2 else 0) in
  cos (2 * PI * (IZR k * IZR a / p + φ)) + cos (2 * PI * (IZR k * IZR b / p + φ)) = 2 * Rabs x * cos (2 * PI * (v + φ)).
Proof.
  intros Hp; cbv zeta.
  rewrite form1.
  replace ((2 * PI * (IZR k * IZR a / p + φ) - 2 * PI * (IZR k * IZR b / p + φ)) / 2) with (PI * IZR k * (IZR a - IZR b) / p) by (field; exact Hp).
  replace ((2 * PI * (IZR k * IZR a / p + φ) + 2 * PI * (IZR k * IZR b / p + φ)) / 2) with (2 * PI * (IZR k * (IZR a + IZR b) / (2 * p) + φ)) by (field; exact Hp).
  destruct (Rlt_dec _ 0) as [H|H].
  - rewrite Rabs_left by exact H.
    replace (2 * PI * (IZR k * (IZR a + IZR b) / (2 * p) + / 2 + φ)) with (2 * PI * (IZR k * (IZR a + IZR b) / (2 * p) + φ) + PI) by (field; exact Hp).
    rewrite neg_cos; ring.
  - apply Rnot_lt_le in H; rewrite (Rabs_pos_eq _ H), Rplus_0_r; ring.
Qed.

(** *In integers*: shares ζ_i in place of w_i·e(ψ_i). As 0 <= ReLU(cos) <= 1, the rule moves by at most Σ|ζ_i − w_i·e(ψ_i)|. *)
Theorem rule_moves nodes (ζ : node -> C) v :
  Cmod (csum nodes (fun n => ζ n * RtoC (ReLU (cos (2 * PI * (v + φ n))))) - rule nodes v)%C <= Σ n ∈ nodes, Cmod (ζ n - RtoC (w n) * e (ψ n))%C.
Proof.
  unfold rule; induction nodes as [|n nodes IH].
  - unfold csum, sum; simpl; replace (0 - 0)%C with (RtoC 0) by ring; rewrite Cmod_0; lra.
  - rewrite !csum_cons, sum_cons.
    set (x := RtoC (pos (cos (2 * PI * (v + φ n))))); set (A := csum nodes _) in *; set (B := csum nodes (fun n => RtoC (w n) * e (ψ n) * _)%C) in *.
    replace (ζ n * x + A - (RtoC (w n) * e (ψ n) * x + B))%C with ((ζ n - RtoC (w n) * e (ψ n)) * x + (A - B))%C by ring.
    eapply Rle_trans; [apply Cmod_triangle|]; apply Rplus_le_compat; [|exact IH].
    rewrite Cmod_mult; unfold x; rewrite Cmod_R.
    assert (H : 0 <= (cos (2 * PI * (v + φ n)))⁺ <= 1) by (split; [apply pos_nonneg|pose proof (COS_bound (2 * PI * (v + φ n))); pos_cases]).
    rewrite Rabs_pos_eq by lra; pose proof (Cmod_ge_0 (ζ n - RtoC (w n) * e (ψ n))%C); nra.
Qed.
