"""Token arrays: the contents of poems as ids, in memory or mapped from files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from nanopoet.common.errors import FileError
from nanopoet.common.files import atomic_write
from nanopoet.common.types import Array
from nanopoet.tokens.tokenizer import BEGIN_ID

TOKENS, OFFSETS = "tokens.npy", "offsets.npy"
"""Names of the two files of a folder of token arrays."""


@dataclass(frozen=True)
class TokenArrays:
    """The contents of N poems as n token ids, one poem after the other.

    Attributes:
        tokens: (n,) ids, uint16 or uint32.
        offsets: (N + 1,) int64; poem i is `tokens[offsets[i]:offsets[i + 1]]`, BEGIN included.
    """

    tokens: Array
    offsets: Array

    @property
    def separated(self) -> bool:
        """True if BEGIN stands before each poem."""
        return len(self.tokens) > 0 and bool(self.tokens[0] == BEGIN_ID)

    @property
    def characters(self) -> Array:
        """Number of characters of each poem, (N,) int64; BEGIN does not count."""
        return np.diff(self.offsets) - self.separated

    def save(self, folder: str | Path) -> None:
        """Write `tokens.npy` and `offsets.npy` into a folder, which is created if missing."""
        for name, array in ((TOKENS, self.tokens), (OFFSETS, self.offsets)):
            with atomic_write(Path(folder) / name) as file:
                np.save(file, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: str | Path, vocab_size: int | None = None) -> Self:
        """Memory-map the files that `save` wrote.

        Args:
            folder: has the files.
            vocab_size: of the vocabulary that the ids are to have.

        Raises:
            FileError: a file is missing or damaged, does not fit the other file, or has ids of
                another vocabulary.
        """
        tokens = _map(Path(folder) / TOKENS, "ui")
        offsets = _map(Path(folder) / OFFSETS, "i")
        ends = len(offsets) >= 2 and offsets[0] == 0 and offsets[-1] == len(tokens)
        if not ends or (np.diff(offsets) < 0).any():
            raise FileError(Path(folder) / OFFSETS, f"does not fit {TOKENS}")
        if vocab_size is not None and tokens.max() >= vocab_size:
            problem = f"has id {tokens.max()}, but the vocabulary has {vocab_size} tokens"
            raise FileError(Path(folder) / TOKENS, problem)
        return cls(tokens, offsets)


def _map(path: Path, kinds: str) -> Array:
    """Memory-map a `.npy` file with one dimension, after checking that it is whole.

    Args:
        path: the file.
        kinds: what the dtype may be, by NumPy's letters: `i` signed, `u` unsigned integers.

    Raises:
        FileError: the file is missing, damaged, empty or holds something else.
    """
    damaged = FileError(path, "damaged token array")
    try:
        with open(path, "rb") as file:
            # A header of version 1.0 is at most 64 KiB long, one of a later version 4 GiB.
            if np.lib.format.read_magic(file) != (1, 0):
                raise damaged
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start, size = file.tell(), file.seek(0, 2)
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except OSError:
        raise
    except Exception:  # NumPy evaluates the header as Python, which can raise almost anything
        raise damaged from None
    if len(shape) != 1 or shape[0] < 1 or dtype.kind not in kinds or not dtype.isnative:
        raise damaged
    if size != start + shape[0] * dtype.itemsize:
        raise damaged
    return np.memmap(path, dtype, "r", start, shape)


def target_stream(arrays: TokenArrays) -> Array:
    """Return BEGIN and the n tokens to predict, (n + 1,): each id is to follow from those before.

    Token arrays that are separated begin with BEGIN already; then a BEGIN at the end completes the
    last poem.
    """
    begin = np.array([BEGIN_ID], dtype=arrays.tokens.dtype)
    parts = [arrays.tokens, begin] if arrays.separated else [begin, arrays.tokens]
    return np.concatenate(parts)
