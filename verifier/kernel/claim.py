"""The claim: what is to be proved. It has an owner of its own and never comes from the certificate."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from verifier.kernel import limits
from verifier.kernel.forms import DIGEST, Integer, Record, Text, choice, decode
from verifier.kernel.reasons import Reason, require

FORMAT = "verifier-claim/2"
ADDITION, SUBTRACTION, MULTIPLICATION = "(a + b) mod p", "(a - b) mod p", "(a * b) mod p"
TASKS = {"addition": ADDITION, "subtraction": SUBTRACTION, "multiplication": MULTIPLICATION}
STRATEGIES = ("linear", "exact", "semi-linear")
SEMANTICS = ("real", "binary32", "tf32", "bfloat16")

FORM = Record(
    {
        "format": Text(),
        "task": Text(),
        "p": Integer(3, limits.MODULUS),
        "model_sha256": DIGEST,
        "strategy": choice(*STRATEGIES),
        "semantics": choice(*SEMANTICS),
        "certified_inputs": Integer(0, limits.MODULUS**2),
    }
)


@dataclass(frozen=True, slots=True)
class Claim:
    """For at least `certified_inputs` of the inputs (a, b) the largest logit is that of the task's answer.

    **Fields**

    - `task`: one of `TASKS`. The inputs are all p² pairs; for multiplication, the (p − 1)² without a zero.
    - `model_sha256`: of the model file's bytes.
    - `strategy`: `linear`, from a few output directions; `exact`, from the outputs themselves; or `semi-linear`, for
      learned attention, from one dense pass and a few output directions.
    - `semantics`: the arithmetic the network is executed in; `real` is exact.
    """

    task: str
    p: int
    model_sha256: str
    strategy: str
    semantics: str
    certified_inputs: int


def modulus(task: str, p: int) -> int:
    """The modulus of the addition that a task modulo p is: p, or p − 1 for the units of a prime p.

    **Raises** `Rejected(RANGE)`.
    """
    if task != MULTIPLICATION:
        return p
    prime = p >= 5 and all(p % d for d in range(2, isqrt(p) + 1))
    require(prime, Reason.RANGE, f"claim.p: {p} is not a prime from 5 on, and the task is {task}")
    return p - 1


def require_format(value: object, format: str, source: str) -> None:  # noqa: A002  the field's name
    """Refuse another format before its fields are looked at: one clear sentence for a file of an older version.

    **Raises** `Rejected(FORMAT)`.
    """
    found = value.get("format") if isinstance(value, dict) else None
    require(found == format, Reason.FORMAT, f"{source}.format: {str(found)[:40]!r}, this checker reads {format!r} only")


def read_claim(data: bytes, source: str = "claim") -> Claim:
    """Decode a claim.

    **Raises** `Rejected` with `SIZE`, `JSON`, `FIELD`, `RANGE`, `FORMAT` or `TASK`.
    """
    value = decode(data, source, limits.CLAIM_BYTES)
    require_format(value, FORMAT, source)
    fields = FORM.read(value, source)
    task, p, certified = fields["task"], fields["p"], fields["certified_inputs"]
    require(task in TASKS.values(), Reason.TASK, f"{source}.task: not one of {', '.join(TASKS.values())}")
    inputs = modulus(task, p) ** 2
    require(certified <= inputs, Reason.RANGE, f"{source}.certified_inputs: {certified} is above {inputs}")
    return Claim(task, p, fields["model_sha256"], fields["strategy"], fields["semantics"], certified)
