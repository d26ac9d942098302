"""All comparisons: `python -m bench`, with `--device cuda` on a GPU.

The command prints the tables and writes them, with a picture, to docs/bench-<device>.md and .png.
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import torch

from bench import data, generation, ops, speed, time_to_loss
from nanopoet.common.device import choose_device, describe, keep_freed_memory
from nanopoet.common.files import atomic_write
from tools.revisions import git_head

mpl.use("Agg")

import matplotlib.pyplot as plt

from stages.runner import run

Curves = dict[str, list[dict[str, float]]]


def main() -> None:
    """Run the comparisons and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda", "mps"], default="cpu")
    parser.add_argument("--without-data", action="store_true", help="leave out the data stages")
    parser.add_argument("--without-loss", action="store_true", help="leave out the time to a loss")
    arguments = parser.parse_args()
    device = choose_device(arguments.device, "--device")
    if not arguments.without_data:
        data.require_archive()
    keep_freed_memory()
    out = Path("docs") / f"bench-{device.type}"

    text = f"# Measured by `python -m bench --device {device.type}` at commit {git_head()}\n"
    for table in _tables(arguments, device, out.with_suffix(".png")):
        print(f"\n{table}", flush=True)
        text += f"\n{table}\n"
    with atomic_write(out.with_suffix(".md")) as file:
        file.write(text.encode())


def _tables(arguments: argparse.Namespace, device: torch.device, picture: Path) -> Iterator[str]:
    yield _where(device)
    yield _training(device)
    yield _generation(device)
    if device.type == "cpu":
        yield ops.table()
    if not arguments.without_loss:
        curves = time_to_loss.measure_all(device.type)
        _plot(curves, picture)
        yield _time_to_loss(curves)
    if not arguments.without_data:
        command = [sys.executable, "-m", "bench.data"]
        yield subprocess.run(
            command, stdout=subprocess.PIPE, encoding="utf-8", check=True
        ).stdout.strip()


def _where(device: torch.device) -> str:
    return f"{describe(device)}, {platform.machine()}, torch {torch.__version__}."


def _training(device: torch.device) -> str:
    rows = speed.measure_all(device.type)
    notebook = rows[0]["tokens_per_second"]
    lines = [
        "| training, 64 × 256 tokens a step | tokens/s | × notebook | first step, s | peak, GB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        tokens = row["tokens_per_second"]
        lines.append(
            f"| {row['name']} | {tokens:,.0f} | {tokens / notebook:.2f} | {row['first_step']:.1f} "
            f"| {row['peak_gb']:.2f} |"
        )
    for row in rows:
        if "share" in row:
            dtype = "fp32" if row["name"] == speed.FP32 else "bf16"
            lines.append(
                f"\n`{row['name']}` computes {row['share']:.3f} of what the {dtype} matmuls of its "
                f"shapes reach alone ({row['matmul_rate'] / 1e9:,.0f} GFLOP/s)."
            )
    return "\n".join(lines)


def _generation(device: torch.device) -> str:
    rates = generation.measure_all(device.type)
    lines = ["| writing poems of 250 characters | characters/s | × notebook |", "|---|---|---|"]
    for name, rate in rates.items():
        lines.append(f"| {name} | {rate:,.0f} | {rate / rates['notebook']:.1f} |")
    return "\n".join(lines)


def _time_to_loss(curves: Curves) -> str:
    marks = " | ".join(f"val {mark}" for mark in time_to_loss.MARKS)
    lines = [
        f"| seconds of training to a loss | first step | {marks} | at the end |",
        "|---" * (len(time_to_loss.MARKS) + 3) + "|",
    ]
    for name, curve in curves.items():
        times = [time_to_loss.seconds_to(curve, mark) for mark in time_to_loss.MARKS]
        cells = " | ".join("never" if t is None else f"{t:.0f}" for t in times)
        last = curve[-1]
        lines.append(
            f"| {name} | {curve[0]['seconds']:.0f} | {cells} | {last['loss_val']:.3f} after "
            f"{last['seconds']:.0f} s and {last['tokens']:,.0f} tokens |"
        )
    return "\n".join(lines)


def _plot(curves: Curves, out: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(
            [point["seconds"] for point in curve],
            [point["loss_val"] for point in curve],
            label=name,
        )
    for mark in time_to_loss.MARKS:
        axes.axhline(mark, color="gray", lw=0.5, ls=":")
    axes.set(xlabel="seconds of training", ylabel="validation loss, nats per character")
    axes.legend()
    figure.savefig(out, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    run(main, takes_arguments=True)
