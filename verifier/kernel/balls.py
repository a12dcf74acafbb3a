"""The only module of the kernel that touches flint: real balls.

Everything else works with Python integers or with what this module returns. A ball is an `arb`: a midpoint and a
radius whose interval contains the real number meant. Comparisons return True only when they hold for every
pair of members, so that "not proved" is never mistaken for "proved otherwise". Results that are used in a
conclusion leave as exact integers, rounded outward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import wraps
from typing import ParamSpec, TypeVar

import flint
from flint import arb, fmpq, fmpz

from verifier.kernel.limits import PRECISION
from verifier.kernel.reasons import Reason, Rejected, require

Ball = arb
P = ParamSpec("P")
T = TypeVar("T")


def with_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Run `function` at `PRECISION` bits and restore flint's global precision, whatever happens.

    This decorator is the one place where the precision is set.
    """

    @wraps(function)
    def scoped(*args: P.args, **kwargs: P.kwargs) -> T:
        before = flint.ctx.prec
        flint.ctx.prec = PRECISION
        try:
            return function(*args, **kwargs)
        finally:
            flint.ctx.prec = before

    return scoped


def ball(value: int) -> Ball:
    """The ball around an integer: exact up to the precision, correctly enclosed beyond."""
    return arb(fmpz(value))


def dyadic(mantissa: int, exponent: int) -> Ball:
    """mantissa·2^exponent."""
    return ball(mantissa << exponent) if exponent >= 0 else ball(mantissa) / ball(1 << -exponent)


def root(value: Fraction) -> Ball:
    """The square root of a rational number that is not negative."""
    return arb(fmpq(value.numerator, value.denominator)).sqrt()


def exponential(value: Ball) -> Ball:
    return value.exp()


def turn(numerator: int, denominator: int) -> tuple[Ball, Ball]:
    """cos and sin of 2πx for x = numerator/denominator turns, numerator reduced first so that size cannot hurt."""
    sine, cosine = arb.sin_cos_pi_fmpq(fmpq(2 * (numerator % denominator), denominator))
    return cosine, sine


def series_factor(order: int, size: int) -> Ball:
    """1/(2·size·sin(π·order/size))."""
    return ball(1) / (ball(2 * size) * turn(order, 2 * size)[1])


def pi() -> Ball:
    return arb.pi()


def least_upper(values: Sequence[Ball]) -> Ball:
    """The value whose upper end is least; each of `values` must be an upper bound of the same number."""
    best = values[0].upper()
    for value in values[1:]:
        upper = value.upper()
        best = upper if (upper <= best) is True else best  # an undecided comparison is not
    return best


def scaled_ceiling(value: Ball, bits: int) -> int:
    """The least integer m with value <= m·2^-bits proved, up to one unit.

    **Raises** `Rejected(NOT_PROVED)` when the ball is not finite.
    """
    require(value.is_finite(), Reason.NOT_PROVED, "a ball is not finite")
    return _integer((value * arb(fmpz(1) << bits)).upper().ceil())


def scaled_floor(value: Ball, bits: int) -> int:
    """The greatest integer m with m·2^-bits <= value proved, up to one unit.

    **Raises** `Rejected(NOT_PROVED)` when the ball is not finite.
    """
    require(value.is_finite(), Reason.NOT_PROVED, "a ball is not finite")
    return _integer((value * arb(fmpz(1) << bits)).lower().floor())


def _integer(value: Ball) -> int:
    number = value.unique_fmpz()
    if number is None:
        raise Rejected(Reason.NOT_PROVED, "a ball is too wide to be rounded to an integer")
    return int(number)


def fixed_point(value: Ball, bits: int) -> int:
    """An integer m with |value − m·2^-bits| <= 2^-bits.

    **Raises** `Rejected(NOT_PROVED)` when the ball is too wide for that.
    """
    scaled = (value * arb(fmpz(1) << bits) + arb(0.5)).floor().unique_fmpz()
    if scaled is not None:  # the usual case: the nearest integer is known
        return int(scaled)
    low, high = scaled_floor(value, bits), scaled_ceiling(value, bits)
    require(high - low <= 2, Reason.NOT_PROVED, "a ball is too wide for its fixed-point table")
    return (low + high) >> 1
