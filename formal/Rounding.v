(** The rounding of `arcs._shifted` and `arcs._turned`: α·z·e(hφ) in fixed point, with its error. *)
From Coq Require Import Reals ZArith Lra Lia.
From Coquelicot Require Import Coquelicot.
From Flocq Require Import Core.
From Formal Require Import Circle.
Open Scope R_scope.

(** value << shift, or value >> −shift: Python's shifts round down. *)
Definition shifted (value shift : Z) : Z := Z.shiftl value shift.

Lemma shifted_spec v s : IZR (shifted v s) <= IZR v * bpow radix2 s < IZR (shifted v s) + 1.
Proof.
  unfold shifted; destruct (Z_le_dec 0 s) as [H|H].
  - rewrite Z.shiftl_mul_pow2, mult_IZR, (IZR_Zpower radix2) by lia; lra.
  - assert (E : exists n, (0 <= n)%Z /\ s = (- n)%Z) by (exists (- s)%Z; lia); destruct E as [n [Hn ->]].
    rewrite Z.shiftl_opp_r, Z.shiftr_div_pow2 by lia.
    assert (Hp : (0 < 2 ^ n)%Z) by (apply Z.pow_pos_nonneg; lia).
    replace (bpow radix2 (- n)) with (/ IZR (2 ^ n)).
    2: { rewrite bpow_opp, <- (IZR_Zpower radix2) by exact Hn; reflexivity. }
    assert (Hr : 0 < IZR (2 ^ n)) by (apply IZR_lt; exact Hp).
    pose proof (Z.div_mod v (2 ^ n) ltac:(lia)) as Hd; pose proof (Z.mod_pos_bound v (2 ^ n) Hp) as [Hm1 Hm2].
    apply (f_equal IZR) in Hd; rewrite plus_IZR, mult_IZR in Hd; apply IZR_le in Hm1; apply IZR_lt in Hm2.
    set (q := IZR (v / 2 ^ n)) in *; set (r := IZR (v mod 2 ^ n)) in *; set (D := IZR (2 ^ n)) in *.
    replace (IZR v * / D) with (q + r / D) by (rewrite Hd; field; lra).
    assert (0 <= r / D < 1); [|lra].
    split; [apply Rdiv_le_0_compat; lra|]; apply Rmult_lt_reg_r with D; [exact Hr|]; unfold Rdiv; rewrite Rmult_assoc, Rinv_l by lra; lra.
Qed.

(** `_turned`: (re, im) is z in units of 2^-24, (c, s) is e(hφ) in units of 2^-30, off by at most one; the result is
    α·z·e(hφ), α = amplitude·2^shift', in units in which scale = shift' − 24 − 30, off by at most `error` in each part. *)
Definition turned_re (amplitude re im c s scale : Z) : Z := shifted (amplitude * (re * c - im * s)) scale.
Definition turned_error (amplitude re im scale : Z) : Z := shifted (amplitude * (Z.abs re + Z.abs im)) scale + 2.

Theorem turned_re_spec amplitude re im c s scale (θ : R) : (0 <= amplitude)%Z ->
  Rabs (IZR c - IZR ONE * Re (e θ)) <= 1 -> Rabs (IZR s - IZR ONE * Im (e θ)) <= 1 ->
  Rabs (IZR (turned_re amplitude re im c s scale) -
        IZR amplitude * bpow radix2 scale * IZR ONE * Re ((IZR re, IZR im) * e θ)%C) <= IZR (turned_error amplitude re im scale).
Proof.
  intros Ha Hc Hs; unfold turned_re, turned_error; apply IZR_le in Ha.
  pose proof (shifted_spec (amplitude * (re * c - im * s)) scale) as [H1 H2].
  pose proof (shifted_spec (amplitude * (Z.abs re + Z.abs im)) scale) as [H3 H4].
  pose proof (bpow_gt_0 radix2 scale) as Hb; set (b := bpow radix2 scale) in *.
  rewrite plus_IZR; rewrite !mult_IZR, !minus_IZR, !mult_IZR in H1, H2; rewrite !mult_IZR, !plus_IZR, !abs_IZR in H3, H4.
  set (x := IZR re) in *; set (y := IZR im) in *; set (A := IZR amplitude) in *.
  assert (E : Rabs (A * (x * IZR c - y * IZR s) * b - A * b * IZR ONE * Re ((x, y) * e θ)%C) <= A * (Rabs x + Rabs y) * b).
  { replace (A * (x * IZR c - y * IZR s) * b - A * b * IZR ONE * Re ((x, y) * e θ)%C)
      with (A * b * (x * (IZR c - IZR ONE * Re (e θ)) - y * (IZR s - IZR ONE * Im (e θ)))) by (unfold Re, Im, Cmult; simpl; ring).
    rewrite Rabs_mult, (Rabs_pos_eq (A * b)) by (apply Rmult_le_pos; lra).
    replace (A * (Rabs x + Rabs y) * b) with (A * b * (Rabs x + Rabs y)) by ring.
    apply Rmult_le_compat_l; [apply Rmult_le_pos; lra|].
    unfold Rminus at 1; eapply Rle_trans; [apply Rabs_triang|]; rewrite Rabs_Ropp, !Rabs_mult.
    pose proof (Rabs_pos x); pose proof (Rabs_pos y); nra. }
  unfold Rabs at 1; unfold Rabs in E at 1; destruct Rcase_abs in E; destruct Rcase_abs; lra.
Qed.
