"""Brute force in floating point: all p² inputs by matrix products, with a proved bound of every rounding error.

**The bound.** u is the unit roundoff (2^-53 or 2^-24). Let x = A[i,a], y = B[i,b] be representable. The computed
activation is ĥ_i = h_i(1 + ε), |ε| <= u, because an addition of two representable numbers never underflows and ReLU is
exact. A product of n terms, in any order and with or without fused multiply-add, errs by at most γ_n·Σ|W||ĥ| with
γ_m = mu/(1 − mu), and two more additions bring in the skips: by at most γ_{n+3}·S with

    S = max_c ( Σ_i |W[c,i]|·H_i + max_a|S1[c,a]| + max_b|S2[c,b]| )        H_i = (max_a A[i,a] + max_b B[i,b])⁺

in all. Rounding the tables to float32, where they are wider, costs three more u (A and B one together, at the scale of
|A| + |B|, so H uses absolute values then), and taking the difference of two logits, each at most (1 + γ)S, and
subtracting the bound from it in float64, less than nine. So every margin is within 2E of the computed one for

    E = γ_{n+32}·S·(1 + 2^-20) + underflow

where the last factor covers the rounding in computing S itself, and the underflow, even flushed to zero, of each of
the n products is below the least normal number.

One thread only if the BLAS was told so before numpy was imported (OMP_NUM_THREADS=1); the benchmark does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.model import FoldedCircuit

BLOCK = 1024  # inputs per matrix product, about


@dataclass(frozen=True, slots=True)
class FloatMargins:
    """Certified lower bounds of the margins, `margins[a, b]` for the rows a that were asked for, and E."""

    margins: NDArray[np.float64]
    error: float

    @property
    def certified(self) -> int:
        return int((self.margins > 0).sum())


def error_bound(circuit: FoldedCircuit, dtype: type[np.floating[Any]] = np.float64) -> float:
    """E of the module's docstring.

    **Raises** `ValueError` when the sums are so long that there is no bound.
    """
    info = np.finfo(dtype)
    unit = float(info.eps) / 2
    length = (circuit.neurons + 32) * unit
    if length >= 0.5:
        raise ValueError(f"no rounding bound for sums of {circuit.neurons} terms in {info.dtype}")
    a, b = circuit.A.astype(np.float64), circuit.B.astype(np.float64)
    if any(table.dtype.itemsize > info.dtype.itemsize for table in circuit.tensors.values()):
        a, b = np.abs(a), np.abs(b)
    reach = np.maximum(a.max(axis=1) + b.max(axis=1), 0)
    size = np.abs(circuit.W).astype(np.float64) @ reach
    for skip in (circuit.S1, circuit.S2):
        if skip is not None:
            size = size + np.abs(skip).astype(np.float64).max(axis=1)
    largest = 1 + float(np.abs(circuit.W).max(initial=0)) + float(reach.max(initial=0))
    underflow = circuit.neurons * largest * float(info.tiny)
    return length / (1 - length) * float(size.max()) * (1 + 2.0**-20) + underflow


def exhaustive(
    circuit: FoldedCircuit, dtype: type[np.floating[Any]] = np.float64, rows: Sequence[int] | None = None
) -> FloatMargins:
    """Every logit of every input (a, b), or of those with a in `rows`, and what they certify."""
    p = circuit.p
    error = error_bound(circuit, dtype)
    a_part, b_part, w = (np.ascontiguousarray(table, dtype=dtype) for table in (circuit.A, circuit.B, circuit.W))
    s1, s2 = (None if skip is None else skip.astype(dtype) for skip in (circuit.S1, circuit.S2))
    chosen = np.arange(p) if rows is None else np.asarray(rows)
    step = max(1, BLOCK // p)
    b = np.arange(p)
    margins = np.empty((len(chosen), p))
    for start in range(0, len(chosen), step):
        block = chosen[start : start + step]
        hidden = a_part[:, block, None] + b_part[:, None, :]
        np.maximum(hidden, 0, out=hidden)
        logits = w @ hidden.reshape(circuit.neurons, -1)
        if s1 is not None:
            logits += np.repeat(s1[:, block], p, axis=1)
        if s2 is not None:
            logits += np.tile(s2, len(block))
        right = ((block[:, None] + b[None, :]) % p).ravel()
        inputs = np.arange(right.size)
        target = logits[right, inputs].astype(np.float64)
        logits[right, inputs] = -np.inf
        margin = target - logits.max(axis=0).astype(np.float64) - 2 * error
        margins[start : start + len(block)] = margin.reshape(len(block), p)
    return FloatMargins(margins, error)
