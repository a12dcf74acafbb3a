"""What a conclusion document says about attention, in a sentence, and what to do when attention is why nothing is
proved.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from verifier.proof.gate import decimal
from verifier.proof.statement import exact

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


def attention_failure(conclusion: Mapping[str, Any]) -> str | None:
    """Why attention keeps a network from being proved, and the ways out; None where attention is not the reason.

    **Arguments**

    - `conclusion`: the document of a check that did not reach its claim, by any strategy.
    """
    attention, accuracy = conclusion["model"]["attention"], conclusion["accuracy"]
    lost, least = 2 * exact(conclusion["logits"]["budget"]["attention"]), exact(accuracy["min_margin"])
    if attention["kind"] == "none" or lost <= 0 or least > 0:
        return None
    spread = max(Fraction(high) - Fraction(low) for low, high in attention["ranges"])
    dense = accuracy["strategy"] == "semi-linear"
    if (spread <= FAR) if dense else (lost < -least / 2):
        return None  # it would fail without what attention costs, too
    sentence = (
        f"attention is {'far from' if spread > FAR else 'not quite'} constant: {_ranges(attention)} at its positions"
    )
    sentence += "" if dense else f", which takes up to {float(lost):.3g} of a margin"
    if attention["kind"] == "declared":
        return f"{sentence}; a narrower interval may be proved, if the network's own attention lies in it"
    weights = [str(Fraction(1, len(attention["ranges"])))] * len(attention["ranges"])
    left = f"{accuracy['uncertified_inputs']} of {accuracy['total_inputs']} inputs are not proved"
    first = f"evaluated at every input, {left}" if dense else "--strategy semi-linear evaluates it at every input"
    return (
        f"{sentence}; {first}; --attention '{' '.join(weights)}' at the import fixes it, and then every statement says"
        f" 'with attention fixed at {', '.join(weights)}'"
    )


def _ranges(attention: Mapping[str, Any]) -> str:
    """Bounds to two digits, rounded outward: `between 0.03 and 0.98`; those of all positions in one where equal."""
    digits = 2
    while digits < 12 and any(
        Fraction(low) != Fraction(high) and (Fraction(high) - Fraction(low)) * 10**digits < 5
        for low, high in attention["ranges"]
    ):
        digits += 1
    found = []
    for low, high in attention["ranges"]:
        ends = decimal(Fraction(low), "lower", digits), decimal(Fraction(high), "upper", digits)
        found.append(low if low == high else f"between {ends[0]} and {ends[1]}")
    return found[0] if len(set(found)) == 1 else ", ".join(found)
