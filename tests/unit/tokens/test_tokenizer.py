import json
from pathlib import Path

import numpy as np
import pytest

from nanopoet.common.errors import FileError
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.tokenizer import BEGIN, CONTENT_END, SPECIAL_TOKENS, UNKNOWN, CharTokenizer

LINE = "床前明月光"


def test_special_tokens_keep_their_ids() -> None:
    assert "".join(SPECIAL_TOKENS) == "BPUAaSsTtCc"
    tokenizer = CharTokenizer.from_characters(LINE)
    assert [tokenizer.encode(token)[0] for token in SPECIAL_TOKENS] == list(range(11))
    assert tokenizer.encode(BEGIN) == [0]
    assert tokenizer.encode(CONTENT_END) == [10]


def test_literal_ids() -> None:
    tokenizer = CharTokenizer.from_characters(LINE)
    assert tokenizer.characters == "光前床明月"
    assert tokenizer.encode(LINE) == [13, 12, 14, 15, 11]
    assert tokenizer.decode([0, 13, 12, 14, 15, 11]) == "B" + LINE


def test_all_four_fields_give_characters() -> None:
    poem = Poem(content="春眠", title="曉", author="孟", style="絕")
    assert set(CharTokenizer([poem]).characters) == set("春眠曉孟絕")


@pytest.mark.parametrize("letter", "BPUAaSsTtCc")
def test_a_special_token_never_comes_out_of_text(letter: str) -> None:
    unknown = SPECIAL_TOKENS.index(UNKNOWN)
    assert CharTokenizer.from_characters(LINE).encode(letter) == [unknown]
    known = CharTokenizer.from_characters(LINE + letter)
    assert known.encode(letter)[0] >= len(SPECIAL_TOKENS)
    assert known.decode(known.encode(letter)) == letter


@pytest.mark.parametrize(
    "text", ["", LINE, "BPUAaSsTtCc", "𠮷野", "e\u0301", "a\nb", "\x00", "，。"]
)
def test_round_trip(text: str, tmp_path: Path) -> None:
    tokenizer = CharTokenizer.from_characters(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    tokenizer.save(tmp_path / "vocab.json")
    again = CharTokenizer.load(tmp_path / "vocab.json")
    assert again.encode(text) == tokenizer.encode(text)
    assert again.digest == tokenizer.digest


def test_dtype_holds_every_id() -> None:
    assert CharTokenizer.from_characters(LINE).dtype == np.uint16
    many = CharTokenizer.from_characters("".join(map(chr, range(0x20000, 0x20000 + 2**16))))
    assert many.dtype == np.uint32
    assert many.encode(chr(0x20000 + 2**16 - 1)) == [11 + 2**16 - 1]


def test_long_texts_are_encoded_like_short_ones() -> None:
    tokenizer = CharTokenizer.from_characters(LINE)
    assert tokenizer.encode(LINE * 50_000) == tokenizer.encode(LINE) * 50_000


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(IndexError):
        CharTokenizer.from_characters(LINE).decode([16])


@pytest.mark.parametrize(
    "vocab",
    [
        b"",
        b"{}",
        b"[]",
        b'{"special_tokens": [], "characters": ["a"]}',
        b'{"special_tokens": 1, "characters": 2}',
        b"\xff",
        json.dumps({"special_tokens": list("BPUAaSsTtCc"), "characters": ["b", "a"]}).encode(),
        json.dumps({"special_tokens": list("BPUAaSsTtCc"), "characters": ["a", "a"]}).encode(),
        json.dumps({"special_tokens": list("BPUAaSsTtcC"), "characters": ["a"]}).encode(),
    ],
)
def test_a_damaged_vocabulary_is_named(tmp_path: Path, vocab: bytes) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(vocab)
    with pytest.raises(FileError, match="vocabulary") as caught:
        CharTokenizer.load(path)
    assert caught.value.path == path
