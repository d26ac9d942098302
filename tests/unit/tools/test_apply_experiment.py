"""An experiment is applied where another stage has never run."""

import sys
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from tests.support.project import Project
from tests.support.yaml import write_yaml
from tools import apply_experiment

pytestmark = pytest.mark.process


def _stage(name: str, dependency: str) -> dict[str, object]:
    copy = f"import shutil; shutil.copy('{dependency}', '{name}.txt')"
    return {"cmd": f'python -c "{copy}"', "deps": [dependency], "outs": [f"{name}.txt"]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of two stages, of which the second has never run."""
    project = Project(tmp_path / "own").fork()
    stages = {"first": _stage("first", "params.yaml"), "second": _stage("second", "first.txt")}
    write_yaml(project.folder / "dvc.yaml", {"stages": stages})
    (project.folder / ".gitignore").write_text("/first.txt\n/second.txt\n")
    project.repro("first")
    project.commit()
    return project


def _lr(project: Project, lr: float) -> None:
    project.set(pretrain={"lr": lr})
    assert project.repro("first") == ["first"]


def test_the_experiment_is_applied_and_the_missing_out_is_named(project: Project) -> None:
    change = ("--name", "higher", "--set-param", "pretrain.lr=0.5", "first")
    assert project.run("dvc", "exp", "run", *change).returncode == 0
    _lr(project, 0.25)
    done = project.run("dvc", "exp", "apply", "higher")
    assert done.returncode == 255, "DVC applies it by itself: this tool is no longer needed"
    assert "second.txt" in done.stderr
    _lr(project, 0.125)
    done = project.run("tools.apply_experiment", "higher")
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    *_, first, last = done.stdout.splitlines()
    assert first == "apply_experiment: the workspace is as the experiment higher left it"
    missing = "DVC's cache has no second.txt; run `dvc repro second` to make them"
    assert last == f"apply_experiment: {missing}"
    for name in ("params.yaml", "first.txt"):
        assert "  lr: 0.5\n" in (project.folder / name).read_text(encoding="utf-8")
    assert not (project.folder / "second.txt").exists()
    assert project.repro("second") == ["second"]


def test_an_unknown_experiment_is_one_sentence(project: Project) -> None:
    done = project.run("tools.apply_experiment", "lower")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: apply_experiment: ")
    assert "lower" in line


def test_no_name_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["apply_experiment", ""])
    with pytest.raises(NanopoetError, match="name an experiment of `dvc exp list`, as in"):
        apply_experiment.main()
