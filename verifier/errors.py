"""What every expected failure is, the one for bad input, and how messages are kept to one line."""

from __future__ import annotations

import os

MESSAGE_LIMIT = 600


class VerifierError(Exception):
    """An expected failure: a line on standard error and an exit code, never a traceback.

    Every error that this package raises on purpose is one, but for the kernel's `Rejected`, which imports nothing from
    here. `exit_code` is 1 where a statement is false or unproved, 2 for bad input.
    """

    exit_code = 1


class InputError(VerifierError):
    """Something a user handed in breaks a rule: exit code 2, one line on standard error, nothing written.

    **Arguments**

    - `source`: where it came from, usually a file; for a command-line option, its name.
    - `field`: the part that is wrong, e.g. `tensor embed.W_E`; empty when it is the whole source.
    - `rule`: what it must be, or what it is not, e.g. `must be float32, not float16`.

    The three read as one sentence: `m.safetensors: tensor embed.W_E must be float32, not float16`.
    """

    exit_code = 2

    def __init__(self, source: str | os.PathLike[str], field: str, rule: str) -> None:
        super().__init__(source, field, rule)  # all three, so that the error survives pickling between processes
        self.source = os.fspath(source)
        self.field = field
        self.rule = rule

    def __str__(self) -> str:
        return one_line(f"{self.source}: {self.field} {self.rule}" if self.field else f"{self.source}: {self.rule}")


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text` as one printable line of at most `limit` characters.

    Messages quote names from files nobody trusts: line breaks, terminal escapes and lone surrogates are
    written as escapes, so that a file cannot forge a second line or steer the terminal.
    """
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
