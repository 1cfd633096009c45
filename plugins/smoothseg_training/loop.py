"""Training from the first step to the weight file.

A step is a function of the weights, the configuration and the step's number: crops, noise and dropout are seeded by
them, and no generator is carried along. That is what makes an interrupted run continue bit for bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from smoothseg import weights
from smoothseg.components.plugins import plugins
from smoothseg.errors import ConfigError, DataError, PluginError
from smoothseg.files import write_atomically
from smoothseg.machine import devices
from smoothseg.protocols import Dataset, Denoiser
from smoothseg.runs import logs
from smoothseg.runs.logs import log
from smoothseg.weights.stored import Convertible
from smoothseg_training import card as cards
from smoothseg_training.average import Average
from smoothseg_training.checkpoint import Checkpoint, Outputs, check_same
from smoothseg_training.configuration import DenoiserTraining, Running, SegmenterTraining, Training, describe
from smoothseg_training.data import Batches, Cache
from smoothseg_training.events import Event, Measured, Started, Stepped, Stopped, Trained
from smoothseg_training.objectives import DenoiserObjective, Objective, SegmenterObjective, check_crop

__all__ = ["rate", "train"]


_LOG_SECONDS = 60.0
"""Training time between two steps in the log."""


def train(
    training: Training,
    running: Running,
    *,
    listen: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained | Stopped:
    """Train what `training` describes and write weights and card; resume if the output holds a part of the run.

    listen: is told what happens, as it happens. stop: asked between steps; True ends the run with a checkpoint.

    Everything that can be wrong with the configuration and the first images is raised before the first step:
    `ConfigError`, `DataError`, `PluginError`, and `RunMismatchError` if the output belongs to another training.
    """
    with logs.writing(Outputs.of(running.output).log, held=True):
        run = _Run(training, running)
        finished = run.finished()
        if finished is not None:
            return finished
        with logs.writing(run.outputs.log):
            logs.settings(
                device=cards.hardware(run.device),
                threads=torch.get_num_threads(),
                output=run.outputs.weights.name,
            )
            result = run.go(_logged(listen), stop)
            log.info(
                "stopped after step %d" if isinstance(result, Stopped) else "finished", *_step_of(result)
            )
    return result


def _step_of(result: Trained | Stopped) -> tuple[int, ...]:
    return (result.step,) if isinstance(result, Stopped) else ()


def _logged(listen: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return `listen` that also logs what it hears, steps once a minute."""
    told = -math.inf

    def both(event: Event) -> None:
        nonlocal told
        if isinstance(event, Started):
            log.info(
                "step %d: %.2f M parameters, %d images", event.step, event.parameters / 1e6, event.images
            )
        elif isinstance(event, Measured):
            figures = ", ".join(f"{name} {value:.4g}" for name, value in event.figures.items())
            log.info("step %d: validation %s", event.step, figures)
        elif event.progress >= 1 or event.seconds - told >= _LOG_SECONDS:
            told = event.seconds
            log.info(
                "step %d (%.1f%%): loss %.4f, lr %.2e, %.0f s",
                *(event.step, 100 * event.progress, event.loss, event.lr, event.seconds),
            )
        listen(event)

    return both


def rate(training: Training, step: int, progress: float) -> float:
    """Return the learning rate of a step: a linear rise over `warmup` steps times a half cosine to zero."""
    warmed = min(1.0, (step + 1) / (training.warmup + 1))
    return training.lr * warmed * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class _Run:
    """One run: the components it needs, checked, and its state."""

    def __init__(self, training: Training, running: Running) -> None:
        self.training = training
        self.running = running
        self.outputs = Outputs.of(running.output)
        self.device = devices.device(running.device)
        registry = plugins()[training.kind]
        spec = getattr(training, training.kind)
        recipe = registry.recipe(spec)
        self.name = registry.name_of(recipe)
        if not callable(getattr(recipe, "network", None)):
            raise ConfigError(
                f"{training.kind} '{self.name}' has nothing to train: its recipe offers no network"
            )
        self.recipe = recipe
        self.dataset: Dataset = plugins()["dataset"].recipe(training.dataset).load()
        self.validation: Dataset | None = None
        if training.validation is not None:
            self.validation = plugins()["dataset"].recipe(training.validation).load()
        self._check_data()
        self.denoiser = self._load_denoiser()
        self.initial = self._load_initial()
        self.described = describe(training)
        # What a run must have in common with what the output holds: the same files may be elsewhere, but not others.
        self.data = cards.data_card(self.dataset)
        self.validation_data = None if self.validation is None else cards.data_card(self.validation)
        self.used = {
            **({} if self.initial is None else {"initial": self.initial.digest}),
            **({} if self.denoiser is None else {"denoiser": dict(self.denoiser.digests)}),
        }
        self.identity = _identity(self.described, self.data, self.validation_data, self.used)

    def finished(self) -> Trained | None:
        """Return the result if this very training is complete; raise if the output holds another one's."""
        outputs = self.outputs
        if self.running.fresh:
            # The weights go before the checkpoint, so that whenever this is cut short the next call trains.
            for path in (outputs.weights, outputs.card, outputs.checkpoint, outputs.log):
                path.unlink(missing_ok=True)
            return None
        if outputs.checkpoint.exists() or not outputs.weights.exists():
            return None
        stored = weights.load(str(outputs.weights), package="smoothseg")
        card = stored.card
        there = _identity(
            {**_defaults(self.training), **card.get("recipe", {})},
            card.get("data", {}),
            card.get("validation_data"),
            card.get("weights", {}),
        )
        check_same(there, self.identity, outputs.weights)
        return Trained(outputs.weights, outputs.card, already=True)

    def go(self, listen: Callable[[Event], None], stop: Callable[[], bool]) -> Trained | Stopped:
        """Train from the checkpoint, or from the beginning, to the end."""
        training = self.training
        samples = Cache(self.dataset, limit=self.running.cache_gb * 1e9)
        network = self._network()
        average = Average(network, training.ema)
        optimizer = torch.optim.AdamW(
            _groups(network, training.weight_decay), lr=training.lr, betas=(0.9, 0.99), fused=True
        )
        step, before, loss, history = 0, 0.0, None, []
        if self.outputs.checkpoint.exists():
            found = Checkpoint.load(self.outputs.checkpoint)
            there = {**_defaults(training), **found.configuration}
            check_same(there, self.identity, self.outputs.checkpoint)
            network.load_state_dict(found.network)
            average.network.load_state_dict(found.average)
            optimizer.load_state_dict(dict(found.optimizer))
            step, before, loss, history = found.step, found.elapsed, found.loss, found.history
        parameters = sum(parameter.numel() for parameter in network.parameters())
        listen(Started(step, len(samples), parameters, cards.hardware(self.device)))

        began = saved = time.monotonic()
        objective = self._objective(samples)
        waited = 0.0

        def elapsed() -> float:
            return before + time.monotonic() - began

        def checkpoint() -> None:
            Checkpoint(
                self.identity, step, elapsed(), loss, history, network.state_dict(), average.network.state_dict(),
                optimizer.state_dict(),
            ).save(self.outputs.checkpoint)  # fmt: skip

        def measure() -> None:
            figures = self._measure(objective, average.network)
            history.append({"step": step, "minutes": elapsed() / 60, "loss": loss or 0.0, **figures})
            listen(Measured(step, figures))

        progress = self._progress(step, elapsed())
        measured = int(progress / training.validation_every + 1e-9)
        with Batches(samples, training).ahead(step, workers=self.running.workers) as batches:
            while progress < 1:
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                lr = rate(training, step, progress)
                current = self._step(network, objective, optimizer, batch, step, lr)
                average.update(network, step)
                loss = current if loss is None else loss + (current - loss) * max(0.01, 1 / (step + 1))
                step += 1
                progress = self._progress(step, elapsed())
                listen(Stepped(step, progress, loss, lr, elapsed(), waited / (time.monotonic() - began)))
                if progress < 1 and progress >= (measured + 1) * training.validation_every:
                    measured = int(progress / training.validation_every + 1e-9)
                    if self.validation is not None:
                        measure()
                if stop():
                    checkpoint()
                    return Stopped(step, self.outputs.checkpoint)
                if time.monotonic() - saved >= self.running.checkpoint_seconds:
                    checkpoint()
                    saved = time.monotonic()
        if self.validation is not None:
            measure()
        return self._finish(average.network, parameters, step, elapsed(), loss or 0.0, history)

    def _step(
        self,
        network: torch.nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        batch: Any,
        step: int,
        lr: float,
    ) -> float:
        generator = torch.Generator(self.device).manual_seed(_seed(self.training.seed, "noise", step))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        network.train()
        with self._seeded("dropout", step), self._autocast():
            loss = objective.loss(network, batch, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ConfigError(f"the loss became {value} at step {step}: lower --lr or raise --warmup")
        torch.nn.utils.clip_grad_norm_(network.parameters(), self.training.clip)
        optimizer.step()
        return value

    def _measure(self, objective: Objective, network: torch.nn.Module) -> dict[str, float]:
        with torch.inference_mode(), self._autocast():
            return objective.measure(network, self.device)

    def _network(self) -> torch.nn.Module:
        classes = tuple(self.dataset.classes) if self.training.kind == "segmenter" else None
        with self._seeded("weights", 0):
            network = self.recipe.network(classes)
        if not isinstance(network, torch.nn.Module) or not hasattr(network, "config"):
            raise PluginError(
                f"the network of {self.training.kind} '{self.name}' must be a torch module with a config"
            )
        if self.initial is not None:
            weights.load_state(network, self.initial)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _objective(self, samples: Cache) -> Objective:
        # Validation images are few and read again and again: they are kept whatever the training images take.
        validation = (
            None if self.validation is None else Cache(self.validation, limit=self.running.cache_gb * 1e9)
        )
        if isinstance(self.training, SegmenterTraining):
            return SegmenterObjective(self.training, self.dataset, samples, validation, self.denoiser)
        assert isinstance(self.training, DenoiserTraining)
        return DenoiserObjective(self.training, validation)

    def _finish(
        self,
        network: torch.nn.Module,
        parameters: int,
        step: int,
        seconds: float,
        loss: float,
        history: list[Any],
    ) -> Trained:
        card = {
            "data": self.data,
            "validation_data": self.validation_data,
            "steps": step,
            "images_seen": step * self.training.batch_size,
            "minutes": seconds / 60,
            "hardware": cards.hardware(self.device),
            "parameters": parameters,
            "loss": loss,
            "validation": history,
            "weights": self.used,
            "versions": cards.versions_of(),
            "recipe": self.described,
        }
        weights.save(
            self.outputs.weights,
            network.state_dict(),
            network=self.name,
            config=network.config,  # type: ignore[arg-type]
            classes=tuple(self.dataset.classes) if self.training.kind == "segmenter" else None,
            card=card,
        )
        page = cards.markdown(card, weights=self.outputs.weights.name)
        write_atomically(self.outputs.card, page.encode())
        self.outputs.checkpoint.unlink(missing_ok=True)
        return Trained(self.outputs.weights, self.outputs.card)

    def _load_denoiser(self) -> Denoiser | None:
        """Return the denoiser that a segmenter is trained behind, if there is one."""
        if not isinstance(self.training, SegmenterTraining) or self.training.denoiser is None:
            return None
        recipe = self._pinned("denoiser", plugins()["denoiser"].recipe(self.training.denoiser))
        loaded: Denoiser = recipe.load(self.device)
        return loaded

    def _load_initial(self) -> weights.Weights | None:
        """Return the weights to start from, if there are any, in the keys of the network that is trained."""
        if self.training.initial is None:
            return None
        if not isinstance(self.recipe, Convertible) or not hasattr(self.recipe, "weights"):
            raise ConfigError(f"{self.training.kind} '{self.name}' cannot start from weights")
        recipe = dataclasses.replace(self.recipe, weights=self.training.initial)  # type: ignore[type-var]
        found = self._pinned(self.training.kind, recipe).converted()
        if found.classes is not None:
            check_classes(tuple(self.dataset.classes), found.classes, "--initial")
        return found  # type: ignore[no-any-return]

    def _pinned(self, kind: str, recipe: Any) -> Any:
        datasets = plugins()["dataset"]
        name = datasets.name_of(datasets.recipe(self.training.dataset))
        component = plugins()[kind].name_of(recipe)
        recipe = weights.pinned(recipe, component=component, dataset=name)
        weights.ensure(recipe, component=component)
        return recipe

    def _progress(self, step: int, seconds: float) -> float:
        by_steps = step / self.training.steps if self.training.steps else 0.0
        by_time = seconds / (60 * self.training.minutes) if self.training.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def _check_data(self) -> None:
        training, dataset = self.training, self.dataset
        for used, what in ((dataset, "dataset"), (self.validation, "validation")):
            if used is None:
                continue
            if len(used) == 0:
                raise DataError(f"--{what} holds no images")
            if training.kind == "segmenter" and used[0].labels is None:
                raise DataError(f"--{what} has no labels (sample '{used[0].key}'), which a segmenter needs")
        check_crop(dataset[0], training)
        if training.kind == "segmenter" and self.validation is not None:
            check_classes(tuple(dataset.classes), tuple(self.validation.classes))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.precision == "bfloat16")

    def _seeded(self, purpose: str, step: int) -> _Seeded:
        return _Seeded(self.device, _seed(self.training.seed, purpose, step))


class _Seeded:
    """torch's global generators, seeded inside the block and untouched outside; modules draw from nothing else."""

    def __init__(self, device: torch.device, seed: int) -> None:
        devices = [device] if device.type == "cuda" else []
        self._fork = torch.random.fork_rng(devices)
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)


def check_classes(train: tuple[str, ...], others: tuple[str, ...], what: str = "--validation") -> None:
    """Raise `ConfigError` with the first difference if the dataset's classes are not those of `what`."""
    if train == others:
        return
    if len(train) != len(others):
        raise ConfigError(f"--dataset has {len(train)} classes, {what} has {len(others)}")
    index = next(i for i, (one, other) in enumerate(zip(train, others, strict=True)) if one != other)
    raise ConfigError(f"class {index} is '{train[index]}' in --dataset and '{others[index]}' in {what}")


def _identity(
    described: Mapping[str, Any],
    data: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    used: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what two runs share that are the same: the recipe, and data and weights that may lie anywhere."""
    identity = {
        **described,
        "images": data.get("images"),
        "content": data.get("content"),
        "weights": dict(used),
    }
    if validation is not None:
        identity |= {"validation_content": validation.get("content")}
    return identity


def _defaults(training: Training) -> dict[str, Any]:
    """Return what an option was before there was one: its default."""
    return {
        field.name: field.default
        for field in dataclasses.fields(training)
        if field.default is not dataclasses.MISSING
    }


def _groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's parameter groups: decay pulls on matrices and kernels, not on biases and norms."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _seed(seed: int, purpose: str, step: int) -> int:
    digest = hashlib.blake2b(repr((seed, purpose, step)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")
