"""A folded circuit as the explainer sees it: scaled tables, dominant frequencies, activations at a sample of inputs.

Nothing in this package is believed by the kernel: a bad explanation costs certified margin, never soundness.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.model import FoldedCircuit

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.int64]

SAMPLE = 1 << 24  # activations that are looked at, at most about


def turns(x: Array) -> Complex:
    """e(x) = exp(2πix)."""
    result: Complex = np.exp(2j * np.pi * x)
    return result


@dataclass(frozen=True, slots=True)
class Reading:
    """A circuit's tables, A and B divided by 2^`exponent`, W by 2^`out_exponent`, the skips by both: no overflow.

    **Fields**

    - `a`, `b`: (n, p). `w`: (q, n). `s1`, `s2`: (q, p).
    - `za`, `zb`, `zw`: (n, p), Fourier coefficients: A[i, a] = Σ_k Re(za[i, k]·e(ka/p)), k = 0..⌊p/2⌋ (column 0 is
      twice the mean), of B and of the first p rows of W too.
    - `frequency`, `amplitude`, `phase` (turns): of each neuron's strongest frequency, of A and B together.
    """

    p: int
    exponent: int
    out_exponent: int
    a: Array
    b: Array
    w: Array
    s1: Array
    s2: Array
    za: Complex
    zb: Complex
    zw: Complex
    frequency: Indices
    amplitude: Array
    phase: Array


def read(circuit: FoldedCircuit) -> Reading:
    """O(n·(p + q)·log p)."""
    p, q = circuit.p, circuit.outputs
    a, b, w = (np.asarray(table, dtype=np.float64) for table in (circuit.A, circuit.B, circuit.W))
    s1, s2 = (np.zeros((q, p)) if s is None else np.asarray(s, dtype=np.float64) for s in (circuit.S1, circuit.S2))
    exponent, out_exponent = _exponent(a, b), _exponent(w)
    if (s1.any() or s2.any()) and (not w.any() or _exponent(s1, s2) > exponent + out_exponent + 60):
        out_exponent = _exponent(s1, s2) - exponent  # next to the skips, the neurons are nothing
    a, b, w = np.ldexp(a, -exponent), np.ldexp(b, -exponent), np.ldexp(w, -out_exponent)
    s1, s2 = (np.ldexp(s, -exponent - out_exponent) for s in (s1, s2))
    za, zb, zw = (2 / p * np.fft.fft(table, axis=1) for table in (a, b, w[:p].T))
    half, rows = (p - 1) // 2, np.arange(len(a))
    frequency = (np.abs(za) ** 2 + np.abs(zb) ** 2)[:, 1 : half + 1].argmax(axis=1) + 1
    u, v = za[rows, frequency], zb[rows, frequency]
    phase = np.angle(_unit(u) + _unit(v)) / (2 * np.pi) % 1.0
    amplitude = (np.abs(u) + np.abs(v)) / 2
    return Reading(p, exponent, out_exponent, a, b, w, s1, s2, za, zb, zw, frequency, amplitude, phase)


def _exponent(*tables: Array) -> int:
    """The binary exponent of the largest entry, 0 for none."""
    return math.frexp(max(float(np.abs(table).max()) for table in tables))[1]


def _unit(z: Complex) -> Complex:
    size = np.abs(z)
    return np.divide(z, size, out=np.zeros_like(z), where=size > 0)


@dataclass(frozen=True, slots=True)
class Sample:
    """Inputs (a, b) with a − b in `deltas` and b in `columns`: all p² of them where that is affordable.

    **Fields**

    - `a`, `b`: (m,) the inputs, b running fastest. `hidden`: (m, n) activations. `logits`: (m, q).
    - `margins`: (m,) the answer's logit less the greatest other one.
    """

    deltas: Indices
    columns: Indices
    a: Indices
    b: Indices
    hidden: Array
    logits: Array
    margins: Array


Activations = Callable[[Indices, Indices], tuple[Array, Array]]
"""What a network does at inputs (a, b), (m,) each: its hidden layer (m, n) and its logits (m, q)."""


def sample(r: Reading, activations: Activations | None = None) -> Sample:
    """As many inputs as `SAMPLE` allows, as many δ as b, chosen at random but always the same.

    `activations`: of a network that is no folded circuit (learned attention); else the circuit's are taken.
    """
    p, side = r.p, min(r.p, math.isqrt(SAMPLE // max(r.w.shape)) + 1)
    rng = np.random.default_rng(p)
    deltas, columns = (np.sort(rng.permutation(p)[:side]) for _ in range(2))
    b = np.tile(columns, side)
    a = (np.repeat(deltas, side) + b) % p
    if activations is None:
        hidden = np.maximum(r.a.T[a] + r.b.T[b], 0)
        logits = hidden @ r.w.T + r.s1.T[a] + r.s2.T[b]
    else:
        found, out = activations(a, b)
        hidden, logits = np.ldexp(found, -r.exponent), np.ldexp(out, -r.exponent - r.out_exponent)
    return Sample(deltas, columns, a, b, hidden, logits, leads(logits, (a + b) % p))


def leads(logits: Array, answers: Indices) -> Array:
    """The answer's logit less the greatest other one, input by input."""
    rows, others = np.arange(len(logits)), logits.copy()
    others[rows, answers] = -np.inf
    result: Array = logits[rows, answers] - others.max(axis=1)
    return result


def turned(r: Reading, s: Sample, logits: Array) -> Array:
    """The first p logits by δ, b and c − a − b mod p."""
    index = (np.arange(r.p) + (s.a + s.b)[:, None]) % r.p
    return np.take_along_axis(logits, index, axis=1).reshape(len(s.deltas), len(s.columns), r.p)
