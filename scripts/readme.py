"""Write the measured parts of README.md: the summary of one model, and the table of all of them.

    python scripts/readme.py

They are between `<!-- name -->` and `<!-- end -->`. A test compares everything in them but the times.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from verifier import pipeline
from verifier.console import table_text
from verifier.files import write_atomically
from verifier.formats import import_file
from verifier.kernel import Conclusion, Dyadic
from verifier.results import Result, fraction, lower, summary, upper

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MODELS = ROOT / "models"
PUBLISHED = ROOT.parent / "shared" / "published" / "model_p99zdpze5l.pt"
SHOWN = "pizza-p59-a"
REPEATS = 3
OVER_NAIVE = Fraction(23561944902, 10**10)
"""Above 3π/4: what a quadrature bound is multiplied with to be relative to the naive one."""

HEADER = (
    "model",
    "inputs certified",
    "margin",
    "true margin",
    "harmonic",
    "least",
    "logits within",
    "operations per parameter",
    "kernel, CPU s",
)


def prepare(path: Path) -> pipeline.Prepared:
    """What `verifier certify` does with the file, up to the signature."""
    found = pipeline.prepare(pipeline.Job(path, import_file, pipeline.Request(), None, None, Path("none"), ()))
    if not found.outcome.proved:
        raise SystemExit(f"{path}: {found.outcome.failure}")
    return found


def summary_text(found: pipeline.Prepared) -> str:
    """What `verifier certify` prints about a shipped model, but for the key, which is the user's."""
    folder = Path("certificates") / found.source.name
    files = {name: str(folder / name) for name in (pipeline.CERTIFICATE, pipeline.CLAIM, pipeline.PROOF)}
    path = found.source.path.relative_to(ROOT)
    result = Result(str(path), found.outcome, found.explained, files)
    tables = (table_text(t.header, t.rows, title=t.title, align=t.align) for t in summary(result))
    return "```\n" + "\n\n".join(tables) + "\n```"


def row(name: str, found: pipeline.Prepared) -> tuple[str, ...]:
    """One line of the table, without the time."""
    c = _conclusion(found.outcome)
    a = c.accuracy
    by = f"{a.linear} linear, {a.refined} refined" if a.refined else "linear"
    harmonic = max(fraction(bound.harmonic) for bound in c.quadrature) * OVER_NAIVE
    operations = Fraction(sum(c.operations.values()), c.parameters)
    return (
        name,
        f"{a.certified_inputs} of {a.total_inputs} ({by})",
        lower(a.min_margin, 3),
        lower(_true_margin(found), 3),
        _rounded_up(harmonic, 3),
        upper(max((bound.relative_bound for bound in c.quadrature), key=fraction), 3),
        upper(c.logits.max_error, 3),
        str(-(-operations.numerator // operations.denominator)),
    )


def _conclusion(outcome: pipeline.Outcome) -> Conclusion:
    if outcome.conclusion is None:
        raise ValueError("nothing was proved")
    return outcome.conclusion


def _rounded_up(value: Fraction, places: int) -> str:
    scaled = -(-value * 10**places // 1)
    return f"{scaled // 10**places}.{scaled % 10**places:0{places}d}"


def _true_margin(found: pipeline.Prepared) -> Dyadic:
    """A lower bound of the exact least margin, in exact arithmetic; it is very near."""
    source = found.source
    claim = pipeline.Request(strategy="exhaustive", semantics="real").claims(source)[0]
    ends = _conclusion(pipeline.run_kernel({}, source.data, claim, found.certificate)).accuracy.true_min_margin
    if ends is None:
        raise ValueError("not exhaustive")
    return ends[0]


def seconds(found: pipeline.Prepared) -> float:
    """The kernel's CPU time, the least of a few."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        pipeline.run_kernel({}, found.source.data, found.claim, found.certificate)
        times.append(time.process_time() - started)
    return min(times)


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parts(text: str) -> dict[str, str]:
    """The parts of a README between their marks."""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL))


def _marked(name: str, part: str) -> str:
    return f"<!-- {name} -->\n{part}\n<!-- end -->"


def main() -> None:
    """Measure, and write README.md."""
    rows, shown = [], ""
    sources = [(path.stem, path) for path in sorted(MODELS.glob("*.safetensors"))]
    if PUBLISHED.exists():
        sources.append(("published (Zhong et al., Model A)", PUBLISHED))
    for name, path in sources:
        found = prepare(path)
        rows.append((*row(name, found), f"{seconds(found):.1f}"))
        if name == SHOWN:
            shown = summary_text(found)
        print(*rows[-1], sep="  ", file=sys.stderr)
    text = README.read_text()
    for name, part in (("summary", shown), ("results", table(rows))):
        text = text.replace(_marked(name, parts(text)[name]), _marked(name, part))
    write_atomically(README, text.encode())


if __name__ == "__main__":
    main()
