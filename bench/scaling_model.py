"""What a step takes on machines that are not at hand, by a model: `python -m bench.scaling_model`.

A step is the computation, shared by p processes, and one all-reduce of the gradients. That
moves 2 (p - 1) / p times their bytes in and out of each process if it goes round a ring
(Patarasuk & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002). Left out are latency, what DDP
does of it during the way back, the optimiser, which each process runs whole, and looks.
"""

from dataclasses import dataclass

from bench.speed import VOCAB_SIZE
from nanopoet.models.flops import flops_per_token
from nanopoet.recipes import load_recipe
from nanopoet.training.trainer import build_model

USED = 0.4
"""Share of its best rate that a GPU is taken to reach."""
H100 = 989e12
"""FLOP/s of bf16 products without sparsity, by NVIDIA's data sheet (SXM)."""


@dataclass(frozen=True)
class Machines:
    """Processes, one a GPU, and what carries their gradients.

    Attributes:
        name: for the table.
        processes: p.
        bytes_per_second: in and out of a process, by the data sheet; of the slowest link if
            they differ.
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
    """Seconds of computation and of the all-reduce of fp32 gradients.

    >>> step_seconds(Machines("", 2, 1e9), 1e6, H100 * USED)
    (0.5, 0.004)
    """
    p = machines.processes
    return flops / (USED * H100) / p, 2 * (p - 1) / p * 4 * parameters / machines.bytes_per_second


def table() -> str:
    """For the three recipes for GPUs, at their own batches."""
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


if __name__ == "__main__":
    print(table())
