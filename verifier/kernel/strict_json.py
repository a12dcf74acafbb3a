"""Strict JSON: one decoding path for claims, certificates and model headers.

Accepted: UTF-8, objects without repeated names, integers of bounded length, strings, lists, booleans. Refused before
they can do harm: floats, NaN, huge integers, deep nesting, trailing data. Typed access goes through `Fields`,
which refuses missing and unknown names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NoReturn

from verifier.kernel.limits import JSON_DEPTH, JSON_DIGITS, TEXT
from verifier.kernel.reasons import Reason, Rejected, require

Json = dict[str, "Json"] | list["Json"] | str | int | bool | None
# Possessive, and content with a missing last quote: linear in time whatever the bytes are.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NESTING = bytes.maketrans(b"{}", b"[]")


def _depth(data: bytes) -> int:
    """Greatest nesting depth of brackets outside strings, without recursion."""
    brackets = re.sub(rb"[^\[\]]", b"", _STRING.sub(b"", data).translate(_NESTING))
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket == 0x5B else -1
        if depth > deepest:
            deepest = depth
            if deepest > JSON_DEPTH:
                break
    return deepest


def decode(data: bytes, source: str, most_bytes: int) -> Json:
    """Decode `data`, called `source` in messages.

    **Raises** `Rejected(SIZE | JSON | RANGE)`.
    """
    require(len(data) <= most_bytes, Reason.SIZE, f"{source}: {len(data)} bytes, at most {most_bytes}")
    require(_depth(data) <= JSON_DEPTH, Reason.JSON, f"{source}: nested deeper than {JSON_DEPTH}")

    def integer(text: str) -> int:
        require(len(text) <= JSON_DIGITS, Reason.RANGE, f"{source}: an integer has {len(text)} digits")
        return int(text)

    def refuse(text: str) -> NoReturn:
        raise Rejected(Reason.JSON, f"{source}: {text[:40]} is not an integer")

    def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        names = dict(pairs)
        require(len(names) == len(pairs), Reason.JSON, f"{source}: a name is repeated in an object")
        return names

    try:
        value: Json = json.loads(
            data.decode("utf-8"),
            parse_int=integer,
            parse_float=refuse,
            parse_constant=refuse,
            object_pairs_hook=unique,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Rejected(Reason.JSON, f"{source}: {error}") from None
    return value


class Fields:
    """A JSON object read by type. Construct it with every name it may have: others, and missing ones, are refused."""

    __slots__ = ("source", "values")

    def __init__(self, value: Json, source: str, names: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise Rejected(Reason.FIELD, f"{source}: not an object")
        expected = set(names)
        for name in sorted(expected ^ value.keys()):
            state = "missing" if name in expected else "unknown"
            raise Rejected(Reason.FIELD, f"{source}: field {name[:60]!r} is {state}")
        self.values = value
        self.source = source

    def integer(self, name: str, low: int, high: int) -> int:
        return integer(self.values[name], f"{self.source}.{name}", low, high)

    def text(self, name: str) -> str:
        value = self.values[name]
        if not isinstance(value, str) or len(value) > TEXT:
            raise Rejected(Reason.FIELD, f"{self.source}.{name}: not a string of at most {TEXT} characters")
        return value

    def digest(self, name: str) -> str:
        value = self.text(name)
        if re.fullmatch("[0-9a-f]{64}", value) is None:
            raise Rejected(Reason.FIELD, f"{self.source}.{name}: not a SHA-256 in lower-case hex")
        return value

    def items(self, name: str, most: int) -> list[Json]:
        return items(self.values[name], f"{self.source}.{name}", most)


def integer(value: Json, where: str, low: int, high: int) -> int:
    """`value` as an integer in [low, high].

    **Raises** `Rejected(FIELD | RANGE)`.
    """
    if type(value) is not int:
        raise Rejected(Reason.FIELD, f"{where}: not an integer")
    require(low <= value <= high, Reason.RANGE, f"{where}: {value} is not between {low} and {high}")
    return value


def items(value: Json, where: str, most: int) -> list[Json]:
    """`value` as a list of at most `most` items.

    **Raises** `Rejected(FIELD | SIZE)`.
    """
    if not isinstance(value, list):
        raise Rejected(Reason.FIELD, f"{where}: not a list")
    require(len(value) <= most, Reason.SIZE, f"{where}: {len(value)} items, at most {most}")
    return value
