"""The steps of verification: each fails for its own reason, and nothing changed is accepted."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.proof.proof_support import (
    MODEL,
    RELEASE,
    SECOND,
    Case,
    FakeRejection,
    conclude,
    dyadic,
    make_certificate,
    make_claim,
    make_policy,
    make_statement,
    sign,
)
from verifier.kernel.forms import Json
from verifier.proof import canonical
from verifier.proof.documents import CERTIFICATE, CLAIM, SCHEMAS, STATEMENT
from verifier.proof.envelope import decode_bundle
from verifier.proof.forms import require as check_form
from verifier.proof.kernel import Kernel, Observer, trusted_kernel
from verifier.proof.reasons import MalformedError, Reason, VerificationError
from verifier.proof.sign import countersign, environment, make_proof
from verifier.proof.statement import decode_statement, exact
from verifier.proof.verify import verify

GOOD = sign(make_statement())


def failure(case: Case) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        case.verify()
    return caught.value


def test_a_good_proof() -> None:
    verified = Case().verify()
    assert verified.rechecked
    assert verified.keyids == (RELEASE.public.keyid,)
    assert verified.facts.certified_inputs == 3481
    assert verified.facts.accuracy == 1
    assert verified.statement.environment["python"] == "3.11.7"


def test_what_make_proof_makes_is_verified() -> None:
    claim, certificate = make_claim(), make_certificate()
    proof = make_proof("p59-seed0.safetensors", MODEL, claim, certificate, conclude(MODEL, claim, certificate), SECOND)
    verified = Case(bundles=(proof,), policy=make_policy((SECOND,))).verify()
    assert verified.statement.environment == environment()
    assert set(environment()) == {"verifier", "python", "python-flint", "flint", "kernel-loop"}
    assert verified.keyids == (SECOND.public.keyid,)


@pytest.mark.parametrize("name", ["../m.safetensors", "m.pt", "", "m .safetensors"])
def test_no_proof_is_made_that_could_not_be_read(name: str) -> None:
    claim, certificate = make_claim(), make_certificate()
    with pytest.raises(MalformedError):
        make_proof(name, MODEL, claim, certificate, conclude(MODEL, claim, certificate), RELEASE)
    with pytest.raises(MalformedError):
        make_proof("m.safetensors", MODEL, b"[]", certificate, conclude(MODEL, claim, certificate), RELEASE)
    with pytest.raises(MalformedError):
        make_proof("m.safetensors", MODEL, claim, certificate, {"margin": 0.5}, RELEASE)
    with pytest.raises(MalformedError):
        make_proof("m.safetensors", MODEL, claim, certificate, [], RELEASE)


def test_without_recheck_the_kernel_is_not_run_and_the_result_says_so() -> None:
    def broken(model: bytes, claim: bytes, certificate: bytes, observe: Observer) -> object:
        raise AssertionError("the kernel must not be run")

    statement: Any = make_statement()
    statement["predicate"]["conclusion"]["accuracy"]["min_margin"] = dyadic(1000, 0)
    for certificate in (make_certificate(), None):
        kernel = Kernel(broken, FakeRejection)
        verified = Case(bundles=(sign(statement),), certificate=certificate, recheck=False, kernel=kernel).verify()
        assert not verified.rechecked
        assert verified.facts.min_margin == 1000
    other = failure(Case(bundles=(sign(statement),), certificate=b"other", recheck=False))
    assert other.reason is Reason.CERTIFICATE_DIGEST


def test_a_recheck_needs_the_certificate() -> None:
    error = failure(Case(certificate=None))
    assert (error.step, error.reason) == (7, Reason.MISSING)


@pytest.mark.parametrize("error", [AssertionError("oops"), MemoryError(), RecursionError(), ValueError("x" * 10**6)])
def test_a_kernel_that_breaks_proves_nothing(error: Exception) -> None:
    def broken(model: bytes, claim: bytes, certificate: bytes, observe: Observer) -> object:
        raise error

    found = failure(Case(kernel=Kernel(broken, FakeRejection)))
    assert (found.step, found.reason) == (7, Reason.BROKEN)
    assert type(error).__name__ in found.detail


@pytest.mark.parametrize("document", [None, [], {}, {"a": 0.5}, "text"])
def test_a_kernel_that_says_something_else_proves_nothing(document: object) -> None:
    error = failure(Case(kernel=Kernel(lambda *inputs: document, FakeRejection)))
    assert error.reason in (Reason.DIFFERENT, Reason.BROKEN)


def test_true_is_not_one() -> None:
    """Python holds True == 1 and 1.0 == 1; conclusions are compared as text."""
    claim, certificate = make_claim(), make_certificate()
    changed: Any = conclude(MODEL, claim, certificate)
    changed["certificate"]["others"] = True
    assert changed == conclude(MODEL, claim, certificate)
    error = failure(Case(claim=claim, certificate=certificate, kernel=Kernel(lambda *inputs: changed, FakeRejection)))
    assert error.reason is Reason.DIFFERENT
    assert "conclusion.certificate.others" in error.detail
    assert "python 3.11.7" in error.detail


def test_the_kernel_reports_progress() -> None:
    seen: list[tuple[str, int, int]] = []
    Case(observe=lambda *step: seen.append(step)).verify()
    assert seen == [("check", 1, 1)]


@pytest.mark.parametrize("count", [0, 17])
def test_the_number_of_bundles_is_bounded(count: int) -> None:
    error = failure(Case(bundles=(GOOD,) * count))
    assert (error.step, error.reason) == (1, Reason.SIZE)


def test_countersigning() -> None:
    both = make_policy((RELEASE, SECOND), threshold=2)
    assert failure(Case(policy=both)).reason is Reason.THRESHOLD
    second = countersign(decode_bundle(GOOD), SECOND)
    verified = Case(bundles=(GOOD, second), policy=both).verify()
    assert verified.keyids == (RELEASE.public.keyid, SECOND.public.keyid)
    assert Case(bundles=(second,), policy=make_policy((SECOND,))).verify().rechecked


def test_exit_codes() -> None:
    for reason in Reason:
        code = VerificationError(1, reason, "").exit_code
        assert code == (2 if reason.kind == "malformed" else 1)
    assert failure(Case(bundles=(b"",))).exit_code == 2
    assert failure(Case(model=b"")).exit_code == 1


def leaves(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything in a document, objects and lists included."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def mutants(value: Json, path: tuple[str | int, ...]) -> Iterator[Json]:
    """The document with what is at `path` changed a little, changed a lot, and removed."""
    old = at(value, path)
    others: list[Any] = [None, [], {}, "", True]
    if isinstance(old, bool):
        others.append(not old)
    elif isinstance(old, int):
        others += [old + 1, old - 1, -old or 7, str(old), 2**53 - 1]
    elif isinstance(old, str):
        others += [old + "0", old[:-1], old.swapcase(), old[::-1], 0]
        if old.lstrip("-").isdigit():
            others += [str(int(old) + 1), str(int(old) - 1), "-" + old]
    elif isinstance(old, list):
        others += [old + old, old[:-1], old[::-1]]
    else:
        others += [{**old, "extra": 1}]
    for other in others:
        if canonical.encode(other) != canonical.encode(old):
            changed = copy.deepcopy(value)
            at(changed, path[:-1])[path[-1]] = other
            yield changed
    changed = copy.deepcopy(value)
    del at(changed, path[:-1])[path[-1]]
    yield changed


def test_no_field_of_a_bundle_can_change() -> None:
    value = json.loads(GOOD)
    count = 0
    for path in leaves(value):
        for changed in mutants(value, path):
            if canonical.encode(changed) == GOOD:
                continue
            failure(Case(bundles=(canonical.encode(changed),)))
            count += 1
    assert count > 80


def test_no_field_of_a_statement_can_change_even_if_it_is_signed_again() -> None:
    """But for the versions, which are said to be for information: those are signed and not compared."""
    statement = make_statement()
    good = canonical.encode(statement)
    count, changed_versions = 0, 0
    for path in leaves(statement):
        for changed in mutants(statement, path):
            if canonical.encode(changed) == good:
                continue
            case = Case(bundles=(sign(changed),))
            if path[:2] == ("predicate", "environment"):
                try:
                    case.verify()
                    changed_versions += 1
                except VerificationError:
                    pass
                continue
            assert failure(case).step >= 4, path
            count += 1
    assert count > 800
    assert changed_versions > 0


def test_no_byte_of_a_proof_can_change() -> None:
    for place in range(0, len(GOOD), 3):
        changed = bytearray(GOOD)
        changed[place] ^= 1 << place % 8
        failure(Case(bundles=(bytes(changed),)))


def test_no_byte_of_model_claim_or_certificate_can_change() -> None:
    random_ = random.Random(0)
    parts: tuple[tuple[Callable[[bytes], Case], bytes], ...] = (
        (lambda data: Case(model=data), MODEL),
        (lambda data: Case(claim=data), make_claim()),
        (lambda data: Case(certificate=data), make_certificate()),
    )
    for case, data in parts:
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= random_.randrange(1, 256)
            assert failure(case(bytes(changed))).step == 5
        for other in (data + b"\0", data[:-1], b""):
            assert failure(case(other)).step == 5


def test_statements_are_read_back() -> None:
    statement = make_statement()
    payload = canonical.encode(statement)
    decoded = decode_statement(payload, (str(statement["predicateType"]),))
    from verifier.proof.statement import encode_statement

    assert encode_statement(decoded) == payload


def test_dyadic_numbers_are_exact() -> None:
    assert exact(dyadic(-3, -2)) * 4 == -3
    assert exact(dyadic(5, 3)) == 40
    assert exact(dyadic(0, 0)) == 0


class TestSchemas:
    """The published schemas are those of the decoder, and accept and reject what it does."""

    @staticmethod
    def validator(name: str) -> Any:

        from jsonschema import Draft202012Validator

        from verifier.proof.documents import schema_text

        text = schema_text(name)
        Draft202012Validator.check_schema(json.loads(text))
        return Draft202012Validator(json.loads(text))

    @pytest.mark.parametrize("name", SCHEMAS)
    def test_published(self, name: str) -> None:
        self.validator(name)

    def test_statement(self) -> None:
        self.compare("statement", STATEMENT, make_statement())

    def test_bundle(self) -> None:
        self.compare("bundle", SCHEMAS["bundle"][1], json.loads(GOOD))

    def test_claim(self) -> None:
        self.compare("claim", CLAIM, json.loads(make_claim()))

    def compare(self, name: str, form: Any, good: Json) -> None:
        validator = self.validator(name)
        validator.validate(good)
        refused = 0
        for path in leaves(good):
            for changed in mutants(good, path):
                try:
                    check_form(form, changed, name)
                    fits = True
                except MalformedError:
                    fits = False
                assert validator.is_valid(changed) is fits, path
                refused += not fits
        assert refused > 20

    def test_certificate(self) -> None:
        good: Json = {
            "format": "verifier-certificate/2",
            "model_sha256": "0" * 64,
            "p": 7,
            "neurons": 5,
            "amplitude_exponent": -30,
            "directions": [[1 << 20, -3], [0, 5], [1, 1], [2, 2], [3, 3], [4, 4], [5, -(1 << 24)]],
            "families": [
                {
                    "frequency": 3,
                    "dc": -7,
                    "profile": [[1, 2, 3, 4], [0, 0, -5, 6]],
                    "outputs": 1,
                    "members": [[0, 5, 6], [2, 7, 8]],
                }
            ],
            "others": [{"frequency": 2, "neurons": [1, 3]}, {"frequency": 3, "neurons": [4]}],
            "nodes": 128,
            "boxes": [{"frequency": 3, "whole": 1, "half": 2}],
        }
        self.compare("certificate", CERTIFICATE, good)


def test_the_trusted_kernel_is_the_default() -> None:
    from verifier.kernel import Rejected

    kernel = trusted_kernel()
    assert kernel.rejection is Rejected
    with pytest.raises(VerificationError) as caught:
        verify(
            [GOOD],
            policy=make_policy(),
            model_name="p59-seed0.safetensors",
            model=MODEL,
            claim=make_claim(),
            certificate=make_certificate(),
        )
    assert caught.value.reason is Reason.REJECTED
