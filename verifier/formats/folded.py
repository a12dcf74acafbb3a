"""Folded circuits: the tables A, B, W and optionally S1, S2, in an `.npz` or safetensors file or in memory.

For two-layer MLPs on one-hot inputs, and for models folded elsewhere. The tables are taken as they are.
"""

from __future__ import annotations

import numpy as np

from verifier.errors import InputError
from verifier.formats._reading import Options
from verifier.formats._state import State
from verifier.model import FoldedCircuit, require_valid

FORMAT = "folded"
TABLES = ("A", "B", "W", "S1", "S2")
OPTIONAL = ("S1", "S2")
SUPPORTED = "A [n, p], B [n, p], W [q, n], and optionally S1 [q, p], S2 [q, p]"


def read(state: State, options: Options) -> FoldedCircuit:
    """A circuit from its tables; it has no provenance yet.

    **Raises** `InputError`.
    """
    tables, dtypes, source = state.tensors, state.dtypes, state.source
    if options.attention is not None or options.layout is not None:
        option = "--attention" if options.attention is not None else "--layout"
        raise InputError(source, option, "does not apply: a folded circuit has no attention and no positions")
    for name in sorted(tables.keys() - set(TABLES)):
        raise InputError(source, f"tensor {name}", f"is left over; a folded circuit is {SUPPORTED}")
    for name in TABLES:
        if name not in tables and name not in OPTIONAL:
            raise InputError(source, f"tensor {name}", f"is missing; a folded circuit is {SUPPORTED}")
        if name in tables and dtypes[name] not in ("float32", "float64"):
            rule = f"is {dtypes[name]}; it must be float32 or float64: convert it, and that is what is proved"
            raise InputError(source, f"tensor {name}", rule)
        if name in tables and tables[name].ndim != 2:
            rule = f"has {tables[name].ndim} dimensions; a folded circuit is {SUPPORTED}"
            raise InputError(source, f"tensor {name}", rule)
    A, W = tables["A"], tables["W"]
    if W.shape[1] != A.shape[0]:
        hint = "; is it transposed?" if W.shape[0] == A.shape[0] else ""
        rule = f"has the shape {list(W.shape)}, and A has {A.shape[0]} neurons; it must be [q, n]{hint}"
        raise InputError(source, "tensor W", rule)
    if options.p not in (None, A.shape[1]):
        rule = f"has the shape {list(A.shape)}, which does not fit p = {options.p}; it must be [n, p]"
        raise InputError(source, "tensor A", rule)
    plain = {name: np.ascontiguousarray(table, dtype=dtypes[name]) for name, table in tables.items()}
    circuit = FoldedCircuit(
        p=A.shape[1],
        A=plain["A"],
        B=plain["B"],
        W=plain["W"],
        S1=plain.get("S1"),
        S2=plain.get("S2"),
        provenance={},
    )
    require_valid(circuit, source)
    return circuit
