"""`keygen`, `verify` and `gate` as a user runs them, and the files they write."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof.proof_support import (
    KERNEL,
    MODEL,
    MODEL_NAME,
    RELEASE,
    SECOND,
    STRANGER,
    make_statement,
    policy_text,
    sign,
    write_tree,
)
from verifier.cli import main
from verifier.files import FileError, read_limited, write_atomically
from verifier.proof import keys
from verifier.proof import verify as verify_module

ROOT = Path(__file__).parent.parent.parent
ONE_RULE = '[[rules]]\nmodels = ["*"]\ncertified_inputs = "all"\n'


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One model with its proof, in the current folder; the kernel is the fake one."""
    write_tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify_module, "trusted_kernel", lambda: KERNEL)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in (keys.KEY_VARIABLE, keys.PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


PROOF = "certificates/p59-seed0/proof.sigstore.json"
VERIFY = ("verify", PROOF, "--model", f"models/{MODEL_NAME}")


def test_verify(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(VERIFY) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "verified in" in out
    assert "3481 of 3481" in out
    assert "re-ran and concluded the same" in out
    assert max(map(len, out.splitlines())) <= 100
    assert main([*VERIFY, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_verify_json(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*VERIFY, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] is True
    assert document["rechecked"] is True
    assert document["signed_by"] == [RELEASE.public.keyid]
    assert document["min_margin"] == "1.500000"


@pytest.mark.parametrize("quiet", [[], ["--quiet"], ["--json"]])
def test_without_recheck_it_is_said_loudly(tree: Path, capsys: pytest.CaptureFixture[str], quiet: list[str]) -> None:
    assert main([*VERIFY, "--no-recheck", *quiet]) == 0
    out, err = capsys.readouterr()
    assert "WARNING" in err
    assert "NOT run" in err
    if quiet == ["--json"]:
        assert json.loads(out)["rechecked"] is False
    elif not quiet:
        assert "NOT rechecked" in out


def test_verify_fails(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "models" / MODEL_NAME).write_bytes(b"changed")
    assert main([*VERIFY, "--json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["verified"], document["step"], document["reason"]) == (False, 5, "MODEL_DIGEST")
    assert err.count("\n") == 1
    (tree / PROOF).write_bytes(b"not a proof")
    assert main(VERIFY) == 2
    assert "step 1" in capsys.readouterr().err


@pytest.mark.parametrize("missing", [PROOF, f"models/{MODEL_NAME}", "certificates/policy.toml"])
def test_missing_files_are_bad_input(tree: Path, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    (tree / missing).unlink()
    assert main(VERIFY) == 2
    err = capsys.readouterr().err
    assert missing in err
    assert err.count("\n") == 1


def test_other_places_for_claim_and_certificate(tree: Path) -> None:
    folder = tree / "certificates" / "p59-seed0"
    for name in ("claim", "certificate"):
        (folder / f"{name}.json").rename(tree / f"{name}.json")
    assert main(VERIFY) == 2
    assert main([*VERIFY, "--claim", "claim.json", "--certificate", "certificate.json"]) == 0
    assert main([*VERIFY, "--claim", "claim.json", "--no-recheck"]) == 0
    assert main([*VERIFY, "--claim", "claim.json"]) == 2


def test_countersign(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.write_signing_key(tree / "second.pem", SECOND)
    policy = tree / "certificates" / "policy.toml"
    policy.write_text(policy_text(keys=(RELEASE, SECOND), threshold=2, rules=ONE_RULE))
    assert main(VERIFY) == 1
    assert "THRESHOLD" not in capsys.readouterr().out
    second = "certificates/p59-seed0/proof.second.sigstore.json"
    sign_too = [*VERIFY, "--countersign", second, "--key", "second.pem"]
    assert main([*sign_too, "--no-recheck"]) == 2
    assert not Path(second).exists()
    assert main(sign_too) == 0
    assert SECOND.public.keyid in capsys.readouterr().out
    assert Path(second).read_bytes() == sign(make_statement(), SECOND)
    assert main(sign_too) == 2  # never overwritten
    assert main(["verify", PROOF, second, *VERIFY[2:]]) == 0
    assert main(["gate"]) == 0


def test_what_fails_is_not_countersigned(tree: Path) -> None:
    keys.write_signing_key(tree / "second.pem", SECOND)
    (tree / PROOF).write_bytes(sign(make_statement(), STRANGER))
    assert main([*VERIFY, "--countersign", "new.json", "--key", "second.pem"]) == 1
    assert not Path("new.json").exists()


def test_gate(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "certificates", "--models", "models"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "1 passed, 0 failed" in out
    assert max(map(len, out.splitlines())) <= 100
    (tree / "models" / "p59-other.safetensors").write_bytes(MODEL)
    assert main(["gate", "--junit", "report/gate.xml", "--github"]) == 1
    out, err = capsys.readouterr()
    assert "1 passed, 1 failed" in out
    assert "::error file=models/p59-other.safetensors" in out
    assert 'failures="1"' in Path("report/gate.xml").read_text()
    assert main(["gate", "--json", "--github"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["failures"] == 1
    assert "::error" in err
    assert main(["gate", "--no-recheck", "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "NOT run" in err


def test_gate_with_bad_input(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--policy", "absent.toml"], ["--models", "absent"], ["absent", "--policy", PROOF]):
        assert main(["gate", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_keygen(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "deep/key.pem"]) == 0
    out = capsys.readouterr().out
    public = keys.read_public_key(Path("deep/key.pub.pem"))
    assert public.keyid in out
    assert "[[signatures.keys]]" in out
    assert "PRIVATE" not in out
    assert main(["keygen", "deep/key.pem"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["keygen", "--show", "deep/key.pem", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pem"] == public.pem.decode()
    assert main(["keygen", "deep/ed.pem", "--algorithm", "ed25519", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["algorithm"], document["encrypted"]) == ("ed25519", False)


def test_keygen_default_place_and_passphrase(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["keygen", "--encrypt"]) == 2  # nobody to ask
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "secret")
    assert main(["keygen"]) == 0
    out = capsys.readouterr().out
    assert "encrypted" in out
    assert "secret" not in out
    assert (tree / "config" / "verifier" / "key.pem").exists()
    monkeypatch.setenv(keys.KEY_VARIABLE, str(tree / "named.pem"))
    assert main(["keygen"]) == 0
    assert (tree / "named.pem").exists()


def test_keygen_refuses_a_repository(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / ".git").mkdir()
    assert main(["keygen", "key.pem"]) == 2
    assert "repository" in capsys.readouterr().err
    assert not (tree / "key.pem").exists()


def test_starting_is_light() -> None:
    """The commands import nothing heavy before they run, and verifying needs neither torch nor matplotlib."""
    code = (
        "import sys, verifier.commands.verify, verifier.commands.gate, verifier.commands.keygen\n"
        "print(*{'numpy', 'torch', 'matplotlib', 'flint', 'rich'} & set(sys.modules))\n"
        "import verifier.proof.gate, verifier.proof.verify\n"
        "print(*{'torch', 'matplotlib', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


class TestFiles:
    """Reading with a limit, and writing that leaves the old file or the new one."""

    def test_a_write_that_is_interrupted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "proof.sigstore.json"
        write_atomically(path, b"old")
        for name in ("fsync", "replace", "chmod"):

            def interrupt(*arguments: object) -> None:
                raise KeyboardInterrupt

            with monkeypatch.context() as patch:
                patch.setattr(os, name, interrupt)
                with pytest.raises(KeyboardInterrupt):
                    write_atomically(path, b"new")
            assert path.read_bytes() == b"old"
            assert [p.name for p in tmp_path.iterdir()] == [path.name]
        write_atomically(path, b"new")
        assert path.read_bytes() == b"new"

    def test_a_writer_that_is_killed(self, tmp_path: Path) -> None:
        """Killed at any moment, it leaves one of the two contents."""
        path = tmp_path / "proof.sigstore.json"
        code = (
            "import sys\nfrom pathlib import Path\nfrom verifier.files import write_atomically\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    for letter in (b'a', b'b'):\n"
            f"        write_atomically(Path({str(path)!r}), letter * 300_000)\n"
        )
        for delay in (0.0, 0.01, 0.03):
            process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            process.stdout.close()
            if path.exists():
                assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)

    def test_limits(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"12345")
        assert read_limited(path, 5) == b"12345"
        with pytest.raises(FileError, match="larger than 4"):
            read_limited(path, 4)
        link = tmp_path / "link"
        link.symlink_to(path)
        assert read_limited(link, 5) == b"12345"
        with pytest.raises(FileError, match="link"):
            read_limited(link, 5, follow=False)
        for other in (tmp_path, Path("/dev/zero")):
            with pytest.raises(FileError, match="regular"):
                read_limited(other, 5)
        path.chmod(0o644)
        with pytest.raises(FileError, match="0644"):
            read_limited(path, 5, private=True)

    def test_a_file_that_grows_while_it_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"12345")
        small = os.stat_result((0o100600, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", lambda handle: small)
            with pytest.raises(FileError, match="larger than 4"):
                read_limited(path, 4)
