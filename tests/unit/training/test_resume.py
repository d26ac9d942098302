"""A training ends with the same weights however often it is interrupted."""

import hashlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from filelock import FileLock

from nanopoet.common.errors import NanopoetError
from nanopoet.corpus.poems import Poem
from nanopoet.params import load_params
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training import resume
from nanopoet.training.pretraining import make_trainer
from nanopoet.training.resume import (
    discard_state,
    remove_abandoned_states,
    restore_state,
    save_state,
    scratch_folder,
)
from nanopoet.training.trainer import Trainer
from tests.support.params import SMALL
from tests.support.project import ROOT, Project

pytestmark = pytest.mark.process

Start = Callable[[], Trainer]


@pytest.fixture
def start(write_params: Callable[..., Path], poems: list[Poem]) -> Start:
    changes = {"decay": 0.5, "rhyme_weight": 1.0, "initial_weights": "bigrams"}
    params = load_params(write_params(**SMALL | {"pretrain": SMALL["pretrain"] | changes})).pretrain
    tokenizer = CharTokenizer(poems)
    tokens = encode_poems(poems, tokenizer, separate=True).tokens

    def fresh() -> Trainer:
        return make_trainer(tokens, tokens, tokenizer, params)

    return fresh


def _same(one: Trainer, other: Trainer) -> bool:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.records == other.records


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.mark.parametrize("stops", [[1], [3], [1, 2, 3, 4, 5]])
def test_it_ends_with_the_same_weights(start: Start, scratch: Path, stops: list[int]) -> None:
    whole = start()
    list(whole)
    for stop in stops:
        part = start()
        restore_state(scratch, part)
        for _ in part:
            if part.step == stop:
                break
        save_state(scratch, part, "run")
        assert len(list(scratch.iterdir())) == 1
    last = start()
    assert restore_state(scratch, last) == "run"
    assert last.step == stops[-1]
    list(last)
    assert _same(last, whole)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler")
def test_compiled_it_ends_with_the_same_weights_too(start: Start, scratch: Path) -> None:
    def compiled() -> Trainer:
        plain = start()
        params = plain.params.model_copy(update={"compile": "on"})
        return Trainer(plain.model, plain.task, plain.tokenizer, params)

    whole = compiled()
    list(whole)
    part = compiled()
    for _ in part:
        if part.step == 3:
            break
    save_state(scratch, part, "run")
    last = compiled()
    assert restore_state(scratch, last) == "run"
    list(last)
    assert _same(last, whole)


def test_without_a_state_it_starts_at_step_0(start: Start, scratch: Path) -> None:
    trainer = start()
    assert restore_state(scratch, trainer) is None
    assert trainer.step == 0


def test_a_damaged_state_is_not_used(start: Start, scratch: Path) -> None:
    trainer = start()
    next(iter(trainer))
    save_state(scratch, trainer, "run")
    [path] = scratch.iterdir()
    raw = path.read_bytes()
    for position in range(0, len(raw), len(raw) // 40):
        damaged = bytearray(raw)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert restore_state(scratch, start()) is None
    path.write_bytes(raw[:-1])
    assert restore_state(scratch, start()) is None


def test_a_file_that_is_no_state_is_an_error(start: Start, scratch: Path) -> None:
    """Its digest fits, so somebody has made it on purpose."""
    raw = safetensors.torch.save({"model.x": torch.zeros(1), "y.z": torch.zeros(2)})
    scratch.mkdir()
    digest = hashlib.sha256(raw).hexdigest()
    (scratch / f"step_00000001.{digest}.safetensors").write_bytes(raw)
    with pytest.raises(NanopoetError, match="not the state of a training; delete it"):
        restore_state(scratch, start())


def test_a_second_trainer_is_refused(start: Start, tmp_path: Path) -> None:
    trainer = start()
    arrays = [encode_poems([], trainer.tokenizer, separate=True).offsets]
    with scratch_folder(tmp_path, trainer, arrays) as folder:
        with (
            pytest.raises(NanopoetError, match="another process is training"),
            scratch_folder(tmp_path, trainer, arrays),
        ):
            pytest.fail("the lock is held")
        other = start()
        other.params = trainer.params.model_copy(update={"seed": 5})
        with scratch_folder(tmp_path, other, arrays) as another:
            assert another != folder
        discard_state(folder)
    assert not folder.exists()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the library; the files of the copy decide the name of the scratch folder."""
    copy = tmp_path / "nanopoet"
    shutil.copytree(Path(resume.__file__).parents[1], copy)
    monkeypatch.setattr(resume, "_PACKAGE", copy)
    return copy


@pytest.fixture
def name(start: Start, tmp_path: Path) -> Callable[..., str]:
    """Return a function that returns the name of a training's scratch folder."""
    trainer = start()

    def find(machine: str = "") -> str:
        trainer.machine += machine
        with scratch_folder(tmp_path / "resume", trainer, [np.arange(3)]) as folder:
            return folder.name

    return find


def _edit(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")


@pytest.mark.parametrize(
    "file",
    [
        *("common/device.py", "tokens/batches.py", "ops/attention.py", "models/qwen3.py"),
        *("training/muon.py", "corpus/poems.py", "prosody/rhyme.py"),
    ],
)
def test_a_state_of_other_code_is_not_continued(
    file: str, package: Path, name: Callable[..., str]
) -> None:
    before = name()
    assert name() == before
    _edit(package / file)
    assert name() != before


@pytest.mark.parametrize(
    "file", ["app/web.py", "evaluation/scoring.py", "params.py", "corpus/collection.py"]
)
def test_an_edit_of_other_code_keeps_the_state(
    file: str, package: Path, name: Callable[..., str]
) -> None:
    before = name()
    _edit(package / file)
    assert name() == before


def test_a_state_of_another_torch_or_machine_is_not_continued(
    name: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = name()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.0")
        assert name() != before
    assert name() == before
    assert name(", otherwise") != before


@pytest.mark.parametrize("stage", ["pretrain", "finetune", "reinforce"])
def test_the_code_that_counts_is_what_the_stages_depend_on(stage: str) -> None:
    """The catalogue of authors and tunes is written beside the weights, and decides none."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    library = [path for path in stages[stage]["deps"] if path.startswith("nanopoet/")]
    sources = [f"nanopoet/{source}" for source in resume._SOURCES]
    assert len(library) > 7
    for path in library:
        covered = any(path == source or path.startswith(f"{source}/") for source in sources)
        assert covered or path.startswith("nanopoet/writing/"), path


def test_a_room_without_a_file_is_an_error(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(resume._source_files()) > 30
    (package / "empty").mkdir()
    monkeypatch.setattr(resume, "_SOURCES", ("ops", "empty"))
    with pytest.raises(AssertionError, match="no Python file below"):
        resume._source_files()


def test_models_that_mlflow_gets_decide_nothing(start: Start, tmp_path: Path) -> None:
    more = start()
    more.params = more.params.model_copy(update={"log_model_every": 5})
    with scratch_folder(tmp_path, start(), []) as folder:
        pass
    with scratch_folder(tmp_path, more, []) as other:
        assert other == folder


def test_abandoned_states_are_removed(start: Start, tmp_path: Path) -> None:
    old, held, recent = folders = [tmp_path / "resume" / name for name in "abc"]
    trainer, now = start(), time.time()
    for folder, days in zip(folders, (15, 15, 13), strict=True):
        folder.mkdir(parents=True)
        save_state(folder, trainer, None)
        os.utime(folder, (now - days * 86_400, now - days * 86_400))
    with FileLock(held.with_suffix(".lock")):
        assert remove_abandoned_states(tmp_path / "resume") == [old]
    assert not old.exists()
    for kept in (held, recent):
        assert len(list(kept.iterdir())) == 1
    assert remove_abandoned_states(tmp_path / "resume") == [held]


def test_a_save_keeps_a_state_for_another_14_days(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "resume/a"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    save_state(folder, start(), None)
    assert remove_abandoned_states(tmp_path / "resume") == []
    assert list(folder.iterdir())


def test_killed_at_random_times_it_continues(unchanged: Project) -> None:
    """Kill the stage with SIGKILL at random; `dvc repro` then ends with the same weights."""
    steps = 120
    unchanged.set(pretrain={"max_steps": steps, "checkpoint_every": 4, "eval_every": 20})
    rng = random.Random(0)  # noqa: S311
    for _ in range(3):
        with unchanged.start("stages.pretrain") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("step"):  # training has begun
                    break
            time.sleep(rng.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
    assert unchanged.repro() == ["pretrain", "evaluate", "report"]
    weights = unchanged.folder / "models/poet/model.safetensors"
    killed = weights.read_bytes()
    run = unchanged.tracked()[-1]
    assert run["status"] == "FINISHED"
    assert sorted(run["train"]) == list(range(steps))
    assert not list((unchanged.folder / ".nanopoet/resume").glob("*/*"))

    undisturbed = unchanged.run("dvc", "repro", "--force", "--single-item", "pretrain")
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert weights.read_bytes() == killed
