"""Canonical JSON, and the forms of documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from verifier.proof import canonical
from verifier.proof.canonical import GREATEST_INTEGER, MAX_DEPTH, Json
from verifier.proof.reasons import MalformedError, Reason
from verifier.proof.shape import (
    DYADIC,
    SHA256,
    Anything,
    Constant,
    Flag,
    Items,
    Maybe,
    Record,
    Row,
    Shape,
    Table,
    Text,
    Whole,
    check,
    schema,
)

INTEGERS = st.integers(-GREATEST_INTEGER, GREATEST_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)
LIMIT = 1 << 20


@given(VALUES)
def test_decoding_undoes_encoding(value: Json) -> None:
    data = canonical.encode(value)
    assert data.isascii()
    assert canonical.decode_canonical(data, LIMIT) == value
    assert json.loads(data) == value


@given(VALUES)
def test_the_encoding_does_not_depend_on_the_order_of_names(value: Json) -> None:
    assert canonical.encode(_reversed(value)) == canonical.encode(value)


def _reversed(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _reversed(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [_reversed(item) for item in value]
    return value


@given(VALUES, st.data())
def test_a_changed_byte_changes_the_value_or_is_refused(value: Json, data: st.DataObject) -> None:
    text = bytearray(canonical.encode(value))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    try:
        found = canonical.decode_canonical(bytes(text), LIMIT)
    except MalformedError:
        return
    assert canonical.encode(found) != canonical.encode(value)


@given(st.binary(max_size=200) | TEXTS.map(str.encode))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        value = canonical.decode(data, LIMIT)
    except MalformedError:
        return
    canonical.encode(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.SYNTAX),
        ("{", Reason.SYNTAX),
        ("[1,]", Reason.SYNTAX),
        ('{"a":1,}', Reason.SYNTAX),
        ("01", Reason.SYNTAX),
        ("+1", Reason.SYNTAX),
        ("0x10", Reason.SYNTAX),
        ("1_000", Reason.SYNTAX),
        ("nan", Reason.SYNTAX),
        ("NaN", Reason.NUMBER),
        ("Infinity", Reason.NUMBER),
        ("-Infinity", Reason.NUMBER),
        ("1.0", Reason.NUMBER),
        ("1e0", Reason.NUMBER),
        ("-0", Reason.NUMBER),
        ("9007199254740992", Reason.NUMBER),
        ("-9007199254740992", Reason.NUMBER),
        ("9" * 5000, Reason.NUMBER),
        ('{"a":1,"a":1}', Reason.DUPLICATE),
        ('{"a":1,"\\u0061":2}', Reason.DUPLICATE),
        ('[{"x":{"a":1,"a":1}}]', Reason.DUPLICATE),
        ('"\\ud800"', Reason.SURROGATE),
        ('{"\\udfff":1}', Reason.SURROGATE),
        ('"\\udc00\\ud800"', Reason.SURROGATE),
        ('"a\nb"', Reason.SYNTAX),
        ('"é"', Reason.ENCODING),
        ("1 2", Reason.SYNTAX),
        ("[" * 65 + "]" * 65, Reason.DEPTH),
        ("\ufeff1", Reason.ENCODING),
    ],
)
def test_refused(text: str, reason: Reason) -> None:
    with pytest.raises(MalformedError) as caught:
        canonical.decode(text.encode(), LIMIT)
    assert caught.value.reason is reason


def test_limits_are_reached_and_not_passed() -> None:
    for value in (GREATEST_INTEGER, -GREATEST_INTEGER):
        assert canonical.decode(str(value).encode(), LIMIT) == value
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert canonical.decode_canonical(deepest, LIMIT) is not None
    assert canonical.decode(b'"' + b"[" * 1000 + b'\\"{"', LIMIT) == "[" * 1000 + '"{'
    assert canonical.decode(b"[1]", 3) == [1]
    with pytest.raises(MalformedError) as caught:
        canonical.decode(b"[1]", 2)
    assert caught.value.reason is Reason.SIZE


@pytest.mark.parametrize("value", [0.5, float("nan"), {1: 2}, (1,), {1}, b"x", 2**53, "\ud800", [[0.5]]])
def test_what_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(MalformedError):
        canonical.encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: Any = []
    endless.append(endless)
    with pytest.raises(MalformedError) as caught:
        canonical.encode(endless)
    assert caught.value.reason is Reason.DEPTH


def test_documents_become_json() -> None:
    assert canonical.as_json({"a": (1, "x", None, True)}) == {"a": [1, "x", None, True]}
    with pytest.raises(MalformedError):
        canonical.as_json({"a": 0.5})
    with pytest.raises(MalformedError):
        canonical.as_json({"a": b"bytes"})


SHAPES: list[Shape] = [
    Constant("x"),
    Text("[a-z]+", 3, "lower case"),
    Whole(-1, 3),
    Flag(),
    Maybe(Flag()),
    Items(Whole(), 1, 2),
    Row((Flag(), Whole())),
    Record({"a": Flag(), "b": Whole()}, optional=frozenset({"b"})),
    Table("[a-z]", Flag(), 2),
    Anything("an object"),
    SHA256,
    DYADIC,
]
SAMPLES: list[Json] = [
    None,
    True,
    False,
    0,
    1,
    -2,
    4,
    "",
    "x",
    "xyz",
    "xyzz",
    "X",
    "a" * 64,
    "a" * 65,
    [],
    [0],
    [True, 0],
    [0, True],
    [0, 1, 2],
    {},
    {"a": True},
    {"a": 1},
    {"a": True, "b": 0},
    {"a": True, "b": 0, "c": 0},
    {"b": 0},
    {"A": True},
    {"mantissa": "-12", "exponent": 3},
    {"mantissa": "-0", "exponent": 3},
    {"mantissa": "012", "exponent": 3},
    {"mantissa": 12, "exponent": 3},
    {"mantissa": "1", "exponent": 10**6},
]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_a_form_and_its_schema_say_the_same(shape: Shape) -> None:
    validator = Draft202012Validator(schema(shape))
    accepted = 0
    for sample in SAMPLES:
        try:
            check(shape, sample, "sample")
            fits = True
        except MalformedError:
            fits = False
        assert validator.is_valid(sample) is fits, sample
        accepted += fits
    assert accepted
