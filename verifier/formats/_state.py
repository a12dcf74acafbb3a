"""State dicts as numpy arrays, wherever they come from: a torch file, a safetensors file, a live module.

torch is imported only for what only torch can read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.formats._settings import Settings, read_configuration
from verifier.kernel.limits import MODEL_BYTES
from verifier.model import read_bytes
from verifier.tensor_file import decode_tensors

WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "weights")
CONFIG_KEYS = ("config", "cfg", "run_config", "model_config", "hyper_parameters", "hparams", "args")
LIST_KEYS = ("state_dicts", "checkpoints")
PREFIXES = ("_orig_mod.", "module.", "model.")
"""What torch.compile, DataParallel and training frameworks put before every name."""

FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
HALF = ("float16", "bfloat16")

TRANSFORMER_LENS_CONFIGS = (
    "transformer_lens.HookedTransformerConfig",
    "transformer_lens.config.HookedTransformerConfig",
    "transformer_lens.config.hooked_transformer_config",
    "easy_transformer.EasyTransformerConfig",
)


@dataclass(frozen=True, slots=True)
class State:
    """A state dict, its configuration, and what is known of its origin.

    **Fields**

    - `source`: what to call it in messages.
    - `tensors`, `dtypes`: arrays and dtypes by name. Half precision is here as float32, for the shapes.
    - `settings`: every configuration that came with it.
    - `origin`: what a native file records: name and SHA-256 of the source and of a configuration file.
    - `unused`: names of other entries of a training run's dictionary.
    - `tied`: pairs of names that share their memory.
    - `arrays`: the library that read it, torch or numpy; its forward pass is computed there.
    """

    source: str
    tensors: dict[str, NDArray[Any]]
    dtypes: dict[str, str]
    settings: Settings
    origin: dict[str, object]
    unused: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]
    arrays: ModuleType


@dataclass(frozen=True, slots=True)
class _Unwrapped:
    weights: Mapping[str, Any]
    configurations: list[tuple[str, object]]
    unused: tuple[str, ...]


def from_torch_file(data: bytes, path: Path, config: Path | Mapping[str, object] | None) -> State:
    """The state dict in a `.pt` or `.pth` file.

    **Raises** `InputError`: not readable without running code, torch is missing, or there is no state dict.
    """
    source = str(path)
    unwrapped = _unwrap(_load_pickle(data, source), source)
    return _from_mapping(unwrapped, source, file_origin(data, path), config)


def from_safetensors(data: bytes, path: Path, config: Path | Mapping[str, object] | None) -> State:
    """The state dict in a safetensors file; JSON in its metadata under `config` counts as configuration.

    **Raises** `InputError`.
    """
    source = str(path)
    file = decode_tensors(data, source)
    embedded: list[tuple[str, object]] = []
    if "config" in file.metadata:
        try:
            embedded = [(source, json.loads(file.metadata["config"]))]
        except (ValueError, RecursionError):
            raise InputError(source, "metadata config", "must be JSON") from None
    tensors, dtypes = {}, {}
    for name, array in file.tensors.items():
        dtype = file.dtypes[name]
        dtypes[name] = FLOATS.get(dtype, str(array.dtype))
        tensors[name] = np.zeros(array.shape, np.float32) if dtype == "BF16" else array
    settings, more = _settings(embedded, config)
    tensors, dtypes = _without_prefix(tensors), _without_prefix(dtypes)
    return State(source, tensors, dtypes, settings, file_origin(data, path) | more, (), (), np)


def from_live(
    source: object, file: Path | None, config: Path | Mapping[str, object] | None, name: str = "state dict"
) -> State:
    """The state dict of a live torch module, or given as a mapping of tensors or arrays.

    **Arguments**

    - `file`: the checkpoint it was loaded from, to be recorded as its origin instead of a digest of the
      tensors.

    **Raises** `InputError`.
    """
    configurations: list[tuple[str, object]] = []
    content = source
    if callable(getattr(source, "state_dict", None)):
        name = type(source).__name__
        attributes = [(key, getattr(source, key, None)) for key in ("cfg", "config")]
        configurations = [(f"{name}.{key}", value) for key, value in attributes if value is not None]
        content = source.state_dict()  # type: ignore[attr-defined]
    if not isinstance(content, Mapping):
        raise InputError(name, "", f"must be a torch module or a state dict, not {type(source).__name__}")
    unwrapped = _unwrap(content, name)
    unwrapped.configurations.extend(configurations)
    origin = None if file is None else file_origin(read_bytes(file), file)
    return _from_mapping(unwrapped, name, origin, config)


def file_origin(data: bytes, path: Path) -> dict[str, object]:
    return {"source": {"name": path.name, "sha256": hashlib.sha256(data).hexdigest()}}


def _settings(
    embedded: list[tuple[str, object]], config: Path | Mapping[str, object] | None
) -> tuple[Settings, dict[str, object]]:
    """All configurations as one, and what to record of a configuration file."""
    if config is None:
        return Settings.of(embedded), {}
    if isinstance(config, Path):
        data, content = read_configuration(config)
        record = {"name": config.name, "sha256": hashlib.sha256(data).hexdigest()}
        return Settings.of([(str(config), content), *embedded]), {"config": record}
    return Settings.of([("config", config), *embedded]), {}


def _from_mapping(
    unwrapped: _Unwrapped,
    source: str,
    origin: dict[str, object] | None,
    config: Path | Mapping[str, object] | None,
) -> State:
    arrays: ModuleType = np
    tensors: dict[str, NDArray[Any]] = {}
    dtypes: dict[str, str] = {}
    places: dict[tuple[int, int], str] = {}
    tied = []
    for name, value in _without_prefix(dict(unwrapped.weights)).items():
        if isinstance(value, np.ndarray):
            tensors[name], dtypes[name] = value, str(value.dtype)
        elif hasattr(value, "untyped_storage"):
            import torch

            arrays = torch
            _require_plain(value, source, name)
            place = (value.untyped_storage().data_ptr(), value.storage_offset())
            if value.numel() and place[0] and place in places:
                tied.append((places[place], name))
            places.setdefault(place, name)
            dtypes[name] = str(value.dtype).removeprefix("torch.")
            value = value.detach().cpu()
            tensors[name] = (value.float() if dtypes[name] in HALF else value).numpy().copy()
        else:
            raise InputError(source, f"entry {name}", f"must be a tensor, not {type(value).__name__}")
    settings, more = _settings(unwrapped.configurations, config)
    if origin is None:
        origin = {"source": {"name": "state dict", "sha256": tensors_digest(tensors)}}
    return State(source, tensors, dtypes, settings, origin | more, unwrapped.unused, tuple(tied), arrays)


def tensors_digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (hex) of a state dict that is in memory: its names, dtypes, shapes and values."""
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        hasher.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode() + b"\n")
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def _require_plain(tensor: Any, source: str, name: str) -> None:
    layout, device = str(tensor.layout), str(tensor.device.type)
    if layout != "torch.strided" or tensor.is_quantized or tensor.is_complex() or device == "meta":
        kind = "complex" if tensor.is_complex() else layout.removeprefix("torch.")
        kind = "quantised" if tensor.is_quantized else "without data (meta)" if device == "meta" else kind
        raise InputError(source, f"tensor {name}", f"is {kind}; only dense float32 tensors are supported; convert it")


def _without_prefix(tensors: dict[str, Any]) -> dict[str, Any]:
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _without_prefix({name.removeprefix(prefix): value for name, value in tensors.items()})
    return tensors


def _is_tensor(value: object) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "untyped_storage")


def _is_state_dict(content: object) -> bool:
    return isinstance(content, Mapping) and any(_is_tensor(value) for value in content.values())


def _unwrap(content: object, source: str) -> _Unwrapped:
    """Find the state dict, and the configurations beside it.

    **Raises** `InputError`.
    """
    save = "save torch.save(model.state_dict(), path)"
    if _is_tensor(content):
        raise InputError(source, "", f"must be a state dict, not one tensor; {save}")
    if not isinstance(content, Mapping):
        raise InputError(source, "", f"must be a state dict, not a {type(content).__name__}; {save}")
    found = [key for key in WEIGHT_KEYS if _is_state_dict(content.get(key))]
    if len(found) > 1:
        entries = f"entries {found[0]} and {found[1]}"
        raise InputError(source, entries, "both hold a state dict; save only one")
    if found:
        configurations = [(source, content[key]) for key in CONFIG_KEYS if content.get(key) is not None]
        unused = [str(key) for key in content if key != found[0] and key not in CONFIG_KEYS]
        return _Unwrapped(content[found[0]], configurations, tuple(sorted(unused)))
    for key in LIST_KEYS:
        if content.get(key) is not None:
            count = f" {len(content[key])}" if isinstance(content[key], list | tuple | Mapping) else ""
            rule = f"holds{count} checkpoints; save the state dict of one of them on its own"
            raise InputError(source, f"entry {key}", rule)
    if not _is_state_dict(content):
        names = ", ".join(repr(key) for key in list(content)[:6]) or "nothing"
        raise InputError(source, "", f"must be a state dict or hold one, but it has {names}; {save}")
    if not all(isinstance(name, str) for name in content):
        raise InputError(source, "", "must be a state dict, whose keys are names")
    return _Unwrapped(content, [], ())


def _load_pickle(data: bytes, source: str) -> object:
    """The objects of a torch file, loaded without running any code from it.

    **Raises** `InputError`.
    """
    try:
        import torch
    except ModuleNotFoundError:
        rule = "is a torch file, which needs torch: install the extra 'torch', or convert it to safetensors"
        raise InputError(source, "", rule) from None
    try:
        with _inert_configurations(torch), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols; what matters is an error
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        raise InputError(source, "", _pickle_rule(str(error))) from None


@contextlib.contextmanager
def _inert_configurations(torch: ModuleType) -> Iterator[None]:
    """Let a pickled HookedTransformerConfig be read as a record without code.

    Training runs often store one beside the weights. `weights_only` would refuse it; these stand-ins have its
    name, no methods and no constructor, so that reading one sets attributes and runs nothing.
    """
    stand_ins = []
    for module in TRANSFORMER_LENS_CONFIGS:
        name = "EasyTransformerConfig" if module.startswith("easy") else "HookedTransformerConfig"
        stand_ins.append(type(name, (), {"__module__": module}))
    allow = getattr(torch.serialization, "safe_globals", None)  # torch 2.5; before, such a run is refused
    with allow(stand_ins) if allow else contextlib.nullcontext():
        yield


def _pickle_rule(message: str) -> str:
    """What is wrong with a torch file, from the message of `torch.load`."""
    refused = re.search(r"GLOBAL ([\w.]+)", message)
    if refused is not None or ("WeightsUnpickler error" in message and "Unsupported operand" not in message):
        what = f"the class or function {refused[1]}" if refused else "more than tensors and plain containers"
        return (
            f"needs {what}, and loading that could run code from the file (only weights_only=True is used);"
            " save a state dict instead: torch.save(model.state_dict(), path)"
        )
    first = message.strip().rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0][:160]
    return f"is not a file of torch.save, or it is truncated or damaged ({first or 'no reason given'})"


def zip_names(data: bytes, source: str) -> list[str]:
    """The names in a zip archive, whose contents must not unpack to more than a model may have.

    **Raises** `InputError`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(source, "", f"is a truncated or damaged zip archive ({error})") from None
    if sum(entry.file_size for entry in entries) > MODEL_BYTES:
        raise InputError(source, "", f"unpacks to more than {MODEL_BYTES} bytes")
    return [entry.filename for entry in entries]
