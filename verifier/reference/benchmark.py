"""The benchmark: the checker's linear pass against brute force, on shipped models and on synthetic circuits.

Every measurement is a process of its own with one thread. The methods of a case take turns, several times over, so
that a disturbance of the machine hits all of them; medians are compared. What an explanation may cost is the same for
every size: `EFFORT`, which is the first of the explainer's ladder with fewer shells, cells and critical offsets.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from verifier.explain.search import EFFORTS, certificate_bytes, explain, read
from verifier.files import write_atomically
from verifier.kernel import limits
from verifier.model import CIRCUIT_FORMAT, TASK, FoldedCircuit, encode_circuit, fold, read_native
from verifier.reference.measure import BRUTE, CERTIFICATE, CLAIM, KERNEL, MODEL
from verifier.reference.synthetic import Size, synthetic

EFFORT = replace(EFFORTS[0], shells=0, cells=236, critical_offsets=2)
SIZES: tuple[Size, ...] = (
    Size(31, 128),
    Size(59, 512),
    Size(113, 512),
    Size(251, 1024),
    Size(509, 2048),
    Size(1021, 4096),
    Size(1021, 8192),
)
QUICK = SIZES[:2]
SAMPLE = {"float64": 4 * 10**10, "float32": 4 * 10**10, "integers": 4 * 10**8, "balls": 4 * 10**8}
"""Multiply-adds per measurement of brute force; above, only some of the p values of a are evaluated."""
SMALL = 2 * 10**8
"""Multiply-adds up to which the kernel's own exhaustive strategy takes part."""
REFINED = 10**10
"""Multiply-adds up to which the refined strategy takes part: on these circuits it has nothing to refine."""
EXACT = 10**12
"""Multiply-adds up to which integers and balls take part."""
REPEATS = 5
LONG = 20.0
"""Seconds from which a measurement is not repeated."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Observer = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """One method on one case.

    **Fields**

    - `seconds`: every measurement, in order; `median`, and `spread`: (largest − smallest)/median.
    - `sampled`: the share of the inputs brute force evaluated; its time is scaled to all.
    - `peak_bytes`: the largest; `certified` of the inputs evaluated; `operations` by the kernel's count.
    """

    method: str
    seconds: tuple[float, ...]
    median: float
    spread: float
    sampled: float
    peak_bytes: int
    certified: int
    operations: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """One circuit and its timings; `multiply_adds` is what brute force costs."""

    name: str
    p: int
    neurons: int
    parameters: int
    multiply_adds: int
    timings: tuple[Timing, ...]

    def median(self, method: str) -> float | None:
        return next((timing.median for timing in self.timings if timing.method == method), None)

    def timing(self, method: str) -> Timing:
        return next(timing for timing in self.timings if timing.method == method)


@dataclass(frozen=True, slots=True)
class Fit:
    """seconds, or operations, ≈ `factor`·parameters^`exponent`, by least squares of the logarithms."""

    exponent: float
    factor: float


def run(models: Sequence[Path], sizes: Sequence[Size], repeats: int, observe: Observer) -> list[Case]:
    """Measure every model and every synthetic size."""
    sources: list[Path | Size] = [*models, *sizes]
    total = len(sources)
    cases = []
    for index, source in enumerate(sources):
        observe("bench", index, total)
        with tempfile.TemporaryDirectory() as folder:
            cases.append(_case(source, Path(folder), repeats))
    observe("bench", total, total)
    return cases


def _case(source: Path | Size, folder: Path, repeats: int) -> Case:
    if isinstance(source, Size):
        name, circuit = f"synthetic p={source.p}, n={source.neurons}", synthetic(source.p, source.neurons)
        data = encode_circuit(circuit)
    else:
        name, circuit, data = source.stem, fold(read_native(source)), source.read_bytes()
    _write_case(folder, circuit, data)
    work = circuit.neurons * circuit.p**2 * circuit.outputs
    parameters = circuit.neurons * (2 * circuit.p + circuit.outputs) + 2 * circuit.p * circuit.outputs
    most = {"refined": REFINED, "kernel exhaustive": SMALL, "integers": EXACT, "balls": EXACT}
    methods = [method for method in (*KERNEL, *BRUTE) if work <= most.get(method, work)]
    timings = _timings(folder, methods, circuit.p, work, repeats)
    return Case(name, circuit.p, circuit.neurons, parameters, work, timings)


def _write_case(folder: Path, circuit: FoldedCircuit, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    reading = read(circuit)
    write_atomically(folder / MODEL, data)
    write_atomically(folder / CERTIFICATE, certificate_bytes(reading, explain(reading, EFFORT), digest))
    for strategy in KERNEL.values():
        claim = {
            "format": "verifier-claim/1",
            "task": TASK,
            "p": circuit.p,
            "model_sha256": digest,
            "strategy": strategy,
            "semantics": "real",
            "certified_inputs": 0,
            "refinement_budget": 64,
        }
        write_atomically(folder / CLAIM.format(strategy=strategy), json.dumps(claim).encode("ascii"))


def _timings(folder: Path, methods: Sequence[str], p: int, work: int, repeats: int) -> tuple[Timing, ...]:
    rows = {method: max(2, min(p, SAMPLE[method] * p // work)) if method in SAMPLE else p for method in methods}
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for _ in range(repeats):
        for method in methods:
            if not found[method] or max(x["seconds"] * x["sampled"] for x in found[method]) < LONG:
                found[method].append(_measure(folder, method, rows[method]))
    return tuple(_timing(method, results) for method, results in found.items())


def _measure(folder: Path, method: str, rows: int) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "verifier.reference.measure", str(folder), method, str(rows)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"a measurement of {method} failed: {done.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _timing(method: str, results: Sequence[dict[str, Any]]) -> Timing:
    seconds = tuple(result["seconds"] for result in results)
    median = statistics.median(seconds)
    last = results[-1]
    return Timing(
        method=method,
        seconds=seconds,
        median=median,
        spread=(max(seconds) - min(seconds)) / median,
        sampled=last["sampled"],
        peak_bytes=max(result["peak_bytes"] for result in results),
        certified=last["certified"],
        operations=last["operations"],
    )


def synthetic_cases(cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if case.name.startswith("synthetic")]


def fit(points: Sequence[tuple[float, float]]) -> Fit | None:
    """Least squares through (parameters, y) in logarithms; None for fewer than two points."""
    if len(points) < 2:
        return None
    slope, intercept = statistics.linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points])
    return Fit(slope, math.exp(intercept))


def points(cases: Sequence[Case], method: str) -> list[tuple[float, float]]:
    """(parameters, median seconds) of a method on the synthetic circuits."""
    found = ((case.parameters, case.median(method)) for case in synthetic_cases(cases))
    return [(float(x), y) for x, y in found if y is not None]


def operation_points(cases: Sequence[Case]) -> list[tuple[float, float]]:
    """(parameters, operations of the linear pass) on the synthetic circuits."""
    return [(float(case.parameters), float(case.timing("linear").operations or 0)) for case in synthetic_cases(cases)]


def break_even(cases: Sequence[Case], method: str = "float64") -> float | None:
    """The number of parameters at which the linear pass and a method take the same time, by interpolation of the
    logarithms between sizes; None when one is faster throughout.
    """
    pairs = []
    for case in synthetic_cases(cases):
        ours, theirs = case.median("linear"), case.median(method)
        if ours is not None and theirs is not None:
            pairs.append((math.log(case.parameters), math.log(theirs / ours)))
    for (x, y), (x2, y2) in pairwise(pairs):
        if (y < 0) != (y2 < 0):
            return math.exp(x - y * (x2 - x) / (y2 - y))
    return None


def machine() -> dict[str, str]:
    """The machine and the versions, as far as the system tells."""
    import flint
    import numpy

    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text("utf-8", "replace").splitlines() if "model name" in line]
        processor = models[0].partition(":")[2].strip() if models else processor
    return {
        "processor": processor,
        "processors": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "flint": f"python-flint {flint.__version__}, flint {flint.__FLINT_VERSION__}",
        "numpy": numpy.__version__,
    }


def document(cases: Sequence[Case]) -> dict[str, Any]:
    """Everything as JSON-able data."""
    methods = sorted({timing.method for case in cases for timing in case.timings})
    fits = {method: fit(points(cases, method)) for method in methods}
    operations = fit(operation_points(cases))
    return {
        "format": "verifier-benchmark/1",
        "machine": machine(),
        "effort": asdict(EFFORT),
        "precision_bits": limits.PRECISION,
        "circuit_format": CIRCUIT_FORMAT,
        "cases": [asdict(case) for case in cases],
        "fits": {
            "seconds": {method: asdict(found) for method, found in fits.items() if found is not None},
            "operations": None if operations is None else asdict(operations),
        },
        "break_even_parameters": {method: break_even(cases, method) for method in BRUTE},
    }
