"""The required branch coverage of the kernel counts every line of it."""

from __future__ import annotations

import ast
from pathlib import Path

import coverage
import pytest

import verifier.kernel

ROOT = Path(__file__).parents[2]
MODULES = sorted(Path(verifier.kernel.__file__).parent.glob("**/*.py"))


def _types_only(tree: ast.Module) -> set[int]:
    """The lines of `if TYPE_CHECKING:` at the top of a module, which are read by no interpreter."""
    return {
        line
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_nothing_is_excluded(path: Path) -> None:
    """No comment and no setting takes a line, or one way out of a line, off the count."""
    measure = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"), data_file=None)
    _, statements, excluded, _, _ = measure.analysis2(str(path))
    source = path.read_text()
    lines = source.splitlines()
    assert {line for line in excluded if lines[line - 1].strip()} <= _types_only(ast.parse(source))
    assert len(statements) > 0
    assert "pragma" not in source


def test_branches_are_counted() -> None:
    measure = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"), data_file=None)
    assert measure.get_option("run:branch") is True
    # Patterns that would count a branch as taken, beside the word that no module contains.
    assert not measure.get_option("report:partial_also")
    assert not measure.get_option("run:omit")
    assert not measure.get_option("report:omit")
