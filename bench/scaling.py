"""Model sizes and numbers of processes on this machine: `python -m bench.scaling`.

The command prints a table and writes it to docs/scaling-<device>.md. Each row comes from its own
processes, which train on random tokens. On a CPU they are not compiled. With `--device cuda` each
has a GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import torch
from tqdm import tqdm

from bench import speed
from bench.memory import peak_bytes
from nanopoet.common.device import choose_device, describe, keep_freed_memory
from nanopoet.common.errors import NanopoetError
from nanopoet.common.files import atomic_write
from nanopoet.param_sections import PretrainParams
from nanopoet.params import load_params
from nanopoet.recipes import load_recipe
from nanopoet.training import distributed
from stages.runner import run

RECIPES = "default", "small", "medium", "large"
WARM_UP, STEPS = 2, 3
"""Steps before the measurement, and measured steps."""
WINDOWS = {"cpu": 8, "cuda": None}
"""Windows of a step; None is the recipe's number, which would take minutes on a CPU."""


def main() -> None:
    """Measure all rows and write the table; as a child process, train and print one row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--more", type=int, nargs="*", default=[2], metavar="N", help="processes, beside one"
    )
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        with distributed.process_group(lead=False):
            _train(torch.device(arguments.device), **arguments.child)
        return
    device = choose_device(arguments.device, "--device")
    text = f"# Measured by `python -m bench.scaling --device {device.type}`\n\n"
    text += f"{describe(device)}, torch {torch.__version__}.\n\n{_table(arguments, device)}\n"
    print(text)
    with atomic_write(f"docs/scaling-{device.type}.md") as file:
        file.write(text.encode())


def _table(arguments: argparse.Namespace, device: torch.device) -> str:
    columns = [
        "recipe", "parameters, M", "processes", "activation checkpointing", "windows a step",
        "tokens/s", "× one process", "TFLOP/s", "share of the matmuls' own rate",
        "peak memory of a process, GB",
    ]  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    variants = [
        (recipe, count, checkpointing)
        for recipe in arguments.recipes
        for count, checkpointing in [(1, False), (1, True), *((n, False) for n in arguments.more)]
    ]
    for recipe, count, checkpointing in tqdm(variants, unit="training", disable=None):
        row = _measure(device, recipe, count, checkpointing)
        if count == 1 and not checkpointing:
            one = row
        rate = one["rate"] * (count if device.type == "cuda" else 1)
        cells = [
            recipe,
            f"{row['parameters'] / 1e6:.1f}",
            count,
            "yes" if checkpointing else "no",
            f"{row['windows']} × {row['block_size']}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['tokens_per_second'] / one['tokens_per_second']:.2f}",
            f"{row['flops'] / 1e12:.3f}",
            f"{row['flops'] / rate:.2f}",
            f"{row['peak_gb']:.2f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _measure(device: torch.device, recipe: str, count: int, checkpointing: bool) -> dict[str, Any]:
    """Measure a row with `count` processes."""
    child = json.dumps({"recipe": recipe, "checkpointing": checkpointing})
    command = ["-m", "bench.scaling", "--device", device.type, "--child", child]
    threads = max(1, torch.get_num_threads() // count)
    if count > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        command = [*launcher, *command]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise NanopoetError(f"{recipe} with {count} processes ended with {done.returncode}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _train(device: torch.device, recipe: str, checkpointing: bool) -> None:
    """Train as one of the processes; process 0 prints the figures of all."""
    keep_freed_memory()
    params = _params(recipe, device, checkpointing)
    trainer = speed.endless_trainer(params, device)
    steps = iter(trainer)
    for _ in range(WARM_UP):
        next(steps)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - start)
    if distributed.rank() > 0:
        return
    tokens_per_second = params.batch_size * params.block_size / min(times)
    cuda = device.type == "cuda"
    dtype = torch.bfloat16 if trainer.precision == "bf16" else torch.float32
    peak = torch.cuda.max_memory_allocated() if cuda else peak_bytes()
    figures = {
        "parameters": trainer.model.num_parameters,
        "windows": params.batch_size,
        "block_size": params.block_size,
        "tokens_per_second": tokens_per_second,
        "flops": tokens_per_second * trainer.flops_per_token,
        "peak_gb": peak / 1e9,
    }
    if distributed.world_size() == 1 and not checkpointing:
        del trainer, steps
        figures["rate"] = speed.matmul_rate(device, params, dtype)
    print(json.dumps(figures))


def _params(recipe: str, device: torch.device, checkpointing: bool) -> PretrainParams:
    params = load_params() if recipe == "default" else load_recipe(recipe)[0]
    changes: dict[str, Any] = {"activation_checkpointing": checkpointing}
    if windows := WINDOWS[device.type]:
        changes |= {"batch_size": windows, "micro_batch_size": windows // 2, "compile": "off"}
    return params.pretrain.model_copy(update=changes)


if __name__ == "__main__":
    run(main, takes_arguments=True)
