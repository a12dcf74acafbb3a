"""`verifier report`: write one self-contained page on a model and its proof."""

from __future__ import annotations

import argparse
from pathlib import Path

from verifier.cli import OK
from verifier.commands.explain import add_case_arguments
from verifier.commands.plot import add_input_argument, make_view
from verifier.console import add_output_arguments, emit_json, say
from verifier.errors import InputError

HELP = """Write one self-contained HTML page: the theorem, the signed facts, the figures, the budget, and a map of
every input's margin. The page opens from the file system and loads nothing. Without a stored certificate one is
made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the page to write")
    add_input_argument(parser)
    add_case_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    import matplotlib  # noqa: F401 - so that a missing package is told before the work

    from verifier.files import write_atomically
    from verifier.report.page import page

    if arguments.out.is_dir():
        raise InputError(arguments.out, "", "is a folder")
    view = make_view(arguments)
    data = page(view).encode("utf-8")
    write_atomically(arguments.out, data)
    if arguments.json:
        accuracy = view.case.checked.conclusion.accuracy
        facts = {"proved": view.case.proved, "certified_inputs": accuracy.certified_inputs}
        emit_json({"model": str(view.case.model.path), "report": str(arguments.out), "bytes": len(data)} | facts)
        return OK
    say(f"{arguments.out} ({len(data) / 1e6:.1f} MB)", quiet=arguments.quiet)
    return OK
