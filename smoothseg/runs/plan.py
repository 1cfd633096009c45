"""What a run computes: from options or YAML to validated recipes, and back to YAML that repeats the run."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from smoothseg import weights
from smoothseg.components.plugins import plugins
from smoothseg.components.registry import settings
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.smoothing.kinds import ALGORITHMS, GAUSSIAN

__all__ = ["DEFAULTS", "LARGEST_SIGMA", "Method", "Plan"]

DEFAULTS: Mapping[str, Any] = {
    "dataset": "streets:count=4",
    "denoiser": ["adm"],
    "segmenter": ["hrnet"],
    "certifier": ["holm"],
    "methods": None,
    "sigma": [0.25],
    "scale": 0.5,
    "convention": "noise-aware",
    "denoise_at": "scale",
    "noise": "lattice",
    "images": None,
    "every": 1,
    "seed": 0,
    "device": "auto",
}
"""Every key of a plan with its default; `methods` overrides the three kinds of component."""

LARGEST_SIGMA = 32.0
"""With more lattice noise nothing is left of an image, and its law takes a long time to compute."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A named combination of the recipes of a denoiser, a segmenter and a certifier."""

    name: str
    denoiser: Any
    segmenter: Any
    certifier: Any

    @property
    def slug(self) -> str:
        """The name of the method's folders: lower-case letters, digits and hyphens, at most 64 characters."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        if len(slug) <= 64:
            return slug
        return f"{slug[:55]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that determines the results of a run.

    sigma: noise levels in [0, 1] pixel units. scale, convention, denoise_at: see `geometry.Geometry`. noise: its kind,
    see `smoothing/noise.py`.
    every, images: the run uses samples 0, `every`, 2 `every`, ... of the dataset, at most `images` of them.
    """

    dataset: Any
    methods: tuple[Method, ...]
    sigma: tuple[float, ...]
    scale: float
    convention: str
    denoise_at: str
    noise: str
    images: int | None
    every: int
    seed: int
    device: str

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Plan:
        """Return the plan of `options`, with keys as in `DEFAULTS` and defaults for absent keys.

        `denoiser`, `segmenter` and `certifier` are one spec or a list. Every combination is a method, named after the
        components that differ. `methods` lists named combinations instead. `weights=auto` is replaced by the name of
        the weights that the plugin's catalogue has for the dataset. Raises `ConfigError`.
        """
        for key in options:
            if key not in DEFAULTS:
                raise UnknownNameError.of("option", key, DEFAULTS)
        values = {**DEFAULTS, **{key: value for key, value in options.items() if value is not None}}
        dataset = plugins()["dataset"].recipe(values["dataset"])
        return cls(
            dataset=dataset,
            methods=tuple(_with_weights(method, dataset) for method in _methods(values)),
            sigma=_sigmas(values["sigma"]),
            scale=_number(values, "scale"),
            convention=_choice(values, "convention", ("noise-aware", "paper")),
            denoise_at=_choice(values, "denoise_at", ("scale", "full")),
            noise=_noise(values),
            images=None if values["images"] is None else _count(values, "images", least=1),
            every=_count(values, "every", least=1),
            seed=_count(values, "seed", least=0),
            device=str(values["device"]),
        )

    def describe(self) -> dict[str, Any]:
        """Return the plan as plain values; `Plan.of` turns them back into this plan."""
        registries = plugins()
        return {
            "dataset": registries["dataset"].describe(self.dataset),
            "methods": [
                {
                    "name": method.name,
                    **{
                        kind: registries[kind].describe(getattr(method, kind))
                        for kind in ("denoiser", "segmenter", "certifier")
                    },
                }
                for method in self.methods
            ],
            "sigma": list(self.sigma),
            "scale": self.scale,
            "convention": self.convention,
            "denoise_at": self.denoise_at,
            "noise": self.noise,
            "images": self.images,
            "every": self.every,
            "seed": self.seed,
            "device": self.device,
        }

    def check_weights(self) -> None:
        """Raise `WeightsError` for an invalid weight reference, without loading or fetching anything."""
        for method in self.methods:
            for recipe in (method.denoiser, method.segmenter):
                if isinstance(reference := getattr(recipe, "weights", None), str):
                    weights.locate(reference, package=weights.package_of(recipe))

    def remarks(self) -> list[str]:
        """Return a remark for each setting that is valid but probably not intended."""
        remarks = []
        if (sigma := max(self.sigma)) > 2:
            remarks.append(_in_levels(sigma))
        if self.noise == "lattice" and (sigma := min(self.sigma)) < 0.5 / 255:
            rounded = math.erf(0.5 / (255 * sigma) / math.sqrt(2))
            remarks.append(
                f"sigma {sigma:g} is {255 * sigma:.2g} of a level of 8 bits: {100 * rounded:.3g} % of the noise is "
                "rounded away; certificates are of the model that rounds"
            )
        if self.noise == "gaussian":
            remarks.append(GAUSSIAN)
        return remarks

    def indices(self, length: int) -> range:
        """Return the indices to certify in a dataset of `length` samples; raise `ConfigError` if there are none."""
        chosen = range(0, length, self.every)[: self.images]
        if not chosen:
            raise ConfigError("the dataset is empty: there is nothing to certify")
        return chosen


def _methods(values: Mapping[str, Any]) -> tuple[Method, ...]:
    if values["methods"] is not None:
        methods = tuple(_named(entry, values) for entry in _as_list(values["methods"]))
    else:
        specs = {kind: _as_list(values[kind]) for kind in ("denoiser", "segmenter", "certifier")}
        recipes = {kind: [plugins()[kind].recipe(spec) for spec in listed] for kind, listed in specs.items()}
        several = [kind for kind, listed in specs.items() if len(listed) > 1] or ["denoiser"]
        methods = tuple(
            Method(
                " + ".join(
                    _short(kind, recipe)
                    for kind, recipe in (("denoiser", d), ("segmenter", s), ("certifier", c))
                    if kind in several
                ),
                d,
                s,
                c,
            )
            for s in recipes["segmenter"]
            for d in recipes["denoiser"]
            for c in recipes["certifier"]
        )
    if not methods:
        raise ConfigError("methods is empty: there is nothing to certify with")
    slugs: dict[str, str] = {}
    for method in methods:
        if not method.name.isprintable():
            raise ConfigError(f"method name {method.name!r} has characters that cannot be shown")
        if not method.slug:
            raise ConfigError(
                f"method name '{method.name}' needs one of the letters a-z or a digit, for its folder"
            )
        if method.slug in slugs:
            raise ConfigError(
                f"methods '{slugs[method.slug]}' and '{method.name}' have the same folder name, '{method.slug}'"
            )
        slugs[method.slug] = method.name
    return methods


def _named(entry: Any, values: Mapping[str, Any]) -> Method:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"each of methods must be a mapping with name, denoiser, segmenter, got {entry!r}")
    known = ("name", "denoiser", "segmenter", "certifier")
    for key in entry:
        if key not in known:
            raise UnknownNameError.of("key of a method", key, known)
    if "name" not in entry:
        raise ConfigError(f"method {dict(entry)!r} needs a name")
    recipes = {}
    for kind in known[1:]:
        given = _as_list(entry.get(kind, values[kind]))
        if len(given) != 1:
            raise ConfigError(f"method '{entry['name']}' needs exactly one {kind}, got {len(given)}")
        recipes[kind] = plugins()[kind].recipe(given[0])
    return Method(str(entry["name"]), **recipes)


def _with_weights(method: Method, dataset: Any) -> Method:
    """Return `method` with `weights=auto` replaced by the names of the weights for this dataset."""
    registries = plugins()
    name = registries["dataset"].name_of(dataset)
    networks = {
        kind: weights.pinned(recipe, component=registries[kind].name_of(recipe), dataset=name)
        for kind, recipe in (("denoiser", method.denoiser), ("segmenter", method.segmenter))
    }
    return dataclasses.replace(method, **networks)


def _short(kind: str, recipe: Any) -> str:
    registry = plugins()[kind]
    name = registry.name_of(recipe)
    plain = registry.describe(recipe)
    defaults = {field.name: field.default for field in registry.entry(name).fields}
    return settings(name, plain, defaults)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _sigmas(value: Any) -> tuple[float, ...]:
    sigmas = tuple(_number({"sigma": each}, "sigma") for each in _as_list(value))
    if not sigmas:
        raise ConfigError("sigma is empty: there is nothing to certify")
    if len(set(sigmas)) != len(sigmas):
        raise ConfigError(f"sigma has a value twice: {', '.join(map(str, sigmas))}")
    return sigmas


def _number(values: Mapping[str, Any], key: str) -> float:
    try:
        number = float(values[key])
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{key} must be a number, got {values[key]!r}") from None
    if not (math.isfinite(number) and number > 0) or isinstance(values[key], bool):
        raise ConfigError(f"{key} must be positive, got {values[key]!r}")
    return number


def _count(values: Mapping[str, Any], key: str, *, least: int) -> int:
    value = values[key]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{key} must be a whole number of at least {least}, got {values[key]!r}")
    return value


def _noise(values: Mapping[str, Any]) -> str:
    """Return the kind of noise; `ConfigError` where its sigma would be too large for it."""
    noise, largest = _choice(values, "noise", tuple(ALGORITHMS)), max(_sigmas(values["sigma"]))
    if noise == "lattice" and largest > LARGEST_SIGMA:
        raise ConfigError(f"sigma must be at most {LARGEST_SIGMA:g} for lattice noise; {_in_levels(largest)}")
    return noise


def _in_levels(sigma: float) -> str:
    return (
        f"sigma {sigma:g} is {sigma:g} times the whole range of a pixel, 0..1: "
        f"if {sigma:g} of 255 levels are meant, give {sigma / 255:.3f}"
    )


def _choice(values: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    if values[key] not in allowed:
        raise UnknownNameError.of(key, str(values[key]), allowed)
    return str(values[key])
