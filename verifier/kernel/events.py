"""Lemma E, event sums: Σ_i w_i·ReLU(A[i,a] + B[i,b]) at every input, exactly, from a few jumps per weight.

Order the tokens of b as π (by the neuron's frequency). Neuron i is active at (a, π_t) when A[i,a] + B[i,π_t] > 0, and
then ReLU is A[i,a] plus B[i,π_t]. With s_i(t, a) its activity and s_i(−1, a) = 0,

    Σ_i w_i·A[i,a]·s_i(t, a) = Σ_{t' <= t} D[t', a],    D[t, a] = Σ w_i·A[i,a]·(s_i(t, a) − s_i(t − 1, a)),

and the same with a and b exchanged. Between t − 1 and t the active a of a neuron change by a run of places in the
order of A[i, ·]: its *events*. A sweep over t adds them up (docs/theory.md §2).
"""

from __future__ import annotations

import ctypes
import importlib.machinery
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.kernel.arrays import Ints, integers, largest, require_capacity, zeros
from verifier.kernel.reasons import Reason, require

LANES = 8  # at a time in the compiled sweep (sweep.c)
INDEX_BITS = 13  # of a place in a row of 2p <= 2^13 entries
BLOCK_BYTES = 1 << 20  # of the jumps of several t, so that they stay in the cache


Narrow = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Half:
    """One half (A or B) of every neuron of a group.

    **Fields**

    - `entries` [m, p]: in ascending order, value·2^INDEX_BITS + token. Rows are p + 1 apart.
    - `ranks` [p, m]: at every step, that is, for every token of the other half in the group's order, how many entries
      are active: the last so many.
    """

    entries: Ints
    ranks: Narrow

    @property
    def places(self) -> Ints:
        """The tokens of the entries [m, p]."""
        return self.entries & ((1 << INDEX_BITS) - 1)

    @property
    def values(self) -> Ints:
        """Of the entries [m, p]."""
        return self.entries >> INDEX_BITS


def _halves(a: Ints, b: Ints, tokens: Ints) -> tuple[Half, Half]:
    """Both halves from one sort of A[i, ·] and −B[i, ·] together.

    Where A[i,a] = −B[i,b] the neuron is not active, in both halves: A comes first.
    """
    m, p = a.shape
    require_capacity(max(largest(a), largest(b)) << 32, "a pre-activation")  # so that it fits 32 bits, and a key 64
    keys = np.concatenate([a, -b], axis=1)
    keys <<= INDEX_BITS
    keys += np.arange(2 * p, dtype=np.int64)
    keys.sort(axis=1)
    steps = np.argsort(tokens)
    both = np.empty((2, m, p + 1), dtype=np.int64)
    of_a, of_b_ = (Half(part, np.empty((p, m), dtype=np.int32)) for part in (both[0, :, :-1], both[1, :, 1:]))
    if COMPILED is not None:
        first, second = (half.entries.ctypes.data for half in (of_a, of_b_))
        run("halves", p, m, keys, steps, first, of_a.ranks, second, of_b_.ranks)
        return of_a, of_b_
    places = keys & ((1 << INDEX_BITS) - 1)
    of_b = places >= p
    below = np.cumsum(of_b, axis=1, dtype=np.int64)  # how many −B come before an A: that many b it is active with
    ahead = (
        p - 1 - np.arange(2 * p, dtype=np.int64) + below
    )  # how many A come after a −B: that many a it is active with
    row = np.arange(m, dtype=np.int64)[:, None]
    first, last = places[~of_b].reshape(m, p), places[of_b].reshape(m, p) - p
    of_b_.ranks[steps[first], row] = below[~of_b].reshape(m, p)
    of_a.ranks[steps[last], row] = ahead[of_b].reshape(m, p)
    of_a.entries[:] = keys[~of_b].reshape(m, p)
    of_b_.entries[:] = ((-(keys[of_b].reshape(m, p) >> INDEX_BITS) << INDEX_BITS) + last)[:, ::-1]
    return of_a, of_b_


def order(p: int, frequency: int) -> Ints:
    """The tokens in the order of frequency·t mod p, ties by t."""
    return np.argsort(frequency * np.arange(p, dtype=np.int64) % p, kind="stable")


class Events:
    """Both halves of every group of neurons that share an order, and the number of events."""

    __slots__ = ("count", "groups", "p")

    def __init__(self, a: Ints, b: Ints, orders: Ints) -> None:
        """`a`, `b` [n, p], below 2^30 in size; `orders` [n]: each neuron's frequency."""
        self.p = a.shape[1]
        self.count = 0
        self.groups: list[tuple[Ints, Ints, tuple[Half, Half]]] = []
        tops = a.argmax(axis=1)
        for frequency in sorted(set(orders.tolist())):
            neurons, tokens = np.flatnonzero(orders == frequency), order(self.p, frequency)
            # Neighbours switch at neighbouring tokens, whose sums are then in the cache.
            neurons = neurons[np.argsort(np.argsort(tokens)[tops[neurons]], kind="stable")]
            halves = _halves(a[neurons], b[neurons], tokens)
            for half in halves:
                moves = np.abs(half.ranks[1:] - half.ranks[:-1])
                self.count += int(half.ranks[0].sum(dtype=np.int64) + moves.sum(dtype=np.int64))
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


def require_sums(reach: Ints, lanes: Ints, more: int) -> None:
    """Reject unless every partial sum of Lemma E, with `more` added, fits; `reach` [n] is max|A[i]| + max|B[i]|.

    **Raises** `Rejected(CAPACITY)`.
    """
    total = sum(w * x for w, x in zip(np.abs(lanes).max(axis=1).tolist(), reach.tolist(), strict=True))
    require_capacity(total + more, "the sums over neurons")


INTERFACE = 4  # that of sweep.c


def _library() -> ctypes.CDLL | None:
    """The compiled code (sweep.c), if it was built when the package was installed. The array code does the same."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = Path(__file__).with_name("sweep" + suffix)
        if path.is_file():
            library = ctypes.CDLL(str(path))
            number = ctypes.c_int64.in_dll(library, "interface") if hasattr(library, "interface") else ctypes.c_int64()
            if number.value == INTERFACE:  # not built from another source
                return library
    return None


COMPILED = _library()


def loop() -> str:
    """Which code runs where there is a choice; the results are the same."""
    return "arrays" if COMPILED is None else "compiled"


def run(function: str, *arguments: int | Ints | Narrow) -> None:
    """Call a function of sweep.c; of an array that is not contiguous the address and the strides are given, as numbers.

    **Raises** `Rejected(CAPACITY)` for another array that is not contiguous.
    """
    numbers = []
    for value in arguments:
        if not isinstance(value, int):
            require(value.flags.c_contiguous, Reason.CAPACITY, f"{function}: an array is not contiguous")
        numbers.append(ctypes.c_int64(value if isinstance(value, int) else value.ctypes.data))
    getattr(COMPILED, function)(*numbers)


def _sweep(half: Half, tokens: Ints, lanes: Ints, out: Ints) -> None:
    """Add one half to out[t, x] for every token t of the other half and every x."""
    (p, m), width = half.ranks.shape, lanes.shape[1]
    if COMPILED is None:
        _sweep_arrays(half, tokens, lanes, out)
        return
    fits = out.shape == (p, p, width) and out.strides[2] == out.itemsize == 8 and len(lanes) == m
    require(fits, Reason.CAPACITY, "a sweep: its arrays do not fit each other")
    wide = -(-width // LANES) * LANES
    padded, sums = zeros(m, wide), zeros(p, wide)
    padded[:, :width] = lanes
    arrays = half.ranks, half.entries.ctypes.data, padded, tokens, sums, out.ctypes.data
    run("sweep", p, m, width, wide, *arrays, out.strides[0] // 8, out.strides[1] // 8)


def _sweep_arrays(half: Half, tokens: Ints, lanes: Ints, out: Ints) -> None:
    """The same with arrays, block of steps by block."""
    from scipy.sparse import csc_array  # not needed, and slow to import, where the compiled sweep runs

    (p, m), width = half.ranks.shape, lanes.shape[1]
    block = max(1, min(p, BLOCK_BYTES // (8 * p * width)))
    values, places = half.values.ravel(), half.places.ravel()
    ends = np.arange(1, m + 1, dtype=np.int64)[:, None] * p
    before = np.zeros((m, 1), dtype=np.int64)
    carry = zeros(p, width)
    for start in range(0, p, block):
        now = half.ranks[start : start + block].T.astype(np.int64)
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
