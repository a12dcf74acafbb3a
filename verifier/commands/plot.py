"""`verifier plot`: draw the figures of a model and its proof."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.commands.explain import add_case_arguments, case_of
from verifier.console import add_output_arguments, emit_json, say
from verifier.errors import InputError

if TYPE_CHECKING:
    from verifier.kernel.operation import Names
    from verifier.report.figures import View

HELP = """Draw the figures of a model and its proof, as PNG and SVG; the same bytes every time. Without a stored
certificate one is made."""
NAMES = ("quadrature", "phases", "profile", "directions", "events", "explained", "budget", "margins")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument(
        "--figure",
        action="append",
        choices=NAMES,
        metavar="NAME",
        help="only this figure (may be repeated): " + ", ".join(NAMES),
    )
    parser.add_argument("--format", action="append", choices=("png", "svg"), help="only this format")
    add_input_argument(parser)
    add_case_arguments(parser)
    add_output_arguments(parser)


def add_input_argument(parser: argparse.ArgumentParser) -> None:
    """Which input the quadrature picture shows."""
    parser.add_argument(
        "--input",
        metavar="A,B",
        help="the input of the quadrature picture (default: the one with the least certified margin)",
    )


def make_view(arguments: argparse.Namespace) -> View:
    """Read, explain and check what a command is about.

    **Raises** `InputError`.
    """
    from verifier.report.figures import View

    case, mechanism = case_of(arguments)
    chosen = _input(arguments.input, case.checked.evidence.names)
    if chosen is None:
        a, b = divmod(int(case.checked.evidence.margins.argmin()), case.circuit.p)
        chosen = a, b
    return View(case, mechanism, chosen)


def _input(text: str | None, names: Names) -> tuple[int, int] | None:
    """The indices that stand for the operands."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6}),([0-9]{1,6})", text)
    rows, columns = names.a.tolist(), names.b.tolist()
    if match is None or not (int(match[1]) in rows and int(match[2]) in columns):
        raise InputError("--input", "", f"must be A,B with two numbers in {min(rows)}..{max(rows)}, not {text!r}")
    return rows.index(int(match[1])), columns.index(int(match[2]))


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
        emit_json({"model": str(view.case.model.path), "files": written})
    for path_name in written if not arguments.json else ():
        say(path_name, quiet=arguments.quiet)
    return OK
