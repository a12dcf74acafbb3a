(** Verified checker, reading a tensor: from the bytes of the data section to a matrix of integers in one unit 2^-s. *)
From Coq Require Import Reals ZArith List Bool Lia Lra.
From Flocq Require Import Core IEEE754.Binary IEEE754.Bits.
From Formal Require Import IntegerSums Matrix Binary.
Import ListNotations.
Open Scope Z_scope.

(** The little-endian number in the first k bytes. *)
Fixpoint little_endian (k : nat) (bytes : list Z) : Z :=
  match k, bytes with S k', b :: bytes' => b + 256 * little_endian k' bytes' | _, _ => 0 end.

(** Where a tensor is: its first byte in the data section and its rows and columns; numbers are binary32, or binary64. *)
Record tensor := { wide : bool; start : nat; rows : nat; columns : nat }.
Definition width (T : tensor) : nat := if wide T then 8%nat else 4%nat.
Definition bits_at (data : list Z) (T : tensor) (i j : nat) : Z :=
  little_endian (width T) (skipn (start T + width T * (columns T * i + j)) data).

(** *** What a file says: the real number in row i, column j, as IEEE 754 (Flocq's formalisation) has it. *)
Definition real_entry (data : list Z) (T : tensor) (i j : nat) : R :=
  if wide T then B2R 53 1024 (b64_of_bits (bits_at data T i j)) else B2R 24 128 (b32_of_bits (bits_at data T i j)).

(** ** Reading *)
Fixpoint read_row (size c : nat) (bytes : list Z) : list Z :=
  match c with O => [] | S c' => little_endian size bytes :: read_row size c' (skipn size bytes) end.
Fixpoint read_rows (size c r : nat) (bytes : list Z) : list (list Z) :=
  match r with O => [] | S r' => read_row size c bytes :: read_rows size c r' (skipn (size * c) bytes) end.

Lemma skipn_skipn {X} (m n : nat) (l : list X) : skipn m (skipn n l) = skipn (m + n) l.
Proof.
  revert l; induction n as [|n IH]; intros l; [rewrite Nat.add_0_r; reflexivity|].
  rewrite Nat.add_succ_r; destruct l as [|x l]; [rewrite !skipn_nil; reflexivity|]; simpl; apply IH.
Qed.

Lemma read_row_spec size c bytes : is_row (read_row size c bytes) c (fun j => little_endian size (skipn (size * j) bytes)).
Proof.
  revert bytes; induction c as [|c IH]; intros bytes; [apply is_row_nil; reflexivity|].
  simpl read_row; apply is_row_cons; split; [rewrite Nat.mul_0_r; reflexivity|].
  apply (is_row_ext _ _ (fun j => little_endian size (skipn (size * j) (skipn size bytes)))); [|apply IH].
  intros j _; rewrite skipn_skipn; f_equal; f_equal; lia.
Qed.

Lemma read_rows_spec size c r bytes :
  is_matrix (read_rows size c r bytes) r c (fun i j => little_endian size (skipn (size * (c * i + j)) bytes)).
Proof.
  revert bytes; induction r as [|r IH]; intros bytes; [split; [reflexivity|intros; lia]|].
  simpl read_rows; destruct (IH (skipn (size * c) bytes)) as [H1 H2]; split; [simpl; rewrite H1; reflexivity|].
  intros [|i] Hi.
  - apply (is_row_ext _ _ (fun j => little_endian size (skipn (size * j) bytes))); [|apply read_row_spec].
    intros j _; f_equal; f_equal; lia.
  - apply (is_row_ext _ _ (fun j => little_endian size (skipn (size * (c * i + j)) (skipn (size * c) bytes)))); [|apply H2; lia].
    intros j _; rewrite skipn_skipn; f_equal; f_equal; lia.
Qed.

Definition raw (data : list Z) (T : tensor) : list (list Z) := read_rows (width T) (columns T) (rows T) (skipn (start T) data).

Lemma raw_spec data T : is_matrix (raw data T) (rows T) (columns T) (bits_at data T).
Proof.
  eapply is_matrix_ext; [|apply read_rows_spec]; intros i j _ _; cbv beta.
  unfold bits_at; rewrite skipn_skipn; f_equal; f_equal; lia.
Qed.

Definition fraction_bits (T : tensor) : Z := if wide T then 52 else 23.
Definition exponent_bits (T : tensor) : Z := if wide T then 11 else 8.

Fixpoint traverse {X Y} (f : X -> option Y) (l : list X) : option (list Y) :=
  match l with
  | [] => Some []
  | x :: l' => match f x with None => None | Some y => match traverse f l' with None => None | Some r => Some (y :: r) end end
  end.

Lemma traverse_spec {X Y} (f : X -> option Y) (P : X -> bool) (g : X -> Y) l : (forall x, f x = if P x then Some (g x) else None) ->
  traverse f l = if forallb P l then Some (map g l) else None.
Proof.
  intros Hf; induction l as [|x l IH]; [reflexivity|]; simpl; rewrite Hf, IH.
  destruct (P x); [|reflexivity]; simpl; destruct (forallb P l); reflexivity.
Qed.

(** The numbers in units of 2^-s, if every one of them is finite and a multiple of the unit. *)
Definition read (s : Z) (data : list Z) (T : tensor) : option (list (list Z)) :=
  traverse (traverse (word (fraction_bits T) (exponent_bits T) s)) (raw data T).

Lemma read_unfolded s data T : read s data T =
  if forallb (forallb (in_unit (fraction_bits T) (exponent_bits T) s)) (raw data T)
  then Some (map (map (decoded (fraction_bits T) (exponent_bits T) s)) (raw data T)) else None.
Proof.
  apply traverse_spec; intros r; apply traverse_spec; intros x; apply word_spec; unfold fraction_bits, exponent_bits; destruct (wide T); reflexivity.
Qed.

Theorem read_spec s data T M : read s data T = Some M ->
  is_matrix M (rows T) (columns T) (entry M) /\
  forall i j, (i < rows T)%nat -> (j < columns T)%nat -> (real_entry data T i j = IZR (entry M i j) * bpow radix2 (- s))%R.
Proof.
  rewrite read_unfolded; destruct (forallb _ _) eqn:EF; [|discriminate]; intros E; injection E as <-.
  pose proof (raw_spec data T) as HR.
  set (dec := decoded (fraction_bits T) (exponent_bits T) s).
  assert (HM : is_matrix (map (map dec) (raw data T)) (rows T) (columns T) (fun i j => dec (bits_at data T i j))).
  { eapply map_matrix; [exact HR|]; intros l i Hi [Hl1 Hl2]; split; [rewrite map_length; exact Hl1|]; intros j Hj.
    rewrite (nth_indep _ 0 (dec 0)) by (rewrite map_length; lia); rewrite map_nth, Hl2 by exact Hj; reflexivity. }
  split.
  - eapply is_matrix_ext; [|exact HM]; intros i j Hi Hj; symmetry; apply (is_matrix_entry _ _ _ _ _ _ HM Hi Hj).
  - intros i j Hi Hj; rewrite (is_matrix_entry _ _ _ _ _ _ HM Hi Hj).
    assert (U : in_unit (fraction_bits T) (exponent_bits T) s (bits_at data T i j) = true).
    { destruct HR as [HR1 HR2]; destruct (HR2 i Hi) as [Hl1 Hl2]; rewrite <- Hl2 by exact Hj.
      rewrite forallb_forall in EF; specialize (EF (nth i (raw data T) []) ltac:(apply nth_In; lia)).
      rewrite forallb_forall in EF; apply EF, nth_In; lia. }
    unfold real_entry, dec, fraction_bits, exponent_bits in *; destruct (wide T).
    + apply binary64_decoded, U.
    + apply binary32_decoded, U.
Qed.

(** The least s that serves a tensor: any s would be sound, [read] checks it. *)
Definition unit_of (data : list Z) (T : tensor) (s : Z) : Z :=
  let P := 2 ^ fraction_bits T in let Q := 2 ^ exponent_bits T in let least := least_exponent (fraction_bits T) (exponent_bits T) in
  fold_left (fun s row => fold_left (fun s bits =>
    let e := (bits / P) mod Q in
    if e =? 0 then (if bits mod P =? 0 then s else Z.max s (- least)) else Z.max s (1 - e - least)) row s) (raw data T) s.
