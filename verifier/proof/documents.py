"""The forms of the JSON documents that belong to a proof: claim, certificate, conclusion and statement.

Those of claims and certificates are the kernel's own. `python -m verifier.proof.documents FOLDER` writes all as JSON
Schemas.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from verifier.kernel import certificate, claim, limits
from verifier.kernel.claim import SEMANTICS, STRATEGIES, TASKS
from verifier.kernel.forms import DIGEST, Form, Integer, Items, Record, Text, choice
from verifier.proof.envelope import BUNDLE
from verifier.proof.forms import Extended, Flag, Map, Maybe, schema

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://modular-addition-verifier.invalid/proof/v2"
STEM = r"[A-Za-z0-9]+(?:(?:\.|[-_]+)[A-Za-z0-9]+)*"
"""Names of models: no separators, no `..`, nothing hidden, nothing a shell or a report has to quote."""
MODEL_NAME = Text(rf"{STEM}\.safetensors", "a plain file name that ends in .safetensors", 128)

_COUNT = Integer(0, 10**limits.JSON_DIGITS - 1)
_INPUTS = Integer(0, limits.MODULUS**2)
_INPUT = Integer(0, limits.MODULUS - 1)
_NEURONS = Integer(1, limits.NEURONS)
_FREQUENCY = Integer(1, limits.MODULUS // 2)
_DYADIC = Record(
    {"mantissa": Text("0|-?[1-9][0-9]*", "an integer in decimal", 400), "exponent": Integer(-(1 << 14), 1 << 14)}
)
"""The exact number mantissa * 2^exponent."""
_FRACTION = Text("-?[0-9]{1,32}(/[1-9][0-9]{0,31})?", "an exact fraction", 65)
_INTERVAL = Items(_DYADIC, 2, 2)
_BY_FREQUENCY = Map(Text("[1-9][0-9]{0,3}", "a frequency"), _DYADIC, 2048)
_STRATEGY, _SEMANTICS, _TASK = choice(*STRATEGIES), choice(*SEMANTICS), choice(*TASKS.values())

CLAIM = Record(claim.FORM.fields | {"format": choice(claim.FORMAT), "task": _TASK})
CERTIFICATE = Extended(
    Record(certificate.FORM.fields | {"format": choice(certificate.FORMAT)}),
    Record({"deformation": certificate.DEFORMATION}),
)
_ACCURACY = Record(
    {
        "strategy": _STRATEGY,
        "semantics": _SEMANTICS,
        "certified_inputs": _INPUTS,
        "total_inputs": Integer(9, limits.MODULUS**2),
        "explained_inputs": _INPUTS,
        "gap_error": Maybe(_DYADIC),
        "min_margin": _DYADIC,
        "floating_point": _DYADIC,
        "uncertified_inputs": _INPUTS,
        "uncertified": Items(Record({"a": _INPUT, "b": _INPUT, "margin": _DYADIC}), 0, 256),
    }
)
_WRONG = Record({"a": _INPUT, "b": _INPUT, "answer": Integer(0, limits.OUTPUTS - 1), "margin": _DYADIC})
_EXACT = Record(
    {
        "true_min_margin": _INTERVAL,
        "max_deviation": _INTERVAL,
        "wrong_inputs": _INPUTS,
        "wrong": Items(_WRONG, 0, 256),
    }
)
"""What the exact strategy adds."""
CONCLUSION = Record(
    {
        "format": choice("verifier-conclusion/2"),
        "theorem": Text("[ -~]+", "the theorem in words", 1 << 14),
        "model": Record(
            {
                "sha256": DIGEST,
                "p": Integer(3, limits.MODULUS),
                "outputs": Integer(3, limits.OUTPUTS),
                "neurons": _NEURONS,
                "parameters": Integer(1, _COUNT.high),
                "attention": Record(
                    {
                        "kind": choice("none", "declared", "softmax"),
                        "ranges": Items(Items(_FRACTION, 2, 2), 0, 64),
                    }
                ),
            }
        ),
        "claim": Extended(
            Record(
                {
                    "sha256": DIGEST,
                    "strategy": _STRATEGY,
                    "semantics": _SEMANTICS,
                    "certified_inputs": _INPUTS,
                }
            ),
            Record({"task": _TASK}),
        ),
        "certificate": Record(
            {
                "sha256": DIGEST,
                "families": _COUNT,
                "directions": Integer(1, limits.DIRECTIONS),
                "others": _COUNT,
                "nodes": Integer(64, limits.NODES),
            }
        ),
        "quadrature": Items(
            Record(
                {
                    "frequency": _FREQUENCY,
                    "neurons": _NEURONS,
                    "rectangle": _DYADIC,
                    "harmonic": _DYADIC,
                    "arc_sum": _DYADIC,
                    "bound": _DYADIC,
                    "relative_bound": _DYADIC,
                    "network_error": _DYADIC,
                    "amplitude": _DYADIC,
                }
            ),
            0,
            256,
        ),
        "logits": Record(
            {
                "max_error": _DYADIC,
                "budget": Record(
                    {
                        "quadrature": _BY_FREQUENCY,
                        "profile": _BY_FREQUENCY,
                        "other_frequencies": _DYADIC,
                        "output_rest": _DYADIC,
                        "fixed_point": _DYADIC,
                        "attention": _DYADIC,
                    }
                ),
            }
        ),
        "closed_form": Extended(
            Record({"least_gap": _DYADIC, "error": _DYADIC, "explains_all": Flag()}), Record({"deformation": _DYADIC})
        ),
        "accuracy": Extended(_ACCURACY, _EXACT),
        "lemmas": Map(Text("[A-Z]", "a letter"), Text("[ -~]+", "a lemma in words", 512), 26),
        "precision": Integer(2, 1 << 20),
        "cost": Record(
            {
                "parameters": Integer(1, _COUNT.high),
                "events": _COUNT,
                "operations": _COUNT,
                "per_parameter": Text("[0-9]+\\.[0-9]{3}", "a decimal, rounded up", 32),
                "brute_force": _COUNT,
                "by_step": Map(Text("[ -~]{1,64}", "a step"), _COUNT, 64),
            }
        ),
    }
)
"""What the kernel concluded. Bounds are exact dyadic numbers, rounded outward."""

_DIGEST = Record({"sha256": DIGEST})
STATEMENT = Record(
    {
        "_type": choice(STATEMENT_TYPE),
        "subject": Items(Record({"name": MODEL_NAME, "digest": _DIGEST}), 1, 1),
        "predicateType": choice(PREDICATE_TYPE),
        "predicate": Record(
            {
                "claim": CLAIM,
                "claimDigest": _DIGEST,
                "certificateDigest": _DIGEST,
                "conclusion": CONCLUSION,
                "environment": Map(Text("[a-z][a-z-]*", "a name"), Text("[0-9A-Za-z.+_-]+", "a version", 64), 16),
            }
        ),
    }
)

SCHEMAS: dict[str, tuple[str, Form]] = {
    "bundle": ("proof.sigstore.json", BUNDLE),
    "statement": ("the payload of a proof", STATEMENT),
    "claim": ("claim.json", CLAIM),
    "certificate": ("certificate.json", CERTIFICATE),
    "conclusion": ("what the kernel concluded; a part of the statement", CONCLUSION),
}
"""By file name: what the schema is for, and the form."""


def schema_text(name: str) -> str:
    """The JSON Schema of that name, as it is published."""
    title, form = SCHEMAS[name]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps(head | schema(form), indent=1) + "\n"


def main(folder: Path) -> None:
    """Write every schema into `folder`."""
    from verifier.files import write_atomically

    for name in SCHEMAS:
        write_atomically(folder / f"{name}.schema.json", schema_text(name).encode("utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
