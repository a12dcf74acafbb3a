"""The page as text: self-contained, escaped, and true to the kernel's numbers."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from verifier.report.bounds import InputBounds
from verifier.report.figures import FIGURES, View
from verifier.report.page import page
from verifier.report.subject import Signed

HOSTILE = '</script><img src=x onerror="alert(1)">&\x1b[2J'


class Elements(HTMLParser):
    """Every element, with its attributes, and unclosed ones."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> is out of place"


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.found


@pytest.fixture(autouse=True)
def drawn_once(drawn: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages differ in their words only: do not draw the same figures for each."""
    monkeypatch.setattr("verifier.report.page.render", lambda name, view, form: drawn[name])


@pytest.fixture
def text(view: View, inputs: InputBounds) -> str:
    return page(view, inputs)


def test_the_page_loads_nothing(text: str) -> None:
    for tag, attributes in elements(text):
        for name in ("src", "href", "xlink:href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\((?!#|data:)", text)


def test_ids_are_unique_outside_the_figures(text: str) -> None:
    ids = [attributes["id"] for _, attributes in elements(text) if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_has_every_part(text: str, view: View) -> None:
    conclusion = view.evidence.conclusion
    for digest in (conclusion.model_sha256, conclusion.claim_sha256, conclusion.certificate_sha256):
        assert digest in text
    for name in FIGURES:
        assert f'id="figure-{name}"' in text
    for anchor in re.findall(r'href="#([a-z]+)"', text):
        assert f'id="{anchor}"' in text
    assert "529 of 529 inputs certified" in text
    assert "not proved" in text


def test_the_map_s_data_are_the_kernel_s(text: str, view: View, inputs: InputBounds) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    p = view.evidence.conclusion.p
    assert data["p"] == p
    assert data["margins"] == [x for row in inputs.margins for x in row]
    assert base64.b64decode(data["rivals"]) == inputs.rivals
    assert data["failing"] == []
    assert data["low"] <= float(inputs.low)
    assert data["step"] <= float(inputs.step)


def test_text_from_files_is_escaped(view: View, inputs: InputBounds) -> None:
    source = replace(view.subject.source, name=HOSTILE, path=Path(HOSTILE), imported=HOSTILE)
    signed = Signed(Path(HOSTILE), HOSTILE, True, {})
    hostile = replace(view, subject=replace(view.subject, source=source, signed=signed, folder=Path(HOSTILE)))
    text = page(hostile, inputs)
    found = elements(text)
    assert not any("onerror" in attributes for _, attributes in found)
    assert [tag for tag, _ in found].count("img") == 0
    assert "\x1b" not in text
    assert "&lt;img src=x" in text


def test_a_claim_that_is_not_proved_is_said_so(view: View, inputs: InputBounds) -> None:
    outcome = replace(view.evidence.outcome, failure="fewer inputs could be certified than the claim says")
    text = page(replace(view, evidence=replace(view.evidence, outcome=outcome)), inputs)
    assert "Not proved:" in text
    assert 'class="verdict bad"' in text


def test_an_input_is_certified_when_the_kernel_says_so(view: View, inputs: InputBounds) -> None:
    """Also when its margin is too small for the two decimals shown."""
    conclusion = view.evidence.conclusion
    margins = [list(row) for row in conclusion.margins]
    margins[1][2], margins[3][4] = 1, 0
    changed = replace(conclusion, margins=tuple(map(tuple, margins)))
    text = page(replace(view, evidence=replace(view.evidence, conclusion=changed)), inputs)
    assert f'"failing":[{3 * 23 + 4}]' in text


def test_without_rivals_the_page_says_less(view: View, inputs: InputBounds) -> None:
    assert '"rivals":null' in page(view, replace(inputs, rivals=None))
