"""Sampling of tokens from a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from nanopoet.models.kv_cache import KVCache
from nanopoet.models.kv_pool import Cache
from nanopoet.ops.linear import packed
from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID, PADDING_ID, SPECIAL_TOKENS

COLDEST = 1e-30
"""Temperature below which logits divided by it may be infinite in fp32."""


class NextTokenModel(nn.Module, ABC):
    """A model from which one can sample.

    Attributes:
        block_size: longest T.
        lm_head: the output layer, (B, C) → (B, V).
    """

    block_size: int
    lm_head: nn.Linear

    @abstractmethod
    def hidden(self, idx: Tensor, cache: Cache | None = None) -> Tensor:
        """Compute (B, T) token ids → (B, T, C), the input of the output layer.

        Args:
            idx: the ids. With a cache that holds tokens, the single token that follows them.
            cache: keys and values of the tokens before. Those of `idx` are added.

        Raises:
            ValueError: more than `block_size` tokens together.
        """


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
    forced: Tensor | None = None,
) -> Tensor:
    """Append sampled tokens to (B, T) token ids. `stream` explains the arguments.

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
        forced=forced,
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
    forced: Tensor | None = None,
) -> Iterator[Tensor]:
    """Sample one token of each sequence at a time: a character or the end of a poem.

    The model sees at most `block_size` tokens. A text that outgrows them goes on from its last
    `block_size // 2` tokens. Between two steps, the model is in its own mode (training or
    evaluation) again, and gradients are on or off as before. So the caller may stop at any time.

    Weights are packed for the time of the text. A caller that generates many texts holds
    `nanopoet.ops.linear.packed` open around all of them.

    Args:
        model: predicts the next token.
        idx: (B, T) token ids to continue, T at least 1.
        max_new_tokens: number of tokens to append.
        temperature: divides the logits. 0 or next to it takes the likeliest token.
        top_k: draw from the k likeliest tokens only; None draws from all.
        top_p: draw from the fewest likeliest tokens whose probabilities add up to `top_p`
            (nucleus sampling, Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
        generator: source of randomness on the model's device; torch's global one by default.
        stop_id: after this token a sequence is padded with it. Generation ends when all
            sequences have it.
        use_cache: keep keys and values. Without the cache each step computes all of them again,
            with the same result.
        forced: (B, S) ids that come first, before any is drawn, with PADDING behind them. So
            prompts of several lengths are continued together.

    Yields:
        (B, 1) token ids, the next of each sequence.

    Raises:
        ValueError: `temperature`, `top_k` or `top_p` is out of range.
    """
    if not temperature >= 0 or not 0 < top_p <= 1 or (top_k is not None and top_k < 1):
        raise ValueError(
            f"{temperature=}, {top_k=}, {top_p=}: the first must be 0 or more, the second 1 or "
            "more or None, the third above 0 and at most 1"
        )
    draw = partial(sample, temperature=temperature, top_k=top_k, top_p=top_p)
    going = torch.arange(len(idx), device=idx.device)  # sequences that are computed
    stopped = torch.zeros(len(idx), 1, dtype=torch.bool, device=idx.device)
    start = max(0, idx.shape[1] - model.block_size)  # of the context, in the text
    cache = KVCache(model.block_size)
    # Autocast keeps the weights it has cast for the next step, except in inference mode.
    cast = torch.is_autocast_enabled(idx.device.type)
    end_id = CONTENT_END_ID if stop_id == CONTENT_END_ID else BEGIN_ID
    with packed(model):
        for step in range(max_new_tokens):
            with torch.no_grad() if cast else torch.inference_mode(), evaluating(model):
                if idx.shape[1] - start > model.block_size:
                    start = idx.shape[1] - max(1, model.block_size // 2)
                    cache = KVCache(model.block_size)
                seen = idx[going, start:]  # (b, T)
                hidden = (
                    model.hidden(seen[:, cache.length :], cache)
                    if use_cache
                    else model.hidden(seen)
                )
                logits = model.lm_head(hidden[:, -1])  # (b, V)
                # One number for each sequence, stopped or not: no sequence depends on another.
                points = torch.rand(len(idx), 1, generator=generator, device=idx.device)
                sampled = _sample_text(draw, logits, points[going], end_id)
                if forced is not None and step < forced.shape[1]:
                    given = forced[going, step : step + 1]
                    sampled = torch.where(given == PADDING_ID, sampled, given)
                if stop_id is None:
                    following = sampled
                else:
                    following = torch.full_like(points, stop_id, dtype=idx.dtype)
                    following[going] = torch.where(stopped[going], stop_id, sampled)
                    stopped |= following == stop_id
                    left = (~stopped[going, 0]).nonzero()[:, 0]
                    if 2 * len(left) <= len(going):  # half have stopped: compute only the others
                        cache.keep(left)
                        going = going[left]
                idx = torch.cat([idx, following], dim=1)
            yield following.clone()  # a tensor of inference mode could not be trained on
            if stopped.all():
                break


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for the time of the block."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


def _sample_text(
    draw: Callable[[Tensor, Tensor], Tensor], logits: Tensor, points: Tensor, end_id: int
) -> Tensor:
    """Draw (B, 1) ids, and draw again where one is a special token other than the end.

    A training text has no such token, but its probability is not quite 0.

    Args:
        draw: `_sample` with its options.
        logits: (B, V), changed in place.
        points: (B, 1) random numbers of [0, 1).
        end_id: the token that ends a text, BEGIN or CONTENT_END.
    """
    ids = draw(logits, points)
    special = (ids < len(SPECIAL_TOKENS)) & (ids != end_id)
    if not special.any():
        return ids
    end = logits[:, end_id].clone()
    logits[:, : len(SPECIAL_TOKENS)] = float("-inf")
    logits[:, end_id] = end
    # The first bits of a number chose the special token, so only the later ones are still random.
    return torch.where(special, draw(logits, points * 4096 % 1), ids)


def sample(
    logits: Tensor, points: Tensor, temperature: float, top_k: int | None, top_p: float
) -> Tensor:
    """Draw (B, 1) ids from (B, V) logits and (B, 1) random numbers of [0, 1)."""
    if temperature < COLDEST:
        return logits.argmax(dim=-1, keepdim=True)
    logits = logits.float()
    if temperature != 1:
        logits = logits / temperature
    return draw_ids(likeliest(logits, top_k, top_p), points)


def likeliest(logits: Tensor, top_k: int | None, top_p: float) -> Tensor:
    """Set the logits (B, V) of all but the likeliest tokens to −inf; `stream` explains which."""
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
        ordered, ids = logits.sort(descending=True)
        p = ordered.softmax(dim=-1)
        beyond = p.cumsum(dim=-1) - p >= top_p  # never the likeliest
        logits = logits.scatter(-1, ids, ordered.masked_fill(beyond, float("-inf")))
    return logits


def draw_ids(logits: Tensor, points: Tensor) -> Tensor:
    """Draw (B, 1) ids by the softmax of (B, V) logits with (B, 1) random numbers of [0, 1)."""
    # `torch.multinomial` draws V random numbers a row, which takes longer than the rest together.
    share = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    total = share[:, -1:].contiguous()
    point = total * points
    # Rounding may put the point at the very end, behind the last id with a probability above 0.
    last = torch.searchsorted(share, total)
    return torch.minimum(torch.searchsorted(share, point, right=True), last)
