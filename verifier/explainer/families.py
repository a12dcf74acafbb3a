"""The closed form of the logits: families of neurons, and profiles fitted to what the network does (float64).

Family g: A[i, a] + B[i, b] ≈ α_i·T_{a−b}(kb/p + φ_i), T_δ(x) = d + Σ_h Re[(zA_h·e(hkδ/p) + zB_h)·e(hx)]. At the output
frequency rk it writes, turned by the answer, e(rkδ/p)·Q_r·∫ReLU(T_δ(x))·e(2rx) dx, Q_r = Σ_i α_i·ω_{i,rk}·e(−2rφ_i).
On the set where T_δ > 0 that is linear in d and zA, zB; so each step of the fit is linear least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from verifier.explainer.reading import Array, Complex, Indices, Reading, Sample, turned, turns

HARMONICS = 6
OUTPUTS = 4
NODES = 256  # of the integral here; the kernel takes more
STEPS = 24
PROFILE = 7.9  # no parameter of a profile becomes larger
LAWSON = 8
RIDGE = 3e-3  # how strongly the fit is held to the neurons' own mean profile
FAINT = 1e-8  # a neuron of a family has at least this share of the largest amplitude,
OFFSET = 6.0  # and a constant part of at most so many amplitudes
STRAY = 0.02  # a frequency whose neurons write less than this share of everything is no frequency of the mechanism
COHERENT = 0.3  # and so is one whose neurons' outputs cancel: |Q_1| below this share of Σ α_i·|ω_i|
STEADY = 0.5  # and one at which the logits depend on b: less than this share of their power is that of the middle
FLOOR = 2.0**-20  # and one whose neurons write next to nothing, in units of the largest entries
OUTPUT_SHARE = 0.01  # a harmonic of the output is in the closed form from this share of the largest one on


@dataclass(frozen=True, slots=True)
class Family:
    """`theta`: the real parameters of T: d, then Re zA_h, Im zA_h, Re zB_h, Im zB_h for h = 1, 2, …"""

    frequency: int
    theta: Array
    outputs: int
    neurons: Indices
    amplitude: Array
    phase: Array


def find_families(r: Reading, s: Sample) -> list[Family]:
    """Families of the frequencies that matter, one each, fitted; none if none does."""
    half = (r.p - 1) // 2
    truth, steady = middle_coefficients(r, s)
    omega = r.zw[np.arange(len(r.a)), r.frequency]
    offset = (r.za[:, 0] + r.zb[:, 0]).real / 2
    usable = (r.amplitude > np.maximum(FAINT * r.amplitude.max(), np.abs(offset) / OFFSET)) & (omega != 0)
    moment = np.where(usable, r.amplitude, 0.0) * omega * turns(-2 * r.phase)
    written = np.bincount(r.frequency, np.abs(moment), half + 1)
    coherent = np.bincount(r.frequency, moment.real, half + 1) + 1j * np.bincount(r.frequency, moment.imag, half + 1)
    chosen = (written > STRAY * written.sum() + FLOOR) & (np.abs(coherent) > COHERENT * written)
    chosen &= steady[: half + 1] > STEADY
    loud = np.abs(truth).max(axis=1) > OUTPUT_SHARE * np.abs(truth).max()
    loud[: half + 1] &= ~chosen
    families = []
    for k in np.flatnonzero(chosen).tolist():
        members = np.flatnonzero((r.frequency == k) & usable)
        alone = (r.p // math.gcd(k, r.p) - 1) // 2  # so many harmonics of k are not 0, nor another one or its negative
        outputs = max(x for x in range(1, min(OUTPUTS, alone) + 1) if x == 1 or loud[_folded(x * k, r.p)[0]])
        profiles = _profiles(r, members, k, min(HARMONICS, alone))
        theta = np.average(profiles, axis=0, weights=np.abs(moment[members]))
        families.append(Family(k, theta, outputs, members, r.amplitude[members], r.phase[members]))
    return fit(r, s, families, truth) if families else []


def _profiles(r: Reading, members: Indices, k: int, harmonics: int) -> Array:
    """θ of every member alone, turned to phase 0 and divided by its amplitude."""
    alpha, phase = r.amplitude[members], r.phase[members]
    columns = [(r.za[members, 0] + r.zb[members, 0]).real / 2 / alpha]
    for h in range(1, harmonics + 1):
        for table in (r.za, r.zb):
            z = table[members, h * k % r.p] * turns(-h * phase) / alpha
            columns += [z.real, z.imag]
    return np.stack(columns, axis=1)


def _folded(j: int, p: int) -> tuple[int, bool]:
    """The output frequency j modulo p as one of 0..⌊p/2⌋, and whether its sign changed."""
    j %= p
    return (p - j, True) if 2 * j > p else (j, False)


def middle_coefficients(r: Reading, s: Sample) -> tuple[Complex, Array]:
    """The network's own coefficients, turned by the answer: for each δ the middle over b, shape (⌊p/2⌋ + 1, deltas);
    and by output frequency its share of their power.

    The middle starts as the mean; then each b counts the more the further it is away (Lawson), so that the greatest
    distance becomes small.
    """
    each = 2 / r.p * np.fft.fft(turned(r, s, s.logits), axis=2)[:, :, : r.p // 2 + 1]
    weight = np.ones(each.shape[:2])
    middle = each.mean(axis=1)
    for _ in range(LAWSON):
        weight *= np.linalg.norm(each[:, :, 1:] - middle[:, None, 1:], axis=2) + 1e-300
        weight /= weight.max(axis=1, keepdims=True)
        middle = (weight[:, :, None] * each).sum(axis=1) / weight.sum(axis=1)[:, None]
    power = (np.abs(each) ** 2).mean(axis=(0, 1))
    return middle.T, (np.abs(middle) ** 2).mean(axis=0) / np.maximum(power, 1e-300)


def columns(r: Reading, family: Family, deltas: Indices) -> dict[int, Complex]:
    """What the family writes, by output frequency: shape (deltas, parameters), to be multiplied by θ."""
    p, k, theta = r.p, family.frequency, family.theta
    harmonics = np.arange(1, len(theta) // 4 + 1)
    shift = turns(harmonics * k * deltas[:, None] / p)
    z = theta[1:].reshape(-1, 4)
    u = (z[:, 0] + 1j * z[:, 1]) * shift + (z[:, 2] + 1j * z[:, 3])
    waves = turns(harmonics[:, None] * (np.arange(NODES) + 0.5) / NODES)
    positive = (theta[0] + u.real @ waves.real - u.imag @ waves.imag) > 0
    modes = np.fft.ifft(positive, axis=1)  # of the set where T > 0: ∫ e(mx) is modes[m]·e(m/2 nodes)
    result: dict[int, Complex] = {}
    for x in range(1, family.outputs + 1):
        j, minus = _folded(x * k, p)
        moment = (family.amplitude * r.zw[family.neurons, x * k % p] * turns(-2 * x * family.phase)).sum()
        own = modes[:, [2 * x]] * turns(np.array(x / NODES))
        up, down = (modes[:, m] * turns(m / (2 * NODES)) / 2 for m in (2 * x + harmonics, 2 * x - harmonics))
        pairs = [(shift * up, shift.conj() * down), (up, down)]  # of zA, of zB
        waves_of = [z for up, down in pairs for z in (up + down, 1j * (up - down))]  # of the real, the imaginary part
        value = np.concatenate([own, np.stack(waves_of, axis=2).reshape(len(deltas), -1)], axis=1)
        value = value * moment * turns(x * k * deltas / p)[:, None]
        result[j] = result.get(j, 0) + (value.conj() if minus else value)
    return result


def closed_form(r: Reading, families: list[Family], deltas: Indices) -> dict[int, Complex]:
    """G_j(δ) of the closed form, by output frequency."""
    result: dict[int, Complex] = {}
    for family in families:
        for j, value in columns(r, family, deltas).items():
            result[j] = result.get(j, 0) + value @ family.theta
    return result


def fit(r: Reading, s: Sample, families: list[Family], truth: Complex) -> list[Family]:
    """The profiles moved so that the closed form comes near the network's coefficients (Levenberg, Marquardt)."""
    start = np.concatenate([family.theta for family in families])
    ends = np.cumsum([len(family.theta) for family in families])[:-1]
    theta = here = np.clip(start, -PROFILE, PROFILE)
    normal, slope = np.eye(len(start)), np.zeros(len(start))
    least, damping = np.inf, 1e-2
    for _ in range(STEPS):
        moved = _moved(families, theta, ends)
        matrix, wanted = _system(r, s, moved, truth)
        missing = wanted - matrix @ theta
        ridge = RIDGE * (matrix**2).sum() / len(start) + 1e-300
        error = float(missing @ missing + ridge * ((theta - start) ** 2).sum())
        if error < least:
            least, here, damping = error, theta, damping / 10
            normal = matrix.T @ matrix + ridge * np.eye(len(start))
            slope = matrix.T @ missing + ridge * (start - theta)
        else:
            damping *= 10
        damped = normal + damping * np.trace(normal) / len(start) * np.eye(len(start))
        theta = np.clip(here + np.linalg.solve(damped, slope), -PROFILE, PROFILE)
    return _moved(families, here, ends)


def _moved(families: list[Family], theta: Array, ends: Indices) -> list[Family]:
    return [replace(f, theta=part) for f, part in zip(families, np.split(theta, ends), strict=True)]


def _system(r: Reading, s: Sample, families: list[Family], truth: Complex) -> tuple[Array, Array]:
    """The closed form as a matrix times θ, all families together, and what it should be; real and imaginary parts."""
    parts = [columns(r, family, s.deltas) for family in families]
    used = sorted(set[int]().union(*parts))
    rows = []
    for j in used:
        blocks = [part.get(j, np.zeros((len(s.deltas), len(f.theta)))) for part, f in zip(parts, families, strict=True)]
        rows.append(np.concatenate(blocks, axis=1))
    both = np.concatenate(rows), truth[used].ravel()
    matrix, wanted = (np.concatenate([x.real, x.imag]) for x in both)
    return matrix, wanted
