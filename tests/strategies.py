"""Random circuits and certificates, hostile ones included, for every test that tries to make the kernel prove something
false.

Everything is drawn from a `random.Random`, so that a case is its seed: hypothesis drives it through `cases()`, the long
run and the hill climber through `random_case`.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

Table = list[list[float]]
PHASE = 1 << 32
ONE = 1 << 24
MODULI = (3, 3, 3, 4, 4, 5, 5, 5, 6, 7, 7, 8, 9, 10, 11, 13)


@dataclass(frozen=True)
class Case:
    """A folded circuit (A, B: n rows of p; W: n rows of q; S1, S2: p rows of q), a certificate and what is claimed."""

    p: int
    A: Table
    B: Table
    W: Table
    S1: Table
    S2: Table
    single: bool
    certificate: dict[str, Any]
    strategy: str = "linear"
    semantics: str = "real"

    @property
    def model(self) -> bytes:
        return circuit_bytes(self.p, self.A, self.B, self.W, self.S1, self.S2, self.single)

    def files(self, certified: int = 0) -> tuple[bytes, bytes, bytes]:
        """The bytes of the model, the claim and the certificate."""
        model = self.model
        certificate = {**self.certificate, "model_sha256": hashlib.sha256(model).hexdigest()}
        claim = claim_of(model, self.p, self.strategy, self.semantics, certified)
        return model, claim, json.dumps(certificate).encode()

    def with_certificate(self, certificate: dict[str, Any]) -> Case:
        return replace(self, certificate=certificate)


def claim_of(model: bytes, p: int, strategy: str = "linear", semantics: str = "real", certified: int = 0) -> bytes:
    claim = {
        "format": "verifier-claim/2",
        "task": "(a + b) mod p",
        "p": p,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "strategy": strategy,
        "semantics": semantics,
        "certified_inputs": certified,
    }
    return json.dumps(claim).encode()


def tensor_file(
    tensors: dict[str, tuple[Sequence[int], Sequence[float]]], metadata: dict[str, str], code: str
) -> bytes:
    """A safetensors file, written here so that the kernel's reader is not tested against the project's writer."""
    header: dict[str, Any] = {"__metadata__": metadata}
    body = b""
    for name, (shape, values) in tensors.items():
        data = array(code, values).tobytes()
        span = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32" if code == "f" else "F64", "shape": list(shape), "data_offsets": span}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _flat(rows: Table) -> list[float]:
    return [x for row in rows for x in row]


def circuit_bytes(p: int, A: Table, B: Table, W: Table, S1: Table, S2: Table, single: bool) -> bytes:
    n, q = len(A), len(W[0])
    tensors: dict[str, tuple[Sequence[int], Sequence[float]]] = {
        "A": ((n, p), _flat(A)),
        "B": ((n, p), _flat(B)),
        "W": ((q, n), _flat([list(column) for column in zip(*W, strict=True)])),
    }
    for name, table in (("S1", S1), ("S2", S2)):
        if any(_flat(table)):
            tensors[name] = ((q, p), _flat([list(column) for column in zip(*table, strict=True)]))
    metadata = {"format": "verifier-circuit/1", "task": "(a + b) mod p", "p": str(p), "provenance": "{}"}
    return tensor_file(tensors, metadata, "f" if single else "d")


@dataclass
class _Profile:
    """The truth a circuit is made from: one family's frequency, DC term and harmonics (z^A, z^B)."""

    frequency: int
    dc: float
    harmonics: list[tuple[complex, complex]]


def _turn(x: float) -> complex:
    return complex(math.cos(2 * math.pi * x), math.sin(2 * math.pi * x))


def _profile(rng: random.Random, half: int) -> _Profile:
    frequency = rng.randint(1, half)
    kind = rng.choice(("pure", "pure", "lopsided", "harmonics", "double root", "wild"))
    harmonics: list[tuple[complex, complex]] = [(1, 1)]
    dc = 0.0
    if kind == "lopsided":
        harmonics = [(1, rng.uniform(0, 2) * _turn(rng.random()))]
        dc = rng.uniform(-1, 1)
    elif kind == "harmonics":
        harmonics += [(0.3 * _turn(rng.random()), 0.3 * _turn(rng.random())) for _ in range(rng.randint(1, 2))]
    elif kind == "double root":  # T touches zero without crossing it
        harmonics, dc = [(1, 0)], rng.choice((-1.0, 1.0))
    elif kind == "wild":
        harmonics = [
            (complex(rng.gauss(0, 1), rng.gauss(0, 1)), complex(rng.gauss(0, 1), rng.gauss(0, 1)))
            for _ in range(rng.randint(1, 3))
        ]
        dc = rng.gauss(0, 1)
    return _Profile(frequency, dc, harmonics)


def _phases(rng: random.Random, n: int, size: int) -> list[int]:
    kind = rng.choice(("random", "random", "equal", "edges", "even"))
    if kind == "equal":
        return [rng.randrange(PHASE)] * n
    if kind == "edges":  # on, or one unit beside, the boundary between two inputs
        return [(-(-rng.randrange(size) * PHASE // size) - rng.randint(0, 1)) % PHASE for _ in range(n)]
    if kind == "even":
        return [i * PHASE // n for i in range(n)]
    return [rng.randrange(PHASE) for _ in range(n)]


def random_case(rng: random.Random) -> Case:
    """A circuit that its certificate explains well, badly or not at all."""
    p = rng.choice(MODULI)
    clean = rng.random() < 0.2  # a circuit that can be certified in linear time
    n = rng.choice((7, 9, 11)) if clean else rng.choice((1, 2, 2, 3, 4, 6, 8))
    q = p + rng.choice((0, 0, 0, 1, 3))
    half = (p - 1) // 2
    profiles = [_profile(rng, half) for _ in range(rng.choice((1, 1, 2)))]
    if clean:
        profiles = [_Profile(1, 0.0, [(1, 1)])]
    place = [rng.randrange(len(profiles)) for _ in range(n)]
    phases = [i * PHASE // n for i in range(n)] if clean else _phases(rng, n, 4 * p)
    amplitudes = [1.0 if clean else rng.choice((1.0, 1.0, rng.uniform(0.1, 2), 2.0**-20)) for _ in range(n)]
    noise = rng.choice((0.0, 1e-6, 0.01) if clean else (0.0, 0.0, 1e-6, 0.03, 0.3, 2.0))
    A: Table = []
    B: Table = []
    W: Table = []
    for i in range(n):
        g, alpha, phi = profiles[place[i]], amplitudes[i], phases[i] / PHASE
        k = g.frequency
        for rows, side, dc in ((A, 0, 0.0), (B, 1, g.dc)):
            rows.append(
                [
                    alpha
                    * (dc + sum((z[side] * _turn(h * (phi + k * x / p))).real for h, z in enumerate(g.harmonics, 1)))
                    + noise * alpha * rng.gauss(0, 1)
                    for x in range(p)
                ]
            )
        size = 1.0 if clean else rng.choice((1.0, 1.0, rng.uniform(0, 2)))
        angle = 2 * phi + (0.0 if clean else rng.choice((0.0, 0.0, rng.gauss(0, 0.05), rng.random())))
        W.append([size * (_turn(angle + k * c / p)).real + noise * 0.3 * rng.gauss(0, 1) for c in range(q)])
    drift = rng.choice((0.0, 0.0, 0.01, 0.5, 1e3))
    S1 = [[drift * rng.gauss(0, 1) for _ in range(q)] for _ in range(p)]
    S2 = [[drift * rng.gauss(0, 1) for _ in range(q)] for _ in range(p)]
    if q > p:
        for row in W:
            row[p:] = [x + rng.choice((0.0, -2.0)) for x in row[p:]]
    _spoil(rng, A, B, W)
    single = rng.random() < 0.5
    scales = (0, 0, 0, -60, 40) if single else (0, 0, -180, 180)
    up, out = rng.choice(scales), rng.choice(scales)
    lattice = rng.choice((None, None, None, 64, 4))  # coarse values: ties, and pre-activations that are exactly 0

    def scaled(rows: Table, exponent: int) -> Table:
        result = [[math.ldexp(round(x * lattice) / lattice if lattice else x, exponent) for x in row] for row in rows]
        return [array("f", row).tolist() for row in result] if single else result

    A, B, W, S1, S2 = scaled(A, up), scaled(B, up), scaled(W, out), scaled(S1, up + out), scaled(S2, up + out)
    certificate = _certificate(rng, p, q, profiles, place, phases, amplitudes, up)
    return Case(p, A, B, W, S1, S2, single, certificate, rng.choice(("linear", "linear", "exact")))


def _spoil(rng: random.Random, A: Table, B: Table, W: Table) -> None:
    """Now and then: a dead neuron, one always on, one that writes nothing, tiny and huge entries beside normal ones."""
    i = rng.randrange(len(A))
    kind = rng.choice((None, None, None, None, "zero", "silent", "on", "tiny", "huge", "constant"))
    if kind == "zero":
        A[i] = [0.0] * len(A[i])
        B[i] = [0.0] * len(B[i])
    elif kind == "silent":
        W[i] = [0.0] * len(W[i])
    elif kind == "on":
        B[i] = [x + 5 for x in B[i]]
    elif kind == "tiny":
        A[i][0] = 2.0**-60
        W[i][0] = -(2.0**-60)
    elif kind == "huge":
        A[i][0] *= 1000
    elif kind == "constant":
        W[i] = [1.0] * len(W[i])


def _directions(rng: random.Random, p: int, q: int, profiles: list[_Profile]) -> list[list[int]]:
    """Waves of the families, orthonormal as the explainer's are; or noise, unit vectors, zeros, the largest entries."""
    unit, kind = 1 << 20, rng.choice(("waves", "waves", "waves", "noise", "units", "zero", "largest", "one"))
    if kind == "waves":
        size = unit * math.sqrt(2 / p)
        turns = [g.frequency * r / p for g in profiles for r in (1, 2)]
        columns = [[size * f(math.tau * x * c) for c in range(q)] for x in turns for f in (math.cos, math.sin)]
        return [[round(x) for x in row] for row in zip(*columns, strict=True)]
    width = 1 if kind == "one" else rng.choice((1, 2, 5))
    if kind in ("noise", "one"):
        return [[round(unit * rng.gauss(0, 1)) for _ in range(width)] for _ in range(q)]
    if kind == "units":
        return [[unit if c == column else 0 for column in range(q)] for c in range(q)]
    return [[rng.choice((-1, 1)) << 24 if kind == "largest" else 0 for _ in range(width)] for _ in range(q)]


def _certificate(
    rng: random.Random,
    p: int,
    q: int,
    profiles: list[_Profile],
    place: list[int],
    phases: list[int],
    amplitudes: list[float],
    up: int,
) -> dict[str, Any]:
    wobble = rng.choice((0.0, 0.0, 0.0, 1e-5, 0.02, 0.5))

    def fixed(x: float) -> int:
        return max(-8 * ONE, min(8 * ONE, round(ONE * (x + wobble * rng.gauss(0, 1)))))

    half, n = (p - 1) // 2, len(place)
    exponent = math.frexp(max(amplitudes))[1] - 30
    families: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for index, g in enumerate(profiles):
        members = []
        for i in range(n):
            if place[i] != index:
                continue
            if rng.random() < 0.15:
                others.append({"frequency": rng.randint(1, half), "neurons": [i]})
                continue
            phase = round(phases[i] + wobble * rng.gauss(0, 0.1) * PHASE) % PHASE
            members.append([i, max(1, round(math.ldexp(amplitudes[i], -exponent))), phase])
        if members:
            profile = [[fixed(z.real), fixed(z.imag), fixed(v.real), fixed(v.imag)] for z, v in map(_pair, g.harmonics)]
            families.append(
                {
                    "frequency": g.frequency,
                    "dc": fixed(g.dc),
                    "profile": profile,
                    "outputs": rng.choice([r for r in range(1, 5) if outputs_fit(p, g.frequency, r)]),
                    "members": members,
                }
            )
    return {
        "format": "verifier-certificate/2",
        "p": p,
        "neurons": n,
        "amplitude_exponent": exponent + up,
        "directions": _directions(rng, p, q, profiles),
        "families": families,
        "others": others,
        "nodes": rng.choice((64, 64, 100, 257)),
        "boxes": [
            {"frequency": k, "whole": rng.randrange(PHASE), "half": rng.randrange(PHASE)}
            for k in sorted({family["frequency"] for family in families})
        ],
    }


def deformed(case: Case, rng: random.Random) -> Case:
    """With waves of another shape at some frequencies of the closed form, or at none; good, bad and absurd ones."""
    p, unit, families = case.p, 1 << 20, case.certificate["families"]
    written = {r * f["frequency"] % p for f in families for r in range(1, f["outputs"] + 1)}
    kind = rng.choice(("small", "small", "noise", "cancel", "sharpen", "largest", "constant", "zero"))

    def row(shape: list[float]) -> list[int]:
        if kind == "largest":
            return [rng.choice((-1, 1)) << 24 for _ in range(p)]
        size = {"small": 0.05, "noise": 1.0}.get(kind, 0.0)
        factor = {"cancel": -1.0, "sharpen": 2.0}.get(kind, 0.0)
        return [round(unit * (factor * x + size * rng.gauss(0, 1))) for x in shape]

    waves = []
    for j in sorted({min(j, p - j) for j in written}):
        if kind != "constant" and rng.random() < 0.8:
            turns = [math.tau * j * c / p for c in range(p)]
            cosine, sine = row([math.cos(x) for x in turns]), row([math.sin(x) for x in turns])
            waves.append({"frequency": j, "cosine": cosine, "sine": sine})
    bits = rng.choice((0, 10, 20, 24))
    constant = [rng.randint(-(1 << bits), 1 << bits) for _ in range(p)]
    # About as large as the logits, much smaller, or much larger.
    most = max(abs(x) for table in (case.A, case.B) for y in table for x in y)
    most *= max(abs(x) for y in case.W for x in y)
    exponent = math.frexp(most)[1] - bits + rng.choice((-40, -4, 0, 0, 8))
    deformation = {"exponent": exponent, "constant": constant, "waves": waves}
    return case.with_certificate({**case.certificate, "deformation": deformation})


def outputs_fit(p: int, frequency: int, outputs: int) -> bool:
    """Whether no output harmonic of a family is 0 or p/2."""
    return all(2 * r * frequency % p for r in range(1, outputs + 1))


def _pair(z: tuple[complex, complex]) -> tuple[complex, complex]:
    return complex(z[0]), complex(z[1])


def mutated(case: Case, rng: random.Random) -> Case:
    """One number of the certificate, or one weight, changed by a little or by a lot (for the hill climber)."""
    certificate = json.loads(json.dumps(case.certificate))
    if rng.random() < 0.5 and certificate["families"]:
        family = rng.choice(certificate["families"])
        what = rng.choice(("phase", "amplitude", "profile", "dc", "nodes", "outputs", "direction", "exponent"))
        step = round(rng.gauss(0, 1) * 2.0 ** rng.randint(0, 26))
        member = rng.choice(family["members"])
        if what == "phase":
            member[2] = (member[2] + step) % PHASE
        elif what == "amplitude":
            member[1] = min(max(1, member[1] + step), 1 << 32)
        elif what == "profile":
            harmonic = rng.choice(family["profile"])
            at = rng.randrange(4)
            harmonic[at] = max(-8 * ONE, min(8 * ONE, harmonic[at] + step))
        elif what == "dc":
            family["dc"] = max(-8 * ONE, min(8 * ONE, family["dc"] + step))
        elif what == "nodes":
            certificate["nodes"] = rng.choice((64, 65, 512))
        elif what == "outputs":
            outputs = rng.choice((1, 2, 3, 4))
            family["outputs"] = outputs if outputs_fit(case.p, family["frequency"], outputs) else 1
        elif what == "direction":
            row = rng.choice(certificate["directions"])
            at = rng.randrange(len(row))
            row[at] = max(-(1 << 24), min(1 << 24, row[at] + step))
        else:
            certificate["amplitude_exponent"] += rng.choice((-1, 1, 3, 20, -20))
        return case.with_certificate(certificate)
    tables: dict[str, Any] = {name: [row[:] for row in getattr(case, name)] for name in ("A", "B", "W")}
    row = rng.choice(tables[rng.choice(("A", "B", "W"))])
    at = rng.randrange(len(row))
    row[at] = rng.choice(
        (0.0, -row[at], row[at] * (1 + rng.gauss(0, 0.1)), row[at] + max(map(abs, row)) * rng.gauss(0, 0.1))
    )
    if case.single:
        row[at] = array("f", [row[at]])[0]
    return replace(case, **tables)


def cases() -> st.SearchStrategy[Case]:
    """Circuits with certificates: a seed, then single changes, so that hypothesis can drop and target them."""

    def build(seed: int, bent: bool, changes: list[int]) -> Case:
        case = random_case(random.Random(seed))
        case = deformed(case, random.Random(seed)) if bent else case
        for change in changes:
            case = mutated(case, random.Random(change))
        return case

    return st.builds(build, st.integers(0, 1 << 32), st.booleans(), st.lists(st.integers(0, 1 << 32), max_size=4))


def phases() -> st.SearchStrategy[int]:
    """Phases in units of 2^-32 turn, the quarter turns and their neighbours favoured."""
    special = [x % PHASE for quarter in range(4) for x in (quarter * PHASE // 4 + d for d in (-1, 0, 1))]
    return st.one_of(st.sampled_from(special), st.integers(0, PHASE - 1))


def rationals() -> st.SearchStrategy[Fraction]:
    """Rationals of every size, dyadic ones and zero included."""
    mantissa = st.one_of(st.integers(-8, 8), st.integers(-(1 << 90), 1 << 90))
    dyadic = st.builds(lambda m, e: m * Fraction(2) ** e, mantissa, st.integers(-200, 200))
    return st.one_of(dyadic, st.fractions(max_denominator=10**6))


@dataclass(frozen=True)
class Inside:
    """A ball [low, high] given by its ends, and a rational in it."""

    low: Fraction
    high: Fraction
    value: Fraction


@st.composite
def insides(draw: st.DrawFn) -> Inside:
    """Balls with dyadic ends and a rational inside: an endpoint as often as anything between, points and balls around
    zero included.
    """
    exponent = draw(st.integers(-80, 80))
    low = draw(st.one_of(st.integers(-4, 4), st.integers(-(1 << 60), 1 << 60)))
    width = draw(st.one_of(st.just(0), st.integers(0, 4), st.integers(0, 1 << 40)))
    unit = Fraction(2) ** exponent
    part = draw(st.sampled_from((Fraction(0), Fraction(1), Fraction(1, 3), Fraction(1, 2))))
    return Inside(low * unit, (low + width) * unit, (low + width * part) * unit)
