from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.language_model import LanguageModel
from nanopoet.optim import lr_factor, make_optimizers
from nanopoet.params import PretrainParams, load_params
from nanopoet.train import build_model
from tests.conftest import SMALL


@pytest.fixture
def make(write_params: Callable[..., Path]) -> Callable[..., tuple[LanguageModel, PretrainParams]]:
    def build(**changes: Any) -> tuple[LanguageModel, PretrainParams]:
        params = load_params(write_params(**SMALL | {"pretrain": SMALL["pretrain"] | changes}))
        return build_model(30, params.pretrain), params.pretrain

    return build


@pytest.mark.parametrize("architecture", ["classic", "modern"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_is_updated_once(
    make: Callable[..., tuple[LanguageModel, PretrainParams]], architecture: str, optimizer: str
) -> None:
    model, params = make(architecture=architecture, optimizer=optimizer)
    optimizers = make_optimizers(model, params)
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))
    names = [type(o).__name__ for o in optimizers]
    assert names == (["AdamW", "Muon"] if optimizer == "muon" else ["AdamW"])


def test_each_group_has_its_rate(
    make: Callable[..., tuple[LanguageModel, PretrainParams]],
) -> None:
    model, params = make(lr=0.1, embedding_lr=0.2, muon_lr=0.3, weight_decay=0.4)
    rates = {
        id(p): group["lr"]
        for o in make_optimizers(model, params)
        for group in o.param_groups
        for p in group["params"]
    }
    assert rates[id(model.token_embedding.weight)] == 0.2
    assert rates[id(model.lm_head.weight)] == 0.1
    for p in model.blocks.parameters():
        assert rates[id(p)] == (0.3 if p.ndim == 2 else 0.1)
    groups = [group for o in make_optimizers(model, params) for group in o.param_groups]
    assert [group["weight_decay"] for group in groups] == [0.4] * 3


def test_the_seed_s_optimiser_is_plain_adamw(
    make: Callable[..., tuple[LanguageModel, PretrainParams]],
) -> None:
    model, params = make(
        architecture="classic",
        optimizer="adamw",
        lr=3e-4,
        embedding_lr=3e-4,
        beta1=0.9,
        beta2=0.999,
        weight_decay=0.01,
    )
    plain, _ = make(architecture="classic")
    [ours] = make_optimizers(model, params)
    theirs = torch.optim.AdamW(plain.parameters(), lr=3e-4)
    for _ in range(3):
        for parameters in (model.parameters(), plain.parameters()):
            generator = torch.Generator().manual_seed(0)
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=generator)
        ours.step()
        theirs.step()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_rate_is_full_between_warm_up_and_decay() -> None:
    factors = [lr_factor(step, 100, warmup_steps=10, decay=0.2) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10:81] == [1.0] * 71
    assert factors[99] == pytest.approx(0.05)
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert all(a > b for a, b in pairwise(factors[80:]))


def test_without_warm_up_and_decay_it_is_constant() -> None:
    assert {lr_factor(step, 7, warmup_steps=0, decay=0.0) for step in range(7)} == {1.0}
