from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.models.base import LanguageModel
from nanopoet.param_sections import PretrainParams
from nanopoet.params import load_params
from nanopoet.training.feature_adamw import FeatureAdamW
from nanopoet.training.muon import NS_STEPS, Muon, orthogonal
from nanopoet.training.optimizers import lr_factor, make_optimizers
from nanopoet.training.pretraining import build_model
from tests.support.params import SMALL


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
    optimizers = make_optimizers(model, params, "fp32")
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))
    names = [type(o).__name__ for o in optimizers]
    assert names == (["AdamW", "Muon"] if optimizer == "muon" else ["AdamW"])


def test_tokens_with_features_share_updates_of_both_tables(
    make: Callable[..., tuple[LanguageModel, PretrainParams]],
) -> None:
    model, params = make(lr=0.1, embedding_lr=0.2)
    features = [["water"]] * model.config["vocab_size"]
    *_, shared = make_optimizers(model, params, "fp32", features)
    assert isinstance(shared, FeatureAdamW)
    rates = [(group["params"], group["lr"]) for group in shared.param_groups]
    assert rates == [([model.token_embedding.weight], 0.2), ([model.lm_head.weight], 0.1)]
    model, params = make(lr=0.1, embedding_lr=0.2, feature_lr_factor=3.0)
    adamw, *_, shared = make_optimizers(model, params, "fp32", features)
    assert [group["lr"] for group in shared.param_groups] == pytest.approx([0.6, 0.3])
    assert [group["lr"] for group in adamw.param_groups] == [0.2, 0.1]
    model.token_embedding.requires_grad_(requires_grad=False)
    *_, shared = make_optimizers(model, params, "fp32", features)
    assert [group["params"] for group in shared.param_groups] == [[model.lm_head.weight]]
    without = make_optimizers(model, params, "fp32", [[] for _ in features])
    assert not any(isinstance(optimizer, FeatureAdamW) for optimizer in without)


def test_each_group_has_its_rate(
    make: Callable[..., tuple[LanguageModel, PretrainParams]],
) -> None:
    model, params = make(lr=0.1, embedding_lr=0.2, muon_lr=0.3, weight_decay=0.4)
    rates = {
        id(p): group["lr"]
        for o in make_optimizers(model, params, "fp32")
        for group in o.param_groups
        for p in group["params"]
    }
    assert rates[id(model.token_embedding.weight)] == 0.2
    assert rates[id(model.lm_head.weight)] == 0.1
    for p in model.blocks.parameters():
        assert rates[id(p)] == (0.3 if p.ndim == 2 else 0.1)
    groups = [group for o in make_optimizers(model, params, "fp32") for group in o.param_groups]
    assert [group["weight_decay"] for group in groups] == [0.4] * 3


def test_the_notebook_s_optimizer_is_plain_adamw(
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
    [ours] = make_optimizers(model, params, "fp32")
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


def test_the_learning_rate_is_full_between_warm_up_and_decay() -> None:
    factors = [lr_factor(step, 100, warmup_steps=10, decay=0.2) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10:81] == [1.0] * 71
    assert factors[99] == pytest.approx(0.05)
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert all(a > b for a, b in pairwise(factors[80:]))


def test_without_warm_up_and_decay_the_learning_rate_is_constant() -> None:
    assert {lr_factor(step, 7, warmup_steps=0, decay=0.0) for step in range(7)} == {1.0}


def _matrices() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (24, 8), (8, 24)]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def test_muon_in_bf16_is_torch_s_bit_by_bit() -> None:
    ours, theirs = _matrices(), _matrices()
    muon = Muon(ours, lr=0.02, momentum=0.9, weight_decay=0.1, dtype=torch.bfloat16)
    other: Any = torch.optim.Muon(
        theirs, lr=0.02, momentum=0.9, weight_decay=0.1, ns_steps=NS_STEPS
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for one, two in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            two.grad = one.grad.clone()
        muon.step()
        other.step()
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("shape", [(16, 16), (48, 16), (16, 48)])
def test_updates_become_orthogonal_in_the_given_precision(shape: tuple[int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    update, of_another = orthogonal(torch.stack([x, torch.ones(shape)]))
    assert torch.allclose(of_another.std(), torch.zeros(()), atol=1e-6)
    assert update.dtype == torch.float32
    before, after = (torch.linalg.svdvals(y) for y in (x / x.norm(), update))
    assert after.std() / after.mean() < before.std() / before.mean()
    assert 0.5 < after.median() <= after.max() < 1.3
    close = orthogonal(x.bfloat16()[None])[0].float()
    assert (close - update).abs().max() < 0.1
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    turned = u.T @ update @ v.T  # the same singular vectors, other values
    assert torch.allclose(turned, torch.diag(torch.diagonal(turned)), atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_muon_has_the_precision_of_the_model(
    make: Callable[..., tuple[LanguageModel, PretrainParams]],
    precision: Any,
    dtype: torch.dtype,
) -> None:
    """On hardware without bf16 instructions, bf16 would take many times as long."""
    _, muon = make_optimizers(*make(optimizer="muon"), precision)
    assert isinstance(muon, Muon)
    assert muon.dtype == dtype
