"""`verifier plot`: draw the figures of a model and its proof."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.commands.explain import add_subject_arguments
from verifier.console import add_output_arguments, emit_json, progress, say
from verifier.errors import InputError

if TYPE_CHECKING:
    from verifier.report.figures import View

HELP = """Draw the figures of a model and its proof, as PNG and SVG; the same bytes every time. Without a stored
certificate one is made."""
NAMES = ("quadrature", "phases", "profile", "budget", "margins", "cost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument("--figure", action="append", choices=NAMES, help="only this figure (may be repeated)")
    parser.add_argument("--format", action="append", choices=("png", "svg"), help="only this format")
    add_input_argument(parser)
    add_subject_arguments(parser)
    add_output_arguments(parser)


def add_input_argument(parser: argparse.ArgumentParser) -> None:
    """Which input the quadrature picture shows."""
    parser.add_argument(
        "--input",
        metavar="A,B",
        help="the input of the quadrature picture (default: the one with the least certified margin)",
    )


def make_view(arguments: argparse.Namespace) -> View:
    """Read, explain and check the subject of a command.

    **Raises** `InputError`; `Unproved` as `InputError`, since there is nothing to draw.
    """
    from verifier.report.bounds import Unproved, gather
    from verifier.report.facts import read_mechanism
    from verifier.report.figures import View
    from verifier.report.subject import find_subject

    with progress(quiet=arguments.quiet or arguments.json) as observe:
        subject = find_subject(
            arguments.subject,
            model=arguments.model,
            certificates=arguments.certificates,
            effort=arguments.effort,
            observe=observe,
        )
        chosen = _input(arguments.input, subject.circuit.p)
        observe("read the logits", 0, 1)
        mechanism = read_mechanism(subject.circuit, subject.certificate)
        try:
            evidence = gather(subject, observe)
        except Unproved as error:
            raise InputError(subject.source.path, "", f"has no proof to show: {error}") from None
    if chosen is None:
        margins = evidence.conclusion.margins
        chosen = min(
            ((a, b) for a in range(len(margins)) for b in range(len(margins))), key=lambda ab: margins[ab[0]][ab[1]]
        )
    return View(subject, mechanism, evidence, chosen)


def _input(text: str | None, p: int) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6}),([0-9]{1,6})", text)
    if match is None or not (int(match[1]) < p and int(match[2]) < p):
        raise InputError("--input", "", f"must be A,B with two numbers in 0..{p - 1}, not {text!r}")
    return int(match[1]), int(match[2])


def run(arguments: argparse.Namespace) -> int:
    import matplotlib  # noqa: F401 - so that a missing package is told before the work

    from verifier.files import write_atomically
    from verifier.report.figures import render

    if arguments.out.exists() and not arguments.out.is_dir():
        raise InputError(arguments.out, "", "is not a folder")
    view = make_view(arguments)
    names = [name for name in NAMES if arguments.figure is None or name in arguments.figure]
    forms = [form for form in ("png", "svg") if arguments.format is None or form in arguments.format]
    drawn = {(name, form): render(name, view, form) for name in names for form in forms}
    written = []
    for (name, form), data in drawn.items():
        path = arguments.out / f"{NAMES.index(name) + 1}-{name}.{form}"
        write_atomically(path, data)
        written.append(str(path))
    if arguments.json:
        emit_json({"model": str(view.subject.source.path), "files": written})
    for path_name in written if not arguments.json else ():
        say(path_name, quiet=arguments.quiet)
    return OK
