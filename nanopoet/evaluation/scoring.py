"""Scoring of the tokens of unseen poems by a model."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from nanopoet.common.device import Precision, autocast
from nanopoet.evaluation.prediction import TokenScores
from nanopoet.models.base import LanguageModel
from nanopoet.models.kv_cache import KVCache
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.models.segment_cache import SegmentCache
from nanopoet.ops.linear import packed
from nanopoet.tokens.dataset import TokenArrays, target_stream

_CPU_ROWS, _GPU_ROWS = 64, 8192
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
        arrays: the poems; at least one id.
        context: least number of tokens before a scored token, below `block_size`.
        batch_size: windows or segments per forward pass.
        device: where to compute.
        precision: of the matmuls.
    """
    n = len(arrays.tokens)
    assert 0 <= context < model.block_size
    stream = target_stream(arrays)
    inputs, targets = (
        torch.from_numpy(part.astype(np.int64)) for part in (stream[:-1], stream[1:])
    )
    model.to(device).eval()  # in inference mode, its parameters could not be trained again
    long = n > model.block_size
    if long and isinstance(model, Qwen3LanguageModel) and 0 < 2 * context <= model.block_size:
        parts = _hidden_by_segments(model, inputs.to(device), context, batch_size)
    else:
        parts = _hidden_by_windows(model, inputs.to(device), context, batch_size)
    nats, ranks = np.zeros(n), np.zeros(n, np.int32)
    confidence = np.zeros(n, np.float32)
    progress = tqdm(total=n, unit="token", unit_scale=True, disable=None, desc="evaluating")
    with (
        torch.inference_mode(),
        packed(model),
        autocast(device, precision),
        progress as bar,
    ):
        for part, hidden in parts:
            scores = score_targets(hidden, targets[part].to(device), model.lm_head)
            nats[part], ranks[part], confidence[part] = (score.cpu().numpy() for score in scores)
            bar.update(len(hidden))
    return TokenScores(stream[1:], np.asarray(arrays.offsets), nats, ranks, confidence)


def _hidden_by_windows(
    model: LanguageModel, inputs: Tensor, context: int, batch_size: int
) -> Iterator[tuple[slice, Tensor]]:
    """Compute a text in windows, which overlap by their context.

    Args:
        model: in evaluation mode.
        inputs: (n,) ids of the text.
        context: see `score_tokens`.
        batch_size: windows per forward pass.

    Yields:
        places of R tokens in the text, and their hidden states, (R, C).
    """
    size = min(len(inputs), model.block_size)
    windows = list(scoring_windows(len(inputs), size, context))
    offsets = torch.arange(size, device=inputs.device)
    for i in range(0, len(windows), batch_size):
        starts, firsts = torch.tensor(windows[i : i + batch_size], device=inputs.device).t()
        places = starts[:, None] + offsets  # (B, T)
        hidden = model.hidden(inputs[places])[places >= firsts[:, None]]
        yield slice(int(firsts[0]), int(firsts[0]) + len(hidden)), hidden


def _hidden_by_segments(
    model: Qwen3LanguageModel, inputs: Tensor, context: int, batch_size: int
) -> Iterator[tuple[slice, Tensor]]:
    """Compute a text in segments, which see `context` tokens of the segment before.

    Each token is computed once. In windows of 128 tokens, 64 of them context, each is computed
    twice, and the loss is the same to 0.0003 nats.

    Args:
        model: see `_hidden_by_windows`.
        inputs: see `_hidden_by_windows`.
        context: at most half of `block_size`.
        batch_size: segments per forward pass.

    Yields:
        places of R tokens in the text, and their hidden states, (R, C).
    """
    start, size = KVCache(model.block_size), model.block_size - context
    yield slice(0, context), model.hidden(inputs[None, :context], start)[0]
    cache = SegmentCache(start, size, model.rotary[:, size])
    for first in range(context, len(inputs), batch_size * size):
        part = inputs[first : first + batch_size * size]
        hidden = model.hidden(F.pad(part, (0, -len(part) % size)).view(-1, size), cache)
        yield slice(first, first + len(part)), hidden.flatten(0, 1)[: len(part)]


def score_targets(
    x: Tensor, targets: Tensor, lm_head: torch.nn.Module
) -> tuple[Tensor, Tensor, Tensor]:
    """Score (R,) target ids after (R, C) hidden states: nats, ranks, confidence, each (R,)."""
    rows = _CPU_ROWS if x.device.type == "cpu" else _GPU_ROWS
    parts = []
    for start in range(0, len(x), rows):
        # One pass over memory, where maximum, exponential and sum would be four.
        log_p = F.log_softmax(lm_head(x[start : start + rows]), dim=1, dtype=torch.float32)
        own = log_p.gather(1, targets[start : start + rows, None])
        ranks = torch.gt(log_p, own, out=torch.empty_like(log_p)).sum(dim=1)
        parts.append((-own[:, 0], ranks.int(), log_p.amax(dim=1).exp()))
    nats, ranks, confidence = (torch.cat(column) for column in zip(*parts, strict=True))
    return nats, ranks, confidence
