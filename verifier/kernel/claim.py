"""The claim: what is to be proved. It has an owner of its own and never comes from the certificate."""

from __future__ import annotations

from dataclasses import dataclass

from verifier.kernel import limits
from verifier.kernel.model_file import TASK
from verifier.kernel.reasons import Reason, require
from verifier.kernel.strict_json import Fields, decode

FORMAT = "verifier-claim/1"
STRATEGIES = ("linear", "refined", "exhaustive")
SEMANTICS = ("real", "binary32", "tf32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Claim:
    """For at least `certified_inputs` of the p² inputs (a, b) the largest logit is that of (a + b) mod p.

    **Fields**

    - `model_sha256`: of the model file's bytes.
    - `strategy`: how it may be proved; each allows the ones before it: `linear`, `refined`, `exhaustive`.
    - `semantics`: the arithmetic the network is executed in; `real` is exact.
    - `refinement_budget`: what refinement may cost, in multiples of the parameter count P.
    """

    p: int
    model_sha256: str
    strategy: str
    semantics: str
    certified_inputs: int
    refinement_budget: int


def read_claim(data: bytes, source: str = "claim") -> Claim:
    """Decode a claim.

    **Raises** `Rejected` with `SIZE`, `JSON`, `FIELD`, `RANGE`, `FORMAT` or `TASK`.
    """
    names = (
        "format",
        "task",
        "p",
        "model_sha256",
        "strategy",
        "semantics",
        "certified_inputs",
        "refinement_budget",
    )
    fields = Fields(decode(data, source, limits.CLAIM_BYTES), source, names)
    require(fields.text("format") == FORMAT, Reason.FORMAT, f"{source}.format: not {FORMAT!r}")
    require(fields.text("task") == TASK, Reason.TASK, f"{source}.task: not {TASK!r}")
    p = fields.integer("p", 3, limits.MODULUS)
    strategy, semantics = fields.text("strategy"), fields.text("semantics")
    require(strategy in STRATEGIES, Reason.FIELD, f"{source}.strategy: not one of {', '.join(STRATEGIES)}")
    require(semantics in SEMANTICS, Reason.FIELD, f"{source}.semantics: not one of {', '.join(SEMANTICS)}")
    return Claim(
        p=p,
        model_sha256=fields.digest("model_sha256"),
        strategy=strategy,
        semantics=semantics,
        certified_inputs=fields.integer("certified_inputs", 0, p * p),
        refinement_budget=fields.integer("refinement_budget", 0, limits.REFINEMENT_BUDGET),
    )
