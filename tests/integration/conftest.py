"""Projects on which the tests of tracking train, and folders with an MLflow store."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store without a run."""
    from stages.tracking.store import make_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    make_store(path)
    return path


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Iterator[Any]:
    """Give a function that makes a folder the repository, with an empty store if it has none."""
    import mlflow
    from mlflow.store.model_registry import sqlalchemy_store as model_registry
    from mlflow.store.tracking import sqlalchemy_store as tracking
    from mlflow.tracking._model_registry.registry import ModelRegistryStoreRegistry
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

    from stages.tracking import store

    def go(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "mlflow.db").exists():
            shutil.copy(empty_store, folder / "mlflow.db")
        monkeypatch.setattr(store, "ROOT", folder)
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        # A stage works in one folder. MLflow keeps the store of a relative address open.
        for registry in (TrackingStoreRegistry, ModelRegistryStoreRegistry):
            registry._get_store_with_resolved_uri.cache_clear()
        for each in (tracking.SqlAlchemyStore, model_registry.SqlAlchemyStore):
            each._engine_map.clear()
        return folder

    yield go
    mlflow.set_tracking_uri("")
