"""The closed form: the formula of the theory, its slope, and how near the fit brings it to the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.explain.explain_circuits import noise, pizza, shipped
from verifier.explainer import families
from verifier.explainer.families import Family, closed_form, find_families, middle_coefficients
from verifier.explainer.reading import Reading, read, sample


def by_definition(r: Reading, f: Family, delta: int, points: int = 20_000) -> dict[int, complex]:
    """Σ_r e(rkδ/p)·Q_r·∫ReLU(T)·e(2rx) dx as the theory writes it, by the midpoint rule."""
    x = (np.arange(points) + 0.5) / points
    t = np.full(points, f.theta[0])
    for h in range(1, (len(f.theta) + 3) // 4):
        za, zb = f.theta[4 * h - 3] + 1j * f.theta[4 * h - 2], f.theta[4 * h - 1] + 1j * f.theta[4 * h]
        t += ((za * np.exp(2j * np.pi * h * f.frequency * delta / r.p) + zb) * np.exp(2j * np.pi * h * x)).real
    result: dict[int, complex] = {}
    for order in range(1, f.outputs + 1):
        j = order * f.frequency
        omega = 2 / r.p * (r.w[: r.p].T * np.exp(-2j * np.pi * j * np.arange(r.p) / r.p)).sum(axis=1)[f.neurons]
        moment = (f.amplitude * omega * np.exp(-4j * np.pi * order * f.phase)).sum()
        value = (
            np.exp(2j * np.pi * j * delta / r.p) * moment * (np.maximum(t, 0) * np.exp(4j * np.pi * order * x)).mean()
        )
        small = min(j % r.p, -j % r.p)
        result[small] = result.get(small, 0) + (value if small == j % r.p else value.conjugate())
    return result


def some_family(r: Reading, harmonics: int, outputs: int) -> Family:
    rng = np.random.default_rng(harmonics)
    neurons = np.flatnonzero(r.frequency == r.frequency[0])
    theta = rng.standard_normal(1 + 4 * harmonics) / np.resize(np.arange(1, 6), 1 + 4 * harmonics)
    return Family(int(r.frequency[0]), theta, outputs, neurons, r.amplitude[neurons], r.phase[neurons])


@pytest.mark.parametrize(("harmonics", "outputs"), [(1, 1), (3, 4), (6, 2)])
def test_the_closed_form_is_that_of_the_theory(harmonics: int, outputs: int) -> None:
    r = read(noise(23, 30, 25))
    f = some_family(r, harmonics, outputs)
    deltas = np.array([0, 1, 9, 22])
    found = closed_form(r, [f], deltas)
    for i, delta in enumerate(deltas.tolist()):
        expected = by_definition(r, f, delta)
        assert set(found) == set(expected)
        for j, value in expected.items():
            assert abs(found[j][i] - value) < 2e-3 * max(1, abs(value)), (delta, j)


def test_the_columns_are_the_closed_forms_slope() -> None:
    r = read(noise(23, 30))
    f = some_family(r, 3, 2)
    deltas = np.arange(23)
    slopes = families.columns(r, f, deltas)
    for i in range(len(f.theta)):
        step = 1e-4 * (np.arange(len(f.theta)) == i)
        up, down = (closed_form(r, [replace(f, theta=f.theta + sign * step)], deltas) for sign in (1, -1))
        for j, slope in slopes.items():
            difference = (up[j] - down[j]) / 2e-4
            assert np.abs(difference - slope[:, i]).mean() < 0.05 * np.abs(slopes[j]).max(), (i, j)


def test_pure_cosines_are_found_exactly() -> None:
    r = read(pizza(61, [3], n=64))
    s = sample(r)
    (f,) = find_families(r, s)
    truth, steady = middle_coefficients(r, s)
    assert f.frequency == 3
    assert f.outputs == 1
    assert f.neurons.tolist() == list(range(64))
    assert steady[3] > 0.99
    assert np.abs(closed_form(r, [f], s.deltas)[3] - truth[3]).max() < 0.01 * np.abs(truth[3]).max()
    by_hand = (
        2 * np.abs(np.cos(np.pi * 3 * s.deltas / 61)) / (3 * np.pi) * np.abs(f.amplitude * r.zw[f.neurons, 3]).sum()
    )
    assert np.abs(np.abs(truth[3]) - by_hand).max() < 0.02 * by_hand.max()


def test_a_second_harmonic_of_the_output_is_in_the_closed_form_when_it_is_written() -> None:
    for second, outputs in ((0.0, 1), (0.3, 2)):
        r = read(pizza(61, [3], n=64, second=second, offset=0.3))
        assert [f.outputs for f in find_families(r, sample(r))] == [outputs]


def test_another_familys_frequency_is_no_harmonic_of_the_output() -> None:
    r = read(pizza(61, [3, 6], n=64))
    assert [(f.frequency, f.outputs) for f in find_families(r, sample(r))] == [(3, 1), (6, 1)]


@pytest.mark.parametrize("name", ["pizza-p59-b", "pizza-p23"])
def test_the_fit_brings_the_closed_form_nearer_and_stays_near_the_neurons(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = read(shipped(name))
    s = sample(r)
    truth, _ = middle_coefficients(r, s)
    found = find_families(r, s)
    monkeypatch.setattr(families, "fit", lambda r, s, start, truth: start)
    start = find_families(r, s)

    def missed(one: list[Family]) -> float:
        return float(max(np.abs(value - truth[j]).max() for j, value in closed_form(r, one, s.deltas).items()))

    assert missed(found) < missed(start) / 2
    assert max(np.abs(f.theta - g.theta).max() for f, g in zip(found, start, strict=True)) < 0.4


def test_noise_and_constants_have_no_families() -> None:
    quiet = pizza(13, [2])
    constant = type(quiet)(13, quiet.A * 1e-3 + 5, quiet.B * 1e-3, quiet.W, None, None, {})
    for circuit in (noise(23, 64), constant):
        r = read(circuit)
        assert find_families(r, sample(r)) == []


@pytest.mark.parametrize(("p", "k", "most"), [(5, 2, 2), (12, 4, 1), (12, 3, 1), (12, 5, 5), (59, 7, 6)])
def test_harmonics_that_would_be_another_one_are_left_out(p: int, k: int, most: int) -> None:
    r = read(pizza(p, [k], n=32))
    (f,) = find_families(r, sample(r))
    assert len(f.theta) == 1 + 4 * most
