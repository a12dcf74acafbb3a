(** Verified checker, folding: from matrices of integers to the circuit's tables, in the units of Network.v. *)
From Coq Require Import ZArith List Bool Lia.
From Formal Require Import IntegerSums Relu Matrix Network Exhaustive.
Import ListNotations.
Open Scope Z_scope.

(** The twelve tensors: embed.W_E, pos_embed.W_pos, W_V and W_O (heads one after the other), b_V (one row), b_O (one row), … *)
Record weights := {
  w_E : list (list Z); w_pos : list (list Z); w_V : list (list Z); w_O : list (list Z); w_bV : list (list Z); w_bO : list (list Z);
  w_in : list (list Z); w_bin : list (list Z); w_out : list (list Z); w_bout : list (list Z); w_U : list (list Z); w_bU : list (list Z) }.

Section Fold.
Variables (places : list place) (p q v d H K n : nat) (σ D : Z) (ws : list Z) (m : weights).
Notation T := (length places).
Hypothesis K_pos : (0 < K)%nat.
Hypothesis sizes :
  is_matrix (w_E m) v d (entry (w_E m)) /\ is_matrix (w_pos m) T d (entry (w_pos m)) /\
  is_matrix (w_V m) (H * d) K (entry (w_V m)) /\ is_matrix (w_O m) (H * K) d (entry (w_O m)) /\
  is_matrix (w_bV m) 1 (H * K) (entry (w_bV m)) /\ is_matrix (w_bO m) 1 d (entry (w_bO m)) /\
  is_matrix (w_in m) d n (entry (w_in m)) /\ is_matrix (w_bin m) 1 n (entry (w_bin m)) /\
  is_matrix (w_out m) n d (entry (w_out m)) /\ is_matrix (w_bout m) 1 d (entry (w_bout m)) /\
  is_matrix (w_U m) d q (entry (w_U m)) /\ is_matrix (w_bU m) 1 q (entry (w_bU m)).
Hypothesis in_vocabulary : forall t a b, (t < T)%nat -> (a < p)%nat -> (b < p)%nat -> (token (at_ places t) a b < v)%nat.
Hypothesis p_pos : (0 < p)%nat.

(** The tensors as Network.v has them. *)
Definition eE := entry (w_E m).  Definition epos := entry (w_pos m).
Definition eV h i k := entry (w_V m) (h * d + i) k.  Definition eO h k j := entry (w_O m) (h * K + k) j.
Definition ebV h k := entry (w_bV m) 0 (h * K + k).  Definition ebO := entry (w_bO m) 0.
Definition ein := entry (w_in m).  Definition ebin := entry (w_bin m) 0.
Definition eout := entry (w_out m).  Definition ebout := entry (w_bout m) 0.
Definition eU := entry (w_U m).  Definition ebU := entry (w_bU m) 0.
Definition w_ (t : nat) : Z := nth t ws 0.

(** The heads side by side. *)
Lemma heads (F : nat -> nat -> Z) : Σ x ∈ seq 0 (H * K), F (x / K)%nat (x mod K)%nat = Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, F h k.
Proof.
  clear sizes; induction H as [|h IH]; [reflexivity|].
  rewrite zsum_seq_S, <- IH; simpl Nat.mul; rewrite Nat.add_comm, seq_app, zsum_app; f_equal.
  rewrite Nat.add_0_l.
  assert (G : forall c s, (c <= K)%nat -> s = (h * K)%nat -> Σ x ∈ seq s c, F (x / K)%nat (x mod K)%nat = Σ k ∈ seq 0 c, F h k).
  { intros c s Hc ->; induction c as [|c IHc]; [reflexivity|].
    rewrite zsum_seq_S, seq_S, zsum_app, IHc by lia; unfold zsum at 2; simpl map; simpl fold_right.
    rewrite Nat.div_add_l, Nat.div_small, Nat.add_0_r, Nat.add_comm, Nat.mod_add, Nat.mod_small by lia; ring. }
  apply G; lia.
Qed.

Definition heads_V : list (list Z) := rows_of d (fun i => map (fun x => entry (w_V m) (x / K * d + i) (x mod K)) (seq 0 (H * K))).
Definition OV_matrix : list (list Z) := mul heads_V (w_O m) d.
Definition oV_row : list Z := combine (row (w_bV m) 0) (w_O m) (zeros d).

Lemma heads_V_spec : is_matrix heads_V d (H * K) (fun i x => eV (x / K) i (x mod K)).
Proof.
  apply rows_of_spec; intros i Hi; split; [rewrite map_length, seq_length; reflexivity|]; intros j Hj.
  rewrite nth_map_seq by exact Hj; reflexivity.
Qed.

Lemma OV_spec : is_matrix OV_matrix d d (OV H K eV eO).
Proof.
  destruct sizes as (_ & _ & _ & HO & _).
  eapply is_matrix_ext; [|exact (mul_spec _ _ _ _ _ _ _ heads_V_spec HO)].
  intros i j Hi Hj; cbv beta; unfold OV; rewrite <- (heads (fun h k => eV h i k * eO h k j)).
  apply zsum_ext; intros x _; f_equal; unfold eO; f_equal; rewrite Nat.mul_comm; symmetry; rewrite (Nat.div_mod x K) at 3 by lia; reflexivity.
Qed.

Lemma oV_spec : is_row oV_row d (oV H K eO ebV).
Proof.
  destruct sizes as (_ & _ & _ & HO & HbV & _); destruct HbV as [_ HbV].
  eapply is_row_ext; [|exact (combine_spec _ _ _ _ _ _ _ _ (HbV 0%nat ltac:(lia)) HO (zeros_spec d))].
  intros j Hj; cbv beta; unfold oV; rewrite <- (heads (fun h k => ebV h k * eO h k j)), Z.add_0_l.
  apply zsum_ext; intros x _; unfold ebV, eO; rewrite (Nat.div_mod x K) at 1 2 by lia; rewrite (Nat.mul_comm K); reflexivity.
Qed.

(** What position t adds to the residual stream, for the row x that it holds. *)
Definition part_row (OVm : list (list Z)) (oVr : list Z) (t : nat) (x : list Z) : list Z :=
  let r := times (w_ t) (plus (combine x OVm (zeros d)) (times σ oVr)) in
  if Nat.eqb t (T - 1) then plus r (times (D * σ ^ 2) x) else r.
Definition held (t a b : nat) : list Z := plus (row (w_E m) (token (at_ places t) a b)) (row (w_pos m) t).

Lemma held_spec t a b : (t < T)%nat -> (a < p)%nat -> (b < p)%nat -> is_row (held t a b) d (zembedded places eE epos a b t).
Proof.
  intros Ht Ha Hb; destruct sizes as ([_ HE] & [_ HP] & _); unfold held, row.
  apply (plus_spec _ _ _ _ _ (HE _ (in_vocabulary t a b Ht Ha Hb)) (HP t Ht)).
Qed.

Lemma part_spec t x f : is_row x d f -> is_row (part_row OV_matrix oV_row t x) d (part places d H K σ D w_ eV eO ebV t f).
Proof.
  intros Hx; unfold part_row, part; cbv zeta.
  assert (R : is_row (times (w_ t) (plus (combine x OV_matrix (zeros d)) (times σ oV_row))) d
    (fun j => w_ t * ((Σ i ∈ seq 0 d, (f i * OV H K eV eO i j)) + σ * oV H K eO ebV j))).
  { apply times_spec; eapply is_row_ext; [|exact (plus_spec _ _ _ _ _ (combine_spec _ _ _ _ _ _ _ _ Hx OV_spec (zeros_spec d)) (times_spec σ _ _ _ oV_spec))].
    intros j _; cbv beta; ring. }
  destruct (Nat.eqb t (T - 1)).
  - exact (plus_spec _ _ _ _ _ R (times_spec _ _ _ _ Hx)).
  - eapply is_row_ext; [|exact R]; intros j _; cbv beta; ring.
Qed.

Lemma gather_spec (l : list nat) (F : nat -> list Z) z f g : (forall t, In t l -> is_row (F t) d (f t)) -> is_row z d g ->
  is_row (fold_right (fun t acc => plus (F t) acc) z l) d (fun j => (Σ t ∈ l, f t j) + g j).
Proof.
  induction l as [|t l IH]; intros HF Hz; [eapply is_row_ext; [|exact Hz]; intros j _; unfold zsum; simpl; ring|].
  simpl fold_right; eapply is_row_ext; [|exact (plus_spec _ _ _ _ _ (HF t (or_introl eq_refl)) (IH (fun u Hu => HF u (or_intror Hu)) Hz))].
  intros j _; cbv beta; rewrite zsum_cons; ring.
Qed.

Notation holds_a := (holds_a places).
Definition middle_a_row OVm oVr (a : nat) : list Z :=
  fold_right (fun t acc => plus (part_row OVm oVr t (held t a 0)) acc) (zeros d) (filter holds_a (seq 0 T)).
Definition middle_b_row OVm oVr (b : nat) : list Z :=
  fold_right (fun t acc => plus (part_row OVm oVr t (held t 0 b)) acc) (times (D * σ ^ 2) (row (w_bO m) 0)) (filter (fun t => negb (holds_a t)) (seq 0 T)).

Notation middle_a := (middle_a places d H K σ D w_ eE epos eV eO ebV).
Notation middle_b := (middle_b places d H K σ D w_ eE epos eV eO ebV ebO).

Lemma middle_a_spec a : (a < p)%nat -> is_row (middle_a_row OV_matrix oV_row a) d (middle_a a).
Proof.
  intros Ha; unfold middle_a_row; eapply is_row_ext; [|apply (gather_spec _ _ _ (fun t => part places d H K σ D w_ eV eO ebV t (zembedded places eE epos a 0 t)) (fun _ => 0))].
  - intros j _; cbv beta; unfold Network.middle_a; ring.
  - intros t Ht; apply filter_In in Ht; destruct Ht as [Ht _]; apply in_seq in Ht; apply part_spec, held_spec; lia.
  - apply zeros_spec.
Qed.

Lemma middle_b_spec b : (b < p)%nat -> is_row (middle_b_row OV_matrix oV_row b) d (middle_b b).
Proof.
  intros Hb; unfold middle_b_row; eapply is_row_ext; [|apply (gather_spec _ _ _ (fun t => part places d H K σ D w_ eV eO ebV t (zembedded places eE epos 0 b t)) (fun j => D * σ ^ 2 * ebO j))].
  - intros j _; cbv beta; unfold Network.middle_b; ring.
  - intros t Ht; apply filter_In in Ht; destruct Ht as [Ht _]; apply in_seq in Ht; apply part_spec, held_spec; lia.
  - destruct sizes as (_ & _ & _ & _ & _ & [_ HbO] & _); apply times_spec; apply (HbO 0%nat); lia.
Qed.

(** The tables. *)
Definition folded : tables :=
  let OVm := OV_matrix in let oVr := oV_row in
  let ma := rows_of p (middle_a_row OVm oVr) in
  let mb := rows_of p (middle_b_row OVm oVr) in
  {| tA := mul ma (w_in m) n;
     tB := let bias := times (D * σ ^ 3) (row (w_bin m) 0) in map (fun r => plus (combine r (w_in m) (zeros n)) bias) mb;
     tW := transposed (mul (w_out m) (w_U m) q) q;
     tS1 := map (times (σ ^ 2)) (mul ma (w_U m) q);
     tS2 := let before := times (D * σ ^ 2) (row (w_bout m) 0) in let bias := times (D * σ ^ 5) (row (w_bU m) 0) in
            map (fun r => plus (times (σ ^ 2) (combine (plus r before) (w_U m) (zeros q))) bias) mb |}.

Lemma itself M r c f : is_matrix M r c f -> is_matrix M r c (entry M) /\ forall i j, (i < r)%nat -> (j < c)%nat -> entry M i j = f i j.
Proof.
  intros HM; split.
  - eapply is_matrix_ext; [|exact HM]; intros i j Hi Hj; symmetry; apply (is_matrix_entry _ _ _ _ _ _ HM Hi Hj).
  - intros i j Hi Hj; apply (is_matrix_entry _ _ _ _ _ _ HM Hi Hj).
Qed.

Theorem folded_spec : (0 < T)%nat -> well_sized p q n folded /\
  forall a b c, (a < p)%nat -> (b < p)%nat -> (c < q)%nat ->
  table_logit n folded a b c = zlogit places d H K n σ D w_ eE epos eV eO ebV ebO ein ebin eout ebout eU ebU a b c.
Proof.
  intros HT; pose proof sizes as (_ & _ & _ & _ & _ & _ & Hin & [_ Hbin] & Hout & [_ Hbout] & HU & [_ HbU]).
  assert (MA : is_matrix (rows_of p (middle_a_row OV_matrix oV_row)) p d middle_a) by (apply rows_of_spec, middle_a_spec).
  assert (MB : is_matrix (rows_of p (middle_b_row OV_matrix oV_row)) p d middle_b) by (apply rows_of_spec, middle_b_spec).
  assert (HA : is_matrix (tA folded) p n (fA places d H K σ D w_ eE epos eV eO ebV ein)) by exact (mul_spec _ _ _ _ _ _ _ MA Hin).
  assert (HB : is_matrix (tB folded) p n (fB places d H K σ D w_ eE epos eV eO ebV ebO ein ebin)).
  { unfold folded, tB; cbv zeta; eapply map_matrix; [exact MB|]; intros l i Hi Hl; cbv beta.
    eapply is_row_ext; [|exact (plus_spec _ _ _ _ _ (combine_spec _ _ _ _ _ _ _ _ Hl Hin (zeros_spec n)) (times_spec (D * σ ^ 3) _ _ _ (Hbin 0%nat ltac:(lia))))].
    intros j _; cbv beta; unfold fB, ein, ebin; ring. }
  assert (HW : is_matrix (tW folded) q n (fun c i => fW d eout eU i c)).
  { exact (transposed_spec _ _ _ _ (mul_spec _ _ _ _ _ _ _ Hout HU)). }
  assert (H1 : is_matrix (tS1 folded) p q (fS1 places d H K σ D w_ eE epos eV eO ebV eU)).
  { unfold folded, tS1; cbv zeta; eapply map_matrix; [exact (mul_spec _ _ _ _ _ _ _ MA HU)|]; intros l i Hi Hl; cbv beta.
    exact (times_spec _ _ _ _ Hl). }
  assert (H2 : is_matrix (tS2 folded) p q (fS2 places d H K σ D w_ eE epos eV eO ebV ebO ebout eU ebU)).
  { unfold folded, tS2; cbv zeta; eapply map_matrix; [exact MB|]; intros l i Hi Hl; cbv beta.
    eapply is_row_ext; [|exact (plus_spec _ _ _ _ _ (times_spec (σ ^ 2) _ _ _ (combine_spec _ _ _ _ _ _ _ _
      (plus_spec _ _ _ _ _ Hl (times_spec (D * σ ^ 2) _ _ _ (Hbout 0%nat ltac:(lia)))) HU (zeros_spec q)))
      (times_spec (D * σ ^ 5) _ _ _ (HbU 0%nat ltac:(lia))))].
    intros j _; cbv beta; unfold fS2, ebout, eU, ebU; ring. }
  destruct (itself _ _ _ _ HA) as [SA EA]; destruct (itself _ _ _ _ HB) as [SB EB]; destruct (itself _ _ _ _ HW) as [SW EW].
  destruct (itself _ _ _ _ H1) as [SS1 E1]; destruct (itself _ _ _ _ H2) as [SS2 E2].
  split; [exact (conj SA (conj SB (conj SW (conj SS1 SS2))))|].
  intros a b c Ha Hb Hc; rewrite folding by exact HT; unfold table_logit; rewrite E1, E2 by assumption.
  rewrite Z.add_assoc; f_equal; f_equal; apply zsum_ext; intros i Hi; apply in_seq in Hi; rewrite EA, EB, EW by lia; reflexivity.
Qed.
End Fold.
