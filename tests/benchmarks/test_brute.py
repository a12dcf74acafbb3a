"""Brute force's proved bound is a bound, folded and through the residual stream; circuits are the same every time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.brute import exhaustive, tables
from benchmarks.learned import learned
from benchmarks.synthetic import synthetic
from verifier.kernel.claim import ADDITION
from verifier.kernel.operation import names_of
from verifier.model import AttentionWeight, FoldedCircuit, Model, Softmax, activations, fold

P, N = 17, 64


@pytest.fixture(scope="module")
def transformer() -> Model:
    """A random one with a rank of 5, three positions and a weight that is not a float."""
    rng, d, heads, width = np.random.default_rng(3), 5, 2, 3
    shapes = {
        "embed.W_E": (P + 1, d), "pos_embed.W_pos": (3, d), "blocks.0.attn.W_V": (heads, d, width),
        "blocks.0.attn.W_O": (heads, width, d), "blocks.0.attn.b_V": (heads, width), "blocks.0.attn.b_O": (d,),
        "blocks.0.mlp.W_in": (d, N), "blocks.0.mlp.b_in": (N,), "blocks.0.mlp.W_out": (N, d),
        "blocks.0.mlp.b_out": (d,), "unembed.W_U": (d, P + 1), "unembed.b_U": (P + 1,),
    }  # fmt: skip
    third = AttentionWeight.exactly(Fraction(1, 3))
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return Model(P, (third, third, third), ("a", "b", f"={P}"), made, {})


def _exact(circuit: FoldedCircuit, a: int, b: int) -> Fraction:
    """The margin of one input of the circuit as its tables stand."""

    def f(x: float) -> Fraction:
        return Fraction(float(x))

    hidden = [max(Fraction(0), f(x) + f(y)) for x, y in zip(circuit.A[:, a], circuit.B[:, b], strict=True)]
    logits = [sum((f(w) * h for w, h in zip(row, hidden, strict=True)), Fraction(0)) for row in circuit.W]
    for skip, token in ((circuit.S1, a), (circuit.S2, b)):
        if skip is not None:
            logits = [x + f(y) for x, y in zip(logits, skip[:, token], strict=True)]
    right = logits.pop((a + b) % circuit.p)
    return right - max(logits)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("through_stream", [False, True])
def test_the_bound_holds_for_a_transformer(transformer: Model, dtype: type[np.floating], through_stream: bool) -> None:
    found = exhaustive(tables(transformer, dtype, through_stream))
    circuit = fold(transformer)  # exact, rounded once
    for a, b in ((0, 0), (3, 16), (16, 5), (9, 9)):
        truth = float(_exact(circuit, a, b))
        assert found.margins[a, b] <= truth + 1e-9 <= found.margins[a, b] + 4 * found.error + 1e-8


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_bound_holds_for_a_circuit(dtype: type[np.floating]) -> None:
    circuit = synthetic(P, N)
    found = exhaustive(tables(circuit, dtype), [3, 7])
    for row, a in enumerate((3, 7)):
        for b in range(P):
            truth = _exact(circuit, a, b)
            assert (
                Fraction(found.margins[row, b]) <= truth <= Fraction(found.margins[row, b]) + 5 * Fraction(found.error)
            )
    assert found.certified == 2 * P
    with pytest.raises(ValueError, match="no residual stream"):
        tables(circuit, dtype, through_stream=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layout", ["a b", "b a", f"a b ={P}"])
def test_the_bound_holds_for_learned_attention(transformer: Model, dtype: type[np.floating], layout: str) -> None:
    rng, items = np.random.default_rng(4), tuple(layout.split())
    heads, d, width = transformer.tensors["blocks.0.attn.W_V"].shape
    shapes = {"W_Q": (heads, d, width), "W_K": (heads, d, width), "b_Q": (heads, width), "b_K": (heads, width)}
    scores = {f"blocks.0.attn.{x}": (rng.standard_normal(shape) / 3).astype(np.float32) for x, shape in shapes.items()}
    tensors = transformer.tensors | scores
    tensors["pos_embed.W_pos"] = tensors["pos_embed.W_pos"][: len(items)]
    model = Model(P, Softmax(Fraction(1, 3)), items, tensors, {})
    found, run = exhaustive(learned(model, dtype)), activations(model, names_of(ADDITION, P, model.outputs))
    assert run is not None
    a, b = (part.ravel() for part in np.indices((P, P)))
    logits = run(a, b)[1]
    own = logits[np.arange(P * P), (a + b) % P]
    logits[np.arange(P * P), (a + b) % P] = -np.inf
    truth = (own - logits.max(axis=1)).reshape(P, P)
    assert (found.margins <= truth + 1e-9).all()
    assert (truth <= found.margins + 4 * found.error + 1e-8).all()
    with pytest.raises(ValueError, match="not learned"):
        learned(transformer, dtype)


def test_sums_too_long_have_no_bound() -> None:
    found = tables(synthetic(P, N), np.float32)
    long = type(found)(
        found.p, found.a, found.b, (type(found.a)(found.w[0].value, found.w[0].size, 1 << 24),), None, None
    )
    with pytest.raises(ValueError, match="no rounding bound"):
        long.error_bound()


def test_synthetic_circuits_are_the_same_every_time() -> None:
    first, second, other = synthetic(P, N), synthetic(P, N), synthetic(P, N, noise=0.05)
    assert all((first.tensors[name] == table).all() for name, table in second.tensors.items())
    assert (first.A != other.A).any()


@pytest.mark.parametrize(("p", "neurons"), [(18, 64), (11, 64), (17, 40)])
def test_sizes_without_a_synthetic_circuit_are_refused(p: int, neurons: int) -> None:
    with pytest.raises(ValueError, match="no synthetic circuit"):
        synthetic(p, neurons)
