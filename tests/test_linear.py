import pytest
import torch

from nanopoet import linear
from nanopoet.linear import Linear


@pytest.fixture(params=[True, False], autouse=True)
def amx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU with AMX and on one without."""
    monkeypatch.setattr(linear, "AMX", request.param)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (3, 4)])
@pytest.mark.parametrize("columns", [24, linear.MANY_COLUMNS])
def test_it_is_torch_s(shape: tuple[int, ...], bias: bool, columns: int) -> None:
    layer = Linear(16, columns, bias=bias)
    x = torch.randn(*shape, 16)
    y = layer(x)
    assert y.shape == (*shape, columns)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("columns", [24, linear.MANY_COLUMNS])
def test_it_has_torch_s_gradient(rows: int, columns: int) -> None:
    layer = Linear(16, columns)
    x = torch.randn(rows, 16, requires_grad=True)
    y = torch.randn(rows, columns)
    ours = torch.autograd.grad((layer(x) * y).sum(), [x, layer.weight, layer.bias])
    plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
    theirs = torch.autograd.grad((plain * y).sum(), [x, layer.weight, layer.bias])
    torch.testing.assert_close(ours, theirs)
