"""Theorems L, A and X: every logit near the closed form, the margin of every input, and which answers the closed form
alone explains (docs/theory.md §5 to §7).

Everything is in *logit units* of 2^`exponent`, integers; `Scale` says how the lanes of Lemma B get there. The circuit
is the fixed-point one: Lemma K's errors and Theorem F's are added by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

import numpy as np

from verifier.kernel.arrays import SIGNIFICAND, Ints, exact_product, largest, require_capacity, rounded, zeros
from verifier.kernel.closed_form import ClosedForm, fourier
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.directions import LaneSums
from verifier.kernel.limits import DIRECTION_BITS, TABLE_BITS
from verifier.kernel.quadrature import LENS_BITS, Quadrature
from verifier.kernel.tables import TABLE_ERROR, roots, times

BLOCK_BYTES = 1 << 21  # of the logits of several t
FINER = 8  # bits that Fourier coefficients of directions have more than the directions
NEVER = 1 << 61  # above every margin


def units_up(value: int, exponent: int, target: int) -> int:
    """value·2^`exponent` in units of 2^`target`, rounded up."""
    shift = exponent - target
    return value << shift if shift >= 0 else -(-value >> -shift)


@dataclass(frozen=True, slots=True)
class Lanes:
    """Lemma B's lanes, made ready for exact products: logit_c − logit_c′ = (U[c] − U[c′])·S ± (η + `rounding`).

    **Fields**

    - `sums` [p, p, L], `directions` [q, L]: their product is in logit units of 2^`exponent`. `directions` is None for
      the exact strategy: then the sums are the logits.
    - `rest` [p, p]: η. `over` [p, p]: Lemma B's bound for outputs beyond p. Both in logit units.
    - `rounding`: what rounding the sums may change in a difference of two logits.
    """

    sums: Ints
    directions: Ints | None
    rest: Ints
    over: Ints
    rounding: int
    exponent: int


def prepare(found: LaneSums, scale: int) -> Lanes:
    """Round the sums so that one product in binary64 is exact; `scale` is pre_scale + out_scale."""
    p = found.sums.shape[0]
    if found.directions is None:
        return Lanes(found.sums, None, zeros(p, p), zeros(p, p), 0, -scale)
    u = found.directions
    bits = SIGNIFICAND - largest(u).bit_length() - (u.shape[1] - 1).bit_length() - 1
    drop = max(0, largest(found.sums).bit_length() - bits)
    lift = DIRECTION_BITS - drop
    assert found.rest is not None
    rest, over = found.rest, zeros(p, p) if found.over is None else found.over
    require_capacity(max(largest(rest), largest(over)) << max(lift, 0), "a rest")
    return Lanes(
        sums=rounded(found.sums, drop),
        directions=u,
        # A half of a unit for every lane and both logits.
        rounding=int(np.abs(u).sum(axis=1).max()),
        rest=rest << lift if lift >= 0 else -(-rest >> -lift),
        over=over << lift if lift >= 0 else over >> -lift,
        exponent=found.drop - scale + drop - DIRECTION_BITS,
    )


@dataclass(frozen=True, slots=True)
class Logits:
    """What holds at every input, in logit units; [p, p] is by (a, b), [p] by δ = a − b.

    **Fields**

    - `margins` [p, p]: at most logit_{a+b} − logit_c for every other c < p. `beyond` [p, p]: the same for c >= p.
    - `deviations` [p, p]: at least |logit_c − μ − closed form| for every c < p.
    - `spread` [p, p]: by δ and d = c − (a + b), the largest |gap − closed gap| over b; column 0 is 0.
    - `gaps` [p, p]: by δ and d, the closed form's gaps, at most; column 0 is not used.
    - `network`, `profile`: by frequency, at least |R_k − G_k|, and what of it the idealised rule does not account for.
    - `other`: at least half the range over c of what is written at other frequencies. `rest`: at least η/2.
    - `slack`: the deviations are above the true ones by at most so much, when η is zero.
    """

    margins: Ints
    beyond: Ints
    deviations: Ints
    spread: Ints
    gaps: Ints
    network: dict[int, int]
    profile: dict[int, int]
    other: int
    rest: int
    slack: int


def _classes(p: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """All inputs by t = a + b mod p, so that rows are of one δ each: (t [T], δ [p], a [T, p]).

    For odd p every t has every δ once. For even p a t has the δ of its parity, each twice: the second half of the rows
    repeats the δ of the first, with a + p/2.
    """
    if p % 2:
        t, delta = np.arange(p, dtype=np.int64), np.arange(p, dtype=np.int64)
        yield t, delta, (t[:, None] + delta) * ((p + 1) // 2) % p
        return
    for parity in (0, 1):
        t, delta = np.arange(parity, p, 2, dtype=np.int64), np.arange(parity, p, 2, dtype=np.int64)
        a = (t[:, None] + delta) // 2 % p
        yield t, np.concatenate([delta, delta]), np.concatenate([a, (a + p // 2) % p], axis=1)


def _relative(lanes: Lanes, a: Ints, t: Ints) -> tuple[Ints, Ints | None]:
    """Logits relative to the right one: [T, rows, d] with c = t + d mod p; and those beyond p, [T, rows, q − p]."""
    p = lanes.sums.shape[0]
    own = lanes.sums[a, (t[:, None] - a) % p]
    c = (t[:, None] + np.arange(p, dtype=np.int64)) % p
    if lanes.directions is None:
        return np.take_along_axis(own, c[:, None, :], axis=2), own[:, :, p:] if own.shape[2] > p else None
    turned = np.ascontiguousarray(lanes.directions[c].transpose(0, 2, 1))
    beyond = None
    if len(lanes.directions) > p:
        beyond = exact_product(own, np.ascontiguousarray(lanes.directions[p:].T), "a logit")
    return exact_product(own, turned, "a logit"), beyond


@dataclass(frozen=True, slots=True)
class _Found:
    """What evaluating logits gives, η not yet charged: `ranges` are those of the deviations over c < p."""

    margins: Ints
    beyond: Ints
    ranges: Ints
    spread: Ints


def _evaluate(lanes: Lanes, gaps: Ints, cost: Cost, observe: Observer) -> _Found:
    """Theorem A for all c at once, and the deviations from a closed form with the given gaps [δ, d].

    In blocks of t. With gap = logit_t − logit_c, the deviations D_c of the logits satisfy D_t − D_c = gap − closed gap.
    """
    p = lanes.sums.shape[0]
    margins, beyond, ranges, spread = zeros(p, p), np.full((p, p), NEVER, dtype=np.int64), zeros(p, p), zeros(p, p)
    block = max(1, BLOCK_BYTES // (8 * p * p))
    for t, delta, a in _classes(p):
        closed = gaps[delta]
        for start in range(0, len(t), block):
            observe("logits", int(t[start]), p)
            now, rows = t[start : start + block], a[start : start + block]
            b = (now[:, None] - rows) % p
            values, others = _relative(lanes, rows, now)
            if others is not None:
                beyond[rows, b] = values[:, :, 0] - others.max(axis=2)
            gap = values[:, :, :1] - values
            margins[rows, b] = gap[:, :, 1:].min(axis=2)
            gap -= closed
            ranges[rows, b] = gap.max(axis=2) - gap.min(axis=2)
            worst = np.maximum(gap.max(axis=0), -gap.min(axis=0))
            for half in (slice(0, (p + 1) // 2), slice((p + 1) // 2, p)):
                spread[delta[half]] = np.maximum(spread[delta[half]], worst[half])
    width = p if lanes.directions is None else lanes.directions.shape[1]
    cost.add("logits", p * p * len(lanes.directions if lanes.directions is not None else range(p)) * (width + 8))
    return _Found(margins, beyond, ranges, spread)


def greatest(re: Ints, im: Ints) -> int:
    """An integer that no |re + i·im| exceeds, and at most one part in 2^28 (and two units) above the largest."""
    shift = max(0, max(largest(re), largest(im)).bit_length() - 30)
    x, y = re >> shift, im >> shift  # rounded down: two units cover both parts
    return (isqrt(int((x * x + y * y).max())) + 3) << shift


@dataclass(frozen=True, slots=True)
class Wave:
    """R_j(a, b) = e(jt/p)·(2/p)·Σ_{c<p} logit_c·e(−jc/p), t = a + b, of the logits U·S.

    `re`, `im` [p, p] in units 2^`shift` times logit units, below 2^31; each point within `error` of those units.
    """

    re: Ints
    im: Ints
    shift: int
    error: int

    def up(self, value: int) -> int:
        """Wave units in logit units, rounded up."""
        return units_up(value, self.shift, 0)


def _waves(lanes: Lanes, frequencies: list[int], cost: Cost) -> tuple[dict[int, Wave], int]:
    """The logits at the given frequencies, and a bound of half the range over c < p of all that they leave out."""
    p, lost = lanes.sums.shape[0], 0
    c = np.arange(p, dtype=np.int64)
    t = np.add.outer(c, c)
    if lanes.directions is None:  # every logit is a lane of its own: a unit vector as direction
        lost = max(0, largest(lanes.sums).bit_length() - 29)
        sums, rows = rounded(lanes.sums[:, :, :p], lost), np.eye(p, dtype=np.int64) << DIRECTION_BITS
        unit = lost - DIRECTION_BITS - FINER
    else:
        sums, rows, unit = lanes.sums, np.ascontiguousarray(lanes.directions[:p].T), -FINER
    rows = rows << FINER
    width, most = sums.shape[2], largest(sums)
    left, waves, off_left, points = rows, {}, 0, []
    for j in frequencies:
        re, im, off = fourier(rows, p, j)
        cosines, sines = roots(p, j * c)
        left = left - rounded(re[:, None] * cosines - im[:, None] * sines, TABLE_BITS)
        off_left += off + 1 + (2 * TABLE_ERROR * max(largest(re), largest(im)) >> TABLE_BITS)
        point = exact_product(sums, np.stack([re, im], axis=1), "a Fourier coefficient")
        # Of a point: ω's error in every lane, and half a unit of every rounded sum.
        error = width * off * most + int((np.abs(re) + np.abs(im)).sum())
        down = max(0, largest(point).bit_length() - 30)
        points.append((cosines, sines, rounded(point, down), down))
        turned = times((points[-1][2][:, :, 0], points[-1][2][:, :, 1]), roots(p, j * t))
        waves[j] = Wave(*turned, unit + down, -(-error >> down) + 2 + 4 * TABLE_ERROR)
    cost.add("waves", (2 * width + 12) * p * p * len(frequencies))
    if lanes.directions is not None:
        spans = left.max(axis=1) - left.min(axis=1) + 2 * off_left
        half = exact_product(np.abs(sums), spans[:, None], "what is written at other frequencies")
        cost.add("waves", 2 * p * p * width)
        return waves, units_up(largest(half), unit - 1, 0)
    # The logits themselves, less their waves, in units of the sums.
    fine, error = sums << 8, 0
    for (cosines, sines, point, down), wave in zip(points, waves.values(), strict=True):
        part = point[:, :, :1] * rounded(cosines, 8) - point[:, :, 1:] * rounded(sines, 8)
        fine -= rounded(part, TABLE_BITS - 8 + DIRECTION_BITS + FINER - 8 - down)
        error += (wave.error + 4 << down >> DIRECTION_BITS + FINER - 8) + 2
    cost.add("waves", 4 * p * p * p * len(frequencies))
    return waves, units_up(largest(fine.max(axis=2) - fine.min(axis=2)) + 2 * error + 256, lost - 8 - 1, 0)


def _at(form: ClosedForm, j: int, wave: Wave, delta: Ints) -> tuple[Ints, Ints, int]:
    """G_j at every input, in the wave's units, and its error there."""
    term, half = form.terms[j], 1 << max(wave.shift, 0) >> 1

    def scaled(values: list[int]) -> Ints:
        moved = [x + half >> wave.shift if wave.shift >= 0 else x << -wave.shift for x in values]
        require_capacity(max(map(abs, moved)) << 30, "the closed form")
        return np.array(moved, dtype=np.int64)[delta]

    return scaled(term.re), scaled(term.im), units_up(max(term.error), 0, wave.shift) + 1


def _pure(rule: Quadrature, weight: tuple[int, int], wave: Wave, p: int) -> tuple[Ints, Ints, int]:
    """What the idealised rule differs by from its integral at every input: 2|cos πk(a − b)/p|·W·lens, and the error.

    `weight`: W as an integer and an exponent of logit units. The pre-activations of the rule's pure cosines are
    α·(cos 2π(ka/p + φ) + cos 2π(kb/p + φ)) = 2α·cos(πk(a − b)/p)·cos 2π(k(a + b)/2p + φ).
    """
    k, c = rule.frequency, np.arange(p, dtype=np.int64)
    heights = roots(2 * p, k * np.subtract.outer(c, c))[0]
    place = (k * np.add.outer(c, c) + p * (heights < 0)) % (2 * p)
    drop = max(0, weight[0].bit_length() - 29)
    size, exponent = (weight[0] >> drop) + 1, weight[1] + drop - wave.shift - LENS_BITS + 1
    parts = []
    for part in rule.lens:
        value = rounded(part[place] * np.abs(heights), TABLE_BITS) * np.int64(size)
        require_capacity(largest(value) << max(exponent, 0), "a quadrature rule")
        parts.append(value << exponent if exponent >= 0 else rounded(value, min(-exponent, 61)))
    far = max(largest(part) for part in rule.lens)
    error = units_up(size * (rule.lens_error + 2 * TABLE_ERROR * far // (1 << TABLE_BITS) + 3) + 2 * far, exponent, 0)
    return parts[0], parts[1], error + 1


def logits(
    lanes: Lanes,
    form: ClosedForm,
    rules: dict[int, Quadrature],
    weights: dict[int, tuple[int, int]],
    cost: Cost,
    observe: Observer,
) -> Logits:
    """Theorems L and A for the circuit.

    `rules`, `weights`: Theorem Q by frequency, and W there as (integer, exponent of logit units).
    """
    p = lanes.sums.shape[0]
    c = np.arange(p, dtype=np.int64)
    delta = np.subtract.outer(c, c) % p
    table, off = form.table()
    errors = np.array(off, dtype=np.int64)
    gaps = table[:, :1] - table
    waves, other = _waves(lanes, list(form.terms), cost)
    network, profile = {}, {}
    rest = largest(lanes.rest)
    for j, wave in waves.items():
        g_re, g_im, g_error = _at(form, j, wave, delta)
        re, im = wave.re - g_re, wave.im - g_im
        network[j] = wave.up(greatest(re, im) + wave.error + g_error) + rest
        if j in rules:
            pure_re, pure_im, pure_error = _pure(rules[j], weights[j], wave, p)
            most = greatest(re - pure_re, im - pure_im) + wave.error + g_error + pure_error
            profile[j] = wave.up(most)
    cost.add("closed form", 20 * p * p * len(waves))
    found = _evaluate(lanes, gaps, cost, observe)
    slack = lanes.rest + lanes.rounding
    largest_slack = zeros(p)
    np.maximum.at(largest_slack, delta, slack)
    wide = errors[:, None]
    return Logits(
        margins=found.margins - slack,
        beyond=np.where(found.beyond == NEVER, NEVER, found.beyond + lanes.over - lanes.rounding),
        deviations=((found.ranges + slack + 1) >> 1) + errors[delta],
        spread=found.spread + largest_slack[:, None] + 2 * wide,
        gaps=gaps - 2 * wide,
        network=network,
        profile=profile,
        other=other,
        rest=(rest + 1) >> 1,
        slack=2 * int(errors.max()) + 1,
    )
