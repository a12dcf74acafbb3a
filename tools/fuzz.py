"""Fuzz every parser: only the documented rejections may come out, in bounded time and memory.

    python tools/fuzz.py [--seconds S] [--seed N] [--target NAME] [--atheris]

The mutator is structure-aware: it edits bytes, JSON values, header lengths and tensor data of good files. With
--atheris (if it is installed) libFuzzer drives one target by the coverage of its code. Inputs that break the rules are
kept in tests/corpus/fuzz/<target>/.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def _instrumented() -> contextlib.AbstractContextManager[object]:
    """What the imports of the code under test are made in."""
    if "--atheris" not in sys.argv:
        return contextlib.nullcontext()
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    context: contextlib.AbstractContextManager[object] = atheris.instrument_imports(include=["verifier"])
    return context


from tests.kernel.test_kernel_transformers import files, transformer  # noqa: E402
from tests.strategies import random_case  # noqa: E402

with _instrumented():
    from verifier.errors import InputError
    from verifier.kernel import Rejected, check
    from verifier.kernel.certificate import read_certificate
    from verifier.kernel.claim import read_claim
    from verifier.kernel.model_file import read_model
    from verifier.kernel.substitution import substituted
    from verifier.proof.documents import PREDICATE_TYPE
    from verifier.proof.envelope import decode_bundle
    from verifier.proof.keys import parse_public_key
    from verifier.proof.policy import parse_policy
    from verifier.proof.reasons import MalformedError, VerificationError
    from verifier.proof.statement import decode_statement

CORPUS = ROOT / "tests" / "corpus" / "fuzz"
GOOD = ROOT / "tests" / "corpus" / "proof"
ALLOWED = (Rejected, InputError, MalformedError, VerificationError)
SLOW = 2.0  # seconds of processor time for one input of at most a few kilobytes
MEMORY = 3 << 30
TOKENS = [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"0", b"-", b"1e9", b"null", b"true", b"\\ud800", b"NaN"]
TOKENS += [b"\xff", b"\0", b'"\\"' * 50, b"[" * 40, b"9" * 25, b"9" * 40, b"\n", b"=", b"-----BEGIN PUBLIC KEY-----"]
NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    255,
    4096,
    4097,
    1 << 16,
    1 << 24,
    (1 << 27) + 1,
    1 << 31,
    1 << 32,
    1 << 53,
    1 << 62,
    -(1 << 62),
]


def _payload(data: bytes) -> None:
    decode_statement(decode_bundle(data).payload, (PREDICATE_TYPE,))


_CASE = random_case(random.Random(2)).files()


def _whole(data: bytes) -> None:
    """A whole check: the data is a certificate for a fixed model."""
    model, claim, _ = _CASE
    check(model, claim, data)


_LEARNED = files(random.Random(3), transformer(random.Random(3), "softmax 1/sqrt(2)", 3), 3, "semi-linear", "binary32")


def _semi_linear(data: bytes) -> None:
    """A whole check of learned attention: the data is a certificate for a fixed model."""
    model, claim, _ = _LEARNED
    check(model, claim, data)


TARGETS: dict[str, Callable[[bytes], object]] = {
    "model": read_model,
    "claim": read_claim,
    "certificate": read_certificate,
    "check": _whole,
    "semi-linear": _semi_linear,
    "substituted": substituted,
    "bundle": decode_bundle,
    "proof": _payload,
    "statement": lambda data: decode_statement(data, (PREDICATE_TYPE,)),
    "policy": lambda data: parse_policy(data, "policy", GOOD / "common"),
    "key": lambda data: parse_public_key(data, "key"),
}


def seeds(target: str) -> list[bytes]:
    """Good inputs to start from."""
    kept = [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]
    if target in ("model", "claim", "certificate"):
        at = ("model", "claim", "certificate").index(target)
        return kept + [random_case(random.Random(seed)).files()[at] for seed in range(12)]
    if target in ("check", "semi-linear"):
        return [*kept, (_CASE if target == "check" else _LEARNED)[2]]
    if target == "substituted":
        return [*kept, *(transformer(random.Random(seed), "softmax 1/sqrt(2)", 3) for seed in range(12))]
    if target in ("bundle", "proof", "statement"):
        bundles = [path.read_bytes() for path in sorted(GOOD.glob("**/*.sigstore.json"))]
        if target != "statement":
            return kept + bundles
        return [*kept, decode_bundle((GOOD / "common" / "proof.sigstore.json").read_bytes()).payload]
    if target == "policy":
        return kept + [path.read_bytes() for path in sorted(GOOD.glob("**/policy.toml"))]
    keys = [path.read_bytes() for path in sorted(GOOD.glob("**/*.pub")) + sorted(GOOD.glob("**/*.pem"))]
    return kept + (
        keys or [b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA" + b"A" * 43 + b"=\n-----END PUBLIC KEY-----\n"]
    )


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A few edits: of a value in the JSON there may be, or of bytes."""
    if rng.random() < 0.5:
        edited = _mutate_json(rng, data)
        if edited is not None:
            return edited
    text = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        kind, place, other = rng.randrange(6), rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        if kind == 0 and text:
            text[place % len(text)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            text[place:place] = rng.choice(TOKENS) * rng.choice((1, 1, 1, 30))
        elif kind == 2:
            del text[place : place + rng.randrange(1, 60)]
        elif kind == 3:
            text[place:place] = text[min(place, other) : max(place, other)][:200]
        elif kind == 4:
            text[place : place + 1] = rng.choice(TOKENS)
        else:
            text[:8] = rng.choice(NUMBERS).to_bytes(9, "little", signed=True)[:8]
    return bytes(text)


def _mutate_json(rng: random.Random, data: bytes) -> bytes | None:
    """Change, drop, double or retype one value; a model file's header keeps its length field right."""
    head = 8 if data[8:9] == b"{" else 0
    end = 8 + int.from_bytes(data[:8], "little") if head else len(data)
    try:
        value = json.loads(data[head:end])
    except (ValueError, RecursionError):
        return None
    places: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        item = stack.pop()
        keys: Any = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else []
        places += [(item, key) for key in keys]
        stack += [item[key] for key in keys]
    if not places:
        return None
    item, key = rng.choice(places)
    kind = rng.randrange(5)
    if kind == 0:
        item[key] = rng.choice(NUMBERS)
    elif kind == 1:
        del item[key]
    elif kind == 2:
        item[key] = rng.choice([None, True, "", [], {}, "x" * 300, [[[]]], 1.5, "\ud800", [0] * 100, item[key]])
    elif kind == 3 and isinstance(item[key], int):
        item[key] += rng.choice((1, -1, rng.choice(NUMBERS)))
    elif isinstance(item, list):
        item.append(item[key])
    else:
        item[str(key) + rng.choice(("", "_", "\0"))] = item[key]
    text = json.dumps(value).encode()
    return (len(text).to_bytes(8, "little") + text + data[end:]) if head else text


def attempt(target: str, data: bytes) -> str:
    """Run one input; what came of it. Anything but acceptance or a documented rejection is raised."""
    started = time.process_time()
    try:
        TARGETS[target](data)
        outcome = "accepted"
    except ALLOWED as error:
        outcome = type(error).__name__
    spent = time.process_time() - started
    if spent > SLOW + len(data) / 1e5:
        raise TimeoutError(f"{target}: {spent:.1f} s for {len(data)} bytes")
    return outcome


def keep(target: str, data: bytes) -> Path:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def run(targets: list[str], seconds: float, seed: int, most: int | None = None) -> Counter[str]:
    """Fuzz the targets in turn, by blocks; counts by target and outcome. What breaks the rules ends the run."""
    rng = random.Random(seed)
    pools = {target: seeds(target) for target in targets}
    counts: Counter[str] = Counter()
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end and (most is None or done < most):
        for target in targets:
            for _ in range(20):
                data = mutate(rng, rng.choice(pools[target]))
                try:
                    outcome = attempt(target, data)
                except BaseException:
                    print(f"{target}: {keep(target, data)}", file=sys.stderr)
                    raise
                counts[f"{target} {outcome}"] += 1
                done += 1
                if outcome == "accepted" and len(pools[target]) < 200 and len(data) < 20_000:
                    pools[target].append(data)
    return counts


def by_coverage(target: str, seconds: float, seed: int) -> None:
    """Let libFuzzer choose the inputs to go on from, with the same mutator; it ends the process."""
    import atheris

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(target)):
            (Path(folder) / str(number)).write_bytes(data)
        kept = CORPUS / target
        kept.mkdir(parents=True, exist_ok=True)
        options = [
            f"-max_total_time={int(seconds)}",
            f"-seed={seed + 1}",
            "-max_len=20000",
            f"-artifact_prefix={kept}/",
        ]
        atheris.Setup(
            [sys.argv[0], *options, folder],
            lambda data: attempt(target, data),
            custom_mutator=lambda data, size, number: mutate(random.Random(number), bytes(data))[:size],
        )
        atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--atheris", action="store_true")
    arguments = parser.parse_args()
    targets = arguments.target or list(TARGETS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if arguments.atheris:
        by_coverage(targets[0], arguments.seconds, arguments.seed)
        return
    started = time.monotonic()
    counts = run(targets, arguments.seconds, arguments.seed)
    figures = {"seconds": round(time.monotonic() - started), "inputs": counts.total(), **dict(sorted(counts.items()))}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
