"""The forms that decoded JSON may have: one description for the check and for the JSON Schema.

A form is one of the small records below; `check` compares a value with it, and `schema` writes it as
JSON Schema (draft 2020-12). Objects have exactly the fields that are listed: a missing or an unknown one is
refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeGuard

from verifier.proof.canonical import GREATEST_INTEGER, Json
from verifier.proof.reasons import MalformedError, Reason


@dataclass(frozen=True, slots=True)
class Constant:
    """Exactly this string."""

    value: str


@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `most` characters that matches `pattern` from end to end.

    The patterns use only what Python and ECMA 262 read in the same way.
    """

    pattern: str
    most: int
    description: str


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer between `low` and `high`, both included."""

    low: int = 0
    high: int = GREATEST_INTEGER


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Maybe:
    """Null, or the form `item`."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Items:
    """A list of `least` to `most` entries of one form."""

    item: Shape
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Row:
    """A list with one entry of each form, in this order."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """An object with exactly these fields, of which `optional` may be absent."""

    fields: dict[str, Shape]
    description: str = ""
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """An object with any names that match `pattern`, every value of one form."""

    pattern: str
    item: Shape
    most: int


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON object without floats; what it means is for someone else to say."""

    description: str


Shape = Constant | Text | Whole | Flag | Maybe | Items | Row | Record | Table | Anything

SHA256 = Text("[0-9a-f]{64}", 64, "a SHA-256 digest in lower-case hexadecimal")
MAX_MANTISSA = 400
MAX_EXPONENT = 1 << 14
DYADIC = Record(
    {
        "mantissa": Text("0|-?[1-9][0-9]*", MAX_MANTISSA, "an integer in decimal"),
        "exponent": Whole(-MAX_EXPONENT, MAX_EXPONENT),
    },
    "the exact number mantissa * 2^exponent",
)


def check(shape: Shape, value: Json, where: str) -> None:
    """Compare `value`, found at `where`, with `shape`.

    **Raises** `MalformedError(FIELD)` naming the place and the rule.
    """
    match shape:
        case Constant(expected):
            _require(value == expected and type(value) is str, where, f"must be {expected!r}")
        case Text(pattern, most, description):
            fits = isinstance(value, str) and len(value) <= most and re.fullmatch(pattern, value) is not None
            _require(fits, where, f"must be {description}")
        case Whole(low, high):
            fits = type(value) is int and low <= value <= high
            _require(fits, where, f"must be an integer in {low}..{high}")
        case Flag():
            _require(type(value) is bool, where, "must be true or false")
        case Maybe(item):
            if value is not None:
                check(item, value, where)
        case Items(item, least, most):
            fits = is_list(value) and least <= len(value) <= most
            _require(fits, where, f"must be a list of {least} to {most} entries")
            for index, entry in enumerate(value if is_list(value) else ()):
                check(item, entry, f"{where}[{index}]")
        case Row(items):
            fits = is_list(value) and len(value) == len(items)
            _require(fits, where, f"must be a list of {len(items)} entries")
            for index, (form, entry) in enumerate(zip(items, value if is_list(value) else (), strict=True)):
                check(form, entry, f"{where}[{index}]")
        case Record(fields, _, optional):
            _require(is_object(value), where, "must be an object")
            names = value.keys() if is_object(value) else set()
            for name in sorted(fields.keys() - names - optional):
                raise MalformedError(Reason.FIELD, f"{where}: the field {name!r} is missing")
            for name in sorted(names - fields.keys()):
                raise MalformedError(Reason.FIELD, f"{where}: the field {name[:40]!a} is unknown")
            for name, entry in value.items() if is_object(value) else ():
                check(fields[name], entry, f"{where}.{name}")
        case Table(pattern, item, most):
            fits = is_object(value) and len(value) <= most
            _require(fits, where, f"must be an object of at most {most} fields")
            for name, entry in value.items() if is_object(value) else ():
                _require(re.fullmatch(pattern, name) is not None, where, f"has a field {name[:40]!a}")
                check(item, entry, f"{where}.{name}")
        case Anything(description):
            _require(is_object(value), where, f"must be {description}")


def schema(shape: Shape) -> dict[str, object]:
    """`shape` as JSON Schema, which takes 1.0 for an integer; the decoder does not."""
    match shape:
        case Constant(value):
            return {"const": value}
        case Text(pattern, most, description):
            form = {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": most}
            return form | {"description": description}
        case Whole(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case Flag():
            return {"type": "boolean"}
        case Maybe(item):
            return {"anyOf": [{"type": "null"}, schema(item)]}
        case Items(item, least, most):
            return {"type": "array", "items": schema(item), "minItems": least, "maxItems": most}
        case Row(items):
            forms = [schema(form) for form in items]
            return {"type": "array", "prefixItems": forms, "minItems": len(forms), "maxItems": len(forms)}
        case Record(fields, description, optional):
            return {
                "type": "object",
                "properties": {name: schema(form) for name, form in fields.items()},
                "required": sorted(fields.keys() - optional),
                "additionalProperties": False,
            } | ({"description": description} if description else {})
        case Table(pattern, item, most):
            return {
                "type": "object",
                "propertyNames": {"pattern": f"^(?:{pattern})$"},
                "additionalProperties": schema(item),
                "maxProperties": most,
            }
        case Anything(description):
            return {"type": "object", "description": description}


def is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return type(value) is dict


def is_list(value: Json) -> TypeGuard[list[Json]]:
    return type(value) is list


def _require(condition: bool, where: str, rule: str) -> None:
    if not condition:
        raise MalformedError(Reason.FIELD, f"{where} {rule}")
