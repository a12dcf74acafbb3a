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
from verifier.kernel.arrays import Ints, exact_product, largest, require_capacity, shifted, zeros
from verifier.kernel.attention import SIGMA_BITS
from verifier.kernel.circuit import SKIP_SHIFT, Circuit, Folded
from verifier.kernel.cost import Cost, Observer
from verifier.kernel.directions import LaneSums, Rows, lane_sums, prepare_lanes, split
from verifier.kernel.events import LANES, run
from verifier.kernel.limits import DIRECTION_BITS
from verifier.kernel.model_file import Position
from verifier.kernel.reasons import Reason, require

BLOCK_BYTES = 1 << 22  # of the pre-activations of several a


def differences(folded: Folded, weights: Ints) -> list[Ints]:
    """By position [p, p, heads that move]: weights less middles (multiples of 2^-19), in units of 2^-SIGMA_BITS."""
    found = []
    for position, row in enumerate(folded.attention.middles):
        middles = np.array([int(row[head] * (1 << SIGMA_BITS)) for head in folded.moves], dtype=np.int64)
        found.append(weights[:, :, position, list(folded.moves)] - middles)
    return found


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
    moved = differences(folded, weights)
    unit = SKIP_SHIFT - circuit.pre_scale - circuit.out_scale
    heads, places = list(folded.moves.values()), range(len(positions))
    reached = [[parts[t][0].at(-circuit.pre_scale).values for parts in heads] for t in places]
    written = [[parts[t][1].at(unit).values for parts in heads] for t in places]
    more = zeros(n)
    for own in reached:
        for table in own:
            more += np.abs(table).max(axis=0)
    lanes, sums, drop = prepare_lanes(circuit, directions, known, more, cost)
    width, lift = lanes.shape[1], SKIP_SHIFT - drop
    size = 0
    for sigma, own, place in zip(moved, written, positions, strict=True):
        tables = []
        for table in own:
            found = split(table, directions, known, 0)
            spans = None if found.over is None else -split(table, directions, circuit.outputs, 0).rest
            tables.append(Rows(found.omega, found.rest, spans).lanes())
        stack = np.stack(tables, axis=1)  # [tokens, heads, lanes]
        size += len(tables) * largest(stack) << max(lift, 0)
        signed = _weighted(sigma, stack[:, :, :count], place)
        sizes = _weighted(np.abs(sigma), stack[:, :, count:], place)
        require_capacity(size + largest(sums), "a skip")
        sums += shifted(np.concatenate([signed, sizes], axis=2), lift - SIGMA_BITS)
    # Every lane was rounded down once for each position: half of the difference of two directions' sizes, at most.
    lost = len(positions) * ((2 * int(np.abs(directions).sum(axis=1).max()) >> DIRECTION_BITS) + 2)
    sums[:, :, count] += np.int64(lost)
    sums[:, :, count + 1 :] -= np.int64(lost)
    reach = largest(circuit.pre_a) + largest(circuit.pre_b) + largest(more)
    require_capacity(reach << SIGMA_BITS, "a pre-activation")
    observe("attention", 0, p)
    _dense(circuit, moved, reached, positions, lanes, sums)
    cost.add("learned attention", p * p * n * (len(folded.moves) * len(positions) + width + 4))
    found_sums = lane_sums(directions, sums, drop)
    return LaneSums(None, found_sums.sums, found_sums.rest, -sums[:, :, count], drop) if every else found_sums


def _dense(
    circuit: Circuit,
    moved: list[Ints],
    reached: list[list[Ints]],
    positions: Sequence[Position],
    lanes: Ints,
    sums: Ints,
) -> None:
    """Add Σ_i lanes[i]·ReLU(y_i) to `sums` [p, p, lanes]; `moved` by position [p, p, heads], `reached` by position and
    head [tokens, n].

    Premise: |y_i|·2^SIGMA_BITS, and the sums of all sizes that are added up, are below 2^62.
    """
    p, n = circuit.p, circuit.neurons
    if events.COMPILED is None:
        stacks = [np.stack(own, axis=1) for own in reached]  # [tokens, heads, n]
        block = max(1, BLOCK_BYTES // (8 * p * n))
        for start in range(0, p, block):
            now = slice(start, start + block)
            fine = (circuit.pre_a.T[now, None, :] + circuit.pre_b.T[None, :, :]) << SIGMA_BITS
            for sigma, stack, place in zip(moved, stacks, positions, strict=True):
                fine += _weighted(sigma[now], stack[now] if place.holds == "a" else stack, place)
            sums[now] += exact_product(np.maximum(fine >> SIGMA_BITS, 0), lanes, "the sums over neurons")
        return
    wide = -(-n // LANES) * LANES

    def padded(rows: Ints) -> Ints:
        return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, wide - n))))

    tables = [table for own in reached for table in own]
    starts = np.cumsum([0, *(len(table) * wide for table in tables)], dtype=np.int64)
    held = [place.holds for place, own in zip(positions, reached, strict=True) for _ in own]
    by_a, by_b = (np.array([wide * (x == name) for x in held], dtype=np.int64) for name in "ab")
    sigma = np.ascontiguousarray(np.concatenate(moved, axis=2))
    fits = sums.shape == (p, p, lanes.shape[1]) and sigma.shape == (p, p, len(tables))
    require(fits, Reason.CAPACITY, "a pass: its arrays do not fit each other")
    rows, scratch = (padded(circuit.pre_a.T), padded(circuit.pre_b.T)), (zeros(wide), zeros(len(tables)))
    moves = (sigma, padded(np.concatenate(tables)), starts, by_a, by_b)
    run("dense", p, wide, len(tables), lanes.shape[1], SIGMA_BITS, *rows, *moves, padded(lanes.T), *scratch, sums)


def _weighted(sigma: Ints, stack: Ints, place: Position) -> Ints:
    """Σ_heads sigma[a, b, head]·stack[token at this position, head, ·], exactly: [a, b, ·]."""
    if place.holds == "b":
        return np.ascontiguousarray(exact_product(sigma.transpose(1, 0, 2), stack, "attention").transpose(1, 0, 2))
    return exact_product(sigma, stack if place.holds == "a" else stack[0], "attention")
