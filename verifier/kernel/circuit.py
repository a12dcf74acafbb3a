"""From a model file to the circuit of docs/theory.md §1, exactly, and then to fixed point with its error (Lemma K).

    logit_c(a, b) = Σ_i W[i][c]·ReLU(A[i][a] + B[i][b]) + S1[a][c] + S2[b][c]

Folding multiplies exact dyadic matrices. The fixed-point circuit is what every other lemma is about; Lemma K bounds
the distance between its logits and those of the file, for every attention pattern the file allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from verifier.kernel.balls import ExactMatrix
from verifier.kernel.cost import Cost
from verifier.kernel.limits import OUT_BITS, PRE_BITS
from verifier.kernel.model_file import ModelFile, Position, Tensor

Rows = list[list[int]]


@dataclass(frozen=True, slots=True)
class Circuit:
    """The fixed-point circuit: integers, with the units and the errors that tie them to the file.

    **Fields**

    - `p`, `outputs` (q >= p), `neurons` (n).
    - `pre_a`, `pre_b`: n rows of p, in units of 2^-`pre_scale`.
    - `out`: n rows of q, in units of 2^-`out_scale`.
    - `skip_a`, `skip_b`: p rows of q, in units of 2^-(`pre_scale` + `out_scale`).
    - `activation`: Σ_i of a bound of neuron i's activation, in units of 2^-`pre_scale`.
    - `pre_slack`: how far the attention intervals can move each pre-activation, in units of 2^-`pre_scale`.
    - `logit_error`, `difference_error`: Lemma K. Any logit, or any difference of two logits of one input, of the
      network in the file is within so many units of 2^-(`pre_scale` + `out_scale`) of the fixed-point circuit's.
    """

    p: int
    outputs: int
    neurons: int
    pre_a: Rows
    pre_b: Rows
    out: Rows
    skip_a: Rows
    skip_b: Rows
    pre_scale: int
    out_scale: int
    activation: int
    pre_slack: list[int]
    logit_error: int
    difference_error: int

    @property
    def parameters(self) -> int:
        """P = 3np + 2p² (with q outputs: n(2p + q) + 2pq)."""
        return self.neurons * (2 * self.p + self.outputs) + 2 * self.p * self.outputs


@dataclass(frozen=True, slots=True)
class Table:
    """A matrix of dyadic rationals as a list: `entries` in row order, times 2^`exponent`."""

    entries: list[int]
    exponent: int


def _table(matrix: ExactMatrix) -> Table:
    return Table(matrix.integers(), matrix.exponent)


@dataclass(frozen=True, slots=True)
class Folded:
    """The exact circuit, entries divided by `denominator` (the attention weights' common one, for A, B, S1, S2).

    `pre_slack` (per neuron) and `skip_slack` bound the effect of attention intervals, as exact rationals;
    they are empty and zero when the attention is constant. `value_size` (per position) and `stream_size` bound the
    values of each head coordinate and the residual stream before the MLP, per coordinate; they are empty for a folded
    circuit.
    """

    a: Table  # n × p
    b: Table  # n × p
    w: Table  # n × q
    s1: Table  # p × q
    s2: Table  # p × q
    denominator: int
    pre_slack: list[Fraction]
    skip_slack: Fraction
    value_size: list[list[Fraction]]
    stream_size: list[Fraction]


def _matrix(tensor: Tensor, rows: int, columns: int) -> ExactMatrix:
    return ExactMatrix.of(rows, columns, tensor.integers, tensor.exponent)


def _side_by_side(tensor: Tensor) -> ExactMatrix:
    """[H, d, k] as the d × Hk matrix whose columns are head by head."""
    heads, d, k = tensor.shape
    values = tensor.integers
    rows = [values[(h * d + i) * k : (h * d + i + 1) * k] for i in range(d) for h in range(heads)]
    return ExactMatrix.of(d, heads * k, [x for row in rows for x in row], tensor.exponent)


def _zeros(rows: int, columns: int) -> ExactMatrix:
    return ExactMatrix.of(rows, columns, [0] * (rows * columns), 0)


def fold(model: ModelFile) -> Folded:
    """Fold the network into A, B, W, S1, S2, exactly (docs/theory.md §1)."""
    return fold_transformer(model) if model.positions else fold_circuit(model)


def fold_circuit(model: ModelFile) -> Folded:
    p, tensors = model.p, model.tensors
    n, q = tensors["A"].shape[0], tensors["W"].shape[0]
    skips = [_transposed(tensors[name], q, p) if name in tensors else Table([0] * (p * q), 0) for name in ("S1", "S2")]
    a, b = (Table(tensors[name].integers, tensors[name].exponent) for name in ("A", "B"))
    return Folded(a, b, _transposed(tensors["W"], q, n), skips[0], skips[1], 1, [], Fraction(0), [], [])


def _transposed(tensor: Tensor, rows: int, columns: int) -> Table:
    values = tensor.integers
    return Table([x for column in range(columns) for x in values[column : rows * columns : columns]], tensor.exponent)


def _token_rows(embed: ExactMatrix, tensor: Tensor, place: Position, p: int) -> ExactMatrix:
    """The embedding rows one position can hold: p rows for a and b, one for a fixed token."""
    d = tensor.shape[1]
    start, count = place.offset, 1 if place.holds == "=" else p
    return ExactMatrix.of(count, d, tensor.integers[start * d : (start + count) * d], embed.exponent)


def fold_transformer(model: ModelFile) -> Folded:
    p, tensors = model.p, model.tensors
    d, n = tensors["blocks.0.mlp.W_in"].shape
    q = tensors["unembed.b_U"].shape[0]
    vocabulary, positions = tensors["embed.W_E"].shape[0], len(model.positions)
    embed = _matrix(tensors["embed.W_E"], vocabulary, d)
    place_embed = _matrix(tensors["pos_embed.W_pos"], positions, d)
    heads, width, _ = tensors["blocks.0.attn.W_O"].shape
    w_o = _matrix(tensors["blocks.0.attn.W_O"], heads * width, d)
    w_v = _side_by_side(tensors["blocks.0.attn.W_V"])
    b_v = _matrix(tensors["blocks.0.attn.b_V"], 1, heads * width)
    w_in = _matrix(tensors["blocks.0.mlp.W_in"], d, n)
    w_u = _matrix(tensors["unembed.W_U"], d, q)

    low_high = [(x.attention_low, x.attention_high) for x in model.positions]
    middles = [(low + high) / 2 for low, high in low_high]
    radii = [(high - low) / 2 for low, high in low_high]
    denominator = lcm(*(x.denominator for x in middles + radii))

    # `denominator` times the residual stream before the MLP, split into the part of a and the part of b with all
    # constants.
    resid_a = _zeros(p, d)
    resid_b = _matrix(tensors["blocks.0.attn.b_O"], 1, d).times(denominator).repeated(p)
    pre_slack = [Fraction(0)] * n if any(radii) else []
    skip_slack = Fraction(0)
    value_size = []
    for index, place in enumerate(model.positions):
        tokens = _token_rows(embed, tensors["embed.W_E"], place, p)
        count = 1 if place.holds == "=" else p
        tokens = tokens + place_embed.row(index).repeated(count)
        values = tokens @ w_v + b_v.repeated(count)
        value_size.append(_column_maxima(values, count, heads * width, Fraction(1)))
        part = (values @ w_o).times(int(middles[index] * denominator))
        if index == positions - 1:
            part = part + tokens.times(denominator)
        if place.holds == "a":
            resid_a = resid_a + part
        else:
            resid_b = resid_b + (part.repeated(p) if count == 1 else part)
        if radii[index]:
            # Every head may have a pattern of its own, so each head's part of what is moved counts by itself.
            for head in range(heads):
                moved = _head_output(tensors, head, tokens, count)
                reach = _column_maxima(moved @ w_in, count, n, radii[index])
                pre_slack = [x + y for x, y in zip(pre_slack, reach, strict=True)]
                skip_slack += max(_column_maxima(moved @ w_u, count, q, radii[index]))

    one = Fraction(1, denominator)
    sizes = (_column_maxima(part, p, d, one) for part in (resid_a, resid_b))
    b_in = _matrix(tensors["blocks.0.mlp.b_in"], 1, n).times(denominator).repeated(p)
    after = _matrix(tensors["blocks.0.mlp.b_out"], 1, d).times(denominator).repeated(p)
    b_u = _matrix(tensors["unembed.b_U"], 1, q).times(denominator).repeated(p)
    return Folded(
        a=_table((resid_a @ w_in).transposed()),
        b=_table((resid_b @ w_in + b_in).transposed()),
        w=_table(_matrix(tensors["blocks.0.mlp.W_out"], n, d) @ w_u),
        s1=_table(resid_a @ w_u),
        s2=_table((resid_b + after) @ w_u + b_u),
        denominator=denominator,
        pre_slack=pre_slack,
        skip_slack=skip_slack,
        value_size=value_size,
        stream_size=[x + y for x, y in zip(*sizes, strict=True)],
    )


def _head_output(tensors: dict[str, Tensor], head: int, tokens: ExactMatrix, count: int) -> ExactMatrix:
    """What one head writes when it attends fully to each of `tokens`: (x·W_V + b_V)·W_O of that head."""
    w_v, w_o, b_v = (tensors[f"blocks.0.attn.{name}"] for name in ("W_V", "W_O", "b_V"))
    _, d, width = w_v.shape
    block = slice(head * d * width, (head + 1) * d * width)
    values = tokens @ ExactMatrix.of(d, width, w_v.integers[block], w_v.exponent)
    bias = ExactMatrix.of(1, width, b_v.integers[head * width : (head + 1) * width], b_v.exponent)
    return (values + bias.repeated(count)) @ ExactMatrix.of(width, d, w_o.integers[block], w_o.exponent)


def _column_maxima(matrix: ExactMatrix, rows: int, columns: int, radius: Fraction) -> list[Fraction]:
    values = [abs(x) for x in matrix.integers()]
    unit = Fraction(2) ** matrix.exponent * radius
    return [unit * max(values[column::columns]) for column in range(columns)]


def _scale(matrices: Iterable[tuple[list[int], int]], denominator: int, bits: int) -> int:
    """The exponent s for which the largest |entry|/denominator·2^s is below 2^bits, and near it."""
    tops = [
        max(map(abs, values), default=0).bit_length() + exponent - denominator.bit_length() + 1
        for values, exponent in matrices
        if any(values)
    ]
    return bits - max(tops, default=0)


def _quantise(values: list[int], exponent: int, denominator: int, scale: int) -> list[int]:
    """floor(value·2^exponent / denominator · 2^scale): below the exact value by less than one unit."""
    shift = exponent + scale
    if shift >= 0:
        return [(x << shift) // denominator for x in values]
    if denominator & (denominator - 1) == 0:
        shift -= denominator.bit_length() - 1
        return [x >> -shift for x in values]
    divisor = denominator << -shift
    return [x // divisor for x in values]


def _rows(values: list[int], width: int) -> Rows:
    return [values[start : start + width] for start in range(0, len(values), width)]


def ceil_units(value: Fraction, scale: int) -> int:
    """The least number of units of 2^-scale that is not below `value`."""
    return -((-value * Fraction(2) ** scale).__floor__())


def quantise(folded: Folded, p: int, cost: Cost) -> Circuit:
    """Round the exact circuit to fixed point and bound what that changes.

    Lemma K. Premises: the fixed-point entries lie less than one unit below the exact ones; h_i, the fixed-point
    activation, is at most max A + max B; the attention moves pre-activation i by at most s_i and a skip by at most s.
    Conclusion: a logit moves by at most Σ_i (max_c |W| + u)(2u + s_i) + u·h_i, plus 2u for the skips, plus s, and a
    difference of two logits by at most that with max_c |W| replaced by the range of W over c, and the rest doubled.
    """
    a, b, w, s1, s2 = (table.entries for table in (folded.a, folded.b, folded.w, folded.s1, folded.s2))
    denominator = folded.denominator
    n, q = len(a) // p, len(s1) // p
    pre_scale = _scale(((a, folded.a.exponent), (b, folded.b.exponent)), denominator, PRE_BITS)
    out_scale = _scale(((w, folded.w.exponent),), 1, OUT_BITS)
    scale = pre_scale + out_scale
    pre_a = _rows(_quantise(a, folded.a.exponent, denominator, pre_scale), p)
    pre_b = _rows(_quantise(b, folded.b.exponent, denominator, pre_scale), p)
    out = _rows(_quantise(w, folded.w.exponent, 1, out_scale), q)
    slack = [ceil_units(x, pre_scale) for x in folded.pre_slack] or [0] * n
    skip = ceil_units(folded.skip_slack, scale) + 2
    logit_error, difference_error = skip, 2 * skip
    total = 0
    for row_a, row_b, row, moved in zip(pre_a, pre_b, out, slack, strict=True):
        high, low = max(row), min(row)
        activation = max(0, max(row_a) + max(row_b))
        total += activation
        logit_error += (max(high, -low) + 1) * (2 + moved) + activation
        difference_error += (high - low + 2) * (2 + moved) + 2 * activation
    cost.add("fold and quantise", 2 * n * p + n * q + 2 * p * q)
    return Circuit(
        p=p,
        outputs=q,
        neurons=n,
        pre_a=pre_a,
        pre_b=pre_b,
        out=out,
        skip_a=_rows(_quantise(s1, folded.s1.exponent, denominator, scale), q),
        skip_b=_rows(_quantise(s2, folded.s2.exponent, denominator, scale), q),
        pre_scale=pre_scale,
        out_scale=out_scale,
        activation=total,
        pre_slack=slack,
        logit_error=logit_error,
        difference_error=difference_error,
    )
