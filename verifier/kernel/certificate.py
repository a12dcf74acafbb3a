"""The certificate: an untrusted explanation of the MLP, decoded to one strict type. Nothing in it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from verifier.kernel import limits
from verifier.kernel.arrays import Ints, integers
from verifier.kernel.claim import require_format
from verifier.kernel.forms import DIGEST, Integer, Items, Record, Table, Text, decode
from verifier.kernel.reasons import Reason, require

FORMAT = "verifier-certificate/2"

_FREQUENCY = Integer(1, (limits.MODULUS - 1) // 2)
_NEURON = Integer(0, limits.NEURONS - 1)
_PART = Integer(-limits.PROFILE, limits.PROFILE)
_PHASE = Integer(0, (1 << limits.PHASE_BITS) - 1)
_EXPONENT = Integer(-limits.AMPLITUDE_EXPONENT, limits.AMPLITUDE_EXPONENT)
_BY_OUTPUT = Items(Integer(-limits.DIRECTION, limits.DIRECTION), 3, limits.FULL_PRODUCT)
FORM = Record(
    {
        "format": Text(),
        "model_sha256": DIGEST,
        "p": Integer(3, limits.MODULUS),
        "neurons": Integer(1, limits.NEURONS),
        "amplitude_exponent": _EXPONENT,
        "directions": Items(
            Items(Integer(-limits.DIRECTION, limits.DIRECTION), 1, limits.DIRECTIONS), 3, limits.OUTPUTS
        ),
        "families": Items(
            Record(
                {
                    "frequency": _FREQUENCY,
                    "dc": _PART,
                    "profile": Table((_PART,) * 4, 1, limits.HARMONICS),
                    "outputs": Integer(1, limits.OUTPUT_HARMONICS),
                    "members": Table((_NEURON, Integer(1, limits.AMPLITUDE), _PHASE), 1, limits.NEURONS),
                }
            ),
            0,
            limits.FAMILIES,
        ),
        "others": Items(
            Record({"frequency": _FREQUENCY, "neurons": Items(_NEURON, 1, limits.NEURONS)}), 0, limits.FAMILIES
        ),
        "nodes": Integer(64, limits.NODES),
        "boxes": Items(Record({"frequency": _FREQUENCY, "whole": _PHASE, "half": _PHASE}), 0, limits.FAMILIES),
    }
)
DEFORMATION = Record(
    {
        "exponent": _EXPONENT,
        "constant": _BY_OUTPUT,
        "waves": Items(
            Record({"frequency": _FREQUENCY, "cosine": _BY_OUTPUT, "sine": _BY_OUTPUT}), 0, limits.FULL_PRODUCT
        ),
    }
)
"""What a certificate may have besides: `deformation`."""


@dataclass(frozen=True, slots=True)
class Deformation:
    """What is added to the closed form's waves over the outputs (docs/theory.md §5).

    **Fields**

    - `constant` [p]: in units of 2^`exponent` logits.
    - `waves`: by frequency, what is added to cos 2πjc/p and to sin 2πjc/p, [2, p] in units of 2^-20.
    """

    exponent: int
    constant: Ints
    waves: dict[int, Ints]


@dataclass(frozen=True, slots=True)
class Family:
    """Neurons claimed to be translates of one profile T (docs/theory.md §4).

    **Fields**

    - `dc`, and `profile` [H, 4]: Re z^A, Im z^A, Re z^B, Im z^B by harmonic, in units of 2^-24.
    - `outputs`: the closed form has the family's outputs at frequency, 2·frequency, …, `outputs`·frequency.
    - `neurons`, `amplitudes` (units of 2^amplitude_exponent), `phases` (units of 2^-32 turn): [m] each.
    """

    frequency: int
    dc: int
    profile: Ints
    outputs: int
    neurons: Ints
    amplitudes: Ints
    phases: Ints


@dataclass(frozen=True, slots=True)
class Certificate:
    """A decoded certificate; see `docs/certificate.md` for the format.

    **Fields**

    - `directions` [q, L]: the output directions U, in units of 2^-20.
    - `orders` [n]: the frequency whose token order each neuron's events follow: its family's, or that of `others`.
    - `others`: how many neurons are in no family.
    - `nodes`: N of Lemma I.
    - `boxes`: by frequency of the families, where the rectangle method lays its first box, on the circle and on the
      half circle, in units of 2^-32 turn.
    - `deformation`: None for a pure closed form.
    """

    model_sha256: str
    p: int
    neurons: int
    amplitude_exponent: int
    directions: Ints
    families: tuple[Family, ...]
    orders: Ints
    others: int
    nodes: int
    boxes: dict[int, tuple[int, int]]
    deformation: Deformation | None


def read_certificate(data: bytes, source: str = "certificate") -> Certificate:
    """Decode a certificate.

    **Raises** `Rejected` with `SIZE`, `JSON`, `FIELD`, `RANGE`, `FORMAT`, `NEURONS` or `FREQUENCY`.
    """
    value = decode(data, source, limits.CERTIFICATE_BYTES)
    require_format(value, FORMAT, source)
    more = {"deformation": DEFORMATION} if isinstance(value, dict) and "deformation" in value else {}
    fields = Record(FORM.fields | more).read(value, source)
    p, n, rows = fields["p"], fields["neurons"], fields["directions"]
    require(len({len(row) for row in rows}) == 1, Reason.FIELD, f"{source}.directions: rows of different length")
    families = tuple(_family(item) for item in fields["families"])
    places = [(family.frequency, family.neurons) for family in families]
    places += [(item["frequency"], integers(item["neurons"])) for item in fields["others"]]
    neurons = np.concatenate([found for _, found in places]) if places else integers([])
    once = len(neurons) == n and bool((np.sort(neurons) == np.arange(n, dtype=np.int64)).all())
    require(once, Reason.NEURONS, f"{source}: not every one of {n} neurons once in families or others")
    orders = np.empty(n, dtype=np.int64)
    for frequency, found in places:
        orders[found] = frequency
    boxes = {box["frequency"]: (box["whole"], box["half"]) for box in fields["boxes"]}
    needed = {family.frequency for family in families}
    require(
        boxes.keys() == needed and len(boxes) == len(fields["boxes"]),
        Reason.FREQUENCY,
        f"{source}.boxes: not one row per frequency of the families",
    )
    half = (p - 1) // 2
    for frequency, _ in places:
        require(frequency <= half, Reason.FREQUENCY, f"{source}: frequency {frequency} is above (p − 1)/2 = {half}")
    written: set[int] = set()
    for family in families:
        multiples = [r * family.frequency % p for r in range(1, family.outputs + 1)]
        fits = all(j not in (0, p - j) for j in multiples)
        require(fits, Reason.FREQUENCY, f"{source}: an output harmonic of frequency {family.frequency} is 0 or p/2")
        written |= {min(j, p - j) for j in multiples}
    return Certificate(
        model_sha256=fields["model_sha256"],
        p=p,
        neurons=n,
        amplitude_exponent=fields["amplitude_exponent"],
        directions=integers(rows),
        families=families,
        orders=orders,
        others=n - sum(len(family.neurons) for family in families),
        nodes=fields["nodes"],
        boxes=boxes,
        deformation=_deformation(fields["deformation"], p, written, f"{source}.deformation") if more else None,
    )


def _deformation(fields: dict[str, Any], p: int, written: set[int], where: str) -> Deformation:
    """`written`: the closed form's frequencies."""
    most = limits.FULL_PRODUCT
    require(
        p <= most, Reason.SIZE, f"{where}: p = {p}; above {most}, where not every logit is evaluated, it must be absent"
    )
    rows = [fields["constant"], *(item[name] for item in fields["waves"] for name in ("cosine", "sine"))]
    require(all(len(row) == p for row in rows), Reason.FIELD, f"{where}: a row is not of p = {p} numbers")
    waves = {item["frequency"]: integers([item["cosine"], item["sine"]]) for item in fields["waves"]}
    once = len(waves) == len(fields["waves"]) and waves.keys() <= written
    require(once, Reason.FREQUENCY, f"{where}.waves: not frequencies of the closed form, each once at most")
    return Deformation(fields["exponent"], integers(fields["constant"]), waves)


def _family(fields: dict[str, Any]) -> Family:
    neurons, amplitudes, phases = map(integers, fields["members"])
    return Family(
        frequency=fields["frequency"],
        dc=fields["dc"],
        profile=np.ascontiguousarray(integers(fields["profile"]).T),
        outputs=fields["outputs"],
        neurons=neurons,
        amplitudes=amplitudes,
        phases=phases,
    )
