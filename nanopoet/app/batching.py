"""Continuous batching: the poems of all requests grow together, a token each in one forward pass.

A poem joins as soon as there is room for it, and leaves as soon as it is finished
(Yu et al. 2022, https://www.usenix.org/conference/osdi22/presentation/yu).
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, Event, move_on_after, to_thread

from nanopoet.models.generate import NextTokenModel
from nanopoet.models.kv_pool import KVPool
from nanopoet.writing.context import Context, compute
from nanopoet.writing.write import Progress

Result = TypeVar("Result")

ROWS = 64
"""Texts that one forward pass continues, at most. On two cores each further one takes as long."""
PACE = 0.05
"""Least number of seconds between two drafts of a poem."""


class _Poem:
    """A poem that grows.

    Attributes:
        progress: its newest step; None before the first.
        error: what ended it instead of its last step.
        ended: is set by its last step or the error.
        left: whether its reader has gone.
    """

    def __init__(self, steps: Iterator[Progress]) -> None:
        self._steps = steps
        self.progress: Progress | None = None
        self.error: Exception | None = None
        self.ended = Event()
        self.left = False

    @property
    def awaits(self) -> Context | None:
        """The texts whose logits the next step needs."""
        return self.progress.awaits if self.progress else None

    def step(self) -> Progress | Exception:
        """Take the next step, in a thread, and return it."""
        try:
            return next(self._steps)
        except Exception as error:  # raised again where the poem is read
            return error

    def show(self, step: Progress | Exception) -> None:
        """Let the reader see a step."""
        if isinstance(step, Exception):
            self.error = step
        else:
            self.progress = step
        if self.error or (self.progress and self.progress.finished):
            self.ended.set()


class BatchedWriting:
    """Writes poems together, in a thread.

    Poems begin in the order in which they were asked for. One that finds too few free rows waits,
    and all later ones wait behind it. No poem depends on the others.

    Args:
        model: writes all poems.
    """

    def __init__(self, model: NextTokenModel) -> None:
        self._pool = KVPool(model.block_size, ROWS)
        self._in_pool: set[Context] = set()
        self._thread = CapacityLimiter(1)
        self._poems: list[_Poem] = []  # the oldest first
        self._asked = Event()

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run what takes long, between two steps."""
        return await to_thread.run_sync(work, limiter=self._thread)

    async def write(self, steps: Iterator[Progress]) -> AsyncGenerator[Progress]:
        """Write one poem, and yield its newest step now and then; the last is finished.

        A poem does not wait for its reader.
        """
        poem = _Poem(steps)
        self._poems.append(poem)
        self._asked.set()
        try:
            while not poem.ended.is_set():
                with move_on_after(PACE):
                    await poem.ended.wait()
                if poem.error:
                    raise poem.error
                if poem.progress:
                    yield poem.progress
        finally:
            poem.left = True

    async def run(self) -> None:
        """Write all poems that are asked for, until cancelled."""
        while True:
            self._poems = [p for p in self._poems if not (p.left or p.ended.is_set())]
            for poem, step in await self.in_thread(partial(self._step, tuple(self._poems))):
                poem.show(step)
            if not self._poems:
                self._asked = Event()
                await self._asked.wait()

    def _step(self, poems: Sequence[_Poem]) -> list[tuple[_Poem, Progress | Exception]]:
        """Take the next step of each poem that has room."""
        growing = list(poems)
        try:
            for context in self._in_pool - {poem.awaits for poem in poems}:
                context.leave()
            growing = self._having_room(poems)
            # A poem with more texts than the pool has rows is computed by itself.
            awaited = (poem.awaits for poem in growing)
            contexts = [context for context in awaited if context and context.rows <= ROWS]
            self._in_pool = set(contexts)
            if contexts:
                compute(contexts, self._pool)
        except Exception as error:  # as out of memory
            return [(poem, error) for poem in growing]
        return [(poem, poem.step()) for poem in growing]

    def _having_room(self, poems: Sequence[_Poem]) -> list[_Poem]:
        free = len(self._pool.free)
        found = []
        for poem in poems:
            context = poem.awaits
            if context and context not in self._in_pool and context.rows <= ROWS:
                free -= context.rows
                if free < 0:
                    continue
            found.append(poem)
        return found
