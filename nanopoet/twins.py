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

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

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
_PARTS = 16
"""The runs are sorted in so many parts: less memory, and a bar that moves."""


def twin_groups(poems: Sequence[Poem]) -> Array:
    """Group the twins of twins: (N,), for each poem the position of the first of its group.

    >>> texts = ["白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", "春眠不覺曉，處處聞啼鳥。"]
    >>> texts.append("白日依山盡，黄河入海流。欲窮千里目，更上一重樓。")
    >>> twin_groups([Poem(content=c, title="", author="", style="") for c in texts]).tolist()
    [0, 1, 0]
    """
    texts = [_characters(poem) for poem in poems]
    # Sorted, so that what is a twin does not depend on the order of the poems.
    distinct = sorted(set(texts))
    leader = _leaders(len(distinct), _near_pairs(distinct))
    leader_of = dict(zip(distinct, leader, strict=True))
    first: dict[int, int] = {}
    groups = [first.setdefault(leader_of[text], i) for i, text in enumerate(texts)]
    return np.array(groups, dtype=np.int64)


def twins_in(val: Sequence[Poem], train: Sequence[Poem]) -> list[Twin | None]:
    """Say of each poem of `val` whether its group has a poem in `train`, and if to the letter.

    >>> texts = ["千山鳥飛絕，萬徑人蹤滅。", "春眠不覺曉。", "千山鳥飛絕。萬徑人蹤滅。"]
    >>> poems = [Poem(content=c, title="", author="", style="") for c in texts]
    >>> twins_in(poems[:2], poems[2:])
    ['exact', None]
    """
    groups = twin_groups([*train, *val])[len(train) :].tolist()
    in_train = {_characters(poem) for poem in train}
    return [
        "exact" if _characters(poem) in in_train else "near" if group < len(train) else None
        for poem, group in zip(val, groups, strict=True)
    ]


def load_twins(path: str | Path, count: int) -> list[Twin | None]:
    """Read what `twins_in` gave for `count` poems, from JSON.

    Raises:
        NanopoetError: the file is missing, damaged or of other poems.
    """
    try:
        twins: list[Twin | None] = json.loads(Path(path).read_text(encoding="utf-8"))
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


def _near_pairs(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Positions of near twins among distinct texts."""
    for i, j in _candidates(texts).tolist():
        shorter = max(min(len(texts[i]), len(texts[j])), _SHORTEST)
        if 5 * _common(texts[i], texts[j]) > 3 * shorter:
            yield i, j


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


def _candidates(texts: Sequence[str]) -> Array:
    """(P, 2): positions of texts that share enough runs, the smaller one first."""
    runs, owners = _runs(texts)
    links: list[Array] = []
    for part in tqdm(range(_PARTS), disable=None, desc="looking for twins"):
        inside = runs % _PARTS == part
        links.extend(_links(runs[inside], owners[inside], len(texts)))
    pairs, counts = np.unique(np.concatenate(links), return_counts=True)
    return np.stack(np.divmod(pairs[counts >= _RUNS], len(texts)), axis=1)


def _runs(texts: Sequence[str]) -> tuple[Array, Array]:
    """Every run of three characters as one number, and the text that it is in, (R,) each.

    A code point has 21 bits, so three fit as they are: no hash, no collision.

    >>> runs, owners = _runs(["春夏秋冬", "山", "天地人"])
    >>> [chr(run & 0x1FFFFF) for run in runs.tolist()], owners.tolist()
    (['秋', '冬', '人'], [0, 0, 2])
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4").astype(np.int64)
    owners = np.repeat(np.arange(len(texts)), np.array([len(t) for t in texts], dtype=np.int64))
    runs = codes[:-2] << 42 | codes[1:-1] << 21 | codes[2:]
    inside = owners[:-2] == owners[2:]
    return runs[inside], owners[:-2][inside]


def _links(runs: Array, owners: Array, count: int) -> Iterator[Array]:
    """Texts i < j, as i · `count` + j, once for each run that links them."""
    order = np.argsort(runs, kind="stable")
    runs, owners = runs[order], owners[order]
    new = (np.diff(runs, prepend=-1) != 0) | (np.diff(owners, prepend=-1) != 0)
    runs, owners = runs[new], owners[new]
    for step in range(1, _REACH + 1):
        same = runs[:-step] == runs[step:]
        yield owners[:-step][same] * count + owners[step:][same]


def _leaders(count: int, pairs: Iterator[tuple[int, int]]) -> list[int]:
    """Join the pairs: for each of `count` nodes, one node that stands for its component.

    >>> _leaders(5, iter([(0, 2), (3, 4), (2, 3)]))
    [0, 1, 0, 0, 0]
    """
    leader = list(range(count))

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = node = leader[leader[node]]
        return node

    for i, j in pairs:
        leader[find(j)] = find(i)
    return [find(node) for node in range(count)]
