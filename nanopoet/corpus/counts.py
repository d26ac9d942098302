"""Figures of a corpus, counted while its poems stream by."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from nanopoet.corpus.poems import Poem


class CorpusCounts:
    """A counter of poems, authors, styles and characters of content.

    >>> statistics = CorpusCounts()
    >>> poems = [Poem(content="白日依山盡", title="", author="王之渙", style="五言")]
    >>> list(statistics.watch(poems)) == poems
    True
    >>> statistics.figures()["content_characters"]
    5
    """

    def __init__(self) -> None:
        self._authors: set[str] = set()
        self._styles: Counter[str] = Counter()
        self._content_characters = 0

    def watch(self, poems: Iterable[Poem]) -> Iterator[Poem]:
        """Yield the poems and count them."""
        for poem in poems:
            self._authors.add(poem["author"])
            self._styles[poem["style"]] += 1
            self._content_characters += len(poem["content"])
            yield poem

    def figures(self) -> dict[str, Any]:
        """Return the counts so far, with the six most common styles."""
        return {
            "poems": self._styles.total(),
            "authors": len(self._authors),
            "styles": len(self._styles),
            "content_characters": self._content_characters,
            "most_common_styles": dict(self._styles.most_common(6)),
        }
