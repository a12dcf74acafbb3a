"""The order of the tokens that each neuron outside a family borrows: few events, few orders (Lemma E; float64)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from verifier.explainer.reading import Array, Indices, Reading

CANDIDATES = 16


def find_orders(r: Reading, neurons: Indices, known: Sequence[int]) -> dict[int, Indices]:
    """The neurons by the frequency whose order they take.

    An order that no family has costs p² additions of a lane for each half, an event one multiplication and an addition:
    it must save as many events. Neurons without events go with the first frequency of `known`, the commonest.
    """
    if not len(neurons):
        return {}
    half = (r.p - 1) // 2
    common = np.bincount(r.frequency[neurons], minlength=half + 1).argsort(kind="stable")[::-1][:CANDIDATES]
    candidates = list(dict.fromkeys([*known, *(int(k) for k in common if k)]))
    ranks = active_ranks(r.a[neurons], r.b[neurons])
    events = np.stack([count_events(ranks, k) for k in candidates])
    chosen = list(range(len(known))) or [int(events.sum(axis=1).argmin())]
    while True:
        least = events[chosen].min(axis=0)
        saved = np.maximum(least - events, 0).sum(axis=1)
        if saved.max() <= r.p**2:
            break
        chosen.append(int(saved.argmax()))
    order = np.array(chosen)[events[chosen].argmin(axis=0)]
    return {candidates[j]: neurons[order == j] for j in sorted(set(order.tolist()), key=lambda j: candidates[j])}


def active_ranks(a: Array, b: Array) -> Indices:
    """For every neuron and token, with how many partners it is active: shape (2, n, p), tokens b, then tokens a."""
    n, p = a.shape
    row = 4.0 * np.arange(n)[:, None]  # the tables are at most 1: one search serves all rows
    ranks = []
    for x, y in ((a, b), (b, a)):
        thresholds = (np.sort(-x, axis=1) + row).ravel()
        ranks.append(np.searchsorted(thresholds, (y + row).ravel(), "left").reshape(n, p) - p * np.arange(n)[:, None])
    return np.stack(ranks)


def count_events(ranks: Indices, frequency: int) -> Indices:
    """Events of every neuron, both halves together, in the order of `frequency`."""
    p = ranks.shape[2]
    tokens = (frequency * np.arange(p) % p).argsort(kind="stable")
    steps = np.diff(ranks[:, :, tokens], axis=2, prepend=0)
    result: Indices = np.abs(steps).sum(axis=(0, 2))
    return result
