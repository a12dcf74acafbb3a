"""What the tests of `verifier.proof` share: fixed keys, a small deterministic kernel, and a proof by them.

The private keys here are made from small numbers and trusted by nobody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.kernel.forms import Json
from verifier.proof import canonical
from verifier.proof.documents import PREDICATE_TYPE
from verifier.proof.envelope import encode_bundle, seal
from verifier.proof.kernel import Kernel, Observer
from verifier.proof.keys import PublicKey, SigningKey, parse_public_key
from verifier.proof.keys import fingerprint as keyid
from verifier.proof.policy import Policy, parse_policy
from verifier.proof.statement import PAYLOAD_TYPE, sha256
from verifier.proof.verify import Verified, verify
from verifier.tensor_file import encode_tensors

P = 59
MODEL_NAME = "p59-seed0.safetensors"
MODEL = encode_tensors(
    {"format": "verifier-model/1", "p": "59", "layout": "a b", "attention": "1/2 1/2"},
    {"weights": np.zeros(2, np.float32)},
)
"""As much of a model file as a policy looks at."""

ENVIRONMENT = {"verifier": "0.1.0", "python": "3.11.7", "python-flint": "0.9.0", "flint": "3.6.0"}


def ecdsa_key(number: int) -> SigningKey:
    """The P-256 key with this private number."""
    private = derive_private_key(number, SECP256R1())
    return SigningKey(private, _public(private.public_key()))


def ed25519_key(number: int) -> SigningKey:
    """The Ed25519 key with this seed."""
    private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
    return SigningKey(private, _public(private.public_key()))


def _public(key: object) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    public = parse_public_key(pem, "test key")
    assert public.keyid == keyid(key)  # type: ignore[arg-type]
    return public


RELEASE, SECOND, STRANGER = ecdsa_key(20230630), ed25519_key(20241204), ecdsa_key(99)


class FakeRejection(Exception):
    """How the fake kernel says no."""


def dyadic(mantissa: int, exponent: int) -> Json:
    return {"mantissa": str(mantissa), "exponent": exponent}


def conclude(model: bytes, claim: bytes, certificate: bytes) -> dict[str, Json]:
    """A conclusion with every field, a function of the three inputs.

    The certificate `{"certified_inputs": c, "margin": m}` certifies c inputs with margin m/2.
    """
    value = json.loads(claim)
    fields = json.loads(certificate)
    if value["model_sha256"] != sha256(model) or fields["certified_inputs"] < value["certified_inputs"]:
        raise FakeRejection("it does not follow")
    certified = fields["certified_inputs"]
    neurons, total = 512, value["p"] ** 2
    operations, parameters = 40 * 97586 + len(model), 97586
    bounds = {name: dyadic(n, -8) for n, name in enumerate(("rectangle", "harmonic", "arc_sum", "bound"), 20)}
    quadrature: list[Json] = [
        {
            "frequency": k,
            "neurons": 128,
            **bounds,
            "relative_bound": dyadic(25 + k, -7),
            "network_error": dyadic(113 + k, -5),
            "amplitude": dyadic(355, -4),
        }
        for k in (3, 14)
    ]
    by_frequency: Json = {"3": dyadic(5, -4), "14": dyadic(-7, -4)}
    return {
        "format": "verifier-conclusion/2",
        "theorem": f"For at least {certified} of the {total} inputs (a, b) the largest logit is right.",
        "model": {
            "sha256": sha256(model),
            "p": value["p"],
            "outputs": value["p"],
            "neurons": neurons,
            "parameters": parameters,
            "attention": {"kind": "declared", "ranges": [["1/2", "1/2"], ["1/2", "1/2"]]},
        },
        "claim": {
            "sha256": sha256(claim),
            "strategy": value["strategy"],
            "semantics": value["semantics"],
            "certified_inputs": value["certified_inputs"],
        },
        "certificate": {
            "sha256": sha256(certificate),
            "families": 8,
            "directions": 6,
            "others": 1,
            "nodes": 512,
        },
        "quadrature": quadrature,
        "logits": {
            "max_error": dyadic(3, 0),
            "budget": {
                "quadrature": by_frequency,
                "profile": by_frequency,
                "other_frequencies": dyadic(1, -3),
                "output_rest": dyadic(0, 0),
                "fixed_point": dyadic(1, -20),
                "attention": dyadic(0, 0),
            },
        },
        "closed_form": {"least_gap": dyadic(7, 0), "error": dyadic(3, 0), "explains_all": True},
        "accuracy": {
            "strategy": value["strategy"],
            "semantics": value["semantics"],
            "certified_inputs": certified,
            "total_inputs": total,
            "explained_inputs": certified - 1,
            "gap_error": dyadic(3, -4),
            "min_margin": dyadic(fields["margin"], -1),
            "floating_point": dyadic(9, -20),
            "uncertified_inputs": total - certified,
            "uncertified": [],
        },
        "lemmas": {"A": "accuracy", "Q": "quadrature"},
        "precision": 128,
        "cost": {
            "parameters": parameters,
            "events": 4 * neurons * value["p"],
            "operations": operations,
            "per_parameter": "40.001",
            "brute_force": neurons * value["p"] ** 3,
            "by_step": {"arcs": operations},
        },
    }


def _check(model: bytes, claim: bytes, certificate: bytes, observe: Observer) -> object:
    observe("check", 1, 1)
    return conclude(model, claim, certificate)


KERNEL = Kernel(_check, FakeRejection)


def make_claim(model: bytes = MODEL, **changes: Json) -> bytes:
    claim: dict[str, Json] = {
        "format": "verifier-claim/2",
        "task": "(a + b) mod p",
        "p": P,
        "model_sha256": sha256(model),
        "strategy": "linear",
        "semantics": "binary32",
        "certified_inputs": P * P,
    }
    return canonical.encode(claim | changes)


def make_certificate(certified_inputs: int = P * P, margin: int = 3) -> bytes:
    return canonical.encode({"certified_inputs": certified_inputs, "margin": margin})


def make_statement(
    model: bytes = MODEL, name: str = MODEL_NAME, claim: bytes | None = None, certificate: bytes | None = None
) -> dict[str, Json]:
    """A statement as a JSON value, to be changed and signed."""
    claim = make_claim(model) if claim is None else claim
    certificate = make_certificate() if certificate is None else certificate
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": sha256(model)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "claim": json.loads(claim),
            "claimDigest": {"sha256": sha256(claim)},
            "certificateDigest": {"sha256": sha256(certificate)},
            "conclusion": conclude(model, claim, certificate),
            "environment": dict(ENVIRONMENT),
        },
    }


def sign(statement: Json, key: SigningKey = RELEASE, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """A bundle over a statement, which need not be a good one."""
    return encode_bundle(seal(canonical.encode(statement), payload_type, key))


def policy_text(keys: tuple[SigningKey, ...] = (RELEASE,), threshold: int = 1, rules: str | None = None) -> str:
    """A policy as TOML."""
    parts = [
        'format = "verifier-policy/1"',
        f'predicate_types = ["{PREDICATE_TYPE}"]',
        "[signatures]",
        f"threshold = {threshold}",
    ]
    for index, key in enumerate(keys):
        parts += ["[[signatures.keys]]", f'name = "key {index}"', f'pem = """\n{key.public.pem.decode()}"""']
    return "\n".join([*parts, RULES if rules is None else rules, ""])


RULES = """\
[[rules]]
models = ["p59-*"]
certified_inputs = "all"
min_accuracy = "1"
semantics = ["binary32"]
min_margin = "1.5"
max_relative_quadrature_bound = "0.5"
max_cost_per_parameter = "41"
"""


def make_policy(keys: tuple[SigningKey, ...] = (RELEASE,), threshold: int = 1, rules: str | None = None) -> Policy:
    return parse_policy(policy_text(keys, threshold, rules).encode(), "policy.toml")


@dataclass(frozen=True)
class Case:
    """Everything `verify` needs; good unless something is replaced."""

    bundles: tuple[bytes, ...] = field(default_factory=lambda: (sign(make_statement()),))
    model_name: str = MODEL_NAME
    model: bytes = MODEL
    claim: bytes = field(default_factory=make_claim)
    certificate: bytes | None = field(default_factory=make_certificate)
    policy: Policy = field(default_factory=make_policy)
    recheck: bool = True
    kernel: Kernel = KERNEL
    observe: Observer = field(default=lambda step, done, total: None)

    def verify(self) -> Verified:
        return verify(
            self.bundles,
            policy=self.policy,
            model_name=self.model_name,
            model=self.model,
            claim=self.claim,
            certificate=self.certificate,
            recheck=self.recheck,
            kernel=self.kernel,
            observe=self.observe,
        )


def write_tree(root: Path, name: str = "p59-seed0", model: bytes = MODEL) -> tuple[Path, Path]:
    """A folder of certificates, with a policy, and one of models, with one good proof; returns both."""
    certificates, models = root / "certificates", root / "models"
    folder = certificates / name
    folder.mkdir(parents=True)
    models.mkdir(exist_ok=True)
    (models / f"{name}.safetensors").write_bytes(model)
    (folder / "claim.json").write_bytes(make_claim(model))
    (folder / "certificate.json").write_bytes(make_certificate())
    (folder / "proof.sigstore.json").write_bytes(sign(make_statement(model, f"{name}.safetensors")))
    (certificates / "policy.toml").write_text(policy_text())
    return certificates, models
