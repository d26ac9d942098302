"""Print all that MLflow has of each run of the project in this folder, as JSON."""

import json
from typing import Any

import mlflow

from stages.tracking.uploader import open_store


def stored_runs() -> list[dict[str, Any]]:
    """Return each run, the oldest first."""
    _, experiment = open_store()
    client = mlflow.MlflowClient()
    try:
        best = client.get_model_version_by_alias("nanopoet", "best").run_id
    except mlflow.MlflowException:
        best = None
    found = []
    for run in client.search_runs([experiment], order_by=["attributes.start_time ASC"]):
        assert run.inputs is not None
        assert run.outputs is not None
        run_id, steps = run.info.run_id, client.get_metric_history
        found.append(
            {
                "id": run_id,
                "best": run_id == best,
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "tags": run.data.tags,
                "inputs": [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs],
                "models": _models(experiment, run_id, run.outputs.model_outputs),
                "val": [(m.step, m.value) for m in steps(run_id, "loss/val")],
                "train": [m.step for m in steps(run_id, "loss/train")],
                "files": [file.path for file in client.list_artifacts(run_id)],
                "pictures": [file.path for file in client.list_artifacts(run_id, "plots")],
            }
        )
    return found


def _models(experiment: str, run_id: str, outputs: list[Any]) -> list[dict[str, Any]]:
    """Return the logged models of a run that are not deleted, by step."""
    versions = mlflow.MlflowClient().search_model_versions(f"run_id = '{run_id}'")
    version_of = {each.source: f"{each.name} {each.version}" for each in versions}
    steps = {output.model_id: output.step for output in outputs}
    query = f"source_run_id = '{run_id}'"
    found = mlflow.search_logged_models([experiment], query, output_format="list")
    models = [
        {
            "id": model.model_id,
            "name": model.name,
            "step": steps[model.model_id],
            "status": str(model.status),
            "params": model.params,
            "version": version_of.get(f"models:/{model.model_id}"),
            "metrics": {
                metric.key: [metric.value, metric.step, metric.dataset_name, metric.dataset_digest]
                for metric in model.metrics or []
            },
        }
        for model in found
    ]
    return sorted(models, key=lambda model: int(model["step"]))


if __name__ == "__main__":
    print(json.dumps(stored_runs()))
