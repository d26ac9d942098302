"""Poems for requests from a model folder, in one call."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from nanopoet.common.model_folders import best_model
from nanopoet.models.base import LanguageModel
from nanopoet.models.checkpoint import load_model
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.writing.catalogue import CATALOGUE, Catalogue
from nanopoet.writing.request import SampledRequest
from nanopoet.writing.write import write_poems

Poet = tuple[LanguageModel, CharTokenizer, Catalogue | None]
"""A model, its vocabulary, and the authors and tunes that it knows if it takes fields."""


def load_poet(folder: str | Path) -> Poet:
    """Read a model folder, with the catalogue of a finetuned model.

    Raises:
        FileError: a file is missing or damaged.
    """
    model, tokenizer = load_model(folder)
    catalogue = Catalogue.load(Path(folder) / CATALOGUE) if model.takes_fields else None
    return model, tokenizer, catalogue


def write(model: str | Path | None = None, **wishes: Any) -> list[str]:
    """Write poems that are what is asked for.

    `nanopoet.write(form="七绝", author="李白", title="月夜", keep_rules=True, count=3)` writes
    three poems. A model is read once, and again if its config.json or catalogue.json changes.

    Args:
        model: a model folder; by default the best that is there.
        wishes: fields of `Request` and parameters of `Sampling`, by name.

    Raises:
        NanopoetError: a wish is unknown or out of range, no poem can be so, or the folder holds no
            model.
    """
    asked = SampledRequest.read(wishes)
    folder = Path(best_model() if model is None else model)
    files = [folder / name for name in ("config.json", CATALOGUE)]
    changed = tuple(file.stat().st_mtime_ns for file in files if file.exists())
    return write_poems(*_read_once(str(folder), changed), asked.request(), asked.sampling())


@lru_cache(maxsize=1)
def _read_once(folder: str, _changed: tuple[int, ...]) -> Poet:
    return load_poet(folder)
