"""Refusals in English and Chinese, the two languages of the page."""

from nanopoet.common.errors import NanopoetError


class BilingualError(Exception):
    """A problem, explained in two languages.

    Attributes:
        english: the explanation; also the text of the error.
        chinese: the same in Chinese.
    """

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(english, chinese)
        self.english, self.chinese = english, chinese

    def __str__(self) -> str:
        return self.english


class RefusedError(BilingualError, NanopoetError):
    """A request that no poem satisfies, in one sentence that names the nearest that would go."""
