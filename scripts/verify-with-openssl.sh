#!/bin/sh
# Verifies a proof with openssl, sha256sum and POSIX text tools; no Python, nothing of this project.
#
#   verify-with-openssl.sh PROOF MODEL PUBLIC_KEY
#
# PROOF is certificates/<name>/proof.sigstore.json; claim.json and certificate.json are looked for beside it.
# PUBLIC_KEY is a PEM file that you have from someone you trust, not from the sender of the proof.
#
# Checked: canonical base64; the key's fingerprint is the one in the proof; the signature over the pre-authentication
# encoding of the payload, and for ECDSA that it is the one of the two with the smaller s; payload, statement and predicate type; name and SHA-256 of the model; SHA-256 of claim and certificate.
# Not checked: the policy, and the proof itself. Only the kernel re-proves it: python -m verifier verify.
#
# Exit codes: 0 verified; 1 a check failed; 2 usage, or the proof cannot be read.

set -eu
LC_ALL=C
export LC_ALL

media_type=application/vnd.dev.sigstore.bundle.v0.3+json
payload_type=application/vnd.in-toto+json
statement_type=https://in-toto.io/Statement/v1
predicate_type=https://modular-addition-verifier.invalid/proof/v2

bad() { echo "verify-with-openssl: $*" >&2; exit 2; }
fail() { echo "verify-with-openssl: FAILED: $*" >&2; exit 1; }

[ $# -eq 3 ] || bad "usage: verify-with-openssl.sh PROOF MODEL PUBLIC_KEY"
proof=$1 model=$2 key=$3
folder=$(dirname -- "$proof")
claim=$folder/claim.json
certificate=$folder/certificate.json
for file in "$proof" "$model" "$key" "$claim" "$certificate"; do
    [ -f "$file" ] || bad "$file: no such file"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The bundle is canonical JSON: one line, sorted names, no white space. The whole line must match, so that the parts
# are where they seem to be. In a JSON string a quotation mark is escaped, so none of the patterns fits inside one.
base64='[A-Za-z0-9+/]*=\{0,2\}'
keyid='SHA256:[A-Za-z0-9+/]\{43\}'
bundle="^{\"dsseEnvelope\":{\"payload\":\"\\($base64\\)\",\"payloadType\":\"\\([^\"]*\\)\",\"signatures\":\\[{\"keyid\":\"\\($keyid\\)\",\"sig\":\"\\($base64\\)\"}\\]},\"mediaType\":\"$media_type\",\"verificationMaterial\":{\"publicKey\":{\"hint\":\"\\($keyid\\)\"}}}\$"
field() { sed -n "s#$bundle#\\$1#p" "$proof"; }
[ "$(grep -c "" "$proof")" -le 1 ] || bad "$proof: more than one line"
[ -n "$(field 3)" ] || bad "$proof: not a proof in canonical form"
[ "$(field 3)" = "$(field 5)" ] || bad "$proof: the hint names another key than the signature"
[ "$(field 2)" = "$payload_type" ] || fail "the payload type is $(field 2)"
for part in 1:payload 4:signature; do # one text per value: what is decoded must encode to the same
    field "${part%:*}" | openssl base64 -d -A > "$work/${part#*:}" || bad "$proof: the ${part#*:} is not base64"
    [ "$(openssl base64 -A < "$work/${part#*:}")" = "$(field "${part%:*}")" ] ||
        bad "$proof: the ${part#*:} is not canonical base64"
done

# The key: its SSH fingerprint, from the public key in wire format.
openssl pkey -pubin -in "$key" -pubout -outform DER -out "$work/key" 2> /dev/null || bad "$key: not a public key"
prefix=$(od -An -v -tx1 "$work/key" | tr -d ' \n')
case $prefix in
    3059301306072a8648ce3d020106082a8648ce3d03010703420004*) # P-256: the last 65 bytes are the point
        kind=ecdsa
        { printf '\000\000\000\023ecdsa-sha2-nistp256\000\000\000\010nistp256\000\000\000\101'
          tail -c 65 "$work/key"; } > "$work/ssh" ;;
    302a300506032b6570032100*) # Ed25519: the last 32 bytes are the key
        kind=ed25519
        { printf '\000\000\000\013ssh-ed25519\000\000\000\040'; tail -c 32 "$work/key"; } > "$work/ssh" ;;
    *) bad "$key: neither ECDSA over P-256 nor Ed25519" ;;
esac
fingerprint=SHA256:$(openssl dgst -sha256 -binary "$work/ssh" | openssl base64 -A | tr -d =)
[ "$fingerprint" = "$(field 3)" ] || fail "signed by $(field 3), and the key is $fingerprint"

# The signature, over DSSEv1 LEN(type) type LEN(payload) payload.
size=$(wc -c < "$work/payload")
{ printf 'DSSEv1 %d %s %d ' ${#payload_type} "$payload_type" "$size"; cat "$work/payload"; } > "$work/signed"
if [ "$kind" = ecdsa ]; then
    # DER: 30 length, 02 length r, 02 length s, in hexadecimal; s without its zeros in front against n/2.
    der=$(od -An -v -tx1 "$work/signature" | tr -d ' \n')
    r=$(printf %d "0x0$(printf %s "$der" | cut -c 7-8)")
    s=$(printf %s "$der" | cut -c "$((8 + 2 * r + 5))-" | sed 's/^0*//')
    half=7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8
    { [ ${#s} -lt 64 ] || { [ ${#s} -eq 64 ] && [ "$(printf '%s\n' "$s" $half | sort | tail -n 1)" = $half ]; }; } ||
        fail "the signature is not the one with the smaller s"
    openssl dgst -sha256 -verify "$key" -signature "$work/signature" "$work/signed" > /dev/null 2>&1
else
    openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$work/signed" -sigfile "$work/signature" > /dev/null 2>&1
fi || fail "the signature is not valid"

# The statement, signed by now: its types, and the digests. It is canonical too, and one line.
hex='[0-9a-f]\{64\}'
name='[A-Za-z0-9._-]*\.safetensors'
statement="^{\"_type\":\"$statement_type\",\"predicate\":{\"certificateDigest\":{\"sha256\":\"\\($hex\\)\"},\"claim\":{.*},\"claimDigest\":{\"sha256\":\"\\($hex\\)\"},\"conclusion\":{.*},\"environment\":{[^{}]*}},\"predicateType\":\"$predicate_type\",\"subject\":\\[{\"digest\":{\"sha256\":\"\\($hex\\)\"},\"name\":\"\\($name\\)\"}\\]}\$"
part() { sed -n "s#$statement#\\$1#p" "$work/payload"; }
[ -n "$(part 3)" ] || fail "the payload is not a statement of type $statement_type and $predicate_type"
[ "$(part 4)" = "$(basename -- "$model")" ] || fail "the proof is about $(part 4)"
compare() {
    digest=$(sha256sum < "$1" | cut -d ' ' -f 1)
    [ "$digest" = "$2" ] || fail "$1 has SHA-256 $digest, and $2 was signed"
}
compare "$certificate" "$(part 1)"
compare "$claim" "$(part 2)"
compare "$model" "$(part 3)"

echo "signature, types and digests verified: $(basename -- "$model"), signed by $fingerprint"
theorem=$(sed -n 's#^.*"theorem":"\([^"\\]*\)".*$#\1#p' "$work/payload")
echo "signed theorem: $theorem"
echo "not checked: the policy, and the proof itself (python -m verifier verify)"
