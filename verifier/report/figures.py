"""The six figures (matplotlib), the same bytes every time.

Estimates (float64) and proved numbers are told apart in the captions: figures 1 to 3 show the weights themselves and
are estimates; figures 4 to 6 show what the kernel proved.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from verifier.report.bounds import Evidence, Strategy, method_error, term_total
from verifier.report.facts import Mechanism, Wheel, profile_value, translated, wheels, wrap
from verifier.results import fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from verifier.report.subject import Subject

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
DPI = 160
PANELS = 8
POINTS = 6000
DOT_SIZES = 6
LABEL_GAP = 0.065
WIDTH = 8.0


@dataclass(frozen=True, slots=True)
class View:
    """What the figures are drawn from; `input` is the input (a, b) of the quadrature picture."""

    subject: Subject
    mechanism: Mechanism
    evidence: Evidence
    input: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure's title and caption, and how to draw it. `proved`: whether it shows proved numbers."""

    title: str
    caption: str
    proved: bool
    draw: Callable[[View], Figure]


def render(name: str, view: View, form: str) -> bytes:
    """Figure `name` as `png` or `svg` bytes."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = FIGURES[name].draw(view)
        buffer = io.BytesIO()
        if form == "svg":
            FigureCanvasSVG(figure)
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "verifier"})
        else:
            FigureCanvasAgg(figure)
            figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": "verifier"})
    return buffer.getvalue()


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """`count` panels, two or three in a row."""
    columns = 3 if count == 3 or count > 4 else min(count, 2)
    rows = -(-count // columns)
    width = {1: 0.65, 2: 1.0, 3: 1.2}[columns] * WIDTH
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def _shown(view: View) -> list[Wheel]:
    """The frequencies with the largest share of the logits, in ascending order."""
    share = {f.frequency: f.share for f in view.mechanism.frequencies}
    found = wheels(view.subject.circuit, view.subject.certificate)
    chosen = sorted(found, key=lambda wheel: -share[wheel.frequency])[:PANELS]
    return sorted(chosen, key=lambda wheel: wheel.frequency)


def _quadrature(view: View) -> Figure:
    a, b = view.input
    p = view.subject.circuit.p
    shown = _shown(view)
    figure, axes = _panels(len(shown), 2.6)
    x = np.linspace(-0.5, 0.5, 721)
    for panel, wheel in zip(axes, shown, strict=True):
        k, share = wheel.frequency, wheel.share
        # cos πk(a − b)/p < 0 moves every neuron half a turn: ReLU then sees the other half of the circle.
        offset = k * (a + b) / (2 * p) + (0.5 if math.cos(math.pi * k * (a - b) / p) < 0 else 0.0)
        here = wrap(wheel.phase + offset)
        height = np.maximum(np.cos(2 * np.pi * here), 0) * np.cos(2 * np.pi * (2 * offset + wheel.psi - wheel.common))
        order = here.argsort(kind="stable")
        ends = np.cumsum(share[order])
        # The boxes start where they fit their nodes best.
        start = float(np.average(here[order] - ends + share[order] / 2, weights=share[order]))
        left = start + ends - share[order]
        up = height[order] >= 0
        for positive, colour in ((True, SKY), (False, ORANGE)):
            rows = up == positive
            panel.bar(
                left[rows],
                height[order][rows],
                width=share[order][rows],
                align="edge",
                color=colour,
                edgecolor=PAPER,
                linewidth=0.2,
                alpha=0.85,
            )
        panel.plot(x, np.maximum(np.cos(2 * np.pi * x), 0) * np.cos(4 * np.pi * x), color=BLUE, linewidth=1.3)
        total, integral = float((share * height).sum()), 1 / (3 * math.pi)
        panel.set_title(f"k = {k}: sum {total:.4f}, integral {integral:.4f}")
        panel.set_xlim(-0.52, 0.52)
        panel.set_ylim(-0.42, 1.08)
        panel.set_xticks([-0.5, -0.25, 0, 0.25, 0.5], ["−½", "−¼", "0", "¼", "½"])
        panel.set_xlabel(f"φ + k(a + b)/2p  (turns), a = {a}, b = {b}")
    axes[0].set_ylabel("ReLU(cos) · cos")
    for place, (colour, word) in enumerate(((SKY, "adds"), (ORANGE, "takes away"))):
        axes[0].plot([-0.46], [0.98 - 0.13 * place], marker="s", color=colour, markersize=6)
        axes[0].text(-0.42, 0.98 - 0.13 * place, word, va="center", fontsize=8)
    return figure


def _phases(view: View) -> Figure:
    shown = _shown(view)
    figure, axes = _panels(len(shown), 2.9)
    facts = {f.frequency: f for f in view.mechanism.frequencies}
    for panel, wheel in zip(axes, shown, strict=True):
        for shift in (0, 1):
            panel.plot([shift / 2, (shift + 1) / 2], [0, 1], color=MUTED, linewidth=1, zorder=1)
        output = (wheel.psi - wheel.common) % 1.0
        level = np.ceil(DOT_SIZES * np.sqrt(wheel.weight / wheel.weight.max()))
        for size in sorted(set(level.tolist())):  # few sizes make a small file
            rows = level == size
            panel.scatter(
                wheel.phase[rows],
                output[rows],
                s=4 + 46 * size / DOT_SIZES,
                color=BLUE,
                alpha=0.45,
                linewidths=0,
                zorder=2,
            )
        f = facts[wheel.frequency]
        panel.set_title(f"k = {wheel.frequency}: rms distance from the line {360 * f.angle_rms:.2f}°")
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1)
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        panel.set_xlabel("input phase φ (turns)")
        panel.set_ylabel("output phase ψ − c (turns)")
    return figure


def _profile(view: View) -> Figure:
    shown = _shown(view)
    circuit, certificate = view.subject.circuit, view.subject.certificate
    figure, axes = _panels(len(shown), 2.6)
    grid = np.linspace(0, 1, 401)
    colours = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
    for panel, wheel in zip(axes, shown, strict=True):
        x, y = translated(circuit, certificate, wheel, 0)
        families = sorted(set(wheel.families.tolist()))
        for place, index in enumerate(families):
            rows = wheel.families == index
            weight = wheel.weight[rows]
            points = np.stack([x[rows].ravel(), y[rows].ravel()])
            # Neurons that matter first: a fixed choice, no random numbers.
            rank = np.repeat(-weight, x.shape[1]).argsort(kind="stable")[:POINTS]
            colour = colours[place % len(colours)]
            xs, ys = points[:, rank]
            panel.scatter(xs, ys, s=2.6, color=colour, alpha=0.3, linewidths=0, rasterized=True)
            panel.plot(grid, profile_value(certificate.families[index], 0.0, grid), color=INK, linewidth=1.2)
        panel.plot(grid, 2 * np.cos(2 * np.pi * grid), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        f = next(f for f in view.mechanism.frequencies if f.frequency == wheel.frequency)
        panel.set_title(f"k = {wheel.frequency}: DC {f.dc:+.3f}, 2nd harmonic {f.second:.3f}")
        panel.set_xlim(0, 1)
        panel.set_ylim(-2.9, 2.9)
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
        panel.set_xlabel("φ + kb/p  (turns), a = b")
        panel.set_ylabel("pre-activation / α")
    axes[0].text(0.5, 2.45, "dots: neurons   line: profile   dashed: cosine", ha="center", fontsize=7.5)
    return figure


TERM_NAMES = {
    "quadrature": "quadrature",
    "profile": "profile",
    "other_frequencies": "other frequencies",
    "band": "band (ReLU lemma)",
    "output_residual": "output residual",
    "skip": "skip",
    "fixed_point": "fixed point",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the waterfall: a change of the margin, or with `total` the level reached."""

    name: str
    value: Fraction
    total: bool


def waterfall(evidence: Evidence) -> tuple[Step, ...]:
    """From the closed form's own margin through the naive bound to the certified margin.

    A logit's error counts twice in a margin. Totals are proved lower bounds of the least margin; the last is the
    kernel's.
    """
    conclusion, m = evidence.conclusion, evidence.form_margin
    logits, accuracy = conclusion.logits, conclusion.accuracy
    steps = [Step("closed form alone", m, True)]
    others = Fraction(0)
    for name, value in logits.budget.items():
        if name != "quadrature" and (size := term_total(value)):
            steps.append(Step(f"− {TERM_NAMES[name]}", -2 * size, False))
            others += size
    naive = fraction(logits.naive)
    steps.append(Step("− quadrature, naive bound", -2 * (naive - others), False))
    steps.append(Step("naive margin", m - 2 * naive, True))
    error = naive
    for method in ("rectangle", "harmonic", "arc_sum"):
        better = min(error, method_error(conclusion, method))
        steps.append(Step(f"+ {method.replace('_', ' ')} bound", 2 * (error - better), False))
        error = better
    direct = min(error, fraction(logits.max_error))
    steps.append(Step("+ terms at one input, not each at its worst", 2 * (error - direct), False))
    level = m - 2 * direct
    margin, rounding = fraction(accuracy.min_margin), 2 * fraction(accuracy.floating_point)
    steps.append(Step("+ output by output (Theorem A)", margin + rounding - level, False))
    if rounding:
        steps.append(Step("− rounding when executed (Theorem F)", -rounding, False))
    steps.append(Step("certified margin", margin, True))
    return tuple(steps)


def _budget(view: View) -> Figure:
    steps = waterfall(view.evidence)
    figure = Figure(figsize=(WIDTH, 0.31 * len(steps) + 0.9), layout="constrained")
    axes = figure.subplots()
    level = 0.0
    low = min(0.0, *(float(s.value) for s in steps if s.total))
    high = max(float(s.value) for s in steps if s.total)
    span = high - low
    for place, step in enumerate(steps):
        value = float(step.value)
        if step.total:
            start, width, level = 0.0, value, value
            colour = BLUE
        else:
            start, width = level, value
            level += value
            colour = GREEN if value >= 0 else ORANGE
        axes.barh(place, width, left=start, height=0.66, color=colour, zorder=2)
        end = max(start, start + width)
        label = f"{_floor(value):.2f}" if step.total else f"{value:+.2f}" if abs(value) >= 0.005 else f"{value:+.0e}"
        box = {"boxstyle": "round,pad=0.12", "facecolor": PAPER, "edgecolor": "none"}
        axes.text(end + 0.012 * span, place, label.replace("-", "−"), va="center", fontsize=8, bbox=box, zorder=4)
        if place + 1 < len(steps):
            axes.plot([level, level], [place + 0.33, place + 0.67], color=MUTED, linewidth=0.8, zorder=1)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=3)
    axes.set_yticks(range(len(steps)), [step.name for step in steps])
    for tick, step in zip(axes.get_yticklabels(), steps, strict=True):
        tick.set_fontweight("bold" if step.total else "normal")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    lowest = low
    reach = 0.0
    for step in steps:
        reach = float(step.value) if step.total else reach + float(step.value)
        lowest = min(lowest, reach)
    axes.set_xlim(lowest - 0.02 * span, high + 0.12 * span)
    axes.set_xlabel("lower bound of the least margin (logit of a + b minus the best other logit)")
    return figure


def _margins(view: View) -> Figure:
    conclusion = view.evidence.conclusion
    p = conclusion.p
    margins = np.array(
        [[math.ldexp(x, conclusion.margin_exponent) for x in row] for row in conclusion.margins], dtype=np.float64
    )
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.subplots()
    proved = np.array([[x > 0 for x in row] for row in conclusion.margins])
    shown = np.ma.masked_where(~proved, margins)
    colours = mpl.colormaps["viridis"].with_extremes(bad="#f3f5f7")
    top = float(margins.max()) if proved.any() else 1.0
    image = axes.imshow(
        shown.T, origin="lower", cmap=colours, vmin=0.0, vmax=top, interpolation="nearest", aspect="equal"
    )
    failing = np.argwhere(~proved)
    if len(failing):
        size = min(60.0, 2.2e4 / p**2)
        axes.scatter(failing[:, 0], failing[:, 1], marker="x", s=size, color=RED, linewidths=1.0)
    axes.grid(visible=False)
    axes.set_xlabel("a")
    axes.set_ylabel("b")
    certified = int(proved.sum())
    note = "" if certified == p * p else f"; {p * p - certified} not certified (crosses)"
    axes.set_title(f"{certified} of {p * p} inputs certified{note}")
    bar = figure.colorbar(image, ax=axes, shrink=0.86, pad=0.02)
    bar.set_label("certified margin (lower bound)")
    bar.outline.set_visible(False)
    worst = np.unravel_index(int(margins.argmin()), margins.shape)
    axes.plot([worst[0]], [worst[1]], marker="o", markersize=7, markerfacecolor="none", markeredgecolor=RED)
    axes.annotate(
        f"least: {_floor(margins.min()):.2f}",
        (float(worst[0]), float(worst[1])),
        textcoords="offset points",
        xytext=(8 if worst[0] < p * 0.7 else -8, 8 if worst[1] < p * 0.85 else -14),
        ha="left" if worst[0] < p * 0.7 else "right",
        color=PAPER,
        fontsize=8,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "#3a4754", "edgecolor": "none"},
    )
    return figure


def _floor(x: float) -> float:
    return math.floor(x * 100) / 100


MARKERS = {"naive": "s", "rectangle": "D", "harmonic": "^", "arc sum": "o", "linear": "P", "refined": "X"}
METHOD_COLOURS = {
    "naive": MUTED,
    "rectangle": ORANGE,
    "harmonic": GREEN,
    "arc sum": BLUE,
    "linear": PURPLE,
    "refined": RED,
    "exhaustive": INK,
}


def _cost(view: View) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    _rule_frontier(left, view)
    _network_frontier(right, view)
    return figure


def _rule_frontier(axes: Axes, view: View) -> None:
    """Theorem Q alone: operations per neuron against the relative bound of every frequency."""
    conclusion = view.evidence.conclusion
    neurons = sum(rule.neurons for rule in conclusion.quadrature)
    naive = 4 / (3 * math.pi)
    measured = {f.frequency: f.rule_error for f in view.mechanism.frequencies}
    lowest = 1.0
    for name in ("rectangle", "harmonic", "arc sum"):
        cost = conclusion.operations[f"quadrature: {name}"] / neurons
        values = [float(fraction(getattr(rule, name.replace(" ", "_")))) / naive for rule in conclusion.quadrature]
        lowest = min(lowest, *values)
        axes.plot([cost] * len(values), values, MARKERS[name], color=METHOD_COLOURS[name], label=name)
    every = [measured[rule.frequency] for rule in conclusion.quadrature]
    axes.plot([2 * conclusion.p] * len(every), every, "_", color=INK, markersize=10, label="every offset (estimate)")
    axes.axhline(1, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    axes.text(0.98, 1.05, "naive", transform=axes.get_yaxis_transform(), ha="right", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(lowest / 4, 1.7)
    axes.legend(loc="lower center", ncols=2, handletextpad=0.3, columnspacing=1.2)
    _plain_log(axes.xaxis)
    _plain_log(axes.yaxis)
    axes.set_xlabel("operations per neuron")
    axes.set_ylabel("quadrature bound / naive bound")
    axes.set_title("One frequency at a time (Theorem Q)")


def _network_frontier(axes: Axes, view: View) -> None:
    """The network: operations per parameter against the proved lower bound of the least margin."""
    evidence = view.evidence
    parameters = evidence.conclusion.parameters
    values = [float(s.margin) for s in evidence.strategies]
    costs = [s.operations / parameters for s in evidence.strategies]
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=10, linscale=0.8)
    axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    axes.set_ylim(1.8 * min(-10.0, *values), 2.5 * max(10.0, *values))
    for strategy, cost, value in zip(evidence.strategies, costs, values, strict=True):
        marker = MARKERS.get(strategy.name, "*")
        axes.plot([cost], [value], marker, color=METHOD_COLOURS[strategy.name], markersize=10 if marker == "*" else 7)
    for place, (strategy, cost, value) in _spread(axes, list(zip(evidence.strategies, costs, values, strict=True))):
        axes.annotate(
            f"{strategy.name}  {_floor(value):.1f}".replace("-", "−"),
            (cost, value),
            textcoords="axes fraction",
            xytext=(1.04, place),
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 2, "shrinkB": 5},
        )
    axes.text(0.01, 1.2, "proved above this line", transform=axes.get_yaxis_transform(), fontsize=7.5, color=MUTED)
    _plain_log(axes.xaxis)
    ticks = [t for size in (1, 10, 100, 1000) for t in (-size, size) if size >= 10]
    shown = [t for t in sorted([*ticks, 0]) if axes.get_ylim()[0] <= t <= axes.get_ylim()[1]]
    axes.set_yticks(shown, [f"{t}".replace("-", "−") for t in shown])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("operations per parameter")
    axes.set_ylabel("least margin, lower bound")
    axes.set_title("The whole network, every input")


Point = tuple[Strategy, float, float]


def _spread(axes: Axes, points: list[Point]) -> list[tuple[float, Point]]:
    """A height for the label of each (strategy, cost, margin), as a fraction of the panel, none upon another."""
    to_fraction = axes.transScale + axes.transLimits
    wanted = [(float(to_fraction.transform((cost, value))[1]), index) for index, (_, cost, value) in enumerate(points)]
    placed: list[tuple[float, Point]] = []
    top = 1.0
    for place, index in sorted(wanted, reverse=True):
        top = min(place, top - LABEL_GAP)
        placed.append((top, points[index]))
    low = min(place for place, _ in placed)
    return [(place - min(0.0, low), point) for place, point in placed]


def _plain_log(axis: Axis) -> None:
    """Ticks at 1, 2, 5, 10, … written out."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(NullLocator())


FIGURES: dict[str, Drawing] = {
    "quadrature": Drawing(
        "Neurons as rectangles",
        "Each neuron of a frequency is a rectangle: its width is its share of the weight, its height what it adds to "
        "the "
        "right logit. Together they stand for the integral under ReLU(cos)·cos, which is 1/3π. Shown for an idealised "
        "cosine neuron with the model's phases and weights (estimate).",
        False,
        _quadrature,
    ),
    "phases": Drawing(
        "Input phase against output phase",
        "A neuron that reads its input at phase φ writes its output at phase ψ = 2φ + c; the lines are exactly that. "
        "Dot "
        "size is the neuron's weight (estimate).",
        False,
        _phases,
    ),
    "profile": Drawing(
        "One profile for all neurons of a family",
        "Pre-activations of all neurons of a frequency, divided by their amplitude and shifted by their phase, at a "
        "= b. "
        "The profile has a DC term and a second harmonic, so it is not a pure cosine (estimate).",
        False,
        _profile,
    ),
    "budget": Drawing(
        "From the naive margin to the certified one",
        "What each part of the argument costs or gains on the least margin, in logits; an error of a logit counts "
        "twice. "
        "The naive and the certified margin are proved lower bounds of the network's least margin over all inputs; the "
        "first bar is the closed form's own. Before Theorem A, outputs beyond p are not looked at.",
        True,
        _budget,
    ),
    "margins": Drawing(
        "Certified margin of every input",
        "A lower bound of the right logit minus the best other one, by a and b. Inputs that are not certified have a "
        "cross.",
        True,
        _margins,
    ),
    "cost": Drawing(
        "Cost of a proof against what it proves",
        "Left: Theorem Q's bound of one frequency's rule, by method. Right: the least margin that each strategy "
        "proves. "
        "Operations are counted by the kernel; the exhaustive strategy evaluates every input. "
        "The first four do not look at outputs beyond p.",
        True,
        _cost,
    ),
}

__all__ = ["FIGURES", "Drawing", "Step", "View", "render", "waterfall"]
