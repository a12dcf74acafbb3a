"""Replaced attention in the kernel: the same network, run in double precision with the weights that C defines."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kernel.test_attention import LAYOUTS, network
from tests.kernel.test_kernel_transformers import transformer
from tests.shipped import MODELS
from verifier.kernel import Rejected
from verifier.kernel.attention import SIGMA_BITS
from verifier.kernel.substitution import Substituted, substituted
from verifier.model import Model, decode, encode, forward, input_tokens, read_model, softmax_attention

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "soundness"
NEAR = 1e-4  # margins, relative to the largest logit, whose sign the kernel need not know


def margins(model: Model, found: Substituted) -> NDArray[np.float64]:
    """[p²] of the network with replaced attention, relative to its largest logit."""
    p = model.p
    tokens = np.concatenate([input_tokens(model.positions, p, a) for a in range(p)])
    weights = softmax_attention(model)(tokens)
    a, b = np.divmod(np.arange(p * p), p)
    for head, k in enumerate(found.frequencies):
        table = found.table[:, head] * 2.0**-SIGMA_BITS
        if np.ptp(weights[:, head], axis=0).max() == 0:  # constant in the file: left as it is
            continue
        e = [np.stack([np.ones(p * p), *(f(2 * np.pi * (k or 0) * x / p) for f in (np.cos, np.sin))]) for x in (a, b)]
        weights[:, head, :-1] = np.einsum("tij,im,jm->mt", table, *e)
        weights[:, head, -1] = 1 - weights[:, head, :-1].sum(axis=1)
    logits = forward(model)(tokens, weights)[1]
    answers, rows = (a + b) % p, np.arange(p * p)
    right = logits[rows, answers]
    others = logits.copy()
    others[rows, answers] = -np.inf
    result: NDArray[np.float64] = (right - others.max(axis=1)) / np.abs(logits).max()
    return result


def require_true(model: Model) -> tuple[Substituted, Substituted]:
    both = substituted(encode(model))
    for found in both:
        true = margins(model, found)
        assert found.inputs == model.p**2
        assert (true > NEAR).sum() <= found.right <= (true > -1e-12).sum()
        if model.outputs == model.p:
            assert (true < -NEAR).sum() <= found.wrong
        assert found.wrong <= (true < 1e-12).sum()
    return both


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("size", [0.01, 0.3, 1.0])
def test_counts_are_those_of_the_network_with_replaced_attention(case: str, size: float) -> None:
    done = 0
    for seed in range(6):
        model = network(LAYOUTS[case], seed, size, p=5 if "=" in LAYOUTS[case] else 4 + seed % 2)
        try:
            constant, waves = require_true(model)
        except Rejected as error:  # nearly one-hot weights at few inputs: waves of them leave 0 to 1 by far
            assert "over one" in error.detail
            continue
        done += 1
        assert constant.frequencies == (None,) * 2
        assert not constant.table[..., 1:, :].any()
        assert not constant.table[..., 1:].any()
        assert all(k is None or 1 <= k <= (model.p - 1) // 2 for k in waves.frequencies)
        assert any(waves.frequencies)
    assert done >= (2 if size == 1.0 else 6)


@pytest.mark.soundness
def test_odd_networks() -> None:
    """Two and three positions, either order, outputs beyond p, scores near zero: nothing is counted that is not so."""
    done = 0
    for seed in range(3000 if LONG else 60):
        rng = random.Random(seed)
        data = transformer(rng, rng.choice(("softmax 1/sqrt(2)", "softmax 3/2", "softmax 1")), rng.choice((3, 4, 5)))
        model = decode(data, "m")
        assert isinstance(model, Model)
        with contextlib.suppress(Rejected):
            require_true(model)
            done += 1
    assert done > 20


def test_waves_are_nearest_to_the_weights() -> None:
    """C is what least squares give, at the frequency where they leave least."""
    model = network("a b", 4, 0.4, p=5)
    found = substituted(encode(model))[1]
    tokens = np.concatenate([input_tokens(model.positions, 5, a) for a in range(5)])
    weights = softmax_attention(model)(tokens)[:, :, 0]
    a, b = np.divmod(np.arange(25), 5)

    def fitted(k: int, own: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        e = [np.stack([np.ones(25), np.cos(2 * np.pi * k * x / 5), np.sin(2 * np.pi * k * x / 5)]) for x in (a, b)]
        design = np.einsum("im,jm->mij", *e).reshape(25, 9)
        table, *_ = np.linalg.lstsq(design, own, rcond=None)
        return table.reshape(3, 3), float(((design @ table - own) ** 2).sum())

    for head, k in enumerate(found.frequencies):
        fits = {j: fitted(j, weights[:, head]) for j in (1, 2)}
        assert k == min(fits, key=lambda j: fits[j][1])
        assert np.abs(found.table[0, head] * 2.0**-SIGMA_BITS - fits[k][0]).max() < 1e-4


def test_a_head_that_is_constant_is_left_as_it_is() -> None:
    model = network("a b", 0, 1.0)
    keys = model.tensors["blocks.0.attn.W_K"].copy()
    keys[0] = 0
    bias = model.tensors["blocks.0.attn.b_K"].copy()
    bias[0] = 0
    model = replace(model, tensors={**model.tensors, "blocks.0.attn.W_K": keys, "blocks.0.attn.b_K": bias})
    assert require_true(model)[1].frequencies[0] is None


def test_declared_and_constant_attention_and_damaged_files_are_refused() -> None:
    model = network("a b", 0, 1.0)
    zero = {name: 0 * model.tensors[name] for name in ("blocks.0.attn.W_K", "blocks.0.attn.b_K")}
    with pytest.raises(Rejected, match="the same at every input"):
        substituted(encode(replace(model, tensors={**model.tensors, **zero})))
    path: Path = MODELS / "pizza-p23.safetensors"
    with pytest.raises(Rejected, match="its attention is declared"):
        substituted(path.read_bytes())
    with pytest.raises(Rejected):
        substituted(path.read_bytes()[:1000])


def test_the_clock_adds_by_the_waves_of_its_attention() -> None:
    """What its attention is for: waves of one frequency for each head do, and its mean does not."""
    model = read_model(MODELS / "clock-p59.safetensors")
    constant, waves = require_true(model)
    assert constant.right + constant.wrong == constant.inputs
    assert constant.right < 0.8 * constant.inputs
    assert (waves.right, waves.wrong) == (waves.inputs, 0)
    assert model.attention.scale_squared == Fraction(1, 32)  # type: ignore[union-attr]
