"""A conclusion for people and for programs: the aligned summary, and the object that `--json` prints.

Every number here was proved, except where it is called an estimate or is a time. Bounds are decimals rounded outward:
upper bounds up, lower bounds down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verifier.attention_words import attention_failure, attention_words
from verifier.console import decimal_bound, print_table, say
from verifier.kernel.claim import ADDITION, MULTIPLICATION
from verifier.model import answer
from verifier.proof.statement import exact as exactly
from verifier.proof.statement import relative_network_error

if TYPE_CHECKING:
    from verifier.prove import Attempt, Outcome

Document = dict[str, Any]
JSON_DIGITS, TEXT_DIGITS = 10, 4
LISTED = 10
"""How many uncertified or wrong inputs the summary lists; `--json` lists up to 256, as the conclusion does."""

METHODS = ("rectangle", "harmonic", "arc_sum", "bound", "relative_bound")
UPPER = {*METHODS, "network_error", "max_error", "error", "gap_error", "floating_point", "deformation"}
BUDGET_NAMES = {
    "quadrature": "quadrature (Theorem Q)",
    "profile": "real neurons, besides",
    "other_frequencies": "at other frequencies",
    "output_rest": "outside the directions",
    "fixed_point": "fixed point",
    "attention": "attention intervals",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What happened to one model.

    **Fields**

    - `model`: the file, as the user named it; `outcome`: what the kernel said.
    - `attempt`: how the certificate was found; None when it was given.
    - `files`: what was written, or is there, by kind. `signed_by`: whose signature the proof has.
    - `kept`: the proof was there already, and is still good.
    - `assumptions`: what an import took for granted, as phrases. `notes`: what else the user should know.
    """

    model: str
    outcome: Outcome
    attempt: Attempt | None = None
    files: Mapping[str, str] | None = None
    signed_by: str = ""
    kept: bool = False
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def upper(number: Mapping[str, Any], digits: int = JSON_DIGITS) -> str:
    return decimal_bound(int(number["mantissa"]), number["exponent"], digits, "upper")


def lower(number: Mapping[str, Any], digits: int = JSON_DIGITS) -> str:
    return decimal_bound(int(number["mantissa"]), number["exponent"], digits, "lower")


def total(numbers: Iterable[Mapping[str, Any]]) -> Document:
    """The exact sum."""
    items = [(int(item["mantissa"]), item["exponent"]) for item in numbers]
    exponent = min((exponent for _, exponent in items), default=0)
    return {"mantissa": sum(mantissa << (x - exponent) for mantissa, x in items), "exponent": exponent}


def conclusion_of(outcome: Outcome) -> Document | None:
    """The conclusion's document, if anything was proved."""
    return None if outcome.checked is None else outcome.checked.conclusion.document()


def document(result: Result) -> Document:
    """The object that `--json` prints: the conclusion, its dyadics as decimals rounded outward."""
    outcome, found = result.outcome, conclusion_of(result.outcome)
    status: Document = {"proved": outcome.proved}
    if not outcome.proved:
        status["reason"] = outcome.failure
    if found is None:
        status["model"] = {"file": result.model}
    else:
        status |= _decimals(found)
        status["model"] = {"file": result.model, **status["model"]}
        status["cost"]["seconds"] = round(outcome.seconds, 3)
    if result.attempt is not None:
        status["explanation"] = {"seconds": round(result.attempt.seconds, 3)}
        status["answers"] = answers(result)
    if result.files is not None:
        status["files"] = dict(result.files)
        status["signed_by"] = result.signed_by
        status["kept"] = result.kept
    return status | {"assumptions": list(result.assumptions), "notes": list(result.notes)}


def _decimals(value: Any, name: str = "") -> Any:
    """Dyadics as decimals: bounds from above and terms of the budget up, the others down; of a pair, both ways."""
    if isinstance(value, dict):
        if value.keys() == {"mantissa", "exponent"}:
            return (upper if name in UPPER else lower)(value)
        return {k: _decimals(v, "max_error" if name in ("budget", "max_error") else k) for k, v in value.items()}
    if isinstance(value, list):
        if len(value) == 2 and all(isinstance(x, dict) and x.keys() == {"mantissa", "exponent"} for x in value):
            return [lower(value[0]), upper(value[1])]
        return [_decimals(item, name) for item in value]
    return value


def answers(result: Result) -> Document | None:
    """How many inputs are answered right and proved, right and not proved, and wrong; None where it is not known.

    What is right but not proved, and what is wrong, the exact strategy knows.
    """
    exact = _exact(result)
    found = conclusion_of(result.outcome)
    if found is None:
        return None
    certified, inputs = found["accuracy"]["certified_inputs"], found["accuracy"]["total_inputs"]
    if exact is None:
        return {"proved": certified, "open": inputs - certified} if certified < inputs else {"proved": certified}
    wrong = exact["accuracy"]["wrong_inputs"]
    return {"proved": certified, "not_proved": inputs - certified - wrong, "wrong": wrong}


def _exact(result: Result) -> Document | None:
    """The conclusion of the exact strategy, whether or not it proved the claim."""
    outcomes = [result.outcome, *(result.attempt.others.values() if result.attempt is not None else ())]
    for outcome in outcomes:
        found = conclusion_of(outcome)
        if found is not None and found["accuracy"]["strategy"] == "exact":
            return found
    return None


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
    """The summary, 80 columns wide at most but for long file names."""
    found = conclusion_of(result.outcome)
    rows = [("model", result.model)]
    if found is None:
        rows.append(("reason", result.outcome.failure))
        return [Table("NOT PROVED, and nothing was proved instead", ("", ""), rows, "ll")]
    tables = [Table(headline(result, found), ("", ""), rows + _facts(result, found), "ll")]
    if found["quadrature"]:
        tables.append(_quadrature_table(found))
    tables.append(_budget_table(found))
    accuracy = found["accuracy"]
    if accuracy["uncertified"]:
        tables.append(_inputs_table(found, "not certified", accuracy["uncertified"], accuracy["uncertified_inputs"]))
    exact = _exact(result)
    if exact is not None and exact["accuracy"]["wrong"]:
        wrong = exact["accuracy"]
        tables.append(_inputs_table(exact, "answered wrong", wrong["wrong"], wrong["wrong_inputs"]))
    return tables


def pairs(task: str) -> str:
    """What the inputs of a task are."""
    return "(a, b) without a zero" if task == MULTIPLICATION else "(a, b)"


def headline(result: Result, found: Document) -> str:
    accuracy, task = found["accuracy"], task_of(found)
    certified, inputs = accuracy["certified_inputs"], accuracy["total_inputs"]
    if not result.outcome.proved:
        return (
            f"NOT PROVED: {certified} of {inputs} inputs certified, the claim says {found['claim']['certified_inputs']}"
        )
    count = f"all {inputs} inputs" if certified == inputs else f"at least {certified} of the {inputs} inputs"
    state = "already certified" if result.kept else "PROVED"
    given = "".join(f", {assumption}" for assumption in result.assumptions)
    return f"{state}{given}: for {count} {pairs(task)} the largest logit is that of {task[:-1]}{found['model']['p']}"


def task_of(found: Document) -> str:
    """The claim's task; a conclusion about addition does not name it."""
    return str(found["claim"].get("task", ADDITION))


def _facts(result: Result, c: Document) -> list[tuple[str, str]]:
    accuracy, model, cost, form = c["accuracy"], c["model"], c["cost"], c["closed_form"]
    inputs, least = accuracy["total_inputs"], lower(accuracy["min_margin"], TEXT_DIGITS)
    everything = accuracy["certified_inputs"] == inputs
    strategies = {"linear": "in linear time", "exact": "from exact logits", "semi-linear": "by one dense pass"}
    shape = (
        f"p = {model['p']}, {model['neurons']} neurons, {model['outputs']} outputs, {model['parameters']} parameters"
    )
    rows = [
        ("sha256", model["sha256"]),
        ("network", shape),
        ("certified", f"{accuracy['certified_inputs']} of {inputs} inputs, {strategies[accuracy['strategy']]}"),
        (
            "margin",
            f"the right logit leads every other one by at least {least}"
            if everything
            else f"{least} at the worst input",
        ),
    ]
    found = answers(result)
    if found is not None and "wrong" in found and not everything:
        text = f"{found['proved']} right and proved, {found['not_proved']} not proved, {found['wrong']} proved wrong"
        rows.append(("answers", text))
    if accuracy["semantics"] == "real":
        rows.append(("arithmetic", "exact (real numbers)"))
    else:
        off = upper(accuracy["floating_point"], TEXT_DIGITS)
        rows.append(("arithmetic", f"{accuracy['semantics']}: every executed logit is within {off} of the exact one"))
    if model["attention"]["kind"] == "softmax":
        rows.append(("attention", attention_words(c)))
    error, gap = upper(form["error"], TEXT_DIGITS), lower(form["least_gap"], TEXT_DIGITS)
    if form["explains_all"]:
        sentence = f"every logit is within {error} of the closed form, whose right answer always leads by {gap} or more"
        rows.append(("explained", f"all {inputs} inputs by one sentence: {sentence}"))
    else:
        share = f"{accuracy['explained_inputs']} of {inputs} inputs by the closed form alone"
        rows.append(("explained", f"{share} (its error {error}, its least lead {gap})"))
    if "deformation" in form:
        most = upper(form["deformation"], TEXT_DIGITS)
        rows.append(("deformed", f"the closed form's waves are no pure cosines; no logit moves by more than {most}"))
    if accuracy["gap_error"] is not None:
        relative = upper(accuracy["gap_error"], TEXT_DIGITS)
        rows.append(("gap error", f"every lead is that of the closed form, up to a relative error of {relative}"))
    parts = c["certificate"]
    counts = [_many(parts["families"], "family", "families"), _many(parts["directions"], "output direction")]
    counts += [_many(parts["others"], "neuron") + " outside families"] * bool(parts["others"])
    rows.append(("explanation", ", ".join(counts)))
    seconds = f"{result.outcome.seconds:.3f} s; {cost['operations']} operations"
    brute = f"brute force: {cost['brute_force']} multiply-adds"
    rows.append(("cost", f"{seconds}, {cost['per_parameter']} per parameter; {cost['events']} events; {brute}"))
    if result.files is not None:
        labels = ["files", *[""] * (len(result.files) - 1)]
        rows += list(zip(labels, result.files.values(), strict=True))
    if result.signed_by:
        rows.append(("signed by", result.signed_by))
    rows += [("note", note) for note in result.notes]
    return rows


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def causes(result: Result) -> list[str]:
    """What keeps inputs from being certified, by size, and what would succeed."""
    found, exact = conclusion_of(result.outcome), _exact(result)
    if found is None:
        return []
    accuracy, budget = found["accuracy"], found["logits"]["budget"]
    least, off = exactly(accuracy["min_margin"]), 2 * exactly(accuracy["floating_point"])
    losses = [
        ("the bound of the arithmetic", off),
        ("attention within its range", 2 * exactly(budget["attention"])),
    ]
    if exact is not None:
        lost = exactly(exact["accuracy"]["min_margin"]) - least
        losses.append(("what the explanation leaves out", lost))
    losses = sorted(((name, size) for name, size in losses if size > 0), key=lambda item: -item[1])
    notes = [f"{name} takes up to {float(size):.3g} of a margin" for name, size in losses]
    if off > 0 and not accuracy["certified_inputs"] and least + off > 0:
        notes[0] = f"the bound of the arithmetic, {float(off):.4g}, is above every margin"
    if least + off > 0 >= least:
        notes.append("in exact arithmetic (--semantics real) every input would be certified")
    attention = attention_failure(found)
    if attention is not None:
        notes.append(attention)
    if accuracy["certified_inputs"]:
        strategy = accuracy["strategy"]
        notes.append(f"--at-least {accuracy['certified_inputs']} --strategy {strategy} claims what was proved")
    return notes


def _quadrature_table(c: Document) -> Table:
    header = ("k", "neurons", "rectangle", "harmonic", "arc sum", "bound", "relative", "network")
    rows = []
    for bound in c["quadrature"]:
        values = [upper(bound[name], TEXT_DIGITS) for name in METHODS]
        network = relative_network_error(exactly(bound["network_error"]), exactly(bound["amplitude"]))
        last = "unknown" if network is None else f"{-(-network.numerator * 1000 // network.denominator) / 1000:.3f}"
        rows.append((str(bound["frequency"]), str(bound["neurons"]), *values, last))
    title = "quadrature error by frequency k (Theorem Q; weights sum to 2π; relative: to the naive bound 0.4245)"
    return Table(title, header, rows, "r" * len(header))


def _whole(term: Document) -> Document:
    return term if "mantissa" in term else total(term.values())


def _budget_table(c: Document) -> Table:
    rows = []
    for name, term in c["logits"]["budget"].items():
        parts = ""
        if "mantissa" not in term:
            listed = sorted(term.items(), key=lambda item: -exactly(item[1]))
            shown = [f"{k}: {upper(x, 3)}" for k, x in listed[:3]]
            parts = ", ".join(shown) + (f", {len(listed) - 3} more" if len(listed) > 3 else "")
        rows.append((BUDGET_NAMES[name], upper(_whole(term), TEXT_DIGITS), parts))
    pure = "deformation" not in c["closed_form"]
    together = "together, at any input" if pure else "left by the deformed form"
    rows.append((together, upper(c["logits"]["max_error"], TEXT_DIGITS), ""))
    what = "the closed form" if pure else "a form of pure cosines"
    title = f"distance of a logit from {what} (Theorem L), and what it is made of"
    return Table(title, ("term", "at most", "by frequency"), rows, "lrl")


def _inputs_table(c: Document, what: str, listed: list[Document], count: int) -> Table:
    """The worst inputs that are not certified, or answered wrong; of those, what the network says as well."""
    p, task = c["model"]["p"], task_of(c)
    says = ("answer",) if "answer" in listed[0] else ()
    rows = [
        (
            *(str(x[name]) for name in ("a", "b")),
            str(answer(task, p, x["a"], x["b"])),
            *(str(x[name]) for name in says),
            lower(x["margin"], TEXT_DIGITS),
        )
        for x in listed[:LISTED]
    ]
    title = f"{_many(count, 'input is', 'inputs are')} {what}" + f", the worst {LISTED} of them" * (count > LISTED)
    header = ("a", "b", f"{task[1:6]} mod {p}", *(("the network says", "by at least") if says else ("margin",)))
    return Table(title, header, rows, "r" * len(header))


def overview(entries: Sequence[tuple[str, str, Result | None]], *, quiet: bool = False) -> None:
    """Print one line per model: (name, state, result)."""
    header = ("model", "state", "certified", "explained", "margin", "seconds")
    rows = [(name, state, *_overview_cells(result)) for name, state, result in entries]
    print_table(header, rows, align="llrrrr", quiet=quiet)
    say(quiet=quiet)


def _overview_cells(result: Result | None) -> tuple[str, str, str, str]:
    found = None if result is None else conclusion_of(result.outcome)
    if result is None or found is None:
        return "", "", "", ""
    accuracy = found["accuracy"]
    inputs = accuracy["total_inputs"]
    return (
        f"{accuracy['certified_inputs']}/{inputs}",
        f"{accuracy['explained_inputs']}/{inputs}",
        lower(accuracy["min_margin"], TEXT_DIGITS),
        f"{result.outcome.seconds:.3f}",
    )
