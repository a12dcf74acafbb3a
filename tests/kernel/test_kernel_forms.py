"""What is not strict JSON of the declared form is refused, with the reason that says why; and circuits executed."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from tests.oracle import concluded
from tests.strategies import random_case
from verifier.audit import audit
from verifier.kernel import Reason, Rejected
from verifier.kernel.certificate import read_certificate
from verifier.kernel.claim import read_claim

_, CLAIM, CERTIFICATE = random_case(random.Random(2)).files()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"p": ', b'"q": 1, "p": ', Reason.FIELD),
        (b'"p": ', b'"p": 1, "p": ', Reason.JSON),
        (b'"real"', b'"exact"', Reason.FIELD),
        (b'"real"', b"1.5", Reason.JSON),
        (b'"real"', b"NaN", Reason.JSON),
        (b'"real"', b"true", Reason.FIELD),
        (b'"real"', b'"\xff"', Reason.JSON),
        (b'"real"', b"[" * 20 + b"]" * 20, Reason.JSON),
        (b'"p": ', b'"p": 1' + b"0" * 40, Reason.RANGE),
        (b'"p": ', b'"p": 900', Reason.RANGE),
        (b"claim/2", b"claim/1", Reason.FORMAT),
        (b"mod p", b"mod q", Reason.TASK),
        (b"{", b"[{", Reason.JSON),
        (b"}", b"} x", Reason.JSON),
    ],
)
def test_claims(old: bytes, new: bytes, reason: Reason) -> None:
    read_claim(CLAIM)
    with pytest.raises(Rejected) as refused:
        read_claim(CLAIM.replace(old, new, 1))
    assert refused.value.reason is reason


def _edited(name: str, value: object) -> bytes:
    return json.dumps({**json.loads(CERTIFICATE), name: value}).encode()


ROW = [0] * json.loads(CERTIFICATE)["p"]
WAVE = {"frequency": 1, "cosine": ROW, "sine": ROW}
GOOD = {"exponent": 0, "constant": ROW, "waves": [WAVE]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.FIELD),
        ([], Reason.FIELD),
        ({**GOOD, "waves": [WAVE, WAVE]}, Reason.FREQUENCY),
        ({**GOOD, "waves": [{**WAVE, "frequency": 2}]}, Reason.FREQUENCY),
        ({**GOOD, "waves": [{**WAVE, "sine": [*ROW, 0]}]}, Reason.FIELD),
        ({**GOOD, "constant": [*ROW, 0]}, Reason.FIELD),
        ({**GOOD, "constant": [(1 << 24) + 1, *ROW[1:]]}, Reason.RANGE),
        ({**GOOD, "exponent": 1201}, Reason.RANGE),
        ({**GOOD, "waves": [{**WAVE, "cosine": [0.5] * len(ROW)}]}, Reason.JSON),
    ],
)
def test_deformations(value: object, reason: Reason) -> None:
    for good in (GOOD, {**GOOD, "waves": []}):
        assert read_certificate(_edited("deformation", good)).deformation is not None
    with pytest.raises(Rejected) as refused:
        read_certificate(_edited("deformation", value))
    assert refused.value.reason is reason


def test_a_deformation_is_for_moduli_of_which_every_logit_is_evaluated() -> None:
    document = {**json.loads(CERTIFICATE), "deformation": GOOD}
    for p in (128, 129):
        rows = [0] * min(p, 128)
        wave = {"frequency": 1, "cosine": rows, "sine": rows}
        document |= {"p": p, "deformation": {"exponent": 0, "constant": rows, "waves": [wave]}}
        if p == 128:
            assert read_certificate(json.dumps(document).encode()).deformation is not None
            continue
        with pytest.raises(Rejected, match="p = 129; above 128") as refused:
            read_certificate(json.dumps(document).encode())
        assert refused.value.reason is Reason.SIZE


@pytest.mark.parametrize("semantics", ["binary32", "tf32", "bfloat16"])
def test_circuits_that_are_executed(semantics: str) -> None:
    judged = 0
    for seed in range(60):
        case = replace(random_case(random.Random(seed)), semantics=semantics)
        found = concluded(case)
        if found is None or not case.single:
            continue
        model, _, certificate = case.files()
        document = json.loads(json.dumps(found.conclusion.document()))
        bound = [x for x in audit(model, certificate, document) if x.name == "Theorem F"]
        assert [x.agrees for x in bound] == [True], f"seed {seed}: {bound}"
        judged += 1
    assert judged > 10


@pytest.mark.parametrize("escape", [b'"\\ud800"', b'"\\u0041"'])
def test_half_of_a_surrogate_pair_is_no_text(escape: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        read_claim(CLAIM.replace(b'"real"', escape, 1))
    assert refused.value.reason is (Reason.JSON if b"ud8" in escape else Reason.FIELD)
