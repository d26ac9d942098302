"""The predicate of a request for one shape."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from nanopoet.common.text import NEW_LINES
from nanopoet.prosody.rhyme import LEVEL, OBLIQUE
from nanopoet.writing.keywords import Keywords
from nanopoet.writing.placing import BLANKS, MisfitError, blanks_of, place_text
from nanopoet.writing.predicate import Either, Lines, Predicate
from nanopoet.writing.request import chinese_name
from nanopoet.writing.rhymes import Rhymes
from nanopoet.writing.rules import ImpossibleError, Rule, Tones
from nanopoet.writing.shapes import NO_RHYME, Shape
from nanopoet.writing.vocabulary import Vocabulary


@dataclass(frozen=True)
class Wishes:
    """Wishes for the characters of a poem, in the script of the vocabulary.

    Attributes:
        opening: how it begins.
        draft: a poem with blanks.
        acrostic: a character for each line.
        rhyme_characters: a character for each line that rhymes.
        rhyme_from: characters from which all rhymes come.
        group: the rhyme group, by its full name.
        keywords: words that must occur.
        costs: for each keyword, a guess at −log p of each of its characters.
        rhymes: whether lines that rhyme do so, and no rhyme character comes twice.
        tones: whether the tones are regular.
    """

    opening: str = ""
    draft: str = ""
    acrostic: str = ""
    rhyme_characters: str = ""
    rhyme_from: str = ""
    group: str = ""
    keywords: tuple[str, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()
    rhymes: bool = False
    tones: bool = False


def build(vocabulary: Vocabulary, shape: Shape, wishes: Wishes, end_id: int) -> Predicate:
    """Return the predicate of poems of a shape that are as wished.

    Raises:
        ImpossibleError: there is no such poem.
    """
    fixed, marks = _fixed(shape, wishes)
    domains = [vocabulary.han] * sum(shape.lengths)
    _narrow_rhymes(vocabulary, shape, wishes, domains)
    for slot, character in fixed.items():
        given = vocabulary.mask(character)
        if not (domains[slot] & given).any():
            line = shape.slots[slot][0] + 1
            raise _not_in_rhyme(vocabulary, wishes, character, line)
        domains[slot] = given
    rhymes = None
    if wishes.rhymes and shape.rhyming:
        rhymes = Rhymes(vocabulary, shape, domains)
        domains = rhymes.domains
    ways: list[Predicate] = []
    problems: list[ImpossibleError] = []
    for first in (LEVEL, OBLIQUE) if wishes.tones else (None,):
        try:
            rules: list[Rule] = []
            own = domains
            if first:
                tones = Tones(vocabulary, shape, domains, first)
                rules, own = [tones], tones.domains
            if wishes.keywords:
                words = [vocabulary.tokenizer.encode(word) for word in wishes.keywords]
                rules.append(Keywords(vocabulary, shape, own, words, wishes.costs, rhymes))
            elif rhymes:
                rules.append(rhymes)
        except ImpossibleError as problem:
            problems.append(problem)
        else:
            ways.append(Lines(shape, own, _marks(vocabulary, shape, marks), rules, end_id))
    if not ways:
        raise max(problems, key=lambda problem: problem.line)
    return ways[0] if len(ways) == 1 else Either(ways)


def _fixed(shape: Shape, wishes: Wishes) -> tuple[dict[int, str], dict[int, str]]:
    """Return the given characters, slot → character, and marks, line → mark."""
    count, rhyming = len(shape.lengths), shape.rhyming
    if len(wishes.acrostic) not in (0, count) or (
        len(wishes.rhyme_characters) not in (0, len(rhyming))
    ):
        raise ImpossibleError(
            f"it has {count} lines, of which {len(rhyming)} rhyme",
            f"全诗 {count} 句，其中 {len(rhyming)} 句押韵",
        )
    opening, marks = _place("opening", wishes.opening, shape)
    draft, more = _place("draft", wishes.draft, shape, blanks_of(wishes.draft))
    for line, mark in more.items():
        if marks.setdefault(line, mark) != mark and not {mark, marks[line]} & {*NEW_LINES}:
            raise ImpossibleError(
                f"line {line + 1} ends in {marks[line]} by opening and {mark} by draft",
                f"第 {line + 1} 句句末，按{chinese_name('opening')}是“{marks[line]}”，"
                f"按{chinese_name('draft')}是“{mark}”",
            )
    firsts = {shape.slot(line, 0): c for line, c in enumerate(wishes.acrostic)}
    lasts = {
        shape.slot(line, -1): c for line, c in zip(rhyming, wishes.rhyme_characters, strict=False)
    }
    fixed: dict[int, str] = {}
    origin: dict[int, str] = {}
    for name, characters in (
        ("opening", opening),
        ("draft", draft),
        ("acrostic", firsts),
        ("rhyme_characters", lasts),
    ):
        for slot, character in characters.items():
            if character in BLANKS:
                continue
            if fixed.get(slot, character) != character:
                line, place = shape.slots[slot]
                raise ImpossibleError(
                    f"character {place + 1} of line {line + 1} is {fixed[slot]} by {origin[slot]} "
                    f"and {character} by {name}",
                    f"第 {line + 1} 句第 {place + 1} 字，按{chinese_name(origin[slot])}是"
                    f"“{fixed[slot]}”，按{chinese_name(name)}是“{character}”",
                )
            fixed[slot], origin[slot] = character, name
    return fixed, marks


def _place(
    name: str, text: str, shape: Shape, blanks: str = ""
) -> tuple[dict[int, str], dict[int, str]]:
    """Lay the text of a field into a shape, as `place_text`."""
    try:
        return place_text(text, shape, blanks)
    except MisfitError as misfit:
        raise ImpossibleError(
            f"the {name} does not fit: {misfit}",
            f"{chinese_name(name)}不合句式：{misfit.chinese}",
            line=-1,
        ) from None


def _not_in_rhyme(
    vocabulary: Vocabulary, wishes: Wishes, character: str, line: int
) -> ImpossibleError:
    """Return the error for a given end of a line that is not among the rhymes asked for."""
    [token] = vocabulary.tokenizer.encode(character)
    if wishes.group and wishes.group not in vocabulary.groups_of(token):
        own = "、".join(sorted(vocabulary.groups_of(token))) or "?"
        return ImpossibleError(
            f"{character} at the end of line {line} is in {own}, not in {wishes.group}",
            f"第 {line} 句句末的“{character}”属{own}，不属{wishes.group}",
        )
    return ImpossibleError(
        f"{character} at the end of line {line} is not in rhyme_from = {wishes.rhyme_from}",
        f"第 {line} 句句末的“{character}”不在{chinese_name('rhyme_from')}“{wishes.rhyme_from}”里",
    )


def _narrow_rhymes(
    vocabulary: Vocabulary, shape: Shape, wishes: Wishes, domains: list[Tensor]
) -> None:
    """Restrict the ends of lines to a rhyme group and to the characters allowed as rhymes.

    A tune may have several rhymes. The group is for the one of most lines.
    """
    if not shape.rhyming and (wishes.group or wishes.rhyme_from):
        raise ImpossibleError(
            "no lines of this shape are known to rhyme", "不知道这种句式哪些句子押韵"
        )
    letters = [letter.lower() for letter in shape.scheme if letter != NO_RHYME]
    main = max(letters, key=letters.count, default="")
    for line in shape.rhyming:
        slot = shape.slot(line, -1)
        if wishes.group and shape.scheme[line].lower() == main:
            domains[slot] = domains[slot] & vocabulary.groups[wishes.group]
        if wishes.rhyme_from:
            domains[slot] = domains[slot] & vocabulary.mask(wishes.rhyme_from)
        if not domains[slot].any():
            raise ImpossibleError(
                f"rhyme_from = {wishes.rhyme_from} has none of {wishes.group}",
                f"{chinese_name('rhyme_from')}“{wishes.rhyme_from}”里没有{wishes.group}的字",
            )


def _marks(vocabulary: Vocabulary, shape: Shape, given: dict[int, str]) -> Sequence[Tensor]:
    """Return the marks that may end each line."""
    last = vocabulary.sentence_ends if vocabulary.sentence_ends.any() else vocabulary.line_ends
    if not last.any():
        raise ImpossibleError(
            "the training poems have no marks that end a line", "训练诗作里没有断句的标点"
        )
    marks = [vocabulary.line_ends] * (len(shape.lengths) - 1) + [last]
    for line, allowed in enumerate(shape.marks):
        if (mask := vocabulary.mask(allowed)).any():
            marks[line] = mask
    for line, mark in given.items():
        if not vocabulary.tokenizer.unknown(mark):
            marks[line] = vocabulary.mask(mark)
    return marks
