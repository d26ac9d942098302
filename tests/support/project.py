"""A copy of the repository with a small pipeline that really runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.fork_server import folder_of_python
from tests.support.yaml import write_yaml

ROOT = Path(__file__).parents[2]
DEFAULT_PARAMS = ROOT / "tests/support/params.yaml"
"""The default recipe, also where params.yaml has been changed for a run."""


class Project:
    """A copy of the repository with small parameters and a corpus of its own."""

    def __init__(self, folder: Path, **changes: dict[str, Any]) -> None:
        self._at(folder)
        for name in ("stages", "nanopoet", "tools"):
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
        (folder / "metrics").mkdir()
        for name in (
            "dvc.yaml",
            "recipes.yaml",
            ".gitignore",
            ".dvcignore",
            ".dvc/config",
            "metrics/reader.json",
        ):
            shutil.copy(ROOT / name, folder / name)
        shutil.copy(DEFAULT_PARAMS, folder / "params.yaml")
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        self.set(**changes)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Use the project that is already in `folder`."""
        project = cls.__new__(cls)
        project._at(folder)
        return project

    def _at(self, folder: Path) -> None:
        self.folder = folder
        self.umask = -1
        self.encoding = "utf-8"
        self.python = sys.executable
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def fork(self, **environment: str) -> Self:
        """Use the `python` of a fork server from now on; return the project.

        Args:
            environment: variables with which the server and the project run.
        """
        self.environment |= environment
        folder = folder_of_python(**environment)
        if not self.environment["PATH"].startswith(str(folder)):
            self.python = str(folder / "python")
            self.environment["PATH"] = f"{folder}{os.pathsep}{self.environment['PATH']}"
        return self

    def set(self, **changes: dict[str, Any]) -> None:
        """Change params.yaml: section → leaf → value."""
        # At the top, it would make `_look` import the nanopoet of the repository, not of the copy.
        from nanopoet.common.yaml import read_yaml

        path = self.folder / "params.yaml"
        params = read_yaml(path)
        for section, values in changes.items():
            params[section].update(values)
        write_yaml(path, params)

    def commit(self, message: str = "everything") -> None:
        """Commit everything to git."""
        for command in (
            ("add", "--all"),
            ("commit", "--quiet", "--allow-empty", "--message", message),
        ):
            git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *command]
            subprocess.run(git, cwd=self.folder, check=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m <command>` in the project."""
        with self.start(*command) as process:
            stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start `python -m <command>` in the project."""
        return subprocess.Popen(
            [self.python, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding=self.encoding,
            umask=self.umask,
        )

    def repro(self, *targets: str) -> list[str]:
        """Run `dvc repro` up to `report` or other targets, and return the stages that ran."""
        done = self.run("dvc", "repro", *(targets or ("report",)))
        assert done.returncode == 0, done.stdout + done.stderr
        return [
            line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running")
        ]

    def metrics(self, stage: str) -> dict[str, Any]:
        """Read the metrics of a stage."""
        path = self.folder / f"metrics/{stage}.json"
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return figures

    def tracked(self) -> list[dict[str, Any]]:
        """Return all that MLflow has of each run, the oldest first."""
        done = subprocess.run(
            [folder_of_python() / "python", "-m", "tests.support.stored_runs"],
            cwd=self.folder,
            env=self.environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=True,
        )
        runs: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return runs
