"""A table of freshly trained models: what the linear pass certifies, what refinement adds, and the truth.

    python tools/seed_table.py MODEL.safetensors ... > table.md

Train the models first, for example `python -m verifier train --p 59 --seed 9 --out seed-9.safetensors`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from verifier import pipeline
from verifier.console import decimal_bound
from verifier.kernel import Conclusion, Dyadic, check

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


def lower(value: Dyadic) -> str:
    return decimal_bound(value.mantissa, value.exponent, 4, "lower")


def share(conclusion: Conclusion) -> str:
    accuracy = conclusion.accuracy
    return f"{accuracy.certified_inputs}/{accuracy.total_inputs}"


def row(path: Path) -> list[str]:
    source = pipeline.read_native(path)
    attempt = pipeline.prove(source, pipeline.Request(at_least=source.p**2, strategy="linear").claims(source))

    def concluded(strategy: str, semantics: str) -> Conclusion:
        request = pipeline.Request(at_least=0, strategy=strategy, semantics=semantics, refinement_budget=256)
        return check(source.data, request.claims(source)[0], attempt.certificate)

    start = time.process_time()
    linear = concluded("linear", "binary32")
    seconds = time.process_time() - start
    refined = concluded("refined", "binary32")
    truth = concluded("exhaustive", "real").accuracy.true_min_margin
    return [
        path.stem,
        " ".join(f"{bound.frequency}:{bound.neurons}" for bound in linear.quadrature),
        str(attempt.explained.effort),
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
