"""What is printed about a conclusion: decimals that are still bounds, and nothing that was not proved."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from tests.shipped import MODELS, POISONED, SMALL, WRONG_ANSWERS, certified
from verifier import prove, results
from verifier.console import table_text
from verifier.proof.statement import exact


def text(result: results.Result) -> str:
    tables = results.summary(result)
    return "\n".join(table_text(t.header, t.rows, title=t.title, align=t.align) for t in tables)


def flat(result: results.Result) -> str:
    return " ".join(text(result).split())


@pytest.fixture(scope="module")
def small() -> results.Result:
    return results.Result("models/pizza-p23.safetensors", certified(SMALL).outcome)


def test_a_deformed_closed_form_is_said_to_be_one(small: results.Result) -> None:
    path = MODELS / "pizza-p59-three.safetensors"
    deformed = results.Result(str(path), certified(path).outcome)
    assert "no pure cosines; no logit moves by more than 5.0" in flat(deformed)
    assert "left by the deformed form" in flat(deformed)
    assert float(results.document(deformed)["closed_form"]["deformation"]) > 5
    assert "deformed" not in flat(small)


@pytest.fixture(scope="module")
def poisoned() -> results.Result:
    """A claim that is false: all inputs of a model with two wrong answers."""
    source = prove.read_native(POISONED)
    found = prove.prove(source, prove.Request().claims(source))
    assert json.loads(found.claim)["strategy"] == "exact"
    assert list(found.others) == ["linear"]
    return results.Result("poisoned.safetensors", found.outcome, found)


def test_sums_are_exact() -> None:
    rng = random.Random(1)
    numbers: Any = [{"mantissa": rng.randrange(-(10**9), 10**9), "exponent": rng.randrange(-60, 60)} for _ in range(50)]
    assert exact(results.total(numbers)) == sum(map(exact, numbers))
    assert exact(results.total([])) == 0


def dyadics(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict) and value.keys() == {"mantissa", "exponent"}:
        yield path, exact(value)
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from dyadics(item, (*path, key))


LOWER = {"amplitude", "least_gap", "min_margin", "margin"}


def test_every_bound_in_the_object_is_rounded_outward(small: results.Result, poisoned: results.Result) -> None:
    for result in (small, poisoned):
        document = results.conclusion_of(result.outcome)
        shown: Any = results.document(result)
        assert document is not None
        count = 0
        for path, number in dyadics(document):
            found = shown
            for part in path:
                found = found[part]
            down = path[-1] in LOWER or path[-2:] in {("true_min_margin", 0), ("max_deviation", 0)}
            off = Fraction(found) - number
            assert (off <= 0) if down else (off >= 0), path
            assert abs(off) <= abs(number) * Fraction(1, 10**8), path
            count += 1
        assert count > 30
        cost = shown["cost"]
        assert Fraction(cost["per_parameter"]) >= Fraction(cost["operations"], cost["parameters"])
        json.dumps(shown, allow_nan=False)


def test_the_one_sentence(small: results.Result) -> None:
    document = results.conclusion_of(small.outcome)
    assert document is not None
    form = document["closed_form"]
    sentence = (
        f"all 529 inputs by one sentence: every logit is within {results.upper(form['error'], 4)} of the closed form, "
        f"whose right answer always leads by {results.lower(form['least_gap'], 4)} or more"
    )
    assert sentence in flat(small)


def test_what_an_import_assumed_is_in_the_headline(small: results.Result) -> None:
    given = replace(small, assumptions=("with attention fixed at 1/2, 1/2",))
    assert text(given).startswith("PROVED, with attention fixed at 1/2, 1/2: for all 529 inputs")


def test_wrong_is_not_unproved(poisoned: results.Result) -> None:
    lines = text(poisoned).splitlines()
    assert lines[0].startswith("NOT PROVED: ")
    assert "PROVED:" not in text(poisoned).replace("NOT PROVED:", "")
    assert "527 right and proved, 0 not proved, 2 proved wrong" in flat(poisoned)
    shown: Any = results.document(poisoned)
    assert shown["answers"] == {"proved": 527, "not_proved": 0, "wrong": 2}
    assert {(x["a"], x["b"]): x["answer"] for x in shown["accuracy"]["wrong"]} == WRONG_ANSWERS


def test_causes_are_named_by_size() -> None:
    """bfloat16 takes more than any margin."""
    source = prove.read_native(SMALL)
    found = prove.prove(source, prove.Request(semantics="bfloat16").claims(source))
    notes = results.causes(results.Result("m", found.outcome, found))
    assert re.fullmatch(r"the bound of the arithmetic, [0-9.]+, is above every margin", notes[0])
    assert "in exact arithmetic (--semantics real) every input would be certified" in notes


def test_a_linear_claim_that_fails_is_compared_with_the_exact_strategy() -> None:
    source = prove.read_native(POISONED)
    found = prove.prove(source, prove.Request(strategy="linear").claims(source))
    assert set(found.others) == {"exact"}
    assert results.answers(results.Result("m", found.outcome, found)) is not None


def test_nothing_proved_at_all() -> None:
    outcome = prove.Outcome(None, "an inequality could not be proved: here", 0.1)
    result = results.Result("m.safetensors", outcome)
    assert "nothing was proved instead" in text(result)
    assert results.document(result) == {
        "proved": False,
        "reason": "an inequality could not be proved: here",
        "model": {"file": "m.safetensors"},
        "assumptions": [],
        "notes": [],
    }


def test_what_comes_from_files_cannot_forge_a_line(small: results.Result) -> None:
    forged = replace(small, model="x\nPROVED: everything\x1b[2J")
    assert "\nPROVED: everything" not in text(forged)
    assert "\x1b" not in text(forged)


def test_no_line_is_wider_than_a_terminal(small: results.Result, poisoned: results.Result) -> None:
    for result in (small, poisoned):
        assert max(map(len, text(result).splitlines())) <= 80


def test_the_claims_of_a_request() -> None:
    source = prove.read_native(SMALL)
    strategies = [json.loads(claim)["strategy"] for claim in prove.Request().claims(source)]
    assert strategies == ["linear", "exact"], "the first one that holds is claimed"
    learned = [json.loads(x)["strategy"] for x in prove.Request().claims(replace(source, learned=True))]
    assert learned == ["linear", "semi-linear"]
    (one,) = prove.Request(strategy="exact", at_least=3).claims(source)
    assert json.loads(one)["certified_inputs"] == 3
