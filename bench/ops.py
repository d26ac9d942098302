"""The functions of nanopoet/ops on a CPU, each against torch's own: `python -m bench.ops`."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.common.device import (
    Precision,
    autocast,
    choose_compile,
    choose_precision,
    keep_freed_memory,
)
from nanopoet.ops.attention import causal_attention
from nanopoet.ops.cross_entropy import (
    EAGER_KERNELS,
    Kernels,
    linear_cross_entropy,
    softmax_gradient,
    sum_transposed,
)
from nanopoet.ops.linear import Linear, packed
from nanopoet.ops.matmul import product
from nanopoet.params import load_params
from nanopoet.training.muon import NS_STEPS, Muon
from nanopoet.training.pretraining import build_model
from stages.runner import run

ROUNDS = 30
VOCAB_SIZE = 11_868
CPU = torch.device("cpu")


def table() -> str:
    """Run all comparisons and return a Markdown table."""
    lines = [
        "| the same on this CPU | torch's own, ms | ours, ms | speed-up |",
        "|---|---|---|---|",
    ]
    for name, plain, ours in [
        *_matmuls(),
        *_training_matmuls(),
        *_attention(),
        *_cross_entropy(),
        *_muon(),
    ]:
        lines.append(f"| {name} | {plain:.2f} | {ours:.2f} | {plain / ours:.1f} × |")
    return "\n".join(lines)


def _compiles() -> bool:
    """Return whether a long training is compiled on this CPU."""
    return choose_compile("auto", CPU, float("inf"))[0]


def _precision() -> Precision:
    """Return the precision of a training on this CPU."""
    return choose_precision("auto", CPU)[0]


@torch.no_grad()
def _matmuls() -> list[tuple[str, float, float]]:
    """Time the output layer on 1 and 32 rows, in fp32 and in the precision of this CPU."""
    layer = Linear(load_params().pretrain.emb_size, VOCAB_SIZE, bias=False)
    kinds: list[tuple[int, Precision]] = [(1, "fp32"), (32, "fp32"), (32, _precision())]
    rows = []
    for count, kind in dict.fromkeys(kinds):
        x = torch.randn(count, layer.in_features)
        with autocast(CPU, kind), packed(layer):
            plain = partial(F.linear, x, layer.weight)
            times = _time(plain), _time(partial(layer, x))
        rows.append((f"output layer, {count} row{'s' * (count > 1)}, {kind}", *times))
    return rows


@torch.no_grad()
def _training_matmuls() -> list[tuple[str, float, float]]:
    """Time the matmuls of a training in fp32: the three of the output layer, and a block's."""
    keep_freed_memory()
    C, width = load_params().pretrain.emb_size, 2 * load_params().pretrain.mlp_size
    shapes = {
        "logits of 1,024 rows": (1024, C, VOCAB_SIZE),
        "gradient of these rows": (1024, VOCAB_SIZE, C),
        "gradient of the output layer": (C, 1024, VOCAB_SIZE),
        "gate and up of 2,048 rows": (2048, C, width),
    }
    rows = []
    for name, (count, inner, columns) in shapes.items():
        a, b = torch.randn(count, inner), torch.randn(columns, inner)
        times = [_time(partial(way, a, b)) for way in (F.linear, product)]
        rows.append((f"{name}, fp32", times[0], times[1]))
    return rows


def _attention() -> list[tuple[str, float, float]]:
    """Time the forward and backward pass of a micro-batch's attention."""
    params = load_params().pretrain
    dtype = torch.bfloat16 if _precision() == "bf16" else torch.float32
    ours = causal_attention
    theirs = partial(F.scaled_dot_product_attention, is_causal=True, enable_gqa=True)
    if _compiles():
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


def _cross_entropy() -> list[tuple[str, float, float]]:
    """Time the loss of a micro-batch with its gradients, whole and in torch's chunks.

    Torch's chunked function is never compiled, because torch's compiler does not take it.
    """
    params = load_params().pretrain
    rows, kernels, whole = params.micro_batch_size * params.block_size, EAGER_KERNELS, _whole
    if _compiles():
        kernels = Kernels(
            torch.compile(softmax_gradient, dynamic=False),
            torch.compile(sum_transposed, dynamic=False),
        )
        whole = torch.compile(_whole, dynamic=False)
    x = torch.randn(rows, params.emb_size, requires_grad=True)
    weight = (0.02 * torch.randn(VOCAB_SIZE, params.emb_size)).requires_grad_()
    targets = torch.randint(VOCAB_SIZE, (rows,))
    ours = partial(linear_cross_entropy, bias=None, targets=targets, kernels=kernels)
    with autocast(CPU, _precision()):
        times = [
            _time(partial(_forward_backward, loss, [x, weight]))
            for loss in (ours, partial(whole, targets=targets), partial(_chunked, targets=targets))
        ]
    return [
        (f"cross-entropy of {rows:,} rows, torch's {name}", theirs, times[0])
        for name, theirs in zip(("whole", "chunked"), times[1:], strict=True)
    ]


def _whole(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.linear_cross_entropy(x, weight, targets)


def _chunked(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    options = torch.nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(x, weight, targets, options=options)


def _muon() -> list[tuple[str, float, float]]:
    """Time Muon on the matrices of all blocks.

    Torch's Muon takes them one by one, and always in bf16.
    """
    params = load_params().pretrain
    dtype = torch.bfloat16 if _precision() == "bf16" else torch.float32
    blocks = build_model(1, params).blocks
    matrices = [p for p in blocks.parameters() if p.ndim == 2]
    for matrix in matrices:
        matrix.grad = torch.randn_like(matrix)
    ours = Muon(matrices, lr=0.01, momentum=0.9, weight_decay=0.1, dtype=dtype)
    theirs = torch.optim.Muon(matrices, lr=0.01, ns_steps=NS_STEPS)
    return [("Muon on the matrices of all blocks", _time(theirs.step), _time(ours.step))]


def _forward_backward(function: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    torch.autograd.grad(function(*inputs).sum(), inputs)


def _time(work: Callable[[], object]) -> float:
    """Return the median time of a call in milliseconds, after some calls as warm-up."""
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        work()
        times.append(1e3 * (perf_counter() - start))
    return median(times[ROUNDS // 5 :])


def main() -> None:
    """Print the table."""
    print(table())


if __name__ == "__main__":
    run(main)
