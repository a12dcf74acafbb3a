(** The verified checker as an OCaml program: integers become Zarith's, everything else is plain inductive data. *)
From Coq Require Import Extraction ExtrOcamlBasic ExtrOcamlZBigInt.
From Formal Require Import Network Reader VerifiedChecker.
Extraction Language OCaml.
Extraction "verified.ml" check_transformer check_circuit.
