"""`verifier init`: a fresh repository, a model, a proof; the workflow's own commands pass, and fail after tampering."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]

from tests.shipped import ROOT, SMALL
from verifier import cli
from verifier.commands import init
from verifier.formats import import_file
from verifier.model import fold
from verifier.proof import keys
from verifier.proof.policy import read_policy

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = f"https://git.example.org/some/verifier@{COMMIT}"
BASH = shutil.which("bash") or ""
WRITTEN = ["certificates/policy.toml", ".github/workflows/verifier.yml", ".pre-commit-config.yaml"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mine"
    git(tmp_path, "init", "--quiet", "--initial-branch=trunk", "mine")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in (keys.KEY_VARIABLE, keys.PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return folder


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def workflow(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / WRITTEN[1]).read_text().replace("\non:\n", '\n"on":\n'))
    return found


def step(folder: Path, name: str) -> dict[str, Any]:
    return next(step for step in workflow(folder)["jobs"]["gate"]["steps"] if step.get("name") == name)


def run_gate(repository: Path, tmp_path: Path, base: str, head: str) -> subprocess.CompletedProcess[str]:
    """The workflow's Gate step, in the two checkouts that it makes, with this Python for the installed one."""
    workspace = tmp_path / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    for name, commit in (("base", base), ("tested", head)):
        git(tmp_path, "clone", "--quiet", str(repository), str(workspace / name))
        git(workspace / name, "checkout", "--quiet", commit)
    python = tmp_path / "verifier" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    # -I ignores PYTHONPATH, so the stand-in for the installed package puts this one on the path.
    start = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('verifier', run_name='__main__')"
    python.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "-I -m verifier" ] || exit 99\nshift 3\n'
        f'exec {sys.executable} -I -c "{start}" "$@"\n'
    )
    python.chmod(0o755)
    gate = step(workspace / "base", "Gate")
    return subprocess.run(
        [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", gate["run"]],
        cwd=workspace / gate["working-directory"],
        env={"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def commit(repository: Path) -> str:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "change")
    return git(repository, "rev-parse", "HEAD")


def test_from_a_fresh_repository_to_a_gate_that_holds(repository: Path, tmp_path: Path) -> None:
    assert cli.main(["init", "--source", SOURCE]) == 0
    Path("models").mkdir()
    shutil.copy(SMALL, "models/mine.safetensors")
    assert cli.main(["certify", "models/mine.safetensors", "--quiet"]) == 0
    base = commit(repository)
    done = run_gate(repository, tmp_path, base, base)
    assert (done.returncode, "1 passed, 0 failed" in done.stdout) == (0, True), done
    assert (tmp_path / "gate.xml").read_text().count("<testcase") == 1

    data = bytearray(SMALL.read_bytes())
    data[-1] ^= 1
    Path("models/mine.safetensors").write_bytes(data)
    done = run_gate(repository, tmp_path, base, commit(repository))
    assert done.returncode == 1
    assert "::error file=models/mine.safetensors" in done.stdout
    git(repository, "reset", "--quiet", "--hard", base)

    # A pull request that signs with a key of its own, and trusts it in its policy, is judged by the base's policy.
    keys.write_signing_key(tmp_path / "stranger.pem", keys.generate())
    public = str(tmp_path / "stranger.pub.pem")
    assert cli.main(["init", "--source", SOURCE, "--key", public, "--force", "--quiet"]) == 0
    options = ["--key", str(tmp_path / "stranger.pem"), "--force", "--quiet"]
    assert cli.main(["certify", "models/mine.safetensors", *options]) == 0
    assert cli.main(["gate", "--quiet"]) == 0, "by its own policy"
    done = run_gate(repository, tmp_path, base, commit(repository))
    assert done.returncode == 1
    assert "no signature is by a key of the policy" in done.stdout


def test_a_checkpoint_and_the_line_that_brings_it_to_the_gate(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    circuit = fold(import_file(SMALL).model)
    np.savez("mine.npz", A=circuit.A, B=circuit.B, W=circuit.W)
    assert cli.main(["init", "--source", SOURCE]) == 0
    capsys.readouterr()
    assert cli.main(["certify", "mine.npz", "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    (line,) = [note.removeprefix("for the gate: ") for note in notes if note.startswith("for the gate: ")]
    assert cli.main(["gate", "--quiet"]) != 0
    subprocess.run(line, shell=True, check=True)
    assert cli.main(["gate", "--quiet"]) == 0
    assert cli.main(["certify", "mine.npz", "--json"]) == 0
    assert "for the gate" not in capsys.readouterr().out


def test_what_is_written_has_the_published_form(repository: Path) -> None:
    assert cli.main(["init", "--source", SOURCE, "--quiet"]) == 0
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    for schema, file in (("vendor.github-workflows", WRITTEN[1]), ("vendor.github-actions", str(ROOT / "action.yml"))):
        done = subprocess.run([*command, schema, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    Path("bad.yml").write_text(Path(WRITTEN[1]).read_text().replace("runs-on", "runs-in"))
    bad = subprocess.run([*command, "vendor.github-workflows", "bad.yml"], capture_output=True, check=False)
    assert bad.returncode == 1
    (entry,) = yaml.safe_load(Path(WRITTEN[2]).read_text())["repos"]
    assert (entry["repo"], entry["rev"]) == tuple(SOURCE.rsplit("@", 1))
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert entry["hooks"] == [{"id": hook["id"], "args": ["certificates/policy.toml"]}]
    policy = read_policy(Path(WRITTEN[0]))
    assert list(policy.keys) == [keys.signing_key().public.keyid]
    assert policy.rules_for("anything")


def test_the_workflow_installs_that_commit(repository: Path, tmp_path: Path) -> None:
    """Its commands, with git sent to a repository of ours, and a stand-in for Python's packages."""
    origin = tmp_path / "origin"
    git(tmp_path, "init", "--quiet", str(origin))
    (origin / "requirements.lock").write_text("the lock")
    first = commit(origin)
    (origin / "requirements.lock").write_text("a later lock")
    commit(origin)
    url = SOURCE.rsplit("@", 1)[0]
    assert cli.main(["init", "--source", f"{url}@{first}", "--quiet"]) == 0
    install = step(repository, "Install the verifier")
    assert install["env"] == {"SOURCE": url, "COMMIT": first}
    inner = f'#!/bin/sh\necho "$(cat requirements.lock): $*" >> {tmp_path / "log"}\n'
    outer = f"#!/bin/sh\nmkdir -p $3/bin\ncat > $3/bin/python << 'EOF'\n{inner}EOF\nchmod +x $3/bin/python\n"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(outer)
    (tmp_path / "bin" / "python").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
        **install["env"],
    }
    script = [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", install["run"]]
    subprocess.run(script, env=environment, check=True, capture_output=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.startswith("the lock: -m pip install") for line in lines] == [True, True]
    assert "--require-hashes" in lines[0]
    assert "--no-deps" in lines[1]


def test_nothing_is_replaced_without_force(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "--source", SOURCE, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == WRITTEN
    assert (document["commit"], document["branch"], document["pre_commit"]) == (COMMIT, "trunk", None)
    assert workflow(repository)["on"]["push"]["branches"] == ["trunk"]
    Path(WRITTEN[0]).unlink()
    assert cli.main(["init", "--source", SOURCE]) == 2
    assert "--force" in capsys.readouterr().err
    assert not Path(WRITTEN[0]).exists(), "all or nothing"
    assert cli.main(["init", "--source", SOURCE, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pre_commit"] is None, "its commit is there"


def test_other_hooks_are_left_alone(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(WRITTEN[2]).write_text("repos: []\n")
    assert cli.main(["init", "--source", SOURCE, "--force"]) == 0
    assert Path(WRITTEN[2]).read_text() == "repos: []\n"
    printed = capsys.readouterr().out
    assert f'rev: "{COMMIT}"' in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "https://git.example.org/a/b@main"], "40 hexadecimal digits"),
        (["--source", f"http://git.example.org/a/b@{COMMIT}"], "https://"),
        (["--source", f'https://git.example.org/a";echo@{COMMIT}'], "https://"),
        (["--source", SOURCE, "--branch", '"]'], "--branch"),
        (["--source", SOURCE, "--key", "missing.pem"], "missing.pem"),
        (["..", "--source", SOURCE], "not the root of a git repository"),
    ],
)
def test_bad_input(words: list[str], message: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", *words]) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in repository.rglob("*") if path.is_file() and ".git/" not in path.as_posix()]


@pytest.mark.parametrize(
    "remote",
    [
        "https://git.example.org/some/verifier",
        "https://me:secret@git.example.org/some/verifier",
        "git@git.example.org:some/verifier",
        "ssh://git@git.example.org/some/verifier",
    ],
)
def test_a_checkout_tells_where_it_is_from(
    remote: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never with a password."""
    checkout = tmp_path / "checkout"
    git(tmp_path, "init", "--quiet", str(checkout))
    head = commit(checkout)
    git(checkout, "remote", "add", "origin", remote)
    monkeypatch.setattr(init, "_installed", str)
    monkeypatch.setattr(init, "PACKAGE", checkout / "verifier")
    assert cli.main(["init", "--quiet"]) == 0
    assert step(repository, "Install the verifier")["env"] == {"SOURCE": SOURCE.rsplit("@", 1)[0], "COMMIT": head}


def test_so_does_an_installation_from_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip records it (PEP 610); a copy in site-packages tells nothing, whoever's repository that is in."""
    from importlib import metadata

    found = tmp_path / "modular_addition_verifier-0.2.0.dist-info"
    found.mkdir()
    record = {"url": SOURCE.rsplit("@", 1)[0], "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    (found / "direct_url.json").write_text(json.dumps(record))
    monkeypatch.setattr(metadata, "distribution", lambda name: metadata.Distribution.at(found))
    monkeypatch.setattr(init, "PACKAGE", repository / "venv" / "verifier")
    assert cli.main(["init", "--quiet"]) == 0
    assert step(repository, "Install the verifier")["env"]["COMMIT"] == COMMIT
    (found / "direct_url.json").write_text('{"url": "file:///somewhere", "dir_info": {}}')
    assert cli.main(["init", "--quiet", "--force"]) == 2
