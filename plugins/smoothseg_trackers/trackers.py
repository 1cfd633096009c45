"""Trackers for TensorBoard, Weights & Biases and MLflow, each through its own package."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["MLflow", "TensorBoard", "WeightsAndBiases"]

_PROJECT = "smoothseg"


class TensorBoard:
    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        writers: Any = importlib.import_module("torch.utils.tensorboard")
        self._writer = writers.SummaryWriter(str(directory / "tensorboard"))
        text = json.dumps(config, indent=1, default=str)
        self._writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    def figures(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self, *, failed: bool) -> None:
        self._writer.close()  # TensorBoard does not record how a run ended


class WeightsAndBiases:
    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")
        directory.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=_PROJECT,
            name=name,
            dir=str(directory),
            config=json.loads(json.dumps(config, default=str)),
        )

    def figures(self, values: Mapping[str, float], step: int) -> None:
        # The steps of W&B must grow, but those of several methods do not. So the step is a figure like the others.
        self._run.log({**values, "step": step})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MLflow:
    def __init__(self, directory: Path, name: str, config: Mapping[str, Any]) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._mlflow.set_experiment(_PROJECT)
        self._mlflow.start_run(run_name=name)
        try:
            self._mlflow.log_dict(json.loads(json.dumps(config, default=str)), "config.json")
        except BaseException:
            self.close(failed=True)
            raise

    def figures(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")
