"""Training and validation batches, cut out of token arrays."""

from functools import lru_cache

import numpy as np

from nanopoet.common.errors import NanopoetError
from nanopoet.common.types import Array


def check_length(tokens: Array, block_size: int, part: str) -> None:
    """Make sure that `tokens` hold at least one window and the token after it.

    Raises:
        NanopoetError: they do not.
    """
    if len(tokens) <= block_size:
        raise NanopoetError(
            f"the {part} part has {len(tokens):,} tokens, but pretrain.block_size = {block_size} "
            f"needs at least {block_size + 1:,}; lower pretrain.block_size or give more poems"
        )


def random_windows(
    tokens: Array, block_size: int, batch_size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Inputs and targets (B, T), int64, from windows at random offsets; a target is the next id."""
    starts = rng.integers(0, len(tokens) - block_size, size=batch_size)
    return windows_at(tokens, starts, block_size)


def epoch_windows(
    tokens: Array, block_size: int, batch_size: int, seed: int, step: int
) -> tuple[Array, Array]:
    """Inputs and targets (B, T), int64, of the batch at a step of epochs without repetition.

    Windows of an epoch do not overlap, and no two batches have the same. The i-th of a batch comes
    from the i-th of B equal stretches of `tokens`, so that each batch is from all over them. Where
    windows begin and in which order they come is drawn for each epoch. Where there are fewer than
    a batch wants, they lie at random offsets instead.
    """
    steps = (len(tokens) - block_size) // (batch_size * block_size)  # of an epoch
    if steps == 0:
        return random_windows(tokens, block_size, batch_size, np.random.default_rng([seed, step]))
    epoch, batch = divmod(step, steps)
    return windows_at(
        tokens, _epoch_starts(steps, block_size, batch_size, seed, epoch)[batch], block_size
    )


@lru_cache(maxsize=1)
def _epoch_starts(steps: int, block_size: int, batch_size: int, seed: int, epoch: int) -> Array:
    """Where the windows of each batch of an epoch begin, (steps, B)."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permuted(np.tile(np.arange(steps)[:, None], batch_size), axis=0)
    stretches = steps * np.arange(batch_size)
    starts: Array = rng.integers(block_size) + block_size * (stretches + order)
    return starts


def even_windows(tokens: Array, block_size: int, count: int) -> tuple[Array, Array]:
    """Inputs and targets (B, T), int64, from `count` windows spread evenly over `tokens`."""
    starts = np.linspace(0, len(tokens) - block_size - 1, count).astype(np.int64)
    return windows_at(tokens, starts, block_size)


def windows_at(tokens: Array, starts: Array, block_size: int) -> tuple[Array, Array]:
    """Inputs and targets (B, T), int64, from the windows that begin at `starts` (B,)."""
    positions = starts[:, None] + np.arange(block_size + 1)
    windows = tokens[positions].astype(np.int64)
    return windows[:, :-1], windows[:, 1:]
