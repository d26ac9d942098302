"""Exported folders in `transformers`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from nanopoet.export.huggingface import NAMES, export_huggingface
from nanopoet.tokens.tokenizer import BEGIN_ID, SPECIAL_TOKENS
from tests.support.examples import examples
from tests.support.export import (
    TRICKY,
    UNKNOWN_CHARACTERS,
    check_nothing_is_overwritten,
    fail,
    random_model,
    tricky_tokenizer,
)

NEVER = set(range(len(SPECIAL_TOKENS))) - {BEGIN_ID}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exports modern/ and classic/."""
    folder, tokenizer = tmp_path_factory.mktemp("exported"), tricky_tokenizer()
    for architecture in ("modern", "classic"):
        export_huggingface(random_model(architecture, tokenizer), tokenizer, folder / architecture)
    return folder


@pytest.fixture(scope="module")
def words(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder / "modern")


def test_padded_texts_are_continued_as_without_padding(folder: Path, words: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / "modern")
    prompts = ["春夏", "山", "", "長安白日青"]
    batch = words(prompts, return_tensors="pt", padding=True)
    together = model.generate(**batch, max_new_tokens=20, do_sample=False)
    for prompt, row, mask in zip(prompts, together, batch["attention_mask"], strict=True):
        begun = words(prompt, return_tensors="pt")
        [single] = model.generate(**begun, max_new_tokens=20, do_sample=False).tolist()
        padding = len(mask) - int(mask.sum())
        assert row[padding:].tolist()[: len(single)] == single
        assert len(single) > 1 + len(prompt)


def test_it_draws_from_all_tokens(folder: Path) -> None:
    """The defaults of transformers are narrower."""
    config = AutoModelForCausalLM.from_pretrained(folder / "modern").generation_config
    assert config.do_sample
    assert (config.temperature, config.top_k, config.top_p) == (1.0, 0, 1.0)


@pytest.mark.parametrize("architecture", ["modern", "classic"])
@pytest.mark.parametrize("options", [{}, {"temperature": 3.0}, {"do_sample": False}])
def test_no_special_token_but_begin_is_written(
    folder: Path, words: Any, architecture: str, options: dict[str, Any]
) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / architecture)
    written = model.generate(
        **words([""] * 50, return_tensors="pt"), eos_token_id=None, pad_token_id=None, **options
    )
    assert not set(written.flatten().tolist()) & NEVER


@examples
@given(text=st.text(st.sampled_from(TRICKY + "春夏秋冬，。"), max_size=40))
def test_a_text_survives_encoding_and_decoding(words: Any, text: str) -> None:
    ids = words(text)["input_ids"]
    assert ids == [BEGIN_ID, *tricky_tokenizer().encode(text)]
    assert words.decode(ids, skip_special_tokens=True) == text


@examples
@given(
    text=st.text(
        st.one_of(
            st.sampled_from(TRICKY + UNKNOWN_CHARACTERS + "春夏秋冬，。"),
            st.characters(exclude_categories=["Cs"]),
        ),
        max_size=40,
    )
)
def test_any_text_gets_the_same_ids(words: Any, text: str) -> None:
    """A character may be unknown, or look like a part of a special token's name."""
    ids = words(text, add_special_tokens=False)["input_ids"]
    assert ids == tricky_tokenizer().encode(text)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_special_token_never_comes_out_of_text(words: Any, token: str) -> None:
    name = NAMES[token]  # type: ignore[index]
    for text in (str(token), name):
        ids = tricky_tokenizer().encode(text)
        assert words(text, add_special_tokens=False)["input_ids"] == ids
    assert words.convert_tokens_to_ids(name) == SPECIAL_TOKENS.index(token)


def test_begin_stands_before_and_after_a_text(words: Any) -> None:
    assert words("")["input_ids"] == [BEGIN_ID]
    assert words.eos_token_id == words.bos_token_id == BEGIN_ID


def test_a_folder_has_what_it_needs_and_no_code(folder: Path) -> None:
    for architecture in ("modern", "classic"):
        assert {path.name for path in (folder / architecture).iterdir()} == {
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        for path in (folder / architecture).glob("*.json"):
            assert "auto_map" not in json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("is_folder", [False, True])
def test_nothing_is_overwritten(is_folder: bool, tmp_path: Path) -> None:
    check_nothing_is_overwritten(export_huggingface, tmp_path, folder=is_folder)


def test_an_empty_folder_and_a_missing_parent_are_fine(tmp_path: Path) -> None:
    tokenizer, empty, new = tricky_tokenizer(), tmp_path / "empty", tmp_path / "a/b"
    empty.mkdir()
    (tmp_path / "link").symlink_to(empty)
    for place in (tmp_path / "link", new):
        export_huggingface(random_model("modern", tokenizer), tokenizer, place)
        assert (place / "config.json").exists()
    assert new.stat().st_mode == new.parent.stat().st_mode
    assert {path.name for path in tmp_path.iterdir()} == {"a", "empty", "link"}


def test_a_failure_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanopoet.export.huggingface._model_card", fail)
    tokenizer = tricky_tokenizer()
    with pytest.raises(OSError, match="No space left"):
        export_huggingface(random_model("modern", tokenizer), tokenizer, tmp_path / "poet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("architecture", "class_name"),
    [("modern", "Qwen3ForCausalLM"), ("classic", "GPT2LMHeadModel")],
)
def test_the_model_card_is_read_and_its_code_runs(
    folder: Path,
    architecture: str,
    class_name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = (folder / architecture / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    tokenizer = tricky_tokenizer()
    model = random_model(architecture, tokenizer)
    for part in (class_name, f"{model.num_parameters:,}", f"{tokenizer.vocab_size:,} tokens"):
        assert part in body
    monkeypatch.chdir(folder / architecture)
    [block] = re.findall(r"```python\n(.*?)```", body, re.S)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert len(capsys.readouterr().out.strip()) > 0
