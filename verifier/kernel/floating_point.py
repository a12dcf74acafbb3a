"""Theorem F: how far the executed network's logits are from the exact ones (docs/theory.md §8).

A dot product of length m, in any order, with or without fused multiply-add, with underflow gradual or flushed, errs
by at most γ_m·Σ|x||y| plus far less than one unit of 2^-60, γ_m = m·u/(1 − m·u). Magnitudes are per coordinate, the
largest over all tokens, as the folding has them; errors go through |W|ᵀ layer by layer, those of the MLP through
|W_out·W_U|ᵀ at once. The order of operations is that of the usual code: embed, attend, add, W_in, ReLU, W_out, add,
W_U. Every number here is an upper bound, rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, isqrt

import numpy as np

from verifier.kernel.arrays import Ints, exact_product, integers, shifted
from verifier.kernel.attention import Pattern
from verifier.kernel.circuit import Circuit, Folded, charged
from verifier.kernel.cost import Cost
from verifier.kernel.enclosure import Enclosed, product
from verifier.kernel.model_file import ModelFile
from verifier.kernel.reasons import Reason, require

UNIT_BITS = 60  # the result is in units of 2^-60
EXPONENTIAL = 4  # units in the last place that a computed exponential may be off by
OVERFLOW_BITS = 100  # magnitudes must stay far below the largest finite number, 2^128


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
        require(mu < 1, Reason.NOT_PROVED, f"{what}: a sum of {length} terms has no error bound in this arithmetic")
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


@dataclass(frozen=True)
class Upper:
    """Upper bounds of numbers that are not negative: `values`·2^`exponent`, one row for each of several vectors."""

    values: Ints
    exponent: int

    @cached_property
    def most(self) -> int:
        return int(self.values.max(initial=0))

    def within(self, bits: int) -> Upper:
        """The same, at most `bits` bits long (and a carry), rounded up."""
        excess = self.most.bit_length() - bits
        return self.at(self.exponent + excess) if excess > 0 else self

    def at(self, exponent: int) -> Upper:
        shift = self.exponent - exponent
        return Upper(-shifted(-self.values, shift, self.most), exponent) if shift else self

    def top(self) -> int:
        """Every number is below 2^top."""
        return self.most.bit_length() + self.exponent

    def times(self, *factors: Fraction) -> Upper:
        """A multiple by a factor that is not negative, or of every row by its own."""
        top = max(factors)
        shift = 20 - top.numerator.bit_length() + top.denominator.bit_length()
        scaled, narrow = [ceil(x * Fraction(2) ** shift) for x in factors], self.within(38)
        by = np.int64(scaled[0]) if len(scaled) == 1 else integers(scaled)[:, None]
        return Upper(narrow.values * by, narrow.exponent - shift)

    def total(self) -> Upper:
        """The sum of the rows, as one row."""
        narrow = self.within(60 - len(self.values).bit_length())
        return Upper(narrow.values.sum(axis=0, keepdims=True, dtype=np.int64), narrow.exponent)

    def largest(self) -> Fraction:
        return self.most * Fraction(2) ** self.exponent

    def ceiling(self) -> int:
        """The largest, in units of 2^-60."""
        return ceil(self.largest() * (1 << UNIT_BITS))


def upper(table: Enclosed) -> Upper:
    """Of the absolute values."""
    return Upper(np.abs(table.values) + np.int64(table.radius), table.exponent)


def plus(*parts: Upper) -> Upper:
    """The sum; shapes broadcast. Where sizes differ much the small ones are rounded up to 2^-50 of the large."""
    exponent = max(part.top() for part in parts) - 50
    first, *others = (part.at(exponent).values for part in parts)
    return Upper(sum(others, first), exponent)


def maximum(table: Upper, starts: Sequence[int] = (0,)) -> Upper:
    """By column: the largest of the rows from each of `starts` on to the next."""
    return Upper(np.maximum.reduceat(table.values, starts, axis=0), table.exponent)


LEAST = Upper(integers([[1]]), -UNIT_BITS)  # what underflow may do


def _require_range(values: Upper, what: str) -> None:
    """Reject unless no value can overflow: an infinity times a zero weight is not a number, and spreads.

    **Raises** `Rejected(NOT_PROVED)`.
    """
    require(
        not values.most or values.top() <= OVERFLOW_BITS,
        Reason.NOT_PROVED,
        f"{what}: an intermediate result may overflow",
    )


def _tensor(tensor: Enclosed, *shape: int) -> Upper:
    found = upper(tensor.reshape(*shape) if shape else tensor)
    _require_range(found, "a weight")
    return found


def through(matrix: Upper, x: Upper) -> Upper:
    """x·|W| for |W| [m, k], row by row; x is rounded up to what one exact product leaves room for."""
    room = 52 - len(matrix.values).bit_length() - matrix.most.bit_length()
    v = x.within(max(12, room))
    found = exact_product(v.values, matrix.values, "a magnitude", (v.most, matrix.most))
    return Upper(found, matrix.exponent + v.exponent)


@dataclass(frozen=True, slots=True)
class _Signal:
    """What a coordinate can be: `size` bounds the exact value, `error` the distance of the computed one."""

    size: Upper
    error: Upper


def _affine(
    matrix: Upper, bias: Upper, x: _Signal, arithmetic: Arithmetic, what: str, size: Upper | None = None
) -> _Signal:
    """One affine layer: the computed x·W + b for a computed x; `size` bounds the exact result where that is known
    better.
    """
    operands = plus(x.size, x.error)
    _require_range(operands, what)
    reach = plus(through(matrix, operands), bias)
    _require_range(reach, what)
    rounding = reach.times(arithmetic.product_error(len(matrix.values) + 2, what))
    error = plus(through(matrix, x.error), rounding, LEAST)
    return _Signal(plus(through(matrix, x.size), bias) if size is None else size, error)


def _added(x: _Signal, y: _Signal, arithmetic: Arithmetic, size: Upper | None = None) -> _Signal:
    size = plus(x.size, y.size) if size is None else size
    error = plus(x.error, y.error)
    computed = plus(size, error)
    _require_range(computed, "a sum")
    return _Signal(size, plus(error, computed.times(arithmetic.sum_error()), LEAST))


def logit_rounding(model: ModelFile, folded: Folded, circuit: Circuit, semantics: str, cost: Cost) -> int:
    """Theorem F: an upper bound of |computed − exact| over all logits of all inputs, in units of 2^-60.

    Attention weights count as computed to one rounding of the file's values.

    **Raises** `Rejected(NOT_PROVED)` when the arithmetic gives no bound.
    """
    arithmetic = ARITHMETIC[semantics]
    hidden = Upper(integers([circuit.hidden]), -circuit.pre_scale)
    cost.add("floating point", 6 * sum(tensor.values.size for tensor in model.tensors.values()))
    if folded.streams is None:
        return _circuit(model, hidden, arithmetic)
    return _transformer(model, folded, *folded.streams, circuit, hidden, arithmetic)


def _circuit(model: ModelFile, hidden: Upper, arithmetic: Arithmetic) -> int:
    """A folded circuit: one addition, ReLU, one product, two additions; binary64 weights are rounded on loading."""
    tensors = {name: _tensor(tensor) for name, tensor in model.tensors.items()}
    a, b = (Upper(tensors[name].values.max(axis=1), tensors[name].exponent) for name in "AB")
    size = plus(a, b)
    once = arithmetic.sum_error() + 2 * arithmetic.sums + arithmetic.operands
    pre = plus(size.times(2 * once), LEAST)
    matrix = Upper(np.ascontiguousarray(tensors["W"].values.T), tensors["W"].exponent)
    skips = [
        Upper(integers([[tensors[name].most]]), tensors[name].exponent) for name in ("S1", "S2") if name in tensors
    ]
    bias = plus(*skips, *skips, LEAST) if skips else LEAST
    out = _affine(matrix, bias, _Signal(hidden, pre), arithmetic, "W")
    return plus(plus(out.size, out.error).times(4 * once), out.error, LEAST).ceiling()


def _transformer(
    model: ModelFile, folded: Folded, values: Enclosed, stream: Enclosed, circuit: Circuit, hidden: Upper,
    arithmetic: Arithmetic,
) -> int:  # fmt: skip
    heads, width, d = model.tensors["blocks.0.attn.W_O"].shape
    n = model.tensors["blocks.0.mlp.b_in"].shape[0]

    def tensor(name: str, *shape: int) -> Upper:
        return _tensor(model.tensors[name], *shape)

    w_v = _tensor(model.tensors["blocks.0.attn.W_V"].by_column())
    b_v = tensor("blocks.0.attn.b_V", heads * width)
    w_o = tensor("blocks.0.attn.W_O", heads * width, d)
    w_in, w_out, w_u = (tensor(name) for name in ("blocks.0.mlp.W_in", "blocks.0.mlp.W_out", "unembed.W_U"))
    embed, places = tensor("embed.W_E"), tensor("pos_embed.W_pos")
    tokens = Upper(np.stack([embed.values[x.tokens].max(axis=0) for x in model.positions]), embed.exponent)
    nothing = tokens.times(Fraction(0))
    # By position: a row of every signal up to the mix.
    summed = _added(_Signal(tokens, nothing), _Signal(places, nothing), arithmetic)
    # An embedding stored in a narrower format is rounded once more.
    signal = _Signal(summed.size, plus(summed.error, summed.size.times(2 * arithmetic.operands)))
    last = _Signal(*(Upper(x.values[-1:], x.exponent) for x in (signal.size, signal.error)))
    attention, starts = folded.attention, folded.moves.starts.tolist()
    moved = _softmax_error(model, attention, starts, signal, last, arithmetic)
    # What the weights' errors do is linear up to ReLU: through the exact maps, where the folding has them.
    exactly = bool(moved) and len(folded.moves.heads) == heads
    held = _affine(w_v, b_v, signal, arithmetic, "W_V", maximum(upper(values), starts))
    ends = [zip(*rows, strict=True) for rows in zip(attention.middles, attention.radii, strict=True)]
    weights = [max(abs(m) + r for m, r in row) + moved * exactly for row in ends]
    size = held.size.times(*weights).total()
    error = plus(held.error.times(*weights), plus(held.size, held.error).times(moved * (not exactly)), LEAST).total()
    # The mix itself: a product of length T whose weights carry one rounding of their own.
    relative = arithmetic.product_error(len(model.positions) + 1, "attention")
    mixed = _Signal(size, plus(error, plus(size, error).times(relative), LEAST))
    attended = _affine(w_o, tensor("blocks.0.attn.b_O"), mixed, arithmetic, "W_O")
    before = _added(
        last, attended, arithmetic, _stream(folded, values, stream, model.tensors["blocks.0.attn.W_O"], moved * exactly)
    )
    pre = _affine(w_in, tensor("blocks.0.mlp.b_in"), before, arithmetic, "W_in")
    skipped = list[Upper]()
    if exactly:
        even = [[moved] * len(model.positions)] * heads
        inner, *skipped = (_charged(sizes, even) for sizes in folded.moves.reach)
        pre = _Signal(pre.size, plus(pre.error, inner))
    # The error of the hidden layer reaches the logits through W_out·W_U, the rest through W_U.
    exact = _Signal(hidden, hidden.times(Fraction(0)))
    written = _affine(w_out, tensor("blocks.0.mlp.b_out"), exact, arithmetic, "W_out")
    spread = through(w_out, pre.error)
    _require_range(spread, "W_out")
    slope = arithmetic.product_error(n + 2, "W_out")
    after = _added(before, _Signal(written.size, plus(written.error, spread.times(slope))), arithmetic)
    direct = _affine(w_u, tensor("unembed.b_U"), after, arithmetic, "W_U").error
    once = (1 + arithmetic.product_error(d + 2, "W_U")) * (1 + arithmetic.sum_error()) - 1
    carried = through(Upper(np.abs(circuit.out) + np.int64(circuit.out_radius), -circuit.out_scale), pre.error)
    return plus(direct, *skipped, LEAST).ceiling() + plus(carried, through(w_u, spread).times(once), LEAST).ceiling()


def _charged(sizes: Enclosed, factors: Sequence[Sequence[Fraction]]) -> Upper:
    """Σ over heads and positions of factors [heads][positions] times sizes [heads, positions, columns]."""
    values, exponent = charged(sizes, factors)
    return Upper(values.sum(axis=(0, 1), dtype=np.int64)[None, :], exponent)


def _softmax_error(
    model: ModelFile, attention: Pattern, starts: list[int], signal: _Signal, last: _Signal, arithmetic: Arithmetic
) -> Fraction:
    """How far a computed attention weight σ is from the exact one; 0 for declared weights.

    If every computed score is within e of the exact one (rounding of its difference to the largest included), and an
    exponential within `EXPONENTIAL` units in the last place, each exponential is the exact one times a factor within
    exp(±x/2). Normalised exactly, σ becomes at most σ/(σ + (1 − σ)exp(−x)) and at least the same with exp(x), which
    differ from σ by at most y(1 + y)/4, y = x + x² >= exp(x) − 1 for x <= 1/4. Sum and division are rounded besides.
    That common libraries' exponentials are so good is an assumption.

    **Raises** `Rejected(NOT_PROVED)` when the scores' errors are too large.
    """
    if attention.queries is None or attention.keys is None or model.scale_squared is None:
        return Fraction(0)
    bound = Fraction(isqrt(ceil(model.scale_squared * (1 << 80))) + 1, 1 << 40)  # of the scale, from above
    unit, heads = arithmetic.sums + arithmetic.result, len(attention.radii[0])

    def side(name: str, x: _Signal, size: Upper) -> _Signal:
        weight = _tensor(model.tensors[f"blocks.0.attn.W_{name}"].by_column())
        bias = _tensor(model.tensors[f"blocks.0.attn.b_{name}"], 1, -1)
        return _affine(weight, bias, x, arithmetic, f"W_{name}", size)

    q = side("Q", last, maximum(upper(attention.queries)))
    k = side("K", signal, maximum(upper(attention.keys), starts))
    computed = plus(q.size, q.error), plus(k.size, k.error)
    size = _inner(*computed, heads)
    error = plus(_inner(q.error, computed[1], heads), _inner(computed[0], k.error, heads))
    relative = arithmetic.product_error(q.size.values.shape[1] // heads + 2, "a score") + 8 * unit
    x = 2 * plus(error, size.times(relative + 4 * unit)).times(bound).largest() + 4 * EXPONENTIAL * unit
    require(x <= Fraction(1, 4), Reason.NOT_PROVED, "attention: the scores have no useful error bound")
    return (x + x * x) * (1 + x + x * x) / 4 + (len(model.positions) + 4) * 2 * unit


def _inner(x: Upper, y: Upper, heads: int) -> Upper:
    """Σ x·y within each head: [positions, heads]."""
    u, v = x.within(24), y.within(24)  # a head is at most 2^13 wide
    products = (u.values * v.values).reshape(len(v.values), heads, -1)
    return Upper(products.sum(axis=2, dtype=np.int64), u.exponent + v.exponent)


def _stream(folded: Folded, values: Enclosed, stream: Enclosed, w_o: Enclosed, moved: Fraction) -> Upper:
    """Bounds of the residual stream before the MLP, exact but for attention weights that are off by `moved`: the one at
    the middles, and what a head writes times how far its weight may be from there.
    """
    factors = [[x + moved for x in radii] for radii in zip(*folded.attention.radii, strict=True)]
    bounds = upper(stream.reshape(1, -1))
    if not any(map(any, factors)):
        return bounds
    written = product(values.by_head(len(factors)), w_o, "W_O")
    return plus(bounds, _charged(folded.moves.sizes(written), factors))
