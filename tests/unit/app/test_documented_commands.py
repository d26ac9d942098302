"""The commands of docs/command.md, those for a model kept elsewhere included."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nanopoet.app.cli import main
from tests.support.fork_server import folder_of_python
from tests.support.project import ROOT, Project

pytestmark = pytest.mark.process


def documented_commands() -> str:
    """Return the bash blocks of docs/command.md."""
    page = (ROOT / "docs/command.md").read_text(encoding="utf-8")
    return "".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL))


def test_errors_and_help_name_documented_commands(capsys: pytest.CaptureFixture[str]) -> None:
    script = documented_commands().splitlines()
    assert main(["write", "--model", "models:/nanopoet@best"]) == 1
    command = re.search("run `(.*)` in the project", capsys.readouterr().err)
    assert command
    assert command[1] in script
    with pytest.raises(SystemExit):
        main(["write", "--help"])
    shown = capsys.readouterr().out
    assert command[1] in shown
    for line in re.findall(r"(dvc get .*) -o poet\n", shown):
        known = line.replace("<commit, tag or branch>", "HEAD")
        known = known.replace("<path or URL>", "$path_or_url")
        assert any(documented.startswith(f"{known} -o ") for documented in script)


def test_the_documented_commands_run(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run each block in a project whose pipeline has run; all ways to a model lead to the same."""
    here = Project.at(shutil.copytree(project.folder, tmp_path / "here"))
    here.commit()
    script = documented_commands()
    assert script.count("nanopoet ") == 9
    known = f'path_or_url="{here.folder}"\n'
    python = folder_of_python() / "python"
    for name, module in (("nanopoet", "nanopoet.app.cli"), ("mlflow", "mlflow"), ("dvc", "dvc")):
        known += f'{name}() {{ "{python}" -m {module} "$@"; }}\n'
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        ["bash", "-c", f"{known}set -eo pipefail\n{script}"],
        cwd=here.folder,
        env=kept | {"PYTHONPATH": str(here.folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("明月") >= 7  # once for each poem that was asked for; more by chance
    assert (here.folder / "poet-hf/model.safetensors").is_file()
    assert (here.folder / "poet.gguf").is_file()
    monkeypatch.chdir(here.folder)
    folders = ("models/poet", "poet/artifacts/poet", "poet-at-commit", "poet-elsewhere")
    poems = set()
    for folder in folders:
        assert main(["write", "明月", "--seed", "1", "--model", folder]) == 0
        poems.add(capsys.readouterr().out)
    assert len(poems) == 1
