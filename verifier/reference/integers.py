"""Brute force in exact integers: all p² inputs by products of integer matrices. No rounding, hence no bound needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import fmpz_mat

from verifier.exact import Exact, exact
from verifier.model import FoldedCircuit


@dataclass(frozen=True, slots=True)
class Tables:
    """The circuit in exact integers: A and B in units of 2^`pre`, W in units of 2^`out`, skips in those of the logits.

    `a`, `b`: one list over the neurons for every a, and every b. `w`: n × q. `s1`, `s2`: one list over the outputs.
    """

    p: int
    a: list[list[int]]
    b: list[list[int]]
    w: fmpz_mat
    s1: list[list[int]]
    s2: list[list[int]]
    exponent: int

    def hidden(self, a: int) -> list[int]:
        """ReLU(A[i, a] + B[i, b]) for all b, row by row (p × n)."""
        left = self.a[a]
        return [x + y if x + y > 0 else 0 for right in self.b for x, y in zip(left, right, strict=True)]


def _scaled(matrix: Exact, exponent: int) -> list[list[int]]:
    """The rows of a matrix in units of 2^`exponent`, which must be fine enough."""
    columns = matrix.integers.ncols()
    values = [int(x) << (matrix.exponent - exponent) for x in matrix.integers.entries()]
    return [values[start : start + columns] for start in range(0, len(values), columns)]


def tables(circuit: FoldedCircuit) -> Tables:
    """Read a circuit into exact integers."""
    p, q = circuit.p, circuit.outputs
    a, b, w = exact(circuit.A.T), exact(circuit.B.T), exact(circuit.W.T)
    zero = np.zeros((p, q))
    s1, s2 = (exact(zero if skip is None else skip.T) for skip in (circuit.S1, circuit.S2))
    pre = min(a.exponent, b.exponent)
    exponent = min(pre + w.exponent, s1.exponent, s2.exponent)
    # The weights take up what the skips are finer by.
    weights = w.integers * (1 << pre + w.exponent - exponent)
    return Tables(p, _scaled(a, pre), _scaled(b, pre), weights, _scaled(s1, exponent), _scaled(s2, exponent), exponent)


def exhaustive(circuit: FoldedCircuit, rows: Sequence[int] | None = None) -> list[list[Fraction]]:
    """The exact margin of every input [a][b], or of those with a in `rows`."""
    exact_tables = tables(circuit)
    p, neurons = circuit.p, circuit.neurons
    unit = Fraction(2) ** exact_tables.exponent
    result = []
    for a in range(p) if rows is None else rows:
        product = fmpz_mat(p, neurons, exact_tables.hidden(a)) * exact_tables.w
        margins = []
        for b, logits in enumerate(product.tolist()):
            values = [x + y + z for x, y, z in zip(logits, exact_tables.s1[a], exact_tables.s2[b], strict=True)]
            right = values.pop((a + b) % p)
            margins.append(int(right - max(values)) * unit)
        result.append(margins)
    return result
