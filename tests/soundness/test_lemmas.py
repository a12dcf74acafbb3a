"""Each lemma of docs/theory.md by itself, against exact or 60-digit evaluation, hostile inputs included.

These tests are sharper than the theorems': a single unit that a bound leaves out is seen here.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from math import lcm
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import closed_form, concluded, kernel, nodes, truth
from tests.strategies import ONE, PHASE, random_case, tensor_file
from verifier.kernel import Reason, Rejected, arcs, circuit, limits, outputs, quadrature
from verifier.kernel.certificate import Boxes, Family, Harmonic, Member
from verifier.kernel.circuit import Circuit
from verifier.kernel.cost import Cost
from verifier.kernel.floating_point import UNIT_BITS, logit_rounding
from verifier.kernel.model_file import read_model
from verifier.kernel.quadrature import Node

SEEDS = st.integers(0, 1 << 32)
TURN = 2 * mpmath.pi


def _exact(value: Fraction) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator


# Lemma K


def _random_transformer(rng: random.Random, *, intervals: bool) -> dict[str, Any]:
    """A tiny transformer with binary32 weights, as plain arrays, and its layout."""
    p, d, heads, width, n = rng.choice((3, 4, 5)), rng.choice((1, 2, 3)), rng.choice((1, 2)), rng.choice((1, 2)), 3
    layout = rng.choice(("a b", "b a", "a b =7", "=0 a b+8", "a a b"))
    weights = []
    for _ in layout.split(" "):
        low = Fraction(rng.randint(-6, 12), rng.choice((1, 2, 3, 7, 8)))
        weights.append((low, low + (Fraction(rng.randint(0, 5), 16) if intervals else 0)))
    q = p + rng.choice((0, 2))
    shapes = {
        "embed.W_E": (14, d),
        "pos_embed.W_pos": (len(weights), d),
        "blocks.0.attn.W_V": (heads, d, width),
        "blocks.0.attn.W_O": (heads, width, d),
        "blocks.0.attn.b_V": (heads, width),
        "blocks.0.attn.b_O": (d,),
        "blocks.0.mlp.W_in": (d, n),
        "blocks.0.mlp.b_in": (n,),
        "blocks.0.mlp.W_out": (n, d),
        "blocks.0.mlp.b_out": (d,),
        "unembed.W_U": (d, q),
        "unembed.b_U": (q,),
    }
    scale = 2.0 ** rng.choice((0, 0, -20, 12))
    tensors = {
        name: np.array([scale * rng.choice((0.0, rng.gauss(0, 1), rng.gauss(0, 1))) for _ in range(math.prod(shape))])
        .astype(np.float32)
        .reshape(shape)
        for name, shape in shapes.items()
    }
    text = " ".join(str(low) if low == high else f"{low}:{high}" for low, high in weights)
    metadata = {
        "format": "verifier-model/1",
        "task": "(a + b) mod p",
        "p": str(p),
        "layout": layout,
        "attention": text,
        "provenance": "{}",
    }
    file = tensor_file({name: (x.shape, x.ravel().tolist()) for name, x in tensors.items()}, metadata, "f")
    return {"p": p, "layout": layout, "weights": weights, "tensors": tensors, "file": file}


def _fraction_array(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.vectorize(Fraction, otypes=[object])(x.astype(np.float64))
    return result


def _token(item: str, a: int, b: int) -> int:
    if item[0] == "=":
        return int(item[1:])
    return (a if item[0] == "a" else b) + int(item[2:] or 0)


def _run_exactly(network: dict, a: int, b: int, pattern: list[list[Fraction]]) -> list[Fraction]:
    """The network as written, step by step, in rationals; pattern[t][h] is the weight of position t in head h."""
    t = {name: _fraction_array(x) for name, x in network["tensors"].items()}
    items = network["layout"].split(" ")
    stream = [t["embed.W_E"][_token(item, a, b)] + t["pos_embed.W_pos"][i] for i, item in enumerate(items)]
    heads = t["blocks.0.attn.W_V"].shape[0]
    residual = stream[-1] + t["blocks.0.attn.b_O"]
    for h in range(heads):
        mixed = sum(
            pattern[i][h] * (x @ t["blocks.0.attn.W_V"][h] + t["blocks.0.attn.b_V"][h]) for i, x in enumerate(stream)
        )
        residual = residual + mixed @ t["blocks.0.attn.W_O"][h]
    hidden = residual @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"]
    hidden = np.array([max(x, Fraction(0)) for x in hidden], dtype=object)
    residual = residual + hidden @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"]
    return list(residual @ t["unembed.W_U"] + t["unembed.b_U"])


def _fixed_logits(c: Circuit, a: int, b: int) -> list[Fraction]:
    unit = Fraction(2) ** -(c.pre_scale + c.out_scale)
    result = [x + y for x, y in zip(c.skip_a[a], c.skip_b[b], strict=True)]
    for x, y, row in zip(c.pre_a, c.pre_b, c.out, strict=True):
        h = max(0, x[a] + y[b])
        result = [r + h * w for r, w in zip(result, row, strict=True)]
    return [r * unit for r in result]


@pytest.mark.parametrize("intervals", [False, True])
def test_lemma_k_transformer(intervals: bool) -> None:
    """Fold and quantise against the network run step by step in rationals, for patterns at the intervals' ends."""
    rng = random.Random(11 + intervals)
    worst = Fraction(0)
    for _ in range(14):
        network = _random_transformer(rng, intervals=intervals)
        model = read_model(network["file"])
        fixed = circuit.quantise(circuit.fold(model), model.p, Cost())
        unit = Fraction(2) ** -(fixed.pre_scale + fixed.out_scale)
        heads = network["tensors"]["blocks.0.attn.W_V"].shape[0]
        for a, b in product(range(model.p), repeat=2):
            pattern = [[rng.choice(ends) for _ in range(heads)] for ends in network["weights"]]
            exact, near = _run_exactly(network, a, b, pattern), _fixed_logits(fixed, a, b)
            gaps = [x - y for x, y in zip(exact, near, strict=True)]
            assert max(map(abs, gaps)) <= fixed.logit_error * unit
            assert max(gaps) - min(gaps) <= fixed.difference_error * unit
            worst = max(worst, (max(gaps) - min(gaps)) / (fixed.difference_error * unit))
    assert worst > Fraction(1, 50)


@given(SEEDS)
def test_lemma_k_units_and_ranges(seed: int) -> None:
    case = random_case(random.Random(seed))
    try:
        model = read_model(case.model)
    except Rejected:
        return
    c = circuit.quantise(circuit.fold(model), case.p, Cost())
    pre, out = Fraction(2) ** -c.pre_scale, Fraction(2) ** -c.out_scale
    top = 1 << limits.PRE_BITS
    for rows, table, unit in ((c.pre_a, case.A, pre), (c.pre_b, case.B, pre), (c.out, case.W, out)):
        for row, values in zip(rows, table, strict=True):
            for x, y in zip(row, values, strict=True):
                assert 0 <= Fraction(y) - x * unit < unit
                assert -top <= x < top
    for rows, table in ((c.skip_a, case.S1), (c.skip_b, case.S2)):
        for row, values in zip(rows, table, strict=True):
            for x, y in zip(row, values, strict=True):
                assert 0 <= Fraction(y) - x * pre * out < pre * out
    exact = truth(case)
    for a, b in product(range(case.p), repeat=2):
        gaps = [
            Fraction(x, 1 << exact.bits) - y for x, y in zip(exact.logits[a][b], _fixed_logits(c, a, b), strict=True)
        ]
        assert max(map(abs, gaps)) <= c.logit_error * pre * out
        assert max(gaps) - min(gaps) <= c.difference_error * pre * out
    assert c.parameters == c.neurons * (2 * c.p + c.outputs) + 2 * c.p * c.outputs


def _hand_made(a: list[int], b: list[int], w: list[int], slack: int = 0) -> Circuit:
    folded = circuit.Folded(
        circuit.Table(a, -40),
        circuit.Table(b, -40),
        circuit.Table(w, -40),
        circuit.Table([(1 << 30) - 1] * (len(a) * len(w)), -80),
        circuit.Table([(1 << 30) - 1] * (len(a) * len(w)), -80),
        1,
        [Fraction(slack, 1 << 40)],
        Fraction(slack, 1 << 60),
        [],
        [],
    )
    return circuit.quantise(folded, len(a), Cost())


@given(SEEDS)
def test_lemma_k_every_term_is_needed(seed: int) -> None:
    """κ against the sum it stands for: each rounding is nearly a whole unit in the worst entries."""
    rng = random.Random(seed)
    nearly = (1 << 14) - 1  # the bits a fixed-point entry loses, all set
    pick = lambda: (rng.randint(-(1 << 25), (1 << 25) - 1) << 14) + nearly  # noqa: E731
    a, b, w = ([pick() for _ in range(3)] for _ in range(3))
    a[0] = b[0] = (1 << 39) + nearly  # the largest entry fixes the scales
    w[0] = (1 << 39) + nearly
    slack = rng.choice((0, 1 << 20))
    c = _hand_made(a, b, w, slack)
    unit = Fraction(2) ** -(c.pre_scale + c.out_scale)
    worst = Fraction(0)
    for x, y in product(range(3), repeat=2):
        for moved in (-slack, slack):
            h = max(0, a[x] + b[y] + moved) * Fraction(1, 1 << 40)
            skip = 2 * Fraction((1 << 30) - 1, 1 << 80)
            exact = [h * Fraction(v, 1 << 40) + skip + Fraction(slack, 1 << 60) for v in w]
            gaps = [p - q for p, q in zip(exact, _fixed_logits(c, x, y), strict=True)]
            worst = max(worst, *map(abs, gaps))
            assert max(map(abs, gaps)) <= c.logit_error * unit
            assert max(gaps) - min(gaps) <= c.difference_error * unit
    high, low, slack_units = max(c.out[0]), min(c.out[0]), c.pre_slack[0]
    activation = max(0, max(c.pre_a[0]) + max(c.pre_b[0]))
    skips = -(-slack * Fraction(2) ** (c.pre_scale + c.out_scale - 60) // 1) + 2
    assert c.logit_error == (max(abs(high), abs(low)) + 1) * (2 + slack_units) + activation + skips
    assert c.difference_error == (high - low + 2) * (2 + slack_units) + 2 * activation + 2 * skips


# Lemma O


@given(SEEDS)
def test_lemma_o(seed: int) -> None:
    """W[c] = m + Σ Re(ω e(jc/p)) + V[c], the range of V within `rest`, outputs beyond p within `over`."""
    rng = random.Random(seed)
    p, beyond = rng.choice((3, 4, 5, 9, 13)), rng.choice((0, 1, 3))
    half = (p - 1) // 2
    frequencies = tuple(sorted(rng.sample(range(1, half + 1), rng.randint(1, half))))
    drop = rng.choice((8, 9, 12))
    splitter = outputs.Splitter(p, frequencies, drop)
    top = rng.choice((3, 1 << 12, (1 << 26) - 1))
    wave = [round(top * math.cos(2 * math.pi * frequencies[0] * c / p)) for c in range(p)]
    rows = [[rng.randint(-top, top) for _ in range(p + beyond)], wave + [top] * beyond, [0] * (p + beyond)]
    with mpmath.workdps(60):
        for row, split in zip(rows, splitter.split(rows, Cost(), "test"), strict=True):
            V = []
            for c in range(p):
                waves = sum(
                    re * mpmath.cos(TURN * j * c / p) - im * mpmath.sin(TURN * j * c / p)
                    for (re, im), j in zip(split.omega, frequencies, strict=True)
                )
                V.append(mpmath.mpf(row[c]) / 2**drop - waves)
            assert max(V) - min(V) <= split.rest
            assert split.rest - (max(V) - min(V)) < 2
            for (re, im), size in zip(split.omega, split.size, strict=True):
                assert re * re + im * im <= size * size
                assert (size - 1) ** 2 <= re * re + im * im
            if beyond:
                least = min(V) - mpmath.mpf(max(row[p:])) / 2**drop
                assert split.over <= least < split.over + 2
            else:
                assert split.over == 0


def test_lemma_o_fit_is_the_least_squares_one() -> None:
    """A pure wave has (nearly) no rest: a fit that is merely sound would be useless."""
    p, j, top = 13, 3, (1 << 26) - 1
    row = [round(top * math.cos(2 * math.pi * (j * c / p + 0.1))) for c in range(p)]
    split = outputs.Splitter(p, (2, j), 8).split([row], Cost(), "test")[0]
    assert split.rest <= 4
    assert abs(complex(*split.omega[1]) - top / 256 * complex(math.cos(0.2 * math.pi), math.sin(0.2 * math.pi))) < 2


# Lemmas R, C, S, I


def _family(rng: random.Random, p: int) -> Family:
    size = rng.choice((1 << 6, ONE, 8 * ONE))
    part = lambda: rng.choice((0, size, -size, rng.randint(-size, size)))  # noqa: E731
    harmonics = tuple(Harmonic(part(), part(), part(), part()) for _ in range(rng.choice((1, 1, 2, 4))))
    dc = rng.choice((0, part()))
    if rng.random() < 0.2:  # a double root: T touches zero
        harmonics, dc = (Harmonic(ONE, 0, 0, 0),), rng.choice((ONE, -ONE))
    shells = tuple(sorted(rng.sample(range(4 * ONE), rng.choice((0, 1, 3)))))
    member = Member(0, rng.choice((1, 1 << 16, (1 << 32) - 1)), rng.randrange(PHASE))
    return Family(rng.randint(1, (p - 1) // 2), dc, harmonics, shells, (member,))


def _coefficient(family: Family, h: int, p: int, delta: int) -> mpmath.mpc:
    z = family.profile[h - 1]
    turned = mpmath.mpc(z.a_re, z.a_im) * mpmath.expjpi(mpmath.mpf(2 * h * family.frequency * delta) / p)
    return (turned + mpmath.mpc(z.b_re, z.b_im)) / ONE


def _profile(family: Family, p: int, delta: int, x: mpmath.mpf) -> mpmath.mpf:
    """T_δ(x), x in turns."""
    result = mpmath.mpf(family.dc) / ONE
    for h in range(1, len(family.profile) + 1):
        result += (_coefficient(family, h, p, delta) * mpmath.expjpi(2 * h * x)).real
    return result


@given(SEEDS)
def test_lemma_r(seed: int) -> None:
    """A[a] + B[b] = α·T_δ(x(b)) + r(a) + r′(b) within twice the stated error, for every input; and depth, reach."""
    rng = random.Random(seed)
    p = rng.choice((3, 4, 5, 9))
    family = _family(rng, p)
    member = family.members[0]
    bits = (member.amplitude - 1).bit_length()
    shift = rng.choice((20, 24, 10)) - bits
    top = (1 << 26) - 1
    row_a, row_b = ([rng.choice((top, -top, 0, rng.randint(-top, top))) for _ in range(p)] for _ in range(2))
    tables = arcs.waves(p, family.frequency, len(family.profile))
    r = arcs.residual(row_a, row_b, family, member, tables, shift)
    with mpmath.workdps(60):
        alpha = mpmath.mpf(member.amplitude) * mpmath.mpf(2) ** shift
        parts: list[list[mpmath.mpf]] = [[], []]
        for which, row in enumerate((row_a, row_b)):
            for x in range(p):
                wave = mpmath.mpf(family.dc) / ONE if which else mpmath.mpf(0)
                for h, z in enumerate(family.profile, 1):
                    u = mpmath.mpc(z.b_re, z.b_im) if which else mpmath.mpc(z.a_re, z.a_im)
                    angle = mpmath.mpf(h) * member.phase / PHASE + mpmath.mpf(h * family.frequency * x) / p
                    wave += (u / ONE * mpmath.expjpi(2 * angle)).real
                parts[which].append(row[x] - alpha * wave)
        # r holds the a-part plus a constant m, r′ the b-part minus it, each within the error, for one and the same m.
        m = [x - y for x, y in zip(r.a, parts[0], strict=True)] + [y - x for x, y in zip(r.b, parts[1], strict=True)]
        assert max(m) - min(m) <= 2 * r.error
        for a, b in product(range(p), repeat=2):
            x = mpmath.mpf(family.frequency * b) / p + mpmath.mpf(member.phase) / PHASE
            rest = row_a[a] + row_b[b] - alpha * _profile(family, p, (a - b) % p, x)
            assert abs(rest - r.a[a] - r.b[b]) <= 2 * r.error
        most = max(map(abs, [*r.a, *r.b])) + r.error
        reach = r.reach()
        assert alpha * reach / ONE / 2 >= most
        assert alpha * (reach - 1) / ONE / 2 < most
        for t in (*family.shells, -3, -(1 << 20), 1):
            depth = alpha * t / ONE / 2
            assert depth - 1 <= r.half_depth(t) <= depth


def test_lemma_r_error_is_not_wasteful_and_grows_with_every_term() -> None:
    member = Member(0, 1 << 31, 12345)
    errors = []
    for harmonics in (1, 2, 8):
        family = Family(1, 0, (Harmonic(ONE, ONE, ONE, ONE),) * harmonics, (), (member,))
        tables = arcs.waves(5, 1, harmonics)
        errors.append(arcs.residual([0] * 5, [0] * 5, family, member, tables, -8).error)
    assert errors[0] < errors[1] < errors[2] < 200


@given(SEEDS)
def test_lemma_s(seed: int) -> None:
    """For any y = αT + r + r′ with the residuals within their error: ReLU(y) lies in [base, base + U + U′]."""
    rng = random.Random(seed)
    top = rng.choice((3, 1000, 1 << 26))
    a, b = ([rng.randint(-top, top) for _ in range(3)] for _ in range(2))
    shift = rng.choice((-30, -8, 0, 26))
    r = arcs.Residual(a, b, rng.choice((2, 3, 40)), rng.randint(1, 1 << 32 if shift < -8 else 50), shift)
    alpha = Fraction(r.amplitude) * Fraction(2) ** shift
    for t in (0, rng.randrange(1 << 26), -rng.randrange(1 << 26), r.reach()):
        depth = Fraction(t, ONE)
        for positive in (True, False):
            over_a, over_b = r.excess(t, positive)
            assert min(*over_a, *over_b) >= 0
            for (x, u), (y, v) in product(zip(a, over_a, strict=True), zip(b, over_b, strict=True)):
                for ends in product((-r.error, r.error), repeat=2):
                    rest = x + y + sum(ends)
                    for deeper in (0, 1, 5):
                        profile = depth + deeper if positive else -depth - deeper
                        total = alpha * profile + rest
                        base = total if positive else Fraction(0)
                        relu = max(total, Fraction(0))
                        assert base <= relu <= base + u + v
            if t == r.reach():
                assert max(*over_a, *over_b) == 0


def _cells_above(found: arcs.Arcs, level: int, delta: int, size: int) -> set[int]:
    return {(first + i) % size for first, length in found.arcs[level][delta] for i in range(length)}


@given(SEEDS)
def test_lemma_c_and_i(seed: int) -> None:
    """Every cell of every level has the depth it is said to have, at both ends, the middle and anywhere; and the
    integral of the profile is within its error of the exact one.
    """
    rng = random.Random(seed)
    p, cells = rng.choice((3, 4, 5)), rng.choice((1, 2, 7))
    size = p * cells
    family = _family(rng, p)
    reach = rng.randint(1, 4 * ONE)
    try:
        found = arcs.profile_arcs(family, p, cells, reach)
    except Rejected as error:
        assert error.reason is Reason.CAPACITY
        assert sum(abs(z.a_re) + abs(z.b_re) for z in family.profile) > 4 * ONE
        return
    depths = [*found.thresholds, reach]
    assert found.thresholds[0] <= 0
    assert list(found.thresholds[1:]) == [t for t in family.shells if 0 < t < reach]
    # From below: T <= −reach, …, T <= −t_0, then T >= t_0, …, T >= reach.
    conditions = [(-t, False) for t in reversed(depths)] + [(t, True) for t in depths]
    with mpmath.workdps(40):
        for delta in range(p):
            levels = [_cells_above(found, level, delta, size) for level in range(len(found.arcs))]
            for above, below in zip(levels[1:], levels, strict=False):
                assert above <= below
            for cell in range(size):
                bound, positive = conditions[sum(cell in above for above in levels)]
                for x in (0, Fraction(1, 2), 1, Fraction(rng.randrange(100), 100)):
                    T = _profile(family, p, delta, _exact(Fraction(cell + x) / size)) * ONE
                    assert bound <= T if positive else bound >= T
            integral = found.integrals[delta]
            exact = _relu_integral(family, p, delta)
            near = mpmath.mpc(integral.re, integral.im) / 2**54
            assert abs(near - exact) * 2**54 <= integral.error


def _relu_integral(family: Family, p: int, delta: int) -> mpmath.mpc:
    """∫ReLU(T)·e(2x)dx to 30 digits: the roots by polynomial roots, then antiderivatives."""
    modes = {0: mpmath.mpc(family.dc) / ONE}
    for h in range(1, len(family.profile) + 1):
        u = _coefficient(family, h, p, delta)
        modes[h], modes[-h] = u / 2, mpmath.conj(u) / 2
    top = max((h for h, c in modes.items() if abs(c) > mpmath.mpf(10) ** -30), default=0)
    places = [mpmath.mpf(0), mpmath.mpf(1)]
    if top > 0:
        # Roots to double precision are enough: moving an end by ε past a root costs O(ε²).
        roots = np.roots([complex(modes[m]) for m in range(top, -top - 1, -1)])
        places += [mpmath.mpf(float(np.angle(z)) / (2 * math.pi) % 1) for z in roots if z != 0]
    places.sort()
    result = mpmath.mpc(0)
    for low, high in pairwise(places):
        if _profile(family, p, delta, (low + high) / 2) <= 0:
            continue
        for m, c in modes.items():
            k = 2j * mpmath.pi * (m + 2)
            result += c * ((mpmath.exp(k * high) - mpmath.exp(k * low)) / k if m != -2 else high - low)
    return result


def test_lemma_i_with_many_cells_is_sharp() -> None:
    """For a pure cosine the integral is 1/3π; with many cells the error is small and the value near."""
    family = Family(1, 0, (Harmonic(ONE, 0, 0, 0),), (), (Member(0, 1, 0),))
    found = arcs.profile_arcs(family, 5, 400, ONE)
    assert abs(found.integrals[0].re / 2**54 - 1 / (3 * math.pi)) < 1e-5
    assert found.integrals[0].error / 2**54 < 1e-4


def test_lemma_i_needs_its_curvature_term() -> None:
    """A profile without roots on three cells: the midpoint rule sees mode 3 of T·e(2x) as a constant."""
    family = Family(1, 2 * ONE, (Harmonic(ONE, 0, 0, 0),), (), (Member(0, 1, 0),))
    found = arcs.profile_arcs(family, 3, 1, 16 * ONE)
    with mpmath.workdps(40):
        for delta in range(3):
            near = mpmath.mpc(found.integrals[delta].re, found.integrals[delta].im) / 2**54
            gap = abs(near - _relu_integral(family, 3, delta))
            assert 0.4 < gap <= mpmath.mpf(found.integrals[delta].error) / 2**54


@given(st.integers(-(1 << 60), 1 << 60), st.integers(-(1 << 60), 1 << 60))
def test_modulus_bound(re: int, im: int) -> None:
    bound = arcs.abs_bound(re, im)
    assert re * re + im * im <= bound * bound
    assert bound <= 1.09 * math.hypot(re, im) + 1


def _added(rng: random.Random, positive: bool) -> tuple[list[int], list[int], arcs.Sums, outputs.Split]:
    p, top = 3, rng.choice((2, 1000, 1 << 26))
    a, b = ([rng.randint(-top, top) for _ in range(p)] for _ in range(2))
    rows = [[rng.randint(-(1 << 26), 1 << 26) for _ in range(p + 1)]]
    split = outputs.Splitter(p, (1,), 8).split(rows, Cost(), "test")[0]
    sums = arcs.Sums(p, 5)
    arcs.add_fixed(sums, a, b, arcs.weights(split, True), positive)
    return a, b, sums, split


@given(SEEDS, st.booleans())
def test_on_and_off_neurons(seed: int, positive: bool) -> None:
    """The lanes enclose ω·ReLU(y), bound rest·ReLU(y) above and over·ReLU(y) below, at every input."""
    a, b, sums, split = _added(random.Random(seed), positive)
    _require_enclosed(sums, [(a, b, split)], 3)


def _require_enclosed(sums: arcs.Sums, neurons: list, p: int) -> None:
    for delta in range(p):
        columns = sums.at_offset(delta)
        for index in range(p):
            lanes = [column[index] for column in columns]
            i, j = (index + delta) % p, index
            h = [max(0, a[i] + b[j]) for a, b, _ in neurons]
            re, im = (sum(split.omega[0][k] * x for x, (_, _, split) in zip(h, neurons, strict=True)) for k in (0, 1))
            assert (lanes[0] - 2 * re) ** 2 + (lanes[1] - 2 * im) ** 2 <= lanes[2] ** 2
            assert lanes[3] >= sum(split.rest * x for x, (_, _, split) in zip(h, neurons, strict=True))
            assert lanes[4] <= sum(split.over * x for x, (_, _, split) in zip(h, neurons, strict=True))
            assert max(map(abs, lanes)) <= sums.bound


@given(SEEDS)
def test_sums_enclose_every_neuron(seed: int) -> None:
    """Lemmas R, C, S and the prefix sums together: the lanes of every input against the exact sums over neurons."""
    case = random_case(random.Random(seed))
    found = concluded(case)
    if found is None:
        return
    kept = found[1]
    c, arc, certificate = kept["quantise"], kept["sum_arcs"], kept["read_certificate"]
    count = len(certificate.output_frequencies)
    skips = [s for table in (c.skip_a, c.skip_b) for row in table for s in row]
    if any(skips):
        return
    for delta in range(c.p):
        columns = arc.sums.at_offset(delta)
        for b in range(c.p):
            a = (b + delta) % c.p
            h = [max(0, x[a] + y[b]) for x, y in zip(c.pre_a, c.pre_b, strict=True)]
            lanes = [column[b] for column in columns]
            for j in range(count):
                re, im = (2 * sum(s.omega[j][k] * y for s, y in zip(arc.splits, h, strict=True)) for k in (0, 1))
                assert (lanes[2 * j] - re) ** 2 + (lanes[2 * j + 1] - im) ** 2 <= (lanes[2 * count + j] + 8) ** 2
            # The skips are zero: they add the rounding of their splits only.
            assert lanes[3 * count] >= sum(s.rest * y for s, y in zip(arc.splits, h, strict=True))
            if len(lanes) > 3 * count + 1:
                assert lanes[3 * count + 1] <= sum(s.over * y for s, y in zip(arc.splits, h, strict=True))
            assert max(map(abs, lanes)) <= arc.sums.bound


# Theorem Q


def _nodes(rng: random.Random) -> list[Node]:
    n = rng.choice((1, 2, 5, 30))
    kind = rng.choice(("random", "even", "equal"))
    start = rng.randrange(PHASE)
    result = []
    for i in range(n):
        phase = {"random": rng.randrange(PHASE), "even": i * PHASE // n, "equal": start}[kind]
        angle = 2 * math.pi * (2 * phase / PHASE + rng.choice((0.0, 0.01, rng.random()))) + 1
        size = rng.choice((0, 1000, rng.randint(1, 1 << 18)))
        re, im = round(size * math.cos(angle)), round(size * math.sin(angle))
        result.append(Node(phase, rng.randint(1, 1 << 20), rng.choice((0, 2, -3)), re, im))
    if rng.random() < 0.1:  # Q_−2 = 0: for every node one a quarter turn further on
        result += [replace(x, phase=(x.phase + PHASE // 4) % PHASE) for x in result]
    return result


@given(SEEDS)
def test_theorem_q(seed: int) -> None:
    """Every method bounds the exact error at 40 digits; the arc sum is the exact error at the inputs' offsets."""
    rng = random.Random(seed)
    p, frequency, rules = rng.choice((3, 4, 5)), 1, _nodes(rng)
    boxes = Boxes(frequency, rng.randrange(PHASE), rng.randrange(PHASE))
    try:
        found = quadrature.quadrature(frequency, rules, boxes, p, Cost())
    except Rejected as error:
        assert error.reason is Reason.EMPTY
        assert not any(x.re or x.im for x in rules)
        return
    with mpmath.workdps(40):
        alpha = [mpmath.mpf(x.amplitude) * 2**x.shift for x in rules]
        omega = [mpmath.mpc(x.re, x.im) for x in rules]
        weight = sum(a * abs(w) for a, w in zip(alpha, omega, strict=True))
        turns = [mpmath.mpf(x.phase) / PHASE for x in rules]
        moment = sum(a * w * mpmath.expjpi(-4 * f) for a, w, f in zip(alpha, omega, turns, strict=True))
        if 1e-9 < abs(moment) < 2:  # which of the two directions the kernel takes is its own affair
            return
        c = moment / abs(moment) if abs(moment) > 1 else mpmath.mpc(1)

        def gap(v: mpmath.mpf) -> mpmath.mpf:
            rule = sum(a * w * max(mpmath.cos(TURN * (v + f)), 0) for a, w, f in zip(alpha, omega, turns, strict=True))
            return abs(rule - weight / (3 * mpmath.pi) * c * mpmath.expjpi(-4 * v)) * TURN / weight

        unit = mpmath.mpf(2) ** -40
        inputs = max(gap(mpmath.mpf(m) / (2 * p)) for m in range(2 * p))
        assert found.arc_sum * unit >= inputs
        assert found.arc_sum * unit - inputs <= 2 * unit
        for v in [*(mpmath.mpf(rng.random()) for _ in range(6)), *(mpmath.mpf(1) / 4 - f for f in turns[:6])]:
            assert min(found.rectangle, found.harmonic) * unit >= gap(v)
        assert found.bound == min(found.rectangle, found.harmonic, found.arc_sum)
        assert found.relative_bound * unit >= found.bound * unit * 3 * mpmath.pi / 4 - 3 * unit
        assert found.weight >= weight > found.weight - 2
        for m, (re, im) in enumerate(found.lens):
            v = mpmath.mpf(m) / (2 * p)
            rule = sum(
                a * w * max(mpmath.cos(TURN * (v + f)), 0) for a, w, f in zip(alpha, omega, turns, strict=True)
            ) * mpmath.expjpi(4 * v)
            assert abs(rule.real - re) <= 1
            assert abs(rule.imag - im) <= 1
        own = quadrature.moment(rules)
        assert abs(moment.real - own[0]) <= 1
        assert abs(moment.imag - own[1]) <= 1
        _require_methods(found, rules, boxes, alpha, omega, turns, weight, c, unit)


def _require_methods(
    found: Any, rules: Any, boxes: Any, alpha: Any, omega: Any, turns: Any, weight: Any, c: Any, unit: Any
) -> None:
    """The harmonic and rectangle bounds are the expressions of docs/theory.md §3, to ten units: none is stronger."""
    Q = lambda m: sum(  # noqa: E731
        a * w * mpmath.expjpi(2 * m * f) for a, w, f in zip(alpha, omega, turns, strict=True)
    )
    total = (abs(Q(1)) + abs(Q(-1))) / 4 + abs(Q(0)) / mpmath.pi
    for m in range(2, limits.MOMENTS + 1, 2):
        minus = Q(-2) - weight * c if m == 2 else Q(-m)
        total += (abs(Q(m)) + abs(minus)) / (mpmath.pi * (m * m - 1))
    total += weight / (mpmath.pi * (limits.MOMENTS + 1))
    assert abs(found.harmonic * unit - total * TURN / weight) <= 10 * unit
    angle = sum(abs(a * w - a * abs(w) * mpmath.expjpi(4 * f) * c) for a, w, f in zip(alpha, omega, turns, strict=True))
    angle *= TURN / weight

    def boxes_integral(period: Fraction, start: int) -> mpmath.mpf:
        whole = int(period * PHASE)
        order = sorted(range(len(rules)), key=lambda i: rules[i].phase % whole)
        first = rules[order[0]].phase % whole
        start = start % whole
        start -= whole * ((2 * (start - first) + whole) // (2 * whole))
        left, area = mpmath.mpf(start) / PHASE, mpmath.mpf(0)
        for i in order:
            node = mpmath.mpf(rules[i].phase % whole) / PHASE
            right = left + alpha[i] * abs(omega[i]) / weight * _exact(period)
            inside = left <= node <= right
            if inside:
                area += ((right - node) ** 2 + (node - left) ** 2) / 2
            else:
                area += abs((right - node) ** 2 - (left - node) ** 2) / 2
            left = right
        return area

    plain = 2 * TURN**2 * boxes_integral(Fraction(1), boxes.whole) + angle
    identity = (abs(Q(1)) + abs(Q(-1))) / 4 * TURN / weight
    split = identity + 2 * TURN**2 * boxes_integral(Fraction(1, 2), boxes.half) + angle / 2
    assert abs(found.rectangle * unit - min(plain, split)) <= 10 * unit


# Closed form


@given(SEEDS)
def test_closed_form(seed: int) -> None:
    """Each term of the closed form is within its error of the exact one (double precision: the error is far larger)."""
    case = random_case(random.Random(seed))
    found = concluded(case)
    if found is None:
        return
    kept = found[1]
    arc, certificate, fixed = kept["sum_arcs"], kept["read_certificate"], kept["quantise"]
    _, form = kernel.quadratures(fixed, arc, certificate, Cost())
    ideal = closed_form(kept)
    p = case.p
    for delta in range(p):
        spectrum = np.fft.fft(ideal[delta]) * 2 / p
        for k, terms in form.terms.items():
            re, im, error = terms[delta]
            size = sum(abs(w) * a for rule in nodes(kept) for w, a in zip(rule.omega, rule.alpha, strict=True))
            assert abs(complex(re, im) / 2 - np.conj(spectrum[-k])) <= error / 2 + 1e-9 * size + 1


# Theorem F

FORMATS = {"binary32": 24, "tf32": 11, "bfloat16": 8}


def _rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """Round to so many significant bits (binary32 for 24), to nearest; ties do not matter here."""
    if bits == 24:
        return np.asarray(x, dtype=np.float32)
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.asarray(np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits), dtype=np.float32)


def _dot(x: np.ndarray, W: np.ndarray, b: np.ndarray, semantics: str, rng: random.Random) -> np.ndarray:
    """x·W + b in the executed arithmetic, the terms in a random order, sums in binary32."""
    bits = FORMATS[semantics]
    if semantics != "binary32":
        x, W = _rounded(x, bits), _rounded(W, bits)
    order = list(range(len(x)))
    rng.shuffle(order)
    total = np.zeros(W.shape[1], dtype=np.float32)
    for i in order:
        total = (total + (x[i] * W[i]).astype(np.float32)).astype(np.float32)
    if semantics == "bfloat16":
        b = _rounded(b, 8)
    total = (total + b).astype(np.float32)
    return _rounded(total, 8) if semantics == "bfloat16" else total


def _execute(network: dict, a: int, b: int, semantics: str, rng: random.Random) -> np.ndarray:
    t = network["tensors"]
    store = (lambda x: _rounded(x, 8)) if semantics == "bfloat16" else (lambda x: x.astype(np.float32))
    items = network["layout"].split(" ")
    rows = [
        store(store(t["embed.W_E"][_token(item, a, b)]) + store(t["pos_embed.W_pos"][i]))
        for i, item in enumerate(items)
    ]
    heads, _, width = t["blocks.0.attn.W_V"].shape
    mixed = []
    zero = np.zeros(width, dtype=np.float32)
    for h in range(heads):
        values = [_dot(x, t["blocks.0.attn.W_V"][h], t["blocks.0.attn.b_V"][h], semantics, rng) for x in rows]
        pattern = np.array([float(rng.choice(ends)) for ends in network["weights"]]).astype(np.float32)
        mixed.append(_dot(pattern, np.array(values), zero, semantics, rng))
    d = t["embed.W_E"].shape[1]
    w_o = t["blocks.0.attn.W_O"].reshape(heads * width, d)
    stream = store(rows[-1] + _dot(np.concatenate(mixed), w_o, t["blocks.0.attn.b_O"], semantics, rng))
    hidden = np.maximum(_dot(stream, t["blocks.0.mlp.W_in"], t["blocks.0.mlp.b_in"], semantics, rng), 0)
    stream = store(stream + _dot(hidden, t["blocks.0.mlp.W_out"], t["blocks.0.mlp.b_out"], semantics, rng))
    return _dot(stream, t["unembed.W_U"], t["unembed.b_U"], semantics, rng)


@pytest.mark.parametrize("semantics", list(FORMATS))
def test_theorem_f_transformer(semantics: str) -> None:
    """The network executed in the arithmetic, in random orders, against rationals: within the bound, and not far
    below it in every case.
    """
    rng = random.Random(5)
    tightest = 0.0
    for _ in range(10):
        network = _random_transformer(rng, intervals=False)
        network["weights"] = [(w, w) for w, _ in network["weights"]]
        model = read_model(network["file"])
        folded = circuit.fold(model)
        fixed = circuit.quantise(folded, model.p, Cost())
        bound = Fraction(logit_rounding(model, folded, fixed, semantics, Cost()), 1 << UNIT_BITS)
        heads = network["tensors"]["blocks.0.attn.W_V"].shape[0]
        pattern = [[low] * heads for low, _ in network["weights"]]
        for a, b in product(range(model.p), repeat=2):
            exact = _run_exactly(network, a, b, pattern)
            computed = _execute(network, a, b, semantics, rng)
            for x, y in zip(exact, computed, strict=True):
                gap = abs(Fraction(float(y)) - x)
                assert gap <= bound
                tightest = max(tightest, float(gap / bound))
    assert tightest > 0.005


def test_theorem_f_refuses_what_may_overflow() -> None:
    """An infinity times a zero weight is not a number: huge weights are refused even where nothing reads them."""
    rng = random.Random(3)
    for name in ("embed.W_E", "blocks.0.mlp.b_in", "unembed.b_U", "blocks.0.mlp.W_out"):
        network = _random_transformer(rng, intervals=False)
        tensors = {key: np.zeros_like(x) for key, x in network["tensors"].items()}
        tensors[name] = np.full_like(tensors[name], 3e38)
        metadata = {
            "format": "verifier-model/1",
            "task": "(a + b) mod p",
            "p": str(network["p"]),
            "layout": network["layout"],
            "attention": " ".join("1" for _ in network["weights"]),
            "provenance": "{}",
        }
        file = tensor_file({key: (x.shape, x.ravel().tolist()) for key, x in tensors.items()}, metadata, "f")
        model = read_model(file)
        folded = circuit.fold(model)
        fixed = circuit.quantise(folded, model.p, Cost())
        for semantics in FORMATS:
            with pytest.raises(Rejected) as caught:
                logit_rounding(model, folded, fixed, semantics, Cost())
            assert caught.value.reason is Reason.NOT_PROVED


@pytest.mark.parametrize("semantics", list(FORMATS))
def test_theorem_f_circuit(semantics: str) -> None:
    tightest = 0.0
    for seed in range(30):
        rng = random.Random(seed)
        case = random_case(rng)
        if max(abs(x) for table in (case.A, case.B, case.W, case.S1, case.S2) for row in table for x in row) > 2.0**20:
            continue
        model = read_model(case.model)
        folded = circuit.fold(model)
        bound = Fraction(
            logit_rounding(model, folded, circuit.quantise(folded, case.p, Cost()), semantics, Cost()), 1 << UNIT_BITS
        )
        exact = truth(case)
        store = (lambda x: _rounded(x, 8)) if semantics == "bfloat16" else (lambda x: x.astype(np.float32))
        A, B, W, S1, S2 = (store(np.array(t)) for t in (case.A, case.B, case.W, case.S1, case.S2))
        for a, b in product(range(case.p), repeat=2):
            hidden = np.maximum(store(A[:, a] + B[:, b]), 0)
            logits = _dot(hidden, W, np.zeros(W.shape[1], dtype=np.float32), semantics, rng)
            logits = store(store(logits + S1[a]) + S2[b])
            for x, y in zip(exact.logits[a][b], logits, strict=True):
                gap = abs(Fraction(float(y)) - Fraction(x, 1 << exact.bits))
                assert gap <= bound
                tightest = max(tightest, float(gap / bound))
    assert tightest > 0.005


def test_attention_denominators_are_exact() -> None:
    """1/3 and 1/7 are no dyadics: folding carries the common denominator exactly."""
    rng = random.Random(8)
    network = _random_transformer(rng, intervals=False)
    while lcm(*(low.denominator for low, _ in network["weights"])) % 3:
        network = _random_transformer(rng, intervals=False)
    folded = circuit.fold(read_model(network["file"]))
    assert folded.denominator % 3 == 0
