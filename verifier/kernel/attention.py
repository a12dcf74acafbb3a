"""The attention pattern: what the file declares, or what softmax makes of its queries and keys, enclosed (Lemma K).

The network is read at the last position, so only its query matters, and a causal mask hides nothing from it. With
learned attention the weight of position t in a head is softmax over t of scale·(x_last·W_Q + b_Q)·(x_t·W_K + b_K); it
is found here at every input, within a small error. Lemma K then goes on with an interval for each head and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import add, sub

import numpy as np

from verifier.kernel.arrays import Ints, largest, rounded, shifted, zeros
from verifier.kernel.balls import ball, dyadic, root, scaled_ceiling, scaled_floor, with_precision
from verifier.kernel.cost import Cost
from verifier.kernel.enclosure import Enclosed, plus, product, stacked
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.model_file import ModelFile
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import EXPONENTIAL_ERROR, exponentials

MIDDLE = 1 << 19  # middles are multiples of 2^-19
SCORE_BITS = 24  # scaled scores are multiples of 2^-24
SCALE_BITS = 200  # of the scale, to see its size
SIGMA_BITS = 20  # weights at single inputs are multiples of 2^-20
LARGEST_SCORE = 1 << 12  # in size; beyond it softmax is as good as one-hot, and no interval is of use


@dataclass(frozen=True, slots=True)
class Pattern:
    """Attention weights: by position and then head, each within `radii` of `middles` at every input.

    For softmax there are `queries` [query tokens, Hk], `keys` [rows, Hk] of every token of every position, and the
    `weights` at every input, [p, p, positions, heads] by (a, b), in units of 2^-SIGMA_BITS and within `error` of the
    truth. Then the weights, and the middles, of every head sum to one. Declared weights have none of these.
    """

    middles: list[list[Fraction]]
    radii: list[list[Fraction]]
    weights: Ints
    error: Fraction = Fraction(0)
    queries: Enclosed | None = None
    keys: Enclosed | None = None

    def ranges(self) -> list[tuple[Fraction, Fraction]]:
        """By position, the least and the greatest weight that any head may give to it."""
        return [
            (min(map(sub, row, more)), max(map(add, row, more)))
            for row, more in zip(self.middles, self.radii, strict=True)
        ]


NO_ATTENTION = Pattern([], [], zeros(0))


def pattern(model: ModelFile, tokens: Sequence[Enclosed], cost: Cost) -> Pattern:
    """The pattern of a transformer; `tokens` [rows, d] by position: the embeddings it can hold."""
    heads = model.tensors["blocks.0.attn.W_O"].shape[0]
    if model.scale_squared is None:
        declared = [_middle(x.attention_low, x.attention_high) for x in model.positions]
        return Pattern([[m] * heads for m, _ in declared], [[r] * heads for _, r in declared], zeros(0))
    rows = [len(x.values) for x in tokens]
    queries, keys = _side(model, tokens[-1:], "Q"), _side(model, tokens, "K")
    width = queries.shape[1] // heads
    parts = [(queries.columns(head * width, width), keys.columns(head * width, width)) for head in range(heads)]
    scores = [[x.T for x in product(key, query.T, "a score").parted(rows)] for query, key in parts]
    cost.add("attention", sum(x.values.size for own in scores for x in own) * 2 * width)
    found, error = _weights(model, scores, cost)
    even = [all(x.radius == 0 and (x.values == own[0].values.flat[0]).all() for x in own) for own in scores]
    lows, highs = (end(found, axis=(0, 1)).tolist() for end in (np.min, np.max))
    share, unit = Fraction(1, len(rows)), Fraction(1, 1 << SIGMA_BITS)
    ends = [
        [
            (share, share) if same else (x * unit - error, y * unit + error)
            for x, y, same in zip(*row, even, strict=True)
        ]
        for row in zip(lows, highs, strict=True)
    ]
    middle = [[_middle(low, high)[0] for low, high in row] for row in ends[:-1]]
    middle.append([1 - sum((row[head] for row in middle), Fraction(0)) for head in range(heads)])
    radius = [
        [max(high - m, m - low) for (low, high), m in zip(row, own, strict=True)]
        for row, own in zip(ends, middle, strict=True)
    ]
    return Pattern(middle, radius, found, error, queries, keys)


def _middle(low: Fraction, high: Fraction) -> tuple[Fraction, Fraction]:
    """A number near the middle of an interval, with few digits unless it is all of it; and how far the ends may be."""
    middle = low if low == high else Fraction(round((low + high) / 2 * MIDDLE), MIDDLE)
    return middle, max(high - middle, middle - low)


def _side(model: ModelFile, tokens: Sequence[Enclosed], name: str) -> Enclosed:
    """Queries or keys of all heads, for every token of every position: [rows, Hk]."""
    weight, bias = model.tensors[f"blocks.0.attn.W_{name}"], model.tensors[f"blocks.0.attn.b_{name}"]
    return plus(product(stacked(tokens), weight.by_column(), f"W_{name}"), bias.reshape(1, -1))


@with_precision
def _weights(model: ModelFile, scores: Sequence[Sequence[Enclosed]], cost: Cost) -> tuple[Ints, Fraction]:
    """The attention weights at every input, and how far any may be from the truth. `scores`: by head and position
    [query tokens, key tokens], those of a head in one unit; the scale is still to come.

    A score is off by e at most, a weight then by e/2, because Σ_j |∂σ_t/∂s_j| = 2σ_t(1 − σ_t) <= 1/2; the exponentials,
    whose sum is at least one, by their errors; and by half a unit.
    """
    p, last = model.p, model.positions[-1].holds
    index = np.arange(p, dtype=np.int64)
    token = {
        "a": np.broadcast_to(index[:, None], (p, p)),
        "b": np.broadcast_to(index[None, :], (p, p)),
        "=": zeros(p, p),
    }
    places, found, worst = len(model.positions), [], Fraction(0)
    for own in scores:
        values = np.stack([x.values[token[last], token[y.holds]] for x, y in zip(own, model.positions, strict=True)])
        radius = max(x.radius for x in own)
        far = (largest(values) + radius) * Fraction(2) ** own[0].exponent
        require(far < LARGEST_SCORE, Reason.NOT_PROVED, f"an attention score is beyond {LARGEST_SCORE}")
        behind = values.max(axis=0) - values
        drop = max(0, largest(behind).bit_length() - 31)
        unit = root(model.scale_squared or Fraction(0)) * dyadic(1, own[0].exponent + drop + SCORE_BITS)
        # The scale as an integer of 30 bits or so, whatever its size.
        bits = 30 - scaled_floor(unit, SCALE_BITS).bit_length() + SCALE_BITS
        scale = scaled_floor(unit, bits) if bits >= 0 else scaled_floor(unit, 0) >> -bits
        scaled = shifted(rounded(behind, drop) * np.int64(scale), -bits)
        powers = exponentials(scaled, SCORE_BITS)
        total = powers.sum(axis=0, dtype=np.int64)
        found.append(((powers << SIGMA_BITS) + (total >> 1)) // total)
        top = min(64 << SCORE_BITS, largest(scaled) + 1)
        # Two radii for a difference, half a unit for its rounding; the scale's last digit at the top; floor.
        error = scaled_ceiling(unit * ball(2 * (radius >> drop) + 3), 0) + top // max(scale, 1) + 2
        worst = max(
            worst, Fraction(error, 2 << SCORE_BITS) + Fraction((places + 1) * EXPONENTIAL_ERROR, 1 << TABLE_BITS)
        )
    cost.add("attention", len(scores) * places * p * p * 20)
    weight: Ints = np.stack(found, axis=-1).transpose(1, 2, 0, 3)
    return weight, worst + Fraction(1, 2 << SIGMA_BITS)
