"""The corpus of proofs: accepted, rejected for the expected reason, or survived."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.proof_corpus import CORPUS, GOOD, PROOF, corpus
from tests.proof.proof_support import KERNEL, Case, policy_text
from verifier.errors import InputError
from verifier.kernel.limits import JSON_DEPTH
from verifier.proof.envelope import MAX_BUNDLE_BYTES
from verifier.proof.policy import parse_policy
from verifier.proof.reasons import Reason, VerificationError
from verifier.proof.verify import Verified, verify
from verifier.report.case import read_signed


def cases(kind: str) -> list[str]:
    return sorted(path.name for path in (CORPUS / kind).iterdir())


def run(folder: Path) -> Verified:
    """Verify a case: its own files, and the common ones for the rest."""

    def read(name: str) -> bytes:
        own = folder / name
        return (own if own.exists() else CORPUS / "common" / name).read_bytes()

    others = sorted(path for path in folder.glob("proof.*.sigstore.json") if path.name != PROOF)
    return verify(
        [read(PROOF), *(path.read_bytes() for path in others)],
        policy=parse_policy(read("policy.toml"), "policy.toml"),
        model_name=read("model_name").decode(),
        model=read("model"),
        claim=read("claim.json"),
        certificate=read("certificate.json"),
        kernel=KERNEL,
    )


def test_the_files_are_what_the_program_makes() -> None:
    found = {path.relative_to(CORPUS).as_posix(): path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()}
    assert found == corpus(), "run: python -m tests.proof.proof_corpus"


@pytest.mark.parametrize("case", cases("accept"))
def test_accept(case: str) -> None:
    folder = CORPUS / "accept" / case
    expected = json.loads((folder / "expected.json").read_text())
    verified = run(folder)
    assert verified.rechecked
    assert verified.facts.certified_inputs == expected["certified_inputs"]
    assert list(verified.keyids) == expected["keyids"]


@pytest.mark.parametrize("case", cases("reject"))
def test_reject(case: str) -> None:
    folder = CORPUS / "reject" / case
    expected = json.loads((folder / "expected.json").read_text())
    with pytest.raises(VerificationError) as caught:
        run(folder)
    assert (caught.value.step, caught.value.reason.name) == (expected["step"], expected["reason"])
    assert caught.value.exit_code in (1, 2)


@pytest.mark.parametrize("case", [*cases("accept"), *cases("reject"), *cases("survive")])
def test_explain_and_report_read_or_refuse_it(case: str) -> None:
    """They do not verify; and a damaged proof is one line, not a traceback."""
    (folder,) = CORPUS.glob(f"*/{case}")
    proof, nothing = folder / PROOF, {part: {"sha256": ""} for part in ("model", "claim", "certificate")}
    try:
        read_signed(proof if proof.exists() else CORPUS / "common" / PROOF, nothing)
    except InputError:
        assert proof.exists()


@pytest.mark.parametrize("case", cases("survive"))
def test_survive(case: str) -> None:
    with pytest.raises(VerificationError):
        run(CORPUS / "survive" / case)


def test_every_reason_that_verification_has_is_in_the_corpus() -> None:
    found = {json.loads((CORPUS / "reject" / case / "expected.json").read_text())["reason"] for case in cases("reject")}
    elsewhere = {"SIZE", "BROKEN", "MISSING"}  # in test_proof_verify.py and below
    of_the_gate = {"NAME", "UNSAFE", "ORPHAN", "NOTHING"}  # in test_proof_gate.py
    assert {reason.name for reason in Reason} == found | elsewhere | of_the_gate


def hostile() -> Iterator[tuple[str, bytes, Reason]]:
    """Texts too large to keep."""
    yield "a million digits", b'{"mediaType":' + b"9" * 10**6 + b"}", Reason.JSON
    yield "a million digits, negative", b"-" + b"1" * 10**6, Reason.JSON
    yield "a million decimals", b"0." + b"3" * 10**6, Reason.JSON
    yield "precision of 10^12", b'{"precision":1000000000000000000000}', Reason.JSON
    yield "100,000 arrays", b"[" * 100_000 + b"]" * 100_000, Reason.JSON
    yield "100,000 objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, Reason.JSON
    yield "just too deep", b"[" * (JSON_DEPTH + 1) + b"]" * (JSON_DEPTH + 1), Reason.JSON
    yield "depth hidden by strings", (b'["[[[]]]",' * 100_000), Reason.JSON
    yield "too large", GOOD + b" " * MAX_BUNDLE_BYTES, Reason.SIZE
    yield "an endless string of escapes", b'"' + b'\\"' * 500_000, Reason.JSON
    yield "a million empty lists", b"[" + b"[]," * 340_000 + b"[]]", Reason.FIELD
    yield (
        "a million names",
        b"{" + b",".join(b'"%d":1' % n for n in range(80_000)) + b"}",
        Reason.NOT_CANONICAL,
    )
    yield "the same name often", b"{" + b",".join([b'"a":1'] * 160_000) + b"}", Reason.JSON


@pytest.mark.parametrize(("name", "data", "reason"), [pytest.param(*case, id=case[0]) for case in hostile()])
def test_hostile_text_is_refused_fast(name: str, data: bytes, reason: Reason) -> None:
    started = time.process_time()
    with pytest.raises(VerificationError) as caught:
        Case(bundles=(data,)).verify()
    assert (caught.value.step, caught.value.reason) == (1, reason), name
    assert time.process_time() - started < 10.0


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("a = " + "9" * 60_000, id="digits"),
        pytest.param("a = " + "[\n" * 20_000 + "]\n" * 10_000, id="nested-arrays-over-lines"),
        pytest.param("a = " + "[" * 20_000 + "]" * 20_000, id="nested-arrays"),
        pytest.param("a = " + "{b=" * 15_000 + "1" + "}" * 15_000, id="nested-tables"),
        pytest.param(".".join("a" * 30_000) + " = 1", id="dotted-name"),
        pytest.param("\n".join(".".join("a" * 250) + f"{n} = 1" for n in range(100)), id="dotted-names"),
        pytest.param("[" + ".".join("a" * 250) + "]\n" + "[[b]]\n" * 5_000, id="tables"),
        pytest.param("a = 1\n" * 10_000, id="repeated"),
        pytest.param("#" + "x" * 70_000, id="size"),
        pytest.param("a = nan", id="nan"),
        pytest.param("a = 1e999999999", id="exponent"),
        pytest.param("a = 1979-05-27", id="date"),
        pytest.param("a = '''", id="unterminated"),
        pytest.param("\x00", id="nul"),
    ],
)
def test_hostile_policy_is_refused_fast(line: str) -> None:
    started = time.process_time()
    with pytest.raises(InputError):
        parse_policy((line + "\n" + policy_text()).encode(), "policy.toml")
    assert time.process_time() - started < 10.0
