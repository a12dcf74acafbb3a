"""Figures and page: reproducible, self-contained, and true to the kernel's numbers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.shipped import MODELS
from verifier import cli
from verifier.commands.plot import NAMES
from verifier.kernel.substitution import substituted
from verifier.report.case import read_case
from verifier.report.figures import FIGURES, View, render
from verifier.report.mechanism import read_mechanism
from verifier.report.page import page


def test_the_command_s_names_are_the_figures() -> None:
    assert tuple(FIGURES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_reproducible(name: str, view: View) -> None:
    assert render(name, view, "svg") == render(name, view, "svg")
    assert ("proved" in FIGURES[name].caption.lower()) != ("estimate" in FIGURES[name].caption)


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


def test_a_deformed_closed_form_is_drawn_as_it_is_proved() -> None:
    """The page's waves give a form that every logit is within E(δ) of, and not much nearer to."""
    case = read_case(MODELS / "pizza-p59-three.safetensors", fresh=True)
    text = page(View(case, read_mechanism(case), (3, 8)))
    assert "The waves of the closed form over the outputs are deformed" in text
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data, evidence, p = json.loads(found[1]), case.checked.evidence, 59
    a, b = (part.ravel() for part in np.indices((p, p)))
    delta, form = (a - b) % p, np.zeros((p * p, p)) + data["constant"]
    for term in data["terms"]:
        g, wave = (np.array(term[name][0]) + 1j * np.array(term[name][1]) for name in ("g", "wave"))
        form += ((g[delta] * np.exp(-2j * np.pi * term["j"] * (a + b) / p))[:, None] * wave).real
    assert evidence.directions is not None
    own = (evidence.sums.reshape(p * p, -1) * 2.0**evidence.exponent) @ evidence.directions.T
    away = np.ptp(own - form, axis=1) / 2
    error = np.array(data["error"])[delta]
    assert (away <= error + 0.01).all()
    assert away.max() > 0.9 * error.max()


def test_what_attention_is_for_is_said_and_is_what_the_kernel_proves(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(MODELS / "clock-p59.safetensors"), "--json", "--fresh"]) == 0
    document = json.loads(capsys.readouterr().out)
    constant, waves = substituted((MODELS / "clock-p59.safetensors").read_bytes())
    found = document["proved_beside_the_statement"]
    for name, proved in (("attention_constant", constant), ("attention_one_frequency", waves)):
        assert found[name]["right"] == proved.right
        assert found[name]["wrong"] == proved.wrong
        assert found[name]["table"] == proved.table.tolist()
    heads = document["estimates"]["heads"]
    assert [head["frequency"] for head in heads] == list(waves.frequencies)
    assert all(0 < head["low"] < head["high"] < 1 and 0.3 < head["share"] < 1 for head in heads)
    assert 0.95 < document["estimates"]["waves_of_the_sum"] < 1
    assert cli.main(["explain", str(MODELS / "clock-p59.safetensors"), "--fresh"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"one frequency in a and b, {waves.right} of 3481 answers are right and {waves.wrong} wrong" in text
