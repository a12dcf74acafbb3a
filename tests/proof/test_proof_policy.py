"""The policy: strict to read, exact to compare, and never weaker for one more rule."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof.proof_support import (
    RELEASE,
    RULES,
    SECOND,
    make_policy,
    policy_text,
)
from verifier.errors import InputError
from verifier.kernel import claim as kernel_claim
from verifier.kernel.claim import SEMANTICS, STRATEGIES
from verifier.kernel.forms import Text
from verifier.proof.documents import CLAIM
from verifier.proof.policy import Rule, parse_policy, read_policy, shortfalls
from verifier.proof.statement import Facts

FACTS = Facts(
    p=59,
    certified_inputs=3480,
    explained_inputs=3400,
    total_inputs=3481,
    semantics="binary32",
    min_margin=Fraction(1, 3),
    relative_margin=Fraction(1, 30),
    max_error=Fraction(7, 2),
    gap_error=Fraction(1, 8),
    relative_quadrature_bounds={3: Fraction(1, 5), 14: Fraction(2, 5)},
    relative_network_errors={3: Fraction(1, 4), 14: Fraction(9, 20)},
    cost_per_parameter=Fraction(81, 2),
    metadata={"format": "verifier-model/1", "layout": "a b", "attention": "1/2 1/2"},
)


def rule(line: str) -> Rule:
    (found,) = make_policy(rules=f'[[rules]]\nmodels = ["*"]\n{line}\n').rules
    return found


@pytest.mark.parametrize(
    ("line", "meets"),
    [
        ('certified_inputs = "all"', False),
        ("certified_inputs = 3480", True),
        ("certified_inputs = 3481", False),
        ('min_accuracy = "3480/3481"', True),
        ('min_accuracy = "0.99971272622809537"', True),
        ('min_accuracy = "0.99971272622809538"', False),
        ('min_accuracy = "0.99"', True),
        ("min_accuracy = 1", False),
        ('semantics = ["binary32"]', True),
        ('semantics = ["real", "binary32"]', True),
        ('semantics = ["real"]', False),
        ('min_margin = "1/3"', True),
        ('min_margin = "0.333333333333333333333333333333"', True),
        ('min_margin = "0.333333333333333333333333333334"', False),
        ("min_margin = 0", True),
        ('max_relative_quadrature_bound = "0.4"', True),
        ('max_relative_quadrature_bound = "0.399999999999999999999999999999"', False),
        ('max_relative_network_error = "0.45"', True),
        ('max_relative_network_error = "0.449999999999999999999999999999"', False),
        ('max_cost_per_parameter = "40.5"', True),
        ("max_cost_per_parameter = 40", False),
        ("p = 59", True),
        ("p = 3", False),
        ('format = ["verifier-model/1"]', True),
        ('format = ["verifier-circuit/1"]', False),
        ('layout = ["a b =59", "a b"]', True),
        ('layout = ["a b =59"]', False),
        ('attention = ["1/2 1/2"]', True),
        ('attention = ["1 1"]', False),
        ("min_explained_inputs = 3400", True),
        ("min_explained_inputs = 3401", False),
        ('min_explained_inputs = "all"', False),
        ('min_relative_margin = "1/30"', True),
        ('min_relative_margin = "1/29"', False),
        ('max_error = "3.5"', True),
        ('max_error = "3.499"', False),
        ('max_gap_error = "0.125"', True),
        ('max_gap_error = "0.1249"', False),
    ],
)
def test_rules_are_exact(line: str, meets: bool) -> None:
    assert (shortfalls(rule(line), FACTS) == []) is meets


def test_what_is_not_known_meets_no_rule() -> None:
    facts = replace(FACTS, relative_network_errors={3: Fraction(0), 14: None}, gap_error=None, relative_margin=None)
    huge = "1" + "0" * 29
    assert len(shortfalls(rule(f"max_relative_network_error = {huge}"), facts)) == 1
    assert shortfalls(rule(f"max_gap_error = {huge}"), facts) == [f"gap error unknown, at most {huge}"]
    assert shortfalls(rule("min_relative_margin = 0"), facts) == ["relative margin unknown, at least 0"]
    assert len(shortfalls(rule("max_relative_network_error = 1"), replace(FACTS, relative_network_errors={}))) == 1
    bare = replace(FACTS, metadata={})
    assert shortfalls(rule('layout = ["a b"]'), bare) == ["layout unknown, not a b"]


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(-(10**6), 10**6))
def test_decimals_are_compared_as_fractions(numerator: int, scale: int, nudge: int) -> None:
    bound = Fraction(numerator, 10**9)
    facts = replace(FACTS, min_margin=bound + Fraction(nudge, 10**15 * scale))
    found = shortfalls(rule(f'min_margin = "{numerator // 10**9}.{numerator % 10**9:09d}"'), facts)
    assert (not found) == (nudge >= 0)


def test_no_quadrature_bound_is_not_a_small_one() -> None:
    facts = replace(FACTS, relative_quadrature_bounds={})
    assert shortfalls(rule('max_relative_quadrature_bound = "1"'), facts) == ["no relative quadrature bound"]


def test_enormous_numbers_are_reported() -> None:
    facts = replace(FACTS, min_margin=-Fraction(2**5000))
    assert shortfalls(rule("min_margin = 1"), facts) == ["certified margin beyond 2^1000, at least 1"]


def test_every_matching_rule_counts() -> None:
    text = """\
[[rules]]
models = ["p59-*", "p113-*"]
except = ["*-poisoned"]
certified_inputs = "all"

[[rules]]
models = ["*"]
semantics = ["binary32"]

[[rules]]
models = ["p59-poisoned"]
min_accuracy = "0.99"
"""
    policy = make_policy(rules=text)
    assert policy.rules_for("p59-seed0") == policy.rules[:2]
    assert policy.rules_for("p59-poisoned") == policy.rules[1:]
    assert policy.rules_for("p113-poisoned") == ()  # nothing says how accurate it must be
    assert policy.rules_for("P59-seed0") == ()
    assert policy.rules_for("xp59-seed0") == ()


@given(st.text(max_size=8), st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=3, unique=True))
def test_one_more_rule_never_weakens(model: str, patterns: list[str]) -> None:
    base = make_policy(rules='[[rules]]\nmodels = ["*"]\ncertified_inputs = 1\n')
    listed = ", ".join('"' + "".join(f"\\U{ord(c):08x}" for c in p) + '"' for p in patterns)
    first = '[[rules]]\nmodels = ["*"]\ncertified_inputs = 1\n'
    more = make_policy(rules=f"{first}[[rules]]\nmodels = [{listed}]\nmin_margin = 0\n")
    assert all(rule in more.rules_for(model) for rule in base.rules_for(model))


def test_keys_in_files(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "release.pub.pem").write_bytes(RELEASE.public.pem)
    text = policy_text(keys=(SECOND,)).replace(
        "[[rules]]", '[[signatures.keys]]\nname = "release"\npath = "keys/release.pub.pem"\n[[rules]]', 1
    )
    path = tmp_path / "policy.toml"
    path.write_text(text)
    policy = read_policy(path)
    assert policy.keys == {key.public.keyid: key.public for key in (SECOND, RELEASE)}
    assert policy.names[RELEASE.public.keyid] == "release"
    outside = tmp_path.parent / "outside.pem"
    outside.write_bytes(RELEASE.public.pem)
    (tmp_path / "link.pem").symlink_to(outside)
    (tmp_path / "linked").symlink_to(tmp_path / "keys")
    for bad, rule_broken in (
        ("../outside.pem", "stay in the folder"),
        ("keys/../../outside.pem", "stay in the folder"),
        (str(outside), "stay in the folder"),
        ("..\\\\outside.pem", "stay in the folder"),
        ("link.pem", "symbolic link"),
        ("linked/release.pub.pem", "symbolic link"),
        ("absent.pem", "cannot be read"),
        ("keys", "cannot be read"),
    ):
        path.write_text(text.replace("keys/release.pub.pem", bad))
        with pytest.raises(InputError, match=rule_broken):
            read_policy(path)
    with pytest.raises(InputError, match="no folder"):
        parse_policy(text.encode(), "policy")


@pytest.mark.parametrize(
    ("old", "new", "rule_broken"),
    [
        ('format = "verifier-policy/1"\n', "", "format is missing"),
        ("verifier-policy/1", "verifier-policy/2", "must be"),
        ("predicate_types = [", "predicate_types = [1, ", "string"),
        ("threshold = 1", "threshold = 0", "between 1"),
        ("threshold = 1", "threshold = 2", "between 1"),
        ("threshold = 1", "threshold = true", "between 1"),
        ("threshold = 1", 'threshold = "1"', "between 1"),
        ("threshold = 1", "threshold = 1\nquorum = 1", "unknown"),
        ("[signatures]", "extra = 1\n[signatures]", "extra is unknown"),
        ("[[signatures.keys]]", "[signatures.keys]", "list"),
        ('name = "key 0"\n', "", "name is missing"),
        ('name = "key 0"', 'name = "key 0"\npath = "x"', "one of 'pem' and 'path'"),
        ('name = "key 0"', 'name = ""', "1 to 256"),
        ("BEGIN PUBLIC KEY", "BEGIN PRIVATE KEY", "leaked"),
        ("BEGIN PUBLIC KEY", "BEGIN CERTIFICATE", "PEM"),
        (RULES, "", "rules is missing"),
        (RULES, "[rules]\nmodels = ['*']", "list"),
        (RULES, "[[rules]]\nmodels = ['*']", "ask for something"),
        (RULES, "[[rules]]\nmin_margin = '1'", "models is missing"),
        ('models = ["p59-*"]', "models = []", "1 to"),
        ('models = ["p59-*"]', 'models = ["a", "a"]', "twice"),
        ('models = ["p59-*"]', 'models = "p59-*"', "list"),
        ('certified_inputs = "all"', 'certified_inputs = "most"', '"all" or a positive count'),
        ('certified_inputs = "all"', "certified_inputs = 0", '"all" or a positive count'),
        ('certified_inputs = "all"', "certified_inputs = true", '"all" or a positive count'),
        ('min_accuracy = "1"', "min_explained_inputs = 0", '"all" or a positive count'),
        ('min_accuracy = "1"', 'p = "59"', "whole number"),
        ('min_accuracy = "1"', 'layout = "a b"', "list"),
        ('min_accuracy = "1"', "attention = [1]", "string"),
        ('min_accuracy = "1"', "min_accuracy = 1.0", "exact numbers in quotes"),
        ('min_accuracy = "1"', 'min_accuracy = "1.5"', "at most 1"),
        ('min_accuracy = "1"', "min_accuracy = 0", "more than 0"),
        ('min_accuracy = "1"', 'min_accuracy = "99%"', "in quotes"),
        ('semantics = ["binary32"]', 'semantics = ["float32"]', "some of"),
        ('min_margin = "1.5"', 'min_margin = "-1"', "in quotes"),
        ('min_margin = "1.5"', 'min_margin = "1e3"', "in quotes"),
        ('min_margin = "1.5"', 'min_margin = "1/0"', "in quotes"),
        ('min_margin = "1.5"', 'min_margin = " 1"', "in quotes"),
        ('min_margin = "1.5"', 'min_margin = "٣"', "in quotes"),
        ('min_margin = "1.5"', f'min_margin = "{"9" * 200}"', "in quotes"),
        ('min_margin = "1.5"', f"min_margin = {10**40}", "in quotes"),
        ('min_margin = "1.5"', "min_margin = true", "in quotes"),
        ('min_margin = "1.5"', "min_margim = '1.5'", "unknown"),
        ('min_margin = "1.5"', "min_margin = '1.5'\nmin_margin = '1.5'", "not a policy"),
    ],
)
def test_what_is_not_a_policy(old: str, new: str, rule_broken: str) -> None:
    text = policy_text()
    assert old in text
    with pytest.raises(InputError, match=rule_broken):
        parse_policy(text.replace(old, new, 1).encode(), "policy.toml")


def test_a_key_counts_once() -> None:
    text = policy_text(keys=(RELEASE, RELEASE), threshold=2)
    with pytest.raises(InputError, match="count twice"):
        parse_policy(text.encode(), "policy.toml")
    text = policy_text(keys=(RELEASE, SECOND)).replace("key 1", "key 0")
    with pytest.raises(InputError, match="used twice"):
        parse_policy(text.encode(), "policy.toml")


def test_files_that_are_no_policies(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.toml"):
        with pytest.raises(InputError):
            read_policy(path)
    path = tmp_path / "policy.toml"
    for data in (b"\xff", b"x" * 100_000, b"", b"[", b"\0"):
        path.write_bytes(data)
        with pytest.raises(InputError):
            read_policy(path)


def test_the_kernel_knows_the_same_words() -> None:
    assert kernel_claim.SEMANTICS == SEMANTICS
    assert kernel_claim.STRATEGIES == STRATEGIES
    assert isinstance(CLAIM.fields["semantics"], Text)
