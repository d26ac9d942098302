"""Optimisers and the learning-rate schedule."""

from collections.abc import Sequence

import torch

from nanopoet.common.device import Precision
from nanopoet.models.base import LanguageModel
from nanopoet.params import PretrainParams
from nanopoet.training.feature_adamw import FeatureAdamW
from nanopoet.training.muon import Muon


def make_optimizers(
    model: LanguageModel,
    params: PretrainParams,
    precision: Precision,
    features: Sequence[Sequence[str]] = (),
) -> list[torch.optim.Optimizer]:
    """The optimisers that together update every parameter of `model`.

    `adamw` has them all, the token embedding with a rate of its own. `muon` takes the matrices of
    the blocks from it and makes their updates orthogonal, in the precision of matrix products.
    Where tokens have features, a third one updates what rows of the embedding and of the output
    layer share.

    Args:
        model: on its device.
        params: the recipe.
        precision: of Muon's products.
        features: what each of the V tokens has in common with others; empty if nothing counts.
    """
    embedding = model.token_embedding.weight
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    if params.optimizer == "adamw":
        matrices = []
    elsewhere = {id(embedding), *map(id, matrices)}
    rest = [p for p in model.parameters() if id(p) not in elsewhere]
    betas = params.beta1, params.beta2
    adamw = torch.optim.AdamW(
        [{"params": [embedding], "lr": params.embedding_lr}, {"params": rest, "lr": params.lr}],
        betas=betas,
        weight_decay=params.weight_decay,
        fused=True,
    )
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if matrices:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        optimizers.append(
            Muon(matrices, params.muon_lr, params.muon_momentum, params.weight_decay, dtype)
        )
    if any(features):
        tables = [
            {"params": [embedding], "lr": params.embedding_lr},
            {"params": [model.lm_head.weight], "lr": params.lr},
        ]
        optimizers.append(FeatureAdamW(tables, features, betas))
    return optimizers


def lr_factor(step: int, max_steps: int, warmup_steps: int, decay: float) -> float:
    """Share of the full learning rate at a step: up linearly, along the top, down linearly.

    Args:
        step: number of the update, from 0.
        max_steps: number of all updates.
        warmup_steps: updates on the way up; the one after them has the full rate.
        decay: share of all updates on the way down; after the last one the rate would be 0.

    >>> [round(lr_factor(step, 10, warmup_steps=2, decay=0.5), 2) for step in range(10)]
    [0.33, 0.67, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    up = (step + 1) / (warmup_steps + 1)
    down = (max_steps - step) / (decay * max_steps) if decay else 1.0
    return min(1.0, up, down)
