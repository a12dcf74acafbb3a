(** Sums of integers over lists, as the kernel forms them: exactly. *)
From Coq Require Import Reals ZArith List Bool Permutation Lia Lra.
From Formal Require Import Sums Relu.
Import ListNotations.
Open Scope Z_scope.

Definition zsum {I : Type} (l : list I) (f : I -> Z) : Z := fold_right Z.add 0 (map f l).

Notation "'Σ' i '∈' l ',' e" := (zsum l (fun i => e))
  (at level 41, i name, l at level 35, e at level 41, right associativity,
   format "'Σ'  i  '∈'  l ,  e") : Z_scope.

Section IntegerSums.
Context {I : Type}.
Implicit Types (l : list I) (f g : I -> Z).

Lemma zsum_cons x l f : zsum (x :: l) f = f x + zsum l f. Proof. reflexivity. Qed.

Lemma zsum_ext l f g : (forall i, In i l -> f i = g i) -> zsum l f = zsum l g.
Proof.
  induction l as [|x l IH]; intros H; [reflexivity|].
  rewrite !zsum_cons, (H x (or_introl eq_refl)), IH; [reflexivity|intros i Hi; apply H; right; exact Hi].
Qed.

Lemma zsum_plus l f g : Σ i ∈ l, (f i + g i) = (Σ i ∈ l, f i) + Σ i ∈ l, g i.
Proof. induction l as [|x l IH]; [reflexivity|rewrite !zsum_cons, IH; ring]. Qed.

Lemma zsum_minus l f g : Σ i ∈ l, (f i - g i) = (Σ i ∈ l, f i) - Σ i ∈ l, g i.
Proof. induction l as [|x l IH]; [reflexivity|rewrite !zsum_cons, IH; ring]. Qed.

Lemma zsum_mul_l l c f : Σ i ∈ l, (c * f i) = c * Σ i ∈ l, f i.
Proof. induction l as [|x l IH]; [unfold zsum; simpl; ring|rewrite !zsum_cons, IH; ring]. Qed.

Lemma zsum_mul_r l c f : Σ i ∈ l, (f i * c) = (Σ i ∈ l, f i) * c.
Proof. induction l as [|x l IH]; [reflexivity|rewrite !zsum_cons, IH; ring]. Qed.

Lemma zsum_zero l : Σ i ∈ l, 0 = 0.
Proof. induction l as [|x l IH]; [reflexivity|rewrite zsum_cons, IH; ring]. Qed.

Lemma zsum_le l f g : (forall i, In i l -> f i <= g i) -> zsum l f <= zsum l g.
Proof.
  induction l as [|x l IH]; intros H; [apply Z.le_refl|].
  rewrite !zsum_cons; apply Z.add_le_mono; [apply H; left; reflexivity|apply IH; intros i Hi; apply H; right; exact Hi].
Qed.

Lemma zsum_nonneg l f : (forall i, In i l -> 0 <= f i) -> 0 <= zsum l f.
Proof. intros H; rewrite <- (zsum_zero l); apply zsum_le, H. Qed.

Lemma zsum_abs l f : Z.abs (zsum l f) <= Σ i ∈ l, Z.abs (f i).
Proof. induction l as [|x l IH]; [apply Z.le_refl|]; rewrite !zsum_cons; lia. Qed.

Lemma zsum_app l l' f : zsum (l ++ l') f = zsum l f + zsum l' f.
Proof. induction l as [|x l IH]; [reflexivity|simpl app; rewrite !zsum_cons, IH; ring]. Qed.

Lemma zsum_permutation l l' f : Permutation l l' -> zsum l f = zsum l' f.
Proof. induction 1; rewrite ?zsum_cons in *; try congruence; lia. Qed.

Lemma zsum_filter l (P : I -> bool) f : zsum (filter P l) f = Σ i ∈ l, (if P i then f i else 0).
Proof. induction l as [|x l IH]; [reflexivity|]; simpl; rewrite zsum_cons; destruct (P x); rewrite ?zsum_cons, IH; ring. Qed.

Lemma IZR_zsum l f : IZR (zsum l f) = sum l (fun i => IZR (f i)).
Proof. induction l as [|x l IH]; [reflexivity|rewrite zsum_cons, sum_cons, plus_IZR, IH; reflexivity]. Qed.
End IntegerSums.

Lemma zsum_swap {I J : Type} (l : list I) (m : list J) (f : I -> J -> Z) :
  Σ i ∈ l, Σ j ∈ m, f i j = Σ j ∈ m, Σ i ∈ l, f i j.
Proof.
  induction l as [|x l IH]; [symmetry; apply (zsum_zero m)|].
  rewrite zsum_cons, IH, <- zsum_plus; apply zsum_ext; intros j _; reflexivity.
Qed.

Lemma zsum_map {I J : Type} (g : I -> J) (l : list I) (f : J -> Z) : zsum (map g l) f = Σ i ∈ l, f (g i).
Proof. unfold zsum; rewrite map_map; reflexivity. Qed.

Lemma zsum_seq_S (f : nat -> Z) n : Σ i ∈ seq 0 (S n), f i = (Σ i ∈ seq 0 n, f i) + f n.
Proof. rewrite seq_S, zsum_app, Nat.add_0_l; unfold zsum at 2; simpl; ring. Qed.

(** One entry of a row, picked out. *)
Lemma zsum_pick (f : nat -> Z) n k : (k < n)%nat -> Σ i ∈ seq 0 n, (if Nat.eqb i k then f i else 0) = f k.
Proof.
  induction n as [|n IH]; intros Hk; [lia|]; rewrite zsum_seq_S.
  destruct (Nat.eqb_spec n k) as [->|Hne].
  - rewrite (zsum_ext _ _ (fun _ => 0)), zsum_zero; [ring|].
    intros i Hi; apply in_seq in Hi; destruct (Nat.eqb_spec i k); [lia|reflexivity].
  - rewrite IH by lia; ring.
Qed.

(** The largest and the least of a list with at least one entry, as numpy's max and min. *)
Definition largest {I : Type} (l : list I) (f : I -> Z) : Z :=
  match l with [] => 0 | x :: l' => fold_right (fun i m => Z.max (f i) m) (f x) l' end.
Definition least {I : Type} (l : list I) (f : I -> Z) : Z :=
  match l with [] => 0 | x :: l' => fold_right (fun i m => Z.min (f i) m) (f x) l' end.

Lemma largest_ge {I} (l : list I) f i : In i l -> f i <= largest l f.
Proof.
  destruct l as [|x l]; [intros []|]; simpl; intros [<-|H].
  - induction l as [|y l IH]; simpl; lia.
  - induction l as [|y l IH]; [destruct H|]; simpl in *; destruct H as [<-|H]; [lia|specialize (IH H); lia].
Qed.

Lemma least_le {I} (l : list I) f i : In i l -> least l f <= f i.
Proof.
  destruct l as [|x l]; [intros []|]; simpl; intros [<-|H].
  - induction l as [|y l IH]; simpl; lia.
  - induction l as [|y l IH]; [destruct H|]; simpl in *; destruct H as [<-|H]; [lia|specialize (IH H); lia].
Qed.

Lemma largest_in {I} (l : list I) f : l <> [] -> exists i, In i l /\ largest l f = f i.
Proof.
  destruct l as [|x l]; [congruence|]; intros _; simpl.
  induction l as [|y l [i [Hi E]]]; [exists x; auto|]; simpl.
  destruct (Z.max_spec (f y) (fold_right (fun i m => Z.max (f i) m) (f x) l)) as [[_ ->]|[_ ->]]; [|exists y; auto].
  exists i; split; [destruct Hi; auto|exact E].
Qed.

Lemma least_in {I} (l : list I) f : l <> [] -> exists i, In i l /\ least l f = f i.
Proof.
  destruct l as [|x l]; [congruence|]; intros _; simpl.
  induction l as [|y l [i [Hi E]]]; [exists x; auto|]; simpl.
  destruct (Z.min_spec (f y) (fold_right (fun i m => Z.min (f i) m) (f x) l)) as [[_ ->]|[_ ->]]; [exists y; auto|].
  exists i; split; [destruct Hi; auto|exact E].
Qed.
