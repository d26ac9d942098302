"""Training speed and peak memory, each contender in its own process.

All make updates of 64 × 256 tokens with a vocabulary of 11,868, as the notebook does. `default, own
batches` is the default recipe with its own batch size. On a CPU it also trains in fp32, as on a
processor without bf16. `small, own batches`, on a GPU alone, is the recipe for one GPU.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from bench import notebook
from bench.memory import peak_bytes
from nanopoet.common.device import keep_freed_memory
from nanopoet.models.flops import flops_per_token
from nanopoet.models.gpt import GPTLanguageModel
from nanopoet.ops.cross_entropy import logits_multiple, row_parts
from nanopoet.ops.matmul import multiplies_faster, product
from nanopoet.param_sections import PretrainParams
from nanopoet.params import load_params
from nanopoet.recipes import load_recipe
from nanopoet.tokens.tokenizer import SPECIAL_TOKENS, CharTokenizer
from nanopoet.training.pretraining import build_model, make_trainer
from nanopoet.training.trainer import Trainer
from stages.runner import run

VOCAB_SIZE, BATCH_SIZE, BLOCK_SIZE = 11_868, 64, 256
GEOMETRY = {"batch_size": BATCH_SIZE, "block_size": BLOCK_SIZE}
WARM_UP = 2
ROUNDS, STEPS = 3, 2
"""Rounds of some training steps followed by their matmuls alone. The speed of a machine varies, so
the fastest step and the fastest matmuls count."""
SMALL = "small, own batches"
FP32 = "default, own batches, fp32"
SHARES = {"default": torch.bfloat16, FP32: torch.float32, SMALL: torch.bfloat16}
"""Contenders whose speed is compared with the speed of their matmuls alone → dtype of these."""


def measure_all(device: str) -> list[dict[str, Any]]:
    """Measure a row for each contender that is installed, the notebook first."""
    rows = []
    for name in CONTENDERS:
        if name == {"cuda": FP32}.get(device, SMALL):
            continue
        command = [sys.executable, "-W", "ignore", "-m", "bench.speed", name, "--device", device]
        done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=False)
        if done.returncode == 0:
            rows.append({"name": name} | json.loads(done.stdout.splitlines()[-1]))
            rate = rows[-1]["tokens_per_second"]
            print(f"bench: {name} trains on {rate:,.0f} tokens/s", file=sys.stderr, flush=True)
        else:
            print(f"bench: {name} left out; `pip install -e '.[bench]'` installs the peers")
    return rows


def _notebook(device: torch.device) -> Iterator[int]:
    model = GPTLanguageModel(VOCAB_SIZE, **notebook.SIZE).to(device)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    while True:
        notebook.train_step(model, optimizer, *_batch(device))
        yield BATCH_SIZE * BLOCK_SIZE


def _ours(recipe: Callable[[], PretrainParams], device: torch.device) -> Iterator[int]:
    """Train with the loop of the stage `pretrain`, without evaluations."""
    keep_freed_memory()
    params = recipe()
    trainer = endless_trainer(params, device)
    print(trainer.machine, file=sys.stderr)
    for _ in trainer:
        yield params.batch_size * params.block_size


def endless_trainer(params: PretrainParams, device: torch.device) -> Trainer:
    """Make an endless training on random characters, with one short evaluation at step 0."""
    changes = {"device": device.type, "max_steps": 1_000_000, "eval_every": 1_000_001}
    params = params.model_copy(update=changes | {"eval_windows": 1, "sample_length": 1})
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 11_856)))
    tokenizer = CharTokenizer.from_characters(f"。{characters}")
    tokens = np.random.default_rng(0).integers(len(SPECIAL_TOKENS), VOCAB_SIZE, 1_000_000)
    tokens[11::12] = tokenizer.encode("。")[0]  # as often as a couplet ends in 五言 verse
    tokens = tokens.astype(np.uint16)
    return make_trainer(tokens, tokens, tokenizer, params)


def _transformers(device: torch.device) -> Iterator[int]:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB_SIZE, n_positions=BLOCK_SIZE, n_embd=256, n_layer=8, n_head=8,
            tie_word_embeddings=False,
        )
    )  # fmt: skip
    return _peer(model, lambda idx, _: model(idx, labels=idx).loss, device)


def _litgpt(device: torch.device) -> Iterator[int]:
    from litgpt import GPT, Config

    model = GPT(
        Config(
            block_size=BLOCK_SIZE, vocab_size=VOCAB_SIZE, padded_vocab_size=VOCAB_SIZE,
            n_layer=8, n_head=8, n_embd=256, bias=True, rotary_percentage=1.0,
            norm_class_name="LayerNorm", mlp_class_name="GptNeoxMLP",
        )
    )  # fmt: skip

    def loss(idx: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(idx).flatten(0, 1), targets.flatten())

    return _peer(model, loss, device)


def _peer(
    model: torch.nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    device: torch.device,
) -> Iterator[int]:
    """Train a peer as its users do: bf16 autocast, fused AdamW, our micro-batch size."""
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    parts = BATCH_SIZE // load_params().pretrain.micro_batch_size
    while True:
        idx, targets = _batch(device)
        for x, y in zip(idx.chunk(parts), targets.chunk(parts), strict=True):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                total = loss(x, y) / parts
            torch.autograd.backward(total)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield BATCH_SIZE * BLOCK_SIZE


def _batch(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    idx, targets = torch.randint(VOCAB_SIZE, (2, BATCH_SIZE, BLOCK_SIZE), device=device)
    return idx, targets


RECIPES: dict[str, Callable[[], PretrainParams]] = {
    "classic": lambda: load_recipe("notebook")[0].pretrain,
    "default": lambda: load_params().pretrain.model_copy(update=GEOMETRY),
    "default, own batches": lambda: load_params().pretrain,
    FP32: lambda: load_params().pretrain.model_copy(update={"precision": "fp32"}),
    SMALL: lambda: load_recipe("small")[0].pretrain,
}
"""Contenders that train with our loop → parameters."""
CONTENDERS: dict[str, Callable[[torch.device], Iterator[int]]] = {
    "notebook": _notebook,
    **{name: partial(_ours, recipe) for name, recipe in RECIPES.items()},
    "transformers GPT-2": _transformers,
    "litgpt": _litgpt,
}


def matmul_rate(
    device: torch.device, params: PretrainParams, dtype: torch.dtype = torch.bfloat16
) -> float:
    """Measure the FLOP/s of the matmuls of a training step, each alone, at the model's shapes.

    Where torch has two libraries for a matmul, the faster one counts.
    """
    rows, total, seconds = params.micro_batch_size * params.block_size, 0.0, 0.0
    calls = 1 if device.type == "cpu" else 20  # so that a GPU does not wait for Python
    model = build_model(VOCAB_SIZE, params)
    shapes = [tuple(p.shape) for p in model.blocks[0].parameters() if p.ndim == 2]
    for count, (out, inner) in [
        *((params.layer_num, shape) for shape in shapes),
        (1, (VOCAB_SIZE, params.emb_size)),
    ]:
        height = rows
        if out == VOCAB_SIZE:  # the output layer runs in parts, padded
            part = next(row_parts(torch.empty(rows, 0, device=device)))
            height, out = min(rows, part.stop), out + -out % logits_multiple(device.type)
        for m, k, n in ((height, inner, out), (height, out, inner), (out, height, inner)):
            a = torch.randn(m, k, device=device).to(dtype)
            b = torch.randn(k, n, device=device).to(dtype)
            ways: list[Callable[[], object]] = [partial(torch.matmul, a, b)]
            if multiplies_faster(a):
                ways.append(partial(product, a, b.t().contiguous()))
            share = count * rows / height
            total += share * 2 * m * k * n
            seconds += share * min(_median_seconds(way, device, calls) for way in ways)
    return total / seconds


def _median_seconds(work: Callable[[], object], device: torch.device, calls: int) -> float:
    return median(_seconds(work, device, calls) / calls for _ in range(7))


def _seconds(work: Callable[[], object], device: torch.device, calls: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def main() -> None:
    """Measure one contender and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--device", choices=["cpu", "cuda", "mps"], default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    steps = CONTENDERS[arguments.contender](device)
    first, *_ = [_seconds(lambda: next(steps), device) for _ in range(WARM_UP)]
    dtype = SHARES.get(arguments.contender)
    recipe = RECIPES[arguments.contender]() if dtype else None
    count = STEPS if device.type == "cpu" else 5 * STEPS
    times, rates = [], []
    for _ in range(ROUNDS):
        times += [_seconds(lambda: next(steps), device) for _ in range(count)]
        if recipe and dtype:
            rates.append(matmul_rate(device, recipe, dtype))
    tokens_per_second = next(steps) / min(times)
    peak = (
        torch.cuda.max_memory_allocated(device) / 1e9
        if device.type == "cuda"
        else peak_bytes() / 1e9
    )
    figures = {"first_step": first, "tokens_per_second": tokens_per_second, "peak_gb": peak}
    if recipe:
        flops = tokens_per_second * flops_per_token(build_model(VOCAB_SIZE, recipe))
        figures |= {"matmul_rate": max(rates), "share": flops / max(rates)}
    print(json.dumps(figures))


if __name__ == "__main__":
    run(main, takes_arguments=True)
