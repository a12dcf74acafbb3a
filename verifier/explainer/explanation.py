"""The explanation of a circuit: its certificate, and its figures in float64 (untrusted)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from verifier.explainer.certificate import decode, encode
from verifier.explainer.deformation import find_deformation
from verifier.explainer.directions import certified_margins, deviations, find_directions, known_rest
from verifier.explainer.families import Family, closed_form, find_families
from verifier.explainer.orders import active_ranks, count_events, find_orders
from verifier.explainer.reading import Activations, Array, Complex, Reading, read, sample, turned, turns
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


@dataclass(frozen=True, slots=True)
class Figures:
    """What a certificate is worth: estimates, over the sampled inputs, of what the kernel proves.

    **Fields**

    - `directions` L; `families`; `others`: neurons outside families.
    - `true_margin`, `certified_margin`: the least ones. `right`, `certified`: shares of the inputs.
    - `error` E and `least_gap` γ of the closed form; `gap_error` ρ (infinite when a gap of the closed form is not
      positive); `explained`: the share of the inputs with γ(δ) > 2E(δ).
    - `relative_bound`: by frequency, the quadrature rule's error at the inputs (arc sum) over the naive bound.
    - `events`, `parameters`.
    """

    directions: int
    families: int
    others: int
    true_margin: float
    certified_margin: float
    right: float
    certified: float
    error: float
    least_gap: float
    gap_error: float
    explained: float
    relative_bound: dict[int, float]
    events: int
    parameters: int


def figures(circuit: FoldedCircuit, certificate: bytes) -> Figures:
    r = read(circuit)
    s = sample(r)
    families, u, orders, deformation = decode(r, certificate)
    certified = certified_margins(r, s, u)
    rest = known_rest(r, s, u)[0].reshape(len(s.deltas), len(s.columns))
    coefficients = closed_form(r, families, s.deltas)
    form = pure_table(r, coefficients)
    if deformation is not None:
        form = form + deformation.table(r, s, coefficients)
    known = turned(r, s, (s.logits @ u) @ u.T)
    error = deviations(r, s, form, u).max(axis=1)
    gaps, network = form[:, :, :1] - form[:, :, 1:], known[:, :, :1] - known[:, :, 1:]
    least = gaps.min(axis=(1, 2))
    missed = (np.abs(network - gaps) + rest[:, :, None]) / np.where(gaps > 0, gaps, np.nan)
    explained = np.repeat(least > 2 * error, len(s.columns))
    if len(r.w) > r.p:
        explained &= certified > 0
    used = [(f.frequency, f.neurons) for f in families] + list(orders.items())
    ranks = active_ranks(r.a, r.b)
    scale = 2.0 ** (r.exponent + r.out_exponent)
    n, q = len(r.a), len(r.w)
    return Figures(
        directions=u.shape[1],
        families=len(families),
        others=sum(map(len, orders.values())),
        true_margin=float(s.margins.min()) * scale,
        certified_margin=float(certified.min()) * scale,
        right=float((s.margins > 0).mean()),
        certified=float((certified > 0).mean()),
        error=float(error.max()) * scale,
        least_gap=float(least.min()) * scale,
        gap_error=float(missed.max()) if (least > 0).all() else np.inf,
        explained=float(explained.mean()),
        relative_bound={f.frequency: _rule_error(r, f) for f in families},
        events=sum(int(count_events(ranks[:, neurons], k).sum()) for k, neurons in used),
        parameters=n * (2 * r.p + q) + 2 * r.p * q,
    )


def _rule_error(r: Reading, f: Family) -> float:
    """Theorem Q's arc sum over the naive bound 4/(3π): the largest error of the rule at the phases v = m/2p."""
    rule = f.amplitude * r.zw[f.neurons, f.frequency]
    total = np.abs(rule).sum()
    moment = (rule * turns(-2 * f.phase)).sum()
    v = np.arange(2 * r.p)[:, None] / (2 * r.p)
    lens: Array = turns(2 * v[:, 0]) * (np.maximum(np.cos(2 * np.pi * (v + f.phase)), 0) @ rule)
    return float(np.abs(lens - total / (3 * np.pi) * moment / np.abs(moment)).max() * 1.5 * np.pi**2 / total)


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
