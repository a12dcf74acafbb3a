"""Defects of the kernel that were once found (docs/soundness.md): what made them visible is checked for good."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import pytest

from tests.oracle import LEEWAY, captured, kernel, value
from tests.strategies import ONE, Case, random_case
from verifier.kernel import Conclusion, Rejected

P = 5


def _wave(j: int) -> list[float]:
    return [math.cos(2 * math.pi * j * x / P) for x in range(P)]


def _apart() -> Case:
    """A neuron whose rest is largest at (0, 0), and a skip whose rest is largest at a = 2, where the neuron is nearly
    silent.

    Both write frequency 2, and the certificate declares frequency 1 only, so that frequency 2 is rest.
    """
    row = _wave(1)
    wave = _wave(2)
    nothing = [0.0] * P
    skip = [[10 * x for x in wave] if a == 2 else nothing for a in range(P)]
    family = {"frequency": 1, "dc": 0, "profile": [[ONE, 0, ONE, 0]], "shells": [], "members": [[0, 1, 0]]}
    certificate = {
        "format": "verifier-certificate/1",
        "p": P,
        "neurons": 1,
        "cells": 8,
        "output_frequencies": [1],
        "critical_offsets": P,
        "amplitude_exponent": 0,
        "families": [family],
        "outliers": [],
        "on": [],
        "off": [],
        "boxes": [{"frequency": 1, "whole": 0, "half": 0}],
    }
    out = [x + y for x, y in zip(row, wave, strict=True)]
    return Case(P, [row], [row], [out], skip, [nothing] * P, False, certificate)


def _term(conclusion: Conclusion, name: str) -> Fraction:
    return value(conclusion.logits.budget[name])


def _true_rests(kept: dict[str, Any]) -> tuple[float, float]:
    """Half the largest range over c < p of what neurons, and of what skips, write beside the output frequencies.

    Lemma O: the part of a row beside the frequencies J is the row minus Σ_j Re(ω_j·e(jc/p)) (a constant does not
    matter); for neurons ω is the kernel's own, for skips the exact coefficient.
    """
    circuit, arc, certificate = kept["quantise"], kept["sum_arcs"], kept["read_certificate"]
    p, frequencies = circuit.p, certificate.output_frequencies
    turn = [[2 * math.pi * (j * c % p) / p for c in range(p)] for j in frequencies]

    def beside(row: list[int], omega: list[tuple[float, float]]) -> list[float]:
        waves = [
            sum(re * math.cos(t[c]) - im * math.sin(t[c]) for (re, im), t in zip(omega, turn, strict=True))
            for c in range(p)
        ]
        return [x - y for x, y in zip(row, waves, strict=False)]

    def fitted(row: list[int]) -> list[tuple[float, float]]:
        waves = [(list(map(math.cos, t)), list(map(math.sin, t))) for t in turn]
        parts = [[sum(x * y for x, y in zip(row, wave, strict=False)) * 2 / p for wave in pair] for pair in waves]
        return [(re, -im) for re, im in parts]

    neurons = [
        beside(row, [(math.ldexp(re, arc.drop), math.ldexp(im, arc.drop)) for re, im in split.omega])
        for row, split in zip(circuit.out, arc.splits, strict=True)
    ]
    skips_a, skips_b = ([beside(row, fitted(row)) for row in table] for table in (circuit.skip_a, circuit.skip_b))
    unit = 2.0 ** -(circuit.pre_scale + circuit.out_scale)
    of_neurons = of_skips = 0.0
    for a in range(p):
        for b in range(p):
            sizes = [max(0, x[a] + y[b]) for x, y in zip(circuit.pre_a, circuit.pre_b, strict=True)]
            written = [sum(h * row[c] for h, row in zip(sizes, neurons, strict=True)) for c in range(p)]
            of_neurons = max(of_neurons, max(written) - min(written))
            skipped = [x + y for x, y in zip(skips_a[a], skips_b[b], strict=True)]
            of_skips = max(of_skips, max(skipped) - min(skipped))
    return of_neurons * unit / 2, of_skips * unit / 2


def test_rests_reached_at_different_inputs() -> None:
    """Once `output_residual` was the largest rest minus the largest rest of the skips: here 10 % of what it bounds."""
    case = _apart()
    with captured() as kept:
        conclusion = kernel.check(*case.files())
    arc, circuit = kept["sum_arcs"], kept["quantise"]
    column = 3 * len(case.certificate["output_frequencies"])
    total = max(max(arc.sums.at_offset(delta)[column]) for delta in range(P))
    least, most = arc.skip_rest
    unit = Fraction(2) ** (arc.drop - circuit.pre_scale - circuit.out_scale - 1)
    found = _term(conclusion, "output_residual")
    assert found == (total - least) * unit
    exact = max(_wave(2)) - min(_wave(2))  # half the range at (0, 0), where the neuron's activation is 2
    assert exact == pytest.approx(_true_rests(kept)[0], rel=1e-6)
    assert found >= exact
    assert (total - most) * unit < exact / 5, "this input no longer tells the two formulas apart"


def test_rests_of_random_circuits() -> None:
    """The two rests of the budget, each against the exact one."""
    compared = apart = 0
    for seed in range(150):
        with captured() as kept:
            try:
                conclusion = kernel.check(*random_case(random.Random(seed)).files())
            except Rejected:
                continue
        neurons, skips = _true_rests(kept)
        circuit = kept["quantise"]
        sizes = [abs(x) for table in (circuit.skip_a, circuit.skip_b) for row in table for x in row]
        leeway = LEEWAY * (neurons + max(sizes) * 2.0 ** -(circuit.pre_scale + circuit.out_scale))
        assert float(_term(conclusion, "output_residual")) + leeway >= neurons, f"case {seed}"
        assert float(_term(conclusion, "skip")) + leeway >= skips, f"case {seed}"
        compared += 1
        least, most = kept["sum_arcs"].skip_rest
        apart += least < most
    assert compared > 100
    assert apart > 30
