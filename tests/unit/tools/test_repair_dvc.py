"""Checks that `make repro` makes before DVC starts."""

import os
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import read_json
from nanopoet.common.yaml import read_yaml
from tools import repair_dvc

OURS = "<<<<<<< HEAD\n"
THEIRS = "=======\n  b: 2\n>>>>>>> other\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in (".git", ".dvc", "metrics"):
        (tmp_path / folder).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "dvc.lock",
        "dvc.yaml",
        "params.yaml",
        "recipes.yaml",
        "mine.jsonl.dvc",
        ".dvc/config",
        "metrics/evaluate.json",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_a_person_has_to_merge_is_named_and_stays(here: Path, name: str, newline: str) -> None:
    raw = f"a:\n{OURS}  b: 1\n{THEIRS}".replace("\n", newline).encode()
    (here / name).write_bytes(raw)
    with pytest.raises(
        NanopoetError, match=rf"^{name}:2: not merged.*`git checkout --ours {name}`"
    ):
        repair_dvc.main()
    assert (here / name).read_bytes() == raw


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_readers_tell_a_conflict_from_other_damage(here: Path, read: object) -> None:
    (here / "x").write_text(f"{{\n{OURS}a: 1\n{THEIRS}}}", encoding="utf-8")
    assert callable(read)
    with pytest.raises(NanopoetError, match=r"^x:2: not merged"):
        read("x")


def test_a_folder_outside_of_git_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    repair_dvc.main()  # a part of a larger repository
    (here / ".git").rmdir()
    with pytest.raises(NanopoetError, match=r"sub is in no git repository, .* run `git init`"):
        repair_dvc.main()
    (here / "sub/.dvc").mkdir()
    (here / "sub/.dvc/config.local").write_text("[core]\n    no_scm = true\n")
    repair_dvc.main()


@pytest.mark.parametrize("line", ["no_scm = false", "# no_scm = true", "no_scm_x = true"])
def test_dvc_has_to_be_told_to_do_without_git(here: Path, line: str) -> None:
    (here / ".git").rmdir()
    (here / ".dvc/config").write_bytes(f"[core]\n    {line}\n".encode() + b"# \xff\n")
    with pytest.raises(NanopoetError, match="run `git init`"):
        repair_dvc.main()


LOCK = "schema: '2.0'\nstages:\n  load:\n    cmd: x\n    deps:\n    - path: a\n"
LOCK += "    params:\n      params.yaml:\n        load.source: null\n    outs:\n    - path: b\n"


def test_a_whole_lock_stays(here: Path) -> None:
    (here / "dvc.lock").write_text(LOCK)
    repair_dvc.main()
    assert (here / "dvc.lock").read_text() == LOCK


@pytest.mark.parametrize(
    "end",
    [
        *("stages: {", "stages:\n", "load:\n", "deps:\n", "params:\n", "params.yaml:\n", "outs:\n"),
        *("sta", "stages", "  load", "    cmd", "    deps", "- path", "params", "      params.y"),
    ],
)
def test_what_kill_9_cut_off_is_removed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: str
) -> None:
    monkeypatch.setattr(repair_dvc, "_PATIENCE", 0)
    cut = LOCK[: LOCK.index(end) + len(end)] if end in LOCK else f"schema: '2.0'\n{end}"
    (here / "dvc.lock").write_text(cut)
    repair_dvc.main()
    assert not (here / "dvc.lock").exists()
    assert "dvc.lock was cut off" in capsys.readouterr().out


def test_a_copy_that_dvc_left_is_removed_and_others_stay(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "data").mkdir()
    left = here / "data/.WG4iQv8EDwbGwMhAXilnRQ.tmp"
    kept = [here / "data/poems.tmp", here / "data/.short.tmp", here / ".AAAAAAAAAAAAAAAAAAAAAA.tmp"]
    for path in (left, *kept):
        path.write_bytes(b"x")
    repair_dvc.main()
    assert not left.exists()
    assert all(path.exists() for path in kept)
    assert f"data/{left.name} is a copy that DVC did not finish" in capsys.readouterr().out


def test_a_copy_to_which_somebody_writes_stays(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "data").mkdir()
    busy = here / "data/.WG4iQv8EDwbGwMhAXilnRQ.tmp"
    busy.write_bytes(b"x")

    def write(_seconds: float) -> None:
        os.utime(busy, (0, busy.stat().st_mtime + 1))

    monkeypatch.setattr("time.sleep", write)
    repair_dvc.main()
    assert busy.exists()
