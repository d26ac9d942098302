"""dvc.yaml declares what the code uses: derived from imports and parameter reads."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from nanopoet.params import load_params

ROOT = Path(__file__).parents[1]
PIPELINE: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES: dict[str, Any] = PIPELINE["stages"]
SECTIONS = {
    section: list(leaves)
    for section, leaves in load_params(ROOT / "params.yaml").model_dump().items()
}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> set[Path]:
    """Modules of this repository that a file imports when it runs."""
    modules: set[str] = set()
    typing_only = {
        inner
        for node in ast.walk(_tree(path))
        if _is_type_checking(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(_tree(path)):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    files = {ROOT / (name.replace(".", "/") + ".py") for name in modules}
    return {file for file in files if file.exists()}


def _is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _closure(path: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports(file)
    return found


def used_modules(stage: str) -> set[str]:
    """A stage's script and the library modules that its outs follow from.

    What the scripts share (plain errors, MLflow) leaves the outs as they are, so
    an edit there reruns nothing. Package `__init__`s hold no code that a stage uses.
    """
    script = ROOT / f"stages/{stage}.py"
    library = {file for file in _imports(script) if file.parent.name == "nanopoet"}
    files = {script}.union(*map(_closure, library))
    return {file.relative_to(ROOT).as_posix() for file in files}


def read_params(stage: str) -> set[str]:
    """Leaves `section.leaf` that a stage reads through the name `params`.

    A section passed on as a whole counts with all its leaves.
    """
    leaves: set[str] = set()
    inner: set[int] = set()
    for node in ast.walk(_tree(ROOT / f"stages/{stage}.py")):
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
def test_stage_depends_on_the_modules_it_uses(stage: str) -> None:
    declared = {path for path in STAGES[stage]["deps"] if path.endswith(".py")}
    assert declared == used_modules(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_leaves_it_reads(stage: str) -> None:
    assert set(STAGES[stage].get("params", [])) == read_params(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_data_it_opens(stage: str) -> None:
    """Literal paths below data/ and models/ in a stage are its outs or its deps."""
    declared = set(STAGES[stage]["deps"]) | {
        out if isinstance(out, str) else next(iter(out)) for out in STAGES[stage].get("outs", [])
    }
    opened = {
        node.value
        for node in ast.walk(_tree(ROOT / f"stages/{stage}.py"))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("data/", "models/", "raw/"))
        and " " not in node.value
    }
    assert {path for path in opened if not path.endswith("/")} <= declared


def test_every_leaf_is_read_by_a_stage() -> None:
    every = {f"{section}.{leaf}" for section, leaves in SECTIONS.items() for leaf in leaves}
    assert set().union(*map(read_params, STAGES)) == every


def test_mlflow_is_imported_in_three_places() -> None:
    """The command asks it for a model that it keeps, where no stage is installed."""
    importers = set()
    for file in [*ROOT.glob("nanopoet/*.py"), *ROOT.glob("stages/*.py")]:
        for node in ast.walk(_tree(file)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "mlflow" for name in names):
                importers.add(file.relative_to(ROOT).as_posix())
    assert importers == {"nanopoet/cli.py", "stages/poet.py", "stages/tracking.py"}


def test_the_library_knows_neither_the_stages_nor_dvc() -> None:
    """But for the command, which nothing else in the library imports."""
    command = ROOT / "nanopoet/cli.py"
    for file in ROOT.glob("nanopoet/*.py"):
        assert command not in _imports(file)
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.ImportFrom):
                foreign = {"stages"} if file == command else {"stages", "dvc", "mlflow"}
                assert (node.module or "").split(".")[0] not in foreign, file


def test_no_import_cycles() -> None:
    for file in [*ROOT.glob("nanopoet/*.py"), *ROOT.glob("stages/*.py")]:
        for imported in _imports(file):
            assert file not in _closure(imported), f"{file.name} ↔ {imported.name}"


def test_a_stored_model_names_all_that_it_needs() -> None:
    """MLflow installs what is named, and nothing else, where it serves a model by itself."""
    poet = ROOT / "stages/poet.py"
    [requirements] = [
        ast.literal_eval(node.value)
        for node in _tree(poet).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "REQUIREMENTS"
    ]
    files = {poet} | _closure(ROOT / "nanopoet/checkpoint.py")
    names: set[str] = set()
    for file in files:
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    top = {name if name.startswith("ruamel") else name.split(".")[0] for name in names}
    assert top - set(sys.stdlib_module_names) - {"nanopoet"} <= set(requirements)


@pytest.mark.parametrize(
    ("stages", "slow"),
    [
        (["fetch", "load", "split", "tokenize", "encode", "baseline", "report"], "torch"),
        (["pretrain", "evaluate"], "torch._dynamo"),  # torch's compiler
    ],
)
def test_no_stage_waits_for_an_import_that_it_does_not_use(stages: list[str], slow: str) -> None:
    imports = "".join(f"import stages.{stage}\n" for stage in stages)
    code = f"{imports}import sys; print({slow!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
