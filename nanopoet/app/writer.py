"""Writing of one poem at a time, step by step."""

from collections.abc import Iterator

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.generate import stream
from nanopoet.models.sampling import Sampling
from nanopoet.tokens.fields import encode_prompt
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.request import Request
from nanopoet.writing.write import Progress, iter_poems


class Writer:
    """A model that continues prompts and writes what is asked for.

    Args:
        model: predicts the next character.
        tokenizer: its vocabulary.
        catalogue: authors and tunes that it knows; None for a model that is pretrained only.
        folder: where the model comes from, for the reader of its poems.
        nats: its loss on validation poems, in nats per character; None if it is not known.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: CharTokenizer,
        catalogue: Catalogue | None = None,
        folder: str = "",
        nats: float | None = None,
    ) -> None:
        self.model, self.tokenizer, self.catalogue = model, tokenizer, catalogue
        self.folder, self.nats = folder, nats

    def write(
        self, request: Request, sampling: Sampling, generator: torch.Generator
    ) -> Iterator[Progress]:
        """Write `sampling.count` poems that are what a request says, as `iter_poems`.

        Raises:
            NanopoetError: no poem can be so.
        """
        return iter_poems(self.model, self.tokenizer, self.catalogue, request, sampling, generator)

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
