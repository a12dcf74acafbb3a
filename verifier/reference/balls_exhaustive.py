"""Brute force in balls: all p² inputs by products of Arb matrices, which carry their own error.

The tables are read exactly and ReLU of exact numbers is exact, so the balls have radius 0 until the product.
"""

from __future__ import annotations

from collections.abc import Sequence

import flint
from flint import arb, arb_mat, fmpz_mat

from verifier.model import FoldedCircuit
from verifier.reference.integers import tables

PRECISION = 129  # bits; the fastest of 53, 64, 128, 129 and 192 here


def exhaustive(
    circuit: FoldedCircuit, rows: Sequence[int] | None = None, precision: int = PRECISION
) -> list[list[arb]]:
    """A ball that contains the margin, in units of the exact tables, of every input [a][b] (or of a in `rows`)."""
    before = flint.ctx.prec
    flint.ctx.prec = precision
    try:
        return _exhaustive(circuit, range(circuit.p) if rows is None else rows)
    finally:
        flint.ctx.prec = before


def _exhaustive(circuit: FoldedCircuit, rows: Sequence[int]) -> list[list[arb]]:
    exact = tables(circuit)
    p, neurons = circuit.p, circuit.neurons
    weights = arb_mat(exact.w)
    skips = not (circuit.S1 is None and circuit.S2 is None)
    result = []
    for a in rows:
        product = arb_mat(fmpz_mat(p, neurons, exact.hidden(a))) * weights
        margins = []
        for b, logits in enumerate(product.tolist()):
            if skips:
                logits = [x + y + z for x, y, z in zip(logits, exact.s1[a], exact.s2[b], strict=True)]
            right = logits.pop((a + b) % p)
            greatest = logits[0]
            for value in logits[1:]:
                greatest = greatest.max(value)
            margins.append(right - greatest)
        result.append(margins)
    return result
