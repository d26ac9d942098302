"""The trainings that have runs in MLflow, and where their results lie."""

from pathlib import Path
from typing import NamedTuple

_DATA = ("fetch", "load", "split", "encode")


class Training(NamedTuple):
    """A training stage.

    Attributes:
        model: the model folder that it writes.
        sections: sections of params.yaml that decide the model.
        judged_by: sections that decide the evaluation.
        metrics: figures of the evaluation.
        chart: a name, and the figures of the evaluation that it shows as bars.
        poems: poems of the evaluation.
        registered: name of the model in MLflow's registry.
        base: the model folder from which it goes on, if there is one.
    """

    model: Path
    sections: tuple[str, ...]
    judged_by: tuple[str, ...]
    metrics: Path
    chart: tuple[str, str]
    poems: Path
    registered: str
    base: Path | None = None


TRAININGS = {
    "pretrain": Training(
        model=Path("models/poet"),
        sections=(*_DATA, "pretrain"),
        judged_by=("baseline", "evaluate"),
        metrics=Path("metrics/evaluate.json"),
        chart=("loss_by_form", "nats_per_character_by_form"),
        poems=Path("data/samples.txt"),
        registered="nanopoet",
    ),
    "finetune": Training(
        model=Path("models/finetuned"),
        sections=(*_DATA, "pretrain", "finetune"),
        judged_by=("baseline", "evaluate"),
        metrics=Path("metrics/evaluate_finetuned.json"),
        chart=("loss_given", "nats_per_character_given"),
        poems=Path("data/samples_finetuned.txt"),
        registered="nanopoet-finetuned",
        base=Path("models/poet"),
    ),
    "reinforce": Training(
        model=Path("models/reinforced"),
        sections=(*_DATA, "pretrain", "finetune", "reinforce"),
        judged_by=("baseline", "evaluate"),
        metrics=Path("metrics/evaluate_reinforced.json"),
        chart=("loss_given", "nats_per_character_given"),
        poems=Path("data/samples_reinforced.txt"),
        registered="nanopoet-reinforced",
        base=Path("models/finetuned"),
    ),
}
"""Name of the stage → its results."""
