"""The lemmas of docs/theory.md, the functions it names for them, and the list that every proof carries are the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from verifier.kernel.conclusion import LEMMAS

THEORY = Path(__file__).parents[1] / "docs" / "theory.md"
HEADING = re.compile(r"(?:\*\*|## \d+\. )(?:Lemma|Theorem) ([A-Z]) — [^(\n]*\(([^)]*)\)")


def headings() -> dict[str, str]:
    """Letter of each lemma or theorem, and what its heading names in brackets."""
    return dict(HEADING.findall(THEORY.read_text(encoding="utf-8")))


def test_the_document_and_the_proofs_list_the_same_lemmas() -> None:
    assert set(headings()) == set(LEMMAS)


def test_every_heading_names_code_that_exists() -> None:
    for letter, text in headings().items():
        names = re.findall(r"`([\w.]+)`", text)
        assert names, f"{letter} names no code"
        for name in names:
            module, _, member = name.removesuffix(".py").partition(".")
            target = importlib.import_module(f"verifier.kernel.{module}")
            for part in filter(None, member.split(".")):
                target = getattr(target, part)
