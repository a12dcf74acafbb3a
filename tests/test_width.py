"""Every command at 80 columns, in a pipe and on a terminal: no line is longer, and no word or number is broken."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.formats.format_samples import lens_state, memory
from tests.shipped import POISONED, ROOT, SMALL, policy_of
from verifier import cli

COLUMNS = 80
SIGNED = ("certificates/s/proof.sigstore.json", "--model", "s.safetensors", "--policy", "policy.toml")
COMMANDS = {
    "certify": ("certify", "s.safetensors", "--force"),
    "certify, kept": ("certify", "s.safetensors"),
    "certify, two": ("certify", "s.safetensors", "poisoned.safetensors"),
    "certify, wrong": ("certify", "poisoned.safetensors"),
    "certify, arithmetic": ("certify", "s.safetensors", "--semantics", "bfloat16", "--out", "other"),
    "check": ("check", "s.safetensors", "certificates/s/certificate.json"),
    "verify": ("verify", *SIGNED),
    "gate": ("gate", "certificates", "--models", ".", "--policy", "policy.toml"),
    "import": ("import", "s.pt", "-o", "imported.safetensors", "--force"),
    "explain": ("explain", "s.safetensors"),
    "explain, wrong": ("explain", "poisoned.safetensors"),
    "plot": ("plot", "s.safetensors", "-o", "figures", "--figure", "budget"),
    "report": ("report", "s.safetensors", "-o", "report.html"),
    "audit": ("audit", "certificates/s/proof.sigstore.json", "--model", "s.safetensors"),
    "keygen": ("keygen", "--show"),
    "init": ("init", "repo", "--force", "--source", f"https://git.example.org/a/verifier@{'0' * 40}"),
    "publish": ("publish", *SIGNED, "-o", "published", "--force"),
    "sweep": ("sweep", "s.safetensors", "poisoned.safetensors", "-o", "rows"),
}
LONG = re.compile(r"\S{81,}|[0-9a-f]{64}|SHA256:\S+|\S*/\S+")
"""What may stand out: digests, fingerprints and paths."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("width")
    (place / "s.safetensors").write_bytes(SMALL.read_bytes())
    (place / "poisoned.safetensors").write_bytes(POISONED.read_bytes())
    torch.save(lens_state(memory(5)), place / "s.pt")
    subprocess.run(["git", "init", "-q", place / "repo"], check=True)
    run(place, COMMANDS["certify"])
    run(place, COMMANDS["init"])  # the second time, it says what to add to a file that is there
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


def test_every_command_is_run() -> None:
    assert {words[0] for words in COMMANDS.values()} == set(cli.COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_is_longer_than_the_screen_and_no_word_is_broken(name: str, folder: Path) -> None:
    """A pipe and terminals of two widths show the same: so nothing is broken at the edge of one of them."""
    piped = run(folder, COMMANDS[name])
    assert piped.strip()
    for columns in (COLUMNS, 120):
        assert timeless(watched(folder, COMMANDS[name], columns)) == timeless(piped)
    assert "\\n" not in piped
    assert "\x1b" not in piped
    for line in piped.splitlines():
        assert len(line) <= COLUMNS or LONG.search(line), line
        assert len(LONG.sub("", line)) <= COLUMNS, line


def timeless(text: str) -> list[list[str]]:
    """The words of every line, without what is another in every run: times, keys and digests of proofs."""
    return [re.sub(r"SHA256:\S+|[0-9a-f]{64}|\b\d+\.\d+\b", "#", line).split() for line in text.splitlines()]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_fits(name: str) -> None:
    for line in run(ROOT, (name, "--help")).splitlines():
        assert len(line) <= COLUMNS, line
