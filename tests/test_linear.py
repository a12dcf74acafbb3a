"""Linear means linear: operations per parameter stay bounded as p and n grow; and the fast parts of the linear pass
give, bit for bit, what their slow and obvious versions give.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import accumulate
from math import isqrt
from operator import mul
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.explain.search import certificate_bytes, explain, read
from verifier.kernel import Conclusion, check
from verifier.kernel import arcs as kernel_arcs
from verifier.kernel import logits as kernel_logits
from verifier.kernel.arcs import ArcSums, abs_bound, abs_bounds, sum_arcs
from verifier.kernel.certificate import Certificate, read_certificate
from verifier.kernel.check import quadratures
from verifier.kernel.circuit import Circuit, fold, quantise
from verifier.kernel.cost import Cost
from verifier.kernel.limits import TABLE_BITS
from verifier.kernel.logits import Input, _margins, _Terms, columns_at, directions, inputs_at
from verifier.kernel.model_file import read_model
from verifier.kernel.packing import pack, pack_wide, unpack, unpack_columns, unpack_wide
from verifier.kernel.tables import circle
from verifier.model import encode_circuit
from verifier.reference.benchmark import EFFORT
from verifier.reference.synthetic import synthetic

MOST = 1200
"""Operations per parameter with an explanation of the benchmark's size, for any shape of circuit: below 200 per weight
of a neuron; and about 2000 per input, which is two parameters, with few neurons.
"""


def files(p: int, neurons: int) -> tuple[bytes, bytes, bytes]:
    """Model, claim and certificate of a synthetic circuit."""
    circuit = synthetic(p, neurons)
    model = encode_circuit(circuit)
    digest = hashlib.sha256(model).hexdigest()
    reading = read(circuit)
    claim = {
        "format": "verifier-claim/1",
        "task": "(a + b) mod p",
        "p": p,
        "model_sha256": digest,
        "strategy": "linear",
        "semantics": "real",
        "certified_inputs": 0,
        "refinement_budget": 0,
    }
    return model, json.dumps(claim).encode(), certificate_bytes(reading, explain(reading, EFFORT), digest)


def checked(p: int, neurons: int) -> Conclusion:
    return check(*files(p, neurons))


def per_parameter(conclusion: Conclusion) -> float:
    return sum(conclusion.operations.values()) / conclusion.parameters


def test_operations_per_parameter_are_bounded_as_the_circuit_grows() -> None:
    in_proportion = [per_parameter(checked(p, 4 * p)) for p in (59, 113, 199)]
    assert max(in_proportion) < 1.5 * min(in_proportion)
    few_neurons = [per_parameter(checked(p, 48)) for p in (113, 499)]
    assert max(in_proportion + few_neurons) < MOST


def test_operations_grow_in_proportion_to_the_neurons() -> None:
    few, many = checked(61, 128), checked(61, 512)
    grown = sum(many.operations.values()) - sum(few.operations.values())
    assert grown < MOST * (many.parameters - few.parameters)


@pytest.fixture(scope="module")
def case() -> tuple[Circuit, Certificate, ArcSums]:
    model, _, certificate = files(17, 64)
    source = read_model(model)
    circuit = quantise(fold(source), source.p, Cost())
    explanation = read_certificate(certificate)
    return circuit, explanation, sum_arcs(circuit, explanation, Cost(), _silent)


def _silent(step: str, done: int, total: int) -> None:
    pass


def _slow_arcs(
    part: list[list[int]],
    levels: Sequence[Any],
    steps: Any,
    inputs: Any,
    signals: list[int],
    spreads: list[int],
    counts: list[int],
    stride: int,
) -> None:
    """Each arc of each level at each x, neuron by neuron: in it or not."""
    size, p = len(counts) // 3, len(part)
    cells = [cell for cell in range(size) for _ in range(counts[cell + 1] - counts[cell])]
    place = list(range(2 * size + 1))
    for level, slots in enumerate(levels):
        for slot in slots:
            for delta, first, last in zip(slot.deltas, slot.first(place), slot.last(place), strict=True):
                for x in range(p):
                    for i, cell in enumerate(cells):
                        if (cell + stride * x - first) % size < last - first:
                            part[x][delta] += spreads[i] * steps[level][x][i]
                            if level == len(levels) // 2:
                                part[x][delta] += signals[i] * inputs[x][i]


def test_arcs_are_summed_as_neuron_by_neuron(
    case: tuple[Circuit, Certificate, ArcSums], monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit, certificate, arc = case
    monkeypatch.setattr(kernel_arcs, "_add_arcs", _slow_arcs)
    slow = sum_arcs(circuit, certificate, Cost(), _silent)
    assert arc.sums.part_a == slow.sums.part_a
    assert arc.sums.part_b == slow.sums.part_b


def test_columns_are_turned_as_input_by_input(case: tuple[Circuit, Certificate, ArcSums]) -> None:
    circuit, certificate, arc = case
    p, frequencies, table = circuit.p, certificate.output_frequencies, circle(circuit.p)
    count = len(frequencies)
    for delta in range(p):
        found = inputs_at(arc, frequencies, delta)
        sums = [
            unpack(arc.sums.part_a[(b + delta) % p][delta] + arc.sums.part_b[b][delta], arc.sums.lanes)
            for b in range(p)
        ]
        largest = [max(abs(lanes[lane]) for lanes in sums) for lane in range(2 * count)]
        for b, (x, lanes) in enumerate(zip(found, sums, strict=True)):
            a = (b + delta) % p
            for index, j in enumerate(frequencies):
                re, im = lanes[2 * index], lanes[2 * index + 1]
                m = j * (a + b) % p
                turned = [
                    (re * table.cosines[m] - im * table.sines[m]) >> TABLE_BITS,
                    (re * table.sines[m] + im * table.cosines[m]) >> TABLE_BITS,
                ]
                assert x.turned[2 * index : 2 * index + 2] == turned
                error = (largest[2 * index] + largest[2 * index + 1]) >> (TABLE_BITS - 1)
                assert x.radii[index] == lanes[2 * count + index] + error + 3
            assert (x.rest, x.over) == (2 * lanes[3 * count], 0)


def _slow_margins(
    inputs: list[Input], rows: Sequence[Sequence[int]], critical: int, needed: int
) -> tuple[list[int], int]:
    """Theorem A for one δ, a dot product at a time."""
    columns = list(zip(*(x.turned for x in inputs), strict=True))
    centre = [(max(column) + min(column)) >> 1 for column in columns]
    discs = []
    for j in range(0, len(columns), 2):
        x, y = centre[j], centre[j + 1]
        most = max((re - x) ** 2 + (im - y) ** 2 for re, im in zip(columns[j], columns[j + 1], strict=True))
        discs.append(isqrt(most) + 1 + max(z.radii[j // 2] for z in inputs))
    tail = (max(x.rest for x in inputs) << TABLE_BITS) + sum(map(abs, centre))
    bounds = sorted((sum(map(mul, [*centre, *discs, tail], row)), d) for d, row in enumerate(rows))
    size = sum(max(map(abs, column)) for column in columns)
    vectors = [[*x.turned, *x.radii, (x.rest << TABLE_BITS) + size] for x in inputs]
    found = [max(bounds[-1][0], needed) + 1] * len(inputs)
    evaluated = 0
    for bound, d in bounds:
        if evaluated == critical or (evaluated > 0 and bound > needed and bound >= min(found)):
            return [min(bound, y) for y in found], evaluated
        found = [min(y, sum(map(mul, vector, rows[d]))) for y, vector in zip(found, vectors, strict=True)]
        evaluated += 1
    return found, evaluated


@pytest.mark.parametrize("critical", [0, 1, 3, 64])
def test_margins_are_those_of_dot_products(case: tuple[Circuit, Certificate, ArcSums], critical: int) -> None:
    circuit, certificate, arc = case
    toward = directions(circuit.p, certificate.output_frequencies)
    for delta in range(circuit.p):
        columns = columns_at(arc, certificate.output_frequencies, delta)
        rows = inputs_at(arc, certificate.output_frequencies, delta)
        assert _margins(columns, toward, critical, False, 0) == _slow_margins(rows, toward.rows, critical, 0)


def _slow_terms(terms: _Terms, inputs: list[Input], delta: int) -> None:
    """Theorem L's terms, input by input."""
    p = terms.p
    table = circle(2 * p)
    slacks = {
        k: max(
            ((abs(re - rule.integral[0]) + abs(im - rule.integral[1])) >> (TABLE_BITS - 2)) + 16 for re, im in rule.lens
        )
        for k, rule in terms.rules.items()
    }
    for b, x in enumerate(inputs):
        a = (b + delta) % p
        distance = 0
        for index, j in enumerate(terms.frequencies):
            re, im = x.turned[2 * index], x.turned[2 * index + 1]
            if j not in terms.rules:
                terms.other[j] = max(terms.other[j], abs_bound(re, im))
                distance += abs_bound(re, im)
                continue
            form_re, form_im, error = terms.form.terms[j][delta]
            re, im = re - form_re, im - form_im
            distance += abs_bound(re, im) + error
            rule, wave = terms.rules[j], table.cosines[j * (a - b) % (2 * p)]
            at = (j * (a + b) + (0 if wave >= 0 else p)) % (2 * p)
            lens_re, lens_im = (rule.lens[at][part] - rule.integral[part] for part in (0, 1))
            pure_re, pure_im = (4 * abs(wave) * part >> TABLE_BITS for part in (lens_re, lens_im))
            rest = isqrt((re - pure_re) ** 2 + (im - pure_im) ** 2) + 1
            terms.profile[j] = max(terms.profile[j], rest + error + slacks[j])
            reach = abs_bound(x.turned[2 * index] - form_re, x.turned[2 * index + 1] - form_im)
            terms.network[j] = max(terms.network[j], reach + error + x.radii[index])
        band, half = sum(x.radii), (x.rest + 1) >> 1
        terms.band, terms.rest = max(terms.band, band), max(terms.rest, half)
        terms.direct = max(terms.direct, distance + band + half)


def test_terms_are_those_of_single_inputs(case: tuple[Circuit, Certificate, ArcSums]) -> None:
    circuit, certificate, arc = case
    rules, form = quadratures(circuit, arc, certificate, Cost())
    fast, slow = (_Terms(rules, form, certificate.output_frequencies, circuit.p) for _ in range(2))
    for delta in range(circuit.p):
        fast.add(columns_at(arc, certificate.output_frequencies, delta), delta)
        _slow_terms(slow, inputs_at(arc, certificate.output_frequencies, delta), delta)
    for name in ("profile", "network", "other", "band", "rest", "direct"):
        assert getattr(fast, name) == getattr(slow, name)


WIDE = st.lists(st.integers(-(2**126) + 1, 2**126 - 1), min_size=1, max_size=9)
NARROW = st.integers(-(2**63) + 1, 2**63 - 1)


@given(WIDE)
def test_wide_lanes_round_trip(values: list[int]) -> None:
    assert unpack_wide(sum(x << (128 * lane) for lane, x in enumerate(values)), len(values)) == values


@given(st.lists(NARROW, min_size=1, max_size=9))
def test_numbers_are_packed_into_wide_lanes(values: list[int]) -> None:
    assert pack_wide(values) == sum(x << (128 * lane) for lane, x in enumerate(values))


@given(st.lists(st.tuples(NARROW, NARROW, NARROW), min_size=1, max_size=9))
def test_columns_are_unpacked_as_rows(rows: list[tuple[int, int, int]]) -> None:
    columns = unpack_columns(map(pack, rows), 3)
    assert columns == [list(column) for column in zip(*(unpack(pack(row), 3) for row in rows), strict=True)]


@given(st.lists(st.tuples(NARROW, NARROW), min_size=1, max_size=9))
def test_sizes_are_bounded_as_one_by_one(pairs: list[tuple[int, int]]) -> None:
    re, im = ([pair[part] for pair in pairs] for part in (0, 1))
    assert abs_bounds(re, im) == [abs_bound(x, y) for x, y in pairs]
    assert all(size * size >= x * x + y * y for size, (x, y) in zip(abs_bounds(re, im), pairs, strict=True))


@given(
    st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=5),
    st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=5),
    st.integers(0, 9),
    st.integers(-(2**24), 2**24),
)
def test_the_greatest_excess_is_that_of_the_lists(a: list[int], b: list[int], error: int, threshold: int) -> None:
    r = kernel_arcs.Residual(a, b, error, amplitude=3, shift=7)
    lists = [*r.excess(threshold, True), *r.excess(threshold, False)]
    assert r.most(threshold) == max(map(max, lists))


def test_counts_go_around_three_times() -> None:
    cells = [0, 0, 3, 4]
    histogram = [2, 0, 0, 1, 1] * 3
    assert kernel_arcs._counts(cells, 5) == list(accumulate(histogram, initial=0))


def test_waves_are_those_of_the_table() -> None:
    cosines, sines = kernel_logits._around(7, 3, 21)
    table = circle(7)
    assert list(cosines) == [table.cosines[3 * x % 7] for x in range(21)]
    assert list(sines) == [table.sines[3 * x % 7] for x in range(21)]
