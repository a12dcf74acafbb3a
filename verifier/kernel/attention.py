"""The attention pattern: what the file declares, or what softmax makes of its queries and keys, enclosed (Lemma K).

The network is read at the last position, so only its query matters, and a causal mask hides nothing from it. With
learned attention the weight of position t in a head is softmax over t of scale·(x_last·W_Q + b_Q)·(x_t·W_K + b_K); it
is enclosed here over all inputs. Lemma K then goes on with an interval for each head and position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import add, sub

import numpy as np

from verifier.kernel.arrays import Ints, largest, rounded, shifted, zeros
from verifier.kernel.balls import Ball, ball, dyadic, exponential, root, scaled_ceiling, scaled_floor, with_precision
from verifier.kernel.cost import Cost
from verifier.kernel.enclosure import Enclosed, plus, product, stacked
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.model_file import ModelFile
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import EXPONENTIAL_ERROR, exponentials

WEIGHT_UNIT = 40  # bounds of attention weights are multiples of 2^-40
MIDDLE = 1 << 19  # middles are multiples of 2^-19
LARGEST_SCORE = 1 << 12  # in size; beyond it softmax is as good as one-hot, and no interval is of use


@dataclass(frozen=True, slots=True)
class Pattern:
    """Attention weights: by position and then head, each within `radii` of `middles` at every input.

    For softmax there are `queries` [query tokens, Hk], `keys` [rows, Hk] of every token of every position, and, by head
    and position, their products `scores` [query tokens, key tokens], those of a head in one unit; the scale is still to
    come. Then the weights, and the middles, of every head sum to one.
    """

    middles: list[list[Fraction]]
    radii: list[list[Fraction]]
    scores: list[list[Enclosed]]
    queries: Enclosed | None = None
    keys: Enclosed | None = None

    def ranges(self) -> list[tuple[Fraction, Fraction]]:
        """By position, the least and the greatest weight that any head may give to it."""
        return [
            (min(map(sub, row, more)), max(map(add, row, more)))
            for row, more in zip(self.middles, self.radii, strict=True)
        ]


NO_ATTENTION = Pattern([], [], [])


def pattern(model: ModelFile, tokens: Sequence[Enclosed], cost: Cost) -> Pattern:
    """The pattern of a transformer; `tokens` [rows, d] by position: the embeddings it can hold."""
    heads = model.tensors["blocks.0.attn.W_O"].shape[0]
    if model.scale_squared is None:
        found = [_middle(x.attention_low, x.attention_high) for x in model.positions]
        return Pattern([[m] * heads for m, _ in found], [[r] * heads for _, r in found], [])
    rows = [len(x.values) for x in tokens]
    queries, keys = _side(model, tokens[-1:], "Q"), _side(model, tokens, "K")
    width = queries.shape[1] // heads
    parts = [(queries.columns(head * width, width), keys.columns(head * width, width)) for head in range(heads)]
    scores = [[x.T for x in product(key, query.T, "a score").parted(rows)] for query, key in parts]
    cost.add("attention", sum(x.values.size for own in scores for x in own) * 2 * width)
    columns = [_head(model, own, model.scale_squared) for own in scores]
    by_position = [list(row) for row in zip(*columns, strict=True)]
    middle = [[_middle(low, high)[0] for low, high in row] for row in by_position[:-1]]
    middle.append([1 - sum((row[head] for row in middle), Fraction(0)) for head in range(heads)])
    radius = [
        [max(high - m, m - low) for (low, high), m in zip(row, own, strict=True)]
        for row, own in zip(by_position, middle, strict=True)
    ]
    return Pattern(middle, radius, scores, queries, keys)


def _middle(low: Fraction, high: Fraction) -> tuple[Fraction, Fraction]:
    """A number near the middle of an interval, with few digits unless it is all of it; and how far the ends may be."""
    middle = low if low == high else Fraction(round((low + high) / 2 * MIDDLE), MIDDLE)
    return middle, max(high - middle, middle - low)


def _side(model: ModelFile, tokens: Sequence[Enclosed], name: str) -> Enclosed:
    """Queries or keys of all heads, for every token of every position: [rows, Hk]."""
    weight, bias = model.tensors[f"blocks.0.attn.W_{name}"], model.tensors[f"blocks.0.attn.b_{name}"]
    heads, d, width = weight.shape
    flat = Enclosed(weight.values.transpose(1, 0, 2).reshape(d, heads * width), weight.exponent, weight.radius)
    return plus(product(stacked(tokens), flat, f"W_{name}"), bias.reshape(1, heads * width))


@with_precision
def _head(model: ModelFile, scores: Sequence[Enclosed], scale_squared: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Bounds of one head's weight of every position, over all inputs.

    For a query token the score of a position is one number (it holds the query's own token, or a fixed one) or any
    number between the least and the greatest over its tokens. A weight is largest when its own score is, and all
    others are least.
    """
    last, exponent = model.positions[-1].holds, scores[0].exponent
    lows, highs = [], []
    for place, found in zip(model.positions, scores, strict=True):
        own = place.holds == last != "="
        low, high = (found.values.diagonal() if own else end(found.values, axis=1) for end in (np.min, np.max))
        lows.append([x - found.radius for x in low.tolist()])
        highs.append([x + found.radius for x in high.tolist()])
    top = max(max(map(abs, row)) for row in (*lows, *highs)) * Fraction(2) ** exponent
    require(top < LARGEST_SCORE, Reason.NOT_PROVED, f"an attention score is beyond {LARGEST_SCORE}")
    places = range(len(scores))
    if all(low == high == lows[0] for low, high in zip(lows, highs, strict=True)):
        return [(Fraction(1, len(scores)),) * 2 for _ in places]
    scale = root(scale_squared) * dyadic(1, exponent)
    ends_found = []
    for t in places:
        others = [other for other in places if other != t]
        least = [[lows[t][i] - highs[other][i] for other in others] for i in range(len(lows[t]))]
        most = [[highs[t][i] - lows[other][i] for other in others] for i in range(len(lows[t]))]
        if len(others) == 1:  # the weight grows with the one difference there is
            least, most = [min(least)], [max(most)]
        ends_found.append((min(_weight(row, scale)[0] for row in least), max(_weight(row, scale)[1] for row in most)))
    return ends_found


def _weight(differences: Sequence[int], scale: Ball) -> tuple[Fraction, Fraction]:
    """1/(1 + Σ exp(−scale·difference)) from below and from above."""
    total = ball(1)
    for difference in differences:
        total = total + exponential(ball(-difference) * scale)
    value = ball(1) / total
    one = 1 << WEIGHT_UNIT
    return Fraction(scaled_floor(value, WEIGHT_UNIT), one), Fraction(scaled_ceiling(value, WEIGHT_UNIT), one)


SCORE_BITS = 24  # scaled scores are multiples of 2^-24
SCALE_BITS = 200  # of the scale, to see its size
SIGMA_BITS = 20  # weights at single inputs are multiples of 2^-20


@with_precision
def weights(model: ModelFile, pattern: Pattern, cost: Cost) -> tuple[Ints, Fraction]:
    """The attention weights at every input: [p, p, positions, heads] by (a, b), in units of 2^-SIGMA_BITS, and how far
    any may be from the truth.

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
    for scores in pattern.scores:
        values = np.stack([x.values[token[last], token[y.holds]] for x, y in zip(scores, model.positions, strict=True)])
        behind = values.max(axis=0) - values
        drop = max(0, largest(behind).bit_length() - 31)
        unit = root(model.scale_squared or Fraction(0)) * dyadic(1, scores[0].exponent + drop + SCORE_BITS)
        # The scale as an integer of 30 bits or so, whatever its size.
        bits = 30 - scaled_floor(unit, SCALE_BITS).bit_length() + SCALE_BITS
        scale = scaled_floor(unit, bits) if bits >= 0 else scaled_floor(unit, 0) >> -bits
        scaled = shifted(rounded(behind, drop) * np.int64(scale), -bits)
        powers = exponentials(scaled, SCORE_BITS)
        total = powers.sum(axis=0, dtype=np.int64)
        found.append(((powers << SIGMA_BITS) + (total >> 1)) // total)
        radius, top = max(x.radius for x in scores), min(64 << SCORE_BITS, largest(scaled) + 1)
        # Two radii for a difference, half a unit for its rounding; the scale's last digit at the top; floor.
        error = scaled_ceiling(unit * ball(2 * (radius >> drop) + 3), 0) + top // max(scale, 1) + 2
        worst = max(
            worst, Fraction(error, 2 << SCORE_BITS) + Fraction((places + 1) * EXPONENTIAL_ERROR, 1 << TABLE_BITS)
        )
    cost.add("attention", len(pattern.scores) * places * p * p * 20)
    weight: Ints = np.stack(found, axis=-1).transpose(1, 2, 0, 3)
    return weight, worst + Fraction(1, 2 << SIGMA_BITS)
