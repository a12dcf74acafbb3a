"""What a report is about: a model, its explanation, and what the kernel says about the two."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.explainer import explain
from verifier.files import read_limited
from verifier.formats import import_file, native
from verifier.kernel import Checked, Rejected, check, limits
from verifier.kernel.certificate import Certificate, read_certificate
from verifier.kernel.claim import FORMAT, modulus, read_claim
from verifier.model import FoldedCircuit, Model, circuit_for, decode, encode

Observer = Callable[[str, int, int], None]
CERTIFICATES, MODELS, SUFFIX = Path("certificates"), Path("models"), ".safetensors"
PROOF_BYTES = 1 << 26


def ignore(step: str, done: int, total: int) -> None:
    """An observer that does nothing."""


@dataclass(frozen=True, slots=True)
class ModelBytes:
    """A model as read: the file named, the bytes of the native file (which the theorem is about) and their digest.

    `translated_from`: the format it was imported from; empty for a native file.
    """

    path: Path
    name: str
    data: bytes
    sha256: str
    translated_from: str


@dataclass(frozen=True, slots=True)
class SignedProof:
    """What a proof file says. Its signature is not verified here, and whoever prints this must say so.

    **Fields**

    - `path`; `keyid`: of the key that is said to have signed it.
    - `about_these_files`: whether it names the digests of the model, claim and certificate at hand.
    - `same_conclusion`: whether what it says was concluded is what the kernel concludes now.
    """

    path: Path
    keyid: str
    about_these_files: bool
    same_conclusion: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A model, an explanation of it, a claim, and what the kernel said.

    **Fields**

    - `model`; `circuit`: folded, in float64, named such that the claim's task is addition.
    - `certificate` and its `certificate_bytes`; `claim`, the bytes.
    - `checked`: the conclusion, and arrays for pictures. `failure`: why the claim is not proved; empty when it is.
    - `folder`: where the certificate lies; None when it was made now. `signed`: the proof beside it, if there is one.
    """

    model: ModelBytes
    circuit: FoldedCircuit
    certificate: Certificate
    certificate_bytes: bytes
    claim: bytes
    checked: Checked
    failure: str
    folder: Path | None
    signed: SignedProof | None

    @property
    def proved(self) -> bool:
        return not self.failure


def read_case(
    path: Path,
    *,
    model: Path | None = None,
    certificates: Path = CERTIFICATES,
    fresh: bool = False,
    observe: Observer = ignore,
) -> Case:
    """The case of a model file, or of a certificate.

    **Arguments**

    - `path`: a model in any format that `import` reads, or a `certificate.json`.
    - `model`: the certificate's model; by default the one in `models/` named like the certificate's folder.
    - `certificates`: where to look for a model's certificate. `fresh`: make a new one instead.

    **Raises** `InputError`; also when the kernel could prove nothing at all.
    """
    if path.suffix == ".json":
        read = read_model_bytes(model or _model_of(path))
        return _stored_case(read, path, observe)
    if model is not None:
        raise InputError("--model", "", f"goes with a certificate, and {path} is a model")
    read = read_model_bytes(path)
    stored = certificates / read.name / "certificate.json"
    if not fresh and stored.is_file() and read.sha256.encode() in _read(stored, limits.CERTIFICATE_BYTES):
        return _stored_case(read, stored, observe)
    return explained_case(read, observe)


def read_model_bytes(path: Path | str) -> ModelBytes:
    """A native model file as it is; another checkpoint translated.

    **Raises** `InputError`.
    """
    path = Path(path)
    imported = import_file(path)
    name = path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem
    own = imported.format == native.FORMAT
    data = _read(path, limits.MODEL_BYTES) if own else encode(imported.model)
    return ModelBytes(path, name, data, hashlib.sha256(data).hexdigest(), "" if own else imported.format)


def explained_case(read: ModelBytes, observe: Observer = ignore, *, certificate: bytes | None = None) -> Case:
    """A case with a certificate made now, or with the one given: every input, binary32, linear and else exact.

    **Raises** `InputError`.
    """
    observe("explain", 0, 1)
    model = decode(read.data, str(read.path))
    circuit, own = circuit_for(model.task, model)
    data = explain(circuit, read.sha256, activations=own) if certificate is None else certificate
    case = _case(read, circuit, data, every_input(read, model, "linear"), None, observe)
    second = "exact" if own is None else "semi-linear"
    return case if case.proved else _case(read, circuit, data, every_input(read, model, second), None, observe)


def every_input(read: ModelBytes, model: Model | FoldedCircuit, strategy: str) -> bytes:
    """The claim that every input is certified, executed in binary32."""
    claim = {
        "format": FORMAT,
        "task": model.task,
        "p": model.p,
        "model_sha256": read.sha256,
        "strategy": strategy,
        "semantics": "binary32",
        "certified_inputs": modulus(model.task, model.p) ** 2,
    }
    return (json.dumps(claim, indent=1) + "\n").encode("ascii")


def _stored_case(read: ModelBytes, path: Path, observe: Observer) -> Case:
    model = decode(read.data, str(read.path))
    data, claim = _read(path, limits.CERTIFICATE_BYTES), path.parent / "claim.json"
    claimed = _read(claim, limits.CLAIM_BYTES) if claim.is_file() else every_input(read, model, "linear")
    try:
        circuit = circuit_for(read_claim(claimed).task, model)[0]
    except Rejected as error:
        raise InputError(claim, "", str(error)) from None
    return _case(read, circuit, data, claimed, path.parent, observe)


def _case(
    read: ModelBytes, circuit: FoldedCircuit, data: bytes, claim: bytes, folder: Path | None, observe: Observer
) -> Case:
    failure = ""
    where = str(folder or read.path)
    try:
        checked = check(read.data, claim, data, observe)
    except Rejected as error:
        if not isinstance(error.findings, Checked):
            raise InputError(where, "", str(error)) from None
        checked, failure = error.findings, str(error)
    certificate = read_certificate(data)
    signed = read_signed(folder / "proof.sigstore.json", checked.conclusion.document()) if folder is not None else None
    return Case(read, circuit, certificate, data, claim, checked, failure, folder, signed)


def read_signed(path: Path, conclusion: dict[str, Any]) -> SignedProof | None:
    """What a bundle says beside `conclusion`, read loosely: nothing here is believed. None where there is no file.

    **Raises** `InputError` for a file that is not a proof.
    """
    if not path.is_file():
        return None
    digests = [conclusion[part]["sha256"] for part in ("model", "claim", "certificate")]
    try:
        envelope = json.loads(_read(path, PROOF_BYTES))["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        said = json.loads(payload)["predicate"]
        keyid = str(envelope["signatures"][0].get("keyid", ""))
        same = said.get("conclusion") == json.loads(json.dumps(conclusion))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise InputError(path, "", "is not a proof") from None
    return SignedProof(path, keyid, all(digest.encode() in payload for digest in digests), same)


def _model_of(certificate: Path) -> Path:
    """The model of certificates/<name>/certificate.json: models/<name>.safetensors beside `certificates`, or here."""
    name = certificate.absolute().parent.name + SUFFIX
    for place in (MODELS / name, certificate.absolute().parent.parent.parent / MODELS / name):
        if place.is_file():
            return place
    raise InputError(certificate, "", f"is about a model that is not {MODELS / name}; name it with --model")


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_limited(path, limit)
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None
