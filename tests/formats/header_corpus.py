"""Model files with one oddity in the header each, for everything that reads headers: the kernel, this package's own
reader, and the safetensors library. All must read the same of a file, or refuse it.
"""

from __future__ import annotations

import json
import struct

from tests.formats.format_samples import random_model
from verifier.model import encode, fold

GOOD = encode(fold(random_model(5)))
LENGTH = struct.unpack("<Q", GOOD[:8])[0]
TEXT, BODY = GOOD[8 : 8 + LENGTH].rstrip(b" "), GOOD[8 + LENGTH :]
PROVENANCE = b'"provenance":"'


def file(text: bytes, body: bytes = BODY) -> bytes:
    return struct.pack("<Q", len(text)) + text + body


def replaced(old: bytes, new: bytes) -> bytes:
    assert old in TEXT, old
    return file(TEXT.replace(old, new, 1))


def inside(text: bytes) -> bytes:
    """With some text in the metadata."""
    return replaced(PROVENANCE + b"{", PROVENANCE + b'{\\"text\\":\\"' + text + b'\\",')


def appended(entry: bytes, body: bytes = b"") -> bytes:
    """With one more entry at the end of the header."""
    return file(TEXT[:-1] + b"," + entry + b"}", BODY + body)


ACCEPTED: dict[str, bytes] = {
    "as written": GOOD,
    "without padding": file(TEXT),
    "padded with a newline": file(TEXT + b"\n"),
    "white space": file(json.dumps(json.loads(TEXT), indent=1).replace("\n", "\r\n\t").encode()),
    "escaped letters in a name": replaced(b'"A"', b'"\\u0041"'),
    "a surrogate pair in metadata": inside(b"\\ud83d\\ude00"),
    "text that is not ASCII": inside("é€😀".encode()),
    "an escaped letter in metadata": inside(b"\\u0041"),
}

REFUSED: dict[str, bytes] = {
    "minus zero in offsets": replaced(b'"data_offsets":[0,', b'"data_offsets":[-0,'),
    "minus zero in a shape": appended(b'"x":{"dtype":"F32","shape":[-0],"data_offsets":[%d,%d]}' % ((len(BODY),) * 2)),
    "minus in offsets": replaced(b'"data_offsets":[0,', b'"data_offsets":[-1,'),
    "zero with a point": replaced(b'"data_offsets":[0,', b'"data_offsets":[0.0,'),
    "zero with an exponent": replaced(b'"data_offsets":[0,', b'"data_offsets":[0e0,'),
    "a leading zero": replaced(b'"data_offsets":[0,', b'"data_offsets":[00,'),
    "a plus sign": replaced(b'"data_offsets":[0,', b'"data_offsets":[+0,'),
    "a string for a number": replaced(b'"data_offsets":[0,', b'"data_offsets":["0",'),
    "true for a number": replaced(b'"data_offsets":[0,', b'"data_offsets":[false,'),
    "a number beyond 64 bits": replaced(b'"data_offsets":[0,', b'"data_offsets":[18446744073709551616,'),
    "a number of many digits": replaced(b'"data_offsets":[0,', b'"data_offsets":[%s,' % (b"9" * 5000)),
    "NaN": replaced(b'"data_offsets":[0,', b'"data_offsets":[NaN,'),
    "Infinity in an entry": appended(b'"x":Infinity'),
    "half of a surrogate pair in metadata": inside(b"\\ud800"),
    "the other half": inside(b"\\udc00"),
    "a surrogate pair the wrong way round": inside(b"\\ude00\\ud83d"),
    "half of a surrogate pair before an escape": inside(b"\\ud800\\u0041"),
    "half of a surrogate pair in a name": replaced(b'"A"', b'"A\\ud800"'),
    "an encoded surrogate": inside(b"\xed\xa0\x80"),
    "bytes that are not UTF-8": inside(b"\xff"),
    "an overlong encoding": inside(b"\xc0\xaf"),
    "a control character": inside(b"\x01"),
    "a raw newline in a string": inside(b"\n"),
    "an unknown escape": inside(b"\\x41"),
    "a byte order mark": file(b"\xef\xbb\xbf" + TEXT),
    "a nul behind": file(TEXT + b"\0"),
    "something behind": file(TEXT + b"{}"),
    "a comment": file(TEXT[:-1] + b"/**/}"),
    "a trailing comma": file(TEXT[:-1] + b",}"),
    "a form feed": file(TEXT + b"\f"),
    "a no-break space": file(TEXT + "\u00a0".encode()),
    "white space in front": file(b" " + TEXT),
    "a list": file(b"[" + TEXT + b"]"),
    "a tensor twice": appended(b'"A":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}'),
    "a tensor twice, once escaped": appended(b'"\\u0041":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}'),
    "metadata twice": appended(b'"__metadata__":{"format":"verifier-circuit/1"}'),
    "metadata twice, once escaped": appended(b'"__metadata\\u005f_":{"format":"verifier-circuit/1"}'),
    "a field of metadata twice": replaced(PROVENANCE, b'"p":"7",' + PROVENANCE),
    "a field of an entry twice": replaced(b'"shape":', b'"shape":[1],"shape":'),
    "metadata null": file(
        TEXT[: TEXT.index(b'"__metadata__"')] + b'"__metadata__":null' + TEXT[TEXT.index(b'},"') + 1 :]
    ),
    "a number in metadata": replaced(b'"p":"5"', b'"p":5'),
    "an unknown field of an entry": replaced(b'"shape":', b'"extra":0,"shape":'),
    "a dtype in small letters": replaced(b'"F64"', b'"f64"'),
    "an empty tensor": appended(b'"x":{"dtype":"F64","shape":[0],"data_offsets":[%d,%d]}' % ((len(BODY),) * 2)),
    "an unknown tensor": appended(
        b'"x":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}' % (len(BODY), len(BODY) + 1), b"!"
    ),
    "a hole": appended(
        b'"x":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}' % (len(BODY) + 1, len(BODY) + 2), b"!!"
    ),
    "data behind": GOOD + b"!",
    "data missing": GOOD[:-1],
    "a length beyond the file": struct.pack("<Q", 1 << 20) + GOOD[8:],
    "a length beyond 64 bits of sense": struct.pack("<Q", (1 << 64) - 1) + GOOD[8:],
    "no header": b"",
    "an empty header": file(b""),
    "deep nesting": appended(b'"x":' + b"[" * 5000 + b"]" * 5000),
}
"""Some of these the library accepts: it is laxer, which does no harm where nothing is read otherwise."""
