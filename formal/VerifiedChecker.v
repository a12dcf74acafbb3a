(** The verified checker: from the bytes of a model file's data section to the inputs that the network answers right.
    What the file's header says (where each tensor is, the layout, the attention weights) is an argument; everything after
    that is proved. *)
From Coq Require Import Reals ZArith List Bool Lia Lra.
From Flocq Require Import Core.
From Formal Require Import Sums IntegerSums Relu Matrix Reader Network Exhaustive Fold.
Import ListNotations.
Open Scope Z_scope.

(** The right answer leads every other output. *)
Definition answered_right (p q : nat) (logit : nat -> R) (a b : nat) : Prop :=
  forall c, (c < q)%nat -> c <> Nat.modulo (a + b) p -> (logit (Nat.modulo (a + b) p) > logit c)%R.

(** ** A transformer, `verifier-model/1` *)
Record transformer := {
  modulus : nat; layout : list place; n_heads : nat;
  at_E : tensor; at_pos : tensor; at_V : tensor; at_O : tensor; at_bV : tensor; at_bO : tensor;
  at_in : tensor; at_bin : tensor; at_out : tensor; at_bout : tensor; at_U : tensor; at_bU : tensor }.

(** *** What it computes: the real logits of the network whose weights are the numbers in the file. A tensor [H, d, k] is read
    as H·d rows of k. *)
Definition d_model (f : transformer) : nat := columns (at_E f).
Definition transformer_logit (data : list Z) (f : transformer) (a b c : nat) : R :=
  let d := d_model f in let K := columns (at_V f) in
  network_logit (layout f) d (n_heads f) K (columns (at_in f))
    (real_entry data (at_E f)) (real_entry data (at_pos f))
    (fun h i k => real_entry data (at_V f) (h * d + i) k) (fun h k j => real_entry data (at_O f) (h * K + k) j)
    (fun h k => real_entry data (at_bV f) 0 (h * K + k)) (real_entry data (at_bO f) 0)
    (real_entry data (at_in f)) (real_entry data (at_bin f) 0)
    (real_entry data (at_out f)) (real_entry data (at_bout f) 0)
    (real_entry data (at_U f)) (real_entry data (at_bU f) 0) a b c.

Definition tensors (f : transformer) : list tensor :=
  [at_E f; at_pos f; at_V f; at_O f; at_bV f; at_bO f; at_in f; at_bin f; at_out f; at_bout f; at_U f; at_bU f].

Definition shaped (T : tensor) (r c : nat) : bool := Nat.eqb (rows T) r && Nat.eqb (columns T) c.
(** Its bytes are there (rows one after the other; in unary numbers the size of a file is too deep for a program's stack). *)
Fixpoint at_least (c : nat) (l : list Z) : bool := match c, l with O, _ => true | S c', _ :: l' => at_least c' l' | _, [] => false end.
Fixpoint enough (r c : nat) (l : list Z) : bool := match r with O => true | S r' => if at_least c l then enough r' c (skipn c l) else false end.
Definition inside (data : list Z) (T : tensor) : bool := enough (rows T) (width T * columns T) (skipn (start T) data).
Definition bytes (data : list Z) : bool := forallb (fun b => (0 <=? b) && (b <? 256)) data.
Definition place_fits (p v : nat) (pl : place) : bool :=
  (0 <? denominator pl) && match holds pl with Fixed => Nat.ltb (offset pl) v | _ => Nat.leb (p + offset pl) v end.

Definition consistent (data : list Z) (f : transformer) : bool :=
  let p := modulus f in let d := d_model f in let H := n_heads f in let K := columns (at_V f) in
  let n := columns (at_in f) in let q := columns (at_U f) in let T := length (layout f) in
  bytes data && forallb (inside data) (tensors f) &&
  Nat.ltb 0 p && Nat.leb p q && Nat.ltb 0 K && Nat.ltb 0 T && forallb (place_fits p (rows (at_E f))) (layout f) &&
  shaped (at_pos f) T d && shaped (at_V f) (H * d) K && shaped (at_O f) (H * K) d && shaped (at_bV f) 1 (H * K) && shaped (at_bO f) 1 d &&
  shaped (at_in f) d n && shaped (at_bin f) 1 n && shaped (at_out f) n d && shaped (at_bout f) 1 d && shaped (at_U f) d q && shaped (at_bU f) 1 q.

Notation "'let?' x ':=' e 'in' f" := (match e with Some x => f | None => None end) (at level 200, x pattern, e at level 100, f at level 200).

Definition read_weights (s : Z) (data : list Z) (f : transformer) : option weights :=
  let? a1 := read s data (at_E f) in let? a2 := read s data (at_pos f) in let? a3 := read s data (at_V f) in
  let? a4 := read s data (at_O f) in let? a5 := read s data (at_bV f) in let? a6 := read s data (at_bO f) in
  let? a7 := read s data (at_in f) in let? a8 := read s data (at_bin f) in let? a9 := read s data (at_out f) in
  let? a10 := read s data (at_bout f) in let? a11 := read s data (at_U f) in let? a12 := read s data (at_bU f) in
  Some {| w_E := a1; w_pos := a2; w_V := a3; w_O := a4; w_bV := a5; w_bO := a6; w_in := a7; w_bin := a8; w_out := a9; w_bout := a10; w_U := a11; w_bU := a12 |}.

Definition unit_exponent (data : list Z) (Ts : list tensor) : Z := Z.max 0 (fold_left (fun s T => unit_of data T s) Ts 0).

Definition transformer_tables (data : list Z) (f : transformer) : option tables :=
  if consistent data f then
    let s := unit_exponent data (tensors f) in
    let? m := read_weights s data f in
    let (D, ws) := common (layout f) in
    Some (folded (layout f) (modulus f) (columns (at_U f)) (d_model f) (n_heads f) (columns (at_V f)) (columns (at_in f)) (2 ^ s) D ws m)
  else None.

(** ** A folded circuit, `verifier-circuit/1`; S1 and S2 may be absent. *)
Record circuit := {
  c_modulus : nat; at_A : tensor; at_B : tensor; at_W : tensor; at_S1 : option tensor; at_S2 : option tensor }.

Definition optional (data : list Z) (T : option tensor) (i j : nat) : R := match T with Some T => real_entry data T i j | None => 0%R end.
(** *** What it computes. *)
Definition circuit_logit (data : list Z) (f : circuit) (a b c : nat) : R :=
  folded_logit (columns (at_W f)) (real_entry data (at_A f)) (real_entry data (at_B f)) (real_entry data (at_W f))
    (optional data (at_S1 f)) (optional data (at_S2 f)) a b c.

Definition present (T : option tensor) : list tensor := match T with Some T => [T] | None => [] end.
Definition circuit_tensors (f : circuit) : list tensor := [at_A f; at_B f; at_W f] ++ present (at_S1 f) ++ present (at_S2 f).

Definition circuit_consistent (data : list Z) (f : circuit) : bool :=
  let p := c_modulus f in let n := columns (at_W f) in let q := rows (at_W f) in
  bytes data && forallb (inside data) (circuit_tensors f) && Nat.ltb 0 p && Nat.leb p q &&
  shaped (at_A f) n p && shaped (at_B f) n p && forallb (fun T => shaped T q p) (present (at_S1 f) ++ present (at_S2 f)).

(** A skip, in units of 1/σ², by token. *)
Definition read_skip (s : Z) (data : list Z) (p q : nat) (T : option tensor) : option (list (list Z)) :=
  match T with
  | Some T => let? M := read s data T in Some (map (times (2 ^ s)) (transposed M p))
  | None => Some (rows_of p (fun _ => zeros q))
  end.

Definition circuit_tables (data : list Z) (f : circuit) : option tables :=
  if circuit_consistent data f then
    let s := unit_exponent data (circuit_tensors f) in let p := c_modulus f in let q := rows (at_W f) in
    let? A := read s data (at_A f) in let? B := read s data (at_B f) in let? W := read s data (at_W f) in
    let? S1 := read_skip s data p q (at_S1 f) in let? S2 := read_skip s data p q (at_S2 f) in
    Some {| tA := transposed A p; tB := transposed B p; tW := W; tS1 := S1; tS2 := S2 |}
  else None.

(** ** The checker *)
Definition pairs (p : nat) : list (nat * nat) := flat_map (fun a => map (fun b => (a, b)) (seq 0 p)) (seq 0 p).
Definition right_inputs (p : nat) (t : tables) : list (nat * nat) :=
  let f := fixed t in let κ := kappa_of f in
  filter (fun x => verdict p t f κ (fst x) (snd x)) (pairs p).

Definition check_transformer (data : list Z) (f : transformer) : option (list (nat * nat)) :=
  let? t := transformer_tables data f in Some (right_inputs (modulus f) t).
Definition check_circuit (data : list Z) (f : circuit) : option (list (nat * nat)) :=
  let? t := circuit_tables data f in Some (right_inputs (c_modulus f) t).

(** ** Its correctness *)
Lemma pairs_spec p a b : In (a, b) (pairs p) <-> (a < p)%nat /\ (b < p)%nat.
Proof.
  unfold pairs; rewrite in_flat_map; split.
  - intros [x [Hx H]]; apply in_map_iff in H; destruct H as [y [E Hy]]; injection E as -> ->; apply in_seq in Hx, Hy; lia.
  - intros [Ha Hb]; exists a; split; [apply in_seq; lia|]; apply in_map_iff; exists b; split; [reflexivity|apply in_seq; lia].
Qed.

Lemma pairs_distinct p : NoDup (pairs p).
Proof.
  unfold pairs; generalize (seq_NoDup p 0); generalize (seq 0 p) at 1 3 as l; induction l as [|a l IH]; intros H; [constructor|].
  inversion H as [|x l' Ha Hl]; subst; simpl.
  assert (App : forall (u w : list (nat * nat)), NoDup u -> NoDup w -> (forall z, In z u -> ~ In z w) -> NoDup (u ++ w)).
  { induction u as [|z u IHu]; intros w Hu Hw Hd; [exact Hw|]; inversion Hu; subst; simpl; constructor.
    - rewrite in_app_iff; intros [K|K]; [contradiction|apply (Hd z); [left; reflexivity|exact K]].
    - apply IHu; [assumption|exact Hw|]; intros z' K; apply Hd; right; exact K. }
  apply App; [|apply IH, Hl|].
  - apply FinFun.Injective_map_NoDup; [intros x y E; injection E; auto|apply seq_NoDup].
  - intros z Hz Hz'; apply in_map_iff in Hz; destruct Hz as [b [<- _]].
    apply in_flat_map in Hz'; destruct Hz' as [x [Hx K]]; apply in_map_iff in K; destruct K as [y [E _]]; injection E as -> _; contradiction.
Qed.

Lemma right_inputs_spec p q n t (logit : nat -> nat -> nat -> R) (scale : R) : (0 < scale)%R -> (0 < p <= q)%nat -> well_sized p q n t ->
  (forall a b c, (a < p)%nat -> (b < p)%nat -> (c < q)%nat -> (IZR (table_logit n t a b c) = scale * logit a b c)%R) ->
  NoDup (right_inputs p t) /\
  forall a b, In (a, b) (right_inputs p t) <-> (a < p)%nat /\ (b < p)%nat /\ answered_right p q (logit a b) a b.
Proof.
  intros Hs Hpq Ht HL; unfold right_inputs; cbv zeta; split; [apply NoDup_filter, pairs_distinct|].
  intros a b; rewrite filter_In, pairs_spec; cbn [fst snd].
  split.
  - intros [[Ha Hb] HV]; split; [exact Ha|split; [exact Hb|]].
    pose proof (proj1 (verdict_spec p q n t a b Ht Hpq Ha Hb) HV) as HR; intros c Hc Hne; unfold target in HR.
    assert (Hg : (Nat.modulo (a + b) p < q)%nat) by (pose proof (Nat.mod_upper_bound (a + b) p ltac:(lia)); lia).
    specialize (HR c Hc Hne); apply Z.gt_lt, IZR_lt in HR; rewrite !HL in HR by assumption.
    apply Rmult_lt_reg_l in HR; [apply Rlt_gt; exact HR|exact Hs].
  - intros [Ha [Hb HR]]; split; [split; assumption|]; apply (verdict_spec p q n t a b Ht Hpq Ha Hb); intros c Hc Hne; unfold target in *.
    assert (Hg : (Nat.modulo (a + b) p < q)%nat) by (pose proof (Nat.mod_upper_bound (a + b) p ltac:(lia)); lia).
    apply Z.lt_gt, lt_IZR; rewrite !HL by assumption; apply Rmult_lt_compat_l; [exact Hs|]; apply Rgt_lt, (HR c Hc Hne).
Qed.

Lemma scaled_entry s (z : Z) (r : R) : 0 <= s -> (r = IZR z * bpow radix2 (- s))%R -> (IZR z = IZR (2 ^ s) * r)%R.
Proof.
  intros Hs ->; rewrite (IZR_Zpower radix2) by exact Hs.
  rewrite (Rmult_comm (IZR z)), <- Rmult_assoc, <- bpow_plus; replace (s + - s) with 0 by ring; simpl; ring.
Qed.

Lemma shaped_spec T r c : shaped T r c = true -> rows T = r /\ columns T = c.
Proof. unfold shaped; intros H; apply andb_prop in H; destruct H as [H1 H2]; apply Nat.eqb_eq in H1, H2; auto. Qed.

Lemma read_sized s data T M r c : 0 <= s -> read s data T = Some M -> rows T = r -> columns T = c ->
  is_matrix M r c (entry M) /\ forall i j, (i < r)%nat -> (j < c)%nat -> (IZR (entry M i j) = IZR (2 ^ s) * real_entry data T i j)%R.
Proof.
  intros Hs HR <- <-; apply read_spec in HR; destruct HR as [H1 H2]; split; [exact H1|].
  intros i j Hi Hj; apply scaled_entry; [exact Hs|apply H2; assumption].
Qed.

Ltac conjunct H X := apply andb_prop in H; destruct H as [H X].

(** *** The theorem about transformers: exactly the inputs listed are answered right, each once. *)
Theorem verified_transformer data f l : check_transformer data f = Some l ->
  NoDup l /\ forall a b, In (a, b) l <-> (a < modulus f)%nat /\ (b < modulus f)%nat /\
    answered_right (modulus f) (columns (at_U f)) (transformer_logit data f a b) a b.
Proof.
  unfold check_transformer, transformer_tables.
  destruct (consistent data f) eqn:HC; [|discriminate].
  set (s := unit_exponent data (tensors f)); cbv zeta.
  assert (Hs : 0 <= s) by (unfold s, unit_exponent; lia).
  destruct (read_weights s data f) as [m|] eqn:HR; [|discriminate].
  destruct (common (layout f)) as [D ws] eqn:HD; intros E; injection E as <-.
  unfold consistent in HC; cbv zeta in HC.
  set (p := modulus f) in *; set (d := d_model f) in *; set (H := n_heads f) in *; set (K := columns (at_V f)) in *.
  set (n := columns (at_in f)) in *; set (q := columns (at_U f)) in *; set (v := rows (at_E f)) in *; set (T := length (layout f)) in *.
  conjunct HC CbU; conjunct HC CU; conjunct HC Cbout; conjunct HC Cout; conjunct HC Cbin; conjunct HC Cin; conjunct HC CbO; conjunct HC CbV;
    conjunct HC CO; conjunct HC CV; conjunct HC Cpos; conjunct HC Cplaces; conjunct HC CT; conjunct HC CK; conjunct HC Cq; conjunct HC Cp.
  apply shaped_spec in CbU, CU, Cbout, Cout, Cbin, Cin, CbO, CbV, CO, CV, Cpos.
  apply Nat.ltb_lt in CT, CK, Cp; apply Nat.leb_le in Cq.
  unfold read_weights in HR.
  destruct (read s data (at_E f)) as [M1|] eqn:R1; [|discriminate]; destruct (read s data (at_pos f)) as [M2|] eqn:R2; [|discriminate].
  destruct (read s data (at_V f)) as [M3|] eqn:R3; [|discriminate]; destruct (read s data (at_O f)) as [M4|] eqn:R4; [|discriminate].
  destruct (read s data (at_bV f)) as [M5|] eqn:R5; [|discriminate]; destruct (read s data (at_bO f)) as [M6|] eqn:R6; [|discriminate].
  destruct (read s data (at_in f)) as [M7|] eqn:R7; [|discriminate]; destruct (read s data (at_bin f)) as [M8|] eqn:R8; [|discriminate].
  destruct (read s data (at_out f)) as [M9|] eqn:R9; [|discriminate]; destruct (read s data (at_bout f)) as [M10|] eqn:R10; [|discriminate].
  destruct (read s data (at_U f)) as [M11|] eqn:R11; [|discriminate]; destruct (read s data (at_bU f)) as [M12|] eqn:R12; [|discriminate].
  injection HR as <-.
  destruct (read_sized s data (at_E f) M1 v d Hs R1 eq_refl eq_refl) as [S1 V1].
  destruct (read_sized s data (at_pos f) M2 T d Hs R2 (proj1 Cpos) (proj2 Cpos)) as [S2 V2].
  destruct (read_sized s data (at_V f) M3 (H * d) K Hs R3 (proj1 CV) (proj2 CV)) as [S3 V3].
  destruct (read_sized s data (at_O f) M4 (H * K) d Hs R4 (proj1 CO) (proj2 CO)) as [S4 V4].
  destruct (read_sized s data (at_bV f) M5 1 (H * K) Hs R5 (proj1 CbV) (proj2 CbV)) as [S5 V5].
  destruct (read_sized s data (at_bO f) M6 1 d Hs R6 (proj1 CbO) (proj2 CbO)) as [S6 V6].
  destruct (read_sized s data (at_in f) M7 d n Hs R7 (proj1 Cin) (proj2 Cin)) as [S7 V7].
  destruct (read_sized s data (at_bin f) M8 1 n Hs R8 (proj1 Cbin) (proj2 Cbin)) as [S8 V8].
  destruct (read_sized s data (at_out f) M9 n d Hs R9 (proj1 Cout) (proj2 Cout)) as [S9 V9].
  destruct (read_sized s data (at_bout f) M10 1 d Hs R10 (proj1 Cbout) (proj2 Cbout)) as [S10 V10].
  destruct (read_sized s data (at_U f) M11 d q Hs R11 (proj1 CU) (proj2 CU)) as [S11 V11].
  destruct (read_sized s data (at_bU f) M12 1 q Hs R12 (proj1 CbU) (proj2 CbU)) as [S12 V12].
  assert (HP : forall pl, In pl (layout f) -> 0 < denominator pl /\ forall a b, (a < p)%nat -> (b < p)%nat -> (token pl a b < v)%nat).
  { intros pl Hpl; rewrite forallb_forall in Cplaces; specialize (Cplaces pl Hpl); unfold place_fits in Cplaces.
    apply andb_prop in Cplaces; destruct Cplaces as [X1 X2].
    apply Z.ltb_lt in X1; split; [exact X1|]; intros a b Ha Hb; unfold token.
    destruct (holds pl); [apply Nat.leb_le in X2; lia|apply Nat.leb_le in X2; lia|apply Nat.ltb_lt in X2; lia]. }
  pose proof (common_spec (layout f) (fun pl X => proj1 (HP pl X))) as [D0 Dw]; rewrite HD in D0, Dw; cbn [fst snd] in D0, Dw.
  assert (Voc : forall t a b, (t < length (layout f))%nat -> (a < p)%nat -> (b < p)%nat -> (token (at_ (layout f) t) a b < v)%nat).
  { intros t a b Ht Ha Hb; apply HP; [apply nth_In, Ht|exact Ha|exact Hb]. }
  set (m := {| w_E := M1; w_pos := M2; w_V := M3; w_O := M4; w_bV := M5; w_bO := M6; w_in := M7; w_bin := M8; w_out := M9; w_bout := M10; w_U := M11; w_bU := M12 |}).
  destruct (folded_spec (layout f) p q v d H K n (2 ^ s) D ws m CK
    (conj S1 (conj S2 (conj S3 (conj S4 (conj S5 (conj S6 (conj S7 (conj S8 (conj S9 (conj S10 (conj S11 S12))))))))))) Voc Cp CT) as [WS HL].
  apply (right_inputs_spec p q n _ (fun a b => transformer_logit data f a b) (IZR D * IZR (2 ^ s) ^ 6)).
  - apply Rmult_lt_0_compat; [apply IZR_lt, D0|apply pow_lt, IZR_lt, Z.pow_pos_nonneg; lia].
  - lia.
  - exact WS.
  - intros a b c Ha Hb Hc; rewrite HL by assumption; unfold transformer_logit; cbv zeta; fold d K n H.
    apply (units (layout f) v q d H K n (2 ^ s) D (w_ ws) (eE m) (epos m) (eV d m) (eO K m) (ebV K m) (ebO m) (ein m) (ebin m) (eout m) (ebout m) (eU m) (ebU m)).
    + exact CT.
    + exact D0.
    + exact Dw.
    + exact V1.
    + exact V2.
    + intros h i k Hh Hi Hk; apply V3; [nia|exact Hk].
    + intros h k j Hh Hk Hj; apply V4; [nia|exact Hj].
    + intros h k Hh Hk; apply V5; [lia|nia].
    + intros j Hj; apply V6; [lia|exact Hj].
    + exact V7.
    + intros i Hi; apply V8; [lia|exact Hi].
    + exact V9.
    + intros j Hj; apply V10; [lia|exact Hj].
    + exact V11.
    + intros c' Hc'; apply V12; [lia|exact Hc'].
    + apply Z.pow_nonneg; lia.
    + intros t Ht; apply Voc; assumption.
    + exact Hc.
Qed.

Lemma read_skip_spec s data p q T M : 0 <= s -> read_skip s data p q T = Some M ->
  (forall X, T = Some X -> rows X = q /\ columns X = p) ->
  is_matrix M p q (entry M) /\
  forall a c, (a < p)%nat -> (c < q)%nat -> (IZR (entry M a c) = IZR (2 ^ s) * IZR (2 ^ s) * optional data T c a)%R.
Proof.
  intros Hs HR HT; unfold read_skip in HR; destruct T as [T|].
  - destruct (HT T eq_refl) as [Hr Hc]; destruct (read s data T) as [N|] eqn:R; [|discriminate]; injection HR as <-.
    destruct (read_sized s data T N q p Hs R Hr Hc) as [SN VN].
    assert (HM : is_matrix (map (times (2 ^ s)) (transposed N p)) p q (fun a c => 2 ^ s * entry N c a)).
    { eapply map_matrix; [exact (transposed_spec _ _ _ _ SN)|]; intros l i Hi Hl; exact (times_spec _ _ _ _ Hl). }
    destruct (itself _ _ _ _ HM) as [SM EM]; split; [exact SM|]; intros a c Ha Hc'.
    rewrite EM, mult_IZR, VN by assumption; unfold optional; ring.
  - injection HR as <-.
    assert (HM : is_matrix (rows_of p (fun _ => zeros q)) p q (fun _ _ => 0)) by (apply rows_of_spec; intros; apply zeros_spec).
    destruct (itself _ _ _ _ HM) as [SM EM]; split; [exact SM|]; intros a c Ha Hc'.
    rewrite EM by assumption; unfold optional; ring.
Qed.

(** *** The theorem about folded circuits. *)
Theorem verified_circuit data f l : check_circuit data f = Some l ->
  NoDup l /\ forall a b, In (a, b) l <-> (a < c_modulus f)%nat /\ (b < c_modulus f)%nat /\
    answered_right (c_modulus f) (rows (at_W f)) (circuit_logit data f a b) a b.
Proof.
  unfold check_circuit, circuit_tables.
  destruct (circuit_consistent data f) eqn:HC; [|discriminate].
  set (s := unit_exponent data (circuit_tensors f)); cbv zeta.
  assert (Hs : 0 <= s) by (unfold s, unit_exponent; lia).
  unfold circuit_consistent in HC; cbv zeta in HC.
  set (p := c_modulus f) in *; set (n := columns (at_W f)) in *; set (q := rows (at_W f)) in *.
  conjunct HC CS; conjunct HC CB; conjunct HC CA; conjunct HC Cq; conjunct HC Cp.
  apply shaped_spec in CA, CB; apply Nat.ltb_lt in Cp; apply Nat.leb_le in Cq; rewrite forallb_forall in CS.
  destruct (read s data (at_A f)) as [M1|] eqn:R1; [|discriminate]; destruct (read s data (at_B f)) as [M2|] eqn:R2; [|discriminate].
  destruct (read s data (at_W f)) as [M3|] eqn:R3; [|discriminate].
  destruct (read_skip s data p q (at_S1 f)) as [M4|] eqn:R4; [|discriminate]; destruct (read_skip s data p q (at_S2 f)) as [M5|] eqn:R5; [|discriminate].
  intros E; injection E as <-.
  destruct (read_sized s data (at_A f) M1 n p Hs R1 (proj1 CA) (proj2 CA)) as [S1 V1].
  destruct (read_sized s data (at_B f) M2 n p Hs R2 (proj1 CB) (proj2 CB)) as [S2 V2].
  destruct (read_sized s data (at_W f) M3 q n Hs R3 eq_refl eq_refl) as [S3 V3].
  destruct (read_skip_spec s data p q (at_S1 f) M4 Hs R4) as [S4 V4].
  { intros X EX; apply shaped_spec, CS; rewrite EX; left; reflexivity. }
  destruct (read_skip_spec s data p q (at_S2 f) M5 Hs R5) as [S5 V5].
  { intros X EX; apply shaped_spec, CS; rewrite EX; apply in_or_app; right; left; reflexivity. }
  destruct (itself _ _ _ _ (transposed_spec _ _ _ _ S1)) as [T1 E1]; destruct (itself _ _ _ _ (transposed_spec _ _ _ _ S2)) as [T2 E2].
  assert (H0 : (0 < IZR (2 ^ s))%R) by (apply IZR_lt, Z.pow_pos_nonneg; lia).
  apply (right_inputs_spec p q n _ (fun a b => circuit_logit data f a b) (IZR (2 ^ s) * IZR (2 ^ s))).
  - apply Rmult_lt_0_compat; assumption.
  - lia.
  - exact (conj T1 (conj T2 (conj S3 (conj S4 S5)))).
  - intros a b c Ha Hb Hc; unfold table_logit, circuit_logit, folded_logit; cbn [tA tB tW tS1 tS2].
    rewrite !plus_IZR, IZR_zsum, V4, V5 by assumption; fold n.
    rewrite (sum_ext (seq 0 n) _ (fun i => IZR (2 ^ s) * IZR (2 ^ s) * (real_entry data (at_W f) c i * ReLU (real_entry data (at_A f) i a + real_entry data (at_B f) i b)))%R).
    + rewrite sum_mul_l; ring.
    + intros i Hi; apply in_seq in Hi; rewrite mult_IZR, relu_spec, plus_IZR, E1, E2 by lia.
      rewrite V1, V2, V3 by lia; rewrite <- Rmult_plus_distr_l, relu_scale by lra; ring.
Qed.
