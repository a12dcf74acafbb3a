"""The closed form of the logits: families of neurons, and profiles fitted to what the network does (float64).

Family g: A[i, a] + B[i, b] ≈ α_i·T_{a−b}(kb/p + φ_i), T_δ(x) = d + Σ_h Re[(zA_h·e(hkδ/p) + zB_h)·e(hx)]. At the output
frequency rk it writes, turned by the answer, e(rkδ/p)·Q_r·∫ReLU(T_δ(x))·e(2rx) dx with Q_r = Σ_i α_i·ω_{i,rk}·e(−2rφ_i).
On the set where T_δ > 0 that is linear in d and zA, zB; so each step of the fit is linear least squares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from verifier.explain.reading import Array, Complex, Indices, Reading, Sample, turned, turns

HARMONICS = 6
OUTPUTS = 4
NODES = 256  # of the integral here; the kernel takes more
STEPS = 24
LAWSON = 8
RIDGE = 3e-3  # how strongly the fit is held to the neurons' own mean profile
STRAY = 0.02  # a frequency whose neurons write less than this share of everything is no frequency of the mechanism
COHERENT = 0.3  # and so is one whose neurons' outputs cancel: |Q_1| below this share of Σ α_i·|ω_i|
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
    """Families of the frequencies that matter, fitted; none if none does."""
    half = (r.p - 1) // 2
    truth = middle_coefficients(r, s)
    omega = r.zw[np.arange(len(r.a)), r.frequency]
    offset = (r.za[:, 0] + r.zb[:, 0]).real / 2
    usable = r.amplitude > np.maximum(1e-8 * r.amplitude.max(), np.abs(offset) / 6)
    written = np.where(usable, r.amplitude * np.abs(omega), 0.0)
    moment = np.where(usable, r.amplitude, 0.0) * omega * turns(-2 * r.phase)
    total = np.bincount(r.frequency, written, half + 1)
    coherent = np.abs(np.bincount(r.frequency, moment.real, half + 1) + 1j * np.bincount(r.frequency, moment.imag, half + 1))
    families = []
    loud = np.abs(truth).max(axis=1) > OUTPUT_SHARE * np.abs(truth).max()
    chosen = np.flatnonzero((total > STRAY * total.sum() + FLOOR) & (coherent > COHERENT * total))
    loud[chosen] = False
    for k in chosen.tolist():
        members = np.flatnonzero((r.frequency == k) & usable & (written > 0))
        period = r.p // int(np.gcd(k, r.p))
        outputs = max(x for x in range(1, OUTPUTS + 1) if x == 1 or (2 * x < period and loud[_folded(x * k, r.p)[0]]))
        theta = np.average(_profiles(r, members, k, min(HARMONICS, (period - 1) // 2)), axis=0, weights=written[members])
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


def middle_coefficients(r: Reading, s: Sample) -> Complex:
    """The network's own coefficients, turned by the answer: for each δ the middle over b, shape (⌊p/2⌋ + 1, deltas).

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
    result: Complex = middle.T
    return result


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
        up, down = (modes[:, m] * turns(m / (2 * NODES)) / 2 for m in (2 * x + harmonics, 2 * x - harmonics))
        parts = [modes[:, [2 * x]] * turns(np.array(x / NODES))]
        by_a, by_b = (shift * up, shift.conj() * down), (up, down)
        parts.append(np.stack([f(*both) for both in (by_a, by_b) for f in (_real, _imag)], axis=2).reshape(len(deltas), -1))
        value = np.concatenate(parts, axis=1) * moment * turns(x * k * deltas / p)[:, None]
        result[j] = result.get(j, 0) + (value.conj() if minus else value)
    return result


def _real(up: Complex, down: Complex) -> Complex:
    return up + down


def _imag(up: Complex, down: Complex) -> Complex:
    return 1j * (up - down)


def closed_form(r: Reading, families: list[Family], deltas: Indices) -> dict[int, Complex]:
    """G_j(δ) of the closed form, by output frequency."""
    result: dict[int, Complex] = {}
    for family in families:
        for j, value in columns(r, family, deltas).items():
            result[j] = result.get(j, 0) + value @ family.theta
    return result


def fit(r: Reading, s: Sample, families: list[Family], truth: Complex) -> list[Family]:
    """The profiles moved so that the closed form comes near the network's mean coefficients (Levenberg, Marquardt)."""
    ends = np.cumsum([len(family.theta) for family in families])[:-1]
    start = np.concatenate([family.theta for family in families])
    theta, best, least, damping = start, families, np.inf, 1.0
    for _ in range(STEPS + 1):
        parts = [columns(r, family, s.deltas) for family in families]
        used = sorted(set().union(*parts))
        blank = [np.zeros((len(s.deltas), len(family.theta)), complex) for family in families]
        rows = [np.concatenate([part.get(j, zero) for part, zero in zip(parts, blank)], axis=1) for j in used]
        matrix, wanted = (np.concatenate([x.real, x.imag]) for x in (np.concatenate(rows), truth[used].ravel()))
        missing = wanted - matrix @ theta
        scale = np.trace(matrix.T @ matrix) / len(theta) + 1e-300
        error = float(missing @ missing + RIDGE * scale * ((theta - start) ** 2).sum())
        if error < least:
            least, best, damping = error, families, damping / 10
            here, normal = theta, matrix.T @ matrix + RIDGE * scale * np.eye(len(theta))
            slope = matrix.T @ missing + RIDGE * scale * (start - theta)
        else:
            damping *= 10
        step = np.linalg.solve(normal + damping * 1e-3 * scale * np.eye(len(theta)), slope)
        theta = np.clip(here + step, -7.9, 7.9)
        families = [replace(f, theta=part) for f, part in zip(families, np.split(theta, ends))]
    return best
