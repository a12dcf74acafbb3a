"""What the kernel may import, and the traps of numpy and flint that it must not step into."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "verifier" / "kernel"
FILES = sorted(KERNEL.glob("*.py"))
STANDARD = {
    "__future__", "collections.abc", "ctypes", "dataclasses", "enum", "fractions", "functools", "hashlib",
    "importlib.machinery", "itertools", "json", "math", "operator", "pathlib", "re", "typing",
}  # fmt: skip
ARRAYS = {"numpy", "numpy.typing", "scipy.sparse"}
# Without a dtype these make int64 on one system and int32, or binary64, on another.
DTYPE = {"array", "zeros", "ones", "empty", "full", "arange", "cumsum", "frombuffer"}
# These return binary64, round in binary64, or depend on the build.
FLOATS = {
    "float16", "float32", "float64", "mean", "average", "std", "var", "divide", "true_divide", "sqrt", "exp", "log",
    "sin", "cos", "linalg", "fft", "random", "round", "rint", "floor", "ceil", "interp", "linspace", "dot", "vdot",
    "inner", "tensordot", "matmul", "power", "float_power", "longdouble", "double", "single",
}  # fmt: skip
# The one conversion to binary64 and back, and how binary words are taken apart as unsigned integers.
MAY = {("arrays.py", "float64"), ("arrays.py", "matmul")}
LIMIT = 3190  # lines that are not blank, comments or docstrings


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    own = {name for name in _imports(ast.parse(path.read_text())) if not name.startswith("verifier.kernel")}
    allowed = STANDARD | ARRAYS | ({"flint"} if path.name == "balls.py" else set())
    assert own <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_traps(path: Path) -> None:
    tree, name = ast.parse(path.read_text()), path.name
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Assert):  # python -O drops them
            raise AssertionError(f"{where}: assert")
        if isinstance(node, ast.Constant) and isinstance(node.value, (float, complex)):
            # One half is exact, and flint takes it.
            assert (name, node.value) == ("balls.py", 0.5), f"{where}: a float"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            if node.attr not in FLOATS:
                continue
            assert (name, node.attr) in MAY, f"{where}: np.{node.attr}"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("float", "eval", "exec", "round")
        ):
            # round() of a Fraction is exact; of anything else it is not asked for.
            assert (name, node.func.id) == ("attention.py", "round"), f"{where}: {node.func.id}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            function, owner = node.func.attr, node.func.value
            if isinstance(owner, ast.Name) and owner.id == "np" and function in DTYPE:
                assert any(k.arg in ("dtype", "out") for k in node.keywords), f"{where}: np.{function} without a dtype"
            if function in ("mean", "prod", "dot", "tofile", "view") or (
                function == "sum" and not _has_dtype(node, name)
            ):
                raise AssertionError(f"{where}: .{function}")
            if function == "astype" and "float" in ast.unparse(node):
                assert name == "arrays.py", f"{where}: to floats"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            # Balls and Fractions divide exactly or outward; integers and arrays would become binary64.
            assert name in ("attention.py", "balls.py", "quadrature.py", "floating_point.py", "circuit.py"), (
                f"{where}: /"
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("max", "min"):
            # The built-ins compare overlapping balls as if they were numbers.
            assert "ball" not in ast.unparse(node), f"{where}: {node.func.id} of balls"


def _has_dtype(node: ast.Call, name: str) -> bool:
    """Sums of int64 are int64 wherever Python is 64 bits wide; those with bounds stated beside them need no more."""
    return (
        any(k.arg == "dtype" for k in node.keywords)
        or any(k.arg == "axis" for k in node.keywords)
        or name in ("quadrature.py", "logits.py")
    )


def test_a_fresh_process_loads_nothing_else() -> None:
    code = (
        "import sys, verifier.kernel; print(*sorted({m.split('.')[0] for m in sys.modules} "
        "- set(sys.stdlib_module_names) - {'__main__'}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"verifier", "flint", "numpy", "scipy", "_cython_3_0_11"} | {
        x for x in done.stdout.split() if x.startswith(("_cython", "cython"))
    }
    code = "import sys, verifier.kernel; print(*[m for m in sys.modules if m.startswith('verifier.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name.startswith("verifier.kernel") for name in done.stdout.split())


def test_the_kernel_is_small() -> None:
    lines = 0
    for path in FILES:
        tree = ast.parse(path.read_text())
        documented = set()
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                documented |= set(range(node.lineno, (node.end_lineno or 0) + 1))
        for number, line in enumerate(path.read_text().splitlines(), 1):
            lines += bool(line.strip()) and not line.strip().startswith("#") and number not in documented
    assert lines <= LIMIT, f"{lines} lines"
