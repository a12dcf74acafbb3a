"""What the kernel's forms lack, for documents that the kernel does not read; and every form as JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from verifier.kernel import Reason as KernelReason
from verifier.kernel import Rejected
from verifier.kernel.forms import Form, Integer, Items, Json, Record, Table, Text
from verifier.proof.reasons import MalformedError, Reason


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, value: Json, where: str) -> bool:
        if type(value) is not bool:
            raise Rejected(KernelReason.FIELD, f"{where}: not true or false")
        return value


@dataclass(frozen=True, slots=True)
class Maybe:
    """Null, or the form `item`."""

    item: Form

    def read(self, value: Json, where: str) -> Any:
        return None if value is None else self.item.read(value, where)


@dataclass(frozen=True, slots=True)
class Map:
    """An object of at most `most` fields with any names that match `names`, every value of one form."""

    names: Text
    item: Form
    most: int

    def read(self, value: Json, where: str) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > self.most:
            raise Rejected(KernelReason.FIELD, f"{where}: not an object of at most {self.most} fields")
        return {self.names.read(name, where): self.item.read(x, f"{where}.{name[:60]}") for name, x in value.items()}


@dataclass(frozen=True, slots=True)
class Extended:
    """A record with all fields of `more` besides, or none of them."""

    base: Record
    more: Record

    def read(self, value: Json, where: str) -> dict[str, Any]:
        whole = isinstance(value, dict) and not self.more.fields.keys().isdisjoint(value)
        return (Record(self.base.fields | self.more.fields) if whole else self.base).read(value, where)


def require(form: Form, value: Json, where: str) -> None:
    """Compare `value`, found at `where`, with `form`.

    **Raises** `MalformedError(FIELD)` naming the place and the rule.
    """
    try:
        form.read(value, where)
    except Rejected as error:
        raise MalformedError(Reason.FIELD, error.detail) from None


def schema(form: Form) -> dict[str, object]:
    """`form` as JSON Schema (draft 2020-12), which takes 1.0 for an integer; the decoder does not."""
    match form:
        case Text(pattern, what, most):
            plain = pattern.removeprefix("(?s)") if pattern != Text().pattern else "[^]*"
            return {"type": "string", "pattern": f"^(?:{plain})$", "maxLength": most, "description": what}
        case Integer(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case Items(of, least, most):
            return {"type": "array", "items": schema(of), "minItems": least, "maxItems": most}
        case Table(columns, least, most):
            row = {
                "type": "array",
                "prefixItems": [schema(x) for x in columns],
                "minItems": len(columns),
                "maxItems": len(columns),
            }
            return {"type": "array", "items": row, "minItems": least, "maxItems": most}
        case Record(fields):
            return {
                "type": "object",
                "properties": {name: schema(item) for name, item in fields.items()},
                "required": sorted(fields),
                "additionalProperties": False,
            }
        case Flag():
            return {"type": "boolean"}
        case Maybe(item):
            return {"anyOf": [{"type": "null"}, schema(item)]}
        case Map(names, item, most):
            open_names = {"propertyNames": schema(names), "additionalProperties": schema(item)}
            return {"type": "object", **open_names, "maxProperties": most}
        case Extended(base, more):
            return {"anyOf": [schema(base), schema(Record(base.fields | more.fields))]}
        case _:
            raise TypeError(f"no form: {form!r}")
