"""Sampling from a model."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nanopoet.model import GPTLanguageModel


@torch.no_grad()
def generate(
    model: "GPTLanguageModel",
    idx: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Append sampled tokens one at a time, seeing at most the last `block_size` of them.

    Leaves the model in the mode (training or evaluation) in which it was.

    Args:
        model: predicts the next token.
        idx: (B, T) token ids to continue, T at least 1.
        max_new_tokens: how many to append.
        temperature: divides the logits; positive.
        generator: source of randomness on the model's device; torch's global one by default.

    Returns:
        (B, T + max_new_tokens) token ids.
    """
    was_training = model.training
    model.eval()
    try:
        for _ in range(max_new_tokens):
            logits, _ = model(idx[:, -model.block_size :])
            probabilities = torch.softmax(logits[:, -1].float() / temperature, dim=-1)  # (B, V)
            following = torch.multinomial(probabilities, num_samples=1, generator=generator)
            idx = torch.cat([idx, following], dim=1)
    finally:
        model.train(was_training)
    return idx


def as_lines(text: str) -> str:
    """Break a text after each `。`, as a poem is printed.

    >>> print(as_lines("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"))
    白日依山盡，黃河入海流。
    欲窮千里目，更上一層樓。
    """
    return text.replace("。", "。\n").removesuffix("\n")
