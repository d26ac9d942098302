"""The rooms of the library, and who may import whom."""

import ast
from pathlib import Path

import pytest

from tests.support.imports import closure, imported_files, imported_names, python_files, tree
from tests.support.project import ROOT

LAYERS = [
    ["nanopoet/common", "nanopoet/ops"],
    ["nanopoet/param_sections", "nanopoet/prosody"],
    ["nanopoet/params", "nanopoet/corpus"],
    ["nanopoet/recipes", "nanopoet/tokens"],
    ["nanopoet/models"],
    ["nanopoet/writing"],
    ["nanopoet/training", "nanopoet/evaluation", "nanopoet/export"],
    ["nanopoet/report", "nanopoet/app", "nanopoet/reinforcement"],
    ["nanopoet/__init__", "nanopoet/__main__"],
    ["stages", "tools", "bench", "tests/support"],
]
"""Bottom to top. A file imports from its own room and from layers below."""

MAX_LINES = 300


def room_of(path: Path) -> str:
    """Name the room of a file, as in `LAYERS`.

    >>> room_of(ROOT / "nanopoet/models/gpt.py"), room_of(ROOT / "stages/tracking/store.py")
    ('nanopoet/models', 'stages')
    """
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return f"{first}/{rest[0]}" if first in {"nanopoet", "tests"} else first


LAYER_OF = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
LIBRARY = python_files("nanopoet")
CODE = [*LIBRARY, *python_files(*LAYERS[-1])]


def test_every_file_has_a_room_and_every_room_has_files() -> None:
    assert {room_of(file) for file in CODE} == set(LAYER_OF)


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_lead_down(file: Path) -> None:
    """A room of the library imports neither from its own layer nor from one above."""
    own = room_of(file)
    for imported in imported_files(file):
        other = room_of(imported)
        together = own == other or {own, other} <= set(LAYERS[-1])
        assert together or LAYER_OF[other] < LAYER_OF[own], f"{other} is not below {own}"


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_text_has_an_encoding(file: Path) -> None:
    """Without one, Python takes the locale's for files and for the output of other programs."""
    for call in (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call)):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        match ast.unparse(call.func).rpartition(".")[2], call.func:
            case ("read_text", ast.Attribute()) | ("write_text", ast.Attribute()):
                is_text = True
            case ("open", ast.Name()):
                mode = ast.unparse(call.args[1]) if len(call.args) > 1 else "r"
                is_text = "b" not in given.get("mode", mode)
            case _:
                is_text = {"text", "universal_newlines"} & set(given) != set()
        assert not is_text or "encoding" in given, f"line {call.lineno}: {ast.unparse(call)}"


def test_no_file_imports_itself_through_others() -> None:
    for file in CODE:
        for imported in imported_files(file):
            assert file not in closure(imported), f"{file.name} ↔ {imported.name}"


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_library_knows_neither_dvc_nor_mlflow(file: Path) -> None:
    tops = {name.split(".")[0] for name in imported_names(file)}
    assert not tops & {"dvc", "mlflow", "stages", "tools", "bench", "tests"}


def test_mlflow_is_imported_in_one_room() -> None:
    importers = {
        file.parent.relative_to(ROOT).as_posix()
        for file in [*LIBRARY, *python_files("stages", "tools")]
        if any(name.split(".")[0] == "mlflow" for name in imported_names(file))
    }
    assert importers == {"stages/tracking"}


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    for file in {*CODE, *python_files("tests")}:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, file


def test_the_front_of_a_room_imports_nothing() -> None:
    """So that a room that needs no torch does not load it."""
    fronts = [
        file
        for file in LIBRARY
        if file.name == "__init__.py"
        and file.parent.name in {room.split("/")[-1] for room in LAYER_OF}
    ]
    assert len(fronts) >= 11
    for file in fronts:
        assert not imported_names(file), file


def test_no_test_imports_another() -> None:
    for file in python_files("tests"):
        for name in imported_names(file):
            assert not name.split(".")[-1].startswith("test_"), f"{file.name} imports {name}"
            assert name != "tests.conftest", file
