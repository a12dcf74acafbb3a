"""Exact products, shifts and rounding against Python integers, at the limits; tables against flint."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verifier.kernel import Reason, Rejected, arrays, balls, tables
from verifier.kernel.arrays import exact_product, largest, require_capacity, rounded, shifted


def array(values: Any) -> Any:
    return np.array(values, dtype=np.int64)


@st.composite
def factors(draw: st.DrawFn) -> tuple[Any, Any]:
    rows, inner, columns = (draw(st.integers(1, 4)) for _ in range(3))
    bits = draw(st.integers(0, 57))
    other = draw(st.integers(0, 57 - bits))

    def matrix(n: int, m: int, top: int) -> Any:
        entry = st.one_of(st.integers(-top, top), st.sampled_from((top, -top, 0, top - 1)))
        return draw(st.lists(st.lists(entry, min_size=m, max_size=m), min_size=n, max_size=n))

    return matrix(rows, inner, 1 << bits), matrix(inner, columns, 1 << other)


@given(factors())
def test_products_are_exact(pair: tuple[Any, Any]) -> None:
    x, y = pair
    found = exact_product(array(x), array(y), "a product")
    assert found.tolist() == [[sum(a * b for a, b in zip(r, c, strict=True)) for c in zip(*y, strict=True)] for r in x]


@pytest.mark.parametrize("inner", [1, 2, 3, 1000])
def test_products_are_refused_just_beyond_their_bound(inner: int) -> None:
    top = ((1 << 62) - 1) // (4 * inner)
    ones = np.ones((inner, 1), dtype=np.int64)
    assert exact_product(np.full((1, inner), top), ones, "x").item() == top * inner
    with pytest.raises(Rejected) as refused:
        exact_product(np.full((1, inner), top + 1), ones, "x")
    assert refused.value.reason is Reason.CAPACITY


def test_every_sum_in_binary64_stays_within_53_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    product = arrays._product

    def watched(x: Any, y: Any) -> Any:
        seen.append(int(np.abs(x).max()) * int(np.abs(y).max()) * x.shape[-1])
        return product(x, y)

    monkeypatch.setattr(arrays, "_product", watched)
    for bits in range(1, 58):
        for inner in (1, 3, 64, 65):
            room = 60 - bits - inner.bit_length()
            if room > 0:
                exact_product(np.full((1, inner), -(1 << bits) + 1), np.full((inner, 1), (1 << room) - 1), "x")
    assert 1 << 50 < max(seen) <= 1 << 53


def test_products_do_not_depend_on_threads() -> None:
    code = (
        "import numpy as np, hashlib; from verifier.kernel.arrays import exact_product as f;"
        "r = np.random.default_rng(1); x = r.integers(-2**28, 2**28, (300, 400));"
        "y = r.integers(-2**21, 2**21, (400, 200));"
        "print(hashlib.sha256(f(x, y, 'x').tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"OPENBLAS_NUM_THREADS": n, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for n in ("1", "2")
    }
    assert len(found) == 1


@given(st.integers(-(1 << 61), 1 << 61), st.integers(0, 61))
def test_rounding(value: int, bits: int) -> None:
    if abs(value) + (1 << bits >> 1) >= 1 << 62:
        return
    values = array([value])
    assert rounded(values, 0) is values
    assert abs(Fraction(int(rounded(array([value]), bits)[0])) - Fraction(value, 1 << bits)) <= Fraction(1, 2)


@example(1 << 62, 0)
@example(1 << 61, 0)
@example(1 << 62, -63)
@given(st.integers(-(1 << 61), 1 << 61), st.integers(-80, 80))
def test_shifts(value: int, bits: int) -> None:
    exact = value << bits if bits >= 0 else value >> -bits
    if abs(exact) >= 1 << 62:
        with pytest.raises(Rejected):
            shifted(array([value]), bits)
    else:
        assert shifted(array([value]), bits).tolist() == [exact]


def test_largest_and_capacity() -> None:
    assert largest(array([])) == 0
    assert largest(array([-(1 << 63), 5])) == 1 << 63
    require_capacity((1 << 62) - 1, "x")
    for bound in (1 << 62, -1):
        with pytest.raises(Rejected):
            require_capacity(bound, "x")


def _distance(cosine: int, sine: int, numerator: int, denominator: int) -> float:
    """In units of 2^-30, from e(numerator/denominator), at 200 bits."""
    before, flint.ctx.prec = flint.ctx.prec, 200
    try:
        s, c = flint.arb.sin_cos_pi_fmpq(flint.fmpq(2 * numerator, denominator))
        one = flint.arb(1 << 30)
        return float((((c * one - cosine) ** 2 + (s * one - sine) ** 2).sqrt()).mid())
    finally:
        flint.ctx.prec = before


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 59, 118, 1000, 8192])
def test_roots_are_within_their_error(size: int) -> None:
    step = max(1, size // 200)
    places = np.arange(-size, 2 * size, step)
    cosines, sines = tables.roots(size, places)
    worst = max(_distance(int(c), int(s), int(m), size) for c, s, m in zip(cosines, sines, places, strict=True))
    assert worst <= tables.TABLE_ERROR


@given(st.integers(0, (1 << 32) - 1))
def test_phases_are_within_their_error(phase: int) -> None:
    for place in (phase, -phase, phase + (1 << 32)):
        cosine, sine = (int(part[0]) for part in tables.phases(array([place])))
        assert _distance(cosine, sine, place, 1 << 32) <= tables.PHASE_ERROR
    assert tables.phases(array([phase])) == tables.phases(array([phase - (1 << 32)]))  # and no digits beyond the fourth


@given(st.lists(st.integers(-(1 << 30), 1 << 30), min_size=4, max_size=4))
def test_the_error_of_a_product_of_points_is_half_a_unit_in_each_part(parts: list[int]) -> None:
    a, b, c, d = parts
    re, im = tables.times((array([a]), array([b])), (array([c]), array([d])))
    for found, exact in ((re, a * c - b * d), (im, a * d + b * c)):
        assert abs(Fraction(int(found[0])) - Fraction(exact, 1 << 30)) <= Fraction(1, 2)
    assert tables.PHASE_ERROR == 4 * tables.TABLE_ERROR + 3  # four factors, and a unit for each of three products


@given(st.integers(0, 1 << 31))
def test_exponentials_are_within_their_error(value: int) -> None:
    found = int(tables.exponentials(array([value]), 24)[0])
    exact = (flint.arb(-value) / flint.arb(1 << 24)).exp() * flint.arb(1 << 30)
    assert abs(float(exact.mid()) - found) <= tables.EXPONENTIAL_ERROR


def test_lengths_are_upper_bounds_and_close() -> None:
    rng = np.random.default_rng(0)
    for bits in (1, 8, 29, 30, 31, 45, 61):
        re, im = rng.integers(-(1 << bits), 1 << bits, (2, 400), dtype=np.int64, endpoint=True)
        re[:4], im[:4] = [0, 1 << bits, 0, -(1 << bits)], [0, 0, 1 << bits, -(1 << bits)]
        for x, y, found in zip(re.tolist(), im.tolist(), arrays.lengths(re, im).tolist(), strict=True):
            assert x * x + y * y <= found * found
            assert found <= math.isqrt(x * x + y * y) + 3 + (1 << bits >> 27)


@given(st.fractions(-100, 100, max_denominator=1000), st.integers(0, 40))
def test_balls_leave_as_integers_rounded_outward(exact: Fraction, bits: int) -> None:
    scaled, value = exact * (1 << bits), flint.arb(flint.fmpq(exact.numerator, exact.denominator))
    assert balls.scaled_floor(value, bits) in (math.floor(scaled), math.ceil(scaled) - 1)
    assert balls.scaled_ceiling(value, bits) in (math.ceil(scaled), math.floor(scaled) + 1)
    assert abs(balls.fixed_point(value, bits) - scaled) <= Fraction(1, 2)
    wide = value + flint.arb(0, 3)
    assert (
        balls.scaled_floor(wide, bits)
        <= scaled - 3 * (1 << bits)
        < scaled + 3 * (1 << bits)
        <= (balls.scaled_ceiling(wide, bits))
    )


def test_balls_of_any_width() -> None:
    whole = flint.arb(101)
    assert balls.scaled_floor(whole, 3) == balls.scaled_ceiling(whole, 3) == balls.fixed_point(whole, 3) == 808
    assert [balls.fixed_point(flint.arb(x, r), 0) for x, r in ((101, 0.7), (-101, 0.7), (100.5, 0.4))] == [
        101,
        -101,
        100,
    ]
    with pytest.raises(Rejected, match="too wide for its"):
        balls.fixed_point(flint.arb(101.5, 0.9), 0)
    for bad in (flint.arb("nan"), flint.arb(2, float("inf"))):
        for rounding in (balls.scaled_ceiling, balls.scaled_floor, balls.fixed_point):
            with pytest.raises(Rejected, match="not finite"):
                rounding(bad, 3)
    with pytest.raises(Rejected, match="too wide to be rounded"):
        balls._integer(flint.arb(0, 1))
    bounds = [flint.arb(2, 1), flint.arb(2.5, 0.125), flint.arb(0, 4)]
    for order in itertools.permutations(bounds):
        assert 2.625 <= float(balls.least_upper(order).mid()) < 2.626
    assert [balls.scaled_floor(balls.dyadic(-3, e), 4) for e in (2, 1, 0, -1, -4)] == [-192, -96, -48, -24, -3]
    assert balls.root(Fraction(9, 4)).contains(flint.arb(1.5))
    assert balls.root(Fraction(9, 4)).rad() < 2.0**-50
    for numerator in (1, 9, 1 - 8 * 10**30):
        cosine, sine = balls.turn(numerator, 8)
        assert cosine.overlaps(flint.arb(0.5).sqrt())
        assert sine.overlaps(cosine)
        assert float(cosine.rad()) < 2.0**-50


def test_balls_have_their_precision_and_give_it_back() -> None:
    before = flint.ctx.prec
    assert balls.with_precision(lambda: flint.ctx.prec)() == 128
    with pytest.raises(ZeroDivisionError):
        balls.with_precision(lambda: 1 // 0)()
    assert flint.ctx.prec == before
