"""Characters per second when poems are written, ours against the seed's loop."""

import time
from collections.abc import Callable

import torch

from bench import seed
from nanopoet.classic import GPTLanguageModel
from nanopoet.device import autocast, choose_precision
from nanopoet.generate import generate
from nanopoet.params import load_params
from nanopoet.train import build_model

VOCAB_SIZE, LENGTH = 11_868, 250


def measure_all(device: str) -> dict[str, float]:
    """Characters per second: the seed's loop, ours one poem at a time, ours 32 at once.

    The latter in fp32, and in the precision in which `evaluate` has poems written.
    """
    target = torch.device(device)
    theirs = GPTLanguageModel(VOCAB_SIZE, **seed.SIZE).to(target).eval()  # type: ignore[arg-type]
    ours = build_model(VOCAB_SIZE, load_params().pretrain).to(target).eval()
    one, many = (torch.zeros(n, 1, dtype=torch.int64, device=target) for n in (1, 32))
    _check_greedy(ours, one)
    rates = {
        "seed": _rate(lambda: seed.generate(theirs, one, LENGTH), LENGTH, rounds=2),
        "one at a time": _rate(lambda: generate(ours, one, LENGTH), LENGTH, rounds=5),
        "32 at once": _rate(lambda: generate(ours, many, LENGTH), 32 * LENGTH, rounds=5),
    }
    precision, _ = choose_precision(load_params().evaluate.precision, target)
    if precision != "fp32":
        with autocast(target, precision):
            rate = _rate(lambda: generate(ours, many, LENGTH), 32 * LENGTH, rounds=5)
        rates[f"32 at once, {precision}"] = rate
    return rates


def _check_greedy(model: torch.nn.Module, context: torch.Tensor) -> None:
    texts = [
        generate(model, context, LENGTH, temperature=0, use_cache=use_cache)  # type: ignore[arg-type]
        for use_cache in (True, False)
    ]
    assert torch.equal(*texts), "the cache changes what is written"


def _rate(work: Callable[[], torch.Tensor], characters: int, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        work().cpu()
        times.append(time.perf_counter() - start)
    return characters / min(times[1:])
