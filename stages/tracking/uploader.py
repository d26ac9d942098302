"""MLflow: one run for one result of the pipeline.

A run shows what an account says. A courier brings it up to date from there as often as
one likes, since what the run has already is left alone. So a store that is slow or away
costs a delay and nothing else: the training goes on, a thread tries again, and what could
not be delivered at the end waits in the outbox for the next stage.
"""

import getpass
import json
import logging
import math
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# That a server is away should be known within seconds: trying again is our business.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

import mlflow
import pandas as pd
from filelock import FileLock, Timeout
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from nanopoet.params import Params
from nanopoet.training.history import StepRecord, read_history
from stages.runner import ROOT
from stages.tracking.figures import forms_figure, loss_figure
from stages.tracking.record import Account, Evaluation, digest, now

EXPERIMENT = MODEL_NAME = "nanopoet"
BEST = "best"
OUTBOX = ROOT / ".nanopoet/outbox"
STORE_ERRORS = (MlflowException, RequestException, SQLAlchemyError, OSError)
_RESULT, _HOST, _LOCK = "nanopoet.result", "nanopoet.host", "nanopoet.lock"
_METRICS_PER_CALL = 1000  # MLflow's own limit
_PATIENCE = 60
"""Seconds between two tries, at most, while a store is away."""

for _name in ("urllib3.connectionpool", "mlflow.system_metrics", "mlflow.store.db.utils"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # we say it ourselves, once


class LiveRun:
    """The run of a training under way, kept up to date by a thread."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._stop = threading.Event()
        self._bug: Exception | None = None
        self._courier: _Courier | None = None
        self._away = False
        self._thread = threading.Thread(target=self._keep_up, name="tracking", daemon=True)
        self._thread.start()

    def log_step(self, record: StepRecord, rates: dict[str, float]) -> None:
        """Take down a step and how quick the training is; it is sent soon."""
        self.account.moments[record.step] = now(), rates
        self.account.records.append(record)

    def close(self, status: str) -> None:
        """Send what is left, or put it into the outbox."""
        self._stop.set()
        self._thread.join()
        self.account.status = status
        delivered = self._try()
        if self._courier:
            self._courier.rest()
        # A killed training goes on and tells all of it then.
        if not delivered and status != "KILLED":
            _keep(self.account)
        if self._bug:
            raise self._bug

    def _keep_up(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            try:
                wait = 1 if self._try() else min(_PATIENCE, 2 * wait + 1)
            except Exception as bug:
                self._bug = bug  # raised where the training can no longer suffer from it
                return

    def _try(self) -> bool:
        try:
            self._courier = self._courier or _Courier(self.account)
            self._courier.deliver()
        except STORE_ERRORS as error:
            if not self._away:
                _say(f"MLflow {_where()} does not answer ({_reason(error)}); the training goes on")
            self._away = True
            self._courier = None  # a new one finds out what has arrived
            return False
        if self._away:
            _say(f"MLflow {_where()} answers again")
        self._away = False
        return True


@contextmanager
def open_run(
    params: Params, run_id: str | None, records: Sequence[StepRecord], lock: Path
) -> Iterator[LiveRun]:
    """Open a run and close it with the status it deserves: FINISHED, FAILED or KILLED.

    Args:
        params: of the pipeline.
        run_id: the run that a training goes on with, if it does and that one is there.
        records: the steps that were made before.
        lock: what this process holds while it trains.
    """
    account = Account.begin(params, records)
    account.run_id = run_id
    account.tags |= {_HOST: socket.gethostname(), _LOCK: str(lock.resolve())}
    _drop(account)  # this one will tell all that one before could
    run, status = LiveRun(account), "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        run.close(status)


def log_evaluation(params: Params, model: Path, evaluation: Evaluation) -> None:
    """Add final figures to the run that made `model`, or to one rebuilt from its files."""
    try:
        _deliver_outbox()
        account = _account_of(params, model)
        account.evaluation = evaluation
        _Courier(account).deliver()
    except STORE_ERRORS as error:
        _say(f"MLflow {_where()} does not answer ({_reason(error)})")
        account = _account_of(params, model)
        account.evaluation = evaluation
        _keep(account)


def store_and_experiment() -> tuple[str, str]:
    """URI of the store and id of the experiment in it; what waits in the outbox is delivered."""
    experiment_id = _connect()
    _deliver_outbox()
    return mlflow.get_tracking_uri(), experiment_id


class _Courier:
    """Brings the run of one account up to date.

    Its methods raise one of `STORE_ERRORS` if the store does not take something.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self._experiment_id = _connect()
        self._client = mlflow.MlflowClient()
        self._run: Run | None = None
        self._last_step = -1
        self._monitor: Any = None

    def deliver(self) -> None:
        """Send what the run lacks."""
        run = self._run = self._run or self._attach()
        self._send_steps(run)
        if self.account.model:
            run = self._run = self._send_model(run)
        if self.account.evaluation:
            self._send_evaluation(run, self.account.evaluation)
        if self.account.status != "RUNNING":
            self.rest()
            self._describe(run)
            if self._client.get_run(run.info.run_id).info.status != self.account.status:
                self._client.set_terminated(run.info.run_id, self.account.status)
        elif self._monitor is None:
            monitor: Any = SystemMetricsMonitor  # MLflow gives it no types
            self._monitor = monitor(run.info.run_id, resume_logging=True)
            self._monitor.start()

    def rest(self) -> None:
        """Stop measuring the machine."""
        if self._monitor:
            self._monitor.finish()
            self._monitor = None

    def _attach(self) -> Run:
        """Find the account's run, or make it, with all that does not change."""
        account, client = self.account, self._client
        run = self._find()
        if run is None:
            tags = account.tags | {"mlflow.user": getpass.getuser()}
            tags |= {"mlflow.source.name": "dvc.yaml", "mlflow.source.type": "LOCAL"}
            self._close_orphans()
            run = client.create_run(
                self._experiment_id, account.started, tags=tags, run_name=account.name
            )
        elif account.status == "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        account.run_id = run_id = run.info.run_id
        client.log_batch(run_id, params=[Param(*item) for item in account.params.items()])
        client.log_inputs(run_id, [_dataset(*item) for item in account.inputs.items()])
        history = client.get_metric_history(run_id, "loss/train")
        self._last_step = max((metric.step for metric in history), default=-1)
        return run

    def _find(self) -> Run | None:
        """The run that the account names, else one of the same result, else one of the same
        training that came to no end.
        """
        if self.account.run_id:
            try:
                run = self._client.get_run(self.account.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            else:
                if run.info.lifecycle_stage == "active":
                    return run
        return next(self._of_same_result(), None) or next(self._of_same_training(), None)

    def _of_same_result(self) -> Iterator[Run]:
        """Runs of the account's model that came of the same parameters, as far as they have any."""
        if self.account.model is None:
            return
        wanted = self.account.params
        if self.account.evaluation:
            wanted = wanted | self.account.evaluation.params
        for run in self._search(f"tags.`{_RESULT}` = '{digest(self.account.model)}'"):
            if {name: run.data.params.get(name, value) for name, value in wanted.items()} == wanted:
                yield run

    def _of_same_training(self) -> Iterator[Run]:
        """Runs that ended early, of the very same training: steps follow from what its lock names.

        A saved state may lack the run, as when the store could not be reached.
        """
        lock = self.account.tags.get(_LOCK)
        if lock is None:
            return
        host = socket.gethostname()
        for run in self._search(f"tags.`{_LOCK}` = '{lock}' and tags.`{_HOST}` = '{host}'"):
            if run.info.status != "FINISHED":
                yield run

    def _search(self, query: str) -> list[Run]:
        return list(
            self._client.search_runs(
                [self._experiment_id],
                query,
                ViewType.ACTIVE_ONLY,
                order_by=["attributes.start_time DESC"],
            )
        )

    def _close_orphans(self) -> None:
        """Mark runs KILLED whose training on this machine died without a word."""
        own = self.account.tags.get(_LOCK)
        host = socket.gethostname()
        for run in self._search(f"attributes.status = 'RUNNING' and tags.`{_HOST}` = '{host}'"):
            lock = run.data.tags.get(_LOCK, "")
            if lock == own or not _held(Path(lock)):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _send_steps(self, run: Run) -> None:
        records = [r for r in list(self.account.records) if r.step > self._last_step]
        if not records:
            return
        metrics = [metric for record in records for metric in self._metrics(record)]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            part = metrics[start : start + _METRICS_PER_CALL]
            self._client.log_batch(run.info.run_id, metrics=part)
        if any(record.samples for record in records):
            # As MLflow's log_table writes it, which would append to what is there.
            table = json.dumps(self.account.samples_table(), ensure_ascii=False)
            self._client.log_text(run.info.run_id, table, "samples.json")
            tables = json.dumps([{"path": "samples.json", "type": "table"}])
            self._client.set_tag(run.info.run_id, "mlflow.loggedArtifacts", tables)
            self._describe(run)
        self._last_step = records[-1].step

    def _metrics(self, record: StepRecord) -> list[Metric]:
        # Steps of a process before have no moment of their own, but come before all others.
        at, rates = self.account.moments.get(record.step, (self.account.started, {}))
        values = {
            "loss/train": record.loss_train,
            "loss/val": record.loss_val,
            "grad_norm": record.grad_norm,
            "lr": record.lr,
            "tokens": record.tokens,
        } | rates
        return [Metric(k, v, at, record.step) for k, v in values.items() if v is not None]

    def _send_model(self, run: Run) -> Run:
        """Log the model, unless the run has it; return the run that has it now.

        A result that another run shows already, as when `dvc` was killed before it knew of it,
        stays with that one.
        """
        model, run_id = self.account.model, run.info.run_id
        assert model is not None
        if _RESULT in self._client.get_run(run_id).data.tags:
            return run
        if same := next(self._of_same_result(), None):
            self.rest()
            self._client.delete_run(run_id)
            _say(f"the run {same.info.run_name!r} has this result; the new one is withdrawn")
            self.account.run_id = same.info.run_id
            return same
        from stages.tracking import served_model  # with it comes torch, which takes seconds

        self._client.log_figure(run_id, loss_figure(self.account.records), "plots/loss.png")
        self._client.log_artifact(run_id, str(model / "history.csv"))
        with mlflow.start_run(run_id=run_id, log_system_metrics=False):
            mlflow.pyfunc.log_model(
                name="model",
                python_model=served_model.__file__,
                artifacts={"poet": str(model)},
                code_paths=[str(Path(__file__).parents[2] / "nanopoet")],
                signature=served_model.SIGNATURE,
                input_example=(pd.DataFrame({"prompt": ["床前明月光"]}), {"max_new_tokens": 8}),
                pip_requirements=[
                    f"{name}=={version(name).split('+')[0]}" for name in served_model.REQUIREMENTS
                ],
                registered_model_name=MODEL_NAME,
            )
        self._client.set_tag(run_id, _RESULT, digest(model))
        return run

    def _send_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        run_id, step = run.info.run_id, self._last_step
        values, known = evaluation.metrics(), self._client.get_run(run_id).data.metrics
        metrics = [Metric(k, v, now(), step) for k, v in values.items() if known.get(k) != v]
        params = [Param(*item) for item in evaluation.params.items()]
        self._client.log_batch(run_id, metrics=metrics, params=params)
        self._client.log_text(run_id, evaluation.samples, "samples.txt")
        self._client.log_figure(run_id, forms_figure(evaluation.forms), "plots/loss_by_form.png")
        if evaluation.report:
            self._client.log_text(run_id, evaluation.report, "report.html")
        self._move_best(run_id)

    def _move_best(self, run_id: str) -> None:
        """Let the alias name this run's model if no other did better on the same poems."""
        client = self._client
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        if not versions:
            return  # somebody has deleted it
        this = client.get_run(run_id)
        other = self._best_run()
        if other and _validation(other) == _validation(this) and _nats(other) <= _nats(this):
            return
        client.set_registered_model_alias(MODEL_NAME, BEST, versions[0].version)

    def _best_run(self) -> Run | None:
        """The run whose model the alias names, if there is one."""
        try:
            best = self._client.get_model_version_by_alias(MODEL_NAME, BEST)
            return self._client.get_run(best.run_id or "")
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            return None

    def _describe(self, run: Run) -> None:
        self._client.set_tag(run.info.run_id, "mlflow.note.content", self.account.description())


def _validation(run: Run) -> list[str]:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return [each.dataset.digest for each in inputs if each.dataset.name == "poems/val"]


def _nats(run: Run) -> float:
    return float(run.data.metrics.get("evaluate/nats_per_character", math.inf))


def _dataset(name: str, digest: str) -> DatasetInput:
    path = "data/" + name.removeprefix("poems/")
    context = {"poems/train": "training", "poems/val": "validation"}.get(name, "vocabulary")
    dataset = Dataset(name, digest[:32], "local", json.dumps({"uri": path}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _held(lock: Path) -> bool:
    """Whether a process holds a lock."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, blocking=False):
            return False
    except Timeout:
        return True


def _account_of(params: Params, model: Path) -> Account:
    """What is to tell about a model folder: as it waits in the outbox, else from its files."""
    waiting = OUTBOX / digest(model)
    if (waiting / "account.json").exists():
        return Account.load(waiting)
    account = Account.begin(params, read_history(model))
    account.tags["nanopoet.rebuilt"] = "true"
    account.model, account.status = model, "FINISHED"
    return account


def _keep(account: Account) -> None:
    """Put an account into the outbox."""
    folder = _place(account)
    with _outbox_lock():
        try:
            account.save(folder)
        except OSError:  # a disk that is full
            shutil.rmtree(folder, ignore_errors=True)
            raise
    _say(f"the run is kept in {folder.parent}; the next stage or `make ui` delivers it")


def _drop(account: Account) -> None:
    """Take what an earlier try of the same training left out of the outbox."""
    shutil.rmtree(_place(account), ignore_errors=True)


def _place(account: Account) -> Path:
    """Where an account waits: by its result, or by its training if there is none."""
    return OUTBOX / (digest(account.model) if account.model else Path(account.tags[_LOCK]).stem)


def _deliver_outbox() -> None:
    """Deliver what waits; raises one of `STORE_ERRORS` as soon as the store does not take it."""
    if not OUTBOX.exists():
        return
    with _outbox_lock():
        for folder in sorted(OUTBOX.iterdir()):
            if (folder / "account.json").exists():
                _Courier(Account.load(folder)).deliver()
            shutil.rmtree(folder)  # it is told, or was killed half-way to the outbox


def _outbox_lock() -> FileLock:
    OUTBOX.parent.mkdir(exist_ok=True)
    return FileLock(OUTBOX.with_suffix(".lock"))


def _connect() -> str:
    """Choose the store: MLFLOW_TRACKING_URI, else one SQLite file in the repository's root.

    Returns:
        id of the experiment.
    """
    # Two that meet an empty store race on its first migration and one fails.
    with FileLock(ROOT / ".mlflow.lock"):
        artifacts = None
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            store = ROOT.resolve() / "mlflow.db"
            if not store.exists():
                make_store(store)
            mlflow.set_tracking_uri(f"sqlite:///{store}")
            # Left to itself, MLflow puts artifacts below the folder of whoever came first.
            artifacts = (ROOT.resolve() / "mlartifacts").as_uri()
        experiment = mlflow.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
        found: Any = mlflow.set_experiment(EXPERIMENT)
        return str(found.experiment_id)


def make_store(path: Path) -> None:
    """Make an empty SQLite store, whole or not at all.

    MLflow makes its tables in many steps and cannot go on from the middle of them, which
    is where a full disk or kill -9 may leave it.
    """
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    mlflow.MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(path)


def _where() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "here")
    return f"at {uri}" if uri.startswith("http") else "here"


def _reason(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 160 else text[:157] + "..."


def _say(text: str) -> None:
    tqdm.write(f"{Path(sys.argv[0]).stem}: {text}", file=sys.stderr)
