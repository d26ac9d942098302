"""One trial of the finetuning, scored on a development part of the training poems.

`python -m bench.trial --save base` trains the default recipe without the development part and keeps
the model. `python -m bench.finetune_trial base finetune.lr=0.003` finetunes it on the same poems,
and scores and asks for poems as the stage `evaluate_finetuned` does. Validation poems take no part.
docs/experiment-log.md is the log.
"""

import argparse
import json
import time

import numpy as np
from tqdm import tqdm

from bench import count
from bench.reinforce_trial import SHOWN
from bench.trial import EVERY, FIRST, changed_params
from nanopoet.common.device import keep_freed_memory
from nanopoet.corpus.poems import read_poems
from nanopoet.evaluation.asked import asked_figures
from nanopoet.evaluation.requests import evaluate_requests
from nanopoet.evaluation.verse import Corpus, judge
from nanopoet.models.checkpoint import load_model, save_model
from nanopoet.params import finetune_recipe
from nanopoet.tokens.encode import encode_poems
from nanopoet.tokens.fields import FieldPoems
from nanopoet.training.task import finetuning, take_fields
from nanopoet.training.trainer import Trainer
from nanopoet.writing.catalogue import Catalogue
from stages.runner import run


def main() -> None:
    """Run the trial and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="model folder that `bench.trial --save` wrote")
    parser.add_argument("changes", nargs="*", metavar="section.leaf=value")
    parser.add_argument("--count", type=count, default=100, help="poems to ask for in each row")
    parser.add_argument("--save", metavar="FOLDER", help="keep the model there")
    arguments = parser.parse_args()
    keep_freed_memory()
    params = changed_params(arguments.changes)
    model, tokenizer = load_model(arguments.base)
    take_fields(model, tokenizer, params.finetune)
    poems = read_poems("data/train.jsonl")
    train = [poem for i, poem in enumerate(poems) if i % EVERY != FIRST]
    dev = [poem for i, poem in enumerate(poems) if i % EVERY == FIRST]
    recipe = finetune_recipe(params.pretrain, params.finetune)
    recipe = recipe.model_copy(update={"eval_every": recipe.max_steps})
    task = finetuning(
        FieldPoems.of(train, tokenizer),
        FieldPoems.of(dev, tokenizer),
        tokenizer,
        model.block_size,
        params.finetune,
    )
    trainer = Trainer(model, task, tokenizer, recipe)
    records = list(tqdm(trainer, total=recipe.max_steps, unit="step", disable=None))
    if arguments.save:
        save_model(arguments.save, model, tokenizer, {})
    start = time.perf_counter()

    options = params.evaluate.model_copy(update={"sample_count": arguments.count})
    figures, written = evaluate_requests(
        model, tokenizer, Catalogue.of(train), dev, options, trainer.device, trainer.precision
    )
    arrays = encode_poems(train, tokenizer, params.encode.separators)
    corpus = Corpus.of(train, arrays, tokenizer, params.baseline.order)
    written.pop("")
    asked = asked_figures(judge(written, train), corpus)
    figures |= {
        "asked": {name: asked["mean"][name] for name in SHOWN},
        "form_least": min(asked[style]["form"] for style in written),
        "changes": arguments.changes,
        "train": round(float(np.mean([r.loss_train for r in records[-20:]])), 4),
        "tokens": records[-1].tokens,
        "seconds": round(trainer.seconds),
        "seconds_of_evaluation": round(time.perf_counter() - start),
        "machine": trainer.machine,
    }
    print(json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    run(main, takes_arguments=True)
