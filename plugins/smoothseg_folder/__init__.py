"""Any folder of images, with label maps or without, as the dataset `folder`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import smoothseg

if TYPE_CHECKING:
    from smoothseg_folder.dataset import Folder

__all__ = ["FolderRecipe"]


@dataclasses.dataclass(frozen=True)
class FolderRecipe:
    """Your own images in a folder: PNG, JPEG, TIFF or WebP of any sizes, with or without labels.

    Paths in `images`, `labels` and `classes` are relative to `root`, or absolute. Labels need a class list; see
    `smoothseg_folder.legend` for its forms. Without labels and without a list `classes` is the empty tuple, which
    matches any segmenter: its classes are then the result's.
    """

    root: str | None = smoothseg.option(None, "folder that the other paths are relative to")
    images: str = smoothseg.option(".", "folder of the images")
    labels: str | None = smoothseg.option(
        None, "folder of the label maps, named like the images; none: no labels"
    )
    classes: str | None = smoothseg.option(None, "class list: text, a name a line, or a YAML or JSON list")
    ignore: int = smoothseg.option(255, "label that metrics leave out, not a class index")
    recursive: bool = smoothseg.option(False, "take the images in subfolders too")

    def load(self) -> Folder:
        """Return the dataset; `DataError` and `ConfigError` say what does not fit, before an image is decoded."""
        from smoothseg_folder import dataset

        return dataset.load(
            self.root,
            images=self.images,
            labels=self.labels,
            classes=self.classes,
            ignore=self.ignore,
            recursive=self.recursive,
        )


@smoothseg.hookimpl
def register_datasets(register: smoothseg.Register) -> None:
    """Offer the folder."""
    register("folder", FolderRecipe)
