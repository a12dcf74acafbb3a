"""Many models: a row for each, kept as each is done, over any executor.

Models are certified in a pool of processes or on a cluster. Whatever happens to one there, even a crash of its process,
is in its own row and in no other. Rows are appended to a log, one line of JSON each; a sweep that is run again does
what the log lacks.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from verifier import __version__, prove
from verifier.errors import InputError, one_line
from verifier.files import read_input, write_atomically
from verifier.kernel import limits

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from verifier.api import Certification, Rows

ABOUT = ("model", "sha256", "seed", "operation", "p", "layout", "neurons")
EXPLANATION = ("frequencies", "neurons_per_frequency", "certified", "total", "explained", "gap_error", "events")
MARGINS = ("min_margin", "true_margin", "wrong_inputs")
COLUMNS = (*ABOUT, *EXPLANATION, *MARGINS, "seconds", "status", "error", "options")
LOG = "rows*.jsonl"
EXACT_WORK = 10**9
"""Multiply-adds up to which the true margin is cheap, and in the row."""

Row = dict[str, Any]
Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Task:
    """A model to certify: its `name` as it was given, its `path`, and the `options` of `certify`."""

    name: str
    path: Path
    sha256: str
    options: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Whose row it is: the file's digest (the name of one that cannot be read), and the options and version."""
        return self.sha256 or self.name, json.dumps(
            {**self.options, "version": __version__}, sort_keys=True, default=str
        )

    def row(self, status: str, error: object = "") -> Row:
        empty = dict.fromkeys(COLUMNS)
        about = {"model": self.name, "sha256": self.sha256, "options": self.key[1]}
        return {**empty, **about, "status": status, "error": one_line(str(error))}


def certify_one(task: Task, attempt: int = 1) -> Row:
    """The row of a model, whatever happens to it; runs in a worker. (A second attempt is another task to a cluster.)"""
    from verifier import api

    try:
        found = api.certify(task.path, **task.options)
        return task.row("certified" if found.proved else "not proved", found.attempt.outcome.failure) | _facts(found)
    except InputError as error:
        return task.row("bad input", error)
    except prove.Unexplained as error:
        return task.row("not explained", error)
    except Exception as error:  # a bug of this program must not end the sweep
        return task.row("failed", f"{type(error).__name__}: {error}")


def _facts(found: Certification) -> Row:
    """What is known about a model; bounds are floats, rounded to the safe side."""
    from verifier.api import safe_float
    from verifier.model import decode

    source, attempt = found.source, found.attempt
    model = decode(source.data, str(source.path))
    recipe = model.provenance.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    facts: Row = {
        "seed": recipe.get("seed"),
        "operation": json.loads(attempt.claim)["task"],
        "p": source.p,
        "layout": " ".join(getattr(model, "layout", ())),
        "neurons": source.neurons,
        "seconds": round(attempt.seconds, 3),
    }
    if attempt.outcome.checked is None:
        return facts
    conclusion, accuracy = found.conclusion, found.conclusion.accuracy
    outcomes = [attempt.outcome, *attempt.others.values()]
    tried = [json.loads(attempt.claim)["strategy"], *attempt.others]
    if "exact" not in tried and conclusion.brute_force <= EXACT_WORK and not source.learned:
        claim = prove.exact_claim(source, attempt.claim)
        outcomes.append(prove.run_kernel({}, source.data, claim, attempt.certificate))
    proved = [outcome.checked.conclusion.accuracy for outcome in outcomes if outcome.checked is not None]
    exact = next((one for one in proved if one.strategy == "exact"), None)
    everything = accuracy.certified_inputs == accuracy.total_inputs
    return facts | {
        "frequencies": [bound.frequency for bound in conclusion.quadrature],
        "neurons_per_frequency": [bound.neurons for bound in conclusion.quadrature],
        "certified": accuracy.certified_inputs,
        "total": accuracy.total_inputs,
        "explained": accuracy.explained_inputs,
        "min_margin": safe_float(accuracy.min_margin, "lower"),
        "true_margin": exact and exact.true_min_margin and safe_float(exact.true_min_margin[0], "lower"),
        "gap_error": accuracy.gap_error and safe_float(accuracy.gap_error, "upper"),
        "wrong_inputs": 0 if everything else exact and exact.wrong_inputs,
        "events": conclusion.events,
    }


def sweep(
    paths: Iterable[Path | str],
    out: Path | str | None = None,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    shard: tuple[int, int] = (1, 1),
    observe: prove.Observer = prove.ignore,
    **options: Any,
) -> Rows:
    """Certify many models; what goes wrong with one is in its row.

    **Arguments**

    - `paths`: model files or checkpoints, which the workers must be able to read at the same paths.
    - `out`: a folder for `rows.jsonl`, appended to as models are done, and `rows.csv`. A model whose digest has a row
      there with the same options and version is not done again, unless its status is `failed`. A shard has a log of
      its own; `rows.csv` is of all the logs in the folder.
    - `executor`: any of `concurrent.futures`, or of Dask (`Client.get_executor()`); by default `jobs` processes. They
      are spawned, so that a script needs `if __name__ == "__main__":`. A model whose worker dies is tried once more, by
      itself; then its status is `failed`.
    - `shard`: (i, N): only the models i, i + N, … of the sorted paths, counted from 1.
    - `options`: as for `certify`: `strategy`, `semantics`, `margin_share`, `attention`, …

    **Returns** a table with a row for each model, in the order of the sorted paths.

    **Raises** `InputError` for options that make no sense and a folder that cannot be written.
    """
    from verifier.api import Rows

    index, count = shard
    if not 1 <= index <= count:
        raise InputError("shard", "", f"must be i/N with 1 <= i <= N, not {index}/{count}")
    options = {name: value for name, value in options.items() if value is not None}
    prove.Request(**{name: options[name] for name in ("at_least", "strategy", "semantics") if name in options})
    tasks = [_task(name, options) for name in sorted(set(map(str, paths)))[index - 1 :: count]]
    log = None if out is None else Path(out) / ("rows.jsonl" if count == 1 else f"rows-{index}-of-{count}.jsonl")
    done = {} if log is None else read_log(log.parent)
    todo = {task.key: task for task in tasks if task.key not in done or done[task.key]["status"] == "failed"}
    for number, (task, row) in enumerate(_rows(todo.values(), executor, jobs)):
        done[task.key] = row
        if log is not None and task.sha256:
            _append(log, row)
        observe(f"sweep: {task.name} {row['status']}", number + 1, len(todo))
    if log is not None:
        write_atomically(log.with_name("rows.csv"), csv_text(done.values()).encode())
    found = [{**done[task.key], "model": task.name} for task in tasks]
    return Rows(COLUMNS, tuple(tuple(row[name] for name in COLUMNS) for row in found))


def _task(name: str, options: Mapping[str, Any]) -> Task:
    """A file that cannot be read has no digest, and is not in the log."""
    path = Path(name).absolute()
    try:
        return Task(name, path, hashlib.sha256(read_input(path, limits.MODEL_BYTES)).hexdigest(), options)
    except InputError:
        return Task(name, path, "", options)


def read_log(folder: Path) -> dict[tuple[str, str], Row]:
    """The rows of every log in a folder, by key; a line that a killed sweep left half-written does not count."""
    rows: dict[tuple[str, str], Row] = {}
    for path in sorted(folder.glob(LOG)):
        for line in path.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.keys() == set(COLUMNS):
                rows[row["sha256"], row["options"]] = row
    return rows


def _append(log: Path, row: Row) -> None:
    """A line, in one write, on the disk before the next model; after a half-written one, on a line of its own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
        start = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(start + json.dumps(row, allow_nan=False).encode() + b"\n")
        os.fsync(file.fileno())


def csv_text(rows: Iterable[Row]) -> str:
    """The table as CSV; lists are separated by blanks."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=lambda row: row["model"]):
        writer.writerow({k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in row.items()})
    return text.getvalue()


def _rows(tasks: Iterable[Task], executor: Executor | None, jobs: int) -> Iterator[tuple[Task, Row]]:
    for task, found in each(certify_one, tasks, executor, jobs):
        if isinstance(found, Exception):
            found = task.row("failed", f"its worker died twice ({type(found).__name__}); is there enough memory?")
        yield task, found


def each(
    work: Callable[[Item, int], Found], items: Iterable[Item], executor: Executor | None, jobs: int
) -> Iterator[tuple[Item, Found | Exception]]:
    """`work(item, attempt)` for each, as they are done; an exception that was raised is of the second attempt.

    When a process dies, work that was only near it can fail as well. So what failed is done again after the rest, one
    at a time; or, where the pool broke, each in a process of its own, `jobs` at a time: only what kills its process
    fails.
    """
    pool = executor or _processes(jobs)
    failed, broken = [], False
    try:
        for item, found, raised in _done(lambda item: pool.submit(work, item, 1), items):
            if raised:
                failed.append(item)
                broken |= isinstance(found, BrokenExecutor)
            else:
                yield item, found

        def again(item: Item) -> Found:
            return _alone(work, item, 2) if broken else pool.submit(work, item, 2).result()

        with ThreadPoolExecutor(jobs if broken else 1) as threads:
            for item, found, _ in _done(lambda item: threads.submit(again, item), failed):
                yield item, found
    finally:
        if pool is not executor:
            pool.shutdown(wait=False, cancel_futures=True)


def _done(
    submit: Callable[[Item], Future[Found]], items: Iterable[Item]
) -> Iterator[tuple[Item, Found | Exception, bool]]:
    """What came of each, as they are done, and whether that is an exception that was raised (and not returned)."""
    futures: dict[Future[Found], Item] = {}
    try:
        for item in items:
            try:
                futures[submit(item)] = item
            except BrokenExecutor as error:
                yield item, error, True
        for future in as_completed(futures):
            found: Found | Exception
            try:
                found, raised = future.result(), False
            except (Exception, CancelledError) as error:
                found, raised = error, True
            yield futures[future], found, raised
    finally:
        for future in futures:
            future.cancel()


def _alone(work: Callable[[Item, int], Found], item: Item, attempt: int) -> Found:
    with _processes(1) as pool:
        return pool.submit(work, item, attempt).result()


def _processes(jobs: int) -> ProcessPoolExecutor:
    # Spawned, since a fork would copy the threads of the progress display.
    return ProcessPoolExecutor(jobs, get_context("spawn"), _die_with_parent)


def _die_with_parent() -> None:
    """Let an interruption end a worker without a traceback, and the parent's death end it at all."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_outlive, args=[parent_process()], daemon=True).start()


def _outlive(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)
