"""Print model, loss, a poem and the time of each stage: the end of `make repro`.

`python -m tools.summary finetune` prints the same of the finetuned model, and with `reinforce` of
the reinforced one.
"""

import argparse
from pathlib import Path

from nanopoet.common.files import read_json
from nanopoet.params import load_params
from stages.runner import read_timings, run

STAGES = ("fetch", "load", "split", "tokenize", "encode", "pretrain", "baseline", "evaluate")
FURTHER = {"finetune": "finetuned", "reinforce": "reinforced"}
"""Stage of a training that goes on → the name of what comes out."""


def main() -> None:
    """Print the summary of the last run of each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", nargs="?", choices=FURTHER)
    training = parser.parse_args().training
    load_params()
    if training:
        name = FURTHER[training]
        evaluation = f"evaluate_{name}"
        _summarize(f"models/{name}", training, evaluation, (training, evaluation))
    else:
        _summarize("models/poet", "pretrain", "evaluate", STAGES)


def _summarize(model: str, training: str, evaluation: str, stages: tuple[str, ...]) -> None:
    trained, evaluate = (read_json(f"metrics/{stage}.json") for stage in (training, evaluation))
    name = FURTHER.get(training)
    suffix = f"_{name}" if name else ""
    poem = Path(f"data/samples{suffix}.txt").read_text(encoding="utf-8").strip().split("\n\n")[0]
    report = Path(f"report/{name or 'index'}.html")
    timings = read_timings()
    seconds = ", ".join(f"{name} {timings[name]:g} s" for name in stages if name in timings)
    indented = "\n".join(f"  {line}" for line in poem.splitlines())
    print(
        f"\nmodel    {model}/, {trained['parameters']:,} parameters, "
        f"{trained['tokens']:,} training tokens\n"
        f"loss     train {trained['loss_train']:.3f}, val {trained['loss_val']:.3f}; "
        f"all of val {evaluate['nats_per_character']:.4f} nats per character, "
        f"perplexity {evaluate['perplexity']:.0f}"
    )
    if asked := evaluate.get("asked"):
        mean = asked["model"]["mean"]
        form, rhyme, tones = (mean[name] or 0.0 for name in ("form", "rhyme", "regulated"))
        print(
            f"asked    for a form, {form:.1%} of the poems have it; of these {rhyme:.1%} rhyme, "
            f"{tones:.1%} keep all tones"
        )
    print(
        f"a poem\n{indented}\n"
        f"took     {seconds or 'no stage ran on this machine'} (each when it last ran)\n"
        f"report   {report.absolute().as_uri()}\n"
        f"see      make ui"
    )


if __name__ == "__main__":
    run(main, takes_arguments=True)
