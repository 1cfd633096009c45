"""What a training tells experiment trackers."""

from __future__ import annotations

from smoothseg_training.events import Measured, Started, Stepped
from smoothseg_training.figures import steps


def test_a_training_tells_loss_rate_and_validation():
    told = []

    class Listening:
        def figures(self, values, step):
            told.append((values, step))

    listen = steps(Listening(), seconds=10)
    listen(Started(0, 5, 100, "cpu"))
    for step, seconds in ((1, 1.0), (2, 2.0), (3, 12.0), (4, 13.0)):
        listen(Stepped(step, step / 4, 1 / step, 0.1, seconds, 0.0))
    listen(Measured(4, {"accuracy": 0.5}))
    assert told == [
        ({"loss": 1.0, "lr": 0.1}, 1),
        ({"loss": 1 / 3, "lr": 0.1}, 3),
        ({"loss": 0.25, "lr": 0.1}, 4),
        ({"validation/accuracy": 0.5}, 4),
    ]
