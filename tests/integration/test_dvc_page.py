"""The commands and the Python of docs/dvc.md, in a project with local remotes."""

import shutil
from pathlib import Path

import dvc.api
import pytest

from nanopoet.common.model_folders import MADE_BY
from nanopoet.models.checkpoint import load_model
from tests.support.dvc_commands import PAGE, datapoints, documented, identify, run_all, wait_until
from tests.support.pages import code_blocks, read_page, read_yaml, section
from tests.support.params import SMALL
from tests.support.project import Project


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A committed result, with a git remote and a DVC remote beside it."""
    folder = tmp_path_factory.mktemp("trained")
    project = Project.at(shutil.copytree(prepared, folder / "project")).fork()
    project.set(pretrain=SMALL["pretrain"])
    project.repro()
    assert project.run("tools.dvc_plots_page").returncode == 0
    identify(project)
    run_all(
        project,
        [
            f"git init --quiet --bare {folder / 'origin.git'}",
            f"git remote add origin {folder / 'origin.git'}",
            f"dvc remote add --default local {folder / 'remote'}",
            "dvc push",
        ],
    )
    project.commit("a result")
    return project


def test_plots_show_writes_a_page(trained: Project) -> None:
    [show, _] = documented("Follow a training")
    assert "dvc_plots/index.html" in run_all(trained, [show])
    page = (trained.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "Poems at each evaluation" in page


def test_the_sweep_and_the_cheat_sheet(trained: Project) -> None:
    [queue, start] = documented("Sweep")
    run_all(trained, [queue, start])

    def ended() -> bool:
        status = trained.run("dvc", "queue", "status").stdout
        assert "Failed" not in status
        return status.count("Success") == 4

    wait_until(ended)
    [_, plots] = documented("Follow a training")
    run_all(trained, [plots])
    losses = datapoints(trained, "HEAD", "grid-1", "grid-2", "grid-3", "grid-4")["loss"]
    curves = {
        tuple(row["loss_train"] for row in losses if row["rev"] == rev and "loss_train" in row)
        for rev in ("HEAD", "grid-1", "grid-2", "grid-3", "grid-4")
    }
    assert len(curves) == 5
    commands = documented("Cheat sheet")
    assert len(commands) == 13
    run_all(trained, commands)
    assert run_all(trained, ["dvc exp list --name-only"]).split() == ["low"]
    assert run_all(trained, ["git branch --list low-lr"]).split() == ["low-lr"]
    assert "low" in run_all(trained, ["dvc exp list --name-only origin"])
    for revision in ("low", "low-lr"):
        params = dvc.api.params_show(repo=str(trained.folder), rev=revision)["pretrain"]
        assert (params["lr"], params["seed"]) == (0.0025, 1)


def test_the_artifacts_are_the_models_of_the_command() -> None:
    artifacts = read_yaml("dvc.yaml")["artifacts"]
    assert {each["path"] for each in artifacts.values()} == {*MADE_BY}
    assert all(Path(each["path"]).name == name for name, each in artifacts.items())
    for each in artifacts.values():
        assert each["type"] == "model"
        assert len(each["desc"]) > 20
        assert {"poetry", "zh"} < {*each["labels"]}
    text = section(PAGE, "Models as artifacts")
    assert all(f"`{name}`" in text for name in artifacts)


def test_a_registered_model_is_fetched_by_its_name(trained: Project, tmp_path: Path) -> None:
    [register, get] = documented("Models as artifacts")
    run_all(trained, [register])
    elsewhere = Project.at(tmp_path)
    elsewhere.environment = trained.environment
    run_all(elsewhere, [get], REPOSITORY=str(trained.folder))
    for name in ("model.safetensors", "config.json", "vocab.json", "history.csv"):
        expected = (trained.folder / "models/poet" / name).read_bytes()
        assert (tmp_path / "poet" / name).read_bytes() == expected
    assert "poet" in run_all(trained, ["gto show"])
    [command] = [
        line
        for block in code_blocks(read_page("README.md"), "sh")
        for line in block.splitlines()
        if line.startswith("dvc artifacts get ")
    ]
    assert command.split()[-1] in read_yaml("dvc.yaml")["artifacts"]


def test_the_documented_python_reads_any_revision(
    trained: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained.folder)
    [block] = code_blocks(section(PAGE, "From Python"), "python")
    nats = trained.metrics("evaluate")["nats_per_character"]
    parameters = trained.metrics("pretrain")["parameters"]
    trained.set(pretrain={"lr": 0.5})
    shutil.rmtree("models/poet")
    shutil.rmtree("metrics")
    try:
        exec(compile(block, PAGE, "exec"), {})  # noqa: S102
    finally:
        run_all(trained, ["git checkout --quiet .", "dvc checkout --quiet models/poet"])
    assert capsys.readouterr().out.split() == ["0.01", str(nats)]
    assert load_model("poet-of-head")[0].num_parameters == parameters
    shutil.rmtree("poet-of-head")
