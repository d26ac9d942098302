"""Second losses of the finetuning: the kind of the next token, and its rhyme group."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from nanopoet.common.text import LINE_ENDS, SENTENCE_ENDS
from nanopoet.ops.cross_entropy import ClassLoss
from nanopoet.prosody.rhyme import groups
from nanopoet.tokens.tokenizer import CONTENT_END_ID, SPECIAL_TOKENS, CharTokenizer


def shape_loss(tokenizer: CharTokenizer, weight: float) -> ClassLoss:
    """Return the loss that asks whether a character, which mark, or the end comes next.

    Each mark that ends a line is a class of its own, and so is the end. All other tokens are one
    class.
    """
    alone = [*_known(tokenizer, LINE_ENDS), CONTENT_END_ID]
    classes = torch.zeros(tokenizer.vocab_size, dtype=torch.long)
    classes[alone] = torch.arange(1, len(alone) + 1)
    return ClassLoss(classes, F.one_hot(classes).t().bool().contiguous(), weight)


def rhyme_loss(tokenizer: CharTokenizer, weight: float) -> ClassLoss:
    """Return the loss that asks for the rhyme group of a character before the end of a sentence.

    There the even lines end. A character of several groups is right for each of them. Tokens
    without a group are right for one another.
    """
    own = [frozenset[str]()] * len(SPECIAL_TOKENS) + [groups(c) for c in tokenizer.characters]
    kinds = sorted(set(own), key=sorted)
    number = {kind: i for i, kind in enumerate(kinds)}
    classes = torch.tensor([number[kind] for kind in own])
    alike = torch.tensor([[bool(one & other) or one == other for other in kinds] for one in kinds])
    right = alike[:, classes].contiguous()
    return ClassLoss(classes, right, weight, before=_known(tokenizer, SENTENCE_ENDS))


def _known(tokenizer: CharTokenizer, marks: str) -> Sequence[int]:
    """Return the ids of the marks that the vocabulary has."""
    return tokenizer.encode("".join(mark for mark in marks if not tokenizer.unknown(mark)))
