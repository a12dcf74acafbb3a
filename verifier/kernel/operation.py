"""Operations other than addition, reduced to it by names for operands and outputs (docs/theory.md §1, *Names*)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from verifier.kernel.arrays import Ints, integers
from verifier.kernel.claim import ADDITION, MULTIPLICATION, SUBTRACTION, modulus
from verifier.kernel.enclosure import Enclosed
from verifier.kernel.model_file import ModelFile


@dataclass(frozen=True, slots=True)
class Names:
    """Under these names the task is addition: outputs[(i + j) mod m] is the answer at the operands a[i], b[j].

    **Fields**

    - `modulus`: m. `a`, `b` [m]: the operands that i and j stand for. `outputs` [q]: the output that k stands for; the
      right answers are the first m.
    """

    modulus: int
    a: Ints
    b: Ints
    outputs: Ints


def names_of(task: str, p: int, q: int) -> Names:
    """The names for a task modulo p, of a network with q outputs.

    Premises: for multiplication p is prime, and g has order p − 1 modulo p. ⟹ g^i·g^j = g^((i + j) mod (p − 1)), and
    i ↦ g^i is onto the units; a − b = a + (−b).

    **Raises** `Rejected(RANGE)` for a p that the task is not claimed for.
    """
    m, tokens, outputs = modulus(task, p), np.arange(p, dtype=np.int64), np.arange(q, dtype=np.int64)
    if task == MULTIPLICATION:
        units = integers(powers(primitive_root(p), p))
        return Names(m, units, units, np.concatenate([units, integers([0]), outputs[p:]]))
    return Names(m, tokens, -tokens % p if task == SUBTRACTION else tokens, outputs)


def powers(g: int, p: int) -> list[int]:
    """g^0, g^1, … modulo p, up to the last before the first that is 1 again; g is not 0 modulo the prime p."""
    found, power = [1], g
    while power != 1:
        found.append(power)
        power = power * g % p
    return found


def primitive_root(p: int) -> int:
    """The least g of order p − 1 modulo the prime p."""
    return next(g for g in range(2, p) if len(powers(g, p)) == p - 1)


def renamed(model: ModelFile, task: str, names: Names) -> ModelFile:
    """The network whose operands and outputs have these names: its tables' columns and rows, in their order."""
    if task == ADDITION:
        return model
    tokens = {"a": names.a, "b": names.b, "=": integers([0])}
    a, b, outputs = (1, names.a), (1, names.b), (0, names.outputs)
    orders = {"A": (a,), "B": (b,), "W": (outputs,), "S1": (outputs, a), "S2": (outputs, b)}
    orders |= {"unembed.W_U": ((1, names.outputs),), "unembed.b_U": (outputs,)}

    def chosen(name: str, table: Enclosed) -> Enclosed:
        values = table.values
        for axis, order in orders.get(name, ()):
            values = np.take(values, order, axis=axis)
        return Enclosed(values, table.exponent, table.radius)

    return replace(
        model,
        p=names.modulus,
        positions=tuple(replace(x, tokens=x.tokens[tokens[x.holds]]) for x in model.positions),
        tensors={name: chosen(name, table) for name, table in model.tensors.items()},
    )


def words(task: str, p: int) -> str:
    """What is written for a, b and c in a statement about the names; nothing for addition."""
    if task == ADDITION:
        return ""
    if task == SUBTRACTION:
        return f"What follows is about the same logits with -b mod {p} written for b, so that the task is addition. "
    g = primitive_root(p)
    return (
        f"Inputs with a zero are not part of the claim. What follows is about the other inputs, with {g}^a, {g}^b and "
        f"{g}^c mod {p} written for a, b and c, so that the task is addition modulo {p - 1}, the output 0 apart. "
    )
