"""The benchmark: synthetic circuits, the references it compares with, its arithmetic, and the command."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from verifier.cli import main
from verifier.model import FoldedCircuit
from verifier.reference import balls_exhaustive, float64, integers
from verifier.reference.benchmark import Case, Timing, break_even, fit
from verifier.reference.synthetic import Size, choose_frequencies, synthetic

P, NEURONS = 17, 64


@pytest.fixture(scope="module")
def circuit() -> FoldedCircuit:
    """A synthetic circuit with skips and two outputs beyond p, so that every branch of the references runs."""
    plain = synthetic(P, NEURONS)
    rng = np.random.default_rng(1)
    s1, s2 = (0.001 * rng.standard_normal((P + 2, P)) for _ in range(2))
    w = np.vstack([plain.W, 0.001 * rng.standard_normal((2, NEURONS)).astype(np.float32)])
    return FoldedCircuit(P, plain.A, plain.B, w, s1, s2, {})


@pytest.fixture(scope="module")
def exact(circuit: FoldedCircuit) -> list[list[Fraction]]:
    return integers.exhaustive(circuit)


def test_synthetic_circuits_are_the_same_every_time_and_right_everywhere() -> None:
    first, second = synthetic(P, NEURONS), synthetic(P, NEURONS)
    assert all((x == y).all() for x, y in zip(first.tensors.values(), second.tensors.values(), strict=True))
    assert {table.dtype for table in first.tensors.values()} == {np.dtype(np.float32)}
    assert min(map(min, integers.exhaustive(first))) > 0


@pytest.mark.parametrize(("p", "neurons"), [(18, 64), (11, 64), (17, 40)])
def test_sizes_without_a_synthetic_circuit_are_refused(p: int, neurons: int) -> None:
    with pytest.raises(ValueError, match="no synthetic circuit"):
        synthetic(p, neurons)


def test_frequencies_are_different_and_in_range() -> None:
    chosen = choose_frequencies(31, 6, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 6
    assert 1 <= chosen.min() <= chosen.max() <= 15


def test_exact_integers_are_the_definition(circuit: FoldedCircuit, exact: list[list[Fraction]]) -> None:
    assert circuit.S1 is not None
    assert circuit.S2 is not None
    for a, b in ((0, 0), (3, 16), (16, 5)):
        logits = [
            sum(
                (
                    Fraction(float(circuit.W[c, i]))
                    * max(Fraction(0), Fraction(float(circuit.A[i, a])) + Fraction(float(circuit.B[i, b])))
                    for i in range(NEURONS)
                ),
                Fraction(float(circuit.S1[c, a])) + Fraction(float(circuit.S2[c, b])),
            )
            for c in range(P + 2)
        ]
        right = logits.pop((a + b) % P)
        assert exact[a][b] == right - max(logits)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_floating_point_is_within_its_bound(
    circuit: FoldedCircuit, exact: list[list[Fraction]], dtype: type[np.floating]
) -> None:
    found = float64.exhaustive(circuit, dtype)
    for row, truth in zip(found.margins.tolist(), exact, strict=True):
        for low, margin in zip(row, truth, strict=True):
            assert low <= margin <= low + 4 * found.error
    assert found.certified == sum(margin > 0 for row in exact for margin in row)


def test_sums_too_long_for_float32_have_no_bound() -> None:
    class Long:
        neurons = 1 << 24

    with pytest.raises(ValueError, match="no rounding bound"):
        float64.error_bound(Long(), np.float32)  # type: ignore[arg-type]


def test_rows_can_be_chosen(circuit: FoldedCircuit, exact: list[list[Fraction]]) -> None:
    assert integers.exhaustive(circuit, [3, 7]) == [exact[3], exact[7]]
    whole = float64.exhaustive(circuit).margins
    assert (float64.exhaustive(circuit, rows=[3, 7]).margins == whole[[3, 7]]).all()
    assert float64.exhaustive(circuit, rows=[]).margins.shape == (0, P)


def test_balls_hold_the_exact_margin(circuit: FoldedCircuit, exact: list[list[Fraction]]) -> None:
    unit = Fraction(2) ** integers.tables(circuit).exponent
    for a, row in zip((2, 11), balls_exhaustive.exhaustive(circuit, [2, 11]), strict=True):
        for ball, margin in zip(row, exact[a], strict=True):
            units = margin / unit
            assert units.denominator == 1
            assert ball.contains(units.numerator)


def _case(parameters: int, **seconds: float) -> Case:
    timings = (Timing(method, (time,), time, 0.0, 1.0, 0, 0, 10 * parameters) for method, time in seconds.items())
    return Case(f"synthetic {parameters}", 3, 3, parameters, parameters, tuple(timings))


def test_break_even_is_between_the_sizes_where_the_order_changes() -> None:
    slow_first = [_case(100, linear=10.0, float64=1.0), _case(10_000, linear=1_000.0, float64=10_000.0)]
    assert break_even(slow_first) == pytest.approx(1000)
    assert break_even(slow_first[:1]) is None
    assert break_even(slow_first, "balls") is None


def test_a_power_law_is_fitted_exactly() -> None:
    found = fit([(10.0, 300.0), (100.0, 30_000.0), (1000.0, 3_000_000.0)])
    assert found is not None
    assert found.exponent == pytest.approx(2)
    assert found.factor == pytest.approx(3)
    assert fit([(1.0, 1.0)]) is None


def test_sizes_count_parameters_and_multiply_adds() -> None:
    assert Size(59, 512).parameters == 97_586
    assert Size(59, 512).multiply_adds == 105_154_048


def test_the_command_measures_every_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    words = ["bench", "--quick", "--json", "--most-parameters", "20000", "--out", str(out), "--figures", str(tmp_path)]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert json.loads(out.read_text()) == document
    (case,) = document["cases"]
    assert (case["p"], case["neurons"], case["parameters"]) == (31, 128, 13_826)
    timings = {timing["method"]: timing for timing in case["timings"]}
    assert set(timings) == {"linear", "refined", "kernel exhaustive", "float64", "float32", "integers", "balls"}
    for timing in timings.values():
        assert timing["certified"] == 31 * 31
        assert timing["median"] > 0
        assert timing["peak_bytes"] > 1 << 20
    assert timings["linear"]["operations"] < 500 * case["parameters"]
    for name in ("benchmark-scaling.svg", "benchmark-break-even.svg"):
        assert (tmp_path / name).read_bytes().startswith(b"<?xml")


def test_a_number_of_repeats_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--repeats", "0"]) == 2
    assert "--repeats" in capsys.readouterr().err
