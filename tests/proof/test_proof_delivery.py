"""The GitHub Action, the workflow that `init` writes, the pre-commit hook, and the commands in the documentation."""

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
WORKFLOW = yaml.safe_load((ROOT / "verifier" / "templates" / "gate.yml").read_text())
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


BASH = shutil.which("bash") or ""


def inputs_of(step: dict[str, Any], **given: str) -> dict[str, str]:
    """The environment of one of the action's steps."""
    inputs = {name: value.get("default", "") for name, value in ACTION["inputs"].items()} | given
    return {
        name: inputs[match[1]]
        for name, value in step["env"].items()
        if (match := re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", value))
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"policy": "p.toml"}, ["--models", "models", "--policy", "p.toml", "--github", "--", "certificates"]),
        (
            {"policy": "p q.toml", "junit": "a.xml", "recheck": "false", "certificates": "$(false)"},
            [
                *("--models", "models", "--policy", "p q.toml", "--github", "--junit", "a.xml"),
                *("--no-recheck", "--", "$(false)"),
            ],
        ),
    ],
)
def test_the_action_calls_the_gate(tmp_path: Path, changes: dict[str, str], expected: list[str]) -> None:
    """Its script, run with a stand-in for Python that prints its arguments."""
    step = ACTION["runs"]["steps"][-1]
    found = called(tmp_path, BASH, step["run"], inputs_of(step, **changes))
    assert found == ["-I", "-m", "verifier", "gate", *expected]


def test_the_action_takes_no_policy_from_the_folder_that_it_judges(tmp_path: Path) -> None:
    step = ACTION["runs"]["steps"][-1]
    (tmp_path / "certificates").mkdir()
    (tmp_path / "alias.toml").symlink_to("certificates/policy.toml")
    for policy in ("certificates/policy.toml", "./certificates/../certificates/policy.toml", "alias.toml"):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            called(tmp_path, BASH, step["run"], inputs_of(step, policy=policy))
        assert "the policy is in the folder that it would judge" in caught.value.stdout


def test_the_action_installs_a_version_that_was_asked_for_and_not_from_the_checkout(tmp_path: Path) -> None:
    step = ACTION["runs"]["steps"][1]
    workspace, action, log = tmp_path / "workspace", tmp_path / "action", tmp_path / "log"
    for folder in (workspace / "inside", action, tmp_path / "bin"):
        folder.mkdir(parents=True)
    inner = f'#!/bin/sh\necho "$*" >> {log}\ncase "$*" in *--version) echo verifier 0.1.0 ;; esac\n'
    outer = f"#!/bin/sh\nmkdir -p $3/bin\ncat > $3/bin/python << 'EOF'\n{inner}EOF\nchmod +x $3/bin/python\n"
    (tmp_path / "bin" / "python").write_text(outer)
    (tmp_path / "bin" / "python").chmod(0o755)
    (workspace / "link").symlink_to(action)
    for source, version, message in (
        (action, "0.1.0", ""),
        (workspace / "link", "0.1.0", ""),
        (action, "0.1.1", "this is verifier 0.1.0, and version 0.1.1 was asked for"),
        (action, "", "and version  was asked for"),
        (workspace, "0.1.0", "the verifier is part of the checkout that it would judge"),
        (workspace / "inside", "0.1.0", "the verifier is part of the checkout that it would judge"),
    ):
        log.unlink(missing_ok=True)
        done = subprocess.run(
            [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env={
                "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
                "RUNNER_TEMP": str(tmp_path),
                "GITHUB_WORKSPACE": str(workspace),
                "SOURCE": str(source),
                "VERSION": version,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, message in done.stdout) == (2 if message else 0, True), (source, done)
        assert log.exists() is ("checkout" not in message)
        if log.exists():
            assert "--require-hashes" in log.read_text()


@pytest.mark.parametrize("name", ["version", "policy"])
def test_what_judges_is_always_named(name: str) -> None:
    assert ACTION["inputs"][name]["required"] is True
    assert "default" not in ACTION["inputs"][name]


def test_the_workflow_takes_policy_and_verifier_from_elsewhere() -> None:
    """By default what is checked out for pull_request_target is the base; only models and proofs are the request's."""
    assert set(WORKFLOW[True]) == {"push", "pull_request_target"}  # YAML 1.1 reads the key `on` so
    base, tested = (step["with"] for step in WORKFLOW["jobs"]["gate"]["steps"] if "checkout" in step.get("uses", ""))
    assert (base["path"], "ref" in base) == ("base", False)
    assert tested["path"] == "tested"
    steps = {step.get("name"): step for step in WORKFLOW["jobs"]["gate"]["steps"]}
    assert "working-directory" not in steps["Install the verifier"]
    assert "--require-hashes" in steps["Install the verifier"]["run"]


def test_the_workflow_calls_the_gate(tmp_path: Path) -> None:
    step = next(step for step in WORKFLOW["jobs"]["gate"]["steps"] if step.get("name") == "Gate")
    found = called(tmp_path, BASH, step["run"], {})
    expected = ["--models", "models", "--policy", "../base/certificates/policy.toml"]
    assert found == [
        *("-I", "-m", "verifier", "gate", *expected),
        *("--junit", str(tmp_path / "gate.xml"), "--github", "--", "certificates"),
    ]


def test_what_is_installed_is_locked() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    entries = re.findall(r"^([a-z-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    locked = {name: version for name, version, _ in entries}
    assert len(locked) == text.count("==")
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert sorted(hook["additional_dependencies"]) == sorted(
        f"{name}=={version}" for name, version in locked.items() if name != "setuptools"
    )


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
    assert hook["entry"].endswith("gate --policy"), "without args, a usage error"
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
    for path in re.findall(r"`((?:scripts|tests|docs|verifier)/[\w./-]+)`", GUIDE):
        assert (ROOT / path).exists() or path == "docs/soundness.md", path
    assert len((ROOT / "scripts" / "verify-with-openssl.sh").read_text().splitlines()) < 110
