"""From a model file to the circuit of docs/theory.md §1 in fixed point, with its error (Lemma K).

    logit_c(a, b) = Σ_i W[i,c]·ReLU(A[i,a] + B[i,b]) + S1[a,c] + S2[b,c]

The fixed-point circuit is what every other lemma is about; Lemma K bounds the distance between its logits and those of
the file, for every attention pattern the file allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil
from operator import mul

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import Ints, integers, zeros
from verifier.kernel.attention import NO_ATTENTION, Pattern, pattern
from verifier.kernel.cost import Cost
from verifier.kernel.enclosure import Enclosed, plus, product, stacked
from verifier.kernel.limits import OUT_BITS, PRE_BITS, SUM_BITS
from verifier.kernel.model_file import ModelFile
from verifier.kernel.reasons import Reason, require

SKIP_SHIFT = 20  # skips are kept in units of 2^(SKIP_SHIFT − pre_scale − out_scale)


@dataclass(frozen=True)
class Moves:
    """What the heads whose weights are not constant write, at every token of every position.

    **Fields**

    - `heads` [H]: which they are. `starts` [T]: of every position's tokens in the rows, all on top of each other.
    - `pre` [H, rows, n], `skip` [H, rows, q]: through W_in and through W_U.
    """

    heads: tuple[int, ...]
    starts: Ints
    pre: Enclosed
    skip: Enclosed

    def sizes(self, table: Enclosed) -> Enclosed:
        """Of [H, rows, columns]: the largest absolute value over a position's tokens, [H, T, columns]."""
        parts = [np.abs(x).max(axis=1) for x in np.split(table.values, self.starts[1:], axis=1)]
        return Enclosed(np.stack(parts, axis=1), table.exponent, table.radius)

    @cached_property
    def reach(self) -> tuple[Enclosed, Enclosed]:
        """`sizes` of `pre` and of `skip`."""
        return self.sizes(self.pre), self.sizes(self.skip)


NOTHING = Enclosed(zeros(0, 1, 1), 0, 0)
STILL = Moves((), zeros(1), NOTHING, NOTHING)  # constant attention


@dataclass(frozen=True, slots=True)
class Circuit:
    """The fixed-point circuit: integers, with the units and the errors that tie them to the file.

    **Fields**

    - `p`, `outputs` (q >= p), `neurons` (n).
    - `pre_a`, `pre_b` [n, p], in units of 2^-`pre_scale`. `out` [n, q], in units of 2^-`out_scale`.
    - `skip_a`, `skip_b` [p, q], in units of 2^(SKIP_SHIFT − `pre_scale` − `out_scale`).
    - `out_radius`: W of the file is within so many units of `out`.
    - `hidden` [n]: upper bounds of the activations of the network in the file, in units of 2^-`pre_scale`.
    - `attention`: the pattern that was folded in. `moves`: what its heads write, `pre` and `skip` in the units of
      `pre_a` and `skip_a`, if weights at single inputs are added. `attention_error`: what of `logit_error` is due to
      its intervals.
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
    moves: Moves
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

    - `a`, `b` [p, n]; `w` [n, q]; `s1`, `s2` [p, q]. `moves`, where attention is not constant.
    - `attention`, and `streams`: the heads' values at every token of every position [rows, Hk], and bounds of the
      residual stream before the MLP [d], for Theorem F; None for a folded circuit.
    """

    a: Enclosed
    b: Enclosed
    w: Enclosed
    s1: Enclosed
    s2: Enclosed
    moves: Moves
    attention: Pattern
    streams: tuple[Enclosed, Enclosed] | None = None


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
    return Folded(a, b, w, s1, s2, STILL, NO_ATTENTION)


def _fold_transformer(model: ModelFile, cost: Cost) -> Folded:
    p, tensors = model.p, model.tensors
    heads, width, d = tensors["blocks.0.attn.W_O"].shape
    n, q = tensors["blocks.0.mlp.b_in"].shape[0], tensors["unembed.b_U"].shape[0]
    rows = [len(x.tokens) for x in model.positions]
    work = sum(rows) * d * 2 * heads * width + (2 * p + 1) * d * (n + q) + n * d * q
    work += sum(rows) * heads * d * (2 * width + n + q)  # attention intervals, if there are any
    at_once = sum(rows) * heads * width
    if model.scale_squared is not None:
        work += heads * (rows[-1] * sum(rows) * width + p * p * len(rows) * limits.WEIGHT_WORK)
        at_once = max(at_once, heads * rows[-1] * sum(rows), p * p * model.weights_held)
    most = max(limits.FOLD_WORK, limits.FOLD_PER_NUMBER * sum(x.values.size for x in tensors.values()))
    require(work <= most, Reason.SIZE, f"model: folding takes {work} multiply-adds, at most {most} for this model")
    model.require_held(at_once, "model: folding")
    cost.add("fold", work)

    embed, places = tensors["embed.W_E"], tensors["pos_embed.W_pos"]
    tokens = [plus(embed[place.tokens], places[index : index + 1]) for index, place in enumerate(model.positions)]
    attention = pattern(model, tokens, cost)
    w_v = tensors["blocks.0.attn.W_V"].by_column()
    w_o = tensors["blocks.0.attn.W_O"].reshape(heads * width, d)
    b_v = tensors["blocks.0.attn.b_V"].reshape(1, heads * width)
    w_in, w_u = tensors["blocks.0.mlp.W_in"], tensors["unembed.W_U"]

    held = plus(product(stacked(tokens), w_v, "W_V"), b_v)
    # The residual stream before the MLP, split into the part of a and the part of b with all constants.
    mixed: dict[bool, list[Enclosed]] = {True: [], False: []}
    for place, own, middles in zip(model.positions, held.parted(rows), attention.middles, strict=True):
        mixed[place.holds == "a"].append(own.times(middles))
    streams = product(
        stacked([plus(Enclosed(zeros(p, heads * width), 0, 0), *mixed[x]) for x in (True, False)]), w_o, "W_O"
    )
    constants = tensors["blocks.0.attn.b_O"].reshape(1, d)
    parts = [[streams[:p]], [streams[p:], constants]]
    parts[model.positions[-1].holds != "a"].append(tokens[-1])
    resid_a, resid_b = (plus(*x) for x in parts)
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
        moves=_moves(attention, held, rows, tensors["blocks.0.attn.W_O"], (w_in, w_u)),
        attention=attention,
        streams=(held, plus(*reach)),
    )


def _moves(
    attention: Pattern, held: Enclosed, rows: list[int], w_o: Enclosed, sides: tuple[Enclosed, Enclosed]
) -> Moves:
    """`w_o` [heads, k, d], `sides`: W_in and W_U. W_O goes through them first: there are fewer values than tokens."""
    heads = tuple(head for head, radii in enumerate(zip(*attention.radii, strict=True)) if any(radii))
    own = held.by_head(w_o.shape[0])[integers(heads)]
    pre, skip = (product(own, product(w_o[integers(heads)], side, "W_O"), "attention") for side in sides)
    return Moves(heads, np.cumsum([0, *rows[:-1]], dtype=np.int64), pre, skip)


def charged(sizes: Enclosed, factors: Sequence[Sequence[Fraction]]) -> tuple[Ints, int]:
    """What factors [heads][positions] make of sizes [heads, positions, columns] at most: integers, whose sum over
    heads and positions fits, and their exponent.
    """
    keep = (61 - sum(map(len, factors)).bit_length()) // 2
    near = sizes.at(sizes.exponent + max(0, sizes.reach().bit_length() - keep))
    top = max(max(row) for row in factors)
    shift = keep - 1 - top.numerator.bit_length() + top.denominator.bit_length()  # top·2^shift < 2^keep
    scaled = integers([[ceil(x * Fraction(2) ** shift) for x in row] for row in factors])
    return scaled[:, :, None] * (near.values + np.int64(near.radius)), near.exponent - shift


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
    moves, found = folded.moves, list[Ints]()
    if not moves.heads:
        return [0] * folded.w.shape[0], 0
    radii = [[row[head] if known is None else known for row in folded.attention.radii] for head in moves.heads]
    shifts = list[int]()
    for table, sizes, scale in zip((moves.pre, moves.skip), moves.reach, scales, strict=True):
        if folded.attention.weights.size and known is None and not whole:
            half = table.values.max(axis=1, keepdims=True) - table.values.min(axis=1, keepdims=True)
            sides = Enclosed(half, table.exponent - 1, 2 * table.radius)
            moved, exponent = charged(sides, [[sum(row, Fraction(0))] for row in radii])
        else:
            moved, exponent = charged(sizes, radii)
        found.append(moved.sum(axis=1, dtype=np.int64))  # by head
        shifts.append(exponent + scale)
    pre, skip = found[0].sum(axis=0, dtype=np.int64).tolist(), sum(found[1].max(axis=1).tolist())
    return [units_up(x, shifts[0], 0) for x in pre], units_up(skip, shifts[1], 0)


def _scale(tables: Sequence[Enclosed], bits: int) -> int:
    """The greatest s for which the largest entry, times 2^s, is below 2^bits; `bits` if all are zero."""
    tops = [x.top.bit_length() + x.exponent for x in tables if x.top]
    return bits - max(tops, default=0)


def units_up(value: int, exponent: int, target: int) -> int:
    """value·2^`exponent` in units of 2^`target`, rounded up."""
    shift = exponent - target
    return value << shift if shift >= 0 else -(-value >> -shift)


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
    moves, more, beside, lost = STILL, 0, [0] * n, 0
    if known is not None:
        # What the heads write is rounded to the same units, and a sum of it once more; no weight is above one.
        moves = replace(
            folded.moves, pre=folded.moves.pre.at(-pre_scale), skip=folded.moves.skip.at(SKIP_SHIFT - scale)
        )
        count = len(moves.heads) * len(moves.starts)
        more, lost = count * moves.pre.radius + 1, count * moves.skip.radius << SKIP_SHIFT
        beside = _slack(folded, (pre_scale, scale), None, whole=True)[0]
    slack = [x + more for x in pre_slack]
    s1, s2 = folded.s1.at(SKIP_SHIFT - scale), folded.s2.at(SKIP_SHIFT - scale)
    high, low = w.values.max(axis=1).tolist(), w.values.min(axis=1).tolist()
    most = (a.max(axis=1) + b.max(axis=1)).tolist()
    active = [max(0, x + y) for x, y in zip(most, beside, strict=True)]
    moved_skip += lost
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
        moves=moves,
        attention_error=sum(map(mul, sizes, slack)) + moved_skip,
        logit_error=sum(map(mul, sizes, moved)) + rest,
        difference_error=sum(map(mul, ranges, moved)) + 2 * rest,
    )
