"""Any network of mmsegmentation, from its config file and a checkpoint, as the segmenter `mmseg`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import smoothseg

if TYPE_CHECKING:
    import torch

    from smoothseg_mmseg.segmenter import MMSegSegmenter

__all__ = ["MMSegRecipe"]


@dataclasses.dataclass(frozen=True)
class MMSegRecipe:
    """A network of mmsegmentation: a config file and its checkpoint; needs the extra `mmseg`.

    The config says what the network is, how its input is normalised, whether it sees the image whole or in sliding
    windows, and which dataset's classes it scores. The checkpoint is one that mmsegmentation published or trained.
    What the config's test pipeline does before the network, such as resizing, is the run's to say (`scale`).

    A config is Python code and runs when it is read, with the modules that its `custom_imports` names: give only
    configs that you trust. Nothing is downloaded for one: pretrained parts that it names are left out, since the
    checkpoint holds the whole network.

    mmsegmentation is installed without mmcv's compiled operations. A network that needs one is refused by `load`, with
    the operation's name; most need none.
    """

    config: str | None = smoothseg.option(
        None,
        "path of an mmsegmentation config (Python code that runs: only ones you trust), or the name of one "
        "that mmsegmentation ships",
    )
    weights: str | None = smoothseg.option(None, "checkpoint of the config: path or address")

    def load(self, device: torch.device | str) -> MMSegSegmenter:
        """Return the segmenter with its weights on `device`; nothing is loaded partially."""
        from smoothseg_mmseg import segmenter

        return segmenter.load(self.config, self.weights, device=device)


@smoothseg.hookimpl
def register_segmenters(register: smoothseg.Register) -> None:
    """Offer `mmseg`."""
    register("mmseg", MMSegRecipe)
