"""Strict JSON: one decoder, and forms declared as data, for claims, certificates and model headers.

Accepted: UTF-8, objects without repeated names, integers of bounded length, strings, lists. Refused before they can do
harm: floats, NaN, huge integers, deep nesting, trailing data. A form says what a value must be; `read` refuses
everything else. The JSON Schemas in the documentation are made from the same forms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

from verifier.kernel.limits import JSON_DEPTH, JSON_DIGITS, TEXT
from verifier.kernel.reasons import Reason, Rejected, require

Json = dict[str, "Json"] | list["Json"] | str | int | bool | None


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from `low` to `high`."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `TEXT` characters that matches `pattern` as a whole; `what` says that in words."""

    pattern: str = r"(?s).*"
    what: str = "a string"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of `least` to `most` values of one form."""

    of: Form
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Table:
    """A list of at most `most` rows of integers, `columns` giving the range of each place."""

    columns: tuple[Integer, ...]
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Record:
    """An object with exactly these fields."""

    fields: dict[str, Form]


Form = Integer | Text | Items | Table | Record
DIGEST = Text("[0-9a-f]{64}", "a SHA-256 in lower-case hex")


def choice(*values: str) -> Text:
    return Text("|".join(map(re.escape, values)), f"one of {', '.join(values)}")


# Possessive, and content with a missing last quote: linear in time whatever the bytes are.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_DIGITS = re.compile(rb"[0-9]++")
_MINUS_ZERO = re.compile(rb"-0(?![0-9])")
_NESTING = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def _require_bounded(data: bytes, source: str) -> None:
    """Refuse deep nesting and long integers before they are decoded, without recursion.

    **Raises** `Rejected(JSON | RANGE)`.
    """
    bare = _STRING.sub(b"", data)
    longest = max(map(len, _DIGITS.findall(bare)), default=0)
    require(longest <= JSON_DIGITS, Reason.RANGE, f"{source}: an integer has {longest} digits")
    require(_MINUS_ZERO.search(bare) is None, Reason.JSON, f"{source}: −0 is not an integer")
    depth = deepest = 0
    for bracket in bare.translate(_NESTING, _NO_BRACKETS):
        depth += 1 if bracket == 0x5B else -1
        deepest = max(deepest, depth)
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
            data.decode("utf-8"),
            parse_float=refuse,
            parse_constant=refuse,
            object_pairs_hook=unique,
        )
        if b"\\u" in data:  # half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise Rejected(Reason.JSON, f"{source}: {error}") from None
    return value


def read(form: Form, value: Json, where: str) -> Any:
    """`value`, which is of the form: integers, strings, lists and dicts.

    **Raises** `Rejected(FIELD | RANGE | SIZE)`, naming the field.
    """
    if isinstance(form, Integer):
        return _integers(form, [value], where)[0]
    if isinstance(form, Text):
        if not isinstance(value, str) or len(value) > TEXT or re.fullmatch(form.pattern, value) is None:
            raise Rejected(Reason.FIELD, f"{where}: not {form.what} (of at most {TEXT} characters)")
        return value
    if isinstance(form, Record):
        if not isinstance(value, dict):
            raise Rejected(Reason.FIELD, f"{where}: not an object")
        for name in sorted(form.fields.keys() ^ value.keys()):
            state = "missing" if name in form.fields else "unknown"
            raise Rejected(Reason.FIELD, f"{where}: field {name[:60]!r} is {state}")
        return {name: read(of, value[name], f"{where}.{name}") for name, of in form.fields.items()}
    if not isinstance(value, list):
        raise Rejected(Reason.FIELD, f"{where}: not a list")
    require(
        form.least <= len(value) <= form.most,
        Reason.SIZE,
        f"{where}: {len(value)} items, not {form.least} to {form.most}",
    )
    if isinstance(form, Table):
        width = len(form.columns)
        if not all(isinstance(row, list) and len(row) == width for row in value):
            raise Rejected(Reason.FIELD, f"{where}: not {width} numbers in every row")
        flat = list(chain.from_iterable(value))  # type: ignore[arg-type]
        return [list(row) for row in zip(*(_column(flat, form, place, where) for place in range(width)), strict=True)]
    if isinstance(form.of, Integer):
        return _integers(form.of, value, where)
    return [read(form.of, item, f"{where}[{index}]") for index, item in enumerate(value)]


def _column(flat: Sequence[Json], form: Table, place: int, where: str) -> list[int]:
    return _integers(form.columns[place], flat[place :: len(form.columns)], where)


def _integers(form: Integer, values: Sequence[Json], where: str) -> list[int]:
    if not set(map(type, values)) <= {int}:
        raise Rejected(Reason.FIELD, f"{where}: not an integer")
    numbers: list[int] = list(values)  # type: ignore[arg-type]
    if numbers:
        for number in (min(numbers), max(numbers)):
            require(
                form.low <= number <= form.high, Reason.RANGE, f"{where}: {number} is not {form.low} to {form.high}"
            )
    return numbers
