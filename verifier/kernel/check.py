"""The checker: model, claim and certificate in, a conclusion out, or a rejection.

1. decode the three inputs, each strictly, and compare digests, p and the number of neurons;
2. name operands and outputs such that the task is addition, fold the network and round it to fixed point (Lemma K);
3. what the claim's semantics costs (Theorem F);
4. the sums of the MLP at every input: output directions (Lemma B) and event sums (Lemma E);
5. Theorem Q at every frequency of the families, and the closed form (Lemma I);
6. logits, margins, and what the closed form explains (Theorems L, A and X);
7. compare with the claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import CAPACITY, Ints, largest
from verifier.kernel.certificate import Certificate, read_certificate
from verifier.kernel.circuit import Circuit, fold, quantise, units_up
from verifier.kernel.claim import Claim, read_claim
from verifier.kernel.closed_form import ROOM, ClosedForm, Written, closed_form, written
from verifier.kernel.conclusion import (
    Accuracy,
    Attention,
    ClosedFormBound,
    Conclusion,
    Dyadic,
    LogitBound,
    QuadratureBound,
    Uncertified,
    Wrong,
)
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.directions import exact_sums, linear_sums
from verifier.kernel.events import Events
from verifier.kernel.floating_point import UNIT_BITS, logit_rounding
from verifier.kernel.learned import learned_sums
from verifier.kernel.limits import LISTED_INPUTS
from verifier.kernel.logits import Lanes, Logits, logits, prepare
from verifier.kernel.model_file import ModelFile, read_model
from verifier.kernel.operation import Names, names_of, renamed
from verifier.kernel.quadrature import BOUND_BITS, Nodes, Quadrature, quadratures
from verifier.kernel.reasons import Reason, Rejected, require

GAP_BITS = 20  # the gap error is in units of 2^-20


def _silent(step: str, done: int, total: int) -> None:
    """An observer that does nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Arrays behind a conclusion, for pictures; they are not signed. Integers in units of 2^`exponent` logits.

    **Fields**

    - `names`: what i, j and k below stand for, p being `names.modulus`.
    - `margins` [p, p]: certified margins, semantics included. `deviations` [p, p]: Theorem L at every input, without
      Lemma K. By δ = a − b, [p]: `explained`, and `gaps`, Theorem X's γ.
    - `form`: the closed form.
    - `sums` [p, p, L], `directions` [q, L]: Lemma B's, whose product is the logits; `directions` is None for the exact
      strategy, where the sums are the logits.
    """

    names: Names
    exponent: int
    margins: Ints
    deviations: Ints
    explained: tuple[bool, ...]
    gaps: Ints
    form: ClosedForm
    sums: Ints
    directions: Ints | None


@dataclass(frozen=True, slots=True)
class Checked:
    """A conclusion and the arrays behind it."""

    conclusion: Conclusion
    evidence: Evidence


def check(model: bytes, claim: bytes, certificate: bytes, observe: Observer = _silent) -> Checked:
    """Prove the claim about the model with the help of the certificate.

    **Arguments**

    - `model`, `claim`, `certificate`: the bytes of the three files.
    - `observe`: called with (step, done, total) while the check runs.

    **Returns** a `Checked`; returning at all means that the claim is proved.

    **Raises** `Rejected`, whose reason tells a malformed input (`kind == "malformed"`) from an unproved statement
    (`kind == "unproved"`; then `findings` is what was proved, unless nothing was).
    """
    cost = Cost()
    observe("read", 0, 1)
    claimed = read_claim(claim)
    source = read_model(model)
    explanation = read_certificate(certificate)
    names = names_of(claimed.task, claimed.p, source.outputs)
    _require_same(claimed, source, explanation, names.modulus, hashlib.sha256(model).hexdigest())
    source = renamed(source, claimed.task, names)
    observe("fold", 0, 1)
    folded = fold(source, cost)
    exact, learned = claimed.strategy == "exact", source.scale_squared is not None
    dense = learned and claimed.strategy != "linear"
    require(
        dense or claimed.strategy != "semi-linear",
        Reason.FIELD,
        "claim.strategy: semi-linear is for learned attention, and the model declares its attention",
    )
    if dense:
        width = 2 * source.outputs if exact else explanation.directions.shape[1]
        source.require_held(source.p**2 * (width + source.weights_held + limits.INPUT_TABLES), "claim.strategy")
    circuit = quantise(folded, source.p, cost, folded.attention.error if dense else None)
    require(circuit.neurons == explanation.neurons, Reason.NEURONS, "certificate.neurons: not the model's number")
    require(
        len(explanation.directions) == circuit.outputs,
        Reason.FIELD,
        f"certificate.directions: {len(explanation.directions)} rows, the model has {circuit.outputs} outputs",
    )
    rounding = 0 if claimed.semantics == "real" else logit_rounding(source, folded, circuit, claimed.semantics, cost)
    observe("event sums", 0, 1)
    if dense:
        directions = None if exact else explanation.directions
        sums = learned_sums(circuit, folded, source.positions, folded.attention.weights, directions, cost, observe)
        count, lanes = 0, prepare(sums, circuit.pre_scale + circuit.out_scale)
    else:
        width = circuit.outputs if exact else explanation.directions.shape[1] + 2
        source.require_held(circuit.p**2 * (width + limits.INPUT_TABLES), "claim.strategy")
        count, lanes = _sums(circuit, explanation, claimed, cost)
    observe("quadrature", 0, 1)
    outputs = written(circuit, explanation, cost)
    rules = _quadratures(circuit, explanation, outputs, cost)
    unit = explanation.amplitude_exponent - circuit.out_scale - lanes.exponent  # of W: 2^unit logit units
    form = closed_form(circuit, explanation, outputs, lanes.exponent, cost)
    found = logits(lanes, form, rules, unit, cost, observe)
    scale = circuit.pre_scale + circuit.out_scale
    loss = _Loss(
        units_up(circuit.logit_error, -scale, lanes.exponent),
        units_up(circuit.difference_error, -scale, lanes.exponent),
        units_up(rounding, -UNIT_BITS, lanes.exponent),
        units_up(2 * rounding, -UNIT_BITS, lanes.exponent),
    )
    most = max(loss.logit, loss.difference, loss.executed_difference) << ROOM
    require(
        most < CAPACITY, Reason.NOT_PROVED, "what attention intervals and rounding may change is beyond every logit"
    )
    explained = _explained(found, loss)
    margins = np.minimum(found.margins, found.beyond) - np.int64(loss.difference + loss.executed_difference)
    conclusion = Conclusion(
        model_sha256=claimed.model_sha256,
        claim_sha256=hashlib.sha256(claim).hexdigest(),
        certificate_sha256=hashlib.sha256(certificate).hexdigest(),
        claim=claimed,
        outputs=circuit.outputs,
        neurons=circuit.neurons,
        parameters=circuit.parameters,
        attention=Attention(
            "none" if not source.positions else "declared" if source.scale_squared is None else "softmax",
            tuple((str(low), str(high)) for low, high in circuit.attention.ranges()),
        ),
        explanation={
            "families": len(explanation.families),
            "directions": explanation.directions.shape[1],
            "others": explanation.others,
            "nodes": explanation.nodes,
        },
        quadrature=tuple(_quadrature_bound(rule, found, form, loss.difference) for rule in rules.values()),
        logits=_logit_bound(
            found, rules, unit, loss.logit, units_up(circuit.attention_error, -scale, lanes.exponent), lanes.exponent
        ),
        closed_form=explained.bound(found.deformation, lanes.exponent),
        accuracy=_accuracy(margins, found, explained, loss, rounding, lanes, claimed, names),
        brute_force=circuit.p**2
        * circuit.neurons
        * (circuit.outputs + len(folded.moves.heads) * len(source.positions)),
        events=count,
        operations=dict(cost.operations),
    )
    evidence = Evidence(
        names=names,
        exponent=lanes.exponent,
        margins=margins,
        deviations=found.deviations,
        explained=explained.by_offset,
        gaps=found.gaps[:, 1:].min(axis=1),
        form=form,
        sums=lanes.sums,
        directions=lanes.directions,
    )
    certified = conclusion.accuracy.certified_inputs
    if certified < claimed.certified_inputs:
        detail = f"{certified} of {circuit.p**2} inputs certified, the claim says {claimed.certified_inputs}"
        raise Rejected(Reason.INPUTS, detail, Checked(conclusion, evidence))
    return Checked(conclusion, evidence)


def _require_same(claim: Claim, model: ModelFile, certificate: Certificate, modulus: int, digest: str) -> None:
    require(claim.model_sha256 == digest, Reason.DIGEST, f"claim.model_sha256: the model file's is {digest}")
    require(
        certificate.model_sha256 == digest, Reason.DIGEST, f"certificate.model_sha256: the model file's is {digest}"
    )
    require(claim.p == model.p, Reason.MODULUS, f"claim.p: {claim.p}, the model has {model.p}")
    require(certificate.p == modulus, Reason.MODULUS, f"certificate.p: {certificate.p}, the task is modulo {modulus}")


def _sums(circuit: Circuit, certificate: Certificate, claim: Claim, cost: Cost) -> tuple[int, Lanes]:
    """Lemmas B and E by the claim's strategy, after bounding what they will take; and the number of events.

    **Raises** `Rejected(BUDGET)` when the events are too many for the strategy, `Rejected(SIZE)`, `Rejected(CAPACITY)`.
    """
    p, q, n = circuit.p, circuit.outputs, circuit.neurons
    exact = claim.strategy == "exact"
    lanes = q if exact else certificate.directions.shape[1] + 2
    require(
        not exact or p * p * q <= limits.EXACT_LOGITS, Reason.SIZE, f"claim.strategy: {p * p * q} logits are too many"
    )
    cost.add("events", 12 * n * p)
    events = Events(circuit.pre_a, circuit.pre_b, certificate.orders)
    orders = len(events.groups)
    most = limits.EVENTS_PER_ENTRY * 2 * n * p
    work = (events.count + 3 * p * p * orders) * lanes
    require(work <= limits.SUM_WORK, Reason.BUDGET, f"claim.strategy: {work} additions are too many")
    if exact:
        return events.count, prepare(exact_sums(circuit, events, cost), circuit.pre_scale + circuit.out_scale)
    require(events.count <= most, Reason.BUDGET, f"certificate: {events.count} events, a linear check takes {most}")
    found = linear_sums(circuit, certificate.directions, events, cost)
    return events.count, prepare(found, circuit.pre_scale + circuit.out_scale)


def _quadratures(
    circuit: Circuit, certificate: Certificate, outputs: Sequence[Written], cost: Cost
) -> dict[int, Quadrature]:
    """Theorem Q at every frequency of the families, in ascending order. `outputs`: by family."""
    nodes = {}
    for k in sorted(certificate.boxes):
        own = [(x, y) for x, y in zip(certificate.families, outputs, strict=True) if x.frequency == k]
        parts = ((x.phases, x.amplitudes, y.re[0], y.im[0]) for x, y in own)
        phases, amplitudes, re, im = map(np.concatenate, zip(*parts, strict=True))
        nodes[k] = Nodes(phases, amplitudes, re, im, max(y.error for _, y in own))
    return quadratures(nodes, certificate.boxes, circuit.p, cost)


@dataclass(frozen=True, slots=True)
class _Loss:
    """Lemma K's κ and κ_d and Theorem F's bound, of one logit and of a difference of two, in logit units."""

    logit: int
    difference: int
    executed: int
    executed_difference: int


@dataclass(frozen=True, slots=True)
class _Explained:
    """Theorem X, in logit units.

    **Fields**

    - `by_offset` [p], `inputs`: how many inputs that makes. `error`, `least_gap`: the largest E and the least γ.
    - `gap_error`: ρ in units of 2^-20, or None.
    """

    by_offset: tuple[bool, ...]
    inputs: int
    error: int
    least_gap: int
    gap_error: int | None

    def bound(self, deformation: int | None, exponent: int) -> ClosedFormBound:
        everything = self.least_gap > 2 * self.error and all(self.by_offset)
        moved = None if deformation is None else Dyadic(deformation, exponent)
        return ClosedFormBound(Dyadic(self.least_gap, exponent), Dyadic(self.error, exponent), everything, moved)


def _explained(found: Logits, loss: _Loss) -> _Explained:
    """Theorem X: for one δ, let E bound the distance of every executed logit c < p of its p inputs from the closed
    form, and γ be the closed form's least gap. γ > 2E ⟹ the right answer leads at all p inputs, among c < p; the
    outputs beyond p must be proved below at each of them.

    Premise of ρ: |gap − closed gap| <= spread + κ_d for all b of a δ ⟹ ρ <= max (spread + κ_d)/closed gap.
    """
    p = len(found.spread)
    c = np.arange(p, dtype=np.int64)
    of_offset = (c[:, None] + c) % p, c  # [δ, b]: the input (b + δ, b)
    worst, below = found.deviations[of_offset].max(axis=1), found.beyond[of_offset].min(axis=1)
    gaps = found.gaps[:, 1:].min(axis=1).tolist()
    errors = [x + loss.logit + loss.executed for x in worst.tolist()]
    clear = [x > loss.difference + loss.executed_difference for x in below.tolist()]
    by_offset = tuple(gap > 2 * e and over for gap, e, over in zip(gaps, errors, clear, strict=True))
    ratio = None
    if min(gaps) > 0:
        # Both rounded to 40 bits, outward.
        top, bottom = found.spread[:, 1:] + np.int64(loss.difference), found.gaps[:, 1:]
        shift = max(0, int(top.max()).bit_length() - 40)
        fine, coarse = bottom >> shift, -(-top >> shift)
        if int(fine.min()) > 0:
            ratio = int(((coarse << GAP_BITS) // fine).max()) + 1
    return _Explained(by_offset, p * sum(by_offset), max(errors), min(gaps), ratio)


def _quadrature_bound(rule: Quadrature, found: Logits, form: ClosedForm, error: int) -> QuadratureBound:
    """`error`: the Fourier coefficient of logits that move by g_c moves by at most the range of g, here κ_d."""
    names = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound")
    return QuadratureBound(
        rule.frequency,
        rule.neurons,
        **{name: Dyadic(getattr(rule, name), -BOUND_BITS) for name in names},
        network_error=Dyadic(found.network[rule.frequency] + error, form.exponent),
        amplitude=Dyadic(form.amplitude(rule.frequency), form.exponent),
    )


def _logit_bound(
    found: Logits, rules: dict[int, Quadrature], unit: int, error: int, attention: int, exponent: int
) -> LogitBound:
    def by_frequency(terms: dict[int, int]) -> dict[int, Dyadic]:
        return {k: Dyadic(bound, exponent) for k, bound in terms.items()}

    # 2|cos| <= 2 times the rule's error W·E/2π; 2π > 6.28.
    ideal = {k: units_up(200 * rule.bound * rule.weight // 628 + 1, unit - BOUND_BITS, 0) for k, rule in rules.items()}
    return LogitBound(
        max_error=Dyadic(int(found.deviations.max()) + error, exponent),
        budget={
            "quadrature": by_frequency(ideal),
            "profile": by_frequency(found.profile),
            "other_frequencies": Dyadic(found.other, exponent),
            "output_rest": Dyadic(found.rest, exponent),
            "fixed_point": Dyadic(error - attention + 1, exponent),
            "attention": Dyadic(attention, exponent),
        },
    )


def _accuracy(
    margins: Ints,
    found: Logits,
    explained: _Explained,
    loss: _Loss,
    rounding: int,
    lanes: Lanes,
    claim: Claim,
    names: Names,
) -> Accuracy:
    p, exponent = len(margins), lanes.exponent
    failing = np.argwhere(margins <= 0).tolist()
    operands = names.a.tolist(), names.b.tolist()
    worst = sorted((int(margins[i, j]), operands[0][i], operands[1][j]) for i, j in failing)[:LISTED_INPUTS]
    least, deviation = None, None
    wrong: list[tuple[int, int, int, int]] | None = None
    if claim.strategy == "exact":
        # Everything is exact but for the closed form's table and, with learned attention, a little rest.
        rest, most = largest(lanes.rest), int(found.deviations.max())
        low = int(np.minimum(found.margins, found.beyond).min())
        least = (Dyadic(low - loss.difference, exponent), Dyadic(low + 2 * rest + loss.difference, exponent))
        lost = found.slack + rest + loss.logit
        deviation = (Dyadic(max(0, most - lost), exponent), Dyadic(most + loss.logit, exponent))
        wrong = _wrong(lanes.sums, failing, rest + loss.difference + loss.executed_difference, names)
    return Accuracy(
        strategy=claim.strategy,
        semantics=claim.semantics,
        certified_inputs=p * p - len(failing),
        total_inputs=p * p,
        explained_inputs=explained.inputs,
        gap_error=None if explained.gap_error is None else Dyadic(explained.gap_error, -GAP_BITS),
        min_margin=Dyadic(int(margins.min()), exponent),
        floating_point=Dyadic(rounding, -UNIT_BITS),
        uncertified_inputs=len(failing),
        uncertified=tuple(Uncertified(a, b, Dyadic(margin, exponent)) for margin, a, b in worst),
        true_min_margin=least,
        max_deviation=deviation,
        wrong_inputs=None if wrong is None else len(wrong),
        wrong=None
        if wrong is None
        else tuple(Wrong(a, b, answer, Dyadic(lead, exponent)) for lead, a, b, answer in wrong[:LISTED_INPUTS]),
    )


def _wrong(sums: Ints, failing: list[list[int]], loss: int, names: Names) -> list[tuple[int, int, int, int]]:
    """(lead, a, b, answer) of the inputs that are answered wrong whatever Lemma K and Theorem F allow, worst first."""
    found = []
    for i, j in failing:
        row = sums[i, j]
        answer = int(row.argmax())
        lead = int(row[answer] - row[(i + j) % len(sums)]) - loss
        if lead > 0:
            found.append((lead, int(names.a[i]), int(names.b[j]), int(names.outputs[answer])))
    return sorted(found, reverse=True)
