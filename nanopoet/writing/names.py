"""Names in a request → names of the corpus: authors, forms, tunes and rhyme groups.

Names are compared in simplified characters, so that both spellings are understood.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from rapidfuzz import fuzz, process

from nanopoet.prosody.forms import FORMS
from nanopoet.prosody.script import Script, converter, to_script
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.refused import RefusedError

_NEAREST = 3
"""Names that a refusal proposes."""
_GROUP = re.compile("(?:[上下]平聲|[上去入]聲)(?P<numbered>[一二三四五六七八九十]+(?P<name>.))")


def simplified(text: str) -> str:
    """Convert a text to simplified characters, character by character."""
    converted: str = converter("t2s").convert(text)
    return converted


def find_author(name: str, catalogue: Catalogue, script: Script | None = None) -> str:
    """Return an author as the training poems spell the name.

    The corpus spells some authors in both scripts, as 陸游 of poems and 陆游 of tunes.

    Args:
        name: in either script.
        catalogue: the authors.
        script: the spelling that is taken if there are several; by default that of most poems.

    Raises:
        RefusedError: no training poem is by the author; it names the nearest.
    """
    key, names = simplified(name), catalogue.authors
    pairs = zip(names, _simplified_each(names), strict=True)
    found = [author for author, own in pairs if own == key]
    if found:
        fitting = [author for author in found if script and to_script(author, script) == author]
        return [*fitting, *found][0]
    near = _nearest(name, _by_key(names))
    raise RefusedError(
        f"no training poem is by {name}: {near.english}",
        f"训练诗作里没有{name}的诗：{near.chinese}",
    )


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
        RefusedError: the corpus lacks the tune, or has too few poems to learn its lines.
    """
    regular = "、".join(FORMS)
    if catalogue is None:
        raise RefusedError(
            f"form = {name} is unknown: a model without tunes knows {regular}",
            f"没有“{name}”这种体裁：预训练模型不会填词，可选{regular}",
        )
    spelled = _by_key(catalogue.tunes)
    with_shapes = {key: tune for key, tune in spelled.items() if catalogue.tunes[tune].shapes}
    found = spelled.get(simplified(name))
    if found is None:
        near = _nearest(name, with_shapes | {form.style: form.style for form in FORMS.values()})
        raise RefusedError(
            f"form = {name} is neither {regular} nor a known tune: {near.english}",
            f"“{name}”既不是{regular}，也不是训练诗作里的词牌：{near.chinese}",
        )
    if not catalogue.tunes[found].shapes:
        near = _nearest(name, with_shapes)
        raise RefusedError(
            f"the tune {name} has no line lengths that three training poems share: {near.english}",
            f"词牌“{name}”没有三首句式相同的训练诗作：{near.chinese}",
        )
    return found


def find_group(name: str, groups: Iterable[str]) -> str:
    """Return a rhyme group by its full name, its name with number, or its last character.

    Raises:
        RefusedError: there is no such group, or several.

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
        raise RefusedError(
            f"rhyme = {name} may be {' or '.join(found)}: give the number, too",
            f"韵部“{name}”可能是{'或'.join(found)}：请连序号一起填",
        )
    near = _nearest(name, {simplified(way): group for group, each in ways.items() for way in each})
    raise RefusedError(
        f"rhyme = {name} is no group of the 平水韻: {near.english}",
        f"平水韵没有“{name}”这个韵部：{near.chinese}",
    )


def _simplified_each(names: Collection[str]) -> list[str]:
    """Convert names to simplified characters, all in one call of OpenCC, which is faster."""
    found = simplified("\n".join(names)).split("\n") if names else []
    return found if len(found) == len(names) else list(map(simplified, names))  # "\n" in a name


def _by_key(names: Collection[str]) -> dict[str, str]:
    """Map simplified spellings to names; the first of two that are alike counts."""
    spelled: dict[str, str] = {}
    for key, name in zip(_simplified_each(names), names, strict=True):
        spelled.setdefault(key, name)
    return spelled


class _Proposal(NamedTuple):
    """Names that would go, in the two languages of a refusal."""

    english: str
    chinese: str


def _nearest(name: str, spelled: Mapping[str, str]) -> _Proposal:
    """Propose the names that are most alike."""
    if not spelled:
        return _Proposal("there is no other to propose", "也没有别的可选")
    found = process.extract(
        simplified(name), list(spelled), scorer=fuzz.ratio, limit=_NEAREST, score_cutoff=1
    )
    if not found:
        some = "、".join(list(dict.fromkeys(spelled.values()))[:_NEAREST])
        return _Proposal(f"known are {some} and others", f"可选{some}等")
    names = "、".join(dict.fromkeys(spelled[key] for key, _, _ in found))
    return _Proposal(f"nearest are {names}", f"最接近的是{names}")
