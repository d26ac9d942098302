"""Candidate pairs of near-duplicates, and the measure that decides.

The texts stand in a file, so that memory does not grow with them.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from tqdm import tqdm

from nanopoet.corpus.external_groups import Buckets
from nanopoet.corpus.poems import Poem

Array = npt.NDArray[np.int64]

_SHORTEST = 20
"""A shorter poem counts as this long."""
_RUNS = 3
"""Near duplicates share at least so many different runs of three characters."""
_REACH = 16
"""A run links a text with the next so many texts that have it, so that a stock phrase in hundreds
of poems does not link each with each. Versions of one poem share runs that few others have."""
_LINKS = 4
"""Links for each run, about."""
_POEMS = 4096
"""Poems that are worked on at once."""


def _characters(poem: Poem) -> str:
    return poem["content"].replace("，", "").replace("。", "")


@dataclass(frozen=True)
class _Chunk:
    """Some poems next to each other: their places, and their characters as code points."""

    places: Array
    lengths: Array
    codes: npt.NDArray[np.uint32]


class Texts:
    """The characters of N poems, in a file.

    Attributes:
        distinct: (N,) number of the text of each poem among the D different ones. Numbers follow
            a digest of the text, so that what is a duplicate does not depend on the order of poems.
        first: (D,) a poem for each text, the first that has it.
        starts: (N + 1,) where the characters of each begin.
    """

    def __init__(self, poems: Iterable[Poem], scratch: str | Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
        digests, lengths = [], []
        poems = iter(poems)
        while texts := [_characters(poem) for poem in islice(poems, _POEMS)]:
            raw = [text.encode("utf-32-le", "surrogatepass") for text in texts]
            self._file.write(b"".join(raw))
            digest = b"".join(hashlib.blake2b(text, digest_size=16).digest() for text in raw)
            digests.append(np.frombuffer(digest, dtype="<u8").reshape(-1, 2))
            lengths.append(np.array([len(text) for text in texts], dtype=np.int64))
        self._file.flush()
        length = np.concatenate([np.zeros(1, dtype=np.int64), *lengths])
        self.starts = np.cumsum(length)
        self.distinct, self.first = _number(np.concatenate([np.empty((0, 2), "<u8"), *digests]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    def __getitem__(self, number: int) -> str:
        """One of the D texts."""
        start, end = self.starts[self.first[number] : self.first[number] + 2].tolist()
        self._file.seek(4 * start)
        return self._file.read(4 * (end - start)).decode("utf-32-le", "surrogatepass")

    def chunks(self) -> Iterator[_Chunk]:
        """All of them."""
        for begin in range(0, len(self.distinct), _POEMS):
            starts = self.starts[begin : begin + _POEMS + 1]
            self._file.seek(4 * int(starts[0]))
            raw = self._file.read(4 * int(starts[-1] - starts[0]))
            places = np.arange(begin, begin + len(starts) - 1)
            yield _Chunk(places, np.diff(starts), np.frombuffer(raw, dtype="<u4"))


def _number(digests: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Number the different ones of (N, 2) digests, in their order: (N,), and (D,) the first of
    each.
    """
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    distinct = np.empty(len(order), dtype=np.int64)
    distinct[order] = np.cumsum(new) - 1
    return distinct, order[new]


def candidate_pairs(texts: Texts, scratch: str | Path | None) -> Iterator[Array]:
    """Pairs of texts that share enough runs, by their numbers, the smaller one first: (P, 2)."""
    count, size = len(texts.first), int(texts.starts[-1])
    bar = tqdm(disable=None, desc="looking for duplicates", unit="bucket")
    with (
        bar,
        Buckets(size, 2, scratch) as runs,
        Buckets(_LINKS * size, 1, scratch) as links,
    ):
        bar.reset(len(runs) + len(links))
        for chunk in texts.chunks():
            runs.add(_runs(chunk, texts))
        for bucket in runs:
            for pairs in _links(bucket, count):
                links.add(pairs[:, None])
            bar.update()
        for bucket in links:
            pairs, counts = np.unique(bucket, return_counts=True)
            enough = pairs[counts >= _RUNS]
            yield np.stack(np.divmod(enough, count), axis=1)
            bar.update()


def _runs(chunk: _Chunk, texts: Texts) -> Array:
    """(R, 2): every run of three characters as one number, and the number of the text it is in.

    A code point has 21 bits, so three fit as they are: no hash, no collision. A text that comes
    again is left out.
    """
    distinct = texts.distinct[chunk.places]
    owners = np.where(texts.first[distinct] == chunk.places, distinct, -1)
    owners = np.repeat(owners, chunk.lengths)
    places = np.repeat(chunk.places, chunk.lengths)
    codes = chunk.codes.astype(np.int64)
    runs = codes[:-2] << 42 | codes[1:-1] << 21 | codes[2:]
    inside = (places[:-2] == places[2:]) & (owners[:-2] >= 0)
    return np.stack([runs[inside], owners[:-2][inside]], axis=1)


def _links(rows: Array, count: int) -> Iterator[Array]:
    """Texts i < j, as i · `count` + j, once for each run (R, 2) that links them."""
    runs, owners = rows[np.lexsort((rows[:, 1], rows[:, 0]))].T
    new = (np.diff(runs, prepend=-1) != 0) | (np.diff(owners, prepend=-1) != 0)
    runs, owners = runs[new], owners[new]
    for step in range(1, _REACH + 1):
        same = runs[:-step] == runs[step:]
        yield owners[:-step][same] * count + owners[step:][same]


def is_near(a: str, b: str) -> bool:
    """Tell whether two texts have enough characters in common, in the same order.

    >>> is_near("白日依山盡黃河入海流欲窮千里目", "白日依山盡黄河入海流欲窮千里目")
    True
    """
    return 5 * LCSseq.similarity(a, b) > 3 * max(min(len(a), len(b)), _SHORTEST)
