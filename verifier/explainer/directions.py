"""Output directions (Lemma B): as few as lose little of the true margin and of the true deviation (float64).

With orthonormal directions U the kernel knows UUᵀ·logits exactly and charges η = Σ_i range_c(V[:, i])·h_i for the
rest V = W − UUᵀW, the skips' rest beside it. That is a sum of norms, not of squares; so the singular vectors of W are
reweighted until they make the sum of norms small (each column by the root of mean activation over norm of its rest).
"""

from __future__ import annotations

import numpy as np

from verifier.explainer.reading import Array, Reading, Sample, leads, turned

DIRECTIONS = 64
BITS = 20  # entries are integer multiples of 2^-20
BASIS = 128  # directions are looked for among so many singular vectors
ROUNDS = 6


def find_directions(r: Reading, s: Sample, form: Array | None, margin_share: float, first: int) -> Array:
    """The fewest directions (q, L) with which at least `margin_share` of the true least margin is certified, and with
    which the true deviation from the closed form is at least that share of the bound; if none do, of what the best
    reach. If not all inputs are right: the fewest that certify as many as can be.

    **Arguments**

    - `form`: the closed form by δ, b (or 1) and c − (a + b), if there is one.
    - `first`: the number to try first.
    """
    true_deviation = None if form is None else float(deviations(r, s, form, np.eye(len(r.w))).max())
    table = np.concatenate([_centred(x, r.p) for x in (r.w, r.s1, r.s2)], axis=1)
    mean = np.concatenate([s.hidden.mean(axis=0), np.full(2 * r.p, 1 / r.p)])
    start = np.concatenate([s.hidden.max(axis=0), np.ones(2 * r.p)])
    basis = _leading(table * start, min(BASIS, len(table)))
    inside = basis.T @ table
    outside = np.maximum((table**2).sum(axis=0) - (inside**2).sum(axis=0), 0)

    def tried(count: int) -> tuple[float, Array]:
        u: Array = np.rint(2.0**BITS * (basis @ _reweighted(inside, outside, mean, start, count))) * 2.0**-BITS
        share = certified_share(s.margins, certified_margins(r, s, u))
        if form is not None and true_deviation is not None and s.margins.min() > 0:
            share = min(share, true_deviation / float(deviations(r, s, form, u).max()))
        return share, u

    low, high, count = 1, min(DIRECTIONS, len(table)), first
    most, best = tried(high)
    sound = s.margins.min() > 0 and most > 0
    wanted = margin_share * (1.0 if most >= margin_share else most) if sound else most
    while low < high:
        count = min(max(count, low), high - 1)
        share, u = tried(count)
        if share >= wanted:
            high, best = count, u
        else:
            low = count + 1
        count = (low + high) // 2
    return best


def _centred(table: Array, p: int) -> Array:
    """Without what all of the first p outputs share, and without what all others share: no difference depends on it."""
    parts = [part - part.mean(axis=0) for part in (table[:p], table[p:]) if len(part)]
    return np.concatenate(parts)


def _leading(table: Array, count: int) -> Array:
    """The leading left singular vectors."""
    vectors: Array = np.linalg.eigh(table @ table.T)[1][:, ::-1][:, :count]
    return vectors


def _reweighted(inside: Array, outside: Array, mean: Array, start: Array, count: int) -> Array:
    weight, u = start, inside[:, :0]
    for _ in range(ROUNDS):
        u = _leading(inside * weight, count)
        rest = np.sqrt(np.maximum((inside**2).sum(axis=0) - ((u.T @ inside) ** 2).sum(axis=0), 0) + outside)
        weight = np.sqrt(mean / (rest + 0.02 * rest.max() + 1e-30))
    return u


def certified_margins(r: Reading, s: Sample, u: Array) -> Array:
    """What the kernel will find, but for rounding: input by input, the least lead of the answer, less what U lacks."""
    p, answers = r.p, (s.a + s.b) % r.p
    known = (s.logits @ u) @ u.T
    rest, over = known_rest(r, s, u)
    result = leads(known[:, :p], answers) - rest
    if len(r.w) > p:
        result = np.minimum(result, known[np.arange(len(known)), answers] - known[:, p:].max(axis=1) + over)
    return result


def known_rest(r: Reading, s: Sample, u: Array) -> tuple[Array, Array]:
    """η, and what a logit below p leads those beyond p by outside U at least, input by input."""
    rest, over = np.zeros(len(s.a)), np.zeros(len(s.a))
    for table, spread in ((r.w, s.hidden.__matmul__), (r.s1, lambda x: x[s.a]), (r.s2, lambda x: x[s.b])):
        v = table - u @ (u.T @ table)
        rest += spread(np.ptp(v[: r.p], axis=0))
        if len(table) > r.p:
            over += spread(v[: r.p].min(axis=0) - v[r.p :].max(axis=0))
    return rest, over


def deviations(r: Reading, s: Sample, form: Array, u: Array) -> Array:
    """Theorem L's bound of the distance of a logit from the closed form, by δ and input of it, but for rounding."""
    known = turned(r, s, (s.logits @ u) @ u.T)
    rest = known_rest(r, s, u)[0].reshape(len(s.deltas), len(s.columns))
    found: Array = (np.ptp(known - form, axis=2) + rest) / 2
    return found


def certified_share(true: Array, certified: Array) -> float:
    """Of the least margin if every input is right, else of the right inputs."""
    if true.min() > 0:
        return float(certified.min() / true.min())
    return int((certified > 0).sum()) / max(1, int((true > 0).sum()))
