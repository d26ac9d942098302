"""Exported GGUF files in llama.cpp."""

from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.llama import LlamaCpp
from nanopoet.common.errors import NanopoetError
from nanopoet.export.gguf import SPACE, export_gguf
from nanopoet.export.huggingface import NAMES
from nanopoet.tokens.tokenizer import BEGIN_ID, SPECIAL_TOKENS, UNKNOWN, CharTokenizer
from tests.support.examples import examples
from tests.support.export import (
    TRICKY,
    UNKNOWN_CHARACTERS,
    check_nothing_is_overwritten,
    fail,
    random_model,
    tricky_tokenizer,
)

UNKNOWN_ID = SPECIAL_TOKENS.index(UNKNOWN)
NEVER = set(range(len(SPECIAL_TOKENS))) - {BEGIN_ID}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A modern model as a GGUF file."""
    path, tokenizer = tmp_path_factory.mktemp("exported") / "poet.gguf", tricky_tokenizer()
    export_gguf(random_model("modern", tokenizer), tokenizer, path)
    return path


@pytest.fixture(scope="module")
def llama(path: Path) -> LlamaCpp:
    return LlamaCpp(path, 32)


def test_it_holds_every_weight_in_fp32(path: Path) -> None:
    tensors = gguf.GGUFReader(path).tensors
    assert {tensor.tensor_type for tensor in tensors} == {gguf.GGMLQuantizationType.F32}
    model = random_model("modern", tricky_tokenizer())
    assert sum(int(tensor.n_elements) for tensor in tensors) == model.num_parameters


def test_it_draws_from_all_tokens(llama: LlamaCpp) -> None:
    """The defaults of llama.cpp are narrower."""
    settings = llama.ask("completion", {"prompt": "春", "n_predict": 1})["generation_settings"]
    found = [settings[name] for name in ("temperature", "top_k", "top_p", "min_p")]
    assert found == [1.0, 0, 1.0, 0.0]


@examples
@given(text=st.text(st.sampled_from(TRICKY + "春夏秋冬，。"), max_size=40))
def test_a_text_survives_encoding_and_decoding(llama: LlamaCpp, text: str) -> None:
    ids = llama.encode(text)
    assert ids == tricky_tokenizer().encode(text)
    assert llama.ask("detokenize", {"tokens": ids})["content"] == text


@examples
@given(
    text=st.text(
        st.one_of(
            st.sampled_from(TRICKY + UNKNOWN_CHARACTERS + "春夏秋冬，。"),
            st.characters(exclude_categories=["Cs"]),
        ),
        max_size=40,
    ).filter(lambda text: SPACE not in text)
)
def test_any_text_gets_the_same_ids_but_for_runs_of_unknown_characters(
    llama: LlamaCpp, text: str
) -> None:
    """llama.cpp makes one U of a run."""
    ids = tricky_tokenizer().encode(text)
    runs = [id_ for place, id_ in enumerate(ids) if id_ != UNKNOWN_ID or ids[:place][-1:] != [id_]]
    assert llama.encode(text) == runs


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_special_token_never_comes_out_of_text(llama: LlamaCpp, token: str) -> None:
    name = NAMES[token]  # type: ignore[index]
    assert llama.encode(token) == tricky_tokenizer().encode(str(token))
    assert "begin" not in name or llama.encode(name) == tricky_tokenizer().encode(name)


def test_begin_stands_before_a_text(llama: LlamaCpp) -> None:
    question = {"content": "春", "add_special": True}
    expected = [BEGIN_ID, *tricky_tokenizer().encode("春")]
    assert llama.ask("tokenize", question)["tokens"] == expected


@pytest.mark.parametrize("temperature", [0, 1, 3])
def test_no_special_token_but_begin_is_written(llama: LlamaCpp, temperature: float) -> None:
    """llama.cpp shows none of them, and draws none."""
    question = {"n_predict": 30, "temperature": temperature, "return_tokens": True}
    for seed in range(20):
        answer = llama.ask("completion", question | {"prompt": [BEGIN_ID], "seed": seed})
        assert not set(answer["tokens"]) & NEVER


@pytest.mark.parametrize("is_folder", [False, True])
def test_nothing_is_overwritten(is_folder: bool, tmp_path: Path) -> None:
    check_nothing_is_overwritten(export_gguf, tmp_path, folder=is_folder)


def test_a_missing_parent_is_fine(tmp_path: Path) -> None:
    tokenizer = tricky_tokenizer()
    export_gguf(random_model("modern", tokenizer), tokenizer, tmp_path / "c/poet.gguf")
    assert {path.name for path in tmp_path.rglob("*")} == {"c", "poet.gguf"}


def test_a_failure_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gguf.GGUFWriter.write_tensors_to_file", fail)
    tokenizer = tricky_tokenizer()
    with pytest.raises(OSError, match="No space left"):
        export_gguf(random_model("modern", tokenizer), tokenizer, tmp_path / "poet")
    assert list(tmp_path.iterdir()) == []


def test_a_classic_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    tokenizer = tricky_tokenizer()
    with pytest.raises(NanopoetError, match=r"classic architecture .* GELU .* Hugging Face"):
        export_gguf(random_model("classic", tokenizer), tokenizer, tmp_path / "poet.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("character", ["\0", SPACE])
def test_a_character_that_it_cannot_hold_is_named(character: str, tmp_path: Path) -> None:
    tokenizer = CharTokenizer.from_characters(TRICKY + character)
    with pytest.raises(NanopoetError, match=f"U\\+{ord(character):04X}"):
        export_gguf(random_model("modern", tokenizer), tokenizer, tmp_path / "poet.gguf")
    assert list(tmp_path.iterdir()) == []
