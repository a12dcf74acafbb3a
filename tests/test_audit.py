"""The second opinion agrees with the kernel on circuits of every kind, and notices a conclusion that is too strong."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.strategies import random_case
from verifier import cli
from verifier.audit import audit, circuit, quadrature
from verifier.kernel import Rejected, check
from verifier.model import decode


def _checked(seed: int) -> tuple[bytes, bytes, dict[str, Any]] | None:
    model, claim, certificate = random_case(random.Random(seed)).files()
    try:
        return model, certificate, check(model, claim, certificate).document()
    except Rejected:
        return None


def test_agrees_on_random_circuits() -> None:
    audited = 0
    for seed in range(60):
        case = _checked(seed)
        if case is None:
            continue
        found = audit(*case)
        assert all(x.agrees for x in found), (seed, [x for x in found if not x.agrees])
        audited += all("not audited" not in x.detail for x in found)
    assert audited > 40


def _first_good() -> tuple[bytes, bytes, dict[str, Any]]:
    for seed in range(100):
        case = _checked(seed)
        if case is None or "true_min_margin" not in case[2]["accuracy"]:
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
        (("accuracy", "true_min_margin", 0), 1e9),
        (("accuracy", "max_deviation", 1), -1.0),
        (("logits", "max_error"), -1.0),
        (("logits", "budget", "fixed_point"), 0.0),
        (("quadrature", 0, "rectangle"), 0.0),
        (("quadrature", 0, "harmonic"), 0.0),
        (("quadrature", 0, "arc_sum"), -1.0),
        (("quadrature", 0, "bound"), -1.0),
    ],
)
def test_notices_a_stronger_number(place: tuple[Any, ...], value: float) -> None:
    model, certificate, conclusion = _first_good()
    changed = copy.deepcopy(conclusion)
    part: Any = changed
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value if isinstance(value, int) else _number(value)
    assert not all(x.agrees for x in audit(model, certificate, changed))


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
