"""The page driven in headless Chromium, from end to end, as a user would; and a report looked at."""

import base64
import io
import shutil
import socket
import threading
import time

import numpy as np
import onnxruntime
import pytest
import uvicorn
from learners import mlp, toy_data
from pages import PICTURES, TEXTS, grey
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

import quickstudy as qs
from quickstudy.catalogue import METHODS
from quickstudy.page.app import create_app
from quickstudy.page.safe import Limits
from quickstudy.ready import Ready
from quickstudy.report import report

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver is on the path"),
    pytest.mark.filterwarnings("default"),
]
TOKEN = "a-token-that-nobody-guesses"


class Served:
    """A page on a port of its own."""

    def __init__(self, ready: Ready, token: str | None = None):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.server = uvicorn.Server(uvicorn.Config(create_app(ready, token=token), log_level="error"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self) -> str:
        self.thread.start()
        return self.url

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--use-fake-ui-for-media-stream",
        "--window-size=1200,1800",
    ):
        options.add_argument(word)
    options.add_argument("--use-fake-device-for-media-stream")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    one = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    one.set_script_timeout(60)
    yield one
    one.quit()


def wait(true, seconds: float = 60):
    """What a condition gives when it comes true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    pytest.fail("the page did not come to it in time")


def each(browser, selector: str) -> list:
    return browser.find_elements("css selector", selector)


def text(browser, selector: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)


def files(tmp_path, **pictures: str) -> list[str]:
    paths = []
    for name, content in pictures.items():
        paths.append(str(tmp_path / f"{name}.png"))
        Image.open(io.BytesIO(base64.b64decode(content))).save(paths[-1])
    return paths


def idle(browser) -> bool:
    return not browser.execute_script("return document.body.hasAttribute('aria-busy')")


def test_two_classes_are_made_a_picture_is_named_an_example_changes_that_and_the_task_is_taken_home(browser, tmp_path):
    dark = files(tmp_path, a=grey(20, 1), b=grey(30, 2))
    light = files(tmp_path, c=grey(220, 3), d=grey(235, 4))
    query, broken = files(tmp_path, q=grey(110)), tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with Served(PICTURES) as url:
        browser.get(url)
        cards = wait(lambda: len(each(browser, "#classes .card")) == 2 and each(browser, "#classes .card"))
        for card, name, pictures in zip(cards, ("dark", "light"), (dark, light), strict=True):
            field = card.find_element("css selector", ".name")
            field.send_keys(Keys.CONTROL + "a", Keys.NULL, name + "\n")
            card.find_element("css selector", "input[type=file]").send_keys("\n".join(pictures))
        wait(lambda: "4 of 4 examples" in text(browser, "#learned"))
        browser.find_element("css selector", "#asking input[type=file]").send_keys("\n".join([*query, str(broken)]))
        wait(lambda: "Query 1: dark" in text(browser, "#status"))
        assert text(browser, ".query .label").startswith("dark")
        assert len(each(browser, ".query .nearest img")) == 3
        assert text(browser, "#problem span") == "broken.png is no picture that this browser can open."
        before = browser.execute_script("return document.querySelector('.query .bar').ariaValueNow")
        each(browser, ".query .teach button")[1].click()
        wait(lambda: "Query 1: light" in text(browser, "#status"))
        assert text(browser, ".query .label").startswith("light")
        assert text(browser, ".query .change") == f"Before: dark, {before}%"
        assert len(each(browser, "#classes .examples img")) == 5
        browser.find_element("id", "download").click()
        path = wait(lambda: next(tmp_path.glob("task.safetensors"), None))
        task = qs.load_task(wait(lambda: path.stat().st_size and path), PICTURES.learner)
        assert task.classes_.tolist() == ["dark", "light"]
        assert task.predict(np.full((1, 1, 28, 28), 0.43, dtype=np.float32)).tolist() == ["light"]
        browser.find_element("css selector", "#problem button").click()
        browser.find_element("id", "export").click()
        wait(lambda: "The ONNX file is written" in text(browser, "#status"), 300)
        path = wait(lambda: next(tmp_path.glob("task.onnx"), None))
        session = onnxruntime.InferenceSession(wait(lambda: path.stat().st_size and path))
        (p,) = session.run(["probabilities"], {"x": np.full((1, 1, 28, 28), 0.43, dtype=np.float32)})
        np.testing.assert_allclose(p, task.predict_proba(np.full((1, 1, 28, 28), 0.43, dtype=np.float32)), atol=1e-4)
        each(browser, "#classes .remove")[1].click()
        wait(lambda: "2 examples of one class" in text(browser, "#learned"))
        assert text(browser, ".query .label") == "No answer yet"
        assert not [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def test_a_camera_takes_examples(browser):
    with Served(PICTURES) as url:
        browser.get(url)
        wait(lambda: each(browser, "#classes .camera"))[0].click()
        wait(lambda: browser.execute_script("return document.querySelector('video').videoWidth"))
        for count in (1, 2):
            browser.find_element("css selector", "#camera .shoot").click()
            wait(lambda count=count: text(browser, "#camera [role=status]") == f"{count} taken")
        browser.find_element("css selector", "#camera .close").click()
        wait(lambda: "2 examples of one class" in text(browser, "#learned"))
        assert len(each(browser, "#classes .examples img")) == 2


def test_lines_are_pasted_and_asked_by_keyboard_alone(browser):
    with Served(TEXTS, token=TOKEN) as url:
        browser.get(f"{url}#token={TOKEN}")
        wait(lambda: len(each(browser, "#classes textarea")) == 2)
        assert browser.current_url == url
        seen = []

        def tab_to(selector: str) -> None:
            for _ in range(40):
                browser.switch_to.active_element.send_keys(Keys.TAB)
                focused = browser.switch_to.active_element
                seen.append(focused.tag_name)
                if browser.execute_script("return arguments[0].matches(arguments[1])", focused, selector):
                    return
            pytest.fail(f"{selector} cannot be reached: {seen}")

        for place, lines in ((1, "a\nab"), (2, "a much longer line\nanother much longer line")):
            tab_to(f"#classes article:nth-child({place}) textarea")
            browser.switch_to.active_element.send_keys(lines, Keys.CONTROL + Keys.ENTER)
        wait(lambda: "4 of 4 examples" in text(browser, "#learned"))
        tab_to("#question")
        browser.switch_to.active_element.send_keys("abc", Keys.CONTROL + Keys.ENTER)
        wait(lambda: "Query 1: Class A" in text(browser, "#status"))


def test_a_refused_line_goes_back_and_removing_an_example_keeps_the_keyboard_there(browser):
    with Served(TEXTS) as url:
        browser.get(url)
        areas = wait(lambda: len(each(browser, "#classes textarea")) == 2 and each(browser, "#classes textarea"))
        for area, lines in zip(areas, ("a\nab\nabc", "longer line\nanother longer line"), strict=True):
            area.send_keys(lines, Keys.CONTROL + Keys.ENTER)
        wait(lambda: "5 of 5 examples" in text(browser, "#learned"))
        too_long = "x" * (Limits().characters + 1)
        browser.execute_script("arguments[0].value = arguments[1]", areas[0], f"{too_long}\nabcd")
        areas[0].send_keys(Keys.CONTROL + Keys.ENTER)
        wait(lambda: "6 of 6 examples" in text(browser, "#learned") and idle(browser))
        assert "shorten it" in text(browser, "#problem")
        assert browser.execute_script("return arguments[0].value", areas[0]) == too_long
        each(browser, "#classes .examples button")[1].send_keys(Keys.ENTER)
        wait(lambda: "5 of 5 examples" in text(browser, "#learned") and idle(browser))
        focused = browser.switch_to.active_element.get_attribute("aria-label")
        assert focused == "Remove Class A, example 2"
        assert [one.text for one in each(browser, "#classes .examples q")][:3] == ["a", "abc", "abcd"]


def test_the_page_asks_for_its_token_and_begins_from_a_sample(browser):
    with Served(PICTURES, token=TOKEN) as url:
        browser.get(url)
        field = wait(lambda: each(browser, "#token-value"))[0]
        wait(field.is_displayed)
        assert text(browser, "#token [role=alert]") == ""
        field.send_keys("a guess\n")
        wait(lambda: "does not take that token" in text(browser, "#token [role=alert]"))
        wait(field.is_displayed)
        field.clear()
        field.send_keys(TOKEN + "\n")
        wait(lambda: len(each(browser, "#classes .card")) == 2)
        browser.find_element("id", "sample").click()
        wait(lambda: "Query 4" in text(browser, "#status") and idle(browser))
        assert len(each(browser, "#classes .examples img")) == 9


def test_what_is_forgotten_while_it_is_learned_stays_forgotten(browser):
    with Served(PICTURES) as url:
        browser.get(url)
        wait(lambda: len(each(browser, "#classes .card")) == 2)
        browser.find_element("id", "sample").click()
        wait(lambda: each(browser, "#classes .examples img"))  # the server has only begun to learn them
        browser.execute_script("document.getElementById('over').click()")
        wait(lambda: idle(browser))
        time.sleep(1)
        assert text(browser, "#status") == "Everything is forgotten."
        assert "Needs examples of two classes" in text(browser, "#ask-how")
        assert not browser.find_element("id", "download").is_enabled()
        assert not each(browser, "#problem:not([hidden])")
        browser.find_element("id", "sample").click()
        wait(lambda: "Query 4" in text(browser, "#status") and idle(browser))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_sees_all_of_it_and_every_text_is_readable(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    screen = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    with Served(PICTURES) as url:
        browser.get(url)
        wait(lambda: len(each(browser, "#classes .card")) == 2)
        browser.find_element("id", "sample").click()
        wait(lambda: "Query 4" in text(browser, "#status") and idle(browser))
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
        faint = browser.execute_script(FAINT)
        assert faint == []


@pytest.mark.parametrize("width", [390, 1200])
def test_a_report_of_all_methods_is_no_wider_than_the_window(browser, tmp_path, width):
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    tasks = qs.FewShot(toy_data(), 3, 1, 2)
    learners = {name: qs.PrototypicalNetwork(mlp(256, 4)).requires_grad_(False) for name in METHODS}
    found = qs.compare(learners, tasks, {"a test": tasks}, steps=1, episodes=4, settings={"methods": list(METHODS)})
    report(found, tmp_path / "report.html")
    browser.get((tmp_path / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


FAINT = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!colour.endsWith(", 0)")) return colour;
  }
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const words = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
  if (!words || node.disabled || !node.checkVisibility()) continue;
  const [one, other] = [light(getComputedStyle(node).color), light(behind(node))];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (contrast < 4.5) found.push([node.tagName, node.className, contrast]);
}
return found;
"""
