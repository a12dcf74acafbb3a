"""Write the measured parts of README.md: the summary of one model, and the table of all of them.

    python scripts/readme.py

The parts are between `<!-- name -->` and `<!-- end -->`. A test compares everything in them but the times.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from verifier import pipeline
from verifier.console import table_text
from verifier.files import write_atomically
from verifier.formats import import_file
from verifier.kernel import Conclusion
from verifier.results import Result, lower, summary, upper

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PUBLISHED = ROOT.parent / "shared" / "published" / "model_p99zdpze5l.pt"
SHOWN = "pizza-p59-a"
HEADER = (
    "model",
    "certified",
    "by",
    "margin, certified",
    "margin, true",
    "quadrature, harmonic",
    "quadrature, least",
    "logits within",
    "operations per parameter",
    "CPU seconds",
)


def certified(path: Path) -> pipeline.Prepared:
    """What `verifier certify` does with the file, up to the signature."""
    job = pipeline.Job(path, import_file, pipeline.Request(), None, None, Path("certificates") / path.stem, ())
    found = pipeline.prepare(job)
    if not found.outcome.proved:
        raise SystemExit(f"{path}: {found.outcome.failure}")
    return found


def summary_text(found: pipeline.Prepared) -> str:
    """What `verifier certify` prints about it, but for the key, which is the user's."""
    path = found.source.path
    folder = Path("certificates") / found.source.name
    parts = (pipeline.CERTIFICATE, pipeline.CLAIM, pipeline.PROOF)
    files = {name: str(folder / name) for name in parts}
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    result = Result(str(shown), found.outcome, found.explained, files)
    tables = summary(result)
    return "\n\n".join(table_text(t.header, t.rows, title=t.title, align=t.align) for t in tables)


def row(found: pipeline.Prepared, name: str, seconds: float | None = None) -> tuple[str, ...]:
    """One line of the table; without a time, the cell holds a question mark."""
    c = found.outcome.conclusion
    assert c is not None  # noqa: S101
    a = c.accuracy
    by = [f"linear {a.linear}", f"refined {a.refined}"] if a.refined else ["linear"]
    operations = Fraction(sum(c.operations.values()), c.parameters)
    return (
        name,
        f"{a.certified_inputs} of {a.total_inputs}",
        ", ".join(by),
        lower(a.min_margin, 3),
        lower(_true_margin(found), 3),
        _percent(max(Fraction(bound.harmonic.mantissa) * Fraction(2) ** bound.harmonic.exponent for bound in c.quadrature)),
        f"{_worst(c)}",
        upper(c.logits.max_error, 3),
        f"{-(-operations.numerator // operations.denominator)}",
        "?" if seconds is None else f"{seconds:.1f}",
    )
