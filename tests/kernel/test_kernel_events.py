"""Lemma E by its definition in Python integers: ties, equal entries, dead and constant neurons, any order and p."""

from __future__ import annotations

import ctypes
import importlib.machinery
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.kernel import Rejected, events
from verifier.kernel.events import Events, order, require_sums

BACKENDS = ["arrays", *(["compiled"] if events.COMPILED is not None else [])]
LARGEST = (1 << 30) - 1


@st.composite
def neurons(draw: st.DrawFn) -> tuple[Any, Any, Any, Any]:
    p, m, width = draw(st.integers(1, 13)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    top = draw(st.sampled_from((1, 2, 1000, 1 << 26, LARGEST)))
    entry = st.one_of(st.integers(-top, top), st.sampled_from((0, top, -top)))
    rows = st.lists(
        st.one_of(st.lists(entry, min_size=p, max_size=p), entry.map(lambda x: [x] * p)), min_size=m, max_size=m
    )
    lane = st.integers(-(1 << 26), 1 << 26)
    if top < 1 << 26:  # beyond 32 bits, where the sums leave room
        lane = st.one_of(lane, st.integers(-(1 << 33), 1 << 33))
    lanes = st.lists(st.lists(lane, min_size=width, max_size=width), min_size=m, max_size=m)
    a, b = draw(rows), draw(rows)
    if draw(st.booleans()):  # A = −B at some inputs: not active, in both halves
        b[0] = [-x for x in a[0]]
    orders = draw(st.lists(st.integers(0, p + 1), min_size=m, max_size=m))
    return a, b, draw(lanes), orders


def defined(a: Any, b: Any, lanes: Any) -> list[list[list[int]]]:
    p = len(a[0])
    return [
        [
            [
                sum(w[lane] * max(x[s] + y[t], 0) for x, y, w in zip(a, b, lanes, strict=True))
                for lane in range(len(lanes[0]))
            ]
            for t in range(p)
        ]
        for s in range(p)
    ]


def counted(a: Any, b: Any, orders: Any) -> int:
    """Changes of activity along the order of the other half's tokens, from none, in both halves."""
    p, found = len(a[0]), 0
    for x, y, k in zip(a, b, orders, strict=True):
        tokens = sorted(range(p), key=lambda t: (k * t % p, t))
        for one, other in ((x, y), (y, x)):
            for s in range(p):
                active = [0] + [int(one[s] + other[t] > 0) for t in tokens]
                found += sum(i != j for i, j in pairwise(active))
    return found


def array(values: Any) -> Any:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize("backend", BACKENDS)
@given(case=neurons())
def test_sums_and_events_are_those_of_the_definition(backend: str, case: tuple[Any, Any, Any, Any]) -> None:
    a, b, lanes, orders = case
    p, width = len(a[0]), len(lanes[0])
    with mock.patch.object(events, "COMPILED", events.COMPILED if backend == "compiled" else None):
        found = Events(array(a), array(b), array(orders))
        sums = np.full((p, p, width), 7, dtype=np.int64)
        found.add(array(lanes), sums)
    assert found.count == counted(a, b, orders)
    assert (sums - 7).tolist() == defined(a, b, lanes)


def test_blocks_carry_over() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(-50, 50, (2, 6, 11))
    lanes, orders = rng.integers(-9, 9, (6, 2)), np.array([1, 2, 2, 5, 1, 3])
    with mock.patch.object(events, "COMPILED", None), mock.patch.object(events, "BLOCK_BYTES", 8 * 11 * 2 * 3):
        sums = np.zeros((11, 11, 2), dtype=np.int64)
        Events(a, b, orders).add(lanes, sums)
    assert sums.tolist() == defined(a.tolist(), b.tolist(), lanes.tolist())


def test_entries_of_thirty_bits_are_refused() -> None:
    top, zero = np.full((1, 3), LARGEST + 1, dtype=np.int64), np.zeros((1, 3), dtype=np.int64)
    for pair in ((top, zero), (zero, -top)):
        with pytest.raises(Rejected):
            Events(*pair, np.array([1]))


def test_a_sum_of_62_bits_is_refused() -> None:
    reach, lanes = array([1 << 30, 5]), array([[1, -(1 << 31)], [3, 0]])
    require_sums(reach, lanes, (1 << 62) - (1 << 61) - 15 - 1)
    with pytest.raises(Rejected):
        require_sums(reach, lanes, (1 << 62) - (1 << 61) - 15)


def test_the_sweep_refuses_arrays_that_do_not_fit() -> None:
    if events.COMPILED is None:
        pytest.skip("not compiled here")
    one = np.ones((1, 3), dtype=np.int64)
    found = Events(one, one, np.array([1]))
    with pytest.raises(Rejected):
        found.add(array([[1]]), np.zeros((3, 4, 1), dtype=np.int64))


@given(p=st.integers(1, 60), k=st.integers(0, 100))
def test_order(p: int, k: int) -> None:
    assert order(p, k).tolist() == sorted(range(p), key=lambda t: (k * t % p, t))


def test_without_a_library_the_arrays_do() -> None:
    with mock.patch.object(importlib.machinery, "EXTENSION_SUFFIXES", [".nothing"]):
        assert events._library() is None


@pytest.mark.parametrize("interface", [None, 1])
def test_a_library_of_another_interface_is_not_used(interface: int | None) -> None:
    if events.COMPILED is None:
        pytest.skip("not compiled here")
    if interface is None:  # none at all: the C library's own symbols
        with mock.patch.object(ctypes, "CDLL", return_value=ctypes.pythonapi):
            assert events._library() is None
    else:
        with mock.patch.object(events, "INTERFACE", interface):
            assert events._library() is None
