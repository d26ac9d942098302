"""`make reader`: a model that had no part in the training reads the poems of the others."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from nanopoet.models.checkpoint import load_model
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.project import Project
from tests.support.yaml import write_yaml

COLUMNS = {
    "asked": ("finetuned", "reinforced", "people"),
    "verse": ("pretrained", "finetuned", "reinforced", "people", "n-grams"),
}
"""Columns of the tables, in the order of the report."""
BLOCK_SIZE = 4
"""Window of the small reader, in tokens."""


@pytest.fixture(scope="module")
def read(project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project whose poems a small reader has read, and what the command said."""
    folder = shutil.copytree(project.folder, tmp_path_factory.mktemp("read") / "project")
    # The models of the tests write so little that their poems together may be ten tokens.
    pretrain = {"block_size": BLOCK_SIZE, "layer_num": 1, "max_steps": 3}
    recipe = {"pretrain": pretrain, "evaluate": {"context": BLOCK_SIZE // 2}}
    write_yaml(folder / "recipes.yaml", {"evening": recipe})
    reading = Project.at(folder)
    reading.commit()
    done = reading.run("tools.reader")
    assert done.returncode == 0, done.stdout + done.stderr
    assert reading.repro("report_reinforced") == ["report_reinforced"]
    return reading, done.stdout


def _report(project: Project) -> str:
    page = (project.folder / "report/reinforced.html").read_text(encoding="utf-8")
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.S).split())


def test_the_reader_is_of_the_recipe_and_the_models_stay(
    project: Project, read: tuple[Project, str]
) -> None:
    reading, said = read
    reader, _ = load_model(reading.folder / "models/reader")
    assert (reader.block_size, reader.config["layer_num"]) == (BLOCK_SIZE, 1)
    assert reading.metrics("reader")["parameters"] == reader.num_parameters
    assert "trains the recipe evening" in said
    people = reading.metrics("reader")["asked"]["people"]["reader_model"]
    assert said.endswith(f"people {people:.2f}, reinforced " + said.rpartition(" ")[2])
    assert re.search(r"reinforced \d+\.\d\d\n$", said)
    for name in ("poet", "finetuned", "reinforced"):
        weights = [p.folder / f"models/{name}/model.safetensors" for p in (project, reading)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_every_column_of_the_report_is_read(read: tuple[Project, str]) -> None:
    reading, _ = read
    figures, text = reading.metrics("reader"), _report(reading)
    for table, names in COLUMNS.items():
        assert set(figures[table]) == set(names)
        cells = " ".join(f"{figures[table][name]['reader_model']:.3f}" for name in names)
        assert f"for the strong reader 強讀者 {cells} " in text
    assert figures["asked"]["people"] != figures["asked"]["finetuned"]


def test_it_is_trained_once(read: tuple[Project, str]) -> None:
    reading, _ = read
    before = reading.metrics("reader")
    again = reading.run("tools.reader")
    assert again.returncode == 0, again.stderr
    assert "trains the recipe" not in again.stdout
    assert reading.metrics("reader") == before


def test_figures_of_other_poems_are_left_out(read: tuple[Project, str], tmp_path: Path) -> None:
    other = Project.at(shutil.copytree(read[0].folder, tmp_path / "other"))
    figures: dict[str, Any] = other.metrics("reader")
    figures["asked"]["finetuned"]["reader_ngram"] += 1e-9
    (other.folder / "metrics/reader.json").write_text(json.dumps(figures), encoding="utf-8")
    assert other.repro("report_reinforced") == ["report_reinforced"]
    assert "No strong reader has read these poems." in _report(other)
    assert "強讀者" not in _report(other)


def test_without_poems_nothing_is_trained(read: tuple[Project, str], tmp_path: Path) -> None:
    other = Project.at(shutil.copytree(read[0].folder, tmp_path / "other"))
    shutil.rmtree(other.folder / "models/reader")
    (other.folder / "data/asked_reinforced.json").unlink()
    done = other.run("tools.reader")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: reader: data/asked_reinforced.json: no such file; "
        "run `dvc repro evaluate_reinforced`\n"
    )


def test_a_reader_of_another_corpus_is_refused(read: tuple[Project, str], tmp_path: Path) -> None:
    other = Project.at(shutil.copytree(read[0].folder, tmp_path / "other"))
    path = other.folder / "data/vocab.json"
    path.unlink()  # it may be a link to DVC's cache
    CharTokenizer.from_characters("山水").save(path)
    done = other.run("tools.reader")
    assert done.returncode == 1
    assert "models/reader: its vocabulary is not that of data/vocab.json" in done.stderr
