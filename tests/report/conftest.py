"""One small model, explained and checked once for all tests of the reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.report.bounds import InputBounds, gather, input_bounds
from verifier.report.facts import read_mechanism
from verifier.report.figures import FIGURES, View, render
from verifier.report.subject import Subject, find_subject

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "pizza-p23.safetensors"


@pytest.fixture(scope="session")
def subject() -> Subject:
    return find_subject(MODEL, effort=0)


@pytest.fixture(scope="session")
def view(subject: Subject) -> View:
    return View(subject, read_mechanism(subject.circuit, subject.certificate), gather(subject), (3, 8))


@pytest.fixture(scope="session")
def drawn(view: View) -> dict[str, bytes]:
    """Every figure as SVG."""
    return {name: render(name, view, "svg") for name in FIGURES}


@pytest.fixture(scope="session")
def inputs(view: View) -> InputBounds:
    return input_bounds(view.subject, view.evidence.conclusion)
