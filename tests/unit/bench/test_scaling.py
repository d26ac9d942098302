"""docs/scaling.md has the tables that the code prints, and its commands run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import scaling_model
from bench.speed import VOCAB_SIZE
from nanopoet.params import load_params
from nanopoet.recipes import load_recipe
from nanopoet.training.pretraining import build_model
from stages.tracking.provenance import digest
from tests.support.project import DEFAULT_PARAMS, ROOT, Project

pytestmark = pytest.mark.process

PAGE = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


def _run(project: Project, command: str) -> str:
    done = project.run(*shlex.split(command))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def committed(project: Project, tmp_path: Path) -> Project:
    """Make a git repository of a project whose pipeline has run."""
    mine = Project.at(
        Path(shutil.copytree(project.folder, tmp_path / "mine", symlinks=True))
    ).fork()
    mine.commit()
    return mine


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter a folder with the default recipe, whatever params.yaml of the workspace says."""
    shutil.copy(DEFAULT_PARAMS, tmp_path)
    shutil.copy(ROOT / "recipes.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("default")
def test_the_table_of_the_model_is_what_it_prints() -> None:
    assert scaling_model.table() in PAGE


@pytest.mark.usefixtures("default")
def test_the_sizes_are_those_of_the_recipes() -> None:
    rows = re.findall(r"^\| \(?`?(\w+)`?\)? \| ([\d.]+) M \| (\d+) × (\d+) \|", PAGE, re.M)
    assert [name for name, *_ in rows] == ["default", "evening", "small", "medium", "large"]
    for name, size, layers, width in rows:
        params = (load_params() if name == "default" else load_recipe(name)[0]).pretrain
        model = build_model(VOCAB_SIZE, params)
        assert f"{model.num_parameters / 1e6:.1f}" == size
        assert (params.layer_num, params.emb_size) == (int(layers), int(width))


def test_one_parameter_starts_two_processes(committed: Project) -> None:
    [command] = re.findall(r"^dvc exp run .*$", PAGE, re.M)
    printed = _run(committed, command)
    assert "cpu with 1 threads" in printed
    params = (committed.folder / "params.yaml").read_text(encoding="utf-8")
    assert "torchrun: --standalone --nproc-per-node 2" in params
    run = committed.tracked()[-1]
    assert run["status"] == "FINISHED"
    assert run["params"]["pretrain.torchrun"] == "--standalone --nproc-per-node 2"
    assert run["metrics"]["tflop_per_second"] > 0


def test_a_team_shares_results(committed: Project, tmp_path: Path) -> None:
    """The remote is a folder here; DVC treats S3 and SSH in the same way."""
    for target in re.findall(r"^dvc remote add .*?(?= *#)", PAGE, re.M):
        _run(committed, target.replace("remote add", "remote add --force"))
    _run(committed, f"dvc remote add --default --force team {tmp_path / 'remote'}")
    committed.commit()
    _run(committed, "dvc push")
    subprocess.run(["git", "clone", "--quiet", committed.folder, tmp_path / "theirs"], check=True)
    theirs = Project.at(tmp_path / "theirs").fork()
    # This corpus is a JSONL file, so there is no archive to pull.
    _run(theirs, "dvc pull --allow-missing")
    assert theirs.repro() == []
    assert digest(theirs.folder / "models/poet") == digest(committed.folder / "models/poet")
    for command in ("dvc push ", "dvc pull "):
        assert f"\n{command}" in PAGE
