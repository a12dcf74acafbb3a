"""The kernel as verification sees it, imported only when something is checked.

Tests hand in a small deterministic one of their own; nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from verifier.kernel.forms import Json
from verifier.proof.canonical import as_json
from verifier.proof.reasons import MalformedError, Reason

Observer = Callable[[str, int, int], None]
"""`observe(step, done, total)`."""


def ignore(step: str, done: int, total: int) -> None:
    """An observer that does nothing."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """How to check a certificate.

    **Fields**

    - `check(model, claim, certificate, observe)`: the conclusion's document.
    - `rejection`: the exception by which it says no.
    """

    check: Callable[[bytes, bytes, bytes, Observer], object]
    rejection: type[Exception]


def trusted_kernel() -> Kernel:
    """The kernel of this package."""
    from verifier.kernel import Rejected, check

    def document(model: bytes, claim: bytes, certificate: bytes, observe: Observer) -> object:
        return check(model, claim, certificate, observe).conclusion.document()

    return Kernel(document, Rejected)


def conclusion_value(document: object) -> dict[str, Json]:
    """A conclusion's document as an exact JSON object.

    **Raises** `MalformedError` if it is not one.
    """
    value = as_json(document)
    if not isinstance(value, dict):
        raise MalformedError(Reason.FIELD, "the conclusion must be an object")
    return value
