"""The page for people, in a browser: what it shows, reads well, and never runs."""

import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from recg_core import Recommender
from recg_core.serving.live import LiveCatalogue
from recg_core.serving.server import bound_socket
from recg_core.serving.service import create_app

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs a browser: apt-get install chromium chromium-driver",
)

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
# What is left of markup that hides tags from the one who strips them.
HOSTILE = (
    "Guitar <script<b>>document.title='run'</script<b>> <img src=x onerror=document.title='run' "
)
SHOWN = "Guitar <script >document.title='run'</script > <img src=x onerror=document.title='run'"
TITLES = [
    "Guitar strings", "Guitar strap", "Guitar tuner", HOSTILE, "Cooking pot", "Chef's knife",
    "Stainless ladle for soups and sauces with a handle that is long enough for a deep pot",
    "Pneumonoultramicroscopicsilicovolcanoconiosis-" * 4,
]  # fmt: skip
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
# Of every piece of text that is seen: its contrast with the colour behind it, by WCAG 2.
CONTRASTS = """
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
const behind = element => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgb(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
    if (colour[3] > 0) throw new Error("a background that is seen through");
  }
  return [255, 255, 255];
};
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  const text = walk.currentNode.data.trim();
  if (!text || element.closest("script, style, .hidden, [hidden]")) continue;
  const style = getComputedStyle(element);
  const both = [light(rgb(style.color)), light(behind(element))].sort((a, b) => b - a);
  found.push([text, (both[0] + .05) / (both[1] + .05)]);
}
const input = document.querySelector("input");
const both = [light(rgb(getComputedStyle(input, "::placeholder").color)), light(behind(input))];
both.sort((a, b) => b - a);
found.push(["placeholder", (both[0] + .05) / (both[1] + .05)]);
return found;
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server within this process."""
    items = {"id": [f"x{n}" for n in range(len(TITLES))], "title": TITLES}
    model = Recommender.load(device="cpu")
    shop = model.fit_catalogue(items, cache=tmp_path_factory.mktemp("cache"))
    server = uvicorn.Server(uvicorn.Config(create_app(LiveCatalogue(shop)), log_config=None))
    with bound_socket("127.0.0.1", 0) as place:
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{place.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


class Page:
    """The page as a person meets it."""

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self.browser = browser
        browser.get(address)
        self.wait_for("#best li")

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
        )

    def until(self, holds: Any) -> None:
        WebDriverWait(self.browser, 20, 0.05).until(lambda _: holds())

    def wait_for(self, selector: str) -> None:
        self.until(lambda: self.all(selector) and self.texts("[aria-busy=false] h2"))

    def search(self, words: str, expected: str) -> None:
        field = self.all("#words")[0]
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(words)
        self.until(lambda: any(expected in title for title in self.texts("#found .title")))

    def choose(self, words: str, title: str) -> None:
        chosen = len(self.all("#chosen li"))
        self.search(words, title)
        (found,) = [each for each in self.all("#found button") if title in each.text]
        found.click()
        self.until(lambda: len(self.all("#chosen li")) == chosen + 1)
        self.wait_for("#best .why")

    @property
    def focus(self) -> WebElement:
        return self.browser.switch_to.active_element


@pytest.fixture
def page(browser: webdriver.Chrome, address: str) -> Page:
    return page_as(browser, address, 1280, "light")


def page_as(browser: webdriver.Chrome, address: str, width: int, scheme: str) -> Page:
    size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 500}
    media = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    return Page(browser, address)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_person_chooses_items_and_sees_what_fits_and_why(
    browser: webdriver.Chrome, address: str, width: int, scheme: str
) -> None:
    page = page_as(browser, address, width, scheme)
    page.choose("guitar stri", "Guitar strings")
    page.choose("cooking", "Cooking pot")
    assert page.texts("#chosen .title") == ["Guitar strings", "Cooking pot"]
    page.until(lambda: not {"Guitar strings", "Cooking pot"} & set(page.texts("#best .title")))
    assert set(page.texts("#best .title")[:2]) & {"Guitar strap", "Guitar tuner", TITLES[6]}
    whys = page.texts("#best .why")
    assert len(whys) == len(TITLES) - 2
    assert all(why.startswith("Because you chose ") for why in whys)
    page.search("guitar", "Guitar tuner")
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 20
    assert [each for each in contrasts if each[1] < 4.5] == []
    wide, seen = browser.execute_script("return [document.body.scrollWidth, innerWidth]")
    assert wide <= seen
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, dark[4:-1].split(","))) < 120) == (scheme == "dark")
    assert browser.get_log("browser") == []  # neither errors nor what the policy refused


def test_titles_are_text_whatever_they_hold(page: Page) -> None:
    page.choose("guitar script", "<script >")
    assert page.texts("#chosen .title") == [SHOWN]
    assert any(SHOWN in why for why in page.texts("#best .why"))
    assert page.browser.title == "Recommendations"
    assert not page.all("main script, main img")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.search("guitar", "Guitar tuner")
    assert page.focus.get_attribute("id") == "words"
    page.focus.send_keys(Keys.ARROW_DOWN)
    title = page.focus.find_element(By.CSS_SELECTOR, ".title").text
    assert page.focus.accessible_name == f"Add {title}"
    page.focus.send_keys(Keys.ENTER)
    page.until(lambda: page.texts("#chosen .title") == [title])
    assert page.focus.get_attribute("id") == "words"
    page.wait_for("#best .why")
    first = page.all("#best .add")[0]
    first.send_keys(Keys.SPACE)
    page.until(lambda: len(page.all("#chosen li")) == 2)
    page.until(lambda: page.focus.get_attribute("id") == "best-head")
    page.all("#chosen button")[0].send_keys(Keys.ENTER)
    page.until(lambda: len(page.all("#chosen li")) == 1)
    assert page.focus.accessible_name.startswith("Remove ")


def test_everything_to_press_has_a_name_and_is_large_enough(
    browser: webdriver.Chrome, address: str
) -> None:
    page = page_as(browser, address, 390, "light")
    page.choose("strap", "Guitar strap")
    page.search("guitar", "Guitar tuner")
    for each in page.all("button, input"):
        if each.is_displayed():
            assert each.accessible_name
            assert each.size["height"] >= 44


def test_what_the_server_says_is_shown(page: Page) -> None:
    page.search("guitar", "Guitar tuner")
    page.browser.execute_script(
        'window.fetch = async () => new Response(\'{"error": "no <b>luck</b>"}\', {status: 422})'
    )
    page.all("#found button")[0].click()
    page.until(lambda: page.texts("#basis") == ["no <b>luck</b>"])
    page.browser.execute_script("window.fetch = async () => { throw new TypeError(); }")
    page.all("#words")[0].send_keys("x")
    page.until(lambda: page.texts("#said") == ["The server does not answer."])
