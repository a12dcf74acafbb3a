"""The front door in Python: a model in memory, or a file, in; what is proved about it out.

    >>> import verifier
    >>> found = verifier.certify("models/pizza-p23.safetensors")
    >>> found
    <Certification of pizza-p23: proved, 529 of 529 inputs, binary32>
    >>> found.margins.shape, bool((found.margins > 0).all())
    ((23, 23), True)

Every number is a proved bound, rounded outward to a float. What the command line says in a line is raised here as a
`VerifierError` with the same sentence.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from verifier import prove, results, store
from verifier.console import notebook_observer, table_text
from verifier.errors import InputError
from verifier.formats import ImportedModel, import_file, import_model
from verifier.kernel.conclusion import Conclusion, Dyadic
from verifier.model import answer
from verifier.report.case import Case, explained_case
from verifier.report.mechanism import FrequencyEstimate, read_mechanism

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from verifier.proof.keys import SigningKey
    from verifier.proof.verify import Verified
    from verifier.report.figures import View

PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@dataclass(frozen=True, slots=True)
class Rows(Sequence[dict[str, Any]]):
    """A small table: a sequence of rows; `pandas.DataFrame(rows.to_dict())` is the same as a data frame."""

    columns: tuple[str, ...]
    cells: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Rows(self.columns, self.cells[index])
        return dict(zip(self.columns, self.cells[index], strict=True))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def to_dict(self) -> dict[str, list[Any]]:
        """By column."""
        return {name: [row[index] for row in self.cells] for index, name in enumerate(self.columns)}

    def _text(self) -> list[tuple[str, ...]]:
        return [tuple(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row) for row in self.cells]

    def __repr__(self) -> str:
        return table_text(self.columns, self._text(), align="r" * len(self.columns))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self._text())
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def safe_float(number: Dyadic, direction: Literal["upper", "lower"]) -> float:
    """The nearest float on the safe side."""
    exact = number.mantissa * Fraction(2) ** number.exponent
    near = float(exact)
    if direction == "upper":
        return near if Fraction(near) >= exact else math.nextafter(near, math.inf)
    return near if Fraction(near) <= exact else math.nextafter(near, -math.inf)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Certification:
    """What the kernel proved about one model; made by `certify`.

    **Fields**

    - `source`: the model as it was read; `source.data` is the native file that the theorem is about.
    - `attempt`: the claim, the certificate, and what the kernel said. `bundle`: the signed proof, after `sign`.
    """

    source: prove.Source
    attempt: prove.Attempt
    bundle: bytes | None = None

    @property
    def proved(self) -> bool:
        """Whether the claim is proved."""
        return self.attempt.outcome.proved

    @property
    def conclusion(self) -> Conclusion:
        """Everything that was proved, exactly.

        **Raises** `Unexplained` when nothing was.
        """
        checked = self.attempt.outcome.checked
        if checked is None:
            raise prove.Unexplained(f"{self.source.name}: nothing was proved: {self.attempt.outcome.failure}")
        return checked.conclusion

    @property
    def theorem(self) -> str:
        """The theorem in words."""
        return self.conclusion.theorem()

    @property
    def certified(self) -> int:
        """At how many of the p² inputs the answer is proved right."""
        return self.conclusion.accuracy.certified_inputs

    @property
    def explained(self) -> int:
        """At how many the closed form and one bound of its error give it."""
        return self.conclusion.accuracy.explained_inputs

    @property
    def margins(self) -> NDArray[np.float64]:
        """[a, b]: a lower bound, in logits, of how far the right answer leads every other one; not a number where
        nothing is claimed (multiplication by zero).
        """
        checked = self.attempt.outcome.checked
        if checked is None:
            raise prove.Unexplained(f"{self.source.name}: nothing was proved: {self.attempt.outcome.failure}")
        near: NDArray[np.float64] = checked.evidence.margins.astype(np.float64)
        low = np.where(near.astype(np.int64) > checked.evidence.margins, np.nextafter(near, -np.inf), near)
        p, names = checked.conclusion.claim.p, checked.evidence.names
        scaled = np.full((p, p), np.nan)
        scaled[np.ix_(names.a, names.b)] = np.ldexp(low, checked.evidence.exponent)
        return scaled

    @property
    def quadrature(self) -> Rows:
        """Theorem Q, a row for each frequency."""
        names = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound", "network_error")
        cells = [
            (
                bound.frequency,
                bound.neurons,
                *(safe_float(getattr(bound, name), "upper") for name in names),
                safe_float(bound.amplitude, "lower"),
            )
            for bound in self.conclusion.quadrature
        ]
        return Rows(("frequency", "neurons", *names, "amplitude"), tuple(cells))

    @property
    def families(self) -> Rows:
        """The explanation: a row for each family of neurons, that share a frequency and a profile."""
        cells = [
            (x["frequency"], len(x["members"]), x["dc"] / 2**24, len(x["profile"]), x["outputs"])
            for x in json.loads(self.attempt.certificate)["families"]
        ]
        return Rows(("frequency", "neurons", "dc", "harmonics", "outputs"), tuple(cells))

    @property
    def wrong(self) -> Rows | None:
        """Inputs that are proved to be answered wrong, the worst first, at most 256; None where that is not known."""
        columns = ("a", "b", "right", "answer", "margin")
        if self.certified == self.conclusion.accuracy.total_inputs:
            return Rows(columns, ())
        for outcome in (self.attempt.outcome, *self.attempt.others.values()):
            found = None if outcome.checked is None else outcome.checked.conclusion
            if found is not None and found.accuracy.wrong is not None:
                listed = found.accuracy.wrong
                task, p = found.claim.task, found.claim.p
                cells = [(x.a, x.b, answer(task, p, x.a, x.b), x.answer, safe_float(x.margin, "lower")) for x in listed]
                return Rows(columns, tuple(cells))
        return None

    def summary(self) -> str:
        """What `verifier certify` prints."""
        tables = results.summary(self._result())
        return "\n\n".join(table_text(t.header, t.rows, title=t.title, align=t.align) for t in tables)

    def to_dict(self) -> dict[str, Any]:
        """What `verifier certify --json` prints."""
        return results.document(self._result())

    def plot(self, figure: str = "margins") -> Figure:
        """One of the figures of `verifier plot`, by its name; by default the map of the margins, whose inputs that are
        not certified are marked. Needs matplotlib.

        **Raises** `InputError` for a name that is none.
        """
        from verifier.report.figures import FIGURES, drawn

        if figure not in FIGURES:
            raise InputError("--figure", "", f"must be one of {', '.join(FIGURES)}, not {figure!r}")
        return drawn(figure, self._view())

    def report(self, path: Path | str) -> Path:
        """Write the page of `verifier report`. Needs matplotlib.

        **Raises** `InputError` when it cannot be written.
        """
        from verifier.files import write_atomically
        from verifier.report.page import page

        write_atomically(Path(path), page(self._view()).encode("utf-8"))
        return Path(path)

    def _case(self) -> Case:
        return explained_case(self.source, self.attempt)

    def _view(self) -> View:
        from verifier.report.figures import View

        case = self._case()
        a, b = divmod(int(case.checked.evidence.margins.argmin()), case.circuit.p)
        return View(case, read_mechanism(case), (a, b))

    def sign(self, key: Path | str | SigningKey | None = None) -> Certification:
        """The same with a signed proof; `key` is a private key or its file, by default the user's own.

        **Raises** `InputError`, also when the claim was not proved.
        """
        from verifier.proof.keys import signing_key

        if not self.proved:
            rule = f"has no proof to sign; certify(…, at_least={self.certified}) claims what was proved"
            raise InputError(self.source.name, "", rule)
        signer = signing_key(None if key is None else Path(key)) if key is None or isinstance(key, str | Path) else key
        a = self.attempt
        prepared = store.Prepared(self.source, a.claim, a.certificate, a.outcome, a, (), ())
        return replace(self, bundle=store.sign(prepared, signer))

    def save(self, folder: Path | str) -> Path:
        """Write `folder/<name>/`: the model as a native file, claim, certificate and, after `sign`, the proof.

        **Raises** `InputError`.
        """
        place = Path(folder) / self.source.name
        files = {store.CERTIFICATE: self.attempt.certificate, store.CLAIM: self.attempt.claim}
        if self.bundle is not None:
            files[store.PROOF] = self.bundle
        if self.source.imported:
            files[self.source.file_name] = self.source.data
        store.require_writable(place, tuple(files))
        store.store(place, files)
        return place

    def _result(self) -> results.Result:
        source = self.source
        return results.Result(
            str(source.path), self.attempt.outcome, self.attempt, assumptions=source.assumptions, notes=source.notes
        )

    def __repr__(self) -> str:
        if self.attempt.outcome.checked is None:
            return f"<Certification of {self.source.name}: nothing was proved>"
        accuracy = self.conclusion.accuracy
        state = "proved" if self.proved else "NOT PROVED"
        inputs = f"{accuracy.certified_inputs} of {accuracy.total_inputs} inputs"
        return f"<Certification of {self.source.name}: {state}, {inputs}, {accuracy.semantics}>"

    def _repr_html_(self) -> str:
        picture = ""
        if self.attempt.outcome.checked is not None:
            try:
                from verifier.report.figures import render

                data = base64.b64encode(render("margins", self._view(), "png")).decode("ascii")
                style = "max-width: 30em"
                picture = f'<img alt="map of the certified margins" style="{style}" src="data:image/png;base64,{data}">'
            except ModuleNotFoundError:  # the text stands alone
                pass
        return f"<pre>{html.escape(self.summary())}</pre>{picture}"


def certify(
    model: object,
    *,
    at_least: int | None = None,
    strategy: str | None = None,
    semantics: str = "binary32",
    operation: str | None = None,
    margin_share: float = prove.MARGIN_SHARE,
    name: str = "model",
    observe: prove.Observer | None = None,
    **reading: Any,
) -> Certification:
    """Explain a model, and prove what can be proved about it.

    **Arguments**

    - `model`: a path, a torch module, a state dict, a mapping with the tables `A`, `B`, `W` (`S1`, `S2`) of a folded
      circuit, or what `import_model` gave.
    - `at_least`: how many inputs to claim; by default all of them. `strategy`: `"linear"`, `"exact"` or
      `"semi-linear"`; by default linear and, where that does not prove it, exact (for learned attention semi-linear).
    - `semantics`: `"binary32"`, `"tf32"`, `"bfloat16"` or `"real"`.
    - `operation`: `"addition"`, `"subtraction"` or `"multiplication"` modulo p; by default what a native file says it
      is for, else addition.
    - `margin_share`: how much of the true margin the explanation should show.
    - `name`: what to call a model that is no file. `observe`: called with (step, done, total); by default a notebook
      shows progress, and nothing else does.
    - `reading`: what the model does not say itself, as for `import_model`: `attention`, `layout`, `p`, `config`.

    **Returns** a `Certification`, also when the claim is not proved: it then says what was proved instead.

        >>> verifier.certify("models/pizza-p23.safetensors", semantics="real").families.to_dict()["frequency"]
        [1, 5, 10]

    **Raises** `InputError` for a model that cannot be read, with the sentence of the command line; `Unexplained`.
    """
    reading = {"operation": operation, **reading}
    if isinstance(model, str | Path):
        source = prove.read_source(Path(model), partial(import_file, **reading))
    else:
        if not name or not set(name) <= PLAIN:
            raise InputError("name", "", f"must be letters, digits, - and _, not {name!r}")
        imported = model if isinstance(model, ImportedModel) else import_model(model, **reading)
        source = prove.read_source(Path(f"{name}{prove.SUFFIX}"), lambda path: imported)
    claims = prove.Request(at_least, strategy, semantics, operation).claims(source)
    observe = observe or notebook_observer()
    attempt = prove.prove(source, claims, margin_share, observe)
    observe("done", 1, 1)
    return Certification(source, attempt)


def explain(model: object, **options: Any) -> Rows:
    """How a model computes: a row for each frequency, in estimates, as `verifier explain` has them.

    Of each: how many neurons and families; how far their phases are from uniform on the circle (`kuiper`, 0 to 1);
    `angle_rms`, of output phases from twice the input's, in turns; constant and second harmonic of the profile,
    relative to the first; and the `share` of the logits' variance, and what of that the closed form has `missed`.

    `options`: as for `certify`.

        >>> verifier.explain("models/pizza-p23.safetensors").to_dict()["neurons"]
        [47, 41, 40]

    **Raises** what `certify` does.
    """
    frequencies = read_mechanism(certify(model, **{"at_least": 0, **options})._case()).frequencies
    names = tuple(field.name for field in fields(FrequencyEstimate))
    return Rows(names, tuple(astuple(row) for row in frequencies))


def verify(
    proof: Path | str, *, model: Path | str | None = None, policy: Path | str = "certificates/policy.toml"
) -> Verified:
    """Verify signatures, digests and policy of a stored proof, and the proof itself, by running the kernel.

    **Arguments**

    - `proof`: the folder of the proof, or its `proof.sigstore.json`. `model`: the native model file; by default the one
      in that folder or in `models/` that is named like the folder.
    - `policy`: whose signatures count and what must hold: yours, not the sender's.

        >>> verifier.verify("certificates/pizza-p23").facts.certified_inputs
        529

    **Raises** `VerificationError`; `InputError` for a file that cannot be read.
    """
    from verifier.files import read_input
    from verifier.kernel import limits
    from verifier.proof.gate import read_proof
    from verifier.proof.policy import read_policy
    from verifier.proof.verify import verify as verify_proof

    path = Path(proof)
    folder = path if path.is_dir() else path.parent
    if model is None:
        beside = folder / f"{folder.name}{prove.SUFFIX}"
        model = beside if beside.is_file() else Path("models") / beside.name
    rules = read_policy(Path(policy))
    files = read_proof(folder.parent, folder.name)
    data = read_input(Path(model), limits.MODEL_BYTES)
    return verify_proof(
        files.bundles,
        policy=rules,
        model_name=Path(model).name,
        model=data,
        claim=files.claim,
        certificate=files.certificate,
    )
