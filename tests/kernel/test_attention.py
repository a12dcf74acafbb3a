"""Attention in the kernel: softmax is enclosed at every input, Lemma K covers its moves, Theorem F its execution."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.strategies import claim_of
from verifier.explainer import explain
from verifier.kernel import Rejected, check, events
from verifier.kernel.attention import SIGMA_BITS, pattern
from verifier.kernel.circuit import SKIP_SHIFT, Circuit, Folded, fold, quantise
from verifier.kernel.claim import ADDITION
from verifier.kernel.cost import Cost
from verifier.kernel.directions import prepare_lanes
from verifier.kernel.enclosure import plus
from verifier.kernel.floating_point import UNIT_BITS, logit_rounding
from verifier.kernel.learned import _dense, differences, learned_sums
from verifier.kernel.model_file import ModelFile, read_model
from verifier.model import (
    SCORE_TENSORS,
    TENSORS,
    AttentionWeight,
    Model,
    Softmax,
    circuit_for,
    encode,
)

LAYOUTS = {"query b": "a b", "query a": "b a", "query fixed": "a b =5", "fixed first": "=5 a b", "twice b": "b a b"}
HEADS, D, K, N = 2, 8, 3, 12


def network(layout: str, seed: int, size: float, p: int = 5, scale: Fraction = Fraction(1, K)) -> Model:
    """A random network with softmax attention and scores of about `size`."""
    rng, items = np.random.default_rng(seed), tuple(layout.split())
    heads, keys = (HEADS, D, K), (HEADS, K)
    mlp = ((D, N), (N,), (N, D), (D,), (D, p), (p,))
    shapes = ((p + 1, D), (len(items), D), heads, (HEADS, K, D), keys, (D,), *mlp, heads, heads, keys, keys)
    tensors = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in zip(TENSORS + SCORE_TENSORS, shapes, strict=True)
    }
    for name in SCORE_TENSORS:
        tensors[name] *= np.float32(size)
    return Model(p, Softmax(scale), items, tensors, {})


def tokens_of(model: Model, a: int, b: int) -> list[int]:
    return [place.offset + {"a": a, "b": b, "=": 0}[place.kind] for place in model.positions]


def exact_run(model: Model, a: int, b: int, attention: NDArray[Any] | None = None) -> tuple[Any, Any]:
    """Attention (heads, positions) and logits of one input, written from the definition with extended precision."""
    t = {name: tensor.astype(np.longdouble) for name, tensor in model.tensors.items()}
    x = t["embed.W_E"][tokens_of(model, a, b)] + t["pos_embed.W_pos"]
    assert isinstance(model.attention, Softmax)
    root = np.sqrt(np.longdouble(model.attention.scale_squared.numerator) / model.attention.scale_squared.denominator)
    mixed = t["blocks.0.attn.b_O"]
    rows = []
    for head in range(HEADS):
        query = x[-1] @ t["blocks.0.attn.W_Q"][head] + t["blocks.0.attn.b_Q"][head]
        keys = x @ t["blocks.0.attn.W_K"][head] + t["blocks.0.attn.b_K"][head]
        scores = root * (keys @ query)
        row = np.exp(scores - scores.max())
        row = row / row.sum() if attention is None else attention[head]
        rows.append(row)
        mixed = (
            mixed
            + row @ (x @ t["blocks.0.attn.W_V"][head] + t["blocks.0.attn.b_V"][head]) @ t["blocks.0.attn.W_O"][head]
        )
    stream = x[-1] + mixed
    hidden = np.maximum(stream @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"], 0)
    stream = stream + hidden @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"]
    return np.array(rows), stream @ t["unembed.W_U"] + t["unembed.b_U"]


def inputs(p: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(p) for b in range(p)]


def read(model: Model) -> tuple[ModelFile, Folded, Circuit]:
    source = read_model(encode(model))
    folded = fold(source, Cost())
    return source, folded, quantise(folded, model.p, Cost())


def require_enclosed(model: Model, circuit: Circuit, folded: Folded) -> float:
    """Softmax at every input lies in the intervals, and moves logits and their differences by κ and κ_d at most.

    **Returns** the share of κ that was reached.
    """
    found = folded.attention
    middles, radii = (np.array(rows, dtype=np.longdouble).T for rows in (found.middles, found.radii))
    unit = np.longdouble(2.0) ** -(circuit.pre_scale + circuit.out_scale)
    reached = np.longdouble(0)
    for a, b in inputs(model.p):
        attention, logits = exact_run(model, a, b)
        assert (abs(attention - middles) <= radii + 1e-17).all(), (a, b)
        hidden = np.maximum(0, circuit.pre_a[:, a] + circuit.pre_b[:, b])
        units = hidden @ circuit.out + ((circuit.skip_a[a] + circuit.skip_b[b]) << SKIP_SHIFT)
        away = logits - units * unit
        noise = np.longdouble(1e-15) * (1 + abs(logits).max())
        assert abs(away).max() <= circuit.logit_error * unit + noise, (a, b)
        assert away.max() - away.min() <= circuit.difference_error * unit + noise, (a, b)
        reached = max(reached, abs(away).max())
    return float(reached / (circuit.logit_error * unit))


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("size", [1e-6, 0.01, 0.2, 1.0])
def test_softmax_lies_in_the_intervals_and_lemma_k_covers_it(case: str, size: float) -> None:
    for seed in range(3):
        model = network(LAYOUTS[case], seed, size)
        _, folded, circuit = read(model)
        share = require_enclosed(model, circuit, folded)
        assert share > 1e-3, "a bound that says nothing"
        assert folded.attention.weights.size
        assert all(sum(column) == 1 for column in zip(*folded.attention.middles, strict=True))


@pytest.mark.parametrize("layout", ["a b", "b a"])
def test_intervals_of_two_positions_are_as_narrow_as_they_can_be(layout: str) -> None:
    model = network(layout, 3, 0.5)
    _, folded, _ = read(model)
    found = np.array([exact_run(model, a, b)[0] for a, b in inputs(5)])  # input, head, position
    for head in range(HEADS):
        for t in range(2):
            radius = float(folded.attention.radii[t][head])
            assert radius <= float(found[:, head, t].max() - found[:, head, t].min()) / 2 + 2**-18


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("zero", ["W_K and b_K", "W_Q and b_Q"])
def test_equal_scores_are_exactly_uniform(case: str, zero: str) -> None:
    model = network(LAYOUTS[case], 0, 1.0)
    tensors = dict(model.tensors)
    for name in zero.split(" and "):
        tensors[f"blocks.0.attn.{name}"] = np.zeros_like(tensors[f"blocks.0.attn.{name}"])
    model = replace(model, tensors=tensors)
    count = len(model.layout)
    _, folded, circuit = read(model)
    assert folded.attention.ranges() == [(Fraction(1, count),) * 2] * count
    assert circuit.attention_error == 0
    # The same circuit as with the weights declared.
    declared = (AttentionWeight.exactly(Fraction(1, count)),) * count
    _, _, other = read(replace(model, attention=declared, tensors={name: tensors[name] for name in TENSORS}))
    assert np.array_equal(circuit.pre_a, other.pre_a)
    assert circuit.logit_error == other.logit_error


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("size", [1e-4, 0.01, 0.3, 1.0, 2.0])
def test_weights_at_single_inputs_are_within_their_error(case: str, size: float) -> None:
    model = network(LAYOUTS[case], 5, size)
    source = read_model(encode(model))
    folded = fold(source, Cost())
    sigma, error = folded.attention.weights, folded.attention.error
    assert error < Fraction(1, 1 << (19 if size < 1 else 12))  # half a unit, and little else where scores are small
    for a, b in inputs(5):
        attention, _ = exact_run(model, a, b)
        away = abs(sigma[a, b].T / np.longdouble(1 << SIGMA_BITS) - attention).max()
        assert away <= float(error), (a, b)


@pytest.mark.parametrize("case", LAYOUTS)
def test_the_dense_pass_is_the_definition_compiled_or_not(case: str) -> None:
    source, folded, _ = read(network(LAYOUTS[case], 7, 1.0))
    sigma, error = folded.attention.weights, folded.attention.error
    circuit = quantise(folded, 5, Cost(), error)
    lanes = np.random.default_rng(2).integers(-(1 << 19), 1 << 19, (circuit.outputs, 3))
    found = []
    for library in (events.COMPILED, None):
        with mock.patch.object(events, "COMPILED", library):
            arguments = (circuit, folded, source.positions, sigma, lanes, Cost(), lambda *_: None)
            found.append(learned_sums(*arguments))
    assert np.array_equal(found[0].sums, found[1].sums)
    assert found[0].rest is not None
    assert found[1].rest is not None
    assert np.array_equal(found[0].rest, found[1].rest)
    moved, more = differences(folded, sigma), np.zeros(circuit.neurons, dtype=np.int64)
    tables = np.split(circuit.moves.pre.values, circuit.moves.starts[1:], axis=1)  # by position [heads, tokens, n]
    more += sum(np.abs(table).max(axis=1).sum(axis=0) for table in tables)
    own, sums, _ = prepare_lanes(circuit, lanes, circuit.p, more, Cost())
    before = sums.copy()
    _dense(circuit, moved, source.positions, own, sums)
    for a, b in inputs(5):
        token = [{"a": a, "b": b, "=": 0}[place.holds] for place in source.positions]
        fine = (circuit.pre_a[:, a] + circuit.pre_b[:, b]).astype(object) << SIGMA_BITS
        for t, table in enumerate(tables):
            for head, rows in enumerate(table):
                fine = fine + rows[token[t]].astype(object) * int(moved[a, b, t, head])
        hidden = [max(0, int(y) >> SIGMA_BITS) for y in fine]
        for lane in range(own.shape[1]):
            total = sum(h * int(w) for h, w in zip(hidden, own[:, lane], strict=True))
            assert int(sums[a, b, lane] - before[a, b, lane]) == total


def test_scores_beyond_any_use_and_scales_that_are_not_positive_are_refused() -> None:
    with pytest.raises(Rejected, match="an attention score is beyond"):
        read(network("a b", 0, 100.0))
    for text in ("softmax 0", "softmax -1/4"):
        data = encode(network("a b", 0, 1.0, scale=Fraction(1, 9)))
        changed = data.replace(b"softmax 1/3", text.encode())
        shift = len(changed) - len(data)
        changed = (int.from_bytes(data[:8], "little") + shift).to_bytes(8, "little") + changed[8:]
        with pytest.raises(Rejected, match="the scale is not positive"):
            read_model(changed)


# Theorem F: torch's own attention in binary32.


def executed(model: Model, how: str) -> NDArray[np.float32]:
    """Logits [a, b, c] as torch computes them in binary32."""
    t = {name: torch.tensor(tensor) for name, tensor in model.tensors.items()}
    at = torch.tensor([tokens_of(model, a, b) for a, b in inputs(model.p)])
    x = t["embed.W_E"][at] + t["pos_embed.W_pos"]

    def side(name: str) -> torch.Tensor:
        return torch.einsum("btd,hdk->bhtk", x, t[f"blocks.0.attn.W_{name}"]) + t[f"blocks.0.attn.b_{name}"][:, None]

    query, key, value = (side(name) for name in "QKV")
    assert isinstance(model.attention, Softmax)
    scale = model.attention.scale
    if how == "eager":
        scores = (query @ key.transpose(-1, -2)) * scale
        later = torch.triu(torch.ones(scores.shape[-2:]), 1).bool()
        z = scores.masked_fill(later, -float("inf")).softmax(-1) @ value
    else:
        z = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    written = torch.einsum("bhk,hkd->bd", z[:, :, -1], t["blocks.0.attn.W_O"]) + t["blocks.0.attn.b_O"]
    x = x[:, -1] + written
    hidden = torch.relu(x @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"])
    x = x + (hidden @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"])
    found: NDArray[np.float32] = (x @ t["unembed.W_U"] + t["unembed.b_U"]).numpy()
    return found


def require_executed(model: Model, how: str, bound: float) -> float:
    """The share of Theorem F's bound that the execution uses."""
    exact = np.array([exact_run(model, a, b)[1] for a, b in inputs(model.p)])
    away = float(abs(executed(model, how) - exact).max())
    assert away <= bound, (how, away, bound)
    return away / bound


@pytest.mark.parametrize("how", ["eager", "scaled_dot_product_attention"])
@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("size", [0.01, 0.5, 1.5])
def test_theorem_f_covers_attention_as_torch_runs_it(how: str, case: str, size: float) -> None:
    model = network(LAYOUTS[case], 11, size)
    source, folded, circuit = read(model)
    bound = logit_rounding(source, folded, circuit, "binary32", Cost()) / 2.0**UNIT_BITS
    assert require_executed(model, how, bound) > 1e-5


def test_random_networks() -> None:
    """Odd sizes, scales and layouts, aligned queries and keys, heads that cancel: nothing leaves its bound."""
    rng, count = np.random.default_rng(0), 0
    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda t: t.update({"blocks.0.attn.W_K": t["blocks.0.attn.W_Q"].copy()}),
        lambda t: t.update({"blocks.0.attn.W_K": -t["blocks.0.attn.W_Q"]}),
        lambda t: t["blocks.0.attn.W_O"].__setitem__(1, -t["blocks.0.attn.W_O"][0]),
        lambda t: t["blocks.0.attn.b_K"].__imul__(np.float32(30)),
        lambda t: t["pos_embed.W_pos"].__imul__(np.float32(4)),
        lambda t: t["embed.W_E"].__imul__(np.float32(1e-3)),
    ]
    for _ in range(60):
        layout = LAYOUTS[str(rng.choice(list(LAYOUTS)))]
        scale = Fraction(1, int(rng.integers(1, 40))) ** int(rng.integers(1, 3))
        if np.sqrt(scale.denominator) % 1 and scale.numerator != 1:
            continue
        model = network(layout, int(rng.integers(1 << 30)), float(10 ** rng.uniform(-4, 0.5)), scale=scale)
        for change in changes:
            if rng.random() < 0.2:
                change(model.tensors)
        try:
            source, folded, circuit = read(model)
        except Rejected:
            continue
        require_enclosed(model, circuit, folded)
        try:
            bound = logit_rounding(source, folded, circuit, "binary32", Cost()) / 2.0**UNIT_BITS
        except Rejected:
            continue
        for how in ("eager", "sdpa"):
            require_executed(model, how, bound)
        count += 1
    assert count > 20


def test_a_pattern_is_that_of_the_tokens_a_position_can_hold() -> None:
    """The tokens of other positions, and of no position, make no difference."""
    model = network("a b", 1, 1.0)
    more = dict(model.tensors)
    more["embed.W_E"] = np.concatenate([more["embed.W_E"], 100 * np.ones((4, D), np.float32)])
    found = [read(replace(model, tensors=tensors))[1].attention.ranges() for tensors in (model.tensors, more)]
    for own, other in zip(*found, strict=True):
        assert all(abs(x - y) < Fraction(1, 1 << 15) for x, y in zip(own, other, strict=True))
    source = read_model(encode(model))
    embed, places = source.tensors["embed.W_E"], source.tensors["pos_embed.W_pos"]
    tokens = [plus(embed[:5], places[index : index + 1]) for index in range(2)]
    assert pattern(source, tokens, Cost()).ranges() == found[0]


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("outputs", [5, 6])
def test_the_exact_strategy_tells_right_from_wrong(case: str, outputs: int) -> None:
    """Every input is proved right, proved wrong, or too near to tell; the least margin is in its interval."""
    rng, right, wrong = np.random.default_rng(outputs), 0, 0
    for seed in range(4):
        model = network(LAYOUTS[case], seed, 0.5)
        last = {"unembed.W_U": rng.normal(size=(D, outputs)), "unembed.b_U": rng.normal(size=outputs)}
        if seed % 2:  # an answer that many inputs have
            last["unembed.b_U"][seed] += 30
        model = replace(model, tensors=model.tensors | {name: x.astype(np.float32) for name, x in last.items()})
        data, p = encode(model), model.p
        circuit, run = circuit_for(ADDITION, model)
        certificate = explain(circuit, hashlib.sha256(data).hexdigest(), activations=run)
        found = check(data, claim_of(data, p, "exact", "real", 0), certificate).conclusion.accuracy
        leads, answers = {}, {}
        for a, b in inputs(p):
            logits = exact_run(model, a, b)[1]
            leads[a, b] = logits[(a + b) % p] - np.delete(logits, (a + b) % p).max()
            answers[a, b] = int(logits.argmax())
        least = min(leads.values())
        assert found.true_min_margin is not None
        assert found.wrong is not None
        low, high = (end.mantissa * 2.0**end.exponent for end in found.true_min_margin)
        assert low - 1e-12 <= least <= high + 1e-12
        assert high - low < 1e-4 * max(1, -low)
        assert found.certified_inputs <= sum(lead > 0 for lead in leads.values())
        for item in found.wrong:
            assert answers[item.a, item.b] == item.answer != (item.a + item.b) % p
            assert item.margin.mantissa * 2.0**item.margin.exponent <= -leads[item.a, item.b] + 1e-12
        assert found.certified_inputs + len(found.wrong) >= p * p - 1
        right, wrong = right + found.certified_inputs, wrong + len(found.wrong)
    assert right >= 4
    assert wrong > 20
