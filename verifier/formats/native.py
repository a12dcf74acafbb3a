"""Native files are read as they are; options that would change what they say are refused."""

from __future__ import annotations

from verifier.errors import InputError
from verifier.formats._reading import Options
from verifier.model import FoldedCircuit, Model, decode

FORMAT = "native"


def read(data: bytes, source: str, options: Options) -> Model | FoldedCircuit:
    """Decode a native file of either form.

    **Raises** `InputError`.
    """
    for option, value in (("--attention", options.attention), ("--layout", options.layout)):
        if value is not None:
            raise InputError(source, option, "does not apply: a native file says what its attention and layout are")
    model = decode(data, source)
    if options.p not in (None, model.p):
        raise InputError(source, "--p", f"is {options.p}, and the file says p = {model.p}")
    return model
