"""The ground truth: every logit of every input, exactly, for the fixed-point circuit (cost n·p²·q)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verifier.kernel.balls import integer_product
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.limits import EXHAUSTIVE_OPERATIONS, TABLE_BITS
from verifier.kernel.logits import ClosedForm
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import circle


def exact_logits(circuit: Circuit, inputs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """All q logits of each input (a, b), exactly, in units of 2^-(pre_scale + out_scale)."""
    n, q = circuit.neurons, circuit.outputs
    hidden = [
        x + y if x + y > 0 else 0
        for a, b in inputs
        for x, y in zip((row[a] for row in circuit.pre_a), (row[b] for row in circuit.pre_b), strict=True)
    ]
    weights = [x for row in circuit.out for x in row]
    flat = integer_product(hidden, weights, len(inputs), n, q)
    return [
        [x + y + z for x, y, z in zip(flat[i * q : (i + 1) * q], circuit.skip_a[a], circuit.skip_b[b], strict=True)]
        for i, (a, b) in enumerate(inputs)
    ]


def exact_margin(logits: list[int], target: int) -> int:
    """logits[target] minus the largest other logit."""
    return logits[target] - max(x for c, x in enumerate(logits) if c != target)


@dataclass(frozen=True, slots=True)
class Exhaustive:
    """Exact margins [a][b] in units of 2^-(pre_scale + out_scale), and the exact largest distance from the closed form.

    `deviation` is an upper bound, and `deviation_below` a lower one, of the largest |logit_c − μ − closed form| in
    the same units.
    """

    margins: list[list[int]]
    deviation: int
    deviation_below: int


def exhaustive(circuit: Circuit, form: ClosedForm, drop: int, cost: Cost, observe: Observer) -> Exhaustive:
    """Evaluate every input.

    **Raises** `Rejected(BUDGET)` when n·p²·q is above `limits.EXHAUSTIVE_OPERATIONS`.
    """
    p, n, q = circuit.p, circuit.neurons, circuit.outputs
    work = n * p * p * q
    require(
        work <= EXHAUSTIVE_OPERATIONS,
        Reason.BUDGET,
        f"exhaustive: {work} multiply-adds, at most {EXHAUSTIVE_OPERATIONS}",
    )
    closed, unit = _closed_form(form, p, drop)
    margins, deviation = [], 0
    for a in range(p):
        observe("exhaustive", a, p)
        row = []
        for b, logits in enumerate(exact_logits(circuit, [(a, b) for b in range(p)])):
            row.append(exact_margin(logits, (a + b) % p))
            ideal = closed[(a - b) % p]
            gaps = [logits[c] - ideal[(c - a - b) % p] for c in range(p)]
            deviation = max(deviation, max(gaps) - min(gaps))
        margins.append(row)
    observe("exhaustive", p, p)
    cost.add("exhaustive", work + 3 * p * p * q)
    return Exhaustive(margins, (deviation + 1) // 2 + unit, max(0, deviation // 2 - unit))


def _closed_form(form: ClosedForm, p: int, drop: int) -> tuple[list[list[int]], int]:
    """Σ_k Re[G_k(δ)·e(kt/p)] for δ and t = c − a − b in 0..p−1, in circuit units; and a bound on its error."""
    table, rows, worst = circle(p), [], 0
    for delta in range(p):
        row, error = [0] * p, 0
        for k, terms in form.terms.items():
            re, im, off = terms[delta]
            error += off + ((abs(re) + abs(im)) >> TABLE_BITS) + 1
            for t in range(p):
                m = k * t % p
                row[t] += re * table.cosines[m] - im * table.sines[m]
        rows.append([x << drop >> (TABLE_BITS + 1) for x in row])
        worst = max(worst, error)
    return rows, ((worst + 2) << drop) + 1
