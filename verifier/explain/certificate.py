"""From an explanation in floating point to the certificate's exact integers (untrusted)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verifier.explain.families import FoundFamily, Neurons
from verifier.kernel import limits

FORMAT = "verifier-certificate/1"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything a certificate says, before rounding. Lists of neurons are disjoint and cover all of them."""

    families: tuple[FoundFamily, ...]
    shells: tuple[tuple[float, ...], ...]
    output_frequencies: tuple[int, ...]
    cells: int
    critical_offsets: int
    outliers: tuple[int, ...]
    on: tuple[int, ...]
    off: tuple[int, ...]


def encode_certificate(
    explanation: Explanation, neurons: Neurons, weights: NDArray[np.float64], p: int, unit: int, model_sha256: str
) -> bytes:
    """Round an explanation to a certificate, as canonical JSON (sorted names, no spaces, a final newline).

    **Arguments**

    - `unit`: the amplitudes of `neurons` are in units of 2^unit.
    - `weights`: (n,) the quadrature weight α_i·|ω_i| of every neuron, used to place the boxes of the rectangle method.
    """
    top = max(float(neurons.amplitude[family.neurons].max()) for family in explanation.families)
    exponent = math.frexp(top)[1] - 31
    off = list(explanation.off)
    families = []
    for family, shells in zip(explanation.families, explanation.shells, strict=True):
        members = []
        for i in family.neurons.tolist():
            amplitude = round(math.ldexp(float(neurons.amplitude[i]), -exponent))
            if amplitude < 1:
                off.append(i)
                continue
            members.append([i, amplitude, _phase(float(neurons.phase[i]))])
        if members:
            families.append(
                {
                    "frequency": family.frequency,
                    "dc": _fixed(family.dc),
                    "profile": [
                        [_fixed(z.real), _fixed(z.imag), _fixed(v.real), _fixed(v.imag)] for z, v in family.profile
                    ],
                    "shells": _increasing(shells),
                    "members": members,
                }
            )
    used = sorted({family.frequency for family in explanation.families})
    document = {
        "format": FORMAT,
        "model_sha256": model_sha256,
        "p": p,
        "neurons": len(neurons.phase),
        "cells": explanation.cells,
        "output_frequencies": list(explanation.output_frequencies),
        "critical_offsets": explanation.critical_offsets,
        "amplitude_exponent": exponent + unit,
        "families": families,
        "outliers": sorted(explanation.outliers),
        "on": sorted(explanation.on),
        "off": sorted(off),
        "boxes": [_boxes(k, explanation, neurons, weights) for k in used],
    }
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode("ascii")


def _fixed(x: float) -> int:
    return max(-limits.PROFILE, min(limits.PROFILE, round(math.ldexp(float(x), limits.PROFILE_BITS))))


def _phase(x: float) -> int:
    return round(math.ldexp(x, limits.PHASE_BITS)) % (1 << limits.PHASE_BITS)


def _increasing(shells: Sequence[float]) -> list[int]:
    return sorted({_fixed(t) for t in shells if t > 0} - {0})[: limits.SHELLS]


def _boxes(frequency: int, explanation: Explanation, neurons: Neurons, weights: NDArray[np.float64]) -> dict[str, int]:
    members = np.concatenate([f.neurons for f in explanation.families if f.frequency == frequency])
    share = (weights[members] + 1e-300) / (weights[members] + 1e-300).sum()
    phases = neurons.phase[members]
    return {
        "frequency": frequency,
        "whole": _phase(_best_start(phases, share, 1.0) % 1.0),
        "half": _phase(_best_start(phases % 0.5, share / 2, 0.5) % 0.5),
    }


def _best_start(positions: NDArray[np.float64], widths: NDArray[np.float64], period: float) -> float:
    """Where to lay the first box: the sum of ∫|x − φ_i| over the boxes is convex in the start, so bisect its slope."""
    order = np.argsort(positions, kind="stable")
    phi, ends = positions[order], np.cumsum(widths[order])
    begins = ends - widths[order]
    low, high = float(phi[0]) - period / 2, float(phi[0]) + period / 2
    for _ in range(50):
        middle = (low + high) / 2
        slope = float((np.abs(middle + ends - phi) - np.abs(middle + begins - phi)).sum())
        low, high = (middle, high) if slope < 0 else (low, middle)
    return low
