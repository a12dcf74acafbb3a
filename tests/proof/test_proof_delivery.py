"""The GitHub Action, the reusable workflow, the pre-commit hook, and the commands in the documentation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.proof.proof_support import RELEASE, SECOND, make_statement, sign, write_tree
from verifier.proof import policy as policy_module
from verifier.proof import verify
from verifier.proof.policy import parse_policy

ROOT = Path(__file__).parent.parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "gate.yml").read_text())
GUIDE = (ROOT / "docs" / "verify.md").read_text()


def all_steps() -> list[dict[str, Any]]:
    return [*ACTION["runs"]["steps"], *WORKFLOW["jobs"]["gate"]["steps"]]


def test_other_peoples_actions_are_pinned_to_a_commit() -> None:
    used = [step["uses"] for step in all_steps() if "uses" in step]
    assert used
    for use in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", use), use


def test_inputs_never_become_code() -> None:
    scripts = [step["run"] for step in all_steps() if "run" in step]
    assert len(scripts) == 4
    for script in scripts:
        assert "${{" not in script


def test_the_workflow_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in WORKFLOW["jobs"]["gate"]
    checkouts = [step for step in WORKFLOW["jobs"]["gate"]["steps"] if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["--models", "models", "--github", "--", "certificates"]),
        (
            {"policy": "p q.toml", "junit": "a.xml", "recheck": "false", "certificates": "$(false)"},
            [
                *("--models", "models", "--github", "--policy", "p q.toml", "--junit", "a.xml"),
                *("--no-recheck", "--", "$(false)"),
            ],
        ),
    ],
)
def test_the_action_calls_the_gate(tmp_path: Path, changes: dict[str, str], expected: list[str]) -> None:
    """Its script, run with a stand-in for Python that prints its arguments."""
    bash = shutil.which("bash")
    assert bash is not None
    step = ACTION["runs"]["steps"][-1]
    inputs = {name: value["default"] for name, value in ACTION["inputs"].items()} | changes
    environment = {
        name: inputs[re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value)[1]]  # type: ignore[index]
        for name, value in step["env"].items()
    }
    assert called(tmp_path, bash, step["run"], environment) == ["-I", "-m", "verifier", "gate", *expected]


def test_the_workflow_calls_the_gate(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    step = next(step for step in WORKFLOW["jobs"]["gate"]["steps"] if step.get("name") == "Gate")
    environment = {"CERTIFICATES": "c", "MODELS": "m", "POLICY": "c/policy.toml", "POLICY_REF": ""}
    junit = str(tmp_path / "gate.xml")
    for reference, policy in (("", "c/policy.toml"), ("0123abcd", "../base/c/policy.toml")):
        found = called(tmp_path, bash, step["run"], environment | {"POLICY_REF": reference})
        expected = ["--models", "m", "--policy", policy, "--junit", junit, "--github", "--", "c"]
        assert found == ["-I", "-m", "verifier", "gate", *expected]


def called(folder: Path, bash: str, script: str, environment: dict[str, str]) -> list[str]:
    python = folder / "verifier" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text('#!/bin/sh\nfor argument in "$@"; do printf "%s\\n" "$argument"; done\n')
    python.chmod(0o755)
    done = subprocess.run(
        [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env={"PATH": os.environ["PATH"], "RUNNER_TEMP": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_arguments_of_the_action_are_those_of_the_command() -> None:
    import argparse

    from verifier.commands import gate

    parser = argparse.ArgumentParser(allow_abbrev=False)
    gate.add_arguments(parser)
    words = ["--models", "m", "--github", "--policy", "p", "--junit", "j", "--no-recheck", "--", "c"]
    found = parser.parse_args(words)
    assert (found.certificates, found.models, found.policy) == (Path("c"), Path("m"), Path("p"))
    assert found.junit == Path("j")
    assert found.no_recheck
    assert found.github


def test_the_hook() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "python -I -m verifier gate"
    assert hook["pass_filenames"] is False
    assert re.search(hook["files"], "certificates/p59/proof.sigstore.json")
    assert re.search(hook["files"], "models/p59.safetensors")


def test_the_guide_has_the_steps_of_the_code() -> None:
    pattern = r"^(\d)\. \*\*([^*]+)\.\*\*"
    assert re.findall(pattern, GUIDE, re.MULTILINE) == re.findall(pattern, str(verify.__doc__), re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_policy_of_the_guide_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    assert tomllib.loads(text)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "release.pub.pem").write_bytes(RELEASE.public.pem)
    policy = parse_policy(text.encode(), "docs/verify.md", tmp_path)
    assert policy.rules_for("p59-seed0")
    names = set(re.findall(r"^ *([a-z_]+) =", text, re.MULTILINE))
    assert names == set(re.findall(r"^ *([a-z_]+) =", str(policy_module.__doc__), re.MULTILINE))


@pytest.fixture
def signed_files(tmp_path: Path) -> Path:
    certificates, models = write_tree(tmp_path / "tree")
    for name in ("proof.sigstore.json", "claim.json", "certificate.json"):
        shutil.copy(certificates / "p59-seed0" / name, tmp_path / name)
    shutil.copy(models / "p59-seed0.safetensors", tmp_path / "model.safetensors")
    (tmp_path / "release.pub.pem").write_bytes(RELEASE.public.pem)
    return tmp_path


def test_the_python_of_the_guide(signed_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(signed_files)
    (code,) = blocks("python")
    exec(compile(code, "docs/verify.md", "exec"), {})  # the guide's own code
    (signed_files / "release.pub.pem").write_bytes(SECOND.public.pem)
    from securesystemslib.exceptions import VerificationError

    with pytest.raises(VerificationError):
        exec(compile(code, "docs/verify.md", "exec"), {})


@pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("sha256sum") is None,
    reason="openssl or sha256sum is not installed: the commands of the guide were NOT run",
)
@pytest.mark.parametrize("key", [RELEASE, SECOND], ids=["ecdsa", "ed25519"])
def test_the_commands_of_the_guide(signed_files: Path, key: Any) -> None:
    script = next(block for block in blocks("sh") if "DSSEv1" in block)
    other = "openssl pkeyutl" if key is RELEASE else "openssl dgst"
    script = "\n".join(line for line in script.splitlines() if not line.startswith(other))
    (signed_files / "proof.sigstore.json").write_bytes(sign(make_statement(), key))
    (signed_files / "release.pub.pem").write_bytes(key.public.pem)
    done = subprocess.run(["sh", "-ec", script], cwd=signed_files, capture_output=True, text=True, check=True)
    assert "Verified OK" in done.stdout or "Signature Verified Successfully" in done.stdout
    for line in done.stdout.splitlines():
        if re.match("[0-9a-f]{64} ", line):
            assert done.stdout.count(line.split()[0]) >= 2  # in the statement too


def test_the_guide_names_things_that_exist() -> None:
    for path in re.findall(r"`((?:scripts|tests|docs|verifier|\.github)/[\w./-]+)`", GUIDE):
        assert (ROOT / path).exists() or path == "docs/soundness.md", path
    assert len((ROOT / "scripts" / "verify-with-openssl.sh").read_text().splitlines()) < 110
