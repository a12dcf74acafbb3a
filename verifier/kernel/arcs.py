"""Arc sums: the MLP's output at the frequencies J for every input, in linear time (docs/theory.md §4, Lemmas R, C, S).

For one family and one offset δ = a − b, a neuron's sign is known from the cell that holds x_i(b) = kb/p + φ_i, except
near the roots of the profile, and there the ReLU lemma bounds the mistake by a part of a plus a part of b. Neurons
sorted by phase therefore contribute through prefix sums. One packed vector carries everything that is summed
(`Weights`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import add, itemgetter, mul, sub

from verifier.kernel import limits
from verifier.kernel.certificate import Certificate, Family, Member
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.outputs import Split, Splitter, drop_for
from verifier.kernel.packing import pack, require_capacity, unpack, unpack_columns
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import Circle, circle, phase_powers

MID_BITS = limits.PROFILE_BITS + limits.TABLE_BITS  # T at a cell's middle is an integer multiple of 2^-54


@dataclass(frozen=True, slots=True)
class Weights:
    """What one neuron adds to the sums, as packed vectors: `signal` times y, plus `spread` times U.

    When ReLU(y_i) lies in [base, base + U], the lanes get, for every output frequency j: twice Re and Im of
    ω_j·(base + U/2) and twice |ω_j|·U/2 (the radius); then rest·(base + U), an upper bound; then, with outputs
    beyond p, over·base + min(over, 0)·U, a lower bound. `largest` bounds every lane of both vectors.
    """

    signal: int
    spread: int
    largest: int


def weights(split: Split, outputs_beyond: bool) -> Weights:
    """The packed vectors of one split.

    **Raises** `Rejected(CAPACITY)` when a part of it does not fit a lane (a skip far above every neuron).
    """
    largest = 2 * max(*split.size, split.rest, abs(split.over))
    require_capacity(largest, "an output in the units of the sums")
    coefficients = [part for pair in split.omega for part in pair]
    radii = list(split.size)
    signal = [2 * x for x in coefficients] + [0] * len(radii) + [split.rest]
    spread = coefficients + radii + [split.rest]
    if outputs_beyond:
        signal.append(split.over)
        spread.append(min(split.over, 0))
    return Weights(pack(signal), pack(spread), largest)


@dataclass(frozen=True, slots=True)
class Residual:
    """Lemma R for one neuron, in units of 2^-pre_scale.

    y = A[a] + B[b] = α·T_δ(x(b)) + r(a) + r′(b); `a` and `b` hold r and r′ up to `error`, for every a and b.
    `amplitude` and `shift` give α = amplitude·2^shift exactly.
    """

    a: list[int]
    b: list[int]
    error: int
    amplitude: int
    shift: int

    def half_depth(self, threshold: int) -> int:
        """floor(α·t/2) for a threshold t in units of 2^-24: never above α·t/2, whatever the sign of t."""
        shift = self.shift - limits.PROFILE_BITS - 1
        value = self.amplitude * threshold
        return value << shift if shift >= 0 else value >> -shift

    def reach(self) -> int:
        """The least R, in units of 2^-24, for which α·R/2 is at least every |r(a)| and |r′(b)|."""
        most = max(max(self.a), -min(self.a), max(self.b), -min(self.b)) + self.error
        numerator = most << (limits.PROFILE_BITS + 1)
        if self.shift >= 0:
            return -(-numerator // (self.amplitude << self.shift))
        return -(-(numerator << -self.shift) // self.amplitude)

    def excess(self, threshold: int, positive: bool) -> tuple[list[int], list[int]]:
        """Lemma S: U(a) and U(b) with |ReLU(y) − y⁺-guess| <= U(a) + U(b) where the profile has depth >= threshold.

        Premise: T >= t (`positive`) or T <= −t. Conclusion: ReLU(y) − y, or ReLU(y), lies in [0, U(a) + U(b)] with
        U = (∓r − α·t/2)⁺, because ∓y <= ∓r − α·t/2 ∓ r′ − α·t/2.
        """
        offset = self.error - self.half_depth(threshold)
        if positive:
            return [offset - x if x < offset else 0 for x in self.a], [offset - x if x < offset else 0 for x in self.b]
        return [offset + x if x > -offset else 0 for x in self.a], [offset + x if x > -offset else 0 for x in self.b]

    def most(self, threshold: int) -> int:
        """The greatest of all the numbers in `excess(threshold, …)`, for both signs of the profile."""
        offset = self.error - self.half_depth(threshold)
        return max(0, offset + max(-min(self.a), max(self.a), -min(self.b), max(self.b)))


def _positive_part(x: int) -> int:
    return x if x > 0 else 0


@dataclass(frozen=True, slots=True)
class Waves:
    """Packed tables cos and −sin of h·k·a/p over a = 0..p−1, for h = 1..H."""

    p: int
    cosines: tuple[int, ...]
    sines: tuple[int, ...]


def waves(p: int, frequency: int, harmonics: int) -> Waves:
    table = circle(p)
    orders = [[h * frequency * a % p for a in range(p)] for h in range(1, harmonics + 1)]
    return Waves(
        p,
        tuple(pack(table.cosines[m] for m in order) for order in orders),
        tuple(pack(-table.sines[m] for m in order) for order in orders),
    )


def residual(row_a: list[int], row_b: list[int], family: Family, member: Member, tables: Waves, shift: int) -> Residual:
    """Lemma R: subtract α·P_i from A[i] and α·Q_i from B[i] in fixed point.

    The two residuals are then balanced (a constant moves from one to the other), which changes nothing in their sum.
    """
    powers = phase_powers(member.phase, 1 << limits.PHASE_BITS, len(family.profile))
    turned = [
        [_turned(re, im, power, member.amplitude, shift) for re, im in parts]
        for power, parts in zip(powers, (((z.a_re, z.a_im), (z.b_re, z.b_im)) for z in family.profile), strict=True)
    ]
    rest_a, error_a = _subtract(row_a, [pair[0] for pair in turned], tables)
    rest_b, error_b = _subtract(row_b, [pair[1] for pair in turned], tables)
    constant = _shifted(member.amplitude * family.dc, shift - limits.PROFILE_BITS)
    move = (sum(rest_b) - sum(rest_a)) // (2 * tables.p) - (constant >> 1)
    return Residual(
        a=[x + move for x in rest_a],
        b=[x - constant - move for x in rest_b],
        error=max(error_a, error_b) + 2,
        amplitude=member.amplitude,
        shift=shift,
    )


def _shifted(value: int, shift: int) -> int:
    return value << shift if shift >= 0 else value >> -shift


def _turned(re: int, im: int, power: tuple[int, int], amplitude: int, shift: int) -> tuple[int, int, int]:
    """α·z·e(hφ) as (re, im, error) in units of 2^-pre_scale; the error bounds each part."""
    cosine, sine = power
    scale = shift - limits.PROFILE_BITS - limits.TABLE_BITS
    error = _shifted(amplitude * (abs(re) + abs(im)), scale) + 2
    return (
        _shifted(amplitude * (re * cosine - im * sine), scale),
        _shifted(amplitude * (re * sine + im * cosine), scale),
        error,
    )


def _subtract(row: list[int], terms: list[tuple[int, int, int]], tables: Waves) -> tuple[list[int], int]:
    """row[a] − Σ_h Re(u_h·e(hka/p)) rounded down, and a bound on its error."""
    bits = limits.TABLE_BITS
    size = sum(abs(re) + abs(im) for re, im, _ in terms)
    require_capacity((max(max(row), -min(row)) + size) << bits, "a neuron's profile")
    rest = pack(row) << bits
    for (re, im, _), cosine, sine in zip(terms, tables.cosines, tables.sines, strict=True):
        rest -= re * cosine + im * sine
    error = sum(2 * error for _, _, error in terms) + (size >> bits) + 2
    return [x >> bits for x in unpack(rest, tables.p)], error


@dataclass(frozen=True, slots=True)
class Arcs:
    """Lemma C for one family: for every level, where the profile is known to lie above it.

    `thresholds` are the shells t_0 < t_1 < … in units of 2^-24 (t_0 <= 0 covers the cells that hold a root). Levels
    from below: no neuron fires; shells from the outermost to t_0 taken as zero; shells from t_0 to the outermost
    taken as linear; linear. `arcs[l][δ]` lists the arcs (first cell, number of cells) of the cells above level l.
    `integrals[δ]` is Lemma I.
    """

    thresholds: tuple[int, ...]
    arcs: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    integrals: tuple[Integral, ...]


@dataclass(frozen=True, slots=True)
class Integral:
    """Lemma I: ∫ ReLU(T_δ(x))·e(2x) dx over one turn, (re, im) and an error of its modulus, in units of 2^-54."""

    re: int
    im: int
    error: int


def profile_arcs(family: Family, p: int, cells: int, reach: int) -> Arcs:
    """Lemma C: bound T_δ on each of N = p·L cells from its value in the middle, and sort the cells into levels.

    |T(x) − T(middle)| <= (1/2N turn)·2π·Σ_h h·|u_h| =: τ with u_h = z^A_h·e(hkδ/p) + z^B_h; 355/113 > π.
    """
    size = p * cells
    grid, points = circle(2 * size), circle(p)
    bits = limits.TABLE_BITS
    orders = [[h * (2 * c + 1) % (2 * size) for c in range(size)] for h in range(1, len(family.profile) + 1)]
    cosines = [pack(grid.cosines[m] for m in order) for order in orders]
    sines = [pack(-grid.sines[m] for m in order) for order in orders]
    level_zero = pack([family.dc << bits] * size)
    sums, slopes, bends = [], [], []
    steepest = 0
    for delta in range(p):
        middle, slope, error = level_zero, 0, 0
        bend = 4 * abs(family.dc)
        for h, z in enumerate(family.profile, start=1):
            re, im = _offset_coefficient(z.a_re, z.a_im, points, h * family.frequency * delta % p)
            re, im = re + z.b_re, im + z.b_im
            middle += re * cosines[h - 1] + im * sines[h - 1]
            slope += h * (abs_bound(re, im) + 2)
            bend += (h + 2) * (h + 2) * (abs_bound(re, im) + 2)
            error += abs(re) + abs(im) + (4 << bits)
        steepest = max(steepest, slope)
        sums.append(middle)
        # |f″| <= (2π)²·Σ(h + 2)²|u_h|, and (2π)²/24 < 5/3; the middle's own error counts once.
        bends.append((5 * bend << bits) // (3 * size * size) + error)
        slopes.append(((slope * 355 << bits) // (113 * size)) + 1 + error)
    require_capacity((abs(family.dc) + 2 * steepest) << bits, "a profile")  # |re| + |im| < 2·|re + i·im|
    twice = [h % (2 * size) for h in range(2, 4 * size, 4)]
    second = ([grid.cosines[m] for m in twice], [grid.sines[m] for m in twice])
    inner = [t for t in family.shells if 0 < t < reach]
    lowest = -(-max(slopes) >> bits)
    thresholds = (-lowest, *inner)
    steps = [t << bits for t in (*inner, reach)]
    levels = 2 * len(thresholds) + 1
    arcs: list[list[tuple[tuple[int, int], ...]]] = [[] for _ in range(levels)]
    integrals = []
    for middle, slope, bend in zip(sums, slopes, bends, strict=True):
        cuts = [1 - t - slope for t in reversed(steps)] + [0] + [t + slope for t in steps]
        values = unpack(middle, size)
        integrals.append(_integral(values, slope, bend, second))
        marks = [bisect_right(cuts, x) for x in values]
        for level, found in enumerate(_runs(marks, levels)):
            arcs[level].append(found)
    return Arcs(thresholds, tuple(map(tuple, arcs)), tuple(integrals))


def _integral(values: list[int], slope: int, bend: int, second: tuple[list[int], list[int]]) -> Integral:
    """Lemma I: the midpoint rule with its error, for f(x) = ReLU(T(x))·e(2x) on cells of width 1/N.

    Where T keeps its sign f is smooth or zero: the rule errs by at most max|f″|/24N² on average. On a cell that may
    hold a root it errs by at most 3·slope: there 0 <= ReLU(T) <= 2·slope and 0 <= ReLU(T(middle)) <= slope. The table
    adds its unit.
    """
    size = len(values)
    active = [x if x > 0 else 0 for x in values]
    rough = sum(-slope < x < slope for x in values)
    re = sum(map(mul, active, second[0])) // size >> limits.TABLE_BITS
    im = sum(map(mul, active, second[1])) // size >> limits.TABLE_BITS
    table = 2 * max(active) >> limits.TABLE_BITS
    return Integral(re, im, bend + 3 * slope * rough // size + table + 6)


def _offset_coefficient(re: int, im: int, points: Circle, m: int) -> tuple[int, int]:
    """z·e(m/p) rounded, in units of 2^-24; each part is off by less than 2 units as |z| < 2^28."""
    cosine, sine = points.cosines[m], points.sines[m]
    return (re * cosine - im * sine) >> limits.TABLE_BITS, (re * sine + im * cosine) >> limits.TABLE_BITS


def abs_bound(re: int, im: int) -> int:
    """An upper bound of |re + i·im|, at most 9 % above it: the greater part plus (√2 − 1) times the lesser."""
    low, high = sorted((abs(re), abs(im)))
    return high + (low * 107 + 255) // 256


def abs_bounds(re: Sequence[int], im: Sequence[int]) -> list[int]:
    """`abs_bound` of every pair."""
    pairs = zip(map(abs, re), map(abs, im), strict=True)
    return [x + ((107 * y + 255) >> 8) if x > y else y + ((107 * x + 255) >> 8) for x, y in pairs]


def _runs(marks: list[int], levels: int) -> list[tuple[tuple[int, int], ...]]:
    """For every level l, the cyclic runs of cells whose mark is above l, as (first cell, number of cells)."""
    size = len(marks)
    starts: list[list[int]] = [[] for _ in range(levels)]
    ends: list[list[int]] = [[] for _ in range(levels)]
    for cell, (before, now) in enumerate(zip(marks[-1:] + marks[:-1], marks, strict=True)):
        if before != now:
            for level in range(before, now):
                starts[level].append(cell)
            for level in range(now, before):
                ends[level].append(cell)
    result: list[tuple[tuple[int, int], ...]] = []
    for level in range(levels):
        first, last = starts[level], ends[level]
        if not first:
            result.append(((0, size),) if marks[0] > level else ())
            continue
        if last[0] < first[0]:
            last = last[1:] + last[:1]
        result.append(tuple((s, (e - s) % size) for s, e in zip(first, last, strict=True)))
    return result


class Sums:
    """Packed sums over neurons at every input, split into a part of (a, δ), a part of (b, δ), and single inputs.

    `bound` grows with everything added and bounds every lane of every final sum.
    """

    __slots__ = ("bound", "lanes", "p", "part_a", "part_b", "single")

    def __init__(self, p: int, lanes: int) -> None:
        self.p = p
        self.lanes = lanes
        self.part_a = [[0] * p for _ in range(p)]  # [a][δ]
        self.part_b = [[0] * p for _ in range(p)]  # [b][δ]
        self.single: list[list[int]] = []  # [a][b]; empty while nothing was added there
        self.bound = 0

    def at_offset(self, delta: int) -> list[list[int]]:
        """The lanes of all inputs (a, b) with a − b = δ (mod p): one list per lane, in order of b."""
        require_capacity(self.bound, "the sums over neurons")
        p = self.p
        of_a = [row[delta] for row in self.part_a[delta:] + self.part_a[:delta]]
        of_b = [row[delta] for row in self.part_b]
        packed = map(add, of_a, of_b)
        if self.single:
            single = self.single
            packed = map(add, packed, [single[(b + delta) % p][b] for b in range(p)])
        return unpack_columns(packed, self.lanes)


def add_family(
    sums: Sums,
    family: Family,
    circuit: Circuit,
    own: dict[int, Weights],
    certificate: Certificate,
    cost: Cost,
) -> tuple[Integral, ...]:
    """Add a family's neurons to the sums: Σ over levels l of the neurons above l, each with the step from level l to
    l + 1.

    **Returns** the integrals of the family's profile, by δ.
    """
    p, k = circuit.p, family.frequency
    size = p * certificate.cells
    shift = certificate.amplitude_exponent + circuit.pre_scale
    require(shift <= 2 * limits.PRE_BITS, Reason.CAPACITY, "an amplitude is far above every pre-activation")
    tables = waves(p, k, len(family.profile))
    exact = set(certificate.outliers)
    members = sorted((m for m in family.members if m.neuron not in exact), key=lambda member: member.phase)
    residuals = [residual(circuit.pre_a[m.neuron], circuit.pre_b[m.neuron], family, m, tables, shift) for m in members]
    reach = max((r.reach() for r in residuals), default=1)
    require(reach < 1 << 62, Reason.CAPACITY, "a neuron of a family is far from its profile")
    arcs = profile_arcs(family, p, certificate.cells, reach)
    if not members:
        return arcs.integrals
    vectors = [own[m.neuron] for m in members]
    signals, spreads = [v.signal for v in vectors], [v.spread for v in vectors]
    counts = _counts([member.phase * size >> limits.PHASE_BITS for member in members], size)
    steps_a, steps_b = _steps(residuals, arcs.thresholds)
    stride = k * certificate.cells
    for part, rows, steps, moving in (
        (sums.part_a, circuit.pre_a, steps_a, stride),
        (sums.part_b, circuit.pre_b, steps_b, 0),
    ):
        slots = [_slots(found, moving, size) for found in arcs.arcs]
        inputs = list(zip(*(rows[m.neuron] for m in members), strict=True))
        _add_arcs(part, slots, steps, inputs, signals, spreads, counts, stride)
    for m, r, v in zip(members, residuals, vectors, strict=True):
        row_a, row_b = circuit.pre_a[m.neuron], circuit.pre_b[m.neuron]
        most = max(map(abs, row_a)) + max(map(abs, row_b))
        sums.bound += v.largest * (most + 2 * r.most(arcs.thresholds[0]))
    n, lanes, levels = len(members), sums.lanes, len(arcs.arcs)
    cost.add("residual lemma", 2 * n * p * (2 * len(family.profile) + 2 + 2 * levels))
    cost.add("arc lemma", p * size * (2 * len(family.profile) + 6))
    cost.add("prefix sums", 2 * n * p * (levels + 1) * 2 * lanes)
    cost.add("look-ups", sum(4 * p * len(found) * lanes for level in arcs.arcs for found in level))
    return arcs.integrals


def _counts(cells: list[int], size: int) -> list[int]:
    """counts[c] = how many neurons lie in cells before c, for c = 0..3·size, going around three times."""
    histogram = [0] * size
    for cell in cells:
        histogram[cell] += 1
    return list(accumulate(histogram * 3, initial=0))


Steps = list[list[tuple[int, ...]]]


def _steps(residuals: list[Residual], thresholds: tuple[int, ...]) -> tuple[Steps, Steps]:
    """For every level, the change of U from the level to the next, by a (or b) and then by neuron."""
    steps_a, steps_b = [], []
    for r in residuals:
        zero = [0] * len(r.a)
        negative = [r.excess(t, False) for t in reversed(thresholds)]
        positive = [r.excess(t, True) for t in thresholds]
        chain = [(zero, zero), *negative, *positive, (zero, zero)]
        steps_a.append([list(map(sub, y[0], x[0])) for x, y in pairwise(chain)])
        steps_b.append([list(map(sub, y[1], x[1])) for x, y in pairwise(chain)])
    return _by_level(steps_a), _by_level(steps_b)


def _by_level(steps: list[list[list[int]]]) -> Steps:
    return [list(zip(*(neuron[level] for neuron in steps), strict=True)) for level in range(len(steps[0]))]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One arc of each of several δ: `first` and `last` pick, from a list over cells 0..2N, the cell it starts at and
    the cell after it.
    """

    deltas: tuple[int, ...]
    first: Pick
    last: Pick


def _slots(found: tuple[tuple[tuple[int, int], ...], ...], moving: int, size: int) -> list[_Slot]:
    """The arcs of a level by rank. For sums over a, which see b = a − δ, the offset moves the arc by `moving`·δ."""
    result = []
    for rank in range(max(map(len, found))):
        deltas = tuple(delta for delta, arcs in enumerate(found) if rank < len(arcs))
        starts = [(found[delta][rank][0] + moving * delta) % size for delta in deltas]
        ends = [start + found[delta][rank][1] for start, delta in zip(starts, deltas, strict=True)]
        result.append(_Slot(deltas, _pick(starts), _pick(ends)))
    return result


Pick = Callable[[Sequence[int]], tuple[int, ...]]


def _pick(places: Sequence[int]) -> Pick:
    """A function that takes the elements at `places` from a list."""
    # Of one place, itemgetter would return the element itself.
    return itemgetter(*places) if len(places) > 1 else lambda values: (values[places[0]],)


def _add_arcs(
    part: list[list[int]],
    levels: Sequence[list[_Slot]],
    steps: Steps,
    inputs: list[tuple[int, ...]],
    signals: list[int],
    spreads: list[int],
    counts: list[int],
    stride: int,
) -> None:
    """Add the arcs of all levels to `part` [x][δ], x being a or b.

    Neuron i is in the arc that starts at cell s when its own cell q satisfies q + stride·x in [s, s + length), that is
    q in [s − stride·x, …). In the list of counts turned by stride·x cells, the arcs are at the same places for every x.
    """
    size, p = len(counts) // 3, len(part)
    middle = len(levels) // 2
    for x in range(p):
        turn = -stride * x % size
        turned = counts[turn : turn + 2 * size + 1]
        before = [0] * turned[0]  # of the neurons before the turned list; their sums are never asked for
        row = part[x]
        for level, slots in enumerate(levels):
            column = steps[level][x]
            terms = map(mul, spreads, column)
            if level == middle:
                terms = map(add, map(mul, signals, inputs[x]), terms)
            elif not any(column):
                continue
            # Prefix sums over the circle, twice around from the first neuron of the turned list on.
            own = list(terms)
            ahead = own[turned[0] :] + own[: turned[0]]
            prefix = [*before, *accumulate(ahead + ahead, initial=0)].__getitem__
            for slot in slots:
                change = map(sub, map(prefix, slot.last(turned)), map(prefix, slot.first(turned)))
                if len(slot.deltas) == p:
                    row = list(map(add, row, change))
                else:
                    for delta, value in zip(slot.deltas, change, strict=True):
                        row[delta] += value
        part[x] = row


def add_fixed(sums: Sums, row_a: list[int], row_b: list[int], vector: Weights, positive: bool) -> None:
    """Add a neuron taken as linear (`positive`) or as zero at every input: Lemma S with T = 0 and t = 0."""
    if positive:
        move = (min(row_b) - min(row_a)) // 2
        excess_a = [_positive_part(-x - move) for x in row_a]
        excess_b = [_positive_part(move - x) for x in row_b]
    else:
        move = (max(row_b) - max(row_a)) // 2
        excess_a = [_positive_part(x + move) for x in row_a]
        excess_b = [_positive_part(x - move) for x in row_b]
    signal = vector.signal if positive else 0
    for part, row, excess in ((sums.part_a, row_a, excess_a), (sums.part_b, row_b, excess_b)):
        for x, (y, u) in enumerate(zip(row, excess, strict=True)):
            term = signal * y + vector.spread * u
            if term:
                part[x] = [value + term for value in part[x]]
    most = max(map(abs, row_a)) + max(map(abs, row_b)) + max(excess_a) + max(excess_b)
    sums.bound += vector.largest * most


def add_outlier(sums: Sums, row_a: list[int], row_b: list[int], vector: Weights) -> None:
    """Add a neuron exactly, input by input."""
    if not sums.single:
        sums.single = [[0] * sums.p for _ in range(sums.p)]
    for a, x in enumerate(row_a):
        column = sums.single[a]
        for b, y in enumerate(row_b):
            if x + y > 0:
                column[b] += vector.signal * (x + y)
    sums.bound += vector.largest * (max(map(abs, row_a)) + max(map(abs, row_b)))


def add_skip(sums: Sums, circuit: Circuit, frequencies: tuple[int, ...], drop: int, cost: Cost) -> tuple[int, int, int]:
    """Add the skip tables, split like a neuron's outputs with activation 1.

    **Returns** the least and the largest sum of their rests, and `fit` (see `ArcSums`) for both.
    """
    largest = max(max(map(abs, row)) for table in (circuit.skip_a, circuit.skip_b) for row in table)
    coarse = max(0, largest.bit_length() - limits.OUT_BITS)
    splitter = Splitter(circuit.p, frequencies, limits.OUT_BITS - 18)
    lift = coarse + splitter.drop - drop
    beyond = circuit.outputs > circuit.p
    least = most = 0
    for table, part in ((circuit.skip_a, sums.part_a), (circuit.skip_b, sums.part_b)):
        rows = [[x >> coarse for x in row] for row in table]
        splits = [_lifted(split, lift) for split in splitter.split(rows, cost, "skip")]
        vectors = [weights(split, beyond) for split in splits]
        for x, vector in enumerate(vectors):
            part[x] = [value + vector.signal for value in part[x]]
        sums.bound += max(vector.largest for vector in vectors)
        least += min(split.rest for split in splits)
        most += max(split.rest for split in splits)
    # Per table less than 2.13 of the splitter's units and 2^-8 for the rows' rounding; coarser: √2 for that of ω.
    return least, most, 10 << max(lift, 0)


def _lifted(split: Split, lift: int) -> Split:
    """A split of rows that were rounded down to coarser units, in finer ones; the rounding widens its bounds."""
    # Rounding moves every entry by less than one coarse unit, which is less than one unit after the splitter's drop.
    rest, over = split.rest + 1, split.over - 1
    if lift >= 0:
        omega = tuple((re << lift, im << lift) for re, im in split.omega)
        return Split(omega, tuple(x << lift for x in split.size), rest << lift, over << lift)
    # Finer than a lane's unit: round outward. What the coefficients lose goes to the rest.
    omega = tuple((re >> -lift, im >> -lift) for re, im in split.omega)
    lost = 4 * len(omega)
    return Split(omega, tuple((x >> -lift) + 3 for x in split.size), (rest >> -lift) + 1 + lost, (over >> -lift) - lost)


def sum_arcs(circuit: Circuit, certificate: Certificate, cost: Cost, observe: Observer) -> ArcSums:
    """All of the MLP and the skips at the output frequencies, for every input, with radii (Theorem L)."""
    frequencies = certificate.output_frequencies
    splitter = Splitter(circuit.p, frequencies, drop_for(circuit.neurons))
    splits = splitter.split(circuit.out, cost, "output lemma")
    beyond = circuit.outputs > circuit.p
    own = {neuron: weights(split, beyond) for neuron, split in enumerate(splits)}
    sums = Sums(circuit.p, 3 * len(frequencies) + 1 + beyond)
    count = len(certificate.families)
    integrals = []
    for index, family in enumerate(certificate.families):
        observe("arc sums", index, count)
        integrals.append(add_family(sums, family, circuit, own, certificate, cost))
    observe("arc sums", count, count)
    p, lanes = circuit.p, sums.lanes
    for neurons, positive in ((certificate.on, True), (certificate.off, False)):
        for neuron in neurons:
            add_fixed(sums, circuit.pre_a[neuron], circuit.pre_b[neuron], own[neuron], positive)
        cost.add("on and off neurons", 4 * len(neurons) * p * lanes)
    for neuron in certificate.outliers:
        add_outlier(sums, circuit.pre_a[neuron], circuit.pre_b[neuron], own[neuron])
    cost.add("outliers", len(certificate.outliers) * p * p * (lanes + 1))
    least, most, fit = add_skip(sums, circuit, frequencies, splitter.drop, cost)
    cost.add("look-ups", 3 * p * p * lanes)
    return ArcSums(sums, splits, splitter.drop, (least, most), 5 * circuit.activation + fit, tuple(integrals))


@dataclass(frozen=True, slots=True)
class ArcSums:
    """What `sum_arcs` found.

    **Fields**

    - `sums` in units of 2^-(pre_scale + out_scale − `drop`); `splits` of all neurons; `skip_rest`: the skips' least
      and largest rest.
    - `fit`: how far C_j, without its radius, is from the logits' Fourier coefficient at j, in units of the sums
      (doubled): ω_ij is within 2.13 units of that of W[i], 1.51 each part (`Splitter.split`: 1 for the quotient, 1/2
      for the rough table).
    - `integrals`: Lemma I for every family (in the certificate's order) and every δ.
    """

    sums: Sums
    splits: list[Split]
    drop: int
    skip_rest: tuple[int, int]
    fit: int
    integrals: tuple[tuple[Integral, ...], ...]
