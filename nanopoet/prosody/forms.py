"""The four regular forms of classical verse, and the form of a text."""

from collections.abc import Sequence
from typing import NamedTuple

from nanopoet.common.text import LINE_ENDS, PAUSES, SILENT


class Form(NamedTuple):
    """A regular form.

    Attributes:
        style: its name in the corpus.
        lines: number of lines.
        length: number of characters of each line.
    """

    style: str
    lines: int
    length: int


FORMS = {
    "五绝": Form("五言绝句", lines=4, length=5),
    "七绝": Form("七言绝句", lines=4, length=7),
    "五律": Form("五言律诗", lines=8, length=5),
    "七律": Form("七言律诗", lines=8, length=7),
}
"""The regular forms by their short names."""

SHIJING = "诗经"
"""Style of the poems of the 诗经, and the author name that no other poem has."""

_STYLES = {(form.lines, form.length): form.style for form in FORMS.values()}
_MARKS = str.maketrans(
    dict.fromkeys(LINE_ENDS, "，") | dict.fromkeys(PAUSES, "、") | dict.fromkeys(SILENT)
)


def regular_style(content: str) -> str | None:
    """Name the regular form of a poem as the corpus does; None if it has no such form.

    >>> regular_style("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。")
    '五言绝句'
    >>> regular_style("三五七言，五。") is None
    True
    """
    return style_of_lines(split_lines(content))


def style_of_lines(lines: Sequence[str]) -> str | None:
    """Name the regular form of lines without marks; None if they have no such form."""
    length = len(lines[0]) if lines else 0
    style = _STYLES.get((len(lines), length))
    return style if style and all(len(line) == length for line in lines) else None


def verse_form(content: str, style: str) -> str:
    """Name the regular form of a poem; without one it is `诗经` by its style, or else `词等`.

    >>> verse_form("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。", style="")
    '五言绝句'
    >>> verse_form("關關雎鳩，在河之洲。", style="诗经")
    '诗经'
    >>> verse_form("明月幾時有。", style="水調歌頭")
    '词等'
    """
    return regular_style(content) or (SHIJING if style == SHIJING else "词等")


def split_lines(text: str) -> tuple[str, ...]:
    """Split a poem into its lines, without marks and without empty lines.

    `LINE_ENDS` end a line. `PAUSES` end one only if the poem is one line otherwise, or has a
    regular form in no other way: 、 and spaces also stand inside the lines of a 词.

    >>> split_lines("春眠不覺曉，處處聞啼鳥？」")
    ('春眠不覺曉', '處處聞啼鳥')
    >>> split_lines("念去去、千里煙波，暮靄沉沉楚天闊。")
    ('念去去千里煙波', '暮靄沉沉楚天闊')
    """
    marked = text.translate(_MARKS)
    lines = _filled(marked.replace("、", ""))
    if "、" in marked and style_of_lines(lines) is None:
        finer = _filled(marked.replace("、", "，"))
        if len(lines) == 1 or style_of_lines(finer):
            return finer
    return lines


def _filled(marked: str) -> tuple[str, ...]:
    return tuple(line for line in marked.split("，") if line)


def can_become(text: str, form: str) -> bool:
    """Tell whether a text can be the beginning of a poem in a form, given by its short name.

    Only the last line may be shorter than the form demands, and only if no mark ends it.

    >>> can_become("白日依山盡，黃河", "五绝"), can_become("白日依山盡黃河", "五绝")
    (True, False)
    """
    marked = text.translate(_MARKS)
    # Whether pauses end its lines is known only at the end of the poem.
    return any(_begins(marked.replace("、", pause), form) for pause in ("", "，"))


def _begins(marked: str, form: str) -> bool:
    """Tell whether lines that end at ， can begin a poem in a form."""
    _, count, length = FORMS[form]
    lines = _filled(marked)
    finished = lines if marked.endswith("，") else lines[:-1]
    return (
        len(lines) <= count
        and all(len(line) == length for line in finished)
        and all(len(line) <= length for line in lines)
    )


def style_of(form: str) -> str:
    """Return the name in the corpus of a form, given by its short name.

    >>> style_of("七律")
    '七言律诗'
    """
    return FORMS[form].style
