"""`verifier sweep`: certify many models, with a row for each."""

from __future__ import annotations

import argparse
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verifier.cli import BAD_INPUT, FAILED, OK
from verifier.commands.certify import MOST_JOBS, models_in
from verifier.commands.check import SEMANTICS, STRATEGIES
from verifier.commands.import_ import add_operation_argument, add_source_arguments, reading
from verifier.console import add_output_arguments, emit_json, print_table, progress, say
from verifier.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Executor

HELP = """Certify many models, and write a row for each: OUT/rows.jsonl, to which a row is appended as each model is
done, and OUT/rows.csv, the same as a table. Nothing is signed. What goes wrong with one model, even a crash of its
process, is in its row. Run again, it does the models that have no row yet."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="a model file, a checkpoint, or a folder")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the folder for the rows")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="the scheduler of a Dask cluster, such as tcp://host:8786")
    parser.add_argument(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="only every N-th model from the I-th; with a log of its own in OUT",
    )
    parser.add_argument("--plot", action="store_true", help="draw OUT/rows.svg as well")
    parser.add_argument("--strategy", choices=STRATEGIES, help="how it is proved; default linear, then exact")
    parser.add_argument("--semantics", choices=SEMANTICS, help="default binary32")
    add_operation_argument(parser)
    add_source_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.files import write_atomically
    from verifier.sweeps import sweep

    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        raise InputError(out, "", "is not a folder")
    if not 1 <= arguments.jobs <= MOST_JOBS:
        raise InputError("--jobs", "", f"must be in 1..{MOST_JOBS}, not {arguments.jobs}")
    shard = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", arguments.shard)
    if shard is None:
        raise InputError("--shard", "", f"must be I/N, not {arguments.shard!r}")
    if arguments.plot:
        import matplotlib  # noqa: F401 - so that a missing package is told before the work
    options = {name: value for name, value in reading(arguments).items() if value}
    with ExitStack() as stack, progress(quiet=arguments.quiet or arguments.json) as observe:
        rows = sweep(
            models_in(arguments.models),
            out,
            executor=_cluster(arguments.cluster, stack) if arguments.cluster else None,
            jobs=arguments.jobs,
            shard=(int(shard[1]), int(shard[2])),
            observe=observe,
            strategy=arguments.strategy,
            semantics=arguments.semantics,
            **options,
        )
    if arguments.plot:
        from verifier.report.figures import draw_sweep

        write_atomically(out / "rows.svg", draw_sweep(rows))
    certified = sum(row["status"] == "certified" for row in rows)
    if arguments.json:
        emit_json({"models": list(rows), "certified": certified, "failed": len(rows) - certified})
    else:
        header = ("model", "status", "certified", "explained", "margin", "(true)", "waves", "seconds")
        print_table(header, [_cells(row) for row in rows], align="llrrrrrr", quiet=arguments.quiet)
        for row in rows:
            if row["error"]:
                say(f"{row['model']}: {row['error']}", quiet=arguments.quiet)
        say(f"{certified} of {len(rows)} certified; rows in {out}", quiet=arguments.quiet)
    return BAD_INPUT if any(row["status"] == "bad input" for row in rows) else OK if certified == len(rows) else FAILED


def _cluster(address: str, stack: ExitStack) -> Executor:
    from distributed import Client

    try:
        client: Any = stack.enter_context(Client(address))  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError("--cluster", "", f"{address} cannot be reached: {error}") from None
    executor: Executor = client.get_executor(pure=False)
    return executor


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    def cell(name: str) -> str:
        value = row[name]
        return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

    counts = (cell(name) and f"{cell(name)}/{cell('total')}" for name in ("certified", "explained"))
    waves = row["frequencies"]
    number = str(len(waves)) if isinstance(waves, list) else ""
    stem = Path(str(row["model"])).stem
    return stem, cell("status"), *counts, cell("min_margin"), cell("true_margin"), number, cell("seconds")
