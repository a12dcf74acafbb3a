"""Reading a model file: a strict parser of the safetensors format, from bytes to exact numbers.

The theorem is about these bytes. The header must be strict JSON, the tensors exactly those of the format, and their
data must fill the rest of the file without an overlap or a hole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import Ints
from verifier.kernel.claim import TASKS
from verifier.kernel.enclosure import Enclosed
from verifier.kernel.forms import Integer, Items, Json, Record, Text, choice, decode
from verifier.kernel.reasons import Reason, Rejected, require

WEIGHT_BITS = 31  # of the largest entry of a tensor
BLOCK = 1 << 14  # entries at a time, so that they stay in the cache
TRANSFORMER = "verifier-model/1"
CIRCUIT = "verifier-circuit/1"
_DECIMAL = Text("[1-9][0-9]{0,8}", "a plain decimal")
_COMMON: dict[str, Text] = {"format": Text(), "task": Text(), "p": _DECIMAL, "provenance": Text()}
METADATA = {TRANSFORMER: Record({**_COMMON, "layout": Text(), "attention": Text()}), CIRCUIT: Record({**_COMMON})}
# Shapes, a letter a size: v tokens, t positions, d model dimensions, h heads of width k, n neurons, q outputs.
TRANSFORMER_SHAPES = {
    "embed.W_E": "vd",
    "pos_embed.W_pos": "td",
    "blocks.0.attn.W_V": "hdk",
    "blocks.0.attn.W_O": "hkd",
    "blocks.0.attn.b_V": "hk",
    "blocks.0.attn.b_O": "d",
    "blocks.0.mlp.W_in": "dn",
    "blocks.0.mlp.b_in": "n",
    "blocks.0.mlp.W_out": "nd",
    "blocks.0.mlp.b_out": "d",
    "unembed.W_U": "dq",
    "unembed.b_U": "q",
}
SCORE_SHAPES = {f"blocks.0.attn.{kind}_{x}": shape for kind, shape in (("W", "hdk"), ("b", "hk")) for x in "QK"}
CIRCUIT_SHAPES = {"A": "np", "B": "np", "W": "qn"}
LARGEST = {
    "v": limits.VOCABULARY,
    "t": limits.POSITIONS,
    "d": limits.WIDTH,
    "h": limits.HEADS,
    "k": limits.WIDTH,
    "n": limits.NEURONS,
    "q": limits.OUTPUTS,
    "p": limits.MODULUS,
}
_OFFSET = Integer(0, limits.MODEL_BYTES)
TENSOR = Record(
    {"dtype": choice("F32", "F64"), "shape": Items(Integer(1, 1 << 20), 0, 3), "data_offsets": Items(_OFFSET, 2, 2)}
)


@dataclass(frozen=True, slots=True)
class Position:
    """What one position holds: the `tokens` of a or of b in order (`holds` "a" or "b"), or one fixed token ("=")."""

    holds: str
    tokens: Ints
    attention_low: Fraction
    attention_high: Fraction


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A decoded model file; `positions` is empty for a folded circuit. `task`: what the file says it is for.

    `scale_squared`: for attention by softmax, the square of what scores are multiplied by; None where the weights are
    declared.
    """

    task: str
    p: int
    positions: tuple[Position, ...]
    tensors: dict[str, Enclosed]
    scale_squared: Fraction | None

    @property
    def neurons(self) -> int:
        return self.tensors["blocks.0.mlp.b_in" if self.positions else "A"].shape[0]

    @property
    def outputs(self) -> int:
        return self.tensors["unembed.b_U" if self.positions else "W"].shape[0]

    @property
    def weights_held(self) -> int:
        """Numbers held for every input while its attention weights are found."""
        return len(self.positions) * (self.tensors["blocks.0.attn.W_O"].shape[0] + 4) if self.scale_squared else 0

    def require_held(self, count: int, what: str) -> None:
        """Reject unless `count` numbers may be held at once: what a check takes is bounded by the size of the file.

        **Raises** `Rejected(SIZE)`.
        """
        most = max(limits.HELD, limits.HELD_PER_NUMBER * sum(x.values.size for x in self.tensors.values()))
        most = min(most, limits.LANE_BYTES // 8)
        require(count <= most, Reason.SIZE, f"{what}: {count} numbers at once, at most {most} for this model")


def read_model(data: bytes, source: str = "model") -> ModelFile:
    """Decode a model file.

    **Arguments**

    - `data`: the whole file.
    - `source`: what to call it in messages.

    **Raises** `Rejected` with `SIZE`, `JSON`, `FIELD`, `RANGE`, `FORMAT`, `TENSOR`, `LAYOUT`, `NOT_FINITE` or `TASK`.
    """
    require(len(data) <= limits.MODEL_BYTES, Reason.SIZE, f"{source}: {len(data)} bytes")
    require(len(data) >= 8, Reason.LAYOUT, f"{source}: shorter than a safetensors header")
    length = int.from_bytes(data[:8], "little")
    require(2 <= length <= limits.HEADER_BYTES, Reason.SIZE, f"{source}: header of {length} bytes")
    require(8 + length <= len(data), Reason.LAYOUT, f"{source}: the header is cut off")
    require(data[8:9] == b"{", Reason.JSON, f"{source}: the header does not start with an object")
    header = decode(data[8 : 8 + length], f"{source} header", limits.HEADER_BYTES)
    entries = dict(header) if isinstance(header, dict) else {}
    raw = entries.pop("__metadata__", None)
    if not isinstance(raw, dict):
        raise Rejected(Reason.FIELD, f"{source} header: no __metadata__ object")
    form = raw.get("format")
    if not isinstance(form, str) or form not in METADATA:
        raise Rejected(Reason.FORMAT, f"{source} metadata.format: not {TRANSFORMER!r} or {CIRCUIT!r}")
    metadata = METADATA[form].read(raw, f"{source} metadata")  # provenance: for people, bounded and not used
    tasks = ", ".join(TASKS.values())
    require(metadata["task"] in TASKS.values(), Reason.TASK, f"{source} metadata.task: not one of {tasks}")
    p = Integer(3, limits.MODULUS).read(int(metadata["p"]), f"{source} metadata.p")
    spans = _spans(entries, source)
    body = memoryview(data)[8 + length :]
    _require_tiling(spans, len(body), source)
    positions: tuple[Position, ...] = ()
    scale = None
    if form == CIRCUIT:
        shapes = CIRCUIT_SHAPES | {name: "qp" for name in ("S1", "S2") if name in spans}
        _require_shapes(spans, shapes, {"p": p}, source)
    else:
        layout = metadata["layout"].split(" ")
        scale = _scale(metadata["attention"], source)
        weights = ["0"] * len(layout) if scale is not None else metadata["attention"].split(" ")
        positions = _positions(layout, weights, p, source)
        shapes = TRANSFORMER_SHAPES | (SCORE_SHAPES if scale is not None else {})
        sizes = _require_shapes(spans, shapes, {"p": p, "t": len(positions)}, source)
        needed = max(int(x.tokens[-1]) + 1 for x in positions)
        require(needed <= sizes["v"], Reason.TENSOR, f"{source} embed.W_E: {sizes['v']} tokens, layout needs {needed}")
        for name, span in spans.items():
            require(span.dtype == "F32", Reason.TENSOR, f"{source} {name}: dtype {span.dtype}, expected F32")
    tensors = {name: _tensor(body[span.start : span.end], span, f"{source} {name}") for name, span in spans.items()}
    return ModelFile(metadata["task"], p, positions, tensors, scale)


@dataclass(frozen=True, slots=True)
class _Span:
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def _spans(entries: dict[str, Json], source: str) -> dict[str, _Span]:
    require(len(entries) <= 64, Reason.TENSOR, f"{source}: {len(entries)} tensors")
    spans = {}
    for name, value in entries.items():
        where = f"{source} {name[:60]}"
        fields = TENSOR.read(value, where)
        shape, (start, end) = tuple(fields["shape"]), fields["data_offsets"]
        size = prod(shape) * (4 if fields["dtype"] == "F32" else 8)
        require(end - start == size, Reason.LAYOUT, f"{where}: {end - start} bytes for {size} bytes of data")
        spans[name] = _Span(fields["dtype"], shape, start, end)
    return spans


def _require_tiling(spans: dict[str, _Span], size: int, source: str) -> None:
    at = 0
    for start, end, name in sorted((span.start, span.end, name) for name, span in spans.items()):
        require(start == at, Reason.LAYOUT, f"{source} {name[:60]}: data starts at {start}, not at {at}")
        at = end
    require(at == size, Reason.LAYOUT, f"{source}: {size} bytes of data, tensors end at {at}")


def _scale(attention: str, source: str) -> Fraction | None:
    """The square of the scale of `softmax <scale>`, a scale being 1/sqrt(N) or a positive fraction; None for
    weights."""
    if not attention.startswith("softmax "):
        return None
    text = attention.removeprefix("softmax ")
    match = re.fullmatch(r"1/sqrt\(([1-9][0-9]{0,6})\)", text)
    if match:
        return Fraction(1, int(match[1]))
    value = _rational(text, source)
    require(value > 0, Reason.RANGE, f"{source} metadata.attention: the scale is not positive")
    return value**2


def _positions(layout: list[str], weights: list[str], p: int, source: str) -> tuple[Position, ...]:
    require(len(layout) <= limits.POSITIONS, Reason.SIZE, f"{source} metadata.layout: {len(layout)} positions")
    require(len(weights) == len(layout), Reason.FIELD, f"{source} metadata.attention: not one weight per position")
    return tuple(parse_position(item, weight, p, source) for item, weight in zip(layout, weights, strict=True))


def parse_position(item: str, weight: str, p: int, source: str) -> Position:
    """One item of a layout with its attention weight.

    **Raises** `Rejected(FIELD | RANGE)`.
    """
    match = re.fullmatch(r"([ab])(?:\+([1-9][0-9]{0,5}))?|=(0|[1-9][0-9]{0,5})", item)
    if match is None:
        raise Rejected(Reason.FIELD, f"{source} metadata.layout: {item[:20]!r} is not a, b, a+N, b+N or =N")
    holds = match[1] or "="
    offset = int(match[2] or match[3] or 0)
    ends = [_rational(text, source) for text in weight.split(":")]
    require(
        len(ends) <= 2 and ends[0] <= ends[-1],
        Reason.FIELD,
        f"{source} metadata.attention: {weight[:40]!r} is not low:high",
    )
    tokens = offset + np.arange(1 if holds == "=" else p, dtype=np.int64)
    return Position(holds, tokens, ends[0], ends[-1])


def _rational(text: str, source: str) -> Fraction:
    match = re.fullmatch(r"(-?[0-9]{1,7})(?:/([1-9][0-9]{0,6}))?", text)
    if match is None:
        raise Rejected(Reason.FIELD, f"{source} metadata.attention: {text[:20]!r} is not a fraction")
    value = Fraction(int(match[1]), int(match[2] or 1))
    high = limits.RATIONAL
    require(
        abs(value.numerator) <= high and value.denominator <= high,
        Reason.RANGE,
        f"{source} metadata.attention: {text!r}; numerators and denominators go up to {high}",
    )
    return value


def _require_shapes(
    spans: dict[str, _Span], shapes: dict[str, str], known: dict[str, int], source: str
) -> dict[str, int]:
    """Every tensor is there, none else, and each letter of a shape stands for one number: the sizes by letter.

    **Raises** `Rejected(TENSOR | SIZE)`.
    """
    sizes = dict(known)
    for name, letters in shapes.items():
        require(name in spans, Reason.TENSOR, f"{source}: tensor {name} is missing")
        shape = spans[name].shape
        require(len(shape) == len(letters), Reason.TENSOR, f"{source} {name}: {len(shape)} dimensions, not {letters}")
        for letter, size in zip(letters, shape, strict=True):
            require(
                size == sizes.setdefault(letter, size),
                Reason.TENSOR,
                f"{source} {name}: shape {list(shape)}, {letter} is {sizes[letter]} elsewhere",
            )
            require(
                size <= LARGEST[letter], Reason.SIZE, f"{source} {name}: dimension {size}, at most {LARGEST[letter]}"
            )
    unknown = sorted(name[:60] for name in spans.keys() - shapes.keys())
    require(not unknown, Reason.TENSOR, f"{source}: unknown tensor {unknown[:1]}")
    require(sizes["q"] >= sizes["p"], Reason.TENSOR, f"{source}: {sizes['q']} outputs, fewer than p")
    return sizes


def _tensor(data: memoryview, span: _Span, where: str) -> Enclosed:
    """The tensor as integers: entry = m·2^e with |m| < 2^WEIGHT_BITS, rounded toward zero where that loses digits.

    The floats' bits are taken apart as integers; they are never floats here.
    """
    wide = span.dtype == "F64"
    fraction, special, bias = (52, 2047, 1075) if wide else (23, 255, 150)
    word: Any = np.uint64 if wide else np.uint32
    bits = np.frombuffer(data, dtype="<u8" if wide else "<u4").astype(word, copy=False)
    sizes = bits & word((1 << (63 if wide else 31)) - 1)
    top = int(sizes.max()) >> fraction
    require(top < special, Reason.NOT_FINITE, f"{where}: a value is infinite or not a number")
    if wide:
        low = int(sizes.min(where=sizes != 0, initial=sizes.max())) >> fraction
        in_range = abs(low - 1023) <= limits.EXPONENT_64 and abs(top - 1023) <= limits.EXPONENT_64
        require(
            in_range or not sizes.any(),
            Reason.RANGE,
            f"{where}: a value is not between 2^-{limits.EXPONENT_64} and 2^{limits.EXPONENT_64}",
        )
    # Subnormal numbers have no hidden bit, and the exponent of the least normal one: entry = mantissa·2^(power − bias).
    top, lift, exact = max(top, 1), WEIGHT_BITS - fraction - 1, True
    values = np.empty(bits.shape, dtype=np.int64)
    for start in range(0, len(bits), BLOCK):
        now = slice(start, start + BLOCK)
        powers = np.maximum(sizes[now] >> word(fraction), word(1))
        mantissas = sizes[now] - ((powers - word(1)) << word(fraction))
        mantissas <<= word(max(lift, 0))
        right = np.minimum(word(top + max(-lift, 0)) - powers, word(8 * bits.itemsize - 1))
        digits = mantissas >> right
        exact = exact and bool((digits << right == mantissas).all())
        minus = -(bits[now] >> word(8 * bits.itemsize - 1)).astype(np.int64)  # −1 or 0; −m is (m ^ −1) + 1
        values[now] = (digits.astype(np.int64) ^ minus) - minus
    return Enclosed(values.reshape(span.shape), top - bias - lift, 0 if exact else 1)
