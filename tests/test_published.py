"""The published checkpoints (Zhong et al.), which are not part of the project."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from verifier import prove, store
from verifier.formats import import_file

FOLDER = Path(__file__).parents[2] / "shared" / "published"

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(),
    reason="../shared/published is not there: the published checkpoints were NOT certified",
)


@pytest.mark.parametrize(
    ("name", "source", "margin"),
    [("p99zdpze5l", "zhong", 13.5), ("18c9ev5v5p", "zhong", 10), ("7r4zst7evs", "mlp", 11.5)],
)
def test_all_inputs_in_linear_time_in_binary32_and_explained_by_one_sentence(
    name: str, source: str, margin: float
) -> None:
    path = FOLDER / f"model_{name}.pt"
    job = store.Job(path, import_file, prove.Request(), None, prove.MARGIN_SHARE, Path("nowhere"), None)
    done = store.prepare(job)
    assert done.outcome.proved
    assert done.outcome.checked is not None
    conclusion, evidence = done.outcome.checked.conclusion, done.outcome.checked.evidence
    accuracy = conclusion.accuracy
    assert (accuracy.strategy, accuracy.semantics) == ("linear", "binary32")
    assert accuracy.certified_inputs == accuracy.explained_inputs == accuracy.total_inputs == 59**2
    assert conclusion.closed_form.explains_all
    assert accuracy.min_margin.mantissa * Fraction(2) ** accuracy.min_margin.exponent >= Fraction(margin)
    assert (evidence.margins > 0).all()
    assert done.source.imported == source
    assert done.source.file_name == f"model_{name}.safetensors"


def test_a_clock_with_attention_of_its_own_by_one_dense_pass() -> None:
    """Weights from 0.03 to 0.97; nothing is assumed about them. Pure cosines explain none of its answers."""
    path = FOLDER / "model_q9rsl94xlv.pt"
    job = store.Job(path, import_file, prove.Request(), None, prove.MARGIN_SHARE, Path("nowhere"), None)
    done = store.prepare(job)
    assert done.outcome.proved
    assert done.outcome.checked is not None
    conclusion = done.outcome.checked.conclusion
    accuracy = conclusion.accuracy
    assert (accuracy.strategy, accuracy.semantics) == ("semi-linear", "binary32")
    assert accuracy.certified_inputs == 59**2
    assert accuracy.min_margin.mantissa * Fraction(2) ** accuracy.min_margin.exponent >= Fraction(
        "11.66"
    )  # 90 % of the true one
    assert conclusion.attention.kind == "softmax"
    assert conclusion.closed_form.explains_all
    assert conclusion.closed_form.deformation is not None
    assert not done.source.assumptions
