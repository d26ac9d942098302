"""Imports of the code, read from its source."""

import ast
from functools import cache
from pathlib import Path

from tests.support.project import ROOT


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def python_files(*folders: str) -> list[Path]:
    """List the Python files below some folders of the repository.

    Raises:
        AssertionError: a folder holds none, so that a check of its files would check nothing.
    """
    found: list[Path] = []
    for folder in folders:
        files = sorted((ROOT / folder).rglob("*.py"))
        assert files, f"no Python file below {folder}/"
        found += files
    return found


@cache
def imported_names(path: Path, *, typing: bool = True) -> set[str]:
    """Names of all modules that a file imports, as `a.b`; of `from a import b` both `a` and `a.b`.

    Args:
        path: the file.
        typing: whether imports for the type checker count.
    """
    skipped: set[ast.AST] = set()
    if not typing:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= {inner for child in node.body for inner in ast.walk(child)}
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def imported_files(path: Path, *, typing: bool = True) -> set[Path]:
    """Files of this repository that a file imports; a package's `__init__` does not count."""
    names = imported_names(path, typing=typing)
    files = {ROOT / (name.replace(".", "/") + ".py") for name in names}
    return {file for file in files if file.exists()}


@cache
def closure(path: Path, *, typing: bool = True) -> set[Path]:
    """A file and all that it imports, directly or through others."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imported_files(file, typing=typing)
    return found
