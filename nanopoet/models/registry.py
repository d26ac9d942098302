"""The architectures by name."""

from collections.abc import Callable
from typing import Any

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel

ARCHITECTURES: dict[str, Callable[..., LanguageModel]] = {
    "classic": GPTLanguageModel,
    "modern": Qwen3LanguageModel,
}
"""Name in `pretrain.architecture` and config.json → class."""


def make_model(config: dict[str, Any], generator: torch.Generator | None = None) -> LanguageModel:
    """Make a model with fresh weights.

    Args:
        config: `architecture` and the arguments of its class, as in `LanguageModel.config`.
        generator: source of the initial weights; torch's global one by default.

    Raises:
        KeyError: an unknown architecture.
        TypeError: the architecture lacks an argument or does not take one.
    """
    arguments = dict(config)
    return ARCHITECTURES[arguments.pop("architecture")](**arguments, generator=generator)
