"""The native model files, outside the trust boundary: writing them, reading them into numpy, and folding.

A native model is one safetensors file in one of two forms. A *transformer* has the float32 tensors `TENSORS`,
which carry the usual TransformerLens names; its metadata says which task the weights are for and what the
attention does. W_Q and W_K are absent: with constant attention no logit depends on them (docs/theory.md, §1).
A *circuit* has the folded tables themselves.

The kernel never uses this module; it parses the same bytes itself (`verifier.kernel.model_file`).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.exact import Exact, exact, zeros
from verifier.files import read_limited, write_atomically
from verifier.kernel import limits
from verifier.tensor_file import TensorFile, decode_tensors, encode_tensors

FORMAT = "verifier-model/1"
CIRCUIT_FORMAT = "verifier-circuit/1"
TASK = "(a + b) mod p"
SMALLEST_P = 3

TENSORS = (
    "embed.W_E",
    "pos_embed.W_pos",
    "blocks.0.attn.W_V",
    "blocks.0.attn.W_O",
    "blocks.0.attn.b_V",
    "blocks.0.attn.b_O",
    "blocks.0.mlp.W_in",
    "blocks.0.mlp.b_in",
    "blocks.0.mlp.W_out",
    "blocks.0.mlp.b_out",
    "unembed.W_U",
    "unembed.b_U",
)


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
class Position:
    """What one position holds: the token a + `offset` or b + `offset`, or (`kind` =) just `offset`."""

    kind: str
    offset: int

    def tokens(self, p: int) -> range:
        """The tokens that can stand here, in the order of a or b."""
        return range(self.offset, self.offset + (1 if self.kind == "=" else p))


@dataclass(frozen=True, slots=True)
class Model:
    """A constant-attention one-layer transformer in memory (untrusted).

    **Fields**

    - `p`: the modulus.
    - `attention`: one weight per position, exact or an interval.
    - `layout`: what each position holds: `a`, `b`, `a+59` (an offset into the vocabulary), or `=59`
      (the fixed token 59). The network is read at the last position.
    - `tensors`: float32 arrays by TransformerLens name, exactly `TENSORS`.
    - `provenance`: free-form facts about the origin; no theorem depends on them.
    """

    p: int
    attention: tuple[AttentionWeight, ...]
    layout: tuple[str, ...]
    tensors: dict[str, NDArray[np.float32]]
    provenance: dict[str, object]

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
    - `provenance`: as for `Model`.
    """

    p: int
    A: NDArray[Any]
    B: NDArray[Any]
    W: NDArray[Any]
    S1: NDArray[Any] | None
    S2: NDArray[Any] | None
    provenance: dict[str, object]

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
    match = re.fullmatch(r"([ab])(?:\+([1-9][0-9]{0,5}))?|=(0|[1-9][0-9]{0,5})", item)
    if match is None:
        raise InputError(source, "layout", f"has {item!r}, which is not a, b, a+N, b+N or =N (N a token)")
    return Position(match[1] or "=", int(match[2] or match[3] or 0))


def parse_attention(text: str, source: str) -> AttentionWeight:
    """A weight such as `1/2` or `1`, or an interval such as `9/10:1`.

    **Raises** `InputError`, also for a numerator or denominator that the kernel would refuse.
    """
    ends = text.split(":")
    if not all(re.fullmatch(r"-?[0-9]{1,7}(/[1-9][0-9]{0,6})?", end) for end in ends):
        rule = f"must be fractions like 1/2 or intervals like 9/10:1, not {text!r}"
        raise InputError(source, "attention", rule)
    low, high = Fraction(ends[0]), Fraction(ends[-1])
    if len(ends) > 2 or low > high:
        raise InputError(source, "attention", f"has {text!r}, which is not an interval low:high")
    if any(max(abs(end.numerator), end.denominator) > limits.RATIONAL for end in (low, high)):
        rule = f"has {text!r}; numerators and denominators go up to {limits.RATIONAL}"
        raise InputError(source, "attention", rule)
    return AttentionWeight(low, high)


def encode_model(model: Model) -> bytes:
    """Serialise to safetensors bytes, the same bytes for the same model."""
    metadata = {
        "attention": " ".join(str(weight) for weight in model.attention),
        "format": FORMAT,
        "layout": " ".join(model.layout),
        "p": str(model.p),
        "provenance": _provenance_text(model.provenance),
        "task": TASK,
    }
    tensors = {name: np.asarray(model.tensors[name], dtype=np.float32) for name in TENSORS}
    return encode_tensors(metadata, tensors)


def encode_circuit(circuit: FoldedCircuit) -> bytes:
    """Serialise to safetensors bytes, the same bytes for the same circuit."""
    metadata = {
        "format": CIRCUIT_FORMAT,
        "p": str(circuit.p),
        "provenance": _provenance_text(circuit.provenance),
        "task": TASK,
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


def read_bytes(path: Path) -> bytes:
    """The bytes of a model file or checkpoint.

    **Raises** `InputError` when it is missing, not a regular file, or larger than the kernel accepts.
    """
    try:
        return read_limited(path, limits.MODEL_BYTES)
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None


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
    return decode(read_bytes(path), str(path))


def decode(data: bytes, source: str) -> Model | FoldedCircuit:
    """Decode a native file of either form, called `source` in messages.

    **Raises** `InputError`.
    """
    file = decode_tensors(data, source)
    form = file.metadata.get("format")
    if form == FORMAT:
        return _decode_model(file, source)
    if form == CIRCUIT_FORMAT:
        return _decode_circuit(file, source)
    raise InputError(source, "metadata format", f"must be {FORMAT!r} or {CIRCUIT_FORMAT!r}, not {form!r}")


def _decode_model(file: TensorFile, source: str) -> Model:
    p, provenance = _common_metadata(file, source, {"attention", "layout"})
    layout = tuple(file.metadata["layout"].split(" "))
    attention = tuple(parse_attention(text, source) for text in file.metadata["attention"].split(" "))
    if set(file.tensors) != set(TENSORS):
        name = min(set(file.tensors) ^ set(TENSORS))
        rule = "is missing" if name in TENSORS else "is not part of the format"
        raise InputError(source, f"tensor {name}", rule)
    for name, dtype in file.dtypes.items():
        if dtype != "F32":
            raise InputError(source, f"tensor {name}", f"must be F32, not {dtype}")
    model = Model(p, attention, layout, file.tensors, provenance)
    require_valid(model, source)
    return model


def _decode_circuit(file: TensorFile, source: str) -> FoldedCircuit:
    p, provenance = _common_metadata(file, source, set())
    tables = dict(file.tensors)
    for name in sorted(tables.keys() ^ {"A", "B", "W", "S1", "S2"}):
        if name not in tables and name not in ("S1", "S2"):
            raise InputError(source, f"tensor {name}", "is missing")
        if name in tables:
            raise InputError(source, f"tensor {name}", "is not part of the format; it has A, B, W, S1 and S2")
    A, B, W = (tables[name] for name in ("A", "B", "W"))
    circuit = FoldedCircuit(p, A, B, W, tables.get("S1"), tables.get("S2"), provenance)
    require_valid(circuit, source)
    return circuit


def _common_metadata(file: TensorFile, source: str, more: set[str]) -> tuple[int, dict[str, object]]:
    metadata = file.metadata
    names = {"format", "task", "p", "provenance"} | more
    if metadata.keys() != names:
        name = min(metadata.keys() ^ names)
        rule = "is missing" if name in names else "is not part of the format"
        raise InputError(source, f"metadata {name}", rule)
    for name, text in metadata.items():
        if len(text) > limits.TEXT:
            raise InputError(source, f"metadata {name}", f"must have at most {limits.TEXT} characters, not {len(text)}")
    if metadata["task"] != TASK:
        raise InputError(source, "metadata task", f"must be {TASK!r}, not {metadata['task']!r}")
    if re.fullmatch("[1-9][0-9]{0,8}", metadata["p"]) is None:
        raise InputError(source, "metadata p", f"must be a plain decimal number, not {metadata['p']!r}")
    try:
        provenance = json.loads(metadata["provenance"])
    except (ValueError, RecursionError):
        provenance = None
    if not isinstance(provenance, dict):
        raise InputError(source, "metadata provenance", "must be a JSON object")
    return int(metadata["p"]), provenance


def require_valid(model: Model | FoldedCircuit, source: str) -> None:
    """Check p, the layout, every shape and every value against each other and against the kernel's limits.

    **Raises** `InputError`.
    """
    if not SMALLEST_P <= model.p <= limits.MODULUS:
        raise InputError(source, "p", f"must be in {SMALLEST_P}..{limits.MODULUS}, not {model.p}")
    if isinstance(model, Model):
        _require_transformer(model, source)
    else:
        _require_circuit(model, source)
    if model.outputs < model.p:
        raise InputError(source, "outputs", f"must be at least p = {model.p}, not {model.outputs}")
    for name, tensor in model.tensors.items():
        if not np.isfinite(tensor).all():
            raise InputError(source, f"tensor {name}", "has a value that is infinite or not a number")


def _require_transformer(model: Model, source: str) -> None:
    positions = tuple(parse_position(item, source) for item in model.layout)
    if not 1 <= len(positions) <= limits.POSITIONS:
        rule = f"must have 1 to {limits.POSITIONS} positions, not {len(positions)}"
        raise InputError(source, "layout", rule)
    if len(model.attention) != len(positions):
        rule = f"must have one weight for each of the {len(positions)} positions, not {len(model.attention)}"
        raise InputError(source, "attention", rule)
    shapes = {name: model.tensors[name].shape for name in TENSORS}
    ranks = {"embed.W_E": 2, "blocks.0.attn.W_V": 3, "blocks.0.mlp.W_in": 2, "unembed.W_U": 2}
    for name, rank in ranks.items():
        if len(shapes[name]) != rank:
            rule = f"must have {rank} dimensions, not {len(shapes[name])}"
            raise InputError(source, f"tensor {name}", rule)
    v, d = shapes["embed.W_E"]
    h, _, k = shapes["blocks.0.attn.W_V"]
    n, q = shapes["blocks.0.mlp.W_in"][1], shapes["unembed.W_U"][1]
    expected = {
        "embed.W_E": (v, d),
        "pos_embed.W_pos": (len(positions), d),
        "blocks.0.attn.W_V": (h, d, k),
        "blocks.0.attn.W_O": (h, k, d),
        "blocks.0.attn.b_V": (h, k),
        "blocks.0.attn.b_O": (d,),
        "blocks.0.mlp.W_in": (d, n),
        "blocks.0.mlp.b_in": (n,),
        "blocks.0.mlp.W_out": (n, d),
        "blocks.0.mlp.b_out": (d,),
        "unembed.W_U": (d, q),
        "unembed.b_U": (q,),
    }
    for name, shape in expected.items():
        if shapes[name] != shape:
            rule = f"must have the shape {list(shape)}, not {list(shapes[name])}"
            raise InputError(source, f"tensor {name}", rule)
    needed = max(position.tokens(model.p).stop for position in positions)
    if v < needed:
        raise InputError(source, "tensor embed.W_E", f"has {v} tokens where the layout needs {needed}")
    sizes = {
        "vocabulary": (v, limits.VOCABULARY),
        "model dimension": (d, limits.WIDTH),
        "number of heads": (h, limits.HEADS),
        "head dimension": (k, limits.WIDTH),
        "number of neurons": (n, limits.NEURONS),
        "number of outputs": (q, limits.OUTPUTS),
    }
    _require_sizes(sizes, source)


def _require_circuit(circuit: FoldedCircuit, source: str) -> None:
    for name, table in circuit.tensors.items():
        if table.dtype not in (np.float32, np.float64):
            raise InputError(source, f"tensor {name}", f"must be float32 or float64, not {table.dtype}")
        if table.ndim != 2:
            raise InputError(source, f"tensor {name}", f"must have two dimensions, not {table.ndim}")
        if table.dtype == np.float64:
            _require_exponents(table, name, source)
    n, q, p = circuit.A.shape[0], circuit.W.shape[0], circuit.p
    expected = {"A": (n, p), "B": (n, p), "W": (q, n), "S1": (q, p), "S2": (q, p)}
    for name, table in circuit.tensors.items():
        if table.shape != expected[name]:
            rule = f"must have the shape {list(expected[name])}, not {list(table.shape)}"
            raise InputError(source, f"tensor {name}", rule)
    sizes = {"number of neurons": (n, limits.NEURONS), "number of outputs": (q, limits.OUTPUTS)}
    _require_sizes(sizes, source)


def _require_exponents(table: NDArray[Any], name: str, source: str) -> None:
    sizes = np.abs(table[np.isfinite(table) & (table != 0)])
    bound = 2.0**limits.EXPONENT_64
    if sizes.size and not 1 / bound <= sizes.min() <= sizes.max() < bound:
        most = limits.EXPONENT_64
        rule = f"has a value that is not zero and not between 2^-{most} and 2^{most}"
        raise InputError(source, f"tensor {name}", rule)


def _require_sizes(sizes: dict[str, tuple[int, int]], source: str) -> None:
    for name, (size, most) in sizes.items():
        if not 1 <= size <= most:
            raise InputError(source, name, f"must be in 1..{most}, not {size}")


def fold(model: Model | FoldedCircuit) -> FoldedCircuit:
    """The circuit of a transformer (docs/theory.md, §1), for the untrusted side.

    Computed exactly and rounded once to float64, so it is the same on every machine. What depends on neither
    a nor b goes with b. Attention intervals are folded at their middles. A folded circuit is returned as is.
    """
    if isinstance(model, FoldedCircuit):
        return model
    p, tensors = model.p, model.tensors
    d = tensors["unembed.W_U"].shape[0]

    def row(name: str) -> Exact:
        return exact(tensors[name].reshape(1, -1))

    w_o = exact(tensors["blocks.0.attn.W_O"].reshape(-1, d))
    ov = exact(tensors["blocks.0.attn.W_V"].transpose(1, 0, 2).reshape(d, -1)) @ w_o
    value_bias = row("blocks.0.attn.b_V") @ w_o
    w_in, w_u = exact(tensors["blocks.0.mlp.W_in"]), exact(tensors["unembed.W_U"])
    weights = [weight.middle for weight in model.attention]
    denominator = math.lcm(*(weight.denominator for weight in weights))

    # `denominator` times the residual stream before the MLP: the part of a, and the part of b with constants.
    total = int(sum(weights) * denominator)
    constants = row("blocks.0.attn.b_O").times(denominator) + value_bias.times(total)
    resid = {"a": zeros(p, d), "b": constants.rows(p)}
    for index, (position, weight) in enumerate(zip(model.positions, weights, strict=True)):
        tokens = position.tokens(p)
        embedded = exact(tensors["embed.W_E"][tokens.start : tokens.stop])
        embedded = embedded + exact(tensors["pos_embed.W_pos"][[index]]).rows(len(tokens))
        part = (embedded @ ov).times(int(weight * denominator))
        if index == len(weights) - 1:
            part = part + embedded.times(denominator)
        side = "a" if position.kind == "a" else "b"
        resid[side] = resid[side] + (part.rows(p) if position.kind == "=" else part)

    b_in = row("blocks.0.mlp.b_in").times(denominator).rows(p)
    after = row("blocks.0.mlp.b_out").times(denominator).rows(p)
    b_u = row("unembed.b_U").times(denominator).rows(p)
    return FoldedCircuit(
        p=p,
        A=np.ascontiguousarray((resid["a"] @ w_in).rounded(denominator).T),
        B=np.ascontiguousarray((resid["b"] @ w_in + b_in).rounded(denominator).T),
        W=np.ascontiguousarray((exact(tensors["blocks.0.mlp.W_out"]) @ w_u).rounded().T),
        S1=np.ascontiguousarray((resid["a"] @ w_u).rounded(denominator).T),
        S2=np.ascontiguousarray(((resid["b"] + after) @ w_u + b_u).rounded(denominator).T),
        provenance={"origin": "folded exactly, then rounded once to float64", "model": model.provenance},
    )


def circuit_digest(model: Model | FoldedCircuit) -> str:
    """SHA-256 (hex) of the folded circuit, computed exactly and rounded once to float64.

    It does not depend on the format the model came from, nor on how its heads or scales are split between
    tensors. Missing skip tables count as zero. With attention intervals the weights themselves are hashed as
    well, since then the circuit is not one.
    """
    circuit = fold(model)
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
    if isinstance(model, Model) and not all(weight.constant for weight in model.attention):
        hasher.update(" ".join(map(str, model.attention)).encode())
        for name in TENSORS:
            hasher.update(np.ascontiguousarray(model.tensors[name], dtype="<f4").tobytes())
    return hasher.hexdigest()
