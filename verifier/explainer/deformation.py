"""Waves over the outputs that are no pure cosines (docs/theory.md §5), where pure ones do not explain every answer.

By least squares over the sampled inputs; then each input counts the more the further it is from the form (Lawson).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.explainer.reading import Array, Complex, Reading, Sample, turned, turns
from verifier.kernel.limits import FULL_PRODUCT

LIMIT = 15.9  # no part of a wave becomes larger: the kernel takes numbers below 16
LAWSON = 12
LEEWAY = 1.05  # what the kernel finds is so much further from the form: the rest of the directions, and rounding


@dataclass(frozen=True, slots=True)
class Deformation:
    """What is added: `constant` (p,), and by output frequency x + iy, (p,), to e(jc/p)."""

    constant: Array
    waves: dict[int, Complex]

    def table(self, r: Reading, s: Sample, form: dict[int, Complex]) -> Array:
        """Its part of the closed form by δ, b and c − (a + b)."""
        parts = [x for w in self.waves.values() for x in (w.real, w.imag)]
        return turned(r, s, _basis(r, s, {j: form[j] for j in self.waves}) @ np.stack([*parts, self.constant]))


def _basis(r: Reading, s: Sample, form: dict[int, Complex]) -> Array:
    """By input: the real part of G_j(δ)·e(−jt/p), and minus the imaginary one, for every j; and 1."""
    parts = []
    for j, g in form.items():
        z = np.repeat(g, len(s.columns)) * turns(-j * ((s.a + s.b) % r.p) / r.p)
        parts += [z.real, -z.imag]
    return np.stack([*parts, np.ones(len(s.a))], axis=1)


def find_deformation(r: Reading, s: Sample, form: dict[int, Complex], pure: Array) -> Deformation | None:
    """The deformation with which most inputs are explained, if it is more than with none.

    **Arguments**

    - `form`: G_j(δ). `pure`: the pure closed form by δ, 1 and c − (a + b).
    """
    own = turned(r, s, s.logits)
    best, most = None, _explained(own, pure)
    if r.p > FULL_PRODUCT or most[0] == len(s.deltas):
        return None
    basis, back = _basis(r, s, form), (np.arange(r.p) - (s.a + s.b)[:, None]) % r.p
    missing = np.take_along_axis((own - pure).reshape(-1, r.p), back, axis=1)
    missing -= missing.mean(axis=1, keepdims=True)
    weight = np.ones((len(basis), 1))
    for _ in range(LAWSON):
        found = np.linalg.lstsq(basis * np.sqrt(weight), missing * np.sqrt(weight), rcond=None)[0].clip(-LIMIT, LIMIT)
        waves = {j: x + 1j * y for j, x, y in zip(form, found[:-1:2], found[1::2], strict=True)}
        trial = Deformation(found[-1], waves)
        reached = _explained(own, pure + trial.table(r, s, form))
        if reached[0] > most[0] or (best is not None and reached > most):
            best, most = trial, reached
        weight *= np.ptp(missing - basis @ found, axis=1)[:, None] + 1e-300
        weight /= weight.max()
    return best


def _explained(own: Array, form: Array) -> tuple[int, float]:
    """At how many δ the closed form's least gap is above twice its error, and by how much at the worst δ."""
    gaps = (form[:, :, :1] - form[:, :, 1:]).min(axis=(1, 2))
    room = gaps - LEEWAY * np.ptp(own - form, axis=2).max(axis=1)
    return int((room > 0).sum()), float(room.min())
