"""The regular forms of classical verse: their names, lines and lengths."""

STYLES = {(4, 5): "五言绝句", (4, 7): "七言绝句", (8, 5): "五言律诗", (8, 7): "七言律诗"}
"""(number of lines, characters in each) → regular form."""

SHIJING = "诗经"
"""Style of the poems of the 诗经, and the author name that no other poem has."""


def regular_style(content: str) -> str | None:
    """Name the regular form of a poem: 4 or 8 lines, all of 5 or all of 7 characters.

    >>> regular_style("白日依山盡，黃河入海流。欲窮千里目，更上一層樓。")
    '五言绝句'
    >>> regular_style("三五七言，五。") is None
    True
    """
    lines = split_lines(content)
    length = len(lines[0]) if lines else 0
    style = STYLES.get((len(lines), length))
    return style if style and all(len(line) == length for line in lines) else None


def verse_form(content: str, style: str) -> str:
    """Name the regular form of a poem, else `诗经`, else `词等` for ci and everything else.

    >>> verse_form("關關雎鳩，在河之洲。", style="诗经")
    '诗经'
    """
    return regular_style(content) or (SHIJING if style == SHIJING else "词等")


def split_lines(text: str) -> tuple[str, ...]:
    """The lines of a poem, without the marks that end them.

    >>> split_lines("春眠不覺曉，處處聞啼鳥。")
    ('春眠不覺曉', '處處聞啼鳥')
    """
    return tuple(line for line in text.replace("。", "，").split("，") if line)


FORMS = {
    "五绝": (4, 5),
    "七绝": (4, 7),
    "五律": (8, 5),
    "七律": (8, 7),
}
"""Short name of a regular form → number of lines, characters in each."""


def can_become(text: str, form: str) -> bool:
    """Whether a poem in one of `FORMS` can begin like this.

    >>> can_become("白日依山盡，黃河", "五绝"), can_become("白日依山盡黃河", "五绝")
    (True, False)
    """
    count, length = FORMS[form]
    lines = split_lines(text)
    whole = lines if text.endswith(("，", "。")) else lines[:-1]
    return (
        len(lines) <= count
        and all(len(line) == length for line in whole)
        and all(len(line) <= length for line in lines)
    )


def style_of(form: str) -> str:
    """Name of one of `FORMS` in the corpus.

    >>> style_of("七律")
    '七言律诗'
    """
    return STYLES[FORMS[form]]
