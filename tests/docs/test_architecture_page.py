"""docs/architecture.md draws the layers of the code, and follows a poem through its functions."""

import ast
import importlib
import re
from functools import reduce
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.imports import imported_files, python_files, tree
from tests.support.pages import code_blocks, outs_of, section, stage_order
from tests.support.project import ROOT

PAGE = "docs/architecture.md"
LIFE = section(PAGE, "The life of one poem")
STAGES = ["fetch", "load", "split", "tokenize", "encode", "pretrain", "evaluate", "report"]
"""Stages through which a poem passes."""


def _layers() -> list[list[str]]:
    """Return the drawn layers, top to bottom."""
    [drawing] = code_blocks(section(PAGE, "Layers"), "")
    return [line.split() for line in drawing.splitlines()]


def _room(file: Path) -> str:
    """Return the name by which the room of a file is drawn."""
    first, *rest = file.relative_to(ROOT).parts
    return rest[0] if first == "nanopoet" else first


def test_both_drawings_have_the_same_layers() -> None:
    [diagram] = code_blocks(section(PAGE, "Layers"), "mermaid")
    boxes = re.findall(r'\["(.*?)"\]', diagram)
    assert [box.split(" · ") for box in boxes] == _layers()[::-1]


def test_imports_lead_down_in_the_drawing() -> None:
    layer_of = {room: number for number, rooms in enumerate(_layers()) for room in rooms}
    for file in python_files("nanopoet"):
        room = _room(file)
        if room in {"__init__.py", "__main__.py"}:
            continue
        for other in map(_room, imported_files(file)):
            assert other == room or layer_of[other] > layer_of[room], f"{room} imports {other}"


def test_every_room_is_drawn_and_described() -> None:
    rooms = {path.parent.name for path in (ROOT / "nanopoet").glob("*/__init__.py")}
    rooms |= {"stages", "tools", "bench"}
    described = re.findall(r"^- `(\w+)/`: \S", section(PAGE, "Rooms"), re.M)
    assert sorted(described) == sorted(rooms)
    drawn = [name for layer in _layers() for name in layer if not name.endswith(".py")]
    assert sorted(drawn) == sorted(rooms)


def test_the_tree_has_every_file_of_the_library_and_no_other() -> None:
    """test_docs.py checks the other folders, and lets a room be summarised by its folder."""
    [drawing] = code_blocks(section(PAGE, "Files"), "")
    lines = re.findall(r"^( *)(\S+)  +\S|^( *)(\S+/)$", drawing, re.M)
    folders: list[str] = []
    listed = []
    for indent, name, indent_of_folder, folder in lines:
        depth = len(indent or indent_of_folder) // 2
        path = "".join([*folders[:depth], name or folder])
        folders = [*folders[:depth], name or folder]
        listed.append(path)
    assert len(listed) == len(set(listed)) == len(drawing.splitlines())
    library = {
        path.relative_to(ROOT).as_posix()
        for path in python_files("nanopoet")
        if path.name != "__init__.py" or path.parent == ROOT / "nanopoet"
    }
    assert {path for path in listed if re.match(r"nanopoet/.*\.py$", path)} == library


def _life() -> list[tuple[str, list[str], list[str]]]:
    """Return the rows of the table: a stage, the functions that it calls, its files."""
    rows = re.findall(r"^\| (\w+) \| (`.*`) \| (`.*`) \|$", LIFE, re.M)
    return [
        (stage, re.findall(r"`(.+?)`", calls), re.findall(r"`(.+?)`", files))
        for stage, calls, files in rows
    ]


def test_the_stages_of_a_poem_follow_one_another() -> None:
    assert [stage for stage, _, _ in _life()] == STAGES
    assert {*pairwise(STAGES)} <= stage_order()


@pytest.mark.parametrize(("stage", "functions", "files"), _life(), ids=STAGES)
def test_a_stage_calls_the_functions_in_this_order(
    stage: str, functions: list[str], files: list[str]
) -> None:
    script, frame = ROOT / f"stages/{stage}.py", ROOT / "stages/training.py"
    frames = [frame] if frame in imported_files(script) else []
    called = iter([call for file in (script, *frames) for call in _calls(file)])
    for function in functions:
        assert function in called, f"{stage} does not call {function} at this place"
    assert {file.rstrip("/") for file in files} <= outs_of(stage)


def _calls(script: Path) -> list[str]:
    """Return what a script calls, in the order of the source, by module and name.

    A call of a method counts as a call of the class, and an argument comes before its call.
    """
    imported = {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree(script))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    calls = [node for node in ast.walk(tree(script)) if isinstance(node, ast.Call)]
    calls.sort(key=lambda call: (call.end_lineno, call.end_col_offset))
    return [imported.get(_first_name(call.func), "") for call in calls]


def _first_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_the_functions_of_a_poem_s_life_exist() -> None:
    named = set(re.findall(r"`(nanopoet(?:\.\w+)+)`", LIFE))
    assert len(named) > 20
    for dotted in named:
        parts = dotted.split(".")
        module = importlib.import_module(".".join(parts[:3]))
        assert callable(reduce(getattr, parts[3:], module)), dotted


def test_the_poem_is_judged_as_the_page_says() -> None:
    from nanopoet.prosody.annotate import mark
    from nanopoet.prosody.rules import Verse

    [text] = re.findall(r"^> (\S+)$", LIFE, re.M)
    verse = Verse.of(text)
    assert f"\n{(verse.form, verse.rhyme, verse.regulated)}\n" in LIFE
    for line in mark(text):
        end = f"  {line[-1]['rhyme']}" if line[-1]["rhyme"] else ""
        assert f"\n{''.join(c['text'] + c['mark'] for c in line)}{end}\n" in LIFE


def test_the_named_rows_are_rows_of_the_report() -> None:
    from nanopoet.report.page import MEASURES

    table = LIFE.partition("| row of the report |")[2]
    rows = re.findall(r"^\| ([a-z].*?) \|", table, re.M)
    assert len(rows) == 4
    assert {*rows} <= {text for text, *_ in MEASURES.values()}
