"""Digests of what the kernel concludes on fixed inputs, and the program that writes them:
`python -m tests.soundness.digests`.

What the kernel computes with balls is rounded outward to integers before it is used, so that conclusions are the same
bytes on every machine. That is no theorem: another flint may round a ball's last bit differently, and an integer with
it. `digests.json` keeps what was found, the same with python-flint 0.5.0 to 0.9.0: a digest of every number that a
conclusion holds and of the margins of all inputs, but of no text and no operation count. Write it again when bounds are
meant to change. Another digest means no false bound, but that a recheck elsewhere cannot reproduce the signed bytes.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.strategies import random_case
from verifier.kernel import Conclusion, Rejected, check

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).with_name("digests.json")
SMALL = "pizza-p23"
SEMANTICS = ("real", "binary32", "tf32", "bfloat16")
CASES = 200
Files = tuple[bytes, bytes, bytes]


def shipped() -> Iterator[tuple[str, Files]]:
    """Every certificate with its own claim; the smallest one also with other claims."""
    for folder in sorted((ROOT / "certificates").iterdir()):
        if not (folder / "certificate.json").exists():
            continue
        model = (ROOT / "models" / f"{folder.name}.safetensors").read_bytes()
        claim, certificate = ((folder / name).read_bytes() for name in ("claim.json", "certificate.json"))
        yield folder.name, (model, claim, certificate)
        if folder.name == SMALL:
            for strategy, semantics in (("exhaustive", "real"), ("refined", "tf32"), ("linear", "bfloat16")):
                changed = json.loads(claim) | {"strategy": strategy, "semantics": semantics, "certified_inputs": 0}
                yield f"{folder.name}, {strategy}, {semantics}", (model, json.dumps(changed).encode(), certificate)


def case_files(seed: int) -> Files:
    """A random circuit and its certificate; one semantics after another."""
    return replace(random_case(random.Random(seed)), semantics=SEMANTICS[seed % 4]).files()


def concluded(files: Files) -> Conclusion | str:
    """What the kernel concludes, or why it rejects."""
    try:
        return check(*files)
    except Rejected as error:
        return error.reason.name


def digest(found: Conclusion | str) -> str:
    """Of the numbers of a conclusion, and of the margins of all inputs; of a rejection's reason."""
    if isinstance(found, str):
        return _sha256(found.encode())
    document: dict[str, Any] = found.document()
    numbers = {name: document[name] for name in ("model", "certificate", "quadrature", "logits", "accuracy")}
    content = json.dumps([numbers, found.margins, found.margin_exponent], sort_keys=True)
    return _sha256(content.encode())


def input_digest(files: Files) -> str:
    """Random circuits come from the C library's cosines and logarithms, which need not be the same everywhere."""
    return _sha256(b"".join(hashlib.sha256(x).digest() for x in files))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def found_now() -> dict[str, dict[str, str]]:
    """What `digests.json` should hold: by name or seed, the digest of the conclusion, and that of random inputs."""
    cases = {str(seed): case_files(seed) for seed in range(CASES)}
    return {
        "shipped": {name: digest(concluded(files)) for name, files in shipped()},
        "inputs": {seed: input_digest(files) for seed, files in cases.items()},
        "random": {seed: digest(concluded(files)) for seed, files in cases.items()},
    }


def main() -> None:
    STORED.write_text(json.dumps(found_now(), indent=1) + "\n")


if __name__ == "__main__":
    main()
