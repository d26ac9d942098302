"""Poems with their fields, as a finetuned model reads them.

A poem is `B A author a S style s T title t C content c`, and absent fields are left out. What
stands before the content tells the model what is asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Self

import numpy as np

from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.batches import Batch
from nanopoet.tokens.tokenizer import (
    AUTHOR,
    AUTHOR_END,
    BEGIN_ID,
    CONTENT,
    CONTENT_END,
    PADDING_ID,
    SPECIAL_TOKENS,
    STYLE,
    STYLE_END,
    TITLE,
    TITLE_END,
    CharTokenizer,
)

_PIECES = (
    ("author", AUTHOR, AUTHOR_END),
    ("style", STYLE, STYLE_END),
    ("title", TITLE, TITLE_END),
    ("content", CONTENT, CONTENT_END),
)
"""Pieces of a poem in their order, and the tokens around each."""
FIELDS = tuple(name for name, _, _ in _PIECES[:-1])
"""The fields that may be asked for or left out."""
_POEMS = 4096
"""Poems encoded at once: enough for NumPy to be fast, few enough for memory."""


def encode_request(
    tokenizer: CharTokenizer, author: str = "", style: str = "", title: str = ""
) -> list[int]:
    """Return the ids from BEGIN to CONTENT, after which the model writes the content.

    >>> tokenizer = CharTokenizer.from_characters("月李白")
    >>> tokenizer.decode(encode_request(tokenizer, author="李白", title="月"))
    'BA李白aT月tC'
    """
    ids = [BEGIN_ID]
    for text, (_, begin, end) in zip((author, style, title), _PIECES, strict=False):
        if text:
            ids += [*tokenizer.encode(begin), *tokenizer.encode(text), *tokenizer.encode(end)]
    return [*ids, *tokenizer.encode(CONTENT)]


def encode_prompt(prompt: str, tokenizer: CharTokenizer, *, takes_fields: bool) -> list[int]:
    """Return the ids that a model continues: what stands before a poem, and its beginning.

    Args:
        prompt: how the poem begins.
        tokenizer: the vocabulary.
        takes_fields: whether the model is finetuned; then none of its fields is given.

    >>> tokenizer = CharTokenizer.from_characters("春")
    >>> tokenizer.decode(encode_prompt("春", tokenizer, takes_fields=True))
    'BC春'
    """
    before = encode_request(tokenizer) if takes_fields else [BEGIN_ID]
    return [*before, *tokenizer.encode(prompt)]


@dataclass(frozen=True)
class FieldPoems:
    """N poems as the ids of their pieces.

    Attributes:
        tokens: (n,) ids of all pieces, one after the other, with the tokens around each.
        ends: (N, 5) int64; piece k of poem i is `tokens[ends[i, k]:ends[i, k + 1]]`. The piece of
            an absent field is empty.
    """

    tokens: Array
    ends: Array

    @classmethod
    def of(cls, poems: Iterable[Poem], tokenizer: CharTokenizer) -> Self:
        """Encode poems, which are read once."""
        poems, parts, lengths = iter(poems), [], []
        while batch := list(islice(poems, _POEMS)):
            texts = [poem[name] for poem in batch for name, _, _ in _PIECES]  # type: ignore[literal-required]
            # A place of its own for the tokens around each piece.
            ids = tokenizer.encode_array("".join(f" {text} " if text else "" for text in texts))
            sizes = np.array([len(text) + 2 if text else 0 for text in texts])
            ends = np.cumsum(sizes)
            for place, (_, begin, end) in enumerate(_PIECES):
                has = sizes[place :: len(_PIECES)] > 0
                last = ends[place :: len(_PIECES)][has]
                ids[last - sizes[place :: len(_PIECES)][has]] = SPECIAL_TOKENS.index(begin)
                ids[last - 1] = SPECIAL_TOKENS.index(end)
            parts.append(ids)
            lengths.append(sizes)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        starts = np.arange(0, len(offsets) - 1, len(_PIECES))
        return cls(np.concatenate(parts), offsets[starts[:, None] + np.arange(len(_PIECES) + 1)])

    def __len__(self) -> int:
        return len(self.ends)

    def ids(self, poem: int, kept: Array) -> tuple[Array, int]:
        """Return the ids of a poem with the fields of `kept` (3,), and the place of CONTENT."""
        ends = self.ends[poem]
        pieces = [self.tokens[ends[k] : ends[k + 1]] for k in np.flatnonzero(kept)]
        before = np.concatenate([[BEGIN_ID], *pieces]).astype(np.int64)
        return np.concatenate([before, self.tokens[ends[-2] : ends[-1]]]), len(before)


class FieldBatches:
    """Training batches of poems whose fields are sometimes left out.

    A row holds whole poems and then PADDING. A poem that is longer than a row is cut. Each epoch
    has its own order, and draws for each field of each poem whether it is left out.

    Args:
        poems: the training poems.
        block_size: T, tokens of a row.
        batch_size: B, rows of a batch.
        field_dropout: probability to leave out a field.
        content_only: whether the target of a token before the content is PADDING, which has no
            loss.
        seed: decides, with the number of the epoch, what is drawn.
    """

    def __init__(
        self,
        poems: FieldPoems,
        block_size: int,
        batch_size: int,
        *,
        field_dropout: float,
        content_only: bool,
        seed: int,
    ) -> None:
        self._poems, self._block_size, self._batch_size = poems, block_size, batch_size
        self._field_dropout, self._content_only, self._seed = field_dropout, content_only, seed
        self._plan = lru_cache(maxsize=2)(self._draw_epoch)
        self._batches: list[int] = []  # of each epoch

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Return the rows of an update."""
        del rng  # an epoch has one of its own
        epoch = 0
        while True:
            if epoch == len(self._batches):
                self._batches.append(max(1, len(self._plan(epoch)[1]) // self._batch_size))
            if step < self._batches[epoch]:
                break
            step -= self._batches[epoch]
            epoch += 1
        kept, rows = self._plan(epoch)
        pairs = []
        for place in range(step * self._batch_size, (step + 1) * self._batch_size):
            poems = [self._poems.ids(i, kept[i]) for i in rows[place % len(rows)]]
            pairs.append(_row(poems, self._block_size, self._content_only))
        inputs, targets = zip(*pairs, strict=True)
        return Batch(np.stack(inputs), np.stack(targets))

    def _draw_epoch(self, epoch: int) -> tuple[Array, list[list[int]]]:
        """Draw which fields of the N poems are kept, (N, 3), and the poems of each row."""
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._poems))
        kept = rng.random((len(self._poems), len(FIELDS))) >= self._field_dropout
        sizes = np.diff(self._poems.ends, axis=1)
        lengths = 1 + (sizes[:, :-1] * kept).sum(axis=1) + sizes[:, -1]
        rows = best_fit(lengths[order].tolist(), self._block_size + 1)
        return kept, [order[rows[i]].tolist() for i in rng.permutation(len(rows))]


def best_fit(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Put things in rows, each into the fullest row that has space, or else into a new row.

    So rows have little padding (Ding et al. 2024, https://arxiv.org/abs/2404.10830).

    Args:
        sizes: size of each thing. What is larger than a row gets a row of its own.
        capacity: size of a row.

    Returns:
        the indices of the things in each row.

    >>> best_fit([3, 4, 1, 2, 9], capacity=5)
    [[0, 3], [1, 2], [4]]
    """
    rows: list[list[int]] = []
    by_space: list[list[int]] = [[] for _ in range(capacity)]  # rows that are not empty
    for thing, size in enumerate(sizes):
        size = min(size, capacity)
        space = next((s for s in range(size, capacity) if by_space[s]), capacity)
        if space < capacity:
            row = by_space[space].pop()
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(thing)
        by_space[space - size].append(row)
    return rows


def _row(
    poems: Sequence[tuple[Array, int]], block_size: int, content_only: bool
) -> tuple[Array, Array]:
    """Lay poems side by side as inputs and targets, (T,) each."""
    size = block_size + 1
    row = np.full(size, PADDING_ID, dtype=np.int64)
    counts = np.zeros(size, dtype=bool)
    start = 0
    for ids, content in poems:
        end = min(size, start + len(ids))
        row[start:end] = ids[: end - start]
        counts[start + (content + 1 if content_only else 1) : end] = True
        start = end
    return row[:-1], np.where(counts, row, PADDING_ID)[1:]


def field_windows(poems: FieldPoems, block_size: int, count: int) -> tuple[Array, Array]:
    """Return inputs and targets (count, T), int64, of poems with all fields, spread evenly.

    Each row holds one poem, and only its content has targets. A long poem is cut.
    """
    chosen = np.linspace(0, len(poems) - 1, count).astype(np.int64)
    kept = np.ones(len(FIELDS), dtype=bool)
    rows = [_row([poems.ids(poem, kept)], block_size, content_only=True) for poem in chosen]
    inputs, targets = zip(*rows, strict=True)
    return np.stack(inputs), np.stack(targets)
