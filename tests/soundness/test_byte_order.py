"""The kernel on a machine whose numbers are stored the other way round.

`BigEndian` is `array` as such a machine has it: what enters and leaves as bytes is big-endian. A byte swap that is
missing, or one too many, makes every number wrong.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import circuit_bytes, random_case, tensor_file
from verifier.kernel import Rejected, check, model_file, packing
from verifier.kernel.model_file import read_model

LITTLE = sys.byteorder == "little"
pytestmark = pytest.mark.skipif(not LITTLE, reason="this machine has the byte order that is imitated")

LANES = st.lists(st.integers(-(1 << 62), 1 << 62), max_size=5)


class BigEndian(array):
    """An array of a big-endian machine, on a little-endian one."""

    def __new__(cls, code: str, values: Any = ()) -> BigEndian:
        made: BigEndian = super().__new__(cls, code, values)
        if isinstance(values, bytes):
            array.byteswap(made)
        return made

    def tobytes(self) -> bytes:
        swapped = array(self.typecode, self)
        swapped.byteswap()
        return swapped.tobytes()

    def frombytes(self, data: Any) -> None:
        read = array(self.typecode)
        read.frombytes(data)
        read.byteswap()
        self.extend(read)


class _Machine:
    """What the kernel asks `sys`."""

    def __init__(self, byteorder: str) -> None:
        self.byteorder = byteorder


def _become(patch: pytest.MonkeyPatch, byteorder: str) -> None:
    for module in (packing, model_file):
        patch.setattr(module, "array", BigEndian)
        patch.setattr(module, "sys", _Machine(byteorder))


@pytest.fixture
def big_endian(monkeypatch: pytest.MonkeyPatch) -> None:
    _become(monkeypatch, "big")


def _packed(values: list[int], bits: int) -> int:
    return sum(value << (bits * lane) for lane, value in enumerate(values))


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.usefixtures("big_endian")
@shared
@given(LANES)
def test_packed_vectors(values: list[int]) -> None:
    packed = packing.pack(values)
    assert packed == _packed(values, 64)
    assert packing.unpack(packed, len(values)) == values


@pytest.mark.usefixtures("big_endian")
@shared
@given(st.lists(st.tuples(*[st.integers(-(1 << 62), 1 << 62)] * 3), max_size=4))
def test_columns(rows: list[tuple[int, ...]]) -> None:
    found = packing.unpack_columns([_packed(list(row), 64) for row in rows], 3)
    assert found == [[row[lane] for row in rows] for lane in range(3)]


@pytest.mark.usefixtures("big_endian")
@shared
@given(LANES, st.lists(st.integers(-(1 << 125), 1 << 125), max_size=5))
def test_wide_vectors(narrow: list[int], wide: list[int]) -> None:
    assert packing.pack_wide(narrow) == _packed(narrow, 128)
    assert packing.unpack_wide(_packed(wide, 128), len(wide)) == wide


@pytest.mark.usefixtures("big_endian")
@pytest.mark.parametrize(("code", "digits"), [("f", 24), ("d", 53)])
def test_weights(code: str, digits: int) -> None:
    """A file's numbers are little-endian wherever it is read."""
    rng = random.Random(digits)
    names = {"A": (2, 3), "B": (2, 3), "W": (3, 2)}
    values = {name: [rng.randint(-(1 << digits), 1 << digits) / 4.0 for _ in range(6)] for name in names}
    values["A"][0] = 0.0
    tensors: dict[str, tuple[Sequence[int], Sequence[float]]] = {name: (names[name], [0.0] * 6) for name in names}
    metadata = {"format": "verifier-circuit/1", "task": "(a + b) mod p", "p": "3", "provenance": "{}"}
    size = struct.calcsize(code) * 6
    file = tensor_file(tensors, metadata, code)[: -3 * size]
    body = b"".join(struct.pack(f"<6{code}", *values[name]) for name in names)
    found = read_model(file + body)
    for name, tensor in found.tensors.items():
        exact = [x * 2.0**tensor.exponent for x in tensor.integers]
        assert exact == list(array(code, values[name]))


def _document(seed: int) -> str | None:
    try:
        return json.dumps(check(*random_case(random.Random(seed)).files()).document())
    except Rejected:
        return None


def test_conclusions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole checks conclude the same, byte for byte."""
    seeds = range(20)
    expected = [_document(seed) for seed in seeds]
    assert sum(document is not None for document in expected) > 15
    _become(monkeypatch, "big")
    assert [_document(seed) for seed in seeds] == expected


def _ones() -> bytes:
    row, nothing = [1.0] * 3, [[0.0] * 3] * 3
    return circuit_bytes(3, [row], [row], [row], nothing, nothing, True)


@pytest.mark.parametrize(
    "right",
    [
        lambda: packing.pack([1]) == 1,
        lambda: packing.unpack(1, 1) == [1],
        lambda: packing.unpack_columns([1], 1) == [[1]],
        lambda: packing.pack_wide([1]) == 1,
        lambda: packing.unpack_wide(1, 1) == [1],
        lambda: packing.unpack_wide(1 << 64, 1) == [1 << 64],
        lambda: [x.integers[0] * 2.0**x.exponent for x in read_model(_ones()).tensors.values()] == [1] * 3,
    ],
    ids=["pack", "unpack", "unpack_columns", "pack_wide", "unpack_wide, low", "unpack_wide, high", "read_model"],
)
def test_the_imitation_tells(monkeypatch: pytest.MonkeyPatch, right: Callable[[], bool]) -> None:
    """Without the swaps everything is wrong, so that the tests above see every one of them."""
    assert right()
    _become(monkeypatch, "little")
    assert not right()
    _become(monkeypatch, "big")
    assert right()
