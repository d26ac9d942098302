"""Sampling of poems from a model, in batches."""

import torch
from tqdm import tqdm

from nanopoet.common.device import Precision, autocast
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer


def sample_poems(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    *,
    count: int,
    length: int,
    temperature: float,
    seed: int,
    device: torch.device,
    precision: Precision,
    batch_size: int = 250,
) -> list[str]:
    """Sample texts from BEGIN on.

    A model trained on poems with separators ends each text where the poem ends.

    Args:
        model: moved to `device`.
        tokenizer: its vocabulary.
        count: number of texts.
        length: characters of a text, at most.
        temperature: divides the logits.
        seed: of the random numbers.
        device: where to compute.
        precision: of the matmuls.
        batch_size: texts sampled at once.
    """
    generator = torch.Generator(device).manual_seed(seed)
    model.to(device)
    poems: list[str] = []
    progress = tqdm(total=count, unit="poem", disable=None, desc="writing poems")
    with packed(model), progress as bar:
        while len(poems) < count:
            rows = min(batch_size, count - len(poems))
            context = torch.full((rows, 1), BEGIN_ID, device=device)  # (B, 1)
            with autocast(device, precision):
                ids = model.generate(
                    context, length, temperature=temperature, generator=generator, stop_id=BEGIN_ID
                )
            poems += [tokenizer.decode_poem(row.tolist()) for row in ids]
            bar.update(rows)
    return poems
