"""Optimisers and the learning-rate schedule."""

import torch

from nanopoet.language_model import LanguageModel
from nanopoet.params import PretrainParams

NS_STEPS = 3
"""Newton–Schulz iterations of Muon. Its usual five take a fifth of a step here and gain nothing
(docs/recipe.md)."""


def make_optimizers(model: LanguageModel, params: PretrainParams) -> list[torch.optim.Optimizer]:
    """The optimisers that together update every parameter of `model` once.

    `adamw` has them all, the token embedding with a rate of its own. `muon` (Jordan et
    al. 2024, https://kellerjordan.github.io/posts/muon) takes the matrices of the blocks
    from it and makes their updates orthogonal.
    """
    embedding = model.token_embedding.weight
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    if params.optimizer == "adamw":
        matrices = []
    elsewhere = {id(embedding), *map(id, matrices)}
    rest = [p for p in model.parameters() if id(p) not in elsewhere]
    adamw = torch.optim.AdamW(
        [{"params": [embedding], "lr": params.embedding_lr}, {"params": rest, "lr": params.lr}],
        betas=(params.beta1, params.beta2),
        weight_decay=params.weight_decay,
        fused=True,
    )
    if not matrices:
        return [adamw]
    muon = torch.optim.Muon(
        matrices,
        lr=params.muon_lr,
        weight_decay=params.weight_decay,
        momentum=params.muon_momentum,
        ns_steps=NS_STEPS,
    )
    return [adamw, muon]


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
