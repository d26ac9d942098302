"""Token arrays on disk, and batches out of them."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanopoet.errors import NanopoetError
from nanopoet.files import atomic_write
from nanopoet.poems import Poem
from nanopoet.tokenizer import BEGIN_ID, CharTokenizer

Array = npt.NDArray[Any]


_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<size>..)"
    rb"\{'descr': '(?P<dtype>[<|][ui][1248])', 'fortran_order': False, "
    rb"'shape': \((?P<length>[1-9]\d{0,17}),\), \} *\n",
    re.DOTALL,
)
"""Of a `.npy` file, version 1.0, with one dimension that is not empty.
(https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)"""
_LONGEST_HEADER = 256


@dataclass(frozen=True)
class TokenArrays:
    """The contents of N poems, concatenated; where they are separated, each begins with BEGIN.

    Attributes:
        tokens: (n,) ids, uint16 or uint32.
        offsets: (N + 1,) int64; poem i is `tokens[offsets[i]:offsets[i + 1]]`, its BEGIN included.
    """

    tokens: Array
    offsets: Array

    @property
    def separated(self) -> bool:
        """Whether BEGIN stands before each poem."""
        return len(self.tokens) > 0 and bool(self.tokens[0] == BEGIN_ID)

    @property
    def characters(self) -> Array:
        """Number of characters in each poem, (N,) int64: separators do not count."""
        return np.diff(self.offsets) - self.separated

    def save(self, folder: str | Path) -> None:
        """Write `tokens.npy` and `offsets.npy`."""
        for name, array in (("tokens", self.tokens), ("offsets", self.offsets)):
            with atomic_write(Path(folder) / f"{name}.npy") as file:
                np.save(file, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: str | Path) -> "TokenArrays":
        """Memory-map what `save` wrote.

        Raises:
            NanopoetError: a file is missing, damaged or does not fit the other.
        """
        tokens = _map(Path(folder) / "tokens.npy", "ui")
        offsets = _map(Path(folder) / "offsets.npy", "i")
        ends = len(offsets) >= 2 and offsets[0] == 0 and offsets[-1] == len(tokens)
        if not ends or (np.diff(offsets) < 0).any():
            raise NanopoetError(
                f"{folder}: offsets.npy does not fit tokens.npy; run `dvc repro encode`"
            )
        return cls(tokens, offsets)


def _map(path: Path, kinds: str) -> Array:
    """Memory-map a `.npy` file that this module wrote; whatever else NumPy can read is refused.

    NumPy's own reader evaluates the header as Python and raises whatever comes of that.
    """
    damaged = f"{path}: damaged token array; run `dvc repro encode`"
    try:
        with open(path, "rb") as file:
            head = _HEADER.match(file.read(_LONGEST_HEADER))
            size = file.seek(0, 2)
    except FileNotFoundError:
        raise NanopoetError(f"{path}: no such file; run `dvc repro encode`") from None
    if not head:
        raise NanopoetError(damaged)
    dtype, length, start = np.dtype(head["dtype"].decode()), int(head["length"]), head.end()
    told = int.from_bytes(head["size"], "little")
    if dtype.kind not in kinds or told != start - 10 or size != start + length * dtype.itemsize:
        raise NanopoetError(damaged)
    return np.memmap(path, dtype, "r", start, (length,))


def target_stream(arrays: TokenArrays) -> Array:
    """(n + 1,) ids: BEGIN, then the n tokens to predict, each after all that stand before it."""
    begin = np.array([BEGIN_ID], dtype=arrays.tokens.dtype)
    parts = [arrays.tokens, begin] if arrays.separated else [begin, arrays.tokens]
    return np.concatenate(parts)


def encode_poems(poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool) -> TokenArrays:
    """Encode the contents of poems, if `separate` with BEGIN before each.

    >>> poems = [Poem(content=c, title="", author="", style="") for c in ("春眠", "不覺曉")]
    >>> tokenizer = CharTokenizer(poems)
    >>> arrays = encode_poems(poems, tokenizer, separate=False)
    >>> arrays.tokens.tolist(), arrays.offsets.tolist()
    ([12, 14, 11, 15, 13], [0, 2, 5])
    >>> arrays = encode_poems(poems, tokenizer, separate=True)
    >>> arrays.tokens.tolist(), arrays.offsets.tolist()
    ([0, 12, 14, 0, 11, 15, 13], [0, 3, 7])
    """
    parts = list(_encoded(poems, tokenizer, separate))
    tokens = np.concatenate([np.empty(0, tokenizer.dtype), *(ids for ids, _ in parts)])
    ends = np.concatenate([np.zeros(1, np.int64), *(ends for _, ends in parts)])
    return TokenArrays(tokens, ends)


def encode_to(
    folder: str | Path, poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool
) -> TokenArrays:
    """`encode_poems` into the files of a folder, without holding more than a few thousand poems."""
    folder = Path(folder)
    with (
        _growing_array(folder / "tokens.npy", tokenizer.dtype) as tokens,
        _growing_array(folder / "offsets.npy", np.dtype(np.int64)) as offsets,
    ):
        offsets(np.zeros(1, np.int64))
        for ids, ends in _encoded(poems, tokenizer, separate):
            tokens(ids)
            offsets(ends)
    return TokenArrays.load(folder)


def _encoded(
    poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool
) -> Iterator[tuple[Array, Array]]:
    """The ids of some thousand poems, and where each of them ends among all ids."""
    poems, end = iter(poems), 0
    while contents := [poem["content"] for poem in islice(poems, 4096)]:
        ids = tokenizer.encode_array("".join(contents))
        lengths = np.array([len(content) for content in contents])
        if separate:
            ids = np.insert(ids, np.cumsum(lengths) - lengths, BEGIN_ID)
            lengths += 1
        yield ids, end + np.cumsum(lengths)
        end += len(ids)


@contextmanager
def _growing_array(path: Path, dtype: np.dtype[Any]) -> Iterator[Callable[[Array], None]]:
    """An array file as `np.save` writes it, to which parts are added."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    size = 0
    with atomic_write(path) as file:
        # NumPy pads a header so that a longer shape has room in it.
        np.lib.format.write_array_header_1_0(file, header | {"shape": (0,)})
        start = file.tell()

        def add(part: Array) -> None:
            nonlocal size
            file.write(part.astype(dtype, copy=False).tobytes())
            size += len(part)

        yield add
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (size,)})
        assert file.tell() == start


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
