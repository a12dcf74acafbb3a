"""Start-up, the lock file, and what must never be in the tree."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from verifier import __version__, cli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = re.findall(r"^([a-z].*) \\$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
DEV = (ROOT / "requirements-dev.lock").read_text().splitlines()
START_UP_SECONDS = 0.3

# Spelled in two halves, since this file is in the tree too.
FORBIDDEN = [
    "/wo" + "rk/",
    "/tmp/" + "lab",
    "/ro" + "ot/",
    "/ho" + "me/",
    "/Us" + "ers/",
    "files.python" + "hosted",
    "py" + "pi.org",
    "download.py" + "torch",
    "registry.npm" + "js",
    "deb.deb" + "ian",
]

INSTALLED = [name for name in cli.COMMANDS if find_spec(cli.module_of(name))]


def modules_after(words: list[str]) -> set[str]:
    """The modules a fresh process has imported after running `verifier` with `words`."""
    program = (
        "import sys\n"
        "from verifier.cli import main\n"
        f"code = main({words!r})\n"
        "print(code, *sys.modules, sep='\\n', file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    code, *modules = process.stderr.splitlines()
    assert code == "0", process.stdout
    return set(modules)


@pytest.mark.parametrize("name", INSTALLED)
def test_the_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    modules = modules_after([name, "--help"])
    assert modules.isdisjoint({"torch", "matplotlib", "numpy", "scipy", "rich", "mpmath", "safetensors"})


@pytest.mark.parametrize("name", ["check", "verify"])
def test_checking_is_always_installed(name: str) -> None:
    assert name in INSTALLED


def test_the_top_level_help_imports_no_command() -> None:
    modules = modules_after(["--help"])
    assert not {module for module in modules if module.startswith("verifier.") and "cli" not in module} - {
        "verifier.errors"
    }


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["verify", "--help"]], ids=" ".join)
def test_start_up_is_quick(words: list[str]) -> None:
    def seconds() -> float:
        started = os.times()
        subprocess.run([sys.executable, "-m", "verifier", *words], stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
        ended = os.times()  # of the processor: others may be at work on this machine
        return ended.children_user + ended.children_system - started.children_user - started.children_system

    assert min(seconds() for _ in range(5)) < START_UP_SECONDS


@pytest.mark.parametrize("lines", [CORE, DEV], ids=["core", "dev"])
def test_the_lock_files_have_names_and_exact_versions_only(lines: list[str]) -> None:
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 10
    assert pins == sorted(pins, key=lambda line: line.lower().replace("_", "-").partition("==")[0])
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9]+(\.[0-9]+)*((a|b|rc|\.post)[0-9]+)?", line), line


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in requirements} - {PROJECT["name"]}


def test_the_lock_files_have_every_dependency_once() -> None:
    """What proving needs, by hashes; and all that the extras bring."""
    assert "torch==2.13.0" in DEV
    assert names(PROJECT["dependencies"]) | {"setuptools"} <= names(CORE)
    assert not names(CORE) & names(DEV)
    missing = names([line for group in PROJECT["optional-dependencies"].values() for line in group])
    assert missing <= names(CORE) | names(DEV)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared() -> None:
    """The package imports nothing beyond the standard library, itself, and its declared dependencies."""
    allowed = {"verifier", "flint", "numpy", "scipy", "cryptography", "rich"} | set(cli.EXTRAS)
    for path in sorted((ROOT / "verifier").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            match node:
                case ast.Import(names=aliases):
                    names = [alias.name for alias in aliases]
                case ast.ImportFrom(module=str(module), level=0):
                    names = [module]
                case ast.ImportFrom():
                    pytest.fail(f"{path}:{node.lineno}: relative import")
                case _:
                    continue
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path}:{node.lineno}: {name}"


def test_every_extra_that_the_command_line_names_exists() -> None:
    assert set(cli.EXTRAS.values()) <= set(PROJECT["optional-dependencies"])


def test_the_version_is_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def tree() -> list[Path]:
    """The files git tracks or would track; everything outside hidden folders when this is not a checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    if listing.returncode == 0:
        paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        hidden = re.compile(r"(^|/)(\.(?!ci/|gitignore)|build/|__pycache__/|[^/]*\.egg-info/)")
        paths = [path for path in ROOT.rglob("*") if not hidden.search(path.relative_to(ROOT).as_posix())]
    return sorted(path for path in paths if path.is_file())


def test_no_machine_path_registry_or_private_key_is_in_the_tree() -> None:
    private_key = rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"
    needles = re.compile(b"|".join([private_key, *(re.escape(text.encode()) for text in FORBIDDEN)]))
    files = tree()
    assert ROOT / "verifier" / "cli.py" in files
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in files
        if (match := needles.search(path.read_bytes()))
    ]
    assert not found, found


def test_continuous_integration_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r'^targets="(.*)"$', script.read_text(), re.MULTILINE)
    assert targets is not None
    assert targets[1].split() == ["test", "lint", "gate"]
    assert "for target in $targets; do" in script.read_text()
    for target in [
        *targets[1].split(),
        "certify",
        "bench",
        "soundness",
        "train",
        "formal",
        "formal-check",
        "docs",
        "clean",
        "install",
        "dev",
    ]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_proving_needs_the_small_set_up_only() -> None:
    makefile = (ROOT / "Makefile").read_text()
    needs = dict(re.findall(r"^([a-z]+): (install|dev)$", makefile, re.MULTILINE))
    assert {name for name, need in needs.items() if need == "install"} == {"certify", "gate"}
    assert {"test", "lint", "docs", "train", "bench", "soundness"} <= needs.keys()
