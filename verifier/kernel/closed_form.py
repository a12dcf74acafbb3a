"""The closed form of the logits: every family's profile, integrated (Lemma I; docs/theory.md §5).

    μ(a, b) + Σ_j Re[G_j(a − b)·e(j(c − a − b)/p)],
    G_j(δ) = e(rkδ/p)·Q_{g,r}·∫₀¹ ReLU(T_{g,δ}(x))·e(2rx) dx, summed over the families g and r with r·k_g = j mod p

(a frequency above p/2 is p minus it, with the conjugate). Q_{g,r} = Σ_{i∈g} α_i·ω_{i,rk}·e(−2rφ_i).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from operator import mul

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import Ints, exact_product, largest, require_capacity, rounded, zeros
from verifier.kernel.certificate import Certificate, Family
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost
from verifier.kernel.limits import PHASE_BITS, PROFILE_BITS, TABLE_BITS
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import PHASE_ERROR, TABLE_ERROR, phases, roots

ROOM = 3  # bits: logits, closed forms, rests and losses stay so far below 2^62 that differences of all of them fit
INTEGRAL_BITS = 30  # an integral is an integer multiple of 2^-30
WAVE_BITS = 21  # of the tables that products are formed with: one product in binary64 is then exact


def fourier(rows: Ints, p: int, frequency: int) -> tuple[Ints, Ints, int]:
    """(2/p)·Σ_{c<p} rows[c]·e(−jc/p) for every row: real and imaginary parts in the rows' unit, and an error of each
    as a complex number.

    The table is within one of its own units as a point (5 units of 2^-30 and two rounded parts), the sum of |rows|/p is
    at most the largest entry, and the quotient is rounded down in both parts.
    """
    cosines, sines = roots(p, -frequency * np.arange(p, dtype=np.int64))
    table = rounded(np.stack([cosines, sines], axis=1), TABLE_BITS - WAVE_BITS)
    sums = exact_product(rows[:, :p], table, "a Fourier coefficient")
    found = 2 * sums // (p << WAVE_BITS)
    error = (2 * largest(rows) >> WAVE_BITS) + 3
    return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1]), error


@dataclass(frozen=True, slots=True)
class Integrals:
    """Lemma I for one family and one r: ∫ReLU(T_δ)·e(2rx)dx by δ, in units of 2^-30, each within `error` of the
    truth."""

    re: list[int]
    im: list[int]
    error: list[int]


def size_bound(re: Ints, im: Ints) -> Ints:
    """Upper bounds of |re + i·im|, at most 9 % above: the greater part plus (√2 − 1) times the lesser."""
    x, y = np.abs(re), np.abs(im)
    bound: Ints = np.maximum(x, y) + ((np.minimum(x, y) * 107 + 255) >> 8)
    return bound


def integrate(family: Family, p: int, nodes: int, cost: Cost) -> list[Integrals]:
    """Lemma I: the midpoint rule on N cells of width 1/N for f = ReLU(T)·e(2rx), r = 1..outputs.

    On cells where T keeps its sign |f″| <= (2π)²(4r²|d| + Σ(h + 2r)²|u_h|), and the rule errs by at most max|f″|/24N²
    on average; (2π)²/24 < 5/3. A cell may hold a root only if |T| <= τ at its middle, τ = (π/N)·Σ h|u_h|
    (355/113 > π): a *rough* cell. There 0 <= ReLU(T) <= 2τ and |f′| <= |T′(middle)| + max|T″|/2N + 8πrτ, and the cell's
    integral errs by at most max|f′|/4N²: in all (11/7)·Σ|t′|/N² + 5·Σ(h² + 4rh)|u_h|/N³ for each rough cell,
    t′ = T′/2π at its middle.
    """
    delta = np.arange(p, dtype=np.int64)
    harmonics = len(family.profile)
    h = np.arange(1, harmonics + 1, dtype=np.int64)
    a_re, a_im, b_re, b_im = family.profile.T
    cosines, sines = roots(p, family.frequency * delta[:, None] * h[None, :])
    u_re = rounded(a_re * cosines - a_im * sines, TABLE_BITS) + b_re
    u_im = rounded(a_re * sines + a_im * cosines, TABLE_BITS) + b_im
    sizes = size_bound(u_re, u_im)
    # Errors in units of 2^-24: of all u, their rounding and the table's. A wave is within one of its own units.
    u_error = harmonics * (1 + (TABLE_ERROR * 3 * limits.PROFILE >> TABLE_BITS))
    middles = np.arange(1, 2 * nodes, 2, dtype=np.int64)
    wave_re, wave_im = (rounded(part, TABLE_BITS - WAVE_BITS) for part in roots(2 * nodes, h[:, None] * middles))
    waves = np.concatenate([wave_re, -wave_im, np.full((1, nodes), 1 << WAVE_BITS, dtype=np.int64)])
    constant = np.full((p, 1), family.dc, dtype=np.int64)
    values = exact_product(np.concatenate([u_re, u_im, constant], axis=1), waves, "a profile")
    slope = (355 * (sizes * h).sum(axis=1) // (113 * nodes) + 1).tolist()  # τ, in units of 2^-24
    total = sizes.sum(axis=1).tolist()
    # To units in which the sum over the nodes fits.
    keep = 53 - WAVE_BITS - (nodes - 1).bit_length()
    shift = max(0, largest(values).bit_length() - keep)
    values += 1 << shift >> 1  # as `rounded`, in place: they came out of one product, below 2^53
    values >>= shift
    unit = PROFILE_BITS + WAVE_BITS - shift  # values are in units of 2^-unit
    t_error = [(((u_error << WAVE_BITS) + x) >> shift) + 2 for x in total]
    edges = [((x << WAVE_BITS) >> shift) + 1 + e for x, e in zip(slope, t_error, strict=True)]
    where, at = np.nonzero(np.abs(values) <= np.array(edges, dtype=np.int64)[:, None])
    cells = np.bincount(where, minlength=p).tolist()
    # Σ|t′| over the rough cells, in units of 2^-24; each t′ is off by its harmonics' share of the errors above.
    require_capacity(2 * harmonics * harmonics * largest(sizes) << WAVE_BITS, "a profile's slope")
    slopes = ((u_re * h)[where] * wave_im.T[at] + (u_im * h)[where] * wave_re.T[at]).sum(axis=1, dtype=np.int64)
    steepness = zeros(p)
    np.add.at(steepness, where, np.abs(slopes) >> WAVE_BITS)
    lost = [harmonics * u_error + (harmonics * x >> WAVE_BITS) + 2 for x in total]
    active = np.maximum(values, 0)
    most = active.max(axis=1).tolist()
    found = []
    for r in range(1, family.outputs + 1):
        wave = rounded(np.stack(roots(2 * nodes, 2 * r * middles), axis=1), TABLE_BITS - WAVE_BITS)
        sums = exact_product(active, wave, "an integral")
        divisor = nodes << (unit + WAVE_BITS - INTEGRAL_BITS)  # unit >= 13
        curve = (4 * r * r * abs(family.dc) + (sizes * (h + 2 * r) ** 2).sum(axis=1)).tolist()
        bends = (sizes * (h * h + 4 * r * h)).sum(axis=1).tolist()
        error = [
            # In units of 2^-30: the smooth cells and the rough ones, T's own error, and the wave's table.
            (5 * smooth << INTEGRAL_BITS - PROFILE_BITS) // (3 * nodes**2)
            + (11 * (tilt + count * more) << INTEGRAL_BITS - PROFILE_BITS) // (7 * nodes**2)
            + (5 * bend * count << INTEGRAL_BITS - PROFILE_BITS) // nodes**3
            + _in_units(e + ((2 * top >> WAVE_BITS) + 1), unit)
            + 7
            for smooth, bend, tilt, more, count, e, top in zip(
                curve, bends, steepness.tolist(), lost, cells, t_error, most, strict=True
            )
        ]
        re, im = (column.tolist() for column in (sums // divisor).T)
        found.append(Integrals(re, im, error))
    cost.add("integrals", p * nodes * (4 * harmonics + 5 + 2 * family.outputs))
    return found


def _in_units(value: int, unit: int) -> int:
    """value·2^-unit in units of 2^-30, rounded up."""
    shift = INTEGRAL_BITS - unit
    return value << shift if shift >= 0 else -(-value >> -shift)


@dataclass(frozen=True, slots=True)
class Term:
    """G_j(δ) for δ = 0..p−1: integers in the unit asked for, each point within `error` of the truth."""

    re: list[int]
    im: list[int]
    error: list[int]


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The closed form's coefficients, by frequency, in units of 2^`exponent` logits."""

    p: int
    exponent: int
    terms: dict[int, Term]

    def amplitude(self, frequency: int) -> int:
        """A lower bound of the largest |G_j(δ)|, and 0 if none is known."""
        term = self.terms[frequency]
        return max(0, *(isqrt(x * x + y * y) - e for x, y, e in zip(term.re, term.im, term.error, strict=True)))

    def table(self) -> tuple[Ints, list[int]]:
        """[δ, d]: Σ_j Re[G_j(δ)·e(jd/p)], and by δ how far that may be from the closed form's exact value.

        Each G is first rounded to so many bits that the product fits.
        """
        p, terms = self.p, list(self.terms.items())
        error = [sum(column) for column in zip(*(term.error for _, term in terms), strict=True)] or [0] * p
        if not terms:
            return zeros(p, p), error
        most = max(max(map(abs, part)) for _, term in terms for part in (term.re, term.im))
        keep = 59 - TABLE_BITS - (2 * len(terms)).bit_length()
        shift = max(0, most.bit_length() - keep)
        half = 1 << shift >> 1
        parts = [[x + half >> shift for x in part] for _, term in terms for part in (term.re, term.im)]
        waves = []
        for j, _ in terms:
            cosines, sines = roots(p, j * np.arange(p, dtype=np.int64))
            waves += [cosines, -sines]
        product = exact_product(np.array(parts, dtype=np.int64).T, np.stack(waves), "the closed form")
        # Per term: rounding G (less than one coarse unit as a point), the table; once, the rounded product.
        more = len(terms) * ((1 << shift) + (TABLE_ERROR * 2 * most >> TABLE_BITS) + 1) + (1 << shift)
        require_capacity((2 * len(terms) * most + max(error) + more) << ROOM, "the closed form")
        return rounded(product, TABLE_BITS) << shift, [x + more for x in error]


def closed_form(circuit: Circuit, certificate: Certificate, exponent: int, cost: Cost) -> ClosedForm:
    """The closed form that the certificate's families make, in units of 2^`exponent` logits.

    **Raises** `Rejected(CAPACITY)`.
    """
    p, n = circuit.p, circuit.neurons
    work = sum(len(family.profile) + family.outputs for family in certificate.families) * p * certificate.nodes
    require(work <= limits.PROFILE_WORK, Reason.SIZE, f"certificate: {work} values of profiles")
    found: dict[int, Term] = {}
    for family in certificate.families:
        own = circuit.out[family.neurons]
        for r, integrals in enumerate(integrate(family, p, certificate.nodes, cost), start=1):
            j = r * family.frequency % p
            q_re, q_im, q_error = _moment(own, family, p, j, r)
            term = _term(
                integrals, (q_re, q_im, q_error), roots(p, j * np.arange(p, dtype=np.int64)),
                certificate.amplitude_exponent - circuit.out_scale - INTEGRAL_BITS - exponent,
            )  # fmt: skip
            if 2 * j > p:
                j, term = p - j, Term(term.re, [-x for x in term.im], term.error)
            found[j] = _sum(found[j], term) if j in found else term
            cost.add("closed form", 4 * len(own) * p + 12 * p)
    cost.add("closed form", n)
    return ClosedForm(p, exponent, dict(sorted(found.items())))


def _sum(x: Term, y: Term) -> Term:
    return Term(
        *([u + v for u, v in zip(a, b, strict=True)] for a, b in ((x.re, y.re), (x.im, y.im), (x.error, y.error)))
    )


def _moment(own: Ints, family: Family, p: int, frequency: int, r: int) -> tuple[int, int, int]:
    """Q_{g,r} = Σ α_i·ω_i·e(−2rφ_i) and its error, in units of the amplitudes times that of W."""
    re, im, error = fourier(own, p, frequency)
    back_re, back_im = phases(-2 * r * family.phases & ((1 << PHASE_BITS) - 1))
    x = rounded(re * back_re - im * back_im, TABLE_BITS).tolist()
    y = rounded(re * back_im + im * back_re, TABLE_BITS).tolist()
    most = max(largest(re), largest(im))
    error += (PHASE_ERROR * 2 * most >> TABLE_BITS) + 2
    alpha = family.amplitudes.tolist()
    return sum(map(mul, alpha, x)), sum(map(mul, alpha, y)), error * sum(alpha)


def _term(integrals: Integrals, moment: tuple[int, int, int], turns: tuple[Ints, Ints], shift: int) -> Term:
    """e(jδ/p)·Q·I in units 2^-`shift` coarser than their product's."""
    q_re, q_im, q_error = moment
    q_size = isqrt(q_re * q_re + q_im * q_im) + 1 + q_error
    res, ims, errors = [], [], []
    rows = zip(integrals.re, integrals.im, integrals.error, turns[0].tolist(), turns[1].tolist(), strict=True)
    for re, im, error, cosine, sine in rows:
        x, y = q_re * re - q_im * im, q_re * im + q_im * re
        size = abs(re) + abs(im)
        wide = q_error * size + q_size * error + (TABLE_ERROR * 2 * q_size * (size + error) >> TABLE_BITS) + 1
        res.append(_scaled(x * cosine - y * sine, shift - TABLE_BITS))
        ims.append(_scaled(x * sine + y * cosine, shift - TABLE_BITS))
        errors.append(-_scaled(-wide, shift) + 2)
    return Term(res, ims, errors)


def _scaled(value: int, shift: int) -> int:
    return value << shift if shift >= 0 else value >> -shift
