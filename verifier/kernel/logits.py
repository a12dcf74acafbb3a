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
from numpy.typing import NDArray

from verifier.kernel import events, limits
from verifier.kernel.arrays import SIGNIFICAND, Ints, exact_product, largest, require_capacity, rounded, shifted, zeros
from verifier.kernel.circuit import units_up
from verifier.kernel.closed_form import ROOM, Added, ClosedForm, fourier, size_bound
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.directions import LaneSums
from verifier.kernel.events import run
from verifier.kernel.limits import DIRECTION_BITS, TABLE_BITS
from verifier.kernel.quadrature import LENS_BITS, Quadrature
from verifier.kernel.tables import TABLE_ERROR, Points, roots

BLOCK_BYTES = 1 << 21  # of the logits of several t
CRITICAL = 64  # offsets d evaluated for one δ, at most, where not all are
STEP = 4  # of them at a time
SQUARE_BITS = 30  # of numbers that are squared
NEVER = 1 << 61  # above every margin
DISTINCT = limits.MODULUS  # units by which bounds of offsets may be rounded down


@dataclass(frozen=True, slots=True)
class Lanes:
    """Lemma B's lanes, made ready for exact products: logit_c − logit_c′ = (U[c] − U[c′])·S ± (η + `rounding`).

    **Fields**

    - `sums` [p, p, L], `directions` [q, L]: their product is in logit units of 2^`exponent`. `directions` is None for
      the exact strategy: then the sums are the logits. `widths` [L]: the greatest size of a sum, at least.
    - `rest` [p, p]: η. `over` [p, p]: Lemma B's bound for outputs beyond p. Both in logit units.
    - `rounding`: what rounding the sums may change in a difference of two logits.
    """

    sums: Ints
    widths: Ints
    directions: Ints | None
    rest: Ints
    over: Ints
    rounding: int
    exponent: int


def prepare(found: LaneSums, scale: int) -> Lanes:
    """Round the sums so that one product in binary64 is exact; `scale` is pre_scale + out_scale."""
    p = found.sums.shape[0]
    rest, over = (zeros(p, p) if part is None else part for part in (found.rest, found.over))
    if found.directions is None:
        widths = _widths(found.sums)
        require_capacity(max(int(widths.max()), *map(largest, (rest, over))) << ROOM, "a logit")
        return Lanes(found.sums, widths, None, rest, over, 0, found.drop - scale)
    u, widths = found.directions, _widths(found.sums)
    bits = SIGNIFICAND - largest(u).bit_length() - (u.shape[1] - 1).bit_length() - 1
    drop = max(0, int(widths.max()).bit_length() - bits)
    lift = DIRECTION_BITS - drop
    require_capacity(max(largest(rest), largest(over)) << max(lift, 0) + ROOM, "a rest")
    return Lanes(
        sums=rounded(found.sums, drop, int(widths.max())),
        widths=rounded(widths, drop),
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
    - `gaps` [p, p]: by δ and d, the closed form's least gaps, at most; column 0 is not used.
    - `deformation`: at least what the closed form's deformation changes a logit by, but for μ; None for a pure one.
    - `network`, `profile`: by frequency, at least |R_k − G_k|, and what of it the idealised rule does not account for.
    - `other`: at least half the range over c of what is written at other frequencies. `rest`: at least η/2.
    - `slack`: the deviations are above the true ones by at most so much, when η is zero.
    """

    margins: Ints
    beyond: Ints
    deviations: Ints
    spread: Ints
    gaps: Ints
    deformation: int | None
    network: dict[int, int]
    profile: dict[int, int]
    other: int
    rest: int
    slack: int


def _widths(sums: Ints) -> Ints:
    """By lane, the greatest absolute value."""
    widths: Ints = np.maximum(sums.max(axis=0), -sums.min(axis=0)).max(axis=0)
    return widths


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


@dataclass(frozen=True, slots=True)
class _Block:
    """The inputs with a few t = a + b: `own` [T, p, L] are their sums, row r having `delta`[r]."""

    t: Ints
    delta: Ints
    a: Ints
    b: Ints
    own: Ints

    @property
    def turned(self) -> NDArray[np.bool_]:
        """[T, p]: where a − b is brought to δ by adding p to both: whether a + b is then t + p, mod 2p."""
        turned: NDArray[np.bool_] = (self.a + self.b != self.t[:, None]) ^ (self.a < self.b)
        return turned

    def raise_to(self, table: Ints, found: Ints) -> None:
        """Raise table[δ] to the largest of `found` [T, p, …] over t."""
        most, half = found.max(axis=0), (len(self.delta) + 1) // 2
        for rows in (slice(0, half), slice(half, None)):  # within a half no δ repeats
            table[self.delta[rows]] = np.maximum(table[self.delta[rows]], most[rows])

    def lower_to(self, table: Ints, found: Ints) -> None:
        """Lower table[δ] to the smallest."""
        least = -table
        self.raise_to(least, -found)
        np.negative(least, out=table)


def _blocks(lanes: Lanes, width: int) -> Iterator[_Block]:
    """All inputs, as many t at a time as keep [T, p, width] in the cache."""
    p = lanes.sums.shape[0]
    step = max(1, BLOCK_BYTES // (8 * p * width))
    for t, delta, a in _classes(p):
        for start in range(0, len(t), step):
            now, rows = t[start : start + step], a[start : start + step]
            b = (now[:, None] - rows) % p
            yield _Block(now, delta, rows, b, lanes.sums[rows, b])


def _relative(block: _Block, p: int) -> Ints:
    """Exact strategy: logits relative to the right one, [T, p, d] with c = t + d mod p."""
    c = (block.t[:, None] + np.arange(p, dtype=np.int64)) % p
    found: Ints = np.take_along_axis(block.own, c[:, None, :], axis=2)
    return found


def _beyond(lanes: Lanes, block: _Block) -> Ints | None:
    """The logits beyond p: [T, p, q − p], None if there are none."""
    p = lanes.sums.shape[0]
    if lanes.directions is None:
        return block.own[:, :, p:] if block.own.shape[2] > p else None
    if len(lanes.directions) == p:
        return None
    return exact_product(block.own, np.ascontiguousarray(lanes.directions[p:].T), "a logit")


@dataclass(frozen=True, slots=True)
class _Waves:
    """Fourier rows of the directions: R_j = e(jt/p)·(2/p)·Σ_{c<p} logit_c·e(−jc/p) is a product with them.

    **Fields**

    - `frequencies` [J]; `re`, `im` [L, J], of the first p outputs of every direction, in units of 2^-`bits` of them.
    - `off`: each is within so many units of the truth, as a point; turning by e(jt/p) adds what `turned` says.
    - `spans` [L]: range over c < p of what the directions hold at no frequency of the form, in the same units,
      rounded up.
    """

    frequencies: Ints
    re: Ints
    im: Ints
    off: int
    bits: int
    spans: Ints

    def turned(self, t: Ints, p: int) -> Ints:
        """[T, L, 2J]: the rows times e(jt/p), real parts and imaginary parts."""
        cosines, sines = (part[:, None, :] for part in roots(p, t[:, None] * self.frequencies))
        re = rounded(self.re * cosines - self.im * sines, TABLE_BITS)
        im = rounded(self.re * sines + self.im * cosines, TABLE_BITS)
        return np.concatenate([re, im], axis=2)

    @property
    def error(self) -> int:
        """Of a point of `turned`: `off`, the table and rounding."""
        return self.off + (2 * TABLE_ERROR * max(largest(self.re), largest(self.im)) >> TABLE_BITS) + 1


def _waves(lanes: Lanes, form: ClosedForm) -> _Waves:
    p, frequencies = lanes.sums.shape[0], list(form.terms)
    if lanes.directions is None:  # every logit is a lane of its own: a unit vector as direction
        rows, bits = np.eye(p, dtype=np.int64) << DIRECTION_BITS, DIRECTION_BITS
    else:
        rows, bits = np.ascontiguousarray(lanes.directions[:p].T), 0
    re, im, off = fourier(rows, p, frequencies)
    cosines, sines = roots(p, np.array(frequencies, dtype=np.int64)[:, None] * np.arange(p, dtype=np.int64))
    left, error = rows, 0
    for j in range(len(frequencies)):
        left = left - rounded(re[j][:, None] * cosines[j] - im[j][:, None] * sines[j], TABLE_BITS)
        error += off + 1 + (2 * TABLE_ERROR * max(largest(re[j]), largest(im[j])) >> TABLE_BITS)
    spans = left.max(axis=1) - left.min(axis=1) + 2 * error
    return _Waves(np.array(frequencies, dtype=np.int64), re.T, im.T, off, bits, spans)


@dataclass(frozen=True, slots=True)
class _Ideal:
    """What the idealised rule of one frequency differs by from its integral: 2|cos πk(a − b)/p|·W·lens, in wave units.

    The pre-activations of the rule's pure cosines are α·(cos 2π(ka/p + φ) + cos 2π(kb/p + φ)) =
    2α·cos(πk(a − b)/p)·cos 2π(k(a + b)/2p + φ).

    **Fields**

    - `table`: 2W·lens at v = m/2p, [2p] each part, in units of 2^`exponent` wave units.
    - `bound`, `error`: what no value exceeds as a point, and how far one may be from the truth, in wave units.
    """

    frequency: int
    table: Points
    exponent: int
    bound: int
    error: int

    @classmethod
    def of(cls, rule: Quadrature, unit: int) -> _Ideal:
        """`unit`: weights are in units of 2^`unit` wave units."""
        drop = max(0, rule.weight.bit_length() - 29)
        size, exponent = (rule.weight >> drop) + 1, unit + drop - LENS_BITS + 1 + 29
        re, im = (rounded(part * np.int64(size), 29) for part in rule.lens)  # a lens is below 2^31
        far, most = max(map(largest, rule.lens)), 2 * max(largest(re), largest(im))
        # The lens, the size and rounding; the height; the last shift.
        error = (size * rule.lens_error + 2 * far >> 29) + (TABLE_ERROR * most >> TABLE_BITS) + 3
        bounds = units_up(most, exponent, 0) + 4, units_up(error, exponent, 0) + 2
        return cls(rule.frequency, (re, im), exponent, *bounds)

    def at(self, block: _Block, turned: NDArray[np.bool_], p: int) -> Points:
        """By t and δ. Adding p to both a + b and a − b changes nothing, so a − b may be δ; then a + b is t or t + p,
        and the offset of the lens one of two. `turned`: that of the block."""
        k, down = self.frequency, max(self.exponent - TABLE_BITS, -62)
        heights = roots(2 * p, k * block.delta)[0]
        second, sizes = (heights < 0) ^ (turned & bool(k % 2)), np.abs(heights)  # a height is below 2^30.1
        here, there = ((k * block.t + turn) % (2 * p) for turn in (0, p))
        re, im = (
            shifted(np.where(second, part[there][:, None], part[here][:, None]) * sizes, down) for part in self.table
        )
        return re, im


def _squares(re: Ints, im: Ints, shift: int) -> Ints:
    """|re + i·im|²/4^`shift`, each part rounded down. Premise: both below 2^(SQUARE_BITS + shift)."""
    x, y = re >> shift, im >> shift
    return x * x + y * y


def _root(square: int, shift: int) -> int:
    """An upper bound of the number that `_squares` squared."""
    return (isqrt(square) + 3) << shift


@dataclass(frozen=True, slots=True)
class _Swept:
    """What one sweep over all inputs found.

    **Fields**

    - by δ, in wave units: `low`, `high` [p, 2J]: ranges of R_j, real parts and then imaginary ones; `other` [p]: range
      over c < p of what is written at no frequency of the form.
    - `network` [p, J], `profile` [J]: squares of |R_j − G_j|, and of what the idealised rule leaves of it, as
      `_squares` has them with `shift`.
    - in logit units: `beyond` [p, p], by input: logit_{a+b} less the largest logit beyond p, NEVER if there is none. If
      every logit was evaluated, `margins` and `ranges` [p, p], by input: the least gap, and the range over c < p of the
      deviations; and by δ and d [p, p], `spread`, the largest |gap − closed gap|, and `gaps`, the closed form's least.
    - `deformed` [p]: by δ, the largest range over c of what a deformation adds.
    """

    low: Ints
    high: Ints
    other: Ints
    network: Ints
    profile: Ints
    shift: int
    beyond: Ints
    margins: Ints
    ranges: Ints
    spread: Ints
    gaps: Ints
    deformed: Ints


def _sweep(
    lanes: Lanes,
    waves: _Waves,
    form: Ints,
    gaps: Ints,
    added: Added | None,
    ideals: dict[int, _Ideal],
    lost: int,
    observe: Observer,
) -> _Swept:
    """`form` [p, 2J]: G_j(δ) in wave units; `gaps` [p, p]: the pure closed form's, by δ and d; `lost`: bits that sums
    drop."""
    p, count = lanes.sums.shape[0], len(waves.frequencies)
    full, form = p <= limits.FULL_PRODUCT or lanes.directions is None, np.ascontiguousarray(form)
    sizes = lanes.widths[: len(waves.spans)] >> lost
    reach = int(exact_product(sizes[None, :] + 1, (np.abs(waves.re) + np.abs(waves.im)), "a wave").max(initial=0))
    reach += 2 * largest(form) + max((ideal.bound for ideal in ideals.values()), default=0)
    shift = max(0, reach.bit_length() - SQUARE_BITS)
    found = _Swept(
        low=np.full((p, 2 * count), NEVER, dtype=np.int64),
        high=np.full((p, 2 * count), -NEVER, dtype=np.int64),
        other=zeros(p),
        network=zeros(p, count),
        profile=zeros(count),
        shift=shift,
        beyond=np.full((p, p), NEVER, dtype=np.int64),
        margins=np.full((p, p), NEVER, dtype=np.int64),
        ranges=zeros(p, p),
        spread=zeros(p, p),
        gaps=gaps if added is None else np.full((p, p), NEVER, dtype=np.int64),
        deformed=zeros(p),
    )
    written = zeros(0, 0) if lanes.directions is None else np.ascontiguousarray(lanes.directions[:p].T)
    for block in _blocks(lanes, p if full else lanes.sums.shape[2] + 4 * count):
        observe("logits", int(block.t[0]), p)
        own = rounded(block.own[:, :, : len(waves.spans)], lost)
        wave = exact_product(own, waves.turned(block.t, p), "a wave")
        _waves_of(block, wave, form, found)
        turned = block.turned
        for index, j in enumerate(waves.frequencies.tolist()):
            if j in ideals:
                re, im = ideals[j].at(block, turned, p)
                squares = _squares(wave[:, :, index] - re, wave[:, :, count + index] - im, shift)
                found.profile[index] = max(int(found.profile[index]), int(squares.max()))
        if lanes.directions is not None:
            block.raise_to(found.other, exact_product(np.abs(own), waves.spans[:, None], "a rest")[:, :, 0])
        others, right = _beyond(lanes, block), block.own[:, :, :1]
        if full:
            if lanes.directions is None:
                values, at = _relative(block, p), np.zeros(len(block.t), dtype=np.int64)
                block.raise_to(found.other, _left(values, wave + form[block.delta], waves, lost))
            else:
                values, at = exact_product(block.own, written, "a logit"), block.t
            right = values[np.arange(len(at), dtype=np.int64), :, at][:, :, None]
            _gaps_of(block, values, at, gaps, added, found)
        elif others is not None and lanes.directions is not None:
            right = (block.own * lanes.directions[block.t][:, None, :]).sum(axis=2, keepdims=True, dtype=np.int64)
        if others is not None:
            found.beyond[block.a, block.b] = (right - others).min(axis=2)
    return found


def _waves_of(block: _Block, wave: Ints, form: Ints, found: _Swept) -> None:
    """Ranges of R_j by δ, and squares of R_j − G_j, which is left in `wave`."""
    steps, m, width = wave.shape
    if events.COMPILED is not None:
        arrays = (wave, block.delta, form, found.low, found.high, found.network)
        run("discs", steps * m, m, width // 2, found.shift, *arrays)
        return
    block.raise_to(found.high, wave)
    block.lower_to(found.low, wave)
    wave -= form[block.delta]
    block.raise_to(found.network, _squares(wave[:, :, : width // 2], wave[:, :, width // 2 :], found.shift))


def _gaps_of(block: _Block, values: Ints, at: Ints, gaps: Ints, added: Added | None, found: _Swept) -> None:
    """Theorem A and L where every logit is evaluated: `values` [T, p, c] are the logits, the right one at `at` [T]."""
    steps, m, p = values.shape
    if events.COMPILED is not None and added is None:
        least, ranges = zeros(steps, m), zeros(steps, m)
        run("gaps", steps * m, m, p, values, at, block.delta, gaps, least, ranges, found.spread)
        found.margins[block.a, block.b], found.ranges[block.a, block.b] = least, ranges
        return
    d = np.arange(p, dtype=np.int64)
    values = np.take_along_axis(values, ((at[:, None] + d) % p)[:, None, :], axis=2)
    gap = values[:, :, :1] - values
    found.margins[block.a, block.b] = gap[:, :, 1:].min(axis=2)
    closed = gaps[block.delta]
    if added is not None:
        more = np.take_along_axis(added.at(block.t, block.delta), ((block.t[:, None] + d) % p)[:, None, :], axis=2)
        closed = closed + more[:, :, :1] - more
        block.lower_to(found.gaps, closed)
        block.raise_to(found.deformed, more.max(axis=2) - more.min(axis=2))
    gap -= closed
    found.ranges[block.a, block.b] = gap.max(axis=2) - gap.min(axis=2)
    block.raise_to(found.spread, np.abs(gap))


def _left(values: Ints, wave: Ints, waves: _Waves, lost: int) -> Ints:
    """Exact strategy: the range over d of the logits less their waves, in wave units, rounded up."""
    p = values.shape[2]
    cosines, sines = roots(p, waves.frequencies[:, None] * np.arange(p, dtype=np.int64))
    parts = exact_product(rounded(wave, waves.bits), np.concatenate([cosines, -sines]), "a wave")
    rest = rounded(values, lost) - rounded(parts, TABLE_BITS)
    # Of an entry, in units of the reduced sums: two halves, one for each wave, and the table's share of all waves.
    share = 2 * TABLE_ERROR * largest(wave) * len(waves.frequencies) >> TABLE_BITS + waves.bits
    left: Ints = (rest.max(axis=2) - rest.min(axis=2) + 2 * (2 + len(waves.frequencies) + share)) << waves.bits
    return left


def _narrow(count: int) -> int:
    """Bits of what is multiplied with chords, below 2^31.2: 4·2·count·2^(bits + 32) <= 2^62 (`exact_product`)."""
    return 28 - (2 * count).bit_length()


def _evaluate(lanes: Lanes, directions: Ints, delta: Ints, offsets: Ints, found: Ints) -> None:
    """Lower found[δ, t] to logit_t − logit_{t+d} for every δ of `delta` [m] and d of its row of `offsets` [m, k]."""
    p, _, width = lanes.sums.shape
    if events.COMPILED is not None:
        run("offsets", p, width, len(delta), offsets.shape[1], delta, offsets, lanes.sums, directions, found)
        return
    places = np.full(p, -1, dtype=np.int64)
    places[delta] = np.arange(len(delta), dtype=np.int64)
    for block in _blocks(lanes, 2 * STEP * width):
        rows = np.flatnonzero(places[block.delta] >= 0)
        own, t = block.own[:, rows], block.t[:, None]
        least_gap = np.full((len(block.t), len(rows)), NEVER, dtype=np.int64)
        for offset in offsets[places[block.delta[rows]]].T:
            gap = np.einsum("trl,trl->tr", own, directions[block.t][:, None, :] - directions[(t + offset) % p])
            np.minimum(least_gap, gap, out=least_gap)
        np.minimum.at(found, (block.delta[rows][None, :], t), least_gap)


def _discs(
    lanes: Lanes, directions: Ints, swept: _Swept, waves: _Waves, slack: Ints, unit: int, error: int, cost: Cost
) -> Ints:
    """Theorem A without evaluating every d: margins [p, p] by input, before `slack` [p, p] is charged.

    For one δ the R_j of all inputs lie in a disc around the middle of their ranges, and what is written at other
    frequencies is bounded, so that for every d at once, at every input of the δ,

        logit_t − logit_{t+d} >= Σ_j Re[c_j(1 − e(jd/p))] − Σ_j |1 − e(jd/p)|·r_j − other.

    The d with the least bounds are then evaluated exactly, until the next bound is above the least margin found.
    """
    p, count = len(swept.other), len(waves.frequencies)
    centre = (swept.low + swept.high) >> 1
    reach = (swept.high - swept.low + 3) >> 1
    radius = size_bound(reach[:, :count], reach[:, count:]) + error
    drop = max(0, max(largest(centre), largest(radius)).bit_length() - _narrow(count))
    d = np.arange(p, dtype=np.int64)
    cosines, sines = roots(p, waves.frequencies[:, None] * d)
    one = np.int64(1 << TABLE_BITS)
    chords = size_bound(one - cosines, sines) + TABLE_ERROR
    bound = exact_product(rounded(centre, drop), np.concatenate([one - cosines, sines]), "a disc")
    bound -= exact_product(-(-radius >> drop) + 1, chords, "a disc")
    lost = TABLE_ERROR * 2 * count * (largest(centre) >> drop) + (1 << TABLE_BITS)
    least = (
        shifted(shifted((bound - np.int64(lost)) >> TABLE_BITS, drop), unit)
        - (-shifted(-swept.other, unit))[:, None]
        - 1
    )
    least[:, 0] = NEVER
    critical = min(CRITICAL, p - 1)
    # Sorted with their d in the last bits, for which they are rounded down.
    keys = np.sort((least & -DISTINCT) + d, axis=1)[:, : critical + 1]
    chosen, bounds = keys & (DISTINCT - 1), keys & -DISTINCT
    found, evaluated = np.full((p, p), NEVER, dtype=np.int64), np.zeros(p, dtype=np.int64)  # [δ, t]
    a, b = d[:, None], d[None, :]
    charged = zeros(p, p)
    for half in (slice(0, (p + 1) // 2), slice((p + 1) // 2, p)):  # of the b, within which no (δ, t) repeats
        at = (a - b[:, half]) % p, (a + b[:, half]) % p
        charged[at] = np.maximum(charged[at], slack[:, half])
    widest = charged.max(axis=1)
    for start in range(0, critical, STEP):
        active = bounds[:, start] - widest < (found - charged).min(axis=1)
        if not active.any():
            break
        stop = min(start + STEP, critical)
        evaluated[active] = stop
        _evaluate(lanes, directions, np.flatnonzero(active), np.ascontiguousarray(chosen[active, start:stop]), found)
        cost.add("discs", int(active.sum()) * p * STEP * 2 * lanes.sums.shape[2])
    rest = np.concatenate([bounds, np.full((p, 1), NEVER, dtype=np.int64)], axis=1)[d, evaluated]
    found = np.minimum(found, rest[:, None])
    margins: Ints = found[(a - b) % p, (a + b) % p]
    return margins


def logits(
    lanes: Lanes, form: ClosedForm, rules: dict[int, Quadrature], weight_unit: int, cost: Cost, observe: Observer
) -> Logits:
    """Theorems L and A for the circuit.

    `rules`: Theorem Q by frequency; their weights W are in units of 2^`weight_unit` logit units.
    """
    p, exact = lanes.sums.shape[0], lanes.directions is None
    waves, width, count = _waves(lanes, form), lanes.sums.shape[2], len(form.terms)
    lost = max(0, int(lanes.widths.max()).bit_length() - 26) if exact else 0
    unit = lost - waves.bits  # wave units are logit units times 2^unit
    table, off = form.table()
    gaps, added = table[:, :1] - table, form.added()
    coefficients, form_errors = _coefficients(form, unit)
    ideals = {k: _Ideal.of(rule, weight_unit - unit) for k, rule in rules.items()}
    swept = _sweep(lanes, waves, coefficients, gaps, added, ideals, lost, observe)
    # Of an R_j: every lane's Fourier coefficient is off by waves.error, and every sum by half a unit or less.
    sizes = sum(lanes.widths.tolist()) >> lost  # in Python: numpy's sum could wrap
    error = waves.error * (sizes + width) + int((np.abs(waves.re) + np.abs(waves.im)).sum(axis=0).max(initial=0)) + 1

    def up(value: int) -> int:
        return units_up(value, unit, 0)

    rest, slack = largest(lanes.rest), lanes.rest + np.int64(lanes.rounding)
    network, profile = {}, {}
    for index, j in enumerate(form.terms):
        network[j] = up(_root(int(swept.network[:, index].max()), swept.shift) + error + form_errors[index]) + rest
        if j in ideals:
            found = _root(int(swept.profile[index]), swept.shift) + error + form_errors[index] + ideals[j].error
            profile[j] = up(found)
    cost.add("waves", p * p * (2 * width * count + 30 * count))
    errors, c = off if added is None else off + added.errors, np.arange(p, dtype=np.int64)
    delta = np.subtract.outer(c, c) % p
    widest = slack[(c[:, None] + c) % p, c].max(axis=1)
    if lanes.directions is None or p <= limits.FULL_PRODUCT:
        margins, deviations = swept.margins, (swept.ranges + slack + 1) >> 1
        spread = swept.spread + widest[:, None]
        cost.add("logits", p * p * p * (8 if exact else width + 8))
        if added is not None:
            cost.add("deformation", p * p * p * (2 * len(added.frequencies) + 8))
    else:
        margins = _discs(lanes, lanes.directions, swept, waves, slack, unit, error, cost)
        most = [
            [_root(x, swept.shift) + error + e for x, e in zip(row, form_errors, strict=True)]
            for row in swept.network.tolist()
        ]
        other = swept.other.tolist()
        bounds = [up(sum(row) + (x + 1 >> 1)) for row, x in zip(most, other, strict=True)]
        require_capacity(max(bounds) << ROOM, "a deviation")
        deviations = np.array(bounds, dtype=np.int64)[delta] + ((slack + 1) >> 1)
        spread = _spread(most, other, waves, p, unit) + widest[:, None]
        cost.add("discs", 4 * p * p * count)
    return Logits(
        margins=margins - slack,
        beyond=np.where(swept.beyond == NEVER, NEVER, swept.beyond + lanes.over - lanes.rounding),
        deviations=deviations + errors[delta],
        spread=spread + 2 * errors[:, None],
        gaps=swept.gaps - 2 * errors[:, None],
        deformation=None if added is None else int((swept.deformed + 2 * added.errors + 1).max()) >> 1,
        network=network,
        profile=profile,
        # The logits less R_j that are known to within `error`; directions have that in their spans.
        other=units_up(largest(swept.other) + (2 * count * error if exact else 0), unit - 1, 0),
        rest=(rest + 1) >> 1,
        slack=2 * int(errors.max()) + 1,
    )


def _coefficients(form: ClosedForm, unit: int) -> tuple[Ints, list[int]]:
    """[p, 2J]: G_j(δ) in wave units, real parts and then imaginary ones, and by j how far they may be from the
    truth."""
    parts = [getattr(term, name) for name in ("re", "im") for term in form.terms.values()]
    table = np.stack(parts, axis=1) if parts else zeros(form.p, 0)
    moved = rounded(table, unit) if unit > 0 else shifted(table, -unit)
    require_capacity(largest(moved) << 2, "the closed form")
    return moved, [units_up(largest(term.error), 0, unit) + 1 for term in form.terms.values()]


def _spread(most: list[list[int]], other: list[int], waves: _Waves, p: int, unit: int) -> Ints:
    """|gap − closed gap| <= Σ_j |1 − e(jd/p)|·|R_j − G_j| + other, by δ and d, in logit units."""
    cosines, sines = roots(p, waves.frequencies[:, None] * np.arange(p, dtype=np.int64))
    chords = size_bound(np.int64(1 << TABLE_BITS) - cosines, sines) + TABLE_ERROR
    count = len(waves.frequencies)
    drop = max(0, max(map(max, most), default=0).bit_length() - _narrow(count)) if count else 0
    sizes = np.array([[(x >> drop) + 1 for x in row] for row in most], dtype=np.int64).reshape(p, -1)
    found = (exact_product(sizes, chords, "a spread") >> TABLE_BITS) + 1
    total = shifted(found, drop) + np.array(other, dtype=np.int64)[:, None]
    return -shifted(-total, unit)
