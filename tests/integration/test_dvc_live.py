"""Plots of a training under way, in the workspace and in the queue."""

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.support.dvc_commands import datapoints, wait_until
from tests.support.project import Project


@pytest.fixture
def endless(own: Project) -> Project:
    """A project whose training ends in days, and writes its history four times a second."""
    script = own.folder / "stages/training.py"
    text = script.read_text(encoding="utf-8")
    assert "HISTORY_SECONDS = 10.0\n" in text
    script.write_text(text.replace("SECONDS = 10.0\n", "SECONDS = 0.25\n"), encoding="utf-8")
    own.set(pretrain={"max_steps": 1_000_000, "eval_every": 5, "checkpoint_every": 1_000_000})
    own.commit()
    return Project.at(own.folder)  # the `python` of a fork server does not end with `dvc`


def _grows(project: Project, *revisions: str) -> Callable[[], bool]:
    """Return a function that tells whether each plot of a training has several points."""

    def grows() -> bool:
        rows = datapoints(project, *revisions)
        names = ("loss", "lr", "samples")
        return bool(rows) and all(len(rows[name]) > 3 for name in names)

    return grows


def test_plots_follow_a_training_in_the_workspace(endless: Project) -> None:
    with endless.start("dvc", "repro", "pretrain") as process:
        try:
            wait_until(_grows(endless))
            before, after = datapoints(endless), datapoints(endless)
            wait_until(_grows(endless))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
    assert [row["step"] for row in before["lr"]] == [str(step) for step in range(len(before["lr"]))]
    assert len(after["lr"]) >= len(before["lr"])
    assert any("loss_train" in row for row in before["loss"])
    assert any("loss_val" in row for row in before["loss"])
    assert {row["prompt"] for row in before["samples"]} == {"", "明月", "春風"}
    wait_until(lambda: not (endless.folder / "models/poet").exists())


def test_plots_follow_an_experiment_in_the_queue(endless: Project) -> None:
    queued = endless.run("dvc", "exp", "run", "--queue", "--name", "live", "pretrain")
    assert queued.returncode == 0, queued.stderr
    # The worker keeps the streams that it got: with pipes, this would wait for the worker's end.
    subprocess.run(
        [endless.python, "-m", "dvc", "queue", "start"],
        cwd=endless.folder,
        env=endless.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    try:
        wait_until(_grows(endless, "live"))
        rows = datapoints(endless, "live")
        signalled = endless.folder / ".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED"
        assert 0 <= json.loads(signalled.read_text())["step"] <= 1_000_000
    finally:
        endless.run("dvc", "queue", "stop", "--kill")
    assert {row["rev"] for row in rows["samples"]} == {"live"}
    assert not (endless.folder / "models/poet").exists()
