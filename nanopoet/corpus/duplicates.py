"""Duplicates: poems whose text recurs, to the letter or nearly.

Exact duplicates have the same characters once `，` and `。` are taken out.

Near duplicates have more than three fifths of the shorter poem's characters in common, in the same
order, with anything in between (a longest common subsequence), and at least three different runs
of three characters, which is how they are found. The shorter poem counts as 20 characters at
least, the length of the shortest regular form, so that a fragment of one line is no duplicate of
the poem that quotes it. Variants of characters, a reworked line, the excerpt of half a poem and
mostly even the other script (戰場, 战场) leave near duplicates what they are.

Why three fifths: two lines of four in common are one half, and chance adds a character or two. Of
the pairs in the 241,440 poems, those from 0.5 to 0.6 (468) are mostly series on one refrain and
borrowed couplets (物理窺開後，人情照破時 begins nine poems); those from 0.6 to 0.65 (100) are
mostly one poem in two versions (京索先生三尺墳，秋風漠漠吐寒雲 and 京洛先生三尺墳，陰風慘慘土和雲).
The place matters little, because 4,356 of the 4,773 pairs are above 0.8: of 24,144 validation
poems 768 have a near duplicate by 0.55, 762 by 0.6, 751 by 0.65, 738 by 0.7.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nanopoet.corpus.near_pairs import Texts, candidate_pairs, is_near
from nanopoet.corpus.poems import Duplicate, Poem

Array = npt.NDArray[np.int64]


def duplicate_groups(poems: Iterable[Poem], scratch: str | Path | None = None) -> Array:
    """Group poems that are duplicates of each other, directly or through others.

    What grows with the texts is kept in files; memory has some ten numbers for each poem.

    Args:
        poems: N poems, gone through once.
        scratch: folder for the files; None for the system's temporary folder.

    Returns:
        (N,): for each poem the position of the first of its group.

    >>> texts = ["白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", "春眠不覺曉，處處聞啼鳥。"]
    >>> texts.append("白日依山盡，黄河入海流。欲窮千里目，更上一重樓。")
    >>> duplicate_groups([Poem(content=c, title="", author="", style="") for c in texts]).tolist()
    [0, 1, 0]
    """
    with Texts(poems, scratch) as texts:
        return _groups(texts, scratch)


def duplicates_across(
    poems: Iterable[Poem], val: Sequence[int] | Array, scratch: str | Path | None = None
) -> list[Duplicate | None]:
    """Say of some poems whether their group has another that is not one of them, and if to the
    letter.

    Args:
        poems: N poems, gone through once.
        val: positions of some of them.
        scratch: as for `duplicate_groups`.

    >>> texts = ["千山鳥飛絕，萬徑人蹤滅。", "春眠不覺曉。", "千山鳥飛絕。萬徑人蹤滅。"]
    >>> poems = [Poem(content=c, title="", author="", style="") for c in texts]
    >>> duplicates_across(poems, [0, 1])
    ['exact', None]
    """
    chosen = np.asarray(val, dtype=np.int64)
    with Texts(poems, scratch) as texts:
        groups, distinct = _groups(texts, scratch), texts.distinct
    in_train = np.ones(len(groups), dtype=bool)
    in_train[chosen] = False
    exact = np.zeros(len(groups), dtype=bool)
    exact[distinct[in_train]] = True
    near = np.zeros(len(groups), dtype=bool)
    near[groups[in_train]] = True
    pairs = zip(exact[distinct[chosen]].tolist(), near[groups[chosen]].tolist(), strict=True)
    return ["exact" if same else "near" if alike else None for same, alike in pairs]


def duplicates_in(val: Sequence[Poem], train: Sequence[Poem]) -> list[Duplicate | None]:
    """`duplicates_across` for the poems of `val`, the others being those of `train`."""
    return duplicates_across(chain(val, train), range(len(val)))


def _groups(texts: Texts, scratch: str | Path | None) -> Array:
    count = len(texts.first)
    leader = np.arange(count)

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = node = leader[leader[node]]
        return node

    for pairs in candidate_pairs(texts, scratch):
        leader = _flat(leader)
        apart = leader[pairs[:, 0]] != leader[pairs[:, 1]]  # most versions of a poem have met
        for i, j in pairs[apart].tolist():
            one, other = find(i), find(j)
            if one != other and is_near(texts[i], texts[j]):
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
