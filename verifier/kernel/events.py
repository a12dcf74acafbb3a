"""Lemma E, event sums: Σ_i w_i·ReLU(A[i,a] + B[i,b]) at every input, exactly, from a few jumps per weight.

Order the tokens of b as π (by the neuron's frequency). Neuron i is active at (a, π_t) when A[i,a] + B[i,π_t] > 0, and
then ReLU is A[i,a] plus B[i,π_t]. With s_i(t, a) its activity and s_i(−1, a) = 0,

    Σ_i w_i·A[i,a]·s_i(t, a) = Σ_{t' <= t} D[t', a],    D[t, a] = Σ w_i·A[i,a]·(s_i(t, a) − s_i(t − 1, a)),

and the same with a and b exchanged. Between t − 1 and t the active a of a neuron change by a run of places in the
order of A[i, ·]: its *events*. A sweep over t adds them up (docs/theory.md §2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array

from verifier.kernel.arrays import Ints, integers, largest, require_capacity

INDEX_BITS = 13  # of a place in a row of 2p <= 2^13 entries
BLOCK_BYTES = 1 << 20  # of the jumps of several t, so that they stay in the cache


@dataclass(frozen=True, slots=True)
class _Sorted:
    """One half of every neuron of a group, in ascending order.

    `places`, `values` [m, p]: which token, and its entry. `ranks` [m, p]: how many of these are active for each token
    of the other half.
    """

    places: Ints
    values: Ints
    ranks: Ints


def _sort(a: Ints, b: Ints) -> tuple[_Sorted, _Sorted]:
    """Both halves from one sort of A[i, ·] and −B[i, ·] together.

    Where A[i,a] = −B[i,b] the neuron is not active, in both halves: A comes first.
    """
    m, p = a.shape
    require_capacity((largest(a) + largest(b) + 1) << INDEX_BITS, "a sort key")
    places = np.arange(2 * p, dtype=np.int64)
    keys = (np.concatenate([a, -b], axis=1) << INDEX_BITS) + places
    keys.sort(axis=1)
    found = keys & ((1 << INDEX_BITS) - 1)
    of_b = found >= p
    below = np.cumsum(of_b, axis=1, dtype=np.int64)  # how many −B come before an A: that many b it is active with
    ahead = p - places - 1 + below  # how many A come after a −B: that many a it is active with
    row = np.arange(m, dtype=np.int64)[:, None] * p
    ranks_a, ranks_b = np.empty((m, p), dtype=np.int64), np.empty((m, p), dtype=np.int64)
    first, last = found[~of_b].reshape(m, p), found[of_b].reshape(m, p) - p
    ranks_a.ravel()[(first + row).ravel()] = below[~of_b]
    ranks_b.ravel()[(last + row).ravel()] = ahead[of_b]
    values = keys >> INDEX_BITS
    ascending_b = (-values[of_b]).reshape(m, p)[:, ::-1]
    return (
        _Sorted(first, values[~of_b].reshape(m, p), ranks_b),
        _Sorted(np.ascontiguousarray(last[:, ::-1]), np.ascontiguousarray(ascending_b), ranks_a),
    )


def order(p: int, frequency: int) -> Ints:
    """The tokens in the order of frequency·t mod p, ties by t."""
    return np.argsort(frequency * np.arange(p, dtype=np.int64) % p, kind="stable")


class Events:
    """The sorted halves of every group of neurons that share an order, and the number of events."""

    __slots__ = ("count", "groups", "p")

    def __init__(self, a: Ints, b: Ints, orders: Ints) -> None:
        """`a`, `b` [n, p] below 2^48 in size; `orders` [n]: each neuron's frequency."""
        self.p = a.shape[1]
        self.count = 0
        self.groups: list[tuple[Ints, Ints, tuple[_Sorted, _Sorted]]] = []
        for frequency in np.unique(orders).tolist():
            neurons, tokens = np.flatnonzero(orders == frequency), order(self.p, frequency)
            halves = _sort(a[neurons], b[neurons])
            for half in halves:
                ranks = half.ranks[:, tokens]
                self.count += int(np.abs(np.diff(ranks, axis=1, prepend=0)).sum())
            self.groups.append((neurons, tokens, halves))

    def add(self, lanes: Ints, sums: Ints) -> None:
        """Add Σ_i lanes[i]·ReLU(A[i,a] + B[i,b]) to sums[a, b] (both halves).

        Premise: Σ_i max|lanes[i]|·(max|A[i]| + max|B[i]|) + |sums| < 2^62 (`require_sums`).
        """
        turned = sums.transpose(1, 0, 2)
        for neurons, tokens, (of_a, of_b) in self.groups:
            own = np.ascontiguousarray(lanes[neurons])
            _sweep(of_a, tokens, own, turned)
            _sweep(of_b, tokens, own, sums)


def require_sums(a: Ints, b: Ints, lanes: Ints, more: int) -> None:
    """Reject unless every partial sum of Lemma E, with `more` added, fits.

    **Raises** `Rejected(CAPACITY)`.
    """
    sizes = (np.abs(lanes).max(axis=1).tolist(), np.abs(a).max(axis=1).tolist(), np.abs(b).max(axis=1).tolist())
    total = sum(w * (x + y) for w, x, y in zip(*sizes, strict=True))
    require_capacity(total + more, "the sums over neurons")


def _sweep(half: _Sorted, tokens: Ints, lanes: Ints, out: Ints) -> None:
    """Add one half to out[t, x] for every token t of the other half and every x, block of t by block."""
    m, p = half.places.shape
    width = lanes.shape[1]
    block = max(1, min(p, BLOCK_BYTES // (8 * p * width)))
    values, places = half.values.ravel(), half.places.ravel()
    ends = np.arange(1, m + 1, dtype=np.int64)[:, None] * p
    before = np.zeros((m, 1), dtype=np.int64)
    carry = np.zeros((p, width), dtype=np.int64)
    for start in range(0, p, block):
        now = half.ranks[:, tokens[start : start + block]]
        last = np.concatenate([before, now[:, :-1]], axis=1)
        before = now[:, -1:]
        steps = now.shape[1]
        jump = (now - last).ravel()
        count = np.abs(jump)
        total = np.cumsum(count, dtype=np.int64)
        # The active ones are the last `rank` of the ascending order, so a jump covers the places from
        # p − max(rank) up to p − min(rank).
        origin = (ends - np.maximum(now, last)).ravel() - (total - count)
        where = np.repeat(origin, count) + np.arange(int(total[-1]), dtype=np.int64)
        signs = np.repeat(np.sign(jump), count)
        cells = np.repeat(np.tile(np.arange(steps, dtype=np.int64) * p, m), count) + places[where]
        columns = np.concatenate([integers([0]), total[steps - 1 :: steps]])
        jumps = csc_array((values[where] * signs, cells, columns), shape=(steps * p, m))
        change = (jumps @ lanes).reshape(steps, p, width)
        change[0] += carry
        np.cumsum(change, axis=0, out=change)
        out[tokens[start : start + block]] += change
        carry = change[-1].copy()
