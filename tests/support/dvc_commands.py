"""Commands of docs/dvc.md, run in a project."""

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.pages import code_blocks, section
from tests.support.project import Project

PAGE = "docs/dvc.md"


def documented(heading: str) -> list[str]:
    """Return the commands below a heading of the page, without their comments."""
    blocks = code_blocks(section(PAGE, heading), "")
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines, heading
    return lines


def run_all(project: Project, commands: list[str], **names: str) -> str:
    """Run commands one after the other, and return what the last one prints.

    Args:
        project: where to run them.
        commands: of the page.
        names: what to put in place of a name in capitals.
    """
    stdout = ""
    for command in commands:
        for name, value in names.items():
            command = command.replace(name, value)
        done = subprocess.run(
            shlex.split(command),
            cwd=project.folder,
            env=project.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        stdout = done.stdout
    return stdout


def clone(project: Project, folder: Path) -> Project:
    """Clone what the project has committed, with the parameters of its environment."""
    subprocess.run(["git", "clone", "--quiet", project.folder, folder], check=True)
    cloned = Project.at(folder)
    cloned.environment, cloned.python = project.environment, project.python
    return cloned


def identify(project: Project) -> None:
    """Give git the name of an author."""
    for key in ("user.name", "user.email"):
        subprocess.run(["git", "config", key, "a@b"], cwd=project.folder, check=True)


def datapoints(project: Project, *revisions: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each plot, by the command that DVC's extension for VS Code runs."""
    options = ("-o", ".dvc/tmp/plots", "--split", "--json")
    done = project.run("dvc", "plots", "diff", *revisions, *options)
    if done.returncode:
        return {}
    plots = json.loads(done.stdout)["data"]
    return {
        name: [row for part in parts for row in part["anchor_definitions"]["<DVC_METRIC_DATA>"]]
        for name, parts in plots.items()
    }


def wait_until(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.5)
