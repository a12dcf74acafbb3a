"""Canonical JSON: one text for one value.

The canonical text is ASCII: names sorted, no white space, everything outside ASCII escaped as `\\uXXXX`. It is decoded
by the kernel's strict decoder, which has no floats, and integers of at most 15 digits, since readers that keep numbers
in binary64 change those beyond 2^53 in transit; larger ones travel as decimal strings. For values whose strings are
printable ASCII, which is all this project writes, it is also the canonical form of RFC 8785.
"""

from __future__ import annotations

import json

from verifier.kernel import Reason as KernelReason
from verifier.kernel import Rejected, forms
from verifier.kernel.forms import Json
from verifier.proof.reasons import MalformedError, Reason

MOST = 1 << 24
"""Bytes of a document that is built here."""


def encode(value: object) -> bytes:
    """The canonical text of `value`.

    **Raises** `MalformedError` for what JSON does not have.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError(Reason.FIELD, str(error)) from None
    return text.encode("ascii")


def decode(data: bytes, limit: int) -> Json:
    """The value of a JSON text of at most `limit` bytes, which need not be canonical.

    **Raises** `MalformedError(SIZE | JSON)`.
    """
    try:
        return forms.decode(data, "text", limit)
    except Rejected as error:
        reason = Reason.SIZE if error.reason is KernelReason.SIZE else Reason.JSON
        raise MalformedError(reason, error.detail) from None


def decode_canonical(data: bytes, limit: int) -> Json:
    """The value of a canonical text: `encode(decode_canonical(data)) == data`.

    **Raises** `MalformedError`: as `decode`, and `NOT_CANONICAL`.
    """
    value = decode(data, limit)
    if encode(value) != data:
        raise MalformedError(Reason.NOT_CANONICAL, "white space, order of names, or an escape")
    return value


def as_json(value: object) -> Json:
    """`value`, a document built here, as it is read back: tuples are lists.

    **Raises** `MalformedError`.
    """
    return decode(encode(value), MOST)
