"""What a conclusion document says about attention, in a sentence, and what to do when attention is why nothing is
proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

FAR = Fraction(1, 50)  # weights that range over more than this are far from constant


def attention_words(conclusion: Mapping[str, Any]) -> str:
    """The attention that a theorem is about: `attention 1/2, 1/2`; empty for a folded circuit."""
    attention = conclusion["model"]["attention"]
    if attention["kind"] == "none":
        return ""
    if attention["kind"] == "softmax":
        return f"attention by softmax of its own queries and keys, {_ranges(attention)} at the positions in order"
    weights = (low if low == high else f"anything from {low} to {high}" for low, high in attention["ranges"])
    return f"attention {', '.join(weights)}"


def attention_failure(conclusion: Mapping[str, Any], semi_linear: bool = True) -> str | None:
    """Why attention keeps a network from being proved, and what to do; None where attention is not the reason.

    **Arguments**

    - `conclusion`: the document of a check that did not reach its claim.
    - `semi_linear`: whether the semi-linear strategy, which evaluates the attention at every input, is still to be
      tried. It is not when it was what failed.
    """
    attention, budget = conclusion["model"]["attention"], conclusion["logits"]["budget"]
    accuracy = conclusion["accuracy"]
    lost, least = 2 * _value(budget["attention"]), _value(accuracy["min_margin"])
    if attention["kind"] == "none" or lost <= 0 or least > 0:
        return None
    if least + lost <= 0 and lost < abs(least) / 2:
        return None  # it fails without attention's part too, which is the smaller one
    spread = max(Fraction(high) - Fraction(low) for low, high in attention["ranges"])
    facts = (
        f"attention is {'far from' if spread > FAR else 'not quite'} constant: {_ranges(attention)} at its positions"
    )
    cost = f"{facts}, which takes up to {float(lost):.3g} of a margin"
    if attention["kind"] == "declared":
        return f"{cost}; a narrower interval may be proved, if the network's own attention lies in it"
    fixed = " ".join([str(Fraction(1, len(attention["ranges"])))] * len(attention["ranges"]))
    named = fixed.replace(" ", ", ")
    first = "--strategy semi-linear evaluates it at every input" if semi_linear else "nothing more can be proved here"
    return (
        f"{cost}; {first}; import with --attention '{fixed}' fixes it, and then every statement says 'with attention"
        f" fixed at {named}'"
    )


def _ranges(attention: Mapping[str, Any]) -> str:
    """Bounds to two digits, rounded outward: `between 0.03 and 0.98`; those of all positions in one where equal."""
    digits = 2
    while digits < 12 and any(
        Fraction(low) != Fraction(high) and (Fraction(high) - Fraction(low)) * 10**digits < 5
        for low, high in attention["ranges"]
    ):
        digits += 1
    found = [
        low if low == high else f"between {_down(Fraction(low), digits)} and {_up(Fraction(high), digits)}"
        for low, high in attention["ranges"]
    ]
    return found[0] if len(set(found)) == 1 else ", ".join(found)


def _down(value: Fraction, digits: int) -> str:
    return _decimal((value * 10**digits).__floor__(), digits)


def _up(value: Fraction, digits: int) -> str:
    return _decimal((value * 10**digits).__ceil__(), digits)


def _decimal(units: int, digits: int) -> str:
    sign, size = "-" * (units < 0), abs(units)
    return f"{sign}{size // 10**digits}.{size % 10**digits:0{digits}d}"


def _value(dyadic: Mapping[str, Any]) -> Fraction:
    value: Fraction = int(dyadic["mantissa"]) * Fraction(2) ** dyadic["exponent"]
    return value
