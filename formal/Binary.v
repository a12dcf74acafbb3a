(** Verified checker, reading: binary32 and binary64 numbers from their bits, as integers in one unit 2^-s, exactly. *)
From Coq Require Import Reals ZArith List Bool Lia Lra.
From Flocq Require Import Core IEEE754.Binary IEEE754.Bits.
Import ListNotations.
Open Scope Z_scope.

(** [mw] bits of fraction, [ew] bits of exponent: 23, 8 for binary32 and 52, 11 for binary64. *)
Section Format.
Variables mw ew : Z.
Hypothesis mw_pos : 0 < mw.
Hypothesis ew_pos : 0 < ew.

Definition least_exponent : Z := 3 - 2 ^ (ew - 1) - (mw + 1).
Definition fraction (bits : Z) : Z := bits mod 2 ^ mw.
Definition exponent (bits : Z) : Z := (bits / 2 ^ mw) mod 2 ^ ew.
Definition negative (bits : Z) : bool := 2 ^ mw * 2 ^ ew <=? bits.

(** |value| = [magnitude]·2^[power] *)
Definition magnitude (bits : Z) : Z := if exponent bits =? 0 then fraction bits else fraction bits + 2 ^ mw.
Definition power (bits : Z) : Z := if exponent bits =? 0 then least_exponent else exponent bits + least_exponent - 1.

Definition finite (bits : Z) : bool := negb (exponent bits =? 2 ^ ew - 1).
(** The value is finite, and a multiple of 2^-s. *)
Definition in_unit (s bits : Z) : bool := finite bits && ((magnitude bits =? 0) || (0 <=? power bits + s)).
(** The value in units of 2^-s. *)
Definition decoded (s bits : Z) : Z :=
  let m := magnitude bits * 2 ^ (power bits + s) in if negative bits then - m else m.

Lemma fraction_bounds bits : 0 <= fraction bits < 2 ^ mw.
Proof. apply Z.mod_pos_bound, Z.pow_pos_nonneg; lia. Qed.

(** What Flocq says the bits stand for. *)
Definition value_of (bits : Z) : R := FF2R radix2 (binary_float_of_bits_aux mw ew bits).

Lemma scaled (n : Z) (x k s : Z) : n = 0 \/ 0 <= x + s -> (IZR n * bpow radix2 x = IZR (n * 2 ^ (x + s)) * bpow radix2 (- s))%R.
Proof.
  intros [->|H]; [rewrite !Z.mul_0_l; simpl; ring|].
  rewrite mult_IZR, (IZR_Zpower radix2) by exact H; rewrite Rmult_assoc, <- bpow_plus; f_equal; f_equal; lia.
Qed.

Theorem decoded_spec s bits : in_unit s bits = true -> value_of bits = (IZR (decoded s bits) * bpow radix2 (- s))%R.
Proof.
  unfold in_unit, finite; intros H; apply andb_prop in H; destruct H as [Hf Hs].
  assert (Hs' : magnitude bits = 0 \/ 0 <= power bits + s).
  { apply orb_prop in Hs; destruct Hs as [Hs|Hs]; [left; apply Z.eqb_eq, Hs|right; apply Z.leb_le, Hs]. }
  assert (Sign : forall m, (IZR (if negative bits then - m else m) * bpow radix2 (- s) =
                            (if negative bits then - (IZR m * bpow radix2 (- s)) else IZR m * bpow radix2 (- s)))%R).
  { intros m; destruct (negative bits); [rewrite opp_IZR; ring|reflexivity]. }
  unfold decoded; cbv zeta; rewrite Sign, <- (scaled _ _ 0 _ Hs').
  assert (Finite : forall px x, Z.pos px = magnitude bits -> x = power bits ->
    FF2R radix2 (F754_finite (negative bits) px x) = (if negative bits then - (IZR (magnitude bits) * bpow radix2 (power bits)) else IZR (magnitude bits) * bpow radix2 (power bits))%R).
  { intros px x Ep ->; unfold FF2R, F2R; cbn [Fnum Fexp]; rewrite <- Ep; unfold SpecFloat.cond_Zopp; destruct (negative bits); [rewrite opp_IZR; ring|reflexivity]. }
  unfold value_of, binary_float_of_bits_aux, split_bits; cbv zeta.
  fold (negative bits); fold (fraction bits); fold (exponent bits).
  pose proof (fraction_bounds bits) as HB.
  assert (HM : SpecFloat.emin (mw + 1) (2 ^ (ew - 1)) = least_exponent) by (unfold SpecFloat.emin, least_exponent; lia).
  rewrite HM; clear HM; unfold magnitude, power in *.
  destruct (Z.eqb_spec (exponent bits) 0) as [E0|E0].
  - rewrite (proj1 (Zeq_is_eq_bool _ _) E0).
    destruct (fraction bits) as [|px|px] eqn:Ef; [|apply Finite; reflexivity|lia].
    simpl; destruct (negative bits); rewrite Rmult_0_l; ring.
  - assert (Z1 : Zeq_bool (exponent bits) 0 = false) by (destruct (Zeq_bool (exponent bits) 0) eqn:E; [apply Zeq_bool_eq in E; contradiction|reflexivity]).
    assert (Z2 : Zeq_bool (exponent bits) (2 ^ ew - 1) = false).
    { destruct (Zeq_bool (exponent bits) (2 ^ ew - 1)) eqn:E; [|reflexivity]; apply Zeq_bool_eq in E; rewrite E, Z.eqb_refl in Hf; discriminate. }
    rewrite Z1, Z2.
    assert (Hp : 0 < 2 ^ mw) by (apply Z.pow_pos_nonneg; lia).
    destruct (fraction bits + 2 ^ mw) as [|px|px] eqn:Ef; [lia|apply Finite; reflexivity|lia].
Qed.

(** The same in one pass, by shifts: this is what the checker runs. *)
Definition word (s bits : Z) : option Z :=
  let P := Z.shiftl 1 mw in let Q := Z.shiftl 1 ew in
  let top := bits / P in let e := top mod Q in let f := bits - top * P in
  if e =? Q - 1 then None else
  let least := 3 - Z.shiftl 1 (ew - 1) - (mw + 1) in
  let m := if e =? 0 then f else f + P in
  let k := (if e =? 0 then least else e + least - 1) + s in
  if (m =? 0) || (0 <=? k) then Some (let v := Z.shiftl m k in if P * Q <=? bits then - v else v) else None.

Lemma word_spec s bits : word s bits = if in_unit s bits then Some (decoded s bits) else None.
Proof.
  unfold word, in_unit, decoded, finite, magnitude, power, least_exponent, exponent, fraction, negative; cbv zeta.
  rewrite !Z.shiftl_1_l.
  assert (Hp : 0 < 2 ^ mw) by (apply Z.pow_pos_nonneg; lia).
  replace (bits - bits / 2 ^ mw * 2 ^ mw) with (bits mod 2 ^ mw) by (pose proof (Z.div_mod bits (2 ^ mw) ltac:(lia)); lia).
  set (e := (bits / 2 ^ mw) mod 2 ^ ew); set (f := bits mod 2 ^ mw).
  set (m := if e =? 0 then f else f + 2 ^ mw); set (k := (if e =? 0 then _ else _) + s).
  destruct (e =? 2 ^ ew - 1); [reflexivity|]; cbn [negb andb].
  destruct ((m =? 0) || (0 <=? k)) eqn:E; [|reflexivity].
  assert (V : Z.shiftl m k = m * 2 ^ k).
  { apply orb_prop in E; destruct E as [E|E].
    - apply Z.eqb_eq in E; rewrite E, Z.shiftl_0_l; ring.
    - apply Z.leb_le in E; apply Z.shiftl_mul_pow2, E. }
  rewrite V; reflexivity.
Qed.
End Format.

(** *** The two formats, as Flocq defines them. *)
Theorem binary32_decoded s bits : in_unit 23 8 s bits = true -> B2R 24 128 (b32_of_bits bits) = (IZR (decoded 23 8 s bits) * bpow radix2 (- s))%R.
Proof. intros H; unfold b32_of_bits, binary_float_of_bits; cbv zeta; rewrite B2R_FF2B; apply decoded_spec; [reflexivity|reflexivity|exact H]. Qed.

Theorem binary64_decoded s bits : in_unit 52 11 s bits = true -> B2R 53 1024 (b64_of_bits bits) = (IZR (decoded 52 11 s bits) * bpow radix2 (- s))%R.
Proof. intros H; unfold b64_of_bits, binary_float_of_bits; cbv zeta; rewrite B2R_FF2B; apply decoded_spec; [reflexivity|reflexivity|exact H]. Qed.
