"""Output directions: what they certify, and that there are no more than are needed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.explain.explain_circuits import noise, shipped, with_outputs
from verifier.explainer.directions import certified_margins, certified_share, find_directions
from verifier.explainer.reading import read, sample


def test_certified_margins_are_what_lemma_b_says() -> None:
    c = noise(7, 6, 10, skips=True)
    r = read(c)
    s = sample(r)
    u = np.linalg.qr(np.random.default_rng(1).standard_normal((10, 3)))[0]
    v, v1, v2 = (table - u @ (u.T @ table) for table in (r.w, r.s1, r.s2))
    found = certified_margins(r, s, u)
    for row, (a, b) in enumerate(zip(s.a, s.b, strict=True)):
        h = np.maximum(r.a[:, a] + r.b[:, b], 0)
        known = u @ (u.T @ (r.w @ h + r.s1[:, a] + r.s2[:, b]))
        t = (a + b) % 7
        eta = sum(np.ptp(v[:7, i]) * h[i] for i in range(6)) + np.ptp(v1[:7, a]) + np.ptp(v2[:7, b])
        over = sum((v[:7, i].min() - v[7:, i].max()) * h[i] for i in range(6))
        over += v1[:7, a].min() - v1[7:, a].max() + v2[:7, b].min() - v2[7:, b].max()
        least = min(known[t] - known[c] for c in range(7) if c != t) - eta
        assert np.isclose(found[row], min(least, known[t] - known[7:].max() + over), atol=1e-12)
        assert found[row] <= s.margins[row] + 1e-12


def test_all_directions_leave_nothing() -> None:
    r = read(noise(7, 6, 10, skips=True))
    s = sample(r)
    assert np.allclose(certified_margins(r, s, np.eye(10)), s.margins)


@pytest.mark.parametrize("name", ["pizza-p59-c", "pizza-p59-three", "pizza-p23"])
def test_the_wanted_share_with_no_direction_to_spare(name: str) -> None:
    r = read(shipped(name))
    s = sample(r)
    counts = []
    for share in (0.5, 0.9, 0.98):
        u = find_directions(r, s, None, share, 8)
        assert (u == np.round(u * 2**20) / 2**20).all()
        assert certified_margins(r, s, u).min() >= share * s.margins.min()
        counts.append(u.shape[1])
        again = find_directions(r, s, None, share, 1)
        assert again.shape == u.shape  # whatever is tried first
    assert counts == sorted(counts)
    assert counts[1] <= 9
    assert counts[0] < counts[2] <= 20


def test_outputs_beyond_p_cost_no_direction_when_they_are_low() -> None:
    c = shipped("pizza-p23")
    alone = read(c)
    low = -0.1 * np.abs(c.W).max(axis=0) * (1 + np.random.default_rng(0).random((5, 1)))
    for more in (low[:1], low):
        r = read(with_outputs(c, more))
        s = sample(r)
        u = find_directions(r, s, None, 0.9, 8)
        assert u.shape == (23 + len(more), find_directions(alone, sample(alone), None, 0.9, 8).shape[1])
        assert certified_margins(r, s, u).min() >= 0.9 * s.margins.min()


def test_wrong_inputs_do_not_make_directions_useless() -> None:
    c = shipped("pizza-p23")
    bias = np.zeros((23, 23))
    bias[4] = 60.0  # the logit of 4 is always too large
    assert c.S1 is not None
    r = read(type(c)(23, c.A, c.B, c.W, c.S1 + bias, c.S2, {}))
    s = sample(r)
    right = (s.margins > 0).sum()
    assert 0 < right < len(s.a)
    assert (certified_margins(r, s, find_directions(r, s, None, 0.9, 8)) > 0).sum() == right


def test_an_unreachable_share_takes_that_share_of_what_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.explainer.directions.DIRECTIONS", 8)
    r = read(shipped("pizza-p59-b"))
    s = sample(r)
    best = certified_share(s.margins, certified_margins(r, s, find_directions(r, s, None, 1.0, 8)))
    assert 0.7 < best < 0.9
    u = find_directions(r, s, None, 0.9, 8)
    assert u.shape[1] <= 8
    assert certified_margins(r, s, u).min() >= 0.9 * best * s.margins.min() - 1e-9
