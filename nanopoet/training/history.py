"""The course of a training run as files without an empty cell.

history.csv       a row per step
evaluations.csv   a row per look at the validation loss
samples.json      step → prompt → poem, per look
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from nanopoet.common.errors import FileError
from nanopoet.common.files import atomic_write, write_json

_HISTORY = ("step", "tokens", "lr", "loss_train", "grad_norm")
_EVALUATIONS = ("step", "tokens", "loss_val")


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What there is to tell of a step. Steps count from 0, as the seed's do.

    Attributes:
        step: number of the update.
        tokens: training tokens seen, this update's included.
        lr: learning rate of the update, as `pretrain.lr` counts it.
        loss_train: loss on its batch before it, in nats per character, with dropout.
        grad_norm: Euclidean norm of the gradient of the mean loss per token.
        loss_val: loss on the fixed validation windows after it, in nats per character; None
            between evaluations.
        samples: what the model writes after it, poem by prompt; None between evaluations.
    """

    step: int
    tokens: int
    lr: float
    loss_train: float
    grad_norm: float
    loss_val: float | None = None
    samples: dict[str, str] | None = None


def write_history(folder: str | Path, records: Sequence[StepRecord]) -> None:
    """Write the three files."""
    folder = Path(folder)
    looks = [record for record in records if record.loss_val is not None]
    _write_csv(folder / "history.csv", _HISTORY, records)
    _write_csv(folder / "evaluations.csv", _EVALUATIONS, looks)
    write_json(folder / "samples.json", {str(look.step): look.samples for look in looks})


def read_history(folder: str | Path) -> list[StepRecord]:
    """Read what `write_history` wrote.

    Raises:
        FileError: a file is missing or damaged.
    """
    folder = Path(folder)
    try:
        samples = orjson.loads((folder / "samples.json").read_bytes())
        looks = {
            row["step"]: {"loss_val": float(row["loss_val"]), "samples": samples[row["step"]]}
            for row in _read_csv(folder / "evaluations.csv")
        }
        return [
            StepRecord(
                step=int(row["step"]),
                tokens=int(row["tokens"]),
                lr=float(row["lr"]),
                loss_train=float(row["loss_train"]),
                grad_norm=float(row["grad_norm"]),
                **looks.get(row["step"], {}),
            )
            for row in _read_csv(folder / "history.csv")
        ]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        files = "history.csv, evaluations.csv or samples.json"
        raise FileError(folder, f"{files} is missing or damaged ({error})") from None


def _write_csv(path: Path, columns: Sequence[str], records: Sequence[StepRecord]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(record, column) for column in columns] for record in records)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
