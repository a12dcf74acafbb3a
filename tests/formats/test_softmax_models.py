"""Attention by softmax from import to proof: proved intervals, evaluated weights, and why nothing is proved."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.format_samples import random_model
from tests.strategies import claim_of
from verifier import kernel
from verifier.attention_words import attention_failure, attention_words
from verifier.errors import InputError
from verifier.explainer import explain
from verifier.formats import import_model, transformerlens, zhong
from verifier.kernel import Rejected
from verifier.kernel import circuit as kernel_circuit
from verifier.kernel.cost import Cost
from verifier.kernel.model_file import read_model as kernel_read
from verifier.model import (
    SCORE_TENSORS,
    Model,
    Softmax,
    attention_middles,
    circuit_digest,
    circuit_for,
    decode,
    encode,
    read_model,
)

PIZZA = Path(__file__).parents[2] / "models" / "pizza-p59-a.safetensors"


def softmax_model(scale: str = "1/3", size: float = 1.0, **options: Any) -> Model:
    model = random_model(**options)
    rng = np.random.default_rng(7)
    shapes = dict(zip(SCORE_TENSORS, ((2, 8, 3), (2, 8, 3), (2, 3), (2, 3)), strict=True))
    more = {name: (size * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    return replace(model, attention=Softmax(Fraction(scale)), tensors=model.tensors | more)


def with_scores(size: float) -> Any:
    """A shipped network, given queries and keys."""
    state, rng = transformerlens.to_state_dict(read_model(PIZZA)), np.random.default_rng(1)
    for name in ("W_Q", "W_K"):
        shape = state[f"blocks.0.attn.{name}"].shape
        state[f"blocks.0.attn.{name}"] = (size * rng.normal(size=shape)).astype(np.float32)
    return import_model(state, p=59, layout="a b")


def checked(imported: Any, strategy: str, semantics: str = "binary32") -> dict[str, Any]:
    """The conclusion for all inputs, proved or not."""
    data, model = imported.encode(), imported.model
    digest, p = hashlib.sha256(data).hexdigest(), model.p
    circuit, run = circuit_for(model.task, model)
    certificate = explain(circuit, digest, activations=run)
    try:
        found = kernel.check(data, claim_of(data, p, strategy, semantics, p * p), certificate)
    except Rejected as error:
        assert error.findings is not None, error
        found = error.findings
    document: dict[str, Any] = found.conclusion.document()
    return document


@pytest.mark.parametrize("size", [0.001, 0.01])
def test_small_queries_and_keys_are_certified_with_proved_intervals(size: float) -> None:
    imported = with_scores(size)
    assert imported.assumptions == ()
    assert imported.model.attention == Softmax(Fraction(1, 32))
    conclusion = checked(imported, "linear")
    assert conclusion["accuracy"]["certified_inputs"] == 3481
    assert conclusion["model"]["attention"]["kind"] == "softmax"
    low, high = imported.check.attention
    ranges = [[float(Fraction(end)) for end in row] for row in conclusion["model"]["attention"]["ranges"]]
    assert min(row[0] for row in ranges) <= low < high <= max(row[1] for row in ranges)
    assert max(row[1] - row[0] for row in ranges) <= high - low + 2**-18
    assert attention_failure(conclusion) is None
    assert "attention by softmax of its own queries and keys, between 0.49" in attention_words(conclusion)


def test_large_ones_are_not_and_the_sentence_says_why() -> None:
    imported = with_scores(0.3)
    linear = checked(imported, "linear")
    sentence = attention_failure(linear)
    assert sentence is not None
    assert sentence.startswith("attention is far from constant: between 0.23 and 0.82, between 0.18 and 0.77 at its")
    for part in (
        "takes up to 1.4e+03 of a margin",
        "--strategy semi-linear evaluates it at every input",
        "--attention '1/2 1/2' at the import fixes it",
        "'with attention fixed at 1/2, 1/2'",
    ):
        assert part in sentence
    dense = checked(imported, "semi-linear")
    left = dense["accuracy"]["uncertified_inputs"]
    assert f"; evaluated at every input, {left} of 3481 inputs are not proved; --" in (attention_failure(dense) or "")
    # Never more than what the network itself gets right.
    assert linear["accuracy"]["certified_inputs"] <= dense["accuracy"]["certified_inputs"] <= imported.check.own_correct


def test_words_of_declared_attention() -> None:
    dyadic = {"mantissa": "1", "exponent": 0}
    budget = {"attention": dyadic}
    conclusion: dict[str, Any] = {
        "model": {"attention": {"kind": "declared", "ranges": [["1/2", "1/2"], ["2/5", "3/5"]]}},
        "logits": {"budget": budget},
        "accuracy": {"strategy": "linear", "min_margin": {"mantissa": "-1", "exponent": 0}},
    }
    assert attention_words(conclusion) == "attention 1/2, anything from 2/5 to 3/5"
    assert "a narrower interval may be proved" in (attention_failure(conclusion) or "")
    conclusion["model"]["attention"] = {"kind": "none", "ranges": []}
    assert attention_words(conclusion) == ""
    assert attention_failure(conclusion) is None


# The native file.

MODELS = [
    softmax_model(),
    softmax_model("1/16", p=7, layout="a b =7"),
    softmax_model("9/4", p=5, layout="b a"),
    softmax_model("1/3", 0.0),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.attention} {' '.join(model.layout)}")
def test_reading_gives_back_what_was_written(model: Model) -> None:
    data = encode(model)
    read = decode(data, "m")
    assert isinstance(read, Model)
    assert encode(read) == data
    assert read.attention == model.attention
    theirs = kernel_read(data)
    assert isinstance(model.attention, Softmax)
    assert theirs.scale_squared == model.attention.scale_squared
    assert theirs.tensors.keys() == read.tensors.keys()
    assert circuit_digest(read) == circuit_digest(model)
    changed = dict(model.tensors)
    changed["blocks.0.attn.b_Q"] = changed["blocks.0.attn.b_Q"] + 1
    assert circuit_digest(replace(model, tensors=changed)) != circuit_digest(model)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.attention} {' '.join(model.layout)}")
def test_folding_is_at_the_kernels_middles(model: Model) -> None:
    theirs = kernel_circuit.fold(kernel_read(encode(model)), Cost()).attention
    for own, found, radii in zip(attention_middles(model), theirs.middles, theirs.radii, strict=True):
        for x, y, radius in zip(own, found, radii, strict=True):
            assert abs(x - y) <= (Fraction(1, 1 << 18) if len(model.layout) == 2 else radius)
    assert all(sum(column) == 1 for column in zip(*attention_middles(model), strict=True))
    circuit, run = circuit_for(model.task, model)
    assert run is not None
    a, b = (x.ravel() for x in np.indices((model.p, model.p)))
    hidden, logits = run(a, b)
    assert hidden.shape == (model.p**2, 12)
    assert logits.shape == (model.p**2, model.outputs)
    if not model.tensors["blocks.0.attn.W_K"].any():  # constant: the fold is the network
        assert circuit.S1 is not None
        assert circuit.S2 is not None
        ours = np.maximum(circuit.A.T[a] + circuit.B.T[b], 0) @ circuit.W.T + circuit.S1.T[a] + circuit.S2.T[b]
        assert np.allclose(ours, logits)


def test_other_formats_give_back_softmax() -> None:
    model = MODELS[0]
    assert circuit_digest(import_model(transformerlens.to_state_dict(model)).model) == circuit_digest(model)
    with pytest.raises(InputError, match="biases of queries and keys"):
        zhong.to_state_dict(model)
    plain = {name: np.zeros_like(model.tensors[name]) for name in SCORE_TENSORS if ".b_" in name}
    for p, layout, sizes in ((5, "a b", {}), (5, "a b =5", {"vocabulary": 6, "outputs": 6})):
        unbiased = softmax_model("1/3", 1.0, p=p, layout=layout, **sizes)
        unbiased = replace(unbiased, tensors=unbiased.tensors | plain)
        state, config = zhong.to_state_dict(unbiased)
        assert circuit_digest(import_model(state, config=config).model) == circuit_digest(unbiased)


def edited(model: Model, attention: str) -> bytes:
    data = encode(model)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["attention"] = attention
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


TEXTS = (
    *("softmax 1/sqrt(32)", "softmax 1/4", "softmax 2/8", "softmax 3", "softmax 1/sqrt(9999999)", "softmax 1/3:1/3"),
    *("softmax", "softmax ", "softmax -1/4", "softmax 0", "softmax 1/0", "softmax 1/sqrt(0)", "softmax 1/sqrt(032)"),
    *("softmax 1/sqrt(10000000)", "softmax 2/sqrt(3)", "softmax 1/2:1", "softmax 1/2 1/2", "softmax  1/4"),
    *("softmax 1048577", "softmax 0.25", "Softmax 1/4", "softmax 1/4 ", "softmax sqrt(2)", "1/2 softmax", "1/2 1/2"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_kernel_and_package_read_the_same_scale(text: str) -> None:
    data = edited(MODELS[0], text)
    try:
        mine: Any = decode(data, "m")
    except InputError:
        mine = None
    try:
        theirs = kernel_read(data)
    except Rejected:
        theirs = None
    assert (mine is None) is (theirs is None)
    assert (mine is not None) is (text in TEXTS[:5])
    if theirs is not None:
        assert mine.attention.scale_squared == theirs.scale_squared


def test_missing_and_misshapen_scores_are_refused_by_both() -> None:
    model = MODELS[0]
    for name in SCORE_TENSORS:
        less = {key: value for key, value in model.tensors.items() if key != name}
        narrow = model.tensors | {name: model.tensors[name][..., :2].copy()}
        infinite = model.tensors | {name: np.full_like(model.tensors[name], np.inf)}
        for tensors in (narrow, infinite):
            data = encode(replace(model, tensors=tensors))
            with pytest.raises(InputError, match=name):
                decode(data, "m")
            with pytest.raises(Rejected):
                kernel_read(data)
        with pytest.raises(KeyError):
            encode(replace(model, tensors=less))
    with pytest.raises(InputError, match=r"attn\.W_Q is missing"):
        decode(edited(random_model(5), "softmax 1/4"), "m")
    with pytest.raises(InputError, match="unknown tensor"):
        decode(edited(model, "1/2 1/2"), "m")
