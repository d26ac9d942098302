"""Poems that are written together: as alone, in few forward passes, in turn."""

import random
from collections.abc import Iterator, Sequence
from functools import partial

import anyio
import pytest
import torch
from torch import Tensor

from nanopoet.app import batching
from nanopoet.app.batching import BatchedWriting
from nanopoet.common.errors import NanopoetError
from nanopoet.models.kv_pool import KVPool
from nanopoet.models.sampling import Sampling
from nanopoet.ops.linear import packed
from nanopoet.writing.context import Context, compute
from nanopoet.writing.request import Request
from nanopoet.writing.write import Progress
from tests.support.web import finetuned_writer

WRITER = finetuned_writer()
CLIENTS = 32
RULES = Request(form="五绝", keep_rules=True)
REQUESTS = [
    Request(),
    Request(opening="山光"),
    Request(form="七绝", author="李白", title="静夜思"),
    RULES,
    Request(draft="山光，？？？？。"),
]
Steps = Iterator[Progress]
Outcome = tuple[str, ...] | Exception


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PACE", 0.001)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of tokens of each forward pass of the model."""
    counts: list[int] = []
    hidden = WRITER.model.hidden

    def count(idx: Tensor, *arguments: object) -> Tensor:
        counts.append(idx.numel())
        return hidden(idx, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(WRITER.model, "hidden", count)
    return counts


def steps_of(request: Request, seed: int, longest: int = 40) -> Steps:
    generator = torch.Generator().manual_seed(seed)
    return WRITER.write(request, Sampling(max_new_tokens=longest), generator)


def together(poems: Sequence[Steps]) -> list[Outcome]:
    """Write poems together, and return what became of each."""
    outcomes: dict[int, Outcome] = {}

    async def read(writing: BatchedWriting, number: int, steps: Steps) -> None:
        try:
            async for step in writing.write(steps):
                outcomes[number] = step.poems
        except (NanopoetError, RuntimeError) as error:
            outcomes[number] = error

    async def run() -> None:
        writing = BatchedWriting(WRITER.model)
        with anyio.fail_after(300):
            async with anyio.create_task_group() as server:
                server.start_soon(writing.run)
                async with anyio.create_task_group() as readers:
                    for number, steps in enumerate(poems):
                        readers.start_soon(read, writing, number, steps)
                server.cancel_scope.cancel()

    with packed(WRITER.model):
        anyio.run(run)
    return [outcomes[number] for number in range(len(poems))]


def alone(steps: Steps) -> Outcome:
    [outcome] = together([steps])
    return outcome


def test_requests_that_wait_share_their_forward_passes(passes: list[int]) -> None:
    lengths = []
    for seed in range(CLIENTS):
        before = len(passes)
        alone(steps_of(Request(), seed))
        lengths.append(len(passes) - before)
    passes.clear()
    together([steps_of(Request(), seed) for seed in range(CLIENTS)])
    assert len(passes) == max(lengths)
    assert 8 * len(passes) < sum(lengths)


def test_a_poem_does_not_depend_on_the_others() -> None:
    poems = [(request, seed) for seed in range(6) for request in REQUESTS]
    expected = [alone(steps_of(*poem)) for poem in poems]
    assert together([steps_of(*poem) for poem in poems]) == expected


def test_poems_begin_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each poem with rules takes 16 rows, so two at a time find room."""
    monkeypatch.setattr(batching, "ROWS", 40)
    rows: list[int] = []

    def count(contexts: Sequence[Context], pool: KVPool) -> None:
        rows.append(sum(context.rows for context in contexts))
        compute(contexts, pool)

    def watched(number: int, steps: Steps) -> Steps:
        for step in steps:
            yield step
            grown.append(number)

    monkeypatch.setattr(batching, "compute", count)
    grown: list[int] = []
    requests = [RULES, RULES, RULES, Request(), RULES]
    together(
        [watched(number, steps_of(request, number)) for number, request in enumerate(requests)]
    )
    begun = [grown.index(number) for number in range(len(requests))]
    assert begun == sorted(begun)
    assert begun[2] > begun[1] + 1
    assert max(rows) <= 40


def test_a_poem_larger_than_the_pool_is_written_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROWS", 8)
    expected = [alone(steps_of(request, 1)) for request in (RULES, Request())]
    assert together([steps_of(request, 1) for request in (RULES, Request())]) == expected


def test_an_error_ends_its_own_poem() -> None:
    def failing() -> Steps:
        yield Progress(("山",), finished=False)
        raise NanopoetError("no poem was found")

    first, failed, second = together([steps_of(RULES, 1), failing(), steps_of(Request(), 1)])
    assert str(failed) == "no poem was found"
    assert (first, second) == (alone(steps_of(RULES, 1)), alone(steps_of(Request(), 1)))


def test_a_pass_that_fails_ends_the_poems_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [RuntimeError("out of memory")]

    def fail_once(contexts: Sequence[Context], pool: KVPool) -> None:
        if failures:
            raise failures.pop()
        compute(contexts, pool)

    monkeypatch.setattr(batching, "compute", fail_once)
    monkeypatch.setattr(batching, "ROWS", 16)
    first, second = together([steps_of(RULES, 1), steps_of(RULES, 2)])
    assert str(first) == "out of memory"
    assert second == alone(steps_of(RULES, 2))


def test_a_poem_ends_when_its_reader_leaves() -> None:
    """Its rows are free for the poem that waits for them."""

    async def run() -> tuple[str, ...]:
        writing = BatchedWriting(WRITER.model)
        steps = [steps_of(Request(), seed, longest=1000) for seed in range(batching.ROWS)]
        with anyio.fail_after(300):
            async with anyio.create_task_group() as server:
                server.start_soon(writing.run)
                async with anyio.create_task_group() as readers:
                    for each in steps:
                        readers.start_soon(partial(_drain, writing, each))
                    await anyio.sleep(0.2)
                    readers.cancel_scope.cancel()
                async for last in writing.write(steps_of(RULES, 1)):
                    poems = last.poems
                server.cancel_scope.cancel()
        return poems

    with packed(WRITER.model):
        assert anyio.run(run) == alone(steps_of(RULES, 1))


def test_no_row_is_lost_when_readers_come_and_go() -> None:
    """Some leave before the first step, some in the middle, some while their poem waits."""
    rng = random.Random(1)  # noqa: S311

    async def read(writing: BatchedWriting, seed: int) -> None:
        with anyio.move_on_after(rng.choice([0, 0.02, 0.1, 300])):
            await _drain(writing, steps_of(rng.choice(REQUESTS), seed))

    async def run() -> list[int]:
        writing = BatchedWriting(WRITER.model)
        with anyio.fail_after(300):
            async with anyio.create_task_group() as server:
                server.start_soon(writing.run)
                for first in range(0, 48, 16):
                    async with anyio.create_task_group() as readers:
                        for seed in range(first, first + 16):
                            readers.start_soon(read, writing, seed)
                async for _ in writing.write(steps_of(Request(), 1)):
                    pass
                while len(writing._pool.free) < batching.ROWS:
                    await anyio.sleep(0.01)
                server.cancel_scope.cancel()
        return writing._pool.free

    with packed(WRITER.model):
        assert sorted(anyio.run(run)) == list(range(batching.ROWS))


async def _drain(writing: BatchedWriting, steps: Steps) -> None:
    async for _ in writing.write(steps):
        pass
