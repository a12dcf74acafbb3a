"""Fixed-point tables of e(x) = exp(2πix): a few points enclosed by balls, the others by angle addition in integers.

A point is a pair (cosine, sine) in units of 2^-TABLE_BITS. Points within d and d′ units of e(x) and e(y) multiply
to one within d + d′ + 1 units of e(x + y): both have size at most 1 + 2^-20, and each part is rounded to nearest.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from math import isqrt

import numpy as np

from verifier.kernel.arrays import Ints, integers, rounded
from verifier.kernel.balls import dyadic, exponential, fixed_point, series_factor, turn, with_precision
from verifier.kernel.limits import PHASE_BITS, TABLE_BITS

TABLE_ERROR = 5  # units, of a point: 2 for each of two balls, 1 for their product
PHASE_ERROR = 23  # four tables and three products
DIGIT = 8  # bits of a digit of a phase

Points = tuple[Ints, Ints]


@with_precision
def _balls(steps: list[int], denominator: int) -> Points:
    """e(m/denominator) for m in steps, each part within one unit, the point within two."""
    points = [turn(m, denominator) for m in steps]
    return (
        integers([fixed_point(cosine, TABLE_BITS) for cosine, _ in points]),
        integers([fixed_point(sine, TABLE_BITS) for _, sine in points]),
    )


@with_precision
def series(count: int, size: int) -> Ints:
    """1/(2·size·sin(πm/size)) for m = 1..count < size, each within one unit."""
    return integers([fixed_point(series_factor(m, size), TABLE_BITS) for m in range(1, count + 1)])


def times(x: Points, y: Points) -> Points:
    """x·y, each part rounded to nearest. Premise: |x| < 2^32 and |y| < 2^30.1; no part reaches 2^62.2."""
    half = np.int64(1 << TABLE_BITS - 1)
    re, im = x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
    return (re + half) >> TABLE_BITS, (im + half) >> TABLE_BITS


def _powers(count: int, denominator: int) -> Points:
    """e(m/denominator) for m = 0..count−1, within `TABLE_ERROR`: about 2√count balls."""
    step = isqrt(count - 1) + 1
    small = _balls(list(range(step)), denominator)
    large = _balls([step * m for m in range(-(-count // step))], denominator)
    re, im = times((large[0][:, None], large[1][:, None]), (small[0][None, :], small[1][None, :]))
    return re.ravel()[:count], im.ravel()[:count]


@lru_cache(maxsize=8)
def circle(size: int) -> Points:
    """The `size`-th roots of unity e(m/size), m = 0..size−1, each within `TABLE_ERROR` units."""
    return _powers(size, size)


def roots(size: int, places: Ints) -> Points:
    """e(m/size) for every m of `places`, any integers."""
    cosines, sines = circle(size)
    index = np.mod(places, size)
    return cosines[index], sines[index]


@lru_cache(maxsize=1)
def _digit_tables() -> tuple[Points, ...]:
    return tuple(_powers(1 << DIGIT, 1 << (DIGIT * (j + 1))) for j in range(PHASE_BITS // DIGIT))


def phases(places: Ints) -> Points:
    """e(m·2^-32) for every m of `places` (any integers), each within `PHASE_ERROR` units."""
    mask = np.int64((1 << DIGIT) - 1)
    factors = []
    for j, (cosines, sines) in enumerate(_digit_tables()):
        digit = (places >> (PHASE_BITS - DIGIT * (j + 1))) & mask
        factors.append((cosines[digit], sines[digit]))
    return reduce(times, factors)


EXPONENTIAL_ERROR = 7  # units: one for each of four factors, half of one for each product, and the tail
LARGEST_EXPONENT = 6  # beyond 2^6 an exponential is less than 2^-92


@lru_cache(maxsize=1)
@with_precision
def _exponential_tables(bits: int) -> list[Ints]:
    """exp(−d·2^(8j − bits)) for every digit d, j = 0, 1, …"""
    width = bits + LARGEST_EXPONENT
    sizes = [min(1 << DIGIT, 1 << width - low) for low in range(0, width, DIGIT)]
    return [
        integers([fixed_point(exponential(dyadic(-d, DIGIT * j - bits)), TABLE_BITS) for d in range(size)])
        for j, size in enumerate(sizes)
    ]


def exponentials(values: Ints, bits: int) -> Ints:
    """exp(−v·2^-bits) for v >= 0, in units of 2^-TABLE_BITS, within `EXPONENTIAL_ERROR`."""
    values = np.minimum(values, (1 << bits + LARGEST_EXPONENT) - 1)
    result = np.full(values.shape, 1 << TABLE_BITS, dtype=np.int64)
    for j, table in enumerate(_exponential_tables(bits)):
        result = rounded(result * table[(values >> DIGIT * j) & ((1 << DIGIT) - 1)], TABLE_BITS)
    return result
