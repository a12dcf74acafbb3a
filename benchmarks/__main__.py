"""`make bench`: measure, draw, write docs/benchmarks.md. `ARGS=--quick` takes a minute and prints JSON only."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import is_learned
from benchmarks.page import write
from benchmarks.synthetic import synthetic
from verifier.explainer import explain
from verifier.formats import import_file
from verifier.model import FoldedCircuit, Model, circuit_for, decode, encode

SIZES = ((31, 128), (59, 512), (113, 512), (251, 1024), (509, 2048), (1021, 4096), (1021, 8192))
NOISE = tuple(
    (p, n, noise) for p, n in ((113, 512), (251, 1024), (509, 2048)) for noise in (0.002, 0.01, 0.05, 0.2, 0.5)
)
MARGIN_SHARE = 0.25  # of the true least margin, that the directions of the certificates should leave
CLOCK_SHARE = 0.92  # the same, of learned attention
SAMPLE = 4 * 10**10  # multiply-adds of one measurement of brute force, at most about
PUBLISHED = {
    "published checkpoint": Path("../shared/published/model_p99zdpze5l.pt"),
    "published clock": Path("../shared/published/model_q9rsl94xlv.pt"),
}
BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def case(name: str, model: Model | FoldedCircuit, methods: tuple[str, ...], as_found: bool = True) -> dict[str, Any]:
    """Measure one model, with the BLAS variables as found and, if they are set, without them."""
    data, (circuit, run), learned = encode(model), circuit_for(model.task, model), is_learned(model)
    digest = hashlib.sha256(data).hexdigest()
    claim = {
        "format": "verifier-claim/2",
        "task": model.task,
        "p": circuit.p,
        "model_sha256": digest,
        "strategy": "semi-linear" if learned else "linear",
        "semantics": "binary32" if learned else "real",
        "certified_inputs": 0,
    }
    work = circuit.neurons * circuit.p**2 * circuit.outputs
    rounds = 15 if work < 10**9 else 7 if work < 10**11 else 3
    rows = max(4, min(circuit.p, SAMPLE * circuit.p // work))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model").write_bytes(data)
        (Path(folder) / "claim").write_bytes(json.dumps(claim).encode())
        share = CLOCK_SHARE if learned else MARGIN_SHARE
        (Path(folder) / "certificate").write_bytes(explain(circuit, digest, share, run))
        command = [sys.executable, "-m", "benchmarks.measure", folder, str(rounds), str(rows), *methods]
        bare = {key: value for key, value in os.environ.items() if key not in BLAS} | dict.fromkeys(THREADS, "1")
        settings = {"unset": bare}
        if as_found and any(key in os.environ for key in BLAS):
            settings["as found"] = {**os.environ, **dict.fromkeys(THREADS, "1")}
        for setting, environment in settings.items():
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise RuntimeError(f"{name}: {done.stderr.strip()[-800:]}")
            found[setting] = json.loads(done.stdout)
    print(f"{name}: {found['unset']['seconds']}", file=sys.stderr)
    return {"name": name, "n": circuit.neurons, "settings": found, **found["unset"]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the two smallest synthetic circuits; writes nothing")
    arguments = parser.parse_args()
    quick = arguments.quick
    folded = ("check", "float64", "float32")
    streams = (*folded, "float64, stream", "float32, stream")
    cases, noisy = [], []
    if not quick:
        models = {
            path.stem: decode(path.read_bytes(), path.name) for path in sorted(Path("models").glob("*.safetensors"))
        }
        models |= {name: import_file(path).model for name, path in PUBLISHED.items() if path.exists()}
        cases += [case(name, model, folded if is_learned(model) else streams) for name, model in models.items()]
    for p, n in SIZES[:2] if quick else SIZES:
        cases.append(case(f"synthetic {p}, {n}", synthetic(p, n), folded))
    for p, n, noise in () if quick else NOISE:
        try:
            noisy.append(case(f"noise {noise}", synthetic(p, n, noise), ("check",), as_found=False) | {"noise": noise})
        except RuntimeError as error:
            noisy.append({"name": f"noise {noise}", "p": p, "n": n, "noise": noise, "refused": str(error)[-200:]})
    if quick:
        print(json.dumps(cases, indent=1))
    else:
        write(cases, noisy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
