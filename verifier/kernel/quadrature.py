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

from verifier.kernel.arrays import Ints, integers, rounded
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

    `phases` [m] in units of 2^-32 turn; `amplitudes` [m], positive; `re`, `im` [m]: ω.
    """

    phases: Ints
    amplitudes: Ints
    re: Ints
    im: Ints


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
    units and all outputs by one; a share is a difference of two rounded numbers, an output's part is rounded down.
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
        loss=3 * len(shares) + 4,
        weight=(total + sum(alphas) >> SIZE_BITS) + 1,
    )


def _size(re: int, im: int) -> int:
    """|re + i·im|, rounded up."""
    return isqrt(re * re + im * im) + 1


def _moments(rule: _Rule, powers: Points) -> list[tuple[int, int, int, int]]:
    """Σ ζ_i·e(mφ_i) and Σ ζ_i·e(−mφ_i) for every row e(mφ) of `powers`: two integer parts each, in 2^-30 shares.

    |ζ| adds up to less than 2^31 + 2n and a point is below 2^30.1, so no sum reaches 2^62.
    """
    outputs = np.stack([rule.re, rule.im], axis=1)
    (re_c, im_c), (re_s, im_s) = ((part @ outputs).T for part in powers)
    up, down = (re_c - im_s, re_s + im_c), (re_c + im_s, im_c - re_s)
    return list(zip(*(part.tolist() for part in (*up, *down)), strict=True))


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


def _area(positions: Sequence[int], widths: Sequence[int], start: int) -> int:
    """2·Σ_i ∫ |x − φ_i| dx over box i, boxes of integer widths side by side from `start`, exactly.

    (x − φ)·|x − φ|/2 is an antiderivative of |x − φ|, whether the node lies in its box or not.
    """
    edges = accumulate(widths, initial=start)
    return sum(
        (y - x) * abs(y - x) - (left - x) * abs(left - x)
        for x, (left, y) in zip(positions, pairwise(edges), strict=True)
    )


def _nearest(start: int, first: int, period: int) -> int:
    """`start` moved by whole periods to within half a period of the first node (any choice is sound)."""
    return start - period * ((2 * (start - first) + period) // (2 * period))


def _direction(x: int, y: int) -> tuple[int, int]:
    """(x + iy)/|x + iy| in table units, within two units; (1, 0) for zero."""
    size = isqrt((x * x + y * y) << 2)
    return ((x << TABLE_BITS + 1) // size, (y << TABLE_BITS + 1) // size) if size > 1 << 32 else (1 << TABLE_BITS, 0)


UNIT = 1 << SHARE_BITS + TABLE_BITS  # sums of ζ·e(x) are in units of W/UNIT


def _harmonic(rule: _Rule, direction: tuple[int, int], points: Points) -> tuple[int, int]:
    """Aliasing: the error is at most Σ over modes m ≠ −2 of |ĥ_m|·|Q_m|, what the angles lose at m = −2, and the tail.

    ReLU(cos 2πx) has ĥ_0 = 1/π, ĥ_±1 = 1/4, |ĥ_m| = 1/(π(m² − 1)) for even m, and Σ_{|m|>M} |ĥ_m| = 1/(π(M + 1)) for
    even M. Returns (x, y): the error is at most x + y/π, in units of W/UNIT.
    """
    size = WHOLE + 2 * len(rule.shares)
    rows, errors = _powers(phases(2 * rule.phases))
    first = _moments(rule, (points[0][None, :], points[1][None, :]))[0]
    identity = _size(*first[:2]) + _size(*first[2:]) + 2 * PHASE_ERROR * size
    zero = _size(int(rule.re.sum()), int(rule.im.sum())) << TABLE_BITS
    even = zero + UNIT // (MOMENTS + 1) + 1
    for index, ((up_re, up_im, down_re, down_im), error) in enumerate(zip(_moments(rule, rows), errors, strict=True)):
        mode = 2 * (index + 1)
        if mode == 2:
            down_re, down_im = down_re - direction[0] * WHOLE, down_im - direction[1] * WHOLE
        bound = _size(up_re, up_im) + _size(down_re, down_im) + 2 * (error + 2) * size
        even += bound // (mode * mode - 1) + 1
    return identity // 4 + 1, even


def _lens(rule: _Rule, direction: tuple[int, int], points: Points, p: int, mean: int) -> Points:
    """The lens of `Quadrature`, by prefix sums over the nodes in order of phase; `mean` is 1/3π in units of 2^-30."""
    turn = 1 << PHASE_BITS
    forward, backward = (
        (rule.re * points[0] - rule.im * sign * points[1], rule.re * sign * points[1] + rule.im * points[0])
        for sign in (1, -1)
    )
    v = np.arange(2 * p, dtype=np.int64)
    # cos >= 0 on φ in [−¼ − v, ¼ − v]; at the ends it is 0, so that ties do not matter.
    first, last = (-(-turn * ((quarter - 2 * v) % (4 * p)) // (4 * p)) for quarter in (-p, p))
    low, high = (np.searchsorted(rule.phases, ends, "left") for ends in (first, last))
    parts = []
    for sums, turns in ((forward, 3), (backward, 1)):
        arcs = []
        for part in sums:
            prefix = np.concatenate([integers([0]), np.cumsum(part, dtype=np.int64)])
            arc = prefix[high] - prefix[low] + np.where(last <= first, prefix[-1], 0)
            arcs.append(rounded(arc, SHARE_BITS + TABLE_BITS - LENS_BITS))
        parts.append(times((arcs[0], arcs[1]), roots(2 * p, turns * v)))
    centre = tuple((mean * x) >> TABLE_BITS for x in direction)
    return rounded(parts[0][0] + parts[1][0], 1) - centre[0], rounded(parts[0][1] + parts[1][1], 1) - centre[1]


# Of a lens: each half is off by the points' error, the arc's rounding, the root's and the product's; the halves'
# average is rounded; the centre is off by the direction's two units of 2^-30, its own rounding and that of 1/3π.
LENS_ERROR = (PHASE_ERROR + 1 + TABLE_ERROR + 1) + 1 + 4


@with_precision
def quadrature(frequency: int, nodes: Nodes, boxes: tuple[int, int], p: int, cost: Cost) -> Quadrature:
    """Theorem Q for one frequency: the three methods, and the lens that the budget of the logits is split with.

    `boxes`: where the first box lies, on the circle and on the half circle, in units of 2^-32 turn.

    **Raises** `Rejected(EMPTY)` when the neurons write nothing at the frequency.
    """
    rule = _rule(nodes, frequency)
    count, turn = len(rule.shares), 1 << PHASE_BITS
    points, double = phases(rule.phases), phases(2 * rule.phases)
    ((_, _, q_re, q_im),) = _moments(rule, (double[0][None, :], double[1][None, :]))
    direction = _direction(q_re, q_im)
    two_pi = ball(2) * pi()

    # What the output angles cost: Σ |ζ_i − share_i·e(2φ_i)·e(c)|, with the points' errors.
    turned = times(double, (integers([direction[0]]), integers([direction[1]])))
    lost = [
        rule.re - rounded(rule.shares * turned[0], TABLE_BITS),
        rule.im - rounded(rule.shares * turned[1], TABLE_BITS),
    ]
    angle = sum(_size(x, y) for x, y in zip(*(part.tolist() for part in lost), strict=True)) + count
    angle += ((PHASE_ERROR + 3) * WHOLE >> TABLE_BITS) + 1

    # Boxes of one share on the circle, or half of one on the half circle, twice: |f′| <= 2 for f = ReLU(cos)·cos.
    shares, places, half = rule.shares.tolist(), rule.phases.tolist(), turn >> 1
    whole = _area(places, [2 * s for s in shares], _nearest(boxes[0], places[0], turn))
    folded = sorted((place % half, share) for place, share in zip(places, shares, strict=True))
    start = _nearest(boxes[1] % half, folded[0][0], half)
    halved = _area([place for place, _ in folded], [share for _, share in folded], start)
    scale = two_pi / ball(turn * turn)
    harmonic = _harmonic(rule, direction, points)
    # ReLU(x) = x/2 + |x|/2: the identity half has no integral and only the modes ±1; the other has period half a turn.
    plain = ball(whole) * scale + ball(angle) / ball(WHOLE)
    split = ball(harmonic[0]) / ball(UNIT) + ball(halved) * scale + ball(angle) / ball(2 * WHOLE)
    rectangle = least_upper([plain, split])
    aliasing = (ball(harmonic[0]) + ball(harmonic[1]) / pi()) / ball(UNIT)

    lens = _lens(rule, direction, points, p, scaled_floor(ball(1) / (ball(3) * pi()), LENS_BITS))
    most = max(_size(x, y) for x, y in zip(*(part.tolist() for part in lens), strict=True))
    arcs = ball(most + LENS_ERROR) / ball(1 << LENS_BITS)

    loss = ball(rule.loss) / ball(WHOLE)
    bounds = [(bound + loss) * two_pi for bound in (rectangle, aliasing, arcs)]
    least = least_upper(bounds)
    cost.add("quadrature", count * (MOMENTS * 5 + 60) + 40 * p)
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
