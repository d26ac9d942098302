"""MLflow's store: its place, connecting to it, and its errors on one line."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from nanopoet.common.errors import NanopoetError
from stages.runner import ROOT

EXPERIMENT = "nanopoet"

for _name in ("urllib3.connectionpool", "mlflow.system_metrics", "mlflow.store.db.utils"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # `StoreError` says it, once


class StoreError(NanopoetError):
    """MLflow's store cannot be reached or refuses something."""


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the errors of MLflow, its HTTP client and its database into `StoreError`."""
    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        place = f"at {uri}" if uri.startswith("http") else "here"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = reason if len(reason) <= 160 else f"{reason[:157]}..."
        raise StoreError(f"MLflow {place} does not answer ({reason})") from error


def connect() -> str:
    """Connect to MLFLOW_TRACKING_URI, else to one SQLite file in the repository's root.

    Returns:
        id of the experiment `nanopoet`, made if it is missing.
    """
    # Two processes that meet an empty store race on its first migration, and one fails.
    with FileLock(ROOT / ".mlflow.lock"):
        artifacts = None
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            path = ROOT.resolve() / "mlflow.db"
            if not path.exists():
                make_store(path)
            mlflow.set_tracking_uri(f"sqlite:///{path}")
            # By default MLflow puts artifacts below the working directory of the first process.
            artifacts = (ROOT.resolve() / "mlartifacts").as_uri()
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
        experiment: Any = mlflow.set_experiment(EXPERIMENT)
        return str(experiment.experiment_id)


def make_store(path: Path) -> None:
    """Make an empty SQLite store, whole or not at all.

    MLflow makes its tables in many steps and cannot continue from the middle, where a full disk
    or kill -9 may leave it.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(path)


def find_speed(uri: str, nats: float) -> float | None:
    """Look up the tokens per second of the newest training with a loss; None if there is none.

    Args:
        uri: address of the store.
        nats: loss of the evaluation in nats per character.
    """
    client, metric, width = mlflow.MlflowClient(uri), "metrics.`evaluate/nats_per_character`", 1e-9
    experiments = [each.experiment_id for each in client.search_experiments()]
    same = f"{metric} > {nats - width!r} and {metric} < {nats + width!r}"
    speeds = (
        run.data.metrics.get("tokens_per_second") for run in client.search_runs(experiments, same)
    )
    return next((speed for speed in speeds if speed), None)


def say(text: str) -> None:
    """Print a line on stderr, above the progress bar if there is one."""
    tqdm.write(f"{Path(sys.argv[0]).stem}: {text}", file=sys.stderr)
