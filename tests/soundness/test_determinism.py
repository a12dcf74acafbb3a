"""The same inputs give the same bytes, on every machine and with every flint; more precision never weakens a bound."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.oracle import value
from tests.soundness import digests
from tests.strategies import Case, random_case
from verifier.kernel import Conclusion, Rejected, balls, check, limits, tables

pytestmark = pytest.mark.no_cover  # samples: what they reach does not count as tested line by line

SEEDS = (4, 11, 17, 23, 42)
SCRIPT = """
import random, sys, json
from tests.strategies import random_case
from verifier.kernel import check

for seed in map(int, sys.argv[1:]):
    print(json.dumps(check(*random_case(random.Random(seed)).files()).document(), sort_keys=True))
"""


def _accepted() -> list[int]:
    result = []
    for seed in range(40):
        try:
            check(*random_case(random.Random(seed)).files())
        except Rejected:
            continue
        result.append(seed)
    return result[:8]


def _run(seeds: list[int], **environment: str) -> str:
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, seeds)],
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=root,
    )
    return run.stdout


def test_processes_agree() -> None:
    """Hash seeds, thread counts and fresh processes make no difference."""
    seeds = _accepted()
    here = "".join(
        json.dumps(check(*random_case(random.Random(seed)).files()).document(), sort_keys=True) + "\n" for seed in seeds
    )
    for environment in ({"PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "4294967295", "OMP_NUM_THREADS": "4"}):
        assert _run(seeds, **environment) == here


def test_repeated_checks_agree() -> None:
    """Caches of tables, filled or empty, and checks in between make no difference."""
    cases = [random_case(random.Random(seed)) for seed in _accepted()]
    first = [check(*case.files()).document() for case in cases]
    tables.circle.cache_clear()
    assert [check(*case.files()).document() for case in reversed(cases)] == first[::-1]


def _bounds(found: Conclusion) -> list[Fraction]:
    """Every bound, the smaller the stronger."""
    unit = Fraction(2) ** found.margin_exponent
    result = [-x * unit for row in found.margins for x in row] + [value(found.logits.max_error)]
    for rule in found.quadrature:
        result += [value(rule.rectangle), value(rule.harmonic), value(rule.arc_sum)]
    return result


def _at(case: Case, precision: int, monkeypatch: pytest.MonkeyPatch) -> Conclusion:
    with monkeypatch.context() as patch:
        patch.setattr(balls, "PRECISION", precision)
        tables.circle.cache_clear()
        try:
            return check(*case.files())
        finally:
            tables.circle.cache_clear()


def test_precision_never_worsens_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Balls feed rounded integers only: at 192 bits no bound is weaker than at 128 by more than one rounding of a
    fixed-point table, and every bound at either precision is sound (tests of theorems run at the kernel's).
    """
    assert limits.PRECISION == 128
    for seed in _accepted():
        case = random_case(random.Random(seed))
        normal, high = (_at(case, precision, monkeypatch) for precision in (128, 192))
        for before, after in zip(_bounds(normal), _bounds(high), strict=True):
            assert after <= before, f"case {seed}"


@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") == "mutation", reason="any other number would do, as far as soundness goes"
)
def test_conclusions_are_those_recorded() -> None:
    """Numbers of this machine, Python and flint against `digests.json`; random circuits that this machine's C library
    rounds differently are left out.
    """
    stored, found = json.loads(digests.STORED.read_text()), digests.found_now()
    how = "if bounds were meant to change: python -m tests.soundness.digests"
    assert found["shipped"] == stored["shipped"], how
    same = [seed for seed, digest in stored["inputs"].items() if found["inputs"][seed] == digest]
    assert same, how
    assert {seed: found["random"][seed] for seed in same} == {seed: stored["random"][seed] for seed in same}, how


def test_digests_see_every_number() -> None:
    files = digests.case_files(_accepted()[0])
    found = check(*files)
    before = digests.digest(found)
    row = (found.margins[0][0] - 1, *found.margins[0][1:])
    assert before != digests.digest(replace(found, margins=(row, *found.margins[1:])))
    assert before != digests.digest(replace(found, outputs=found.outputs + 1))
    assert before == digests.digest(replace(found, operations={}))
