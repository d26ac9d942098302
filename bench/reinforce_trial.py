"""One trial of the reinforcement, scored on a development part of the training poems.

`python -m bench.trial --save base` and `python -m bench.finetune_trial base --save finetuned` train
without the development part. `python -m bench.reinforce_trial finetuned reinforce.kl_weight=0.2`
goes on from there, asks for poems in each form, and scores the development poems. Validation poems
take no part. With `--best-of` the model learns the best poem of each group instead, the simpler way
to use a judge. docs/experiment-log.md is the log.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor
from tqdm import tqdm

from bench import count
from bench.trial import EVERY, FIRST, changed_params
from nanopoet.common.device import choose_device, choose_precision, keep_freed_memory
from nanopoet.corpus.poems import read_poems
from nanopoet.evaluation.asked import asked_figures
from nanopoet.evaluation.field_scores import score_contents
from nanopoet.evaluation.requests import GIVEN, title_shares, write_for, write_forms
from nanopoet.evaluation.sample_poems import sample_poems
from nanopoet.evaluation.verse import Corpus, judge
from nanopoet.models.checkpoint import load_model, save_model
from nanopoet.params import reinforce_recipe
from nanopoet.reinforcement.judge import Rule
from nanopoet.reinforcement.rollouts import Rollout, Rollouts
from nanopoet.reinforcement.task import reinforcing
from nanopoet.tokens.batches import Batch
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.fields import FieldPoems
from nanopoet.tokens.tokenizer import PADDING_ID
from nanopoet.training.trainer import Trainer
from stages.runner import run

GROUP = 4
"""Poems for one request with `--best-of`."""
SHOWN = (
    *("form", "rhyme", "regulated", "rhyme_distinct", "repeated_characters"),
    *("distinct_2", "distinct_2_within", "copies", "parallel_middle", "reader_ngram"),
)
"""Measures that a trial prints, each the mean of the four forms."""


class BestOfGroup(Rollouts):
    """Batches from which the model learns the best of four poems for each request, as it is."""

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Write the poems of an update; those that are not the best of their group get no loss."""
        batch = super().__call__(step, rng)
        costs = np.array(self.costs).reshape(-1, GROUP)
        chosen = costs.argmin(axis=1)[:, None] == np.arange(GROUP)
        targets = np.where(chosen.reshape(-1, 1), batch.targets, PADDING_ID)
        return Batch(batch.inputs, targets, figures=batch.figures)

    def _draw_requests(self, rng: np.random.Generator) -> list[Rollout]:
        drawn = [self._draw_request(rng) for _ in range(self._params.batch_size // GROUP)]
        self.costs: list[float] = []
        return [replace(rollout) for rollout in drawn for _ in range(GROUP)]

    def _penalties(self, rollout: Rollout) -> tuple[Tensor, list[Rule]]:
        penalties, broken = super()._penalties(rollout)
        self.costs.append(sum(getattr(self._params.penalties, rule) for rule in broken))
        return penalties, broken


def main() -> None:
    """Run the trial and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="model folder that `bench.finetune_trial --save` wrote")
    parser.add_argument("changes", nargs="*", metavar="section.leaf=value")
    parser.add_argument("--best-of", action="store_true", help="learn the best poem of each group")
    parser.add_argument("--count", type=count, default=200, help="poems to ask for in each form")
    parser.add_argument("--save", metavar="FOLDER", help="keep the model there")
    arguments = parser.parse_args()
    keep_freed_memory()
    params = changed_params(arguments.changes)
    model, tokenizer = load_model(arguments.base)
    poems = read_poems("data/train.jsonl")
    train = [poem for i, poem in enumerate(poems) if i % EVERY != FIRST]
    held_out = [poem for i, poem in enumerate(poems) if i % EVERY == FIRST][::5]
    dev = FieldPoems.of(held_out, tokenizer)
    recipe = reinforce_recipe(params.pretrain, params.reinforce)
    recipe = recipe.model_copy(update={"eval_every": recipe.max_steps})
    device = choose_device(recipe.device)
    precision, _ = choose_precision(recipe.precision, device)
    batches = BestOfGroup if arguments.best_of else Rollouts
    task = reinforcing(
        model.to(device), train, dev, tokenizer, params.reinforce, precision, batches
    )
    trainer = Trainer(model, task, tokenizer, recipe)
    records = list(tqdm(trainer, total=recipe.max_steps, unit="step", disable=None))
    if arguments.save:
        save_model(arguments.save, model, tokenizer, {})

    options = params.evaluate

    def write(prompts: Sequence[Sequence[int]], count: int) -> list[str]:
        return sample_poems(
            model,
            tokenizer,
            count=count,
            length=options.sample_length,
            temperature=options.temperature,
            seed=options.seed,
            device=device,
            precision=precision,
            prompts=prompts,
        )

    written = write_forms(write, tokenizer, arguments.count)
    people = held_out[: arguments.count]
    arrays = encode_poems(train, tokenizer, params.encode.separators)
    corpus = Corpus.of(train, arrays, tokenizer, params.baseline.order)
    asked = asked_figures(judge(written, train), corpus)
    characters = sum(len(poem["content"]) for poem in held_out)
    figures = {
        "changes": arguments.changes,
        "best_of": arguments.best_of,
        **{name: _rounded(asked["mean"][name]) for name in SHOWN},
        "titles": title_shares(people, write_for(write, tokenizer, people)),
        "form_least": min(each["form"] for name, each in asked.items() if name != "mean"),
    }
    for name in ("nothing", "all"):
        kept = {"batch_size": options.batch_size, "device": device, "precision": precision}
        nats = score_contents(model, dev, GIVEN[name], **kept)  # type: ignore[arg-type]
        figures[f"dev_given_{name}"] = _rounded(nats.sum().item() / characters)
    figures |= {
        "kl": _rounded(float(np.mean([record.figures["kl"] for record in records[-10:]]))),
        "seconds": round(trainer.seconds),
        "machine": trainer.machine,
    }
    print(json.dumps(figures))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    run(main, takes_arguments=True)
