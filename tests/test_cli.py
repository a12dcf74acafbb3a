"""The dispatcher: lazy commands, exit codes, and one line for every failure that is not a bug."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import NoReturn
from unittest import mock

import pytest

import verifier
from verifier import __version__, cli
from verifier.errors import MESSAGE_LIMIT, InputError, VerifierError, one_line
from verifier.files import FileError
from verifier.kernel import events
from verifier.proof.reasons import MalformedError, Reason, VerificationError
from verifier.prove import Unexplained

Install = Callable[[Callable[[argparse.Namespace], int]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a command `check` in place whose `run` is the given function; it has one option, `--number`."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--number", type=int, default=0)

    def put(run: Callable[[argparse.Namespace], int]) -> None:
        module = ModuleType("verifier.commands.check")
        module.__dict__.update(HELP="a command for tests", add_arguments=add_arguments, run=run)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> NoReturn:
        raise error

    return run


def test_help_lists_every_command_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"\n  {name} ") for name in cli.COMMANDS]
    assert places == sorted(places)
    assert all(line in text for line in cli.COMMANDS.values())
    assert max(map(len, text.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"verifier {__version__} (kernel loop: {events.loop()})\n"
    with mock.patch.object(events, "COMPILED", None):
        assert cli.main(["--version"]) == 0
    assert "arrays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "which command?"),
        (["--versio"], "--versio"),
        (["nonsense"], "no command 'nonsense'"),
        (["verfy"], "did you mean 'verify'?"),
        (["../check"], "no command"),
        (["check.x"], "no command"),
        (["a\nb\x1b[2J"], "no command"),
        (["\udcff"], "no command"),
        (["check", "--number", "x"], "invalid int value"),
        (["check", "--numbe", "1"], "--numbe"),
        (["check", "--other\x1b"], "--other"),
    ],
)
def test_a_usage_error_is_one_line(
    words: list[str], part: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(lambda arguments: 0)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert part in err
    assert err[:-1].isprintable()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_the_command_s(code: int, install: Install) -> None:
    install(lambda arguments: code + arguments.number)
    assert cli.main(["check"]) == code
    assert cli.main(["check", "--number", "3"]) == code + 3


def test_a_command_missing_from_the_installation_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "vanished", "a command without a module")
    assert cli.main(["vanished"]) == 2
    assert capsys.readouterr().err == (
        "verifier: command line: the command 'vanished' is missing from this installation\n"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            InputError("m.safetensors", "tensor W", "must be float32"),
            "m.safetensors: tensor W must be float32",
        ),
        (InputError(Path("m"), "", "is empty"), "m: is empty"),
        (InputError("m\nn", "\x1b[2J", "is bad"), "m\\nn: \\x1b[2J is bad"),
        (MalformedError(Reason.JSON, "65 levels"), "the text is not strict JSON: 65 levels"),
        (VerificationError(1, Reason.SIZE, "m"), "step 1: the text is longer than the limit: m"),
        (FileError("m is a symbolic link"), "m is a symbolic link"),
        (FileNotFoundError(2, "No such file or directory", "m"), "m: No such file or directory"),
        (FileNotFoundError(2, "No such file or directory", b"m"), "m: No such file or directory"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            "this needs the package torch: pip install 'modular-addition-verifier[torch]'",
        ),
        (
            ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.pyplot"),
            "this needs the package matplotlib: pip install 'modular-addition-verifier[plots]'",
        ),
        (ModuleNotFoundError("No module named 'verifier.typo'", name="verifier.typo"), None),
        (OSError("no file name, so a bug"), None),
        (ZeroDivisionError("a bug"), None),
    ],
)
def test_bad_input_is_one_line_and_a_bug_is_a_traceback(
    error: Exception, message: str | None, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(raising(error))
    if message is None:
        with pytest.raises(type(error)):
            cli.main(["check"])
        return
    assert cli.main(["check"]) == 2
    assert capsys.readouterr() == ("", f"verifier: {message}\n")


def test_an_interruption_is_130(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(raising(KeyboardInterrupt()))
    assert cli.main(["check"]) == 130
    assert capsys.readouterr() == ("", "verifier: interrupted\n")


class StandInReason(Enum):
    """A reason of each kind, as in `verifier.kernel.Reason`."""

    MALFORMED = "the text is not strict JSON"
    UNPROVED = "an inequality could not be proved"

    @property
    def kind(self) -> str:
        return self.name.lower()


@pytest.mark.parametrize(("reason", "code"), [(StandInReason.MALFORMED, 2), (StandInReason.UNPROVED, 1)])
def test_a_rejection_tells_malformed_from_unproved(
    reason: StandInReason,
    code: int,
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Rejected(Exception):
        def __init__(self, reason: StandInReason, detail: str) -> None:
            super().__init__(f"{reason.value}: {detail}")
            self.reason = reason

    kernel = ModuleType("verifier.kernel")
    kernel.__dict__["Rejected"] = Rejected
    monkeypatch.setitem(sys.modules, "verifier.kernel", kernel)
    install(raising(Rejected(reason, "families[0]\n")))
    assert cli.main(["check"]) == code
    assert capsys.readouterr().err == f"verifier: {reason.kind}: {reason.value}: families[0]\\n\n"
    install(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["check"])


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_goes_away_is_no_error(buffered: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    program = (
        "import sys\n"
        "from verifier import cli, console\n"
        "cli._dispatch = lambda words: console.emit_json({'p': 59})\n"
        "sys.exit(cli.main([]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"},
    )
    os.close(write)
    assert process.stderr == b""
    assert process.returncode == 141


def test_a_name_the_terminal_cannot_print_is_escaped() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "verifier", "ünknown\N{GREEK SMALL LETTER PHI}"],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert process.returncode == 2
    assert process.stderr.count(b"\n") == 1
    assert b"Traceback" not in process.stderr


def test_a_message_is_short() -> None:
    text = one_line("x\n" * 10**6)
    assert len(text) <= MESSAGE_LIMIT
    assert text.endswith("...")
    assert "\n" not in text
    assert one_line("φ × 2π") == "φ × 2π"
    assert one_line("\ud800") == "\\ud800"


def test_a_proof_that_fails_is_no_bad_input(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(raising(VerificationError(5, Reason.MODEL_DIGEST, "sha256 1, signed 2")))
    assert cli.main(["check"]) == 1
    assert capsys.readouterr().err.startswith("verifier: step 5: the model file is not")
    install(raising(Unexplained("no neuron depends on its input")))
    assert cli.main(["check"]) == 1


def test_every_error_of_this_package_has_one_base() -> None:
    """So none can end in a traceback. The kernel imports nothing from here, and the explainer's is never let out."""
    found: set[type[BaseException]] = set()
    folder = Path(verifier.__path__[0])
    for path in folder.rglob("[!_]*.py"):
        name = ".".join(("verifier", *path.relative_to(folder).with_suffix("").parts))
        content = vars(importlib.import_module(name)).values()
        found |= {x for x in content if isinstance(x, type) and issubclass(x, BaseException)}
    own = {x.__name__ for x in found if x.__module__.startswith("verifier.") and not issubclass(x, VerifierError)}
    assert own == {"Rejected"}


def test_out_means_the_same_in_every_command() -> None:
    """`-o` is short for `--out`, wherever there is either; and a command that writes files has it."""
    found = set()
    for name in cli.COMMANDS:
        parser = argparse.ArgumentParser(allow_abbrev=False)
        cli._load(name).add_arguments(parser)
        for action in parser._actions:
            if {"-o", "--out"} & set(action.option_strings):
                assert action.option_strings == ["-o", "--out"], name
                found.add(name)
    assert found == {"import", "certify", "plot", "report", "sweep"}
