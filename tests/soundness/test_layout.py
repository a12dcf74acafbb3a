"""What a model file says about its positions is read to the letter, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest

from tests.strategies import tensor_file
from verifier.kernel import Reason, Rejected, limits
from verifier.kernel.model_file import Position, read_model

VOCABULARY = 8
P = 3


def _file(layout: str, attention: str) -> bytes:
    """A transformer of width one, all weights one."""
    positions = layout.count(" ") + 1
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (VOCABULARY, 1),
        "pos_embed.W_pos": (positions, 1),
        "blocks.0.attn.W_V": (1, 1, 1),
        "blocks.0.attn.W_O": (1, 1, 1),
        "blocks.0.attn.b_V": (1, 1),
        "blocks.0.attn.b_O": (1,),
        "blocks.0.mlp.W_in": (1, 1),
        "blocks.0.mlp.b_in": (1,),
        "blocks.0.mlp.W_out": (1, 1),
        "blocks.0.mlp.b_out": (1,),
        "unembed.W_U": (1, P),
        "unembed.b_U": (P,),
    }
    sizes = {"embed.W_E": VOCABULARY, "pos_embed.W_pos": positions, "unembed.W_U": P, "unembed.b_U": P}
    tensors: dict[str, tuple[Sequence[int], Sequence[float]]] = {
        name: (shape, [1.0] * sizes.get(name, 1)) for name, shape in shapes.items()
    }
    metadata = {
        "format": "verifier-model/1",
        "task": "(a + b) mod p",
        "p": str(P),
        "layout": layout,
        "attention": attention,
        "provenance": "{}",
    }
    return tensor_file(tensors, metadata, "f")


def _refused(layout: str, attention: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read_model(_file(layout, attention))
    return caught.value


def test_positions() -> None:
    found = read_model(_file("a b+5 =7 a+2 =0", "1/2 -1/3:2/6 0 1:1 -1048576/1048575")).positions
    assert found == (
        Position("a", 0, Fraction(1, 2), Fraction(1, 2)),
        Position("b", 5, Fraction(-1, 3), Fraction(1, 3)),
        Position("=", 7, Fraction(0), Fraction(0)),
        Position("a", 2, Fraction(1), Fraction(1)),
        Position("=", 0, Fraction(-1048576, 1048575), Fraction(-1048576, 1048575)),
    )


@pytest.mark.parametrize(
    "item", ["", "c", "A", "a+0", "a+01", "a+-1", "a-1", "a+", "b+1000000", "=", "=00", "=-1", "=a", "a\n", "٣", "=٣"]
)
def test_malformed_items(item: str) -> None:
    found = _refused(f"a b {item}", "1 1 1")
    assert found.reason is Reason.FIELD
    assert "metadata.layout" in found.detail


@pytest.mark.parametrize(
    "weight",
    [
        "",
        "x",
        "+1",
        "1.5",
        "1e3",
        "1/0",
        "1/01",
        "/2",
        "1/",
        "1/-2",
        "12345678",
        "1/12345678",
        " ",
        "1\n",
        "٣",
        "1:",
        "1:x",
    ],
)
def test_malformed_weights(weight: str) -> None:
    found = _refused("a b", f"1 {weight}")
    assert found.reason is Reason.FIELD
    assert "metadata.attention" in found.detail


@pytest.mark.parametrize("weight", ["1:0", "1/2:1/3", "0:1:2"])
def test_intervals_have_two_ends_in_order(weight: str) -> None:
    assert _refused("a b", f"{weight} 1").reason is Reason.FIELD


@pytest.mark.parametrize("weight", ["1048577", "-1048577", "1/1048577", "0:1/1048577"])
def test_weights_out_of_range(weight: str) -> None:
    assert _refused("a b", f"1 {weight}").reason is Reason.RANGE


def test_one_weight_per_position() -> None:
    assert _refused("a b", "1").reason is Reason.FIELD
    assert _refused("a b", "1 1 1").reason is Reason.FIELD


def test_number_of_positions() -> None:
    most = limits.POSITIONS
    items = ["a", "b", *["=0"] * (most - 1)]
    assert len(read_model(_file(" ".join(items[:most]), " ".join(["0"] * most))).positions) == most
    assert _refused(" ".join(items), " ".join(["0"] * (most + 1))).reason is Reason.SIZE


@pytest.mark.parametrize(("last", "enough"), [("=7", True), ("=8", False), ("b+5", True), ("b+6", False)])
def test_vocabulary(last: str, enough: bool) -> None:
    """Every token that a position can hold has a row of the embedding."""
    layout, attention = f"a b {last}", "1 1 1"
    if enough:
        assert read_model(_file(layout, attention)).positions[-1].offset == int(last[-1])
    else:
        assert _refused(layout, attention).reason is Reason.TENSOR
