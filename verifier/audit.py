"""A second opinion: a proof's conclusion computed again from docs/theory.md, with none of the kernel's code.

Logits are exact integers (or rationals) from the model's bytes as `verifier.model` reads them; Theorem Q is computed
in `mpmath` interval arithmetic; the closed form from the roots of each profile, and Theorem F, in double precision. A
conclusion *agrees* when no number in it is stronger than the audited one, beyond a stated tolerance, and those that an
audit can compute are weaker by at most a stated factor. Most terms of the budget only bound what is computed here: how
much weaker they are is not judged, and `band` is looked at as a part of others only. The output coefficients ω are
fitted here without rounding, the kernel's are rounded to about 18 bits; tolerances bound what that changes.
"""

from __future__ import annotations

import cmath
import hashlib
import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.model import FoldedCircuit, Model, decode

DIGITS = 40  # of the interval arithmetic
ALL_INPUTS = 31  # for p up to here every input is audited
SAMPLE = 64  # otherwise so many
FIT = 2.0**-17  # what rounding may change in an output coefficient, relative to the largest output weight
FIXED_POINT_FACTOR = 8  # the kernel's κ is at most so many times the audited one
ROUNDING_FACTOR = 4  # and so its Theorem F
LISTED = 256  # inputs that are not certified, in a conclusion
MODES = 128  # of the harmonic method
SLACK = 1e-6  # relative: the audit's own double precision, and the kernel's rounding of bounds to 2^-40

Integers = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Check:
    """One number of the conclusion beside the audited one; `detail` says what was required."""

    name: str
    signed: str
    audited: str
    agrees: bool
    detail: str


@dataclass(frozen=True, slots=True)
class _Table:
    """Exact numbers: integers times 2^-bits, divided by `divisor`."""

    values: Integers
    bits: int
    divisor: int = 1

    def fractions(self) -> Fraction:
        return Fraction(1, (1 << self.bits) * self.divisor)

    def floats(self) -> NDArray[np.float64]:
        unit = self.fractions()
        flat = [float(int(x) * unit) for x in self.values.ravel()]
        return np.array(flat, dtype=np.float64).reshape(self.values.shape)


@dataclass(frozen=True, slots=True)
class Circuit:
    """The folded circuit, exactly: A, B (n × p), W (n × q), S1, S2 (p × q), and by how much attention intervals can
    move a pre-activation and a skip.
    """

    p: int
    A: _Table
    B: _Table
    W: _Table
    S1: _Table
    S2: _Table
    pre_slack: list[Fraction]
    skip_slack: Fraction


def _exact(values: NDArray[Any]) -> _Table:
    """Floating-point numbers as integers, exactly."""
    ratios = [float(x).as_integer_ratio() for x in values.ravel()]
    bits = max(d.bit_length() - 1 for _, d in ratios)
    integers = np.array([n << (bits - d.bit_length() + 1) for n, d in ratios], dtype=object)
    return _Table(integers.reshape(values.shape), bits)


def _plus(x: _Table, y: _Table) -> _Table:
    bits, divisor = max(x.bits, y.bits), math.lcm(x.divisor, y.divisor)
    parts = [t.values * ((1 << (bits - t.bits)) * (divisor // t.divisor)) for t in (x, y)]
    return _Table(parts[0] + parts[1], bits, divisor)


def _times(x: _Table, y: _Table) -> _Table:
    return _Table(x.values.dot(y.values), x.bits + y.bits, x.divisor * y.divisor)


def _scaled(x: _Table, factor: Fraction) -> _Table:
    return _Table(x.values * factor.numerator, x.bits, x.divisor * factor.denominator)


def _zeros(*shape: int) -> _Table:
    return _Table(np.zeros(shape, dtype=object) * 0, 0)


def circuit(model: Model | FoldedCircuit) -> Circuit:
    """Fold by docs/theory.md §1, exactly."""
    if isinstance(model, FoldedCircuit):
        skips = [_zeros(model.p, model.outputs) if s is None else _exact(s.T) for s in (model.S1, model.S2)]
        tables = (_exact(model.A), _exact(model.B), _exact(model.W.T))
        return Circuit(model.p, *tables, skips[0], skips[1], [Fraction(0)] * model.neurons, Fraction(0))
    t = {name: _exact(x) for name, x in model.tensors.items()}
    p, n = model.p, model.neurons
    d = model.tensors["embed.W_E"].shape[1]
    heads = model.tensors["blocks.0.attn.W_V"].shape[0]

    def part(table: _Table, index: Any) -> _Table:
        return _Table(table.values[index], table.bits, table.divisor)

    of_a, of_b = _zeros(p, d), _plus(_zeros(p, d), t["blocks.0.attn.b_O"])
    pre_slack, skip_slack = [Fraction(0)] * n, Fraction(0)
    last = len(model.positions) - 1
    for index, place in enumerate(model.positions):
        tokens = list(place.tokens(p))
        stream = _plus(part(t["embed.W_E"], tokens), part(t["pos_embed.W_pos"], index))
        weight = model.attention[index]
        written = _zeros(len(tokens), d)
        for h in range(heads):
            value = _plus(_times(stream, part(t["blocks.0.attn.W_V"], h)), part(t["blocks.0.attn.b_V"], h))
            output = _times(value, part(t["blocks.0.attn.W_O"], h))
            written = _plus(written, _scaled(output, weight.middle))
            radius = (weight.high - weight.low) / 2
            if radius:
                moved = _times(output, t["blocks.0.mlp.W_in"])
                reach = abs(moved.values).max(axis=0)
                pre_slack = [x + int(y) * moved.fractions() * radius for x, y in zip(pre_slack, reach, strict=True)]
                moved = _times(output, t["unembed.W_U"])
                skip_slack += int(abs(moved.values).max()) * moved.fractions() * radius
        if index == last:
            written = _plus(written, stream)
        if place.kind == "a":
            of_a = _plus(of_a, written)
        else:
            of_b = _plus(of_b, written)  # one row, of a fixed token, is added to all
    w_in, w_u = t["blocks.0.mlp.W_in"], t["unembed.W_U"]
    A = _times(of_a, w_in)
    B = _plus(_times(of_b, w_in), t["blocks.0.mlp.b_in"])
    return Circuit(
        p,
        _Table(A.values.T, A.bits, A.divisor),
        _Table(B.values.T, B.bits, B.divisor),
        _times(t["blocks.0.mlp.W_out"], w_u),
        _times(of_a, w_u),
        _plus(_times(_plus(of_b, t["blocks.0.mlp.b_out"]), w_u), t["unembed.b_U"]),
        pre_slack,
        skip_slack,
    )


class Logits:
    """Exact logits, one input at a time, as integers times `unit`."""

    def __init__(self, c: Circuit) -> None:
        bits, divisor = max(c.A.bits, c.B.bits), math.lcm(c.A.divisor, c.B.divisor)
        self._a, self._b = (x.values * ((1 << (bits - x.bits)) * (divisor // x.divisor)) for x in (c.A, c.B))
        hidden = _Table(np.array([0], dtype=object), bits + c.W.bits, divisor)
        self.bits = max(hidden.bits, c.S1.bits, c.S2.bits)
        self.divisor = math.lcm(divisor, c.S1.divisor, c.S2.divisor)
        lift = (1 << (self.bits - hidden.bits)) * (self.divisor // divisor)
        self._w = c.W.values * lift
        self._s = [x.values * ((1 << (self.bits - x.bits)) * (self.divisor // x.divisor)) for x in (c.S1, c.S2)]
        self.unit = Fraction(1, (1 << self.bits) * self.divisor)

    def at(self, a: int, b: int) -> list[int]:
        pre = self._a[:, a] + self._b[:, b]
        hidden = np.where(pre > 0, pre, 0 * pre)
        result: list[int] = (hidden.dot(self._w) + self._s[0][a] + self._s[1][b]).tolist()
        return result


def _fixed_point(c: Circuit) -> tuple[Fraction, Fraction]:
    """Lemma K's κ and κ_d, with the smallest units the lemma allows."""

    def unit(tables: Sequence[_Table]) -> Fraction:
        top = max((int(abs(t.values).max()) * t.fractions() for t in tables), default=Fraction(0))
        if top == 0:
            return Fraction(1, 1 << 26)
        exponent = math.floor(math.log2(top.numerator) - math.log2(top.denominator)) - 26
        while Fraction(2) ** exponent * (1 << 26) <= top:
            exponent += 1
        while Fraction(2) ** (exponent - 1) * (1 << 26) > top:
            exponent -= 1
        return Fraction(2) ** exponent

    u_a, u_w = unit([c.A, c.B]), unit([c.W])
    one = 2 * u_a * u_w + c.skip_slack
    both = 2 * one
    for i, slack in enumerate(c.pre_slack):
        high, low = int(c.W.values[i].max()) * c.W.fractions(), int(c.W.values[i].min()) * c.W.fractions()
        h = max(Fraction(0), int(c.A.values[i].max()) * c.A.fractions() + int(c.B.values[i].max()) * c.B.fractions())
        one += (max(high, -low) + u_w) * (2 * u_a + slack) + u_w * h
        both += (high - low + 2 * u_w) * (2 * u_a + slack) + 2 * u_w * h
    return one, both


@dataclass(frozen=True, slots=True)
class _Rule:
    """One family's nodes: ω fitted here, α and φ from the certificate; ω and the tolerance in the units of a logit."""

    frequency: int
    omega: list[complex]
    alpha: list[float]
    phase: list[Fraction]


def _rules(c: Circuit, certificate: dict[str, Any]) -> tuple[list[_Rule], float]:
    p, W = c.p, c.W.floats()[:, : c.p]
    exponent = certificate["amplitude_exponent"]
    rules = []
    for family in certificate["families"]:
        k = family["frequency"]
        wave = np.exp(-2j * np.pi * np.arange(p) * k / p)
        rules.append(
            _Rule(
                k,
                [complex(W[i] @ wave) * 2 / p for i, _, _ in family["members"]],
                [math.ldexp(amplitude, exponent) for _, amplitude, _ in family["members"]],
                [Fraction(phase, 1 << 32) for _, _, phase in family["members"]],
            )
        )
    return rules, FIT * float(abs(c.W.floats()).max())


class _Interval:
    """Complex intervals as pairs of `mpmath.iv` numbers."""

    def __init__(self) -> None:
        import mpmath

        self.iv = mpmath.iv
        self.iv.dps = DIGITS

    def number(self, x: Fraction | float | int) -> Any:
        x = Fraction(x)
        return self.iv.mpf(x.numerator) / self.iv.mpf(x.denominator)

    def turn(self, x: Fraction) -> tuple[Any, Any]:
        angle = 2 * self.iv.pi * self.number(x % 1)
        return self.iv.cos(angle), self.iv.sin(angle)

    @staticmethod
    def times(x: tuple[Any, Any], y: tuple[Any, Any]) -> tuple[Any, Any]:
        return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]

    def modulus(self, x: tuple[Any, Any]) -> Any:
        return self.iv.sqrt(x[0] ** 2 + x[1] ** 2)


@dataclass(frozen=True, slots=True)
class Quadrature:
    """Theorem Q's three bounds for one frequency, each an interval's (low, high); `tolerance` is what ω may change;
    `weight` is W in the units of a logit.
    """

    weight: float
    rectangle: tuple[float, float]
    harmonic: tuple[float, float]
    arc_sum: tuple[float, float]
    tolerance: float


def quadrature(rules: Sequence[_Rule], boxes: dict[str, int], p: int, fit: float) -> Quadrature | None:
    """docs/theory.md §3 in interval arithmetic; None when rounding may decide the direction c, because Q_−2 is no
    greater than what rounding ω can change.
    """
    m = _Interval()
    order = sorted(
        (phase, alpha, omega)
        for rule in rules
        for phase, alpha, omega in zip(rule.phase, rule.alpha, map(_pair, rule.omega), strict=True)
    )
    phases = [phase for phase, _, _ in order]
    outputs = [tuple(m.number(alpha) * m.number(x) for x in omega) for _, alpha, omega in order]
    weights = [m.modulus((re, im)) for re, im in outputs]
    W = sum(weights, m.number(0))
    points = [m.turn(phase) for phase in phases]

    def moment(mode: int) -> tuple[Any, Any]:
        terms = [m.times((re, im), m.turn(mode * f)) for (re, im), f in zip(outputs, phases, strict=True)]
        return sum((t[0] for t in terms), m.number(0)), sum((t[1] for t in terms), m.number(0))

    second = moment(-2)
    size = m.modulus(second)
    if size.a <= 1000 * fit * sum(alpha for _, alpha, _ in order):
        return None
    c = (second[0] / size, second[1] / size)
    two_pi = 2 * m.iv.pi

    harmonic = (m.modulus(moment(1)) + m.modulus(moment(-1))) / 4 + m.modulus(moment(0)) / m.iv.pi
    up, down = list(outputs), list(outputs)
    squares = [m.times(x, x) for x in points]
    for mode in range(2, MODES + 1, 2):
        up = [m.times((x[0], x[1]), s) for x, s in zip(up, squares, strict=True)]
        down = [m.times((x[0], x[1]), (s[0], -s[1])) for x, s in zip(down, squares, strict=True)]
        minus = [sum((x[part] for x in down), m.number(0)) for part in (0, 1)]
        if mode == 2:
            minus = [minus[0] - W * c[0], minus[1] - W * c[1]]
        plus = [sum((x[part] for x in up), m.number(0)) for part in (0, 1)]
        sizes = m.modulus((plus[0], plus[1])) + m.modulus((minus[0], minus[1]))
        harmonic += sizes / (m.iv.pi * (mode * mode - 1))
    harmonic = (harmonic + W / (m.iv.pi * (MODES + 1))) * two_pi / W

    angle = m.number(0)
    for (re, im), s, w in zip(outputs, squares, weights, strict=True):
        ideal = m.times(c, s)
        angle += m.modulus((re - w * ideal[0], im - w * ideal[1]))
    angle = angle * two_pi / W
    plain = 2 * two_pi**2 * _boxes(m, phases, [w / W for w in weights], boxes["whole"], Fraction(1)) + angle
    half = sorted(range(len(phases)), key=lambda i: phases[i] % Fraction(1, 2))
    shares = [weights[i] / W / 2 for i in half]
    halved = [phases[i] % Fraction(1, 2) for i in half]
    identity = (m.modulus(moment(1)) + m.modulus(moment(-1))) / 4 * two_pi / W
    split = identity + 2 * two_pi**2 * _boxes(m, halved, shares, boxes["half"], Fraction(1, 2)) + angle / 2
    rectangle = plain if plain.b <= split.b else split

    arc_sum = m.number(0)
    for step in range(2 * p):
        v = Fraction(step, 2 * p)
        total, here = [m.number(0), m.number(0)], m.turn(v)
        for (re, im), f, point in zip(outputs, phases, points, strict=True):
            if Fraction(1, 4) < (v + f) % 1 < Fraction(3, 4):
                continue
            wave = here[0] * point[0] - here[1] * point[1]
            total = [total[0] + re * wave, total[1] + im * wave]
        ideal = m.times(c, m.turn(-2 * v))
        error = m.modulus((total[0] - W / (3 * m.iv.pi) * ideal[0], total[1] - W / (3 * m.iv.pi) * ideal[1]))
        if error.b > arc_sum.b:
            arc_sum = error
    arc_sum = arc_sum * two_pi / W
    # A change of ω by at most `fit` each (two parts, √2 < 3/2) moves L, I, W and c by multiples of Σα·fit; the boxes,
    # 2·(2π)²·½, by a few more.
    tolerance = 40 * 1.5 * fit * sum(alpha for _, alpha, _ in order) / float(W.a)
    return Quadrature(float(W.b), _ends(rectangle), _ends(harmonic), _ends(arc_sum), tolerance)


def _pair(z: complex) -> tuple[float, float]:
    return z.real, z.imag


def _ends(x: Any) -> tuple[float, float]:
    return float(x.a), float(x.b)


def _boxes(m: _Interval, nodes: list[Fraction], shares: list[Any], start: int, period: Fraction) -> Any:
    """Σ ∫|x − φ| over boxes side by side; the start is moved by whole periods to within half a period of a node."""
    place = Fraction(start, 1 << 32) % period
    place -= period * math.floor((place - nodes[0]) / period + Fraction(1, 2))
    left, area = m.number(place), m.number(0)
    for node, share in zip(nodes, shares, strict=True):
        phi, right = m.number(node), left + share
        for sign, end in ((1, right), (-1, left)):
            distance = end - phi
            square = distance * abs(distance) / 2
            area = area + sign * square
        left = right
    return area


def _relu_integral(dc: float, harmonics: Sequence[complex]) -> complex:
    """∫ReLU(T(x))·e(2x)dx over one turn; the arguments of all roots of T's polynomial cut the circle."""
    modes: dict[int, complex] = {0: complex(dc)}
    for h, u in enumerate(harmonics, 1):
        modes |= {h: u / 2, -h: u.conjugate() / 2}
    top = max((h for h, z in modes.items() if z != 0), default=0)
    cuts = [0.0, 1.0]
    if top:
        roots = np.roots([modes.get(h, 0) for h in range(top, -top - 1, -1)])
        cuts += [cmath.phase(z) / math.tau % 1 for z in roots]
    cuts.sort()
    result = 0j
    for low, high in itertools.pairwise(cuts):
        middle = cmath.exp(1j * math.pi * (low + high))
        if sum((z * middle**h).real for h, z in modes.items()) > 0:
            for h, z in modes.items():
                k = 2j * math.pi * (h + 2)
                result += z * ((cmath.exp(k * high) - cmath.exp(k * low)) / k if k else high - low)
    return result


def closed_form(c: Circuit, certificate: dict[str, Any], rules: Sequence[_Rule]) -> dict[int, list[complex]]:
    """G_k(δ) of docs/theory.md §5, in the units of a logit."""
    p = c.p
    result: dict[int, list[complex]] = {}
    for family, rule in zip(certificate["families"], rules, strict=True):
        k = rule.frequency
        moment = sum(
            omega * alpha * cmath.exp(-4j * math.pi * float(phase))
            for omega, alpha, phase in zip(rule.omega, rule.alpha, rule.phase, strict=True)
        )
        row = result.setdefault(k, [0j] * p)
        for delta in range(p):
            turn = cmath.exp(2j * math.pi * (k * delta % p) / p)
            harmonics = [
                (complex(x, y) * turn**h + complex(v, w)) / 2**24 for h, (x, y, v, w) in enumerate(family["profile"], 1)
            ]
            row[delta] += turn * moment * _relu_integral(family["dc"] / 2**24, harmonics)
    return result


def _dyadic(value: dict[str, Any]) -> Fraction:
    return int(value["mantissa"]) * Fraction(2) ** int(value["exponent"])


def _text(x: Fraction | float) -> str:
    return f"{float(x):.9g}"


def audit(
    model: bytes, certificate: bytes, conclusion: dict[str, Any], source: str = "model", sample: int | None = None
) -> list[Check]:
    """Compare a conclusion document with what is computed here, at `sample` inputs; by default at all of them for p up
    to `ALL_INPUTS`, and else at `SAMPLE`.

    **Raises** `InputError` for a model that is not one.
    """
    network = decode(model, source)
    explanation = json.loads(certificate)
    c = circuit(network)
    rules, fit = _rules(c, explanation)
    checks = _audit_facts(c, model, certificate, explanation, conclusion)
    found, quadratures = _audit_quadrature(c, rules, explanation, conclusion, fit)
    checks += found
    checks += _audit_fixed_point(c, conclusion)
    checks += _audit_sums(conclusion, quadratures)
    logits = Logits(c)
    inputs = _inputs(c.p, sample)
    values = [logits.at(a, b) for a, b in inputs]
    checks += _audit_margins(c.p, inputs, values, logits.unit, conclusion)
    checks += _audit_rounding(network, c, inputs, values, logits.unit, conclusion)
    network_side = _NetworkSide(c, rules, explanation, inputs, values, logits.unit, fit)
    checks += _audit_closed_form(network_side, conclusion, quadratures)
    return checks


def _audit_facts(
    c: Circuit, model: bytes, certificate: bytes, explanation: dict[str, Any], conclusion: dict[str, Any]
) -> list[Check]:
    """What the conclusion says about its inputs, and whether its counts add up."""
    p, q, n = c.p, int(c.W.values.shape[1]), int(c.W.values.shape[0])
    parameters = n * (2 * p + q) + 2 * p * q
    accuracy, cost = conclusion["accuracy"], conclusion["cost"]
    certified, by_step = accuracy["certified_inputs"], sum(cost["by_step"].values())
    listed = [_dyadic(x["margin"]) for x in accuracy["uncertified"]]
    digests = [hashlib.sha256(data).hexdigest() for data in (model, certificate)]
    lists = {name: len(explanation[name]) for name in ("families", "output_frequencies", "outliers", "on", "off")}
    lists |= {"cells": explanation["cells"] * p, "critical_offsets": explanation["critical_offsets"]}
    members: dict[int, int] = {}
    for family in explanation["families"]:
        members[family["frequency"]] = members.get(family["frequency"], 0) + len(family["members"])
    facts = {
        "model": conclusion["model"]
        == {"sha256": digests[0], "p": p, "outputs": q, "neurons": n, "parameters": parameters},
        "certificate": conclusion["certificate"] == {"sha256": digests[1], **lists},
        "neurons": {x["frequency"]: x["neurons"] for x in conclusion["quadrature"]} == members,
        "claim": conclusion["claim"]["semantics"] == accuracy["semantics"],
        "theorem": f"at least {certified} of the {p * p} inputs" in conclusion["theorem"]
        and digests[0] in conclusion["theorem"],
        "inputs": accuracy["linear"] + accuracy["refined"] + accuracy["exhaustive"] == certified
        and accuracy["total_inputs"] == p * p == certified + accuracy["uncertified_inputs"]
        and len(listed) == min(LISTED, accuracy["uncertified_inputs"]),
        "least margin": (listed == sorted(listed) and listed[0] == _dyadic(accuracy["min_margin"]) and listed[-1] <= 0)
        if listed
        else _dyadic(accuracy["min_margin"]) > 0,
        "cost": (cost["parameters"], cost["ball_operations"], cost["brute_force"])
        == (parameters, by_step, n * p * p * q)
        and 0 <= Fraction(cost["per_parameter"]) * parameters - by_step < Fraction(parameters, 1000),
    }
    wrong = ", ".join(name for name, holds in facts.items() if not holds)
    detail = "equal, and consistent with each other" + (f": wrong for {wrong}" if wrong else "")
    return [Check("digests and counts", str(len(facts)), str(len(facts)), not wrong, detail)]


def _audit_quadrature(
    c: Circuit, rules: list[_Rule], certificate: dict[str, Any], conclusion: dict[str, Any], fit: float
) -> tuple[list[Check], dict[int, Quadrature]]:
    checks, quadratures = [], {}
    for entry in conclusion["quadrature"]:
        k = entry["frequency"]
        boxes = next(box for box in certificate["boxes"] if box["frequency"] == k)
        found = quadrature([rule for rule in rules if rule.frequency == k], boxes, c.p, fit)
        if found is None:
            detail = "not audited: its moment vanishes, rounding decides the direction"
            checks.append(Check(f"Theorem Q, frequency {k}", "", "", True, detail))
            continue
        quadratures[k] = found
        for name in ("rectangle", "harmonic", "arc_sum"):
            signed = float(_dyadic(entry[name]))
            low, high = getattr(found, name)
            room = found.tolerance + SLACK
            checks.append(
                Check(
                    f"Theorem Q, frequency {k}, {name}",
                    _text(signed),
                    _text(high),
                    low - room <= signed <= high + room,
                    f"equal but for {room:.1e}",
                )
            )
        least = min(found.rectangle[0], found.harmonic[0], found.arc_sum[0])
        room, naive = found.tolerance + SLACK, 4 / (3 * math.pi)
        for name, unit in (("bound", 1.0), ("relative_bound", naive)):
            signed = float(_dyadic(entry[name]))
            agrees = abs(signed * unit - least) <= room
            checks.append(
                Check(f"Theorem Q, frequency {k}, {name}", _text(signed), _text(least / unit), agrees, "of the least")
            )
    return checks, quadratures


def _audit_fixed_point(c: Circuit, conclusion: dict[str, Any]) -> list[Check]:
    signed, (audited, _) = _dyadic(conclusion["logits"]["budget"]["fixed_point"]), _fixed_point(c)
    agrees = audited * Fraction(999, 1000) <= signed <= FIXED_POINT_FACTOR * audited
    detail = f"between the audited value and {FIXED_POINT_FACTOR} times it"
    return [Check("Lemma K, κ", _text(signed), _text(audited), agrees, detail)]


def _terms(value: dict[str, Any]) -> list[Fraction]:
    """A term of the budget: one number, or one per frequency."""
    return [_dyadic(value)] if "mantissa" in value else [_dyadic(x) for x in value.values()]


def _audit_sums(conclusion: dict[str, Any], quadratures: dict[int, Quadrature]) -> list[Check]:
    """The budget's quadrature term, `naive`, and that `max_error` is no more than the sum of its terms."""
    checks, logits = [], conclusion["logits"]
    budget = logits["budget"]
    kappa = float(_dyadic(budget["fixed_point"]))
    for k, found in quadratures.items():
        signed = float(_dyadic(budget["quadrature"][str(k)]))
        least = min(found.rectangle[0], found.harmonic[0], found.arc_sum[0])
        audited, room = found.weight * least / math.pi, found.weight * (found.tolerance + SLACK) + kappa
        agrees = audited - room <= signed <= 1.001 * audited + room
        checks.append(Check(f"budget, quadrature, {k}", _text(signed), _text(audited), agrees, "W·E/π, to 0.1 %"))
    total = sum(float(x) for term in budget.values() for x in _terms(term))
    signed = float(_dyadic(logits["max_error"]))
    agrees = 0 <= signed <= total * (1 + SLACK) and all(x >= 0 for term in budget.values() for x in _terms(term))
    checks.append(Check("budget, sum", _text(signed), _text(total), agrees, "max_error is no more than its terms"))
    if len(quadratures) == len(conclusion["quadrature"]):
        rest = total - sum(float(x) for x in _terms(budget["quadrature"]))
        weight = sum(found.weight for found in quadratures.values())
        naive = 4 * weight / (3 * math.pi**2) + rest
        room = weight * max(found.tolerance + SLACK for found in quadratures.values()) + kappa
        signed = float(_dyadic(logits["naive"]))
        skip = float(_dyadic(budget["skip"]))  # counted once more in the terms than at any one input
        agrees = naive - skip - room <= signed <= 1.001 * naive + room
        checks.append(Check("budget, naive", _text(signed), _text(naive), agrees, "the sum with W·4/3π² for W·E/π"))
    return checks


def _inputs(p: int, sample: int | None) -> list[tuple[int, int]]:
    everything = [(a, b) for a in range(p) for b in range(p)]
    if sample is None:
        sample = p * p if p <= ALL_INPUTS else SAMPLE
    return everything if sample >= p * p else random.Random(p).sample(everything, sample)  # noqa: S311


def _where(inputs: Sequence[tuple[int, int]], p: int) -> str:
    return "every input" if len(inputs) == p * p else f"{len(inputs)} inputs"


def _audit_margins(
    p: int, inputs: list[tuple[int, int]], values: list[list[int]], unit: Fraction, conclusion: dict[str, Any]
) -> list[Check]:
    """No margin is above the exact one."""
    accuracy = conclusion["accuracy"]
    listed = {(x["a"], x["b"]): _dyadic(x["margin"]) for x in accuracy["uncertified"]}
    all_listed = accuracy["uncertified_inputs"] == len(listed)
    penalty = 2 * _dyadic(accuracy["floating_point"])
    claimed = _dyadic(accuracy["min_margin"])
    margins: list[Fraction] = []
    right, false = 0, []
    for (a, b), row in zip(inputs, values, strict=True):
        target = (a + b) % p
        margin = (row[target] - max(x for t, x in enumerate(row) if t != target)) * unit
        margins.append(margin)
        right += margin > penalty
        certified = all_listed and (a, b) not in listed
        if listed.get((a, b), claimed) + penalty > margin or (certified and margin <= penalty):
            false.append((a, b))
    whole = len(inputs) == p * p
    checks = [
        Check(
            f"Theorem A, margins at {_where(inputs, p)}",
            _text(claimed),
            _text(min(margins) - penalty),
            not false,
            "no bound above the exact margin less Theorem F" + (f": false at {false[0]}" if false else ""),
        )
    ]
    if whole:
        detail = "no more inputs than have the right logit on top by more than twice Theorem F"
        agrees = accuracy["certified_inputs"] <= right
        checks.append(Check("Theorem A, inputs", str(accuracy["certified_inputs"]), str(right), agrees, detail))
    if whole and "true_min_margin" in accuracy:
        low, high = map(_dyadic, accuracy["true_min_margin"])
        agrees = low <= min(margins) <= high
        checks.append(
            Check("exhaustive, least margin", f"[{_text(low)}, {_text(high)}]", _text(min(margins)), agrees, "enclosed")
        )
    return checks


class _NetworkSide:
    """What the network does at the output frequencies at the inputs looked at, and the closed form there.

    **Fields**

    - `differences[i][t]`: logit_{a+b+t} − logit_{a+b} of input i. Their Fourier coefficients at j are R_j, exactly:
      what all neurons and skips write there.
    - `R[j]`, `G[k]`: by input; `form[k]`: G_k by δ; `pure[k]`: what the pure cosines' finite sum differs by from its
      integral, by input.
    - `room`, `form_room[k]`: what rounding ω and the weights may change in an R_j, and in G_k.
    """

    def __init__(
        self,
        c: Circuit,
        rules: list[_Rule],
        certificate: dict[str, Any],
        inputs: list[tuple[int, int]],
        values: list[list[int]],
        unit: Fraction,
        fit: float,
    ) -> None:
        p = self.p = c.p
        self.inputs = inputs
        a, b = np.array(inputs).T
        rows = []
        for (x, y), row in zip(inputs, values, strict=True):
            target = (x + y) % p
            rows.append([float((row[(target + t) % p] - row[target]) * unit) for t in range(p)])
        self.differences = np.array(rows)
        self.frequencies: list[int] = certificate["output_frequencies"]
        self.R = {j: self.differences @ self._wave(-j) * 2 / p for j in self.frequencies}
        self.form = {k: np.array(row) for k, row in closed_form(c, certificate, rules).items()}
        self.G = {k: row[(a - b) % p] for k, row in self.form.items()}
        self.pure = {k: self._pure(k, [x for x in rules if x.frequency == k], a, b) for k in self.form}
        activations = float(np.maximum(c.A.floats()[:, a] + c.B.floats()[:, b], 0).sum(axis=0).max())
        self.kappa = float(_fixed_point(c)[0])
        self.skips = [table.floats()[:, :p] for table in (c.S1, c.S2)]
        self.skip_room = 4 * FIT * sum(float(abs(table.floats()).max()) for table in (c.S1, c.S2)) + self.kappa
        self.room = 1.8 * fit * activations + self.skip_room
        self.form_room = dict.fromkeys(self.form, 0.0)
        for family, rule in zip(certificate["families"], rules, strict=True):
            reach = sum(math.hypot(x, y) + math.hypot(v, w) for x, y, v, w in family["profile"])
            reach = (reach + abs(family["dc"])) / 2**24
            self.form_room[rule.frequency] += 1.8 * fit * reach * sum(rule.alpha)

    def _wave(self, j: int) -> NDArray[np.complex128]:
        wave: NDArray[np.complex128] = np.exp(2j * np.pi * (j * np.arange(self.p) % self.p) / self.p)
        return wave

    def _pure(
        self, k: int, rules: Sequence[_Rule], a: NDArray[np.int64], b: NDArray[np.int64]
    ) -> NDArray[np.complex128]:
        p = self.p
        phases = np.array([float(x) for rule in rules for x in rule.phase])
        alpha = np.array([x for rule in rules for x in rule.alpha])
        omega = np.array([x for rule in rules for x in rule.omega])
        v = np.arange(2 * p) / (2 * p)
        waves = np.maximum(np.cos(2 * np.pi * (v[:, None] + phases[None, :])), 0)
        moment = complex((alpha * omega * np.exp(-4j * np.pi * phases)).sum())
        weight = float((alpha * abs(omega)).sum())
        size = abs(moment)
        lens = (waves @ (alpha * omega)) * np.exp(4j * np.pi * v) - weight / (3 * np.pi) * moment / (size or 1.0)
        cosine = np.cos(np.pi * k * (a - b) / p)
        result: NDArray[np.complex128] = 2 * abs(cosine) * lens[(k * (a + b) + p * (cosine < 0)) % (2 * p)]
        return result

    def rests(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half the range over c of what is written outside the output frequencies, row by row."""
        rest = differences.copy()
        for j in self.frequencies:
            rest -= np.real(np.outer(differences @ self._wave(-j) * 2 / self.p, self._wave(j)))
        half: NDArray[np.float64] = (rest.max(axis=1) - rest.min(axis=1)) / 2
        return half

    def deviation(self) -> float:
        """The largest distance of a logit from the closed form, the shift at its best for each input."""
        gaps = self.differences.copy()
        for k, G in self.G.items():
            gaps -= np.real(np.outer(G, self._wave(k)))
        return float((gaps.max(axis=1) - gaps.min(axis=1)).max()) / 2


def _audit_closed_form(
    side: _NetworkSide, conclusion: dict[str, Any], quadratures: dict[int, Quadrature]
) -> list[Check]:
    """Theorem L: every upper bound is one at the inputs looked at, `amplitude` a lower bound."""
    checks: list[Check] = []
    where = _where(side.inputs, side.p)
    size = float(abs(side.differences).max())
    budget, accuracy = conclusion["logits"]["budget"], conclusion["accuracy"]
    band, output, skip = (float(_dyadic(budget[name])) for name in ("band", "output_residual", "skip"))

    def above(name: str, signed: float, audited: float, room: float, what: str) -> None:
        agrees = audited <= signed + room + SLACK * size
        checks.append(Check(name, _text(signed), _text(audited), agrees, f"not below {what}, but for {room:.1e}"))

    deviation, room = side.deviation(), sum(side.form_room.values())
    bound = float(_dyadic(conclusion["logits"]["max_error"]))
    above("Theorem L, max_error", bound, deviation, room, f"the distance at {where}")
    for entry in conclusion["quadrature"]:
        k = entry["frequency"]
        gaps = side.R[k] - side.G[k]
        signed, audited = float(_dyadic(entry["network_error"])), float(abs(gaps).max())
        above(f"network_error, frequency {k}", signed, audited, side.form_room[k], f"the distance at {where}")
        signed, audited = float(_dyadic(entry["amplitude"])), float(abs(side.form[k]).max())
        agrees = 0 <= signed <= audited + side.form_room[k] + SLACK * audited
        detail = f"not above the closed form's, but for {side.form_room[k]:.1e}"
        checks.append(Check(f"amplitude, frequency {k}", _text(signed), _text(audited), agrees, detail))
        if k in quadratures:
            signed = float(_dyadic(budget["profile"][str(k)])) + band
            room = side.room + side.form_room[k] + quadratures[k].weight * quadratures[k].tolerance
            audited = float(abs(gaps - side.pure[k]).max())
            above(f"budget, profile, {k}", signed, audited, room, f"it at {where}, band added")
    for name, term in budget["other_frequencies"].items():
        audited = float(abs(side.R[int(name)]).max())
        above(f"budget, other, {name}", float(_dyadic(term)) + band, audited, side.room, f"it at {where}, band added")
    count = len(side.frequencies)
    audited = float(side.rests(side.differences).max())
    above("budget, residual and skip", output + skip, audited, count * side.room, f"the rest at {where}")
    one, two = (side.rests(table) for table in side.skips)
    above("budget, skip", skip, float(one.max() + two.max()), count * side.skip_room, "the skips' rests")
    if len(side.inputs) == side.p**2 and "max_deviation" in accuracy:
        below, over = (float(_dyadic(x)) for x in accuracy["max_deviation"])
        room = sum(side.form_room.values()) + SLACK * size
        agrees = below - room <= deviation <= over + room
        checks.append(
            Check("exhaustive, distance", f"[{_text(below)}, {_text(over)}]", _text(deviation), agrees, "enclosed")
        )
    return checks


@dataclass(frozen=True, slots=True)
class _Arithmetic:
    """Bits of the operands of a product and of stored results (24: binary32), and the unit roundoffs of the theory."""

    operand_bits: int
    result_bits: int
    operands: float
    result: float

    def product(self, length: int) -> float:
        """Relative to Σ|x||y|: what a dot product of so many terms errs by."""
        mu = length * 2.0**-24
        if mu >= 1:
            return math.inf
        return (1 + self.operands) ** 2 * (1 + mu / (1 - mu)) * (1 + self.result) - 1

    def sum(self) -> float:
        return (1 + 2.0**-24) * (1 + self.result) - 1

    def operand(self, x: NDArray[Any]) -> NDArray[np.float32]:
        return _shortened(x, self.operand_bits)

    def stored(self, x: NDArray[Any]) -> NDArray[np.float32]:
        return _shortened(x, self.result_bits)

    def times(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
        """Sums are left unrounded, so that a bias can be added before the result is stored."""
        return np.asarray(self.operand(x) @ self.operand(y), dtype=np.float32)


_ARITHMETIC = {
    "binary32": _Arithmetic(24, 24, 0.0, 0.0),
    "tf32": _Arithmetic(11, 24, 2.0**-10, 0.0),
    "bfloat16": _Arithmetic(8, 8, 2.0**-8, 2.0**-8),
}


def _shortened(x: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """binary32, rounded to so many bits."""
    x = np.asarray(x, dtype=np.float32)
    if bits == 24:
        return x
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.rint(mantissa * 2**bits) / 2**bits, exponent), dtype=np.float32)


def _audit_rounding(
    network: Model | FoldedCircuit,
    c: Circuit,
    inputs: list[tuple[int, int]],
    values: list[list[int]],
    unit: Fraction,
    conclusion: dict[str, Any],
) -> list[Check]:
    """Theorem F: the network executed, and, for a transformer with constant attention, the bound computed again."""
    semantics, signed = conclusion["claim"]["semantics"], float(_dyadic(conclusion["accuracy"]["floating_point"]))
    if semantics == "real":
        return [Check("Theorem F", _text(signed), "0", signed == 0, "nothing in exact arithmetic")]
    arithmetic, checks = _ARITHMETIC[semantics], []
    if isinstance(network, FoldedCircuit):
        found = _run_circuit(network, np.array(inputs), arithmetic)
    else:
        found = _run_transformer(network, np.array(inputs), arithmetic)
    # Attention intervals: exact logits and the execution are both those of their middle.
    exact = np.array([[float(x * unit) for x in row] for row in values])
    error, room = float(abs(found.astype(np.float64) - exact).max()), SLACK * signed
    detail = f"not below the error of one execution at {_where(inputs, c.p)}"
    checks.append(Check("Theorem F, executed", _text(signed), _text(error), error <= signed + room, detail))
    if isinstance(network, Model) and all(weight.constant for weight in network.attention):
        audited = _rounding(network, c, arithmetic)
        agrees = audited * 0.99 <= signed <= ROUNDING_FACTOR * audited
        detail = f"between the audited value and {ROUNDING_FACTOR} times it"
        checks.append(Check("Theorem F", _text(signed), _text(audited), agrees, detail))
    return checks


def _run_circuit(network: FoldedCircuit, inputs: NDArray[np.int64], f: _Arithmetic) -> NDArray[np.float32]:
    a, b = inputs.T
    pre = f.stored(f.operand(network.A)[:, a] + f.operand(network.B)[:, b])
    out = f.stored(f.times(np.maximum(pre, 0).T, network.W.T))
    for table, x in ((network.S1, a), (network.S2, b)):
        if table is not None:
            out = f.stored(out + f.operand(table).T[x])
    return out


def _run_transformer(network: Model, inputs: NDArray[np.int64], f: _Arithmetic) -> NDArray[np.float32]:
    t = network.tensors
    a, b = inputs.T
    heads = t["blocks.0.attn.W_V"].shape[0]
    mixed: list[Any] = [0] * heads
    stream = np.zeros(0, dtype=np.float32)
    for index, place in enumerate(network.positions):
        token = {"a": a, "b": b}.get(place.kind, 0 * a) + place.offset
        stream = f.stored(f.operand(t["embed.W_E"])[token] + t["pos_embed.W_pos"][index])
        weight = f.operand(np.array(float(network.attention[index].middle)))
        for h in range(heads):
            value = f.stored(f.times(stream, t["blocks.0.attn.W_V"][h]) + t["blocks.0.attn.b_V"][h])
            mixed[h] = np.asarray(mixed[h] + weight * f.operand(value), dtype=np.float32)
    attended = sum(f.times(f.stored(mixed[h]), t["blocks.0.attn.W_O"][h]) for h in range(heads))
    stream = f.stored(stream + f.stored(attended + t["blocks.0.attn.b_O"]))
    hidden = np.maximum(f.stored(f.times(stream, t["blocks.0.mlp.W_in"]) + t["blocks.0.mlp.b_in"]), 0)
    stream = f.stored(stream + f.stored(f.times(hidden, t["blocks.0.mlp.W_out"]) + t["blocks.0.mlp.b_out"]))
    return f.stored(f.times(stream, t["unembed.W_U"]) + t["unembed.b_U"])


def _rounding(network: Model, c: Circuit, f: _Arithmetic) -> float:
    """docs/theory.md §7 in double precision; sizes are the largest over all tokens."""
    t = {name: x.astype(np.float64) for name, x in network.tensors.items()}
    p, (d, n), heads = c.p, t["blocks.0.mlp.W_in"].shape, t["blocks.0.attn.W_V"].shape[0]

    def through(
        w: NDArray[Any], bias: NDArray[Any], size: NDArray[Any], error: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Size and error behind a layer."""
        reach, bias = (size + error) @ abs(w), abs(bias)
        return size @ abs(w) + bias, error @ abs(w) + f.product(len(size) + 2) * (reach + bias)

    of_a, of_b = np.zeros((p, d)), np.zeros((1, d)) + t["blocks.0.attn.b_O"]
    w_v, w_o = t["blocks.0.attn.W_V"], t["blocks.0.attn.W_O"]
    mixed_size, mixed_error = [np.zeros(heads * w_v.shape[2]) for _ in range(2)]
    size = error = np.zeros(d)
    last = len(network.positions) - 1
    for index, place in enumerate(network.positions):
        tokens, position = t["embed.W_E"][list(place.tokens(p))], t["pos_embed.W_pos"][index]
        size = abs(tokens).max(axis=0) + abs(position)
        error = (f.sum() + 2 * f.operands) * size
        weight, written = float(network.attention[index].middle), np.zeros((len(tokens), d))
        values, value_errors = [], []
        for h in range(heads):
            value = (tokens + position) @ w_v[h] + t["blocks.0.attn.b_V"][h]
            values.append(abs(value).max(axis=0))
            value_errors.append(through(w_v[h], t["blocks.0.attn.b_V"][h], size, error)[1])
            written += weight * value @ w_o[h]
        mixed_size += abs(weight) * np.concatenate(values)
        mixed_error += abs(weight) * np.concatenate(value_errors)
        if index == last:
            written += tokens + position
        if place.kind == "a":
            of_a = of_a + written
        else:
            of_b = of_b + written
    mixed_error += f.product(len(network.positions) + 1) * (mixed_size + mixed_error)
    error = error + through(w_o.reshape(-1, d), t["blocks.0.attn.b_O"], mixed_size, mixed_error)[1]
    stream = np.maximum(abs(of_a.max(axis=0) + of_b.max(axis=0)), abs(of_a.min(axis=0) + of_b.min(axis=0)))
    error += f.sum() * (stream + error)
    before = through(t["blocks.0.mlp.W_in"], t["blocks.0.mlp.b_in"], stream, error)[1]
    hidden = np.maximum(c.A.floats().max(axis=1) + c.B.floats().max(axis=1), 0)
    out_size, out_error = through(t["blocks.0.mlp.W_out"], t["blocks.0.mlp.b_out"], hidden, np.zeros(n))
    moved = before @ abs(t["blocks.0.mlp.W_out"])  # the hidden layer's error, apart: exact maps of it are linear
    out_error += f.product(n + 2) * moved
    after_size, after_error = stream + out_size, error + out_error
    after_error = after_error + f.sum() * (after_size + after_error)
    direct = through(t["unembed.W_U"], t["unembed.b_U"], after_size, after_error)[1].max()
    carried = (before @ abs(c.W.floats())).max()
    once = (1 + f.product(d + 2)) * (1 + f.sum()) - 1
    return float(direct + carried + once * (moved @ abs(t["unembed.W_U"])).max())
