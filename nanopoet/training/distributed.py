"""Several processes that train as one: started by `torchrun`, kept in step by DDP.

With one process every function here does nothing.
"""

import logging
import os
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
"""How long to wait for a process that says nothing, such as one whose machine is gone."""
_lead = 0
"""torch's rank of the process that is number 0 here."""
_kept: list[nn.Module] = []
"""What must not be destroyed before the process ends; see `process_group`."""


class _LostPeerError(NanopoetError):
    """Another process is gone; it knows why."""


def rank() -> int:
    """Number of this process among all; 0 alone logs and writes."""
    return (dist.get_rank() - _lead) % world_size() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_launched() -> bool:
    """Whether `torchrun` has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(options: str, module: str) -> None:
    """Run `python -m <module>` in as many processes as `torchrun` is told, and wait for them.

    The processor's cores are shared out, unless OMP_NUM_THREADS says how many each may have.

    Args:
        options: of `torchrun`.
        module: what each process runs, within `process_group`.

    Raises:
        NanopoetError: what one of them failed with.
        KeyboardInterrupt: this process was asked to end, and so they were.
    """
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # we say it ourselves, once
    with tempfile.TemporaryDirectory() as logs:
        parser = get_args_parser()
        parser.exit_on_error = False
        try:
            arguments = parser.parse_args([*options.split(), "--log-dir", logs, "--module", module])
            if str(arguments.nproc_per_node).isdigit():
                threads = torch.get_num_threads() // int(arguments.nproc_per_node)
                os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))
            torchrun(arguments)  # type: ignore[no-untyped-call]
        except ChildFailedError as error:
            raise NanopoetError(_cause(error)) from None
        except SignalException:
            raise KeyboardInterrupt from None
        except (ArgumentError, RendezvousError, RuntimeError, ValueError) as error:
            raise NanopoetError(
                f"params.yaml: pretrain.torchrun = {options!r}: {_first_line(error)}; change it, "
                f"or run again once every machine runs this and reaches the endpoint"
            ) from None


def _cause(error: ChildFailedError) -> str:
    """What ended the training; the others only lost who did."""
    told = {number: _told(failure) for number, failure in error.failures.items()}
    number = min(told, key=lambda number: told[number].startswith(_LostPeerError.__name__))
    kind, _, message = told[number].partition(": ")
    if kind.endswith("Error"):
        return message
    return (
        f"process {number} of those that pretrain.torchrun starts ended with status "
        f"{error.failures[number].exitcode}; run again, it goes on from the last checkpoint"
    )


def _told(failure: ProcessFailure) -> str:
    """`Name: what it says` of the exception with which a process ended, if it could write it."""
    message: Any = failure.error_file_data["message"]
    return str(message["message"]) if isinstance(message, dict) else ""


@contextmanager
def process_group(lead: bool) -> Iterator[None]:
    """Join the processes that `torchrun` started; without it this one is alone.

    Gloo carries tensors of the CPU, NCCL those of CUDA. Errors go to the process that called
    `launch`, which says them once. What `torchrun` started ends where the context does, at once:
    torch's gloo may wait for Python's lock in a thread that its destructor, which has the lock,
    waits for, and then this process would hang.

    Args:
        lead: whether this machine's first process should be number 0. If several or none want
            it, the first of all machines in torch's order is.
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
        get_error_handler().record_exception(error)
        status = 1
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


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
    if rank() > 0:  # nothing to put in order, and one in a message to a dead one would hang
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process, if `device` is cuda and there are several processes.

    Raises:
        NanopoetError: more processes than GPUs, or a device that they cannot share.
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
    """The rows of a batch that are this process's.

    Raises:
        NanopoetError: they cannot be dealt out evenly.
    """
    if batch_size % world_size():
        raise NanopoetError(
            f"params.yaml: pretrain.batch_size = {batch_size} is no multiple of the "
            f"{world_size()} processes that pretrain.torchrun starts; change one of the two"
        )
    size = batch_size // world_size()
    return slice(rank() * size, (rank() + 1) * size)


class Loss(nn.Module):
    """`LanguageModel.loss` as a module, which DDP wants."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, targets: Tensor) -> Tensor:
        """(B, T) ids and those that follow → mean loss in nats per token"""
        return self.model.loss(idx, targets)


def data_parallel(model: LanguageModel) -> nn.Module:
    """The loss of `model`; its gradients come out as the mean over all processes."""
    loss = Loss(model)
    if world_size() == 1:
        return loss
    with peers():
        ddp = DistributedDataParallel(loss, gradient_as_bucket_view=True)
    _kept.append(ddp)
    return ddp


@contextmanager
def exchange(loss: nn.Module, now: bool) -> Iterator[None]:
    """A context for the way forward and back of a micro-batch.

    Args:
        loss: what `data_parallel` made.
        now: whether the processes exchange gradients in it, as in the last of a step; else these
            add up in each.

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
    """Sum of a number over all processes."""
    if world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    with peers():
        dist.all_reduce(total)
    return total.item()


def broadcast(raw: bytes) -> bytes:
    """The bytes that process 0 gave; those of the others do not matter."""
    box = [raw if rank() == 0 else None]
    if world_size() > 1:
        with peers():
            dist.broadcast_object_list(box, _lead)
    assert box[0] is not None
    return box[0]


@contextmanager
def peers() -> Iterator[None]:
    """What may fail in here because of another process is named as such.

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
            f"({_first_line(error)}); run again, it goes on from the last checkpoint"
        ) from None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
