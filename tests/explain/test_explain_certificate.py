"""The certificate that `explain` writes, and what it is worth on the shipped models (float64)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.explain.explain_circuits import DIGEST, noise, pizza, shipped, with_outputs, worth
from tests.shipped import MODELS, truth, value
from tests.strategies import claim_of
from verifier.explainer import describe, explain
from verifier.explainer.directions import deviations, find_directions
from verifier.explainer.explanation import pure_table
from verifier.explainer.families import closed_form, find_families
from verifier.explainer.reading import read, sample
from verifier.kernel import check
from verifier.kernel.certificate import read_certificate
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
    assert d["format"] == "verifier-certificate/2"
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
    certificate, c = worth(circuit)
    parts = require_well_formed(circuit, certificate)
    directions, error, gap_error, explained = GOALS[name]
    true = truth(MODELS / f"{name}.safetensors").margins().min()
    assert value(c.accuracy.min_margin) >= 0.96 * true > 11
    assert len(parts["directions"][0]) <= directions
    assert value(c.logits.max_error) <= error
    assert c.accuracy.gap_error is not None
    assert value(c.accuracy.gap_error) <= gap_error
    assert c.accuracy.explained_inputs >= explained * c.accuracy.total_inputs
    assert c.closed_form.explains_all == (explained == 1.0)
    assert c.accuracy.certified_inputs == c.accuracy.total_inputs
    assert max(value(bound.relative_bound) for bound in c.quadrature) < 0.5
    assert 1 < c.events / c.parameters < 2
    assert sum(len(item["neurons"]) for item in parts["others"]) <= 4
    assert ("deformation" in parts) == (name == "pizza-p59-three")


def test_deviations_are_those_of_the_definition() -> None:
    """Theorem L by loops over inputs and outputs, on a small circuit."""
    r = read(pizza(11, [2, 5], n=30))
    s = sample(r)
    families = find_families(r, s)
    table = pure_table(r, closed_form(r, families, s.deltas))
    u = find_directions(r, s, table, 0.975, 6)
    v = r.w - u @ (u.T @ r.w)
    errors = np.zeros((11, 11))
    for delta in range(11):
        g = {j: z[0] for j, z in closed_form(r, families, np.array([delta])).items()}
        form = [sum((z * np.exp(2j * np.pi * j * d / 11)).real for j, z in g.items()) for d in range(11)]
        for b in range(11):
            h = np.maximum(r.a[:, (b + delta) % 11] + r.b[:, b], 0)
            known, eta = u @ (u.T @ (r.w @ h)), float(np.ptp(v, axis=0) @ h)
            away = [known[(2 * b + delta + d) % 11] - form[d] for d in range(11)]
            errors[delta, b] = (max(away) - min(away) + eta) / 2
    assert np.allclose(deviations(r, s, table, u), errors)


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
    claim = claim_of(model, p)
    deformed, without = (check(model, claim, x).conclusion for x in (certificate, pure))
    assert value(deformed.closed_form.error) < value(without.closed_form.error) / 10
    assert deformed.accuracy.explained_inputs > 1.5 * without.accuracy.explained_inputs > 0


def test_the_kernel_reads_the_explanation() -> None:
    circuit = shipped("pizza-p23")
    r = read(circuit)
    read_back = read_certificate(explain(circuit, DIGEST))
    for f, g in zip(read_back.families, find_families(r, sample(r)), strict=True):
        assert (f.frequency, f.outputs, f.neurons.tolist()) == (g.frequency, g.outputs, g.neurons.tolist())
        theta = np.array([f.dc, *f.profile.ravel()]) * 2.0**-24
        assert np.abs(theta - g.theta).max() < 2.0**-24
        amplitudes = np.ldexp(f.amplitudes.astype(float), read_back.amplitude_exponent - r.exponent)
        assert np.allclose(amplitudes, g.amplitude, rtol=1e-6)
        assert np.abs((f.phases * 2.0**-32 - g.phase + 0.5) % 1 - 0.5).max() < 2.0**-32


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
    read_certificate(certificate)
    require_well_formed(circuit, certificate)
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
    (low, few), (high, many) = (worth(circuit, share) for share in (0.5, 0.98))
    assert len(json.loads(low)["directions"][0]) < len(json.loads(high)["directions"][0])
    true = truth(MODELS / "pizza-p59-a.safetensors").margins().min()
    assert value(many.accuracy.min_margin) >= 0.98 * true - 1e-3  # what fixed point costs
    assert value(many.logits.max_error) < value(few.logits.max_error)
