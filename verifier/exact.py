"""Exact matrices of dyadic rationals for the untrusted side: floats in, exact in between, rounded once.

So what is computed here does not depend on the machine's matrix library. The kernel has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import fmpz_mat
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Exact:
    """The matrix `integers`·2^`exponent`."""

    integers: fmpz_mat
    exponent: int

    def __matmul__(self, other: Exact) -> Exact:
        return Exact(self.integers * other.integers, self.exponent + other.exponent)

    def __add__(self, other: Exact) -> Exact:
        low = min(self.exponent, other.exponent)
        return Exact(self.integers * (1 << self.exponent - low) + other.integers * (1 << other.exponent - low), low)

    def times(self, factor: int) -> Exact:
        return Exact(self.integers * factor, self.exponent)

    def rows(self, count: int) -> Exact:
        """This one-row matrix, `count` times."""
        ones = fmpz_mat(count, 1, [1] * count)
        return Exact(ones * self.integers, self.exponent)

    def rounded(self, denominator: int = 1) -> NDArray[np.float64]:
        """The float64 matrix nearest to this one divided by `denominator`."""
        up, down = 1 << max(self.exponent, 0), denominator << max(-self.exponent, 0)
        # Python divides integers correctly rounded.
        values = [int(x) * up / down for x in self.integers.entries()]
        # Adding zero makes every zero positive, so that equal matrices have equal bytes.
        return np.array(values, dtype=np.float64).reshape(self.integers.nrows(), self.integers.ncols()) + 0.0


def exact(matrix: NDArray[Any]) -> Exact:
    """A finite float32 or float64 matrix as it is, without rounding."""
    mantissas, exponents = np.frexp(matrix.astype(np.float64))
    digits = 53 if matrix.dtype.itemsize == 8 else 24
    integers = np.ldexp(mantissas, digits).astype(np.int64)
    used = exponents[integers != 0]
    lowest = int(used.min()) if used.size else 0
    shifts = np.where(integers == 0, 0, exponents - lowest)
    values: Sequence[int]
    if int(shifts.max(initial=0)) + digits < 63:
        values = (integers << shifts).ravel().tolist()
    else:
        pairs = zip(integers.ravel().tolist(), shifts.ravel().tolist(), strict=True)
        values = [integer << shift for integer, shift in pairs]
    rows, columns = matrix.shape
    return Exact(fmpz_mat(rows, columns, values), lowest - digits)


def zeros(rows: int, columns: int) -> Exact:
    return Exact(fmpz_mat(rows, columns), 0)
