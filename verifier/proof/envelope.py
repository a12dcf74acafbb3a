"""The signed envelope: DSSE, wrapped as a Sigstore bundle of version 0.3.

A bundle holds one payload, its type, and one signature over the pre-authentication encoding of both.
(Sigstore allows one signature per bundle; when several must sign, each has a bundle over the same payload.)
The file is canonical JSON, so no byte of it can change without a reader noticing.

Sources: DSSE protocol 1.0.2; Sigstore protobuf specification, `dev.sigstore.bundle.v1`.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import cast

from verifier.kernel.forms import Items, Json, Record, Text, choice
from verifier.proof import canonical
from verifier.proof.forms import require
from verifier.proof.keys import PublicKey, SigningKey
from verifier.proof.reasons import MalformedError, Reason

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = 1 << 20
MAX_SIGNATURE = 256  # characters of base64; a DER signature over P-256 needs 96

KEYID = Text("SHA256:[A-Za-z0-9+/]{43}", "an SSH fingerprint, SHA256: and 43 characters of base64", 50)
BUNDLE = Record(
    {
        "mediaType": choice(MEDIA_TYPE),
        "verificationMaterial": Record({"publicKey": Record({"hint": KEYID})}),
        "dsseEnvelope": Record(
            {
                "payload": Text("[A-Za-z0-9+/]*={0,2}", "standard base64", MAX_BUNDLE_BYTES),
                "payloadType": Text("[!-~]*", "a media type", 256),
                "signatures": Items(
                    Record(
                        {
                            "keyid": KEYID,
                            "sig": Text("[A-Za-z0-9+/]*={0,2}", "standard base64", MAX_SIGNATURE),
                        }
                    ),
                    1,
                    1,
                ),
            }
        ),
    }
)
"""A Sigstore bundle of version 0.3 with one DSSE signature by a public key."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A decoded bundle. Nothing in it is to be believed before the signature has been verified.

    **Fields**

    - `payload`, `payload_type`: what was signed.
    - `keyid`: the fingerprint of the key that is said to have signed; a hint.
    - `signature`: raw; DER for ECDSA.
    """

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return pre_authentication_encoding(self.payload_type, self.payload)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """`DSSEv1 LEN(type) type LEN(payload) payload`, lengths in bytes (DSSE protocol)."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, payload_type: str, key: SigningKey) -> Bundle:
    """Sign `payload` with `key`."""
    signature = key.sign(pre_authentication_encoding(payload_type, payload))
    return Bundle(payload, payload_type, key.public.keyid, signature)


def verify_signature(bundle: Bundle, key: PublicKey) -> None:
    """Return if the signature of `bundle` is valid under `key`.

    **Raises** `cryptography.exceptions.InvalidSignature`.
    """
    key.verify(bundle.signature, bundle.signed_bytes)


def encode_bundle(bundle: Bundle) -> bytes:
    """The bytes of the file.

    **Raises** `MalformedError` for a bundle that could not be read back.
    """
    value: Json = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": bundle.keyid}},
        "dsseEnvelope": {
            "payload": _base64(bundle.payload),
            "payloadType": bundle.payload_type,
            "signatures": [{"keyid": bundle.keyid, "sig": _base64(bundle.signature)}],
        },
    }
    data = canonical.encode(value)
    if len(data) > MAX_BUNDLE_BYTES:
        raise MalformedError(Reason.SIZE, f"the bundle has more than {MAX_BUNDLE_BYTES} bytes")
    require(BUNDLE, value, "bundle")
    return data


def decode_bundle(data: bytes) -> Bundle:
    """Read a bundle strictly: canonical JSON, exactly the known fields, strict base64.

    **Raises** `MalformedError`.
    """
    value = canonical.decode_canonical(data, MAX_BUNDLE_BYTES)
    require(BUNDLE, value, "bundle")
    fields = cast(dict[str, dict[str, dict[str, str]]], value)
    envelope = cast(dict[str, str], fields["dsseEnvelope"])
    (signature,) = cast(dict[str, list[dict[str, str]]], fields["dsseEnvelope"])["signatures"]
    hint = fields["verificationMaterial"]["publicKey"]["hint"]
    if hint != signature["keyid"]:
        raise MalformedError(Reason.HINT, f"{hint} and {signature['keyid']}")
    return Bundle(
        payload=_from_base64(envelope["payload"], "payload"),
        payload_type=envelope["payloadType"],
        keyid=signature["keyid"],
        signature=_from_base64(signature["sig"], "signature"),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: str, where: str) -> bytes:
    """Decode standard base64 with its padding; one text per value, so unused bits must be zero.

    **Raises** `MalformedError(BASE64)`.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedError(Reason.BASE64, f"{where}: {error}") from None
    if _base64(data) != text:
        raise MalformedError(Reason.BASE64, f"{where}: unused bits are not zero, or padding is missing")
    return data
