"""DSSE and the Sigstore bundle: the specification's example, and other people's verifiers."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey

from tests.proof.proof_support import (
    MODEL_NAME,
    RELEASE,
    SECOND,
    STRANGER,
    make_statement,
    sign,
    write_tree,
)
from verifier.proof import canonical
from verifier.proof.envelope import (
    Bundle,
    decode_bundle,
    encode_bundle,
    pre_authentication_encoding,
    seal,
    verify_signature,
)
from verifier.proof.keys import P256_ORDER, SigningKey, low_s, parse_public_key
from verifier.proof.reasons import MalformedError, Reason
from verifier.proof.statement import PAYLOAD_TYPE

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "scripts" / "verify-with-openssl.sh"
KEYS = [pytest.param(RELEASE, id="ecdsa"), pytest.param(SECOND, id="ed25519")]


def test_pre_authentication_encoding_of_the_specification() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == expected


def test_signature_of_the_specification() -> None:
    """DSSE protocol, test vectors; the signature there is r and s side by side, here it is DER."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    numbers = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    pem = numbers.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = parse_public_key(pem, "specification")
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    good = Bundle(b"hello world", "http://example.com/HelloWorld", key.keyid, signature)
    verify_signature(good, key)
    with pytest.raises(InvalidSignature):
        verify_signature(Bundle(b"hello worle", good.payload_type, key.keyid, signature), key)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
)
def test_pre_authentication_encoding_is_injective(a: str, x: bytes, b: str, y: bytes) -> None:
    same = pre_authentication_encoding(a, x) == pre_authentication_encoding(b, y)
    assert same == ((a, x) == (b, y))


def test_lengths_are_in_bytes() -> None:
    assert pre_authentication_encoding("é", "π".encode()) == "DSSEv1 2 é 2 π".encode()


@given(st.binary(max_size=300))
def test_bundles_are_read_back(payload: bytes) -> None:
    bundle = seal(payload, PAYLOAD_TYPE, RELEASE)
    assert decode_bundle(encode_bundle(bundle)) == bundle


@pytest.mark.parametrize("key", KEYS)
def test_signing_is_deterministic(key: SigningKey) -> None:
    assert sign(make_statement(), key) == sign(make_statement(), key)


@pytest.mark.parametrize("key", KEYS)
def test_the_bundle_is_as_sigstore_describes_it(key: SigningKey) -> None:
    value = json.loads(sign(make_statement(), key))
    assert value["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert value["verificationMaterial"] == {"publicKey": {"hint": key.public.keyid}}
    assert value["dsseEnvelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert len(value["dsseEnvelope"]["signatures"]) == 1
    statement = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": MODEL_NAME, "digest": statement["subject"][0]["digest"]}]
    # A TypeURI: lower-case scheme and authority, and a version.
    assert statement["predicateType"] == "https://modular-addition-verifier.invalid/proof/v2"


def test_a_payload_that_is_too_large_is_not_written() -> None:
    with pytest.raises(MalformedError) as caught:
        encode_bundle(seal(b"x" * (1 << 21), PAYLOAD_TYPE, SECOND))
    assert caught.value.reason is Reason.SIZE


def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed: the fingerprint was NOT compared with it")
    for key in (RELEASE, SECOND):
        (tmp_path / "key.pem").write_bytes(key.public.pem)
        command = [program, "-i", "-m", "PKCS8", "-f", str(tmp_path / "key.pem")]
        if key is SECOND:  # ssh-keygen does not convert Ed25519
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

            line = key.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        else:
            line = subprocess.run(command, check=True, capture_output=True).stdout
        (tmp_path / "key.pub").write_bytes(line)
        listed = subprocess.run(
            [program, "-l", "-f", str(tmp_path / "key.pub")], check=True, capture_output=True, text=True
        )
        assert listed.stdout.split()[1] == key.public.keyid


def test_the_fingerprint_of_a_known_key() -> None:
    """The keys of the tests, as OpenSSH 9.2 prints them; no program needed."""
    assert RELEASE.public.keyid == "SHA256:wIbJqmkE5GMHTt/CapnSCbPQYlckhwU0BbO7eVMBIVE"
    assert SECOND.public.keyid == "SHA256:+Se9Sei8xc42R7kTcKXDmIkLyOJgbx6h2qKLfNMvadw"


class TestSecuresystemslib:
    """The reference implementation of DSSE in Python, as a second verifier."""

    @staticmethod
    def envelope(data: bytes) -> Any:
        return Envelope.from_dict(json.loads(data)["dsseEnvelope"])

    @staticmethod
    def key(key: SigningKey) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return SSlibKey.from_crypto(load_pem_public_key(key.public.pem), keyid=key.public.keyid)

    @pytest.mark.parametrize("key", KEYS)
    def test_accepts(self, key: SigningKey) -> None:
        accepted = self.envelope(sign(make_statement(), key)).verify([self.key(key)], threshold=1)
        assert list(accepted) == [key.public.keyid]

    def test_says_the_same_of_every_flipped_bit_of_a_signature(self) -> None:
        good = decode_bundle(sign(make_statement()))
        for place in range(len(good.signature)):
            flipped = bytearray(good.signature)
            flipped[place] ^= 1
            data = encode_bundle(Bundle(good.payload, good.payload_type, good.keyid, bytes(flipped)))
            with pytest.raises(InvalidSignature):
                verify_signature(decode_bundle(data), RELEASE.public)
            with pytest.raises(VerificationError):
                self.envelope(data).verify([self.key(RELEASE)], threshold=1)

    def test_our_keys_read_what_it_signs(self) -> None:
        signer = CryptoSigner(RELEASE.private, self.key(RELEASE))
        payload = canonical.encode(make_statement())
        envelope = Envelope(payload, PAYLOAD_TYPE, {})
        signature = low_s(bytes.fromhex(envelope.sign(signer).signature))
        data = Bundle(payload, PAYLOAD_TYPE, RELEASE.public.keyid, signature)
        verify_signature(data, RELEASE.public)


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("sha256sum") is None,
    reason="openssl or sha256sum is not installed: verification without Python was NOT tested",
)


@needs_openssl
class TestOpenssl:
    """The script that needs nothing but openssl and sha256sum."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        write_tree(tmp_path)
        (tmp_path / "key.pem").write_bytes(RELEASE.public.pem)
        return tmp_path

    @staticmethod
    def run(tree: Path, key: str = "key.pem") -> subprocess.CompletedProcess[str]:
        proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
        command = [str(SCRIPT), str(proof), str(tree / "models" / MODEL_NAME), str(tree / key)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @pytest.mark.parametrize("key", KEYS)
    def test_accepts(self, tree: Path, key: SigningKey) -> None:
        (tree / "key.pem").write_bytes(key.public.pem)
        proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
        proof.write_bytes(sign(make_statement(), key))
        done = self.run(tree)
        assert (done.returncode, done.stderr) == (0, "")
        assert key.public.keyid in done.stdout
        assert "For at least 3481 of the 3481 inputs" in done.stdout

    @pytest.mark.parametrize("name", ["certificate.json", "claim.json"])
    def test_refuses_another_part(self, tree: Path, name: str) -> None:
        path = tree / "certificates" / "p59-seed0" / name
        path.write_bytes(path.read_bytes() + b" ")
        assert self.run(tree).returncode == 1

    def test_refuses_another_model(self, tree: Path) -> None:
        (tree / "models" / MODEL_NAME).write_bytes(b"other weights")
        assert self.run(tree).returncode == 1

    def test_refuses_the_signature_with_the_larger_s(self, tree: Path) -> None:
        """Also where s has zeros in front, or differs from n/2 in its last digit."""
        proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
        small, r, good = 0, 0, decode_bundle(sign(make_statement()))
        for number in range(40):
            statement: Any = make_statement()
            statement["predicate"]["environment"]["verifier"] = str(number)
            good = decode_bundle(sign(statement))
            r, s = decode_dss_signature(good.signature)
            small += s < 2**252
            for signature, code in ((good.signature, 0), (encode_dss_signature(r, P256_ORDER - s), 1)):
                proof.write_bytes(encode_bundle(replace(good, signature=signature)))
                done = self.run(tree)
                assert done.returncode == code, (number, done.stderr)
                assert ("smaller s" in done.stderr) == (code == 1)
        assert small, "choose other statements: no s begins with a zero"
        for s, larger in ((P256_ORDER // 2, False), (P256_ORDER // 2 + 1, True), (1, False)):
            proof.write_bytes(encode_bundle(replace(good, signature=encode_dss_signature(r, s))))
            done = self.run(tree)
            assert done.returncode == 1
            assert ("smaller s" in done.stderr) is larger

    def test_refuses_base64_that_is_not_canonical(self, tree: Path) -> None:
        proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
        value = json.loads(proof.read_bytes())
        signature = value["dsseEnvelope"]["signatures"][0]["sig"]
        assert signature.endswith("=")
        last = signature.rstrip("=")[-1]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        other = alphabet[alphabet.index(last) + 1]  # differs in the bits that nothing uses
        value["dsseEnvelope"]["signatures"][0]["sig"] = other.join(signature.rsplit(last, 1))
        proof.write_bytes(canonical.encode(value))
        done = self.run(tree)
        assert (done.returncode, "the signature is not canonical base64" in done.stderr) == (2, True)

    def test_refuses_another_key(self, tree: Path) -> None:
        (tree / "key.pem").write_bytes(STRANGER.public.pem)
        done = self.run(tree)
        assert done.returncode == 1
        assert STRANGER.public.keyid in done.stderr

    def test_refuses_a_missing_file(self, tree: Path) -> None:
        assert self.run(tree, "absent.pem").returncode == 2

    def test_refuses_every_changed_field_of_the_bundle(self, tree: Path) -> None:
        proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
        good = proof.read_bytes()
        places = [good.index(text) + len(text) for text in (b'"payload":"', b'"payloadType":"', b'"sig":"')]
        places += [good.index(text) + len(text) for text in (b'"keyid":"SHA256:', b'"hint":"SHA256:')]
        places += [good.index(b"bundle.v0.3"), 0, len(good) - 1, good.index(b'"payload":"') + 1000]
        for place in places:
            changed = bytearray(good)
            changed[place] = ord("B") if changed[place] != ord("B") else ord("C")
            proof.write_bytes(changed)
            assert self.run(tree).returncode in (1, 2), place
        proof.write_bytes(good + b"\n" + good)
        assert self.run(tree).returncode == 2
        proof.write_bytes(good)
        assert self.run(tree).returncode == 0

    def test_refuses_signed_statements_of_other_types_and_names(self, tree: Path) -> None:
        proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
        for path, value in (
            ("_type", "https://in-toto.io/Statement/v0.1"),
            ("predicateType", "https://slsa.dev/provenance/v1"),
            ("subject", []),
            ("subject", [{"name": "../x.safetensors", "digest": {"sha256": "0" * 64}}]),
        ):
            statement: Any = make_statement()
            statement[path] = value
            proof.write_bytes(sign(statement))
            assert self.run(tree).returncode == 1, path
        proof.write_bytes(sign(make_statement(), payload_type="text/plain"))
        assert self.run(tree).returncode == 1
