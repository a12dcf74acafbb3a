"""README.md says what the program prints and proves, for every shipped model."""

from __future__ import annotations

import argparse
import importlib
import math
import re

import pytest

from tests.scripts import load
from tests.shipped import MODELS, ROOT, SHIPPED, certified
from verifier import cli

TEXT = (ROOT / "README.md").read_text()
ADVICE = "run: python scripts/readme.py"

README = load("scripts/readme.py")
PARTS: dict[str, str] = README.parts(TEXT)


def cells() -> dict[str, tuple[str, ...]]:
    lines = [line.strip("| ").split(" | ") for line in PARTS["results"].splitlines()]
    assert tuple(lines[0]) == README.HEADER
    return {line[0]: tuple(line[:-1]) for line in lines[2:]}


def test_the_table_has_every_shipped_model() -> None:
    assert [name for name in cells() if not name.startswith("published")] == SHIPPED, ADVICE


def assert_same(written: tuple[str, ...], now: tuple[str, ...]) -> None:
    """The same words; of the numbers, counts are equal and decimals within 1 %: the explainer's fits are in floating
    point, whose last digits differ by machine and number of threads (the kernel's do not).
    """
    number = r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*[a-z])"
    for one, other in zip(written, now, strict=True):
        assert re.sub(number, "#", one).split() == re.sub(number, "#", other).split(), ADVICE
        for x, y in zip(re.findall(number, one), re.findall(number, other), strict=True):
            near = math.isclose(float(x), float(y), rel_tol=0.01)
            assert x == y or (("." in x or float(x) > 10**4) and near), f"{x}, now {y}; {ADVICE}"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_table_is_what_is_proved(name: str) -> None:
    assert_same(cells()[name], README.row(name, certified(MODELS / f"{name}.safetensors").prepared))


@pytest.mark.parametrize("name", README.PUBLISHED)
def test_the_published_checkpoints(name: str) -> None:
    path = README.published(name)
    if not path.exists():
        pytest.skip("../shared/published is not there: its line was NOT checked")
    assert_same(cells()[name], README.row(name, README.prepare(path)))


def test_the_summary_is_what_is_printed() -> None:
    def timeless(text: str) -> str:
        return re.sub(r"\d+\.\d\d\d s\b", "TIME s", text)

    printed = README.summary_text(certified(MODELS / f"{README.SHOWN}.safetensors").prepared)
    assert_same((timeless(PARTS["summary"]),), (timeless(printed),))
    assert max(map(len, PARTS["summary"].splitlines())) <= 80


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert {
        "docs/theory.md",
        "docs/verify.md",
        "docs/soundness.md",
        "docs/benchmarks.md",
        "docs/certificate.md",
    } <= set(targets)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert missing == []


def test_options_exist() -> None:
    known = {"--p", "--seed", "--list", "--new-bundle-format", "--insecure-ignore-tlog"}  # of other programs
    for name in cli.COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(cli.module_of(name)).add_arguments(parser)
        known |= {word for action in parser._actions for word in action.option_strings}
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        said = set(re.findall(r"`(--[a-z-]+)", page.read_text()))
        assert said <= known, page


def test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)", TEXT) + re.findall(r"^make ([a-z]+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for command in re.findall(r"`verifier ([a-z]+)", TEXT):
        assert command in cli.COMMANDS
