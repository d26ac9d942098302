"""One truthful run for each result, whatever happens to the training."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.killed import run_until
from tests.support.params import STAGES
from tests.support.project import Project
from tests.support.tracking import EVAL_EVERY, assert_whole, train_until


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


def test_the_machine_is_measured(own: Project) -> None:
    """MLflow measures processor and memory every 10 seconds by default."""
    own.environment["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = "0.5"
    assert own.run("stages.pretrain").returncode == 0
    [run] = own.tracked()
    measured = {name: value for name, value in run["metrics"].items() if name.startswith("system/")}
    assert 0 < measured["system/system_memory_usage_percentage"] <= 100
    assert "system/cpu_utilization_percentage" in measured


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


# Interrupted, killed, orphaned


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_continues_has_one_run(own: Project, how: signal.Signals) -> None:
    run_until(own, "pretrain", 2 * EVAL_EVERY, how)
    if how == signal.SIGTERM:
        assert own.tracked()[0]["status"] == "KILLED"
    done = own.run("stages.pretrain")
    assert "continues after step" in done.stdout, done.stderr
    [run] = own.tracked()
    assert_whole(run)


def test_a_training_without_a_saved_state_continues_its_run(own: Project) -> None:
    """The run is then found by the lock of the training."""
    own.set(pretrain={"checkpoint_every": 1_000_000})
    run_until(own, "pretrain", 2 * EVAL_EVERY, signal.SIGKILL)
    done = own.run("stages.pretrain")
    assert "continues after step" not in done.stdout, done.stderr
    [run] = own.tracked()
    assert_whole(run)


def test_an_orphan_is_marked_and_a_living_run_is_not(own: Project) -> None:
    own.set(pretrain={"max_steps": 1_000_000})
    with train_until(own, EVAL_EVERY) as process:
        own.set(pretrain={"max_steps": 3, "seed": 5})
        assert own.run("stages.pretrain").returncode == 0
        assert [run["status"] for run in own.tracked()] == ["RUNNING", "FINISHED"]
        process.kill()
        process.communicate()
    own.set(pretrain={"seed": 6})
    assert own.run("stages.pretrain").returncode == 0
    assert [run["status"] for run in own.tracked()] == ["KILLED", "FINISHED", "FINISHED"]


def test_a_result_that_is_there_gets_no_second_run(own: Project) -> None:
    """This happens when `dvc` is killed between the end of `pretrain` and its note of it."""
    for stage in ("pretrain", "evaluate"):
        assert own.run(f"stages.{stage}").returncode == 0
    before = own.tracked()
    done = own.run("stages.pretrain")
    assert done.returncode == 0
    assert "has this result; the new one is deleted" in done.stderr
    assert own.tracked() == before


# Deleted, cloned


def test_a_deleted_run_is_made_again_from_the_files(unchanged: Project) -> None:
    ids = [run["id"] for run in unchanged.tracked()]
    script = f"""
import mlflow
from stages.tracking.uploader import open_store
open_store()
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


def test_a_lost_store_is_filled_from_the_files(unchanged: Project) -> None:
    shutil.move(unchanged.folder / "mlflow.db", unchanged.folder / "mlflow.away")
    try:
        unchanged.set(evaluate={"temperature": 0.6})
        assert unchanged.repro() == ["evaluate", "report"]
        [run] = unchanged.tracked()
        assert run["tags"]["nanopoet.rebuilt"] == "true"
        assert [step for step, _ in run["val"]] == [0, 2, 4, 5]
        assert run["models"]
    finally:
        shutil.move(unchanged.folder / "mlflow.away", unchanged.folder / "mlflow.db")


def test_a_damaged_model_is_not_registered(unchanged: Project) -> None:
    weights = unchanged.folder / "models/poet/model.safetensors"
    raw = weights.read_bytes()
    shutil.move(unchanged.folder / "mlflow.db", unchanged.folder / "mlflow.away")
    try:
        weights.unlink()
        weights.write_bytes(raw[:-9])
        done = unchanged.run("stages.report")
        assert done.returncode == 1
        assert "error: report: models/poet/model.safetensors: it and config.json" in done.stderr
        assert "Traceback" not in done.stderr
        assert [run["models"] for run in unchanged.tracked()] == [[]]
    finally:
        weights.write_bytes(raw)
        shutil.move(unchanged.folder / "mlflow.away", unchanged.folder / "mlflow.db")


def test_a_clone_with_pulled_data_runs_nothing(project: Project, tmp_path: Path) -> None:
    one = Project.at(shutil.copytree(project.folder, tmp_path / "one")).fork()
    remote, clone = tmp_path / "remote", tmp_path / "clone"
    assert one.run("dvc", "remote", "add", "--default", "near", str(remote)).returncode == 0
    one.commit("with a remote")
    assert one.run("dvc", "push", "--run-cache").returncode == 0
    subprocess.run(["git", "clone", "--quiet", one.folder, clone], check=True)
    other = Project.at(clone).fork()
    assert other.run("dvc", "pull", "--run-cache", *STAGES).returncode == 0
    assert other.repro() == []
    assert other.tracked() == []
    other.set(evaluate={"seed": 9})
    assert other.repro() == ["baseline", "evaluate", "report"]
    [run] = other.tracked()
    assert run["status"] == "FINISHED"
    assert run["train"] == list(range(6))
    assert run["params"]["evaluate.seed"] == "9"
