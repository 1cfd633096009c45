"""The options of `smoothseg certify`, from a file and the command line: what to compute, and how to run it.

A `plan.Plan` determines the results; `Running` determines how the run is made. A YAML file may contain both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from smoothseg.components.plugins import plugins
from smoothseg.components.registry import parse
from smoothseg.errors import ConfigError, UnknownNameError
from smoothseg.files import underscored
from smoothseg.protocols import option
from smoothseg.runs.options import HELP
from smoothseg.runs.plan import DEFAULTS, Plan
from smoothseg.runs.tracking import check_names

__all__ = ["KEYS", "Running", "configure", "describe", "of_before_lattice_noise", "output", "running"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """How and where a run is made; nothing here changes the certificates."""

    output: Path | None = option(None, HELP["output"])
    batch_size: int = option(1, HELP["batch_size"])
    threads: int | None = option(None, HELP["threads"])
    format: Literal["table", "markdown", "latex", "csv", "json"] = option("table", HELP["format"])
    fresh: bool = option(False, HELP["fresh"])
    skip_bad: bool = option(False, HELP["skip_bad"])
    timeout: float | None = option(None, HELP["timeout"])
    retry_failed: bool = option(False, HELP["retry_failed"])
    sign: Path | None = option(None, HELP["sign"])
    track: tuple[str, ...] = option((), HELP["track"])
    verbose: bool = option(False, HELP["verbose"])
    quiet: bool = option(False, HELP["quiet"])

    def __post_init__(self) -> None:
        if self.verbose and self.quiet:
            raise ValueError("give verbose or quiet, not both")
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout must be a positive number of seconds, got {self.timeout}")


KEYS: tuple[str, ...] = (*DEFAULTS, "tau", "stop", *(field.name for field in dataclasses.fields(Running)))
"""Every key of a configuration file; `tau` and `stop` are short for options of every certifier."""

_OF_A_METHOD = ("denoiser", "segmenter", "certifier")


def configure(file: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> tuple[Plan, Running]:
    """Return the plan and the `Running` that result from `file` and the options `given` in addition.

    file, given: keys as in `KEYS`, with hyphens or underscores. `given` overrides the file. A denoiser or a segmenter
    replaces that of the file's methods, which must agree in the other components. A certifier, a tau and rules for
    stopping apply to all methods. The file's own tau applies to certifiers without one. A file of a run from before
    there was a choice of noise means `gaussian`.

    Raises `UnknownNameError` for a key that does not exist and `ConfigError` for a value that does not fit.
    """
    values, more = _known(file), _known(given or {})
    if of_before_lattice_noise(values):
        values["noise"] = "gaussian"
    if "methods" in values and ("denoiser" in more or "segmenter" in more):
        values |= _shared(values, [kind for kind in _OF_A_METHOD if kind not in more])
        del values["methods"]
    elif "methods" in values and "certifier" in more:
        certifiers = _listed(more["certifier"])
        if len(certifiers) > 1:
            raise ConfigError(
                "--config lists methods: give one --certifier for all of them, or name them in the file"
            )
        values["methods"] = [
            {**entry, "certifier": certifiers[0]} if isinstance(entry, Mapping) else entry
            for entry in _listed(values["methods"] or [])
        ]
    of_file = values.pop("tau", None)
    values |= more
    tau = values.pop("tau", None)
    if tau is None and of_file is not None:
        values = _with_tau(values, of_file, everywhere="certifier" not in more)
    elif tau is not None:
        values = _with_tau(values, tau, everywhere=True)
    rules = values.pop("stop", None)
    if rules is not None:
        values = _with_rules(values, rules)
    plan = Plan.of({key: value for key, value in values.items() if key in DEFAULTS})
    how = {key: value for key, value in values.items() if key not in DEFAULTS and value is not None}
    return plan, running(how)


def output(plan: Plan, how: Running, *, name: str | None = None) -> Path:
    """Return the run directory: the given one, or `runs/NAME-DIGEST` with a digest of the plan.

    name: the NAME in the default; the dataset's name if None.
    """
    if how.output is not None:
        return how.output
    described = plan.describe()
    if described["noise"] == "gaussian":
        del described["noise"]  # the digest of a run from before there was a choice
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{name or described['dataset']['name']}-{digest}"


def running(values: Mapping[str, Any]) -> Running:
    """Return the validated `Running` of `values`, whose keys are its fields; raise `ConfigError`."""
    import pydantic  # here, because it is slow to import

    try:
        how = pydantic.TypeAdapter(Running).validate_python(dict(values))
    except pydantic.ValidationError as error:
        item = error.errors()[0]
        where = ".".join(str(piece) for piece in item["loc"][:1])
        message = item["msg"].removeprefix("Value error, ")
        shown = f"{where} {item['input']!r}: " if where else ""
        raise ConfigError(f"{shown}{message[0].lower()}{message[1:]}") from None
    check_names(how.track)
    return how


def describe(plan: Plan, how: Running) -> dict[str, Any]:
    """Return both as plain values; `configure` turns them back into the same pair, except for `fresh` and
    `retry_failed`.

    `output` and `sign` are included if they were given. `fresh` is never included: a stored file must not remove an
    earlier run. Nor is `retry_failed`, which is for once.
    """
    plain = dataclasses.asdict(how)
    del plain["fresh"], plain["retry_failed"]
    paths = {name: plain.pop(name) for name in ("output", "sign")}
    given = {name: path.as_posix() for name, path in paths.items() if path is not None}
    return {**plan.describe(), **given, **plain, "track": list(how.track)}


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    found = underscored(values)
    for key in found:
        if key not in KEYS:
            raise UnknownNameError.of("option", key, KEYS)
    return found


def of_before_lattice_noise(file: Mapping[str, Any]) -> bool:
    """Tell whether a run or `--print-config` wrote the options `file` when gaussian noise was the only kind.

    Such a file states everything that determines the results, and must go on giving them. What these two write, and
    hardly anyone else, are `threads` and `skip_bad` beside all that.
    """
    everything = {"methods", *DEFAULTS, "threads", "skip_bad"} - {"noise", *_OF_A_METHOD}
    return "noise" not in file and everything <= set(underscored(file))


def _shared(values: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, list[Any]]:
    """Return the component of each of `kinds` that all methods of `values` share; `ConfigError` if they differ."""
    found: dict[str, list[Any]] = {}
    differ = []
    for kind in kinds:
        registry, described = plugins()[kind], []
        for entry in _listed(values["methods"] or []):
            default = values.get(kind) or DEFAULTS[kind]
            specs = _listed(entry.get(kind, default) if isinstance(entry, Mapping) else default)
            described += [registry.describe(registry.recipe(spec)) for spec in specs]
        if any(each != described[0] for each in described):
            differ.append(kind)
        elif described:
            found[kind] = described[:1]
    if differ:
        raise ConfigError(
            f"the methods of --config have different {' and '.join(f'{kind}s' for kind in differ)}: "
            f"give {' and '.join(f'--{kind}' for kind in differ)} too"
        )
    return found


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _with_tau(values: Mapping[str, Any], tau: Any, *, everywhere: bool) -> dict[str, Any]:
    """Return the options `values` with `tau` for every certifier, or with `taus` where it lists several.

    everywhere: also for certifiers that have their own.
    """
    several = isinstance(tau, list | tuple) or (isinstance(tau, str) and "," in tau)

    def changed(spec: Any) -> dict[str, Any]:
        name, options = parse(spec, "certifier")
        if not everywhere and (options.get("tau") is not None or options.get("taus") is not None):
            return {"name": name, **options}
        options = {key: value for key, value in options.items() if key not in ("tau", "taus")}
        return {"name": name, **options, "taus" if several else "tau": tau}

    return _with_certifiers(values, changed)


def _with_rules(values: Mapping[str, Any], rules: Any) -> dict[str, Any]:
    """Return the options `values` with rules for stopping for every certifier; `ConfigError` if one has no such rule.

    rules: a mapping, or text such as `max_n=1000,gain=0.002`, or several such texts.
    """
    text = ",".join(map(str, rules)) if isinstance(rules, list | tuple) else rules
    given = dict(rules) if isinstance(rules, Mapping) else parse(f"stop:{text}", "stop")[1]
    if not given:
        raise ConfigError("stop names no rule; give some, as max_n=1000,gain=0.002")
    registry = plugins()["certifier"]

    def changed(spec: Any) -> dict[str, Any]:
        name, options = parse(spec, "certifier")
        stops = tuple(getattr(registry.entry(name).recipe, "stops", ()))
        for rule in given:
            if not stops:
                raise ConfigError(f"stop {rule}: {name} has no rules for stopping; anytime has")
            if rule not in stops:
                raise UnknownNameError.of(f"rule of {name}", rule, stops)
        return {"name": name, **options, **given}

    return _with_certifiers(values, changed)


def _with_certifiers(values: Mapping[str, Any], changed: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the options `values` with every certifier as `changed` makes it of its spec."""
    methods = values.get("methods")
    if isinstance(methods, list) and all(
        isinstance(entry, dict) and "certifier" in entry for entry in methods
    ):
        certifiers = values.get("certifier")  # no method uses it
    else:
        certifiers = [changed(spec) for spec in _listed(values.get("certifier") or "holm")]
    if isinstance(methods, list):
        methods = [
            {**entry, "certifier": changed(entry["certifier"])}
            if isinstance(entry, dict) and isinstance(entry.get("certifier"), str | dict)
            else entry
            for entry in methods
        ]
    return {**values, "certifier": certifiers, **({} if methods is None else {"methods": methods})}
