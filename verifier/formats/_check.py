"""The import's self-check: the source's own float32 forward pass against the model, on every input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.formats._reading import Pattern, Reading
from verifier.model import FoldedCircuit, Model, Position, fold

TOLERANCE = 1e-4
"""Of the largest logit. Float32 forward passes of these networks differ from exact ones by 1e-7 to 1e-5 of
it; a transposed tensor or a forgotten bias by more than this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """How the source's float32 forward pass compares with the model in float64: measured, not proved.

    **Fields**

    - `inputs`: p². `library`: torch or numpy.
    - `difference`: the largest difference of two corresponding logits. `scale`: the largest |logit|.
    - `correct`: inputs whose largest logit, of all, is that of a + b mod p.
    """

    inputs: int
    library: str
    difference: float
    scale: float
    correct: int

    @property
    def relative(self) -> float:
        return self.difference / self.scale if self.scale else 0.0


def compare(reading: Reading, arrays: ModuleType, source: str) -> SelfCheck:
    """Run both networks on every input.

    Where the source's attention varies, the model is run with the source's pattern, which must lie in its
    intervals.

    **Raises** `InputError` when they differ by more than float32 explains: the importer has misread the file.
    """
    model = reading.model
    circuit = fold(model)
    tensors = {name: arrays.asarray(np.array(tensor)) for name, tensor in reading.tensors.items()}
    varying = transformer_logits(model) if reading.pattern.coefficient else None
    difference = scale = 0.0
    correct = 0
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the difference
        for a in range(model.p):
            tokens = input_tokens(model.positions, model.p, a)
            logits, attention = reading.forward(arrays, tensors, arrays.asarray(tokens), reading.pattern)
            theirs, attention = np.asarray(logits, np.float64), np.asarray(attention, np.float64)
            if varying is None:
                ours = _circuit_logits(circuit, a)
            else:
                _require_in_intervals(model, attention, source)
                ours = varying(tokens, attention)
            difference = np.maximum(difference, np.abs(theirs - ours).max())  # keeps NaN, unlike max
            scale = max(scale, float(np.abs(ours).max()))
            correct += _correct(ours, a, model.p)
    check = SelfCheck(model.p**2, arrays.__name__, float(difference), scale, correct)
    if not check.relative <= TOLERANCE:
        rule = (
            f"differs from the original's float32 forward pass by {check.relative:.1e} of the largest logit,"
            " more than rounding explains"
        )
        raise InputError(source, "the imported model", rule)
    return check


def correct_inputs(reading: Reading, pattern: Pattern) -> int:
    """How many inputs the source's network gets right with some attention pattern (numpy, float32)."""
    positions, p = reading.model.positions, reading.model.p
    total = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for a in range(p):
            logits, _ = reading.forward(np, reading.tensors, input_tokens(positions, p, a), pattern)
            total += _correct(logits, a, p)
    return total


def input_tokens(positions: tuple[Position, ...], p: int, a: int) -> NDArray[np.int64]:
    """The tokens of the inputs (a, 0), …, (a, p − 1), one row each."""
    columns = {"a": np.full(p, a), "b": np.arange(p), "=": np.zeros(p, np.int64)}
    return np.stack([position.offset + columns[position.kind] for position in positions], axis=1)


def _correct(logits: NDArray[Any], a: int, p: int) -> int:
    return int((logits.argmax(axis=1) == (a + np.arange(p)) % p).sum())


def _circuit_logits(circuit: FoldedCircuit, a: int) -> Floats:
    """Logits of the inputs (a, b), shape (p, outputs)."""
    logits: Floats = circuit.W @ np.maximum(circuit.A[:, a, None] + circuit.B, 0.0)
    for skip, columns in ((circuit.S1, slice(a, a + 1)), (circuit.S2, slice(None))):
        if skip is not None:
            logits = logits + skip[:, columns]
    return logits.T


def transformer_logits(model: Model) -> Callable[[NDArray[np.int64], Floats], Floats]:
    """The native model in float64 as a function of the tokens and the attention (batch, heads, positions)."""
    t = {name: tensor.astype(np.float64) for name, tensor in model.tensors.items()}

    def logits(tokens: NDArray[np.int64], attention: Floats) -> Floats:
        x = t["embed.W_E"][tokens] + t["pos_embed.W_pos"]
        value = np.einsum("btd,hdk->bthk", x, t["blocks.0.attn.W_V"]) + t["blocks.0.attn.b_V"]
        z = np.einsum("bht,bthk->bhk", attention, value)
        resid = x[:, -1] + np.einsum("bhk,hkd->bd", z, t["blocks.0.attn.W_O"]) + t["blocks.0.attn.b_O"]
        hidden = np.maximum(resid @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"], 0.0)
        resid = resid + hidden @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"]
        result: Floats = resid @ t["unembed.W_U"] + t["unembed.b_U"]
        return result

    return logits


def _require_in_intervals(model: Model, attention: Floats, source: str) -> None:
    """The source's attention must lie in the model's intervals, up to float32 rounding.

    **Raises** `InputError`.
    """
    low = np.array([float(weight.low) for weight in model.attention])
    high = np.array([float(weight.high) for weight in model.attention])
    if not ((attention >= low - 1e-5) & (attention <= high + 1e-5)).all():
        raise InputError(source, "the attention", "leaves the intervals of the imported model")
