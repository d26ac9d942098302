"""A run in MLflow's store, brought to what a record says."""

import getpass
import json
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock, Timeout
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run

from nanopoet.report.charts import NATS, bars_chart, loss_chart
from stages.tracking.description import describe, evaluation_metrics, samples_table, step_metrics
from stages.tracking.logged_models import LoggedModels
from stages.tracking.provenance import digest
from stages.tracking.record import DIGEST_LENGTH, VAL, RunRecord, now
from stages.tracking.store import connect, say
from stages.tracking.trainings import TRAININGS

HOST, LOCK = "nanopoet.host", "nanopoet.lock"
"""Tags that name the machine of a training and the file that it locks."""

_RESULT = "nanopoet.result"
_NATS = "evaluate/nats_per_character"
_METRICS_PER_CALL = 1000
"""MLflow's own limit."""


class StoredRun:
    """The run of a record, found or made. Its methods raise the errors of MLflow.

    Attributes:
        record: all that the run shows. It learns the id of the run.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self._experiment, self._client = connect(), mlflow.MlflowClient()
        run = next(self._agreeing(self._candidates()), None) or self._create()
        self._id = record.run_id = run.info.run_id
        if record.status == "RUNNING":
            self._client.update_run(self._id, status="RUNNING")
        self._client.log_batch(self._id, params=[Param(*each) for each in record.params.items()])
        self._client.log_inputs(self._id, [_dataset(*each) for each in record.inputs.items()])
        self._models = LoggedModels(record, run)
        self._tokens_sent = run.data.metrics.get("tokens", 0)

    def send(self) -> None:
        """Send what the run lacks. A record that is no longer RUNNING ends its run."""
        record = self.record
        has_ended = record.status != "RUNNING"
        models = [*record.models.items()]  # before the steps, whose losses go to them
        has_samples = self._send_steps()
        if has_ended and record.model:
            self._continue_other(record.model)
        for step, folder in models:
            self._models.send(step, folder, f"model_step_{step}")
        if not has_samples and not has_ended:
            return
        self._send_samples()
        if has_ended and record.model:
            self._send_model(record.model)
        if has_ended and record.evaluation:
            self._send_evaluation(record.evaluation)
        run = self._client.get_run(self._id)
        if record.evaluation or _NATS not in run.data.metrics:
            self._tag("mlflow.note.content", describe(record))
        if has_ended and run.info.status != record.status:
            self._client.set_terminated(self._id, record.status)

    def _candidates(self) -> Iterator[Run]:
        """Find the run that the record names, then unfinished ones of the same training, then
        those of the same result.
        """
        record = self.record
        if record.run_id:
            yield from self._search(f"attributes.run_id = '{record.run_id}'")
        if lock := record.tags.get(LOCK):  # the saved state of a training may lack the id
            yield from (run for run in self._unfinished() if run.data.tags.get(LOCK) == lock)
        if record.model:
            yield from self._search(_same_result(record.model))

    def _agreeing(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Pick runs whose params agree with the record's, as far as they have them."""
        for run in runs:
            known = run.data.params
            if all(known.get(name, value) == value for name, value in self.record.params.items()):
                yield run

    def _create(self) -> Run:
        """Make the run, and mark runs of this machine KILLED if their training has died."""
        record = self.record
        for run in self._unfinished():
            lock = run.data.tags.get(LOCK, "")
            is_own = lock == record.tags.get(LOCK)
            if run.info.status == "RUNNING" and (is_own or not _is_held(Path(lock))):
                self._client.set_terminated(run.info.run_id, "KILLED")
        tags = record.tags | {"mlflow.user": getpass.getuser()}
        tags |= {"mlflow.source.name": "dvc.yaml", "mlflow.source.type": "LOCAL"}
        if base := TRAININGS[record.stage].base:  # MLflow shows this run below that of its base
            runs = self._search(_same_result(base))
            tags |= {"mlflow.parentRunId": runs[0].info.run_id} if runs else {}
        return self._client.create_run(self._experiment, record.started, tags, record.name)

    def _unfinished(self) -> Sequence[Run]:
        here = f"tags.`{HOST}` = '{socket.gethostname()}'"
        return self._search(f"{here} and attributes.status != 'FINISHED'")

    def _search(self, query: str, *order: str) -> Sequence[Run]:
        """Find active runs, the newest first unless told otherwise."""
        return self._client.search_runs([self._experiment], query, order_by=list(order))

    def _send_steps(self) -> bool:
        """Send the metrics of new steps, and return whether one of them has samples."""
        steps = [s for s in list(self.record.steps) if s.record.tokens > self._tokens_sent]
        metrics = [
            Metric(name, value, step.time, step.record.step)
            for step in steps
            for name, value in step_metrics(step).items()
        ]
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            self._client.log_batch(self._id, metrics[start : start + _METRICS_PER_CALL])
        self._tokens_sent = max([self._tokens_sent, *(step.record.tokens for step in steps)])
        return any(step.record.samples for step in steps)

    def _send_samples(self) -> None:
        """Replace the table of samples; MLflow's `log_table` would append to it."""
        table = samples_table(self.record)
        if table["data"]:
            self._client.log_dict(self._id, table, "samples.json")
            tables = [{"path": "samples.json", "type": "table"}]
            self._tag("mlflow.loggedArtifacts", json.dumps(tables))

    def _continue_other(self, model: Path) -> None:
        """Delete this run, and continue another one if that has this result.

        This happens when `dvc` is killed before it notes that `pretrain` has ended.
        """
        if _RESULT in self._client.get_run(self._id).data.tags:
            return
        if other := next(self._agreeing(self._search(_same_result(model))), None):
            self._models.delete()
            self._client.delete_run(self._id)
            self._id = self.record.run_id = other.info.run_id
            self._models = LoggedModels(self.record, other)
            say(f"the run {other.info.run_name!r} has this result; the new one is deleted")

    def _send_model(self, model: Path) -> None:
        """Log and register the model, unless that is done."""
        record = self.record
        if not self._models.has(record.last_step):
            self._client.log_artifact(self._id, str(model / "history.csv"))
            self._send_chart("loss", loss_chart([step.record for step in record.steps]))
            self._models.send(record.last_step, model, "model")
        self._models.register(record.last_step, TRAININGS[record.stage].registered)
        if record.last_step and self._models.has(0):
            self._models.delete(0)  # an earlier commit gave it the metrics of step 0
        self._tag(_RESULT, digest(model))

    def _send_evaluation(self, figures: dict[str, Any]) -> None:
        record, at = self.record, now()
        metrics = evaluation_metrics(figures).items()
        self._models.measure(record.last_step, [Metric(*each, at, 0) for each in metrics])
        self._client.log_text(self._id, record.poems, "samples.txt")
        name, shown = TRAININGS[record.stage].chart
        self._send_chart(name, bars_chart({"model": figures[shown]}, NATS))
        if record.report:
            self._client.log_text(self._id, record.report, "report.html")
        # The alias names the best model on these poems that nobody has deleted.
        registered = TRAININGS[record.stage].registered
        same_poems = f"dataset.digest = '{record.val_digest}'"
        order = f"metrics.`{_NATS}` ASC", "attributes.start_time ASC"
        for run in self._search(same_poems, *order):
            of_run = f"name = '{registered}' and run_id = '{run.info.run_id}'"
            if versions := self._client.search_model_versions(of_run):
                self._client.set_registered_model_alias(registered, "best", versions[0].version)
                break

    def _tag(self, name: str, value: str) -> None:
        self._client.set_tag(self._id, name, value)

    def _send_chart(self, name: str, svg: str) -> None:
        on_white = svg.replace("<svg ", '<svg style="background: white" ', 1)
        self._client.log_text(self._id, on_white, f"plots/{name}.svg")


def _same_result(model: Path) -> str:
    return f"tags.`{_RESULT}` = '{digest(model)}'"


def _dataset(name: str, digest: str) -> DatasetInput:
    path = "data/" + name.removeprefix("poems/")
    context = {"poems/train": "training", VAL: "validation"}.get(name, "vocabulary")
    dataset = Dataset(name, digest[:DIGEST_LENGTH], "local", json.dumps({"uri": path}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _is_held(lock: Path) -> bool:
    """Tell whether a process holds a lock."""
    if not lock.is_file():
        return False
    with suppress(Timeout), FileLock(lock, blocking=False):
        return False
    return True
