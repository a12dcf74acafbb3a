"""Every number of a conclusion against exact integers, on random circuits with good, bad and useless certificates; and
every field of a certificate changed: rejected, or still true.

A trial is one check. `make soundness` makes VERIFIER_TRIALS of them (100,000) and leaves its
figures in build/soundness.json.
"""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.oracle import attempt, concluded, confront, truth
from tests.strategies import Case, cases, deformed, mutated, random_case
from verifier.kernel import Rejected, check
from verifier.kernel.claim import MULTIPLICATION, SUBTRACTION
from verifier.kernel.conclusion import Attention

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "soundness"
TRIALS = int(os.environ.get("VERIFIER_TRIALS", "100000" if LONG else "400"))
SEED = 241203773


@pytest.mark.soundness
def test_random_cases() -> None:
    started, counts, tight = time.monotonic(), Counter[str](), 0
    for number in range(TRIALS):
        case = random_case(random.Random(SEED + number))
        if number % 4 == 3:
            case = deformed(case, random.Random(number))
        try:
            gap = attempt(case)
        except Exception as error:
            raise AssertionError(f"random case {number}") from error
        counts["refused" if gap is None else "accepted"] += 1
        tight += gap is not None and gap.margin < 1e-6
    if LONG:
        figures = {"trials": TRIALS, **counts, "tight": tight, "seconds": round(time.monotonic() - started)}
        Path("build").mkdir(exist_ok=True)
        Path("build/soundness.json").write_text(json.dumps(figures))
    assert counts["accepted"] > TRIALS // 2
    assert tight > TRIALS // 20


@settings(max_examples=10_000 if LONG else 40)
@given(cases())
def test_cases_that_are_changed_a_little(case: Case) -> None:
    attempt(case)


def test_climbing_towards_a_violation() -> None:
    """Single changes that bring a bound nearer to being false are kept."""
    rng = random.Random(7)
    for _ in range(8 if not LONG else 400):
        best, least = random_case(rng), float("inf")
        for _ in range(12):
            other = mutated(best, rng)
            gap = attempt(other)
            if gap is not None and min(gap.margin, gap.deviation) < least:
                best, least = other, min(gap.margin, gap.deviation)


def test_one_sentence_is_said_when_it_holds() -> None:
    found = concluded(random_case(random.Random(209)))
    assert found is not None
    assert found.conclusion.closed_form.explains_all
    assert "leads every other one by more than twice that" in found.conclusion.theorem()


def test_sentences_and_documents_say_what_was_proved() -> None:
    checked = concluded(replace(random_case(random.Random(209)), strategy="linear"))
    assert checked is not None
    found = checked.conclusion
    p, accuracy, silent = found.claim.p, found.accuracy, replace(found.closed_form, explains_all=False)
    first = (
        f"For at least {accuracy.certified_inputs} of the {p * p} inputs (a, b) with 0 <= a, b < {p}, the largest of"
    )
    assert found.theorem().startswith(
        f"{first} the {found.outputs} logits of the network in the model file with SHA-256"
    )
    assert (
        f"{found.model_sha256}, in exact arithmetic, is that of (a + b) mod {p}. Every logit is within"
        in found.theorem()
    )
    assert f"every logit c < {p} is within logits.max_error" in found.theorem()
    loose = replace(found, attention=Attention("declared", (("0", "1"), ("1/2", "1/2"))))
    assert "taken as between 0 and 1, 1/2 at the positions in order, in exact" in loose.theorem()
    for count, words in (
        (5, "At 5 inputs the closed form and its error alone"),
        (0, f"mod {p}. In exact arithmetic, for"),
    ):
        part = replace(found, closed_form=silent, accuracy=replace(accuracy, explained_inputs=count))
        assert words in part.theorem()
        assert "leads every other one" not in part.theorem()
    minus = replace(found, claim=replace(found.claim, task=SUBTRACTION))
    assert (
        f"is that of (a - b) mod {p}. What follows is about the same logits with -b mod {p} written for b"
        in minus.theorem()
    )
    times = replace(found, claim=replace(found.claim, task=MULTIPLICATION, p=11))
    for words in (
        "with 0 < a, b < 11,",
        "is that of (a * b) mod 11. Inputs with a zero are not part",
        "2^a, 2^b and 2^c mod 11 written for a, b and c, so that the task is addition modulo 10, the output 0 apart.",
        "every logit c < 10 is",
    ):
        assert words in times.theorem()

    def document(**fields: Any) -> Any:
        return json.loads(json.dumps(replace(found, **fields).document()))

    assert "task" not in document()["claim"]
    assert document(claim=times.claim)["claim"]["task"] == MULTIPLICATION
    own = document(accuracy=replace(accuracy, gap_error=None))["accuracy"]
    assert own["gap_error"] is None
    assert "wrong" not in own
    assert own["min_margin"] == {
        "mantissa": str(accuracy.min_margin.mantissa),
        "exponent": accuracy.min_margin.exponent,
    }
    for total, thousandths in ((12_000, "1.200"), (12_001, "1.201"), (9_990, "0.999"), (10_010, "1.001")):
        cost = document(operations={"x": total - 5, "e": 5}, parameters=10_000)["cost"]
        assert (cost["operations"], cost["per_parameter"]) == (total, thousandths)


def _certified() -> Case:
    seed = 0
    while True:
        case = replace(random_case(random.Random(seed)), strategy="linear")
        found = concluded(case)
        if found is not None and found.conclusion.accuracy.explained_inputs and len(case.certificate["families"]) > 0:
            return case
        seed += 1


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in [(*path, key), *_places(item, (*path, key))]]
    if isinstance(value, list):
        return [p for key, item in enumerate(value) for p in [(*path, key), *_places(item, (*path, key))]]
    return []


@pytest.mark.parametrize("bent", [False, True])
def test_every_field_of_a_certificate(bent: bool) -> None:
    case, rng = _certified(), random.Random(3)
    case = deformed(case, random.Random(0)) if bent else case
    accepted = refused = 0
    for path in _places(case.certificate):
        for kind in range(4):
            certificate = copy.deepcopy(case.certificate)
            item: Any = certificate
            for key in path[:-1]:
                item = item[key]
            old = item[path[-1]]
            if kind == 0:
                del item[path[-1]]
            elif kind == 1:
                item[path[-1]] = rng.choice((None, True, "x", 1.5, -1, 0, 1, 1 << 24, 1 << 32, [], {}))
            elif isinstance(old, int):
                item[path[-1]] = old + rng.choice((1, -1)) * (1 if kind == 2 else rng.choice((3, 1 << 10, 1 << 22)))
            else:
                item[path[-1]] = [old, old]
            gap = attempt(case.with_certificate(certificate))
            accepted, refused = accepted + (gap is not None), refused + (gap is None)
    assert accepted > 50
    assert refused > 100


@pytest.mark.parametrize("strategy", ["linear", "exact"])
def test_zeros_deform_nothing(strategy: str) -> None:
    case = replace(_certified(), strategy=strategy)
    row = [0] * case.p
    waves = [{"frequency": f["frequency"], "cosine": row, "sine": row} for f in case.certificate["families"][:1]]
    zero = {"exponent": 0, "constant": row, "waves": waves}
    pure, same = concluded(case), concluded(case.with_certificate({**case.certificate, "deformation": zero}))
    assert pure is not None
    assert same is not None
    assert same.conclusion.accuracy.explained_inputs == pure.conclusion.accuracy.explained_inputs > 0
    assert (same.evidence.margins == pure.evidence.margins).all()
    for name in ("deviations", "gaps"):
        assert (abs(getattr(same.evidence, name) - getattr(pure.evidence, name)) <= 6).all()
    assert "within closed_form.deformation of one of pure cosines" in same.conclusion.theorem()
    assert "deformation" not in pure.conclusion.theorem()


@pytest.mark.parametrize("strategy", ["linear", "exact"])
def test_a_claim_beyond_what_is_certified_is_refused_with_findings(strategy: str) -> None:
    case = replace(_certified(), strategy=strategy)
    found = concluded(case)
    assert found is not None
    certified = found.conclusion.accuracy.certified_inputs
    assert check(*case.files(certified)).conclusion.accuracy.certified_inputs == certified
    wrong = replace(case, W=[[-x for x in row] for row in case.W])
    model, claim, certificate = wrong.files(1)
    with pytest.raises(Rejected) as refused:
        check(model, claim, certificate)
    assert refused.value.reason.kind == "unproved"
    assert refused.value.findings is not None
    confront(wrong, refused.value.findings)


def test_wrong_inputs_are_all_found_by_the_exact_strategy() -> None:
    case = replace(_certified(), strategy="exact")
    case = replace(case, W=[[-x for x in row] for row in case.W])
    found = concluded(case)
    assert found is not None
    wrong = sum(x < 0 for row in truth(case).margins() for x in row)
    assert found.conclusion.accuracy.wrong_inputs == wrong
    assert found.conclusion.accuracy.wrong is not None
    leads = [x.margin.mantissa for x in found.conclusion.accuracy.wrong]
    assert leads == sorted(leads, reverse=True)


def test_margins_by_discs_are_below_those_of_the_full_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small p by the way of large p: never above the truth, and everything the full product says is above the discs."""
    from verifier.kernel import limits

    full = [concluded(replace(random_case(random.Random(seed)), strategy="linear")) for seed in range(150)]
    monkeypatch.setattr(limits, "FULL_PRODUCT", 0)
    same = 0
    for seed, old in enumerate(full):
        case = replace(random_case(random.Random(seed)), strategy="linear")
        new = concluded(case)
        if new is None or old is None:
            continue
        confront(case, new)
        assert (new.evidence.margins <= old.evidence.margins).all()
        assert (new.evidence.deviations >= old.evidence.deviations).all()
        same += bool((new.evidence.margins == old.evidence.margins).all())
    assert same > 20
