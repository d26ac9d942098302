"""Checks of the teaching notebook docs/tour.ipynb: it runs, and its outputs are stored."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from nanopoet.corpus.poems import write_poems
from nanopoet.models.checkpoint import save_model
from tests.support.models import tiny_model
from tests.support.poems import make_poems
from tests.support.project import DEFAULT_PARAMS, ROOT

TOUR = ROOT / "docs/tour.ipynb"
MOST_BYTES = 300_000
MOST_PICTURE_BYTES = 60_000
MOST_LINES = 15
"""Lines of a code cell."""
SMALL = 'SOURCE, MODEL, STEPS = "poems.jsonl", "model", 4'


def _read() -> NotebookNode:
    return nbformat.read(TOUR, as_version=4)  # type: ignore[no-untyped-call, no-any-return]


def _code(tour: NotebookNode) -> list[NotebookNode]:
    cells = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert cells, "no code cell"
    return cells


def _text(cell: NotebookNode) -> str:
    """Return what a code cell prints and shows as text."""
    shown = [output.get("text") or output.data.get("text/plain", "") for output in cell.outputs]
    return "".join(shown)


@pytest.fixture
def tour() -> NotebookNode:
    return _read()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small corpus and params.yaml, in which a kernel may run."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copy(DEFAULT_PARAMS, tmp_path)
    write_poems(tmp_path / "poems.jsonl", make_poems())
    return tmp_path


@pytest.mark.process
def test_the_tour_runs(tour: NotebookNode, folder: Path) -> None:
    """Run all cells on a small corpus, and the cell of the trained model again without one."""
    stored = [bool(cell.outputs) for cell in _code(tour)]
    [parameters] = [cell for cell in tour.cells if "parameters" in cell.metadata.get("tags", [])]
    assert parameters == _code(tour)[0]
    assert re.findall(r"^[A-Z]+", parameters.source, re.M) == ["SOURCE", "MODEL", "STEPS"]
    parameters.source = SMALL
    save_model(folder / "model", *tiny_model(), {})
    [loads] = [cell for cell in _code(tour) if "load_model(MODEL)" in cell.source]
    again = new_code_cell('MODEL = "missing"\n' + loads.source)  # type: ignore[no-untyped-call]
    tour.cells.append(again)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(tour, timeout=300, resources=resources).execute()
    assert [bool(cell.outputs) for cell in _code(tour)] == [*stored, True]
    assert "make repro" not in _text(loads)
    assert "make repro" in _text(again)


def test_the_stored_outputs_are_of_the_whole_corpus_and_of_one_run(tour: NotebookNode) -> None:
    cells = _code(tour)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
        assert cell.outputs or "def " in cell.source or "print(" not in cell.source
    text = "".join(map(_text, cells))
    figures = json.loads((ROOT / "docs/figures.json").read_text(encoding="utf-8"))
    for stage, figure in (("load", "poems"), ("tokenize", "vocab_size")):
        assert f"{figures[stage][figure]:,}" in text
    assert "241,440" in text
    assert "make repro" not in text, "the outputs are of a run without the trained model"


def test_the_file_is_small(tour: NotebookNode) -> None:
    assert TOUR.stat().st_size <= MOST_BYTES
    for cell in _code(tour):
        assert len(cell.source.splitlines()) <= MOST_LINES
        for output in cell.outputs:
            for content in output.get("data", {}).values():
                assert len(content) <= MOST_PICTURE_BYTES


def test_no_path_of_a_machine_is_in_the_file() -> None:
    text = TOUR.read_text(encoding="utf-8")
    roots = "home|Users|root|tmp|work|usr|opt|var|mnt|srv|private"
    assert not re.search(rf"(?<![\w.<])/({roots})/|[A-Z]:\\\\", text)
    assert str(ROOT) not in text


def test_headings_are_english_and_prose_is_chinese(tour: NotebookNode) -> None:
    prose = [cell.source for cell in tour.cells if cell.cell_type == "markdown"]
    headings = re.findall(r"^#+ (.+)$", "\n".join(prose), re.M)
    assert len(headings) > 5
    assert all(heading.isascii() for heading in headings)
    for text in prose:
        words = re.sub(r"(?s:```.*?```)|`[^`]*`|\(\S*?\)|^#.*$", "", text, flags=re.M)
        hanzi = len(re.findall(r"[\u4e00-\u9fff]", words))
        letters = len(re.findall(r"[A-Za-z]", words))
        assert hanzi > 2 * letters, text


def test_comments_are_english(tour: NotebookNode) -> None:
    comments = [c for cell in _code(tour) for c in re.findall(r"  # (.+)$", cell.source, re.M)]
    assert comments
    assert all(comment.isascii() for comment in comments)


def test_the_files_that_the_prose_names_exist(tour: NotebookNode) -> None:
    text = "".join(cell.source for cell in tour.cells if cell.cell_type == "markdown")
    pages = re.findall(r"\]\((\S+?)\)", text)
    files = re.findall(r"`((?:docs|nanopoet)/\S+\.\w+)`", text)
    assert pages
    assert files
    for path in [*(TOUR.parent / page for page in pages), *(ROOT / file for file in files)]:
        assert path.is_file()
