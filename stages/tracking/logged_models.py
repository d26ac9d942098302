"""The models of a run. MLflow keeps each apart from its run, with metrics of its own."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run

from stages.tracking.description import is_measured_on_val, is_of_weights
from stages.tracking.record import VAL, RunRecord


class LoggedModels:
    """The logged models of a run: one for each step whose weights MLflow gets.

    Args:
        record: of the run. Its parameters become those of the models.
        run: as the store has it.
    """

    def __init__(self, record: RunRecord, run: Run) -> None:
        self._record, self._run = record, run.info
        self._client = mlflow.MlflowClient()
        found: list[LoggedModel] = mlflow.search_logged_models(  # without those that are deleted
            [run.info.experiment_id],
            f"source_run_id = '{run.info.run_id}'",
            output_format="list",
        )
        ready = {each.model_id: each.status == LoggedModelStatus.READY for each in found}
        outputs = run.outputs.model_outputs if run.outputs else []
        self._ids = {each.step: each.model_id for each in outputs if each.model_id in ready}
        # A process that is killed inside `_create` leaves a model whose step nobody knows.
        for model_id in ready.keys() - self._ids.values():
            self._client.delete_logged_model(model_id)
        self._ready = {step for step, model_id in self._ids.items() if ready[model_id]}

    def has(self, step: int) -> bool:
        """Tell whether the model of a step is there, with its files."""
        return step in self._ready

    def send(self, step: int, folder: Path, name: str) -> None:
        """Log a model folder as the model of a step, unless it is there.

        It gets the metrics of its weights that the run has at that step.

        Raises:
            FileError: the folder is damaged.
        """
        if self.has(step):
            return
        from nanopoet.models.checkpoint import load_model  # loads torch, which takes seconds
        from stages.tracking import served_model

        load_model(folder)  # no damaged model becomes a version

        if step not in self._ids:
            self._ids[step] = self._create(step, name)
        run_id = self._run.run_id
        names = filter(is_of_weights, self._client.get_run(run_id).data.metrics)
        points = [each for name in names for each in self._client.get_metric_history(run_id, name)]
        self.measure(step, [each for each in points if each.step == step])
        # Within a run MLflow would give the model whatever the run has at that step. That includes
        # system metrics, which count steps of their own.
        assert mlflow.active_run() is None
        mlflow.pyfunc.log_model(
            name=name,
            model_id=self._ids[step],
            python_model=served_model.__file__,
            artifacts={"poet": str(folder)},
            code_paths=[str(Path(__file__).parents[2] / "nanopoet")],
            signature=served_model.SIGNATURE,
            input_example=served_model.INPUT_EXAMPLE,
            pip_requirements=[
                f"{package}=={version(package).split('+')[0]}"
                for package in served_model.REQUIREMENTS
            ],
        )
        self._ready.add(step)

    def register(self, step: int, name: str) -> None:
        """Make the model of a step the next version of a registered model, unless it is one."""
        model = f"models:/{self._ids[step]}"
        versions = self._client.search_model_versions(f"run_id = '{self._run.run_id}'")
        if model not in {each.source for each in versions}:
            mlflow.register_model(model, name)

    def measure(self, step: int, metrics: Iterable[Metric]) -> None:
        """Give metrics to the run and to the model of a step, as far as they lack them."""
        run_id, model_id = self._run.run_id, self._ids.get(step)
        known = set(self._client.get_run(run_id).data.metrics.items())
        if model_id:
            measured = self._client.get_logged_model(model_id).metrics or []
            known = {(each.key, each.value) for each in measured}
        val = VAL, self._record.val_digest
        new = [
            Metric(each.key, each.value, each.timestamp, step, model_id, *dataset)
            for each in metrics
            for dataset in [val if is_measured_on_val(each.key) else (None, None)]
            if (each.key, each.value) not in known
        ]
        self._client.log_batch(run_id, new)

    def delete(self, *steps: int) -> None:
        """Delete the models of some steps, or of all."""
        for step in steps or list(self._ids):
            self._client.delete_logged_model(self._ids.pop(step))

    def _create(self, step: int, name: str) -> str:
        """Make a logged model without files, as an output of the run."""
        model = mlflow.initialize_logged_model(
            name,
            source_run_id=self._run.run_id,
            params=self._record.params,
            experiment_id=self._run.experiment_id,
        )
        self._client.log_outputs(self._run.run_id, [LoggedModelOutput(model.model_id, step)])
        return str(model.model_id)
