from pathlib import Path

import numpy as np
import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem, iter_poems, write_poems
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.encode import UnknownCharacterError, encode_poems, encode_to
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import make_poems


@pytest.fixture
def arrays(poems: list[Poem]) -> TokenArrays:
    return encode_poems(poems, CharTokenizer(poems), separate=False)


def test_the_arrays_hold_every_poem(poems: list[Poem], arrays: TokenArrays) -> None:
    tokenizer = CharTokenizer(poems)
    assert tokenizer.decode(arrays.tokens.tolist()) == "".join(poem["content"] for poem in poems)
    start, end = arrays.offsets[7:9]
    assert tokenizer.decode(arrays.tokens[start:end].tolist()) == poems[7]["content"]


def test_separators_stand_before_poems_and_count_no_characters(
    poems: list[Poem], arrays: TokenArrays
) -> None:
    separated = encode_poems(poems, CharTokenizer(poems), separate=True)
    assert (separated.separated, arrays.separated) == (True, False)
    for each in (separated, arrays):
        assert each.characters.tolist() == [len(poem["content"]) for poem in poems]
    np.testing.assert_array_equal(separated.tokens[separated.tokens != 0], arrays.tokens)
    assert (separated.tokens[separated.offsets[:-1]] == 0).all()
    np.testing.assert_array_equal(np.diff(separated.offsets), np.diff(arrays.offsets) + 1)


def test_many_poems_are_encoded_like_one_after_the_other() -> None:
    poems = make_poems(5000)
    tokenizer = CharTokenizer(poems)
    tokens = [t for poem in poems for t in (0, *tokenizer.encode(poem["content"]))]
    assert encode_poems(poems, tokenizer, separate=True).tokens.tolist() == tokens


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("count", [1, 3, 10_000])
def test_streamed_files_have_the_bytes_of_saved_ones(
    tmp_path: Path, count: int, separate: bool
) -> None:
    poems = make_poems(count)
    tokenizer = CharTokenizer(poems)
    encode_poems(poems, tokenizer, separate).save(tmp_path / "saved")
    arrays = encode_to(tmp_path / "streamed", iter(poems), tokenizer, separate)
    assert len(arrays.offsets) == count + 1
    for name in ("tokens.npy", "offsets.npy"):
        streamed, saved = (tmp_path / folder / name for folder in ("streamed", "saved"))
        assert streamed.read_bytes() == saved.read_bytes()


def test_a_bad_poem_leaves_the_files_as_they_were(tmp_path: Path) -> None:
    poems, path = make_poems(5000), tmp_path / "poems.jsonl"
    tokenizer = CharTokenizer(poems)
    encode_to(tmp_path / "tokens", poems[:3], tokenizer, separate=True)
    before = {file: file.read_bytes() for file in (tmp_path / "tokens").iterdir()}
    assert len(before) == 2
    write_poems(path, poems)
    with open(path, "ab") as file:
        file.write(b"no json\n")
    with pytest.raises(NanopoetError, match=r"poems\.jsonl:5001"):
        encode_to(tmp_path / "tokens", iter_poems(path), tokenizer, separate=True)
    assert {file: file.read_bytes() for file in (tmp_path / "tokens").iterdir()} == before


def test_a_character_that_the_vocabulary_lacks_leaves_the_files(tmp_path: Path) -> None:
    poems = make_poems(4097)  # more than are encoded at once
    tokenizer = CharTokenizer(poems)
    encode_to(tmp_path, poems, tokenizer, separate=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    poems[4096]["content"] = poems[4096]["content"][:-1] + "鬱"
    with pytest.raises(UnknownCharacterError, match=r"^poem 4,097$"):
        encode_to(tmp_path, poems, tokenizer, separate=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
