"""Print model, loss, a poem and the time of each stage: the end of `make repro`."""

from pathlib import Path

from nanopoet.common.files import read_json
from nanopoet.params import load_params
from stages.runner import read_timings, run

STAGES = ("fetch", "load", "split", "tokenize", "encode", "pretrain", "baseline", "evaluate")


def main() -> None:
    """Print the summary of the last run of each stage."""
    load_params()
    pretrain, evaluate = (read_json(f"metrics/{stage}.json") for stage in ("pretrain", "evaluate"))
    poem = Path("data/samples.txt").read_text(encoding="utf-8").strip().split("\n\n")[0]
    timings = read_timings()
    seconds = ", ".join(f"{name} {timings[name]:g} s" for name in STAGES if name in timings)
    indented = "\n".join(f"  {line}" for line in poem.splitlines())
    print(
        f"\nmodel    models/poet/, {pretrain['parameters']:,} parameters, "
        f"{pretrain['tokens']:,} training tokens\n"
        f"loss     train {pretrain['loss_train']:.3f}, val {pretrain['loss_val']:.3f}; "
        f"all of val {evaluate['nats_per_character']:.4f} nats per character, "
        f"perplexity {evaluate['perplexity']:.0f}\n"
        f"a poem\n{indented}\n"
        f"took     {seconds or 'no stage ran on this machine'} (each when it last ran)\n"
        f"report   {Path('report/index.html').absolute().as_uri()}\n"
        f"see      make ui"
    )


if __name__ == "__main__":
    run(main)
