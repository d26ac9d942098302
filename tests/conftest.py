"""What several test files need: small corpora and parameters."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from nanopoet.poems import Poem, write_poems
from tests.project import ROOT, Project

# transformers asks no server whether there is something newer. Read when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# Tiny matrices: a second thread costs more than it gives.
torch.set_num_threads(1)

SMALL: dict[str, dict[str, Any]] = {
    "pretrain": {
        "emb_size": 16,
        "block_size": 32,
        "layer_num": 2,
        "head_num": 2,
        "kv_head_num": 1,
        "mlp_size": 24,
        "max_steps": 6,
        "batch_size": 4,
        "micro_batch_size": 2,
        "lr": 1e-2,
        "embedding_lr": 1e-1,
        "muon_lr": 5e-2,
        "warmup_steps": 1,
        "eval_every": 2,
        "eval_windows": 4,
        "sample_length": 20,
        "device": "cpu",
        "precision": "fp32",
    },
    "evaluate": {
        "context": 8,
        "batch_size": 4,
        "sample_count": 2,
        "sample_length": 40,
        "device": "cpu",
        "precision": "fp32",
    },
}
"""What differs from params.yaml so that the whole chain runs in seconds."""


def make_poems(count: int = 200, seed: int = 0) -> list[Poem]:
    """Verses of five characters out of 40, in four styles."""
    rng = random.Random(seed)  # noqa: S311
    characters = "春夏秋冬山水花月風雨雲天地人心日夜星河江海千里萬年長安白青黃紅來去歸飛落明清"
    poems = []
    for number in range(count):
        lines = ["".join(rng.choices(characters, k=5)) for _ in range(4)]
        content = "，".join(lines[:2]) + "。" + "，".join(lines[2:]) + "。"
        poems.append(
            Poem(content=content, title=f"其{number}", author="無名", style=f"樂府{number % 4}")
        )
    return poems


@pytest.fixture
def poems() -> list[Poem]:
    return make_poems()


@pytest.fixture
def corpus(tmp_path: Path, poems: list[Poem]) -> Path:
    """A user's own corpus as a JSONL file."""
    path = tmp_path / "poems.jsonl"
    path.write_text(
        "".join(json.dumps(poem, ensure_ascii=False) + "\n" for poem in poems), encoding="utf-8"
    )
    return path


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[..., Path]:
    """Write params.yaml into `tmp_path`: the repository's, with changes per section."""

    def write(**changes: dict[str, Any]) -> Path:
        params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        for section, values in changes.items():
            params[section].update(values)
        path = tmp_path / "params.yaml"
        with open(path, "w", encoding="utf-8") as file:
            YAML().dump(params, file)
        return path

    return write


STAGES = ["load", "split", "tokenize", "encode", "pretrain", "baseline", "evaluate", "report"]
"""What runs on a corpus of one's own, which needs no `fetch`."""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has run once; tests leave its parameters as they were."""
    folder = tmp_path_factory.mktemp("project")
    project = Project(folder, load={"source": "mine.jsonl"}, **SMALL)
    write_poems(folder / "mine.jsonl", make_poems(300))
    assert sorted(project.repro()) == sorted(STAGES)
    return project


@pytest.fixture
def unchanged(project: Project) -> Iterator[Project]:
    """The project, with parameters and outs put back afterwards."""
    params, lock = project.folder / "params.yaml", project.folder / "dvc.lock"
    before = params.read_bytes(), lock.read_bytes()
    yield project
    params.write_bytes(before[0])
    if lock.read_bytes() != before[1]:
        assert project.repro() == []  # DVC has it all in its cache
