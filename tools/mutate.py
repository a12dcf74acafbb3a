"""Mutation testing of the kernel: change one operator, constant or term at a time, and see whether a test notices.

    python tools/mutate.py MODULE... [--out FILE] [--every N] [--start M] [--again FILE] [--seconds S]

Each mutant runs in a fork of this process, in which everything but the kernel is already imported. A mutant is *killed*
when a test of its module fails or runs out of time. Otherwise it is run on a fixed sample of circuits and compared with
the kernel: *same* (no number changed), *looser* (no bound became stronger: still sound) or *tighter* (some
bound became stronger and no test objected: each of these has to be explained).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import json
import os
import pickle
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KERNEL = ROOT / "verifier" / "kernel"
ARRAYS, EVENTS, REGRESSIONS, THEOREMS = (
    f"tests/kernel/test_kernel_{name}.py" for name in ("arrays", "events", "regressions", "theorems")
)
SAMPLE = ((REGRESSIONS,), (THEOREMS,))
TESTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "arrays": ((ARRAYS, "-k", "not tables"), *SAMPLE),
    "tables": ((ARRAYS, "-k", "error"), *SAMPLE),
    "events": ((EVENTS,), *SAMPLE),
    **dict.fromkeys(("check", "circuit", "closed_form", "directions", "enclosure", "logits", "quadrature"), SAMPLE),
}
TIMEOUT = 150
CASES = 60
SILENT = {"add", "observe", "require", "require_capacity"}  # cost.add, progress, and the texts of rejections


class Mutator(ast.NodeTransformer):
    """Applies mutation number `wanted`; counts them all."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self.what = ""

    def _offer(self, node: ast.AST, other: ast.AST, what: str) -> ast.AST:
        self.count += 1
        if self.count - 1 != self.wanted:
            return node
        line = getattr(node, "lineno", 0)
        self.what = f"line {line}: {what}: {ast.unparse(node)}  ->  {ast.unparse(other)}"
        return ast.copy_location(other, node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node
        if isinstance(node.value, ast.Call):
            name = node.value.func
            text = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
            if text in SILENT and ast.unparse(name) in ("cost.add", "observe"):
                return node
            if text in ("require", "require_capacity"):
                node.value.args = [self.visit(node.value.args[0]), *node.value.args[1:]]
                return node
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [self.visit(item) for item in node.body]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        flips = {
            ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
        }  # fmt: skip
        opposite = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
        result: ast.AST = node
        for table, what in ((flips, "boundary"), (opposite, "direction")):
            kind = table.get(type(node.ops[0]))
            if kind is not None:
                other = copy.deepcopy(node)
                other.ops[0] = kind()
                result = self._offer(node, other, what) if result is node else result
        return result

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        others: list[tuple[ast.AST, str]] = []
        if isinstance(node.op, (ast.Add, ast.Sub)):
            others = [(node.left, "term dropped")]
            others.append(
                (node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right), "term dropped")
            )
            swap: ast.operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            others.append((ast.BinOp(node.left, swap, node.right), "sign"))
        elif isinstance(node.op, (ast.LShift, ast.RShift)):
            one = ast.BinOp(node.right, ast.Add(), ast.Constant(1))
            others = [(ast.BinOp(node.left, node.op, one), "shift by one more")]
        elif isinstance(node.op, (ast.Mult, ast.FloorDiv, ast.Div)) and isinstance(node.right, (ast.Name, ast.Call)):
            others = [(node.left, "factor dropped")]
        return self._first(node, others)

    def _first(self, node: ast.AST, others: Sequence[tuple[ast.AST, str]]) -> ast.AST:
        for other, what in others:
            changed = self._offer(node, other, what)
            if changed is not node:
                return changed
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        # -(-x // y) and -(-x >> y) are ceilings: make them floors.
        inner = node.operand
        if (
            isinstance(node.op, ast.USub)
            and isinstance(inner, ast.BinOp)
            and isinstance(inner.op, (ast.FloorDiv, ast.RShift))
        ):
            floor: ast.expr = ast.UnaryOp(ast.USub(), inner.left)
            if isinstance(inner.left, ast.UnaryOp):
                floor = inner.left.operand
            elif isinstance(inner.left, ast.BinOp) and isinstance(inner.left.left, ast.UnaryOp):
                floor = ast.BinOp(inner.left.left.operand, inner.left.op, inner.left.right)
            changed = self._offer(node, ast.BinOp(floor, inner.op, inner.right), "ceiling to floor")
            if changed is not node:
                return changed
        self.generic_visit(node)
        if isinstance(node.op, (ast.USub, ast.Not)) and not isinstance(node.operand, ast.Constant):
            return self._offer(node, node.operand, "sign or negation dropped")
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func
        if isinstance(name, ast.Name) and name.id in ("abs", "_positive_part", "isqrt") and len(node.args) == 1:
            return self._offer(node, node.args[0], f"{name.id} dropped")
        swaps = {"max": "min", "min": "max", "floor": "ceil", "ceil": "floor", "upper": "lower", "lower": "upper"}
        text = name.id if isinstance(name, ast.Name) else name.attr if isinstance(name, ast.Attribute) else ""
        if text in swaps:
            other = copy.deepcopy(node)
            if isinstance(other.func, ast.Name):
                other.func.id = swaps[text]
            elif isinstance(other.func, ast.Attribute):
                other.func.attr = swaps[text]
            return self._offer(node, other, "swapped")
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return self._first(node, [(node.body, "always"), (node.orelse, "never")])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        other = copy.deepcopy(node)
        other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return self._offer(node, other, "and/or")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is not int:
            return node
        return self._first(node, [(ast.Constant(node.value + 1), "+1"), (ast.Constant(node.value - 1), "-1")])


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """Every mutant as (description, source)."""
    wanted = 0
    while True:
        mutator = Mutator(wanted)
        tree = ast.fix_missing_locations(mutator.visit(ast.parse(source)))
        if not mutator.what:
            return
        yield mutator.what, ast.unparse(tree)
        wanted += 1


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves the mutated source of one kernel module, and the original tree for everything else."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(KERNEL / "mutant.py")  # beside the compiled sweep
        exec(compile(self.source, f"<mutant of {self.name}>", "exec"), module.__dict__)


def _fork(work: Any, timeout: float) -> int:
    """Exit status of `work` in a fork; 98 when it ran out of time."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(timeout))
        status = 97
        try:
            os.setpgid(0, 0)
            with Path(os.devnull).open("w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
            status = work()
        finally:
            os._exit(status)
    _, result = os.waitpid(child, 0)
    return 98 if os.WIFSIGNALED(result) else os.waitstatus_to_exitcode(result)


def _numbers() -> list[Any]:
    """Every bound of a fixed sample, oriented so that smaller is looser."""
    from tests.strategies import random_case
    from verifier.kernel import Rejected, check

    result: list[Any] = []
    for seed in range(7000, 7000 + CASES):
        try:
            checked = check(*random_case(random.Random(seed)).files())
        except Rejected as error:
            result.append(error.reason.name)
            continue
        except Exception as error:
            result.append(type(error).__name__)
            continue
        found, exponent = checked.conclusion, checked.evidence.exponent
        numbers = [x * 2.0**exponent for row in checked.evidence.margins.tolist() for x in row]
        accuracy, bounds = found.accuracy, [found.logits.max_error, found.closed_form.error]
        numbers.append(found.closed_form.least_gap.mantissa * 2.0**exponent)
        for rule in found.quadrature:
            bounds += [rule.rectangle, rule.harmonic, rule.arc_sum, rule.bound, rule.relative_bound, rule.network_error]
            numbers.append(rule.amplitude.mantissa * 2.0**rule.amplitude.exponent)
        for term in found.logits.budget.values():
            bounds += list(term.values()) if isinstance(term, dict) else [term]
        for low, high in filter(None, (accuracy.true_min_margin, accuracy.max_deviation)):
            numbers.append(low.mantissa * 2.0**low.exponent)
            bounds.append(high)
        result.append(numbers + [-x.mantissa * 2.0**x.exponent for x in bounds])
    return result


def _compare(baseline: list[Any]) -> int:
    looser = tighter = False
    for old, new in zip(baseline, _numbers(), strict=True):
        if isinstance(old, str) or isinstance(new, str) or len(old) != len(new):
            looser |= old != new and isinstance(new, str)
            tighter |= old != new and not isinstance(new, str)
            continue
        looser |= any(y < x for x, y in zip(old, new, strict=True))
        tighter |= any(y > x for x, y in zip(old, new, strict=True))
    return 3 if tighter else 2 if looser else 1


def run(module: str, source: str, baseline: list[Any]) -> str:
    import pytest

    finder = _Finder(f"verifier.kernel.{module}", source)

    def test(arguments: tuple[str, ...]) -> int:  # without rewriting: hypothesis is already imported
        sys.meta_path.insert(0, finder)
        return int(
            pytest.main(
                ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "--assert=plain", "--no-header", *arguments]
            )
        )

    def classify() -> int:
        sys.meta_path.insert(0, finder)
        return _compare(baseline)

    for arguments in TESTS[module]:
        status = _fork(lambda arguments=arguments: test(arguments), TIMEOUT)
        if status != 0:
            return "timeout" if status == 98 else "killed"
    return {1: "same", 2: "looser", 3: "tighter"}.get(_fork(classify, TIMEOUT), "killed")


def _baseline() -> list[Any]:
    with tempfile.NamedTemporaryFile() as file:
        name = file.name

        def work() -> int:
            Path(name).write_bytes(pickle.dumps(_numbers()))
            return 0

        if _fork(work, 600) != 0:
            raise SystemExit("the sample does not run")
        result: list[Any] = pickle.loads(Path(name).read_bytes())
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=sorted(TESTS), metavar="MODULE")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants.jsonl")
    parser.add_argument("--every", type=int, default=1, help="only every N-th mutant")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--again", type=Path, help="a file of results: only those that no test killed there")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after so long")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ |= {"HYPOTHESIS_PROFILE": "mutation", "OPENBLAS_NUM_THREADS": "1", "VERIFIER_TRIALS": "150"}
    for name in ("numpy", "mpmath", "flint", "pytest", "hypothesis", "hypothesis.strategies"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    again = None
    if arguments.again:
        results = map(json.loads, arguments.again.read_text().splitlines())
        again = {(x["module"], x["index"]) for x in results if x["verdict"] not in ("killed", "timeout")}
    baseline = _baseline()
    arguments.out.parent.mkdir(exist_ok=True)
    start = time.monotonic()
    with arguments.out.open("a") as out:
        for module in arguments.modules:
            if again is not None and module not in {name for name, _ in again}:
                continue
            source = (KERNEL / f"{module}.py").read_text()
            if run(module, source, baseline) != "same":
                raise SystemExit(f"{module}: its tests fail without any mutation")
            for index, (what, mutated) in enumerate(mutants(source)):
                if index < arguments.start or (index - arguments.start) % arguments.every:
                    continue
                if again is not None and (module, index) not in again:
                    continue
                if time.monotonic() - start > arguments.seconds:
                    return
                verdict = run(module, mutated, baseline)
                out.write(json.dumps({"module": module, "index": index, "verdict": verdict, "what": what}) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
