"""Theorems L and A: every logit near a closed form, and the margin of every input (docs/theory.md §4, §5).

The sums of `arcs` are taken one offset δ = a − b at a time. For each input C_j is turned by e(j(a + b)/p) into
R_j(b), which depends on b only as far as the quadrature is not exact; a centre G_j(δ) with a radius therefore serves
all b of a δ. All numbers are integers in units of 2^-(scale − drop + 1): the sums come doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nsmallest
from itertools import chain
from math import isqrt
from operator import add, mul, sub

from verifier.kernel.arcs import MID_BITS, ArcSums, abs_bounds
from verifier.kernel.certificate import Certificate
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.packing import pack_wide, unpack_wide
from verifier.kernel.quadrature import BOUND_BITS, Quadrature
from verifier.kernel.tables import circle

ONE = 1 << TABLE_BITS
UNBOUNDED = 1 << 128  # above every margin: wide lanes hold less than 2^126


@dataclass(frozen=True, slots=True)
class Input:
    """One input (a, b): R_j as (re, im) pairs, a radius for each, the rest η, and the lower bound over outputs beyond
    p.
    """

    turned: list[int]
    radii: list[int]
    rest: int
    over: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs of one δ by column, each in order of b; the columns are those of `Input`.

    `ranges`: the least and the greatest entry of every column of `turned`.
    """

    turned: list[list[int]]
    ranges: list[tuple[int, int]]
    radii: list[list[int]]
    rest: list[int]
    over: list[int]


@dataclass(frozen=True, slots=True)
class Directions:
    """Row d: what Σ_j Re[R_j(1 − e(jd/p))] − Σ_j |1 − e(jd/p)|·radius_j − tail is as one dot product, in units of
    2^-30.
    """

    rows: tuple[tuple[int, ...], ...]
    packed: tuple[int, ...]  # column by column, over d, in wide lanes; without the tail's column


@lru_cache(maxsize=2)
def directions(p: int, frequencies: tuple[int, ...]) -> Directions:
    """Rows for d = 1..p−1 over (re, im) pairs, then radii, then the tail. Entries are off by at most one unit."""
    table = circle(p)
    rows = []
    for d in range(1, p):
        points = [(ONE - table.cosines[j * d % p], table.sines[j * d % p]) for j in frequencies]
        sizes = (-isqrt((x + 1) * (x + 1) + (abs(y) + 1) * (abs(y) + 1)) - 1 for x, y in points)
        rows.append((*chain.from_iterable(points), *sizes, -1))
    return Directions(tuple(rows), tuple(map(pack_wide, list(zip(*rows, strict=True))[:-1])))


@lru_cache(maxsize=128)
def _around(size: int, step: int, length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """cos and sin of step·x/size turns for x = 0..length−1, from the table."""
    table = circle(size)
    places = [step * x % size for x in range(length)]
    return tuple(table.cosines[m] for m in places), tuple(table.sines[m] for m in places)


def columns_at(arc: ArcSums, frequencies: tuple[int, ...], delta: int) -> Inputs:
    """All inputs of one δ.

    R_j = C_j·e(j(2b + δ)/p); the table's error, at most (|re| + |im|)·2^-30 for the largest of the δ, and the rounding
    join the radius.
    """
    p, count, bits = arc.sums.p, len(frequencies), TABLE_BITS
    columns = arc.sums.at_offset(delta)
    turned, radii = [], []
    for index, j in enumerate(frequencies):
        re, im, radius = columns[2 * index], columns[2 * index + 1], columns[2 * count + index]
        wave = _around(p, j, 3 * p)
        cosines, sines = (part[delta : delta + 2 * p : 2] for part in wave)
        turned.append([(x * c - y * s) >> bits for x, y, c, s in zip(re, im, cosines, sines, strict=True)])
        turned.append([(x * s + y * c) >> bits for x, y, c, s in zip(re, im, cosines, sines, strict=True)])
        slack = ((_largest(re) + _largest(im)) >> (bits - 1)) + 3
        radii.append([r + slack for r in radius])
    rest = [2 * x for x in columns[3 * count]]
    over = columns[3 * count + 1] if len(columns) > 3 * count + 1 else [0] * p
    return Inputs(turned, [(min(column), max(column)) for column in turned], radii, rest, over)


def _largest(column: list[int]) -> int:
    return max(max(column), -min(column))


def inputs_at(arc: ArcSums, frequencies: tuple[int, ...], delta: int) -> list[Input]:
    """The same input by input, in order of b."""
    x = columns_at(arc, frequencies, delta)
    rows = zip(zip(*x.turned, strict=True), zip(*x.radii, strict=True), x.rest, x.over, strict=True)
    return [Input(list(turned), list(radii), rest, over) for turned, radii, rest, over in rows]


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The closed form Σ_k Re[G_k(δ)·e(k(c − a − b)/p)] over the families' frequencies.

    G_k(δ) = e(kδ/p)·Σ_g Q_g·∫ReLU(T_{g,δ}(x))·e(2x)dx: every family's own profile, integrated, times its moment Q_−2.
    `terms[k][δ]` is (re, im, error): the error bounds the distance of the two integers from twice the exact value.
    """

    terms: dict[int, list[tuple[int, int, int]]]

    def amplitude(self, k: int) -> int:
        """A lower bound of twice the largest |G_k(δ)|, and 0 if none is known."""
        return max(0, *(isqrt(re * re + im * im) - error for re, im, error in self.terms[k]))


def closed_form(
    arc: ArcSums, certificate: Certificate, moments: Sequence[tuple[int, int]], p: int, cost: Cost
) -> ClosedForm:
    """The closed form from Lemma I and the families' moments; O(families · p)."""
    table, shift = circle(p), MID_BITS - 1
    sums: dict[int, list[tuple[int, int, int]]] = {}
    for family, (q_re, q_im), integrals in zip(certificate.families, moments, arc.integrals, strict=True):
        size = abs(q_re) + abs(q_im) + 2
        row = sums.setdefault(family.frequency, [(0, 0, 0)] * p)
        for delta, s in enumerate(integrals):
            re, im, error = row[delta]
            row[delta] = (
                re + ((s.re * q_re - s.im * q_im) >> shift),
                im + ((s.re * q_im + s.im * q_re) >> shift),
                error + ((size * s.error + 2 * (abs(s.re) + abs(s.im))) >> shift) + 4,
            )
    terms = {}
    for k, row in sums.items():
        turned = []
        for delta, (re, im, error) in enumerate(row):
            cosine, sine = table.cosines[k * delta % p], table.sines[k * delta % p]
            turned.append(
                (
                    (re * cosine - im * sine) >> TABLE_BITS,
                    (re * sine + im * cosine) >> TABLE_BITS,
                    error + ((abs(re) + abs(im)) >> (TABLE_BITS - 1)) + 3,
                )
            )
        terms[k] = turned
    cost.add("closed form", 12 * p * len(certificate.families))
    return ClosedForm(terms)


@dataclass(frozen=True, slots=True)
class Budget:
    """The terms of Theorem L, each an upper bound over all inputs, in lane units doubled.

    **Fields**

    - `quadrature`: by frequency, Theorem Q at the scale of the logits (the output angles are in it).
    - `profile`: by frequency, what the real neurons, the skip and the other families add to that error: the distance
      between the real sum minus its closed form and the pure cosines' sum minus theirs.
    - `other`: by output frequency that is no family's: all that is written there.
    - `band`: radii of the ReLU lemma. `output`: half the neurons' rests. `skip`: half the skips' rests.
    """

    quadrature: dict[int, int]
    profile: dict[int, int]
    other: dict[int, int]
    band: int
    output: int
    skip: int


@dataclass(frozen=True, slots=True)
class Logits:
    """Theorems L and A for the fixed-point circuit.

    **Fields**

    - `margins[a][b]`: lower bound of logit_{a+b} minus every other logit, in units of 2^-(scale − drop + 1 + 30).
    - `max_error`: upper bound, over all inputs and c < p, of |logit_c − μ(a,b) − closed form|, in units of 2^-(scale
      − drop + 1).
    - `naive`: the same if the quadrature bound were the naive 4/(3π) at every frequency.
    - `network`: by family frequency, upper bound over all inputs of |R_k − G_k| plus its radius, in units of 2^-(scale
      − drop + 1): how far the network itself, at that frequency, is from the closed form.
    """

    margins: list[list[int]]
    max_error: int
    budget: Budget
    naive: int
    network: dict[int, int]


def logits(
    arc: ArcSums,
    rules: Sequence[Quadrature],
    form: ClosedForm,
    circuit: Circuit,
    certificate: Certificate,
    needed: int,
    cost: Cost,
    observe: Observer,
) -> Logits:
    """Theorems L and A by the linear pass, one δ at a time; a margin counts when it is above `needed`."""
    p, frequencies = circuit.p, certificate.output_frequencies
    toward = directions(p, frequencies)
    margins = [[0] * p for _ in range(p)]
    terms = _Terms(rules, form, frequencies, p)
    beyond = circuit.outputs > p
    evaluations = 0
    for delta in range(p):
        if delta % 16 == 0:
            observe("margins", delta, p)
        inputs = columns_at(arc, frequencies, delta)
        found, evaluated = _margins(inputs, toward, certificate.critical_offsets, beyond, needed)
        for b, margin in enumerate(found):
            margins[(b + delta) % p][b] = margin
        evaluations += 1 + evaluated
        terms.add(inputs, delta)
    observe("margins", p, p)
    count = len(frequencies)
    cost.add("rotation", 8 * p * p * count)
    cost.add("centres", 4 * p * p * count)
    cost.add("margins", evaluations * p * (3 * count + 1))
    cost.add("closed form", 8 * p * p * count)
    return Logits(margins, *terms.result(arc.skip_rest), terms.network)


def _margins(inputs: Inputs, toward: Directions, critical: int, beyond: bool, needed: int) -> tuple[list[int], int]:
    """Theorem A for one δ: branch and bound over the output offsets d.

    A disc around a centre bounds the margin of every d at once. The d with the least bounds are then evaluated at every
    input, until the next bound is above `needed` and above the least margin found, or `critical` have been. Returns
    the margin of each input, in units of 2^-30 of the inputs' units, and how many d were evaluated.
    """
    turned, radii, count = inputs.turned, inputs.radii, len(inputs.rest)
    centre = [(low + high) >> 1 for low, high in inputs.ranges]
    discs = []
    for j, radius in enumerate(radii):
        x, y = centre[2 * j], centre[2 * j + 1]
        most = max(
            [(re - x) * (re - x) + (im - y) * (im - y) for re, im in zip(*turned[2 * j : 2 * j + 2], strict=True)]
        )
        discs.append(isqrt(most) + 1 + max(radius))
    tail = (max(inputs.rest) << TABLE_BITS) + sum(map(abs, centre))
    # Lanes: at most 3·64 products of less than 2^63 and 2^32.
    values = unpack_wide(sum(map(mul, [*centre, *discs], toward.packed)), len(toward.rows))
    bounds = nsmallest(critical + 1, zip(values, range(len(values)), strict=True))
    found = _beyond_margins(inputs) if beyond else [UNBOUNDED] * count
    vectors: list[int] = []
    tails: list[int] = []
    for evaluated, (value, d) in enumerate(bounds):
        bound = value - tail
        enough = evaluated > 0 and bound > needed and bound >= min(found)
        if enough or evaluated == critical:
            return [y if y < bound else bound for y in found], evaluated
        if not vectors:
            vectors = [pack_wide(column) for column in chain(turned, radii)]
            tails = _tails(inputs)
        margins = unpack_wide(sum(map(mul, vectors, toward.rows[d])), count)
        found = list(map(min, found, map(sub, margins, tails)))
    return found, len(bounds)


def _tails(inputs: Inputs) -> list[int]:
    """η in units of 2^-30, plus the error of the directions: at most Σ|re| + |im|, each the largest of the δ."""
    size = sum(max(high, -low) for low, high in inputs.ranges)
    return [(rest << TABLE_BITS) + size for rest in inputs.rest]


def _beyond_margins(inputs: Inputs) -> list[int]:
    """Lower bound of the margin against the outputs c >= p, at every input: Σ_j Re R_j − radii + over."""
    reals = map(sum, zip(*inputs.turned[::2], strict=True))
    radii = map(sum, zip(*inputs.radii, strict=True))
    return [(x - r + 2 * over) << TABLE_BITS for x, r, over in zip(reals, radii, inputs.over, strict=True)]


def _vector(x: Input) -> list[int]:
    return [*x.turned, *x.radii, (x.rest << TABLE_BITS) + sum(map(abs, x.turned))]


def _beyond_margin(x: Input) -> int:
    """Lower bound of the margin against the outputs c >= p: Σ_j Re R_j − radii + over."""
    return (sum(x.turned[::2]) - sum(x.radii) + 2 * x.over) << TABLE_BITS


def full_margin(x: Input, rows: Sequence[Sequence[int]], beyond: bool) -> int:
    """Theorem A for one input with every output offset evaluated (refinement, first stage); units as in `_margins`."""
    vector = _vector(x)
    least: int = min(sum(map(mul, vector, row)) for row in rows)
    return min(least, _beyond_margin(x)) if beyond else least


class _Terms:
    """The terms of Theorem L, collected one δ at a time.

    At each family frequency the real sum R is compared with the closed form G; and with what the pure cosine would
    give: its finite sum, 2|cos πkδ/p| times the lens, and its integral. R − G = (finite − integral) + the rest, which
    is `profile`.
    """

    def __init__(self, rules: Sequence[Quadrature], form: ClosedForm, frequencies: tuple[int, ...], p: int) -> None:
        self.rules = {rule.frequency: rule for rule in rules}
        self.form = form
        self.frequencies = frequencies
        self.p = p
        self.profile = dict.fromkeys(self.rules, 0)
        self.network = dict.fromkeys(self.rules, 0)
        self.other = {j: 0 for j in frequencies if j not in self.rules}
        self.band = self.rest = self.direct = 0
        self.errors = {k: (_lens_errors(rule, p, 0), _lens_errors(rule, p, p)) for k, rule in self.rules.items()}
        self.slack = {k: _lens_slack(rule) for k, rule in self.rules.items()}

    def add(self, inputs: Inputs, delta: int) -> None:
        band = list(map(sum, zip(*inputs.radii, strict=True)))
        half = [(x + 1) >> 1 for x in inputs.rest]
        whole, errors = list(map(add, band, half)), 0
        for index, j in enumerate(self.frequencies):
            re, im = inputs.turned[2 * index], inputs.turned[2 * index + 1]
            if j in self.rules:
                form_re, form_im, error = self.form.terms[j][delta]
                re, im = [x - form_re for x in re], [y - form_im for y in im]
                pure_re, pure_im = self._pure_errors(j, delta)
                most = max(
                    [(x - u) * (x - u) + (y - v) * (y - v) for x, y, u, v in zip(re, im, pure_re, pure_im, strict=True)]
                )
                self.profile[j] = max(self.profile[j], isqrt(most) + 1 + self.slack[j] + error)
                sizes = abs_bounds(re, im)
                self.network[j] = max(self.network[j], max(map(add, sizes, inputs.radii[index])) + error)
                errors += error
            else:
                sizes = abs_bounds(re, im)
                self.other[j] = max(self.other[j], max(sizes))
            whole = list(map(add, whole, sizes))
        self.band = max(self.band, max(band))
        self.rest = max(self.rest, max(half))
        self.direct = max(self.direct, max(whole) + errors)

    def _pure_errors(self, k: int, delta: int) -> tuple[list[int], list[int]]:
        """Twice 2|cos πk(a − b)/p| times (lens − integral), re and im, for all inputs of δ, in order of b.

        a + b = 2b + δ and a − b = δ while b < p − δ; then a wraps around and both are p less.
        """
        p, table = self.p, circle(2 * self.p)
        result: tuple[list[int], list[int]] = ([], [])
        for difference, span in ((delta, slice(delta, 2 * p - delta, 2)), (delta - p, slice(p - delta, p + delta, 2))):
            # Where the cosine vanishes (p even) either sign will do; elsewhere it is far above the table's unit.
            wave = table.cosines[k * difference % (2 * p)]
            re, im = self.errors[k][wave < 0]
            wave = 4 * abs(wave)
            result[0].extend([wave * x >> TABLE_BITS for x in re[span]])
            result[1].extend([wave * x >> TABLE_BITS for x in im[span]])
        return result

    def result(self, skip_rest: tuple[int, int]) -> tuple[int, Budget, int]:
        """Theorem L: the direct maximum, its terms, and the naive comparison.

        A logit's own error is half of each range, because μ may hold the middle. Units are doubled, so half a rest is
        a rest.
        """
        quadrature, naive = {}, 0
        for k, rule in self.rules.items():
            # 2|cos| <= 2 times the rule's error W·E/2π, doubled; 2π > 6.28, and E = 4/3π with 6π² > 59.21 for the
            # naive bound.
            quadrature[k] = (400 * rule.weight * rule.bound // (628 << BOUND_BITS)) + 1
            naive += 1600 * rule.weight // 5921 + 1
        # At every input the rest is that of the neurons plus that of the skips, which lies between the two given.
        budget = Budget(quadrature, self.profile, self.other, self.band, self.rest - skip_rest[0], skip_rest[1])
        rest = sum(self.profile.values()) + sum(self.other.values()) + self.band + self.rest
        summed = sum(quadrature.values()) + rest
        return min(self.direct, summed), budget, naive + rest


def _lens_errors(rule: Quadrature, p: int, start: int) -> tuple[list[int], list[int]]:
    """Lens minus integral at v = (k·m + start)/2p for m = a + b = 0..2p, re and im."""
    places = [(rule.frequency * m + start) % (2 * p) for m in range(2 * p + 1)]
    re = [rule.lens[place][0] - rule.integral[0] for place in places]
    im = [rule.lens[place][1] - rule.integral[1] for place in places]
    return re, im


def _lens_slack(rule: Quadrature) -> int:
    """Bounds how far each pair of `_pure_errors` is from its exact value."""
    far = max(abs(re - rule.integral[0]) + abs(im - rule.integral[1]) for re, im in rule.lens)
    return (far >> (TABLE_BITS - 2)) + 16
