"""The command line: finds the command, runs it, and turns expected failures into one line and an exit code.

Only the module of the command that runs is imported, so that `verifier --help` and `verifier check` start
at once.

Exit codes: 0 proved, or done; 1 a statement is false or unproved, or a signature, policy or gate fails;
2 bad input or usage; 130 interrupted; 141 the reader of standard output went away. A traceback means a
bug in this program, never bad input.
"""

from __future__ import annotations

import argparse
import importlib
import io
import keyword
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from verifier import __version__
from verifier.errors import InputError, VerifierError, one_line

if TYPE_CHECKING:
    from verifier.kernel import Rejected

COMMANDS: dict[str, str] = {
    "import": "turn a checkpoint of another format into a native model file",
    "check": "check a certificate against a model",
    "certify": "explain, check and sign, in one go",
    "sweep": "certify many models, with a row for each",
    "verify": "verify a signed proof against a model and a policy",
    "gate": "require a proof that meets the policy for every model",
    "keygen": "make a signing key",
    "init": "set a repository up: policy, workflow, pre-commit entry",
    "publish": "write what other tools read about a verified proof",
    "explain": "say in words and numbers how a model computes",
    "plot": "draw the figures of a model and its proof",
    "report": "write one self-contained page on a model and its proof",
    "audit": "check a proof again with an independent implementation",
}
"""Every command, in the order of the help text, with its line there."""

EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "matplotlib": "plots",
    "mpmath": "audit",
    "distributed": "cluster",
}
"""Third-party modules that a plain installation lacks, with the extra that brings them."""

OK, FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class Command(Protocol):
    """What a module in `verifier.commands` provides."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


class Parser(argparse.ArgumentParser):
    """argparse, with a usage error told in one line like every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {one_line(message)} (see '{self.prog} --help')\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _dispatch(words))


def guarded(work: Callable[[], int]) -> int:
    """The exit code of some work; an expected failure is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name we cannot print is no reason to fail
    try:
        try:
            code = work()
        except SystemExit as error:  # argparse: --help, --version, usage
            code = error.code if isinstance(error.code, int) else BAD_INPUT
        sys.stdout.flush()  # here, where a reader that went away is still handled
        return code
    except KeyboardInterrupt:
        print("verifier: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            raise
        code, message = expected
        print(f"verifier: {one_line(message)}", file=sys.stderr)
        return code


def _version() -> str:
    from verifier.kernel.events import loop

    return f"verifier {__version__} (kernel loop: {loop()})"


def _dispatch(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        parser = Parser(
            prog="verifier",
            usage="verifier COMMAND [ARGUMENT ...]",
            description="Certified logit bounds and accuracy for ReLU transformers that add modulo p.",
            epilog=_command_table(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument("--version", action="version", version=_version() if "--version" in words else "")
        parser.parse_args(words)
        parser.error("which command?")
    name = words[0]
    if name not in COMMANDS:
        raise InputError("command line", "", f"there is no command {name!r}{_suggestion(name)}")
    command = _load(name)
    parser = Parser(prog=f"verifier {name}", description=command.HELP, allow_abbrev=False)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words[1:]))


def _command_table() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {line}" for name, line in COMMANDS.items())
    return "commands:\n" + "\n".join(lines) + "\n\n'verifier COMMAND --help' tells more."


def _suggestion(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; 'verifier --help' lists them"


def module_of(name: str) -> str:
    """The module of a command: its name, with an underscore where Python has taken it (`import_`)."""
    return f"verifier.commands.{name}" + "_" * keyword.iskeyword(name)


def _load(name: str) -> Command:
    module = module_of(name)
    try:
        return cast(Command, importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError("command line", "", f"the command {name!r} is missing from this installation") from None


def _expected(error: Exception) -> tuple[int, str] | None:
    """Exit code and message of a failure that is not a bug of this program; None for a bug."""
    if isinstance(error, VerifierError):
        return error.exit_code, str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRAS:
        package = (error.name or "").partition(".")[0]
        return (
            BAD_INPUT,
            f"this needs the package {package}: pip install 'modular-addition-verifier[{EXTRAS[package]}]'",
        )
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
        return BAD_INPUT, f"{os.fsdecode(error.filename)}: {error.strerror or error}"
    # The kernel is not imported for this: were it not there yet, the error could not be one of its own.
    rejected = getattr(sys.modules.get("verifier.kernel"), "Rejected", None)
    if isinstance(rejected, type) and isinstance(error, rejected):
        kind = cast("Rejected", error).reason.kind
        return BAD_INPUT if kind == "malformed" else FAILED, f"{kind}: {error}"
    return None
