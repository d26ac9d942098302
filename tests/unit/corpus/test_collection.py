import gzip
import io
import json
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.corpus import collection
from nanopoet.corpus.collection import load_raw_data, read_corpus
from nanopoet.corpus.poems import Poem, write_poems

JUEJU = ["白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。"]
LVSHI = ["國破山河在，城春草木深。", "感時花濺淚，恨別鳥驚心。"] * 2


def _shi(paragraphs: list[str], title: str = "登鸛雀樓 其一") -> dict[str, Any]:
    return {"title": title, "author": "王之渙（存疑）", "paragraphs": paragraphs, "id": "x"}


COLLECTION: dict[str, list[dict[str, Any]]] = {
    "shijing/shijing.json": [
        {"title": "關雎", "chapter": "國風", "content": ["關關雎鳩，在河之洲。", "窈窕淑女。"]},
        {"title": "壞", "chapter": "國風", "content": ["窈窕□女。"]},
    ],
    "songci/ci.song.1000.json": [
        {"author": "蘇軾", "rhythmic": "水調歌頭・徐州中秋", "paragraphs": ["明月幾時有。"]},
        {"author": "蘇軾", "rhythmic": "壞", "paragraphs": ["明月、幾時有。"]},
    ],
    "songci/ci.song.0.json": [{"author": "和峴", "rhythmic": "導引", "paragraphs": ["氣和玉燭。"]}],
    "quantangshi/poet.song.0.json": [_shi(LVSHI, "宋")],
    "quantangshi/poet.tang.1000.json": [_shi([*JUEJU, "多一行。"]), _shi(["白日依山□，"] * 4)],
    "quantangshi/poet.tang.0.json": [_shi(JUEJU)],
    "quantangshi/error/poet.tang.0.json": [_shi(JUEJU)],
    "rank/poet/poet.tang.rank.0.json": [{"baidu": 1}],
    "strains/json/poet.tang.0.json": [{"strains": []}],
}
EXPECTED = [
    ("登鸛雀樓其一", "王之渙存疑", "五言绝句"),
    ("宋", "王之渙存疑", "五言律诗"),
    ("導引", "和峴", "導引"),
    ("水調歌頭徐州中秋", "蘇軾", "水調歌頭徐州中秋"),
    ("關雎", "诗经", "诗经"),
]
DROPPED = {
    "shi: not regular verse": 1,
    "shi: other characters in content": 1,
    "ci: other characters in content": 1,
    "shijing: other characters in content": 1,
}


def _archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def _bytes(collection: dict[str, list[dict[str, Any]]]) -> dict[str, bytes]:
    return {name: json.dumps(records).encode() for name, records in collection.items()}


def _folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, raw in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw)
    return path


def _check(source: Path) -> None:
    dropped: Counter[str] = Counter()
    poems = list(read_corpus(source, dropped))
    assert [(poem["title"], poem["author"], poem["style"]) for poem in poems] == EXPECTED
    assert poems[0]["content"] == "".join(JUEJU)
    assert dropped == DROPPED


def test_archive_by_the_corpus_rules(tmp_path: Path) -> None:
    _check(_archive(tmp_path / "corpus.tgz", _bytes(COLLECTION)))


def test_folder_gives_the_same_as_the_archive(tmp_path: Path) -> None:
    _check(_folder(tmp_path / "collection", _bytes(COLLECTION)))


def test_a_jsonl_is_taken_as_it_is(tmp_path: Path) -> None:
    poem = Poem(content="Any text!", title="B", author="1", style="free")
    write_poems(tmp_path / "own.jsonl", [poem])
    assert load_raw_data(tmp_path / "own.jsonl") == [poem]


@pytest.mark.parametrize("keep", [0, 5, 50, 0.3, 0.9])
def test_a_truncated_archive_is_named(tmp_path: Path, keep: float) -> None:
    path = _archive(tmp_path / "corpus.tgz", _bytes(COLLECTION))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw) if 0 < keep < 1 else keep)])
    with pytest.raises(NanopoetError, match=r"damaged archive|no poem in it"):
        load_raw_data(path)


def test_an_archive_with_a_flipped_bit_is_named(tmp_path: Path) -> None:
    path = _archive(tmp_path / "corpus.tgz", _bytes(COLLECTION))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(NanopoetError, match=r"corpus\.tgz"):
        load_raw_data(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "/etc/poet.tang.0.json"}, "leads out of the archive"),
        ({"name": "package/../../quantangshi/poet.tang.0.json"}, "leads out of the archive"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link, a device"),
        ({"type": tarfile.LNKTYPE, "linkname": "../x"}, "a link, a device"),
        ({"type": tarfile.CHRTYPE}, "a link, a device"),
        ({"type": tarfile.FIFOTYPE}, "a link, a device"),
    ],
)
def test_a_hostile_member_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = _archive(tmp_path / "corpus.tgz", _bytes(COLLECTION))
    with gzip.open(path) as zipped:
        raw = zipped.read()
    with tarfile.open(path, "w:gz") as archive:
        with tarfile.open(fileobj=io.BytesIO(raw)) as before:
            for member in before:
                archive.addfile(member, before.extractfile(member))
        hostile = tarfile.TarInfo("package/quantangshi/poet.tang.7.json")
        for name, value in change.items():
            setattr(hostile, name, value)
        archive.addfile(hostile)
    with pytest.raises(NanopoetError, match=message):
        load_raw_data(path)


@pytest.mark.parametrize("where", ["poems", "elsewhere", "header", "after the end"])
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Refuse a small file that unpacks to a huge one, before memory is taken."""
    monkeypatch.setattr(collection, "_LARGEST_ARCHIVE", 256 << 20)
    path, size = tmp_path / "corpus.tgz", 300 << 20
    name = "quantangshi/poet.tang.0.json" if where == "poems" else "other.bin"
    member = tarfile.TarInfo(name)
    member.size = size
    if where == "header":
        member.type = tarfile.XHDTYPE
    with gzip.open(path, "wb", compresslevel=1) as zipped:
        zipped.write(member.tobuf() if where != "after the end" else bytes(1024))
        for _ in range(size >> 20):
            zipped.write(bytes(1 << 20))
        zipped.write(bytes(1024))
    assert path.stat().st_size < 4 << 20
    tracemalloc.start()
    try:
        with pytest.raises(NanopoetError, match="far beyond any collection"):
            load_raw_data(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.tgz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(NanopoetError, match="damaged archive"):
        load_raw_data(path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "not valid JSON at line 1"),
        (b"{}", "not a JSON list"),
        (b"[3]", "poem 1 is unlike those of the collection"),
        (b'[{"title": "x"}]', "poem 1 is unlike those of the collection"),
        (b'[{"paragraphs": [1]}]', "poem 1 is unlike those of the collection"),
        (
            json.dumps([_shi(JUEJU) | {"author": None}]).encode(),
            "poem 1 is unlike those of the collection",
        ),
    ],
)
def test_a_damaged_member_is_named(tmp_path: Path, raw: bytes, message: str) -> None:
    path = _archive(tmp_path / "corpus.tgz", {"quantangshi/poet.tang.0.json": raw})
    with pytest.raises(NanopoetError, match=message) as caught:
        load_raw_data(path)
    assert "poet.tang.0.json" in str(caught.value)


def test_a_collection_without_poems_is_named(tmp_path: Path) -> None:
    path = _archive(tmp_path / "corpus.tgz", {"readme.json": b"[]"})
    with pytest.raises(NanopoetError, match="no poem in it"):
        load_raw_data(path)


def test_an_unknown_kind_or_missing_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").touch()
    with pytest.raises(NanopoetError, match="of no known kind"):
        load_raw_data(tmp_path / "corpus.csv")
    with pytest.raises(FileError, match=r"corpus\.tgz: no such file; load\.source has to name"):
        load_raw_data(tmp_path / "corpus.tgz")
