"""The orders that neurons outside families borrow."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.explain.explain_circuits import noise, pizza
from verifier.explainer.orders import active_ranks, count_events, find_orders
from verifier.explainer.reading import read


@pytest.mark.parametrize(("p", "k"), [(7, 1), (7, 3), (12, 4), (13, 6)])
def test_events_are_changes_of_activity_in_both_halves(p: int, k: int) -> None:
    c = noise(p, 5)
    c.A[:], c.B[:] = c.A / 8, c.B / 8  # at most 1, as the explainer scales them
    c.B[0] = -c.A[0]  # ties
    found = count_events(active_ranks(c.A, c.B), k)
    tokens = sorted(range(p), key=lambda t: (k * t % p, t))
    for i in range(5):
        expected = 0
        for x, y in ((c.A[i], c.B[i]), (c.B[i], c.A[i])):
            for partner in x:
                active = [0] + [int(partner + y[t] > 0) for t in tokens]
                expected += sum(now != before for before, now in pairwise(active))
        assert found[i] == expected, i


def test_rare_neurons_borrow_an_order_and_many_get_their_own() -> None:
    r = read(pizza(29, [2] * 60 + [7], n=61))
    rare = np.flatnonzero(r.frequency == 7)
    assert list(find_orders(r, rare, [2])) == [2]
    r = read(pizza(29, [2, 7], n=122))
    half = np.flatnonzero(r.frequency == 7)
    orders = find_orders(r, half, [2])
    assert list(orders) == [7]
    assert orders[7].tolist() == half.tolist()


def test_neurons_without_events_take_the_first_order() -> None:
    c = pizza(29, [2, 7], n=40)
    c.A[3:6] -= 9.0
    assert {k: v.tolist() for k, v in find_orders(read(c), np.arange(3, 6), [11, 2]).items()} == {11: [3, 4, 5]}


def test_without_families_every_neuron_has_an_order() -> None:
    r = read(noise(23, 64))
    orders = find_orders(r, np.arange(64), [])
    assert sorted(i for neurons in orders.values() for i in neurons.tolist()) == list(range(64))
    ranks = active_ranks(r.a, r.b)
    chosen = sum(int(count_events(ranks[:, neurons], k).sum()) for k, neurons in orders.items())
    assert chosen < min(int(count_events(ranks, k).sum()) for k in range(1, 12))


def test_no_neurons_no_orders() -> None:
    assert find_orders(read(noise(7, 3)), np.zeros(0, np.int64), [1]) == {}
