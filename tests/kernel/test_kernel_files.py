"""What files may hold, at the exact limits that docs/certificate.md states; and that weights are read exactly."""

from __future__ import annotations

import json
import math
import random
import struct
from fractions import Fraction
from typing import Any

import pytest

from tests.strategies import tensor_file
from verifier.kernel import Reason, Rejected, certificate, claim, limits, model_file
from verifier.kernel.certificate import read_certificate
from verifier.kernel.forms import DIGEST, Form, Integer, Items, Record, Table, Text, choice, decode
from verifier.kernel.model_file import _positions, _require_shapes, _scale, _Span, parse_position, read_model

FIELD, RANGE, SIZE, JSON, LAYOUT, TENSOR, FREQUENCY, NEURONS = (
    Reason.FIELD, Reason.RANGE, Reason.SIZE, Reason.JSON, Reason.LAYOUT, Reason.TENSOR, Reason.FREQUENCY, Reason.NEURONS
)  # fmt: skip
SMALL = Integer(2, 5)


def refused(reason: Reason | None, text: str, read: Any, *arguments: Any) -> Any:
    """What `read` returns; or, where there is a reason, that it refuses for it, with a message that has `text`."""
    if reason is None:
        return read(*arguments)
    with pytest.raises(Rejected) as caught:
        read(*arguments)
    assert caught.value.reason is reason, caught.value
    assert text in caught.value.detail
    return None


@pytest.mark.parametrize(
    ("form", "value", "reason", "text"),
    [
        *((SMALL, x, None if 2 <= x <= 5 else RANGE, f"x: {x} is not 2 to 5") for x in range(1, 7)),
        (SMALL, True, FIELD, "x: not an integer"),
        (Items(SMALL, 0, 3), [], None, ""),
        (Items(SMALL, 1, 3), [], SIZE, "x: 0 items, not 1 to 3"),
        (Items(SMALL, 1, 3), [2, 5, 3], None, ""),
        (Items(SMALL, 1, 3), [2] * 4, SIZE, "x: 4 items"),
        (Items(SMALL, 1, 3), [2, 1, 3], RANGE, "x: 1 is"),
        (Items(SMALL, 1, 3), [2, 6, 3], RANGE, "x: 6 is"),
        (Items(Record({"y": SMALL}), 1, 1), [{"y": 6}], RANGE, "x[0].y: 6"),
        (Text(most=3), "abc", None, ""),
        (Text(most=3), "abcd", FIELD, "x: not a string (of at most 3"),
        (Table((SMALL, Integer(0, 9)), 1, 2), [[2, 9, 5], [0]], FIELD, "x: not 2 numbers"),
        (Table((SMALL, Integer(0, 9)), 1, 2), [[2, 9], [6, 9]], RANGE, "x: 6 is not 2 to 5"),
        (Items(SMALL, 1, 3), 3, FIELD, "x: not a list"),
        (Record({"y": SMALL}), 3, FIELD, "x: not an object"),
        (Record({"y": SMALL}), {}, FIELD, "field 'y' is missing"),
        (Record({"y": SMALL}), {"y": 2, "z": 2}, FIELD, "field 'z' is unknown"),
        (DIGEST, "0" * 65, FIELD, "SHA-256"),
    ],
)
def test_forms(form: Form, value: Any, reason: Reason | None, text: str) -> None:
    if (found := refused(reason, text, form.read, value, "x")) is not None:
        assert found == value
    assert Table((SMALL, Integer(0, 9)), 1, 2).read([[2, 9], [5, 0]], "x") == [[2, 5], [9, 0]]


@pytest.mark.parametrize(
    ("text", "most", "reason"),
    [
        (b"[1, 999999999999999]", 99, None),
        (b"[1, 9999999999999999]", 99, RANGE),
        (b'["9999999999999999"]', 99, None),
        (b"[" * 12 + b"]" * 12, 99, None),
        (b"[" * 13 + b"]" * 13, 99, JSON),
        (b"[[], {}, " + b"[" * 11 + b"]" * 11 + b"]", 99, None),
        (b"[[], {}, " + b"[" * 12 + b"]" * 12 + b"]", 99, JSON),
        (b"[1, 2]", 6, None),
        (b"[1, 2]", 5, SIZE),
    ],
)
def test_decoding_up_to_its_limits(text: bytes, most: int, reason: Reason | None) -> None:
    refused(reason, "x: ", decode, text, "x", most)


def test_the_limits_are_the_documented_ones() -> None:
    """docs/certificate.md, in its order."""
    frequency, phase, neuron, part = (
        Integer(1, 2047),
        Integer(0, 2**32 - 1),
        Integer(0, 2**16 - 1),
        Integer(-(2**27), 2**27),
    )
    family: dict[str, Form] = {
        "frequency": frequency,
        "dc": part,
        "profile": Table((part,) * 4, 1, 8),
        "outputs": Integer(1, 4),
        "members": Table((neuron, Integer(1, 2**32), phase), 1, 2**16),
    }
    other: dict[str, Form] = {"frequency": frequency, "neurons": Items(neuron, 1, 2**16)}
    box: dict[str, Form] = {"frequency": frequency, "whole": phase, "half": phase}
    assert certificate.FORM.fields == {
        "format": Text(),
        "model_sha256": DIGEST,
        "p": Integer(3, 4096),
        "neurons": Integer(1, 2**16),
        "amplitude_exponent": Integer(-1200, 1200),
        "directions": Items(Items(Integer(-(2**24), 2**24), 1, 64), 3, 2**14),
        "families": Items(Record(family), 0, 256),
        "others": Items(Record(other), 0, 256),
        "nodes": Integer(64, 4096),
        "boxes": Items(Record(box), 0, 256),
    }
    row = Items(Integer(-(2**24), 2**24), 3, 128)
    wave: dict[str, Form] = {"frequency": frequency, "cosine": row, "sine": row}
    assert certificate.DEFORMATION.fields == {
        "exponent": Integer(-1200, 1200),
        "constant": row,
        "waves": Items(Record(wave), 0, 128),
    }
    ranges = {name: form for name, form in claim.FORM.fields.items() if isinstance(form, Integer)}
    assert ranges == {"p": Integer(3, 4096), "certified_inputs": Integer(0, 4096**2)}
    assert model_file.LARGEST == {
        "v": 2**14, "t": 64, "d": 2**13, "h": 2**8, "k": 2**13, "n": 2**16, "q": 2**14, "p": 4096
    }  # fmt: skip
    assert model_file.TENSOR.fields == {
        "dtype": choice("F32", "F64"),
        "shape": Items(Integer(1, 2**20), 0, 3),
        "data_offsets": Items(Integer(0, 2**30), 2, 2),
    }
    assert (limits.MODEL_BYTES, limits.HEADER_BYTES, limits.CERTIFICATE_BYTES) == (2**30, 2**20, 2**25)
    assert (limits.CLAIM_BYTES, limits.TEXT, limits.EXPONENT_64, limits.RATIONAL) == (2**16, 2**16, 400, 2**20)


def small(**fields: Any) -> bytes:
    """A certificate of four neurons modulo 8, families of frequencies 1 and 2, and one neuron of frequency 3."""
    profile = [[1, 2, 3, 4]]
    families = [
        {"frequency": 1, "dc": 7, "profile": profile, "outputs": 3, "members": [[3, 5, 6], [1, 8, 9]]},
        {"frequency": 2, "dc": 0, "profile": profile, "outputs": 1, "members": [[0, 1, 0]]},
    ]
    value: dict[str, Any] = {"format": certificate.FORMAT, "model_sha256": "0" * 64, "p": 8, "neurons": 4}
    value |= {"amplitude_exponent": 0, "directions": [[1]] * 8, "families": families, "nodes": 64}
    value |= {"others": [{"frequency": 3, "neurons": [2]}], "boxes": [box(1, 5, 6), box(2, 7, 8)]}
    for name, change in fields.items():
        value[name] = change
    return json.dumps(value).encode()


def box(frequency: int, whole: int = 0, half: int = 0) -> dict[str, int]:
    return {"frequency": frequency, "whole": whole, "half": half}


def family(frequency: int, outputs: int, members: Any = ((0, 1, 0),)) -> dict[str, Any]:
    return {"frequency": frequency, "dc": 0, "profile": [[0] * 4], "outputs": outputs, "members": members}


def test_certificates_are_read_as_they_are() -> None:
    found = read_certificate(small())
    first = found.families[0]
    assert (first.frequency, first.dc, first.outputs, first.profile.tolist()) == (1, 7, 3, [[1, 2, 3, 4]])
    assert (first.neurons.tolist(), first.amplitudes.tolist(), first.phases.tolist()) == ([3, 1], [5, 8], [6, 9])
    assert (found.orders.tolist(), found.others, found.boxes) == ([2, 1, 3, 1], 1, {1: (5, 6), 2: (7, 8)})


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"others": [{"frequency": 4, "neurons": [2]}]}, FREQUENCY, "above (p − 1)/2 = 3"),
        ({"others": [{"frequency": 3, "neurons": [3]}]}, NEURONS, "every one of 4 neurons"),
        ({"families": [], "others": [], "boxes": []}, NEURONS, "every one of 4 neurons"),
        ({"directions": [[1]] * 7 + [[1, 2]]}, FIELD, "rows of different length"),
        ({"neurons": 5}, NEURONS, "every one of 5 neurons"),
        ({"neurons": 3}, NEURONS, "every one of 3 neurons"),
        ({"boxes": [box(1), box(2), box(2)]}, FREQUENCY, "one row per frequency"),
        ({"boxes": [box(1)]}, FREQUENCY, "one row per frequency"),
        ({"boxes": [box(1), box(2), box(3)]}, FREQUENCY, "one row per frequency"),
        *(  # r·k is neither 0 nor p/2 modulo p, up to the last r
            (
                {"p": p, "neurons": 1, "families": [family(k, r)], "others": [], "boxes": [box(k)]},
                reason,
                f"harmonic of frequency {k} is 0 or p/2",
            )
            for p, k, r, reason in (
                (8, 1, 4, FREQUENCY), (8, 2, 2, FREQUENCY), (8, 2, 1, None), (6, 2, 3, FREQUENCY), (6, 2, 2, None),
                (9, 3, 3, FREQUENCY), (9, 3, 2, None), (9, 4, 4, None), (3, 1, 2, None), (3, 1, 3, FREQUENCY),
            )
        ),
    ],
)  # fmt: skip
def test_certificates_at_their_limits(fields: dict[str, Any], reason: Reason | None, text: str) -> None:
    refused(reason, text, read_certificate, small(**fields))


METADATA = {"format": model_file.CIRCUIT, "task": claim.ADDITION, "p": "3", "provenance": ""}


def circuit(code: str, values: list[float], p: int = 3, q: int = 3) -> bytes:
    """`values`: of A, whose rows are p long; W is all ones."""
    n = len(values) // p
    tables: dict[str, Any] = {"A": ((n, p), values), "B": ((n, p), values), "W": ((q, n), [1.0] * (q * n))}
    return tensor_file(tables, {**METADATA, "p": str(p)}, code)


def powers(code: str) -> tuple[float, float, float]:
    """The least value that may be written, the least normal one, and a number with all digits."""
    return (2.0**-149, 2.0**-126, 2 - 2.0**-23) if code == "f" else (2.0**-400, 2.0**-400, 2 - 2.0**-52)


@pytest.mark.parametrize("code", ["f", "d"])
@pytest.mark.parametrize("size", ["one", "subnormal", "least", "wide", "blocks", "largest", "zero"])
def test_weights_are_read_exactly(code: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every digit that fits below 31 bits is there, what does not is cut off toward zero, and then only is there a
    radius."""
    monkeypatch.setattr(model_file, "BLOCK", 5)
    rng, (least, normal, full) = random.Random(1), powers(code)
    top = 2.0**127 if code == "f" else 2.0**399
    values = {
        "one": [1.0, -1.0, 0.0, 1.5, -0.25, 3.0],
        "subnormal": [least, -normal, normal - least, 0.0, 3 * least, 2 * normal],
        "least": [least, least - normal, 0.0, 0.0, -0.0, -least],
        "wide": [full, -full * 2.0**-9, full * 2.0**-31, full * 2.0**-40, -full * 2.0**-70, least],
        "blocks": [rng.choice((1, -1)) * full * 2.0 ** -rng.randrange(4) for _ in range(24)],
        "largest": [top * full, -top, least, 1.0, 0.0, -full],
        "zero": [0.0] * 6,
    }[size]
    table = read_model(circuit(code, values)).tensors["A"]
    unit = Fraction(2) ** table.exponent
    cut = [Fraction(x) / unit - int(m) for x, m in zip(values, table.values.ravel().tolist(), strict=True)]
    assert all(0 <= r < 1 if x >= 0 else -1 < r <= 0 for r, x in zip(cut, values, strict=True))
    assert table.radius == (1 if any(cut) else 0)
    sizes = abs(table.values).max()
    assert sizes < 1 << 31
    assert size in ("subnormal", "least", "zero") or sizes >= 1 << 30
    assert not any(cut) or sizes >= 1 << 30


@pytest.mark.parametrize(
    ("code", "bad", "reason"),
    [
        *((code, x, Reason.NOT_FINITE) for code in "fd" for x in (math.inf, -math.inf, math.nan)),
        *(("d", x, RANGE) for x in (2.0**401, -(2.0**401), 2.0**-401, 5e-324, 2.0**1023)),
        *(("d", x, None) for x in (2.0**400, -(2.0**401 - 2.0**348), 2.0**-400, 0.0)),
        *(("f", x, None) for x in (2.0**-149, 2.0**127, 0.0)),
    ],
)
def test_what_a_weight_may_be(code: str, bad: float, reason: Reason | None) -> None:
    for others in (1.0, 0.0, bad):
        refused(reason, "model A: a value", read_model, circuit(code, [others, bad, others]))
        if code == "d" and reason is RANGE:
            refused(reason, "400", read_model, circuit(code, [0.0, bad, 0.0]))


def edited(old: bytes, new: bytes, extra: bytes = b"") -> bytes:
    """A circuit of one neuron whose header reads `new` for `old`, with `extra` data at its end."""
    data = circuit("f", [1.0, 2.0, 3.0])
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    assert old in header
    header = header.replace(old, new, 1)
    return struct.pack("<Q", len(header)) + header + data[8 + length :] + extra


@pytest.mark.parametrize(
    ("data", "reason", "text"),
    [
        (b"1234567", LAYOUT, "shorter than"),
        (struct.pack("<Q", 1), SIZE, "header of 1 bytes"),
        (struct.pack("<Q", 2**56 + 2) + b"{}", SIZE, "header of 72057594037927938 bytes"),
        (struct.pack("<Q", 2) + b"{}", FIELD, "no __metadata__"),
        (struct.pack("<Q", 3) + b"{}", LAYOUT, "cut off"),
        (struct.pack("<Q", 2) + b"[]", JSON, "start with an object"),
        (struct.pack("<Q", 2**20 + 1) + b" " * (2**20 + 1), SIZE, "header of"),
        (struct.pack("<Q", 2**20) + b"{}" + b" " * (2**20 - 2), FIELD, "no __metadata__"),
        (edited(b'"3"', b'"2"'), RANGE, "metadata.p: 2 is not 3 to 4096"),
        (edited(b'"3"', b'"4097"'), RANGE, "metadata.p: 4097"),
        (edited(b"circuit/1", b"circuit/3"), Reason.FORMAT, "metadata.format"),
        (edited(b"(a + b)", b"(a ^ b)"), Reason.TASK, "metadata.task"),
        (edited(b"", b"", b"1234"), LAYOUT, "40 bytes of data, tensors end at 36"),
        (edited(b'[0, 12]', b'[0, 11]'), LAYOUT, "11 bytes for 12"),
        (edited(b'[0, 12]', b'[1, 13]'), LAYOUT, "starts at 1, not at 0"),
        (edited(b'[12, 24]', b'[13, 25]'), LAYOUT, "starts at 13, not at 12"),
        (edited(b'"F32"', b'"F64"'), LAYOUT, "12 bytes for 24"),
        (edited(b'"A"', b'"C"'), TENSOR, "tensor A is missing"),
        (edited(b"[1, 3]", b"[3, 1]"), TENSOR, "p is 3 elsewhere"),
        (edited(b"[1, 3]", b"[3]"), TENSOR, "1 dimensions"),
        (circuit("f", [1.0] * 4, 4, 3), TENSOR, "3 outputs, fewer than p"),
        (circuit("f", [1.0] * 4, 4, 4), None, ""),
        (tensor_file({f"x{i}": ((1,), [1.0]) for i in range(64)}, METADATA, "f"), TENSOR, "tensor A is missing"),
        (tensor_file({f"x{i}": ((1,), [1.0]) for i in range(65)}, METADATA, "f"), TENSOR, "65 tensors"),
    ],
)  # fmt: skip
def test_model_files_at_their_limits(data: bytes, reason: Reason | None, text: str) -> None:
    refused(reason, text, read_model, data)


def test_sizes_of_files_and_of_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    data = circuit("f", [1.0] * 6)
    model = read_model(data)
    for most, reason in ((len(data), None), (len(data) - 1, SIZE)):
        monkeypatch.setattr(limits, "MODEL_BYTES", most)
        refused(reason, f"model: {len(data)} bytes", read_model, data)
    numbers = 6 + 6 + 6
    for held, each, lanes, most in ((100, 2, 8000, 100), (10, 7, 8000, 7 * numbers), (10, 7, 800, 100)):
        monkeypatch.setattr(limits, "HELD", held)
        monkeypatch.setattr(limits, "HELD_PER_NUMBER", each)
        monkeypatch.setattr(limits, "LANE_BYTES", lanes)
        model.require_held(most, "x")
        refused(SIZE, f"x: {most + 1} numbers at once, at most {most}", model.require_held, most + 1, "x")
    assert (model.neurons, model.outputs) == (2, 3)


@pytest.mark.parametrize("letter", "vtdhknqp")
def test_a_dimension_has_a_limit(letter: str) -> None:
    most = model_file.LARGEST[letter]
    sizes = {"q": 1 << 20, "p": 3} if letter != "q" else {"p": 3}
    for size, reason in ((most, None), (most + 1, SIZE)):
        spans = {"x": _Span("F32", (size,), 0, 0)}
        refused(
            reason,
            f"at most {most}",
            _require_shapes,
            spans,
            {"x": letter},
            sizes if letter != "p" else {"q": size},
            "m",
        )


@pytest.mark.parametrize(
    ("item", "weight", "reason", "found"),
    [
        ("a", "1/2", None, ("a", [0, 1, 2], "1/2", "1/2")),
        ("b+5", "-1:1/3", None, ("b", [5, 6, 7], "-1", "1/3")),
        ("=0", "0:0", None, ("=", [0], "0", "0")),
        ("=7", "1048576/1048575", None, ("=", [7], "1048576/1048575", "1048576/1048575")),
        ("a", "-1048576:1/1048576", None, ("a", [0, 1, 2], "-1048576", "1/1048576")),
        ("a", "1048577", RANGE, "up to 1048576"),
        ("a", "-1048577", RANGE, "up to 1048576"),
        ("a", "1/1048577", RANGE, "up to 1048576"),
        ("a", "1:0", FIELD, "not low:high"),
        ("a", "0:1:2", FIELD, "not low:high"),
        ("c", "1", FIELD, "not a, b"),
        ("a", "x", FIELD, "not a fraction"),
    ],
)
def test_positions(item: str, weight: str, reason: Reason | None, found: Any) -> None:
    at = refused(reason, str(found), parse_position, item, weight, 3, "m")
    if at is not None:
        assert (at.holds, at.tokens.tolist(), str(at.attention_low), str(at.attention_high)) == found


def test_layouts_and_scales() -> None:
    assert len(_positions(["a"] * 64, ["0"] * 64, 3, "m")) == 64
    refused(SIZE, "65 positions", _positions, ["a"] * 65, ["0"] * 65, 3, "m")
    refused(FIELD, "one weight per position", _positions, ["a"] * 2, ["0"] * 3, 3, "m")
    assert [_scale(f"softmax {x}", "m") for x in ("1/sqrt(9999999)", "1/2")] == [Fraction(1, 9999999), Fraction(1, 4)]
    assert _scale("1/2 1/2", "m") is None
    for scale in ("0", "-1/2"):
        refused(RANGE, "not positive", _scale, f"softmax {scale}", "m")


def tiny(layout: str, attention: str, vocabulary: int, code: str = "f", scores: bool = False) -> bytes:
    sizes = dict(zip("vtdhknq", (vocabulary, len(layout.split()), 2, 2, 3, 4, 5), strict=True))
    names = model_file.TRANSFORMER_SHAPES | (model_file.SCORE_SHAPES if scores else {})
    shapes = {name: [sizes[x] for x in letters] for name, letters in names.items()}
    metadata = METADATA | {"format": model_file.TRANSFORMER, "layout": layout, "attention": attention}
    return tensor_file({name: (shape, [1.0] * math.prod(shape)) for name, shape in shapes.items()}, metadata, code)


@pytest.mark.parametrize(
    ("file", "reason", "text"),
    [
        (tiny("a b", "1/2 1/2", 3), None, ""),
        (tiny("a b", "1/2 1/2", 2), TENSOR, "2 tokens, layout needs 3"),
        (tiny("b+4 a =5", "1 1 1", 7), None, ""),
        (tiny("b+4 a =5", "1 1 1", 6), TENSOR, "6 tokens, layout needs 7"),
        (tiny("=9 a", "softmax 2", 10, scores=True), None, ""),
        (tiny("=9 a", "softmax 2", 9, scores=True), TENSOR, "layout needs 10"),
        (tiny("a b", "1/2 1/2", 3, scores=True), TENSOR, "unknown tensor"),
        (tiny("a b", "softmax 2", 3), TENSOR, "W_Q is missing"),
        (tiny("a b", "1/2 1/2", 3, code="d"), TENSOR, "F64, expected F32"),
        (tiny("a b", "1/2", 3), FIELD, "one weight per position"),
    ],
)
def test_transformers_at_their_limits(file: bytes, reason: Reason | None, text: str) -> None:
    model = refused(reason, text, read_model, file)
    if model is not None:
        assert (model.neurons, model.outputs) == (4, 5)
        weights = [(x.attention_low, x.attention_high) for x in model.positions]
        assert model.scale_squared in (None, 4)
        assert set(weights) == {(model.positions[0].attention_low,) * 2}
        assert weights[0][0] == (0 if model.scale_squared else Fraction(1, 2) if len(weights) == 2 else 1)


@pytest.mark.parametrize(("frequency", "reason"), [(3, None), (2, None), (1, FREQUENCY)])
def test_waves_of_a_deformation_have_frequencies_of_the_closed_form(frequency: int, reason: Reason | None) -> None:
    """Frequency 3 with two outputs modulo 8: 3, and 6, which is 2."""
    fields = {"neurons": 1, "families": [family(3, 2)], "others": [], "boxes": [box(3)]}
    wave = {"frequency": frequency, "cosine": [0] * 8, "sine": [0] * 8}
    more = {"deformation": {"exponent": 0, "constant": [0] * 8, "waves": [wave]}}
    refused(reason, "frequencies of the closed form", read_certificate, small(**fields, **more))
