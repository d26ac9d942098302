"""Saved states of a training, from which it goes on after an interruption.

A state is one file that DVC does not track: weights, optimizer state and the records so far. The
file name carries its SHA-256, which detects damage. It contains no pickle.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import orjson
import safetensors
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import atomic_write
from nanopoet.common.types import Array
from nanopoet.params import decisive
from nanopoet.training import distributed
from nanopoet.training.history import StepRecord
from nanopoet.training.trainer import Trainer

_PATTERN = "step_*.safetensors"
_PACKAGE = Path(__file__).parents[1]
_SOURCES = (
    *("common", "tokens", "ops", "models", "training", "reinforcement", "prosody"),
    *("corpus/poems.py", "evaluation/variety.py", "writing/vocabulary.py"),
)
"""Code that decides the result of a training, as its stage depends on it in dvc.yaml."""
_KEPT = timedelta(days=14)
"""Time after its last save in which a state is kept for an interrupted training."""


@contextmanager
def scratch_folder(root: str | Path, trainer: Trainer, arrays: Sequence[Array]) -> Iterator[Path]:
    """Hold the folder for the states of one training.

    Its name is a digest of all that decides the result: parameters, vocabulary, tokens, the code of
    this library, the version of torch, and device, precision and compilation.

    While the block runs no other process holds the folder. After kill -9 of `dvc` the trainer that
    it started goes on, and a second trainer must not write to the same folder.

    Args:
        root: folder for the states of all trainings; made if it is missing.
        trainer: has the parameters and the vocabulary.
        arrays: the tokens.

    Raises:
        NanopoetError: another process trains with the same parameters and data.
    """
    folder = Path(root) / _digest(trainer, arrays)
    lock = folder.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, blocking=False):
            folder.mkdir(exist_ok=True)
            yield folder
    except Timeout:
        raise NanopoetError(
            f"another process is training with these parameters and data (it holds {lock}); wait "
            f"for it or stop it"
        ) from None


def _digest(trainer: Trainer, arrays: Sequence[Array]) -> str:
    params = json.dumps(decisive(trainer.params)) + trainer.task.options
    decides = f"{params} {trainer.tokenizer.digest} {torch.__version__} {trainer.machine}"
    digest = hashlib.sha256(decides.encode())
    for source in _source_files():
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    for array in arrays:
        digest.update(hashlib.sha256(np.ascontiguousarray(array).data).digest())
    return digest.hexdigest()[:16]


def _source_files() -> list[Path]:
    """List the files of `_SOURCES`."""
    files: list[Path] = []
    for path in (_PACKAGE / name for name in _SOURCES):
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        assert found, f"no Python file below {path}"
        files += found
    return files


def remove_abandoned_states(root: str | Path) -> list[Path]:
    """Remove the states of trainings that nobody has continued for 14 days.

    A training that some process holds keeps its states.

    Returns:
        the folders removed.
    """
    removed = []
    oldest = time.time() - _KEPT.total_seconds()
    for folder in Path(root).iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:  # each save changes the folder
            with suppress(Timeout), FileLock(folder.with_suffix(".lock"), blocking=False):
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def discard_state(folder: Path) -> None:
    """Remove the folder of a training that has ended."""
    shutil.rmtree(folder)


def save_state(folder: str | Path, trainer: Trainer, run_id: str | None) -> None:
    """Write the state of a training and remove the previous state.

    Args:
        folder: as from `scratch_folder`.
        trainer: has the weights, optimizer state and records.
        run_id: the MLflow run to which the training logs, if there is one yet.
    """
    folder = Path(folder)
    older = list(folder.glob(_PATTERN))
    raw = _pack(trainer, run_id)
    digest = hashlib.sha256(raw).hexdigest()
    with atomic_write(folder / f"step_{trainer.step:08d}.{digest}.safetensors") as file:
        file.write(raw)
    for path in older:
        path.unlink()


def restore_state(folder: str | Path, trainer: Trainer) -> str | None:
    """Restore a trainer from the newest undamaged state in a folder.

    Args:
        folder: as from `scratch_folder`. Without an undamaged state the trainer stays as it is.
        trainer: made with the same parameters.

    Returns:
        the id of the MLflow run to which the training logged, or None.

    Raises:
        NanopoetError: a file is undamaged but is not the state of this training.
    """
    for path in sorted(Path(folder).glob(_PATTERN), reverse=True):
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != path.name.split(".")[1]:
            continue
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                notes = file.metadata()
            tensors = safetensors.torch.load(raw)
        except SafetensorError:  # its digest fits, but it is another kind of file
            continue
        try:
            records = [StepRecord(**record) for record in orjson.loads(notes["records"])]
            run_id = str(notes["run_id"])
            _restore_tensors(trainer, tensors)
        except (ValueError, LookupError, TypeError, RuntimeError):
            raise NanopoetError(f"{path}: not the state of a training; delete it") from None
        trainer.records = records
        return run_id or None
    return None


def broadcast_state(trainer: Trainer) -> None:
    """Restore the trainer of every process from the trainer of process 0, without a file."""
    if distributed.world_size() == 1:
        return
    first = distributed.rank() == 0
    raw = distributed.broadcast(_pack(trainer, None) if first else b"")
    if not first:
        header = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
        records = orjson.loads(orjson.loads(header)["__metadata__"]["records"])
        _restore_tensors(trainer, safetensors.torch.load(raw))
        trainer.records = [StepRecord(**record) for record in records]


def _pack(trainer: Trainer, run_id: str | None) -> bytes:
    notes = {"run_id": run_id or "", "records": json.dumps(list(map(asdict, trainer.records)))}
    return safetensors.torch.save(_tensors(trainer), metadata=notes)


def _tensors(trainer: Trainer) -> dict[str, torch.Tensor]:
    tensors = {f"model.{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    for number, optimizer in enumerate(trainer.optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            prefix = f"optimizer.{number}.{index}"
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in state.items()}
    return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}


def _restore_tensors(trainer: Trainer, tensors: dict[str, torch.Tensor]) -> None:
    weights: dict[str, torch.Tensor] = {}
    states: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in trainer.optimizers]
    for key, tensor in tensors.items():
        kind, name = key.split(".", 1)
        if kind == "model":
            weights[name] = tensor
        else:
            number, index, name = name.split(".")
            states[int(number)].setdefault(int(index), {})[name] = tensor
    trainer.model.load_state_dict(weights)
    for optimizer, state in zip(trainer.optimizers, states, strict=True):
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
