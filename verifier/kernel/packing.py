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


def unpack_columns(rows: Iterable[int], lanes: int) -> list[list[int]]:
    """Unpack vectors of `lanes` numbers each, transposed: one list per lane. As `unpack`, all rows at once."""
    signs, size = _signs(lanes), 8 * lanes
    values = array("q", b"".join([((row + signs) ^ signs).to_bytes(size, "little") for row in rows]))
    if sys.byteorder == "big":
        values.byteswap()
    return [values[lane::lanes].tolist() for lane in range(lanes)]


def pack_wide(values: Iterable[int]) -> int:
    """Σ v_l·2^(128·l) for numbers whose absolute values are below 2^63 (the caller has proved it).

    A sum of multiples of such vectors may hold up to 126 bits a lane before `unpack_wide`.
    """
    narrow = array("q", values)
    lanes = array("q", bytes(2 * LANE_BITS // 8 * len(narrow)))
    lanes[::2] = narrow
    return pack(lanes)


def unpack_wide(packed: int, lanes: int) -> list[int]:
    """The `lanes` numbers of a vector of 128-bit lanes, each below 2^126 in absolute value (proved by the caller)."""
    # The sign bit of each wide lane is that of its upper half.
    signs = _signs(2 * lanes) & ~_low_signs(lanes)
    data = ((packed + signs) ^ signs).to_bytes(2 * LANE_BITS // 8 * lanes, "little")
    low, high = array("Q", data), array("q", data)
    if sys.byteorder == "big":
        low.byteswap()
        high.byteswap()
    return [(y << LANE_BITS) | x for x, y in zip(low[::2], high[1::2], strict=True)]


@cache
def _low_signs(lanes: int) -> int:
    return sum(1 << (2 * LANE_BITS * lane + LANE_BITS - 1) for lane in range(lanes))
