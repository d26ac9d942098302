"""Open the MLflow UI on the runs of this project, on the loopback address."""

import os
import signal
import socket
import subprocess
import sys

from stages.runner import run
from stages.tracking.errors import without_password
from stages.tracking.pages import compare_page, models_page, runs_page
from stages.tracking.store import newest_runs
from stages.tracking.uploader import open_store


def main() -> None:
    """Print the addresses of some pages, and serve the UI until it is interrupted."""
    store, experiment_id = open_store()
    port = str(_free_port())
    is_remote = store.startswith("http")
    server = without_password(store, "") if is_remote else f"http://127.0.0.1:{port}"
    print(f"runs     {runs_page(server, experiment_id)}")
    print(f"models   {models_page(server, experiment_id)}")
    if len(newest := newest_runs(experiment_id, 2)) == 2:
        print(f"compare  {compare_page(server, experiment_id, newest)}")
    if is_remote:
        return
    print("stop with Ctrl-C", flush=True)
    # By default MLflow also starts a job runner and seven idle workers.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)  # with its workers


def _free_port() -> int:
    """Return MLflow's default port 5000, or any free port if 5000 is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 5000))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    run(main)
