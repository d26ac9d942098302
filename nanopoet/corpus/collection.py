"""Archive, folder or JSONL → poems.

The corpus rules, with which the collection gives the seed's 241,440 poems:
全唐诗 and the Song shi where the verse is regular, 宋词 with the tune as style,
诗经. A poem is kept if its whole content is characters U+3400 to U+9FFF, `，`
and `。`; from title, author and style everything else is stripped.
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
from nanopoet.prosody.forms import FORMS, SHIJING, regular_style

_NOT_CJK = re.compile(r"[^\u3400-\u9fff]+")
_CONTENT = re.compile(r"[\u3400-\u9fff，。]+")


_REGULAR = {
    lines * (length + 1): (
        re.compile(rf"(?:[\u3400-\u9fff]{{{length}}}[，。]){{{lines}}}"),
        style,
    )
    for style, lines, length in FORMS.values()
}
"""Length of the whole text → how it then looks almost always, and the form that it has."""

_LARGEST_FILE = 64 << 20
_LARGEST_ARCHIVE = 4 << 30
"""Bytes, decompressed. The collection's largest file has 4 MB, all of them together 362 MB."""


_COLLECTIONS = (
    (re.compile(r"(?:quantangshi|全唐诗)/poet\.tang\.\d+\.json"), "shi"),
    (re.compile(r"(?:quantangshi|全唐诗)/poet\.song\.\d+\.json"), "shi"),
    (re.compile(r"(?:songci|宋词)/ci\.song\.\w+\.json"), "ci"),
    (re.compile(r"(?:shijing|诗经)/shijing\.json"), "shijing"),
)
"""Where the collection keeps its poems, in the order in which they enter the corpus."""


def strip(text: str) -> str:
    """Keep the characters U+3400 to U+9FFF.

    >>> strip("帝京篇十首 一")
    '帝京篇十首一'
    """
    return _NOT_CJK.sub("", text)


_strip_again = lru_cache(maxsize=1 << 15)(strip)
"""`strip` for names that come again and again."""


def read_corpus(source: str | Path, dropped: Counter[str]) -> Iterator[Poem]:
    """Yield the poems of `source` in corpus order.

    Args:
        source: the collection's archive (`.tgz`, `.tar.gz`), a folder in its layout, or a `.jsonl`
            with `content` and, if known, `title`, `author` and `style` on each line. A `.jsonl`
            is taken as it is, without the corpus rules.
        dropped: receives how many poems each rule left out.

    Raises:
        NanopoetError: `source` is missing, damaged, of no known kind or holds no poem.
    """
    source = Path(source)
    if source.is_dir():
        return _read_collection(_folder_files(source), source, dropped)
    if not source.exists():
        raise FileError(source, "no such file; load.source has to name one that exists")
    if source.name.endswith((".tgz", ".tar.gz")):
        return _read_collection(_archive_files(source), source, dropped)
    if source.suffix == ".jsonl":
        return iter_poems(source)
    raise NanopoetError(
        f"load.source: {source} is of no known kind; give the collection's .tgz, a folder laid "
        f"out like it, or a .jsonl"
    )


def load_raw_data(source: str | Path) -> list[Poem]:
    """All poems of `source` (see `read_corpus`) as a list of dictionaries."""
    return list(read_corpus(source, Counter()))


# The collection


def _archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Stream the members that hold poems as (name, bytes); nothing is unpacked to disk."""
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
            # The checksum comes last, and tarfile takes a cut for the end.
            while unzipped.read(1 << 20):
                bar.update(file.tell() - bar.n)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError(path, f"damaged archive ({error}); get it again") from None


class _Unzipped(gzip.GzipFile):
    """A decompressed file that refuses to become larger than a collection of poems is."""

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
    """Refuse what no collection has and an attack might, though nothing is unpacked to disk."""
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
    files = sorted(path.rglob("*.json"))
    for file in tqdm(files, disable=None, desc=f"reading {path}"):
        name = file.relative_to(path.parent).as_posix()
        if _collection(name):
            yield name, file.read_bytes()


def _collection(name: str) -> tuple[int, str] | None:
    """Place of a file in the corpus order and the kind of its records; None if not poems."""
    tail = "/".join(PurePosixPath(name).parts[-2:])
    for order, (pattern, kind) in enumerate(_COLLECTIONS):
        if pattern.fullmatch(tail):
            return order, kind
    return None


def _read_collection(
    files: Iterable[tuple[str, bytes]], source: Path, dropped: Counter[str]
) -> Iterator[Poem]:
    # All poems wait in memory: the corpus order is not the archive's.
    parts: dict[tuple[int, str], list[Poem]] = {}
    for name, raw in files:
        found = _collection(name)
        assert found is not None, "`files` holds nothing but poems"
        order, kind = found
        parts[order, name] = _accepted(raw, _READERS[kind], f"{source}: {name}", dropped)
    if not any(parts.values()):
        raise NanopoetError(
            f"{source}: no poem in it ({dropped.total():,} left out by the corpus rules); give the "
            f"collection, or a .jsonl of your own"
        )
    for key in sorted(parts):
        yield from parts[key]


def _accepted(
    raw: bytes, reader: "Callable[[Any], Poem | str]", where: str, dropped: Counter[str]
) -> list[Poem]:
    try:
        records = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NanopoetError(
            f"{where}: not valid JSON at line {error.lineno}: {error.msg}; fetch it anew"
        ) from None
    if not isinstance(records, list):
        raise NanopoetError(f"{where}: not a JSON list of poems; fetch it anew")
    poems = []
    for number, record in enumerate(records, start=1):
        try:
            poem = reader(record)
        except (KeyError, TypeError):
            raise NanopoetError(
                f"{where}: poem {number} is not laid out like the collection's; fetch it anew"
            ) from None
        if isinstance(poem, str):
            dropped[poem] += 1
        else:
            poems.append(poem)
    return poems


# A reader gives the poem in a record, or the rule that leaves it out.


def _read_shi(record: Any) -> Poem | str:
    content = "".join(record["paragraphs"])
    usual = _REGULAR.get(len(content))
    if usual and usual[0].fullmatch(content):
        return _poem(content, record["title"], record["author"], usual[1])
    style = regular_style(content)
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
