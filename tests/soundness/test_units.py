"""Small functions of the kernel against their definitions, to the unit, far beyond what sampled circuits reach.

The lemma tests ask whether a bound holds. These ask whether each number is the one that the docstring defines: shifts
to both sides, ranges up to the capacity of a lane, ties, and one unit beyond what is allowed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from math import ceil, floor, isqrt, sqrt
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.oracle import kernel, truth, value
from tests.strategies import Case, random_case
from verifier.kernel import Reason, Rejected, arcs, check, circuit, exhaustive, limits, logits, outputs
from verifier.kernel.arcs import Residual, Sums
from verifier.kernel.certificate import Family, Harmonic, Member, read_certificate
from verifier.kernel.circuit import Circuit, Folded, Table
from verifier.kernel.conclusion import Dyadic
from verifier.kernel.cost import Cost
from verifier.kernel.logits import ClosedForm, Inputs
from verifier.kernel.model_file import read_model
from verifier.kernel.outputs import Split, Splitter
from verifier.kernel.packing import CAPACITY, pack, unpack
from verifier.kernel.tables import circle, phase_powers

SMALL = st.integers(-(1 << 28), 1 << 28)
ROWS = st.lists(SMALL, min_size=1, max_size=6)
SHIFTS = st.integers(-70, 40)
AMPLITUDES = st.integers(1, limits.AMPLITUDE)
THRESHOLDS = st.integers(-(1 << 28), 1 << 28)
SEEDS = st.integers(0, 1 << 32)


def _rejected(reason: Reason, call: Callable[[], object]) -> None:
    with pytest.raises(Rejected) as caught:
        call()
    assert caught.value.reason is reason


# Residuals


def _alpha(r: Residual) -> Fraction:
    return r.amplitude * Fraction(2) ** r.shift


def _residual(a: list[int], b: list[int], error: int, amplitude: int, shift: int) -> Residual:
    return Residual(a, b, error, amplitude, shift)


@given(AMPLITUDES, SHIFTS, THRESHOLDS)
def test_half_depth(amplitude: int, shift: int, threshold: int) -> None:
    r = _residual([0], [0], 0, amplitude, shift)
    assert r.half_depth(threshold) == floor(_alpha(r) * Fraction(threshold, 1 << limits.PROFILE_BITS) / 2)


@given(ROWS, ROWS, st.integers(0, 1 << 20), AMPLITUDES, SHIFTS)
def test_reach(a: list[int], b: list[int], error: int, amplitude: int, shift: int) -> None:
    r = _residual(a, b, error, amplitude, shift)
    most = max(map(abs, a + b)) + error
    assert r.reach() == ceil(most * 2 * Fraction(1 << limits.PROFILE_BITS) / _alpha(r))


@given(ROWS, ROWS, st.integers(0, 1 << 20), AMPLITUDES, SHIFTS, THRESHOLDS)
@example([0], [0], 0, 1, 0, 1 << 28)  # deep enough for every residual: no excess at all
def test_excess_and_its_greatest(
    a: list[int], b: list[int], error: int, amplitude: int, shift: int, threshold: int
) -> None:
    r = _residual(a, b, error, amplitude, shift)
    depth = r.half_depth(threshold)
    positive = [[max(0, -x + error - depth) for x in row] for row in (a, b)]
    negative = [[max(0, x + error - depth) for x in row] for row in (a, b)]
    assert r.excess(threshold, True) == tuple(positive)
    assert r.excess(threshold, False) == tuple(negative)
    assert r.most(threshold) == max(chain(*positive, *negative))


@given(st.integers(-(1 << 60), 1 << 60), st.integers(-80, 80))
def test_shifted(value: int, shift: int) -> None:
    assert arcs._shifted(value, shift) == floor(value * Fraction(2) ** shift)


@given(SMALL, SMALL, st.integers(0, 1 << 12), AMPLITUDES, SHIFTS)
def test_turned(re: int, im: int, m: int, amplitude: int, shift: int) -> None:
    table = circle(1 << 12)
    power = (table.cosines[m % (1 << 12)], table.sines[m % (1 << 12)])
    scale = Fraction(2) ** (shift - limits.PROFILE_BITS - limits.TABLE_BITS)
    found = arcs._turned(re, im, power, amplitude, shift)
    assert found[0] == floor(amplitude * (re * power[0] - im * power[1]) * scale)
    assert found[1] == floor(amplitude * (re * power[1] + im * power[0]) * scale)
    assert found[2] == floor(amplitude * (abs(re) + abs(im)) * scale) + 2


@given(SEEDS)
def test_subtract(seed: int) -> None:
    """Up to the last bit a lane holds: what is returned is right, and what does not fit is refused."""
    rng = random.Random(seed)
    p, harmonics = rng.choice((3, 5, 8)), rng.randint(1, 3)
    tables = arcs.waves(p, rng.randint(1, p - 1), harmonics)
    size = 1 << rng.randint(1, 33)
    row = [rng.randint(-size, size) for _ in range(p)]
    terms = []
    for _ in range(harmonics):
        parts = [rng.choice((0, rng.randint(-size, size))) for _ in range(2)]
        terms.append((parts[0], parts[1], rng.randint(0, 99)))
    most = max(map(abs, row)) + sum(abs(re) + abs(im) for re, im, _ in terms)
    if most << limits.TABLE_BITS >= CAPACITY:
        _rejected(Reason.CAPACITY, lambda: arcs._subtract(row, terms, tables))
        return
    found, error = arcs._subtract(row, terms, tables)
    assert error == 2 * sum(x for _, _, x in terms) + ((most - max(map(abs, row))) >> limits.TABLE_BITS) + 2
    for a in range(p):
        exact = row[a] << limits.TABLE_BITS
        for (re, im, _), cosine, sine in zip(terms, tables.cosines, tables.sines, strict=True):
            exact -= re * unpack(cosine, p)[a] + im * unpack(sine, p)[a]
        assert found[a] == exact >> limits.TABLE_BITS


@given(SEEDS)
def test_residuals_are_balanced(seed: int) -> None:
    rng = random.Random(seed)
    p = rng.choice((3, 7, 11))
    row_a, row_b = ([rng.randint(-(1 << 20), 1 << 20) + rng.choice((0, 1 << 22)) for _ in range(p)] for _ in range(2))
    z = [rng.randint(-(1 << 24), 1 << 24) >> rng.choice((0, 3, 24)) for _ in range(4)]
    family = Family(1, rng.randint(-(1 << 24), 1 << 24), (Harmonic(*z),), (), ())
    member = Member(0, rng.randint(1, 1 << 10), rng.randrange(1 << 32))
    tables, shift = arcs.waves(p, 1, 1), rng.choice((8, 20, 21))
    try:
        r = arcs.residual(row_a, row_b, family, member, tables, shift)
    except Rejected as error:
        assert error.reason is Reason.CAPACITY
        return
    parts = [arcs._turned(*pair, phase_powers(member.phase, 1 << 32, 1)[0], member.amplitude, shift)
             for pair in ((z[0], z[1]), (z[2], z[3]))]  # fmt: skip
    errors = [arcs._subtract(row, [part], tables)[1] for row, part in zip((row_a, row_b), parts, strict=True)]
    assert r.error == max(errors) + 2
    assert abs(sum(r.a) - sum(r.b)) <= 3 * p
    assert (r.amplitude, r.shift) == (member.amplitude, shift)


@pytest.mark.parametrize("harmonics", [1, 2, 3])
def test_waves(harmonics: int) -> None:
    found, table = arcs.waves(7, 3, harmonics), circle(7)
    assert found.p == 7
    assert [unpack(x, 7) for x in found.cosines] == [
        [table.cosines[h * 3 * a % 7] for a in range(7)] for h in range(1, harmonics + 1)
    ]
    assert [unpack(x, 7) for x in found.sines] == [
        [-table.sines[h * 3 * a % 7] for a in range(7)] for h in range(1, harmonics + 1)
    ]


# Vectors of one neuron


@given(SEEDS, st.booleans())
def test_weights(seed: int, beyond: bool) -> None:
    rng = random.Random(seed)
    count = rng.randint(1, 4)
    big = 1 << rng.choice((4, 20, 61, 62, 63))
    omega = tuple((rng.randint(-big // 2, big // 2), rng.randint(-big // 2, big // 2)) for _ in range(count))
    size = tuple(isqrt(re * re + im * im) + 1 for re, im in omega)
    split = Split(omega, size, rng.randint(0, big), rng.randint(-big, big))
    largest = 2 * max(*size, split.rest, abs(split.over))
    if largest >= CAPACITY:
        _rejected(Reason.CAPACITY, lambda: arcs.weights(split, beyond))
        return
    found = arcs.weights(split, beyond)
    lanes = 3 * count + 1 + beyond
    parts = [part for pair in omega for part in pair]
    over = [split.over] if beyond else []
    assert unpack(found.signal, lanes) == [2 * x for x in parts] + [0] * count + [split.rest] + over
    assert unpack(found.spread, lanes) == parts + list(size) + [split.rest] + [min(x, 0) for x in over]
    assert found.largest == largest


@given(st.integers(-(1 << 40), 1 << 40), st.integers(-(1 << 40), 1 << 40))
@example(1 << 20, 67)  # 107·67 = 1 mod 256: rounding up adds the most
def test_the_modulus_bound_is_its_formula(re: int, im: int) -> None:
    high, low = max(abs(re), abs(im)), min(abs(re), abs(im))
    assert arcs.abs_bound(re, im) == high + ceil(Fraction(107 * low, 256))
    assert arcs.abs_bounds([re, im], [im, 0]) == [arcs.abs_bound(re, im), abs(im)]


# Arcs and prefix sums


@given(st.lists(st.integers(0, 4), min_size=1, max_size=14))
def test_runs(marks: list[int]) -> None:
    """The arcs of a level hold exactly the cells above it, each once, and no two of them touch."""
    size = len(marks)
    for level, found in enumerate(arcs._runs(marks, 4)):
        cells = [(first + i) % size for first, count in found for i in range(count)]
        assert sorted(cells) == [cell for cell, mark in enumerate(marks) if mark > level]
        for first, count in found:
            assert count == size or marks[(first - 1) % size] <= level >= marks[(first + count) % size]


def _cell_by_cell(family: Family, p: int, cells: int, reach: int) -> tuple[tuple[int, ...], Any, list[Any]]:
    """Lemmas C and I a cell at a time: thresholds, the marks of every cell by δ, and the integrals."""
    size, bits = p * cells, limits.TABLE_BITS
    grid, points = circle(2 * size), circle(p)
    values, slopes, bends = [], [], []
    for delta in range(p):
        row = [family.dc << bits] * size
        reached, bend, error = 0, 4 * abs(family.dc), 0
        for h, z in enumerate(family.profile, start=1):
            m = h * family.frequency * delta % p
            cosine, sine = points.cosines[m], points.sines[m]
            re = floor(Fraction(z.a_re * cosine - z.a_im * sine, 1 << bits)) + z.b_re
            im = floor(Fraction(z.a_re * sine + z.a_im * cosine, 1 << bits)) + z.b_im
            for c in range(size):
                place = h * (2 * c + 1) % (2 * size)
                row[c] += re * grid.cosines[place] - im * grid.sines[place]
            most = arcs.abs_bound(re, im) + 2
            reached, bend = reached + h * most, bend + (h + 2) ** 2 * most
            error += abs(re) + abs(im) + 4 * 2**bits
        values.append(row)
        slopes.append(floor(Fraction(reached * 355 * 2**bits, 113 * size)) + 1 + error)
        bends.append(floor(Fraction(5 * bend * 2**bits, 3 * size * size)) + error)
    lowest = ceil(Fraction(max(slopes), 1 << bits))
    shells = [t for t in family.shells if 0 < t < reach]
    marks, integrals = [], []
    for row, slope, bend in zip(values, slopes, bends, strict=True):
        cuts = [1 - (t << bits) - slope for t in reversed([*shells, reach])] + [0]
        cuts += [(t << bits) + slope for t in [*shells, reach]]
        marks.append([sum(x >= cut for cut in cuts) for x in row])
        active = [max(x, 0) for x in row]
        turned = [2 * (2 * c + 1) % (2 * size) for c in range(size)]
        re, im = (
            floor(Fraction(sum(x * wave[m] for x, m in zip(active, turned, strict=True)) // size, 1 << bits))
            for wave in (grid.cosines, grid.sines)
        )
        rough = sum(abs(x) < slope for x in row)
        table = floor(Fraction(2 * max(active), 1 << bits))
        integrals.append((re, im, bend + 3 * slope * rough // size + table + 6))
    return (-lowest, *shells), marks, integrals


@given(SEEDS)
def test_the_profile_on_the_cells(seed: int) -> None:
    rng = random.Random(seed)
    p, cells, harmonics = rng.choice((3, 5, 8)), rng.randint(1, 3), rng.randint(1, 3)
    scale = rng.choice((9, 1 << 20, 1 << 24))
    profile = tuple(
        Harmonic(*(rng.choice((0, rng.randint(-scale, scale))) for _ in range(4))) for _ in range(harmonics)
    )
    shells = tuple(sorted(rng.sample(range(1, 1 << 25), rng.randint(0, 3))))
    family = Family(rng.randint(1, p - 1), rng.randint(-scale, scale), profile, shells, ())
    reach = rng.choice((1, rng.randint(1, 1 << 26)))
    found = arcs.profile_arcs(family, p, cells, reach)
    thresholds, marks, integrals = _cell_by_cell(family, p, cells, reach)
    assert found.thresholds == thresholds
    assert [(x.re, x.im, x.error) for x in found.integrals] == integrals
    levels = 2 * len(thresholds) + 1
    assert len(found.arcs) == levels
    for level in range(levels):
        assert found.arcs[level] == tuple(arcs._runs(marks[delta], levels)[level] for delta in range(p))


def test_a_profile_that_does_not_fit_a_lane_is_refused() -> None:
    """Lanes hold |dc| + Σ(|re| + |im|) in units of 2^-54; twice Σ h·|u_h| stands for the sum."""
    most = CAPACITY >> limits.TABLE_BITS
    steepest = arcs.abs_bound(1000, 0) + 2

    def arcs_of(dc: int) -> object:
        return arcs.profile_arcs(Family(1, dc, (Harmonic(0, 0, 1000, 0),), (), ()), 3, 1, 1)

    arcs_of(most - 2 * steepest - 1)
    arcs_of(1 + 2 * steepest - most)
    _rejected(Reason.CAPACITY, lambda: arcs_of(most - 2 * steepest))
    _rejected(Reason.CAPACITY, lambda: arcs_of(2 * steepest - most))


@given(st.lists(st.integers(0, 9), max_size=12))
def test_counts(cells: list[int]) -> None:
    found = arcs._counts(cells, 10)
    assert found == [sum(q + 10 * turn < c for q in cells for turn in range(3)) for c in range(31)]


def _sums_of(arc: tuple[int, int], cell: int, size: int) -> bool:
    return (cell - arc[0]) % size < arc[1]


@given(SEEDS)
def test_prefix_sums_over_arcs(seed: int) -> None:
    """Against neuron by neuron: several arcs a level, whole circles, neurons in one cell, both parts."""
    rng = random.Random(seed)
    p, per, k = rng.choice((3, 5, 7)), rng.choice((1, 2, 4)), rng.randint(1, 2)
    size, stride, n, levels = p * per, k * per, rng.randint(1, 6), 3
    cells = sorted(rng.randrange(size) for _ in range(n))
    marks = [[rng.randint(0, levels) for _ in range(size)] for _ in range(p)]
    by_delta = [arcs._runs(found, levels) for found in marks]
    found = tuple(tuple(by_delta[delta][level] for delta in range(p)) for level in range(levels))
    signals, spreads = ([rng.randint(-99, 99) for _ in range(n)] for _ in range(2))
    steps = [[tuple(rng.choice((0, rng.randint(-9, 9))) for _ in range(n)) for _ in range(p)] for _ in range(levels)]
    inputs = [tuple(rng.randint(-9, 9) for _ in range(n)) for _ in range(p)]
    for moving in (0, stride):
        part = [[0] * p for _ in range(p)]
        slots = [arcs._slots(arc, moving, size) for arc in found]
        arcs._add_arcs(part, slots, steps, inputs, signals, spreads, arcs._counts(cells, size), stride)
        for x in range(p):
            for delta in range(p):
                expected = 0
                for level in range(levels):
                    for arc in found[level][delta]:
                        for i, cell in enumerate(cells):
                            if _sums_of(arc, cell + stride * x - moving * delta, size):
                                expected += spreads[i] * steps[level][x][i]
                                expected += signals[i] * inputs[x][i] if level == 1 else 0
                assert part[x][delta] == expected


@given(SEEDS)
def test_steps_are_the_changes_from_level_to_level(seed: int) -> None:
    rng = random.Random(seed)
    thresholds = (-rng.randint(1, 1 << 20), *sorted(rng.sample(range(1, 1 << 24), rng.randint(0, 3))))
    found = []
    for _ in range(rng.randint(1, 3)):
        a, b = ([rng.randint(-(1 << 20), 1 << 20) for _ in range(4)] for _ in range(2))
        found.append(Residual(a, b, rng.randint(0, 9), rng.randint(1, 99), rng.randint(-6, -2)))
    parts = arcs._steps(found, thresholds)
    for part, steps in enumerate(parts):
        assert len(steps) == 2 * len(thresholds) + 1
        for i, r in enumerate(found):
            levels = [r.excess(t, False)[part] for t in reversed(thresholds)]
            levels += [r.excess(t, True)[part] for t in thresholds]
            for x in range(4):
                total = 0
                for level, expected in enumerate([*levels, [0] * 4]):
                    total += steps[level][x][i]
                    assert total == expected[x]


@given(SEEDS)
def test_on_off_and_outlier_bounds_grow_the_capacity(seed: int) -> None:
    """`Sums.bound` is at least every lane, and exactly largest·(most of what is added)."""
    rng = random.Random(seed)
    p = 3
    row_a, row_b = ([rng.randint(-99, 99) for _ in range(p)] for _ in range(2))
    split = Split(((rng.randint(-9, 9), rng.randint(-9, 9)),), (rng.randint(13, 20),), rng.randint(0, 30), 0)
    vector = arcs.weights(split, False)
    reach = max(map(abs, row_a)) + max(map(abs, row_b))
    for add in ("on", "off", "outlier"):
        sums = Sums(p, 4)
        if add == "outlier":
            arcs.add_outlier(sums, row_a, row_b, vector)
            arcs.add_outlier(sums, row_a, row_b, vector)
            assert sums.bound == 2 * vector.largest * reach
            expected = [[2 * max(0, x + y) for y in row_b] for x in row_a]
            for delta in range(p):
                lanes = sums.at_offset(delta)
                for b in range(p):
                    ones = expected[(b + delta) % p][b]
                    assert [lane[b] for lane in lanes] == [ones * w for w in unpack(vector.signal, 4)]
            continue
        arcs.add_fixed(sums, row_a, row_b, vector, add == "on")
        assert vector.largest * reach <= sums.bound <= 3 * vector.largest * (reach + 1)
        move = ((min(row_b) - min(row_a)) if add == "on" else (max(row_b) - max(row_a))) // 2
        sign = 1 if add == "on" else -1
        excess_a = [max(0, -sign * (x + move)) for x in row_a]
        excess_b = [max(0, -sign * (y - move)) for y in row_b]
        assert sums.bound == vector.largest * (reach + max(excess_a) + max(excess_b))
        for delta in range(p):
            lanes = sums.at_offset(delta)
            for b in range(p):
                a = (b + delta) % p
                base, spread = (row_a[a] + row_b[b]) * (add == "on"), excess_a[a] + excess_b[b]
                assert [lane[b] for lane in lanes] == [
                    s * base + u * spread
                    for s, u in zip(unpack(vector.signal, 4), unpack(vector.spread, 4), strict=True)
                ]


def test_sums_that_may_not_fit_a_lane_are_refused() -> None:
    sums = Sums(3, 1)
    sums.bound = CAPACITY - 1
    sums.at_offset(0)
    sums.bound = CAPACITY
    _rejected(Reason.CAPACITY, lambda: sums.at_offset(0))


@given(SEEDS, st.integers(-40, 30))
def test_lifted(seed: int, lift: int) -> None:
    """Rows known up to a coarse unit: in the finer or coarser units, every bound covers what the rounding hid."""
    rng = random.Random(seed)
    omega = tuple(
        (rng.randint(-(1 << 20), 1 << 20), rng.randint(-(1 << 20), 1 << 20)) for _ in range(rng.randint(1, 3))
    )
    size = tuple(isqrt(re * re + im * im) + 1 for re, im in omega)
    split = Split(omega, size, rng.randint(0, 1 << 20), rng.randint(-(1 << 20), 1 << 20))
    found, unit = arcs._lifted(split, lift), Fraction(2) ** lift
    lost = Fraction(0)
    for (re, im), (new_re, new_im), bound in zip(omega, found.omega, found.size, strict=True):
        assert 0 <= re * unit - new_re < 1
        assert 0 <= im * unit - new_im < 1
        assert bound * bound >= new_re * new_re + new_im * new_im
        assert bound <= sqrt(re * re + im * im) * float(unit) + 4 + float(unit)
        lost += (re * unit - new_re) + (im * unit - new_im)
    # |Σ Re[(ω − ω′)e]| <= lost, at both ends of the range of V; and one unit for the rows' rounding.
    assert (split.rest + 1) * unit + 2 * lost <= found.rest <= (split.rest + 1) * unit + 4 * len(omega) + 1
    assert (split.over - 1) * unit - 2 * lost - 4 * len(omega) - 1 <= found.over <= (split.over - 1) * unit - lost


# Fixed point


@given(st.lists(st.integers(-(1 << 60), 1 << 60), min_size=1, max_size=8), st.integers(-200, 60),
       st.sampled_from((1, 2, 3, 7, 12, 16, 1 << 20)), st.integers(1, 40))  # fmt: skip
def test_scale_and_quantise(values: list[int], exponent: int, denominator: int, bits: int) -> None:
    scale = circuit._scale(((values, exponent), ([0, 0], 999)), denominator, bits)
    unit = Fraction(2) ** scale
    if not any(values):
        assert scale == bits
    else:
        largest = max(map(abs, values)) * Fraction(2) ** exponent / denominator * unit
        assert Fraction(2) ** (bits - 3) <= largest < Fraction(2) ** bits
    assert circuit._quantise(values, exponent, denominator, scale) == [
        floor(x * Fraction(2) ** exponent / denominator * unit) for x in values
    ]


@given(st.fractions(), st.integers(-90, 90))
def test_ceil_units(value: Fraction, scale: int) -> None:
    assert circuit.ceil_units(value, scale) == ceil(value * Fraction(2) ** scale)


@given(SEEDS)
def test_fixed_point_errors_are_lemma_k_to_the_unit(seed: int) -> None:
    rng = random.Random(seed)
    p, n, q = 3, rng.randint(1, 4), rng.choice((3, 5))
    tables = {
        name: Table([rng.randint(-(1 << 24), 1 << 24) for _ in range(rows * columns)], rng.randint(-30, 6))
        for name, rows, columns in (("a", n, p), ("b", n, p), ("w", n, q), ("s1", p, q), ("s2", p, q))
    }
    moved = [Fraction(rng.randint(0, 1 << 20), 1 << 22) for _ in range(n)] if rng.random() < 0.5 else []
    folded = Folded(**tables, denominator=rng.choice((1, 3, 8)), pre_slack=moved,
                    skip_slack=Fraction(rng.randint(0, 9), 7), value_size=[], stream_size=[])  # fmt: skip
    c = circuit.quantise(folded, p, Cost())
    slack = [ceil(x * 2**c.pre_scale) if c.pre_scale >= 0 else ceil(x / 2**-c.pre_scale) for x in moved] or [0] * n
    assert c.pre_slack == slack
    skip = ceil(folded.skip_slack * Fraction(2) ** (c.pre_scale + c.out_scale)) + 2
    single, difference = skip, 2 * skip
    for i in range(n):
        h = max(0, max(c.pre_a[i]) + max(c.pre_b[i]))
        single += (max(map(abs, c.out[i])) + 1) * (2 + slack[i]) + h
        difference += (max(c.out[i]) - min(c.out[i]) + 2) * (2 + slack[i]) + 2 * h
    assert (c.logit_error, c.difference_error) == (single, difference)
    assert (c.p, c.outputs, c.neurons, c.parameters) == (p, q, n, n * (2 * p + q) + 2 * p * q)
    for rows, table, width, scale in (
        (c.pre_a, tables["a"], p, c.pre_scale), (c.pre_b, tables["b"], p, c.pre_scale),
        (c.skip_a, tables["s1"], q, c.pre_scale + c.out_scale), (c.skip_b, tables["s2"], q, c.pre_scale + c.out_scale),
    ):  # fmt: skip
        exact = [x * Fraction(2) ** (table.exponent + scale) / folded.denominator for x in table.entries]
        assert [x for row in rows for x in row] == [floor(x) for x in exact]
        assert all(len(row) == width for row in rows)
    exact = [x * Fraction(2) ** (tables["w"].exponent + c.out_scale) for x in tables["w"].entries]
    assert [x for row in c.out for x in row] == [floor(x) for x in exact]


# Outputs


@given(SEEDS)
def test_split_rows(seed: int) -> None:
    """ω may be anything; rest and over are the exact ones of that ω, rounded outward, up to two units."""
    rng = random.Random(seed)
    p, q = 7, rng.choice((7, 9))
    frequencies = tuple(rng.sample((1, 2, 3), rng.randint(1, 3)))
    drop = rng.choice((0, 4, 8))
    splitter = Splitter(p, frequencies, drop)
    rows = [[rng.randint(-(1 << 26), 1 << 26) for _ in range(q)] for _ in range(2)]
    table, unit = circle(p), 1 << limits.TABLE_BITS
    for row, split in zip(rows, splitter.split(rows, Cost(), "test"), strict=True):
        rest = []
        for c in range(p):
            value = Fraction(row[c] << limits.TABLE_BITS, 1 << drop)
            for j, (re, im) in zip(frequencies, split.omega, strict=True):
                m = j * c % p
                value -= re * table.cosines[m] - im * table.sines[m]
            rest.append(value / unit)
        slack = Fraction(sum(abs(x) for pair in split.omega for x in pair) + 1, unit)
        exact = max(rest) - min(rest) + 2 * slack
        assert split.rest == ceil(exact)
        beyond = max(row[p:], default=0)
        assert split.over == (floor(min(rest) - slack - Fraction(beyond, 1 << drop)) if q > p else 0)
        assert split.size == tuple(isqrt(re * re + im * im) + 1 for re, im in split.omega)
        for j, (re, im) in zip(frequencies, split.omega, strict=True):
            exact_re, exact_im = _fourier(row[:p], j)
            distance = abs(complex(exact_re, exact_im) / (1 << drop) - complex(re, im))
            assert distance < math.sqrt(2) * (1 + 128.2 / (1 << drop))


def _fourier(row: list[int], j: int) -> tuple[float, float]:
    """Real and imaginary part of (2/p)·Σ_c row[c]·e(−jc/p)."""
    p = len(row)
    parts = [(math.cos(2 * math.pi * j * c / p), -math.sin(2 * math.pi * j * c / p)) for c in range(p)]
    return (
        2 / p * math.fsum(x * wave for x, (wave, _) in zip(row, parts, strict=True)),
        2 / p * math.fsum(x * wave for x, (_, wave) in zip(row, parts, strict=True)),
    )


@given(SEEDS)
def test_what_the_fit_of_skips_leaves(seed: int) -> None:
    """`fit` bounds the distance of the skips' lanes from the Fourier coefficients of the skips, at every input."""
    rng = random.Random(seed)
    p, drop = 5, rng.choice((8, 11))
    big = 1 << rng.choice((3, 20, 30, 45))
    one, two = ([[rng.randint(-big, big) for _ in range(p)] for _ in range(p)] for _ in range(2))
    c = Circuit(p, p, 0, [], [], [], one, two, 0, 0, 0, [], 0, 0)
    sums = Sums(p, 3 * 2 + 1)
    fit = arcs.add_skip(sums, c, (1, 2), drop, Cost())[2]
    for delta in range(p):
        lanes = sums.at_offset(delta)
        for b in range(p):
            for index, j in enumerate((1, 2)):
                coefficients = (_fourier(one[(b + delta) % p], j), _fourier(two[b], j))
                exact = 2 * sum(complex(*x) for x in coefficients) / (1 << drop)
                found = complex(lanes[2 * index][b], lanes[2 * index + 1][b])
                assert abs(exact - found) <= fit


def test_output_weights_that_do_not_fit_are_refused() -> None:
    splitter = Splitter(3, (1,), 0)
    waves = [(pack([1 << 30, -(1 << 29), -(1 << 29)]), pack([0, -929887697, 929887697]))]
    most = (CAPACITY >> limits.TABLE_BITS) - 1
    splitter._split_row([most - 1, 0, 1 - most], [0, 0], waves)
    _rejected(Reason.CAPACITY, lambda: splitter._split_row([most, 0, 0], [0, 0], waves))
    _rejected(Reason.CAPACITY, lambda: splitter._split_row([-most, 0, 0], [0, 0], waves))
    splitter._split_row([0, 0, 0], [most - 2, 0], waves)
    _rejected(Reason.CAPACITY, lambda: splitter._split_row([0, 0, 0], [0, most], waves))
    _rejected(Reason.CAPACITY, lambda: splitter._split_row([0, 0, 0], [most, 0], waves))


@pytest.mark.parametrize("neurons", [1, 2, 8191, 8192, 65535])
def test_dropped_bits(neurons: int) -> None:
    bits = outputs.drop_for(neurons)
    assert bits == max(8, neurons.bit_length() - 5)


# Logits


def _inputs(rng: random.Random, p: int, count: int) -> Inputs:
    big = 1 << rng.choice((3, 20, 61))
    turned = [[rng.randint(-big, big) for _ in range(p)] for _ in range(2 * count)]
    radii = [[rng.randint(0, big) for _ in range(p)] for _ in range(count)]
    return Inputs(
        turned,
        [(min(x), max(x)) for x in turned],
        radii,
        [rng.randint(0, big) for _ in range(p)],
        [rng.randint(-big, big) for _ in range(p)],
    )


@given(SEEDS, st.booleans(), st.integers(0, 6))
def test_margins_of_an_offset(seed: int, beyond: bool, critical: int) -> None:
    """Every margin is the least of the bounds that were asked for, and no bound is above the d it stands for."""
    rng = random.Random(seed)
    p, frequencies = 7, tuple(rng.sample((1, 2, 3), rng.randint(1, 3)))
    inputs, toward = _inputs(rng, p, len(frequencies)), logits.directions(p, frequencies)
    needed = rng.choice((-(1 << 100), 0, 1 << 60))
    found, evaluated = logits._margins(inputs, toward, critical, beyond, needed)
    size = sum(max(map(abs, column)) for column in inputs.turned)
    exact = []
    for b in range(p):
        vector = [column[b] for column in inputs.turned] + [column[b] for column in inputs.radii]
        vector.append((inputs.rest[b] << limits.TABLE_BITS) + size)
        exact.append([sum(x * y for x, y in zip(vector, row, strict=True)) for row in toward.rows])
    others = [
        (sum(column[b] for column in inputs.turned[::2]) - sum(column[b] for column in inputs.radii)
         + 2 * inputs.over[b]) << limits.TABLE_BITS
        for b in range(p)
    ]  # fmt: skip
    assert logits._beyond_margins(inputs) == others
    assert 0 <= evaluated <= min(critical, p - 1)
    for b in range(p):
        truth = min(exact[b] + ([others[b]] if beyond else []))
        assert found[b] <= truth
        if critical >= p - 1 and evaluated == p - 1:
            assert found[b] == truth


@given(SEEDS)
def test_directions(seed: int) -> None:
    rng = random.Random(seed)
    p = rng.choice((3, 5, 8, 11))
    frequencies = tuple(rng.sample(range(1, p), rng.randint(1, min(3, p - 1))))
    table, one = circle(p), 1 << limits.TABLE_BITS
    found = logits.directions(p, frequencies)
    assert len(found.rows) == p - 1
    for d, row in enumerate(found.rows, start=1):
        pairs = [(one - table.cosines[j * d % p], table.sines[j * d % p]) for j in frequencies]
        sizes = [-isqrt((x + 1) ** 2 + (abs(y) + 1) ** 2) - 1 for x, y in pairs]
        assert list(row) == [*chain.from_iterable(pairs), *sizes, -1]


# The checker


@given(st.integers(-40, 200), st.integers(0, 30), st.integers(0, 1 << 80), st.integers(0, 90), st.integers(1, 3))
def test_units_of_the_conclusion(scale: int, drop: int, number: int, bits: int, factor: int) -> None:
    units = kernel._Units(scale, drop)
    lane, margin = Fraction(2) ** units.lane_exponent, Fraction(2) ** units.margin_exponent
    value = number * Fraction(2) ** -scale
    assert lane == Fraction(2) ** -(scale - drop + 1)
    assert margin == lane / (1 << limits.TABLE_BITS)
    assert units.margin(number) * margin == value
    assert units.margin(-number) * margin == -value
    assert units.doubled(number) == ceil(value / lane)
    assert units.margin_of(number, bits, factor) == ceil(factor * number * Fraction(2) ** -bits / margin)


def _refined(seed: int) -> tuple[Case, list[list[Fraction]]]:
    case = replace(random_case(random.Random(seed)), strategy="refined", semantics="real")
    return case, truth(case).margins()


def test_refinement_spends_what_the_claim_allows_and_no_more() -> None:
    """Enough budget certifies every input that the fixed-point circuit gets right."""
    moved = 0
    for seed in range(60):
        case, exact = _refined(seed)
        try:
            linear = check(*replace(case, strategy="linear").files())
        except Rejected:
            continue
        total, count = case.p**2, len(case.certificate["output_frequencies"])
        price, full = case.p * (3 * count + 1), len(case.A) * (len(case.W[0]) + 1)
        failing, certified = total - linear.accuracy.linear, 0
        for budget in (0, 1, 3, 1 << 20):
            found = check(*replace(case, budget=budget).files())
            spent, most = found.operations["refinement"], budget * found.parameters
            assert spent <= most
            assert found.accuracy.linear == linear.accuracy.linear
            assert found.accuracy.certified_inputs == found.accuracy.linear + found.accuracy.refined
            assert found.accuracy.certified_inputs >= linear.accuracy.linear
            certified = found.accuracy.certified_inputs
            looked = failing if failing * price <= most else most // price
            assert spent >= looked * price
            left = total - found.accuracy.certified_inputs
            assert left == 0 or spent + full > most or budget == 1 << 20
            if budget == 0:
                assert found.margins == linear.margins
            for row, line in zip(found.margins, exact, strict=True):
                for bound, margin in zip(row, line, strict=True):
                    assert bound * Fraction(2) ** found.margin_exponent <= margin
        error = linear.logits.budget["fixed_point"]
        assert isinstance(error, Dyadic)
        sure = sum(margin > 8 * value(error) for line in exact for margin in line)
        assert certified >= sure
        moved += certified > linear.accuracy.linear
    assert moved >= 10


def test_outliers_are_refused_where_they_are_brute_force() -> None:
    """At most `OUTLIER_COST` evaluations per parameter, counted to the input."""
    case = random_case(random.Random(1))
    model = circuit.quantise(circuit.fold(read_model(case.model)), case.p, Cost())
    certificate = read_certificate(case.files()[2])
    most = limits.OUTLIER_COST * model.parameters // case.p**2
    kernel._require_linear(replace(certificate, outliers=tuple(range(most))), model)
    _rejected(
        Reason.BUDGET,
        lambda: kernel._require_linear(replace(certificate, outliers=tuple(range(most + 1))), model),
    )


@given(SEEDS)
def test_the_exhaustive_deviation(seed: int) -> None:
    """Half the range of logits minus closed form, to the unit, and the closed form's error on both sides of it."""
    rng = random.Random(seed)
    p, drop, bits = rng.choice((3, 5)), rng.choice((8, 11)), limits.TABLE_BITS
    n, big = rng.randint(1, 3), 1 << rng.choice((4, 26))
    pre_a, pre_b = ([[rng.randint(-big, big) for _ in range(p)] for _ in range(n)] for _ in range(2))
    out = [[rng.randint(-big, big) for _ in range(p)] for _ in range(n)]
    skip_a, skip_b = ([[rng.randint(-big, big) for _ in range(p)] for _ in range(p)] for _ in range(2))
    c = Circuit(p, p, n, pre_a, pre_b, out, skip_a, skip_b, 0, 0, 0, [0] * n, 0, 0)
    size = 1 << rng.choice((2, 20, 50))
    terms = {
        k: [(rng.randint(-size, size), rng.randint(-size, size), rng.randint(0, size)) for _ in range(p)]
        for k in rng.sample(range(1, p // 2 + 1), rng.randint(1, p // 2))
    }
    found = exhaustive.exhaustive(c, ClosedForm(terms), drop, Cost(), lambda *_: None)
    table, worst, unit = circle(p), 0, 0
    for delta in range(p):
        error = sum(off + ((abs(re) + abs(im)) >> bits) + 1 for re, im, off in (row[delta] for row in terms.values()))
        unit = max(unit, ((error + 2) << drop) + 1)
    for a in range(p):
        for b in range(p):
            hidden = [max(0, pre_a[i][a] + pre_b[i][b]) for i in range(n)]
            row = [
                skip_a[a][t] + skip_b[b][t] + sum(h * w[t] for h, w in zip(hidden, out, strict=True)) for t in range(p)
            ]
            gaps = []
            for t in range(p):
                form = 0
                for k, values in terms.items():
                    m = k * (t - a - b) % p
                    re, im, _ = values[(a - b) % p]
                    form += re * table.cosines[m] - im * table.sines[m]
                gaps.append(row[t] - floor(Fraction(form << drop, 1 << (bits + 1))))
            worst = max(worst, max(gaps) - min(gaps))
            right = (a + b) % p
            assert found.margins[a][b] == row[right] - max(x for t, x in enumerate(row) if t != right)
    assert found.deviation == ceil(Fraction(worst, 2)) + unit
    assert found.deviation_below == max(0, worst // 2 - unit)


# The terms of Theorem L


@given(SEEDS)
def test_the_closed_form_and_its_error(seed: int) -> None:
    """Integral times moment, doubled, then turned: products and errors to the unit, families of a frequency added."""
    rng = random.Random(seed)
    p, shift = rng.choice((3, 5)), limits.PROFILE_BITS + limits.TABLE_BITS - 1
    frequencies = [rng.randint(1, 2) for _ in range(rng.randint(1, 3))]
    big = 1 << rng.choice((5, 54, 58))
    integrals = [
        tuple(arcs.Integral(rng.randint(-big, big), rng.randint(-big, big), rng.randint(0, big)) for _ in range(p))
        for _ in frequencies
    ]
    moments = [(rng.randint(-(1 << 40), 1 << 40), rng.randint(-(1 << 40), 1 << 40)) for _ in frequencies]
    families = tuple(Family(k, 0, (), (), ()) for k in frequencies)
    certificate: Any = SimpleNamespace(families=families)
    arc = arcs.ArcSums(Sums(p, 1), [], 0, (0, 0), 0, tuple(integrals))
    found = logits.closed_form(arc, certificate, moments, p, Cost())
    table, unit = circle(p), 1 << shift
    assert sorted(found.terms) == sorted(set(frequencies))
    for k, terms in found.terms.items():
        for delta, term in enumerate(terms):
            re = im = error = 0
            for family, (q_re, q_im), row in zip(families, moments, integrals, strict=True):
                s = row[delta]
                if family.frequency == k:
                    re += floor(Fraction(s.re * q_re - s.im * q_im, unit))
                    im += floor(Fraction(s.re * q_im + s.im * q_re, unit))
                    reach = (abs(q_re) + abs(q_im) + 2) * s.error + 2 * (abs(s.re) + abs(s.im))
                    error += floor(Fraction(reach, unit)) + 4
            m = k * delta % p
            assert term == (
                floor(Fraction(re * table.cosines[m] - im * table.sines[m], 1 << limits.TABLE_BITS)),
                floor(Fraction(re * table.sines[m] + im * table.cosines[m], 1 << limits.TABLE_BITS)),
                error + floor(Fraction(2 * (abs(re) + abs(im)), 1 << limits.TABLE_BITS)) + 3,
            )
        sizes = [isqrt(re * re + im * im) - error for re, im, error in terms]
        assert found.amplitude(k) == max(0, *sizes)


@given(SEEDS)
def test_terms_where_there_is_no_family(seed: int) -> None:
    """At an output frequency of no family all that is written counts: the largest, over inputs and offsets."""
    rng = random.Random(seed)
    p = 7
    terms = logits._Terms([], ClosedForm({}), (1, 3), p)
    most, direct = [0, 0], 0
    for delta in range(3):
        inputs = _inputs(rng, p, 2)
        terms.add(inputs, delta)
        sizes = [arcs.abs_bounds(*inputs.turned[2 * j : 2 * j + 2]) for j in range(2)]
        most = [max(x, *column) for x, column in zip(most, sizes, strict=True)]
        for b in range(p):
            rest = ceil(Fraction(inputs.rest[b], 2)) + sum(column[b] for column in inputs.radii)
            direct = max(direct, rest + sum(column[b] for column in sizes))
    assert terms.other == {1: most[0], 3: most[1]}
    assert terms.direct == direct
    found, budget, _ = terms.result((0, 0))
    assert budget.other == terms.other
    assert found == min(direct, sum(most) + budget.band + budget.output)


@given(SEEDS, st.booleans())
def test_the_margin_of_one_input(seed: int, beyond: bool) -> None:
    rng = random.Random(seed)
    p, frequencies = 7, tuple(rng.sample((1, 2, 3), rng.randint(1, 3)))
    count, rows = len(frequencies), logits.directions(7, frequencies).rows
    big = 1 << rng.choice((3, 20, 61))
    x = logits.Input([rng.randint(-big, big) for _ in range(2 * count)], [rng.randint(0, big) for _ in range(count)],
                     rng.randint(0, big), rng.randint(-big, big))  # fmt: skip
    tail = (x.rest << limits.TABLE_BITS) + sum(abs(value) for value in x.turned)
    found = [sum(v * w for v, w in zip([*x.turned, *x.radii, tail], row, strict=True)) for row in rows]
    if beyond:
        found.append((sum(x.turned[::2]) - sum(x.radii) + 2 * x.over) << limits.TABLE_BITS)
    assert len(rows) == p - 1
    assert logits.full_margin(x, rows, beyond) == min(found)
