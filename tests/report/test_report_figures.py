"""Figures: the same bytes every time, in both formats, and nothing in them that is not proved or called an estimate."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from verifier.commands.plot import NAMES
from verifier.report.figures import FIGURES, View, render
from verifier.report.page import COLOURS, inline_svg

BUILD = Path(__file__).resolve().parents[2] / "build" / "test-figures"


def test_the_command_s_names_are_the_figures() -> None:
    assert tuple(FIGURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_reproducible(name: str, view: View, drawn: dict[str, bytes]) -> None:
    svg, png = drawn[name], render(name, view, "png")
    assert svg == render(name, view, "svg")
    assert png == render(name, view, "png")
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / f"{name}.png").write_bytes(png)
    text = svg.decode()
    root = ET.fromstring(text)
    assert root.tag.endswith("svg")
    assert "<dc:date>" not in text
    assert not re.findall(r'(?:href|src)="(?!#|data:)[^"]*"', text)
    image = Image.open(io.BytesIO(png))
    assert min(image.size) > 300
    colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_inside_the_page_keeps_its_ids_to_itself(name: str, drawn: dict[str, bytes]) -> None:
    text = inline_svg(drawn[name].decode(), name, "a <title>")
    assert all(found.startswith(f"{name}-") for found in re.findall(r'\bid="([^"]+)"', text))
    targets = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    assert {a or b for a, b in targets} <= ids
    assert "a &lt;title&gt;" in text
    assert not any(colour in text for colour in COLOURS)


@pytest.mark.parametrize("name", NAMES)
def test_captions_call_estimates_estimates(name: str) -> None:
    drawing = FIGURES[name]
    assert drawing.proved != ("estimate" in drawing.caption)
