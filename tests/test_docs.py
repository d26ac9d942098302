"""README and its Chinese twin say what is there and what was measured."""

import csv
import json
import re
import subprocess
from typing import Any

import pytest

from tests.project import ROOT, Project

PAGES = ("README.md", "README.zh.md")


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _metrics(stage: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(
        (ROOT / f"metrics/{stage}.json").read_text(encoding="utf-8")
    )
    return figures


def _tree(page: str) -> set[str]:
    """Paths in the annotated file tree."""
    [block] = [part for part in page.split("```") if part.startswith("\nparams.yaml")]
    paths, folder = set(), ""
    for line in block.strip().splitlines():
        name = line.split()[0]
        path = folder + name if line.startswith(" ") else name
        folder = folder if line.startswith(" ") else name if name.endswith("/") else ""
        paths.add(path)
    return paths


@pytest.mark.parametrize("name", PAGES)
def test_the_file_tree_is_complete(name: str) -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = {
        file for file in listed.stdout.splitlines() if not file.startswith(".") and file != name
    }
    expected = {file for file in files if "/" not in file}
    expected |= {file.split("/")[0] + "/" for file in files if "/" in file}
    expected |= {
        file
        for file in files
        if file.startswith(("nanopoet/", "stages/", "bench/"))
        and file.endswith(".py")
        and not file.endswith("__init__.py")
    }
    assert _tree(_page(name)) == expected


@pytest.mark.parametrize("name", PAGES)
def test_the_figures_are_those_of_the_metrics(name: str) -> None:
    page = _page(name)
    pretrain, evaluate = _metrics("pretrain"), _metrics("evaluate")
    figures = [
        f"| {_metrics('load')['poems']:,} | `metrics/load.json`",
        f"| {_metrics('tokenize')['vocab_size']:,} | `metrics/tokenize.json`",
        f"| {pretrain['parameters']:,} | `metrics/pretrain.json`",
        f"| {evaluate['nats_per_character']:.4f} | `metrics/evaluate.json`",
        f"| {evaluate['hesitation']:.0f} | `metrics/evaluate.json`",
    ]
    for figure in figures:
        assert figure in page


def test_the_curve_is_the_seed_s() -> None:
    """The committed run: the figures in README, each within 0.05 of the seed's."""
    [row] = re.findall(
        r"^\| val loss at steps ([\d, ]+) \| ([\d., ]+) \| ([\d., ]+) \|", _page("README.md"), re.M
    )
    steps, seed, ours = ([float(part) for part in cell.split(", ")] for cell in row)
    assert steps == [0, 10, 20, 30, 40, 90]
    assert ours == pytest.approx(seed, abs=0.05)
    history = ROOT / "models/poet/history.csv"
    if history.exists():  # in git there are only the figures, DVC has the file
        with open(history, encoding="utf-8", newline="") as file:
            rows = {row["step"]: row["loss_val"] for row in csv.DictReader(file)}
        if {str(int(step)) for step in steps} <= set(rows):
            assert [round(float(rows[str(int(step))]), 2) for step in steps] == ours


def test_the_twins_keep_step() -> None:
    english, chinese = map(_page, PAGES)
    for pattern in (r"^(#+) ", r"^(make \w+|dvc [\w -]+[\w=.-])", r"\]\((docs/[^)]*|http[^)]*)\)"):
        assert re.findall(pattern, english, re.M) == re.findall(pattern, chinese, re.M)
    numbers = [
        set(re.findall(r"\d[\d,.]*\d", page.replace("、", ", "))) for page in (english, chinese)
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", PAGES)
def test_the_python_blocks_run(
    name: str,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    blocks = re.findall(r"```python\n(.*?)```", _page(name), re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, name, "exec"), {})  # noqa: S102
    assert len(capsys.readouterr().out.strip()) == 21


@pytest.mark.parametrize("name", PAGES)
def test_the_make_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)\b", _page(name)))
    assert {"repro", "test", "ui", "bench"} <= targets
    for target in targets:
        assert f"\n{target}: " in makefile
