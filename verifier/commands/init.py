"""`verifier init`: set a repository up to be gated."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, say
from verifier.errors import InputError

HELP = """Set a git repository up: certificates/policy.toml, which trusts your key; .github/workflows/verifier.yml,
which runs the gate with the commit of the verifier that this is; and an entry for pre-commit. Models go to models/."""

PACKAGE = Path(__file__).parents[1]
TEMPLATES = PACKAGE / "templates"
POLICY, WORKFLOW = Path("certificates/policy.toml"), Path(".github/workflows/verifier.yml")
PRE_COMMIT = Path(".pre-commit-config.yaml")
SOURCE = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?/[A-Za-z0-9._~/-]+")
BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="the repository (default: this folder)")
    parser.add_argument(
        "--source",
        metavar="URL@COMMIT",
        help="the verifier that judges: where a git server has it, https://..., and the commit, 40 hexadecimal digits "
        "(default: where this one was installed or checked out from)",
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="the public key to trust (default: yours, made on first use)"
    )
    parser.add_argument("--branch", metavar="NAME", help="the branch to keep proved (default: the current one)")
    parser.add_argument("--force", action="store_true", help="replace the policy and the workflow that are there")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.files import write_atomically
    from verifier.proof.documents import PREDICATE_TYPE
    from verifier.proof.keys import read_public_key, signing_key

    folder: Path = arguments.folder
    if not (folder / ".git").exists():
        raise InputError(folder, "", "is not the root of a git repository (git init makes one)")
    for path in (POLICY, WORKFLOW):
        if not arguments.force and (folder / path).exists():
            raise InputError(folder / path, "", "exists already; --force replaces it")
    source, commit = _source(arguments.source)
    branch = arguments.branch or _git(folder, "symbolic-ref", "--short", "HEAD")
    if not BRANCH.fullmatch(branch):
        raise InputError("--branch", "", "must name the branch to keep proved, in letters, digits and ._/-")
    key = read_public_key(arguments.key) if arguments.key else signing_key().public
    values = {"SOURCE": source, "COMMIT": commit, "BRANCH": branch}
    values |= {"PREDICATE": PREDICATE_TYPE, "PEM": key.pem.decode("ascii")}
    entry, hooks = _fill("pre-commit.yaml", values), folder / PRE_COMMIT
    files = {POLICY: _fill("policy.toml", values), WORKFLOW: _fill("gate.yml", values)}
    missing = ""
    if not hooks.exists():
        files[PRE_COMMIT] = entry
    elif commit not in hooks.read_text("utf-8"):  # other hooks may be in it: never replaced
        missing = entry
    for path, text in files.items():
        write_atomically(folder / path, text.encode())
    if arguments.json:
        document = {"written": [str(folder / path) for path in files], "source": source, "commit": commit}
        emit_json(document | {"branch": branch, "keyid": key.keyid, "pre_commit": missing or None})
        return OK
    for line in (
        *(f"wrote     {folder / path}" for path in files),
        f"verifier  {source}",
        f"commit    {commit}",
        f"judges    {branch}, and pull requests to it",
        f"key       {key.keyid}",
        *((f"{hooks} is there already. Add to it:", *missing.splitlines()[2:]) if missing else ()),
        "",
        "Models go to models/<name>.safetensors. Then, for each:",
        "    verifier certify models/<name>.safetensors",
        "    verifier gate        # what the workflow will say",
        "and commit models/, certificates/ and the files above. What a pull request",
        "changes in the policy or the workflow counts once it is merged: review it.",
    ):
        say(line, quiet=arguments.quiet)
    return OK


def _fill(name: str, values: dict[str, str]) -> str:
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], (TEMPLATES / name).read_text("utf-8"))


def _source(option: str | None) -> tuple[str, str]:
    """URL and commit of the verifier: as asked for, as pip recorded them, or those of the checkout it runs from."""
    url, _, commit = (option if option is not None else _installed() or _checked_out()).rpartition("@")
    url = re.sub(r"^(?:ssh://)?git@([^:/]+)[:/]", r"https://\1/", url.removeprefix("git+"))
    if "@" in url:  # a password has no place in a workflow
        url = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
    if not SOURCE.fullmatch(url) or not re.fullmatch("[0-9a-f]{40}", commit):
        why = "; this installation does not tell where it is from" if option is None else ""
        raise InputError("--source", "", f"must be https://...@COMMIT, with 40 hexadecimal digits{why}")
    return url, commit


def _installed() -> str:
    """What `pip install git+https://...` has recorded (PEP 610)."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        record = json.loads(distribution("modular-addition-verifier").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return ""
    commit = record.get("vcs_info", {}).get("commit_id")
    return f"{record['url']}@{commit}" if commit else ""


def _checked_out() -> str:
    """The remote and the commit of the checkout whose root the package is in; another repository's would be a lie."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return ""
    return f"{_git(root, 'remote', 'get-url', 'origin')}@{_git(root, 'rev-parse', 'HEAD')}"


def _git(folder: Path, *words: str) -> str:
    """What git prints, or nothing when it fails."""
    try:
        command = ["git", "-C", str(folder), *words]  # fixed words, and no shell
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    except FileNotFoundError:
        return ""
