"""Many models: every one has its row, whatever happens to the others, to a worker, or to the sweep itself."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

import verifier
from tests.kernel.test_operations import subtracting
from tests.shipped import POISONED, ROOT, SMALL, certified
from verifier import cli
from verifier.errors import InputError
from verifier.kernel.claim import ADDITION, SUBTRACTION
from verifier.model import Model, decode, write_model
from verifier.report.figures import draw_sweep
from verifier.sweeps import COLUMNS, each, read_log

MODELS = 5


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """The small model, under several seeds."""
    model = decode(SMALL.read_bytes(), str(SMALL))
    assert isinstance(model, Model)
    paths = [tmp_path / "models" / f"p23-{seed}.safetensors" for seed in range(MODELS)]
    for seed, path in enumerate(paths):
        write_model(replace(model, provenance={"recipe": {"seed": seed}}), path)
    return paths


def complete(rows: Any) -> bool:
    """Whether every model has its row, with what is known of it."""
    return [(row["seed"], row["status"], row["certified"]) for row in rows] == [
        (seed, "certified", 23**2) for seed in range(MODELS)
    ]


def lines(folder: Path) -> list[Any]:
    return [json.loads(line) for path in folder.glob("rows*.jsonl") for line in path.read_text().splitlines()]


def test_a_row_is_what_certify_says(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no model")
    paths = [SMALL, POISONED, text, tmp_path / "nothing.safetensors"]
    with ThreadPoolExecutor(2) as executor:
        rows = {row["model"]: row for row in verifier.sweep(paths, tmp_path / "out", executor=executor)}
    good, wrong = rows[str(SMALL)], rows[str(POISONED)]
    conclusion = certified(SMALL).conclusion
    assert (good["sha256"], good["p"], good["layout"], good["neurons"]) == (conclusion.model_sha256, 23, "a b", 128)
    assert good["frequencies"] == [bound.frequency for bound in conclusion.quadrature]
    assert (good["events"], good["wrong_inputs"]) == (conclusion.events, 0)
    assert 0 < good["min_margin"] < good["true_margin"]
    assert (wrong["status"], wrong["certified"], wrong["wrong_inputs"]) == ("not proved", 527, 2)
    assert [rows[str(path)]["status"] for path in paths[2:]] == ["bad input"] * 2
    with (tmp_path / "out" / "rows.csv").open() as file:
        table = {row["model"]: row for row in csv.DictReader(file)}
    assert table.keys() == rows.keys()
    assert table[str(SMALL)]["frequencies"] == " ".join(map(str, good["frequencies"]))
    assert draw_sweep(list(rows.values())) == draw_sweep(list(rows.values()))


def test_a_killed_worker_of_a_pool_costs_no_model(models: list[Path]) -> None:
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:

        def kill(step: str, done: int, total: int) -> None:
            if done == 1:
                os.kill(next(iter(executor._processes)), signal.SIGKILL)

        rows = verifier.sweep(models, executor=executor, jobs=2, observe=kill)
    assert complete(rows), rows


def perish(item: str, attempt: int) -> str:
    """Work that kills its process: always, or at the first attempt."""
    if item == "always" or (item == "once" and attempt == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{item} done"


ITEMS = ("a", "always", "once", "b")


def test_only_what_kills_its_process_fails() -> None:
    found = dict(each(perish, ITEMS, None, jobs=2))
    assert isinstance(found.pop("always"), Exception)
    assert found == {item: f"{item} done" for item in ("a", "once", "b")}


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes, which are started again when they die."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):
        yield cluster


def test_what_is_returned_is_done_once_and_what_is_raised_twice() -> None:
    """An expected failure is a value, such as a model that `certify` refuses."""
    attempts: list[tuple[str, int]] = []

    def work(item: str, attempt: int) -> Exception:
        attempts.append((item, attempt))
        if item == "raised":
            raise ValueError(item)
        return InputError("a file", "", item)

    with ThreadPoolExecutor(1) as pool:
        found = dict(each(work, ["returned", "raised"], pool, jobs=1))
    assert sorted(attempts) == [("raised", 1), ("raised", 2), ("returned", 1)]
    assert (type(found["returned"]), type(found["raised"])) == (InputError, ValueError)


def test_a_killed_worker_of_a_cluster_costs_no_model(models: list[Path], cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        workers = client.run(os.getpid)
        assert len(workers) == 2

        def kill(step: str, done: int, total: int) -> None:
            if done == 1:
                os.kill(min(workers.values()), signal.SIGKILL)

        rows = verifier.sweep(models, executor=client.get_executor(), observe=kill)
    assert complete(rows), rows


def test_what_kills_every_worker_fails_alone_on_a_cluster(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        found = dict(each(perish, ITEMS, client.get_executor(), jobs=1))
    assert type(found.pop("always")).__name__ == "KilledWorker"
    assert found == {item: f"{item} done" for item in ("a", "once", "b")}


def test_the_command_over_a_cluster(
    models: list[Path], cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", str(models[0].parent), "-o", str(tmp_path / "out"), "--cluster", cluster.scheduler_address]
    assert cli.main([*words, "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert complete(found["models"])
    assert found["certified"] == MODELS


def test_a_killed_sweep_resumes(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["sweep", str(models[0].parent), "-o", str(out), "--plot"]
    process = subprocess.Popen([sys.executable, "-m", "verifier", *words], cwd=ROOT)
    wait_for((out / "rows.jsonl").exists)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    assert workers
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    before = (out / "rows.jsonl").read_bytes()
    assert before.count(b"\n") < MODELS
    with (out / "rows.jsonl").open("ab") as log:
        log.write(before[:100])  # as if it had been killed while it wrote
    assert len(read_log(out)) == before.count(b"\n")
    assert cli.main(words) == cli.OK
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines()[: MODELS + 1])
    after = (out / "rows.jsonl").read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == MODELS + 1
    assert complete(sorted(read_log(out).values(), key=lambda row: row["seed"]))
    with (out / "rows.csv").open() as file:
        assert [row["seed"] for row in csv.DictReader(file)] == [str(seed) for seed in range(MODELS)]
    assert (out / "rows.svg").read_bytes().startswith(b"<?xml")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_shards_are_the_whole(models: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        parts = [verifier.sweep(models, tmp_path, executor=executor, shard=(i, 2)) for i in (1, 2)]
        assert [len(part) for part in parts] == [3, 2]
        assert {path.name for path in tmp_path.glob("*.jsonl")} == {"rows-1-of-2.jsonl", "rows-2-of-2.jsonl"}
        before = lines(tmp_path)
        assert complete(verifier.sweep(models, tmp_path, executor=executor))
    assert lines(tmp_path) == before
    assert len(before) == MODELS


def test_other_options_are_another_row_and_failures_are_tried_again(models: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        verifier.sweep(models[:1], tmp_path, executor=executor)
        verifier.sweep(models[:1], tmp_path, executor=executor, semantics="real")
        first, second = lines(tmp_path)
        assert first["options"] != second["options"]
        assert first["min_margin"] < second["min_margin"]
        failed = {**dict.fromkeys(COLUMNS), **{name: first[name] for name in ("model", "sha256", "options")}}
        (tmp_path / "rows.jsonl").write_text(json.dumps(failed | {"status": "failed"}) + "\n")
        (row,) = verifier.sweep(models[:1], tmp_path, executor=executor)
    assert row["status"] == "certified"
    assert len(lines(tmp_path)) == 2


@pytest.mark.parametrize("words", [["--shard", "0/2"], ["--shard", "3/2"], ["--shard", "half"], ["--jobs", "0"]])
def test_options_that_make_no_sense(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", str(SMALL), "-o", str(tmp_path / "out"), *words]) == cli.BAD_INPUT
    assert words[0].removeprefix("--") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        code = cli.main(["sweep", str(SMALL), "-o", str(tmp_path / "out"), "--cluster", "tcp://127.0.0.1:1"])
    assert code == cli.BAD_INPUT
    assert "--cluster: tcp://127.0.0.1:1 cannot be reached" in capsys.readouterr().err


def test_options_of_a_claim_are_checked_first(models: list[Path]) -> None:
    with pytest.raises(InputError, match="semantics"):
        verifier.sweep(models, semantics="decimal")


def test_the_true_margin_is_that_of_the_operation_that_was_asked_for(tmp_path: Path) -> None:
    """The file says addition, the user subtraction, and the network subtracts."""
    path = tmp_path / "minus.safetensors"
    write_model(replace(subtracting(), task=ADDITION), path)
    (row,) = verifier.sweep([path], executor=ThreadPoolExecutor(1), operation="subtraction")
    assert (row["certified"], row["wrong_inputs"], row["operation"]) == (529, 0, SUBTRACTION)
    assert row["true_margin"] >= row["min_margin"] > 0
