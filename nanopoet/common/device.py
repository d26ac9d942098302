"""Choice of the device, the precision and torch's compiler by documented rules."""

import ctypes
import os
import shutil
import sys
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Literal

import torch

from nanopoet.common.errors import NanopoetError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Numbers of two options in malloc.h of glibc."""

_WORK_THAT_PAYS = {"cpu": 3e12, "cuda": 2e14}
"""Parameters times training tokens from which on compiling saves time, for two CPU cores and for a
GPU. Compiling takes 10 and 20 seconds there (first step of `python -m bench`)."""

Precision = Literal["fp32", "bf16"]
"""Precision of matmuls."""


def choose_device(
    wanted: Literal["auto", "cpu", "cuda", "mps"], parameter: str = "params.yaml: pretrain.device"
) -> torch.device:
    """Return the wanted device; `auto` is the first of cuda, mps and cpu that this machine has.

    Args:
        wanted: its type.
        parameter: which says so, for an error.

    Raises:
        NanopoetError: this machine, or this build of torch, lacks the wanted device.
    """
    here = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, present in here.items() if present))
    if not here[wanted]:
        present = ", ".join(name for name, present in here.items() if present)
        raise NanopoetError(
            f"{parameter} = {wanted!r} is not on this machine (torch "
            f"{torch.__version__} sees: {present}); set one of these or auto"
        )
    return torch.device(wanted)


def choose_precision(
    wanted: Literal["auto", "fp32", "bf16"], device: torch.device
) -> tuple[Precision, str]:
    """Return the precision of matmuls and the reason for it.

    `auto` is bf16 if the hardware has instructions for it. A CPU without them emulates bf16, many
    times slower than fp32.
    """
    if wanted != "auto":
        return wanted, "as asked"
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        has = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        return "fp32", f"bf16 is not tried on {device.type}"
    if has:
        return "bf16", "the hardware multiplies it"
    return "fp32", "the hardware does not multiply bf16"


def choose_compile(
    wanted: Literal["auto", "on", "off"], device: torch.device, work: float
) -> tuple[bool, str]:
    """Return whether to compile the training step, and the reason.

    `auto` compiles if the compiler works here and the training is long enough: compiling takes some
    ten seconds, and then saves a fifth of the time or more. The compiler needs a C++ compiler for a
    CPU, and Triton for CUDA.

    Args:
        wanted: the parameter `pretrain.compile`.
        device: the device to train on.
        work: number of parameters times training tokens.
    """
    if wanted != "auto":
        return wanted == "on", "as asked"
    if device.type not in _WORK_THAT_PAYS:
        return False, f"the compiler is not tried on {device.type}"
    if device.type == "cpu" and not _has_cpp_compiler():
        return False, "no C++ compiler here: install g++ for a fifth less time"
    if device.type == "cuda" and find_spec("triton") is None:
        return False, "no Triton here"
    if work < _WORK_THAT_PAYS[device.type]:
        return False, "too short a training for it to pay"
    try:
        torch.compile(torch.neg)(torch.ones(8, device=device))
    except (RuntimeError, OSError) as error:
        return False, f"the compiler fails here: {str(error).strip().splitlines()[0]}"
    return True, "the training is long enough for it to pay"


def _has_cpp_compiler() -> bool:
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    return any(shutil.which(name) for name in names)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return a context in which matmuls run in `precision`; weights stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def keep_freed_memory() -> None:
    """Let this process keep the memory of large freed tensors for the next ones.

    By default glibc returns blocks above 32 MB to the system at once, and the next tensor of that
    size has to wait for new pages. Without glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl lacks it
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def describe(device: torch.device) -> str:
    """Describe the device in words, as `cpu with 2 threads`."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"cpu with {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
