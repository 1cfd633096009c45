"""Does the page work in a browser: does it draw, answer to mouse and keyboard, and fetch nothing?"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from smoothseg.certificates import file
from smoothseg.files import read_yaml
from smoothseg.report import previews, running
from smoothseg.runs import preparing, results
from smoothseg.runs.plan import Plan

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]

SIGMAS = (0.05, 0.15)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three small scenes."""
    directory = tmp_path_factory.mktemp("browser") / "run"
    plan = {
        "dataset": "streets:count=3,height=48,width=64",
        "denoiser": "identity",
        "segmenter": "hrnet",
        "certifier": "holm:n0=4,n=60,alpha=0.05",
        "sigma": list(SIGMAS),
        "device": "cpu",
    }
    running.run(preparing.prepare(Plan.of(plan)), directory, batch_size=8)
    return directory


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, in light colours."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
        *("--window-size=1000,1100", "--disable-background-networking", "--no-first-run"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, run):
    """The page, opened from disk and drawn; what the browser logged of others is forgotten."""
    browser.get_log("performance")
    browser.get((run / "report.html").as_uri())
    drawn(browser)
    yield browser
    assert complaints(browser) == []


def complaints(page):
    """What the console holds, but for advice on how often these tests read a canvas."""
    return [
        line["message"] for line in page.get_log("browser") if "willReadFrequently" not in line["message"]
    ]


def at(page, name):
    return page.find_element(By.ID, name)


def drawn(page, after=None):
    """Wait until the images are drawn, again if `after` is what the mark was; return the mark."""

    def mark(driver):
        found = driver.find_element(By.ID, "stage").get_attribute("data-ready")
        return found if found and found != after else False

    return WebDriverWait(page, 20, poll_frequency=0.05).until(mark)


def change(page, act):
    before = at(page, "stage").get_attribute("data-ready")
    act()
    drawn(page, after=before)


def clip(page):
    return page.execute_script("return getComputedStyle(document.getElementById('over')).clipPath")


def thumbs(page):
    return [each.text for each in page.find_elements(By.CSS_SELECTOR, "#thumbs b")]


def pixels(page, name):
    """Return a canvas as (h, w, 3)."""
    height, width, data = page.execute_script(
        "const c = document.getElementById(arguments[0]);"
        "return [c.height, c.width, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]",
        name,
    )
    return np.array(data, dtype=np.uint8).reshape(height, width, 4)[..., :3]


def made(run, key, sigma=SIGMAS[0]):
    return file.load(run / f"certificates/identity/sigma-{sigma}/{key}.npz")


def accuracies(run, sigma):
    entries = results.entries(run, results.read_identity(run))["identity", sigma]
    return {
        key: sum(n for label, column, n in entry["certified"]["confusion"] if label == column)
        / sum(n for *_, n in entry["certified"]["confusion"])
        for key, entry in entries.items()
    }


def test_nothing_is_fetched_but_the_file_and_there_are_no_messages(page, run):
    import json

    requested = [
        json.loads(line["message"])["message"]["params"]["request"]["url"]
        for line in page.get_log("performance")
        if "Network.requestWillBeSent" in line["message"]
        and json.loads(line["message"])["message"]["method"] == "Network.requestWillBeSent"
    ]
    assert (run / "report.html").as_uri() in requested
    assert {url.partition(":")[0] for url in requested} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in requested) == 1
    entries = page.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert all(name.startswith("data:") for name in entries)
    assert "Certified segmentation of streets" in at(page, "results").find_element(By.XPATH, "//h1").text


def test_the_certified_map_is_drawn_as_it_is(page, run):
    key = at(page, "key").text
    colours, _ = previews.read_legend(run)
    certificate = made(run, key)
    expected = np.array(colours, dtype=np.uint8)[certificate.prediction]
    expected[~certificate.certified] = 255
    assert (pixels(page, "under") == expected).all()
    assert 0 < certificate.certified.mean() < 1
    assert pixels(page, "over").std() > 5


def test_the_slider_moves_by_keyboard_and_by_mouse(page):
    before = clip(page)
    slider = at(page, "slider")
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    moved = clip(page)
    assert moved != before
    assert float(moved.split()[1].rstrip("%)")) == 49
    assert "input" in slider.get_attribute("aria-valuetext")
    slider.send_keys(Keys.HOME)
    assert float(clip(page).split()[1].rstrip("%)")) == 100
    stage = at(page, "stage")
    quarter = -stage.size["width"] // 4
    ActionChains(page).move_to_element_with_offset(stage, quarter, 0).click().perform()
    assert float(clip(page).split()[1].rstrip("%)")) == pytest.approx(75, abs=1)
    assert float(slider.get_attribute("value")) == pytest.approx(25, abs=1)


def test_sorting_puts_the_worst_first_and_turns_round(page, run):
    shares = accuracies(run, SIGMAS[0])
    worst = sorted(shares, key=shares.__getitem__)
    assert thumbs(page) == worst
    assert at(page, "key").text == worst[0]
    Select(at(page, "sort")).select_by_visible_text("best accuracy")
    assert thumbs(page) == worst[::-1]
    Select(at(page, "sort")).select_by_visible_text("order of the run")
    assert thumbs(page) == sorted(shares)
    change(page, lambda: at(page, "next").click())
    assert at(page, "key").text != worst[0]


def test_pointing_says_class_hits_and_label(page, run, down):
    key = at(page, "key").text
    certificate, labels = made(run, key), previews.read_labels(run, key)
    classes = results.read_identity(run)["classes"]["identity"]
    stage = at(page, "stage")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    for sure in (True, False):
        row, column = (int(i) for i in np.argwhere((certificate.certified == sure) & (labels < 255))[7])
        x = (column + 0.5) / 64 * stage.size["width"] - stage.size["width"] / 2
        y = (row + 0.5) / 48 * stage.size["height"] - stage.size["height"] / 2
        ActionChains(page).move_to_element_with_offset(stage, round(x), round(y)).perform()
        said = at(page, "readout").text
        assert f"row {row}, column {column}" in said
        name = classes[certificate.prediction[row, column]]
        assert (f"certified {name}" if sure else f"abstained, most votes for {name}") in said
        assert f"{certificate.hits[row, column]} of 60 hits" in said
        assert f"label {classes[labels[row, column]]}" in said
        assert (f"radius {down(certificate.radius)}" in said) == sure


def test_arrow_keys_read_single_pixels(page):
    stage = at(page, "stage")
    page.execute_script("arguments[0].focus()", stage)
    ActionChains(page).send_keys(Keys.ARROW_DOWN).perform()
    assert "row 24, column 32" in at(page, "readout").text
    ActionChains(page).send_keys(Keys.ARROW_DOWN, Keys.ARROW_LEFT).perform()
    assert "row 25, column 31" in at(page, "readout").text
    assert at(page, "readout").get_attribute("aria-live") == "polite"
    assert at(page, "cross").is_displayed()
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not at(page, "cross").is_displayed()
    assert "certified correct" in at(page, "readout").text


def test_every_layer_can_be_chosen_and_another_sigma_shows_other_certificates(page, run):
    offered = [option.text for option in Select(at(page, "left")).options]
    assert offered == [
        *("input", "noisy", "denoised", "ground truth", "clean prediction", "certified", "radius map", "hits")
    ]
    seen = set()
    for name in offered:
        if name != "input":
            change(page, lambda name=name: Select(at(page, "left")).select_by_visible_text(name))
        assert at(page, "left-tag").text == name
        assert at(page, "scale").is_displayed() == (name in ("radius map", "hits"))
        seen.add(pixels(page, "over").tobytes())
    assert len(seen) == len(offered)
    change(page, lambda: page.find_element(By.CSS_SELECTOR, "#sigmas label:nth-of-type(2) input").click())
    key = at(page, "key").text
    abstained = (pixels(page, "under") == 255).all(axis=2)
    assert (abstained == ~made(run, key, SIGMAS[1]).certified).all()
    shares = accuracies(run, SIGMAS[1])
    assert thumbs(page) == sorted(shares, key=shares.__getitem__)


def test_the_legend_shows_a_class_alone(page, run):
    button = page.find_element(By.CSS_SELECTOR, "#legend button")
    name = button.text
    whole = pixels(page, "under")
    change(page, button.click)
    assert page.find_element(By.CSS_SELECTOR, "#legend [aria-pressed=true]").text == name
    alone = pixels(page, "under")
    label = results.read_identity(run)["classes"]["identity"].index(name)
    certificate = made(run, at(page, "key").text)
    same = (whole == alone).all(axis=2)
    assert same[certificate.certified & (certificate.prediction == label)].all()
    assert not same[certificate.certified & (certificate.prediction != label)].any()


def test_colours_follow_the_system_until_they_are_chosen(page):
    def background():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    try:
        tones = {}
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            tones[scheme] = background()
        assert tones["light"] != tones["dark"]
        at(page, "theme").click()
        assert background() == tones["light"]
        at(page, "theme").click()
        assert background() == tones["dark"]
        assert "dark" in at(page, "theme").get_attribute("aria-label")
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        page.execute_script("localStorage.clear()")


def test_the_tab_key_reaches_everything_and_nothing_is_wider_than_a_telephone(page):
    reached = set()
    for _ in range(60):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.execute_script("return document.activeElement.id"))
    assert {"theme", "left", "right", "stage", "slider", "sort", "next"} <= reached
    page.set_window_size(420, 900)
    try:
        wide, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= inner
    finally:
        page.set_window_size(1000, 1100)


def test_without_a_legend_a_folder_of_its_own_opens_too(browser, run, tmp_path):
    from smoothseg.report.html import write

    shutil.copytree(run, tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / "previews")
    Path(tmp_path / "old" / "legend.json").unlink()
    browser.get(write(tmp_path / "old").as_uri())
    drawn(browser)
    assert complaints(browser) == []
    options = [option.text for option in Select(at(browser, "left")).options]
    assert options == ["clean prediction", "certified", "radius map", "hits"]


@pytest.mark.slow
def test_the_report_of_the_demo_opens_and_shows_every_method(browser, tmp_path):
    """`make demo`, on its first image."""
    options = read_yaml(Path(__file__).resolve().parents[2] / "examples" / "demo.yaml")
    running.run(preparing.prepare(Plan.of({**options, "images": 1})), tmp_path / "demo")
    browser.get((tmp_path / "demo" / "report.html").as_uri())
    drawn(browser)
    text = browser.find_element(By.TAG_NAME, "body").text
    for method in options["methods"]:
        assert method["name"] in text
    assert "streets-val-0000" in text
    assert complaints(browser) == []
