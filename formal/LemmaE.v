(** Lemma E: event sums. The sum of w_i·ReLU(A[i,a] + B[i,b]) over the neurons, at all inputs, from its jumps; exact. *)
From Coq Require Import ZArith List Bool Permutation Sorted Lia.
From Formal Require Import IntegerSums Relu.
Import ListNotations.
Open Scope Z_scope.

(** ** Orders of the tokens *)

(** Insertion that keeps equal keys in place: numpy's stable argsort. *)
Fixpoint insert (key : nat -> Z) (x : nat) (l : list nat) : list nat :=
  match l with [] => [x] | y :: l' => if key x <=? key y then x :: l else y :: insert key x l' end.
Definition argsort (key : nat -> Z) (p : nat) : list nat := fold_right (insert key) [] (seq 0 p).

(** The order of frequency k: tokens by k·t mod p, ties by t. *)
Definition order (k : Z) (p : nat) : list nat := argsort (fun t => (k * Z.of_nat t) mod Z.of_nat p) p.

(** Tokens in the order of descending entries. *)
Definition descending (A : nat -> Z) (p : nat) : list nat := argsort (fun a => - A a) p.

Lemma insert_permutation key x l : Permutation (insert key x l) (x :: l).
Proof.
  induction l as [|y l IH]; simpl; [reflexivity|]; destruct (key x <=? key y); [reflexivity|].
  rewrite IH; apply perm_swap.
Qed.

Lemma argsort_permutation key p : Permutation (argsort key p) (seq 0 p).
Proof.
  unfold argsort; generalize (seq 0 p) as l; induction l as [|x l IH]; simpl; [reflexivity|].
  rewrite insert_permutation; apply perm_skip, IH.
Qed.

Lemma argsort_length key p : length (argsort key p) = p.
Proof. rewrite (Permutation_length (argsort_permutation key p)); apply seq_length. Qed.

Lemma insert_sorted key x l : StronglySorted (fun x y => key x <= key y) l -> StronglySorted (fun x y => key x <= key y) (insert key x l).
Proof.
  induction 1 as [|y l Hs IH Hy]; simpl; [constructor; constructor|].
  destruct (Z.leb_spec (key x) (key y)) as [H|H].
  - constructor; [constructor; assumption|]; constructor; [exact H|].
    rewrite Forall_forall in *; intros z Hz; specialize (Hy z Hz); lia.
  - constructor; [exact IH|]; rewrite Forall_forall in *; intros z Hz.
    apply (Permutation_in _ (insert_permutation key x l)) in Hz; destruct Hz as [<-|Hz]; [lia|apply Hy, Hz].
Qed.

Lemma argsort_sorted key p : StronglySorted (fun x y => key x <= key y) (argsort key p).
Proof. unfold argsort; induction (seq 0 p) as [|x l IH]; simpl; [constructor|apply insert_sorted, IH]. Qed.

(** Every token has a place in every order. *)
Lemma every_token_has_a_place key p b : (b < p)%nat -> exists t, (t < p)%nat /\ nth t (argsort key p) 0%nat = b.
Proof.
  intros Hb; assert (Hi : In b (argsort key p)).
  { apply (Permutation_in _ (Permutation_sym (argsort_permutation key p))), in_seq; lia. }
  destruct (In_nth _ _ 0%nat Hi) as [t [Ht E]]; exists t; rewrite argsort_length in Ht; auto.
Qed.

Lemma place_is_token key p t : (t < p)%nat -> (nth t (argsort key p) 0 < p)%nat.
Proof.
  intros Ht; assert (Hi : In (nth t (argsort key p) 0%nat) (argsort key p)) by (apply nth_In; rewrite argsort_length; exact Ht).
  apply (Permutation_in _ (argsort_permutation key p)), in_seq in Hi; lia.
Qed.

(** ** Telescoping *)

Lemma telescope (f : nat -> Z) t : Σ t' ∈ seq 0 (S t), (f t' - match t' with O => 0 | S u => f u end) = f t.
Proof.
  induction t as [|t IH]; [unfold zsum; simpl; ring|].
  rewrite zsum_seq_S, IH; ring.
Qed.

Section LemmaE.
Context {I : Type}.
Variables (neurons : list I) (p : nat) (A B : I -> nat -> Z) (w : I -> Z).
(** Neurons with the same order: π_t is [nth t π 0]. *)
Variable π : list nat.

(** s_i(t, a) = 1 if A[i,a] + B[i,π_t] > 0, else 0; s_i(−1, a) = 0. *)
Definition s (i : I) (t a : nat) : Z := Z.b2z (active (A i a + B i (nth t π 0%nat))).
Definition s_before (i : I) (t a : nat) : Z := match t with O => 0 | S t' => s i t' a end.

(** e = s_i(t,a) − s_i(t−1,a); an event is (i, t, a) with e ≠ 0. *)
Definition event (i : I) (t a : nat) : Z := s i t a - s_before i t a.

Lemma event_sign i t a : event i t a = -1 \/ event i t a = 0 \/ event i t a = 1.
Proof.
  unfold event, s_before, s; destruct t as [|t]; destruct (active _); try destruct (active _); simpl; lia.
Qed.

(** D[t,a] = Σ_{events (i,t,a)} e·w_i·A[i,a] *)
Definition D (t a : nat) : Z :=
  Σ i ∈ filter (fun i => negb (event i t a =? 0)) neurons, (event i t a * w i * A i a).

(** Σ_i w_i·A[i,a]·s_i(t,a) = Σ_{t' <= t} D[t',a] *)
Theorem lemma_E_half t a : Σ i ∈ neurons, (w i * A i a * s i t a) = Σ t' ∈ seq 0 (S t), D t' a.
Proof.
  rewrite (zsum_ext (seq 0 (S t)) _ (fun t' => Σ i ∈ neurons, (w i * A i a * event i t' a))).
  - rewrite zsum_swap; apply zsum_ext; intros i _; rewrite zsum_mul_l; f_equal.
    rewrite <- (telescope (fun t => s i t a) t); apply zsum_ext; intros t' _; reflexivity.
  - intros t' _; unfold D; rewrite zsum_filter; apply zsum_ext; intros i _.
    destruct (Z.eqb_spec (event i t' a) 0) as [->|_]; cbn [negb]; ring.
Qed.
End LemmaE.

(** The same with a and b exchanged; the two together are S(a,b). The orders of the two halves need not be the same, nor
    those of two neurons: the sum over all neurons is the sum over the groups that share an order. *)
Section BothHalves.
Context {I : Type}.
Variables (neurons : list I) (A B : I -> nat -> Z) (w : I -> Z) (π π' : list nat).

(** S(a,b) = Σ_i w_i·ReLU(A[i,a] + B[i,b]) *)
Definition S_ (a b : nat) : Z := Σ i ∈ neurons, (w i * relu (A i a + B i b)).

Theorem lemma_E a b t t' : nth t π 0%nat = b -> nth t' π' 0%nat = a ->
  S_ a b = (Σ u ∈ seq 0 (S t), D neurons A B w π u a) + Σ u ∈ seq 0 (S t'), D neurons B A w π' u b.
Proof.
  intros Eb Ea; rewrite <- !lemma_E_half, <- zsum_plus; unfold S_; apply zsum_ext; intros i _.
  unfold s; rewrite Eb, Ea, relu_active, (Z.add_comm (B i b)); ring.
Qed.
End BothHalves.

(** Groups: neurons in several lists, each with its own orders. *)
Theorem lemma_E_groups {I} (groups : list (list I)) (A B : I -> nat -> Z) (w : I -> Z) a b :
  S_ (concat groups) A B w a b = Σ g ∈ groups, S_ g A B w a b.
Proof.
  induction groups as [|g groups IH]; [reflexivity|].
  rewrite zsum_cons, <- IH; unfold S_; simpl; apply zsum_app.
Qed.

(** ** Finding the events *)
Section Ranks.
Variables (p : nat) (A : nat -> Z) (B : nat -> Z) (π : list nat).

(** r(t) = #{a : A[a] > −B[π_t]} *)
Definition rank (t : nat) : nat := length (filter (fun a => - B (nth t π 0%nat) <? A a) (seq 0 p)).
Definition rank_before (t : nat) : nat := match t with O => 0%nat | S t' => rank t' end.

Lemma count_sorted (l : list nat) (x : Z) j : StronglySorted (fun u v => - A u <= - A v) l -> (j < length l)%nat ->
  (x <? A (nth j l 0%nat)) = (j <? length (filter (fun a => (x <? A a)%Z) l))%nat.
Proof.
  intros Hs; revert j; induction Hs as [|u l Hs IH Hu]; intros j Hj; [simpl in Hj; lia|].
  rewrite Forall_forall in Hu; simpl filter.
  destruct (Z.ltb_spec x (A u)) as [H|H].
  - destruct j as [|j]; simpl nth; simpl length; [destruct (Z.ltb_spec x (A u)); [reflexivity|lia]|].
    rewrite IH by (simpl in Hj; lia); reflexivity.
  - assert (E : filter (fun a => x <? A a) l = []).
    { clear - Hu H; induction l as [|v l IH]; [reflexivity|]; simpl.
      pose proof (Hu v (or_introl eq_refl)); destruct (Z.ltb_spec x (A v)); [lia|].
      apply IH; intros z Hz; apply Hu; right; exact Hz. }
    rewrite E; simpl length; replace (j <? 0)%nat with false by reflexivity.
    destruct j as [|j]; simpl nth; [destruct (Z.ltb_spec x (A u)); [lia|reflexivity]|].
    assert (Hi : In (nth j l 0%nat) l) by (apply nth_In; simpl in Hj; lia).
    pose proof (Hu _ Hi); destruct (Z.ltb_spec x (A (nth j l 0%nat))); [lia|reflexivity].
Qed.

(** In the order of descending A the active a at t are the first r(t). *)
Theorem active_are_the_first t j : (j < p)%nat ->
  active (A (nth j (descending A p) 0%nat) + B (nth t π 0%nat)) = (j <? rank t)%nat.
Proof.
  intros Hj; unfold active, rank.
  replace (0 <? A (nth j (descending A p) 0%nat) + B (nth t π 0%nat)) with (- B (nth t π 0%nat) <? A (nth j (descending A p) 0%nat)).
  2: { destruct (Z.ltb_spec (- B (nth t π 0%nat)) (A (nth j (descending A p) 0%nat)));
       destruct (Z.ltb_spec 0 (A (nth j (descending A p) 0%nat) + B (nth t π 0%nat))); try reflexivity; lia. }
  unfold descending; rewrite (count_sorted _ (- B (nth t π 0%nat)) j (argsort_sorted (fun a => - A a) p)).
  - f_equal; apply Permutation_length.
    assert (F : forall (P : nat -> bool) l l', Permutation l l' -> Permutation (filter P l) (filter P l')).
    { intros P l l' H; induction H; simpl; try destruct (P x); try destruct (P y); try (constructor; assumption); try assumption; try reflexivity.
      all: try (eapply perm_trans; eassumption). }
    apply F, argsort_permutation.
  - rewrite argsort_length; exact Hj.
Qed.

(** The events between t − 1 and t are the places from min(r(t−1), r(t)) up to the greater one, all of one sign. *)
Definition from (t : nat) : nat := Nat.min (rank_before t) (rank t).
Definition how_many (t : nat) : nat := (Nat.max (rank_before t) (rank t) - from t)%nat.
Definition sign (t : nat) : Z := Z.sgn (Z.of_nat (rank t) - Z.of_nat (rank_before t)).

Definition e_ (t a : nat) : Z := event (fun _ : unit => A) (fun _ => B) π tt t a.

Theorem events_by_ranks t j : (j < p)%nat ->
  e_ t (nth j (descending A p) 0%nat) = if (from t <=? j)%nat && (j <? from t + how_many t)%nat then sign t else 0.
Proof.
  intros Hj; unfold e_, event, s_before, s, how_many, from, sign, rank_before.
  rewrite (active_are_the_first t j Hj).
  assert (E : match t with 0%nat => 0 | S t' => Z.b2z (active (A (nth j (descending A p) 0%nat) + B (nth t' π 0%nat))) end
    = Z.b2z (j <? match t with 0%nat => 0 | S t' => rank t' end)%nat).
  { destruct t as [|t]; [reflexivity|]; rewrite (active_are_the_first t j Hj); reflexivity. }
  rewrite E; set (r' := match t with 0%nat => 0%nat | S t' => rank t' end); set (r := rank t).
  destruct (Nat.ltb_spec j r); destruct (Nat.ltb_spec j r'); cbn [Z.b2z];
    destruct (Nat.leb_spec (Nat.min r' r) j); destruct (Nat.ltb_spec j (Nat.min r' r + (Nat.max r' r - Nat.min r' r)));
    cbn [andb]; try lia.
Qed.

(** In ascending order, as the kernel sorts: the active are the last r(t), and the events are the places from
    p − max(r(t−1), r(t)) up to p − min(r(t−1), r(t)). *)
Lemma count_ascending (l : list nat) (x : Z) j : StronglySorted (fun u v => A u <= A v) l -> (j < length l)%nat ->
  (x <? A (nth j l 0%nat)) = (length l - length (filter (fun a => (x <? A a)%Z) l) <=? j)%nat.
Proof.
  intros Hs; revert j; induction Hs as [|u l Hs IH Hu]; intros j Hj; [simpl in Hj; lia|].
  rewrite Forall_forall in Hu; simpl filter; simpl length in *.
  assert (Hle : (length (filter (fun a => (x <? A a)%Z) l) <= length l)%nat) by (clear; induction l; simpl; [lia|destruct (_ <? _)]; simpl; lia).
  destruct (Z.ltb_spec x (A u)) as [H|H].
  - assert (E : filter (fun a => x <? A a) l = l).
    { clear - Hu H; induction l as [|v l IH]; [reflexivity|]; simpl.
      pose proof (Hu v (or_introl eq_refl)); destruct (Z.ltb_spec x (A v)); [|lia].
      f_equal; apply IH; intros z Hz; apply Hu; right; exact Hz. }
    rewrite E; simpl length; rewrite Nat.sub_diag; simpl Nat.leb.
    destruct j as [|j]; simpl nth; [destruct (Z.ltb_spec x (A u)); [reflexivity|lia]|].
    assert (Hi : In (nth j l 0%nat) l) by (apply nth_In; lia).
    pose proof (Hu _ Hi); destruct (Z.ltb_spec x (A (nth j l 0%nat))); [reflexivity|lia].
  - rewrite Nat.sub_succ_l by exact Hle; destruct j as [|j]; simpl nth; [destruct (Z.ltb_spec x (A u)); [lia|reflexivity]|].
    rewrite IH by lia; reflexivity.
Qed.

(** Any order that is sorted will do, whatever it makes of equal entries. *)
Definition ascending (σ : list nat) : Prop := Permutation σ (seq 0 p) /\ StronglySorted (fun u v => A u <= A v) σ.

Lemma argsort_ascending : ascending (argsort A p).
Proof. split; [apply argsort_permutation|apply argsort_sorted]. Qed.

Lemma rank_by_permutation σ t : Permutation σ (seq 0 p) -> rank t = length (filter (fun a => - B (nth t π 0%nat) <? A a) σ).
Proof.
  assert (F : forall (P : nat -> bool) l l', Permutation l l' -> length (filter P l) = length (filter P l')).
  { intros P l l' H; induction H as [|x l l' H IH|x y l|l l' l'' H IH H' IH']; simpl; try destruct (P x); try destruct (P y); simpl; try congruence; reflexivity. }
  intros H; unfold rank; apply F, Permutation_sym, H.
Qed.

Theorem active_are_the_last σ t j : ascending σ -> (j < p)%nat ->
  active (A (nth j σ 0%nat) + B (nth t π 0%nat)) = (p - rank t <=? j)%nat.
Proof.
  intros [HP HS] Hj; unfold active; rewrite (rank_by_permutation σ t HP).
  assert (HL : length σ = p) by (rewrite (Permutation_length HP); apply seq_length).
  replace (0 <? A (nth j σ 0%nat) + B (nth t π 0%nat)) with (- B (nth t π 0%nat) <? A (nth j σ 0%nat)).
  2: { destruct (Z.ltb_spec (- B (nth t π 0%nat)) (A (nth j σ 0%nat)));
       destruct (Z.ltb_spec 0 (A (nth j σ 0%nat) + B (nth t π 0%nat))); try reflexivity; lia. }
  rewrite (count_ascending _ (- B (nth t π 0%nat)) j HS) by (rewrite HL; exact Hj).
  rewrite HL; reflexivity.
Qed.

Lemma rank_le t : (rank t <= p)%nat.
Proof.
  unfold rank; rewrite <- (seq_length p 0) at 2; generalize (seq 0 p) as l.
  induction l as [|x l IH]; simpl; [lia|]; destruct (_ <? _); simpl; lia.
Qed.

Theorem events_by_ranks_ascending σ t j : ascending σ -> (j < p)%nat ->
  e_ t (nth j σ 0%nat) =
  if (p - Nat.max (rank_before t) (rank t) <=? j)%nat && (j <? p - Nat.min (rank_before t) (rank t))%nat then sign t else 0.
Proof.
  intros Hσ Hj; unfold e_, event, s_before, s, sign, rank_before.
  rewrite (active_are_the_last σ t j Hσ Hj); pose proof (rank_le t) as R.
  assert (E : match t with 0%nat => 0 | S t' => Z.b2z (active (A (nth j σ 0%nat) + B (nth t' π 0%nat))) end
    = Z.b2z (p - match t with 0%nat => 0 | S t' => rank t' end <=? j)%nat).
  { destruct t as [|t]; [destruct (Nat.leb_spec (p - 0) j); [lia|reflexivity]|]; rewrite (active_are_the_last σ t j Hσ Hj); reflexivity. }
  assert (R' : (match t with 0%nat => 0%nat | S t' => rank t' end <= p)%nat) by (destruct t; [lia|apply rank_le]).
  rewrite E; set (r' := match t with 0%nat => 0%nat | S t' => rank t' end) in *; set (r := rank t) in *.
  destruct (Nat.leb_spec (p - r) j); destruct (Nat.leb_spec (p - r') j); cbn [Z.b2z];
    destruct (Nat.leb_spec (p - Nat.max r' r) j); destruct (Nat.ltb_spec j (p - Nat.min r' r)); cbn [andb]; try lia.
Qed.

(** What the kernel makes of it: the list of events (t, a, sign), in the order of t. *)
Definition events_at (t : nat) : list (nat * Z) :=
  map (fun j => (nth j (descending A p) 0%nat, sign t)) (seq (from t) (how_many t)).
Definition events : list (nat * nat * Z) :=
  flat_map (fun t => map (fun x => (t, fst x, snd x)) (events_at t)) (seq 0 p).

(** How many events there are: the ranks' total variation. *)
Theorem events_count : Z.of_nat (length events) = Σ t ∈ seq 0 p, Z.abs (Z.of_nat (rank t) - Z.of_nat (rank_before t)).
Proof.
  unfold events; generalize (seq 0 p) as l; induction l as [|t l IH]; [reflexivity|].
  simpl flat_map; rewrite app_length, Nat2Z.inj_add, IH, zsum_cons; f_equal.
  unfold events_at, how_many, from; rewrite !map_length, seq_length; lia.
Qed.

(** Scattering any values over the listed events adds up what Lemma E asks for. *)
Theorem scatter t a (value : nat -> Z) : (a < p)%nat ->
  Σ x ∈ events_at t, (if Nat.eqb (fst x) a then snd x * value (fst x) else 0) = e_ t a * value a.
Proof.
  intros Ha; destruct (every_token_has_a_place (fun a => - A a) p a Ha) as [j [Hj Ej]]; fold (descending A p) in Ej.
  pose proof (events_by_ranks t j Hj) as Ee; rewrite Ej in Ee; rewrite Ee; clear Ee.
  unfold events_at; rewrite zsum_map; cbn [fst snd].
  assert (Nd : NoDup (descending A p)).
  { apply (Permutation_NoDup (Permutation_sym (argsort_permutation _ p))), seq_NoDup. }
  assert (Hlen : length (descending A p) = p) by apply argsort_length.
  assert (Hend : (from t + how_many t <= p)%nat).
  { unfold how_many, from, rank_before; pose proof (rank_le t); destruct t as [|t]; [|pose proof (rank_le t)]; lia. }
  rewrite (zsum_ext _ _ (fun i => if Nat.eqb i j then sign t * value a else 0)).
  2: { intros i Hi; apply in_seq in Hi.
       destruct (Nat.eqb_spec i j) as [->|Hne]; [rewrite Ej, Nat.eqb_refl; reflexivity|].
       destruct (Nat.eqb_spec (nth i (descending A p) 0%nat) a) as [E|_]; [|reflexivity].
       exfalso; apply Hne; rewrite <- Ej in E.
       apply (proj1 (NoDup_nth (descending A p) 0%nat) Nd); rewrite ?Hlen; auto; lia. }
  assert (P : forall m n, Σ i ∈ seq m n, (if Nat.eqb i j then sign t * value a else 0) =
                          if (m <=? j)%nat && (j <? m + n)%nat then sign t * value a else 0).
  { intros m n; revert m; induction n as [|n IH]; intros m.
    - unfold zsum; simpl; destruct (Nat.leb_spec m j); destruct (Nat.ltb_spec j (m + 0)); simpl; lia.
    - simpl seq; rewrite zsum_cons, IH.
      destruct (Nat.eqb_spec m j); destruct (Nat.leb_spec (S m) j); destruct (Nat.ltb_spec j (S m + n));
        destruct (Nat.leb_spec m j); destruct (Nat.ltb_spec j (m + S n)); cbn [andb]; lia. }
  rewrite P; destruct (_ && _); ring.
Qed.
End Ranks.

(** ** The whole computation: from tables and orders to S at an input, by events only. *)
Section Computed.
Context {I : Type}.
Variables (neurons : list I) (p : nat) (A B : I -> nat -> Z) (w : I -> Z).

(** D[t,a], scattered from the listed events of all neurons. *)
Definition scattered (A B : I -> nat -> Z) (π : list nat) (t a : nat) : Z :=
  Σ i ∈ neurons, Σ x ∈ events_at p (A i) (B i) π t, (if Nat.eqb (fst x) a then snd x * (w i * A i (fst x)) else 0).

Lemma scattered_is_D A' B' π t a : (a < p)%nat -> scattered A' B' π t a = D neurons A' B' w π t a.
Proof.
  intros Ha; unfold scattered, D; rewrite zsum_filter; apply zsum_ext; intros i _.
  rewrite (scatter p (A' i) (B' i) π t a (fun a => w i * A' i a) Ha).
  change (e_ (A' i) (B' i) π t a) with (event A' B' π i t a).
  destruct (Z.eqb_spec (event A' B' π i t a) 0) as [->|_]; cbn [negb]; ring.
Qed.

(** Where token b stands in an order. *)
Fixpoint place (b : nat) (l : list nat) : nat := match l with [] => 0%nat | x :: l' => if Nat.eqb x b then 0%nat else S (place b l') end.

Lemma place_spec b l : In b l -> nth (place b l) l 0%nat = b.
Proof.
  induction l as [|x l IH]; [intros []|]; simpl; intros H.
  destruct (Nat.eqb_spec x b) as [->|Hne]; [reflexivity|]; simpl; apply IH; destruct H; [contradiction|assumption].
Qed.

Definition event_sum (k : Z) (a b : nat) : Z :=
  let π := order k p in
  (Σ t ∈ seq 0 (S (place b π)), scattered A B π t a) + Σ t ∈ seq 0 (S (place a π)), scattered B A π t b.

Theorem lemma_E_computed k a b : (a < p)%nat -> (b < p)%nat ->
  event_sum k a b = Σ i ∈ neurons, (w i * relu (A i a + B i b)).
Proof.
  intros Ha Hb; unfold event_sum.
  assert (Hin : forall x, (x < p)%nat -> In x (order k p)).
  { intros x Hx; apply (Permutation_in _ (Permutation_sym (argsort_permutation _ p))), in_seq; lia. }
  rewrite (zsum_ext _ _ (fun t => D neurons A B w (order k p) t a)) by (intros; apply scattered_is_D, Ha).
  rewrite (zsum_ext (seq 0 (S (place a _))) _ (fun t => D neurons B A w (order k p) t b)) by (intros; apply scattered_is_D, Hb).
  symmetry; apply lemma_E; apply place_spec, Hin; assumption.
Qed.
End Computed.

(** Groups of neurons with an order each, as the kernel takes them. *)
Theorem lemma_E_all_groups {I} (groups : list (Z * list I)) p (A B : I -> nat -> Z) (w : I -> Z) a b :
  (a < p)%nat -> (b < p)%nat ->
  Σ g ∈ groups, event_sum (snd g) p A B w (fst g) a b = Σ i ∈ concat (map snd groups), (w i * relu (A i a + B i b)).
Proof.
  intros Ha Hb; induction groups as [|g groups IH]; [reflexivity|].
  rewrite zsum_cons, IH; simpl concat; rewrite zsum_app; f_equal; apply lemma_E_computed; assumption.
Qed.
