"""Exported models in the programs that they are for: `transformers` and llama.cpp itself."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.export import compare
from bench.llama import LlamaCpp
from nanopoet.common.errors import NanopoetError
from nanopoet.export.gguf import SPACE, export_gguf
from nanopoet.export.huggingface import NAMES, export_huggingface
from nanopoet.models.base import LanguageModel
from nanopoet.models.checkpoint import save_model
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import BEGIN_ID, SPECIAL_TOKENS, UNKNOWN, CharTokenizer
from tests.support.examples import examples
from tests.support.poems import make_poems
from tests.support.project import ROOT

NASTY = (
    "BPUAaSsTtCc <>/begin\n\r\t\u000b\u007f\u0085\u2028\u3000é\u0301\u200d\ufeff\ufffd"
    "㐀龥豈𠮷𠀋🀄\U0010ffff"
)
"""Letters of special tokens, all of a special token's name, blanks, marks that combine, characters
that normalisation changes, or that need two units of UTF-16."""
STRANGERS = "x0\u0000▁月あ\u0302𠮸"
"""What is not in the vocabulary."""
UNKNOWN_ID = SPECIAL_TOKENS.index(UNKNOWN)


@cache
def _tokenizer() -> CharTokenizer:
    poems = "".join(poem["content"] for poem in make_poems(50)).replace("月", "")
    return CharTokenizer.from_characters(NASTY + poems)


def _model(architecture: str, tokenizer: CharTokenizer, **sizes: int) -> LanguageModel:
    """Random in every weight: what begins as zero or one would hide a mistake."""
    config: dict[str, Any] = {"emb_size": 24, "block_size": 32, "layer_num": 2, "head_num": 2}
    if architecture == "modern":
        config["mlp_size"] = 40
    config |= {"architecture": architecture, "vocab_size": tokenizer.vocab_size, "dropout": 0.1}
    generator = torch.Generator().manual_seed(0)
    model = make_model(config | sizes, generator).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
            if "embedding" in name:
                parameter.mul_(0.01)  # so small that the epsilon of the first norm shows
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """modern/, classic/ and poet.gguf, which is the modern one."""
    folder, tokenizer = tmp_path_factory.mktemp("exported"), _tokenizer()
    for architecture in ("modern", "classic"):
        export_huggingface(_model(architecture, tokenizer), tokenizer, folder / architecture)
    export_gguf(_model("modern", tokenizer), tokenizer, folder / "poet.gguf")
    return folder


@pytest.fixture(scope="module")
def llama(folder: Path) -> LlamaCpp:
    return LlamaCpp(folder / "poet.gguf", 32)


# The same model.


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("modern", {}),
        ("modern", {"emb_size": 30, "head_num": 3}),
        ("modern", {"emb_size": 48, "head_num": 4, "kv_head_num": 2}),
        ("modern", {"emb_size": 30, "head_num": 3, "kv_head_num": 1}),
        ("modern", {"emb_size": 32, "head_num": 1, "layer_num": 1, "mlp_size": 7}),
        ("classic", {}),
        ("classic", {"emb_size": 30, "head_num": 3}),
        ("classic", {"emb_size": 32, "head_num": 1, "layer_num": 1}),
    ],
)
def test_it_computes_and_writes_the_same(architecture: str, sizes: dict[str, int]) -> None:
    tokenizer = _tokenizer()
    poems = [poem["content"].replace("月", "") for poem in make_poems(20)]
    figures = compare(_model(architecture, tokenizer, **sizes), tokenizer, poems, count=6)
    assert figures.pop("transformers_logit_difference") < 1e-4
    assert (architecture == "modern") == ("llama_cpp_written_alike" in figures)
    if architecture == "modern":
        assert figures.pop("llama_cpp_log_probability_difference") < 1e-4
    for name, figure in figures.items():
        assert figure == (20 if name.endswith(("poems", "tokenized_alike")) else 6), name


def test_padded_texts_are_continued_like_lone_ones(folder: Path) -> None:
    words = AutoTokenizer.from_pretrained(folder / "modern")
    model = AutoModelForCausalLM.from_pretrained(folder / "modern")
    prompts = ["春夏", "山", "", "長安白日青"]
    batch = words(prompts, return_tensors="pt", padding=True)
    together = model.generate(**batch, max_new_tokens=20, do_sample=False)
    for prompt, row, mask in zip(prompts, together, batch["attention_mask"], strict=True):
        begun = words(prompt, return_tensors="pt")
        [lone] = model.generate(**begun, max_new_tokens=20, do_sample=False).tolist()
        padding = len(mask) - int(mask.sum())
        assert row[padding:].tolist()[: len(lone)] == lone
        assert len(lone) > 1 + len(prompt)


def test_gguf_holds_every_weight_in_fp32(folder: Path) -> None:
    tensors = gguf.GGUFReader(folder / "poet.gguf").tensors
    assert {tensor.tensor_type for tensor in tensors} == {gguf.GGMLQuantizationType.F32}
    model = _model("modern", _tokenizer())
    assert sum(int(tensor.n_elements) for tensor in tensors) == model.num_parameters


def test_both_draw_from_all_tokens(folder: Path, llama: LlamaCpp) -> None:
    """As nanopoet does; each has narrower habits of its own."""
    settings = llama.ask("completion", {"prompt": "春", "n_predict": 1})["generation_settings"]
    config = AutoModelForCausalLM.from_pretrained(folder / "modern").generation_config
    assert config.do_sample
    for name, value in (("temperature", 1.0), ("top_k", 0), ("top_p", 1.0)):
        assert settings[name] == getattr(config, name) == value
    assert settings["min_p"] == 0.0


# The same tokens.

known = st.text(st.sampled_from(NASTY + "春夏秋冬，。"), max_size=40)
anything = st.text(
    st.one_of(
        st.sampled_from(NASTY + STRANGERS + "春夏秋冬，。"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)
"""A character may be unknown, or look like a part of a special token's name."""


@pytest.fixture(scope="module")
def words(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder / "modern")


@examples
@given(text=known)
def test_transformers_gives_a_text_back(words: Any, text: str) -> None:
    ids = words(text)["input_ids"]
    assert ids == [BEGIN_ID, *_tokenizer().encode(text)]
    assert words.decode(ids, skip_special_tokens=True) == text


@examples
@given(text=anything)
def test_transformers_reads_any_text_as_we_do(words: Any, text: str) -> None:
    assert words(text, add_special_tokens=False)["input_ids"] == _tokenizer().encode(text)


@examples
@given(text=known)
def test_llama_cpp_gives_a_text_back(llama: LlamaCpp, text: str) -> None:
    ids = llama.encode(text)
    assert ids == _tokenizer().encode(text)
    assert llama.ask("detokenize", {"tokens": ids})["content"] == text


@examples
@given(text=anything.filter(lambda text: SPACE not in text))
def test_llama_cpp_reads_any_text_as_we_do_but_for_runs_of_strangers(
    llama: LlamaCpp, text: str
) -> None:
    """Of a run it makes one U."""
    ids = _tokenizer().encode(text)
    runs = [id_ for place, id_ in enumerate(ids) if id_ != UNKNOWN_ID or ids[:place][-1:] != [id_]]
    assert llama.encode(text) == runs


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_special_token_never_comes_out_of_text(words: Any, llama: LlamaCpp, token: str) -> None:
    for text in (token, NAMES[token]):  # type: ignore[index]
        ids = _tokenizer().encode(str(text))
        assert words(text, add_special_tokens=False)["input_ids"] == ids
    name = NAMES[token]  # type: ignore[index]
    assert words.convert_tokens_to_ids(name) == SPECIAL_TOKENS.index(token)
    assert llama.encode(token) == _tokenizer().encode(str(token))
    assert "begin" not in name or llama.encode(name) == _tokenizer().encode(name)


def test_both_begin_a_text_with_begin_and_end_it_there(words: Any, llama: LlamaCpp) -> None:
    assert words("")["input_ids"] == [BEGIN_ID]
    assert words.eos_token_id == words.bos_token_id == BEGIN_ID
    question = {"content": "春", "add_special": True}
    assert llama.ask("tokenize", question)["tokens"] == words("春")["input_ids"]


# Whole or not at all.


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


Export = Callable[[LanguageModel, CharTokenizer, Path], None]


@pytest.mark.parametrize("export", [export_huggingface, export_gguf])
@pytest.mark.parametrize("there", ["a file", "a folder"])
def test_nothing_is_overwritten(export: Export, there: str, tmp_path: Path) -> None:
    tokenizer, place = _tokenizer(), tmp_path / "poet"
    kept = place if there == "a file" else place / "config.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine", encoding="utf-8")
    with pytest.raises(NanopoetError, match="exists") as caught:
        export(_model("modern", tokenizer), tokenizer, place)
    assert str(place) in str(caught.value)
    assert kept.read_text(encoding="utf-8") == "mine"
    assert len(list(tmp_path.rglob("*"))) == (1 if there == "a file" else 2)


def test_an_empty_folder_and_a_missing_parent_will_do(tmp_path: Path) -> None:
    tokenizer = _tokenizer()
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "a/b"):
        export_huggingface(_model("modern", tokenizer), tokenizer, place)
        assert (place / "config.json").exists()
        assert (
            place.stat().st_mode == tmp_path.joinpath("a").stat().st_mode
            if (tmp_path / "a").exists()
            else True
        )
    export_gguf(_model("modern", tokenizer), tokenizer, tmp_path / "c/poet.gguf")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c", "empty"}


@pytest.mark.parametrize(
    ("export", "last"),
    [
        (export_huggingface, "nanopoet.export.huggingface._model_card"),
        (export_gguf, "gguf.GGUFWriter.write_tensors_to_file"),
    ],
)
def test_what_fails_midway_leaves_nothing(
    export: Export, last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(last, fail)
    tokenizer = _tokenizer()
    with pytest.raises(OSError, match="No space left"):
        export(_model("modern", tokenizer), tokenizer, tmp_path / "poet")
    assert list(tmp_path.iterdir()) == []


def test_gguf_says_why_it_has_no_classic_model(tmp_path: Path) -> None:
    tokenizer = _tokenizer()
    with pytest.raises(NanopoetError, match=r"classic architecture .* GELU .* Hugging Face"):
        export_gguf(_model("classic", tokenizer), tokenizer, tmp_path / "poet.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("character", ["\0", SPACE])
def test_gguf_names_a_character_that_it_cannot_hold(character: str, tmp_path: Path) -> None:
    tokenizer = CharTokenizer.from_characters(NASTY + character)
    with pytest.raises(NanopoetError, match=f"U\\+{ord(character):04X}"):
        export_gguf(_model("modern", tokenizer), tokenizer, tmp_path / "poet.gguf")
    assert list(tmp_path.iterdir()) == []


# What is written about it.


@pytest.mark.parametrize(
    ("architecture", "theirs"), [("modern", "Qwen3ForCausalLM"), ("classic", "GPT2LMHeadModel")]
)
def test_the_model_card_is_read_and_its_code_runs(
    folder: Path,
    architecture: str,
    theirs: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = (folder / architecture / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    model = _model(architecture, _tokenizer())
    for part in (theirs, f"{model.num_parameters:,}", f"{_tokenizer().vocab_size:,} tokens"):
        assert part in body
    monkeypatch.chdir(folder / architecture)
    [block] = re.findall(r"```python\n(.*?)```", body, re.S)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert len(capsys.readouterr().out.strip()) > 0


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer = CharTokenizer(make_poems())
    save_model(tmp_path / "models/poet", _model("modern", tokenizer), tokenizer, {})
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), {})  # noqa: S102
    poems = [line for line in capfd.readouterr().out.splitlines() if line.startswith("明月")]
    assert len(poems) == 2
