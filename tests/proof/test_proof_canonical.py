"""Canonical JSON, and the forms of documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from verifier.kernel.forms import Form, Integer, Items, Json, Record, Table, Text, choice
from verifier.kernel.limits import JSON_DEPTH
from verifier.proof import canonical
from verifier.proof.forms import Extended, Flag, Map, Maybe, require, schema
from verifier.proof.reasons import MalformedError, Reason

GREATEST_INTEGER = 10**15 - 1
INTEGERS = st.integers(-GREATEST_INTEGER, GREATEST_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
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
    "text",
    [
        *("", "{", "[1,]", '{"a":1,}', "01", "+1", "0x10", "1_000", "nan", "1 2", '"a\nb"', "\ufeff1"),
        *("NaN", "Infinity", "-Infinity", "1.0", "1e0", "-0", "1" + "0" * 15, "-1" + "0" * 15, "9" * 5000),
        *('{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '[{"x":{"a":1,"a":1}}]'),
        *('"\\ud800"', '{"\\udfff":1}', '"\\udc00\\ud800"'),
        "[" * (JSON_DEPTH + 1) + "]" * (JSON_DEPTH + 1),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        canonical.decode(text.encode(), LIMIT)
    assert caught.value.reason is Reason.JSON


def test_limits_are_reached_and_not_passed() -> None:
    for value in (GREATEST_INTEGER, -GREATEST_INTEGER):
        assert canonical.decode(str(value).encode(), LIMIT) == value
    deepest = b"[" * JSON_DEPTH + b"]" * JSON_DEPTH
    assert canonical.decode_canonical(deepest, LIMIT) is not None
    assert canonical.decode(b'"' + b"[" * 1000 + b'\\"{"', LIMIT) == "[" * 1000 + '"{'
    assert canonical.decode(b"[1]", 3) == [1]
    with pytest.raises(MalformedError) as caught:
        canonical.decode(b"[1]", 2)
    assert caught.value.reason is Reason.SIZE


@pytest.mark.parametrize("value", [float("nan"), {1}, b"x", {b"x": 1}, {1: 2, "a": 3}])
def test_what_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(MalformedError):
        canonical.encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: Any = []
    endless.append(endless)
    with pytest.raises(MalformedError) as caught:
        canonical.encode(endless)
    assert caught.value.reason is Reason.FIELD


def test_documents_become_json() -> None:
    assert canonical.as_json({"a": (1, "x", None, True)}) == {"a": [1, "x", None, True]}
    with pytest.raises(MalformedError):
        canonical.as_json({"a": 0.5})
    with pytest.raises(MalformedError):
        canonical.as_json({"a": b"bytes"})


FORMS: list[Form] = [
    choice("x"),
    Text("[a-z]+", "lower case", 3),
    Integer(-1, 3),
    Flag(),
    Maybe(Flag()),
    Items(Integer(0, 9), 1, 2),
    Table((Integer(0, 1), Integer(0, 2)), 0, 1),
    Record({"a": Flag(), "b": Integer(0, 9)}),
    Extended(Record({"a": Flag()}), Record({"b": Integer(0, 9)})),
    Map(Text("[a-z]", "a letter"), Flag(), 2),
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
    [],
    [0],
    [True, 0],
    [0, True],
    [[0, 2]],
    [[1, 1], [0, 0]],
    [[2, 0]],
    [0, 1, 2],
    {},
    {"a": True},
    {"a": 1},
    {"a": True, "b": 0},
    {"a": True, "b": 0, "c": 0},
    {"b": 0},
    {"A": True},
]


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_a_form_and_its_schema_say_the_same(form: Form) -> None:
    validator = Draft202012Validator(schema(form))
    accepted = 0
    for sample in SAMPLES:
        try:
            require(form, sample, "sample")
            fits = True
        except MalformedError:
            fits = False
        assert validator.is_valid(sample) is fits, sample
        accepted += fits
    assert accepted
