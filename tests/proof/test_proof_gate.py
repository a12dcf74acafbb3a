"""The gate: every model has a proof, nothing else does, and nothing is opened that should not be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.proof.proof_support import (
    KERNEL,
    MODEL,
    RELEASE,
    SECOND,
    make_certificate,
    make_policy,
    make_statement,
    policy_text,
    sign,
    write_tree,
)
from verifier.errors import InputError
from verifier.kernel.limits import MODEL_BYTES
from verifier.proof.envelope import MAX_BUNDLE_BYTES
from verifier.proof.gate import GateResult, decimal, gate, github_annotations, junit
from verifier.proof.policy import read_policy
from verifier.proof.reasons import Reason


def run(root: Path, **options: Any) -> GateResult:
    policy = read_policy(root / "certificates" / "policy.toml")
    return gate(root / "certificates", root / "models", policy, kernel=KERNEL, **options)


def reasons(result: GateResult) -> dict[str, Reason]:
    return {entry.name: entry.failure.reason for entry in result.failures if entry.failure is not None}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two models with good proofs."""
    write_tree(tmp_path)
    write_tree_again(tmp_path, "p59-seed1", b"other weights")
    return tmp_path


def write_tree_again(root: Path, name: str, model: bytes) -> None:
    other = root / "other"
    write_tree(other, name, model)
    (other / "certificates" / name).rename(root / "certificates" / name)
    (other / "models" / f"{name}.safetensors").rename(root / "models" / f"{name}.safetensors")


def test_passes(tree: Path) -> None:
    result = run(tree)
    assert not result.failures
    assert [entry.name for entry in result.entries] == ["p59-seed0", "p59-seed1"]
    document = json.loads(json.dumps(result.document()))
    assert document["passed"] is True
    assert document["rechecked"] is True
    assert document["models"] == 2
    entry = document["entries"][0]
    assert entry["certified_inputs"] == 3481
    assert entry["min_margin"] == "1.500000"
    assert entry["relative_quadrature_bounds"] == {"3": "0.218750", "14": "0.304688"}
    assert entry["cost_per_parameter"] == "40.001722"
    assert (entry["p"], entry["explained_inputs"], entry["gap_error"]) == (59, 3480, "0.187500")
    assert (entry["max_error"], entry["relative_margin"]) == ("3.000000", "0.033802")


def test_says_so_when_the_kernel_was_not_run(tree: Path) -> None:
    result = run(tree, recheck=False)
    assert not result.failures
    assert result.document()["rechecked"] is False
    assert b"the kernel was not run" in junit(result)
    assert "not run" in next(github_annotations(result, Path("models")))


def test_no_model_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "certificates").mkdir()
    result = gate(tmp_path / "certificates", tmp_path / "models", make_policy(), kernel=KERNEL)
    assert reasons(result) == {"models": Reason.NOTHING}
    (tmp_path / "models" / "README.md").write_text("models")
    result = gate(tmp_path / "certificates", tmp_path / "models", make_policy(), kernel=KERNEL)
    assert reasons(result) == {"models": Reason.NOTHING}


def test_missing_parts(tree: Path) -> None:
    for name in ("proof.sigstore.json", "claim.json", "certificate.json"):
        path = tree / "certificates" / "p59-seed0" / name
        data = path.read_bytes()
        path.unlink()
        result = run(tree)
        assert reasons(result) == {"p59-seed0": Reason.MISSING}
        assert name in str(result.failures[0].failure)
        path.mkdir()
        assert reasons(run(tree)) == {"p59-seed0": Reason.UNSAFE}
        path.rmdir()
        os.mkfifo(path)
        assert reasons(run(tree)) == {"p59-seed0": Reason.UNSAFE}
        path.unlink()
        path.write_bytes(data)
    assert not run(tree).failures


def test_a_model_without_a_proof_and_a_proof_without_a_model(tree: Path) -> None:
    (tree / "models" / "p59-seed1.safetensors").rename(tree / "models" / "p59-new.safetensors")
    assert reasons(run(tree)) == {"p59-new": Reason.MISSING, "p59-seed1": Reason.ORPHAN}


def test_a_proof_for_another_model(tree: Path) -> None:
    one, two = (tree / "certificates" / name for name in ("p59-seed0", "p59-seed1"))
    one.rename(tree / "certificates" / "x")
    two.rename(one)
    (tree / "certificates" / "x").rename(two)
    assert set(reasons(run(tree)).values()) == {Reason.MODEL_NAME}


def test_a_renamed_model_does_not_borrow_a_weaker_rule(tree: Path) -> None:
    """The name is signed, so a model cannot be moved under a rule that asks for less."""
    weak = '[[rules]]\nmodels = ["weak"]\ncertified_inputs = 1\n'
    (tree / "certificates" / "policy.toml").write_text(policy_text(rules=weak))
    for folder, suffix in (("models", ".safetensors"), ("certificates", "")):
        (tree / folder / f"p59-seed0{suffix}").rename(tree / folder / f"weak{suffix}")
    assert reasons(run(tree)) == {"weak": Reason.MODEL_NAME, "p59-seed1": Reason.NO_RULE}


def test_one_changed_byte_of_anything_fails(tree: Path) -> None:
    for path in sorted(tree.rglob("*")):
        if not path.is_file() or path.name == "policy.toml":
            continue
        data = path.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 4
            path.write_bytes(changed)
            failed = reasons(run(tree))
            assert len(failed) == 1, path
            assert next(iter(failed)) in str(path)
        path.write_bytes(data)
    assert not run(tree).failures


def test_a_certificate_that_no_longer_proves(tree: Path) -> None:
    """Everything is signed as it should be, but the kernel does not conclude it."""
    poor = make_certificate(3000)
    statement: Any = make_statement()
    from verifier.proof.statement import sha256

    statement["predicate"]["certificateDigest"]["sha256"] = sha256(poor)
    statement["predicate"]["conclusion"]["certificate"]["sha256"] = sha256(poor)
    folder = tree / "certificates" / "p59-seed0"
    (folder / "certificate.json").write_bytes(poor)
    (folder / "proof.sigstore.json").write_bytes(sign(statement))
    assert reasons(run(tree)) == {"p59-seed0": Reason.REJECTED}
    assert not run(tree, recheck=False).failures


def test_counter_signatures_are_found(tree: Path) -> None:
    rules = '[[rules]]\nmodels = ["*"]\ncertified_inputs = "all"\n'
    text = policy_text(keys=(RELEASE, SECOND), threshold=2, rules=rules)
    (tree / "certificates" / "policy.toml").write_text(text)
    assert set(reasons(run(tree)).values()) == {Reason.THRESHOLD}
    for name, model in (("p59-seed0", MODEL), ("p59-seed1", b"other weights")):
        second = sign(make_statement(model, f"{name}.safetensors"), SECOND)
        (tree / "certificates" / name / "proof.second.sigstore.json").write_bytes(second)
    assert not run(tree).failures


def test_symbolic_links_are_refused(tree: Path) -> None:
    models, certificates = tree / "models", tree / "certificates"
    real = models / "p59-seed0.safetensors"
    (models / "p59-link.safetensors").symlink_to(real)
    (certificates / "p59-alias").symlink_to(certificates / "p59-seed0")
    (certificates / "outside").symlink_to("/")
    (models / "loop").symlink_to(models)
    assert reasons(run(tree)) == {
        "p59-link.safetensors": Reason.UNSAFE,
        "p59-alias": Reason.UNSAFE,
        "outside": Reason.UNSAFE,
        "loop": Reason.UNSAFE,
    }


def test_links_below_and_in_place_of_the_folders_are_refused(tree: Path) -> None:
    models, certificates = tree / "models", tree / "certificates"
    (certificates / "keys").mkdir()
    for link in (
        certificates / "p59-seed0" / "notes",
        certificates / "p59-seed0" / "deep" / "er",
        certificates / "keys" / "release.pub.pem",
        certificates / "policy.link.toml",
    ):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(certificates / "policy.toml")
        assert reasons(run(tree)) == {link.relative_to(certificates).as_posix(): Reason.UNSAFE}
        link.unlink()
    for folder in (models, certificates):
        folder.rename(tree / "elsewhere")
        folder.symlink_to(tree / "elsewhere")
        assert reasons(run(tree)) == {folder.name: Reason.UNSAFE}
        folder.unlink()
        (tree / "elsewhere").rename(folder)
    assert not run(tree).failures


def test_a_model_beside_a_proof_must_be_that_of_the_proof(tree: Path) -> None:
    models, folder = tree / "models", tree / "certificates" / "p59-seed0"
    copy = folder / "p59-seed0.safetensors"
    copy.write_bytes((models / copy.name).read_bytes())
    assert not run(tree).failures
    copy.write_bytes(b"another")
    assert reasons(run(tree)) == {"p59-seed0/p59-seed0.safetensors": Reason.MODEL_DIGEST}
    copy.unlink()
    for stranger in (
        folder / "p59-seed1.safetensors",
        folder / "P59.SafeTensors",
        folder / "deep" / "p59-seed0.safetensors",
        tree / "certificates" / "p59-seed0.safetensors",
        tree / "certificates" / "keys" / "keys.safetensors",
    ):
        stranger.parent.mkdir(exist_ok=True)
        stranger.write_bytes((models / copy.name).read_bytes())
        assert reasons(run(tree)) == {stranger.relative_to(tree / "certificates").as_posix(): Reason.NAME}
        stranger.unlink()


def test_links_in_place_of_parts_are_refused(tree: Path) -> None:
    elsewhere = tree / "elsewhere"
    for path in (
        tree / "models" / "p59-seed0.safetensors",
        *(tree / "certificates" / "p59-seed0").iterdir(),
        tree / "certificates" / "p59-seed0",
    ):
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
        assert Reason.UNSAFE in reasons(run(tree)).values(), path
        path.unlink()
        elsewhere.rename(path)
    assert not run(tree).failures


@pytest.mark.parametrize(
    "name",
    [
        "..safetensors",
        ".hidden.safetensors",
        "a b.safetensors",
        "a..b.safetensors",
        "-a.safetensors",
        "a\n::error::b.safetensors",
        "ä.safetensors",
        "keys.safetensors",
        "A.SAFETENSORS",
        ".safetensors",
    ],
)
def test_names_that_are_not_plain_are_refused(tree: Path, name: str) -> None:
    (tree / "models" / name).write_bytes(MODEL)
    result = run(tree)
    assert list(reasons(result).values()) == [Reason.NAME]
    for line in github_annotations(result, Path("models")):
        assert "\n" not in line
        assert line.startswith("::error title=")
    ElementTree.fromstring(junit(result))


def test_models_in_subfolders_are_refused(tree: Path) -> None:
    deep = tree / "models" / "sub" / "er"
    deep.mkdir(parents=True)
    (deep / "p59-hidden.safetensors").write_bytes(MODEL)
    (deep / "notes.txt").write_text("nothing")
    assert reasons(run(tree)) == {"sub/er/p59-hidden.safetensors": Reason.NAME}


def test_folders_that_cannot_be_read(tree: Path) -> None:
    policy = make_policy()
    for certificates, models in (
        (tree / "absent", tree / "models"),
        (tree / "certificates", tree / "absent"),
    ):
        with pytest.raises(InputError):
            gate(certificates, models, policy, kernel=KERNEL)


def test_files_beyond_the_limits(tree: Path) -> None:
    proof = tree / "certificates" / "p59-seed0" / "proof.sigstore.json"
    with proof.open("ab") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    model = tree / "models" / "p59-seed1.safetensors"
    with model.open("ab") as file:
        file.truncate(MODEL_BYTES + 1)  # sparse
    assert reasons(run(tree)) == {"p59-seed0": Reason.SIZE, "p59-seed1": Reason.SIZE}


def test_junit(tree: Path) -> None:
    (tree / "models" / "p59-seed1.safetensors").write_bytes(b'changed ]]> <&" \x1b')
    root = ElementTree.fromstring(junit(run(tree)))
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase[@name='p59-seed1']/failure")
    assert failure is not None
    assert failure.get("type") == "MODEL_DIGEST"
    assert "step 5" in str(failure.get("message"))


def test_github_annotations(tree: Path) -> None:
    (tree / "models" / "p59-seed1.safetensors").write_bytes(b"changed")
    (line,) = github_annotations(run(tree), Path("models"))
    start = "::error file=models/p59-seed1.safetensors,title=verifier gate, p59-seed1::step 5: "
    assert line.startswith(start.replace(", p", "%2C p"))


def test_decimals_are_rounded_outward() -> None:
    from fractions import Fraction

    assert decimal(Fraction(1, 3), "lower", 3) == "0.333"
    assert decimal(Fraction(1, 3), "upper", 3) == "0.334"
    assert decimal(Fraction(-1, 3), "lower", 3) == "-0.334"
    assert decimal(Fraction(-1, 3), "upper", 3) == "-0.333"
    assert decimal(Fraction(5, 2), "upper", 1) == "2.5"
    assert decimal(Fraction(-1, 10**9), "upper", 3) == "0.000"
