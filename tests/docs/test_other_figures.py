"""No test depends on what a run has written, or on the parameters of the workspace."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nanopoet.recipes import load_recipe
from tests.support.project import DEFAULT_PARAMS, ROOT
from tests.support.yaml import write_yaml

UNITS = ("bench", "training", "tools", "stages", "test_params.py", "test_recipes.py")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["notebook", "evening"])
def test_other_figures_and_parameters_fail_no_test(tmp_path: Path, recipe: str) -> None:
    """As after `make repro` with a recipe and a corpus of one's own, on another processor."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.check_output(listed, cwd=ROOT, encoding="utf-8").splitlines()
    for file in (each for each in files if (ROOT / each).is_file()):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    for path in (tmp_path / "metrics").glob("*.json"):
        changed = re.sub(r"\d(?=\D*$)", "7", path.read_text(encoding="utf-8"), flags=re.M)
        path.write_text(changed, encoding="utf-8")
    params = load_recipe(recipe, ROOT / "recipes.yaml", DEFAULT_PARAMS)[0].model_dump()
    params["load"]["source"] = "mine.jsonl"
    write_yaml(tmp_path / "params.yaml", params)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0"]
    units = [f"tests/unit/{name}" for name in UNITS]
    done = subprocess.run(
        [*command, "-m", "not process and not slow", "tests/docs", "docs", *units],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout
