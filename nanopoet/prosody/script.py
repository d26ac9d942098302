"""Traditional and simplified characters, told apart and converted by the tables of OpenCC."""

from functools import cache
from typing import Literal

from opencc import OpenCC

Script = Literal["traditional", "simplified"]
"""A way to write Chinese characters."""

_CONVERSION: dict[Script, str] = {"traditional": "s2t", "simplified": "t2s"}


@cache
def script_of(character: str) -> Script | None:
    """Tell the script of a character; None if both scripts have it.

    It is of one script if OpenCC converts it, and the standard set of the other script, GB 2312
    or Big5, lacks it.

    >>> script_of("風"), script_of("风"), script_of("山"), script_of("后")
    ('traditional', 'simplified', None, None)
    """
    if converter("t2s").convert(character) != character and not _is_in("gb2312", character):
        return "traditional"
    if converter("s2t").convert(character) != character and not _is_in("big5", character):
        return "simplified"
    return None


def scripts_of(text: str) -> frozenset[Script]:
    """Return the scripts of a text; both if it mixes them.

    >>> sorted(scripts_of("春風又绿江南岸"))
    ['simplified', 'traditional']
    """
    found = set(map(script_of, set(text)))
    return frozenset(script for script in found if script)


def to_script(text: str, script: Script) -> str:
    """Convert a text by OpenCC's phrases.

    The length stays. OpenCC assumes that a text is in the other script. To traditional, it would
    also convert characters of traditional texts that are right as they are, such as 里 in 故里. So
    only a text with simplified characters is converted to traditional. If it has traditional
    characters, too, only its simplified characters are converted.

    >>> to_script("白发三千丈", "traditional"), to_script("舊里黄花後", "traditional")
    ('白髮三千丈', '舊里黃花後')
    >>> to_script("舊里黄花後", "simplified")
    '旧里黄花后'
    """
    found = scripts_of(text)
    if script == "traditional" and "simplified" not in found:
        return text
    converted: str = converter(_CONVERSION[script]).convert(text)
    if script == "simplified" or "traditional" not in found:
        return converted
    return "".join(
        new if script_of(old) == "simplified" else old
        for old, new in zip(text, converted, strict=True)
    )


@cache
def converter(name: str) -> OpenCC:
    """Load a converter of OpenCC once, because it reads its dictionaries from files."""
    return OpenCC(name)


def _is_in(encoding: str, character: str) -> bool:
    return bool(character.encode(encoding, "ignore"))
