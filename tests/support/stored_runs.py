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
                "models": [output.model_id for output in run.outputs.model_outputs],
                "val": [(m.step, m.value) for m in steps(run_id, "loss/val")],
                "train": [m.step for m in steps(run_id, "loss/train")],
                "files": [file.path for file in client.list_artifacts(run_id)],
                "pictures": [file.path for file in client.list_artifacts(run_id, "plots")],
            }
        )
    return found


if __name__ == "__main__":
    print(json.dumps(stored_runs()))
