from collections.abc import Callable
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import read_yaml
from nanopoet.recipes import load_recipe
from nanopoet.training.pretraining import build_model
from tests.support.project import DEFAULT_PARAMS, ROOT

RECIPES = list(read_yaml(ROOT / "recipes.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_allowed_and_changes_something(name: str) -> None:
    params, leaves = load_recipe(name, ROOT / "recipes.yaml", DEFAULT_PARAMS)
    default = read_yaml(DEFAULT_PARAMS)
    merged = params.model_dump()
    for leaf, value in leaves.items():
        section, key = leaf.split(".")
        assert merged[section][key] == value
        assert default[section][key] != value, f"{leaf} is what params.yaml has"


def test_the_notebook_recipe_is_that_of_the_notebook() -> None:
    params, _ = load_recipe("notebook", ROOT / "recipes.yaml", DEFAULT_PARAMS)
    recipe = params.pretrain
    assert build_model(11868, recipe).num_parameters == 12_466_268
    assert (recipe.batch_size, recipe.block_size, recipe.max_steps) == (64, 256, 100)
    assert (recipe.layer_num, recipe.head_num, recipe.dropout) == (8, 8, 0.1)
    assert recipe.windows == "random"
    assert (recipe.optimizer, recipe.lr, recipe.embedding_lr) == ("adamw", 3e-4, 3e-4)
    assert (recipe.warmup_steps, recipe.decay, recipe.character_features) == (0, 0, [])
    torch_s = (0.9, 0.999, 0.01)
    assert (recipe.beta1, recipe.beta2, recipe.weight_decay) == torch_s
    assert (recipe.eval_every, recipe.sample_length) == (10, 20)
    assert not params.encode.separators


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("a: {pretrain: {lr: 1}}", "b", "no recipe 'b'; known here: a"),
        ("1: {}", "b", "no recipe 'b'; known here: 1"),
        ("- 1", "b", "recipes.yaml:1: not valid YAML: expected a mapping"),
        ("", "b", "recipes.yaml.*: expected a mapping"),
        ("a: {pretrain: {lr: -1}}", "a", r"\(a\): pretrain.lr = -1 is not allowed"),
        ("a: {pretrain: {rate: 1}}", "a", r"\(a\): pretrain.rate is unknown"),
        ("a: {train: {lr: 1}}", "a", r"\(a\): train is unknown"),
        ("a: {pretrain: {lr: 1}", "a", "not valid YAML"),
        ("a: 3", "a", "a = 3 is not allowed"),
        ("a: {pretrain: 3}", "a", "a.pretrain = 3 is not allowed"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, write_params: Callable[..., Path], text: str, name: str, message: str
) -> None:
    recipes = tmp_path / "recipes.yaml"
    recipes.write_text(text, encoding="utf-8")
    with pytest.raises(NanopoetError, match=message):
        load_recipe(name, recipes, write_params())
