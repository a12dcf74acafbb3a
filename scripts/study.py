"""Sweep the models of the study, and write the table of docs/study.md and its figure.

    python scripts/study.py build/study

The rows are kept in build/study/rows; the page says how the models are trained.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from verifier import sweep
from verifier.files import write_atomically
from verifier.report.figures import draw_sweep

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEADER = ("model", "frequency:neurons", "certified", "explained", "margin (true)", "gap error", "events", "s")


def line(row: dict[str, Any]) -> tuple[str, ...]:
    name = Path(row["model"]).stem
    if row["certified"] is None:
        return name, f"{row['status']}: {row['error']}", *[""] * (len(HEADER) - 2)
    waves = zip(row["frequencies"], row["neurons_per_frequency"], strict=True)
    return (
        name,
        " ".join(f"{k}:{neurons}" for k, neurons in waves),
        f"{row['certified']}/{row['total']}" + f", {row['wrong_inputs']} wrong" * bool(row["wrong_inputs"]),
        f"{row['explained']}/{row['total']}",
        f"{row['min_margin']:.2f} ({row['true_margin']:.2f})",
        "none" if row["gap_error"] is None else f"{row['gap_error']:.3f}",
        str(row["events"]),
        f"{row['seconds']:.1f}",
    )


def findings(rows: list[dict[str, Any]]) -> str:
    """What the table says in numbers."""

    def count(name: str, share: float) -> int:
        return sum(row[name] is not None and row[name] >= share * row["total"] for row in rows)

    short = [f"{line(row)[0]} ({line(row)[2] or row['error']})" for row in rows if row["status"] != "certified"]
    ratios = sorted(100 * row["min_margin"] / row["true_margin"] for row in rows if row["status"] == "certified")
    return f"""- Certified on every input: {count("certified", 1)} of {len(rows)} models; on 95 % or more of them: {
        count("certified", 0.95)
    }.
- Explained on every input, by the closed form and one bound of its error: {count("explained", 1)}; on 95 % or more: {
        count("explained", 0.95)
    }; on none: {len(rows) - count("explained", 1e-9)}.
- The certified margin is {ratios[0]:.1f} to {ratios[-1]:.1f} % of the true one, where all inputs are certified.
- Not certified on every input: {"; ".join(short) or "none"}."""


def main() -> None:
    folder = Path(sys.argv[1])
    models = sorted(folder.glob("*.safetensors"))
    rows = list(sweep(models, folder / "rows"))
    table = [HEADER, ("---",) * len(HEADER), *map(line, rows)]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    page = DOCS / "study.md"
    old = page.read_text()
    new = re.sub(r"(?s)<!-- rows -->.*<!-- end -->", f"<!-- rows -->\n{findings(rows)}\n\n{text}\n<!-- end -->", old)
    write_atomically(page, new.encode())
    write_atomically(DOCS / "figures" / "study.svg", draw_sweep(rows))


if __name__ == "__main__":
    main()
