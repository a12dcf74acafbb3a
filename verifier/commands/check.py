"""`verifier check`: check a certificate against a model, with the kernel alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import FAILED, OK
from verifier.commands.import_ import add_operation_argument
from verifier.console import add_output_arguments, emit_json, progress
from verifier.errors import InputError, one_line

if TYPE_CHECKING:
    from verifier.prove import Request

HELP = """Prove a claim about a model with the help of a certificate. Unless options or a claim file say
otherwise, the claim is that the model, executed in binary32, is right on all p² inputs, and that the linear
pass shows it. Nothing is written."""

STRATEGIES = ("linear", "exact", "semi-linear")
SEMANTICS = ("real", "binary32", "tf32", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a native model file")
    parser.add_argument("certificate", type=Path, metavar="CERT", help="certificate.json")
    add_claim_arguments(parser)
    add_output_arguments(parser)


def add_claim_arguments(parser: argparse.ArgumentParser, default_strategy: str = "linear") -> None:
    """What is to be proved; for every command that makes a claim."""
    group = parser.add_argument_group("the claim")
    group.add_argument("--claim", type=Path, metavar="FILE", help="a claim file, instead of the options below")
    group.add_argument("--at-least", type=int, metavar="N", help="claim N of the inputs; by default all of them")
    group.add_argument(
        "--strategy",
        choices=STRATEGIES,
        help=f"how it is proved; default {default_strategy}",
    )
    group.add_argument(
        "--semantics", choices=SEMANTICS, help="the arithmetic the network is executed in; default binary32"
    )
    add_operation_argument(group)


def request(arguments: argparse.Namespace) -> Request:
    """The claim's options.

    **Raises** `InputError` when there is a claim file as well, or one is out of range.
    """
    from verifier.prove import Request

    names = ("at_least", "strategy", "semantics", "operation")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.claim is not None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError("--claim", "", f"says it all: leave out {options}")
    return Request(**given)


def run(arguments: argparse.Namespace) -> int:
    from verifier import prove
    from verifier.files import read_input
    from verifier.kernel import limits
    from verifier.results import Result, document, show

    asked = request(arguments)
    with progress(quiet=arguments.quiet or arguments.json) as observe:
        source = prove.read_native(arguments.model)
        certificate = read_input(arguments.certificate, limits.CERTIFICATE_BYTES)
        named: Path | None = arguments.claim
        claim = asked.claims(source)[0] if named is None else read_input(named, limits.CLAIM_BYTES)
        paths = {
            "model": arguments.model,
            "claim": arguments.claim or "claim",
            "certificate": arguments.certificate,
        }
        outcome = prove.run_kernel(paths, source.data, claim, certificate, observe)
    result = Result(str(arguments.model), outcome)
    if arguments.json:
        emit_json(document(result))
    else:
        show(result, quiet=arguments.quiet)
    if not outcome.proved:
        complain(f"{arguments.model}: not proved: {outcome.failure}")
    return OK if outcome.proved else FAILED


def complain(message: str) -> None:
    """One line on standard error."""
    import sys

    print(f"verifier: {one_line(message)}", file=sys.stderr)
