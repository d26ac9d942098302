"""A store that was moved or copied, and one of an earlier commit."""

import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Dataset, DatasetInput, Metric

from nanopoet.training.history import StepRecord
from stages.tracking import stored_run
from stages.tracking.record import LoggedStep, RunRecord
from stages.tracking.store import connect
from stages.tracking.stored_run import StoredRun

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow is not free of warnings

FIRST = StepRecord(
    step=0,
    tokens=9,
    lr=0.1,
    loss_train=2.0,
    grad_norm=1.0,
    loss_val=3.0,
    samples={"": "白日依山盡，黃河入海流。"},
)
PARAMS = {
    "pretrain.architecture": "modern",
    "pretrain.layer_num": "2",
    "pretrain.emb_size": "16",
    "pretrain.max_steps": "1",
    "pretrain.batch_size": "3",
    "pretrain.block_size": "3",
}
FIGURES = {"nats_per_character": 4.0, "perplexity": 54.6, "nats_per_character_by_form": {"词": 4.0}}


def record(name: str, **tags: str) -> RunRecord:
    """Make the record of a training that has ended."""
    digests = {"poems/train": "a", "poems/val": "b"}
    return RunRecord(name, PARAMS, tags, digests, 5, [LoggedStep(FIRST, time=5)], "FINISHED")


def send(name: str) -> str:
    """Send a record, and return the id of its run."""
    run = StoredRun(record(name))
    run.send()
    return str(run.record.run_id)


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("how", "names"),
    [
        ("moved", ("a", "50% %20 a?b#c")),
        ("moved, and a file in its place", ("it's 唐詩", "b")),
        ("copied", ("a;b\"c'", "d e")),
    ],
)
def test_a_store_goes_with_its_folder(
    at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, names: tuple[str, str]
) -> None:
    old, new = (tmp_path / name for name in names)
    at(old)
    first = send("first")
    client = mlflow.MlflowClient()
    version_of(first, (old / "mlartifacts").as_uri())
    client.set_tag(first, stored_run.LOCK, f"{old}/.nanopoet/resume/1.lock")
    before = files(old / "mlartifacts")
    assert before
    shutil.copytree(old, new)
    if how != "copied":
        shutil.rmtree(old)
    if "file" in how:
        old.touch()

    at(new)
    capsys.readouterr()
    second = send("second")
    assert capsys.readouterr().err.count("\n") == 1, "it is said in one line"
    client = mlflow.MlflowClient()
    for run_id in (first, second):
        folder = mlflow.artifacts.download_artifacts(run_id=run_id, tracking_uri=None)
        assert Path(folder).is_relative_to(new)
        assert (Path(folder) / "samples.json").is_file()
    tags = client.get_run(first).data.tags
    assert tags[stored_run.LOCK] == f"{new}/.nanopoet/resume/1.lock"
    version = client.get_model_version("nanopoet", "1")
    assert version.source == f"{(new / 'mlartifacts').as_uri()}/poet"
    assert client.get_model_version_download_uri("nanopoet", "1") == version.source
    if how == "copied":
        assert files(old / "mlartifacts") == before
    else:
        assert not old.is_dir()
    assert send("third")
    assert capsys.readouterr().err == ""


def version_of(run_id: str, artifacts: str) -> None:
    """Register a model of a run as the pipeline does, without a model."""
    client = mlflow.MlflowClient()
    if not client.search_registered_models():
        client.create_registered_model("nanopoet")
    client.create_model_version("nanopoet", f"{artifacts}/poet", run_id)


def test_other_artifacts_stay(at: Any, tmp_path: Path) -> None:
    """An experiment may keep its artifacts elsewhere on purpose, such as in a bucket."""
    at(tmp_path / "a")
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.MlflowClient().create_experiment("nanopoet", artifact_location="s3://bucket/mlartifacts")
    connect()
    experiment = mlflow.MlflowClient().get_experiment_by_name("nanopoet")
    assert experiment is not None
    assert experiment.artifact_location == "s3://bucket/mlartifacts"


def test_a_deleted_experiment_is_restored(
    at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at(tmp_path)
    first = send("first")
    mlflow.MlflowClient().delete_experiment(connect())
    second = send("second")
    assert "restored MLflow's experiment 'nanopoet', which was deleted\n" in capsys.readouterr().err
    runs = mlflow.MlflowClient().search_runs([connect()])
    assert {run.info.run_id for run in runs} == {first, second}


def test_a_store_of_the_version_before_the_rooms_goes_on(at: Any, tmp_path: Path) -> None:
    """Commit ef9b503 named parameters and metrics otherwise, and so wrote its runs."""
    at(tmp_path / "new")
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    client, place = mlflow.MlflowClient(), (tmp_path / "old/mlartifacts").as_uri()
    experiment = client.create_experiment("nanopoet", artifact_location=place)
    tags = {"nanopoet.result": "1", "nanopoet.host": "h", "nanopoet.lock": "/old/1.lock"}
    run = client.create_run(experiment, 1, tags, "old")
    for name, value in {"pretrain.look_back": "2", "pretrain.shared_features": "True"}.items():
        client.log_param(run.info.run_id, name, value)
    figures = {"loss/val": 3.0, "evaluate/nats_per_character": 4.5}
    client.log_batch(run.info.run_id, [Metric(*each, 1, 0) for each in figures.items()])
    client.log_inputs(run.info.run_id, [DatasetInput(Dataset("poems/val", "b", "local", "{}"), [])])
    version_of(run.info.run_id, place)
    client.set_registered_model_alias("nanopoet", "best", "1")
    client.set_terminated(run.info.run_id)

    def best_after(nats: float) -> str:
        new = record(f"{nats}")
        new.evaluation, new.poems = FIGURES | {"nats_per_character": nats}, "山\n"
        StoredRun(new).send()
        assert new.run_id
        version_of(new.run_id, place)
        StoredRun(new).send()
        return str(client.get_model_version_by_alias("nanopoet", "best").version)

    assert best_after(5.0) == "1"
    assert best_after(4.0) == "3"
    names = {each.info.run_name for each in client.search_runs([experiment])}
    assert names == {"5.0", "4.0", "old"}
    assert client.get_run(run.info.run_id).info.artifact_uri.startswith(tmp_path.as_uri() + "/new")
