"""A judge of regular verse: for each place of a poem, the tokens that would break a rule there.

`nanopoet.prosody.rules` judges whole poems. Suppose a poem has the form that was asked for, and
each character that is judged has a reading. Then it breaks no rule of rhyme, distinctness and tone
here exactly if its `Verse` keeps `rhyme`, `rhyme_level`, `rhyme_distinct` and `regulated`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from nanopoet.common.text import LINE_ENDS, PAUSES, SILENT
from nanopoet.prosody.forms import FORMS, Form, can_become, regular_style
from nanopoet.prosody.rhyme import LEVEL, OBLIQUE, groups, tones
from nanopoet.prosody.rules import is_special
from nanopoet.tokens.tokenizer import CONTENT_END_ID, SPECIAL_TOKENS, UNKNOWN_ID, CharTokenizer
from nanopoet.writing.vocabulary import vocabulary_of

Rule = Literal["form", "rhyme", "rhyme_level", "rhyme_distinct", "tone", "repeat", "unknown"]

_NAMES = {form.style: name for name, form in FORMS.items()}
_CHARACTER, _KINDS = "字", {"，": LINE_ENDS, "、": PAUSES, "「": SILENT}
"""One of each kind of token that a poem has: a character, and the marks by what they do."""
_KIND_OF = {mark: kind for kind, marks in _KINDS.items() for mark in marks}
_LEVEL_CHARACTER = "平"
_END, _NONE = "end", "none"
"""The token that ends a poem, and those that no poem has."""


class Breach(NamedTuple):
    """A rule at a place of a poem.

    Attributes:
        rule: its name; `unknown` where a character needs a reading to be judged.
        place: index in the content.
        tokens: mask (V,) of the tokens that would break the rule at this place, with the rest of
            the poem as it is.
    """

    rule: Rule
    place: int
    tokens: Tensor


class Fault(NamedTuple):
    """A rule that a poem breaks, and where."""

    rule: Rule
    place: int


class Judge:
    """Applies the rules to poems over a vocabulary of V tokens.

    Args:
        tokenizer: the vocabulary.
    """

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer, self._vocabulary = tokenizer, vocabulary_of(tokenizer)
        self._kinds = [_NONE] * len(SPECIAL_TOKENS)
        self._kinds[UNKNOWN_ID], self._kinds[CONTENT_END_ID] = _CHARACTER, _END
        self._kinds += [_KIND_OF.get(text, _CHARACTER) for text in tokenizer.characters]
        self._readable = torch.tensor([bool(each) for each in self._vocabulary.readings])
        self._unreadable = self._of_kinds(frozenset(_CHARACTER)) & ~self._readable
        self._wrong_kinds = lru_cache(maxsize=1024)(self._of_kinds)
        self._wrong_tones = lru_cache(maxsize=4)(partial(self._in_none, self._vocabulary.tones))
        self._wrong_groups = lru_cache(maxsize=1024)(
            partial(self._in_none, self._vocabulary.groups)
        )

    def breaches(self, content: Sequence[int], style: str) -> Iterator[Breach]:
        """Yield the rules that can be broken at each place.

        The form breaks at the first token after which the text cannot become a poem of the form.
        Nothing behind it is judged. The end of a line that does not rhyme does not change the group
        of the rhymes, but counts as used.

        Args:
            content: ids of a poem, with CONTENT_END unless it was cut.
            style: the regular form that was asked for, by its name in the corpus. If it is empty,
                no rule applies.
        """
        text = self._tokenizer.decode([i for i in content if i != CONTENT_END_ID])
        if not style:
            return
        kinds = [self._kinds[token] for token in content]
        end = len(content)
        for place, kind in enumerate(kinds):
            wrong = _wrong_kinds("".join(kinds[:place]), style)
            yield Breach("form", place, self._wrong_kinds(wrong))
            if kind in wrong:
                end = place
                break
        lines, form = _lines(kinds[:end]), FORMS[_NAMES[style]]
        yield from self._repeats(text, lines)
        yield from self._rhymes(text, lines, form)
        yield from self._tones(text, lines, form)

    def faults(self, content: Sequence[int], style: str) -> list[Fault]:
        """List the rules that a poem breaks.

        >>> text = "白日依山盡，黃河入海流。欲窮千里目，更上一層城。"
        >>> tokenizer = CharTokenizer.from_characters(text)
        >>> Judge(tokenizer).faults([*tokenizer.encode(text), CONTENT_END_ID], "五言绝句")
        [Fault(rule='rhyme', place=22)]
        """
        return [
            Fault(rule, place)
            for rule, place, tokens in self.breaches(content, style)
            if tokens[content[place]]
        ]

    def _of_kinds(self, kinds: frozenset[str]) -> Tensor:
        """Return the mask of the tokens of some kinds."""
        return torch.tensor([kind in kinds for kind in self._kinds])

    def _in_none(self, masks: Mapping[str, Tensor], classes: frozenset[str]) -> Tensor:
        """Return the mask of the characters that have readings, but none in these classes."""
        return self._readable & ~torch.stack([masks[each] for each in classes]).any(dim=0)

    def _repeats(self, text: str, lines: Sequence[Sequence[int]]) -> Iterator[Breach]:
        """Yield at each character those that stand in the poem before."""
        seen = torch.zeros_like(self._readable)
        for place in (place for line in lines for place in line):
            yield Breach("repeat", place, seen.clone())
            seen[self._tokenizer.encode(text[place])] = True

    def _rhymes(self, text: str, lines: Sequence[Sequence[int]], form: Form) -> Iterator[Breach]:
        """Yield at the end of each even line what does not rhyme, or has been such an end.

        The end of the first line may rhyme, so it counts among them. The first end of an even line
        that has a reading decides on which tone the poem rhymes.
        """
        shared: frozenset[str] = frozenset()
        used = torch.zeros_like(self._readable)
        if lines and len(lines[0]) == form.length:
            used[self._tokenizer.encode(text[lines[0][-1]])] = True
        for line in lines[1::2]:
            if len(line) < form.length:
                continue
            place = line[-1]
            yield Breach("rhyme_distinct", place, used.clone())
            yield Breach("unknown", place, self._unreadable)
            if shared:
                yield Breach("rhyme", place, self._wrong_groups(shared))
            else:
                yield Breach("rhyme_level", place, self._wrong_tones(frozenset({LEVEL})))
            used[self._tokenizer.encode(text[place])] = True
            own = groups(text[place])
            shared = shared & own or shared or own

    def _tones(self, text: str, lines: Sequence[Sequence[int]], form: Form) -> Iterator[Breach]:
        """Yield at the even places of each line what fits neither of the two orders of tones.

        An order says which of the tones the first line begins with; `rules.is_regulated` explains
        it.
        """
        possible = [(LEVEL, OBLIQUE), (OBLIQUE, LEVEL)]
        for number, line in enumerate(lines):
            judged = line[1:6:2]
            for turn, place in enumerate(judged, start=(number + 1) // 2):
                special = place == judged[-1] and _can_be_special(text, line, form)
                wanted = {order[turn % 2] for order in possible} | ({LEVEL} if special else set())
                yield Breach("unknown", place, self._unreadable)
                yield Breach("tone", place, self._wrong_tones(frozenset(wanted)))
                known = tones(text[place])
                if not (special and LEVEL in known):
                    fitting = [order for order in possible if order[turn % 2] in known]
                    possible = fitting or possible


def _can_be_special(text: str, line: Sequence[int], form: Form) -> bool:
    """Tell whether a line is special if the tone of its last judged place is level."""
    characters = [text[place] for place in line]
    if len(characters) < form.length:
        return False
    return is_special("".join([*characters[:-2], _LEVEL_CHARACTER, characters[-1]]))


@lru_cache(maxsize=4096)
def _wrong_kinds(kinds: str, style: str) -> frozenset[str]:
    """Return the kinds of tokens after which a text cannot become a poem in a form.

    Args:
        kinds: of the tokens of the text.
        style: the form, by its name in the corpus.
    """
    following = (_CHARACTER, *_KINDS)
    wrong = {kind for kind in following if not can_become(kinds + kind, _NAMES[style])}
    return frozenset({_NONE} | wrong | ({_END} if regular_style(kinds) != style else set()))


def _lines(kinds: Sequence[str]) -> list[list[int]]:
    """Return the places of the characters of each line."""
    lines: list[list[int]] = [[]]
    for place, kind in enumerate(kinds):
        if kind == _CHARACTER:
            lines[-1].append(place)
        elif lines[-1] and kind in "，、":
            lines.append([])
    return [line for line in lines if line]
