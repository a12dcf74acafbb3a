"""The formal development: tied to the theory and to the kernel, and compiled again where Coq is installed.

Without Coq the tests that need it are skipped, with the reason; the recorded vectors are compared in any case.
"""

from __future__ import annotations

import importlib
import json
import random
import re
import shutil
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verifier import cli
from verifier.kernel import arrays, circuit, directions, events, tables
from verifier.kernel.conclusion import LEMMAS
from verifier.kernel.cost import Cost
from verifier.kernel.limits import DIRECTION_BITS
from verifier.kernel.model_file import read_model

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
SMALL = MODELS / "pizza-p23.safetensors"
POISONED = ROOT / "tests" / "data" / "pizza-p23-poisoned.safetensors"
FORMAL = ROOT / "formal"
CHECKER = ROOT / "build" / "formal" / "check"
THEORY = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
TIES = json.loads((FORMAL / "ties.json").read_text(encoding="utf-8"))
VECTORS = json.loads((FORMAL / "vectors.json").read_text(encoding="utf-8"))


def need(*programs: str) -> None:
    missing = [x for x in programs if shutil.which(x) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make formal says how to get it)")


def build(*options: str) -> str:
    """`formal/build.sh`; skips where something it needs is not installed."""
    need("coqc", "coq_makefile", "make")
    found = subprocess.run([str(FORMAL / "build.sh"), *options], capture_output=True, text=True, check=False)
    if found.returncode == 3:
        pytest.skip(found.stdout.splitlines()[0])
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


# --- ties: theory heading, formal theorem, kernel function -----------------------------------------------


@pytest.mark.parametrize("tie", TIES, ids=lambda tie: tie["formal"][0])
def test_a_tie_has_all_three_ends(tie: dict[str, Any]) -> None:
    assert tie["theory"] in THEORY
    compiled = (FORMAL / "_CoqProject").read_text().split()
    assert tie["formal"]
    assert tie["kernel"]
    for name in tie["formal"]:
        file, _, theorem = name.partition(".")
        assert f"{file}.v" in compiled
        text = (FORMAL / f"{file}.v").read_text(encoding="utf-8")
        assert re.search(rf"^(?:Theorem|Lemma|Corollary) {re.escape(theorem)}(?![\w'])", text, re.MULTILINE), name
    for name in tie["kernel"]:
        module, *members = name.split(".")
        target: Any = importlib.import_module(f"verifier.kernel.{module}")
        for member in members:
            target = getattr(target, member)


def test_every_lemma_of_the_conclusion_is_tied() -> None:
    tied = set(re.findall(r"(?:Lemma|Theorem) ([A-Z]) — ", "".join(tie["theory"] for tie in TIES)))
    # Theorem Q is tied by its parts.
    assert tied | {"Q"} == set(LEMMAS)
    assert {"* **rectangle**", "* **harmonic**", "* **arc sum**"} <= {tie["theory"] for tie in TIES}


# --- vectors: Coq's definitions and the kernel's, on the same integers -----------------------------------


def column(values: list[int]) -> np.ndarray:
    return np.array([values], dtype=np.int64)


def order(case: dict[str, Any]) -> list[int]:
    return list(events.order(case["p"], case["k"]).tolist())


def halves(case: dict[str, Any]) -> events.Half:
    return events._halves(column(case["a"]), column(case["b"]), events.order(case["p"], case["k"]))[0]


def rank(case: dict[str, Any]) -> list[int]:
    return list(halves(case).ranks[:, 0].tolist())


def count(case: dict[str, Any]) -> list[int]:
    return [int(np.abs(np.diff(halves(case).ranks[:, 0], prepend=0)).sum())]


def ascending(case: dict[str, Any]) -> list[int]:
    zeros = [0] * case["p"]
    return list(halves({**case, "b": zeros, "k": 1}).places[0].tolist())


def event_sum(case: dict[str, Any]) -> list[list[int]]:
    a, b = (np.array(case[x], dtype=np.int64) for x in "ab")
    sums = np.zeros((case["p"], case["p"], 1), dtype=np.int64)
    found = events.Events(a, b, np.full(len(a), case["k"], dtype=np.int64))
    found.add(np.array(case["w"], dtype=np.int64)[:, None], sums)
    hidden = np.maximum(a[:, :, None] + b[:, None, :], 0)
    assert (sums[:, :, 0] == np.einsum("i,iab->ab", np.array(case["w"]), hidden)).all()
    return sums[:, :, 0].tolist()  # type: ignore[no-any-return]


def written(case: dict[str, Any]) -> list[int]:
    unit = 1 << 20
    products = (sum(x * y for x, y in zip(row, case["omega"], strict=True)) for row in case["u"])
    return [unit * w - product for w, product in zip(case["row"], products, strict=True)]


def rest(case: dict[str, Any]) -> list[int]:
    kept = written(case)[: case["p"]]
    return [max(kept) - min(kept)]


def over(case: dict[str, Any]) -> list[int]:
    left = written(case)
    return [min(left[: case["p"]]) - max(left[case["p"] :])]


def kappa(case: dict[str, Any]) -> list[int]:
    r_a, r_w, r_s, s = case["radii"]
    rows = zip(case["most"], case["slack"], case["h"], strict=True)
    return [sum((w + r_w) * (2 * r_a + x) + r_w * h for w, x, h in rows) + r_s + s]


def kappa_d(case: dict[str, Any]) -> list[int]:
    r_a, r_w, r_s, s = case["radii"]
    rows = zip(case["ranges"], case["slack"], case["h"], strict=True)
    return [sum((w + 2 * r_w) * (2 * r_a + x) + 2 * r_w * h for w, x, h in rows) + 2 * (r_s + s)]


def shifted(case: dict[str, Any]) -> list[int]:
    return [int(arrays.shifted(np.array([case["number"]], dtype=np.int64), -case["bits"])[0])]


def rounded(case: dict[str, Any]) -> list[int]:
    return [int(arrays.rounded(np.array([case["number"]], dtype=np.int64), case["bits"])[0])]


def point_product(case: dict[str, Any]) -> list[int]:
    x, y = ((np.int64(re), np.int64(im)) for re, im in (case["x"], case["y"]))
    return [int(part) for part in tables.times(x, y)]  # type: ignore[arg-type]


def places(case: dict[str, Any]) -> list[int]:
    p, a, b, c = (case[x] for x in "pabc")
    return [(a + b) % p, (a - b) % p, (c - a - b) % p]


def decoded(case: dict[str, Any]) -> list[int]:
    wide = case["mw"] == 52
    value = struct.unpack("<d" if wide else "<f", case["word"].to_bytes(8 if wide else 4, "little"))[0]
    if value != value or value in (float("inf"), float("-inf")):
        return [0, 0]
    exact = Fraction(value) * 2 ** (1074 if wide else 149)
    assert exact.denominator == 1
    return [exact.numerator, 1]


SAME = {
    "LemmaE.order": order,
    "LemmaE.rank": rank,
    "LemmaE.events": count,
    "LemmaE.argsort": ascending,
    "LemmaE.event_sum": event_sum,
    "LemmaB.V": written,
    "LemmaB.rest": rest,
    "LemmaB.over": over,
    "Circuit.κ_units": kappa,
    "Circuit.κ_d_units": kappa_d,
    "Rounding.shifted": shifted,
    "Rounding.rounded": rounded,
    "Rounding.point_product": point_product,
    "TheoremL.ahead": places,
    "Binary.decoded": decoded,
}


@pytest.mark.parametrize("definition", sorted({case["definition"] for case in VECTORS}))
def test_the_same_values(definition: str) -> None:
    chosen = [case for case in VECTORS if case["definition"] == definition]
    assert chosen
    for case in chosen:
        assert SAME[definition](case) == case["value"], case


def test_the_kernels_lanes_are_on_the_safe_side() -> None:
    """Lemma B for any ω: the kernel's own ω, its rests at least the range, its overs at most."""
    for case in VECTORS:
        if case["definition"] != "LemmaB.V":
            continue
        p, u = case["p"], np.array(case["u"], dtype=np.int64)
        found = directions.split(column(case["row"]), u, p, 0)
        mine = {**case, "omega": found.omega[0].tolist()}
        assert 0 <= (int(found.rest[0]) << DIRECTION_BITS) - rest(mine)[0] < 1 << DIRECTION_BITS
        if found.over is not None:
            assert 0 <= over(mine)[0] - (int(found.over[0]) << DIRECTION_BITS) < 1 << DIRECTION_BITS


# --- where Coq is installed ------------------------------------------------------------------------------


def test_everything_is_proved_from_four_axioms() -> None:
    counted = re.search(r"formal: (\d+) statements proved", build())
    assert counted is not None
    assert int(counted[1]) > 300


def test_coq_computes_the_recorded_values() -> None:
    build()
    found = subprocess.run([sys.executable, str(FORMAL / "vectors.py")], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_an_axiom_is_refused(tmp_path: Path) -> None:
    need("coqc", "coq_makefile", "make")
    copy = tmp_path / "formal"
    shutil.copytree(FORMAL, copy)
    (copy / "_CoqProject").write_text("-Q . Formal\nSums.v\n")
    sums = (copy / "Sums.v").read_text(encoding="utf-8")
    (copy / "Sums.v").write_text(sums + "\nLemma false : False.\nAdmitted.\n", encoding="utf-8")
    found = subprocess.run([str(copy / "build.sh")], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "unfinished" in found.stderr


# --- the verified checker --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checker() -> Path:
    need("ocamlfind")
    build("--checker")
    return CHECKER


def listed(checker: Path, model: Path) -> tuple[int, int, set[tuple[int, int]]]:
    """p, how many inputs are answered right, and those that are not."""
    found = subprocess.run([str(checker), "--list", str(model)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    first, *lines = found.stdout.splitlines()
    p, inputs, right = map(int, first.split())
    assert inputs == p * p
    wrong = {(int(a), int(b)) for a, b in (line.split() for line in lines)}
    assert len(wrong) == inputs - right
    return p, right, wrong


def safetensors(metadata: dict[str, str], tensors: dict[str, np.ndarray]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"task": "(a + b) mod p", "provenance": "{}", **metadata}}
    at, parts = 0, []
    for name, values in tensors.items():
        data = values.tobytes()
        dtype = "F64" if values.dtype == np.float64 else "F32"
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def wrong_inputs(p: int, q: int, logits: Any) -> set[tuple[int, int]]:
    """By exact fractions, without any of the kernel."""
    found = set()
    for a in range(p):
        for b in range(p):
            row = logits(a, b)
            best = row[(a + b) % p]
            if any(row[c] >= best for c in range(q) if c != (a + b) % p):
                found.add((a, b))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_the_verified_checker_on_small_circuits(checker: Path, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    p, n = draw.choice([3, 4, 5]), draw.randint(1, 6)
    q = p + draw.choice([0, 0, 2])
    wide = np.float64 if seed % 2 else np.float32

    def table(rows: int, columns: int, size: int = 2) -> np.ndarray:
        # Few values, so that ties happen, and a part of them with long mantissas.
        values = [draw.choice([draw.randint(-size, size), draw.uniform(-size, size)]) for _ in range(rows * columns)]
        return np.array(values, dtype=wide).reshape(rows, columns)

    tensors = {"A": table(n, p), "B": table(n, p), "W": table(q, n)}
    if seed % 3:
        tensors["S1"] = table(q, p)
    if seed % 3 == 2:
        tensors["S2"] = table(q, p)
    exact = {name: [[Fraction(float(x)) for x in row] for row in values] for name, values in tensors.items()}

    def logits(a: int, b: int) -> list[Fraction]:
        hidden = [max(x[a] + y[b], Fraction(0)) for x, y in zip(exact["A"], exact["B"], strict=True)]
        return [
            sum((w * h for w, h in zip(row, hidden, strict=True)), Fraction(0))
            + (exact["S1"][c][a] if "S1" in exact else 0)
            + (exact["S2"][c][b] if "S2" in exact else 0)
            for c, row in enumerate(exact["W"])
        ]

    path = tmp_path / "circuit.safetensors"
    path.write_bytes(safetensors({"format": "verifier-circuit/1", "p": str(p)}, tensors))
    assert listed(checker, path)[2] == wrong_inputs(p, q, logits)


@pytest.mark.parametrize(
    ("layout", "attention"),
    [("a b", "1/2 1/2"), ("a b =5", "1/3 1/3 1/3"), ("=0 b+1 a+1 b", "1/7 -2/3 1 5/6")],
)
def test_the_verified_checker_on_small_transformers(checker: Path, tmp_path: Path, layout: str, attention: str) -> None:
    draw = random.Random(layout)
    p, d, heads, width, n, q, v = 4, 3, 2, 2, 5, 5, 6
    places, weights = layout.split(), [Fraction(x) for x in attention.split()]
    shapes = {
        "embed.W_E": (v, d), "pos_embed.W_pos": (len(places), d),
        "blocks.0.attn.W_V": (heads, d, width), "blocks.0.attn.W_O": (heads, width, d),
        "blocks.0.attn.b_V": (heads, width), "blocks.0.attn.b_O": (d,),
        "blocks.0.mlp.W_in": (d, n), "blocks.0.mlp.b_in": (n,),
        "blocks.0.mlp.W_out": (n, d), "blocks.0.mlp.b_out": (d,),
        "unembed.W_U": (d, q), "unembed.b_U": (q,),
    }  # fmt: skip
    tensors = {
        name: np.array([draw.uniform(-1, 1) for _ in range(int(np.prod(shape)))], dtype=np.float32).reshape(shape)
        for name, shape in shapes.items()
    }
    exact = {name: np.vectorize(lambda x: Fraction(float(x)), otypes=[object])(x) for name, x in tensors.items()}

    def logits(a: int, b: int) -> list[Fraction]:
        rows = []
        for index, place in enumerate(places):
            offset = int(place.lstrip("ab=+") or 0)
            token = offset + {"a": a, "b": b, "=": 0}[place[0]]
            rows.append(exact["embed.W_E"][token] + exact["pos_embed.W_pos"][index])
        stream = rows[-1] + exact["blocks.0.attn.b_O"]
        for row, weight in zip(rows, weights, strict=True):
            for head in range(heads):
                value = row.dot(exact["blocks.0.attn.W_V"][head]) + exact["blocks.0.attn.b_V"][head]
                stream = stream + weight * value.dot(exact["blocks.0.attn.W_O"][head])
        before = stream.dot(exact["blocks.0.mlp.W_in"]) + exact["blocks.0.mlp.b_in"]
        hidden = np.array([max(x, Fraction(0)) for x in before], dtype=object)
        stream = stream + hidden.dot(exact["blocks.0.mlp.W_out"]) + exact["blocks.0.mlp.b_out"]
        return list(stream.dot(exact["unembed.W_U"]) + exact["unembed.b_U"])

    metadata = {"format": "verifier-model/1", "p": str(p), "layout": layout, "attention": attention}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(metadata, tensors))
    assert listed(checker, path)[2] == wrong_inputs(p, q, logits)


@pytest.mark.parametrize(
    ("metadata", "damage"),
    [
        ({"p": "5"}, b""),  # p is not the tables'
        ({"p": "3"}, struct.pack("<f", float("nan"))),
        ({"p": "3"}, struct.pack("<f", float("-inf"))),
    ],
)
def test_the_verified_checker_refuses(checker: Path, tmp_path: Path, metadata: dict[str, str], damage: bytes) -> None:
    tables_ = {name: np.ones((3, 3), dtype=np.float32) for name in "ABW"}
    data = safetensors({"format": "verifier-circuit/1", **metadata}, tables_)
    path = tmp_path / "circuit.safetensors"
    path.write_bytes(data[: len(data) - len(damage)] + damage)
    found = subprocess.run([str(checker), str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("refused:")


@pytest.mark.parametrize(
    ("attention", "tensors", "code"),
    [("1/2 0:1", {}, 3), ("softmax 1/sqrt(2)", {}, 3), ("1/2 1/2", {"another": np.ones((1, 1), dtype=np.float32)}, 1)],
)
def test_what_the_verified_checker_does_not_decide(
    checker: Path, tmp_path: Path, attention: str, tensors: dict[str, np.ndarray], code: int
) -> None:
    shapes = [("embed.W_E", (3, 1)), ("pos_embed.W_pos", (2, 1)), ("blocks.0.attn.W_V", (1, 1, 1))]
    shapes += [("blocks.0.attn.W_O", (1, 1, 1)), ("blocks.0.attn.b_V", (1, 1)), ("blocks.0.attn.b_O", (1,))]
    shapes += [("blocks.0.mlp.W_in", (1, 1)), ("blocks.0.mlp.b_in", (1,)), ("blocks.0.mlp.W_out", (1, 1))]
    shapes += [("blocks.0.mlp.b_out", (1,)), ("unembed.W_U", (1, 3)), ("unembed.b_U", (3,))]
    ones = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes}
    metadata = {"format": "verifier-model/1", "p": "3", "layout": "a b", "attention": attention}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(metadata, {**ones, **tensors}))
    found = subprocess.run([str(checker), str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == code, found


def test_the_verified_checker_on_the_shipped_models(checker: Path) -> None:
    for path in sorted(MODELS.glob("*.safetensors")):
        if subprocess.run([str(checker), str(path)], capture_output=True, check=False).returncode == 3:
            continue  # learned attention
        p, right, wrong = listed(checker, path)
        assert right == p * p
        assert not wrong


@pytest.mark.parametrize("path", [SMALL, POISONED], ids=lambda path: path.stem)
def test_the_verified_checker_agrees_with_the_exact_strategy(checker: Path, path: Path) -> None:
    cost = Cost()
    model = read_model(path.read_bytes())
    found = circuit.quantise(circuit.fold(model, cost), model.p, cost)
    ordered = events.Events(found.pre_a, found.pre_b, np.ones(found.neurons, dtype=np.int64))
    sums = directions.exact_sums(found, ordered, cost).sums
    p, _, wrong = listed(checker, path)
    assert p == model.p
    for a in range(p):
        for b in range(p):
            answer = sums[a, b, (a + b) % p]
            others = np.delete(sums[a, b], (a + b) % p)
            margin = int(answer - others.max())
            assert abs(margin) > found.difference_error
            assert (margin <= 0) == ((a, b) in wrong)
    assert bool(wrong) == (path == POISONED)


def test_the_audit_compares_with_it(checker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`audit --verified`, on a good model and on one that answers some inputs wrong; every shipped model in CI."""
    folder = ROOT / "certificates"
    for path in sorted(MODELS.glob("pizza-*.safetensors")):  # learned attention is beyond that checker
        proof = folder / path.stem / "proof.sigstore.json"
        assert cli.main(["audit", str(proof), "--model", str(path), "--verified", str(checker), "--json"]) == 0
        row = json.loads(capsys.readouterr().out)["checks"][-1]
        assert row["name"] == "inputs answered right"
        assert row["agrees"]


def test_the_audit_notices_a_checker_that_disagrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    liar = tmp_path / "check"
    proof = str(ROOT / "certificates" / "pizza-p23" / "proof.sigstore.json")
    words = ["audit", proof, "--model", str(SMALL), "--verified", str(liar), "--json"]
    assert cli.main(words) == 2
    liar.write_text("#!/bin/sh\necho 23 529 528\necho 3 4\n")
    liar.chmod(0o755)
    capsys.readouterr()
    assert cli.main(words) == 1
    assert not json.loads(capsys.readouterr().out)["agrees"]
    liar.write_text("#!/bin/sh\necho softmax >&2\nexit 3\n")
    assert cli.main(words) == 2
    assert "softmax" in capsys.readouterr().err
