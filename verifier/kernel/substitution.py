"""What attention is for (Corollary K⁺): how many answers are right when every head's attention weights are replaced.

The replaced weights are numbers that the kernel itself takes from the network's own: with e(x) = (1, cos 2πkx/p,
sin 2πkx/p), k a frequency of the head, the weight of every position but the last is e(a)ᵀ·C·e(b), C nine numbers, and
the last one's is what is left to one. Lemmas K and K⁺ are about that network as they are about the file's own. No
certificate is needed: the lanes are the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import Ints, exact_product, largest, rounded, zeros
from verifier.kernel.attention import SIGMA_BITS
from verifier.kernel.circuit import Folded, fold, quantise
from verifier.kernel.cost import Cost
from verifier.kernel.learned import differences, learned_sums
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.model_file import ModelFile, read_model
from verifier.kernel.reasons import Reason, require
from verifier.kernel.tables import TABLE_ERROR, roots

FINER = 4  # bits that a product with C keeps below those of a weight
POWER = np.array([[0, 2, 2], [2, 1, 1], [2, 1, 1]], dtype=np.int64)  # of a wave with coefficient one, but for a factor
NEVER = np.int64(-1 << 61)  # below every logit


@dataclass(frozen=True, slots=True)
class Substituted:
    """What is proved of the network with replaced attention, in exact arithmetic.

    **Fields**

    - `frequencies`: by head, k; None for the mean alone. `table` [positions − 1, heads, 3, 3]: C,
      in units of 2^-SIGMA_BITS.
    - `right`, `wrong`: at how many inputs the answer is proved right, and proved wrong, of `inputs`.
    """

    frequencies: tuple[int | None, ...]
    table: Ints
    right: int
    wrong: int
    inputs: int


def substituted(model: bytes) -> tuple[Substituted, Substituted]:
    """The network with every head's attention replaced by its mean over all inputs; and by waves of one frequency.

    **Raises** `Rejected` for a model that is malformed or too large, or whose attention is declared or constant; and
    with NOT_PROVED where replaced weights leave the middles by more than one.
    """
    cost, source = Cost(), read_model(model)
    require(source.scale_squared is not None, Reason.FIELD, "model: its attention is declared, not learned")
    heads = source.tensors["blocks.0.attn.W_O"].shape[0]
    source.require_held(
        source.p**2 * (2 * source.outputs + len(source.positions) * (heads + 4) + limits.INPUT_TABLES), "model"
    )
    folded = fold(source, cost)
    require(bool(folded.moves.heads), Reason.FIELD, "model: its attention is the same at every input")
    sigma = folded.attention.weights
    found = _coefficients(sigma)
    return _proved(source, folded, sigma, found, False), _proved(source, folded, sigma, found, True)


def _basis(p: int) -> Ints:
    """[2m + 1, p]: 1, then cos 2πkx/p and then sin 2πkx/p for k = 1..m, m = (p − 1)/2 rounded down."""
    cosines, sines = roots(p, np.outer(np.arange(1, (p + 1) // 2, dtype=np.int64), np.arange(p, dtype=np.int64)))
    return np.concatenate([np.full((1, p), 1 << TABLE_BITS, dtype=np.int64), cosines, sines])


def _coefficients(sigma: Ints) -> Ints:
    """[positions, heads, m, 3, 3]: for every k, the least-squares C of the weights [a, b, positions, heads], nearly."""
    p = len(sigma)
    basis, half = rounded(_basis(p), TABLE_BITS - SIGMA_BITS), (p - 1) // 2
    first = rounded(exact_product(basis, sigma.transpose(2, 3, 0, 1), "a wave"), SIGMA_BITS) // p
    both = rounded(exact_product(first, np.ascontiguousarray(basis.T), "a wave"), SIGMA_BITS) // p
    norm = np.array([1, 2, 2], dtype=np.int64)
    places = np.arange(half, dtype=np.int64)[:, None] + np.array([1, 1 + half], dtype=np.int64)
    places = np.concatenate([np.zeros((half, 1), dtype=np.int64), places], axis=1)  # [m, 3]
    return both[:, :, places[:, :, None], places[:, None, :]] * (norm[:, None] * norm)


def _proved(source: ModelFile, folded: Folded, sigma: Ints, found: Ints, waves: bool) -> Substituted:
    """Lemmas K and K⁺ for the replaced weights, every output a lane.

    Premise: entries of `basis` are within TABLE_ERROR of cosines and sines, none of which is above one.
    ⟹ a replaced weight is within `error` of e(a)ᵀ·C·e(b), or of what is left to one.
    """
    p, last, heads = source.p, len(source.positions) - 1, sigma.shape[3]
    table, frequencies = zeros(last, heads, 3, 3), list[int | None]()
    replaced, basis, half = sigma.copy(), _basis(p), (p - 1) // 2
    for head in range(heads):
        own = found[:last, head]
        powers = (own * own * POWER).sum(axis=(0, 2, 3))
        k = int(powers.argmax()) + 1 if waves and powers.any() else None
        table[:, head] = own[:, k - 1] if k else own[:, 0] * (POWER == 0)
        e = basis[[0, k or 1, half + (k or 1)]]
        left = rounded(exact_product(np.ascontiguousarray(e.T), table[:, head], "a wave"), TABLE_BITS - FINER)
        replaced[:, :, :last, head] = rounded(exact_product(left, e, "a wave"), TABLE_BITS + FINER).transpose(1, 2, 0)
        frequencies.append(k)
    replaced[:, :, last] = (1 << SIGMA_BITS) - replaced[:, :, :last].sum(axis=2, dtype=np.int64)
    # Of one weight, in its units: half for its rounding, one and a half in 2^FINER for that of `left`, and the tables.
    sizes = int(np.abs(table).sum(axis=(2, 3)).max())
    error = Fraction(1, 2) + Fraction(2, 1 << FINER) + Fraction(sizes * 3 * TABLE_ERROR, 1 << TABLE_BITS)
    error *= Fraction(max(1, last), 1 << SIGMA_BITS)
    moved = Fraction(max(map(largest, differences(folded, replaced))), 1 << SIGMA_BITS) + error
    require(moved <= 1, Reason.NOT_PROVED, "replaced attention leaves the middle of its range by over one")
    attention = replace(folded.attention, radii=[[Fraction(1)] * heads] * len(source.positions))
    cost = Cost()
    circuit = quantise(replace(folded, attention=attention), p, cost, error)
    lanes = learned_sums(circuit, folded, source.positions, replaced, None, cost, lambda *_: None)
    rest = zeros(p, p) if lanes.rest is None else lanes.rest
    c = np.arange(p, dtype=np.int64)
    answer = np.add.outer(c, c)[:, :, None] % p
    own = np.take_along_axis(lanes.sums, answer, axis=2)
    others = lanes.sums.copy()
    np.put_along_axis(others, answer, NEVER, axis=2)
    lead = own[:, :, 0] - others.max(axis=2)
    loss = np.int64((circuit.difference_error >> lanes.drop) + 1)
    right, wrong = int(np.count_nonzero(lead - rest > loss)), int(np.count_nonzero(lead + rest < -loss))
    return Substituted(tuple(frequencies), table, right, wrong, p * p)
