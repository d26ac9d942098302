"""Words that must occur in a poem, each within a line."""

import math
from collections.abc import Hashable, Sequence, Set
from typing import NamedTuple

import torch
from torch import Tensor

from nanopoet.writing.refused import RefusedError
from nanopoet.writing.rhymes import Rhymes, RhymeState
from nanopoet.writing.rules import ImpossibleError
from nanopoet.writing.shapes import Shape
from nanopoet.writing.vocabulary import Vocabulary

CONTINUED = 0.8
"""Probability of proposing the next character of a word that has begun."""
MOST_STATES = 100_000
"""Size of the table at which words are refused, so that nobody waits long for one request."""
_OTHER = -1
"""Placeholder for all characters that are in no word."""


class KeywordState(NamedTuple):
    """The part of the words that stands in the poem so far.

    Attributes:
        begun: the longest end of the line so far that begins a word that is due.
        due: numbers of the words that do not occur yet.
        rhymes: the state of the rhymes; None without rhymes.
    """

    begun: tuple[int, ...]
    due: frozenset[int]
    rhymes: RhymeState | None


_Text = tuple[int, ...]
_Due = frozenset[int]
_Ends = tuple[frozenset[int], ...]
"""For each rhyme, the characters of words that may still end a line of it."""


class Keywords:
    """Rule that all words occur. A table says for each slot whether they still can.

    A word may end a line only if its last character rhymes. So this rule keeps the rhymes, too.

    Args:
        vocabulary: the characters.
        shape: the lines.
        domains: masks of the characters that each slot may have.
        words: the words as ids.
        costs: for each word, an estimate of −log p of each character. Only look-ahead uses it. A
            bad estimate places words too early or too late.
        rhymes: the rule of the rhymes, or None.

    Raises:
        ImpossibleError: the words do not fit.
        RefusedError: there are too many ways to place them. The methods raise it, too.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        shape: Shape,
        domains: Sequence[Tensor],
        words: Sequence[Sequence[int]],
        costs: Sequence[Sequence[float]],
        rhymes: Rhymes | None = None,
    ) -> None:
        self._vocabulary, self._rhymes = vocabulary, rhymes
        self._words = [tuple(word) for word in words]
        self._begins = [place == 0 for _, place in shape.slots]
        self._tokens = sorted({token for word in self._words for token in word})
        self._others = vocabulary.han.clone()
        self._others[self._tokens] = False
        self._choices = [
            frozenset(token for token in self._tokens if domain[token])
            | ({_OTHER} if (domain & self._others).any() else set())
            for domain in domains
        ]
        self._costs = costs
        self._room = [
            [place + len(word) <= shape.lengths[line] for line, place in shape.slots]
            for word in self._words
        ]
        self._feasible: dict[Hashable, bool] = {}
        self._known_moves: dict[tuple[_Text, _Due], dict[int, tuple[_Text, _Due]]] = {}
        self._listed = "、".join(map(vocabulary.tokenizer.decode, self._words))
        start = self.start()
        if not self._can_end(0, start.begun, start.due, self._ends(start)):
            raise ImpossibleError(
                f"the keywords {self._listed} do not fit into the lines beside all else",
                f"必含词语“{self._listed}”和其他要求放在一起，诗里容不下",
                line=len(shape.lengths),
            )

    def start(self) -> KeywordState:
        rhymes = self._rhymes.start() if self._rhymes else None
        return KeywordState((), frozenset(range(len(self._words))), rhymes)

    def allowed(self, state: Hashable, slot: int) -> Tensor:
        assert isinstance(state, KeywordState)
        rhyming = self._vocabulary.han
        if self._rhymes:
            rhyming = self._rhymes.allowed(state.rhymes, slot)
        if not state.due:
            return rhyming
        ends = self._ends(state)
        mask = torch.zeros_like(self._others)
        for token in self._choices[slot]:
            if self._can_end(slot + 1, *self._after(state.begun, state.due, slot, token), ends):
                if token == _OTHER:
                    mask |= self._others
                else:
                    mask[token] = True
        return mask & rhyming

    def advance(self, state: Hashable, slot: int, token: int) -> KeywordState:
        assert isinstance(state, KeywordState)
        rhymes = self._rhymes.advance(state.rhymes, slot, token) if self._rhymes else None
        return KeywordState(*self._after(state.begun, state.due, slot, token), rhymes)

    def log_potential(self, state: Hashable, slot: int) -> float:
        assert isinstance(state, KeywordState)
        guess = 0.0
        for number in state.due:
            begun = self._begun(state, number)
            guess -= sum(self._costs[number][begun:])
            # A word that is not begun may begin at each place that is left.
            guess += 0 if begun else math.log(max(1, self._places(number, slot)))
        return min(0.0, guess)

    def hints(self, state: Hashable, slot: int) -> dict[int, float]:
        """Try words so that they begin at each place about as often, and then go on."""
        assert isinstance(state, KeywordState)
        found: dict[int, float] = {}
        for number in state.due:
            word, begun = self._words[number], self._begun(state, number)
            if begun and not self._begins[slot]:
                found[word[begun]] = CONTINUED / len(state.due)
            elif places := self._places(number, slot):
                found[word[0]] = min(0.5, 1 / places) / len(state.due)
        return found

    def _begun(self, state: KeywordState, number: int) -> int:
        """Return how many characters of a word stand at the end of the line so far."""
        word = self._words[number]
        return len(state.begun) if word[: len(state.begun)] == state.begun else 0

    def _places(self, number: int, slot: int) -> int:
        """Return at how many slots from one on a word has room in its line."""
        return sum(self._room[number][slot:])

    def _after(self, begun: _Text, due: _Due, slot: int, token: int) -> tuple[_Text, _Due]:
        """Return what is begun and what is due after a character."""
        return self._moves(() if self._begins[slot] else begun, due).get(token, ((), due))

    def _moves(self, begun: _Text, due: _Due) -> dict[int, tuple[_Text, _Due]]:
        """Return the characters that begin a word or go on with one, and the state after each."""
        found = self._known_moves.get((begun, due))
        if found is None:
            tokens = {
                self._words[number][n]
                for number in due
                for n in range(min(len(begun) + 1, len(self._words[number])))
                if begun[len(begun) - n :] == self._words[number][:n]
            }
            moves = [(token, self._step((*begun, token), due)) for token in sorted(tokens)]
            # Words that end and words that go on come first: they are soon found to fit.
            moves.sort(key=lambda move: (len(move[1][1]), -len(move[1][0])))
            found = self._known_moves[begun, due] = dict(moves)
        return found

    def _step(self, text: _Text, due: _Due) -> tuple[_Text, _Due]:
        """Return the end of a text that begins a word, and the words that are due after it."""
        left = frozenset(n for n in due if text[-len(self._words[n]) :] != self._words[n])
        while text and not any(self._words[number][: len(text)] == text for number in left):
            text = text[1:]
        return text, left

    def _ends(self, state: KeywordState) -> _Ends:
        if self._rhymes is None or state.rhymes is None:
            return ()
        return self._rhymes.left(state.rhymes, self._tokens)

    def _can_end(self, slot: int, begun: _Text, due: _Due, ends: _Ends) -> bool:
        """Tell whether the slots from one on have room for the words that are due."""
        if not due:
            return True
        if slot == len(self._choices):
            return False
        begun = () if self._begins[slot] else begun
        key = slot, begun, due, ends
        known = self._feasible.get(key)
        if known is None:
            if len(self._feasible) >= MOST_STATES:
                raise RefusedError(
                    f"keywords = {self._listed} can be placed in too many ways: give fewer words "
                    f"or shorter lines",
                    f"必含词语“{self._listed}”可放的位置太多：请减少词语，或缩短诗句",
                )
            moves, allowed = self._moves(begun, due), self._may_be(slot, ends)
            following = [after for token, after in moves.items() if token in allowed]
            following += [((), due)] * (not allowed <= moves.keys())
            known = False
            for after in following:
                known = known or self._can_end(slot + 1, *after, ends)
            self._feasible[key] = known
        return known

    def _may_be(self, slot: int, ends: _Ends) -> Set[int]:
        """Return the characters of words that a slot may have, and `_OTHER` if it may have more."""
        rhyme = self._rhymes.rhyme_of(slot) if self._rhymes else None
        return (
            self._choices[slot] if rhyme is None else self._choices[slot] & (ends[rhyme] | {_OTHER})
        )
