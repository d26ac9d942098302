"""Values, machines and tables as pages write them, in English and Chinese."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nanopoet.common.device import choose_device

_UNITS: tuple[tuple[float, int, str, tuple[str, str]], ...] = (
    (100, 1, "{:.0f}", ("seconds", "秒")),
    (7200, 60, "{:.0f}", ("minutes", "分钟")),
    (float("inf"), 3600, "{:.1f}", ("hours", "小时")),
)
"""Seconds below which a unit is used, seconds in it, its number format, and its names."""


def format_value(value: Any, spec: str) -> str:
    """Write a value as text.

    Args:
        value: a number, a text, a machine, or None if there is none.
        spec: a format specification of Python, or `time` or `machine`, both also with `-zh`.

    Raises:
        ValueError: the value cannot be written so.
        TypeError: the value cannot be written so.
    """
    if value is None:
        return "–"
    name, _, language = spec.partition("-")
    chinese = language == "zh"
    if name == "time":
        return _time(value, chinese)
    if name == "machine":
        return _machine(value, chinese)
    if isinstance(value, dict):
        raise ValueError(f"not one value; choose one of {', '.join(value)}")
    return format(value, spec)


def _time(seconds: float, chinese: bool) -> str:
    for limit, unit, form, names in _UNITS:
        if seconds < limit:
            return f"{form.format(seconds / unit)} {names[chinese]}"
    raise ValueError("no time")


def _machine(machine: Mapping[str, Any], chinese: bool) -> str:
    if machine["device"] != "cpu":
        return str(machine["device"])
    cores, bf16 = machine["cores"], machine["bf16"]
    if chinese:
        return f"{cores} 核、{f'{bf16} bf16' if bf16 else '无 bf16'}"
    return f"{cores} cores {f'with {bf16} bf16' if bf16 else 'without bf16'}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table as Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def this_machine() -> dict[str, Any]:
    """Describe the processor that trains here, as far as it decides speed and rounding."""
    device = choose_device("auto")
    if device.type != "cpu":
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return {"device": name}
    has = torch.cpu.get_capabilities()
    kind = "AMX" if has.get("amx_bf16") else "AVX-512" if has.get("avx512_bf16") else None
    return {"device": "cpu", "cores": torch.get_num_threads(), "bf16": kind}
