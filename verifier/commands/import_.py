"""`verifier import`: turn a checkpoint of another format into a native model file."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, print_table
from verifier.errors import InputError

if TYPE_CHECKING:
    from verifier.formats import ImportedModel
    from verifier.model import FoldedCircuit, Model

HELP = """Read a TransformerLens state dict (.pt, .pth, .safetensors), a checkpoint of Zhong et al. with its
JSON configuration, a network with one hidden layer of ReLUs, a training run that wraps one of these, or the tables of
a folded circuit (.npz, .safetensors), and write a native model file. The original network's own forward pass is
compared with it on every input, and what it cannot represent is refused. The file records its source, and all that was
dropped or changed."""

FORMATS = ("native", "transformerlens", "zhong", "mlp", "folded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the checkpoint")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the model file to write (.safetensors)")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    add_operation_argument(parser)
    add_source_arguments(parser)
    add_output_arguments(parser)


def add_operation_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--operation",
        choices=("addition", "subtraction", "multiplication"),
        help="what the network computes modulo p; default: what a native file says, else addition",
    )


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """What a checkpoint does not say itself; for every command that takes one."""
    group = parser.add_argument_group("checkpoints of other formats")
    group.add_argument(
        "--config", type=Path, help="the run's JSON configuration; for model_X.pt, config_X.json is found"
    )
    group.add_argument(
        "--attention",
        help="fix the attention at constant weights, '1/2' or '1/3 1/3 1/3'; where the network's own is another, the"
        " theorem is not about that network, and says so",
    )
    group.add_argument("--layout", help="what positions hold: 'a b', 'a b =59' (token 59), 'a b+59' (offset 59)")
    group.add_argument("--p", type=int, help="the modulus, where the sizes do not settle it")
    group.add_argument("--format", choices=FORMATS, help="by default found out from the content")
    group.add_argument("--round", action="store_true", help="round float64 weights, and prove about those")


def read_source(source: Path, arguments: argparse.Namespace) -> ImportedModel:
    """Import `source` with the options of `add_source_arguments`.

    **Raises** `InputError`.
    """
    from verifier.formats import import_file

    return import_file(source, **reading(arguments))


def reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_source_arguments` as those of `import_file`."""
    names = {"form": "format", "round_weights": "round"}
    return {
        name: getattr(arguments, names.get(name, name))
        for name in ("config", "attention", "layout", "p", "form", "round_weights", "operation")
    }


def require_model_name(out: Path) -> None:
    """Refuse to write a native model file under a name that `certify` and the gate would refuse.

    **Raises** `InputError`.
    """
    from verifier.prove import SUFFIX, name_of, require_name

    if not out.name.endswith(SUFFIX):
        raise InputError(out, "", f"must be named *{SUFFIX}, as every native model file")
    require_name(out, name_of(out))


def run(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    if out.is_dir():
        raise InputError(out, "", "is a directory")
    require_model_name(out)
    imported = read_source(arguments.source, arguments)
    if out.exists() and out.samefile(arguments.source):
        raise InputError(out, "", "is the source itself; write the model file elsewhere")
    data = imported.encode()
    if out.exists() and not arguments.force and out.read_bytes() != data:
        raise InputError(out, "", "exists already; --force overwrites it")

    from verifier.files import write_atomically

    write_atomically(out, data)
    digest = hashlib.sha256(data).hexdigest()
    if arguments.json:
        emit_json(_document(imported, out, digest))
    else:
        print_table(("", ""), _lines(imported, out, digest), align="ll", quiet=arguments.quiet)
    return OK


def _shape(model: Model | FoldedCircuit) -> dict[str, object]:
    from verifier.model import Model

    shape: dict[str, object] = {"p": model.p, "neurons": model.neurons, "outputs": model.outputs}
    if isinstance(model, Model):
        shape |= {"layout": " ".join(model.layout), "attention": model.attention_text}
    return shape


def _document(imported: ImportedModel, out: Path, digest: str) -> dict[str, object]:
    check = imported.check
    return {
        "model": {
            "file": str(out),
            "sha256": digest,
            "circuit_sha256": imported.circuit_sha256,
            **_shape(imported.model),
        },
        "source": {
            "file": imported.source,
            "sha256": imported.source_sha256,
            "format": imported.format,
        },
        "assumptions": list(imported.assumptions),
        "dropped": dict(imported.dropped),
        "changed": dict(imported.changed),
        "notes": list(imported.notes),
        "self_check": None
        if check is None
        else {
            "inputs": check.inputs,
            "network": check.network,
            "largest_difference": check.difference,
            "largest_logit": check.scale,
            "relative_difference": check.relative,
            "correct": check.correct,
            "own_correct": check.own_correct,
            "attention": None if check.attention is None else list(check.attention),
        },
    }


def _lines(imported: ImportedModel, out: Path, digest: str) -> list[tuple[str, str]]:
    lines = [
        ("model", str(out)),
        ("sha256", digest),
        ("source", imported.source),
        ("sha256", imported.source_sha256),
        ("format", imported.format),
        ("network", ", ".join(f"{name} {value}" for name, value in _shape(imported.model).items())),
    ]
    lines += imported.changes()
    lines += [("note", note) for note in imported.notes]
    check = imported.check
    if check is None:
        lines.append(("self-check", "not needed: the numbers are taken as they are"))
        return lines
    agreement = f"within {check.relative:.1e} of the largest logit, {check.scale:.4g}, on all {check.inputs} inputs"
    lines.append(("self-check", f"the original's own forward pass ({check.network}) agrees {agreement}"))
    if not check.agrees:
        lines[-1] = ("self-check", f"the original's weights agree with it {'; '.join(imported.assumptions)}")
    own = "" if check.agrees else f"; by the original's own forward pass {check.own_correct}"
    lines.append(("accuracy", f"{check.correct} of {check.inputs} inputs (float64; measured, not proved){own}"))
    return lines
