"""Projects whose `pretrain` runs in several processes."""

import time
from collections.abc import Callable
from pathlib import Path

from nanopoet.corpus.poems import write_poems
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import Project

TIMEOUT = 200
"""Seconds after which a training hangs."""


def parallel_project(folder: Path, options: str, max_steps: int) -> Project:
    """Make a project whose `pretrain` runs in several processes, and run the stages before it."""
    changes = {"torchrun": options, "max_steps": max_steps, "eval_every": 50}
    project = Project(
        folder,
        load={"source": "mine.jsonl"},
        pretrain=SMALL["pretrain"] | changes | {"checkpoint_every": 5},
        evaluate=SMALL["evaluate"],
    )
    write_poems(folder / "mine.jsonl", make_poems(300))
    project.repro("encode")
    return project


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
