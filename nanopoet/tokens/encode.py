"""Encoding of poems as token arrays."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import atomic_write
from nanopoet.common.types import Array
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.dataset import OFFSETS, TOKENS, TokenArrays
from nanopoet.tokens.tokenizer import BEGIN_ID, UNKNOWN_ID, CharTokenizer

_POEMS = 4096
"""Poems encoded at once: enough for NumPy to be fast, few enough for memory."""


class UnknownCharacterError(NanopoetError):
    """A poem with a character that the vocabulary lacks; the text of the error says which poem."""


def encode_poems(poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool) -> TokenArrays:
    """Encode the contents of N poems as arrays in memory.

    Args:
        poems: the poems, read once.
        tokenizer: the vocabulary; a character that it lacks becomes the token U.
        separate: whether to put BEGIN before each poem.

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
    offsets = np.concatenate([np.zeros(1, np.int64), *(ends for _, ends in parts)])
    return TokenArrays(tokens, offsets)


def encode_to(
    folder: str | Path, poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool
) -> TokenArrays:
    """Encode poems into the files of a folder, with the bytes that `TokenArrays.save` writes.

    Tokens go to the file as they come, because counting them first would read all poems twice.
    Memory holds a few thousand poems and 8 bytes for each poem.

    Args:
        folder: created if it is missing.
        poems: the poems, read once.
        tokenizer: the vocabulary.
        separate: whether to put BEGIN before each poem.

    Returns:
        The arrays, memory-mapped from the files.

    Raises:
        UnknownCharacterError: the vocabulary lacks a character. Files of before stay.
    """
    offsets = [np.zeros(1, np.int64)]
    with atomic_write(Path(folder) / TOKENS) as file:
        _write_header(file, tokenizer.dtype, 0)
        start = file.tell()
        for ids, ends in _encoded(poems, tokenizer, separate):
            if len(unknown := np.flatnonzero(ids == UNKNOWN_ID)):
                end = offsets[-1][-1] + unknown[0]
                number = sum(map(len, offsets)) + int(np.searchsorted(ends, end, side="right"))
                raise UnknownCharacterError(f"poem {number:,}")
            file.write(ids.tobytes())
            offsets.append(ends)
        file.seek(0)
        _write_header(file, tokenizer.dtype, int(offsets[-1][-1]))
        assert file.tell() == start, "NumPy pads the header for a longer shape"
    with atomic_write(Path(folder) / OFFSETS) as file:
        np.save(file, np.concatenate(offsets), allow_pickle=False)
    return TokenArrays.load(folder)


def _encoded(
    poems: Iterable[Poem], tokenizer: CharTokenizer, separate: bool
) -> Iterator[tuple[Array, Array]]:
    """Yield the ids of some thousand poems, and the end of each poem among all ids."""
    poems, end = iter(poems), 0
    while contents := [poem["content"] for poem in islice(poems, _POEMS)]:
        ids = tokenizer.encode_array("".join(contents))
        lengths = np.array([len(content) for content in contents])
        if separate:
            ids = np.insert(ids, np.cumsum(lengths) - lengths, BEGIN_ID)
            lengths += 1
        yield ids, end + np.cumsum(lengths)
        end += len(ids)


def _write_header(file: IO[bytes], dtype: np.dtype[Any], length: int) -> None:
    """Write the header that `np.save` gives an array (length,)."""
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
