"""Checkpoints of other formats as native model files: one module per format, found out from the content.

`import_file` reads a file, `import_model` a live torch module or a state dict. Both return what was read
together with what was dropped and why that cannot matter; both refuse, with one sentence, what the theorem
does not cover.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.files import read_input
from verifier.formats import _check, _state, folded, mlp, native, transformerlens, zhong
from verifier.formats._check import SelfCheck
from verifier.formats._reading import (
    ROUNDED,
    Options,
    Reading,
    attention_option,
    layout_option,
    softmax_reading,
)
from verifier.formats._state import State
from verifier.kernel import limits
from verifier.kernel.claim import TASKS
from verifier.model import (
    FoldedCircuit,
    Model,
    Softmax,
    assumptions_of,
    circuit_digest,
    encode,
    require_valid,
)
from verifier.tensor_file import decode_tensors, looks_like_tensors

FORMATS = (native.FORMAT, transformerlens.FORMAT, zhong.FORMAT, mlp.FORMAT, folded.FORMAT)

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
TRANSFORMER = re.compile(r"(embed\.W_E|pos_embed\.W_pos|unembed\.W_U)$|blocks\.\d+\.(attn\.[Wb]_|mlp\.[Wb]_|ln)")
"""Names that only the two formats of transformers have; a user's own layer may well be called `embed`."""

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

    - `model`: its provenance records format, source and everything below but the check.
    - `format`: one of `FORMATS`.
    - `source`, `source_sha256`: what it was read from; for a live module, a digest of its tensors.
    - `assumptions`: how the model differs from the network it was read from, since the user has said so: phrases such
      as `with attention fixed at 1/2, 1/2`. Every statement about the model must carry them. Usually empty. Of a native
      file, what its provenance says.
    - `dropped`, `changed`: what was left out and what is written otherwise, and why it cannot matter.
    - `notes`: what the user should know; the assumptions first, each with its reason.
    - `check`: the self-check; None where nothing is translated (native files and folded circuits).
    """

    model: Model | FoldedCircuit
    format: str
    source: str
    source_sha256: str
    assumptions: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    check: SelfCheck | None = None

    def encode(self) -> bytes:
        """The native file."""
        return encode(self.model)

    @property
    def circuit_sha256(self) -> str:
        """`verifier.model.circuit_digest` of the model."""
        return circuit_digest(self.model)

    def changes(self) -> list[tuple[str, str]]:
        """What was dropped or changed, as lines of a report: those with one reason together."""
        lines = []
        for kind, table in (("dropped", self.dropped), ("changed", self.changed)):
            reasons: dict[str, list[str]] = {}
            for name, why in table.items():
                reasons.setdefault(why, []).append(name)
            lines += [(kind, f"{', '.join(names)}: {why}") for why, names in reasons.items()]
        return lines


def import_file(
    path: Path | str,
    *,
    config: Path | str | Mapping[str, object] | None = None,
    attention: str | None = None,
    layout: str | None = None,
    p: int | None = None,
    form: str | None = None,
    round_weights: bool = False,
    operation: str | None = None,
) -> ImportedModel:
    """Read a model file of any supported format.

    **Arguments**

    - `config`: the run's configuration, a JSON file or a dictionary. For `model_NAME.pt`, a file
      `config_NAME.json` beside it is found by itself.
    - `attention`: fixes the attention at constant weights, e.g. `"1/2"` or `"1/3 1/3 1/3"`. Where the network's own
      attention is another, the theorem is not about that network, and says so (`ImportedModel.assumptions`).
    - `layout`: what the positions hold, e.g. `"a b =59"`.
    - `p`: the modulus, where the sizes do not settle it.
    - `form`: one of `FORMATS`, instead of finding it out.
    - `round_weights`: round float64 weights to float32.
    - `operation`: what the network computes, `"addition"` unless said otherwise, `"subtraction"` or `"multiplication"`;
      a native file says so itself.

    **Raises** `InputError`, one sentence: what is wrong, what is supported, what to do.
    """
    path = Path(path)
    options = _options(attention, layout, p, round_weights, operation)
    if form is not None and form not in FORMATS:
        raise InputError("--format", "", f"must be one of {', '.join(FORMATS)}, not {form!r}")
    data = read_input(path, limits.MODEL_BYTES)
    source = str(path)
    if config is None:
        config = _config_beside(path)
    elif isinstance(config, str):
        config = Path(config)
    if data.startswith(ZIP):
        names = _state.zip_names(data, source)
        if any(name.endswith(".npy") for name in names):
            return _from_state(_state.from_npz(data, path, config), options, form)
        if any(name.endswith("data.pkl") for name in names):
            return _from_state(_state.from_torch_file(data, path, config), options, form)
        raise InputError(source, "", "is a zip archive, but neither a torch file nor an .npz of arrays")
    if data.startswith(PICKLE) and not looks_like_tensors(data):
        return _from_state(_state.from_torch_file(data, path, config), options, form)
    if not looks_like_tensors(data):
        rule = "is damaged, or neither a safetensors file, a torch file (zip or pickle) nor an .npz archive"
        raise InputError(source, "", rule)
    metadata = decode_tensors(data, source).metadata
    if form == native.FORMAT or (form is None and metadata.keys() >= {"format", "task"}):
        model = native.read(data, source, options)
        assumptions = assumptions_of(model.provenance)
        digest = hashlib.sha256(data).hexdigest()
        return ImportedModel(model, native.FORMAT, source, digest, assumptions, notes=assumptions)
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
    operation: str | None = None,
    file: Path | str | None = None,
) -> ImportedModel:
    """Read a live torch module, a state dict, or a mapping with the tables of a folded circuit.

    **Arguments**

    - `source`: anything with `state_dict()`, or a mapping from names to torch tensors or numpy arrays. A
      module's `cfg` is read as configuration.
    - `file`: the checkpoint the module was loaded from, to be recorded as the origin; without it, a digest of the
      tensors is recorded.
    - the others: as for `import_file`.

    **Raises** `InputError`.
    """
    options = _options(attention, layout, p, round_weights, operation)
    path = None if file is None else Path(file)
    if isinstance(config, str):
        config = Path(config)
    return _from_state(_state.from_live(source, path, config), options, form)


def _options(
    attention: str | None, layout: str | None, p: int | None, round_weights: bool, operation: str | None
) -> Options:
    if operation not in (None, *TASKS):
        raise InputError("--operation", "", f"must be one of {', '.join(TASKS)}")
    return Options(
        p=p,
        attention=None if attention is None else attention_option(attention),
        layout=None if layout is None else layout_option(layout),
        round_weights=round_weights,
        task=TASKS[operation or "addition"],
    )


def _config_beside(path: Path) -> Path | None:
    """`config_NAME.json` beside `model_NAME.pt`, as Zhong et al. name them."""
    if not path.stem.startswith("model_"):
        return None
    beside = path.with_name(f"config_{path.stem.removeprefix('model_')}.json")
    return beside if beside.is_file() else None


def _from_state(state: State, options: Options, form: str | None) -> ImportedModel:
    form = form or _detect(state)
    if form == native.FORMAT:
        raise InputError(state.source, "--format", f"is {form}, but the file holds a state dict")
    if form == folded.FORMAT:
        circuit = folded.read(state, options)
        provenance = {"origin": "imported", "format": form, **state.origin}
        return ImportedModel(
            replace(circuit, provenance=provenance, task=options.task), form, state.source, _digest(state)
        )
    if form == mlp.FORMAT:
        return _from_mlp(state, options)
    reading = (transformerlens.read if form == transformerlens.FORMAT else zhong.read)(state, options)
    require_valid(reading.model, state.source)
    queries = transformerlens.QUERY_KEY if form == transformerlens.FORMAT else zhong.QUERY_KEY
    if reading.pattern is not None and reading.pattern.coefficient and not reading.tensors.keys() >= queries.keys():
        name = min(queries.keys() - reading.tensors.keys())
        raise InputError(state.source, f"tensor {name}", "is missing; the attention depends on it")
    reading, check = _compared(reading, state, options)
    rounded = ROUNDED in reading.changed.values()
    if reading.assumed and 2 * check.own_correct < check.inputs:
        _require_no_better_reading(state, options, reading, check)
    assumptions, why = _attention(state, options, reading, check)
    dropped = {name: why if name in queries else reason for name, reason in reading.dropped.items()}
    notes = [f"{assumptions[0]}: {why}" if assumptions else why, *reading.notes]
    if rounded:
        assumptions += ("with weights rounded to float32",)
        notes.insert(0, f"{assumptions[-1]}: theorems are about the rounded network")
    model = replace(reading.model, task=options.task)
    return _imported(model, form, state, assumptions, dropped, reading.changed, notes, check)


def _compared(reading: Reading, state: State, options: Options) -> tuple[Reading, SelfCheck]:
    """The reading that is the network's own: attention by softmax, unless it is constant or the user has fixed it.

    A live module may fix by its code what its weights leave open; then it is nearer to the constant pattern.
    """
    own = None
    if options.attention is None:
        own = softmax_reading(reading, state, options)
    if own is None or state.module is not None:
        check = _check.compare(reading, state, ROUNDED in reading.changed.values(), options.task)
        if own is None or (check.agrees and check.fixed_by_code):
            return reading, check
    return own, _check.compare(own, state, ROUNDED in own.changed.values(), options.task)


def _from_mlp(state: State, options: Options) -> ImportedModel:
    reading = mlp.read(state, options)
    check = _check.compare_mlp(reading, state, options.task)
    notes = [f"{assumption}: theorems are about the circuit" for assumption in reading.assumptions] + reading.notes
    parts = (reading.assumptions, reading.dropped, reading.changed, notes, check)
    return _imported(replace(reading.circuit, task=options.task), mlp.FORMAT, state, *parts)


def _imported(
    model: Model | FoldedCircuit,
    form: str,
    state: State,
    assumptions: tuple[str, ...],
    dropped: dict[str, str],
    changed: dict[str, str],
    notes: list[str],
    check: SelfCheck,
) -> ImportedModel:
    """The result, with the same facts in the model's provenance."""
    provenance = {
        "origin": "imported",
        "format": form,
        **state.origin,
        "assumptions": list(assumptions),
        "dropped": dropped,
        "changed": changed,
        "notes": notes,
    }
    parts = (assumptions, dropped, changed, tuple(notes), check)
    return ImportedModel(replace(model, provenance=provenance), form, state.source, _digest(state), *parts)


def _digest(state: State) -> str:
    record: Any = state.origin["source"]
    return str(record["sha256"])


def _attention(state: State, options: Options, reading: Reading, check: SelfCheck) -> tuple[tuple[str, ...], str]:
    """The assumptions that the import makes about the attention, and where the model's attention comes from.

    **Raises** `InputError` for a network whose attention is another, unless the user has fixed it.
    """
    attention = reading.model.attention
    if isinstance(attention, Softmax):
        low, high = check.attention or (0.0, 0.0)
        return (
            (),
            f"attention is the {attention} of its own queries and keys, with weights from {low:.3g} to {high:.3g}",
        )
    weights = ", ".join(map(str, attention))
    constant = all(weight.constant for weight in attention)
    option = f"--attention '{' '.join(map(str, attention))}' (attention=)"
    unknown = reading.pattern is None and state.module is None
    if check.agrees and not unknown:
        if not constant:
            return (), f"attention is not constant; theorems hold for every pattern with weights in {weights}"
        if reading.fixed_by:
            return (), f"attention is fixed at {weights} by the network's own code ({reading.fixed_by})"
        if check.weights_agree and reading.pattern is not None:
            return (), f"its queries and keys give the attention {weights} at every input"
        return (), f"the module's own forward pass has the attention {weights} at every input"
    assumption = f"with attention {'fixed at' if constant else 'anywhere in'} {weights}"
    if unknown:
        facts = "the file has no W_Q and W_K, and does not say what its attention is"
        ways = f"give the whole state dict, or fix the attention with {option}, and theorems then say so"
    else:
        low, high = check.attention or (0.0, 0.0)
        facts = (
            f"the network's own attention weights range from {low:.3g} to {high:.3g}; with {weights} instead, logits"
            f" differ by {check.relative:.1e} of the largest one (right by its own forward pass:"
            f" {check.own_correct} of {check.inputs} inputs; so: {check.correct})"
        )
        ways = (
            "retrain with a hook that sets the pattern to a constant, or fix the attention with"
            f" {option}, and theorems are then about the network {assumption}, and say so"
        )
    if options.attention is None:
        raise InputError(state.source, "", f"{facts}. Only constant attention is supported: {ways}")
    return (assumption,), facts


def _detect(state: State) -> str:
    """The format of tables or a state dict: those of transformers differ in the rank of W_O."""
    if {"A", "B"} & state.tensors.keys() or state.tensors.keys() <= set(folded.TABLES):
        return folded.FORMAT
    output = state.tensors.get("blocks.0.attn.W_O")
    if mlp.matches(state.tensors) and not any(TRANSFORMER.match(name) for name in state.tensors):
        return mlp.FORMAT
    if not any(TRANSFORMER.match(name) for name in state.tensors):
        names = ", ".join(sorted(state.tensors)[:4])
        rule = (
            f"has the tensors {names}, …, which is no supported format; supported are TransformerLens,"
            " Zhong et al., one hidden layer of ReLUs, and the tables A, B, W of a folded circuit"
        )
        raise InputError(state.source, "", rule)
    return zhong.FORMAT if output is not None and output.ndim == 2 else transformerlens.FORMAT


def _require_no_better_reading(state: State, options: Options, reading: Reading, check: SelfCheck) -> None:
    """Where the default layout gives a network that cannot add, and two tokens one that can, refuse to guess.

    **Raises** `InputError`, with the option that settles it.
    """
    layout = " ".join(reading.model.layout)
    if len(reading.model.layout) > 2:
        two = transformerlens.read(state, replace(options, layout=reading.model.layout[:2], p=reading.model.p))
        count = _check.correct_inputs(two, options.task)
        if 2 * count > check.inputs:
            rule = (
                f"does not hold '=', it seems: read as '{layout}' it gets {check.own_correct} of {check.inputs} inputs"
                f" right, without it {count}; --layout '{' '.join(two.model.layout)}' reads two tokens, '{layout}'"
                " insists on three"
            )
            raise InputError(state.source, "the last position", rule)
