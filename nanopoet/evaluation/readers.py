"""Readers: language models that say how likely poems are, without having written them.

A poem that keeps all rules and makes no sense is unlikely to a reader that knows other poems.
"""

from collections.abc import Callable, Sequence

import torch

from nanopoet.common.device import Precision
from nanopoet.corpus.poems import Poem
from nanopoet.evaluation.kneser_ney import KneserNey
from nanopoet.evaluation.scoring import score_tokens
from nanopoet.models.base import LanguageModel
from nanopoet.tokens.dataset import TokenArrays, target_stream
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer

Reader = Callable[[Sequence[str]], float | None]
"""Returns the nats per character of poems, the end of each included; None without a character."""


def counting_reader(train: TokenArrays, tokenizer: CharTokenizer, order: int) -> Reader:
    """Return a reader that counts n-grams of the training poems (`KneserNey`).

    Args:
        train: the training poems.
        tokenizer: gave them their ids.
        order: length of the longest n-gram.
    """
    model = KneserNey(target_stream(train)[1:], tokenizer.vocab_size, order)

    def read(texts: Sequence[str]) -> float | None:
        poems = _encode(texts, tokenizer, train.separated)
        if not (characters := int(poems.characters.sum())):
            return None
        return float(model.nats(target_stream(poems)[1:])[-1].sum() / characters)

    return read


def model_reader(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    *,
    context: int,
    batch_size: int,
    device: torch.device,
    precision: Precision,
) -> Reader:
    """Return a reader that is a pretrained model; `score_tokens` explains the arguments."""

    def read(texts: Sequence[str]) -> float | None:
        poems = _encode(texts, tokenizer, separate=True)
        if not (characters := int(poems.characters.sum())):
            return None
        scores = score_tokens(
            model,
            poems,
            context=context,
            batch_size=batch_size,
            device=device,
            precision=precision,
        )
        return float(scores.nats.sum() / characters)

    return read


def _encode(texts: Sequence[str], tokenizer: CharTokenizer, separate: bool) -> TokenArrays:
    poems = (Poem(content=text, title="", author="", style="") for text in texts)
    return encode_poems(poems, tokenizer, separate)
