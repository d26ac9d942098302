"""Poems as records, and as JSONL files with one poem per line."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, Self, TypedDict, cast, overload

import orjson
from tqdm import tqdm

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.common.files import atomic_write


class Poem(TypedDict):
    """A poem.

    Attributes:
        content: the whole text, with its marks.
        title: the title; may be empty.
        author: the author; may be empty.
        style: the form, or the tune of a ci; may be empty.
    """

    content: str
    title: str
    author: str
    style: str


Duplicate = Literal["exact", "near"]
"""How a poem recurs in the other part: as a duplicate or as a near-duplicate."""

_FIELDS = ("content", "title", "author", "style")
_FORM = 'a line is {"content": "…", "title": "…", "author": "…", "style": "…"}'


def iter_poems(path: str | Path) -> Iterator[Poem]:
    """Read a JSONL file of poems; all fields but `content` may be missing and are then empty.

    Blank lines, a byte order mark, and any whitespace around a line are skipped.

    Raises:
        FileError: the file is missing.
        NanopoetError: the file has no poem, or a line is not a poem.
    """
    for _, poem in _poems_from(Path(path)):
        yield poem


def _poems_from(path: Path) -> Iterator[tuple[int, Poem]]:
    """Yield each poem, and before it the place of the first byte of its line."""
    start, empty = 0, True
    try:
        with open(path, "rb") as file, reading_bar(file, path) as bar:
            for number, line in enumerate(file, start=1):
                if poem := _parse(line, f"{path}:{number}"):
                    empty = False
                    yield start, poem
                start += len(line)
                bar.update(len(line))
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    if empty:
        raise NanopoetError(f"{path}: no poem in it; give at least one ({_FORM})")


class PoemsFile(Sequence[Poem]):
    """The poems of a JSONL file as a sequence that reads a poem when it is asked for.

    Memory holds 8 bytes per poem: where its line begins.

    Args:
        path: the file, as `write_poems` writes it.

    Raises:
        FileError: the file is missing.
        NanopoetError: the file has no poem, or a line is not a poem.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        # Also finds a bad line before anything is made of the poems.
        self._starts = array("q", (start for start, _ in _poems_from(self._path)))
        self._file = open(self._path, "rb")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Poem: ...

    @overload
    def __getitem__(self, index: slice) -> list[Poem]: ...

    def __getitem__(self, index: int | slice) -> Poem | list[Poem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        self._file.seek(self._starts[index])
        poem = _parse(self._file.readline(), str(self._path))
        assert poem, "the line had a poem before"
        return poem

    def __iter__(self) -> Iterator[Poem]:
        return iter_poems(self._path)


def read_poems(path: str | Path) -> list[Poem]:
    """Read a JSONL file of poems as a list; see `iter_poems`."""
    return list(iter_poems(path))


def write_poems(path: str | Path, poems: Iterable[Poem]) -> None:
    """Write poems as JSONL; the file appears when it is complete."""
    with atomic_write(path) as file:
        for poem in poems:
            file.write(orjson.dumps(poem, option=orjson.OPT_APPEND_NEWLINE))


def read_texts(path: str | Path) -> list[str]:
    """Read a JSON list of texts.

    Raises:
        FileError: the file is missing or holds something else.
    """
    try:
        texts = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except orjson.JSONDecodeError as error:
        raise FileError(path, f"not valid JSON: {error.msg}") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FileError(path, "not a JSON list of texts")
    return texts


def load_duplicates(path: str | Path, count: int) -> list[Duplicate | None]:
    """Read from JSON what `duplicates_across` found for `count` poems.

    Raises:
        FileError: the file is missing, damaged or for another number of poems.
    """
    try:
        duplicates: list[Duplicate | None] = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise FileError(path, "no such file") from None
    except ValueError:
        raise FileError(path, "damaged") from None
    if not isinstance(duplicates, list) or not {*map(str, duplicates)} <= {"exact", "near", "None"}:
        raise FileError(path, "not a list of duplicates")
    if len(duplicates) != count:
        raise FileError(path, f"has entries for {len(duplicates)} poems, not {count}")
    return duplicates


def reading_bar(file: IO[bytes], path: Path) -> "tqdm[NoReturn]":
    """Return a progress bar over the bytes of an open file; it is silent without a terminal."""
    size = file.seek(0, 2)
    file.seek(0)
    return tqdm(total=size, unit="B", unit_scale=True, disable=None, desc=f"reading {path}")


def _parse(line: bytes, where: str) -> Poem | None:
    """Parse a line that has all fields, as most lines do."""
    try:
        record = orjson.loads(line)
        content, title, author, style = map(record.__getitem__, _FIELDS)
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
        return _parse_unusual(line, where)
    if not (type(content) is type(title) is type(author) is type(style) is str and content.strip()):
        return _parse_unusual(line, where)
    return {"content": content, "title": title, "author": author, "style": style}


def _parse_unusual(raw: bytes, where: str) -> Poem | None:
    """Parse a line that may be blank or lack fields, and explain a mistake."""
    try:
        line = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise NanopoetError(
            f"{where}: byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
        ) from None
    if not line:
        return None
    try:
        record: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise NanopoetError(f"{where}: not valid JSON: {error.msg}; fix it ({_FORM})") from None
    if not isinstance(record, dict):
        raise NanopoetError(f"{where}: JSON, but not an object; fix it ({_FORM})")
    if "content" not in record:
        raise NanopoetError(f"{where}: no `content`; add it ({_FORM})")
    poem = {field: record.get(field, "") for field in _FIELDS}
    for field, value in poem.items():
        if not isinstance(value, str):
            raise NanopoetError(
                f"{where}: `{field}` is {str(value)[:40]!r}, not a text; fix it ({_FORM})"
            )
    if not poem["content"].strip():
        raise NanopoetError(f"{where}: `content` is empty; give the text or remove the line")
    return cast(Poem, poem)
