"""Given text, laid into the lines of a shape. Blanks in it stand for characters to write."""

from nanopoet.common.text import LINE_ENDS, NEW_LINES, SENTENCE_ENDS
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.refused import BilingualError
from nanopoet.writing.shapes import Shape

BLANKS = "？?□"
"""Characters that stand for a character to write."""
LITERAL_BLANK = "■"
"""The same in a draft that is taken as it is: ？ is a mark, and no character is converted."""


def blanks_of(draft: str) -> str:
    """Return the characters of a draft that stand for a character to write."""
    return LITERAL_BLANK if LITERAL_BLANK in draft else BLANKS


def in_known_marks(text: str, tokenizer: CharTokenizer, blanks: str = "") -> str:
    """Replace each mark that the vocabulary lacks by one that it has; new lines stay.

    >>> in_known_marks("幾時有？", CharTokenizer.from_characters("幾時有，。"))
    '幾時有。'
    """
    return "".join(
        _known_mark(character, tokenizer)
        if character in LINE_ENDS and character not in blanks + NEW_LINES
        else character
        for character in text
    )


def end_lines_by_marks(text: str, tokenizer: CharTokenizer) -> str:
    r"""End lines by marks instead of new lines, unless the vocabulary has new lines.

    >>> end_lines_by_marks("白日\n山。\n", CharTokenizer.from_characters("白日山，。"))
    '白日，山。'
    """
    parts: list[str] = []
    for character in text:
        if character not in NEW_LINES or not tokenizer.unknown(character):
            parts.append(character)
        elif parts and parts[-1] not in LINE_ENDS:
            parts.append(_known_mark("，", tokenizer))
    return "".join(parts)


def _known_mark(mark: str, tokenizer: CharTokenizer) -> str:
    """Return a mark if the vocabulary has it, else one of its kind, any other, or nothing."""
    kind = SENTENCE_ENDS if mark in SENTENCE_ENDS else "，" + LINE_ENDS
    known = (each for each in mark + kind + LINE_ENDS if not tokenizer.unknown(each))
    return next(known, "")


class MisfitError(BilingualError):
    """Given text that does not fit into a shape, as `line 2 has 4 characters, not 5`."""


def place_text(text: str, shape: Shape, blanks: str = "") -> tuple[dict[int, str], dict[int, str]]:
    """Lay a text into a shape, from its first character on.

    A mark must stand where a line ends. Marks may be left out, and a new line may follow a mark.

    Args:
        text: characters and marks.
        shape: the lines.
        blanks: characters that stand for characters that are not given.

    Returns:
        slot → character, and line → mark, of all that is given.

    Raises:
        MisfitError: the text does not fit.

    >>> from nanopoet.writing.shapes import plain_shape
    >>> place_text("白日，", plain_shape([2, 2]))
    ({0: '白', 1: '日'}, {0: '，'})
    >>> place_text("？日水", plain_shape([2, 2]), blanks="？")
    ({1: '日', 2: '水'}, {})
    """
    characters: dict[int, str] = {}
    marks: dict[int, str] = {}
    line = place = slot = 0
    for character in text:
        if character in LINE_ENDS and character not in blanks:
            if place == 0 and character in NEW_LINES:
                continue
            if place == 0:
                raise MisfitError(
                    f"the mark {character} stands at the beginning of line {line + 1}",
                    f"第 {line + 1} 句以标点“{character}”开头",
                )
            if place < shape.lengths[line]:
                raise MisfitError(
                    f"line {line + 1} has {place} characters, not {shape.lengths[line]}",
                    f"第 {line + 1} 句有 {place} 个字，应为 {shape.lengths[line]} 个",
                )
            marks[line] = character
            line, place = line + 1, 0
            continue
        if line < len(shape.lengths) and place == shape.lengths[line]:
            line, place = line + 1, 0
        if line == len(shape.lengths):
            raise MisfitError(
                f"it goes on after line {line}, the last", f"第 {line} 句是最后一句，后面还有字"
            )
        if character not in blanks:
            characters[slot] = character
        place, slot = place + 1, slot + 1
    return characters, marks
