"""Ground truth for the kernel's tests, sharing no code with the kernel: logits in exact integers, the closed form and
the quadrature rule in double precision from closed expressions, and the comparison with a conclusion.
"""

from __future__ import annotations

import cmath
import importlib
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tests.strategies import PHASE, Case
from verifier.kernel import Conclusion, Rejected

kernel = importlib.import_module("verifier.kernel.check")  # the module; the package's `check` is the function

LEEWAY = 1e-9  # of the oracle's own double precision, relative to the sizes that enter; the kernel gets none


def integers(rows: Sequence[Sequence[float]]) -> tuple[list[list[int]], int]:
    """The same numbers as integers in units of 2^-bits, exactly; and the bits."""
    ratios = [[x.as_integer_ratio() for x in row] for row in rows]
    bits = max((d.bit_length() - 1 for row in ratios for _, d in row), default=0)
    return [[n << bits >> (d.bit_length() - 1) for n, d in row] for row in ratios], bits


@dataclass(frozen=True)
class Truth:
    """logits[a][b][c] in units of 2^-bits, exactly, for c in 0..q−1."""

    p: int
    logits: list[list[list[int]]]
    bits: int

    def margin(self, a: int, b: int) -> int:
        values = self.logits[a][b]
        target = (a + b) % self.p
        return values[target] - max(x for c, x in enumerate(values) if c != target)

    def margins(self) -> list[list[Fraction]]:
        return [[Fraction(self.margin(a, b), 1 << self.bits) for b in range(self.p)] for a in range(self.p)]


def truth(case: Case) -> Truth:
    """Every logit of every input, exactly."""
    (A, bits_a), (B, bits_b), (W, bits_w) = integers(case.A), integers(case.B), integers(case.W)
    (S1, bits_1), (S2, bits_2) = integers(case.S1), integers(case.S2)
    pre = max(bits_a, bits_b)
    bits = max(pre + bits_w, bits_1, bits_2)
    A = [[x << (pre - bits_a) for x in row] for row in A]
    B = [[x << (pre - bits_b) for x in row] for row in B]
    W = [[x << (bits - pre - bits_w) for x in row] for row in W]
    S1 = [[x << (bits - bits_1) for x in row] for row in S1]
    S2 = [[x << (bits - bits_2) for x in row] for row in S2]
    q = len(W[0])
    logits = []
    for a in range(case.p):
        line = []
        for b in range(case.p):
            values = [x + y for x, y in zip(S1[a], S2[b], strict=True)]
            for x, y, out in zip(A, B, W, strict=True):
                h = x[a] + y[b]
                if h > 0:
                    for c in range(q):
                        values[c] += h * out[c]
            line.append(values)
        logits.append(line)
    return Truth(case.p, logits, bits)


@contextmanager
def captured() -> Iterator[dict[str, Any]]:
    """While it is active, what `sum_arcs` and `quantise` return in a check is kept: the kernel's own fit of the output
    coefficients defines the closed form and the quadrature weights.
    """
    kept: dict[str, Any] = {}
    originals = {name: getattr(kernel, name) for name in ("sum_arcs", "quantise", "read_certificate")}

    def keeping(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            kept[name] = originals[name](*arguments)
            return kept[name]

        return call

    for name in originals:
        setattr(kernel, name, keeping(name))
    try:
        yield kept
    finally:
        for name, function in originals.items():
            setattr(kernel, name, function)


def concluded(case: Case) -> tuple[Conclusion, dict[str, Any]] | None:
    """The kernel's conclusion about a case and what it kept on the way; None when it rejects."""
    files = case.files()
    with captured() as kept:
        try:
            return kernel.check(*files), kept
        except Rejected:
            return None


def relu_integral(dc: float, harmonics: Sequence[complex]) -> complex:
    """∫_0^1 ReLU(T(x))·e(2x) dx for T = dc + Σ_h Re(u_h·e(hx)): roots of a polynomial, then antiderivatives."""
    modes = {0: complex(dc)}
    for h, u in enumerate(harmonics, 1):
        modes[h], modes[-h] = u / 2, u.conjugate() / 2
    top = max((h for h in modes if modes[h] != 0), default=0)
    places = [0.0, 1.0]
    if top > 0:
        roots = np.roots([modes.get(m, 0) for m in range(top, -top - 1, -1)])
        places += [cmath.phase(z) / (2 * math.pi) % 1 for z in roots if z != 0]
    places.sort()
    result = 0j
    for low, high in itertools.pairwise(places):
        middle = (low + high) / 2
        if sum((c * cmath.exp(2j * math.pi * m * middle)).real for m, c in modes.items()) <= 0:
            continue
        for m, c in modes.items():
            k = 2j * math.pi * (m + 2)
            result += c * ((cmath.exp(k * high) - cmath.exp(k * low)) / k if m != -2 else high - low)
    return result


@dataclass(frozen=True)
class Nodes:
    """One family's neurons as a rule: ω, α and φ in the units of the kernel's sums, in double precision."""

    frequency: int
    omega: list[complex]
    alpha: list[float]
    phase: list[float]


def nodes(kept: dict[str, Any]) -> list[Nodes]:
    certificate, circuit, arc = kept["read_certificate"], kept["quantise"], kept["sum_arcs"]
    shift = certificate.amplitude_exponent + circuit.pre_scale
    result = []
    for family in certificate.families:
        at = certificate.output_frequencies.index(family.frequency)
        pairs = [arc.splits[m.neuron].omega[at] for m in family.members]
        alpha = [math.ldexp(m.amplitude, shift) for m in family.members]
        result.append(
            Nodes(family.frequency, [complex(*w) for w in pairs], alpha, [m.phase / PHASE for m in family.members])
        )
    return result


def closed_form(kept: dict[str, Any]) -> list[list[float]]:
    """ideal[δ][t], t = c − a − b: the closed form of Theorem L, in the units of the kernel's sums."""
    certificate = kept["read_certificate"]
    p = certificate.p
    ideal = np.zeros((p, p))
    for family, rule in zip(certificate.families, nodes(kept), strict=True):
        k = family.frequency
        moment = sum(
            w * x * cmath.exp(-4j * math.pi * phi) for w, x, phi in zip(rule.omega, rule.alpha, rule.phase, strict=True)
        )
        for delta in range(p):
            harmonics = [
                (complex(z.a_re, z.a_im) * cmath.exp(2j * math.pi * h * k * delta / p) + complex(z.b_re, z.b_im))
                / 2**24
                for h, z in enumerate(family.profile, 1)
            ]
            G = moment * relu_integral(family.dc / 2**24, harmonics) * cmath.exp(2j * math.pi * k * delta / p)
            ideal[delta] += [(G * cmath.exp(2j * math.pi * (k * t % p) / p)).real for t in range(p)]
    result: list[list[float]] = ideal.tolist()
    return result


def quadrature_errors(rules: list[Nodes], p: int) -> tuple[float, float] | None:
    """|L − I|·2π/W of one frequency's rule: the largest at v = m/2p, and the largest at many other v."""
    omega = np.array([w for rule in rules for w in rule.omega])
    alpha = np.array([x for rule in rules for x in rule.alpha])
    phi = np.array([x for rule in rules for x in rule.phase])
    weight = float((alpha * abs(omega)).sum())
    moment = complex((alpha * omega * np.exp(-4j * np.pi * phi)).sum())
    if abs(moment) < 1.5:  # below a unit the kernel may take another direction
        return None
    c = moment / abs(moment)

    def worst(v: np.ndarray[Any, Any]) -> float:
        waves = np.maximum(np.cos(2 * np.pi * (v[:, None] + phi[None, :])), 0)
        error = (waves * (alpha * omega)[None, :]).sum(axis=1) - weight / (3 * np.pi) * c * np.exp(-4j * np.pi * v)
        return float(np.abs(error).max()) * 2 * math.pi / weight

    kinks = np.concatenate([0.25 - phi, 0.75 - phi])
    return worst(np.arange(2 * p) / (2 * p)), worst(np.concatenate([np.linspace(0, 1, 64), kinks]))


def value(dyadic: Any) -> Fraction:
    return Fraction(dyadic.mantissa) * Fraction(2) ** int(dyadic.exponent)


@dataclass(frozen=True)
class Gap:
    """How near a conclusion came to being false: the least room, relative to the sizes, in margins and in deviation."""

    margin: float
    deviation: float


def confront(case: Case, conclusion: Conclusion, kept: dict[str, Any]) -> Gap:
    """Compare every number of a conclusion with the truth; AssertionError when one is false."""
    exact = truth(case)
    p = case.p
    margins = [[exact.margin(a, b) for b in range(p)] for a in range(p)]
    size = Fraction(max(abs(x) for line in exact.logits for row in line for x in row), 1 << exact.bits)
    scale = float(size) or 1.0
    shift = conclusion.margin_exponent + exact.bits  # both sides in the finer of the two units
    up, down = max(shift, 0), max(-shift, 0)
    least_room = min((margins[a][b] << down) - (conclusion.margins[a][b] << up) for a in range(p) for b in range(p))
    for a in range(p):
        for b in range(p):
            assert conclusion.margins[a][b] << up <= margins[a][b] << down, f"the margin at ({a}, {b}) is too high"
    room = float(Fraction(least_room, 1 << (exact.bits + down)) / (size or 1))
    right = sum(x > 0 for row in margins for x in row)
    accuracy = conclusion.accuracy
    assert accuracy.certified_inputs <= right
    assert accuracy.certified_inputs == accuracy.linear + accuracy.refined + accuracy.exhaustive
    least = Fraction(min(map(min, margins)), 1 << exact.bits)
    assert value(accuracy.min_margin) <= least
    if accuracy.true_min_margin is not None:
        low, high = map(value, accuracy.true_min_margin)
        assert low <= least <= high, "the exhaustive minimum does not enclose the exact one"
    deviation = _deviation(exact, kept)
    magnitude = LEEWAY * (float(size) + float(value(conclusion.logits.max_error)))
    bound = float(value(conclusion.logits.max_error))
    assert bound + magnitude >= deviation, f"max_error {bound!r} below the exact deviation {deviation!r}"
    if accuracy.max_deviation is not None:
        below, above = map(float, map(value, accuracy.max_deviation))
        assert below - magnitude <= deviation <= above + magnitude, (
            f"deviation {deviation!r} not in [{below!r}, {above!r}]"
        )
    _confront_quadrature(conclusion, kept)
    _confront_network(conclusion, exact, kept)
    _confront_budget(conclusion)
    return Gap(room, (bound - deviation) / scale)


def _deviation(exact: Truth, kept: dict[str, Any]) -> float:
    """The largest |logit_c − μ(a, b) − closed form| over all inputs and c < p, μ being the best for each input."""
    arc, circuit = kept["sum_arcs"], kept["quantise"]
    ideal, p = closed_form(kept), exact.p
    unit = Fraction(2) ** (arc.drop - circuit.pre_scale - circuit.out_scale)
    shift = circuit.pre_scale + circuit.out_scale - arc.drop - exact.bits
    up, down = 1 << max(shift, 0), 1 << max(-shift, 0)
    worst = 0.0
    for a in range(p):
        for b in range(p):
            row, closed = exact.logits[a][b], ideal[(a - b) % p]
            gaps = [(row[c] - row[0]) * up / down - closed[(c - a - b) % p] for c in range(p)]
            worst = max(worst, (max(gaps) - min(gaps)) / 2)
    return worst * float(unit)


def _confront_quadrature(conclusion: Conclusion, kept: dict[str, Any]) -> None:
    rules = nodes(kept)
    for found in conclusion.quadrature:
        errors = quadrature_errors([rule for rule in rules if rule.frequency == found.frequency], conclusion.p)
        if errors is None:
            continue
        here, anywhere = errors
        names = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound")
        bounds = {name: float(value(getattr(found, name))) for name in names}
        for name in ("rectangle", "harmonic"):
            assert bounds[name] + LEEWAY >= anywhere, (
                f"{name} bound {bounds[name]!r} below the exact error {anywhere!r}"
            )
        assert bounds["arc_sum"] + LEEWAY >= here
        assert bounds["arc_sum"] - here <= 1e-6, "the arc sum is the exact error up to rounding"
        assert bounds["bound"] + LEEWAY >= here
        assert bounds["relative_bound"] + 1e-9 >= bounds["bound"] * 3 * math.pi / 4


def _confront_network(conclusion: Conclusion, exact: Truth, kept: dict[str, Any]) -> None:
    """`network_error` against the Fourier coefficients of the exact logits, `amplitude` against the closed form's."""
    arc, circuit, p = kept["sum_arcs"], kept["quantise"], exact.p
    unit = float(Fraction(2) ** (arc.drop - circuit.pre_scale - circuit.out_scale))
    ideal = np.array(closed_form(kept)) * unit
    gaps = []
    for a in range(p):
        for b in range(p):
            row = [exact.logits[a][b][(a + b + t) % p] - exact.logits[a][b][(a + b) % p] for t in range(p)]
            gaps.append([float(Fraction(x, 1 << exact.bits)) for x in row] - ideal[(a - b) % p])
    size = float(np.abs(gaps).max() + np.abs(ideal).max())
    for found in conclusion.quadrature:
        wave = np.exp(-2j * np.pi * (found.frequency * np.arange(p) % p) / p) * 2 / p
        distance, amplitude = (float(np.abs(table @ wave).max()) for table in (np.array(gaps), ideal))
        bound = float(value(found.network_error))
        assert bound + LEEWAY * size >= distance, f"network_error {bound!r} below {distance!r}"
        assert 0 <= float(value(found.amplitude)) <= amplitude + LEEWAY * size


def _confront_budget(conclusion: Conclusion) -> None:
    """The terms add up to at least the direct bound, and none is negative."""
    total = Fraction(0)
    for term in conclusion.logits.budget.values():
        for part in term.values() if isinstance(term, dict) else [term]:
            assert value(part) >= 0
            total += value(part)
    assert total >= value(conclusion.logits.max_error)


def attempt(case: Case) -> Gap | None:
    """Check a case and confront the conclusion with the truth; None when the kernel rejects it."""
    found = concluded(case)
    return None if found is None else confront(case, *found)
