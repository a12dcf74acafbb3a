"""The certificate: an untrusted explanation of the MLP, decoded to one strict type. Nothing in it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from verifier.kernel import limits
from verifier.kernel.reasons import Reason, require
from verifier.kernel.strict_json import Fields, Json, decode, integer, items

FORMAT = "verifier-certificate/1"


@dataclass(frozen=True, slots=True)
class Harmonic:
    """z^A_h and z^B_h of one harmonic of a profile, real and imaginary parts in units of 2^-24."""

    a_re: int
    a_im: int
    b_re: int
    b_im: int


@dataclass(frozen=True, slots=True)
class Member:
    """One neuron of a family: amplitude in units of 2^amplitude_exponent, phase in units of 2^-32 turn."""

    neuron: int
    amplitude: int
    phase: int


@dataclass(frozen=True, slots=True)
class Family:
    """Neurons claimed to be translates of one profile T (docs/theory.md §2); `dc` and `shells` in units of 2^-24."""

    frequency: int
    dc: int
    profile: tuple[Harmonic, ...]
    shells: tuple[int, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Where the rectangle method lays its first box, in units of 2^-32 turn: on the circle, and on the half circle."""

    frequency: int
    whole: int
    half: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """A decoded certificate; see `docs/certificate.md` for the format.

    **Fields**

    - `cells`: L; the circle is cut into N = p·L cells.
    - `output_frequencies`: J, the output frequencies evaluated exactly.
    - `critical_offsets`: how many output offsets d are evaluated input by input for each δ.
    - `families`, and two lists of neurons outside every family: `on` and `off`, taken as linear, or as zero, at every
      input, up to a bound.
    - `outliers`: neurons evaluated exactly at each input. Those that are in a family are nodes of its quadrature rule
      all the same.
    """

    model_sha256: str
    p: int
    neurons: int
    cells: int
    output_frequencies: tuple[int, ...]
    critical_offsets: int
    amplitude_exponent: int
    families: tuple[Family, ...]
    outliers: tuple[int, ...]
    on: tuple[int, ...]
    off: tuple[int, ...]
    boxes: tuple[Boxes, ...]


def read_certificate(data: bytes, source: str = "certificate") -> Certificate:
    """Decode a certificate.

    **Raises** `Rejected` with `SIZE`, `JSON`, `FIELD`, `RANGE`, `FORMAT`, `NEURONS`, `FREQUENCY` or `EMPTY`.
    """
    names = (
        "format",
        "model_sha256",
        "p",
        "neurons",
        "cells",
        "output_frequencies",
        "critical_offsets",
        "amplitude_exponent",
        "families",
        "outliers",
        "on",
        "off",
        "boxes",
    )
    fields = Fields(decode(data, source, limits.CERTIFICATE_BYTES), source, names)
    require(fields.text("format") == FORMAT, Reason.FORMAT, f"{source}.format: not {FORMAT!r}")
    p = fields.integer("p", 3, limits.MODULUS)
    n = fields.integer("neurons", 1, limits.NEURONS)
    cells = fields.integer("cells", 1, limits.CELLS // p)
    half = (p - 1) // 2
    certificate = Certificate(
        model_sha256=fields.digest("model_sha256"),
        p=p,
        neurons=n,
        cells=cells,
        output_frequencies=_numbers(fields, "output_frequencies", limits.OUTPUT_FREQUENCIES, 1, half),
        critical_offsets=fields.integer("critical_offsets", 0, limits.CRITICAL_OFFSETS),
        amplitude_exponent=fields.integer("amplitude_exponent", -limits.AMPLITUDE_EXPONENT, limits.AMPLITUDE_EXPONENT),
        families=tuple(
            _family(value, f"{source}.families[{index}]", half, n)
            for index, value in enumerate(fields.items("families", n))
        ),
        outliers=_numbers(fields, "outliers", n, 0, n - 1),
        on=_numbers(fields, "on", n, 0, n - 1),
        off=_numbers(fields, "off", n, 0, n - 1),
        boxes=tuple(
            _boxes(value, f"{source}.boxes[{index}]", half)
            for index, value in enumerate(fields.items("boxes", limits.OUTPUT_FREQUENCIES))
        ),
    )
    _require_cover(certificate, source)
    return certificate


def _require_cover(certificate: Certificate, source: str) -> None:
    """Every neuron has exactly one place, and every frequency of a family is an output frequency with its boxes."""
    require(len(certificate.families) > 0, Reason.EMPTY, f"{source}.families: no family")
    used = [member.neuron for family in certificate.families for member in family.members]
    grouped = set(used)
    used += [*certificate.on, *certificate.off, *(i for i in certificate.outliers if i not in grouped)]
    twice = [i for i in certificate.outliers if i in {*certificate.on, *certificate.off}]
    require(not twice, Reason.NEURONS, f"{source}.outliers: {len(twice)} neurons are also on or off")
    alone = len(set(certificate.outliers)) == len(certificate.outliers)
    require(alone, Reason.NEURONS, f"{source}.outliers: a neuron is repeated")
    repeated = len(used) - len(set(used))
    require(repeated == 0, Reason.NEURONS, f"{source}: {repeated} neurons are used twice")
    missing = certificate.neurons - len(used)
    require(missing == 0, Reason.NEURONS, f"{source}: {missing} neurons are not used")
    harmonics = sum(len(family.profile) for family in certificate.families)
    work = harmonics * certificate.p * certificate.p * certificate.cells
    require(work <= limits.CELL_WORK, Reason.SIZE, f"{source}: {work} values of profiles, at most {limits.CELL_WORK}")
    output = certificate.output_frequencies
    require(len(set(output)) == len(output), Reason.FREQUENCY, f"{source}.output_frequencies: one is repeated")
    needed = {family.frequency for family in certificate.families}
    absent = needed - set(output)
    require(not absent, Reason.FREQUENCY, f"{source}.output_frequencies: {sorted(absent)} of families are missing")
    boxes = sorted(box.frequency for box in certificate.boxes)
    require(
        boxes == sorted(needed),
        Reason.FREQUENCY,
        f"{source}.boxes: not one entry per frequency of the families",
    )


def _numbers(fields: Fields, name: str, most: int, low: int, high: int) -> tuple[int, ...]:
    where = f"{fields.source}.{name}"
    return tuple(integer(value, where, low, high) for value in fields.items(name, most))


def _boxes(value: Json, where: str, half: int) -> Boxes:
    fields = Fields(value, where, ("frequency", "whole", "half"))
    last = (1 << limits.PHASE_BITS) - 1
    return Boxes(
        fields.integer("frequency", 1, half),
        fields.integer("whole", 0, last),
        fields.integer("half", 0, last),
    )


def _family(value: Json, where: str, half: int, n: int) -> Family:
    fields = Fields(value, where, ("frequency", "dc", "profile", "shells", "members"))
    top = limits.PROFILE
    profile = []
    for item in fields.items("profile", limits.HARMONICS):
        parts = items(item, f"{where}.profile", 4)
        require(len(parts) == 4, Reason.FIELD, f"{where}.profile: not four numbers per harmonic")
        profile.append(Harmonic(*(integer(part, f"{where}.profile", -top, top) for part in parts)))
    require(len(profile) > 0, Reason.EMPTY, f"{where}.profile: no harmonic")
    shells = _numbers(fields, "shells", limits.SHELLS, 0, top)
    require(all(x < y for x, y in pairwise(shells)), Reason.RANGE, f"{where}.shells: not increasing")
    members = []
    for item in fields.items("members", n):
        parts = items(item, f"{where}.members", 3)
        require(len(parts) == 3, Reason.FIELD, f"{where}.members: not [neuron, amplitude, phase]")
        members.append(
            Member(
                integer(parts[0], f"{where}.members", 0, n - 1),
                integer(parts[1], f"{where}.members", 1, limits.AMPLITUDE),
                integer(parts[2], f"{where}.members", 0, (1 << limits.PHASE_BITS) - 1),
            )
        )
    require(len(members) > 0, Reason.EMPTY, f"{where}.members: no neuron")
    return Family(
        frequency=fields.integer("frequency", 1, half),
        dc=fields.integer("dc", -top, top),
        profile=tuple(profile),
        shells=shells,
        members=tuple(members),
    )
