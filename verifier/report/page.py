"""The report: one HTML file with everything inline, that opens from the file system and asks the network for nothing.

Text that comes from a file (names, digests) is escaped. The page's own security policy forbids it to load anything.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from verifier import __version__
from verifier.errors import one_line
from verifier.kernel.claim import ADDITION, MULTIPLICATION, SUBTRACTION
from verifier.kernel.limits import DIRECTION_BITS
from verifier.kernel.operation import words
from verifier.report.case import Case
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
    error_by_offset,
    render_panels,
)
from verifier.report.mechanism import added_waves, coefficients, turns, wheels
from verifier.report.numbers import at_least, at_most, number, replaced_words

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
ROUNDED = 4
NOUNS = {ADDITION: "sums", SUBTRACTION: "differences", MULTIPLICATION: "products of units"}
LOGITS = 3_000_000
"""Numbers of sums up to which the page carries them, to draw the logits of single inputs."""
STILL = ("phases", "profile", "directions", "events", "explained", "budget")
"""The figures of the page that do not move; the quadrature picture and the map are drawn by its script."""


def page(view: View) -> str:
    """The report as HTML."""
    case, conclusion = view.case, view.case.checked.conclusion
    fields = {
        "title": f"{_text(case.model.name)}: how it adds, {'proved' if case.proved else 'NOT PROVED'}",
        "style": _asset("page.css"),
        "script": _asset("page.js"),
        "name": _text(case.model.name),
        "sentence": _text(f"{_sentence(case)} {words(conclusion.claim.task, conclusion.claim.p)}".strip()),
        "failure": "" if case.proved else f"<p>The kernel says: {_text(case.failure)}.</p>",
        "verdict_class": "good" if case.proved else "bad",
        "theorem_title": "The theorem" if case.proved else "What is proved instead",
        "theorem": _text(conclusion.theorem()),
        "signature": _signature(case),
        "files": _files(case),
        "command": _text(_command(case)),
        "frequencies": _frequencies(view),
        "rest": _rest(view),
        "cost": _text(_cost(case)),
        "footer": _text(f"Made by verifier {__version__}. This file is complete: it loads nothing."),
        "data": json.dumps(_data(view), separators=(",", ":")).replace("<", "\\u003c"),
        **{f"figure_{name}": _figure(name, view) for name in STILL},
    }
    return Template(_asset("page.html")).substitute(fields)


def _asset(name: str) -> str:
    return (files("verifier.report") / "assets" / name).read_text(encoding="utf-8").strip()


def _text(text: str) -> str:
    """Text as HTML: control characters written out, markup escaped."""
    return escape(one_line(text, limit=1 << 20))


def _sentence(case: Case) -> str:
    conclusion = case.checked.conclusion
    accuracy, form, claim = conclusion.accuracy, conclusion.closed_form, conclusion.claim
    what = f"{NOUNS[claim.task]} modulo {claim.p}"
    if not case.proved:
        wrong = f" and {accuracy.wrong_inputs} proved wrong" if accuracy.wrong_inputs else ""
        found = f"{accuracy.certified_inputs} are proved right{wrong}"
        return f"Not proved as claimed: of {accuracy.total_inputs} {what}, {found}."
    every = accuracy.certified_inputs == accuracy.total_inputs
    count = "all" if every else f"{accuracy.certified_inputs} of the"
    told = f"This network is proved to get {count} {accuracy.total_inputs} {what} right"
    if form.explains_all:
        return (
            f"{told}, and why: every logit is within {at_most(form.error)} of a formula whose right answer always "
            f"leads by at least {at_least(form.least_gap)}."
        )
    return f"{told}. A formula alone explains {accuracy.explained_inputs or 'none'} of the answers."


def _deformed(view: View) -> str:
    moved, share = view.case.checked.conclusion.closed_form.deformation, view.mechanism.deformed_share
    if moved is None or share is None:
        return ""
    return (
        "The waves of the closed form over the outputs are deformed: what is added to pure cosines is at most "
        f"{at_most(moved)} at any logit, and has {share:.1%} of the form's power (estimate). "
    )


def _signature(case: Case) -> str:
    signed = case.signed
    if signed is None:
        return "There is no signed proof beside the certificate; the kernel was run for this page."
    if not signed.about_these_files:
        return _text(
            f"{signed.path} is about other files than the ones named above. It does not count for them; certify the "
            "model again."
        )
    same = "the same conclusion" if signed.same_conclusion else "ANOTHER conclusion"
    return _text(
        f"{signed.path} says it was signed by {signed.keyid} and names the three digests above. The kernel was run for "
        f"this page and reached {same}. The signature was not verified for this page: whose signature counts is your "
        "decision."
    )


def _files(case: Case) -> str:
    conclusion, folder = case.checked.conclusion, case.folder
    origin = f", translated from {case.model.imported}" if case.model.imported else ""
    rows = [
        ("model", f"{case.model.path}{origin}", conclusion.model_sha256),
        ("claim", str(folder / "claim.json") if folder else "every input", conclusion.claim_sha256),
        ("certificate", str(folder / "certificate.json") if folder else "made now", conclusion.certificate_sha256),
    ]
    return "\n".join(
        f"<div><dt>{_text(kind)}</dt><dd>{_text(name)}<br><code>{_text(digest)}</code></dd></div>"
        for kind, name, digest in rows
    )


def _command(case: Case) -> str:
    model = shlex.quote(str(case.model.path))
    if case.folder is None or case.signed is None or not case.signed.about_these_files:
        return f"verifier certify {model}"
    policy = shlex.quote(str(case.folder.parent / "policy.toml"))
    return f"verifier verify {shlex.quote(str(case.signed.path))} --model {model} --policy {policy}"


FREQUENCY_HEAD = (
    "k",
    "neurons",
    "share of the logits (estimate)",
    "rectangles",
    "harmonics",
    "arc sums",
    "over naive",
    "network off by, at most",
    "wave, at least",
)


def _frequencies(view: View) -> str:
    """One table by frequency: Theorem Q, and the network itself."""
    share = {f.frequency: f.share for f in view.mechanism.frequencies}
    rows = [
        (
            str(rule.frequency),
            str(rule.neurons),
            f"{share[rule.frequency]:.2%}",
            at_most(rule.rectangle),
            at_most(rule.harmonic),
            at_most(rule.arc_sum),
            at_most(rule.relative_bound),
            at_most(rule.network_error),
            at_least(rule.amplitude),
        )
        for rule in view.case.checked.conclusion.quadrature
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in FREQUENCY_HEAD)
    cells = ["".join(map('<td data-label="{}">{}</td>'.format, FREQUENCY_HEAD, row)) for row in rows]
    return f"<thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(cells)}</tr></tbody>"


def _rest(view: View) -> str:
    m = view.mechanism
    return _text(
        f"{_deformed(view)}{m.neurons - m.others} of {m.neurons} neurons are in families. Estimated: "
        f"{m.other_share:.3%} of the variance "
        f"of the logits is at frequencies without one; {int(m.right.sum())} of {m.p**2} inputs are answered right."
        + ("" if m.attention is None else f" Attention is learned. {replaced_words(m.attention)}")
    )


def _cost(case: Case) -> str:
    conclusion = case.checked.conclusion
    operations, brute = (
        sum(conclusion.operations.values()),
        conclusion.neurons * conclusion.accuracy.total_inputs * conclusion.outputs,
    )
    return (
        f"{conclusion.parameters:,} circuit parameters make {conclusion.events:,} events; the kernel used "
        f"{operations:,} operations, {operations / conclusion.parameters:,.0f} per parameter. Brute force takes "
        f"{brute:,} multiply-adds after folding, {brute / conclusion.parameters:,.0f} per parameter."
    )


def _figure(name: str, view: View) -> str:
    drawing = FIGURES[name]
    panels = [
        f'<div data-k="{k}">{inline_svg(data.decode("utf-8"), f"{name}{i}", drawing.title)}</div>'
        for i, (k, data) in enumerate(render_panels(name, view))
    ]
    if not panels:
        return ""
    return (
        f'<figure id="figure-{name}"><div class="panels">{"".join(panels)}</div>\n'
        f"<figcaption><strong>{_text(drawing.title)}.</strong> {_text(drawing.caption)}</figcaption></figure>"
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
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def _data(view: View) -> dict[str, object]:
    """What the moving pictures are drawn from. Margins are rounded down; the rest is to the screen's accuracy."""
    case, evidence, conclusion = view.case, view.case.checked.evidence, view.case.checked.conclusion
    p, accuracy = case.circuit.p, conclusion.accuracy
    (constant, waves), outputs = added_waves(evidence), np.arange(p)
    proved = evidence.margins > 0
    rules = {rule.frequency: rule for rule in conclusion.quadrature}
    share = {f.frequency: f.share for f in view.mechanism.frequencies}
    return {
        "p": p,
        "input": list(view.input),
        "margins": np.floor(evidence.margins * 2.0**evidence.exponent * 100).astype(int).ravel().tolist(),
        "state": np.where(proved, 2, np.where(view.mechanism.right, 1, 0)).ravel().tolist(),
        "explained": [int(x) for x in evidence.explained],
        "deviations": _short(evidence.deviations * 2.0**evidence.exponent),
        "constant": _short(constant),
        "terms": [
            {"j": j, "g": [_short(g.real), _short(g.imag)], "wave": [_short(w.real, 5), _short(w.imag, 5)]}
            for j, g in coefficients(evidence).items()
            for w in [waves[j] + turns(j * outputs / p)]
        ],
        "gap": _short(evidence.gaps * 2.0**evidence.exponent),
        "error": _short(error_by_offset(view)),
        "semantics": accuracy.semantics,
        "wheels": [
            {
                "k": w.frequency,
                "phase": _short(w.phase, 5),
                "share": _short(w.share, 6),
                "turn": _short((w.psi - w.common) % 1.0, 5),
                "bound": at_most(rules[w.frequency].bound),
                "times": 1 / number(rules[w.frequency].relative_bound),
                "logits": share[w.frequency],
            }
            for w in wheels(case.circuit, case.certificate)
        ],
        "logits": _logits(view),
    }


def _logits(view: View) -> dict[str, object] | None:
    """Sums and directions as 16-bit numbers, from which the script makes the logits of an input."""
    evidence = view.case.checked.evidence
    if evidence.sums.size > LOGITS:
        return None
    p, lanes = len(evidence.sums), evidence.sums.shape[2]
    size = float(np.abs(evidence.sums).max()) or 1.0
    words = np.round(evidence.sums / size * 32767).astype("<i2")
    columns = np.eye(lanes)[:p] if evidence.directions is None else evidence.directions[:p] * 2.0**-DIRECTION_BITS
    unit = size / 32767 * 2.0 ** (evidence.exponent + (0 if evidence.directions is None else DIRECTION_BITS))
    identity = evidence.directions is None
    return {
        "lanes": lanes,
        "unit": unit,
        "sums": base64.b64encode(words.tobytes()).decode("ascii"),
        "directions": None if identity else [_short(row, 6) for row in columns],
    }


def _short(values: NDArray[np.floating], digits: int = ROUNDED) -> list[float]:
    return [float(x) for x in np.round(np.asarray(values, dtype=np.float64).ravel(), digits).tolist()]
