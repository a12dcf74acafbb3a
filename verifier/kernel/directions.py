"""Lemma B, output directions: what each neuron writes is U·ω_i and a bounded rest, whatever U is (docs/theory.md §3).

With any integer matrix U and any ω_i, V := W − U·ω is recomputed exactly, and so

    logit_c − logit_c′ = (U[c] − U[c′])·S + Σ_i (V[c,i] − V[c′,i])·h_i,    S = Σ_i ω_i·h_i (Lemma E).

The skips are neurons with activation 1 and are split in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.kernel.arrays import Ints, exact_product, largest, require_capacity, rounded, shifted, zeros
from verifier.kernel.circuit import SKIP_SHIFT, Circuit
from verifier.kernel.cost import Cost
from verifier.kernel.events import Events, require_sums
from verifier.kernel.limits import DIRECTION_BITS, SUM_BITS


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of outputs (neurons, or tokens of a skip) split by Lemma B, in lane units.

    **Fields**

    - `omega` [m, L].
    - `rest` [m]: at least max_{c<p} V[c] − min_{c<p} V[c].
    - `over` [m]: at most min_{c<p} V[c] − max_{c>=p} V[c]; None when there are no outputs beyond p.
    """

    omega: Ints
    rest: Ints
    over: Ints | None

    def lanes(self) -> Ints:
        """Everything that is summed, side by side: ω, rest, over."""
        columns = [self.omega, self.rest[:, None]]
        return np.concatenate(columns if self.over is None else [*columns, self.over[:, None]], axis=1)


def split(rows: Ints, directions: Ints, p: int, drop: int) -> Rows:
    """Lemma B for every row: [m, q] in some unit, into lane units 2^drop times coarser; 0 <= drop <= DIRECTION_BITS.

    ω is U^T·row, rounded: the least-squares fit when U has orthonormal columns, and any other choice would be as true.

    **Raises** `Rejected(CAPACITY)`.
    """
    omega = rounded(exact_product(rows, directions, "an output"), DIRECTION_BITS + drop)
    written = exact_product(omega, np.ascontiguousarray(directions.T), "an output")
    lift = DIRECTION_BITS - drop
    require_capacity((largest(rows) << lift) + largest(written), "an output")
    rest = (rows << lift) - written
    high, low = rest[:, :p].max(axis=1), rest[:, :p].min(axis=1)
    over = None
    if rows.shape[1] > p:
        over = (low - rest[:, p:].max(axis=1)) >> DIRECTION_BITS
    return Rows(omega, -((low - high) >> DIRECTION_BITS), over)


@dataclass(frozen=True, slots=True)
class LaneSums:
    """The MLP and the skips at every input, by Lemmas B and E.

    **Fields**

    - `directions` [q, L]: U, in units of 2^-DIRECTION_BITS; None for the exact strategy, where the lanes are the
      outputs.
    - `sums` [p, p, lanes]: S(a, b), in units of 2^(drop − pre_scale − out_scale).
    - `rest` [p, p]: η(a, b), at least every (V[c] − V[c′])·h with c, c′ < p; None when it is zero (exact
      strategy, but for learned attention).
    - `over` [p, p]: at most every (V[c] − V[c′])·h with c < p <= c′; None without outputs beyond p, or when it is zero.
    """

    directions: Ints | None
    sums: Ints
    rest: Ints | None
    over: Ints | None
    drop: int


def prepare_lanes(circuit: Circuit, directions: Ints, known: int, more: Ints, cost: Cost) -> tuple[Ints, Ints, int]:
    """The lanes of every neuron: a few output directions, the rest and, with outputs beyond p, what is over; the lanes
    of the skips at every input [p, p, lanes]; and `drop`.

    `known`: the rest is about the first so many outputs. `more` [n]: what pre-activations may have besides A and B.
    """
    p, n, q, count = circuit.p, circuit.neurons, circuit.outputs, directions.shape[1]
    # The unit of the lanes: as fine as that of W, unless the sums would not fit.
    reach = np.abs(circuit.pre_a).max(axis=1) + np.abs(circuit.pre_b).max(axis=1) + more
    omega = rounded(exact_product(circuit.out, directions, "an output"), DIRECTION_BITS)
    total = sum(w * x for w, x in zip(np.abs(omega).max(axis=1).tolist(), reach.tolist(), strict=True))
    drop = min(max(0, total.bit_length() - SUM_BITS + 1), DIRECTION_BITS)
    own = split(circuit.out, directions, known, drop)
    lanes, lift = own.lanes(), SKIP_SHIFT - drop
    skip_a, skip_b = (
        shifted(split(table, directions, known, 0).lanes(), lift) for table in (circuit.skip_a, circuit.skip_b)
    )
    require_sums(reach, lanes, largest(skip_a) + largest(skip_b))
    cost.add("directions", (n + 2 * p) * q * (2 * count + 2))
    return lanes, skip_a[:, None, :] + skip_b[None, :, :], drop


def lane_sums(directions: Ints, sums: Ints, drop: int) -> LaneSums:
    """All lanes at every input, taken apart."""
    count = directions.shape[1]
    over = sums[:, :, count + 1] if sums.shape[2] > count + 1 else None
    return LaneSums(directions, sums[:, :, :count], sums[:, :, count], over, drop)


def linear_sums(circuit: Circuit, directions: Ints, events: Events, cost: Cost) -> LaneSums:
    """Lemma E for the lanes of Lemma B."""
    lanes, sums, drop = prepare_lanes(circuit, directions, circuit.p, zeros(circuit.neurons), cost)
    events.add(lanes, sums)
    cost.add("event sums", events.count * lanes.shape[1] + 3 * sums.size * len(events.groups))
    return lane_sums(directions, sums, drop)


def exact_sums(circuit: Circuit, events: Events, cost: Cost) -> LaneSums:
    """The lanes are the outputs: `sums` are all logits of all inputs."""
    p, q = circuit.p, circuit.outputs
    skip_a, skip_b = shifted(circuit.skip_a, SKIP_SHIFT), shifted(circuit.skip_b, SKIP_SHIFT)
    reach = np.abs(circuit.pre_a).max(axis=1) + np.abs(circuit.pre_b).max(axis=1)
    require_sums(reach, circuit.out, largest(skip_a) + largest(skip_b))
    sums = skip_a[:, None, :] + skip_b[None, :, :]
    events.add(circuit.out, sums)
    cost.add("event sums", events.count * q + 3 * p * p * q * len(events.groups))
    return LaneSums(None, sums, None, None, 0)
