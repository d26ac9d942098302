"""Sampling of poems from a model, in batches."""

from collections.abc import Sequence
from itertools import groupby

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
    prompts: Sequence[Sequence[int]] = ((BEGIN_ID,),),
) -> list[str]:
    """Sample texts for prompts, `count` for each.

    A model trained on poems with separators ends each text where the poem ends.

    Args:
        model: moved to `device`.
        tokenizer: its vocabulary.
        count: number of texts for each prompt.
        length: characters of a text, at most.
        temperature: divides the logits.
        seed: of the random numbers.
        device: where to compute.
        precision: of the matmuls.
        batch_size: texts sampled at once.
        prompts: the ids with which texts begin.

    Returns:
        the texts, in the order of the prompts.
    """
    generator = torch.Generator(device).manual_seed(seed)
    model.to(device)
    rows = [tuple(prompt) for prompt in prompts for _ in range(count)]
    # Texts that are sampled at once have prompts of one length.
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    poems = [""] * len(rows)
    progress = tqdm(total=len(rows), unit="poem", disable=None, desc="writing poems")
    with packed(model), progress as bar:
        for _, group in groupby(order, key=lambda row: len(rows[row])):
            same = list(group)
            for start in range(0, len(same), batch_size):
                part = same[start : start + batch_size]
                context = torch.tensor([rows[row] for row in part], device=device)  # (B, T)
                with autocast(device, precision):
                    ids = model.generate(
                        context,
                        length,
                        temperature=temperature,
                        generator=generator,
                        stop_id=model.stop_id,
                    )
                for row, each in zip(part, ids.tolist(), strict=True):
                    poems[row] = tokenizer.decode_poem(each)
                bar.update(len(part))
    return poems
