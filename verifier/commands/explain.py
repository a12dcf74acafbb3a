"""`verifier explain`: say in words and numbers how a model computes."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, print_table, progress, say, wrapped

if TYPE_CHECKING:
    from verifier.report.case import Case
    from verifier.report.mechanism import AttentionUse, Mechanism

HELP = """Say in words and numbers how a model adds, subtracts or multiplies: families, output directions, what the
closed form explains. What the kernel did not prove is called an estimate. Nothing is written."""
VERBS = {"+": "adds", "-": "subtracts", "*": "multiplies"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_case_arguments(parser)
    add_output_arguments(parser)


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """The model or certificate, and where the other files are; for every command about the two."""
    parser.add_argument(
        "subject", type=Path, metavar="MODEL|CERT", help="a model file or checkpoint, or a certificate.json"
    )
    parser.add_argument(
        "--model", type=Path, help="the certificate's model (default: the one in models/ named like its folder)"
    )
    parser.add_argument(
        "--certificates",
        type=Path,
        default=Path("certificates"),
        metavar="DIR",
        help="where to look for a model's certificate (default: %(default)s)",
    )
    parser.add_argument("--fresh", action="store_true", help="make a new certificate instead of using a stored one")


def case_of(arguments: argparse.Namespace) -> tuple[Case, Mechanism]:
    """The case that the arguments name, and its mechanism.

    **Raises** `InputError`.
    """
    from verifier.report.case import read_case
    from verifier.report.mechanism import read_mechanism

    with progress(quiet=arguments.quiet or arguments.json) as observe:
        case = read_case(
            arguments.subject,
            model=arguments.model,
            certificates=arguments.certificates,
            fresh=arguments.fresh,
            observe=observe,
        )
        observe("read the logits", 0, 1)
        return case, read_mechanism(case)


def run(arguments: argparse.Namespace) -> int:
    case, mechanism = case_of(arguments)
    if arguments.json:
        emit_json(_document(case, mechanism))
    elif not arguments.quiet:
        _print(case, mechanism)
    return OK


def _document(case: Case, m: Mechanism) -> dict[str, object]:
    """Estimates as plain floats, angles in turns; and the proved conclusion's parts as they are."""
    conclusion = case.checked.conclusion.document()
    return {
        "model": str(case.model.path),
        "model_sha256": case.model.sha256,
        "certificate": str(case.folder / "certificate.json") if case.folder else None,
        "estimates": {
            "what": "float64, not proved; angles in turns",
            "p": m.p,
            "neurons": m.neurons,
            "others": m.others,
            "right_inputs": int(m.right.sum()),
            "other_share": m.other_share,
            "deformed_share": m.deformed_share,
            "frequencies": [asdict(f) for f in m.frequencies],
            "directions": [asdict(d) for d in m.directions],
            **({} if m.attention is None else {"heads": [asdict(h) for h in m.attention.heads]}),
            **({} if m.attention is None else {"waves_of_the_sum": m.attention.form_share}),
        },
        "proved": {name: conclusion[name] for name in ("quadrature", "logits", "closed_form", "accuracy")},
        "proved_beside_the_statement": None if m.attention is None else _replaced(m.attention),
    }


def _replaced(use: AttentionUse) -> dict[str, object]:
    """Counts of answers with replaced attention; C of docs/theory.md in units of 2^-20, by position and head."""
    found = {"attention_constant": use.constant, "attention_one_frequency": use.waves}
    document: dict[str, object] = {
        name: {**asdict(x), "table": x.table.tolist()} for name, x in found.items() if x is not None
    }
    return document | ({"reason": use.failure} if use.failure else {})


def _print(case: Case, m: Mechanism) -> None:
    from verifier.kernel.operation import words
    from verifier.report.numbers import at_least, at_most, budget_totals
    from verifier.results import BUDGET_NAMES

    conclusion = case.checked.conclusion
    stored = f"{case.folder}/certificate.json" if case.folder else "a new certificate (not stored)"
    claim = conclusion.claim
    _paragraph(f"{case.model.path}: how it {VERBS[claim.task[3]]} modulo {claim.p}, by {stored}")
    _paragraph(words(claim.task, claim.p))
    say()
    names = ", ".join(str(f.frequency) for f in m.frequencies)
    _paragraph(
        f"{m.neurons - m.others} of {m.neurons} neurons work at {_many(len(m.frequencies), 'frequency', 'frequencies')}"
        f" k = {names}. One with phase φ sees cos 2π(ka/p + φ) + cos 2π(kb/p + φ) and keeps the positive part. "
        "It writes to the logits at frequency k with phase 2φ + c. With phases all around the circle the neurons' sum "
        "is a quadrature of an integral, and that is largest at the output a + b."
    )
    say()
    rules = {rule.frequency: rule for rule in conclusion.quadrature}
    rows = [
        (
            f.frequency,
            f.neurons,
            f"{f.share:.2%}",
            f"{360 * f.angle_rms:.2f}°",
            f"{f.dc:+.2f}",
            f"{f.second:.2f}",
            at_most(rules[f.frequency].relative_bound),
            at_most(rules[f.frequency].network_error),
            at_least(rules[f.frequency].amplitude),
        )
        for f in m.frequencies
    ]
    header = ("k", "neurons", "logits", "ψ − 2φ", "dc", "2nd", "rule", "error", "size")
    print_table(header, rows, title="Families of neurons, by frequency", align="r" * len(header))
    _paragraph(
        "Estimates: logits, share of their variance; ψ − 2φ, how far output phases are from twice the input's; dc "
        "and 2nd, constant and second harmonic of the profile. Proved: rule, its error over the naive bound; error, "
        "how far the network's own wave is from the closed form's, at most, in logits; size of the closed form's, at "
        "least."
    )
    say()
    if m.directions:
        lines = [
            (i, f"{d.of_logits:.3%}", d.frequency, f"{d.share:.2%}", f"{d.second}: {d.second_share:.2%}")
            for i, d in enumerate(m.directions, start=1)
        ]
        title = f"Output directions: {_many(len(lines), 'deformed cosine', 'deformed cosines')} (estimates)"
        print_table(("", "logits", "k", "cosine of k", "next"), lines, title=title, align="rrrrr")
        say()
    if m.attention is not None:
        _print_attention(m.attention)
        say()
    form, accuracy = conclusion.closed_form, conclusion.accuracy
    ratio = "none" if accuracy.gap_error is None else at_most(accuracy.gap_error)
    lead = f"lead at least {at_least(accuracy.min_margin)} ({accuracy.semantics})"
    facts = [
        ("γ", f"{at_least(form.least_gap)}: the closed form's right answer leads by so much, at least"),
        ("E", f"{at_most(form.error)}: every executed logit is within so much of it"),
        ("ρ", f"{ratio}: the relative error of its gaps, at most"),
        ("explained", f"{accuracy.explained_inputs} of {accuracy.total_inputs} inputs, by the formula and E alone"),
        ("certified", f"{accuracy.certified_inputs} of {accuracy.total_inputs}, {lead}"),
    ]
    if form.deformation is not None:
        share = f"{m.deformed_share:.1%} of its power (estimate)"
        facts.append(("deformed", f"{at_most(form.deformation)}: added to its pure cosines, at most; {share}"))
    print_table(("", ""), facts, title="The closed form (proved)", align="ll")
    say()
    budget = [(BUDGET_NAMES[name], at_most(value)) for name, value in budget_totals(conclusion).items()]
    pure = form.deformation is None
    together = "all together, at any one input" if pure else "left by the deformed form, at any one input"
    budget.append((together, at_most(conclusion.logits.max_error)))
    title = f"Distance of a logit from {'it' if pure else 'pure cosines'}, at most (proved)"
    print_table(("", ""), budget, title=title, align="lr")


def _print_attention(use: AttentionUse) -> None:
    from verifier.report.numbers import replaced_words

    rows = [
        (i, f"{h.low:.2f} to {h.high:.2f}", "constant" if h.frequency is None else h.frequency, f"{h.share:.1%}")
        for i, h in enumerate(use.heads)
    ]
    title = "Attention: the weight of the first position (estimates)"
    print_table(("head", "weight", "k", "by waves of k"), rows, title=title, align="rrrr")
    _paragraph(replaced_words(use))


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _paragraph(text: str) -> None:
    for line in wrapped(text):
        say(line)
