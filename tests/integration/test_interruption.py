"""Stages that are interrupted or killed: what they print, and what remains."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.project import ROOT, Project


def test_a_second_ctrl_c_ends_a_stage_at_once(tmp_path: Path) -> None:
    """After the first, the stage may wait for something slow. After the second no code runs."""
    script = """
import sys, time
from stages.runner import run
def main():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("closing", flush=True)
        try:
            time.sleep(60)
        finally:
            print("too late", flush=True)
run(main)
"""
    (tmp_path / "slow.py").write_text(script, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "slow.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
    assert process.returncode == 130


@pytest.mark.parametrize(
    "last",
    ["weakref.ref(thing, lambda _: send())", "weakref.finalize(thing, send)", "thing.end = End()"],
)
def test_an_interruption_where_python_cannot_raise_is_not_lost(tmp_path: Path, last: str) -> None:
    """MLflow's database has such places, and a signal meets them now and then."""
    script = f"""
import gc, signal, time, weakref
from stages.runner import run
def send():
    signal.raise_signal(signal.SIGTERM)
class Thing:
    pass
class End:
    def __del__(self):
        send()
def main():
    thing = Thing()
    kept = {last}
    del thing
    kept = None
    print("goes on", flush=True)
    time.sleep(60)
run(main)
"""
    (tmp_path / "slow.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "slow.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (130, "goes on\n")
    assert done.stderr == "\nslow: interrupted; run again\n"


def test_ctrl_c_during_imports_prints_no_traceback(unchanged: Project) -> None:
    with Project.at(unchanged.folder).start("stages.evaluate") as process:
        own = psutil.Process(process.pid)
        while not any("libtorch" in file.path for file in own.memory_maps()):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert (stdout, stderr) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_an_interrupted_training_is_marked(unchanged: Project) -> None:
    unchanged.set(pretrain={"max_steps": 1_000_000, "eval_every": 1_000_000})
    with unchanged.start("stages.pretrain") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("pretrain: cpu")
        assert process.stdout.readline().startswith("step     0")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pretrain: interrupted" in errors
    assert "Traceback" not in errors
    assert unchanged.tracked()[-1]["status"] == "KILLED"


@pytest.mark.parametrize("name", [".dvc/tmp/rwlock", "dvc.lock"])
def test_a_file_of_dvc_that_kill_9_cut_off_is_removed(unchanged: Project, name: str) -> None:
    """DVC writes it in place, and cannot read it afterwards."""
    path = unchanged.folder / name
    before = path.read_bytes()
    for cut in (b"", before[: len(before) // 3].rpartition(b":")[0] + b": {"):
        path.write_bytes(cut)
        assert unchanged.run("dvc", "repro", "report").returncode != 0
        done = unchanged.run("tools.repair_dvc")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{name} was cut off by the end of a process; removed" in done.stdout
        assert unchanged.repro() == []
    assert unchanged.run("tools.repair_dvc").stdout == ""
    assert path.exists()


def test_garbage_collection_leaves_out_what_was_imported() -> None:
    script = "import gc, sys; sys.argv = ['-m']; import stages; print(gc.isenabled())\n"
    script += "from stages.runner import run; sys.argv = ['repair_dvc']\n"
    script += "run(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\nTrue True\n"
