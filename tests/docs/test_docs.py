"""README and docs: their links, the code that they name, and their tables hold."""

import importlib
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import ROOT, Project

READMES = ("README.md", "README.zh.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (*READMES, "CONTRIBUTING.md", "SECURITY.md", "docs/*.md")
    for path in ROOT.glob(pattern)
)
EARLIER = {"bench.screening"}
"""Modules that only an earlier commit has, which the page names beside them."""
ROOMS = r"(?:nanopoet|stages|bench|tools|tests)"


@cache
def _page(name: str) -> str:
    """Return a page without the markers of figures."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"<!--.*?-->", "", text)


@cache
def _tracked() -> list[str]:
    """Return the files of the repository; those not yet in git included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [file for file in done.stdout.splitlines() if (ROOT / file).exists()]


def _slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(path: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    return {_slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.M)}


def test_there_are_pages() -> None:
    assert {*READMES, "docs/data.md", "docs/performance.md", "docs/experiment-log.md"} <= {*PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_the_links_lead_somewhere(name: str) -> None:
    text = re.sub(r"```.*?```", "", _page(name), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


@pytest.mark.parametrize("name", PAGES)
def test_the_named_files_exist(name: str) -> None:
    for path in re.findall(rf"(?<![\w/.])({ROOMS}/[\w./-]*\w)(?![\w<])", _page(name)):
        assert (ROOT / path).exists(), path
    for page in re.findall(r"(?<![\w/.])docs/[\w-]+\.(?:md|json|png|ipynb)", _page(name)):
        assert (ROOT / page).exists(), page


@pytest.mark.parametrize("name", PAGES)
def test_the_named_modules_exist(name: str) -> None:
    """`python -m a.b`, and dotted names such as `nanopoet.corpus.split.split_data`."""
    text = _page(name)
    names = set(re.findall(rf"python -m ({ROOMS}[\w.]*\w)", text))
    names |= set(re.findall(r"(?<![\w/.-])(nanopoet(?:\.\w+)+)", text))
    for dotted in names - EARLIER:
        assert _resolves(dotted), dotted


def _resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        if not place.with_suffix(".py").is_file() and not place.is_dir():
            continue
        if count == len(parts):
            return True
        value: Any = importlib.import_module(".".join(parts[:count]))
        for part in parts[count:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize("name", PAGES)
def test_the_named_parameters_exist(name: str) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    sections = "|".join(params)
    found = re.findall(rf"(?<![\w/.])({sections})\.([a-z]\w*)", _page(name))
    for section, leaf in found:
        if leaf in {"json", "py", "md"}:
            continue
        assert leaf in params[section], f"{section}.{leaf}"


@pytest.mark.parametrize("name", PAGES)
def test_the_make_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = _page(name)
    blocks = "\n".join(re.findall(r"```.*?```", text, re.S))
    named = set(re.findall(r"`make ([a-z][a-z-]*)", text))
    named |= set(re.findall(r"^make ([a-z][a-z-]*)", blocks, re.M))
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), target
    if name in READMES:
        assert {"repro", "test", "ui", "bench"} <= named


@pytest.mark.parametrize("name", PAGES)
def test_the_recipes_of_commands_exist(name: str) -> None:
    recipes = yaml.safe_load((ROOT / "recipes.yaml").read_text(encoding="utf-8"))
    for recipe in re.findall(r"RECIPE=(\w+)|--recipe (\w+)", _page(name)):
        assert "".join(recipe) in recipes


# README and its Chinese version


@pytest.mark.parametrize("name", READMES)
def test_readme_is_short(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 180
    assert max(map(len, lines)) < 400


def test_both_readmes_have_the_same_numbers() -> None:
    numbers = [set(re.findall(r"\d[\d,.]*\d", _page(name))) for name in READMES]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) > 10


@pytest.mark.process
@pytest.mark.parametrize("name", READMES)
def test_the_python_of_readme_runs(
    name: str,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    blocks = re.findall(r"```python\n(.*?)```", _page(name), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})  # noqa: S102
    out = capsys.readouterr().out
    assert out.endswith("\n")
    assert len(out.strip()) <= 64
    assert "B" not in out


# The file tree of docs/architecture.md


def _tree() -> dict[str, bool]:
    """Return each path of the annotated file tree, and whether its files are listed, too."""
    [block] = [
        part for part in _page("docs/architecture.md").split("```") if "\nparams.yaml " in part
    ]
    paths: dict[str, bool] = {}
    folders: list[tuple[int, str]] = []
    for line in block.strip().splitlines():
        depth, name = len(line) - len(line.lstrip()), line.split()[0]
        folders = [(each, folder) for each, folder in folders if each < depth]
        parent = folders[-1][1] if folders else ""
        if parent:
            paths[parent] = True
        paths[parent + name] = False
        if name.endswith("/"):
            folders.append((depth, parent + name))
    return paths


def test_the_file_tree_is_complete() -> None:
    tree = _tree()
    assert len(tree) > 60
    for path in tree:
        assert (ROOT / path).exists(), path
    code = [
        file
        for file in _tracked()
        if re.match(r"(?:nanopoet|stages|tools|bench)/.*\.py$", file)
        and not file.endswith("__init__.py")
    ]
    assert len(code) > 60
    for file in code:
        summarised = any(
            f"{folder.as_posix()}/" in tree and not tree[f"{folder.as_posix()}/"]
            for folder in Path(file).parents
        )
        assert file in tree or summarised, f"{file} is missing in docs/architecture.md"


# The speed table of docs/performance.md


def _row(page: str, name: str) -> list[str]:
    """Return the cells of the first row with a name, without that name."""
    cells = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", page, re.M)
    assert cells, name
    return [cell.strip() for cell in cells[0].split("|")]


def _number(cell: str) -> float:
    return float(cell.replace(",", "").split(" ")[0].removeprefix("≤ "))


def _measured(page: str) -> dict[str, list[float]]:
    """Return the rows of the speed table that follow from a page of `make bench`."""
    ours = _number(_row(page, "default")[0])
    shares = re.findall(r"`default.*` computes ([\d.]+) of .*\(([\d,]+) GFLOP/s\)", page)
    (share, rate), (share_fp32, rate_fp32) = shares
    curve = re.findall(r"^\| default \| \d+ \| (.*) \| [\d.]+ after", page, re.M)[0].split(" | ")
    return {
        "training, tokens/s: default / notebook": [_number(_row(page, "default")[1])],
        "the same with the default's batches of 16 × 128": [
            _number(_row(page, "default, own batches")[1])
        ],
        "the same in fp32": [_number(_row(page, "default, own batches, fp32")[1])],
        "training, tokens/s: default / `transformers` GPT-2 in bf16": [
            ours / _number(_row(page, "transformers GPT-2")[0])
        ],
        "training, tokens/s: default / `litgpt` in bf16": [ours / _number(_row(page, "litgpt")[0])],
        "default: share of the bf16 matmul rate": [float(share)],
        "that matmul rate, GFLOP/s": [_number(rate)],
        "default, own batches, fp32: share of the fp32 matmul rate": [float(share_fp32)],
        "that fp32 matmul rate, GFLOP/s": [_number(rate_fp32)],
        "default: peak memory, GB": [_number(_row(page, "default")[3])],
        "seconds of training to val 6.0, 5.5, 5.0, 4.7": list(map(float, curve[:4])),
        "writing one poem, characters/s: default / notebook": [
            _number(_row(page, "one at a time")[1])
        ],
        "writing 32 at once: default / notebook": [_number(_row(page, "32 at once")[1])],
        "writing 32 at once in bf16: default / notebook": [
            _number(_row(page, "32 at once, bf16")[1])
        ],
        "`load` / decompressing and parsing alone, time": [
            _number(_row(page, "load / decompress + parse")[2])
        ],
        "`tokenize` + `encode` / encoding character by character, time": [
            _number(_row(page, "tokenize + encode / encode per character")[2])
        ],
        "peak memory of `load`, MB": [_number(_row(page, "peak memory of load, MB")[0])],
    }


def test_the_speed_table_is_that_of_make_bench() -> None:
    table = _page("docs/performance.md")
    for name, expected in _measured(_page("docs/bench-cpu.md")).items():
        cell = _row(table, name)[0]
        shown = [part.strip() for part in cell.split(" (")[0].split(", ")]
        for text, value in zip(shown, expected, strict=True):
            digits = len(text.partition(".")[2])
            assert _number(text) == pytest.approx(value, abs=0.51 * 10**-digits), (name, text)
