"""What does one step do to the weights?"""

from __future__ import annotations

import math
from typing import Any

import torch

from smoothseg.errors import ConfigError
from smoothseg_training.data import Batch
from smoothseg_training.objectives import Objective
from smoothseg_training.options import Training
from smoothseg_training.seeds import Seeded, seed_of

__all__ = ["autocast", "optimizer_of", "rate", "step_once"]


def rate(training: Training, step: int, progress: float) -> float:
    """Return the learning rate of a step: a linear rise over `warmup` steps, times a half cosine down to zero."""
    warmed = min(1.0, (step + 1) / (training.warmup + 1))
    return training.lr * warmed * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def optimizer_of(network: torch.nn.Module, training: Training) -> torch.optim.AdamW:
    """Return AdamW over the parameters of `network` that are trained, before its first step."""
    return torch.optim.AdamW(
        _groups(network, training.weight_decay), lr=training.lr, betas=(0.9, 0.99), fused=True
    )


def autocast(training: Training, device: torch.device) -> torch.autocast:
    """Return the context in which a network runs at the precision of `training`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bfloat16")


def step_once(
    network: torch.nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    training: Training,
    device: torch.device,
    step: int,
    lr: float,
) -> float:
    """Change the weights of `network` by step `step` (from 0) at learning rate `lr`; return the loss before it.

    Raises `ConfigError` if the loss is not finite.
    """
    generator = torch.Generator(device).manual_seed(seed_of(training.seed, "noise", step))
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    network.train()
    with Seeded(device, seed_of(training.seed, "dropout", step)), autocast(training, device):
        loss = objective.loss(network, batch, generator)
    loss.backward()  # type: ignore[no-untyped-call]
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError(f"the loss became {value} at step {step}: lower --lr or raise --warmup")
    torch.nn.utils.clip_grad_norm_(network.parameters(), training.clip)
    optimizer.step()
    return value


def _groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's parameter groups: matrices and kernels have weight decay, biases and norms have none."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
