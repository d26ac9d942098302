"""Checks of the texts of a request, before they become a predicate."""

from collections.abc import Sequence

from nanopoet.common.text import LINE_ENDS
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.placing import BLANKS, blanks_of
from nanopoet.writing.refused import RefusedError
from nanopoet.writing.request import Request, chinese_name
from nanopoet.writing.shapes import Shape
from nanopoet.writing.vocabulary import Vocabulary

_RHYMING = ("line that rhymes", "每个押韵的句子")
"""Lines for which a rhyme character is given, in both languages."""


def unknown(text: str, name: str, tokenizer: CharTokenizer) -> str:
    """Return the characters of a text that are no blanks or marks and that the vocabulary lacks."""
    beside = _beside(name, text)
    return "".join(c for c in tokenizer.unknown(text) if c not in beside)


def _beside(name: str, text: str) -> str:
    """Return the marks and blanks that a field may have beside characters of the poem."""
    if name == "draft":
        return LINE_ENDS + blanks_of(text)
    if name in ("acrostic", "rhyme_characters"):
        return BLANKS
    return LINE_ENDS if name == "opening" else ""


def check_known(name: str, text: str, missing: str) -> None:
    """Refuse a text with characters that the vocabulary lacks.

    Args:
        name: its field in the request.
        text: as it was given.
        missing: these characters.
    """
    if missing:
        listed = "、".join(missing)
        raise RefusedError(
            f"{name} = {text} has {listed}, which the training poems lack: give other characters",
            f"{chinese_name(name)}“{text}”里的“{listed}”在训练诗作中没有：请换别的字",
        )


def check_characters(request: Request, vocabulary: Vocabulary) -> None:
    """Refuse marks and other signs in texts that stand for characters of lines.

    Raises:
        RefusedError: it gives the text without them.
    """
    fields = ("opening", "draft", "acrostic", "rhyme_characters", "rhyme_from")
    texts = [(name, getattr(request, name)) for name in fields]
    texts += [("keywords", word) for word in request.keywords]
    for name, text in texts:
        beside = _beside(name, text)
        wrong = {c for c in text if c not in beside and not vocabulary.has_character(c)}
        if wrong:
            listed = "、".join(dict.fromkeys(c for c in text if c in wrong))
            parts = "".join(" " if c in wrong else c for c in text).split()
            right = (" " if name == "keywords" else "").join(parts) or "山水"
            raise RefusedError(
                f"{name} = {text} has {listed}: give Chinese characters alone, as {right}",
                f"{chinese_name(name)}“{text}”里有“{listed}”：请只填汉字，如“{right}”",
            )


def check_lengths(request: Request, shapes: Sequence[Shape]) -> None:
    """Refuse characters for lines that no shape has, and words that are longer than all lines.

    Raises:
        RefusedError: it says how many characters would go.
    """
    for name, text, counts in (
        ("acrostic", request.acrostic, {len(shape.lengths) for shape in shapes}),
        ("rhyme_characters", request.rhyme_characters, {len(shape.rhyming) for shape in shapes}),
    ):
        if text and len(text) not in counts:
            which, chinese_which = ("line", "每句") if name == "acrostic" else _RHYMING
            right = sorted(counts)
            number = f"{len(text)} character{'s' if len(text) > 1 else ''}"
            raise RefusedError(
                f"{name} = {text} has {number}: give one for each {which}, "
                f"{' or '.join(map(str, right))}",
                f"{chinese_name(name)}“{text}”有 {len(text)} 个字：{chinese_which}一个，应为 "
                f"{' 或 '.join(map(str, right))} 个",
            )
    longest = max(length for shape in shapes for length in shape.lengths)
    for word in request.keywords:
        if len(word) > longest:
            raise RefusedError(
                f"keywords = {word} is longer than a line: give at most {longest} characters",
                f"{chinese_name('keywords')}“{word}”比一句还长：最多 {longest} 个字",
            )
