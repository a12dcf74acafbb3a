"""`verifier gate`: require a proof that meets the policy for every model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import FAILED, OK
from verifier.commands.verify import NOT_RECHECKED
from verifier.console import add_output_arguments, emit_json, print_table, progress, say, wrapped

if TYPE_CHECKING:
    from verifier.proof.gate import Entry, GateResult
    from verifier.proof.kernel import Observer

HELP = "Require a signed proof for every model that meets the policy and that the kernel confirms."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "certificates",
        nargs="?",
        type=Path,
        default=Path("certificates"),
        help="the folder of proofs (default: certificates)",
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="the folder of models (default: models)")
    parser.add_argument("--policy", type=Path, help="default: policy.toml in the folder of proofs")
    parser.add_argument("--no-recheck", action="store_true", help="believe the signers: do not run the kernel")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the result as JUnit XML")
    parser.add_argument("--github", action="store_true", help="print GitHub annotations too")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.files import write_atomically
    from verifier.proof.gate import gate, github_annotations, junit
    from verifier.proof.policy import read_policy

    if arguments.no_recheck:
        print(f"verifier: WARNING: {NOT_RECHECKED}", file=sys.stderr)
    policy = read_policy(arguments.policy or arguments.certificates / "policy.toml")
    with progress(quiet=arguments.quiet or arguments.json) as observe:

        def observe_model(name: str) -> Observer:
            return lambda step, done, total: observe(f"{name}: {step}", done, total)

        result = gate(
            arguments.certificates,
            arguments.models,
            policy,
            recheck=not arguments.no_recheck,
            observe=observe_model,
        )
    if arguments.junit is not None:
        write_atomically(arguments.junit, junit(result))
    if arguments.github:
        for line in github_annotations(result, arguments.models):
            print(line, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        emit_json(result.document())
    else:
        _print(result, quiet=arguments.quiet)
    return FAILED if result.failures else OK


def _print(result: GateResult, *, quiet: bool) -> None:
    header = ("model", "gate", "certified", "semantics", "margin", "seconds")
    print_table(header, [_row(entry) for entry in result.entries], align="llrlrr", quiet=quiet)
    say(quiet=quiet)
    for entry in result.failures:
        for line in wrapped(f"{entry.name}: {entry.failure}", indent="    "):
            say(line, quiet=quiet)
    passed = len(result.entries) - len(result.failures)
    kernel = "" if result.rechecked else "; the kernel was NOT run"
    say(f"{passed} passed, {len(result.failures)} failed{kernel}", quiet=quiet)


def _row(entry: Entry) -> tuple[str, ...]:
    from verifier.proof.gate import decimal

    seconds = f"{entry.seconds:.2f}"
    if entry.verified is None:
        return entry.name, "FAILED", "", "", "", seconds
    facts = entry.verified.facts
    margin = decimal(facts.min_margin, "lower", places=3)
    certified = f"{facts.certified_inputs}/{facts.total_inputs}"
    return entry.name, "passed", certified, facts.semantics, margin, seconds
