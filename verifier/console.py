"""What every command prints with: aligned tables, progress, JSON, and decimals that are still bounds.

Results go to standard output, progress to standard error, which off a terminal there is none of. Tables are plain
aligned text, the same everywhere. `NO_COLOR` is honoured. Text is never read as markup, since some of it comes from
files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Literal, TextIO

from verifier.errors import one_line

Observer = Callable[[str, int, int | None], None]
"""`observe(step, done, total)`: what is being done, and how far it is; the kernel's signature too."""

GAP = "  "
WIDTH = 80
MAX_DIGITS = 1000
MAX_BITS = 1 << 20
POSITIONAL_EXPONENTS = range(-5, 16)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """The options every command shares: `--json` and `--quiet`."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    group.add_argument("--quiet", action="store_true", help="print errors only")


def say(text: str = "", *, quiet: bool = False) -> None:
    """Print one line of a result, with control characters escaped."""
    if not quiet:
        print(one_line(text, limit=sys.maxsize))


def emit_json(document: object) -> None:
    """Print `document` as one JSON object on standard output.

    **Raises** `ValueError` for NaN or an infinity: JSON has neither.
    """
    print(json.dumps(document, indent=2, allow_nan=False))


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    title: str = "",
    align: str = "",
    quiet: bool = False,
) -> None:
    """Print an aligned table on standard output.

    **Arguments**

    - `header`: the column names; all empty for a table without a header line.
    - `rows`: as many cells as `header` in each row; printed with `str`.
    - `align`: one of `l`, `r`, `c` per column; by default `l` for the first column and `r` for the others.

    **Raises** `ValueError` when a row or `align` does not have one entry per column.
    """
    if not quiet:
        print(table_text(header, rows, title=title, align=align))


def wrapped(text: str, width: int = WIDTH, indent: str = "") -> list[str]:
    """Lines of at most `width` columns, `indent` before all but the first; no word or number is broken."""
    return textwrap.wrap(
        one_line(text, limit=sys.maxsize),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table_text(header: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", align: str = "") -> str:
    """The table as plain text, without trailing blanks; arguments and errors as for `print_table`. The title is wrapped
    to `WIDTH`, and so is a last column of words.
    """
    names, cells, align = _cells(header, rows, align)
    if align.endswith("l"):
        widths = [len(GAP) + max(len(row[i]) for row in [names, *cells]) for i in range(len(names) - 1)]
        room = max(20, WIDTH - sum(widths))
        cells = [
            [*(cell * (i == 0) for cell in row[:-1]), part]
            for row in cells
            for i, part in enumerate(wrapped(row[-1], room) or [""])
        ]
    lines = [names, *cells] if any(names) else cells
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(len(names))]
    place = {"l": str.ljust, "r": str.rjust, "c": str.center}
    text = [
        GAP.join(place[side](cell, width) for side, cell, width in zip(align, line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*wrapped(title), *text])


def _cells(
    header: Sequence[str], rows: Sequence[Sequence[object]], align: str
) -> tuple[list[str], list[list[str]], str]:
    columns = len(header)
    align = align or "l" + "r" * (columns - 1)
    if len(align) != columns or not set(align) <= set("lrc"):
        raise ValueError(f"align must be {columns} of l, r, c, not {align!r}")
    if any(len(row) != columns for row in rows):
        raise ValueError(f"every row must have {columns} cells")
    return [one_line(name) for name in header], [[one_line(str(cell)) for cell in row] for row in rows], align


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches `stream`: a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Observer]:
    """A progress bar on standard error; yields `observe(step, done, total)`.

    Without a terminal, or with `quiet`, observing does nothing. `total` None shows activity only.
    """
    if quiet or not is_terminal(sys.stderr):
        yield lambda step, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)

        def observe(step: str, done: int, total: int | None) -> None:
            bar.update(task, description=one_line(step), completed=done, total=total)

        yield observe


def notebook_observer() -> Observer:
    """In a notebook, an observer that keeps one line of output up to date; elsewhere, one that does nothing."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return lambda step, done, total: None
    display = sys.modules["IPython"].display.display
    line = display({"text/plain": ""}, raw=True, display_id=True)

    def observe(step: str, done: int, total: int | None) -> None:
        line.update({"text/plain": one_line(f"{step}: {done} of {total}" if total and total > 1 else step)}, raw=True)

    return observe


def decimal_bound(mantissa: int, exponent: int, digits: int, direction: Literal["upper", "lower"]) -> str:
    """mantissa·2^exponent as a decimal of `digits` significant digits, rounded outward.

    The decimal is the least one of so many digits that is >= the number for
    `upper`, the greatest that is <= it for `lower`; so a printed bound is still a bound. It is positional
    from 1e-5 to 1e16 and scientific (`1.235e-09`) outside.

    **Raises** `ValueError` for a direction or a number of digits that makes no sense, and for numbers
    beyond 2^±1,048,576, which no theorem here produces.
    """
    if direction not in ("upper", "lower"):
        raise ValueError(f"direction must be 'upper' or 'lower', not {direction!r}")
    if not 1 <= digits <= MAX_DIGITS:
        raise ValueError(f"digits must be in 1..{MAX_DIGITS}, not {digits}")
    if mantissa == 0:
        return "0"
    if abs(exponent) + mantissa.bit_length() > MAX_BITS:
        raise ValueError("the number is out of range")
    rounding = ROUND_CEILING if direction == "upper" else ROUND_FLOOR
    context = Context(digits, rounding, Emin=-MAX_BITS, Emax=MAX_BITS)
    found = context.divide(Decimal(mantissa << max(exponent, 0)), Decimal(1 << max(-exponent, 0)))
    power = found.adjusted()  # of the first digit
    if power in POSITIONAL_EXPONENTS:
        return f"{found:.{max(digits - 1 - power, 0)}f}"
    return f"{found:.{digits - 1}e}".partition("e")[0] + f"e{power:+03d}"
