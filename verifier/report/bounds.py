"""What the kernel proved, arranged for tables and pictures: margins, budgets, strategies.

Every number here comes from a function of the kernel and is rounded outward. Only what is in the conclusion is signed;
the bounds of single inputs and outputs, which no proof carries, are computed by the same functions when asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isqrt
from operator import mul
from pathlib import Path

from verifier.errors import VerifierError
from verifier.kernel import Conclusion
from verifier.kernel.arcs import ArcSums, sum_arcs
from verifier.kernel.certificate import read_certificate
from verifier.kernel.check import quadratures
from verifier.kernel.circuit import Circuit, fold, quantise
from verifier.kernel.conclusion import Dyadic
from verifier.kernel.cost import Cost
from verifier.kernel.exhaustive import exact_logits
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.logits import directions, full_margin, inputs_at
from verifier.kernel.model_file import read_model
from verifier.pipeline import Observer, Outcome, ignore, run_kernel
from verifier.report.subject import Subject, claim_of
from verifier.results import fraction

EXHAUSTIVE_WORK = 2_000_000_000
"""Multiply-adds up to which the exhaustive strategy is run for comparison."""
RIVALS = 4_000_000
"""p³ up to which the bounds of single outputs are kept."""


def term_total(value: Dyadic | dict[int, Dyadic]) -> Fraction:
    """A term of the budget, summed over the frequencies where it has them."""
    if isinstance(value, Dyadic):
        return fraction(value)
    return sum(map(fraction, value.values()), Fraction(0))


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to bound the least margin: what it proved, and the operations it needs.

    `kind` says where the number comes from: `Theorem L` (twice the error, taken off the closed form's margin) or
    `kernel` (the kernel's own least margin under that strategy).
    """

    name: str
    margin: Fraction
    operations: int
    kind: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The kernel's answers about one subject.

    **Fields**

    - `outcome`: of the claim. `conclusion`: what it proved (also when the claim failed).
    - `form_margin`: lower bound of the closed form's own least margin.
    - `strategies`: in order of strength.
    - `exact`: the exhaustive strategy's conclusion, or None when it would cost too much.
    """

    outcome: Outcome
    conclusion: Conclusion
    form_margin: Fraction
    strategies: tuple[Strategy, ...]
    exact: Conclusion | None


@dataclass(frozen=True, slots=True)
class InputBounds:
    """Bounds of every input, in hundredths of a logit; all indexed [a][b].

    **Fields**

    - `margins`: certified margin, rounded down, as the kernel concluded.
    - `families`, `others`, `band`, `rest`: the parts of Theorem L's bound at that input, rounded up.
    - `rivals`: for every (a, b) in order and every d = 1..p−1, one byte x: logit_{a+b} − logit_{a+b+d} is at least
      `low` + x·`step`; None when there are too many.
    """

    margins: list[list[int]]
    families: list[list[int]]
    others: list[list[int]]
    band: list[list[int]]
    rest: list[list[int]]
    rivals: bytes | None
    low: Fraction
    step: Fraction


def gather(subject: Subject, observe: Observer = ignore, *, exhaustive: bool = True) -> Evidence:
    """Run the kernel on the claim, and on the other strategies for comparison.

    **Raises** `InputError` for inputs that are not well-formed; `Unproved` when nothing at all could be proved.
    """
    outcome = _known(subject) or _run(subject, subject.claims[0], observe)
    for claim in subject.claims[1:]:
        if not outcome.proved:
            outcome = _run(subject, claim, observe)
    conclusion = outcome.conclusion
    if conclusion is None:
        raise Unproved(outcome.failure)
    linear = _strategy(subject, "linear", observe) if conclusion.claim.strategy != "linear" else conclusion
    everything = conclusion.accuracy.total_inputs
    refined = None
    if conclusion.claim.strategy == "refined":
        refined = conclusion
    elif linear.accuracy.certified_inputs < everything:
        refined = _strategy(subject, "refined", observe)
    exact = conclusion if conclusion.claim.strategy == "exhaustive" else None
    work = conclusion.neurons * conclusion.p**2 * conclusion.outputs
    if exact is None and exhaustive and work <= EXHAUSTIVE_WORK:
        exact = _strategy(subject, "exhaustive", observe)
    form_margin = _form_margin(subject)
    strategies = _strategies(form_margin, linear, refined, exact)
    return Evidence(outcome, conclusion, form_margin, strategies, exact)


class Unproved(VerifierError):
    """The kernel proved nothing about the subject."""


def _known(subject: Subject) -> Outcome | None:
    """What the kernel said while the certificate was made, if it is about this very certificate."""
    conclusion = subject.outcome.conclusion if subject.outcome is not None else None
    if conclusion is None or conclusion.certificate_sha256 != digest(subject.certificate_bytes):
        return None
    return subject.outcome


def _run(subject: Subject, claim: bytes, observe: Observer) -> Outcome:
    folder = subject.folder or Path("the new certificate's folder")
    paths = {
        "model": subject.source.path,
        "claim": folder / "claim.json",
        "certificate": folder / "certificate.json",
    }
    return run_kernel(paths, subject.source.data, claim, subject.certificate_bytes, observe)


def _strategy(subject: Subject, strategy: str, observe: Observer) -> Conclusion:
    """The claim with another strategy and nothing asked for, so that it cannot fail."""
    claim = claim_of(subject) | {"strategy": strategy, "certified_inputs": 0}
    outcome = _run(subject, json.dumps(claim).encode(), observe)
    if outcome.conclusion is None:
        raise Unproved(outcome.failure)
    return outcome.conclusion


@dataclass(frozen=True, slots=True)
class _Pass:
    """The kernel's linear pass, up to where the inputs can be looked at one by one.

    `lane` is the exponent of the units that `inputs_at` and the closed form's terms are in.
    """

    circuit: Circuit
    arc: ArcSums
    frequencies: tuple[int, ...]
    terms: dict[int, list[tuple[int, int, int]]]
    lane: int


@lru_cache(maxsize=1)
def _linear_pass(model: bytes, certificate_bytes: bytes) -> _Pass:
    source, certificate, cost = read_model(model), read_certificate(certificate_bytes), Cost()
    circuit = quantise(fold(source), source.p, cost)
    arc = sum_arcs(circuit, certificate, cost, ignore)
    _, form = quadratures(circuit, arc, certificate, cost)
    lane = arc.drop - circuit.pre_scale - circuit.out_scale - 1
    return _Pass(circuit, arc, certificate.output_frequencies, form.terms, lane)


def _form_margin(subject: Subject) -> Fraction:
    """Lower bound, over all δ and d, of the closed form's margin Σ_k Re[G_k(δ)(1 − e(kd/p))]."""
    linear = _linear_pass(subject.source.data, subject.certificate_bytes)
    frequencies = tuple(sorted(linear.terms))
    p = linear.circuit.p
    rows = directions(p, frequencies).rows
    bounds = []
    for delta in range(p):
        terms = [linear.terms[k][delta] for k in frequencies]
        vector = [part for re, im, _ in terms for part in (re, im)]
        full = [*vector, *(error for _, _, error in terms), sum(map(abs, vector))]
        bounds += [sum(map(mul, full, row)) for row in rows]
    unit: Fraction = Fraction(2) ** (linear.lane - TABLE_BITS)
    least: int = min(bounds)
    return least * unit


AFTER_LINEAR = ("rotation", "centres", "margins", "floating point")


def _strategies(
    form_margin: Fraction, linear: Conclusion, refined: Conclusion | None, exact: Conclusion | None
) -> tuple[Strategy, ...]:
    operations = linear.operations
    base = sum(count for step, count in operations.items() if step not in AFTER_LINEAR and step != "refinement") - sum(
        operations[f"quadrature: {name}"] for name in ("rectangle", "harmonic")
    )
    result = [Strategy("naive", form_margin - 2 * fraction(linear.logits.naive), base, "Theorem L")]
    for method in ("rectangle", "harmonic"):
        margin = form_margin - 2 * method_error(linear, method)
        result.append(Strategy(method, margin, base + operations[f"quadrature: {method}"], "Theorem L"))
    result.append(Strategy("arc sum", form_margin - 2 * fraction(linear.logits.max_error), base, "Theorem L"))
    result.append(_concluded("linear", linear))
    if refined is not None:
        result.append(_concluded("refined", refined))
    if exact is not None:
        accuracy = exact.accuracy
        result.append(Strategy("exhaustive", fraction(accuracy.min_margin), operations_of(exact), "kernel"))
    return tuple(result)


def operations_of(conclusion: Conclusion) -> int:
    """What the strategy itself costs: the exhaustive one needs no explanation, only the folded circuit."""
    operations = conclusion.operations
    if "exhaustive" in operations:
        return operations["exhaustive"] + operations["fold and quantise"]
    return sum(operations.values())


def _concluded(name: str, conclusion: Conclusion) -> Strategy:
    return Strategy(name, fraction(conclusion.accuracy.min_margin), sum(conclusion.operations.values()), "kernel")


def method_error(conclusion: Conclusion, method: str) -> Fraction:
    """Theorem L's bound, its terms summed, with one method of Theorem Q at every frequency.

    The budget's quadrature term is proportional to the bound used, so it scales by method/bound.
    """
    budget = conclusion.logits.budget
    rules = {bound.frequency: bound for bound in conclusion.quadrature}
    quadrature = budget["quadrature"]
    error = sum((term_total(value) for name, value in budget.items() if name != "quadrature"), Fraction(0))
    if isinstance(quadrature, Dyadic):
        return error + fraction(quadrature)
    for k, term in quadrature.items():
        bound: Dyadic = getattr(rules[k], method)
        # One unit up in both places covers the rounding of the term itself.
        unit = Fraction(2) ** term.exponent
        error += (fraction(term) + unit) * fraction(bound) / fraction(rules[k].bound) + unit
    return error


def input_bounds(subject: Subject, conclusion: Conclusion) -> InputBounds:
    """The bounds of every input by itself."""
    linear = _linear_pass(subject.source.data, subject.certificate_bytes)
    circuit, frequencies, lane = linear.circuit, linear.frequencies, linear.lane
    p, scale = circuit.p, circuit.pre_scale + circuit.out_scale
    rows = directions(p, frequencies).rows
    beyond = circuit.outputs > p
    exponent = lane - TABLE_BITS
    penalty = _ceiling(
        circuit.difference_error * Fraction(2) ** -scale + 2 * fraction(conclusion.accuracy.floating_point), exponent
    )
    keep = p**3 <= RIVALS
    table: dict[tuple[int, int], list[int]] = {}
    parts = {name: [[0] * p for _ in range(p)] for name in ("families", "others", "band", "rest")}
    redo = []
    for delta in range(p):
        for b, x in enumerate(inputs_at(linear.arc, frequencies, delta)):
            a = (b + delta) % p
            family = other = 0
            for index, j in enumerate(frequencies):
                re, im = x.turned[2 * index], x.turned[2 * index + 1]
                if j in linear.terms:
                    form_re, form_im, error = linear.terms[j][delta]
                    family += _modulus(re - form_re, im - form_im) + error
                else:
                    other += _modulus(re, im)
            for name, value in (
                ("families", family),
                ("others", other),
                ("band", sum(x.radii)),
                ("rest", (x.rest + 1) >> 1),
            ):
                parts[name][a][b] = _hundredths_up(value, lane)
            if not keep:
                continue
            vector = [*x.turned, *x.radii, (x.rest << TABLE_BITS) + sum(map(abs, x.turned))]
            own = [sum(map(mul, vector, row)) - penalty for row in rows]
            table[a, b] = own
            if conclusion.margins[a][b] > min(full_margin(x, rows, beyond) - penalty, min(own)):
                redo.append((a, b))
    _use_exact_logits(table, redo, circuit, penalty, exponent, scale)
    margins = [[_hundredths_down(margin, conclusion.margin_exponent) for margin in row] for row in conclusion.margins]
    rivals, low, step = _pack(table, p) if keep else (None, 0, 1)
    unit = Fraction(2) ** exponent
    return InputBounds(margins, **parts, rivals=rivals, low=low * unit, step=step * unit)


def _use_exact_logits(
    table: dict[tuple[int, int], list[int]],
    redo: Sequence[tuple[int, int]],
    circuit: Circuit,
    penalty: int,
    exponent: int,
    scale: int,
) -> None:
    """Refined inputs were evaluated exactly: take their rivals' bounds from their exact logits."""
    p, lift = circuit.p, -scale - exponent
    for start in range(0, len(redo), p):
        block = redo[start : start + p]
        for (a, b), logits in zip(block, exact_logits(circuit, block), strict=True):
            right = logits[(a + b) % p]
            table[a, b] = [((right - logits[(a + b + d) % p]) << lift) - penalty for d in range(1, p)]


def _pack(table: dict[tuple[int, int], list[int]], p: int) -> tuple[bytes, int, int]:
    low = min(map(min, table.values()))
    high = max(map(max, table.values()))
    step = max(1, -(-(high - low) // 255))
    packed = bytearray()
    for a in range(p):
        for b in range(p):
            packed += bytes((x - low) // step for x in table[a, b])
    return bytes(packed), low, step


def _modulus(re: int, im: int) -> int:
    return isqrt(re * re + im * im) + 1


def _ceiling(value: Fraction, exponent: int) -> int:
    scaled = value / Fraction(2) ** exponent
    return -(-scaled.numerator // scaled.denominator)


def _hundredths_up(value: int, exponent: int) -> int:
    return -_hundredths_down(-value, exponent)


def _hundredths_down(value: int, exponent: int) -> int:
    return 100 * value << exponent if exponent >= 0 else 100 * value >> -exponent


def digest(data: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(data).hexdigest()
