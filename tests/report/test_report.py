"""Figures and page: reproducible, self-contained, and true to the kernel's numbers."""

from __future__ import annotations

import json
import re

import pytest

from verifier.commands.plot import NAMES
from verifier.report.figures import FIGURES, View, render
from verifier.report.page import page


def test_the_command_s_names_are_the_figures() -> None:
    assert tuple(FIGURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_reproducible(name: str, view: View) -> None:
    assert render(name, view, "svg") == render(name, view, "svg")
    assert FIGURES[name].proved != ("estimate" in FIGURES[name].caption)


def test_the_page_loads_nothing_and_has_the_kernel_s_numbers(view: View) -> None:
    text = page(view)
    assert "default-src 'none'" in text
    assert not re.findall(r'(?:href|src)="(?!#|data:)[^"]*"', text)
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    evidence = view.case.checked.evidence
    assert all(
        x / 100 <= y for x, y in zip(data["margins"], (evidence.margins * 2.0**evidence.exponent).ravel(), strict=True)
    )
    assert data["explained"] == [int(x) for x in evidence.explained]
