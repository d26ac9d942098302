"""Tiny models with random weights."""

from typing import Any

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import make_poems

CONFIG = {"vocab_size": 30, "emb_size": 16, "block_size": 8, "layer_num": 2, "head_num": 2}
CONFIGS = {
    "classic": CONFIG | {"architecture": "classic", "dropout": 0.1},
    "modern": CONFIG | {"architecture": "modern", "dropout": 0.1, "mlp_size": 24},
}
CONFIGS["shared keys"] = CONFIGS["modern"] | {"head_num": 4, "kv_head_num": 2}


def tiny_model() -> tuple[LanguageModel, CharTokenizer]:
    """Make an untrained model whose output varies."""
    tokenizer = CharTokenizer(make_poems())
    config: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "emb_size": 16}
    config |= {"block_size": 32, "layer_num": 1, "head_num": 2, "mlp_size": 24, "dropout": 0.0}
    model = make_model(config | {"architecture": "modern"}, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval(), tokenizer
