"""Fixed-point tables of e(x) = exp(2πix), enclosed by balls once and integers from then on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from verifier.kernel.balls import fixed_point, turn, with_precision
from verifier.kernel.limits import TABLE_BITS


@dataclass(frozen=True, slots=True)
class Circle:
    """cosines[m] and sines[m] are cos and sin of m/size turns, in units of 2^-TABLE_BITS, off by at most one unit."""

    size: int
    cosines: tuple[int, ...]
    sines: tuple[int, ...]


@lru_cache(maxsize=8)
def circle(size: int) -> Circle:
    """The table of the `size`-th roots of unity; one ball evaluation per entry."""
    return _circle(size)


@with_precision
def _circle(size: int) -> Circle:
    points = [turn(m, size) for m in range(size)]
    return Circle(
        size,
        tuple(fixed_point(z.real, TABLE_BITS) for z in points),
        tuple(fixed_point(z.imag, TABLE_BITS) for z in points),
    )


@with_precision
def phase_powers(phase: int, denominator: int, harmonics: int) -> list[tuple[int, int]]:
    """e(h·phase/denominator) for h = 1..harmonics, as pairs in units of 2^-TABLE_BITS, off by at most one unit each."""
    points = [turn(h * phase, denominator) for h in range(1, harmonics + 1)]
    return [(fixed_point(z.real, TABLE_BITS), fixed_point(z.imag, TABLE_BITS)) for z in points]
