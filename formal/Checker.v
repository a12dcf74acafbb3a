(** An executable checker on integers, proved to imply the statement about real ReLU circuits (docs/theory.md §6,
    *Exhaustive*: all logits, exactly; `exhaustive.py`). Tables are lists of rows; every number is in its unit. *)
From Coq Require Import Reals ZArith List Bool Lra Lia.
From Formal Require Import Sums Relu Circuit.
Import ListNotations.
Open Scope Z_scope.

(** One neuron: its rows of A and B (over tokens) and of W (over outputs). [by_input] has A, B by token instead. *)
Record tables := {
  columns_a : list (list Z);   (* [a][i] *)
  columns_b : list (list Z);   (* [b][i] *)
  rows_w : list (list Z);      (* [c][i] *)
  skips_a : list (list Z);     (* [a][c] *)
  skips_b : list (list Z) }.   (* [b][c] *)

Fixpoint dot (acc : Z) (x y : list Z) : Z :=
  match x, y with a :: x', b :: y' => dot (acc + a * b) x' y' | _, _ => acc end.

Fixpoint hidden (x y : list Z) : list Z :=
  match x, y with a :: x', b :: y' => (let s := a + b in if s <=? 0 then 0 else s) :: hidden x' y' | _, _ => [] end.

Fixpoint logits (h : list Z) (rows : list (list Z)) (s1 s2 : list Z) : list Z :=
  match rows, s1, s2 with
  | row :: rows', x :: s1', y :: s2' => dot (x + y) row h :: logits h rows' s1' s2'
  | _, _, _ => []
  end.

(** Every entry but the one at [place] is below [bound]. *)
Fixpoint others_below (bound : Z) (place : nat) (l : list Z) : bool :=
  match l, place with
  | [], _ => true
  | _ :: l', O => forallb (fun x => x <? bound) l'
  | x :: l', S place' => (x <? bound) && others_below bound place' l'
  end.

Section Check.
Variables (t : tables) (p q n : nat) (needed : Z).

Definition row {A} (l : list (list A)) (i : nat) : list A := nth i l [].

Definition check_input (a b : nat) : bool :=
  let out := logits (hidden (row (columns_a t) a) (row (columns_b t) b)) (rows_w t) (row (skips_a t) a) (row (skips_b t) b) in
  let target := Nat.modulo (a + b) p in
  others_below (nth target out 0 - needed) target out.

Definition sized (k m : nat) (l : list (list Z)) : bool := Nat.eqb (length l) k && forallb (fun r => Nat.eqb (length r) m) l.

Definition well_formed : bool :=
  Nat.ltb 0 p && Nat.leb p q && sized p n (columns_a t) && sized p n (columns_b t) && sized q n (rows_w t) &&
  sized p q (skips_a t) && sized p q (skips_b t).

Definition exhaustive : bool :=
  well_formed && forallb (fun a => forallb (check_input a) (seq 0 p)) (seq 0 p).

(** The circuit that the tables stand for. *)
Definition entry (l : list (list Z)) (i j : nat) : R := IZR (nth j (nth i l []) 0).
Definition circuit_of : circuit nat := {|
  neurons := seq 0 n;
  A := fun i a => entry (columns_a t) (Z.to_nat a) i;
  B := fun i b => entry (columns_b t) (Z.to_nat b) i;
  W := fun i c => entry (rows_w t) (Z.to_nat c) i;
  S1 := fun c a => entry (skips_a t) (Z.to_nat a) (Z.to_nat c);
  S2 := fun c b => entry (skips_b t) (Z.to_nat b) (Z.to_nat c) |}.

Open Scope R_scope.

Lemma dot_spec acc x y m : length x = m -> length y = m ->
  IZR (dot acc x y) = IZR acc + Σ i ∈ seq 0 m, (IZR (nth i x 0%Z) * IZR (nth i y 0%Z)).
Proof.
  revert acc y m; induction x as [|u x IH]; intros acc [|v y] m Hx Hy; simpl in Hx, Hy; subst m; try discriminate.
  - unfold sum; simpl; lra.
  - simpl dot; rewrite (IH _ _ (length x)) by (simpl in *; congruence).
    change (seq 0 (S (length x))) with (0%nat :: seq 1 (length x)).
    rewrite sum_cons, <- seq_shift, sum_map, plus_IZR, mult_IZR; simpl nth; lra.
Qed.

Lemma hidden_length x y : length x = length y -> length (hidden x y) = length x.
Proof. revert y; induction x as [|u x IH]; intros [|v y] H; simpl in *; try discriminate; [reflexivity|]; f_equal; apply IH; congruence. Qed.

Lemma hidden_spec x y i : length x = length y -> (i < length x)%nat ->
  IZR (nth i (hidden x y) 0%Z) = ReLU (IZR (nth i x 0%Z) + IZR (nth i y 0%Z)).
Proof.
  revert y i; induction x as [|u x IH]; intros [|v y] i H Hi; simpl in *; try lia; try discriminate.
  destruct i as [|i]; [|apply IH; lia].
  destruct (Z.leb_spec (u + v) 0) as [L|L]; rewrite <- plus_IZR.
  - apply IZR_le in L; pos_cases.
  - apply IZR_lt in L; pos_cases.
Qed.

Lemma logits_length h rows s1 s2 : length rows = length s1 -> length rows = length s2 -> length (logits h rows s1 s2) = length rows.
Proof. revert s1 s2; induction rows as [|r rows IH]; intros [|x s1] [|y s2] H1 H2; simpl in *; try discriminate; [reflexivity|]; f_equal; apply IH; congruence. Qed.

Lemma logits_nth h rows s1 s2 c : length rows = length s1 -> length rows = length s2 -> (c < length rows)%nat ->
  nth c (logits h rows s1 s2) 0%Z = dot (nth c s1 0 + nth c s2 0)%Z (nth c rows []) h.
Proof.
  revert s1 s2 c; induction rows as [|r rows IH]; intros [|x s1] [|y s2] [|c] H1 H2 Hc; simpl in *; try discriminate; try lia; try reflexivity.
  apply IH; lia.
Qed.

Lemma others_below_spec bound place l : others_below bound place l = true ->
  forall c, (c < length l)%nat -> c <> place -> (nth c l 0 < bound)%Z.
Proof.
  revert place; induction l as [|x l IH]; intros place H c Hc Hne; [simpl in Hc; lia|].
  destruct place as [|place]; simpl in H.
  - destruct c as [|c]; [congruence|].
    simpl in *; rewrite forallb_forall in H; apply Z.ltb_lt, H, nth_In; lia.
  - apply andb_prop in H; destruct H as [Hx H]; apply Z.ltb_lt in Hx.
    destruct c as [|c]; [exact Hx|]; simpl in *; apply (IH place); auto; lia.
Qed.

Lemma sized_spec k m l : sized k m l = true -> length l = k /\ forall i, (i < k)%nat -> length (nth i l []) = m.
Proof.
  unfold sized; intros H; apply andb_prop in H; destruct H as [H1 H2].
  apply Nat.eqb_eq in H1; split; [exact H1|]; intros i Hi.
  rewrite forallb_forall in H2; apply Nat.eqb_eq, H2, nth_In; lia.
Qed.

Lemma well_formed_spec : well_formed = true ->
  (0 < p <= q)%nat /\ (forall i, (i < p)%nat -> length (nth i (columns_a t) []) = n) /\
  (forall i, (i < p)%nat -> length (nth i (columns_b t) []) = n) /\
  length (rows_w t) = q /\ (forall c, (c < q)%nat -> length (nth c (rows_w t) []) = n) /\
  (forall i, (i < p)%nat -> length (nth i (skips_a t) []) = q) /\ (forall i, (i < p)%nat -> length (nth i (skips_b t) []) = q).
Proof.
  unfold well_formed; intros H; repeat (apply andb_prop in H; destruct H as [H ?]).
  repeat match goal with E : sized _ _ _ = true |- _ => apply sized_spec in E; destruct E end.
  apply Nat.ltb_lt in H; match goal with E : Nat.leb _ _ = true |- _ => apply Nat.leb_le in E end.
  repeat split; auto.
Qed.

Definition output_list (a b : nat) : list Z :=
  logits (hidden (row (columns_a t) a) (row (columns_b t) b)) (rows_w t) (row (skips_a t) a) (row (skips_b t) b).

Lemma output_length a b : well_formed = true -> (a < p)%nat -> (b < p)%nat -> length (output_list a b) = q.
Proof.
  intros H Ha Hb; apply well_formed_spec in H; destruct H as [_ [_ [_ [LW [_ [L1 L2]]]]]].
  unfold output_list, row; rewrite logits_length; rewrite ?LW, ?L1, ?L2; auto.
Qed.

Lemma logit_exact a b c : well_formed = true -> (a < p)%nat -> (b < p)%nat -> (c < q)%nat ->
  IZR (nth c (output_list a b) 0%Z) = circuit_logit circuit_of (Z.of_nat a) (Z.of_nat b) (Z.of_nat c).
Proof.
  intros H Ha Hb Hc; apply well_formed_spec in H; destruct H as [_ [LA [LB [LW [Lw [L1 L2]]]]]].
  unfold output_list, row; rewrite logits_nth by (rewrite ?LW, ?L1, ?L2; auto).
  unfold circuit_logit, circuit_of, entry; cbn [neurons A B W S1 S2]; rewrite !Nat2Z.id.
  rewrite (dot_spec _ _ _ n); [|apply Lw, Hc|rewrite hidden_length; rewrite ?LA, ?LB; auto].
  rewrite plus_IZR.
  rewrite (sum_ext (seq 0 n) _
    (fun i => IZR (nth i (nth c (rows_w t) []) 0%Z) * ReLU (IZR (nth i (nth a (columns_a t) []) 0%Z) + IZR (nth i (nth b (columns_b t) []) 0%Z)))); [lra|].
  intros i Hi; apply in_seq in Hi; f_equal; apply hidden_spec; rewrite ?LA, ?LB; auto; lia.
Qed.

(** *** Soundness: if the checker says true, every input is answered by a + b, with a margin above [needed]. *)
Theorem exhaustive_sound : exhaustive = true ->
  forall a b c : nat, (a < p)%nat -> (b < p)%nat -> (c < q)%nat -> c <> Nat.modulo (a + b) p ->
  circuit_logit circuit_of (Z.of_nat a) (Z.of_nat b) (Z.of_nat (Nat.modulo (a + b) p))
    > circuit_logit circuit_of (Z.of_nat a) (Z.of_nat b) (Z.of_nat c) + IZR needed.
Proof.
  intros H a b c Ha Hb Hc Hne; unfold exhaustive in H; apply andb_prop in H; destruct H as [Hw H].
  rewrite forallb_forall in H; assert (Ia : In a (seq 0 p)) by (apply in_seq; lia); specialize (H a Ia).
  rewrite forallb_forall in H; assert (Ib : In b (seq 0 p)) by (apply in_seq; lia); specialize (H b Ib).
  pose proof (well_formed_spec Hw) as [Hpq _].
  assert (Ht : (Nat.modulo (a + b) p < p)%nat) by (apply Nat.mod_upper_bound; lia).
  rewrite <- !logit_exact by (auto; lia).
  unfold check_input in H; cbv zeta in H; fold (output_list a b) in H.
  rewrite <- plus_IZR; apply Rlt_gt, IZR_lt.
  enough (nth c (output_list a b) 0 < nth (Nat.modulo (a + b) p) (output_list a b) 0 - needed)%Z by lia.
  apply (others_below_spec _ _ _ H); [|exact Hne].
  rewrite output_length; auto.
Qed.
End Check.
