"""The figures (matplotlib), the same bytes every time, each made of panels.

Estimates (float64) and proved numbers are told apart in the captions.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from verifier.kernel.claim import ADDITION, MULTIPLICATION, SUBTRACTION
from verifier.kernel.limits import DIRECTION_BITS
from verifier.report.mechanism import (
    Array,
    Mechanism,
    Wheel,
    profile_value,
    translated,
    turns,
    wheels,
)
from verifier.report.numbers import budget_totals, number
from verifier.results import BUDGET_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from verifier.model import FoldedCircuit
    from verifier.report.case import Case

INK, MUTED, LINE, PAPER = "#27313b", "#6b7783", "#dde3e8", "#ffffff"
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
# The palette of Okabe and Ito: told apart with every kind of colour vision.

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.unicode_minus": True,
    "figure.facecolor": PAPER,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "mathtext.fontset": "dejavusans",
    "path.simplify": True,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "verifier",
    "svg.image_inline": True,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}
DPI, PANELS, POINTS, DOT_SIZES = 160, 9, 6000, 6


@dataclass(frozen=True, slots=True)
class View:
    """What the figures are drawn from; `input` is the input (a, b) of the quadrature picture."""

    case: Case
    mechanism: Mechanism
    input: tuple[int, int]


Panel = tuple[int, Callable[["Axes"], None]]
"""A frequency (0: of none in particular), and what draws."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: title, caption, its panels and the size of one in inches."""

    title: str
    caption: str
    panels: Callable[[View], list[Panel]]
    size: tuple[float, float] = (3.9, 2.7)


def render(name: str, view: View, form: str) -> bytes:
    """Figure `name` with all its panels, as `png` or `svg` bytes."""
    return saved(*_layout(name, view), form)


def drawn(name: str, view: View) -> Figure:
    """The same as a figure."""
    draw, size = _layout(name, view)
    with _styled():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
    return figure


def _layout(name: str, view: View) -> tuple[Callable[[Figure], None], tuple[float, float]]:
    drawing = FIGURES[name]
    panels = drawing.panels(view)
    columns = min(len(panels), 3 if len(panels) in (3, 5, 6, 9) else 2)
    rows = -(-len(panels) // columns)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        for spare in axes[len(panels) :]:
            spare.set_axis_off()
        for (_, panel), own in zip(panels, axes, strict=False):
            panel(own)

    return draw, (drawing.size[0] * columns, drawing.size[1] * rows)


def render_panels(name: str, view: View) -> list[tuple[int, bytes]]:
    """Every panel of figure `name` with its frequency, as an SVG of its own, for a page that lays them out itself."""
    return [
        (k, saved(lambda figure, panel=panel: panel(figure.subplots()), FIGURES[name].size, "svg"))  # type: ignore[misc]
        for k, panel in FIGURES[name].panels(view)
    ]


@contextmanager
def _styled() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def saved(draw: Callable[[Figure], None], size: tuple[float, float], form: str) -> bytes:
    """What `draw` makes of a figure of a size in inches, as `png` or `svg` bytes."""
    with _styled():
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        if form == "svg":
            FigureCanvasSVG(figure)
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "verifier"})
        else:
            FigureCanvasAgg(figure)
            figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "verifier"})
    return buffer.getvalue()


def draw_sweep(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows of a sweep as SVG, a line for each model: margins, shares of the inputs, and frequencies."""
    rows = [row for row in rows if row["certified"] is not None]
    lines = range(len(rows))

    def column(name: str) -> list[float]:
        return [math.nan if row[name] is None else row[name] for row in rows]

    def draw(figure: Figure) -> None:
        margins, shares, waves = figure.subplots(1, 3, sharey=True)
        margins.scatter(column("true_margin"), lines, marker="|", color=INK, label="true")
        margins.scatter(column("min_margin"), lines, s=18, color=BLUE, label="certified")
        margins.set(xlabel="least margin, logits", yticks=lines, yticklabels=[Path(row["model"]).stem for row in rows])
        margins.invert_yaxis()
        for name, marker, colour in (("certified", "o", BLUE), ("explained", "x", ORANGE)):
            share = [100 * row[name] / row["total"] for row in rows]
            shares.scatter(share, lines, s=18, marker=marker, color=colour, label=name)
        shares.set(xlabel="inputs, %", xlim=(-4, 104))
        for line, row in enumerate(rows):
            k, neurons = np.array(row["frequencies"]), np.array(row["neurons_per_frequency"])
            waves.scatter(k / row["p"], [line] * len(k), s=60 * neurons / row["neurons"], color=GREEN)
        waves.set(xlabel="frequency k/p (area: share of the neurons)", xlim=(0, 0.5))
        for axes in (margins, shares):
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

    return saved(draw, (9.5, min(1.2 + 0.17 * len(rows), 200)), "svg")


def _shown(view: View) -> list[Wheel]:
    """The frequencies with the largest share of the logits, in ascending order."""
    share = {f.frequency: f.share for f in view.mechanism.frequencies}
    found = wheels(view.case.circuit, view.case.certificate)
    chosen = sorted(found, key=lambda wheel: -share[wheel.frequency])[:PANELS]
    return sorted(chosen, key=lambda wheel: wheel.frequency)


def _turns(axis: Axis, ticks: Sequence[float]) -> None:
    words = {-0.5: "−½", -0.25: "−¼", 0: "0", 0.25: "¼", 0.5: "½", 0.75: "¾", 1: "1"}
    axis.set_ticks(ticks, [words[t] for t in ticks])


def draw_rectangles(axes: Axes, wheel: Wheel, a: int, b: int, p: int) -> float:
    """The rule of one frequency at an input, over the curve whose integral it stands for; returns the sum."""
    here, height = wheel.heights(a, b, p)
    order = here.argsort(kind="stable")
    share, ends = wheel.share[order], np.cumsum(wheel.share[order])
    # The boxes start where they fit their nodes best.
    start = float(np.average(here[order] - ends + share / 2, weights=share))
    left, tall = start + ends - share, height[order]
    for positive, colour in ((True, SKY), (False, ORANGE)):
        rows = (tall >= 0) == positive
        axes.bar(
            left[rows], tall[rows], share[rows], align="edge", color=colour, edgecolor=PAPER, linewidth=0.25, alpha=0.9
        )
    x = np.linspace(-0.5, 0.5, 361)
    axes.plot(x, np.maximum(np.cos(2 * np.pi * x), 0) * np.cos(4 * np.pi * x), color=BLUE, linewidth=1.3)
    axes.set_xlim(-0.52, 0.52)
    axes.set_ylim(-0.42, 1.08)
    _turns(axes.xaxis, [-0.5, -0.25, 0, 0.25, 0.5])
    return float((wheel.share * height).sum())


def _quadrature(view: View) -> list[Panel]:
    (a, b), p = view.input, view.case.circuit.p

    def panel(wheel: Wheel, axes: Axes) -> None:
        found = draw_rectangles(axes, wheel, a, b, p)
        axes.set_title(f"k = {wheel.frequency}: sum {found:.4f}, integral {1 / (3 * math.pi):.4f}")
        axes.set_xlabel(f"φ + k(a + b)/2p  (turns), a = {a}, b = {b}")
        axes.set_ylabel("ReLU(cos) · cos")

    return [(wheel.frequency, partial(panel, wheel)) for wheel in _shown(view)]


def _phases(view: View) -> list[Panel]:
    known = {f.frequency: f for f in view.mechanism.frequencies}

    def panel(wheel: Wheel, axes: Axes) -> None:
        for shift in (0, 1):
            axes.plot([shift / 2, (shift + 1) / 2], [0, 1], color=MUTED, linewidth=1, zorder=1)
        output = (wheel.psi - wheel.common) % 1.0
        level = np.ceil(DOT_SIZES * np.sqrt(wheel.share / wheel.share.max()))
        for size in sorted(set(level.tolist())):  # few sizes make a small file
            rows = level == size
            axes.scatter(
                wheel.phase[rows], output[rows], s=4 + 46 * size / DOT_SIZES, color=BLUE, alpha=0.45, linewidths=0
            )
        rms = known[wheel.frequency].angle_rms
        axes.set_title(f"k = {wheel.frequency}: {360 * rms:.2f}° from the line (rms)")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        _turns(axes.xaxis, [0, 0.25, 0.5, 0.75, 1])
        _turns(axes.yaxis, [0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("input phase φ (turns)")
        axes.set_ylabel("output phase ψ − c (turns)")

    return [(wheel.frequency, partial(panel, wheel)) for wheel in _shown(view)]


def _profile(view: View) -> list[Panel]:
    circuit, certificate, grid = view.case.circuit, view.case.certificate, np.linspace(0, 1, 201)
    known = {f.frequency: f for f in view.mechanism.frequencies}

    def panel(wheel: Wheel, axes: Axes) -> None:
        x, y = translated(circuit, wheel)
        colours = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
        for place, index in enumerate(sorted(set(wheel.families.tolist()))):
            rows = wheel.families == index
            # Neurons that matter first: a fixed choice, no random numbers.
            rank = np.repeat(-wheel.share[rows], x.shape[1]).argsort(kind="stable")[:POINTS]
            xs, ys = x[rows].ravel()[rank], y[rows].ravel()[rank]
            colour = colours[place % len(colours)]
            axes.scatter(xs, ys, s=2.6, color=colour, alpha=0.3, linewidths=0, rasterized=True)
            axes.plot(grid, profile_value(certificate.families[index], 0.0, grid), color=INK, linewidth=1.2)
        axes.plot(grid, 2 * np.cos(2 * np.pi * grid), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        f = known[wheel.frequency]
        axes.set_title(f"k = {wheel.frequency}: constant {f.dc:+.3f}, 2nd harmonic {f.second:.3f}")
        axes.set_xlim(0, 1)
        axes.set_ylim(-2.9, 2.9)
        _turns(axes.xaxis, [0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel("φ + kb/p  (turns), a = b")
        axes.set_ylabel("pre-activation / α")

    return [(wheel.frequency, partial(panel, wheel)) for wheel in _shown(view)]


def _directions(view: View) -> list[Panel]:
    directions, p = view.case.checked.evidence.directions, view.case.circuit.p
    if directions is None:
        return []

    def panel(index: int, axes: Axes) -> None:
        found = view.mechanism.directions[index]
        c = np.arange(p)
        column = directions[:p, index] * 2.0**-DIRECTION_BITS
        order = (found.frequency * c % p).argsort(kind="stable")
        wave = np.fft.rfft(column - column.mean())
        wave[np.arange(len(wave)) != found.frequency] = 0
        axes.plot(c / p, (np.fft.irfft(wave, p) + column.mean())[order], color=MUTED, linewidth=1)
        axes.plot(c / p, column[order], "o", color=BLUE, markersize=2.6)
        axes.set_title(f"direction {index + 1}: {found.share:.1%} at frequency {found.frequency}")
        _turns(axes.xaxis, [0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel(f"{found.frequency}·c/p  (turns)")

    found, known = view.mechanism.directions, {wheel.frequency for wheel in _shown(view)}
    shown = sorted((i for i, d in enumerate(found) if d.frequency in known), key=lambda i: -found[i].of_logits)
    return [(found[i].frequency, partial(panel, i)) for i in sorted(shown[: 2 * PANELS])]


def strongest_neuron(view: View) -> tuple[int, int]:
    """The largest neuron of the strongest frequency, and that frequency; without families the largest neuron."""
    found = wheels(view.case.circuit, view.case.certificate)
    if not found:
        neuron = int(np.abs(view.case.circuit.A).max(axis=1).argmax())
        return neuron, int(view.case.certificate.orders[neuron])
    share = {f.frequency: f.share for f in view.mechanism.frequencies}
    wheel = max(found, key=lambda wheel: share[wheel.frequency])
    return int(wheel.neurons[wheel.share.argmax()]), wheel.frequency


def draw_events(axes: Axes, circuit: FoldedCircuit, neuron: int, frequency: int) -> int:
    """Where one neuron is active, inputs in the order of its frequency from where the region is in the middle, and
    the jumps; returns how many there are.
    """
    p = circuit.p
    order = (frequency * np.arange(p) % p).argsort(kind="stable")
    active = (circuit.A[neuron][order][:, None] + circuit.B[neuron][order][None, :] > 0).astype(np.int8)
    for axis in (0, 1):
        middle = np.angle(np.dot(active.sum(axis=1 - axis), turns(np.arange(p) / p))) / (2 * np.pi)
        active = np.roll(active, round(p / 2 - p * float(middle)), axis=axis)
    axes.imshow(
        active.T, origin="lower", cmap=ListedColormap(["#ffffff00", SKY]), vmin=0, vmax=1, extent=(-0.5, p - 0.5) * 2
    )
    step = active - np.roll(active, 1, axis=1)  # from one b to the next, around: the events of the half of A
    across = np.diff(active, axis=0)
    segments = [[(x - 0.5, y - 0.5), (x + 0.5, y - 0.5)] for x, y in np.argwhere(np.diff(active, axis=1)).tolist()]
    segments = [[(x, y + 1) for x, y in line] for line in segments]
    segments += [[(x + 0.5, y - 0.5), (x + 0.5, y + 0.5)] for x, y in np.argwhere(across).tolist()]
    axes.add_collection(LineCollection(segments, colors=INK, linewidths=0.9))
    for sign, colour, marker in ((1, GREEN, "^"), (-1, RED, "v")):
        x, y = np.nonzero(step == sign)
        axes.plot(x, y - 0.5, marker, color=colour, markersize=160 / p, markeredgewidth=0, clip_on=False)
    axes.text(p / 2, p / 2, "on: A[a] + B[b]", ha="center", va="center", color="black")
    axes.text(0, 0, "off: 0", ha="left", va="bottom")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"a in the order of {frequency}·a mod {p}, a circle")
    axes.set_ylabel(f"b in the order of {frequency}·b mod {p}, a circle")
    return int(np.abs(step).sum())


def _events(view: View) -> list[Panel]:
    neuron, frequency = strongest_neuron(view)

    def panel(axes: Axes) -> None:
        count = draw_events(axes, view.case.circuit, neuron, frequency)
        axes.set_title(f"neuron {neuron}: {count} jumps, not {view.case.circuit.p**2} inputs")

    return [(0, panel)]


def _explained(view: View) -> list[Panel]:
    def panel(axes: Axes) -> None:
        evidence, conclusion = view.case.checked.evidence, view.case.checked.conclusion
        errors, p = error_by_offset(view), view.case.circuit.p
        delta, gap = np.arange(p), evidence.gaps * 2.0**evidence.exponent
        axes.fill_between(delta, 0, 2 * errors, step="mid", color=ORANGE, alpha=0.45, linewidth=0)
        axes.step(delta, gap, where="mid", color=BLUE)
        missing = delta[~np.array(evidence.explained)]
        axes.plot(missing, np.zeros(len(missing)), "x", color=RED, markersize=4)
        axes.set_ylim(min(0.0, float(gap.min())), 1.25 * max(float(gap.max()), float(2 * errors.max())))
        axes.text(0.02, 0.92, "line: lead of the closed form   filled: twice its error", transform=axes.transAxes,
                  fontsize=7.5)  # fmt: skip
        axes.set_xlabel("a − b (mod p)")
        axes.set_ylabel("logits")
        count = conclusion.accuracy.explained_inputs
        axes.set_title(f"{count} of {p * p} inputs explained")

    return [(0, panel)]


def error_by_offset(view: View) -> Array:
    """E(δ), the proved distance of the executed logits from the closed form, as floats."""
    evidence, conclusion, p = view.case.checked.evidence, view.case.checked.conclusion, view.case.circuit.p
    delta = np.subtract.outer(np.arange(p), np.arange(p)) % p
    worst = np.zeros(p)
    np.maximum.at(worst, delta, evidence.deviations * 2.0**evidence.exponent)
    return np.asarray(worst + number(conclusion.closed_form.error) - worst.max())


def _budget(view: View) -> list[Panel]:
    def panel(axes: Axes) -> None:
        conclusion = view.case.checked.conclusion
        rows = [(BUDGET_NAMES[name], number(x)) for name, x in budget_totals(conclusion).items()]
        pure = conclusion.closed_form.deformation is None
        together = "all together, at any one input" if pure else "left by the deformed form"
        rows.append((together, number(conclusion.logits.max_error)))
        for place, (_, value) in enumerate(rows):
            axes.barh(place, value, height=0.66, color=BLUE if place + 1 == len(rows) else ORANGE)
            axes.text(value, place, f" {value:.3g}", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 1.15 * max(value for _, value in rows))
        axes.set_xlabel("logits, at most")

    return [(0, panel)]


OPERANDS = {ADDITION: ("a", "b"), SUBTRACTION: ("a", "−b mod p"), MULTIPLICATION: ("log a", "log b")}


def draw_margins(axes: Axes, view: View) -> Any:
    """The certified margins by a and b; crosses where nothing is certified."""
    evidence, p = view.case.checked.evidence, view.case.circuit.p
    margins = evidence.margins * 2.0**evidence.exponent
    colours = mpl.colormaps["viridis"].with_extremes(bad="#f3f5f7")
    shown = np.ma.masked_where(evidence.margins <= 0, margins)
    image = axes.imshow(shown.T, origin="lower", cmap=colours, vmin=0.0, vmax=max(float(margins.max()), 1e-9))
    failing = np.argwhere(evidence.margins <= 0)
    wrong = ~view.mechanism.right[failing[:, 0], failing[:, 1]]
    for rows, marker, colour in ((wrong, "x", RED), (~wrong, ".", ORANGE)):
        axes.scatter(failing[rows, 0], failing[rows, 1], marker=marker, s=min(60.0, 2.2e4 / p**2), color=colour)
    axes.grid(visible=False)
    a, b = OPERANDS[view.case.checked.conclusion.claim.task]
    axes.set_xlabel(a)
    axes.set_ylabel(b)
    return image


def _margins(view: View) -> list[Panel]:
    def panel(axes: Axes) -> None:
        accuracy = view.case.checked.conclusion.accuracy
        image = draw_margins(axes, view)
        axes.set_title(f"{accuracy.certified_inputs} of {accuracy.total_inputs} inputs certified")
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.86, pad=0.02)
        bar.set_label("certified margin, at least")

    return [(0, panel)]


FIGURES: dict[str, Drawing] = {
    "quadrature": Drawing(
        "Neurons as rectangles",
        "Each neuron of a frequency is a rectangle: its width is its share of the weight, its "
        "height what it adds to the "
        "right logit. Together they stand for the integral under the curve, 1/3π. An idealised cosine neuron with the "
        "model's phases and weights (estimate).",
        _quadrature,
    ),
    "phases": Drawing(
        "Input phase against output phase",
        "A neuron that reads at phase φ writes at phase 2φ + c: the lines are exactly that. Dot "
        "size is weight (estimate).",
        _phases,
    ),
    "profile": Drawing(
        "One profile for all neurons of a family",
        "Dots: pre-activations of all neurons of a frequency, over their amplitude and shifted by "
        "their phase, at a = b. "
        "Line: the profile. Dashed: a pure cosine (estimate).",
        _profile,
    ),
    "directions": Drawing(
        "Output directions",
        "What the neurons write at the families' frequencies, as directions over the outputs c (dots), "
        "in the order of the frequency; line: the cosine alone (estimate).",
        _directions,
    ),
    "events": Drawing(
        "Where one neuron is active",
        "All inputs, a torus: left meets right, top meets bottom. Inside the region ReLU is a part of a plus a part "
        "of b, so that only the jumps at the boundary have to be added up (triangle up: on, down: off, from one "
        "b to the next; estimate).",
        _events,
        (4.6, 4.4),
    ),
    "explained": Drawing(
        "What the closed form alone explains",
        "By a − b: how far the closed form's right answer leads, and twice the proved distance of every logit from it. "
        "Where the line is above the filled part, the formula alone gives the right answer.",
        _explained,
        (4.7, 3.1),
    ),
    "budget": Drawing(
        "What the distance from the closed form is made of",
        "Proved upper bounds over all inputs, in logits. Each term is at its own worst input, so "
        "that all together is less.",
        _budget,
        (4.7, 3.1),
    ),
    "margins": Drawing(
        "Certified margin of every input",
        "The proved lower bound of the right logit minus the best other one. Dot: right but not proved. Cross: wrong.",
        _margins,
        (5.4, 4.5),
    ),
}
