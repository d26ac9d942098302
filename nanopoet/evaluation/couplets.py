"""Parallel couplets (對仗): do opposite characters belong together?

In the middle couplets of a 律詩 the characters of the second line answer those of the first, place
by place: 風 answers 月, 千 answers 萬. Which characters answer each other is counted in the middle
couplets of the training poems.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np

from nanopoet.common.types import Array
from nanopoet.prosody.forms import FORMS, split_lines

Couplet = tuple[str, str]
"""Two lines of one length."""

_BITS = 21
"""Bits of a code point."""
_PRIOR = 0.1
"""Weight of chance beside the counts, so that a pair never counted has a finite score."""
_LONG = {form.length for form in FORMS.values() if form.lines == 8}


def couplets(texts: Iterable[str]) -> dict[str, list[Couplet]]:
    """Return the couplets of the 律詩 among some texts: `middle` should be parallel, not `outer`.

    >>> couplets(["一一一一一，二二二二二。三三三三三，四四四四四。" * 2])["middle"]
    [('三三三三三', '四四四四四'), ('一一一一一', '二二二二二')]
    """
    found: dict[str, list[Couplet]] = {"middle": [], "outer": []}
    for text in texts:
        lines = split_lines(text)
        if len(lines) == 8 and len(lines[0]) in _LONG and len(set(map(len, lines))) == 1:
            first, *middle, last = zip(lines[::2], lines[1::2], strict=True)
            found["middle"] += middle
            found["outer"] += [first, last]
    return found


class Parallelism:
    """Mutual information of opposite characters, counted in couplets that are parallel.

    With c the counts of a pair, of N pairs in all, and p(a), p(b) the shares of its characters in
    first and second lines, the score of a pair is

        ln ((c(a, b) + k p(a) p(b)) / ((N + k) p(a) p(b))),    k = N / 10

    Args:
        parallel: couplets of the training poems.
    """

    def __init__(self, parallel: Iterable[Couplet]) -> None:
        first, second = _codes(parallel)
        self._keys, self._counts = np.unique(first << _BITS | second, return_counts=True)
        self._total = len(first)
        self._first, self._second = _Shares(first), _Shares(second)

    def nats(self, tried: Sequence[Couplet]) -> float | None:
        """Return by how many nats the pairs of couplets score above those of shuffled couplets.

        In the shuffled couplets, each first line stands beside the second line of the next couplet
        of its length. What merely is common, in lines or in all these poems, cancels out.

        Args:
            tried: couplets.

        Returns:
            the mean over pairs; None if fewer than two couplets have one length, or none was
            counted.
        """
        if not self._total:
            return None
        by_length = [[c for c in tried if len(c[0]) == length] for length in sorted(_LONG)]
        gains = [
            self._scores(each) - self._scores(_shuffled(each))
            for each in by_length
            if len(each) > 1
        ]
        return fmean(np.concatenate(gains).tolist()) if gains else None

    def _scores(self, tried: Sequence[Couplet]) -> Array:
        first, second = _codes(tried)
        keys = first << _BITS | second
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        counts = np.where(self._keys[places] == keys, self._counts[places], 0)
        chance = self._first.of(first) * self._second.of(second)
        prior = _PRIOR * self._total
        scores: Array = np.log((counts + prior * chance) / ((self._total + prior) * chance))
        return scores


class _Shares:
    """Shares of characters among (n,) code points; one that is missing counts as seen once."""

    def __init__(self, codes: Array) -> None:
        self._codes, counts = np.unique(codes, return_counts=True)
        self._counts, self._total = counts, len(codes)

    def of(self, codes: Array) -> Array:
        """Look up shares (m,) of code points (m,)."""
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        known = self._codes[places] == codes
        shares: Array = np.where(known, self._counts[places], 1) / self._total
        return shares


def _shuffled(tried: Sequence[Couplet]) -> list[Couplet]:
    seconds = [second for _, second in tried]
    return [(first, s) for (first, _), s in zip(tried, seconds[1:] + seconds[:1], strict=True)]


def _codes(tried: Iterable[Couplet]) -> tuple[Array, Array]:
    """Return the code points (n,) of all first lines, and of all second lines."""
    lines = list(tried)
    texts = ("".join(couplet[place] for couplet in lines) for place in (0, 1))
    first, second = (
        np.frombuffer(t.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64) for t in texts
    )
    return first, second
