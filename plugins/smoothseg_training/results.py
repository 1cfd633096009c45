"""What does a complete training leave, and is it there already? It leaves a weight file and its card."""

from __future__ import annotations

import torch

from smoothseg import weights
from smoothseg.files import write_atomically
from smoothseg_training import card as cards
from smoothseg_training.checkpoint import Checkpoint, Outputs
from smoothseg_training.events import Trained
from smoothseg_training.identity import check_same, defaults, identity_of
from smoothseg_training.preparing import Prepared

__all__ = ["finished", "remove", "write"]


def remove(outputs: Outputs) -> None:
    """Remove the files of an earlier training."""
    # The weights go before the checkpoint, so that the next call trains even if this one is interrupted here.
    for path in (outputs.weights, outputs.card, outputs.checkpoint, outputs.log):
        path.unlink(missing_ok=True)


def finished(prepared: Prepared, outputs: Outputs) -> Trained | None:
    """Return the result if this very training is complete; raise `RunMismatchError` if it is another one's."""
    if outputs.checkpoint.exists() or not outputs.weights.exists():
        return None
    card = weights.load(str(outputs.weights), package="smoothseg").card
    there = identity_of(
        {**defaults(prepared.training), **card.get("recipe", {})},
        card.get("data", {}),
        card.get("validation_data"),
        card.get("weights", {}),
    )
    check_same(there, prepared.identity, outputs.weights)
    return Trained(outputs.weights, outputs.card, already=True)


def write(prepared: Prepared, outputs: Outputs, network: torch.nn.Module, last: Checkpoint) -> Trained:
    """Write the weights of `network` and their card, and remove the checkpoint; `last` is the state at the end."""
    card = {
        "data": prepared.data,
        "validation_data": prepared.validation_data,
        "steps": last.step,
        "images_seen": last.step * prepared.training.batch_size,
        "minutes": last.elapsed / 60,
        "hardware": cards.hardware(prepared.device),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "loss": last.loss or 0.0,
        "validation": last.history,
        "weights": prepared.used,
        "versions": cards.versions_of(),
        "recipe": prepared.described,
    }
    weights.save(
        outputs.weights,
        network.state_dict(),
        network=prepared.name,
        config=network.config,  # type: ignore[arg-type]
        classes=prepared.classes,
        card=card,
    )
    page = cards.markdown(card, weights=outputs.weights.name)
    write_atomically(outputs.card, page.encode())
    outputs.checkpoint.unlink(missing_ok=True)
    return Trained(outputs.weights, outputs.card)
