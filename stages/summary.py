"""What `make repro` says at its end."""

import json
from pathlib import Path
from typing import Any

from nanopoet.params import load_params
from stages.stage import read_timings, run

STAGES = ("fetch", "load", "split", "tokenize", "encode", "pretrain", "evaluate")


def main() -> None:
    load_params()
    pretrain, evaluate = _metrics("pretrain"), _metrics("evaluate")
    poem = Path("data/samples.txt").read_text(encoding="utf-8").split("\n\n")[0].strip()
    timings = read_timings()
    seconds = ", ".join(f"{name} {timings[name]:g} s" for name in STAGES if name in timings)
    indented = "\n".join(f"  {line}" for line in poem.splitlines())
    print(
        f"\nmodel    models/poet/, {pretrain['parameters']:,} parameters, "
        f"{pretrain['tokens']:,} training tokens\n"
        f"loss     train {pretrain['loss_train']:.3f}, val {pretrain['loss_val']:.3f}; "
        f"all of val {evaluate['nats_per_character']:.4f} nats per character, "
        f"e^loss {evaluate['hesitation']:.0f}\n"
        f"a poem\n{indented}\n"
        f"took     {seconds or 'no stage ran on this machine'} (each when it last ran)\n"
        f"see      make ui"
    )


def _metrics(stage: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(Path(f"metrics/{stage}.json").read_text(encoding="utf-8"))
    return figures


if __name__ == "__main__":
    run(main)
