"""The pictures of README and documentation, of shipped models: `python scripts/figures.py` writes docs/figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.report.case import read_case
from verifier.report.figures import View, draw_events, draw_margins, draw_rectangles, saved, strongest_neuron
from verifier.report.mechanism import read_mechanism, wheels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "figures"
INPUT = (12, 5)


def view_of(name: str) -> View:
    case = read_case(ROOT / "models" / f"{name}.safetensors", fresh=True)
    return View(case, read_mechanism(case), INPUT)


def overview(view: View) -> bytes:
    """Rectangles under the curve, beside the margin map."""
    case, (a, b) = view.case, view.input
    p, accuracy = case.circuit.p, case.checked.conclusion.accuracy

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        wheel = max(wheels(case.circuit, case.certificate), key=lambda w: len(w.neurons))
        found = draw_rectangles(left, wheel, a, b, p)
        left.set_xlim(-0.29, 0.29)
        left.set_title(f"{len(wheel.neurons)} neurons: {found:.4f}; the integral: {1 / (3 * math.pi):.4f}")
        left.set_xlabel("phase (turns)")
        image = draw_margins(right, view)
        right.set_title(f"{accuracy.certified_inputs} of {accuracy.total_inputs} sums proved right")
        figure.colorbar(image, ax=right, shrink=0.85, pad=0.03).set_label("proved lead of the right logit")

    return saved(draw, (7.4, 3.3), "svg")


def events(view: View) -> bytes:
    """The torus of inputs of one neuron: its active region, the staircase boundary, the jumps."""

    def draw(figure: Figure) -> None:
        neuron, frequency = strongest_neuron(view)
        axes = figure.subplots()
        count = draw_events(axes, view.case.circuit, neuron, frequency)
        axes.set_title(f"one neuron: {count} jumps make its part of {view.case.circuit.p**2} inputs")

    return saved(draw, (5.4, 5.0), "svg")


def main() -> None:
    view = view_of("pizza-p59-a")
    for name, data in (("overview", overview(view)), ("events", events(view_of("pizza-p23")))):
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.svg").write_bytes(data)
        print(f"docs/figures/{name}.svg: {len(data)} bytes")


if __name__ == "__main__":
    main()
