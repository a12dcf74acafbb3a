"""Defects that were found in the kernel, one test each; every one of these failed before it was mended."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from tests.kernel.test_kernel_transformers import transformer
from tests.oracle import attempt, concluded
from tests.strategies import PHASE, Case, claim_of, random_case, tensor_file
from verifier.kernel import Reason, Rejected, check, limits
from verifier.kernel.certificate import read_certificate
from verifier.kernel.closed_form import ClosedForm, Points
from verifier.kernel.cost import Cost
from verifier.kernel.model_file import read_model
from verifier.kernel.quadrature import Nodes, quadratures


@pytest.mark.parametrize("seed", [41, 180, 264, 546])
def test_the_sum_of_all_lanes_sizes_is_not_an_int64(seed: int) -> None:
    """It wrapped, and `network_error` was below the true distance (exact strategy). These four are refused now, because
    their skips are far above their neurons.
    """
    attempt(random_case(random.Random(seed)))


@pytest.mark.parametrize("seed", range(0, 120, 2))
def test_other_frequencies_count_the_error_of_the_waves(seed: int) -> None:
    case = replace(random_case(random.Random(seed)), strategy="exact")
    attempt(case)


def test_omega_is_rounded_before_theorem_q() -> None:
    """A constant row writes nothing at any frequency, and rounding makes that −1 unit: the arc sum was too small."""
    assert attempt(random_case(random.Random(24))) is not None
    nodes = Nodes(np.array([0, PHASE // 3]), np.array([5, 5]), np.array([900, -900]), np.array([10, 20]), 0)
    off = Nodes(nodes.phases, nodes.amplitudes, nodes.re, nodes.im, 100)
    exact, rounded = (quadratures({1: x}, {1: (0, 0)}, 7, Cost())[1] for x in (nodes, off))
    # 100 of 900 in each output and in W: twice 1/9 of 2π.
    for name in ("rectangle", "harmonic", "arc_sum"):
        assert getattr(rounded, name) - getattr(exact, name) > 1.39 * 2**40
    assert rounded.weight == exact.weight + 1000


def test_a_closed_form_that_leaves_int64_is_refused() -> None:
    """Its table wrapped silently, so that a form a million times too large looked near the logits."""
    term = Points(*np.full((3, 5), 1 << 62))
    with pytest.raises(Rejected) as refused:
        ClosedForm(5, 0, {1: term, 2: term}).table()
    assert refused.value.reason is Reason.CAPACITY
    small = Points(np.full(5, 1 << 55), *np.zeros((2, 5), dtype=np.int64))
    table, error = ClosedForm(5, 0, {1: small}).table()
    assert abs(int(table[0, 0]) - (1 << 55)) <= error[0] < 1 << 40


def _tiny_transformer(p: int, heads: int, attention: str, scores: bool) -> bytes:
    kinds = "QKV" if scores else "V"
    tensors: dict[str, tuple[list[int], list[float]]] = {
        "embed.W_E": ([p, 1], [1.0] * p),
        "pos_embed.W_pos": ([64, 1], [0.1] * 64),
        **{f"blocks.0.attn.W_{x}": ([heads, 1, 1], [1.0] * heads) for x in kinds},
        **{f"blocks.0.attn.b_{x}": ([heads, 1], [0.0] * heads) for x in kinds},
        "blocks.0.attn.W_O": ([heads, 1, 1], [1.0] * heads),
        "blocks.0.attn.b_O": ([1], [0.0]),
        "blocks.0.mlp.W_in": ([1, 1], [1.0]),
        "blocks.0.mlp.b_in": ([1], [0.0]),
        "blocks.0.mlp.W_out": ([1, 1], [1.0]),
        "blocks.0.mlp.b_out": ([1], [0.0]),
        "unembed.W_U": ([1, p], [1.0] * p),
        "unembed.b_U": ([p], [0.0] * p),
    }
    layout = " ".join(["a"] * 63 + ["b"])
    metadata = {"format": "verifier-model/1", "task": "(a + b) mod p", "p": str(p), "provenance": "", "layout": layout}
    return tensor_file(tensors, {**metadata, "attention": attention}, "f")  # type: ignore[arg-type]


def _files(p: int, model: bytes) -> tuple[bytes, bytes, bytes]:
    import hashlib

    digest = hashlib.sha256(model).hexdigest()
    certificate = {
        "format": "verifier-certificate/2",
        "model_sha256": digest,
        "p": p,
        "neurons": 1,
        "amplitude_exponent": 0,
        "directions": [[1]] * p,
        "families": [],
        "others": [{"frequency": 1, "neurons": [0]}],
        "nodes": 64,
        "boxes": [],
    }
    return model, claim_of(model, p), json.dumps(certificate).encode()


@pytest.mark.parametrize("attention", [" ".join(["0:1"] * 64), "softmax 1"])
def test_a_small_file_cannot_ask_for_hours_of_folding(attention: str) -> None:
    """54 kB asked for 2^38 multiply-adds with attention intervals, and for 2^33 exponentials of balls with softmax."""
    files = _files(4096, _tiny_transformer(4096, 256, attention, attention.startswith("softmax")))
    with pytest.raises(Rejected) as refused:
        check(*files)
    assert refused.value.reason is Reason.SIZE


@pytest.mark.parametrize("strategy", ["linear", "exact"])
def test_a_small_file_cannot_ask_for_gigabytes(strategy: str) -> None:
    """One neuron and p = 4096, 49 kB: 17 million inputs, each with 13 numbers or more."""
    p = 4096
    row = [[0.5] * p]
    case = Case(p, row, row, row, [[0.0] * p], [[0.0] * p], True, {}, strategy)
    model, claim, certificate = _files(p, case.model)
    claim = claim.replace(b'"linear"', json.dumps(strategy).encode())
    with pytest.raises(Rejected) as refused:
        check(model, claim, certificate)
    assert refused.value.reason is Reason.SIZE


@pytest.mark.parametrize("strategy", ["linear", "exact", "semi-linear", "exact softmax"])
def test_work_and_memory_are_bounded_to_the_last_unit(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = strategy.startswith("exact")
    if strategy in ("linear", "exact"):
        drawn = (replace(random_case(random.Random(seed)), strategy=strategy) for seed in range(99))
        model, claim, certificate = next(x for x in drawn if x.p > 5 and concluded(x)).files()
    else:
        model = transformer(random.Random(1), "softmax 1/sqrt(2)", 5)
        n, q = read_model(model).neurons, read_model(model).outputs
        units = (np.eye(q, q + 1, dtype=np.int64) << 20).tolist()
        fields = {"neurons": n, "directions": units, "others": [{"frequency": 1, "neurons": list(range(n))}]}
        certificate = json.dumps(json.loads(_files(5, model)[2]) | fields).encode()
        claim = claim_of(model, 5, strategy.removesuffix(" softmax"))
    source, explanation = read_model(model), read_certificate(certificate)
    p, q, n, width = source.p, source.outputs, source.neurons, explanation.directions.shape[1]
    events, orders = check(model, claim, certificate).conclusion.events, len(set(explanation.orders.tolist()))
    if source.positions:
        heads = source.tensors["blocks.0.attn.W_O"].shape[0]
        held = (2 * q if exact else width) + len(source.positions) * (heads + 4)
        bounds = {}
    else:
        held = q if exact else width + 2
        bounds = {"SUM_WORK": (events + 3 * p * p * orders) * held}
        bounds |= {"EXACT_LOGITS": p * p * q} if exact else {"EVENTS_PER_ENTRY": -(-events // (2 * n * p))}
    bounds["HELD"] = p * p * (held + 10)
    monkeypatch.setattr(limits, "HELD_PER_NUMBER", 0)
    for name, most in bounds.items():
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, most)
            check(model, claim, certificate)
            patch.setattr(limits, name, most - 1)
            with pytest.raises(Rejected):
                check(model, claim, certificate)
