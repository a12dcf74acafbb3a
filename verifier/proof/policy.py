"""The policy: whose signatures count, and the least that must hold for each model.

A TOML file of its own, outside of what it judges:

    format = "verifier-policy/1"
    predicate_types = ["https://modular-addition-verifier.invalid/proof/v2"]

    [signatures]
    threshold = 1                         # how many of the keys must have signed

    [[signatures.keys]]
    name = "release"
    path = "keys/release.pub.pem"         # below the policy's folder; or the key itself: pem = '''...'''

    [[rules]]
    models = ["p59-*"]                    # shell patterns for the file name without .safetensors
    except = ["p59-poisoned"]             # optional
    p = 59                                # the name alone does not say so
    task = ["(a + b) mod p"]              # one of these; the default, where no rule for the model names a task
    format = ["verifier-model/1"]         # one of these; so are the two that follow, as the model file writes them
    layout = ["a b"]
    attention = ["1/2 1/2"]
    certified_inputs = "all"              # or a count
    min_accuracy = "99/100"               # an exact fraction, or a decimal
    min_explained_inputs = "all"          # or a count: by the closed form alone
    semantics = ["binary32"]              # one of these
    min_margin = "0.5"                    # in units of the logits, which a larger W_U buys
    min_relative_margin = "0.05"          # over the sum of the closed form's amplitudes, which it does not
    max_error = "20"                      # of the logits, from the closed form
    max_gap_error = "0.2"                 # relative, of the closed form's gaps
    max_relative_quadrature_bound = "0.5" # at every frequency; 1 is vacuous
    max_relative_network_error = "0.5"    # the same for the network itself, not only for the certificate's phases
    max_cost_per_parameter = "40"         # operations

Every rule that matches a model must hold, so adding a rule never weakens a policy. A model that no rule
matches is rejected, and so is one for which no matching rule says how accurate it must be. Bounds are
written in quotes and compared exactly; TOML's floats are refused. The closed form is the certificate's: ask for
`min_explained_inputs` where a bound relative to it is to mean something.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Literal, NoReturn, cast

from verifier.errors import InputError
from verifier.files import read_input, read_limited
from verifier.kernel.claim import SEMANTICS, TASKS
from verifier.proof.keys import MAX_KEY_BYTES, PublicKey, parse_public_key
from verifier.proof.statement import Facts

FORMAT = "verifier-policy/1"
MAX_POLICY_BYTES = 1 << 16
MAX_LINE = 512  # tomllib takes quadratic time on a dotted name, which must be on one line
MAX_KEYS = 64
MAX_RULES = 256

_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,30}|/[1-9][0-9]{0,29})?")
_PINS = ("format", "layout", "attention")
_COUNTS = ("certified_inputs", "min_explained_inputs")
_BOUNDS = (
    "min_accuracy",
    "min_margin",
    "min_relative_margin",
    "max_error",
    "max_gap_error",
    "max_relative_quadrature_bound",
    "max_relative_network_error",
    "max_cost_per_parameter",
)
_RULE_FIELDS = ("models", "except", "p", "task", *_PINS, *_COUNTS, "semantics", *_BOUNDS)
Count = int | Literal["all"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The least that must hold for the models that match; absent or None where the rule says nothing.

    **Fields**

    - `models`, `exceptions`: shell patterns.
    - `p`; `tasks`, `semantics`: one of these; `pins`: the texts that `format`, `layout` and `attention` may be.
    - `counts`, `bounds`: by the names of the policy's fields.
    """

    models: tuple[str, ...]
    exceptions: tuple[str, ...] = ()
    p: int | None = None
    tasks: tuple[str, ...] | None = None
    pins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    semantics: tuple[str, ...] | None = None
    counts: Mapping[str, Count] = field(default_factory=dict)
    bounds: Mapping[str, Fraction] = field(default_factory=dict)

    def matches(self, model: str) -> bool:
        """Whether the rule is about `model`, a file name without its suffix."""
        if any(fnmatchcase(model, pattern) for pattern in self.exceptions):
            return False
        return any(fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True, slots=True)
class Policy:
    """A decoded policy.

    **Fields**

    - `keys`: the keys that count, by fingerprint; `names`: what the policy calls them.
    - `threshold`: how many of them must have signed.
    - `predicate_types`, `rules`.
    """

    keys: dict[str, PublicKey]
    names: dict[str, str]
    threshold: int
    predicate_types: tuple[str, ...]
    rules: tuple[Rule, ...]

    def rules_for(self, model: str) -> tuple[Rule, ...]:
        """Every rule that matches `model`; empty unless one of them says how accurate it must be."""
        found = tuple(rule for rule in self.rules if rule.matches(model))
        bounded = any("certified_inputs" in rule.counts or "min_accuracy" in rule.bounds for rule in found)
        return found if bounded else ()


def shortfalls(rule: Rule, facts: Facts) -> list[str]:
    """What `facts` lack to meet `rule`, in words; empty if nothing."""
    found: list[str] = []

    def need(condition: bool, text: str) -> None:
        if not condition:
            found.append(text)

    if rule.p is not None:
        need(facts.p == rule.p, f"p = {facts.p}, not {rule.p}")
    if rule.tasks is not None:
        need(facts.task in rule.tasks, f"task {facts.task}, not {' or '.join(rule.tasks)}")
    for name, allowed in rule.pins.items():
        text = f"{name} {facts.metadata.get(name, 'unknown')}, not {' or '.join(allowed)}"
        need(facts.metadata.get(name) in allowed, text)
    if rule.semantics is not None:
        text = f"semantics {facts.semantics}, not {' or '.join(rule.semantics)}"
        need(facts.semantics in rule.semantics, text)
    counts = {
        "certified_inputs": ("certified inputs", facts.certified_inputs),
        "min_explained_inputs": ("explained inputs", facts.explained_inputs),
    }
    for name, asked in rule.counts.items():
        what, count = counts[name]
        least = facts.total_inputs if asked == "all" else asked
        need(count >= least, f"{count} {what}, at least {least}")
    for name, bound in rule.bounds.items():
        values = _values(name, facts)
        need(bool(values), f"no {_words(name)}")
        for where, value in values.items():
            known = "unknown" if value is None else _approximate(value)
            text = f"{_words(name)} {known}{where}, {'at least' if name.startswith('min') else 'at most'} {bound}"
            need(value is not None and (value >= bound if name.startswith("min") else value <= bound), text)
    return found


def _values(name: str, facts: Facts) -> Mapping[str, Fraction | None]:
    """What a bound is compared with: every entry must meet it, and there must be one."""
    by_frequency: Mapping[str, Mapping[int, Fraction | None]] = {
        "max_relative_quadrature_bound": facts.relative_quadrature_bounds,
        "max_relative_network_error": facts.relative_network_errors,
    }
    if name in by_frequency:
        return {f" at frequency {k}": value for k, value in sorted(by_frequency[name].items())}
    single = {
        "min_accuracy": facts.accuracy,
        "min_margin": facts.min_margin,
        "min_relative_margin": facts.relative_margin,
        "max_error": facts.max_error,
        "max_gap_error": facts.gap_error,
        "max_cost_per_parameter": facts.cost_per_parameter,
    }
    return {"": single[name]}


def _words(name: str) -> str:
    """What the field of a bound is about, in words."""
    certified = {"min_accuracy": "certified accuracy", "min_margin": "certified margin"}
    return certified.get(name, name[4:].replace("_", " "))


def _approximate(value: Fraction) -> str:
    """For a message only; nothing is compared with it."""
    return f"about {float(value):.6g}" if abs(value) < 2**1000 else "beyond 2^1000"


def read_policy(path: Path) -> Policy:
    """The policy in a file, with the keys that it names.

    **Raises** `InputError` naming the field and the rule it breaks.
    """
    return parse_policy(read_input(path, MAX_POLICY_BYTES), str(path), path.parent)


def parse_policy(data: bytes, source: str, folder: Path | None = None) -> Policy:
    """The policy in `data`, called `source` in messages; `folder` is what the paths of keys are relative to.

    **Raises** `InputError`.
    """
    if len(data) > MAX_POLICY_BYTES:
        raise InputError(source, "", f"is larger than {MAX_POLICY_BYTES} bytes")
    if any(len(line) > MAX_LINE for line in data.split(b"\n")):
        raise InputError(source, "", f"has a line of more than {MAX_LINE} bytes")
    try:
        # ValueError is also what int() says of too many digits, and what a float is refused with.
        table = tomllib.loads(data.decode("utf-8"), parse_float=_refuse_float)
    except UnicodeDecodeError:
        raise InputError(source, "", "is not UTF-8") from None
    except RecursionError:
        raise InputError(source, "", "is nested too deeply") from None
    except ValueError as error:
        raise InputError(source, "", f"is not a policy: {error}") from None
    return _Reader(source, folder).policy(table)


def _refuse_float(text: str) -> NoReturn:
    raise ValueError(f'{text[:40]} is a float; write exact numbers in quotes, as in "0.5"')


@dataclass(frozen=True, slots=True)
class _Reader:
    """Decodes one policy; knows what to call it in messages."""

    source: str
    folder: Path | None

    def policy(self, table: dict[str, object]) -> Policy:
        self.fields(table, "", ("format", "predicate_types", "signatures", "rules"), ())
        if table["format"] != FORMAT:
            self.refuse("format", f"must be {FORMAT!r}")
        signatures = self.table(table["signatures"], "signatures")
        self.fields(signatures, "signatures.", ("threshold", "keys"), ())
        keys: dict[str, PublicKey] = {}
        names: dict[str, str] = {}
        for index, entry in enumerate(self.items(signatures["keys"], "signatures.keys", MAX_KEYS)):
            where = f"signatures.keys[{index}]"
            name, key = self.key(self.table(entry, where), where)
            if key.keyid in keys:
                self.refuse(where, f"is the same key as {names[key.keyid]!r}, and would count twice")
            if name in names.values():
                self.refuse(f"{where}.name", "is used twice")
            keys[key.keyid], names[key.keyid] = key, name
        threshold = signatures["threshold"]
        if type(threshold) is not int or not 1 <= threshold <= len(keys):
            self.refuse("signatures.threshold", f"must be between 1 and the number of keys, {len(keys)}")
        rules = self.items(table["rules"], "rules", MAX_RULES)
        return Policy(
            keys=keys,
            names=names,
            threshold=threshold,
            predicate_types=self.texts(table["predicate_types"], "predicate_types"),
            rules=tuple(self.rule(self.table(r, f"rules[{i}]"), f"rules[{i}]") for i, r in enumerate(rules)),
        )

    def key(self, entry: dict[str, object], where: str) -> tuple[str, PublicKey]:
        self.fields(entry, f"{where}.", ("name",), ("pem", "path"))
        name = self.text(entry["name"], f"{where}.name")
        if ("pem" in entry) == ("path" in entry):
            self.refuse(where, "must have one of 'pem' and 'path'")
        if "pem" in entry:
            pem = self.text(entry["pem"], f"{where}.pem", MAX_KEY_BYTES)
            return name, parse_public_key(pem.encode("utf-8"), f"{self.source}: {where}")
        path = PurePosixPath(self.text(entry["path"], f"{where}.path"))
        if path.is_absolute() or ".." in path.parts or "\\" in str(path) or "\0" in str(path):
            self.refuse(f"{where}.path", "must stay in the folder of the policy")
        if self.folder is None:
            self.refuse(f"{where}.path", "has no folder to be relative to")
        file = self.folder
        for part in path.parts:
            file = file / part
            if file.is_symlink():
                self.refuse(f"{where}.path", "must not go through a symbolic link")
        try:
            data = read_limited(file, MAX_KEY_BYTES, follow=False)
        except OSError as error:
            self.refuse(f"{where}.path", f"cannot be read: {error.strerror or error}")
        return name, parse_public_key(data, str(file))

    def rule(self, entry: dict[str, object], where: str) -> Rule:
        self.fields(entry, f"{where}.", ("models",), _RULE_FIELDS)
        if not set(entry) - {"models", "except"}:
            self.refuse(where, "must ask for something")
        for name in _COUNTS:
            count = entry.get(name)
            if count is not None and count != "all" and (type(count) is not int or count < 1):
                self.refuse(f"{where}.{name}", 'must be "all" or a positive count')
        bounds = {name: self.number(entry[name], f"{where}.{name}") for name in _BOUNDS if name in entry}
        if not 0 < bounds.get("min_accuracy", 1) <= 1:
            self.refuse(f"{where}.min_accuracy", "must be more than 0 and at most 1")
        p = entry.get("p")
        if p is not None and type(p) is not int:
            self.refuse(f"{where}.p", "must be a whole number")
        return Rule(
            models=self.texts(entry["models"], f"{where}.models"),
            exceptions=self.texts(entry["except"], f"{where}.except") if "except" in entry else (),
            p=p,
            pins={name: self.texts(entry[name], f"{where}.{name}") for name in _PINS if name in entry},
            tasks=self.some(entry, "task", tuple(TASKS.values()), where),
            semantics=self.some(entry, "semantics", SEMANTICS, where),
            counts={name: cast(Count, entry[name]) for name in _COUNTS if name in entry},
            bounds=bounds,
        )

    def some(self, entry: dict[str, object], name: str, allowed: tuple[str, ...], where: str) -> tuple[str, ...] | None:
        if name not in entry:
            return None
        found = self.texts(entry[name], f"{where}.{name}")
        if not set(found) <= set(allowed):
            self.refuse(f"{where}.{name}", f"must be some of {', '.join(allowed)}")
        return found

    def number(self, value: object, where: str) -> Fraction:
        text = str(value) if type(value) is int and abs(value) < 10**30 else value
        if not isinstance(text, str) or _NUMBER.fullmatch(text) is None:
            self.refuse(where, 'must be a number >= 0 in quotes, such as "0.5" or "1/3"')
        return Fraction(text)

    def texts(self, value: object, where: str) -> tuple[str, ...]:
        entries = tuple(self.text(entry, where) for entry in self.items(value, where, MAX_RULES))
        if len(set(entries)) != len(entries):
            self.refuse(where, "has an entry twice")
        return entries

    def text(self, value: object, where: str, most: int = 256) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            self.refuse(where, f"must be a string of 1 to {most} characters")
        return value

    def items(self, value: object, where: str, most: int) -> list[object]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            self.refuse(where, f"must be a list of 1 to {most} entries")
        return value

    def table(self, value: object, where: str) -> dict[str, object]:
        if not isinstance(value, dict):
            self.refuse(where, "must be a table")
        return value

    def fields(
        self, table: dict[str, object], prefix: str, required: tuple[str, ...], optional: tuple[str, ...]
    ) -> None:
        for name in required:
            if name not in table:
                self.refuse(f"{prefix}{name}", "is missing")
        for name in sorted(table):
            if name not in required and name not in optional:
                self.refuse(f"{prefix}{name[:40]}", "is unknown")

    def refuse(self, field: str, rule: str) -> NoReturn:
        raise InputError(self.source, field, rule)
