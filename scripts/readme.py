"""Write the measured parts of README.md: the summary of one model, and the table of all of them.

    python scripts/readme.py

They are between `<!-- name -->` and `<!-- end -->`. A test compares everything in them but the times, decimals to 1 %.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from verifier import prove, store
from verifier.console import table_text
from verifier.files import write_atomically
from verifier.formats import import_file
from verifier.kernel import limits
from verifier.proof.statement import exact
from verifier.results import Document, Result, conclusion_of, lower, summary, upper

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
MODELS = ROOT / "models"
PUBLISHED = {
    "published Model A": "model_p99zdpze5l.pt",
    "published, attention 0.996 to 1": "model_18c9ev5v5p.pt",
    "published type D (no attention)": "model_7r4zst7evs.pt",
}
SHOWN = "pizza-p59-a"
REPEATS = 5

HEADER = (
    "model",
    "certified",
    "explained",
    "margin (true)",
    "gap error",
    "logits within (true)",
    "quadrature",
    "directions",
    "events",
    "kernel, CPU ms",
)


def published(name: str) -> Path:
    return ROOT.parent / "shared" / "published" / PUBLISHED[name]


def prepare(path: Path) -> store.Prepared:
    """What `verifier certify` does with the file, up to the signature."""
    job = store.Job(path, import_file, prove.Request(), None, prove.MARGIN_SHARE, Path("none"), None)
    found = store.prepare(job)
    if not found.outcome.proved:
        raise SystemExit(f"{path}: {found.outcome.failure}")
    return found


def summary_text(found: store.Prepared) -> str:
    """What `verifier certify` prints about a shipped model, but for the key, which is the user's."""
    folder = Path("certificates") / found.source.name
    files = {name: str(folder / name) for name in (store.CERTIFICATE, store.CLAIM, store.PROOF)}
    path = found.source.path.relative_to(ROOT)
    result = Result(str(path), found.outcome, found.attempt, files)
    tables = (table_text(t.header, t.rows, title=t.title, align=t.align) for t in summary(result))
    return "```\n" + "\n\n".join(tables) + "\n```"


def row(name: str, found: store.Prepared) -> tuple[str, ...]:
    """One line of the table, without the time."""
    c, (true_margin, true_error) = _conclusion(found.outcome), _exact(found)
    a = c["accuracy"]
    events = Fraction(c["cost"]["events"], c["cost"]["parameters"])
    return (
        name,
        f"{a['certified_inputs']} of {a['total_inputs']}",
        f"{a['explained_inputs']}"
        + " by one sentence" * c["closed_form"]["explains_all"]
        + ", deformed" * ("deformation" in c["closed_form"]),
        f"{lower(a['min_margin'], 4)} ({lower(true_margin, 4)})",
        upper(a["gap_error"], 3) if a["gap_error"] else "none",
        f"{upper(c['logits']['max_error'], 4)} ({lower(true_error, 4)})",
        upper(max(c["quadrature"], key=lambda bound: exact(bound["relative_bound"]))["relative_bound"], 3),
        str(c["certificate"]["directions"]),
        "one dense pass" if a["strategy"] == "semi-linear" else f"{float(events):.2f} P",
    )


def _conclusion(outcome: prove.Outcome) -> Document:
    found = conclusion_of(outcome)
    if found is None:
        raise ValueError("nothing was proved")
    return found


def _exact(found: store.Prepared) -> tuple[Document, Document]:
    """The least margin and the largest distance from the closed form, in exact arithmetic. For learned attention every
    output is a direction of its own, and what is left is fixed point, a few hundredths.
    """
    learned, certificate = found.source.learned, found.certificate
    if learned:
        document, q = json.loads(certificate), found.source.outputs
        document["directions"] = [[(c == d) << limits.DIRECTION_BITS for d in range(q)] for c in range(q)]
        certificate = json.dumps(document).encode()
    strategy = "semi-linear" if learned else "exact"
    claim = prove.Request(strategy=strategy, semantics="real").claims(found.source)[0]
    c = _conclusion(prove.run_kernel({}, found.source.data, claim, certificate))
    if learned:
        return c["accuracy"]["min_margin"], c["logits"]["max_error"]
    return c["accuracy"]["true_min_margin"][0], c["accuracy"]["max_deviation"][0]


def seconds(found: store.Prepared) -> float:
    """The kernel's CPU time, the least of a few."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        prove.run_kernel({}, found.source.data, found.claim, found.certificate)
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
    sources += [(name, published(name)) for name in PUBLISHED if published(name).exists()]
    for name, path in sources:
        found = prepare(path)
        rows.append((*row(name, found), f"{1000 * seconds(found):.0f}"))
        if name == SHOWN:
            shown = summary_text(found)
        print(*rows[-1], sep="  ", file=sys.stderr)
    text = README.read_text()
    for name, part in (("summary", shown), ("results", table(rows))):
        text = text.replace(_marked(name, parts(text)[name]), _marked(name, part))
    write_atomically(README, text.encode())


if __name__ == "__main__":
    main()
