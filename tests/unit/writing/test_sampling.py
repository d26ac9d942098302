"""Samples have the model's distribution on condition of a predicate, by enumeration."""

from collections import Counter
from collections.abc import Generator

import pytest
import torch

from nanopoet.models.sampling import Sampling
from nanopoet.tokens.tokenizer import BEGIN_ID, CONTENT_END_ID
from nanopoet.writing.build import Wishes, build
from nanopoet.writing.particles import Draft, write_populations
from nanopoet.writing.predicate import Either, Predicate
from nanopoet.writing.rejection import write_attempts
from nanopoet.writing.shapes import Shape
from tests.support.writing import exact_distribution, make_vocabulary, peaked_model

VOCABULARY = make_vocabulary("光霜月山")
MODEL = peaked_model(VOCABULARY.tokenizer)
POEMS = 300
"""Poems of each sample."""


def predicate_of(*shapes: Shape, wishes: Wishes) -> Predicate:
    return Either([build(VOCABULARY, shape, wishes, CONTENT_END_ID) for shape in shapes])


PREDICATES = {
    "rhymes": predicate_of(Shape((2, 1), "aa"), wishes=Wishes(rhymes=True)),
    "shapes": predicate_of(Shape((1, 2), "--"), Shape((1, 1), "--"), wishes=Wishes()),
    "keywords": predicate_of(
        Shape((3, 1), "--"), wishes=Wishes(keywords=("山光",), costs=((1.0, 1.0),))
    ),
    "fixed": predicate_of(Shape((2, 2), "--"), wishes=Wishes(draft="？？，山？。")),
}


def distance(sample: list[list[int]], exact: dict[tuple[int, ...], float]) -> float:
    """Return the total variation distance of a sample from a distribution."""
    counts = Counter(map(tuple, sample))
    assert set(counts) <= set(exact)
    return sum(abs(counts[text] / len(sample) - p) for text, p in exact.items()) / 2


def distances_by_chance(exact: dict[tuple[int, ...], float], size: int) -> list[float]:
    """Return the distances of 200 exact samples, sorted."""
    texts, shares = list(exact), torch.tensor(list(exact.values()))
    generator = torch.Generator().manual_seed(1)
    draws = shares.expand(200, -1).multinomial(size, replacement=True, generator=generator)
    return sorted(distance([list(texts[i]) for i in row], exact) for row in draws.tolist())


def result_of(steps: Generator[object, None, list[list[int]]]) -> list[list[int]]:
    """Take all steps, and return what they lead to."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: list[list[int]] = end.value
            return found


def by_particles(predicate: Predicate, particles: int) -> list[list[int]]:
    steps = write_populations(
        MODEL,
        [BEGIN_ID],
        predicate,
        end_id=CONTENT_END_ID,
        populations=POEMS,
        particles=particles,
        sampling=Sampling(),
        generator=torch.Generator().manual_seed(0),
    )
    last: Draft
    *_, last = steps
    assert last.awaits is None
    return [text for text, failed in zip(last.texts, last.failed, strict=True) if not failed]


@pytest.mark.parametrize("name", PREDICATES)
def test_particles_approach_the_exact_distribution(name: str) -> None:
    """One particle is plain masking, the control: its distance is far larger."""
    exact = exact_distribution(MODEL, [BEGIN_ID], PREDICATES[name], CONTENT_END_ID)
    assert len(exact) >= 8
    masking, few, many = (
        distance(by_particles(PREDICATES[name], particles), exact) for particles in (1, 3, 24)
    )
    by_chance = distances_by_chance(exact, POEMS)[-1]
    assert many < by_chance + 0.03
    assert masking > few + 0.05 > many + 0.06


@pytest.mark.parametrize(
    "predicate",
    [PREDICATES["shapes"], predicate_of(Shape((2,), "-"), wishes=Wishes())],
)
def test_rejection_is_exact(predicate: Predicate) -> None:
    exact = exact_distribution(MODEL, [BEGIN_ID], predicate, CONTENT_END_ID)
    steps = write_attempts(
        MODEL,
        [BEGIN_ID],
        predicate,
        end_id=CONTENT_END_ID,
        attempts=50_000,
        temperature=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    sample = result_of(steps)
    assert len(sample) > 100
    assert distance(sample, exact) <= distances_by_chance(exact, len(sample))[-3]
    masked = by_particles(predicate, 1)
    assert distance(masked, exact) > distances_by_chance(exact, POEMS)[-1] + 0.03
