"""Mutated proofs, statements, policies and keys: each is read or refused as documented, and quickly."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.proof.proof_corpus import CORPUS, GOOD
from tests.proof.proof_support import RELEASE, SECOND, Case, make_statement, policy_text
from verifier.errors import InputError
from verifier.proof import canonical
from verifier.proof.documents import PREDICATE_TYPE
from verifier.proof.envelope import decode_bundle, encode_bundle, seal
from verifier.proof.keys import parse_public_key
from verifier.proof.policy import parse_policy
from verifier.proof.reasons import MalformedError, VerificationError
from verifier.proof.statement import PAYLOAD_TYPE, decode_statement

TOKENS = [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"0", b"-", b"1e9", b"null", b"true", b"\\ud800"]
TOKENS += [b"\xff", b"\0", b'"""', b"'''", b"\n", b"=", b".", b"9" * 20, b"-----BEGIN PUBLIC KEY-----"]
STATEMENT = canonical.encode(make_statement())
VERSIONS = ("predicate", "environment")


def mutate(source: random.Random, data: bytes) -> bytes:
    """One to five random edits."""
    text = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        kind, place = source.randrange(5), source.randrange(len(text) + 1)
        other = source.randrange(len(text) + 1)
        if kind == 0 and text:
            text[place % len(text)] = source.randrange(256)
        elif kind == 1:
            text[place:place] = source.choice(TOKENS) * source.choice([1, 1, 1, 2, 50])
        elif kind == 2:
            del text[place : place + source.randrange(1, 40)]
        elif kind == 3:
            text[place:place] = text[min(place, other) : max(place, other)][:200]
        else:
            text[place : place + 1] = source.choice(TOKENS)
    return bytes(text)


def verify_bundle(data: bytes) -> None:
    Case(bundles=(data,)).verify()
    assert data == GOOD


def verify_signed(data: bytes) -> None:
    """Signed by a trusted key: nothing but the versions, which nothing depends on, can have changed."""
    statement = Case(bundles=(encode_bundle(seal(data, PAYLOAD_TYPE, RELEASE)),)).verify().statement
    good = decode_statement(STATEMENT, (PREDICATE_TYPE,))
    assert (statement.model_sha256, statement.claim) == (good.model_sha256, good.claim)
    assert statement.conclusion == good.conclusion


TARGETS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "bundle": (decode_bundle, [path.read_bytes() for path in sorted(CORPUS.rglob("*.json"))]),
    "statement": (lambda data: decode_statement(data, (PREDICATE_TYPE,)), [STATEMENT]),
    "proof": (verify_bundle, [GOOD]),
    "signed": (verify_signed, [STATEMENT]),
    "policy": (lambda data: parse_policy(data, "policy.toml"), [policy_text().encode()]),
    "key": (lambda data: parse_public_key(data, "key"), [RELEASE.public.pem, SECOND.public.pem]),
}


def run(target: str, seed: int, count: int) -> None:
    function, seeds = TARGETS[target]
    source = random.Random(seed)
    for _ in range(count):
        data = mutate(source, source.choice(seeds))
        started = time.process_time()
        try:
            function(data)
        except (MalformedError, VerificationError, InputError):
            pass
        except Exception as error:
            raise AssertionError(data) from error
        assert time.process_time() - started < 2.0, data


@pytest.mark.parametrize("target", TARGETS)
def test_sample(target: str) -> None:
    run(target, seed=0, count=600)


@pytest.mark.soundness
@pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "soundness", reason="the long run: make soundness (a sample was run)"
)
@pytest.mark.parametrize("target", TARGETS)
def test_long(target: str) -> None:
    run(target, seed=1, count=200_000)
