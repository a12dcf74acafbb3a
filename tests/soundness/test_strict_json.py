"""Every rule of the readers, and what is said when it is broken: nothing that breaks one is read in some other way."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.strategies import random_case
from verifier.kernel import Conclusion, Reason, Rejected, check, limits
from verifier.kernel.model_file import read_model
from verifier.kernel.strict_json import Fields, Json, decode, integer, items

MOST = 1 << 12


def _reason(call: Callable[..., object], *arguments: object) -> Reason:
    with pytest.raises(Rejected) as caught:
        call(*arguments)
    return caught.value.reason


def test_what_is_read() -> None:
    text = '{"a": [1, -2, true, false, null], "b": {"ü": "\\"[{"}, "c": ' + "9" * limits.JSON_DIGITS + "}"
    found = decode(text.encode(), "it", MOST)
    assert found == {"a": [1, -2, True, False, None], "b": {"ü": '"[{'}, "c": 10**limits.JSON_DIGITS - 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "b": 2, "a": 1}', Reason.JSON),
        (b'[{"a": {"b": 1, "b": 1}}]', Reason.JSON),
        (b"1.0", Reason.JSON),
        (b"1e2", Reason.JSON),
        (b"-0.5", Reason.JSON),
        (b"NaN", Reason.JSON),
        (b"Infinity", Reason.JSON),
        (b"-Infinity", Reason.JSON),
        (b"1 2", Reason.JSON),
        (b"{} x", Reason.JSON),
        (b"", Reason.JSON),
        (b"01", Reason.JSON),
        (b"+1", Reason.JSON),
        (b'"\xff"', Reason.JSON),
        (b"\xef\xbb\xbf1", Reason.JSON),
        ("1".encode("utf-16"), Reason.JSON),
        (b'"a', Reason.JSON),
        (b'"\x00"', Reason.JSON),
        (b"1" * (limits.JSON_DIGITS + 1), Reason.RANGE),
        (b"-" + b"1" * limits.JSON_DIGITS, Reason.RANGE),
        (b" " * MOST + b"1", Reason.SIZE),
    ],
)
def test_what_is_refused(data: bytes, reason: Reason) -> None:
    assert _reason(decode, data, "it", MOST) is reason


@pytest.mark.parametrize(
    ("left", "right", "levels"), [("[", "]", 1), ('{"a":', "}", 1), ('{"[[": ["]}", ', "]}", 2), ('["\\"[", ', "]", 1)]
)
def test_depth(left: str, right: str, levels: int) -> None:
    """Brackets count outside strings only, those of lists and of objects alike."""
    most = limits.JSON_DEPTH // levels
    decode((left * most + "1" + right * most).encode(), "it", MOST)
    beyond = most + 1
    assert _reason(decode, (left * beyond + "1" + right * beyond).encode(), "it", MOST) is Reason.JSON


def test_names() -> None:
    assert Fields({"a": 1, "b": 2}, "it", ("a", "b")).values == {"a": 1, "b": 2}
    values: list[Json] = [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "B": 2}, {}, [], "ab", 1, True, None]
    for value in values:
        assert _reason(Fields, value, "it", ("a", "b")) is Reason.FIELD


def test_integers() -> None:
    assert [integer(x, "it", -3, 4) for x in (-3, 0, 4)] == [-3, 0, 4]
    values: list[Json] = [True, False, "1", None, [1], {}]
    for value in values:
        assert _reason(integer, value, "it", 0, 1) is Reason.FIELD
    for number in (-4, 5, 10**29):
        assert _reason(integer, number, "it", -3, 4) is Reason.RANGE
    assert Fields({"a": 7}, "it", ("a",)).integer("a", 7, 7) == 7


def test_lists() -> None:
    assert items([1, [], "x"], "it", 3) == [1, [], "x"]
    assert _reason(items, [1, 2, 3, 4], "it", 3) is Reason.SIZE
    values: list[Json] = ["abc", {}, 3, None]
    for value in values:
        assert _reason(items, value, "it", 3) is Reason.FIELD


def test_texts() -> None:
    longest = "x" * limits.TEXT
    assert Fields({"a": longest}, "it", ("a",)).text("a") == longest
    values: list[Json] = [longest + "x", 1, None, ["x"]]
    for value in values:
        assert _reason(Fields({"a": value}, "it", ("a",)).text, "a") is Reason.FIELD


def test_digests() -> None:
    digest = "0123456789abcdef" * 4
    assert Fields({"a": digest}, "it", ("a",)).digest("a") == digest
    values: list[Json] = [
        digest[1:],
        digest + "0",
        digest.upper(),
        digest + "\n",
        "g" + digest[1:],
        "٣" + digest[1:],
        0,
    ]
    for value in values:
        assert _reason(Fields({"a": value}, "it", ("a",)).digest, "a") is Reason.FIELD


# The header of a model file


def _header(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A circuit's file with its header changed."""
    model = random_case(random.Random(1)).model
    length = int.from_bytes(model[:8], "little")
    header = json.loads(model[8 : 8 + length])
    header = change(header) or header
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + model[8 + length :]


def _metadata(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda header: header["__metadata__"].update(values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header: header.pop("__metadata__") and None, Reason.FIELD),
        (lambda header: header.update(__metadata__=["format"]), Reason.FIELD),
        (lambda header: [header], Reason.FIELD),
        (_metadata(format="verifier-circuit/2"), Reason.FORMAT),
        (_metadata(format="verifier-model/1"), Reason.FIELD),
        (_metadata(format=["verifier-circuit/1"]), Reason.FORMAT),
        (_metadata(format=None), Reason.FORMAT),
        (_metadata(task="(a - b) mod p"), Reason.TASK),
        (_metadata(p="3.0"), Reason.FIELD),
        (_metadata(p="03"), Reason.FIELD),
        (_metadata(p="٣"), Reason.FIELD),
        (_metadata(p="2"), Reason.RANGE),
        (_metadata(p="4097"), Reason.RANGE),
        (_metadata(extra="x"), Reason.FIELD),
        (lambda header: header["A"].update(dtype="F16"), Reason.TENSOR),
        (lambda header: header["A"].update(data_offsets=[0]), Reason.FIELD),
        (lambda header: header["A"].update(shape=[1, 1, 1, 1]), Reason.SIZE),
        (lambda header: header["A"].update(shape=[0, 3]), Reason.RANGE),
        (lambda header: header.update(B=header["A"]), Reason.LAYOUT),
    ],
)
def test_headers(change: Callable[[dict[str, Any]], object], reason: Reason) -> None:
    read_model(_header(lambda header: None))
    assert _reason(read_model, _header(change)) is reason


# What is proved, and not enough


def test_a_claim_of_one_input_more() -> None:
    """The rejection carries what was proved all the same, and its kind tells it from a malformed input."""
    case = replace(random_case(random.Random(1)), strategy="exhaustive")
    found = check(*case.files())
    assert isinstance(found, Conclusion)
    certified = found.accuracy.certified_inputs
    assert check(*case.files(certified)).accuracy == found.accuracy
    with pytest.raises(Rejected) as caught:
        check(*case.files(certified + 1))
    assert caught.value.reason is Reason.INPUTS
    assert caught.value.reason.kind == "unproved"
    assert caught.value.findings is not None
    assert caught.value.findings.accuracy == found.accuracy
    assert Reason.JSON.kind == "malformed"


def test_kinds() -> None:
    unproved = {reason for reason in Reason if reason.kind == "unproved"}
    assert unproved == {Reason.INPUTS, Reason.BUDGET, Reason.NOT_PROVED}
    assert {reason.kind for reason in Reason} == {"unproved", "malformed"}
