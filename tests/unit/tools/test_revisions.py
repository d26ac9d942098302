"""Files of commits and experiments, which may not be there."""

import subprocess
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from tools.revisions import at_revision, git_head, newest_experiment


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    return tmp_path


def test_without_a_commit_the_error_asks_for_one(here: Path) -> None:
    with pytest.raises(NanopoetError, match=r"git rev-parse: .*; figures need a commit"):
        git_head()
    assert newest_experiment("evening") is None
    assert (here / ".git").exists()


@pytest.mark.parametrize(("revision", "path"), [("HEAD", "lost.json"), ("gone", "params.yaml")])
def test_what_git_and_dvc_lack_is_named(here: Path, revision: str, path: str) -> None:
    subprocess.run(["dvc", "init", "--quiet"], check=True)
    (here / "params.yaml").write_text("a: 1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "all"], check=True)
    assert at_revision("HEAD", "params.yaml") == "a: 1\n"
    with pytest.raises(
        NanopoetError, match=rf"^{path} at {revision}: .*; run the experiment again"
    ):
        at_revision(revision, path)
