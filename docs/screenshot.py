"""Pictures of a run's page for the documentation: `python docs/screenshot.py RUN docs/images`.

Writes report.png and report-dark.png, the page in two columns. Needs chromium, chromedriver and selenium (extra `dev`).
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WIDTH = 1120
"""Of the browser's window."""

SHOWN = 1600
"""Width of a picture."""


def browser() -> webdriver.Chrome:
    """Return chromium without a window."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or ""
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def shoot(driver: webdriver.Chrome, page: Path, theme: str) -> Image.Image:
    """Return the whole page in a theme, `light` or `dark`, in two columns that part between two sections."""
    driver.set_window_size(WIDTH, 1000)
    driver.get(page.resolve().as_uri())
    driver.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
    driver.execute_script("document.getElementById('theme').hidden = true")
    driver.execute_script(  # in 256 colours a soft shadow is a halo
        "document.documentElement.style.setProperty('--shadow', 'none')"
    )
    time.sleep(1)
    tall = driver.execute_script("return document.documentElement.scrollHeight")
    tops = driver.execute_script(
        "return [...document.querySelectorAll('section')].map((each) => each.getBoundingClientRect().top + scrollY)"
    )
    driver.set_window_size(WIDTH, tall + 150)
    time.sleep(1)
    whole = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB").crop((0, 0, WIDTH, tall))
    cut = int(min((top - 10 for top in tops[1:]), key=lambda top: max(top, tall - top)))
    columns = Image.new("RGB", (2 * WIDTH, max(cut, tall - cut + 34)), whole.getpixel((2, 2)))
    columns.paste(whole.crop((0, 0, WIDTH, cut)), (0, 0))
    columns.paste(whole.crop((0, cut, WIDTH, tall)), (WIDTH, 34))
    return columns.resize((SHOWN, columns.height * SHOWN // columns.width), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    driver = browser()
    try:
        for theme, name in (("light", "report.png"), ("dark", "report-dark.png")):
            picture, target = shoot(driver, given.run / "report.html", theme), given.folder / name
            picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
            picture.save(target, optimize=True)
            print(target, picture.size, target.stat().st_size)
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
