"""Twins: poems whose text recurs, to the letter or nearly.

Exact twins have the same characters once `，` and `。` are taken out.

Near twins have more than three fifths of the shorter poem's characters in common, in the same
order, with anything in between (a longest common subsequence), and at least three different runs
of three characters, which is how they are found. The shorter poem counts as 20 characters at
least, the length of the shortest regular form, so that a fragment of one line is no twin of the
poem that quotes it. Variants of characters, a reworked line, the excerpt of half a poem and mostly
even the other script (戰場, 战场) leave near twins what they are.

Why three fifths: two lines of four in common are one half, and chance adds a character or two. Of
the pairs in the 241,440 poems, those from 0.5 to 0.6 (468) are mostly series on one refrain and
borrowed couplets (物理窺開後，人情照破時 begins nine poems); those from 0.6 to 0.65 (100) are
mostly one poem in two versions (京索先生三尺墳，秋風漠漠吐寒雲 and 京洛先生三尺墳，陰風慘慘土和雲).
The place matters little, because 4,356 of the 4,773 pairs are above 0.8: of 24,144 validation
poems 768 have a near twin by 0.55, 762 by 0.6, 751 by 0.65, 738 by 0.7.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import orjson
from tqdm import tqdm

from nanopoet.buckets import Buckets
from nanopoet.errors import NanopoetError
from nanopoet.poems import Poem

Array = npt.NDArray[np.int64]
Twin = Literal["exact", "near"]

_SHORTEST = 20
"""A shorter poem counts as this long."""
_RUNS = 3
"""Near twins share at least so many different runs of three characters."""
_REACH = 16
"""A run links a text with the next so many texts that have it, so that a stock phrase in hundreds
of poems does not link each with each. Versions of one poem share runs that few others have."""
_LINKS = 4
"""Links for each run, about."""
_POEMS = 4096
"""Poems that are worked on at once."""


def twin_groups(poems: Iterable[Poem], scratch: str | Path | None = None) -> Array:
    """Group the twins of twins: (N,), for each poem the position of the first of its group.

    What grows with the texts is kept in files; memory has some ten numbers for each poem.

    Args:
        poems: N poems, gone through once.
        scratch: folder for the files; None for the system's temporary folder.

    >>> texts = ["白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", "春眠不覺曉，處處聞啼鳥。"]
    >>> texts.append("白日依山盡，黄河入海流。欲窮千里目，更上一重樓。")
    >>> twin_groups([Poem(content=c, title="", author="", style="") for c in texts]).tolist()
    [0, 1, 0]
    """
    with _Texts(poems, scratch) as texts:
        return _groups(texts, scratch)


def twins_across(
    poems: Iterable[Poem], val: Sequence[int] | Array, scratch: str | Path | None = None
) -> list[Twin | None]:
    """Say of some poems whether their group has another that is not one of them, and if to the
    letter.

    Args:
        poems: N poems, gone through once.
        val: positions of some of them.
        scratch: as for `twin_groups`.

    >>> texts = ["千山鳥飛絕，萬徑人蹤滅。", "春眠不覺曉。", "千山鳥飛絕。萬徑人蹤滅。"]
    >>> poems = [Poem(content=c, title="", author="", style="") for c in texts]
    >>> twins_across(poems, [0, 1])
    ['exact', None]
    """
    chosen = np.asarray(val, dtype=np.int64)
    with _Texts(poems, scratch) as texts:
        groups, distinct = _groups(texts, scratch), texts.distinct
    in_train = np.ones(len(groups), dtype=bool)
    in_train[chosen] = False
    exact = np.zeros(len(groups), dtype=bool)
    exact[distinct[in_train]] = True
    near = np.zeros(len(groups), dtype=bool)
    near[groups[in_train]] = True
    pairs = zip(exact[distinct[chosen]].tolist(), near[groups[chosen]].tolist(), strict=True)
    return ["exact" if same else "near" if alike else None for same, alike in pairs]


def twins_in(val: Sequence[Poem], train: Sequence[Poem]) -> list[Twin | None]:
    """`twins_across` for the poems of `val`, the others being those of `train`."""
    return twins_across(chain(val, train), range(len(val)))


def load_twins(path: str | Path, count: int) -> list[Twin | None]:
    """Read what `twins_in` gave for `count` poems, from JSON.

    Raises:
        NanopoetError: the file is missing, damaged or of other poems.
    """
    try:
        twins: list[Twin | None] = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise NanopoetError(f"{path}: no such file; run `dvc repro split`") from None
    except ValueError:
        raise NanopoetError(f"{path}: damaged; run `dvc repro split`") from None
    if not isinstance(twins, list) or not {*map(str, twins)} <= {"exact", "near", "None"}:
        raise NanopoetError(f"{path}: not a list of twins; run `dvc repro split`")
    if len(twins) != count:
        raise NanopoetError(f"{path}: tells of {len(twins)} poems, not {count}; run `dvc repro`")
    return twins


def _characters(poem: Poem) -> str:
    return poem["content"].replace("，", "").replace("。", "")


@dataclass(frozen=True)
class _Chunk:
    """Some poems next to each other: their places, and their characters as code points."""

    places: Array
    lengths: Array
    codes: npt.NDArray[np.uint32]


class _Texts:
    """The characters of N poems, in a file.

    Attributes:
        distinct: (N,) number of the text of each poem among the D different ones. Numbers follow
            a digest of the text, so that what is a twin does not depend on the order of poems.
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


def _groups(texts: _Texts, scratch: str | Path | None) -> Array:
    count = len(texts.first)
    leader = np.arange(count)

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = node = leader[leader[node]]
        return node

    for pairs in _candidates(texts, scratch):
        leader = _flat(leader)
        apart = leader[pairs[:, 0]] != leader[pairs[:, 1]]  # most versions of a poem have met
        for i, j in pairs[apart].tolist():
            one, other = find(i), find(j)
            if one != other and _near(texts[i], texts[j]):
                leader[other] = one
    leader = _flat(leader)
    group = leader[texts.distinct]
    first = np.full(count, len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    return first[group]


def _flat(leader: Array) -> Array:
    """Let each node name the one at the end of its chain."""
    while ((further := leader[leader]) != leader).any():
        leader = further
    return leader


def _candidates(texts: _Texts, scratch: str | Path | None) -> Iterator[Array]:
    """Pairs of texts that share enough runs, by their numbers, the smaller one first: (P, 2)."""
    count, size = len(texts.first), int(texts.starts[-1])
    bar = tqdm(disable=None, desc="looking for twins", unit="bucket")
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


def _runs(chunk: _Chunk, texts: _Texts) -> Array:
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


def _near(a: str, b: str) -> bool:
    return 5 * _common(a, b) > 3 * max(min(len(a), len(b)), _SHORTEST)


def _common(a: str, b: str) -> int:
    """Length of the longest common subsequence, with one bit for each character of `a`.

    A bit of `open_` falls when the subsequence grows there (Hyyrö 2004).

    >>> _common("停車坐愛楓林晚", "停車閑坐楓林曉")
    5
    """
    where: dict[str, int] = {}
    for i, character in enumerate(a):
        where[character] = where.get(character, 0) | 1 << i
    every = (1 << len(a)) - 1
    open_ = every
    for character in b:
        hits = open_ & where.get(character, 0)
        open_ = (open_ + hits) | (open_ - hits)
    return len(a) - (open_ & every).bit_count()
