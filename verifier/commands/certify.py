"""`verifier certify`: explain, check and sign, in one go."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import BAD_INPUT, FAILED, OK
from verifier.commands.check import add_claim_arguments, complain, request
from verifier.commands.import_ import add_source_arguments, read_source
from verifier.console import add_output_arguments, emit_json, progress, say, wrapped
from verifier.errors import InputError, VerifierError, one_line

if TYPE_CHECKING:
    from verifier.proof.keys import PublicKey, SigningKey
    from verifier.proof.policy import Policy
    from verifier.prove import Observer
    from verifier.results import Result
    from verifier.store import Job, Prepared

HELP = """Explain each model, prove the claim about it, and sign the proof: OUT/<name>/ gets certificate.json,
claim.json and proof.sigstore.json, all three or, when the claim is not proved, none. A checkpoint of another
format is imported on the way, and its native model file goes there too. A proof that is there already, for the
same claim, signed by your key or one of --policy, and confirmed by the kernel now, is kept. A folder stands for the
models in it."""

MOST_JOBS = 64
SUFFIXES = (".safetensors", ".pt", ".pth", ".npz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="a model file, a checkpoint, or a folder")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("certificates"),
        metavar="DIR",
        help="where the proofs go (default: certificates)",
    )
    parser.add_argument("--force", action="store_true", help="make and sign anew what is there already")
    parser.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="keep proofs that a key of this policy has signed; it must not be in OUT, which others may write to",
    )
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="the signing key (default: VERIFIER_KEY, else yours, made on first use)",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--margin-share",
        type=float,
        metavar="0..1",
        help="how much of the true margin and deviation the explanation should show (default: 0.975)",
    )
    add_claim_arguments(parser, "linear, then exact (or semi-linear, for learned attention)")
    add_source_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    signer = _Signer(arguments.key)
    jobs = _jobs(arguments, signer)
    entries: list[_Entry] = []
    for job, attempt in _attempts(jobs, arguments):
        entry = _finish(job, attempt, signer)
        if entry.message:
            complain(entry.message)
        entries.append(entry)
    order = [job.path for job in jobs]
    entries.sort(key=lambda entry: order.index(entry.path))
    _print(entries, arguments)
    return max(entry.code for entry in entries)


class _Signer:
    """The key to sign with, read or made when it is first needed; one that was named, at once."""

    __slots__ = ("_key", "_option")

    def __init__(self, option: Path | None) -> None:
        from verifier.proof.keys import named_path, signing_key

        self._option = option
        self._key = signing_key(option) if option is not None or named_path() is not None else None

    def key(self) -> SigningKey:
        from verifier.proof.keys import signing_key

        if self._key is None:
            self._key = signing_key(self._option)
        return self._key

    def public(self) -> PublicKey | None:
        """The key's public half, if the key exists: from the file beside it, which takes no passphrase."""
        from verifier.proof.keys import default_path, read_public_key

        if self._key is not None:
            return self._key.public
        try:
            path = default_path()
        except InputError:  # no home folder
            return None
        beside = path.with_name(path.name.removesuffix(".pem") + ".pub.pem")
        return read_public_key(beside) if beside.is_file() else None


def _jobs(arguments: argparse.Namespace, signer: _Signer) -> list[Job]:
    from verifier import prove, store
    from verifier.files import read_input
    from verifier.kernel import limits

    asked = request(arguments)
    out: Path = arguments.out
    if not 1 <= arguments.jobs <= MOST_JOBS:
        raise InputError("--jobs", "", f"must be in 1..{MOST_JOBS}, not {arguments.jobs}")
    models = models_in(arguments.models)
    claim = None
    if arguments.claim is not None:
        if len(models) > 1:
            raise InputError("--claim", "", "is about one model, and several are named")
        claim = arguments.claim, read_input(arguments.claim, limits.CLAIM_BYTES)
    names: dict[str, Path] = {}
    for path in models:
        name = prove.name_of(path)
        prove.require_name(path, name)
        if name in names:
            raise InputError(path, "", f"would have its proof where that of {names[name]} goes")
        names[name] = path
    store.require_writable(out)
    policies: tuple[Policy, ...] | None = None
    if not arguments.force:
        policy = arguments.policy
        if policy is not None and policy.resolve().is_relative_to(out.resolve()):
            raise InputError(policy, "", f"is in {out}, and a policy must not lie in the folder that it judges")
        policies = store.trusted(policy, signer.public())
    share = prove.MARGIN_SHARE if arguments.margin_share is None else arguments.margin_share
    if not 0 <= share <= 1:
        raise InputError("--margin-share", "", f"must be from 0 to 1, not {share}")
    read = partial(read_source, arguments=arguments)
    return [store.Job(path, read, asked, claim, share, out / name, policies) for name, path in names.items()]


def models_in(paths: list[Path]) -> list[Path]:
    """The models that are meant: of a folder, the files in it that may be models."""
    models: list[Path] = []
    for path in paths:
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
        if not found:
            raise InputError(path, "", f"is a folder without models ({', '.join(SUFFIXES)})")
        models += found
    return models


def _attempts(jobs: list[Job], arguments: argparse.Namespace) -> Iterator[tuple[Job, Prepared | Exception]]:
    """Prepare every job, with as many processes as were asked for; as they are done."""
    quiet = arguments.quiet or arguments.json
    if min(arguments.jobs, len(jobs)) == 1:
        for job in jobs:
            with progress(quiet=quiet) as observe:
                attempt = _attempt(job, observe=observe if len(jobs) == 1 else _named(job, observe))
            yield job, attempt
        return
    from concurrent.futures import BrokenExecutor

    from verifier.sweeps import each

    with progress(quiet=quiet) as observe:
        for done, (job, attempt) in enumerate(each(_attempt, jobs, None, min(arguments.jobs, len(jobs)))):
            observe(f"certify, {arguments.jobs} at a time", done, len(jobs))
            if isinstance(attempt, BrokenExecutor):
                attempt = InputError(job.path, "", "its process died; is there enough memory?")
            elif isinstance(attempt, Exception) and not isinstance(attempt, VerifierError):
                raise attempt
            yield job, attempt


def _named(job: Job, observe: Observer) -> Observer:
    return lambda step, done, total: observe(f"{job.folder.name}: {step}", done, total)


def _attempt(job: Job, attempt: int = 1, observe: Observer | None = None) -> Prepared | Exception:
    """One job, with its expected failures as values: one model must not stop the others."""
    from verifier import prove, store

    try:
        return store.prepare(job, observe or prove.ignore)
    except (InputError, prove.Unexplained) as error:
        return error


@dataclass(frozen=True, slots=True)
class _Entry:
    """How one model ended: its exit code, its state in a word or two, and what to say on standard error."""

    path: Path
    code: int
    state: str
    message: str
    result: Result | None


def _finish(job: Job, attempt: Prepared | Exception, signer: _Signer) -> _Entry:
    """Sign and write what was prepared, if it was proved."""
    from verifier import store
    from verifier.kernel.claim import read_claim
    from verifier.prove import describe
    from verifier.results import Result, causes

    path = job.path
    if isinstance(attempt, InputError):
        return _Entry(path, BAD_INPUT, "bad input", str(attempt), None)
    if isinstance(attempt, Exception):
        return _Entry(path, FAILED, "not explained", f"{path}: not explained: {attempt}", None)
    outcome, how, given = attempt.outcome, attempt.attempt, attempt.source.assumptions
    notes = attempt.notes
    if not outcome.proved:
        message = f"{path}: not proved: {outcome.failure}; nothing was written"
        result = Result(str(path), outcome, how, assumptions=given, notes=notes)
        result = replace(
            result, notes=(*notes, *causes(result), describe(attempt.source, read_claim(attempt.claim).task))
        )
        return _Entry(path, FAILED, "not proved", message, result)
    names = {"certificate": store.CERTIFICATE, "claim": store.CLAIM, "proof": store.PROOF}
    if attempt.source.imported:
        notes = (f"imported ({attempt.source.imported}): the proof is about {attempt.source.file_name}", *notes)
        notes += _to_the_gate(job.folder / attempt.source.file_name, attempt.source.data)
        names["model"] = attempt.source.file_name
    files = {kind: str(job.folder / name) for kind, name in names.items()}
    if attempt.kept:
        signers = ", ".join(attempt.kept)
        notes += ("the kernel has confirmed the proof now; --force makes and signs it anew",)
        result = Result(str(path), outcome, None, files, signers, kept=True, assumptions=given, notes=notes)
        return _Entry(path, OK, "already certified", "", result)
    try:
        keyid, more = _sign(job, attempt, names, signer)
    except InputError as error:
        return _Entry(path, BAD_INPUT, "not written", str(error), None)
    result = Result(str(path), outcome, how, files, keyid, assumptions=given, notes=notes + more)
    return _Entry(path, OK, "certified", "", result)


def _to_the_gate(native: Path, data: bytes) -> tuple[str, ...]:
    """The line to run so that `verifier gate` finds the native file that was written beside the proof."""
    from verifier.store import holds

    models = native.parent.parent.parent / "models"
    if holds(models / native.name, data):
        return ()
    make = "" if models.is_dir() else f"mkdir -p {shlex.quote(str(models))} && "
    return (f"for the gate: {make}cp {shlex.quote(str(native))} {shlex.quote(f'{models}/')}",)


def _sign(job: Job, prepared: Prepared, names: dict[str, str], signer: _Signer) -> tuple[str, tuple[str, ...]]:
    """Sign and write; returns the key's fingerprint, and what the user should know.

    **Raises** `InputError`.
    """
    from verifier import store
    from verifier.proof.policy import read_policy

    source, folder = prepared.source, job.folder
    key = signer.key()
    contents = {
        "certificate": prepared.certificate,
        "claim": prepared.claim,
        "proof": store.sign(prepared, key),
        "model": source.data,
    }
    model = folder / names.get("model", "")
    if "model" in names and model.exists() and model.samefile(job.path):
        raise InputError(model, "", "is the source itself; choose another --out")
    store.require_writable(folder, tuple(names.values()))
    removed = store.store(folder, {name: contents[kind] for kind, name in names.items()})
    notes = [f"removed {folder / name}, which signed the proof that was replaced" for name in removed]
    policy = folder.parent / "policy.toml"
    if policy.is_file() and key.public.keyid not in read_policy(policy).keys:
        notes.append(f"{policy} does not name this key, so that `verifier gate` will not accept the proof")
    return key.public.keyid, tuple(notes)


def _print(entries: list[_Entry], arguments: argparse.Namespace) -> None:
    from verifier.results import overview, show

    if len(entries) == 1:
        (entry,) = entries
        if arguments.json:
            if entry.code != BAD_INPUT:
                emit_json(_document(entry))
        elif entry.result is not None:
            show(entry.result, quiet=arguments.quiet)
        return
    if arguments.json:
        documents = [_document(entry) for entry in entries]
        certified = sum(entry.code == OK for entry in entries)
        emit_json({"models": documents, "certified": certified, "failed": len(entries) - certified})
        return
    for entry in entries:
        if entry.result is not None and entry.code != OK:
            show(entry.result, quiet=arguments.quiet)
    overview([(entry.path.stem, entry.state, entry.result) for entry in entries], quiet=arguments.quiet)
    for entry in entries:
        for note in () if entry.result is None else entry.result.notes:
            for line in wrapped(f"{entry.path.stem}: {note}"):
                say(line, quiet=arguments.quiet)
    say(f"proofs in {arguments.out}/<name>/", quiet=arguments.quiet)


def _document(entry: _Entry) -> dict[str, object]:
    from verifier.results import document

    if entry.result is None:
        return {
            "proved": False,
            "state": entry.state,
            "reason": one_line(entry.message),
            "model": {"file": str(entry.path)},
        }
    return {"state": entry.state, **document(entry.result)}
