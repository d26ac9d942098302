"""How well a model predicts poems that it has not seen."""

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from nanopoet.device import Precision, autocast
from nanopoet.model import GPTLanguageModel
from nanopoet.tensors import Array, check_length, windows_at
from nanopoet.tokenizer import BEGIN, CharTokenizer


def scoring_windows(length: int, block_size: int, context: int) -> Iterator[tuple[int, int]]:
    """Cover `length` targets with windows so that each counts once.

    Yields (start, first): the window at `start` holds targets `start` to
    `start + block_size - 1`, of which those from `first` on count. Every target
    that counts has at least `context` inputs before its own, except in the first window.

    >>> list(scoring_windows(10, block_size=4, context=2))
    [(0, 0), (2, 4), (4, 6), (6, 8)]
    >>> list(scoring_windows(9, block_size=4, context=1))
    [(0, 0), (3, 4), (5, 7)]
    """
    done = 0
    while done < length:
        start = min(max(0, done - context), length - block_size)
        yield start, done
        done = start + block_size


@torch.no_grad()
def code_length(
    model: GPTLanguageModel,
    tokens: Array,
    *,
    context: int,
    batch_size: int,
    device: torch.device,
    precision: Precision,
) -> float:
    """Nats that the model needs to encode `tokens` (n,), each token predicted once.

    The first token is predicted from BEGIN.

    Args:
        model: moved to `device` and put into evaluation mode.
        tokens: more than `block_size` ids.
        context: least number of tokens seen before a predicted one, below `block_size`.
        batch_size: windows per forward pass.
        device: where to compute.
        precision: of the matrix products.

    Raises:
        NanopoetError: `tokens` are too few.
    """
    block_size = model.block_size
    check_length(tokens, block_size, "validation")
    assert 0 <= context < block_size
    begin = CharTokenizer([]).encode(BEGIN)
    stream = np.concatenate([np.array(begin, dtype=tokens.dtype), tokens])
    windows = np.array(list(scoring_windows(len(tokens), block_size, context)))  # (W, 2)
    model.to(device).eval()
    total = 0.0
    with tqdm(total=len(windows), unit="window", disable=None, desc="evaluating") as bar:
        for i in range(0, len(windows), batch_size):
            starts, firsts = windows[i : i + batch_size].T
            inputs, targets = windows_at(stream, starts, block_size)
            counts = starts[:, None] + np.arange(block_size) >= firsts[:, None]  # (B, T)
            with autocast(device, precision):
                nats = model.token_losses(
                    torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
                )
            total += nats[torch.from_numpy(counts).to(device)].double().sum().item()
            bar.update(len(starts))
    return total


def write_poems(
    model: GPTLanguageModel,
    tokenizer: CharTokenizer,
    *,
    count: int,
    length: int,
    temperature: float,
    seed: int,
    device: torch.device,
) -> list[str]:
    """`count` texts of `length` characters, sampled from BEGIN in one batch."""
    generator = torch.Generator(device).manual_seed(seed)
    context = torch.tensor([tokenizer.encode(BEGIN)] * count, device=device)  # (B, 1)
    ids = model.to(device).generate(context, length, temperature=temperature, generator=generator)
    return [tokenizer.decode(row[1:].tolist()) for row in ids]
