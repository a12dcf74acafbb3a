"""Keys: ECDSA over P-256 by default, Ed25519 accepted; making, storing, loading and naming them.

A key is named by its SSH fingerprint, `SHA256:` and the unpadded base64 of the SHA-256 of the public key in
SSH wire format: the same as `ssh-keygen -l`, and the only name that Go verifiers of DSSE do not skip.

A private key is a PKCS#8 PEM file of mode 0600, outside every git repository. Where it is: the option, else
the environment variable `VERIFIER_KEY`, else `verifier/key.pem` in the user's configuration folder. Its
passphrase, if it has one, is in `VERIFIER_KEY_PASSPHRASE` or asked for on the terminal.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from verifier.errors import InputError
from verifier.files import read_input, write_atomically

Algorithm = Literal["ecdsa-p256", "ed25519"]
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256", "ed25519")
KEY_VARIABLE = "VERIFIER_KEY"
PASSPHRASE_VARIABLE = "VERIFIER_KEY_PASSPHRASE"  # noqa: S105  (a name, not a passphrase)
MAX_KEY_BYTES = 1 << 14
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_PRIVATE_HEADERS = (b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
_PUBLIC_HEADER, _PUBLIC_FOOTER = b"-----BEGIN PUBLIC KEY-----\n", b"\n-----END PUBLIC KEY-----\n"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may verify; two are equal when their fingerprints are."""

    keyid: str
    algorithm: Algorithm
    pem: bytes

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` (DER for ECDSA, with SHA-256) is this key's signature of `message`.

        Of the two ECDSA signatures (r, s) and (r, n − s), which anyone can turn into each other, only the one with the
        smaller s is valid: so a signed file cannot be changed into another one.

        **Raises** `InvalidSignature`.
        """
        key = load_pem_public_key(self.pem)
        if isinstance(key, EllipticCurvePublicKey):
            if low_s(signature) != signature:
                raise InvalidSignature
            key.verify(signature, message, ECDSA(hashes.SHA256()))
        elif isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            raise InvalidSignature


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A key that may sign. It has no representation that could end up in a log."""

    private: EllipticCurvePrivateKey | Ed25519PrivateKey
    public: PublicKey

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`; the same for the same message wherever OpenSSL allows it (RFC 6979)."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message)
        try:
            signature = self.private.sign(message, ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:
            signature = self.private.sign(message, ECDSA(hashes.SHA256()))
        return low_s(signature)


def low_s(signature: bytes) -> bytes:
    """The ECDSA signature over P-256 of the same message with s <= n/2, in DER.

    **Raises** `InvalidSignature` for what is not DER.
    """
    try:
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, min(s, P256_ORDER - s) if 0 < s < P256_ORDER else s)
    except ValueError:
        raise InvalidSignature from None


def fingerprint(key: EllipticCurvePublicKey | Ed25519PublicKey) -> str:
    """The SSH fingerprint of a public key, as `ssh-keygen -l` prints it."""
    wire = base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(wire).digest()).decode("ascii").rstrip("=")


def generate(algorithm: Algorithm = "ecdsa-p256") -> SigningKey:
    """A new key."""
    private = Ed25519PrivateKey.generate() if algorithm == "ed25519" else generate_private_key(SECP256R1())
    return SigningKey(private, _public(private.public_key()))


def parse_public_key(data: bytes, source: str) -> PublicKey:
    """A public key from one PEM block and nothing else.

    **Raises** `InputError`.
    """
    if b"PRIVATE KEY" in data:
        raise InputError(source, "", "is a private key where a public one belongs; consider it leaked")
    text = data.replace(b"\r\n", b"\n").strip() + b"\n"
    framed = text.startswith(_PUBLIC_HEADER) and text.endswith(_PUBLIC_FOOTER)
    if not framed or text.count(b"-----BEGIN") != 1:
        raise InputError(source, "", "must be one PEM block 'BEGIN PUBLIC KEY'")
    try:
        key = load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InputError(source, "", "is not a public key that OpenSSL can read") from None
    if isinstance(key, Ed25519PublicKey):
        return _public(key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return _public(key)
    raise InputError(source, "", "must be an ECDSA key over P-256 or an Ed25519 key")


def _public(key: EllipticCurvePublicKey | Ed25519PublicKey) -> PublicKey:
    algorithm: Algorithm = "ed25519" if isinstance(key, Ed25519PublicKey) else "ecdsa-p256"
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(fingerprint(key), algorithm, pem)


def read_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file.

    **Raises** `InputError`.
    """
    return parse_public_key(read_input(path, MAX_KEY_BYTES), str(path))


def read_signing_key(path: Path, ask: Callable[[str], str] | None = None) -> SigningKey:
    """The private key in a PKCS#8 PEM file that only its owner can read.

    `ask` gets a passphrase for a prompt when none is in the environment; by default on the terminal.

    **Raises** `InputError`: a file that others can read, another format or kind of key, no passphrase or
    a wrong one.
    """
    source = str(path)
    data = read_input(path, MAX_KEY_BYTES, private=True)
    if not data.startswith(_PRIVATE_HEADERS):
        raise InputError(source, "", "must be a private key in PKCS#8 PEM ('BEGIN PRIVATE KEY')")
    password = None
    if data.startswith(_PRIVATE_HEADERS[1]):
        password = _passphrase(f"Passphrase for {source}: ", ask)
        if password is None:
            raise InputError(source, "", f"is encrypted; put its passphrase into {PASSPHRASE_VARIABLE}")
    try:
        key = load_pem_private_key(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        rule = "decrypted; is the passphrase right?" if password else "read as a key"
        raise InputError(source, "", f"cannot be {rule}") from None
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(key, _public(key.public_key()))
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return SigningKey(key, _public(key.public_key()))
    raise InputError(source, "", "must be an ECDSA key over P-256 or an Ed25519 key")


def write_signing_key(path: Path, key: SigningKey, passphrase: bytes | None = None) -> Path:
    """Store `key` at `path`, which must not exist, and its public half beside it; returns the latter's path.

    The file has mode 0600 from its first moment and appears under its name only when it is complete.

    **Raises** `InputError` if `path` exists or is in a git repository; `OSError`.
    """
    public = path.with_name(path.name.removesuffix(".pem") + ".pub.pem")
    for target in (path, public):
        if os.path.lexists(target):
            raise InputError(str(target), "", "exists already, and keys are never overwritten")
    _refuse_repository(path)
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    data = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path, follow_symlinks=False)  # unlike a rename, fails if the name has been taken
    except FileExistsError:
        raise InputError(str(path), "", "exists already, and keys are never overwritten") from None
    finally:
        os.unlink(temporary)
    write_atomically(public, key.public.pem)
    return public


def default_path() -> Path:
    """Where the key is when nobody says: in the user's configuration folder.

    **Raises** `InputError` without a home folder.
    """
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(folder):  # the XDG specification: relative values are to be ignored
        return Path(folder) / "verifier" / "key.pem"
    try:
        return Path.home() / ".config" / "verifier" / "key.pem"
    except RuntimeError:
        raise InputError(KEY_VARIABLE, "", "must name the key, since there is no home folder") from None


def signing_key(option: Path | None = None) -> SigningKey:
    """The key to sign with: `option`, else `VERIFIER_KEY`, else the user's own, made now if there is none.

    A key made on the way is announced on standard error, whatever the verbosity.

    **Raises** `InputError`.
    """
    named = option if option is not None else named_path()
    if named is not None:
        return read_signing_key(named)
    path = default_path()
    if os.path.lexists(path):
        return read_signing_key(path)
    key = generate()
    passphrase = os.environ.get(PASSPHRASE_VARIABLE, "").encode() or None
    public = write_signing_key(path, key, passphrase)
    state = "encrypted" if passphrase else "not encrypted"
    print(f"verifier: no signing key yet: made {path} ({key.public.keyid}, {state})", file=sys.stderr)
    print(f"verifier: to have it trusted, add {public} to a policy", file=sys.stderr)
    return key


def named_path() -> Path | None:
    """Where `VERIFIER_KEY` says the key is."""
    value = os.environ.get(KEY_VARIABLE, "")
    return Path(value) if value else None


def _passphrase(prompt: str, ask: Callable[[str], str] | None) -> bytes | None:
    value = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not value:
        if ask is None:
            if not sys.stdin.isatty():
                return None
            ask = getpass.getpass
        value = ask(prompt)
    return value.encode() or None


def new_passphrase(ask: Callable[[str], str] | None = None) -> bytes:
    """A passphrase for a new key: from the environment, or asked for twice.

    **Raises** `InputError` if there is nobody to ask, it is empty, or the two differ.
    """
    value = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not value:
        if ask is None:
            if not sys.stdin.isatty():
                raise InputError(PASSPHRASE_VARIABLE, "", "must hold the passphrase, as there is no terminal")
            ask = getpass.getpass
        value = ask("New passphrase: ")
        if ask("The same again: ") != value:
            raise InputError("passphrase", "", "differs from the first")
    if not value:
        raise InputError("passphrase", "", "must not be empty")
    return value.encode()


def _refuse_repository(path: Path) -> None:
    """Refuse a place inside a git repository: a key there is one `git add` from being public."""
    parent = path.parent.resolve()
    for folder in (parent, *parent.parents):
        bare = all((folder / part).exists() for part in ("HEAD", "objects", "refs"))
        if bare or os.path.lexists(folder / ".git"):
            raise InputError(str(path), "", f"is in the git repository {folder}; keep private keys elsewhere")
