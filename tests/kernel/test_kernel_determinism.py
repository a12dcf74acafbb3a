"""The same bytes for the same inputs: over processes, hash seeds, BLAS threads, the compiled sweep and the array code,
and any release of numpy, scipy and flint (`digests.json`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from unittest import mock

import pytest

from tests.kernel import digests
from verifier.kernel import events

CODE = "import json; from tests.kernel import digests; print(json.dumps(digests.digests()))"


def test_stored_digests() -> None:
    assert digests.digests() == json.loads(digests.STORED.read_text())


def test_the_compiled_sweep_and_the_arrays_agree() -> None:
    with mock.patch.object(events, "COMPILED", None):
        assert digests.digests() == json.loads(digests.STORED.read_text())


@pytest.mark.parametrize(("threads", "seed"), [("1", "1"), ("2", "77")])
def test_other_processes(threads: str, seed: str) -> None:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONHASHSEED": seed, "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(digests.STORED.read_text())
