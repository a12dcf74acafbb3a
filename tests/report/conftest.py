"""One small model, explained and checked once for all tests of the reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.report.case import read_case
from verifier.report.figures import View
from verifier.report.mechanism import read_mechanism

MODEL = Path(__file__).resolve().parents[2] / "models" / "pizza-p23.safetensors"


@pytest.fixture(scope="session")
def view() -> View:
    case = read_case(MODEL, fresh=True)
    return View(case, read_mechanism(case), (3, 8))
