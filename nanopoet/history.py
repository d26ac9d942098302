"""The course of a training run as files: loss at each step, samples at each evaluation."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from nanopoet.errors import NanopoetError
from nanopoet.files import atomic_write, write_json
from nanopoet.train import StepRecord

_NUMBERS = [field.name for field in fields(StepRecord) if field.name != "sample"]


def write_history(folder: str | Path, records: Sequence[StepRecord]) -> None:
    """Write `history.csv`, a row per step, and `samples.json`, an entry per evaluation.

    What a step does not have is an empty cell.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _NUMBERS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, records))
    with atomic_write(Path(folder) / "history.csv") as file:
        file.write(text.getvalue().encode())
    samples = {str(r.step): r.sample for r in records if r.sample is not None}
    write_json(Path(folder) / "samples.json", samples)


def read_history(folder: str | Path) -> list[StepRecord]:
    """Read what `write_history` wrote.

    Raises:
        NanopoetError: a file is missing or damaged.
    """
    folder = Path(folder)
    try:
        samples = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
        with open(folder / "history.csv", encoding="utf-8", newline="") as file:
            return [_record(row, samples) for row in csv.DictReader(file)]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise NanopoetError(
            f"{folder}: history.csv or samples.json is missing or damaged ({error}); run "
            f"`dvc repro pretrain`"
        ) from None


def _record(row: dict[str, str], samples: dict[str, str]) -> StepRecord:
    return StepRecord(
        step=int(row["step"]),
        tokens=int(row["tokens"]),
        lr=float(row["lr"]),
        loss_train=float(row["loss_train"]),
        grad_norm=float(row["grad_norm"]),
        loss_val=float(row["loss_val"]) if row["loss_val"] else None,
        sample=samples.get(row["step"]),
    )
