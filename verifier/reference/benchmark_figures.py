"""The benchmark's two figures as SVG: time and operations against parameters, and the break-even size."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from verifier.files import write_atomically
from verifier.reference.benchmark import (
    Case,
    break_even,
    fit,
    operation_points,
    points,
    synthetic_cases,
)

METHODS = {
    "linear": ("linear check", "#1f4e79", "o"),
    "float64": ("brute force, float64", "#b5483a", "s"),
    "float32": ("brute force, float32", "#d9a38f", "^"),
    "integers": ("brute force, integers", "#5d7a4a", "D"),
    "balls": ("brute force, balls", "#8a6fa8", "v"),
}
STYLE: dict[Any, object] = {
    "svg.hashsalt": "benchmark",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(cases: Sequence[Case], folder: Path) -> list[Path]:
    """Write both figures into `folder`; returns their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    with mpl.rc_context():
        for name, value in STYLE.items():
            mpl.rcParams[name] = value
        return [
            _save(_scaling(cases), folder / "benchmark-scaling.svg"),
            _save(_break_even(cases), folder / "benchmark-break-even.svg"),
        ]


def _save(figure: Any, path: Path) -> Path:
    buffer = BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_atomically(path, buffer.getvalue())
    return path


def _scaling(cases: Sequence[Case]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    time, work = figure.subplots(1, 2)
    for method, (label, colour, marker) in METHODS.items():
        _line(time, points(cases, method), label, colour, marker)
    time.set(title="Processor time", xlabel="circuit parameters", ylabel="seconds")
    _line(work, operation_points(cases), "linear check: operations", "#1f4e79", "o")
    brute = [(float(case.parameters), float(case.multiply_adds)) for case in synthetic_cases(cases)]
    _line(work, brute, "brute force: multiply-adds", "#b5483a", "s")
    work.set(title="Operations", xlabel="circuit parameters")
    for axes in (time, work):
        axes.set(xscale="log", yscale="log")
        axes.grid(visible=True, linewidth=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _line(axes: Any, found: list[tuple[float, float]], label: str, colour: str, marker: str) -> None:
    """The points, and the fitted power law as a thin line."""
    if not found:
        return
    law = fit(found)
    x, y = zip(*found, strict=True)
    axes.plot(
        x, y, marker, color=colour, markersize=5, label=label if law is None else f"{label}: P^{law.exponent:.2f}"
    )
    if law is not None:
        ends = [min(x), max(x)]
        axes.plot(ends, [law.factor * end**law.exponent for end in ends], color=colour, linewidth=0.8)


def _break_even(cases: Sequence[Case]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for method, (label, colour, marker) in METHODS.items():
        if method == "linear":
            continue
        ours, theirs = dict(points(cases, "linear")), dict(points(cases, method))
        ratios = [(x, theirs[x] / ours[x]) for x in ours if x in theirs]
        if ratios:
            axes.plot(*zip(*ratios, strict=True), color=colour, marker=marker, markersize=5, linewidth=1, label=label)
    axes.axhline(1, color="black", linewidth=0.8)
    even = break_even(cases)
    if even is not None:
        axes.axvline(even, color="#b5483a", linewidth=0.8, linestyle=":")
        axes.annotate(f"{even:.2g} parameters", (even, 1), xytext=(6, -14), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="circuit parameters", title="How many times slower brute force is")
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(frameon=False, fontsize=8)
    return figure
