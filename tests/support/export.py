"""Models and vocabularies for tests of the exports."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.common.errors import NanopoetError
from nanopoet.models.base import LanguageModel
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import make_poems

TRICKY = (
    "BPUAaSsTtCc <>/begin\n\r\t\u000b\u007f\u0085\u2028\u3000é\u0301\u200d\ufeff\ufffd"
    "㐀龥豈𠮷𠀋🀄\U0010ffff"
)
"""Letters of special tokens and all of a special token's name, blanks, marks that combine, and
characters that normalisation changes or that take two units of UTF-16."""
UNKNOWN_CHARACTERS = "x0\u0000▁月あ\u0302𠮸"
"""Characters that the vocabulary lacks."""


@cache
def tricky_tokenizer() -> CharTokenizer:
    """Make a vocabulary of `TRICKY` and of poems."""
    poems = "".join("".join(poem.values()) for poem in make_poems(50)).replace("月", "")  # type: ignore[arg-type]
    return CharTokenizer.from_characters(TRICKY + poems)


def random_model(architecture: str, tokenizer: CharTokenizer, **sizes: int) -> LanguageModel:
    """Make a model whose weights are all random: a zero or a one could hide a mistake."""
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
                parameter.mul_(0.01)  # so small that the epsilon of the first norm matters
    return model


Export = Callable[[LanguageModel, CharTokenizer, Path], None]


def check_nothing_is_overwritten(export: Export, parent: Path, *, folder: bool) -> None:
    """Check that an export refuses a name that is taken, by a file or by a folder with a file.

    Raises:
        AssertionError: the export went through, said something else or touched a file.
    """
    tokenizer, place = tricky_tokenizer(), parent / "poet"
    kept = place / "config.json" if folder else place
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine", encoding="utf-8")
    before = set(parent.rglob("*"))
    with pytest.raises(NanopoetError, match="exists") as caught:
        export(random_model("modern", tokenizer), tokenizer, place)
    assert str(place) in str(caught.value)
    assert kept.read_text(encoding="utf-8") == "mine"
    assert set(parent.rglob("*")) == before


def fail(*_: object) -> None:
    """Fail as a full disk does."""
    raise OSError(28, "No space left on device")
