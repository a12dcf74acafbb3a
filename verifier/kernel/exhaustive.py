"""The ground truth: every logit of every input, exactly, for the fixed-point circuit (cost n·p²·q)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verifier.kernel.balls import integer_product
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.limits import EXHAUSTIVE_OPERATIONS, TABLE_BITS
from verifier.kernel.quadrature import Quadrature
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import circle


def exact_logits(circuit: Circuit, inputs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """All q logits of each input (a, b), exactly, in units of 2^-(pre_scale + out_scale)."""
    n, q = circuit.neurons, circuit.outputs
    hidden = [
        x + y if x + y > 0 else 0
        for a, b in inputs
        for x, y in zip(
            (row[a] for row in circuit.pre_a), (row[b] for row in circuit.pre_b), strict=True
        )
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

    `deviation` is an upper bound, and `deviation_below` a lower one, of the largest |logit_c − μ − closed form| in the same units.
    """

    margins: list[list[int]]
    deviation: int
    deviation_below: int


def exhaustive(circuit: Circuit, rules: Sequence[Quadrature], drop: int, cost: Cost, observe: Observer) -> Exhaustive:
    """Evaluate every input.

    **Raises** `Rejected(BUDGET)` when n·p²·q is above `limits.EXHAUSTIVE_OPERATIONS`.
    """
    p, n, q = circuit.p, circuit.neurons, circuit.outputs
    work = n * p * p * q
    require(work <= EXHAUSTIVE_OPERATIONS, Reason.BUDGET, f"exhaustive: {work} multiply-adds, at most {EXHAUSTIVE_OPERATIONS}")
    closed, unit = _closed_form(rules, p, drop)
    margins, deviation = [], 0
    for a in range(p):
        observe("exhaustive", a, p)
        row = []
        for b, logits in enumerate(exact_logits(circuit, [(a, b) for b in range(p)])):
            row.append(exact_margin(logits, (a + b) % p))
            form = closed[(a - b) % (2 * p)]
            gaps = [logits[c] - form[(c - a - b) % p] for c in range(p)]
            deviation = max(deviation, max(gaps) - min(gaps))
        margins.append(row)
    observe("exhaustive", p, p)
    cost.add("exhaustive", work + 3 * p * p * q)
    return Exhaustive(margins, (deviation + 1) // 2 + unit, max(0, deviation // 2 - unit))


def _closed_form(rules: Sequence[Quadrature], p: int, drop: int) -> tuple[list[list[int]], int]:
    """Σ_k 2|cos πkδ/p|·Re[I_k·e(kt/p)] for δ = 0..2p−1 (as a − b modulo 2p) and t = c − a − b; and a bound on its error."""
    table, double = circle(p), circle(2 * p)
    rows = []
    for delta in range(2 * p):
        row = [0] * p
        for rule in rules:
            k, (re, im) = rule.frequency, rule.integral
            wave = 2 * abs(double.cosines[k * delta % (2 * p)])
            for t in range(p):
                m = k * t % p
                row[t] += wave * (re * table.cosines[m] - im * table.sines[m])
        rows.append([x << drop >> (2 * TABLE_BITS) for x in row])
    size = sum(abs(part) for rule in rules for part in rule.integral)
    return rows, ((8 * size >> TABLE_BITS) + 8 * len(rules) + 8) << drop
