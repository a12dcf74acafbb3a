"""Networks for the importer tests: random, adding by memory, and one shaped like a HookedTransformer."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from verifier.formats import transformerlens
from verifier.model import TENSORS, AttentionWeight, Model

PUBLISHED = Path(__file__).parents[3] / "shared" / "published"
CHECKPOINT = PUBLISHED / "model_p99zdpze5l.pt"
CONFIG = PUBLISHED / "config_p99zdpze5l.json"

StateDict = dict[str, Tensor]


def exactly(text: str, positions: int) -> tuple[AttentionWeight, ...]:
    return (AttentionWeight.exactly(Fraction(text)),) * positions


def random_tensors(
    p: int = 5, positions: int = 2, vocabulary: int | None = None, outputs: int | None = None, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Float32 tensors of a native transformer: d_model 8, 2 heads of 3 (which do not fill it), 12 neurons."""
    rng = np.random.default_rng(seed)
    vocabulary = vocabulary or p + (positions == 3)
    outputs = outputs or p
    shapes = dict(
        zip(
            TENSORS,
            (
                *[(vocabulary, 8), (positions, 8), (2, 8, 3), (2, 3, 8), (2, 3), (8,)],
                *[(8, 12), (12,), (12, 8), (8,), (8, outputs), (outputs,)],
            ),
            strict=True,
        )
    )
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def random_model(p: int = 5, layout: str = "a b", attention: str = "1/2", **sizes: Any) -> Model:
    items = tuple(layout.split())
    tensors = random_tensors(p, len(items), **sizes)
    return Model(p, exactly(attention, len(items)), items, tensors, {"origin": "test"})


def random_state(positions: int = 2, keys: float = 0.0, **sizes: Any) -> StateDict:
    """A TransformerLens state dict with buffers, random queries, and random keys of the size `keys`.

    Without keys but with a bias of theirs all scores of one query are equal, and the attention is constant.
    """
    tensors = random_tensors(positions=positions, **sizes)
    rng = np.random.default_rng(99)
    for name, size in (("W_Q", 1.0), ("W_K", keys)):
        tensors[f"blocks.0.attn.{name}"] = (size * rng.normal(size=(2, 8, 3))).astype(np.float32)
        tensors[f"blocks.0.attn.b_{name[-1]}"] = rng.normal(size=(2, 3)).astype(np.float32)
    state = {name: torch.tensor(tensor) for name, tensor in tensors.items()}
    state["blocks.0.attn.mask"] = torch.tril(torch.ones(positions, positions)).bool()
    state["blocks.0.attn.IGNORE"] = torch.tensor(-float("inf"))
    return state


def memory(p: int = 5, weight: float = 0.5, learned: bool = False) -> Model:
    """A network that adds mod p exactly: one neuron for each pair (i, j), which fires when a = i and b = j.

    The residual stream holds b's one-hot code, weight·(code of a + code of b) written by one head, the
    logits, and two dimensions for the position. With `learned` it works only if all attention goes to the
    first position.
    """
    d = 3 * p + 2
    code, copy, logits, place = (slice(p), slice(p, 2 * p), slice(2 * p, 3 * p), slice(3 * p, d))
    t: dict[str, NDArray[np.float32]] = {}
    t["embed.W_E"] = np.eye(p, d, dtype=np.float32)
    t["pos_embed.W_pos"] = np.zeros((2, d), np.float32)
    t["pos_embed.W_pos"][:, place] = np.eye(2)
    t["blocks.0.attn.W_V"] = np.eye(d, p, dtype=np.float32)[None]
    t["blocks.0.attn.W_O"] = np.zeros((1, p, d), np.float32)
    t["blocks.0.attn.W_O"][0, :, copy] = np.eye(p)
    t["blocks.0.attn.b_V"], t["blocks.0.attn.b_O"] = np.zeros((1, p), np.float32), np.zeros(d, np.float32)
    w_in, b_in = np.zeros((d, p * p), np.float32), np.zeros(p * p, np.float32)
    w_out = np.zeros((p * p, d), np.float32)
    for i in range(p):
        for j in range(p):
            neuron = i * p + j
            w_in[code, neuron][j] = 4
            w_in[copy, neuron][i] = 2 if learned else 1 / weight
            b_in[neuron] = -5.5 if i == j or learned else -4.5
            w_out[neuron, logits][(i + j) % p] = 8
    t["blocks.0.mlp.W_in"], t["blocks.0.mlp.b_in"] = w_in, b_in
    t["blocks.0.mlp.W_out"], t["blocks.0.mlp.b_out"] = w_out, np.zeros(d, np.float32)
    t["unembed.W_U"] = np.zeros((d, p), np.float32)
    t["unembed.W_U"][logits] = np.eye(p)
    t["unembed.b_U"] = np.zeros(p, np.float32)
    return Model(p, exactly(str(Fraction(weight)), 2), ("a", "b"), t, {"origin": "test"})


def as_torch(arrays: Mapping[str, NDArray[Any]]) -> StateDict:
    return {name: torch.tensor(array) for name, array in arrays.items()}


def lens_state(model: Model) -> StateDict:
    return as_torch(transformerlens.to_state_dict(model))


def first_position_state(p: int = 5) -> StateDict:
    """`memory(learned=True)` with queries and keys that send all attention to the first position."""
    state = lens_state(memory(p, learned=True))
    state["blocks.0.attn.W_Q"][0, -1, 0] = 30.0
    state["blocks.0.attn.W_K"][0, -2, 0] = 30.0
    return state


class _Weights(nn.Module):
    """A part of the network: its parameters, by their names in the state dict."""

    def __init__(self, state: StateDict, prefix: str) -> None:
        super().__init__()
        for name, value in state.items():
            if name.startswith(prefix) and name.removeprefix(prefix).count(".") == 0:
                if value.dtype == torch.bool or name.endswith("IGNORE"):
                    self.register_buffer(name.removeprefix(prefix), value)
                else:
                    self.register_parameter(name.removeprefix(prefix), nn.Parameter(value))


class Lens(nn.Module):
    """A module with the parameter names of HookedTransformer, and its forward pass: causal softmax attention, or, with
    `attention`, the pattern that a hook has set to a constant.
    """

    def __init__(self, state: StateDict, attention: float | None = None) -> None:
        super().__init__()
        self.attention = attention
        self.embed, self.pos_embed = _Weights(state, "embed."), _Weights(state, "pos_embed.")
        block = nn.Module()
        block.attn, block.mlp = _Weights(state, "blocks.0.attn."), _Weights(state, "blocks.0.mlp.")
        self.blocks = nn.ModuleList([block])
        self.unembed = _Weights(state, "unembed.")

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits at every position, (batch, positions, outputs); only the last one sees every position."""
        attn: Any = self.blocks[0].attn
        mlp: Any = self.blocks[0].mlp
        embed: Any = self.embed
        pos_embed: Any = self.pos_embed
        unembed: Any = self.unembed
        x = embed.W_E[tokens] + pos_embed.W_pos[: tokens.shape[1]]
        v = torch.einsum("bpd,hdk->bphk", x, attn.W_V) + attn.b_V
        q = torch.einsum("bpd,hdk->bphk", x, attn.W_Q) + attn.b_Q
        k = torch.einsum("bpd,hdk->bphk", x, attn.W_K) + attn.b_K
        scores = torch.einsum("bqhk,bphk->bhqp", q, k) / q.shape[-1] ** 0.5
        later = torch.triu(torch.ones(scores.shape[-2:]), 1).bool()
        pattern = scores.masked_fill(later, -float("inf")).softmax(-1)
        if self.attention is not None:
            pattern = torch.full_like(pattern, self.attention)
        z = torch.einsum("bphk,bhqp->bqhk", v, pattern)
        x = x + torch.einsum("bqhk,hkd->bqd", z, attn.W_O) + attn.b_O
        x = x + torch.relu(x @ mlp.W_in + mlp.b_in) @ mlp.W_out + mlp.b_out
        logits: Tensor = x @ unembed.W_U + unembed.b_U
        return logits
