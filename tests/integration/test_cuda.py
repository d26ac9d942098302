"""A GPU computes the same as a CPU, except for rounding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.sample_poems import sample_poems
from nanopoet.evaluation.scoring import score_tokens
from nanopoet.models.generate import generate
from nanopoet.params import load_params
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.pretraining import make_trainer
from nanopoet.training.resume import restore_state, save_state
from nanopoet.training.trainer import Trainer
from tests.support.params import CLASSIC, MODERN, SMALL

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    # advice of torch's compiler on fp32 matmuls, which the tests compare
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),
]

Start = Callable[..., Trainer]
both_ways = pytest.mark.parametrize("compile_it", ["off", "on"])
# A random start, since the loss of a start from bigrams does not fall in a few steps.
RECIPES = [CLASSIC | {"dropout": 0.0}, MODERN | {"initial_weights": "random"}]


@pytest.fixture
def arrays(poems: list[Poem]) -> TokenArrays:
    return encode_poems(poems, CharTokenizer(poems), separate=True)


@pytest.fixture
def start(write_params: Callable[..., Path], poems: list[Poem], arrays: TokenArrays) -> Start:
    tokenizer = CharTokenizer(poems)

    def fresh(recipe: dict[str, Any], **changes: Any) -> Trainer:
        recipe = {name: value for name, value in recipe.items() if name != "separators"}
        params = load_params(
            write_params(**SMALL | {"pretrain": SMALL["pretrain"] | recipe | changes})
        ).pretrain
        return make_trainer(arrays.tokens, arrays.tokens, tokenizer, params)

    return fresh


def _losses(trainer: Trainer) -> list[float]:
    return [record.loss_train for record in trainer]


@both_ways
@pytest.mark.parametrize("recipe", RECIPES)
def test_it_trains_as_a_cpu_does(start: Start, recipe: dict[str, Any], compile_it: str) -> None:
    expected = _losses(start(recipe, device="cpu"))
    trainer = start(recipe, device="cuda", compile=compile_it)
    losses = _losses(trainer)
    assert (trainer._graph is not None) == (compile_it == "on")
    assert losses == pytest.approx(expected, abs=2e-3)
    assert losses[-1] < losses[0] - 0.1


def test_activation_checkpointing_gives_the_same_losses(start: Start) -> None:
    options: dict[str, Any] = {"device": "cuda", "dropout": 0.1, "precision": "bf16"}
    expected = _losses(start(MODERN, **options))
    for compile_it in ("off", "on"):
        again = start(MODERN, **options, activation_checkpointing=True, compile=compile_it)
        assert _losses(again) == pytest.approx(expected, abs=5e-2)
        assert again._graph is None


@pytest.mark.parametrize("recipe", RECIPES)
def test_bf16_differs_by_rounding_alone(start: Start, recipe: dict[str, Any]) -> None:
    expected = _losses(start(recipe, device="cpu"))
    trainer = start(recipe, device="auto", precision="auto")
    assert trainer.device.type == "cuda"
    assert trainer.precision == "bf16"
    assert _losses(trainer) == pytest.approx(expected, abs=5e-2)


@both_ways
@pytest.mark.parametrize("recipe", [CLASSIC, MODERN])
def test_it_continues_from_its_state(
    start: Start, tmp_path: Path, recipe: dict[str, Any], compile_it: str
) -> None:
    """Dropout is a function of seed and step in a CUDA graph, too."""
    options: dict[str, Any] = {"device": "cuda", "compile": compile_it, "dropout": 0.3}
    whole = _losses(start(recipe, **options))
    assert whole != pytest.approx(_losses(start(recipe, **options, seed=1)), abs=1e-2)
    part = start(recipe, **options)
    for _ in part:
        if part.step == 3:
            break
    save_state(tmp_path, part, "run")
    last = start(recipe, **options)
    restore_state(tmp_path, last)
    assert last.step == 3
    list(last)
    assert [record.loss_train for record in last.records] == pytest.approx(whole, abs=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_predicts_and_generates_as_a_cpu_does(
    start: Start, arrays: TokenArrays, recipe: dict[str, Any]
) -> None:
    trainer = start(recipe, device="cuda")
    list(trainer)
    model = trainer.model.eval()
    begin = torch.zeros(3, 1, dtype=torch.int64, device="cuda")
    cached, plain = (
        generate(model, begin, 100, temperature=0, use_cache=cached) for cached in (True, False)
    )
    assert torch.equal(cached, plain)
    options: dict[str, Any] = {"context": 8, "batch_size": 4, "precision": "fp32"}
    there = score_tokens(model, arrays, device=torch.device("cuda"), **options)
    here = score_tokens(model, arrays, device=torch.device("cpu"), **options)
    assert there.nats == pytest.approx(here.nats, abs=1e-3)
    assert (there.ranks == here.ranks).mean() > 0.99


def test_poems_come_from_the_seed(start: Start) -> None:
    trainer = start(MODERN, device="cuda")
    list(trainer)
    options: dict[str, Any] = {
        "count": 5,
        "length": 30,
        "temperature": 1.0,
        "batch_size": 2,
        "precision": "bf16",
    }
    one, same, other = (
        sample_poems(
            trainer.model, trainer.tokenizer, seed=seed, device=torch.device("cuda"), **options
        )
        for seed in (0, 0, 1)
    )
    assert one == same != other
    assert len(set(one)) > 1
