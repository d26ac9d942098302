import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanopoet.common.errors import FileError
from nanopoet.corpus.poems import Poem
from nanopoet.tokens.dataset import TokenArrays, target_stream
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.examples import examples

MAGIC = b"\x93NUMPY"


@pytest.fixture
def arrays(poems: list[Poem]) -> TokenArrays:
    return encode_poems(poems, CharTokenizer(poems), separate=False)


def _with_header(header: str, data: bytes = b"") -> bytes:
    """Make a `.npy` file of version 1.0 from the text of its header."""
    raw = header.ljust(117).encode("latin1") + b"\n"
    return MAGIC + b"\x01\x00" + len(raw).to_bytes(2, "little") + raw + data


def test_round_trip(tmp_path: Path, arrays: TokenArrays) -> None:
    arrays.save(tmp_path)
    again = TokenArrays.load(tmp_path)
    assert isinstance(again.tokens, np.memmap)
    assert again.tokens.dtype == np.uint16
    np.testing.assert_array_equal(again.tokens, arrays.tokens)
    np.testing.assert_array_equal(again.offsets, arrays.offsets)


@pytest.mark.parametrize("separate", [True, False])
def test_the_target_stream_has_begin_at_one_end(poems: list[Poem], separate: bool) -> None:
    arrays = encode_poems(poems[:2], CharTokenizer(poems), separate)
    stream = target_stream(arrays).tolist()
    tokens = arrays.tokens.tolist()
    assert stream == ([*tokens, 0] if separate else [0, *tokens])


def test_a_missing_file_is_named(tmp_path: Path, arrays: TokenArrays) -> None:
    with pytest.raises(FileError, match=r"tokens\.npy: no such file"):
        TokenArrays.load(tmp_path)
    arrays.save(tmp_path)
    (tmp_path / "offsets.npy").unlink()
    with pytest.raises(FileError, match=r"offsets\.npy: no such file"):
        TokenArrays.load(tmp_path)


def test_a_folder_in_its_place_is_not_taken_for_damage(tmp_path: Path) -> None:
    (tmp_path / "tokens.npy").mkdir()
    with pytest.raises(IsADirectoryError):
        TokenArrays.load(tmp_path)


@pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy"])
@pytest.mark.parametrize("keep", [0, 3, 8, 9, 50, 128, -2, -1])
def test_a_truncated_array_is_named(
    tmp_path: Path, arrays: TokenArrays, name: str, keep: int
) -> None:
    arrays.save(tmp_path)
    raw = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(raw[:keep])
    with pytest.raises(FileError, match=f"{name}: damaged token array"):
        TokenArrays.load(tmp_path)


def test_bytes_after_the_array_are_damage(tmp_path: Path, arrays: TokenArrays) -> None:
    arrays.save(tmp_path)
    with open(tmp_path / "tokens.npy", "ab") as file:
        file.write(b"\0\0")
    with pytest.raises(FileError, match=r"tokens\.npy: damaged"):
        TokenArrays.load(tmp_path)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}], dtype=object),
        np.zeros((2, 2), dtype=np.uint16),
        np.zeros((), dtype=np.uint16),
        np.zeros(0, dtype=np.uint16),
        np.zeros(3),
        np.zeros(3, dtype=bool),
        np.array(["春", "夏"]),
        np.zeros(3, dtype=[("id", np.uint16)]),
        np.zeros(3, dtype=">u2"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_another_array_than_ours_is_refused(
    tmp_path: Path, arrays: TokenArrays, array: np.ndarray
) -> None:
    arrays.save(tmp_path)
    np.save(tmp_path / "tokens.npy", array, allow_pickle=True)
    with pytest.raises(FileError, match="damaged token array"):
        TokenArrays.load(tmp_path)


def test_signed_tokens_are_fine_and_unsigned_offsets_are_not(
    tmp_path: Path, arrays: TokenArrays
) -> None:
    TokenArrays(arrays.tokens.astype(np.int32), arrays.offsets).save(tmp_path)
    assert TokenArrays.load(tmp_path).tokens.dtype == np.int32
    TokenArrays(arrays.tokens, arrays.offsets.astype(np.uint64)).save(tmp_path)
    with pytest.raises(FileError, match=r"offsets\.npy: damaged"):
        TokenArrays.load(tmp_path)


@pytest.mark.parametrize(
    "offsets", [[0, 5, 3, 9], [0, 5, 8], [1, 9], [0], [0, 5, 10]], ids=lambda each: str(each)
)
def test_offsets_that_do_not_fit_are_named(tmp_path: Path, offsets: list[int]) -> None:
    TokenArrays(np.arange(9, dtype=np.uint16), np.array(offsets)).save(tmp_path)
    with pytest.raises(FileError, match=r"offsets\.npy: does not fit tokens\.npy"):
        TokenArrays.load(tmp_path)


# Damaged files: NumPy evaluates the header as Python, so any exception may come of it.


def _refused(tmp_path: Path, raw: bytes) -> None:
    """Check that a token file is refused, and that little memory is taken for it."""
    (tmp_path / "tokens.npy").write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=r"tokens\.npy: damaged token array"):
            TokenArrays.load(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "3",
        "[]",
        "{'descr': (",
        "{'descr': '<u2', 'shape': (3,",
        "{'descr': '0' * 9, 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '00u2', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': 3, }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': ('3',), }",
        "{'descr': '<u2', 'fortran_order': 7, 'shape': (3,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (" + "9" * 60 + ",), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<u2', 'fortran_order': False, 'shape': (3,), 'more': 1, }",
        "{'descr': ('<u2', (999999999,)), 'fortran_order': False, 'shape': (3,), }",
        "{'descr': [('id', '<u2')], 'fortran_order': False, 'shape': (3,), }",
        "{[]: 1}",
        "(" * 9000,
        "-" * 9000 + "1",
        "{'descr': '<u2\\0', 'fortran_order': False, 'shape': (3,), }",
    ],
    ids=lambda header: header[:40],
)
def test_a_damaged_header_is_named(tmp_path: Path, header: str) -> None:
    _refused(tmp_path, _with_header(header, bytes(6)))


@pytest.mark.parametrize("version", [b"\x02\x00", b"\x03\x00", b"\x09\x00", b"\x01\x01"])
def test_a_header_of_four_gibibytes_is_not_read(tmp_path: Path, version: bytes) -> None:
    _refused(tmp_path, MAGIC + version + b"\xff\xff\xff\xff{'descr'")


@pytest.mark.parametrize("raw", [b"PK\x03\x04" + bytes(60), b"\x80\x04N.", b"\x1f\x8b" + bytes(9)])
def test_other_formats_are_not_tried(tmp_path: Path, raw: bytes) -> None:
    _refused(tmp_path, raw)


_WORDS = ["{", "}", "(", ")", "[", "]", "'descr'", "'shape'", "'fortran_order'", ":", ",", " "]
_WORDS += ["'<u2'", "'O'", "'V9'", "3", "-1", "1e9", "3L", "True", "None", "lambda", "\\", "\n"]


@examples
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda raw: MAGIC + raw),
        st.lists(st.sampled_from(_WORDS), max_size=30).map(
            lambda all_: _with_header("".join(all_))
        ),
        st.text(st.characters(max_codepoint=255), max_size=80).map(_with_header),
    )
)
def test_random_bytes_are_refused(tmp_path: Path, raw: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as outside of tests: no warning becomes the exception
        _refused(tmp_path, raw)


@examples
@given(st.integers(0, 127), st.integers(1, 255))
def test_a_flipped_header_is_refused_or_reads_the_same(
    tmp_path: Path, place: int, flip: int
) -> None:
    saved = TokenArrays(np.arange(9, dtype=np.uint16), np.array([0, 4, 9]))
    saved.save(tmp_path)
    raw = bytearray((tmp_path / "tokens.npy").read_bytes())
    raw[place] ^= flip
    (tmp_path / "tokens.npy").write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            again = TokenArrays.load(tmp_path)
        except FileError:
            return
    assert again.tokens.tobytes() == saved.tokens.tobytes()
