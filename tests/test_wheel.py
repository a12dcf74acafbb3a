"""The wheel, in an environment that has nothing but what it requires, certifies a native file without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

from tests.shipped import ROOT, SMALL
from verifier import __version__

SOURCES = ("pyproject.toml", "README.md", "LICENSE")


def run(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def closure(names: set[str]) -> set[str]:
    """These distributions, and all that they need without extras."""
    found: set[str] = set()
    while names - found:
        name = min(names - found)
        found.add(name)
        for line in distribution(name).requires or ():
            if "extra ==" not in line and "python_version <" not in line:
                names = names | {re.split(r"[^\w.-]", line)[0]}
    return found


def test_the_wheel_certifies_without_torch(tmp_path: Path) -> None:
    source, wheels, deps, place = (tmp_path / name for name in ("source", "wheels", "deps", "venv"))
    shutil.copytree(ROOT / "verifier", source / "verifier", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in SOURCES:
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, source)
    (wheel,) = wheels.iterdir()
    assert wheel.name.startswith(f"modular_addition_verifier-{__version__}-")

    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    (packages,) = place.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("*.dist-info/METADATA")
    base = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata.read_text(), re.MULTILINE)
    assert {"numpy", "scipy", "python-flint", "cryptography"} <= set(base)
    assert "torch" not in base
    deps.mkdir()
    for name in sorted(closure(set(base))):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (deps / top).symlink_to(str(distribution(name).locate_file(top)))
    (packages / "deps.pth").write_text(f"{deps}\n")

    run(python, "-c", "import torch", code=1)
    model, key, out = tmp_path / "model.safetensors", tmp_path / "key.pem", tmp_path / "out"
    shutil.copy(SMALL, model)
    command = place / "bin" / "verifier"
    run(command, "keygen", key)
    done = run(command, "certify", model, "--out", out, "--key", key)
    assert done.stdout.startswith("PROVED: for all 529 inputs")
    assert (out / "model" / "proof.sigstore.json").is_file()
    found = run(python, "-c", f"import verifier; print(verifier.certify({str(model)!r}).margins.shape)")
    assert found.stdout == "(23, 23)\n"
