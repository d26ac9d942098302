"""A trained model as a folder of readable files.

model.safetensors   weights, fp32
config.json         arguments of the model, a digest of the folder, and the origin of the weights
vocab.json          the vocabulary
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import orjson
import safetensors.torch
import torch
from safetensors import SafetensorError

from nanopoet.common.errors import FileError
from nanopoet.common.files import atomic_write, write_json
from nanopoet.models.base import LanguageModel
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import CharTokenizer

_KEYS = ("model", "vocab_digest", "digest")
_FILES = ("config.json", "model.safetensors", "vocab.json")
"""Files of a model folder."""
_DAMAGED = "damaged, or made by another version of nanopoet"


def save_model(
    folder: str | Path,
    model: LanguageModel,
    tokenizer: CharTokenizer,
    origin: dict[str, Any],
) -> None:
    """Write a model folder.

    Args:
        folder: made if it is missing.
        model: has the weights and arguments.
        tokenizer: has the vocabulary.
        origin: parameters and number of steps of the training.
    """
    folder = Path(folder)
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    raw = safetensors.torch.save(weights)
    with atomic_write(folder / "model.safetensors") as file:
        file.write(raw)
    tokenizer.save(folder / "vocab.json")
    config: dict[str, Any] = {"model": model.config, "vocab_digest": tokenizer.digest}
    if model.takes_fields:
        config["takes_fields"] = True
    config["digest"] = _digest(config, raw)
    write_json(folder / "config.json", config | {"origin": origin})


def load_model(folder: str | Path) -> tuple[LanguageModel, CharTokenizer]:
    """Read a model folder.

    Returns:
        the model, in evaluation mode and on the CPU, and its tokenizer.

    Raises:
        FileError: the folder is none of a model, a file is missing or damaged, or the files do
            not belong together.
    """
    folder = Path(folder)
    if problem := _other_than_model(folder):
        raise FileError(folder, problem)
    tokenizer = CharTokenizer.load(folder / "vocab.json")
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
        arguments, vocab_digest, digest = (config[key] for key in _KEYS)
    except FileNotFoundError:
        raise FileError(folder / "config.json", "no such file") from None
    except (ValueError, KeyError, TypeError):
        raise FileError(folder / "config.json", _DAMAGED) from None
    if vocab_digest != tokenizer.digest:
        raise FileError(folder / "vocab.json", "not the vocabulary of this model")
    weights_path = folder / "model.safetensors"
    try:
        raw = weights_path.read_bytes()
    except FileNotFoundError:
        raise FileError(weights_path, "no such file") from None
    if digest != _digest(config, raw):
        problem = "it and config.json do not belong together, or one of them is damaged"
        raise FileError(weights_path, problem)
    try:
        weights = safetensors.torch.load(raw)
        with torch.random.fork_rng(devices=[]):  # the meta device would load torch's compiler
            model = make_model(arguments)
        model.load_state_dict(weights, assign=True)
        model.takes_fields = "takes_fields" in config
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(weights_path, f"{_DAMAGED} ({reason})") from None
    return model.eval(), tokenizer


def _other_than_model(folder: Path) -> str | None:
    """Say what stands in the place of a model folder, None if it may be one."""
    if not folder.exists():
        return "a link to nothing" if folder.is_symlink() else "no such folder"
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if "vocab.json" in names:
        return None
    if "tokenizer.json" in names:
        return "an export for transformers, not the model folder"
    if any(name.endswith(".gguf") for name in names):
        return "an export for llama.cpp, not the model folder"
    if not folder.is_dir():
        return "a file, not a model folder"
    if not names.intersection(_FILES):
        return f"{'no model' if names else 'an empty'} folder: it has no {', '.join(_FILES)}"
    return None


def _digest(config: dict[str, Any], weights: bytes) -> str:
    """Compute the SHA-256 of all that decides the output of a model."""
    parts = [config["model"], config["vocab_digest"]]
    header = json.dumps(parts + ["takes_fields"] * ("takes_fields" in config), sort_keys=True)
    return hashlib.sha256(header.encode() + weights).hexdigest()
