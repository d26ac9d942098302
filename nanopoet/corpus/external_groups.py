"""Rows of integers, too many for memory, put by a key into files that are small enough."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]

_ROWS = 1 << 21
"""Rows for a bucket, about: 16 MB a column."""
_MOST = 128
"""Buckets, at most: each is an open file, and some systems allow a process 256."""


class Buckets:
    """Rows (n, `width`), of which those with equal keys come back together.

    The files have no name: nothing is left of them, whatever ends the process.

    Args:
        rows: how many there will be, about.
        width: columns; the first is the key.
        folder: where the files are; None for the system's temporary folder.

    >>> with Buckets(rows=3, width=2) as buckets:
    ...     buckets.add(np.array([[7, 0], [9, 1], [7, 2]]))
    ...     [rows[rows[:, 0] == 7].tolist() for rows in buckets]
    [[[7, 0], [7, 2]]]
    """

    def __init__(self, rows: int, width: int, folder: str | Path | None = None) -> None:
        count = min(_MOST, 1 + rows // _ROWS)
        self._width = width
        self._files: list[IO[bytes]] = []
        for _ in range(count):
            self._files.append(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115

    def __enter__(self) -> "Buckets":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return len(self._files)

    def add(self, rows: Array) -> None:
        """Put rows (n, width) where they belong."""
        bucket = (rows[:, 0] % len(self)).astype(np.uint16)
        order = np.argsort(bucket, kind="stable")  # linear in n for so small a type
        ends = np.searchsorted(bucket[order], np.arange(len(self) + 1))
        rows = rows[order]
        for file, start, end in zip(self._files, ends[:-1], ends[1:], strict=True):
            rows[start:end].tofile(file)

    def __iter__(self) -> Iterator[Array]:
        """The rows of one bucket after the other, each in the order in which they came."""
        for file in self._files:
            file.seek(0)
            yield np.fromfile(file, dtype=np.int64).reshape(-1, self._width)
