"""Sequential Monte Carlo: poems of the model, on condition that they satisfy a predicate.

N *particles* write a poem side by side (Lew et al. 2023, https://arxiv.org/abs/2306.03081). Each
draws its next token among those that the predicate allows. Its weight is multiplied by the
probability that the model gives to all of these together. Masking alone forgets this factor, and
prefers poems that the model finds unlikely (https://arxiv.org/abs/2504.05410). When few particles
have most of the weight, N new ones are drawn from them. At the end one particle is drawn by weight.
Its distribution approaches the exact one as N grows.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nanopoet.models.generate import COLDEST, NextTokenModel, draw_ids, likeliest
from nanopoet.models.sampling import Sampling
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS
from nanopoet.writing.context import Context
from nanopoet.writing.predicate import Predicate, forced

_ENDED = object()
"""State of a text that has ended or cannot satisfy the predicate; nothing is asked of it."""


class Draft(NamedTuple):
    """The poems of some populations after a step.

    Attributes:
        texts: ids of the heaviest particle of each population, so far.
        failed: for each population, whether no particle can satisfy the predicate.
        awaits: the particles, which the model continues next; None if these are the poems that were
            drawn in the end.
    """

    texts: list[list[int]]
    failed: list[bool]
    awaits: Context | None = None


def write_populations(
    model: NextTokenModel,
    prompt: Sequence[int],
    predicate: Predicate,
    *,
    end_id: int,
    populations: int,
    particles: int,
    sampling: Sampling,
    generator: torch.Generator,
) -> Iterator[Draft]:
    """Write one poem with each of P populations of N particles, all in one batch of R = P·N rows.

    `temperature` changes the distribution that is conditioned. `top_k` and `top_p` then keep the
    likeliest of the allowed tokens, and the weight counts those that they keep.

    Args:
        model: predicts the next token.
        prompt: ids before the poem.
        predicate: what the poem must satisfy.
        end_id: the token that ends a poem.
        populations: P. No population depends on another.
        particles: N.
        sampling: temperature, top_k and top_p.
        generator: source of randomness on the model's device.

    Yields:
        the poems before each step, and the poems that were drawn in the end.
    """
    state, given = forced(predicate)
    rows = populations * particles
    context = Context(model, [*prompt, *given], rows)
    device = context.ids.device
    states: list[object] = [state] * rows
    weights = torch.zeros(populations, particles, dtype=torch.float64)  # logarithms
    draft = Draft([given] * populations, [False] * populations, context)
    while any(state is not _ENDED for state in states):
        yield draft
        logits = context.logits()
        drop_specials(logits, end_id)
        weights += _restrict(logits, states, predicate, sampling).view_as(weights)
        twists = torch.tensor(
            [0.0 if state is _ENDED else predicate.log_potential(state) for state in states],
            dtype=torch.float64,
        ).view_as(weights)
        few, picked = _resample(weights + twists, generator)
        if few.any():
            weights = torch.where(few[:, None], -twists.flatten()[picked], weights)
            states = [states[row] for row in picked.flatten().tolist()]
            kept = picked.flatten().to(device)
            context.keep(kept)
            logits = logits[kept]
        points = torch.rand(rows, 1, generator=generator, device=device)
        hints = [{} if state is _ENDED else predicate.hints(state) for state in states]
        following, corrections = _draw(logits, points, hints, sampling)
        weights += corrections.view_as(weights)
        for row, token in enumerate(following.tolist()):
            if states[row] is _ENDED:
                following[row] = end_id
                continue
            after = predicate.advance(states[row], token)
            if after is None:  # none of its tokens was allowed
                weights.view(-1)[row] = float("-inf")
                following[row] = end_id
            states[row] = _ENDED if after is None or predicate.ended(after) else after
        context.append(following)
        draft = _poems(context, len(prompt), weights.argmax(dim=1), end_id, weights)
    # Where all are dead, any may be shown.
    shown = weights.masked_fill(weights.isneginf().all(dim=1, keepdim=True), 0)
    chosen = draw_ids(shown, _points(populations, generator))[:, 0]
    yield _poems(context, len(prompt), chosen, end_id, weights)._replace(awaits=None)


def drop_specials(logits: Tensor, end_id: int) -> None:
    """Remove the special tokens but the end from logits (R, V): no text has them."""
    end = logits[:, end_id].clone()
    logits[:, : len(SPECIAL_TOKENS)] = float("-inf")
    logits[:, end_id] = end


def _restrict(
    logits: Tensor, states: Sequence[object], predicate: Predicate, sampling: Sampling
) -> Tensor:
    """Remove from logits (R, V), in place, all tokens that may not be drawn.

    Returns:
        the log probability of the other tokens together, (R,).
    """
    if sampling.temperature >= COLDEST and sampling.temperature != 1:
        logits /= sampling.temperature
    before = logits.logsumexp(dim=-1)
    masks: list[Tensor] = []
    number: dict[object, int] = {_ENDED: 0}
    masks.append(torch.ones(logits.shape[1], dtype=torch.bool))
    for state in states:
        if state not in number:
            number[state] = len(masks)
            masks.append(predicate.allowed(state))
    which = torch.tensor([number[state] for state in states], device=logits.device)
    forbidden = ~torch.stack(masks).to(logits.device)
    logits.masked_fill_(forbidden[which], float("-inf"))
    if sampling.top_k or sampling.top_p < 1:
        alive = (~forbidden).any(dim=1)[which]
        logits[alive] = likeliest(logits[alive], sampling.top_k or None, sampling.top_p)
    shares = logits.logsumexp(dim=-1) - before
    return torch.where(which == 0, 0.0, shares).cpu().double()


def _draw(
    logits: Tensor, points: Tensor, hints: Sequence[dict[int, float]], sampling: Sampling
) -> tuple[Tensor, Tensor]:
    """Draw ids (R,) from logits of the tokens that may be drawn.

    Hinted tokens are drawn more often than the model would.

    Returns:
        the ids, and log p − log q (R,) of each: p by the model, q as drawn.
    """
    corrections = torch.zeros(len(logits), dtype=torch.float64)
    if sampling.temperature < COLDEST:
        return logits.argmax(dim=-1), corrections
    # A dead particle has no token left. It draws any, and the predicate refuses it.
    logits[logits.amax(dim=-1).isneginf()] = 0
    rows = [row for row, each in enumerate(hints) if each]
    if not rows:
        return draw_ids(logits, points)[:, 0], corrections
    before = logits[rows].log_softmax(dim=-1)
    after = before.exp()
    for row, each in zip(after, (hints[row] for row in rows), strict=True):
        possible = {token: share for token, share in each.items() if row[token] > 0}
        row *= 1 - sum(possible.values())
        for token, share in possible.items():
            row[token] += share
    logits[rows] = after.log()
    ids = draw_ids(logits, points)
    drawn = ids[rows]
    corrections[rows] = (before - logits[rows]).gather(1, drawn)[:, 0].double().cpu()
    return ids[:, 0], corrections


def _resample(weights: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw N particles of each population by weight where few have most of it.

    It is systematic resampling: one random number a population, so that a particle with share p is
    drawn N·p times, rounded up or down.

    Args:
        weights: (P, N) logarithms.
        generator: source of randomness.

    Returns:
        the populations that are drawn again (P,), and the rows of the R = P·N that go on (P, N).
    """
    populations, particles = weights.shape
    points = _points(populations, generator)
    share = (weights - weights.max(dim=1, keepdim=True).values).exp()  # NaN if all are dead
    share /= share.sum(dim=1, keepdim=True)
    few = 1 / share.square().sum(dim=1) < particles / 2
    rows = torch.arange(populations * particles).view(populations, particles)
    bounds = share.nan_to_num().cumsum(dim=1)
    even = (points + torch.arange(particles)) / particles * bounds[:, -1:]
    drawn = torch.searchsorted(bounds, even, right=True).clamp(max=particles - 1)
    return few, torch.where(few[:, None], rows[:, :1] + drawn, rows)


def _points(count: int, generator: torch.Generator) -> Tensor:
    """Draw random numbers of [0, 1) on the CPU, (count, 1), fp64."""
    points = torch.rand(count, 1, generator=generator, device=generator.device)
    return points.cpu().double()


def _poems(context: Context, start: int, chosen: Tensor, end_id: int, weights: Tensor) -> Draft:
    """Return the chosen particle of each population, without the end."""
    particles = weights.shape[1]
    rows = torch.arange(len(chosen)) * particles + chosen
    texts = context.ids[rows.to(context.ids.device), start:].tolist()
    texts = [text[: text.index(end_id)] if end_id in text else text for text in texts]
    return Draft(texts, weights.isneginf().all(dim=1).tolist(), context)
