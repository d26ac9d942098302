"""Sets of tokens by what verse asks of them: characters, marks, tones and rhyme groups.

A set is a mask, a bool tensor (V,), so that it can be applied to logits at once.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor

from nanopoet.common.text import LINE_ENDS, SENTENCE_ENDS
from nanopoet.prosody.rhyme import LEVEL, OBLIQUE, Reading, readings
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, CharTokenizer

_HAN = (("\u3400", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"))
"""Blocks of Chinese characters in Unicode."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of a tokenizer, sorted into sets.

    Attributes:
        tokenizer: text ↔ ids.
        han: mask of the Chinese characters.
        line_ends: mask of the marks that end a line.
        sentence_ends: mask of the marks that can end a poem.
        tones: tone class → mask of the characters with a reading in it.
        groups: rhyme group → mask of the characters with a reading in it.
        readings: readings of each id; empty for tokens that are no known character.
    """

    tokenizer: CharTokenizer
    han: Tensor
    line_ends: Tensor
    sentence_ends: Tensor
    tones: dict[str, Tensor]
    groups: dict[str, Tensor]
    readings: tuple[frozenset[Reading], ...]

    @classmethod
    def of(cls, tokenizer: CharTokenizer) -> Self:
        """Sort the tokens of a tokenizer; `vocabulary_of` keeps the result."""
        specials = len(SPECIAL_TOKENS)
        texts = [*"".ljust(specials, "\0"), *tokenizer.characters]
        han = [any(first <= text <= last for first, last in _HAN) for text in texts]
        known = tuple(
            readings(text) if is_han else frozenset()
            for text, is_han in zip(texts, han, strict=True)
        )
        names = sorted({reading.group for each in known for reading in each})
        groups = {name: torch.zeros(len(texts), dtype=torch.bool) for name in names}
        tones = {tone: torch.zeros(len(texts), dtype=torch.bool) for tone in (LEVEL, OBLIQUE)}
        for i, each in enumerate(known):
            for tone, group in each:
                tones[tone][i] = groups[group][i] = True
        return cls(
            tokenizer,
            torch.tensor(han),
            torch.tensor([text in LINE_ENDS for text in texts]),
            torch.tensor([text in SENTENCE_ENDS for text in texts]),
            tones,
            groups,
            known,
        )

    def mask(self, text: str) -> Tensor:
        """Return the mask of the characters of a text that the tokenizer knows."""
        mask = torch.zeros(len(self.han), dtype=torch.bool)
        mask[self.tokenizer.encode(text)] = True
        mask[: len(SPECIAL_TOKENS)] = False
        return mask

    def has_character(self, text: str) -> bool:
        """Tell whether a text is a Chinese character that the tokenizer knows."""
        return bool((self.mask(text) & self.han).any())

    def groups_of(self, token: int) -> frozenset[str]:
        """Return the rhyme groups of a token."""
        return frozenset(reading.group for reading in self.readings[token])


@lru_cache(maxsize=4)
def vocabulary_of(tokenizer: CharTokenizer) -> Vocabulary:
    """Sort the tokens of a tokenizer once."""
    return Vocabulary.of(tokenizer)


def ids_of(mask: Tensor) -> list[int]:
    """Return the ids in a mask."""
    ids: list[int] = mask.nonzero()[:, 0].tolist()
    return ids
