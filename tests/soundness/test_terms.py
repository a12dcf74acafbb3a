"""Dropping any one term of any bound must be caught.

Every additive term of every bound of the kernel is in one of two tables. TERMS: the term is taken out of a copy of its
module (the text must match exactly once), and an input made for it breaks the bound; the kernel holds on the same
input. COVERED: the other terms always exceed what this one stands for, for the reason given.

A witness is a function from a module to its *room*: the bound minus what it bounds, exactly or to 40 digits, negative
when the statement is false. A lemma's premises are all that a witness may use: tables off by one unit either way, sums
rounded in the worst direction.
"""

from __future__ import annotations

import cmath
import hashlib
import importlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import mpmath
import numpy as np
import pytest

import verifier.kernel
from tests.oracle import value
from tests.strategies import ONE, PHASE, Table, circuit_bytes, tensor_file
from verifier.kernel import Conclusion, limits
from verifier.kernel import arcs as real_arcs
from verifier.kernel import circuit as real_circuit
from verifier.kernel.arcs import MID_BITS
from verifier.kernel.certificate import Boxes, Family, Harmonic, Member, read_certificate
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost
from verifier.kernel.floating_point import ARITHMETIC, UNIT_BITS
from verifier.kernel.logits import ClosedForm
from verifier.kernel.model_file import read_model
from verifier.kernel.outputs import Split, Splitter
from verifier.kernel.packing import pack
from verifier.kernel.quadrature import Node, Quadrature
from verifier.kernel.tables import Circle

KERNEL = Path(verifier.kernel.__file__).parent
UNIT = 1 << limits.TABLE_BITS
Room = Any  # an integer, a Fraction or an mpf
Witness = Callable[[Any], Room]


def rewritten(module: str, edits: Sequence[tuple[str, str]]) -> Any:
    """A copy of a kernel module with each text replaced; a text must be found exactly once."""
    source = (KERNEL / f"{module}.py").read_text()
    for text, other in edits:
        assert source.count(text) == 1, f"{module}.py: {text!r} is there {source.count(text)} times"
        source = source.replace(text, other)
    copy = ModuleType(f"verifier.kernel.{module}")
    exec(compile(source, f"<{module} rewritten>", "exec"), copy.__dict__)
    return copy


@dataclass(frozen=True)
class Term:
    """One term: the edits that take it out, and the input that needs it."""

    name: str
    module: str
    edits: tuple[tuple[str, str], ...]
    witness: Witness


@dataclass(frozen=True)
class Covered:
    """A term that no input can need, because of the other terms."""

    name: str
    module: str
    text: str
    reason: str


TERMS: list[Term] = []
COVERED: list[Covered] = []


def term(name: str, module: str, text: str, without: str, witness: Witness) -> None:
    TERMS.append(Term(name, module, ((text, without),), witness))


def covered(name: str, module: str, text: str, reason: str) -> None:
    COVERED.append(Covered(name, module, text, reason))


def exact(value: Fraction | int) -> mpmath.mpf:
    value = Fraction(value)
    return mpmath.mpf(value.numerator) / value.denominator


def turn(x: Fraction | int) -> mpmath.mpc:
    return mpmath.expjpi(2 * exact(x))


@contextmanager
def circles(module: Any, up_cosines: bool, up_sines: bool) -> Iterator[None]:
    """Within the premise, the tables of a module rounded up or down, whichever hurts."""

    def rounded(value: mpmath.mpf, up: bool) -> int:
        return int(mpmath.ceil(value) if up else mpmath.floor(value))

    def circle(size: int) -> Circle:
        with mpmath.workdps(40):
            points = [turn(Fraction(m, size)) * UNIT for m in range(size)]
            return Circle(
                size,
                tuple(rounded(z.real, up_cosines) for z in points),
                tuple(rounded(z.imag, up_sines) for z in points),
            )

    with patch.object(module, "circle", circle):
        yield


# Lemma K: every entry loses nearly a whole unit, and the attention moves everything one way.

FINE = 60  # bits below a unit, all set
TOP = (1 << 26) - 1


def _lemma_k(a: int, w: tuple[int, int], moved: int, skip: int, difference: bool, rounded: bool = True) -> Witness:
    """One neuron with largest A and B equal to `a` units, W from w[1] to w[0] (w[0] rounded down by nearly a unit)."""
    tail = (1 << FINE) - 1
    pre = [(a << FINE) + tail, *[-(TOP << FINE)] * 2]
    out = [(w[0] << FINE) + (tail if rounded else 0), w[1] << FINE, 0]

    def room(module: Any) -> Room:
        pre_table, out_table = real_circuit.Table(pre, -86), real_circuit.Table(out, -86)
        skips = real_circuit.Table([tail if difference or rounded else 0, 0, 0] * 3, -112)
        slack = [Fraction(moved, 1 << 26)]
        folded = real_circuit.Folded(
            pre_table, pre_table, out_table, skips, skips, 1, slack, Fraction(skip, 1 << 52), [], []
        )
        c = module.quantise(folded, 3, Cost())
        assert (c.pre_scale, c.out_scale) == (26, 26)
        rooms = []
        for x, y, sign in product(range(3), range(3), (-1, 0, 1)):
            h = max(0, pre[x] + pre[y] + (sign * moved << FINE))
            h_fixed = max(0, c.pre_a[0][x] + c.pre_b[0][y])
            gaps = []
            for column in range(3):
                skipped = (skips.entries[column] << 1) << FINE
                true = h * out[column] + skipped
                near = (h_fixed * c.out[0][column] + c.skip_a[x][column] + c.skip_b[y][column]) << (2 * FINE)
                gaps.append(true - near)
            push = skip << (2 * FINE)
            if difference:
                rooms.append((c.difference_error << (2 * FINE)) - (max(gaps) - min(gaps) + 2 * push))
            else:
                rooms.append((c.logit_error << (2 * FINE)) - (max(map(abs, gaps)) + push))
        return min(rooms)

    return room


# fmt: off
_LOGIT = _lemma_k(TOP, (TOP, 0), 1 << 10, 7, False)
term("K: skips, attention", "circuit", "ceil_units(folded.skip_slack, scale) + 2", "2", _LOGIT)
term("K: skips, rounding", "circuit", "ceil_units(folded.skip_slack, scale) + 2",
     "ceil_units(folded.skip_slack, scale)", _LOGIT)
term("K: skips, in a logit", "circuit", "logit_error, difference_error = skip,", "logit_error, difference_error = 0,",
     _LOGIT)
term("K: largest output weight", "circuit", "(max(high, -low) + 1)", "1", _LOGIT)
term("K: rounding of the output weight", "circuit", "(max(high, -low) + 1)", "max(high, -low)", _LOGIT)
term(
    "K: a negative output weight", "circuit", "(max(high, -low) + 1)", "(high + 1)",
    _lemma_k(0, (-TOP, -TOP), 1 << 10, 7, False, rounded=False),
)
term("K: rounding of A and B", "circuit", "+ 1) * (2 + moved)", "+ 1) * moved", _LOGIT)
term("K: attention", "circuit", "+ 1) * (2 + moved)", "+ 1) * 2", _LOGIT)
term("K: activation", "circuit", "(2 + moved) + activation\n        diff", "(2 + moved)\n        diff", _LOGIT)
_STILL = _lemma_k(0, (TOP, -TOP), 3, 0, True)
term("K: difference, range of the output weights", "circuit", "(high - low + 2)", "2", _STILL)
term("K: difference, rounding of the output weights", "circuit", "(high - low + 2)", "(high - low)", _STILL)
term("K: difference, rounding of A and B", "circuit", "+ 2) * (2 + moved)", "+ 2) * moved", _STILL)
term("K: difference, attention", "circuit", "+ 2) * (2 + moved)", "+ 2) * 2", _STILL)
term(
    "K: difference, activation", "circuit", "(2 + moved) + 2 * activation", "(2 + moved)",
    _lemma_k(TOP, (TOP, -TOP), 0, 0, True),
)
term("K: difference, skips", "circuit", "skip, 2 * skip", "skip, 0", _lemma_k(0, (TOP, -TOP), 3, 1 << 40, True))
term("K: difference, skips of both logits", "circuit", "skip, 2 * skip", "skip, skip",
     _lemma_k(0, (TOP, -TOP), 3, 1 << 40, True))
# fmt: on


def _attention(heads: int, extra: dict[str, list[float]]) -> Witness:
    """Constant values, two positions with intervals [0, 16] for every head; everything moved one way at once."""
    one = {
        "embed.W_E": ((3, 1), [1.0] * 3),
        "pos_embed.W_pos": ((2, 1), [0.0] * 2),
        "blocks.0.attn.W_V": ((heads, 1, 1), [1.0] * heads),
        "blocks.0.attn.W_O": ((heads, 1, 1), [1.0] * heads),
        "blocks.0.attn.b_V": ((heads, 1), [0.0] * heads),
        "blocks.0.attn.b_O": ((1,), [0.0]),
        "blocks.0.mlp.W_in": ((1, 1), [0.0]),
        "blocks.0.mlp.b_in": ((1,), [0.0]),
        "blocks.0.mlp.W_out": ((1, 1), [1.0]),
        "blocks.0.mlp.b_out": ((1,), [0.0]),
        "unembed.W_U": ((1, 3), [1.0, 0.0, 0.0]),
        "unembed.b_U": ((3,), [0.0] * 3),
    }
    tensors: dict[str, tuple[Sequence[int], Sequence[float]]] = {
        name: (shape, extra.get(name, values)) for name, (shape, values) in one.items()
    }
    metadata = {
        "format": "verifier-model/1", "task": "(a + b) mod p", "p": "3", "layout": "a b", "attention": "0:16 0:16",
        "provenance": "{}",
    }  # fmt: skip
    data = tensor_file(tensors, metadata, "f")

    def logit(weight: int) -> Fraction:
        t = {name: [Fraction(x) for x in values] for name, (_, values) in tensors.items()}
        stream = t["embed.W_E"][0] + t["pos_embed.W_pos"][1]
        for h in range(heads):
            value = t["embed.W_E"][0] * t["blocks.0.attn.W_V"][h] + t["blocks.0.attn.b_V"][h]
            stream += 2 * weight * value * t["blocks.0.attn.W_O"][h]
        hidden = max(Fraction(0), stream * t["blocks.0.mlp.W_in"][0])
        return (stream + hidden * t["blocks.0.mlp.W_out"][0]) * t["unembed.W_U"][0]

    def room(module: Any) -> Room:
        model = read_model(data)
        c = real_circuit.quantise(module.fold(model), 3, Cost())
        unit = Fraction(2) ** -(c.pre_scale + c.out_scale)
        near = (max(0, c.pre_a[0][0] + c.pre_b[0][0]) * c.out[0][0] + c.skip_a[0][0] + c.skip_b[0][0]) * unit
        return c.logit_error * unit - max(abs(logit(0) - near), abs(logit(16) - near))

    return room


# fmt: off
_PRE_SLACK = "pre_slack = [x + y for x, y in zip(pre_slack, reach, strict=True)]"
_BIAS_MOVES = "return (values + bias.repeated(count)) @"
term("K: attention moves each neuron by every head and position", "circuit", _PRE_SLACK, "pre_slack = reach",
     _attention(2, {"blocks.0.mlp.W_in": [1.0]}))
term("K: attention moves the skips by every head and position", "circuit", "skip_slack += max", "skip_slack = max",
     _attention(2, {}))
term("K: attention moves the bias of the values", "circuit", _BIAS_MOVES, "return values @",
     _attention(1, {"blocks.0.attn.b_V": [8.0]}))
# fmt: on


# Lemma R: A[a] + B[b] is the profile plus r(a) + r′(b), each within the error for one constant m.


def _lemma_r(coefficients: Sequence[tuple[int, int]], member: Member, shift: int, row: int) -> Witness:
    """p = 8; the same profile for a and b, every table entry off in the worst direction."""
    p = 8
    profile = tuple(Harmonic(re, im, re, im) for re, im in coefficients)
    family = Family(1, 0, profile, (), (member,))

    def powers(phase: int, denominator: int, harmonics: int) -> list[tuple[int, int]]:
        points = [turn(Fraction(h * phase, denominator)) * UNIT for h in range(1, harmonics + 1)]
        return [(int(mpmath.ceil(z.real)) - 1, int(mpmath.ceil(z.imag)) - 1) for z in points]

    def room(module: Any) -> Room:
        with circles(module, True, True), patch.object(module, "phase_powers", powers):
            found = module.residual([row] * p, [row] * p, family, member, module.waves(p, 1, len(profile)), shift)
        alpha = member.amplitude * mpmath.mpf(2) ** (shift - limits.PROFILE_BITS)
        waves = [
            sum(
                (mpmath.mpc(re, im) * turn(Fraction(h * member.phase, PHASE) + Fraction(h * x, p))).real
                for h, (re, im) in enumerate(coefficients, 1)
            )
            for x in range(p)
        ]
        m = [r - (row - alpha * wave) for r, wave in zip(found.a, waves, strict=True)]
        m += [row - alpha * wave - r for r, wave in zip(found.b, waves, strict=True)]
        return 2 * found.error - (max(m) - min(m))

    return room


# fmt: off
_R_TABLE = "_shifted(amplitude * (abs(re) + abs(im)), scale) + 2"
_R_LAST = "max(error_a, error_b) + 2"
_R_WAVE = "(size >> bits) + 2"
term("R: table of the phase", "arcs", _R_TABLE, "2", _lemma_r([(8 * ONE - 303533, 0)], Member(0, 4294963771, 0), -3, 0))
term(
    "R: rounding of a coefficient", "arcs", _R_TABLE, "_shifted(amplitude * (abs(re) + abs(im)), scale)",
    _lemma_r([(ONE // 2 - 2048, 0)] * 8, Member(0, (1 << 30) - 4088, 0), 0, 0),
)
covered(
    "R: table of the waves", "arcs", _R_WAVE,
    "less than 4 units by the capacity: per harmonic 2·(T + 2) stands for √2·(T + 1), and 2 + 2 for one rounding",
)
covered("R: rounding of the rest", "arcs", _R_WAVE, "the same sum; without all three the next witness breaks it")
covered("R: rounding of the DC term", "arcs", _R_LAST, "the same sum; without all three the next witness breaks it")
TERMS.append(
    Term(
        "R: table of the waves and both roundings, together", "arcs",
        ((_R_WAVE, "0"), (_R_LAST, "max(error_a, error_b)")),
        _lemma_r([(2 * ONE - 475252, 0)], Member(0, 4294965685, 0), -3, 0),
    )
)
# fmt: on


# Lemma S: ReLU(y) lies in [base, base + U + U′].


def _lemma_s(a: int, b: int, error: int, t: int | None, positive: bool) -> Witness:
    """y = αT + r + r′ with α = 1, T at the end of what is allowed, r and r′ off by their error; t None is the reach."""

    def room(module: Any) -> Room:
        r = module.Residual([a], [b], error, 1, 0)
        over = r.excess(t, positive) if t is not None else ([0], [0])
        depth = Fraction(t if t is not None else r.reach(), ONE)
        y = (depth if positive else -depth) + a + b + (-2 * error if positive else 2 * error)
        base = y if positive else Fraction(0)
        return base + over[0][0] + over[1][0] - max(Fraction(0), y)

    return room


# fmt: off
_EXCESS = "offset = self.error - self.half_depth(threshold)\n        if"
term("S: error of the residual, linear", "arcs", _EXCESS, "offset = -self.half_depth(threshold)\n        if",
     _lemma_s(-5, -5, 40, 0, True))
term("S: error of the residual, zero", "arcs", _EXCESS, "offset = -self.half_depth(threshold)\n        if",
     _lemma_s(5, 5, 40, 0, False))
term("S: half depth, linear where the profile may be negative", "arcs", _EXCESS, "offset = self.error\n        if",
     _lemma_s(-5, -5, 2, -100 * ONE, True))
term("S: half depth, zero where the profile may be positive", "arcs", _EXCESS, "offset = self.error\n        if",
     _lemma_s(5, 5, 2, -100 * ONE, False))
_POSITIVE = "[offset - x if x < offset else 0 for x in self.a], [offset - x if x < offset else 0 for x in self.b]"
_NEGATIVE = "[offset + x if x > -offset else 0 for x in self.a], [offset + x if x > -offset else 0 for x in self.b]"
_FROM_A = "[offset - x if x < offset else 0 for x in self.a], [0 for x in self.b]"
_FROM_B = "[0 for x in self.a], [offset - x if x < offset else 0 for x in self.b]"
term("S: part of a, linear", "arcs", _POSITIVE, _FROM_B, _lemma_s(-500, 0, 2, 0, True))
term("S: part of b, linear", "arcs", _POSITIVE, _FROM_A, _lemma_s(0, -500, 2, 0, True))
_FROM_A, _FROM_B = (x.replace("offset - x if x < offset", "offset + x if x > -offset") for x in (_FROM_A, _FROM_B))
term("S: part of a, zero", "arcs", _NEGATIVE, _FROM_B, _lemma_s(500, 0, 2, 0, False))
term("S: part of b, zero", "arcs", _NEGATIVE, _FROM_A, _lemma_s(0, 500, 2, 0, False))
_REACH = "most = max(max(self.a), -min(self.a), max(self.b), -min(self.b)) + self.error"
term("S: error of the residual, in the reach", "arcs", _REACH, _REACH.removesuffix(" + self.error"),
     _lemma_s(-5, -5, 40, None, True))
# fmt: on


# On and off neurons, outliers: the lanes enclose ω·ReLU(y), rest·ReLU(y), over·ReLU(y), and the bound every lane.


def _lanes(what: str, positive: bool, a: int, b: int, lane: str) -> Witness:
    """One neuron that writes ω = 3 + 4i, size 5, rest 7, over −9; the least room of one lane."""
    split = Split(((3, 4),), (5,), 7, -9)
    row_a, row_b = [a, -1000, -1000], [b, -1000, -1000]
    if positive:
        row_a, row_b = [a, 1000, 1000], [b, 1000, 1000]

    def room(module: Any) -> Room:
        sums = module.Sums(3, 5)
        vector = module.weights(split, True)
        if what == "fixed":
            module.add_fixed(sums, row_a, row_b, vector, positive)
        else:
            module.add_outlier(sums, row_a, row_b, vector)
        rooms = []
        for delta in range(3):
            for y, lanes in enumerate(zip(*sums.at_offset(delta), strict=True)):
                h = max(0, row_a[(y + delta) % 3] + row_b[y])
                gap = (lanes[0] - 6 * h) ** 2 + (lanes[1] - 8 * h) ** 2
                rooms.append(
                    {
                        "omega": max(0, lanes[2]) ** 2 - gap,
                        "rest": lanes[3] - 7 * h,
                        "over": -9 * h - lanes[4],
                        "bound": sums.bound - max(map(abs, lanes)),
                    }[lane]
                )
        return min(rooms)

    return room


# fmt: off
_SPREAD = "spread = coefficients + radii + [split.rest]"
_OFF = "fixed", False, 400, 300
_ON = "fixed", True, -400, -300
term("sums: what is written by the middle of U", "arcs", _SPREAD,
     "spread = [0] * len(coefficients) + radii + [split.rest]", _lanes(*_OFF, "omega"))
term("sums: radius", "arcs", _SPREAD, "spread = coefficients + [0] * len(radii) + [split.rest]", _lanes(*_OFF, "omega"))
term("sums: rest of U", "arcs", _SPREAD, "spread = coefficients + radii + [0]", _lanes(*_OFF, "rest"))
term("sums: outputs beyond p of U", "arcs", "spread.append(min(split.over, 0))", "spread.append(0)",
     _lanes(*_OFF, "over"))
_SIGNAL = "signal = [2 * x for x in coefficients] + [0] * len(radii) + [split.rest]"
term("sums: rest of the base", "arcs", _SIGNAL, _SIGNAL.replace("split.rest", "0"),
     _lanes("fixed", True, 400, 300, "rest"))
term("sums: outputs beyond p of the base", "arcs", "signal.append(split.over)", "signal.append(0)",
     _lanes("fixed", True, 400, 300, "over"))
term("on: part of a", "arcs", "excess_a = [_positive_part(-x - move) for x in row_a]", "excess_a = [0 for x in row_a]",
     _lanes(*_ON, "omega"))
term("on: part of b", "arcs", "excess_b = [_positive_part(move - x) for x in row_b]", "excess_b = [0 for x in row_b]",
     _lanes(*_ON, "omega"))
term("off: part of a", "arcs", "excess_a = [_positive_part(x + move) for x in row_a]", "excess_a = [0 for x in row_a]",
     _lanes(*_OFF, "omega"))
term("off: part of b", "arcs", "excess_b = [_positive_part(x - move) for x in row_b]", "excess_b = [0 for x in row_b]",
     _lanes(*_OFF, "omega"))
# fmt: on


def _bound_of_fixed(row_a: list[int], row_b: list[int], outlier: bool = False) -> Witness:
    def room(module: Any) -> Room:
        sums = module.Sums(3, 4)
        vector = module.weights(Split(((9, 0),), (9,), 1, 0), False)
        if outlier:
            module.add_outlier(sums, row_a, row_b, vector)
        else:
            module.add_fixed(sums, row_a, row_b, vector, True)
        bound, sums.bound = sums.bound, 0
        return bound - max(abs(x) for delta in range(3) for lane in sums.at_offset(delta) for x in lane)

    return room


# fmt: off
_MOST = "most = max(map(abs, row_a)) + max(map(abs, row_b)) + max(excess_a) + max(excess_b)"
term("capacity: on and off, a", "arcs", _MOST, _MOST.replace("max(map(abs, row_a)) + ", ""),
     _bound_of_fixed([9] * 3, [0] * 3))
term("capacity: on and off, b", "arcs", _MOST, _MOST.replace("max(map(abs, row_b)) + ", ""),
     _bound_of_fixed([0] * 3, [9] * 3))
covered("capacity: on and off, part of a", "arcs", " + max(excess_a)",
        "as large as that of b, and U is added with half of `largest`")
covered("capacity: on and off, part of b", "arcs", " + max(excess_b)",
        "as large as that of a, and U is added with half of `largest`")
term("capacity: on and off, both parts", "arcs", " + max(excess_a) + max(excess_b)", "",
     _bound_of_fixed([0] * 3, [-90, 90, 90]))
_MOST = "vector.largest * (max(map(abs, row_a)) + max(map(abs, row_b)))"
term("capacity: outliers, a", "arcs", _MOST, "vector.largest * max(map(abs, row_b))",
     _bound_of_fixed([9] * 3, [0] * 3, True))
term("capacity: outliers, b", "arcs", _MOST, "vector.largest * max(map(abs, row_a))",
     _bound_of_fixed([0] * 3, [9] * 3, True))
# fmt: on


# Lemma C: each cell has the depth it is said to have. Lemma I: the integral is within its error.


def _coefficients(family: Family, p: int, delta: int) -> list[mpmath.mpc]:
    return [
        mpmath.mpc(z.a_re, z.a_im) * turn(Fraction(h * family.frequency * delta, p)) + mpmath.mpc(z.b_re, z.b_im)
        for h, z in enumerate(family.profile, 1)
    ]


def _profile(dc: int, u: Sequence[mpmath.mpc], x: Fraction) -> mpmath.mpf:
    """T in units of 2^-24."""
    return dc + sum((z * turn(h * x)).real for h, z in enumerate(u, 1))


def _family(dc: int, *profile: tuple[int, int, int, int], shells: tuple[int, ...] = ()) -> Family:
    return Family(1, dc, tuple(Harmonic(*z) for z in profile), shells, (Member(0, 1, 0),))


def _lemma_c(family: Family, p: int, cells: int, reach: int) -> Witness:
    def room(module: Any) -> Room:
        found = module.profile_arcs(family, p, cells, reach)
        depths = [*found.thresholds, reach]
        size, rooms = p * cells, []
        for delta in range(p):
            u = _coefficients(family, p, delta)
            level = [0] * size
            for arcs in found.arcs:
                for first, length in arcs[delta]:
                    for i in range(length):
                        level[(first + i) % size] += 1
            for cell in range(size):
                for x in (Fraction(cell), Fraction(2 * cell + 1, 2), Fraction(cell + 1)):
                    T = _profile(family.dc, u, x / size)
                    count = len(depths)
                    positive = level[cell] >= count
                    depth = depths[level[cell] - count] if positive else depths[count - 1 - level[cell]]
                    rooms.append(T - depth if positive else -depth - T)
        return min(rooms)

    return room


def _integral(dc: int, u: Sequence[mpmath.mpc]) -> mpmath.mpc:
    """∫ReLU(T)·e(2x)dx in units of 2^-24, by the roots of T to 30 digits."""
    modes: dict[int, mpmath.mpc] = {0: mpmath.mpc(dc)}
    for h, z in enumerate(u, 1):
        modes[h], modes[-h] = z / 2, mpmath.conj(z) / 2
    top = max((h for h in modes if abs(modes[h]) > mpmath.mpf(10) ** -25), default=0)
    places = [mpmath.mpf(0), mpmath.mpf(1)]
    if top:
        polynomial = [modes[m] for m in range(top, -top - 1, -1)]
        roots = mpmath.polyroots(polynomial, maxsteps=200, extraprec=200)
        places += [mpmath.arg(z) / (2 * mpmath.pi) % 1 for z in roots]
    places.sort()
    result = mpmath.mpc(0)
    for low, high in pairwise(places):
        middle = (low + high) / 2
        if sum((c * mpmath.expjpi(2 * m * middle)).real for m, c in modes.items()) > 0:
            for m, c in modes.items():
                k = 2j * mpmath.pi * (m + 2)
                result += c * ((mpmath.exp(k * high) - mpmath.exp(k * low)) / k if m != -2 else high - low)
    return result


def _lemma_i(family: Family, p: int, cells: int) -> Witness:
    def room(module: Any) -> Room:
        found = module.profile_arcs(family, p, cells, 1 << 40)
        rooms = []
        for delta, near in enumerate(found.integrals):
            true = _integral(family.dc, _coefficients(family, p, delta)) * UNIT
            rooms.append(near.error - abs(mpmath.mpc(near.re, near.im) - true))
        return min(rooms)

    return room


# fmt: off
_TINY = [(1, 0, 0, 0)] * 3  # at δ = 1 of p = 13 all three coefficients are rounded to nothing
_SLOPE = "slopes.append(((slope * 355 << bits) // (113 * size)) + 1 + error)"
_CUTS = "cuts = [1 - t - slope for t in reversed(steps)] + [0] + [t + slope for t in steps]"
_STEEP = _family(0, (0, 0, ONE, 0), shells=(13 * ONE // 20,))
term("C: slope", "arcs", _SLOPE, "slopes.append(1 + error)", _lemma_c(_STEEP, 5, 1, 4 * ONE))
term("C: error of the middle", "arcs", _SLOPE, _SLOPE.replace(" + error", ""), _lemma_c(_family(0, *_TINY), 13, 4, ONE))
term("C: slope below zero", "arcs", _CUTS, _CUTS.replace("1 - t - slope", "1 - t"), _lemma_c(_STEEP, 5, 4, 4 * ONE))
term("C: slope above zero", "arcs", _CUTS, _CUTS.replace("t + slope", "t"), _lemma_c(_STEEP, 5, 4, 4 * ONE))
term("C: rounding of a coefficient", "arcs", "error += abs(re) + abs(im) + (4 << bits)", "error += abs(re) + abs(im)",
     _lemma_c(_family(0, *_TINY), 13, 4, ONE))
_C_SPARE = "4 << bits stands for a coefficient's 1.77 units at most; what is left of it is more than this"
covered("C: table of the cells", "arcs", "error += abs(re) + abs(im) + (4 << bits)", _C_SPARE + " (|re| + |im| < 2^29)")
covered("C: rounding of the slope", "arcs", "(113 * size)) + 1 + error", _C_SPARE)
covered(
    "C: slope of a coefficient's error", "arcs", "slope += h * (abs_bound(re, im) + 2)",
    "the slope need be that of the rounded profile only: the exact one is within 4 << bits of it everywhere",
)
covered(
    "C: DC term in the capacity", "arcs", "(abs(family.dc) + 2 * steepest) << bits",
    "below 2^57 by the format, and lanes hold twice the capacity",
)

_BEND = "bends.append((5 * bend << bits) // (3 * size * size) + error)"
_I_ERROR = "return Integral(re, im, bend + 3 * slope * rough // size + table + 6)"
term("I: curvature", "arcs", _I_ERROR, _I_ERROR.replace("bend + ", ""),
     _lemma_i(_family(4 * ONE, (0, 0, ONE, 0)), 3, 1))
term("I: curvature of a harmonic", "arcs", "bend += (h + 2) * (h + 2) * (abs_bound(re, im) + 2)", "pass",
     _lemma_i(_family(8 * ONE, *[(0, 0, 0, 0)] * 7, (0, 0, 2 * ONE, 0)), 5, 2))
term("I: error of the middle", "arcs", _BEND, _BEND.replace(" + error", ""),
     _lemma_i(_family(100, (0, 0, 0, 0), (1, 0, 0, 0)), 13, 10))
covered(
    "I: curvature of the DC term", "arcs", "bend = 4 * abs(family.dc)",
    "with a root |d| <= Σ|u_h|, and (h + 2)² is 4h above the h² + 4 that is needed; without, three points integrate "
    "d·e(2x) exactly",
)
covered("I: curvature of a coefficient's error", "arcs", "(h + 2) * (h + 2) * (abs_bound(re, im) + 2)",
        "the integral of the exact profile is within the error of the middle of the rounded one's")
covered("I: table", "arcs", "+ table + 6",
        "at most 2^33, from |T| < 2^8; the error of the middle has 2^31 left per harmonic")
covered("I: rounding", "arcs", "+ table + 6", "the error of the middle has 2^31 left per harmonic")
covered(
    "I: cells that may hold a root", "arcs", _I_ERROR,
    "measured, not proved: the curvature alone was 3.5 times the error or more on 60,000 random profiles",
)
term("I: curvature and cells that may hold a root, together", "arcs", _I_ERROR,
     _I_ERROR.replace("bend + 3 * slope * rough // size + ", ""), _lemma_i(_STEEP, 3, 1))
# fmt: on


# Lemma O: the range of the rest, and what is left above the outputs beyond p.


def _above(row: Sequence[int], unit: int, omega: Sequence[tuple[int, int]], frequencies: Sequence[int], p: int) -> Any:
    """The range of V over c < p, and the least of m + V less the outputs beyond p; row in units of 1/unit."""
    V = [
        exact(Fraction(row[c], unit))
        - sum((mpmath.mpc(*w) * turn(Fraction(j * c, p))).real for w, j in zip(omega, frequencies, strict=True))
        for c in range(p)
    ]
    return max(V) - min(V), min(V) - max((exact(Fraction(x, unit)) for x in row[p:]), default=mpmath.mpf(0))


def _lemma_o(row: list[int], what: str) -> Witness:
    def room(module: Any) -> Room:
        split = module.Splitter(7, (1, 2, 3), 8).split([row], Cost(), "test")[0]
        rest, over = _above(row, 256, split.omega, (1, 2, 3), 7)
        sizes = [size - abs(mpmath.mpc(*w)) for size, w in zip(split.size, split.omega, strict=True)]
        return {"rest": split.rest - rest, "over": over - split.over, "size": min(sizes)}[what]

    return room


# fmt: off
_ROW = [67108863, 32697441, 16895719, 67108863, -41564844, -67108863, -67108863, 67108863]
_O_SLACK = "slack = sum(map(abs, fit)) + 1"
_O_OVER = "over = (low - (max(beyond) << lift)) >> TABLE_BITS if beyond else 0"
term("O: table, in the rest", "outputs", _O_SLACK, "slack = 1", _lemma_o(_ROW, "rest"))
term("O: table, beyond p", "outputs", _O_SLACK, "slack = 1", _lemma_o(_ROW, "over"))
term("O: size of a coefficient", "outputs", "isqrt(re * re + im * im) + 1", "isqrt(re * re + im * im)",
     _lemma_o(_ROW, "size"))
term("O: least of the rest", "outputs", "rest=-((low - high)", "rest=-((-high)", _lemma_o([-x for x in _ROW], "rest"))
term("O: largest of the rest", "outputs", "rest=-((low - high)", "rest=-(low", _lemma_o(_ROW, "rest"))
term("O: least of the rest, beyond p", "outputs", _O_OVER, _O_OVER.replace("low - ", "-"),
     _lemma_o([-x for x in _ROW], "over"))
term("O: outputs beyond p", "outputs", _O_OVER, _O_OVER.replace(" - (max(beyond) << lift)", ""), _lemma_o(_ROW, "over"))
covered("O: one more", "outputs", _O_SLACK,
        "nothing is left for it: each table entry is off by one unit at most and sums are exact")
covered("O: rows in the capacity", "outputs", "(max(map(abs, row)) << lift)", "2^48 at most: rows have 26 bits")
covered("O: table in the capacity", "outputs", "+ (slack << TABLE_BITS)", "2^56 at most: 64 pairs of 2^19")
# fmt: on


# Skips: rows rounded to coarser units before they are split, then lifted, or lowered to a finer unit.


def _lifted(row: list[int], rounded: list[int], what: str) -> Witness:
    """p = 7, ten bits coarser; `rounded`: how many of the 2^10 finer units each entry lost."""

    def room(module: Any) -> Room:
        split = Splitter(7, (1, 3), 8).split([row], Cost(), "test")[0]
        found = module._lifted(split, 10)
        true = [(x << 10) + y for x, y in zip(row, rounded, strict=True)]
        rest, over = _above(true, 256, found.omega, (1, 3), 7)
        return found.rest - rest if what == "rest" else over - found.over

    return room


def _lowered(split: Split, what: str) -> Witness:
    """p = 4 and frequency 1, where waves are integers; V is 0 before the coefficient is rounded to 2^3 units."""

    def room(module: Any) -> Room:
        found = module._lifted(split, -3)
        (re, im), (new_re, new_im) = split.omega[0], found.omega[0]
        lost = [Fraction(re, 8) - new_re, Fraction(im, 8) - new_im]
        V = [lost[0], -lost[1], -lost[0], lost[1]]
        if what == "size":
            return found.size[0] ** 2 - new_re**2 - new_im**2
        if what == "rest":
            return found.rest - (max(V) - min(V))
        return min(V) + Fraction(split.over, 8) - found.over

    return room


# fmt: off
_LIFTED = "rest, over = split.rest + 1, split.over - 1"
_LOWERED = "tuple((x >> -lift) + 3 for x in split.size), (rest >> -lift) + 1 + lost, (over >> -lift) - lost"
_ROW = [63173036, 14581135, -13889590, 7753557, 56558266, -37450376, -6213720, -41225211]
term("skips: rounding to coarser units, in the rest", "arcs", _LIFTED, "rest, over = split.rest, split.over - 1",
     _lifted(_ROW, [1023, 0, 0, 0, 0, 0, 0, 0], "rest"))
_ROW = [25435820, -26652251, 15459124, -56431712, 54648743, 32727618, -54293917, 35866122]
term("skips: rounding to coarser units, beyond p", "arcs", _LIFTED, "rest, over = split.rest + 1, split.over",
     _lifted(_ROW, [0, 0, 0, 0, 0, 0, 0, 1023], "over"))
term("skips in finer units: size", "arcs", _LOWERED, _LOWERED.replace(" + 3", ""),
     _lowered(Split(((-1, -1),), (2,), 1, 0), "size"))
term("skips in finer units: lost by the coefficients, in the rest", "arcs", _LOWERED,
     _LOWERED.replace(" + 1 + lost", " + 1"), _lowered(Split(((7, 7),), (10,), 1, 1), "rest"))
term("skips in finer units: lost by the coefficients, beyond p", "arcs", _LOWERED, _LOWERED.replace(" - lost", ""),
     _lowered(Split(((7, 7),), (10,), 1, 9), "over"))
covered("skips in finer units: rounding of the rest", "arcs", "(rest >> -lift) + 1 + lost",
        "lost is 4 for each frequency, where the coefficients lose 2√2 at most")
# fmt: on


# Theorem Q: every method bounds the largest error over all offsets, sampled.


def _spectrum(n: int, wave: Callable[[float], complex], start: int = 0, cover: float = 1.0) -> list[Node]:
    """n even nodes on a part of the circle, with ω = e(2φ)·wave(φ) in units of 2^-44."""
    result = []
    for i in range(n):
        phase = start + int(cover * i * PHASE / n)
        z = cmath.exp(4j * math.pi * phase / PHASE) * wave(phase / PHASE) * 2**44
        result.append(Node(phase % PHASE, 1, 0, round(z.real), round(z.imag)))
    return result


def _sideband(j: int, size: float, n: int = 256) -> list[Node]:
    """The moments are Q_−2 = 1 and Q_m = `size` for m = −2 − j, and no other."""
    return _spectrum(n, lambda x: 1 + size * cmath.exp(2j * math.pi * j * x))


def _theorem_q(nodes: list[Node], method: str, whole: int = 0, half: int = 0) -> Witness:
    omega = np.array([complex(x.re, x.im) for x in nodes])
    phi = np.array([x.phase / PHASE for x in nodes])
    v = np.concatenate([np.linspace(0, 1, 2000), 0.25 - phi, 0.75 - phi])
    if method == "arc_sum":
        v = np.arange(6) / 6
    rule = np.maximum(np.cos(2 * np.pi * (v[:, None] + phi[None, :])), 0) @ omega
    moment = (omega * np.exp(-4j * np.pi * phi)).sum()
    weight = abs(omega).sum()
    gap = abs(rule - weight / (3 * np.pi) * moment / abs(moment) * np.exp(-4j * np.pi * v)).max() * 2 * np.pi / weight

    def room(module: Any) -> Room:
        found = module.quadrature(1, nodes, Boxes(1, whole % PHASE, half % PHASE), 3, Cost())
        if method != "lens":
            return getattr(found, method) / 2**40 - float(gap)
        near = np.array([complex(*x) for x in found.lens])
        places = np.arange(6) / 6
        true = np.maximum(np.cos(2 * np.pi * (places[:, None] + phi[None, :])), 0) @ omega * np.exp(4j * np.pi * places)
        return 2 + 1e-9 * float(weight) - float(abs(near - true).max())

    return room


# fmt: off
_WAVY = _spectrum(256, lambda x: cmath.exp(0.5j * math.cos(4 * math.pi * x)))
_HALF = _spectrum(128, lambda x: 1, PHASE // 512, 0.5)
_EVEN = _spectrum(64, lambda x: 1)
_PLAIN = "plain = ball(2) * scale * _boxes(whole_nodes, share, start) + angle"
_SPLIT = "split = identity + ball(2) * scale * _boxes(half_nodes, half_share, half_start) + angle / ball(2)"
term("Q: angle", "quadrature", _PLAIN, _PLAIN.replace(" + angle", ""), _theorem_q(_WAVY, "rectangle"))
term("Q: angle, split", "quadrature", _SPLIT, _SPLIT.replace(" + angle / ball(2)", ""), _theorem_q(_WAVY, "rectangle"))
term("Q: boxes", "quadrature", _PLAIN, "plain = angle", _theorem_q(_spectrum(3, lambda x: 1, 7, 0.0), "rectangle"))
term("Q: boxes, split", "quadrature", _SPLIT, "split = identity + angle / ball(2)",
     _theorem_q(_spectrum(2, lambda x: 1), "rectangle"))
term("Q: identity half", "quadrature", _SPLIT, _SPLIT.replace("identity + ", ""), _theorem_q(_HALF, "rectangle"))
_MOMENTS = "moments = modulus(_moment(rule, 1)) + modulus(_moment(rule, -1))"
term("Q: identity half, m = 1", "quadrature", _MOMENTS, "moments = modulus(_moment(rule, -1))",
     _theorem_q(_HALF, "rectangle"))
term("Q: identity half, m = -1", "quadrature", _MOMENTS, "moments = modulus(_moment(rule, 1))",
     _theorem_q(_HALF, "rectangle"))
_AREA = "(after * abs(after) - before * abs(before)) / ball(2)"
term("Q: area up to a box's right end", "quadrature", _AREA, "(ball(0) - before * abs(before)) / ball(2)",
     _theorem_q(_EVEN, "rectangle", PHASE // 5))
term("Q: area up to a box's left end", "quadrature", _AREA, "(after * abs(after)) / ball(2)",
     _theorem_q(_EVEN, "rectangle", -PHASE // 5))
_ONES = "error = (modulus(_moment(rule, 1)) + modulus(_moment(rule, -1))) / ball(4)"
_MODES = "error = error + (modulus(plus) + modulus(minus)) / (pi() * ball(mode * mode - 1))"
term("Q: harmonic, m = 1", "quadrature", _ONES, "error = modulus(_moment(rule, -1)) / ball(4)",
     _theorem_q(_sideband(-3, 0.3), "harmonic"))
term("Q: harmonic, m = -1", "quadrature", _ONES, "error = modulus(_moment(rule, 1)) / ball(4)",
     _theorem_q(_sideband(-1, 0.3), "harmonic"))
term("Q: harmonic, m = 0", "quadrature", "error = error + modulus(sum(up, zero)) / pi()", "pass",
     _theorem_q(_sideband(-2, 0.3), "harmonic"))
term("Q: harmonic, even m > 0", "quadrature", _MODES, _MODES.replace("modulus(plus) + ", ""),
     _theorem_q(_sideband(-6, 0.3), "harmonic"))
term("Q: harmonic, even m < 0", "quadrature", _MODES, _MODES.replace(" + modulus(minus)", ""),
     _theorem_q(_sideband(2, 0.3), "harmonic"))
term("Q: harmonic, what m = -2 lacks", "quadrature", "minus = minus - rule.direction * rule.total", "minus = zero",
     _theorem_q(_sideband(1, 1.0), "harmonic"))
term("Q: harmonic, tail", "quadrature", "error = error + rule.total / (pi() * ball(MOMENTS + 1))", "pass",
     _theorem_q(_spectrum(132, lambda x: 1), "harmonic"))
_LENS = "values.append((forward + (behind[high] - behind[low]) * turn(m, 2 * p)) / ball(2))"
_GENERIC = _sideband(-3, 0.3, 7)
term("Q: lens, ahead", "quadrature", _LENS, _LENS.replace("forward + ", ""), _theorem_q(_GENERIC, "lens"))
term("Q: lens, behind", "quadrature", _LENS, "values.append(forward / ball(2))", _theorem_q(_GENERIC, "lens"))
term("Q: arc sum, the rule", "quadrature", "modulus(value - integral) for", "modulus(integral) for",
     _theorem_q(_spectrum(1, lambda x: 1), "arc_sum"))
term("Q: arc sum, the integral", "quadrature", "modulus(value - integral) for", "modulus(value) for",
     _theorem_q([Node(0, 1, 0, 10 << 40, 0), Node(0, 1, 0, -9 << 40, 0)], "arc_sum"))
# fmt: on


# The sums turned by e(j(a + b)/p), the closed form, Theorem L.


def _turned(re: int, im: int, up: bool) -> Witness:
    """p = 7: one frequency with C = re + im·i exactly, in every input; |R − C·e(j(a + b)/p)| within the radius."""
    p = 7

    def room(module: Any) -> Room:
        sums = real_arcs.Sums(p, 4)
        sums.part_a = [[pack([re, im, 0, 0])] * p for _ in range(p)]
        rooms = []
        with circles(module, up, up):
            for delta in range(p):
                found = module.columns_at(SimpleNamespace(sums=sums), (1,), delta)
                for b in range(p):
                    true = mpmath.mpc(re, im) * turn(Fraction(2 * b + delta, p))
                    near = mpmath.mpc(found.turned[0][b], found.turned[1][b])
                    rooms.append(found.radii[0][b] - abs(near - true))
        return min(rooms)

    return room


# fmt: off
_TURNED = "slack = ((_largest(re) + _largest(im)) >> (bits - 1)) + 3"
term("L: table of the turned sums, real part", "logits", _TURNED, _TURNED.replace("_largest(re) + ", ""),
     _turned(1 << 60, 0, False))
term("L: table of the turned sums, imaginary part", "logits", _TURNED, _TURNED.replace(" + _largest(im)", ""),
     _turned(0, 1 << 60, False))
term("L: rounding of the turned sums", "logits", _TURNED, _TURNED.replace(" + 3", ""), _turned(1000, 707, False))
# fmt: on


def _radius_lane(module: Any) -> Room:
    sums = real_arcs.Sums(5, 4)
    sums.part_a = [[pack([0, 0, 1000, 0])] * 5 for _ in range(5)]
    return module.columns_at(SimpleNamespace(sums=sums), (1,), 0).radii[0][0] - 1000


# fmt: off
term("L: radius of the sums", "logits", "radii.append([r + slack for r in radius])",
     "radii.append([slack for r in radius])", _radius_lane)
# fmt: on


@dataclass(frozen=True)
class _Part:
    """A family in the closed form: its moment and its integral as the kernel has them, and as they are."""

    q: tuple[int, int]
    s: tuple[int, int, int]
    moment: tuple[Fraction, Fraction]
    integral: tuple[Fraction, Fraction]


def _closed_form(*parts: _Part, p: int = 8, up: bool = False) -> Witness:
    """The error of every term of the closed form bounds its distance from twice the exact one."""

    def room(module: Any) -> Room:
        families = [SimpleNamespace(frequency=1)] * len(parts)
        integrals = [[real_arcs.Integral(*part.s)] * p for part in parts]
        with circles(module, up, up):
            form = module.closed_form(
                SimpleNamespace(integrals=integrals),
                SimpleNamespace(families=families),
                [x.q for x in parts],
                p,
                Cost(),
            )
        product = sum(
            mpmath.mpc(*map(exact, x.moment)) * mpmath.mpc(*map(exact, x.integral)) / (1 << (MID_BITS - 1))
            for x in parts
        )
        return min(
            error - abs(mpmath.mpc(re, im) - product * turn(Fraction(delta, p)))
            for delta, (re, im, error) in enumerate(form.terms[1])
        )

    return room


# fmt: off
_G_ERROR = "error + ((size * s.error + 2 * (abs(s.re) + abs(s.im))) >> shift) + 4"
_G_TURN = "error + ((abs(re) + abs(im)) >> (TABLE_BITS - 1)) + 3"
_BIG = 1 << 60
_MANY = _Part((1, 0), (-1, -1, 0), (Fraction(1), Fraction(0)), (Fraction(-1), Fraction(-1)))
term("L: error of the integral", "logits", _G_ERROR, "error + (2 * (abs(s.re) + abs(s.im)) >> shift) + 4",
     _closed_form(_Part((100, 0), (0, 0, _BIG), (Fraction(100), Fraction(0)), (Fraction(_BIG), Fraction(0)))))
term("L: error of the moment times that of the integral", "logits", "size = abs(q_re) + abs(q_im) + 2",
     "size = abs(q_re) + abs(q_im)",
     _closed_form(_Part((0, 0), (0, 0, _BIG), (Fraction(1), Fraction(1)), (Fraction(_BIG), Fraction(0)))))
term("L: moment, real part", "logits", "size = abs(q_re) + abs(q_im) + 2", "size = abs(q_im) + 2",
     _closed_form(_Part((100, 0), (0, 0, _BIG), (Fraction(100), Fraction(0)), (Fraction(_BIG), Fraction(0)))))
term("L: moment, imaginary part", "logits", "size = abs(q_re) + abs(q_im) + 2", "size = abs(q_re) + 2",
     _closed_form(_Part((0, 100), (0, 0, _BIG), (Fraction(0), Fraction(100)), (Fraction(_BIG), Fraction(0)))))
term("L: error of the moment, real part of the integral", "logits", _G_ERROR, _G_ERROR.replace("abs(s.re) + ", ""),
     _closed_form(_Part((0, 0), (_BIG, 0, 0), (Fraction(1), Fraction(1)), (Fraction(_BIG), Fraction(0)))))
term("L: error of the moment, imaginary part of the integral", "logits", _G_ERROR, _G_ERROR.replace(" + abs(s.im)", ""),
     _closed_form(_Part((0, 0), (0, _BIG, 0), (Fraction(1), Fraction(1)), (Fraction(0), Fraction(_BIG)))))
term("L: rounding of a family's product", "logits", _G_ERROR, _G_ERROR.replace(" + 4", ""), _closed_form(*[_MANY] * 5))
term("L: other families of the frequency", "logits", _G_ERROR, _G_ERROR.replace("error + ", "", 1),
     _closed_form(*[_Part((100, 0), (0, 0, _BIG), (Fraction(100), Fraction(0)), (Fraction(_BIG), Fraction(0)))] * 2))
term("L: table of the closed form", "logits", _G_TURN, "error + 3",
     _closed_form(
         _Part((1 << 40, 0), (1 << 50, 0, 0), (Fraction(1 << 40), Fraction(0)), (Fraction(1 << 50), Fraction(0))),
         up=True,
     ))
term("L: error of the products, after turning", "logits", _G_TURN, _G_TURN.replace("error + ", "", 1),
     _closed_form(_Part((100, 0), (0, 0, _BIG), (Fraction(100), Fraction(0)), (Fraction(_BIG), Fraction(0)))))
# fmt: on


def _amplitude(module: Any) -> Room:
    """The exact value may be shorter by the whole error."""
    return 1000 - 300 - module.ClosedForm({1: [(1000, 0, 300), (0, 0, 0)]}).amplitude(1)


# fmt: off
term("L: error of the closed form, in the amplitude", "logits", "isqrt(re * re + im * im) - error",
     "isqrt(re * re + im * im)", _amplitude)
# fmt: on


def _rule(**fields: Any) -> Quadrature:
    """A rule of frequency 1 for p = 8 that writes nothing."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("neurons", "rectangle", "harmonic", "arc_sum", "bound", "relative_bound", "weight"), 0
    )
    return Quadrature(**{"frequency": 1, **nothing, "lens": [(0, 0)] * 16, "integral": (0, 0), **fields})


def _theorem_l(what: str, size: int = 10_000) -> Witness:
    """One δ of p = 8, a family at 1 and another frequency 3: everything at its worst at t = 0 and, negated, at t = 4.

    R_1 is `size` from the closed form, which is 700 off, R_3 is 5000, the radii are 300 and 400, the rest is 6000.
    """

    def room(module: Any) -> Room:
        form = module.ClosedForm({1: [(0, 0, 700)] * 8})
        terms = module._Terms([_rule()], form, (1, 3), 8)
        turned = [[size] * 8, [0] * 8, [5000] * 8, [0] * 8]
        terms.add(module.Inputs(turned, [], [[300] * 8, [400] * 8], [6000] * 8, [0] * 8), 0)
        found = terms.result((0, 0))[0]
        if what == "network":
            return terms.network[1] - (size + 700 + 300)
        return found - (size + 700 + 300 + 5000 + 400 + 3000)

    return room


# fmt: off
_WHOLE = "whole, errors = list(map(add, band, half)), 0"
_FAMILY = "sizes = abs_bounds(re, im)\n                self.network"
_OTHER = "sizes = abs_bounds(re, im)\n                self.other[j] = max(self.other[j], max(sizes))"
_DIRECT = "self.direct = max(self.direct, max(whole) + errors)"
_NETWORK = "self.network[j] = max(self.network[j], max(map(add, sizes, inputs.radii[index])) + error)"
_PROFILE = "self.profile[j] = max(self.profile[j], isqrt(most) + 1 + self.slack[j] + error)"
_RESULT = "rest = sum(self.profile.values()) + sum(self.other.values()) + self.band + self.rest"
term("L: band", "logits", _WHOLE, "whole, errors = half, 0", _theorem_l("error"))
term("L: rests", "logits", _WHOLE, "whole, errors = band, 0", _theorem_l("error"))
term("L: distance at a family's frequency", "logits", _FAMILY, _FAMILY.replace("abs_bounds(re, im)", "[0] * len(re)"),
     _theorem_l("error"))
term("L: other frequencies", "logits", _OTHER, _OTHER + "\n                sizes = [0] * len(re)", _theorem_l("error"))
term("L: error of the closed form", "logits", _DIRECT, _DIRECT.replace(" + errors", ""), _theorem_l("error"))
term("L: errors of the closed form, by frequency", "logits", "errors += error", "pass", _theorem_l("error"))
term("L: network error, distance", "logits", _FAMILY, _FAMILY.replace("abs_bounds(re, im)", "[0] * len(re)"),
     _theorem_l("network"))
term("L: network error, radius", "logits", _NETWORK,
     _NETWORK.replace("max(map(add, sizes, inputs.radii[index]))", "max(sizes)"), _theorem_l("network"))
term("L: network error, closed form", "logits", _NETWORK, _NETWORK.replace(" + error", ""), _theorem_l("network"))
term("L: sum of the terms, profile", "logits", _RESULT, _RESULT.replace("sum(self.profile.values()) + ", ""),
     _theorem_l("error"))
term("L: sum of the terms, other frequencies", "logits", _RESULT, _RESULT.replace("sum(self.other.values()) + ", ""),
     _theorem_l("error"))
term("L: sum of the terms, band", "logits", _RESULT, _RESULT.replace(" + self.band", ""), _theorem_l("error"))
term("L: sum of the terms, rests", "logits", _RESULT, _RESULT.replace(" + self.rest", ""), _theorem_l("error"))
term("L: profile, error of the closed form", "logits", _PROFILE, _PROFILE.replace(" + error", ""), _theorem_l("error"))
term("L: profile, distance", "logits", _PROFILE, _PROFILE.replace("isqrt(most) + ", ""), _theorem_l("error"))
# fmt: on


def _pure(module: Any) -> Room:
    """The rule's lens is one unit above the exact one, its integral one below; the network is where they put it."""
    true, weight = 500, 1 << 20
    bound = int(mpmath.ceil(2 * mpmath.pi * true / weight * 2**40))
    rule = _rule(weight=weight, bound=bound, lens=[(true + 1, 0)] * 16, integral=(-1, 0))
    terms = module._Terms([rule], module.ClosedForm({1: [(0, 0, 0)] * 8}), (1,), 8)
    turned = [[4 * (true + 2)] * 8, [0] * 8]
    terms.add(module.Inputs(turned, [], [[0] * 8], [0] * 8, [0] * 8), 0)
    return terms.result((0, 0))[0] - 4 * (true + 2)


# fmt: off
_SLACK = "return (far >> (TABLE_BITS - 2)) + 16"
term("L: quadrature", "logits", "summed = sum(quadrature.values()) + rest", "summed = rest", _pure)
term("L: rounding of the pure cosines", "logits", _SLACK, "return far >> (TABLE_BITS - 2)", _pure)
covered("L: table of the pure cosines", "logits", _SLACK,
        "2π is taken as 6.28: the quadrature term is 0.05 % above what is needed")
covered("L: rounding of the root", "logits", "isqrt(most) + 1 + self", "the slack of the profile has 4 units left")
term("L: slack of the pure cosines", "logits", _PROFILE, _PROFILE.replace(" + self.slack[j]", ""), _pure)
covered("L: rounding of the quadrature term", "logits", "// (628 << BOUND_BITS)) + 1",
        "the slack of the profile has 4 units left")
covered("L: naive bound", "logits", "naive += 1600 * rule.weight // 5921 + 1", "for comparison: nothing rests on it")
_NEARLY = _Part(
    (1 << 45, 0), (256 * 535266590 + 255, 255, 255), (Fraction(1 << 45), Fraction(0)),
    (Fraction(256 * 535266590 + 255 + 180), Fraction(255 + 180)),
)  # fmt: skip
term("L: rounding of the closed form", "logits", _G_TURN, _G_TURN.replace(" + 3", ""), _closed_form(_NEARLY, p=336))
# fmt: on


# Theorem A: no margin is above what the premises allow.


def _sizes(p: int, radius: int = 1 << 50) -> Witness:
    """Nothing but a radius: every direction d by itself."""

    def room(module: Any) -> Room:
        with circles(module, True, False):
            rows = module.directions(p, (1,)).rows
            x = module.Input([0, 0], [radius], 0, 0)
            return min(
                -abs(1 - turn(Fraction(d, p))) * radius * UNIT - module.full_margin(x, [row], False)
                for d, row in enumerate(rows, 1)
            )

    return room


def _theorem_a(
    points: Sequence[tuple[int, int]],
    radius: int = 0,
    rest: int = 0,
    over: int | None = None,
    critical: int = 0,
    p: int = 4,
) -> Witness:
    """One δ with R_1 at the given points, input by input; `critical` as in a certificate, −1 for the refinement."""

    def room(module: Any) -> Room:
        n = len(points)
        columns = [list(x) for x in zip(*points, strict=True)]
        inputs = module.Inputs(
            columns, [(min(x), max(x)) for x in columns], [[radius] * n], [rest] * n, [over or 0] * n
        )
        with circles(module, False, False):
            toward = module.directions(p, (1,))
            if critical < 0:
                found = [
                    module.full_margin(module.Input(list(x), [radius], rest, over or 0), toward.rows, over is not None)
                    for x in points
                ]
            else:
                found, _ = module._margins(inputs, toward, critical, over is not None, 0)
        rooms = []
        for margin, z in zip(found, points, strict=True):
            away = [1 - turn(Fraction(d, p)) for d in range(1, p)]
            true = [(mpmath.mpc(*z) * w).real - abs(w) * radius - rest for w in away]
            if over is not None:
                true.append(mpmath.mpf(z[0] - radius + 2 * over))
            rooms.append(min(true) * UNIT - margin)
        return min(rooms)

    return room


# fmt: off
_SIZE = "(-isqrt((x + 1) * (x + 1) + (abs(y) + 1) * (abs(y) + 1)) - 1 for x, y in points)"
_DISC = "discs.append(isqrt(most) + 1 + max(radius))"
_TAIL = "tail = (max(inputs.rest) << TABLE_BITS) + sum(map(abs, centre))"
_TAILS = "return [(rest << TABLE_BITS) + size for rest in inputs.rest]"
_VECTOR = "(x.rest << TABLE_BITS) + sum(map(abs, x.turned))"
_BEYOND = "return [(x - r + 2 * over) << TABLE_BITS for"
_BEYOND_ONE = "return (sum(x.turned[::2]) - sum(x.radii) + 2 * x.over) << TABLE_BITS"
_CORNERS = [(-1000, -1000), (1000, 1000)]
_FAR = [(1 << 50, -1 << 50)]
term("A: table in a direction's length, real part", "logits", _SIZE, _SIZE.replace("(x + 1) * (x + 1)", "x * x"),
     _sizes(5))
term("A: table in a direction's length, imaginary part", "logits", _SIZE,
     _SIZE.replace("(abs(y) + 1) * (abs(y) + 1)", "y * y"), _sizes(8))
term("A: rounding of a direction's length", "logits", _SIZE, _SIZE.replace(" - 1 for", " for"), _sizes(5))
term("A: distance from the centre", "logits", _DISC, _DISC.replace("isqrt(most) + ", ""), _theorem_a(_CORNERS))
term("A: rounding of the distance", "logits", _DISC, _DISC.replace(" + 1", ""), _theorem_a([(99, -1), (101, 1)]))
term("A: radius in the disc", "logits", _DISC, _DISC.replace(" + max(radius)", ""), _theorem_a([(0, 0)], radius=1000))
term("A: rest, for all inputs", "logits", _TAIL, "tail = sum(map(abs, centre))", _theorem_a([(0, 0)], rest=1000))
term("A: directions, for all inputs", "logits", _TAIL, _TAIL.replace(" + sum(map(abs, centre))", ""),
     _theorem_a(_FAR, p=7))
term("A: radii", "logits", "for column in chain(turned, radii)]", "for column in turned]",
     _theorem_a([(0, 0)], radius=1000, critical=9))
term("A: rest", "logits", _TAILS, "return [size for rest in inputs.rest]", _theorem_a([(0, 0)], rest=1000, critical=9))
term("A: directions", "logits", _TAILS, "return [(rest << TABLE_BITS) for rest in inputs.rest]",
     _theorem_a(_FAR, critical=9, p=7))
term("A: beyond p, sums", "logits", _BEYOND, _BEYOND.replace("x - r", "-r"), _theorem_a([(-1000, 0)], over=-5000))
term("A: beyond p, radii", "logits", _BEYOND, _BEYOND.replace("x - r", "x"),
     _theorem_a([(0, 0)], radius=1000, over=-5000))
term("A: beyond p, over", "logits", _BEYOND, _BEYOND.replace(" + 2 * over", ""), _theorem_a([(0, 0)], over=-5000))
term("A: refinement, radii", "logits", "return [*x.turned, *x.radii, (", "return [*x.turned, *[0 for _ in x.radii], (",
     _theorem_a([(0, 0)], radius=1000, critical=-1))
term("A: refinement, rest", "logits", _VECTOR, "sum(map(abs, x.turned))", _theorem_a([(0, 0)], rest=1000, critical=-1))
term("A: refinement, directions", "logits", _VECTOR, "(x.rest << TABLE_BITS)", _theorem_a(_FAR, critical=-1, p=7))
term("A: refinement, beyond p, sums", "logits", _BEYOND_ONE, _BEYOND_ONE.replace("sum(x.turned[::2]) - ", "-"),
     _theorem_a([(-1000, 0)], over=-5000, critical=-1))
term("A: refinement, beyond p, radii", "logits", _BEYOND_ONE, _BEYOND_ONE.replace(" - sum(x.radii)", ""),
     _theorem_a([(0, 0)], radius=1000, over=-5000, critical=-1))
term("A: refinement, beyond p, over", "logits", _BEYOND_ONE, _BEYOND_ONE.replace(" + 2 * x.over", ""),
     _theorem_a([(0, 0)], over=-5000, critical=-1))
# fmt: on


# The exhaustive strategy's closed form and deviation.


def _nothing(p: int) -> Circuit:
    """A circuit that writes zero."""
    rows = [[0] * p for _ in range(p)]
    return Circuit(p, p, 1, rows[:1], rows[:1], rows[:1], rows, rows, 26, 26, 0, [0], 0, 0)


def _exhaustive(what: str, terms: dict[int, tuple[int, int, int]], p: int, exact_terms: dict[int, int]) -> Witness:
    """The network writes nothing; each G_k is real and `exact_terms` holds what twice it is."""

    def room(module: Any) -> Room:
        form = ClosedForm({k: [term] * p for k, term in terms.items()})
        with circles(module, True, True):
            found = module.exhaustive(_nothing(p), form, 8, Cost(), lambda *_: None)
        values = [
            sum(exact(size) * turn(Fraction(k * t, p)).real for k, size in exact_terms.items()) * 128 for t in range(p)
        ]
        true = (max(values) - min(values)) / 2
        return found.deviation - true if what == "above" else true - found.deviation_below

    return room


# fmt: off
_CLOSED = "error += off + ((abs(re) + abs(im)) >> TABLE_BITS) + 1"
_MANY_RE = dict.fromkeys(range(1, 51), ((1 << 30) - 1, 0, 0))
term("exhaustive: error of the closed form", "exhaustive", _CLOSED, _CLOSED.replace("off + ", ""),
     _exhaustive("above", {1: (0, 0, 10**6)}, 8, {1: 10**6}))
term("exhaustive: table", "exhaustive", _CLOSED, "error += off + 1",
     _exhaustive("above", {1: (1 << 60, 0, 0)}, 7, {1: 1 << 60}))
term("exhaustive: rounding by frequency", "exhaustive", _CLOSED, _CLOSED.replace(" + 1", ""),
     _exhaustive("above", _MANY_RE, 101, dict.fromkeys(_MANY_RE, (1 << 30) - 1)))
term("exhaustive: error above", "exhaustive", "(deviation + 1) // 2 + unit", "(deviation + 1) // 2",
     _exhaustive("above", {1: (0, 0, 10**6)}, 8, {1: 10**6}))
term("exhaustive: error below", "exhaustive", "deviation // 2 - unit", "deviation // 2",
     _exhaustive("below", {1: (10**6, 0, 10**6)}, 8, {1: 0}))
covered("exhaustive: rounding of the sum", "exhaustive", "((worst + 2) << drop) + 1",
        "errors are doubled here and only half of them is needed: 2^(drop - 1) circuit units are left per frequency")
# fmt: on


# Theorem F: every operation errs by all it may, in the same direction; everything is positive, so nothing cancels.


@dataclass(frozen=True)
class _Net:
    """A transformer of one coordinate and one head, layout "a b", attention on the last position alone."""

    tensors: dict[str, float]
    low: int = 1
    high: int = 1
    allowed: bool = True

    @property
    def file(self) -> bytes:
        shapes = {
            "embed.W_E": (3, 1), "pos_embed.W_pos": (2, 1), "blocks.0.attn.W_V": (1, 1, 1),
            "blocks.0.attn.W_O": (1, 1, 1), "blocks.0.attn.b_V": (1, 1), "blocks.0.attn.b_O": (1,),
            "blocks.0.mlp.W_in": (1, 1), "blocks.0.mlp.b_in": (1,), "blocks.0.mlp.W_out": (1, 1),
            "blocks.0.mlp.b_out": (1,), "unembed.W_U": (1, 3), "unembed.b_U": (3,),
        }  # fmt: skip
        weights = f"{self.low}:{self.high}" if self.low != self.high else f"{self.low}"
        metadata = {
            "format": "verifier-model/1", "task": "(a + b) mod p", "p": "3", "layout": "a b",
            "attention": f"0 {weights}", "provenance": "{}",
        }  # fmt: skip
        return tensor_file(
            {name: (shape, [self.tensors[name]] * math.prod(shape)) for name, shape in shapes.items()}, metadata, "f"
        )

    def logit(self, operands: Fraction, sums: Fraction, result: Fraction, weight: int) -> Fraction:
        """With relative errors of operands, sums and results; all zero for the exact logit."""
        t = {name: Fraction(x) for name, x in self.tensors.items()}
        o, s, r = 1 + operands, 1 + sums, 1 + result

        def layer(x: Fraction, name: str, bias: str) -> Fraction:
            return (x * t[name] * o * o * s * s + t[bias] * o * o * s) * r

        # What the theorem allows for storing an embedding: two roundings, to first order. One is real.
        stored = (s * r + 2 * operands) if self.allowed else o * s * r
        last = (t["embed.W_E"] + t["pos_embed.W_pos"]) * stored
        value = layer(last, "blocks.0.attn.W_V", "blocks.0.attn.b_V")
        mixed = value * weight * o * o * s**3 * r
        before = (last + layer(mixed, "blocks.0.attn.W_O", "blocks.0.attn.b_O")) * s * r
        hidden = max(Fraction(0), layer(before, "blocks.0.mlp.W_in", "blocks.0.mlp.b_in"))
        after = (before + layer(hidden, "blocks.0.mlp.W_out", "blocks.0.mlp.b_out")) * s * r
        return layer(after, "unembed.W_U", "unembed.b_U")


def _net(low: int = 1, high: int = 1, **weights: float) -> _Net:
    names = {
        "embed": "embed.W_E", "position": "pos_embed.W_pos", "W_V": "blocks.0.attn.W_V", "b_V": "blocks.0.attn.b_V",
        "W_O": "blocks.0.attn.W_O", "b_O": "blocks.0.attn.b_O", "W_in": "blocks.0.mlp.W_in",
        "b_in": "blocks.0.mlp.b_in", "W_out": "blocks.0.mlp.W_out", "b_out": "blocks.0.mlp.b_out",
        "W_U": "unembed.W_U", "b_U": "unembed.b_U",
    }  # fmt: skip
    values = {name: 0.0 if name.startswith("b_") else 1.0 for name in names} | weights
    return _Net({names[name]: x for name, x in values.items()}, low, high)


def _theorem_f(net: _Net, semantics: str = "bfloat16") -> Witness:
    def room(module: Any) -> Room:
        model = read_model(net.file)
        folded = real_circuit.fold(model)
        fixed = real_circuit.quantise(folded, model.p, Cost())
        bound = Fraction(module.logit_rounding(model, folded, fixed, semantics, Cost()), 1 << UNIT_BITS)
        arithmetic = ARITHMETIC[semantics]
        zero = Fraction(0)
        gaps = [
            net.logit(arithmetic.operands, arithmetic.sums, arithmetic.result, weight)
            - net.logit(zero, zero, zero, weight)
            for weight in (net.low, net.high)
        ]
        return bound - max(map(abs, gaps))

    return room


_PLAIN_NET = _theorem_f(_net())


def _drop(name: str, text: str, without: str, witness: Witness = _PLAIN_NET) -> None:
    term(f"F: {name}", "floating_point", text, without, witness)


def _one_addition(module: Any) -> Room:
    """1 + 1 in binary32, by itself: in a network the next layer has one rounding to spare."""
    one = module._Signal([1 << UNIT_BITS], [0])
    return module._added(one, one, module.ARITHMETIC["binary32"]).error[0] - Fraction(2 << UNIT_BITS, 1 << 24)


# fmt: off
_THROUGH = "[e + r + 1 for e, r in zip(layer.reach(x.error), rounding, strict=True)]"
_ADDED = "[e + r + 1 for e, r in zip(error, rounding, strict=True)]"
_MIX = "[e + r + 1 for e, r in zip(mixed.error, rounding, strict=True)]"
_DOT = "return (1 + self.operands) ** 2 * (1 + mu / (1 - mu)) * (1 + self.result) - 1"
_SUM = "return (1 + self.sums) * (1 + self.result) - 1"
_AFTER = "_Signal(written.size, _plus(written.error, _scaled(moved, slope)))"
_END = "return direct + carried + max(_scaled([around], once)) + 2"
_ONCE = "once = (1 + arithmetic.product_error(d + 2, \"W_U\")) * (1 + arithmetic.sum_error()) - 1"
_drop("operands of a product", _DOT, _DOT.replace("(1 + self.operands) ** 2 * ", ""))
_drop("sums of a product", _DOT, _DOT.replace("(1 + mu / (1 - mu)) * ", ""), _theorem_f(_net(), "binary32"))
_drop("result of a product", _DOT, _DOT.replace(" * (1 + self.result)", ""))
_drop("sum of two", _SUM, "return self.result", _one_addition)
_drop("result of a sum of two", _SUM, "return self.sums")
_drop("layer, error that comes in", _THROUGH, "[r + 1 for r in rounding]")
_drop("layer, rounding", _THROUGH, "[e + 1 for e in layer.reach(x.error)]")
_drop("layer, rounding of an error", "operands = _plus(x.size, x.error)", "operands = x.size")
_drop("layer, rounding of the product", "rounding = _scaled(_plus(reach, layer.bias), relative)",
      "rounding = _scaled(layer.bias, relative)")
_drop("layer, rounding of the bias", "rounding = _scaled(_plus(reach, layer.bias), relative)",
      "rounding = _scaled(reach, relative)", _theorem_f(_net(b_O=1000.0)))
_drop("layer, size of the product", "size = _plus(layer.reach(x.size), layer.bias)", "size = layer.bias")
_drop("layer, size of the bias", "size = _plus(layer.reach(x.size), layer.bias)", "size = layer.reach(x.size)",
      _theorem_f(_net(b_out=1000.0)))
_drop("addition, error of the first", "error = _plus(x.error, y.error)", "error = y.error")
_drop("addition, error of the second", "error = _plus(x.error, y.error)", "error = x.error")
_drop("addition, rounding", _ADDED, "[e + 1 for e in error]")
_drop("addition, rounding of an error", "rounding = _scaled(_plus(size, error), arithmetic.sum_error())",
      "rounding = _scaled(size, arithmetic.sum_error())")
_drop("addition, size of the first", "size = _plus(x.size, y.size)", "size = y.size")
_drop("addition, size of the second", "size = _plus(x.size, y.size)", "size = x.size")
_drop("embedding, sum", "_plus(summed.error, _scaled(summed.size, relative))", "_scaled(summed.size, relative)",
      _theorem_f(replace(_net(), allowed=False)))
_drop("embedding, storage", "_plus(summed.error, _scaled(summed.size, relative))", "summed.error",
      _theorem_f(replace(_net(), allowed=False)))
_drop("attention, sizes", "_plus(mixed.size, _scaled(value.size, weight))", "mixed.size")
_drop("attention, errors of the values", "_plus(mixed.error, _scaled(value.error, weight))", "mixed.error")
_drop("attention, error of the mix", _MIX, "[r + 1 for r in rounding]")
_drop("attention, rounding of the mix", _MIX, "[e + 1 for e in mixed.error]")
_drop("attention, rounding of an error", "rounding = _scaled(_plus(mixed.size, mixed.error), relative)",
      "rounding = _scaled(mixed.size, relative)")
_drop("what W_out writes", _AFTER, "_Signal([0] * d, _plus(written.error, _scaled(moved, slope)))")
_drop("rounding in W_out", _AFTER, "_Signal(written.size, _scaled(moved, slope))")
_drop("rounding in W_out of the hidden layer's error", _AFTER, "_Signal(written.size, written.error)")
_drop("through W_U", _END, _END.replace("direct + ", ""))
_drop("the hidden layer's error, through W_out·W_U", _END, _END.replace("carried + ", ""))
_drop("the hidden layer's error, rounding in W_U", _END, _END.replace("max(_scaled([around], once)) + ", ""))
_drop("the hidden layer's error, rounding of the product with W_U", _ONCE, "once = arithmetic.sum_error()")
_drop("the hidden layer's error, rounding of the last addition", _ONCE,
      "once = arithmetic.product_error(d + 2, \"W_U\")")
_drop("attention intervals, stream before", "return _plus(last.size, attended.size)", "return list(attended.size)",
      _theorem_f(_net(1, 2, W_in=0.0)))
_drop("attention intervals, what was attended to", "return _plus(last.size, attended.size)", "return list(last.size)",
      _theorem_f(_net(1, 100, W_in=0.0)))
_drop("attention intervals, hidden layer", "max(row_b) + 2 + slack) * unit", "max(row_b) + 2) * unit",
      _theorem_f(_net(1, 1000)))
# fmt: on


def _folded_file(A: Table, B: Table, W: Table, S1: Table | None = None) -> bytes:
    """A circuit of p outputs in binary64; S2 is zero."""
    p = len(A[0])
    zero = [[0.0] * p for _ in range(p)]
    return circuit_bytes(p, A, B, W, S1 or zero, zero, False)


def _circuit_f(a: float, b: float, w: float, s: float) -> Witness:
    """One neuron with constant A, B, W and both skips equal to s; every operation errs by all it may."""

    def room(module: Any) -> Room:
        rows = [[s] * 3 for _ in range(3)]
        model = read_model(circuit_bytes(3, [[a] * 3], [[b] * 3], [[w] * 3], rows, rows, False))
        folded = real_circuit.fold(model)
        fixed = real_circuit.quantise(folded, 3, Cost())
        bound = Fraction(module.logit_rounding(model, folded, fixed, "bfloat16", Cost()), 1 << UNIT_BITS)
        arithmetic = ARITHMETIC["bfloat16"]
        o, once = 1 + arithmetic.operands, (1 + arithmetic.sums) * (1 + arithmetic.result)
        A, B, W, S = map(Fraction, (a, b, w, s))
        small = (2 - o) if b < 0 else o
        hidden = max(Fraction(0), (A * o + B * small) * once)
        dot = hidden * W * o * o * (1 + arithmetic.sums) ** 2 * (1 + arithmetic.result)
        computed = ((dot + S * o) * once + S * o) * once
        return bound - (computed - (max(Fraction(0), A + B) * W + 2 * S))

    return room


# fmt: off
_PRE = "[e + 1 for e in _scaled(size, 2 * once)]"
_SKIPS = "return max(_scaled(_plus(out.size, out.error), 4 * once)) + max(out.error) + 1"
_SUMS_OF_TWO = "once = arithmetic.sum_error() + 2 * arithmetic.sums + arithmetic.operands"
_CANCELLED = _circuit_f(1.0, -1.0, 1.0, 0.0)
_drop("circuit, pre-activations", _PRE, "[1 for _ in size]", _CANCELLED)
_drop("circuit, output", _SKIPS, _SKIPS.replace(" + max(out.error)", ""), _CANCELLED)
_drop("circuit, skips", "bias = max(skips) * 2", "bias = 0", _circuit_f(0.0, 0.0, 1.0, 1.0))
_drop("circuit, additions of the skips", _SKIPS, "return max(out.error) + 1", _circuit_f(1.0, 1.0, 1.0, 0.0))
_TWICE = "twice and four times the sum are charged, where one loading and one or two additions are made"
covered("F: circuit, addition", "floating_point", _SUMS_OF_TWO, _TWICE)
covered("F: circuit, loading of binary64", "floating_point", _SUMS_OF_TWO, _TWICE)
covered("F: circuit, operands", "floating_point", _SUMS_OF_TWO, _TWICE)
covered("F: circuit, size of A", "floating_point", "size = [max(a[i * p", _TWICE)
covered("F: circuit, size of B", "floating_point", "max(b[i * p : (i + 1) * p]) for i", _TWICE)
_UNDERFLOW = "underflow is below 2^-125 per operation, and every rounding is a whole number of 2^-60, rounded up"
for _text in (_THROUGH, _ADDED, _MIX, _PRE, _SKIPS, _END):
    covered(f"F: underflow, {_text[:40]}", "floating_point", _text, _UNDERFLOW)


covered("F: rounding of the hidden layer's size", "floating_point", "max(row_b) + 2 + slack) * unit",
        "2 units are 2^-25 of the largest pre-activation, and W_out's charge has 2^-24 of |W_in|·|x| to spare; "
        "not proved for a neuron far below the largest")
covered("F: rounding of W_out·W_U", "floating_point", "(abs(row[c]) + 1 for row",
        "2^-26 of the largest entry; the charges of W_out and W_U have 2^-24 each to spare; "
        "not proved for entries far below it")
# fmt: on


# What leaves the kernel: Lemma K and Theorem F in the conclusion.


def _conclude(
    module: Any, file: bytes, p: int, certificate: dict[str, Any], strategy: str, semantics: str
) -> Conclusion:
    digest = hashlib.sha256(file).hexdigest()
    claim = {
        "format": "verifier-claim/1", "task": "(a + b) mod p", "p": p, "model_sha256": digest, "strategy": strategy,
        "semantics": semantics, "certified_inputs": 0, "refinement_budget": 0,
    }  # fmt: skip
    found: Conclusion = module.check(
        file, json.dumps(claim).encode(), json.dumps(certificate | {"model_sha256": digest}).encode()
    )
    return found


def _explained(
    p: int, neurons: int, amplitude: int, exponent: int, outliers: list[int], off: list[int]
) -> dict[str, Any]:
    """The last neuron is a family of frequency 1."""
    family = {
        "frequency": 1,
        "dc": 0,
        "profile": [[0, 0, ONE, 0]],
        "shells": [],
        "members": [[neurons - 1, amplitude, 0]],
    }
    return {
        "format": "verifier-certificate/1", "p": p, "neurons": neurons, "cells": 4, "output_frequencies": [1],
        "critical_offsets": p, "amplitude_exponent": exponent, "families": [family], "outliers": outliers, "on": [],
        "off": off, "boxes": [{"frequency": 1, "whole": 0, "half": 0}],
    }  # fmt: skip


HALF = 2.0**25  # the largest entries, so that the units are 1


def _rounded_away(what: str, skip: float = 0.0, strategy: str = "exhaustive") -> Witness:
    """A dead neuron fixes the units; the other's activation is rounded from nearly 2 to 0, and its W is ±2^25.

    `skip`: what the skips add, in multiples of what is rounded away.
    """
    part = 1 - 2.0**-20
    wave = [HALF, 0.0, -HALF, 0.0]
    lost = 2 * part * HALF
    S1 = [[skip * lost * x / HALF for x in wave] for _ in range(4)]
    file = _folded_file([[-HALF] * 4, [part] * 4], [[-HALF] * 4, [part] * 4], [[0.0] * 4, wave], S1)
    certificate = _explained(4, 2, 1, -16, [1], [0])
    size = Fraction(lost) * Fraction(1 + skip)  # the logits are size·(1, 0, −1, 0) at every input
    closed = 1 << 10  # the closed form is below this

    def room(module: Any) -> Room:
        found = _conclude(module, file, 4, certificate, strategy, "real")
        margin = -2 * size if size >= 0 else 2 * size
        if what == "margins":
            return margin - min(map(min, found.margins)) * Fraction(2) ** found.margin_exponent
        if what == "max_error":
            return value(found.logits.max_error) - (size - closed)
        assert found.accuracy.true_min_margin is not None
        assert found.accuracy.max_deviation is not None
        low, high = map(value, found.accuracy.true_min_margin)
        below, above = map(value, found.accuracy.max_deviation)
        return {
            "least": margin - low, "most": high - margin, "above": above - (abs(size) - closed),
            "below": abs(size) + closed - below,
        }[what]  # fmt: skip

    return room


def _executed(module: Any) -> Room:
    """A and B are 1 + 2^-8, less a little: bfloat16 makes both 1, and the logit of input (0, 0) 2."""
    x = 1 + 2.0**-8 - 2.0**-16
    file = _folded_file([[x] * 3], [[x] * 3], [[1.0, 0.0, 0.0]])
    found = _conclude(module, file, 3, _explained(3, 1, 1 << 30, -30, [0], []), "exhaustive", "bfloat16")
    return 2 - found.margins[0][0] * Fraction(2) ** found.margin_exponent


# fmt: off
def _coefficient(wave: Sequence[float], part: float) -> Witness:
    """A dead neuron fixes the units; the other, A = B = `part`, writes a wave that Lemma O's fit or fixed point loses.

    The closed form, of amplitude 2^-16, is below 2^10.
    """

    dead = [-HALF] * 4, [0.0] * 4 if HALF in wave else [HALF, 0.0, -HALF, 0.0]  # one wave fixes the outputs' units
    live = [part] * 4, list(wave)
    neurons = [dead, live] if HALF in wave else [live, dead]  # the last one, which the fit sees, is the family
    rows = [row for row, _ in neurons]
    file = _folded_file(rows, rows, [out for _, out in neurons])

    def room(module: Any) -> Room:
        found = _conclude(module, file, 4, _explained(4, 2, 1, -16, [0, 1], []), "exhaustive", "real")
        # (2/p)·Σ_c W[c]·i^-c
        re, im = (Fraction(part) * Fraction(wave[c] - wave[c + 2]) for c in (0, 1))
        size = math.isqrt(math.floor(re * re + im * im))
        return value(found.quadrature[0].network_error) - (size - 1024)

    return room


_SQUARE = (HALF, HALF, -HALF, -HALF)
_SHIFT = "arc.fit + units.doubled(circuit.difference_error)"
_PENALTY = "penalty = units.margin(circuit.difference_error) + units.margin_of(rounding, UNIT_BITS, 2)"
term("check: fixed point, in the penalty", "check", _PENALTY, "penalty = units.margin_of(rounding, UNIT_BITS, 2)",
     _rounded_away("margins"))
term("check: fixed point, in the penalty of the linear pass", "check", _PENALTY,
     "penalty = units.margin_of(rounding, UNIT_BITS, 2)", _rounded_away("margins", strategy="linear"))
term("check: rounding, in the penalty", "check", _PENALTY, "penalty = units.margin(circuit.difference_error)",
     _executed)
term("check: fixed point, in max_error", "check", "max_error=Dyadic(result.max_error + fixed_point, exponent)",
     "max_error=Dyadic(result.max_error, exponent)", _rounded_away("max_error"))
term("check: fixed point, in network_error", "check", _SHIFT, "arc.fit", _coefficient(_SQUARE, 1 - 2.0**-20))
term("check: fixed point of differences, in network_error", "check", _SHIFT,
     "arc.fit + units.doubled(circuit.logit_error)", _coefficient(_SQUARE, 1 - 2.0**-20))
term("check: fit, in network_error", "check", _SHIFT, "units.doubled(circuit.difference_error)",
     _coefficient((255, 0, -255, 0), HALF))
term("check: fixed point, in the least true margin", "check", "Dyadic(least - error,", "Dyadic(least,",
     _rounded_away("least"))
term("check: fixed point, in the largest least margin", "check", "Dyadic(least + error,", "Dyadic(least,",
     _rounded_away("most", -1.0))
term("check: fixed point, in the deviation above", "check", "exact.deviation + single", "exact.deviation",
     _rounded_away("above"))
term("check: fixed point, in the deviation below", "check", "exact.deviation_below - single", "exact.deviation_below",
     _rounded_away("below", -1.0))
covered("check: fixed point, in the naive bound", "check", "naive=Dyadic(result.naive + fixed_point, exponent)",
        "for comparison: nothing rests on it")
# fmt: on


# The lanes of a family and of the skips stay below the bound that is accumulated for them.


def _bound_of_sums(rows: list[float], amplitude: int, skip: float) -> Witness:
    """One neuron with A = 0, B = `rows`; the first skip is a wave of frequency 1 with amplitude `skip`."""
    wave = [1.0, 0.0, -1.0, 0.0]
    file = _folded_file([[0.0] * 4], [rows], [[HALF * x for x in wave]], [[skip * x for x in wave]] * 4)
    certificate = json.dumps(_explained(4, 1, amplitude, -5, [], []) | {"model_sha256": "0" * 64}).encode()

    def room(module: Any) -> Room:
        fixed = real_circuit.quantise(real_circuit.fold(read_model(file)), 4, Cost())
        sums = module.sum_arcs(fixed, read_certificate(certificate), Cost(), lambda *_: None).sums
        bound, sums.bound = sums.bound, 0
        return bound - max(abs(x) for delta in range(4) for lane in sums.at_offset(delta) for x in lane)

    return room


# fmt: off
_FAMILY_BOUND = "sums.bound += v.largest * (most + 2 * r.most(arcs.thresholds[0]))"
_FITS = [HALF, 0.0, -HALF, 0.0]
term("capacity: families, activation", "arcs", _FAMILY_BOUND, _FAMILY_BOUND.replace("most + ", ""),
     _bound_of_sums(_FITS, 1 << 30, 0.0))
term("capacity: families, U", "arcs", _FAMILY_BOUND, _FAMILY_BOUND.replace(" + 2 * r.most(arcs.thresholds[0])", ""),
     _bound_of_sums([-HALF, 0.0, HALF, 0.0], 1 << 32, 0.0))
term("capacity: skips", "arcs", "sums.bound += max(vector.largest for vector in vectors)", "pass",
     _bound_of_sums([HALF] * 4, 1, 2.0**60))
# fmt: on


@pytest.mark.parametrize("row", TERMS, ids=lambda row: row.name)
def test_dropped_term_is_caught(row: Term) -> None:
    with mpmath.workdps(40):
        kept = row.witness(importlib.import_module(f"verifier.kernel.{row.module}"))
        assert kept >= 0, "the kernel's bound fails on the witness"
        dropped = row.witness(rewritten(row.module, row.edits))
    assert dropped < 0, f"the bound without the term still has room {dropped}"


@pytest.mark.parametrize("row", COVERED, ids=lambda row: row.name)
def test_covered_term_is_there(row: Covered) -> None:
    """The table is about the kernel as it is."""
    rewritten(row.module, ((row.text, row.text),))
    assert row.reason
