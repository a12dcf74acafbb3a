"""`verifier bench`: time the checker against brute force (docs/benchmarks.md)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, print_table, progress, say
from verifier.errors import InputError

if TYPE_CHECKING:
    from verifier.reference.benchmark import Case
    from verifier.reference.synthetic import Size

HELP = """Time the linear check against brute force in float64 and float32 with a proved rounding bound, in exact
integers and in balls, and against the kernel's other strategies: on model files and on synthetic circuits. One
thread, each measurement in a process of its own, the methods in turns. The whole run takes some ten minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="model files to measure as well")
    parser.add_argument("--quick", action="store_true", help="the two smallest synthetic circuits, once each")
    parser.add_argument("--most-parameters", type=int, metavar="N", help="leave out larger synthetic circuits")
    parser.add_argument("--repeats", type=int, metavar="N", help="measurements of each (long ones are made once)")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the JSON document")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw the figures (needs matplotlib)")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.repeats is not None and arguments.repeats < 1:
        raise InputError("--repeats", "", "must be at least 1")
    from verifier.files import write_atomically
    from verifier.reference import benchmark

    quiet = arguments.quiet or arguments.json
    sizes: tuple[Size, ...] = benchmark.QUICK if arguments.quick else benchmark.SIZES
    if arguments.most_parameters is not None:
        sizes = tuple(size for size in sizes if size.parameters <= arguments.most_parameters)
    repeats = arguments.repeats or (1 if arguments.quick else benchmark.REPEATS)
    with progress(quiet=quiet) as observe:
        cases = benchmark.run(arguments.models, sizes, repeats, observe)
    document = benchmark.document(cases)
    if arguments.out is not None:
        write_atomically(arguments.out, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode("utf-8"))
    if arguments.figures is not None:
        from verifier.reference.benchmark_figures import draw

        draw(cases, arguments.figures)
    if arguments.json:
        emit_json(document)
    else:
        _print(cases, document["break_even_parameters"]["float64"], arguments.quiet)
    return OK


def _print(cases: list[Case], even: float | None, quiet: bool) -> None:
    header = (
        "circuit",
        "parameters",
        "method",
        "seconds",
        "spread",
        "of the inputs",
        "linear is",
        "peak MB",
        "certified",
    )
    rows = []
    for case in cases:
        linear = case.timing("linear").median
        for timing in case.timings:
            share = "all" if timing.sampled == 1 else f"{100 * timing.sampled:.2g} %"
            evaluated = round(timing.sampled * case.p) * case.p
            ratio = timing.median / linear
            rows.append(
                (
                    case.name,
                    f"{case.parameters:,}",
                    timing.method,
                    f"{timing.median:.3g}",
                    f"{100 * timing.spread:.0f} %",
                    share,
                    "" if timing.method == "linear" else _ratio(ratio),
                    f"{timing.peak_bytes / 2**20:.0f}",
                    f"{timing.certified}/{evaluated}",
                )
            )
    print_table(header, rows, align="lrlrrrrrr", quiet=quiet)
    if even is not None:
        say(f"break-even with float64: about {even:,.0f} parameters", quiet=quiet)


def _ratio(ratio: float) -> str:
    return f"{ratio:.3g}x faster" if ratio >= 1 else f"{1 / ratio:.3g}x slower"
