"""Duplicates and near-duplicates: poems whose text recurs.

Duplicates have the same characters, apart from marks.

Near-duplicates fulfil two conditions. They share at least three different runs of three characters,
by which they are found. And their longest common subsequence has more than three fifths of the
characters of the shorter poem. The shorter poem counts as at least 20 characters, the length of the
shortest regular form. So a fragment of one line is no near-duplicate of a poem that quotes it.
Versions with other variants of characters, with a reworked line or with half of the poem are
near-duplicates, and mostly those in the other script (戰場, 战场), too.

Why three fifths: poems with two of four lines in common share one half, and chance adds a character
or two. Among the 241,440 poems, 468 pairs share 0.5 to 0.6 of their characters. Most of them are
series with one refrain or borrowed couplets (物理窺開後，人情照破時 begins nine poems). 100 pairs
share 0.6 to 0.65. Most of them are two versions of one poem (京索先生三尺墳，秋風漠漠吐寒雲 and
京洛先生三尺墳，陰風慘慘土和雲). The threshold matters little, because 4,356 of 4,773 pairs share
more than 0.8. Of 24,144 validation poems, 768 have a near-duplicate with a threshold of 0.55, 762
with 0.6, 751 with 0.65 and 738 with 0.7.
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
    """Group poems that are duplicates or near-duplicates, directly or through other poems.

    Texts and candidate pairs are in temporary files; memory holds some ten numbers per poem.

    Args:
        poems: N poems, read once.
        scratch: folder for the temporary files; None for the one of the system.

    Returns:
        (N,) int64: for each poem, the index of the first poem of its group.

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
    """Find the validation poems that have a duplicate or near-duplicate in the training part.

    Args:
        poems: N poems, read once.
        val: indices of the validation poems; all others are the training part.
        scratch: as in `duplicate_groups`.

    Returns:
        For each index in `val`: `exact`, `near` or None. A poem is `near` if its group, as
        `duplicate_groups` defines it, has a training poem.

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
    """Apply `duplicates_across` to validation poems and training poems in two sequences."""
    return duplicates_across(chain(val, train), range(len(val)))


def _groups(texts: Texts, scratch: str | Path | None) -> Array:
    """Return for each poem the index of the first poem of its group, (N,), by union-find."""
    count = len(texts.first)
    leader = np.arange(count)

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = node = leader[leader[node]]
        return node

    for pairs in candidate_pairs(texts, scratch):
        leader = _flat(leader)
        apart = (
            leader[pairs[:, 0]] != leader[pairs[:, 1]]
        )  # most versions of a poem are together by now
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
    """Replace the leader of each node by the node at the end of the chain of leaders."""
    while ((further := leader[leader]) != leader).any():
        leader = further
    return leader
