"""Brute force for learned attention: softmax and all logits at all p² inputs in floating point, with a proved bound.

Per input and neuron one multiply-add for every head and position (what a head writes at a token through W_in is a
table) and one for every output: n·p²·(heads·positions + q). The bound is that of `brute.py`, and for the weights: if
every computed score is within e of the exact one, the softmax of T of them is the exact one times a factor within
exp(±(2e + (8T + 40)u)), u the unit roundoff, differences to the largest score and exponentials of at most
`EXPONENTIAL` units in the last place included; that many factors 1 + ε are counted as depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, expm1
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.brute import EXCESS, Table, Tracked, rounding
from verifier.model import Model, Softmax

EXPONENTIAL = 4  # units in the last place that a computed exponential may be off by: an assumption


@dataclass(frozen=True, slots=True)
class Learned:
    """logits(a, b) = ReLU(base[last token] + Σ σ·moves) @ w + skip[last token] + Σ σ·skips.

    The sums are over positions and heads. By position: `sigma` [p (a), p (b), heads], `moves` [tokens, heads, n] and
    `skips` [tokens, heads, q].
    """

    p: int
    sigma: list[Tracked]
    holds: list[str]
    moves: list[Tracked]
    skips: list[Tracked]
    base: Tracked
    skip: Tracked
    w: Tracked

    def _mixed(self, tables: Sequence[Tracked], start: Tracked, block: NDArray[np.int64]) -> Table:
        """start[last token] + Σ σ·tables, [a of the block, b, ·]."""
        last, total = self.holds[-1], start.value
        total = total[block][:, None, :] if last == "a" else total[None, :, :]
        for kind, sigma, table in zip(self.holds, self.sigma, tables, strict=True):
            weights, values = sigma.value[block], table.value
            if kind == "b":
                part = np.matmul(np.ascontiguousarray(weights.transpose(1, 0, 2)), values).transpose(1, 0, 2)
            else:
                part = np.matmul(weights, values[block] if kind == "a" else values[0])
            total = part if total is None else np.add(part, total, out=part)
        return total

    def logits(self, block: NDArray[np.int64]) -> Table:
        """Of all inputs with a in `block`: [a, b, q]."""
        hidden = self._mixed(self.moves, self.base, block)
        np.maximum(hidden, 0, out=hidden)
        found: Table = hidden.reshape(-1, hidden.shape[2]) @ self.w.value
        found += self._mixed(self.skips, self.skip, block).reshape(found.shape)
        return found

    def error_bound(self) -> float:
        """At least |computed − true| of every logit: sizes by the tables' maxima, each weight being one at most."""
        heads = self.sigma[0].value.shape[2]
        depth = max(x.depth for x in self.sigma) + max(
            x.depth for x in (*self.moves, self.base, *self.skips, self.skip)
        )
        hidden, direct = (
            start.size.max(axis=0) + EXCESS * sum(x.size.max(axis=0).sum(axis=0) for x in tables)
            for tables, start in ((self.moves, self.base), (self.skips, self.skip))
        )
        depth += (heads + 1) * len(self.holds) + self.w.depth + len(self.w.value) + 2
        reach = max(float(hidden.max()), float(self.w.size.max()))
        operations = float(self.w.value.shape[0] * (heads + 2) * len(self.holds))
        return rounding(hidden @ self.w.size + direct, depth, reach, operations, self.w.value.dtype)


def learned(model: Model, dtype: type[np.floating[Any]]) -> Learned:
    """Fold in floating point, weights included.

    **Raises** `ValueError` for a model whose weights are declared.
    """
    if not isinstance(model.attention, Softmax):
        raise ValueError("its attention is not learned")
    p, holds = model.p, [place.kind for place in model.positions]
    t = {name: Tracked.of(np.atleast_2d(table), dtype) for name, table in model.tensors.items()}

    def head(name: str, index: int) -> tuple[Tracked, Tracked]:
        weight, bias = t[f"blocks.0.attn.W_{name}"], t[f"blocks.0.attn.b_{name}"]
        return weight.rows(index), bias.rows([index])

    tokens: list[Tracked] = []
    for index, place in enumerate(model.positions):
        span = place.tokens(p)
        tokens.append(t["embed.W_E"].rows(slice(span.start, span.stop)) + t["pos_embed.W_pos"].rows([index]))
    heads, places = len(model.tensors["blocks.0.attn.b_Q"]), range(len(holds))
    scale = float(model.attention.scale_squared) ** 0.5
    weights: list[list[Tracked]] = []
    moves: list[list[Tracked]] = [[] for _ in places]
    skips: list[list[Tracked]] = [[] for _ in places]
    w_in, w_u = t["blocks.0.mlp.W_in"], t["unembed.W_U"]
    for h in range(heads):
        w_q, b_q = head("Q", h)
        w_k, b_k = head("K", h)
        query = tokens[-1] @ w_q + b_q
        scores = [(query @ (x @ w_k + b_k).T).times(scale) for x in tokens]
        weights.append(_softmax([_at_inputs(x, holds[-1], kind, p) for x, kind in zip(scores, holds, strict=True)]))
        w_v, b_v = head("V", h)
        for index, x in enumerate(tokens):
            written = (x @ w_v + b_v) @ t["blocks.0.attn.W_O"].rows(h)
            moves[index].append(written @ w_in)
            skips[index].append(written @ w_u)
    base = tokens[-1] + t["blocks.0.attn.b_O"]
    sigma = [_stacked([own[index] for own in weights], 2) for index in places]
    return Learned(
        p=p,
        sigma=sigma,
        holds=holds,
        moves=[_stacked(own, 1) for own in moves],
        skips=[_stacked(own, 1) for own in skips],
        base=base @ w_in + t["blocks.0.mlp.b_in"],
        skip=(base + t["blocks.0.mlp.b_out"]) @ w_u + t["unembed.b_U"],
        w=t["blocks.0.mlp.W_out"] @ w_u,
    )


def _stacked(parts: Sequence[Tracked], axis: int) -> Tracked:
    value, size = (np.stack([getattr(x, name) for x in parts], axis=axis) for name in ("value", "size"))
    return Tracked(value, size, max(x.depth for x in parts))


def _at_inputs(scores: Tracked, last: str, kind: str, p: int) -> Tracked:
    """Scores [query tokens, key tokens] at every input [p (a), p (b)]."""
    index = {"a": np.arange(p)[:, None], "b": np.arange(p)[None, :], "=": np.zeros((1, 1), dtype=np.int64)}
    return scores.rows(np.broadcast_arrays(np.zeros((p, p), dtype=np.int64) + index[last], index[kind]))


def _softmax(scores: Sequence[Tracked]) -> list[Tracked]:
    info = np.finfo(scores[0].value.dtype)
    unit = float(info.eps) / 2
    values = np.stack([x.value for x in scores])
    powers = np.exp(values - values.max(axis=0))
    weights = powers / powers.sum(axis=0)
    most, depth = max(float(x.size.max()) for x in scores), max(x.depth for x in scores) + 2
    error = depth * unit / (1 - depth * unit) * most
    factor = 2 * error + 4 * unit * most + (8 * len(scores) + 8 * EXPONENTIAL + 8) * unit
    rounds = ceil(expm1(factor) / unit * EXCESS) + 1
    return [Tracked(x, x.astype(np.float64) * (1 + 2 * rounds * unit), rounds) for x in weights]
