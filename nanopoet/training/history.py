"""Metrics of a training run as files without an empty cell.

history.csv       a row per step
evaluations.csv   a row per evaluation step
samples.json      a row per evaluation step and prompt, with the poem

`dvc plots` draws all three.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nanopoet.common.errors import FileError
from nanopoet.common.files import atomic_write, write_json

_HISTORY = ("step", "tokens", "lr", "loss_train", "grad_norm")
_EVALUATIONS = ("step", "tokens", "loss_val")


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Metrics of one step.

    Attributes:
        step: number of the update, from 0 as in the notebook.
        tokens: training tokens seen, including this update.
        lr: `pretrain.lr` times the factor of the schedule.
        loss_train: loss on the batch before the update, in nats per character, with dropout.
        grad_norm: Euclidean norm of the gradient of the mean loss per token.
        loss_val: loss on the fixed validation windows after the update, in nats per character;
            None between evaluations.
        samples: prompt → poem that the model writes after the update; None between evaluations.
        figures: name → figure of the batch, of a training that has some of its own.
    """

    step: int
    tokens: int
    lr: float
    loss_train: float
    grad_norm: float
    loss_val: float | None = None
    samples: dict[str, str] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def write_history(folder: str | Path, records: Sequence[StepRecord]) -> None:
    """Write the three files to a folder, which is made if it is missing."""
    folder = Path(folder)
    evaluations = [record for record in records if record.loss_val is not None]
    _write_csv(folder / "history.csv", _HISTORY, records, figures=True)
    _write_csv(folder / "evaluations.csv", _EVALUATIONS, evaluations)
    samples = [
        {"step": each.step, "prompt": prompt, "poem": poem}
        for each in evaluations
        for prompt, poem in (each.samples or {}).items()
    ]
    write_json(folder / "samples.json", samples)


def read_history(folder: str | Path) -> list[StepRecord]:
    """Read the files of `write_history`.

    Raises:
        FileError: a file is missing or damaged.
    """
    folder = Path(folder)
    try:
        samples: dict[str, dict[str, str]] = {}
        for row in orjson.loads((folder / "samples.json").read_bytes()):
            samples.setdefault(str(row["step"]), {})[row["prompt"]] = row["poem"]
        evaluations: dict[str, dict[str, Any]] = {
            row["step"]: {"loss_val": float(row["loss_val"]), "samples": samples[row["step"]]}
            for row in _read_csv(folder / "evaluations.csv")
        }
        records = [
            StepRecord(
                step=int(row["step"]),
                tokens=int(row["tokens"]),
                lr=float(row["lr"]),
                loss_train=float(row["loss_train"]),
                grad_norm=float(row["grad_norm"]),
                figures={name: float(row[name]) for name in row if name not in _HISTORY},
                **evaluations.get(row["step"], {}),
            )
            for row in _read_csv(folder / "history.csv")
        ]
        if not evaluations or records[-1].loss_val is None:
            raise ValueError("the last step has no evaluation")
    except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
        files = "history.csv, evaluations.csv or samples.json"
        raise FileError(folder, f"{files} is missing or damaged ({error})") from None
    return records


def last_loss(folder: str | Path) -> float | None:
    """Return the validation loss of the last evaluation step; None without a history.

    Raises:
        FileError: the history is damaged.
    """
    path = Path(folder) / "evaluations.csv"
    if not path.exists():
        return None
    try:
        loss = float(_read_csv(path)[-1]["loss_val"])
        if not 0 <= loss < 100:
            raise ValueError(f"a loss of {loss} nats")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FileError(path, f"damaged ({error})") from None
    return loss


def _write_csv(
    path: Path, columns: Sequence[str], records: Sequence[StepRecord], figures: bool = False
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more = list(records[0].figures) if figures and records else []
    writer.writerow([*columns, *more])
    for record in records:
        own = [getattr(record, column) for column in columns]
        writer.writerow([*own, *(record.figures[name] for name in more)])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
