"""The pipeline in other folders, under other locales, and for a user without a name."""

import getpass
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.project import ROOT, Project


def _locale(project: Project, charmap: str, language: str) -> None:
    """Make a locale, and let the project run in it."""
    folder = project.folder.parent / "locales"
    folder.mkdir()
    command = ["localedef", "-i", language, "-f", charmap, str(folder / "made")]
    if (
        not shutil.which("localedef")
        or subprocess.run(command, stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("the sources of locales are not installed")
    project.environment |= {"LOCPATH": str(folder), "LC_ALL": "made", "PYTHONUTF8": "0"}
    project.encoding = charmap


def _as_it_is(project: Project) -> None:
    project.fork()


def _ascii(project: Project) -> None:
    project.environment |= {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def _terminal(project: Project) -> None:
    project.environment |= {"PYTHONIOENCODING": "latin-1"}
    project.encoding = "latin-1"


def _nobody(project: Project) -> None:
    """Run as a user without an entry, a name or a home."""
    unset = {"HOME", "LOGNAME", "USER", "LNAME", "USERNAME"}
    environment = {name: each for name, each in project.environment.items() if name not in unset}
    keep = ["--inh-caps", "+dac_override,+fowner", "--ambient-caps", "+dac_override,+fowner"]
    command = ["setpriv", "--reuid", "12345", "--clear-groups", *keep]
    if not shutil.which("setpriv") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("another user needs setpriv and root")
    project.environment = environment
    subprocess.run(["chown", "--recursive", "12345", project.folder], check=True)
    for parent in project.folder.parents:  # git asks whether it may read, and forgets capabilities
        if parent.is_relative_to(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o011)
    python = project.folder.parent / "python"
    python.write_text(f'#!/bin/sh\nexec {" ".join(command)} {sys.executable} "$@"\n')
    python.chmod(0o755)
    project.python = str(python)


def _no_home(project: Project) -> None:
    _nobody(project)
    project.environment["HOME"] = "/proc"  # nobody writes there, not even root


CHANGES: dict[str, Callable[[Project], None]] = {
    "another folder": _as_it_is,
    "Latin-1": lambda project: _locale(project, "ISO-8859-1", "en_US"),
    "GBK": lambda project: _locale(project, "GBK", "zh_CN"),
    "ASCII": _ascii,
    "a terminal with Latin-1": _terminal,
    "a user without a name or home": _nobody,
    "a home that nobody writes": _no_home,
}


FAST = {"another folder", "ASCII"}


def test_make_gives_dvc_a_user_and_a_home() -> None:
    """DVC asks for both, and fails without."""
    user = f"{os.getuid()}"
    with suppress(KeyError):
        user = pwd.getpwuid(os.getuid()).pw_name
    show = ["make", "-s", "--eval", "show: ; @echo $$HOME $$LOGNAME", "show"]
    given = {"HOME": "/x", "LOGNAME": "y"}
    for environment, expected in (({}, ["/tmp", user]), (given, ["/x", "y"])):  # noqa: S108
        done = subprocess.check_output(
            show, cwd=ROOT, env=environment | {"PATH": os.environ["PATH"]}, encoding="utf-8"
        )
        assert done.split() == expected


@pytest.fixture(scope="module")
def expected(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of an ordinary run."""
    project = Project.at(shutil.copytree(prepared, tmp_path_factory.mktemp("x") / "own")).fork()
    project.repro()
    return _outputs(project)


def _outputs(project: Project) -> dict[str, bytes]:
    names = ("models/poet/model.safetensors", "models/poet/samples.json", "data/samples.txt")
    return {name: (project.folder / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    "what",
    [what if what in FAST else pytest.param(what, marks=pytest.mark.slow) for what in CHANGES],
)
def test_the_outputs_are_the_same_and_the_run_is_tracked(
    prepared: Path, tmp_path: Path, expected: dict[str, bytes], what: str
) -> None:
    odd = "it's 50% %20 #1? 唐" if what == "another folder" else "plain"
    project = Project.at(shutil.copytree(prepared, tmp_path / odd))
    user = "12345" if CHANGES[what] in (_nobody, _no_home) else getpass.getuser()
    CHANGES[what](project)
    for stage in ("pretrain", "evaluate", "report"):
        done = project.run(f"stages.{stage}")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert _outputs(project) == expected
    [run] = Project.at(project.folder).tracked()
    assert run["status"] == "FINISHED"
    assert run["tags"]["nanopoet.differences"].startswith("nothing (")
    assert run["tags"]["mlflow.user"] == user
