"""How does a test lay out a dataset of files, and how must such a dataset's recipe treat its user?

The images and label maps are as small as a test needs them:

    write_image(root / "images/a.png", plain_image(1))
    write_image(root / "labels/a.png", label_map(0, 18, 255))

A test then compares what the dataset reads with the same arrays. `check_missing` and `check_imports` hold for every
dataset of files; `smoothseg.testing.check_dataset` holds for every dataset. None of them needs pytest.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smoothseg.data import Pixels
from smoothseg.errors import DataError

__all__ = ["check_imports", "check_missing", "label_map", "plain_image", "write_image"]


def plain_image(level: int = 0, size: tuple[int, int] = (4, 6)) -> Pixels:
    """Return an image of one colour, uint8 (H, W, 3): `level` in red, 10 in green, 200 in blue.

    level: in 0..255; it tells images apart. size: (H, W).
    """
    return np.full((*size, 3), (level, 10, 200), dtype=np.uint8)


def label_map(*values: int, size: tuple[int, int] = (4, 6)) -> Pixels:
    """Return a label map, uint8 (H, W), that repeats `values` row by row until it is full.

    values: in 0..255, as many as there are pixels at most. size: (H, W).
    """
    return np.resize(np.array(values, dtype=np.uint8), size)


def write_image(path: Path, pixels: Pixels) -> Path:
    """Write an image (H, W, 3) or a label map (H, W) in the format of the suffix, and its folder; return `path`.

    PNG, TIFF and WebP hold exactly `pixels`; a JPEG holds them as well as JPEG can.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"lossless": True} if path.suffix.lower() == ".webp" else {}
    Image.fromarray(pixels).save(path, **options)
    return path


def check_missing(recipe: Any, match: str, *parts: str, without: Path | None = None) -> None:
    """Assert that `recipe.load()` tells a user who lacks the data, in one line, what is missing and where to get it.

    match: a regular expression that the message of the `DataError` contains.
    parts: texts that the message contains, such as the expected layout, the address and the terms.
    without: a file or folder that is absent while the recipe loads, and is put back afterwards.

    Raises `AssertionError` if there is no `DataError` or its message lacks something.
    """
    if without is None:
        message = _refusal(recipe)
    else:
        away = without.with_name(f"{without.name}-away")
        without.rename(away)
        try:
            message = _refusal(recipe)
        finally:
            away.rename(without)
    assert re.search(match, message), f"expected a message that matches {match!r}, got {message!r}"
    assert "\n" not in message, f"expected a message of one line, got {message!r}"
    for part in parts:
        assert part in message, f"expected a message with {part!r}, got {message!r}"


def check_imports(recipe: Any) -> None:
    """Assert that a dataset imports what is slow to import only when it is needed.

    In a Python of its own, importing the plugin imports neither NumPy nor Pillow nor torch: the command line imports
    every plugin to list it. Reading the first sample imports no torch.

    recipe: one that loads, with at least one sample.
    """
    plugin = type(recipe).__module__.partition(".")[0]
    code = (
        "import importlib, pickle, sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        f"importlib.import_module({plugin!r})\n"
        "if slow := sorted({'PIL', 'numpy', 'torch'} & set(sys.modules)):\n"
        f"    sys.exit('importing {plugin} imports ' + ', '.join(slow))\n"
        f"pickle.loads({pickle.dumps(recipe)!r}).load()[0]\n"
        "if 'torch' in sys.modules:\n"
        f"    sys.exit('reading a sample of {plugin} imports torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]


def _refusal(recipe: Any) -> str:
    """Return the message of the `DataError` that `recipe.load()` raises."""
    try:
        recipe.load()
    except DataError as error:
        return str(error.args[0])  # as it was written: shown, it is one line in any case
    raise AssertionError("expected load to raise a DataError, but it returned a dataset")
