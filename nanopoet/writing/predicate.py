"""Predicates on partial poems: which tokens may come next, so that the rest can still satisfy them.

`Lines` is the predicate of one shape. `Either` joins several: a request for a tune allows all of
its shapes, and regular verse begins in one of two tones.
"""

from collections.abc import Hashable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from nanopoet.writing.rules import Rule
from nanopoet.writing.shapes import Shape

_MOST_MASKS = 2048
"""Masks that a predicate keeps, 12 kB each for the default vocabulary."""


class Predicate(Protocol):
    """An automaton over the tokens of a poem and the token that ends it."""

    def start(self) -> Hashable:
        """Return the state before the first token."""

    def allowed(self, state: Hashable) -> Tensor:
        """Return the mask (V,) of tokens after which the predicate can still be satisfied."""

    def advance(self, state: Hashable, token: int) -> Hashable | None:
        """Return the state after a token; None if it is not allowed."""

    def ended(self, state: Hashable) -> bool:
        """Tell whether the poem has ended."""

    def log_potential(self, state: Hashable) -> float:
        """Return a guess at the log probability that the model satisfies what is still due."""

    def hints(self, state: Hashable) -> dict[int, float]:
        """Return tokens that are worth trying, and how often."""


class Lines:
    """Lines of one shape whose characters keep some rules.

    A state is the number of tokens so far and the states of the rules.

    Args:
        shape: the lines.
        domains: masks (V,) of the characters that each slot may have.
        marks: masks (V,) of the marks that may end each line.
        rules: they hold at once.
        end_id: the token that ends a poem.
    """

    def __init__(
        self,
        shape: Shape,
        domains: Sequence[Tensor],
        marks: Sequence[Tensor],
        rules: Sequence[Rule],
        end_id: int,
    ) -> None:
        self._rules, self._end_id = rules, end_id
        self._masks: list[Tensor] = []
        self._slots: list[int | None] = []  # of each token; None of a mark
        for slot, (line, place) in enumerate(shape.slots):
            self._masks.append(domains[slot])
            self._slots.append(slot)
            if place + 1 == shape.lengths[line]:
                self._masks.append(marks[line])
                self._slots.append(None)
        end = torch.zeros_like(marks[0])
        end[end_id] = True
        self._masks += [end, torch.zeros_like(end)]
        self._slots += [None, None]
        self._passed = [
            sum(slot is not None for slot in self._slots[:count])
            for count in range(len(self._slots))
        ]  # characters before each token
        self._known: dict[Hashable, Tensor] = {}

    def start(self) -> tuple[Hashable, ...]:
        return (0, *(rule.start() for rule in self._rules))

    def allowed(self, state: Hashable) -> Tensor:
        if state not in self._known:
            if len(self._known) >= _MOST_MASKS:
                self._known.clear()
            self._known[state] = self._mask(state)
        return self._known[state]

    def _mask(self, state: Hashable) -> Tensor:
        assert isinstance(state, tuple)
        count, *states = state
        mask, slot = self._masks[count], self._slots[count]
        if slot is not None:
            for rule, each in zip(self._rules, states, strict=True):
                mask = mask & rule.allowed(each, slot)
        return mask

    def advance(self, state: Hashable, token: int) -> tuple[Hashable, ...] | None:
        assert isinstance(state, tuple)
        if not self.allowed(state)[token]:
            return None
        count, *states = state
        slot = self._slots[count]
        if slot is None:
            return (count + 1, *states)
        after = (
            rule.advance(each, slot, token) for rule, each in zip(self._rules, states, strict=True)
        )
        return (count + 1, *after)

    def ended(self, state: Hashable) -> bool:
        assert isinstance(state, tuple)
        return bool(state[0] == len(self._masks) - 1)

    def log_potential(self, state: Hashable) -> float:
        assert isinstance(state, tuple)
        count, *states = state
        slot = self._passed[count]
        return sum(
            rule.log_potential(each, slot) for rule, each in zip(self._rules, states, strict=True)
        )

    def hints(self, state: Hashable) -> dict[int, float]:
        assert isinstance(state, tuple)
        count, *states = state
        slot = self._slots[count]
        found: dict[int, float] = {}
        if slot is not None:
            for rule, each in zip(self._rules, states, strict=True):
                found |= rule.hints(each, slot)
        return found


class Either:
    """Poems that satisfy at least one of some predicates.

    A state holds the state of each, None once it is out of the question.
    """

    def __init__(self, predicates: Sequence[Predicate]) -> None:
        self._predicates = predicates
        self._known: dict[Hashable, Tensor] = {}

    def start(self) -> tuple[Hashable, ...]:
        return tuple(predicate.start() for predicate in self._predicates)

    def allowed(self, state: Hashable) -> Tensor:
        assert isinstance(state, tuple)
        if state not in self._known:
            if len(self._known) >= _MOST_MASKS:
                self._known.clear()
            masks = [predicate.allowed(each) for predicate, each in self._alive(state)]
            self._known[state] = masks[0] if len(masks) == 1 else torch.stack(masks).any(dim=0)
        return self._known[state]

    def advance(self, state: Hashable, token: int) -> tuple[Hashable, ...] | None:
        assert isinstance(state, tuple)
        after = tuple(
            None if each is None else predicate.advance(each, token)
            for predicate, each in zip(self._predicates, state, strict=True)
        )
        return None if all(each is None for each in after) else after

    def ended(self, state: Hashable) -> bool:
        assert isinstance(state, tuple)
        return any(predicate.ended(each) for predicate, each in self._alive(state))

    def log_potential(self, state: Hashable) -> float:
        assert isinstance(state, tuple)
        return max(predicate.log_potential(each) for predicate, each in self._alive(state))

    def hints(self, state: Hashable) -> dict[int, float]:
        assert isinstance(state, tuple)
        found: dict[int, float] = {}
        for predicate, each in self._alive(state):
            found |= predicate.hints(each)
        return found

    def _alive(self, state: tuple[Hashable, ...]) -> list[tuple[Predicate, Hashable]]:
        pairs = zip(self._predicates, state, strict=True)
        return [(predicate, each) for predicate, each in pairs if each is not None]


def forced(predicate: Predicate) -> tuple[Hashable, list[int]]:
    """Return the tokens with which every poem begins, and the state after them."""
    given: list[int] = []
    state = predicate.start()
    while int((mask := predicate.allowed(state)).sum()) == 1:
        token = int(mask.to(torch.uint8).argmax())
        after = predicate.advance(state, token)
        if after is None or predicate.ended(after):
            break
        state, given = after, [*given, token]
    return state, given
