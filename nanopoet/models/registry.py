"""The models by name."""

from typing import Any

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel

ARCHITECTURES: dict[str, type[LanguageModel]] = {
    "classic": GPTLanguageModel,
    "modern": Qwen3LanguageModel,
}


def make_model(config: dict[str, Any], generator: torch.Generator | None = None) -> LanguageModel:
    """A model with fresh weights out of what its `config` attribute says.

    Raises:
        KeyError: an unknown architecture.
        TypeError: arguments that this architecture does not take, or lacks.
    """
    arguments = dict(config)
    return ARCHITECTURES[arguments.pop("architecture")](**arguments, generator=generator)
