"""How was a set of weights trained? The card says so, as values in the weight file and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import yaml

from smoothseg.machine import versions
from smoothseg.protocols import Dataset
from smoothseg_training.identity import content

__all__ = ["data_card", "hardware", "markdown"]


def data_card(dataset: Dataset) -> dict[str, Any]:
    """Return what the card says about a dataset: the number of its images, their digest, and its licence if known."""
    card: dict[str, Any] = {"images": len(dataset), "content": content(dataset)}
    licence = getattr(dataset, "licence", None) or getattr(dataset, "license", None)
    if isinstance(licence, str):
        card["licence"] = licence
    return card


def hardware(device: torch.device) -> str:
    """Return the hardware in words: the name of the GPU, or the number of CPU threads in use."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"{threads} CPU thread{'' if threads == 1 else 's'}"


def versions_of() -> dict[str, str]:
    """Return the versions of smoothseg and torch."""
    return {"smoothseg": versions.own(), "torch": str(torch.__version__)}


def markdown(card: Mapping[str, Any], *, weights: str) -> str:
    """Return the card as a page of Markdown; `weights` is the name of the weight file."""
    recipe = {key: value for key, value in card["recipe"].items() if key != "task"}
    task = card["recipe"]["task"]
    lines = [
        f"# {weights}",
        "",
        f"A {task} trained with smoothseg: `{recipe[task]['name']}`, {card['parameters'] / 1e6:.2f} M parameters.",
        "",
        "| | |",
        "| --- | --- |",
    ]
    rows = {
        "data": f"{recipe['dataset']['name']}, {card['data']['images']} images",
        "licence of the data": card["data"].get("licence", "not stated by the dataset"),
        "steps": card["steps"],
        "crops seen": f"{card['images_seen']} of {recipe['crop'][0]}x{recipe['crop'][1]}",
        "time": f"{card['minutes']:.1f} minutes on {card['hardware']}, {recipe['precision']}",
        "loss at the end": f"{card['loss']:.4f}",
        "weights": f"moving average, decay {recipe['ema']}, stored in half precision",
        "made with": ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
    }
    used = card.get("weights", {})
    if "initial" in used:
        rows["started from"] = f"the weights with sha256 {used['initial'][:12]}..."
    for digest in used.get("denoiser", {}).values():
        rows["denoised by"] = f"{recipe['denoiser']['name']}, the weights with sha256 {digest[:12]}..."
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    if card["validation"]:
        names = [name for name in card["validation"][-1] if name not in {"step", "minutes", "loss"}]
        described = recipe["validation"]
        count = min(recipe["validation_images"], card["validation_data"]["images"])
        lines += [
            "",
            "## Validation",
            "",
            f"On {count} images of {described['name']} "
            f"({', '.join(f'{k}={v}' for k, v in described.items() if k != 'name')}), with the averaged weights.",
            "",
            f"| step | minutes | loss | {' | '.join(names)} |",
            f"| --- | --- | --- |{' --- |' * len(names)}",
        ]
        for entry in card["validation"]:
            values = " | ".join(
                f"{entry[name]:.2f}" if "psnr" in name else f"{entry[name]:.3f}" for name in names
            )
            lines.append(f"| {entry['step']:.0f} | {entry['minutes']:.1f} | {entry['loss']:.4f} | {values} |")
    lines += [
        "",
        "## Recipe",
        "",
        f"`smoothseg train {task} --config` with this file (paths written as PATH):",
        "",
        "```yaml",
        yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=100).strip(),
        "```",
        "",
    ]
    return "\n".join(lines)
