"""Several processes train like one; when one dies, the others end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.training.distributed import launch
from tests.support.distributed import TIMEOUT, parallel_project, wait_until
from tests.support.params import SMALL
from tests.support.project import ROOT
from tools.reliability.faults import running, stages

pytestmark = pytest.mark.process

WORKER = """
import hashlib, json, os, signal, sys
from pathlib import Path
import torch
from nanopoet.training import distributed
from nanopoet.params import load_params
from nanopoet.training.resume import broadcast_state, restore_state, save_state
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.pretraining import make_trainer
from stages.runner import run
from tests.support.poems import make_poems

def main():
    options = os.environ["OPTIONS"]
    if options and not distributed.is_launched():
        distributed.launch(options, "worker")
        return
    with distributed.process_group(lead=False):
        poems, params = make_poems(), load_params().pretrain
        tokenizer = CharTokenizer(poems)
        tokens = encode_poems(poems, tokenizer, separate=True).tokens
        trainer = make_trainer(tokens, tokens, tokenizer, params)
        scratch, first = Path("scratch"), distributed.rank() == 0
        scratch.mkdir(exist_ok=True)
        if first:
            restore_state(scratch, trainer)
        broadcast_state(trainer)
        for record in trainer:
            if first and trainer.step % 2 == 0:
                save_state(scratch, trainer, None)
            if (
                os.environ["KILLED"] == f"{distributed.rank()}"
                and trainer.step == 3
            ):
                os.kill(os.getpid(), signal.SIGKILL)
        digest = hashlib.sha256()
        for parameter in trainer.model.parameters():
            digest.update(parameter.detach().numpy().tobytes())
        figures = [[r.loss_train, r.grad_norm, r.loss_val or 0.0] for r in trainer.records]
        result = {"digest": digest.hexdigest(), "records": figures}
        Path(f"result{distributed.rank()}.json").write_text(json.dumps(result))

run(main)
"""

TERMINATED = """
import os, signal
from nanopoet.common.errors import NanopoetError
from nanopoet.training import distributed

class Handler:
    def record_exception(self, error):
        os.kill(os.getpid(), signal.SIGTERM)
        with open("message", "w") as file:
            file.write(str(error))

distributed._join = lambda lead: None
distributed.get_error_handler = Handler
with distributed.process_group(lead=False):
    raise NanopoetError("the cause")
"""
"""A process that torch ends while it writes its error."""

Train = Callable[..., list[dict[str, Any]]]


def _start(folder: Path, count: int, killed: str = "") -> subprocess.CompletedProcess[str]:
    """Train in `count` processes; the process `killed` kills itself after three steps."""
    for old in folder.glob("result*"):
        old.unlink()
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    options = f"--standalone --nproc-per-node {count}"
    changes = {"OMP_NUM_THREADS": "1", "KILLED": killed, "OPTIONS": options if count > 1 else ""}
    return subprocess.run(
        [sys.executable, "-m", "worker"],
        cwd=folder,
        env=os.environ | changes | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def _results(folder: Path, count: int) -> list[dict[str, Any]]:
    return [json.loads((folder / f"result{i}.json").read_text()) for i in range(count)]


@pytest.fixture
def folder(tmp_path: Path, write_params: Callable[..., Path]) -> Path:
    write_params(**SMALL)
    return tmp_path


@pytest.mark.parametrize(
    ("architecture", "optimizer", "counts"),
    [("modern", "muon", [2, 4]), ("classic", "adamw", [2])],
)
def test_several_processes_train_as_one(
    tmp_path: Path,
    write_params: Callable[..., Path],
    architecture: str,
    optimizer: str,
    counts: list[int],
) -> None:
    changes = {"architecture": architecture, "optimizer": optimizer, "lr": 1e-3}
    write_params(pretrain=SMALL["pretrain"] | changes, evaluate=SMALL["evaluate"])
    results = {}
    for count in [1, *counts]:
        for state in tmp_path.glob("scratch/*"):
            state.unlink()
        done = _start(tmp_path, count)
        assert done.returncode == 0, done.stderr
        results[count] = _results(tmp_path, count)
        assert len({result["digest"] for result in results[count]}) == 1
    [[one], *several] = results.values()
    for other in several:
        for mine, theirs in zip(one["records"], other[0]["records"], strict=True):
            assert theirs == pytest.approx(mine, rel=1e-3)


def test_a_killed_process_ends_the_training_and_the_next_one_continues(folder: Path) -> None:
    done = _start(folder, 2, killed="1")
    assert done.returncode == 1
    assert done.stderr == (
        "error: worker: process 1 that pretrain.torchrun started ended with status -9; run "
        "again to continue from the last checkpoint\n"
    )
    assert not list(folder.glob("result*"))
    assert list(folder.glob("scratch/*"))

    assert _start(folder, 2).returncode == 0
    resumed = _results(folder, 2)
    for state in folder.glob("scratch/*"):
        state.unlink()
    assert _start(folder, 2).returncode == 0
    assert _results(folder, 2) == resumed


def test_a_process_that_torch_ends_still_writes_its_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TORCHELASTIC_RUN_ID": "1"},
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert (tmp_path / "message").read_text() == "the cause"


def test_a_batch_that_processes_cannot_share_is_an_error(folder: Path) -> None:
    done = _start(folder, 3)
    assert done.returncode == 1
    assert done.stderr == (
        "error: worker: params.yaml: pretrain.batch_size = 4 is not a multiple of the 3 processes "
        "that pretrain.torchrun starts; change one of the two\n"
    )


def test_a_diverged_loss_ends_all(tmp_path: Path, write_params: Callable[..., Path]) -> None:
    write_params(pretrain=SMALL["pretrain"] | {"lr": 1e30}, evaluate=SMALL["evaluate"])
    done = _start(tmp_path, 2)
    assert done.returncode == 1
    assert done.stderr.startswith("error: worker: training diverged at step")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--nproc-per-node", "expected one argument"),
        ("--nproc-per-node many", "Unsupported nproc_per_node value: many"),
        ("--standalone --nproc-per-node 0", "a machine needs at least 1 process"),
        ("--nproc-per-node=-1", "a machine needs at least 1 process"),
        ("--nnodes 0", "change it"),
        ("--nnodes 1:2:3", "nnodes"),
    ],
)
def test_invalid_options_are_an_error(options: str, reason: str) -> None:
    with pytest.raises(NanopoetError, match=reason) as caught:
        launch(options, "worker")
    assert f"pretrain.torchrun = {options!r}" in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_other_machines(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"--nnodes 2 --node-rank 0 --master-addr 127.0.0.1 --master-port {port}"
    script = f"""
from nanopoet.training.distributed import launch
from stages.interruption import end_early_when_told
end_early_when_told()
launch({options!r}, "worker")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        own = psutil.Process(process.pid)
        wait_until(lambda: any(c.laddr.port == port for c in own.net_connections()))
        process.send_signal(number)
        assert process.wait(TIMEOUT) == -number


def test_dvc_starts_the_processes_and_none_outlives_it(tmp_path: Path) -> None:
    project = parallel_project(tmp_path / "project", "--standalone --nproc-per-node 2", 10**6)
    log = project.folder / ".git/repro.log"
    for number in (signal.SIGINT, signal.SIGKILL):
        with open(log, "w", encoding="utf-8") as output, running(project, output) as dvc:
            wait_until(lambda: "  train " in log.read_text(encoding="utf-8"))
            family = stages(project.folder)
            assert len(family) == 3  # torchrun and two processes
            if number == signal.SIGINT:  # as a terminal sends it
                os.killpg(dvc.pid, number)
            else:
                dvc.send_signal(number)
            _, alive = psutil.wait_procs(family, timeout=TIMEOUT)
            assert not alive
        printed = log.read_text(encoding="utf-8")
        assert "Traceback" not in printed
        assert printed.count("pretrain: interrupted; run again") == 1, printed
    assert [run["status"] for run in project.tracked()] == ["KILLED"]
