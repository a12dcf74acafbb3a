"""What a report is about: a model, a certificate for it, a claim, and the signed proof if there is one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.errors import InputError, VerifierError
from verifier.kernel import Rejected, limits
from verifier.kernel.certificate import Certificate, read_certificate
from verifier.pipeline import (
    CERTIFICATE,
    CLAIM,
    PROOF,
    SUFFIX,
    Observer,
    Request,
    Source,
    Unexplained,
    explain,
    ignore,
    prove,
    read_file,
)

if TYPE_CHECKING:
    from verifier.model import FoldedCircuit
    from verifier.pipeline import Outcome
    from verifier.proof.canonical import Json

CERTIFICATES, MODELS = Path("certificates"), Path("models")


@dataclass(frozen=True, slots=True)
class Signed:
    """What a proof file says. Its signature is not verified here, and whoever prints this must say so.

    **Fields**

    - `path`: the proof; `keyid`: the key that is said to have signed it.
    - `about_these_files`: whether it names the digests of the model, claim and certificate at hand.
    - `conclusion`: what it says the kernel concluded.
    """

    path: Path
    keyid: str
    about_these_files: bool
    conclusion: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and what was found about it.

    **Fields**

    - `source`: the model's bytes and names; `circuit`: folded, in float64.
    - `certificate`, `certificate_bytes`: an explanation; from a file, or made now.
    - `claims`: the claim beside the certificate; else what `certify` would try in turn, every input in binary32.
    - `folder`: where the certificate lies, or None when it was made now.
    - `signed`: the proof beside it, if there is one.
    - `outcome`: what the kernel said when the certificate was made now, unless it was not asked.
    """

    source: Source
    circuit: FoldedCircuit
    certificate: Certificate
    certificate_bytes: bytes
    claims: tuple[bytes, ...]
    folder: Path | None
    signed: Signed | None
    outcome: Outcome | None = None


def find_subject(
    path: Path,
    *,
    model: Path | None = None,
    certificates: Path = CERTIFICATES,
    effort: int | None = None,
    cheapest: bool = False,
    observe: Observer = ignore,
) -> Subject:
    """A subject from a model file or a certificate.

    **Arguments**

    - `path`: a model in any format that `import` reads, or a `certificate.json`.
    - `model`: the certificate's model; by default the one in `models/` named like the certificate's folder.
    - `certificates`: where to look for a model's certificate.
    - `effort`: make a new certificate with this effort, instead of using a stored one.
    - `cheapest`: when one has to be made, take the least effort, whatever it proves.

    **Raises** `InputError`.
    """
    if _is_certificate(path):
        source = _read(model or _model_of(path))
        return _stored(source, path, read_file(path, limits.CERTIFICATE_BYTES))
    if model is not None:
        raise InputError("--model", "", f"goes with a certificate, and {path} is a model")
    source = _read(path)
    stored = certificates / source.name / CERTIFICATE
    if effort is None and stored.is_file():
        data = read_file(stored, limits.CERTIFICATE_BYTES)
        if source.sha256.encode() in data:
            return _stored(source, stored, data)
    claims, outcome = Request().claims(source), None
    try:
        if cheapest:
            made = next(certificate for _, certificate in explain(source, (effort or 0,), observe))
        else:
            attempt = prove(source, claims, effort, observe)
            made, outcome = attempt.certificate, attempt.outcome
    except Unexplained as error:
        raise InputError(path, "", f"cannot be explained: {error}") from None
    return replace(_subject(source, made, claims, None, None), outcome=outcome)


def _is_certificate(path: Path) -> bool:
    return path.suffix == ".json"


def _model_of(certificate: Path) -> Path:
    """The model of certificates/<name>/certificate.json: models/<name>.safetensors beside `certificates`, or here."""
    name = certificate.absolute().parent.name + SUFFIX
    beside = certificate.absolute().parent.parent.parent / MODELS / name
    here = MODELS / name
    for place in (beside, here):
        if place.is_file():
            return here if place == here.absolute() else place
    raise InputError(certificate, "", f"is about a model that is not {MODELS / name}; name it with --model")


def _read(path: Path) -> Source:
    from verifier.formats import import_file
    from verifier.pipeline import read_source

    return read_source(path, import_file)


def _stored(source: Source, path: Path, data: bytes) -> Subject:
    folder = path.parent
    claim = folder / CLAIM
    claims = (read_file(claim, limits.CLAIM_BYTES),) if claim.is_file() else Request().claims(source)
    subject = _subject(source, data, claims, folder, str(path))
    proof = folder / PROOF
    if not proof.is_file():
        return subject
    digests = (source.sha256, _digest(claims[0]), _digest(data))
    return replace(subject, signed=read_signed(proof, digests))


def _subject(source: Source, data: bytes, claims: tuple[bytes, ...], folder: Path | None, name: str | None) -> Subject:
    from verifier.model import decode, fold

    where = name or "the certificate made now"
    try:
        certificate = read_certificate(data)
    except Rejected as error:
        raise InputError(where, "", str(error)) from None
    circuit = fold(decode(source.data, str(source.path)))
    if certificate.model_sha256 != source.sha256:
        raise InputError(where, "model_sha256", f"is not that of {source.path}, {source.sha256}")
    if (certificate.p, certificate.neurons) != (circuit.p, circuit.neurons):
        raise InputError(where, "", f"is not for p = {circuit.p} and {circuit.neurons} neurons, like {source.path}")
    return Subject(source, circuit, certificate, data, claims, folder, None)


def read_signed(path: Path, digests: tuple[str, str, str]) -> Signed:
    """What the proof in `path` says; `digests` are those of the model, the claim and the certificate.

    **Raises** `InputError` for a file that is not a proof.
    """
    from verifier.proof.documents import PREDICATE_TYPE
    from verifier.proof.envelope import MAX_BUNDLE_BYTES, decode_bundle
    from verifier.proof.statement import decode_statement

    try:
        bundle = decode_bundle(read_file(path, MAX_BUNDLE_BYTES))
        statement = decode_statement(bundle.payload, (PREDICATE_TYPE,))
    except VerifierError as error:
        raise InputError(path, "", str(error)) from None
    named = (statement.model_sha256, statement.claim_sha256, statement.certificate_sha256)
    return Signed(path, bundle.keyid, named == digests, statement.conclusion)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def claim_of(subject: Subject) -> dict[str, object]:
    """The claim as JSON (the kernel reads the bytes itself).

    **Raises** `InputError`.
    """
    try:
        claim = json.loads(subject.claims[0])
    except (ValueError, RecursionError):
        claim = None
    if not isinstance(claim, dict):
        raise InputError(subject.folder or subject.source.path, "claim", "is not a JSON object")
    return claim
