"""Writing of one poem at a time, character by character."""

from collections.abc import Iterator

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.generate import stream
from nanopoet.models.sampling import Sampling
from nanopoet.tokens.fields import encode_prompt
from nanopoet.tokens.tokenizer import CharTokenizer


class Writer:
    """A model that continues prompts.

    Args:
        model: predicts the next character.
        tokenizer: its vocabulary.
    """

    def __init__(self, model: LanguageModel, tokenizer: CharTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def stream(self, prompt: str, sampling: Sampling, generator: torch.Generator) -> Iterator[str]:
        """Sample one poem, and yield its characters after the prompt.

        Args:
            prompt: how the poem begins; may be empty.
            sampling: how to sample. The caller applies its `seed` and its `count`.
            generator: source of randomness.
        """
        begin = encode_prompt(prompt, self.tokenizer, takes_fields=self.model.takes_fields)
        ids = stream(
            self.model,
            torch.tensor([begin]),
            **sampling.arguments(),
            generator=generator,
            stop_id=self.model.stop_id,
        )
        for [[following]] in map(torch.Tensor.tolist, ids):
            if following != self.model.stop_id:
                yield self.tokenizer.decode([following])
