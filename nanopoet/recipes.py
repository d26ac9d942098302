"""recipes.yaml: named sets of parameters that differ from params.yaml.

`python -m nanopoet.recipes notebook` prints a set as options of `dvc exp run`.
"""

import sys
from pathlib import Path
from typing import Any

from nanopoet.common.errors import NanopoetError
from nanopoet.params import Params, check_params, read_yaml


def load_recipe(
    name: str, path: str | Path = "recipes.yaml", params_path: str | Path = "params.yaml"
) -> tuple[Params, dict[str, Any]]:
    """Put a named set over the parameters.

    Returns:
        all parameters with the set in force, checked; and the set alone, `section.leaf` → value.

    Raises:
        NanopoetError: a file is missing or no YAML, the set is not there, or a parameter in it
            is not allowed.
    """
    recipes = read_yaml(path)
    if not isinstance(recipes, dict) or name not in recipes:
        known = ", ".join(recipes) if isinstance(recipes, dict) else "none"
        raise NanopoetError(f"{path}: no recipe {name!r}; known here: {known}")
    merged = read_yaml(params_path)
    leaves: dict[str, Any] = {}
    for section, values in _mapping(recipes[name], f"{path}: {name}").items():
        _mapping(values, f"{path}: {name}.{section}")
        merged[section] = merged.get(section, {}) | values
        leaves |= {f"{section}.{leaf}": value for leaf, value in values.items()}
    return check_params(merged, f"{path} ({name})"), leaves


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NanopoetError(f"{name} = {value!r} is not allowed: it should be a mapping; change it")
    return value


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise NanopoetError("name one recipe of recipes.yaml, as in `make run RECIPE=notebook`")
    _, leaves = load_recipe(arguments[0])
    print(" ".join(f"-S {leaf}={_text(value)}" for leaf, value in leaves.items()))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(repr(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except NanopoetError as error:
        raise SystemExit(f"error: {error}") from None
