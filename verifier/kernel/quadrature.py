"""Theorem Q: the neurons of one frequency as a quadrature rule, and three certified bounds of its error
(docs/theory.md §3).

Neuron i has weight w_i = α_i·|ω_i|, node φ_i and output angle ψ_i = arg ω_i (ω at its family's frequency). The rule
Σ_i w_i·e(ψ_i)·ReLU(cos 2π(v + φ_i)) stands for the integral (W/3π)·e(c)·e(−2v), W = Σ w_i, c the common phase of ψ_i
− 2φ_i. Errors are normalised to W = 2π, as in arXiv 2412.03773; 4/(3π) is the naive bound.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from verifier.kernel.balls import (
    Ball,
    ComplexBall,
    ball,
    complex_ball,
    fixed_point,
    greatest,
    least_upper,
    modulus,
    pi,
    proved_le,
    scaled_ceiling,
    square_root,
    total,
    turn,
    with_precision,
)
from verifier.kernel.certificate import Boxes
from verifier.kernel.cost import Cost
from verifier.kernel.limits import MOMENTS, PHASE_BITS
from verifier.kernel.reasons import Reason, require

BOUND_BITS = 40  # bounds leave as upper bounds in units of 2^-40
CIRCLE = 1 << PHASE_BITS


@dataclass(frozen=True, slots=True)
class Node:
    """One neuron of the rule: φ in units of 2^-32 turn, ω in lane units, α = amplitude·2^shift in pre-activation
    units.
    """

    phase: int
    amplitude: int
    shift: int
    re: int
    im: int


@dataclass(frozen=True, slots=True)
class Rule:
    """The quadrature rule of one frequency, in balls, nodes in order of phase.

    **Fields**

    - `weights` (w), `points` (e(φ)), `outputs` (w·e(ψ)), `twice` (e(2φ)), `phases` (exact); `total` W.
    - `direction`: e(c), the direction of the moment Q_−2.
    """

    phases: list[int]
    weights: list[Ball]
    points: list[ComplexBall]
    outputs: list[ComplexBall]
    total: Ball
    direction: ComplexBall


@dataclass(frozen=True, slots=True)
class Quadrature:
    """Theorem Q for one frequency. Bounds are upper bounds in units of 2^-40, normalised to W = 2π.

    **Fields**

    - `rectangle`, `harmonic`: for every phase offset v; `arc_sum`: for the offsets of the p² inputs. `bound`: the
      least.
    - `relative_bound`: `bound` over 4/(3π).
    - `weight`: upper bound of W; `lens`: the rule's value, times e(2v), at v = m/2p for m = 0..2p−1; `integral`: its
      limit. All three in units of the packed sums (`ArcSums`), each part off by at most one unit.
    """

    frequency: int
    neurons: int
    rectangle: int
    harmonic: int
    arc_sum: int
    bound: int
    relative_bound: int
    weight: int
    lens: list[tuple[int, int]]
    integral: tuple[int, int]


def _rule(nodes: Sequence[Node], frequency: int) -> Rule:
    ordered = sorted(nodes, key=lambda node: node.phase)
    points = [turn(node.phase, CIRCLE) for node in ordered]
    alphas = [_amplitude(node) for node in ordered]
    outputs = [complex_ball(ball(node.re), ball(node.im)) * alpha for node, alpha in zip(ordered, alphas, strict=True)]
    weights = [
        square_root(node.re * node.re + node.im * node.im) * alpha for node, alpha in zip(ordered, alphas, strict=True)
    ]
    whole = total(weights)
    require(proved_le(ball(1), whole), Reason.EMPTY, f"frequency {frequency}: its neurons write nothing at it")
    moment = complex_ball(0, 0)
    for output, point in zip(outputs, points, strict=True):
        moment = moment + output * (point * point).conjugate()
    size = modulus(moment)
    direction = moment / size if proved_le(ball(1), size) else complex_ball(1, 0)
    return Rule([node.phase for node in ordered], weights, points, outputs, whole, direction)


def _amplitude(node: Node) -> Ball:
    power = ball(1 << abs(node.shift))
    return ball(node.amplitude) * power if node.shift >= 0 else ball(node.amplitude) / power


def _angle(rule: Rule) -> Ball:
    """Σ w_i·|e(ψ_i) − e(2φ_i + c)|: what the output angles cost, at most."""
    return total(
        modulus(output - rule.direction * (point * point) * weight)
        for output, point, weight in zip(rule.outputs, rule.points, rule.weights, strict=True)
    )


def _boxes(positions: Sequence[Ball], widths: Sequence[Ball], start: Ball) -> Ball:
    """Σ_i ∫ |x − φ_i| dx over box i, boxes laid side by side from `start`; positions and widths in turns.

    Inside the box the integral is ((v_i − φ)² + (φ − v_{i−1})²)/2, outside it |(v_i − φ)² − (v_{i−1} − φ)²|/2. Both are
    F(v_i) − F(v_{i−1}) for the antiderivative F(x) = (x − φ)·|x − φ|/2 of |x − φ|, so no case can be mistaken.
    """
    left = start
    areas = []
    for position, width in zip(positions, widths, strict=True):
        right = left + width
        before, after = left - position, right - position
        areas.append((after * abs(after) - before * abs(before)) / ball(2))
        left = right
    return total(areas)


def _rectangle(rule: Rule, boxes: Boxes, angle: Ball) -> Ball:
    """The paper's method: sup |h′| = 2 for h = ReLU(cos)·cos, boxes of width w_i on the circle; and its split form.

    Split: ReLU(x) = x/2 + |x|/2. The identity half has no integral and only the modes ±1: it is at most
    (|Q_1| + |Q_−1|)/4. The other half has period ½ turn, so boxes of width w_i/2 on the half circle serve, twice.
    """
    two_pi = ball(2) * pi()
    share = [weight / rule.total for weight in rule.weights]
    whole_nodes = [ball(phase) / ball(CIRCLE) for phase in rule.phases]
    start = ball(_nearest(boxes.whole, rule.phases[0], CIRCLE)) / ball(CIRCLE)
    scale = two_pi * two_pi
    plain = ball(2) * scale * _boxes(whole_nodes, share, start) + angle

    half = CIRCLE >> 1
    order = sorted(range(len(rule.phases)), key=lambda i: rule.phases[i] % half)
    folded = [rule.phases[i] % half for i in order]
    half_start = ball(_nearest(boxes.half % half, folded[0], half)) / ball(CIRCLE)
    half_nodes = [ball(phase) / ball(CIRCLE) for phase in folded]
    half_share = [share[i] / ball(2) for i in order]
    moments = modulus(_moment(rule, 1)) + modulus(_moment(rule, -1))
    identity = moments * two_pi / rule.total / ball(4)
    split = identity + ball(2) * scale * _boxes(half_nodes, half_share, half_start) + angle / ball(2)
    return least_upper([plain, split])


def _nearest(start: int, first: int, period: int) -> int:
    """`start` moved by whole periods to within half a period of the first node (any choice is sound)."""
    return start - period * ((2 * (start - first) + period) // (2 * period))


def _moment(rule: Rule, mode: int) -> ComplexBall:
    """Q_m = Σ w_i·e(ψ_i + m·φ_i), for m = 1 or −1."""
    result = complex_ball(0, 0)
    for output, point in zip(rule.outputs, rule.points, strict=True):
        result = result + output * (point if mode == 1 else point.conjugate())
    return result


def _harmonic(rule: Rule) -> Ball:
    """Aliasing: Σ over modes m ≠ −2 of |ĥ_m|·|Q_m|, the angle error at m = −2, and the tail.

    ReLU(cos 2πx) has ĥ_0 = 1/π, ĥ_±1 = 1/4, |ĥ_m| = 1/(π(m² − 1)) for even m, and Σ_{|m|>M} |ĥ_m| = 1/(π(M + 1)) for
    even M.
    """
    up = list(rule.outputs)
    down = list(rule.outputs)
    squares = [point * point for point in rule.points]
    inverses = [square.conjugate() for square in squares]
    error = (modulus(_moment(rule, 1)) + modulus(_moment(rule, -1))) / ball(4)
    zero = complex_ball(0, 0)
    error = error + modulus(sum(up, zero)) / pi()
    for mode in range(2, MOMENTS + 1, 2):
        up = [x * square for x, square in zip(up, squares, strict=True)]
        down = [x * inverse for x, inverse in zip(down, inverses, strict=True)]
        plus, minus = sum(up, zero), sum(down, zero)
        if mode == 2:
            minus = minus - rule.direction * rule.total
        error = error + (modulus(plus) + modulus(minus)) / (pi() * ball(mode * mode - 1))
    error = error + rule.total / (pi() * ball(MOMENTS + 1))
    return error * ball(2) * pi() / rule.total


def _lens(rule: Rule, p: int) -> list[ComplexBall]:
    """e(2v)·Σ_i w_i·e(ψ_i)·ReLU(cos 2π(v + φ_i)) at v = m/2p, m = 0..2p−1, by prefix sums over the sorted nodes."""
    count = len(rule.phases)
    ahead, behind = [complex_ball(0, 0)], [complex_ball(0, 0)]
    for output, point in zip(rule.outputs * 2, rule.points * 2, strict=True):
        ahead.append(ahead[-1] + output * point)
        behind.append(behind[-1] + output * point.conjugate())
    values = []
    for m in range(2 * p):
        # cos >= 0 on φ in [−¼ − v, ¼ − v]; at the ends it is 0, so that ties do not matter.
        first = -(-CIRCLE * ((-p - 2 * m) % (4 * p)) // (4 * p))
        last = -(-CIRCLE * ((p - 2 * m) % (4 * p)) // (4 * p))
        low, high = bisect_left(rule.phases, first), bisect_left(rule.phases, last)
        high += count if last <= first else 0
        forward = (ahead[high] - ahead[low]) * turn(3 * m, 2 * p)
        values.append((forward + (behind[high] - behind[low]) * turn(m, 2 * p)) / ball(2))
    return values


@with_precision
def moment(nodes: Sequence[Node]) -> tuple[int, int]:
    """Q_−2 = Σ α·ω·e(−2φ) of one family, each part in lane units and off by at most one."""
    result = complex_ball(0, 0)
    for node in nodes:
        back = turn(-2 * node.phase, CIRCLE)
        result = result + complex_ball(ball(node.re), ball(node.im)) * _amplitude(node) * back
    return fixed_point(result.real, 0), fixed_point(result.imag, 0)


@with_precision
def quadrature(frequency: int, nodes: Sequence[Node], boxes: Boxes, p: int, cost: Cost) -> Quadrature:
    """Theorem Q for one frequency: the three methods, and the lens the closed form of the logits is made of.

    **Raises** `Rejected(EMPTY)` when the neurons write nothing at the frequency, `Rejected(NOT_PROVED)` when a ball
    is not finite.
    """
    rule = _rule(nodes, frequency)
    two_pi = ball(2) * pi()
    angle = _angle(rule) * two_pi / rule.total
    rectangle = _rectangle(rule, boxes, angle)
    harmonic = _harmonic(rule)
    values = _lens(rule, p)
    integral = rule.direction * rule.total / (ball(3) * pi())
    arc_sum = greatest(modulus(value - integral) for value in values) * two_pi / rule.total
    bound = least_upper([rectangle, harmonic, arc_sum])
    n = len(nodes)
    cost.add("quadrature: rectangle", 30 * n)
    cost.add("quadrature: harmonic", 2 * n * MOMENTS)
    cost.add("quadrature: arc sum", 4 * n + 20 * p)
    return Quadrature(
        frequency=frequency,
        neurons=n,
        rectangle=scaled_ceiling(rectangle, BOUND_BITS),
        harmonic=scaled_ceiling(harmonic, BOUND_BITS),
        arc_sum=scaled_ceiling(arc_sum, BOUND_BITS),
        bound=scaled_ceiling(bound, BOUND_BITS),
        relative_bound=scaled_ceiling(bound * ball(3) * pi() / ball(4), BOUND_BITS),
        weight=scaled_ceiling(rule.total, 0),
        lens=[(fixed_point(value.real, 0), fixed_point(value.imag, 0)) for value in values],
        integral=(fixed_point(integral.real, 0), fixed_point(integral.imag, 0)),
    )
