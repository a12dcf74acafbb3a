"""How a model computes, in numbers: estimates in float64, read off the folded circuit and a certificate's families.

Nothing here is proved. The kernel's numbers are in `verifier.report.bounds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.explain.families import Array, Complex, Indices, turns
from verifier.kernel.certificate import Certificate, Family
from verifier.kernel.limits import PHASE_BITS, PROFILE_BITS
from verifier.model import FoldedCircuit

INTEGRAL_POINTS = 2048
WORK = 20_000_000_000
"""Multiply-adds that reading the logits may cost; above it, only some of the a are looked at."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """The neurons of one frequency k as nodes on the circle, in order of phase; shapes (m,).

    **Fields**

    - `neurons`: their indices; `families`: which of the certificate's families each is in.
    - `amplitude` α, `phase` φ (turns): as the certificate says. `omega`: output coefficient at k.
    - `weight` w = α·|ω|. `psi`: output phase arg ω (turns). `common`: the common phase c of ψ − 2φ (turns).
    """

    frequency: int
    neurons: Indices
    families: Indices
    amplitude: Array
    phase: Array
    omega: Complex
    weight: Array
    psi: Array
    common: float

    @property
    def share(self) -> Array:
        """Weights that sum to 1: the widths of the rectangles, in turns."""
        result: Array = self.weight / self.weight.sum()
        return result

    @property
    def angle_error(self) -> Array:
        """ψ − 2φ − c in (−½, ½] turns."""
        return wrap(self.psi - 2 * self.phase - self.common)


def wrap(x: Array) -> Array:
    """x modulo 1, in [−½, ½)."""
    result: Array = (x + 0.5) % 1.0 - 0.5
    return result


def wheels(circuit: FoldedCircuit, certificate: Certificate) -> tuple[Wheel, ...]:
    """One wheel per frequency of the families, in ascending order. Neurons that write nothing anywhere are left in."""
    p = circuit.p
    written = 2 / p * np.fft.fft(circuit.W[:p].T.astype(np.float64), axis=1)
    rows: dict[int, list[tuple[int, int, float, float]]] = {}
    for index, family in enumerate(certificate.families):
        for m in family.members:
            amplitude = math.ldexp(m.amplitude, certificate.amplitude_exponent)
            rows.setdefault(family.frequency, []).append((m.neuron, index, amplitude, math.ldexp(m.phase, -PHASE_BITS)))
    result = []
    for k in sorted(rows):
        ordered = sorted(rows[k], key=lambda row: row[3])
        neurons = np.array([row[0] for row in ordered], dtype=np.int64)
        phase = np.array([row[3] for row in ordered])
        alpha = np.array([row[2] for row in ordered])
        omega = written[neurons, k]
        weight = alpha * np.abs(omega)
        moment = (alpha * omega * turns(-2 * phase)).sum()
        result.append(
            Wheel(
                frequency=k,
                neurons=neurons,
                families=np.array([row[1] for row in ordered], dtype=np.int64),
                amplitude=alpha,
                phase=phase,
                omega=omega,
                weight=weight,
                psi=np.angle(omega) / (2 * np.pi) % 1.0,
                common=float(np.angle(moment) / (2 * np.pi)),
            )
        )
    return tuple(result)


def profile(family: Family) -> tuple[float, Complex]:
    """DC and the coefficients (z^A_h, z^B_h), shape (H, 2), of a family."""
    rows = [[complex(h.a_re, h.a_im), complex(h.b_re, h.b_im)] for h in family.profile]
    coefficients: Complex = np.array(rows, dtype=np.complex128) * complex(2.0**-PROFILE_BITS)
    return math.ldexp(family.dc, -PROFILE_BITS), coefficients


def profile_value(family: Family, delta_turns: float, x: Array) -> Array:
    """T_{g,δ}(x) at `delta_turns` = kδ/p; x in turns, any shape."""
    dc, coefficients = profile(family)
    value = np.full(x.shape, dc)
    for h, (z, v) in enumerate(coefficients, start=1):
        value += ((z * turns(np.array(h * delta_turns)) + v) * turns(h * x)).real
    return value


def kuiper(phase: Array, share: Array) -> float:
    """How far weighted phases are from uniform on the circle: Kuiper's statistic, 0 for a perfect spread, below 1.

    `phase` ascending in [0, 1), `share` sums to 1. It does not depend on where the circle is cut.
    """
    after = np.cumsum(share)
    return float((after - phase).max() + (phase - after + share).max())


@dataclass(frozen=True, slots=True)
class FrequencyFacts:
    """Estimates for one frequency.

    **Fields**

    - `neurons`, `families`: how many.
    - `kuiper`: distance of the weighted phases from uniform. `largest_gap`: between neighbours, in turns.
    - `angle_rms`: of ψ − 2φ − c, weighted, in turns. `common`: c, in turns.
    - `dc`, `second`: of the profile, relative to its first harmonic (amplitude 1 for a and for b).
    - `share`: of the variance of the logits over c. `unexplained`: the part of that the closed form misses, as a
      share of the same whole.
    - `rule_error`: largest error of the quadrature rule at the p² inputs over the naive 4/(3π).
    """

    frequency: int
    neurons: int
    families: int
    kuiper: float
    largest_gap: float
    angle_rms: float
    common: float
    dc: float
    second: float
    share: float
    unexplained: float
    rule_error: float


@dataclass(frozen=True, slots=True)
class Mechanism:
    """How a model computes: estimates in float64.

    **Fields**

    - `frequencies`: in ascending order; `on`, `off`, `outliers`: neurons in no family, or evaluated exactly.
    - `other_share`: of the logits' variance at frequencies that no family has.
    - `unexplained`: share of the variance that the closed form misses, `other_share` included.
    - `correct`: of the `looked_at` inputs; `least_margin`; `largest_deviation`: of a logit from μ + closed form.
    """

    p: int
    neurons: int
    outputs: int
    frequencies: tuple[FrequencyFacts, ...]
    on: int
    off: int
    outliers: int
    other_share: float
    unexplained: float
    correct: int
    looked_at: int
    least_margin: float
    largest_deviation: float


def closed_forms(circuit: FoldedCircuit, certificate: Certificate) -> dict[int, Complex]:
    """G_k(δ), shape (p,), by frequency (Theorem L's closed form, by numerical integration)."""
    p = circuit.p
    x = (np.arange(INTEGRAL_POINTS) + 0.5) / INTEGRAL_POINTS
    weight = turns(2 * x) / INTEGRAL_POINTS
    moments = np.zeros(len(certificate.families), dtype=np.complex128)
    for wheel in wheels(circuit, certificate):
        np.add.at(moments, wheel.families, wheel.amplitude * wheel.omega * turns(-2 * wheel.phase))
    result: dict[int, Complex] = {}
    for family, moment in zip(certificate.families, moments, strict=True):
        k = family.frequency
        integral = np.array([np.maximum(profile_value(family, k * d / p, x), 0) @ weight for d in range(p)])
        term = turns(k * np.arange(p) / p) * moment * integral
        result[k] = result[k] + term if k in result else term
    return result


def read_mechanism(circuit: FoldedCircuit, certificate: Certificate) -> Mechanism:
    """The mechanism of a folded circuit as a certificate explains it."""
    p, n, q = circuit.p, circuit.neurons, circuit.outputs
    forms = closed_forms(circuit, certificate)
    step = max(1, -(-n * p * p * q // WORK))
    half = p // 2
    power = np.zeros(half + 1)
    missed = dict.fromkeys(forms, 0.0)
    correct, looked_at, least, deviation = 0, 0, np.inf, 0.0
    b = np.arange(p)
    c = np.arange(p)
    modes = {k: turns(k * c / p) for k in forms}
    for a in range(0, p, step):
        logits = _logits_of(circuit, a)
        target = (a + b) % p
        right = logits[target, b].copy()
        logits[target, b] = -np.inf
        margin = right - logits.max(axis=0)
        logits[target, b] = right
        correct += int((margin > 0).sum())
        looked_at += p
        least = min(least, float(margin.min()))
        spectrum = 2 / p * np.fft.rfft(logits[:p], axis=0)
        power += (np.abs(spectrum) ** 2).sum(axis=1)
        explained = np.zeros((p, p))
        for k, form in forms.items():
            expected = form[(a - b) % p] * turns(-k * ((a + b) % p) / p)
            missed[k] += float((np.abs(spectrum[k] - expected) ** 2).sum())
            explained += (expected[None, :] * modes[k][:, None]).real
        gap = logits[:p] - explained
        deviation = max(deviation, float((gap.max(axis=0) - gap.min(axis=0)).max()) / 2)
    total = float(power[1:].sum())
    facts = tuple(
        _frequency(wheel, circuit, certificate, float(power[wheel.frequency]), missed[wheel.frequency], total)
        for wheel in wheels(circuit, certificate)
    )
    other = 1 - sum(f.share for f in facts)
    return Mechanism(
        p=p,
        neurons=n,
        outputs=q,
        frequencies=facts,
        on=len(certificate.on),
        off=len(certificate.off),
        outliers=len(certificate.outliers),
        other_share=max(0.0, other),
        unexplained=max(0.0, other) + sum(f.unexplained for f in facts),
        correct=correct,
        looked_at=looked_at,
        least_margin=least,
        largest_deviation=deviation,
    )


def _logits_of(circuit: FoldedCircuit, a: int) -> Array:
    """All logits at one a, shape (q, p)."""
    hidden = np.maximum(circuit.A[:, a, None].astype(np.float64) + circuit.B, 0)
    logits: Array = circuit.W.astype(np.float64) @ hidden
    if circuit.S1 is not None:
        logits += circuit.S1[:, a, None]
    if circuit.S2 is not None:
        logits += circuit.S2
    return logits


def _frequency(
    wheel: Wheel, circuit: FoldedCircuit, certificate: Certificate, power: float, missed: float, total: float
) -> FrequencyFacts:
    share, error = wheel.share, wheel.angle_error
    gaps = np.diff(wheel.phase, append=wheel.phase[0] + 1)
    dc = second = 0.0
    used = sorted(set(wheel.families.tolist()))
    for index in used:
        constant, z = profile(certificate.families[index])
        part = float(share[wheel.families == index].sum())
        first = float(np.abs(z[0]).mean())
        dc += part * constant / first
        second += part * float(np.abs(z[1]).mean()) / first if len(z) > 1 else 0.0
    return FrequencyFacts(
        frequency=wheel.frequency,
        neurons=len(wheel.neurons),
        families=len(used),
        kuiper=kuiper(wheel.phase, share),
        largest_gap=float(gaps.max()),
        angle_rms=float(np.sqrt((share * error**2).sum())),
        common=wheel.common,
        dc=dc,
        second=second,
        share=power / total,
        unexplained=missed / total,
        rule_error=_rule_error(wheel, circuit.p),
    )


def _rule_error(wheel: Wheel, p: int) -> float:
    """Largest |rule − integral| of Theorem Q over v = m/2p, weights summing to 2π, over 4/(3π)."""
    v = np.arange(2 * p)[:, None] / (2 * p)
    lens: Complex = np.maximum(np.cos(2 * np.pi * (v + wheel.phase)), 0) @ (wheel.share * turns(wheel.psi))
    integral = turns(np.array(wheel.common)) * turns(-2 * v[:, 0]) / (3 * np.pi)
    return float(np.abs(lens - integral).max() * 2 * np.pi / (4 / (3 * np.pi)))


def mechanism_document(mechanism: Mechanism) -> dict[str, object]:
    """For `--json`: estimates as plain floats (JSON numbers), angles in turns."""
    return {
        "estimates": "float64, not proved; angles in turns",
        "p": mechanism.p,
        "neurons": mechanism.neurons,
        "outputs": mechanism.outputs,
        "correct_inputs": mechanism.correct,
        "looked_at_inputs": mechanism.looked_at,
        "least_margin": mechanism.least_margin,
        "largest_deviation": mechanism.largest_deviation,
        "other_share": mechanism.other_share,
        "unexplained_share": mechanism.unexplained,
        "on": mechanism.on,
        "off": mechanism.off,
        "outliers": mechanism.outliers,
        "frequencies": [
            {name: getattr(f, name) for name in FrequencyFacts.__dataclass_fields__} for f in mechanism.frequencies
        ],
    }


def translated(
    circuit: FoldedCircuit, certificate: Certificate, wheel: Wheel, delta: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every neuron's pre-activation over α against x = φ + kb/p (turns), at a = b + δ; two arrays of shape (m, p)."""
    p = circuit.p
    b = np.arange(p)
    x = (wheel.phase[:, None] + wheel.frequency * b / p) % 1.0
    rows = wheel.neurons
    y = circuit.A[rows][:, (b + delta) % p].astype(np.float64) + circuit.B[rows]
    return x, y / wheel.amplitude[:, None]
