"""The notebook runs, and the documentation site builds without network and refers to nothing outside itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from verifier import cli

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
CELL_SECONDS = 120

# Runs in a process of its own, whose warnings are not ours.
RUN = f"""
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
where = {{"metadata": {{"path": sys.argv[2]}}}}
NotebookClient(notebook, kernel_name="python3", timeout={CELL_SECONDS}, resources=where).execute()
nbformat.write(notebook, sys.argv[3])
"""


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_notebook_runs(tmp_path: Path) -> None:
    done = tmp_path / "done.ipynb"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(tmp_path)}
    process = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOK), str(NOTEBOOK.parent), str(done)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    notebook = nbformat.read(done, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "certified 529 of 529" in text
    assert "NOT proved" in text
    assert "not certified: [(3, 8)]" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert process.returncode == 0, process.stderr[-4000:]
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 6
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text):
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag), (path.name, tag)
    for path in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", path.read_text(encoding="utf-8")), path.name


def test_the_site_has_every_command(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    for name in cli.COMMANDS:
        if (ROOT / "verifier" / "commands" / f"{cli.module_of(name).rpartition('.')[2]}.py").exists():
            assert f'id="{name}"' in text, name


def test_the_quick_start_s_python_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(program, "docs/index.md", "exec"), {})
    assert "For at least 529 of the 529 inputs" in capsys.readouterr().out


def test_every_term_of_the_glossary_is_in_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [re.sub(r"[^a-z ]", "", term.lower()) for term in re.findall(r"^\*\*(.+?)\*\*:", text, re.MULTILINE)]
    assert len(terms) > 25
    assert terms == sorted(terms)
