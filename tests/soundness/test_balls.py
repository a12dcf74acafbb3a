"""Balls, tables and packed vectors, tested as flint tests itself: a random ball, a rational inside it (endpoints
favoured), the operation, the exact result inside; two precisions overlap; functional equations.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from typing import Any

import flint
import mpmath
import pytest
from flint import arb, fmpq
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import PHASE, Inside, insides, phases, rationals
from verifier.kernel import Reason, Rejected, balls, limits, packing, tables
from verifier.kernel.balls import Ball, ExactMatrix


def dyadic(x: Ball) -> Fraction:
    """An exact ball as a rational."""
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def enclosure(x: Ball) -> tuple[Fraction, Fraction]:
    with flint.ctx.workprec(4000):  # lower() and upper() round outward to the precision in force
        return dyadic(x.lower()), dyadic(x.upper())


def from_ends(ends: Inside) -> Ball:
    """A ball that contains [low, high], and little else: flint rounds the radius up to 30 bits."""
    middle, radius = (ends.low + ends.high) / 2, (ends.high - ends.low) / 2
    with flint.ctx.workprec(4000):
        return arb(fmpq(middle.numerator, middle.denominator)) + arb(0, arb(fmpq(radius.numerator, radius.denominator)))


def contains(x: Ball, value: Fraction) -> bool:
    low, high = enclosure(x)
    return low <= value <= high


@given(insides(), insides())
def test_arithmetic_contains(x: Inside, y: Inside) -> None:
    """+, −, ·, / of balls contain the exact result for any members, at the kernel's precision and at a lower one."""
    operations: list[Callable[..., Any]] = [operator.add, operator.sub, operator.mul]
    if not y.low <= 0 <= y.high:
        operations.append(operator.truediv)
    for operation in operations:
        results = []
        for precision in (limits.PRECISION, 40):
            with flint.ctx.workprec(precision):
                results.append(operation(from_ends(x), from_ends(y)))
        exact = operation(x.value, y.value)
        for result in results:
            assert not result.is_finite() or contains(result, exact), (operation, x, y, result)
        assert results[0].overlaps(results[1])


@given(insides())
def test_absolute_value_and_bounds_contain(x: Inside) -> None:
    ball = from_ends(x)
    assert contains(abs(ball), abs(x.value))
    assert dyadic(ball.upper()) >= x.value >= dyadic(ball.lower())
    assert dyadic(balls.greatest([ball])) >= x.value
    assert dyadic(balls.greatest([ball])) >= 0
    assert contains(balls.total([ball, ball, ball]), 3 * x.value)


@given(insides(), insides())
def test_comparison_is_proof(x: Inside, y: Inside) -> None:
    """True only when it holds for all members; and it is True when that is so with certainty."""
    proved = balls.proved_le(from_ends(x), from_ends(y))
    assert not proved or x.high <= y.low
    assert proved or x.high + (x.high - x.low + y.high - y.low) / 2**25 >= y.low


@given(insides(), insides())
def test_least_upper(x: Inside, y: Inside) -> None:
    least = balls.least_upper([from_ends(x), from_ends(y)])
    assert enclosure(least)[0] == enclosure(least)[1]
    assert min(x.high, y.high) <= dyadic(least)
    assert dyadic(least) - min(x.high, y.high) <= abs(dyadic(least)) / 2**25 + Fraction(1, 2**60) * (1 + abs(x.high))


@given(rationals())
def test_ball_of_a_rational(x: Fraction) -> None:
    assert contains(balls.ball(x), x)
    assert contains(balls.ball(x.numerator), Fraction(x.numerator))


@given(insides(), st.integers(-40, 60))
def test_scaling_is_outward(x: Inside, bits: int) -> None:
    bits = max(bits, 0)
    ball = from_ends(x)
    with flint.ctx.workprec(256):
        ceiling, floor = balls.scaled_ceiling(ball, bits), balls.scaled_floor(ball, bits)
    assert Fraction(floor) <= x.value * 2**bits <= Fraction(ceiling)
    wider = 1 + (x.high - x.low) * 2**bits / 2**25
    assert ceiling - x.high * 2**bits <= wider
    assert x.low * 2**bits - floor <= wider


@given(rationals(), st.integers(0, 60))
def test_fixed_point_is_within_a_unit(x: Fraction, bits: int) -> None:
    try:
        with flint.ctx.workprec(256):
            m = balls.fixed_point(balls.ball(x), bits)
    except Rejected as error:
        assert error.reason is Reason.NOT_PROVED
        assert abs(x) * 2**bits > 2**100
        return
    assert abs(x * 2**bits - m) <= 1


def test_what_is_not_finite_or_too_wide_is_refused() -> None:
    infinite, wide = arb("inf"), arb(0, 10)
    for call in (
        lambda: balls.scaled_ceiling(infinite, 3),
        lambda: balls.scaled_floor(arb("nan"), 3),
        lambda: balls.greatest([infinite]),
        lambda: balls.fixed_point(wide, 0),
        lambda: balls._integer(arb(1) / 3),
    ):
        with pytest.raises(Rejected) as caught:
            call()
        assert caught.value.reason is Reason.NOT_PROVED


@given(st.integers(-(1 << 70), 1 << 70), st.integers(1, 1 << 40))
def test_turn_contains_and_lies_on_the_circle(numerator: int, denominator: int) -> None:
    with flint.ctx.workprec(limits.PRECISION):
        z = balls.turn(numerator, denominator)
        square = z.real * z.real + z.imag * z.imag
        twice = balls.turn(2 * numerator, denominator)
        back = balls.turn(-numerator, denominator)
    assert contains(square, Fraction(1))
    assert twice.overlaps(z * z)
    assert back.overlaps(z.conjugate())
    with mpmath.workdps(60):
        angle = 2 * mpmath.pi * (numerator % denominator) / denominator
        for part, exact in ((z.real, mpmath.cos(angle)), (z.imag, mpmath.sin(angle))):
            low, high = enclosure(part)
            tiny = Fraction(1, 10**50)
            assert low - tiny <= Fraction(*map(int, mpmath_ratio(exact))) <= high + tiny
            assert high - low < Fraction(1, 2**100)


def mpmath_ratio(x: mpmath.mpf) -> tuple[int, int]:
    sign, mantissa, exponent, _ = x._mpf_
    number = -int(mantissa) if sign else int(mantissa)
    return (number << exponent, 1) if exponent >= 0 else (number, 1 << -exponent)


@given(st.integers(0, 1 << 120))
def test_square_root_modulus_and_pi(x: int) -> None:
    with flint.ctx.workprec(limits.PRECISION):
        root = balls.square_root(x)
        assert contains(root * root, Fraction(x))
        assert contains(balls.modulus(balls.complex_ball(balls.ball(3 * x), balls.ball(-4 * x))), Fraction(5 * x))
        low, high = enclosure(balls.pi())
    assert Fraction(333, 106) < low <= high < Fraction(355, 113)
    assert high - low < Fraction(1, 2**100)


def test_precision_is_scoped() -> None:
    before = flint.ctx.prec

    @balls.with_precision
    def fails() -> None:
        assert flint.ctx.prec == limits.PRECISION
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert flint.ctx.prec == before != limits.PRECISION


@given(st.integers(1, 200))
def test_circle_table(size: int) -> None:
    table = tables.circle(size)
    unit = 1 << limits.TABLE_BITS
    assert table.size == size == len(table.cosines) == len(table.sines)
    with mpmath.workdps(40):
        for m in range(size):
            angle = 2 * mpmath.pi * m / size
            assert abs(mpmath.cos(angle) * unit - table.cosines[m]) <= 1
            assert abs(mpmath.sin(angle) * unit - table.sines[m]) <= 1


@given(phases(), st.integers(1, 8))
def test_phase_powers(phase: int, harmonics: int) -> None:
    unit = 1 << limits.TABLE_BITS
    powers = tables.phase_powers(phase, PHASE, harmonics)
    assert len(powers) == harmonics
    with mpmath.workdps(40):
        for h, (cosine, sine) in enumerate(powers, 1):
            angle = 2 * mpmath.pi * h * phase / PHASE
            assert abs(mpmath.cos(angle) * unit - cosine) <= 1
            assert abs(mpmath.sin(angle) * unit - sine) <= 1


LANE = st.integers(-(1 << 63) + 1, (1 << 63) - 1)


@given(st.lists(LANE, min_size=1, max_size=12))
def test_packing_is_a_linear_map_and_unpacking_its_inverse(values: list[int]) -> None:
    packed = packing.pack(values)
    assert packed == sum(v << (64 * lane) for lane, v in enumerate(values))
    assert packing.unpack(packed, len(values)) == values


@given(
    st.lists(
        st.tuples(st.integers(-(1 << 29), 1 << 29), st.lists(st.integers(-(1 << 30), 1 << 30), min_size=3, max_size=3))
    )
)
def test_packed_sums_are_exact(terms: list[tuple[int, list[int]]]) -> None:
    exact = [sum(factor * vector[lane] for factor, vector in terms) for lane in range(3)]
    packing.require_capacity(max(map(abs, exact)), "a sum")
    assert packing.unpack(sum(factor * packing.pack(vector) for factor, vector in terms), 3) == exact


@given(st.integers(1, 4), st.lists(LANE, min_size=4, max_size=12))
def test_unpacking_by_columns(lanes: int, values: list[int]) -> None:
    rows = [values[start : start + lanes] for start in range(0, len(values) - lanes + 1, lanes)]
    columns = packing.unpack_columns(map(packing.pack, rows), lanes)
    assert [list(row) for row in zip(*columns, strict=True)] == rows


WIDE = st.integers(-(1 << 126) + 1, (1 << 126) - 1)


@given(st.lists(LANE, min_size=1, max_size=6), st.lists(WIDE, min_size=1, max_size=6))
def test_wide_packing(narrow: list[int], wide: list[int]) -> None:
    assert packing.pack_wide(narrow) == sum(v << (128 * lane) for lane, v in enumerate(narrow))
    assert packing.unpack_wide(packing.pack_wide(narrow), len(narrow)) == narrow
    assert packing.unpack_wide(sum(v << (128 * lane) for lane, v in enumerate(wide)), len(wide)) == wide


def test_capacity() -> None:
    packing.require_capacity((1 << 62) - 1, "a sum")
    for bound in (1 << 62, -1, 1 << 200):
        with pytest.raises(Rejected) as caught:
            packing.require_capacity(bound, "a sum")
        assert caught.value.reason is Reason.CAPACITY


def _fractions(matrix: ExactMatrix) -> list[Fraction]:
    return [x * Fraction(2) ** matrix.exponent for x in matrix.integers()]


ENTRIES = st.lists(st.integers(-(1 << 80), 1 << 80), min_size=6, max_size=6)
EXPONENTS = st.integers(-200, 200)


@given(ENTRIES, EXPONENTS, ENTRIES, EXPONENTS, st.integers(-9, 9))
def test_exact_matrices(x: list[int], e: int, y: list[int], f: int, factor: int) -> None:
    a, b = ExactMatrix.of(2, 3, x, e), ExactMatrix.of(2, 3, y, f)
    u, v = _fractions(a), _fractions(b)
    assert _fractions(a + b) == [s + t for s, t in zip(u, v, strict=True)]
    assert _fractions(a.times(factor)) == [factor * s for s in u]
    assert _fractions(a.transposed()) == [u[0], u[3], u[1], u[4], u[2], u[5]]
    assert _fractions(a.row(1)) == u[3:]
    assert _fractions(a.row(1).repeated(2)) == u[3:] * 2
    product = [sum(u[3 * i + k] * v[3 * j + k] for k in range(3)) for i in range(2) for j in range(2)]
    assert _fractions(a @ b.transposed()) == product
    assert balls.integer_product(x, y, 2, 3, 2) == [
        sum(x[3 * i + k] * y[2 * k + j] for k in range(3)) for i in range(2) for j in range(2)
    ]


@given(st.integers(0, 1 << 100))
def test_isqrt_is_what_the_bounds_assume(x: int) -> None:
    assert isqrt(x) ** 2 <= x < (isqrt(x) + 1) ** 2
