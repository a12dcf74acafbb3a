"""Vectors of fixed-point numbers packed into one integer, so that one operation adds or scales them all, exactly.

The packed form of (v_0, v_1, …) is Σ v_l·2^(64·l): a linear map into the integers. Sums and integer multiples of
packed vectors are therefore exact whatever the lanes hold on the way; only at `unpack` must every lane lie
strictly between −2^63 and 2^63, which the caller proves (see `require_capacity`).
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from functools import cache

from verifier.kernel.reasons import Reason, require

LANE_BITS = 64
CAPACITY = 1 << 62


@cache
def _signs(lanes: int) -> int:
    return sum(1 << (LANE_BITS * lane + LANE_BITS - 1) for lane in range(lanes))


def require_capacity(bound: int, what: str) -> None:
    """Reject unless `bound`, which no lane exceeds in absolute value, fits a lane.

    **Raises** `Rejected(CAPACITY)`.
    """
    require(0 <= bound < CAPACITY, Reason.CAPACITY, f"{what}: {bound.bit_length()} bits, at most 62 fit")


def pack(values: Iterable[int]) -> int:
    """Pack numbers whose absolute values are below 2^63 (the caller has proved it)."""
    lanes = array("q", values)
    if sys.byteorder == "big":
        lanes.byteswap()
    signs = _signs(len(lanes))
    return (int.from_bytes(lanes.tobytes(), "little") ^ signs) - signs


def unpack(packed: int, lanes: int) -> list[int]:
    """The `lanes` numbers of a packed vector, each below 2^63 in absolute value (the caller has proved it)."""
    signs = _signs(lanes)
    values = array("q", ((packed + signs) ^ signs).to_bytes(8 * lanes, "little"))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
