"""How well a model predicts poems that it has not seen."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from tqdm import tqdm

from nanopoet.device import Precision, autocast
from nanopoet.language_model import LanguageModel
from nanopoet.tensors import Array, TokenArrays, check_length, windows_at
from nanopoet.tokenizer import BEGIN_ID, CharTokenizer


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
def poem_nats(
    model: LanguageModel,
    arrays: TokenArrays,
    *,
    context: int,
    batch_size: int,
    device: torch.device,
    precision: Precision,
) -> Array:
    """Nats that the model needs to encode each of N poems, (N,) float64.

    Every character is predicted once, the first one from BEGIN; where the poems
    are separated, so is the BEGIN that ends a poem.

    Args:
        model: moved to `device` and put into evaluation mode.
        arrays: the poems; more than `block_size` ids.
        context: least number of tokens seen before a predicted one, below `block_size`.
        batch_size: windows per forward pass.
        device: where to compute.
        precision: of the matrix products.

    Raises:
        NanopoetError: the tokens are too few.
    """
    block_size, length = model.block_size, len(arrays.tokens)
    check_length(arrays.tokens, block_size, "validation")
    assert 0 <= context < block_size
    begin = np.array([BEGIN_ID], dtype=arrays.tokens.dtype)
    ends = [arrays.tokens, begin] if arrays.separated else [begin, arrays.tokens]
    stream = np.concatenate(ends)  # (n + 1,): one more than there are targets
    windows = np.array(list(scoring_windows(length, block_size, context)))  # (W, 2)
    model.to(device).eval()
    nats = np.zeros(length)
    with tqdm(total=len(windows), unit="window", disable=None, desc="evaluating") as bar:
        for i in range(0, len(windows), batch_size):
            starts, firsts = windows[i : i + batch_size].T
            inputs, targets = windows_at(stream, starts, block_size)
            with autocast(device, precision):
                losses = model.token_losses(
                    torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
                )
            for start, first, row in zip(starts, firsts, losses.double().cpu(), strict=True):
                nats[first : start + block_size] = row[first - start :]
            bar.update(len(starts))
    total = np.concatenate([[0.0], np.cumsum(nats)])
    return np.diff(total[arrays.offsets])


def prediction_figures(
    nats: Array, characters: Array, twins: Sequence[str | None]
) -> dict[str, float]:
    """Nats per character over all of N poems, and over those with and without a twin in train.

    Args:
        nats: (N,) what each poem needs.
        characters: (N,) how long it is.
        twins: N entries, None for a poem without a twin.

    >>> nats, characters = np.array([6.0, 30.0, 60.0]), np.array([2, 10, 10])
    >>> figures = prediction_figures(nats, characters, ["near", None, None])
    >>> [(name, round(value, 2)) for name, value in figures.items()][:3]
    [('val_characters', 22), ('nats_per_character', 4.36), ('bits_per_character', 6.3)]
    >>> figures["nats_per_character_with_twin"], figures["nats_per_character_without_twin"]
    (3.0, 4.5)
    """
    mean = nats.sum().item() / characters.sum().item()
    figures = {
        "val_characters": characters.sum().item(),
        "nats_per_character": mean,
        "bits_per_character": mean / math.log(2),
        "hesitation": math.exp(mean),
    }
    has_twin = np.array([twin is not None for twin in twins])
    for name, chosen in (("with_twin", has_twin), ("without_twin", ~has_twin)):
        if chosen.any():
            share = nats[chosen].sum().item() / characters[chosen].sum().item()
            figures[f"nats_per_character_{name}"] = share
    return figures


def nats_by_form(nats: Array, characters: Array, forms: Sequence[str]) -> dict[str, float]:
    """Nats per character over the poems of each form, the commonest form first.

    Args:
        nats: (N,) what each poem needs.
        characters: (N,) how long it is.
        forms: N names.

    >>> nats_by_form(np.array([6.0, 30.0, 60.0]), np.array([2, 10, 10]), ["词", "诗", "诗"])
    {'诗': 4.5, '词': 3.0}
    """
    figures = {}
    for form, _ in Counter(forms).most_common():
        chosen = np.array([other == form for other in forms])
        figures[form] = nats[chosen].sum().item() / characters[chosen].sum().item()
    return figures


def write_poems(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    *,
    count: int,
    length: int,
    temperature: float,
    seed: int,
    device: torch.device,
) -> list[str]:
    """`count` texts of at most `length` characters, sampled from BEGIN in one batch.

    A model that has learned from separated poems ends a text where the poem ends.
    """
    generator = torch.Generator(device).manual_seed(seed)
    context = torch.full((count, 1), BEGIN_ID, device=device)  # (B, 1)
    ids = model.to(device).generate(
        context, length, temperature=temperature, generator=generator, stop_id=BEGIN_ID
    )
    return [tokenizer.decode_poem(row.tolist()) for row in ids]
