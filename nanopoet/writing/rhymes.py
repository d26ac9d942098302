"""Rhyme: lines that rhyme share a group of the 平水韻, and no rhyme character comes twice."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nanopoet.writing.rules import ImpossibleError
from nanopoet.writing.shapes import NO_RHYME, Shape
from nanopoet.writing.vocabulary import Vocabulary, ids_of


class RhymeState(NamedTuple):
    """The choice that the rhymes so far leave.

    Attributes:
        groups: for each rhyme, the groups that all of its characters have.
        used: the rhyme characters so far, and the end of the first line.
    """

    groups: tuple[frozenset[str], ...]
    used: frozenset[int]


class Rhymes:
    """Keeps rhyme, as `Verse.rhyme` and `Verse.rhyme_distinct` judge it.

    A rhyme keeps a group only as long as it has enough characters for the lines to come. The first
    line may rhyme, too, where the shape does not say so (首句入韻). So its end counts as a rhyme
    character that must not come again.

    Args:
        vocabulary: the rhyme groups of the characters.
        shape: the lines and which of them rhyme.
        domains: masks of the characters that each slot may have.

    Attributes:
        domains: the domains, without characters that cannot rhyme or leave later lines no rhyme.

    Raises:
        ImpossibleError: the domains leave no group for some rhyme, or a character comes twice.
    """

    def __init__(self, vocabulary: Vocabulary, shape: Shape, domains: Sequence[Tensor]) -> None:
        self._vocabulary, self._scheme = vocabulary, shape.scheme
        labels = [letter.lower() for letter in shape.scheme]
        self._rhymes = [labels[line] for line in shape.rhyming]
        self._names = tuple(dict.fromkeys(self._rhymes))
        self._line_of = {shape.slot(line, -1): line for line in shape.rhyming}
        self._domain = {line: domains[slot] for slot, line in self._line_of.items()}
        self._labels = labels
        counts = {line: int(domain.sum()) for line, domain in self._domain.items()}
        self._fixed = {
            line: ids_of(self._domain[line])[0] for line, count in counts.items() if count == 1
        }
        self._first = shape.slot(0, -1) if shape.scheme[0] == NO_RHYME else None
        ends = [] if self._first is None else ids_of(domains[self._first])
        opened = frozenset(ends if len(ends) == 1 else [])
        self._check_given(opened)
        self._sizes = {
            line: {group: int((mask & domain).sum()) for group, mask in vocabulary.groups.items()}
            for line, domain in self._domain.items()
            if line not in self._fixed
        }
        firsts = [next(i for i in self._domain if labels[i] == name) for name in self._names]
        everything = frozenset(vocabulary.groups)
        viable = tuple(self._viable(everything, line, opened) for line in firsts)
        for name, groups in zip(self._names, viable, strict=True):
            if not groups:
                raise _without_rhyme([line for line in shape.rhyming if labels[line] == name])
        self._start = RhymeState(viable, opened)
        self._first_mask = self._leaving_rhymes(ends)
        if ends and not self._first_mask.any():
            raise _without_rhyme(shape.rhyming)
        self.domains = [
            domain & self.allowed(self._start, slot) for slot, domain in enumerate(domains)
        ]

    def start(self) -> RhymeState:
        return self._start

    def allowed(self, state: Hashable, slot: int) -> Tensor:
        assert isinstance(state, RhymeState)
        if slot == self._first:
            return self._first_mask
        line = self._line_of.get(slot)
        if line is None:
            return self._vocabulary.han
        reserved = self._reserved(line)
        mask = torch.zeros_like(self._vocabulary.han)
        groups = state.groups[self._names.index(self._labels[line])]
        for group in self._viable(groups, line, state.used):
            mask |= self._vocabulary.groups[group]
        mask &= self._domain[line]
        if not self._may_repeat(line):
            mask[[*state.used, *reserved]] = False
        return mask

    def advance(self, state: Hashable, slot: int, token: int) -> RhymeState:
        assert isinstance(state, RhymeState)
        if slot == self._first:
            return RhymeState(state.groups, frozenset({token}))
        line, rhyme = self._line_of.get(slot), self.rhyme_of(slot)
        if line is None or rhyme is None:
            return state
        groups = list(state.groups)
        groups[rhyme] &= self._vocabulary.groups_of(token)
        groups[rhyme] = self._viable(groups[rhyme], line, state.used)
        used = state.used if self._may_repeat(line) else state.used | {token}
        return RhymeState(tuple(groups), used)

    def log_potential(self, state: Hashable, slot: int) -> float:
        del state, slot
        return 0.0

    def hints(self, state: Hashable, slot: int) -> dict[int, float]:
        del state, slot
        return {}

    def rhyme_of(self, slot: int) -> int | None:
        """Return the number of the rhyme that a slot belongs to; None if it does not rhyme."""
        line = self._line_of.get(slot)
        return None if line is None else self._names.index(self._labels[line])

    def left(self, state: RhymeState, tokens: Sequence[int]) -> tuple[frozenset[int], ...]:
        """Return those of some characters that may still rhyme, for each rhyme."""
        gone: frozenset[int] = frozenset() if any(map(str.isupper, self._scheme)) else state.used
        return tuple(
            frozenset(t for t in tokens if t not in gone and groups & self._vocabulary.groups_of(t))
            for groups in state.groups
        )

    def _check_given(self, opened: frozenset[int]) -> None:
        """Refuse given rhyme characters that come twice or do not rhyme.

        Args:
            opened: the end of the first line, if it is given and the line need not rhyme.
        """
        seen = dict.fromkeys(opened, 0)
        decode = self._vocabulary.tokenizer.decode
        for line, token in self._fixed.items():
            if self._may_repeat(line):
                continue
            if token in seen:
                raise ImpossibleError(
                    f"lines {seen[token] + 1} and {line + 1} rhyme with the same character "
                    f"{decode([token])}",
                    f"第 {seen[token] + 1}、{line + 1} 句的韵脚同是“{decode([token])}”",
                )
            seen[token] = line
        for name in self._names:
            given = [self._fixed[i] for i in self._fixed if self._labels[i] == name]
            sets = [self._vocabulary.groups_of(token) for token in given]
            if unknown := [token for token, groups in zip(given, sets, strict=True) if not groups]:
                listed = "、".join(decode(unknown))
                raise ImpossibleError(
                    f"the rhyme group of {listed} is not known", f"“{listed}”的韵部不详"
                )
            if given and not frozenset.intersection(*sets):
                listed = "、".join(decode(given))
                raise ImpossibleError(f"{listed} share no rhyme group", f"“{listed}”不同韵")

    def _leaving_rhymes(self, ends: Sequence[int]) -> Tensor:
        """Return those ends of the first line after which later lines can still rhyme."""
        left = torch.zeros_like(self._vocabulary.han)
        left[[*ends]] = True
        left[[*self._reserved(-1)]] = False
        for name, groups in zip(self._names, self._start.groups, strict=True):
            line = next(i for i in self._domain if self._labels[i] == name)
            # Another character leaves the rhyme a group that it is not in.
            shared = left.clone()
            for group in groups:
                shared &= self._vocabulary.groups[group]
            for token in ids_of(shared):
                if not self._viable(groups, line, frozenset({token})):
                    left[token] = False
        return left

    def _may_repeat(self, line: int) -> bool:
        return self._scheme[line].isupper()

    def _reserved(self, line: int) -> frozenset[int]:
        """Return the characters that are given for lines after a line."""
        return frozenset(
            token
            for later, token in self._fixed.items()
            if later > line and not self._may_repeat(later)
        )

    def _viable(self, groups: frozenset[str], line: int, used: frozenset[int]) -> frozenset[str]:
        """Return those groups that have enough characters for the lines of a rhyme from one on."""
        lines = [i for i in self._domain if i >= line and self._labels[i] == self._labels[line]]
        given = [self._vocabulary.groups_of(self._fixed[i]) for i in lines if i in self._fixed]
        groups = groups.intersection(*given)
        free = [i for i in lines if i not in self._fixed]
        if not free:
            return groups
        # All free ends of a rhyme have the same domain.
        domain, sizes = self._domain[free[0]], self._sizes[free[0]]
        gone = [
            self._vocabulary.groups_of(token)
            for token in used | self._reserved(line - 1)
            if domain[token]
        ]
        distinct = sum(not self._may_repeat(i) for i in free)
        return frozenset(
            group
            for group in groups
            if sizes[group] - sum(group in each for each in gone) >= max(1, distinct)
        )


def _without_rhyme(lines: Sequence[int]) -> ImpossibleError:
    """Return the error for lines that cannot rhyme."""
    *others, last = [str(line + 1) for line in lines]
    listed = ", ".join(others) + " and " * bool(others) + last
    return ImpossibleError(
        f"no rhyme group has characters for the ends of lines {listed}",
        f"没有一个韵部的字够第 {'、'.join([*others, last])} 句押韵",
    )
