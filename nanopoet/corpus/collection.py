"""Reading of the corpus: an archive, a folder or a JSONL file → poems.

The corpus rules give the 241,440 poems of the teaching notebook. They take the regular poems of
全唐诗 and of the Song shi, all of 宋词 with the tune as style, and 诗经. They keep a poem if its
content consists of characters U+3400 to U+9FFF, `，` and `。`. They strip all other characters from
title, author and style.
"""

import gzip
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import orjson
from tqdm import tqdm

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.corpus.poems import Poem, iter_poems, reading_bar
from nanopoet.prosody.forms import FORMS, SHIJING, style_of_lines
from nanopoet.prosody.script import Script, to_script

_NOT_CJK = re.compile(r"[^\u3400-\u9fff]+")
_CONTENT = re.compile(r"[\u3400-\u9fff，。]+")

_REGULAR = {
    lines * (length + 1): (
        re.compile(rf"(?:[\u3400-\u9fff]{{{length}}}[，。]){{{lines}}}"),
        style,
    )
    for style, lines, length in FORMS.values()
}
"""Length of a text in a regular form, marks included → its usual pattern, and its style."""

_LARGEST_FILE = 64 << 20
_LARGEST_ARCHIVE = 4 << 30
"""Most bytes after decompression. The collection has 362 MB; its largest file has 4 MB."""


_COLLECTIONS = (
    (re.compile(r"(?:quantangshi|全唐诗)/poet\.tang\.\d+\.json"), "shi"),
    (re.compile(r"(?:quantangshi|全唐诗)/poet\.song\.\d+\.json"), "shi"),
    (re.compile(r"(?:songci|宋词)/ci\.song\.\w+\.json"), "ci"),
    (re.compile(r"(?:shijing|诗经)/shijing\.json"), "shijing"),
)
"""Files of the collection and the kind of their records, in corpus order."""


def strip(text: str) -> str:
    """Remove all characters but U+3400 to U+9FFF.

    >>> strip("帝京篇十首 一")
    '帝京篇十首一'
    """
    return _NOT_CJK.sub("", text)


_strip_again = lru_cache(maxsize=1 << 15)(strip)
"""`strip` for names that recur."""


def read_corpus(source: str | Path, dropped: Counter[str]) -> Iterator[Poem]:
    """Yield the poems of `source` in corpus order.

    Args:
        source: the archive of the collection (`.tgz`, `.tar.gz`), a folder in its layout, or a
            `.jsonl` as `iter_poems` reads it. The corpus rules do not apply to a `.jsonl`.
        dropped: receives for each rule the number of poems that it drops.

    Raises:
        FileError: `source` is missing or damaged.
        NanopoetError: `source` is of an unknown kind or has no poem.
    """
    source = Path(source)
    if source.is_dir():
        return _read_collection(_folder_files(source), source, dropped)
    if not source.exists():
        raise FileError(source, "no such file; load.source has to name one that exists")
    if not source.is_file():
        raise FileError(source, "neither a file nor a folder; load.source has to name one")
    if source.name.endswith((".tgz", ".tar.gz")):
        return _read_collection(_archive_files(source), source, dropped)
    if source.suffix == ".jsonl":
        return iter_poems(source)
    raise NanopoetError(
        f"load.source = {source} is of no known kind; give the archive of the collection (.tgz), "
        f"a folder in its layout, or a .jsonl"
    )


def in_script(poems: Iterable[Poem], script: Script) -> Iterator[Poem]:
    """Yield poems with content, title and author in one script.

    The style stays, because it names the form and decides the split. The other fields are converted
    together, because the script of a short title shows only in its poem.
    """
    for poem in poems:
        content, title = len(poem["content"]), len(poem["title"])
        text = to_script(poem["content"] + "\n" + poem["title"] + "\n" + poem["author"], script)
        yield Poem(
            content=text[:content],
            title=text[content + 1 :][:title],
            author=text[content + title + 2 :],
            style=poem["style"],
        )


def load_raw_data(source: str | Path) -> list[Poem]:
    """Return all poems of `source` as a list; see `read_corpus`."""
    return list(read_corpus(source, Counter()))


# The collection


def _archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each member with poems; nothing is unpacked to disk."""
    try:
        with (
            open(path, "rb") as file,
            reading_bar(file, path) as bar,
            _Unzipped(fileobj=file) as unzipped,
            tarfile.open(fileobj=unzipped, mode="r:") as archive,
        ):
            for member in archive:
                bar.update(file.tell() - bar.n)
                _check_member(member, path)
                if member.isfile() and _collection(member.name):
                    extracted = archive.extractfile(member)
                    assert extracted is not None, "a regular file has contents"
                    yield member.name, extracted.read()
            # tarfile takes a cut for the end. Reading on checks the checksum, which comes last.
            while unzipped.read(1 << 20):
                bar.update(file.tell() - bar.n)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError(path, f"damaged archive ({error}); get it again") from None


class _Unzipped(gzip.GzipFile):
    """A decompressed file that refuses to grow beyond `_LARGEST_ARCHIVE`."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_FILE:
            self._refuse(f"a part of {size or -1:,} bytes")
        data = super().read(size)
        self._refuse_beyond(self.tell())
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._refuse_beyond(offset)
        return super().seek(offset, whence)

    def _refuse_beyond(self, position: int) -> None:
        if position > _LARGEST_ARCHIVE:
            self._refuse(f"more than {_LARGEST_ARCHIVE:,} bytes")

    def _refuse(self, what: str) -> NoReturn:
        raise NanopoetError(
            f"{self.name}: unpacks to {what}, far beyond any collection of poems; refused, get "
            f"the archive from a source that you trust"
        )


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Refuse a member that only an attack would have, although nothing is unpacked to disk."""
    name = PurePosixPath(member.name)
    if not (member.isfile() or member.isdir()):
        kind = "a link, a device or the like"
    elif name.is_absolute() or ".." in name.parts:
        kind = "under a name that leads out of the archive"
    else:
        return
    raise NanopoetError(
        f"{path}: {member.name!r} is {kind}; refused, get the archive from a source that you trust"
    )


def _folder_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each file with poems."""
    files = sorted(path.rglob("*.json"))
    for file in tqdm(files, disable=None, desc=f"reading {path}"):
        name = file.relative_to(path.parent).as_posix()
        if _collection(name):
            yield name, file.read_bytes()


def _collection(name: str) -> tuple[int, str] | None:
    """Return the rank of a file in corpus order and the kind of its records; None without poems."""
    tail = "/".join(PurePosixPath(name).parts[-2:])
    for order, (pattern, kind) in enumerate(_COLLECTIONS):
        if pattern.fullmatch(tail):
            return order, kind
    return None


def _read_collection(
    files: Iterable[tuple[str, bytes]], source: Path, dropped: Counter[str]
) -> Iterator[Poem]:
    """Yield the poems of a collection in corpus order, and count those that the rules drop."""
    # The archive has another order, so all poems are in memory before the first comes out.
    parts: dict[tuple[int, str], list[Poem]] = {}
    for name, raw in files:
        found = _collection(name)
        assert found is not None, "`files` has only files with poems"
        order, kind = found
        parts[order, name] = _accepted(raw, _READERS[kind], f"{source}: {name}", dropped)
    if not any(parts.values()):
        raise NanopoetError(
            f"{source}: no poem in it (the corpus rules dropped {dropped.total():,}); give the "
            f"collection or a .jsonl of your own"
        )
    for key in sorted(parts):
        yield from parts[key]


def _accepted(
    raw: bytes, reader: Callable[[Any], Poem | str], where: str, dropped: Counter[str]
) -> list[Poem]:
    """Return the poems in the bytes of a JSON file, and count those that the rules drop."""
    try:
        records = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NanopoetError(
            f"{where}: not valid JSON at line {error.lineno}: {error.msg}; get it again"
        ) from None
    if not isinstance(records, list):
        raise NanopoetError(f"{where}: not a JSON list of poems; get it again")
    poems = []
    for number, record in enumerate(records, start=1):
        try:
            poem = reader(record)
        except (KeyError, TypeError):
            raise NanopoetError(
                f"{where}: poem {number} is unlike those of the collection; get it again"
            ) from None
        if isinstance(poem, str):
            dropped[poem] += 1
        else:
            poems.append(poem)
    return poems


# A reader returns the poem in a record, or the rule that drops it.


def _read_shi(record: Any) -> Poem | str:
    content = "".join(record["paragraphs"])
    usual = _REGULAR.get(len(content))
    if usual and usual[0].fullmatch(content):
        return _poem(content, record["title"], record["author"], usual[1])
    # Other marks end no line here: the rules take only poems without them.
    style = style_of_lines([line for line in re.split("[，。]", content) if line])
    if style is None:
        return "shi: not regular verse"
    if not _CONTENT.fullmatch(content):
        return "shi: other characters in content"
    return _poem(content, record["title"], record["author"], style)


def _read_ci(record: Any) -> Poem | str:
    content = "".join(record["paragraphs"])
    if not _CONTENT.fullmatch(content):
        return "ci: other characters in content"
    return _poem(content, record["rhythmic"], record["author"], record["rhythmic"])


def _read_shijing(record: Any) -> Poem | str:
    content = "".join(record["content"])
    if not _CONTENT.fullmatch(content):
        return "shijing: other characters in content"
    return _poem(content, record["title"], SHIJING, SHIJING)


_READERS = {"shi": _read_shi, "ci": _read_ci, "shijing": _read_shijing}


def _poem(content: str, title: str, author: str, style: str) -> Poem:
    return {
        "content": content,
        "title": strip(title),
        "author": _strip_again(author),
        "style": _strip_again(style),
    }
