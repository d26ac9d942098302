"""The recipes of recipes.yaml: named sets of parameters that differ from params.yaml."""

from pathlib import Path
from typing import Any

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import read_yaml
from nanopoet.param_sections import Params
from nanopoet.params import check_params


def load_recipe(
    name: str, path: str | Path = "recipes.yaml", params_path: str | Path = "params.yaml"
) -> tuple[Params, dict[str, Any]]:
    """Read a recipe and the parameters that it leaves as they are.

    Args:
        name: name of the recipe.
        path: file of recipes.
        params_path: file of the other parameters.

    Returns:
        All parameters, checked; and those of the recipe alone, `section.leaf` → value.

    Raises:
        NanopoetError: a file is missing or not YAML, the recipe is not there, or `check_params`
            refuses a parameter.
    """
    recipes = {str(key): recipe for key, recipe in read_yaml(path).items()}
    if name not in recipes:
        raise NanopoetError(f"{path}: no recipe {name!r}; known here: {', '.join(recipes)}")
    merged = read_yaml(params_path)
    leaves: dict[str, Any] = {}
    for section, values in _mapping(recipes[name], f"{path}: {name}").items():
        _mapping(values, f"{path}: {name}.{section}")
        defaults = _mapping(merged.get(section, {}), f"{params_path}: {section}")
        merged[section] = defaults | values
        leaves |= {f"{section}.{leaf}": value for leaf, value in values.items()}
    return check_params(merged, f"{path} ({name})"), leaves


def _mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a value that is a mapping, and refuse any other; `name` is for the error."""
    if not isinstance(value, dict):
        raise NanopoetError(f"{name} = {value!r} is not allowed: it should be a mapping; change it")
    return value
