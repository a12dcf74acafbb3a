"""Mutation testing of the kernel: change one operator, constant or term at a time, and see whether a test notices.

    python tools/mutate.py MODULE... [--out FILE] [--every N] [--start M] [--again] [--seconds S] [--table]

Each mutant runs in a fork of this process, in which everything but the kernel is already imported. It is *killed* when
a test fails, or runs out of time or memory: first the tests of its module, then the digests of 60 conclusions. *By
digests* counts those that only the stored digests notice: the mutant changes a number of a conclusion, and no test of
its module showed that the number is false. What is listed in `mutants_equivalent.tsv` with a reason, and is killed
nevertheless, is an error; everything else that no test kills *survived*.
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
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KERNEL = ROOT / "verifier" / "kernel"
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.tsv")
ARRAYS, EVENTS, STAGES, FILES, FORMS, REGRESSIONS, THEOREMS, DETERMINISM, TRANSFORMERS = (
    f"tests/kernel/test_kernel_{name}.py"
    for name in (
        "arrays", "events", "stages", "files", "forms", "regressions", "theorems", "determinism", "transformers"
    )
)  # fmt: skip
ATTENTION, OPERATIONS, SUBSTITUTION = (f"tests/kernel/test_{x}.py" for x in ("attention", "operations", "substitution"))
LIMITS, NAMES = (STAGES, "-k", "capacit"), "under or prime or margins or claim_is"
OWN: dict[str, tuple[tuple[str, ...], ...]] = {
    "arrays": ((ARRAYS, "-k", "products_are or binary64 or rounding or shifts or largest"), LIMITS),
    "tables": ((ARRAYS, "-k", "error"),),
    "balls": ((ARRAYS, "-k", "balls"), (STAGES, "-k", "tables or theorem_q"), (FORMS,)),
    "enclosure": ((STAGES, "-k", "enclosures or capacit"),),
    "events": ((EVENTS,),),
    "directions": ((STAGES, "-k", "lemma_b or lanes or capacit"),),
    "closed_form": ((STAGES, "-k", "lemma_i"), (REGRESSIONS, "-k", "closed_form")),
    "quadrature": ((STAGES, "-k", "theorem_q"), (REGRESSIONS, "-k", "omega")),
    "circuit": ((STAGES, "-k", "lemma_k or attention or coarser"), (ATTENTION,)),
    "logits": (LIMITS,),
    "floating_point": ((STAGES, "-k", "theorem_f"), (ATTENTION,)),
    **dict.fromkeys(("certificate", "forms", "model_file"), ((FILES,), (FORMS,))),
    "claim": ((FILES,), (FORMS,), (OPERATIONS, "-k", NAMES)),
    "operation": ((THEOREMS, "-k", "sentence"), (OPERATIONS, "-k", NAMES)),
    "substitution": ((SUBSTITUTION,),),
    **dict.fromkeys(("attention", "learned"), ((ATTENTION,), (TRANSFORMERS,))),
    "check": (
        *((REGRESSIONS,), (STAGES, "-k", "theorem_x or budget"), (THEOREMS, "-k", "claim or wrong or sentence")),
        *((FORMS,), (TRANSFORMERS,)),
    ),
    **dict.fromkeys(("conclusion", "cost"), ((THEOREMS, "-k", "claim or wrong or sentence"), (REGRESSIONS,))),
}
DIGESTS = (DETERMINISM, "-k", "stored")
SECONDS, BYTES = 20, 8 << 30  # of a mutant's tests, of processor time and of address space
SILENT = {"add", "observe", "require", "require_capacity"}  # cost.add, progress, and the texts of rejections


class Mutator(ast.NodeTransformer):
    """Applies mutation number `wanted`; counts them all."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self.line = 0
        self.what = ""

    def _offer(self, node: ast.AST, other: ast.AST, what: str) -> ast.AST:
        self.count += 1
        if self.count - 1 != self.wanted:
            return node
        self.line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
        self.what = f"{column} {what}: {ast.unparse(node)}  ->  {ast.unparse(other)}"
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
    """Every mutant as (its line, the column and what is changed; source)."""
    wanted, lines = 0, source.splitlines()
    while True:
        mutator = Mutator(wanted)
        tree = ast.fix_missing_locations(mutator.visit(ast.parse(source)))
        if not mutator.what:
            return
        yield f"{lines[mutator.line - 1].strip()} @ {mutator.what}", ast.unparse(tree)
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


def _passes(module: str, source: str, arguments: Sequence[str]) -> bool:
    """Whether tests pass with a mutated module, in a fork."""
    import pytest

    child = os.fork()
    if child == 0:
        status = 97
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
            with Path(os.devnull).open("w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
            sys.meta_path.insert(0, _Finder(f"verifier.kernel.{module}", source))
            # Without rewriting: hypothesis is already imported.
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "--assert=plain", "--no-header"]
            status = int(pytest.main([*options, *arguments]))
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def run(module: str, source: str) -> str:
    """Which tests kill a mutant: `killed` (its module's), `digests`, or `survived`."""
    groups = [*(("killed", tests) for tests in OWN[module]), ("digests", DIGESTS)]
    return next((x for x, tests in groups if not _passes(module, source, tests)), "survived")


def equivalent() -> set[tuple[str, str]]:
    """Mutants that change nothing, by module and description."""
    rows = [line.split("\t") for line in EQUIVALENT.read_text().splitlines()[1:]]
    if any(len(row) != 3 or not all(row) for row in rows):
        raise SystemExit(f"{EQUIVALENT.name}: a row is not module, mutant, reason")
    return {(row[0], row[1]) for row in rows}


def table(results: Sequence[dict[str, Any]]) -> str:
    """By module: mutants, killed, of those by digests only, equivalent, survived."""
    rows = ["| module | mutants | killed | by digests only | equivalent | survived |", "| --- " + "| ---: " * 5 + "|"]
    for module in sorted({x["module"] for x in results}):
        found = Counter(x["verdict"] for x in results if x["module"] == module)
        killed = found["killed"] + found["digests"]
        counts = (found.total(), killed, found["digests"], found["equivalent"], found["survived"])
        rows.append(f"| {module} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=sorted(OWN), metavar="MODULE")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants.jsonl")
    parser.add_argument("--every", type=int, default=1, help="only every N-th mutant")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--again", action="store_true", help="only those that survived before, by the file of results")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after so long")
    parser.add_argument("--table", action="store_true", help="only print the table of the results that are there")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ |= {"HYPOTHESIS_PROFILE": "mutation", "OPENBLAS_NUM_THREADS": "1", "VERIFIER_TRIALS": "150"}
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in ("numpy", "scipy.sparse", "mpmath", "flint", "pytest", "hypothesis", "hypothesis.strategies", "torch"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    arguments.out.parent.mkdir(exist_ok=True)
    done: dict[tuple[str, str], dict[str, Any]] = {}
    if arguments.out.exists():
        rows = map(json.loads, arguments.out.read_text().splitlines())
        done = {(x["module"], x["what"]): x for x in rows}
    start, known, wrong = time.monotonic(), equivalent(), list[str]()
    with arguments.out.open("a") as out:
        for module in () if arguments.table else arguments.modules:
            source = (KERNEL / f"{module}.py").read_text()
            if run(module, source) != "survived":
                raise SystemExit(f"{module}: its tests fail without any mutation")
            for index, (what, mutated) in enumerate(mutants(source)):
                if index < arguments.start or (index - arguments.start) % arguments.every:
                    continue
                if arguments.again and done.get((module, what), {"verdict": "survived"})["verdict"] != "survived":
                    continue
                if time.monotonic() - start > arguments.seconds:
                    break
                verdict = run(module, mutated)
                if (module, what) in known:
                    wrong += [f"{module}: {what}"] if verdict != "survived" else []
                    verdict = "equivalent" if verdict == "survived" else verdict
                done[module, what] = {"module": module, "verdict": verdict, "what": what}
                out.write(json.dumps(done[module, what]) + "\n")
                out.flush()
    names = {name for name, _ in done}
    now = {(name, what) for name in names for what, _ in mutants((KERNEL / f"{name}.py").read_text())}
    print(table([row for key, row in done.items() if key in now]))
    if wrong:
        raise SystemExit("\n".join(["listed as equivalent, but killed:", *wrong]))


if __name__ == "__main__":
    main()
