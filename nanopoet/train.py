"""The training loop."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nanopoet.device import Precision, autocast, choose_device, choose_precision
from nanopoet.errors import NanopoetError
from nanopoet.model import GPTLanguageModel
from nanopoet.params import PretrainParams
from nanopoet.tensors import Array, check_length, even_windows, random_windows
from nanopoet.tokenizer import BEGIN, CharTokenizer


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What there is to tell of a step. Steps count from 0, as the seed's do.

    Attributes:
        step: number of the update.
        tokens: training tokens seen, this update's included.
        lr: learning rate of the update.
        loss_train: loss on its batch before it, in nats per token, with dropout.
        grad_norm: Euclidean norm of the gradient of that loss.
        loss_val: loss on the fixed validation windows after it; None between evaluations.
        sample: what the model writes after it; None between evaluations.
    """

    step: int
    tokens: int
    lr: float
    loss_train: float
    grad_norm: float
    loss_val: float | None = None
    sample: str | None = None


def build_model(vocab_size: int, params: PretrainParams) -> GPTLanguageModel:
    """The untrained model of a recipe; `params.seed` decides its weights."""
    return GPTLanguageModel(
        vocab_size=vocab_size,
        emb_size=params.emb_size,
        block_size=params.block_size,
        layer_num=params.layer_num,
        head_num=params.head_num,
        dropout=params.dropout,
        generator=torch.Generator().manual_seed(params.seed),
    )


def train(
    model: GPTLanguageModel,
    train_tokens: Array,
    val_tokens: Array,
    tokenizer: CharTokenizer,
    params: PretrainParams,
) -> Iterator[StepRecord]:
    """Train `model` in place; the iterator makes one update for each record it gives.

    A batch and its dropout are functions of (seed, step) alone, so the same
    parameters give the same weights wherever the loop begins.

    Args:
        model: trained in place, moved to the chosen device.
        train_tokens: (n,) ids; more than `block_size` of them.
        val_tokens: (m,) ids; more than `block_size` of them.
        tokenizer: decodes the samples.
        params: the recipe.

    Raises:
        NanopoetError: at once if a part is too short or the device is not there; at its step if
            the loss is not finite.
    """
    check_length(train_tokens, params.block_size, "training")
    check_length(val_tokens, params.block_size, "validation")
    device = choose_device(params.device)
    return _steps(model.to(device), train_tokens, val_tokens, tokenizer, params, device)


def _steps(
    model: GPTLanguageModel,
    train_tokens: Array,
    val_tokens: Array,
    tokenizer: CharTokenizer,
    params: PretrainParams,
    device: torch.device,
) -> Iterator[StepRecord]:
    precision = choose_precision(params.precision, device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=params.lr, weight_decay=params.weight_decay, fused=True
    )
    for step in range(params.max_steps):
        rng = np.random.default_rng([params.seed, step])
        inputs, targets = random_windows(train_tokens, params.block_size, params.batch_size, rng)
        with torch.random.fork_rng():
            # Dropout draws from the global generator, which has no argument.
            torch.manual_seed(int(rng.integers(2**63)))
            loss_train = _accumulate(
                model, _to(device, inputs), _to(device, targets), params, precision
            )
        grad_norm = _grad_norm(model)
        _check_finite(step, params, loss=loss_train, grad_norm=grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        loss_val = sample = None
        if step % params.eval_every == 0 or step == params.max_steps - 1:
            loss_val = mean_loss(model, val_tokens, params, device, precision)
            _check_finite(step, params, loss_val=loss_val)
            sample = write_sample(model, tokenizer, params, device)
        yield StepRecord(
            step=step,
            tokens=(step + 1) * params.batch_size * params.block_size,
            lr=params.lr,
            loss_train=loss_train,
            grad_norm=grad_norm,
            loss_val=loss_val,
            sample=sample,
        )


def _accumulate(
    model: GPTLanguageModel,
    inputs: Tensor,
    targets: Tensor,
    params: PretrainParams,
    precision: Precision,
) -> float:
    """Add the gradient of the mean loss over (B, T), one micro-batch at a time; return the loss."""
    model.train()
    parts = params.batch_size // params.micro_batch_size
    total = 0.0
    for x, y in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
        with autocast(inputs.device, precision):
            _, loss = model(x, y)
        loss = loss / parts
        loss.backward()
        total += loss.item()
    return total


@torch.no_grad()
def mean_loss(
    model: GPTLanguageModel,
    tokens: Array,
    params: PretrainParams,
    device: torch.device,
    precision: Precision,
) -> float:
    """Mean loss, in nats per token, on `eval_windows` windows spread evenly over `tokens`.

    Quick and noisy by the choice of windows; `evaluate` scores every character.
    """
    inputs, targets = even_windows(tokens, params.block_size, params.eval_windows)
    model.eval()
    total = 0.0
    for start in range(0, len(inputs), params.micro_batch_size):
        part = slice(start, start + params.micro_batch_size)
        with autocast(device, precision):
            losses = model.token_losses(_to(device, inputs[part]), _to(device, targets[part]))
        total += losses.double().sum().item()
    return total / targets.size


def write_sample(
    model: GPTLanguageModel,
    tokenizer: CharTokenizer,
    params: PretrainParams,
    device: torch.device,
) -> str:
    """`sample_length` characters from BEGIN, with the same random numbers at every call."""
    generator = torch.Generator(device).manual_seed(params.seed)
    context = torch.tensor([tokenizer.encode(BEGIN)], device=device)
    ids = model.generate(context, params.sample_length, generator=generator)
    return tokenizer.decode(ids[0, 1:].tolist())


def _check_finite(step: int, params: PretrainParams, **figures: float) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise NanopoetError(
                f"training diverged at step {step}: {name} is {value}; lower pretrain.lr = "
                f"{params.lr} or set pretrain.precision to fp32"
            )


def _grad_norm(model: GPTLanguageModel) -> float:
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(grads).item()


def _to(device: torch.device, array: Array) -> Tensor:
    return torch.from_numpy(array).to(device)
