"""What is proved about every shipped model against the truth: all p² inputs, evaluated one by one.

A proved bound has no tolerance; the tolerances below are for the float64 evaluation it is compared with.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from tests import oracle
from tests.shipped import MODELS, POISONED, SHIPPED, WRONG_ANSWERS, Array, Certified, certified, truth, value
from tests.strategies import Case
from verifier import prove
from verifier.kernel import Checked

FLOAT = 1e-6
"""Far above the rounding error of the float64 evaluation, far below anything it is compared with."""

P59 = [name for name in SHIPPED if "-p59-" in name]


@cache
def case_of(found: Certified) -> Case:
    """What the oracle needs to know of a shipped model: its output weights and its certificate."""
    W = truth(found.path).circuit.W.T.tolist()
    return Case(found.source.p, [], [], W, [], [], False, found.explanation)


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


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_closed_form_explains(name: str) -> None:
    """By one sentence; the clock by a sentence for each a − b; not the three-token model."""
    c, clock = load(name).conclusion, name.startswith("clock")
    whole = not name.endswith("three")
    sentence = whole and not clock
    assert (c.closed_form.deformation is None) is whole
    assert c.accuracy.strategy == ("semi-linear" if clock else "linear")
    assert c.closed_form.explains_all is sentence
    assert (c.accuracy.explained_inputs == c.accuracy.total_inputs) is whole
    assert c.accuracy.explained_inputs > 0
    assert (value(c.closed_form.least_gap) > 2 * value(c.closed_form.error)) is sentence
    assert c.accuracy.gap_error is not None
    assert value(c.accuracy.gap_error) < (0.2 if sentence else 0.65)


@pytest.mark.parametrize("name", SHIPPED)
def test_margins_are_below_the_true_ones_and_near(name: str) -> None:
    found, true = load(name), truth(load(name).path).margins()
    proved = found.evidence.margins * 2.0**found.evidence.exponent
    penalty = 2 * value(found.conclusion.accuracy.floating_point)
    assert (proved <= true - penalty + FLOAT).all()
    assert value(found.conclusion.accuracy.min_margin) == pytest.approx(float(proved.min()), rel=1e-12)
    assert proved.min() + penalty >= 0.9 * true.min()


@pytest.mark.parametrize("name", SHIPPED)
def test_no_logit_is_further_from_the_closed_form_than_proved(name: str) -> None:
    found, exact = load(name), truth(load(name).path)
    deviation = exact.logits[: exact.p] - closed_form(found)
    # What all logits of an input share is free: it takes the middle.
    distance = (deviation.max(axis=0) - deviation.min(axis=0)).max() / 2
    assert distance <= value(found.conclusion.logits.max_error) + FLOAT
    assert value(found.conclusion.logits.max_error) <= 1.05 * distance, "the bound is near the truth"


@cache
def closed_form(found: Certified) -> Array:
    """[c, a, b], by the oracle of the kernel's tests."""
    p, case = found.source.p, case_of(found)
    form = oracle.closed_form(case)
    c, a, b = np.indices((p, p, p))
    d = (c - a - b) % p
    return np.asarray(form.table[(a - b) % p, d] + oracle.added(case, form)[a, b, d])


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("pizza")])
def test_the_kernels_own_truth_agrees(name: str) -> None:
    """The exact strategy: exact margins and deviations, as intervals around those of float64."""
    found, exact = load(name), truth(load(name).path)
    request = prove.Request(strategy="exact", semantics="real")
    outcome = prove.run_kernel({}, found.source.data, request.claims(found.source)[0], found.certificate)
    assert outcome.proved
    assert outcome.checked is not None
    accuracy = outcome.checked.conclusion.accuracy
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
    p = found.source.p
    for bound in found.conclusion.quadrature:
        rule = oracle.rule(case_of(found), bound.frequency)
        places = np.concatenate([np.arange(6000) / 6000, 0.25 - rule.phases, 0.75 - rule.phases])
        everywhere, at_inputs = (
            math.tau * float(np.abs(rule.error(v)).max()) for v in (places, np.arange(2 * p) / (2 * p))
        )
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


@cache
def poisoned(strategy: str) -> Checked:
    source = prove.read_native(POISONED)
    claim = prove.Request(at_least=source.p**2 - 3, strategy=strategy, semantics="real").claims(source)[0]
    outcome = prove.prove(source, [claim]).outcome
    assert outcome.proved
    assert outcome.checked is not None
    return outcome.checked


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
        failing = [(entry.a, entry.b) for entry in poisoned("linear").conclusion.accuracy.uncertified]
        assert set(failing[:2]) == set(WRONG_ANSWERS), "the worst come first"
        assert len(failing) <= 3

    def test_the_exact_strategy_proves_them_wrong(self) -> None:
        accuracy = poisoned("exact").conclusion.accuracy
        assert {(entry.a, entry.b) for entry in accuracy.uncertified} == set(WRONG_ANSWERS)
        assert accuracy.wrong_inputs == 2
        assert accuracy.wrong is not None
        assert {(entry.a, entry.b): entry.answer for entry in accuracy.wrong} == WRONG_ANSWERS

    @pytest.mark.parametrize("strategy", ["linear", "exact"])
    def test_no_margin_is_above_the_true_one(self, strategy: str) -> None:
        evidence = poisoned(strategy).evidence
        assert (evidence.margins * 2.0**evidence.exponent <= truth(POISONED).margins() + FLOAT).all()
