"""SIGKILL at random moments of runs and of a training: they end with the same bytes as if nothing had been."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

from smoothseg.report import checking
from smoothseg.runs import auditing, manifest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are started by fork"),
]

SERVER = """
import json, os, sys
from pathlib import Path
import torch

torch.set_num_threads(1)
{setup}
for line in sys.stdin:
    directory = Path(json.loads(line))
    child = os.fork()
    if child == 0:
        sys.stdin.close()
        try:
            work(directory)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(status, flush=True)
"""
"""Starts a process for each line, without importing torch again: so most kills hit the work itself."""

RUN = """
from smoothseg.report import running
from smoothseg.runs import preparing
from smoothseg.runs.plan import Plan

plan = Plan.of({
    "dataset": "streets:count=2,height=48,width=64",
    "denoiser": ["identity", "adm"],
    "segmenter": "hrnet",
    "certifier": "holm:n0=4,n=40,alpha=0.05",
    "sigma": [0.1, 0.2],
    "device": "cpu",
})
prepared = preparing.prepare(plan)

def work(directory):
    running.run(prepared, directory, batch_size=4)
"""

TRAINING = """
from smoothseg_training.configuration import SegmenterTraining, configure
from smoothseg_training.loop import train
from smoothseg_training.options import Running

training = configure(SegmenterTraining, {
    "dataset": "streets:count=3,height=48,width=64",
    "validation": "streets:count=1,height=48,width=64",
    "segmenter": "hrnet",
    "steps": 12,
    "batch_size": 2,
    "crop": "32x48",
    "warmup": 2,
    "validation_every": 0.25,
})

def work(directory):
    train(training, Running(output=directory, checkpoint_seconds=0.0))
"""


class Server:
    """Processes that do one piece of work each, of which any may be killed."""

    def __init__(self, setup):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER.format(setup=setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def do(self, directory, *, kill_after=None):
        """Return the seconds that the work took; None if it was killed before its end."""
        self._process.stdin.write(json.dumps(str(directory)) + "\n")
        self._process.stdin.flush()
        child, started = int(self._process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(child, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        assert status in (0, signal.SIGKILL)
        return time.monotonic() - started if status == 0 else None

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def server():
    made = []

    def start(setup):
        made.append(Server(setup))
        return made[-1]

    yield start
    for each in made:
        each.close()


def kill(server, folder, *, kills, seconds, finished):
    """Kill work at random moments and take it up again, in a new directory whenever one is finished.

    seconds: of the work as a whole. finished: called with each finished directory. Returns how many there were.
    """
    chance = random.Random(14)
    killed = number = 0
    while killed < kills:
        directory = folder / f"killed-{number}"
        if server.do(directory, kill_after=chance.uniform(0, 0.6 * seconds)) is None:
            killed += 1
            continue
        finished(directory)
        number += 1
    server.do(folder / f"killed-{number}")
    finished(folder / f"killed-{number}")
    return number + 1


def contents(directory, *, without):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in without
    }


def test_a_run_killed_at_fifty_moments_is_finished_with_the_same_bytes(server, tmp_path):
    work = server(RUN)
    seconds = work.do(tmp_path / "whole")
    varying = {"ledger.jsonl", "log.txt", "manifest.json"}
    whole = contents(tmp_path / "whole", without=varying)

    def finished(directory):
        # A file that a kill left half written is not counted, and is named so that everyone sees what it is.
        there = {n: c for n, c in contents(directory, without=varying).items() if not n.endswith(".tmp")}
        there.pop(".owner.json", None)
        assert there == whole
        assert [
            *auditing.audit(directory),
            *checking.differences(directory),
            *manifest.differences(directory),
        ] == []

    assert kill(work, tmp_path, kills=50, seconds=seconds, finished=finished) >= 2


def test_a_training_killed_at_fifty_moments_ends_with_the_same_weights(server, tmp_path):
    work = server(TRAINING)
    seconds = work.do(tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model.safetensors")

    def finished(directory):
        made = load_file(directory / "model.safetensors")  # the card beside the tensors has times
        assert made.keys() == whole.keys()
        assert all(made[name].tobytes() == whole[name].tobytes() for name in whole)

    assert kill(work, tmp_path, kills=50, seconds=seconds, finished=finished) >= 1
