"""Optimizers and the learning-rate schedule."""

from collections.abc import Sequence

import torch

from nanopoet.common.device import Precision
from nanopoet.models.base import LanguageModel
from nanopoet.param_sections import PretrainParams
from nanopoet.training.feature_adamw import FeatureAdamW
from nanopoet.training.muon import Muon


def make_optimizers(
    model: LanguageModel,
    params: PretrainParams,
    precision: Precision,
    features: Sequence[Sequence[str]] = (),
) -> list[torch.optim.Optimizer]:
    """Make the optimizers that together update the parameters of a model that want a gradient.

    With `adamw`, AdamW updates all parameters; the token embedding has its own learning rate. With
    `muon`, Muon updates the matrices of the blocks instead. If tokens have features, FeatureAdamW
    adds the updates that rows of the embedding and of the output layer share.

    Args:
        model: on its device.
        params: the recipe.
        precision: precision of Muon's matmuls.
        features: V lists of features, one for each token; empty without FeatureAdamW.
    """
    embedding = model.token_embedding.weight
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    if params.optimizer == "adamw":
        matrices = []
    elsewhere = {id(embedding), *map(id, matrices)}
    rest = [p for p in model.parameters() if id(p) not in elsewhere and p.requires_grad]
    betas = params.beta1, params.beta2
    groups = [{"params": rest, "lr": params.lr}]
    tables = [(model.lm_head.weight, params.lr)]
    if embedding.requires_grad:
        groups.insert(0, {"params": [embedding], "lr": params.embedding_lr})
        tables.insert(0, (embedding, params.embedding_lr))
    adamw = torch.optim.AdamW(groups, betas=betas, weight_decay=params.weight_decay, fused=True)
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if matrices:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        optimizers.append(
            Muon(matrices, params.muon_lr, params.muon_momentum, params.weight_decay, dtype)
        )
    if any(features):
        shared = [{"params": [p], "lr": lr * params.feature_lr_factor} for p, lr in tables]
        optimizers.append(FeatureAdamW(shared, features, betas))
    return optimizers


def lr_factor(step: int, max_steps: int, warmup_steps: int, decay: float) -> float:
    """Compute the share of the full learning rate at a step.

    The rate rises linearly, stays at the full rate, and falls linearly (Hägele et al. 2024,
    https://arxiv.org/abs/2405.18392).

    Args:
        step: number of the update, from 0.
        max_steps: number of all updates.
        warmup_steps: updates below the full rate at the start; the next update has the full rate.
        decay: share of all updates in which the rate falls; it would be 0 after the last one.

    >>> [round(lr_factor(step, 10, warmup_steps=2, decay=0.5), 2) for step in range(10)]
    [0.33, 0.67, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    up = (step + 1) / (warmup_steps + 1)
    down = (max_steps - step) / (decay * max_steps) if decay else 1.0
    return min(1.0, up, down)
