"""Progress of a training in the terminal: a bar, and a line for each evaluation step."""

import sys
from collections.abc import Iterator

from tqdm import tqdm

from nanopoet.common.text import as_lines
from nanopoet.training.history import StepRecord
from nanopoet.training.trainer import Trainer


def show_progress(trainer: Trainer) -> Iterator[tuple[StepRecord, dict[str, float]]]:
    """Iterate over the trainer and print its progress.

    Yields:
        the record of each step, and speeds since the start of this process: `tokens_per_second`
        and `tflop_per_second`, without the time of evaluation steps.
    """
    params, first, seen = trainer.params, trainer.step, trainer.tokens
    bar = tqdm(
        trainer,
        initial=first,
        total=params.max_steps,
        unit="step",
        disable=None,
        desc=trainer.task.name,
    )
    for record in bar:
        speed = (trainer.tokens - seen) / trainer.seconds
        bar.set_postfix_str(f"loss {record.loss_train:.3f}, {speed:,.0f} tokens/s", refresh=False)
        if record.samples is not None:
            poem = as_lines(next(iter(record.samples.values()))).replace("\n", " ")
            losses = f"train {record.loss_train:.3f}  val {record.loss_val:.3f}"
            bar.write(f"step {record.step:5d}  {losses}  {speed:6,.0f} tokens/s  {poem}")
            sys.stdout.flush()
        tflop_per_second = speed * trainer.flops_per_token / 1e12
        yield record, {"tokens_per_second": speed, "tflop_per_second": tflop_per_second}
