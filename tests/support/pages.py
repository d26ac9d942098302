"""Markdown pages and YAML files of the repository, read by tests of the docs."""

import re
from functools import cache
from typing import Any

import yaml

from tests.support.project import ROOT

Arrows = set[tuple[str, str]]
"""Pairs of stages: the second comes after the first."""


@cache
def read_page(name: str) -> str:
    """Return the text of a file."""
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def read_yaml(name: str) -> dict[str, Any]:
    """Return the content of a YAML file."""
    content: dict[str, Any] = yaml.safe_load(read_page(name))
    return content


def section(name: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    [text] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", read_page(name), re.M | re.S)
    return str(text)


def code_blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language, without the comments of shell commands."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [re.sub(r" +# .*", "", block) for name, block in blocks if name == language]


def outs_of(stage: str) -> set[str]:
    """Return the paths of the outs and metrics of a stage in dvc.yaml."""
    options = read_yaml("dvc.yaml")["stages"][stage]
    entries = [*options.get("outs", []), *options.get("metrics", [])]
    return {each if isinstance(each, str) else str(next(iter(each))) for each in entries}


def stage_order() -> Arrows:
    """Return each pair of stages of which the second needs the first, directly or not."""
    stages = read_yaml("dvc.yaml")["stages"]
    writer = {out: stage for stage in stages for out in outs_of(stage)}
    source = read_yaml("tests/support/params.yaml")["load"]["source"]
    return reachable(
        {
            (writer[dep.replace("${load.source}", source)], stage)
            for stage in stages
            for dep in stages[stage]["deps"]
            if dep.replace("${load.source}", source) in writer
        }
    )


def reachable(arrows: Arrows) -> Arrows:
    """Return the transitive closure."""
    while more := {(a, d) for a, b in arrows for c, d in arrows if b == c} - arrows:
        arrows = arrows | more
    return arrows
