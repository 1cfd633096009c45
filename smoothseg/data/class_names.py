"""Which class each score or label belongs to, if checkpoints and label maps do not say."""

from __future__ import annotations

from smoothseg.errors import ConfigError
from smoothseg.files import path_of, read_text

__all__ = ["CITYSCAPES", "CITYSCAPES_IDS", "PASCAL_CONTEXT", "from_count", "from_file"]

# fmt: off
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle",
    "bicycle",
)
"""The 19 classes of Cityscapes in the order of their train ids."""

_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_IDS: dict[int, int] = dict.fromkeys((*range(34), 255), 255) | {
    label: train for train, label in enumerate(_LABEL_IDS)
}
"""The train id of each of the 34 label ids of Cityscapes, 255 if there is none; 255 itself is -1 in a byte."""

PASCAL_CONTEXT = (
    "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle",
    "building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup",
    "curtain", "dog", "door", "fence", "floor", "flower", "food", "grass", "ground", "horse", "keyboard",
    "light", "motorbike", "mountain", "mouse", "person", "plate", "platform", "pottedplant", "road",
    "rock", "sheep", "shelves", "sidewalk", "sign", "sky", "snow", "sofa", "table", "track", "train",
    "tree", "truck", "tvmonitor", "wall", "water", "window", "wood",
)
"""The 59 classes of Pascal-Context without the background, in the order of their ids."""
# fmt: on


def from_count(count: int) -> tuple[str, ...]:
    """Return the names of the published checkpoint with `count` classes; `ConfigError` if there is none."""
    published = {len(names): names for names in (CITYSCAPES, PASCAL_CONTEXT)}
    if count not in published:
        raise ConfigError(
            f"the checkpoint scores {count} classes and does not name them (names are known for "
            f"{' and '.join(map(str, published))}); give them with classes=FILE, one name a line"
        )
    return published[count]


def from_file(path: str, count: int) -> tuple[str, ...]:
    """Return the `count` names in a text file, one on each line; `ConfigError` for more, fewer or repeated names."""
    try:
        lines = read_text(path_of(path)).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"class names {path} cannot be read: {error}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != count:
        raise ConfigError(f"{path} names {len(names)} classes, but the checkpoint scores {count}")
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{path} names class '{repeated}' more than once")
    return names
