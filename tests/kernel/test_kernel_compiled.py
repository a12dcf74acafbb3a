"""The compiled loops (sweep.c) and the array code find the same integers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from benchmarks.synthetic import synthetic
from tests.strategies import claim_of
from verifier.explainer import explain
from verifier.kernel import check, events
from verifier.model import encode_circuit

pytestmark = pytest.mark.skipif(events.COMPILED is None, reason="there was no compiler: only the array code runs")


@pytest.mark.parametrize(("p", "strategy"), [(31, "linear"), (31, "exact"), (139, "linear")])
def test_conclusions_and_evidence_are_the_same(monkeypatch: pytest.MonkeyPatch, p: int, strategy: str) -> None:
    circuit = synthetic(p, 64)
    data = encode_circuit(circuit)
    digest = hashlib.sha256(data).hexdigest()
    files = data, claim_of(data, p, strategy), explain(circuit, digest, 0.5)
    compiled = check(*files)
    assert events.loop() == "compiled"
    monkeypatch.setattr(events, "COMPILED", None)
    assert events.loop() == "arrays"
    arrays = check(*files)
    assert compiled.conclusion == arrays.conclusion
    for name in ("margins", "deviations", "sums"):
        assert np.array_equal(getattr(compiled.evidence, name), getattr(arrays.evidence, name))
