"""Every field of a shipped model's certificate, changed by a little and by a lot: rejected, or still true.

The truth comes from evaluating all p² inputs exactly, once. With CERTIFIED models beside it, the shipped certificate is
used; otherwise one is made by the explainer.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import value
from verifier.kernel import Conclusion, Reason, Rejected, check

pytestmark = pytest.mark.no_cover  # samples: what they reach does not count as tested line by line

ROOT = Path(__file__).parents[2]
NAME = "pizza-p23"


def _claim(digest: str, p: int, strategy: str, semantics: str, certified: int) -> bytes:
    claim = {
        "format": "verifier-claim/1",
        "task": "(a + b) mod p",
        "p": p,
        "model_sha256": digest,
        "strategy": strategy,
        "semantics": semantics,
        "certified_inputs": certified,
        "refinement_budget": 0,
    }
    return json.dumps(claim).encode()


@dataclass(frozen=True)
class Shipped:
    model: bytes
    digest: str
    certificate: dict[str, Any]
    truth: Conclusion


@cache
def shipped() -> Shipped:
    from verifier.explain.search import EFFORTS, certificate_bytes, explain, read
    from verifier.model import fold, read_native

    path = ROOT / "models" / f"{NAME}.safetensors"
    model = path.read_bytes()
    digest = hashlib.sha256(model).hexdigest()
    file = ROOT / "certificates" / NAME / "certificate.json"
    if file.exists():
        data = file.read_bytes()
    else:
        reading = read(fold(read_native(path)))
        data = certificate_bytes(reading, explain(reading, EFFORTS[0]), digest)
    certificate = json.loads(data)
    truth = check(model, _claim(digest, certificate["p"], "exhaustive", "real", 0), data)
    return Shipped(model, digest, certificate, truth)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every number in a certificate, of long lists the first, the last and some between."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _places(item, (*path, name))
    elif isinstance(value, list):
        picked = (0, len(value) // 2) if len(value) > 4 else range(len(value))
        for index in picked:
            yield from _places(value[index], (*path, index))
    elif isinstance(value, int):
        yield path


def _set(certificate: dict[str, Any], path: tuple[Any, ...], change: Any) -> dict[str, Any]:
    result = copy.deepcopy(certificate)
    place = result
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = change(place[path[-1]])
    return result


CHANGES = {
    "a little": lambda x: x + 1,
    "a lot": lambda x: x * 3 + 17,
    "negated": lambda x: -x,
}


def _judge(certificate: dict[str, Any]) -> bool:
    """Check the changed certificate; every conclusion must be true. False when it was rejected."""
    known = shipped()
    try:
        found = check(
            known.model, _claim(known.digest, known.truth.p, "linear", "real", 0), json.dumps(certificate).encode()
        )
    except Rejected as error:
        assert error.reason.kind in ("malformed", "unproved")
        return False
    unit, exact = Fraction(2) ** found.margin_exponent, Fraction(2) ** known.truth.margin_exponent
    # The exact margins less the fixed-point penalty are lower bounds; the kernel subtracts it from its own as well.
    for row, line in zip(found.margins, known.truth.margins, strict=True):
        for bound, margin in zip(row, line, strict=True):
            assert bound * unit <= margin * exact
    assert known.truth.accuracy.true_min_margin is not None
    assert value(found.accuracy.min_margin) <= value(known.truth.accuracy.true_min_margin[1])
    return True


def _fields() -> list[str]:
    """The names of the parts of a certificate, so that each has a test of its own."""
    return [
        "p",
        "neurons",
        "cells",
        "output_frequencies",
        "critical_offsets",
        "amplitude_exponent",
        "families",
        "boxes",
    ]


@pytest.mark.parametrize("field", _fields())
def test_every_number_changed(field: str) -> None:
    certificate = shipped().certificate
    rng = random.Random(field)
    accepted = tried = 0
    for path in _places(certificate[field], (field,)):
        # Each of a neuron's numbers in every family is tried once; which change is drawn.
        changes = list(CHANGES.values()) if field != "families" else [rng.choice(list(CHANGES.values()))]
        for change in changes:
            tried += 1
            accepted += _judge(_set(certificate, path, change))
    assert tried > 0
    if field in ("p", "neurons"):
        assert accepted == 0


def test_an_unchanged_certificate_is_accepted() -> None:
    known = shipped()
    assert _judge(known.certificate)
    again = check(
        known.model,
        _claim(known.digest, known.truth.p, "linear", "binary32", known.truth.p**2),
        json.dumps(known.certificate).encode(),
    )
    assert again.accuracy.certified_inputs == known.truth.p**2


def test_structure_changed() -> None:
    """Members dropped, doubled, moved between families and lists; families dropped, doubled, emptied; names changed."""
    certificate = shipped().certificate
    first = certificate["families"][0]

    def dropped(c: dict[str, Any]) -> None:
        del c["families"][0]["members"][0]

    def doubled(c: dict[str, Any]) -> None:
        c["families"][0]["members"].append(first["members"][0])

    def moved(c: dict[str, Any]) -> None:
        c["families"][-1]["members"].append(c["families"][0]["members"].pop())

    def off(c: dict[str, Any]) -> None:
        c["off"].append(c["families"][0]["members"].pop()[0])

    def on(c: dict[str, Any]) -> None:
        c["on"].append(c["families"][0]["members"].pop()[0])

    def outlier(c: dict[str, Any]) -> None:
        c["outliers"].append(c["families"][0]["members"][0][0])

    def alone(c: dict[str, Any]) -> None:
        c["outliers"].append(c["families"][0]["members"].pop()[0])

    def on_and_outlier(c: dict[str, Any]) -> None:
        on(c)
        c["outliers"].append(c["on"][-1])

    def twice_an_outlier(c: dict[str, Any]) -> None:
        c["outliers"] += [first["members"][0][0]] * 2

    def no_family(c: dict[str, Any]) -> None:
        c["families"] = []

    def empty_family(c: dict[str, Any]) -> None:
        c["families"][0]["members"] = []

    def no_profile(c: dict[str, Any]) -> None:
        c["families"][0]["profile"] = []

    def another_frequency(c: dict[str, Any]) -> None:
        c["families"][0]["frequency"] = next(j for j in c["output_frequencies"] if j != c["families"][0]["frequency"])

    def without_its_frequency(c: dict[str, Any]) -> None:
        c["output_frequencies"].remove(first["frequency"])

    def shells_reversed(c: dict[str, Any]) -> None:
        c["families"][0]["shells"] = [2, 1]

    def frequency_twice(c: dict[str, Any]) -> None:
        c["output_frequencies"].append(first["frequency"])

    def unknown(c: dict[str, Any]) -> None:
        c["trust_me"] = 1

    def a_float(c: dict[str, Any]) -> None:
        c["cells"] = 21.0

    def another_model(c: dict[str, Any]) -> None:
        c["model_sha256"] = "0" * 64

    expected: dict[Any, Reason | None] = {
        dropped: Reason.NEURONS, doubled: Reason.NEURONS, moved: None, off: None, on: None, outlier: None, alone: None,
        on_and_outlier: Reason.NEURONS, twice_an_outlier: Reason.NEURONS, no_family: Reason.EMPTY,
        empty_family: Reason.EMPTY, no_profile: Reason.EMPTY, another_frequency: Reason.FREQUENCY,
        without_its_frequency: Reason.FREQUENCY, shells_reversed: Reason.RANGE, frequency_twice: Reason.FREQUENCY,
        unknown: Reason.FIELD, a_float: Reason.JSON, another_model: Reason.DIGEST,
    }  # fmt: skip
    known = shipped()
    for change, reason in expected.items():
        changed = copy.deepcopy(certificate)
        change(changed)
        if reason is None:
            assert _judge(changed), change.__name__
            continue
        with pytest.raises(Rejected) as caught:
            check(known.model, _claim(known.digest, known.truth.p, "linear", "real", 0), json.dumps(changed).encode())
        assert caught.value.reason is reason, change.__name__
