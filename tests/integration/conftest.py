"""Projects on which the tests of tracking train."""

import shutil
from pathlib import Path

import pytest

from nanopoet.corpus.poems import write_poems
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import Project
from tests.support.tracking import EVAL_EVERY, STEPS


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all before `pretrain` is done and committed, with an empty store."""
    folder = tmp_path_factory.mktemp("prepared")
    project = Project(folder, load={"source": "mine.jsonl"}, **SMALL).fork()
    project.set(pretrain={"max_steps": STEPS, "eval_every": EVAL_EVERY, "checkpoint_every": 50})
    write_poems(folder / "mine.jsonl", make_poems(300))
    project.repro("baseline")
    project.commit()
    script = "from pathlib import Path; from stages.tracking.store import make_store as m"
    (folder / "tests_store.py").write_text(f"{script}; m(Path('mlflow.db').resolve())")
    assert project.run("tests_store").returncode == 0
    return folder


@pytest.fixture
def own(prepared: Path, tmp_path: Path) -> Project:
    """A project of the test's own."""
    return Project.at(shutil.copytree(prepared, tmp_path / "own")).fork()
