"""Run configurations: whatever a checkpoint says about itself apart from its weights.

Configurations come as JSON files, as dictionaries next to a state dict, nested or flat, or as objects with
attributes (`HookedTransformer.cfg`). Here they become one table from a setting's name to its values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from verifier.errors import InputError
from verifier.files import read_input
from verifier.kernel.claim import ADDITION, MULTIPLICATION, SUBTRACTION

SECTIONS = (
    "args",
    "cfg",
    "config",
    "data",
    "experiment",
    "hparams",
    "hyper_parameters",
    "model",
    "model_config",
    "run_config",
    "task",
)
"""Names under which a configuration nests further settings of the network or its task."""

CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """`values[name]` lists what the configurations say about a setting, each with where it says so."""

    values: Mapping[str, list[tuple[str, object]]]

    @classmethod
    def of(cls, configurations: list[tuple[str, object]]) -> Settings:
        """Collect the settings of some configurations, each given with its source."""
        values: dict[str, list[tuple[str, object]]] = {}
        for source, configuration in configurations:
            _collect(source, configuration, values, depth=3)
        return cls(values)

    def find(self, *names: str) -> tuple[str, str, object] | None:
        """Where a setting is, its name there, and its value; None where nobody gives it (or gives None).

        **Arguments**

        - `names`: the names it goes by.

        **Raises** `InputError` when two of the values differ.
        """
        found = [
            (source, name, value) for name in names for source, value in self.values.get(name, ()) if value is not None
        ]
        for source, name, value in found[1:]:
            if value != found[0][2]:
                rule = f"is {value!r}, which contradicts {found[0][1]} = {found[0][2]!r}"
                raise InputError(source, f"setting {name}", rule)
        return found[0] if found else None

    def names(self, *names: str) -> bool:
        """Whether one of these settings is there, be it None."""
        return any(name in self.values for name in names)

    def integer(self, *names: str) -> int | None:
        """A setting that must be a whole number.

        **Raises** `InputError`.
        """
        found = self.find(*names)
        if found is None:
            return None
        source, name, value = found
        if type(value) is not int:
            raise InputError(source, f"setting {name}", f"must be a whole number, not {value!r}")
        return value

    def flag(self, *names: str) -> bool | None:
        """A setting that must be true or false, or 1 or 0.

        **Raises** `InputError`.
        """
        found = self.find(*names)
        if found is None:
            return None
        source, name, value = found
        if value not in (True, False):
            raise InputError(source, f"setting {name}", f"must be true or false, not {value!r}")
        return bool(value)

    def fraction(self, *names: str) -> Fraction | None:
        """A setting that must be a number in [0, 1], as the exact value of its shortest decimal.

        **Raises** `InputError`.
        """
        found = self.find(*names)
        if found is None:
            return None
        source, name, value = found
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(source, f"setting {name}", f"must be a number from 0 to 1, not {value!r}")
        return Fraction(repr(value))

    def refuse_unless(self, names: tuple[str, ...], accept: Callable[[object], bool], rule: str) -> None:
        """Refuse a setting that is given and not accepted; `rule` says what is supported, and what to do.

        **Raises** `InputError`.
        """
        for name in names:
            for source, value in self.values.get(name, ()):
                if not accept(value):
                    raise InputError(source, f"setting {name}", f"is {_short(value)}; {rule}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _collect(source: str, section: object, values: dict[str, list[tuple[str, object]]], depth: int) -> None:
    for name, value in _items(section):
        values.setdefault(name, []).append((source, _plain(value)))
        if depth and name in SECTIONS:
            _collect(source, value, values, depth - 1)


def _plain(value: Any) -> object:
    """A number of numpy or torch as Python's; of an array, its text: no setting that is read has one."""
    if isinstance(value, np.generic) or hasattr(value, "ndim"):
        return value.item() if value.ndim == 0 else _short(value)
    return value


def _items(section: object) -> list[tuple[str, object]]:
    """The settings of a dictionary or of an object's attributes; none for anything else."""
    if isinstance(section, Mapping):
        return [(name, value) for name, value in section.items() if isinstance(name, str)]
    if isinstance(section, str | bytes | int | float | list | tuple | None):
        return []
    return list(getattr(section, "__dict__", {}).items())


def read_configuration(path: Path) -> tuple[bytes, object]:
    """The bytes and the content of a JSON configuration file.

    **Raises** `InputError`.
    """
    data = read_input(path, CONFIG_BYTES)

    def refuse(text: str) -> NoReturn:
        raise ValueError(f"{text} is not a number")

    try:
        content = json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(path, "", f"must be a JSON configuration ({error})") from None
    if not isinstance(content, dict):
        raise InputError(path, "", "must be a JSON object, the configuration of a run")
    return data, content


FUNCTIONS = {
    ADDITION: ("add", "addition"),
    SUBTRACTION: ("sub", "subtract", "subtraction"),
    MULTIPLICATION: ("mul", "multiply", "multiplication"),
}


def _is_plain(*words: str) -> Callable[[object], bool]:
    return lambda value: value is None or (isinstance(value, str) and value.lower() in words)


def _is_no_cap(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and value <= 0)


def _is_off(value: object) -> bool:
    return not value


def require_supported_network(settings: Settings, task: str) -> None:
    """Refuse every setting that makes the network something else than docs/theory.md §1.

    **Raises** `InputError`.
    """
    refuse = settings.refuse_unless
    refuse(
        ("n_layers", "num_layers"),
        lambda value: value in (None, 1),
        "only one layer is supported: the theorem is about one-layer transformers",
    )
    refuse(
        ("act_fn", "act_type", "activation"),
        _is_plain("relu"),
        "only ReLU is supported: the theorem uses that it is piecewise linear; retrain with ReLU",
    )
    refuse(
        ("normalization_type", "normalization"),
        _is_plain("none"),
        "layer norm is not supported; train with normalization_type=None",
    )
    refuse(("final_rms",), _is_off, "normalisation is not supported; train without it")
    refuse(("attn_only",), _is_off, "a network without an MLP is not supported: the theorem is about its ReLUs")
    refuse(("gated_mlp",), _is_off, "a gated MLP is not supported; use a plain ReLU layer")
    refuse(("parallel_attn_mlp",), _is_off, "the MLP must come after the attention, not beside it")
    refuse(("use_local_attn",), _is_off, "only constant attention over all positions is supported")
    refuse(("attn_scores_soft_cap",), _is_no_cap, "only plain softmax is supported")
    refuse(
        ("positional_embedding_type",),
        _is_plain("standard"),
        "only learned positional embeddings added to the residual stream (standard) are supported",
    )
    refuse(
        ("dtype",),
        lambda value: str(value).removeprefix("torch.") not in ("float16", "half", "bfloat16"),
        "half precision is not supported; module.float() makes a float32 copy, and that is what is proved",
    )
    refuse(
        ("fn_name",),
        _is_plain(*FUNCTIONS[task]),
        f"only {FUNCTIONS[task][-1]} is supported; --operation says what the network computes",
    )
    refuse(("seq_len",), lambda value: value in (None, 2), "only two summands are supported: (a + b) mod p")


def require_sizes(settings: Settings, sizes: Mapping[str, int]) -> None:
    """Refuse a configured size that is not the size of the tensors (unset sizes are -1 in TransformerLens).

    **Raises** `InputError`.
    """
    for name, size in sizes.items():
        settings.refuse_unless(
            (name,),
            lambda value, size=size: type(value) is not int or value <= 0 or value == size,  # type: ignore[misc]
            f"the tensors have {size}; give the configuration of this checkpoint",
        )
