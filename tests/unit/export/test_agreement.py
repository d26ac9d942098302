"""Agreement of exported models with nanopoet, and the code of docs/export.md."""

import re
from pathlib import Path

import pytest

from bench.export import compare
from nanopoet.corpus.poems import Poem
from nanopoet.models.checkpoint import save_model
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.export import random_model, tricky_tokenizer
from tests.support.poems import make_poems
from tests.support.project import ROOT


@pytest.mark.parametrize(
    ("architecture", "sizes", "takes_fields"),
    [
        ("modern", {}, False),
        ("modern", {"emb_size": 30, "head_num": 3}, True),
        ("modern", {"emb_size": 48, "head_num": 4, "kv_head_num": 2}, False),
        ("modern", {"emb_size": 30, "head_num": 3, "kv_head_num": 1}, True),
        ("modern", {"emb_size": 32, "head_num": 1, "layer_num": 1, "mlp_size": 7}, False),
        ("classic", {}, False),
        ("classic", {"emb_size": 30, "head_num": 3}, True),
        ("classic", {"emb_size": 32, "head_num": 1, "layer_num": 1}, False),
    ],
)
def test_logits_and_poems_agree(
    architecture: str,
    sizes: dict[str, int],
    takes_fields: bool,
) -> None:
    """Some titles are longer than the model can read."""
    tokenizer = tricky_tokenizer()
    poems = [
        Poem(
            **poem
            | {"content": poem["content"].replace("月", ""), "title": "春" * (number % 3 * 60)}
        )
        for number, poem in enumerate(make_poems(20))
    ]
    model = random_model(architecture, tokenizer, **sizes)
    model.takes_fields = takes_fields
    figures = compare(model, tokenizer, poems, count=6)
    assert figures.pop("transformers_logit_difference") < 1e-4
    assert (architecture == "modern") == ("llama_cpp_written_alike" in figures)
    if architecture == "modern":
        assert figures.pop("llama_cpp_log_probability_difference") < 1e-4
    for name, figure in figures.items():
        assert figure == (20 if name.endswith(("poems", "tokenized_alike")) else 6), name


def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer = CharTokenizer(make_poems())
    save_model(tmp_path / "models/poet", random_model("modern", tokenizer), tokenizer, {})
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), {})  # noqa: S102
    poems = [line for line in capfd.readouterr().out.splitlines() if line.startswith("明月")]
    assert len(poems) == 2
