"""Candidate pairs of near-duplicates, and the test that decides.

The texts are in a temporary file, so that memory does not grow with them.
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
from nanopoet.prosody.forms import split_lines

Array = npt.NDArray[np.int64]

_SHORTEST = 20
"""Length that a shorter poem counts as."""
_RUNS = 3
"""Fewest different runs of three characters that near-duplicates share."""
_REACH = 16
"""Number of following texts with the same run that a run links a text to. Without a limit a stock
phrase in hundreds of poems would link all pairs of them. Versions of one poem share rare runs."""
_LINKS = 4
"""Approximate number of links per run."""
_POEMS = 4096
"""Poems processed at once."""


def _characters(poem: Poem) -> str:
    return "".join(split_lines(poem["content"]))


@dataclass(frozen=True)
class _Chunk:
    """Consecutive poems.

    Attributes:
        places: (P,) their indices among all poems.
        lengths: (P,) their numbers of characters.
        codes: their characters as code points, one poem after the other.
    """

    places: Array
    lengths: Array
    codes: npt.NDArray[np.uint32]


class Texts:
    """The characters of N poems, without marks, in a temporary file.

    Args:
        poems: the poems, read once.
        scratch: folder for the file; None for the temporary folder of the system.

    Attributes:
        distinct: (N,) number of the text of each poem among the D different texts. Texts are
            numbered by their digests, so that duplicates do not depend on the order of poems.
        first: (D,) index of the first poem with each text.
        starts: (N + 1,) index of the first character of each poem among all characters.
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
        """Read one of the D texts."""
        start, end = self.starts[self.first[number] : self.first[number] + 2].tolist()
        self._file.seek(4 * start)
        return self._file.read(4 * (end - start)).decode("utf-32-le", "surrogatepass")

    def chunks(self) -> Iterator[_Chunk]:
        """Yield all poems."""
        for begin in range(0, len(self.distinct), _POEMS):
            starts = self.starts[begin : begin + _POEMS + 1]
            self._file.seek(4 * int(starts[0]))
            raw = self._file.read(4 * int(starts[-1] - starts[0]))
            places = np.arange(begin, begin + len(starts) - 1)
            yield _Chunk(places, np.diff(starts), np.frombuffer(raw, dtype="<u4"))


def _number(digests: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Number the different rows of digests (N, 2) in ascending order.

    Returns:
        (N,) the number of each row, and (D,) the index of the first row with each number.
    """
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    distinct = np.empty(len(order), dtype=np.int64)
    distinct[order] = np.cumsum(new) - 1
    return distinct, order[new]


def candidate_pairs(texts: Texts, scratch: str | Path | None) -> Iterator[Array]:
    """Yield pairs of texts that share enough runs: (P, 2) numbers, the smaller one first."""
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
    """Return every run of three characters as an integer, and the number of its text: (R, 2).

    A code point has 21 bits, so 64 bits hold three of them and no two runs collide. Only the first
    poem with a text counts.
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
    """Yield linked texts i < j as i · `count` + j, once for each run in `rows` (R, 2)."""
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
