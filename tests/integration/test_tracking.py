"""One truthful run per result, whatever happens to the training or to the store."""

import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nanopoet.corpus.poems import write_poems
from nanopoet.training.history import StepRecord
from stages.tracking.record import Account, Evaluation
from tests.support.browser import free_port, wait_for
from tests.support.params import SMALL, STAGES
from tests.support.poems import make_poems
from tests.support.project import Project

STEPS, LOOK = 600, 100
"""A training of some seconds."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all before `pretrain` is done and committed, with an empty store."""
    folder = tmp_path_factory.mktemp("prepared")
    project = Project(folder, load={"source": "mine.jsonl"}, **SMALL)
    project.set(pretrain={"max_steps": STEPS, "eval_every": LOOK, "checkpoint_every": 50})
    write_poems(folder / "mine.jsonl", make_poems(300))
    project.repro("baseline")
    project.commit()
    script = "from pathlib import Path; from stages.tracking.uploader import make_store as m"
    (folder / "tests_store.py").write_text(f"{script}; m(Path('mlflow.db').resolve())")
    assert project.run("tests_store").returncode == 0
    return folder


@pytest.fixture
def own(prepared: Path, tmp_path: Path) -> Project:
    """A project of the test's own."""
    return Project.at(shutil.copytree(prepared, tmp_path / "own"))


def _train_until(project: Project, step: int) -> subprocess.Popen[str]:
    """Start `pretrain` and wait until it has told of a step."""
    process = project.start("stages.pretrain")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"step {step:5d}"):
            return process
    raise AssertionError(process.communicate()[1])


def _whole(run: dict[str, Any]) -> None:
    """A finished run has each step once."""
    assert run["status"] == "FINISHED"
    assert run["train"] == list(range(STEPS))
    assert [step for step, _ in run["val"]] == [*range(0, STEPS, LOOK), STEPS - 1]
    assert len(run["models"]) == 1


# Names and descriptions


def test_a_name_says_what_differs_from_the_commit(own: Project) -> None:
    own.set(pretrain={"lr": 0.003, "seed": 7, "max_steps": 3, "beta1": 0.5}, evaluate={"seed": 1})
    assert set(own.repro()) == {"baseline", "pretrain", "evaluate", "report"}
    [run] = own.tracked()
    assert run["name"] == "max_steps=3, lr=0.003, beta1=0.5 and 2 more"
    assert "pretrain.seed=7, evaluate.seed=1" in run["tags"]["nanopoet.differences"]
    assert run["tags"]["git.dirty"] == "true"
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=own.folder, capture_output=True, text=True, check=True
    )
    assert run["tags"]["git.commit"] == head.stdout.strip()
    text = run["tags"]["mlflow.note.content"]
    for part in ("3 of 3 steps", "lr=0.003", "nats per character", "A poem:", "> "):
        assert part in text


def test_an_account_is_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    account = Account("name", {"a.b": "1"}, {"tag": "x"}, {"poems/val": "d"}, started=5)
    account.records = [
        StepRecord(step=0, tokens=9, lr=0.1, loss_train=2.0, grad_norm=1.0),
        StepRecord(
            step=1, tokens=18, lr=0.1, loss_train=2.0, grad_norm=1.0, loss_val=3.0,
            samples={"": "山"},
        ),
    ]  # fmt: skip
    account.moments = {1: (1234, {"tokens_per_second": 5.5})}
    account.evaluation = Evaluation({"evaluate.seed": "1"}, {"x": {"y": 1.0}}, "山\n", "<p>")
    account.model = tmp_path / "model"
    account.save(tmp_path / "kept")
    shutil.rmtree(tmp_path / "model")
    again = Account.load(tmp_path / "kept")
    assert again.model is not None
    assert (again.model / "config.json").read_text() == "{}"
    account.model = again.model
    assert again == account


def test_metrics_are_what_the_model_earned() -> None:
    rules = {"rhyme": 0.5, "regulated": None, "styles": {'a "style"': 1.0}}
    figures = {"nats": 4.0, "by_form": {"词等": 5.0}, "verse": {"model": rules, "human": rules}}
    figures["calibration"] = [{"share": 1.0}]
    assert Evaluation({}, figures, "").metrics() == {
        "evaluate/nats": 4.0,
        "evaluate/by_form/词等": 5.0,
        "evaluate/verse/model/rhyme": 0.5,
    }


# Interrupted, killed, orphaned, deleted, cloned


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_goes_on_has_one_run(own: Project, how: signal.Signals) -> None:
    with _train_until(own, 2 * LOOK) as process:
        process.send_signal(how)
        process.communicate()
    if how == signal.SIGTERM:
        assert own.tracked()[0]["status"] == "KILLED"
    done = own.run("stages.pretrain")
    assert "goes on after step" in done.stdout, done.stderr
    [run] = own.tracked()
    _whole(run)


def test_an_orphan_is_marked_and_one_that_lives_is_not(own: Project) -> None:
    own.set(pretrain={"max_steps": 1_000_000})
    with _train_until(own, LOOK) as process:
        own.set(pretrain={"max_steps": 3, "seed": 5})
        assert own.run("stages.pretrain").returncode == 0
        assert [run["status"] for run in own.tracked()] == ["RUNNING", "FINISHED"]
        process.kill()
        process.communicate()
    own.set(pretrain={"seed": 6})
    assert own.run("stages.pretrain").returncode == 0
    assert [run["status"] for run in own.tracked()] == ["KILLED", "FINISHED", "FINISHED"]


def test_a_result_that_is_there_gets_no_second_run(own: Project) -> None:
    """As when `dvc` was killed between the end of `pretrain` and its note of it."""
    assert own.run("stages.pretrain").returncode == 0
    before = own.tracked()
    done = own.run("stages.pretrain")
    assert done.returncode == 0
    assert "has this result; the new one is withdrawn" in done.stderr
    assert own.tracked() == before


def test_a_deleted_run_is_made_again_from_the_files(unchanged: Project) -> None:
    ids = [run["id"] for run in unchanged.tracked()]
    script = f"""
import mlflow
from stages.tracking.uploader import store_and_experiment
store_and_experiment()
for run_id in {ids}:
    mlflow.MlflowClient().delete_run(run_id)
"""
    (unchanged.folder / "tests_delete.py").write_text(script)
    assert unchanged.run("tests_delete").returncode == 0
    assert unchanged.tracked() == []
    assert unchanged.run("stages.evaluate").returncode == 0
    [run] = unchanged.tracked()
    assert run["status"] == "FINISHED"
    assert run["tags"]["nanopoet.rebuilt"] == "true"
    assert run["train"] == list(range(6))


def test_a_clone_with_pulled_data_runs_nothing(project: Project, tmp_path: Path) -> None:
    one = Project.at(shutil.copytree(project.folder, tmp_path / "one"))
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    assert one.run("dvc", "remote", "add", "--default", "near", str(remote)).returncode == 0
    one.commit("with a remote")
    assert one.run("dvc", "push", "--run-cache").returncode == 0
    subprocess.run(["git", "clone", "--quiet", one.folder, clone], check=True)
    there = Project.at(clone)
    assert there.run("dvc", "pull", "--run-cache", *STAGES).returncode == 0
    assert there.repro() == []
    assert there.tracked() == []
    there.set(evaluate={"seed": 9})
    assert there.repro() == ["baseline", "evaluate", "report"]
    [run] = there.tracked()
    assert run["status"] == "FINISHED"
    assert run["train"] == list(range(6))
    assert run["params"]["evaluate.seed"] == "9"


# A server elsewhere


class Server:
    """A real `mlflow server` that can be stopped and started again on the same port."""

    def __init__(self, store: str, folder: Path) -> None:
        port = str(free_port())
        self.uri = f"http://127.0.0.1:{port}"
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store),
            *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
            *("--host", "127.0.0.1", "--port", port),
        ]
        self._log = folder / "server.log"
        self.start()

    def start(self) -> None:
        with open(self._log, "a") as log:
            self.process = subprocess.Popen(
                ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", *self._command],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(f"{self.uri}/health")

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    servers = []

    def start(store: str) -> Server:
        servers.append(Server(store, tmp_path))
        return servers[-1]

    yield start
    for one in servers:
        one.stop()


@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_server_that_is_lost_loses_nothing(
    own: Project, server: Callable[[str], Server], tmp_path: Path, how: str
) -> None:
    there = server(f"sqlite:///{tmp_path / 'mlflow.db'}")
    own.environment |= {
        "MLFLOW_TRACKING_URI": there.uri,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    with _train_until(own, LOOK) as process:
        there.signal(signal.SIGKILL if how == "dies" else signal.SIGSTOP)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert errors.count("does not answer") == 1
    assert errors.count("the next stage or `make ui` delivers it") == 1
    [kept] = (own.folder / ".nanopoet/outbox").iterdir()
    assert json.loads((kept / "account.json").read_text())["model"]

    done = own.run("stages.evaluate")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("does not answer") == 1
    assert [kept] == list((own.folder / ".nanopoet/outbox").iterdir())

    there.stop()
    there.start()
    [run] = own.tracked()
    _whole(run)
    assert "evaluate/nats_per_character" in run["metrics"]
    assert "nanopoet.rebuilt" not in run["tags"]
    assert list((own.folder / ".nanopoet/outbox").iterdir()) == []


@pytest.fixture
def absent(own: Project, server: Callable[[str], Server], tmp_path: Path) -> Server:
    """A server to which `own` is to log, and which is not running."""
    there = server(f"sqlite:///{tmp_path / 'mlflow.db'}")
    there.stop()
    own.environment |= {"MLFLOW_TRACKING_URI": there.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    return there


def test_a_server_that_comes_back_has_all_of_it(own: Project, absent: Server) -> None:
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


def test_a_failed_training_is_told_of_afterwards(own: Project, absent: Server) -> None:
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
    assert list((own.folder / ".nanopoet/outbox").iterdir()) == []


class _FarAway(socketserver.BaseRequestHandler):
    """Passes bytes on to a port of this machine, each answer `delay` seconds late."""

    port: int
    delay = 0.1

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as there:
            forth = threading.Thread(target=self._pass, args=(self.request, there, 0.0))
            forth.start()
            self._pass(there, self.request, self.delay)
            forth.join()

    def _pass(self, source: socket.socket, sink: socket.socket, delay: float) -> None:
        try:
            while data := source.recv(1 << 16):
                time.sleep(delay)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side has gone


@pytest.mark.slow
def test_a_server_that_is_far_away_delays_no_step(
    own: Project, server: Callable[[str], Server], tmp_path: Path
) -> None:
    """Each call takes 0.1 s and more: in the training's own thread that would show."""
    there = server(f"sqlite:///{tmp_path / 'mlflow.db'}")
    handler = type("Handler", (_FarAway,), {"port": int(there.uri.rsplit(":", 1)[1])})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as far:
        far.daemon_threads = True
        threading.Thread(target=far.serve_forever, daemon=True).start()
        own.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{far.server_address[1]}"
        with _train_until(own, 0) as process:
            start = time.monotonic()
            assert process.stdout is not None
            told = [line for line in process.stdout if line.startswith("step")]
            training = time.monotonic() - start  # the last look is the last step
            _, errors = process.communicate()
        far.shutdown()
    own.environment["MLFLOW_TRACKING_URI"] = there.uri
    assert process.returncode == 0, errors
    assert "does not answer" not in errors
    assert len(told) == STEPS // LOOK
    [run] = own.tracked()
    _whole(run)
    assert training < STEPS * 0.1  # what the calls of all steps would take by themselves


def test_the_machine_is_measured(own: Project) -> None:
    """Processor and memory, every 10 seconds unless MLflow is told otherwise."""
    own.environment["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = "0.5"
    assert own.run("stages.pretrain").returncode == 0
    [run] = own.tracked()
    measured = {name: value for name, value in run["metrics"].items() if name.startswith("system/")}
    assert 0 < measured["system/system_memory_usage_percentage"] <= 100
    assert "system/cpu_utilization_percentage" in measured


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
    own: Project, prepared: Path, server: Callable[[str], Server], postgres: str
) -> None:
    there = server(postgres)
    own.environment["MLFLOW_TRACKING_URI"] = there.uri
    assert own.repro() == ["pretrain", "evaluate", "report"]
    [run] = own.tracked()
    _whole(run)
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


def test_the_best_model_has_the_alias(own: Project) -> None:
    def best_of_runs(max_steps: int) -> tuple[list[bool], list[float]]:
        own.set(pretrain={"max_steps": max_steps})
        for stage in ("pretrain", "evaluate"):
            assert own.run(f"stages.{stage}").returncode == 0
        runs = own.tracked()
        name = "evaluate/nats_per_character"
        return [run["best"] for run in runs], [run["metrics"][name] for run in runs]

    assert best_of_runs(20)[0] == [True]
    assert best_of_runs(10)[0] == [True, False]
    best, nats = best_of_runs(60)
    assert best == [False, False, True]
    assert nats[2] < nats[0] < nats[1]
