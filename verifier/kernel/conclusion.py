"""What a check concludes: exact numbers, rounded outward, and the JSON document that is signed."""

from __future__ import annotations

from dataclasses import dataclass, field

from verifier.kernel.claim import Claim
from verifier.kernel.limits import LISTED_INPUTS, PRECISION

Document = dict[str, object]
FORMAT = "verifier-conclusion/1"

# One entry per lemma and theorem of docs/theory.md that a conclusion rests on (a test compares the two lists).
LEMMAS = {
    "K": "fixed point and attention: the circuit in fixed point is near the network in the file",
    "Q": "quadrature: the neurons of one frequency, as a quadrature rule, are near its integral",
    "O": "output: what a neuron writes is its output frequencies and a bounded rest",
    "R": "residual: a neuron's pre-activation is its family's profile and a part of a plus a part of b",
    "C": "cells: where a family's profile has a known sign and depth",
    "S": "ReLU: a neuron is linear or zero up to a part of a plus a part of b, which depth makes small",
    "I": "integral: the closed form's integrals of the families' profiles are known to within an error",
    "L": "logits: every logit is near a closed form, no term neglected",
    "A": "accuracy: at every certified input the largest logit is that of (a + b) mod p",
    "F": "floating point: the executed network is near the exact one",
}


@dataclass(frozen=True, slots=True)
class Dyadic:
    """The exact number mantissa·2^exponent."""

    mantissa: int
    exponent: int

    def document(self) -> Document:
        return {"mantissa": str(self.mantissa), "exponent": self.exponent}


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

    def document(self) -> Document:
        return {
            "frequency": self.frequency,
            "neurons": self.neurons,
            **{
                name: getattr(self, name).document()
                for name in (
                    "rectangle",
                    "harmonic",
                    "arc_sum",
                    "bound",
                    "relative_bound",
                    "network_error",
                    "amplitude",
                )
            },
        }


@dataclass(frozen=True, slots=True)
class LogitBound:
    """Theorem L; upper bounds in the units of a logit. `budget` maps a term to its bound, by frequency where it has
    one.
    """

    max_error: Dyadic
    naive: Dyadic
    budget: dict[str, Dyadic | dict[int, Dyadic]]

    def document(self) -> Document:
        terms: Document = {}
        for name, value in self.budget.items():
            if isinstance(value, Dyadic):
                terms[name] = value.document()
            else:
                terms[name] = {str(k): bound.document() for k, bound in value.items()}
        return {"max_error": self.max_error.document(), "naive": self.naive.document(), "budget": terms}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Theorem A (and F). Margins are lower bounds of logit_{a+b} minus every other logit, semantics included.

    **Fields**

    - `linear`, `refined`, `exhaustive`: how many inputs each strategy certified; they add up to `certified_inputs`.
    - `min_margin`: the least margin over all p² inputs, negative or zero when an input is not certified.
    - `floating_point`: Theorem F's bound on one logit, zero for `real`.
    - `true_min_margin`, `max_deviation`: of the exhaustive strategy, else None: [lower, upper] bounds of the exact
      values.
    - `uncertified`: (a, b, margin), the worst first, at most `LISTED_INPUTS`.
    """

    certified_inputs: int
    total_inputs: int
    linear: int
    refined: int
    exhaustive: int
    min_margin: Dyadic
    semantics: str
    floating_point: Dyadic
    true_min_margin: tuple[Dyadic, Dyadic] | None
    max_deviation: tuple[Dyadic, Dyadic] | None
    uncertified: tuple[tuple[int, int, Dyadic], ...]

    def document(self) -> Document:
        document: Document = {
            "certified_inputs": self.certified_inputs,
            "total_inputs": self.total_inputs,
            "linear": self.linear,
            "refined": self.refined,
            "exhaustive": self.exhaustive,
            "min_margin": self.min_margin.document(),
            "semantics": self.semantics,
            "floating_point": self.floating_point.document(),
            "uncertified_inputs": self.total_inputs - self.certified_inputs,
            "uncertified": [{"a": a, "b": b, "margin": margin.document()} for a, b, margin in self.uncertified],
        }
        for name, ends in (("true_min_margin", self.true_min_margin), ("max_deviation", self.max_deviation)):
            if ends is not None:
                document[name] = [end.document() for end in ends]
        return document


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Everything a check proved. `margins` (lower bounds [a][b] as Dyadics' mantissas) is for pictures; it is not
    signed.

    **Fields**

    - `operations`: ball operations by step; `parameters`: P.
    - `explanation`: counts that describe the certificate (families, output frequencies, …).
    """

    model_sha256: str
    claim_sha256: str
    certificate_sha256: str
    claim: Claim
    p: int
    outputs: int
    neurons: int
    parameters: int
    explanation: dict[str, int]
    quadrature: tuple[QuadratureBound, ...]
    logits: LogitBound
    accuracy: Accuracy
    operations: dict[str, int]
    margins: tuple[tuple[int, ...], ...] = field(repr=False)
    margin_exponent: int

    def theorem(self) -> str:
        """The theorem in words."""
        accuracy = self.accuracy
        arithmetic = {
            "real": "in exact arithmetic",
            "binary32": "executed in binary32, in any order of summation, with or without fused multiply-add",
            "tf32": "executed with operands rounded or truncated to TF32 and binary32 sums",
            "bfloat16": "executed with operands and results rounded to bfloat16 and binary32 sums",
        }[accuracy.semantics]
        return (
            f"For at least {accuracy.certified_inputs} of the {accuracy.total_inputs} inputs (a, b) with "
            f"0 <= a, b < {self.p}, the largest of the {self.outputs} logits of the network in the model file with "
            f"SHA-256 {self.model_sha256}, {arithmetic}, is that of (a + b) mod {self.p}. In exact arithmetic, for "
            f"every input, every logit c < {self.p} is within logits.max_error of the closed form of Theorem L; and "
            "the quadrature rule that the certificate's phases and amplitudes make of the neurons of each frequency "
            "satisfies Theorem Q, the Fourier coefficient of the network's logits at that frequency being within "
            "network_error of the closed form's."
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
                "p": self.p,
                "outputs": self.outputs,
                "neurons": self.neurons,
                "parameters": self.parameters,
            },
            "claim": {
                "sha256": self.claim_sha256,
                "strategy": self.claim.strategy,
                "semantics": self.claim.semantics,
                "certified_inputs": self.claim.certified_inputs,
                "refinement_budget": self.claim.refinement_budget,
            },
            "certificate": {"sha256": self.certificate_sha256, **self.explanation},
            "quadrature": [bound.document() for bound in self.quadrature],
            "logits": self.logits.document(),
            "accuracy": self.accuracy.document(),
            "lemmas": dict(LEMMAS),
            "precision": PRECISION,
            "cost": {
                "parameters": self.parameters,
                "ball_operations": total,
                "per_parameter": f"{thousandths // 1000}.{thousandths % 1000:03d}",
                "brute_force": self.neurons * self.p * self.p * self.outputs,
                "by_step": dict(sorted(self.operations.items())),
            },
        }


def worst(items: list[tuple[int, int, int]], exponent: int) -> tuple[tuple[int, int, Dyadic], ...]:
    """The `LISTED_INPUTS` inputs with the least margins, from (margin, a, b)."""
    return tuple((a, b, Dyadic(margin, exponent)) for margin, a, b in sorted(items)[:LISTED_INPUTS])
