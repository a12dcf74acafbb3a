"""The checkpoints of Zhong, Liu, Tegmark and Andreas (arXiv 2306.17844): a state dict and a JSON
configuration.

Matrices are the transposes of TransformerLens's, there is no bias in attention and unembedding, and the
attention matrix is softmax·attn_coeff + (1 − attn_coeff): all ones for coefficient 0, and softmax for 1, which the
model file holds as such. For a small coefficient each head's weight of a position lies in [1 − attn_coeff, 1], whatever
the softmax does, and the model file holds that interval: it has no mixtures.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.formats._reading import (
    QUERY_KEY_WHY,
    Options,
    Pattern,
    Reading,
    Tensors,
    choose_tensors,
    modulus_from,
    outward,
    require_shapes,
    softmax,
    spread,
)
from verifier.formats._settings import Settings, require_sizes, require_supported_network
from verifier.formats._state import State
from verifier.model import AttentionWeight, Model, Softmax, parse_position

FORMAT = "zhong"

SHAPES: dict[str, tuple[int | str, ...]] = {
    "embed.W_E": ("d_model", "d_vocab"),
    "pos_embed.W_pos": ("n_ctx", "d_model"),
    "blocks.0.attn.W_V": ("heads", "d_head", "d_model"),
    "blocks.0.mlp.W_in": ("d_mlp", "d_model"),
    "blocks.0.mlp.b_in": ("d_mlp",),
    "blocks.0.mlp.W_out": ("d_model", "d_mlp"),
    "blocks.0.mlp.b_out": ("d_model",),
    "unembed.W_U": ("d_model", "d_vocab_out"),
    "blocks.0.attn.b_V": ("heads", "d_head"),
    "blocks.0.attn.b_O": ("d_model",),
    "unembed.b_U": ("d_vocab_out",),
    "blocks.0.attn.W_Q": ("heads", "d_head", "d_model"),
    "blocks.0.attn.W_K": ("heads", "d_head", "d_model"),
}
BIASES = ("blocks.0.attn.b_V", "blocks.0.attn.b_O", "unembed.b_U")
"""Not in the authors' files: read if present, so that any transformer can be written in this format."""

QUERY_KEY = {f"blocks.0.attn.{name}": QUERY_KEY_WHY for name in ("W_Q", "W_K")}
REQUIRED = (*(name for name in SHAPES if name not in BIASES and name not in QUERY_KEY), "blocks.0.attn.W_O")
IGNORED = {**QUERY_KEY, "blocks.0.attn.mask": "the authors' code does not use it"}
"""Biases of queries and keys do not exist in this format."""

LEARNED = (
    "only softmax (attn_coeff 1), constant attention, and small deviations from it (attn_coeff up to 1/2), are"
    " supported; retrain so, or fix it with --attention, and theorems are then about the network with that attention"
)


def read(state: State, options: Options) -> Reading:
    """Read a state dict with its configuration.

    **Raises** `InputError`, naming the tensor or setting and what is supported.
    """
    settings, source = state.settings, state.source
    settings.refuse_unless(
        ("use_linear", "model_type"),
        lambda value: not value,
        "linear models of the paper are not transformers; fold one yourself (A, B, W) and import that",
    )
    require_supported_network(settings, options.task)
    tensors, dropped, changed = choose_tensors(state, REQUIRED, BIASES, IGNORED, options.round_weights)
    meaning = "the format of Zhong et al."
    sizes = require_shapes(source, tensors, SHAPES, meaning)
    heads, d_head, d_model = sizes["heads"], sizes["d_head"], sizes["d_model"]
    require_shapes(source, tensors, {"blocks.0.attn.W_O": (d_model, heads * d_head)}, meaning)
    require_sizes(settings, {"d_model": d_model, "n_heads": heads, "d_head": d_head, "d_mlp": sizes["d_mlp"]})

    p = modulus_from(settings, options, source)
    attention, pattern, fixed_by, positions = _attention(settings, options, sizes["n_ctx"], source)
    if p is None:
        rule = "is not known; give the run's configuration (--config FILE), or --p"
        raise InputError(source, "the modulus p", rule)
    _require_function(settings, options.task, p)
    layout = options.layout or _layout(settings, p, positions)
    _require_vocabulary(layout, p, sizes["d_vocab"], source)
    if sizes["d_vocab_out"] < p:
        raise InputError(source, "tensor unembed.W_U", f"has {sizes['d_vocab_out']} outputs, fewer than p = {p}")
    notes = []
    if settings.find("act_fn") is None:
        notes.append("no configuration names the activation; ReLU is assumed")
    changed["embed.W_E, attn.W_V, attn.W_O, mlp.W_in, mlp.W_out"] = "transposed; every number stays"
    absent = [name for name in BIASES if name not in tensors]
    if absent:
        changed[", ".join(absent)] = "zeros, since the format has no such biases"

    def zeros(*shape: int) -> NDArray[np.float32]:
        return np.zeros(shape, np.float32)

    native = {
        "embed.W_E": tensors["embed.W_E"].T,
        "pos_embed.W_pos": tensors["pos_embed.W_pos"],
        "blocks.0.attn.W_V": tensors["blocks.0.attn.W_V"].transpose(0, 2, 1),
        "blocks.0.attn.W_O": tensors["blocks.0.attn.W_O"].reshape(d_model, heads, d_head).transpose(1, 2, 0),
        "blocks.0.attn.b_V": tensors.get("blocks.0.attn.b_V", zeros(heads, d_head)),
        "blocks.0.attn.b_O": tensors.get("blocks.0.attn.b_O", zeros(d_model)),
        "blocks.0.mlp.W_in": tensors["blocks.0.mlp.W_in"].T,
        "blocks.0.mlp.b_in": tensors["blocks.0.mlp.b_in"],
        "blocks.0.mlp.W_out": tensors["blocks.0.mlp.W_out"].T,
        "blocks.0.mlp.b_out": tensors["blocks.0.mlp.b_out"],
        "unembed.W_U": tensors["unembed.W_U"],
        "unembed.b_U": tensors.get("unembed.b_U", zeros(sizes["d_vocab_out"])),
    }
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in native.items()}
    model = Model(p, attention, layout, contiguous, {})
    scores: dict[str, NDArray[Any]] = {}
    if tensors.keys() >= QUERY_KEY.keys():
        scores = {name: np.ascontiguousarray(tensors[name].transpose(0, 2, 1)) for name in QUERY_KEY}
        scores |= {f"blocks.0.attn.b_{name}": zeros(heads, d_head) for name in "QK"}
    return Reading(model, dropped, changed, notes, forward, tensors, pattern, fixed_by, False, scores)


def _attention(
    settings: Settings, options: Options, context: int, source: str
) -> tuple[tuple[AttentionWeight, ...], Pattern | None, str, int]:
    """The model's attention weights; the source's own pattern, if known, and the setting that says so; and the number
    of positions.

    **Raises** `InputError` for learned attention, and when configuration and user disagree.
    """
    equals = settings.flag("eqn_sign")
    count = context if equals is None else 2 + equals
    if options.layout is not None:
        count = len(options.layout)
    if options.layout is None and count not in (2, 3):
        rule = f"has {count} positions; inputs have two (a b) or three (a b =); --layout says what they hold"
        raise InputError(source, "tensor pos_embed.W_pos", rule)
    if count != context:
        rule = f"has {context} positions where the configuration or the layout has {count}"
        raise InputError(source, "tensor pos_embed.W_pos", rule)
    coefficient = settings.fraction("attn_coeff")
    chosen = None if options.attention is None else spread(options.attention, count, source)
    if coefficient is None:
        if chosen is None:
            rule = "is not known; give the run's configuration (--config FILE), or --attention"
            raise InputError(source, "the attention (attn_coeff)", rule)
        return chosen, None, "", count
    where = (settings.find("attn_coeff") or (source,))[0]
    if coefficient == 1 and chosen is None:  # the default is for what has no scores
        chosen = (AttentionWeight.exactly(Fraction(1, count)),) * count
    if coefficient > Fraction(1, 2) and chosen is None:
        rule = f"is {float(coefficient)}, so attention is partly learned; {LEARNED}"
        raise InputError(where, "setting attn_coeff", rule)
    weights = (outward(1 - coefficient, Fraction(1)),) * count
    if coefficient > Fraction(1, 2) and chosen is not None:
        weights = chosen
    elif chosen not in (None, weights):
        rule = f"is {float(coefficient)}, which contradicts --attention; leave that out"
        raise InputError(where, "setting attn_coeff", rule)
    pattern = Pattern((float(1 - coefficient),) * count, float(coefficient))
    return weights, pattern, "" if pattern.learned else f"attn_coeff = {float(coefficient)}", count


def _require_function(settings: Settings, task: str, p: int) -> None:
    """Refuse a configuration whose function is not the task.

    **Raises** `InputError`.
    """

    function = f"(x[0]{task[3]}x[1])%{p}"

    def accept(value: object) -> bool:
        return value is None or re.sub(r"\s", "", str(value)) == f"lambdax:{function}"

    settings.refuse_unless(
        ("funcs",), accept, f"only {function} is supported; --operation says what the network computes"
    )


def _layout(settings: Settings, p: int, positions: int) -> tuple[str, ...]:
    doubled = bool(settings.flag("diff_vocab"))
    return ("a", f"b+{p}" if doubled else "b", f"={(1 + doubled) * p}")[:positions]


def _require_vocabulary(layout: tuple[str, ...], p: int, vocabulary: int, source: str) -> None:
    """Refuse a layout that does not use the whole vocabulary, which would be another network's.

    **Raises** `InputError`.
    """
    needed = max(parse_position(item, source).tokens(p).stop for item in layout)
    if needed != vocabulary:
        rule = (
            f"has {vocabulary} tokens, and p = {p} with the layout '{' '.join(layout)}' has {needed};"
            " is this the configuration of this checkpoint (C, diff_vocab, eqn_sign)?"
        )
        raise InputError(source, "tensor embed.W_E", rule)


def forward(tensors: Tensors, tokens: NDArray[np.int64], pattern: Pattern) -> tuple[Any, Any]:
    """Logits at the last position, as the authors' code computes them, and the attention from there.

    **Arguments**

    - `tokens`: shape (batch, positions).

    **Returns** shapes (batch, outputs) and (batch, heads, positions).
    """

    def attn(name: str) -> Any:
        return tensors[f"blocks.0.attn.{name}"]

    x = tensors["embed.W_E"].T[tokens] + tensors["pos_embed.W_pos"][: tokens.shape[1]]
    value = np.einsum("ihd,bpd->biph", attn("W_V"), x)
    if "blocks.0.attn.b_V" in tensors:
        value = value + attn("b_V")[:, None]
    attention = np.broadcast_to(pattern.base, (len(x), value.shape[1], len(pattern.base)))
    if pattern.coefficient:
        query = np.einsum("ihd,bd->bih", attn("W_Q"), x[:, -1])
        key = np.einsum("ihd,bpd->biph", attn("W_K"), x)
        scores = np.einsum("biph,bih->bip", key, query) / math.sqrt(query.shape[-1])
        attention = softmax(scores) * pattern.coefficient + attention
    z = np.einsum("biph,bip->bih", value, attention)
    resid = x[:, -1] + z.reshape(len(z), -1) @ attn("W_O").T
    if "blocks.0.attn.b_O" in tensors:
        resid = resid + attn("b_O")
    hidden = np.maximum(resid @ tensors["blocks.0.mlp.W_in"].T + tensors["blocks.0.mlp.b_in"], 0)
    resid = resid + hidden @ tensors["blocks.0.mlp.W_out"].T + tensors["blocks.0.mlp.b_out"]
    logits = resid @ tensors["unembed.W_U"]
    return (logits + tensors["unembed.b_U"] if "unembed.b_U" in tensors else logits), attention


def to_state_dict(model: Model) -> tuple[dict[str, NDArray[np.float32]], dict[str, object]]:
    """A native transformer in this format, as it is: the state dict, and the configuration to go with it.

    The format has no attention and unembedding biases; those that are not zero are written under their
    TransformerLens names. Where the attention is not of the format's kind, the configuration has no
    `attn_coeff`, and reading the file back needs `--attention`.

    **Raises** `InputError` for a layout, or biases of queries and keys, that the format does not have.
    """
    p, t = model.p, model.tensors
    count = len(model.layout)
    layouts = {("a", "b", f"={p}")[:count]: False, ("a", f"b+{p}", f"={2 * p}")[:count]: True}
    if model.layout not in layouts or not 2 <= count <= 3:
        raise InputError("model", "layout", f"{' '.join(model.layout)} does not exist in the format of Zhong et al.")
    heads, d_model, d_head = t["blocks.0.attn.W_V"].shape
    tensors = {
        "embed.W_E": t["embed.W_E"].T,
        "pos_embed.W_pos": t["pos_embed.W_pos"],
        "blocks.0.attn.W_V": t["blocks.0.attn.W_V"].transpose(0, 2, 1),
        "blocks.0.attn.W_O": t["blocks.0.attn.W_O"].transpose(2, 0, 1).reshape(d_model, heads * d_head),
        "blocks.0.mlp.W_in": t["blocks.0.mlp.W_in"].T,
        "blocks.0.mlp.b_in": t["blocks.0.mlp.b_in"],
        "blocks.0.mlp.W_out": t["blocks.0.mlp.W_out"].T,
        "blocks.0.mlp.b_out": t["blocks.0.mlp.b_out"],
        "unembed.W_U": t["unembed.W_U"],
        **{name: t[name] for name in BIASES if t[name].any()},
    }
    config: dict[str, object] = {
        "funcs": f"lambda x: (x[0]+x[1])%{p}",
        "C": p,
        "n_heads": heads,
        "d_model": d_model,
        "n_layers": 1,
        "act_fn": "ReLU",
        "diff_vocab": int(layouts[model.layout]),
        "eqn_sign": int(count == 3),
    }
    if isinstance(model.attention, Softmax):
        biases = any(t[f"blocks.0.attn.b_{name}"].any() for name in "QK")
        if biases or model.attention.scale_squared != Fraction(1, d_head):
            rule = "has a scale or biases of queries and keys that the format of Zhong et al. does not have"
            raise InputError("model", "attention", rule)
        tensors |= {name: t[name].transpose(0, 2, 1) for name in QUERY_KEY}
        config["attn_coeff"] = 1.0
    else:
        low, high = model.attention[0].low, model.attention[0].high
        if high == 1 and len(set(model.attention)) == 1 and low >= Fraction(1, 2):
            config["attn_coeff"] = float(1 - low)
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, config
