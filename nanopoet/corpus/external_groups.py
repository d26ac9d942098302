"""Grouping of rows that do not fit into memory, by a key and with temporary files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]

_ROWS = 1 << 21
"""Approximate number of rows per bucket: 16 MB per column."""
_MOST = 128
"""Most buckets. Each is an open file, and some systems allow 256 per process."""


class Buckets:
    """Rows (n, width) in files, such that rows with equal keys come back in one array.

    The files have no name, so nothing is left of them however the process ends.

    Args:
        rows: approximate number of rows to come.
        width: number of columns; the first is the key.
        folder: folder of the files; None for the temporary folder of the system.

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
        """Append rows (n, width), int64, to the buckets of their keys."""
        bucket = (rows[:, 0] % len(self)).astype(np.uint16)
        order = np.argsort(bucket, kind="stable")  # linear in n for 16 bits
        ends = np.searchsorted(bucket[order], np.arange(len(self) + 1))
        rows = rows[order]
        for file, start, end in zip(self._files, ends[:-1], ends[1:], strict=True):
            rows[start:end].tofile(file)

    def __iter__(self) -> Iterator[Array]:
        """Yield the rows of each bucket, in the order in which they were added."""
        for file in self._files:
            file.seek(0)
            yield np.fromfile(file, dtype=np.int64).reshape(-1, self._width)
