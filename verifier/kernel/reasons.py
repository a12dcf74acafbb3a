"""Why the kernel says no: one closed list of reasons, one exception, one way to raise it."""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verifier.kernel.check import Checked


@unique
class Reason(Enum):
    """Every reason for a rejection. The value is the message; `kind` tells malformed from unproved."""

    # The bytes are not what they should be.
    SIZE = "a size is beyond the kernel's limits"
    JSON = "the text is not strict JSON"
    FIELD = "a field is missing, unknown or of the wrong type"
    RANGE = "a number is outside its range"
    FORMAT = "the format or version is not one the kernel knows"
    TENSOR = "a tensor is missing, unknown or of the wrong shape or type"
    LAYOUT = "the tensor data has an overlap, a hole or a remainder"
    NOT_FINITE = "a weight is not a finite number"
    TASK = "the task is not one the kernel knows"
    # The inputs are well-formed but do not belong together.
    DIGEST = "the file is not the one that was named"
    MODULUS = "p differs between the model, the claim and the certificate"
    NEURONS = "a neuron is missing, repeated or out of range"
    FREQUENCY = "a frequency is out of range, repeated or missing"
    EMPTY = "an obligation is empty"
    CAPACITY = "a number in the argument does not fit its fixed-point lane"
    # The statement was checked and does not follow.
    INPUTS = "fewer inputs could be certified than the claim says"
    BUDGET = "the strategy would cost more than its budget"
    NOT_PROVED = "an inequality could not be proved"

    @property
    def kind(self) -> str:
        """`"unproved"` when the statement failed, `"malformed"` when an input did."""
        return "unproved" if self in (Reason.INPUTS, Reason.BUDGET, Reason.NOT_PROVED) else "malformed"


class Rejected(Exception):
    """The only exception that leaves the kernel for bad input.

    **Fields**

    - `reason`: a `Reason`.
    - `detail`: the file, the field and the rule, in one sentence.
    - `findings`: what was proved all the same, when the statement was checked and failed.
    """

    def __init__(self, reason: Reason, detail: str, findings: Checked | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.findings = findings


def require(condition: bool, reason: Reason, detail: str) -> None:
    """Reject unless `condition` is the value True (an undecided comparison is not).

    **Raises** `Rejected`.
    """
    if condition is not True:
        raise Rejected(reason, detail)
