"""Networks with one hidden layer of ReLUs on two tokens, as folded circuits.

The tokens are one-hot (Gromov, arXiv 2301.02679, with ReLU), or embedded, with one embedding or one for each, and then
concatenated (type D of Zhong et al.; W_x, W_y, W, W_U of Chughtai et al., arXiv 2302.03025) or added (their types A and
X). The layers may have biases. Names and shapes say which it is.

An embedding is multiplied into the first layer, exactly, and rounded once to float64: the theorem is about that
circuit, not about the rounding of the executed product, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.exact import exact, rounded
from verifier.formats._reading import Options, modulus_from, require_floats, unused_names
from verifier.formats._settings import require_supported_network
from verifier.formats._state import State
from verifier.model import FoldedCircuit, require_valid

FORMAT = "mlp"
CHUGHTAI = ("W_x", "W_y", "W", "W_U")
EMBED = re.compile(r"(.*\.)?(embed|embedding|emb|wte)s?_?[12abxy]?\.weight")
UNEMBED = re.compile(r"(.*\.)?unembed(ding)?\.weight")
FOLDED = "with its embedding multiplied into its first layer"

Array = NDArray[Any]
Forward = Callable[[int], NDArray[np.float64]]
"""forward(a): the logits of the inputs (a, 0), …, (a, p − 1), from the weights as they are."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The weights by their roles, as torch's Linear has them: [outputs, inputs].

    **Fields**

    - `embed`: the embeddings of a and b, or None for one-hot inputs. `names`: all that was used.
    - `activation`: whether names or configuration say that it is ReLU.
    """

    embed: tuple[Array, Array] | None
    first: Array
    first_bias: Array | None
    last: Array
    last_bias: Array | None
    names: tuple[str, ...]
    activation: bool


@dataclass(frozen=True, slots=True)
class MlpReading:
    """A network, read: the circuit has no provenance yet; the rest as in `Reading`."""

    circuit: FoldedCircuit
    assumptions: tuple[str, ...]
    dropped: dict[str, str]
    changed: dict[str, str]
    notes: list[str]
    forward: Forward


def matches(tensors: Mapping[str, Array]) -> bool:
    """Whether the names may be those of such a network."""
    hidden = [name for name in _weights(tensors) if not EMBED.fullmatch(name) and not UNEMBED.fullmatch(name)]
    return {"W_x", "W_y"} <= tensors.keys() or (bool(hidden) and len(_weights(tensors)) >= 2)


def read(state: State, options: Options) -> MlpReading:
    """Read a state dict.

    **Raises** `InputError`, naming the tensor or setting and what is supported.
    """
    source, settings = state.source, state.settings
    if options.attention is not None or options.layout is not None:
        option = "--attention" if options.attention is not None else "--layout"
        raise InputError(source, option, "does not apply: the network has no attention and no positions")
    require_supported_network(settings, options.task)
    for name in state.tensors:
        require_floats(state, name)
    layers = _chughtai(state) if {"W_x", "W_y"} <= state.tensors.keys() else _torch(state)
    for name in sorted(state.tensors.keys() - set(layers.names)):
        rule = "is left over: the network has one hidden layer of ReLUs, and ignoring it could change what is proved"
        raise InputError(source, f"tensor {name}", rule)
    if not layers.activation and state.module is None:
        rule = 'is not in the file; give the module itself, or a configuration with "act_fn": "relu" (--config)'
        raise InputError(source, "the activation", rule)
    if layers.last.shape[1] != layers.first.shape[0]:
        rule = f"has {layers.last.shape[1]} inputs, and the hidden layer {layers.first.shape[0]} neurons"
        raise InputError(source, "the last layer", rule)
    for bias, layer, name in ((layers.first_bias, layers.first, "first"), (layers.last_bias, layers.last, "last")):
        if bias is not None and bias.shape != layer.shape[:1]:
            rule = f"has the shape {list(bias.shape)} for {layer.shape[0]} outputs"
            raise InputError(source, f"the bias of the {name} layer", rule)
    return _read(layers, state, options)


def _read(layers: Layers, state: State, options: Options) -> MlpReading:
    source, width = state.source, layers.first.shape[1]
    p = modulus_from(state.settings, options, source)
    rows = width // 2 if layers.embed is None else layers.embed[0].shape[0]
    p = rows if p is None else p
    dropped, changed = unused_names(state), dict[str, str]()
    embed: tuple[Array | None, Array | None] = (None, None)
    if layers.embed is None:
        if width != 2 * p:
            rule = f"has {width} inputs, and two one-hot tokens modulo {p} have {2 * p}"
            raise InputError(source, "the first layer", rule)
        sides = layers.first[:, :p], layers.first[:, p:]
    else:
        embed, sides = _embedded(layers, p, source)
        changed["embedding, first layer"] = "multiplied exactly, and rounded once to float64"
        if rows > p:
            dropped[f"embedding [{p}:]"] = "no input has such a token"
    if layers.first_bias is not None:
        changed["bias of the first layer"] = "added to the table of b exactly, and rounded once to float64"
    try:
        A, B = _table(sides[0], embed[0], None, p), _table(sides[1], embed[1], layers.first_bias, p)
    except OverflowError:
        raise InputError(source, "the first layer", "has products too large for float64") from None
    S2 = None
    if layers.last_bias is not None:
        S2 = np.repeat(layers.last_bias[:, None], p, axis=1)
        changed["bias of the last layer"] = "as a table that is the same for every b; every number stays"
    circuit = FoldedCircuit(p, A, B, np.ascontiguousarray(layers.last), None, S2, {})
    require_valid(circuit, source)
    notes = [] if layers.activation else ["ReLU is what the module's own forward pass does"]
    assumptions = () if layers.embed is None else (FOLDED,)
    return MlpReading(circuit, assumptions, dropped, changed, notes, _forward(layers, p))


def _embedded(layers: Layers, p: int, source: str) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The embeddings of the tokens 0 to p − 1, and the part of the first layer that each is multiplied by.

    **Raises** `InputError`.
    """
    a, b = layers.embed or (layers.first, layers.first)
    width, size = layers.first.shape[1], a.shape[1]
    if b.shape[1] != size or min(len(a), len(b)) < p:
        rule = f"have the shapes {list(a.shape)} and {list(b.shape)}, for p = {p}"
        raise InputError(source, "the embeddings", rule)
    if width not in (size, 2 * size):
        rule = f"has {width} inputs, neither {size} (embeddings added) nor {2 * size} (embeddings side by side)"
        raise InputError(source, "the first layer", rule)
    return (a[:p], b[:p]), (layers.first[:, :size], layers.first[:, -size:])


def _table(side: Array, embed: Array | None, bias: Array | None, p: int) -> Array:
    """What the tokens of one side add to the neurons, shape (n, p): as it is, or computed exactly and rounded once."""
    if embed is None and bias is None:
        return np.ascontiguousarray(side)
    table = exact(side) if embed is None else exact(side) * exact(embed.T)
    if bias is not None:
        table = table + exact(bias[:, None]) * exact(np.ones((1, p)))
    return rounded(table)


def _forward(layers: Layers, p: int) -> Forward:
    first, last = layers.first.astype(np.float64), layers.last.astype(np.float64)

    def logits(a: int) -> NDArray[np.float64]:
        if layers.embed is None:
            hidden = first[:, [a]].T + first[:, p:].T
        else:
            left = np.repeat(layers.embed[0][[a]].astype(np.float64), p, axis=0)
            right = layers.embed[1][:p].astype(np.float64)
            concatenated = first.shape[1] == 2 * left.shape[1]
            hidden = (np.concatenate([left, right], axis=1) if concatenated else left + right) @ first.T
        if layers.first_bias is not None:
            hidden = hidden + layers.first_bias
        result: NDArray[np.float64] = np.maximum(hidden, 0) @ last.T
        return result if layers.last_bias is None else result + layers.last_bias

    return logits


def _weights(tensors: Mapping[str, Array]) -> list[str]:
    return [name for name, tensor in tensors.items() if name.endswith("weight") and tensor.ndim == 2]


def _chughtai(state: State) -> Layers:
    t = state.tensors
    for name in CHUGHTAI:
        if name not in t:
            more = ": a bilinear network has no ReLU" if name == "W" else ""
            raise InputError(state.source, f"tensor {name}", f"is missing{more}")
        if t[name].ndim != 2:
            raise InputError(state.source, f"tensor {name}", f"has {t[name].ndim} dimensions, not two")
    return Layers((t["W_x"], t["W_y"]), t["W"].T, None, t["W_U"].T, None, CHUGHTAI, activation=True)


def _torch(state: State) -> Layers:
    """The roles of torch's Embedding and Linear layers, by their names and their order.

    **Raises** `InputError`.
    """
    t, settings = state.tensors, state.settings
    weights = _weights(t)
    embeds = [name for name in weights if EMBED.fullmatch(name)]
    unembeds = [name for name in weights if UNEMBED.fullmatch(name)]
    layers = [name for name in weights if name not in embeds and name not in unembeds] + unembeds
    if len(layers) > 2 or len(embeds) > 2:
        extra = (layers if len(layers) > 2 else embeds)[-2 if unembeds and len(layers) > 2 else -1]
        rule = "belongs to a second hidden layer or a third token; only one hidden layer on two tokens is supported"
        raise InputError(state.source, f"tensor {extra}", rule)
    if len(layers) < 2:
        rule = f"has the layers {', '.join(layers) or '(none)'}; a hidden layer and an output layer are needed"
        raise InputError(state.source, "", rule)
    biases = [name.removesuffix("weight") + "bias" for name in layers]
    names = (*embeds, *layers, *(name for name in biases if name in t))
    kind = settings.find("model_type")
    named = kind is not None and kind[2] in ("A", "D", "X")  # of Zhong et al., whose code has a ReLU there
    activation = named or settings.find("act_fn", "act_type", "activation") is not None
    embed = (t[embeds[0]], t[embeds[-1]]) if embeds else None
    return Layers(embed, t[layers[0]], t.get(biases[0]), t[layers[1]], t.get(biases[1]), names, activation)
