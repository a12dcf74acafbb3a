"""Reports and the documentation's site in a real browser, at two widths, light and dark: screenshots of every page in
build/screenshots, to be looked at, and what a machine can see of them.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.report.browser import browser
from tests.shipped import MODELS, POISONED, ROOT, SMALL

WIDTHS = {1280: 800, 390: 844}
TALLEST = 16000  # what the browser can capture
SCREENSHOTS, SITE = ROOT / "build" / "screenshots", ROOT / "build" / "site"
CLOCK = ROOT.parent / "shared" / "published" / "model_q9rsl94xlv.pt"
HOSTILE = "<img src=x onerror='document.title=1'>\"&amp;$name"
FLAWS = (Path(__file__).parent / "flaws.js").read_text()


def write_report(place: Path, *words: str) -> None:
    command = [sys.executable, "-m", "verifier", "report", *words, "-o", str(place), "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("reports")
    models = {"explained": MODELS / "pizza-p59-a.safetensors", "three": MODELS / "pizza-p59-three.safetensors"}
    models |= {"unproved": POISONED} | ({"clock": CLOCK} if CLOCK.exists() else {})
    for name, model in models.items():
        write_report(place / f"report-{name}.html", str(model))
    model = place / HOSTILE / f"{HOSTILE}.safetensors"
    model.parent.mkdir()
    shutil.copy(SMALL, model)
    stored = shutil.copytree(ROOT / "certificates" / SMALL.stem, place / "certificates" / HOSTILE)
    bundle = json.loads((stored / "proof.sigstore.json").read_text())
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = "</script><script>document.title=1</script>" + HOSTILE
    (stored / "proof.sigstore.json").write_text(json.dumps(bundle))
    write_report(place / "report-hostile.html", str(model), "--certificates", str(place / "certificates"))
    return {path.stem: path for path in sorted(place.glob("*.html"))}


@pytest.fixture(scope="module")
def site() -> dict[str, Path]:
    if shutil.which("npm") is None and "CI" not in os.environ:
        pytest.skip("THE SITE WAS NOT TESTED IN A BROWSER: it needs npm, for KaTeX")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(SITE)]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    found = {
        path.relative_to(SITE).with_suffix("").as_posix(): path for path in SITE.rglob("*.html") if path.stem != "404"
    }
    return {"site-" + name.replace("/", "-"): path for name, path in sorted(found.items())}


@pytest.fixture(scope="module", params=[(width, dark) for width in WIDTHS for dark in (False, True)], ids=str)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    width, dark = request.param
    with browser(tmp_path_factory.mktemp("profile"), width, WIDTHS[width], dark=dark, mobile=width < 500) as found:
        yield found


def look(driver: Chrome, name: str, page: Path) -> list[str]:
    """Open a page, keep its picture, and say what is wrong with it."""
    driver.get(page.as_uri())
    flaws: list[str] = driver.execute_async_script(FLAWS)
    width, dark = driver.execute_script("return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]")
    height = min(TALLEST, driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]["height"])
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    picture = SCREENSHOTS / f"{name}-{width}-{'dark' if dark else 'light'}.png"
    picture.write_bytes(base64.b64decode(taken["data"]))
    flaws += [str(entry["message"]) for entry in driver.get_log("browser")]
    flaws += [
        f"it asks for {url}" for url in requests(driver) if not url.startswith(("file:", "data:", "blob:", "chrome:"))
    ]
    return [f"{picture.name}: {flaw}" for flaw in flaws]


def requests(driver: Chrome) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent: list[dict[str, Any]] = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent]


def test_reports_look_right(driver: Chrome, reports: dict[str, Path]) -> None:
    flaws = [flaw for name, page in reports.items() for flaw in look(driver, name, page)]
    assert not flaws, "\n".join(flaws)


def test_the_site_looks_right(driver: Chrome, site: dict[str, Path]) -> None:
    assert {"site-index", "site-tutorial", "site-theory", "site-api"} <= set(site)
    flaws = [flaw for name, page in site.items() for flaw in look(driver, name, page)]
    assert not flaws, "\n".join(flaws)


def text(driver: Chrome, selector: str) -> str:
    return driver.find_element(By.CSS_SELECTOR, selector).text


def test_the_sentence_and_the_picture_come_first(driver: Chrome, reports: dict[str, Path]) -> None:
    starts = {"explained": "This network is proved to get all 3481 sums modulo 59 right, and why",
              "three": "This network is proved to get all", "unproved": "Not proved as claimed"}  # fmt: skip
    for name, start in starts.items():
        driver.get(reports[f"report-{name}"].as_uri())
        assert text(driver, "h1").startswith(start)
        ends = [driver.find_element(By.CSS_SELECTOR, e).rect for e in ("h1", "#rectangles", "#certified", "#theorem")]
        assert [box["y"] for box in ends] == sorted(box["y"] for box in ends)
        assert ends[1]["y"] + ends[1]["height"] < driver.execute_script("return innerHeight")
        assert ("NOT PROVED" in driver.title) == (name == "unproved")


def test_keys_and_sliders_move_the_input(driver: Chrome, reports: dict[str, Path]) -> None:
    driver.get(reports["report-explained"].as_uri())
    picture, slider = (driver.find_element(By.ID, name) for name in ("rectangles", "slide-b"))
    assert len(picture.find_elements(By.TAG_NAME, "rect")) > 50
    before = int(text(driver, "#value-a")), int(text(driver, "#value-b")), text(driver, "#reading")
    picture.send_keys(Keys.ARROW_RIGHT)
    slider.send_keys(Keys.ARROW_RIGHT)
    after = int(text(driver, "#value-a")), int(text(driver, "#value-b")), text(driver, "#reading")
    assert after[:2] == ((before[0] + 1) % 59, before[1] + 1)
    assert after[2] != before[2]
    assert text(driver, "#answer").startswith(f"{after[0]} + {after[1]} = {sum(after[:2]) % 59} (mod 59): proved right")
    explained = driver.find_element(By.ID, "explained")
    driver.execute_script("arguments[0].scrollIntoView()", explained)
    explained.click()
    assert (text(driver, "#value-a"), text(driver, "#value-b")) == ("29", "29")
    for button in driver.find_elements(By.CSS_SELECTOR, ".tabs:first-of-type button"):
        button.click()
        shown = {
            e.get_attribute("data-k") for e in driver.find_elements(By.CSS_SELECTOR, "[data-k]") if e.is_displayed()
        }
        assert shown == {"0", button.text.removeprefix("k = ")}


def test_hostile_names_stay_text(driver: Chrome, reports: dict[str, Path]) -> None:
    driver.get(reports["report-hostile"].as_uri())
    assert text(driver, ".kicker") == HOSTILE
    assert driver.title.startswith(HOSTILE)
    assert "</script><script>document.title=1</script>" + HOSTILE in text(driver, "#theorem")
    assert driver.find_elements(By.TAG_NAME, "img") == []
