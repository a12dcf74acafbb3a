"""The claim: what is to be proved. It has an owner of its own and never comes from the certificate."""

from __future__ import annotations

from dataclasses import dataclass

from verifier.kernel import limits
from verifier.kernel.forms import DIGEST, Integer, Record, Text, choice, decode
from verifier.kernel.reasons import Reason, require

FORMAT = "verifier-claim/2"
TASK = "(a + b) mod p"
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
    """For at least `certified_inputs` of the p² inputs (a, b) the largest logit is that of (a + b) mod p.

    **Fields**

    - `model_sha256`: of the model file's bytes.
    - `strategy`: `linear`, from a few output directions; `exact`, from the outputs themselves; or `semi-linear`, for
      learned attention, from one dense pass and a few output directions.
    - `semantics`: the arithmetic the network is executed in; `real` is exact.
    """

    p: int
    model_sha256: str
    strategy: str
    semantics: str
    certified_inputs: int


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
    require(fields["task"] == TASK, Reason.TASK, f"{source}.task: not {TASK!r}")
    p, certified = fields["p"], fields["certified_inputs"]
    require(certified <= p * p, Reason.RANGE, f"{source}.certified_inputs: {certified} is above p² = {p * p}")
    return Claim(p, fields["model_sha256"], fields["strategy"], fields["semantics"], certified)
