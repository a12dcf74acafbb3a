"""`check` and `certify` from end to end, on the small model: what they write, print and refuse."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.header_corpus import REFUSED
from tests.shipped import POISONED, SMALL, policy_of
from verifier import cli, prove
from verifier.model import FoldedCircuit, write_model
from verifier.proof.keys import generate, write_signing_key

INPUTS = 23**2
PARTS = ("certificate.json", "claim.json", "proof.sigstore.json")


@dataclass(frozen=True)
class Run:
    """One run of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Verifier = Callable[..., Run]


@pytest.fixture
def verifier(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Verifier:
    """Runs a command in a folder of its own, with a configuration folder of its own."""
    for name in ("VERIFIER_KEY", "VERIFIER_KEY_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: object) -> Run:
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def make_key(folder: Path, name: str = "other") -> Path:
    """A key that is nobody's default; returns where the private half is."""
    write_signing_key(folder / f"{name}.pem", generate())
    return folder / f"{name}.pem"


class TestEndToEnd:
    def test_certify_then_check_then_verify(self, verifier: Verifier, tmp_path: Path) -> None:
        run = verifier("certify", SMALL)
        assert run.code == 0, run.err
        folder = Path("certificates/pizza-p23")
        assert sorted(contents(folder)) == sorted(PARTS)
        assert run.out.startswith(f"PROVED: for all {INPUTS} inputs (a, b) the largest logit is that of (a + b) mod 23")
        assert "no signing key yet" in run.err

        check = verifier("check", SMALL, folder / "certificate.json", "--claim", folder / "claim.json")
        assert (check.code, check.err) == (0, "")
        assert sorted(contents(folder)) == sorted(PARTS)

        policy = tmp_path / "policy.toml"
        policy.write_text(policy_of(tmp_path / "config" / "verifier" / "key.pub.pem"))
        verify = verifier("verify", folder / "proof.sigstore.json", "--model", SMALL, "--policy", policy)
        assert (verify.code, verify.err) == (0, "")

    def test_the_object_of_certify_and_check(self, verifier: Verifier) -> None:
        certify = verifier("certify", SMALL, "--json").json
        check = verifier("check", SMALL, "certificates/pizza-p23/certificate.json", "--json").json
        for found in (certify, check):
            assert found["proved"] is True
            assert found["model"]["p"] == 23
            assert found["model"]["neurons"] == 128
            assert found["model"]["parameters"] == 3 * 128 * 23 + 2 * 23**2
            assert len(found["model"]["sha256"]) == 64
            for entry in found["quadrature"]:
                assert entry.keys() >= {"frequency", "neurons", "network_error", "amplitude"}
                bounds = [float(entry[name]) for name in ("rectangle", "harmonic", "arc_sum")]
                assert float(entry["bound"]) == min(bounds)
                assert float(entry["relative_bound"]) < 0.5
            assert sum(entry["neurons"] for entry in found["quadrature"]) == 128
            assert float(found["logits"]["max_error"]) > 0
            assert set(found["logits"]["budget"]) >= {"quadrature", "profile", "output_rest", "fixed_point"}
            assert found["cost"].keys() >= {
                "parameters",
                "events",
                "operations",
                "per_parameter",
                "brute_force",
                "seconds",
            }
            assert sum(found["cost"]["by_step"].values()) == found["cost"]["operations"]
            accuracy = found["accuracy"]
            assert accuracy["certified_inputs"] == accuracy["total_inputs"] == accuracy["explained_inputs"] == INPUTS
            assert (accuracy["strategy"], accuracy["semantics"]) == ("linear", "binary32")
            assert 0 < float(accuracy["gap_error"]) < 0.25
            assert float(accuracy["min_margin"]) > 13
            assert accuracy["uncertified"] == []
            form = found["closed_form"]
            assert form["explains_all"] is True
            assert float(form["least_gap"]) > 2 * float(form["error"])
        assert certify["files"] == {
            "certificate": "certificates/pizza-p23/certificate.json",
            "claim": "certificates/pizza-p23/claim.json",
            "proof": "certificates/pizza-p23/proof.sigstore.json",
        }
        assert certify["answers"] == {"proved": INPUTS}
        assert "files" not in check

    @pytest.mark.parametrize("words", [(), ("--at-least", "100", "--strategy", "exact", "--semantics", "real")])
    def test_the_summary_fits_eighty_columns(self, verifier: Verifier, words: tuple[str, ...]) -> None:
        run = verifier("certify", SMALL, *words)
        lines = [line for line in run.out.splitlines() if str(SMALL) not in line]
        assert max(map(len, lines)) <= 80
        for part in ("quadrature error", "closed form", "sha256", "cost", "naive", "margin", "explained"):
            assert part in run.out

    def test_quiet_says_nothing(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL, "--quiet").out == ""
        assert verifier("check", SMALL, "certificates/pizza-p23/certificate.json", "--quiet") == Run(0, "", "")

    def test_the_claim_is_what_was_asked_for(self, verifier: Verifier) -> None:
        words = ("--at-least", "500", "--semantics", "real", "--strategy", "exact")
        assert verifier("certify", SMALL, *words).code == 0
        claim = json.loads(Path("certificates/pizza-p23/claim.json").read_bytes())
        assert claim == {
            "format": "verifier-claim/2",
            "task": "(a + b) mod p",
            "p": 23,
            "model_sha256": claim["model_sha256"],
            "strategy": "exact",
            "semantics": "real",
            "certified_inputs": 500,
        }

    def test_a_claim_file(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL, "--out", "one").code == 0
        claim = Path("one/pizza-p23/claim.json")
        assert verifier("certify", SMALL, "--out", "two", "--claim", claim).code == 0
        assert contents(Path("one")) == contents(Path("two")), "the same key, the same bytes"

    def test_both_strategies(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL).code == 0
        certificate = "certificates/pizza-p23/certificate.json"
        found = {}
        for strategy in ("linear", "exact"):
            run = verifier("check", SMALL, certificate, "--strategy", strategy, "--semantics", "real", "--json")
            assert run.code == 0
            assert run.json["accuracy"]["certified_inputs"] == INPUTS
            found[strategy] = run.json["accuracy"]
        low, high = map(float, found["exact"]["true_min_margin"])
        assert 0.95 * low <= float(found["linear"]["min_margin"]) <= float(found["exact"]["min_margin"]) <= high
        assert found["exact"]["wrong_inputs"] == 0
        semi = verifier("check", SMALL, certificate, "--strategy", "semi-linear")
        assert semi.code == 2
        assert "semi-linear is for learned attention" in semi.err


class TestUnproved:
    """A false claim: exit code 1, the reason, what was proved all the same, and nothing written."""

    def test_a_poisoned_model(self, verifier: Verifier) -> None:
        """Linear does not prove it, and exact runs by itself: it tells wrong answers from unproved ones."""
        run = verifier("certify", POISONED)
        assert run.code == 1
        assert run.err.count("\n") == 1
        assert "nothing was written" in run.err
        assert contents(Path()) == {}
        assert run.out.startswith("NOT PROVED: 527 of 529 inputs certified, the claim says 529")
        lines = [line.split() for line in run.out.splitlines()]
        assert ["3", "5", "8", "20"] in [words[:4] for words in lines]
        assert ["10", "20", "7", "1"] in [words[:4] for words in lines]
        assert "527 right and proved, 0 not proved, 2 proved wrong" in one_line(run.out)
        assert "--at-least 527 --strategy exact" in one_line(run.out)
        assert max(len(line) for line in run.out.splitlines() if str(POISONED) not in line) <= 80

    def test_what_was_proved_can_be_claimed(self, verifier: Verifier) -> None:
        run = verifier("certify", POISONED, "--at-least", "527", "--json")
        assert run.code == 0
        listed = [(entry["a"], entry["b"]) for entry in run.json["accuracy"]["uncertified"]]
        assert sorted(listed) == [(3, 5), (10, 20)]
        assert all(float(entry["margin"]) <= 0 for entry in run.json["accuracy"]["uncertified"])

    def test_the_object_of_a_claim_that_failed(self, verifier: Verifier) -> None:
        run = verifier("certify", POISONED, "--strategy", "linear", "--json")
        assert run.code == 1
        assert run.json["proved"] is False
        assert "fewer inputs" in run.json["reason"]
        assert run.json["accuracy"]["certified_inputs"] < 529
        assert len(run.json["accuracy"]["uncertified"]) == 529 - run.json["accuracy"]["certified_inputs"]
        assert run.json["answers"]["wrong"] == 2

    def test_check(self, verifier: Verifier) -> None:
        assert verifier("certify", POISONED, "--at-least", "527").code == 0
        run = verifier("check", POISONED, "certificates/pizza-p23-poisoned/certificate.json")
        assert run.code == 1
        assert run.err.count("\n") == 1
        assert "not proved" in run.err
        assert "are not certified" in run.out

    def test_arithmetic_that_the_margin_does_not_carry(self, verifier: Verifier) -> None:
        run = verifier("certify", SMALL, "--semantics", "bfloat16")
        assert run.code == 1
        assert "is above every margin" in one_line(run.out)
        assert "--semantics real" in one_line(run.out)
        assert contents(Path()) == {}

    def test_no_key_is_made_for_a_proof_that_there_is_not(self, verifier: Verifier, tmp_path: Path) -> None:
        assert verifier("certify", POISONED).code == 1
        assert not (tmp_path / "config").exists()


def tensors(path: Path = SMALL) -> tuple[dict[str, Any], bytes]:
    """A model file's header and data."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: object, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def edited(change: Callable[[Any], object]) -> bytes:
    """The small model with its header changed."""
    header, body = tensors()
    change(header)
    return with_header(header, body)


def not_a_number() -> bytes:
    header, body = tensors()
    start = header["unembed.W_U"]["data_offsets"][0]
    return with_header(header, body[:start] + struct.pack("<f", float("nan")) + body[start + 4 :])


BAD: dict[str, bytes] = {
    "truncated": SMALL.read_bytes()[:-100],
    "cut in the header": SMALL.read_bytes()[:200],
    **{name: REFUSED[name] for name in ("a length beyond 64 bits of sense", "a tensor twice", "deep nesting")},
    "overlap": edited(lambda h: h["blocks.0.attn.b_O"].update(data_offsets=h["blocks.0.mlp.b_out"]["data_offsets"])),
    "wrong shapes": edited(lambda h: h["embed.W_E"]["shape"].reverse()),
    "NaN": not_a_number(),
    "another task": edited(lambda h: h["__metadata__"].update(task="(a / b) mod p")),
    "another modulus": edited(lambda h: h["__metadata__"].update(p="29")),
    "another architecture": with_header(
        {"h.0.ln_1.weight": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}, bytes(64)
    ),
    "text": b"# not a model\n" * 10,
    "nothing": b"",
}


class TestBadInput:
    """One line on standard error, exit code 2, and nothing written."""

    def refused(self, run: Run, *parts: str) -> None:
        assert run.code == 2, run
        assert run.out == ""
        assert run.err.startswith("verifier")
        assert run.err.count("\n") == 1
        assert len(run.err) < 800
        for part in parts:
            assert part in run.err

    @pytest.mark.parametrize("case", BAD)
    def test_a_bad_model(self, case: str, verifier: Verifier, tmp_path: Path) -> None:
        certificate = tmp_path / "certificate.json"
        shutil.copy(written_certificate(), certificate)
        bad = tmp_path / "bad.safetensors"
        bad.write_bytes(BAD[case])
        for command in (("certify", bad), ("check", bad, certificate)):
            self.refused(verifier(*command), str(bad))
            assert contents(Path()) == {}
        assert not (tmp_path / "config").exists()

    def test_no_file(self, verifier: Verifier, tmp_path: Path) -> None:
        for command in (("certify", "none"), ("check", "none", "none")):
            self.refused(verifier(*command), "none: cannot be read: No such file or directory")
        self.refused(verifier("check", SMALL, "none"), "none")
        self.refused(verifier("certify", tmp_path / "here"), "is a folder without models")
        assert contents(Path()) == {}

    def test_a_certificate_for_another_model(self, verifier: Verifier) -> None:
        run = verifier("check", POISONED, written_certificate())
        self.refused(run, "certificate.model_sha256", str(written_certificate()))

    @pytest.mark.parametrize(
        "change",
        [
            lambda value: value | {"claim": {"certified_inputs": 0}},
            lambda value: {name: item for name, item in value.items() if name != "boxes"},
            lambda value: value | {"neurons": 127},
            lambda value: value | {"p": 29},
            lambda value: value | {"nodes": 0.5},
            lambda value: [value],
        ],
    )
    def test_a_bad_certificate(self, change: Callable[[Any], Any], verifier: Verifier) -> None:
        Path("c.json").write_text(json.dumps(change(json.loads(written_certificate().read_bytes()))))
        self.refused(verifier("check", SMALL, "c.json"), "c.json")

    def test_a_certificate_that_is_not_json(self, verifier: Verifier) -> None:
        Path("c.json").write_bytes(b"\xff{")
        self.refused(verifier("check", SMALL, "c.json"), "c.json")

    @pytest.mark.parametrize("place", ["a file", "below a file", "a part is a folder"])
    def test_a_place_that_cannot_be_written(self, place: str, verifier: Verifier) -> None:
        Path("file").write_text("x")
        out = {"a file": "file", "below a file": "file/below", "a part is a folder": "out"}[place]
        if out == "out":
            Path("out/pizza-p23/claim.json").mkdir(parents=True)
        before = contents(Path())
        self.refused(verifier("certify", SMALL, "--out", out, "--quiet", "--key", make_key(Path("../"))))
        assert contents(Path()) == before

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: a read-only folder was NOT tried")
    def test_a_folder_that_is_read_only(self, verifier: Verifier) -> None:
        Path("out").mkdir(mode=0o500)
        self.refused(verifier("certify", SMALL, "--out", "out"), "not writable")

    def test_a_full_disk(self, verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second file cannot be written: the first one must not be there either."""
        key = make_key(Path("../"))
        calls = []

        def fsync(handle: int) -> None:
            calls.append(handle)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")

        assert verifier("certify", SMALL, "--out", "old", "--key", key).code == 0
        before = contents(Path())
        monkeypatch.setattr(os, "fsync", fsync)
        for out in ("new", "old"):
            calls.clear()
            run = verifier("certify", SMALL, "--out", out, "--key", key, "--force")
            self.refused(run, "No space left on device")
            assert contents(Path()) == before
        assert not Path("new/pizza-p23").exists()

    def test_options_that_make_no_sense(self, verifier: Verifier) -> None:
        certify = ("certify", SMALL)
        for words in (
            ("--at-least", INPUTS + 1),
            ("--at-least", -1),
            ("--at-least", "x"),
            ("--margin-share", "1.5"),
            ("--margin-share", "more"),
            ("--semantics", "float16"),
            ("--strategy", "guess"),
            ("--jobs", 0),
            ("--claim", written_certificate(), "--at-least", 1),
            ("--claim", "none"),
            ("--claim", written_certificate()),
            ("--key", "none"),
            ("--attention", "1/2"),
        ):
            self.refused(verifier(*certify, *words))
        self.refused(verifier("certify", SMALL, SMALL), "would have its proof where")
        self.refused(verifier("certify", SMALL, POISONED, "--claim", written_certificate()), "about one model")
        assert contents(Path()) == {}

    def test_a_claim_about_another_model(self, verifier: Verifier) -> None:
        claim = json.loads(prove.Request().claims(prove.read_native(SMALL))[0])
        Path("claim.json").write_text(json.dumps(claim))
        self.refused(verifier("certify", POISONED, "--claim", "claim.json"), "claim.model_sha256")
        Path("claim.json").write_text(json.dumps(claim | {"p": 29}))
        self.refused(verifier("certify", SMALL, "--claim", "claim.json"), "claim.p")
        Path("claim.json").write_text(json.dumps(claim | {"certified_inputs": INPUTS + 1}))
        self.refused(verifier("check", SMALL, written_certificate(), "--claim", "claim.json"), "certified_inputs")

    @pytest.mark.parametrize("name", ["with space", "-dash", "two..dots", "keys", "x" * 130])
    def test_a_name_that_a_proof_cannot_carry(self, name: str, verifier: Verifier) -> None:
        shutil.copy(SMALL, f"{name}.safetensors")
        self.refused(verifier("certify", Path(f"{name}.safetensors").absolute()), "must be named")

    def test_a_native_file_with_another_suffix(self, verifier: Verifier) -> None:
        shutil.copy(SMALL, "model.bin")
        self.refused(verifier("certify", "model.bin"), "must be named *.safetensors")


_WRITTEN: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("certificate") / "pizza-p23.json"
    path.write_bytes(prove.explain(prove.read_native(SMALL), prove.MARGIN_SHARE))
    _WRITTEN[:] = [path]


def written_certificate() -> Path:
    """A certificate of the small model."""
    return _WRITTEN[0]


def test_a_model_without_a_mechanism_is_not_proved(verifier: Verifier) -> None:
    """Well-formed, and constant: the certificate has no families, and nothing is certified."""
    header, body = tensors()
    Path("zeros.safetensors").write_bytes(with_header(header, bytes(len(body))))
    run = verifier("certify", "zeros.safetensors")
    assert run.code == 1
    assert run.err.count("\n") == 1
    assert not Path("certificates").exists()
    assert verifier("certify", "zeros.safetensors", "--json").json["proved"] is False


class TestStored:
    """A proof that is there already is kept while it is good, and made anew when it is not."""

    def test_it_is_kept(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL).code == 0
        before = contents(Path())
        again = verifier("certify", SMALL)
        assert (again.code, again.err) == (0, "")
        assert again.out.startswith("already certified")
        assert contents(Path()) == before
        assert verifier("certify", SMALL, "--json").json["kept"] is True
        forced = verifier("certify", SMALL, "--force", "--json")
        assert forced.json["kept"] is False

    def test_a_signature_of_the_policys_keys_is_kept(self, verifier: Verifier, tmp_path: Path) -> None:
        """Of a policy that was named, and is not among the proofs."""
        key, policy = make_key(tmp_path, "release"), tmp_path / "policy.toml"
        assert verifier("certify", SMALL, "--key", key).code == 0
        policy.write_text(policy_of(tmp_path / "release.pub.pem"))
        before = contents(Path())
        run = verifier("certify", SMALL, "--policy", policy)
        assert (run.code, run.err) == (0, ""), "no key is needed, and none is made"
        assert "release (SHA256:" in run.out
        assert contents(Path()) == before
        assert not (tmp_path / "config").exists()
        elsewhere = verifier("certify", SMALL, "--policy", policy, "--out", "elsewhere", "--json")
        assert elsewhere.json["kept"] is False

    def test_a_strangers_signature_is_not(self, verifier: Verifier, tmp_path: Path) -> None:
        assert verifier("certify", SMALL, "--key", make_key(tmp_path, "stranger")).code == 0
        Path("certificates/policy.toml").write_text(
            policy_of(make_key(tmp_path, "release").with_name("release.pub.pem"))
        )
        run = verifier("certify", SMALL)
        assert run.code == 0
        assert "made anew: the stored proof does not verify" in one_line(run.out)
        assert "does not name this key" in one_line(run.out)

    @pytest.mark.parametrize("part", PARTS)
    def test_a_damaged_part(self, part: str, verifier: Verifier) -> None:
        assert verifier("certify", SMALL).code == 0
        before = contents(Path())
        path = Path("certificates/pizza-p23") / part
        path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
        assert "made anew" in verifier("certify", SMALL).out
        assert contents(Path()) == before
        path.unlink()
        assert "not whole" in one_line(verifier("certify", SMALL).out)
        assert contents(Path()) == before

    def test_another_claim(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL).code == 0
        run = verifier("certify", SMALL, "--semantics", "real")
        assert "another claim" in one_line(run.out)
        assert json.loads(Path("certificates/pizza-p23/claim.json").read_bytes())["semantics"] == "real"

    def test_another_model_under_the_same_name(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL).code == 0
        shutil.copy(POISONED, "pizza-p23.safetensors")
        run = verifier("certify", "pizza-p23.safetensors", "--at-least", "500")
        assert run.code == 0
        assert "another claim, or another model" in one_line(run.out)

    def test_counter_signatures_of_a_replaced_proof_go(self, verifier: Verifier) -> None:
        assert verifier("certify", SMALL).code == 0
        folder = Path("certificates/pizza-p23")
        shutil.copy(folder / "proof.sigstore.json", folder / "proof.second.sigstore.json")
        (folder / "notes.txt").write_text("mine")
        run = verifier("certify", SMALL, "--semantics", "real")
        assert "proof.second.sigstore.json" in one_line(run.out)
        assert sorted(contents(folder)) == sorted([*PARTS, "notes.txt"])

    def test_a_proof_whose_conclusion_the_kernel_no_longer_reaches(
        self, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from verifier.kernel import conclusion

        assert verifier("certify", SMALL).code == 0
        monkeypatch.setitem(conclusion.LEMMAS, "A", "another lemma")
        run = verifier("certify", SMALL)
        assert "the kernel's conclusion differs" in one_line(run.out)


def one_line(text: str) -> str:
    """Wrapped text without its line breaks."""
    return " ".join(text.split())


class TestSeveral:
    """Several models in one run: one that fails does not hurt the others."""

    @pytest.mark.parametrize("jobs", ["1", "2"])
    def test_each_for_itself(self, jobs: str, verifier: Verifier, tmp_path: Path) -> None:
        Path("bad.safetensors").write_bytes(BAD["truncated"])
        key = make_key(tmp_path)
        words = ("certify", "bad.safetensors", POISONED, SMALL, "--jobs", jobs, "--key", key)
        run = verifier(*words, "--json")
        assert run.code == 2, "the worst of the three"
        bad, poisoned, small = run.json["models"]
        assert (run.json["certified"], run.json["failed"]) == (1, 2)
        assert (bad["state"], poisoned["state"], small["state"]) == ("bad input", "not proved", "certified")
        assert sorted(contents(Path("certificates"))) == [f"pizza-p23/{part}" for part in PARTS]
        assert len(run.err.splitlines()) == 2
        again = verifier(*words)
        lines = again.out.splitlines()
        assert any(line.startswith("pizza-p23 ") and "already certified" in line for line in lines)
        assert any(line.startswith("bad ") and "bad input" in line for line in lines)

    def test_all_well(self, verifier: Verifier) -> None:
        Path("second.safetensors").write_bytes(SMALL.read_bytes())
        run = verifier("certify", SMALL, "second.safetensors")
        assert run.code == 0
        assert max(map(len, run.out.splitlines())) <= 80
        assert len(contents(Path("certificates"))) == 6


class TestImportOnTheWay:
    """A checkpoint of another format: its native model file is written next to the certificate."""

    @pytest.fixture
    def checkpoint(self) -> Path:
        from verifier.model import fold, read_native

        circuit = fold(read_native(SMALL))
        path = Path("folded.npz").absolute()
        np.savez(path, A=circuit.A, B=circuit.B, W=circuit.W, S1=circuit.S1, S2=circuit.S2)  # type: ignore[arg-type]
        return path

    def test_it_is_written_and_the_proof_is_about_it(
        self, verifier: Verifier, checkpoint: Path, tmp_path: Path
    ) -> None:
        run = verifier("certify", checkpoint)
        assert run.code == 0, run.err
        folder = Path("certificates/folded")
        assert sorted(contents(folder)) == sorted([*PARTS, "folded.safetensors"])
        assert "imported (folded): the proof is about folded.safetensors" in run.out
        policy = tmp_path / "policy.toml"
        policy.write_text(policy_of(tmp_path / "config" / "verifier" / "key.pub.pem"))
        words = ("--model", folder / "folded.safetensors", "--policy", policy)
        assert verifier("verify", folder / "proof.sigstore.json", *words).code == 0
        before = contents(folder)
        assert verifier("certify", checkpoint).out.startswith("already certified")
        (folder / "folded.safetensors").unlink()
        assert "made anew" in verifier("certify", checkpoint).out
        assert contents(folder) == before

    def test_the_source_is_never_overwritten(self, verifier: Verifier, tmp_path: Path) -> None:
        from safetensors.numpy import save_file

        from verifier.model import fold, read_native

        circuit = fold(read_native(SMALL))
        Path("certificates/folded").mkdir(parents=True)
        source = Path("certificates/folded/folded.safetensors")
        save_file({"A": circuit.A, "B": circuit.B, "W": circuit.W}, source)
        before = source.read_bytes()
        run = verifier("certify", source, "--at-least", "0")
        assert run.code == 2
        assert "is the source itself" in run.err
        assert source.read_bytes() == before


def test_a_model_without_an_explanation_is_told_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    p, n = 11, 16
    a, b, w = (rng.normal(size=shape).astype(np.float32) for shape in ((n, p), (n, p), (p, n)))
    path = tmp_path / "noise.safetensors"
    write_model(FoldedCircuit(p, a, b, w, None, None, {}), path)
    assert cli.main(["certify", str(path), "--out", str(tmp_path / "out")]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "proved wrong" in text
    assert "inputs are answered wrong, the worst 10 of them" in text
    assert "of 16 neurons have a second one" in text
    words = ["certify", str(path), "--out", str(tmp_path / "out"), "--strategy", "exact", "--at-least", "1"]
    assert cli.main(words) == 0
