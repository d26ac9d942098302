"""The training loop."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nanopoet.common.device import (
    autocast,
    choose_compile,
    choose_device,
    choose_precision,
    describe,
)
from nanopoet.common.errors import NanopoetError
from nanopoet.common.types import Array
from nanopoet.models.base import LanguageModel
from nanopoet.models.flops import flops_per_token
from nanopoet.ops.cuda_graph import CudaGraph
from nanopoet.ops.linear import packed
from nanopoet.param_sections import PretrainParams
from nanopoet.tokens.batches import count_characters
from nanopoet.tokens.tokenizer import CharTokenizer
from nanopoet.training import distributed
from nanopoet.training.character_features import token_features
from nanopoet.training.history import StepRecord
from nanopoet.training.optimizers import lr_factor, make_optimizers
from nanopoet.training.task import Task


class Trainer:
    """A training run; iterating over it makes one update for each record that it yields.

    A batch and its dropout are functions of (seed, step) alone. So a training that is restored in
    the middle ends with the same weights. Under `torchrun` each process computes its share of the
    batch, with its own dropout, and all make the same update.

    Args:
        model: trained in place, moved to the chosen device.
        task: what to train on.
        tokenizer: decodes the samples.
        params: the recipe.

    Attributes:
        records: metrics of the updates made so far.
        seconds: duration of the updates in this process, without the evaluations.
        flops_per_token: see `nanopoet.models.flops`.
        device: the device chosen for this machine.
        precision: the precision of matmuls chosen for this machine.
        compile: whether the loss is compiled. A compiled training on CUDA in a single process also
            runs as a CUDA graph.
        machine: device, precision and compilation in words, with the reasons.

    Raises:
        NanopoetError: the device is missing (at once), or the loss is not finite (at its step).
    """

    def __init__(
        self,
        model: LanguageModel,
        task: Task,
        tokenizer: CharTokenizer,
        params: PretrainParams,
    ) -> None:
        self._share = distributed.share_of(params.batch_size)
        self._micro_batch_size = _micro_batch_size(params)
        self._parts = params.batch_size // distributed.world_size() // self._micro_batch_size
        self.device = distributed.own_device(choose_device(params.device))
        self.precision, why_precision = choose_precision(params.precision, self.device)
        work = params.max_steps * params.batch_size * model.block_size * model.num_parameters
        self.compile, why_compile = choose_compile(params.compile, self.device, work)
        self.machine = (
            f"{describe(self.device)}; {self.precision} ({why_precision}); "
            f"{'compiled' if self.compile else 'not compiled'} ({why_compile})"
        )
        # Activation checkpointing reads the state of the random numbers, which a graph cannot.
        self._wants_graph = (
            self.compile
            and self.device.type == "cuda"
            and distributed.world_size() == 1
            and not params.activation_checkpointing
        )
        self._graph: CudaGraph | None = None
        self.flops_per_token = flops_per_token(model)
        self.model = model.to(self.device)
        if self.compile:
            model.compile_loss()
        self._loss = distributed.data_parallel(model)
        features = token_features(tokenizer, params.character_features)
        self.optimizers = make_optimizers(model, params, self.precision, features)
        self._full_lr = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.task, self.tokenizer, self.params = task, tokenizer, params
        self.records: list[StepRecord] = []
        self.seconds = 0.0

    @property
    def step(self) -> int:
        """Number of the next update."""
        return len(self.records)

    @property
    def tokens(self) -> int:
        """Training tokens seen so far."""
        return self.records[-1].tokens if self.records else 0

    def __iter__(self) -> Iterator[StepRecord]:
        while self.step < self.params.max_steps:
            record = self._train_step()
            if self.step % self.params.eval_every == 0 or self.step == self.params.max_steps - 1:
                record = self._evaluate(record)
            self.records.append(record)
            yield record

    def _train_step(self) -> StepRecord:
        """Make one update."""
        start = time.perf_counter()
        step, params = self.step, self.params
        self.model.train()
        end = self.task.second_losses_end
        if self.model.second_losses and end is not None and step >= end:
            del self.model.second_losses[:]
            self._graph = None  # which computes them
        if self._wants_graph and self._graph is None:
            self._capture_graph()
        rng = np.random.default_rng([params.seed, step])
        batch = self.task.batches(step, rng)
        targets = batch.targets
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(cuda):
            # Dropout draws from the global generator and takes no other.
            torch.manual_seed(int(rng.integers(2**63)) + distributed.rank())
            rows = [batch.inputs, targets] + ([] if batch.wanted is None else [batch.wanted])
            losses = self._accumulate(*(self._tensor(each[self._share]) for each in rows))
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        factor = lr_factor(step, params.max_steps, params.warmup_steps, params.decay)
        self._set_learning_rates(factor)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=self._graph is None)
        # The process waits for a GPU only from here on, so the GPU has the whole step queued.
        grad_norm = norm.item()
        loss = sum(part.item() for part in losses)
        mean = distributed.all_reduce_sum(loss, self.device) / distributed.world_size()
        loss_train = mean * targets.size / count_characters(targets)
        self._check_finite(loss=loss_train, grad_norm=grad_norm)
        figures = dict(batch.figures)
        if "loss_reference" in figures:
            figures["kl"] = figures["loss_reference"] - loss_train
        self.seconds += time.perf_counter() - start
        return StepRecord(
            step=step,
            tokens=self.tokens + targets.size,
            lr=params.lr * factor,
            loss_train=loss_train,
            grad_norm=grad_norm,
            figures=figures,
        )

    def _evaluate(self, record: StepRecord) -> StepRecord:
        """Add the validation loss and, in process 0, samples to a record."""
        with packed(self.model):
            loss_val = self._mean_val_loss()
            self._check_finite(loss_val=loss_val)
            samples = self._write_samples() if distributed.rank() == 0 else None
        return replace(record, loss_val=loss_val, samples=samples)

    def _capture_graph(self) -> None:
        """Capture the forward and backward pass of a micro-batch as a CUDA graph."""
        size = self._micro_batch_size, self.model.block_size
        example = torch.zeros(size, dtype=torch.int64, device=self.device)
        self._graph = CudaGraph(self._backward, example, example)
        self.model.zero_grad(set_to_none=False)

    def _set_learning_rates(self, factor: float) -> None:
        """Set each parameter group to a share of its full learning rate."""
        for optimizer, full_lr in zip(self.optimizers, self._full_lr, strict=True):
            for group, lr in zip(optimizer.param_groups, full_lr, strict=True):
                group["lr"] = lr * factor

    def _accumulate(self, *rows: Tensor) -> list[Tensor]:
        """Accumulate the gradient of the mean loss over (B, T), averaged over all processes.

        Args:
            rows: inputs and targets of a batch, (B, T), and what is wanted, (B, T, V).

        Returns:
            the part of the loss that each micro-batch adds, in nats per token.
        """
        parts = self._parts
        backward = self._graph or self._backward
        losses = []
        micro_batches = zip(*(each.chunk(parts) for each in rows), strict=True)
        for number, micro_batch in enumerate(micro_batches, start=1):
            with distributed.exchange(self._loss, now=number == parts):
                losses.append(backward(*micro_batch))
        return losses

    def _backward(self, *rows: Tensor) -> Tensor:
        """Accumulate the gradient of a micro-batch and return its part of the loss, ()."""
        with autocast(self.device, self.precision):
            loss: Tensor = self._loss(*rows) / self._parts
        torch.autograd.backward(loss)
        return loss.detach()

    @torch.no_grad()
    def _mean_val_loss(self) -> float:
        """Compute the mean loss on `eval_windows` validation windows, in nats per character.

        The windows are spread evenly. Few windows are fast and noisy; the stage `evaluate` scores
        every character.
        """
        inputs, targets = self.task.val_windows
        self.model.eval()
        total = 0.0
        size = self._micro_batch_size
        for start in range(distributed.rank() * size, len(inputs), distributed.world_size() * size):
            part = slice(start, start + size)
            with autocast(self.device, self.precision):
                losses = self.model.token_losses(
                    self._tensor(inputs[part]), self._tensor(targets[part])
                )
            total += losses.double().sum().item()
        total = distributed.all_reduce_sum(total, self.device)
        return total / count_characters(targets)

    def _write_samples(self) -> dict[str, str]:
        """Write a poem for each prompt of the task.

        The random numbers are the same at each evaluation.
        """
        poems = {}
        for name, prompt in self.task.prompts.items():
            generator = torch.Generator(self.device).manual_seed(self.params.seed)
            ids = self.model.generate(
                torch.tensor([prompt], device=self.device),
                self.params.sample_length,
                generator=generator,
                stop_id=self.task.stop_id,
            )
            poems[name] = self.tokenizer.decode_poem(ids[0].tolist())
        return poems

    def _check_finite(self, **figures: float) -> None:
        for name, value in figures.items():
            if not math.isfinite(value):
                raise NanopoetError(
                    f"training diverged at step {self.step}: {name} is {value}; lower "
                    f"{self.task.name}.lr = {self.params.lr} or set pretrain.precision to fp32"
                )

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _micro_batch_size(params: PretrainParams) -> int:
    """Return the number of windows that one process computes at once."""
    share = params.batch_size // distributed.world_size()
    size = min(params.micro_batch_size, share)
    if share % size:
        raise NanopoetError(
            f"params.yaml: pretrain.micro_batch_size = {size} does not divide the {share} windows "
            f"of a batch that each process computes; change it or pretrain.batch_size"
        )
    return size
