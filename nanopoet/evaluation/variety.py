"""Measures of how much poems differ, for one request and over many."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean

from nanopoet.prosody.forms import split_lines
from nanopoet.prosody.rules import rhyme_characters

_COMMONEST = 20


def distinct_pairs(texts: Iterable[str]) -> float | None:
    """Return the share of distinct pairs of neighbours among all pairs within a line.

    (distinct-2; Li et al. 2016, https://arxiv.org/abs/1510.03055)

    >>> distinct_pairs(["春風春風", "秋風"])
    0.75
    """
    lines = [line for text in texts for line in split_lines(text)]
    pairs = ["".join(pair) for line in lines for pair in pairwise(line)]
    return len(set(pairs)) / len(pairs) if pairs else None


def distinct_pairs_within(texts: Iterable[str]) -> float | None:
    """Average `distinct_pairs` over poems, each by itself.

    >>> distinct_pairs_within(["春風春風", "秋風"])
    0.8333333333333333
    """
    shares = [share for text in texts if (share := distinct_pairs([text])) is not None]
    return fmean(shares) if shares else None


def commonest_shares(texts: Iterable[str]) -> dict[str, float | None]:
    """Return how often the 20 commonest rhyme characters, openings and last lines come.

    An opening is the first two characters of a poem. The share is of all rhyme characters, all
    openings and all last lines of the poems.
    """
    poems = [lines for text in texts if (lines := split_lines(text))]
    return {
        "rhyme_characters": _share([c for lines in poems for c in rhyme_characters(lines)]),
        "openings": _share([lines[0][:2] for lines in poems]),
        "last_lines": _share([lines[-1] for lines in poems]),
    }


def _share(things: Sequence[str]) -> float | None:
    """Return the share of the commonest things.

    >>> _share(["東"] * 3 + ["風"])
    1.0
    """
    commonest = Counter(things).most_common(_COMMONEST)
    return sum(count for _, count in commonest) / len(things) if things else None
