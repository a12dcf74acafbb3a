"""Everything an import refuses: one sentence each, which names the tensor or setting and says what to do."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tests.formats.format_samples import Lens, as_torch, memory, random_model, random_state
from verifier.errors import MESSAGE_LIMIT, InputError
from verifier.formats import import_file, import_model, zhong

Change = Callable[[dict[str, Any]], object]


def refusal(call: Callable[[], object]) -> str:
    """The sentence of a refusal; it must be one line of readable length."""
    with pytest.raises(InputError) as caught:
        call()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < MESSAGE_LIMIT, sentence
    return sentence


def put(name: str, value: Any) -> Change:
    return lambda state: state.__setitem__(name, value)


def without(name: str) -> Change:
    return lambda state: state.pop(name)


def cast(name: str, dtype: torch.dtype) -> Change:
    return lambda state: state.__setitem__(name, state[name].to(dtype))


def poke(name: str, value: float) -> Change:
    return lambda state: state[name].view(-1)[0].fill_(value)


def tie(state: dict[str, Any]) -> None:
    state["unembed.W_U"] = state["embed.W_E"].T


def double(state: dict[str, Any]) -> None:
    state["embed.W_E"] = state["embed.W_E"].double() + 1e-12


STATE_REFUSALS: dict[str, tuple[Change, str, str]] = {
    "second layer": (
        put("blocks.1.mlp.W_in", torch.zeros(8, 12)),
        "tensor blocks.1.mlp.W_in",
        "only one layer is supported",
    ),
    "layer norm": (put("blocks.0.ln1.w", torch.ones(8)), "tensor blocks.0.ln1.w", "normalization_type=None"),
    "final layer norm": (put("ln_final.w", torch.ones(8)), "tensor ln_final.w", "normalization_type=None"),
    "gated MLP": (put("blocks.0.mlp.W_gate", torch.zeros(8, 12)), "W_gate", "a gated MLP, which is not"),
    "rotary": (put("blocks.0.attn.rotary_sin", torch.zeros(3)), "rotary_sin", "only learned, added ones"),
    "left over": (put("blocks.0.attn.W_X", torch.zeros(3)), "tensor blocks.0.attn.W_X", "is left over"),
    "missing tensor": (
        without("blocks.0.mlp.W_out"),
        "tensor blocks.0.mlp.W_out",
        "a transformer with an MLP",
    ),
    "missing bias": (without("unembed.b_U"), "tensor unembed.b_U", "save zeros"),
    "missing positions": (without("pos_embed.W_pos"), "tensor pos_embed.W_pos", "only learned positional"),
    "missing unembedding": (without("unembed.W_U"), "tensor unembed.W_U", "if it is tied to embed.W_E"),
    "missing attention": (without("blocks.0.attn.W_V"), "tensor blocks.0.attn.W_V", "is missing"),
    "tied": (tie, "tensors embed.W_E and unembed.W_U", "share their memory (tied weights)"),
    "float16": (cast("embed.W_E", torch.float16), "tensor embed.W_E", "half precision is not supported"),
    "bfloat16": (cast("unembed.W_U", torch.bfloat16), "tensor unembed.W_U", "module.float() makes a float32"),
    "half queries": (cast("blocks.0.attn.W_Q", torch.float16), "tensor blocks.0.attn.W_Q", "half precision"),
    "integers": (cast("blocks.0.mlp.b_in", torch.int64), "tensor blocks.0.mlp.b_in", "not int64"),
    "complex": (cast("embed.W_E", torch.complex64), "tensor embed.W_E", "is complex"),
    "float64": (double, "tensor embed.W_E", "--round (round_weights=True) rounds them"),
    "NaN": (poke("embed.W_E", float("nan")), "tensor embed.W_E", "infinite or not a number"),
    "infinity": (poke("blocks.0.mlp.b_out", float("inf")), "tensor blocks.0.mlp.b_out", "infinite or not"),
    "not a tensor": (put("blocks.0.attn.note", "text"), "entry blocks.0.attn.note", "must be a tensor"),
    "sparse": (lambda s: s.update({"embed.W_E": s["embed.W_E"].to_sparse()}), "embed.W_E", "is sparse"),
    "head dimension": (
        put("blocks.0.attn.W_O", torch.zeros(2, 4, 8)),
        "tensor blocks.0.attn.W_O",
        "d_head is 3, not 4",
    ),
    "heads": (put("blocks.0.attn.b_V", torch.zeros(3, 3)), "tensor blocks.0.attn.b_V", "heads is 2, not 3"),
    "rank": (put("blocks.0.mlp.W_in", torch.zeros(8)), "tensor blocks.0.mlp.W_in", "[d_model, d_mlp]"),
    "model dimension": (put("unembed.W_U", torch.zeros(9, 5)), "tensor unembed.W_U", "d_model is 8, not 9"),
    "empty": (put("embed.W_E", torch.zeros(0, 8)), "tensor embed.W_E", "is empty"),
    "positions": (put("pos_embed.W_pos", torch.zeros(4, 8)), "tensor pos_embed.W_pos", "has 4 positions"),
    "vocabulary": (put("embed.W_E", torch.zeros(8, 8)), "tensor embed.W_E", "give --p"),
}


@pytest.mark.parametrize("case", STATE_REFUSALS)
@pytest.mark.parametrize("kind", ["file", "live"])
def test_a_state_dict_is_refused(case: str, kind: str, tmp_path: Path) -> None:
    change, field, rule = STATE_REFUSALS[case]
    state: dict[str, Any] = random_state()
    change(state)
    if kind == "file":
        torch.save(state, tmp_path / "m.pt")
    sentence = refusal(lambda: import_file(tmp_path / "m.pt") if kind == "file" else import_model(state))
    assert field in sentence
    assert rule in sentence
    assert sentence.startswith("state dict: " if kind == "live" else str(tmp_path / "m.pt"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_in_modules_and_safetensors(dtype: torch.dtype, tmp_path: Path) -> None:
    module = Lens(random_state(), 0.5).to(dtype)
    assert "half precision is not supported" in refusal(lambda: import_model(module))
    safetensors.torch.save_file({k: v.clone() for k, v in module.state_dict().items()}, tmp_path / "m.safetensors")
    assert "half precision is not supported" in refusal(lambda: import_file(tmp_path / "m.safetensors"))
    import_model(Lens(random_state(), 0.5).to(dtype).float())


SETTING_REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"n_layers": 2}, "setting n_layers is 2; only one layer is supported"),
    "activation": ({"act_fn": "gelu"}, "setting act_fn is 'gelu'; only ReLU is supported"),
    "layer norm": ({"normalization_type": "LN"}, "setting normalization_type is 'LN'; layer norm is not"),
    "no MLP": ({"attn_only": True}, "setting attn_only is True; a network without an MLP"),
    "gated": ({"gated_mlp": True}, "setting gated_mlp is True"),
    "parallel": ({"parallel_attn_mlp": True}, "the MLP must come after the attention"),
    "positions": ({"positional_embedding_type": "rotary"}, "only learned positional embeddings"),
    "local": ({"use_local_attn": True}, "only constant attention over all positions"),
    "norm": ({"final_rms": True}, "setting final_rms is True"),
    "half": ({"dtype": torch.float16}, "setting dtype is torch.float16; half precision is not supported"),
    "task": ({"experiment": {"fn_name": "subtract"}}, "setting fn_name is 'subtract'; only addition"),
    "summands": ({"seq_len": 3}, "setting seq_len is 3; only two summands"),
    "size": ({"cfg": {"d_model": 16}}, "setting d_model is 16; the tensors have 8"),
    "heads": ({"n_heads": 4}, "setting n_heads is 4; the tensors have 2"),
    "mostly learned": ({"attention_rate": 0.3}, "setting attention_rate is 0.3, so attention is partly learned"),
    "not constant": ({"attn_coeff": 1}, "setting attn_coeff is 1; only softmax attention, constant"),
    "other format": ({"attn_coeff": 0}, "give the constant weights as --attention"),
    "not uniform": ({"uniform_attention": "no"}, "setting uniform_attention is 'no'; only softmax attention"),
    "bad rate": ({"attention_rate": 2}, "setting attention_rate must be a number from 0 to 1, not 2"),
    "bad p": ({"p": "59"}, "setting p must be a whole number, not '59'"),
    "bad flag": ({"use_end_of_sequence": "no"}, "setting use_end_of_sequence must be true or false"),
    "contradiction": ({"p": 5, "experiment": {"p": 7}}, "contradicts p = 5"),
    "vocabulary and p": ({"p": 3}, "tensor embed.W_E has 5 tokens, which does not fit p = 3 and 2 positions"),
}


@pytest.mark.parametrize("case", SETTING_REFUSALS)
def test_a_setting_is_refused(case: str) -> None:
    config, rule = SETTING_REFUSALS[case]
    assert rule in refusal(lambda: import_model({"model": random_state(), "config": config}))
    assert rule in refusal(lambda: import_model(random_state(), config=config))


OPTION_REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "attention text": ({}, {"attention": "0.5"}, "is not a fraction"),
    "empty attention": ({}, {"attention": ""}, "is not a fraction"),
    "empty interval": ({}, {"attention": "1:1/2"}, "is not low:high"),
    "too fine": ({}, {"attention": "1/9999999"}, "go up to 1048576"),
    "too few weights": ({}, {"attention": "1/2 1/2 1/2"}, "fewer than the 3 of an input"),
    "weights and layout": (
        {"positions": 3},
        {"attention": "1/2 1/2", "layout": "a b =5"},
        "has 2 weights for 3 positions",
    ),
    "ambiguous": ({"positions": 3}, {"attention": "1/2"}, "the file has 3 positions; add --layout 'a b'"),
    "layout text": ({}, {"layout": "a c"}, "--layout: layout: 'c' is not a"),
    "empty layout": ({}, {"layout": " "}, "must name at least one position"),
    "layout too long": ({}, {"layout": "a b =5"}, "fewer than the 3 of an input"),
    "layout beyond vocabulary": (
        {},
        {"layout": "a b+5"},
        "has 5 tokens, and the layout a b+5 with p = 5 needs 10",
    ),
    "p and outputs": ({"vocabulary": 7, "outputs": 5}, {"p": 7}, "has 5 outputs, fewer than p = 7"),
    "p and settings": ({}, {"p": 5, "config": {"p": 7}}, "is 7 in the run's configuration, not 5"),
    "p too small": ({"p": 5, "vocabulary": 2, "outputs": 2}, {}, "metadata.p: 2 is not 3 to 4096"),
    "format": ({}, {"form": "zhong"}, "tensor blocks.0.attn.IGNORE is left over"),
    "format of tables": ({}, {"form": "folded"}, "a folded circuit is A [n, p]"),
    "native format": ({}, {"form": "native"}, "is native, but the file holds a state dict"),
    "rate and attention": (
        {},
        {"attention": "1/3", "config": {"attention_rate": 1}},
        "contradicts --attention",
    ),
}


@pytest.mark.parametrize("case", OPTION_REFUSALS)
def test_an_option_is_refused(case: str) -> None:
    sizes, options, rule = OPTION_REFUSALS[case]
    state = random_state(**sizes)
    assert rule in refusal(lambda: import_model(state, **options))


def test_float64_weights_are_taken_if_exact_and_rounded_only_on_request() -> None:
    state = random_state()
    exact = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    assert import_model(exact).circuit_sha256 == import_model(state).circuit_sha256
    exact["embed.W_E"] = exact["embed.W_E"] + 1e-12
    rounded = import_model(exact, round_weights=True)
    assert rounded.assumptions == ("with weights rounded to float32",)
    assert rounded.notes[0] == "with weights rounded to float32: theorems are about the rounded network"
    assert rounded.changed == {"embed.W_E": "rounded to float32"} | {
        name: "float64 as float32; no value changes" for name in rounded.model.tensors if name != "embed.W_E"
    }
    module = Lens({name: value.float() for name, value in exact.items()}).double()
    module.embed.W_E = nn.Parameter(exact["embed.W_E"] + 1e-9)
    assert import_model(module, round_weights=True).assumptions == rounded.assumptions
    assert rounded.circuit_sha256 == import_model(state).circuit_sha256
    exact["embed.W_E"] = exact["embed.W_E"] * 1e300
    assert "too large for float32" in refusal(lambda: import_model(exact, round_weights=True))


# Zhong et al.

ZHONG_REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "learned": ({"attn_coeff": 1.0}, "W_K is missing; the attention depends on it"),
    "mostly learned": ({"attn_coeff": 0.6305660693828471}, "so attention is partly learned"),
    "activation": ({"act_fn": "GeLU"}, "setting act_fn is 'GeLU'; only ReLU is supported"),
    "layers": ({"n_layers": 3}, "only one layer is supported"),
    "function": ({"funcs": "lambda x: (x[0]-x[1])%5"}, "only (x[0]+x[1])%5 is supported"),
    "modulus": (
        {"C": 7, "funcs": None},
        "tensor embed.W_E has 5 tokens, and p = 7 with the layout 'a b' has 7",
    ),
    "doubled": ({"diff_vocab": 1}, "is this the configuration of this checkpoint (C, diff_vocab, eqn_sign)?"),
    "equals": ({"eqn_sign": 1}, "has 2 positions where the configuration or the layout has 3"),
    "heads": ({"n_heads": 8}, "setting n_heads is 8; the tensors have 2"),
    "linear": ({"use_linear": True}, "linear models of the paper are not transformers"),
    "no attention": ({"attn_coeff": None}, "the attention (attn_coeff) is not known"),
    "no modulus": ({"C": None, "funcs": None}, "the modulus p is not known"),
    "coefficient": ({"attn_coeff": -0.1}, "must be a number from 0 to 1"),
}


@pytest.mark.parametrize("case", ZHONG_REFUSALS)
def test_a_configuration_of_zhong_is_refused(case: str, tmp_path: Path) -> None:
    changes, rule = ZHONG_REFUSALS[case]
    state, config = zhong.to_state_dict(random_model(attention="1"))
    torch.save(as_torch(state), tmp_path / "model_x.pt")
    beside = tmp_path / "config_x.json"
    beside.write_text(json.dumps(config))
    import_file(tmp_path / "model_x.pt")
    beside.write_text(json.dumps(config | changes))
    assert rule in refusal(lambda: import_file(tmp_path / "model_x.pt"))


def test_zhong_tensors_and_options_are_refused() -> None:
    state, config = zhong.to_state_dict(random_model(attention="1"))
    misfit = {**state, "blocks.0.attn.W_O": state["blocks.0.attn.W_O"][:, :5]}
    assert "tensor blocks.0.attn.W_O has the shape [8, 5]" in refusal(lambda: import_model(misfit, config=config))
    contradiction = refusal(lambda: import_model(state, config=config, attention="1/2"))
    assert "setting attn_coeff is 0.0, which contradicts --attention" in contradiction
    narrow = {name: tensor[..., :4] if name.startswith("unembed.") else tensor for name, tensor in state.items()}
    long = {**state, "pos_embed.W_pos": np.zeros((4, 8), np.float32)}
    assert "has 4 positions; inputs have two" in refusal(lambda: import_model(long, attention="1", p=5))
    third: dict[str, Any] = {"p": 5, "attention": "1", "layout": "a b =4"}
    assert "has 2 positions where" in refusal(lambda: import_model(state, **third))
    few = refusal(lambda: import_model(narrow, config=config))
    assert "has 4 outputs, fewer than p = 5" in few
    with pytest.raises(InputError, match="does not exist in the format of Zhong"):
        zhong.to_state_dict(random_model(5, "b a"))


# Files.


class Opaque:
    """Something a state dict does not need."""


def _opaque(path: Path) -> None:
    torch.save({"model": nn.Linear(2, 2)}, path)


def _bytes(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def _torch(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def _truncated(share: float, legacy: bool = False) -> Callable[[Path], object]:
    buffer = io.BytesIO()
    torch.save(random_state(), buffer, _use_new_zipfile_serialization=not legacy)
    return _bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _bomb() -> bytes:
    """A zip archive that claims to unpack to 3 GiB."""
    data = bytearray(_zip(data_pkl=b"x"))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (3 << 30).to_bytes(4, "little")
    return bytes(data).replace(b"data_pkl", b"data.pkl")


FILE_REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "needs code": (_opaque, "needs the class or function torch.nn.modules.linear.Linear"),
    "pickle": (_bytes(pickle.dumps(Opaque())), "truncated or damaged"),
    "plain pickle": (_bytes(pickle.dumps({"a": 1})), "truncated or damaged"),
    "empty": (_bytes(b""), "neither a safetensors file, a torch file (zip or pickle) nor an .npz archive"),
    "text": (_bytes(b"embed.W_E: 1 2 3\n"), "neither a safetensors file"),
    "truncated": (_truncated(0.7), "is a truncated or damaged zip archive"),
    "truncated pickle": (_truncated(0.7, legacy=True), "truncated or damaged"),
    "one byte": (_bytes(b"\x80"), "truncated or damaged"),
    "another zip": (_bytes(_zip(readme=b"hello")), "neither a torch file nor an .npz of arrays"),
    "zip bomb": (_bytes(_bomb()), "unpacks to more than"),
    "broken torch zip": (_bytes(_zip(**{"m/data.pkl": b"junk"})), "is not a file of torch.save, or it is"),
    "tensor": (_torch(torch.zeros(3)), "must be a state dict, not one tensor"),
    "list": (_torch([1, 2]), "must be a state dict, not a list"),
    "no state dict": (_torch({"epoch": 3, "loss": 0.1}), "but it has 'epoch', 'loss'; save torch.save("),
    "nothing": (_torch({}), "but it has nothing"),
    "two": (_torch({"model": random_state(), "state_dict": random_state()}), "both hold a state dict"),
    "history": (
        _torch({"state_dicts": [random_state()] * 3, "config": {}}),
        "entry state_dicts holds 3 checkpoints; save the state dict of one of them",
    ),
    "numbered inside": (_torch({"model": {0: torch.zeros(1)}}), "whose keys are names"),
    "numbered": (_torch({0: torch.zeros(1), 1: torch.zeros(1)}), "whose keys are names"),
    "embed and unembed": (
        _torch({"embed.weight": torch.zeros(5, 8), "unembed.weight": torch.zeros(5, 8)}),
        "has the tensors embed.weight, unembed.weight, …, which is no supported format",
    ),
    "other network": (_torch({"fc1.weight": torch.zeros(3, 3)}), "has the tensors fc1.weight, …"),
}


@pytest.mark.parametrize("case", FILE_REFUSALS)
@pytest.mark.filterwarnings("ignore:.*legacy.*")
def test_a_file_is_refused(case: str, tmp_path: Path) -> None:
    write, rule = FILE_REFUSALS[case]
    path = tmp_path / "m.pt"
    write(path)
    assert rule in refusal(lambda: import_file(path))


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "ran").write_text, ("x",))

    torch.save({"model": Attack()}, tmp_path / "m.pt")
    assert "could run code" in refusal(lambda: import_file(tmp_path / "m.pt"))
    assert not (tmp_path / "ran").exists()


def test_paths_and_configurations_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(lambda: import_file(tmp_path / "none.pt"))
    assert "cannot be read" in refusal(lambda: import_file(tmp_path))
    path, config = tmp_path / "m.pt", tmp_path / "c.json"
    torch.save(random_state(), path)
    assert "cannot be read: No such file" in refusal(lambda: import_file(path, config=config))
    for text, rule in (
        ("{", "must be a JSON configuration"),
        ("[]", "must be a JSON object"),
        ('{"attn_coeff": NaN}', "NaN is not a number"),
        ("[" * 100_000, "must be a JSON configuration"),
    ):
        config.write_text(text)
        assert rule in refusal(lambda: import_file(path, config=str(config)))
    assert "must be one of native" in refusal(lambda: import_file(path, form="onnx"))
    assert "must be a torch module or a state dict, not int" in refusal(lambda: import_model(3))
    safetensors.torch.save_file(random_state(), tmp_path / "m.safetensors", metadata={"config": "{"})
    assert "metadata config must be JSON" in refusal(lambda: import_file(tmp_path / "m.safetensors"))


# Folded circuits.


def tables(**changes: Any) -> dict[str, Any]:
    plain = {"A": np.ones((4, 5)), "B": np.ones((4, 5)), "W": np.ones((6, 4)), "S1": np.ones((6, 5))}
    return {name: value for name, value in (plain | changes).items() if value is not None}


FOLDED_REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing": ({"B": None}, {}, "tensor B is missing; a folded circuit is A [n, p]"),
    "left over": ({"bias": np.ones(3)}, {}, "tensor bias is left over"),
    "half": ({"A": np.ones((4, 5), np.float16)}, {}, "tensor A is float16; it must be float32 or float64"),
    "integers": ({"W": np.ones((6, 4), int)}, {}, "tensor W is int64"),
    "rank": ({"A": np.ones(4)}, {}, "tensor A has 1 dimensions"),
    "transposed": ({"W": np.ones((4, 6))}, {}, "must be [q, n]; is it transposed?"),
    "p": ({}, {"p": 7}, "which does not fit p = 7"),
    "B": ({"B": np.ones((4, 6))}, {}, "B: shape [4, 6], p is 5 elsewhere"),
    "S1": ({"S1": np.ones((5, 5))}, {}, "S1: shape [5, 5], q is 6 elsewhere"),
    "outputs": ({"W": np.ones((4, 4)), "S1": None}, {}, "4 outputs, fewer than p"),
    "NaN": ({"A": np.full((4, 5), np.nan)}, {}, "A: a value is infinite or not a number"),
    "exponents": ({"A": np.full((4, 5), 1e-200)}, {}, "not between 2^-400 and 2^400"),
    "attention": ({}, {"attention": "1/2"}, "--attention does not apply"),
    "layout": ({}, {"layout": "a b"}, "--layout does not apply"),
}


@pytest.mark.parametrize("case", FOLDED_REFUSALS)
def test_a_folded_circuit_is_refused(case: str, tmp_path: Path) -> None:
    changes, options, rule = FOLDED_REFUSALS[case]
    np.savez(tmp_path / "c.npz", **tables(**changes))
    assert rule in refusal(lambda: import_file(tmp_path / "c.npz", **options))
    assert rule in refusal(lambda: import_model(tables(**changes), **options))


def test_an_archive_of_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", A=np.array([{}], dtype=object))
    assert "is not a readable .npz archive of plain arrays" in refusal(lambda: import_file(tmp_path / "c.npz"))


def test_memory_adds() -> None:
    """The sample network is right on every input, so that the importer's counts mean something."""
    imported = import_model(dict(memory(5).tensors), attention="1/2")
    assert imported.check is not None
    assert imported.check.correct == 25
