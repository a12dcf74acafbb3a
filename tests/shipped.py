"""The shipped models as tests use them: each explained and checked once per run, and evaluated in float64."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier import prove, store
from verifier.formats import import_file
from verifier.kernel import Conclusion, Dyadic, Evidence
from verifier.kernel.claim import ADDITION
from verifier.model import FoldedCircuit, circuit_for, decode
from verifier.proof.keys import read_public_key

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
SMALL = MODELS / "pizza-p23.safetensors"
POISONED = ROOT / "tests" / "data" / "pizza-p23-poisoned.safetensors"
WRONG_ANSWERS = {(3, 5): 20, (10, 20): 1}
"""What the poisoned model was taught."""

SHIPPED = sorted(path.stem for path in MODELS.glob("*.safetensors"))

Array = NDArray[np.float64]


def value(number: Dyadic) -> float:
    return number.mantissa * 2.0**number.exponent


@dataclass(frozen=True, eq=False)
class Certified:
    """A model with the claim, the certificate, and the conclusion that `certify` would sign."""

    path: Path
    prepared: store.Prepared

    @property
    def source(self) -> prove.Source:
        return self.prepared.source

    @property
    def claim(self) -> bytes:
        return self.prepared.claim

    @property
    def certificate(self) -> bytes:
        return self.prepared.certificate

    @property
    def outcome(self) -> prove.Outcome:
        return self.prepared.outcome

    @property
    def conclusion(self) -> Conclusion:
        assert self.outcome.proved, self.outcome.failure
        assert self.outcome.checked is not None
        return self.outcome.checked.conclusion

    @property
    def evidence(self) -> Evidence:
        assert self.outcome.checked is not None
        return self.outcome.checked.evidence

    @property
    def explanation(self) -> Any:
        return json.loads(self.certificate)


@cache
def certified(path: Path) -> Certified:
    """What `verifier certify` does, up to the signature."""
    job = store.Job(path, import_file, prove.Request(), None, prove.MARGIN_SHARE, Path("nowhere"), None)
    return Certified(path, store.prepare(job))


@dataclass(frozen=True)
class Truth:
    """Every logit of every input, [c, a, b], in float64; its rounding error is far below 1e-6."""

    p: int
    circuit: FoldedCircuit
    logits: Array

    def margins(self) -> Array:
        """[a, b]: the logit of a + b minus the largest other one."""
        a, b = np.meshgrid(np.arange(self.p), np.arange(self.p), indexing="ij")
        right = self.logits[(a + b) % self.p, a, b]
        others = self.logits.copy()
        others[(a + b) % self.p, a, b] = -np.inf
        return np.asarray(right - others.max(axis=0))


@cache
def truth(path: Path) -> Truth:
    model = decode(path.read_bytes(), str(path))
    circuit, own = circuit_for(ADDITION, model)
    if own is not None:  # learned attention: the circuit is at its middles
        logits = own(*np.divmod(np.arange(circuit.p**2), circuit.p))[1].T
        return Truth(circuit.p, circuit, logits.reshape(-1, circuit.p, circuit.p))
    hidden = np.maximum(circuit.A[:, :, None] + circuit.B[:, None, :], 0.0)
    logits = np.tensordot(circuit.W, hidden, axes=1)
    if circuit.S1 is not None:
        logits += circuit.S1[:, :, None]
    if circuit.S2 is not None:
        logits += circuit.S2[:, None, :]
    return Truth(circuit.p, circuit, logits)


def policy_of(key: Path) -> str:
    """A policy that asks for everything and trusts one key."""
    pem = read_public_key(key).pem.decode()
    return f"""format = "verifier-policy/1"
predicate_types = ["https://modular-addition-verifier.invalid/proof/v2"]
[signatures]
threshold = 1
[[signatures.keys]]
name = "release"
pem = '''{pem}'''
[[rules]]
models = ["*"]
certified_inputs = "all"
semantics = ["binary32"]
"""
