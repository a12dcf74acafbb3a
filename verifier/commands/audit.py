"""`verifier audit`: check a proof's conclusion again with an independent implementation."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from verifier.cli import FAILED, OK
from verifier.commands.verify import read_input
from verifier.console import add_output_arguments, emit_json, print_table, say
from verifier.errors import InputError

HELP = """Compute a proof's conclusion again from the theory, in exact and interval arithmetic that shares no code
with the kernel. Signatures are not looked at. Small models are audited at every input, others at a sample."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("proof", type=Path, metavar="PROOF", help="proof.sigstore.json, or a claim.json to prove first")
    parser.add_argument("--model", required=True, type=Path, help="the model file the proof is about")
    parser.add_argument("--certificate", type=Path, help="default: certificate.json beside the proof")
    parser.add_argument("--inputs", type=int, metavar="N", help="how many inputs (default: all for p <= 31, else 64)")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    import mpmath  # noqa: F401 (an optional dependency: missing, it is named before anything else is done)

    from verifier.audit import audit

    limit = 1 << 30
    if arguments.inputs is not None and arguments.inputs < 1:
        raise InputError("--inputs", "", "must be at least 1")
    model = read_input(arguments.model, limit)
    certificate = read_input(arguments.certificate or arguments.proof.parent / "certificate.json", limit)
    conclusion = _conclusion(arguments.proof, model, certificate)
    checks = audit(model, certificate, conclusion, str(arguments.model), arguments.inputs)
    agrees = all(check.agrees for check in checks)
    if arguments.json:
        emit_json({"agrees": agrees, "checks": [dataclasses.asdict(check) for check in checks]})
        return OK if agrees else FAILED
    rows = [(x.name, x.signed, x.audited, "agrees" if x.agrees else "DISAGREES", x.detail) for x in checks]
    title = "the audit agrees" if agrees else "the audit DISAGREES"
    print_table(("", "signed", "audited", "", "required"), rows, title=title, align="lrrll", quiet=arguments.quiet)
    say(quiet=arguments.quiet)
    return OK if agrees else FAILED


def _conclusion(path: Path, model: bytes, certificate: bytes) -> dict[str, object]:
    """The conclusion in a proof; for a claim, what the kernel concludes.

    **Raises** `InputError`.
    """
    import hashlib

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
