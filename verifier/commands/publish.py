"""`verifier publish`: what other tools read about a proof that has been verified."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.commands.verify import add_proof_arguments, verify_files
from verifier.console import add_output_arguments, emit_json, say
from verifier.errors import InputError

if TYPE_CHECKING:
    from verifier.kernel.forms import Json
    from verifier.proof.verify import Verified

HELP = """Verify a proof, then write what other tools read about it: README.md, a section of a model card with results
in model-index; bom.cdx.json, a CycloneDX 1.6 bill of materials; and verification.sigstore.json, an in-toto Simple
Verification Result, signed with your key. Each repeats what the proof says and names it: the proof is the evidence."""

CARD, BOM, RESULT = "README.md", "bom.cdx.json", "verification.sigstore.json"
RESULT_TYPE = "https://in-toto.io/attestation/svr/v0.1"
EVIDENCE = "The proof is the evidence: anyone can check it again; this only repeats it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_proof_arguments(parser)
    parser.set_defaults(no_recheck=False, countersign=None)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    parser.add_argument("--url", help="where the proof will be found (default: its path from DIR)")
    parser.add_argument("--key", type=Path, help="the key that signs the result (default: VERIFIER_KEY, else yours)")
    parser.add_argument("--force", action="store_true", help="replace what is there already")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.files import read_input, write_atomically
    from verifier.proof import canonical
    from verifier.proof.envelope import MAX_BUNDLE_BYTES, encode_bundle, seal
    from verifier.proof.keys import signing_key
    from verifier.proof.policy import MAX_POLICY_BYTES, parse_policy
    from verifier.proof.statement import PAYLOAD_TYPE, sha256

    for name in (CARD, BOM, RESULT):
        if not arguments.force and os.path.lexists(arguments.out / name):
            raise InputError(arguments.out / name, "", "exists already; --force replaces it")
    policy = read_input(arguments.policy, MAX_POLICY_BYTES)
    bundles = [read_input(path, MAX_BUNDLE_BYTES) for path in arguments.proof]
    parsed = parse_policy(policy, str(arguments.policy), arguments.policy.parent)
    verified = verify_files(arguments, bundles, parsed)
    beside = Path(os.path.relpath(arguments.proof[0], arguments.out)).as_posix()
    proof = {"url": arguments.url or beside, "sha256": sha256(bundles[0])}
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    svr = verification_result(verified, proof, arguments.policy.name, sha256(policy), time)
    files = {
        CARD: model_card(verified, proof).encode(),
        BOM: json.dumps(bill_of_materials(verified, proof, time), indent=2).encode() + b"\n",
        RESULT: encode_bundle(seal(canonical.encode(svr), PAYLOAD_TYPE, signing_key(arguments.key))),
    }
    for name, data in files.items():
        write_atomically(arguments.out / name, data)
    written = [str(arguments.out / name) for name in files]
    if arguments.json:
        emit_json({"verified": True, "proof": proof, "written": written})
        return OK
    for line in written:
        say(f"wrote {line}", quiet=arguments.quiet)
    say(EVIDENCE, quiet=arguments.quiet)
    return OK


def _stem(verified: Verified) -> str:
    return verified.statement.model_name.removesuffix(".safetensors")


def _task(verified: Verified) -> str:
    """What was proved of the network's answers, for its p: (a + b) mod 59."""
    return f"{str(verified.statement.claim['task'])[:-1]}{verified.facts.p}"


def _metrics(verified: Verified) -> list[tuple[str, str, str]]:
    """Type, name and value of each metric; a lower bound, as a decimal that is rounded down."""
    from fractions import Fraction

    from verifier.proof.gate import decimal

    facts = verified.facts
    explained = Fraction(facts.explained_inputs, facts.total_inputs)
    return [
        ("accuracy", "certified accuracy", decimal(facts.accuracy, "lower")),
        ("explained_accuracy", "accuracy that the closed form alone proves", decimal(explained, "lower")),
        ("certified_margin", "certified margin of the logits", decimal(facts.min_margin, "lower")),
    ]


def model_card(verified: Verified, proof: dict[str, str]) -> str:
    """A section of a model card; its front matter has the form `model-index`."""
    from verifier.results import pairs

    statement, facts = verified.statement, verified.facts
    inputs = f"all {facts.total_inputs} inputs {pairs(str(statement.claim['task']))}"
    metrics = "".join(
        f"    - type: {kind}\n      name: {name}\n      value: {value}\n" for kind, name, value in _metrics(verified)
    )
    return f"""---
model-index:
- name: {json.dumps(_stem(verified))}
  results:
  - task:
      type: modular-addition
      name: {json.dumps(_task(verified))}
    dataset:
      type: modular-addition
      name: {json.dumps(inputs)}
    metrics:
{metrics}    source:
      name: {json.dumps(f"signed proof, sha256 {proof['sha256']}")}
      url: {json.dumps(proof["url"])}
---

## What is proved

{statement.conclusion["theorem"]}

Certified: {facts.certified_inputs} of {facts.total_inputs} inputs, in {facts.semantics} arithmetic.
Model: `{statement.model_name}`, sha256 `{statement.model_sha256}`.

{EVIDENCE} Proof: [{proof["url"]}](<{proof["url"]}>), sha256 `{proof["sha256"]}`.
"""


def bill_of_materials(verified: Verified, proof: dict[str, str], time: str) -> dict[str, object]:
    """A CycloneDX 1.6 document: the model, the claim about it, and the proof as the claim's evidence."""
    from uuid import NAMESPACE_URL, uuid5

    from verifier import __version__

    statement = verified.statement
    metrics = [{"type": name, "value": value} for _, name, value in _metrics(verified)]
    reference = {
        "type": "attestation",
        "url": proof["url"],
        "comment": EVIDENCE,
        "hashes": [{"alg": "SHA-256", "content": proof["sha256"]}],
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, proof['sha256'] + time)}",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "tools": {"components": [{"type": "application", "name": "verifier", "version": __version__}]},
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": _stem(verified),
                "hashes": [{"alg": "SHA-256", "content": statement.model_sha256}],
                "modelCard": {
                    "modelParameters": {
                        "task": _task(verified),
                        "architectureFamily": "one-layer ReLU network",
                    },
                    "quantitativeAnalysis": {"performanceMetrics": metrics},
                },
                "externalReferences": [reference],
            }
        ],
        "declarations": {
            "claims": [
                {
                    "bom-ref": "claim",
                    "target": "model",
                    "predicate": statement.conclusion["theorem"],
                    "reasoning": EVIDENCE,
                    "evidence": ["proof"],
                }
            ],
            "evidence": [
                {
                    "bom-ref": "proof",
                    "description": f"Signed proof, sha256 {proof['sha256']}",
                    "data": [{"name": "proof", "contents": {"url": proof["url"]}}],
                }
            ],
        },
    }


def verification_result(
    verified: Verified, proof: dict[str, str], policy: str, policy_sha256: str, time: str
) -> dict[str, Json]:
    """An in-toto statement with the predicate Simple Verification Result 0.1; `policy` and `evidence` extend it."""
    from verifier import __version__
    from verifier.proof.documents import STATEMENT_TYPE

    statement, facts = verified.statement, verified.facts
    properties: list[Json] = [
        f"CERTIFIED_{facts.certified_inputs}_OF_{facts.total_inputs}_INPUTS",
        f"EXPLAINED_{facts.explained_inputs}_OF_{facts.total_inputs}_INPUTS",
        f"SEMANTICS_{facts.semantics.upper()}",
        "KERNEL_CONFIRMED",
        "POLICY_MET",
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": statement.model_name, "digest": {"sha256": statement.model_sha256}}],
        "predicateType": RESULT_TYPE,
        "predicate": {
            "verifier": {
                "id": f"https://modular-addition-verifier.invalid/verifier/{__version__}",
                "policy": {"name": policy, "digest": {"sha256": policy_sha256}},
            },
            "timeCreated": time,
            "properties": [f"MODULAR_ADDITION_{name}" for name in properties],
            "evidence": [{"name": "proof", "uri": proof["url"], "digest": {"sha256": proof["sha256"]}}],
        },
    }
