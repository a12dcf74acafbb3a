"""A second opinion: a proof's conclusion computed again from docs/theory.md, with none of the kernel's code.

Logits are exact integers (or rationals) from the model's bytes as `verifier.model` reads them; Theorem Q is computed
in `mpmath` interval arithmetic; the closed form from the roots of each profile, in double precision. A conclusion
*agrees* when no number in it is stronger than the audited one, beyond a stated tolerance, and those that an audit
can compute are weaker by at most a stated factor. The output coefficients ω are fitted here without rounding, the
kernel's are rounded to about 18 bits: `_tolerance` bounds what that changes.
"""

from __future__ import annotations

import cmath
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
    """Theorem Q's three bounds for one frequency, each an interval's (low, high); `tolerance` is what ω may change."""

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
        total = [m.number(0), m.number(0)]
        for (re, im), f in zip(outputs, phases, strict=True):
            place = (v + f) % 1
            if Fraction(1, 4) < place < Fraction(3, 4):
                continue
            wave = m.turn(place)[0]
            total = [total[0] + re * wave, total[1] + im * wave]
        ideal = m.times(c, m.turn(-2 * v))
        error = m.modulus((total[0] - W / (3 * m.iv.pi) * ideal[0], total[1] - W / (3 * m.iv.pi) * ideal[1]))
        if error.b > arc_sum.b:
            arc_sum = error
    arc_sum = arc_sum * two_pi / W
    # A change of ω by at most `fit` each (two parts, √2 < 3/2) moves L, I, W and c by multiples of Σα·fit; the boxes,
    # 2·(2π)²·½, by a few more.
    tolerance = 40 * 1.5 * fit * sum(alpha for _, alpha, _ in order) / float(W.a)
    return Quadrature(_ends(rectangle), _ends(harmonic), _ends(arc_sum), tolerance)


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


def audit(model: bytes, certificate: bytes, conclusion: dict[str, Any], source: str = "model") -> list[Check]:
    """Compare a conclusion document with what is computed here.

    **Raises** `InputError` for a model that is not one.
    """
    network = decode(model, source)
    explanation = json.loads(certificate)
    c = circuit(network)
    rules, fit = _rules(c, explanation)
    checks = _audit_quadrature(c, rules, explanation, conclusion, fit)
    checks += _audit_fixed_point(c, conclusion)
    checks += _audit_inputs(c, rules, explanation, conclusion, fit)
    return checks


def _audit_quadrature(
    c: Circuit, rules: list[_Rule], certificate: dict[str, Any], conclusion: dict[str, Any], fit: float
) -> list[Check]:
    checks = []
    for entry in conclusion["quadrature"]:
        k = entry["frequency"]
        boxes = next(box for box in certificate["boxes"] if box["frequency"] == k)
        found = quadrature([rule for rule in rules if rule.frequency == k], boxes, c.p, fit)
        if found is None:
            detail = "not audited: its moment vanishes, rounding decides the direction"
            checks.append(Check(f"Theorem Q, frequency {k}", "", "", True, detail))
            continue
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
        bound, least = float(_dyadic(entry["bound"])), min(found.rectangle[0], found.harmonic[0], found.arc_sum[0])
        agrees = abs(bound - least) <= found.tolerance + SLACK
        checks.append(
            Check(f"Theorem Q, frequency {k}, bound", _text(bound), _text(least), agrees, "the least of them")
        )
    return checks


def _audit_fixed_point(c: Circuit, conclusion: dict[str, Any]) -> list[Check]:
    signed, (audited, _) = _dyadic(conclusion["logits"]["budget"]["fixed_point"]), _fixed_point(c)
    agrees = audited * Fraction(999, 1000) <= signed <= FIXED_POINT_FACTOR * audited
    detail = f"between the audited value and {FIXED_POINT_FACTOR} times it"
    return [Check("Lemma K, κ", _text(signed), _text(audited), agrees, detail)]


def _inputs(p: int) -> list[tuple[int, int]]:
    everything = [(a, b) for a in range(p) for b in range(p)]
    return everything if p <= ALL_INPUTS else random.Random(p).sample(everything, SAMPLE)  # noqa: S311


def _audit_inputs(
    c: Circuit, rules: list[_Rule], certificate: dict[str, Any], conclusion: dict[str, Any], fit: float
) -> list[Check]:
    """Margins and the distance from the closed form, at every input or at a sample."""
    p, logits = c.p, Logits(c)
    inputs = _inputs(p)
    form = closed_form(c, certificate, rules)
    accuracy = conclusion["accuracy"]
    listed = {(x["a"], x["b"]): _dyadic(x["margin"]) for x in accuracy["uncertified"]}
    all_listed = accuracy["uncertified_inputs"] == len(listed)
    penalty = 2 * _dyadic(accuracy["floating_point"])
    claimed = _dyadic(accuracy["min_margin"])
    margins: list[Fraction] = []
    deviation, right, false = 0.0, 0, []
    for a, b in inputs:
        values = logits.at(a, b)
        target = (a + b) % p
        margin = (values[target] - max(x for t, x in enumerate(values) if t != target)) * logits.unit
        margins.append(margin)
        right += margin > 0
        certified = all_listed and (a, b) not in listed
        if listed.get((a, b), claimed) + penalty > margin or (certified and margin <= penalty):
            false.append((a, b))
        gaps = []
        for t in range(p):
            ideal = sum(
                (row[(a - b) % p] * cmath.exp(2j * math.pi * (k * (t - a - b) % p) / p)).real for k, row in form.items()
            )
            gaps.append(float((values[t] - values[0]) * logits.unit) - ideal)
        deviation = max(deviation, (max(gaps) - min(gaps)) / 2)
    whole = len(inputs) == p * p
    where = "every input" if whole else f"{len(inputs)} inputs"
    checks = [
        Check(
            f"Theorem A, margins at {where}",
            _text(claimed),
            _text(min(margins) - penalty),
            not false,
            "no bound above the exact margin less Theorem F" + (f": false at {false[0]}" if false else ""),
        )
    ]
    if whole:
        detail = "no more inputs than have the right logit on top"
        agrees = accuracy["certified_inputs"] <= right
        checks.append(Check("Theorem A, inputs", str(accuracy["certified_inputs"]), str(right), agrees, detail))
    tolerance = 3 * fit * sum(sum(rule.alpha) for rule in rules)
    bound = float(_dyadic(conclusion["logits"]["max_error"]))
    agrees = deviation <= bound + tolerance + SLACK * bound
    detail = f"max_error is not below the exact distance at {where}"
    checks.append(Check("Theorem L, max_error", _text(bound), _text(deviation), agrees, detail))
    if whole and "true_min_margin" in accuracy:
        low, high = map(_dyadic, accuracy["true_min_margin"])
        agrees = low <= min(margins) <= high
        checks.append(
            Check("exhaustive, least margin", f"[{_text(low)}, {_text(high)}]", _text(min(margins)), agrees, "enclosed")
        )
    if whole and "max_deviation" in accuracy:
        below, above = map(float, map(_dyadic, accuracy["max_deviation"]))
        agrees = below - tolerance <= deviation <= above + tolerance
        checks.append(
            Check("exhaustive, distance", f"[{_text(below)}, {_text(above)}]", _text(deviation), agrees, "enclosed")
        )
    return checks
