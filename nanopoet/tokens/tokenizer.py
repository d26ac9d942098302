"""Text ↔ token ids, with one token per character."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from nanopoet.common.errors import FileError
from nanopoet.common.files import write_json
from nanopoet.corpus.poems import Poem


class SpecialToken(str):
    """A token that marks structure. It compares equal to its letter; text never yields it."""

    __slots__ = ()


BEGIN = SpecialToken("B")
PADDING = SpecialToken("P")
UNKNOWN = SpecialToken("U")
AUTHOR, AUTHOR_END = SpecialToken("A"), SpecialToken("a")
STYLE, STYLE_END = SpecialToken("S"), SpecialToken("s")
TITLE, TITLE_END = SpecialToken("T"), SpecialToken("t")
CONTENT, CONTENT_END = SpecialToken("C"), SpecialToken("c")
SPECIAL_TOKENS = (
    BEGIN,
    PADDING,
    UNKNOWN,
    AUTHOR,
    AUTHOR_END,
    STYLE,
    STYLE_END,
    TITLE,
    TITLE_END,
    CONTENT,
    CONTENT_END,
)
"""The special tokens in the order of their ids, 0 to 10."""
BEGIN_ID = SPECIAL_TOKENS.index(BEGIN)
"""Id of BEGIN, 0."""
PADDING_ID = SPECIAL_TOKENS.index(PADDING)
"""Id of PADDING, 1: as a target, it has no loss."""
UNKNOWN_ID = SPECIAL_TOKENS.index(UNKNOWN)
"""Id of UNKNOWN, 2, of a character that the vocabulary lacks."""
CONTENT_END_ID = SPECIAL_TOKENS.index(CONTENT_END)
"""Id of CONTENT_END, 10, with which a finetuned model ends a poem."""

_UNICODE = 0x110000
"""Number of code points."""
_CHUNK = 1 << 16
"""Characters looked up at once: few enough for the cache of a core."""


class CharTokenizer:
    """A vocabulary: the special tokens, then the sorted characters of a corpus.

    Args:
        poems: the corpus; all four fields of each poem give characters.

    Attributes:
        vocab_size: number of tokens.
        dtype: the smaller of uint16 and uint32 that holds every id.

    >>> tokenizer = CharTokenizer([Poem(content="床前明月光", title="", author="李白", style="")])
    >>> tokenizer.vocab_size
    18
    >>> tokenizer.encode("明月光B")
    [14, 15, 11, 2]
    >>> tokenizer.encode(BEGIN)
    [0]
    >>> tokenizer.decode([14, 15, 11])
    '明月光'
    """

    def __init__(self, poems: Iterable[Poem]) -> None:
        seen = np.zeros(_UNICODE, dtype=bool)
        poems = iter(poems)
        while batch := list(islice(poems, 1024)):
            fields = [field for poem in batch for field in poem.values()]
            seen[_code_points("".join(fields))] = True  # type: ignore[arg-type]
        self._index(np.flatnonzero(seen))

    @classmethod
    def from_characters(cls, characters: str) -> Self:
        """Make a tokenizer for the characters of a text, in any order."""
        return cls([Poem(content=characters, title="", author="", style="")])

    def _index(self, code_points: npt.NDArray[Any]) -> None:
        """Set the tables between ids and sorted code points, both directions."""
        first = len(SPECIAL_TOKENS)
        self.vocab_size = first + len(code_points)
        self.dtype = np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)
        self._id_of = np.full(_UNICODE, UNKNOWN_ID, dtype=self.dtype)
        self._id_of[code_points] = np.arange(first, self.vocab_size)
        specials = _code_points("".join(SPECIAL_TOKENS))
        self._code_point_of = np.concatenate([specials, code_points]).astype(np.uint32)

    @property
    def characters(self) -> str:
        """The characters, sorted; the first has id 11."""
        return _text(self._code_point_of[len(SPECIAL_TOKENS) :])

    @property
    def digest(self) -> str:
        """SHA-256 digest of the special tokens and characters, to tell vocabularies apart."""
        return hashlib.sha256(
            _text(self._code_point_of).encode("utf-8", "surrogatepass")
        ).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of the characters of a text, or the id of a special token.

        A character that is not in the vocabulary becomes the token U.
        """
        if isinstance(text, SpecialToken):
            return [SPECIAL_TOKENS.index(text)]
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def encode_array(self, text: str) -> npt.NDArray[Any]:
        """Return the ids (n,) of the n characters of a plain text, as an array of `dtype`."""
        code_points = _code_points(text)
        ids = np.empty(len(code_points), dtype=self.dtype)
        for start in range(0, len(ids), _CHUNK):
            part = slice(start, start + _CHUNK)
            np.take(self._id_of, code_points[part], out=ids[part])
        return ids

    def unknown(self, text: str) -> str:
        """Return the characters of a text that the vocabulary lacks, each once."""
        missing = [c for c, i in zip(text, self.encode(text), strict=True) if i == UNKNOWN_ID]
        return "".join(dict.fromkeys(missing))

    def decode(self, ids: Sequence[int] | npt.NDArray[Any]) -> str:
        """Return the text of ids, with the letter of each special token.

        Raises:
            IndexError: an id is not below `vocab_size`.
        """
        return _text(self._code_point_of[np.asarray(ids, dtype=np.int64)])

    def decode_poem(self, ids: Sequence[int]) -> str:
        """Return the text of a poem.

        The poem begins after the last CONTENT. Without CONTENT it begins after the first id, BEGIN.
        It ends before the next BEGIN or CONTENT_END, or with `ids`.
        """
        text = list(ids[1:])
        content = SPECIAL_TOKENS.index(CONTENT)
        begin = len(text) - text[::-1].index(content) if content in text else 0
        ends = (place for place, i in enumerate(text) if i in (BEGIN_ID, CONTENT_END_ID))
        end = next((place for place in ends if place >= begin), len(text))
        return self.decode(text[begin:end])

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON: the special tokens, then the characters in id order."""
        write_json(
            path, {"special_tokens": list(SPECIAL_TOKENS), "characters": list(self.characters)}
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a vocabulary that `save` wrote.

        Raises:
            FileError: the file is missing or is not a vocabulary.
        """
        try:
            vocab = orjson.loads(Path(path).read_bytes())
            specials, characters = vocab["special_tokens"], vocab["characters"]
            tokenizer = cls.from_characters("".join(characters))
        except FileNotFoundError:
            raise FileError(path, "no such file") from None
        except (ValueError, KeyError, TypeError):
            raise FileError(path, "not a vocabulary file") from None
        if specials != list(SPECIAL_TOKENS) or characters != list(tokenizer.characters):
            order = f"{' '.join(SPECIAL_TOKENS)}, then the characters sorted, each once"
            raise FileError(path, f"the vocabulary is out of order; expected {order}")
        return tokenizer


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _text(code_points: npt.NDArray[Any]) -> str:
    return code_points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
