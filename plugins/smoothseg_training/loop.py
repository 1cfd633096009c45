"""How does a training get from its first step to its last?

A step is a function of the weights, the configuration and the step's number: crops, noise and dropout are seeded by
them, and no generator is carried along. An interrupted run therefore continues bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from smoothseg.machine import devices
from smoothseg.runs import logs
from smoothseg.runs.logs import log
from smoothseg_training import preparing, results
from smoothseg_training.average import Average
from smoothseg_training.card import hardware
from smoothseg_training.checkpoint import Checkpoint, Outputs
from smoothseg_training.data import Batches, Cache
from smoothseg_training.events import Event, Measured, Started, Stepped, Stopped, Trained
from smoothseg_training.identity import check_same, defaults
from smoothseg_training.objectives import Objective, objective
from smoothseg_training.options import Running, Training
from smoothseg_training.steps import autocast, optimizer_of, rate, step_once

__all__ = ["train"]

_LOG_SECONDS = 60.0
"""Seconds of training between two steps in the log."""


def train(
    training: Training,
    running: Running,
    *,
    listen: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> Trained | Stopped:
    """Train as `training` says and write the weights and their card; resume if the output holds a checkpoint.

    listen: called with every event when it happens. stop: called between steps; True stops the run with a checkpoint.

    Errors in the configuration and in the first images are raised before the first step: `ConfigError`, `DataError`,
    `PluginError`, and `RunMismatchError` if the output belongs to another training.
    """
    outputs = Outputs.of(running.output)
    with logs.writing(outputs.log, held=True):
        prepared = preparing.prepare(training, devices.device(running.device))
        if running.fresh:
            results.remove(outputs)
        already = results.finished(prepared, outputs)
        if already is not None:
            return already
        with logs.writing(outputs.log):
            logs.settings(
                device=hardware(prepared.device),
                threads=torch.get_num_threads(),
                output=outputs.weights.name,
            )
            result = _Run(prepared, running, outputs).go(_logged(listen), stop)
            log.info(
                "stopped after step %d" if isinstance(result, Stopped) else "finished", *_step_of(result)
            )
    return result


def _step_of(result: Trained | Stopped) -> tuple[int, ...]:
    return (result.step,) if isinstance(result, Stopped) else ()


def _logged(listen: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a listener that logs every event, steps at most once a minute, and passes it to `listen`."""
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


class _Run:
    """One run, from the checkpoint or from the beginning: its weights and how far they are trained."""

    def __init__(self, prepared: preparing.Prepared, running: Running, outputs: Outputs) -> None:
        self._prepared, self._running, self._outputs = prepared, running, outputs
        self._training, self._device = prepared.training, prepared.device
        self._samples = Cache(prepared.dataset, limit=running.cache_gb * 1e9)
        self._network = preparing.network(prepared)
        self._average = Average(self._network, self._training.ema)
        self._optimizer = optimizer_of(self._network, self._training)
        self._step = 0
        self._before = 0.0  # seconds of the run before this process
        self._began: float  # when this process began its steps
        self._loss: float | None = None
        self._history: list[dict[str, float]] = []
        if outputs.checkpoint.exists():
            self._resume(Checkpoint.load(outputs.checkpoint))

    def _resume(self, found: Checkpoint) -> None:
        there = {**defaults(self._training), **found.configuration}
        check_same(there, self._prepared.identity, self._outputs.checkpoint)
        self._network.load_state_dict(found.network)
        self._average.network.load_state_dict(found.average)
        self._optimizer.load_state_dict(dict(found.optimizer))
        self._step, self._before = found.step, found.elapsed
        self._loss, self._history = found.loss, found.history

    def go(self, listen: Callable[[Event], None], stop: Callable[[], bool]) -> Trained | Stopped:
        """Train to the end, or until `stop` returns True."""
        training, prepared = self._training, self._prepared
        parameters = sum(parameter.numel() for parameter in self._network.parameters())
        listen(Started(self._step, len(self._samples), parameters, hardware(self._device)))

        self._began = saved = time.monotonic()
        aim = self._objective()
        waited = 0.0
        progress = self._progress()
        measured = int(progress / training.validation_every + 1e-9)
        with Batches(self._samples, training).ahead(self._step, workers=self._running.workers) as batches:
            while progress < 1:
                asked = time.monotonic()
                batch = next(batches)
                waited += time.monotonic() - asked
                lr = rate(training, self._step, progress)
                loss = step_once(
                    self._network, aim, self._optimizer, batch,
                    training=training, device=self._device, step=self._step, lr=lr,
                )  # fmt: skip
                self._average.update(self._network, self._step)
                mean = self._mean_loss(loss)
                self._step += 1
                progress = self._progress()
                share = waited / (time.monotonic() - self._began)
                listen(Stepped(self._step, progress, mean, lr, self._elapsed(), share))
                if progress < 1 and progress >= (measured + 1) * training.validation_every:
                    measured = int(progress / training.validation_every + 1e-9)
                    if prepared.validation is not None:
                        self._measure(aim, listen)
                if stop():
                    self._state().save(self._outputs.checkpoint)
                    return Stopped(self._step, self._outputs.checkpoint)
                if time.monotonic() - saved >= self._running.checkpoint_seconds:
                    self._state().save(self._outputs.checkpoint)
                    saved = time.monotonic()
        if prepared.validation is not None:
            self._measure(aim, listen)
        return results.write(prepared, self._outputs, self._average.network, self._state())

    def _objective(self) -> Objective:
        # Validation images are few and are read repeatedly, so they have a cache of their own.
        prepared, limit = self._prepared, self._running.cache_gb * 1e9
        validation = None if prepared.validation is None else Cache(prepared.validation, limit=limit)
        return objective(self._training, prepared.dataset, self._samples, validation, prepared.denoiser)

    def _mean_loss(self, loss: float) -> float:
        """Add `loss`, that of the current step, to the running mean; return the mean."""
        mean = self._loss
        self._loss = loss if mean is None else mean + (loss - mean) * max(0.01, 1 / (self._step + 1))
        return self._loss

    def _measure(self, aim: Objective, listen: Callable[[Event], None]) -> None:
        """Measure the averaged weights; keep the figures and report them to `listen`."""
        with torch.inference_mode(), autocast(self._training, self._device):
            figures = aim.measure(self._average.network, self._device)
        self._history.append(
            {"step": self._step, "minutes": self._elapsed() / 60, "loss": self._loss or 0.0, **figures}
        )
        listen(Measured(self._step, figures))

    def _state(self) -> Checkpoint:
        return Checkpoint(
            self._prepared.identity, self._step, self._elapsed(), self._loss, self._history,
            self._network.state_dict(), self._average.network.state_dict(), self._optimizer.state_dict(),
        )  # fmt: skip

    def _elapsed(self) -> float:
        """Return the training time in seconds, including the time before an interruption."""
        return self._before + time.monotonic() - self._began

    def _progress(self) -> float:
        """Return the share of the run that is done, 0..1; see `Training`."""
        training = self._training
        by_steps = self._step / training.steps if training.steps else 0.0
        by_time = self._elapsed() / (60 * training.minutes) if training.minutes else 0.0
        return min(1.0, max(by_steps, by_time))
