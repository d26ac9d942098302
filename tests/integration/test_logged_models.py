"""The logged models of MLflow: weights of a step, and what was measured on them."""

import signal
from pathlib import Path
from typing import Any

from tests.support.project import ROOT, Project
from tests.support.tracking import EVAL_EVERY, STEPS, Server, train_until


def _rank(project: Project) -> list[tuple[str, str]]:
    """Run the code of docs/experiments.md: the id of each model, and its nats per character."""
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    [code] = [block for block in page.split("```\n")[1::2] if block.startswith("import mlflow")]
    (project.folder / "tests_rank.py").write_text(code)
    done = project.run("tests_rank")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return [(uri.removeprefix("models:/"), nats) for uri, _, nats in rows]


def _assert_truthful(run: dict[str, Any]) -> None:
    """Check that each model of a run has the losses of its own step, and of nothing else."""
    digests = dict(run["inputs"])
    losses = dict(run["val"])
    for model in run["models"]:
        assert model["status"] == "READY"
        assert "loss/val" in model["metrics"]
        for name, (value, step, dataset, digest) in model["metrics"].items():
            assert step == model["step"], name
            assert name == "loss/val" or name.startswith("evaluate/"), name
            if name == "loss/val":
                assert value == losses[step]
            else:
                assert value == run["metrics"][name]
            of_poems = name.split("/")[1] in {"verse", "asked", "tunes", "titles"}
            assert (dataset, digest) == (
                (None, None) if of_poems else ("poems/val", digests["poems/val"])
            )


def test_the_models_of_all_trainings_tell_what_was_measured(project: Project) -> None:
    runs = {run["tags"]["nanopoet.stage"]: run for run in project.tracked()}
    assert set(runs) >= {"pretrain", "finetune", "reinforce"}
    registered = ("nanopoet", "nanopoet-finetuned", "nanopoet-reinforced")
    for stage, name in zip(("pretrain", "finetune", "reinforce"), registered, strict=True):
        run = runs[stage]
        _assert_truthful(run)
        [model] = run["models"]
        assert model["name"] == "model"
        assert model["version"].startswith(f"{name} ")
        assert model["step"] == run["train"][-1]
        assert model["params"].items() <= run["params"].items()
        evaluated = {name for name in run["metrics"] if name.startswith("evaluate/")}
        assert {"evaluate/nats_per_character", "evaluate/perplexity"} <= evaluated
        assert set(model["metrics"]) == {"loss/val", *evaluated}
        assert any(name.startswith("evaluate/verse/model/") for name in evaluated)


def test_models_are_ranked_by_nats_on_the_validation_poems(own: Project) -> None:
    for steps in (20, 60):
        own.set(pretrain={"max_steps": steps})
        for stage in ("pretrain", "evaluate"):
            assert own.run(f"stages.{stage}").returncode == 0
    few, many = own.tracked()
    name = "evaluate/nats_per_character"
    assert many["metrics"][name] < few["metrics"][name]
    assert _rank(own) == [
        (run["models"][0]["id"], str(run["metrics"][name])) for run in (many, few)
    ]


def test_intermediate_models_are_logged(own: Project) -> None:
    own.set(pretrain={"log_model_every": 2 * EVAL_EVERY})
    done = own.run("stages.pretrain")
    assert done.returncode == 0, done.stderr
    [run] = own.tracked()
    _assert_truthful(run)
    assert [(model["name"], model["step"]) for model in run["models"]] == [
        ("model_step_100", 100),
        ("model_step_200", 200),
        ("model", STEPS - 1),
    ]
    assert [model["version"] for model in run["models"]] == [None, None, "nanopoet 1"]
    assert "pretrain.log_model_every" not in run["params"]
    assert not list((own.folder / ".nanopoet/resume").glob("*/*"))
    script = """
import mlflow, pandas as pd
from stages.tracking.uploader import open_store
_, experiment = open_store()
for model in mlflow.search_logged_models([experiment], output_format="list"):
    poems = mlflow.pyfunc.load_model(model.model_uri).predict(pd.DataFrame({"prompt": ["山"]}))
    assert poems["poem"][0].startswith("山")
"""
    (own.folder / "tests_load.py").write_text(script)
    done = own.run("tests_load")
    assert done.returncode == 0, done.stderr


def test_a_training_that_continues_logs_each_model_once(own: Project) -> None:
    own.set(pretrain={"log_model_every": EVAL_EVERY})
    with train_until(own, 3 * EVAL_EVERY) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    # Models are no part of what decides the weights, so that the training goes on.
    own.set(pretrain={"log_model_every": 2 * EVAL_EVERY})
    done = own.run("stages.pretrain")
    assert "continues after step" in done.stdout, done.stderr
    [run] = own.tracked()
    _assert_truthful(run)
    steps = [model["step"] for model in run["models"]]
    assert steps == sorted(set(steps))
    assert {100, 200, STEPS - 1} <= set(steps) <= {50, 100, 150, 200, STEPS - 1}


UNFINISHED = """
import mlflow
from stages.tracking.uploader import open_store
_, experiment = open_store()
[run] = mlflow.MlflowClient().search_runs([experiment])
mlflow.initialize_logged_model("model", source_run_id=run.info.run_id, experiment_id=experiment)
"""
"""Give a run a model of no step, as a process leaves it that is killed while it makes one."""


def test_a_model_of_no_step_is_deleted(own: Project) -> None:
    assert own.run("stages.pretrain").returncode == 0
    (own.folder / "tests_unfinished.py").write_text(UNFINISHED)
    done = own.run("tests_unfinished")
    assert done.returncode == 0, done.stderr
    assert own.run("stages.evaluate").returncode == 0
    [run] = own.tracked()
    assert [model["step"] for model in run["models"]] == [STEPS - 1]


def test_the_same_training_with_more_models_continues_its_run(own: Project) -> None:
    for stage in ("pretrain", "evaluate"):
        assert own.run(f"stages.{stage}").returncode == 0
    [before] = own.tracked()
    own.set(pretrain={"log_model_every": 2 * EVAL_EVERY})
    done = own.run("stages.pretrain")
    assert "has this result; the new one is deleted" in done.stderr
    [run] = own.tracked()
    assert run["id"] == before["id"]
    assert [model["step"] for model in run["models"]] == [100, 200, STEPS - 1]
    assert run["models"][-1] == before["models"][0]
    _assert_truthful(run)
    assert len(_rank(own)) == 3, "the models of the deleted run are deleted, too"


def test_models_wait_for_a_server(own: Project, tmp_path: Path) -> None:
    server = Server(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    own.environment |= {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    own.set(pretrain={"log_model_every": 2 * EVAL_EVERY})
    assert own.run("stages.pretrain").returncode == 0
    server.start()
    try:
        [run] = own.tracked()
    finally:
        server.stop()
    _assert_truthful(run)
    assert [model["step"] for model in run["models"]] == [100, 200, STEPS - 1]


OLDER = """
import mlflow
from mlflow.entities import LoggedModelOutput
from stages.tracking.uploader import open_store
_, experiment = open_store()
client = mlflow.MlflowClient()
[run] = client.search_runs([experiment])
[model] = mlflow.search_logged_models([experiment], output_format="list")
client.delete_logged_model(model.model_id)
with mlflow.start_run(run_id=run.info.run_id):
    kept = {"python_model": lambda model_input: model_input, "pip_requirements": ["mlflow"]}
    mlflow.pyfunc.log_model(name="model", **kept)
"""
"""Give a run a model as an earlier commit logged it: with the metrics of step 0."""


def test_a_model_of_an_earlier_commit_is_replaced(own: Project) -> None:
    for stage in ("pretrain", "evaluate"):
        assert own.run(f"stages.{stage}").returncode == 0
    (own.folder / "tests_older.py").write_text(OLDER)
    done = own.run("tests_older")
    assert done.returncode == 0, done.stderr
    [run] = own.tracked()
    [model] = run["models"]
    assert model["step"] == 0
    assert model["metrics"]["loss/val"][0] == dict(run["val"])[0]
    # DVC would not run `evaluate` again, because the result is the same.
    assert own.run("stages.pretrain").returncode == 0
    [run] = own.tracked()
    [model] = run["models"]
    assert model["step"] == STEPS - 1
    assert model["version"] == "nanopoet 2"
    assert "evaluate/nats_per_character" in model["metrics"]
    _assert_truthful(run)
