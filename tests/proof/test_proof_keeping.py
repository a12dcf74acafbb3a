"""What `certify` keeps, finds and writes: whose signatures count, folders of models, and links."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.proof.proof_support import RELEASE, policy_text
from verifier import store
from verifier.commands import certify
from verifier.errors import InputError
from verifier.proof import keys
from verifier.proof.keys import write_signing_key


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in (keys.KEY_VARIABLE, keys.PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def jobs(*words: str) -> list[store.Job]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    certify.add_arguments(parser)
    arguments = parser.parse_args(words)
    return certify._jobs(arguments, certify._Signer(arguments.key))


def trusted(*words: str) -> set[str]:
    (job,) = jobs("m.safetensors", *words)
    return {keyid for policy in job.policies or () for keyid in policy.keys}


def test_a_policy_among_the_proofs_says_nothing_about_whose_proofs_are_kept(folder: Path) -> None:
    """A pull request may own the folder of proofs, and the policy in it."""
    inside, outside = folder / "certificates" / "policy.toml", folder / "policy.toml"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_text(policy_text(keys=(RELEASE,)))
    assert trusted() == set()
    assert trusted("--policy", str(outside)) == {RELEASE.public.keyid}
    (folder / "alias.toml").symlink_to(inside)
    for path in (inside, folder / "alias.toml", Path("certificates/../certificates/policy.toml")):
        with pytest.raises(InputError, match="must not lie in the folder that it judges"):
            trusted("--policy", str(path))
    assert trusted("--policy", str(inside), "--out", "elsewhere") == {RELEASE.public.keyid}
    own = keys.generate()
    write_signing_key(folder / "config" / "verifier" / "key.pem", own)
    assert trusted() == {own.public.keyid}
    assert trusted("--policy", str(outside)) == {own.public.keyid, RELEASE.public.keyid}
    assert trusted("--policy", str(outside), "--force") == set()


def test_a_folder_stands_for_the_models_in_it(folder: Path) -> None:
    (folder / "models" / "deep").mkdir(parents=True)
    for name in ("b.safetensors", "a.pt", "c.npz", "notes.md", "d.json", "deep/e.safetensors"):
        (folder / "models" / name).write_bytes(b"")
    named = [job.path.as_posix() for job in jobs("models", "x.safetensors")]
    assert named == ["models/a.pt", "models/b.safetensors", "models/c.npz", "x.safetensors"]
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder without models"):
        jobs("models", "empty")
    (folder / "models" / "a.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="would have its proof where that of"):
        jobs("models")


def test_nothing_is_written_through_a_link(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    precious = elsewhere / "claim.json"
    precious.write_bytes(b"precious")
    out = folder / "certificates"
    out.mkdir()
    (out / "m").symlink_to(elsewhere)
    with pytest.raises(InputError, match="m: is a symbolic link"):
        store.store(out / "m", {"claim.json": b"new"})
    (out / "m").unlink()
    (out / "m").symlink_to(folder / "nowhere")
    with pytest.raises(InputError, match="m: is a symbolic link"):
        store.store(out / "m", {"claim.json": b"new"})
    (out / "m").unlink()
    (out / "m").mkdir()
    (out / "m" / "claim.json").symlink_to(precious)
    store.store(out / "m", {"claim.json": b"new"})  # in place of the link, not through it
    assert not (out / "m" / "claim.json").is_symlink()
    (folder / "linked").symlink_to(elsewhere)
    with pytest.raises(InputError, match="linked: is a symbolic link"):
        store.store(folder / "linked" / "m", {"claim.json": b"new"})
    assert precious.read_bytes() == b"precious"
    assert [path.name for path in elsewhere.iterdir()] == ["claim.json"]
    assert sorted(path.name for path in out.rglob("*")) == ["claim.json", "m"]
