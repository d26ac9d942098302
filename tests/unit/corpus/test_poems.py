from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem, PoemsFile, iter_poems, read_poems, write_poems

GOOD = '{"content": "床前明月光，", "title": "靜夜思", "author": "李白", "style": "五言絕句"}\n'


def test_round_trip(tmp_path: Path, poems: list[Poem]) -> None:
    path = tmp_path / "poems.jsonl"
    write_poems(path, poems)
    assert read_poems(path) == poems
    assert [file.name for file in tmp_path.iterdir()] == ["poems.jsonl"]


def test_missing_fields_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "poems.jsonl"
    path.write_text('{"content": "春眠", "more": 1}\n{"content": "不覺曉"}', encoding="utf-8")
    assert read_poems(path) == [
        Poem(content="春眠", title="", author="", style=""),
        Poem(content="不覺曉", title="", author="", style=""),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"no json\n", "not valid JSON"),
        (b'{"content": "\xe6\x98"}\n', "byte 14 of the line is not UTF-8"),
        (b'{"title": "x"}\n', "no `content`"),
        (b'{"content": 5}\n', "`content` is '5', not a text"),
        (b'{"content": null}\n', "`content` is 'None', not a text"),
        (b'{"content": "a", "author": ["x"]}\n', "`author` is .*, not a text"),
        (b'{"content": ""}\n', "`content` is empty"),
        (b'{"content": " \\n"}\n', "`content` is empty"),
        (b'["content"]\n', "not an object"),
        (b'"content"\n', "not an object"),
        (b"3\n", "not an object"),
        (b'{"content": "\\ud800"}\n', "not valid JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "poems.jsonl"
    path.write_bytes(GOOD.encode() + line)
    with pytest.raises(NanopoetError, match=message) as caught:
        read_poems(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"  \t\n", b"\n\n\n", b" "])
def test_blank_lines_and_a_byte_order_mark_are_skipped(tmp_path: Path, blank: bytes) -> None:
    path = tmp_path / "poems.jsonl"
    lines = [GOOD.replace("床", mark).encode() for mark in "一二"]
    path.write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\n" + lines[1] + blank)
    assert [poem["content"][0] for poem in read_poems(path)] == ["一", "二"]
    with PoemsFile(path) as poems:
        assert len(poems) == 2
        assert [poem["content"][0] for poem in (poems[1], poems[-2], *poems)] == list("二一一二")
    path.write_bytes(blank)
    with pytest.raises(NanopoetError, match="no poem in it"):
        read_poems(path)


def test_a_bad_line_after_blank_ones_has_its_number(tmp_path: Path) -> None:
    path = tmp_path / "poems.jsonl"
    path.write_bytes(b"\n" + GOOD.encode() + b"\n\n3\n")
    with pytest.raises(NanopoetError, match=r"poems\.jsonl:5: JSON, but not an object"):
        read_poems(path)


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "poems.jsonl"
    with pytest.raises(NanopoetError, match="no such file"):
        read_poems(path)
    path.touch()
    with pytest.raises(NanopoetError, match="no poem in it"):
        read_poems(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, poems: list[Poem]) -> None:
    path, bad = tmp_path / "poems.jsonl", tmp_path / "bad.jsonl"
    write_poems(path, poems)
    before = path.read_bytes()
    bad.write_bytes(GOOD.encode() * 5 + b"no json\n")
    with pytest.raises(NanopoetError):
        write_poems(path, iter_poems(bad))
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.jsonl", "poems.jsonl"]


def test_a_file_of_poems_is_a_sequence_of_them(tmp_path: Path, poems: list[Poem]) -> None:
    path = tmp_path / "poems.jsonl"
    write_poems(path, poems)
    with PoemsFile(path) as there:
        assert len(there) == len(poems)
        assert list(there) == poems
        assert [there[i] for i in (-1, 0, 7)] == [poems[i] for i in (-1, 0, 7)]
        assert there[3:5] == poems[3:5]
        with pytest.raises(IndexError):
            there[len(poems)]


def test_a_file_of_poems_names_a_mistake_at_once(tmp_path: Path) -> None:
    path = tmp_path / "poems.jsonl"
    path.write_text(GOOD + "no json\n", encoding="utf-8")
    with pytest.raises(NanopoetError, match=r"poems\.jsonl:2: not valid JSON"):
        PoemsFile(path)
