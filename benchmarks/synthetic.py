"""Synthetic pizza circuits of any size, built analytically with realistic noise, for benchmarks and scaling tests.

Neuron i has a frequency k, an amplitude α_i, a phase φ_i, and

    A[i, a] = α_i·(P(ka/p + φ_i) + noise)      B[i, b] = α_i·(P(kb/p + φ_i) + noise)
    W[c, i] = β_i·cos 2π(kc/p + 2φ_i) + noise
    P(x) = DC/2 + cos 2πx − SECOND·cos 2π(2x + 0.05) + FIFTH·cos 2π(5x − 0.1)

with the sizes that trained networks of this kind have. As in trained ones, neurons of one frequency have their phases
near an even grid, and α_i·β_i, the weight in the quadrature rule, varies less than either factor. The frequencies are
those of `SETS` random sets with the greatest ideal margin min over δ, d ≠ 0 of Σ_k |cos πkδ/p|·(1 − cos 2πkd/p), which
the pizza algorithm has when its sums are exact integrals of pure cosines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from verifier.model import FoldedCircuit

FREQUENCIES = 6
DC, SECOND, FIFTH = 0.2, 0.11, 0.07
RESIDUAL = 0.01  # of the amplitude, standard deviation, per entry of A and B
OUTPUT_NOISE = 0.005  # of β, standard deviation, per entry of W
SPREAD = 0.2  # of amplitudes, standard deviation of the logarithm
WEIGHT_SPREAD = 0.05  # of α·β, the same
JITTER = 0.15  # of the phases, in steps of the even grid
SETS = 40
SAMPLED_OFFSETS = 128


def synthetic(
    p: int, neurons: int, noise: float = RESIDUAL, frequencies: int = FREQUENCIES, seed: int = 0
) -> FoldedCircuit:
    """A synthetic pizza circuit with float32 tables, the same for the same arguments.

    **Arguments**

    - `p`: odd, at least 13, so that there are enough frequencies. `neurons`: at least 8 per frequency.
    - `noise`: of the entries of A and B, in amplitudes, standard deviation.

    **Raises** `ValueError` for sizes outside these.
    """
    if p % 2 == 0 or (p - 1) // 2 <= frequencies or neurons < 8 * frequencies:
        raise ValueError(f"no synthetic circuit with p = {p}, {neurons} neurons and {frequencies} frequencies")
    rng = np.random.default_rng([seed, p, neurons])
    chosen = choose_frequencies(p, frequencies, rng)
    k = np.resize(chosen, neurons)[:, None]
    phase = np.empty(neurons)
    for frequency in chosen:
        index = np.flatnonzero(k[:, 0] == frequency)
        grid = (np.arange(len(index)) + JITTER * rng.uniform(-1, 1, len(index))) / len(index)
        phase[index] = rng.permutation(grid + rng.uniform())
    phases = phase[:, None]
    alpha = np.exp(SPREAD * rng.standard_normal((neurons, 1)))
    beta = np.exp(WEIGHT_SPREAD * rng.standard_normal((neurons, 1))) / alpha * frequencies / neurons
    tokens = np.arange(p)[None, :] / p
    profile = _profile(k * tokens + phases)
    a, b = ((alpha * (profile + noise * rng.standard_normal((neurons, p)))).astype(np.float32) for _ in range(2))
    w = beta * (_cos(k * tokens + 2 * phases) + OUTPUT_NOISE * rng.standard_normal((neurons, p)))
    provenance: dict[str, object] = {"origin": "synthetic", "seed": seed, "frequencies": sorted(map(int, chosen))}
    return FoldedCircuit(p, a, b, np.ascontiguousarray(w.T, dtype=np.float32), None, None, provenance)


def choose_frequencies(p: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The random set of frequencies, of `SETS`, with the greatest ideal margin (over sampled offsets δ)."""
    deltas = np.unique(np.linspace(0, p - 1, min(p, SAMPLED_OFFSETS)).astype(np.int64))[:, None]
    offsets = np.arange(1, p)[None, :]
    best, least = np.zeros(count, dtype=np.int64), -1.0
    for _ in range(SETS):
        tried = rng.choice(np.arange(1, (p - 1) // 2 + 1), count, replace=False)
        size = np.abs(np.cos(np.pi * deltas * tried / p))
        gap = 1 - _cos(tried[:, None] * offsets / p)
        margin = float((size @ gap).min())
        if margin > least:
            best, least = tried, margin
    return best


def _cos(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.cos(2 * np.pi * (turns % 1.0))
    return values


def _profile(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return DC / 2 + _cos(x) - SECOND * _cos(2 * x + 0.05) + FIFTH * _cos(5 * x - 0.1)
