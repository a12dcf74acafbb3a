"""The whole chain on real input: a trained model, a real certificate, the kernel, and what is committed."""

from __future__ import annotations

import copy
import json
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer._key import SSlibKey

from tests.proof.proof_support import RELEASE, policy_text, sign
from tests.proof.test_proof_verify import leaves, mutants
from tests.strategies import claim_of
from verifier.explainer.explanation import explain
from verifier.kernel import Rejected, check, conclusion
from verifier.kernel.forms import Json
from verifier.model import decode, fold
from verifier.proof import canonical
from verifier.proof.documents import CERTIFICATE, CONCLUSION
from verifier.proof.envelope import decode_bundle
from verifier.proof.forms import require as check_form
from verifier.proof.gate import GateResult, gate
from verifier.proof.kernel import conclusion_value
from verifier.proof.policy import parse_policy, read_policy
from verifier.proof.reasons import Reason, VerificationError
from verifier.proof.sign import make_proof
from verifier.proof.statement import sha256
from verifier.proof.verify import verify

ROOT = Path(__file__).parent.parent.parent
SMALL = min((ROOT / "models").glob("*.safetensors"), key=lambda path: path.stat().st_size)
RULES = """\
[[rules]]
models = ["*"]
certified_inputs = "all"
semantics = ["binary32"]
min_margin = "0.1"
max_relative_quadrature_bound = "0.5"
"""
POLICY = parse_policy(policy_text(rules=RULES).encode(), "policy.toml")


@dataclass(frozen=True)
class Real:
    """A proved model: bytes, and the statement that was signed."""

    name: str
    model: bytes
    claim: bytes
    certificate: bytes
    proof: bytes

    @property
    def statement(self) -> Any:
        return json.loads(decode_bundle(self.proof).payload)

    def verify(self, **changes: Any) -> None:
        parts = {"proof": self.proof, "model": self.model, "certificate": self.certificate, **changes}
        verify(
            [parts["proof"]],
            policy=POLICY,
            model_name=self.name,
            model=parts["model"],
            claim=parts.get("claim", self.claim),
            certificate=parts["certificate"],
        )

    def failure(self, **changes: Any) -> VerificationError:
        with pytest.raises(VerificationError) as caught:
            self.verify(**changes)
        return caught.value


@pytest.fixture(scope="module")
def real() -> Real:
    """The smallest shipped model, explained, checked and signed."""
    model = SMALL.read_bytes()
    source = decode(model, SMALL.name)
    certificate = explain(fold(source), sha256(model))
    claim = claim_of(model, source.p, "linear", "binary32", source.p**2)
    concluded = check(model, claim, certificate).conclusion
    proof = make_proof(SMALL.name, model, claim, certificate, concluded.document(), RELEASE)
    return Real(SMALL.name, model, claim, certificate, proof)


def test_a_real_proof(real: Real) -> None:
    real.verify()


def test_real_documents_have_the_published_forms(real: Real) -> None:
    check_form(CERTIFICATE, json.loads(real.certificate), "certificate")
    check_form(CONCLUSION, real.statement["predicate"]["conclusion"], "conclusion")


def test_an_exact_conclusion_has_the_published_form(real: Real) -> None:
    claim = json.loads(real.claim) | {"strategy": "exact"}
    found = check(real.model, canonical.encode(claim), real.certificate).conclusion
    check_form(CONCLUSION, conclusion_value(found.document()), "conclusion")


def test_findings_have_the_published_form_too(real: Real) -> None:
    """A conclusion with inputs that could not be certified, as a rejection carries it."""
    poor = json.loads(real.certificate)
    poor["directions"] = [[entry // 2 for entry in row[:1]] for row in poor["directions"]]
    with pytest.raises(Rejected) as caught:
        check(real.model, real.claim, canonical.encode(poor))
    findings = caught.value.findings
    assert findings is not None
    assert findings.conclusion.accuracy.uncertified
    check_form(CONCLUSION, conclusion_value(findings.conclusion.document()), "conclusion")


def test_every_field_of_the_certificate(real: Real) -> None:
    """Changed after signing, it is not the certificate that was signed."""
    value = json.loads(real.certificate)
    changed_fields = 0
    for path in leaves(value):
        changed = next(iter(mutants(value, path)))
        assert real.failure(certificate=canonical.encode(changed)).reason is Reason.CERTIFICATE_DIGEST
        changed_fields += 1
    assert changed_fields > 300


def resigned(real: Real, certificate: bytes, model: bytes | None = None) -> bytes:
    """The proof, signed again by a trusted key, with the digests of another certificate or model."""
    statement = copy.deepcopy(real.statement)
    predicate = statement["predicate"]
    predicate["certificateDigest"]["sha256"] = sha256(certificate)
    predicate["conclusion"]["certificate"]["sha256"] = sha256(certificate)
    if model is not None:
        statement["subject"][0]["digest"]["sha256"] = sha256(model)
        predicate["claim"]["model_sha256"] = sha256(model)
        predicate["conclusion"]["model"]["sha256"] = sha256(model)
        theorem = predicate["conclusion"]["theorem"]
        predicate["conclusion"]["theorem"] = theorem.replace(sha256(real.model), sha256(model))
        claim = canonical.encode(predicate["claim"])
        predicate["claimDigest"]["sha256"] = sha256(claim)
        predicate["conclusion"]["claim"]["sha256"] = sha256(claim)
    return sign(statement)


def test_a_certificate_that_does_not_prove_it_even_if_it_is_signed(real: Real) -> None:
    """One change of every kind of field; the kernel decides, whatever the signature says."""
    value = json.loads(real.certificate)
    changes: list[tuple[tuple[str | int, ...], Json]] = [
        (("format",), "verifier-certificate/3"),
        (("model_sha256",), "0" * 64),
        (("p",), value["p"] + 2),
        (("neurons",), value["neurons"] + 1),
        (("amplitude_exponent",), value["amplitude_exponent"] + 1),
        (("directions",), [row[:-1] for row in value["directions"]]),
        (("directions", 0, 0), value["directions"][0][0] + (1 << 18)),
        (("families",), value["families"][:-1]),
        (("families", 0, "frequency"), value["families"][0]["frequency"] + 1),
        (("families", 0, "dc"), value["families"][0]["dc"] + (1 << 20)),
        (("families", 0, "profile", 0, 0), value["families"][0]["profile"][0][0] + (1 << 20)),
        (("families", 0, "outputs"), value["families"][0]["outputs"] % 4 + 1),
        (("families", 0, "members", 0, 0), value["families"][0]["members"][1][0]),
        (("families", 0, "members", 0, 1), value["families"][0]["members"][0][1] * 2),
        (("families", 0, "members", 0, 2), (value["families"][0]["members"][0][2] + (1 << 30)) % (1 << 32)),
        (("others",), [{"frequency": 1, "neurons": [value["families"][0]["members"][0][0]]}]),
        (("nodes",), value["nodes"] // 2),
        (("boxes",), value["boxes"][:-1]),
        (("boxes", 0, "half"), (value["boxes"][0]["half"] + (1 << 30)) % (1 << 32)),
        (("extra",), 1),
    ]
    for path, new in changes:
        changed: Any = copy.deepcopy(value)
        place = changed
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = new
        certificate = canonical.encode(changed)
        error = real.failure(certificate=certificate, proof=resigned(real, certificate))
        assert error.reason in (Reason.REJECTED, Reason.DIFFERENT), (path, error)
        assert error.exit_code == 1


def test_one_byte_of_the_model(real: Real) -> None:
    for place in range(0, len(real.model), len(real.model) // 200):
        changed = bytearray(real.model)
        changed[place] ^= 1 << place % 8
        assert real.failure(model=bytes(changed)).reason is Reason.MODEL_DIGEST


def test_another_model_under_the_same_explanation_even_if_it_is_signed(real: Real) -> None:
    """A weight of the output layer changed by much, and a proof that says nothing changed."""
    header = struct.unpack("<Q", real.model[:8])[0]
    spans = json.loads(real.model[8 : 8 + header])["unembed.W_U"]["data_offsets"]
    start = 8 + header + spans[0]
    model = real.model[:start] + struct.pack("<f", 100.0) + real.model[start + 4 :]
    certificate = canonical.encode(json.loads(real.certificate) | {"model_sha256": sha256(model)})
    proof = resigned(real, certificate, model)
    claim = canonical.encode(json.loads(decode_bundle(proof).payload)["predicate"]["claim"])
    error = real.failure(model=model, claim=claim, certificate=certificate, proof=proof)
    assert error.step == 7


def test_a_changed_kernel(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel concludes anything else, a committed proof no longer verifies."""
    monkeypatch.setitem(conclusion.LEMMAS, "A", "another lemma")
    error = real.failure()
    assert (error.step, error.reason) == (7, Reason.DIFFERENT)
    assert "conclusion.lemmas.A" in error.detail


def test_the_gate_on_real_files(real: Real, tmp_path: Path) -> None:
    folder = tmp_path / "certificates" / SMALL.stem
    folder.mkdir(parents=True)
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / real.name
    model.write_bytes(real.model)
    (folder / "proof.sigstore.json").write_bytes(real.proof)
    (folder / "claim.json").write_bytes(real.claim)
    (folder / "certificate.json").write_bytes(real.certificate)

    def run() -> GateResult:
        return gate(tmp_path / "certificates", tmp_path / "models", POLICY)

    assert not run().failures
    model.write_bytes(real.model[:-1] + bytes([real.model[-1] ^ 1]))
    (entry,) = run().failures
    assert entry.failure is not None
    assert entry.failure.reason is Reason.MODEL_DIGEST


CERTIFICATES = ROOT / "certificates"
COMMITTED = sorted(CERTIFICATES.glob("*/proof.sigstore.json"))
needs_certificates = pytest.mark.skipif(
    not CERTIFICATES.exists(), reason="there is no certificates/: the committed proofs were NOT verified"
)


@needs_certificates
class TestCommitted:
    """What is in the repository, verified in three ways."""

    def test_gate(self) -> None:
        result = gate(CERTIFICATES, ROOT / "models", read_policy(CERTIFICATES / "policy.toml"))
        assert [str(entry.failure) for entry in result.failures] == []
        assert len(result.entries) == len(list((ROOT / "models").glob("*.safetensors"))) > 0

    @pytest.mark.parametrize("proof", COMMITTED, ids=lambda path: path.parent.name)
    def test_securesystemslib(self, proof: Path) -> None:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        policy = read_policy(CERTIFICATES / "policy.toml")
        keys: list[Any] = [
            SSlibKey.from_crypto(load_pem_public_key(key.pem), keyid=keyid) for keyid, key in policy.keys.items()
        ]
        envelope = Envelope.from_dict(json.loads(proof.read_bytes())["dsseEnvelope"])
        assert envelope.verify(keys, threshold=1)

    @pytest.mark.parametrize("proof", COMMITTED, ids=lambda path: path.parent.name)
    @pytest.mark.skipif(
        shutil.which("openssl") is None or shutil.which("sha256sum") is None,
        reason="openssl or sha256sum is not installed: the committed proofs were NOT verified with them",
    )
    def test_openssl(self, proof: Path, tmp_path: Path) -> None:
        policy = read_policy(CERTIFICATES / "policy.toml")
        key = policy.keys[decode_bundle(proof.read_bytes()).keyid]
        (tmp_path / "key.pem").write_bytes(key.pem)
        model = ROOT / "models" / f"{proof.parent.name}.safetensors"
        command = [str(ROOT / "scripts" / "verify-with-openssl.sh"), str(proof), str(model), str(tmp_path / "key.pem")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
