"""An interrupted training goes on where it last saved itself.

The state is one file outside DVC's care: weights, optimiser state and the
records so far. Its name carries its digest, so a damaged file is told from a
whole one, and there is no pickle in it.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
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
from nanopoet.training import distributed
from nanopoet.training.history import StepRecord
from nanopoet.training.trainer import Trainer

_PATTERN = "step_*.safetensors"
_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("common", "tokens", "ops", "models", "training")
"""Rooms of the library that decide what a training ends in."""


@contextmanager
def scratch_folder(root: str | Path, trainer: Trainer, arrays: Sequence[Array]) -> Iterator[Path]:
    """A folder for the state of one training, named after a digest of all that decides it:
    parameters, vocabulary, tokens, this library's code, torch and how it uses the machine.

    While the context is open no other process has it: after kill -9 of `dvc` the
    trainer that it started goes on, and a second one must not write beside it.

    Raises:
        NanopoetError: another process trains with the same parameters and data.
    """
    params = trainer.params.model_dump_json()
    decisive = f"{params} {trainer.tokenizer.digest} {torch.__version__} {trainer.machine}"
    digest = hashlib.sha256(decisive.encode())
    for source in sorted(path for room in _SOURCES for path in (_PACKAGE / room).glob("*.py")):
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    for array in arrays:
        digest.update(hashlib.sha256(np.ascontiguousarray(array).data).digest())
    folder = Path(root) / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.with_suffix(".lock")
    try:
        with FileLock(lock, blocking=False):
            yield folder
    except Timeout:
        raise NanopoetError(
            f"another process is training with these parameters and data (it holds {lock}); wait "
            f"for it or stop it"
        ) from None


def discard_state(folder: Path) -> None:
    """Remove the state of a training that has ended."""
    shutil.rmtree(folder)


def save_state(folder: str | Path, trainer: Trainer, run_id: str | None) -> None:
    """Write the state of a training and remove the one before it.

    Args:
        folder: scratch that belongs to this training alone.
        trainer: its weights, optimiser state and records are saved.
        run_id: the run to which the training logs, if there is one yet.
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
    """Put `trainer` where the newest whole state in `folder` left it.

    Returns:
        the id of the run that it logged to; None if there was none or there is no whole state.

    Raises:
        NanopoetError: a state is whole but holds something else.
    """
    for path in sorted(Path(folder).glob(_PATTERN), reverse=True):
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != path.name.split(".")[1]:
            continue
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                notes = file.metadata()
            tensors = safetensors.torch.load(raw)
        except SafetensorError:  # whole, but somebody else's
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
    """Put the trainer of every process where that of process 0 is; they share no file."""
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
