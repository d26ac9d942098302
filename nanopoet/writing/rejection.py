"""Rejection: poems as the model writes them, without those that do not satisfy a predicate.

Accepted poems have exactly the model's conditional distribution. If the model rarely satisfies the
predicate, rejection needs many attempts.
"""

from collections.abc import Generator, Sequence

import torch

from nanopoet.models.generate import NextTokenModel, draw_ids
from nanopoet.writing.context import Context
from nanopoet.writing.particles import drop_specials
from nanopoet.writing.predicate import Predicate, forced


def write_attempts(
    model: NextTokenModel,
    prompt: Sequence[int],
    predicate: Predicate,
    *,
    end_id: int,
    attempts: int,
    temperature: float,
    generator: torch.Generator,
) -> Generator[Context, None, list[list[int]]]:
    """Write R poems in one batch, and return those that satisfy a predicate, in their order.

    An attempt ends at the first token that is not allowed. When half have ended, only the others
    are computed.

    Args:
        model: predicts the next token.
        prompt: ids before the poem.
        predicate: what the poem must satisfy.
        end_id: the token that ends a poem.
        attempts: R.
        temperature: divides the logits; above 0.
        generator: source of randomness on the model's device.

    Yields:
        the attempts, before each step.

    Returns:
        ids of each poem, without the end.
    """
    state, given = forced(predicate)
    context = Context(model, [*prompt, *given], attempts)
    device = context.ids.device
    states: dict[int, object] = dict.fromkeys(range(attempts), state)
    going = list(range(attempts))  # attempts that are computed
    poems: dict[int, list[int]] = {}
    while states:
        yield context
        logits = context.logits()
        drop_specials(logits, end_id)
        points = torch.rand(attempts, 1, generator=generator, device=device)
        following = draw_ids(logits / temperature, points[going])[:, 0]
        context.append(following)
        for row, (attempt, token) in enumerate(zip(going, following.tolist(), strict=True)):
            if attempt not in states:
                continue
            after = predicate.advance(states[attempt], token)
            if after is None:
                del states[attempt]
            elif predicate.ended(after):
                poems[attempt] = context.ids[row, len(prompt) : -1].tolist()
                del states[attempt]
            else:
                states[attempt] = after
        if states and 2 * len(states) <= len(going):
            rows = [row for row, attempt in enumerate(going) if attempt in states]
            context.keep(torch.tensor(rows, device=device))
            going = [going[row] for row in rows]
    return [poems[attempt] for attempt in sorted(poems)]
