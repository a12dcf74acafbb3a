(** Verified checker, matrices: lists of rows of integers, and what their entries are. *)
From Coq Require Import ZArith List Bool Lia.
From Formal Require Import IntegerSums.
Import ListNotations.
Open Scope Z_scope.

(** [is_row l c f]: l has c entries, and they are f 0, …, f (c − 1). *)
Definition is_row (l : list Z) (c : nat) (f : nat -> Z) : Prop := length l = c /\ forall j, (j < c)%nat -> nth j l 0 = f j.
Definition is_matrix (M : list (list Z)) (r c : nat) (f : nat -> nat -> Z) : Prop :=
  length M = r /\ forall i, (i < r)%nat -> is_row (nth i M []) c (f i).
Definition entry (M : list (list Z)) (i j : nat) : Z := nth j (nth i M []) 0.

Lemma is_row_ext l c f g : (forall j, (j < c)%nat -> f j = g j) -> is_row l c f -> is_row l c g.
Proof. intros E [H1 H2]; split; [exact H1|]; intros j Hj; rewrite H2, E by exact Hj; reflexivity. Qed.

Lemma is_matrix_ext M r c f g : (forall i j, (i < r)%nat -> (j < c)%nat -> f i j = g i j) -> is_matrix M r c f -> is_matrix M r c g.
Proof. intros E [H1 H2]; split; [exact H1|]; intros i Hi; apply (is_row_ext _ _ (f i)); [intros; apply E; assumption|apply H2, Hi]. Qed.

Lemma is_matrix_entry M r c f i j : is_matrix M r c f -> (i < r)%nat -> (j < c)%nat -> entry M i j = f i j.
Proof. intros [_ H] Hi Hj; apply H; assumption. Qed.

Lemma zsum_seq_first (f : nat -> Z) n : Σ i ∈ seq 0 (S n), f i = f 0%nat + Σ i ∈ seq 0 n, f (S i).
Proof. simpl seq; rewrite zsum_cons, <- seq_shift, zsum_map; reflexivity. Qed.

(** A check of the sizes. *)
Definition sized (r c : nat) (M : list (list Z)) : bool := Nat.eqb (length M) r && forallb (fun l => Nat.eqb (length l) c) M.

Lemma sized_spec r c M : sized r c M = true -> is_matrix M r c (entry M).
Proof.
  unfold sized; intros H; apply andb_prop in H; destruct H as [H1 H2]; apply Nat.eqb_eq in H1; split; [exact H1|].
  intros i Hi; rewrite forallb_forall in H2; split; [apply Nat.eqb_eq, H2, nth_In; lia|reflexivity].
Qed.

(** ** Rows *)
Fixpoint plus (u v : list Z) : list Z := match u, v with x :: u', y :: v' => x + y :: plus u' v' | _, _ => [] end.
Definition times (x : Z) (u : list Z) : list Z := map (Z.mul x) u.
(** x·u + v *)
Fixpoint axpy (x : Z) (u v : list Z) : list Z := match u, v with y :: u', z :: v' => x * y + z :: axpy x u' v' | _, _ => [] end.
(** v + Σ_k r_k·(row k of M) *)
Fixpoint combine (r : list Z) (M : list (list Z)) (v : list Z) : list Z :=
  match r, M with x :: r', u :: M' => combine r' M' (axpy x u v) | _, _ => v end.
Definition zeros (c : nat) : list Z := repeat 0 c.

Lemma is_row_cons x l c f : is_row (x :: l) (S c) f <-> x = f 0%nat /\ is_row l c (fun j => f (S j)).
Proof.
  split.
  - intros [H1 H2]; split; [apply (H2 0%nat); lia|]; split; [simpl in H1; lia|]; intros j Hj; apply (H2 (S j)); lia.
  - intros [-> [H1 H2]]; split; [simpl; lia|]; intros [|j] Hj; [reflexivity|]; apply H2; lia.
Qed.

Lemma is_row_nil l f : is_row l 0 f <-> l = [].
Proof. split; [intros [H _]; destruct l; [reflexivity|discriminate]|intros ->; split; [reflexivity|intros; lia]]. Qed.

Lemma plus_spec u v c f g : is_row u c f -> is_row v c g -> is_row (plus u v) c (fun j => f j + g j).
Proof.
  revert v c f g; induction u as [|x u IH]; intros v c f g Hu Hv; destruct c as [|c].
  - apply is_row_nil; reflexivity.
  - destruct Hu as [H _]; discriminate.
  - apply is_row_nil in Hu; discriminate.
  - destruct v as [|y v]; [destruct Hv as [H _]; discriminate|]; apply is_row_cons in Hu, Hv; destruct Hu as [-> Hu], Hv as [-> Hv].
    simpl; apply is_row_cons; split; [reflexivity|apply IH; assumption].
Qed.

Lemma axpy_spec x u v c f g : is_row u c f -> is_row v c g -> is_row (axpy x u v) c (fun j => x * f j + g j).
Proof.
  revert v c f g; induction u as [|y u IH]; intros v c f g Hu Hv; destruct c as [|c].
  - apply is_row_nil; reflexivity.
  - destruct Hu as [H _]; discriminate.
  - apply is_row_nil in Hu; discriminate.
  - destruct v as [|z v]; [destruct Hv as [H _]; discriminate|]; apply is_row_cons in Hu, Hv; destruct Hu as [-> Hu], Hv as [-> Hv].
    simpl; apply is_row_cons; split; [reflexivity|apply IH; assumption].
Qed.

Lemma times_spec x u c f : is_row u c f -> is_row (times x u) c (fun j => x * f j).
Proof.
  intros [H1 H2]; split; [unfold times; rewrite map_length; exact H1|]; intros j Hj; unfold times.
  rewrite (nth_indep _ 0 (x * 0)) by (rewrite map_length; lia); rewrite map_nth, H2 by exact Hj; reflexivity.
Qed.

Lemma zeros_spec c : is_row (zeros c) c (fun _ => 0).
Proof. split; [apply repeat_length|intros j _; apply nth_repeat]. Qed.

Lemma combine_spec r M v m c f g a : is_row r m f -> is_matrix M m c g -> is_row v c a ->
  is_row (combine r M v) c (fun j => a j + Σ k ∈ seq 0 m, f k * g k j).
Proof.
  revert M v m f g a; induction r as [|x r IH]; intros M v m f g a Hr [HM1 HM2] Hv; destruct m as [|m].
  - simpl; apply (is_row_ext _ _ a); [intros; unfold zsum; simpl; ring|]; destruct M; exact Hv.
  - destruct Hr as [H _]; discriminate.
  - apply is_row_nil in Hr; discriminate.
  - destruct M as [|u M]; [discriminate|]; apply is_row_cons in Hr; destruct Hr as [-> Hr].
    cbn [combine].
    apply (is_row_ext _ _ (fun j => (f 0%nat * g 0%nat j + a j) + Σ k ∈ seq 0 m, f (S k) * g (S k) j)).
    { intros j _; rewrite zsum_seq_first; ring. }
    apply (IH M (axpy (f 0%nat) u v) m (fun k => f (S k)) (fun k => g (S k)) (fun j => f 0%nat * g 0%nat j + a j)).
    + exact Hr.
    + split; [simpl in HM1; lia|]; intros i Hi; apply (HM2 (S i)); lia.
    + apply axpy_spec; [apply (HM2 0%nat); lia|exact Hv].
Qed.

(** ** Matrices *)
Definition mul (M N : list (list Z)) (c : nat) : list (list Z) := map (fun r => combine r N (zeros c)) M.
Definition rows_of (r : nat) (f : nat -> list Z) : list (list Z) := map f (seq 0 r).
Definition transposed (M : list (list Z)) (c : nat) : list (list Z) := map (fun j => map (fun r => nth j r 0) M) (seq 0 c).

Lemma map_matrix (F : list Z -> list Z) M r c c' f g : is_matrix M r c f ->
  (forall l i, (i < r)%nat -> is_row l c (f i) -> is_row (F l) c' (g i)) -> is_matrix (map F M) r c' g.
Proof.
  intros [H1 H2] HF; split; [rewrite map_length; exact H1|]; intros i Hi.
  rewrite (nth_indep _ [] (F [])) by (rewrite map_length; lia); rewrite map_nth; apply HF; [exact Hi|apply H2, Hi].
Qed.

Lemma mul_spec M N r m c f g : is_matrix M r m f -> is_matrix N m c g ->
  is_matrix (mul M N c) r c (fun i j => Σ k ∈ seq 0 m, f i k * g k j).
Proof.
  intros HM HN; unfold mul; eapply map_matrix; [exact HM|]; intros l i Hi Hl; cbv beta.
  eapply is_row_ext; [|apply (combine_spec l N (zeros c) m c (f i) g (fun _ => 0) Hl HN (zeros_spec c))].
  intros j _; cbv beta; ring.
Qed.

Lemma nth_map_seq {T} (F : nat -> T) n i d : (i < n)%nat -> nth i (map F (seq 0 n)) d = F i.
Proof.
  intros Hi; rewrite (nth_indep _ d (F 0%nat)) by (rewrite map_length, seq_length; exact Hi).
  rewrite map_nth, seq_nth by exact Hi; reflexivity.
Qed.

Lemma rows_of_spec r c (F : nat -> list Z) f : (forall i, (i < r)%nat -> is_row (F i) c (f i)) -> is_matrix (rows_of r F) r c f.
Proof.
  intros H; split; [unfold rows_of; rewrite map_length, seq_length; reflexivity|].
  intros i Hi; unfold rows_of; rewrite nth_map_seq by exact Hi; apply H, Hi.
Qed.

Lemma transposed_spec M r c f : is_matrix M r c f -> is_matrix (transposed M c) c r (fun j i => f i j).
Proof.
  intros [H1 H2]; unfold transposed; apply (rows_of_spec c r (fun j => map (fun row => nth j row 0) M)).
  intros j Hj; split; [rewrite map_length; exact H1|]; intros i Hi.
  rewrite (nth_indep _ 0 (nth j [] 0)) by (rewrite map_length; lia).
  rewrite (map_nth (fun row => nth j row 0)); apply (H2 i Hi); exact Hj.
Qed.
