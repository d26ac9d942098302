"""Our shortcuts on a CPU, each against torch's own: `python -m bench.ops`."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.common.device import Precision, autocast, choose_compile, choose_precision
from nanopoet.ops.attention import causal_attention
from nanopoet.ops.linear import Linear
from nanopoet.params import load_params
from nanopoet.training.muon import NS_STEPS, Muon
from nanopoet.training.trainer import build_model

ROUNDS = 30


def table() -> str:
    """All comparisons, as a table."""
    lines = ["| the same on this CPU | torch's own, ms | ours, ms | quicker |", "|---|---|---|---|"]
    for name, plain, ours in [*_products(), *_attention(), *_muon()]:
        lines.append(f"| {name} | {plain:.2f} | {ours:.2f} | {plain / ours:.1f} × |")
    return "\n".join(lines)


@torch.no_grad()
def _products() -> list[tuple[str, float, float]]:
    """The output layer's product for one row and for 32, in fp32 and as `evaluate` writes."""
    cpu = torch.device("cpu")
    layer = Linear(load_params().pretrain.emb_size, 11_868, bias=False)
    precision, _ = choose_precision("auto", cpu)
    kinds: list[tuple[int, Precision]] = [(1, "fp32"), (32, "fp32"), (32, precision)]
    rows = []
    for count, kind in dict.fromkeys(kinds):
        x = torch.randn(count, layer.in_features)
        with autocast(cpu, kind):
            plain = partial(F.linear, x, layer.weight)
            times = _time(plain), _time(partial(layer, x))
        rows.append((f"output layer, {count} rows, {kind}", *times))
    return rows


def _attention() -> list[tuple[str, float, float]]:
    """Forward and backward of a micro-batch's attention."""
    cpu, params = torch.device("cpu"), load_params().pretrain
    dtype = torch.bfloat16 if choose_precision("auto", cpu)[0] == "bf16" else torch.float32
    ours = causal_attention
    theirs = partial(F.scaled_dot_product_attention, is_causal=True, enable_gqa=True)
    if choose_compile("auto", cpu, float("inf"))[0]:
        ours = torch.compile(causal_attention, dynamic=False)
    rows = []
    for T in (128, 256):
        B, D = params.micro_batch_size, params.emb_size // params.head_num
        qkv = [
            torch.randn(B, T, heads, D, dtype=dtype).transpose(1, 2).requires_grad_()
            for heads in (params.head_num, params.kv_head_num, params.kv_head_num)
        ]
        times = [_time(partial(_forward_backward, way, qkv)) for way in (theirs, ours)]
        rows.append((f"attention over {T} positions", times[0], times[1]))
    return rows


def _muon() -> list[tuple[str, float, float]]:
    """Muon on the matrices of all blocks; torch's takes them one by one, and in bf16 whatever the
    hardware.
    """
    cpu, params = torch.device("cpu"), load_params().pretrain
    dtype = torch.bfloat16 if choose_precision("auto", cpu)[0] == "bf16" else torch.float32
    blocks = build_model(1, params).blocks
    matrices = [p for p in blocks.parameters() if p.ndim == 2]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    ours = Muon(matrices, lr=0.01, momentum=0.9, weight_decay=0.1, dtype=dtype)
    theirs = torch.optim.Muon(matrices, lr=0.01, ns_steps=NS_STEPS)
    return [("Muon on the matrices of all blocks", _time(theirs.step), _time(ours.step))]


def _forward_backward(attention: Callable[..., Tensor], qkv: list[Tensor]) -> None:
    torch.autograd.grad(attention(*qkv).sum(), qkv)


def _time(work: Callable[[], object]) -> float:
    """Milliseconds of the median call, after some that warm up."""
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        work()
        times.append(1e3 * (perf_counter() - start))
    return median(times[ROUNDS // 5 :])


if __name__ == "__main__":
    print(table())
