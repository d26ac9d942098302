"""Token arrays on disk, and batches out of them."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanopoet.common.errors import FileError
from nanopoet.common.files import atomic_write
from nanopoet.common.types import Array
from nanopoet.tokens.tokenizer import BEGIN_ID

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
            raise FileError(Path(folder) / "offsets.npy", "does not fit tokens.npy")
        return cls(tokens, offsets)


def _map(path: Path, kinds: str) -> Array:
    """Memory-map a `.npy` file that this module wrote; whatever else NumPy can read is refused.

    NumPy's own reader evaluates the header as Python and raises whatever comes of that.
    """
    damaged = FileError(path, "damaged token array")
    try:
        with open(path, "rb") as file:
            head = _HEADER.match(file.read(_LONGEST_HEADER))
            size = file.seek(0, 2)
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    if not head:
        raise damaged
    dtype, length, start = np.dtype(head["dtype"].decode()), int(head["length"]), head.end()
    told = int.from_bytes(head["size"], "little")
    if dtype.kind not in kinds or told != start - 10 or size != start + length * dtype.itemsize:
        raise damaged
    return np.memmap(path, dtype, "r", start, (length,))


def target_stream(arrays: TokenArrays) -> Array:
    """(n + 1,) ids: BEGIN, then the n tokens to predict, each after all that stand before it."""
    begin = np.array([BEGIN_ID], dtype=arrays.tokens.dtype)
    parts = [arrays.tokens, begin] if arrays.separated else [begin, arrays.tokens]
    return np.concatenate(parts)
