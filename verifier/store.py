"""Proofs on disk: which are still good, preparing new ones, signing them, and writing all files or none."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.errors import InputError
from verifier.files import read_limited
from verifier.kernel import Rejected, limits
from verifier.kernel.claim import TASKS, read_claim
from verifier.prove import (
    Attempt,
    Observer,
    Outcome,
    Request,
    Source,
    bad_input,
    ignore,
    prove,
    read_source,
    run_kernel,
)

if TYPE_CHECKING:
    from verifier.formats import ImportedModel
    from verifier.proof.keys import PublicKey, SigningKey
    from verifier.proof.policy import Policy

CLAIM, CERTIFICATE, PROOF = "claim.json", "certificate.json", "proof.sigstore.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """A proof on disk that is still good, and the names of the keys that signed it."""

    outcome: Outcome
    certificate: bytes
    claim: bytes
    signers: tuple[str, ...]


def trusted(policy: Path | None, own: PublicKey | None) -> tuple[Policy, ...]:
    """Whose signatures make a stored proof worth keeping: the keys of a policy, and the user's own key.

    One signature is enough and no other rule applies: whether the proof is good enough for the policy is the
    gate's business, and signing it again would not change that.

    **Raises** `InputError` for a policy that cannot be read.
    """
    from verifier.proof.documents import PREDICATE_TYPE
    from verifier.proof.policy import Policy, Rule, read_policy

    anything = Rule(("*",), tasks=tuple(TASKS.values()), counts={"certified_inputs": 0})
    found = []
    if policy is not None:
        found.append(replace(read_policy(policy), threshold=1, rules=(anything,)))
    if own is not None:
        found.append(Policy({own.keyid: own}, {own.keyid: "your key"}, 1, (PREDICATE_TYPE,), (anything,)))
    return tuple(found)


def stored(
    folder: Path, source: Source, claims: Sequence[bytes], policies: Sequence[Policy], observe: Observer = ignore
) -> Stored | str:
    """The proof in `folder`, if it proves one of `claims` about this model; else, in a few words, why not.

    It must be signed by a key of one of `policies`, and the kernel must reach the signed conclusion again. So
    a proof that another version of the kernel made counts as long as this one agrees with it.
    """
    from verifier.proof import canonical
    from verifier.proof.gate import read_proof
    from verifier.proof.kernel import conclusion_value
    from verifier.proof.reasons import VerificationError
    from verifier.proof.verify import Verified, verify

    if not folder.is_dir():
        return ""
    try:
        files = read_proof(folder.parent, folder.name)
        if read_claim(files.claim) not in map(read_claim, claims):
            return "the stored proof is for another claim, or another model"
    except VerificationError as error:
        return f"the stored proof is not whole: {error.detail}"
    except Rejected as error:
        return f"the stored claim is not well-formed: {error}"
    verified: Verified | None = None
    why = "nobody's key is trusted here"
    names: Mapping[str, str] = {}
    for policy in policies:
        try:
            verified = verify(
                files.bundles,
                policy=policy,
                model_name=source.file_name,
                model=source.data,
                claim=files.claim,
                certificate=files.certificate,
                recheck=False,
            )
            names = policy.names
            break
        except VerificationError as error:
            why = str(error)
    if verified is None:
        return f"the stored proof does not verify: {why}"
    try:
        paths = {"model": source.path, "claim": folder / CLAIM, "certificate": folder / CERTIFICATE}
        outcome = run_kernel(paths, source.data, files.claim, files.certificate, observe)
    except InputError as error:
        return f"the kernel no longer accepts the stored proof: {error.rule}"
    if outcome.checked is None or not outcome.proved:
        return f"the kernel no longer accepts the stored proof: {outcome.failure}"
    again = canonical.encode(conclusion_value(outcome.checked.conclusion.document()))
    if again != canonical.encode(verified.statement.conclusion):
        return "the kernel's conclusion differs from the stored one"
    signers = tuple(f"{names[keyid]} ({keyid})" for keyid in verified.keyids)
    return Stored(outcome, files.certificate, files.claim, signers)


@dataclass(frozen=True, slots=True)
class Job:
    """One model to certify, with everything a process of its own needs.

    **Fields**

    - `path`, `read`: the source, and how to read it when it is not native.
    - `request`: what to prove, unless `claim`, a claim file and its bytes, says so.
    - `margin_share`: the explainer's knob.
    - `folder`: where the proof goes. `policies`: whose stored proof there is kept; None to make it anew.
    """

    path: Path
    read: Callable[[Path], ImportedModel]
    request: Request
    claim: tuple[Path, bytes] | None
    margin_share: float
    folder: Path
    policies: tuple[Policy, ...] | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job done up to the signature.

    **Fields**

    - `source`, `claim`, `certificate`, `outcome`.
    - `attempt`: how it was proved; None when the proof was on disk.
    - `kept`: who signed the proof on disk that is still good; empty when it is made anew.
    - `notes`: what the user should know.
    """

    source: Source
    claim: bytes
    certificate: bytes
    outcome: Outcome
    attempt: Attempt | None
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def prepare(job: Job, observe: Observer = ignore) -> Prepared:
    """Read, explain and check one model; or find that its proof is there already.

    **Raises** `InputError`; `Unexplained`.
    """
    observe("read", 0, 1)
    source = read_source(job.path, job.read)
    claim_name: Path | str = "claim"
    if job.claim is None:
        claims = job.request.claims(source)
    else:
        claim_name, claims = job.claim[0], job.claim[1:]
        try:
            read_claim(job.claim[1])
        except Rejected as error:
            raise bad_input(error, {"claim": claim_name}) from None
    notes = source.notes
    if job.policies is not None:
        found = stored(job.folder, source, claims, job.policies, observe)
        if isinstance(found, Stored) and source.imported and not holds(job.folder / source.file_name, source.data):
            found = f"{source.file_name} is missing there, or another"
        if isinstance(found, Stored):
            return Prepared(source, found.claim, found.certificate, found.outcome, None, found.signers, notes)
        notes += (f"made anew: {found}",) if found else ()
    attempt = prove(source, claims, job.margin_share, observe, claim_name)
    return Prepared(source, attempt.claim, attempt.certificate, attempt.outcome, attempt, (), notes)


def holds(path: Path, data: bytes) -> bool:
    """Whether the file is there with these bytes."""
    try:
        return read_limited(path, limits.MODEL_BYTES) == data
    except OSError:
        return False


def sign(prepared: Prepared, key: SigningKey) -> bytes:
    """The signed proof of what was prepared.

    **Raises** `InputError` when the model's name cannot be in a proof; `ValueError` when nothing was proved.
    """
    from verifier.proof.reasons import MalformedError
    from verifier.proof.sign import make_proof

    outcome = prepared.outcome
    if outcome.checked is None or not outcome.proved:
        raise ValueError("nothing was proved")
    source = prepared.source
    document = outcome.checked.conclusion.document()
    try:
        return make_proof(source.file_name, source.data, prepared.claim, prepared.certificate, document, key)
    except MalformedError as error:
        raise InputError(source.path, "", f"cannot be named in a proof: {error}") from None


def store(folder: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Write all of `files` into `folder`, or none of them; returns the counter-signatures that were removed.

    The files are complete before the first one appears under its name. A new folder appears with all its
    files at once. Counter-signatures of the proof that is replaced would no longer fit, and go. Nothing is written
    through a symbolic link.

    **Raises** `InputError`.
    """
    from verifier.proof.gate import COUNTERSIGNED

    for path in (folder.parent, folder):
        if path.is_symlink():
            raise InputError(path, "", "is a symbolic link; proofs are not written through one")
    staging = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
        staging.mkdir()
        for name, data in files.items():
            with open(staging / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if not os.path.lexists(folder):
            os.rename(staging, folder)
            return ()
        stale = sorted(name for name in os.listdir(folder) if COUNTERSIGNED.fullmatch(name))
        for name in files:
            os.replace(staging / name, folder / name)
        for name in stale:
            os.unlink(folder / name)
        return tuple(stale)
    except OSError as error:
        raise InputError(folder, "", f"cannot be written: {error.strerror or error}") from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def require_writable(folder: Path, names: Sequence[str] = ()) -> None:
    """Refuse a folder that could not be written into, before time is spent on what goes there.

    **Raises** `InputError`.
    """
    here = folder.absolute()
    nearest = next(path for path in (here, *here.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise InputError(nearest, "", "is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(nearest, "", "is not writable")
    for name in names:
        if (here / name).is_dir():
            raise InputError(folder / name, "", "is a folder")
