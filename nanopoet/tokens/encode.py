"""Poems → token arrays."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nanopoet.common.files import atomic_write
from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.tokenizer import BEGIN_ID, CharTokenizer


def encode_poems(poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool) -> TokenArrays:
    """Encode the contents of poems, if `separate` with BEGIN before each.

    >>> poems = [Poem(content=c, title="", author="", style="") for c in ("春眠", "不覺曉")]
    >>> tokenizer = CharTokenizer(poems)
    >>> arrays = encode_poems(poems, tokenizer, separate=False)
    >>> arrays.tokens.tolist(), arrays.offsets.tolist()
    ([12, 14, 11, 15, 13], [0, 2, 5])
    >>> arrays = encode_poems(poems, tokenizer, separate=True)
    >>> arrays.tokens.tolist(), arrays.offsets.tolist()
    ([0, 12, 14, 0, 11, 15, 13], [0, 3, 7])
    """
    parts = list(_encoded(poems, tokenizer, separate))
    tokens = np.concatenate([np.empty(0, tokenizer.dtype), *(ids for ids, _ in parts)])
    ends = np.concatenate([np.zeros(1, np.int64), *(ends for _, ends in parts)])
    return TokenArrays(tokens, ends)


def encode_to(
    folder: str | Path, poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool
) -> TokenArrays:
    """`encode_poems` into the files of a folder, without holding more than a few thousand poems."""
    folder = Path(folder)
    with (
        _growing_array(folder / "tokens.npy", tokenizer.dtype) as tokens,
        _growing_array(folder / "offsets.npy", np.dtype(np.int64)) as offsets,
    ):
        offsets(np.zeros(1, np.int64))
        for ids, ends in _encoded(poems, tokenizer, separate):
            tokens(ids)
            offsets(ends)
    return TokenArrays.load(folder)


def _encoded(
    poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool
) -> Iterator[tuple[Array, Array]]:
    """The ids of some thousand poems, and where each of them ends among all ids."""
    poems, end = iter(poems), 0
    while contents := [poem["content"] for poem in islice(poems, 4096)]:
        ids = tokenizer.encode_array("".join(contents))
        lengths = np.array([len(content) for content in contents])
        if separate:
            ids = np.insert(ids, np.cumsum(lengths) - lengths, BEGIN_ID)
            lengths += 1
        yield ids, end + np.cumsum(lengths)
        end += len(ids)


@contextmanager
def _growing_array(path: Path, dtype: np.dtype[Any]) -> Iterator[Callable[[Array], None]]:
    """An array file as `np.save` writes it, to which parts are added."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    size = 0
    with atomic_write(path) as file:
        # NumPy pads a header so that a longer shape has room in it.
        np.lib.format.write_array_header_1_0(file, header | {"shape": (0,)})
        start = file.tell()

        def add(part: Array) -> None:
            nonlocal size
            file.write(part.astype(dtype, copy=False).tobytes())
            size += len(part)

        yield add
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (size,)})
        assert file.tell() == start
