"""The gate: every model has a proof that verifies and meets the policy.

    models/<name>.safetensors
    certificates/<name>/proof.sigstore.json      the proof
    certificates/<name>/proof.<who>.sigstore.json  further signatures of it, if the policy asks for several
    certificates/<name>/claim.json
    certificates/<name>/certificate.json
    certificates/policy.toml                     by default
    certificates/keys/                           public keys, if the policy names files
    certificates/<name>/<name>.safetensors       may be there, if it is the same file as the model

A model without a proof fails, and so does a proof without a model, a model in a subfolder or with a name
that is not plain, any other model beside a proof, and a symbolic link anywhere, the two folders included. No
model at all is a failure too: a gate that checked nothing must not open.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from verifier.errors import InputError, one_line
from verifier.files import FileError, read_limited
from verifier.kernel import limits
from verifier.proof.documents import STEM
from verifier.proof.envelope import MAX_BUNDLE_BYTES
from verifier.proof.kernel import Kernel, Observer, ignore
from verifier.proof.policy import Policy
from verifier.proof.reasons import Reason, VerificationError
from verifier.proof.verify import SUFFIX, Verified, verify

PROOF, CLAIM, CERTIFICATE = "proof.sigstore.json", "claim.json", "certificate.json"
COUNTERSIGNED = re.compile(rf"proof\.{STEM}\.sigstore\.json")
KEYS_FOLDER = "keys"

_NAME = re.compile(STEM)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the gate found about one model, or about something that is not where it should be.

    **Fields**

    - `name`: the model's name without suffix, or a path.
    - `failure`: why it does not pass; None if it passes, and then `verified` says what was proved.
    - `seconds`: how long it took.
    """

    name: str
    failure: VerificationError | None
    verified: Verified | None
    seconds: float


@dataclass(frozen=True, slots=True)
class GateResult:
    """Every entry, and whether the kernel re-ran."""

    entries: tuple[Entry, ...]
    rechecked: bool

    @property
    def failures(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.failure is not None)

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "passed": not self.failures,
            "rechecked": self.rechecked,
            "models": sum(entry.verified is not None for entry in self.entries),
            "failures": len(self.failures),
            "entries": [_entry_document(entry) for entry in self.entries],
        }


@dataclass(frozen=True, slots=True)
class ProofFiles:
    """The bytes of the files beside a proof."""

    bundles: tuple[bytes, ...]
    claim: bytes
    certificate: bytes


def gate(
    certificates: Path,
    models: Path,
    policy: Policy,
    *,
    recheck: bool = True,
    kernel: Kernel | None = None,
    observe: Callable[[str], Observer] = lambda name: ignore,
) -> GateResult:
    """Verify every model in `models` with its proof in `certificates`.

    `observe(name)` gives the observer for the model of that name.

    **Raises** `InputError` if one of the two folders cannot be read. Everything else is an entry.
    """
    names, entries = _find_models(models)
    for folder in (certificates, models):
        if folder.is_symlink():
            entries.append(_misplaced(folder.name, Reason.UNSAFE, "is a symbolic link"))
    for name in names:
        start = time.monotonic()
        failure, verified = None, None
        try:
            data = read_part(models / f"{name}{SUFFIX}", limits.MODEL_BYTES)
            files = read_proof(certificates, name)
            verified = verify(
                files.bundles,
                policy=policy,
                model_name=f"{name}{SUFFIX}",
                model=data,
                claim=files.claim,
                certificate=files.certificate,
                recheck=recheck,
                kernel=kernel,
                observe=observe(name),
            )
        except VerificationError as error:
            failure = error
        entries.append(Entry(name, failure, verified, time.monotonic() - start))
    entries += _find_strangers(certificates, models, set(names))
    if not entries:
        nothing = VerificationError(0, Reason.NOTHING, f"no *{SUFFIX} in the folder of models")
        entries.append(Entry("models", nothing, None, 0.0))
    return GateResult(tuple(sorted(entries, key=lambda entry: entry.name)), recheck)


def read_proof(certificates: Path, name: str) -> ProofFiles:
    """The files of the proof for the model `name`.

    **Raises** `VerificationError`: `MISSING`, `UNSAFE`, `NAME`.
    """
    folder = certificates / name
    if folder.is_symlink():
        raise VerificationError(0, Reason.UNSAFE, f"{name}: is a symbolic link")
    if not folder.is_dir():
        raise VerificationError(0, Reason.MISSING, f"{folder.name}/{PROOF}")
    others = [part for part in _list(folder) if COUNTERSIGNED.fullmatch(part)]
    return ProofFiles(
        bundles=tuple(read_part(folder / part, MAX_BUNDLE_BYTES) for part in (PROOF, *others)),
        claim=read_part(folder / CLAIM, limits.CLAIM_BYTES),
        certificate=read_part(folder / CERTIFICATE, limits.CERTIFICATE_BYTES),
    )


def read_part(path: Path, limit: int) -> bytes:
    """The bytes of a regular file that is not reached through a symbolic link of its own.

    **Raises** `VerificationError`: `MISSING`, `UNSAFE`, `SIZE`.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        return read_limited(path, limit, follow=False)
    except FileNotFoundError:
        raise VerificationError(0, Reason.MISSING, where) from None
    except FileError as error:
        reason = Reason.SIZE if "larger" in str(error) else Reason.UNSAFE
        raise VerificationError(0, reason, f"{where} {error}") from None
    except OSError as error:
        raise VerificationError(0, Reason.UNSAFE, f"{where}: {error.strerror}") from None


def _find_models(models: Path) -> tuple[list[str], list[Entry]]:
    """The names of the models, and a failure for each that is not in its place."""
    names: list[str] = []
    failures: list[Entry] = []
    for path in _walk(models):
        relative = path.relative_to(models).as_posix()
        if path.is_symlink():
            failures.append(_misplaced(relative, Reason.UNSAFE, "is a symbolic link"))
        elif path.name.lower().endswith(SUFFIX):
            name = path.name.removesuffix(SUFFIX)
            if path.parent != models:
                failures.append(_misplaced(relative, Reason.NAME, "models must not be in subfolders"))
            elif _NAME.fullmatch(name) is None or name in (KEYS_FOLDER, path.name):
                failures.append(_misplaced(relative, Reason.NAME, "must be letters, digits and single . _ -"))
            else:
                names.append(name)
    return sorted(names), failures


def _find_strangers(certificates: Path, models: Path, names: set[str]) -> Iterator[Entry]:
    """A failure for every folder of `certificates` that belongs to no model, every symbolic link below it, and every
    model there but for copies of those that the gate judges.
    """
    for part in _list(certificates):
        path = certificates / part
        if path.is_dir() and not path.is_symlink() and part not in names and part != KEYS_FOLDER:
            yield _misplaced(part, Reason.ORPHAN, f"there is no {one_line(part)}{SUFFIX}")
    for path in _walk(certificates):
        relative = path.relative_to(certificates).as_posix()
        if path.is_symlink():
            yield _misplaced(relative, Reason.UNSAFE, "is a symbolic link")
        elif path.name.lower().endswith(SUFFIX):
            name = path.parent.name
            if relative != f"{name}/{name}{SUFFIX}" or name not in names:
                yield _misplaced(relative, Reason.NAME, "models belong into the folder of models")
            elif not _same(path, models / path.name):
                yield _misplaced(relative, Reason.MODEL_DIGEST, "is not the model in the folder of models")


def _same(one: Path, other: Path) -> bool:
    try:
        return read_part(one, limits.MODEL_BYTES) == read_part(other, limits.MODEL_BYTES)
    except VerificationError:
        return False


def _misplaced(name: str, reason: Reason, rule: str) -> Entry:
    return Entry(one_line(name), VerificationError(0, reason, f"{one_line(name)}: {rule}"), None, 0.0)


def _walk(folder: Path) -> Iterator[Path]:
    """Every file and symbolic link below `folder`, without following any link."""
    pending = [folder]
    while pending:
        here = pending.pop()
        for name in _list(here):
            path = here / name
            if path.is_dir() and not path.is_symlink():
                pending.append(path)
            else:
                yield path


def _list(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(folder, "", error.strerror or "cannot be listed") from None


def _entry_document(entry: Entry) -> dict[str, object]:
    document: dict[str, object] = {"name": entry.name, "passed": entry.failure is None}
    if entry.failure is not None:
        document |= {
            "step": entry.failure.step,
            "reason": entry.failure.reason.name,
            "message": one_line(str(entry.failure)),
        }
    if entry.verified is not None:
        document |= verified_document(entry.verified)
    return document | {"seconds": round(entry.seconds, 3)}


def verified_document(verified: Verified) -> dict[str, object]:
    """A verified proof for `--json`; its bounds as decimals rounded outward."""
    facts = verified.facts
    bounds, errors = facts.relative_quadrature_bounds, facts.relative_network_errors
    return {
        "model": verified.statement.model_name,
        "sha256": verified.statement.model_sha256,
        "signed_by": list(verified.keyids),
        "rechecked": verified.rechecked,
        "p": facts.p,
        "certified_inputs": facts.certified_inputs,
        "explained_inputs": facts.explained_inputs,
        "total_inputs": facts.total_inputs,
        "semantics": facts.semantics,
        "min_margin": decimal(facts.min_margin, "lower"),
        "relative_margin": None if facts.relative_margin is None else decimal(facts.relative_margin, "lower"),
        "max_error": decimal(facts.max_error, "upper"),
        "gap_error": None if facts.gap_error is None else decimal(facts.gap_error, "upper"),
        "relative_quadrature_bounds": {str(k): decimal(bounds[k], "upper") for k in sorted(bounds)},
        "relative_network_errors": {
            str(k): None if error is None else decimal(error, "upper") for k, error in sorted(errors.items())
        },
        "cost_per_parameter": decimal(facts.cost_per_parameter, "upper"),
        "environment": verified.statement.environment,
    }


def decimal(value: Fraction, direction: Literal["upper", "lower"], places: int = 6) -> str:
    """`value` with so many decimal places, rounded up for `upper` and down for `lower`."""
    scaled = value * 10**places
    units = math.floor(scaled) if direction == "lower" else math.ceil(scaled)
    whole, part = divmod(abs(units), 10**places)
    return f"{'-' * (units < 0)}{whole}.{part:0{places}d}"


def junit(result: GateResult) -> bytes:
    """The result as JUnit XML: a test case for each entry."""
    seconds = sum(entry.seconds for entry in result.entries)
    suite = ElementTree.Element(
        "testsuite",
        name="verifier gate",
        tests=str(len(result.entries)),
        failures=str(len(result.failures)),
        errors="0",
        skipped="0",
        time=f"{seconds:.3f}",
    )
    for entry in result.entries:
        attributes = {"classname": "gate", "name": one_line(entry.name), "time": f"{entry.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if entry.failure is not None:
            message = one_line(str(entry.failure))
            failure = ElementTree.SubElement(case, "failure", type=entry.failure.reason.name, message=message)
            failure.text = message
    if not result.rechecked:
        ElementTree.SubElement(suite, "system-err").text = "the kernel was not run (--no-recheck)"
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def github_annotations(result: GateResult, models: Path) -> Iterator[str]:
    """The result as GitHub workflow commands: an error per failure, a warning if the kernel did not run."""
    if not result.rechecked:
        yield "::warning title=verifier gate::the kernel was not run (--no-recheck)"
    for entry in result.failures:
        plain = _NAME.fullmatch(entry.name) is not None and not entry.name.lower().endswith(SUFFIX)
        file = f"file={_property(f'{models.as_posix()}/{entry.name}{SUFFIX}')}," if plain else ""
        yield f"::error {file}title={_property(f'verifier gate, {entry.name}')}::{_data(str(entry.failure))}"


def _data(text: str) -> str:
    """Escape the message of a workflow command."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
