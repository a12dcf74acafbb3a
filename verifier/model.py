"""The native model files, outside the trust boundary: writing them, reading them into numpy, and folding.

A native model is one safetensors file in one of two forms. A *transformer* has the float32 tensors `TENSORS`,
which carry the usual TransformerLens names; its metadata says which task the weights are for and what the
attention does: either it declares the weights, or they are the softmax of the network's own queries and keys, and
then the file has `SCORE_TENSORS` as well. A *circuit* has the folded tables themselves.

The kernel never uses this module; it parses the same bytes itself (`verifier.kernel.model_file`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from flint import fmpq, fmpq_mat
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.exact import exact, rounded
from verifier.files import read_input, write_atomically
from verifier.kernel import Rejected, limits
from verifier.kernel import model_file as kernel
from verifier.kernel.claim import ADDITION, MULTIPLICATION, SUBTRACTION
from verifier.kernel.model_file import CIRCUIT, SCORE_SHAPES, TRANSFORMER, TRANSFORMER_SHAPES
from verifier.kernel.operation import Names, names_of
from verifier.tensor_file import decode_tensors, encode_tensors

TENSORS, SCORE_TENSORS = tuple(TRANSFORMER_SHAPES), tuple(SCORE_SHAPES)  # the latter for attention by softmax only

MIDDLE = 1 << 19  # what softmax attention is folded at is a multiple of 2^-19, as in the kernel
BATCH = 1 << 16  # inputs whose attention is computed at once


Activations = Callable[[NDArray[np.int64], NDArray[np.int64]], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class AttentionWeight:
    """The weight of one position: one number (`low == high`), or any number of an interval.

    With an interval, every head has a weight of its own in it, which may depend on the input.
    """

    low: Fraction
    high: Fraction

    @classmethod
    def exactly(cls, weight: Fraction) -> AttentionWeight:
        return cls(weight, weight)

    @property
    def middle(self) -> Fraction:
        return (self.low + self.high) / 2

    @property
    def constant(self) -> bool:
        return self.low == self.high

    def __str__(self) -> str:
        return str(self.low) if self.constant else f"{self.low}:{self.high}"


@dataclass(frozen=True, slots=True)
class Softmax:
    """Attention by softmax over the positions of the network's own scores, times a scale.

    `scale_squared`: the scale's square, that of a positive fraction or 1/N.
    """

    scale_squared: Fraction

    @property
    def scale(self) -> float:
        return math.sqrt(self.scale_squared)

    def __str__(self) -> str:
        top, bottom = math.isqrt(self.scale_squared.numerator), math.isqrt(self.scale_squared.denominator)
        root = Fraction(top, bottom)
        return f"softmax {root if root**2 == self.scale_squared else f'1/sqrt({1 / self.scale_squared})'}"


@dataclass(frozen=True, slots=True)
class Position:
    """What one position holds: the token a + `offset` or b + `offset`, or (`kind` =) just `offset`."""

    kind: str
    offset: int

    def tokens(self, p: int) -> range:
        """The tokens that can stand here, in the order of a or b."""
        return range(self.offset, self.offset + (1 if self.kind == "=" else p))


@dataclass(frozen=True, slots=True)
class Model:
    """A one-layer transformer in memory (untrusted).

    **Fields**

    - `p`: the modulus.
    - `attention`: one weight per position, exact or an interval; or `Softmax`.
    - `layout`: what each position holds: `a`, `b`, `a+59` (an offset into the vocabulary), or `=59`
      (the fixed token 59). The network is read at the last position.
    - `tensors`: float32 arrays by TransformerLens name, exactly `TENSORS`; with `Softmax`, `SCORE_TENSORS` too.
    - `provenance`: free-form facts about the origin, and `task`, one of `TASKS`; no theorem depends on them.
    """

    p: int
    attention: tuple[AttentionWeight, ...] | Softmax
    layout: tuple[str, ...]
    tensors: dict[str, NDArray[np.float32]] = field(repr=False)
    provenance: dict[str, object]
    task: str = ADDITION

    @property
    def attention_text(self) -> str:
        """The attention as the file's metadata has it."""
        return str(self.attention) if isinstance(self.attention, Softmax) else " ".join(map(str, self.attention))

    @property
    def declared(self) -> tuple[AttentionWeight, ...]:
        """Attention as declared weights. **Raises** `InputError` where it is a softmax of scores."""
        if isinstance(self.attention, Softmax):
            raise InputError("model", "attention", "is a softmax of scores; this needs declared weights")
        return self.attention

    @property
    def positions(self) -> tuple[Position, ...]:
        return tuple(parse_position(item, "model") for item in self.layout)

    @property
    def neurons(self) -> int:
        return int(self.tensors["blocks.0.mlp.b_in"].size)

    @property
    def outputs(self) -> int:
        return int(self.tensors["unembed.b_U"].size)


@dataclass(frozen=True, slots=True)
class FoldedCircuit:
    """The circuit of docs/theory.md §1: logit_c(a, b) = Σ_i W[c,i]·ReLU(A[i,a] + B[i,b]) + S1[c,a] + S2[c,b].

    **Fields**

    - `p`: the modulus.
    - `A`, `B`: shape (n, p). `W`: shape (q, n) with q >= p outputs. `S1`, `S2`: shape (q, p), or None for
      zero. Each float32 or float64.
    - `provenance`, `task`: as for `Model`.
    """

    p: int
    A: NDArray[Any] = field(repr=False)
    B: NDArray[Any] = field(repr=False)
    W: NDArray[Any] = field(repr=False)
    S1: NDArray[Any] | None = field(repr=False)
    S2: NDArray[Any] | None = field(repr=False)
    provenance: dict[str, object]
    task: str = ADDITION

    @property
    def neurons(self) -> int:
        return int(self.A.shape[0])

    @property
    def outputs(self) -> int:
        return int(self.W.shape[0])

    @property
    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tables by name, as the file has them."""
        tables = {"A": self.A, "B": self.B, "W": self.W, "S1": self.S1, "S2": self.S2}
        return {name: table for name, table in tables.items() if table is not None}


def parse_position(item: str, source: str) -> Position:
    """One item of a layout.

    **Raises** `InputError`.
    """
    found = _parsed(item, "0", source)
    return Position(found.holds, int(found.tokens[0]))


def parse_attention(text: str, source: str) -> AttentionWeight:
    """A weight such as `1/2` or `1`, or an interval such as `9/10:1`.

    **Raises** `InputError`.
    """
    found = _parsed("a", text, source)
    return AttentionWeight(found.attention_low, found.attention_high)


def _parsed(item: str, weight: str, source: str) -> kernel.Position:
    """By the kernel's own parser."""
    try:
        return kernel.parse_position(item, weight, 1, source)
    except Rejected as error:
        raise InputError(source, "", error.detail.removeprefix(f"{source} metadata.")) from None


def encode_model(model: Model) -> bytes:
    """Serialise to safetensors bytes, the same bytes for the same model."""
    metadata = {
        "attention": model.attention_text,
        "format": TRANSFORMER,
        "layout": " ".join(model.layout),
        "p": str(model.p),
        "provenance": _provenance_text(model.provenance),
        "task": model.task,
    }
    tensors = {name: np.asarray(model.tensors[name], dtype=np.float32) for name in tensor_names(model.attention)}
    return encode_tensors(metadata, tensors)


def tensor_names(attention: tuple[AttentionWeight, ...] | Softmax) -> tuple[str, ...]:
    """The tensors of a transformer with such an attention."""
    return TENSORS + SCORE_TENSORS if isinstance(attention, Softmax) else TENSORS


def encode_circuit(circuit: FoldedCircuit) -> bytes:
    """Serialise to safetensors bytes, the same bytes for the same circuit."""
    metadata = {
        "format": CIRCUIT,
        "p": str(circuit.p),
        "provenance": _provenance_text(circuit.provenance),
        "task": circuit.task,
    }
    return encode_tensors(metadata, circuit.tensors)


def _provenance_text(provenance: dict[str, object]) -> str:
    """**Raises** `InputError` for more than the kernel reads."""
    text = json.dumps(provenance, sort_keys=True, separators=(",", ":"))
    if len(text) > limits.TEXT:
        raise InputError("the model", "provenance", f"must have at most {limits.TEXT} characters, not {len(text)}")
    return text


def encode(model: Model | FoldedCircuit) -> bytes:
    """Serialise either form."""
    return encode_model(model) if isinstance(model, Model) else encode_circuit(model)


def assumptions_of(provenance: Mapping[str, object]) -> tuple[str, ...]:
    """How a model differs from the network it was imported from: phrases such as `with attention fixed at 1/2, 1/2`.

    They are what the import recorded, and no more to be believed than the file. Every statement about the model should
    carry them.
    """
    found = provenance.get("assumptions")
    if not isinstance(found, list):
        return ()
    return tuple(text for text in found[:8] if isinstance(text, str) and re.fullmatch("[ -~]{1,200}", text))


def write_model(model: Model | FoldedCircuit, path: Path) -> str:
    """Write a native model file of either form atomically; returns its SHA-256 as hex."""
    data = encode(model)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def read_model(path: Path) -> Model:
    """Read a native transformer.

    **Raises** `InputError`, also for a folded circuit.
    """
    model = read_native(path)
    if not isinstance(model, Model):
        raise InputError(path, "", "is a folded circuit, and this needs a transformer")
    return model


def read_native(path: Path) -> Model | FoldedCircuit:
    """Read a native file of either form.

    **Raises** `InputError`.
    """
    return decode(read_input(path, limits.MODEL_BYTES), str(path))


def decode(data: bytes, source: str) -> Model | FoldedCircuit:
    """Decode a native file of either form, called `source` in messages.

    **Raises** `InputError`.
    """
    read, file = read_by_kernel(data, source), decode_tensors(data, source)
    try:
        provenance = json.loads(file.metadata["provenance"])
    except (ValueError, RecursionError):
        provenance = None
    if not isinstance(provenance, dict):
        raise InputError(source, "metadata provenance", "must be a JSON object")
    if not read.positions:
        tables = file.tensors
        A, B, W = (tables[name] for name in "ABW")
        return FoldedCircuit(read.p, A, B, W, tables.get("S1"), tables.get("S2"), provenance, read.task)
    declared = tuple(AttentionWeight(x.attention_low, x.attention_high) for x in read.positions)
    attention = declared if read.scale_squared is None else Softmax(read.scale_squared)
    return Model(read.p, attention, tuple(file.metadata["layout"].split(" ")), file.tensors, provenance, read.task)


def require_valid(model: Model | FoldedCircuit, source: str) -> None:
    """Require that the kernel can read the model's file: sizes, shapes, values, layout.

    **Raises** `InputError`.
    """
    read_by_kernel(encode(model), source)


def read_by_kernel(data: bytes, source: str) -> kernel.ModelFile:
    """What the kernel reads in a native file.

    **Raises** `InputError`.
    """
    try:
        return kernel.read_model(data)
    except Rejected as error:
        raise InputError(source, "", error.detail.removeprefix("model").lstrip(": ")) from None


def fold(model: Model | FoldedCircuit) -> FoldedCircuit:
    """The circuit of a transformer (docs/theory.md, §1), for the untrusted side.

    Computed exactly and rounded once to float64, so it is the same on every machine. What depends on neither
    a nor b goes with b. Attention intervals are folded at their middles, and so is softmax, by head, at the middles of
    its range over all inputs (`attention_middles`). A folded circuit is returned as is.
    """
    if isinstance(model, FoldedCircuit):
        return model
    p, tensors = model.p, {name: tensor.astype(np.float64) for name, tensor in model.tensors.items()}

    def row(name: str) -> NDArray[Any]:
        return tensors[name].reshape(1, -1)

    w_v, w_o, b_v = (tensors[f"blocks.0.attn.{name}"] for name in ("W_V", "W_O", "b_V"))
    heads, width, d = w_o.shape
    by_head = attention_middles(model)
    if all(len(set(weights)) == 1 for weights in by_head):  # all heads together
        by_head, heads, width = [weights[:1] for weights in by_head], 1, heads * width
        w_v, w_o, b_v = w_v.transpose(1, 0, 2).reshape(1, d, width), w_o.reshape(1, width, d), b_v.reshape(1, width)
    outputs = [exact(w_o[head]) for head in range(heads)]
    ov = [exact(w_v[head]) * outputs[head] for head in range(heads)]
    every = exact(np.ones((p, 1)))  # times a row: the same row for every token

    # The residual stream before the MLP: the part of a, and the part of b with constants.
    constants = exact(row("blocks.0.attn.b_O"))
    for head, column in enumerate(zip(*by_head, strict=True)):
        constants += exact(b_v[[head]]) * outputs[head] * _fmpq(sum(column, Fraction(0)))
    resid = {"a": fmpq_mat(p, d), "b": every * constants}
    for index, (position, weights) in enumerate(zip(model.positions, by_head, strict=True)):
        tokens = position.tokens(p)
        embedded = exact(tensors["embed.W_E"][tokens.start : tokens.stop])
        embedded += exact(np.ones((len(tokens), 1))) * exact(tensors["pos_embed.W_pos"][[index]])
        part = embedded if index == len(by_head) - 1 else fmpq_mat(len(tokens), d)
        for head, weight in enumerate(weights):
            part += embedded * ov[head] * _fmpq(weight)
        resid["a" if position.kind == "a" else "b"] += every * part if position.kind == "=" else part

    w_in, w_u = exact(tensors["blocks.0.mlp.W_in"]), exact(tensors["unembed.W_U"])
    b_in, after, b_u = (every * exact(row(name)) for name in ("blocks.0.mlp.b_in", "blocks.0.mlp.b_out", "unembed.b_U"))
    tables = (
        resid["a"] * w_in,
        resid["b"] * w_in + b_in,
        exact(tensors["blocks.0.mlp.W_out"]) * w_u,
        resid["a"] * w_u,
        (resid["b"] + after) * w_u + b_u,
    )
    provenance: dict[str, object] = {
        "origin": "folded exactly, then rounded once to float64",
        "model": model.provenance,
    }
    A, B, W, S1, S2 = (np.ascontiguousarray(rounded(table).T) for table in tables)
    return FoldedCircuit(p, A, B, W, S1, S2, provenance)


def _fmpq(value: Fraction) -> fmpq:
    return fmpq(value.numerator, value.denominator)


def attention_middles(model: Model) -> list[list[Fraction]]:
    """By position and head, the weights at which a transformer is folded.

    Those of softmax are near the middle of their range over all inputs, and sum to one, as in the kernel.
    """
    heads = model.tensors["blocks.0.attn.W_O"].shape[0]
    if not isinstance(model.attention, Softmax):
        return [[weight.middle] * heads for weight in model.attention]
    positions, p = model.positions, model.p
    low, high = np.full((heads, len(positions)), np.inf), np.full((heads, len(positions)), -np.inf)
    pattern = softmax_attention(model)
    rows = max(1, BATCH // p)
    for start in range(0, p, rows):
        inputs = [input_tokens(positions, p, a) for a in range(start, min(p, start + rows))]
        found = pattern(np.concatenate(inputs))
        low, high = np.minimum(low, found.min(axis=0)), np.maximum(high, found.max(axis=0))
    middle = [[Fraction(round(float(x) * MIDDLE), MIDDLE) for x in row] for row in ((low + high) / 2).T[:-1]]
    middle.append([1 - sum((row[head] for row in middle), Fraction(0)) for head in range(heads)])
    even = (low == high).all(axis=1) & (low == low[:, :1]).all(axis=1)  # equal scores
    return [[Fraction(1, len(positions)) if e else m for m, e in zip(own, even, strict=True)] for own in middle]


def input_tokens(positions: tuple[Position, ...], p: int, a: int) -> NDArray[np.int64]:
    """The tokens of the inputs (a, 0), …, (a, p − 1), one row each."""
    columns = {"a": np.full(p, a), "b": np.arange(p), "=": np.zeros(p, np.int64)}
    return np.stack([position.offset + columns[position.kind] for position in positions], axis=1)


def softmax_attention(model: Model) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """Attention by softmax in float64, as a function of the tokens: (batch, heads, positions).

    The network is read at the last position, which attends to every one.
    """
    if not isinstance(model.attention, Softmax):
        raise TypeError("the model declares its attention")
    scale = model.attention.scale
    embed, places = (model.tensors[name].astype(np.float64) for name in ("embed.W_E", "pos_embed.W_pos"))
    w_q, w_k, b_q, b_k = (model.tensors[name].astype(np.float64) for name in SCORE_TENSORS)

    def pattern(tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        used, inverse = np.unique(tokens, return_inverse=True)
        inverse = inverse.reshape(tokens.shape)
        at = embed[used][:, None] + places  # (token, position, d)
        query = at[:, -1] @ w_q + b_q[:, None]  # (head, token, k)
        keys = np.einsum("ntd,hdk->htnk", at, w_k) + b_k[:, None, None]
        table = np.einsum("hik,htjk->htij", query, keys)
        last = inverse[:, -1]
        scores = np.stack([table[:, t, last, inverse[:, t]] for t in range(tokens.shape[1])], axis=-1) * scale
        weights: NDArray[np.float64] = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return weights.transpose(1, 0, 2)

    return pattern


def forward(model: Model) -> Callable[[NDArray[np.int64], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """A transformer in float64, as a function of the tokens (batch, positions) and the attention (batch, heads,
    positions): the hidden layer (batch, n) and the logits (batch, outputs).
    """
    t = {name: tensor.astype(np.float64) for name, tensor in model.tensors.items()}

    def run(tokens: NDArray[np.int64], attention: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        x = t["embed.W_E"][tokens] + t["pos_embed.W_pos"]
        value = np.einsum("btd,hdk->bthk", x, t["blocks.0.attn.W_V"]) + t["blocks.0.attn.b_V"]
        z = np.einsum("bht,bthk->bhk", attention, value)
        resid = x[:, -1] + np.einsum("bhk,hkd->bd", z, t["blocks.0.attn.W_O"]) + t["blocks.0.attn.b_O"]
        hidden = np.maximum(resid @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"], 0.0)
        resid = resid + hidden @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"]
        return hidden, resid @ t["unembed.W_U"] + t["unembed.b_U"]

    return run


def activations(model: Model | FoldedCircuit, names: Names) -> Activations | None:
    """For attention by softmax, what the network does at inputs (a, b), (m,) each, all under these names: its hidden
    layer (m, n) and its logits (m, q) in float64. None for a network that is a folded circuit.
    """
    if not isinstance(model, Model) or not isinstance(model.attention, Softmax):
        return None
    positions, pattern, run = model.positions, softmax_attention(model), forward(model)

    def at(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        columns = {"a": names.a[a], "b": names.b[b], "=": np.zeros_like(a)}
        tokens = np.stack([place.offset + columns[place.kind] for place in positions], axis=1)
        parts = [run(rows, pattern(rows)) for rows in np.array_split(tokens, -(-len(tokens) // 1024))]
        hidden, logits = zip(*parts, strict=True)
        return np.concatenate(hidden), np.concatenate(logits)[:, names.outputs]

    return at


def answer(task: str, p: int, a: Any, b: Any) -> Any:
    """What the task says at the operands a and b: integers, or arrays of them."""
    return {ADDITION: a + b, SUBTRACTION: a - b, MULTIPLICATION: a * b}[task] % p


def circuit_for(task: str, model: Model | FoldedCircuit) -> tuple[FoldedCircuit, Activations | None]:
    """The folded circuit, and what `activations` gives, under the names with which the task is addition.

    **Raises** `Rejected(RANGE)` for a p that the task is not claimed for.
    """
    circuit, names = fold(model), names_of(task, model.p, model.outputs)
    return circuit if task == ADDITION else _renamed(circuit, names), activations(model, names)


def _renamed(circuit: FoldedCircuit, names: Names) -> FoldedCircuit:
    a, b, outputs = names.a, names.b, names.outputs
    s1, s2 = (None if s is None else s[outputs].take(x, axis=1) for s, x in ((circuit.S1, a), (circuit.S2, b)))
    tables = circuit.A.take(a, axis=1), circuit.B.take(b, axis=1), circuit.W[outputs], s1, s2
    return FoldedCircuit(names.modulus, *tables, circuit.provenance)


def circuit_digest(model: Model | FoldedCircuit) -> str:
    """SHA-256 (hex) of the folded circuit, computed exactly and rounded once to float64.

    It does not depend on the format the model came from, nor on how its heads or scales are split between
    tensors. Missing skip tables count as zero. With attention that is not constant the weights themselves are hashed
    as well, since then the circuit is not one; with softmax it is that of uniform attention.
    """
    circuit = fold(_uniform(model) if isinstance(model, Model) and isinstance(model.attention, Softmax) else model)
    sizes = f"{circuit.p} {circuit.neurons} {circuit.outputs}"
    hasher = hashlib.sha256(f"verifier-circuit-digest/1 {sizes}\n".encode())
    skip = np.zeros((circuit.outputs, circuit.p))
    for table in (
        circuit.A,
        circuit.B,
        circuit.W,
        skip if circuit.S1 is None else circuit.S1,
        skip if circuit.S2 is None else circuit.S2,
    ):
        hasher.update((table.astype("<f8") + 0.0).tobytes())
    if isinstance(model, Model) and not (
        isinstance(model.attention, tuple) and all(weight.constant for weight in model.attention)
    ):
        hasher.update(model.attention_text.encode())
        for name in tensor_names(model.attention):
            hasher.update(np.ascontiguousarray(model.tensors[name], dtype="<f4").tobytes())
    return hasher.hexdigest()


def _uniform(model: Model) -> Model:
    """With the same weight at every position, whatever the queries and keys say."""
    count = len(model.layout)
    return replace(
        model,
        attention=(AttentionWeight.exactly(Fraction(1, count)),) * count,
        tensors={name: model.tensors[name] for name in TENSORS},
    )
