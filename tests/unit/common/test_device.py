import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from nanopoet.common.device import choose_compile, choose_device, choose_precision, describe
from nanopoet.common.errors import NanopoetError
from tests.support.project import ROOT

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
LONG = 1e16


def _working_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the compiler by one that works and takes no time."""
    monkeypatch.setattr(torch, "compile", lambda function: function)


def _with(monkeypatch: pytest.MonkeyPatch, *, compiler: bool) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if compiler else None)


@pytest.mark.parametrize(
    ("device", "work", "compiler", "chosen", "why"),
    [
        (CPU, LONG, True, True, "long enough"),
        (CPU, 1e9, True, False, "too short"),
        (CPU, LONG, False, False, "no C++ compiler here: install"),
        (MPS, LONG, True, False, "not tried on mps"),
    ],
)
def test_the_compiler_works_where_it_is_and_pays(
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
    work: float,
    compiler: bool,
    chosen: bool,
    why: str,
) -> None:
    _with(monkeypatch, compiler=compiler)
    _working_compiler(monkeypatch)
    found, reason = choose_compile("auto", device, work)
    assert found is chosen
    assert why in reason


@pytest.mark.process
def test_a_compiler_that_fails_is_not_used(tmp_path: Path) -> None:
    script = "import torch; from nanopoet.common.device import choose_compile; "
    script += "print(choose_compile('auto', torch.device('cpu'), 1e16))"
    broken = shutil.which("false")
    assert broken is not None
    environment = os.environ | {"CXX": broken, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(False, ")
    assert "the compiler fails here: " in done.stdout


@pytest.mark.parametrize("wanted", ["on", "off"])
def test_a_choice_other_than_auto_is_kept(wanted: Literal["on", "off"]) -> None:
    assert choose_compile(wanted, CPU, 0) == (wanted == "on", "as asked")
    assert choose_precision("fp32", CPU) == ("fp32", "as asked")
    assert choose_precision("bf16", MPS) == ("bf16", "as asked")


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_bf16_is_for_hardware_that_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    chosen, why = choose_precision("auto", CPU)
    assert chosen == precision
    assert ("does not" in why) == (precision == "fp32")
    assert choose_precision("auto", MPS) == ("fp32", "bf16 is not tried on mps")


def test_auto_takes_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(NanopoetError, match="device = 'mps' is not on this machine"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == MPS
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == CUDA


def test_a_device_is_described() -> None:
    assert describe(CPU) == f"cpu with {torch.get_num_threads()} threads"
    assert describe(MPS) == "mps"
