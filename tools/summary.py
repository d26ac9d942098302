"""Print model, loss, a poem and the time of each stage: the end of `make repro`.

`python -m tools.summary finetune` prints the same of the finetuned model.
"""

import sys
from pathlib import Path

from nanopoet.common.files import read_json
from nanopoet.params import load_params
from stages.runner import read_timings, run

STAGES = ("fetch", "load", "split", "tokenize", "encode", "pretrain", "baseline", "evaluate")
FINETUNING = ("finetune", "evaluate_finetuned")


def main() -> None:
    """Print the summary of the last run of each stage."""
    load_params()
    if sys.argv[1:] == ["finetune"]:
        _summarize("models/finetuned", "finetune", "evaluate_finetuned", FINETUNING)
    else:
        _summarize("models/poet", "pretrain", "evaluate", STAGES)


def _summarize(model: str, training: str, evaluation: str, stages: tuple[str, ...]) -> None:
    trained, evaluate = (read_json(f"metrics/{stage}.json") for stage in (training, evaluation))
    suffix = "_finetuned" if training == "finetune" else ""
    poem = Path(f"data/samples{suffix}.txt").read_text(encoding="utf-8").strip().split("\n\n")[0]
    report = Path("report/finetuned.html" if suffix else "report/index.html")
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
    if forms := evaluate.get("forms"):
        shares = ", ".join(f"{style} {share:.0%}" for style, share in forms.items())
        print(f"asked    the poem has the form that was asked for: {shares}")
    print(
        f"a poem\n{indented}\n"
        f"took     {seconds or 'no stage ran on this machine'} (each when it last ran)\n"
        f"report   {report.absolute().as_uri()}\n"
        f"see      make ui"
    )


if __name__ == "__main__":
    run(main)
