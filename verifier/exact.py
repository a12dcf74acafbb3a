"""Exact matrices for the untrusted side: floats in, rationals in between, rounded once.

So what is computed here does not depend on the machine's matrix library. The kernel has its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flint import fmpq, fmpq_mat
from numpy.typing import NDArray


def exact(matrix: NDArray[Any]) -> fmpq_mat:
    """A finite float32 or float64 matrix as it is."""
    rows, columns = matrix.shape
    return fmpq_mat(rows, columns, [fmpq(*x.as_integer_ratio()) for x in matrix.ravel().tolist()])


def rounded(matrix: fmpq_mat) -> NDArray[np.float64]:
    """The nearest float64 matrix."""
    integers, denominator = matrix.numer_denom()
    whole = int(denominator)
    values = [int(x) / whole for x in integers.entries()]  # Python divides integers correctly rounded
    # Adding zero makes every zero positive, so that equal matrices have equal bytes.
    return np.array(values, dtype=np.float64).reshape(matrix.nrows(), matrix.ncols()) + 0.0
