"""Sampling from a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nanopoet.models.kv_cache import KVCache


class NextTokenModel(Protocol):
    """A model from which one can sample; every `LanguageModel` is one.

    Attributes:
        block_size: longest T.
        lm_head: the output layer, (B, C) → (B, V).
        training: whether the model is in training mode.
    """

    block_size: int
    lm_head: nn.Linear
    training: bool

    def hidden(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T) token ids → (B, T, C), the input of the output layer."""

    def train(self, mode: bool = True) -> Any:
        """Put the model into training mode, or into evaluation mode."""


def generate(
    model: NextTokenModel,
    idx: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    stop_id: int | None = None,
    use_cache: bool = True,
) -> Tensor:
    """Append sampled tokens; see `stream`, which gives them as they come.

    Returns:
        (B, T + max_new_tokens) token ids, fewer if all sequences have stopped.
    """
    steps = stream(
        model,
        idx,
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator,
        stop_id=stop_id,
        use_cache=use_cache,
    )
    return torch.cat([idx, *steps], dim=1)


def stream(
    model: NextTokenModel,
    idx: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    stop_id: int | None = None,
    use_cache: bool = True,
) -> Iterator[Tensor]:
    """Sample tokens one at a time, seeing at most `block_size` of them.

    A text that outgrows `block_size` goes on from its last `block_size // 2` tokens.
    Between two steps model and thread are in the mode (training or evaluation, gradients or none)
    in which they were, so one may stop asking at any time.

    Args:
        model: predicts the next token.
        idx: (B, T) token ids to continue, T at least 1.
        max_new_tokens: how many to append.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: draw from the k likeliest tokens only; None from all.
        top_p: draw from the likeliest tokens only, as many as it takes for their probabilities
            to add up to it (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
        generator: source of randomness on the model's device; torch's global one by default.
        stop_id: a sequence that has got this token gets nothing but it; all of them, and it ends.
        use_cache: keep keys and values; without it every step computes them all again, to the
            same effect.

    Yields:
        (B, 1) token ids, the next of each sequence.
    """
    going = torch.arange(len(idx), device=idx.device)  # sequences that are computed
    stopped = torch.zeros(len(idx), 1, dtype=torch.bool, device=idx.device)
    start = max(0, idx.shape[1] - model.block_size)  # of the context, in the text
    cache = KVCache(model.block_size)
    # Autocast keeps weights that it has cast for the next step, but not in inference mode.
    cast = torch.is_autocast_enabled(idx.device.type)
    for _ in range(max_new_tokens):
        with torch.no_grad() if cast else torch.inference_mode(), _evaluating(model):
            if idx.shape[1] - start > model.block_size:
                start = idx.shape[1] - max(1, model.block_size // 2)
                cache = KVCache(model.block_size)
            seen = idx[going, start:]  # (b, T)
            hidden = (
                model.hidden(seen[:, cache.length :], cache) if use_cache else model.hidden(seen)
            )
            logits = model.lm_head(hidden[:, -1])  # (b, V)
            # A number for each sequence, going or not: what one gets is up to no other.
            points = torch.rand(len(idx), 1, generator=generator, device=idx.device)
            sampled = _sample(logits, temperature, top_k, top_p, points[going])
            if stop_id is None:
                following = sampled
            else:
                following = torch.full_like(points, stop_id, dtype=idx.dtype)
                following[going] = torch.where(stopped[going], stop_id, sampled)
                stopped |= following == stop_id
                left = (~stopped[going, 0]).nonzero()[:, 0]
                if 2 * len(left) <= len(going):  # when half has stopped, the rest goes on alone
                    cache.keep(left)
                    going = going[left]
            idx = torch.cat([idx, following], dim=1)
        yield following.clone()  # of use in training again, as a tensor of inference mode is not
        if stopped.all():
            break


@contextmanager
def _evaluating(model: NextTokenModel) -> Iterator[None]:
    """Put a model into evaluation mode for a while."""
    was_training = model.training
    if was_training:
        model.train(False)
    try:
        yield
    finally:
        if was_training:
            model.train()


def _sample(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float,
    points: Tensor,
) -> Tensor:
    """(B, V) logits and (B, 1) random numbers of [0, 1) → (B, 1) ids."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    logits = logits.float()
    if temperature != 1:
        logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
        ordered, ids = logits.sort(descending=True)
        p = ordered.softmax(dim=-1)
        beyond = p.cumsum(dim=-1) - p >= top_p  # never the likeliest
        logits = logits.scatter(-1, ids, ordered.masked_fill(beyond, float("-inf")))
    # A multinomial draws V random numbers a row, which takes longer than all the rest.
    share = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    total = share[:, -1:].contiguous()
    point = total * points
    # Rounding may put the point at the very end, behind the last id that is possible at all.
    last = torch.searchsorted(share, total)
    return torch.minimum(torch.searchsorted(share, point, right=True), last)
