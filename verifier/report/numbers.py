"""The kernel's exact numbers as decimals that are still bounds, and as floats for pictures."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from verifier.console import decimal_bound
from verifier.kernel import Conclusion, Dyadic

if TYPE_CHECKING:
    from verifier.report.mechanism import AttentionUse


def exact(value: Dyadic) -> Fraction:
    return value.mantissa * Fraction(2) ** value.exponent


def number(value: Dyadic) -> float:
    """The nearest float, for pictures."""
    return float(exact(value))


def at_most(value: Dyadic, digits: int = 3) -> str:
    return decimal_bound(value.mantissa, value.exponent, digits, "upper").replace("-", "−")


def at_least(value: Dyadic, digits: int = 3) -> str:
    return decimal_bound(value.mantissa, value.exponent, digits, "lower").replace("-", "−")


def total(values: Iterable[Dyadic]) -> Dyadic:
    values = list(values)
    unit = min((x.exponent for x in values), default=0)
    return Dyadic(sum(x.mantissa << x.exponent - unit for x in values), unit)


def budget_totals(conclusion: Conclusion) -> dict[str, Dyadic]:
    """The terms of the budget of the logits, each summed over the frequencies where it has them."""
    return {
        name: term if isinstance(term, Dyadic) else total(term.values())
        for name, term in conclusion.logits.budget.items()
    }


def replaced_words(use: AttentionUse) -> str:
    """What attention is for: answers with it replaced, and the waves that the logits are made of."""
    form = (
        f"Waves of a + b at the frequencies of the families, with any output, are {use.form_share:.2%} of the variance "
        "of the logits (estimate)."
    )
    if use.constant is None or use.waves is None:
        return f"Nothing is proved about replaced attention: {use.failure}. {form}"
    return (
        f"With the weights of every head replaced by waves of its one frequency in a and b, {use.waves.right} of "
        f"{use.waves.inputs} answers are right and {use.waves.wrong} wrong; replaced by their mean, "
        f"{use.constant.right} are right and {use.constant.wrong} wrong. The kernel proves it, in exact arithmetic; it "
        f"is no part of a signed statement. {form}"
    )
