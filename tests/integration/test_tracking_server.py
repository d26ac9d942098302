"""An MLflow server that dies, hangs, is away or is far away costs no training and no run."""

import json
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.tracking import (
    EVAL_EVERY,
    STEPS,
    Server,
    SlowProxy,
    assert_whole,
    train_until,
)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Start servers on a store; they are stopped at the end."""
    with ExitStack() as stack:

        def start(store: str) -> Server:
            server = Server(store, tmp_path)
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def absent(own: Project, tmp_path: Path) -> Iterator[Server]:
    """A server that `own` is to use, and that does not run yet."""
    server = Server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    own.environment |= {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    yield server
    server.stop()


def _unsent(project: Project) -> list[Path]:
    """List the records that wait."""
    return list((project.folder / ".nanopoet/unsent").iterdir())


@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_lost_server_loses_nothing(
    own: Project, start_server: Callable[[str], Server], tmp_path: Path, how: str
) -> None:
    server = start_server(f"sqlite:///{tmp_path / 'mlflow.db'}")
    own.environment |= {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    with train_until(own, EVAL_EVERY) as process:
        server.signal(signal.SIGKILL if how == "dies" else signal.SIGSTOP)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert errors.count("does not answer") == 1
    assert errors.count("or `make ui` that can use MLflow sends it") == 1
    [kept] = _unsent(own)
    assert json.loads((kept / "record.json").read_text())["status"] == "FINISHED"

    done = own.run("stages.evaluate")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("does not answer") == 1
    assert _unsent(own) == [kept]

    server.stop()
    server.start()
    [run] = own.tracked()
    assert_whole(run)
    assert "evaluate/nats_per_character" in run["metrics"]
    assert "nanopoet.rebuilt" not in run["tags"]
    assert _unsent(own) == []


def test_a_server_that_comes_back_has_every_step(own: Project, absent: Server) -> None:
    own.set(pretrain={"max_steps": 100_000, "eval_every": 50_000})
    with own.start("stages.pretrain") as process:
        assert process.stderr is not None
        assert "does not answer" in process.stderr.readline()
        absent.start()
        assert "answers again" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    [run] = own.tracked()
    assert run["status"] == "KILLED"
    assert run["train"] == list(range(len(run["train"])))
    assert len(run["train"]) > 100


def test_a_failed_training_is_reported_afterwards(own: Project, absent: Server) -> None:
    own.set(pretrain={"lr": 1e30})
    done = own.run("stages.pretrain")
    assert done.returncode == 1
    assert "training diverged at step" in done.stderr
    assert "Traceback" not in done.stderr
    absent.start()
    [run] = own.tracked()
    assert run["status"] == "FAILED"
    assert run["train"] == list(range(len(run["train"])))
    assert run["models"] == []
    assert _unsent(own) == []


def test_two_results_wait_for_a_server(own: Project, absent: Server) -> None:
    """The second training replaces the model folder of the first, which is sent nonetheless."""
    for seed in (1, 2):
        own.set(pretrain={"max_steps": 3, "seed": seed})
        assert own.run("stages.pretrain").returncode == 0
    assert len(_unsent(own)) == 2
    absent.start()
    runs = own.tracked()
    assert {run["params"]["pretrain.seed"] for run in runs} == {"1", "2"}
    assert all(run["status"] == "FINISHED" and len(run["models"]) == 1 for run in runs)


def test_the_ui_says_in_one_line_that_the_server_is_away(own: Project, absent: Server) -> None:
    done = own.run("tools.mlflow_ui")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: mlflow_ui: MLflow at {absent.uri} does not answer (")


@pytest.mark.slow
def test_a_far_server_delays_no_step(
    own: Project, start_server: Callable[[str], Server], tmp_path: Path
) -> None:
    """Each call takes 0.1 s and more. In the thread of the training that would show."""
    server = start_server(f"sqlite:///{tmp_path / 'mlflow.db'}")
    handler = type("Handler", (SlowProxy,), {"port": int(server.uri.rsplit(":", 1)[1])})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        own.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{proxy.server_address[1]}"
        with train_until(own, 0) as process:
            start = time.monotonic()
            assert process.stdout is not None
            printed = [line for line in process.stdout if line.startswith("step")]
            training = time.monotonic() - start  # the last evaluation is at the last step
            _, errors = process.communicate()
        proxy.shutdown()
    own.environment["MLFLOW_TRACKING_URI"] = server.uri
    assert process.returncode == 0, errors
    assert "does not answer" not in errors
    assert len(printed) == STEPS // EVAL_EVERY
    [run] = own.tracked()
    assert_whole(run)
    assert training < STEPS * 0.1  # the time that one call for each step would take


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URI of a PostgreSQL server on a socket of its own."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("no PostgreSQL here: Debian's package `postgresql` has it")
    folder = Path(tempfile.mkdtemp(prefix="nanopoet-postgres-"))
    prefix: list[str] = []
    if Path.home() == Path("/root"):  # it refuses to run as root
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(programs[-1] / program), *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    run("initdb", "--auth", "trust", "--username", "postgres", "--pgdata", data)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    run("pg_ctl", "start", "--wait", "-D", data, "-o", options, "-l", str(folder / "log"))
    yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    run("pg_ctl", "stop", "-m", "immediate", "-D", data)
    shutil.rmtree(folder)


def test_a_server_on_postgresql_takes_a_training(
    own: Project, prepared: Path, start_server: Callable[[str], Server], postgres: str
) -> None:
    own.environment["MLFLOW_TRACKING_URI"] = start_server(postgres).uri
    assert own.repro() == ["pretrain", "evaluate", "report"]
    [run] = own.tracked()
    assert_whole(run)
    assert "evaluate/nats_per_character_by_form/五言绝句" in run["metrics"]
    assert (own.folder / "mlflow.db").read_bytes() == (prepared / "mlflow.db").read_bytes()
    assert not (own.folder / "mlartifacts").exists()
    script = """
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/nanopoet@best")
poems = model.predict(pd.DataFrame({"prompt": ["山"]}), params={"max_new_tokens": 3, "count": 2})
assert all(poem.startswith("山") for poem in poems["poem"]), poems
"""
    (own.folder / "tests_load.py").write_text(script)
    done = own.run("tests_load")
    assert done.returncode == 0, done.stderr
