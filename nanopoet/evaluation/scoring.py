"""Scoring of the tokens of unseen poems by a model."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nanopoet.common.device import Precision, autocast
from nanopoet.common.types import Array
from nanopoet.evaluation.prediction import TokenScores
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.tokens.batches import check_length, windows_at
from nanopoet.tokens.dataset import TokenArrays, target_stream

_CPU_ROWS, _GPU_ROWS = 256, 8192
"""Rows of logits computed at once. On a CPU they should stay in its cache until they are used."""


def scoring_windows(length: int, block_size: int, context: int) -> Iterator[tuple[int, int]]:
    """Cover `length` targets with windows so that each target counts once.

    Every target that counts has at least `context` inputs before its own, except in the first
    window.

    Yields:
        (start, first). The window holds targets `start` to `start + block_size - 1`, and the
        targets from `first` on count.

    >>> list(scoring_windows(10, block_size=4, context=2))
    [(0, 0), (2, 4), (4, 6), (6, 8)]
    >>> list(scoring_windows(9, block_size=4, context=1))
    [(0, 0), (3, 4), (5, 7)]
    """
    done = 0
    while done < length:
        start = min(max(0, done - context), length - block_size)
        yield start, done
        done = start + block_size


def score_tokens(
    model: LanguageModel,
    arrays: TokenArrays,
    *,
    context: int,
    batch_size: int,
    device: torch.device,
    precision: Precision,
) -> TokenScores:
    """Score every character of N poems once, and the separators where there are any.

    Args:
        model: moved to `device` and put into evaluation mode.
        arrays: the poems; more than `block_size` ids.
        context: least number of tokens before a scored token, below `block_size`.
        batch_size: windows per forward pass.
        device: where to compute.
        precision: of the matmuls.

    Raises:
        NanopoetError: the tokens are too few.
    """
    block_size, n = model.block_size, len(arrays.tokens)
    check_length(arrays.tokens, block_size, "validation")
    assert 0 <= context < block_size
    stream = target_stream(arrays)
    windows = np.array(list(scoring_windows(n, block_size, context)))  # (W, 2)
    model.to(device).eval()  # in inference mode, its parameters could not be trained again
    nats, ranks = np.zeros(n), np.zeros(n, np.int32)
    confidence = np.zeros(n, np.float32)
    progress = tqdm(total=len(windows), unit="window", disable=None, desc="evaluating")
    with torch.inference_mode(), packed(model), progress as bar:
        for i in range(0, len(windows), batch_size):
            batch = windows[i : i + batch_size]
            places, scores = _score_windows(model, stream, batch, device, precision)
            nats[places], ranks[places], confidence[places] = scores
            bar.update(len(batch))
    return TokenScores(stream[1:], np.asarray(arrays.offsets), nats, ranks, confidence)


def _score_windows(
    model: LanguageModel,
    stream: Array,
    windows: Array,
    device: torch.device,
    precision: Precision,
) -> tuple[Array, list[Array]]:
    """Score the targets that count in B windows.

    Args:
        model: on `device`, in evaluation mode.
        stream: ids; input i has target i + 1.
        windows: (B, 2), as from `scoring_windows`.
        device: where to compute.
        precision: of the matmuls.

    Returns:
        places of the R targets, (R,), and their nats, ranks and confidence, each (R,).
    """
    starts, firsts = windows.T
    inputs, targets = windows_at(stream, starts, model.block_size)
    places = starts[:, None] + np.arange(model.block_size)  # (B, T) of the targets
    counts = places >= firsts[:, None]
    with autocast(device, precision):
        hidden = model.hidden(torch.from_numpy(inputs).to(device))  # (B, T, C)
        scores = score_targets(
            hidden[torch.from_numpy(counts).to(device)],
            torch.from_numpy(targets[counts]).to(device),
            model.lm_head,
        )
    return places[counts], [score.cpu().numpy() for score in scores]


def score_targets(
    x: Tensor, targets: Tensor, lm_head: torch.nn.Module
) -> tuple[Tensor, Tensor, Tensor]:
    """Score (R,) target ids after (R, C) hidden states: nats in fp64, ranks, confidence, each (R,).

    With `total` the sum of exp(logit - highest), the likeliest id has the probability 1 / total.
    """
    rows = _CPU_ROWS if x.device.type == "cpu" else _GPU_ROWS
    parts = []
    for start in range(0, len(x), rows):
        logits = lm_head(x[start : start + rows]).float()  # (rows, V)
        own = logits.gather(1, targets[start : start + rows, None])
        ranks = torch.gt(logits, own, out=torch.empty_like(logits)).sum(dim=1)
        highest = logits.amax(dim=1, keepdim=True)
        total = logits.sub_(highest).exp_().sum(dim=1)  # in place: one pass less over memory
        nats = (highest - own).squeeze(1) + total.log()
        parts.append((nats.double(), ranks.int(), total.reciprocal()))
    nats, ranks, confidence = (torch.cat(column) for column in zip(*parts, strict=True))
    return nats, ranks, confidence
