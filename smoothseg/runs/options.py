"""Short descriptions of the options of `smoothseg certify`, for its help and for the schema of its files.

This module imports nothing, so that `smoothseg --help` stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HELP"]

HELP: Mapping[str, str] = {
    "dataset": "images to certify",
    "denoiser": "removes the noise; repeat to compare",
    "segmenter": "labels the pixels; repeat to compare",
    "certifier": "votes, tests, abstains; repeat to compare",
    "methods": "named combinations, instead of every combination of the components",
    "tau": "probability to exceed, for the certifier; several, as 0.6,0.75,0.9, are tested together",
    "stop": "rules for stopping, for anytime: max_n, gain, share, hopeless, minutes; as max_n=3000,gain=none",
    "sigma": "noise in [0,1] pixel units; repeatable",
    "scale": "segmenter's input size over the image's",
    "convention": "tell the denoiser the noise left after resizing, or the noise before",
    "denoise_at": "denoise after or before resizing",
    "noise": "lattice: integers, whose guarantee holds; gaussian: 32-bit floats, for old runs and comparison",
    "images": "certify at most so many images",
    "every": "certify every k-th image",
    "seed": "seed of the noise",
    "device": "auto, cpu, cuda or cuda:N",
    "output": "run directory",
    "batch_size": "noise samples at once; changes the speed, never a count",
    "threads": "CPU threads; 1 where others compute too. A run that is taken up again keeps its number",
    "format": "how to print the result",
    "fresh": "start anew where the directory holds an earlier run, or go on",
    "skip_bad": "leave out images that cannot be used, or stop at them",
    "timeout": "seconds that one certificate may take; then its image has failed. anytime stops instead",
    "retry_failed": "try images once more that failed before",
    "sign": "sign the run with this Ed25519 key at the end",
    "track": "tell the figures to an experiment tracker as they come; repeatable",
    "verbose": "say what is being done",
    "quiet": "print the result and errors alone",
}
"""Descriptions by key of the configuration file, without a full stop and without the default."""
