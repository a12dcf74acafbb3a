"""The second opinion agrees with the kernel on every shipped certificate and on circuits of every kind, and notices a
conclusion that is too strong.

The normal run looks at a fixed sample; `make soundness` at every input of every shipped certificate, and at more
circuits.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shipped import POISONED, ROOT, SHIPPED, SMALL, certified
from tests.strategies import random_case
from verifier import cli
from verifier.audit import audit, circuit, quadrature
from verifier.kernel import Rejected, check
from verifier.model import decode
from verifier.proof.documents import PREDICATE_TYPE
from verifier.proof.envelope import decode_bundle
from verifier.proof.statement import decode_statement

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "soundness"
SEMANTICS = ("real", "binary32", "tf32", "bfloat16")
QUICK = ("pizza-p23", "pizza-p59-three")  # in the normal run
Audited = tuple[bytes, bytes, dict[str, Any]]
long_run = pytest.mark.skipif(not LONG, reason="the long run: make soundness (a sample was run)")


def _agrees(case: Audited, what: object, sample: int | None = None) -> bool:
    """Whether all of it could be audited."""
    found = audit(*case, sample=sample)
    assert all(x.agrees for x in found), (what, [x for x in found if not x.agrees])
    return all("not audited" not in x.detail for x in found)


def _signed(name: str) -> Audited:
    """A shipped certificate and the conclusion that was signed."""
    folder = ROOT / "certificates" / name
    statement = decode_statement(
        decode_bundle((folder / "proof.sigstore.json").read_bytes()).payload, (PREDICATE_TYPE,)
    )
    model = (ROOT / "models" / f"{name}.safetensors").read_bytes()
    return model, (folder / "certificate.json").read_bytes(), dict(statement.conclusion)


@pytest.mark.parametrize("name", QUICK)
def test_agrees_on_shipped_certificates(name: str) -> None:
    assert _agrees(_signed(name), name, sample=32)


@pytest.mark.soundness
@long_run
@pytest.mark.parametrize("name", SHIPPED)
def test_agrees_on_every_shipped_certificate_at_every_input(name: str) -> None:
    assert _agrees(_signed(name), name, sample=1 << 30)


@pytest.mark.parametrize(("strategy", "semantics"), [("exhaustive", "bfloat16"), ("refined", "tf32")])
def test_agrees_on_other_claims(strategy: str, semantics: str) -> None:
    model, certificate, conclusion = _signed(SMALL.stem)
    changes = {"strategy": strategy, "semantics": semantics, "certified_inputs": 0}
    claim = json.loads((ROOT / "certificates" / SMALL.stem / "claim.json").read_bytes()) | changes
    found = check(model, json.dumps(claim).encode(), certificate).document()
    assert found["quadrature"] == conclusion["quadrature"]
    assert _agrees((model, certificate, found), changes)


def test_agrees_on_a_network_with_wrong_answers() -> None:
    found = certified(POISONED)
    assert found.outcome.conclusion is not None
    conclusion: dict[str, Any] = found.outcome.conclusion.document()
    assert conclusion["accuracy"]["uncertified_inputs"] > 0
    assert _agrees((POISONED.read_bytes(), found.certificate, conclusion), POISONED.name)


def _checked(seed: int) -> Audited | None:
    """A random circuit, one semantics after another; None when the kernel rejects it."""
    model, claim, certificate = replace(random_case(random.Random(seed)), semantics=SEMANTICS[seed % 4]).files()
    try:
        return model, certificate, check(model, claim, certificate).document()
    except Rejected:
        return None


def _count(seeds: range) -> int:
    """How many random circuits are audited in full."""
    cases = ((seed, _checked(seed)) for seed in seeds)
    return sum(_agrees(case, seed) for seed, case in cases if case is not None)


def test_agrees_on_random_circuits() -> None:
    assert _count(range(60)) > 35


@pytest.mark.soundness
@long_run
def test_agrees_on_many_random_circuits() -> None:
    assert _count(range(1000, 11_000)) > 6000


def _transformer_case(seed: int) -> Audited | None:
    """A tiny transformer, attention intervals included, with an explanation that need not fit it."""
    from tests.soundness.test_lemmas import _random_transformer

    rng = random.Random(seed)
    model = _random_transformer(rng, intervals=seed % 2 == 0)["file"]
    c = circuit(decode(model, "test"))
    n, exponent = len(c.pre_slack), math.frexp(float(abs(c.A.floats()).max()) or 1.0)[1] - 30
    family = {"frequency": 1, "dc": 0, "profile": [[1 << 24, 0, 1 << 24, 0]], "shells": []}
    family["members"] = [[i, rng.randrange(1, 1 << 30), rng.randrange(1 << 32)] for i in range(n)]
    head = {"p": c.p, "model_sha256": hashlib.sha256(model).hexdigest()}
    certificate = {
        "format": "verifier-certificate/1",
        **head,
        "neurons": n,
        "cells": 8,
        "output_frequencies": [1],
        "critical_offsets": 2,
        "amplitude_exponent": exponent,
        "families": [family],
        "outliers": [],
        "on": [],
        "off": [],
        "boxes": [{"frequency": 1, "whole": 0, "half": 0}],
    }
    claim = {
        "format": "verifier-claim/1",
        "task": "(a + b) mod p",
        **head,
        "strategy": rng.choice(("linear", "refined", "exhaustive")),
        "semantics": SEMANTICS[seed % 3 + 1],
        "certified_inputs": 0,
        "refinement_budget": 8,
    }
    files = model, json.dumps(claim).encode(), json.dumps(certificate).encode()
    try:
        return model, files[2], check(*files).document()
    except Rejected:
        return None


def _count_transformers(seeds: range) -> int:
    cases = ((seed, _transformer_case(seed)) for seed in seeds)
    return sum(_agrees(case, seed) for seed, case in cases if case is not None)


def test_agrees_on_random_transformers() -> None:
    assert _count_transformers(range(40)) > 20


@pytest.mark.soundness
@long_run
def test_agrees_on_many_random_transformers() -> None:
    assert _count_transformers(range(1000, 6000)) > 2500


def _first_good() -> Audited:
    for seed in range(0, 1000, 4):
        case = _checked(seed)
        if case is None or "true_min_margin" not in case[2]["accuracy"]:
            continue
        if not case[2]["logits"]["budget"]["other_frequencies"] or not case[2]["accuracy"]["uncertified"]:
            continue
        if all("not audited" not in x.detail for x in audit(*case)):
            return case
    raise AssertionError("no case")


def _number(value: float) -> dict[str, Any]:
    numerator, denominator = value.as_integer_ratio()
    return {"mantissa": str(numerator), "exponent": -(denominator.bit_length() - 1)}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("accuracy", "min_margin"), 1e9),
        (("accuracy", "floating_point"), 1e9),
        (("accuracy", "certified_inputs"), 10**6),
        (("accuracy", "exhaustive"), 10**6),
        (("accuracy", "uncertified_inputs"), 0),
        (("accuracy", "uncertified", 0, "margin"), 1e9),
        (("accuracy", "true_min_margin", 0), 1e9),
        (("accuracy", "max_deviation", 1), -1.0),
        (("logits", "max_error"), -1.0),
        (("logits", "max_error"), 1e9),
        (("logits", "naive"), 0.0),
        (("logits", "budget", "fixed_point"), 0.0),
        (("logits", "budget", "quadrature", 0), 0.0),
        (("logits", "budget", "profile", 0), -1e9),
        (("logits", "budget", "other_frequencies", 0), -1e9),
        (("logits", "budget", "band"), -1e9),
        (("logits", "budget", "output_residual"), -1e9),
        (("logits", "budget", "skip"), -1.0),
        (("quadrature", 0, "rectangle"), 0.0),
        (("quadrature", 0, "harmonic"), 0.0),
        (("quadrature", 0, "arc_sum"), -1.0),
        (("quadrature", 0, "bound"), -1.0),
        (("quadrature", 0, "relative_bound"), -1.0),
        (("quadrature", 0, "network_error"), 0.0),
        (("quadrature", 0, "amplitude"), 1e9),
        (("quadrature", 0, "neurons"), 10**6),
        (("model", "neurons"), 1),
        (("certificate", "families"), 0),
        (("cost", "brute_force"), 0),
    ],
)
def test_notices_a_stronger_number(place: tuple[Any, ...], value: float) -> None:
    model, certificate, conclusion = _first_good()
    changed = copy.deepcopy(conclusion)
    part: Any = changed
    for step in place[:-1]:
        part = part[step]
    last = place[-1]
    if isinstance(part, dict) and isinstance(last, int):
        last = sorted(part)[last]
    part[last] = value if isinstance(value, int) else _number(value)
    assert not all(x.agrees for x in audit(model, certificate, changed))


def test_notices_a_number_a_little_too_strong() -> None:
    """On a shipped certificate these bounds are near what is audited."""
    model, certificate, conclusion = _signed(SMALL.stem)
    changed = copy.deepcopy(conclusion)
    first = changed["quadrature"][0]
    for part, name, factor in (
        (first, "network_error", 0.9),
        (first, "amplitude", 1.01),
        (changed["accuracy"], "floating_point", 1e-5),
        (changed["logits"]["budget"], "skip", 0.9),
    ):
        part[name] = _number(factor * int(part[name]["mantissa"]) * 2.0 ** part[name]["exponent"])
    wrong = {x.name for x in audit(model, certificate, changed) if not x.agrees}
    k = first["frequency"]
    bounds = {f"network_error, frequency {k}", f"amplitude, frequency {k}", "budget, skip"}
    assert wrong == bounds | {"Theorem F", "Theorem F, executed"}


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, claim, certificate = random_case(random.Random(2)).files()
    names = {"m.safetensors": model, "claim.json": claim, "certificate.json": certificate}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
    arguments = ["audit", str(tmp_path / "claim.json"), "--model", str(tmp_path / "m.safetensors")]
    assert cli.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agrees"] is True
    assert {"name", "signed", "audited", "agrees", "detail"} == set(document["checks"][0])
    assert cli.main(arguments) == 0
    assert "agrees" in capsys.readouterr().out
    (tmp_path / "claim.json").write_bytes(b"{}")
    assert cli.main(arguments) == 2


def test_folding_agrees_with_a_direct_run() -> None:
    """The audit's folding of a transformer against the network run in double precision."""
    from tests.soundness.test_lemmas import _random_transformer, _run_exactly

    rng = random.Random(9)
    for _ in range(6):
        network = _random_transformer(rng, intervals=False)
        file = network["file"]
        assert isinstance(file, bytes)
        c = circuit(decode(file, "test"))
        weights = [[low] * network["tensors"]["blocks.0.attn.W_V"].shape[0] for low, _ in network["weights"]]
        A, B, W, S1, S2 = (x.floats() for x in (c.A, c.B, c.W, c.S1, c.S2))
        for a in range(c.p):
            for b in range(c.p):
                exact = [float(x) for x in _run_exactly(network, a, b, weights)]
                folded = np.maximum(A[:, a] + B[:, b], 0) @ W + S1[a] + S2[b]
                assert np.allclose(folded, exact, rtol=1e-9, atol=1e-9 * (1 + abs(folded).max()))


def test_a_vanishing_moment_is_not_audited() -> None:
    assert quadrature([], {"whole": 0, "half": 0}, 3, 0.0) is None


def test_the_number_of_inputs_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    model, proof = ROOT / "models/pizza-p23.safetensors", ROOT / "certificates/pizza-p23/proof.sigstore.json"
    command = ["audit", str(proof), "--model", str(model), "--json", "--inputs"]
    assert cli.main([*command, "3"]) == 0
    assert "3 inputs" in capsys.readouterr().out
    assert cli.main([*command, "0"]) == 2
    assert "--inputs: must be at least 1" in capsys.readouterr().err
