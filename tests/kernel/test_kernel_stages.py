"""Every stage of the kernel by itself against what its docstring says, in exact rationals or at high precision; and for
every term of a bound that can be needed alone: without it, an instance at which the conclusion is false.

Drawn members of an enclosure are at the ends of it as often as inside.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise, product
from typing import Any
from unittest import mock

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import PHASE, tensor_file
from verifier.kernel import Reason, Rejected, arrays, balls, circuit, directions, enclosure, floating_point, tables
from verifier.kernel import closed_form as forms
from verifier.kernel import quadrature as rules
from verifier.kernel.arrays import zeros
from verifier.kernel.attention import NO_ATTENTION, Pattern
from verifier.kernel.certificate import Deformation, Family
from verifier.kernel.check import GAP_BITS, _Explained, _explained, _logit_bound, _Loss
from verifier.kernel.circuit import SKIP_SHIFT, STILL, Circuit, Folded, Moves, fold, quantise
from verifier.kernel.closed_form import ClosedForm, Points
from verifier.kernel.conclusion import Dyadic
from verifier.kernel.cost import Cost
from verifier.kernel.directions import LaneSums
from verifier.kernel.enclosure import Enclosed
from verifier.kernel.events import Events, require_sums
from verifier.kernel.limits import DIRECTION_BITS, OUT_BITS, PRE_BITS, SUM_BITS
from verifier.kernel.logits import Logits, _coefficients, prepare
from verifier.kernel.model_file import read_model

Exact = list[list[Fraction]]
HARMONIC, RULE, SLACK = rules._harmonics, rules._rule, circuit._slack
PLACES = (Fraction(-1), Fraction(1), Fraction(1, 3), Fraction(0))


def ints(values: Any) -> Any:
    return np.array(values, dtype=np.int64)


def exact(x: Enclosed) -> Exact:
    """The middles."""
    return [[Fraction(v) * Fraction(2) ** x.exponent for v in row] for row in x.values.tolist()]


def away(x: Enclosed, meant: Exact) -> Fraction:
    """How far the numbers meant are from the middles, at most, in units of the radius's."""
    unit = Fraction(2) ** x.exponent
    rows = zip(exact(x), meant, strict=True)
    return max(abs(u - v) / unit for row, own in rows for u, v in zip(row, own, strict=True))


def multiplied(x: Exact, y: Exact) -> Exact:
    return [[sum((a * b for a, b in zip(row, c, strict=True)), Fraction(0)) for c in zip(*y, strict=True)] for row in x]


@st.composite
def enclosures(draw: st.DrawFn, rows: int, columns: int, bits: int = 50) -> tuple[Enclosed, Exact]:
    """An enclosure and a member of it."""
    top = draw(st.sampled_from((0, 1, 3, 1 << 12, (1 << bits) - 1)))
    entry = st.one_of(st.integers(-top, top), st.sampled_from((top, -top, 0, top // 2)))
    values = draw(st.lists(st.lists(entry, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    radius = draw(st.sampled_from((0, 0, 1, 2, 3, 7, 1 << 20)))
    x = Enclosed(ints(values), draw(st.sampled_from((0, -3, 2, -40))), radius)
    moved = [[draw(st.sampled_from(PLACES)) * radius * Fraction(2) ** x.exponent for _ in row] for row in values]
    return x, [[u + v for u, v in zip(a, b, strict=True)] for a, b in zip(exact(x), moved, strict=True)]


@given(enclosures(2, 2, 61), st.integers(-5, 70), st.integers(1, 40))
def test_enclosures_in_other_units(pair: tuple[Enclosed, Exact], shift: int, bits: int) -> None:
    x, meant = pair
    if shift >= 0 or x.reach() << -shift < 1 << 62:
        moved = x.at(x.exponent + shift)
        assert moved.exponent == x.exponent + shift
        assert away(moved, meant) <= moved.radius <= (0 if not x.reach() else -(-x.radius << 9 >> shift + 9) + 1)
    narrow = x.within(bits)
    assert away(narrow, meant) <= narrow.radius
    assert arrays.largest(narrow.values) <= 1 << bits
    assert narrow is x or arrays.largest(x.values) >= 1 << bits
    assert x.reach() == arrays.largest(x.values) + x.radius
    assert away(x.T, [list(row) for row in zip(*meant, strict=True)]) <= x.T.radius
    assert away(x.reshape(1, 4), [list(chain(*meant))]) <= x.radius
    assert away(x[1:], meant[1:]) <= x.radius


@given(enclosures(2, 4), st.lists(st.fractions(-3, 3, max_denominator=1 << 20), min_size=2, max_size=2))
def test_multiples_of_enclosures(pair: tuple[Enclosed, Exact], factors: list[Fraction]) -> None:
    """Two columns for each factor."""
    x, meant = pair
    found = x.times(factors)
    worst = away(found, [[factors[i // 2] * v for i, v in enumerate(row)] for row in meant])
    most = max(map(abs, factors))
    assert worst <= found.radius <= most * (x.radius * Fraction(2) ** (x.exponent - found.exponent) + 2) + 2
    assert found.values.shape == x.values.shape
    top = arrays.largest(x.values[:, :2])
    assert top < x.top or top == 0 or arrays.largest(found.values) >= abs(factors[0]) * (1 << 33) - 1


@given(st.lists(enclosures(2, 2, 54), min_size=1, max_size=3))
def test_sums_and_stacks_of_enclosures(pairs: list[tuple[Enclosed, Exact]]) -> None:
    (first, *others), members = [x for x, _ in pairs], [m for _, m in pairs]
    total = enclosure.plus(first, *others)
    meant = [[sum(m[i][j] for m in members) for j in range(2)] for i in range(2)]
    assert away(total, meant) <= total.radius  # type: ignore[arg-type]
    below = enclosure.stacked([first, *others])
    assert away(below, list(chain(*members))) <= below.radius
    for found in (total, below):
        radius = sum(x.radius * Fraction(2) ** (x.exponent - found.exponent) + 2 for x, _ in pairs)
        assert found.radius <= radius
    assert below.exponent == enclosure.common([first, *others])
    nonzero = [x for x, _ in pairs if x.reach()]
    if nonzero:
        tops = max(x.exponent + x.reach().bit_length() for x in nonzero) - 56
        assert below.exponent == max(min(x.exponent for x in nonzero), tops)


@given(enclosures(2, 3), enclosures(3, 2), st.sampled_from((1, 6)))
def test_products_of_enclosures(x: tuple[Enclosed, Exact], y: tuple[Enclosed, Exact], copies: int) -> None:
    (a, meant_a), (b, meant_b) = x, y
    a, meant_a = Enclosed(np.tile(a.values, (1, copies)), a.exponent, a.radius), [row * copies for row in meant_a]
    b, meant_b = Enclosed(np.tile(b.values, (copies, 1)), b.exponent, b.radius), meant_b * copies
    found = enclosure.product(a, b, "x")
    assert away(found, multiplied(meant_a, meant_b)) <= found.radius
    columns = max(sum(map(abs, c)) for c in zip(*exact(b), strict=True))
    rows = max(sum(map(abs, row)) for row in exact(a))
    r_a, r_b = (z.radius * Fraction(2) ** z.exponent for z in (a, b))
    # Not much above what the radii make necessary: 28 bits are kept of a sum's largest possible value.
    needed = r_a * columns + r_b * rows + 3 * copies * r_a * r_b
    top = max(abs(v) for row in exact(a) for v in row) * columns + max(abs(v) for row in exact(b) for v in row) * rows
    unit = Fraction(2) ** found.exponent
    assert found.radius * unit <= Fraction(101, 100) * needed + top * copies / (1 << 24) + 3 * unit


# What a test switches off, and what is false then. An isolated error: no other term of the bound is above zero.


def member(x: Enclosed, side: int) -> Enclosed:
    """The member at one end, exactly."""
    return Enclosed(x.values + np.int64(side * x.radius), x.exponent, 0)


def folded(p: int, n: int, q: int, rng: random.Random, radii: Sequence[int], bits: int = 30) -> Folded:
    """Random tables a, b, w, s1, s2 with radii."""

    def table(rows: int, columns: int, radius: int) -> Enclosed:
        return Enclosed(ints([[rng.randrange(-1 << bits, 1 << bits) for _ in range(columns)] for _ in range(rows)]),
                        rng.choice((-bits, -bits - 3)), radius)  # fmt: skip

    shapes = ((p, n), (p, n), (n, q), (p, q), (p, q))
    parts = [table(*shape, radius) for shape, radius in zip(shapes, radii, strict=True)]
    a, b, w, s1, s2 = parts
    return Folded(a, b, w, s1, s2, STILL, NO_ATTENTION)


def distances(meant: Folded, moved: list[list[Fraction]], found: Circuit) -> tuple[Fraction, Fraction, Fraction]:
    """The largest distance of a logit and of a difference of two from the circuit's, in its units, and by how much an
    activation is above its bound. `moved` [2, p]: how far attention moves every pre-activation and skip, by a + b.
    """
    a, b, w, s1, s2 = (exact(x) for x in (meant.a, meant.b, meant.w, meant.s1, meant.s2))
    p, pre, unit = found.p, Fraction(2) ** found.pre_scale, Fraction(2) ** (found.pre_scale + found.out_scale)
    logit, difference, above = [], [], []
    for x, y in product(range(p), range(p)):
        t = (x + y) % p
        hidden = [max(u + v + moved[0][t], Fraction(0)) for u, v in zip(a[x], b[y], strict=True)]
        above += [h * pre - top for h, top in zip(hidden, found.hidden, strict=True)]
        own = np.maximum(found.pre_a[:, x] + found.pre_b[:, y], 0).tolist()
        far = []
        for c in range(found.outputs):
            true = sum((h * row[c] for h, row in zip(hidden, w, strict=True)), s1[x][c] + s2[y][c] + moved[1][t])
            fixed = sum(h * v for h, v in zip(own, found.out[:, c].tolist(), strict=True))
            far.append(true * unit - fixed - ((int(found.skip_a[x, c]) + int(found.skip_b[y, c])) << SKIP_SHIFT))
        logit.append(max(map(abs, far)))
        difference.append(max(far) - min(far))
    return max(logit), max(difference), max(above)


TABLES = ("a", "b", "w", "s1", "s2")
NOT_MOVED = [[Fraction(0)] * 16] * 2


@pytest.mark.parametrize("which", [*range(5), None])
def test_lemma_k_holds_and_every_radius_is_needed(which: int | None) -> None:
    reached = Fraction(0)
    for seed in range(12):
        rng = random.Random(seed)
        radii = [1 << 18 if which in (None, i) else 0 for i in range(5)]
        own = folded(3, rng.choice((1, 3)), rng.choice((3, 4)), rng, radii, 20 if which is not None else 34)
        found = quantise(own, 3, Cost())
        points: Any = {k: replace(getattr(own, k), radius=0) for k in TABLES}
        silent = quantise(replace(own, **points), 3, Cost())
        for sides in product((-1, 1), repeat=5):
            ends: Any = {k: member(getattr(own, k), s) for k, s in zip(TABLES, sides, strict=True)}
            logit, difference, above = distances(replace(own, **ends), NOT_MOVED, found)
            assert logit <= found.logit_error
            assert difference <= found.difference_error
            assert above <= 0
            reached = max(reached, logit / found.logit_error)
            if which is not None and logit:
                assert silent.logit_error == 0
    assert reached > Fraction(1, 8), "a bound that says nothing"


def test_lemma_k_charges_the_rounding_to_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    own = folded(3, 2, 3, random.Random(1), [0] * 5, 40)
    found = quantise(own, 3, Cost())
    logit, difference, _ = distances(own, NOT_MOVED, found)
    assert 0 < logit <= found.logit_error
    assert 0 < difference <= found.difference_error
    at = Enclosed.at
    monkeypatch.setattr(Enclosed, "at", lambda x, exponent: replace(at(x, exponent), radius=0))
    assert quantise(own, 3, Cost()).logit_error == 0


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("silent", [0, 1])
def test_attention_moves_what_its_slack_says(monkeypatch: pytest.MonkeyPatch, normalised: bool, silent: int) -> None:
    """Two positions, whose weights move by r and −r, or each by itself; what the head writes is the same at both but
    for its sign, so that the slack is reached."""
    p, q, r = 3, 3, Fraction(1, 8)
    rng = random.Random(5)
    own = folded(p, 2, q, rng, [0] * 5, 20)
    pre, skip = (
        Enclosed(ints([[[sign * (1 << 18)] * columns for sign in (1, -1) for _ in range(p)]]), -20, 0)
        for columns in (2, q)
    )
    silenced = replace(skip, values=np.zeros_like(skip.values)) if silent else skip
    weights = zeros(p, p, 2, 1) if normalised else zeros(0)  # of softmax; their values do not matter here
    pattern = Pattern([[Fraction(1, 2)]] * 2, [[r]] * 2, weights)
    moving = replace(own, moves=Moves((0,), ints([0, p]), pre, silenced), attention=pattern)
    found = quantise(moving, p, Cost())
    for sides in product((-1, 1), repeat=2):
        if normalised and sides[0] == sides[1]:
            continue
        move = [r * sum(s * sign for s, sign in zip(sides, (1, -1), strict=True)) / 4] * p
        logit, difference, above = distances(own, [move, [Fraction(0)] * p if silent else move], found)
        assert logit <= found.logit_error
        assert difference <= found.difference_error
        assert above <= 0
        if sides == (1, -1):
            assert logit > Fraction(1, 8) * found.attention_error > 0
            monkeypatch.setattr(circuit, "_slack", lambda x, *rest: ([0] * x.w.shape[0], SLACK(x, *rest)[1]))
            assert quantise(moving, p, Cost()).logit_error < (logit if silent else found.logit_error)
            monkeypatch.setattr(circuit, "_slack", lambda x, *rest: ([0] * x.w.shape[0], 0))
            assert quantise(moving, p, Cost()).logit_error < logit
            monkeypatch.setattr(circuit, "_slack", SLACK)


def test_many_neurons_make_the_unit_of_the_outputs_coarser() -> None:
    """The sums over neurons of the exact strategy fit 60 bits, whatever the number of neurons."""
    n = 300
    table, out = Enclosed(np.full((3, n), (1 << 26) - 1, dtype=np.int64), 0, 0), np.full((n, 3), 3, dtype=np.int64)
    nothing = Enclosed(np.zeros((3, 3), dtype=np.int64), 0, 0)
    own = Folded(table, table, Enclosed(out, 0, 0), nothing, nothing, STILL, NO_ATTENTION)
    found = quantise(own, 3, Cost())
    assert found.pre_scale == PRE_BITS - 26
    assert found.out_scale < OUT_BITS - 2
    assert 1 << 58 < n * int(found.out.max()) * 2 * ((1 << 26) - 1) < 1 << 60
    assert distances(own, NOT_MOVED, found)[0] <= found.logit_error


# Lemma B


@given(st.integers(0, 1 << 32), st.integers(0, DIRECTION_BITS))
def test_lemma_b_is_exact(seed: int, drop: int) -> None:
    """For every row the rest is the range of V and `over` its distance to the outputs beyond, rounded outward once."""
    rng = random.Random(seed)
    p, q, m, width = 3, rng.choice((3, 5)), 2, rng.choice((1, 2))
    top = rng.choice((1, 1000, 1 << 26))
    rows = [[rng.randrange(-top, top + 1) for _ in range(q)] for _ in range(m)]
    held = [[rng.randrange(-1 << 20, 1 << 20) for _ in range(width)] for _ in range(q)]
    found = directions.split(ints(rows), ints(held), p, drop)
    unit = 1 << DIRECTION_BITS
    for i, row in enumerate(rows):
        omega = found.omega[i].tolist()
        for lane, w in enumerate(omega):
            fit = sum(Fraction(x * held[c][lane]) for c, x in enumerate(row)) / (unit << drop)
            assert abs(w - fit) <= Fraction(1, 2)
        v = [(x << DIRECTION_BITS - drop) - sum(u * w for u, w in zip(held[c], omega, strict=True))
             for c, x in enumerate(row)]  # fmt: skip
        assert found.rest[i] == -((min(v[:p]) - max(v[:p])) // unit)
        assert (found.over is None) == (q == p)
        if found.over is not None:
            assert found.over[i] == (min(v[:p]) - max(v[p:])) // unit


def lanes(seed: int) -> bool:
    """Whether the rest was needed."""
    rng = random.Random(seed)
    p, n = rng.choice((3, 4)), rng.choice((1, 4, 300))
    q = p + rng.choice((0, 2))
    tables = folded(p, n, q, rng, [0] * 5)
    if rng.random() < 0.7:  # skips that leave room for the largest directions
        tables = replace(tables, **{k: replace(getattr(tables, k), exponent=-60) for k in ("s1", "s2")})
    found = quantise(tables, p, Cost())
    top, width = rng.choice((1, 1 << 20, 1 << 24)), rng.choice((1, 3))
    u = ints([[rng.randrange(-top, top + 1) for _ in range(width)] for _ in range(q)])
    if n > 4:  # large sums, and a small rest
        u = rng.choice((1, 2, 3)) * np.eye(q, width, dtype=np.int64) << DIRECTION_BITS
    events = Events(found.pre_a, found.pre_b, ints([1] * n))
    with mock.patch.object(directions, "require_sums", wraps=require_sums) as required:
        truth = directions.exact_sums(found, events, Cost())
        try:
            sums = directions.linear_sums(found, u, events, Cost())
            directions.prepare_lanes(found, u, found.p, ints([5] * n), Cost())
        except Rejected as error:  # the largest directions, and skips far above the neurons
            assert error.reason is Reason.CAPACITY
            return False
    halves = zip(found.pre_a.tolist(), found.pre_b.tolist(), strict=True)
    reach = [max(map(abs, x)) + max(map(abs, y)) for x, y in halves]
    skips = arrays.largest(found.skip_a) + arrays.largest(found.skip_b)
    (seen, weights, more), (own, _, lane_skips), (larger, *_) = (x.args for x in required.call_args_list)
    assert seen.tolist() == own.tolist() == [x - 5 for x in larger.tolist()] == reach
    assert truth.drop == 0
    assert more == skips << SKIP_SHIFT
    assert weights is found.out
    sizes = [arrays.largest(row) for row in directions.split(found.out, u, p, 0).omega]
    total = sum(x * y for x, y in zip(sizes, reach, strict=True))
    assert sums.drop == min(max(0, total.bit_length() - SUM_BITS + 1), DIRECTION_BITS)
    parts = [directions.split(x, u, p, 0).lanes() for x in (found.skip_a, found.skip_b)]
    assert lane_skips == sum(map(arrays.largest, parts)) << SKIP_SHIFT - sums.drop
    lift = DIRECTION_BITS - sums.drop  # of lane units and 2^-20, into those of the truth
    written = (sums.sums.astype(object) @ u.T.astype(object)).tolist()
    assert sums.rest is not None
    needed = False
    for a, b in product(range(p), range(p)):
        far = [(int(x) << lift) - w for x, w in zip(truth.sums[a, b].tolist(), written[a][b], strict=True)]
        span, rest = max(far[:p]) - min(far[:p]), int(sums.rest[a, b]) << DIRECTION_BITS
        assert span <= rest
        needed |= span > 0
        if sums.over is not None:
            assert min(far[:p]) - max(far[p:]) >= int(sums.over[a, b]) << DIRECTION_BITS
    return needed


@given(st.integers(0, 1 << 32))
def test_lanes_times_directions_and_the_rest_hold_the_logits(seed: int) -> None:
    lanes(seed)


def test_without_the_rest_lemma_b_is_false() -> None:
    assert sum(map(lanes, range(20))) > 10


# Lemma I


def integral(dc: float, harmonics: Sequence[complex], mode: int) -> Any:
    """∫ReLU(dc + Σ Re(u_h·e(hx)))·e(mode·x)dx at 30 digits, between the roots of a polynomial."""
    modes = {0: mpmath.mpc(dc)}
    for h, u in enumerate(harmonics, 1):
        modes[h], modes[-h] = mpmath.mpc(u) / 2, mpmath.conj(u) / 2
    top = max((h for h in modes if modes[h] != 0), default=0)
    places = [mpmath.mpf(0), mpmath.mpf(1)]
    if top > 0:
        found = mpmath.polyroots([modes.get(m, 0) for m in range(top, -top - 1, -1)], maxsteps=500, extraprec=400)
        places += [mpmath.arg(z) / (2 * mpmath.pi) % 1 for z in found if z != 0]
    total = mpmath.mpc(0)
    for low, high in pairwise(sorted(places)):
        middle = (low + high) / 2
        if sum(mpmath.re(c * mpmath.expjpi(2 * m * middle)) for m, c in modes.items()) > 0:
            for m, c in modes.items():
                k = 2j * mpmath.pi * (m + mode)
                total += c * ((mpmath.exp(k * high) - mpmath.exp(k * low)) / k if m != -mode else high - low)
    return total


@pytest.mark.parametrize("nodes", [64, 257])
def test_lemma_i_at_high_precision(nodes: int) -> None:
    one = 1 << 24
    with mpmath.workdps(30):
        for seed in range(8):
            rng, p = random.Random(seed), 3
            count = 1 + seed % 3
            profile = [[rng.randrange(-one, one) >> (4 * h) for _ in range(4)] for h in range(count)]
            dc = rng.choice((0, one, -one, rng.randrange(-one, one)))
            if seed == 7:  # a root that is not crossed
                profile, dc, count = [[one, 0, 0, 0]], -one, 1
            family = Family(1, dc, ints(profile), 2, ints([0]), ints([1]), ints([0]))
            for r, found in enumerate(forms.integrate([family], p, nodes, Cost())[0], 1):
                for delta in range(p):
                    turned = [mpmath.expjpi(mpmath.mpf(2 * h * delta) / p) for h in range(1, count + 1)]
                    us = [(complex(z[0], z[1]) * t + complex(z[2], z[3])) / one
                          for z, t in zip(profile, turned, strict=True)]  # fmt: skip
                    true = integral(dc / one, us, 2 * r) * (1 << 30)
                    far = abs(true - complex(int(found.re[delta]), int(found.im[delta])))
                    assert far <= found.error[delta], f"seed {seed}, r {r}, δ {delta}"
                    assert found.error[delta] <= (1 << 30) * 60 * (r + count) ** 2 / nodes**2


@pytest.mark.parametrize("nodes", [64, 200, 1024])
def test_the_rule_of_lemma_i_is_that_of_its_midpoints(nodes: int) -> None:
    one, p, rng = 1 << 24, 7, np.random.default_rng(nodes)
    for outputs in (1, 4):
        profile = rng.integers(-one, one, (outputs + 2, 4))
        family = Family(
            3, int(rng.integers(-one, one)), ints(profile.tolist()), outputs, ints([0]), ints([1]), ints([0])
        )
        delta, h, x = np.arange(p)[:, None, None], np.arange(1, len(profile) + 1)[:, None], np.arange(1, 2 * nodes, 2)
        turned = (profile[:, :2] @ [1, 1j])[:, None] * np.exp(2j * np.pi * 3 * h * delta / p)
        u = (turned + (profile[:, 2:] @ [1, 1j])[:, None]) / one
        values = np.maximum(family.dc / one + (u * np.exp(1j * np.pi * h * x / nodes)).sum(axis=1).real, 0)
        for r, found in enumerate(forms.integrate([family], p, nodes, Cost())[0], 1):
            direct = (values * np.exp(2j * np.pi * r * x / nodes)).mean(axis=1)
            assert np.abs(direct - (found.re + 1j * found.im) / 2.0**30).max() < 2e-6


def test_tables_at_two_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [(tables._powers(500, 499), tables._exponential_tables.__wrapped__(24))]
    monkeypatch.setattr(balls, "PRECISION", 400)
    made.append((tables._powers(500, 499), tables._exponential_tables.__wrapped__(24)))
    for x, y in zip(made[0][0] + tuple(made[0][1]), made[1][0] + tuple(made[1][1]), strict=True):
        assert np.abs(x - y).max() <= 1
    angles = 2 * np.pi * np.arange(500) / 499  # no point is exact: without its error the table is not the circle
    assert np.abs(made[0][0][0] - np.cos(angles) * 2.0**30).max() > 0.4


# Theorem Q


def rule(rng: random.Random, count: int, aligned: bool = True) -> rules.Nodes:
    phases = sorted(rng.randrange(PHASE) for _ in range(count))
    turns = [2 * x / PHASE + (0 if aligned else rng.gauss(0, 0.1)) for x in phases]
    sizes = [rng.randrange(1 << 20, 1 << 24) for _ in range(count)]
    re, im = ([round(s * float(f(2 * mpmath.pi * t))) for s, t in zip(sizes, turns, strict=True)]
              for f in (mpmath.cos, mpmath.sin))  # fmt: skip
    return rules.Nodes(ints(phases), ints([rng.randrange(1, 1 << 30) for _ in range(count)]), ints(re), ints(im), 0)


def error_of(nodes: rules.Nodes, places: Sequence[Any]) -> Any:
    """The largest |L(v) − I(v)| over `places`, normalised to W = 2π, at 30 digits."""
    pairs = zip(nodes.re.tolist(), nodes.im.tolist(), strict=True)
    omega = [a * mpmath.mpc(x, y) for a, (x, y) in zip(nodes.amplitudes.tolist(), pairs, strict=True)]
    phases = [mpmath.mpf(x) / PHASE for x in nodes.phases.tolist()]
    moment = mpmath.fsum(w * mpmath.expjpi(-4 * x) for w, x in zip(omega, phases, strict=True))
    direction, weight = moment / abs(moment), mpmath.fsum(map(abs, omega))
    worst = mpmath.mpf(0)
    for v in places:
        found = mpmath.fsum(w * max(mpmath.cospi(2 * (v + x)), 0) for w, x in zip(omega, phases, strict=True))
        worst = max(worst, abs(found / weight - direction * mpmath.expjpi(-4 * v) / (3 * mpmath.pi)))
    return 2 * mpmath.pi * worst


def bounds(found: rules.Quadrature) -> list[float]:
    return [x / 2.0**rules.BOUND_BITS for x in (found.rectangle, found.harmonic, found.arc_sum, found.bound)]


def everywhere(nodes: rules.Nodes) -> list[Any]:
    kinks = [mpmath.mpf(quarter) / 4 - mpmath.mpf(x) / PHASE for x in nodes.phases.tolist() for quarter in (1, 2, 3, 4)]
    return [*kinks, *(mpmath.mpf(i) / 50 for i in range(50))]


@given(st.integers(0, 1 << 32), st.sampled_from((1, 2, 5, 12)), st.booleans())
def test_theorem_q_at_high_precision(seed: int, count: int, aligned: bool) -> None:
    rng, p = random.Random(seed), 5
    nodes = rule(rng, count, aligned)
    with mpmath.workdps(30):
        found = rules.quadratures({1: nodes}, {1: (rng.randrange(PHASE), rng.randrange(PHASE))}, p, Cost())[1]
        rectangle, harmonic, arc, best = bounds(found)
        anywhere, here = (
            error_of(nodes, x) for x in (everywhere(nodes), [mpmath.mpf(m) / 2 / p for m in range(2 * p)])
        )
        assert rectangle >= anywhere
        assert harmonic >= anywhere
        assert here <= arc <= here + 1e-6
        assert best == min(rectangle, harmonic, arc)
        assert found.relative_bound / 2.0**40 >= best * 3 * float(mpmath.pi) / 4 - 1e-11


def _zeros(*_: Any) -> int:
    return 0


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("_area", _zeros, 0),
        ("_harmonics", lambda *x: [(0, 0) for _ in x[0]], 1),
        ("_harmonics", lambda *x: [(0, z) for _, z in HARMONIC(*x)], 1),
        ("_harmonics", lambda *x: [(y, 0) for y, _ in HARMONIC(*x)], 1),
        ("_rule", lambda *x: replace(RULE(*x), loss=0), 2),
    ],
)
def test_theorem_q_needs_its_terms(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Callable[..., Any], bound: int
) -> None:
    monkeypatch.setattr(rules, name, value)
    rng, false = random.Random(0), 0
    with mpmath.workdps(30):
        for count in (1, 1, 2, 3, 2, 3):
            nodes = rule(rng, count)
            off = nodes
            if name == "_rule":  # every ω may be off by a tenth of its size: the outer one is
                size = int(np.abs(nodes.re).max()) // 10
                nodes, off = replace(nodes, error=size), replace(nodes, re=nodes.re + np.int64(size))
            found = rules.quadratures({1: nodes}, {1: (0, 0)}, 5, Cost())[1]
            places = everywhere(off) if bound < 2 else [mpmath.mpf(m) / 10 for m in range(10)]
            false += bounds(found)[bound] < error_of(off, places)
    assert false > 0


# Theorem F


def binary32(x: Fraction) -> Fraction:
    """Rounded to nearest, ties to even (no subnormal or overflowing numbers here)."""
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length() - 24  # of a unit, or one too small
    unit = Fraction(2) ** (exponent + (abs(x) >= Fraction(2) ** (exponent + 24)))
    return round(x / unit) * unit


def summed(xs: list[Fraction], ys: list[Fraction], how: str) -> Fraction:
    """Σ x·y as binary32 computes it in one of many orders."""
    terms = [binary32(x * y) for x, y in zip(xs, ys, strict=True)]
    if how == "fused":
        total = Fraction(0)
        for x, y in zip(xs, ys, strict=True):
            total = binary32(total + x * y)
        return total
    if how in ("pairwise", "blocked"):
        while len(terms) > 1:
            size = 2 if how == "pairwise" else 8
            terms = [_sum(terms[i : i + size]) for i in range(0, len(terms), size)]
        return terms[0]
    if how != "as they are":
        terms.sort(reverse=how == "descending")
    return _sum(terms)


def _sum(terms: list[Fraction]) -> Fraction:
    total = Fraction(0)
    for term in terms:
        total = binary32(total + term)
    return total


ORDERS = ("as they are", "ascending", "descending", "pairwise", "blocked", "fused")


def executed(rng: random.Random | None, n: int, how: str) -> tuple[Fraction, int]:
    """How far an executed logit of a circuit is from the exact one, at most; and Theorem F's bound, in 2^-60. Without
    `rng`: one large term first and then n − 1 that are half a unit of it, each of which is lost."""
    p = 3
    if rng is None:
        a, b = [[0.5] * p for _ in range(n)], [[0.5] * p for _ in range(n)]
        w = [[1.0] + [2.0**-24] * (n - 1) for _ in range(p)]
    else:
        a, b, w = ([[float(np.float32(rng.gauss(0, 1))) for _ in range(k)] for _ in range(m)]
                   for m, k in ((n, p), (n, p), (p, n)))  # fmt: skip
    tensors = {"A": ([n, p], list(chain(*a))), "B": ([n, p], list(chain(*b))), "W": ([p, n], list(chain(*w)))}
    header = {"format": "verifier-circuit/1", "task": "(a + b) mod p", "p": str(p), "provenance": "{}"}
    model = read_model(tensor_file(tensors, header, "f"))  # type: ignore[arg-type]
    own = fold(model, Cost())
    bound = floating_point.logit_rounding(model, own, quantise(own, p, Cost()), "binary32", Cost())
    worst = Fraction(0)
    for x, y in ((0, 1), (2, 2)):
        hidden = [max(Fraction(a[i][x]) + Fraction(b[i][y]), Fraction(0)) for i in range(n)]
        for c in range(p):
            row = [Fraction(v) for v in w[c]]
            true = sum((h * v for h, v in zip(hidden, row, strict=True)), Fraction(0))
            worst = max(worst, abs(summed([binary32(h) for h in hidden], row, how) - true))
    return worst * (1 << 60), bound


@pytest.mark.parametrize("how", ORDERS)
@pytest.mark.parametrize("n", [1, 7, 60])
def test_theorem_f_in_adverse_orders(how: str, n: int) -> None:
    for seed in range(3):
        away, bound = executed(random.Random(seed), n, how)
        assert away <= bound
    away, bound = executed(None, n, how)
    assert away <= bound


@pytest.mark.parametrize("off", ["product_error", "sum_error"])
def test_theorem_f_needs_its_terms(monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    away, bound = executed(None, 60, "as they are")
    assert away > bound / 8, "the sum's part of the bound is nearly reached"
    monkeypatch.setattr(floating_point.Arithmetic, "product_error", lambda *_: Fraction(0))
    if off == "sum_error":
        arithmetic = floating_point.Arithmetic(Fraction(0), Fraction(0), Fraction(0))
        monkeypatch.setitem(floating_point.ARITHMETIC, "binary32", arithmetic)
        away, bound = executed(random.Random(0), 7, "as they are")
    else:
        away, bound = executed(None, 60, "as they are")
    assert away > bound


@pytest.mark.parametrize("p", [3, 8, 11])
@pytest.mark.parametrize("bits", [8, 20, 36, 45])
def test_what_a_deformation_adds(p: int, bits: int) -> None:
    """G anywhere within its error, the ends included; the waves are what the certificate says, exactly."""
    rng = np.random.default_rng([p, bits])
    used = (1, 2) if p > 4 else (1,)
    parts = rng.integers(-(1 << bits), 1 << bits, (len(used), 2, p))
    errors = rng.integers(0, 1 << bits // 2, (len(used), p))
    terms = {j: Points(re, im, error) for j, (re, im), error in zip(used, parts, errors, strict=True)}
    size = int(rng.choice([10, 20, 24]))
    waves = {j: rng.integers(-(1 << size), (1 << size) + 1, (2, p)) for j in used}
    exponent = bits - 20
    deformation = Deformation(exponent, rng.integers(-(1 << 20), 1 << 20, p), waves)
    added = ClosedForm(p, 0, terms, deformation).added()
    assert added is not None
    t, delta = np.arange(p), rng.permutation(p)
    found, turns = added.at(t, delta), 2 * np.pi * np.arange(p)[:, None] / p
    for far in (0, 1):
        meant = np.ldexp(deformation.constant.astype(float), exponent) + np.zeros((p, p, 1))
        for j, (re, im), error in zip(used, parts, errors, strict=True):
            g = (re + 1j * im + far * error * np.exp(2j * np.pi * rng.random(p)))[delta]
            z, (x, y) = g * np.exp(-1j * j * turns), waves[j] / 2**20
            meant = meant + (z[:, :, None] * (x + 1j * y)).real
        assert (np.abs(found - meant) <= added.errors[delta][:, None]).all()


def test_a_constant_alone_is_rounded_down_by_less_than_a_unit() -> None:
    added = ClosedForm(3, 0, {}, Deformation(-1, ints([-3, 0, 3]), {})).added()
    assert added is not None
    assert added.at(ints([0, 2]), ints([1])).tolist() == [[[-2, 0, 1]]] * 2
    assert added.errors.min() >= 1


def _added(constant: int, error: int) -> Any:
    """A wave of 1 beside the cosine."""
    terms = {1: Points(zeros(3), zeros(3), zeros(3) + error)}
    return ClosedForm(3, 0, terms, Deformation(0, zeros(3) + constant, {1: ints([[1 << 20] * 3, [0] * 3])})).added()


# Capacities: at the limit a stage passes, one beyond it refuses.


@pytest.mark.parametrize(
    ("stage", "limit"),
    [
        # Differences of logits, too, must stay within int64.
        (lambda x: prepare(LaneSums(None, zeros(3, 3, 3) + x, None, None, 0), 0), (1 << 59) - 1),
        (lambda x: prepare(LaneSums(ints([[1]] * 3), zeros(3, 3, 1), zeros(3, 3) + x, None, 0), 0), (1 << 39) - 1),
        (
            lambda x: prepare(LaneSums(ints([[1]] * 3), zeros(3, 3, 1), zeros(3, 3), zeros(3, 3) + x, 0), 0),
            (1 << 39) - 1,
        ),
        (lambda x: _coefficients(ClosedForm(3, 0, {1: Points(zeros(3) + x, zeros(3), zeros(3))}), 0), (1 << 60) - 1),
        # With a constant its errors, 5 units; an error of G with 3 units more, times 2^10.
        (lambda x: _added(x, 0), (1 << 59) - 6),
        (lambda x: _added(0, x), (1 << 52) - 4),
        (lambda x: arrays.rounded(ints([x]), 4), (1 << 62) - 9),
        (lambda x: Enclosed(ints([[1]]), 0, 0).times([Fraction(x)]), (1 << 21) - 1),
        (lambda x: directions.split(ints([[x, 0, 0]]), ints([[0]] * 3), 3, 0), (1 << 42) - 1),
        (lambda x: directions.split(ints([[x, 0, 0]]), ints([[0]] * 3), 3, DIRECTION_BITS), (1 << 62) - 1),
    ],
)
def test_capacities(stage: Callable[[int], Any], limit: int) -> None:
    stage(limit)
    stage(-limit)
    for beyond in (limit + 1, -limit - 1):
        with pytest.raises(Rejected) as refused:
            stage(beyond)
        assert refused.value.reason is Reason.CAPACITY


def test_what_the_directions_write_counts_in_the_capacity_of_a_rest() -> None:
    rows = ints([[(1 << 42) - 1, 0, 0]])
    directions.split(rows, ints([[0]] * 3), 3, 0)
    with pytest.raises(Rejected):
        directions.split(rows, ints([[1 << 16], [0], [0]]), 3, 0)


def test_a_gap_error_beyond_forty_bits_is_not_given() -> None:
    one = np.ones((3, 3), dtype=np.int64)
    small = Logits(one, one, one, one, one, None, {}, {}, 0, 0, 0)
    assert _explained(small, _Loss(0, 0, 0, 0)).gap_error == (1 << GAP_BITS) + 1
    assert _explained(replace(small, spread=one << 50), _Loss(0, 0, 0, 0)).gap_error is None


@given(st.lists(st.integers(-3, 12), min_size=36, max_size=36), st.sampled_from((0, 0, 1, 37, 46)))
def test_theorem_x_is_what_it_says(drawn: list[int], bits: int) -> None:
    """Every input of an offset is looked at; and the gap error is above the exact quotient by two units at most."""
    deviations, beyond, gaps, spread = (ints(drawn[9 * i : 9 * i + 9]).reshape(3, 3) for i in range(4))
    loss = _Loss(1, 2, 1, 3)
    base = Logits(beyond, beyond + 4, abs(deviations), abs(spread), 2 * gaps + 10, None, {}, {}, 0, 0, 0)
    found = _explained(base, loss)
    offsets = [[((b + d) % 3, b) for b in range(3)] for d in range(3)]
    errors = [max(int(base.deviations[at]) for at in own) + 2 for own in offsets]
    least = [min(map(int, base.gaps[d, 1:])) for d in range(3)]
    clear = [min(int(base.beyond[at]) for at in own) > 5 for own in offsets]
    assert found.by_offset == tuple(g > 2 * e and c for g, e, c in zip(least, errors, clear, strict=True))
    assert (found.inputs, found.error, found.least_gap) == (3 * sum(found.by_offset), max(errors), min(least))
    bound = found.bound(9, -7)
    assert (bound.deformation, found.bound(None, -7).deformation) == (Dyadic(9, -7), None)
    assert (bound.least_gap, bound.error) == (Dyadic(min(least), -7), Dyadic(max(errors), -7))
    assert bound.explains_all == (min(least) > 2 * max(errors) and all(clear))
    large = replace(base, spread=base.spread << bits, gaps=(base.gaps << bits) + bits)
    ratio = _explained(large, replace(loss, difference=2 << bits)).gap_error
    assert (ratio is None) == (int(large.gaps[:, 1:].min()) <= 0)
    if ratio is not None:
        quotients = zip(large.spread[:, 1:].ravel().tolist(), large.gaps[:, 1:].ravel().tolist(), strict=True)
        true = max(Fraction(s + (2 << bits), g) for s, g in quotients) * (1 << GAP_BITS)
        assert true <= ratio <= true + 2


@pytest.mark.parametrize(("gap", "clear", "says"), [(10, True, False), (11, True, True), (11, False, False)])
def test_the_one_sentence_needs_more_than_twice_the_error(gap: int, clear: bool, says: bool) -> None:
    found = _Explained((True, clear), 2 + 2 * clear, 5, gap, None)
    assert found.bound(None, 0).explains_all == says


def test_the_gap_error_needs_gaps_that_are_positive() -> None:
    one = np.ones((3, 3), dtype=np.int64)
    small = Logits(one, one, one, one, one, None, {}, {}, 0, 0, 0)
    for gap, there in ((-1, False), (0, False), (1, True)):
        gaps = ints([[9, 5, 5], [9, 5, gap], [9, 5, 5]])
        assert (_explained(replace(small, gaps=gaps), _Loss(0, 0, 0, 0)).gap_error is not None) == there


@given(st.integers(0, 1 << 45), st.integers(1, 1 << 70), st.integers(-60, 45))
def test_the_budget_of_theorem_l(bound: int, weight: int, unit: int) -> None:
    one = np.arange(9, dtype=np.int64).reshape(3, 3)
    rule = rules.Quadrature(1, 1, 0, 0, 0, bound, 0, weight, (one[0], one[0]), 0)
    found = _logit_bound(Logits(one, one, one, one, one, None, {}, {1: 9}, 5, 6, 0), {1: rule}, unit, 20, 7, -3)
    true = Fraction(bound * weight, 1 << rules.BOUND_BITS) * Fraction(2) ** unit / Fraction(314159265, 100000000)
    term = found.budget["quadrature"][1]  # type: ignore[index]
    room = 2 * max(Fraction(1), Fraction(2) ** (unit - rules.BOUND_BITS))
    assert true <= term.mantissa <= true * Fraction(1001, 1000) + room
    assert found.max_error == Dyadic(28, -3)
    assert {**found.budget, "quadrature": term.exponent} == {
        "quadrature": -3,
        "profile": {1: Dyadic(9, -3)},
        "other_frequencies": Dyadic(5, -3),
        "output_rest": Dyadic(6, -3),
        "fixed_point": Dyadic(14, -3),
        "attention": Dyadic(7, -3),
    }
