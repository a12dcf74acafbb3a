"""Circuits that the explainer's tests share."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from tests.strategies import claim_of
from verifier.explainer import explain
from verifier.kernel import Conclusion, check
from verifier.model import FoldedCircuit, encode, fold, read_native

MODELS = Path(__file__).parents[2] / "models"
DIGEST = "0" * 64


@cache
def shipped(name: str) -> FoldedCircuit:
    return fold(read_native(MODELS / f"{name}.safetensors"))


def noise(p: int, n: int, q: int | None = None, skips: bool = False, seed: int = 0) -> FoldedCircuit:
    rng = np.random.default_rng([seed, p, n])
    q = q or p
    s1, s2 = (rng.standard_normal((q, p)) if skips else None for _ in range(2))
    a, b, w = (rng.standard_normal(shape) for shape in ((n, p), (n, p), (q, n)))
    return FoldedCircuit(p, a, b, w, s1, s2, {})


def pizza(p: int, frequencies: list[int], n: int = 60, second: float = 0.0, offset: float = 0.0) -> FoldedCircuit:
    """Cosines with evenly spaced phases; `second` writes the second harmonic of the output too."""
    k = np.resize(frequencies, (n, 1))
    phase, tokens = np.arange(n)[:, None] / n + 0.003, np.arange(p) / p
    a = np.cos(2 * np.pi * (k * tokens + phase))
    w = np.cos(2 * np.pi * (k * tokens + 2 * phase)) + second * np.cos(2 * np.pi * (2 * k * tokens + 4 * phase))
    return FoldedCircuit(p, a, a + offset, w.T / n, None, None, {})


def with_outputs(circuit: FoldedCircuit, more: np.ndarray) -> FoldedCircuit:
    """Outputs beyond p with the weights `more` and skips as the first ones have."""
    assert circuit.S1 is not None
    assert circuit.S2 is not None
    w = np.concatenate([circuit.W, more])
    s1, s2 = (np.concatenate([s, s[: len(more)]]) for s in (circuit.S1, circuit.S2))
    return FoldedCircuit(circuit.p, circuit.A, circuit.B, w, s1, s2, {})


def worth(circuit: FoldedCircuit, margin_share: float = 0.975) -> tuple[bytes, Conclusion]:
    """The circuit's certificate, and what the kernel proves with it in exact arithmetic."""
    model = encode(circuit)
    certificate = explain(circuit, hashlib.sha256(model).hexdigest(), margin_share)
    return certificate, check(model, claim_of(model, circuit.p), certificate).conclusion
