(** Everything together, for a circuit: Lemmas E, B and K, Theorems L and A, as `check` composes them (`check.check`). *)
From Coq Require Import Reals ZArith List Lra Lia.
From Coquelicot Require Import Coquelicot.
From Formal Require Import Sums IntegerSums Relu LemmaE LemmaB Circuit TheoremA TheoremL.
Import ListNotations.
Open Scope R_scope.

Section Check.
Context {I : Type}.
(** The circuit in fixed point, p tokens, q >= p outputs; what the certificate claims: directions and an order for every group
    of neurons; what the kernel takes for ω, σ1, σ2: anything. *)
Variables (f : circuit I) (p q L : nat) (unit : Z) (U : nat -> nat -> Z) (ω : I -> nat -> Z) (σ1 σ2 : nat -> nat -> Z) (groups : list (Z * list I)).
Variables (uA uW : R).
Hypothesis uA_pos : 0 < uA.
Hypothesis uW_pos : 0 < uW.
Hypothesis unit_pos : (0 < unit)%Z.
Hypothesis p_q : (0 < p <= q)%nat.
Hypothesis grouped : neurons f = concat (map snd groups).

(** One input, and the network in the file at it: its pre-activations, output weights and skips (Lemma K's premises). *)
Variables (a b : nat).
Hypothesis a_p : (a < p)%nat.
Hypothesis b_p : (b < p)%nat.
Variables (y' : I -> R) (W' : I -> nat -> R) (k' : nat -> R) (rA rW rS s0 : R) (s h maxW range : I -> R).
Hypothesis pre : forall i, In i (neurons f) -> Rabs (y' i - uA * IZR (A f i a + B f i b)) <= 2 * rA + s i.
Hypothesis out_near : forall i c, In i (neurons f) -> (c < q)%nat -> Rabs (W' i c - uW * IZR (out f i c)) <= rW.
Hypothesis skips : forall c, (c < q)%nat -> Rabs (k' c - uA * uW * IZR (S1 f a c + S2 f b c)) <= rS + s0.
Hypothesis hidden_ : forall i, In i (neurons f) -> ReLU (uA * IZR (A f i a + B f i b)) <= h i.
Hypothesis largest_ : forall i c, In i (neurons f) -> (c < q)%nat -> Rabs (uW * IZR (out f i c)) <= maxW i.
Hypothesis range_ : forall i c c', In i (neurons f) -> (c < q)%nat -> (c' < q)%nat -> Rabs (uW * IZR (out f i c) - uW * IZR (out f i c')) <= range i.

Definition network (c : nat) : R := logit_at (neurons f) y' W' k' c.
Notation κ := (κ (neurons f) rA rW rS s s0 h maxW).
Notation κ_d := (κ_d (neurons f) rA rW rS s s0 h range).
Notation terms := (terms f ω σ1 σ2 a b).

(** The lanes, by events: S, the rests and what is over. *)
Variables (r o : I -> Z) (r1 r2 o1 o2 : nat -> Z).
Hypothesis rests : forall i, In i (neurons f) -> (rest p L unit U (neuron f ω a b i) <= r i)%Z.
Hypothesis rest_1 : (rest p L unit U (skip_1 f σ1 a) <= r1 a)%Z.
Hypothesis rest_2 : (rest p L unit U (skip_2 f σ2 b) <= r2 b)%Z.
Hypothesis overs : forall i, In i (neurons f) -> (o i <= over p q L unit U (neuron f ω a b i))%Z.
Hypothesis over_1 : (o1 a <= over p q L unit U (skip_1 f σ1 a))%Z.
Hypothesis over_2 : (o2 b <= over p q L unit U (skip_2 f σ2 b))%Z.
Definition by_events (w : I -> Z) : Z := (Σ g ∈ groups, event_sum (snd g) p (A f) (B f) w (fst g) a b)%Z.
Definition S (l : nat) : Z := (by_events (fun i => ω i l) + σ1 a l + σ2 b l)%Z.
Definition η : Z := (by_events r + r1 a + r2 b)%Z.
Definition above : Z := (by_events o + o1 a + o2 b)%Z.
Definition score (c : nat) : Z := (Σ l ∈ seq 0 L, (U c l * S l))%Z.

Lemma K_difference c c' : (c < q)%nat -> (c' < q)%nat ->
  Rabs ((network c - network c') - uA * uW * IZR (logit terms c - logit terms c')) <= κ_d.
Proof.
  intros Hc Hc'; rewrite !terms_logit, minus_IZR, Rmult_minus_distr_l, <- !real_logit_spec by assumption.
  apply (lemma_K_difference (neurons f) _ y' _ W' _ k' q rA rW rS s s0 h); try assumption.
  intros i Hi; apply range_; assumption.
Qed.

Lemma K_each c : (c < q)%nat -> Rabs (network c - uA * uW * IZR (logit terms c)) <= κ.
Proof.
  intros Hc; rewrite terms_logit, <- real_logit_spec by assumption.
  apply (lemma_K (neurons f) _ y' _ W' _ k' q rA rW rS s s0 h maxW); assumption.
Qed.

Lemma score_is_US c : score c = US L U terms c.
Proof.
  unfold score, US; apply zsum_ext; intros l _; f_equal; symmetry.
  rewrite (lanes f ω σ1 σ2 p groups a b l a_p b_p grouped); reflexivity.
Qed.


(** The charges of Lemma B by term: those of the neurons r_i, those of the two skips as they are. As the two skips are terms
    like the neurons, they are told apart by their place. *)
Lemma rest_bound : forall c c', (c < p)%nat -> (c' < p)%nat ->
  (Z.abs (unit * (logit terms c - logit terms c') - (score c - score c')) <= η)%Z.
Proof.
  intros c c' Hc Hc'; rewrite !score_is_US.
  eapply Z.le_trans; [exact (lemma_B p L unit U terms (terms_activations f ω σ1 σ2 a b) (rest p L unit U) (fun _ _ => Z.le_refl _) c c' Hc Hc')|].
  unfold LemmaB.η, η, by_events, Circuit.terms; rewrite lemma_E_all_groups, <- grouped by assumption.
  rewrite !zsum_cons, zsum_map.
  assert (H : (zsum (neurons f) (fun i => (rest p L unit U (neuron f ω a b i) * LemmaB.h (neuron f ω a b i))%Z) <= Σ i ∈ neurons f, (r i * relu (A f i a + B f i b)))%Z).
  { apply zsum_le; intros i Hi; apply Z.mul_le_mono_nonneg_r; [cbn; unfold hidden, relu; lia|apply rests, Hi]. }
  change (LemmaB.h (skip_1 f σ1 a)) with 1%Z; change (LemmaB.h (skip_2 f σ2 b)) with 1%Z; lia.
Qed.

Lemma over_bound : forall c c', (c < p)%nat -> (p <= c' < q)%nat -> (score c - score c' + above <= unit * (logit terms c - logit terms c'))%Z.
Proof.
  intros c c' Hc Hc'; rewrite !score_is_US.
  eapply Z.le_trans; [|exact (lemma_B_beyond p q L unit U terms (terms_activations f ω σ1 σ2 a b) (over p q L unit U) (fun _ _ => Z.le_refl _) c c' Hc Hc')].
  apply Z.add_le_mono_l.
  unfold above, by_events, Circuit.terms; rewrite lemma_E_all_groups, <- grouped by assumption.
  rewrite !zsum_cons, zsum_map.
  assert (H : (Σ i ∈ neurons f, (o i * relu (A f i a + B f i b)) <= zsum (neurons f) (fun i => (over p q L unit U (neuron f ω a b i) * LemmaB.h (neuron f ω a b i))%Z))%Z).
  { apply zsum_le; intros i Hi; apply Z.mul_le_mono_nonneg_r; [cbn; unfold hidden, relu; lia|apply overs, Hi]. }
  change (LemmaB.h (skip_1 f σ1 a)) with 1%Z; change (LemmaB.h (skip_2 f σ2 b)) with 1%Z; lia.
Qed.

(** *** Certified: if these integers, which the kernel computes from events alone, leave a positive margin after κ_d and twice
    Theorem F's bound, the executed network answers a + b mod p. *)
Theorem certified (executed : nat -> R) (F : R) :
  (forall c, (c < q)%nat -> Rabs (executed c - network c) <= F) ->
  (forall c, (c < p)%nat -> c <> answer p a b -> uA * uW / IZR unit * IZR (score (answer p a b) - score c - η) - κ_d - 2 * F > 0) ->
  (forall c, (p <= c < q)%nat -> uA * uW / IZR unit * IZR (score (answer p a b) - score c + above) - κ_d - 2 * F > 0) ->
  right p q a b executed.
Proof.
  intros HF Hm Hb c Hc Hne; set (t := answer p a b) in *.
  assert (Ht : (t < p)%nat) by (apply Nat.mod_upper_bound; lia).
  assert (Hv : 0 < uA * uW / IZR unit) by (apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; assumption|apply IZR_lt, unit_pos]).
  pose proof (K_difference t c ltac:(lia) Hc) as HK; pose proof (HF t ltac:(lia)) as F1; pose proof (HF c Hc) as F2.
  assert (E : uA * uW * IZR (logit terms t - logit terms c) = uA * uW / IZR unit * IZR (unit * (logit terms t - logit terms c))).
  { rewrite (mult_IZR unit); field; apply not_0_IZR; lia. }
  rewrite E in HK.
  assert (M : exists m : Z, (m <= unit * (logit terms t - logit terms c))%Z /\ uA * uW / IZR unit * IZR m - κ_d - 2 * F > 0).
  { destruct (Nat.lt_ge_cases c p) as [H|H].
    - exists (score t - score c - η)%Z; split; [pose proof (rest_bound t c Ht H); lia|apply Hm; assumption].
    - exists (score t - score c + above)%Z; split; [apply over_bound; lia|apply Hb; lia]. }
  destruct M as [m [Hz HM]]; apply IZR_le in Hz.
  assert (uA * uW / IZR unit * IZR m <= uA * uW / IZR unit * IZR (unit * (logit terms t - logit terms c))) by (apply Rmult_le_compat_l; lra).
  unfold Rabs in HK, F1, F2; destruct Rcase_abs in HK; destruct Rcase_abs in F1; destruct Rcase_abs in F2; lra.
Qed.

(** *** Near the closed form: Theorem L for the network, from the same integers. *)
Theorem near_closed_form (J : list Z) (G : Z -> C) (D_max D_min : R) :
  (forall c, (c < p)%nat -> D_min <= uA * uW / IZR unit * IZR (score c) - closed p J G a b c <= D_max) ->
  exists μ, forall c, (c < p)%nat ->
    Rabs (network c - μ - closed p J G a b c) <= (D_max - D_min) / 2 + uA * uW / IZR unit * IZR (LemmaB.η terms (rest p L unit U)) / 2 + κ.
Proof.
  intros HD; exists (TheoremL.μ p L unit U terms (uA * uW) D_max D_min); intros c Hc.
  apply (theorem_L p q L unit U terms (rest p L unit U) (uA * uW)).
  - apply Rmult_lt_0_compat; assumption.
  - exact unit_pos.
  - lia.
  - apply terms_activations.
  - intros; apply Z.le_refl.
  - exact K_each.
  - intros c' Hc'; unfold deviation, v; rewrite <- score_is_US; apply HD, Hc'.
  - exact Hc.
Qed.
End Check.

(** ** An instance, so that nothing above is empty: addition modulo 2 with two neurons, a + b and 2(a + b − 1), whose ReLUs'
    difference is 0, 1, 0; the exact strategy, U = identity, and no rounding. *)
Definition example : circuit nat := {|
  neurons := [0; 1]%nat;
  A := fun i a => nth a (nth i [[0; 1]; [-1; 1]]%Z []) 0%Z;
  B := fun i b => nth b (nth i [[0; 1]; [-1; 1]]%Z []) 0%Z;
  out := fun i c => nth c (nth i [[-2; 2]; [2; -2]]%Z []) 0%Z;
  S1 := fun _ c => nth c [1; -1]%Z 0%Z; S2 := fun _ _ => 0%Z |}.

Theorem example_certified a b : (a < 2)%nat -> (b < 2)%nat -> right 2 2 a b (fun c => IZR (circuit_logit example a b c)).
Proof.
  intros Ha Hb; set (U := fun c l : nat => if Nat.eqb l c then 1%Z else 0%Z).
  assert (C : right 2 2 a b (fun c => logit_at (neurons example) (fun i => 1 * IZR (A example i a + B example i b)) (fun i c => 1 * IZR (out example i c))
     (fun c => 1 * 1 * IZR (S1 example a c + S2 example b c)) c)).
  { assert (Ea : a = 0%nat \/ a = 1%nat) by lia; assert (Eb : b = 0%nat \/ b = 1%nat) by lia.
    destruct Ea as [-> | ->]; destruct Eb as [-> | ->].
    all: match goal with |- right 2 2 ?x ?y _ => refine (certified example 2 2 2 1 U (out example) (S1 example) (S2 example) [(1%Z, [0; 1]%nat)] 1 1 _ _ _ _ _ x y _ _
      _ _ _ 0 0 0 0 (fun _ => 0) (fun i => ReLU (1 * IZR (A example i x + B example i y))) (fun _ => 4) _ _ _ _ _
      (fun _ => 0%Z) (fun _ => 0%Z) (fun _ => 0%Z) (fun _ => 0%Z) (fun _ => 0%Z) (fun _ => 0%Z) _ _ _ _ _ _ _ 0 _ _ _) end.
    all: try lra; try lia; try reflexivity.
    all: try (intros; rewrite Rminus_eq_0, Rabs_R0; lra).
    all: try (intros i [<-|[<-|[]]]; vm_compute; discriminate).
    all: try (vm_compute; discriminate).
    all: try (intros i c c' [<-|[<-|[]]] Hc Hc'; destruct c as [|[|c]]; try lia; destruct c' as [|[|c']]; try lia; cbn; unfold Rabs; destruct Rcase_abs; lra).
    all: try (intros; apply Rle_refl).
    all: try (intros c Hc; lia).
    all: try (intros c Hc; unfold network; rewrite Rminus_eq_0, Rabs_R0; lra).
    all: try (intros c Hc; match goal with |- Rabs (?x - ?y) <= _ => change y with x end; rewrite Rminus_eq_0, Rabs_R0; lra).
    all: intros c Hc Hne; destruct c as [|[|c]]; try lia; try (exfalso; apply Hne; reflexivity).
    all: unfold κ_d, sum; cbn [neurons example map fold_right]; match goal with |- _ * IZR ?z - _ - _ > 0 => let v := eval vm_compute in z in change z with v end; lra. }
  intros c Hc Hne; specialize (C c Hc Hne); cbv beta in C.
  change (real_logit example 1 1 a b (answer 2 a b) > real_logit example 1 1 a b c) in C.
  rewrite !real_logit_spec in C by lra; lra.
Qed.
