"""Brute force in floating point: all p² inputs by matrix products, with a proved bound of every rounding error.

**The bound.** u is the unit roundoff (2^-53 or 2^-24), γ_m = mu/(1 − mu). A `Tracked` table is a computed table, a
table `size` and a `depth` m, such that the true entries are those of the same expression in exact arithmetic and

    |computed − true| <= γ_m·size,    size >= the same expression with absolute values in place of all entries.

- A table that is rounded to the type (float64 to float32): size |X|, m = 1; otherwise m = 0.
- A sum: sizes add, m = max + 1. A product of inner length n, in any order, with or without fused multiply-add: sizes
  multiply, m = m₁ + m₂ + n. (Each term of the expanded sum carries at most so many factors 1 + ε, |ε| <= u: the
  textbook argument of Higham, *Accuracy and Stability*, §3.)
- ReLU: |max(x, 0) − max(y, 0)| <= |x − y|, and the same size will do.

So every logit is within γ_m·S of the truth, S the largest size of a logit, bounded by the tables' maxima without
visiting the inputs. The sizes themselves are computed in float64 and raised by one part in 2^20, more than their own
rounding. A margin is a difference of two logits, taken in float64 and lowered by 2·(the bound) with the same excess;
what underflows, at most one least normal number per operation, is added. The attention weights of a transformer are
rationals: a weight that is not a float is one more rounding.

One thread only if the BLAS was told so before numpy was imported (OMP_NUM_THREADS=1); the benchmark does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from verifier.model import FoldedCircuit, Model

BLOCK = 1024  # inputs per matrix product, about
EXCESS = 1 + 2.0**-20
Table = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Tracked:
    """A computed table with its error: see the module."""

    value: Table
    size: NDArray[np.float64]
    depth: int

    @classmethod
    def of(cls, table: Table, dtype: type[np.floating[Any]]) -> Tracked:
        value = np.ascontiguousarray(table, dtype=dtype)
        rounds = table.dtype.itemsize > value.dtype.itemsize
        return cls(value, np.abs(table).astype(np.float64), int(rounds))

    def __add__(self, other: Tracked) -> Tracked:
        return Tracked(self.value + other.value, self.size + other.size, max(self.depth, other.depth) + 1)

    def __matmul__(self, other: Tracked) -> Tracked:
        depth = self.depth + other.depth + self.value.shape[-1]
        return Tracked(self.value @ other.value, self.size @ other.size, depth)

    def times(self, factor: float) -> Tracked:
        """A multiple by the float nearest to some number."""
        return Tracked(self.value * self.value.dtype.type(factor), self.size * abs(factor), self.depth + 2)

    @property
    def T(self) -> Tracked:
        return Tracked(self.value.T, self.size.T, self.depth)

    def rows(self, chosen: Any) -> Tracked:
        return Tracked(self.value[chosen], self.size[chosen], self.depth)


@dataclass(frozen=True, slots=True)
class Tables:
    """What brute force multiplies: hidden = ReLU(a[a] + b[b]) [p, n each], logits = hidden @ w[0] @ w[1] … + skips.

    `w` is one table [n, q] or, through the residual stream, two: [n, d] and [d, q]. `s1`, `s2` are [p, q] or None.
    """

    p: int
    a: Tracked
    b: Tracked
    w: tuple[Tracked, ...]
    s1: Tracked | None
    s2: Tracked | None

    def logits(self, block: NDArray[np.int64]) -> Table:
        """Of all inputs with a in `block`: [a·b, q]."""
        hidden = self.a.value[block, None, :] + self.b.value[None, :, :]
        np.maximum(hidden, 0, out=hidden)
        logits = hidden.reshape(len(block) * self.p, -1)
        for table in self.w:
            logits = logits @ table.value
        if self.s1 is not None:
            logits += np.repeat(self.s1.value[block], self.p, axis=0)
        if self.s2 is not None:
            logits += np.tile(self.s2.value, (len(block), 1))
        return logits

    def error_bound(self) -> float:
        """At least |computed − true| of every logit.

        **Raises** `ValueError` when the sums are so long that there is no bound.
        """
        a, b = self.a, self.b
        size, depth = a.size.max(axis=0) + b.size.max(axis=0), max(a.depth, b.depth) + 1
        reach, operations = float(size.max()), float(len(size))
        for table in self.w:
            size, depth = size @ table.size, depth + table.depth + len(table.value)
            reach, operations = max(reach, float(size.max()), float(table.size.max())), operations * len(table.value)
        for skip in (self.s1, self.s2):
            if skip is not None:
                size, depth = size + skip.size.max(axis=0), max(depth, skip.depth) + 1
        return rounding(size, depth, reach, operations, a.value.dtype)


def tables(model: Model | FoldedCircuit, dtype: type[np.floating[Any]], through_stream: bool = False) -> Tables:
    """Fold in floating point (docs/theory.md §1).

    **Raises** `ValueError` for a model whose attention is not constant, and for a circuit through a residual stream.
    """
    if isinstance(model, FoldedCircuit):
        if through_stream:
            raise ValueError("a folded circuit has no residual stream")
        s1, s2 = (None if skip is None else Tracked.of(skip.T, dtype) for skip in (model.S1, model.S2))
        a, b, w = (Tracked.of(table.T, dtype) for table in (model.A, model.B, model.W))
        return Tables(model.p, a, b, (w,), s1, s2)
    if "blocks.0.attn.W_Q" in model.tensors or not all(weight.constant for weight in model.declared):
        raise ValueError("brute force here is for constant attention")
    p = model.p
    t = {
        name: Tracked.of(np.atleast_2d(table) if table.ndim < 3 else table, dtype)
        for name, table in model.tensors.items()
    }
    d = model.tensors["unembed.W_U"].shape[0]
    w_v = Tracked.of(model.tensors["blocks.0.attn.W_V"].transpose(1, 0, 2).reshape(d, -1), dtype)
    w_o = Tracked.of(model.tensors["blocks.0.attn.W_O"].reshape(-1, d), dtype)
    b_v = Tracked.of(model.tensors["blocks.0.attn.b_V"].reshape(1, -1), dtype)
    zero = Tracked.of(np.zeros((p, d), dtype=np.float32), dtype)
    parts = {"a": zero, "b": zero + t["blocks.0.attn.b_O"]}
    for index, (place, weight) in enumerate(zip(model.positions, model.declared, strict=True)):
        tokens = place.tokens(p)
        embedded = t["embed.W_E"].rows(slice(tokens.start, tokens.stop)) + t["pos_embed.W_pos"].rows([index])
        side = "a" if place.kind == "a" else "b"
        parts[side] = parts[side] + ((embedded @ w_v + b_v) @ w_o).times(float(weight.middle))
        if index == len(model.declared) - 1:
            parts[side] = parts[side] + embedded
    w_in, w_out, w_u = (t[name] for name in ("blocks.0.mlp.W_in", "blocks.0.mlp.W_out", "unembed.W_U"))
    return Tables(
        p=p,
        a=parts["a"] @ w_in,
        b=parts["b"] @ w_in + t["blocks.0.mlp.b_in"],
        w=(w_out, w_u) if through_stream else (w_out @ w_u,),
        s1=parts["a"] @ w_u,
        s2=(parts["b"] + t["blocks.0.mlp.b_out"]) @ w_u + t["unembed.b_U"],
    )


def rounding(size: NDArray[np.float64], depth: int, reach: float, operations: float, dtype: np.dtype[Any]) -> float:
    """γ_depth times the largest `size`, and what underflow may do: at most one least normal number for each of
    `operations`, times factors of at most `reach`.

    **Raises** `ValueError` when the sums are so long that there is no bound.
    """
    info = np.finfo(dtype)
    length = (depth + 8) * float(info.eps) / 2
    if length >= 0.5:
        raise ValueError(f"no rounding bound for sums of {depth} terms in {info.dtype}")
    underflow = operations * (1 + reach) ** 2 * float(info.tiny)
    return (length / (1 - length) * float(size.max()) + underflow) * EXCESS


@dataclass(frozen=True, slots=True)
class Margins:
    """Certified lower bounds `margins`[a, b], for the rows a that were asked for, and the bound of a logit's error."""

    margins: NDArray[np.float64]
    error: float

    @property
    def certified(self) -> int:
        return int((self.margins > 0).sum())


class Logits(Protocol):
    """What brute force can evaluate: `Tables`, or learned attention (`learned.py`)."""

    @property
    def p(self) -> int: ...

    def logits(self, block: NDArray[np.int64]) -> Table: ...

    def error_bound(self) -> float: ...


def exhaustive(found: Logits, rows: Sequence[int] | None = None) -> Margins:
    """Every logit of every input (a, b), or of those with a in `rows`, and what they certify."""
    p, error = found.p, found.error_bound()
    chosen = np.arange(p) if rows is None else np.asarray(rows, dtype=np.int64)
    step, b = max(1, BLOCK // p), np.arange(p)
    margins = np.empty((len(chosen), p))
    for start in range(0, len(chosen), step):
        block = chosen[start : start + step]
        logits = found.logits(block)
        right = ((block[:, None] + b[None, :]) % p).ravel()
        inputs = np.arange(right.size)
        target = logits[inputs, right].astype(np.float64)
        logits[inputs, right] = -np.inf
        margin = target - logits.max(axis=1).astype(np.float64) - 2 * error * EXCESS
        margins[start : start + len(block)] = margin.reshape(len(block), p)
    return Margins(margins, error)
