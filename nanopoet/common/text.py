"""Line breaks: a poem is printed with one sentence per line."""

from collections.abc import Iterable, Iterator


def as_lines(text: str) -> str:
    """Break a text after each `。`.

    >>> print(as_lines("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"))
    白日依山盡，黃河入海流。
    欲窮千里目，更上一層樓。
    """
    return text.replace("。", "。\n").removesuffix("\n")


def iter_lines(characters: Iterable[str]) -> Iterator[str]:
    r"""Yield the characters of a text as they come, with the line breaks of `as_lines`.

    >>> list(iter_lines("山。水。"))
    ['山', '。', '\n水', '。']
    """
    ended = False
    for character in characters:
        yield "\n" + character if ended else character
        ended = character == "。"
