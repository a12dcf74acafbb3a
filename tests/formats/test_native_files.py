"""Native files: strict reading, the same bytes back, and folding against the kernel's own."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from flint import fmpq
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from tests.formats.format_samples import exactly, random_model, random_state
from tests.shipped import SMALL
from verifier.errors import InputError
from verifier.exact import exact, rounded
from verifier.formats import import_file, import_model
from verifier.kernel import circuit as kernel_circuit
from verifier.kernel.cost import Cost
from verifier.kernel.model_file import read_model as kernel_read
from verifier.model import (
    TENSORS,
    AttentionWeight,
    FoldedCircuit,
    Model,
    decode,
    encode,
    fold,
    forward,
    input_tokens,
    parse_attention,
    read_model,
    read_native,
    write_model,
)
from verifier.tensor_file import decode_tensors

MODELS = [
    random_model(5),
    random_model(7, "a b =7", "1/3"),
    random_model(5, "a b+5 =10", "1", vocabulary=11, outputs=11),
    random_model(5, "b a", "-2/7"),
]
INTERVAL = AttentionWeight(Fraction(9, 10), Fraction(1))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: " ".join(model.layout))
def test_reading_gives_back_what_was_written(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    digest = write_model(model, path)
    read = read_model(path)
    assert encode(read) == path.read_bytes()
    assert read.attention == model.attention
    assert read.provenance == model.provenance
    assert import_file(path).source_sha256 == digest
    with safe_open(path, "np") as file:
        assert set(file.keys()) == set(TENSORS)
        assert file.metadata()["layout"] == " ".join(model.layout)
    circuit = fold(model)
    write_model(circuit, path)
    again = read_native(path)
    assert isinstance(again, FoldedCircuit)
    assert encode(again) == encode(circuit)
    assert safetensors.numpy.load_file(path).keys() == {"A", "B", "W", "S1", "S2"}
    with pytest.raises(InputError, match="is a folded circuit, and this needs a transformer"):
        read_model(path)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: " ".join(model.layout))
def test_folding_agrees_with_the_kernel(model: Model) -> None:
    """Ours, exact but for one rounding, lies in the kernel's enclosure. Which side has the constants is free, so A + B
    and S1 + S2 are compared.
    """
    ours, theirs = fold(model), kernel_circuit.fold(kernel_read(encode(model)), Cost())
    assert ours.S1 is not None
    assert ours.S2 is not None

    def entries(table: Any) -> tuple[list[list[Fraction]], Fraction]:
        unit = Fraction(2) ** table.exponent
        return [[int(x) * unit for x in row] for row in table.values], table.radius * unit

    def near(x: float, y: Fraction, radius: Fraction) -> bool:
        return abs(Fraction(x) - y) <= radius + abs(y) * Fraction(1, 1 << 50) + Fraction(1, 1 << 46)

    p, n, q = model.p, model.neurons, model.outputs
    (A, rA), (B, rB), (S1, r1), (S2, r2) = (entries(x) for x in (theirs.a, theirs.b, theirs.s1, theirs.s2))
    W, rW = entries(theirs.w)
    assert max(rA, rB, rW, r1, r2) < Fraction(1, 1 << 16)
    for a in range(p):
        for b in range(p):
            assert all(near(ours.A[i, a] + ours.B[i, b], A[a][i] + B[b][i], rA + rB) for i in range(n))
            assert all(near(ours.S1[c, a] + ours.S2[c, b], S1[a][c] + S2[b][c], r1 + r2) for c in range(q))
    assert all(near(ours.W[c, i], W[i][c], rW) for i in range(n) for c in range(q))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=12))
def test_exact_matrices_are_exact(values: list[float]) -> None:
    row, fractions = np.array([values], dtype=np.float32), [Fraction(x) for x in values]
    matrix, column = exact(row), exact(np.ones((len(values), 1)))
    assert [Fraction(int(x.p), int(x.q)) for x in matrix.entries()] == fractions
    assert np.array_equal(rounded(matrix), row.astype(np.float64))
    assert rounded(matrix * column)[0, 0] == float(sum(fractions, Fraction(0)))
    assert rounded(matrix * column * fmpq(1, 3))[0, 0] == float(sum(fractions, Fraction(0)) / 3)


def test_attention_weights_are_written_and_read() -> None:
    for text in ("1/2", "1", "0", "9/10:1", "-1/3:1/1048576"):
        assert str(parse_attention(text, "test")) == text
    assert parse_attention("2/4", "test") == exactly("1/2", 1)[0]
    assert INTERVAL.middle == Fraction(19, 20)
    for text in ("", "0.5", "1/0", "1//2", "1/2:1/3", "1:2:3", "1/1048577", "1e3", " 1/2", "12345678"):
        with pytest.raises(InputError, match=r"^test: attention: "):
            parse_attention(text, "test")


def test_an_interval_is_kept_and_folded_in_its_middle() -> None:
    model = replace(random_model(5), attention=(INTERVAL, INTERVAL))
    read = decode(encode(model), "m")
    assert isinstance(read, Model)
    assert read.attention == (INTERVAL, INTERVAL)
    middle = replace(model, attention=exactly("19/20", 2))
    assert encode(replace(fold(model), provenance={})) == encode(replace(fold(middle), provenance={}))
    positions = kernel_read(encode(model)).positions
    assert [(x.attention_low, x.attention_high) for x in positions] == [(Fraction(9, 10), Fraction(1))] * 2


def test_the_kernel_covers_every_pattern_of_an_interval() -> None:
    """Logits with sampled patterns, every head and input with its own and ends favoured, lie within Lemma K."""
    model = replace(random_model(5), attention=(INTERVAL, AttentionWeight(Fraction(1, 2), Fraction(3, 4))))
    heads = {name: model.tensors[name].copy() for name in ("blocks.0.attn.W_V", "blocks.0.attn.W_O")}
    opposite = {name: tensor.copy() for name, tensor in heads.items()}
    opposite["blocks.0.attn.W_V"][1] = heads["blocks.0.attn.W_V"][0]
    opposite["blocks.0.attn.W_O"][1] = -heads["blocks.0.attn.W_O"][0]  # equal patterns would cancel
    for tensors in (heads, opposite):
        variant = replace(model, tensors={**model.tensors, **tensors})
        circuit = kernel_circuit.quantise(kernel_circuit.fold(kernel_read(encode(variant)), Cost()), 5, Cost())
        unit = 2.0 ** -(circuit.pre_scale + circuit.out_scale)
        run = forward(variant)
        low, high = (np.array([float(getattr(w, end)) for w in model.declared]) for end in ("low", "high"))
        rng = np.random.default_rng(3)
        reached = 0.0
        for _ in range(200):
            shares = np.clip(rng.uniform(-0.5, 1.5, size=(5, 2, 2)), 0, 1)
            a = int(rng.integers(5))
            theirs = run(input_tokens(variant.positions, 5, a), low + (high - low) * shares)[1]
            for b in range(5):
                hidden = np.maximum(0, circuit.pre_a[:, a] + circuit.pre_b[:, b])
                units = hidden @ circuit.out + ((circuit.skip_a[a] + circuit.skip_b[b]) << kernel_circuit.SKIP_SHIFT)
                reached = max(reached, float(np.abs(theirs[b] - units * unit).max()))
        assert reached <= circuit.logit_error * unit
        assert reached > 0.02 * circuit.logit_error * unit  # the bound is not vacuous either


# Damage.

Edit = Callable[[dict[str, Any]], object]


def edited(edit: Edit, model: Model | FoldedCircuit = MODELS[0], body: bytes | None = None) -> bytes:
    """A native file with its header changed."""
    data = encode(model)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (data[8 + length :] if body is None else body)


def meta(**changes: str | None) -> Edit:
    def edit(header: dict[str, Any]) -> None:
        for name, value in changes.items():
            if value is None:
                del header["__metadata__"][name]
            else:
                header["__metadata__"][name] = value

    return edit


@pytest.mark.parametrize("text", ["[]", "{"])
def test_provenance_is_an_object(text: str) -> None:
    with pytest.raises(InputError, match=r"^m: metadata provenance must be a JSON object$"):
        decode(edited(meta(provenance=text)), "m")


def test_a_header_that_is_not_strict_json_is_refused() -> None:
    def file(text: bytes) -> bytes:
        return struct.pack("<Q", len(text)) + text

    for text in (b'{"a": 1, "a": 1}', b"[]", b"{ ", b'{"\xff": 1}', b"[" * 100_000):
        with pytest.raises(InputError, match=r"^m: header must be (a )?JSON"):
            decode_tensors(file(text), "m")
    for data in (b"", b"1234567", struct.pack("<Q", 1 << 40) + b"{}", file(b"{}")[:9] + b""):
        with pytest.raises(InputError, match=r"^m: header "):
            decode_tensors(data, "m")


def test_every_truncation_and_extension_is_refused() -> None:
    data = encode(MODELS[0])
    for length in (*range(0, 64, 7), *range(64, len(data), 101), len(data) - 1):
        with pytest.raises(InputError):
            decode(data[:length], "m")
    with pytest.raises(InputError, match="65 positions"):
        decode(edited(meta(layout=" ".join(["a"] * 65))), "m")
    with pytest.raises(InputError, match="bytes of data"):
        decode(data + b"\0", "m")


def test_random_damage_is_refused_or_harmless() -> None:
    rng = random.Random(5)
    for model in (MODELS[0], fold(MODELS[0])):
        data = encode(model)
        for _ in range(300):
            damaged = bytearray(data)
            damaged[rng.randrange(min(len(data), 2500))] = rng.randrange(256)
            with contextlib.suppress(InputError):
                encode(decode(bytes(damaged), "m"))


def test_values_and_sizes_are_checked() -> None:
    model = MODELS[0]
    for value in (np.inf, np.nan):
        tensor = model.tensors["blocks.0.mlp.W_in"].copy()
        tensor[0, 0] = value
        with pytest.raises(InputError, match=r"^m: blocks\.0\.mlp\.W_in: a value is infinite"):
            decode(encode(replace(model, tensors={**model.tensors, "blocks.0.mlp.W_in": tensor})), "m")


def test_options_that_contradict_a_native_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model(MODELS[0], path)
    assert import_file(path, p=5).model.p == 5
    for options, rule in (
        ({"attention": "1"}, "--attention does not apply"),
        ({"layout": "a b"}, "--layout does not apply"),
        ({"p": 7}, "--p is 7, and the file says p = 5"),
    ):
        with pytest.raises(InputError, match=rule):
            import_file(path, **options)


def test_what_an_import_assumed_is_read_back_from_the_native_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    imported = import_model(random_state(keys=1.0), attention="1/2")
    path.write_bytes(imported.encode())
    assert import_file(path).assumptions == imported.assumptions == ("with attention fixed at 1/2, 1/2",)
    assert import_file(path).notes == imported.assumptions
    for odd in ("text", {"a": 1}, ["x" * 201, 3, None, "\x1b[2J", "", "é", "kept"]):
        write_model(replace(MODELS[0], provenance={"assumptions": odd}), path)
        assert import_file(path).assumptions == (("kept",) if isinstance(odd, list) else ())


def test_a_header_whose_length_begins_like_a_pickle(tmp_path: Path) -> None:
    model, path = decode(SMALL.read_bytes(), str(SMALL)), tmp_path / "m.safetensors"
    data = next(
        data for n in range(300) if (data := encode(replace(model, provenance={"pad": "x" * n}))).startswith(b"\x80")
    )
    path.write_bytes(data)
    assert import_file(path).encode() == data
