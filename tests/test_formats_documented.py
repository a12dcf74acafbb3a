"""The JSON Schemas, the decoders and `docs/certificate.md` say the same about claim, certificate and conclusion."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.shipped import MODELS, ROOT, SHIPPED, SMALL, certified
from verifier import prove
from verifier.kernel import Rejected
from verifier.kernel.certificate import read_certificate
from verifier.kernel.claim import read_claim
from verifier.proof.canonical import as_json
from verifier.proof.documents import CONCLUSION, schema_text
from verifier.proof.forms import require
from verifier.proof.reasons import MalformedError

DOCUMENTATION = (ROOT / "docs" / "certificate.md").read_text()

Path = tuple[str | int, ...]


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema_text(name)))


def decodes_conclusion(value: Any) -> None:
    require(CONCLUSION, as_json(value), "conclusion")


DECODERS: dict[str, Callable[[Any], object]] = {
    "claim": lambda value: read_claim(json.dumps(value).encode()),
    "certificate": lambda value: read_certificate(json.dumps(value).encode()),
    "conclusion": decodes_conclusion,
}


def documents(path: Any) -> dict[str, Any]:
    found = certified(path)
    return {
        "claim": json.loads(found.claim),
        "certificate": json.loads(found.certificate),
        "conclusion": found.conclusion.document(),
    }


def accepts(name: str, value: Any) -> bool:
    try:
        DECODERS[name](value)
    except (Rejected, MalformedError):
        return False
    return True


def objects(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where every object is; of a list, the first and the last entry."""
    if isinstance(value, dict):
        yield path
        for name, item in value.items():
            yield from objects(item, (*path, name))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1} & set(range(len(value)))):
            yield from objects(value[index], (*path, index))


def at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


@pytest.mark.parametrize("model", SHIPPED)
@pytest.mark.parametrize("name", DECODERS)
def test_the_shipped_documents_are_valid(name: str, model: str) -> None:
    value = documents(MODELS / f"{model}.safetensors")[name]
    validator(name).validate(value)
    assert accepts(name, value)


OPEN = {("lemmas",), ("cost", "by_step")} | {
    ("logits", "budget", term) for term in ("quadrature", "profile", "other_frequencies")
}
"""Objects of a conclusion whose names are not fixed."""


def damaged(good: Any, path: Path) -> Iterator[Any]:
    """The object at `path` with an unknown field, a missing one, or one of another type."""
    fields = at(good, path)
    others: list[Any] = [None, 0.5, [[]], {"x": None}]
    yield {**fields, "Unknown": None}  # where names are free, the value is still of the wrong type
    for field in fields:
        if path not in OPEN:
            yield {name: value for name, value in fields.items() if name != field}
        for other in others:
            if (field, other) != ("gap_error", None):  # none where a lead of the closed form is not positive
                yield {**fields, field: other}


@pytest.mark.parametrize("name", DECODERS)
def test_a_damaged_object_is_refused_by_both(name: str) -> None:
    good, strict, refused = documents(SMALL)[name], validator(name), 0
    for path in objects(good):
        for other in damaged(good, path):
            changed = {"": copy.deepcopy(good)}
            at(changed, ("", *path)[:-1])[("", *path)[-1]] = other
            assert not strict.is_valid(changed[""]), (path, other)
            assert not accepts(name, changed[""]), (path, other)
            refused += 1
    assert refused > 30


def test_an_exact_conclusion_is_valid() -> None:
    found = certified(SMALL)
    claim = prove.Request(strategy="exact").claims(found.source)[0]
    outcome = prove.run_kernel({}, found.source.data, claim, found.certificate)
    assert outcome.checked is not None
    value = outcome.checked.conclusion.document()
    validator("conclusion").validate(value)
    assert accepts("conclusion", value)


@pytest.mark.parametrize("name", DECODERS)
def test_every_field_is_documented(name: str) -> None:
    good = documents(SMALL)[name]
    names = {field for path in objects(good) for field in at(good, path)}
    names = {field for field in names if re.fullmatch("[a-z][a-z0-9_]*", field)} - {"mantissa", "exponent"}
    steps = set(good["cost"]["by_step"]) if name == "conclusion" else set()
    missing = sorted(field for field in names - steps if f"`{field}`" not in DOCUMENTATION)
    assert missing == []
    schema = json.dumps(json.loads(schema_text(name)))
    assert not sorted(field for field in names - steps if f'"{field}"' not in schema)
