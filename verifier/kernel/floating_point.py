"""Theorem F: how far the executed network's logits are from the exact ones (docs/theory.md §6).

A dot product of length m, in any order, with or without fused multiply-add, with underflow gradual or flushed, errs
by at most γ_m·Σ|x||y| plus far less than one unit of 2^-60, γ_m = m·u/(1 − m·u). Magnitudes are per coordinate, the
largest over all tokens and exact where the folding has them; errors go through |W|ᵀ layer by layer, those of the MLP
through |W_out·W_U|ᵀ at once. The order of operations is that of the usual code: embed, attend, add, W_in, ReLU,
W_out, add, W_U. All numbers are upper bounds, in units of 2^-60.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul

from verifier.kernel.circuit import Circuit, Folded, ceil_units
from verifier.kernel.cost import Cost
from verifier.kernel.model_file import ModelFile, Tensor
from verifier.kernel.reasons import Reason, require

UNIT_BITS = 60
OVERFLOW = 1 << (100 + UNIT_BITS)  # magnitudes must stay far below the largest finite number, 2^128
Vector = list[int]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Unit roundoffs: of the operands of a product (0 if they are used as they are), of its sums, of its result."""

    operands: Fraction
    sums: Fraction
    result: Fraction

    def product_error(self, length: int, what: str) -> Fraction:
        """Relative to Σ|x||y|: (1 + u_in)²(1 + γ_m)(1 + u_out) − 1.

        **Raises** `Rejected(NOT_PROVED)` when m·u is not below 1.
        """
        mu = length * self.sums
        require(
            mu < 1,
            Reason.NOT_PROVED,
            f"{what}: a sum of {length} terms has no error bound in this arithmetic",
        )
        return (1 + self.operands) ** 2 * (1 + mu / (1 - mu)) * (1 + self.result) - 1

    def sum_error(self) -> Fraction:
        """Relative error of one addition whose result is stored."""
        return (1 + self.sums) * (1 + self.result) - 1


ARITHMETIC = {
    "binary32": Arithmetic(Fraction(0), Fraction(1, 1 << 24), Fraction(0)),
    # 11 bits, rounded to nearest or truncated: units that ignore the low bits of a binary32 operand are covered.
    "tf32": Arithmetic(Fraction(1, 1 << 10), Fraction(1, 1 << 24), Fraction(0)),
    "bfloat16": Arithmetic(Fraction(1, 1 << 8), Fraction(1, 1 << 24), Fraction(1, 1 << 8)),
}


def _require_range(values: Sequence[int], what: str) -> None:
    """Reject unless no value can overflow: an infinity times a zero weight is not a number, and spreads.

    **Raises** `Rejected(NOT_PROVED)`.
    """
    require(max(values) < OVERFLOW, Reason.NOT_PROVED, f"{what}: an intermediate result may overflow")


def _units(tensor: Tensor) -> Vector:
    """Absolute values, rounded up to units."""
    shift = tensor.exponent + UNIT_BITS
    if shift >= 0:
        values = [abs(x) << shift for x in tensor.integers]
    else:
        values = [-(-abs(x) >> -shift) for x in tensor.integers]
    _require_range(values, "a weight")
    return values


def _scaled(values: Sequence[int], factor: Fraction) -> Vector:
    top, bottom = factor.numerator, factor.denominator
    return [-(-x * top // bottom) for x in values]


def _plus(*vectors: Sequence[int]) -> Vector:
    return [sum(column) for column in zip(*vectors, strict=True)]


@dataclass(frozen=True, slots=True)
class _Layer:
    """|W| as columns (one per output), and |b|."""

    columns: list[Vector]
    bias: Vector

    def reach(self, x: Sequence[int]) -> Vector:
        """|W|ᵀx, rounded up."""
        return [-(-sum(map(mul, column, x)) >> UNIT_BITS) for column in self.columns]


def _layer(weights: Vector, outputs: int, bias: Vector) -> _Layer:
    return _Layer([weights[column::outputs] for column in range(outputs)], bias)


@dataclass(frozen=True, slots=True)
class _Signal:
    """What a coordinate can be: `size` bounds the exact value, `error` the distance of the computed one."""

    size: Vector
    error: Vector


def _through(
    layer: _Layer, x: _Signal, arithmetic: Arithmetic, what: str, size: Sequence[int] | None = None
) -> _Signal:
    """One affine layer: the computed x·W + b for a computed x; `size` bounds the exact result where that is known
    better.
    """
    operands = _plus(x.size, x.error)
    _require_range(operands, what)
    reach = layer.reach(operands)
    _require_range(_plus(reach, layer.bias), what)
    if size is None:
        size = _plus(layer.reach(x.size), layer.bias)
    relative = arithmetic.product_error(len(x.size) + 2, what)
    rounding = _scaled(_plus(reach, layer.bias), relative)
    return _Signal(list(size), [e + r + 1 for e, r in zip(layer.reach(x.error), rounding, strict=True)])


def _added(x: _Signal, y: _Signal, arithmetic: Arithmetic, size: Sequence[int] | None = None) -> _Signal:
    if size is None:
        size = _plus(x.size, y.size)
    error = _plus(x.error, y.error)
    _require_range(_plus(size, error), "a sum")
    rounding = _scaled(_plus(size, error), arithmetic.sum_error())
    return _Signal(list(size), [e + r + 1 for e, r in zip(error, rounding, strict=True)])


def logit_rounding(model: ModelFile, folded: Folded, circuit: Circuit, semantics: str, cost: Cost) -> int:
    """Theorem F: an upper bound of |computed − exact| over all logits of all inputs, in units of 2^-60.

    Attention weights count as computed to one rounding of the file's values.

    **Raises** `Rejected(NOT_PROVED)` when the arithmetic gives no bound.
    """
    arithmetic = ARITHMETIC[semantics]
    unit = Fraction(2) ** -circuit.pre_scale
    hidden = [
        # The exact pre-activation is less than two units above the fixed-point one, and what the attention can add.
        max(0, ceil_units((max(row_a) + max(row_b) + 2 + slack) * unit, UNIT_BITS))
        for row_a, row_b, slack in zip(circuit.pre_a, circuit.pre_b, circuit.pre_slack, strict=True)
    ]
    result = (
        _transformer(model, folded, circuit, hidden, arithmetic)
        if model.positions
        else _circuit(model, hidden, arithmetic)
    )
    cost.add("floating point", 6 * sum(len(tensor.integers) for tensor in model.tensors.values()))
    return result


def _circuit(model: ModelFile, hidden: Vector, arithmetic: Arithmetic) -> int:
    """A folded circuit: one addition, ReLU, one product, two additions; binary64 weights are rounded on loading."""
    tensors = model.tensors
    p, n = model.p, tensors["A"].shape[0]
    a, b = _units(tensors["A"]), _units(tensors["B"])
    size = [max(a[i * p : (i + 1) * p]) + max(b[i * p : (i + 1) * p]) for i in range(n)]
    once = arithmetic.sum_error() + 2 * arithmetic.sums + arithmetic.operands
    pre = _Signal(size, [e + 1 for e in _scaled(size, 2 * once)])
    weights, q = _units(tensors["W"]), tensors["W"].shape[0]
    layer = _Layer([weights[c * n : (c + 1) * n] for c in range(q)], [0] * q)
    skips = [
        max(units[c * p : (c + 1) * p])
        for c in range(q)
        for units in ([_units(tensors[name]) for name in ("S1", "S2") if name in tensors] or [[0] * (q * p)])
    ]
    bias = max(skips) * 2
    out = _through(_Layer(layer.columns, [bias] * q), _Signal(hidden, pre.error), arithmetic, "W")
    return max(_scaled(_plus(out.size, out.error), 4 * once)) + max(out.error) + 1


def _transformer(model: ModelFile, folded: Folded, circuit: Circuit, hidden: Vector, arithmetic: Arithmetic) -> int:
    tensors = model.tensors
    units = {name: _units(tensor) for name, tensor in tensors.items()}
    d, n = tensors["blocks.0.mlp.W_in"].shape
    heads, width, _ = tensors["blocks.0.attn.W_O"].shape
    q = tensors["unembed.b_U"].shape[0]
    values = units["blocks.0.attn.W_V"]
    columns = [values[(h * d) * width + k : (h * d + d) * width : width] for h in range(heads) for k in range(width)]
    w_v = _Layer(columns, units["blocks.0.attn.b_V"])
    w_o = _layer(units["blocks.0.attn.W_O"], d, units["blocks.0.attn.b_O"])
    w_in = _layer(units["blocks.0.mlp.W_in"], n, units["blocks.0.mlp.b_in"])
    w_out = _layer(units["blocks.0.mlp.W_out"], d, units["blocks.0.mlp.b_out"])
    w_u = _layer(units["unembed.W_U"], q, units["unembed.b_U"])
    mixed = _Signal([0] * (heads * width), [0] * (heads * width))
    last = mixed
    for index, place in enumerate(model.positions):
        last = _embedding(model, index, d, arithmetic)
        size = [ceil_units(x, UNIT_BITS) for x in folded.value_size[index]]
        value = _through(w_v, last, arithmetic, "W_V", size)
        weight = max(abs(place.attention_low), abs(place.attention_high))
        mixed = _Signal(
            _plus(mixed.size, _scaled(value.size, weight)),
            _plus(mixed.error, _scaled(value.error, weight)),
        )
    # The mix itself: a product of length T whose weights carry one rounding of their own.
    relative = arithmetic.product_error(len(model.positions) + 1, "attention")
    rounding = _scaled(_plus(mixed.size, mixed.error), relative)
    mixed = _Signal(mixed.size, [e + r + 1 for e, r in zip(mixed.error, rounding, strict=True)])
    attended = _through(w_o, mixed, arithmetic, "W_O")
    before = _added(last, attended, arithmetic, _stream(folded, model, last, attended))
    pre = _through(w_in, before, arithmetic, "W_in")
    # The error of the hidden layer reaches the logits through W_out·W_U, the rest through W_U.
    written = _through(w_out, _Signal(hidden, [0] * n), arithmetic, "W_out")
    moved = _layer(units["blocks.0.mlp.W_out"], d, [0] * d).reach(pre.error)
    _require_range(moved, "W_out")
    slope = arithmetic.product_error(n + 2, "W_out")
    after = _added(before, _Signal(written.size, _plus(written.error, _scaled(moved, slope))), arithmetic)
    direct = max(_through(w_u, after, arithmetic, "W_U").error)
    once = (1 + arithmetic.product_error(d + 2, "W_U")) * (1 + arithmetic.sum_error()) - 1
    carried = max(
        ceil_units(Fraction(sum(map(mul, (abs(row[c]) + 1 for row in circuit.out), pre.error))), -circuit.out_scale)
        for c in range(q)
    )
    around = max(w_u.reach(moved))
    return direct + carried + max(_scaled([around], once)) + 2


def _stream(folded: Folded, model: ModelFile, last: _Signal, attended: _Signal) -> Vector:
    """Bounds of the exact residual stream: the folding's, unless attention intervals could exceed it."""
    if any(place.attention_low != place.attention_high for place in model.positions):
        return _plus(last.size, attended.size)
    return [ceil_units(x, UNIT_BITS) for x in folded.stream_size]


def _embedding(model: ModelFile, index: int, d: int, arithmetic: Arithmetic) -> _Signal:
    """Token plus positional embedding at one position: per coordinate the largest over the tokens it can hold."""
    place, embed = model.positions[index], model.tensors["embed.W_E"]
    count = 1 if place.holds == "=" else model.p
    tokens = _units(embed)[place.offset * d : (place.offset + count) * d]
    positions = _units(model.tensors["pos_embed.W_pos"])[index * d : (index + 1) * d]
    token = _Signal([max(tokens[column::d]) for column in range(d)], [0] * d)
    position = _Signal(positions, [0] * d)
    relative = 2 * arithmetic.operands  # an embedding stored in a narrower format is rounded once more
    summed = _added(token, position, arithmetic)
    return _Signal(summed.size, _plus(summed.error, _scaled(summed.size, relative)))
