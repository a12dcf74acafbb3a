"""Learned attention (Lemma K⁺): the sums of the MLP at every input by one dense pass, exactly.

The attention weights of every input are known within a small error (`attention.weights`); what they differ from the
middles by, σ − m, is an integer multiple of 2^-20. Then

    y_i(a, b) = A[i,a] + B[i,b] + Σ_heads Σ_t (σ_t(a, b) − m_t)·M_t[token at t, i],

M_t what the head writes at position t through W_in. That is not separable, so the events cannot be found by sorting;
but the lanes of Lemma B are few: n·p²·(heads·positions + L) multiply-adds against n·p²·(heads·positions + q). Cost
is *semi-linear*.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verifier.kernel import events
from verifier.kernel.arrays import Ints, exact_product, integers, largest, require_capacity, shifted, zeros
from verifier.kernel.attention import SIGMA_BITS
from verifier.kernel.circuit import SKIP_SHIFT, Circuit, Folded
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.directions import LaneSums, Rows, lane_sums, prepare_lanes, split
from verifier.kernel.events import LANES, run
from verifier.kernel.limits import DIRECTION_BITS
from verifier.kernel.model_file import Position
from verifier.kernel.reasons import Reason, require

BLOCK_BYTES = 1 << 22  # of the pre-activations of several a


def differences(folded: Folded, weights: Ints) -> Ints:
    """[p, p, positions, heads that move]: weights less middles (multiples of 2^-19), in units of 2^-SIGMA_BITS."""
    heads = list(folded.moves.heads)
    middles = [[int(row[head] * (1 << SIGMA_BITS)) for head in heads] for row in folded.attention.middles]
    return weights[:, :, :, heads] - integers(middles)


def learned_sums(
    circuit: Circuit,
    folded: Folded,
    positions: Sequence[Position],
    weights: Ints,
    directions: Ints | None,
    cost: Cost,
    observe: Observer,
) -> LaneSums:
    """Lemmas K⁺ and B: the lanes at every input; every output is one where `directions` is None, and the rest what
    rounding loses of any two of them.

    The skips' part of what a head writes is split by Lemma B, token by token; a difference σ − m may have either sign,
    so that its size times the rest counts, and minus its size times the range over all outputs for those beyond p.
    """
    p, n = circuit.p, circuit.neurons
    every, known = directions is None, circuit.outputs if directions is None else circuit.p
    if directions is None:
        directions = np.eye(circuit.outputs, dtype=np.int64) << DIRECTION_BITS
    count = directions.shape[1]
    moved, moves = differences(folded, weights), circuit.moves
    reached = folded.moves.reach[0].at(-circuit.pre_scale)
    more = (reached.values + np.int64(reached.radius)).sum(axis=(0, 1), dtype=np.int64)
    lanes, sums, drop = prepare_lanes(circuit, directions, known, more, cost)
    width, lift = lanes.shape[1], SKIP_SHIFT - drop
    heads, rows, _ = moves.skip.shape
    table = moves.skip.values.reshape(heads * rows, circuit.outputs)
    found = split(table, directions, known, 0)
    spans = None if found.over is None else -split(table, directions, circuit.outputs, 0).rest
    stack = Rows(found.omega, found.rest, spans).lanes().reshape(heads, rows, width).transpose(1, 0, 2)
    require_capacity((heads * len(positions) * largest(stack) << max(lift, 0)) + largest(sums), "a skip")
    for t, (place, own) in enumerate(zip(positions, np.split(stack, moves.starts[1:]), strict=True)):
        sigma = moved[:, :, t]
        parts = _weighted(sigma, own[:, :, :count], place), _weighted(np.abs(sigma), own[:, :, count:], place)
        sums += shifted(np.concatenate(parts, axis=2), lift - SIGMA_BITS)
    # Every lane was rounded down once for each position: half of the difference of two directions' sizes, at most.
    lost = len(positions) * ((2 * int(np.abs(directions).sum(axis=1).max()) >> DIRECTION_BITS) + 2)
    sums[:, :, count] += np.int64(lost)
    sums[:, :, count + 1 :] -= np.int64(lost)
    reach = largest(circuit.pre_a) + largest(circuit.pre_b) + largest(more)
    require_capacity(reach << SIGMA_BITS, "a pre-activation")
    observe("attention", 0, p)
    _dense(circuit, moved, positions, lanes, sums)
    cost.add("learned attention", p * p * n * (heads * len(positions) + width + 4))
    found_sums = lane_sums(directions, sums, drop)
    return LaneSums(None, found_sums.sums, found_sums.rest, -sums[:, :, count], drop) if every else found_sums


def _dense(circuit: Circuit, moved: Ints, positions: Sequence[Position], lanes: Ints, sums: Ints) -> None:
    """Add Σ_i lanes[i]·ReLU(y_i) to `sums` [p, p, lanes]; `moved` [p, p, positions, heads].

    Premise: |y_i|·2^SIGMA_BITS, and the sums of all sizes that are added up, are below 2^62.
    """
    p, n, moves = circuit.p, circuit.neurons, circuit.moves
    if events.COMPILED is None:
        stacks = np.split(moves.pre.values.transpose(1, 0, 2), moves.starts[1:])  # by position [tokens, heads, n]
        block = max(1, BLOCK_BYTES // (8 * p * n))
        for start in range(0, p, block):
            now = slice(start, start + block)
            fine = (circuit.pre_a.T[now, None, :] + circuit.pre_b.T[None, :, :]) << SIGMA_BITS
            for t, (stack, place) in enumerate(zip(stacks, positions, strict=True)):
                fine += _weighted(moved[now, :, t], stack[now] if place.holds == "a" else stack, place)
            sums[now] += exact_product(np.maximum(fine >> SIGMA_BITS, 0), lanes, "the sums over neurons")
        return
    wide, (heads, rows, _) = -(-n // LANES) * LANES, moves.pre.shape

    def padded(table: Ints) -> Ints:
        return np.ascontiguousarray(np.pad(table, ((0, 0), (0, wide - n))))

    # By position and head, where its rows begin, and how they go on with a and b.
    starts = (moves.starts[:, None] + np.arange(heads, dtype=np.int64) * rows) * np.int64(wide)
    by_a, by_b = (integers([[wide * (x.holds == name)] * heads for x in positions]) for name in "ab")
    sigma = np.ascontiguousarray(moved.reshape(p, p, -1))
    fits = sums.shape == (p, p, lanes.shape[1]) and sigma.shape == (p, p, starts.size)
    require(fits, Reason.CAPACITY, "a pass: its arrays do not fit each other")
    own, scratch = (padded(circuit.pre_a.T), padded(circuit.pre_b.T)), (zeros(wide), zeros(starts.size))
    table = padded(moves.pre.values.reshape(heads * rows, n))
    arrays = (*own, sigma, table, starts, by_a, by_b, padded(lanes.T), *scratch, sums)
    run("dense", p, wide, starts.size, lanes.shape[1], SIGMA_BITS, *arrays)


def _weighted(sigma: Ints, stack: Ints, place: Position) -> Ints:
    """Σ_heads sigma[a, b, head]·stack[token at this position, head, ·], exactly: [a, b, ·]."""
    if place.holds == "b":
        return np.ascontiguousarray(exact_product(sigma.transpose(1, 0, 2), stack, "attention").transpose(1, 0, 2))
    return exact_product(sigma, stack if place.holds == "a" else stack[0], "attention")
