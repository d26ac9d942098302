"""The time of a training step and of a generated character by kind of operation, on a CPU.

`python -m bench.profile` runs torch's profiler on the steps of `bench.speed` and on the 32 poems of
`bench.generation`. The profiler slows down small operations, so shares refer to its own total.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from bench.generation import LENGTH
from bench.speed import GEOMETRY, VOCAB_SIZE, endless_trainer, matmul_rate
from nanopoet.common.device import Precision, autocast, choose_precision, describe
from nanopoet.models.flops import weight_flops_per_token
from nanopoet.models.generate import generate, sample
from nanopoet.ops.attention import causal_attention
from nanopoet.ops.linear import packed
from nanopoet.params import load_params
from nanopoet.training.pretraining import build_model
from stages.runner import run

TRAINING = {
    "optimizers": r"^Optimizer\.step",
    "matmuls with weights": r"^aten::(mm|addmm)$",
    "matmuls of attention": r"^aten::(bmm|baddbmm)$|scaled_dot_product",
    "compiled code": r"Compiled|^triton_|^cpp_fused",
}
GENERATION = {
    "sampling": r"^sampling$",
    "attention": r"^attention$",
    "matmuls with weights": r"^aten::(mm|addmm|linear)$|_linear_pointwise",
}
"""Kind → pattern of the name of an operation or of a caller of it; the first match counts."""
REST = "the rest"


def kinds(events: list[FunctionEvent], patterns: dict[str, str]) -> Counter[str]:
    """Add up the time of operations by kind, in seconds.

    The time of the operations that an operation calls counts for them alone.

    Args:
        events: from torch's profiler.
        patterns: as `TRAINING`.
    """
    seconds: Counter[str] = Counter()
    for event in events:
        names = [event.name]
        part = event.cpu_parent
        while part is not None:
            names.append(part.name)
            part = part.cpu_parent
        kind = next(
            (k for k, pattern in patterns.items() if any(re.search(pattern, n) for n in names)),
            REST,
        )
        seconds[kind] += event.self_cpu_time_total / 1e6
    return seconds


def _profiled(work: Callable[[], object], patterns: dict[str, str]) -> Counter[str]:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    events: Any = profiler.events()
    return kinds(events, patterns)


def training(steps: int = 2) -> str:
    """Measure the shares of a step of 64 × 256 tokens, and the rate of its matmuls with weights."""
    cpu, params = torch.device("cpu"), load_params().pretrain.model_copy(update=GEOMETRY)
    trainer = endless_trainer(params, cpu)
    records = iter(trainer)
    for _ in range(3):
        next(records)
    found = _profiled(lambda: [next(records) for _ in range(steps)], TRAINING)
    tokens = steps * params.batch_size * params.block_size
    rate = weight_flops_per_token(trainer.model) * tokens / found["matmuls with weights"]
    alone = matmul_rate(cpu, params)
    return (
        _table("a step of training", found, steps)
        + f"\n\nThe matmuls with weights run at {rate / 1e9:,.0f} GFLOP/s, {rate / alone:.2f} of "
        f"their rate alone."
    )


def generation(precision: Precision) -> str:
    """Measure the shares of a character of 32 poems."""
    cpu = torch.device("cpu")
    model = build_model(VOCAB_SIZE, load_params().pretrain).eval()
    begin = torch.zeros(32, 1, dtype=torch.int64)
    with packed(model), autocast(cpu, precision):
        generate(model, begin, LENGTH)
        found = _profiled(lambda: generate(model, begin, LENGTH), GENERATION)
    return _table(f"a character of 32 poems, {precision}", found, LENGTH)


def _table(title: str, found: Counter[str], count: int) -> str:
    total = found.total()
    lines = [f"| {title} | ms | share |", "|---|---|---|"]
    for kind, seconds in found.most_common():
        lines.append(f"| {kind} | {1e3 * seconds / count:.2f} | {seconds / total:.2f} |")
    return "\n".join(lines)


def _labelled(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        with record_function(name):
            return function(*args, **options)

    return run


def main() -> None:
    """Print the tables of training and of generation in each precision."""
    cpu = torch.device("cpu")
    print(f"{describe(cpu)}, torch {torch.__version__}.\n\n{training()}", flush=True)
    with (
        patch("nanopoet.models.generate.sample", _labelled("sampling", sample)),
        patch("nanopoet.models.qwen3.causal_attention", _labelled("attention", causal_attention)),
    ):
        for precision in dict.fromkeys(["fp32", choose_precision("auto", cpu)[0]]):
            print(f"\n{generation(precision)}", flush=True)


if __name__ == "__main__":
    run(main)
