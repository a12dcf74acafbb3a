"""A short fixed run of tools/fuzz.py, and every input it has kept."""

from __future__ import annotations

import pytest

from tests.scripts import load

pytestmark = pytest.mark.no_cover  # samples: what they reach does not count as tested line by line

fuzz = load("tools/fuzz.py")


@pytest.mark.parametrize("target", list(fuzz.TARGETS))
def test_short_run(target: str) -> None:
    counts = fuzz.run([target], seconds=5, seed=1, most=200)
    assert counts.total() >= 20
    # Statements are canonical JSON of a fixed shape: hardly an edit leaves one readable.
    assert len(counts) > 1 or target in ("proof", "statement")


def test_kept_inputs() -> None:
    kept = [path for path in sorted(fuzz.CORPUS.glob("*/*")) if path.is_file()]
    assert kept
    for path in kept:
        fuzz.attempt(path.parent.name, path.read_bytes())


def test_unterminated_string_is_read_in_linear_time() -> None:
    """Found by reading: the nesting check was quadratic in the number of escaped quotes."""
    for target in ("claim", "certificate"):
        fuzz.attempt(target, b'"' + b'\\"' * 30_000)


def test_a_skip_far_above_the_neurons_is_refused() -> None:
    """Found by reading: packing it raised OverflowError."""
    from tests.soundness.regressions import huge_skip

    model, claim, certificate = huge_skip()
    with pytest.raises(fuzz.Rejected) as caught:
        fuzz.check(model, claim, certificate)
    assert caught.value.reason.name == "CAPACITY"
