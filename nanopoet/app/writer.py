"""One poem at a time, character by character; and poems in a wanted form."""

from collections.abc import Iterator

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.generate import stream
from nanopoet.models.sampling import Sampling
from nanopoet.tokens.tokenizer import BEGIN_ID, SPECIAL_TOKENS, UNKNOWN, CharTokenizer


class Writer:
    """A model that continues prompts.

    Args:
        model: predicts the next character.
        tokenizer: its vocabulary.
    """

    def __init__(self, model: LanguageModel, tokenizer: CharTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def stream(self, prompt: str, sampling: Sampling, generator: torch.Generator) -> Iterator[str]:
        """Yield the characters of one poem that follow the prompt, as they are sampled.

        Args:
            prompt: how the poem begins; may be empty.
            sampling: how to sample; `seed` and `count` are the caller's business.
            generator: source of randomness.
        """
        ids = stream(
            self.model,
            torch.tensor([[BEGIN_ID, *self.tokenizer.encode(prompt)]]),
            sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k or None,
            top_p=sampling.top_p,
            generator=generator,
            stop_id=BEGIN_ID,
        )
        for [[following]] in map(torch.Tensor.tolist, ids):
            if following != BEGIN_ID:
                yield self.tokenizer.decode([following])

    def unknown(self, prompt: str) -> str:
        """The characters of a prompt that the vocabulary lacks, each once."""
        unknown_id = SPECIAL_TOKENS.index(UNKNOWN)
        ids = self.tokenizer.encode(prompt)
        missing = [c for c, id_ in zip(prompt, ids, strict=True) if id_ == unknown_id]
        return "".join(dict.fromkeys(missing))
