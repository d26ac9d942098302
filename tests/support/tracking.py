"""Trainings that tests interrupt, and MLflow servers that tests stop or ask for poems."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.browser import free_port, wait_for
from tests.support.project import Project

STEPS, EVAL_EVERY = 300, 50
"""A training of some seconds."""


def train_until(project: Project, step: int) -> subprocess.Popen[str]:
    """Start `pretrain` and wait until it has printed a step."""
    process = project.start("stages.pretrain")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"step {step:5d}"):
            return process
    raise AssertionError(process.communicate()[1])


def assert_whole(run: dict[str, Any]) -> None:
    """Check that a run has finished and has each step of the training once."""
    assert run["status"] == "FINISHED"
    assert run["train"] == list(range(STEPS))
    assert [step for step, _ in run["val"]] == [*range(0, STEPS, EVAL_EVERY), STEPS - 1]
    assert len(run["models"]) == 1


def ask(
    url: str, prompts: list[str], wishes: dict[str, Any] | None = None, **params: Any
) -> tuple[int, dict[str, Any]]:
    """Ask the served model for poems, with wishes for the first; return HTTP status and answer."""
    rows: list[dict[str, Any]] = [{"prompt": prompt} for prompt in prompts]
    rows[0] |= wishes or {}
    body = {"dataframe_records": rows, "params": params}
    request = urllib.request.Request(  # noqa: S310
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Server:
    """A `mlflow server` that can be started, stopped and started again on the same port."""

    def __init__(self, store: str, folder: Path) -> None:
        port = str(free_port())
        self.uri = f"http://127.0.0.1:{port}"
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store),
            *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
            *("--host", "127.0.0.1", "--port", port),
        ]
        self._log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self._log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", *self._command],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(f"{self.uri}/health")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """Kill it, unless it does not run."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()


class SlowProxy(socketserver.BaseRequestHandler):
    """Passes bytes on to a port of this machine, each answer `delay` seconds late."""

    port: int
    delay = 0.1

    def handle(self) -> None:
        """Pass on one connection in both directions."""
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            forward = threading.Thread(target=self._pass, args=(self.request, server, 0.0))
            forward.start()
            self._pass(server, self.request, self.delay)
            forward.join()

    def _pass(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        try:
            while data := source.recv(1 << 16):
                time.sleep(delay)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side has closed the connection
