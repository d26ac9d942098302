"""Reading a file never runs code: each reader gets a hostile pickle."""

import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import read_json
from nanopoet.corpus.poems import load_duplicates, read_poems, read_texts
from nanopoet.models.checkpoint import load_model, save_model
from nanopoet.param_sections import PretrainParams
from nanopoet.params import load_params
from nanopoet.tokens.dataset import TokenArrays
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training.history import read_history
from nanopoet.training.pretraining import build_model, make_trainer
from nanopoet.training.resume import restore_state
from tests.support.params import SMALL
from tests.support.poems import make_poems
from tests.support.project import DEFAULT_PARAMS, Project


class Bomb:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def _pickle(path: Path, sign: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(sign)))


def _numpy(path: Path, sign: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([Bomb(sign)], dtype=object), allow_pickle=True)


def _torch(path: Path, sign: Path) -> None:
    torch.save({"weights": Bomb(sign)}, path)


KINDS = [_pickle, _numpy, _torch]


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.mark.parametrize("kind", KINDS)
def test_the_bombs_go_off_where_pickles_are_loaded(
    tmp_path: Path, sign: Path, kind: Callable[[Path, Path], None]
) -> None:
    """Show that the bombs work; otherwise the tests below could not fail."""
    kind(tmp_path / "bomb", sign)
    if kind is _pickle:
        pickle.loads((tmp_path / "bomb").read_bytes())  # noqa: S301
    elif kind is _numpy:
        np.load(tmp_path / "bomb", allow_pickle=True)
    else:
        torch.load(tmp_path / "bomb", weights_only=False)
    assert sign.exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a model and token arrays."""
    poems = make_poems(20)
    tokenizer = CharTokenizer(poems)
    model = build_model(tokenizer.vocab_size, _recipe())
    save_model(tmp_path / "poet", model, tokenizer, {})
    encode_poems(poems, tokenizer, separate=True).save(tmp_path / "tokens")
    return tmp_path


def _recipe() -> PretrainParams:
    recipe = load_params(DEFAULT_PARAMS).pretrain
    return recipe.model_copy(update=SMALL["pretrain"])


LOADERS: dict[str, Callable[[Path], object]] = {
    "poet/model.safetensors": lambda folder: load_model(folder / "poet"),
    "poet/config.json": lambda folder: load_model(folder / "poet"),
    "poet/vocab.json": lambda folder: load_model(folder / "poet"),
    "poet/history.csv": lambda folder: read_history(folder / "poet"),
    "tokens/tokens.npy": lambda folder: TokenArrays.load(folder / "tokens"),
    "tokens/offsets.npy": lambda folder: TokenArrays.load(folder / "tokens"),
    "duplicates.json": lambda folder: load_duplicates(folder / "duplicates.json", 1),
    "texts.json": lambda folder: read_texts(folder / "texts.json"),
    "poems.jsonl": lambda folder: read_poems(folder / "poems.jsonl"),
    "metrics.json": lambda folder: read_json(folder / "metrics.json"),
    "params.yaml": lambda folder: load_params(folder / "params.yaml"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOADERS)
def test_a_pickle_is_refused(
    folder: Path, sign: Path, name: str, kind: Callable[[Path, Path], None]
) -> None:
    kind(folder / name, sign)
    with pytest.raises(NanopoetError, match=name.split("/")[0]):
        LOADERS[name](folder)
    assert not sign.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_among_the_states_of_a_training_is_passed_over(
    folder: Path, sign: Path, kind: Callable[[Path, Path], None]
) -> None:
    """Pass over a bomb even if its name has the right digest, as only an attacker can make it."""
    scratch, tokens = folder / "scratch", TokenArrays.load(folder / "tokens").tokens
    scratch.mkdir()
    kind(scratch / "bomb", sign)
    digest = hashlib.sha256((scratch / "bomb").read_bytes()).hexdigest()
    shutil.move(scratch / "bomb", scratch / f"step_00000003.{digest}.safetensors")
    tokenizer, params = CharTokenizer.load(folder / "poet/vocab.json"), _recipe()
    trainer = make_trainer(tokens, tokens, tokenizer, params)
    assert restore_state(scratch, trainer) is None
    assert trainer.step == 0
    assert not sign.exists()


@pytest.mark.parametrize(
    "line",
    [
        "lr: !!python/object/apply:os.system ['touch it-ran']",
        "lr: !!python/name:os.system",
        "lr: !!python/object/new:pathlib.Path [it-ran]",
    ],
)
def test_a_params_file_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(f"pretrain:\n  {line}\n", encoding="utf-8")
    with pytest.raises(NanopoetError, match=r"params\.yaml"):
        load_params()
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]


def test_the_files_in_mlflow_are_no_pickles(project: Project) -> None:
    files = [path for path in (project.folder / "mlartifacts").rglob("*") if path.is_file()]
    assert any(path.name == "model.safetensors" for path in files)
    for path in files:
        raw = path.read_bytes()
        assert not raw.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), path
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".joblib"}
