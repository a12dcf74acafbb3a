"""`verifier import`: the file it writes, what it prints, and that a refusal writes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.formats.format_samples import CHECKPOINT, first_position_state, lens_state, memory, random_model
from verifier import cli
from verifier.commands import import_ as command
from verifier.formats import FORMATS, circuit_digest, import_file
from verifier.model import decode, fold, read_model

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(lens_state(memory(5)), tmp_path / "memory.pt")
    return tmp_path / "memory.pt"


def test_the_command_and_the_library_know_the_same_formats() -> None:
    assert command.FORMATS == FORMATS


def test_a_checkpoint_becomes_a_native_file(checkpoint: Path, capsys: Capture) -> None:
    out = checkpoint.with_name("native.safetensors")
    assert cli.main(["import", str(checkpoint), "-o", str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert hashlib.sha256(out.read_bytes()).hexdigest() in text
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() in text
    for phrase in (
        "transformerlens",
        "layout a b, attention 1/2 1/2",
        "its queries and keys give the attention 1/2, 1/2 at every input",
        "the original's own forward pass (the weights, in float64) agrees within",
        "on all 25 inputs",
        "25 of 25 inputs (float64; measured, not proved)",
    ):
        assert phrase in text
    assert circuit_digest(read_model(out)) == circuit_digest(memory(5))
    assert out.read_bytes() == import_file(checkpoint).encode()


def test_an_assumption_is_said_everywhere(tmp_path: Path, capsys: Capture) -> None:
    path, out = tmp_path / "learned.pt", tmp_path / "native.safetensors"
    torch.save(first_position_state(), path)
    words = ["import", str(path), "-o", str(out)]
    assert cli.main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "attention softmax 1/sqrt(5)" in text
    assert "25 of 25 inputs" in text
    assert read_model(out).provenance["assumptions"] == []
    words.append("--force")
    assert cli.main([*words, "--attention", "1/2 1/2"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "note with attention fixed at 1/2, 1/2: the network's own attention weights range from" in text
    assert "the original's weights agree with it with attention fixed at 1/2, 1/2" in text
    assert "by the original's own forward pass 25" in text
    assert read_model(out).provenance["assumptions"] == ["with attention fixed at 1/2, 1/2"]
    assert cli.main([*words, "--attention", "1/2 1/2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["assumptions"] == ["with attention fixed at 1/2, 1/2"]


def test_json_says_the_same(checkpoint: Path, capsys: Capture) -> None:
    out = checkpoint.with_name("native.safetensors")
    assert cli.main(["import", str(checkpoint), "-o", str(out), "--attention", "1/2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert document["model"]["circuit_sha256"] == circuit_digest(memory(5))
    assert document["source"]["format"] == "transformerlens"
    assert document["self_check"]["inputs"] == document["self_check"]["correct"] == 25
    assert document["dropped"]["blocks.0.attn.W_Q"]


def test_native_and_folded_sources_are_imported_too(tmp_path: Path, capsys: Capture) -> None:
    circuit = fold(random_model())
    np.savez(tmp_path / "c.npz", **circuit.tensors)  # type: ignore[arg-type]
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    assert cli.main(["import", str(tmp_path / "c.npz"), "-o", str(first)]) == 0
    assert "the numbers are taken as they are" in capsys.readouterr().out
    assert cli.main(["import", str(first), "-o", str(second), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["self_check"] is None
    assert "layout" not in document["model"]
    assert first.read_bytes() == second.read_bytes()


def test_quiet_prints_nothing(checkpoint: Path, capsys: Capture) -> None:
    assert cli.main(["import", str(checkpoint), "-o", str(checkpoint) + ".safetensors", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_refusal_is_one_line_and_writes_nothing(checkpoint: Path, capsys: Capture) -> None:
    out = checkpoint.with_name("native.safetensors")
    assert cli.main(["import", str(checkpoint), "-o", str(out), "--p", "7"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "tensor embed.W_E has 5 tokens, which does not fit p = 7" in captured.err
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["memory.pt"]


def test_what_exists_is_overwritten_only_on_request(checkpoint: Path, capsys: Capture) -> None:
    out = checkpoint.with_name("native.safetensors")
    words = ["import", str(checkpoint), "-o", str(out), "--quiet"]
    out.write_bytes(b"mine")
    assert cli.main(words) == 2
    assert "exists already; --force overwrites it" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert cli.main([*words, "--force"]) == 0
    decode(out.read_bytes(), "out")
    assert cli.main(words) == 0  # the same bytes: nothing to overwrite
    alias = checkpoint.with_name("alias.safetensors")
    alias.hardlink_to(checkpoint)
    assert cli.main(["import", str(checkpoint), "-o", str(alias), "--force"]) == 2
    assert "is the source itself" in capsys.readouterr().err
    assert cli.main(["import", str(checkpoint), "-o", str(checkpoint.parent)]) == 2
    assert "is a directory" in capsys.readouterr().err
    for name in ("native.pt", "native", "a b.safetensors", "keys.safetensors", ".safetensors"):
        assert cli.main(["import", str(checkpoint), "-o", str(checkpoint.with_name(name))]) == 2
        assert "must be named" in capsys.readouterr().err
    assert cli.main(["import", "none.pt", "-o", str(out)]) == 2
    assert "none.pt: cannot be read" in capsys.readouterr().err


@pytest.mark.skipif(not CHECKPOINT.exists(), reason=f"the published checkpoint is not at {CHECKPOINT.parent}")
def test_the_published_checkpoint_in_one_command(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "published.safetensors"
    assert cli.main(["import", str(CHECKPOINT), "-o", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["attention"] == "1 1"
    assert document["self_check"]["correct"] == 3481
    assert document["self_check"]["relative_difference"] < 1e-5
