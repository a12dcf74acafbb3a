"""The closed form of the logits: every family's profile, integrated (Lemma I; docs/theory.md §5).

    μ(a, b) + Σ_j Re[G_j(a − b)·e(j(c − a − b)/p)],
    G_j(δ) = e(rkδ/p)·Q_{g,r}·∫₀¹ ReLU(T_{g,δ}(x))·e(2rx) dx, summed over the families g and r with r·k_g = j mod p

(a frequency above p/2 is p minus it, with the conjugate). Q_{g,r} = Σ_{i∈g} α_i·ω_{i,rk}·e(−2rφ_i). A certificate may
deform the waves: then Σ_j Re[G_j(a − b)·e(−j(a + b)/p)·(x_j[c] + i·y_j[c])] + x_0[c] is added, with its own x and y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from verifier.kernel import limits
from verifier.kernel.arrays import (
    SIGNIFICAND,
    Ints,
    exact_product,
    integers,
    largest,
    require_capacity,
    rounded,
    shifted,
    zeros,
)
from verifier.kernel.certificate import Certificate, Deformation, Family
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost
from verifier.kernel.limits import DIRECTION_BITS, PHASE_BITS, PROFILE_BITS, TABLE_BITS
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import PHASE_ERROR, TABLE_ERROR, phases, roots, series, times

ROOM = 3  # bits: logits, closed forms, rests and losses stay so far below 2^62 that differences of all of them fit
INTEGRAL_BITS = 30  # an integral is an integer multiple of 2^-30
WAVE_BITS = 21  # of the tables that products are formed with: one product in binary64 is then exact
MEAN_BITS = 26  # of the means that integrals are made of
COARSE = 64  # cells, at least, before any is divided
BLOCK = 1 << 22  # cells of profiles at a time


def fourier(rows: Ints, p: int, frequencies: Sequence[int]) -> tuple[Ints, Ints, int]:
    """(2/p)·Σ_{c<p} rows[c]·e(−jc/p) for every j and every row: real and imaginary parts [J, m] in the rows' unit, and
    an error of each as a complex number.

    The table is within one of its own units as a point (5 units of 2^-30 and two rounded parts), the sum of |rows|/p is
    at most the largest entry, and the quotient is rounded down in both parts.
    """
    places = -np.arange(p, dtype=np.int64)[:, None] * integers(frequencies)
    table = rounded(np.concatenate(roots(p, places), axis=1), TABLE_BITS - WAVE_BITS)
    sums = exact_product(rows[:, :p], table, "a Fourier coefficient")
    found = np.ascontiguousarray((2 * sums // (p << WAVE_BITS)).T)
    return found[: len(frequencies)], found[len(frequencies) :], (2 * largest(rows) >> WAVE_BITS) + 3


@dataclass(frozen=True, slots=True)
class Written:
    """ω of the neurons of one family, at r = 1..outputs times its frequency: real and imaginary parts [outputs, m],
    each point within `error`."""

    re: Ints
    im: Ints
    error: int


def written(circuit: Circuit, certificate: Certificate, cost: Cost) -> list[Written]:
    """By family."""
    found = []
    for family in certificate.families:
        multiples = [r * family.frequency % circuit.p for r in range(1, family.outputs + 1)]
        found.append(Written(*fourier(circuit.out[family.neurons], circuit.p, multiples)))
        cost.add("written", 4 * len(family.neurons) * circuit.p * family.outputs)
    return found


def size_bound(re: Ints, im: Ints) -> Ints:
    """Upper bounds of |re + i·im|, at most 9 % above: the greater part plus (√2 − 1) times the lesser."""
    x, y = np.abs(re), np.abs(im)
    bound: Ints = np.maximum(x, y) + ((np.minimum(x, y) * 107 + 255) >> 8)
    return bound


@dataclass(frozen=True, slots=True)
class Points:
    """Complex numbers by δ, and by how much each may be off: integers [p] in one unit."""

    re: Ints
    im: Ints
    error: Ints


def _means(active: NDArray[np.bool_], top: int) -> tuple[Ints, Ints, Ints]:
    """By row, D_m = (1/N)·Σ e(mx) over the middles x of its active cells, m = 0..top: real and imaginary parts
    [top + 1, rows], 2^MEAN_BITS being one; and by row how far each may be off as a point.

    The middles of the cells from i to before j make a geometric series, Σ e(mx) = (e(mj/N) − e(mi/N))/2i·sin(πm/N).
    Premise: top <= N/4, so that a factor 1/2N·sin(πm/N) is below 1/6. A mean is at most 1, a mean over a factor at most
    2πm: no product below is above 2^61.
    """
    rows, nodes = active.shape
    row, place = np.divmod(np.flatnonzero(active != np.roll(active, 1, axis=1)), nodes)
    changes = np.bincount(row, minlength=rows).astype(np.int64)
    m, ends = np.arange(1, top + 1, dtype=np.int64)[:, None], np.cumsum(changes, dtype=np.int64)
    signs = 1 - 2 * active[row, place].astype(np.int64)  # −1 where a run starts, 1 where one ends
    parts, sums = np.concatenate([place[None, :], *roots(nodes, m * place)]), zeros(2 * top + 1, len(place) + 1)
    np.cumsum(signs * parts, axis=1, dtype=np.int64, out=sums[:, 1:])
    sums = sums[:, ends] - sums[:, ends - changes]
    shares = (sums[:1] + nodes * active[:, -1] << MEAN_BITS) // nodes
    x, y = rounded(sums[1:].reshape(2, top, rows) * series(top, nodes)[:, None], 2 * TABLE_BITS - MEAN_BITS)
    off = ((TABLE_ERROR * changes + 7 * top) >> TABLE_BITS - MEAN_BITS) + 2
    return np.concatenate([shares, y]), np.concatenate([zeros(1, rows), -x]), off


def integrate(families: Sequence[Family], p: int, nodes: int, cost: Cost) -> list[list[Points]]:
    """Lemma I: by family and r, ∫ReLU(T_δ)·e(2rx) dx in units of 2^-30, by the midpoint rule on N cells of width 1/N.

    On cells where T keeps its sign |f″| <= (2π)²(4r²|d| + Σ(h + 2r)²|u_h|), f = ReLU(T)·e(2rx), and the rule errs by at
    most max|f″|/24N² on average; (2π)²/24 < 5/3. A cell may hold a root only if |T| <= τ at its middle,
    τ = (π/N)·Σ h|u_h| (355/113 > π): a *rough* cell. There 0 <= ReLU(T) <= 2τ and
    |f′| <= |T′(middle)| + max|T″|/2N + 8πrτ, and the cell's integral errs by at most max|f′|/4N²: in all
    (11/7)·Σ|t′|/N² + 5·Σ(h² + 4rh)|u_h|/N³ for each rough cell, t′ = T′/2π at its middle.

    Where |T| > w·τ in the middle of w cells, |T| > τ at the middle of each: only the others are looked at one by one.
    The rule is then (1/N)·Σ T(x)·e(2rx) over the middles of the active cells, a sum of `_means`.
    """
    if not families:
        return []
    most, outputs, count = max(len(x.profile) for x in families), max(x.outputs for x in families), len(families) * p
    profiles = zeros(4, len(families), 1, most)
    for index, family in enumerate(families):
        profiles[:, index, 0, : len(family.profile)] = family.profile.T
    a_re, a_im, b_re, b_im = profiles
    h, r = np.arange(1, most + 1, dtype=np.int64), np.arange(1, outputs + 1, dtype=np.int64)[:, None]
    steps = integers([x.frequency for x in families])[:, None, None] * np.arange(p, dtype=np.int64)[:, None] * h
    cosines, sines = roots(p, steps)
    u_re = (rounded(a_re * cosines - a_im * sines, TABLE_BITS) + b_re).reshape(count, most)
    u_im = (rounded(a_re * sines + a_im * cosines, TABLE_BITS) + b_im).reshape(count, most)
    dc, harmonics = (np.repeat(integers(x), p) for x in ([x.dc for x in families], [len(x.profile) for x in families]))
    sizes = size_bound(u_re, u_im)
    # No expression below is larger: |u| < 2^29, and the sums of its factors are below 2^11.
    factors = int(((h + 2 * outputs) ** 2).sum(dtype=np.int64)) + 2 * most * most
    require_capacity(704 * nodes * factors * (largest(sizes) + 1), "the error of an integral")
    total, steep = sizes.sum(axis=1, dtype=np.int64), (sizes * h).sum(axis=1, dtype=np.int64)
    # Of T in its unit: the waves', and what turning every u changes.
    turning = harmonics * (1 + (TABLE_ERROR * 6 * limits.PROFILE >> TABLE_BITS))
    t_error = total + (turning << WAVE_BITS + 1)
    width = nodes // COARSE
    coarse = width * np.arange(1, 2 * -(-nodes // width), 2, dtype=np.int64)
    # Conjugates, so that one product is the real part: Re(u·e(hx)).
    u = np.concatenate([u_re, -u_im], axis=1)
    waves, near = (
        np.concatenate([rounded(part, TABLE_BITS - WAVE_BITS) for part in roots(2 * nodes, h[:, None] * places)])
        for places in (coarse, np.arange(1 - width, width, 2, dtype=np.int64))
    )
    turns = roots(2 * nodes, -h * coarse[:, None])
    edges = [((355 * steep * cells // (113 * nodes) + 1) << WAVE_BITS) + t_error for cells in (width, 1)]
    rough, tilt, means = zeros(count), zeros(count), []
    for start in range(0, count, max(1, BLOCK // nodes)):
        now = slice(start, start + max(1, BLOCK // nodes))
        own, level = u[now], dc[now, None] << WAVE_BITS
        values = exact_product(own, waves, "a profile") + level
        row, at = np.nonzero(np.abs(values) <= edges[0][now, None])
        x, y = times((own[row, :most], own[row, most:]), (turns[0][at], turns[1][at]))
        fine = exact_product(np.concatenate([x, y], axis=1), near, "a profile") + level[row]
        active = np.repeat(values[:, :, None] > 0, width, axis=2)
        active[row, at] = fine > 0
        pair, place = np.divmod(np.flatnonzero(np.abs(fine) <= edges[1][now][row, None]), width)
        slopes = (np.concatenate([h * y, -h * x], axis=1)[pair] * near.T[place]).sum(axis=1, dtype=np.int64)
        np.add.at(rough[now], row[pair], 1)
        np.add.at(tilt[now], row[pair], np.abs(slopes) >> WAVE_BITS)
        means.append(_means(np.ascontiguousarray(active.reshape(len(values), -1)[:, :nodes]), 2 * outputs + most))
        cost.add("integrals", (values.size + fine.size) * (2 * most + 1) + len(values) * (nodes + 8 * most * outputs))
    d_re, d_im, off = (np.concatenate(part, axis=-1) for part in zip(*means, strict=True))
    low, high, sign = np.abs(2 * r - h), 2 * r + h, np.sign(2 * r - h)[:, :, None]  # [R, H]; means of −m are conjugate
    back = sign * d_im[low]
    re = (u_re.T * (d_re[high] + d_re[low]) - u_im.T * (d_im[high] - back)).sum(axis=1, dtype=np.int64)
    im = (u_re.T * (d_im[high] + back) + u_im.T * (d_re[high] - d_re[low])).sum(axis=1, dtype=np.int64)
    scale, lost = INTEGRAL_BITS - PROFILE_BITS, PROFILE_BITS + MEAN_BITS - INTEGRAL_BITS
    whole = 2 * dc * np.stack([d_re, d_im])[:, 2 * r[:, 0]]
    re, im = rounded(np.stack([re, im]) + whole, lost + 1).reshape(2, outputs, -1, p)
    curve = 4 * r * r * np.abs(dc) + (sizes * ((h + 2 * r) ** 2)[:, None, :]).sum(axis=2, dtype=np.int64)
    bends = (sizes * (h * h + 4 * r * h)[:, None, :]).sum(axis=2, dtype=np.int64)
    tilt += rough * (turning * most + (steep >> WAVE_BITS) + 2)  # Σ|t′| in units of 2^-24: turning's share, the waves'
    error = (5 * curve << scale) // (3 * nodes**2) + (11 * tilt << scale) // (7 * nodes**2)
    # Of u: rounding and its table. A cell that is wrongly taken as active or idle is rough, and |T| <= t_error there.
    of_u = harmonics * (1 + (TABLE_ERROR * 3 * limits.PROFILE >> TABLE_BITS)) << scale
    of_sign = (t_error * rough >> PROFILE_BITS + WAVE_BITS - INTEGRAL_BITS) // nodes
    error += (5 * bends * rough << scale) // nodes**3 + of_u + of_sign + ((np.abs(dc) + total) * off >> lost) + 7
    error = error.reshape(outputs, -1, p)
    return [
        [Points(re[r, index], im[r, index], error[r, index]) for r in range(family.outputs)]
        for index, family in enumerate(families)
    ]


@dataclass(frozen=True, slots=True)
class Added:
    """What a deformation adds to the closed form, made ready for exact products.

    **Fields**

    - `re`, `im` [p, J]: G_j(δ) in units of 2^`shift`. `waves` [2J, p]: the x_j and the −y_j, in units of 2^-20.
    - `constant` [p]: x_0. `errors` [p]: by δ, how far an entry of `at` may be from the truth. In logit units.
    """

    frequencies: Ints
    re: Ints
    im: Ints
    waves: Ints
    shift: int
    constant: Ints
    errors: Ints

    def at(self, t: Ints, delta: Ints) -> Ints:
        """By t, row of `delta` and c: [T, m, p] in logit units."""
        cosines, sines = (part[:, None] for part in roots(len(self.constant), t[:, None] * self.frequencies))
        re, im = self.re[delta], self.im[delta]
        turned = (re * cosines + im * sines, im * cosines - re * sines)  # G·e(−jt/p)
        parts = np.concatenate([rounded(part, TABLE_BITS) for part in turned], axis=2)
        product = exact_product(parts, self.waves, "a deformation")
        return shifted(product, self.shift - DIRECTION_BITS) + self.constant


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The closed form's coefficients G_j(δ), by frequency, in units of 2^`exponent` logits; and its `deformation`."""

    p: int
    exponent: int
    terms: dict[int, Points]
    deformation: Deformation | None = None

    def amplitude(self, frequency: int) -> int:
        """A lower bound of the largest |G_j(δ)|, and 0 if none is known."""
        term = self.terms[frequency]
        shift = max(0, max(largest(term.re), largest(term.im)).bit_length() - 30)
        at = int(((term.re >> shift) ** 2 + (term.im >> shift) ** 2).argmax())  # any δ gives a bound
        x, y, e = (int(part[at]) for part in (term.re, term.im, term.error))
        return max(0, isqrt(x * x + y * y) - e)

    def table(self) -> tuple[Ints, Ints]:
        """[δ, d]: Σ_j Re[G_j(δ)·e(jd/p)], and by δ how far that may be from the closed form's exact value.

        Each G is first rounded to so many bits that the product fits.
        """
        p, terms = self.p, list(self.terms.values())
        if not terms:
            return zeros(p, p), zeros(p)
        parts = np.stack([part for term in terms for part in (term.re, term.im)], axis=1)
        most, off = largest(parts), sum(largest(term.error) for term in terms)
        keep = 59 - TABLE_BITS - (2 * len(terms)).bit_length()
        shift = max(0, most.bit_length() - keep)
        # Per term: rounding G (less than one coarse unit as a point), the table; once, the rounded product.
        more = len(terms) * ((1 << shift) + (TABLE_ERROR * 2 * most >> TABLE_BITS) + 1) + (1 << shift)
        require_capacity((2 * len(terms) * most + off + more) << ROOM, "the closed form")
        cosines, sines = roots(p, integers(list(self.terms))[:, None] * np.arange(p, dtype=np.int64))
        waves = np.stack([cosines, -sines], axis=1).reshape(-1, p)
        product = exact_product(rounded(parts, shift), waves, "the closed form")
        error: Ints = np.stack([term.error for term in terms]).sum(axis=0, dtype=np.int64)
        return rounded(product, TABLE_BITS) << shift, error + np.int64(more)

    def added(self) -> Added | None:
        """What the deformation adds.

        **Raises** `Rejected(CAPACITY)`.
        """
        if self.deformation is None:
            return None
        waves, count = self.deformation.waves, len(self.deformation.waves)
        constant = shifted(self.deformation.constant, self.deformation.exponent - self.exponent)
        terms = [self.terms[j] for j in waves]
        re, im, errors = (
            np.array([getattr(term, name) for term in terms], dtype=np.int64).reshape(count, self.p).T
            for name in ("re", "im", "error")
        )
        rows = np.array([*waves.values()], dtype=np.int64).reshape(count, 2, self.p)
        coarse = DIRECTION_BITS >> 1  # of the bits of waves, where only their sizes count
        sizes = -(-size_bound(rows[:, 0], rows[:, 1]).max(axis=1) >> coarse)
        # To so many bits that one product in binary64 is exact, and a turned G fits.
        most, keep = max(largest(re), largest(im)), SIGNIFICAND - largest(rows).bit_length() - (2 * count).bit_length()
        shift = max(0, most.bit_length() - min(keep, 29))
        # Of a turned G, as a point: rounding it twice (less than one coarse unit each), and the table.
        more = (2 << shift) + (TABLE_ERROR * 2 * most >> TABLE_BITS) + 1
        require_capacity((largest(errors) + more) * sum(sizes.tolist()), "a deformation")
        off = 2 - (-((errors + np.int64(more)) * sizes).sum(axis=1, dtype=np.int64) >> coarse)
        greatest = size_bound(re, im).max(axis=0).tolist()
        reach = sum(x * size for x, size in zip(greatest, sizes.tolist(), strict=True)) >> coarse
        require_capacity((reach + largest(constant) + largest(off)) << ROOM, "a deformation")
        table = np.concatenate([rows[:, 0], -rows[:, 1]])
        frequencies = integers(list(waves))
        return Added(frequencies, rounded(re, shift), rounded(im, shift), table, shift, constant, off)


def closed_form(
    circuit: Circuit, certificate: Certificate, outputs: Sequence[Written], exponent: int, cost: Cost
) -> ClosedForm:
    """The closed form that the certificate's families make, in units of 2^`exponent` logits; `outputs` by family.

    **Raises** `Rejected(CAPACITY)`.
    """
    p, families = circuit.p, certificate.families
    work = sum(len(family.profile) + family.outputs for family in families) * p * certificate.nodes
    require(work <= limits.PROFILE_WORK, Reason.SIZE, f"certificate: {work} values of profiles")
    unit = certificate.amplitude_exponent - circuit.out_scale - INTEGRAL_BITS - exponent
    found: dict[int, Points] = {}
    for family, own, integrals in zip(families, outputs, integrate(families, p, certificate.nodes, cost), strict=True):
        for r, points in enumerate(integrals, start=1):
            j = r * family.frequency % p
            term = _term(points, _moment(own, family, r), roots(p, j * np.arange(p, dtype=np.int64)), unit)
            if 2 * j > p:
                j, term = p - j, Points(term.re, -term.im, term.error)
            found[j] = _sum(found[j], term) if j in found else term
            cost.add("closed form", 4 * len(family.neurons) + 20 * p)
    cost.add("closed form", circuit.neurons)
    return ClosedForm(p, exponent, dict(sorted(found.items())), certificate.deformation)


def _sum(x: Points, y: Points) -> Points:
    parts = [(x.re, y.re), (x.im, y.im), (x.error, y.error)]
    require_capacity(max(largest(u) + largest(v) for u, v in parts), "the closed form")
    return Points(*(u + v for u, v in parts))


def _moment(own: Written, family: Family, r: int) -> tuple[int, int, int]:
    """Q_{g,r} = Σ α_i·ω_i·e(−2rφ_i) and its error, in units of the amplitudes times that of W."""
    omega = own.re[r - 1], own.im[r - 1]
    moments = times(omega, phases(-2 * r * family.phases & ((1 << PHASE_BITS) - 1)))
    error = own.error + (PHASE_ERROR * 2 * max(map(largest, omega)) >> TABLE_BITS) + 2
    high, low = family.amplitudes >> 16, family.amplitudes & 0xFFFF  # a product with x is below 2^45
    re, im = (((high * x).sum(dtype=np.int64).item() << 16) + (low * x).sum(dtype=np.int64).item() for x in moments)
    return re, im, error * sum(family.amplitudes.tolist())


def _term(integrals: Points, moment: tuple[int, int, int], turns: tuple[Ints, Ints], shift: int) -> Points:
    """e(jδ/p)·Q·I in units 2^-`shift` coarser than their product's, Q rounded to 30 bits or so that no product reaches
    2^61."""
    q_re, q_im, q_error = moment
    re, im, error = integrals.re, integrals.im, integrals.error
    top = max(map(largest, (re, im, error))).bit_length()
    drop = max(0, (max(abs(q_re), abs(q_im)) + q_error).bit_length() - min(30, 58 - top))
    q_re, q_im, q_error = (q_re + (1 << drop >> 1)) >> drop, (q_im + (1 << drop >> 1)) >> drop, -(-q_error >> drop) + 1
    x, y = times((integers(q_re), integers(q_im)), turns)
    q_error += (TABLE_ERROR * 2 * max(abs(q_re), abs(q_im)) >> TABLE_BITS) + 2
    size = isqrt(q_re * q_re + q_im * q_im) + 1 + q_error
    wide = q_error * (np.abs(re) + np.abs(im)) + size * error
    re, im = (shifted(part, shift + drop) for part in (x * re - y * im, x * im + y * re))
    return Points(re, im, 2 - shifted(-wide, shift + drop))
