"""Finding the explanation: frequencies, phases, profiles and families of a folded circuit (untrusted, float64).

Nothing here is believed by the kernel. A bad explanation costs certified margin, never soundness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Indices = NDArray[np.int64]


def turns(x: Array) -> Complex:
    """e(x) = exp(2πix)."""
    result: Complex = np.exp(2j * np.pi * x)
    return result


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Fourier coefficients of a folded circuit: A[i, a] = Σ_k Re(a[i, k]·e(ka/p)), k = 0..⌊p/2⌋, the same for B and W.

    **Fields**

    - `a`, `b`, `w`: complex, shapes (n, p), coefficient k at column k (column 0 is twice the mean).
    - `reach`: per neuron, the range of W over the outputs.
    - `mean_activation`: per neuron, the mean of ReLU over a sample of inputs.
    """

    p: int
    a: Complex
    b: Complex
    w: Complex
    reach: Array
    mean_activation: Array


def spectrum(a: Array, b: Array, w: Array) -> Spectrum:
    """Spectrum of A (n, p), B (n, p) and W (q, n); O(np log p)."""
    p = a.shape[1]
    activation = np.mean([np.maximum(a + np.roll(b, shift, axis=1), 0).mean(axis=1) for shift in range(4)], axis=0)
    return Spectrum(
        p=p,
        a=2 / p * np.fft.fft(a, axis=1),
        b=2 / p * np.fft.fft(b, axis=1),
        w=2 / p * np.fft.fft(w[:p].T, axis=1),
        reach=w.max(axis=0) - w.min(axis=0),
        mean_activation=activation,
    )


@dataclass(frozen=True, slots=True)
class Neurons:
    """Per-neuron readings: dominant input frequency, amplitude, phase (turns), and the share of its power explained."""

    frequency: Indices
    amplitude: Array
    phase: Array
    share: Array


def read_neurons(s: Spectrum) -> Neurons:
    """The dominant frequency of each neuron by joint power of A and B; its phase is the mean direction of the two."""
    half = (s.p - 1) // 2
    power = np.abs(s.a[:, 1 : half + 1]) ** 2 + np.abs(s.b[:, 1 : half + 1]) ** 2
    frequency = power.argmax(axis=1) + 1
    rows = np.arange(len(frequency))
    u, v = s.a[rows, frequency], s.b[rows, frequency]
    direction = _unit(u) + _unit(v)
    phase = np.angle(direction) / (2 * np.pi) % 1.0
    whole = power.sum(axis=1)
    share = np.divide(power.max(axis=1), whole, out=np.zeros_like(whole), where=whole > 0)
    return Neurons(frequency, (np.abs(u) + np.abs(v)) / 2, phase, share)


def describe(s: Spectrum, n: Neurons) -> str:
    """How far single frequencies go to explain the neurons, in one sentence of estimates."""
    half = (s.p - 1) // 2
    size = np.sqrt(np.abs(s.a[:, 1 : half + 1]) ** 2 + np.abs(s.b[:, 1 : half + 1]) ** 2)
    ordered = np.sort(size, axis=1)
    mixed = int((ordered[:, -2] > 0.3 * ordered[:, -1]).sum()) if half > 1 else 0
    least, median = np.quantile(n.share, (0.1, 0.5))
    return (
        f"estimates: {len(set(n.frequency.tolist()))} dominant input frequencies; a neuron's own carries "
        f"{median:.0%} of what varies in it (median; {least:.0%} for the least tenth); {mixed} of {len(n.share)} "
        "neurons have a second one with 30 % of its amplitude or more, so that their phases fill two dimensions"
    )


def _unit(z: Complex) -> Complex:
    size = np.abs(z)
    return np.divide(z, size, out=np.zeros_like(z), where=size > 0)


@dataclass(frozen=True, slots=True)
class FoundFamily:
    """A family before rounding: `profile` has rows (z^A_h, z^B_h), h = 1..H; `spread` is the members' typical
    residual/α.
    """

    frequency: int
    dc: float
    profile: Complex
    neurons: Indices
    spread: Array


def features(s: Spectrum, n: Neurons, members: Indices, frequency: int, harmonics: int) -> Array:
    """Each member's own profile, turned to phase 0 and divided by its amplitude: DC, then Re, Im of z^A_h, z^B_h."""
    alpha, phase = n.amplitude[members], n.phase[members]
    columns = [(s.a[members, 0].real + s.b[members, 0].real) / 2 / alpha]
    for h in range(1, harmonics + 1):
        mode = h * frequency % s.p
        back = turns(-h * phase) / alpha
        for table in (s.a, s.b):
            z = table[members, mode] * back
            columns += [z.real, z.imag]
    return np.stack(columns, axis=1)


def cluster(points: Array, weight: Array, count: int, seed: int) -> Indices:
    """Weighted k-means labels, deterministic for a seed; k-means++ starts, the best of four."""
    rng = np.random.default_rng(seed)
    count = min(count, len(points))
    least, best = np.inf, np.zeros(len(points), dtype=np.int64)
    for _ in range(4 if count > 1 else 1):
        centres = _starts(points, weight, count, rng)
        distance = np.zeros((len(points), count))
        labels = np.zeros(len(points), dtype=np.int64)
        for _ in range(40):
            distance = ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
            labels = distance.argmin(axis=1)
            moved = np.stack(
                [
                    np.average(points[labels == g], axis=0, weights=weight[labels == g])
                    if (labels == g).any()
                    else centres[g]
                    for g in range(count)
                ]
            )
            if np.allclose(moved, centres):
                break
            centres = moved
        cost = float((weight * distance[np.arange(len(points)), labels]).sum())
        if cost < least:
            least, best = cost, labels
    return best


def _starts(points: Array, weight: Array, count: int, rng: np.random.Generator) -> Array:
    chosen = [int(rng.choice(len(points), p=weight / weight.sum()))]
    while len(chosen) < count:
        distance = np.min([((points - points[i]) ** 2).sum(axis=1) for i in chosen], axis=0) * weight
        total = distance.sum()
        chosen.append(int(rng.choice(len(points), p=distance / total if total > 0 else None)))
    return points[chosen]
