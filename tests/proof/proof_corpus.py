"""The corpus `tests/corpus/proof`, and the program that writes it: `python -m tests.proof.proof_corpus`.

    common/          a good proof: policy.toml, model, claim.json, certificate.json, proof.sigstore.json
    accept/<case>/   files that replace common ones, and expected.json: certified inputs, keys that count
    reject/<case>/   the same, and expected.json: step and reason (a name of `Reason`) of the rejection
    survive/<case>/  the same; some rejection, and nothing else, must come of it

A case is named by its step and its defect. Everything is made from fixed keys and deterministic signatures,
and a test compares the files with what this program makes. What is too large to keep (an integer of a
million digits, nesting of 100,000) is made in the tests.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.proof.proof_support import (
    MODEL,
    MODEL_NAME,
    RELEASE,
    RULES,
    SECOND,
    STRANGER,
    make_certificate,
    make_claim,
    make_statement,
    policy_text,
    sign,
)
from verifier.proof import canonical
from verifier.proof.documents import PREDICATE_TYPE
from verifier.proof.envelope import Bundle, encode_bundle, pre_authentication_encoding, seal
from verifier.proof.keys import P256_ORDER, SigningKey
from verifier.proof.statement import PAYLOAD_TYPE

CORPUS = Path(__file__).parent.parent / "corpus" / "proof"
Files = dict[str, bytes]
Change = Callable[[Any], object]

PROOF, SECOND_PROOF = "proof.sigstore.json", "proof.second.sigstore.json"
GOOD = sign(make_statement())
COMMON: Files = {
    PROOF: GOOD,
    "claim.json": make_claim(),
    "certificate.json": make_certificate(),
    "model": MODEL,
    "model_name": MODEL_NAME.encode(),
    "policy.toml": policy_text().encode(),
}


def bundle(change: Change) -> Files:
    """The good bundle, changed after signing and still canonical where possible."""
    value = json.loads(GOOD)
    change(value)
    return {PROOF: canonical.encode(value)}


def signed(change: Change, **arguments: Any) -> Files:
    """The good statement, changed and then signed by a key of the policy."""
    statement: Any = make_statement(**arguments)
    change(statement)
    return {PROOF: sign(statement)}


def payload(data: bytes, payload_type: str = PAYLOAD_TYPE, key: SigningKey = RELEASE) -> Files:
    """Any bytes, signed by a key of the policy."""
    return {PROOF: encode_bundle(seal(data, payload_type, key))}


def forged(signature: bytes, keyid: str = RELEASE.public.keyid) -> Files:
    """The good statement with another signature."""
    good = canonical.encode(make_statement())
    return {PROOF: encode_bundle(Bundle(good, PAYLOAD_TYPE, keyid, signature))}


def policy(rules: str = RULES, **arguments: Any) -> Files:
    return {"policy.toml": policy_text(rules=rules, **arguments).encode()}


def rule(line: str) -> str:
    """A policy that asks for all inputs and for `line`."""
    return f'[[rules]]\nmodels = ["*"]\ncertified_inputs = "all"\n{line}\n'


def set_at(path: str, value: object) -> Change:
    """A change that puts `value` at a path such as `a.0.b`."""

    def change(root: Any) -> None:
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        for part in way:
            root = root[part]
        root[last] = copy.deepcopy(value)

    return change


def delete_at(path: str) -> Change:
    def change(root: Any) -> None:
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        for part in way:
            root = root[part]
        del root[last]

    return change


def _swapped_base64(text: str, old: str, new: str) -> str:
    data = base64.b64decode(text).replace(old.encode(), new.encode())
    return base64.b64encode(data).decode()


def _raw_signature() -> bytes:
    """The good signature as r and s side by side, as JOSE writes it."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(seal(canonical.encode(make_statement()), PAYLOAD_TYPE, RELEASE).signature)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _other_s() -> bytes:
    """The good signature with n − s in place of s, which is one as well as far as ECDSA is concerned."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

    r, s = decode_dss_signature(seal(canonical.encode(make_statement()), PAYLOAD_TYPE, RELEASE).signature)
    return encode_dss_signature(r, P256_ORDER - s)


def reject_cases() -> Iterator[tuple[str, str, Files]]:
    """(case, reason, files); a case begins with the number of its step."""
    sig = "dsseEnvelope.signatures.0.sig"
    body = "dsseEnvelope.payload"
    yield "1-empty", "JSON", {PROOF: b""}
    yield "1-truncated", "JSON", {PROOF: GOOD[:-10]}
    yield "1-trailing-data", "JSON", {PROOF: GOOD + b"{}"}
    yield "1-python-literal", "JSON", {PROOF: b"{'payload': None}"}
    yield "1-control-character", "JSON", {PROOF: GOOD.replace(b"SHA256", b"SHA\n256", 1)}
    yield "1-byte-order-mark", "JSON", {PROOF: b"\xef\xbb\xbf" + GOOD}
    yield "1-utf-16", "JSON", {PROOF: GOOD.decode().encode("utf-16")}
    yield "1-not-ascii", "NOT_CANONICAL", {PROOF: GOOD.replace(b"hint", "hïnt".encode())}
    yield "1-nested", "JSON", {PROOF: b"[" * 65 + b"]" * 65}
    for name, text in (
        ("float", "1.0"),
        ("exponent", "1e3"),
        ("nan", "NaN"),
        ("infinity", "-Infinity"),
        ("minus-zero", "-0"),
        ("beyond-2-53", str(2**53)),
        ("below-2-53", str(-(2**53))),
    ):
        yield f"1-number-{name}", "JSON", {PROOF: b'{"mediaType":%s}' % text.encode()}
    twice = GOOD.replace(b'{"dsseEnvelope":', b'{"dsseEnvelope":{},"dsseEnvelope":', 1)
    yield "1-duplicate-envelope", "JSON", {PROOF: twice}
    yield "1-duplicate-payload", "JSON", {PROOF: GOOD.replace(b'"payload":', b'"payload":"","payload":', 1)}
    yield "1-half-a-surrogate-pair", "JSON", {PROOF: b'{"mediaType":"\\ud800"}'}
    yield "1-white-space", "NOT_CANONICAL", {PROOF: GOOD.replace(b":", b": ", 1)}
    yield "1-final-newline", "NOT_CANONICAL", {PROOF: GOOD + b"\n"}
    yield "1-escaped-letter", "NOT_CANONICAL", {PROOF: GOOD.replace(b"hint", b"\\u0068int", 1)}
    unsorted_names = b'{"verificationMaterial"' + GOOD.partition(b'"verificationMaterial"')[2][:-1]
    unsorted_names += b"," + GOOD[1:].partition(b',"verificationMaterial"')[0] + b"}"
    yield "1-order-of-names", "NOT_CANONICAL", {PROOF: unsorted_names}
    yield "1-not-an-object", "FIELD", {PROOF: b"[]"}
    yield "1-unknown-field", "FIELD", bundle(set_at("extra", 1))
    yield "1-unknown-field-in-envelope", "FIELD", bundle(set_at("dsseEnvelope.extra", 1))
    yield "1-unknown-field-in-signature", "FIELD", bundle(set_at("dsseEnvelope.signatures.0.cert", ""))
    yield "1-missing-payload", "FIELD", bundle(delete_at(body))
    yield "1-missing-key", "FIELD", bundle(delete_at("verificationMaterial.publicKey"))
    yield "1-missing-keyid", "FIELD", bundle(delete_at("dsseEnvelope.signatures.0.keyid"))
    yield "1-log-entries", "FIELD", bundle(set_at("verificationMaterial.tlogEntries", []))
    yield (
        "1-certificate-instead-of-key",
        "FIELD",
        bundle(set_at("verificationMaterial", {"certificate": {"rawBytes": ""}})),
    )
    yield (
        "1-old-media-type",
        "FIELD",
        bundle(set_at("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2")),
    )
    yield "1-no-signature", "FIELD", bundle(set_at("dsseEnvelope.signatures", []))
    two = json.loads(GOOD)["dsseEnvelope"]["signatures"] * 2
    yield "1-two-signatures", "FIELD", bundle(set_at("dsseEnvelope.signatures", two))
    yield "1-payload-is-a-number", "FIELD", bundle(set_at(body, 1))
    yield "1-keyid-in-hexadecimal", "FIELD", bundle(set_at("dsseEnvelope.signatures.0.keyid", "ab" * 32))
    yield "1-base64-of-the-web", "FIELD", bundle(set_at(sig, "-_-_"))
    yield "1-base64-without-padding", "BASE64", bundle(set_at(sig, "QQ"))
    yield "1-base64-unused-bits", "BASE64", bundle(set_at(sig, "QR=="))
    yield "1-base64-too-much-padding", "BASE64", bundle(set_at(sig, "QUI=="))
    hint = STRANGER.public.keyid
    yield "1-hint-of-another-key", "HINT", bundle(set_at("verificationMaterial.publicKey.hint", hint))
    other: Any = make_statement()
    other["predicate"]["environment"]["verifier"] = "9"
    both = policy(keys=(RELEASE, SECOND), threshold=2)
    yield "1-two-payloads", "PAYLOAD_DIFFERS", {SECOND_PROOF: sign(other, SECOND), **both}

    yield "2-stranger", "UNKNOWN_KEY", {PROOF: sign(make_statement(), STRANGER)}
    yield "2-key-withdrawn-by-newer-policy", "UNKNOWN_KEY", policy(keys=(SECOND,))
    text = json.loads(GOOD)["dsseEnvelope"]["payload"]
    tampered = _swapped_base64(text, '"certified_inputs":3481', '"certified_inputs":3480')
    yield "2-tampered-payload", "BAD_SIGNATURE", bundle(set_at(body, tampered))
    renamed = _swapped_base64(text, "p59-seed0", "p59-seed1")
    yield "2-tampered-subject", "BAD_SIGNATURE", bundle(set_at(body, renamed))
    yield "2-swapped-payload-type", "BAD_SIGNATURE", bundle(set_at("dsseEnvelope.payloadType", "text/plain"))
    yield "2-empty-payload-type", "BAD_SIGNATURE", bundle(set_at("dsseEnvelope.payloadType", ""))
    good = canonical.encode(make_statement())
    yield "2-empty-signature", "BAD_SIGNATURE", forged(b"")
    yield "2-zero-signature", "BAD_SIGNATURE", forged(bytes.fromhex("3006020100020100"))
    yield "2-signature-is-not-der", "BAD_SIGNATURE", forged(b"\x30\x80\x02\x01\x01\x02\x01\x01\x00\x00")
    yield "2-signature-as-in-jose", "BAD_SIGNATURE", forged(_raw_signature())
    yield "2-signature-with-the-larger-s", "BAD_SIGNATURE", forged(_other_s())
    yield "2-signature-over-payload-alone", "BAD_SIGNATURE", forged(RELEASE.sign(good))
    encoded = pre_authentication_encoding(PAYLOAD_TYPE, good)
    yield "2-stranger-under-known-name", "BAD_SIGNATURE", forged(STRANGER.sign(encoded))
    yield "2-signature-with-extra-byte", "BAD_SIGNATURE", forged(RELEASE.sign(encoded) + b"\0")
    replayed = pre_authentication_encoding("text/plain", good)
    yield "2-signature-for-another-type", "BAD_SIGNATURE", forged(RELEASE.sign(replayed))
    yield (
        "2-ed25519-signature-of-another-text",
        "BAD_SIGNATURE",
        {**forged(SECOND.sign(good), SECOND.public.keyid), **policy(keys=(SECOND,))},
    )
    broken = Bundle(good, PAYLOAD_TYPE, SECOND.public.keyid, bytes(64))
    yield (
        "2-one-good-signature-one-broken",
        "BAD_SIGNATURE",
        {SECOND_PROOF: encode_bundle(broken), **policy(keys=(RELEASE, SECOND))},
    )
    yield "2-one-of-two", "THRESHOLD", both
    yield "2-same-key-twice", "THRESHOLD", {SECOND_PROOF: GOOD, **both}
    yield "2-second-is-a-stranger", "THRESHOLD", {SECOND_PROOF: sign(make_statement(), STRANGER), **both}

    yield "3-plain-text", "PAYLOAD_TYPE", payload(good, "text/plain")
    yield "3-other-case", "PAYLOAD_TYPE", payload(good, "application/vnd.In-Toto+json")
    yield "3-with-parameter", "PAYLOAD_TYPE", payload(good, PAYLOAD_TYPE + ";v=1")

    yield "4-not-json", "JSON", payload(b"hello")
    yield "4-not-an-object", "FIELD", payload(b"[]")
    yield "4-white-space", "NOT_CANONICAL", payload(good + b" ")
    yield "4-duplicate", "JSON", payload(good.replace(b'"predicate":', b'"predicate":{},"predicate":'))
    yield "4-float", "JSON", payload(good.replace(b'"p":59', b'"p":59.0', 1))
    yield "4-statement-of-version-0.1", "STATEMENT_TYPE", signed(set_at("_type", "https://in-toto.io/Statement/v0.1"))
    yield "4-provenance", "PREDICATE_TYPE", signed(set_at("predicateType", "https://slsa.dev/provenance/v1"))
    newer = PREDICATE_TYPE.replace("/v2", "/v3")
    yield "4-newer-predicate", "PREDICATE_TYPE", signed(set_at("predicateType", newer))
    allowed = policy_text().replace(f'["{PREDICATE_TYPE}"]', f'["{newer}"]').encode()
    yield "4-not-allowed-by-policy", "PREDICATE_TYPE", {"policy.toml": allowed}
    yield (
        "4-allowed-but-unknown",
        "PREDICATE_TYPE",
        {"policy.toml": allowed, **signed(set_at("predicateType", newer))},
    )
    yield "4-unknown-field", "FIELD", signed(set_at("predicate.extra", 1))
    yield "4-unknown-field-in-conclusion", "FIELD", signed(set_at("predicate.conclusion.extra", 1))
    yield "4-missing-field", "FIELD", signed(delete_at("predicate.certificateDigest"))
    yield "4-no-subject", "FIELD", signed(set_at("subject", []))
    subject = {"name": MODEL_NAME, "digest": {"sha256": "0" * 64}}
    yield "4-two-subjects", "FIELD", signed(set_at("subject", [subject, subject]))
    yield "4-digest-of-another-kind", "FIELD", signed(set_at("subject.0.digest", {"md5": "0" * 32}))
    yield "4-digest-in-capitals", "FIELD", signed(set_at("subject.0.digest.sha256", "A" * 64))
    for name, text in (
        ("parent", "../p59-seed0.safetensors"),
        ("absolute", "/models/p59-seed0.safetensors"),
        ("folder", "models/p59-seed0.safetensors"),
        ("backslash", "..\\p59-seed0.safetensors"),
        ("dots", "p59..safetensors"),
        ("hidden", ".p59.safetensors"),
        ("newline", "p59\n.safetensors"),
        ("final-newline", "p59.safetensors\n"),
        ("nul", "p59\0.safetensors"),
        ("suffix", "p59-seed0.pt"),
        ("long", "a" * 200 + ".safetensors"),
    ):
        yield f"4-name-{name}", "FIELD", signed(set_at("subject.0.name", text))
    yield (
        "4-mantissa-of-1000-digits",
        "FIELD",
        signed(set_at("predicate.conclusion.accuracy.min_margin.mantissa", "9" * 1000)),
    )
    yield (
        "4-exponent-of-a-million",
        "FIELD",
        signed(set_at("predicate.conclusion.accuracy.min_margin.exponent", 10**6)),
    )

    yield "5-renamed-model", "MODEL_NAME", {"model_name": b"p59-seed1.safetensors"}
    yield "5-another-model", "MODEL_DIGEST", {"model": MODEL + b"!"}
    yield "5-another-claim", "CLAIM_DIGEST", {"claim.json": make_claim(certified_inputs=1)}
    yield "5-reformatted-claim", "CLAIM_DIGEST", {"claim.json": make_claim() + b"\n"}
    yield "5-another-certificate", "CERTIFICATE_DIGEST", {"certificate.json": make_certificate(margin=9)}
    yield "5-claim-rewritten-in-proof", "CLAIM_TEXT", signed(set_at("predicate.claim.certified_inputs", 3000))
    elsewhere = make_claim(b"another model")
    yield (
        "5-claim-about-another-model",
        "CLAIM_TEXT",
        {"claim.json": elsewhere, **signed(lambda s: _reclaim(s, elsewhere))},
    )

    yield (
        "5-claim-is-not-json",
        "JSON",
        {
            "claim.json": b"all of it",
            **signed(set_at("predicate.claimDigest.sha256", hashlib.sha256(b"all of it").hexdigest())),
        },
    )

    part = "predicate.conclusion"
    yield "6-fewer-inputs-than-claimed", "CONCLUSION", signed(set_at(f"{part}.accuracy.certified_inputs", 3480))
    yield "6-other-semantics-than-claimed", "CONCLUSION", signed(set_at(f"{part}.accuracy.semantics", "real"))
    yield "6-conclusion-on-another-model", "CONCLUSION", signed(set_at(f"{part}.model.sha256", "0" * 64))
    yield (
        "6-conclusion-from-another-certificate",
        "CONCLUSION",
        signed(set_at(f"{part}.certificate.sha256", "0" * 64)),
    )
    yield "6-other-strategy-than-claimed", "CONCLUSION", signed(set_at(f"{part}.accuracy.strategy", "exact"))
    yield "6-more-explained-than-all", "FIELD", signed(set_at(f"{part}.accuracy.explained_inputs", 3482))
    unreadable = b"no model file"
    yield (
        "6-model-file-without-metadata",
        "POLICY",
        {
            "model": unreadable,
            "claim.json": make_claim(unreadable),
            **signed(lambda s: None, model=unreadable),
            **policy(rule('layout = ["a b"]')),
        },
    )
    yield "6-more-than-all-inputs", "FIELD", signed(set_at(f"{part}.accuracy.certified_inputs", 3482))
    same = [{"frequency": 3}, {"frequency": 3}]
    yield (
        "6-frequency-twice",
        "FIELD",
        signed(lambda s: [q.update(same[0]) for q in s["predicate"]["conclusion"]["quadrature"]]),
    )
    yield "6-no-rule", "NO_RULE", policy(RULES.replace("p59-*", "p113-*"))
    yield "6-excepted", "NO_RULE", policy(RULES + 'except = ["*-seed0"]\n')
    yield "6-rule-without-accuracy", "NO_RULE", policy('[[rules]]\nmodels = ["*"]\nsemantics = ["binary32"]\n')
    for name, line in (
        ("margin", 'min_margin = "1.5000000000000000000000000001"'),
        ("quadrature", 'max_relative_quadrature_bound = "38/128"'),
        ("cost", 'max_cost_per_parameter = "40"'),
        ("semantics", 'semantics = ["real"]'),
        ("p", "p = 3"),
        ("format", 'format = ["verifier-circuit/1"]'),
        ("layout", 'layout = ["a b =59"]'),
        ("attention", 'attention = ["1 1"]'),
        ("explained", 'min_explained_inputs = "all"'),
        ("error", 'max_error = "2.999"'),
        ("gap-error", 'max_gap_error = "2/16"'),
        ("relative-margin", 'min_relative_margin = "1/29"'),
    ):
        yield f"6-newer-policy-{name}", "POLICY", policy(rule(line))
    weak_claim, weak = make_claim(certified_inputs=3400), make_certificate(3400, margin=-1)
    yield (
        "6-not-all-inputs",
        "POLICY",
        {
            "claim.json": weak_claim,
            "certificate.json": weak,
            **signed(lambda s: None, claim=weak_claim, certificate=weak),
        },
    )
    two_rules = rule("") + rule('min_margin = "2"')
    yield "6-second-rule", "POLICY", policy(two_rules)

    poor = make_certificate(3000)
    yield (
        "7-certificate-does-not-prove-it",
        "REJECTED",
        {"certificate.json": poor, **signed(lambda s: _recertify(s, poor))},
    )
    for name, path, value in (
        ("margin", "accuracy.min_margin.mantissa", "4"),
        ("theorem", "theorem", "For all inputs the network is right."),
        ("logit-bound", "logits.max_error.exponent", -1),
        ("lemmas", "lemmas", {"A": "accuracy"}),
        ("cost", "cost.by_step.arcs", 1),
    ):
        yield f"7-other-{name}", "DIFFERENT", signed(set_at(f"{part}.{path}", value))
    interval = [{"mantissa": "1", "exponent": 0}] * 2
    exact = {"true_min_margin": interval, "max_deviation": interval, "wrong_inputs": 0, "wrong": []}
    yield "7-exact-fields", "DIFFERENT", signed(lambda s: s["predicate"]["conclusion"]["accuracy"].update(exact))
    yield "4-some-exact-fields", "FIELD", signed(set_at(f"{part}.accuracy.true_min_margin", interval))


def _reclaim(statement: Any, claim: bytes) -> None:
    from verifier.proof.statement import sha256

    statement["predicate"]["claim"] = json.loads(claim)
    statement["predicate"]["claimDigest"]["sha256"] = sha256(claim)


def _recertify(statement: Any, certificate: bytes) -> None:
    from verifier.proof.statement import sha256

    digest = sha256(certificate)
    statement["predicate"]["certificateDigest"]["sha256"] = digest
    statement["predicate"]["conclusion"]["certificate"]["sha256"] = digest


def accept_cases() -> Iterator[tuple[str, dict[str, object], Files]]:
    """(case, expected, files)."""
    release, second = RELEASE.public.keyid, SECOND.public.keyid

    def expect(certified: int = 3481, keyids: tuple[str, ...] = (release,)) -> dict[str, object]:
        return {"certified_inputs": certified, "keyids": list(keyids)}

    statement = make_statement()
    both = policy(keys=(RELEASE, SECOND), threshold=2)
    yield "ecdsa", expect(), {}
    yield "ed25519", expect(keyids=(second,)), {PROOF: sign(statement, SECOND), **policy(keys=(SECOND,))}
    yield "two-signatures", expect(keyids=(release, second)), {SECOND_PROOF: sign(statement, SECOND), **both}
    yield (
        "stranger-among-signers",
        expect(),
        {SECOND_PROOF: sign(statement, STRANGER), **policy(keys=(RELEASE, SECOND))},
    )
    claim, certificate = make_claim(certified_inputs=3400), make_certificate(3450, margin=0)
    yield (
        "more-than-claimed",
        expect(3450),
        {
            "claim.json": claim,
            "certificate.json": certificate,
            PROOF: sign(make_statement(claim=claim, certificate=certificate)),
            **policy('[[rules]]\nmodels = ["*"]\nmin_accuracy = "3450/3481"\n'),
        },
    )
    pretty = b" " + make_claim().replace(b",", b",\n ") + b"\n"
    yield "claim-written-by-hand", expect(), {"claim.json": pretty, PROOF: sign(make_statement(claim=pretty))}
    exact = rule(
        'min_margin = "1.5"\nmax_relative_quadrature_bound = "39/128"\np = 59\nformat = ["verifier-model/1"]\n'
        'layout = ["a b"]\nattention = ["1/2 1/2"]\nmin_explained_inputs = 3480\nmax_error = 3\n'
        'max_gap_error = "3/16"\nmin_relative_margin = "12/355"'
    )
    yield "bounds-met-exactly", expect(), policy(exact)


def survive_cases() -> Iterator[tuple[str, Files]]:
    """(case, files): noise of fixed seeds, and texts that have broken other parsers."""
    source = random.Random(2306)
    for index in range(8):
        yield f"noise-{index}", {PROOF: source.randbytes(256)}
    for index in range(8):
        position, cut = source.randrange(len(GOOD)), source.randrange(len(GOOD))
        noise = GOOD[:position] + source.randbytes(3) + GOOD[cut:]
        yield f"spliced-{index}", {PROOF: noise}
    yield "unterminated-string-of-escapes", {PROOF: b'"' + b'\\"' * 2000}
    yield "only-quotes", {PROOF: b'"' * 4001}
    yield "only-backslashes", {PROOF: b"\\" * 4000}
    yield "closing-before-opening", {PROOF: b"]" * 2000 + b"[" * 2000}
    yield "nul", {PROOF: bytes(4000)}
    yield "empty-model", {"model": b""}
    yield "empty-claim", {"claim.json": b""}
    yield "empty-certificate", {"certificate.json": b""}
    yield "empty-name", {"model_name": b""}
    yield "name-of-escapes", {"model_name": b"\x1b[2J\n::error::.safetensors"}
    yield "claim-of-noise", {"claim.json": source.randbytes(256)}


def corpus() -> dict[str, bytes]:
    """Every file of the corpus by its path."""
    files = {f"common/{name}": data for name, data in COMMON.items()}

    def add(folder: str, expected: dict[str, object] | None, replaced: Files) -> None:
        assert f"{folder}/expected.json" not in files, folder
        if expected is not None:
            files[f"{folder}/expected.json"] = json.dumps(expected, sort_keys=True).encode() + b"\n"
        for name, data in replaced.items():
            files[f"{folder}/{name}"] = data

    for case, reason, replaced in reject_cases():
        add(f"reject/{case}", {"step": int(case[0]), "reason": reason}, replaced)
    for case, expected, replaced in accept_cases():
        add(f"accept/{case}", expected, replaced)
    for case, replaced in survive_cases():
        add(f"survive/{case}", None, replaced)
    return files


def main() -> None:
    shutil.rmtree(CORPUS, ignore_errors=True)
    for name, data in corpus().items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
