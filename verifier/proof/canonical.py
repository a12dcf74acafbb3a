"""Canonical JSON: one text for one value, and a decoder that accepts nothing else than exact values.

The canonical text is ASCII: names sorted, no white space, everything outside ASCII escaped as `\\uXXXX`.
Numbers are integers between -(2^53 - 1) and 2^53 - 1, since readers that keep numbers in binary64 change
others in transit; larger ones travel as decimal strings. For values whose strings are printable ASCII,
which is all this project writes, it is also the canonical form of RFC 8785.

The decoder bounds size, nesting and digits before anything is built, so hostile text costs linear time
and memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from verifier.proof.reasons import MalformedError, Reason

Json = dict[str, "Json"] | list["Json"] | str | int | bool | None
"""A value without floats."""

GREATEST_INTEGER = 2**53 - 1
MAX_DEPTH = 64

_DIGITS = len(str(GREATEST_INTEGER)) + 1  # with a sign
_END = object()
_MARK = re.compile(rb'[\[\]{}"]|\\.', re.DOTALL)


def encode(value: Json) -> bytes:
    """The canonical text of `value`.

    **Raises** `MalformedError` for a float, an integer out of range, a name that is not a string, half of a
    surrogate pair, too deep a nesting, or any other type.
    """
    _require_exact(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def decode(data: bytes, limit: int) -> Json:
    """The value of a JSON text of at most `limit` bytes, which need not be canonical.

    **Raises** `MalformedError`: `SIZE`, `ENCODING`, `DEPTH`, `SYNTAX`, `NUMBER`, `DUPLICATE`, `SURROGATE`.
    """
    if len(data) > limit:
        raise MalformedError(Reason.SIZE, f"more than {limit} bytes")
    if not data.isascii():
        raise MalformedError(Reason.ENCODING, "a byte above 127; write \\uXXXX")
    _require_shallow(data)
    try:
        value: Json = json.loads(
            data.decode("ascii"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except json.JSONDecodeError as error:
        raise MalformedError(Reason.SYNTAX, f"{error.msg} at byte {error.pos}") from None
    _require_exact(value)
    return value


def decode_canonical(data: bytes, limit: int) -> Json:
    """The value of a canonical text: `encode(decode_canonical(data)) == data`.

    **Raises** `MalformedError`: as `decode`, and `NOT_CANONICAL`.
    """
    value = decode(data, limit)
    if encode(value) != data:
        raise MalformedError(Reason.NOT_CANONICAL, "white space, order of names, or an escape")
    return value


def _require_shallow(data: bytes) -> None:
    """Refuse nesting beyond `MAX_DEPTH`: one pass, no recursion.

    The brackets outside strings are counted right up to the first syntax error; nothing beyond it is parsed.
    """
    depth, quoted = 0, False
    for match in _MARK.finditer(data):
        mark = match.group()
        if mark == b'"':
            quoted = not quoted
        elif not quoted and mark in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedError(Reason.DEPTH, f"more than {MAX_DEPTH} levels")
        elif not quoted and mark in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value: dict[str, Json] = {}
    for name, item in pairs:
        if name in value:
            raise MalformedError(Reason.DUPLICATE, _quote(name))
        value[name] = item
    return value


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS:  # before int(), which takes quadratic time
        raise MalformedError(Reason.NUMBER, f"an integer of {len(digits)} characters")
    if digits == "-0":
        raise MalformedError(Reason.NUMBER, "-0")
    return int(digits)


def _refuse_number(text: str) -> NoReturn:
    raise MalformedError(Reason.NUMBER, _quote(text))


def _require_exact(value: object) -> None:
    """Refuse what canonical JSON cannot carry: no recursion, and memory for the path only."""
    pending: list[Iterator[object]] = [iter((value,))]
    while pending:
        item = next(pending[-1], _END)
        if item is _END:
            pending.pop()
        elif item is None or item is True or item is False:
            continue
        elif type(item) is int:
            if not -GREATEST_INTEGER <= item <= GREATEST_INTEGER:
                raise MalformedError(Reason.NUMBER, f"an integer of {item.bit_length()} bits")
        elif type(item) is str:
            _require_unicode(item)
        elif type(item) is list or type(item) is dict:
            if len(pending) > MAX_DEPTH:
                raise MalformedError(Reason.DEPTH, f"more than {MAX_DEPTH} levels")
            for name in item if type(item) is dict else ():
                if type(name) is not str:
                    raise MalformedError(Reason.FIELD, "a name is not a string")
                _require_unicode(name)
            pending.append(iter(item.values() if type(item) is dict else item))
        else:
            reason = Reason.NUMBER if isinstance(item, float) else Reason.FIELD
            raise MalformedError(reason, f"a value of type {type(item).__name__}")


def _require_unicode(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise MalformedError(Reason.SURROGATE, _quote(text))


def _quote(text: str) -> str:
    """The start of a hostile string, printable."""
    return ascii(text[:40]) + ("..." if len(text) > 40 else "")


def as_json(value: object) -> Json:
    """`value`, a document built here, with tuples as lists and mappings as dictionaries.

    **Raises** `MalformedError` as `encode`.
    """
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [as_json(item) for item in value]
    _require_exact(value)
    if value is None or isinstance(value, str | int):
        return value
    raise MalformedError(Reason.FIELD, f"a value of type {type(value).__name__}")
