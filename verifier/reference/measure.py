"""One measurement of the benchmark, in a process of its own: `python -m verifier.reference.measure FOLDER METHOD ROWS`.

Prints one JSON object: processor seconds, peak memory, inputs certified. Brute force that would take too long is
measured on `ROWS` of the p values of a, evenly spread, less its fixed cost (measured on none), and scaled.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MODEL, CERTIFICATE, CLAIM = "model.safetensors", "certificate.json", "claim-{strategy}.json"
KERNEL = {"linear": "linear", "refined": "refined", "kernel exhaustive": "exhaustive"}
BRUTE = ("float64", "float32", "integers", "balls")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one method cost on one circuit.

    **Fields**

    - `seconds`: of one processor. `sampled`: the share of the inputs that was evaluated; 1 unless scaled.
    - `peak_bytes`: of the process, with the interpreter, the libraries and the circuit.
    - `certified`: of the inputs evaluated. `operations`: by the kernel's own count; None for others.
    """

    seconds: float
    sampled: float
    peak_bytes: int
    certified: int
    operations: int | None


def measure(folder: Path, method: str, rows: int) -> Measurement:
    return _kernel(folder, method) if method in KERNEL else _brute(folder, method, rows)


def _peak() -> int:
    """Peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux includes the parent's
        line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _kernel(folder: Path, method: str) -> Measurement:
    from verifier.kernel import check

    model, certificate, claim = (
        (folder / name).read_bytes() for name in (MODEL, CERTIFICATE, CLAIM.format(strategy=KERNEL[method]))
    )
    start = time.process_time()
    conclusion = check(model, claim, certificate)
    seconds = time.process_time() - start
    operations = sum(conclusion.operations.values())
    return Measurement(seconds, 1.0, _peak(), conclusion.accuracy.certified_inputs, operations)


def _brute(folder: Path, method: str, count: int) -> Measurement:
    from verifier.model import fold, read_native

    circuit = fold(read_native(folder / MODEL))
    evaluate = _evaluator(method)
    p = circuit.p
    count = min(count, p)
    chosen = [index * p // count for index in range(count)]
    fixed = 0.0
    if count < p:
        start = time.process_time()
        evaluate(circuit, [])
        fixed = time.process_time() - start
    start = time.process_time()
    certified = evaluate(circuit, chosen)
    seconds = fixed + (time.process_time() - start - fixed) * p / count
    return Measurement(seconds, count / p, _peak(), certified, None)


def _evaluator(method: str) -> Callable[[object, Sequence[int]], int]:
    """Evaluates the rows a and returns how many of their inputs are certified."""
    import numpy as np

    from verifier.reference import balls_exhaustive, float64, integers

    evaluators: dict[str, Callable[..., int]] = {
        "float64": lambda circuit, rows: float64.exhaustive(circuit, np.float64, rows).certified,
        "float32": lambda circuit, rows: float64.exhaustive(circuit, np.float32, rows).certified,
        "integers": lambda circuit, rows: sum(x > 0 for row in integers.exhaustive(circuit, rows) for x in row),
        "balls": lambda circuit, rows: sum(x > 0 for row in balls_exhaustive.exhaustive(circuit, rows) for x in row),
    }
    return evaluators[method]


def main(arguments: Sequence[str]) -> int:
    folder, method, rows = arguments
    result = measure(Path(folder), method, int(rows))
    print(json.dumps({name: getattr(result, name) for name in Measurement.__slots__}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
