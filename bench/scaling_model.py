"""A model of the time of a step on other machines: `python -m bench.scaling_model`.

A step is the computation, shared by p processes, and one all-reduce of the gradients. A ring
all-reduce moves 2 (p - 1) / p times the bytes of the gradients in and out of each process
(Patarasuk & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002).

The model leaves out latency, the part of the all-reduce that DDP does during the backward pass, the
optimizer, which each process runs for all parameters, and evaluations.
"""

from dataclasses import dataclass

from bench.speed import VOCAB_SIZE
from nanopoet.models.flops import flops_per_token
from nanopoet.recipes import load_recipe
from nanopoet.training.pretraining import build_model
from stages.runner import run

USED = 0.4
"""Assumed share of its peak rate that a GPU reaches."""
H100 = 989e12
"""FLOP/s of bf16 matmuls without sparsity, from NVIDIA's data sheet of the H100 (SXM)."""


@dataclass(frozen=True)
class Machines:
    """GPUs, one for each process, and the network between them.

    Attributes:
        name: name in the table.
        processes: p.
        bytes_per_second: rate in and out of a process over its slowest link, from the data sheet.
    """

    name: str
    processes: int
    bytes_per_second: float


ALL = (
    Machines("one GPU", 1, 1.0),
    Machines("8 GPUs, NVLink (450 GB/s each way)", 8, 450e9),
    Machines("2 × 8 GPUs, each with a network of 400 Gb/s", 16, 50e9),
    Machines("8 machines of one GPU, 10 Gb/s Ethernet", 8, 1.25e9),
)


def step_seconds(machines: Machines, parameters: float, flops: float) -> tuple[float, float]:
    """Compute the seconds of the computation and of the all-reduce of fp32 gradients.

    Args:
        machines: the GPUs and their network.
        parameters: number of parameters.
        flops: FLOP of a step.

    >>> step_seconds(Machines("", 2, 1e9), 1e6, H100 * USED)
    (0.5, 0.004)
    """
    p = machines.processes
    return flops / (USED * H100) / p, 2 * (p - 1) / p * 4 * parameters / machines.bytes_per_second


def table() -> str:
    """Return a Markdown table of the three recipes for GPUs, with their own batches."""
    lines = [
        "| recipe | machines | computation, ms | all-reduce, ms | × one GPU |",
        "|---|---|---|---|---|",
    ]
    for name in ("small", "medium", "large"):
        params = load_recipe(name)[0].pretrain
        model = build_model(VOCAB_SIZE, params)
        flops = flops_per_token(model) * params.batch_size * params.block_size
        alone = sum(step_seconds(ALL[0], model.num_parameters, flops))
        for machines in ALL:
            compute, reduce = step_seconds(machines, model.num_parameters, flops)
            lines.append(
                f"| {name} | {machines.name} | {compute * 1e3:.1f} | {reduce * 1e3:.1f} "
                f"| {alone / (compute + reduce):.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    print(table())


if __name__ == "__main__":
    run(main)
