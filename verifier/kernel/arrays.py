"""Exact integers in arrays: the only place where numpy multiplies matrices, and the only floats of the kernel.

numpy wraps silently, so every array here is int64 by name, and every function computes its bound in Python integers and
requires it before an array is touched. `exact_product` multiplies in binary64 through BLAS after bounding every partial
sum by 2^53: then each product and each sum is an integer that binary64 holds exactly, whatever the order of summation,
the number of threads or the use of fused multiply-add.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.kernel.reasons import Reason, require

Ints = NDArray[np.int64]
CAPACITY = 1 << 62
SIGNIFICAND = 53  # bits of binary64
# The C library gives freed memory back at twice the largest block that it has seen freed. Were that small, the system
# would clear the same pages for every temporary.
np.empty(1 << 21, dtype=np.int64)


def require_capacity(bound: int, what: str) -> None:
    """Reject unless `bound`, which no entry exceeds in absolute value, leaves room in int64.

    **Raises** `Rejected(CAPACITY)`.
    """
    require(0 <= bound < CAPACITY, Reason.CAPACITY, f"{what}: {bound.bit_length()} bits, at most 62 fit")


def integers(values: Any) -> Ints:
    """An int64 array of Python integers (the caller has bounded them)."""
    return np.array(values, dtype=np.int64)


def zeros(*shape: int) -> Ints:
    return np.zeros(shape, dtype=np.int64)


def largest(values: Ints) -> int:
    """The greatest absolute value, 0 for no entries, as a Python integer."""
    return max(int(values.max()), -int(values.min())) if values.size else 0


def shifted(values: Ints, bits: int, top: int | None = None) -> Ints:
    """values·2^bits, rounded down when bits < 0. `top`: the greatest absolute value, if it is known.

    **Raises** `Rejected(CAPACITY)`.
    """
    if bits >= 0:
        require_capacity((largest(values) if top is None else top) << min(bits, 64), "a shifted table")
        return values << bits
    return values >> min(-bits, 63)


def rounded(values: Ints, bits: int, top: int | None = None) -> Ints:
    """values·2^-bits to the nearest integer, bits >= 0: off by at most one half. The same array when bits = 0.

    `top`: the greatest absolute value, if it is known.
    """
    if bits == 0:
        return values
    require_capacity((largest(values) if top is None else top) + (1 << bits >> 1), "a rounded table")
    result = values + (1 << bits >> 1)
    result >>= bits
    return result


def lengths(re: Ints, im: Ints) -> Ints:
    """Upper bounds of |re + i·im|, above it by less than 2^-27 of the largest part, and two units.

    Newton's method for a square root, (s + x/s)/2 from any s > 0, gives an upper bound; from 42 % above, four steps end
    less than 2^-38 above. Premise: no part reaches 2^62.
    """
    shift = max(0, max(largest(re), largest(im)).bit_length() - 30)
    x, y = np.abs(re >> shift), np.abs(im >> shift)
    bound: Ints = x + y + 1
    for _ in range(4):
        bound = ((bound + (x * x + y * y) // bound) >> 1) + 1
    return (bound + (2 if shift else 0)) << shift


def exact_product(x: Ints, y: Ints, what: str, tops: tuple[int, int] | None = None) -> Ints:
    """x @ y, exactly; stacks of matrices broadcast as in `numpy.matmul`.

    Operands that are too large for one product in binary64 are cut into digits, as few as will do. `tops`: what no
    entry of x, and of y, exceeds in absolute value, if that is known.

    **Raises** `Rejected(CAPACITY)` when a sum may leave int64.
    """
    inner, (a, b) = x.shape[-1], tops or (largest(x), largest(y))
    # Digits put together in the order below stay within 6 times the bound of the product.
    require_capacity(4 * inner * a * b, what)
    room = SIGNIFICAND - (inner - 1).bit_length()
    bits_x, bits_y = a.bit_length(), b.bit_length()
    if bits_x + bits_y <= room:
        return _product(x.astype(np.float64), y.astype(np.float64))
    _, cut_x, cut_y = min(
        (m * k, m, k) for m in range(1, 9) for k in range(1, 9) if -(-bits_x // m) + -(-bits_y // k) <= room
    )
    width_x, width_y = -(-bits_x // cut_x), -(-bits_y // cut_y)
    right = _digits(y, width_y, cut_y)
    parts = [
        _product(u, v) << (i * width_x + j * width_y)
        for i, u in enumerate(_digits(x, width_x, cut_x))
        for j, v in enumerate(right)
    ]
    return reduce(add, parts)


def _digits(values: Ints, width: int, count: int) -> list[NDArray[np.float64]]:
    """values = Σ digits[i]·2^(i·width); every digit is below 2^width in size, all but the last are not negative."""
    mask = np.int64((1 << width) - 1)
    low = [(values >> (i * width)) & mask for i in range(count - 1)]
    return [digit.astype(np.float64) for digit in (*low, values >> ((count - 1) * width))]


def _product(x: NDArray[np.float64], y: NDArray[np.float64]) -> Ints:
    """x @ y in binary64. Premise: |entries of x|·|entries of y|·inner <= 2^53. ⟹ exact."""
    if y.ndim == 2 < x.ndim and len(y):  # one product, not a stack of small ones
        return _product(x.reshape(-1, x.shape[-1]), y).reshape(*x.shape[:-1], y.shape[1])
    result: Ints = np.matmul(x, y).astype(np.int64)
    return result
