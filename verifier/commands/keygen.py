"""`verifier keygen`: make a signing key, or show the public half of one."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from verifier.cli import OK
from verifier.console import add_output_arguments, emit_json, say

HELP = "Make a signing key outside the repository, and the public key that a policy names."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        help="where to store it (default: VERIFIER_KEY, else verifier/key.pem in the configuration folder)",
    )
    parser.add_argument("--algorithm", choices=("ecdsa-p256", "ed25519"), default="ecdsa-p256")
    parser.add_argument(
        "--encrypt",
        action="store_true",
        help="encrypt it with a passphrase, asked for or from VERIFIER_KEY_PASSPHRASE; setting the variable is enough",
    )
    parser.add_argument("--show", action="store_true", help="only show the public key of one that exists")
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from verifier.proof import keys

    path: Path = arguments.path or keys.named_path() or keys.default_path()
    encrypted = None
    if arguments.show:
        key = keys.read_signing_key(path)
        public = None
    else:
        encrypted = arguments.encrypt or bool(os.environ.get(keys.PASSPHRASE_VARIABLE))
        passphrase = keys.new_passphrase() if encrypted else None
        key = keys.generate(arguments.algorithm)
        public = keys.write_signing_key(path, key, passphrase)
    pem = key.public.pem.decode("ascii")
    if arguments.json:
        document = {
            "private_key": str(path),
            "public_key": None if public is None else str(public),
            "keyid": key.public.keyid,
            "algorithm": key.public.algorithm,
            "pem": pem,
        }
        emit_json(document | ({} if encrypted is None else {"encrypted": encrypted}))
        return OK
    quiet: bool = arguments.quiet
    if public is not None:
        say(f"private key  {path} ({'encrypted' if encrypted else 'not encrypted'}, mode 0600)", quiet=quiet)
        say(f"public key   {public}", quiet=quiet)
    say(f"fingerprint  {key.public.keyid} ({key.public.algorithm})", quiet=quiet)
    say(quiet=quiet)
    say("To trust it, add to a policy:", quiet=quiet)
    say(quiet=quiet)
    for line in ("[[signatures.keys]]", 'name = "..."', 'pem = """', *pem.splitlines(), '"""'):
        say(f"    {line}", quiet=quiet)
    return OK
