"""What a check concludes: exact numbers, rounded outward, and the JSON document that is signed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from verifier.kernel.claim import ADDITION, MULTIPLICATION, Claim, modulus
from verifier.kernel.limits import PRECISION
from verifier.kernel.operation import words

Document = dict[str, object]
FORMAT = "verifier-conclusion/2"

# One entry per lemma and theorem of docs/theory.md that a conclusion rests on (a test compares the two lists).
LEMMAS = {
    "K": "fixed point and attention: the circuit in fixed point is near the network in the file",
    "B": "output directions: what a neuron writes is a few directions and a bounded rest",
    "E": "event sums: the sum over the neurons, at every input, is made of the jumps of their activity",
    "I": "integral: the closed form's integrals of the families' profiles are known to within an error",
    "Q": "quadrature: the neurons of one frequency, as a quadrature rule, are near its integral",
    "L": "logits: every logit is near a closed form, no term neglected",
    "A": "accuracy: at every certified input the largest logit is that of (a + b) mod p",
    "X": "explained: where the closed form leads by more than twice its error, it alone gives the answer",
    "F": "floating point: the executed network is near the exact one",
}


@dataclass(frozen=True, slots=True)
class Dyadic:
    """The exact number mantissa·2^exponent."""

    mantissa: int
    exponent: int

    def document(self) -> Document:
        return {"mantissa": str(self.mantissa), "exponent": self.exponent}


def _document(value: object) -> object:
    """Dyadics, and lists and tables of them, as JSON-able data."""
    if isinstance(value, Dyadic):
        return value.document()
    if isinstance(value, tuple):
        return [_document(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _document(item) for name, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        found = {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
        return {name: _document(item) for name, item in found.items() if item is not None or name == "gap_error"}
    return value


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention weights that the theorem is about.

    `kind`: `none` (a folded circuit), `declared` (the file says what they are, whatever the input) or `softmax` (they
    are what the network's own queries and keys make of every input). `ranges`: by position, the bounds within which
    every head's weight lies, as exact fractions.
    """

    kind: str
    ranges: tuple[tuple[str, str], ...]

    def words(self) -> str:
        weights = ", ".join(low if low == high else f"between {low} and {high}" for low, high in self.ranges)
        return {
            "none": "",
            "declared": f"the attention weights of every head taken as {weights} at the positions in order, ",
            "softmax": "attention by softmax of its own queries and keys, ",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class QuadratureBound:
    """Theorem Q at one frequency, and what the network itself does there.

    **Fields**

    - `rectangle`, …, `relative_bound`: upper bounds for the rule made of the certificate's phases and amplitudes,
      normalised to weights that sum to 2π.
    - `network_error`: upper bound, in the units of a logit and over all inputs, of the distance between the Fourier
      coefficient of the network's first p logits at this frequency and the closed form's. `amplitude`: lower bound of
      the closed form's largest coefficient there. Their ratio ties the explanation to the network: invented phases
      make it large.
    """

    frequency: int
    neurons: int
    rectangle: Dyadic
    harmonic: Dyadic
    arc_sum: Dyadic
    bound: Dyadic
    relative_bound: Dyadic
    network_error: Dyadic
    amplitude: Dyadic


@dataclass(frozen=True, slots=True)
class LogitBound:
    """Theorem L in exact arithmetic; upper bounds in the units of a logit, each over all inputs.

    **Fields**

    - `max_error`: of |logit_c − μ − closed form| over all c < p.
    - `budget`: what that is made of (of a deformed closed form: what the distance from the pure one is made of).
      `quadrature`, by frequency: Theorem Q at the scale of the logits. `profile`, by frequency: what the network's
      coefficient differs from the closed form's by, besides. `other_frequencies`: half the range of what the output
      directions hold at no frequency of the closed form. `output_rest`: half of what they leave out. `fixed_point`:
      rounding the weights. `attention`: weights that are known by an interval only.
    """

    max_error: Dyadic
    budget: dict[str, Dyadic | dict[int, Dyadic]]


@dataclass(frozen=True, slots=True)
class ClosedFormBound:
    """Theorem X.

    **Fields**

    - `least_gap`: lower bound, over all δ = a − b, of how far the closed form's right answer leads.
    - `error`: upper bound, over all inputs, of the distance of an executed logit from the closed form.
    - `explains_all`: whether `least_gap` is above twice `error`, which proves every answer by that one sentence.
    - `deformation`: upper bound, over all inputs, of |closed form − μ − pure closed form|; None when it is pure.
    """

    least_gap: Dyadic
    error: Dyadic
    explains_all: bool
    deformation: Dyadic | None


@dataclass(frozen=True, slots=True)
class Uncertified:
    """An input with a margin that is not positive."""

    a: int
    b: int
    margin: Dyadic


@dataclass(frozen=True, slots=True)
class Wrong:
    """An input that is proved to be answered wrong: logit `answer` leads the right one by at least `margin`."""

    a: int
    b: int
    answer: int
    margin: Dyadic


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Theorems A and X (and F). Margins are lower bounds of logit_{a+b} minus every other logit, semantics included.

    **Fields**

    - `explained_inputs`: at how many inputs the closed form and one bound of its error for all inputs of the same
      a − b give the right answer. `gap_error`: upper bound of |gap − closed gap|/closed gap over all inputs and
      outputs c < p, in exact arithmetic; None where a closed gap is not positive.
    - `min_margin`: the least margin over all p² inputs, negative or zero when an input is not certified.
    - `floating_point`: Theorem F's bound on one logit, zero for `real`.
    - `uncertified`: the worst first, at most `LISTED_INPUTS` of `uncertified_inputs`.
    - of the exact strategy, else None: `true_min_margin`, `max_deviation`: [lower, upper] bounds of the exact values;
      `wrong_inputs`, and `wrong`, the worst first, at most `LISTED_INPUTS`.
    """

    strategy: str
    semantics: str
    certified_inputs: int
    total_inputs: int
    explained_inputs: int
    gap_error: Dyadic | None
    min_margin: Dyadic
    floating_point: Dyadic
    uncertified_inputs: int
    uncertified: tuple[Uncertified, ...]
    true_min_margin: tuple[Dyadic, Dyadic] | None
    max_deviation: tuple[Dyadic, Dyadic] | None
    wrong_inputs: int | None
    wrong: tuple[Wrong, ...] | None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Everything a check proved.

    **Fields**

    - `explanation`: counts that describe the certificate (families, directions, …).
    - `parameters`: P. `events`: E of Lemma E. `operations`: by step. `brute_force`: multiply-adds of all logits of all
      inputs.
    """

    model_sha256: str
    claim_sha256: str
    certificate_sha256: str
    claim: Claim
    outputs: int
    neurons: int
    parameters: int
    attention: Attention
    explanation: dict[str, int]
    quadrature: tuple[QuadratureBound, ...]
    logits: LogitBound
    closed_form: ClosedFormBound
    accuracy: Accuracy
    brute_force: int
    events: int
    operations: dict[str, int]

    def theorem(self) -> str:
        """The theorem in words."""
        accuracy, claim = self.accuracy, self.claim
        p, low = claim.p, "0 <" if claim.task == MULTIPLICATION else "0 <="
        arithmetic = {
            "real": "in exact arithmetic",
            "binary32": "executed in binary32, in any order of summation, with or without fused multiply-add",
            "tf32": "executed with operands rounded or truncated to TF32 and binary32 sums",
            "bfloat16": "executed with operands and results rounded to bfloat16 and binary32 sums",
        }[accuracy.semantics]
        said = (
            f"For at least {accuracy.certified_inputs} of the {accuracy.total_inputs} inputs (a, b) with "
            f"{low} a, b < {p}, the largest of the {self.outputs} logits of the network in the model file with "
            f"SHA-256 {self.model_sha256}, {self.attention.words()}{arithmetic}, is that of {claim.task[:-1]}{p}. "
        ) + words(claim.task, p)
        if self.closed_form.explains_all:
            said += (
                "Every logit is within closed_form.error of the closed form (up to an amount that all logits of one "
                "input share), and the closed form's right answer leads every other one by more than twice that. "
            )
        elif accuracy.explained_inputs:
            said += f"At {accuracy.explained_inputs} inputs the closed form and its error alone give the right answer. "
        if self.closed_form.deformation is not None:
            said += (
                "The closed form's waves over the outputs are those of the certificate, and it is within "
                "closed_form.deformation of one of pure cosines. "
            )
        return said + (
            f"In exact arithmetic, for every input, every logit c < {modulus(claim.task, p)} is within "
            "logits.max_error of the closed form of Theorem L, up to an amount that all logits of that input share; "
            "and the quadrature rule that the certificate's phases and amplitudes make of the neurons of each "
            "frequency satisfies Theorem Q, the Fourier coefficient of the network's logits at that frequency being "
            "within network_error of the closed form's."
        )

    def document(self) -> Document:
        """The conclusion as JSON-able data: integers, strings and dyadics only; the same bytes for the same inputs."""
        total = sum(self.operations.values())
        thousandths = -(-1000 * total // self.parameters)
        return {
            "format": FORMAT,
            "theorem": self.theorem(),
            "model": {
                "sha256": self.model_sha256,
                "p": self.claim.p,
                "outputs": self.outputs,
                "neurons": self.neurons,
                "parameters": self.parameters,
                "attention": _document(self.attention),
            },
            "claim": {
                "sha256": self.claim_sha256,
                "strategy": self.claim.strategy,
                "semantics": self.claim.semantics,
                "certified_inputs": self.claim.certified_inputs,
                **({} if self.claim.task == ADDITION else {"task": self.claim.task}),
            },
            "certificate": {"sha256": self.certificate_sha256, **self.explanation},
            "quadrature": _document(self.quadrature),
            "logits": _document(self.logits),
            "closed_form": _document(self.closed_form),
            "accuracy": _document(self.accuracy),
            "lemmas": dict(LEMMAS),
            "precision": PRECISION,
            "cost": {
                "parameters": self.parameters,
                "events": self.events,
                "operations": total,
                "per_parameter": f"{thousandths // 1000}.{thousandths % 1000:03d}",
                "brute_force": self.brute_force,
                "by_step": dict(sorted(self.operations.items())),
            },
        }
