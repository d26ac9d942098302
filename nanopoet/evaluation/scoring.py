"""How well a model predicts poems that it has not seen, token by token."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nanopoet.common.device import Precision, autocast
from nanopoet.evaluation.prediction import TokenScores
from nanopoet.models.base import LanguageModel
from nanopoet.ops.linear import packed
from nanopoet.tokens.batches import check_length, windows_at
from nanopoet.tokens.dataset import TokenArrays, target_stream

_ROWS = 256
"""Rows of logits at once on a CPU: they should not leave its cache before they are used."""


def scoring_windows(length: int, block_size: int, context: int) -> Iterator[tuple[int, int]]:
    """Cover `length` targets with windows so that each counts once.

    Yields (start, first): the window at `start` holds targets `start` to
    `start + block_size - 1`, of which those from `first` on count. Every target
    that counts has at least `context` inputs before its own, except in the first window.

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
    """Let a model predict every character of N poems once, and the separators where there are any.

    Args:
        model: moved to `device` and put into evaluation mode.
        arrays: the poems; more than `block_size` ids.
        context: least number of tokens seen before a predicted one, below `block_size`.
        batch_size: windows per forward pass.
        device: where to compute.
        precision: of the matrix products.

    Raises:
        NanopoetError: the tokens are too few.
    """
    block_size, n = model.block_size, len(arrays.tokens)
    check_length(arrays.tokens, block_size, "validation")
    assert 0 <= context < block_size
    stream = target_stream(arrays)
    windows = np.array(list(scoring_windows(n, block_size, context)))  # (W, 2)
    model.to(device).eval()  # not in inference mode, which would make it unfit for training
    nats, ranks = np.zeros(n), np.zeros(n, np.int32)
    confidence = np.zeros(n, np.float32)
    progress = tqdm(total=len(windows), unit="window", disable=None, desc="evaluating")
    with torch.inference_mode(), packed(model), progress as bar:
        for i in range(0, len(windows), batch_size):
            starts, firsts = windows[i : i + batch_size].T
            inputs, targets = windows_at(stream, starts, block_size)
            places = starts[:, None] + np.arange(block_size)  # (B, T) of the targets
            counts = places >= firsts[:, None]
            with autocast(device, precision):
                hidden = model.hidden(torch.from_numpy(inputs).to(device))  # (B, T, C)
                scores = _score(
                    hidden[torch.from_numpy(counts).to(device)],
                    torch.from_numpy(targets[counts]).to(device),
                    model.lm_head,
                )
            done = places[counts]
            nats[done], ranks[done], confidence[done] = (s.cpu().numpy() for s in scores)
            bar.update(len(starts))
    return TokenScores(stream[1:], np.asarray(arrays.offsets), nats, ranks, confidence)


def _score(x: Tensor, targets: Tensor, lm_head: torch.nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """(R, C) and (R,) ids → nats fp64, ranks and confidence of each row, (R,)."""
    rows = _ROWS if x.device.type == "cpu" else 8192
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
