"""nanopoet: pretrain a character-level GPT on classical Chinese verse.

The names of the teaching notebook that this project grew from are here, and `write`. Each is
imported on first use, so that a program that needs no torch does not load it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanopoet.common.errors import NanopoetError
    from nanopoet.corpus.collection import load_raw_data
    from nanopoet.corpus.poems import Poem
    from nanopoet.corpus.split import split_data
    from nanopoet.models.gpt import GPTLanguageModel
    from nanopoet.tokens.tokenizer import BEGIN, CharTokenizer
    from nanopoet.writing.folder import write

__version__ = "0.2.0"

_MODULES = {
    "BEGIN": "tokens.tokenizer",
    "CharTokenizer": "tokens.tokenizer",
    "GPTLanguageModel": "models.gpt",
    "NanopoetError": "common.errors",
    "Poem": "corpus.poems",
    "load_raw_data": "corpus.collection",
    "split_data": "corpus.split",
    "write": "writing.folder",
}

__all__ = [
    "BEGIN",
    "CharTokenizer",
    "GPTLanguageModel",
    "NanopoetError",
    "Poem",
    "load_raw_data",
    "split_data",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
