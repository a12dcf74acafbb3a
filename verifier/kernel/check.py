"""The checker: model, claim and certificate in, a conclusion out, or a rejection.

1. decode the three inputs, each strictly, and compare digests, p and the number of neurons;
2. fold the network and round it to fixed point (Lemma K);
3. Theorem Q at every frequency of the families;
4. arc sums (Lemmas O, R, C, S), the logits and the margins of all inputs (Theorems L and A), in linear time;
5. what the claim's semantics costs (Theorem F);
6. refinement or exhaustive evaluation, when the claim's strategy allows it;
7. compare with the claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from verifier.kernel import limits
from verifier.kernel.arcs import ArcSums, sum_arcs
from verifier.kernel.certificate import Certificate, read_certificate
from verifier.kernel.circuit import Circuit, fold, quantise
from verifier.kernel.claim import Claim, read_claim
from verifier.kernel.conclusion import Accuracy, Conclusion, Dyadic, LogitBound, QuadratureBound, worst
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.exhaustive import Exhaustive, exact_logits, exact_margin, exhaustive
from verifier.kernel.floating_point import UNIT_BITS, logit_rounding
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.logits import ClosedForm, Logits, closed_form, directions, full_margin, inputs_at, logits
from verifier.kernel.model_file import ModelFile, read_model
from verifier.kernel.quadrature import BOUND_BITS, Node, Quadrature, moment, quadrature
from verifier.kernel.reasons import Reason, Rejected, require


def _silent(step: str, done: int, total: int) -> None:
    """An observer that does nothing."""


def check(model: bytes, claim: bytes, certificate: bytes, observe: Observer = _silent) -> Conclusion:
    """Prove the claim about the model with the help of the certificate.

    **Arguments**

    - `model`, `claim`, `certificate`: the bytes of the three files.
    - `observe`: called with (step, done, total) while the check runs.

    **Returns** a `Conclusion`; returning at all means that the claim is proved.

    **Raises** `Rejected`, whose reason tells a malformed input (`kind == "malformed"`) from an unproved statement
    (`kind == "unproved"`; then `findings` is what was proved, unless nothing was).
    """
    cost = Cost()
    observe("read", 0, 1)
    claimed = read_claim(claim)
    source = read_model(model)
    explanation = read_certificate(certificate)
    _require_same(claimed, source, explanation, hashlib.sha256(model).hexdigest())
    observe("fold", 0, 1)
    folded = fold(source)
    circuit = quantise(folded, source.p, cost)
    require(circuit.neurons == explanation.neurons, Reason.NEURONS, "certificate.neurons: not the model's number")
    if claimed.strategy != "exhaustive":
        _require_linear(explanation, circuit)
    arc = sum_arcs(circuit, explanation, cost, observe)
    rules, form = quadratures(circuit, arc, explanation, cost)
    units = _Units(circuit.pre_scale + circuit.out_scale, arc.drop)
    rounding = 0 if claimed.semantics == "real" else logit_rounding(source, folded, circuit, claimed.semantics, cost)
    penalty = units.margin(circuit.difference_error) + units.margin_of(rounding, UNIT_BITS, 2)
    result = logits(arc, rules, form, circuit, explanation, penalty, cost, observe)
    margins = [[margin - penalty for margin in row] for row in result.margins]
    linear = sum(margin > 0 for row in margins for margin in row)
    refined, exact = 0, None
    if claimed.strategy == "exhaustive":
        exact = exhaustive(circuit, form, arc.drop, cost, observe)
        margins = [[units.margin(margin) - penalty for margin in row] for row in exact.margins]
    elif claimed.strategy == "refined":
        refined = _refine(margins, penalty, circuit, arc, explanation, claimed, units, cost, observe)
    conclusion = Conclusion(
        model_sha256=claimed.model_sha256,
        claim_sha256=hashlib.sha256(claim).hexdigest(),
        certificate_sha256=hashlib.sha256(certificate).hexdigest(),
        claim=claimed,
        p=circuit.p,
        outputs=circuit.outputs,
        neurons=circuit.neurons,
        parameters=circuit.parameters,
        explanation=_counts(explanation),
        quadrature=tuple(
            _quadrature_bound(rule, result, form, units, arc.fit + units.doubled(circuit.difference_error))
            for rule in rules
        ),
        logits=_logit_bound(result, circuit, units),
        accuracy=_accuracy(margins, linear, refined, exact, rounding, circuit, claimed, units),
        operations=dict(cost.operations),
        margins=tuple(map(tuple, margins)),
        margin_exponent=units.margin_exponent,
    )
    certified = conclusion.accuracy.certified_inputs
    if certified < claimed.certified_inputs:
        detail = f"{certified} of {circuit.p**2} inputs certified, the claim says {claimed.certified_inputs}"
        raise Rejected(Reason.INPUTS, detail, conclusion)
    return conclusion


def _require_same(claim: Claim, model: ModelFile, certificate: Certificate, digest: str) -> None:
    require(claim.model_sha256 == digest, Reason.DIGEST, f"claim.model_sha256: the model file's is {digest}")
    require(
        certificate.model_sha256 == digest,
        Reason.DIGEST,
        f"certificate.model_sha256: the model file's is {digest}",
    )
    require(claim.p == model.p, Reason.MODULUS, f"claim.p: {claim.p}, the model has {model.p}")
    require(certificate.p == model.p, Reason.MODULUS, f"certificate.p: {certificate.p}, the model has {model.p}")


def _require_linear(certificate: Certificate, circuit: Circuit) -> None:
    """Outliers are brute force for single neurons: linear only as long as they cost a constant times the parameters."""
    cost, most = len(certificate.outliers) * circuit.p**2, limits.OUTLIER_COST * circuit.parameters
    require(cost <= most, Reason.BUDGET, f"certificate.outliers: {cost} evaluations, at most {most} for a linear check")


@dataclass(frozen=True, slots=True)
class _Units:
    """The exponents of the units in use: circuit 2^-scale, lanes 2^-(scale − drop), margins 2^-(scale − drop + 1 +
    30).
    """

    scale: int
    drop: int

    @property
    def lane_exponent(self) -> int:
        return self.drop - self.scale - 1

    @property
    def margin_exponent(self) -> int:
        return self.lane_exponent - TABLE_BITS

    def margin(self, circuit_units: int) -> int:
        """Circuit units in margin units (exact: the latter are finer)."""
        return circuit_units << (TABLE_BITS + 1 - self.drop)

    def doubled(self, circuit_units: int) -> int:
        """Twice circuit units in lane units, rounded up."""
        return -(-2 * circuit_units >> self.drop)

    def margin_of(self, value: int, bits: int, factor: int) -> int:
        """`factor`·value·2^-bits in margin units, rounded up."""
        shift = -self.margin_exponent - bits
        return factor * value << shift if shift >= 0 else -(-factor * value >> -shift)


def quadratures(
    circuit: Circuit, arc: ArcSums, certificate: Certificate, cost: Cost
) -> tuple[list[Quadrature], ClosedForm]:
    """Theorem Q at every frequency of the families, in ascending order; and the closed form of the logits."""
    place = {j: index for index, j in enumerate(certificate.output_frequencies)}
    shift = certificate.amplitude_exponent + circuit.pre_scale
    nodes: dict[int, list[Node]] = {}
    moments = []
    for family in certificate.families:
        index = place[family.frequency]
        own = [
            Node(member.phase, member.amplitude, shift, *arc.splits[member.neuron].omega[index])
            for member in family.members
        ]
        moments.append(moment(own))
        nodes.setdefault(family.frequency, []).extend(own)
    boxes = {box.frequency: box for box in certificate.boxes}
    rules = [quadrature(k, nodes[k], boxes[k], circuit.p, cost) for k in sorted(nodes)]
    return rules, closed_form(arc, certificate, moments, circuit.p, cost)


def _refine(
    margins: list[list[int]],
    penalty: int,
    circuit: Circuit,
    arc: ArcSums,
    certificate: Certificate,
    claim: Claim,
    units: _Units,
    cost: Cost,
    observe: Observer,
) -> int:
    """Refinement within the claim's budget; updates `margins` and returns how many inputs it certified.

    First all output offsets of an input with the sums already there (cost p(3J + 1)), then the input's exact logits
    (cost n(q + 1)), the most promising inputs first.
    """
    p, frequencies = circuit.p, certificate.output_frequencies
    budget = claim.refinement_budget * circuit.parameters
    rows = directions(p, frequencies).rows
    beyond = circuit.outputs > p
    refined, spent = 0, 0
    for delta in range(p):
        places = [((b + delta) % p, b) for b in range(p)]
        if all(margins[a][b] > 0 for a, b in places):
            continue
        observe("refine", delta, p)
        for (a, b), x in zip(places, inputs_at(arc, frequencies, delta), strict=True):
            price = p * (3 * len(frequencies) + 1)
            if margins[a][b] > 0 or spent + price > budget:
                continue
            spent += price
            margins[a][b] = max(margins[a][b], full_margin(x, rows, beyond) - penalty)
            refined += margins[a][b] > 0
    failing = sorted((-margins[a][b], a, b) for a in range(p) for b in range(p) if margins[a][b] <= 0)
    price = circuit.neurons * (circuit.outputs + 1)
    chosen = [(a, b) for _, a, b in failing[: max(0, budget - spent) // price]]
    spent += price * len(chosen)
    for start in range(0, len(chosen), p):
        observe("refine", start, len(chosen))
        block = chosen[start : start + p]
        for (a, b), values in zip(block, exact_logits(circuit, block), strict=True):
            margins[a][b] = units.margin(exact_margin(values, (a + b) % p)) - penalty
            refined += margins[a][b] > 0
    cost.add("refinement", spent)
    return refined


def _counts(certificate: Certificate) -> dict[str, int]:
    return {
        "families": len(certificate.families),
        "output_frequencies": len(certificate.output_frequencies),
        "cells": certificate.cells * certificate.p,
        "critical_offsets": certificate.critical_offsets,
        "outliers": len(certificate.outliers),
        "on": len(certificate.on),
        "off": len(certificate.off),
    }


def _quadrature_bound(rule: Quadrature, result: Logits, form: ClosedForm, units: _Units, error: int) -> QuadratureBound:
    """`error`: how far the Fourier coefficients of the file's network can be from what the sums say.

    A coefficient (2/p)Σ_c g_c·e(−kc/p) is at most the range of g, here κ_d.
    """
    names = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound")
    bounds = {name: Dyadic(getattr(rule, name), -BOUND_BITS) for name in names}
    return QuadratureBound(
        rule.frequency,
        rule.neurons,
        **bounds,
        network_error=Dyadic(result.network[rule.frequency] + error, units.lane_exponent),
        amplitude=Dyadic(form.amplitude(rule.frequency), units.lane_exponent),
    )


def _logit_bound(result: Logits, circuit: Circuit, units: _Units) -> LogitBound:
    exponent, budget = units.lane_exponent, result.budget
    fixed_point = units.doubled(circuit.logit_error)

    def by_frequency(terms: dict[int, int]) -> dict[int, Dyadic]:
        return {k: Dyadic(bound, exponent) for k, bound in sorted(terms.items())}

    return LogitBound(
        max_error=Dyadic(result.max_error + fixed_point, exponent),
        naive=Dyadic(result.naive + fixed_point, exponent),
        budget={
            "quadrature": by_frequency(budget.quadrature),
            "profile": by_frequency(budget.profile),
            "other_frequencies": by_frequency(budget.other),
            "band": Dyadic(budget.band, exponent),
            "output_residual": Dyadic(budget.output, exponent),
            "skip": Dyadic(budget.skip, exponent),
            "fixed_point": Dyadic(fixed_point, exponent),
        },
    )


def _accuracy(
    margins: Sequence[Sequence[int]],
    linear: int,
    refined: int,
    exact: Exhaustive | None,
    rounding: int,
    circuit: Circuit,
    claim: Claim,
    units: _Units,
) -> Accuracy:
    p, exponent = circuit.p, units.margin_exponent
    certified = sum(margin > 0 for row in margins for margin in row)
    failing = [(margin, a, b) for a, row in enumerate(margins) for b, margin in enumerate(row) if margin <= 0]
    true_margin = deviation = None
    if exact is not None:
        least = min(map(min, exact.margins))
        error, single = circuit.difference_error, circuit.logit_error
        true_margin = (Dyadic(least - error, -units.scale), Dyadic(least + error, -units.scale))
        deviation = (
            Dyadic(max(0, exact.deviation_below - single), -units.scale),
            Dyadic(exact.deviation + single, -units.scale),
        )
    exhaustively = certified if exact is not None else 0
    return Accuracy(
        certified_inputs=certified,
        total_inputs=p * p,
        linear=0 if exact is not None else linear,
        refined=refined,
        exhaustive=exhaustively,
        min_margin=Dyadic(min(map(min, margins)), exponent),
        semantics=claim.semantics,
        floating_point=Dyadic(rounding, -UNIT_BITS),
        true_min_margin=true_margin,
        max_deviation=deviation,
        uncertified=worst(failing, exponent),
    )
