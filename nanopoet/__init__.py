"""nanopoet: pretrain a character-level GPT on classical Chinese verse.

The names of the notebook that this project grew from live here. They are
looked up on first use, so that a stage which needs no torch imports none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanopoet.classic import GPTLanguageModel
    from nanopoet.corpus import load_raw_data
    from nanopoet.errors import NanopoetError
    from nanopoet.poems import Poem
    from nanopoet.split import split_data
    from nanopoet.tokenizer import BEGIN, CharTokenizer

__version__ = "0.1.0"

_HOME = {
    "BEGIN": "tokenizer",
    "CharTokenizer": "tokenizer",
    "GPTLanguageModel": "classic",
    "NanopoetError": "errors",
    "Poem": "poems",
    "load_raw_data": "corpus",
    "split_data": "split",
}

__all__ = [
    "BEGIN",
    "CharTokenizer",
    "GPTLanguageModel",
    "NanopoetError",
    "Poem",
    "load_raw_data",
    "split_data",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
