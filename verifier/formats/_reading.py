"""What the readers of foreign state dicts share: options, the choice of tensors, precision, and p.

A reader turns a `State` into a `Reading`: the native model, what was dropped and why, and the format's own
forward pass, written from its definition, with which the import checks itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.formats._settings import Settings
from verifier.formats._state import HALF, State
from verifier.kernel.claim import ADDITION
from verifier.kernel.limits import MODULUS, RATIONAL
from verifier.model import (
    SCORE_TENSORS,
    AttentionWeight,
    Model,
    Softmax,
    parse_attention,
    parse_position,
)

Floats = NDArray[np.floating[Any]]
Tensors = Mapping[str, Floats]

MASK_WHY = "the causal mask: the network is read at the last position, which attends to every position"
MOST_NAMES = 20
ROUNDED = "rounded to float32"
QUERY_KEY_WHY = "only the attention pattern depends on it"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about a source that it does not say itself; None where they say nothing.

    **Fields**

    - `p`: the modulus.
    - `attention`: one weight for every position, or one per position.
    - `layout`: what each position holds.
    - `round_weights`: round float64 weights to float32; the theorem is then about the rounded ones.
    - `task`: one of `TASKS`.
    """

    p: int | None = None
    attention: tuple[AttentionWeight, ...] | None = None
    layout: tuple[str, ...] | None = None
    round_weights: bool = False
    task: str = ADDITION


@dataclass(frozen=True, slots=True)
class Pattern:
    """An attention pattern: base_t + coefficient·softmax_t at position t, in every head.

    With coefficient 0 it is constant, and the softmax is not computed. The scores are divided by `scale`; None stands
    for √d_head.
    """

    base: tuple[float, ...]
    coefficient: float = 0.0
    scale: float | None = None

    @property
    def learned(self) -> bool:
        """Softmax and nothing else."""
        return self.coefficient == 1.0 and not any(self.base)


Forward = Callable[[Tensors, NDArray[np.int64], Pattern], tuple[Any, Any]]
"""forward(tensors, tokens [batch, positions], pattern) -> logits [batch, outputs], attention [batch, heads,
positions]."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A source, read: `model` has no provenance yet.

    **Fields**

    - `model`, `dropped` and `changed` (what, and why it cannot matter), `notes` (what the user should know).
    - `forward`, `tensors`: the source's own forward pass, and its tensors in float32.
    - `pattern`: the source's own attention; None where nothing in the source says what it is.
    - `fixed_by`: the setting of the source's configuration that says so; empty where it is the softmax.
    - `assumed`: the layout was assumed by default, since nothing in the source settles it.
    - `scores`: W_Q, W_K, b_Q, b_K as the native format has them, in the source's own precision; empty without them.
    """

    model: Model
    dropped: dict[str, str]
    changed: dict[str, str]
    notes: list[str]
    forward: Forward
    tensors: dict[str, NDArray[np.float32]]
    pattern: Pattern | None
    fixed_by: str
    assumed: bool
    scores: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def softmax_reading(reading: Reading, state: State, options: Options) -> Reading | None:
    """The same source with its own attention by softmax; None where that is constant, or something else.

    **Raises** `InputError` for a scale or weights that a model file cannot hold.
    """
    if reading.pattern is None or not reading.pattern.learned or len(reading.scores) < len(SCORE_TENSORS):
        return None
    if _equal_scores(reading.scores):
        return None
    width = reading.scores["blocks.0.attn.W_Q"].shape[2]
    attention = Softmax(_scale_squared(reading.pattern.scale, width, state.source))
    tensors, changed = dict(reading.model.tensors), dict(reading.changed)
    for name, array in reading.scores.items():
        tensors[name], rounded = to_float32(array, name, state.source, options.round_weights)
        if rounded:
            changed[name] = ROUNDED
        elif state.dtypes.get(name, "float32") != "float32":
            changed[name] = f"{state.dtypes[name]} as float32; no value changes"
    dropped = {name: why for name, why in reading.dropped.items() if name not in SCORE_TENSORS}
    model = replace(reading.model, attention=attention, tensors=tensors)
    own = {**reading.tensors}
    for name in SCORE_TENSORS:
        if name in own:
            own[name] = own[name].astype(np.float32)
    return replace(reading, model=model, dropped=dropped, changed=changed, tensors=own)


def _equal_scores(scores: Mapping[str, NDArray[Any]]) -> bool:
    """Whether queries or keys are such that every head attends equally, by zeros alone."""
    w_q, w_k, b_q = (scores[f"blocks.0.attn.{name}"] for name in ("W_Q", "W_K", "b_Q"))
    return all(not w_k[head].any() or not (w_q[head].any() or b_q[head].any()) for head in range(len(w_q)))


def _scale_squared(divisor: float | None, width: int, source: str) -> Fraction:
    """The square of what scores are multiplied by, `divisor` being what they are divided by.

    **Raises** `InputError` for one that a model file cannot hold.
    """
    if divisor is None or divisor == math.sqrt(width):
        return Fraction(1, width)
    scale = 1 / Fraction(divisor)
    if max(scale.numerator, scale.denominator) <= RATIONAL:
        return scale**2
    whole = round(divisor * divisor)
    if 1 <= whole <= RATIONAL and divisor == math.sqrt(whole):
        return Fraction(1, whole)
    rule = (
        f"is {divisor!r}; model files hold 1/N, fractions and 1/sqrt(N) up to {RATIONAL} as scale of the scores;"
        " fix the attention with --attention, and theorems are then about that network"
    )
    raise InputError(source, "setting attn_scale", rule)


def attention_option(text: str) -> tuple[AttentionWeight, ...]:
    """`--attention`: one weight (`1/2`), or one per position (`1/2 1/2`).

    **Raises** `InputError`.
    """
    return tuple(parse_attention(word, "--attention") for word in text.replace(",", " ").split() or [""])


def layout_option(text: str) -> tuple[str, ...]:
    """`--layout`: what each position holds, e.g. `a b =59`.

    **Raises** `InputError`.
    """
    items = tuple(text.split())
    for item in items:
        parse_position(item, "--layout")
    if not items:
        raise InputError("--layout", "", "must name at least one position, e.g. 'a b'")
    return items


def choose_tensors(
    state: State,
    required: Sequence[str],
    optional: Sequence[str],
    ignored: Mapping[str, str],
    round_weights: bool,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str], dict[str, str]]:
    """The float32 tensors of a format, what was dropped, and what was changed.

    **Raises** `InputError`: a tensor is missing, left over, tied, not finite or not float32.
    """
    known = {*required, *optional}
    for name in sorted(state.tensors.keys() - known - ignored.keys()):
        raise InputError(state.source, f"tensor {name}", _left_over(name))
    for name in required:
        if name not in state.tensors:
            raise InputError(state.source, f"tensor {name}", _missing(name))
    for first, second in state.tied:
        if {first, second} <= known:
            rule = "share their memory (tied weights), and the format has a tensor for each; save a clone of one"
            raise InputError(state.source, f"tensors {first} and {second}", rule)
    dropped = {name: why for name, why in ignored.items() if name in state.tensors}
    dropped |= unused_names(state)
    tensors, changed = {}, {}
    if state.prefix:
        changed["names"] = f"without their prefix {state.prefix!r}"
    for name in sorted(known & state.tensors.keys()):
        tensors[name], rounded = _as_float32(state, name, round_weights)
        if rounded:
            changed[name] = ROUNDED
        elif state.dtypes[name] != "float32":
            changed[name] = f"{state.dtypes[name]} as float32; no value changes"
    for name in sorted(ignored.keys() & state.tensors.keys()):
        if state.dtypes[name] in HALF:
            raise _half_precision(state, name)
        if ignored[name] == QUERY_KEY_WHY:
            _require_finite(state, name)
            tensors[name] = state.tensors[name]
    return tensors, dropped, changed


def unused_names(state: State) -> dict[str, str]:
    """What a training run has beside the weights, as an entry of what was dropped."""
    if not state.unused:
        return {}
    more = len(state.unused) - MOST_NAMES
    names = [name[:80] for name in state.unused[:MOST_NAMES]] + [f"{more} more"] * (more > 0)
    return {", ".join(names): "records of the training run; they carry no weights"}


def require_floats(state: State, name: str) -> None:
    """Refuse a tensor that is not finite float32 or float64.

    **Raises** `InputError`.
    """
    dtype = state.dtypes[name]
    if dtype in HALF:
        raise _half_precision(state, name)
    if dtype not in ("float32", "float64"):
        rule = f"must be float32, not {dtype}; convert it, and that is what is proved"
        raise InputError(state.source, f"tensor {name}", rule)
    _require_finite(state, name)


def _as_float32(state: State, name: str, round_weights: bool) -> tuple[NDArray[np.float32], bool]:
    """A tensor as float32, and whether that changed it."""
    require_floats(state, name)
    return to_float32(state.tensors[name], name, state.source, round_weights)


def to_float32(array: NDArray[Any], name: str, source: str, round_weights: bool) -> tuple[NDArray[np.float32], bool]:
    """An array as float32, and whether that changed it.

    **Raises** `InputError`.
    """
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        raise InputError(source, f"tensor {name}", "has a value too large for float32")
    changed = bool((result != array).any())
    if changed and not round_weights:
        rule = (
            "has float64 values that float32 cannot represent, and model files are float32;"
            " --round (round_weights=True) rounds them, and the theorem is then about the rounded network"
        )
        raise InputError(source, f"tensor {name}", rule)
    return result, changed


def _require_finite(state: State, name: str) -> None:
    if not np.isfinite(state.tensors[name]).all():
        raise InputError(state.source, f"tensor {name}", "has a value that is infinite or not a number")


def _half_precision(state: State, name: str) -> InputError:
    rule = (
        f"is {state.dtypes[name]}; half precision is not supported; module.float() makes a float32 copy,"
        " and that is what is proved"
    )
    return InputError(state.source, f"tensor {name}", rule)


def _left_over(name: str) -> str:
    if re.search(r"(^|\.)blocks\.(?!0\.)\d", name):
        return "belongs to a second layer; only one layer is supported, and the theorem is about such networks"
    if re.search(r"(^|\.)(ln\d*(_\w+)?|layer_?norm\w*|norm\d*|rms\w*)(\.|$)", name, re.IGNORECASE):
        return "belongs to a layer norm, which is not supported; train with normalization_type=None"
    if "gate" in name:
        return "belongs to a gated MLP, which is not supported; use a plain ReLU layer"
    if "rotary" in name or "rel_pos" in name:
        return "belongs to positional embeddings of another kind; only learned, added ones (W_pos) are supported"
    return (
        "is left over: the format has no such tensor, and ignoring it could change what is proved;"
        " remove it if the network does not use it, or fold the network yourself (A, B, W, S1, S2)"
    )


def _missing(name: str) -> str:
    if name == "unembed.W_U":
        return "is missing; if it is tied to embed.W_E, save a copy of it under its own name"
    if name == "pos_embed.W_pos":
        return "is missing; only learned positional embeddings are supported; save zeros if there are none"
    if ".b_" in name:
        return "is missing; save zeros if the network has no such bias"
    if ".mlp." in name:
        return "is missing; only a transformer with an MLP is supported: the theorem is about its ReLUs"
    return "is missing; is this the whole state dict of a one-layer transformer?"


def require_shapes(
    source: str,
    tensors: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int | str, ...]],
    meaning: str,
) -> dict[str, int]:
    """Match shapes against patterns such as `("heads", "d_model", "d_head")`; returns the size of each
    letter.

    **Arguments**

    - `meaning`: what the format is called in messages.

    **Raises** `InputError`.
    """
    sizes: dict[str, int] = {}
    for name, pattern in shapes.items():
        if name not in tensors:
            continue
        shape = tensors[name].shape
        wanted = "[" + ", ".join(str(item) for item in pattern) + "]"
        if len(shape) != len(pattern):
            rule = f"has the shape {list(shape)}, but {meaning} has {wanted} there"
            raise InputError(source, f"tensor {name}", rule)
        for axis, (size, item) in enumerate(zip(shape, pattern, strict=True)):
            expected = item if isinstance(item, int) else sizes.setdefault(item, size)
            if size != expected:
                rule = (
                    f"has the shape {list(shape)}, but {meaning} has {wanted} there,"
                    f" and {item} is {expected}, not {size} (axis {axis})"
                )
                raise InputError(source, f"tensor {name}", rule)
            if size == 0:
                raise InputError(source, f"tensor {name}", "is empty")
    return sizes


def modulus_from(settings: Settings, options: Options, source: str) -> int | None:
    """p as the user or the configuration gives it.

    **Raises** `InputError` when the two differ, or for one that is not supported.
    """
    configured = settings.integer("p", "C", "modulus")
    if options.p is not None and configured is not None and options.p != configured:
        raise InputError(source, "p", f"is {configured} in the run's configuration, not {options.p} as in --p")
    p = options.p if options.p is not None else configured
    if p is not None and not 3 <= p <= MODULUS:
        raise InputError(source, "p", f"must be in 3..{MODULUS}, not {p}")
    return p


def spread(weights: tuple[AttentionWeight, ...], positions: int, source: str) -> tuple[AttentionWeight, ...]:
    """One weight for every position, or as given.

    **Raises** `InputError`.
    """
    if len(weights) == 1:
        return weights * positions
    if len(weights) != positions:
        rule = f"has {len(weights)} weights for {positions} positions"
        raise InputError(source, "attention", rule)
    return weights


def outward(low: Fraction, high: Fraction) -> AttentionWeight:
    """The interval [low, high], widened to numbers that a model file may hold where they are not already
    such."""
    if max(abs(low.numerator), low.denominator) > RATIONAL:
        low = Fraction((low * RATIONAL).__floor__(), RATIONAL)
    if max(abs(high.numerator), high.denominator) > RATIONAL:
        high = Fraction((high * RATIONAL).__ceil__(), RATIONAL)
    return AttentionWeight(low, high)


def softmax(scores: Floats) -> Floats:
    """Softmax over the last axis, which does not overflow."""
    weights: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights
