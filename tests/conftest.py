"""Fixtures of several test files: small corpora, parameters and a project."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.common.yaml import read_yaml
from nanopoet.corpus.poems import Poem, write_poems
from tests.support.params import FINETUNING, REINFORCEMENT, SMALL, STAGES
from tests.support.poems import make_poems
from tests.support.project import DEFAULT_PARAMS, Project
from tests.support.yaml import write_yaml

# transformers asks no server whether there is something newer. Read when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell ignores SIGINT in background jobs. Processes that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tiny matrices: a second thread costs more than it gives.
torch.set_num_threads(1)


@pytest.fixture
def poems() -> list[Poem]:
    return make_poems()


@pytest.fixture
def corpus(tmp_path: Path, poems: list[Poem]) -> Path:
    """A user's own corpus as a JSONL file."""
    path = tmp_path / "poems.jsonl"
    path.write_text(
        "".join(json.dumps(poem, ensure_ascii=False) + "\n" for poem in poems), encoding="utf-8"
    )
    return path


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[..., Path]:
    """Write params.yaml into `tmp_path`: the default, with changes per section."""

    def write(**changes: dict[str, Any]) -> Path:
        params = read_yaml(DEFAULT_PARAMS)
        for section, values in changes.items():
            params[section].update(values)
        path = tmp_path / "params.yaml"
        write_yaml(path, params)
        return path

    return write


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has run once; tests leave its parameters as they were."""
    folder = tmp_path_factory.mktemp("project")
    project = Project(folder, load={"source": "mine.jsonl"}, **SMALL).fork()
    write_poems(folder / "mine.jsonl", make_poems(300))
    assert sorted(project.repro()) == sorted(STAGES)
    assert project.repro(FINETUNING[-1]) == FINETUNING
    assert project.repro(REINFORCEMENT[-1]) == REINFORCEMENT
    return project


@pytest.fixture
def unchanged(project: Project) -> Iterator[Project]:
    """The project, with parameters, outs and MLflow's store put back afterwards.

    What a test adds beside them is removed.
    """
    params, lock = project.folder / "params.yaml", project.folder / "dvc.lock"
    store = project.folder / "mlflow.db"
    before = {path: path.read_bytes() for path in (params, lock, store)}
    there = set(project.folder.iterdir())
    yield project
    for path in set(project.folder.iterdir()) - there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    params.write_bytes(before[params])
    if lock.read_bytes() != before[lock]:
        assert (
            project.repro("report", FINETUNING[-1], REINFORCEMENT[-1]) == []
        )  # DVC has it all in its cache
    store.write_bytes(before[store])
