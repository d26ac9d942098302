"""Marks and scripts of a corpus, counted while its poems stream by."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nanopoet.common.text import LINE_ENDS, PAUSES, SILENT
from nanopoet.corpus.poems import Poem
from nanopoet.prosody.forms import FORMS
from nanopoet.prosody.script import scripts_of

_MARK = re.compile(r"[^\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af〇々]")
_LINE_ENDS = frozenset(LINE_ENDS + PAUSES)
_KNOWN = _LINE_ENDS | frozenset(SILENT + "□■○●◯〓")
"""Marks that have a meaning; the last six stand for a character that cannot be read."""
_LONGEST_LINE = max(form.length for form in FORMS.values())


class TextCounts:
    """A counter of the marks and scripts in the content of poems.

    >>> counts = TextCounts()
    >>> poem = Poem(content="春風又綠江南岸；明月何時照我還？", title="", author="", style="")
    >>> _ = list(counts.watch([poem]))
    >>> counts.figures()["marks"], counts.figures()["scripts"]["traditional"]
    ({'；': 1, '？': 1}, 1)
    """

    def __init__(self) -> None:
        self._marks: Counter[str] = Counter()
        self._scripts: Counter[str] = Counter()
        self._without_line_end = 0

    def watch(self, poems: Iterable[Poem]) -> Iterator[Poem]:
        """Yield the poems and count them."""
        for poem in poems:
            marks, scripts = _MARK.findall(poem["content"]), scripts_of(poem["content"])
            self._marks.update(marks)
            self._scripts["mixed" if len(scripts) > 1 else next(iter(scripts), "either")] += 1
            is_long = len(poem["content"]) > _LONGEST_LINE
            self._without_line_end += is_long and _LINE_ENDS.isdisjoint(marks)
            yield poem

    def figures(self) -> dict[str, Any]:
        """Return the counts so far: marks, the commonest first, and poems by their scripts."""
        kinds = ("traditional", "simplified", "mixed", "either")
        return {
            "marks": {_visible(mark): count for mark, count in self._marks.most_common()},
            "scripts": {kind: self._scripts[kind] for kind in kinds},
        }

    def warnings(self) -> Iterator[str]:
        """Say what the figures of verse will miss in these texts."""
        if self._without_line_end:
            yield (
                f"{self._without_line_end:,} of {self._scripts.total():,} poems have no mark that "
                f"ends a line, so each counts as one line, without form, rhyme and tones; end "
                f"lines with ， 。 or a new line"
            )
        others = {_visible(m): n for m, n in self._marks.most_common() if m not in _KNOWN}
        if others:
            yield (
                f"the poems hold characters that are neither Chinese nor known marks "
                f"({list_counts(others)}); each counts as a character of its line, so that a poem "
                f"may have no form; remove them"
            )


def list_counts(counts: Mapping[str, int], most: int = 10) -> str:
    """List the first characters with their counts.

    >>> list_counts({"，": 1200, "。": 3, "？": 1}, most=2)
    '， 1,200, 。 3 and 1 more'
    """
    shown = ", ".join(f"{mark} {count:,}" for mark, count in list(counts.items())[:most])
    return shown + (f" and {len(counts) - most:,} more" if len(counts) > most else "")


def _visible(character: str) -> str:
    r"""Return a character, or its code point if it would not show.

    >>> _visible("。"), _visible("\n")
    ('。', 'U+000A')
    """
    shows = character.isprintable() and not character.isspace()
    return character if shows else f"U+{ord(character):04X}"
