"""From a model file to a signed proof: the steps that `export`, `check` and `certify` share.

    model bytes ─▶ explanation ─▶ certificate ─┐
    options ─────▶ claim ──────────────────────┼─▶ KERNEL ─▶ conclusion ─▶ signature ─▶ three files
    model bytes ───────────────────────────────┘

Every file is read once, as bytes; what is hashed, checked and signed are those bytes. A claim is made from
options, or is a file of its own; it never comes from the certificate. Only the kernel's conclusion counts:
the rest of this module is untrusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.errors import InputError, VerifierError
from verifier.files import read_limited
from verifier.kernel import Conclusion, Rejected, check, limits
from verifier.kernel.claim import FORMAT as CLAIM_FORMAT
from verifier.kernel.claim import SEMANTICS, STRATEGIES, Claim, read_claim
from verifier.kernel.model_file import TASK, read_model

if TYPE_CHECKING:
    from verifier.formats import ImportedModel
    from verifier.proof.keys import PublicKey, SigningKey
    from verifier.proof.policy import Policy

CLAIM, CERTIFICATE, PROOF = "claim.json", "certificate.json", "proof.sigstore.json"
SUFFIX = ".safetensors"
REFINEMENT_BUDGET = 64
"""What refinement may cost unless told otherwise, in multiples of the parameter count."""

MADE_HERE = "the certificate made for it"

Observer = Callable[[str, int, int], None]


def ignore(step: str, done: int, total: int) -> None:
    """An observer that does nothing."""


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit` bytes.

    **Raises** `InputError`.
    """
    try:
        return read_limited(path, limit)
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class Source:
    """A model, read.

    **Fields**

    - `path`: the file the user named; `name`: that without folder and suffix, which names the proof.
    - `data`, `sha256`: the native model file, which the theorem is about; `p`, `neurons`, `outputs`: its sizes.
    - `imported`: the format it was translated from; empty when the file named is the native one.
    - `notes`: what the import wants the user to know.
    """

    path: Path
    name: str
    data: bytes
    sha256: str
    p: int
    neurons: int
    outputs: int
    imported: str
    notes: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """What the proof calls the model file."""
        return f"{self.name}{SUFFIX}"


def read_native(path: Path) -> Source:
    """A native model file, decoded by the kernel's own parser.

    **Raises** `InputError`.
    """
    data = read_file(path, limits.MODEL_BYTES)
    try:
        model = read_model(data)
    except Rejected as error:
        raise bad_input(error, {"model": path}) from None
    shapes = {name: tensor.shape for name, tensor in model.tensors.items()}
    if model.positions:
        neurons, outputs = shapes["blocks.0.mlp.W_in"][1], shapes["unembed.W_U"][1]
    else:
        outputs, neurons = shapes["W"]
    return _source(path, data, (model.p, neurons, outputs), "", ())


def read_source(path: Path, read: Callable[[Path], ImportedModel]) -> Source:
    """A native model file, or a checkpoint of another format, translated with `read`.

    **Raises** `InputError`.
    """
    from verifier.formats import native
    from verifier.model import encode

    imported = read(path)
    if imported.format != native.FORMAT:
        reasons: dict[str, list[str]] = {}
        for name, why in imported.dropped.items():
            reasons.setdefault(why, []).append(name)
        notes = (*imported.notes, *(f"dropped {', '.join(names)}: {why}" for why, names in reasons.items()))
        model = imported.model
        return _source(path, encode(model), (model.p, model.neurons, model.outputs), imported.format, notes)
    if not path.name.endswith(SUFFIX):
        raise InputError(path, "", f"is a native model file, and must be named *{SUFFIX}")
    source = read_native(path)
    if source.sha256 != imported.source_sha256:
        raise InputError(path, "", "changed while it was read")
    return source


def name_of(path: Path) -> str:
    """What the proof of a model is called: the file's name without its suffix."""
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem


def _source(path: Path, data: bytes, sizes: tuple[int, int, int], imported: str, notes: tuple[str, ...]) -> Source:
    return Source(path, name_of(path), data, hashlib.sha256(data).hexdigest(), *sizes, imported, notes)


def require_name(path: Path, name: str) -> None:
    """Refuse a name that a proof cannot carry.

    **Raises** `InputError`.
    """
    from verifier.proof.documents import MODEL_NAME
    from verifier.proof.gate import KEYS_FOLDER

    file_name = f"{name}{SUFFIX}"
    fits = re.fullmatch(MODEL_NAME.pattern, file_name) is not None and len(file_name) <= MODEL_NAME.most
    if not fits or name == KEYS_FOLDER:
        rule = f"must be named with letters, digits and single . _ - (and not {KEYS_FOLDER}); a proof carries the name"
        raise InputError(path, "", rule)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be proved, before the model is known.

    **Fields**

    - `at_least`: how many inputs; None means all of them.
    - `strategy`: one of the claim's; None means linear, and refined where linear does not prove it.
    - `semantics`, `refinement_budget`: the claim's.
    """

    at_least: int | None = None
    strategy: str | None = None
    semantics: str = "binary32"
    refinement_budget: int = REFINEMENT_BUDGET

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_least < 0:
            raise InputError("--at-least", "", f"must not be negative, and is {self.at_least}")
        if self.strategy not in (None, *STRATEGIES):
            raise InputError("--strategy", "", f"must be one of {', '.join(STRATEGIES)}")
        if self.semantics not in SEMANTICS:
            raise InputError("--semantics", "", f"must be one of {', '.join(SEMANTICS)}")
        if not 0 <= self.refinement_budget <= limits.REFINEMENT_BUDGET:
            rule = f"must be in 0..{limits.REFINEMENT_BUDGET}, not {self.refinement_budget}"
            raise InputError("--refinement-budget", "", rule)

    def claims(self, source: Source) -> tuple[bytes, ...]:
        """The claim about one model, as a file; or the claims of which the first that holds is meant.

        **Raises** `InputError` when it asks for more inputs than there are.
        """
        strategies = ("linear", "refined") if self.strategy is None else (self.strategy,)
        return tuple(self._claim(source, strategy) for strategy in strategies)

    def _claim(self, source: Source, strategy: str) -> bytes:
        inputs = source.p**2 if self.at_least is None else self.at_least
        if inputs > source.p**2:
            raise InputError("--at-least", "", f"is {inputs}, and {source.path} has {source.p**2} inputs")
        document = {
            "format": CLAIM_FORMAT,
            "task": TASK,
            "p": source.p,
            "model_sha256": source.sha256,
            "strategy": strategy,
            "semantics": self.semantics,
            "certified_inputs": inputs,
            "refinement_budget": self.refinement_budget,
        }
        return (json.dumps(document, indent=1) + "\n").encode("ascii")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the kernel said.

    **Fields**

    - `conclusion`: what was proved; when `failure` is not empty, what was proved although the claim was not,
      or None.
    - `failure`: why the claim is not proved; empty when it is.
    - `families`: how many families the certificate has at each frequency.
    - `seconds`: of the kernel.
    """

    conclusion: Conclusion | None
    failure: str
    families: dict[int, int]
    seconds: float

    @property
    def proved(self) -> bool:
        return not self.failure


def run_kernel(
    paths: Mapping[str, Path | str], model: bytes, claim: bytes, certificate: bytes, observe: Observer = ignore
) -> Outcome:
    """Check the claim; `paths` says what to call the model, the claim and the certificate in messages.

    **Raises** `InputError` for an input that is not well-formed, or not about this model.
    """
    started = time.perf_counter()
    try:
        conclusion, failure = check(model, claim, certificate, observe), ""
    except Rejected as error:
        if error.reason.kind == "malformed":
            raise bad_input(error, paths) from None
        return _outcome(error.findings, str(error), certificate, started)
    return _outcome(conclusion, failure, certificate, started)


def _outcome(conclusion: Conclusion | None, failure: str, certificate: bytes, started: float) -> Outcome:
    seconds = time.perf_counter() - started
    families = Counter(family["frequency"] for family in json.loads(certificate)["families"])
    return Outcome(conclusion, failure, dict(sorted(families.items())), seconds)


def bad_input(error: Rejected, paths: Mapping[str, Path | str]) -> InputError:
    """A malformed input as the error of the file it is in.

    The kernel's sentences about the model and the claim begin with these words; the others are about what the
    certificate says.
    """
    part = (re.match("model|claim", error.detail) or ["certificate"])[0]
    return InputError(paths.get(part, part), "", str(error))


class Unexplained(VerifierError):
    """The kernel accepts the model, and no certificate that the explainer makes for it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one effort gave: a certificate, and what the kernel says with it about the claim."""

    effort: int
    certificate: bytes
    outcome: Outcome

    @property
    def certified(self) -> int:
        c = self.outcome.conclusion
        return 0 if c is None else c.accuracy.certified_inputs


@dataclass(frozen=True, slots=True)
class Explained:
    """How a certificate was found.

    **Fields**

    - `certificate`, and the `effort` it was made with.
    - `trials`: every effort that was tried with a claim, in order of cost.
    - `seconds`: how long all that took.
    """

    certificate: bytes
    effort: int
    trials: tuple[Trial, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim, the certificate it was checked with, what the kernel said, and how the certificate was found."""

    claim: bytes
    certificate: bytes
    outcome: Outcome
    explained: Explained


def explain(source: Source, efforts: Iterable[int] | None, observe: Observer = ignore) -> Iterator[tuple[int, bytes]]:
    """The certificates that the explainer makes for a model, by effort; None means all efforts, in order of cost.

    **Raises** `InputError` for a model that is not well-formed; `Unexplained`.
    """
    from verifier.explain import search
    from verifier.model import decode, fold

    observe("explain", 0, 1)
    reading = search.read(fold(decode(source.data, str(source.path))))
    for effort in range(len(search.EFFORTS)) if efforts is None else efforts:
        try:
            explanation = search.explain(reading, search.EFFORTS[effort])
        except search.NothingToExplain as error:
            raise Unexplained(str(error)) from None
        yield effort, search.certificate_bytes(reading, explanation, source.sha256)


def describe(source: Source) -> str:
    """How far frequencies explain the model's neurons: one sentence of estimates, for a model that was not
    certified.
    """
    from verifier.explain import families, search
    from verifier.model import decode, fold

    reading = search.read(fold(decode(source.data, str(source.path))))
    return families.describe(reading.spectrum, reading.neurons)


def prove(
    source: Source,
    claims: Sequence[bytes],
    effort: int | None = None,
    observe: Observer = ignore,
    claim_name: Path | str = "claim",
) -> Attempt:
    """The first of `claims` that one of the explainer's certificates proves, with that certificate.

    Efforts (or only `effort`) are tried in order of cost with the first claim until it is proved. A later
    claim, a weaker one, is then tried with the certificates that came near. When nothing is proved, the result
    is about the last claim and the certificate that got furthest, the cheapest of equals.

    **Raises** `InputError` for a model or a claim that is not well-formed; `Unexplained`.
    """
    started = time.perf_counter()
    trials: list[Trial] = []
    refused = ""
    exhaustive = read_claim(claims[0]).strategy == "exhaustive"
    for one, certificate in explain(source, None if effort is None else (effort,), observe):
        try:
            outcome = _judge(source, claims[0], certificate, claim_name, observe)
        except Unexplained as error:
            refused = str(error)
            continue
        trials.append(Trial(one, certificate, outcome))
        if outcome.proved or exhaustive:  # a better explanation does not change what exhaustion finds
            break
    if not trials:
        raise Unexplained(refused)
    claim, last = claims[0], max(trials, key=lambda trial: trial.certified)  # the first of the best
    for weaker in claims[1:] if not last.outcome.proved else ():
        needed = _needed(source, read_claim(weaker))
        promising = [trial for trial in trials if trial.certified >= needed] or [last]
        for trial in promising:
            claim, last = weaker, replace(trial, outcome=_judge(source, weaker, trial.certificate, claim_name, observe))
            if last.outcome.proved:
                break
    seconds = time.perf_counter() - started
    explained = Explained(last.certificate, last.effort, tuple(trials), seconds)
    return Attempt(claim, last.certificate, last.outcome, explained)


def _judge(source: Source, claim: bytes, certificate: bytes, claim_name: Path | str, observe: Observer) -> Outcome:
    """The kernel on a certificate that was made here; that it is malformed is then no input's fault.

    **Raises** `InputError`; `Unexplained`.
    """
    paths = {"model": source.path, "claim": claim_name, "certificate": MADE_HERE}
    try:
        return run_kernel(paths, source.data, claim, certificate, observe)
    except InputError as error:
        if error.source == MADE_HERE:
            raise Unexplained(error.rule) from None
        raise


def _needed(source: Source, claim: Claim) -> int:
    """About how many inputs the linear pass has to certify for the claim's refinement to reach the others."""
    if claim.strategy != "refined":
        return claim.certified_inputs
    p, n, q = source.p, source.neurons, source.outputs
    parameters, price = n * (2 * p + q) + 2 * p * q, p * (3 * (p // 2) + 1) + n * (q + 1)
    return claim.certified_inputs - claim.refinement_budget * parameters // price


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

    anything = Rule(("*",), counts={"certified_inputs": 0})
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
    if outcome.conclusion is None or not outcome.proved:
        return f"the kernel no longer accepts the stored proof: {outcome.failure}"
    again = canonical.encode(conclusion_value(outcome.conclusion.document()))
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
    - `effort`: None finds the least one that serves.
    - `folder`: where the proof goes. `policies`: whose stored proof there is kept; empty to make it anew.
    """

    path: Path
    read: Callable[[Path], ImportedModel]
    request: Request
    claim: tuple[Path, bytes] | None
    effort: int | None
    folder: Path
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job done up to the signature.

    **Fields**

    - `source`, `claim`, `certificate`, `outcome`.
    - `explained`: how the certificate came about; None when it was on disk.
    - `kept`: who signed the proof on disk that is still good; empty when it is made anew.
    - `notes`: what the user should know.
    """

    source: Source
    claim: bytes
    certificate: bytes
    outcome: Outcome
    explained: Explained | None
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
    if job.policies:
        found = stored(job.folder, source, claims, job.policies, observe)
        if isinstance(found, Stored) and source.imported and not _same(job.folder / source.file_name, source.data):
            found = f"{source.file_name} is missing there, or another"
        if isinstance(found, Stored):
            return Prepared(source, found.claim, found.certificate, found.outcome, None, found.signers, notes)
        notes += (f"made anew: {found}",) if found else ()
    attempt = prove(source, claims, job.effort, observe, claim_name)
    return Prepared(source, attempt.claim, attempt.certificate, attempt.outcome, attempt.explained, (), notes)


def _same(path: Path, data: bytes) -> bool:
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
    if outcome.conclusion is None or not outcome.proved:
        raise ValueError("nothing was proved")
    source = prepared.source
    document = outcome.conclusion.document()
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
