"""The explainer's view of a circuit: scaled tables, spectra, a sample of the inputs with their logits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.explain.explain_circuits import noise, pizza
from verifier.explainer import reading


def test_the_logits_of_the_sample_are_the_circuits() -> None:
    c = noise(7, 5, 9, skips=True)
    assert c.S1 is not None
    assert c.S2 is not None
    r = reading.read(c)
    s = reading.sample(r)
    assert len(s.a) == 49
    for a, b, row, margin in zip(s.a, s.b, s.logits, s.margins, strict=True):
        logits = c.W @ np.maximum(c.A[:, a] + c.B[:, b], 0) + c.S1[:, a] + c.S2[:, b]
        assert np.allclose(row * 2.0 ** (r.exponent + r.out_exponent), logits, atol=1e-12)
        others = np.delete(logits, (a + b) % 7)
        assert np.isclose(margin * 2.0 ** (r.exponent + r.out_exponent), logits[(a + b) % 7] - others.max(), atol=1e-12)
    assert set(zip(((s.a - s.b) % 7).tolist(), s.b.tolist(), strict=True)) == {
        (d, b) for d in range(7) for b in range(7)
    }


def test_turned_logits_begin_with_the_answer() -> None:
    r = reading.read(noise(7, 5, 9))
    s = reading.sample(r)
    turned = reading.turned(r, s, s.logits)
    for d, delta in enumerate(s.deltas):
        for i, b in enumerate(s.columns):
            row = s.logits[d * len(s.columns) + i]
            assert [row[(delta + 2 * b + c) % 7] for c in range(7)] == turned[d, i].tolist()


def test_large_circuits_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SAMPLE", 16 * 60)
    s = reading.sample(reading.read(pizza(29, [3])))
    assert len(s.deltas) == len(s.columns) == 5
    assert ((s.a - s.b) % 29 == np.repeat(s.deltas, 5)).all()


@pytest.mark.parametrize("exponent", [-390, 0, 390])
def test_scales_are_powers_of_two_and_change_nothing_else(exponent: int) -> None:
    c = pizza(13, [2, 5])
    scaled = type(c)(13, np.ldexp(c.A, exponent), np.ldexp(c.B, exponent), np.ldexp(c.W, exponent), None, None, {})
    r, moved = reading.read(c), reading.read(scaled)
    assert moved.exponent == r.exponent + exponent
    assert moved.out_exponent == r.out_exponent + exponent
    for one, other in ((r.a, moved.a), (r.w, moved.w), (r.phase, moved.phase), (r.amplitude, moved.amplitude)):
        assert np.array_equal(one, other)


def test_frequency_amplitude_and_phase_of_a_cosine() -> None:
    r = reading.read(pizza(13, [2, 5], n=8))
    assert r.frequency.tolist() == [2, 5] * 4
    assert np.allclose(r.amplitude * 2.0**r.exponent, 1)
    assert np.allclose(r.phase, np.arange(8) / 8 + 0.003)
