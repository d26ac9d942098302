"""Training in several processes, started by `torchrun` and synchronized by DDP.

With one process every function here does nothing.
"""

import logging
import os
import re
import signal
import sys
import tempfile
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
    get_error_handler,
)
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.run import get_args_parser
from torch.distributed.run import run as torchrun
from torch.nn.parallel import DistributedDataParallel

from nanopoet.common.errors import NanopoetError
from nanopoet.models.base import LanguageModel

TIMEOUT = timedelta(minutes=10)
"""Time to wait for a process that does not answer, for example because its machine is gone."""
_lead = 0
"""Torch's rank of the process that is number 0 here."""
_kept: list[nn.Module] = []
"""Modules that must not be destroyed before the process ends; see `process_group`."""


class _LostPeerError(NanopoetError):
    """A lost connection to another process, which reports the cause itself."""


def rank() -> int:
    """Return the number of this process; process 0 alone logs and writes files."""
    return (dist.get_rank() - _lead) % world_size() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_launched() -> bool:
    """Return whether `torchrun` has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(options: str, module: str) -> None:
    """Run `python -m <module>` in several processes with `torchrun`, and wait for them.

    Each process gets an equal number of threads, unless OMP_NUM_THREADS is set.

    Args:
        options: command-line options of `torchrun`.
        module: module that each process runs; it enters `process_group`.

    Raises:
        NanopoetError: a process failed, with the message of its error.
        KeyboardInterrupt: this process was interrupted, and all others with it.
    """
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # one error line is enough
    with tempfile.TemporaryDirectory() as logs:
        parser = get_args_parser()
        parser.exit_on_error = False
        try:
            arguments = parser.parse_args([*options.split(), "--log-dir", logs, "--module", module])
            if re.fullmatch(r"-?\d+", str(arguments.nproc_per_node)):
                if (processes := int(arguments.nproc_per_node)) < 1:
                    raise ValueError("a machine needs at least 1 process")
                threads = torch.get_num_threads() // processes
                os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))
            _let_signals_end_this_process()
            torchrun(arguments)  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            raise NanopoetError(_cause(error)) from None
        except SignalException:
            raise KeyboardInterrupt from None
        except (ArgumentError, AssertionError, RendezvousError, RuntimeError, ValueError) as error:
            raise NanopoetError(
                f"params.yaml: pretrain.torchrun = {options!r}: {_first_line(error)}; change it, "
                f"or run again once every machine runs this and reaches the endpoint"
            ) from None


def _let_signals_end_this_process() -> None:
    """End this process at Ctrl-C and SIGTERM without Python's handlers.

    They do not run while torch waits for other machines. Once it starts processes, it sets its own.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _cause(error: ChildFailedError) -> str:
    """Return the error of the process that failed first; the rest only lost a connection."""
    errors = {number: _error_of(failure) for number, failure in error.failures.items()}
    number = min(errors, key=lambda number: errors[number].startswith(_LostPeerError.__name__))
    kind, _, message = errors[number].partition(": ")
    if kind.endswith("Error"):
        return message
    return (
        f"process {number} that pretrain.torchrun started ended with status "
        f"{error.failures[number].exitcode}; run again to continue from the last checkpoint"
    )


def _error_of(failure: ProcessFailure) -> str:
    """Return `<class>: <message>` of the exception that ended a process, or an empty string."""
    message: Any = failure.error_file_data["message"]
    return str(message["message"]) if isinstance(message, dict) else ""


@contextmanager
def process_group(lead: bool) -> Iterator[None]:
    """Join the processes that `torchrun` started; without `torchrun`, do nothing.

    Gloo sends CPU tensors, NCCL sends CUDA tensors. Errors go to the process that called `launch`,
    which reports one of them.

    A process that `torchrun` started exits at the end of the block, without Python's cleanup. The
    destructor of torch's gloo holds Python's lock and waits for a thread that may wait for the same
    lock. The process would then hang.

    Args:
        lead: whether the first process of this machine should be number 0. If several machines or
            none ask for it, torch's order decides among them.
    """
    if not is_launched():
        yield
        return
    status = 0
    try:
        _join(lead)
        yield
    except KeyboardInterrupt:
        status = 130
    except (NanopoetError, OSError) as error:
        _ignore_sigterm()  # torch sends it to all when one ends, and would read half a message
        get_error_handler().record_exception(error)
        status = 1
    _ignore_sigterm()  # the process ends anyway
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _join(lead: bool) -> None:
    global _lead
    with peers():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=TIMEOUT)
        own, size = dist.get_rank(), dist.get_world_size()
        wish = lead and os.environ["LOCAL_RANK"] == "0"
        first = torch.tensor(own if wish else size + own)
        dist.all_reduce(first, dist.ReduceOp.MIN)
    _lead = int(first) % size
    if rank() > 0:  # has nothing to clean up, and would hang in a message to a dead process
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def own_device(device: torch.device) -> torch.device:
    """Return the GPU of this process if there are several processes, else `device` itself.

    Raises:
        NanopoetError: more processes than GPUs, or a device that processes cannot share.
    """
    if not dist.is_initialized() or device.type == "cpu":
        return device
    local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device.type != "cuda" or local >= count:
        raise NanopoetError(
            f"params.yaml: pretrain.torchrun starts {os.environ['LOCAL_WORLD_SIZE']} processes on "
            f"a machine with {count} CUDA devices; start fewer or set pretrain.device = cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def share_of(batch_size: int) -> slice:
    """Return the rows of a batch that this process computes.

    Raises:
        NanopoetError: the number of processes does not divide the batch.
    """
    if batch_size % world_size():
        raise NanopoetError(
            f"params.yaml: pretrain.batch_size = {batch_size} is not a multiple of the "
            f"{world_size()} processes that pretrain.torchrun starts; change one of the two"
        )
    size = batch_size // world_size()
    return slice(rank() * size, (rank() + 1) * size)


class Loss(nn.Module):
    """`LanguageModel.loss` as a module, because DDP takes no function."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, targets: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Compute the mean loss in nats per token, (); `Batch` explains the arguments."""
        return self.model.loss(idx, targets, wanted)


def data_parallel(model: LanguageModel) -> nn.Module:
    """Return the loss of a model; its gradients become the mean over all processes."""
    loss = Loss(model)
    if world_size() == 1:
        return loss
    with peers():
        # Buffers are constant tables. Those of second losses go away during a training.
        ddp = DistributedDataParallel(
            loss, forward_sync_buffers=False, gradient_as_bucket_view=True
        )
    _kept.append(ddp)
    return ddp


@contextmanager
def exchange(loss: nn.Module, now: bool) -> Iterator[None]:
    """Surround the forward and backward pass of a micro-batch.

    Args:
        loss: from `data_parallel`.
        now: whether the processes exchange gradients, as in the last micro-batch of a step.
            Otherwise each process accumulates its own.

    Raises:
        NanopoetError: another process ended, or its machine cannot be reached.
    """
    with peers():
        if isinstance(loss, DistributedDataParallel) and not now:
            with loss.no_sync():
                yield
        else:
            yield


def all_reduce_sum(value: float, device: torch.device) -> float:
    """Sum a number over all processes."""
    if world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    with peers():
        dist.all_reduce(total)
    return total.item()


def broadcast(raw: bytes) -> bytes:
    """Return the bytes of process 0 in every process; the argument of the others is ignored."""
    box = [raw if rank() == 0 else None]
    if world_size() > 1:
        with peers():
            dist.broadcast_object_list(box, _lead)
    assert box[0] is not None
    return box[0]


@contextmanager
def peers() -> Iterator[None]:
    """Translate errors of the connection to another process.

    Raises:
        NanopoetError: another process ended, or its machine cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        raise _LostPeerError(
            f"another process of this training ended or cannot be reached "
            f"({_first_line(error)}); run again to continue from the last checkpoint"
        ) from None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
