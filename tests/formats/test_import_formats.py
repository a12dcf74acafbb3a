"""Every format gives the network it holds: against torch, from disk and live, written back and read again."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import verifier
from tests.formats.format_samples import (
    CHECKPOINT,
    CONFIG,
    Lens,
    as_torch,
    exactly,
    first_position_state,
    lens_state,
    memory,
    random_model,
    random_state,
)
from verifier.errors import InputError
from verifier.formats import circuit_digest, import_file, import_model, transformerlens, zhong
from verifier.kernel.model_file import read_model as kernel_read
from verifier.model import AttentionWeight, FoldedCircuit, Model, Softmax, encode, fold, input_tokens, write_model

published = pytest.mark.skipif(
    not CHECKPOINT.exists(), reason=f"the published checkpoint is not at {CHECKPOINT.parent}"
)


def save(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


def circuit_logits(circuit: FoldedCircuit) -> Any:
    """Logits [a, b, c] of a circuit in float64."""
    S1, S2 = circuit.S1, circuit.S2
    assert S1 is not None
    assert S2 is not None
    hidden = np.maximum(circuit.A[:, :, None] + circuit.B[:, None, :], 0)
    return np.einsum("cn,nab->abc", circuit.W, hidden) + S1.T[:, None] + S2.T[None, :]


LENS_CASES: dict[str, tuple[dict[str, int], dict[str, Any], str, str]] = {
    "two tokens": ({"positions": 2}, {}, "a b", "1/2 1/2"),
    "three tokens": ({"positions": 3}, {}, "a b =5", "1/3 1/3 1/3"),
    "a given weight": ({"positions": 2}, {"attention": "1"}, "a b", "1 1"),
    "a weight per position": ({"positions": 3}, {"attention": "1/2 1/4 1/4"}, "a b =5", "1/2 1/4 1/4"),
    "more outputs than p": ({"positions": 3, "outputs": 6}, {}, "a b =5", "1/3 1/3 1/3"),
    "tokens of its own for b": ({"positions": 2, "vocabulary": 10}, {}, "a b+5", "1/2 1/2"),
    "doubled outputs as well": (
        {"positions": 2, "vocabulary": 10, "outputs": 10},
        {"p": 5},
        "a b+5",
        "1/2 1/2",
    ),
    "doubled, with =": ({"positions": 3, "vocabulary": 11}, {}, "a b+5 =10", "1/3 1/3 1/3"),
    "positions and tokens to spare": (
        {"positions": 3},
        {"layout": "a b"},
        "a b",
        "1/2 1/2",
    ),
    "weights settle the positions": ({"positions": 3}, {"attention": "1/2 1/2"}, "a b", "1/2 1/2"),
}


def test_a_module_with_a_layer_called_embed_is_not_taken_for_transformerlens() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.unembed = torch.nn.Embedding(5, 8), torch.nn.Linear(8, 5)

    with pytest.raises(InputError, match=r"Own: has the tensors embed\.weight, .* which is no supported format"):
        import_model(Own())


@pytest.mark.parametrize("case", LENS_CASES)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_transformerlens_file_is_the_network_that_torch_runs(case: str, suffix: str, tmp_path: Path) -> None:
    sizes, options, layout, attention = LENS_CASES[case]
    state = random_state(**sizes)
    path = tmp_path / f"lens{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        save(state, path)
    imported = import_file(path, **options)
    model = imported.model
    assert isinstance(model, Model)
    assert imported.format == "transformerlens"
    assert " ".join(model.layout) == layout
    assert model.attention_text == attention
    assert imported.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.provenance["source"] == {"name": path.name, "sha256": imported.source_sha256}
    kernel_read(imported.encode())
    if len(set(model.declared)) > 1:
        return
    network = Lens(state, float(model.declared[0].low))
    logits = circuit_logits(fold(model))
    with torch.no_grad():
        for a in range(model.p):
            tokens = torch.tensor(input_tokens(model.positions, model.p, a))
            theirs = network(tokens)[:, -1].numpy()
            assert np.abs(theirs - logits[a]).max() < 1e-5 * np.abs(logits).max(), (case, a)


def test_what_is_dropped_is_recorded_with_a_reason(tmp_path: Path) -> None:
    imported = import_file(save(random_state(positions=3), tmp_path / "m.pt"), layout="a b")
    assert set(imported.dropped) == {
        *(f"blocks.0.attn.{name}" for name in ("W_Q", "W_K", "b_Q", "b_K", "mask", "IGNORE")),
        "embed.W_E[5:]",
        "pos_embed.W_pos[2:]",
    }
    assert all(imported.dropped.values())
    assert imported.model.provenance["dropped"] == imported.dropped
    assert imported.dropped["blocks.0.attn.W_Q"] == "its queries and keys give the attention 1/2, 1/2 at every input"
    assert imported.model.provenance["notes"] == list(imported.notes)
    assert imported.assumptions == ()
    assert imported.model.provenance["assumptions"] == []
    assert ("dropped", "embed.W_E[5:]: no input has such a token") in imported.changes()
    double = {f"model.{name}": value.double() for name, value in random_state().items()}
    changed = import_model(double)
    assert changed.changed["names"] == "without their prefix 'model.'"
    assert changed.changed["embed.W_E"] == "float64 as float32; no value changes"
    assert changed.model.provenance["changed"] == changed.changed


def test_the_self_check_runs_on_every_input_and_counts_the_right_ones(tmp_path: Path) -> None:
    model = memory(7)
    for suffix in (".pt", ".safetensors", ".npz"):
        path = tmp_path / f"m{suffix}"
        state = transformerlens.to_state_dict(model)
        if suffix == ".npz":
            np.savez(path, **state)  # type: ignore[arg-type]
        elif suffix == ".pt":
            torch.save(as_torch(state), path)
        else:
            safetensors.numpy.save_file(state, path)
        imported = import_file(path)
        check = imported.check
        assert imported.circuit_sha256 == circuit_digest(model)
        assert check is not None
        assert (check.inputs, check.correct, check.own_correct, check.agrees) == (49, 49, 49, True)
        assert check.network == "the weights, in float64"
        assert check.relative < 1e-12
        assert check.scale == pytest.approx(4.0)


@pytest.mark.parametrize("module", [transformerlens, zhong])
def test_a_misread_network_is_refused(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.forward

    def wrong(*arguments: Any) -> tuple[Any, Any]:
        logits, attention = right(*arguments)
        return logits * (1 + 1e-6), attention

    state, config = (
        (random_state(), None) if module is transformerlens else zhong.to_state_dict(random_model(attention="1"))
    )
    import_model(state, config=config)
    monkeypatch.setattr(module, "forward", wrong)
    with pytest.raises(InputError, match="more than rounding explains"):
        import_model(state, config=config)


# Attention that is not constant.

HALVES = "with attention fixed at 1/2, 1/2"


@pytest.mark.parametrize("kind", ["module", "float64 module", "state dict", "file"])
def test_learned_attention_is_held_as_it_is_or_fixed_with_a_word(kind: str, tmp_path: Path) -> None:
    """The first report against this tool: right on half of the inputs by its own forward pass, and proved for all."""
    state = first_position_state()
    state["blocks.0.attn.W_Q"] *= 0.05  # far from constant, and far from what the network needs
    module: Any = Lens(state).double() if kind == "float64 module" else Lens(state)
    path = save(state, tmp_path / "m.pt")

    def run(**options: Any) -> Any:
        if kind == "file":
            return import_file(path, **options)
        return import_model(module if "module" in kind else module.state_dict(), **options)

    with torch.no_grad():
        inputs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
        right = int((module(inputs)[:, -1].argmax(-1) == inputs.sum(-1) % 5).sum())
    own = run()
    assert own.assumptions == ()
    assert own.model.attention == Softmax(Fraction(1, 5))
    assert own.check.correct == own.check.own_correct == right
    assert own.check.agrees
    assert "attention is the softmax 1/sqrt(5) of its own queries and keys, with weights from" in " ".join(own.notes)
    for name in ("W_Q", "W_K", "b_Q", "b_K"):
        assert f"blocks.0.attn.{name}" not in own.dropped
        assert np.array_equal(own.model.tensors[f"blocks.0.attn.{name}"], state[f"blocks.0.attn.{name}"].numpy())
    assert kernel_read(own.encode()).scale_squared == Fraction(1, 5)
    insisted = run(attention="1/2")
    assert insisted.assumptions == (HALVES,)
    assert insisted.notes[0].startswith(f"{HALVES}: the network's own attention weights range from")
    assert insisted.model.provenance["assumptions"] == [HALVES]
    assert not insisted.check.agrees
    assert insisted.check.own_correct == right


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-6, 1e-4, 1e-2, 1.0])
def test_attention_is_held_however_small_the_difference(size: float) -> None:
    state = random_state(keys=size)
    for source in (state, Lens(state).double(), Lens(state)):
        imported = import_model(source)
        assert imported.assumptions == ()
        assert isinstance(imported.model, Model)
        assert imported.model.attention == (Softmax(Fraction(1, 3)) if size else exactly("1/2", 2))
    for exact in (state, Lens(state).double()):
        assert import_model(exact, attention="1/2").assumptions == (() if size <= 1e-9 else (HALVES,))
    hooked = import_model(Lens(state, 0.5))  # the module itself has a constant pattern, whatever its keys
    assert hooked.assumptions == ()
    assert hooked.check is not None
    assert hooked.check.network == "Lens itself, in float32"
    if size >= 1e-4:
        assert "the module's own forward pass has the attention 1/2, 1/2 at every input" in hooked.notes
    if size == 0:
        assert "its queries and keys give the attention 1/2, 1/2 at every input" in hooked.notes


def test_queries_and_keys_that_a_file_cannot_hold_are_refused_or_rounded() -> None:
    module = Lens(random_state(keys=1.0)).double()
    queries = module.state_dict()["blocks.0.attn.W_Q"]  # shares its memory with the module
    queries += 1e-9
    with pytest.raises(InputError, match=r"attn\.W_Q has float64 values that float32 cannot represent"):
        import_model(module)
    rounded = import_model(module, round_weights=True)
    assert rounded.assumptions == ("with weights rounded to float32",)
    state = random_state(keys=1.0)
    texts: tuple[dict[str, Any], ...] = (
        {"attn_scale": 4.0},
        {"attn_scale": 0.25},
        {"attn_scale": 8**0.5},
        {"use_attn_scale": False},
        {},
    )
    found = [import_model(state, config=config).model for config in texts]
    assert [model.attention_text for model in found if isinstance(model, Model)] == [
        f"softmax {scale}" for scale in ("1/4", "4", "1/sqrt(8)", "1", "1/sqrt(3)")
    ]
    with pytest.raises(InputError, match=r"setting attn_scale is 3\.3; model files hold .* fix the attention"):
        import_model(state, config={"attn_scale": 3.3})


@pytest.mark.parametrize("positions", [2, 3])
def test_zhong_with_coefficient_one_is_softmax(positions: int) -> None:
    layout = ("a b", "a b =5")[positions - 2]
    model = random_model(5, layout, "1", **({} if positions == 2 else {"vocabulary": 6, "outputs": 6}))
    state, config = zhong.to_state_dict(model)
    for index, name in enumerate(("W_Q", "W_K")):
        state[f"blocks.0.attn.{name}"] = np.random.default_rng(index).normal(size=(2, 3, 8)).astype(np.float32)
    imported = import_model(state, config={**config, "attn_coeff": 1})
    assert imported.assumptions == ()
    assert isinstance(imported.model, Model)
    assert imported.model.attention == Softmax(Fraction(1, 3))
    assert not imported.model.tensors["blocks.0.attn.b_Q"].any()
    assert imported.check is not None
    assert imported.check.relative < 1e-12
    kernel_read(imported.encode())


def test_a_hooked_module_with_other_weights_needs_them_said() -> None:
    module = Lens(random_state(keys=1.0), 1.0)
    for options in ({}, {"attention": "1/2"}):
        with pytest.raises(InputError, match="its code does more than the weights say"):
            import_model(module, **options)  # type: ignore[arg-type]
    assert import_model(module, attention="1").assumptions == ()


def test_a_module_that_computes_something_else_is_refused() -> None:
    class Other(Lens):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return super().forward(tokens) + 0.01 * tokens[..., None]

    class Broken(Lens):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            raise ValueError("not today")

    class Narrow(Lens):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return super().forward(tokens)[..., 1:]

    for options in ({}, {"attention": "1/2"}):
        for kind, rule in (
            (Other, "Other: its forward pass gives logits that differ by .* its code does more than the weights say"),
            (Broken, r"cannot be run on tokens of the shape \[5, 2\] \(ValueError: not today\); import its state dict"),
            (Narrow, r"gives the shape \[5, 2, 4\], not logits of the shape \[5, 2, 5\] or \[5, 5\]"),
        ):
            with pytest.raises(InputError, match=rule):
                import_model(kind(random_state()), **options)  # type: ignore[arg-type]
    module = Lens(random_state())
    assert module.train().training
    import_model(module)
    assert module.training


def test_intervals_must_hold_the_networks_own_attention() -> None:
    state = random_state(keys=0.02)
    inside = import_model(state, attention="1/4:3/4")
    assert inside.assumptions == ()
    assert "theorems hold for every pattern with weights in 1/4:3/4, 1/4:3/4" in " ".join(inside.notes)
    outside = import_model(state, attention="499/1000:501/1000")
    assert outside.assumptions == ("with attention anywhere in 499/1000:501/1000, 499/1000:501/1000",)
    assert import_model(Lens(state), attention="1/4:3/4").assumptions == ()
    assert import_model(Lens(state), attention="499/1000:501/1000").assumptions == outside.assumptions


def test_scales_of_the_scores_are_read() -> None:
    state = random_state(keys=1.0)
    attention = {}
    for scale in ({}, {"attn_scale": 3**0.5}, {"attn_scale": -1.0}, {"attn_scale": 100.0}, {"use_attn_scale": False}):
        check = import_model(state, config=scale, attention="1/2").check
        assert check is not None
        assert check.attention is not None
        attention[str(scale)] = check.attention
    plain, explicit, unset, weak, unscaled = attention.values()
    assert plain == explicit == unset
    assert unscaled[0] < plain[0] < weak[0] < 0.5
    with pytest.raises(InputError, match=r"attn_scores_soft_cap is 30\.0; only plain softmax"):
        import_model(state, config={"attn_scores_soft_cap": 30.0})


def test_weights_without_queries_and_keys_do_not_say_what_their_attention_is() -> None:
    bare = dict(memory(5).tensors)
    with pytest.raises(
        InputError, match=r"has no W_Q and W_K, and does not say what its attention is\. .* --attention"
    ):
        import_model(bare)
    assert import_model(bare, attention="1/2").assumptions == (HALVES,)
    assert import_model(bare, config={"uniform_attention": True}).assumptions == ()
    with pytest.raises(InputError, match="W_K is missing; the attention depends on it"):
        import_model(bare, config={"attention_rate": 0.9})


def test_what_weights_do_not_show_is_said() -> None:
    """LNPre has no weights, and an activation never has."""
    assert any("ReLU and none are assumed" in note for note in import_model(random_state()).notes)
    for source, config in (
        (Lens(random_state()), None),
        (random_state(), {"act_fn": "relu", "normalization_type": None}),
    ):
        assert not any("assumed" in note for note in import_model(source, config=config).notes)


def test_attention_that_the_code_fixes_is_recognised() -> None:
    state, config = zhong.to_state_dict(random_model(attention="1"))
    for imported, rule in (
        (import_model(state, config=config), "attn_coeff = 0.0"),
        (import_model(random_state(keys=1.0), config={"attention_rate": 1}), "attention_rate = 1.0"),
        (import_model(random_state(keys=1.0), config={"uniform_attention": True}), "uniform attention"),
    ):
        assert imported.assumptions == ()
        assert any(f"by the network's own code ({rule})" in note for note in imported.notes)
    learned = {**config, "attn_coeff": 1.0}
    for name in ("W_Q", "W_K"):
        state[f"blocks.0.attn.{name}"] = np.random.default_rng(3).normal(size=(2, 3, 8)).astype(np.float32)
    assert import_model(state, config=learned).assumptions == ()
    with pytest.raises(InputError, match="attention is partly learned"):
        import_model(state, config={**config, "attn_coeff": 0.75})
    assert import_model(state, config=learned, attention="1/2").assumptions == (HALVES,)


# Live modules, state dicts and files.


def test_a_module_its_state_dict_and_its_file_give_the_same(tmp_path: Path) -> None:
    state = random_state(positions=3)
    module = Lens(state, 1 / 3)
    path = save(module.state_dict(), tmp_path / "m.pt")
    config = {"act_fn": "relu", "normalization_type": None}
    from_file = import_file(path, config=config)
    from_dict, from_module = import_model(module.state_dict(), config=config), import_model(module, config=config)
    arrays = {name: value.numpy() for name, value in module.state_dict().items()}
    assert from_dict.encode() == from_module.encode() == import_model(arrays, config=config).encode()
    assert import_model(module, config=config, file=path).encode() == from_file.encode()
    assert {r.circuit_sha256 for r in (from_file, from_dict, from_module)} == {circuit_digest(from_file.model)}
    assert len({encode(replace(r.model, provenance={})) for r in (from_file, from_dict, from_module)}) == 1
    assert verifier.import_model is import_model


def test_the_configuration_of_a_live_module_counts() -> None:
    @dataclass
    class Settings:
        act_fn: str = "relu"
        n_layers: int = 1
        normalization_type: str | None = None
        d_model: int = 8
        dtype: torch.dtype = torch.float32

    module = Lens(random_state(), 0.5)
    plain = import_model(module).encode()
    module.cfg = Settings()  # type: ignore[assignment]
    assert import_model(module).encode() == plain
    module.cfg = Settings(normalization_type="LNPre")  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"Lens\.cfg: setting normalization_type is 'LNPre'; layer norm is not"):
        import_model(module)


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed(prefix: str) -> None:
    state = random_state()
    wrapped = import_model({prefix + name: value for name, value in state.items()})
    assert wrapped.circuit_sha256 == import_model(state).circuit_sha256


# Training runs.


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_a_training_run_is_unwrapped_and_its_configuration_used(key: str, tmp_path: Path) -> None:
    run = {
        key: random_state(positions=3),
        "run_config": {
            "experiment": {"p": 5, "seq_len": 2, "attention_rate": 1, "use_end_of_sequence": False},
            "seed": 7,
        },
        "train_metrics": [{"loss": 0.5}],
        "epoch": 12,
    }
    imported = import_file(save(run, tmp_path / "run.pth"))
    assert isinstance(imported.model, Model)
    assert imported.model.layout == ("a", "b")
    assert imported.model.attention == exactly("1/2", 2)
    assert "records of the training run" in imported.dropped["epoch, train_metrics"]
    alone = import_model(run[key], layout="a b")
    assert alone.circuit_sha256 == imported.circuit_sha256


def test_a_run_with_a_pickled_transformerlens_configuration_is_read_without_running_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ModuleType("transformer_lens.HookedTransformerConfig")
    package = ModuleType("transformer_lens")
    package.HookedTransformerConfig = library  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformer_lens", package)
    monkeypatch.setitem(sys.modules, library.__name__, library)

    class HookedTransformerConfig:
        def __init__(self, act_fn: str) -> None:
            self.act_fn, self.n_layers, self.dtype = act_fn, 1, torch.float32
            self.normalization_type = None

        def __setstate__(self, state: object) -> None:
            raise AssertionError("code of the file's class ran")

    HookedTransformerConfig.__module__ = library.__name__
    HookedTransformerConfig.__qualname__ = "HookedTransformerConfig"
    library.HookedTransformerConfig = HookedTransformerConfig  # type: ignore[attr-defined]
    paths = {
        act_fn: save({"model": random_state(), "model_config": HookedTransformerConfig(act_fn)}, tmp_path / act_fn)
        for act_fn in ("relu", "gelu")
    }
    monkeypatch.undo()
    assert import_file(paths["relu"]).circuit_sha256 == import_model(random_state()).circuit_sha256
    with pytest.raises(InputError, match="setting act_fn is 'gelu'; only ReLU is supported"):
        import_file(paths["gelu"])


@pytest.mark.filterwarnings("ignore:.*legacy.*")
@pytest.mark.parametrize("legacy", [False, True])
def test_numbers_of_numpy_in_a_configuration_are_read(legacy: bool, tmp_path: Path) -> None:
    config = {"p": np.int64(5), "attention_rate": np.float64(1), "use_end_of_sequence": np.bool_(False)}
    run = {"state_dict": random_state(positions=3, keys=1.0), "cfg": config, "loss": np.float32(0.5)}
    torch.save(run, tmp_path / "run.pt", _use_new_zipfile_serialization=not legacy)
    imported = import_file(tmp_path / "run.pt")
    assert imported.model.p == 5
    assert "(attention_rate = 1.0)" in imported.notes[0]
    assert import_model(run).circuit_sha256 == imported.circuit_sha256
    run["cfg"] = {"p": np.int64(7)}
    torch.save(run, tmp_path / "run.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match="does not fit p = 7"):
        import_file(tmp_path / "run.pt")
    run["cfg"] = {"p": np.array(object(), dtype=object)}
    torch.save(run, tmp_path / "run.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match="could run code"):
        import_file(tmp_path / "run.pt")


def test_a_partly_constant_attention_becomes_an_interval() -> None:
    state = random_state(positions=2)
    imported = import_model(state, config={"attention_rate": 0.9})
    weight = AttentionWeight(Fraction(9, 20), Fraction(11, 20))
    assert isinstance(imported.model, Model)
    assert imported.model.attention == (weight, weight)
    assert imported.check is not None
    assert imported.check.relative < 1e-5


# Zhong et al.


@published
def test_the_published_checkpoint_with_the_configuration_beside_it() -> None:
    imported = import_file(CHECKPOINT)
    model, check = imported.model, imported.check
    assert isinstance(model, Model)
    assert check is not None
    assert (imported.format, model.p, model.neurons, model.outputs) == ("zhong", 59, 512, 59)
    assert model.layout == ("a", "b")
    assert model.attention == exactly("1", 2)
    assert (check.correct, check.own_correct, check.inputs) == (3481, 3481, 3481)
    assert check.relative < 1e-12
    assert imported.assumptions == ()
    assert "attention is fixed at 1, 1 by the network's own code (attn_coeff = 0.0)" in imported.notes
    logits = circuit_logits(fold(model))
    a, b = np.indices((59, 59))
    right = logits[a, b, (a + b) % 59].copy()
    logits[a, b, (a + b) % 59] = -np.inf
    assert (right - logits.max(axis=2)).min() == pytest.approx(14.296, abs=5e-4)


@published
def test_the_published_checkpoint_needs_its_configuration(tmp_path: Path) -> None:
    bare = tmp_path / CHECKPOINT.name
    bare.write_bytes(CHECKPOINT.read_bytes())
    with pytest.raises(InputError, match="the run's configuration"):
        import_file(bare)
    insisted = import_file(bare, attention="1", p=59)
    assert insisted.assumptions == ("with attention fixed at 1, 1",)
    assert insisted.circuit_sha256 == import_file(CHECKPOINT).circuit_sha256
    assert "ReLU is assumed" in " ".join(insisted.notes)


ZHONG_CASES: dict[str, tuple[str, str, dict[str, int]]] = {
    "constant": ("a b", "1", {}),
    "doubled vocabulary": ("a b+5", "1", {"vocabulary": 10, "outputs": 10}),
    "equals sign": ("a b =5", "1", {"vocabulary": 6, "outputs": 6}),
    "both": ("a b+5 =10", "1", {"vocabulary": 11, "outputs": 11}),
}


@pytest.mark.parametrize("case", ZHONG_CASES)
def test_zhong_layouts(case: str, tmp_path: Path) -> None:
    layout, attention, sizes = ZHONG_CASES[case]
    model = random_model(5, layout, attention, **sizes)
    state, config = zhong.to_state_dict(model)
    save(as_torch(state), tmp_path / "model_x.pt")
    (tmp_path / "config_x.json").write_text(json.dumps(config))
    imported = import_file(tmp_path / "model_x.pt")
    assert imported.model.p == 5
    assert isinstance(imported.model, Model)
    assert imported.model.layout == model.layout
    assert imported.model.outputs == sizes.get("outputs", 5)
    assert imported.circuit_sha256 == circuit_digest(model)
    kernel_read(imported.encode())


def test_a_small_coefficient_becomes_an_interval_that_holds_every_pattern() -> None:
    coefficient = 0.004066910851478034
    state, config = zhong.to_state_dict(memory(weight=1.0))
    d = state["embed.W_E"].shape[0]
    rng = np.random.default_rng(0)
    for name in ("W_Q", "W_K"):
        state[f"blocks.0.attn.{name}"] = rng.normal(size=(1, 5, d)).astype(np.float32) * 9
    imported = import_model(state, config={**config, "attn_coeff": coefficient})
    assert isinstance(imported.model, Model)
    (low, high), *_ = [(weight.low, weight.high) for weight in imported.model.declared]
    assert high == 1
    assert 0 <= 1 - Fraction(repr(coefficient)) - low < Fraction(1, 1 << 20)
    assert imported.check is not None
    assert imported.check.correct == 25
    assert imported.check.relative < 1e-7
    positions = kernel_read(imported.encode()).positions
    assert [(x.attention_low, x.attention_high) for x in positions] == [(low, high)] * 2
    assert "every pattern" in " ".join(imported.notes)


# Folded circuits.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_folded_circuit_is_taken_as_it_is(dtype: type, skips: bool, suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shapes = {"A": (9, 5), "B": (9, 5), "W": (6, 9)} | ({"S1": (6, 5), "S2": (6, 5)} if skips else {})
    tables: dict[str, Any] = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    path = tmp_path / f"circuit{suffix}"
    np.savez(path, **tables) if suffix == ".npz" else safetensors.numpy.save_file(tables, path)
    imported = import_file(path)
    circuit = imported.model
    assert isinstance(circuit, FoldedCircuit)
    assert (imported.format, circuit.p, circuit.neurons, circuit.outputs) == ("folded", 5, 9, 6)
    assert circuit.tensors.keys() == tables.keys()
    assert all(np.array_equal(circuit.tensors[name], table) for name, table in tables.items())
    assert imported.check is None
    assert import_model(tables).circuit_sha256 == imported.circuit_sha256
    kernel_read(imported.encode())


# Round trips.


@pytest.mark.parametrize(
    "model",
    [
        random_model(5),
        random_model(7, "a b =7", "1/3"),
        random_model(5, "a b", "1"),
        random_model(5, "a b+5", "1/2", vocabulary=10, outputs=10),
        memory(5),
    ],
    ids=lambda model: " ".join(model.layout) + " " + str(model.declared[0]),
)
def test_every_format_gives_back_the_circuit_it_was_given(model: Model, tmp_path: Path) -> None:
    digest = circuit_digest(model)
    attention = str(model.declared[0])
    options: dict[str, Any] = {"attention": attention, "p": model.p}

    native = tmp_path / "native.safetensors"
    write_model(model, native)
    assert import_file(native).circuit_sha256 == digest
    assert import_file(native).encode() == encode(model)

    lens = import_file(save(lens_state(model), tmp_path / "lens.pt"), **options)
    assert lens.circuit_sha256 == digest
    assert all(np.array_equal(lens.model.tensors[name], tensor) for name, tensor in model.tensors.items())

    state, config = zhong.to_state_dict(model)
    path = save(as_torch(state), tmp_path / "zhong.pt")
    written = import_file(path, config=config, attention=None if "attn_coeff" in config else attention)
    assert written.format == "zhong"
    assert written.circuit_sha256 == digest

    archive = tmp_path / "folded.npz"
    np.savez(archive, **fold(model).tensors)  # type: ignore[arg-type]
    assert import_file(archive).circuit_sha256 == digest


@published
def test_the_published_checkpoint_survives_every_format(tmp_path: Path) -> None:
    imported = import_file(CHECKPOINT)
    assert isinstance(imported.model, Model)
    lens = import_model(transformerlens.to_state_dict(imported.model), attention="1")
    state, config = zhong.to_state_dict(imported.model)
    assert config["attn_coeff"] == 0
    again = import_model(state, config=str(CONFIG))
    tables = import_model(fold(imported.model).tensors)
    digests = {x.circuit_sha256 for x in (imported, lens, again, tables)}
    assert len(digests) == 1


def test_digests_see_the_circuit_and_not_its_description() -> None:
    model = random_model(5, attention="1/2")
    halved = dict(model.tensors)
    for name in ("blocks.0.attn.W_V", "blocks.0.attn.b_V"):
        halved[name] = model.tensors[name] / np.float32(2)
    assert circuit_digest(replace(model, tensors=halved, attention=exactly("1", 2))) == circuit_digest(model)
    for name, tensor in model.tensors.items():
        changed = tensor.copy()
        changed.flat[0] += 1
        assert circuit_digest(replace(model, tensors={**model.tensors, name: changed})) != circuit_digest(model)
    wide = (AttentionWeight(Fraction(1, 4), Fraction(3, 4)),) * 2
    assert circuit_digest(replace(model, attention=wide)) != circuit_digest(model)


# Without torch.


def test_native_folded_and_safetensors_files_need_no_torch(tmp_path: Path) -> None:
    model = random_model()
    write_model(model, tmp_path / "native.safetensors")
    np.savez(tmp_path / "folded.npz", **fold(model).tensors)  # type: ignore[arg-type]
    safetensors.numpy.save_file(transformerlens.to_state_dict(model), tmp_path / "lens.safetensors")
    save(lens_state(model), tmp_path / "lens.pt")
    script = """
import sys
sys.modules["torch"] = sys.modules["safetensors"] = None
from pathlib import Path
from verifier.errors import InputError
from verifier.formats import import_file
folder = Path(sys.argv[1])
names = ("native.safetensors", "folded.npz", "lens.safetensors")
assert len({import_file(folder / name).circuit_sha256 for name in names}) == 1
try:
    import_file(folder / "lens.pt")
except InputError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "needs torch: install the extra 'torch', or convert it to safetensors" in run.stdout


def test_importing_the_package_stays_light() -> None:
    script = "import sys, verifier; sys.exit(any(name in sys.modules for name in ('numpy', 'torch', 'flint')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_spare_position_is_noticed_where_the_weights_show_it() -> None:
    state = lens_state(memory(5))
    state["embed.W_E"] = torch.cat([state["embed.W_E"], torch.zeros(1, 17)])
    state["pos_embed.W_pos"] = torch.cat([state["pos_embed.W_pos"], torch.zeros(1, 17)])
    with pytest.raises(InputError, match=r"the last position does not hold '=', it seems: .* --layout 'a b' reads"):
        import_model(state)
    assert import_model(state, layout="a b").circuit_sha256 == circuit_digest(memory(5))
