"""The content of a run's page: metrics, a table of samples, and a text to read first."""

from typing import Any

import pandas as pd

from nanopoet.common.text import as_lines
from nanopoet.evaluation.perplexity import meaning
from stages.tracking.record import LoggedStep, RunRecord

_BY_ITSELF = {"verse", "asked", "tunes", "titles"}
"""Keys of figures of poems that the model writes, which no dataset decides."""
_SAME_FOR_ALL = {"human", "ngram", "styles"}
"""Keys of metrics/evaluate.json that do not describe the model, or that MLflow rejects."""


def describe(record: RunRecord) -> str:
    """Say in Markdown what was trained, on how much, with which loss, and quote a poem."""
    stage, p, steps = record.stage, record.params, [step.record for step in record.steps]
    tokens = steps[-1].tokens if steps else 0
    lines = [
        f"**{p['pretrain.architecture']}** model, {p['pretrain.layer_num']} layers × "
        f"{p['pretrain.emb_size']}, {record.status.lower()} after {tokens:,} training tokens "
        f"({len(steps):,} of {int(p[f'{stage}.max_steps']):,} steps of "
        f"{p[f'{stage}.batch_size']} × {p['pretrain.block_size']}).",
    ]
    if differences := record.tags.get("nanopoet.differences"):
        lines.append(f"Differs from `params.yaml` as committed: {differences}.")
    poem = ""
    if last := next((step for step in reversed(steps) if step.samples), None):
        lines.append(
            f"Loss at step {last.step}: train {last.loss_train:.3f}, "
            f"val {last.loss_val:.3f} nats per character."
        )
        poem = next(iter((last.samples or {}).values()))
    if figures := record.evaluation:
        lines.append(
            f"All of validation: **{figures['nats_per_character']:.4f}** nats per character, "
            f"{meaning(figures['nats_per_character'])}."
        )
        poem = record.poems.strip().split("\n\n")[0]
    if poem.strip():
        verse = as_lines(poem).splitlines()
        lines.append("A poem:\n\n" + "  \n".join(f"> {line}" for line in verse))
    return "\n\n".join(lines)


def samples_table(record: RunRecord) -> dict[str, Any]:
    """Return the samples as columns and rows.

    MLflow pairs the rows of several runs by the first column and compares the second.
    """
    rows = [
        [f"step {step.record.step:06d}: {prompt or '(nothing)'}", poem, step.record.step, prompt]
        for step in record.steps
        for prompt, poem in (step.record.samples or {}).items()
    ]
    return {"columns": ["step and prompt", "poem", "step", "prompt"], "data": rows}


def step_metrics(step: LoggedStep) -> dict[str, float]:
    """Return the metrics of one step by name."""
    record = step.record
    losses = {"loss/train": record.loss_train, "loss/val": record.loss_val}
    others = {"grad_norm": record.grad_norm, "lr": record.lr, "tokens": record.tokens}
    values = losses | others | dict(record.figures) | step.rates
    return {name: value for name, value in values.items() if value is not None}


def evaluation_metrics(figures: dict[str, Any]) -> dict[str, float]:
    """Return the figures of the model, nested names joined by a slash, without lists."""
    [flat] = pd.json_normalize({"evaluate": figures}, sep="/").to_dict("records")
    return {
        str(name): value
        for name, value in flat.items()
        if isinstance(value, (int, float)) and not _SAME_FOR_ALL & set(str(name).split("/"))
    }


def is_of_weights(metric: str) -> bool:
    """Tell whether a metric describes the weights after its step, and not the training."""
    return metric == "loss/val" or metric.startswith("evaluate/")


def is_measured_on_val(metric: str) -> bool:
    """Tell whether a metric of the weights is measured on the validation poems."""
    return is_of_weights(metric) and metric.split("/")[1] not in _BY_ITSELF
