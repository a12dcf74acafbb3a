"""One case in a process of its own: `python -m benchmarks.measure FOLDER ROUNDS ROWS METHOD…` prints JSON.

The methods take turns; the least processor time of each counts. Brute force that would take too long is measured on
`ROWS` values of a, evenly spread, and what is not folding is scaled.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from benchmarks.brute import exhaustive, tables
from benchmarks.learned import learned
from verifier.model import FoldedCircuit, Model, Softmax, decode

STAGES = {
    "read": ("read_model", "read_certificate"),
    "fold, quantise": ("fold", "quantise"),
    "Theorem F": ("logit_rounding",),
    "event sums": ("_sums",),
    "dense pass": ("learned_sums",),
    "quadrature": ("written", "_quadratures"),
    "closed form": ("closed_form",),
    "logits": ("logits",),
}
METHODS = {
    "check": None,
    "float64": (np.float64, False),
    "float32": (np.float32, False),
    "float64, stream": (np.float64, True),
    "float32, stream": (np.float32, True),
}
Spent = dict[str, float]


def _timed(function: Callable[..., Any], stage: str, spent: Spent) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[stage] = spent.get(stage, 0.0) + time.process_time() - start

    return wrapped


def peak_bytes() -> int:
    """Of this process."""
    line = next(x for x in Path("/proc/self/status").read_text("utf-8").splitlines() if x.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def blas() -> str:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown (threadpoolctl is not installed)"
    return ", ".join(f"{x['internal_api']} {x['version']} {x.get('architecture', '')}" for x in threadpool_info())


def is_learned(source: Model | FoldedCircuit) -> TypeGuard[Model]:
    return isinstance(source, Model) and isinstance(source.attention, Softmax)


def measure(folder: Path, rounds: int, rows: int, methods: list[str]) -> dict[str, Any]:
    model, claim, certificate = ((folder / name).read_bytes() for name in ("model", "claim", "certificate"))
    module, spent = importlib.import_module("verifier.kernel.check"), Spent()
    for stage, names in STAGES.items():
        for name in names:
            setattr(module, name, _timed(getattr(module, name), stage, spent))
    source = decode(model, "model")
    p = source.p
    chosen = [index * p // min(rows, p) for index in range(min(rows, p))]
    least, stages, result = dict.fromkeys(methods, float("inf")), Spent(), dict[str, Any]()
    for _ in range(rounds):
        for method in methods:
            kind = METHODS[method]
            if kind is None:
                spent.clear()
                start = time.process_time()
                conclusion = module.check(model, claim, certificate).conclusion
                taken = time.process_time() - start
                stages = {name: min(stages.get(name, x), x) for name, x in spent.items()}
                result.setdefault("peak_bytes", peak_bytes())
                result |= {
                    "parameters": conclusion.parameters,
                    "events": conclusion.events,
                    "certified": conclusion.accuracy.certified_inputs,
                    "directions": conclusion.explanation["directions"],
                    "margin": conclusion.accuracy.min_margin.mantissa * 2.0**conclusion.accuracy.min_margin.exponent,
                }
            else:
                start = time.process_time()
                made = learned(source, kind[0]) if is_learned(source) else tables(source, *kind)
                folded = time.process_time()
                brute = exhaustive(made, chosen)
                taken = folded - start + (time.process_time() - folded) * p / len(chosen)
                result.setdefault("brute", {})[method] = [
                    brute.certified / (len(chosen) * p),
                    float(brute.margins.min()),
                ]
            least[method] = min(least[method], taken)
    stream = isinstance(source, Model)
    return result | {"seconds": least, "stages": stages, "blas": blas(), "p": p, "transformer": stream}


if __name__ == "__main__":
    where, count, some, *names = sys.argv[1:]
    print(json.dumps(measure(Path(where), int(count), int(some), names)))
