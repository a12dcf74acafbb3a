"""The published checkpoint (Zhong et al., Model A), which is not part of the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from verifier import pipeline
from verifier.formats import import_file

CHECKPOINT = Path(__file__).parents[2] / "shared" / "published" / "model_p99zdpze5l.pt"

pytestmark = pytest.mark.skipif(
    not CHECKPOINT.exists(),
    reason="../shared/published is not there: the published checkpoint was NOT certified",
)


def test_all_inputs_by_the_linear_pass_in_binary32_with_a_margin_of_five() -> None:
    job = pipeline.Job(CHECKPOINT, import_file, pipeline.Request(), None, None, Path("nowhere"), ())
    done = pipeline.prepare(job)
    assert done.outcome.proved
    c = done.outcome.conclusion
    assert c is not None
    accuracy = c.accuracy
    assert (c.claim.strategy, accuracy.semantics) == ("linear", "binary32")
    assert accuracy.linear == accuracy.certified_inputs == accuracy.total_inputs == 59**2
    assert accuracy.min_margin.mantissa * 2.0**accuracy.min_margin.exponent >= 5
    assert all(np.array(c.margins).reshape(-1) > 0)
    assert all(bound.relative_bound.mantissa < 2**-1 * 2**-bound.relative_bound.exponent for bound in c.quadrature)
    assert done.source.imported == "zhong"
    assert done.source.file_name == "model_p99zdpze5l.safetensors"
