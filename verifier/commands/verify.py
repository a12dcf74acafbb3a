"""`verifier verify`: verify a signed proof against a model and a policy."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, print_table, progress, say
from verifier.errors import InputError, one_line

if TYPE_CHECKING:
    from verifier.proof.policy import Policy
    from verifier.proof.verify import Verified

HELP = "Verify signatures, digests and policy of a proof, then the proof itself, by running the kernel."
POLICY = Path("certificates/policy.toml")
NOT_RECHECKED = "the kernel was NOT run (--no-recheck): the signer's word is taken for the mathematics"


def add_proof_arguments(parser: argparse.ArgumentParser) -> None:
    """The proof, and what it is verified against."""
    parser.add_argument(
        "proof",
        nargs="+",
        type=Path,
        metavar="PROOF",
        help="proof.sigstore.json, and further signatures of it if the policy asks for several",
    )
    parser.add_argument("--model", required=True, type=Path, help="the model file the proof is about")
    parser.add_argument(
        "--policy",
        type=Path,
        default=POLICY,
        help=f"whose signatures count, and what must hold; yours, not the sender's (default: {POLICY})",
    )
    parser.add_argument("--claim", type=Path, help="default: claim.json beside the proof")
    parser.add_argument("--certificate", type=Path, help="default: certificate.json beside the proof")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_proof_arguments(parser)
    parser.add_argument("--no-recheck", action="store_true", help="believe the signer: do not run the kernel")
    parser.add_argument(
        "--countersign",
        type=Path,
        metavar="FILE",
        help="if all is well, sign the proof too, into FILE (proof.<name>.sigstore.json)",
    )
    parser.add_argument("--key", type=Path, help="the key for --countersign (default: VERIFIER_KEY, else yours)")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.files import read_input
    from verifier.proof.envelope import MAX_BUNDLE_BYTES
    from verifier.proof.policy import read_policy
    from verifier.proof.reasons import VerificationError

    if arguments.no_recheck:
        if arguments.countersign is not None:
            raise InputError("--countersign", "", "needs the recheck: do not sign what was not checked")
        print(f"verifier: WARNING: {NOT_RECHECKED}", file=sys.stderr)
    if arguments.countersign is not None and os.path.lexists(arguments.countersign):
        raise InputError(arguments.countersign, "", "exists already")
    policy = read_policy(arguments.policy)
    bundles = [read_input(path, MAX_BUNDLE_BYTES) for path in arguments.proof]
    started = time.monotonic()
    try:
        verified = verify_files(arguments, bundles, policy)
    except VerificationError as error:
        if arguments.json:
            failure = {"step": error.step, "reason": error.reason.name, "message": one_line(str(error))}
            emit_json({"verified": False, "rechecked": False, **failure})
        print(f"verifier: {one_line(f'{arguments.proof[0]}: {error}')}", file=sys.stderr)
        return error.exit_code
    seconds = time.monotonic() - started
    countersigned = None
    if arguments.countersign is not None:
        countersigned = _countersign(arguments.countersign, bundles[0], arguments.key)
    _print(arguments, verified, policy, seconds, countersigned)
    return OK


def verify_files(arguments: argparse.Namespace, bundles: list[bytes], policy: Policy) -> Verified:
    """Verify the proof that the arguments of `add_proof_arguments` name.

    **Raises** `InputError`; `VerificationError`.
    """
    from verifier.files import read_input
    from verifier.kernel import limits
    from verifier.proof import gate
    from verifier.proof.verify import verify

    folder = arguments.proof[0].parent
    model = read_input(arguments.model, limits.MODEL_BYTES)
    claim = read_input(arguments.claim or folder / gate.CLAIM, limits.CLAIM_BYTES)
    named: Path | None = arguments.certificate
    certificate = None
    if named is not None or not arguments.no_recheck:
        certificate = read_input(named or folder / gate.CERTIFICATE, limits.CERTIFICATE_BYTES)
    if arguments.countersign is not None:
        policy = dataclasses.replace(policy, threshold=1)  # a further signature is what it lacks
    with progress(quiet=arguments.quiet or arguments.json) as observe:
        return verify(
            bundles,
            policy=policy,
            model_name=arguments.model.name,
            model=model,
            claim=claim,
            certificate=certificate,
            recheck=not arguments.no_recheck,
            observe=observe,
        )


def _countersign(out: Path, bundle: bytes, key_path: Path | None) -> str:
    """Sign the payload of `bundle`, the bytes that were verified, into `out`; returns the fingerprint."""
    from verifier.files import write_atomically
    from verifier.proof.envelope import decode_bundle
    from verifier.proof.keys import signing_key
    from verifier.proof.sign import countersign

    key = signing_key(key_path)
    write_atomically(out, countersign(decode_bundle(bundle), key))
    return key.public.keyid


def _print(
    arguments: argparse.Namespace,
    verified: Verified,
    policy: Policy,
    seconds: float,
    countersigned: str | None,
) -> None:
    from verifier.proof.gate import decimal, verified_document

    if arguments.json:
        document = {"verified": True} | verified_document(verified) | {"claim": verified.statement.claim}
        if countersigned is not None:
            document["countersigned_by"] = countersigned
        emit_json(document | {"seconds": round(seconds, 3)})
        return
    facts, claim = verified.facts, verified.statement.claim
    margin = decimal(facts.min_margin, "lower")
    inputs = f"{facts.certified_inputs} of {facts.total_inputs} inputs ({claim['certified_inputs']} claimed)"
    rows = [
        ("model", verified.statement.model_name),
        ("sha256", verified.statement.model_sha256),
        ("task", f"{claim['task']}, p = {claim['p']}"),
        ("certified", f"{inputs}, {facts.semantics} arithmetic"),
        ("margin", f"at least {margin}"),
        ("signed by", ", ".join(policy.names[keyid] for keyid in verified.keyids)),
        ("kernel", "re-ran and concluded the same" if verified.rechecked else NOT_RECHECKED),
    ]
    if countersigned is not None:
        rows.append(("signed now", f"{arguments.countersign} ({countersigned})"))
    state = "verified" if verified.rechecked else "signatures, digests and policy verified; NOT rechecked"
    print_table(("", ""), rows, title=f"{state} in {seconds:.2f} s", align="ll", quiet=arguments.quiet)
    say(quiet=arguments.quiet)
