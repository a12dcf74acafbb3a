"""Keys: made once, kept apart from the repository, refused when others can read them."""

from __future__ import annotations

import io
import os
import stat
from functools import partial
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.proof.proof_support import RELEASE, SECOND
from verifier.errors import InputError
from verifier.proof import keys
from verifier.proof.keys import (
    generate,
    parse_public_key,
    read_public_key,
    read_signing_key,
    signing_key,
    write_signing_key,
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (keys.KEY_VARIABLE, keys.PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_is_stored_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: keys.Algorithm, passphrase: bytes | None
) -> None:
    key = generate(algorithm)
    path = tmp_path / "deep" / "key.pem"
    previous = os.umask(0)
    try:
        public = write_signing_key(path, key, passphrase)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED" if passphrase else b"-----BEGIN PRIVATE")
    assert read_public_key(public) == key.public
    assert sorted(p.name for p in path.parent.iterdir()) == ["key.pem", "key.pub.pem"]
    if passphrase:
        monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, passphrase.decode())
    loaded = read_signing_key(path)
    assert loaded.public == key.public
    key.public.verify(loaded.sign(b"text"), b"text")
    with pytest.raises(InvalidSignature):
        key.public.verify(loaded.sign(b"text"), b"other text")


def test_a_passphrase_is_asked_for(tmp_path: Path) -> None:
    key = generate()
    write_signing_key(tmp_path / "key.pem", key, b"secret")
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "secret"

    assert read_signing_key(tmp_path / "key.pem", ask).public == key.public
    assert len(prompts) == 1
    for answer, rule in (("wrong", "decrypted"), ("", "encrypted")):
        with pytest.raises(InputError, match=rule):
            read_signing_key(tmp_path / "key.pem", partial(str.format, answer))
    with pytest.raises(InputError, match="encrypted"):  # nobody to ask
        read_signing_key(tmp_path / "key.pem")


def test_a_new_passphrase_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["one", "one", "one", "two", "", ""])
    assert keys.new_passphrase(lambda prompt: next(answers)) == b"one"
    with pytest.raises(InputError, match="differs"):
        keys.new_passphrase(lambda prompt: next(answers))
    with pytest.raises(InputError, match="empty"):
        keys.new_passphrase(lambda prompt: next(answers))
    with pytest.raises(InputError, match="terminal"):
        keys.new_passphrase()
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "three")
    assert keys.new_passphrase() == b"three"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o777, 0o601])
def test_a_key_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    write_signing_key(path, generate())
    path.chmod(mode)
    with pytest.raises(InputError, match=f"{mode:04o}"):
        read_signing_key(path)
    path.chmod(0o400)
    read_signing_key(path)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_signing_key(path, RELEASE)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        write_signing_key(path, SECOND)
    path.unlink()
    with pytest.raises(InputError, match="exists"):  # the public half is still there
        write_signing_key(path, SECOND)
    (tmp_path / "dangling.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="exists"):
        write_signing_key(tmp_path / "dangling.pem", SECOND)
    assert not (tmp_path / "elsewhere").exists()
    assert before


def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    real = os.link

    def taken(source: object, target: Path, **options: object) -> None:
        target.write_bytes(b"mine")
        real(source, target, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", taken)
    with pytest.raises(InputError, match="exists"):
        write_signing_key(path, RELEASE)
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["key.pem"]


def test_an_interrupted_write_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_signing_key(tmp_path / "key.pem", RELEASE)
    assert list(tmp_path.iterdir()) == []


def test_no_key_goes_into_a_repository(tmp_path: Path) -> None:
    work_tree = tmp_path / "checkout"
    (work_tree / "deep" / "er").mkdir(parents=True)
    (work_tree / ".git").mkdir()
    submodule = tmp_path / "submodule"
    submodule.mkdir()
    (submodule / ".git").write_text("gitdir: ../checkout/.git/modules/submodule\n")
    bare = tmp_path / "bare.git"
    for part in ("objects", "refs"):
        (bare / part).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    link = tmp_path / "link"
    link.symlink_to(work_tree / "deep")
    for folder in (
        work_tree,
        work_tree / "deep" / "er",
        work_tree / "new",
        submodule,
        bare,
        link,
        link / "x",
    ):
        with pytest.raises(InputError, match="repository"):
            write_signing_key(folder / "key.pem", RELEASE)
        assert not (folder / "key.pem").exists()
    write_signing_key(tmp_path / "key.pem", RELEASE)


def test_the_first_run_makes_a_key_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = signing_key()
    said = capsys.readouterr()
    assert said.out == ""
    assert first.public.keyid in said.err
    path = tmp_path / "config" / "verifier" / "key.pem"
    assert str(path) in said.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_key().public == first.public
    assert capsys.readouterr().err == ""


def test_where_the_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_signing_key(tmp_path / "a.pem", RELEASE)
    write_signing_key(tmp_path / "b.pem", SECOND)
    monkeypatch.setenv(keys.KEY_VARIABLE, str(tmp_path / "a.pem"))
    assert signing_key().public == RELEASE.public
    assert signing_key(tmp_path / "b.pem").public == SECOND.public
    monkeypatch.setenv(keys.KEY_VARIABLE, str(tmp_path / "absent.pem"))
    with pytest.raises(InputError, match=r"absent\.pem"):  # a key that was asked for is not made
        signing_key()
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert keys.default_path() == tmp_path / "home" / ".config" / "verifier" / "key.pem"


def test_a_new_default_key_is_encrypted_if_there_is_a_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, "secret")
    key = signing_key()
    assert b"ENCRYPTED" in (tmp_path / "config" / "verifier" / "key.pem").read_bytes()
    assert "secret" not in capsys.readouterr().err
    assert signing_key().public == key.public


def test_files_that_are_no_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for data in (b"", b"-----BEGIN PRIVATE KEY-----\n", RELEASE.public.pem, b"x" * 20_000, os.urandom(100)):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(InputError):
            read_signing_key(path)
    for missing in (tmp_path, tmp_path / "absent.pem"):
        with pytest.raises(InputError):
            read_signing_key(missing)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(InputError, match="regular"):
        read_signing_key(pipe)


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for key in (generate_private_key(SECP384R1()), generate_rsa(65537, 2048)):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
        with pytest.raises(InputError, match="P-256"):
            read_signing_key(path)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(InputError, match="P-256"):
            parse_public_key(public, "key")
    old = RELEASE.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path.write_bytes(old)
    with pytest.raises(InputError, match="PKCS#8"):
        read_signing_key(path)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(RELEASE.public.pem * 2, id="twice"),
        pytest.param(RELEASE.public.pem + SECOND.public.pem, id="two"),
        pytest.param(b"comment\n" + RELEASE.public.pem, id="before"),
        pytest.param(RELEASE.public.pem + b"after", id="after"),
        pytest.param(RELEASE.public.pem[:-40], id="truncated"),
        pytest.param(RELEASE.public.pem.replace(b"PUBLIC", b"RSA PUBLIC"), id="label"),
        pytest.param(RELEASE.public.pem.replace(b"M", b"N", 1), id="changed"),
        pytest.param(b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", id="not-base64"),
        pytest.param(RELEASE.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), id="private"),
    ],
)
def test_what_is_not_one_public_key(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_public_key(data, "key")


def test_line_ends_of_windows_are_fine() -> None:
    assert parse_public_key(RELEASE.public.pem.replace(b"\n", b"\r\n"), "key") == RELEASE.public


def test_a_signing_key_does_not_show_itself() -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    assert isinstance(RELEASE.private, EllipticCurvePrivateKey)
    assert str(RELEASE.private.private_numbers().private_value) not in repr(RELEASE)
