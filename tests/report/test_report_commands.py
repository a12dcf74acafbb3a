"""explain, plot and report from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from verifier import cli
from verifier.files import write_atomically
from verifier.kernel import check
from verifier.pipeline import Request, read_native
from verifier.proof.keys import generate
from verifier.proof.sign import make_proof
from verifier.report.subject import Subject, find_subject

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "pizza-p23.safetensors"


@pytest.fixture
def place(tmp_path: Path, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its certificate and its claim, where the commands look for them."""
    (tmp_path / "models").mkdir()
    shutil.copy(MODEL, tmp_path / "models" / "small.safetensors")
    folder = tmp_path / "certificates" / "small"
    write_atomically(folder / "certificate.json", subject.certificate_bytes)
    source = read_native(tmp_path / "models" / "small.safetensors")
    write_atomically(folder / "claim.json", Request(strategy="linear").claims(source)[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["models/small.safetensors"],
        ["models/small.safetensors", "--effort", "0"],
        ["certificates/small/certificate.json"],
        ["certificates/small/certificate.json", "--model", "models/small.safetensors"],
    ],
    ids=" ".join,
)
def test_explain_fits_the_page_and_calls_estimates_so(
    words: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    assert "estimates in float64, not proved" in out
    assert ("(not stored)" in " ".join(out.split())) == ("--effort" in words)
    for k in (1, 5, 10):
        assert any(line.split()[:1] == [str(k)] for line in out.splitlines())


def test_explain_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "models/small.safetensors", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["p"] == 23
    assert [f["frequency"] for f in document["frequencies"]] == [1, 5, 10]
    assert "not proved" in document["estimates"]
    assert cli.main(["explain", "models/small.safetensors", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_plot_writes_what_was_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plot", "models/small.safetensors", "-o", "figures", "--figure", "margins", "--figure", "phases"]
    assert cli.main([*words, "--format", "png", "--input", "2,5", "--json"]) == 0
    names = [path.name for path in sorted((place / "figures").iterdir())]
    assert names == ["2-phases.png", "5-margins.png"]
    assert json.loads(capsys.readouterr().out)["files"] == ["figures/2-phases.png", "figures/5-margins.png"]


def test_report_names_the_signature(place: Path, drawn: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.report.page.render", lambda name, view, form: drawn[name])
    folder = place / "certificates" / "small"
    model, claim, certificate = (
        path.read_bytes()
        for path in (place / "models" / "small.safetensors", folder / "claim.json", folder / "certificate.json")
    )
    key = generate()
    proof = make_proof("small.safetensors", model, claim, certificate, check(model, claim, certificate).document(), key)
    write_atomically(folder / "proof.sigstore.json", proof)
    assert cli.main(["report", "models/small.safetensors", "-o", "report.html", "--quiet"]) == 0
    text = (place / "report.html").read_text(encoding="utf-8")
    assert f"signed by {key.public.keyid} and names the three digests" in text
    assert "reached the same conclusion" in text
    assert "The signature was not verified for this page" in text
    assert "verifier verify certificates/small/proof.sigstore.json --model models/small.safetensors" in text

    write_atomically(folder / "claim.json", claim.replace(b"529", b"528"))
    subject = find_subject(Path("models/small.safetensors"))
    assert subject.signed is not None
    assert not subject.signed.about_these_files


def test_report_writes_a_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "certificates/small/certificate.json", "-o", "page/report.html"]) == 0
    text = (place / "page" / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "certificates/small/claim.json" in text
    assert "There is no signed proof" in text
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["explain", "models/none.safetensors"], "none.safetensors"),
        (["explain", "certificates/none/certificate.json"], "--model"),
        (["explain", "models/small.safetensors", "--model", "models/small.safetensors"], "--model"),
        (["explain", "certificates/other/certificate.json"], "model_sha256"),
        (["explain", "certificates/broken/certificate.json", "--model", "models/small.safetensors"], "JSON"),
        (["plot", "models/small.safetensors", "-o", "models/small.safetensors"], "is not a folder"),
        (["plot", "models/small.safetensors", "-o", "out", "--input", "23,0"], "0..22"),
        (["plot", "models/small.safetensors", "-o", "out", "--input", "x"], "--input"),
        (["plot", "models/small.safetensors", "-o", "out", "--figure", "none"], "invalid choice"),
        (["report", "models/small.safetensors", "-o", "models"], "is a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: list[str], part: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = (place / "certificates" / "small" / "certificate.json").read_text()
    digest = json.loads(certificate)["model_sha256"]
    shutil.copy(MODEL, place / "models" / "other.safetensors")
    write_atomically(
        place / "certificates" / "other" / "certificate.json", certificate.replace(digest, "0" * 64).encode()
    )
    write_atomically(place / "certificates" / "broken" / "certificate.json", b"{")
    before = sorted(path for path in place.rglob("*"))
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert part in err
    assert sorted(path for path in place.rglob("*")) == before


def test_a_stored_certificate_of_another_model_is_not_used(place: Path) -> None:
    path = place / "certificates" / "small" / "certificate.json"
    document = json.loads(path.read_text())
    document["model_sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    assert find_subject(Path("models/small.safetensors"), cheapest=True).folder is None
