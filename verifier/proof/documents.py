"""The forms of the JSON documents that belong to a proof: claim, certificate, conclusion and statement.

The kernel reads claims and certificates with decoders of its own, since it imports nothing from here; tests
hold the two against each other. The JSON Schemas in `docs/schemas/` are written from these forms (`python
-m verifier.proof.documents docs/schemas`), and a test compares them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from verifier.proof.envelope import BUNDLE
from verifier.proof.shape import (
    DYADIC,
    SHA256,
    Constant,
    Flag,
    Items,
    Maybe,
    Record,
    Row,
    Shape,
    Table,
    Text,
    Whole,
    schema,
)

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://modular-addition-verifier.invalid/proof/v2"
TASK = "(a + b) mod p"
STRATEGIES = ("linear", "exact", "semi-linear")
SEMANTICS = ("real", "binary32", "tf32", "bfloat16")

STEM = r"[A-Za-z0-9]+(?:(?:\.|[-_]+)[A-Za-z0-9]+)*"
"""Names of models: no separators, no `..`, nothing hidden, nothing a shell or a report has to quote."""
MODEL_NAME = Text(rf"{STEM}\.safetensors", 128, "a plain file name that ends in .safetensors")

_MODULUS = Whole(3, 4096)
_INPUTS = Whole(0, 4096**2)
_INPUT = Whole(0, 4095)
_NEURONS = Whole(1, 1 << 16)
_FREQUENCY = Whole(1, 2047)
_PHASE = Whole(0, (1 << 32) - 1)
_PROFILE = Whole(-(8 << 24), 8 << 24)
_NEURON = Whole(0, (1 << 16) - 1)
_DIRECTION = Whole(-(1 << 24), 1 << 24)
_NODES = Whole(64, 4096)
_FRACTION = Text("-?[0-9]{1,32}(/[1-9][0-9]{0,31})?", 65, "an exact fraction")
_INTERVAL = Row((DYADIC, DYADIC))
_BY_FREQUENCY = Table("[1-9][0-9]{0,3}", DYADIC, 2048)

STRATEGY = Text("|".join(STRATEGIES), 16, "one of " + ", ".join(STRATEGIES))
ARITHMETIC = Text("|".join(SEMANTICS), 16, "one of " + ", ".join(SEMANTICS))

CLAIM = Record(
    {
        "format": Constant("verifier-claim/2"),
        "task": Constant(TASK),
        "p": _MODULUS,
        "model_sha256": SHA256,
        "strategy": STRATEGY,
        "semantics": ARITHMETIC,
        "certified_inputs": _INPUTS,
    },
    "For at least certified_inputs of the p^2 inputs (a, b) the largest logit is that of (a + b) mod p.",
)

CERTIFICATE = Record(
    {
        "format": Constant("verifier-certificate/2"),
        "model_sha256": SHA256,
        "p": _MODULUS,
        "neurons": _NEURONS,
        "amplitude_exponent": Whole(-1200, 1200),
        "directions": Items(Items(_DIRECTION, 1, 64), 3, 1 << 14),
        "families": Items(
            Record(
                {
                    "frequency": _FREQUENCY,
                    "dc": _PROFILE,
                    "profile": Items(Row((_PROFILE, _PROFILE, _PROFILE, _PROFILE)), 1, 8),
                    "outputs": Whole(1, 4),
                    "members": Items(Row((_NEURON, Whole(1, 1 << 32), _PHASE)), 1, 1 << 16),
                }
            ),
            0,
            256,
        ),
        "others": Items(Record({"frequency": _FREQUENCY, "neurons": Items(_NEURON, 1, 1 << 16)}), 0, 256),
        "nodes": _NODES,
        "boxes": Items(Record({"frequency": _FREQUENCY, "whole": _PHASE, "half": _PHASE}), 0, 256),
    },
    "An untrusted explanation of a model; the kernel checks it. Units: docs/certificate.md.",
)

CONCLUSION = Record(
    {
        "format": Constant("verifier-conclusion/2"),
        "theorem": Text("[ -~]+", 1 << 14, "the theorem in words"),
        "model": Record(
            {
                "sha256": SHA256,
                "p": _MODULUS,
                "outputs": Whole(3, 1 << 14),
                "neurons": _NEURONS,
                "parameters": Whole(1),
                "attention": Record(
                    {
                        "kind": Text("none|declared|softmax", 16, "none, declared or softmax"),
                        "ranges": Items(Items(_FRACTION, 2, 2), 0, 64),
                    }
                ),
            }
        ),
        "claim": Record(
            {
                "sha256": SHA256,
                "strategy": STRATEGY,
                "semantics": ARITHMETIC,
                "certified_inputs": _INPUTS,
            }
        ),
        "certificate": Record(
            {
                "sha256": SHA256,
                "families": Whole(),
                "directions": Whole(1, 64),
                "others": Whole(),
                "nodes": _NODES,
            }
        ),
        "quadrature": Items(
            Record(
                {
                    "frequency": _FREQUENCY,
                    "neurons": _NEURONS,
                    "rectangle": DYADIC,
                    "harmonic": DYADIC,
                    "arc_sum": DYADIC,
                    "bound": DYADIC,
                    "relative_bound": DYADIC,
                    "network_error": DYADIC,
                    "amplitude": DYADIC,
                }
            ),
            0,
            256,
        ),
        "logits": Record(
            {
                "max_error": DYADIC,
                "budget": Record(
                    {
                        "quadrature": _BY_FREQUENCY,
                        "profile": _BY_FREQUENCY,
                        "other_frequencies": DYADIC,
                        "output_rest": DYADIC,
                        "fixed_point": DYADIC,
                        "attention": DYADIC,
                    }
                ),
            }
        ),
        "closed_form": Record({"least_gap": DYADIC, "error": DYADIC, "explains_all": Flag()}),
        "accuracy": Record(
            {
                "strategy": STRATEGY,
                "semantics": ARITHMETIC,
                "certified_inputs": _INPUTS,
                "total_inputs": Whole(9, 4096**2),
                "explained_inputs": _INPUTS,
                "gap_error": Maybe(DYADIC),
                "min_margin": DYADIC,
                "floating_point": DYADIC,
                "uncertified_inputs": _INPUTS,
                "uncertified": Items(Record({"a": _INPUT, "b": _INPUT, "margin": DYADIC}), 0, 256),
                "true_min_margin": _INTERVAL,
                "max_deviation": _INTERVAL,
                "wrong_inputs": _INPUTS,
                "wrong": Items(
                    Record({"a": _INPUT, "b": _INPUT, "answer": Whole(0, (1 << 14) - 1), "margin": DYADIC}), 0, 256
                ),
            },
            optional=frozenset({"true_min_margin", "max_deviation", "wrong_inputs", "wrong"}),
        ),
        "lemmas": Table("[A-Z]", Text("[ -~]+", 512, "a lemma in words"), 26),
        "precision": Whole(2, 1 << 20),
        "cost": Record(
            {
                "parameters": Whole(1),
                "events": Whole(),
                "operations": Whole(),
                "per_parameter": Text("[0-9]+\\.[0-9]{3}", 32, "a decimal, rounded up"),
                "brute_force": Whole(),
                "by_step": Table("[ -~]{1,64}", Whole(), 64),
            }
        ),
    },
    "What the kernel concluded. Bounds are exact dyadic numbers, rounded outward.",
)

_DIGEST = Record({"sha256": SHA256})
STATEMENT = Record(
    {
        "_type": Constant(STATEMENT_TYPE),
        "subject": Items(Record({"name": MODEL_NAME, "digest": _DIGEST}), 1, 1),
        "predicateType": Constant(PREDICATE_TYPE),
        "predicate": Record(
            {
                "claim": CLAIM,
                "claimDigest": _DIGEST,
                "certificateDigest": _DIGEST,
                "conclusion": CONCLUSION,
                "environment": Table("[a-z][a-z-]*", Text("[0-9A-Za-z.+_-]+", 64, "a version"), 16),
            }
        ),
    },
    "An in-toto statement that a claim about a model has been proved.",
)

SCHEMAS: dict[str, tuple[str, Shape]] = {
    "bundle": ("proof.sigstore.json", BUNDLE),
    "statement": ("the payload of a proof", STATEMENT),
    "claim": ("claim.json", CLAIM),
    "certificate": ("certificate.json", CERTIFICATE),
    "conclusion": ("what the kernel concluded; a part of the statement", CONCLUSION),
}
"""By file name: what the schema is for, and the form."""


def schema_text(name: str) -> str:
    """The JSON Schema of that name, as it is published."""
    title, shape = SCHEMAS[name]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps(head | schema(shape), indent=1) + "\n"


def main(folder: Path) -> None:
    """Write every schema into `folder`."""
    from verifier.files import write_atomically

    for name in SCHEMAS:
        write_atomically(folder / f"{name}.schema.json", schema_text(name).encode("utf-8"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
