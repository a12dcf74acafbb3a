"""Checkpoints of other formats as native model files: one module per format, found out from the content.

`import_file` reads a file, `import_model` a live torch module or a state dict. Both return what was read
together with what was dropped and why that cannot matter; both refuse, with one sentence, what the theorem
does not cover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.formats import _check, _state, folded, native, transformerlens, zhong
from verifier.formats._check import SelfCheck
from verifier.formats._reading import Options, Pattern, Reading, attention_option, layout_option
from verifier.formats._state import State
from verifier.model import (
    FoldedCircuit,
    Model,
    circuit_digest,
    encode,
    read_bytes,
    require_valid,
)
from verifier.tensor_file import decode_tensors, looks_like_tensors

FORMATS = (native.FORMAT, transformerlens.FORMAT, zhong.FORMAT, folded.FORMAT)

ZIP, PICKLE = b"PK\x03\x04", b"\x80"

__all__ = [
    "FORMATS",
    "ImportedModel",
    "SelfCheck",
    "circuit_digest",
    "import_file",
    "import_model",
]


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model read from somewhere.

    **Fields**

    - `model`: its provenance records format, source and what was dropped.
    - `format`: one of `FORMATS`.
    - `source`, `source_sha256`: what it was read from; for a live module, a digest of its tensors.
    - `dropped`: what was left out, and why it cannot matter.
    - `notes`: what the user should know: rounding, attention that is not used, intervals.
    - `check`: the self-check; None where nothing is translated (native files and folded circuits).
    """

    model: Model | FoldedCircuit
    format: str
    source: str
    source_sha256: str
    dropped: dict[str, str]
    notes: tuple[str, ...]
    check: SelfCheck | None

    def encode(self) -> bytes:
        """The native file."""
        return encode(self.model)

    @property
    def circuit_sha256(self) -> str:
        """`verifier.model.circuit_digest` of the model."""
        return circuit_digest(self.model)


def import_file(
    path: Path | str,
    *,
    config: Path | str | Mapping[str, object] | None = None,
    attention: str | None = None,
    layout: str | None = None,
    p: int | None = None,
    form: str | None = None,
    round_weights: bool = False,
) -> ImportedModel:
    """Read a model file of any supported format.

    **Arguments**

    - `config`: the run's configuration, a JSON file or a dictionary. For `model_NAME.pt`, a file
      `config_NAME.json` beside it is found by itself.
    - `attention`: constant attention weights, e.g. `"1/2"` or `"1/3 1/3 1/3"`.
    - `layout`: what the positions hold, e.g. `"a b =59"`.
    - `p`: the modulus, where the sizes do not settle it.
    - `form`: one of `FORMATS`, instead of finding it out.
    - `round_weights`: round float64 weights to float32.

    **Raises** `InputError`, one sentence: what is wrong, what is supported, what to do.
    """
    path = Path(path)
    options = _options(attention, layout, p, round_weights)
    if form is not None and form not in FORMATS:
        raise InputError("--format", "", f"must be one of {', '.join(FORMATS)}, not {form!r}")
    data = read_bytes(path)
    source = str(path)
    if config is None:
        config = _config_beside(path)
    elif isinstance(config, str):
        config = Path(config)
    if data.startswith(ZIP):
        names = _state.zip_names(data, source)
        if any(name.endswith(".npy") for name in names):
            return _from_folded(folded.from_npz(data, source, options), data, path)
        if any(name.endswith("data.pkl") for name in names):
            return _from_state(_state.from_torch_file(data, path, config), options, form)
        raise InputError(source, "", "is a zip archive, but neither a torch file nor an .npz of arrays")
    if data.startswith(PICKLE):
        return _from_state(_state.from_torch_file(data, path, config), options, form)
    if not looks_like_tensors(data):
        rule = "is damaged, or neither a safetensors file, a torch file (zip or pickle) nor an .npz archive"
        raise InputError(source, "", rule)
    file = decode_tensors(data, source)
    if form == native.FORMAT or (form is None and "format" in file.metadata and "task" in file.metadata):
        return _from_native(native.read(data, source, options), data, path)
    if form == folded.FORMAT or (form is None and {"A", "B", "W"} & file.tensors.keys()):
        return _from_folded(folded.from_safetensors(data, source, options), data, path)
    return _from_state(_state.from_safetensors(data, path, config), options, form)


def import_model(
    source: object,
    *,
    config: Path | str | Mapping[str, object] | None = None,
    attention: str | None = None,
    layout: str | None = None,
    p: int | None = None,
    form: str | None = None,
    round_weights: bool = False,
    file: Path | str | None = None,
) -> ImportedModel:
    """Read a live torch module, a state dict, or a mapping with the tables of a folded circuit.

    **Arguments**

    - `source`: anything with `state_dict()`, or a mapping from names to torch tensors or numpy arrays. A
      module's `cfg` is read as configuration.
    - `file`: the checkpoint the module was loaded from. It is recorded as the origin, and the native file is
      then the one that importing the checkpoint gives; without it, a digest of the tensors is recorded.
    - the others: as for `import_file`.

    **Raises** `InputError`.
    """
    options = _options(attention, layout, p, round_weights)
    path = None if file is None else Path(file)
    if isinstance(config, str):
        config = Path(config)
    state = _state.from_live(source, path, config)
    if form == folded.FORMAT or (form is None and {"A", "B", "W"} & state.tensors.keys()):
        circuit = folded.read(state.tensors, state.dtypes, state.source, options)
        provenance = {"origin": "imported", "format": folded.FORMAT, **state.origin}
        return _result(replace(circuit, provenance=provenance), folded.FORMAT, state.source, {}, (), None)
    return _from_state(state, options, form)


def _options(attention: str | None, layout: str | None, p: int | None, round_weights: bool) -> Options:
    return Options(
        p=p,
        attention=None if attention is None else attention_option(attention),
        layout=None if layout is None else layout_option(layout),
        round_weights=round_weights,
    )


def _config_beside(path: Path) -> Path | None:
    """`config_NAME.json` beside `model_NAME.pt`, as Zhong et al. name them."""
    if not path.stem.startswith("model_"):
        return None
    beside = path.with_name(f"config_{path.stem.removeprefix('model_')}.json")
    return beside if beside.is_file() else None


def _from_native(model: Model | FoldedCircuit, data: bytes, path: Path) -> ImportedModel:
    digest = _state.file_origin(data, path)
    return _result(model, native.FORMAT, str(path), {}, (), None, digest)


def _from_folded(circuit: FoldedCircuit, data: bytes, path: Path) -> ImportedModel:
    provenance = {"origin": "imported", "format": folded.FORMAT, **_state.file_origin(data, path)}
    return _result(replace(circuit, provenance=provenance), folded.FORMAT, str(path), {}, (), None)


def _from_state(state: State, options: Options, form: str | None) -> ImportedModel:
    if form is None:
        form = _detect(state)
    if form not in (transformerlens.FORMAT, zhong.FORMAT):
        raise InputError(state.source, "--format", f"is {form}, but the file holds a state dict")
    read = transformerlens.read if form == transformerlens.FORMAT else zhong.read
    reading = read(state, options)
    require_valid(reading.model, state.source)
    check = _check.compare(reading, state.arrays, state.source)
    if reading.assumed and 2 * check.correct < check.inputs:
        _require_no_better_reading(state, options, reading, check)
    provenance: dict[str, object] = {
        "origin": "imported",
        "format": form,
        **state.origin,
        "dropped": reading.dropped,
    }
    if reading.notes:
        provenance["notes"] = reading.notes
    model = replace(reading.model, provenance=provenance)
    return _result(model, form, state.source, reading.dropped, tuple(reading.notes), check)


def _detect(state: State) -> str:
    """The format of a state dict: the two share their names, and differ in the rank of W_O."""
    output = state.tensors.get("blocks.0.attn.W_O")
    if not any(name.startswith(("embed.", "blocks.", "unembed.")) for name in state.tensors):
        names = ", ".join(sorted(state.tensors)[:4])
        rule = (
            f"has the tensors {names}, …, which is no supported format; supported are TransformerLens,"
            " Zhong et al., and the tables A, B, W of a folded circuit"
        )
        raise InputError(state.source, "", rule)
    return zhong.FORMAT if output is not None and output.ndim == 2 else transformerlens.FORMAT


def _require_no_better_reading(state: State, options: Options, reading: Reading, check: SelfCheck) -> None:
    """Where the defaults give a network that cannot add, and another reading one that can, refuse to guess.

    **Raises** `InputError`, with the option that settles it.
    """
    p, layout = reading.model.p, " ".join(reading.model.layout)
    weights = " ".join(map(str, reading.model.attention))
    right = f"read as '{layout}' with attention {weights} it gets {check.correct} of {check.inputs} inputs right"
    if reading.tensors.keys() >= set(transformerlens.QUERY_KEY):
        learned = Pattern((0.0,) * len(reading.model.layout), 1.0)
        count = _check.correct_inputs(reading, learned)
        if 2 * count > check.inputs:
            rule = (
                f"is learned, it seems: {right}, with its own softmax {count};"
                f" only constant attention is supported; --attention '{weights}' insists on it"
            )
            raise InputError(state.source, "the attention", rule)
    if len(reading.model.layout) > 2 and options.layout is None:
        two = transformerlens.read(state, replace(options, layout=reading.model.layout[:2], p=p))
        count = _check.correct_inputs(two, two.pattern)
        if 2 * count > check.inputs:
            rule = (
                f"does not hold '=', it seems: {right}, without it {count};"
                f" --layout '{' '.join(two.model.layout)}' reads two tokens, '{layout}' insists on three"
            )
            raise InputError(state.source, "the last position", rule)


def _result(
    model: Model | FoldedCircuit,
    form: str,
    source: str,
    dropped: dict[str, str],
    notes: tuple[str, ...],
    check: SelfCheck | None,
    origin: Mapping[str, object] | None = None,
) -> ImportedModel:
    record: Any = (origin or model.provenance)["source"]
    return ImportedModel(model, form, source, record["sha256"], dropped, notes, check)
