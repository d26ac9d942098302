"""Addresses of pages of MLflow's UI, in the view for model training.

MLflow opens its view for GenAI unless the address names the other one, or the browser remembers it.
Neither a tag of the experiment nor an option of the server decides that.
"""

import json
from collections.abc import Sequence
from urllib.parse import quote

_VIEW = "workflowType=machine_learning"


def runs_page(server: str, experiment_id: str) -> str:
    """Return the address of the list of runs."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{_VIEW}"


def models_page(server: str, experiment_id: str) -> str:
    """Return the address of the list of logged models."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/models?{_VIEW}"


def compare_page(server: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Return the address at which runs are compared."""
    runs, experiments = (quote(json.dumps(ids)) for ids in ([*run_ids], [experiment_id]))
    return f"{server.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{_VIEW}"
