"""Names of runs, in repositories of many kinds."""

import locale
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nanopoet.params import load_params
from stages.tracking.provenance import name_and_tags

DIFFERENCES = "nanopoet.differences"


@pytest.fixture(autouse=True)
def no_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    for kind in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{kind}_NAME", "a")
        monkeypatch.setenv(f"GIT_{kind}_EMAIL", "a@b")


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def _commit(folder: Path) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--message", "x")


@pytest.mark.parametrize("at_root", ["split: 0.2\n", "load: null\n", "{", None])
def test_in_a_larger_repository_the_project_s_own_file_counts(
    tmp_path: Path,
    write_params: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    at_root: str | None,
) -> None:
    sub = tmp_path / "big" / "sub"
    sub.mkdir(parents=True)
    _git(tmp_path / "big", "init")
    if at_root is not None:
        (tmp_path / "big" / "params.yaml").write_text(at_root)
    own = write_params().rename(sub / "params.yaml")
    _commit(tmp_path / "big")
    monkeypatch.chdir(sub)
    name, tags = name_and_tags("pretrain", load_params(own))
    assert name == f"params.yaml at {tags['git.commit'][:8]}"
    assert tags[DIFFERENCES].startswith("nothing (")
    assert tags["git.dirty"] == "false"
    changed = load_params(write_params(pretrain={"lr": 0.5}).rename(own))
    (tmp_path / "big" / "else.txt").write_text("not of this project")
    name, tags = name_and_tags("pretrain", changed)
    assert name == "lr=0.5"
    assert tags[DIFFERENCES].startswith("pretrain.lr=0.5 (")
    assert tags["git.dirty"] == "true"


def test_the_name_tells_parameters_of_the_stage_from_those_of_others(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _git(tmp_path, "init")
    write_params()
    _commit(tmp_path)
    params = load_params(write_params(pretrain={"seed": 3}, finetune={"seed": 4}))
    assert name_and_tags("pretrain", params)[0] == "seed=3"
    assert name_and_tags("finetune", params)[0] == "finetune: pretrain.seed=3, seed=4"
    assert name_and_tags("reinforce", params)[0] == "reinforce: pretrain.seed=3, finetune.seed=4"


@pytest.mark.parametrize(
    "committed",
    [
        b"split: 0.2\n",
        b"load: null\n",
        b"{",
        b"- 1\n",
        b"",
        b"load:\n  source: \xff\n",
        b"<<<<<<< HEAD\nload: {}\n=======\nload: {}\n>>>>>>> b\n",
        None,
    ],
)
def test_a_committed_file_that_cannot_be_compared_is_no_difference_and_no_error(
    tmp_path: Path,
    write_params: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    committed: bytes | None,
) -> None:
    _git(tmp_path, "init")
    (tmp_path / "other").touch()
    if committed is not None:
        (tmp_path / "params.yaml").write_bytes(committed)
    _commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    name, tags = name_and_tags("pretrain", load_params(write_params()))
    if committed == b"load:\n  source: \xff\n":  # sections and params that it lacks differ
        assert name.endswith(" more")
        return
    assert name == f"params.yaml, none to compare with at {tags['git.commit'][:8]}"
    assert DIFFERENCES not in tags


def test_without_a_commit_or_without_git_the_name_says_so(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(write_params())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    expected: tuple[str, dict[str, str]] = (
        "params.yaml at no known commit",
        {"nanopoet.stage": "pretrain"},
    )
    assert name_and_tags("pretrain", params) == expected
    _git(tmp_path, "init")
    _git(tmp_path, "add", "params.yaml")  # the index is no commit
    assert name_and_tags("pretrain", params) == expected
    monkeypatch.setenv("PATH", "")
    assert name_and_tags("pretrain", params) == expected


def test_characters_are_read_as_utf_8_whatever_the_locale(
    tmp_path: Path, write_params: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _git(tmp_path, "init")
    path = write_params(pretrain={"sample_prompts": ["明月", "é"]})
    _commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")  # ASCII, even where Python started with UTF-8
    try:
        assert name_and_tags("pretrain", load_params(path))[1][DIFFERENCES].startswith("nothing (")
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
