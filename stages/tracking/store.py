"""MLflow's store: its place, and connecting to it."""

import logging
import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from tqdm import tqdm

from stages.runner import ROOT
from stages.tracking.errors import SQLITE, check_schema, store_errors

EXPERIMENT = "nanopoet"
_ARTIFACTS = "mlartifacts"
"""Folder of the artifacts, beside mlflow.db."""
_PATIENCE = 60
"""Seconds to wait for another process that makes or opens the store."""
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("tags", "value"),  # the lock of a training
)
"""Columns in which MLflow keeps absolute paths."""

for _name in ("urllib3.connectionpool", "mlflow.system_metrics", "mlflow.store.db.utils"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # `StoreError` says it, once


def connect() -> str:
    """Connect to MLFLOW_TRACKING_URI, else to one SQLite file in the repository's root.

    Returns:
        id of the experiment `nanopoet`, made if it is missing and restored if it is deleted.
    """
    own = ROOT.resolve() / "mlflow.db"
    # Relative, because MLflow reads % and ? of a path as parts of the URI.
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{os.path.relpath(own)}"
    try:
        urlsplit(uri)
    except ValueError as error:  # MLflow lets it pass
        raise MlflowException(str(error)) from None
    path = Path(uri.removeprefix(SQLITE))
    is_own = uri.startswith(SQLITE) and path.parent.resolve() / path.name == own
    # Two processes that meet an empty store race on its first migration, and one fails.
    with FileLock(ROOT / ".mlflow.lock", timeout=_PATIENCE):
        if is_own and not (own.exists() and own.stat().st_size):
            make_store(path)
        if uri.startswith(SQLITE) and path.exists():
            with closing(sqlite3.connect(path)) as database, database:
                # MLflow tries for 100 seconds to open a store that is damaged or locked.
                if database.execute("SELECT name FROM sqlite_master").fetchone():
                    check_schema(database)
                if is_own:
                    _repair_places(database, own.parent)
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            # By default MLflow puts artifacts below the working directory of the first process.
            artifacts = (own.parent / _ARTIFACTS).as_uri() if is_own else None
            return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
            say(f"restored MLflow's experiment {EXPERIMENT!r}, which was deleted")
        return str(experiment.experiment_id)


def _repair_places(database: sqlite3.Connection, root: Path) -> None:
    """Point a store to the artifacts beside it if its folder was moved or copied."""
    query = "SELECT artifact_location FROM experiments WHERE name = ?"
    [place] = database.execute(query, (EXPERIMENT,)).fetchone() or [""]
    if place == (root / _ARTIFACTS).as_uri() or not re.fullmatch(f"file:.*/{_ARTIFACTS}", place):
        return
    folder = Path(url2pathname(place.removeprefix("file://"))).parent
    moved = ((f"{folder.as_uri()}/", f"{root.as_uri()}/"), (f"{folder}/", f"{root}/"))
    for table, column in _PLACES:
        for old, new in moved:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608
                f" WHERE substr({column}, 1, ?) = ?",
                (new, len(old) + 1, len(old), old),
            )
    say(f"MLflow's store came from {folder}; its artifacts are now looked up in {root}")


def make_store(path: Path) -> None:
    """Make an empty SQLite store, whole or not at all.

    MLflow makes its tables in many steps and cannot continue from the middle, where a full disk
    or kill -9 may leave it.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(path)


def find_speed(nats: float) -> float | None:
    """Look up the tokens per second of the newest training with a loss; None if there is none.

    Args:
        nats: loss of the evaluation in nats per character.

    Raises:
        StoreError: the store cannot be used.
    """
    metric, width = "metrics.`evaluate/nats_per_character`", 1e-9
    same = f"{metric} > {nats - width!r} and {metric} < {nats + width!r}"
    with store_errors():
        connect()
        client = mlflow.MlflowClient()
        experiments = [each.experiment_id for each in client.search_experiments()]
        runs = client.search_runs(experiments, same)
    speeds = (run.data.metrics.get("tokens_per_second") for run in runs)
    return next(filter(None, speeds), None)


def newest_runs(experiment_id: str, count: int) -> list[str]:
    """Return the ids of the newest finished runs.

    Raises:
        StoreError: the store cannot be used.
    """
    finished = "attributes.status = 'FINISHED'"
    with store_errors():
        runs = mlflow.MlflowClient().search_runs([experiment_id], finished, max_results=count)
    return [run.info.run_id for run in runs]


def say(text: str) -> None:
    """Print a line on stderr, above the progress bar if there is one."""
    tqdm.write(f"{Path(sys.argv[0]).stem}: {text}", file=sys.stderr)
