"""The report: one HTML file with everything inline, that opens from the file system and asks the network for nothing.

Text that comes from a file (names, digests) is escaped. The page's own security policy forbids it to load anything.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from fractions import Fraction
from html import escape
from importlib.resources import files
from string import Template

from verifier import __version__
from verifier.errors import one_line
from verifier.kernel.conclusion import Conclusion, Dyadic
from verifier.proof.kernel import conclusion_value
from verifier.report.bounds import Evidence, InputBounds, operations_of, term_total
from verifier.report.facts import Mechanism
from verifier.report.figures import (
    BLUE,
    FIGURES,
    GREEN,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    View,
    render,
)
from verifier.report.subject import Subject
from verifier.results import BUDGET_NAMES, NAIVE, fraction, lower, total, upper

DIGITS = 4
COLOURS = {
    PAPER: "var(--paper)",
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    RED: "var(--red)",
    PURPLE: "var(--purple)",
    SKY: "var(--sky)",
}
"""Colours of the figures by the page's, so that they follow light and dark."""

FREQUENCY_HEAD = (
    "k",
    "neurons",
    "share of the logits",
    "unexplained",
    "phases off uniform",
    "largest gap",
    "ψ off 2φ (rms)",
    "DC",
    "second harmonic",
)


def page(view: View, inputs: InputBounds) -> str:
    """The report as HTML."""
    subject, evidence, conclusion = view.subject, view.evidence, view.evidence.conclusion
    figures = {name: _figure(name, number, view) for number, name in enumerate(FIGURES, start=1)}
    proved = evidence.outcome.proved
    fields = {
        "title": f"{_text(subject.source.name)}: certified margins",
        "style": _asset("page.css"),
        "script": _asset("page.js"),
        "name": _text(subject.source.name),
        "verdict_class": "good" if proved else "bad",
        "verdict": "Proved:" if proved else "Not proved:",
        "verdict_detail": _verdict(evidence),
        "theorem": _text(_theorem(evidence)),
        "numbers": _numbers(evidence),
        "signature": _signature(subject, conclusion),
        "files": _files(subject, conclusion),
        "command_why": "To verify the proof, run"
        if _is_signed(subject)
        else "To certify the model and sign the proof, run",
        "command": _text(_command(subject)),
        "plain": _plain(evidence),
        "mechanism": _mechanism(view.mechanism),
        "frequency_head": "".join(f'<th scope="col">{_text(name)}</th>' for name in FREQUENCY_HEAD),
        "frequency_rows": _rows(_frequency_cells(view.mechanism)),
        "unexplained": _unexplained(view.mechanism),
        "quadrature_rows": _rows(_quadrature_cells(conclusion, view.mechanism)),
        "budget_rows": _budget_rows(conclusion),
        "figures_mechanism": "\n".join(figures[name] for name in ("quadrature", "phases", "profile")),
        "figures_bounds": figures["budget"],
        "figures_map": figures["margins"],
        "figures_cost": figures["cost"],
        "cost": _cost(conclusion, evidence),
        "cost_rows": _rows(_cost_cells(conclusion)),
        "footer": _text(f"Made by verifier {__version__}. The page is self-contained: it loads nothing."),
        "data": _data(conclusion, inputs),
    }
    return Template(_asset("page.html")).substitute(fields)


def _asset(name: str) -> str:
    return (files("verifier.report") / "assets" / name).read_text(encoding="utf-8").strip()


def _text(text: str) -> str:
    """Text as HTML: control characters written out, markup escaped."""
    return escape(one_line(text, limit=1 << 20))


def _rows(cells: Iterable[Sequence[str]]) -> str:
    return "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in cells)


def _verdict(evidence: Evidence) -> str:
    accuracy, claim = evidence.conclusion.accuracy, evidence.conclusion.claim
    words = f"{accuracy.certified_inputs} of {accuracy.total_inputs} inputs certified"
    if evidence.outcome.proved:
        return _text(
            f"{words} ({claim.certified_inputs} claimed), {accuracy.semantics} arithmetic; least margin at least "
            f"{lower(accuracy.min_margin, DIGITS)}."
        )
    return _text(f"{evidence.outcome.failure}. {words[0].upper()}{words[1:]}.")


def _theorem(evidence: Evidence) -> str:
    """The kernel's own sentence. What the kernel concluded is true even when the claim asked for more."""
    return evidence.conclusion.theorem()


def _numbers(evidence: Evidence) -> str:
    conclusion = evidence.conclusion
    accuracy = conclusion.accuracy
    worst = max((rule.relative_bound for rule in conclusion.quadrature), key=fraction)
    items = [
        ("certified inputs", f"{accuracy.certified_inputs} / {accuracy.total_inputs}"),
        ("least margin, at least", lower(accuracy.min_margin, DIGITS)),
        ("a logit is within … of its closed form", upper(conclusion.logits.max_error, DIGITS)),
        ("worst quadrature bound / naive", upper(worst, DIGITS)),
        ("operations per parameter", _ratio(sum(conclusion.operations.values()), conclusion.parameters)),
    ]
    if evidence.exact is not None and evidence.exact.accuracy.true_min_margin is not None:
        items.insert(2, ("true least margin, exhaustive", lower(evidence.exact.accuracy.true_min_margin[0], DIGITS)))
    return "\n".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in items)


def _plain(evidence: Evidence) -> str:
    conclusion = evidence.conclusion
    accuracy = conclusion.accuracy
    words = (
        f"In other words: whichever of the {accuracy.certified_inputs} certified pairs is put in, the network's "
        "answer is the sum. "
        f"No logit is further than logits.max_error = {upper(conclusion.logits.max_error, DIGITS)} from a formula "
        "with one wave "
        "per frequency, up to a shift that all logits share; nothing in the network is left out of that bound."
    )
    if accuracy.certified_inputs < accuracy.total_inputs:
        missing = accuracy.total_inputs - accuracy.certified_inputs
        words += f" About the other {missing} pairs nothing is proved; the network may be right or wrong there."
    return _text(words)


def _is_signed(subject: Subject) -> bool:
    return subject.folder is not None and subject.signed is not None and subject.signed.about_these_files


def _signature(subject: Subject, conclusion: Conclusion) -> str:
    signed = subject.signed
    if signed is None:
        return "There is no signed proof beside the certificate; the kernel was run for this page."
    if not signed.about_these_files:
        return _text(
            f"{signed.path} is about other files than the ones named below. It does not count for them; certify the "
            "model again."
        )
    same = (
        "the same conclusion" if signed.conclusion == conclusion_value(conclusion.document()) else "ANOTHER conclusion"
    )
    return _text(
        f"{signed.path} says it was signed by {signed.keyid} and names the three digests below. The kernel was run "
        "for this page "
        f"and reached {same}. The signature was not verified for this page: whose signature counts is your decision."
    )


def _files(subject: Subject, conclusion: Conclusion) -> str:
    folder = subject.folder
    rows = [
        ("model", str(subject.source.path), conclusion.model_sha256),
        ("claim", str(folder / "claim.json") if folder else "every input, linear strategy", conclusion.claim_sha256),
        ("certificate", str(folder / "certificate.json") if folder else "made now", conclusion.certificate_sha256),
    ]
    if subject.source.imported:
        rows[0] = ("model", f"{subject.source.path}, translated from {subject.source.imported}", rows[0][2])
    return "\n".join(
        f'<tr><th scope="row">{_text(kind)}</th><td class="text">{_text(name)}</td>'
        f'<td class="hash">{_text(digest)}</td></tr>'
        for kind, name, digest in rows
    )


def _command(subject: Subject) -> str:
    model = shlex.quote(str(subject.source.path))
    if subject.folder is None or subject.signed is None or not subject.signed.about_these_files:
        return f"verifier certify {model}"
    proof = shlex.quote(str(subject.signed.path))
    policy = shlex.quote(str(subject.folder.parent / "policy.toml"))
    return f"verifier verify {proof} --model {model} --policy {policy}"


def _mechanism(m: Mechanism) -> str:
    names = ", ".join(str(f.frequency) for f in m.frequencies)
    return _text(
        f"The network has {m.neurons} neurons in {len(m.frequencies)} frequencies k = {names}. A neuron of frequency "
        "k with phase φ "
        "sees a and b as cos 2π(ka/p + φ) + cos 2π(kb/p + φ), which is a cosine of the average angle; ReLU keeps its "
        "positive "
        "half, and the output weights write it back with twice the phase. The neurons' phases are spread over the "
        "circle, so "
        "their sum is a quadrature rule for an integral that is largest at c = a + b."
    )


def _frequency_cells(m: Mechanism) -> list[tuple[str, ...]]:
    return [
        (
            str(f.frequency),
            str(f.neurons),
            f"{f.share:.2%}",
            f"{f.unexplained:.3%}",
            f"{f.kuiper:.3f}",
            f"{360 * f.largest_gap:.1f}°",
            f"{360 * f.angle_rms:.2f}°",
            f"{f.dc:+.3f}",
            f"{f.second:.3f}",
        )
        for f in m.frequencies
    ]


def _unexplained(m: Mechanism) -> str:
    return _text(
        f"Estimated: {m.unexplained:.2%} of the variance of the logits is not the closed form's ({m.other_share:.3%} "
        "is at frequencies "
        f"no family has); {m.correct} of {m.looked_at} inputs are answered correctly, with a least margin of "
        f"{m.least_margin:.2f}; "
        f"a logit is at most {m.largest_deviation:.2f} from its closed form. {m.on} neurons are taken as linear, "
        f"{m.off} as "
        f"zero, and {m.outliers} are evaluated exactly at each input. Phases off uniform is Kuiper's statistic, 0 "
        "for a perfect spread."
    )


def _quadrature_cells(conclusion: Conclusion, m: Mechanism) -> list[tuple[str, ...]]:
    measured = {f.frequency: f.rule_error for f in m.frequencies}
    naive = float(fraction(NAIVE))
    return [
        (
            str(rule.frequency),
            str(rule.neurons),
            upper(NAIVE, DIGITS),
            upper(rule.rectangle, DIGITS),
            upper(rule.harmonic, DIGITS),
            upper(rule.arc_sum, DIGITS),
            upper(rule.relative_bound, DIGITS),
            f"{measured[rule.frequency] * naive:.4f}",
        )
        for rule in conclusion.quadrature
    ]


def _budget_rows(conclusion: Conclusion) -> str:
    budget = conclusion.logits.budget
    whole = sum(map(term_total, budget.values()), Fraction(0))
    rows = []
    for name, value in budget.items():
        bound = total([value] if isinstance(value, Dyadic) else value.values())
        share = float(fraction(bound) / whole) if whole else 0.0
        rows.append(
            f"<tr><td>{_text(BUDGET_NAMES.get(name, name))}</td><td>{_text(upper(bound, DIGITS))}</td>"
            f'<td class="bar"><span style="width:{100 * share:.2f}%"></span></td></tr>'
        )
    for name, whole_bound in (
        ("all terms at one input together (the theorem's bound)", conclusion.logits.max_error),
        ("the same with the naive quadrature bound", conclusion.logits.naive),
    ):
        rows.append(
            f'<tr class="total"><td>{_text(name)}</td><td>{_text(upper(whole_bound, DIGITS))}</td><td></td></tr>'
        )
    return "\n".join(rows)


def _cost(conclusion: Conclusion, evidence: Evidence) -> str:
    operations = sum(conclusion.operations.values())
    words = (
        f"The kernel used {operations:,} operations for {conclusion.parameters:,} circuit parameters, "
        f"{_ratio(operations, conclusion.parameters)} per parameter."
    )
    if evidence.exact is not None:
        brute = operations_of(evidence.exact)
        words += f" Evaluating every input takes {brute:,} ({_ratio(brute, conclusion.parameters)} per parameter)."
    return _text(words + " Operations on lanes and balls are counted alike, whatever their width.")


def _cost_cells(conclusion: Conclusion) -> list[tuple[str, ...]]:
    steps = sorted(conclusion.operations.items(), key=lambda step: (-step[1], step[0]))
    return [(name, f"{count:,}", _ratio(count, conclusion.parameters)) for name, count in steps if count]


def _ratio(numerator: int, denominator: int) -> str:
    """A quotient rounded up."""
    tenths = -(-10 * numerator // denominator)
    return f"{tenths // 10:,}.{tenths % 10}"


def _figure(name: str, number: int, view: View) -> str:
    drawing = FIGURES[name]
    picture = inline_svg(render(name, view, "svg").decode("utf-8"), name, drawing.title)
    return (
        f'<figure class="wide" id="figure-{name}">\n{picture}\n'
        f"<figcaption><strong>Figure {number}. {_text(drawing.title)}.</strong> {_text(drawing.caption)}"
        "</figcaption>\n</figure>"
    )


def inline_svg(text: str, name: str, title: str) -> str:
    """An SVG file of ours as an element of the page: ids made its own, colours taken from the page."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    for colour, variable in COLOURS.items():
        text = text.replace(colour, variable)
    # matplotlib leaves black, the default, to the renderer.
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def _data(conclusion: Conclusion, inputs: InputBounds) -> str:
    """The margin map's data as JSON that cannot end the script element."""
    fixed = conclusion.logits.budget["fixed_point"]
    budget: list[tuple[str, object]] = [
        ("families' frequencies: quadrature and profile", _flat(inputs.families)),
        ("other frequencies", _flat(inputs.others)),
        ("band: neurons near their kink", _flat(inputs.band)),
        ("rest of the outputs and the skip", _flat(inputs.rest)),
        ("fixed point", _hundredths(fixed) if isinstance(fixed, Dyadic) else 0),
    ]
    document = {
        "p": conclusion.p,
        "margins": _flat(inputs.margins),
        "failing": [i for i, x in enumerate(_flat(conclusion.margins)) if x <= 0],
        "budget": budget,
        "rivals": None if inputs.rivals is None else base64.b64encode(inputs.rivals).decode("ascii"),
        "low": float(_down(inputs.low)),
        "step": float(_down(inputs.step)),
    }
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")


def _flat(rows: Sequence[Sequence[int]]) -> list[int]:
    return [x for row in rows for x in row]


def _hundredths(value: Dyadic) -> int:
    scaled = 100 * fraction(value)
    return -(-scaled.numerator // scaled.denominator)


def _down(value: Fraction) -> Fraction:
    """Rounded down to a millionth: the page's arithmetic then stays below the bound."""
    return Fraction((value * 10**6).__floor__(), 10**6)
