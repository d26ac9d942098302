"""Refusals in English and Chinese, the two languages of the page."""

import unicodedata

from nanopoet.common.errors import NanopoetError


def on_one_line(text: str) -> str:
    """Replace new lines by spaces, and characters without a shape by their codes as U+200B.

    A terminal obeys some of these characters.
    """
    return "".join(
        f"U+{ord(character):04X}" if unicodedata.category(character) in ("Cc", "Cf") else character
        for character in " ".join(text.split())
    )


class BilingualError(Exception):
    """A problem, explained in two languages, each on one line.

    Attributes:
        english: the explanation; also the text of the error.
        chinese: the same in Chinese.
    """

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(english, chinese)
        self.english, self.chinese = on_one_line(english), on_one_line(chinese)

    def __str__(self) -> str:
        return self.english


class RefusedError(BilingualError, NanopoetError):
    """A request that no poem satisfies, in one sentence that names the nearest that would go."""
