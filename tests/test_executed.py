"""Theorem F against real executions: every logit that torch or numpy computes is within the proved bound.

The network is run as written in the native format (embed, attend, add, W_in, ReLU, W_out, add, W_U) in many
orders of summation: whatever order the libraries take for permuted neurons and coordinates, sums of chunks,
one term after another, backwards, and with fused multiply-adds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.kernel.test_attention import executed
from tests.shipped import MODELS, SHIPPED, SMALL, certified, truth, value
from verifier import prove
from verifier.model import Model, Softmax, read_model, tensor_names

FLOAT = 1e-6  # of the float64 logits the executed ones are compared with
Product = Callable[[Tensor, Tensor], Tensor]
"""A way to multiply matrices [m, k] and [k, n]."""


def forward(tensors: dict[str, Tensor], model: Model, product: Product, store: torch.dtype) -> Tensor:
    """The logits [p², q] of every input (a, b), b fastest, every result stored as `store`."""
    p = model.p
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    columns = []
    for position in model.positions:
        token = torch.zeros(p * p, dtype=torch.long)
        if position.kind != "=":
            token = (a if position.kind == "a" else b).reshape(-1)
        columns.append(token + position.offset)
    t = {name: tensor.to(store) for name, tensor in tensors.items()}
    streams = [t["embed.W_E"][column] + t["pos_embed.W_pos"][index] for index, column in enumerate(columns)]
    declared = () if isinstance(model.attention, Softmax) else model.declared
    weights = [torch.tensor(float(weight.middle), dtype=torch.float64).to(store) for weight in declared]
    attended = torch.zeros_like(streams[0])
    for head in range(t["blocks.0.attn.W_V"].shape[0]):
        w_v, b_v, w_o = (t[f"blocks.0.attn.{name}"][head] for name in ("W_V", "b_V", "W_O"))
        values = [product(stream, w_v) + b_v for stream in streams]
        if isinstance(model.attention, Softmax):
            query, *keys = (
                product(stream, t[f"blocks.0.attn.W_{side}"][head]) + t[f"blocks.0.attn.b_{side}"][head]
                for side, stream in (("Q", streams[-1]), *(("K", stream) for stream in streams))
            )
            scores = torch.stack([(query * key).sum(dim=1, keepdim=True) for key in keys]) * model.attention.scale
            weights = list(scores.softmax(dim=0))
        mixed = values[0] * weights[0]
        for weight, part in zip(weights[1:], values[1:], strict=True):
            mixed = mixed + part * weight
        attended = attended + product(mixed, w_o)
    middle = streams[-1] + (attended + t["blocks.0.attn.b_O"])
    hidden = torch.relu(product(middle, t["blocks.0.mlp.W_in"]) + t["blocks.0.mlp.b_in"])
    after = middle + (product(hidden, t["blocks.0.mlp.W_out"]) + t["blocks.0.mlp.b_out"])
    return product(after, t["unembed.W_U"]) + t["unembed.b_U"]


def plain(x: Tensor, y: Tensor) -> Tensor:
    return x @ y


def backwards(x: Tensor, y: Tensor) -> Tensor:
    return x.flip(1) @ y.flip(0)


def chunked(x: Tensor, y: Tensor) -> Tensor:
    parts = [x[:, start : start + 7] @ y[start : start + 7] for start in range(0, x.shape[1], 7)]
    total = parts[-1]
    for part in reversed(parts[:-1]):
        total = total + part
    return total


def one_by_one(x: Tensor, y: Tensor) -> Tensor:
    """Left to right, a rounded product and a rounded sum for every term."""
    total = torch.zeros(x.shape[0], y.shape[1], dtype=x.dtype)
    for k in range(x.shape[1]):
        total = total + x[:, k : k + 1] * y[k : k + 1]
    return total


def fused(x: Tensor, y: Tensor) -> Tensor:
    """Left to right with fused multiply-adds: one rounding for every term (float64 holds a product exactly)."""
    total = torch.zeros(x.shape[0], y.shape[1], dtype=torch.float32)
    for k in range(x.shape[1]):
        total = (x[:, k : k + 1].double() * y[k : k + 1].double() + total.double()).float()
    return total


def greatest_last(x: Tensor, y: Tensor) -> Tensor:
    """Terms in order of size."""
    order = (x.abs().mean(0) * y.abs().mean(1)).argsort()
    return one_by_one(x[:, order], y[order])


PRODUCTS = (plain, backwards, chunked, one_by_one, fused, greatest_last)


def permuted(tensors: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The same network with its coordinates and neurons in another order: other orders of summation."""
    generator = torch.Generator().manual_seed(seed)
    d, n = tensors["blocks.0.mlp.W_in"].shape
    stream, neuron = torch.randperm(d, generator=generator), torch.randperm(n, generator=generator)
    heads, _, width = tensors["blocks.0.attn.W_V"].shape
    head = torch.randperm(heads, generator=generator)
    coordinate, scored = (torch.randperm(width, generator=generator) for _ in range(2))
    orders: dict[str, tuple[Tensor | None, ...]] = {
        "embed.W_E": (None, stream),
        "pos_embed.W_pos": (None, stream),
        "blocks.0.attn.W_V": (head, stream, coordinate),
        "blocks.0.attn.W_O": (head, coordinate, stream),
        "blocks.0.attn.b_V": (head, coordinate),
        "blocks.0.attn.b_O": (stream,),
        "blocks.0.attn.W_Q": (head, stream, scored),
        "blocks.0.attn.W_K": (head, stream, scored),
        "blocks.0.attn.b_Q": (head, scored),
        "blocks.0.attn.b_K": (head, scored),
        "blocks.0.mlp.W_in": (stream, neuron),
        "blocks.0.mlp.b_in": (neuron,),
        "blocks.0.mlp.W_out": (neuron, stream),
        "blocks.0.mlp.b_out": (stream,),
        "unembed.W_U": (stream, None),
        "unembed.b_U": (None,),
    }
    assert set(orders) >= set(tensors)
    result = dict(tensors)
    for name in tensors:
        for axis, order in enumerate(orders[name]):
            if order is not None:
                result[name] = result[name].index_select(axis, order)
    return result


@cache
def load(path: Path) -> tuple[Model, dict[str, Tensor], NDArray[np.float64]]:
    """The model, its tensors, and the exact logits [p², q]."""
    model = read_model(path)
    tensors = {name: torch.from_numpy(np.array(model.tensors[name])) for name in tensor_names(model.attention)}
    exact = truth(path).logits
    return model, tensors, exact.reshape(exact.shape[0], -1).T


def worst(path: Path, product: Product, tensors: dict[str, Tensor], store: torch.dtype = torch.float32) -> float:
    """The largest distance of a computed logit from the exact one, over every logit of every input."""
    model, _, exact = load(path)
    found = forward(tensors, model, product, store).double().numpy()
    right = np.add.outer(np.arange(model.p), np.arange(model.p)).reshape(-1) % model.p
    if store == torch.float32:
        assert (found.argmax(axis=1) == right).all()
    return float(np.abs(found - exact).max())


def executions(path: Path) -> Iterator[float]:
    _, tensors, _ = load(path)
    for product in (plain, backwards, chunked):
        yield worst(path, product, tensors)
    for seed in range(6):
        yield worst(path, plain, permuted(tensors, seed))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_logit_executed_in_binary32_is_within_its_bound(name: str) -> None:
    path = MODELS / f"{name}.safetensors"
    bound = value(certified(path).conclusion.accuracy.floating_point)
    errors = list(executions(path))
    assert len({round(error, 12) for error in errors}) > 1, "the orders of summation differ"
    assert FLOAT < max(errors) <= bound - FLOAT


@pytest.mark.parametrize("how", ["eager", "scaled_dot_product_attention"])
def test_the_clocks_attention_as_torch_runs_it(how: str) -> None:
    """Causal masks, scores of every query, softmax, and the fused attention that torch has."""
    path = MODELS / "clock-p59.safetensors"
    bound, exact = value(certified(path).conclusion.accuracy.floating_point), truth(path).logits
    found = executed(read_model(path), how).T.reshape(exact.shape)
    assert FLOAT < np.abs(found - exact).max() <= bound - FLOAT


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.__name__)
def test_every_order_of_summation(product: Product) -> None:
    """On the small model: term by term, by size, fused; and each again with everything permuted."""
    bound = value(certified(SMALL).conclusion.accuracy.floating_point)
    _, tensors, _ = load(SMALL)
    for changed in (tensors, permuted(tensors, 1)):
        assert worst(SMALL, product, changed) <= bound - FLOAT


def narrow_sums(x: Tensor, y: Tensor) -> Tensor:
    """Operands and results in bfloat16, sums in binary32."""
    return (x.bfloat16().float() @ y.bfloat16().float()).bfloat16()


def tf32(x: Tensor, y: Tensor) -> Tensor:
    """Operands rounded to 10 bits after the point, sums in binary32."""

    def rounded(z: Tensor) -> Tensor:
        bits = z.contiguous().view(torch.int32)
        return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)

    return rounded(x) @ rounded(y)


@pytest.mark.parametrize(
    ("semantics", "product", "store"),
    [("bfloat16", narrow_sums, torch.bfloat16), ("tf32", tf32, torch.float32)],
    ids=["bfloat16", "tf32"],
)
def test_narrower_formats(semantics: str, product: Product, store: torch.dtype) -> None:
    found = certified(SMALL)
    request = prove.Request(at_least=0, semantics=semantics)
    claim = request.claims(found.source)[0]
    outcome = prove.run_kernel({}, found.source.data, claim, found.certificate)
    assert outcome.checked is not None
    bound = value(outcome.checked.conclusion.accuracy.floating_point)
    _, tensors, _ = load(SMALL)
    for changed in (tensors, permuted(tensors, 1), permuted(tensors, 2)):
        assert FLOAT < worst(SMALL, product, changed, store) <= bound - FLOAT
    assert bound > value(found.conclusion.accuracy.floating_point)
    assert json.loads(claim)["semantics"] == semantics
