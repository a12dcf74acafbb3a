"""`verifier publish`: each file against the form that its readers publish, and only of a proof that verifies."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from in_toto_attestation.v1 import resource_descriptor_pb2
from in_toto_attestation.v1.statement import Statement
from jsonschema import Draft202012Validator

from tests.kernel.test_operations import subtracting
from tests.shipped import ROOT, SMALL, policy_of
from verifier import cli
from verifier.commands.publish import BOM, CARD, EVIDENCE, RESULT
from verifier.model import write_model
from verifier.proof import keys
from verifier.proof.envelope import decode_bundle, verify_signature
from verifier.proof.statement import sha256

PROOF = ROOT / "certificates" / SMALL.stem / "proof.sigstore.json"
POLICY = ROOT / "certificates" / "policy.toml"
WORDS = ["publish", str(PROOF), "--model", str(SMALL), "--policy", str(POLICY), "--out"]
DIGEST = {
    "type": "object",
    "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
    "required": ["sha256"],
}
SVR = {
    "type": "object",
    "required": ["verifier", "timeCreated", "properties"],
    "properties": {
        "verifier": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string", "pattern": "^[a-z]+://[^ ]+$"},
                "policy": {"type": "object", "required": ["digest"], "properties": {"digest": DIGEST}},
            },
        },
        "timeCreated": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        "properties": {"type": "array", "items": {"type": "string", "pattern": "^MODULAR_ADDITION_[A-Z0-9_]+$"}},
    },
}
"""The fields of https://in-toto.io/attestation/svr/v0.1, for which the package of in-toto has no message yet."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publish")
    keys.write_signing_key(folder / "me.pem", keys.generate())
    assert cli.main([*WORDS, str(folder), "--key", str(folder / "me.pem"), "--quiet"]) == 0
    return folder


def test_the_model_card(published: Path) -> None:
    card = ModelCard.load(published / CARD)
    assert card.data.model_name == SMALL.stem
    results = {result.metric_type: result for result in card.data.eval_results}
    accuracy = results["accuracy"]
    assert (accuracy.metric_value, accuracy.dataset_name) == (1.0, "all 529 inputs (a, b)")
    assert 14 < results["certified_margin"].metric_value < 14.1
    for result in results.values():
        assert sha256(PROOF.read_bytes()) in result.source_name
        assert (published / result.source_url).resolve() == PROOF
    assert EVIDENCE in card.text
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_another_operation_is_named(tmp_path: Path) -> None:
    """A network that subtracts: the card and the bill of materials say so."""
    model, key = tmp_path / "minus.safetensors", tmp_path / "me.pem"
    write_model(subtracting(), model)
    public = keys.generate()
    keys.write_signing_key(key, public)
    assert cli.main(["certify", str(model), "-o", str(tmp_path / "out"), "--key", str(key), "--quiet"]) == 0
    policy = tmp_path / "policy.toml"
    policy.write_text(policy_of(key.with_name("me.pub.pem")) + 'task = ["(a - b) mod p"]\n')
    proof = tmp_path / "out" / "minus" / "proof.sigstore.json"
    words = ["publish", str(proof), "--model", str(model), "--policy", str(policy), "-o", str(tmp_path / "p")]
    assert cli.main([*words, "--key", str(key), "--quiet"]) == 0
    assert 'name: "(a - b) mod 23"' in (tmp_path / "p" / CARD).read_text()
    bom = json.loads((tmp_path / "p" / BOM).read_text())
    assert bom["components"][0]["modelCard"]["modelParameters"]["task"] == "(a - b) mod 23"


def test_the_bill_of_materials(published: Path) -> None:
    text = (published / BOM).read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    document = json.loads(text)
    (model,) = document["components"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256(SMALL.read_bytes())}]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] == "1.000000"
    (reference,) = model["externalReferences"]
    assert reference["hashes"][0]["content"] == sha256(PROOF.read_bytes())
    assert reference["comment"] == EVIDENCE
    (claim,) = document["declarations"]["claims"]
    assert claim["evidence"] == [document["declarations"]["evidence"][0]["bom-ref"]]
    document["components"][0]["modelCard"]["colour"] = "red"
    assert validator.validate_str(json.dumps(document)) is not None, "a validator that can fail"


def test_the_verification_result(published: Path) -> None:
    key = keys.read_signing_key(published / "me.pem").public
    bundle = decode_bundle((published / RESULT).read_bytes())
    verify_signature(bundle, key)
    assert bundle.payload_type == "application/vnd.in-toto+json"
    value: dict[str, Any] = json.loads(bundle.payload)
    subjects = [
        resource_descriptor_pb2.ResourceDescriptor(name=one["name"], digest=one["digest"]) for one in value["subject"]
    ]
    Statement(subjects, value["predicateType"], value["predicate"]).validate()
    assert value["predicateType"] == "https://in-toto.io/attestation/svr/v0.1"
    assert value["subject"] == [{"name": SMALL.name, "digest": {"sha256": sha256(SMALL.read_bytes())}}]
    predicate = value["predicate"]
    Draft202012Validator(SVR).validate(predicate)
    assert predicate["verifier"]["policy"]["digest"]["sha256"] == sha256(POLICY.read_bytes())
    assert "MODULAR_ADDITION_CERTIFIED_529_OF_529_INPUTS" in predicate["properties"]
    assert "MODULAR_ADDITION_SEMANTICS_BINARY32" in predicate["properties"]
    assert predicate["evidence"][0]["digest"]["sha256"] == sha256(PROOF.read_bytes())


def test_nothing_that_does_not_verify_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / SMALL.name
    data = bytearray(SMALL.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    words = [str(model) if word == str(SMALL) else word for word in WORDS]
    assert cli.main([*words, str(tmp_path / "out")]) == 1
    assert "step 5" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_kernel_runs_whatever_the_signature_says(tmp_path: Path) -> None:
    for option in ("--no-recheck", "--countersign=x"):
        assert cli.main([*WORDS, str(tmp_path / "out"), option]) == 2
    assert not (tmp_path / "out").exists()


def test_a_link_of_your_own_and_no_overwriting(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*WORDS, str(tmp_path), "--key", str(published / "me.pem")]
    shutil.copy(published / BOM, tmp_path / BOM)
    before = (tmp_path / BOM).read_bytes()
    assert cli.main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [BOM]
    assert (tmp_path / BOM).read_bytes() == before
    url = "https://example.org/proof.sigstore.json"
    assert cli.main([*words, "--force", "--json", "--url", url]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["proof"]["url"] == url
    assert document["written"] == [str(tmp_path / name) for name in (CARD, BOM, RESULT)]
    assert ModelCard.load(tmp_path / CARD).data.eval_results[0].source_url == url
    payload = json.loads(base64.b64decode(json.loads((tmp_path / RESULT).read_bytes())["dsseEnvelope"]["payload"]))
    assert payload["predicate"]["evidence"][0]["uri"] == url
