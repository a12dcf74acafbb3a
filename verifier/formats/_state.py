"""State dicts as numpy arrays, wherever they come from: a torch file, a safetensors file, a live module.

torch is imported only for what only torch can read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.files import read_input
from verifier.formats._settings import Settings, read_configuration
from verifier.kernel.limits import MODEL_BYTES
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
    - `prefix`: what stood before every name.
    - `module`: the live module itself, if there is one that can be run.
    """

    source: str
    tensors: dict[str, NDArray[Any]]
    dtypes: dict[str, str]
    settings: Settings
    origin: dict[str, object]
    unused: tuple[str, ...]
    tied: tuple[tuple[str, str], ...]
    prefix: str = ""
    module: Module | None = None


@dataclass(frozen=True, slots=True)
class Module:
    """A live torch module that can be run.

    **Fields**

    - `name`: of its class. `dtype`: of its parameters.
    - `run`: the module.
    """

    name: str
    dtype: str
    run: Any

    def logits(self, tokens: NDArray[np.int64], outputs: int, one_hot: int = 0) -> NDArray[np.float64]:
        """Its logits at the last position, shape (batch, outputs), for tokens of shape (batch, positions).

        **Arguments**

        - `one_hot`: for a network without positions, the number of tokens: it may also take the two tokens as two
          arguments, or as one-hot vectors side by side.

        **Raises** `InputError`.
        """
        import torch

        parameter = next(iter(self.run.parameters()))
        batch = torch.as_tensor(tokens, device=parameter.device)
        ways: list[tuple[Any, ...]] = [(batch,)]
        if one_hot:
            ways += [(batch[:, 0], batch[:, 1])]
            ways += [(torch.nn.functional.one_hot(batch, one_hot).flatten(1).to(parameter.dtype),)]
        shapes = [*tokens.shape, outputs], [len(tokens), outputs]
        problems = []
        training = self.run.training
        self.run.eval()
        try:
            for way in ways:
                try:
                    with torch.no_grad():
                        result = self.run(*way)
                except Exception as error:  # whatever the user's own code raises
                    rule = (
                        f"cannot be run on tokens of the shape {list(tokens.shape)} ({type(error).__name__}: {error})"
                    )
                    problems.append(f"{rule}; import its state dict, module.state_dict(), to leave its code out")
                    continue
                if isinstance(result, torch.Tensor) and list(result.shape) in shapes:
                    last = result[:, -1] if result.ndim == 3 else result
                    return last.double().cpu().numpy()
                found = f"the shape {list(result.shape)}" if isinstance(result, torch.Tensor) else type(result).__name__
                problems.append(f"gives {found}, not logits of the shape {shapes[0]} or {shapes[1]}")
        finally:
            self.run.train(training)
        raise InputError(self.name, "its forward pass", problems[0])


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
    prefix = _prefix(tensors)
    tensors, dtypes = _without(prefix, tensors), _without(prefix, dtypes)
    return State(source, tensors, dtypes, settings, file_origin(data, path) | more, (), (), prefix)


def from_npz(data: bytes, path: Path, config: Path | Mapping[str, object] | None) -> State:
    """The arrays of an `.npz` archive.

    **Raises** `InputError`.
    """
    source = str(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            tensors = {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy raises half a dozen kinds for a damaged archive
        first = str(error).splitlines()[0][:160] if str(error) else "no reason given"
        raise InputError(source, "", f"is not a readable .npz archive of plain arrays ({first})") from None
    return _from_mapping(_Unwrapped(tensors, [], ()), source, file_origin(data, path), config)


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
    origin = None if file is None else file_origin(read_input(file, MODEL_BYTES), file)
    return replace(_from_mapping(unwrapped, name, origin, config), module=_module(source, name))


def _module(source: object, name: str) -> Module | None:
    """The module itself, where it is one of torch with a forward pass of its own."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(source, torch.nn.Module) or type(source).forward is torch.nn.Module.forward:
        return None
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in source.parameters()}
    return Module(name, "float64" if dtypes == {"float64"} else "float32", source) if dtypes else None


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
    tensors: dict[str, NDArray[Any]] = {}
    dtypes: dict[str, str] = {}
    places: dict[tuple[int, int], str] = {}
    tied = []
    prefix = _prefix(unwrapped.weights)
    for name, value in _without(prefix, unwrapped.weights).items():
        if isinstance(value, np.ndarray):
            tensors[name], dtypes[name] = value, str(value.dtype)
        elif hasattr(value, "untyped_storage"):
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
    return State(source, tensors, dtypes, settings, origin | more, unwrapped.unused, tuple(tied), prefix)


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


def _prefix(tensors: Mapping[str, Any]) -> str:
    """What wrappers put before every name."""
    found = ""
    while prefix := next((x for x in PREFIXES if tensors and all(name.startswith(found + x) for name in tensors)), ""):
        found += prefix
    return found


def _without(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


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
    weights = content[found[0]] if found else content
    if _is_state_dict(weights) and not all(isinstance(name, str) for name in weights):
        raise InputError(source, "", "must be a state dict, whose keys are names")
    if found:
        configurations = [(source, content[key]) for key in CONFIG_KEYS if content.get(key) is not None]
        unused = [str(key) for key in content if key != found[0] and key not in CONFIG_KEYS]
        return _Unwrapped(weights, configurations, tuple(sorted(unused)))
    for key in LIST_KEYS:
        if content.get(key) is not None:
            count = f" {len(content[key])}" if isinstance(content[key], list | tuple | Mapping) else ""
            rule = f"holds{count} checkpoints; save the state dict of one of them on its own"
            raise InputError(source, f"entry {key}", rule)
    if not _is_state_dict(content):
        names = ", ".join(repr(key) for key in list(content)[:6]) or "nothing"
        raise InputError(source, "", f"must be a state dict or hold one, but it has {names}; {save}")
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
        with _inert(torch), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols; what matters is an error
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        raise InputError(source, "", _pickle_rule(str(error))) from None


class _Dtype:
    """Stands in for numpy.dtype in a pickle: no more than its name and byte order."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.name = str(state[1]).replace("|", "") + self.name


def _scalar(dtype: _Dtype, data: bytes) -> object:
    """Stands in for numpy's constructor of scalars: a plain number."""
    return np.frombuffer(data, np.dtype(dtype.name))[0].item()


@contextlib.contextmanager
def _inert(torch: ModuleType) -> Iterator[None]:
    """Let numpy's numbers and a pickled HookedTransformerConfig be read as records, without code of theirs.

    Training runs often store them beside the weights. `weights_only` would refuse them; these stand-ins have their
    names, and run nothing but what is written above.
    """
    stand_ins: list[Any] = []
    for module in TRANSFORMER_LENS_CONFIGS:
        name = "EasyTransformerConfig" if module.startswith("easy") else "HookedTransformerConfig"
        stand_ins.append(type(name, (), {"__module__": module}))
    stand_ins.append(type("dtype", (_Dtype,), {"__module__": "numpy"}))
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        scalar = FunctionType(_scalar.__code__, globals(), "scalar")
        scalar.__module__, scalar.__qualname__ = module, "scalar"
        stand_ins.append(scalar)
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
