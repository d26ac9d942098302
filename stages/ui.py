"""Open the MLflow UI on the runs of this project, on the loopback address."""

import os
import subprocess
import sys

from stages.stage import run
from stages.tracking import store_and_experiment

PORT = "5000"


def main() -> None:
    store, experiment_id = store_and_experiment()
    view = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    print(f"open http://127.0.0.1:{PORT}/{view} and stop with Ctrl-C", flush=True)
    # Without this MLflow starts a job runner and seven idle workers beside the server.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--host", "127.0.0.1", "--port", PORT, "--workers", "1"]
    subprocess.run(command, env=environment, check=False)


if __name__ == "__main__":
    run(main)
