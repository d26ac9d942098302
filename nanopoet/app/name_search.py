"""Search among the names of authors and tunes."""

from collections.abc import Mapping
from typing import TypedDict

from nanopoet.writing.names import simplified

MOST_NAMES = 20
"""Names that a search finds, at most."""


class Found(TypedDict):
    """A name, and the number of poems that have it."""

    name: str
    poems: int


class NameSearch:
    """Names that can be found by a part of them, in simplified or traditional characters.

    Args:
        names: name → number of poems.

    >>> NameSearch({"蘇轍": 2, "蘇軾": 3, "李白": 1}).find("苏")
    [{'name': '蘇軾', 'poems': 3}, {'name': '蘇轍', 'poems': 2}]
    """

    def __init__(self, names: Mapping[str, int]) -> None:
        ranked = sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))
        self._names = [(simplified(name), Found(name=name, poems=n)) for name, n in ranked]

    def find(self, part: str) -> list[Found]:
        """Return the names that contain a text, those with most poems first."""
        key = simplified("".join(part.split()))
        return [found for name, found in self._names if key in name][:MOST_NAMES]
