"""Choosing an explanation by what it buys in certified margin (untrusted; the kernel is the judge)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from verifier.explain.certificate import Explanation, encode_certificate
from verifier.explain.families import (
    Array,
    FoundFamily,
    Indices,
    Neurons,
    Spectrum,
    cluster,
    features,
    read_neurons,
    spectrum,
    turns,
)
from verifier.model import FoldedCircuit

SAMPLED_OFFSETS = 12
STRAY = 0.02  # a frequency whose neurons write less than this share of everything is no frequency of the mechanism


class NothingToExplain(ValueError):
    """The circuit has no neuron with a frequency."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much an explanation may cost: each field trades checking time for margin."""

    families: int  # per frequency
    harmonics: int
    output_frequencies: int
    shells: int
    cells: int  # on the circle, about
    critical_offsets: int
    outliers: float  # share of the neurons


EFFORTS = (
    Effort(families=1, harmonics=5, output_frequencies=6, shells=3, cells=472, critical_offsets=8, outliers=0.0),
    Effort(
        families=2,
        harmonics=5,
        output_frequencies=10,
        shells=4,
        cells=944,
        critical_offsets=16,
        outliers=0.02,
    ),
    Effort(families=2, harmonics=5, output_frequencies=16, shells=5, cells=944, critical_offsets=64, outliers=0.2),
    Effort(
        families=2,
        harmonics=5,
        output_frequencies=32,
        shells=5,
        cells=944,
        critical_offsets=64,
        outliers=0.35,
    ),
    Effort(
        families=8,
        harmonics=6,
        output_frequencies=64,
        shells=8,
        cells=1888,
        critical_offsets=64,
        outliers=0.35,
    ),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A circuit as the explainer sees it: its tables scaled by powers of two, so that float64 cannot overflow.

    **Fields**

    - `p`; `a`, `b`: (n, p), pre-activations divided by 2^`exponent`.
    """

    p: int
    a: Array
    b: Array
    exponent: int
    spectrum: Spectrum
    neurons: Neurons


def read(circuit: FoldedCircuit) -> Reading:
    a, b, w = (np.asarray(table, dtype=np.float64) for table in (circuit.A, circuit.B, circuit.W))
    exponent = _exponent(a, b)
    a, b = np.ldexp(a, -exponent), np.ldexp(b, -exponent)
    s = spectrum(a, b, np.ldexp(w, -_exponent(w)))
    return Reading(circuit.p, a, b, exponent, s, read_neurons(s))


def _exponent(*tables: Array) -> int:
    """The binary exponent of the largest entry, 0 for none."""
    return math.frexp(max(float(np.abs(table).max()) for table in tables))[1]


def explain(reading: Reading, effort: Effort) -> Explanation:
    """An explanation of a given effort.

    **Raises** `NothingToExplain` when no neuron depends on its input.
    """
    s, n, p = reading.spectrum, reading.neurons, reading.p
    half = (p - 1) // 2
    usable = n.amplitude > 1e-9 * n.amplitude.max()
    if not usable.any():
        raise NothingToExplain("no neuron depends on its input")
    importance = s.reach * s.mean_activation + 1e-12  # nothing weighs nothing: averages are taken with it
    families: list[FoundFamily] = []
    outliers: set[int] = set()
    written = np.bincount(n.frequency[usable], weights=importance[usable], minlength=half + 1)
    for frequency in sorted(set(n.frequency[usable].tolist())):
        members = np.flatnonzero(usable & (n.frequency == frequency))
        if written[frequency] < min(STRAY * written.sum(), written.max()):
            outliers.update(members.tolist())  # too few for a quadrature, and not worth an output frequency
        else:
            families += _split(reading, members, frequency, effort, importance)
    families, on, off, losses = _assign(reading, families, ~usable)
    count = int(effort.outliers * len(importance))
    chosen = losses.argsort(kind="stable")[::-1][:count]
    outliers.update(int(i) for i in chosen if losses[i] > 0)
    return Explanation(
        families=tuple(families),
        shells=tuple(_shells(f, effort.shells) for f in families),
        output_frequencies=_output_frequencies(reading, families, min(effort.output_frequencies, half)),
        cells=max(1, -(-effort.cells // p)),
        critical_offsets=effort.critical_offsets,
        outliers=tuple(sorted(outliers)),
        on=tuple(on),
        off=tuple(off),
    )


def _split(reading: Reading, members: Indices, frequency: int, effort: Effort, importance: Array) -> list[FoundFamily]:
    """The neurons of one frequency, clustered by profile."""
    s, n = reading.spectrum, reading.neurons
    points = features(s, n, members, frequency, effort.harmonics)
    weight = importance[members]
    labels = cluster(points, weight, effort.families, seed=frequency)
    result = []
    for label in sorted(set(labels.tolist())):
        inside = labels == label
        centre = np.average(points[inside], axis=0, weights=weight[inside])
        profile = (centre[1::2] + 1j * centre[2::2]).reshape(-1, 2)
        result.append(FoundFamily(frequency, float(centre[0]), profile, members[inside], np.zeros(0)))
    return result


def _residuals(reading: Reading, family: FoundFamily) -> tuple[Array, Array]:
    """r and r′ of every member over its amplitude, balanced, shapes (m, p) (Lemma R in floating point)."""
    n, k, p, index = reading.neurons, family.frequency, reading.p, family.neurons
    alpha, phase = n.amplitude[index, None], n.phase[index, None]
    a, b = reading.a[index] / alpha, reading.b[index] / alpha - family.dc
    tokens = np.arange(p)[None, :]
    for h, (z, v) in enumerate(family.profile, start=1):
        wave = turns(h * (k * tokens / p + phase))
        a = a - (z * wave).real
        b = b - (v * wave).real
    move = (b.mean(axis=1) - a.mean(axis=1))[:, None] / 2
    return a + move, b - move


def _profile_values(reading: Reading, family: FoundFamily, delta: int) -> Array:
    """T_δ at every member's phase and every b, shape (m, p)."""
    p, k = reading.p, family.frequency
    x = k * np.arange(p)[None, :] / p + reading.neurons.phase[family.neurons, None]
    values = np.full(x.shape, family.dc)
    for h, (z, v) in enumerate(family.profile, start=1):
        values += ((z * turns(np.array(h * k * delta / p)) + v) * turns(h * x)).real
    return values


def _assign(
    reading: Reading, families: list[FoundFamily], unusable: NDArray[np.bool_]
) -> tuple[list[FoundFamily], list[int], list[int], Array]:
    """Move neurons that are cheaper as linear, or as zero, out of their families; and estimate what each one costs.

    The cost is the mean of the ReLU lemma's U over sampled offsets, times the range of the neuron's outputs.
    """
    s, n, p = reading.spectrum, reading.neurons, reading.p
    offsets = np.unique(np.linspace(0, p - 1, SAMPLED_OFFSETS).astype(int))
    losses = np.zeros(len(unusable))
    on: list[int] = []
    off: list[int] = [int(i) for i in np.flatnonzero(unusable)]
    result = []
    for family in families:
        r, r2 = _residuals(reading, family)
        alpha = n.amplitude[family.neurons]
        inside = np.zeros(len(alpha))
        for delta in offsets:
            t = _profile_values(reading, family, int(delta))
            sign = np.where(t >= 0, -1.0, 1.0)
            ra = np.roll(r, -int(delta), axis=1)
            depth = np.abs(t) / 2
            u = np.maximum(sign * ra - depth, 0) + np.maximum(sign * r2 - depth, 0)
            inside += u.mean(axis=1)
        inside *= alpha / len(offsets)
        a, b = reading.a[family.neurons], reading.b[family.neurons]
        costs = {}
        for name, pick in (("on", -1.0), ("off", 1.0)):
            x, y = pick * a, pick * b
            move = (y.max(axis=1) - x.max(axis=1))[:, None] / 2
            costs[name] = np.maximum(x + move, 0).mean(axis=1) + np.maximum(y - move, 0).mean(axis=1)
        keep = np.ones(len(alpha), dtype=bool)
        for index, neuron in enumerate(family.neurons.tolist()):
            choice = min(costs, key=lambda name: costs[name][index])
            if costs[choice][index] < inside[index]:
                (on if choice == "on" else off).append(neuron)
                keep[index] = False
        losses[family.neurons] = np.where(keep, inside * s.reach[family.neurons], 0.0)
        if keep.any():
            spread = np.sqrt((r[keep] ** 2).mean(axis=1) + (r2[keep] ** 2).mean(axis=1))
            result.append(FoundFamily(family.frequency, family.dc, family.profile, family.neurons[keep], spread))
    if not result:  # an explanation has a family; keep the first as it was
        first = families[0]
        members = set(first.neurons.tolist())
        result = [replace(first, spread=np.ones(len(first.neurons)))]
        on, off = [i for i in on if i not in members], [i for i in off if i not in members]
    return result, on, off, losses


def _shells(family: FoundFamily, count: int) -> tuple[float, ...]:
    """Depths in units of the profile: finer near the roots, out to where typical residuals end."""
    scale = float(np.quantile(family.spread, 0.8))
    return tuple(scale * 0.35 * 1.7**i for i in range(count))


def _output_frequencies(reading: Reading, families: list[FoundFamily], count: int) -> tuple[int, ...]:
    """The families' frequencies, then those at which the neurons write most."""
    s, p = reading.spectrum, reading.p
    written = (np.abs(s.w) * s.mean_activation[:, None]).sum(axis=0)
    order = written[1 : (p - 1) // 2 + 1].argsort(kind="stable")[::-1] + 1
    chosen = sorted({f.frequency for f in families})
    chosen += [int(j) for j in order if int(j) not in chosen][: max(0, count - len(chosen))]
    return tuple(chosen)


def certificate_bytes(reading: Reading, explanation: Explanation, model_sha256: str) -> bytes:
    s, n = reading.spectrum, reading.neurons
    weight = n.amplitude * np.abs(s.w[np.arange(len(n.frequency)), n.frequency])
    return encode_certificate(explanation, n, weight, reading.p, reading.exponent, model_sha256)
