(** What a model file's network computes, in real numbers, and that folding it into a circuit changes nothing
    (docs/certificate.md, "The model"; the theory's §1). *)
From Coq Require Import Reals ZArith List Bool Lia Lra.
From Formal Require Import Sums IntegerSums Relu.
Import ListNotations.
Open Scope R_scope.

(** What one position holds: the token a + offset or b + offset, or the fixed token [offset]; and its attention weight. *)
Inductive holder := Token_a | Token_b | Fixed.
Record place := { holds : holder; offset : nat; numerator : Z; denominator : Z }.
Definition token (pl : place) (a b : nat) : nat :=
  match holds pl with Token_a => a + offset pl | Token_b => b + offset pl | Fixed => offset pl end.
Definition weight (pl : place) : R := IZR (numerator pl) / IZR (denominator pl).
Definition nowhere : place := {| holds := Fixed; offset := 0; numerator := 0; denominator := 1 |}.

(** *** A one-layer ReLU transformer with constant attention, read at the last position. *)
Section Network.
Variables (places : list place) (d H K n : nat).
Variables (W_E W_pos : nat -> nat -> R) (W_V W_O : nat -> nat -> nat -> R) (b_V : nat -> nat -> R) (b_O : nat -> R).
Variables (W_in : nat -> nat -> R) (b_in : nat -> R) (W_out : nat -> nat -> R) (b_out : nat -> R) (W_U : nat -> nat -> R) (b_U : nat -> R).
Notation T := (length places).
Definition at_ (t : nat) : place := nth t places nowhere.

Section Input.
Variables a b : nat.
Definition embedded (t i : nat) : R := W_E (token (at_ t) a b) i + W_pos t i.
Definition head_value (t h k : nat) : R := (Σ i ∈ seq 0 d, embedded t i * W_V h i k) + b_V h k.
Definition attended (j : nat) : R := Σ t ∈ seq 0 T, weight (at_ t) * Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, head_value t h k * W_O h k j.
Definition middle (j : nat) : R := embedded (T - 1) j + attended j + b_O j.
Definition pre (i : nat) : R := (Σ j ∈ seq 0 d, middle j * W_in j i) + b_in i.
Definition final (j : nat) : R := middle j + (Σ i ∈ seq 0 n, ReLU (pre i) * W_out i j) + b_out j.
Definition network_logit (c : nat) : R := (Σ j ∈ seq 0 d, final j * W_U j c) + b_U c.
End Input.
End Network.

(** *** A folded circuit. *)
Definition folded_logit (n : nat) (A B W S1 S2 : nat -> nat -> R) (a b c : nat) : R :=
  (Σ i ∈ seq 0 n, W c i * ReLU (A i a + B i b)) + S1 c a + S2 c b.

Open Scope Z_scope.

(** The weights over a common denominator. *)
Fixpoint common (places : list place) : Z * list Z :=
  match places with
  | [] => (1, [])
  | pl :: rest => let (D, ws) := common rest in (denominator pl * D, numerator pl * D :: map (Z.mul (denominator pl)) ws)
  end.

Lemma common_spec places : (forall pl, In pl places -> 0 < denominator pl) ->
  0 < fst (common places) /\ forall t, (t < length places)%nat ->
    (weight (nth t places nowhere) = IZR (nth t (snd (common places)) 0%Z) / IZR (fst (common places)))%R.
Proof.
  induction places as [|pl places IH]; intros Hd; [split; [reflexivity|simpl; intros; lia]|].
  destruct IH as [H1 H2]; [intros; apply Hd; right; assumption|].
  pose proof (Hd pl (or_introl eq_refl)) as H0.
  simpl common; destruct (common places) as [D ws]; cbn [fst snd] in *.
  assert (D0 : IZR D <> 0%R) by (apply not_0_IZR; lia); assert (d0 : IZR (denominator pl) <> 0%R) by (apply not_0_IZR; lia).
  split; [nia|]; intros [|t] Ht.
  - simpl nth; unfold weight; rewrite !mult_IZR; field; split; assumption.
  - simpl nth; simpl in Ht; rewrite H2 by lia.
    replace (nth t (map (Z.mul (denominator pl)) ws) 0) with (denominator pl * nth t ws 0).
    + rewrite !mult_IZR; field; split; assumption.
    + replace 0 with (denominator pl * 0) at 2 by ring; rewrite map_nth; reflexivity.
Qed.

Lemma common_length places : length (snd (common places)) = length places.
Proof.
  induction places as [|pl places IH]; [reflexivity|]; simpl; destruct (common places) as [D ws]; cbn [snd] in *.
  simpl; rewrite map_length, IH; reflexivity.
Qed.

(** ** The same network in integers: every weight in units of 1/σ, attention weights in units of 1/D. *)
Section Integers.
Variables (places : list place) (d H K n : nat) (σ D : Z) (w : nat -> Z).
Variables (W_E W_pos : nat -> nat -> Z) (W_V W_O : nat -> nat -> nat -> Z) (b_V : nat -> nat -> Z) (b_O : nat -> Z).
Variables (W_in : nat -> nat -> Z) (b_in : nat -> Z) (W_out : nat -> nat -> Z) (b_out : nat -> Z) (W_U : nat -> nat -> Z) (b_U : nat -> Z).
Notation T := (length places).
Notation at_ := (at_ places).

Section Input.
Variables a b : nat.
Definition zembedded (t i : nat) : Z := W_E (token (at_ t) a b) i + W_pos t i.
Definition zhead_value (t h k : nat) : Z := (Σ i ∈ seq 0 d, (zembedded t i * W_V h i k)) + σ * b_V h k.
Definition zattended (j : nat) : Z := Σ t ∈ seq 0 T, (w t * Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, (zhead_value t h k * W_O h k j)).
Definition zmiddle (j : nat) : Z := D * σ ^ 2 * zembedded (T - 1) j + zattended j + D * σ ^ 2 * b_O j.
Definition zpre (i : nat) : Z := (Σ j ∈ seq 0 d, (zmiddle j * W_in j i)) + D * σ ^ 3 * b_in i.
Definition zfinal (j : nat) : Z := σ ^ 2 * zmiddle j + (Σ i ∈ seq 0 n, (relu (zpre i) * W_out i j)) + D * σ ^ 4 * b_out j.
Definition zlogit (c : nat) : Z := (Σ j ∈ seq 0 d, (zfinal j * W_U j c)) + D * σ ^ 5 * b_U c.
End Input.

(** ** Folding *)
Definition OV (i j : nat) : Z := Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, (W_V h i k * W_O h k j).
Definition oV (j : nat) : Z := Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, (b_V h k * W_O h k j).
(** What position t, holding the row x, adds to the residual stream before the MLP. *)
Definition part (t : nat) (x : nat -> Z) (j : nat) : Z :=
  w t * ((Σ i ∈ seq 0 d, (x i * OV i j)) + σ * oV j) + (if Nat.eqb t (T - 1) then D * σ ^ 2 * x j else 0).
Definition holds_a (t : nat) : bool := match holds (at_ t) with Token_a => true | _ => false end.
Definition middle_a (a j : nat) : Z := Σ t ∈ filter holds_a (seq 0 T), part t (zembedded a 0 t) j.
Definition middle_b (b j : nat) : Z := (Σ t ∈ filter (fun t => negb (holds_a t)) (seq 0 T), part t (zembedded 0 b t) j) + D * σ ^ 2 * b_O j.

Lemma attended_part a b t j :
  Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, (zhead_value a b t h k * W_O h k j) = (Σ i ∈ seq 0 d, (zembedded a b t i * OV i j)) + σ * oV j.
Proof.
  assert (E : Σ i ∈ seq 0 d, (zembedded a b t i * OV i j) =
    Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, Σ i ∈ seq 0 d, (zembedded a b t i * W_V h i k * W_O h k j)).
  { rewrite (zsum_ext (seq 0 d) _ (fun i => Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, (zembedded a b t i * W_V h i k * W_O h k j))).
    - rewrite zsum_swap; apply zsum_ext; intros h _; apply zsum_swap.
    - intros i _; unfold OV; rewrite <- zsum_mul_l; apply zsum_ext; intros h _.
      rewrite <- zsum_mul_l; apply zsum_ext; intros k _; ring. }
  rewrite E; unfold oV; rewrite <- zsum_mul_l, <- zsum_plus; apply zsum_ext; intros h _.
  rewrite <- zsum_mul_l, <- zsum_plus; apply zsum_ext; intros k _.
  unfold zhead_value; rewrite zsum_mul_r; ring.
Qed.

Lemma middle_split a b j : (0 < T)%nat -> zmiddle a b j = middle_a a j + middle_b b j.
Proof.
  intros HT; unfold zmiddle, middle_a, middle_b, zattended; rewrite !zsum_filter.
  assert (E1 : Σ t ∈ seq 0 T, (w t * Σ h ∈ seq 0 H, Σ k ∈ seq 0 K, (zhead_value a b t h k * W_O h k j)) =
    (Σ t ∈ seq 0 T, part t (zembedded a b t) j) - D * σ ^ 2 * zembedded a b (T - 1) j).
  { rewrite (zsum_ext (seq 0 T) _
      (fun t => part t (zembedded a b t) j - (if Nat.eqb t (T - 1) then D * σ ^ 2 * zembedded a b t j else 0))).
    - rewrite zsum_minus, (zsum_pick (fun t => D * σ ^ 2 * zembedded a b t j) T (T - 1)) by lia; reflexivity.
    - intros t _; rewrite attended_part; unfold part; ring. }
  assert (E2 : Σ t ∈ seq 0 T, part t (zembedded a b t) j =
    (Σ t ∈ seq 0 T, (if holds_a t then part t (zembedded a 0 t) j else 0)) +
    Σ t ∈ seq 0 T, (if negb (holds_a t) then part t (zembedded 0 b t) j else 0)).
  { rewrite <- zsum_plus; apply zsum_ext; intros t _.
    unfold holds_a, part, zembedded, token; destruct (holds (at_ t)); cbn [negb]; ring. }
  rewrite E1, E2; ring.
Qed.

Definition fA (a i : nat) : Z := Σ j ∈ seq 0 d, (middle_a a j * W_in j i).
Definition fB (b i : nat) : Z := (Σ j ∈ seq 0 d, (middle_b b j * W_in j i)) + D * σ ^ 3 * b_in i.
Definition fW (i c : nat) : Z := Σ j ∈ seq 0 d, (W_out i j * W_U j c).
Definition fS1 (a c : nat) : Z := σ ^ 2 * Σ j ∈ seq 0 d, (middle_a a j * W_U j c).
Definition fS2 (b c : nat) : Z := σ ^ 2 * (Σ j ∈ seq 0 d, ((middle_b b j + D * σ ^ 2 * b_out j) * W_U j c)) + D * σ ^ 5 * b_U c.

(** *Folding* is exact. *)
Theorem folding a b c : (0 < T)%nat ->
  zlogit a b c = (Σ i ∈ seq 0 n, (fW i c * relu (fA a i + fB b i))) + fS1 a c + fS2 b c.
Proof.
  intros HT.
  assert (HP : forall i, zpre a b i = fA a i + fB b i).
  { intros i; unfold zpre, fA, fB.
    rewrite (zsum_ext (seq 0 d) _ (fun j => middle_a a j * W_in j i + middle_b b j * W_in j i)); [rewrite zsum_plus; ring|].
    intros j _; rewrite (middle_split a b j HT); ring. }
  unfold zlogit, fS1, fS2.
  rewrite (zsum_ext (seq 0 d) _ (fun j => (Σ i ∈ seq 0 n, (relu (zpre a b i) * W_out i j * W_U j c)) +
    (σ ^ 2 * (middle_a a j * W_U j c) + σ ^ 2 * ((middle_b b j + D * σ ^ 2 * b_out j) * W_U j c)))).
  2: { intros j _; unfold zfinal; rewrite (middle_split a b j HT), zsum_mul_r; ring. }
  rewrite !zsum_plus, !zsum_mul_l, zsum_swap.
  rewrite (zsum_ext (seq 0 n) _ (fun i => fW i c * relu (fA a i + fB b i))); [ring|].
  intros i _; rewrite HP; unfold fW; rewrite <- zsum_mul_r; apply zsum_ext; intros j _; ring.
Qed.
End Integers.

(** ** The integers are the real network's, in units of 1/(D·σ⁶). *)
Section Units.
Variables (places : list place) (v q d H K n : nat) (σ D : Z) (w : nat -> Z).
Variables (zE zpos : nat -> nat -> Z) (zV zO : nat -> nat -> nat -> Z) (zbV : nat -> nat -> Z) (zbO : nat -> Z).
Variables (zin : nat -> nat -> Z) (zbin : nat -> Z) (zout : nat -> nat -> Z) (zbout : nat -> Z) (zU : nat -> nat -> Z) (zbU : nat -> Z).
Variables (rE rpos : nat -> nat -> R) (rV rO : nat -> nat -> nat -> R) (rbV : nat -> nat -> R) (rbO : nat -> R).
Variables (rin : nat -> nat -> R) (rbin : nat -> R) (rout : nat -> nat -> R) (rbout : nat -> R) (rU : nat -> nat -> R) (rbU : nat -> R).
Notation T := (length places).
Notation s := (IZR σ).
Hypothesis HT : (0 < T)%nat.
Hypothesis HD : 0 < D.
Hypothesis Hw : forall t, (t < T)%nat -> (weight (at_ places t) = IZR (w t) / IZR D)%R.
Hypothesis hE : forall t i, (t < v)%nat -> (i < d)%nat -> IZR (zE t i) = (s * rE t i)%R.
Hypothesis hpos : forall t i, (t < T)%nat -> (i < d)%nat -> IZR (zpos t i) = (s * rpos t i)%R.
Hypothesis hV : forall h i k, (h < H)%nat -> (i < d)%nat -> (k < K)%nat -> IZR (zV h i k) = (s * rV h i k)%R.
Hypothesis hO : forall h k j, (h < H)%nat -> (k < K)%nat -> (j < d)%nat -> IZR (zO h k j) = (s * rO h k j)%R.
Hypothesis hbV : forall h k, (h < H)%nat -> (k < K)%nat -> IZR (zbV h k) = (s * rbV h k)%R.
Hypothesis hbO : forall j, (j < d)%nat -> IZR (zbO j) = (s * rbO j)%R.
Hypothesis hin : forall j i, (j < d)%nat -> (i < n)%nat -> IZR (zin j i) = (s * rin j i)%R.
Hypothesis hbin : forall i, (i < n)%nat -> IZR (zbin i) = (s * rbin i)%R.
Hypothesis hout : forall i j, (i < n)%nat -> (j < d)%nat -> IZR (zout i j) = (s * rout i j)%R.
Hypothesis hbout : forall j, (j < d)%nat -> IZR (zbout j) = (s * rbout j)%R.
Hypothesis hU : forall j c, (j < d)%nat -> (c < q)%nat -> IZR (zU j c) = (s * rU j c)%R.
Hypothesis hbU : forall c, (c < q)%nat -> IZR (zbU c) = (s * rbU c)%R.
Hypothesis σ_pos : 0 <= σ.

Variables a b : nat.
Hypothesis tokens : forall t, (t < T)%nat -> (token (at_ places t) a b < v)%nat.

Ltac units := rewrite ?plus_IZR, ?mult_IZR, ?(pow_IZR σ 2), ?(pow_IZR σ 3), ?(pow_IZR σ 4), ?(pow_IZR σ 5).
Ltac seqs := repeat match goal with H : In _ (seq 0 _) |- _ => apply in_seq in H end.

Open Scope R_scope.
Lemma power_IZR (k : nat) : IZR (σ ^ Z.of_nat k) = s ^ k.
Proof. symmetry; apply pow_IZR. Qed.
Lemma p2 : IZR (σ ^ 2) = s ^ 2. Proof. apply (power_IZR 2). Qed.
Lemma p3 : IZR (σ ^ 3) = s ^ 3. Proof. apply (power_IZR 3). Qed.
Lemma p4 : IZR (σ ^ 4) = s ^ 4. Proof. apply (power_IZR 4). Qed.
Lemma p5 : IZR (σ ^ 5) = s ^ 5. Proof. apply (power_IZR 5). Qed.

Lemma u_embedded t i : (t < T)%nat -> (i < d)%nat -> IZR (zembedded places zE zpos a b t i) = s * embedded places rE rpos a b t i.
Proof. intros Ht Hi; unfold zembedded, embedded; rewrite plus_IZR, hE, hpos by auto; ring. Qed.

Lemma u_head t h k : (t < T)%nat -> (h < H)%nat -> (k < K)%nat ->
  IZR (zhead_value places d σ zE zpos zV zbV a b t h k) = s ^ 2 * head_value places d rE rpos rV rbV a b t h k.
Proof.
  intros Ht Hh Hk; unfold zhead_value, head_value; rewrite plus_IZR, mult_IZR, IZR_zsum, hbV by auto.
  rewrite (sum_ext (seq 0 d) _ (fun i => s ^ 2 * (embedded places rE rpos a b t i * rV h i k))).
  - rewrite sum_mul_l; ring.
  - intros i Hi; seqs; rewrite mult_IZR, u_embedded, hV by lia; ring.
Qed.

Lemma u_attended j : (j < d)%nat ->
  IZR (zattended places d H K σ w zE zpos zV zO zbV a b j) = IZR D * s ^ 3 * attended places d H K rE rpos rV rO rbV a b j.
Proof.
  intros Hj; unfold zattended, attended; rewrite IZR_zsum, <- sum_mul_l; apply sum_ext; intros t Ht; seqs.
  rewrite mult_IZR, IZR_zsum, Hw by lia.
  rewrite (sum_ext (seq 0 H) _ (fun h => s ^ 3 * Σ k ∈ seq 0 K, head_value places d rE rpos rV rbV a b t h k * rO h k j)).
  - rewrite sum_mul_l; field; apply not_0_IZR; lia.
  - intros h Hh; seqs; rewrite IZR_zsum, <- sum_mul_l; apply sum_ext; intros k Hk; seqs.
    rewrite mult_IZR, u_head, hO by lia; ring.
Qed.

Lemma u_middle j : (j < d)%nat ->
  IZR (zmiddle places d H K σ D w zE zpos zV zO zbV zbO a b j) = IZR D * s ^ 3 * middle places d H K rE rpos rV rO rbV rbO a b j.
Proof.
  intros Hj; unfold zmiddle, middle; rewrite !plus_IZR, !mult_IZR, p2, u_attended, u_embedded, hbO by lia; ring.
Qed.

Lemma u_pre i : (i < n)%nat ->
  IZR (zpre places d H K σ D w zE zpos zV zO zbV zbO zin zbin a b i) = IZR D * s ^ 4 * pre places d H K rE rpos rV rO rbV rbO rin rbin a b i.
Proof.
  intros Hi; unfold zpre, pre; rewrite plus_IZR, !mult_IZR, p3, IZR_zsum, hbin by exact Hi.
  rewrite (sum_ext (seq 0 d) _ (fun j => IZR D * s ^ 4 * (middle places d H K rE rpos rV rO rbV rbO a b j * rin j i))).
  - rewrite sum_mul_l; ring.
  - intros j Hj; seqs; rewrite mult_IZR, u_middle, hin by lia; ring.
Qed.

Lemma relu_scale x c : 0 <= c -> ReLU (c * x) = c * ReLU x.
Proof. intros Hc; unfold pos, Rmax; destruct (Rle_dec (c * x) 0); destruct (Rle_dec x 0); nra. Qed.

Lemma u_final j : (j < d)%nat ->
  IZR (zfinal places d H K n σ D w zE zpos zV zO zbV zbO zin zbin zout zbout a b j) =
  IZR D * s ^ 5 * final places d H K n rE rpos rV rO rbV rbO rin rbin rout rbout a b j.
Proof.
  intros Hj; unfold zfinal, final; rewrite !plus_IZR, !mult_IZR, p2, p4, IZR_zsum, u_middle, hbout by exact Hj.
  assert (0 <= IZR D * s ^ 4).
  { apply Rmult_le_pos; [apply IZR_le; lia|apply pow_le, IZR_le, σ_pos]. }
  rewrite (sum_ext (seq 0 n) _ (fun i => IZR D * s ^ 5 * (ReLU (pre places d H K rE rpos rV rO rbV rbO rin rbin a b i) * rout i j))).
  - rewrite sum_mul_l; ring.
  - intros i Hi; seqs; rewrite mult_IZR, relu_spec, u_pre, relu_scale, hout by (assumption || lia); ring.
Qed.

Theorem units c : (c < q)%nat ->
  IZR (zlogit places d H K n σ D w zE zpos zV zO zbV zbO zin zbin zout zbout zU zbU a b c) =
  IZR D * s ^ 6 * network_logit places d H K n rE rpos rV rO rbV rbO rin rbin rout rbout rU rbU a b c.
Proof.
  intros Hc; unfold zlogit, network_logit; rewrite plus_IZR, !mult_IZR, p5, IZR_zsum, hbU by exact Hc.
  rewrite (sum_ext (seq 0 d) _ (fun j => IZR D * s ^ 6 * (final places d H K n rE rpos rV rO rbV rbO rin rbin rout rbout a b j * rU j c))).
  - rewrite sum_mul_l; ring.
  - intros j Hj; seqs; rewrite mult_IZR, u_final, hU by lia; ring.
Qed.
End Units.
