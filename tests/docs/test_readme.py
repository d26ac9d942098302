"""README and its Chinese version agree, and name commands and stages that exist.

tests/docs/test_docs.py checks the links, files, modules and parameters that all pages name.
"""

import re
import shlex
import tomllib
import unicodedata
from itertools import pairwise
from typing import Any

import pytest

from nanopoet.app import cli
from tests.support.pages import (
    code_blocks,
    reachable,
    read_page,
    read_yaml,
    section,
    stage_order,
)
from tests.support.project import ROOT

ENGLISH, CHINESE = READMES = ("README.md", "README.zh.md")
NARROW = (*READMES, "docs/architecture.md")
WIDTH = 100
COMMANDS = {
    "make repro",
    "make test",
    "make finetune",
    "make ui",
    "make run RECIPE=notebook",
    "dvc repro evaluate",
    "nanopoet write 明月 --count 2",
    "nanopoet serve",
}
"""Commands that a reader of README must meet."""
_BLOCK = re.compile(r"^<!-- figures: .*?^<!-- /figures -->$", re.M | re.S)


@pytest.mark.parametrize("name", NARROW)
def test_lines_fit_into_a_terminal(name: str) -> None:
    """Tables, code and blocks of figures may be wider."""
    text = re.sub(r"^```.*?^```$", "", _BLOCK.sub("", read_page(name)), flags=re.M | re.S)
    for line in re.sub(r"<!--.*?-->", "", text).splitlines():
        wide = sum(unicodedata.east_asian_width(character) in "FW" for character in line)
        assert line.startswith("|") or len(line) + wide <= WIDTH, line


@pytest.mark.parametrize("name", NARROW)
def test_no_line_of_prose_begins_with_a_marker(name: str) -> None:
    """Markdown takes such a line for HTML and shows its links and stars as they are written."""
    assert not re.findall(r"^<!-- fig: .*", read_page(name), re.M)


def test_the_readmes_agree_section_by_section() -> None:
    english, chinese = (re.split(r"^## .*\n", read_page(name), flags=re.M) for name in READMES)
    assert len(english) > 8
    for ours, theirs in zip(english, chinese, strict=True):
        assert _outline(ours) == _outline(theirs)


def _outline(text: str) -> dict[str, Any]:
    """Return what a section has in every language."""
    return {
        "code": [code_blocks(text, language) for language in ("sh", "python", "mermaid", "")],
        "links": sorted(re.findall(r"\]\((?!README)([^)]*)\)", text)),
        "list items": len(re.findall(r"^- ", text, re.M)),
        "table rows": len(re.findall(r"^\| ", _BLOCK.sub("", text), re.M)),
        "figures": sorted(re.findall(r"<!-- fig: (\S+)", text)),
        "blocks": re.findall(r"<!-- figures: (\S+?)(?:-zh)? -->", text),
    }


def test_readme_leads_to_every_page_of_docs() -> None:
    found, waiting = set(), [ROOT / ENGLISH]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / each).resolve() for each in targets if "://" not in each]
    assert {*(ROOT / "docs").glob("*.md"), ROOT / CHINESE, ROOT / "CONTRIBUTING.md"} <= found


def _commands() -> list[str]:
    return [line for block in code_blocks(read_page(ENGLISH), "sh") for line in block.splitlines()]


def test_readme_names_the_commands_that_a_reader_needs() -> None:
    assert {*_commands()} >= COMMANDS


@pytest.mark.parametrize("command", _commands())
def test_a_command_of_readme_is_understood(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        _check_make(*arguments)
    elif program == "dvc":
        _check_dvc(arguments)
    elif program == "nanopoet":
        assert callable(cli._parser().parse_args(arguments).run)
    else:
        assert command == "source .venv/bin/activate"


def _check_make(target: str, *settings: str) -> None:
    assert re.search(rf"^{target}:", read_page("Makefile"), re.M), target
    for setting in settings:
        name, recipe = setting.split("=")
        assert name == "RECIPE"
        assert recipe in read_yaml("recipes.yaml")


def _check_dvc(arguments: list[str]) -> None:
    from dvc.cli.parser import get_main_parser

    parsed = get_main_parser().parse_args(arguments)
    if parsed.cmd == "repro":
        assert {*parsed.targets} <= {*read_yaml("dvc.yaml")["stages"]}
    for setting in getattr(parsed, "set_param", None) or []:
        parts, _, leaf = setting.partition("=")[0].partition(".")
        assert leaf in read_yaml("params.yaml")[parts]


def test_readme_names_every_recipe() -> None:
    rows = re.findall(r"^\| (`.*`) \|", section(ENGLISH, "Change something"), re.M)
    assert re.findall(r"`(\w+)`", " ".join(rows)) == list(read_yaml("recipes.yaml"))


def test_readme_names_the_extras_of_a_user() -> None:
    extras = set(re.findall(r"'\.\[(\w+)\]'", read_page(ENGLISH)))
    project = tomllib.loads(read_page("pyproject.toml"))["project"]
    assert extras == set(project["optional-dependencies"]) - {"dev", "bench"}


def test_the_diagram_of_readme_is_the_pipeline() -> None:
    """Each stage up to `report` is a box, and arrows lead from one to another as in dvc.yaml."""
    [diagram] = code_blocks(read_page(ENGLISH), "mermaid")
    arrows = set()
    for line in diagram.splitlines()[1:]:
        arrows |= {*pairwise(re.findall(r"(?:^ *|--> )(\w+)", line))}
    order = stage_order()
    drawn = {first for first, last in order if last == "report"} | {"report"}
    assert len(drawn) == 9
    assert reachable(arrows) == {arrow for arrow in order if {*arrow} <= drawn}
