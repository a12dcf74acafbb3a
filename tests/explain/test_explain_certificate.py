"""The certificate that `explain` writes, and what it is worth on the shipped models (float64)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.explain.explain_circuits import DIGEST, noise, pizza, shipped, with_outputs
from tests.strategies import claim_of
from verifier.explainer import describe, explain, figures
from verifier.explainer.certificate import decode
from verifier.explainer.families import find_families
from verifier.explainer.reading import read, sample
from verifier.kernel import check
from verifier.model import FoldedCircuit, encode_circuit

FIELDS = {
    "format",
    "model_sha256",
    "p",
    "neurons",
    "amplitude_exponent",
    "directions",
    "families",
    "others",
    "nodes",
    "boxes",
}


def require_well_formed(circuit: FoldedCircuit, certificate: bytes) -> dict[str, Any]:
    """Everything that the format says of a certificate."""
    d: dict[str, Any] = json.loads(certificate)
    p, half = circuit.p, (circuit.p - 1) // 2
    assert certificate == (json.dumps(d, sort_keys=True, separators=(",", ":")) + "\n").encode()
    assert set(d) - {"deformation"} == FIELDS
    assert (d["format"], d["model_sha256"]) == ("verifier-certificate/2", DIGEST)
    assert (d["p"], d["neurons"]) == (p, circuit.neurons)
    assert -1200 <= d["amplitude_exponent"] <= 1200
    assert 64 <= d["nodes"] <= 4096
    widths = {len(row) for row in d["directions"]}
    assert len(d["directions"]) == circuit.outputs
    assert len(widths) == 1
    assert 1 <= widths.pop() <= 64
    assert all(type(x) is int and abs(x) <= 2**24 for row in d["directions"] for x in row)
    placed = [i for item in d["others"] for i in item["neurons"]]
    for f in d["families"]:
        assert set(f) == {"frequency", "dc", "profile", "outputs", "members"}
        assert 1 <= f["frequency"] <= half
        assert 1 <= f["outputs"] <= 4
        assert all(r * f["frequency"] % p for r in range(1, f["outputs"] + 1))
        assert 1 <= len(f["profile"]) <= 8
        numbers = [f["dc"], *(x for row in f["profile"] for x in row)]
        assert len(numbers) == 1 + 4 * len(f["profile"])
        assert all(type(x) is int and abs(x) <= 2**27 for x in numbers)
        for neuron, amplitude, phase in f["members"]:
            assert 1 <= amplitude <= 2**32
            assert 0 <= phase < 2**32
            placed.append(neuron)
    assert sorted(placed) == list(range(circuit.neurons))
    for item in d["others"]:
        assert set(item) == {"frequency", "neurons"}
        assert item["neurons"]
        assert 1 <= item["frequency"] <= half
    assert [box["frequency"] for box in d["boxes"]] == [f["frequency"] for f in d["families"]]
    assert all(0 <= box[name] < 2**32 for box in d["boxes"] for name in ("whole", "half"))
    return d


GOALS = {  # directions, error at most, gap error at most, explained
    "pizza-p59-a": (22, 3.0, 0.14, 1.0),
    "pizza-p59-b": (33, 2.7, 0.16, 1.0),
    "pizza-p59-c": (36, 1.8, 0.16, 1.0),
    "pizza-p59-three": (18, 14.8, 0.65, 708 / 3481),
    "pizza-p23": (16, 2.7, 0.20, 1.0),
}


@pytest.mark.parametrize("name", GOALS)
def test_shipped_models(name: str) -> None:
    circuit = shipped(name)
    certificate = explain(circuit, DIGEST)
    require_well_formed(circuit, certificate)
    f = figures(circuit, certificate)
    directions, error, gap_error, explained = GOALS[name]
    assert f.certified_margin >= 0.96 * f.true_margin > 11
    assert f.directions <= directions
    assert f.error <= error
    assert f.gap_error <= gap_error
    assert f.explained >= explained
    assert (f.least_gap > 2 * f.error) == (explained == 1.0)
    assert f.certified == f.right == 1.0
    assert max(f.relative_bound.values()) < 0.5
    assert 1 < f.events / f.parameters < 2
    assert f.others <= 4
    assert (b"deformation" in certificate) == (name == "pizza-p59-three")


def test_the_figures_are_those_of_the_definitions() -> None:
    """E, γ and ρ by loops over inputs and outputs, on a small circuit."""
    circuit = pizza(11, [2, 5], n=30)
    r = read(circuit)
    certificate = explain(circuit, DIGEST)
    families, u, *_ = decode(r, certificate)
    from verifier.explainer.families import closed_form

    f = figures(circuit, certificate)
    v = r.w - u @ (u.T @ r.w)
    errors, least, missed = [], [], []
    for delta in range(11):
        g = {j: value[0] for j, value in closed_form(r, families, np.array([delta])).items()}
        form = [sum((z * np.exp(2j * np.pi * j * d / 11)).real for j, z in g.items()) for d in range(11)]
        least.append(min(form[0] - x for x in form[1:]))
        for b in range(11):
            h = np.maximum(r.a[:, (b + delta) % 11] + r.b[:, b], 0)
            known, eta = u @ (u.T @ (r.w @ h)), float(np.ptp(v, axis=0) @ h)
            turned = [known[(2 * b + delta + d) % 11] for d in range(11)]
            away = [x - y for x, y in zip(turned, form, strict=True)]
            errors.append((max(away) - min(away) + eta) / 2)
            for d in range(1, 11):
                gap = form[0] - form[d]
                missed.append((abs(turned[0] - turned[d] - gap) + eta) / gap)
    scale = 2.0 ** (r.exponent + r.out_exponent)
    assert np.isclose(f.error, max(errors) * scale)
    assert np.isclose(f.least_gap, min(least) * scale)
    assert np.isclose(f.gap_error, max(missed))
    assert f.explained == 1.0


def test_outputs_that_are_no_pure_cosines() -> None:
    """The waves that the network was made with are found, and what the kernel proves of them is what is expected."""
    rng, n, p = np.random.default_rng(1), 90, 23
    circuit = pizza(p, [2, 5, 9], n)
    waves = {k: 0.1 * (rng.standard_normal(p) + 1j * rng.standard_normal(p)) for k in (2, 5, 9)}
    turns = np.exp(4j * np.pi * (np.arange(n) / n + 0.003))
    more = [(turn * waves[k]).real / n for turn, k in zip(turns, np.resize([2, 5, 9], n).tolist(), strict=True)]
    circuit = replace(circuit, W=circuit.W + np.stack(more, axis=1))
    model = encode_circuit(circuit)
    certificate = explain(circuit, hashlib.sha256(model).hexdigest())
    given = json.loads(certificate)
    found = {
        x["frequency"]: (np.array(x["cosine"]) + 1j * np.array(x["sine"])) / 2**20
        for x in given["deformation"]["waves"]
    }
    for k, wave in waves.items():
        # The closed form has the wave's own part at e(kc/p) in its G already, and a constant in c moves nothing.
        meant, own = (x + np.exp(2j * np.pi * k * np.arange(p) / p) for x in (wave, found[k]))
        ratio = np.vdot(meant, own) / np.vdot(meant, meant)
        assert np.abs(own - ratio * meant).std() < 0.05
        assert abs(ratio) > 0.9
    pure = json.dumps({name: value for name, value in given.items() if name != "deformation"}).encode()
    f, without = figures(circuit, certificate), figures(circuit, pure)
    assert f.error < without.error / 10
    assert f.explained > 1.5 * without.explained > 0
    conclusion = check(model, claim_of(model, p), certificate).conclusion
    assert conclusion.accuracy.explained_inputs == round(f.explained * p * p)
    for bound, expected in ((conclusion.closed_form.error, f.error), (conclusion.closed_form.least_gap, f.least_gap)):
        assert abs(bound.mantissa * 2.0**bound.exponent - expected) < 3e-3 * without.error  # Lemma I


def test_decoding_gives_the_explanation_back() -> None:
    circuit = shipped("pizza-p23")
    r = read(circuit)
    certificate = explain(circuit, DIGEST)
    for f, g in zip(decode(r, certificate)[0], find_families(r, sample(r)), strict=True):
        assert (f.frequency, f.outputs, f.neurons.tolist()) == (g.frequency, g.outputs, g.neurons.tolist())
        assert np.abs(f.theta - g.theta).max() < 2.0**-24
        assert np.allclose(f.amplitude, g.amplitude, rtol=1e-6)
        assert np.abs((f.phase - g.phase + 0.5) % 1 - 0.5).max() < 2.0**-32


def test_the_same_circuit_has_the_same_certificate() -> None:
    assert explain(pizza(13, [2, 5]), DIGEST) == explain(pizza(13, [2, 5]), DIGEST)


def test_boxes_start_where_their_distance_from_the_nodes_is_least() -> None:
    circuit = pizza(13, [2], n=12)
    (box,) = require_well_formed(circuit, explain(circuit, DIGEST))["boxes"]
    # nodes at i/12 + 0.003, on the half circle two by two; equal weights, so a box (two) is centred on each (pair)
    for start in (box["whole"] / 2**32, box["half"] / 2**32):
        assert abs(((start - 0.003 + 1 / 24) * 12 + 0.5) % 1 - 0.5) < 1e-3


def constant(p: int) -> FoldedCircuit:
    return FoldedCircuit(p, np.ones((3, p)), np.ones((3, p)), np.zeros((p, 3)), None, None, {})


def scaled(circuit: FoldedCircuit, inputs: int, outputs: int) -> FoldedCircuit:
    a, b, w = np.ldexp(circuit.A, inputs), np.ldexp(circuit.B, inputs), np.ldexp(circuit.W, outputs)
    return FoldedCircuit(circuit.p, a, b, w, None, None, {})


def independent(p: int, n: int) -> FoldedCircuit:
    rng = np.random.default_rng(3)
    k, phases, tokens = rng.integers(1, p // 2, (n, 1)), rng.random((2, n, 1)), np.arange(p) / p
    a, b = (np.cos(2 * np.pi * (k * tokens + phase)) for phase in phases)
    return FoldedCircuit(p, a, b, rng.standard_normal((p, n)), None, None, {})


def dead(circuit: FoldedCircuit) -> FoldedCircuit:
    a, b = circuit.A.copy(), circuit.B.copy()
    a[:2], b[:2] = 0, 0  # nothing
    a[2:4] -= 1000  # never active
    a[4:6], b[4:6] = 7, 1  # constant
    return FoldedCircuit(circuit.p, a, b, circuit.W, circuit.S1, circuit.S2, {})


ODD = {
    "one neuron": noise(3, 1),
    "p = 4": noise(4, 9),
    "p = 6, more outputs": noise(6, 20, 11, skips=True),
    "composite": pizza(60, [6, 10, 15, 7], n=80),
    "all zero": FoldedCircuit(5, np.zeros((2, 5)), np.zeros((2, 5)), np.zeros((5, 2)), None, None, {}),
    "constant": constant(5),
    "noise": noise(23, 64, 40, skips=True),
    "huge": scaled(pizza(13, [2, 5]), 390, 390),
    "tiny": scaled(pizza(13, [2, 5]), -390, -390),
    "huge and tiny": scaled(pizza(13, [2, 5]), 390, -390),
    "only skips": FoldedCircuit(5, np.ones((2, 5)), np.ones((2, 5)), np.zeros((5, 2)), np.eye(5), np.eye(5) * 1e99, {}),
    "independent phases": independent(23, 100),
    "dead neurons": dead(shipped("pizza-p23")),
    "q = p + 1": with_outputs(shipped("pizza-p23"), -0.1 * np.ones((1, 128))),
}


@pytest.mark.parametrize("name", ODD)
def test_any_circuit_has_a_certificate(name: str) -> None:
    circuit = ODD[name]
    certificate = explain(circuit, DIGEST)
    require_well_formed(circuit, certificate)
    f = figures(circuit, certificate)
    assert np.isfinite([f.true_margin, f.certified_margin, f.error, f.least_gap, f.explained]).all()
    assert f.certified_margin <= f.true_margin + 1e-9 * abs(f.true_margin)
    assert f.certified <= f.right
    assert describe(circuit).startswith("estimates: ")


def test_neurons_that_say_nothing_are_outside_the_families() -> None:
    d = require_well_formed(ODD["dead neurons"], explain(ODD["dead neurons"], DIGEST))
    outside = [i for item in d["others"] for i in item["neurons"]]
    assert {0, 1, 2, 3, 4, 5} <= set(outside)
    commonest = max(d["families"], key=lambda f: len(f["members"]))["frequency"]
    assert {0, 1, 2, 3, 4, 5} <= {i for x in d["others"] if x["frequency"] == commonest for i in x["neurons"]}


@pytest.mark.parametrize("name", ["all zero", "constant", "noise", "only skips"])
def test_without_a_mechanism_there_are_no_families(name: str) -> None:
    d = require_well_formed(ODD[name], explain(ODD[name], DIGEST))
    assert d["families"] == []
    assert d["boxes"] == []


def test_a_wanted_share_of_the_margin() -> None:
    circuit = shipped("pizza-p59-a")
    low, high = (figures(circuit, explain(circuit, DIGEST, share)) for share in (0.5, 0.98))
    assert low.directions < high.directions
    assert high.certified_margin >= 0.98 * high.true_margin
    assert high.error < low.error
