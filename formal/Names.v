(** Names under which subtraction and multiplication modulo p are addition (docs/theory.md, section 1, "Names"):
    [operation.names_of] of the kernel. *)

From Coq Require Import ZArith Lia Zpow_facts.

Open Scope Z_scope.

(** a - b, where b is named -b. *)
Theorem subtraction_is_addition : forall p i j, 1 < p -> (i - (- j) mod p) mod p = (i + j) mod p.
Proof.
  intros p i j Hp. rewrite Zminus_mod_idemp_r. f_equal. lia.
Qed.

Section Powers.

Variables p g m : Z.
Hypothesis Hp : 1 < p.
Hypothesis Hm : 0 < m.
Hypothesis Hg : g ^ m mod p = 1.

(** a * b, where a = g^i and b = g^j. *)
Theorem multiplication_is_addition : forall i j, 0 <= i -> 0 <= j ->
  ((g ^ i mod p) * (g ^ j mod p)) mod p = g ^ ((i + j) mod m) mod p.
Proof.
  intros i j Hi Hj.
  rewrite <- Z.mul_mod by lia. rewrite <- Z.pow_add_r by lia.
  assert (Hq : 0 <= (i + j) / m) by (apply Z.div_pos; lia).
  assert (Hr : 0 <= (i + j) mod m < m) by (apply Z.mod_pos_bound; lia).
  rewrite (Z.div_mod (i + j) m) at 1 by lia.
  rewrite Z.pow_add_r by nia. rewrite Z.pow_mul_r by lia.
  rewrite Z.mul_mod by lia. rewrite (Zpower_mod (g ^ m)) by lia. rewrite Hg.
  rewrite Z.pow_1_l by lia. rewrite Z.mod_1_l by lia. rewrite Z.mul_1_l. apply Z.mod_mod. lia.
Qed.

(** No power is zero. *)
Theorem powers_are_units : forall i, 0 <= i < m -> g ^ i mod p <> 0.
Proof.
  intros i Hi H0.
  assert (E : g ^ m = g ^ i * g ^ (m - i)) by (rewrite <- Z.pow_add_r by lia; f_equal; lia).
  rewrite E, Z.mul_mod, H0, Z.mul_0_l, Z.mod_0_l in Hg by lia. lia.
Qed.

(** The powers below the first that is 1 again are distinct: p - 1 of them are all the units of a prime p. *)
Theorem powers_are_distinct : (forall i, 0 < i < m -> g ^ i mod p <> 1) ->
  forall i j, 0 <= i < j -> j < m -> g ^ i mod p <> g ^ j mod p.
Proof.
  intros Hfirst i j Hij Hj E.
  apply (Hfirst (m - j + i)); [lia|].
  rewrite Z.pow_add_r by lia. rewrite Z.mul_mod by lia. rewrite E. rewrite <- Z.mul_mod by lia.
  rewrite <- Z.pow_add_r by lia. replace (m - j + j) with m by lia. exact Hg.
Qed.

End Powers.
