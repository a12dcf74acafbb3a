"""Theorems L and A: every logit near a closed form, and the margin of every input (docs/theory.md §4, §5).

The sums of `arcs` are taken one offset δ = a − b at a time. For each input C_j is turned by e(j(a + b)/p) into
R_j(b), which depends on b only as far as the quadrature is not exact; a centre G_j(δ) with a radius therefore serves
all b of a δ. All numbers are integers in units of 2^-(scale − drop + 1): the sums come doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from math import isqrt
from operator import mul

from verifier.kernel.arcs import MID_BITS, ArcSums, abs_bound
from verifier.kernel.certificate import Certificate
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.quadrature import BOUND_BITS, Quadrature
from verifier.kernel.tables import circle

ONE = 1 << TABLE_BITS


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
class Directions:
    """Row d: what Σ_j Re[R_j(1 − e(jd/p))] − Σ_j |1 − e(jd/p)|·radius_j − tail is as one dot product, in units of
    2^-30.
    """

    rows: tuple[tuple[int, ...], ...]


@cache
def directions(p: int, frequencies: tuple[int, ...]) -> Directions:
    """Rows for d = 1..p−1 over (re, im) pairs, then radii, then the tail. Entries are off by at most one unit."""
    table = circle(p)
    rows = []
    for d in range(1, p):
        points = [(ONE - table.cosines[j * d % p], table.sines[j * d % p]) for j in frequencies]
        sizes = (-isqrt((x + 1) * (x + 1) + (abs(y) + 1) * (abs(y) + 1)) - 1 for x, y in points)
        rows.append((*chain.from_iterable(points), *sizes, -1))
    return Directions(tuple(rows))


def inputs_at(arc: ArcSums, frequencies: tuple[int, ...], delta: int) -> list[Input]:
    """All inputs of one δ, in order of b.

    R_j = C_j·e(j(2b + δ)/p); the table's error, at most (|re| + |im|)·2^-30 and the rounding, joins the radius.
    """
    p, count = arc.sums.p, len(frequencies)
    table = circle(p)
    result = []
    for b, lanes in enumerate(arc.sums.at_offset(delta)):
        turned, radii = [], []
        place = 2 * b + delta
        for index, j in enumerate(frequencies):
            re, im = lanes[2 * index], lanes[2 * index + 1]
            m = j * place % p
            cosine, sine = table.cosines[m], table.sines[m]
            turned.append((re * cosine - im * sine) >> TABLE_BITS)
            turned.append((re * sine + im * cosine) >> TABLE_BITS)
            radii.append(lanes[2 * count + index] + ((abs(re) + abs(im)) >> (TABLE_BITS - 1)) + 3)
        over = lanes[3 * count + 1] if len(lanes) > 3 * count + 1 else 0
        result.append(Input(turned, radii, 2 * lanes[3 * count], over))
    return result


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The closed form Σ_k Re[G_k(δ)·e(k(c − a − b)/p)] over the families' frequencies.

    G_k(δ) = e(kδ/p)·Σ_g Q_g·∫ReLU(T_{g,δ}(x))·e(2x)dx: every family's own profile, integrated, times its moment Q_−2.
    `terms[k][δ]` is (re, im, error): the error bounds the distance of the two integers from twice the exact value.
    """

    terms: dict[int, list[tuple[int, int, int]]]


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
    """

    margins: list[list[int]]
    max_error: int
    budget: Budget
    naive: int


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
    rows = directions(p, frequencies).rows
    margins = [[0] * p for _ in range(p)]
    terms = _Terms(rules, form, frequencies, p)
    beyond = circuit.outputs > p
    evaluations = 0
    for delta in range(p):
        if delta % 16 == 0:
            observe("margins", delta, p)
        inputs = inputs_at(arc, frequencies, delta)
        found, evaluated = _margins(inputs, rows, certificate.critical_offsets, beyond, needed)
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
    return Logits(margins, *terms.result(arc.skip_rest))


def _margins(
    inputs: list[Input], rows: Sequence[Sequence[int]], critical: int, beyond: bool, needed: int
) -> tuple[list[int], int]:
    """Theorem A for one δ: branch and bound over the output offsets d.

    A disc around a centre bounds the margin of every d at once. The d with the least bounds are then evaluated at every
    input, until the next bound is above `needed` and above the least margin found, or `critical` have been. Returns
    the margin of each input, in units of 2^-30 of the inputs' units, and how many d were evaluated.
    """
    width = len(inputs[0].turned)
    columns = list(zip(*(x.turned for x in inputs), strict=True))
    centre = [(max(column) + min(column)) >> 1 for column in columns]
    discs = []
    for j in range(0, width, 2):
        x, y = centre[j], centre[j + 1]
        squares = ((re - x) * (re - x) + (im - y) * (im - y) for re, im in zip(columns[j], columns[j + 1], strict=True))
        discs.append(isqrt(max(squares)) + 1 + max(x.radii[j // 2] for x in inputs))
    tail = (max(x.rest for x in inputs) << TABLE_BITS) + sum(map(abs, centre))
    vector = [*centre, *discs, tail]
    bounds = sorted((sum(map(mul, vector, row)), d) for d, row in enumerate(rows))
    vectors = [_vector(x) for x in inputs]
    # Without outputs beyond p nothing bounds a margin from above yet: start above every bound there is.
    top = bounds[-1][0]
    found = [_beyond_margin(x) if beyond else max(top, needed) + 1 for x in inputs]
    evaluated = 0
    for bound, d in bounds:
        enough = evaluated > 0 and bound > needed and bound >= min(found)
        if enough or evaluated == critical:
            return [min(bound, y) for y in found], evaluated
        row = rows[d]
        found = [min(y, sum(map(mul, vector, row))) for y, vector in zip(found, vectors, strict=True)]
        evaluated += 1
    return found, evaluated


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
        self.other = {j: 0 for j in frequencies if j not in self.rules}
        self.band = self.rest = self.direct = 0

    def add(self, inputs: list[Input], delta: int) -> None:
        for b, x in enumerate(inputs):
            a = (b + delta) % self.p
            distance = 0
            for index, j in enumerate(self.frequencies):
                re, im = x.turned[2 * index], x.turned[2 * index + 1]
                if j in self.rules:
                    form_re, form_im, error = self.form.terms[j][delta]
                    re, im = re - form_re, im - form_im
                    distance += abs_bound(re, im) + error
                    pure_re, pure_im, slack = self._pure_error(j, a, b)
                    rest = abs_bound(re - pure_re, im - pure_im) + error + slack
                    self.profile[j] = max(self.profile[j], rest)
                else:
                    size = abs_bound(re, im)
                    self.other[j] = max(self.other[j], size)
                    distance += size
            band = sum(x.radii)
            half = (x.rest + 1) >> 1
            self.band = max(self.band, band)
            self.rest = max(self.rest, half)
            self.direct = max(self.direct, distance + band + half)

    def _pure_error(self, k: int, a: int, b: int) -> tuple[int, int, int]:
        """Twice 2|cos πk(a − b)/p| times (lens − integral), re and im, and a bound of the error of that pair."""
        p, rule, table = self.p, self.rules[k], circle(2 * self.p)
        # Where the cosine vanishes (p even) either sign will do; elsewhere it is far above the table's unit.
        wave = table.cosines[k * (a - b) % (2 * p)]
        at = k * (a + b) % (2 * p) if wave >= 0 else (k * (a + b) + p) % (2 * p)
        re = rule.lens[at][0] - rule.integral[0]
        im = rule.lens[at][1] - rule.integral[1]
        slack = ((abs(re) + abs(im)) >> (TABLE_BITS - 2)) + 16
        wave = 4 * abs(wave)
        return wave * re >> TABLE_BITS, wave * im >> TABLE_BITS, slack

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
