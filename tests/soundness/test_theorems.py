"""The kernel's theorems against exact evaluation, on random circuits with random and adversarial certificates.

A trial is one check whose every number is confronted with the truth (`tests.oracle`). `make soundness` runs the long
version; VERIFIER_TRIALS sets its number of trials.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, target

from tests.oracle import Gap, attempt, truth, value
from tests.strategies import Case, cases, mutated, random_case
from verifier.kernel import Rejected, check

pytestmark = pytest.mark.no_cover  # samples: what they reach does not count as tested line by line

SEED = 2412_03773
QUICK = os.environ.get("HYPOTHESIS_PROFILE") == "mutation"


def _many(trials: int) -> int:
    """The size of a fixed sample; a mutant sees a fifth of it."""
    return trials // 5 if QUICK else trials


def _trial(seed: int) -> Gap | None:
    try:
        return attempt(random_case(random.Random(seed)))
    except AssertionError as error:
        raise AssertionError(f"case {seed}: {error}") from error


def test_random_cases() -> None:
    """A fixed sample; most cases must be accepted and many bounds must be tight, else the trials would test nothing."""
    gaps = [_trial(seed) for seed in range(_many(600))]
    accepted = [gap for gap in gaps if gap is not None]
    assert len(accepted) > _many(400)
    assert sum(gap.margin < 1e-6 for gap in accepted) > _many(50)


@given(cases())
def test_drawn_cases(case: Case) -> None:
    gap = attempt(case)
    if gap is not None and math.isfinite(gap.margin):
        target(-gap.margin, label="margin nearly violated")


def climb(seed: int, steps: int) -> int:
    """Change one number at a time and keep what brings a bound nearer to the truth; how many trials were accepted."""
    rng = random.Random(seed)
    case = random_case(rng)
    gap = attempt(case)
    accepted = 0
    which = rng.choice(("margin", "deviation"))
    for _ in range(steps):
        other = mutated(case, rng)
        found = attempt(other)
        if found is None:
            continue
        accepted += 1
        if gap is None or getattr(found, which) <= getattr(gap, which):
            case, gap = other, found
    return accepted


def test_hill_climber() -> None:
    assert sum(climb(seed, 12) for seed in range(20)) > 100


@pytest.mark.parametrize("semantics", ["binary32", "tf32", "bfloat16"])
def test_semantics_lower_margins(semantics: str) -> None:
    """Theorem F is a penalty: twice its bound separates every margin from the exact one."""
    seen = 0
    for seed in range(_many(80)):
        case = replace(random_case(random.Random(seed)), semantics=semantics)
        try:
            conclusion = check(*case.files())
        except Rejected:
            continue
        seen += 1
        penalty, exact = 2 * value(conclusion.accuracy.floating_point), truth(case).margins()
        assert penalty > 0
        for row, line in zip(conclusion.margins, exact, strict=True):
            for bound, margin in zip(row, line, strict=True):
                assert bound * Fraction(2) ** conclusion.margin_exponent + penalty <= margin
    assert seen > _many(20)


def test_claims_are_compared() -> None:
    """The number claimed is the number certified, or the claim is rejected with what was found."""
    for seed in range(_many(60)):
        case = random_case(random.Random(seed))
        try:
            found = check(*case.files()).accuracy.certified_inputs
        except Rejected:
            continue
        assert check(*case.files(found)).accuracy.certified_inputs == found
        if found < case.p**2:
            with pytest.raises(Rejected) as caught:
                check(*case.files(found + 1))
            assert caught.value.reason.name == "INPUTS"
            assert caught.value.findings is not None
            assert caught.value.findings.accuracy.certified_inputs == found


def test_certified_inputs_are_right() -> None:
    """Enough of the sample is certified, by every strategy, for the theorem to be about something."""
    certified = dict.fromkeys(("linear", "refined", "exhaustive"), 0)
    for seed in range(_many(400)):
        case = random_case(random.Random(seed))
        try:
            conclusion = check(*case.files())
        except Rejected:
            continue
        exact = truth(case)
        for a, row in enumerate(conclusion.margins):
            for b, margin in enumerate(row):
                assert margin <= 0 or exact.margin(a, b) > 0
        for name in certified:
            certified[name] += getattr(conclusion.accuracy, name)
    assert min(certified.values()) > _many(10), certified


@pytest.mark.soundness
def test_long_run(capsys: pytest.CaptureFixture[str]) -> None:
    """VERIFIER_TRIALS trials (100,000 under `make soundness`, else 250), four in five random and the rest by hill
    climbing; the figures of a long run are kept in build/soundness.json, from the start.
    """
    long = os.environ.get("HYPOTHESIS_PROFILE") == "soundness"
    trials = int(os.environ.get("VERIFIER_TRIALS", "100000" if long else "250"))
    start, least = time.monotonic(), math.inf
    figures: dict[str, float] = {"seed": SEED, "trials": 0, "accepted": 0, "tight_to_1e-6": 0, "climbed": 0}
    for block in range(trials // 250):
        gaps = [gap for index in range(200) if (gap := _trial(SEED + 200 * block + index)) is not None]
        climbed = climb(SEED + block, 50)
        figures["trials"] += 250
        figures["accepted"] += len(gaps) + climbed
        figures["tight_to_1e-6"] += sum(gap.margin < 1e-6 for gap in gaps)
        figures["climbed"] += 50
        least = min([least, *(gap.margin for gap in gaps)])
        figures |= {"least_relative_room": least, "seconds": round(time.monotonic() - start)}
        if long:
            Path("build").mkdir(exist_ok=True)
            Path("build/soundness.json").write_text(json.dumps(figures, indent=2) + "\n")
    if long:
        with capsys.disabled():
            print(json.dumps(figures))
