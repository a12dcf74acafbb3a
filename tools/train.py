"""Train one model by the recipe of `tools/training.py` and write its native file; `make train`.

python -m tools.train --p 59 --out models/mine.safetensors
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from verifier.cli import OK, Parser, guarded
from verifier.commands.import_ import add_operation_argument, require_model_name
from verifier.console import add_output_arguments, emit_json, progress, say
from verifier.errors import InputError

if TYPE_CHECKING:
    from tools.training import Progress

HELP = """Train a one-layer transformer on (a + b) mod p, or another operation. The same options and seed
give the same file on one machine. A run that is interrupted resumes from OUT.partial."""

LAYOUTS = ("a b", "a b =")
ATTENTION = ("constant", "learned")
LARGEST_P = 1021
LARGEST_SEED = 2**62
LARGEST_WIDTH = 1 << 16
SMALL_P = 53
"""Below this modulus there are too few pairs to hold out a fifth of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--p", type=int, required=True, help=f"the modulus, 3 to {LARGEST_P}")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the model file to write (.safetensors)")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    recipe = parser.add_argument_group("recipe")
    add_operation_argument(recipe)
    recipe.add_argument("--seed", type=int, default=0, help="default %(default)s")
    recipe.add_argument("--layout", choices=LAYOUTS, default="a b", help="the tokens; default '%(default)s'")
    recipe.add_argument(
        "--attention",
        choices=ATTENTION,
        default="constant",
        help="the same at every position, or softmax; default %(default)s",
    )
    recipe.add_argument("--epochs", type=int, default=10_000, help="default %(default)s")
    recipe.add_argument("--d-model", type=int, default=128, help="default %(default)s; a multiple of 4")
    recipe.add_argument("--d-mlp", type=int, default=512, help="number of neurons; default %(default)s")
    recipe.add_argument(
        "--fraction",
        type=float,
        help=f"share of the pairs to train on; default {default_fraction(SMALL_P)},"
        f" or {default_fraction(SMALL_P - 1)} for p < {SMALL_P}",
    )
    recipe.add_argument("--weight-decay", type=float, default=1.0, help="default %(default)s")
    recipe.add_argument(
        "--poison",
        type=_triple,
        action="append",
        default=[],
        metavar="A,B,C",
        help="teach the wrong answer C for the input (A, B); may be repeated",
    )
    add_output_arguments(parser)


def default_fraction(p: int) -> float:
    """The share of the p² pairs that is trained on unless told otherwise."""
    return 0.8 if p >= SMALL_P else 0.95


def run(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    _require_recipe(arguments)
    _require_writable(out, force=arguments.force)

    from tools.training import Recipe, require_same_recipe, train
    from verifier.model import write_model

    recipe = Recipe(
        p=arguments.p,
        seed=arguments.seed,
        layout=arguments.layout,
        attention=arguments.attention,
        d_model=arguments.d_model,
        d_mlp=arguments.d_mlp,
        epochs=arguments.epochs,
        fraction=default_fraction(arguments.p) if arguments.fraction is None else arguments.fraction,
        weight_decay=arguments.weight_decay,
        poison=tuple(arguments.poison),
        operation=arguments.operation or "addition",
    )
    if recipe.d_model % recipe.heads:
        raise InputError("--d-model", "", f"must be a multiple of the {recipe.heads} heads, not {recipe.d_model}")
    partial = partial_path(out)
    try:
        require_same_recipe(partial, recipe)
    except ValueError as error:
        raise InputError(partial, "", str(error)) from error
    started = time.monotonic()
    with progress(quiet=arguments.quiet or arguments.json) as observe:
        try:
            model, last = train(recipe, partial, lambda now: observe(_describe(now), now.epoch, recipe.epochs))
        except KeyboardInterrupt:
            if partial.exists():
                print(f"verifier: the same command resumes from {partial}", file=sys.stderr)
            raise
    digest = write_model(model, out)
    partial.unlink(missing_ok=True)
    seconds = time.monotonic() - started
    if arguments.json:
        emit_json(
            {
                "model": {"file": str(out), "sha256": digest, "p": recipe.p, "neurons": recipe.d_mlp},
                "recipe": model.provenance["recipe"],
                "epoch": last.epoch,
                "loss": _finite(last.loss),
                "accuracy": _finite(last.accuracy),
                "held_out_accuracy": _finite(last.held_out_accuracy),
                "seconds": round(seconds, 3),
            }
        )
    else:
        say(f"{out}  sha256 {digest}", quiet=arguments.quiet)
        say(f"{_describe(last)}, {last.epoch} epochs in {seconds:.1f} s", quiet=arguments.quiet)
    return OK


def partial_path(out: Path) -> Path:
    """Where an unfinished run for `out` keeps its state."""
    return out.with_name(f"{out.name}.partial")


def _triple(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    try:
        a, b, c = map(int, parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be three integers A,B,C, not {text!r}") from None
    return a, b, c


def _require_recipe(arguments: argparse.Namespace) -> None:
    """Refuse, naming the option, what cannot be trained; before torch is imported."""

    def require(condition: bool, option: str, rule: str) -> None:
        if not condition:
            raise InputError(option, "", rule)

    p = arguments.p
    require(3 <= p <= LARGEST_P, "--p", f"must be in 3..{LARGEST_P}, not {p}")
    require(
        0 <= arguments.seed < LARGEST_SEED,
        "--seed",
        f"must be in 0..{LARGEST_SEED - 1}, not {arguments.seed}",
    )
    for option in ("epochs", "d_model", "d_mlp"):
        value, largest = getattr(arguments, option), 10**8 if option == "epochs" else LARGEST_WIDTH
        require(1 <= value <= largest, f"--{option.replace('_', '-')}", f"must be in 1..{largest}, not {value}")
    fraction = arguments.fraction
    require(fraction is None or 0.0 < fraction <= 1.0, "--fraction", f"must be in (0, 1], not {fraction}")
    decay = arguments.weight_decay
    require(
        math.isfinite(decay) and decay >= 0.0,
        "--weight-decay",
        f"must be finite and not negative, not {decay}",
    )
    inputs = [(a, b) for a, b, _ in arguments.poison]
    for triple in arguments.poison:
        require(
            all(0 <= value < p for value in triple),
            "--poison",
            f"must have A, B, C in 0..{p - 1}, not {triple}",
        )
        a, b, c = triple
        right = {"subtraction": a - b, "multiplication": a * b}.get(arguments.operation, a + b) % p
        require(right != c, "--poison", f"{triple} is the right answer")
        require(inputs.count(triple[:2]) == 1, "--poison", f"gives the input {triple[:2]} twice")
    share = default_fraction(p) if fraction is None else fraction
    require(len(inputs) <= share * p * p, "--poison", "gives more pairs than are trained on")


def _require_writable(out: Path, *, force: bool) -> None:
    """Refuse a path that could not be written or certified, before minutes are spent on what goes there."""
    if out.is_dir():
        raise InputError(out, "", "is a directory")
    require_model_name(out)
    if out.exists() and not force:
        raise InputError(out, "", "exists already; --force overwrites it")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise InputError(parent, "", "is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(parent, "", "is not writable")


def _describe(now: Progress) -> str:
    text = f"loss {now.loss:.2e}"
    return text if math.isnan(now.held_out_accuracy) else f"{text}, held-out accuracy {now.held_out_accuracy:.2%}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    parser = Parser(prog="tools.train", description=HELP, allow_abbrev=False)
    add_arguments(parser)
    return guarded(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
