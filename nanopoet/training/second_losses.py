"""Second losses of the trainings: the kind of the next token, its rhyme, the title, repeats."""

from collections.abc import Sequence

import torch

from nanopoet.common.text import LINE_ENDS, PAUSES, SENTENCE_ENDS, SILENT
from nanopoet.ops.second_loss import ClassLoss, ContextLoss, ListLoss
from nanopoet.prosody.rhyme import groups
from nanopoet.tokens.tokenizer import (
    BEGIN_ID,
    CONTENT,
    CONTENT_END,
    CONTENT_END_ID,
    SPECIAL_TOKENS,
    TITLE,
    TITLE_END,
    CharTokenizer,
)


def shape_loss(tokenizer: CharTokenizer, weight: float) -> ListLoss:
    """Return the loss that asks whether a line ends, with which mark, or the poem."""
    return ListLoss([*_known(tokenizer, LINE_ENDS), CONTENT_END_ID], weight)


def rhyme_loss(tokenizer: CharTokenizer, weight: float) -> ClassLoss:
    """Return the loss that asks for the rhyme group of a character before the end of a sentence.

    Even lines end there. A character of several groups is right for each of them. Tokens
    without a group are right for one another.
    """
    own = [frozenset[str]()] * len(SPECIAL_TOKENS) + [groups(c) for c in tokenizer.characters]
    kinds = sorted(set(own), key=sorted)
    number = {kind: i for i, kind in enumerate(kinds)}
    classes = torch.tensor([number[kind] for kind in own])
    alike = torch.tensor([[bool(one & other) or one == other for other in kinds] for one in kinds])
    right = alike[:, classes].contiguous()
    return ClassLoss(classes, right, weight, before=_known(tokenizer, SENTENCE_ENDS))


def title_loss(tokenizer: CharTokenizer, weight: float) -> ContextLoss:
    """Return the loss that asks whether a character of the title comes next."""
    return _context_loss(tokenizer, TITLE, TITLE_END, weight)


def repeat_loss(tokenizer: CharTokenizer, weight: float) -> ContextLoss:
    """Return the loss that asks whether a character comes next that the poem has already."""
    return _context_loss(tokenizer, CONTENT, CONTENT_END, weight)


def rhyme_distinct_loss(
    tokenizer: CharTokenizer, weight: float, begin: str = CONTENT
) -> ContextLoss:
    """Return the loss that asks whether a sentence ends with a character that ended a line before.

    Args:
        tokenizer: has the vocabulary.
        weight: of the loss.
        begin: the special token at which a poem begins.
    """
    sentence_ends, line_ends = _known(tokenizer, SENTENCE_ENDS), _known(tokenizer, LINE_ENDS)
    return _context_loss(tokenizer, begin, CONTENT_END, weight, sentence_ends, line_ends)


def _context_loss(
    tokenizer: CharTokenizer,
    begin: str,
    end: str,
    weight: float,
    before: Sequence[int] | None = None,
    seen_before: Sequence[int] | None = None,
) -> ContextLoss:
    """Return the loss that asks for a character of a piece; marks are no characters."""
    counted = torch.ones(tokenizer.vocab_size, dtype=torch.bool)
    counted[: len(SPECIAL_TOKENS)] = False
    counted[_known(tokenizer, LINE_ENDS + PAUSES + SILENT)] = False
    first, last = SPECIAL_TOKENS.index(begin), SPECIAL_TOKENS.index(end)
    return ContextLoss(first, last, BEGIN_ID, counted, weight, before, seen_before)


def _known(tokenizer: CharTokenizer, marks: str) -> Sequence[int]:
    """Return the ids of the marks that the vocabulary has."""
    return tokenizer.encode("".join(mark for mark in marks if not tokenizer.unknown(mark)))
