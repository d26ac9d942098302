"""Names in a request → names of the corpus: authors, forms, tunes and rhyme groups.

Names are compared in simplified characters, so that both spellings are understood.
"""

import re
from collections.abc import Iterable, Mapping

from rapidfuzz import fuzz, process

from nanopoet.common.errors import NanopoetError
from nanopoet.prosody.forms import FORMS
from nanopoet.prosody.script import converter
from nanopoet.writing.catalogue import Catalogue

_NEAREST = 3
"""Names that a refusal proposes."""
_GROUP = re.compile("(?:[上下]平聲|[上去入]聲)(?P<numbered>[一二三四五六七八九十]+(?P<name>.))")


def simplified(text: str) -> str:
    """Convert a text to simplified characters, character by character."""
    converted: str = converter("t2s").convert(text)
    return converted


def find_author(name: str, catalogue: Catalogue) -> str:
    """Return an author as the corpus spells the name.

    Raises:
        NanopoetError: the corpus lacks the author; it names the nearest.
    """
    if name in catalogue.authors:
        return name
    spelled = _by_key(catalogue.authors)
    if found := spelled.get(simplified(name)):
        return found
    raise NanopoetError(f"no training poem is by {name}: {_nearest(name, spelled)}")


def find_form(name: str) -> str | None:
    """Return the short name of a regular form; None if it is none.

    >>> find_form("七言絕句"), find_form("五律"), find_form("浣溪沙")
    ('七绝', '五律', None)
    """
    key = simplified(name)
    return next((short for short, form in FORMS.items() if key in (short, form.style)), None)


def find_tune(name: str, catalogue: Catalogue | None) -> str:
    """Return a tune as the corpus spells it.

    Raises:
        NanopoetError: the corpus lacks the tune, or has too few poems to learn its lines.
    """
    regular = "、".join(FORMS)
    if catalogue is None:
        raise NanopoetError(f"form = {name} is unknown: a model without tunes knows {regular}")
    spelled = _by_key(catalogue.tunes)
    with_shapes = {key: tune for key, tune in spelled.items() if catalogue.tunes[tune].shapes}
    found = spelled.get(simplified(name))
    if found is None:
        near = _nearest(name, with_shapes)
        raise NanopoetError(f"form = {name} is neither {regular} nor a known tune: {near}")
    if not catalogue.tunes[found].shapes:
        raise NanopoetError(
            f"the tune {name} has no line lengths that three training poems share: "
            f"{_nearest(name, with_shapes)}"
        )
    return found


def find_group(name: str, groups: Iterable[str]) -> str:
    """Return a rhyme group by its full name, its name with number, or its last character.

    Raises:
        NanopoetError: there is no such group, or several.

    >>> find_group("东", ["上平聲一東", "上平聲二冬"])
    '上平聲一東'
    """
    key = simplified(name.strip())
    names = {group: _GROUP.fullmatch(group) for group in groups}
    ways = {
        group: {simplified(way) for way in (group, *match.groups())}
        for group, match in names.items()
        if match
    }
    found = [group for group, each in ways.items() if key in each]
    if len(found) == 1:
        return found[0]
    if found:
        raise NanopoetError(f"rhyme = {name} may be {' or '.join(found)}: give the number, too")
    near = _nearest(name, {simplified(way): group for group, each in ways.items() for way in each})
    raise NanopoetError(f"rhyme = {name} is no group of the 平水韻: {near}")


def _by_key(names: Iterable[str]) -> dict[str, str]:
    """Map simplified spellings to names; the first of two that are alike counts."""
    return {simplified(name): name for name in reversed(list(names))}


def _nearest(name: str, spelled: Mapping[str, str]) -> str:
    """Propose the names that are most alike."""
    found = process.extract(
        simplified(name), list(spelled), scorer=fuzz.WRatio, limit=_NEAREST, score_cutoff=1
    )
    if not found:
        return f"known are {'、'.join(list(dict.fromkeys(spelled.values()))[:_NEAREST])} and others"
    return f"nearest are {'、'.join(dict.fromkeys(spelled[key] for key, _, _ in found))}"
