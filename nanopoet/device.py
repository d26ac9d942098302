"""Where to compute and in which precision, chosen by documented rules."""

import ctypes
import sys
from contextlib import AbstractContextManager
from typing import Literal

import torch

from nanopoet.errors import NanopoetError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Numbers of two options in glibc's malloc.h."""

Precision = Literal["fp32", "bf16"]


def choose_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The wanted device; `auto` is the first of cuda, mps and cpu that this machine has.

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
            f"params.yaml: device = {wanted!r} is not on this machine (torch "
            f"{torch.__version__} sees: {present}); set one of these or auto"
        )
    return torch.device(wanted)


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """The wanted precision; `auto` is bf16 where the hardware multiplies it, else fp32.

    A CPU without the instruction emulates bf16, many times slower than fp32.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return "bf16" if has.get("avx512_bf16") or has.get("amx_bf16") else "fp32"
    return "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context in which matrix products run in `precision`; weights stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def keep_freed_memory() -> None:
    """Let this process reuse the memory of large freed tensors instead of handing it back.

    By default glibc returns blocks above 32 MB to the system at once, and the next
    tensor of that size pays for fresh pages. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
