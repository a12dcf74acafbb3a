"""What a report is about: a model, its explanation, and what the kernel says about the two."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.errors import InputError
from verifier.files import read_input
from verifier.formats import import_file
from verifier.kernel import Checked, limits
from verifier.kernel.certificate import Certificate, read_certificate
from verifier.model import FoldedCircuit, circuit_for, decode
from verifier.prove import (
    SUFFIX,
    Attempt,
    Observer,
    Outcome,
    Request,
    Source,
    Unexplained,
    ignore,
    prove,
    read_source,
    run_kernel,
)

CERTIFICATES, MODELS = Path("certificates"), Path("models")
PROOF_BYTES = 1 << 26


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
    - `certificate` and its `certificate_bytes`; `checked`: the conclusion, and arrays for pictures.
    - `failure`: why the claim is not proved; empty when it is.
    - `folder`: where the certificate lies; None when it was made now. `signed`: the proof beside it, if there is one.
    """

    model: Source
    circuit: FoldedCircuit
    certificate: Certificate
    certificate_bytes: bytes
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
        return _stored_case(_read_model(model or _model_of(path)), path, observe)
    if model is not None:
        raise InputError("--model", "", f"goes with a certificate, and {path} is a model")
    source = _read_model(path)
    stored = certificates / source.name / "certificate.json"
    if not fresh and stored.is_file() and source.sha256.encode() in read_input(stored, limits.CERTIFICATE_BYTES):
        return _stored_case(source, stored, observe)
    return explained_case(source, prove(source, Request().claims(source), observe=observe))


def _read_model(path: Path) -> Source:
    return read_source(path, import_file)


def explained_case(source: Source, attempt: Attempt) -> Case:
    """A case whose certificate was made now.

    **Raises** `Unexplained` when nothing was proved.
    """
    return _case(source, attempt.certificate, attempt.outcome, None)


def _stored_case(source: Source, path: Path, observe: Observer) -> Case:
    data, claim = read_input(path, limits.CERTIFICATE_BYTES), path.parent / "claim.json"
    every_input = Request(strategy="linear").claims(source)[0]
    claimed = read_input(claim, limits.CLAIM_BYTES) if claim.is_file() else every_input
    paths = {"model": source.path, "claim": claim, "certificate": path}
    return _case(source, data, run_kernel(paths, source.data, claimed, data, observe), path.parent)


def _case(source: Source, data: bytes, outcome: Outcome, folder: Path | None) -> Case:
    checked = outcome.checked
    if checked is None:
        raise Unexplained(f"{source.name}: nothing was proved: {outcome.failure}")
    circuit = circuit_for(checked.conclusion.claim.task, decode(source.data, str(source.path)))[0]
    signed = read_signed(folder / "proof.sigstore.json", checked.conclusion.document()) if folder is not None else None
    return Case(source, circuit, read_certificate(data), data, checked, outcome.failure, folder, signed)


def read_signed(path: Path, conclusion: dict[str, Any]) -> SignedProof | None:
    """What a bundle says beside `conclusion`, read loosely: nothing here is believed. None where there is no file.

    **Raises** `InputError` for a file that is not a proof.
    """
    if not path.is_file():
        return None
    digests = [conclusion[part]["sha256"] for part in ("model", "claim", "certificate")]
    try:
        envelope = json.loads(read_input(path, PROOF_BYTES))["dsseEnvelope"]
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
