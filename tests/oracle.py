"""Ground truth for the kernel's tests, sharing no code with the kernel: logits in exact integers, the closed form and
the quadrature rule in double precision from closed expressions, and the comparison with a conclusion.
"""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.strategies import ONE, PHASE, Case
from verifier.kernel import Checked, Rejected, check

LEEWAY = 1e-9  # of the oracle's own double precision, relative to the sizes that enter; the kernel gets none
Objects = NDArray[np.object_]


def integers(rows: Sequence[Sequence[float]]) -> tuple[Objects, int]:
    """The same numbers as Python integers in units of 2^-bits, exactly; and the bits."""
    ratios = [[x.as_integer_ratio() for x in row] for row in rows]
    bits = max((d.bit_length() - 1 for row in ratios for _, d in row), default=0)
    exact = [[n << bits >> (d.bit_length() - 1) for n, d in row] for row in ratios]
    return np.array(exact, dtype=object), bits


@dataclass(frozen=True)
class Truth:
    """`logits` [a, b, c] in units of 2^-bits, exactly, for c in 0..q−1."""

    p: int
    logits: Objects
    bits: int

    def margins(self) -> list[list[int]]:
        found = []
        for a, line in enumerate(self.logits.tolist()):
            row = []
            for b, values in enumerate(line):
                right = values.pop((a + b) % self.p)
                row.append(right - max(values))
            found.append(row)
        return found

    def floats(self) -> NDArray[np.float64]:
        """Relative to logit 0, rounded once: differences of huge logits keep their digits."""
        relative = self.logits - self.logits[:, :, :1]
        flat = [float(Fraction(x, 1 << self.bits)) for x in relative.ravel()]
        return np.array(flat, dtype=np.float64).reshape(relative.shape)


def truth(case: Case) -> Truth:
    """Every logit of every input, exactly."""
    (A, bits_a), (B, bits_b), (W, bits_w) = integers(case.A), integers(case.B), integers(case.W)
    (S1, bits_1), (S2, bits_2) = integers(case.S1), integers(case.S2)
    pre = max(bits_a, bits_b)
    bits = max(pre + bits_w, bits_1, bits_2)
    A, B, W = A << (pre - bits_a), B << (pre - bits_b), W << (bits - pre - bits_w)
    sums = (A[:, :, None] + B[:, None, :]).reshape(len(A), -1)
    hidden = np.where(sums > 0, sums, 0 * sums)
    logits = hidden.T.dot(W).reshape(case.p, case.p, -1)
    return Truth(case.p, logits + (S1 << (bits - bits_1))[:, None] + (S2 << (bits - bits_2))[None, :], bits)


def relu_integral(dc: float, harmonics: Sequence[complex], mode: int = 2) -> complex:
    """∫_0^1 ReLU(T(x))·e(mode·x) dx for T = dc + Σ_h Re(u_h·e(hx)): roots of a polynomial, then antiderivatives."""
    modes = {0: complex(dc)}
    for h, u in enumerate(harmonics, 1):
        modes[h], modes[-h] = u / 2, u.conjugate() / 2
    top = max((h for h in modes if modes[h] != 0), default=0)
    places = [0.0, 1.0]
    if top > 0:
        roots = np.roots([modes.get(m, 0) for m in range(top, -top - 1, -1)])
        places += [cmath.phase(z) / math.tau % 1 for z in roots if z != 0]
    places.sort()
    result = 0j
    for low, high in itertools.pairwise(places):
        middle = (low + high) / 2
        if sum((c * cmath.exp(2j * math.pi * m * middle)).real for m, c in modes.items()) <= 0:
            continue
        for m, c in modes.items():
            k = 2j * math.pi * (m + mode)
            result += c * ((cmath.exp(k * high) - cmath.exp(k * low)) / k if m != -mode else high - low)
    return result


def omega(case: Case, neurons: Sequence[int], frequency: int) -> NDArray[np.complex128]:
    """(2/p)·Σ_{c<p} W[c, i]·e(−kc/p), W mod its mean."""
    p = case.p
    rows = np.array([case.W[i][:p] for i in neurons], dtype=np.float64)
    wave = np.exp(-2j * np.pi * (frequency * np.arange(p) % p) / p)
    found: NDArray[np.complex128] = (rows - rows.mean(axis=1, keepdims=True)) @ wave * 2 / p
    return found


@dataclass(frozen=True)
class Form:
    """The closed form: `terms` G_j(δ) by frequency, `table` [δ, d], and the `size` that its rounding is relative to."""

    terms: dict[int, NDArray[np.complex128]]
    table: NDArray[np.float64]
    size: float


def closed_form(case: Case) -> Form:
    """In the units of a logit."""
    p, certificate = case.p, case.certificate
    terms: dict[int, NDArray[np.complex128]] = {}
    size = 0.0
    for family in certificate["families"]:
        neurons = [i for i, _, _ in family["members"]]
        alpha = np.array([math.ldexp(x, certificate["amplitude_exponent"]) for _, x, _ in family["members"]])
        phase = np.array([x / PHASE for _, _, x in family["members"]])
        profile = [(complex(r[0], r[1]) / ONE, complex(r[2], r[3]) / ONE) for r in family["profile"]]
        k, dc = family["frequency"], family["dc"] / ONE
        for r in range(1, family["outputs"] + 1):
            j = r * k % p
            moment = complex((alpha * omega(case, neurons, j) * np.exp(-4j * np.pi * r * phase)).sum())
            found = np.zeros(p, dtype=np.complex128)
            for delta in range(p):
                us = [z * _turn(h * k * delta, p) + v for h, (z, v) in enumerate(profile, 1)]
                found[delta] = _turn(j * delta, p) * moment * relu_integral(dc, us, 2 * r)
            if 2 * j > p:
                j, found = p - j, found.conj()
            terms[j] = terms.get(j, np.zeros(p, dtype=np.complex128)) + found
            reach = abs(dc) + sum(abs(z) + abs(v) for z, v in profile)
            size += reach * float((alpha * np.abs([case.W[i][:p] for i in neurons]).max(axis=1)).sum())
    table = np.zeros((p, p))
    for j, found in terms.items():
        table += (found[:, None] * _waves(j, p).conj()).real
    return Form(terms, table, size)


def added(case: Case, form: Form) -> NDArray[np.float64]:
    """What the certificate's deformation adds to the closed form, [a, b, d]."""
    p, given = case.p, case.certificate.get("deformation")
    a, b = np.indices((p, p))
    delta, t = (a - b) % p, (a + b) % p
    found = np.zeros((p, p, p))
    if given is not None:
        found += np.array([math.ldexp(x, given["exponent"]) for x in given["constant"]])
        for item in given["waves"]:
            j, wave = item["frequency"], (np.array(item["cosine"]) + 1j * np.array(item["sine"])) / (1 << 20)
            found += ((form.terms[j][delta] * _waves(j, p)[t])[:, :, None] * wave).real
    return np.take_along_axis(found, (t[:, :, None] + np.arange(p)) % p, axis=2)


def _turn(numerator: int, denominator: int) -> complex:
    return cmath.exp(2j * math.pi * (numerator % denominator) / denominator)


def _waves(j: int, p: int) -> NDArray[np.complex128]:
    """e(−jc/p) for c = 0..p−1."""
    found: NDArray[np.complex128] = np.exp(-2j * np.pi * (j * np.arange(p) % p) / p)
    return found


@dataclass(frozen=True)
class Rule:
    """The quadrature rule of one frequency, in double precision; `weights` is W, in the units of a logit."""

    outputs: NDArray[np.complex128]
    phases: NDArray[np.float64]
    weight: float
    direction: complex
    sharpness: float  # |Q_−2|/W: how well the direction is determined
    fit: float  # Σα·max|W| over W: the fixed-point weights have units of 2^-26 of the largest

    def error(self, v: NDArray[np.float64]) -> NDArray[np.complex128]:
        """L(v) − I(v) in units of W."""
        waves = np.maximum(np.cos(2 * np.pi * (v[:, None] + self.phases[None, :])), 0)
        ideal = self.direction * np.exp(-4j * np.pi * v) / (3 * np.pi)
        found: NDArray[np.complex128] = (waves * self.outputs).sum(axis=1) / self.weight - ideal
        return found


def rule(case: Case, frequency: int) -> Rule:
    families = [f for f in case.certificate["families"] if f["frequency"] == frequency]
    members = [member for family in families for member in family["members"]]
    alpha = np.array([math.ldexp(x, case.certificate["amplitude_exponent"]) for _, x, _ in members])
    outputs = alpha * omega(case, [i for i, _, _ in members], frequency)
    phases = np.array([x / PHASE for _, _, x in members])
    weight, moment = float(np.abs(outputs).sum()), complex((outputs * np.exp(-4j * np.pi * phases)).sum())
    if not moment:
        return Rule(outputs, phases, weight, 1, 0.0, math.inf)
    fit = float(alpha.sum()) * max(abs(x) for row in case.W for x in row) / weight
    return Rule(outputs, phases, weight, moment / abs(moment), abs(moment) / weight, fit)


def value(dyadic: Any) -> Fraction:
    return Fraction(dyadic.mantissa) * Fraction(2) ** int(dyadic.exponent)


@dataclass(frozen=True)
class Gap:
    """How near a conclusion came to being false: the least room, relative to the sizes, in margins and in deviation."""

    margin: float
    deviation: float


def concluded(case: Case) -> Checked | None:
    """What the kernel concludes about a case; None when it rejects."""
    try:
        return check(*case.files())
    except Rejected:
        return None


def attempt(case: Case) -> Gap | None:
    """Check a case and confront the conclusion with the truth; None when the kernel rejects it."""
    found = concluded(case)
    return None if found is None else confront(case, found)


def confront(case: Case, found: Checked) -> Gap:
    """Compare every number of a conclusion with the truth; AssertionError when one is false."""
    exact, form, p = truth(case), closed_form(case), case.p
    conclusion, accuracy = found.conclusion, found.conclusion.accuracy
    margins, unit = exact.margins(), Fraction(1, 1 << exact.bits)
    shift = found.evidence.exponent + exact.bits  # both sides in the finer of the two units
    up, down = max(shift, 0), max(-shift, 0)
    signed: list[list[int]] = found.evidence.margins.tolist()
    rooms = [
        (true << down) - (low << up)
        for row, own in zip(margins, signed, strict=True)
        for true, low in zip(row, own, strict=True)
    ]
    assert min(rooms) >= 0, "a margin is too high"
    size = max(map(abs, exact.logits.ravel().tolist())) * unit
    right = [[x > 0 for x in row] for row in margins]
    assert accuracy.certified_inputs == sum(x > 0 for row in signed for x in row) <= sum(map(sum, right))
    assert accuracy.uncertified_inputs == p * p - accuracy.certified_inputs
    for item in accuracy.uncertified:
        assert value(item.margin) == signed[item.a][item.b] * Fraction(2) ** found.evidence.exponent <= 0
    least = min(map(min, margins)) * unit
    assert value(accuracy.min_margin) <= least
    if accuracy.true_min_margin is not None:
        low, high = map(value, accuracy.true_min_margin)
        assert low <= least <= high, "the exact minimum is not enclosed"
    for wrong in accuracy.wrong or ():
        row = exact.logits[wrong.a, wrong.b]
        lead = (row[wrong.answer] - row[(wrong.a + wrong.b) % p]) * unit
        assert lead >= value(wrong.margin) > 0, "an input called wrong is right"
    gaps = _confront_logits(case, found, exact, form, right)
    _confront_quadrature(case, found)
    _confront_budget(case, found, exact, form)
    room = float(Fraction(min(rooms), 1 << (exact.bits + down)) / (size or 1))
    return Gap(room, (float(value(conclusion.logits.max_error)) - gaps) / (float(size) or 1.0))


def _confront_logits(case: Case, found: Checked, exact: Truth, form: Form, right: list[list[bool]]) -> float:
    """Theorems L and X; the largest deviation."""
    p, conclusion, accuracy = case.p, found.conclusion, found.conclusion.accuracy
    relative = exact.floats()[:, :, :p]
    more = added(case, form)
    waves = case.certificate.get("deformation", {}).get("waves", ())
    weight = max((abs(y) for x in waves for y in (*x["cosine"], *x["sine"])), default=0) / (1 << 20)
    leeway = LEEWAY * (float(np.abs(relative).max()) + form.size * (1 + weight) + float(np.abs(more).max()))
    a, b = np.indices((p, p))
    delta, t = (a - b) % p, (a + b) % p
    turned = relative[a[:, :, None], b[:, :, None], (t[:, :, None] + np.arange(p)) % p]  # by d
    closed = form.table[delta] + more
    difference = turned - closed
    deviations = (difference.max(axis=2) - difference.min(axis=2)) / 2
    worst = float(deviations.max())
    bound = float(value(conclusion.logits.max_error))
    assert bound + leeway >= worst, f"max_error {bound!r} below the exact deviation {worst!r}"
    if accuracy.max_deviation is not None:
        low, high = (float(value(x)) for x in accuracy.max_deviation)
        assert low - leeway <= worst <= high + leeway, f"deviation {worst!r} not in [{low!r}, {high!r}]"
    gap, closed_gap = turned[:, :, :1] - turned, closed[:, :, :1] - closed
    gamma, errors = np.full(p, np.inf), np.zeros(p)
    np.minimum.at(gamma, delta, closed_gap[:, :, 1:].min(axis=2))
    np.maximum.at(errors, delta, deviations)
    unit = math.ldexp(1, found.evidence.exponent)
    assert (found.evidence.gaps * unit <= gamma + leeway).all()
    assert value(conclusion.closed_form.least_gap) == int(found.evidence.gaps.min()) * Fraction(unit)
    moved = conclusion.closed_form.deformation
    assert (moved is None) == ("deformation" not in case.certificate)
    assert moved is None or float(value(moved)) + leeway >= (more.max(axis=2) - more.min(axis=2)).max() / 2
    assert float(value(conclusion.closed_form.error)) + leeway >= errors.max()
    assert accuracy.explained_inputs == p * sum(found.evidence.explained)
    for d, explained in enumerate(found.evidence.explained):
        if explained:
            assert gamma[d] + leeway > 2 * errors[d], "explained, but the closed form's gap is too small"
            assert all(right[(d + y) % p][y] for y in range(p)), "explained, but wrong"
    if conclusion.closed_form.explains_all:
        assert all(found.evidence.explained)
        assert gamma.min() + leeway > 2 * errors.max()
    if accuracy.gap_error is not None:
        ratio = (np.abs(gap - closed_gap) - leeway)[:, :, 1:] / (closed_gap[:, :, 1:] + leeway)
        assert gamma.min() > -leeway
        assert float(value(accuracy.gap_error)) >= ratio.max(), "the gap error is too small"
    return worst


def _confront_quadrature(case: Case, found: Checked) -> None:
    for bound in found.conclusion.quadrature:
        own = rule(case, bound.frequency)
        if own.sharpness < 1e-6:  # the kernel may take another direction
            continue
        kinks = np.concatenate([0.25 - own.phases, 0.75 - own.phases, np.linspace(0, 1, 64)])
        places = np.arange(2 * case.p) / (2 * case.p)
        here, anywhere = (float(np.abs(own.error(v)).max()) * math.tau for v in (places, kinks))
        leeway = LEEWAY + 2e-7 / own.sharpness + own.fit * 2.0**-21
        names = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound")
        numbers = {name: float(value(getattr(bound, name))) for name in names}
        assert numbers["rectangle"] + leeway >= anywhere, f"rectangle bound below {anywhere!r}"
        assert numbers["harmonic"] + leeway >= anywhere, f"harmonic bound below {anywhere!r}"
        assert -leeway <= numbers["arc_sum"] - here <= 1e-6 + leeway + own.fit * 2.0**-14, (
            "the arc sum is the error up to rounding"
        )
        assert numbers["bound"] == min(numbers[name] for name in ("rectangle", "harmonic", "arc_sum"))
        assert -1e-11 <= numbers["relative_bound"] - numbers["bound"] * 3 * math.pi / 4 <= 1e-9 * (1 + numbers["bound"])
        assert bound.neurons == len(own.phases)


def _confront_budget(case: Case, found: Checked, exact: Truth, form: Form) -> None:
    """Every term against its definition (docs/theory.md §5)."""
    p, evidence, logits = case.p, found.evidence, found.conclusion.logits
    budget: dict[str, Any] = logits.budget
    a, b = np.indices((p, p))
    delta, t = (a - b) % p, (a + b) % p
    relative = exact.floats()[:, :, :p]
    size = float(np.abs(relative).max()) + form.size
    leeway = LEEWAY * size
    u = evidence.directions
    held = evidence.sums if u is None else evidence.sums @ u.T  # in integers: both are below 2^60
    held = np.ldexp((held - held[:, :, :1])[:, :, :p].astype(np.float64), evidence.exponent)
    error = float(value(budget["fixed_point"]) + value(budget["attention"]))
    rest = relative - held
    if u is not None:  # the sums in the evidence are rounded
        error += math.ldexp(float(np.abs(u).sum(axis=1).max()), evidence.exponent)
    spread = (rest.max(axis=2) - rest.min(axis=2)).max() / 2
    assert float(value(budget["output_rest"])) + error + leeway >= spread, "output_rest is too small"
    left, amplitudes = held.copy(), {}
    for j, terms in form.terms.items():
        waves = _waves(j, p)
        coefficient = held @ waves * 2 / p * np.conj(waves)[t]  # turned by e(jt/p)
        true = relative @ waves * 2 / p * np.conj(waves)[t]
        left -= ((coefficient * waves[t])[:, :, None] * np.conj(waves)).real
        amplitudes[j] = float(np.abs(terms).max())
        for bound in found.conclusion.quadrature:
            if bound.frequency != j:
                continue
            distance = float(np.abs(true - terms[delta]).max())
            network = float(value(bound.network_error))
            assert network + leeway >= distance, f"network_error {network!r} below {distance!r}"
            assert 0 <= float(value(bound.amplitude)) <= amplitudes[j] + leeway
            own = rule(case, j)
            if own.sharpness < 1e-6:
                continue
            heights = np.cos(np.pi * j * (a - b) / p)
            ideal = (
                2
                * heights
                * own.weight
                * own.error((j * (a + b) / (2 * p) + (heights < 0) / 2).ravel()).reshape(p, p)
                * np.sign(heights)
                * np.exp(2j * np.pi * j * (a + b) / p)
            )
            ideal_leeway = leeway + (2e-7 / own.sharpness + own.fit * 2.0**-21) * own.weight
            assert float(value(budget["quadrature"][j])) + ideal_leeway >= float(np.abs(ideal).max())
            profile = float(np.abs(coefficient - terms[delta] - ideal).max())
            assert float(value(budget["profile"][j])) + ideal_leeway >= profile, "profile is too small"
    other = float((left.max(axis=2) - left.min(axis=2)).max() / 2)
    assert float(value(budget["other_frequencies"])) + leeway >= other, "other_frequencies is too small"
