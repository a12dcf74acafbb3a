"""From an explanation in floating point to the certificate's exact integers (untrusted)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from verifier.explainer.deformation import Deformation
from verifier.explainer.directions import BITS
from verifier.explainer.families import Family
from verifier.explainer.reading import Array, Indices, Reading

FORMAT = "verifier-certificate/2"
PHASE_BITS = 32
PROFILE_BITS = 24
NODES = 1024


def encode(
    r: Reading,
    families: Sequence[Family],
    directions: Array,
    orders: Mapping[int, Indices],
    deformation: Deformation | None,
    model_sha256: str,
) -> bytes:
    """Canonical JSON: sorted names, no spaces, a final newline."""
    exponent = max((math.frexp(float(f.amplitude.max()))[1] for f in families), default=0) - 31
    document = {
        "format": FORMAT,
        "model_sha256": model_sha256,
        "p": r.p,
        "neurons": len(r.a),
        "amplitude_exponent": exponent + r.exponent,
        "directions": [_fixed(row) for row in directions],
        "families": [_family(f, exponent) for f in families],
        "others": [{"frequency": k, "neurons": sorted(neurons.tolist())} for k, neurons in sorted(orders.items())],
        "nodes": NODES,
        "boxes": [_boxes(r, f) for f in families],
        **({} if deformation is None else {"deformation": _deformation(deformation, r.exponent + r.out_exponent)}),
    }
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode("ascii")


def _fixed(values: Array) -> list[int]:
    return [round(math.ldexp(x, BITS)) for x in values.tolist()]


def _deformation(d: Deformation, exponent: int) -> dict[str, Any]:
    """`exponent`: of the unit of `d.constant`, in logits."""
    least = math.frexp(float(np.abs(d.constant).max()))[1]
    return {
        "exponent": exponent + least - BITS,
        "constant": _fixed(np.ldexp(d.constant, -least)),
        "waves": [
            {"frequency": j, "cosine": _fixed(w.real), "sine": _fixed(w.imag)} for j, w in sorted(d.waves.items())
        ],
    }


def _family(f: Family, exponent: int) -> dict[str, Any]:
    theta = [round(math.ldexp(x, PROFILE_BITS)) for x in f.theta.tolist()]
    members = zip(f.neurons.tolist(), f.amplitude.tolist(), f.phase.tolist(), strict=True)
    return {
        "frequency": f.frequency,
        "dc": theta[0],
        "profile": [theta[i : i + 4] for i in range(1, len(theta), 4)],
        "outputs": f.outputs,
        "members": [[i, round(math.ldexp(amplitude, -exponent)), _phase(phase)] for i, amplitude, phase in members],
    }


def _phase(x: float) -> int:
    return round(math.ldexp(x, PHASE_BITS)) % (1 << PHASE_BITS)


def _boxes(r: Reading, f: Family) -> dict[str, int]:
    """Where the rectangle method's boxes start, on the whole circle and on the half one."""
    weight = f.amplitude * np.abs(r.zw[f.neurons, f.frequency])
    share = weight / weight.sum()
    return {
        "frequency": f.frequency,
        "whole": _phase(_best_start(f.phase, share, 1.0) % 1.0),
        "half": _phase(_best_start(f.phase % 0.5, share / 2, 0.5) % 0.5),
    }


def _best_start(positions: Array, widths: Array, period: float) -> float:
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
