"""The safetensors container in numpy: a deterministic writer and a strict reader (untrusted).

The safetensors library writes the metadata in a random order, which would change the SHA-256 that a theorem
names, so the bytes are made here and the library is used to test them. The kernel parses the same bytes
itself.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError
from verifier.kernel import Rejected
from verifier.kernel.forms import Integer, Items, Record, choice, decode
from verifier.kernel.limits import HEADER_BYTES

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # numpy has no bfloat16: the bits
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(text): name for name, text in DTYPES.items() if name in ("F64", "F32")}
_SIZE = Integer(0, 1 << 40)
ENTRY = Record({"dtype": choice(*DTYPES), "shape": Items(_SIZE, 0, 8), "data_offsets": Items(_SIZE, 2, 2)})


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A decoded file: metadata, tensors (read-only views of the data), and dtypes as the file names them."""

    metadata: dict[str, str]
    tensors: dict[str, NDArray[Any]]
    dtypes: dict[str, str]


def encode_tensors(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Serialise float32 and float64 arrays; the same bytes for the same content.

    **Raises** `KeyError` for another dtype, which is a bug of the caller.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset, chunks = 0, []
    for name in sorted(tensors):
        dtype = _NAMES[tensors[name].dtype.newbyteorder("<")]
        chunk = np.ascontiguousarray(tensors[name], dtype=DTYPES[dtype]).tobytes()
        header[name] = {
            "data_offsets": [offset, offset + len(chunk)],
            "dtype": dtype,
            "shape": list(tensors[name].shape),
        }
        offset += len(chunk)
        chunks.append(chunk)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)


def looks_like_tensors(data: bytes) -> bool:
    """Whether `data` begins like a safetensors file: a length, then a JSON object."""
    return len(data) >= 9 and int.from_bytes(data[:8], "little") <= HEADER_BYTES and data[8:9] == b"{"


def decode_tensors(data: bytes, source: str) -> TensorFile:
    """Decode a whole safetensors file, called `source` in messages.

    **Raises** `InputError` unless the header is strict JSON and the tensors tile the data.
    """
    header, metadata, length = _header(data, source)
    body = memoryview(data)[8 + length :]
    tensors: dict[str, NDArray[Any]] = {}
    dtypes: dict[str, str] = {}
    at = 0
    entries: dict[str, Any] = {}
    for name, entry in header.items():
        try:
            entries[name] = ENTRY.read(entry, "its entry")
        except Rejected as error:
            raise InputError(source, f"tensor {name}", f"is not well-formed; {error.detail}") from None
    # By start and end, so that an empty tensor comes before the one that starts where it does.
    for start, end, name in sorted((*entry["data_offsets"], name) for name, entry in entries.items()):
        dtype, shape = entries[name]["dtype"], entries[name]["shape"]
        size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        if start != at or end != start + size:
            rule = "has data_offsets that overlap, leave a hole or contradict its shape"
            raise InputError(source, f"tensor {name}", rule)
        if end > len(body):
            raise InputError(source, f"tensor {name}", "is cut off; the file is truncated")
        tensors[name] = np.frombuffer(body[start:end], dtype=DTYPES[dtype]).reshape(shape)
        dtypes[name] = dtype
        at = end
    if at != len(body):
        raise InputError(source, "", f"has {len(body)} bytes of data where its tensors need {at}")
    return TensorFile(metadata, tensors, dtypes)


def read_metadata(data: bytes, source: str) -> dict[str, str]:
    """The metadata alone.

    **Raises** `InputError`.
    """
    return _header(data, source)[1]


def _header(data: bytes, source: str) -> tuple[dict[str, Any], dict[str, str], int]:
    """The entries of the tensors, the metadata, and how many bytes the header has.

    **Raises** `InputError`.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= HEADER_BYTES:
        raise InputError(source, "header", f"must be a safetensors header of 2 to {HEADER_BYTES} bytes")
    if 8 + length > len(data):
        raise InputError(source, "header", "is cut off; the file is truncated")
    if data[8:9] != b"{":
        raise InputError(source, "header", "must be a JSON object, from its first byte on")

    try:
        header: Any = decode(data[8 : 8 + length], "header", HEADER_BYTES)
    except Rejected as error:
        raise InputError(source, "header", f"must be JSON ({error.detail.removeprefix('header: ')})") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise InputError(source, "__metadata__", "must be an object of strings")
    return header, metadata, length
