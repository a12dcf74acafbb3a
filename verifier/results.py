"""A conclusion for people and for programs: the aligned summary, and the object that `--json` prints.

Every number here was proved, except where it is called an estimate or is a time or a count of steps. Bounds
are decimals rounded outward: upper bounds up, lower bounds down.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from verifier.console import GAP, decimal_bound, print_table, say
from verifier.kernel.conclusion import Conclusion, Dyadic, QuadratureBound
from verifier.proof.statement import relative_network_error

if TYPE_CHECKING:
    from verifier.pipeline import Explained, Outcome, Trial

JSON_DIGITS, TEXT_DIGITS = 10, 4
WIDTH = 100
LISTED = 10
"""How many uncertified inputs the summary lists; `--json` lists all."""

NAIVE = Dyadic(466_647_228_127, -40)
"""4/(3π) rounded up: the error bound of a quadrature rule about which nothing is known (weights sum to 2π)."""

METHODS = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound")
BUDGET_NAMES = {
    "quadrature": "quadrature error (Theorem Q)",
    "profile": "profile: what is not a pure cosine",
    "other_frequencies": "written at other frequencies",
    "band": "band: neurons near their kink",
    "output_residual": "output rest of the neurons",
    "skip": "skip connection",
    "fixed_point": "fixed point",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to one model.

    **Fields**

    - `model`: the file, as the user named it; `outcome`: what the kernel said.
    - `explained`: how the certificate was found; None when it was given.
    - `files`: what was written, or is there, by kind. `signed_by`: whose signature the proof has.
    - `kept`: the proof was there already, and is still good.
    - `notes`: what the user should know.
    """

    model: str
    outcome: Outcome
    explained: Explained | None = None
    files: Mapping[str, str] | None = None
    signed_by: str = ""
    kept: bool = False
    notes: tuple[str, ...] = ()


def upper(number: Dyadic, digits: int = JSON_DIGITS) -> str:
    return decimal_bound(number.mantissa, number.exponent, digits, "upper")


def lower(number: Dyadic, digits: int = JSON_DIGITS) -> str:
    return decimal_bound(number.mantissa, number.exponent, digits, "lower")


def fraction(number: Dyadic) -> Fraction:
    """The exact value."""
    return number.mantissa * Fraction(2) ** number.exponent


def total(numbers: Iterable[Dyadic]) -> Dyadic:
    """The exact sum."""
    items = list(numbers)
    exponent = min((item.exponent for item in items), default=0)
    return Dyadic(sum(item.mantissa << (item.exponent - exponent) for item in items), exponent)


def document(result: Result) -> dict[str, object]:
    """The object that `--json` prints."""
    outcome = result.outcome
    status: dict[str, object] = {"proved": outcome.proved}
    if not outcome.proved:
        status["reason"] = outcome.failure
    if outcome.conclusion is not None:
        status |= conclusion_document(outcome.conclusion, outcome, result.model)
    else:
        status["model"] = {"file": result.model}
    if result.explained is not None:
        status["explanation"] = explained_document(result.explained)
    if result.files is not None:
        status["files"] = dict(result.files)
        status["signed_by"] = result.signed_by
        status["kept"] = result.kept
    return status | {"notes": list(result.notes)}


def conclusion_document(c: Conclusion, outcome: Outcome, model: str) -> dict[str, object]:
    """What was proved."""
    operations = sum(c.operations.values())
    claim = c.claim
    return {
        "theorem": c.theorem(),
        "model": {
            "file": model,
            "sha256": c.model_sha256,
            "p": c.p,
            "outputs": c.outputs,
            "neurons": c.neurons,
            "parameters": c.parameters,
        },
        "claim": {
            "sha256": c.claim_sha256,
            "certified_inputs": claim.certified_inputs,
            "strategy": claim.strategy,
            "semantics": claim.semantics,
            "refinement_budget": claim.refinement_budget,
        },
        "certificate": {"sha256": c.certificate_sha256, **c.explanation},
        "quadrature": [
            {
                "frequency": bound.frequency,
                "neurons": bound.neurons,
                "families": outcome.families.get(bound.frequency, 0),
                **{name: upper(getattr(bound, name)) for name in METHODS},
                "network_error": upper(bound.network_error),
                "amplitude": lower(bound.amplitude),
                "relative_network_error": _network(bound, JSON_DIGITS),
                "naive": upper(NAIVE),
            }
            for bound in c.quadrature
        ],
        "logits": {
            "max_error": upper(c.logits.max_error),
            "naive": upper(c.logits.naive),
            "budget": {
                name: upper(term) if isinstance(term, Dyadic) else {str(k): upper(x) for k, x in term.items()}
                for name, term in c.logits.budget.items()
            },
        },
        "accuracy": _accuracy_document(c),
        "cost": {
            "parameters": c.parameters,
            "ball_operations": operations,
            "per_parameter": _ratio(operations, c.parameters, 3),
            "by_step": dict(sorted(c.operations.items())),
            "brute_force": brute_force(c),
            "seconds": round(outcome.seconds, 3),
        },
    }


def _accuracy_document(c: Conclusion) -> dict[str, object]:
    accuracy = c.accuracy
    found: dict[str, object] = {
        "certified_inputs": accuracy.certified_inputs,
        "total_inputs": accuracy.total_inputs,
        "linear": accuracy.linear,
        "refined": accuracy.refined,
        "exhaustive": accuracy.exhaustive,
        "min_margin": lower(accuracy.min_margin),
        "semantics": accuracy.semantics,
        "floating_point": upper(accuracy.floating_point),
        "uncertified": [
            {"a": a, "b": b, "margin": lower(margin), "missing": upper(_negative(margin))}
            for a, b, margin in uncertified(c)
        ],
    }
    for name, ends in (("true_min_margin", accuracy.true_min_margin), ("max_deviation", accuracy.max_deviation)):
        if ends is not None:
            found[name] = [lower(ends[0]), upper(ends[1])]
    return found


def explained_document(explained: Explained) -> dict[str, object]:
    """Which effort the explainer chose, and what each that was tried bought and cost."""
    return {
        "effort": explained.effort,
        "trials": [_trial_document(trial) for trial in explained.trials],
        "seconds": round(explained.seconds, 3),
    }


def _trial_document(trial: Trial) -> dict[str, object]:
    c = trial.outcome.conclusion
    tried: dict[str, object] = {"effort": trial.effort, "proved": trial.outcome.proved}
    if c is not None:
        tried |= {
            "certified_inputs": c.accuracy.certified_inputs,
            "total_inputs": c.accuracy.total_inputs,
            "min_margin": lower(c.accuracy.min_margin),
            "per_parameter": _ratio(sum(c.operations.values()), c.parameters, 3),
        }
    return tried | {"seconds": round(trial.outcome.seconds, 3)}


def uncertified(c: Conclusion) -> list[tuple[int, int, Dyadic]]:
    """Every input that is not certified with its margin, zero or less; the worst first."""
    failing = sorted((margin, a, b) for a, row in enumerate(c.margins) for b, margin in enumerate(row) if margin <= 0)
    return [(a, b, Dyadic(margin, c.margin_exponent)) for margin, a, b in failing]


def _negative(number: Dyadic) -> Dyadic:
    return Dyadic(-number.mantissa, number.exponent)


def brute_force(c: Conclusion) -> int:
    """Multiply-adds of evaluating every logit of every input: n·p²·q."""
    return c.p**2 * c.neurons * c.outputs


def _ratio(numerator: int, denominator: int, places: int) -> str:
    """A quotient with so many decimal places, rounded up."""
    scaled = -(-numerator * 10**places // denominator)
    return f"{scaled // 10**places}.{scaled % 10**places:0{places}d}"


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of the summary; the header may be all empty."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    align: str


def show(result: Result, *, quiet: bool = False) -> None:
    """Print the summary of one model."""
    for table in summary(result):
        print_table(table.header, table.rows, title=table.title, align=table.align, quiet=quiet)
        say(quiet=quiet)


def summary(result: Result) -> list[Table]:
    """The summary, 100 columns wide at most but for long file names."""
    outcome, c = result.outcome, result.outcome.conclusion
    rows = [("model", result.model)]
    if c is None:
        rows.append(("reason", outcome.failure))
        return [Table("NOT PROVED, and nothing was proved instead", ("", ""), _wrapped(rows), "ll")]
    tables = [
        Table(_headline(result, c), ("", ""), _wrapped(rows + _facts(result, c)), "ll"),
        _quadrature_table(c, outcome),
        _budget_table(c),
    ]
    if result.explained is not None and len(result.explained.trials) > 1:
        tables.append(_trials_table(result.explained))
    if c.accuracy.certified_inputs < c.accuracy.total_inputs:
        tables.append(_uncertified_table(c))
    return tables


def _headline(result: Result, c: Conclusion) -> str:
    certified, inputs = c.accuracy.certified_inputs, c.accuracy.total_inputs
    if not result.outcome.proved:
        return f"NOT PROVED: {certified} of {inputs} inputs certified, the claim says {c.claim.certified_inputs}"
    count = f"all {inputs} inputs" if certified == inputs else f"at least {certified} of the {inputs} inputs"
    state = "already certified" if result.kept else "PROVED"
    return f"{state}: for {count} (a, b) the largest logit is that of (a + b) mod {c.p}"


def _facts(result: Result, c: Conclusion) -> list[tuple[str, str]]:
    accuracy, outcome = c.accuracy, result.outcome
    operations = sum(c.operations.values())
    shape = f"p = {c.p}, {c.neurons} neurons, {c.outputs} outputs, {c.parameters} circuit parameters"
    by = [("the linear pass", accuracy.linear), ("refinement", accuracy.refined), ("exhaustion", accuracy.exhaustive)]
    how = ", ".join(f"{count} by {name}" for name, count in by if count)
    least = lower(accuracy.min_margin, TEXT_DIGITS)
    rows = [
        ("sha256", c.model_sha256),
        ("network", shape),
        ("certified", f"{accuracy.certified_inputs} of {accuracy.total_inputs} inputs" + f" ({how})" * bool(how)),
        ("margin", f"the right logit leads every other one by at least {least}, at every input"),
    ]
    if accuracy.certified_inputs < accuracy.total_inputs:
        rows[-1] = ("margin", f"at least {least} at every input; positive where certified")
    if accuracy.true_min_margin is not None:
        low, high = (accuracy.true_min_margin[0], accuracy.true_min_margin[1])
        rows.append(("true margin", f"{lower(low, 6)} to {upper(high, 6)}, in exact arithmetic (least of all inputs)"))
    if accuracy.semantics == "real":
        rows.append(("arithmetic", "exact (real numbers)"))
    else:
        off = upper(accuracy.floating_point, TEXT_DIGITS)
        rows.append(("arithmetic", f"{accuracy.semantics}: every executed logit is within {off} of the exact one"))
    error, naive = upper(c.logits.max_error, TEXT_DIGITS), upper(c.logits.naive, TEXT_DIGITS)
    shared = "but for an amount that all logits of one input share"
    near = f"every exact logit is within {error} of it, {shared}; with the naive quadrature bound {naive}"
    rows.append(("closed form", near))
    if accuracy.max_deviation is not None:
        low, high = accuracy.max_deviation
        rows.append(("deviation", f"the largest true distance from it is {lower(low, 6)} to {upper(high, 6)}"))
    counts = (f"{count} {name.replace('_', ' ')}" for name, count in c.explanation.items() if count)
    rows.append(("explanation", ", ".join(counts)))
    per = _ratio(operations, c.parameters, 1)
    cost = f"{operations} ball operations, {per} per parameter, {outcome.seconds:.2f} s"
    rows.append(("cost", f"{cost}; brute force: {brute_force(c)} multiply-adds"))
    if result.files is not None:
        label = "files"
        for name in result.files.values():
            rows.append((label, name))
            label = ""
    if result.signed_by:
        rows.append(("signed by", result.signed_by))
    rows += [("note", note) for note in result.notes]
    return rows


def _wrapped(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Rows of at most `WIDTH` columns; words, such as file names, are not broken."""
    rows = list(rows)
    room = WIDTH - max(len(label) for label, _ in rows) - len(GAP)
    lines = []
    for label, text in rows:
        parts = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        lines += [(label * (index == 0), part) for index, part in enumerate(parts)]
    return lines


def _quadrature_table(c: Conclusion, outcome: Outcome) -> Table:
    header = (
        *("frequency", "neurons", "families", "rectangle", "harmonic", "arc sum", "bound", "naive", "relative"),
        "network",
    )
    naive = upper(NAIVE, TEXT_DIGITS)
    rows = []
    for bound in c.quadrature:
        values = [upper(getattr(bound, name), TEXT_DIGITS) for name in METHODS]
        families = str(outcome.families.get(bound.frequency, 0))
        cells = (str(bound.frequency), str(bound.neurons), families)
        rows.append((*cells, *values[:-1], naive, values[-1], _network(bound, TEXT_DIGITS) or "unknown"))
    title = "quadrature error bounds (Theorem Q; weights sum to 2π; network: relative, of the network itself)"
    return Table(title, header, rows, "r" * len(header))


def _network(bound: QuadratureBound, digits: int) -> str | None:
    """The network's own error at a frequency over the naive bound; None where none is known."""
    relative = relative_network_error(fraction(bound.network_error), fraction(bound.amplitude))
    if relative is None:
        return None
    return decimal_bound(-(-relative.numerator * 2**64 // relative.denominator), -64, digits, "upper")


def largest_term(c: Conclusion) -> str:
    """The largest term of the error budget, in words and with its bound."""
    whole = {name: term if isinstance(term, Dyadic) else total(term.values()) for name, term in c.logits.budget.items()}
    name = max(whole, key=lambda name: fraction(whole[name]))
    return f"{BUDGET_NAMES.get(name, name)}, {upper(whole[name], TEXT_DIGITS)}"


def _budget_table(c: Conclusion) -> Table:
    rows = []
    for name, term in c.logits.budget.items():
        if isinstance(term, Dyadic):
            parts, whole = "", term
        else:
            listed = sorted(term.items(), key=lambda item: -fraction(item[1]))
            shown = [f"{k}: {upper(x, TEXT_DIGITS)}" for k, x in listed[:4]]
            more = f", {len(listed) - 4} more" if len(listed) > 4 else ""
            parts, whole = ", ".join(shown) + more, total(term.values())
        rows.append((BUDGET_NAMES.get(name, name), upper(whole, TEXT_DIGITS), parts))
    rows.append(("all together, at any one input", upper(c.logits.max_error, TEXT_DIGITS), ""))
    return Table("error budget of the logits (Theorem L)", ("term", "bound", "by frequency"), rows, "lrl")


def show_trials(explained: Explained, *, quiet: bool = False) -> None:
    """Print what each effort bought and cost, if any was tried."""
    if explained.trials:
        table = _trials_table(explained)
        say(quiet=quiet)
        print_table(table.header, table.rows, title=table.title, align=table.align, quiet=quiet)


def explanation_counts(certificate: bytes) -> dict[str, int]:
    """How many there are of what a certificate speaks of; not proved, since it has not been checked."""
    value = json.loads(certificate)
    counts = {name: len(value[name]) for name in ("families", "output_frequencies", "outliers", "on", "off")}
    return counts | {"cells": value["cells"] * value["p"]}


def _trials_table(explained: Explained) -> Table:
    rows = []
    for trial in explained.trials:
        c = trial.outcome.conclusion
        cells = ("", "", "")
        if c is not None:
            cells = (
                f"{c.accuracy.certified_inputs}/{c.accuracy.total_inputs}",
                lower(c.accuracy.min_margin, TEXT_DIGITS),
                _ratio(sum(c.operations.values()), c.parameters, 1),
            )
        chosen = " (chosen)" * (trial.effort == explained.effort)
        rows.append((f"{trial.effort}{chosen}", *cells, f"{trial.outcome.seconds:.2f}"))
    header = ("effort", "certified", "margin", "operations per parameter", "seconds")
    return Table("efforts tried", header, rows, "lrrrr")


def _uncertified_table(c: Conclusion) -> Table:
    failing = uncertified(c)
    rows = [
        (str(a), str(b), str((a + b) % c.p), upper(_negative(margin), TEXT_DIGITS)) for a, b, margin in failing[:LISTED]
    ]
    more = f", the worst {LISTED} of them (--json lists all)" if len(failing) > LISTED else ""
    title = f"{len(failing)} inputs are not certified{more}"
    return Table(title, ("a", "b", f"a + b mod {c.p}", "margin missing"), rows, "rrrr")


def overview(entries: Sequence[tuple[str, str, Result | None]], *, quiet: bool = False) -> None:
    """Print one line per model: (name, state, result)."""
    header = ("model", "state", "certified", "semantics", "margin", "per parameter", "kernel seconds")
    rows = [(name, state, *_overview_cells(result)) for name, state, result in entries]
    print_table(header, rows, align="llrlrrr", quiet=quiet)
    say(quiet=quiet)


def _overview_cells(result: Result | None) -> tuple[str, str, str, str, str]:
    c = None if result is None else result.outcome.conclusion
    if result is None or c is None:
        return "", "", "", "", ""
    accuracy = c.accuracy
    return (
        f"{accuracy.certified_inputs}/{accuracy.total_inputs}",
        accuracy.semantics,
        lower(accuracy.min_margin, TEXT_DIGITS),
        _ratio(sum(c.operations.values()), c.parameters, 1),
        f"{result.outcome.seconds:.2f}",
    )
