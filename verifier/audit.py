"""A second opinion: every number of a conclusion computed again from docs/theory.md, with none of the kernel's code.

The network is read here, by a few lines, and run in double precision at all p² inputs; the closed form comes from the
roots of every profile, Theorem Q from its formulas, Theorem F from a run in binary32. A conclusion *agrees* when no
number in it is stronger than the audited one, but for the audit's own rounding, and those that the audit can compute
are equal, or weaker by no more than is stated.
"""

from __future__ import annotations

import cmath
import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verifier.errors import InputError

SLACK = 1e-9  # of double precision, relative to the sizes that enter
FIT = 2.0**-18  # what rounding may change in an output coefficient, relative to the largest output weight
LISTED = 256  # inputs that are not certified, in a conclusion
MODES = 128  # of the harmonic method
PHASE, ONE, DIRECTION = 1 << 32, 1 << 24, 1 << 20
Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class Check:
    """One number of the conclusion beside the audited one; `detail` says what was required."""

    name: str
    signed: str
    audited: str
    agrees: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Network:
    """A model file, run: `logits` [a, b, c] in double precision, `executed` in binary32; `w` [n, q] through which
    neurons write; `hidden` [a, b, n]; `pre` (A [n, a], B [n, b]) where attention is constant. `names`: the operands a
    and b, and the outputs, that the indices stand for.
    """

    p: int
    logits: Floats
    executed: Floats
    w: Floats
    hidden: Floats
    pre: tuple[Floats, Floats] | None
    names: tuple[list[int], list[int], list[int]] = ([], [], [])

    def adding(self, task: str) -> Network:
        """The same network named such that the task is addition modulo `p`; multiplication leaves zeros out."""
        p, q = self.p, self.logits.shape[2]
        a = b = c = list(range(q))
        if "-" in task:
            b = [-x % p for x in range(p)]
        elif "*" in task:
            orbits = ([pow(g, i, p) for i in range(p - 1)] for g in range(2, p))
            a = b = next(x for x in orbits if len({*x, 0}) == p)
            c = [*a, 0, *range(p, q)]
        a, b = a[:p], b[:p]
        pre = None if self.pre is None else (self.pre[0][:, a], self.pre[1][:, b])
        logits, executed = (x[np.ix_(a, b, c)] for x in (self.logits, self.executed))
        return Network(len(a), logits, executed, self.w[:, c], self.hidden[np.ix_(a, b)], pre, (a, b, c))


def _read(data: bytes, source: str) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        metadata, tensors = header.pop("__metadata__"), {}
        for name, entry in header.items():
            start, end = (8 + size + x for x in entry["data_offsets"])
            kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
            tensors[name] = np.frombuffer(data[start:end], dtype=kind).reshape(entry["shape"])
        return metadata, tensors
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(source, "", f"not a model file: {error}") from None


def network(data: bytes, source: str = "model") -> Network:
    """Read and run a model file.

    **Raises** `InputError`.
    """
    metadata, tensors = _read(data, source)
    p = int(metadata["p"])
    if "A" in tensors:
        return _circuit(p, tensors)
    wide = {name: x.astype(np.float64) for name, x in tensors.items()}
    logits, hidden = _forward(p, metadata, wide)
    narrow = {name: x.astype(np.float32) for name, x in tensors.items()}
    with np.errstate(all="ignore"):  # it may overflow: then no bound is true
        executed, _ = _forward(p, metadata, narrow)
    w = wide["blocks.0.mlp.W_out"] @ wide["unembed.W_U"]
    return Network(p, logits, executed.astype(np.float64), w, np.maximum(hidden, 0), _separated(hidden, metadata))


def _circuit(p: int, tensors: dict[str, NDArray[Any]]) -> Network:
    found: list[tuple[dict[str, Any], Any, Floats]] = []
    for kind in (np.float64, np.float32):
        t: dict[str, Any] = {name: x.astype(kind) for name, x in tensors.items()}
        nothing = np.zeros((len(t["W"]), p), dtype=kind)
        hidden = np.maximum(t["A"].T[:, None] + t["B"].T[None, :], 0)
        logits = hidden @ t["W"].T + t.get("S1", nothing).T[:, None] + t.get("S2", nothing).T[None, :]
        found.append((t, hidden, logits.astype(np.float64)))
    wide, hidden, logits = found[0]
    return Network(p, logits, found[1][2], wide["W"].T, hidden, (wide["A"], wide["B"]))


def _forward(p: int, metadata: dict[str, str], t: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits and pre-activations at every input, in the arithmetic of the tables."""
    layout, attention = metadata["layout"].split(" "), metadata["attention"]
    a, b = np.indices((p, p))
    stream = []
    for index, item in enumerate(layout):
        offset = int(item[2:] or 0) if item[0] != "=" else int(item[1:])
        tokens = np.full((p, p), offset) if item[0] == "=" else (a if item[0] == "a" else b) + offset
        stream.append(t["embed.W_E"][tokens] + t["pos_embed.W_pos"][index])
    heads = t["blocks.0.attn.W_V"].shape[0]
    kind = stream[0].dtype
    mixed = stream[-1] + t["blocks.0.attn.b_O"]
    for head in range(heads):

        def side(name: str, x: NDArray[Any], head: int = head) -> Any:
            return x @ t[f"blocks.0.attn.W_{name}"][head] + t[f"blocks.0.attn.b_{name}"][head]

        if attention.startswith("softmax "):
            query = side("Q", stream[-1])
            scores = np.stack([(query * side("K", x)).sum(axis=-1) for x in stream]) * kind.type(_scale(attention))
            powers = np.exp(scores - scores.max(axis=0))
            weights = list(powers / powers.sum(axis=0))
        else:
            ends = [[Fraction(x) for x in item.split(":")] for item in attention.split(" ")]
            weights = [kind.type(float((x[0] + x[-1]) / 2)) for x in ends]
        held = sum(np.asarray(weight)[..., None] * side("V", x) for weight, x in zip(weights, stream, strict=True))
        mixed = mixed + held @ t["blocks.0.attn.W_O"][head]
    pre = mixed @ t["blocks.0.mlp.W_in"] + t["blocks.0.mlp.b_in"]
    after = mixed + np.maximum(pre, 0) @ t["blocks.0.mlp.W_out"] + t["blocks.0.mlp.b_out"]
    return after @ t["unembed.W_U"] + t["unembed.b_U"], pre


def _scale(attention: str) -> float:
    text = attention.removeprefix("softmax ")
    return 1 / math.sqrt(int(text[7:-1])) if text.startswith("1/sqrt(") else float(Fraction(text))


def _separated(pre: Floats, metadata: dict[str, str]) -> tuple[Floats, Floats] | None:
    if metadata["attention"].startswith("softmax "):
        return None
    return (pre[:, 0] - pre[0, 0]).T, pre[0].T


def relu_integral(dc: float, harmonics: Sequence[complex], mode: int) -> complex:
    """∫ReLU(T(x))·e(mode·x)dx over one turn; the arguments of all roots of T's polynomial cut the circle."""
    modes: dict[int, complex] = {0: complex(dc)}
    for h, u in enumerate(harmonics, 1):
        modes |= {h: u / 2, -h: u.conjugate() / 2}
    top = max((h for h, z in modes.items() if z != 0), default=0)
    cuts = [0.0, 1.0]
    if top:
        roots = np.roots([modes.get(h, 0) for h in range(top, -top - 1, -1)])
        cuts += [cmath.phase(z) / math.tau % 1 for z in roots if z != 0]
    result = 0j
    for low, high in itertools.pairwise(sorted(cuts)):
        middle = cmath.exp(1j * math.pi * (low + high))
        if sum((z * middle**h).real for h, z in modes.items()) > 0:
            for h, z in modes.items():
                k = 2j * math.pi * (h + mode)
                result += z * ((cmath.exp(k * high) - cmath.exp(k * low)) / k if k else high - low)
    return result


def wave(j: int, p: int) -> Complexes:
    """e(jc/p) for c = 0..p−1."""
    found: Complexes = np.exp(2j * np.pi * (j * np.arange(p) % p) / p)
    return found


def omega(w: Floats, neurons: Sequence[int], j: int, p: int) -> Complexes:
    found: Complexes = w[list(neurons), :p] @ wave(-j, p) * 2 / p
    return found


def _members(family: dict[str, Any], exponent: int) -> tuple[list[int], Floats, Floats]:
    neurons, amplitudes, phases = zip(*family["members"], strict=True)
    return list(neurons), np.ldexp(np.array(amplitudes, dtype=np.float64), exponent), np.array(phases) / PHASE


def closed_form(w: Floats, certificate: dict[str, Any]) -> dict[int, Complexes]:
    """G_j(δ) of docs/theory.md §5, in the units of a logit."""
    p, found = certificate["p"], dict[int, Complexes]()
    for family in certificate["families"]:
        neurons, alpha, phase = _members(family, certificate["amplitude_exponent"])
        k, dc = family["frequency"], family["dc"] / ONE
        for r in range(1, family["outputs"] + 1):
            j = r * k % p
            moment = (alpha * omega(w, neurons, j, p) * np.exp(-4j * np.pi * r * phase)).sum()
            row = np.zeros(p, dtype=np.complex128)
            for delta in range(p):
                us = [
                    (complex(x, y) * cmath.exp(2j * math.pi * (h * k * delta % p) / p) + complex(u, v)) / ONE
                    for h, (x, y, u, v) in enumerate(family["profile"], 1)
                ]
                row[delta] = cmath.exp(2j * math.pi * (j * delta % p) / p) * moment * relu_integral(dc, us, 2 * r)
            j, row = (j, row) if 2 * j < p else (p - j, row.conj())
            found[j] = found.get(j, 0) + row
    return dict(sorted(found.items()))


def added(form: dict[int, Complexes], certificate: dict[str, Any]) -> Floats:
    """What a deformed certificate adds to the closed form, by a, b and c; in the units of a logit."""
    p, given = certificate["p"], certificate.get("deformation")
    a, b = np.indices((p, p))
    found = np.zeros((p, p, p))
    if given is not None:
        found += np.ldexp(np.array(given["constant"], dtype=np.float64), given["exponent"])
        for item in given["waves"]:
            j, shape = item["frequency"], np.array(item["cosine"]) + 1j * np.array(item["sine"])
            turned = form[j][(a - b) % p] * wave(-j, p)[(a + b) % p]
            found += (turned[:, :, None] * shape).real / DIRECTION
    return found


@dataclass(frozen=True, slots=True)
class Quadrature:
    """Theorem Q for one frequency: three bounds, and W in the units of a logit. `tolerance`: what rounding ω may do.

    `error` [2p]: L − I at v = m/2p, in the units of a logit. `clear`: whether Q_−2 has a direction.
    """

    bounds: dict[str, float]
    weight: float
    error: Complexes
    tolerance: float
    clear: bool


def quadrature(w: Floats, certificate: dict[str, Any], k: int) -> Quadrature:
    """docs/theory.md §4 in double precision."""
    p = certificate["p"]
    own = [_members(f, certificate["amplitude_exponent"]) for f in certificate["families"] if f["frequency"] == k]
    alpha, phase = (np.concatenate([part[at] for part in own]) for at in (1, 2))
    outputs = alpha * np.concatenate([omega(w, part[0], k, p) for part in own])
    order = np.argsort(phase, kind="stable")
    alpha, phase, outputs = alpha[order], phase[order], outputs[order]
    shares = np.abs(outputs)
    total = float(shares.sum())

    def moment(m: int) -> complex:
        return complex((outputs * np.exp(2j * np.pi * m * phase)).sum()) / total

    second = moment(-2)
    c = second / abs(second) if second else 1 + 0j
    angle = float(np.abs(outputs - shares * c * np.exp(4j * np.pi * phase)).sum()) / total
    identity = (abs(moment(1)) + abs(moment(-1))) / 4
    box = next(x for x in certificate["boxes"] if x["frequency"] == k)
    plain = math.tau * 2 * _boxes(phase, shares / total, box["whole"] / PHASE, 1.0) + angle
    half = np.argsort(phase % 0.5, kind="stable")
    split = identity + math.tau * 2 * _boxes(phase[half] % 0.5, shares[half] / total / 2, box["half"] / PHASE, 0.5)
    harmonic = identity + abs(moment(0)) / math.pi + 1 / (math.pi * (MODES + 1))
    for m in range(2, MODES + 1, 2):
        harmonic += (abs(moment(m)) + abs(moment(-m) - (c if m == 2 else 0))) / (math.pi * (m * m - 1))
    v = np.arange(2 * p) / (2 * p)
    rule = np.maximum(np.cos(2 * np.pi * (v[:, None] + phase)), 0) @ outputs
    error = rule - total / (3 * math.pi) * c * np.exp(-4j * np.pi * v)
    bounds = {
        "rectangle": math.tau * min(plain, split + angle / 2),
        "harmonic": math.tau * harmonic,
        "arc_sum": math.tau * float(np.abs(error).max()) / total,
    }
    room = 50 * FIT * float(np.abs(w).max()) * float(alpha.sum()) / total
    return Quadrature(bounds, total, error, room, abs(second) > 1e-4)


def _boxes(nodes: Floats, widths: Floats, start: float, period: float) -> float:
    """Σ∫|x − φ| over boxes side by side; the start is moved by whole periods to within half a period of a node."""
    place = start % period
    place -= period * math.floor((place - nodes[0]) / period + 0.5)
    edges = place + np.concatenate([[0.0], np.cumsum(widths)])
    ends = [(x - nodes) * np.abs(x - nodes) / 2 for x in (edges[1:], edges[:-1])]
    return float((ends[0] - ends[1]).sum())


def count_events(pre: tuple[Floats, Floats], certificate: dict[str, Any]) -> int:
    """Lemma E's events: changes of activity along the order of the other half's tokens."""
    p, found = certificate["p"], 0
    for item in [*certificate["families"], *certificate["others"]]:
        k = item["frequency"]
        tokens = [t for _, t in sorted((k * t % p, t) for t in range(p))]
        for i in item.get("neurons") or [member[0] for member in item["members"]]:
            active = pre[0][i][:, None] + pre[1][i][None, :] > 0
            for side in (active[:, tokens], active.T[:, tokens]):
                found += int((np.diff(side.astype(np.int8), axis=1, prepend=0) != 0).sum())
    return found


def _value(dyadic: dict[str, Any]) -> float:
    return float(int(dyadic["mantissa"]) * Fraction(2) ** int(dyadic["exponent"]))


class _Report:
    """Collects checks; `room` is the audit's own rounding, in the units of a logit."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.checks: list[Check] = []

    def holds(self, name: str, agrees: bool, detail: str, signed: object = "", audited: object = "") -> None:
        left, right = (f"{x:.9g}" if isinstance(x, float) else str(x) for x in (signed, audited))
        self.checks.append(Check(name, left, right, bool(agrees), detail))

    def above(self, name: str, signed: float, audited: float, detail: str = "at least the audited") -> None:
        self.holds(name, signed + self.room >= audited, detail, signed, audited)

    def below(self, name: str, signed: float, audited: float, detail: str = "at most the audited") -> None:
        self.holds(name, signed - self.room <= audited, detail, signed, audited)


def audit(model: bytes, certificate: bytes, conclusion: dict[str, Any], source: str = "model") -> list[Check]:
    """Compare a conclusion document with what is computed here, at every input.

    **Raises** `InputError` for a model that is not one.
    """
    given, explanation = network(model, source), json.loads(certificate)
    task = conclusion["claim"].get("task", "(a + b) mod p")
    net = given.adding(task)
    p = net.p
    a, b = np.indices((p, p))
    delta, t = (a - b) % p, (a + b) % p
    turned = net.logits[a[:, :, None], b[:, :, None], (t[:, :, None] + np.arange(p)) % p]
    form = closed_form(net.w, explanation)
    table = sum(((row[:, None] * wave(j, p)).real for j, row in form.items()), np.zeros((p, p)))
    more = np.take_along_axis(added(form, explanation), (t[:, :, None] + np.arange(p)) % p, axis=2)
    closed = table[delta] + more
    size = float(np.abs(net.logits).max() + np.abs(table).max() + np.abs(more).max())
    report = _Report(SLACK * size + 2e-7 * float(np.abs(table).max()))
    _facts(report, net, (model, certificate), f"is that of {task[:-1]}{given.p}", explanation, conclusion)
    report.holds("p", conclusion["model"]["p"] == given.p, "the file's", conclusion["model"]["p"], given.p)
    executed = _value(conclusion["accuracy"]["floating_point"])
    gaps = turned[:, :, :1] - turned
    margins = gaps[:, :, 1:].min(axis=2)
    if net.logits.shape[2] > p:
        margins = np.minimum(margins, turned[:, :, 0] - net.logits[:, :, p:].max(axis=2))
    _margins(report, net, margins - 2 * executed, margins, conclusion)
    deviation = turned - closed
    deviation = (deviation.max(axis=2) - deviation.min(axis=2)) / 2
    _closed(report, deviation, gaps, closed, delta, executed, margins, conclusion)
    if "deformation" in explanation:
        moved = float((more.max(axis=2) - more.min(axis=2)).max()) / 2
        report.above("deformation", _value(conclusion["closed_form"]["deformation"]), moved)
    found = {x["frequency"]: quadrature(net.w, explanation, x["frequency"]) for x in conclusion["quadrature"]}
    _rules(report, found, conclusion)
    for entry in conclusion["quadrature"]:
        k = entry["frequency"]
        coefficients = turned @ wave(-k, p) * 2 / p
        report.above(
            f"network error, {k}", _value(entry["network_error"]), float(np.abs(coefficients - form[k][delta]).max())
        )
        report.below(f"amplitude, {k}", _value(entry["amplitude"]), float(np.abs(form[k]).max()))
    _budget(report, net, found, explanation, conclusion, form)
    return report.checks


def _facts(
    report: _Report,
    net: Network,
    files: tuple[bytes, bytes],
    answer: str,
    explanation: dict[str, Any],
    found: dict[str, Any],
) -> None:
    """What the conclusion says about its inputs, and whether its counts add up."""
    p, (n, q) = net.p, net.w.shape
    parameters = n * (2 * p + q) + 2 * p * q
    accuracy, cost = found["accuracy"], found["cost"]
    listed = [_value(x["margin"]) for x in accuracy["uncertified"]]
    digests = [hashlib.sha256(data).hexdigest() for data in files]
    members: dict[int, int] = {}
    for family in explanation["families"]:
        members[family["frequency"]] = members.get(family["frequency"], 0) + len(family["members"])
    counts = {
        "families": len(explanation["families"]),
        "directions": len(explanation["directions"][0]),
        "others": sum(len(x["neurons"]) for x in explanation["others"]),
        "nodes": explanation["nodes"],
    }
    head = {"sha256": digests[0], "outputs": q, "neurons": n, "parameters": parameters}
    operations = sum(cost["by_step"].values())
    facts = {
        "model": found["model"].items() >= head.items(),
        "certificate": found["certificate"] == {"sha256": digests[1], **counts},
        "neurons": {x["frequency"]: x["neurons"] for x in found["quadrature"]} == members,
        "claim": found["claim"]["semantics"] == accuracy["semantics"]
        and accuracy["certified_inputs"] >= 0
        and found["claim"]["strategy"] == accuracy["strategy"],
        "theorem": digests[0] in found["theorem"]
        and answer in found["theorem"]
        and f"{accuracy['certified_inputs']} of the {p * p} inputs" in found["theorem"],
        "inputs": accuracy["total_inputs"] == p * p == accuracy["certified_inputs"] + accuracy["uncertified_inputs"]
        and len(listed) == min(LISTED, accuracy["uncertified_inputs"]),
        "least margin": listed == sorted(listed) and listed[0] == _value(accuracy["min_margin"]) and listed[-1] <= 0
        if listed
        else _value(accuracy["min_margin"]) > 0,
        "cost": cost["parameters"] == parameters and cost["operations"] == operations,
    }
    wrong = ", ".join(name for name, holds in facts.items() if not holds)
    report.holds(
        "digests and counts", not wrong, f"wrong: {wrong}" if wrong else "equal, and consistent", len(facts), len(facts)
    )
    if net.pre is not None and accuracy["strategy"] != "semi-linear":
        events = count_events(net.pre, explanation)
        near = abs(cost["events"] - events) <= 0.001 * events + 0.01 * n * p
        report.holds("events", near, "equal but for pre-activations near zero", cost["events"], events)
    if found["claim"]["semantics"] != "real":
        moved = float(np.abs(net.executed - net.logits).max())
        report.above("Theorem F", _value(accuracy["floating_point"]), moved, "at least what a run in binary32 shows")


def _margins(report: _Report, net: Network, bound: Floats, margins: Floats, found: dict[str, Any]) -> None:
    accuracy = found["accuracy"]
    report.below("least margin", _value(accuracy["min_margin"]), float(bound.min()))
    rows, columns, outputs = ({name: i for i, name in enumerate(own)} for own in net.names)
    false = [
        x for x in accuracy["uncertified"] if _value(x["margin"]) - report.room > bound[rows[x["a"]], columns[x["b"]]]
    ]
    report.holds(
        "margins that are listed", not false, f"none above the audited: {false[:1]}", len(accuracy["uncertified"])
    )
    certified, right = accuracy["certified_inputs"], int((bound > -report.room).sum())
    report.holds("certified inputs", certified <= right, "no more than have the right answer", certified, right)
    if "true_min_margin" in accuracy:
        low, high = map(_value, accuracy["true_min_margin"])
        report.holds(
            "true least margin",
            low - report.room <= margins.min() <= high + report.room,
            "enclosed",
            low,
            float(margins.min()),
        )
        for x in accuracy["wrong"]:
            i, j = rows[x["a"]], columns[x["b"]]
            row = net.logits[i, j]
            report.above(
                f"wrong at ({x['a']}, {x['b']})",
                float(row[outputs[x["answer"]]] - row[(i + j) % net.p]),
                _value(x["margin"]),
            )


def _closed(
    report: _Report,
    deviation: Floats,
    gaps: Floats,
    form: Floats,
    delta: NDArray[Any],
    executed: float,
    margins: Floats,
    found: dict[str, Any],
) -> None:
    accuracy, p = found["accuracy"], len(form)
    worst = float(deviation.max())
    report.above("max_error", _value(found["logits"]["max_error"]), worst)
    if "max_deviation" in accuracy:
        low, high = map(_value, accuracy["max_deviation"])
        report.holds("max_deviation", low - report.room <= worst <= high + report.room, "enclosed", high, worst)
    closed = (form[:, :, :1] - form)[:, :, 1:]
    gamma, errors = np.full(p, np.inf), np.zeros(p)
    np.minimum.at(gamma, delta, closed.min(axis=2))
    np.maximum.at(errors, delta, deviation + executed)
    report.below("least gap", _value(found["closed_form"]["least_gap"]), float(gamma.min()))
    report.above("error of the closed form", _value(found["closed_form"]["error"]), float(errors.max()))
    right = np.ones(p, dtype=bool)
    np.logical_and.at(right, delta, margins > -report.room)
    most = p * int(((gamma + 4 * report.room > 2 * errors) & right).sum())
    explained = accuracy["explained_inputs"]
    report.holds("explained inputs", explained <= most, "no more than the audited", explained, most)
    sentence = not found["closed_form"]["explains_all"] or gamma.min() + 4 * report.room > 2 * errors.max()
    report.holds("the one sentence", sentence, "holds, if it is said", found["closed_form"]["explains_all"])
    if accuracy["gap_error"] is not None:
        ratio = (np.abs(gaps[:, :, 1:] - closed) - 4 * report.room) / (closed + 4 * report.room)
        agrees = gamma.min() > -report.room and _value(accuracy["gap_error"]) >= ratio.max()
        report.holds("gap error", agrees, "at least the audited", _value(accuracy["gap_error"]), float(ratio.max()))


def _rules(report: _Report, rules: dict[int, Quadrature], found: dict[str, Any]) -> None:
    for entry in found["quadrature"]:
        k, own = entry["frequency"], rules[entry["frequency"]]
        if not own.clear:
            report.holds(f"Theorem Q, {k}", True, "not audited: its moment vanishes, rounding decides the direction")
            continue
        for name, audited in own.bounds.items():
            signed = _value(entry[name])
            agrees = -1e-6 <= signed - audited <= own.tolerance + 1e-5
            report.holds(
                f"Theorem Q, {k}, {name}", agrees, f"equal but for {own.tolerance + 1e-5:.1e}", signed, audited
            )
        least = min(_value(entry[name]) for name in own.bounds)
        agrees = (
            _value(entry["bound"]) == least and abs(_value(entry["relative_bound"]) - least * 3 * math.pi / 4) < 1e-9
        )
        report.holds(f"Theorem Q, {k}, bound", agrees, "the least of three", _value(entry["bound"]), least)


def _budget(
    report: _Report,
    net: Network,
    rules: dict[int, Quadrature],
    certificate: dict[str, Any],
    found: dict[str, Any],
    form: dict[int, Complexes],
) -> None:
    """The terms of the budget that have a value of their own."""
    p, budget = net.p, found["logits"]["budget"]
    for k, own in rules.items():
        if own.clear:
            report.above(
                f"budget, quadrature, {k}", _value(budget["quadrature"][str(k)]), 2 * float(np.abs(own.error).max())
            )
    kappa = _value(budget["fixed_point"]) + _value(budget["attention"])
    if found["accuracy"]["strategy"] == "exact":
        rest, learned = _value(budget["output_rest"]), found["model"]["attention"]["kind"] == "softmax"
        report.holds("budget, output rest", rest >= 0 if learned else rest == 0, "zero, or small", rest)
        left = net.logits[:, :, :p].copy()
        for j in form:
            left -= ((left @ wave(-j, p) * 2 / p)[:, :, None] * wave(j, p)).real
        other = float((left.max(axis=2) - left.min(axis=2)).max()) / 2
        report.above("budget, other frequencies", _value(budget["other_frequencies"]) + 4 * kappa, other)
    total = sum(_value(x) for term in budget.values() for x in ([term] if "mantissa" in term else term.values()))
    report.holds("budget", total >= 0 and kappa >= 0, "no term is negative", total)
