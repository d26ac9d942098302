"""Trainings that end at a given step, as by `kill`.

A test that watches the output of a training and then kills it comes too late on a busy machine: the
training may have ended. So the training sends the signal to itself.

`python -m tests.support.killed STAGE STEP SIGNAL` runs a stage of the project in this folder.
"""

import hashlib
import importlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.support.project import ROOT, Project


def run_until(
    project: Project, stage: str, step: int, how: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Run a training that gets a signal after a step, and wait for its end."""
    before = dict(project.environment)
    project.environment["PYTHONPATH"] = str(ROOT)
    try:
        return project.run("tests.support.killed", stage, str(step), str(int(how)))
    finally:
        project.environment = before


def check_a_killed_training(project: Project, stage: str, model: str, step: int) -> None:
    """Check that a training ends with the same weights after kill -9, and not with any weights.

    Args:
        project: has all inputs of the stage.
        stage: the stage that trains, with the default seed.
        model: name of its model folder.
        step: the step after which the training is killed. It has saved a state before.
    """

    def weights() -> str:
        path = project.folder / "models" / model / "model.safetensors"
        return hashlib.sha256(path.read_bytes()).hexdigest()

    done = project.run(f"stages.{stage}")
    assert done.returncode == 0, done.stderr
    whole = weights()
    project.set(**{stage: {"seed": 7}})
    assert project.run(f"stages.{stage}").returncode == 0
    other = weights()
    project.set(**{stage: {"seed": 2024}})
    killed = run_until(project, stage, step, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert weights() == other
    done = project.run(f"stages.{stage}")
    assert f"{stage}: continues after step" in done.stdout, done.stderr
    assert weights() == whole != other


def _main(stage: str, step: int, how: int) -> None:
    """Run a stage that sends itself a signal after a step, saved state included."""
    training: Any = importlib.import_module("stages.training")  # of the project in this folder
    show = training.show_progress

    def show_until(trainer: Any) -> Iterator[Any]:
        for record, rates in show(trainer):
            yield record, rates
            if record.step == step:
                os.kill(os.getpid(), how)

    training.show_progress = show_until
    del sys.argv[1:]  # a stage takes no arguments
    runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
