"""Writing of poems that are what a request says: the entry for the command, the page and Python.

Three ways lead to a poem, and each has the distribution of the model on condition of the request:

- A request that asks for no form is sampled as it is.
- A request for a form, of a finetuned model, is tried by rejection: exact and fast, because such a
  model keeps the form.
- Any other request, and one that rejection does not satisfy soon, is written by particles. That is
  approximate, and more exact the more particles there are.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from nanopoet.models.base import LanguageModel
from nanopoet.models.generate import COLDEST, evaluating, sample
from nanopoet.models.sampling import Sampling
from nanopoet.ops.linear import packed
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer
from nanopoet.writing.catalogue import Catalogue
from nanopoet.writing.context import Context
from nanopoet.writing.particles import drop_specials, write_populations
from nanopoet.writing.refused import RefusedError
from nanopoet.writing.rejection import write_attempts
from nanopoet.writing.request import Request
from nanopoet.writing.resolve import Note, Plan, resolve

PARTICLES = 16
"""Particles of a poem by default."""
TRIES = (1, 4, 16)
"""Multiples of the particles with which a poem is tried, until one particle lives to its end."""
ROWS = 256
"""Texts that are written side by side, at most; more take more memory and no less time."""
LEAST_ACCEPTED = 0.25
"""Share of accepted attempts below which particles go on."""
LEAST_TRIED = 4
"""Attempts before this share is judged."""


class Progress(NamedTuple):
    """The poems of a request after a step.

    Attributes:
        poems: their texts so far. A later step may go back behind them.
        finished: whether these are the poems.
        notes: what was understood in another script.
        awaits: the texts that the model continues next. Who writes many poems at once computes them
            together before the next step (`nanopoet.writing.context.compute`).
    """

    poems: tuple[str, ...]
    finished: bool
    notes: tuple[Note, ...] = ()
    awaits: Context | None = None


def write_poems(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    catalogue: Catalogue | None,
    request: Request,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    *,
    particles: int = PARTICLES,
) -> list[str]:
    """Write `sampling.count` poems that are what a request says.

    `sampling.max_new_tokens` is for requests without a form; a form ends by itself.

    Args:
        model: predicts the next character.
        tokenizer: its vocabulary.
        catalogue: authors and tunes that it knows; None for a model that is pretrained only.
        request: what the poems shall be.
        sampling: how to sample, and how many poems.
        generator: source of randomness on the model's device; by default one with
            `sampling.seed`.
        particles: of each poem; more are slower, and nearer to the model's own distribution.

    Raises:
        RefusedError: no poem can be so, or none was found.
    """
    steps = iter_poems(
        model, tokenizer, catalogue, request, sampling, generator, particles=particles
    )
    *_, last = steps
    return list(last.poems)


def iter_poems(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    catalogue: Catalogue | None,
    request: Request,
    sampling: Sampling | None = None,
    generator: torch.Generator | None = None,
    *,
    particles: int = PARTICLES,
) -> Iterator[Progress]:
    """Write poems as `write_poems`, and yield them as they grow; the last are finished.

    A request that no poem can satisfy is refused here, before the first step.
    """
    plan = resolve(request, tokenizer, catalogue, partial(word_costs, model))
    sampling = sampling or Sampling()
    if generator is None:
        device = model.lm_head.weight.device
        generator = torch.Generator(device).manual_seed(sampling.seed)
    return _write(model, tokenizer, plan, sampling, generator, particles)


def word_costs(model: LanguageModel, prompt: Sequence[int], word: Sequence[int]) -> list[float]:
    """Return −log p of each character of a word at the beginning of a poem."""
    ids = torch.tensor([[*prompt, *word]], device=model.lm_head.weight.device)
    ids = ids[:, -model.block_size - 1 :]
    with torch.no_grad(), evaluating(model):
        logits, _ = model(ids[:, :-1])
    logs = logits[0, -len(word) :].float().log_softmax(dim=-1)
    found: list[float] = (-logs.gather(1, ids[0, -len(logs) :, None])[:, 0]).tolist()
    return found[:1] * (len(word) - len(found)) + found  # a word may be longer than the context


def _write(
    model: LanguageModel,
    tokenizer: CharTokenizer,
    plan: Plan,
    sampling: Sampling,
    generator: torch.Generator,
    particles: int,
) -> Iterator[Progress]:
    """Yield the poems of a plan as they grow."""
    poems: list[list[int]] = []
    growing: list[list[int]] = []

    def progress(awaits: Context | None, finished: bool = False) -> Progress:
        texts = [tokenizer.decode(ids) for ids in [*poems, *growing]]
        texts += [""] * (sampling.count - len(texts))
        return Progress(tuple(texts), finished, plan.notes, awaits)

    with packed(model):
        if plan.predicate is None:
            growing += [list(plan.opening) for _ in range(sampling.count)]
            for context in _write_freely(model, plan, sampling, generator, growing):
                yield progress(context)
            poems += growing
            growing.clear()
        elif plan.plain and _can_reject(plan, sampling):
            for context in _reject(model, plan, sampling, generator, poems):
                yield progress(context)
        while len(poems) < sampling.count:
            count = min(sampling.count - len(poems), max(1, ROWS // particles))
            growing += [[] for _ in range(count)]
            for context in _write_some(model, plan, sampling, generator, particles, growing):
                yield progress(context)
            poems += growing
            growing.clear()
        yield progress(None, finished=True)


def _write_freely(
    model: LanguageModel,
    plan: Plan,
    sampling: Sampling,
    generator: torch.Generator,
    poems: list[list[int]],
) -> Iterator[Context]:
    """Continue poems of which nothing is demanded, and yield their texts before each step."""
    context = Context(model, [*plan.prompt, *plan.opening], len(poems))
    going = list(range(len(poems)))
    for _ in range(sampling.max_new_tokens):
        yield context
        logits = context.logits()
        drop_specials(logits, plan.end_id)
        # One number for each poem, ended or not: no poem depends on another.
        points = torch.rand(len(poems), 1, generator=generator, device=context.ids.device)[going]
        following = sample(
            logits, points, sampling.temperature, sampling.top_k or None, sampling.top_p
        )[:, 0]
        context.append(following)
        for poem, token in zip(going, following.tolist(), strict=True):
            poems[poem] += [token] * (token != plan.end_id)
        rows = (following != plan.end_id).nonzero()[:, 0]
        if len(rows) == 0:
            break
        if len(rows) < len(going):
            context.keep(rows)
            going = [going[row] for row in rows.tolist()]


def _can_reject(plan: Plan, sampling: Sampling) -> bool:
    """Tell whether rejection has the distribution that particles approach, and a fair chance.

    Among the likeliest of all tokens there may be none that is allowed.
    """
    whole = not sampling.top_k and sampling.top_p == 1 and sampling.temperature >= COLDEST
    return whole and plan.end_id != BEGIN_ID


def _reject(
    model: LanguageModel,
    plan: Plan,
    sampling: Sampling,
    generator: torch.Generator,
    poems: list[list[int]],
) -> Iterator[Context]:
    """Add the poems that rejection finds, at most as many as are asked for.

    A poem is tried alone at first: most attempts of a finetuned model succeed, and a server has
    others to compute beside it. Each further try is with more attempts.
    """
    assert plan.predicate is not None
    tried = accepted = 0
    while (missing := sampling.count - len(poems)) > 0:
        attempts = min(ROWS, missing + missing // 8 + min(tried, 3))
        found = yield from write_attempts(
            model,
            plan.prompt,
            plan.predicate,
            end_id=plan.end_id,
            attempts=attempts,
            temperature=sampling.temperature,
            generator=generator,
        )
        poems += found[:missing]
        tried, accepted = tried + attempts, accepted + len(found)
        if tried >= LEAST_TRIED and accepted < LEAST_ACCEPTED * tried:
            break


def _write_some(
    model: LanguageModel,
    plan: Plan,
    sampling: Sampling,
    generator: torch.Generator,
    particles: int,
    poems: list[list[int]],
) -> Iterator[Context]:
    """Write poems by particles in place of those that are there, and yield what each step awaits.

    Raises:
        RefusedError: all particles of a poem died, in each try.
    """
    assert plan.predicate is not None
    left = list(range(len(poems)))
    for factor in TRIES:
        failed: list[int] = []
        for at in range(0, len(left), step := max(1, ROWS // (particles * factor))):
            some = left[at : at + step]
            for draft in write_populations(
                model,
                plan.prompt,
                plan.predicate,
                end_id=plan.end_id,
                populations=len(some),
                particles=particles * factor,
                sampling=sampling,
                generator=generator,
            ):
                for place, text in zip(some, draft.texts, strict=True):
                    poems[place] = text
                if draft.awaits:
                    yield draft.awaits
            failed += [i for i, died in zip(some, draft.failed, strict=True) if died]
        left = failed
        if not left:
            return
    attempts = particles * sum(TRIES)
    raise RefusedError(
        f"no poem was found in {attempts} attempts: ask for less at once, or raise the temperature",
        f"试了 {attempts} 次也没有写成：请减少要求，或调高温度",
    )
