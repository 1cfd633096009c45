"""The documentation as a site: it builds without a warning, and its pages can be read in wide and narrow browsers."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
PAGES = {"": "smoothseg", "tutorial/": "Certify your own", "reference/cli/": "Command line"}
"""Addresses of pages, and how their first heading begins."""

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings")),
    reason="the documentation's tools are not installed (extra docs)",
)

browser_needed = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and importlib.util.find_spec("selenium")),
    reason="chromium, chromedriver and selenium are not installed",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the site; return the finished process and the folder."""
    site = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    return done, site


def test_the_site_builds_strictly(built):
    done, site = built
    assert done.returncode == 0, done.stderr
    assert (site / "index.html").is_file()
    assert not list(site.rglob("*.py")), "scripts are no pages"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing of it."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(built):
    """The address of the site, served from this machine."""
    done, site = built
    assert done.returncode == 0, done.stderr
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
        *(
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@browser_needed
@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_read(page, width, address, browser):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(address + page)
    WebDriverWait(browser, 20).until(lambda b: b.execute_script("return document.readyState") == "complete")
    assert "smoothseg" in browser.title
    assert browser.execute_script("return document.querySelector('h1').innerText").startswith(PAGES[page])
    assert browser.execute_script("return document.documentElement.clientWidth") > width - 30
    broken = browser.execute_script(
        "return [...document.images].filter((each) => !each.complete || !each.naturalWidth).map((each) => each.src)"
    )
    assert broken == []
    if page == "":
        assert browser.execute_script("return document.querySelectorAll('article img').length") > 0
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "the page scrolls sideways"
    assert [line["message"] for line in browser.get_log("browser")] == []
