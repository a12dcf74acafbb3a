"""Strict JSON: one decoder, and forms declared as data, for claims, certificates and model headers.

Accepted: UTF-8, objects without repeated names, integers of bounded length, strings, lists. Refused before they can do
harm: floats, NaN, huge integers, deep nesting, trailing data. A form says what a value must be; its `read` refuses
everything else. The JSON Schemas in the documentation are made from the same forms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, Protocol

import numpy as np

from verifier.kernel.limits import JSON_DEPTH, JSON_DIGITS, TEXT
from verifier.kernel.reasons import Reason, Rejected, require

Json = dict[str, "Json"] | list["Json"] | str | int | bool | None


class Form(Protocol):
    """What a value must be."""

    def read(self, value: Json, where: str) -> Any:
        """`value`, which is of the form: integers, strings, lists and dicts.

        **Raises** `Rejected(FIELD | RANGE | SIZE)`, naming the field.
        """


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from `low` to `high`."""

    low: int
    high: int

    def read(self, value: Json, where: str) -> int:
        return self.column([value], where)[0]

    def column(self, values: Sequence[Json], where: str) -> list[int]:
        """All of `values`."""
        if not set(map(type, values)) <= {int}:
            raise Rejected(Reason.FIELD, f"{where}: not an integer")
        numbers: list[int] = list(values)  # type: ignore[arg-type]
        least, most = min(numbers, default=self.low), max(numbers, default=self.low)
        if not self.low <= least <= most <= self.high:
            wrong = least if least < self.low else most
            raise Rejected(Reason.RANGE, f"{where}: {wrong} is not {self.low} to {self.high}")
        return numbers


@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `most` characters that matches `pattern` as a whole; `what` says that in words."""

    pattern: str = r"(?s).*"
    what: str = "a string"
    most: int = TEXT

    def read(self, value: Json, where: str) -> str:
        if not isinstance(value, str) or len(value) > self.most or re.fullmatch(self.pattern, value) is None:
            raise Rejected(Reason.FIELD, f"{where}: not {self.what} (of at most {self.most} characters)")
        return value


def _list(value: Json, least: int, most: int, where: str) -> list[Json]:
    if not isinstance(value, list):
        raise Rejected(Reason.FIELD, f"{where}: not a list")
    if not least <= len(value) <= most:
        raise Rejected(Reason.SIZE, f"{where}: {len(value)} items, not {least} to {most}")
    return value


@dataclass(frozen=True, slots=True)
class Items:
    """A list of `least` to `most` values of one form."""

    of: Form
    least: int
    most: int

    def read(self, value: Json, where: str) -> list[Any]:
        items = _list(value, self.least, self.most, where)
        if isinstance(self.of, Integer):
            return self.of.column(items, where)
        return [self.of.read(item, f"{where}[{index}]") for index, item in enumerate(items)]


@dataclass(frozen=True, slots=True)
class Table:
    """A list of `least` to `most` rows of integers, `columns` giving the range of each place; read by column."""

    columns: tuple[Integer, ...]
    least: int
    most: int

    def read(self, value: Json, where: str) -> list[list[int]]:
        width, rows = len(self.columns), _list(value, self.least, self.most, where)
        if not all(isinstance(row, list) and len(row) == width for row in rows):
            raise Rejected(Reason.FIELD, f"{where}: not {width} numbers in every row")
        flat: list[Json] = list(chain.from_iterable(rows))  # type: ignore[arg-type]
        return [form.column(flat[place::width], where) for place, form in enumerate(self.columns)]


@dataclass(frozen=True, slots=True)
class Record:
    """An object with exactly these fields."""

    fields: dict[str, Form]

    def read(self, value: Json, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Rejected(Reason.FIELD, f"{where}: not an object")
        for name in sorted(self.fields.keys() ^ value.keys()):
            state = "missing" if name in self.fields else "unknown"
            raise Rejected(Reason.FIELD, f"{where}: field {name[:60]!r} is {state}")
        return {name: form.read(value[name], f"{where}.{name}") for name, form in self.fields.items()}


DIGEST = Text("[0-9a-f]{64}", "a SHA-256 in lower-case hex")


def choice(*values: str) -> Text:
    return Text("|".join(map(re.escape, values)), f"one of {', '.join(values)}")


# Possessive, and content with a missing last quote: linear in time whatever the bytes are.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_MINUS_ZERO = re.compile(rb"-0(?![0-9])")
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # of the nesting, as signed bytes
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def _require_bounded(data: bytes, source: str) -> None:
    """Refuse deep nesting and long integers before they are decoded, without recursion.

    **Raises** `Rejected(JSON | RANGE)`.
    """
    bare = _STRING.sub(b"", data)
    long = b"0" * (JSON_DIGITS + 1) in bare.translate(_ZEROS)
    require(not long, Reason.RANGE, f"{source}: an integer has more than {JSON_DIGITS} digits")
    require(_MINUS_ZERO.search(bare) is None, Reason.JSON, f"{source}: −0 is not an integer")
    steps = np.frombuffer(bare.translate(_STEPS, _NO_BRACKETS), dtype=np.int8)
    deepest = int(np.cumsum(steps, dtype=np.int64).max(initial=0))
    require(deepest <= JSON_DEPTH, Reason.JSON, f"{source}: nested deeper than {JSON_DEPTH}")


def decode(data: bytes, source: str, most_bytes: int) -> Json:
    """Decode `data`, called `source` in messages.

    **Raises** `Rejected(SIZE | JSON | RANGE)`.
    """
    require(len(data) <= most_bytes, Reason.SIZE, f"{source}: {len(data)} bytes, at most {most_bytes}")
    _require_bounded(data, source)

    def refuse(text: str) -> NoReturn:
        raise Rejected(Reason.JSON, f"{source}: {text[:40]} is not an integer")

    def unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        names = dict(pairs)
        require(len(names) == len(pairs), Reason.JSON, f"{source}: a name is repeated in an object")
        return names

    try:
        value: Json = json.loads(
            data.decode("utf-8"), parse_float=refuse, parse_constant=refuse, object_pairs_hook=unique
        )
        if b"\\u" in data:  # half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise Rejected(Reason.JSON, f"{source}: {error}") from None
    return value
