"""Bad input to a stage: one line, status 1, and every file stays as it was."""

import os
from pathlib import Path

import pytest
import torch

from nanopoet.corpus.poems import write_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from tests.support.poems import make_poems
from tests.support.project import Project


def _fails(project: Project, stage: str, *parts: str) -> None:
    """Check that a stage ends with one line that has all parts, and leaves every file alone."""
    before = _files(project.folder)
    done = project.run(f"stages.{stage}")
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {stage}: ")
    for part in parts:
        assert part in line
    assert _files(project.folder) == before


def _files(folder: Path) -> dict[str, bytes]:
    """Read every file that a stage may write."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for name in ("data", "metrics", "models", "raw")
        for file in (folder / name).rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"no json", "not valid JSON"),
        (b'{"title": "x"}', "no `content`"),
        (b'{"content": 3}', "not a text"),
        (b'{"content": ""}', "`content` is empty"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_load_names_a_bad_line(unchanged: Project, line: bytes, part: str) -> None:
    bad = unchanged.folder / "bad.jsonl"
    write_poems(bad, make_poems(3))
    bad.write_bytes(bad.read_bytes() + line + b"\n")
    unchanged.set(load={"source": "bad.jsonl"})
    _fails(unchanged, "load", "bad.jsonl:4: ", part)


@pytest.mark.parametrize(
    ("name", "raw", "part"),
    [
        ("empty.jsonl", b"", "no poem in it"),
        ("missing.jsonl", None, "no such file"),
        ("raw/chinese-poetry.tgz", None, "run `dvc repro fetch`"),
        ("bad.tgz", b"not an archive", "damaged archive"),
        ("corpus.csv", b"", "of no known kind"),
    ],
)
def test_load_names_a_bad_source(
    unchanged: Project, name: str, raw: bytes | None, part: str
) -> None:
    if raw is not None:
        (unchanged.folder / name).write_bytes(raw)
    unchanged.set(load={"source": name})
    _fails(unchanged, "load", name, part)


def test_load_names_a_source_that_is_no_file(unchanged: Project) -> None:
    os.mkfifo(unchanged.folder / "pipe.jsonl")
    unchanged.set(load={"source": "pipe.jsonl"})
    _fails(unchanged, "load", "pipe.jsonl: neither a file nor a folder")


@pytest.mark.parametrize(
    ("stage", "file", "remedy"),
    [
        ("reinforce", "models/finetuned/catalogue.json", "finetune"),
        ("report", "data/samples.txt", "evaluate"),
        ("pretrain", "data/vocab.json", "tokenize"),
    ],
)
def test_a_missing_input_is_named(unchanged: Project, stage: str, file: str, remedy: str) -> None:
    path = unchanged.folder / file
    kept = path.rename(unchanged.folder / "kept")
    try:
        _fails(unchanged, stage, f"{file}: no such file; run `dvc repro {remedy}`")
    finally:
        kept.rename(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
@pytest.mark.parametrize(
    ("stage", "section"), [("pretrain", "pretrain"), ("finetune", "pretrain"), ("evaluate",) * 2]
)
def test_a_device_that_is_not_there_is_named(unchanged: Project, stage: str, section: str) -> None:
    unchanged.set(**{section: {"device": "cuda"}})
    _fails(unchanged, stage, f"params.yaml: {section}.device = 'cuda' is not on this machine")


@pytest.mark.parametrize("stage", ["fetch", "load", "split", "pretrain", "baseline", "report"])
def test_every_stage_names_a_bad_parameter(unchanged: Project, stage: str) -> None:
    unchanged.set(split={"val_every": 1})
    _fails(unchanged, stage, "params.yaml: split.val_every = 1 is not allowed")


def test_a_validation_part_shorter_than_a_block_is_named(unchanged: Project) -> None:
    unchanged.set(pretrain={"block_size": 2000})
    before = len(unchanged.tracked())
    _fails(unchanged, "pretrain", "validation part has 750 tokens", "pretrain.block_size = 2000")
    assert len(unchanged.tracked()) == before


def test_a_diverged_training_is_named_and_its_run_has_failed(unchanged: Project) -> None:
    unchanged.set(pretrain={"lr": 1e30})
    _fails(unchanged, "pretrain", "training diverged at step", "pretrain.lr = 1e+30")
    assert unchanged.tracked()[-1]["status"] == "FAILED"


def test_the_vocabulary_of_another_corpus_is_named(unchanged: Project) -> None:
    path = unchanged.folder / "data/vocab.json"
    raw = path.read_bytes()
    try:
        path.unlink()
        CharTokenizer.from_characters("，。山水").save(path)
        remedy = "; run `dvc repro --force tokenize`"
        _fails(unchanged, "encode", "vocab.json: lacks a character of data/train.jsonl, ", remedy)
        for stage in ("pretrain", "baseline"):
            _fails(unchanged, stage, "data/train/tokens.npy: has id ", "the vocabulary has 15 tok")
    finally:
        path.write_bytes(raw)


@pytest.mark.parametrize(
    ("file", "name", "stage"),
    [
        ("metrics/evaluate.json", "verse", "evaluate"),
        ("metrics/pretrain.json", "parameters", "pretrain"),
        ("data/examples.json", "model", "evaluate"),
    ],
)
def test_a_file_of_another_version_is_named(
    unchanged: Project, file: str, name: str, stage: str
) -> None:
    path = unchanged.folder / file
    raw = path.read_bytes()
    try:
        path.unlink()
        path.write_bytes(raw.replace(f'"{name}"'.encode(), b'"older"'))
        _fails(unchanged, "report", f"{file}: has no `", f"; run `dvc repro --force {stage}`")
    finally:
        path.write_bytes(raw)


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("split", "data/poems.jsonl"),
        ("tokenize", "data/val.jsonl"),
        ("encode", "data/vocab.json"),
        ("pretrain", "data/train/tokens.npy"),
        ("evaluate", "models/poet/model.safetensors"),
        ("evaluate", "data/baseline_poems.json"),
        ("report", "data/examples.json"),
        ("report", "metrics/evaluate.json"),
    ],
)
def test_a_damaged_input_is_named(unchanged: Project, stage: str, file: str) -> None:
    path = unchanged.folder / file
    raw = path.read_bytes()
    try:
        path.unlink()  # DVC's cache may hold the same file by a link
        path.write_bytes(raw[: len(raw) // 2 - 7])
        _fails(unchanged, stage, file.removesuffix("/tokens.npy"))
    finally:
        path.write_bytes(raw)
