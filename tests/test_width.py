"""Every command at 80 columns, in a pipe and on a terminal: no line is longer, and no word or number is broken."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shipped import POISONED, ROOT, SMALL, policy_of
from verifier import cli

COLUMNS = 80
COMMANDS = {
    "certify": ("certify", "s.safetensors", "--force"),
    "certify, kept": ("certify", "s.safetensors"),
    "certify, two": ("certify", "s.safetensors", "poisoned.safetensors"),
    "certify, wrong": ("certify", "poisoned.safetensors"),
    "certify, arithmetic": ("certify", "s.safetensors", "--semantics", "bfloat16", "--out", "other"),
    "check": ("check", "s.safetensors", "certificates/s/certificate.json"),
    "verify": ("verify", "certificates/s/proof.sigstore.json", "--model", "s.safetensors", "--policy", "policy.toml"),
    "keygen": ("keygen", "k.pem"),
}
LONG = re.compile(r"\S{81,}|[0-9a-f]{64}|SHA256:\S+|\S*/\S+")
"""What may stand out: digests, fingerprints and paths."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("width")
    (place / "s.safetensors").write_bytes(SMALL.read_bytes())
    (place / "poisoned.safetensors").write_bytes(POISONED.read_bytes())
    run(place, COMMANDS["certify"])
    (place / "policy.toml").write_text(policy_of(place / "config" / "verifier" / "key.pub.pem"))
    return place


def environment(place: Path, columns: int) -> dict[str, str]:
    return os.environ | {
        "XDG_CONFIG_HOME": str(place / "config"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": str(columns),
        "TERM": "xterm",
        "NO_COLOR": "1",
    }


def run(place: Path, words: tuple[str, ...], columns: int = COLUMNS) -> str:
    command = [sys.executable, "-m", "verifier", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=place, env=environment(place, columns), check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout


def watched(place: Path, words: tuple[str, ...], columns: int) -> str:
    """What a person sees on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "verifier", *words]
    with subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.DEVNULL, cwd=place, env=environment(place, columns)
    ) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            found += part
        process.wait()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", found.decode().replace("\r\n", "\n"))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_is_longer_than_the_screen(name: str, folder: Path) -> None:
    printed = run(folder, COMMANDS[name])
    assert printed
    assert "\\n" not in printed
    for line in printed.splitlines():
        assert len(line) <= COLUMNS or LONG.search(line), line


@pytest.mark.parametrize("name", ["certify", "certify, wrong", "check"])
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_the_same_words(name: str, columns: int, folder: Path) -> None:
    """A word or number that is broken at the edge is none of those in the pipe."""

    def words(text: str) -> set[str]:
        return {word for word in text.split() if not LONG.search(word) and not re.fullmatch(r"[0-9.]+", word)}

    piped = run(folder, COMMANDS[name])
    seen = watched(folder, COMMANDS[name], columns)
    assert words(seen) == words(piped)
    lines = [line.rstrip() for line in piped.splitlines()]
    numbers = [line for line in lines if re.fullmatch(r"[ 0-9.\-]+", line) and line.strip()]
    shown = [line.rstrip() for line in seen.splitlines()]
    assert numbers
    assert set(numbers) <= set(shown)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_fits(name: str) -> None:
    for line in run(ROOT, (name, "--help")).splitlines():
        assert len(line) <= COLUMNS, line
