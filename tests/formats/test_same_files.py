"""Whoever reads model files reads the same: the kernel, this package's own reader, and the safetensors library."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tests.formats.format_samples import random_model, random_state
from tests.formats.header_corpus import ACCEPTED, BODY, REFUSED, TEXT, file
from verifier.errors import InputError
from verifier.formats import import_model
from verifier.kernel import Rejected, limits
from verifier.kernel.model_file import read_model as kernel_read
from verifier.model import decode, encode, fold


def own(data: bytes) -> dict[str, Any] | None:
    """The tensors as this package reads them; None where it refuses."""
    try:
        return dict(decode(data, "m").tensors)
    except InputError:
        return None


def kernel(data: bytes) -> dict[str, Any] | None:
    try:
        tensors = kernel_read(data).tensors
    except Rejected:
        return None
    return {name: np.ldexp(x.values.astype(np.float64), x.exponent) for name, x in tensors.items()}


def library(data: bytes) -> dict[str, Any] | None:
    try:
        return dict(safetensors.numpy.load(data))
    except Exception:  # whatever it raises
        return None


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Up to the digits that the kernel drops, and says so."""
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape
        and np.abs(one[name] - other[name]).max() <= 2.0**-24 * np.abs(one[name]).max()
        for name in one
    )


@pytest.mark.parametrize("case", ACCEPTED)
def test_all_read_the_same(case: str) -> None:
    read = own(ACCEPTED[case])
    assert read is not None
    for reader in (kernel, library):
        other = reader(ACCEPTED[case])
        assert other is not None, reader.__name__
        assert same(read, other), reader.__name__


@pytest.mark.parametrize("case", REFUSED)
def test_this_package_refuses(case: str) -> None:
    assert own(REFUSED[case]) is None


@pytest.mark.parametrize("case", REFUSED)
def test_the_kernel_refuses(case: str) -> None:
    assert kernel(REFUSED[case]) is None


def test_random_damage_makes_no_difference() -> None:
    """Where this package reads a damaged file, so do the kernel and the library, and they read the same."""
    source = random.Random(16)
    marks = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"0",
        b"-",
        b".",
        b"e",
        b" ",
        b"\\ud800",
        b"\xff",
        b"\\u0041",
    ]
    read = 0
    for _ in range(6000):
        text = bytearray(TEXT)
        for _ in range(source.choice((1, 1, 2))):
            place = source.randrange(len(text))
            size = source.choice((0, 1, 1, 3))
            text[place : place + size] = source.choice((b"", source.choice(marks), source.randbytes(1)))
        data = file(bytes(text))
        found = own(data)
        if found is not None:
            read += 1
            for reader in (kernel, library):
                other = reader(data)
                assert other is not None, (reader.__name__, bytes(text))
                assert same(found, other), (reader.__name__, bytes(text))
        elif kernel(data) is not None:
            provenance = json.loads(text)["__metadata__"][
                "provenance"
            ]  # free text to the kernel, JSON to everyone else
            assert not _is_object(provenance), bytes(text)
    assert read > 300


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def test_the_corpus_is_about_headers() -> None:
    assert own(file(TEXT, BODY)) is not None
    assert same(own(file(TEXT, BODY)) or {}, dict(fold(random_model(5)).tensors))


def test_texts_longer_than_the_kernel_reads_are_neither_written_nor_read() -> None:
    model = replace(random_model(5), provenance={"text": "x" * (limits.TEXT - 11)})
    assert kernel(encode(model)) is not None
    with pytest.raises(InputError, match="provenance must have at most 65536 characters"):
        encode(replace(model, provenance={"text": "x" * (limits.TEXT - 10)}))
    longer = encode(model).replace(b'{\\"text\\":', b'{\\"text\\": ')
    longer = (int.from_bytes(longer[:8], "little") + 1).to_bytes(8, "little") + longer[8:]
    assert kernel(longer) is None
    assert own(longer) is None
    run = {"model": random_state(), **{f"metric {index} {'x' * 200}": index for index in range(1000)}}
    (name,) = (name for name in import_model(run).dropped if name.startswith("metric"))
    assert len(name) < 2000
    assert name.endswith(", 980 more")
