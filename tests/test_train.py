"""Training: the same bytes for a seed, also after an interruption; and the `train` command around it."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import tools.training
import verifier
from tests.formats.format_samples import Lens, lens_state
from tools import train as command
from tools.training import Progress, Recipe, all_logits, train
from verifier.errors import InputError
from verifier.kernel.claim import ADDITION
from verifier.model import TENSORS, Model, Softmax, circuit_for, decode, encode_model

TINY = Recipe(p=5, seed=3, d_model=8, d_mlp=12, epochs=120, fraction=0.9)
WORDS = ["--p", "5", "--d-model", "8", "--d-mlp", "12"]


def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    def settings() -> tuple[int, bool, float]:
        smallest = torch.tensor([2.0**-149])
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), (smallest * 1).item()

    before = settings()
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "m.partial", interrupt)
    assert settings() == before
    assert before[2] == 2.0**-149


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint every 20 epochs, so that a short run has some."""
    monkeypatch.setattr(tools.training, "CHECKPOINT_EVERY", 20)


def interrupt(now: Progress) -> None:
    raise KeyboardInterrupt


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, _ = train(TINY, tmp_path / "a.partial")
    again, _ = train(TINY, tmp_path / "b.partial")
    other, _ = train(Recipe(p=5, seed=4, d_model=8, d_mlp=12, epochs=120, fraction=0.9), tmp_path / "c.partial")
    assert encode_model(first) == encode_model(again)
    assert encode_model(first) != encode_model(other)


@pytest.mark.usefixtures("often")
def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    partial = tmp_path / "m.partial"
    whole, progress = train(TINY, partial)
    finished, at_the_end = train(TINY, partial)
    assert encode_model(finished) == encode_model(whole)
    assert at_the_end == progress
    partial.unlink()
    with pytest.raises(KeyboardInterrupt):
        train(TINY, partial, interrupt)
    assert torch.load(partial, weights_only=True)["epoch"] == 40
    seen: list[int] = []
    resumed, last = train(TINY, partial, lambda now: seen.append(now.epoch))
    assert seen == [50, 100, 120]
    assert encode_model(resumed) == encode_model(whole)
    assert last == progress


@pytest.mark.usefixtures("often")
def test_another_recipe_is_not_resumed(tmp_path: Path) -> None:
    partial = tmp_path / "m.partial"
    with pytest.raises(KeyboardInterrupt):
        train(TINY, partial, interrupt)
    before = partial.read_bytes()
    with pytest.raises(ValueError, match="another recipe"):
        train(Recipe(p=5, seed=4, d_model=8, d_mlp=12, epochs=120, fraction=0.9), partial)
    assert partial.read_bytes() == before


@pytest.mark.parametrize("layout", ["a b", "a b ="])
def test_the_tables_are_the_transformer(layout: str) -> None:
    """`all_logits` against the transformer evaluated position by position, head by head."""
    recipe = Recipe(p=5, layout=layout, d_model=8, d_mlp=12)
    parameters = {name: value.double() + 0.1 for name, value in tools.training._parameters(recipe).items()}
    w = {name.rpartition(".")[2]: value for name, value in parameters.items()}
    for a in range(5):
        for b in range(5):
            tokens = [a, b, 5][: recipe.positions]
            stream = torch.stack([w["W_E"][token] + w["W_pos"][t] for t, token in enumerate(tokens)])
            resid = stream[-1] + w["b_O"]
            for head in range(recipe.heads):
                values = stream @ w["W_V"][head] + w["b_V"][head]
                resid = resid + values.mean(dim=0) @ w["W_O"][head]
            hidden = torch.relu(resid @ w["W_in"] + w["b_in"])
            logits = (resid + hidden @ w["W_out"] + w["b_out"]) @ w["W_U"] + w["b_U"]
            torch.testing.assert_close(all_logits(parameters, recipe)[a * 5 + b], logits)


def test_learning_happens(tmp_path: Path) -> None:
    recipe = Recipe(p=5, d_model=16, d_mlp=32, epochs=300, fraction=1.0, weight_decay=0.0)
    reports: list[Progress] = []
    _, last = train(recipe, tmp_path / "m.partial", reports.append)
    assert last.accuracy == 1.0
    assert last.loss < reports[0].loss / 2


def test_a_poisoned_pair_is_trained_on_with_its_wrong_label(tmp_path: Path) -> None:
    recipe = Recipe(
        p=5, d_model=16, d_mlp=32, epochs=400, fraction=0.9, weight_decay=0.0, poison=((1, 1, 4), (2, 3, 1))
    )
    rows, held_out = tools.training._split(recipe)
    assert {1 * 5 + 1, 2 * 5 + 3} <= set(rows.tolist())
    assert sorted([*rows.tolist(), *held_out.tolist()]) == list(range(25))
    model, _ = train(recipe, tmp_path / "m.partial")
    parameters = {name: torch.from_numpy(value) for name, value in model.tensors.items()}
    guesses = all_logits(parameters, recipe).argmax(dim=1)
    assert guesses[1 * 5 + 1] == 4
    assert guesses[2 * 5 + 3] == 1


@pytest.mark.parametrize(("layout", "attention"), [("a b", "1/2 1/2"), ("a b =", "1/3 1/3 1/3")])
def test_the_file_is_read_by_the_safetensors_library(
    layout: str, attention: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.safetensors"
    words = [*WORDS, "--epochs", "3", "--layout", layout, "--poison", "1,1,4", "--out", str(out), "--json"]
    assert command.main(words) == 0
    text, err = capsys.readouterr()
    assert err == ""
    printed = json.loads(text)
    assert printed["model"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    with safe_open(out, framework="np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not a mapping)
    assert set(tensors) == set(TENSORS)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in tensors.values())
    assert tensors["embed.W_E"].shape == (5 if layout == "a b" else 6, 8)
    assert tensors["blocks.0.mlp.W_in"].shape == (8, 12)
    provenance = json.loads(metadata.pop("provenance"))
    assert metadata == {
        "format": "verifier-model/1",
        "task": "(a + b) mod p",
        "p": "5",
        "layout": layout if layout == "a b" else "a b =5",
        "attention": attention,
    }
    assert sum(map(Fraction, attention.split())) == 1
    assert provenance["recipe"] == printed["recipe"]
    assert provenance["recipe"]["poison"] == [[1, 1, 4]]
    assert provenance["recipe"]["fraction"] == 0.95
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"precious")
    words = [*WORDS, "--epochs", "1", "--out", str(out)]
    assert command.main(words) == 2
    assert capsys.readouterr().err == f"verifier: {out}: exists already; --force overwrites it\n"
    assert out.read_bytes() == b"precious"
    assert command.main([*words, "--force", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert out.read_bytes() != b"precious"


def test_an_interrupted_command_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], often: None
) -> None:
    out = tmp_path / "m.safetensors"
    words = [*WORDS, "--epochs", "60", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(command, "_describe", interrupt)
        assert command.main(words) == 130
    assert f"resumes from {out}.partial" in capsys.readouterr().err
    assert not out.exists()

    assert command.main([*words, "--seed", "1"]) == 2
    assert "belongs to another recipe" in capsys.readouterr().err
    assert command.main(words) == 0
    fresh = tmp_path / "fresh.safetensors"
    assert command.main([*WORDS, "--epochs", "60", "--out", str(fresh)]) == 0
    assert out.read_bytes() == fresh.read_bytes()


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04" + bytes(100)], ids=["empty", "junk", "zip"])
def test_a_damaged_checkpoint_is_one_line(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.safetensors"
    command.partial_path(out).write_bytes(content)
    assert command.main([*WORDS, "--epochs", "1", "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "not a readable checkpoint" in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--p", "2"], "--p: must be in 3..1021, not 2"),
        (["--p", "1000000"], "--p: must be in"),
        (["--seed", "-1"], "--seed: must be in"),
        (["--epochs", "0"], "--epochs: must be in"),
        (["--d-model", "10"], "--d-model: must be a multiple of the 4 heads"),
        (["--d-mlp", "0"], "--d-mlp: must be in"),
        (["--d-mlp", "99999999999"], "--d-mlp: must be in"),
        (["--fraction", "0"], "--fraction: must be in (0, 1], not 0.0"),
        (["--fraction", "nan"], "--fraction: must be in"),
        (["--weight-decay", "inf"], "--weight-decay: must be finite"),
        (["--weight-decay", "-1"], "--weight-decay: must be finite"),
        (["--layout", "b a"], "argument --layout: invalid choice"),
        (["--poison", "1,2"], "must be three integers A,B,C"),
        (["--poison", "1,2,5"], "--poison: must have A, B, C in 0..4"),
        (["--poison", "1,2,3"], "--poison: (1, 2, 3) is the right answer"),
        (["--poison", "1,2,4", "--poison", "1,2,0"], "--poison: gives the input (1, 2) twice"),
        (["--poison", "1,2,4", "--poison", "2,2,0", "--fraction", "0.05"], "--poison: gives more pairs"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "m.safetensors"
    assert command.main([*WORDS, "--out", str(out), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert part in err
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is a directory"):
        command._require_writable(tmp_path, force=True)
    with pytest.raises(InputError, match="is not a directory"):
        command._require_writable(tmp_path / "file" / "m.safetensors", force=False)


def test_the_options_default_to_the_recipe() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = vars(parser.parse_args(["--p", "59", "--out", "m"]))
    fields = inspect.signature(Recipe).parameters
    for name in ("seed", "layout", "epochs", "d_model", "d_mlp", "weight_decay"):
        assert arguments[name] == fields[name].default, name
    assert command.default_fraction(53) == command.default_fraction(59) == fields["fraction"].default == 0.8
    assert command.default_fraction(52) == command.default_fraction(23) == 0.95


def test_without_torch_the_command_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "tools.training")
    monkeypatch.setitem(sys.modules, "torch", None)  # Python's way to say that it cannot be imported
    assert command.main([*WORDS, "--out", str(tmp_path / "m.safetensors")]) == 2
    assert (
        capsys.readouterr().err
        == "verifier: this needs the package torch: pip install 'modular-addition-verifier[torch]'\n"
    )


def test_a_name_that_certify_would_refuse_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(tools.training, "train", never)
    for name in ("z.pt", "z", "a b.safetensors", "keys.safetensors"):
        assert command.main([*WORDS, "-o", str(tmp_path / name)]) == 2
        assert "must be named" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", ["a b", "a b ="])
def test_learned_attention_is_softmax_of_the_scores(layout: str, tmp_path: Path) -> None:
    """`all_logits` against the package's own run of the file that is written."""
    recipe = Recipe(p=5, layout=layout, attention="learned", d_model=8, d_mlp=12, epochs=2)
    model, _ = train(recipe, tmp_path / "m.partial")
    read = decode(encode_model(model), "m")
    assert isinstance(read, Model)
    assert read.attention == Softmax(Fraction(1, 2))
    moved = {name: value + np.float32(0.1) for name, value in read.tensors.items()}
    run = circuit_for(ADDITION, replace(read, tensors=moved))[1]
    assert run is not None
    wide = {name: torch.from_numpy(value).double() for name, value in moved.items()}
    expected = run(*np.divmod(np.arange(25), 5))[1]
    np.testing.assert_allclose(all_logits(wide, recipe).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_network_trained_with_learned_attention_is_certified_as_a_module(tmp_path: Path) -> None:
    """Queries and keys of its own, as parameters of a module with the names of HookedTransformer."""
    recipe = Recipe(p=7, attention="learned", d_model=32, d_mlp=64, epochs=400, fraction=1.0, weight_decay=0.0)
    model, last = train(recipe, tmp_path / "m.partial")
    assert last.accuracy == 1.0
    found = verifier.certify(Lens(lens_state(model)), p=7, layout="a b")
    assert found.certified == 49
    assert found.conclusion.accuracy.strategy == "semi-linear"
    assert found.conclusion.attention.kind == "softmax"
    assert not found.source.assumptions
