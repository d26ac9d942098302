"""Batches of training and validation windows from token arrays.

B is the batch size and T the block size. A target is the id that follows its input.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import numpy as np

from nanopoet.common.errors import NanopoetError
from nanopoet.common.types import Array
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, UNKNOWN_ID


class Batch(NamedTuple):
    """The rows of an update.

    Attributes:
        inputs: (B, T) ids, int64.
        targets: (B, T) ids, int64.
        wanted: (B, T, V) float32, logits of the distribution that the model shall approach at each
            place; without them it learns the targets.
        figures: name → figure of this batch, for the history of the training.
    """

    inputs: Array
    targets: Array
    wanted: Array | None = None
    figures: Mapping[str, float] = {}


class Batches(Protocol):
    """Batches of a training, each a function of the random seed and the step alone."""

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Return the rows of an update.

        Args:
            step: number of the update, from 0.
            rng: random numbers of this update, which dropout takes, too.
        """
        ...


class WindowBatches:
    """Batches of training windows.

    Args:
        tokens: (n,) ids of the training part.
        block_size: T.
        batch_size: B.
        windows: positions of the windows, as `pretrain.windows`.
        seed: decides the positions in an epoch.
    """

    def __init__(
        self,
        tokens: Array,
        block_size: int,
        batch_size: int,
        *,
        windows: Literal["random", "epochs"],
        seed: int,
    ) -> None:
        check_length(tokens, block_size, "training")
        self._tokens, self._size = tokens, (block_size, batch_size)
        self._windows, self._seed = windows, seed

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Return the rows of an update."""
        if self._windows == "random":
            return Batch(*random_windows(self._tokens, *self._size, rng))
        return Batch(*epoch_windows(self._tokens, *self._size, self._seed, step))


def check_length(tokens: Array, block_size: int, part: str) -> None:
    """Check that `tokens` (n,) have at least one window and the token after it.

    Args:
        tokens: ids.
        block_size: T.
        part: name of the part, for the error.

    Raises:
        NanopoetError: they are too few.
    """
    if len(tokens) <= block_size:
        raise NanopoetError(
            f"the {part} part has {len(tokens):,} tokens, but pretrain.block_size = {block_size} "
            f"needs at least {block_size + 1:,}; lower pretrain.block_size or give more poems"
        )


def random_windows(
    tokens: Array, block_size: int, batch_size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return inputs and targets (B, T), int64, of windows at random positions of `tokens` (n,)."""
    starts = rng.integers(0, len(tokens) - block_size, size=batch_size)
    return windows_at(tokens, starts, block_size)


def epoch_windows(
    tokens: Array, block_size: int, batch_size: int, seed: int, step: int
) -> tuple[Array, Array]:
    """Return inputs and targets (B, T), int64, of the batch at a step, without repetition.

    In an epoch each window occurs once, and windows do not overlap. `tokens` (n,) is divided into B
    equal stretches, and window i of each batch comes from stretch i, so that each batch is from all
    over `tokens`. Each epoch draws the position of the first window and the order of the windows
    from `seed`. If there are fewer windows than B, they lie at random positions instead.
    """
    steps = (len(tokens) - block_size) // (batch_size * block_size)  # per epoch
    if steps == 0:
        return random_windows(tokens, block_size, batch_size, np.random.default_rng([seed, step]))
    epoch, batch = divmod(step, steps)
    return windows_at(
        tokens, _epoch_starts(steps, block_size, batch_size, seed, epoch)[batch], block_size
    )


@lru_cache(maxsize=1)
def _epoch_starts(steps: int, block_size: int, batch_size: int, seed: int, epoch: int) -> Array:
    """Return the position of each window of an epoch in the tokens, (steps, B)."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permuted(np.tile(np.arange(steps)[:, None], batch_size), axis=0)
    stretches = steps * np.arange(batch_size)
    starts: Array = rng.integers(block_size) + block_size * (stretches + order)
    return starts


def even_windows(tokens: Array, block_size: int, count: int) -> tuple[Array, Array]:
    """Return inputs and targets (count, T), int64, of windows spread evenly over `tokens` (n,)."""
    starts = np.linspace(0, len(tokens) - block_size - 1, count).astype(np.int64)
    return windows_at(tokens, starts, block_size)


def windows_at(tokens: Array, starts: Array, block_size: int) -> tuple[Array, Array]:
    """Return inputs and targets (B, T), int64, of the windows at positions `starts` (B,)."""
    positions = starts[:, None] + np.arange(block_size + 1)
    windows = tokens[positions].astype(np.int64)
    return windows[:, :-1], windows[:, 1:]


def count_characters(targets: Array) -> int:
    """Count the characters among target ids, over which a loss is averaged."""
    return int(np.count_nonzero((targets >= len(SPECIAL_TOKENS)) | (targets == UNKNOWN_ID)))
