"""The page in a real headless Chromium: no console message, no request, and the map answers."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.report.browser import browser
from verifier.report.bounds import InputBounds
from verifier.report.figures import View
from verifier.report.page import page

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "test-screenshots"


@pytest.fixture(scope="module")
def address(view: View, inputs: InputBounds, drawn: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("verifier.report.page.render", lambda name, view, form: drawn[name])
        path.write_text(page(view, inputs), encoding="utf-8")
    return path.as_uri()


def answer(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.ID, "answer").text


def chosen(driver: webdriver.Chrome) -> tuple[int, int]:
    a, b = (driver.find_element(By.ID, f"field-{name}").get_property("value") for name in "ab")
    return int(str(a)), int(str(b))


def requests(driver: webdriver.Chrome) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def screenshot(driver: webdriver.Chrome, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    width, height = driver.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    data = base64.b64decode(picture["data"])
    assert len(data) > 20_000
    (SCREENSHOTS / f"{name}.png").write_bytes(data)


def require_quiet(driver: webdriver.Chrome, address: str) -> None:
    """Nothing on the console, and no request but for the page itself and what is inside it."""
    assert driver.get_log("browser") == []
    own = ("data:", "chrome:", "about:", "blob:")  # the page's, and those of the tab the browser opens first
    assert {url.partition("#")[0] for url in requests(driver) if not url.startswith(own)} <= {address}


def test_the_map_answers(address: str, view: View, inputs: InputBounds, tmp_path: Path) -> None:
    p = view.evidence.conclusion.p
    with browser(tmp_path / "profile", 1100, 900) as driver:
        driver.get(address)
        least = min(x for row in inputs.margins for x in row)
        assert inputs.margins[chosen(driver)[0]][chosen(driver)[1]] == least
        assert f"at least {least / 100:.2f}" in answer(driver)

        canvas = driver.find_element(By.ID, "canvas")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", canvas)
        box = driver.execute_script(
            "const r = arguments[0].getBoundingClientRect(); return [r.width, r.height]", canvas
        )
        for a, b in ((5, 7), (0, 0), (22, 22)):
            x = (a + 0.5) / p * box[0] - box[0] / 2
            y = (p - 1 - b + 0.5) / p * box[1] - box[1] / 2
            ActionChains(driver).move_to_element_with_offset(canvas, round(x), round(y)).perform()
            assert chosen(driver) == (a, b)
            assert f"{a} + {b} = {(a + b) % p} (mod {p})" in answer(driver)
            assert f"at least {inputs.margins[a][b] / 100:.2f}" in answer(driver)
            driver.execute_script("document.getElementById('canvas').dispatchEvent(new PointerEvent('pointerleave'))")

        canvas.send_keys(Keys.HOME)
        a, b = chosen(driver)
        assert inputs.margins[a][b] == least
        canvas.send_keys(Keys.ARROW_LEFT if a else Keys.ARROW_RIGHT)
        assert chosen(driver) == (a - 1 if a else 1, b)
        for _ in range(4):
            ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_UP).key_up(Keys.SHIFT).perform()
        assert chosen(driver)[1] == p - 1

        field = driver.find_element(By.ID, "field-b")
        field.clear()
        field.send_keys("3", Keys.TAB)
        assert chosen(driver)[1] == 3
        driver.find_element(By.ID, "worst").click()
        assert chosen(driver) == (a, b)
        rivals = driver.find_elements(By.CSS_SELECTOR, "#answer rect")
        assert len(rivals) == p - 1
        screenshot(driver, "report-light")
        require_quiet(driver, address)


def test_every_control_is_reached_by_keyboard(address: str, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", 1100, 900) as driver:
        driver.get(address)
        reached = []
        for _ in range(24):
            ActionChains(driver).send_keys(Keys.TAB).perform()
            reached.append(driver.execute_script("return document.activeElement.id || document.activeElement.tagName"))
        assert {"canvas", "field-a", "field-b", "worst", "SUMMARY", "A"} <= set(reached)


@pytest.mark.parametrize(("name", "width", "dark"), [("dark", 1100, True), ("phone", 360, False)])
def test_it_fits_dark_and_small(name: str, width: int, dark: bool, address: str, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", width, 800, dark=dark, mobile=width < 600) as driver:
        driver.get(address)
        time.sleep(0.2)
        overflow = driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, "the page is wider than the window"
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") != dark
        screenshot(driver, f"report-{name}")
        require_quiet(driver, address)


def test_it_prints(address: str, tmp_path: Path) -> None:
    with browser(tmp_path / "profile", 1100, 900, dark=True) as driver:
        driver.get(address)
        pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        (SCREENSHOTS / "report.pdf").write_bytes(pdf)
        assert pdf.startswith(b"%PDF")
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
        assert not driver.find_element(By.ID, "explorer").is_displayed()
        assert driver.find_element(By.ID, "figure-margins").is_displayed()
