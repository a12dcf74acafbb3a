"""docs/benchmarks.md and its figures, from the measurements."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.measure import STAGES
from verifier.files import write_atomically
from verifier.kernel import events, limits

PAGE, FIGURES = Path("docs/benchmarks.md"), Path("docs/figures")
TARGETS = {(59, 512): 1.0, (113, 512): 2.0, (251, 1024): 8.0, (509, 2048): 35.0, (1021, 4096): 130.0}
Case = dict[str, Any]

TEXT = """# Benchmarks

How long a whole check takes, from the bytes of model, claim and certificate to the conclusion, against the fastest
brute force: matrix products in binary64 or binary32 with a proved rounding bound (`benchmarks/brute.py`). Written by
`make bench`; nothing on this page is typed by hand but the words.

## Against brute force

Processor time in milliseconds, one thread, the least of several rounds in which the methods take turns. Folding the
network counts on both sides. *Ratio* is float64, folded, over the check: above 1 the check is faster. *Stream*
multiplies by W_out and W_U in turn, which is less work where the residual stream is narrower than the outputs are many.

{main}

A star: brute force was measured on some of the p values of a, and scaled. Synthetic circuits are pizza networks with 6
frequencies and 1 % noise (`benchmarks/synthetic.py`). Certificates are asked for a quarter of the true least margin,
which is what certifying every input needs (shipped ones keep nearly all of it, with more output directions); finding
them is not part of the time. *Certified* is the check's share of the inputs.

![Processor time against parameters]({scaling})

**Targets.** {targets}

**Linear?** Nanoseconds per parameter plus event, synthetic circuits from 10⁵ parameters: {each}.
Largest over smallest: {spread}, where 1.5 was wanted. It falls with size: what is fixed (Theorem Q and the integrals,
the calls of numpy) weighs less and less.

What is missing, where a target was missed. At p = 59 brute force is nine milliseconds of one matrix product; the check
is many small steps, none of which is above a third of the whole (see the stages): more of them would have to be
compiled, which would double the C that has to be trusted. At p = 113 the time is that and the conversion of every logit
from the product's binary64 to integers. At the largest sizes half of the time is event sums: sorting A and −B together
(136 ms at p = 1021), building the events, the jumps themselves (275 ms), and adding the sums of all inputs, 108 MB at
p = 1021, twice for every frequency (150 ms). Sums of 32 bits are too narrow; fewer passes would need all frequencies
in one order, with more events. Where the certificate leaves inputs unproved (see the table), the ratio ignores that.

**Learned attention.** {clock}

## Where the time goes

Milliseconds by stage, in the order of the check; *rest* is hashing, explaining and writing the conclusion.

{stages}

## Noise

Events are what Lemma E sums. With noise on the entries of A and B, neighbours in an order trade places, the more the
larger noise times p is: the check then costs more than its parameters. A linear check takes at most {limit} events for
every entry of A and B, some {most:.0f} per parameter; beyond, it is refused, and what is left is the exact strategy.

{noise}

![Events per parameter against noise times p]({noisy})

## The machine

{machine}. Its processors are shared, so that single rounds vary by a third.
"""

CLOCK = """The published clock is checked in binary32 by one dense pass (strategy `semi-linear`, {directions} output
directions) in {check} ms: {certified} of the inputs, least margin {margin}. Brute force takes {brute} ms in binary64
({share}, {true}): softmax at all p² inputs, what each head writes through W_in as a table, every logit, and a rounding
bound that goes through the scores (`benchmarks/learned.py`). So the check is {verdict}, where faster was wanted. The
dense pass alone takes {dense} ms. What brute force does not have is: folding in integers with error radii ({fold} ms),
Theorem F ({rounding} ms), Theorem Q, the integrals and the closed form ({form} ms)."""


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f}" if seconds >= 0.1 else f"{1000 * seconds:.1f}"


def _main(cases: list[Case]) -> str:
    methods = ("check", "float64", "float32", "float64, stream", "float32, stream")
    several = any(len(case["settings"]) > 1 for case in cases)
    rows = []
    for case in cases:
        star = "\\*" if case["name"].startswith("synthetic") and case["p"] > 113 else ""
        for setting, found in case["settings"].items():
            seconds = found["seconds"]
            times = [_ms(seconds.get(m)) + (star if m != "check" else "") for m in methods[:3]]
            times += [_ms(seconds.get(m)) for m in methods[3:]]
            share = f"{100 * found['certified'] / case['p'] ** 2:.4g} %"
            ratio = f"**{seconds['float64'] / seconds['check']:.3g}**"
            kernel = [f"{setting}: {found['blas'].split()[-1]}"] if several else []
            memory = f"{found['peak_bytes'] >> 20:,}"
            rows.append([case["name"], *kernel, f"{case['parameters']:,}", *times, ratio, share, memory])
    kernel = ["OpenBLAS variables"] if several else []
    return _table(["network", *kernel, "parameters", *methods, "ratio", "certified", "peak MiB"], rows)


def _targets(cases: list[Case]) -> str:
    found = []
    for case in cases:
        wanted = TARGETS.get((case["p"], case["n"]))
        if wanted is not None and case["name"].startswith("synthetic"):
            ratio = case["seconds"]["float64"] / case["seconds"]["check"]
            verdict = "reached" if ratio >= wanted else f"missed by a factor of {wanted / ratio:.2g}"
            found.append([f"{case['p']}, {case['n']}", f"{wanted:g}", f"{ratio:.3g}", verdict])
    return "Ratio of float64 brute force to the whole check:\n\n" + _table(("p, n", "wanted", "measured", ""), found)


def _clock(cases: list[Case]) -> str:
    """Of the published clock, if it was there."""
    found = [case for case in cases if case["name"] == "published clock"]
    if not found:
        return "No published clock was there to be measured."
    (case,) = found
    seconds, (share, margin) = case["seconds"], case["brute"]["float64"]
    ratio, stages = seconds["float64"] / seconds["check"], case["stages"]
    return CLOCK.format(
        dense=_ms(stages["dense pass"]),
        fold=_ms(stages["fold, quantise"]),
        rounding=_ms(stages["Theorem F"]),
        form=_ms(stages["quadrature"] + stages["closed form"] + stages["logits"]),
        directions=case["directions"],
        check=_ms(seconds["check"]),
        certified=f"{100 * case['certified'] / case['p'] ** 2:.4g} %",
        margin=f"{case['margin']:.2f}",
        brute=_ms(seconds["float64"]),
        share=f"{100 * share:.4g} %",
        true=f"{margin:.2f}",
        verdict=f"{ratio:.2g} times faster" if ratio > 1 else f"{1 / ratio:.2g} times slower",
    )


def _stages(cases: list[Case]) -> str:
    rows = []
    for case in cases:
        parts = [case["stages"].get(name, 0.0) for name in STAGES]
        parts.append(max(0.0, case["seconds"]["check"] - sum(parts)))
        rows.append([case["name"], str(case["directions"]), *map(_ms, parts)])
    return _table(["network", "directions", *STAGES, "rest"], rows)


def _noise(noisy: list[Case]) -> str:
    rows = []
    for case in noisy:
        row = [f"{case['p']}, {case['n']}", f"{100 * case['noise']:g} %"]
        if "refused" in case:
            rows.append([*row, "–", "–", "–", "refused"])
            continue
        per, share = case["events"] / case["parameters"], 100 * case["certified"] / case["p"] ** 2
        row += [f"{per:.2f}", str(case["directions"]), _ms(case["seconds"]["check"]), f"{share:.4g} %"]
        rows.append(row)
    return _table(("p, n", "noise", "events per parameter", "directions", "check, ms", "certified"), rows)


def _draw(cases: list[Case], noisy: list[Case]) -> tuple[str, str]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("Agg")
    names = ("benchmark-scaling.svg", "benchmark-noise.svg")
    with mpl.rc_context({"svg.hashsalt": "benchmark", "axes.spines.top": False, "axes.spines.right": False}):
        figures = [Figure(figsize=(6.4, 3.8), layout="constrained") for _ in names]
        time, noise = (figure.subplots() for figure in figures)
        for method, colour, marker in (
            ("float64", "#b5483a", "s"),
            ("float32", "#d9a38f", "^"),
            ("check", "#1f4e79", "o"),
        ):
            x, y = zip(*((case["parameters"], case["seconds"][method]) for case in cases), strict=True)
            label = method if method == "check" else f"brute force, {method}"
            time.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1, label=label)
        time.set(xscale="log", yscale="log", xlabel="circuit parameters", ylabel="processor seconds")
        for p, colour in zip(sorted({case["p"] for case in noisy}), ("#9db8d3", "#4f81b0", "#1f4e79"), strict=False):
            own = [case for case in noisy if case["p"] == p and "refused" not in case]
            x, y = zip(*((case["noise"] * p, case["events"] / case["parameters"]) for case in own), strict=True)
            noise.plot(x, y, color=colour, marker="o", markersize=4, linewidth=1, label=f"p = {p}")
        noise.set(xscale="log", yscale="log", xlabel="noise × p", ylabel="events per parameter")
        for name, figure, axes in zip(names, figures, (time, noise), strict=True):
            axes.grid(visible=True, linewidth=0.3)
            axes.legend(frameon=False, fontsize=8)
            buffer = BytesIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
            write_atomically(FIGURES / name, buffer.getvalue())
    return f"figures/{names[0]}", f"figures/{names[1]}"


def machine(cases: list[Case]) -> str:
    information, processor = Path("/proc/cpuinfo"), platform.machine()
    if information.exists():
        lines = [line for line in information.read_text("utf-8", "replace").splitlines() if "model name" in line]
        processor = lines[0].partition(":")[2].strip() if lines else processor
    import numpy as np

    loop = "compiled" if events.COMPILED is not None else "in numpy and scipy (no compiler)"
    kernels = {f"{setting}: {found['blas']}" for case in cases for setting, found in case["settings"].items()}
    return (
        f"{processor}, {os.cpu_count()} virtual processors, {platform.system()}, Python {platform.python_version()}, "
        f"numpy {np.__version__}; the loop of Lemma E is {loop}; BLAS with the OpenBLAS variables "
        + "; ".join(sorted(kernels))
    )


def write(cases: list[Case], noisy: list[Case]) -> None:
    made = [case for case in cases if case["name"].startswith("synthetic")]
    scaling, picture = _draw(made, noisy)
    large = [case for case in made if case["parameters"] >= 9 * 10**4]
    each = [1e9 * case["seconds"]["check"] / (case["parameters"] + case["events"]) for case in large]
    shares = ", ".join(f"{x:.0f} ({case['p']}, {case['n']})" for x, case in zip(each, large, strict=True))
    text = TEXT.format(
        main=_main(cases), scaling=scaling, targets=_targets(cases), each=shares, spread=f"{max(each) / min(each):.2f}",
        clock=_clock(cases), stages=_stages(cases), limit=limits.EVENTS_PER_ENTRY,
        most=2 * limits.EVENTS_PER_ENTRY / 3, noise=_noise(noisy), noisy=picture, machine=machine(cases),
    )  # fmt: skip
    write_atomically(PAGE, text.encode("utf-8"))
