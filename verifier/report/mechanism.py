"""How a model adds, in float64: estimates, from the folded circuit, a certificate and the kernel's evidence.

Nothing here is proved but what the kernel says about replaced attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.kernel import Evidence, Rejected
from verifier.kernel.attention import SIGMA_BITS
from verifier.kernel.certificate import Certificate, Family
from verifier.kernel.limits import DIRECTION_BITS, PHASE_BITS, PROFILE_BITS
from verifier.kernel.substitution import Substituted, substituted
from verifier.model import FoldedCircuit, Model, Softmax, decode, input_tokens, softmax_attention
from verifier.report.case import Case

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.int64]


def turns(x: Array) -> Complex:
    """e(x) = exp(2πix)."""
    return np.asarray(np.exp(2j * np.pi * np.asarray(x)))


def wrap(x: Array) -> Array:
    """x modulo 1, in [−½, ½)."""
    return np.asarray((x + 0.5) % 1.0 - 0.5)


@dataclass(frozen=True, slots=True)
class Wheel:
    """The neurons of one frequency k as nodes on the circle, in order of phase; arrays of shape [m].

    **Fields**

    - `neurons`: their indices; `families`: which of the certificate's families each is in.
    - `amplitude` α, `phase` φ (turns): as the certificate says. `share`: of the weight α·|ω|, 1 in all: the widths of
      the rectangles, in turns.
    - `psi`: output phase arg ω (turns). `common`: the common phase c of ψ − 2φ (turns).
    """

    frequency: int
    neurons: Indices
    families: Indices
    amplitude: Array
    phase: Array
    share: Array
    psi: Array
    common: float

    @property
    def angle_error(self) -> Array:
        """ψ − 2φ − c in [−½, ½) turns."""
        return wrap(self.psi - 2 * self.phase - self.common)

    def heights(self, a: int, b: int, p: int) -> tuple[Array, Array]:
        """Where on the circle each neuron's rectangle stands at an input, and how high it is."""
        k = self.frequency
        # cos πk(a − b)/p < 0 moves every neuron half a turn: ReLU then sees the other half of the circle.
        offset = k * (a + b) / (2 * p) + (0.5 if math.cos(math.pi * k * (a - b) / p) < 0 else 0.0)
        here = wrap(self.phase + offset)
        wave = np.cos(2 * np.pi * (2 * offset + self.psi - self.common))
        return here, np.maximum(np.cos(2 * np.pi * here), 0) * wave


def wheels(circuit: FoldedCircuit, certificate: Certificate) -> tuple[Wheel, ...]:
    """One wheel per frequency of the families, in ascending order."""
    p = circuit.p
    written = 2 / p * np.fft.fft(circuit.W[:p].T.astype(np.float64), axis=1)
    result = []
    for k in sorted({family.frequency for family in certificate.families}):
        own = [(i, f) for i, f in enumerate(certificate.families) if f.frequency == k]
        phase = np.concatenate([f.phases for _, f in own]) * 2.0**-PHASE_BITS
        order = phase.argsort(kind="stable")
        neurons = np.concatenate([f.neurons for _, f in own])[order]
        alpha = np.ldexp(np.concatenate([f.amplitudes for _, f in own])[order] * 1.0, certificate.amplitude_exponent)
        phase, omega = phase[order], written[neurons, k]
        weight = alpha * np.abs(omega)
        result.append(
            Wheel(
                frequency=k,
                neurons=neurons,
                families=np.repeat([i for i, _ in own], [len(f.neurons) for _, f in own])[order],
                amplitude=alpha,
                phase=phase,
                share=weight / weight.sum(),
                psi=np.angle(omega) / (2 * np.pi) % 1.0,
                common=float(np.angle((alpha * omega * turns(-2 * phase)).sum()) / (2 * np.pi)),
            )
        )
    return tuple(result)


def profile_value(family: Family, delta_turns: float, x: Array) -> Array:
    """T_{g,δ}(x) at `delta_turns` = kδ/p; x in turns, any shape."""
    value = np.full(x.shape, math.ldexp(family.dc, -PROFILE_BITS))
    for h, (a_re, a_im, b_re, b_im) in enumerate((family.profile * 2.0**-PROFILE_BITS).tolist(), start=1):
        z = complex(a_re, a_im) * np.exp(2j * np.pi * h * delta_turns) + complex(b_re, b_im)
        value += (z * turns(h * x)).real
    return value


def translated(circuit: FoldedCircuit, wheel: Wheel) -> tuple[Array, Array]:
    """Every neuron's pre-activation over α against x = φ + kb/p (turns), at a = b; two arrays of shape [m, p]."""
    x = (wheel.phase[:, None] + wheel.frequency * np.arange(circuit.p) / circuit.p) % 1.0
    y = circuit.A[wheel.neurons].astype(np.float64) + circuit.B[wheel.neurons]
    return x, y / wheel.amplitude[:, None]


def logits_of(evidence: Evidence, a: int | slice) -> Array:
    """Logits of the inputs with this a, [p, q] (or of several a): with the linear strategy, but for Lemma B's rest."""
    sums = evidence.sums[a].astype(np.float64) * 2.0**evidence.exponent
    return np.asarray(sums if evidence.directions is None else sums @ evidence.directions.T.astype(np.float64))


def coefficients(evidence: Evidence) -> dict[int, Complex]:
    """G_j(δ) of the closed form, [p], in logits, by frequency."""
    form = evidence.form
    return {
        j: np.ldexp(np.array(t.re, dtype=np.float64), form.exponent)
        + 1j * np.ldexp(np.array(t.im, dtype=np.float64), form.exponent)
        for j, t in form.terms.items()
    }


def added_waves(evidence: Evidence) -> tuple[Array, dict[int, Complex]]:
    """What the certificate adds to the closed form: the constant [p] in logits, and by frequency x + iy [p]."""
    form, zero = evidence.form, np.zeros(evidence.form.p, dtype=np.complex128)
    if form.deformation is None:
        return zero.real, dict.fromkeys(form.terms, zero)
    given = {j: (x + 1j * y) * 2.0**-DIRECTION_BITS for j, (x, y) in form.deformation.waves.items()}
    constant = np.ldexp(form.deformation.constant.astype(np.float64), form.deformation.exponent)
    return constant, {j: given.get(j, zero) for j in form.terms}


def deformed_share(evidence: Evidence) -> float | None:
    """How much of the power of the closed form, over all inputs and outputs, what is added has; None if it is pure."""
    if evidence.form.deformation is None:
        return None
    (constant, waves), p, powers = added_waves(evidence), evidence.form.p, np.zeros(2)
    forms, c = coefficients(evidence), np.arange(p)
    for t in range(p):
        turned = {j: g[:, None] * turns(np.array(-j * t / p)) for j, g in forms.items()}
        added = constant + sum((z * waves[j]).real for j, z in turned.items())
        whole = added + sum((z * turns(j * c / p)).real for j, z in turned.items())
        powers += [part.var(axis=1).sum() for part in (added, whole)]
    return float(powers[0] / max(powers[1], 1e-300))


@dataclass(frozen=True, slots=True)
class Direction:
    """An output direction: the frequency that it mostly is, with its share of the power, and of what moves the logits.

    `share` below 1 says how deformed the direction is: it is no pure cosine.
    """

    frequency: int
    share: float
    second: int
    second_share: float
    of_logits: float


def directions(evidence: Evidence) -> tuple[Direction, ...]:
    """Lemma B's output directions, read as waves over the outputs; none for the exact strategy."""
    if evidence.directions is None:
        return ()
    p = evidence.form.p
    columns = evidence.directions[:p] * 2.0**-DIRECTION_BITS
    power = np.abs(np.fft.rfft(columns - columns.mean(axis=0), axis=0)) ** 2
    power /= np.maximum(power.sum(axis=0), 1e-300)
    sums = evidence.sums.reshape(-1, columns.shape[1]).astype(np.float64)
    moves = sums.var(axis=0) * (columns**2).sum(axis=0)
    found = []
    for column, part in zip(power.T, moves / moves.sum(), strict=True):
        first, second = column.argsort(kind="stable")[::-1][:2].tolist()
        found.append(Direction(first, float(column[first]), second, float(column[second]), float(part)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class FrequencyEstimate:
    """Estimates for one frequency.

    **Fields**

    - `neurons`, `families`: how many.
    - `angle_rms`: of ψ − 2φ − c, weighted, in turns. `dc`, `second`: of the profile, relative to its first harmonic.
    - `share`: of the variance of the logits over c. `missed`: what the closed form misses of that, of the same whole.
    """

    frequency: int
    neurons: int
    families: int
    angle_rms: float
    dc: float
    second: float
    share: float
    missed: float


@dataclass(frozen=True, slots=True)
class Head:
    """Estimates for one head: the least and the greatest weight it gives to the first position; the frequency of its
    waves (None for a head that is constant), and their share of the variance of its weights.
    """

    low: float
    high: float
    frequency: int | None
    share: float


@dataclass(frozen=True, slots=True)
class AttentionUse:
    """What learned attention is for.

    **Fields**

    - `heads`; `form_share`: of the variance of the logits (over c), by waves of a + b at the families' frequencies with
      any output: u_0[c] + Σ_k cos(2πk(a + b)/p)·u_k[c] + sin(2πk(a + b)/p)·v_k[c]. Estimates.
    - `constant`, `waves`: what the kernel proves of the network with every head's weights replaced by their mean, and
      by waves of one frequency. None where it proves nothing, for the reason `failure`.
    """

    heads: tuple[Head, ...]
    form_share: float
    constant: Substituted | None
    waves: Substituted | None
    failure: str


def read_attention(case: Case) -> AttentionUse | None:
    """What attention is for; None where it is not learned."""
    model = decode(case.model.data, str(case.model.path))
    if not isinstance(model, Model) or not isinstance(model.attention, Softmax):
        return None
    constant, waves, failure = None, None, ""
    try:
        constant, waves = substituted(case.model.data)
    except Rejected as error:
        failure = str(error)
    p, pattern, heads = model.p, softmax_attention(model), []
    weights = np.stack([pattern(input_tokens(model.positions, p, a))[:, :, 0] for a in range(p)])
    for head in range(weights.shape[2]):
        own, k = weights[:, :, head], waves.frequencies[head] if waves is not None else None
        left = 0.0
        if k is not None and waves is not None:
            e = np.stack([np.ones(p), *(f(2 * np.pi * k * np.arange(p) / p) for f in (np.cos, np.sin))])
            left = float((own - e.T @ (waves.table[0, head] * 2.0**-SIGMA_BITS) @ e).var() / max(own.var(), 1e-300))
        heads.append(Head(float(own.min()), float(own.max()), k, 1 - left))
    return AttentionUse(tuple(heads), _form_share(case), constant, waves, failure)


def _form_share(case: Case) -> float:
    evidence, p = case.checked.evidence, case.circuit.p
    mean, whole, b = np.zeros((p, p)), 0.0, np.arange(p)
    for a in range(p):
        logits = logits_of(evidence, a)[:, :p]
        logits = logits - logits.mean(axis=1, keepdims=True)
        whole += float((logits**2).sum())
        mean[(a + b) % p] += logits / p
    spectrum = np.fft.rfft(mean, axis=0)
    kept = [0, *sorted({family.frequency for family in case.certificate.families})]
    power = (np.abs(spectrum[kept]) ** 2).sum(axis=1) * np.where(np.array(kept) == 0, 1, 2)
    return float(power.sum()) / max(whole, 1e-300)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """How a model adds: estimates in float64.

    **Fields**

    - `frequencies`: in ascending order; `directions`; `others`: neurons in no family.
    - `other_share`: of the logits' variance at frequencies that no family has.
    - `deformed_share`: of the closed form's power, what is added to pure cosines; None for a pure one.
    - `right` [p, p]: whether the largest logit is the right one. `attention`: for learned attention, what it is for.
    """

    p: int
    neurons: int
    outputs: int
    frequencies: tuple[FrequencyEstimate, ...]
    directions: tuple[Direction, ...]
    others: int
    other_share: float
    deformed_share: float | None
    right: NDArray[np.bool_]
    attention: AttentionUse | None


def read_mechanism(case: Case) -> Mechanism:
    """The mechanism as the case's certificate explains it."""
    circuit, evidence = case.circuit, case.checked.evidence
    p, b = circuit.p, np.arange(circuit.p)
    forms = coefficients(evidence)
    power, missed, right = np.zeros(p // 2 + 1), dict.fromkeys(forms, 0.0), np.zeros((p, p), dtype=np.bool_)
    for a in range(p):
        logits = logits_of(evidence, a)
        right[a] = logits.argmax(axis=1) == (a + b) % p
        spectrum = 2 / p * np.fft.rfft(logits[:, :p], axis=1)
        power += (np.abs(spectrum) ** 2).sum(axis=0)
        for k, g in forms.items():
            expected = g[(a - b) % p] * turns(-k * ((a + b) % p) / p)
            missed[k] += float((np.abs(spectrum[:, k] - expected) ** 2).sum())
    whole = float(power[1:].sum()) or 1.0
    found = tuple(
        _frequency(wheel, case.certificate, float(power[wheel.frequency]) / whole, missed[wheel.frequency] / whole)
        for wheel in wheels(circuit, case.certificate)
    )
    other = max(0.0, 1 - sum(float(power[k]) / whole for k in forms))
    return Mechanism(
        p,
        circuit.neurons,
        circuit.outputs,
        found,
        directions(evidence),
        case.certificate.others,
        other,
        deformed_share(evidence),
        right,
        read_attention(case),
    )


def _frequency(wheel: Wheel, certificate: Certificate, share: float, missed: float) -> FrequencyEstimate:
    used = sorted(set(wheel.families.tolist()))
    dc = second = 0.0
    for index in used:
        family = certificate.families[index]
        size = np.hypot(family.profile[:, ::2], family.profile[:, 1::2]).mean(axis=1)
        part = float(wheel.share[wheel.families == index].sum())
        dc += part * family.dc / max(float(size[0]), 1.0)
        second += part * float(size[1]) / max(float(size[0]), 1.0) if len(size) > 1 else 0.0
    return FrequencyEstimate(
        frequency=wheel.frequency,
        neurons=len(wheel.neurons),
        families=len(used),
        angle_rms=float(np.sqrt((wheel.share * wheel.angle_error**2).sum())),
        dc=dc,
        second=second,
        share=share,
        missed=missed,
    )
