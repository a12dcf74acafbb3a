"""Making a proof: a statement about a model, signed."""

from __future__ import annotations

import platform

from verifier import __version__
from verifier.kernel import limits
from verifier.kernel.forms import Json
from verifier.proof import canonical
from verifier.proof.envelope import Bundle, encode_bundle, seal
from verifier.proof.kernel import conclusion_value
from verifier.proof.keys import SigningKey
from verifier.proof.reasons import MalformedError, Reason
from verifier.proof.statement import (
    PAYLOAD_TYPE,
    Statement,
    encode_statement,
    read_facts,
    sha256,
)


def environment() -> dict[str, str]:
    """Versions of what made a proof, by name, and which loop of the kernel ran."""
    import flint

    from verifier.kernel.events import loop

    return {
        "verifier": __version__,
        "python": platform.python_version(),
        "python-flint": str(flint.__version__),
        "flint": str(flint.__FLINT_VERSION__),
        "kernel-loop": loop(),
    }


def make_proof(
    model_name: str,
    model: bytes,
    claim: bytes,
    certificate: bytes,
    conclusion: object,
    key: SigningKey,
) -> bytes:
    """The bytes of `proof.sigstore.json`: a signed statement that the kernel reached `conclusion`.

    **Arguments**

    - `model_name`: the model's file name, without folders.
    - `model`, `claim`, `certificate`: the bytes the kernel was given.
    - `conclusion`: `Conclusion.document()`.

    **Raises** `MalformedError` when the parts do not make a proof that can be read back, for example a file
    name with characters that are not allowed.
    """
    statement = Statement(
        model_name=model_name,
        model_sha256=sha256(model),
        claim=claim_value(claim),
        claim_sha256=sha256(claim),
        certificate_sha256=sha256(certificate),
        conclusion=conclusion_value(conclusion),
        environment=environment(),
    )
    payload = encode_statement(statement)
    read_facts(statement.conclusion)
    return encode_bundle(seal(payload, PAYLOAD_TYPE, key))


def countersign(bundle: Bundle, key: SigningKey) -> bytes:
    """The bytes of a further bundle over the same payload, signed with `key`.

    The caller has verified the bundle, the model and the conclusion: a signature says so.
    """
    return encode_bundle(seal(bundle.payload, bundle.payload_type, key))


def claim_value(claim: bytes) -> dict[str, Json]:
    """The JSON object in a claim file.

    **Raises** `MalformedError`.
    """
    value = canonical.decode(claim, limits.CLAIM_BYTES)
    if not isinstance(value, dict):
        raise MalformedError(Reason.FIELD, "the claim must be an object")
    return value
