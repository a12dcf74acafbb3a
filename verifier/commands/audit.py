"""`verifier audit`: check a proof's conclusion again with an independent implementation."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verifier.cli import FAILED, OK
from verifier.console import add_output_arguments, emit_json, print_table, say
from verifier.errors import InputError
from verifier.files import read_input

if TYPE_CHECKING:
    from verifier.audit import Check

HELP = """Compute a proof's conclusion again from the theory, at every input, by code that shares nothing with the
kernel. With --verified, also compare the kernel's exact strategy, input by input, with the checker that was extracted
from the Coq proofs (docs/formal.md). Signatures are not looked at."""

CHECKER = Path("build/formal/check")  # `make formal-check` builds it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("proof", type=Path, metavar="PROOF", help="proof.sigstore.json, or a claim.json to prove first")
    parser.add_argument("--model", required=True, type=Path, help="the model file the proof is about")
    parser.add_argument("--certificate", type=Path, help="default: certificate.json beside the proof")
    parser.add_argument(
        "--verified",
        nargs="?",
        type=Path,
        const=CHECKER,
        metavar="CHECKER",
        help=f"run the verified checker too (default: {CHECKER}, made by make formal-check)",
    )
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.audit import audit

    limit = 1 << 30
    model = read_input(arguments.model, limit)
    certificate = read_input(arguments.certificate or arguments.proof.parent / "certificate.json", limit)
    conclusion = _conclusion(arguments.proof, model, certificate)
    checks = audit(model, certificate, conclusion, str(arguments.model))
    if arguments.verified is not None:
        if "task" in conclusion["claim"]:
            raise InputError("--verified", "", f"knows addition, and the proof is about {conclusion['claim']['task']}")
        checks += [_verified(arguments.verified, arguments.model, model, certificate)]
    agrees = all(check.agrees for check in checks)
    if arguments.json:
        emit_json({"agrees": agrees, "checks": [dataclasses.asdict(check) for check in checks]})
        return OK if agrees else FAILED
    rows = [(x.name, x.signed, x.audited, "DISAGREES; required: " * (not x.agrees) + x.detail) for x in checks]
    title = "the audit agrees" if agrees else "the audit DISAGREES"
    print_table(("", "signed", "audited", "required"), rows, title=title, align="lrrl", quiet=arguments.quiet)
    say(quiet=arguments.quiet)
    return OK if agrees else FAILED


def _verified(checker: Path, path: Path, model: bytes, certificate: bytes) -> Check:
    """What the verified checker says beside the kernel's exact strategy, in exact arithmetic: that certifies no input
    which is not answered right, and calls none wrong which is.

    **Raises** `InputError` when the checker is not there or does not cover the model.
    """
    import subprocess

    from verifier.audit import Check
    from verifier.kernel import Rejected, check
    from verifier.kernel.claim import ADDITION

    if not checker.is_file():
        raise InputError(checker, "", "is not there: make formal-check builds it")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.safetensors"  # the bytes that the kernel reads, whatever happens to the file
        copy.write_bytes(model)
        done = subprocess.run(  # noqa: S603
            [str(checker.absolute()), "--list", str(copy)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise InputError(path, "", f"is not decided by the verified checker: {reason}")
    first, *lines = done.stdout.splitlines()
    p, inputs, right = map(int, first.split())
    not_right = {tuple(map(int, line.split())) for line in lines}
    claim = {
        "format": "verifier-claim/2",
        "task": ADDITION,
        "p": p,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "strategy": "exact",
        "semantics": "real",
        "certified_inputs": 0,
    }
    try:
        found = check(model, json.dumps(claim).encode("ascii"), certificate)
    except Rejected as error:
        raise InputError(path, "", f"the exact strategy: {error}") from None
    margins, accuracy = found.evidence.margins, found.conclusion.accuracy
    certified = {(a, b) for a in range(p) for b in range(p) if margins[a, b] > 0}
    wrong = {(item.a, item.b) for item in accuracy.wrong or ()}
    agrees = not certified & not_right and wrong <= not_right and right == inputs - len(not_right)
    return Check(
        "inputs answered right",
        f"{accuracy.certified_inputs} of {p * p}",
        f"{right} of {inputs}",
        agrees,
        "verified checker and exact strategy, by input",
    )


def _conclusion(path: Path, model: bytes, certificate: bytes) -> dict[str, Any]:
    """The conclusion in a proof; for a claim, what the kernel concludes.

    **Raises** `InputError`.
    """
    from verifier.proof.documents import PREDICATE_TYPE
    from verifier.proof.envelope import decode_bundle
    from verifier.proof.reasons import MalformedError, VerificationError
    from verifier.proof.statement import decode_statement

    data = read_input(path, 1 << 27)
    if b'"verifier-claim/' in data:
        from verifier.kernel import Rejected, check

        try:
            return check(model, data, certificate).conclusion.document()
        except Rejected as error:
            if error.findings is None:
                raise InputError(path, "", str(error)) from None
            return error.findings.conclusion.document()
    try:
        statement = decode_statement(decode_bundle(data).payload, (PREDICATE_TYPE,))
    except (MalformedError, VerificationError) as error:
        raise InputError(path, "", str(error)) from None
    for name, content, digest in (
        ("model", model, statement.model_sha256),
        ("certificate", certificate, statement.certificate_sha256),
    ):
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError(path, "", f"is about another {name}")
    return dict(statement.conclusion)
