"""Whole transformers, with declared, loose and learned attention, in every arithmetic and strategy: each conclusion is
confronted with a run of the network by other code (`verifier.audit`), in double precision and in binary32.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.strategies import ONE, PHASE, claim_of, tensor_file
from verifier.audit import audit, network
from verifier.kernel import Reason, Rejected, check

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "soundness"
ATTENTION = (
    "1/2",
    "1/2 1/2",
    "1/3 1/3 1/3",
    "2/5:3/5 1/2",
    "-1:1 0:1/7 1/3",
    "softmax 1/sqrt(2)",
    "softmax 3/2",
    "softmax 1",
)


def transformer(rng: random.Random, attention: str, p: int, size: float = 1.0) -> bytes:
    learned = attention.startswith("softmax")
    count = rng.choice((2, 3)) if learned else len(attention.split(" "))
    layout = ["a", "b", "=" + str(p)][:count] if count > 1 else ["a"]
    if learned and rng.random() < 0.4:
        layout = layout[::-1]
    d, h, k, n, q = rng.choice((2, 5)), rng.choice((1, 2)), 2, rng.choice((3, 6)), p + rng.choice((0, 0, 2))
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (p + 1, d),
        "pos_embed.W_pos": (count, d),
        **{f"blocks.0.attn.W_{x}": (h, d, k) for x in ("QKV" if learned else "V")},
        **{f"blocks.0.attn.b_{x}": (h, k) for x in ("QKV" if learned else "V")},
        "blocks.0.attn.W_O": (h, k, d),
        "blocks.0.attn.b_O": (d,),
        "blocks.0.mlp.W_in": (d, n),
        "blocks.0.mlp.b_in": (n,),
        "blocks.0.mlp.W_out": (n, d),
        "blocks.0.mlp.b_out": (d,),
        "unembed.W_U": (d, q),
        "unembed.b_U": (q,),
    }
    tensors: dict[str, tuple[Sequence[int], Sequence[float]]] = {}
    for name, shape in shapes.items():
        scale = 0.05 if name[-3:] in ("W_Q", "W_K") and rng.random() < 0.7 else size
        scale = 0.0 if name[-3:] == "W_K" and rng.random() < 0.2 else scale
        tensors[name] = (shape, [scale * rng.gauss(0, 1) for _ in range(int(np.prod(shape)))])
    metadata = {"format": "verifier-model/1", "task": "(a + b) mod p", "p": str(p), "provenance": "{}"}
    return tensor_file(tensors, {**metadata, "layout": " ".join(layout), "attention": attention}, "f")


def files(rng: random.Random, model: bytes, p: int, strategy: str, semantics: str) -> tuple[bytes, bytes, bytes]:
    n, q = network(model).w.shape
    digest = hashlib.sha256(model).hexdigest()
    members = [[i, rng.randrange(1, 1 << 30), rng.randrange(PHASE)] for i in range(n - 1)]
    family = {"frequency": 1, "dc": 0, "profile": [[ONE, 0, ONE, 0]], "outputs": 1, "members": members}
    unit = 1 << 20
    certificate: dict[str, Any] = {
        "format": "verifier-certificate/2",
        "model_sha256": digest,
        "p": p,
        "neurons": n,
        "amplitude_exponent": -30,
        "directions": [[unit if c == column else 0 for column in range(q)] for c in range(q)],
        "families": [family],
        "others": [{"frequency": 1, "neurons": [n - 1]}],
        "nodes": 64,
        "boxes": [{"frequency": 1, "whole": 0, "half": 0}],
    }
    return model, claim_of(model, p, strategy, semantics), json.dumps(certificate).encode()


@pytest.mark.soundness
@pytest.mark.parametrize("attention", ATTENTION)
def test_conclusions_about_transformers_are_true(attention: str) -> None:
    rng, counts = random.Random(attention), Counter[str]()
    for _ in range(300 if LONG else 6):
        p = rng.choice((3, 5))
        model = transformer(rng, attention, p)
        for strategy in ("linear", "exact", "semi-linear"):
            semantics = rng.choice(("real", "binary32", "binary32", "tf32", "bfloat16"))
            model, claim, certificate = files(rng, model, p, strategy, semantics)
            try:
                found = check(model, claim, certificate)
            except Rejected as error:
                counts[error.reason.name] += 1
                continue
            document = json.loads(json.dumps(found.conclusion.document()))
            # Rounding decides directions of a moment near zero; events of learned attention are those of the middles.
            bad = [
                x
                for x in audit(model, certificate, document)
                if not x.agrees and "Theorem Q" not in x.name and not ("events" in x.name and attention != "1/2 1/2")
            ]
            assert not bad, f"{strategy}, {semantics}: {bad}"
            counts[strategy] += 1
    assert counts["linear"] + counts["exact"] > 3
    assert attention.startswith("softmax") == (counts["semi-linear"] > 0)


def test_weights_that_overflow_have_no_bound_in_binary32() -> None:
    rng = random.Random(1)
    model = transformer(rng, "1/2 1/2", 3, 1e34)
    with pytest.raises(Rejected) as refused:
        check(*files(rng, model, 3, "exact", "binary32"))
    assert refused.value.reason in (Reason.NOT_PROVED, Reason.CAPACITY)
