"""The front door in Python: the same answers and the same sentences as the command line."""

from __future__ import annotations

import doctest
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import verifier
from tests.shipped import POISONED, ROOT, SMALL, policy_of, truth
from verifier import api, cli
from verifier.model import Model, fold, read_native
from verifier.proof.keys import generate, write_signing_key


@pytest.fixture(scope="module")
def small() -> verifier.Certification:
    return verifier.certify(SMALL)


@pytest.fixture(scope="module")
def poisoned() -> verifier.Certification:
    return verifier.certify(POISONED)


def test_dir_shows_exactly_the_public_names() -> None:
    assert dir(verifier) == sorted(verifier.__all__)
    for name in verifier.__all__:
        assert inspect.getdoc(getattr(verifier, name)), name


def test_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(api, extraglobs={"verifier": verifier})
    assert found.attempted > 3
    assert found.failed == 0


def test_margins_are_lower_bounds_in_logits(small: verifier.Certification) -> None:
    true = truth(SMALL).margins()
    assert small.margins.shape == (23, 23)
    assert (small.margins > 0).all()
    assert (small.margins <= true + 1e-9).all()
    assert small.margins.min() > 0.8 * true.min()
    assert small.certified == 529


def test_it_is_what_the_command_line_says(
    small: verifier.Certification, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    write_signing_key(key, generate())
    assert cli.main(["certify", str(SMALL), "--out", str(tmp_path / "out"), "--key", str(key), "--json"]) == 0
    printed, here = json.loads(capsys.readouterr().out), small.to_dict()
    for name in ("theorem", "accuracy", "quadrature", "logits", "closed_form", "certificate"):
        assert printed[name] == here[name]


def test_tables(small: verifier.Certification) -> None:
    table = small.quadrature
    assert len(table) == len(small.conclusion.quadrature)
    assert [row["frequency"] for row in table] == table.to_dict()["frequency"]
    assert all(row["bound"] == min(row["rectangle"], row["harmonic"], row["arc_sum"]) for row in table)
    assert sum(small.families.to_dict()["neurons"]) <= small.source.neurons
    assert table._repr_html_().count("<tr>") == len(table) + 1
    assert len(repr(small)) < 100
    assert repr(table[:1]).count("\n") == 1


def test_wrong_answers_are_told(small: verifier.Certification, poisoned: verifier.Certification) -> None:
    assert not poisoned.proved
    assert poisoned.wrong is not None
    assert small.wrong is not None
    assert {(x["a"], x["b"]): x["answer"] for x in poisoned.wrong} == {(3, 5): 20, (10, 20): 1}
    assert len(small.wrong) == 0
    with pytest.raises(verifier.InputError, match="at_least=527"):
        poisoned.sign()
    assert verifier.certify(POISONED, at_least=527).proved


def test_a_notebook_gets_the_summary_and_the_map(poisoned: verifier.Certification) -> None:
    shown = poisoned._repr_html_()
    assert "NOT PROVED" in shown
    assert "data:image/png;base64," in shown


def test_figures_and_the_page(small: verifier.Certification, tmp_path: Path) -> None:
    for name, panels in (("margins", 1), ("quadrature", 3), ("budget", 1)):
        figure = small.plot(name)
        assert sum(axes.has_data() for axes in figure.axes) >= panels
    with pytest.raises(verifier.InputError, match=r"must be one of quadrature, phases, .* not 'pie'"):
        small.plot("pie")
    page = small.report(tmp_path / "page.html").read_text()
    assert "This network is proved to get all 529 sums modulo 23 right" in page


def test_explain_is_a_table_of_frequencies(small: verifier.Certification) -> None:
    table = verifier.explain(SMALL)
    assert table.to_dict()["frequency"] == small.quadrature.to_dict()["frequency"]
    assert 0.9 < sum(row["share"] for row in table) <= 1


def test_arrays_in_memory(tmp_path: Path) -> None:
    circuit = fold(read_native(SMALL))
    tables = {name: getattr(circuit, name) for name in ("A", "B", "W", "S1", "S2")}
    found = verifier.certify(tables, name="mine")
    assert found.certified == 529
    place = found.save(tmp_path / "proofs")
    assert {path.name for path in place.iterdir()} == {"certificate.json", "claim.json", "mine.safetensors"}


class Pizza(torch.nn.Module):
    """The small model as a module of TransformerLens' form: a `cfg`, its names of weights, and a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        model = read_native(SMALL)
        assert isinstance(model, Model)
        self.cfg = {"n_ctx": 2, "d_vocab": 23, "act_fn": "relu", "normalization_type": None}
        self.names = {name.replace(".", "_"): name for name in model.tensors}
        for own, name in self.names.items():
            self.register_parameter(own, torch.nn.Parameter(torch.from_numpy(np.array(model.tensors[name]))))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {name: getattr(self, own).detach() for own, name in self.names.items()}

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        t = {name: getattr(self, own) for own, name in self.names.items()}
        x = t["embed.W_E"][tokens] + t["pos_embed.W_pos"]
        value = torch.einsum("btd,hdk->bthk", x, t["blocks.0.attn.W_V"]) + t["blocks.0.attn.b_V"]
        mixed = torch.einsum("bhk,hkd->bd", value.mean(dim=1), t["blocks.0.attn.W_O"]) + t["blocks.0.attn.b_O"]
        x = x + mixed[:, None]
        hidden = torch.relu(x @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"])
        x = x + hidden @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"]
        return x @ t["unembed.W_U"] + t["unembed.b_U"]  # type: ignore[no-any-return]


def test_a_module_that_was_never_saved() -> None:
    module = Pizza()
    found = verifier.certify(module, p=23, layout="a b", attention="1/2")
    assert found.certified == 529
    assert repr(found) == "<Certification of model: proved, 529 of 529 inputs, binary32>"
    imported = verifier.import_model(module, p=23, layout="a b", attention="1/2")
    assert len(repr(imported)) < 1500
    assert verifier.certify(imported).source.sha256 == found.source.sha256
    state = verifier.certify(module.state_dict(), config=module.cfg, p=23, layout="a b", attention="1/2")
    assert state.margins == pytest.approx(found.margins)


def test_a_hooked_transformer_trained_here() -> None:
    """TransformerLens itself, 1 or 2: version 4 has no HookedTransformer, and CI none of it."""
    lens = pytest.importorskip("transformer_lens", reason="transformer_lens<3 is not installed: NOT tried")
    sizes = {"n_layers": 1, "d_model": 32, "n_ctx": 2, "d_head": 8, "n_heads": 4, "d_mlp": 128, "d_vocab": 11}
    kind = {"act_fn": "relu", "normalization_type": None, "device": "cpu", "seed": 1}
    model = lens.HookedTransformer(lens.HookedTransformerConfig(**sizes, **kind))
    a, b = torch.arange(121).div(11, rounding_mode="floor"), torch.arange(121) % 11
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.3)
    for _ in range(1500):
        loss = torch.nn.functional.cross_entropy(model(torch.stack([a, b], 1))[:, -1], (a + b) % 11)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = verifier.certify(model, p=11)
    assert (found.proved, found.certified) == (True, 121)


NOTEBOOK = """
import torch, verifier
from benchmarks.synthetic import synthetic
c = synthetic(23, 96)
model = torch.nn.Sequential(torch.nn.Linear(46, 96, False), torch.nn.ReLU(), torch.nn.Linear(96, 23, False))
with torch.no_grad():
    model[0].weight.copy_(torch.from_numpy(c.A).repeat(1, 2)[:, :46])
    model[0].weight[:, 23:] = torch.from_numpy(c.B)
    model[2].weight.copy_(torch.from_numpy(c.W))
found = verifier.certify(model)
found
"""


def test_three_lines_in_a_fresh_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = new_notebook(cells=[new_code_cell(NOTEBOOK)])
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = book.cells[0].outputs
    kinds = [output.output_type for output in outputs]
    assert kinds == ["display_data", "execute_result"]
    assert "PROVED: for all 529 inputs" in outputs[1].data["text/html"]
    assert "data:image/png;base64," in outputs[1].data["text/html"]
    assert outputs[0].data["text/plain"] == "done"


def test_signed_saved_and_verified(
    small: verifier.Certification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    write_signing_key(key, generate())
    place = small.sign(key).save(tmp_path / "certificates")
    policy = tmp_path / "policy.toml"
    policy.write_text(policy_of(tmp_path / "key.pub.pem"))
    verified = verifier.verify(place, model=SMALL, policy=policy)
    assert verified.rechecked
    monkeypatch.chdir(ROOT)
    assert verifier.verify(place, policy=policy).keyids == verified.keyids
    policy.write_text(policy.read_text().replace('certified_inputs = "all"', 'min_margin = "1e9"'))
    with pytest.raises(verifier.VerifierError):
        verifier.verify(place / "proof.sigstore.json", model=SMALL, policy=policy)


def test_errors_are_the_command_line_s_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    for call in ({"at_least": -1}, {"semantics": "float16"}):
        words: list[Any] = [w for name, x in call.items() for w in (f"--{name.replace('_', '-')}", str(x))]
        with pytest.raises(verifier.InputError) as raised:
            verifier.certify(SMALL, **call)
        assert cli.main(["certify", str(SMALL), *words]) == 2
        assert "must" in str(raised.value)
        assert "float16" in capsys.readouterr().err or "semantics" not in call
    with pytest.raises(verifier.InputError, match="none"):
        verifier.certify("none.safetensors")
    with pytest.raises(verifier.InputError, match="letters"):
        verifier.certify({}, name="../x")
