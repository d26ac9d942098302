"""The run of a result: live while it trains, complete once its files are there.

Sending a record again changes nothing, so an uploader that lost its store starts anew. While the
store is away, the training continues. What could not be sent waits in `UNSENT` for the next stage.
"""

import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from nanopoet.param_sections import Params
from nanopoet.training.history import StepRecord
from stages.runner import ROOT
from stages.tracking.errors import StoreError, store_errors
from stages.tracking.provenance import digest
from stages.tracking.record import RunRecord
from stages.tracking.store import connect, say
from stages.tracking.stored_run import HOST, LOCK, StoredRun
from stages.tracking.trainings import TRAININGS

UNSENT = ROOT / ".nanopoet/unsent"
"""Folder of the records that could not be sent."""

_UNSENT_LOCK = FileLock(UNSENT.with_suffix(".lock"))
_LONGEST_WAIT = 60
"""Seconds between two tries, at most, while the store is away."""


@contextmanager
def open_run(
    stage: str, params: Params, run_id: str | None, records: Sequence[StepRecord], lock: Path
) -> Iterator[RunRecord]:
    """Send the record of a training while it grows, and close its run at the end.

    The run ends as FINISHED, FAILED or KILLED. A killed training is not kept in `UNSENT`: when it
    continues, it sends all its steps.

    Args:
        stage: the stage that trains.
        params: of the pipeline.
        run_id: the run that a resumed training continues, if its saved state names one.
        records: steps of earlier processes.
        lock: file that this process locks while it trains.
    """
    record = RunRecord.begin(stage, params, records)
    record.run_id = run_id
    record.tags |= {HOST: socket.gethostname(), LOCK: str(lock.resolve())}
    shutil.rmtree(_folder(record), ignore_errors=True)  # this training sends all of it
    uploader, stop, status = Uploader(record), threading.Event(), "FAILED"
    thread = ThreadPoolExecutor(1).submit(uploader.keep_sending, stop)
    try:
        yield record
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        stop.set()
        bug = thread.exception()
        record.status = status
        if not uploader.try_to_send() and status != "KILLED":
            _keep(record)
        if bug:
            raise bug


def publish(stage: str, params: Params, report: str | None = None) -> None:
    """Bring the run of a result to what its files say; make the run again if it is lost.

    Args:
        stage: the stage that trained; its model is evaluated.
        params: of the pipeline.
        report: the HTML page, if it is written yet.
    """
    with _UNSENT_LOCK:
        waiting = RunRecord.load(UNSENT / digest(TRAININGS[stage].model))
        record = waiting or RunRecord.from_files(stage, params)
        record.add_evaluation(params, report)
        if Uploader(record).try_to_send():
            shutil.rmtree(_folder(record), ignore_errors=True)
            send_unsent()
        else:
            _keep(record)


def send_unsent() -> None:
    """Send the records that wait, as far as the store takes them."""
    with _UNSENT_LOCK:
        for folder in sorted(UNSENT.iterdir()) if UNSENT.exists() else ():
            record = RunRecord.load(folder)
            if record and not Uploader(record).try_to_send():
                break
            shutil.rmtree(folder)  # it is sent, or a killed process did not write it whole


def open_store() -> tuple[str, str]:
    """Connect to the store and send what waits; return its URI and the id of the experiment.

    Raises:
        StoreError: the store cannot be reached.
    """
    with store_errors():
        experiment_id = connect()
    send_unsent()
    return mlflow.get_tracking_uri(), experiment_id


def _keep(record: RunRecord) -> None:
    with _UNSENT_LOCK:
        try:
            record.save(_folder(record))
        except OSError:  # such as a full disk
            shutil.rmtree(_folder(record), ignore_errors=True)
            raise
    who = "the next `evaluate`, `report` or `make ui` that can use MLflow"
    say(f"the run is kept in {UNSENT}; {who} sends it")


def _folder(record: RunRecord) -> Path:
    """Return the folder of a record that waits, named after its result or its training."""
    return UNSENT / (digest(record.model) if record.model else Path(record.tags[LOCK]).stem)


class Uploader:
    """Sends a record to its run, once or again and again; what the run has is not sent twice."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._run: StoredRun | None = None
        self._monitor: Any = None
        self._is_away = False

    def try_to_send(self) -> bool:
        """Send what the run lacks, and return whether the store took it."""
        try:
            with store_errors():
                self._run = self._run or StoredRun(self._record)
                self._run.send()
                if self._record.status == "RUNNING" and not self._monitor:
                    monitor: Any = SystemMetricsMonitor  # MLflow gives it no types
                    self._monitor = monitor(self._record.run_id, resume_logging=True)
                    self._monitor.start()
        except StoreError as error:
            if not self._is_away:
                going_on = self._record.status == "RUNNING"
                say(f"{error}{'; the training continues' if going_on else ''}")
            self._run, self._is_away = None, True  # a new one asks the store what has arrived
            return False
        if self._is_away:
            say("MLflow answers again")
        self._is_away = False
        return True

    def keep_sending(self, stop: threading.Event) -> None:
        """Send what is new each second, less often while the store is away."""
        wait = 0.0
        while not stop.wait(wait):
            wait = 1 if self.try_to_send() else min(_LONGEST_WAIT, 2 * wait + 1)
        if self._monitor:
            self._monitor.finish()
