"""How a noisy image becomes a clean estimate: the noise level's timestep, then one step or the ancestral chain."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, final

import torch

from smoothseg import ConfigError, networks
from smoothseg.weights import Weights, check_network, digests, filled
from smoothseg.weights import load as load_weights
from smoothseg_adm import checkpoint, diffusion, fit
from smoothseg_adm.architecture import PRESETS, Architecture, named
from smoothseg_adm.network import ADM
from smoothseg_adm.schedule import LINEAR

if TYPE_CHECKING:
    from smoothseg_adm import ADMRecipe

__all__ = ["ADMDenoiser", "load"]

_PACKAGE = "smoothseg_adm"
_NETWORK = "adm"


@final
class ADMDenoiser:
    """An ADM with its weights, in eval mode; see `smoothseg.Denoiser`."""

    def __init__(self, network: ADM, recipe: ADMRecipe, *, digests: Mapping[str, str]) -> None:
        multiple = network.architecture.multiple
        if recipe.fit == "tile" and recipe.tile % multiple:
            raise ConfigError(f"tile={recipe.tile} must be a multiple of {multiple} for this network")
        network = network.to(networks.DTYPES[recipe.precision]).to(memory_format=torch.channels_last)
        self._network = network.eval().requires_grad_(False)
        self._recipe = recipe
        self._digests = dict(digests)

    @property
    def digests(self) -> Mapping[str, str]:
        """sha256 of the weight file, and of the architecture's if it is one that was read, by name."""
        return self._digests

    @torch.inference_mode()
    def denoise(self, noisy: torch.Tensor, sigma: float, *, seeds: Sequence[int]) -> torch.Tensor:
        """Return the clean estimate, in [0, 1]; see `smoothseg.Denoiser.denoise`.

        The network always sees `rows` images, whatever the size of the batch.
        """
        if len(seeds) != len(noisy):
            raise ValueError(f"expected {len(noisy)} seeds, one a row, got {len(seeds)}")
        size, native = (noisy.shape[-2], noisy.shape[-1]), self._network.architecture.native
        inner = (native, native) if self._recipe.fit == "resize" else size
        antialias = self._recipe.antialias
        # `direct` takes the timestep of the image's own sigma, whatever resizing leaves of it, as was published
        direct = self._recipe.timestep == "direct"
        left = sigma if direct else networks.sigma_left(sigma, size, inner, antialias=antialias)

        def estimate(rows: list[int]) -> torch.Tensor:
            fitted = networks.resize(noisy[rows], inner, antialias=antialias)
            clean = self._estimate(fitted, left, [seeds[i] for i in rows])
            return networks.resize(clean, size, antialias=antialias)

        return networks.in_rows(estimate, len(noisy), rows=self._recipe.rows)

    def _estimate(self, noisy: torch.Tensor, sigma: float, seeds: Sequence[int]) -> torch.Tensor:
        """Return the clean estimate of `rows` images at their own size."""
        rule = self._recipe.timestep
        timestep = LINEAR.timestep(2 * sigma, rule)
        level = 2 * sigma if rule == "interpolated" else float(LINEAR.levels[int(timestep)])
        scaled = diffusion.scale(noisy, level)
        if self._recipe.steps == "single":
            return (diffusion.start(scaled, level, self._network_at(scaled, timestep)) + 1) / 2

        def draw(at: int) -> torch.Tensor:
            own = [networks.seeds(seed, _NETWORK, [at], purpose="ancestral")[0] for seed in seeds]
            return networks.standard_normal(own, tuple(scaled.shape[1:]), device=scaled.device)

        # the published chain: an image with the noise of timestep t takes its first step from t - 1
        first = max(math.ceil(timestep) - 1, 0)
        posterior = LINEAR.posterior(LINEAR.chain(first, self._recipe.respacing))
        return (diffusion.ancestral(self._network_at, scaled, posterior, draw).clamp(-1, 1) + 1) / 2

    def _network_at(self, scaled: torch.Tensor, timestep: float) -> torch.Tensor:
        """Return the network's output, float32, for images of any size."""
        recipe, multiple = self._recipe, self._network.architecture.multiple
        timesteps = torch.full((len(scaled),), timestep, dtype=torch.float32, device=scaled.device)

        def network(images: torch.Tensor) -> torch.Tensor:
            return self._network.raw(images, timesteps)

        if recipe.fit == "tile":
            return fit.tiles(network, scaled, tile=recipe.tile, overlap=recipe.overlap, multiple=multiple)
        return networks.padded(network, scaled, multiple).float()


def load(recipe: ADMRecipe, device: torch.device | str) -> ADMDenoiser:
    """Return the denoiser of `recipe.weights`, strictly loaded, on `device`."""
    network, weights = read(recipe)
    architecture = _architecture(weights, recipe)
    sizes = architecture if weights.network is None and architecture not in PRESETS else None
    return ADMDenoiser(network.to(device), recipe, digests=digests(weights, sizes))


def read(recipe: ADMRecipe) -> tuple[ADM, Weights]:
    """Return the network of `recipe.weights`, strictly loaded, and the file as it is."""
    weights = load_weights(recipe.weights, package=_PACKAGE)
    return _build(weights, _architecture(weights, recipe)), weights


def converted(recipe: ADMRecipe) -> Weights:
    """Return the weight file in this network's own keys, with its sizes."""
    network, weights = read(recipe)
    return dataclasses.replace(weights, state=network.state_dict(), network=_NETWORK, config=network.config)


def _architecture(weights: Weights, recipe: ADMRecipe) -> str:
    return str(weights.options.get("architecture", recipe.architecture))


def _build(weights: Weights, architecture: str) -> ADM:
    """Return the network of `weights`; `architecture` gives the sizes that a foreign checkpoint does not hold."""
    if weights.network is None:
        sizes = named(architecture)
        with torch.device(
            "meta"
        ):  # the published sizes need gigabytes and seconds to fill with random numbers
            network = ADM(sizes)
        state = checkpoint.convert(weights.state, network.unet, sizes, origin=str(weights.path))
        state = {key: tensor.float() for key, tensor in state.items()}
        network.unet.load_state_dict(state, strict=True, assign=True)
        return network
    check_network(weights, _NETWORK)
    stated = Architecture.from_config(weights.config, origin=str(weights.path))
    return filled(lambda: ADM(stated), weights)
