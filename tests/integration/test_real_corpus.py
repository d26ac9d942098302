"""The real corpus: its figures, and exported tokenizers on all its validation poems."""

import json
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bench.llama import LlamaCpp
from nanopoet.corpus.duplicates import duplicate_groups
from nanopoet.corpus.poems import read_poems
from nanopoet.corpus.split import split_data
from nanopoet.export.gguf import export_gguf
from nanopoet.export.huggingface import export_huggingface
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, UNKNOWN, CharTokenizer
from tests.support.project import ROOT, Project


@pytest.fixture(scope="module")
def real_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with the real corpus, encoded."""
    project = Project(tmp_path_factory.mktemp("real"))
    assert project.repro("encode") == ["fetch", "load", "split", "tokenize", "encode"]
    return project


@pytest.mark.registry
def test_the_real_corpus_has_the_figures_of_the_notebook(real_project: Project) -> None:
    project, folder = real_project, real_project.folder
    load, split = project.metrics("load"), project.metrics("split")
    assert (load["poems"], load["authors"], load["styles"]) == (241_440, 9_829, 631)
    assert load["content_characters"] == 11_186_141
    assert load["most_common_styles"]["七言绝句"] == 83_145
    assert load["most_common_styles"]["七言律诗"] == 68_155
    assert load["most_common_styles"]["五言律诗"] == 60_209
    assert load["most_common_styles"]["五言绝句"] == 17_053
    assert (split["train_characters"], split["val_characters"]) == (10_067_193, 1_118_948)
    assert (split["val_exact_duplicates"], split["val_near_duplicates"]) == (223, 762)
    assert project.metrics("tokenize") == {
        "characters": 11_857,
        "special_tokens": 11,
        "vocab_size": 11_868,
    }
    encode = project.metrics("encode")
    assert (encode["train_characters"], encode["val_characters"]) == (10_067_193, 1_118_948)
    figures = json.loads((ROOT / "docs/figures.json").read_text(encoding="utf-8"))
    for stage in ("load", "split", "tokenize", "encode"):
        assert project.metrics(stage) == figures[stage]
    authors = {poem["author"]: poem["style"] for poem in read_poems(folder / "data/val.jsonl")}
    assert authors["诗经"] == "诗经"
    # Near-duplicates may fall into both parts, or are kept together.
    poems = read_poems(folder / "data/poems.jsonl")
    sizes = Counter(duplicate_groups(poems).tolist()).values()
    groups = [size for size in sizes if size > 1]
    assert (len(groups), sum(groups)) == (5_416, 11_186)
    train, val = split_data(poems, duplicates="together")
    assert (len(train), len(val)) == (218_281, 23_159)
    # A verified archive is not downloaded twice.
    assert "was there already" in project.run("stages.fetch").stdout


@pytest.mark.registry
def test_exported_tokenizers_agree_on_every_validation_poem(
    real_project: Project, tmp_path: Path
) -> None:
    """`transformers` and llama.cpp encode each poem as nanopoet does.

    llama.cpp gets 1,000 poems at once, joined by a character that is not in the vocabulary.
    """
    tokenizer = CharTokenizer.load(real_project.folder / "data/vocab.json")
    texts = [poem["content"] for poem in read_poems(real_project.folder / "data/val.jsonl")]
    expected = [tokenizer.encode(text) for text in texts]
    assert len(expected) == 24_144
    model = Qwen3LanguageModel(tokenizer.vocab_size, 2, 8, 1, 1, 2, 0.0)
    export_huggingface(model, tokenizer, tmp_path / "hf")
    words = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert words(texts, add_special_tokens=False)["input_ids"] == expected
    assert words.batch_decode(expected) == texts
    export_gguf(model, tokenizer, tmp_path / "poet.gguf")
    llama = LlamaCpp(tmp_path / "poet.gguf", 8)
    for start in range(0, len(texts), 1000):
        ids = llama.encode("\n".join(texts[start : start + 1000]))
        assert ids == tokenizer.encode("\n".join(texts[start : start + 1000]))
        assert ids.count(SPECIAL_TOKENS.index(UNKNOWN)) == len(texts[start : start + 1000]) - 1
