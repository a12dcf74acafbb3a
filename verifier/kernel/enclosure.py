"""Matrices of real numbers, enclosed: integers times a power of two, and one radius for all entries.

Folding a network exactly would need numbers far wider than int64. Here every operation keeps 30 bits or more, and adds
what it rounds away to the radius; Lemma K carries the radii on (docs/theory.md §1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

import numpy as np

from verifier.kernel.arrays import (
    SIGNIFICAND,
    Ints,
    exact_product,
    integers,
    largest,
    require_capacity,
    rounded,
    shifted,
    zeros,
)

WORK_BITS = 56  # of an entry between operations


@dataclass(frozen=True)
class Enclosed:
    """Every entry of the matrix meant is within `radius`·2^`exponent` of `values`·2^`exponent`.

    Nobody writes to `values`: they may be shared, and the largest is looked for once.
    """

    values: Ints
    exponent: int
    radius: int

    @cached_property
    def top(self) -> int:
        """The greatest absolute value of `values`."""
        return largest(self.values)

    @property
    def T(self) -> Enclosed:
        return Enclosed(np.ascontiguousarray(self.values.T), self.exponent, self.radius)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def reshape(self, *shape: int) -> Enclosed:
        return Enclosed(self.values.reshape(shape), self.exponent, self.radius)

    def __getitem__(self, rows: slice | Ints) -> Enclosed:
        return Enclosed(self.values[rows], self.exponent, self.radius)

    def columns(self, start: int, count: int) -> Enclosed:
        return Enclosed(self.values[:, start : start + count], self.exponent, self.radius)

    def by_head(self, heads: int) -> Enclosed:
        """[rows, heads·k] as [heads, rows, k]."""
        values = self.values.reshape(len(self.values), heads, -1).transpose(1, 0, 2)
        return Enclosed(np.ascontiguousarray(values), self.exponent, self.radius)

    def by_column(self) -> Enclosed:
        """[heads, rows, k] as [rows, heads·k]: the inverse of `by_head`."""
        values = self.values.transpose(1, 0, 2)
        return Enclosed(values.reshape(len(values), -1), self.exponent, self.radius)

    def parted(self, counts: Sequence[int]) -> list[Enclosed]:
        """Rows taken apart, so many at a time: the inverse of `stacked`."""
        ends = list(accumulate(counts))
        return [self[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def at(self, exponent: int) -> Enclosed:
        """The same, in units of 2^`exponent`; coarser ones are rounded to nearest."""
        shift = exponent - self.exponent
        if shift == 0:
            return self
        if self.reach() == 0:
            return Enclosed(self.values, exponent, 0)
        if shift < 0:
            return Enclosed(shifted(self.values, -shift, self.top), exponent, self.radius << -shift)
        radius = -(-self.radius >> shift) + 1
        return Enclosed(rounded(self.values, min(shift, 61), self.top), exponent, radius)

    def within(self, bits: int) -> Enclosed:
        """The same with entries of at most `bits` bits (and a carry)."""
        excess = self.top.bit_length() - bits
        return self.at(self.exponent + excess) if excess > 0 else self

    def reach(self) -> int:
        """An integer that no entry exceeds in absolute value, in units of 2^`exponent`."""
        return self.top + self.radius

    def times(self, factors: Sequence[Fraction]) -> Enclosed:
        """Multiples: so many columns for every factor, in turn.

        **Raises** `Rejected(CAPACITY)` when the numerator of a factor has more than 21 bits.
        """
        require_capacity(max(abs(x.numerator) for x in factors) << 41, "a factor")
        narrow = self.at(self.exponent + self.top.bit_length() - (WORK_BITS - 21))
        each = self.values.shape[-1] // len(factors)
        top, bottom = (
            np.repeat(integers([getattr(x, name) for x in factors]), each) for name in ("numerator", "denominator")
        )
        radius = max(-(-narrow.radius * abs(x.numerator) // x.denominator) for x in factors) + 1
        return Enclosed(narrow.values * top // bottom, narrow.exponent, radius)


def common(parts: Sequence[Enclosed]) -> int:
    """The finest unit in which all of `parts` have at most `WORK_BITS` bits."""
    tops = [(x.exponent, x.exponent + x.reach().bit_length()) for x in parts if x.reach()] or [(0, 0)]
    return max(min(exponent for exponent, _ in tops), max(top for _, top in tops) - WORK_BITS)


def plus(first: Enclosed, *others: Enclosed) -> Enclosed:
    """The sum; shapes broadcast."""
    for other in others:
        exponent = common((first, other))
        x, y = first.at(exponent), other.at(exponent)
        require_capacity(x.reach() + y.reach(), "a sum of tables")
        first = Enclosed(x.values + y.values, exponent, x.radius + y.radius)
    return first


def stacked(parts: Sequence[Enclosed]) -> Enclosed:
    """Rows on top of each other."""
    exponent = common(parts)
    same = [x.at(exponent) for x in parts]
    return Enclosed(np.concatenate([x.values for x in same]), exponent, max(x.radius for x in same))


def product(x: Enclosed, y: Enclosed, what: str) -> Enclosed:
    """x·y; stacks of matrices broadcast. With X = X₁·2^h + X₀ the sum X₁·Y + ⌊X₀·Y/2^h⌋ is x·y in units 2^h coarser,
    up to one.

    Both products fit binary64. The radii: |xy − XY| <= r_x·Σ|Y| + r_y·Σ|X| + r_x·r_y per term of a sum.
    """
    inner = x.values.shape[-1]
    if x.reach() == 0 or y.reach() == 0:
        return Enclosed(zeros(*x.values.shape[:-1], y.values.shape[-1]), 0, 0)
    digit = (SIGNIFICAND - (inner - 1).bit_length()) // 3
    # A value rounded to k bits may carry to 2^k, which is why each width leaves one bit.
    left, right = x.within(2 * digit - 1), y.within(SIGNIFICAND - (inner - 1).bit_length() - digit - 1)
    digits = np.concatenate([left.values >> digit, left.values & np.int64((1 << digit) - 1)], axis=-2)
    found = exact_product(digits, right.values, what, ((1 << digit) - 1, right.top))
    rows = left.values.shape[-2]
    values = found[..., rows:, :] >> digit
    values += found[..., :rows, :]
    columns = int(np.abs(right.values).sum(axis=-2).max(initial=0))
    wide = int(np.abs(left.values).sum(axis=-1).max(initial=0))
    radius = left.radius * columns + right.radius * wide + inner * left.radius * right.radius
    return Enclosed(values, left.exponent + right.exponent + digit, -(-radius >> digit) + 1)
