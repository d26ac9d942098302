"""Characters per second of generation, ours against the notebook's loop.

Each is measured in its own process: after the notebook's loop ours is some percent slower.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from bench import notebook
from nanopoet.common.device import Precision, autocast, choose_precision, keep_freed_memory
from nanopoet.models.base import LanguageModel
from nanopoet.models.generate import generate
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.params import load_params
from nanopoet.training.pretraining import build_model
from stages.runner import run

VOCAB_SIZE, LENGTH = 11_868, 250
NOTEBOOK = "notebook"
WAYS: dict[str, tuple[int, Precision]] = {
    NOTEBOOK: (1, "fp32"),
    "one at a time": (1, "fp32"),
    "32 at once": (32, "fp32"),
    "32 at once, bf16": (32, "bf16"),
}
"""Name → poems at once, precision. bf16 is measured if `evaluate` generates in bf16 here."""


def measure_all(device: str) -> dict[str, float]:
    """Measure the characters per second of each of `WAYS`."""
    target = torch.device(device)
    _check_greedy(_ours(target), torch.zeros(1, 1, dtype=torch.int64, device=target))
    chosen, _ = choose_precision(load_params().evaluate.precision, target)
    rates = {}
    for name, (_, precision) in WAYS.items():
        if precision in ("fp32", chosen):
            command = [sys.executable, "-m", "bench.generation", name, "--device", device]
            done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
            rates[name] = float(done.stdout)
    return rates


def _ours(device: torch.device) -> LanguageModel:
    return build_model(VOCAB_SIZE, load_params().pretrain).to(device).eval()


def _check_greedy(model: LanguageModel, context: torch.Tensor) -> None:
    texts = [
        generate(model, context, LENGTH, temperature=0, use_cache=use_cache)
        for use_cache in (True, False)
    ]
    assert torch.equal(*texts), "the cache changes the text"


def _rate(work: Callable[[], torch.Tensor], characters: int, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):  # the first round warms up
        start = time.perf_counter()
        work().cpu()
        times.append(time.perf_counter() - start)
    return characters / min(times[1:])


def main() -> None:
    """Measure one of `WAYS` and print its characters per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--device", choices=["cpu", "cuda", "mps"], default="cpu")
    arguments = parser.parse_args()
    keep_freed_memory()
    device = torch.device(arguments.device)
    count, precision = WAYS[arguments.way]
    begin = torch.zeros(count, 1, dtype=torch.int64, device=device)
    if arguments.way == NOTEBOOK:
        model = GPTLanguageModel(VOCAB_SIZE, **notebook.SIZE).to(device).eval()  # type: ignore[arg-type]
        rate = _rate(lambda: notebook.generate(model, begin, LENGTH), LENGTH, rounds=2)
    else:
        ours = _ours(device)
        with autocast(device, precision):
            rate = _rate(lambda: generate(ours, begin, LENGTH), count * LENGTH, rounds=5)
    print(rate)


if __name__ == "__main__":
    run(main, takes_arguments=True)
