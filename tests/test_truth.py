"""What is proved about every shipped model against the truth: all p² inputs, evaluated one by one.

A proved bound has no tolerance; the tolerances below are for the float64 evaluation it is compared with.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.shipped import MODELS, POISONED, SHIPPED, WRONG_ANSWERS, Array, Certified, certified, truth, value
from verifier import pipeline
from verifier.kernel.arcs import sum_arcs
from verifier.kernel.certificate import read_certificate
from verifier.kernel.circuit import fold, quantise
from verifier.kernel.cost import Cost
from verifier.kernel.model_file import read_model
from verifier.results import uncertified

FLOAT = 1e-6
"""Far above the rounding error of the float64 evaluation, far below anything it is compared with."""

P59 = [name for name in SHIPPED if "-p59-" in name]


Complex = NDArray[np.complex128]


def turns(x: Array) -> Complex:
    return np.asarray(np.exp(2j * np.pi * x), dtype=np.complex128)


def load(name: str) -> Certified:
    return certified(MODELS / f"{name}.safetensors")


def test_what_is_shipped() -> None:
    assert "pizza-p23" in SHIPPED
    assert len(P59) >= 3


@pytest.mark.parametrize("name", SHIPPED)
def test_every_input_is_certified_in_binary32(name: str) -> None:
    accuracy = load(name).conclusion.accuracy
    assert accuracy.semantics == "binary32"
    assert accuracy.certified_inputs == accuracy.total_inputs
    assert accuracy.min_margin.mantissa > 0


def test_the_linear_pass_alone_certifies_two_models_or_more() -> None:
    alone = [name for name in P59 if load(name).conclusion.claim.strategy == "linear"]
    assert len(alone) >= 2


@pytest.mark.parametrize("name", SHIPPED)
def test_no_margin_is_above_the_true_one(name: str) -> None:
    c, true = load(name).conclusion, truth(load(name).path).margins()
    proved = np.array(c.margins, dtype=object) * Fraction(2) ** c.margin_exponent
    penalty = 2 * value(c.accuracy.floating_point)
    assert (proved.astype(float) <= true - penalty + FLOAT).all()
    assert value(c.accuracy.min_margin) == pytest.approx(float(proved.min()), rel=1e-12)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_logit_is_further_from_the_closed_form_than_proved(name: str) -> None:
    found, exact = load(name), truth(load(name).path)
    deviation = exact.logits[: exact.p] - closed_form(found)
    # What all logits of an input share is free: it takes the middle.
    distance = (deviation.max(axis=0) - deviation.min(axis=0)).max() / 2
    assert distance <= value(found.conclusion.logits.max_error) + FLOAT
    assert distance > 0.1 * value(found.conclusion.logits.max_error), "the bound says next to nothing"


def closed_form(found: Certified) -> Array:
    """[c, a, b]: Σ_k Re[G_k(a − b)·e(k(c − a − b)/p)], its integrals by a fine rule (docs/theory.md, §5)."""
    document, p = found.explanation, found.source.p
    omega = output_coefficients(found)
    steps = 1 << 14
    x = (np.arange(steps) + 0.5) / steps
    delta = np.arange(p)
    c, a, b = np.meshgrid(delta, delta, delta, indexing="ij")
    total = np.zeros((p, p, p))
    for family in document["families"]:
        k, members = family["frequency"], family["members"]
        moment = sum(
            math.ldexp(amplitude, document["amplitude_exponent"])
            * omega[neuron, k]
            * np.exp(-4j * np.pi * phase / 2**32)
            for neuron, amplitude, phase in members
        )
        profile = np.full((p, steps), family["dc"] / 2**24, dtype=float)
        for h, part in enumerate(family["profile"], start=1):
            re_a, im_a, re_b, im_b = (number / 2**24 for number in part)
            u = (re_a + 1j * im_a) * turns(h * k * delta / p) + (re_b + 1j * im_b)
            profile += (u[:, None] * turns(h * x)[None, :]).real
        integral = (np.maximum(profile, 0) * turns(2 * x)[None, :]).mean(axis=1)
        g = turns(k * delta / p) * integral * moment
        total += (g[(a - b) % p] * turns(k * ((c - a - b) % p) / p)).real
    return total


@cache
def output_coefficients(found: Certified) -> Complex:
    """ω[i, k] of every neuron at every frequency of a family: the kernel's fit, which is near the best one."""
    explanation = read_certificate(found.certificate)
    circuit = quantise(fold(read_model(found.source.data)), found.source.p, Cost())
    arc = sum_arcs(circuit, explanation, Cost(), pipeline.ignore)
    unit = 2.0 ** (arc.drop - circuit.out_scale)
    omega = np.zeros((circuit.neurons, circuit.p), dtype=complex)
    for neuron, split in enumerate(arc.splits):
        for j, (re, im) in zip(explanation.output_frequencies, split.omega, strict=True):
            omega[neuron, j] = unit * complex(re, im)
    table = truth(found.path).circuit.W[: circuit.p].T
    c = np.arange(circuit.p)
    best = 2 / circuit.p * table @ turns(-np.outer(c, c) / circuit.p)
    used = list(explanation.output_frequencies)
    assert np.abs(omega - best)[:, used].max() < 1e-4 * np.abs(table).max()
    return omega


@pytest.mark.parametrize("name", SHIPPED)
def test_the_kernels_own_truth_agrees(name: str) -> None:
    """The exhaustive strategy: exact margins and deviations, as intervals around those of float64."""
    found, exact = load(name), truth(load(name).path)
    request = pipeline.Request(strategy="exhaustive", semantics="real")
    outcome = pipeline.run_kernel({}, found.source.data, request.claims(found.source)[0], found.certificate)
    assert outcome.proved
    assert outcome.conclusion is not None
    accuracy = outcome.conclusion.accuracy
    assert accuracy.true_min_margin is not None
    assert accuracy.max_deviation is not None
    low, high = map(value, accuracy.true_min_margin)
    assert low - FLOAT <= exact.margins().min() <= high + FLOAT
    deviation = exact.logits[: exact.p] - closed_form(found)
    distance = (deviation.max(axis=0) - deviation.min(axis=0)).max() / 2
    low, high = map(value, accuracy.max_deviation)
    assert low - FLOAT <= distance <= high + FLOAT
    assert value(accuracy.min_margin) >= value(found.conclusion.accuracy.min_margin)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_quadrature_bound_is_below_the_true_error(name: str) -> None:
    found = load(name)
    p, omega, document = found.source.p, output_coefficients(found), found.explanation
    for bound in found.conclusion.quadrature:
        k = bound.frequency
        members = [m for family in document["families"] if family["frequency"] == k for m in family["members"]]
        neurons, amplitudes, phases = (np.array(column) for column in zip(*members, strict=True))
        phi = phases / 2**32
        outputs = amplitudes * omega[neurons, k]
        weight = np.abs(outputs).sum()
        moment = (outputs * turns(-2 * phi)).sum()

        def error(v: Array, phi: Array = phi, outputs: Array = outputs, direction: complex = moment) -> Array:
            """|Σ w e(ψ) ReLU(cos 2π(v + φ)) − integral| at each v, for weights that sum to 2π."""
            waves = np.maximum(np.cos(2 * np.pi * (v[:, None] + phi[None, :])), 0)
            size = np.abs(outputs).sum()
            integral = size / (3 * np.pi) * direction / abs(direction) * turns(-2 * v)
            return np.asarray(np.abs(waves @ outputs - integral) * 2 * np.pi / size)

        everywhere = error(np.concatenate([np.arange(6000) / 6000, 0.25 - phi, 0.75 - phi])).max()
        at_inputs = error(np.arange(2 * p) / (2 * p)).max()
        assert abs(moment) <= weight * (1 + 1e-12)
        assert everywhere <= min(value(bound.rectangle), value(bound.harmonic)) + FLOAT
        assert at_inputs <= value(bound.arc_sum) + FLOAT
        assert value(bound.arc_sum) <= at_inputs * 1.001 + 1e-4, "the arc sum is the true error"
        assert bound.bound == min((bound.rectangle, bound.harmonic, bound.arc_sum), key=value)
        relative = value(bound.bound) * 3 * math.pi / 4
        assert value(bound.relative_bound) == pytest.approx(relative, rel=1e-9)


@pytest.mark.parametrize("name", P59)
def test_the_harmonic_bound_is_far_from_vacuous(name: str) -> None:
    """1 is vacuous. One frequency of the three-token model has uneven phases: its harmonic bound is 0.55 there."""
    most = 0.6 if name.endswith("three") else 0.5
    for bound in load(name).conclusion.quadrature:
        assert value(bound.harmonic) * 3 * math.pi / 4 < most, bound.frequency
        assert value(bound.relative_bound) < 0.5, bound.frequency


@pytest.mark.parametrize("name", SHIPPED)
def test_the_budget_holds_term_by_term(name: str) -> None:
    """The terms add up to the whole, or more: each is the largest over all inputs by itself."""
    logits = load(name).conclusion.logits
    terms = [term if isinstance(term, dict) else {0: term} for term in logits.budget.values()]
    whole = sum(value(number) for term in terms for number in term.values())
    assert value(logits.max_error) <= whole * (1 + 1e-9) + 2 * value(logits.budget["fixed_point"])  # type: ignore[arg-type]
    assert value(logits.max_error) < value(logits.naive)


@cache
def poisoned_outcome(strategy: str) -> pipeline.Outcome:
    source = pipeline.read_native(POISONED)
    claim = pipeline.Request(at_least=source.p**2 - 3, strategy=strategy).claims(source)[0]
    return pipeline.prove(source, [claim], 4).outcome


class TestPoisoned:
    """A network with two wrong answers: they come out uncertified, and almost everything else does not."""

    def test_it_does_give_the_wrong_answers(self) -> None:
        answers = truth(POISONED).logits.argmax(axis=0)
        wrong = {
            (a, b): int(answers[a, b])
            for a, b in np.ndindex(answers.shape)
            if answers[a, b] != (a + b) % truth(POISONED).p
        }
        assert wrong == WRONG_ANSWERS

    def test_the_linear_pass_lists_them(self) -> None:
        outcome = poisoned_outcome("linear")
        assert outcome.proved
        assert outcome.conclusion is not None
        failing = [(a, b) for a, b, _ in uncertified(outcome.conclusion)]
        assert set(failing[:2]) == set(WRONG_ANSWERS), "the worst come first"
        assert len(failing) <= 3

    def test_refinement_leaves_exactly_them(self) -> None:
        outcome = poisoned_outcome("refined")
        assert outcome.conclusion is not None
        assert {(a, b) for a, b, _ in uncertified(outcome.conclusion)} == set(WRONG_ANSWERS)
        signed = [(a, b) for a, b, _ in outcome.conclusion.accuracy.uncertified]
        assert set(signed) == set(WRONG_ANSWERS)

    def test_no_margin_is_above_the_true_one(self) -> None:
        outcome = poisoned_outcome("refined")
        assert outcome.conclusion is not None
        c, true = outcome.conclusion, truth(POISONED).margins()
        proved = np.array(c.margins, dtype=object) * Fraction(2) ** c.margin_exponent
        assert (proved.astype(float) <= true + FLOAT).all()
