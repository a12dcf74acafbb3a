"""TransformerLens: the state dict of a one-layer HookedTransformer with an MLP and without normalisation.

A plain HookedTransformer learns its attention, and the model file then holds its queries and keys as well. With zero
queries or keys, or where the user or the run's configuration says so, attention is constant, 1/n by default. A hook on
the pattern does not show in a state dict; a live module with its hook does. The import compares logits on every input.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.formats._reading import (
    MASK_WHY,
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
from verifier.model import TENSORS, AttentionWeight, Model, Softmax, parse_position

FORMAT = "transformerlens"

SHAPES: dict[str, tuple[int | str, ...]] = {
    "embed.W_E": ("d_vocab", "d_model"),
    "pos_embed.W_pos": ("n_ctx", "d_model"),
    "blocks.0.attn.W_V": ("heads", "d_model", "d_head"),
    "blocks.0.attn.W_O": ("heads", "d_head", "d_model"),
    "blocks.0.attn.b_V": ("heads", "d_head"),
    "blocks.0.attn.b_O": ("d_model",),
    "blocks.0.mlp.W_in": ("d_model", "d_mlp"),
    "blocks.0.mlp.b_in": ("d_mlp",),
    "blocks.0.mlp.W_out": ("d_mlp", "d_model"),
    "blocks.0.mlp.b_out": ("d_model",),
    "unembed.W_U": ("d_model", "d_vocab_out"),
    "unembed.b_U": ("d_vocab_out",),
    "blocks.0.attn.W_Q": ("heads", "d_model", "d_head"),
    "blocks.0.attn.W_K": ("heads", "d_model", "d_head"),
    "blocks.0.attn.b_Q": ("heads", "d_head"),
    "blocks.0.attn.b_K": ("heads", "d_head"),
}
QUERY_KEY = {f"blocks.0.attn.{name}": QUERY_KEY_WHY for name in ("W_Q", "W_K", "b_Q", "b_K")}
IGNORED = {**QUERY_KEY, "blocks.0.attn.mask": MASK_WHY, "blocks.0.attn.IGNORE": MASK_WHY}

UNNAMED = (
    "no configuration names the activation and the normalisation, and weights do not show them: ReLU and none are"
    " assumed; the live module, or --config, would say"
)
LEARNED = (
    "only softmax attention, constant attention, and small deviations from it are supported; retrain so, or fix it with"
    " --attention, and theorems are then about the network with its attention fixed"
)


def read(state: State, options: Options) -> Reading:
    """Read a state dict.

    **Raises** `InputError`, naming the tensor or setting and what is supported.
    """
    settings, source = state.settings, state.source
    require_supported_network(settings, options.task)
    tensors, dropped, changed = choose_tensors(state, TENSORS, (), IGNORED, options.round_weights)
    sizes = require_shapes(source, tensors, SHAPES, "TransformerLens")
    configured = {name: size for name, size in sizes.items() if name != "heads"}
    require_sizes(settings, {**configured, "n_heads": sizes["heads"]})

    count, settled = _positions(settings, options, sizes["n_ctx"], source)
    p = modulus_from(settings, options, source)
    if p is None:
        p = _infer_modulus(options, count, sizes["d_vocab"], sizes["d_vocab_out"], source)
    layout = options.layout or _layout(p, count, sizes["d_vocab"], source)
    attention, pattern, fixed_by = _attention(settings, options, count, source)
    if pattern is None and tensors.keys() >= QUERY_KEY.keys():
        pattern = Pattern((0.0,) * count, 1.0, _scale(settings))
    if sizes["d_vocab_out"] < p:
        rule = f"has {sizes['d_vocab_out']} outputs, fewer than p = {p}; --p gives another modulus"
        raise InputError(source, "tensor unembed.W_U", rule)

    used = {name: tensors[name] for name in TENSORS}
    _trim(used, layout, p, dropped, source)
    known = settings.names("act_fn", "act_type", "activation") and settings.names("normalization_type", "normalization")
    notes = [] if known or state.module is not None else [UNNAMED]
    model = Model(p, attention, layout, used, {})
    scores = {name: tensors[name] for name in QUERY_KEY} if tensors.keys() >= QUERY_KEY.keys() else {}
    return Reading(model, dropped, changed, notes, forward, tensors, pattern, fixed_by, not settled, scores)


def _positions(settings: Settings, options: Options, context: int, source: str) -> tuple[int, bool]:
    """How many tokens an input has, and whether that was said or only assumed.

    **Raises** `InputError`.
    """
    ends = settings.flag("use_end_of_sequence")
    if options.layout is not None:
        count, settled = len(options.layout), True
    elif ends is not None:
        count, settled = 2 + ends, True
    elif options.attention is not None and len(options.attention) > 1:
        count, settled = len(options.attention), True
    else:
        count, settled = context, context == 2
        weight = options.attention[0].middle if options.attention else Fraction(1, count)
        if count == 3 and weight == Fraction(1, 2):
            rule = "is ambiguous: the file has 3 positions; add --layout 'a b', or give one weight per position"
            raise InputError(source, "--attention 1/2", rule)
        if count not in (2, 3):
            rule = f"has {count} positions; inputs have two (a b) or three (a b =); --layout says what they hold"
            raise InputError(source, "tensor pos_embed.W_pos", rule)
    if count > context:
        rule = f"has {context} positions, fewer than the {count} of an input"
        raise InputError(source, "tensor pos_embed.W_pos", rule)
    return count, settled


def _infer_modulus(options: Options, count: int, vocabulary: int, outputs: int, source: str) -> int:
    """p from the sizes, where only one modulus makes sense.

    **Raises** `InputError`.
    """
    if options.layout is None and count == 3 and outputs == vocabulary:
        return vocabulary - 1
    if outputs in (vocabulary, vocabulary - 1) or vocabulary in (2 * outputs, 2 * outputs + 1):
        return outputs
    rule = f"has {vocabulary} tokens for {outputs} outputs, which does not settle the modulus; give --p"
    raise InputError(source, "tensor embed.W_E", rule)


def _layout(p: int, count: int, vocabulary: int, source: str) -> tuple[str, ...]:
    """Tokens a and b, then "=" if there are three positions; a doubled vocabulary gives b its own tokens.

    **Raises** `InputError`.
    """
    extra = count == 3
    if vocabulary in (p, p + 1)[extra:]:
        return ("a", "b", f"={p}")[:count]
    if vocabulary in (2 * p, 2 * p + 1)[extra:]:
        return ("a", f"b+{p}", f"={2 * p}")[:count]
    fits = f"{p + 1} (or {2 * p + 1}" if extra else f"{p} or {p + 1} (or {2 * p} or {2 * p + 1}"
    rule = (
        f"has {vocabulary} tokens, which does not fit p = {p} and {count} positions: expected {fits},"
        " when b has tokens of its own); --p and --layout say what the tokens are"
    )
    raise InputError(source, "tensor embed.W_E", rule)


def _scale(settings: Settings) -> float | None:
    """What attention scores are divided by; None stands for √d_head, as an unset or negative setting does."""
    if settings.flag("use_attn_scale") is False:
        return 1.0
    found = settings.find("attn_scale")
    value = None if found is None else found[2]
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _attention(
    settings: Settings, options: Options, count: int, source: str
) -> tuple[tuple[AttentionWeight, ...], Pattern | None, str]:
    """The model's attention weights; the source's own pattern, if its configuration fixes it; and which setting does.

    **Raises** `InputError` for learned attention, and when configuration and user disagree.
    """
    settings.refuse_unless(
        ("uniform_attention", "constant_attention"), lambda value: value in (None, True, False), LEARNED
    )
    settings.refuse_unless(("attn_coeff",), lambda value: value in (None, 0), LEARNED)
    rate = settings.fraction("attention_rate")
    chosen = None if options.attention is None else spread(options.attention, count, source)
    if rate is None:
        if chosen is None and settings.find("attn_coeff") is not None:
            rule = "is a setting of another format; give the constant weights as --attention"
            raise InputError(source, "setting attn_coeff", rule)
        weights = chosen or (AttentionWeight.exactly(Fraction(1, count)),) * count
        if settings.flag("uniform_attention", "constant_attention"):
            return weights, Pattern((1 / count,) * count), "uniform attention"
        return weights, None, ""
    where = (settings.find("attention_rate") or (source,))[0]
    if rate == 0:
        return chosen or (AttentionWeight.exactly(Fraction(1, count)),) * count, None, ""
    if rate < Fraction(1, 2) and chosen is None:
        rule = f"is {float(rate)}, so attention is partly learned; {LEARNED}"
        raise InputError(where, "setting attention_rate", rule)
    # The pattern is rate/n + (1 - rate)·softmax.
    low = rate / count
    weights = (outward(low, low + 1 - rate),) * count
    if rate < Fraction(1, 2) and chosen is not None:
        weights = chosen
    elif chosen not in (None, weights):
        rule = f"is {float(rate)}, which contradicts --attention; leave that out"
        raise InputError(where, "setting attention_rate", rule)
    return weights, Pattern((float(low),) * count, float(1 - rate), _scale(settings)), f"attention_rate = {float(rate)}"


def _trim(
    tensors: dict[str, NDArray[np.float32]],
    layout: tuple[str, ...],
    p: int,
    dropped: dict[str, str],
    source: str,
) -> None:
    """Drop the tokens and positions that no input has.

    **Raises** `InputError` when the layout needs more tokens than there are.
    """
    needed = max(parse_position(item, source).tokens(p).stop for item in layout)
    for name, count, what in (
        ("embed.W_E", needed, "token"),
        ("pos_embed.W_pos", len(layout), "position"),
    ):
        have = len(tensors[name])
        if have < count:
            rule = f"has {have} {what}s, and the layout {' '.join(layout)} with p = {p} needs {count}"
            raise InputError(source, f"tensor {name}", rule)
        if have > count:
            tensors[name] = tensors[name][:count]
            dropped[f"{name}[{count}:]"] = f"no input has such a {what}"


def forward(tensors: Tensors, tokens: NDArray[np.int64], pattern: Pattern) -> tuple[Any, Any]:
    """Logits at the last position, as TransformerLens computes them, and the attention from there.

    The causal mask leaves the last position every other one.

    **Arguments**

    - `tokens`: shape (batch, positions).

    **Returns** shapes (batch, outputs) and (batch, heads, positions).
    """

    def attn(name: str) -> Any:
        return tensors[f"blocks.0.attn.{name}"]

    x = tensors["embed.W_E"][tokens] + tensors["pos_embed.W_pos"][: tokens.shape[1]]
    value = np.einsum("btd,hdk->bthk", x, attn("W_V")) + attn("b_V")
    attention = np.broadcast_to(pattern.base, (len(x), value.shape[2], len(pattern.base)))
    if pattern.coefficient:
        query = x[:, -1] @ attn("W_Q") + attn("b_Q")[:, None]
        key = np.einsum("btd,hdk->hbtk", x, attn("W_K")) + attn("b_K")[:, None, None]
        scores = np.einsum("hbk,hbtk->bht", query, key) / (pattern.scale or math.sqrt(query.shape[-1]))
        attention = attention + pattern.coefficient * softmax(scores)
    z = np.einsum("bht,bthk->bhk", attention, value)
    resid = x[:, -1] + np.einsum("bhk,hkd->bd", z, attn("W_O")) + attn("b_O")
    hidden = np.maximum(resid @ tensors["blocks.0.mlp.W_in"] + tensors["blocks.0.mlp.b_in"], 0)
    resid = resid + hidden @ tensors["blocks.0.mlp.W_out"] + tensors["blocks.0.mlp.b_out"]
    return resid @ tensors["unembed.W_U"] + tensors["unembed.b_U"], attention


def to_state_dict(model: Model) -> dict[str, NDArray[np.float32]]:
    """A native transformer as a TransformerLens state dict, as it is.

    Where the attention is declared, W_Q and W_K are zero, so that a HookedTransformer attends equally to every
    position; where the model's weights are not 1/n_ctx, that is another network, and reading it back needs
    `--attention`, which says so. A scale of softmax other than 1/sqrt(d_head) is for the configuration (`attn_scale`).
    """
    own = {name: tensor.copy() for name, tensor in model.tensors.items()}
    if isinstance(model.attention, Softmax):
        return own
    heads, d_model, d_head = model.tensors["blocks.0.attn.W_V"].shape
    zeros: dict[str, NDArray[np.float32]] = {
        "blocks.0.attn.W_Q": np.zeros((heads, d_model, d_head), np.float32),
        "blocks.0.attn.W_K": np.zeros((heads, d_model, d_head), np.float32),
        "blocks.0.attn.b_Q": np.zeros((heads, d_head), np.float32),
        "blocks.0.attn.b_K": np.zeros((heads, d_head), np.float32),
    }
    return {**own, **zeros}
