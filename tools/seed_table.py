"""A table of freshly trained models: what the linear pass certifies, what refinement adds, and the truth.

    python tools/seed_table.py MODEL.safetensors ... > table.md

Train the models first, for example `python -m verifier train --p 59 --seed 9 --out seed-9.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from verifier.console import decimal_bound
from verifier.explain.search import choose, read
from verifier.kernel import Conclusion, Dyadic, check
from verifier.model import fold, read_native

HEADER = (
    "model",
    "frequencies",
    "effort",
    "operations per parameter",
    "check, s",
    "linear pass",
    "refined",
    "least margin, linear",
    "least margin, refined",
    "true least margin",
)


def claim(p: int, digest: str, strategy: str, semantics: str) -> bytes:
    document = {
        "format": "verifier-claim/1",
        "task": "(a + b) mod p",
        "p": p,
        "model_sha256": digest,
        "strategy": strategy,
        "semantics": semantics,
        "certified_inputs": 0,
        "refinement_budget": 256,
    }
    return json.dumps(document).encode("ascii")


def lower(value: Dyadic) -> str:
    return decimal_bound(value.mantissa, value.exponent, 4, "lower")


def share(conclusion: Conclusion) -> str:
    accuracy = conclusion.accuracy
    return f"{accuracy.certified_inputs}/{accuracy.total_inputs}"


def row(path: Path) -> list[str]:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    circuit = fold(read_native(path))
    choice = choose(read(circuit), data, digest, "binary32", lambda step, done, total: None)
    start = time.process_time()
    linear = check(data, claim(circuit.p, digest, "linear", "binary32"), choice.certificate)
    seconds = time.process_time() - start
    refined = check(data, claim(circuit.p, digest, "refined", "binary32"), choice.certificate)
    exact = check(data, claim(circuit.p, digest, "exhaustive", "real"), choice.certificate)
    truth = exact.accuracy.true_min_margin
    return [
        path.stem,
        " ".join(f"{bound.frequency}:{bound.neurons}" for bound in linear.quadrature),
        str(choice.effort),
        f"{sum(linear.operations.values()) / linear.parameters:.0f}",
        f"{seconds:.1f}",
        share(linear),
        share(refined),
        lower(linear.accuracy.min_margin),
        lower(refined.accuracy.min_margin),
        lower(truth[0]) if truth else "",
    ]


def main() -> None:
    print("| " + " | ".join(HEADER) + " |")
    print("|" + " --- |" * len(HEADER))
    for name in sys.argv[1:]:
        print("| " + " | ".join(row(Path(name))) + " |", flush=True)


if __name__ == "__main__":
    main()
