"""`verifier export`: explain a model and write its certificate."""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import FAILED, OK
from verifier.commands.check import SEMANTICS, complain
from verifier.console import add_output_arguments, emit_json, print_table, progress
from verifier.errors import InputError

if TYPE_CHECKING:
    from verifier.pipeline import Explained, Observer, Source

HELP = """Explain a model and write the certificate: which neurons form which families, and with which phases.
It is not believed; `verifier check` decides what it proves. An effort trades checking time for margin; `auto`
tries them in order of cost until the linear pass certifies every input."""

EFFORTS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a native model file")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="CERT", help="the file to write")
    parser.add_argument("--force", action="store_true", help="overwrite CERT")
    add_effort_argument(parser)
    parser.add_argument(
        "--semantics",
        choices=SEMANTICS,
        default="binary32",
        help="the arithmetic whose margins `auto` looks at; default %(default)s",
    )
    add_output_arguments(parser)


def add_effort_argument(parser: argparse.ArgumentParser) -> None:
    """How hard to explain; for every command that explains a model."""
    parser.add_argument(
        "--effort",
        type=_effort,
        metavar=f"auto|0..{EFFORTS - 1}",
        help="how much the explanation may cost to check; default auto",
    )


def _effort(text: str) -> int | None:
    if text == "auto":
        return None
    if text not in map(str, range(EFFORTS)):
        raise argparse.ArgumentTypeError(f"must be auto or 0..{EFFORTS - 1}, not {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    from verifier import pipeline
    from verifier.files import write_atomically

    out: Path = arguments.out
    if out.is_dir():
        raise InputError(out, "", "is a folder")
    pipeline.require_writable(out.parent)
    source = pipeline.read_native(arguments.model)
    if out.exists() and out.samefile(arguments.model):
        raise InputError(out, "", "is the model itself")
    try:
        with progress(quiet=arguments.quiet or arguments.json) as observe:
            explained = _explain(source, arguments.effort, arguments.semantics, observe)
    except pipeline.Unexplained as error:
        complain(f"{arguments.model}: not explained: {error}")
        return FAILED
    if out.exists() and not arguments.force and out.read_bytes() != explained.certificate:
        raise InputError(out, "", "exists already; --force overwrites it")
    write_atomically(out, explained.certificate)
    _print(arguments, source, explained)
    return OK


def _explain(source: Source, effort: int | None, semantics: str, observe: Observer) -> Explained:
    """With one effort, unchecked; or with the least that proves every input by the linear pass, or the best."""
    from verifier import pipeline

    if effort is not None:
        started = time.perf_counter()
        (found,) = pipeline.explain(source, (effort,), observe)
        return pipeline.Explained(found[1], effort, (), time.perf_counter() - started)
    claims = pipeline.Request(strategy="linear", semantics=semantics).claims(source)
    return pipeline.prove(source, claims, None, observe).explained


def _print(arguments: argparse.Namespace, source: Source, explained: Explained) -> None:
    from verifier.results import explained_document, explanation_counts, show_trials

    digest = hashlib.sha256(explained.certificate).hexdigest()
    counts = explanation_counts(explained.certificate)
    if arguments.json:
        emit_json(
            {
                "model": {"file": str(arguments.model), "sha256": source.sha256, "p": source.p},
                "certificate": {"file": str(arguments.out), "sha256": digest, **counts},
                "explanation": explained_document(explained),
            }
        )
        return
    rows = [
        ("model", f"{arguments.model}  sha256 {source.sha256}"),
        ("certificate", f"{arguments.out}  sha256 {digest}"),
        ("explanation", ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)),
        ("effort", f"{explained.effort} of 0..{EFFORTS - 1}, found in {explained.seconds:.2f} s"),
    ]
    print_table(("", ""), rows, align="ll", quiet=arguments.quiet)
    show_trials(explained, quiet=arguments.quiet)
