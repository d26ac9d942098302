"""README and its Chinese duplicate say what is there and what was measured."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.support.project import ROOT, Project

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
        and file.endswith((".py", ".jinja", ".css"))
        and not file.endswith("__init__.py")
    }
    assert _tree(_page(name)) == expected


@pytest.mark.parametrize("name", PAGES)
def test_the_figures_are_those_of_the_metrics(name: str) -> None:
    page = _page(name)
    ours, seed = {stage: _metrics(stage) for stage in ("pretrain", "evaluate")}, _recipe("notebook")
    assert f"{_metrics('load')['poems']:,}" in page
    assert f"{_metrics('tokenize')['vocab_size']:,}" in page
    split = _metrics("split")
    assert f"{split['val_exact_duplicates']:,}" in page
    assert f"{split['val_near_duplicates']:,}" in page
    for stage, figure, form in (
        ("pretrain", "parameters", ","),
        ("evaluate", "nats_per_character", ".4f"),
        ("evaluate", "perplexity", ".0f"),
        ("evaluate", "nats_per_character_without_duplicate", ".4f"),
        ("evaluate", "nats_per_character_with_duplicate", ".4f"),
    ):
        cells = " | ".join(format(entry[stage][figure], form) for entry in (seed, ours))
        assert f"| {cells} | `metrics/{stage}.json` |" in page
    assert ours["pretrain"]["tokens"] == seed["pretrain"]["tokens"] == 1_638_400


MEASURES = (
    "regular",
    "rhyme",
    "tones_alternate",
    "tones_oppose",
    "tones_adhere",
    "regulated",
    "lines_in_train",
    "copies",
)


@pytest.mark.parametrize("name", PAGES)
def test_the_judgement_is_that_of_the_metrics(name: str) -> None:
    """The table of verse measures, row by row, and the figures of prediction around it."""
    page, evaluate, baseline = _page(name), _metrics("evaluate"), _metrics("baseline")
    verse = evaluate["verse"]
    rows = re.findall(r"^\| [^|]+ \| (\S+%) \| (\S+%) \| (\S+%|–) \|$", page, re.M)
    assert len(rows) == len(MEASURES)
    for measure, cells in zip(MEASURES, rows, strict=True):
        values = [verse[source][measure] for source in ("model", "human", "ngram")]
        assert [_percent(value) for value in values] == list(cells), measure
    for figure in ("nats_per_character", "nats_per_character_low", "nats_per_character_high"):
        assert f"{evaluate[figure]:.3f}" in page
    assert f"{evaluate['nats_per_hanzi']:.3f}" in page
    for figure in ("top_1", "top_5"):
        assert _percent(evaluate[figure]) in page
    for order in (4, 5):
        assert f"{baseline[f'kneser_ney_{order}']['nats_per_character']:.3f}" in page


@pytest.mark.parametrize("recipe", ["evening", "small"])
@pytest.mark.parametrize("name", PAGES)
def test_longer_trainings_are_as_they_were_measured(name: str, recipe: str) -> None:
    page, run = _page(name), _recipe(recipe)
    figures = run["evaluate"]
    row = f"| {run['pretrain']['tokens']:,} | {figures['nats_per_character']:.4f} |"
    assert row in page
    for measure in ("regular", "rhyme", "regulated", "copies"):
        assert _percent(figures["verse"]["model"][measure]) in page


def test_people_reach_what_the_page_says() -> None:
    """docs/evaluation.md: the ceiling of each measure."""
    page, human = _page("docs/evaluation.md"), _metrics("evaluate")["verse"]["human"]
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+%) \|", page, re.M)
    assert len(rows) == 10
    for measure, cell in rows:
        assert _percent(human[measure]) == cell
    for form in ("七言绝句", "五言绝句"):
        assert f"{_percent(human['by_form'][form]['regulated'])} of {form}" in page


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def test_the_recipes_were_run_as_they_are() -> None:
    """docs/recipes.json has the workspace's figures for the default."""
    default = _recipe("default")
    assert default["pretrain"] == _metrics("pretrain")
    assert default["evaluate"] == _metrics("evaluate")


def test_the_curve_is_the_seed_s() -> None:
    """The committed run of the seed recipe: the figures in README, each within 0.05."""
    [row] = re.findall(
        r"^\| val loss at steps ([\d, ]+) \| ([\d., ]+) \| ([\d., ]+) \|", _page("README.md"), re.M
    )
    steps, notebook, ours = ([float(part) for part in cell.split(", ")] for cell in row)
    assert steps == [0, 10, 20, 30, 40, 90]
    assert ours == pytest.approx(notebook, abs=0.05)
    curve = _recipe("notebook")["loss_val"]
    assert [round(curve[str(int(step))], 2) for step in steps] == ours


def _recipe(name: str) -> dict[str, Any]:
    text = (ROOT / "docs/recipes.json").read_text(encoding="utf-8")
    figures: dict[str, Any] = json.loads(text)[name]
    return figures


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
    out = capsys.readouterr().out
    assert out.endswith("\n")
    assert len(out.strip()) <= 64
    assert "B" not in out


@pytest.mark.parametrize("name", PAGES)
def test_the_make_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)\b", _page(name)))
    assert {"repro", "test", "ui", "bench"} <= targets
    for target in targets:
        assert f"\n{target}: " in makefile
