"""Files as an attacker would write them: atheris looks for bytes that reach new code.

`python -m tools.reliability.fuzz FOLDER 1000 1 vocab.json` tries 1,000 vocabularies with seed 1 and
works in FOLDER. Each file must give one clear error or a valid result. Anything else ends the
process, and atheris keeps the bytes.
"""

import argparse
import atexit
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import atheris
import torch
from tqdm import tqdm

with atheris.instrument_imports(include=["nanopoet", "yaml"]):
    from nanopoet.common.errors import NanopoetError
    from nanopoet.common.files import write_json
    from nanopoet.corpus.collection import read_corpus
    from nanopoet.corpus.poems import load_duplicates, read_poems, read_texts, write_poems
    from nanopoet.models.checkpoint import load_model, save_model
    from nanopoet.params import load_params
    from nanopoet.tokens.dataset import TokenArrays
    from nanopoet.tokens.encode import encode_poems
    from nanopoet.tokens.tokenizer import CharTokenizer
    from nanopoet.training.history import StepRecord, read_history, write_history
    from nanopoet.training.resume import restore_state, save_state
from nanopoet.training.pretraining import make_trainer
from nanopoet.training.trainer import Trainer
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import ROOT

POEMS = make_poems(4)
TOKENIZER = CharTokenizer(POEMS)
RECIPE = load_params(ROOT / "params.yaml").pretrain.model_copy(update=SMALL["pretrain"])


def _trainer() -> Trainer:
    tokens = encode_poems(POEMS, TOKENIZER, separate=True).tokens
    return make_trainer(tokens, tokens, TOKENIZER, RECIPE)


@cache
def whole() -> Path:
    """Make a folder with one valid file of each kind."""
    folder = Path(tempfile.mkdtemp(prefix="nanopoet-whole-"))
    atexit.register(shutil.rmtree, folder)
    shutil.copy(ROOT / "params.yaml", folder)
    write_poems(folder / "poems.jsonl", POEMS)
    write_json(folder / "baseline_poems.json", ["春", "夏。"])
    write_json(folder / "val_duplicates.json", ["near", None])
    step = StepRecord(
        step=0, tokens=8, lr=0.1, loss_train=2.5, grad_norm=1.0, loss_val=3.0, samples={"": "春"}
    )
    write_history(folder, [step])
    encode_poems(POEMS, TOKENIZER, separate=True).save(folder)
    trainer = _trainer()
    save_model(folder, trainer.model, TOKENIZER, {})
    save_state(folder, trainer, None)
    [state] = folder.glob("step_*.safetensors")
    state.rename(folder / "state.safetensors")
    record = {"paragraphs": ["白日依山盡，黃河入海流。"] * 2, "title": "甲", "author": "乙"}
    raw = json.dumps([record], ensure_ascii=False).encode()
    with tarfile.open(folder / "corpus.tar", "w") as archive:
        member = tarfile.TarInfo("package/quantangshi/poet.tang.0.json")
        member.size = len(raw)
        archive.addfile(member, io.BytesIO(raw))
    return folder


# A reader asserts what must be true of its result.


def _params(folder: Path) -> None:
    params = load_params(folder / "params.yaml")
    assert params.pretrain.emb_size % params.pretrain.head_num == 0


def _poems(folder: Path) -> None:
    poems = read_poems(folder / "poems.jsonl")
    assert all(poem["content"] for poem in poems)
    write_poems(folder / "again.jsonl", poems)
    assert read_poems(folder / "again.jsonl") == poems
    tokenizer = CharTokenizer(poems)
    text = "".join(poem["content"] for poem in poems)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def _vocab(folder: Path) -> None:
    tokenizer = CharTokenizer.load(folder / "vocab.json")
    characters = tokenizer.characters
    assert tokenizer.decode(tokenizer.encode(characters)) == characters
    assert tokenizer.vocab_size == 11 + len(characters)


def _texts(folder: Path) -> None:
    assert all(isinstance(text, str) for text in read_texts(folder / "baseline_poems.json"))


def _duplicates(folder: Path) -> None:
    assert set(load_duplicates(folder / "val_duplicates.json", 2)) <= {"exact", "near", None}


def _history(folder: Path) -> None:
    for record in read_history(folder):
        assert (record.loss_val is None) == (record.samples is None)


def _arrays(folder: Path) -> None:
    arrays = TokenArrays.load(folder)
    assert (arrays.characters >= 0).all()
    assert arrays.offsets[-1] == len(arrays.tokens)


def _model(folder: Path) -> None:
    """Whatever loads is the model that was saved."""
    model, tokenizer = load_model(folder)
    expected, _ = load_model(whole())
    assert tokenizer.digest == TOKENIZER.digest
    assert model.config == expected.config
    weights = model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in expected.state_dict().items())


def _state(folder: Path) -> None:
    """Give the file the name of its digest, as an attacker would."""
    digest = hashlib.sha256((folder / "state.safetensors").read_bytes()).hexdigest()
    (folder / "state.safetensors").replace(folder / f"step_00000003.{digest}.safetensors")
    trainer = _trainer()
    restore_state(folder, trainer)
    assert trainer.step <= RECIPE.max_steps


def _archive(folder: Path) -> None:
    """Compress the file first, because bytes that are not gzip are refused at once."""
    with gzip.open(folder / "corpus.tgz", "wb", compresslevel=1) as file:
        file.write((folder / "corpus.tar").read_bytes())
    for poem in read_corpus(folder / "corpus.tgz", Counter()):
        assert re.fullmatch(r"[\u3400-\u9fff，。]+", poem["content"])


TARGETS: dict[str, Callable[[Path], None]] = {
    "params.yaml": _params,
    "poems.jsonl": _poems,
    "vocab.json": _vocab,
    "baseline_poems.json": _texts,
    "val_duplicates.json": _duplicates,
    "history.csv": _history,
    "evaluations.csv": _history,
    "samples.json": _history,
    "tokens.npy": _arrays,
    "offsets.npy": _arrays,
    "model.safetensors": _model,
    "config.json": _model,
    "state.safetensors": _state,
    "corpus.tar": _archive,
}
"""File → function that reads it and asserts what must be true."""


def attempt(name: str, raw: bytes) -> str:
    """Read a folder in which one file has other bytes.

    Returns:
        `read` or `refused`.
    """
    with tempfile.TemporaryDirectory(prefix="nanopoet-fuzz-") as temporary:
        folder = Path(temporary)
        for path in whole().iterdir():
            (folder / path.name).symlink_to(path)
        (folder / name).unlink()
        (folder / name).write_bytes(raw)
        try:
            TARGETS[name](folder)
        except NanopoetError as error:
            assert "\n" not in str(error), error
            return "refused"
    return "read"


def fuzz(names: Iterable[str], runs: int, seed: int, folder: Path) -> dict[str, tuple[int, str]]:
    """Try `runs` inputs for each kind of file, each kind in a process of its own.

    Args:
        names: kinds of files.
        runs: number of inputs for each.
        seed: seed of atheris.
        folder: working folder of the processes.

    Returns:
        kind → number of inputs, and the log of a failure, empty if there was none.
    """
    command = [sys.executable, "-m", "tools.reliability.fuzz", folder, runs, seed, *names]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
    results = {}
    for name in names:
        log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        tried = re.findall(r"^Done (\d+) runs", log, re.MULTILINE)
        results[name] = (int(tried[-1]), "") if tried else (0, log[:3000])
    return results


def main() -> None:
    """Fuzz the kinds of files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("names", nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    whole()
    # Instrumented modules take seconds to import, so the children share them.
    for name in tqdm(arguments.names, unit="kind", disable=None, desc="fuzzing"):
        child = os.fork()
        if child == 0:
            _child(name, arguments.folder, arguments.runs, arguments.seed)
        os.waitpid(child, 0)


def _child(name: str, folder: Path, runs: int, seed: int) -> None:
    """Try inputs and end this process."""
    atexit.unregister(shutil.rmtree)
    inputs = folder / f"inputs-{name}"
    inputs.mkdir()
    shutil.copy(whole() / name, inputs)
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = [f"-runs={runs}", f"-seed={seed}", "-timeout=20", "-rss_limit_mb=4096"]
    options += ["-max_len=131072", f"-artifact_prefix={folder}/{name}-", str(inputs)]

    def one(raw: bytes) -> None:
        attempt(name, raw)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
