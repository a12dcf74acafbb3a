"""Verifying a proof. The steps, in the order in which they are made; the code has the same numbers.

1. **Parse strictly.** Each bundle is canonical JSON with exactly the known fields; its payload stays opaque.
2. **Signatures.** Only keys of the policy count, each once, and as many as its threshold asks for. A
   signature that names a key of the policy and is not valid under it is an error even if others are enough.
3. **Payload type.** The signed type is `application/vnd.in-toto+json`.
4. **Predicate type.** The payload, signed by now, is parsed strictly: an in-toto statement whose predicate
   type the policy allows.
5. **Subject digest.** The model file has the signed name and digest; so have the claim and the certificate.
6. **Claim against policy.** The conclusion supports the claim, and meets every rule that matches the model.
7. **Recheck.** The kernel runs on model, claim and certificate, and its conclusion is the signed one.

Everything that the later steps use comes from the bytes that step 2 verified. With `recheck=False` step 7
is left out: the signer is then believed about the mathematics, and the result says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from cryptography.exceptions import InvalidSignature

from verifier.errors import InputError
from verifier.kernel.claim import ADDITION, MULTIPLICATION
from verifier.kernel.forms import Json
from verifier.proof import canonical
from verifier.proof.envelope import Bundle, decode_bundle, verify_signature
from verifier.proof.kernel import Kernel, Observer, conclusion_value, ignore, trusted_kernel
from verifier.proof.policy import Policy, shortfalls
from verifier.proof.reasons import MalformedError, Reason, VerificationError
from verifier.proof.sign import claim_value
from verifier.proof.statement import (
    PAYLOAD_TYPE,
    Facts,
    Statement,
    decode_statement,
    read_facts,
    sha256,
)

SUFFIX = ".safetensors"
MAX_BUNDLES = 16


@dataclass(frozen=True, slots=True)
class Verified:
    """A proof that passed every step (step 7 only if `rechecked`).

    **Fields**

    - `statement`: what was signed; `facts`: its numbers.
    - `keyids`: fingerprints of the policy's keys that signed, in order.
    - `rechecked`: whether the kernel has re-run and concluded the same. False means: by the signer's word.
    """

    statement: Statement
    facts: Facts
    keyids: tuple[str, ...]
    rechecked: bool


def verify(
    bundles: Sequence[bytes],
    *,
    policy: Policy,
    model_name: str,
    model: bytes,
    claim: bytes,
    certificate: bytes | None,
    recheck: bool = True,
    kernel: Kernel | None = None,
    observe: Observer = ignore,
) -> Verified:
    """Make the steps above; returning means that all of them passed.

    **Arguments**

    - `bundles`: the proof, and its counter-signatures if there are any: bundles over the same payload.
    - `policy`: the caller's. There is no default.
    - `model_name`, `model`: file name and bytes of the model on disk.
    - `claim`, `certificate`: the files' bytes; the certificate may be None only without the recheck.
    - `recheck`: False leaves step 7 out.
    - `kernel`: for tests.

    **Raises** `VerificationError`.
    """
    opened = _parse(bundles)
    keyids = _verify_signatures(opened, policy)
    payload, payload_type = opened[0].payload, opened[0].payload_type
    _require_payload_type(payload_type)
    statement = _read_statement(payload, policy)
    _compare_digests(statement, model_name, model, claim, certificate)
    facts = _apply_policy(statement, policy, model)
    if not recheck:
        return Verified(statement, facts, keyids, rechecked=False)
    if certificate is None:
        raise VerificationError(7, Reason.MISSING, "there is no certificate to recheck")
    _recheck(statement, model, claim, certificate, kernel or trusted_kernel(), observe)
    return Verified(statement, facts, keyids, rechecked=True)


def _parse(bundles: Sequence[bytes]) -> list[Bundle]:
    """Step 1."""
    if not 1 <= len(bundles) <= MAX_BUNDLES:
        raise VerificationError(1, Reason.SIZE, f"{len(bundles)} bundles, not 1 to {MAX_BUNDLES}")
    try:
        opened = [decode_bundle(data) for data in bundles]
    except MalformedError as error:
        raise VerificationError(1, error.reason, error.detail) from None
    first = opened[0]
    for index, bundle in enumerate(opened):
        if bundle.signed_bytes != first.signed_bytes:
            raise VerificationError(1, Reason.PAYLOAD_DIFFERS, f"bundle {index + 1} and the first")
    return opened


def _verify_signatures(bundles: Sequence[Bundle], policy: Policy) -> tuple[str, ...]:
    """Step 2; returns the fingerprints of the keys that signed."""
    signed: dict[str, None] = {}
    for bundle in bundles:
        key = policy.keys.get(bundle.keyid)
        if key is None:
            continue
        try:
            verify_signature(bundle, key)
        except InvalidSignature:
            detail = f"{policy.names[bundle.keyid]} ({bundle.keyid})"
            raise VerificationError(2, Reason.BAD_SIGNATURE, detail) from None
        signed[bundle.keyid] = None
    if not signed:
        raise VerificationError(2, Reason.UNKNOWN_KEY, ", ".join(bundle.keyid for bundle in bundles))
    if len(signed) < policy.threshold:
        raise VerificationError(2, Reason.THRESHOLD, f"{len(signed)} of {policy.threshold}")
    return tuple(signed)


def _require_payload_type(payload_type: str) -> None:
    """Step 3."""
    if payload_type != PAYLOAD_TYPE:
        raise VerificationError(3, Reason.PAYLOAD_TYPE, payload_type[:80])


def _read_statement(payload: bytes, policy: Policy) -> Statement:
    """Step 4."""
    try:
        return decode_statement(payload, policy.predicate_types)
    except MalformedError as error:
        raise VerificationError(4, error.reason, error.detail) from None


def _compare_digests(
    statement: Statement, model_name: str, model: bytes, claim: bytes, certificate: bytes | None
) -> None:
    """Step 5."""
    if model_name != statement.model_name:
        raise VerificationError(5, Reason.MODEL_NAME, f"{statement.model_name}, not {model_name[:80]!a}")
    _compare(model, statement.model_sha256, Reason.MODEL_DIGEST)
    _compare(claim, statement.claim_sha256, Reason.CLAIM_DIGEST)
    if certificate is not None:
        _compare(certificate, statement.certificate_sha256, Reason.CERTIFICATE_DIGEST)
    try:
        value = claim_value(claim)
    except MalformedError as error:
        raise VerificationError(5, error.reason, f"claim: {error.detail}") from None
    if canonical.encode(value) != canonical.encode(statement.claim):
        raise VerificationError(5, Reason.CLAIM_TEXT, "the same digest with another content")
    if statement.claim["model_sha256"] != statement.model_sha256:
        raise VerificationError(5, Reason.CLAIM_TEXT, "the claim is about another model")


def _compare(data: bytes, signed: str, reason: Reason) -> None:
    found = sha256(data)
    if found != signed:
        raise VerificationError(5, reason, f"sha256 {found}, signed {signed}")


def _apply_policy(statement: Statement, policy: Policy, data: bytes) -> Facts:
    """Step 6; returns the facts the policy was applied to. `data` is the model file, which step 5 has compared."""
    try:
        facts = read_facts(statement.conclusion)
    except MalformedError as error:
        raise VerificationError(6, error.reason, error.detail) from None
    _require_support(statement, facts)
    model = statement.model_name.removesuffix(SUFFIX)
    rules = policy.rules_for(model)
    if not rules:
        raise VerificationError(6, Reason.NO_RULE, model)
    if any(rule.pins for rule in rules):
        from verifier.tensor_file import read_metadata

        try:
            facts = replace(facts, metadata=read_metadata(data, statement.model_name))
        except InputError as error:
            raise VerificationError(6, Reason.POLICY, f"the model file cannot be read: {error.rule}") from None
    missing = [text for rule in rules for text in shortfalls(rule, facts)]
    if all(rule.tasks is None for rule in rules) and facts.task != ADDITION:
        missing.append(f"task {facts.task}, and no rule for the model names a task")
    if missing:
        raise VerificationError(6, Reason.POLICY, "; ".join(missing))
    return facts


def _require_support(statement: Statement, facts: Facts) -> None:
    """The conclusion is about this model, claim and certificate, and is what the claim says or more."""
    claim, conclusion = statement.claim, cast(dict[str, dict[str, Json]], statement.conclusion)
    expected: tuple[tuple[str, str, Json], ...] = (
        ("model", "sha256", statement.model_sha256),
        ("model", "p", claim["p"]),
        ("claim", "sha256", statement.claim_sha256),
        ("claim", "strategy", claim["strategy"]),
        ("claim", "semantics", claim["semantics"]),
        ("claim", "certified_inputs", claim["certified_inputs"]),
        ("certificate", "sha256", statement.certificate_sha256),
        ("accuracy", "total_inputs", (cast(int, claim["p"]) - (claim["task"] == MULTIPLICATION)) ** 2),
        ("accuracy", "strategy", claim["strategy"]),
        ("accuracy", "semantics", claim["semantics"]),
    )
    for part, name, value in expected:
        if conclusion[part][name] != value:
            detail = f"conclusion.{part}.{name} is {conclusion[part][name]}, not {value}"
            raise VerificationError(6, Reason.CONCLUSION, detail)
    if facts.task != claim["task"]:
        raise VerificationError(6, Reason.CONCLUSION, f"conclusion.claim.task is {facts.task}, not {claim['task']}")
    if facts.certified_inputs < cast(int, claim["certified_inputs"]):
        detail = f"{facts.certified_inputs} certified inputs, claimed {claim['certified_inputs']}"
        raise VerificationError(6, Reason.CONCLUSION, detail)


def _recheck(
    statement: Statement, model: bytes, claim: bytes, certificate: bytes, kernel: Kernel, observe: Observer
) -> None:
    """Step 7."""
    try:
        concluded = conclusion_value(kernel.check(model, claim, certificate, observe))
    except kernel.rejection as error:
        raise VerificationError(7, Reason.REJECTED, str(error)) from error
    except Exception as error:  # a defect of the kernel must not pass for a proof, nor stop a gate
        raise VerificationError(7, Reason.BROKEN, f"{type(error).__name__}: {error}") from error
    if canonical.encode(concluded) != canonical.encode(statement.conclusion):
        raise VerificationError(7, Reason.DIFFERENT, _difference(statement, concluded))


def _difference(statement: Statement, concluded: dict[str, Json]) -> str:
    """Where the two conclusions first differ, and which versions the signed one was made with."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(statement.environment.items()))
    return f"at {_first_difference(statement.conclusion, concluded, 'conclusion')}; signed with {versions}"


def _first_difference(signed: Json, found: Json, where: str) -> str:
    if isinstance(signed, dict) and isinstance(found, dict) and signed.keys() == found.keys():
        for name in sorted(signed):
            if canonical.encode(signed[name]) != canonical.encode(found[name]):
                return _first_difference(signed[name], found[name], f"{where}.{name[:40]}")
    if isinstance(signed, list) and isinstance(found, list) and len(signed) == len(found):
        for index, (one, other) in enumerate(zip(signed, found, strict=True)):
            if canonical.encode(one) != canonical.encode(other):
                return _first_difference(one, other, f"{where}[{index}]")
    return where
