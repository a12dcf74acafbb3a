"""Digests of conclusions on fixed inputs, which every machine and every release of numpy, scipy and flint must
reproduce. `python -m tests.kernel.digests` writes them anew: git diff tells what changed.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

from tests.strategies import random_case
from verifier.kernel import Rejected, check

STORED = Path(__file__).with_name("digests.json")
SEEDS = range(5000, 5060)


def digest(seed: int) -> str:
    """Of the conclusion's document and of the margins behind it; or why it is refused."""
    try:
        found = check(*random_case(random.Random(seed)).files())
    except Rejected as error:
        return error.reason.name
    document = json.dumps(found.conclusion.document(), sort_keys=True).encode()
    return hashlib.sha256(document + found.evidence.margins.astype("<i8").tobytes()).hexdigest()[:32]


def digests() -> dict[str, str]:
    return {str(seed): digest(seed) for seed in SEEDS}


if __name__ == "__main__":
    STORED.write_text(json.dumps(digests(), indent=1) + "\n")
