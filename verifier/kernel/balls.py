"""The only module of the kernel that touches flint: real and complex balls, and exact integer matrices.

Everything else works with Python integers or with what this module returns. A ball is an `arb`: a midpoint and a
radius whose interval contains the real number meant. Comparisons return True only when they hold for every
pair of members, so that "not proved" is never mistaken for "proved otherwise". Results that are used in a
conclusion leave as exact integers, rounded outward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import wraps
from typing import ParamSpec, TypeVar

import flint
from flint import acb, arb, fmpq, fmpz, fmpz_mat

from verifier.kernel.limits import PRECISION
from verifier.kernel.reasons import Reason, Rejected, require

Ball = arb
ComplexBall = acb
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


def ball(value: int | Fraction) -> Ball:
    """The ball around a rational number: exact for small dyadics, correctly enclosed otherwise."""
    if isinstance(value, Fraction):
        return arb(fmpq(value.numerator, value.denominator))
    return arb(fmpz(value))


def complex_ball(re: Ball | int, im: Ball | int) -> ComplexBall:
    return acb(arb(re), arb(im))


def turn(numerator: int, denominator: int) -> ComplexBall:
    """e(x) = exp(2πix) for x = numerator/denominator turns, numerator reduced first so that size cannot hurt."""
    angle = fmpq(2 * (numerator % denominator), denominator)
    return acb(arb.cos_pi_fmpq(angle), arb.sin_pi_fmpq(angle))


def pi() -> Ball:
    return arb.pi()


def proved_le(a: Ball, b: Ball) -> bool:
    """True when x <= y for every x in `a` and y in `b`; False otherwise, which proves nothing."""
    return (a <= b) is True


def modulus(z: ComplexBall) -> Ball:
    return abs(z)


def square_root(value: int) -> Ball:
    return arb(fmpz(value)).sqrt()


def total(values: Iterable[Ball]) -> Ball:
    result = arb(0)
    for value in values:
        result = result + value
    return result


def least_upper(values: Sequence[Ball]) -> Ball:
    """The value whose upper end is least; each of `values` must be an upper bound of the same number."""
    best = values[0].upper()
    for value in values[1:]:
        upper = value.upper()
        if proved_le(upper, best):
            best = upper
    return best


def greatest(values: Iterable[Ball]) -> Ball:
    """An exact number that no member of any of `values` exceeds, 0 for none (the values must be >= 0).

    **Raises** `Rejected(NOT_PROVED)` when a value is not finite.
    """
    best = arb(0)
    for value in values:
        upper = value.upper()
        require(upper.is_finite(), Reason.NOT_PROVED, "a ball is not finite")
        if not proved_le(upper, best):
            best = upper
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
    low, high = scaled_floor(value, bits), scaled_ceiling(value, bits)
    require(high - low <= 2, Reason.NOT_PROVED, "a ball is too wide for its fixed-point table")
    return (low + high) >> 1


class ExactMatrix:
    """A matrix of dyadic rationals: integer entries times one power of two. All operations are exact."""

    __slots__ = ("exponent", "matrix")

    def __init__(self, matrix: fmpz_mat, exponent: int) -> None:
        self.matrix = matrix
        self.exponent = exponent

    @classmethod
    def of(cls, rows: int, columns: int, values: Sequence[int], exponent: int) -> ExactMatrix:
        return cls(fmpz_mat(rows, columns, values), exponent)

    def __matmul__(self, other: ExactMatrix) -> ExactMatrix:
        return ExactMatrix(self.matrix * other.matrix, self.exponent + other.exponent)

    def __add__(self, other: ExactMatrix) -> ExactMatrix:
        low = self.exponent if self.exponent <= other.exponent else other.exponent
        left = self.matrix * (fmpz(1) << (self.exponent - low))
        right = other.matrix * (fmpz(1) << (other.exponent - low))
        return ExactMatrix(left + right, low)

    def times(self, factor: int) -> ExactMatrix:
        return ExactMatrix(self.matrix * fmpz(factor), self.exponent)

    def transposed(self) -> ExactMatrix:
        return ExactMatrix(self.matrix.transpose(), self.exponent)

    def row(self, index: int) -> ExactMatrix:
        columns = self.matrix.ncols()
        return ExactMatrix(fmpz_mat(1, columns, [self.matrix[index, j] for j in range(columns)]), self.exponent)

    def repeated(self, count: int) -> ExactMatrix:
        """A one-row matrix, repeated `count` times."""
        return ExactMatrix(fmpz_mat(count, self.matrix.ncols(), self.matrix.entries() * count), self.exponent)

    def integers(self) -> list[int]:
        """The integer entries in row order; each stands for itself times 2^exponent."""
        return [int(entry) for entry in self.matrix.entries()]


def integer_product(left: Sequence[int], right: Sequence[int], rows: int, inner: int, columns: int) -> list[int]:
    """Exact product of two integer matrices given, and returned, in row order."""
    return [int(x) for x in (fmpz_mat(rows, inner, left) * fmpz_mat(inner, columns, right)).entries()]
