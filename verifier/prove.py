"""From a model file to a proved claim: reading, claiming, explaining, and the kernel.

    model bytes ─▶ explanation ─▶ certificate ─┐
    options ─────▶ claim ──────────────────────┼─▶ KERNEL ─▶ conclusion
    model bytes ───────────────────────────────┘

Every file is read once, as bytes; what is hashed, checked and, in
`verifier.store`, signed are those bytes. A claim is made from
options, or is a file of its own; it never comes from the certificate. Only the kernel's conclusion counts:
the rest of this module is untrusted.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.errors import InputError, VerifierError
from verifier.files import read_input
from verifier.kernel import Checked, Rejected, check, limits
from verifier.kernel.claim import FORMAT as CLAIM_FORMAT
from verifier.kernel.claim import SEMANTICS, STRATEGIES, TASKS, modulus, read_claim
from verifier.kernel.model_file import ModelFile, read_model

if TYPE_CHECKING:
    from verifier.formats import ImportedModel

SUFFIX = ".safetensors"
MADE_HERE = "the certificate made for it"
MARGIN_SHARE = 0.975
"""How much of the true margin, and of the true deviation, an explanation should show (see `verifier.explainer`)."""

Observer = Callable[[str, int, int], None]


def ignore(step: str, done: int, total: int) -> None:
    """An observer that does nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model, read.

    **Fields**

    - `path`: the file the user named; `name`: that without folder and suffix, which names the proof.
    - `data`, `sha256`: the native model file, which the theorem is about; `p`, `neurons`, `outputs`: its sizes;
      `task`: what it says it is for.
    - `learned`: whether its attention is softmax of its own queries and keys.
    - `imported`: the format it was translated from; empty when the file named is the native one.
    - `assumptions`: what the import took for granted, as phrases; `notes`: what else the user should know.
    """

    path: Path
    name: str
    data: bytes
    sha256: str
    p: int
    neurons: int
    outputs: int
    task: str
    learned: bool
    imported: str
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """What the proof calls the model file."""
        return f"{self.name}{SUFFIX}"


def read_native(path: Path) -> Source:
    """A native model file, decoded by the kernel's own parser.

    **Raises** `InputError`.
    """
    data = read_input(path, limits.MODEL_BYTES)
    try:
        model = read_model(data)
    except Rejected as error:
        raise bad_input(error, {"model": path}) from None
    return _source(path, data, model, "", (), ())


def read_source(path: Path, read: Callable[[Path], ImportedModel]) -> Source:
    """A native model file, or a checkpoint of another format, translated with `read`.

    **Raises** `InputError`.
    """
    from verifier.formats import native
    from verifier.model import encode

    imported = read(path)
    if imported.format != native.FORMAT:
        data = encode(imported.model)
        origin = f"imported from {imported.source}, sha256 {imported.source_sha256}"
        notes = (origin, *imported.notes, *(f"{kind} {what}" for kind, what in imported.changes()))
        return _source(path, data, read_model(data), imported.format, imported.assumptions, notes)
    if not path.name.endswith(SUFFIX):
        raise InputError(path, "", f"is a native model file, and must be named *{SUFFIX}")
    source = read_native(path)
    if source.sha256 != imported.source_sha256:
        raise InputError(path, "", "changed while it was read")
    return source


def name_of(path: Path) -> str:
    """What the proof of a model is called: the file's name without its suffix."""
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem


def _source(
    path: Path,
    data: bytes,
    model: ModelFile,
    imported: str,
    assumptions: tuple[str, ...],
    notes: tuple[str, ...],
) -> Source:
    digest = hashlib.sha256(data).hexdigest()
    facts = (model.p, model.neurons, model.outputs, model.task, model.scale_squared is not None)
    return Source(path, name_of(path), data, digest, *facts, imported, assumptions, notes)


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
    - `strategy`: one of the claim's; None means linear and, where that does not prove it, exact (or, for learned
      attention, semi-linear).
    - `semantics`: the claim's. `operation`: one of `TASKS`; None means what the model file says it is for.
    """

    at_least: int | None = None
    strategy: str | None = None
    semantics: str = "binary32"
    operation: str | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_least < 0:
            raise InputError("--at-least", "", f"must not be negative, and is {self.at_least}")
        if self.strategy not in (None, *STRATEGIES):
            raise InputError("--strategy", "", f"must be one of {', '.join(STRATEGIES)}")
        if self.semantics not in SEMANTICS:
            raise InputError("--semantics", "", f"must be one of {', '.join(SEMANTICS)}")
        if self.operation not in (None, *TASKS):
            raise InputError("--operation", "", f"must be one of {', '.join(TASKS)}")

    def claims(self, source: Source) -> tuple[bytes, ...]:
        """The claim about one model, as a file; or the claims of which the first that holds is meant.

        **Raises** `InputError` when it asks for more inputs than there are.
        """
        second = "semi-linear" if source.learned else "exact"
        strategies = ("linear", second) if self.strategy is None else (self.strategy,)
        return tuple(self._claim(source, strategy) for strategy in strategies)

    def _claim(self, source: Source, strategy: str) -> bytes:
        task = source.task if self.operation is None else TASKS[self.operation]
        try:
            most = modulus(task, source.p) ** 2
        except Rejected as error:
            raise bad_input(error, {"claim": source.path}) from None
        inputs = most if self.at_least is None else self.at_least
        if inputs > most:
            raise InputError("--at-least", "", f"is {inputs}, and {source.path} has {most} inputs")
        document = {
            "format": CLAIM_FORMAT,
            "task": task,
            "p": source.p,
            "model_sha256": source.sha256,
            "strategy": strategy,
            "semantics": self.semantics,
            "certified_inputs": inputs,
        }
        return (json.dumps(document, indent=1) + "\n").encode("ascii")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the kernel said.

    **Fields**

    - `checked`: what was proved; when `failure` is not empty, what was proved although the claim was not, or None.
    - `failure`: why the claim is not proved; empty when it is.
    - `seconds`: of the kernel.
    """

    checked: Checked | None
    failure: str
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
    found: Checked | None
    try:
        found, failure = check(model, claim, certificate, observe), ""
    except Rejected as error:
        if error.reason.kind == "malformed":
            raise bad_input(error, paths) from None
        found, failure = error.findings, str(error)
    return Outcome(found, failure, time.perf_counter() - started)


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
class Attempt:
    """A claim, the certificate it was checked with, and what the kernel said.

    **Fields**

    - `claim`, `certificate`, `outcome`: of the first claim that was proved, or of the last that was tried.
    - `others`: by strategy, what the kernel said of the claims tried before; and, where nothing was proved, of the
      exact strategy, which tells wrong answers from unproved ones.
    - `seconds`: how long explaining and checking took.
    """

    claim: bytes
    certificate: bytes
    outcome: Outcome
    others: dict[str, Outcome]
    seconds: float


def explain(source: Source, margin_share: float, observe: Observer = ignore, task: str | None = None) -> bytes:
    """The certificate that the explainer makes for a model and a task, by default the one it says it is for.

    **Raises** `InputError` for a model that is not well-formed.
    """
    from verifier import explainer  # numpy's linear algebra, which checking alone does not need
    from verifier.model import circuit_for, decode

    observe("explain", 0, 1)
    circuit, activations = circuit_for(task or source.task, decode(source.data, str(source.path)))
    return explainer.explain(circuit, source.sha256, margin_share, activations)


def describe(source: Source, task: str) -> str:
    """How far frequencies explain the model's neurons: one sentence of estimates."""
    from verifier import explainer
    from verifier.model import circuit_for, decode

    return explainer.describe(circuit_for(task, decode(source.data, str(source.path)))[0])


def prove(
    source: Source,
    claims: Sequence[bytes],
    margin_share: float = MARGIN_SHARE,
    observe: Observer = ignore,
    claim_name: Path | str = "claim",
) -> Attempt:
    """The first of `claims` that the explainer's certificate proves.

    **Raises** `InputError` for a model or a claim that is not well-formed; `Unexplained`.
    """
    started = time.perf_counter()
    certificate = explain(source, margin_share, observe, read_claim(claims[0]).task)
    others: dict[str, Outcome] = {}
    claim, *more = claims
    outcome = _judge(source, claim, certificate, claim_name, observe)
    while more and not outcome.proved:
        others[read_claim(claim).strategy] = outcome
        claim, *more = more
        outcome = _judge(source, claim, certificate, claim_name, observe)
    tried = read_claim(claim)
    if not outcome.proved and tried.strategy != "exact":
        others["exact"] = _judge(source, exact_claim(source, claim), certificate, claim_name, observe)
    return Attempt(claim, certificate, outcome, others, time.perf_counter() - started)


def exact_claim(source: Source, claim: bytes) -> bytes:
    """A claim about no input by the exact strategy, the rest as in `claim`: its findings tell right from wrong."""
    made = read_claim(claim)
    operation = next(name for name, task in TASKS.items() if task == made.task)
    return Request(0, "exact", made.semantics, operation).claims(source)[0]


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
