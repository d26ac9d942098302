"""Properties for any input: a correct result or one clear error, never another traceback."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanopoet.common.errors import NanopoetError
from nanopoet.common.yaml import read_yaml
from nanopoet.corpus.duplicates import duplicate_groups
from nanopoet.corpus.poems import Poem, load_duplicates, read_poems, read_texts, write_poems
from nanopoet.evaluation.copying import longest_copies
from nanopoet.evaluation.kneser_ney import KneserNey
from nanopoet.evaluation.verse import Corpus, judge, verse_figures
from nanopoet.models.checkpoint import load_model, save_model
from nanopoet.params import load_params
from nanopoet.prosody.annotate import mark
from nanopoet.prosody.rules import Verse
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import BEGIN_ID, SPECIAL_TOKENS, UNKNOWN, CharTokenizer
from nanopoet.training.pretraining import build_model
from tests.support.examples import examples
from tests.support.params import SMALL
from tests.support.project import DEFAULT_PARAMS
from tests.support.yaml import write_yaml

SPECIAL = "".join(SPECIAL_TOKENS)
texts = st.text(
    st.one_of(
        st.sampled_from(SPECIAL + "，。春夏秋冬\n\r\t 　"),
        st.characters(min_codepoint=0x3400, max_codepoint=0x9FFF),
        st.sampled_from("𠮷𠀋\u0301\u20dd\ufeff\u200d\x00é🀄"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)
poems = st.builds(
    lambda content, title: Poem(content=content, title=title, author="", style=title[:1]),
    texts.filter(str.strip),
    texts,
)


@examples
@given(texts)
def test_decoding_gives_back_what_was_encoded(text: str) -> None:
    tokenizer = CharTokenizer.from_characters(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(len(SPECIAL_TOKENS) <= i < tokenizer.vocab_size for i in ids)


@examples
@given(texts, texts)
def test_unknown_characters_become_u_and_no_other_token(known: str, text: str) -> None:
    tokenizer = CharTokenizer.from_characters(known)
    ids = tokenizer.encode(text)
    unknown = SPECIAL_TOKENS.index(UNKNOWN)
    assert [i == unknown for i in ids] == [c not in known for c in text]
    assert all(i == unknown or i >= len(SPECIAL_TOKENS) for i in ids)


@examples
@given(st.lists(poems, max_size=8), st.booleans())
def test_token_arrays_hold_the_poems(tmp_path: Path, given_: list[Poem], separate: bool) -> None:
    tokenizer = CharTokenizer(given_)
    arrays = encode_poems(given_, tokenizer, separate)
    if given_:
        arrays.save(tmp_path)
        arrays = TokenArrays.load(tmp_path)
    for i, poem in enumerate(given_):
        ids = arrays.tokens[arrays.offsets[i] : arrays.offsets[i + 1]].tolist()
        assert ids[:separate] == [BEGIN_ID] * separate
        assert tokenizer.decode(ids[separate:]) == poem["content"]


@examples
@given(st.lists(poems, min_size=1, max_size=8))
def test_poems_come_back_from_disk(tmp_path: Path, given_: list[Poem]) -> None:
    path = tmp_path / "poems.jsonl"
    write_poems(path, given_)
    assert read_poems(path) == given_
    CharTokenizer(given_).save(tmp_path / "vocab.json")
    assert CharTokenizer.load(tmp_path / "vocab.json").digest == CharTokenizer(given_).digest


@examples
@given(st.lists(texts, min_size=1, max_size=5), st.lists(poems, max_size=5))
def test_every_text_can_be_judged(given_: list[str], train: list[Poem]) -> None:
    judged = judge({"x": given_}, train)["x"]
    counted = [Poem(content="春，夏。", title="", author="", style=""), *train]
    tokenizer = CharTokenizer(counted)
    corpus = Corpus.of(counted, encode_poems(counted, tokenizer, True), tokenizer, order=2)
    figures = verse_figures(judged, corpus)
    assert json.loads(json.dumps(figures)) == figures
    for name in ("regular", "copies", "known_shape", "distinct_1"):
        assert 0 <= figures[name] <= 1
    for text, poem in zip(given_, judged, strict=True):
        assert 0 <= poem.copied <= len(text)
        assert poem.score is None or 0 <= poem.score <= 1
        assert ["".join(c["text"] for c in row) for row in mark(text)] == [*poem.verse.lines]


@examples
@given(texts)
def test_a_text_copies_itself_and_is_its_own_duplicate(text: str) -> None:
    assert longest_copies([text], [text]).tolist() == [len(text.split("\0")[0])] or "\0" in text
    verse = Verse.of(text)
    assert Verse.of(text) == verse
    poem = Poem(content=text or "春", title="", author="", style="")
    assert duplicate_groups([poem, poem]).tolist() == [0, 0]


@examples
@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 5))
def test_n_grams_give_every_text_a_finite_cost(tokens: list[int], order: int) -> None:
    model = KneserNey(np.array(tokens), vocab_size=8, order=order)
    nats = model.nats(np.array([7, *tokens, 7]))
    assert np.isfinite(nats).all()
    assert (nats >= 0).all()


# Files


def _bytes() -> st.SearchStrategy[bytes]:
    """Make any bytes, and JSON of a wrong form."""
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
    values = st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(
                st.sampled_from(["content", "title", "special_tokens", "characters", "model", "x"]),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
    return st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode()))


@examples
@given(_bytes())
def test_any_file_is_read_or_named(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    loaders: list[Any] = [
        read_poems,
        read_texts,
        CharTokenizer.load,
        load_params,
        lambda file: load_duplicates(file, 1),
    ]
    for load in loaders:
        try:
            load(path)
        except NanopoetError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tokenizer = CharTokenizer.from_characters("春夏秋冬，。")
    recipe = load_params(DEFAULT_PARAMS).pretrain.model_copy(update=SMALL["pretrain"])
    save_model(folder, build_model(tokenizer.vocab_size, recipe), tokenizer, {})
    return folder


@examples
@given(
    st.sampled_from(["model.safetensors", "config.json", "vocab.json"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
    st.booleans(),
)
def test_a_flipped_or_cut_model_file_is_named_or_says_the_same(
    tmp_path: Path, whole: Path, name: str, place: float, flip: int, cut: bool
) -> None:
    """Digests do not cover white space and the origin of the model."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = (whole / name).read_bytes()
    raw, at = bytearray(before), int(place * len(before))
    raw[at] ^= flip
    (tmp_path / name).write_bytes(raw[:at] if cut else raw)
    expected, expected_tokenizer = load_model(whole)
    try:
        model, tokenizer = load_model(tmp_path)
    except NanopoetError as error:
        assert str(tmp_path) in str(error)
        return
    assert name != "model.safetensors"
    assert tokenizer.digest == expected_tokenizer.digest
    weights = model.state_dict()
    for key, tensor in expected.state_dict().items():
        assert torch.equal(weights[key], tensor)
    assert model.config == expected.config


@examples
@given(
    st.sampled_from(["load", "split", "encode", "pretrain", "baseline", "evaluate", "nothing"]),
    st.sampled_from(["lr", "seed", "order", "source", "block_size", "head_num", "x"]),
    st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none())),
)
def test_any_parameter_is_taken_or_named(
    write_params: Any, section: str, leaf: str, value: object
) -> None:
    path = write_params()
    raw = read_yaml(path)
    raw.setdefault(section, {})[leaf] = value
    write_yaml(path, raw)
    try:
        params = load_params(path)
    except NanopoetError as error:
        assert "params.yaml" in str(error)
    else:
        assert params.model_dump()[section][leaf] == value
