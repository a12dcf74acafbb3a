"""The estimates against direct computation, and the kernel's numbers against the estimates."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from verifier.model import FoldedCircuit, write_model
from verifier.report.bounds import InputBounds, gather, input_bounds, method_error, term_total
from verifier.report.facts import closed_forms, kuiper, mechanism_document, profile, read_mechanism, wheels, wrap
from verifier.report.figures import View, waterfall
from verifier.report.subject import Subject, find_subject
from verifier.results import fraction


def logits(circuit: FoldedCircuit, a: int, b: int) -> np.ndarray:
    result = circuit.W @ np.maximum(circuit.A[:, a] + circuit.B[:, b], 0)
    for skip, x in ((circuit.S1, a), (circuit.S2, b)):
        if skip is not None:
            result = result + skip[:, x]
    return np.asarray(result)


def test_every_neuron_is_on_one_wheel(subject: Subject) -> None:
    found = wheels(subject.circuit, subject.certificate)
    inside = np.concatenate([wheel.neurons for wheel in found]).tolist()
    outside = [*subject.certificate.on, *subject.certificate.off]
    assert sorted([*inside, *outside]) == list(range(subject.circuit.neurons))
    for wheel in found:
        assert wheel.share.sum() == pytest.approx(1)
        assert (np.diff(wheel.phase) >= 0).all()
        assert np.abs(wheel.angle_error).max() <= 0.5


def test_estimates_agree_with_direct_computation(view: View) -> None:
    circuit, m = view.subject.circuit, view.mechanism
    p = circuit.p
    forms = closed_forms(circuit, view.subject.certificate)
    correct, least, deviation = 0, math.inf, 0.0
    for a, b in itertools.product(range(p), repeat=2):
        values = logits(circuit, a, b)
        target = (a + b) % p
        margin = values[target] - np.delete(values, target).max()
        correct += margin > 0
        least = min(least, margin)
        shape = sum(
            (form[(a - b) % p] * np.exp(2j * np.pi * k * (np.arange(p) - a - b) / p)).real for k, form in forms.items()
        )
        gap = values[:p] - shape
        deviation = max(deviation, (gap.max() - gap.min()) / 2)
    assert (m.correct, m.looked_at) == (correct, p * p)
    assert m.least_margin == pytest.approx(least)
    assert m.largest_deviation == pytest.approx(deviation)


def test_shares_are_shares(view: View) -> None:
    m = view.mechanism
    assert sum(f.share for f in m.frequencies) + m.other_share == pytest.approx(1)
    assert 0 <= m.unexplained < 0.2
    document = mechanism_document(m)
    assert "not proved" in str(document["estimates"])


def test_proved_bounds_hold_for_the_estimates(view: View) -> None:
    """Each proved number must be on the right side of the measured one."""
    evidence, m = view.evidence, view.mechanism
    conclusion = evidence.conclusion
    slack = 1e-6
    assert float(fraction(conclusion.accuracy.min_margin)) <= m.least_margin + slack
    assert float(fraction(conclusion.logits.max_error)) >= m.largest_deviation - slack
    assert conclusion.accuracy.certified_inputs <= m.correct
    for rule, f in zip(conclusion.quadrature, m.frequencies, strict=True):
        assert float(fraction(rule.relative_bound)) >= f.rule_error - 1e-4
    for strategy in evidence.strategies:
        assert float(strategy.margin) <= m.least_margin + slack, strategy


def test_methods_scale_the_quadrature_term_alone(view: View) -> None:
    conclusion = view.evidence.conclusion
    summed = sum(term_total(value) for value in conclusion.logits.budget.values())
    arc_sum = method_error(conclusion, "arc_sum")
    assert summed <= arc_sum <= summed * (1 + 1e-6)
    assert arc_sum <= method_error(conclusion, "harmonic")


def test_the_waterfall_adds_up(view: View) -> None:
    steps = waterfall(view.evidence)
    level = steps[0].value
    for step in steps[1:]:
        if step.total:
            assert step.value == level, step
        else:
            level += step.value
    assert steps[-1].value == fraction(view.evidence.conclusion.accuracy.min_margin)


def require_sound(subject: Subject, inputs: InputBounds) -> None:
    """Every bound of every input against its logits, computed directly."""
    circuit = subject.circuit
    p = circuit.p
    assert inputs.rivals is not None
    assert len(inputs.rivals) == p * p * (p - 1)
    low, step = float(inputs.low), float(inputs.step)
    forms = closed_forms(circuit, subject.certificate)
    for a, b in itertools.product(range(p), repeat=2):
        values = logits(circuit, a, b)
        target = (a + b) % p
        place = (a * p + b) * (p - 1)
        bounds = low + step * np.frombuffer(inputs.rivals[place : place + p - 1], dtype=np.uint8)
        real = np.array([values[target] - values[(target + d) % p] for d in range(1, p)])
        assert (bounds <= real + 1e-6).all(), (a, b)
        assert inputs.margins[a][b] / 100 <= values[target] - np.delete(values, target).max() + 1e-6
        shape = sum(
            (form[(a - b) % p] * np.exp(2j * np.pi * k * (np.arange(p) - a - b) / p)).real for k, form in forms.items()
        )
        gap = values[:p] - shape
        parts = (inputs.families, inputs.others, inputs.band, inputs.rest)
        assert (gap.max() - gap.min()) / 2 <= sum(part[a][b] for part in parts) / 100 + 0.01, (a, b)


def test_bounds_of_single_inputs_hold(view: View, inputs: InputBounds) -> None:
    require_sound(view.subject, inputs)


def test_a_circuit_with_outputs_beyond_p_and_outliers(subject: Subject, tmp_path: Path) -> None:
    circuit = subject.circuit
    more = 0.05 * np.random.default_rng(1).normal(size=(2, circuit.neurons))
    path = tmp_path / "beyond.safetensors"
    write_model(FoldedCircuit(circuit.p, circuit.A, circuit.B, np.vstack([circuit.W, more]), None, None, {}), path)
    beyond = find_subject(path, effort=2)
    assert beyond.certificate.outliers
    evidence = gather(beyond, exhaustive=False)
    assert read_mechanism(beyond.circuit, beyond.certificate).outputs == circuit.p + 2
    require_sound(beyond, input_bounds(beyond, evidence.conclusion))


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_kuiper_of_even_nodes_is_one_over_their_number(count: int) -> None:
    phase = (np.arange(count) + 0.3) / count
    assert kuiper(phase, np.full(count, 1 / count)) == pytest.approx(1 / count)


def test_kuiper_does_not_depend_on_the_cut() -> None:
    rng = np.random.default_rng(0)
    phase, share = np.sort(rng.random(40)), rng.random(40)
    share /= share.sum()
    moved = (phase + 0.37) % 1
    order = moved.argsort()
    assert kuiper(moved[order], share[order]) == pytest.approx(kuiper(phase, share))


def test_wrap() -> None:
    assert wrap(np.array([0.0, 0.5, 0.75, -1.25])).tolist() == [0.0, -0.5, -0.25, -0.25]


def test_a_profile_is_the_certificate_s(subject: Subject) -> None:
    family = subject.certificate.families[0]
    dc, z = profile(family)
    assert dc == family.dc / 2**24
    assert z[0, 0] == complex(family.profile[0].a_re, family.profile[0].a_im) / 2**24


def test_a_large_circuit_is_sampled(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.report.facts.WORK", 500_000)
    m = read_mechanism(subject.circuit, subject.certificate)
    assert 0 < m.looked_at < subject.circuit.p**2
    assert m.correct == m.looked_at
