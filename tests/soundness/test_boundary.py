"""What the kernel may touch: flint, the standard library and itself; and how it may touch flint.

A walk over the syntax trees, and the imports of a fresh process.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import verifier.kernel

KERNEL = Path(verifier.kernel.__file__).parent
MODULES = sorted(KERNEL.glob("*.py"))
TREES = {path.stem: ast.parse(path.read_text()) for path in MODULES}
STANDARD = {
    "__future__", "array", "bisect", "collections", "dataclasses", "enum", "fractions", "functools", "hashlib", "heapq",
    "itertools", "json", "math", "operator", "re", "sys", "typing",
}  # fmt: skip
# Lines of code, without docstrings, comments and blank lines. mm0's kernel takes about 800 lines, for a format that was
# made to be checked. Here reading the three files strictly takes 490, floating-point semantics 165, putting the steps
# together and saying what was concluded 380; the mathematics, with balls and packing, is 1,350: a day's reading beside
# docs/theory.md. The budget leaves a few per cent. Raise it only with a reason as good.
LINE_BUDGET = 2500


def imports(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Every module a tree imports, with the names taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, set()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or "", {alias.name for alias in node.names}


@pytest.mark.parametrize("name", TREES)
def test_imports(name: str) -> None:
    for module, names in imports(TREES[name]):
        top = module.split(".")[0]
        if top == "flint":
            assert name == "balls", "flint is imported by balls.py only"
        elif top == "verifier":
            assert module == "verifier.kernel" or module.startswith("verifier.kernel."), module
            assert module != "verifier.kernel" or names == {"limits"}
        else:
            assert top in STANDARD, f"{name} imports {module}"


def test_fresh_process_imports_nothing_else() -> None:
    script = (
        "import sys\nbefore = set(sys.modules)\nimport verifier.kernel\n"
        "print('\\n'.join(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = run.stdout.split()
    assert "flint" in loaded
    foreign = {  # flint's own extension modules bring along what Cython registers
        name.split(".")[0]
        for name in loaded
        if name != "verifier" and not name.startswith(("verifier.kernel", "flint", "cython_runtime", "_cython_"))
    }
    assert foreign <= sys.stdlib_module_names, foreign - sys.stdlib_module_names


def _names_of_balls(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for module, names in imports(tree):
        if module == "verifier.kernel.balls":
            found |= names
    return found


WITH_BALLS = [name for name, tree in TREES.items() if {"Ball", "ComplexBall"} & _names_of_balls(tree)]


def test_balls_live_in_one_module() -> None:
    """A module that takes Ball from balls is under the rules below; the others must not handle balls at all."""
    assert WITH_BALLS == ["quadrature"]
    integers_only = {"fixed_point", "turn", "with_precision", "ExactMatrix", "integer_product"}
    for name, tree in TREES.items():
        if name not in (*WITH_BALLS, "balls"):
            assert _names_of_balls(tree) <= integers_only, name


@pytest.mark.parametrize("name", TREES)
def test_flint_is_called_through_balls_only(name: str) -> None:
    """No method that flint's types have and the kernel's own do not; precision is set by the decorator alone."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Attribute) and node.attr in ("prec", "dps", "workprec", "extraprec", "ctx"):
            assert name == "balls"
        if isinstance(node, ast.Assert):
            raise AssertionError(f"{name}: assert is removed by python -O; use require")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "open", "__import__", "setattr", "globals"), name


def test_precision_is_set_in_one_function() -> None:
    (function,) = (n for n in TREES["balls"].body if isinstance(n, ast.FunctionDef) and n.name == "with_precision")
    inside = {id(node) for node in ast.walk(function)}
    for node in ast.walk(TREES["balls"]):
        if isinstance(node, ast.Attribute) and node.attr in ("prec", "ctx"):
            assert id(node) in inside


def _ball_module_nodes() -> Iterator[tuple[str, ast.AST]]:
    for name in (*WITH_BALLS, "balls"):
        for node in ast.walk(TREES[name]):
            yield name, node


def _integers(node: ast.expr) -> bool:
    """Whether an expression cannot hold a ball, by the names the two modules use for integers."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    attributes = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return names <= INTEGERS and attributes <= {"shift", "exponent"}


INTEGERS = {
    "node", "mode", "last", "first", "high", "low", "count", "self", "other", "number", "value", "isinstance",
    "Fraction",
}  # fmt: skip


def test_no_traps_where_balls_are_handled() -> None:
    """Truth values, float(), **, the built-in max, min and sorted (but for integer keys), and comparisons of balls."""
    for name, node in _ball_module_nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("float", "max", "min", "bool", "round", "complex"), f"{name}:{node.lineno}"
            if node.func.id == "sorted":
                text = ast.unparse(node)
                assert "phase" in text or "phases" in text, f"{name}:{node.lineno}: sorts something else than phases"
        if isinstance(node, ast.BinOp):
            assert not isinstance(node.op, ast.Pow), f"{name}:{node.lineno}: **"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            assert isinstance(node.operand, ast.Call), f"{name}:{node.lineno}: not of a comparison"
        if isinstance(node, ast.Compare):
            text = ast.unparse(node)
            comparison_of_balls = name == "balls" and text == "a <= b"
            allowed = comparison_of_balls or text == "(a <= b) is True" or text.endswith("is None")
            assert allowed or all(map(_integers, [node.left, *node.comparators])), f"{name}:{node.lineno}: {text}"
        if isinstance(node, (ast.If, ast.While, ast.IfExp)):
            assert isinstance(node.test, (ast.Compare, ast.Call, ast.UnaryOp)), f"{name}:{node.lineno}: truth value"
            if isinstance(node.test, ast.Call):
                assert ast.unparse(node.test.func) in ("proved_le", "isinstance"), f"{name}:{node.lineno}"


def code_lines(path: Path) -> int:
    """Lines that hold code: no docstring, no comment, no blank line."""
    source = path.read_text()
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            text = node.body[0]
            docstrings |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    lines: set[int] = set()
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_line_budget() -> None:
    sizes = {path.stem: code_lines(path) for path in MODULES}
    assert sum(sizes.values()) <= LINE_BUDGET, sizes
    assert max(sizes.values()) <= 500, sizes
