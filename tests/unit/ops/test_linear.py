from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.ops import linear
from nanopoet.ops.linear import Linear

HERE = linear.PACKS


@pytest.fixture(
    params=[
        (True, HERE, linear.LARGE),
        (False, HERE, linear.LARGE),
        (False, HERE, 1),
        (False, {}, 1),
    ],
    ids=["AMX", "before AMX", "before AMX, large", "without oneDNN"],
    autouse=True,
)
def cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on several CPUs."""
    amx, packs, large = request.param
    monkeypatch.setattr(linear, "AMX", amx)
    monkeypatch.setattr(linear, "PACKS", packs)
    monkeypatch.setattr(linear, "LARGE", large)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (3, 4), (0,), (1, 1)])
def test_it_is_torch_s(
    shape: tuple[int, ...], bias: bool, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    layer = Linear(16, 24, bias=bias)
    x = torch.randn(*shape, 16)
    with mode():
        y = layer(x)
    assert y.shape == (*shape, 24)
    torch.testing.assert_close(
        y.detach().clone(), F.linear(x, layer.weight, layer.bias).detach().clone()
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_it_is_torch_s_under_autocast(rows: int) -> None:
    layer, x = Linear(16, 24), torch.randn(rows, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        y, plain = layer(x), F.linear(x, layer.weight, layer.bias)
    assert y.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(y, plain)


@torch.no_grad()
def test_a_row_may_lie_anywhere() -> None:
    layer, x = Linear(16, 24), torch.randn(16, 3)
    for rows in (x.t(), x.t()[1:2]):
        torch.testing.assert_close(layer(rows), F.linear(rows.contiguous(), *layer.parameters()))


@torch.no_grad()
def test_it_takes_other_dtypes() -> None:
    layer, x = Linear(16, 24).double(), torch.randn(3, 16, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def _step(layer: Linear) -> None:
    for parameter in layer.parameters():
        parameter.grad = torch.randn_like(parameter)
    torch.optim.AdamW(layer.parameters(), lr=1.0, fused=True).step()


def _load(layer: Linear) -> None:
    layer.load_state_dict(Linear(16, 24).state_dict())


def _assign(layer: Linear) -> None:
    layer.load_state_dict(Linear(16, 24).state_dict(), assign=True)


def _convert(layer: Linear) -> None:
    layer.bfloat16().float()


@torch.no_grad()
@pytest.mark.parametrize("change", [_step, _load, _assign, _convert])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_change_of_the_weights_counts_at_once(
    rows: int, change: Callable[[Linear], None]
) -> None:
    layer, x = Linear(16, 24), torch.randn(rows, 16)
    before: Tensor = layer(x)
    change(layer)
    after = layer(x)
    torch.testing.assert_close(after, F.linear(x, layer.weight, layer.bias))
    assert not torch.equal(before, after)


@pytest.mark.parametrize("rows", [1, 3])
def test_it_has_torch_s_gradient(rows: int) -> None:
    layer = Linear(16, 24)
    x = torch.randn(rows, 16, requires_grad=True)
    y = torch.randn(rows, 24)
    ours = torch.autograd.grad((layer(x) * y).sum(), [x, layer.weight, layer.bias])
    theirs = torch.autograd.grad(
        (F.linear(x, layer.weight, layer.bias) * y).sum(), [x, layer.weight, layer.bias]
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(not HERE[torch.float32], reason="oneDNN is not here")
@torch.no_grad()
def test_weights_are_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "PACKS", HERE)
    layer, x = Linear(16, 24), torch.randn(3, 16)
    layer(x)
    packed = layer._packed
    assert packed is not None
    layer(x)
    assert layer._packed is packed
