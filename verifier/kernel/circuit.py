"""From a model file to the circuit of docs/theory.md §1 in fixed point, with its error (Lemma K).

    logit_c(a, b) = Σ_i W[i,c]·ReLU(A[i,a] + B[i,b]) + S1[a,c] + S2[b,c]

The fixed-point circuit is what every other lemma is about; Lemma K bounds the distance between its logits and those of
the file, for every attention pattern the file allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import Ints, largest, require_capacity, zeros
from verifier.kernel.attention import Pattern, pattern
from verifier.kernel.cost import Cost
from verifier.kernel.enclosure import Enclosed, plus, product, stacked
from verifier.kernel.limits import OUT_BITS, PRE_BITS, SUM_BITS
from verifier.kernel.model_file import ModelFile
from verifier.kernel.reasons import Reason, require

SLACK_BITS = 60  # of a factor, below its unit
SKIP_SHIFT = 20  # skips are kept in units of 2^(SKIP_SHIFT − pre_scale − out_scale)


@dataclass(frozen=True, slots=True)
class Circuit:
    """The fixed-point circuit: integers, with the units and the errors that tie them to the file.

    **Fields**

    - `p`, `outputs` (q >= p), `neurons` (n).
    - `pre_a`, `pre_b` [n, p], in units of 2^-`pre_scale`. `out` [n, q], in units of 2^-`out_scale`.
    - `skip_a`, `skip_b` [p, q], in units of 2^(SKIP_SHIFT − `pre_scale` − `out_scale`).
    - `out_radius`: W of the file is within so many units of `out`.
    - `hidden` [n]: upper bounds of the activations of the network in the file, in units of 2^-`pre_scale`.
    - `attention`: the pattern that was folded in. `attention_error`: what of `logit_error` is due to its intervals.
    - `logit_error`, `difference_error`: Lemma K's κ and κ_d. Any logit, or any difference of two logits of one input,
      of the network in the file is within so many units of 2^-(`pre_scale` + `out_scale`) of this circuit's.
    """

    p: int
    outputs: int
    neurons: int
    pre_a: Ints
    pre_b: Ints
    out: Ints
    skip_a: Ints
    skip_b: Ints
    pre_scale: int
    out_scale: int
    out_radius: int
    hidden: list[int]
    attention: Pattern
    attention_error: int
    logit_error: int
    difference_error: int

    @property
    def parameters(self) -> int:
        """P = 3np + 2p² (with q outputs: n(2p + q) + 2pq)."""
        return self.neurons * (2 * self.p + self.outputs) + 2 * self.p * self.outputs


@dataclass(frozen=True, slots=True)
class Folded:
    """The circuit with radii, before it is rounded to its units.

    **Fields**

    - `a`, `b` [p, n]; `w` [n, q]; `s1`, `s2` [p, q].
    - `moves`: where attention is not constant, by head and then position, what the head writes at a token, through W_in
      [tokens, n] and through W_U [tokens, q].
    - `values` (by position, [tokens, Hk]), `attention`, `stream` [d]: the heads' values, the attention pattern and
      bounds of the residual stream before the MLP, for Theorem F. Empty for a folded circuit.
    """

    a: Enclosed
    b: Enclosed
    w: Enclosed
    s1: Enclosed
    s2: Enclosed
    moves: dict[int, list[tuple[Enclosed, Enclosed]]]
    values: list[Enclosed]
    attention: Pattern
    stream: Enclosed | None


def fold(model: ModelFile, cost: Cost) -> Folded:
    """Fold the network into A, B, W, S1, S2 (docs/theory.md §1).

    **Raises** `Rejected(SIZE)` when that would be too much work, `Rejected(CAPACITY)`.
    """
    return _fold_transformer(model, cost) if model.positions else _fold_circuit(model, cost)


def _fold_circuit(model: ModelFile, cost: Cost) -> Folded:
    p, tensors = model.p, model.tensors
    q, n = tensors["W"].shape
    nothing = Enclosed(zeros(p, q), 0, 0)
    s1, s2 = (tensors[name].T if name in tensors else nothing for name in ("S1", "S2"))
    cost.add("fold", n * (2 * p + q) + 2 * p * q)
    a, b, w = (tensors[name].T for name in "ABW")
    return Folded(a, b, w, s1, s2, {}, [], Pattern([], [], False, [], []), None)


def _fold_transformer(model: ModelFile, cost: Cost) -> Folded:
    p, tensors = model.p, model.tensors
    heads, width, d = tensors["blocks.0.attn.W_O"].shape
    n, q = tensors["blocks.0.mlp.b_in"].shape[0], tensors["unembed.b_U"].shape[0]
    rows = [len(x.tokens) for x in model.positions]
    work = sum(rows) * d * 2 * heads * width + (2 * p + 1) * d * (n + q) + n * d * q
    work += sum(rows) * heads * d * (2 * width + n + q)  # attention intervals, if there are any
    at_once = sum(rows) * heads * width
    if model.scale_squared is not None:
        work += heads * rows[-1] * (sum(rows) * width + 2 * len(rows) ** 2 * limits.EXPONENTIAL_WORK)
        at_once = max(at_once, heads * rows[-1] * sum(rows))
    most = max(limits.FOLD_WORK, limits.FOLD_PER_NUMBER * sum(x.values.size for x in tensors.values()))
    require(work <= most, Reason.SIZE, f"model: folding takes {work} multiply-adds, at most {most} for this model")
    model.require_held(at_once, "model: folding")
    cost.add("fold", work)

    embed, places = tensors["embed.W_E"], tensors["pos_embed.W_pos"]
    tokens = [plus(embed[place.tokens], places[index : index + 1]) for index, place in enumerate(model.positions)]
    attention = pattern(model, tokens, cost)
    value = tensors["blocks.0.attn.W_V"]
    w_v = Enclosed(value.values.transpose(1, 0, 2).reshape(d, heads * width), value.exponent, value.radius)
    w_o = tensors["blocks.0.attn.W_O"].reshape(heads * width, d)
    b_v = tensors["blocks.0.attn.b_V"].reshape(1, heads * width)
    w_in, w_u = tensors["blocks.0.mlp.W_in"], tensors["unembed.W_U"]

    # The residual stream before the MLP, split into the part of a and the part of b with all constants.
    part_a, part_b = [Enclosed(zeros(p, d), 0, 0)], [tensors["blocks.0.attn.b_O"].reshape(1, d)]
    held = [plus(product(own, w_v, "W_V"), b_v) for own in tokens]
    for place, own, middles in zip(model.positions, held, attention.middles, strict=True):
        weighted = [w_o[head * width : (head + 1) * width].times(middle) for head, middle in enumerate(middles)]
        parts = part_a if place.holds == "a" else part_b
        parts.append(product(own, stacked(weighted), "W_O"))
    (part_a if model.positions[-1].holds == "a" else part_b).append(tokens[-1])
    resid_a, resid_b = plus(*part_a), plus(Enclosed(zeros(p, d), 0, 0), *part_b)
    reach = [Enclosed(np.abs(x.values).max(axis=0), x.exponent, x.radius) for x in (resid_a, resid_b)]
    streams = stacked([resid_a, resid_b])
    pre = product(streams, w_in, "W_in")
    skips = product(stacked([streams, tensors["blocks.0.mlp.b_out"].reshape(1, d)]), w_u, "W_U")
    return Folded(
        a=pre[:p],
        b=plus(pre[p:], tensors["blocks.0.mlp.b_in"].reshape(1, n)),
        w=product(tensors["blocks.0.mlp.W_out"], w_u, "W_U"),
        s1=skips[:p],
        s2=plus(skips[p : 2 * p], skips[2 * p :], tensors["unembed.b_U"].reshape(1, q)),
        moves=_moves(attention, held, w_o, w_in, w_u),
        values=held,
        attention=attention,
        stream=plus(*reach),
    )


def _moves(
    attention: Pattern, held: list[Enclosed], w_o: Enclosed, w_in: Enclosed, w_u: Enclosed
) -> dict[int, list[tuple[Enclosed, Enclosed]]]:
    """What the heads whose weights are not constant write, as `Folded.moves` has it."""
    width, rows = len(w_o.values) // len(attention.radii[0]), [len(x.values) for x in held]
    heads = [head for head in range(len(attention.radii[0])) if any(row[head] for row in attention.radii)]
    if not heads:
        return {}
    together = stacked(held)
    parts = [product(together.columns(x * width, width), w_o[x * width : (x + 1) * width], "W_O") for x in heads]
    written = stacked(parts)  # by head and position, [tokens, d]
    found = [product(written, side, "attention").parted(rows * len(heads)) for side in (w_in, w_u)]
    by_place = list(zip(*found, strict=True))
    return {head: by_place[i * len(rows) : (i + 1) * len(rows)] for i, head in enumerate(heads)}


def _slack(
    folded: Folded, scales: tuple[int, int], known: Fraction | None, whole: bool = False
) -> tuple[list[int], int]:
    """Lemma K's s_i and s: how far attention can move a pre-activation and a skip, in units of 2^-`scales`.

    In one head the weights differ from the middles by r_t at most, and what is moved is Σ_t r_t·(what the head writes
    at position t), each head by itself. The weights of softmax sum to one as the middles do, so that a constant may be
    taken from all that a head writes: half the range over all positions and tokens counts, and not the size. Where the
    weights are known at every input within `known` (Lemma K⁺), that is every r_t, and the size counts; so it does for
    what `whole` asks for, how far weights move pre-activations at all.
    """
    pre, skip = [0] * folded.w.shape[0], 0
    for head, written in folded.moves.items():
        radii = [row[head] if known is None else known for row in folded.attention.radii]
        moved = []
        for reached, scale in zip(zip(*written, strict=True), scales, strict=True):
            if folded.attention.normalised and known is None and not whole:
                together = stacked(reached)
                half = together.values.max(axis=0) - together.values.min(axis=0)
                parts = [(sum(radii, Fraction(0)) / 2, half, 2 * together.radius, together.exponent)]
            else:
                parts = [
                    (radius, np.abs(x.values).max(axis=0), x.radius, x.exponent)
                    for radius, x in zip(radii, reached, strict=True)
                ]
            columns = zip(*(_moved(*part, scale) for part in parts), strict=True)
            moved.append([sum(column) for column in columns])
        pre = [x + y for x, y in zip(pre, moved[0], strict=True)]
        skip += max(moved[1])
    return pre, skip


def _moved(radius: Fraction, sizes: Ints, more: int, exponent: int, scale: int) -> list[int]:
    """radius·(sizes + more)·2^exponent, entry by entry, in units of 2^-scale, rounded up, from 30 bits of both."""
    factor, top = ceil_units(radius, scale + exponent + SLACK_BITS), largest(sizes) + more
    require_capacity(top, "what attention may move")
    narrow, wide = max(0, factor.bit_length() - 30), max(0, top.bit_length() - 30)
    product = np.int64(-(-factor >> narrow)) * -(-(sizes + np.int64(more)) >> wide)
    shift = SLACK_BITS - narrow - wide
    return [x << -shift if shift < 0 else -(-x >> shift) for x in product.tolist()]


def _scale(tables: Sequence[Enclosed], bits: int) -> int:
    """The greatest s for which the largest entry, times 2^s, is below 2^bits; `bits` if all are zero."""
    tops = [largest(x.values).bit_length() + x.exponent for x in tables if x.values.any()]
    return bits - max(tops, default=0)


def ceil_units(value: Fraction, scale: int) -> int:
    """The least number of units of 2^-scale that is not below `value`."""
    return -((-value * Fraction(2) ** scale).__floor__())


def quantise(folded: Folded, p: int, cost: Cost, known: Fraction | None = None) -> Circuit:
    """Round the folded circuit to fixed point and bound what that changes.

    `known`: for learned attention, the error of the weights at every input, which are then added to the middles.

    Lemma K. Premises: the file's A, B are within r_A units of the fixed-point ones, W within r_W, S1 and S2 within r_1
    and r_2; h_i, the fixed-point activation, is at most (max A + max B)⁺; the attention moves pre-activation i by at
    most s_i and a skip by at most s.
    ⟹ a logit moves by at most κ = Σ_i [(max_c |W| + r_W)(2r_A + s_i) + r_W·h_i] + r_1 + r_2 + s, and a difference of
    two logits by at most κ_d, the same with max_c |W| + r_W replaced by the range of W over c plus 2r_W, and the rest
    doubled.
    """
    n, q = folded.w.values.shape
    pre_scale = _scale((folded.a, folded.b), PRE_BITS)
    a, b = (np.ascontiguousarray(x.values.T) for x in (folded.a.at(-pre_scale), folded.b.at(-pre_scale)))
    r_a = max(x.at(-pre_scale).radius for x in (folded.a, folded.b))
    # The sums over neurons of the exact strategy must fit: a coarser unit of W where they would not.
    reach = (np.abs(a).max(axis=1) + np.abs(b).max(axis=1)).tolist()
    out_scale = _scale((folded.w,), OUT_BITS)
    w = folded.w.at(-out_scale)
    total = sum(map(mul, np.abs(w.values).max(axis=1).tolist(), reach))
    excess = max(0, total.bit_length() - (SUM_BITS - 1))
    if excess:
        out_scale -= excess
        w = folded.w.at(-out_scale)
    scale = pre_scale + out_scale
    pre_slack, moved_skip = _slack(folded, (pre_scale, scale), known)
    # What the heads write is rounded to the same units, and a sum of it once more; no weight is above one.
    parts = [] if known is None else [part for written in folded.moves.values() for part in written]
    more = sum(x.at(-pre_scale).radius for x, _ in parts) + bool(parts)
    beside = _slack(folded, (pre_scale, scale), None, whole=True)[0] if parts else []
    slack = [x + more for x in pre_slack]
    s1, s2 = folded.s1.at(SKIP_SHIFT - scale), folded.s2.at(SKIP_SHIFT - scale)
    high, low = w.values.max(axis=1).tolist(), w.values.min(axis=1).tolist()
    most = (a.max(axis=1) + b.max(axis=1)).tolist()
    active = [max(0, x + y) for x, y in zip(most, beside or [0] * n, strict=True)]
    moved_skip += sum(x.at(SKIP_SHIFT - scale).radius for _, x in parts) << SKIP_SHIFT
    skip = (s1.radius + s2.radius << SKIP_SHIFT) + moved_skip
    moved = [2 * r_a + s for s in slack]
    rest = w.radius * sum(active) + skip
    sizes = [max(x, -y) + w.radius for x, y in zip(high, low, strict=True)]
    ranges = [x - y + 2 * w.radius for x, y in zip(high, low, strict=True)]
    cost.add("quantise", 2 * n * p + n * q + 2 * p * q)
    return Circuit(
        p=p,
        outputs=q,
        neurons=n,
        pre_a=a,
        pre_b=b,
        out=w.values,
        skip_a=s1.values,
        skip_b=s2.values,
        pre_scale=pre_scale,
        out_scale=out_scale,
        out_radius=w.radius,
        hidden=[x + y for x, y in zip(active, moved, strict=True)],
        attention=folded.attention,
        attention_error=sum(map(mul, sizes, slack)) + moved_skip,
        logit_error=sum(map(mul, sizes, moved)) + rest,
        difference_error=sum(map(mul, ranges, moved)) + 2 * rest,
    )
