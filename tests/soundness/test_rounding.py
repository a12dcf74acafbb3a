"""Theorem F against its formula in docs/theory.md §7, written a second time with arrays in double precision.

All its terms are positive, so that double precision is good to ten digits: no term of the kernel's bound is missing,
and none is counted twice. That the formula bounds what is executed is tested in `test_lemmas.py`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.soundness.test_lemmas import _fraction_array, _random_transformer, _token
from tests.strategies import random_case
from verifier.kernel import Reason, Rejected, circuit, floating_point
from verifier.kernel.cost import Cost
from verifier.kernel.floating_point import UNIT_BITS, logit_rounding
from verifier.kernel.model_file import read_model

SEEDS = st.integers(0, 1 << 32)
Vector = NDArray[np.float64]
ROUNDOFFS = {
    "binary32": (0.0, 2.0**-24, 0.0),
    "tf32": (2.0**-10, 2.0**-24, 0.0),
    "bfloat16": (2.0**-8, 2.0**-24, 2.0**-8),
}


@dataclass(frozen=True)
class Rounding:
    """Roundoffs of operands, sums and results, and the bounds they give."""

    operands: float
    sums: float
    results: float

    def product(self, terms: int) -> float:
        gamma = terms * self.sums / (1 - terms * self.sums)
        return (1 + self.operands) ** 2 * (1 + gamma) * (1 + self.results) - 1

    @property
    def sum(self) -> float:
        return (1 + self.sums) * (1 + self.results) - 1

    def layer(self, size: Vector, error: Vector, weights: Vector, bias: Vector) -> Vector:
        """The error of x·W + b, `size` and `error` being those of x."""
        weights, bias = abs(weights), abs(bias)
        return error @ weights + self.product(len(size) + 2) * ((size + error) @ weights + bias)


def _transformer_bound(network: dict[str, Any], fixed: circuit.Circuit, rounding: Rounding) -> float:
    t = {name: x.astype(np.float64) for name, x in network["tensors"].items()}
    exact = {name: _fraction_array(x) for name, x in network["tensors"].items()}
    p, items, weights = network["p"], network["layout"].split(" "), network["weights"]
    heads, d, width = t["blocks.0.attn.W_V"].shape
    columns = t["blocks.0.attn.W_V"].transpose(1, 0, 2).reshape(d, heads * width)
    exact_columns = exact["blocks.0.attn.W_V"].transpose(1, 0, 2).reshape(d, heads * width)
    biases, exact_biases = t["blocks.0.attn.b_V"].ravel(), exact["blocks.0.attn.b_V"].ravel()
    w_o, exact_w_o = (x["blocks.0.attn.W_O"].reshape(heads * width, d) for x in (t, exact))

    size, error = np.zeros(d), np.zeros(d)  # of the last position's embedding, in the end
    mixed_size, mixed_error = np.zeros(heads * width), np.zeros(heads * width)
    parts = {"a": [np.full(d, Fraction(0))] * p, "b": [exact["blocks.0.attn.b_O"]] * p}
    for i, (item, (low, high)) in enumerate(zip(items, weights, strict=True)):
        held = [_token(item, x, x) for x in range(p)]
        token, place = abs(t["embed.W_E"][held]).max(axis=0), abs(t["pos_embed.W_pos"][i])
        size = token + place
        error = rounding.sum * size + 2 * rounding.operands * size
        rows = [exact["embed.W_E"][x] + exact["pos_embed.W_pos"][i] for x in held]
        values = [row @ exact_columns + exact_biases for row in rows]
        value_size = np.array([float(max(abs(v[c]) for v in values)) for c in range(heads * width)])
        value_error = rounding.layer(size, error, columns, biases)
        weight = float(max(abs(low), abs(high)))
        mixed_size, mixed_error = mixed_size + weight * value_size, mixed_error + weight * value_error
        own = "a" if item[0] == "a" else "b"
        middle, last = (low + high) / 2, i == len(items) - 1
        parts[own] = [
            part + middle * (v @ exact_w_o) + (row if last else 0)
            for part, v, row in zip(parts[own], values, rows, strict=True)
        ]
    mixed_error = mixed_error + rounding.product(len(items) + 1) * (mixed_size + mixed_error)
    attended_error = rounding.layer(mixed_size, mixed_error, w_o, t["blocks.0.attn.b_O"])
    if any(low != high for low, high in weights):
        stream = size + mixed_size @ abs(w_o) + abs(t["blocks.0.attn.b_O"])
    else:
        stream = np.array([float(sum(max(abs(x[c]) for x in parts[own]) for own in "ab")) for c in range(d)])
    stream_error = (error + attended_error) + rounding.sum * (stream + error + attended_error)
    pre_error = rounding.layer(stream, stream_error, t["blocks.0.mlp.W_in"], t["blocks.0.mlp.b_in"])

    unit = 2.0**-fixed.pre_scale
    hidden = np.array(
        [
            max(0.0, (max(x) + max(y) + 2 + slack) * unit)
            for x, y, slack in zip(fixed.pre_a, fixed.pre_b, fixed.pre_slack, strict=True)
        ]
    )
    w_out, b_out = t["blocks.0.mlp.W_out"], t["blocks.0.mlp.b_out"]
    w_u, b_u = t["unembed.W_U"], t["unembed.b_U"]
    n = len(hidden)
    written_size = hidden @ abs(w_out) + abs(b_out)
    moved = pre_error @ abs(w_out)
    written_error = rounding.layer(hidden, np.zeros(n), w_out, b_out) + rounding.product(n + 2) * moved
    after_size, after_error = stream + written_size, stream_error + written_error
    after_error = after_error + rounding.sum * (after_size + after_error)
    direct = rounding.layer(after_size, after_error, w_u, b_u).max()
    columns_out = (abs(np.array(fixed.out, dtype=np.float64)) + 1) * 2.0**-fixed.out_scale
    carried = (pre_error @ columns_out).max()
    once = (1 + rounding.product(d + 2)) * (1 + rounding.sum) - 1
    return float(direct + carried + once * (moved @ abs(w_u)).max())


@pytest.mark.parametrize("semantics", list(ROUNDOFFS))
@given(seed=SEEDS, intervals=st.booleans())
def test_transformers(semantics: str, seed: int, intervals: bool) -> None:
    network = _random_transformer(random.Random(seed), intervals=intervals)
    model = read_model(network["file"])
    folded = circuit.fold(model)
    fixed = circuit.quantise(folded, model.p, Cost())
    found = logit_rounding(model, folded, fixed, semantics, Cost()) / 2.0**UNIT_BITS
    expected = _transformer_bound(network, fixed, Rounding(*ROUNDOFFS[semantics]))
    assert expected * (1 - 1e-11) <= found <= expected * (1 + 1e-9) + 2.0**-40


@pytest.mark.parametrize("semantics", list(ROUNDOFFS))
@given(seed=SEEDS)
def test_circuits(semantics: str, seed: int) -> None:
    rounding = Rounding(*ROUNDOFFS[semantics])
    case = random_case(random.Random(seed))
    model = read_model(case.model)
    folded = circuit.fold(model)
    fixed = circuit.quantise(folded, case.p, Cost())
    try:
        found = logit_rounding(model, folded, fixed, semantics, Cost()) / 2.0**UNIT_BITS
    except Rejected as refusal:
        assert refusal.reason is Reason.NOT_PROVED
        return
    A, B, W = (abs(np.array(x, dtype=np.float64)) for x in (case.A, case.B, case.W))
    skips = max(np.abs(np.array(x)).max() for x in (case.S1, case.S2))
    once = rounding.sum + 2 * rounding.sums + rounding.operands
    pre_error = 2 * once * (A.max(axis=1) + B.max(axis=1))
    hidden = np.array(
        [max(0.0, (max(x) + max(y) + 2) * 2.0**-fixed.pre_scale) for x, y in zip(fixed.pre_a, fixed.pre_b, strict=True)]
    )
    bias = np.full(W.shape[1], 2 * skips)
    error = rounding.layer(hidden, pre_error, W, bias)
    size = hidden @ W + bias
    expected = 4 * once * (size + error).max() + error.max()
    # Everything is rounded up to units.
    units = 2.0**-UNIT_BITS * 16 * (1 + hidden.sum() + pre_error.sum()) * (1 + W.sum(axis=0).max())
    assert expected * (1 - 1e-11) <= found <= expected * (1 + 1e-9) + units


@pytest.mark.parametrize("semantics", list(ROUNDOFFS))
def test_a_sum_may_have_too_many_terms_for_a_bound(semantics: str) -> None:
    arithmetic = floating_point.ARITHMETIC[semantics]
    assert arithmetic.product_error((1 << 24) - 1, "a sum") > 1
    with pytest.raises(Rejected):
        arithmetic.product_error(1 << 24, "a sum")


def test_what_may_overflow_is_refused_at_the_limit() -> None:
    top = 1 << (100 + UNIT_BITS)
    floating_point._require_range([top - 1, 0], "a value")
    for values in ([top], [0, top]):
        with pytest.raises(Rejected):
            floating_point._require_range(values, "a value")


@given(st.lists(st.integers(0, 1 << 70), min_size=2, max_size=4), st.fractions(min_value=0, max_value=4))
def test_vectors_are_rounded_up(values: list[int], factor: Fraction) -> None:
    assert floating_point._scaled(values, factor) == [-(-x * factor.numerator // factor.denominator) for x in values]
    assert floating_point._plus(values, values) == [2 * x for x in values]
    layer = floating_point._layer([*values, *values], len(values), values)
    assert layer.columns == [[x, x] for x in values]
    assert layer.reach([1, 2]) == [-(-3 * x >> UNIT_BITS) for x in values]
    assert list(product(layer.bias)) == [(x,) for x in values]
