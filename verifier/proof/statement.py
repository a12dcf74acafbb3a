"""The statement that is signed: in-toto Statement v1 whose predicate is the proof.

Subject: the model file, by name and SHA-256. Predicate, with fields that are all required:

- `claim`: the claim, the same JSON value as in the claim file; `claimDigest`: SHA-256 of that file.
- `certificateDigest`: SHA-256 of the certificate, which stays a file of its own: it is large, nobody needs
  it to read what was proved, and whoever wants to recheck names it anyway.
- `conclusion`: what the kernel concluded: the theorem, its lemmas, budget and cost, every number exact. A
  recheck must give this very value, so nothing in it depends on the clock or the machine.
- `environment`: versions of this package, python-flint, flint and Python, and which loop of the kernel ran. For
  information; a recheck need not have the same.

The predicate type is a URI under `.invalid`, a top-level domain that is reserved for ever (RFC 6761): it
names the type, resolves nowhere, and nobody can come to own it. It ends in the major version; a change that
an old reader would misread gets a new one. Unlike in-toto's default, unknown fields are refused, at every
level.

Source: in-toto attestation framework, Statement v1 and "TypeURI".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

from verifier.kernel.claim import ADDITION
from verifier.kernel.forms import Json
from verifier.proof import canonical
from verifier.proof.documents import PREDICATE_TYPE, STATEMENT, STATEMENT_TYPE
from verifier.proof.envelope import MAX_BUNDLE_BYTES
from verifier.proof.forms import require
from verifier.proof.reasons import MalformedError, Reason, VerificationError

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Statement:
    """A decoded statement.

    **Fields**

    - `model_name`, `model_sha256`: the subject.
    - `claim`, `claim_sha256`: the claim as a value, and the digest of its file.
    - `certificate_sha256`.
    - `conclusion`: the kernel's document.
    - `environment`: versions by name.
    """

    model_name: str
    model_sha256: str
    claim: dict[str, Json]
    claim_sha256: str
    certificate_sha256: str
    conclusion: dict[str, Json]
    environment: dict[str, str]


def sha256(data: bytes) -> str:
    """SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode_statement(statement: Statement) -> bytes:
    """The payload: canonical JSON.

    **Raises** `MalformedError` for a statement that could not be read back.
    """
    value: Json = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": statement.model_name, "digest": {"sha256": statement.model_sha256}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "claim": statement.claim,
            "claimDigest": {"sha256": statement.claim_sha256},
            "certificateDigest": {"sha256": statement.certificate_sha256},
            "conclusion": statement.conclusion,
            "environment": canonical.as_json(statement.environment),
        },
    }
    require(STATEMENT, value, "statement")
    return canonical.encode(value)


def decode_statement(payload: bytes, predicate_types: tuple[str, ...]) -> Statement:
    """Read a payload strictly. Its types are looked at before the rest, so that each has its own reason.

    **Raises** `MalformedError`; `VerificationError` with `STATEMENT_TYPE`, or with `PREDICATE_TYPE` for one
    that is not in `predicate_types` or that this version does not read.
    """
    value = canonical.decode_canonical(payload, MAX_BUNDLE_BYTES)
    if not isinstance(value, dict):
        raise MalformedError(Reason.FIELD, "statement must be an object")
    kind, predicate_type = value.get("_type"), value.get("predicateType")
    if isinstance(kind, str) and kind != STATEMENT_TYPE:
        raise VerificationError(4, Reason.STATEMENT_TYPE, kind[:80])
    if isinstance(predicate_type, str) and predicate_type not in predicate_types:
        raise VerificationError(4, Reason.PREDICATE_TYPE, predicate_type[:80])
    if isinstance(predicate_type, str) and predicate_type != PREDICATE_TYPE:
        raise VerificationError(4, Reason.PREDICATE_TYPE, f"{predicate_type[:80]} is unknown to this version")
    require(STATEMENT, value, "statement")
    (subject,) = cast(list[dict[str, Json]], value["subject"])
    predicate = cast(dict[str, dict[str, Json]], value["predicate"])
    return Statement(
        model_name=str(subject["name"]),
        model_sha256=str(cast(dict[str, Json], subject["digest"])["sha256"]),
        claim=predicate["claim"],
        claim_sha256=str(predicate["claimDigest"]["sha256"]),
        certificate_sha256=str(predicate["certificateDigest"]["sha256"]),
        conclusion=predicate["conclusion"],
        environment={name: str(version) for name, version in predicate["environment"].items()},
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What a policy can ask about, read off a conclusion; every number exact.

    **Fields**

    - `p`, `task`; and the model file's own `metadata` (format, layout, attention), empty where it was not read.
    - `certified_inputs` and `explained_inputs` of `total_inputs`; `semantics`.
    - `min_margin`: the least certified margin; zero or less when an input is not certified.
    - `relative_margin`: that over the sum of the closed form's amplitudes; None where there is no closed form.
    - `max_error`: the largest distance of a logit from the closed form, but for what all logits of an input share.
    - `gap_error`: the largest relative error of the closed form's gaps; None where it has none.
    - `relative_quadrature_bounds`: by frequency, of the rule the certificate describes; 1 is vacuous.
    - `relative_network_errors`: by frequency, the same for the network itself (`relative_network_error`); None where
      no bound is known.
    - `cost_per_parameter`: operations per circuit parameter.
    """

    p: int
    certified_inputs: int
    explained_inputs: int
    total_inputs: int
    semantics: str
    min_margin: Fraction
    relative_margin: Fraction | None
    max_error: Fraction
    gap_error: Fraction | None
    relative_quadrature_bounds: dict[int, Fraction]
    relative_network_errors: dict[int, Fraction | None]
    cost_per_parameter: Fraction
    metadata: Mapping[str, str] = field(default_factory=dict)
    task: str = ADDITION

    @property
    def accuracy(self) -> Fraction:
        return Fraction(self.certified_inputs, self.total_inputs)


def relative_network_error(error: Fraction, amplitude: Fraction) -> Fraction | None:
    """The network's distance from the closed form at one frequency over the naive bound, rounded up.

    The naive bound 4/(3π) is 2/π of the integral 2/3, so it is 2/π of the closed form's largest coefficient; 355/113
    > π. None when the amplitude is not known to be positive.
    """
    return Fraction(355, 226) * error / amplitude if amplitude > 0 else None


def read_facts(conclusion: dict[str, Json]) -> Facts:
    """The facts in a conclusion that has the form `CONCLUSION`.

    **Raises** `MalformedError(FIELD)` for numbers that cannot be true together.
    """
    accuracy = cast(dict[str, Json], conclusion["accuracy"])
    cost = cast(dict[str, int], conclusion["cost"])
    total = cast(int, accuracy["total_inputs"])
    for name in ("certified_inputs", "explained_inputs"):
        if cast(int, accuracy[name]) > total:
            raise MalformedError(Reason.FIELD, f"conclusion.accuracy.{name} is more than all")
    bounds: dict[int, Fraction] = {}
    errors: dict[int, Fraction | None] = {}
    amplitudes = Fraction(0)
    for entry in cast(list[dict[str, Json]], conclusion["quadrature"]):
        frequency, amplitude = cast(int, entry["frequency"]), exact(entry["amplitude"])
        if frequency in bounds:
            raise MalformedError(Reason.FIELD, f"conclusion.quadrature: frequency {frequency} is repeated")
        bounds[frequency] = exact(entry["relative_bound"])
        errors[frequency] = relative_network_error(exact(entry["network_error"]), amplitude)
        amplitudes += max(amplitude, Fraction(0))
    margin, gap_error = exact(accuracy["min_margin"]), accuracy["gap_error"]
    return Facts(
        p=cast(int, cast(dict[str, Json], conclusion["model"])["p"]),
        task=str(cast(dict[str, Json], conclusion["claim"]).get("task", ADDITION)),
        certified_inputs=cast(int, accuracy["certified_inputs"]),
        explained_inputs=cast(int, accuracy["explained_inputs"]),
        total_inputs=total,
        semantics=str(accuracy["semantics"]),
        min_margin=margin,
        relative_margin=margin / amplitudes if amplitudes else None,
        max_error=exact(cast(dict[str, Json], conclusion["logits"])["max_error"]),
        gap_error=None if gap_error is None else exact(gap_error),
        relative_quadrature_bounds=bounds,
        relative_network_errors=errors,
        cost_per_parameter=Fraction(cost["operations"], cost["parameters"]),
    )


def exact(value: Json) -> Fraction:
    """The number of a value that has the form of an exact number."""
    fields = cast(dict[str, Json], value)
    mantissa, exponent = int(cast(str, fields["mantissa"])), cast(int, fields["exponent"])
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)
