"""The explanation of a circuit: its certificate (untrusted)."""

from __future__ import annotations

import numpy as np

from verifier.explainer.certificate import encode
from verifier.explainer.deformation import find_deformation
from verifier.explainer.directions import find_directions
from verifier.explainer.families import closed_form, find_families
from verifier.explainer.orders import find_orders
from verifier.explainer.reading import Activations, Array, Complex, Reading, read, sample, turns
from verifier.model import FoldedCircuit


def explain(
    circuit: FoldedCircuit, model_sha256: str, margin_share: float = 0.975, activations: Activations | None = None
) -> bytes:
    """A certificate (docs/certificate.md), the same for the same circuit and numpy.

    **Arguments**

    - `margin_share`: how much of the true least margin the output directions should leave to certify, and how near the
      bound of the logits' deviation from the closed form should be to the true one.
    - `activations`: for learned attention, what the network itself does; `circuit` then has the mean attention.
    """
    r = read(circuit)
    s = sample(r, activations)
    families = find_families(r, s)
    inside = np.concatenate([f.neurons for f in families]) if families else np.zeros(0, np.int64)
    others = np.setdiff1d(np.arange(len(r.a)), inside)
    known = [f.frequency for f in sorted(families, key=lambda f: -len(f.neurons))]
    orders = find_orders(r, others, known)
    table, deformation = None, None
    if families:
        form = closed_form(r, families, s.deltas)
        table = pure_table(r, form)
        deformation = find_deformation(r, s, form, table)
        if deformation is not None:
            table = table + deformation.table(r, s, form)
    directions = find_directions(r, s, table, margin_share, 2 * len(families) + 2)
    return encode(r, families, directions, orders, deformation, model_sha256)


def pure_table(r: Reading, form: dict[int, Complex]) -> Array:
    """The pure closed form by δ, 1 and c − (a + b); `form` by output frequency."""
    waves = [(g[:, None, None] * turns(j * np.arange(r.p) / r.p)).real for j, g in form.items()]
    return np.asarray(sum(waves, np.zeros((1, 1, r.p))))


def describe(circuit: FoldedCircuit) -> str:
    """How far single frequencies go to explain the neurons, in one sentence of estimates."""
    r = read(circuit)
    half = (r.p - 1) // 2
    power = (np.abs(r.za) ** 2 + np.abs(r.zb) ** 2)[:, 1 : half + 1]
    ordered, whole = np.sort(power, axis=1), power.sum(axis=1)
    share = np.divide(ordered[:, -1], whole, out=np.zeros_like(whole), where=whole > 0)
    mixed = int((ordered[:, -2] > 0.09 * ordered[:, -1]).sum()) if half > 1 else 0
    least, median = np.quantile(share, (0.1, 0.5))
    return (
        f"estimates: {len(set(r.frequency.tolist()))} dominant input frequencies; a neuron's own carries "
        f"{median:.0%} of what varies in it (median; {least:.0%} for the least tenth); {mixed} of {len(share)} "
        "neurons have a second one with 30 % of its amplitude or more, so that their phases fill two dimensions"
    )
