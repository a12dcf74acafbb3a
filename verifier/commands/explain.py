"""`verifier explain`: say in words and numbers how a model computes."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, print_table, progress, say

if TYPE_CHECKING:
    from verifier.report.facts import Mechanism
    from verifier.report.subject import Subject

HELP = """Say in words and numbers how a model computes. Every number is an estimate in float64; 'verifier check'
and 'verifier certify' give the proved ones. Nothing is written."""
WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject_arguments(parser)
    add_output_arguments(parser)


def add_subject_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--effort",
        type=int,
        choices=range(5),
        metavar="0..4",
        help="make a new certificate with this effort, instead of using a stored one",
    )


def run(arguments: argparse.Namespace) -> int:
    from verifier.report.facts import mechanism_document, read_mechanism
    from verifier.report.subject import find_subject

    with progress(quiet=arguments.quiet or arguments.json) as observe:
        subject = find_subject(
            arguments.subject,
            model=arguments.model,
            certificates=arguments.certificates,
            effort=arguments.effort,
            cheapest=True,
            observe=observe,
        )
        observe("read the logits", 0, 1)
        mechanism = read_mechanism(subject.circuit, subject.certificate)
    if arguments.json:
        files = {
            "model": str(subject.source.path),
            "model_sha256": subject.source.sha256,
            "certificate": str(subject.folder / "certificate.json") if subject.folder else None,
        }
        emit_json(files | mechanism_document(mechanism))
    elif not arguments.quiet:
        _print(subject, mechanism)
    return OK


def _print(subject: Subject, m: Mechanism) -> None:
    known = subject.certificate.families
    count = len(m.frequencies)
    stored = f"{subject.folder}/certificate.json" if subject.folder else "a new certificate (not stored)"
    _paragraph(f"{subject.source.path}: how it adds modulo {m.p}")
    say()
    _paragraph(f"All numbers are estimates in float64, not proved. The families are those of {stored}.")
    say()
    _paragraph(
        f"{m.neurons} neurons work at {_many(count, 'frequency', 'frequencies')}, in "
        f"{_many(len(known), 'family', 'families')}. "
        "A neuron of frequency k and phase φ "
        "sees cos 2π(ka/p + φ) + cos 2π(kb/p + φ) and keeps the positive part. It writes to the logits at "
        "frequency k with phase ψ near 2φ + c. With phases all around the circle, the neurons' sum is a quadrature "
        "rule of an "
        "integral that is largest at the output a + b."
    )
    say()
    header = (
        "k",
        "neurons",
        "families",
        "off uniform",
        "gap",
        "ψ off 2φ",
        "DC",
        "2nd harm.",
        "rule err.",
        "logits",
        "missed",
    )
    rows = [
        (
            f.frequency,
            f.neurons,
            f.families,
            f"{f.kuiper:.3f}",
            f"{360 * f.largest_gap:.1f}°",
            f"{360 * f.angle_rms:.2f}°",
            f"{f.dc:+.3f}",
            f"{f.second:.3f}",
            f"{f.rule_error:.3f}",
            f"{f.share:.2%}",
            f"{f.unexplained:.2%}",
        )
        for f in m.frequencies
    ]
    print_table(header, rows, align="r" * len(header))
    say()
    legend = (
        ("off uniform", "Kuiper's distance of the weighted phases from a uniform spread; 0 is perfect"),
        ("gap", "largest gap between neighbouring phases"),
        ("ψ off 2φ", "rms of output phase minus twice the input phase, weighted"),
        ("DC, 2nd harm.", "of the profile, relative to its first harmonic; a pure cosine has 0 and 0"),
        ("rule err.", "largest error of the quadrature rule over the naive bound 4/(3π)"),
        ("logits", "share of the variance of the logits over outputs"),
        ("missed", "part of that which the closed form does not explain, as a share of the whole"),
    )
    print_table(("", ""), legend, align="ll")
    say()
    sample = "" if m.looked_at == m.p**2 else f" (a sample of {m.p**2})"
    rows_left: list[tuple[str, str]] = [
        (
            "unexplained",
            f"{m.unexplained:.3%} of the logits' variance; {m.other_share:.3%} is at frequencies no family has",
        ),
        ("outside families", f"{m.on} neurons taken as linear, {m.off} as zero"),
        ("looked at alone", f"{m.outliers} neurons, evaluated at each input"),
        ("answers", f"{m.correct} of {m.looked_at} inputs correct{sample}, least margin {m.least_margin:.3f}"),
        ("closed form", f"no logit further from it than {m.largest_deviation:.3f}"),
    ]
    print_table(("", ""), rows_left, title="What is left (estimates)", align="ll")


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _paragraph(text: str) -> None:
    for line in textwrap.wrap(text, WIDTH):
        say(line)
