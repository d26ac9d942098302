"""Arguments of stages, tools and benchmarks: `--help` explains, and a mistake does no work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import python_files
from tests.support.project import ROOT

pytestmark = pytest.mark.process

PROGRAMS = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in python_files("stages", "tools", "bench")
    if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
    and file.name != "damage.py"  # which tools.reliability alone runs
]
"""Modules for `python -m`."""

RUN = """
import contextlib, io, json, runpy, sys
found = {}
for name in sys.argv[2:]:
    out, sys.argv = io.StringIO(), [name, sys.argv[1]]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
            status = None
        except SystemExit as ended:
            status = ended.code
    found[name] = [status, out.getvalue()]
print(json.dumps(found))
"""


def run_all(folder: Path, argument: str) -> dict[str, tuple[int | None, str]]:
    """Run all programs with an argument in one process, and return status and output of each."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, argument, *PROGRAMS],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    found: dict[str, tuple[int | None, str]] = json.loads(done.stdout)
    assert len(found) == len(PROGRAMS) > 25
    assert list(folder.iterdir()) == []  # none has begun to work
    return found


def test_help_explains(tmp_path: Path) -> None:
    for name, (status, text) in run_all(tmp_path, "--help").items():
        assert status == 0, f"{name}: {text}"
        said = " ".join(text.split())
        assert said.startswith("usage: "), name
        assert len(said.partition("] ")[2]) > 60, f"{name} says nothing of itself: {text}"


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    for name, (status, text) in run_all(tmp_path, "--faster").items():
        assert status == 2, f"{name}: {text}"
        assert "error: " in text.splitlines()[-1], name


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("bench.speed default --device tpu", "invalid choice: 'tpu'"),
        ("bench.generation x", "invalid choice: 'x'"),
        ("bench.export /nope", "error: export: /nope: no such folder"),
        ("bench.export --count 0", "--count: 0 is not allowed: 1 or more"),
        ("bench.requests --rules -5", "--rules: -5 is not allowed: 1 or more"),
        ("tools.summary foo", "invalid choice: 'foo'"),
        ("tools.apply_experiment", "error: apply_experiment: name an experiment of"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path: Path, command: str, problem: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode in (1, 2)
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
