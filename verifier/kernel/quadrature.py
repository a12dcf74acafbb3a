"""Theorem Q: the neurons of one frequency as a quadrature rule, and three certified bounds of its error
(docs/theory.md §4).

Neuron i has weight w_i = α_i·|ω_i|, node φ_i and output angle ψ_i = arg ω_i (ω at its family's frequency). The rule
Σ_i w_i·e(ψ_i)·ReLU(cos 2π(v + φ_i)) stands for the integral (W/3π)·e(c)·e(−2v), W = Σ w_i, c the common phase of
ψ_i − 2φ_i. Errors are normalised to W = 2π, as in arXiv 2412.03773; 4/(3π) is the naive bound.

The weights are first replaced by integer *shares* of one turn, and the outputs by integer vectors near share·e(ψ).
Boxes then have integer edges and all sums are exact integers; what the replacement costs is `loss`, added to each
bound. Balls enter with π.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isqrt

import numpy as np

from verifier.kernel.arrays import Ints, integers, lengths, rounded, zeros
from verifier.kernel.balls import ball, least_upper, pi, scaled_ceiling, scaled_floor, with_precision
from verifier.kernel.cost import Cost
from verifier.kernel.limits import MOMENTS, PHASE_BITS, TABLE_BITS
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import PHASE_ERROR, TABLE_ERROR, Points, phases, roots, times

BOUND_BITS = 40  # bounds leave as upper bounds in units of 2^-40
SHARE_BITS = 31  # the shares add up to 2^31; a share is a box of so many times two units of phase
WHOLE = 1 << SHARE_BITS
SIZE_BITS = 32  # of the size of an ω, below the unit of ω
LENS_BITS = 30  # the lens is in units of 2^-30 of W


@dataclass(frozen=True, slots=True)
class Nodes:
    """The neurons of one frequency, of all its families.

    `phases` [m] in units of 2^-32 turn; `amplitudes` [m], positive; `re`, `im` [m]: ω, each within `error`.
    """

    phases: Ints
    amplitudes: Ints
    re: Ints
    im: Ints
    error: int


@dataclass(frozen=True, slots=True)
class Quadrature:
    """Theorem Q for one frequency. Bounds are upper bounds in units of 2^-40, normalised to W = 2π.

    **Fields**

    - `rectangle`, `harmonic`: for every phase offset v; `arc_sum`: for the offsets of the p² inputs. `bound`: the
      least. `relative_bound`: `bound` over 4/(3π).
    - `weight`: an upper bound of W, in the units of an amplitude times an ω.
    - `lens`: at v = m/2p, m = 0..2p−1, the rule's value less its integral, times e(2v)/W, in units of 2^-30; each point
      within `lens_error` of the truth.
    """

    frequency: int
    neurons: int
    rectangle: int
    harmonic: int
    arc_sum: int
    bound: int
    relative_bound: int
    weight: int
    lens: Points
    lens_error: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """The rule in integers, in order of phase.

    **Fields**

    - `phases` [m] in units of 2^-32 turn; `shares` [m], WHOLE in all; `re`, `im` [m]: ζ, near share·e(ψ).
    - `loss`: Σ_i |ζ_i − WHOLE·(w_i/W)·e(ψ_i)| is at most so many units.
    - `weight`: W, rounded up.
    """

    phases: Ints
    shares: Ints
    re: Ints
    im: Ints
    loss: int
    weight: int


def _rule(nodes: Nodes, frequency: int) -> _Rule:
    """Shares and outputs of a rule.

    A size of an ω, rounded down, is off by less than one part in 2^32, which changes all shares together by at most two
    units and all outputs by one; a share is a difference of two rounded numbers, an output's part is rounded down. An ω
    that is off by `error` moves its output and W by as much, each of which counts once.
    """
    order = np.argsort(nodes.phases, kind="stable")
    alphas, res, ims = (part[order].tolist() for part in (nodes.amplitudes, nodes.re, nodes.im))
    sizes = [isqrt((x * x + y * y) << 2 * SIZE_BITS) for x, y in zip(res, ims, strict=True)]
    sums = list(accumulate((a * s for a, s in zip(alphas, sizes, strict=True)), initial=0))
    total = sums[-1]
    require(total > 0, Reason.EMPTY, f"frequency {frequency}: its neurons write nothing at it")
    shares = [y - x for x, y in pairwise(x * WHOLE // total for x in sums)]
    re, im = (
        [(s * x << SIZE_BITS) // size if size else 0 for s, x, size in zip(shares, part, sizes, strict=True)]
        for part in (res, ims)
    )
    return _Rule(
        phases=nodes.phases[order],
        shares=integers(shares),
        re=integers(re),
        im=integers(im),
        loss=3 * len(shares) + 5 + (2 * nodes.error * sum(alphas) << SIZE_BITS + SHARE_BITS) // total,
        weight=(total + sum(alphas) >> SIZE_BITS) + 1 + nodes.error * sum(alphas),
    )


def _size(re: int, im: int) -> int:
    """|re + i·im|, rounded up."""
    return isqrt(re * re + im * im) + 1


def _moments(re: Ints, im: Ints, starts: Ints, powers: Points) -> Ints:
    """Σ ζ_i·e(mφ_i) and Σ ζ_i·e(−mφ_i) for every rule and every row e(mφ) of `powers` [rows, neurons of all rules]:
    real and imaginary parts [rules, rows, 4], in 2^-30 shares. ζ = `re` + i·`im`; rules begin at `starts`.

    |ζ| adds up to less than 2^31 + 2n in a rule and a point is below 2^30.1, so no sum reaches 2^62.
    """
    re_c, im_c, re_s, im_s = (
        np.add.reduceat(part * output, starts, axis=1, dtype=np.int64) for part in powers for output in (re, im)
    )
    moments: Ints = np.stack([re_c - im_s, re_s + im_c, re_c + im_s, im_c - re_s], axis=2).transpose(1, 0, 2)
    return moments


def _powers(points: Points) -> tuple[Points, list[int]]:
    """e(2hφ) for h = 1..MOMENTS/2 as rows, from e(2φ), by doubling; and the error of every row, in table units.

    Points within d and d′ multiply to one within d + d′ + 1.
    """
    re, im, errors = points[0][None, :], points[1][None, :], [PHASE_ERROR]
    while len(errors) < MOMENTS // 2:
        more = times((re, im), (re[-1:], im[-1:]))
        re, im = np.concatenate([re, more[0]]), np.concatenate([im, more[1]])
        errors += [x + errors[-1] + 1 for x in errors]
    count = MOMENTS // 2
    return (re[:count], im[:count]), errors[:count]


def _area(positions: Ints, widths: Ints, start: int) -> int:
    """2·Σ_i ∫ |x − φ_i| dx over box i, boxes of integer widths side by side from `start`, exactly.

    (x − φ)·|x − φ|/2 is an antiderivative of |x − φ|, whether the node lies in its box or not.
    """
    ends = start + np.cumsum(widths, dtype=np.int64) - positions
    upper, lower = (sum([x * abs(x) for x in part.tolist()]) for part in (ends, ends - widths))
    return int(upper - lower)


def _nearest(start: int, first: int, period: int) -> int:
    """`start` moved by whole periods to within half a period of the first node (any choice is sound)."""
    return start - period * ((2 * (start - first) + period) // (2 * period))


def _direction(x: int, y: int) -> tuple[int, int]:
    """(x + iy)/|x + iy| in table units, within two units; (1, 0) below 2^37, which is above what Q is known to."""
    size = isqrt((x * x + y * y) << 2)
    return ((x << TABLE_BITS + 1) // size, (y << TABLE_BITS + 1) // size) if size >> 38 else (1 << TABLE_BITS, 0)


UNIT = 1 << SHARE_BITS + TABLE_BITS  # sums of ζ·e(x) are in units of W/UNIT


def _harmonics(
    rules: Sequence[_Rule], directions: Ints, first: Ints, rows: Ints, errors: list[int]
) -> list[tuple[int, int]]:
    """Aliasing: the error is at most Σ over modes m ≠ −2 of |ĥ_m|·|Q_m|, what the angles lose at m = −2, and the tail.

    ReLU(cos 2πx) has ĥ_0 = 1/π, ĥ_±1 = 1/4, |ĥ_m| = 1/(π(m² − 1)) for even m, and Σ_{|m|>M} |ĥ_m| = 1/(π(M + 1)) for
    even M. `first` [R, 1, 4], `rows` [R, MOMENTS/2, 4]: `_moments` of m = 1 and of m = 2, 4, …, with `errors`. By rule
    (x, y): the error is at most x + y/π, in units of W/UNIT. No sum of two moments reaches 2^62.5.
    """
    size = integers([WHOLE + 2 * len(rule.shares) for rule in rules])[:, None]
    rows[:, 0, 2:] -= directions * WHOLE
    one, even = (lengths(x[..., ::2], x[..., 1::2]).sum(axis=2, dtype=np.int64) for x in (first, rows))
    modes = np.arange(1, len(errors) + 1, dtype=np.int64)
    even = (even + 2 * (integers(errors) + 2) * size) // (4 * modes * modes - 1) + 1
    zero = [_size(int(rule.re.sum()), int(rule.im.sum())) << TABLE_BITS for rule in rules]
    even = even.sum(axis=1, dtype=np.int64) + UNIT // (MOMENTS + 1) + 1
    identity = (one[:, 0] + 2 * PHASE_ERROR * size[:, 0]) // 4 + 1
    return [(x, y + z) for x, y, z in zip(identity.tolist(), even.tolist(), zero, strict=True)]


def _lenses(rules: Sequence[_Rule], directions: Ints, points: Sequence[Points], p: int, mean: int) -> Points:
    """By rule the lens of `Quadrature` [R, 2p], by prefix sums over the nodes in order of phase.

    `points`: e(φ) of the rule's nodes. `mean`: 1/3π in units of 2^-30.
    """
    turn, v = 1 << PHASE_BITS, np.arange(2 * p, dtype=np.int64)
    # cos >= 0 on φ in [−¼ − v, ¼ − v]; at the ends it is 0, so that ties do not matter.
    first, last = (-(-turn * ((quarter - 2 * v) % (4 * p)) // (4 * p)) for quarter in (-p, p))
    arcs = zeros(len(rules), 4, 2 * p)
    for rule, (cosines, sines), own in zip(rules, points, arcs, strict=True):
        re_c, im_c, re_s, im_s = rule.re * cosines, rule.im * cosines, rule.re * sines, rule.im * sines
        prefix = zeros(4, len(cosines) + 1)  # Σ ζ·e(φ), Σ ζ·e(−φ)
        np.cumsum([re_c - im_s, re_c + im_s, re_s + im_c, im_c - re_s], axis=1, dtype=np.int64, out=prefix[:, 1:])
        low, high = np.searchsorted(rule.phases, [first, last], "left")
        own[:] = prefix[:, high] - prefix[:, low] + prefix[:, -1:] * (last <= first)
    arcs = rounded(arcs, SHARE_BITS + TABLE_BITS - LENS_BITS)
    halves = times((arcs[:, :2], arcs[:, 2:]), roots(2 * p, np.array([[3], [1]], dtype=np.int64) * v))
    re, im = (rounded(part.sum(axis=1, dtype=np.int64), 1) for part in halves)
    centre = mean * directions >> TABLE_BITS
    return re - centre[:, :1], im - centre[:, 1:]


# Of a lens: each half is off by the points' error, the arc's rounding, the root's and the product's; the halves'
# average is rounded; the centre is off by the direction's two units of 2^-30, its own rounding and that of 1/3π.
LENS_ERROR = (PHASE_ERROR + 1 + TABLE_ERROR + 1) + 1 + 4


@with_precision
def quadratures(
    nodes: dict[int, Nodes], boxes: dict[int, tuple[int, int]], p: int, cost: Cost
) -> dict[int, Quadrature]:
    """Theorem Q by frequency: the three methods, and the lens that the budget of the logits is split with.

    `boxes`: where the first box lies, on the circle and on the half circle, in units of 2^-32 turn.

    **Raises** `Rejected(EMPTY)` when the neurons write nothing at a frequency.
    """
    if not nodes:
        return {}
    rules = [_rule(own, k) for k, own in nodes.items()]
    counts = [len(rule.shares) for rule in rules]
    places, shares, all_re, all_im = (
        np.concatenate([getattr(x, name) for x in rules]) for name in ("phases", "shares", "re", "im")
    )
    ends = np.cumsum(counts, dtype=np.int64)
    starts = ends - counts
    points, double = phases(places), phases(2 * places)
    powers, errors = _powers(double)
    first, moments = (_moments(all_re, all_im, starts, x) for x in ((points[0][None, :], points[1][None, :]), powers))
    directions = integers([_direction(*row) for row in moments[:, 0, 2:].tolist()])
    # What the output angles cost: Σ |ζ_i − share_i·e(2φ_i)·e(c)|, with the points' errors.
    along = np.repeat(directions.T, counts, axis=1)
    turned = times(double, (along[0], along[1]))
    lost = lengths(*(x - rounded(shares * part, TABLE_BITS) for x, part in zip((all_re, all_im), turned, strict=True)))
    angles = np.add.reduceat(lost, starts, dtype=np.int64).tolist()
    harmonics = _harmonics(rules, directions, first, moments, errors)
    mean = scaled_floor(ball(1) / (ball(3) * pi()), LENS_BITS)
    own = [(points[0][x:y], points[1][x:y]) for x, y in zip(starts.tolist(), ends.tolist(), strict=True)]
    lenses = zip(*_lenses(rules, directions, own, p, mean), strict=True)
    cost.add("quadrature", len(places) * (MOMENTS * 5 + 60) + 40 * p * len(rules))
    return {
        k: _bounds(k, rule, boxes[k], angle, harmonic, lens)
        for k, rule, angle, harmonic, lens in zip(nodes, rules, angles, harmonics, lenses, strict=True)
    }


def _bounds(
    frequency: int, rule: _Rule, boxes: tuple[int, int], angle: int, harmonic: tuple[int, int], lens: Points
) -> Quadrature:
    """`angle`: what the output angles cost, but for the points' errors."""
    count, turn = len(rule.shares), 1 << PHASE_BITS
    angle += count + ((PHASE_ERROR + 3) * WHOLE >> TABLE_BITS) + 1

    # Boxes of one share on the circle, or half of one on the half circle, twice: |f′| <= 2 for f = ReLU(cos)·cos.
    half, folded = turn >> 1, rule.phases & (turn >> 1) - 1
    order = np.argsort(folded, kind="stable")
    folded = folded[order]
    whole = _area(rule.phases, 2 * rule.shares, _nearest(boxes[0], int(rule.phases[0]), turn))
    halved = _area(folded, rule.shares[order], _nearest(boxes[1] % half, int(folded[0]), half))
    two_pi = ball(2) * pi()
    scale = two_pi / ball(turn * turn)
    # ReLU(x) = x/2 + |x|/2: the identity half has no integral and only the modes ±1; the other has period half a turn.
    plain = ball(whole) * scale + ball(angle) / ball(WHOLE)
    split = ball(harmonic[0]) / ball(UNIT) + ball(halved) * scale + ball(angle) / ball(2 * WHOLE)
    rectangle = least_upper([plain, split])
    aliasing = (ball(harmonic[0]) + ball(harmonic[1]) / pi()) / ball(UNIT)

    most = isqrt(int((lens[0] * lens[0] + lens[1] * lens[1]).max())) + 1  # no part reaches 2^30.5
    arcs = ball(most + LENS_ERROR) / ball(1 << LENS_BITS)

    loss = ball(rule.loss) / ball(WHOLE)
    bounds = [(bound + loss) * two_pi for bound in (rectangle, aliasing, arcs)]
    least = least_upper(bounds)
    return Quadrature(
        frequency=frequency,
        neurons=count,
        rectangle=scaled_ceiling(bounds[0], BOUND_BITS),
        harmonic=scaled_ceiling(bounds[1], BOUND_BITS),
        arc_sum=scaled_ceiling(bounds[2], BOUND_BITS),
        bound=scaled_ceiling(least, BOUND_BITS),
        relative_bound=scaled_ceiling(least * ball(3) * pi() / ball(4), BOUND_BITS),
        weight=rule.weight,
        lens=lens,
        lens_error=LENS_ERROR + (rule.loss << LENS_BITS >> SHARE_BITS) + 1,
    )
