"""The documentation site's hooks: the order of its pages, and what is generated: the command reference (from the
parsers), the JSON schemas (from the strict forms), the tutorial (run, with its outputs) and KaTeX (from its package).
"""

from __future__ import annotations

import argparse
import base64
import importlib
import os
import subprocess
import tarfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from verifier import cli

PAGES = {
    "": {"index.md": "Home"},
    "Guides": {
        "theorem.md": "The theorem, in plain words",
        "tutorial.md": "Tutorial",
        "own-model.md": "Certify your own model",
        "verify.md": "Verify somebody else's proof",
    },
    "Reference": {
        "commands.md": "Commands",
        "api.md": "Python interface",
        "certificate.md": "Certificate format",
        "glossary.md": "Glossary",
    },
    "Background": {
        "theory.md": "Theory and proofs",
        "formal.md": "What is machine-checked",
        "soundness.md": "Soundness",
        "benchmarks.md": "Benchmarks",
        "study.md": "Study: fresh seeds",
    },
}
GENERATED = ("commands.md", "tutorial.md")
KATEX = "katex@0.19.1"
BUILD = Path("build")
COLUMNS = 43  # a phone
CONVENTIONS = """Exit codes: 0 proved, or done; 1 a statement is false or unproved, or a signature, policy or gate
fails; 2 bad input or usage. An error is one line on standard error. Results go to standard output, progress to
standard error. `NO_COLOR` is honoured, and off a terminal everything is plain text."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that there are in order; a page the list above lacks comes last."""
    docs = Path(config.docs_dir)
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} | set(GENERATED)
    nav: list[object] = []
    for section, pages in PAGES.items():
        entries = [{title: name} for name, title in pages.items() if name in there]
        nav += [{section: entries}] if section else entries
    listed = {name for pages in PAGES.values() for name in pages}
    decisions = sorted(name for name in there if name.startswith("decisions/"))
    config.nav = [*nav, *sorted(there - listed - set(decisions)), {"Decisions": decisions}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated."""
    from verifier.proof import documents

    generated: dict[str, str | bytes] = {"commands.md": commands()}
    generated |= {f"schemas/{name}.schema.json": documents.schema_text(name) for name in documents.SCHEMAS}
    generated |= tutorial(Path(config.docs_dir) / "tutorial.ipynb")
    generated |= katex()
    for name, content in generated.items():
        files.append(File.generated(config, name, content=content))
    return files


def katex() -> dict[str, bytes]:
    """KaTeX's script, style and fonts, from the package manager's archive (kept in build/)."""
    folder = BUILD / "npm"
    archive = folder / f"{KATEX.replace('@', '-')}.tgz"
    if not archive.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", KATEX], cwd=folder, check=True, capture_output=True)  # noqa: S603, S607
    found = {}
    with tarfile.open(archive) as package:
        for member in package.getmembers():
            name = member.name.removeprefix("package/dist/")
            if name in ("katex.min.js", "katex.min.css") or (name.startswith("fonts/") and name.endswith(".woff2")):
                file = package.extractfile(member)
                assert file is not None  # noqa: S101
                found[f"assets/katex/{name}"] = file.read()
    return found


def tutorial(notebook: Path) -> dict[str, str | bytes]:
    """The notebook as a page, run now, with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    NotebookClient(book, timeout=600, kernel_name="python3").execute()
    parts: list[str] = []
    found: dict[str, str | bytes] = {}
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if "text" in output:
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            picture = output.get("data", {}).get("image/png")
            if picture:
                name = f"assets/tutorial-{len(found)}.png"
                found[name] = base64.b64decode(picture)
                parts.append(f"![output]({name})")
    found["tutorial.md"] = "\n\n".join(parts) + "\n"
    return found


def commands() -> str:
    """The command reference as Markdown: what `--help` prints, for every command."""
    parts = ["# Commands", CONVENTIONS]
    for name, line in cli.COMMANDS.items():
        try:
            module = importlib.import_module(cli.module_of(name))
        except ModuleNotFoundError:
            continue
        parts += [f"## {name}", f"{line[0].upper()}{line[1:]}.", f"```text\n{_help(name, module)}\n```"]
    return "\n\n".join(parts) + "\n"


def _help(name: str, command: cli.Command) -> str:
    parser = argparse.ArgumentParser(
        prog=f"verifier {name}",
        description=command.HELP,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=8, width=COLUMNS),
    )
    command.add_arguments(parser)
    return parser.format_help().strip()
