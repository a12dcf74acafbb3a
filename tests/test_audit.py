"""The audit agrees with what the kernel concludes, and objects to every number that is made stronger or changed."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import concluded, rule
from tests.strategies import claim_of, random_case
from verifier.audit import audit
from verifier.errors import InputError
from verifier.explainer import explain
from verifier.kernel import check
from verifier.kernel.claim import ADDITION
from verifier.model import circuit_for, read_native

MODELS = sorted((Path(__file__).parents[1] / "models").glob("*.safetensors"))
SMALL = MODELS[0].with_name("pizza-p23.safetensors")
CASES = [
    (path, strategy)
    for path in MODELS
    for strategy in (("semi-linear",) if path.stem.startswith("clock") else ("linear", "exact"))
]


@cache
def concluded_about(path: Path, strategy: str = "linear", share: int = 1) -> tuple[bytes, bytes, str]:
    model = path.read_bytes()
    network, digest = read_native(path), hashlib.sha256(model).hexdigest()
    circuit, own = circuit_for(ADDITION, network)
    certificate = explain(circuit, digest, activations=own)
    claim = claim_of(model, circuit.p, strategy, "binary32", circuit.p**2 * share)
    found = check(model, claim, certificate).conclusion
    return model, certificate, json.dumps(found.document())


@pytest.mark.parametrize(("path", "strategy"), CASES, ids=lambda x: getattr(x, "stem", x))
def test_shipped_models(path: Path, strategy: str) -> None:
    model, certificate, conclusion = concluded_about(path, strategy)
    checks = audit(model, certificate, json.loads(conclusion))
    assert not [x for x in checks if not x.agrees]
    assert len(checks) > 25


def _dyadics(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        if "mantissa" in value:
            return [path]
        return [p for key, item in value.items() for p in _dyadics(item, (*path, key))]
    if isinstance(value, list):
        return [p for key, item in enumerate(value) for p in _dyadics(item, (*path, key))]
    return []


# Larger is stronger for these; for all others smaller is.
LOWER = {"min_margin", "least_gap", "amplitude", "margin"}
# Only non-negative: the audit has no value of its own for them in the linear strategy.
NOT_JUDGED = {"profile", "other_frequencies", "output_rest", "fixed_point", "attention"}


@pytest.mark.parametrize(
    ("path", "strategy"),
    [(SMALL, "linear"), (MODELS[0], CASES[0][1]), (MODELS[-1], "linear")],
    ids=lambda x: getattr(x, "stem", x),
)
def test_every_number_made_stronger_is_noticed(path: Path, strategy: str) -> None:
    model, certificate, text = concluded_about(path, strategy)
    conclusion = json.loads(text)
    places = [place for place in _dyadics(conclusion) if not set(place) & NOT_JUDGED]
    assert len(places) > 10
    for place in places if path == SMALL else random.Random(1).sample(places, 8):
        changed = copy.deepcopy(conclusion)
        item: Any = changed
        for key in place:
            item = item[key]
        mantissa = int(item["mantissa"])
        item["mantissa"] = str(
            mantissa * 3 // 2 + 5
            if place[-1] in LOWER
            else mantissa // (10**6 if place[-1] == "floating_point" else 20) - 5
        )
        assert not all(x.agrees for x in audit(model, certificate, changed)), f"{place} was not noticed"


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("accuracy", "certified_inputs", 530),
        ("accuracy", "explained_inputs", 529 + 23),
        ("accuracy", "total_inputs", 528),
        ("accuracy", "semantics", "real"),
        ("model", "neurons", 3),
        ("certificate", "directions", 1),
        ("certificate", "sha256", "0" * 64),
        ("cost", "events", 17),
        ("cost", "operations", 17),
    ],
)
def test_every_fact_is_compared(part: str, name: str, value: object) -> None:
    model, certificate, text = concluded_about(SMALL)
    conclusion = json.loads(text)
    conclusion[part][name] = value
    assert not all(x.agrees for x in audit(model, certificate, conclusion))


def test_another_models_conclusion_is_noticed() -> None:
    """The same numbers said of a model whose outputs are turned around."""
    case = next(
        case
        for case in (random_case(random.Random(seed)) for seed in range(100))
        if (found := concluded(case)) is not None and found.conclusion.accuracy.certified_inputs
    )
    found = concluded(case)
    assert found is not None
    model, _, certificate = case.files()
    document = json.loads(json.dumps(found.conclusion.document()))
    other = model[:-8] + bytes(8)
    assert any(not x.agrees for x in audit(other, certificate, document))


@pytest.mark.soundness
@pytest.mark.parametrize("block", range(4))
def test_random_circuits(block: int) -> None:
    judged = 0
    for seed in range(1000 + 40 * block, 1040 + 40 * block):
        case = random_case(random.Random(seed))
        found = concluded(case)
        if (
            found is None
            or not case.single
            or any(rule(case, x.frequency).sharpness < 1e-3 for x in found.conclusion.quadrature)
        ):
            continue
        model, _, certificate = case.files()
        document = json.loads(json.dumps(found.conclusion.document()))
        bad = [x for x in audit(model, certificate, document) if not x.agrees and "events" not in x.name]
        assert not bad, f"seed {seed}: {bad}"
        judged += 1
    assert judged > 5


@pytest.mark.parametrize("data", [b"", b"nonsense", (2).to_bytes(8, "little") + b"{}"])
def test_what_is_no_model(data: bytes) -> None:
    with pytest.raises(InputError):
        audit(data, b"{}", {})
