"""The interface of a rule on the characters of a poem, and the tones of regular verse.

A rule is a finite automaton over the characters of a poem. It is told the slot of each, so that its
states need not count. It is built with the *domain* of each slot: the mask of characters that
everything else leaves there. So it knows early what no later character can repair.
"""

from collections.abc import Hashable, Sequence
from typing import Protocol

from torch import Tensor

from nanopoet.prosody.rhyme import LEVEL, OBLIQUE
from nanopoet.writing.refused import BilingualError
from nanopoet.writing.shapes import Shape
from nanopoet.writing.vocabulary import Vocabulary, ids_of

JUDGED = (1, 3, 5)
"""Places whose tones alternate."""
SPECIAL = (LEVEL, LEVEL, OBLIQUE, LEVEL, OBLIQUE)
"""End of a line that tradition allows instead of 平平平仄仄."""


class ImpossibleError(BilingualError):
    """A rule that no poem keeps: which rule, and why, as a sentence without its end.

    Attributes:
        line: number of the line that breaks the rule; −1 if a given text does not fit at all. Of
            several reasons, the one of the latest line tells most.
    """

    def __init__(self, english: str, chinese: str, line: int = 0) -> None:
        super().__init__(english, chinese)
        self.line = line


class Rule(Protocol):
    """An automaton over the characters of a poem."""

    def start(self) -> Hashable:
        """Return the state before the first character."""

    def allowed(self, state: Hashable, slot: int) -> Tensor:
        """Return the mask (V,) of characters after which the rule can still be kept."""

    def advance(self, state: Hashable, slot: int, token: int) -> Hashable:
        """Return the state after an allowed character."""

    def log_potential(self, state: Hashable, slot: int) -> float:
        """Return a guess at the log probability that the model keeps the rule from a slot on."""

    def hints(self, state: Hashable, slot: int) -> dict[int, float]:
        """Return characters that are worth trying, and how often; the sampler corrects for it."""


class Tones:
    """Keeps the tones of regular verse, as `nanopoet.prosody.rules.is_regulated` judges them.

    The tone of the 2nd character of the poem decides the tone at each judged place. A line may end
    in 平平仄平仄 instead, and then its last judged place is free of the rule. The state of a line
    is which of these two ways are still open.

    Args:
        vocabulary: the tones of the characters.
        shape: the lines, of 5 or 7 characters.
        domains: masks of the characters that each slot may have.
        first: tone of the 2nd character of the poem.

    Attributes:
        domains: the domains, without characters that break the tones.

    Raises:
        ImpossibleError: the domains leave no way for some line.
    """

    def __init__(
        self, vocabulary: Vocabulary, shape: Shape, domains: Sequence[Tensor], first: str
    ) -> None:
        self._slots, self._readings = shape.slots, vocabulary.readings
        self._needs: list[tuple[str | None, ...]] = []  # of each slot, for each way
        self._open: list[frozenset[int]] = []  # ways that the later characters of the line leave
        for line, length in enumerate(shape.lengths):
            needs = list(zip(*_ways(line, length, first), strict=True))
            self._needs += needs
            ways, later = frozenset(range(len(needs[0]))), []
            for place in reversed(range(length)):
                domain = domains[len(self._open) + place]
                ways = frozenset(
                    way for way in ways if _any(domain, needs[place][way], vocabulary.tones)
                )
                later.append(ways)
            if not ways:
                start = len(self._open)
                wrong = next(
                    place
                    for place in range(length)
                    if not _any(domains[start + place], needs[place][0], vocabulary.tones)
                )
                raise _breaks(vocabulary, line, needs[wrong][0], domains[start + wrong])
            self._open += reversed(later)
        self._masks: list[dict[int, Tensor]] = [
            {way: _mask(domain, needs[way], vocabulary.tones) for way in range(len(needs))}
            for domain, needs in zip(domains, self._needs, strict=True)
        ]
        self.domains = [
            _union([masks[way] for way in self._open[slot - place]])
            for slot, (masks, (_, place)) in enumerate(zip(self._masks, self._slots, strict=True))
        ]

    def start(self) -> frozenset[int]:
        return self._open[0]

    def allowed(self, state: Hashable, slot: int) -> Tensor:
        assert isinstance(state, frozenset)
        return _union([self._masks[slot][way] for way in sorted(state)])

    def advance(self, state: Hashable, slot: int, token: int) -> frozenset[int]:
        assert isinstance(state, frozenset)
        following = slot + 1
        if following == len(self._slots):
            return frozenset()
        if self._slots[following][1] == 0:
            return self._open[following]
        tones = {reading.tone for reading in self._readings[token]}
        kept = (way for way in state if (need := self._needs[slot][way]) is None or need in tones)
        return frozenset(kept) & self._open[following]

    def log_potential(self, state: Hashable, slot: int) -> float:
        del state, slot
        return 0.0

    def hints(self, state: Hashable, slot: int) -> dict[int, float]:
        del state, slot
        return {}


def _ways(line: int, length: int, first: str) -> list[list[str | None]]:
    """Return the tone that each place of a line needs, for each way to keep the rule.

    Args:
        line: number of the line.
        length: its number of characters.
        first: tone of the 2nd character of the poem.
    """
    judged = [place for place in JUDGED if place < length]
    turns = [((line + 1) // 2 + i) % 2 for i in range(len(judged))]
    needs = {
        place: first if turn == 0 else _other(first)
        for place, turn in zip(judged, turns, strict=True)
    }
    ways: list[list[str | None]] = [[needs.get(place) for place in range(length)]]
    special = dict(zip(range(length - len(SPECIAL), length), SPECIAL, strict=True))
    if len(judged) > 1 and all(
        special.get(place, needs[place]) == needs[place] for place in judged[:-1]
    ):
        needs.pop(judged[-1])
        ways.append([special.get(place, needs.get(place)) for place in range(length)])
    return ways


def _breaks(vocabulary: Vocabulary, line: int, need: str | None, domain: Tensor) -> ImpossibleError:
    """Return the error for a line in which the characters of a domain have not the tone needed."""
    english = f"line {line + 1} breaks the tones of regular verse"
    chinese = f"第 {line + 1} 句平仄不合律"
    given = ids_of(domain)
    if len(given) == 1:
        character = vocabulary.tokenizer.decode(given)
        if vocabulary.readings[given[0]]:
            english += f": {character} is not {need}"
            chinese += f"：“{character}”应为{need}声"
        else:
            english += f": the tone of {character} is not known"
            chinese += f"：“{character}”的平仄不详"
    return ImpossibleError(english, chinese, line)


def _other(tone: str) -> str:
    return OBLIQUE if tone == LEVEL else LEVEL


def _mask(domain: Tensor, need: str | None, tones: dict[str, Tensor]) -> Tensor:
    return domain if need is None else domain & tones[need]


def _any(domain: Tensor, need: str | None, tones: dict[str, Tensor]) -> bool:
    return bool(_mask(domain, need, tones).any())


def _union(masks: Sequence[Tensor]) -> Tensor:
    union = masks[0]
    for mask in masks[1:]:
        union = union | mask
    return union
