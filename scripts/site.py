"""The documentation site's hooks: the order of its pages, and the command reference, made from the parsers."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from markdown.extensions.toc import slugify
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from verifier import cli

PAGES = {
    "": {"index.md": "Quick start"},
    "Guides": {
        "theorem.md": "The theorem, in plain words",
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
    },
}
GENERATED = "commands.md"
COLUMNS = 96
CONVENTIONS = """Exit codes: 0 proved, or done; 1 a statement is false or unproved, or a signature, policy or gate
fails; 2 bad input or usage. An error is one line on standard error. Results go to standard output, progress to
standard error. `NO_COLOR` is honoured, and off a terminal everything is plain text."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that there are in order; a page the list above lacks comes last."""
    docs = Path(config.docs_dir)
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} | {GENERATED}
    nav: list[object] = []
    for section, pages in PAGES.items():
        entries = [{title: name} for name, title in pages.items() if name in there]
        nav += [{section: entries}] if section else entries
    listed = {name for pages in PAGES.values() for name in pages}
    config.nav = nav + sorted(there - listed)
    return config


def _slug(text: str, separator: str) -> str:
    """An anchor; never one that begins with a digit, which the theme's scripts cannot select."""
    words = slugify(text, separator)
    return words if words[:1].isalpha() else f"s{separator}{words}"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Give the theme's dark mode the two style sheets it switches; they would be those of a remote highlighter."""
    sheets = "".join(f'<link id="hljs-{mode}" rel="stylesheet" href="data:text/css,">' for mode in ("light", "dark"))
    return output.replace("</head>", f"{sheets}</head>", 1)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the command reference."""
    files.append(File.generated(config, GENERATED, content=commands()))
    return files


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
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=COLUMNS),
    )
    command.add_arguments(parser)
    return parser.format_help().strip()
