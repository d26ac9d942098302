import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nanopoet.common.errors import FileError, NanopoetError
from nanopoet.models.checkpoint import load_model, save_model
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.models.qwen3 import Qwen3LanguageModel
from nanopoet.models.registry import make_model
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.project import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = CharTokenizer.from_characters("床前明月光")
    model = GPTLanguageModel(tokenizer.vocab_size, 8, 8, 1, 2, 0.1)
    save_model(tmp_path / "poet", model, tokenizer, {"steps": 3})
    return tmp_path / "poet"


def test_round_trip(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load_model(folder)
    assert not model.training
    save_model(tmp_path / "again", model, tokenizer, {"steps": 3})
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    idx = torch.tensor([tokenizer.encode("床前")])
    torch.testing.assert_close(model(idx)[0], load_model(tmp_path / "again")[0](idx)[0])


def test_tables_that_no_file_contains_are_computed(tmp_path: Path) -> None:
    """The modern model's rotary tables."""
    tokenizer = CharTokenizer.from_characters("床前明月光")
    saved = Qwen3LanguageModel(tokenizer.vocab_size, 8, 8, 1, 2, 8, 0.1).eval()
    save_model(tmp_path / "poet", saved, tokenizer, {})
    loaded, _ = load_model(tmp_path / "poet")
    idx = torch.tensor([tokenizer.encode("床前明月")])
    assert torch.equal(loaded(idx)[0], saved(idx)[0])


@pytest.mark.parametrize(
    ("config", "digests"),
    [
        (
            {"architecture": "classic", "dropout": 0.1},
            {"config.json": "8ee89d6db393", "model.safetensors": "71027b0b7dfd"},
        ),
        (
            {"architecture": "modern", "kv_head_num": 1, "mlp_size": 8, "dropout": 0.0},
            {"config.json": "45756aeb46e2", "model.safetensors": "1c890186e861"},
        ),
    ],
)
def test_a_folder_has_the_bytes_that_version_0_1_wrote(
    tmp_path: Path, config: dict[str, Any], digests: dict[str, str]
) -> None:
    """So models of that version, written at commit ef9b503, are read as before."""
    tokenizer = CharTokenizer.from_characters("床前明月光")
    sizes = {"vocab_size": 16, "emb_size": 8, "block_size": 8, "layer_num": 1, "head_num": 2}
    architecture = {"architecture": config["architecture"]}
    model = make_model(architecture | sizes | config, torch.Generator())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.arange(parameter.numel()) % 7 / 8).view(parameter.shape))
    save_model(tmp_path, model, tokenizer, {"steps": 3})
    digests |= {"vocab.json": "b4d25ec9ccd9"}
    files = {path.name: hashlib.sha256(path.read_bytes()) for path in tmp_path.iterdir()}
    assert {name: digest.hexdigest()[:12] for name, digest in files.items()} == digests


def test_config_is_readable(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["vocab_size"] == 16
    assert config["origin"] == {"steps": 3}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage", "a number", "deep"])
def test_a_damaged_file_is_an_error(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    raw = path.read_bytes()
    path.unlink()
    if damage != "missing":
        others = {
            "empty": b"",
            "garbage": b"\x80\x04garbage",
            "a number": b"2",
            "deep": b"[" * 99999,
        }
        path.write_bytes(others.get(damage, raw[:-9]))
    with pytest.raises(FileError, match=f"^{folder}") as caught:
        load_model(folder)
    assert ("no such file" in caught.value.problem) == (damage == "missing")


def test_the_vocabulary_of_another_model_is_an_error(folder: Path) -> None:
    CharTokenizer.from_characters("床前明月夜").save(folder / "vocab.json")
    with pytest.raises(NanopoetError, match="not the vocabulary of this model"):
        load_model(folder)


def test_weights_of_another_training_are_an_error(folder: Path, tmp_path: Path) -> None:
    """Only the digest shows a flipped bit or weights of the same shapes."""
    tokenizer = CharTokenizer.from_characters("床前明月光")
    other = GPTLanguageModel(tokenizer.vocab_size, 8, 8, 1, 2, 0.1)
    save_model(tmp_path / "other", other, tokenizer, {})
    (tmp_path / "other/model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(NanopoetError, match="do not belong together"):
        load_model(folder)


@pytest.mark.process
def test_reading_leaves_random_numbers_and_the_compiler_alone(folder: Path) -> None:
    """Importing torch's compiler would take longer than a poem."""
    script = f"""
import sys, torch
from nanopoet.models.checkpoint import load_model
before = torch.random.get_rng_state()
load_model({str(folder)!r})
print(torch.equal(torch.random.get_rng_state(), before), "torch._dynamo" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True False\n"
