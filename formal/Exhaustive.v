(** Verified checker, evaluating: all logits of all inputs of a circuit of integers. Fixed point with Lemma K's κ_d first, and
    exactly where that does not decide: the verdict is the truth, both ways. *)
From Coq Require Import Reals ZArith List Bool Lia Lra.
From Formal Require Import Sums IntegerSums Relu Matrix Circuit.
Import ListNotations.
Open Scope Z_scope.

(** Tables of a circuit: rows by token, or by output. *)
Record tables := {
  tA : list (list Z); tB : list (list Z);    (* [a][i], [b][i] *)
  tW : list (list Z);                        (* [c][i] *)
  tS1 : list (list Z); tS2 : list (list Z)   (* [a][c], [b][c] *) }.

Section Tables.
Variables p q n : nat.

Definition table_logit (t : tables) (a b c : nat) : Z :=
  (Σ i ∈ seq 0 n, (entry (tW t) c i * relu (entry (tA t) a i + entry (tB t) b i))) + (entry (tS1 t) a c + entry (tS2 t) b c).

Definition well_sized (t : tables) : Prop :=
  is_matrix (tA t) p n (entry (tA t)) /\ is_matrix (tB t) p n (entry (tB t)) /\ is_matrix (tW t) q n (entry (tW t)) /\
  is_matrix (tS1 t) p q (entry (tS1 t)) /\ is_matrix (tS2 t) p q (entry (tS2 t)).

(** ** Evaluation *)
Fixpoint hidden_row (u v : list Z) : list Z :=
  match u, v with x :: u', y :: v' => (let s := x + y in if s <=? 0 then 0 else s) :: hidden_row u' v' | _, _ => [] end.
Fixpoint dot (acc : Z) (u v : list Z) : Z := match u, v with x :: u', y :: v' => dot (acc + x * y) u' v' | _, _ => acc end.
Fixpoint logit_row (h : list Z) (W : list (list Z)) (s1 s2 : list Z) : list Z :=
  match W, s1, s2 with r :: W', x :: s1', y :: s2' => dot (x + y) r h :: logit_row h W' s1' s2' | _, _, _ => [] end.
Definition row (M : list (list Z)) (i : nat) : list Z := nth i M [].
Definition logit_list (t : tables) (a b : nat) : list Z :=
  logit_row (hidden_row (row (tA t) a) (row (tB t) b)) (tW t) (row (tS1 t) a) (row (tS2 t) b).

Lemma hidden_row_spec u v c f g : is_row u c f -> is_row v c g -> is_row (hidden_row u v) c (fun i => relu (f i + g i)).
Proof.
  revert v c f g; induction u as [|x u IH]; intros v c f g Hu Hv; destruct c as [|c].
  - apply is_row_nil; reflexivity.
  - destruct Hu as [H _]; discriminate.
  - apply is_row_nil in Hu; discriminate.
  - destruct v as [|y v]; [destruct Hv as [H _]; discriminate|]; apply is_row_cons in Hu, Hv; destruct Hu as [-> Hu], Hv as [-> Hv].
    cbn [hidden_row]; cbv zeta; apply is_row_cons; split; [unfold relu; destruct (Z.leb_spec (f 0%nat + g 0%nat) 0); lia|apply IH; assumption].
Qed.

Lemma dot_spec acc u v c f g : is_row u c f -> is_row v c g -> dot acc u v = acc + Σ i ∈ seq 0 c, (f i * g i).
Proof.
  revert acc v c f g; induction u as [|x u IH]; intros acc v c f g Hu Hv; destruct c as [|c].
  - unfold zsum; simpl; ring.
  - destruct Hu as [H _]; discriminate.
  - apply is_row_nil in Hu; discriminate.
  - destruct v as [|y v]; [destruct Hv as [H _]; discriminate|]; apply is_row_cons in Hu, Hv; destruct Hu as [-> Hu], Hv as [-> Hv].
    cbn [dot]; rewrite (IH _ v c (fun i => f (S i)) (fun i => g (S i)) Hu Hv), zsum_seq_first; ring.
Qed.

Lemma logit_row_spec hd W s1 s2 m k h w f g : is_row hd k h -> is_matrix W m k w -> is_row s1 m f -> is_row s2 m g ->
  is_row (logit_row hd W s1 s2) m (fun c => f c + g c + Σ i ∈ seq 0 k, (w c i * h i)).
Proof.
  intros Hh; revert s1 s2 m w f g; induction W as [|r W IH]; intros s1 s2 m w f g [HW1 HW2] H1 H2.
  - simpl in HW1; subst m; apply is_row_nil; reflexivity.
  - destruct m as [|m]; [discriminate|].
    destruct s1 as [|x s1]; [destruct H1 as [H _]; discriminate|]; destruct s2 as [|y s2]; [destruct H2 as [H _]; discriminate|].
    apply is_row_cons in H1, H2; destruct H1 as [-> H1], H2 as [-> H2].
    cbn [logit_row]; apply is_row_cons; split.
    + apply dot_spec; [apply (HW2 0%nat); lia|exact Hh].
    + apply (IH s1 s2 m (fun c => w (S c)) (fun c => f (S c)) (fun c => g (S c))); [|exact H1|exact H2].
      split; [simpl in HW1; lia|]; intros i Hi; apply (HW2 (S i)); lia.
Qed.

Lemma logit_list_spec t a b : well_sized t -> (a < p)%nat -> (b < p)%nat -> is_row (logit_list t a b) q (table_logit t a b).
Proof.
  intros [[_ HA] [[_ HB] [HW [[_ H1] [_ H2]]]]] Ha Hb.
  eapply is_row_ext; [|apply (logit_row_spec _ _ _ _ q n (fun i => relu (entry (tA t) a i + entry (tB t) b i)) (entry (tW t)) (entry (tS1 t) a) (entry (tS2 t) b))].
  - intros c _; cbv beta; unfold table_logit; ring.
  - apply hidden_row_spec; [apply HA, Ha|apply HB, Hb].
  - exact HW.
  - apply H1, Ha.
  - apply H2, Hb.
Qed.

(** Every entry but the one at [place] is below [bound]. *)
Fixpoint others_below (bound : Z) (place : nat) (l : list Z) : bool :=
  match l, place with
  | [], _ => true
  | _ :: l', O => forallb (fun x => x <? bound) l'
  | x :: l', S place' => (x <? bound) && others_below bound place' l'
  end.

Lemma others_below_spec bound place l : others_below bound place l = true <->
  forall c, (c < length l)%nat -> c <> place -> nth c l 0 < bound.
Proof.
  revert place; induction l as [|x l IH]; intros place; [split; [intros _ c Hc; simpl in Hc; lia|intros _; destruct place; reflexivity]|].
  destruct place as [|place]; simpl others_below.
  - rewrite forallb_forall; split.
    + intros H [|c] Hc Hne; [congruence|]; simpl in *; apply Z.ltb_lt, H, nth_In; lia.
    + intros H z Hz; destruct (In_nth _ _ 0 Hz) as [c [Hc <-]]; apply Z.ltb_lt, (H (S c)); simpl; lia.
  - rewrite andb_true_iff, IH, Z.ltb_lt; split.
    + intros [Hx H] [|c] Hc Hne; [exact Hx|]; simpl in *; apply H; lia.
    + intros H; split; [apply (H 0%nat); simpl; lia|]; intros c Hc Hne; apply (H (S c)); simpl; lia.
Qed.

Definition target (a b : nat) : nat := Nat.modulo (a + b) p.
Definition answers (t : tables) (needed : Z) (a b : nat) : bool :=
  let out := logit_list t a b in others_below (nth (target a b) out 0 - needed) (target a b) out.

Lemma answers_spec t needed a b : well_sized t -> (0 < p <= q)%nat -> (a < p)%nat -> (b < p)%nat ->
  answers t needed a b = true <->
  forall c, (c < q)%nat -> c <> target a b -> table_logit t a b (target a b) - table_logit t a b c > needed.
Proof.
  intros Ht Hpq Ha Hb; unfold answers; cbv zeta; rewrite others_below_spec.
  destruct (logit_list_spec t a b Ht Ha Hb) as [HL HV]; rewrite HL.
  assert (Hg : (target a b < q)%nat) by (unfold target; pose proof (Nat.mod_upper_bound (a + b) p ltac:(lia)); lia).
  rewrite (HV _ Hg); split; intros H c Hc Hne; specialize (H c Hc Hne); [rewrite (HV _ Hc) in H|rewrite (HV _ Hc)]; lia.
Qed.

(** ** Fixed point *)
Definition floored (dA dW : Z) (t : tables) : tables :=
  let by_ d := map (map (fun x => x / d)) in
  {| tA := by_ dA (tA t); tB := by_ dA (tB t); tW := by_ dW (tW t); tS1 := by_ (dA * dW) (tS1 t); tS2 := by_ (dA * dW) (tS2 t) |}.

Lemma floor_matrix d M r c : is_matrix M r c (entry M) ->
  is_matrix (map (map (fun x => x / d)) M) r c (entry (map (map (fun x => x / d)) M)) /\
  forall i j, (i < r)%nat -> (j < c)%nat -> entry (map (map (fun x => x / d)) M) i j = entry M i j / d.
Proof.
  intros HM.
  assert (H : is_matrix (map (map (fun x => x / d)) M) r c (fun i j => entry M i j / d)).
  { eapply map_matrix; [exact HM|]; intros l i Hi [H1 H2]; split; [rewrite map_length; exact H1|]; intros j Hj.
    rewrite (nth_indep _ 0 ((fun x => x / d) 0)) by (rewrite map_length; lia); rewrite (map_nth (fun x => x / d)), H2 by exact Hj; reflexivity. }
  split.
  - eapply is_matrix_ext; [|exact H]; intros i j Hi Hj; symmetry; apply (is_matrix_entry _ _ _ _ _ _ H Hi Hj).
  - intros i j Hi Hj; apply (is_matrix_entry _ _ _ _ _ _ H Hi Hj).
Qed.

(** The largest and least of each column. *)
Fixpoint meet (f : Z -> Z -> Z) (u v : list Z) : list Z := match u, v with x :: u', y :: v' => f x y :: meet f u' v' | _, _ => [] end.
Definition columns_of (f : Z -> Z -> Z) (M : list (list Z)) : list Z := match M with [] => [] | r :: M' => fold_right (meet f) r M' end.

Lemma meet_nth f u v i : (i < length u)%nat -> (i < length v)%nat -> nth i (meet f u v) 0 = f (nth i u 0) (nth i v 0).
Proof. revert v i; induction u as [|x u IH]; intros [|y v] [|i] Hu Hv; simpl in *; try lia; try reflexivity; apply IH; lia. Qed.
Lemma meet_length f u v k : length u = k -> length v = k -> length (meet f u v) = k.
Proof. revert v k; induction u as [|x u IH]; intros [|y v] [|k] Hu Hv; simpl in *; try lia; f_equal; apply IH; lia. Qed.

Lemma columns_bound f M r c (Rel : Z -> Z -> Prop) : (forall x y, Rel x (f x y)) -> (forall x y, Rel y (f x y)) -> (forall x, Rel x x) ->
  (forall x y z, Rel x y -> Rel y z -> Rel x z) -> is_matrix M r c (entry M) ->
  forall i j, (i < r)%nat -> (j < c)%nat -> Rel (entry M i j) (nth j (columns_of f M) 0).
Proof.
  intros R1 R2 R0 R3 [HL HR].
  destruct M as [|x M]; [intros; simpl in HL; lia|].
  assert (HX : length x = c) by (apply (HR 0%nat); simpl in HL; lia).
  assert (HM : forall l, In l M -> length l = c).
  { intros l Hl; destruct (In_nth _ _ [] Hl) as [k [Hk <-]]; apply (HR (S k)); simpl in HL; lia. }
  assert (Main : length (fold_right (meet f) x M) = c /\ forall j, (j < c)%nat ->
     Rel (nth j x 0) (nth j (fold_right (meet f) x M) 0) /\ forall l, In l M -> Rel (nth j l 0) (nth j (fold_right (meet f) x M) 0)).
  { clear HL HR; induction M as [|l M IH]; [split; [exact HX|]; intros j Hj; split; [apply R0|intros l []]|].
    destruct IH as [I1 I2]; [intros l' Hl; apply HM; right; exact Hl|].
    assert (Hl : length l = c) by (apply HM; left; reflexivity).
    simpl fold_right; split; [apply meet_length; assumption|]; intros j Hj; destruct (I2 j Hj) as [J1 J2].
    rewrite meet_nth by lia; split.
    - eapply R3; [exact J1|apply R2].
    - intros l' [<-|Hl']; [apply R1|eapply R3; [apply J2, Hl'|apply R2]]. }
  destruct Main as [_ Main]; intros [|i] j Hi Hj; destruct (Main j Hj) as [M1 M2].
  - exact M1.
  - apply M2; unfold entry; simpl nth; apply nth_In; simpl in HL; lia.
Qed.

Definition highest := columns_of Z.max.
Definition lowest := columns_of Z.min.

(** κ_d of Lemma K, in units of dA·dW, for rounding down: Σ_i 2·(range_i + 2) + 2·h_i, and 4 for the skips. *)
Fixpoint kappa (hA hB hW lW : list Z) : Z :=
  match hA, hB, hW, lW with
  | x :: hA', y :: hB', u :: hW', v :: lW' => 2 * (u - v + 2) + 2 * relu (x + y) + kappa hA' hB' hW' lW'
  | _, _, _, _ => 4
  end.
Definition kappa_of (t : tables) : Z := kappa (highest (tA t)) (highest (tB t)) (highest (tW t)) (lowest (tW t)).

Lemma kappa_spec hA hB hW lW k : length hA = k -> length hB = k -> length hW = k -> length lW = k ->
  kappa hA hB hW lW = (Σ i ∈ seq 0 k, (2 * (nth i hW 0 - nth i lW 0 + 2) + 2 * relu (nth i hA 0 + nth i hB 0))) + 4.
Proof.
  revert hB hW lW k; induction hA as [|x hA IH]; intros [|y hB] [|u hW] [|v lW] [|k] H1 H2 H3 H4; simpl in *; try lia; try (unfold zsum; simpl; ring).
  rewrite (IH hB hW lW k) by lia.
  change (0%nat :: seq 1 k) with (seq 0 (S k)); rewrite zsum_seq_first; cbn [nth]; ring.
Qed.

Lemma columns_length f M r c : (0 < r)%nat -> is_matrix M r c (entry M) -> length (columns_of f M) = c.
Proof.
  intros Hr [HL HR]; destruct M as [|x M]; [simpl in HL; lia|]; simpl columns_of.
  assert (HX : length x = c) by (apply (HR 0%nat); lia).
  assert (HM : forall l, In l M -> length l = c).
  { intros l Hl; destruct (In_nth _ _ [] Hl) as [k [Hk <-]]; apply (HR (S k)); simpl in HL; lia. }
  clear HL HR; induction M as [|l M IH]; [exact HX|]; simpl; apply meet_length; [apply HM; left; reflexivity|apply IH; intros; apply HM; right; assumption].
Qed.

Open Scope R_scope.
Theorem fixed_point_difference dA dW t a b c c' : (0 < dA)%Z -> (0 < dW)%Z -> well_sized t -> (0 < p)%nat ->
  (a < p)%nat -> (b < p)%nat -> (c < q)%nat -> (c' < q)%nat ->
  let f := floored dA dW t in
  Rabs (IZR (table_logit t a b c - table_logit t a b c') - IZR (dA * dW) * IZR (table_logit f a b c - table_logit f a b c'))
  <= IZR (dA * dW) * IZR (kappa_of f).
Proof.
  intros HdA HdW [WA [WB [WW [W1 W2]]]] Hp Ha Hb Hc Hc' f.
  assert (HdS : (0 < dA * dW)%Z) by nia.
  destruct (floor_matrix dA (tA t) p n WA) as [FA EA]; destruct (floor_matrix dA (tB t) p n WB) as [FB EB].
  destruct (floor_matrix dW (tW t) q n WW) as [FW EW].
  destruct (floor_matrix (dA * dW) (tS1 t) p q W1) as [F1 E1]; destruct (floor_matrix (dA * dW) (tS2 t) p q W2) as [F2 E2].
  fold (tA f) in FA, EA; fold (tB f) in FB, EB; fold (tW f) in FW, EW; fold (tS1 f) in F1, E1; fold (tS2 f) in F2, E2.
  set (uA := IZR dA); set (uW := IZR dW).
  assert (uA0 : 0 < uA) by (apply IZR_lt; exact HdA); assert (uW0 : 0 < uW) by (apply IZR_lt; exact HdW).
  assert (Floor : forall d x, (0 < d)%Z -> IZR d * IZR (x / d) <= IZR x < IZR d * IZR (x / d) + IZR d).
  { intros d x Hd; pose proof (Z.div_mod x d ltac:(lia)) as E; pose proof (Z.mod_pos_bound x d Hd) as [M1 M2].
    apply (f_equal IZR) in E; rewrite plus_IZR, mult_IZR in E; apply IZR_le in M1; apply IZR_lt in M2; lra. }
  assert (FloorA : forall x, uA * IZR (x / dA) <= IZR x < uA * IZR (x / dA) + uA) by (intros; apply Floor, HdA).
  assert (FloorW : forall x, uW * IZR (x / dW) <= IZR x < uW * IZR (x / dW) + uW) by (intros; apply Floor, HdW).
  assert (FloorS : forall x, uA * uW * IZR (x / (dA * dW)) <= IZR x < uA * uW * IZR (x / (dA * dW)) + uA * uW).
  { intros x; pose proof (Floor (dA * dW)%Z x HdS) as H; rewrite !mult_IZR in H; exact H. }
  set (y := fun i => uA * IZR (entry (tA f) a i + entry (tB f) b i)); set (y' := fun i => IZR (entry (tA t) a i + entry (tB t) b i)).
  set (W := fun i c => uW * IZR (entry (tW f) c i)); set (W' := fun i c => IZR (entry (tW t) c i)).
  set (k := fun c => uA * uW * IZR (entry (tS1 f) a c + entry (tS2 f) b c)); set (k' := fun c => IZR (entry (tS1 t) a c + entry (tS2 t) b c)).
  assert (L' : forall c, IZR (table_logit t a b c) = logit_at (seq 0 n) y' W' k' c).
  { intros c0; unfold table_logit, logit_at, y', W', k'; rewrite plus_IZR, IZR_zsum; f_equal; apply sum_ext; intros i _; rewrite mult_IZR, relu_spec; reflexivity. }
  assert (L : forall c, IZR (dA * dW) * IZR (table_logit f a b c) = logit_at (seq 0 n) y W k c).
  { intros c0; unfold table_logit, logit_at, y, W, k; rewrite plus_IZR, IZR_zsum, mult_IZR, Rmult_plus_distr_l; fold uA uW; f_equal.
    rewrite <- sum_mul_l; apply sum_ext; intros i _; rewrite mult_IZR, relu_spec.
    replace (pos (uA * IZR (entry (tA f) a i + entry (tB f) b i))) with (uA * pos (IZR (entry (tA f) a i + entry (tB f) b i))); [ring|].
    unfold pos, Rmax; destruct (Rle_dec (uA * IZR (entry (tA f) a i + entry (tB f) b i)) 0); destruct (Rle_dec (IZR (entry (tA f) a i + entry (tB f) b i)) 0); nra. }
  pose proof (lemma_K_difference (seq 0 n) y y' W W' k k' q
    uA uW (2 * uA * uW) (fun _ => 0) 0 (fun i => uA * IZR (relu (nth i (highest (tA f)) 0%Z + nth i (highest (tB f)) 0%Z)))) as HK.
  specialize (HK ltac:(
    intros i Hi; apply in_seq in Hi; unfold y, y';
    pose proof (FloorA (entry (tA t) a i)); pose proof (FloorA (entry (tB t) b i));
    rewrite !plus_IZR, EA, EB by lia; apply Rabs_le; lra)).
  specialize (HK ltac:(
    intros i c0 Hi Hc0; apply in_seq in Hi; unfold W, W';
    pose proof (FloorW (entry (tW t) c0 i)); rewrite EW by (assumption || lia); apply Rabs_le; lra)).
  specialize (HK ltac:(
    intros c0 Hc0; unfold k, k';
    pose proof (FloorS (entry (tS1 t) a c0)) as P1; pose proof (FloorS (entry (tS2 t) b c0)) as P2;
    rewrite !plus_IZR, E1, E2 by (assumption || lia); apply Rabs_le; lra)).
  specialize (HK ltac:(
    intros i Hi; apply in_seq in Hi; unfold y;
    replace (pos (uA * IZR (entry (tA f) a i + entry (tB f) b i))) with (uA * IZR (relu (entry (tA f) a i + entry (tB f) b i)));
    [apply Rmult_le_compat_l; [lra|]; apply IZR_le; unfold relu;
     pose proof (columns_bound Z.max (tA f) p n Z.le Z.le_max_l Z.le_max_r Z.le_refl Z.le_trans FA a i Ha ltac:(lia)) as H1;
     pose proof (columns_bound Z.max (tB f) p n Z.le Z.le_max_l Z.le_max_r Z.le_refl Z.le_trans FB b i Hb ltac:(lia)) as H2;
     unfold highest; lia
    |rewrite relu_spec; unfold pos, Rmax; destruct (Rle_dec (uA * IZR (entry (tA f) a i + entry (tB f) b i)) 0);
     destruct (Rle_dec (IZR (entry (tA f) a i + entry (tB f) b i)) 0); nra])).
  specialize (HK (fun i => uW * IZR (nth i (highest (tW f)) 0 - nth i (lowest (tW f)) 0)%Z) c c' Hc Hc').
  specialize (HK ltac:(
    intros i Hi; apply in_seq in Hi; unfold W; rewrite <- Rmult_minus_distr_l, Rabs_mult, (Rabs_pos_eq uW) by lra;
    apply Rmult_le_compat_l; [lra|]; rewrite <- minus_IZR, <- abs_IZR; apply IZR_le;
    pose proof (columns_bound Z.max (tW f) q n Z.le Z.le_max_l Z.le_max_r Z.le_refl Z.le_trans FW c i Hc ltac:(lia)) as A1;
    pose proof (columns_bound Z.max (tW f) q n Z.le Z.le_max_l Z.le_max_r Z.le_refl Z.le_trans FW c' i Hc' ltac:(lia)) as A2;
    pose proof (columns_bound Z.min (tW f) q n (fun x y => (y <= x)%Z) Z.le_min_l Z.le_min_r Z.le_refl (fun x y z P Q => Z.le_trans _ _ _ Q P) FW c i Hc ltac:(lia)) as B1;
    pose proof (columns_bound Z.min (tW f) q n (fun x y => (y <= x)%Z) Z.le_min_l Z.le_min_r Z.le_refl (fun x y z P Q => Z.le_trans _ _ _ Q P) FW c' i Hc' ltac:(lia)) as B2;
    cbv beta in *; unfold highest, lowest; lia)).
  rewrite !minus_IZR, Rmult_minus_distr_l, !L, !L'.
  eapply Rle_trans; [exact HK|]; right.
  unfold kappa_of; rewrite (kappa_spec _ _ _ _ n).
  2: apply (columns_length Z.max _ p n Hp FA).
  2: apply (columns_length Z.max _ p n Hp FB).
  2: apply (columns_length Z.max _ q n ltac:(lia) FW).
  2: apply (columns_length Z.min _ q n ltac:(lia) FW).
  unfold κ_d; rewrite plus_IZR, IZR_zsum, mult_IZR; fold uA uW.
  match goal with |- _ = uA * uW * (?X + 4) => replace (uA * uW * (X + 4)) with (uA * uW * X + 4 * (uA * uW)) by ring end.
  rewrite <- sum_mul_l, !Rplus_0_r; f_equal; [|ring].
  apply sum_ext; intros i _; rewrite plus_IZR, !mult_IZR, plus_IZR, !minus_IZR; ring.
Qed.
Open Scope Z_scope.

(** ** The verdict *)
Definition step (bound : Z) : Z := 2 ^ Z.max 0 (Z.log2 bound - 25).
Definition size_of (M : list (list Z)) : Z := fold_left (fun m r => fold_left (fun m x => Z.max m (Z.abs x)) r m) M 0.
Definition fixed (t : tables) : tables := floored (step (Z.max (size_of (tA t)) (size_of (tB t)))) (step (size_of (tW t))) t.

Definition verdict (t f : tables) (κ : Z) (a b : nat) : bool := answers f κ a b || answers t 0 a b.

Theorem verdict_spec t a b : well_sized t -> (0 < p <= q)%nat -> (a < p)%nat -> (b < p)%nat ->
  verdict t (fixed t) (kappa_of (fixed t)) a b = true <->
  forall c, (c < q)%nat -> c <> target a b -> table_logit t a b (target a b) > table_logit t a b c.
Proof.
  intros Ht Hpq Ha Hb; unfold verdict; rewrite orb_true_iff.
  rewrite (answers_spec t 0 a b Ht Hpq Ha Hb).
  split; [|intros H; right; intros c Hc Hne; specialize (H c Hc Hne); lia].
  intros [H|H]; [|intros c Hc Hne; specialize (H c Hc Hne); lia].
  set (dA := step (Z.max (size_of (tA t)) (size_of (tB t)))) in *; set (dW := step (size_of (tW t))).
  assert (HdA : 0 < dA) by (apply Z.pow_pos_nonneg; lia); assert (HdW : 0 < dW) by (apply Z.pow_pos_nonneg; lia).
  assert (Hf : well_sized (fixed t)).
  { destruct Ht as [WA [WB [WW [W1 W2]]]]; 
    exact (conj (proj1 (floor_matrix _ _ _ _ WA)) (conj (proj1 (floor_matrix _ _ _ _ WB)) (conj (proj1 (floor_matrix _ _ _ _ WW))
      (conj (proj1 (floor_matrix _ _ _ _ W1)) (proj1 (floor_matrix _ _ _ _ W2)))))). }
  rewrite (answers_spec _ _ a b Hf Hpq Ha Hb) in H; intros c Hc Hne; specialize (H c Hc Hne).
  assert (Hg : (target a b < q)%nat) by (unfold target; pose proof (Nat.mod_upper_bound (a + b) p ltac:(lia)); lia).
  pose proof (fixed_point_difference dA dW t a b (target a b) c HdA HdW Ht ltac:(lia) Ha Hb Hg Hc) as HF; cbv zeta in HF.
  change (floored dA dW t) with (fixed t) in HF.
  apply Z.lt_gt, lt_IZR; apply Z.gt_lt in H; apply IZR_lt in H.
  assert (Hu : (0 < IZR (dA * dW))%R) by (apply IZR_lt; nia).
  assert (HP : (IZR (dA * dW) * IZR (kappa_of (fixed t)) < IZR (dA * dW) * IZR (table_logit (fixed t) a b (target a b) - table_logit (fixed t) a b c))%R)
    by (apply Rmult_lt_compat_l; assumption).
  rewrite minus_IZR in HF at 1; unfold Rabs in HF; destruct Rcase_abs in HF; lra.
Qed.
End Tables.
