"""Why a proof is not accepted: one closed list of reasons, and the two exceptions that carry one."""

from __future__ import annotations

from enum import Enum, unique

from verifier.errors import VerifierError


@unique
class Reason(Enum):
    """Every reason for which a proof is rejected; the value is the message."""

    # The bytes are not a proof.
    SIZE = "the text is longer than the limit"
    JSON = "the text is not strict JSON"
    NOT_CANONICAL = "the text is not the canonical encoding of its content"
    FIELD = "a field is missing, unknown or of the wrong form"
    BASE64 = "a string is not strict base64"
    HINT = "the public-key hint is not the key of the signature"
    PAYLOAD_DIFFERS = "the bundles do not carry the same payload"
    # The signatures are not those the policy asks for.
    UNKNOWN_KEY = "no signature is by a key of the policy"
    BAD_SIGNATURE = "a signature is not valid under the key that it names"
    THRESHOLD = "fewer keys of the policy have signed than it asks for"
    # What was signed is not a proof for this model.
    PAYLOAD_TYPE = "the payload type is not that of an in-toto statement"
    STATEMENT_TYPE = "the payload is not an in-toto statement of version 1"
    PREDICATE_TYPE = "the predicate type is not one the policy allows"
    MODEL_NAME = "the proof names another model file"
    MODEL_DIGEST = "the model file is not the one that was signed"
    CLAIM_DIGEST = "the claim file is not the one that was signed"
    CLAIM_TEXT = "the claim in the proof differs from the claim file"
    CERTIFICATE_DIGEST = "the certificate file is not the one that was signed"
    # What was proved is not what the policy asks for.
    CONCLUSION = "the signed conclusion does not support the signed claim"
    NO_RULE = "no rule of the policy matches the model"
    POLICY = "the conclusion does not meet the policy"
    # The kernel does not say the same.
    REJECTED = "the kernel does not accept the certificate"
    DIFFERENT = "the kernel's conclusion differs from the signed one"
    BROKEN = "the kernel stopped with an error that is not a rejection"
    # The gate's own: there is nothing to verify, or nothing that may be opened.
    NAME = "a name is not allowed"
    UNSAFE = "a path is a symbolic link or not a regular file"
    MISSING = "a file is missing"
    ORPHAN = "a certificate has no model"
    NOTHING = "there is no model"

    @property
    def kind(self) -> str:
        """`"malformed"` when the bytes are not a proof (exit code 2), else `"failed"` (exit code 1)."""
        return "malformed" if self in _MALFORMED else "failed"


_MALFORMED = frozenset(
    {
        Reason.SIZE,
        Reason.JSON,
        Reason.NOT_CANONICAL,
        Reason.FIELD,
        Reason.BASE64,
        Reason.HINT,
        Reason.PAYLOAD_DIFFERS,
    }
)


class MalformedError(VerifierError):
    """Bytes or a value that are not well-formed; `reason` is one of the first group of `Reason`."""

    exit_code = 2

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


class VerificationError(VerifierError):
    """A proof that was not accepted.

    **Fields**

    - `step`: the number of the step that failed, as in `verifier.proof.verify`; 0 before the first.
    - `reason`: a `Reason`.
    - `detail`: what exactly, in one sentence.
    """

    def __init__(self, step: int, reason: Reason, detail: str) -> None:
        super().__init__(step, reason, detail)
        self.step = step
        self.reason = reason
        self.detail = detail
        self.exit_code = 2 if reason.kind == "malformed" else 1  # bytes that are no proof, or a proof that fails

    def __str__(self) -> str:
        return f"step {self.step}: {self.reason.value}: {self.detail}"
