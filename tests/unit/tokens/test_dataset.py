from pathlib import Path

import numpy as np
import pytest

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.batches import check_length, epoch_windows, even_windows, random_windows
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.encode import encode_poems, encode_to
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


def test_separators(poems: list[Poem], arrays: TokenArrays) -> None:
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


def test_round_trip(tmp_path: Path, arrays: TokenArrays) -> None:
    arrays.save(tmp_path)
    again = TokenArrays.load(tmp_path)
    assert isinstance(again.tokens, np.memmap)
    assert again.tokens.dtype == np.uint16
    np.testing.assert_array_equal(again.tokens, arrays.tokens)
    np.testing.assert_array_equal(again.offsets, arrays.offsets)


@pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy"])
@pytest.mark.parametrize("keep", [0, 3, 50, -2])
def test_a_truncated_array_is_named(
    tmp_path: Path, arrays: TokenArrays, name: str, keep: int
) -> None:
    arrays.save(tmp_path)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[:keep])
    with pytest.raises(FileError, match=name):
        TokenArrays.load(tmp_path)


def test_a_pickle_is_not_loaded(tmp_path: Path, arrays: TokenArrays) -> None:
    arrays.save(tmp_path)
    np.save(tmp_path / "tokens.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="damaged"):
        TokenArrays.load(tmp_path)


def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: TokenArrays) -> None:
    arrays.save(tmp_path)
    np.save(tmp_path / "tokens.npy", arrays.tokens[:-1])
    with pytest.raises(FileError, match="does not fit"):
        TokenArrays.load(tmp_path)
    np.save(tmp_path / "tokens.npy", np.zeros((2, 2)))
    with pytest.raises(FileError, match="damaged token array"):
        TokenArrays.load(tmp_path)
    with pytest.raises(FileError, match="no such file"):
        TokenArrays.load(tmp_path / "nowhere")


def test_a_target_is_the_token_that_follows() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    for inputs, targets in (
        random_windows(tokens, 8, 50, np.random.default_rng(0)),
        even_windows(tokens, 8, 50),
        epoch_windows(tokens, 8, 50, seed=0, step=3),  # of which there are too few
        epoch_windows(np.tile(tokens, 50), 8, 50, seed=0, step=3),
    ):
        assert inputs.shape == targets.shape == (50, 8)
        assert inputs.dtype == np.int64
        np.testing.assert_array_equal(targets, (inputs + 1) % 100)


def test_windows_reach_from_end_to_end() -> None:
    tokens = np.arange(20, dtype=np.uint16)
    inputs, targets = random_windows(tokens, 8, 2000, np.random.default_rng(0))
    assert inputs.min() == 0
    assert targets.max() == 19
    inputs, targets = even_windows(tokens, 8, 3)
    assert inputs[0, 0] == 0
    assert targets[-1, -1] == 19


@pytest.mark.parametrize("size", [408, 415])  # room for the largest offset and just so
def test_an_epoch_has_each_window_once(size: int) -> None:
    tokens = np.arange(size, dtype=np.uint16)
    starts = []
    for epoch in range(100):
        batches = [epoch_windows(tokens, 8, 5, 1, 10 * epoch + step)[0] for step in range(10)]
        seen = np.concatenate(batches)
        assert len(np.unique(seen)) == 400
        for batch in batches:  # the i-th window from the i-th fifth
            assert ((batch[:, 0] - seen.min()) // 80).tolist() == [0, 1, 2, 3, 4]
        starts.append(seen[:, 0].tolist())
    assert len({min(epoch) for epoch in starts}) == 8  # windows begin elsewhere in each epoch
    assert len({tuple(np.argsort(epoch)) for epoch in starts}) == 100  # in another order


def test_epochs_are_those_of_their_seed() -> None:
    tokens = np.arange(400, dtype=np.uint16)
    one, again, other = (epoch_windows(tokens, 8, 5, seed, 7)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_part_shorter_than_a_block_is_named() -> None:
    check_length(np.zeros(9), 8, "validation")
    with pytest.raises(NanopoetError, match="the validation part has 8 tokens, but pretrain"):
        check_length(np.zeros(8), 8, "validation")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (",
        "{'descr': '<u2', 'shape': (3,",
        "{'descr': '0' * 9, 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '00u2', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    ],
)
def test_a_header_that_is_none_of_ours_is_named(tmp_path: Path, header: str) -> None:
    path = tmp_path / "tokens.npy"
    text = header.ljust(117).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(FileError, match=r"tokens\.npy: damaged token array"):
        TokenArrays.load(tmp_path)


def test_offsets_that_go_back_are_named(tmp_path: Path) -> None:
    TokenArrays(np.arange(9, dtype=np.uint16), np.array([0, 5, 3, 9])).save(tmp_path)
    with pytest.raises(FileError, match=r"offsets\.npy: does not fit"):
        TokenArrays.load(tmp_path)


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("count", [1, 3, 10_000])
def test_arrays_that_grow_in_files_are_those_that_are_saved(
    tmp_path: Path, count: int, separate: bool
) -> None:
    """Byte by byte as NumPy saves them."""
    poems = make_poems(count)
    tokenizer = CharTokenizer(poems)
    encode_poems(poems, tokenizer, separate).save(tmp_path / "saved")
    arrays = encode_to(tmp_path / "grown", iter(poems), tokenizer, separate)
    assert len(arrays.offsets) == count + 1
    for name in ("tokens.npy", "offsets.npy"):
        assert (tmp_path / "grown" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
