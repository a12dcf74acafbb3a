"""Reading files with a limit, and replacing them atomically."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from verifier.errors import InputError, VerifierError


class FileError(VerifierError, OSError):
    """A file that must not be read: not a regular file, a symbolic link, too large, or open to others."""

    exit_code = 2


def read_limited(path: Path, limit: int, *, follow: bool = True, private: bool = False) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Opening never blocks on a pipe, and the checks are made on the opened file, not on its name, so nothing
    can be swapped between the check and the reading. With `follow=False` the last part of `path` must not
    be a symbolic link; with `private=True` nobody but its owner may have any right to the file.

    **Raises** `FileError`; `OSError` if the file cannot be opened or read.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    if not follow:
        if path.is_symlink():
            raise FileError("is a symbolic link")
        flags |= os.O_NOFOLLOW
    handle = os.open(path, flags)
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise FileError("is not a regular file")
        if private and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(facts.st_mode)
            raise FileError(f"is open to others than its owner (mode {mode:04o}); run: chmod 600")
        if facts.st_size > limit:
            raise FileError(f"is larger than {limit} bytes")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:  # it grew meanwhile
        raise FileError(f"is larger than {limit} bytes")
    return data


def read_input(path: Path, limit: int, *, private: bool = False) -> bytes:
    """The same for a file that a user named.

    **Raises** `InputError`.
    """
    try:
        return read_limited(path, limit, private=private)
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: an interruption leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
