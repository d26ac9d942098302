"""Likelihood of poems under a finetuned model, which knows some of their fields."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from nanopoet.common.device import Precision, autocast
from nanopoet.common.types import Array
from nanopoet.evaluation.scoring import score_targets, scoring_windows
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.tokens.fields import FIELDS, FieldPoems
from nanopoet.tokens.tokenizer import PADDING_ID


def score_contents(
    model: LanguageModel,
    poems: FieldPoems,
    given: Sequence[str],
    *,
    batch_size: int,
    device: torch.device,
    precision: Precision,
) -> Array:
    """Score the contents of N poems, each by itself.

    A poem that is longer than `block_size` takes several windows. In all but the first, at least
    half of the window is context, and the fields are out of sight.

    Args:
        model: moved to `device` and put into evaluation mode.
        poems: the poems.
        given: names of the fields that the model sees.
        batch_size: windows per forward pass.
        device: where to compute.
        precision: of the matmuls.

    Returns:
        nats of each content, the token that ends it included, (N,).
    """
    model.to(device).eval()
    windows = list(_windows(poems, model.block_size, given))
    windows.sort(key=lambda window: len(window.ids))  # so that batches have little padding
    nats = np.zeros(len(poems))
    progress = tqdm(total=len(windows), unit="poem", disable=None, desc="evaluating requests")
    with torch.inference_mode(), packed(model), progress as bar:
        for start in range(0, len(windows), batch_size):
            batch = windows[start : start + batch_size]
            ids = np.full((len(batch), len(batch[-1].ids)), PADDING_ID)
            counts = np.zeros(ids.shape, dtype=bool)
            for row, window in enumerate(batch):
                ids[row, : len(window.ids)] = window.ids
                counts[row, window.first : len(window.ids)] = True
            targets, counts = ids[:, 1:], counts[:, 1:]
            with autocast(device, precision):
                hidden = model.hidden(torch.from_numpy(ids[:, :-1]).to(device))  # (B, T, C)
                scores, _, _ = score_targets(
                    hidden[torch.from_numpy(counts).to(device)],
                    torch.from_numpy(targets[counts]).to(device),
                    model.lm_head,
                )
            owners = np.repeat([window.poem for window in batch], counts.sum(axis=1))
            np.add.at(nats, owners, scores.cpu().numpy())
            bar.update(len(batch))
    return nats


class _Window(NamedTuple):
    """Ids of a poem to score.

    Attributes:
        poem: number of the poem.
        ids: at most `block_size` inputs and the target of the last one.
        first: index of the first id that counts.
    """

    poem: int
    ids: Array
    first: int


def _windows(poems: FieldPoems, block_size: int, given: Sequence[str]) -> Iterator[_Window]:
    """Yield windows in which each id of a content counts once, but CONTENT."""
    kept = np.array([name in given for name in FIELDS])
    for poem in range(len(poems)):
        ids, content = poems.ids(poem, kept)
        if len(ids) <= block_size + 1:
            yield _Window(poem, ids, content + 1)
            continue
        for start, first in scoring_windows(len(ids) - 1, block_size, block_size // 2):
            end = start + block_size + 1
            yield _Window(poem, ids[start:end], max(first, content) + 1 - start)
