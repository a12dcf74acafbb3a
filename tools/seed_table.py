"""A table of freshly trained models: what is certified and explained, and the truth (*: by one sentence).

    python tools/seed_table.py MODEL.safetensors ... > table.md

Train the models first, for example `python -m tools.train --p 59 --seed 9 --out seed-9.safetensors`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from verifier import prove
from verifier.results import Document, conclusion_of, lower, upper

HEADER = (
    "model",
    "frequencies",
    "certified",
    "explained",
    "least margin (true)",
    "gap error",
    "directions",
    "events per parameter",
    "check, ms",
)


def concluded(source: prove.Source, strategy: str, semantics: str, certificate: bytes) -> Document:
    request = prove.Request(at_least=0, strategy=strategy, semantics=semantics)
    found = conclusion_of(prove.run_kernel({}, source.data, request.claims(source)[0], certificate))
    if found is None:
        raise SystemExit(f"{source.path}: nothing was proved")
    return found


def row(path: Path) -> list[str]:
    source = prove.read_native(path)
    certificate = prove.explain(source, prove.MARGIN_SHARE)
    start = time.process_time()
    linear = concluded(source, "linear", "binary32", certificate)
    seconds = time.process_time() - start
    exact = concluded(source, "exact", "real", certificate)["accuracy"]
    accuracy, cost = linear["accuracy"], linear["cost"]
    return [
        path.stem,
        " ".join(f"{bound['frequency']}:{bound['neurons']}" for bound in linear["quadrature"]),
        f"{accuracy['certified_inputs']}/{accuracy['total_inputs']}",
        f"{accuracy['explained_inputs']}" + " *" * linear["closed_form"]["explains_all"],
        f"{lower(accuracy['min_margin'], 4)} ({lower(exact['true_min_margin'][0], 4)})",
        upper(accuracy["gap_error"], 3) if accuracy["gap_error"] else "",
        str(linear["certificate"]["directions"]),
        f"{cost['events'] / cost['parameters']:.2f}",
        f"{1000 * seconds:.0f}",
    ]


def main() -> None:
    print("| " + " | ".join(HEADER) + " |")
    print("|" + " --- |" * len(HEADER))
    for name in sys.argv[1:]:
        print("| " + " | ".join(row(Path(name))) + " |", flush=True)


if __name__ == "__main__":
    main()
