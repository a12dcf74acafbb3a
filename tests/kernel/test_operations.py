"""Subtraction and multiplication: names for operands and outputs under which they are addition."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from benchmarks.synthetic import synthetic
from tests.formats.format_samples import random_model
from tests.shipped import SMALL
from verifier import cli
from verifier.audit import audit
from verifier.kernel import Reason, Rejected
from verifier.kernel.claim import ADDITION, MULTIPLICATION, SUBTRACTION, TASKS, modulus, read_claim
from verifier.kernel.operation import names_of
from verifier.model import (
    SCORE_TENSORS,
    FoldedCircuit,
    Model,
    Softmax,
    activations,
    answer,
    decode,
    fold,
    read_native,
    write_model,
)
from verifier.proof.keys import generate, write_signing_key
from verifier.proof.policy import parse_policy
from verifier.proof.reasons import VerificationError
from verifier.results import Result, summary


def subtracting() -> Model:
    """pizza-p23 with a vocabulary of its own for b, where token 23 + b is embedded as −b was."""
    model = read_native(SMALL)
    assert isinstance(model, Model)
    embed = model.tensors["embed.W_E"][:23]
    tensors = model.tensors | {"embed.W_E": np.concatenate([embed, embed[-np.arange(23)]])}
    return replace(model, layout=("a", "b+23"), tensors=tensors, task=SUBTRACTION)


def multiplying(p: int = 23) -> FoldedCircuit:
    """Addition modulo p − 1 of pure cosines, at the logarithms to the base of the greatest primitive root.

    p − 1 is even: b's phase is a quarter turn ahead, or a and a + (p − 1)/2 would cancel at odd frequencies.
    """
    m = p - 1
    g = max(g for g in range(2, p) if len({pow(g, i, p) for i in range(m)}) == m)
    units = np.array([pow(g, i, p) for i in range(m)])
    k, phase = np.repeat([1, 3, 5, 7, 9], 16)[:, None], np.tile(np.arange(16) / 16, 5)[:, None]
    tables = []
    for at in (phase, phase + 0.25, 2 * phase + 0.25):
        table = np.full((80, p), -1.0)
        table[:, units] = np.cos(2 * np.pi * (k * np.arange(m) / m + at))
        tables.append(table)
    return FoldedCircuit(p, tables[0], tables[1], tables[2].T.copy(), None, None, {}, MULTIPLICATION)


@pytest.mark.parametrize(("task", "p"), [(task, p) for task in TASKS.values() for p in (5, 7, 23, 59)])
def test_under_the_names_the_task_is_addition(task: str, p: int) -> None:
    names, m = names_of(task, p, p + 3), modulus(task, p)
    i, j = np.indices((m, m))
    assert (names.outputs[(i + j) % m] == answer(task, p, names.a[i], names.b[j])).all()
    assert sorted(names.outputs.tolist()) == list(range(p + 3))
    operands = list(range(p - m, p))
    assert sorted(names.a.tolist()) == operands == sorted(names.b.tolist())


@pytest.mark.parametrize("p", [3, 4, 9, 22, 35, 2047, 4095])
def test_multiplication_needs_a_prime(p: int) -> None:
    with pytest.raises(Rejected, match=f"{p} is not a prime") as caught:
        modulus(MULTIPLICATION, p)
    assert caught.value.reason is Reason.RANGE


def float_margins(model: Model | FoldedCircuit, task: str) -> Any:
    """[a, b]: the lead of the task's answer by the network's own forward pass in float64, names nowhere in sight."""
    p, circuit = model.p, fold(model)
    a, b = (x.ravel() for x in np.indices((p, p)))
    run = activations(model, names_of(ADDITION, p, model.outputs))
    if run is None:
        logits = np.maximum(circuit.A.T[a] + circuit.B.T[b], 0) @ circuit.W.T
        logits += sum(0 if s is None else s.T[x] for s, x in ((circuit.S1, a), (circuit.S2, b)))
    else:
        logits = run(a, b)[1]
    rows, right = np.arange(p * p), answer(task, p, a, b)
    lead = logits[rows, right].copy()
    logits[rows, right] = -np.inf
    return (lead - logits.max(axis=1)).reshape(p, p)


def softmax_model() -> Model:
    model = random_model(7, "a b =7")
    rng = np.random.default_rng(5)
    heads, d, k = model.tensors["blocks.0.attn.W_V"].shape
    shapes = ((heads, d, k), (heads, d, k), (heads, k), (heads, k))
    scores = {n: rng.normal(size=s).astype(np.float32) for n, s in zip(SCORE_TENSORS, shapes, strict=True)}
    return replace(model, attention=Softmax(Fraction(1, 4)), tensors=model.tensors | scores)


@pytest.mark.parametrize("operation", TASKS)
@pytest.mark.parametrize("kind", ["transformer", "own vocabularies", "last is a", "softmax", "circuit"])
def test_margins_are_those_of_the_network_at_its_own_operands(kind: str, operation: str, tmp_path: Path) -> None:
    kinds: dict[str, Callable[[], Model | FoldedCircuit]] = {
        "transformer": lambda: random_model(7, vocabulary=7, outputs=9),
        "own vocabularies": lambda: random_model(7, "a b+7", vocabulary=14),
        "last is a": lambda: random_model(7, "b a"),
        "softmax": softmax_model,
        "circuit": lambda: replace(fold(random_model(7)), S2=None),
    }
    model = kinds[kind]()
    path, task = tmp_path / "m.safetensors", TASKS[operation]
    write_model(model, path)
    strategy = "semi-linear" if kind == "softmax" else "exact"
    found = verifier.certify(path, operation=operation, strategy=strategy, semantics="real", at_least=0)
    true = float_margins(model, task)
    claimed = np.ones((7, 7), dtype=bool)
    if task == MULTIPLICATION:
        claimed[0] = claimed[:, 0] = False
    assert (np.isnan(found.margins) == ~claimed).all()
    assert found.conclusion.accuracy.total_inputs == claimed.sum()
    room = 1e-5 * np.abs(true).max()
    if strategy == "exact":
        assert np.abs(found.margins - true)[claimed].max() < room
        assert found.wrong is not None
        for row in found.wrong:
            assert row["right"] == answer(task, 7, row["a"], row["b"]) != row["answer"]
            assert true[row["a"], row["b"]] <= -row["margin"] + room
        assert {(row["a"], row["b"]) for row in found.wrong} == {
            (a, b) for a, b in np.argwhere(claimed & (true < -room)).tolist()
        }
    else:
        assert (found.margins <= true + room)[claimed].all()
    opinion = audit(found.source.data, found.attempt.certificate, found.conclusion.document())
    assert all(check.agrees for check in opinion), [check for check in opinion if not check.agrees]


def test_a_subtracting_transformer_is_certified_and_explained(tmp_path: Path) -> None:
    path, key, out = tmp_path / "minus.safetensors", tmp_path / "key.pem", tmp_path / "out"
    write_model(subtracting(), path)
    found, plus = verifier.certify(path), verifier.certify(SMALL)
    assert (found.certified, found.explained) == (529, 529)
    assert found.margins == pytest.approx(plus.margins[:, -np.arange(23)], rel=1e-3)
    assert "is that of (a - b) mod 23. What follows is about the same logits with -b mod 23 written" in found.theorem
    assert found.summary().startswith("PROVED: for all 529 inputs (a, b) the largest logit is that of (a - b) mod 23\n")
    write_signing_key(key, generate())
    for _ in range(2):  # the second time it is there already
        assert cli.main(["certify", str(path), "--out", str(out), "--key", str(key), "--quiet"]) == 0
    assert json.loads((out / "minus" / "claim.json").read_text())["task"] == SUBTRACTION

    head = (
        'format = "verifier-policy/1"\npredicate_types = ["https://modular-addition-verifier.invalid/proof/v2"]\n'
        "[signatures]\nthreshold = 1\n[[signatures.keys]]\nname = 'k'\n"
        f"pem = '''{(tmp_path / 'key.pub.pem').read_text()}'''\n[[rules]]\nmodels = ['*']\ncertified_inputs = 'all'\n"
    )
    policy = tmp_path / "policy.toml"
    for line, refusal in (
        ("", "task (a - b) mod p, and no rule for the model names a task"),
        ("task = ['(a + b) mod p']", "task (a - b) mod p, not (a + b) mod p"),
        ("task = ['(a * b) mod p', '(a - b) mod p']", ""),
    ):
        policy.write_text(f"{head}{line}\n")
        if refusal:
            with pytest.raises(VerificationError) as caught:
                verifier.verify(out / "minus", model=path, policy=policy)
            assert refusal in str(caught.value)
        else:
            assert verifier.verify(out / "minus", model=path, policy=policy).facts.task == SUBTRACTION
    with pytest.raises(verifier.InputError, match=r"task must be some of \(a \+ b\) mod p, "):
        parse_policy(f"{head}task = ['(a / b) mod p']\n".encode(), "policy")


def test_a_network_that_subtracts_does_not_add(tmp_path: Path) -> None:
    path = tmp_path / "minus.safetensors"
    write_model(subtracting(), path)
    found = verifier.certify(path, operation="addition")
    assert not found.proved
    assert found.certified == 23  # where b = −b: only b = 0
    assert found.wrong is not None
    assert len(found.wrong) == 256
    answers = found.to_dict()["answers"]
    assert answers == {"proved": 23, "not_proved": 0, "wrong": 506}
    assert all(row["answer"] == (row["a"] - row["b"]) % 23 for row in found.wrong)


def test_a_multiplying_circuit_is_certified_on_the_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "times.safetensors"
    write_model(multiplying(), path)
    found = verifier.certify(path)
    assert found.proved
    assert found.certified == found.conclusion.accuracy.total_inputs == 22 * 22
    assert np.isnan(found.margins[0]).all()
    assert np.isnan(found.margins[:, 0]).all()
    assert (found.margins[1:, 1:] > 0).all()
    title = summary(Result("m", found.attempt.outcome))[0].title
    assert title == "PROVED: for all 484 inputs (a, b) without a zero the largest logit is that of (a * b) mod 23"
    assert "0 < a, b < 23" in found.theorem
    assert "Inputs with a zero are not part of the claim" in found.theorem
    assert "5^a, 5^b and 5^c mod 23 written for a, b and c" in found.theorem
    assert "every logit c < 22 is within" in found.theorem
    with pytest.raises(verifier.InputError, match=r"is 485, and .* has 484 inputs"):
        verifier.certify(path, at_least=485)
    opinion = audit(found.source.data, found.attempt.certificate, found.conclusion.document())
    assert all(check.agrees for check in opinion), [check for check in opinion if not check.agrees]
    assert cli.main(["explain", str(path), "--certificates", str(tmp_path)]) == 0
    assert "multiplies modulo 23" in capsys.readouterr().out
    page = found.report(tmp_path / "page.html").read_text()
    assert "484 products of units modulo 23 right" in page
    assert "5^a, 5^b and 5^c mod 23 written for a, b and c" in page
    drawn = ["plot", str(path), "--certificates", str(tmp_path), "--figure", "quadrature", "--format", "svg"]
    for text, code in (("5,22", 0), ("0,3", 2)):
        assert cli.main([*drawn, "--out", str(tmp_path / "figures"), "--input", text]) == code
    assert "--input: must be A,B with two numbers in 1..22, not '0,3'" in capsys.readouterr().err


def test_a_composite_modulus_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "composite.safetensors"
    write_model(synthetic(35, 96), path)
    assert cli.main(["certify", str(path), "--operation", "multiplication", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("claim.p: 35 is not a prime from 5 on, and the task is (a * b) mod p")
    assert not (tmp_path / "out").exists()


def test_an_import_carries_the_operation(tmp_path: Path) -> None:
    circuit = fold(subtracting())
    tables = {name: getattr(circuit, name) for name in ("A", "B", "W", "S1", "S2")}
    found = verifier.certify(tables, operation="subtraction")
    assert found.proved
    model = decode(found.source.data, "m")
    assert model.task == SUBTRACTION
    with pytest.raises(verifier.InputError, match="--operation: must be one of addition, subtraction, multiplication"):
        verifier.certify(tables, operation="division")


@pytest.mark.parametrize("task", TASKS.values())
def test_a_claim_is_about_inputs_that_there_are(task: str) -> None:
    value = {"format": "verifier-claim/2", "task": task, "p": 7, "model_sha256": "0" * 64, "strategy": "exact"}
    inputs = modulus(task, 7) ** 2

    def read(**fields: object) -> int:
        return read_claim(json.dumps(value | {"semantics": "real", "certified_inputs": inputs} | fields).encode()).p

    assert read() == read(certified_inputs=0) == 7
    for fields in ({"certified_inputs": inputs + 1}, {"certified_inputs": -1}, {"p": 2}, {"p": 4097}):
        with pytest.raises(Rejected) as caught:
            read(**fields)
        assert caught.value.reason is Reason.RANGE
    with pytest.raises(Rejected, match=r"claim\.format"):
        read_claim(b"[]")
