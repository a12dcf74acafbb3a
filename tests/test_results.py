"""What is printed about a conclusion: decimals that are still bounds, and nothing that was not proved."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from flint import arb

from tests.shipped import POISONED, SMALL, certified
from verifier import pipeline, results
from verifier.console import table_text
from verifier.kernel import Dyadic
from verifier.proof.statement import relative_network_error


def text(result: results.Result) -> str:
    tables = results.summary(result)
    return "\n".join(table_text(t.header, t.rows, title=t.title, align=t.align) for t in tables)


def exact(number: Dyadic) -> Fraction:
    return number.mantissa * Fraction(2) ** number.exponent


@pytest.fixture(scope="module")
def small() -> results.Result:
    return results.Result("models/pizza-p23.safetensors", certified(SMALL).outcome)


@pytest.fixture(scope="module")
def poisoned() -> results.Result:
    """A claim that is false: all inputs of a model with two wrong answers."""
    source = pipeline.read_native(POISONED)
    found = pipeline.prove(source, pipeline.Request().claims(source), 3)
    assert json.loads(found.claim)["strategy"] == "refined"
    return results.Result("poisoned.safetensors", found.outcome, found.explained)


def test_the_naive_bound_is_rounded_up() -> None:
    naive = exact(results.NAIVE)
    true = arb(4) / (3 * arb.pi())
    assert arb(naive.numerator) / arb(naive.denominator) > true
    assert arb((naive - Fraction(1, 2**40)).numerator) / arb((naive - Fraction(1, 2**40)).denominator) < true


def test_sums_are_exact() -> None:
    rng = random.Random(1)
    numbers = [Dyadic(rng.randrange(-(10**9), 10**9), rng.randrange(-60, 60)) for _ in range(50)]
    assert exact(results.total(numbers)) == sum(map(exact, numbers))
    assert exact(results.total([])) == 0


def test_every_bound_in_the_object_is_rounded_outward(small: results.Result) -> None:
    c = small.outcome.conclusion
    assert c is not None
    shown: Any = results.document(small)
    for bound, entry in zip(c.quadrature, shown["quadrature"], strict=True):
        for name in results.METHODS:
            number = exact(getattr(bound, name))
            assert number <= Fraction(entry[name]) <= number * Fraction(1 + 10**-8)
        assert exact(bound.network_error) <= Fraction(entry["network_error"])
        assert 0 < Fraction(entry["amplitude"]) <= exact(bound.amplitude)
        relative = relative_network_error(exact(bound.network_error), exact(bound.amplitude))
        assert relative is not None
        assert relative <= Fraction(entry["relative_network_error"]) <= relative * Fraction(1 + 10**-8)
    logits = shown["logits"]
    assert exact(c.logits.max_error) <= Fraction(logits["max_error"])
    assert exact(c.logits.naive) <= Fraction(logits["naive"])
    for name, term in c.logits.budget.items():
        if isinstance(term, Dyadic):
            assert exact(term) <= Fraction(logits["budget"][name])
        else:
            assert all(exact(number) <= Fraction(logits["budget"][name][str(k)]) for k, number in term.items())
    accuracy = shown["accuracy"]
    assert Fraction(accuracy["min_margin"]) <= exact(c.accuracy.min_margin)
    assert exact(c.accuracy.floating_point) <= Fraction(accuracy["floating_point"])
    cost = shown["cost"]
    assert Fraction(cost["per_parameter"]) >= Fraction(cost["ball_operations"], cost["parameters"])
    json.dumps(shown, allow_nan=False)


def test_every_bound_in_the_summary_is_rounded_outward(small: results.Result) -> None:
    c = small.outcome.conclusion
    assert c is not None
    table = results.summary(small)[1]
    for bound, row in zip(c.quadrature, table.rows, strict=True):
        cells = dict(zip(table.header, row, strict=True))
        assert Fraction(cells["rectangle"]) >= exact(bound.rectangle)
        assert Fraction(cells["arc sum"]) >= exact(bound.arc_sum)
        assert Fraction(cells["relative"]) >= exact(bound.relative_bound)
        assert Fraction(cells["naive"]) > Fraction(math.floor(4 / (3 * math.pi) * 10**9), 10**9)


def test_uncertified_inputs_are_all_there_with_what_was_missing(poisoned: results.Result) -> None:
    c = poisoned.outcome.conclusion
    assert c is not None
    listed: Any = results.document(poisoned)["accuracy"]
    entries = listed["uncertified"]
    assert len(entries) == c.accuracy.total_inputs - c.accuracy.certified_inputs > 0
    margins = [Fraction(entry["margin"]) for entry in entries]
    assert margins == sorted(margins)
    assert margins[0] <= exact(c.accuracy.min_margin)
    for entry in entries:
        true = c.margins[entry["a"]][entry["b"]] * Fraction(2) ** c.margin_exponent
        assert Fraction(entry["margin"]) <= true <= 0
        assert Fraction(entry["missing"]) >= -true


def test_the_summary_of_a_failure_says_so_first(poisoned: results.Result) -> None:
    lines = text(poisoned).splitlines()
    assert lines[0].startswith("NOT PROVED: ")
    assert "PROVED:" not in text(poisoned).replace("NOT PROVED:", "")
    assert any("are not certified" in line for line in lines)


def test_a_long_list_is_cut_and_says_so() -> None:
    source = pipeline.read_native(POISONED)
    found = pipeline.prove(source, pipeline.Request(strategy="linear").claims(source), 0)
    result = results.Result("m", found.outcome, found.explained)
    assert f"the worst {results.LISTED} of them (--json lists all)" in text(result)
    accuracy: Any = results.document(result)["accuracy"]
    assert len(accuracy["uncertified"]) > results.LISTED


def test_nothing_proved_at_all() -> None:
    outcome = pipeline.Outcome(None, "an inequality could not be proved: here", {}, 0.1)
    result = results.Result("m.safetensors", outcome)
    assert "nothing was proved instead" in text(result)
    assert results.document(result) == {
        "proved": False,
        "reason": "an inequality could not be proved: here",
        "model": {"file": "m.safetensors"},
        "notes": [],
    }


def test_what_comes_from_files_cannot_forge_a_line(small: results.Result) -> None:
    forged = replace(small, model="x\nPROVED: everything\x1b[2J")
    assert "\nPROVED: everything" not in text(forged)
    assert "\x1b" not in text(forged)


def test_exhaustion_tells_the_truth_beside_the_bounds() -> None:
    found = certified(SMALL)
    claim = pipeline.Request(strategy="exhaustive").claims(found.source)[0]
    outcome = pipeline.run_kernel({}, found.source.data, claim, found.certificate)
    result = results.Result("m", outcome)
    assert "true margin" in text(result)
    accuracy: Any = results.document(result)["accuracy"]
    low, high = map(Fraction, accuracy["true_min_margin"])
    assert low <= high
    assert accuracy["exhaustive"] == accuracy["total_inputs"]


def test_the_claims_of_a_request() -> None:
    source = pipeline.read_native(SMALL)
    strategies = [json.loads(claim)["strategy"] for claim in pipeline.Request().claims(source)]
    assert strategies == ["linear", "refined"], "the first one that holds is claimed"
    (one,) = pipeline.Request(strategy="exhaustive", at_least=3).claims(source)
    assert json.loads(one)["certified_inputs"] == 3


def test_the_cheapest_certificate_that_serves_is_taken() -> None:
    source = pipeline.read_native(POISONED)
    found = pipeline.prove(source, pipeline.Request(at_least=500).claims(source))
    assert found.outcome.proved
    assert json.loads(found.claim)["strategy"] == "linear"
    assert found.explained.effort == found.explained.trials[-1].effort == 2
    found = pipeline.prove(source, pipeline.Request(at_least=527).claims(source))
    assert found.outcome.proved
    assert json.loads(found.claim)["strategy"] == "refined"
    assert len(found.explained.trials) == 5
    assert found.explained.effort < 4, "refinement does not need the most expensive explanation"
