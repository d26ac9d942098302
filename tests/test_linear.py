import pytest
import torch

from nanopoet.linear import FEW_ROWS, Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (3, 4), (FEW_ROWS + 1,)])
def test_it_is_torch_s(shape: tuple[int, ...], bias: bool) -> None:
    layer = Linear(16, 24, bias=bias)
    x = torch.randn(*shape, 16)
    y = layer(x)
    assert y.shape == (*shape, 24)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("rows", [1, 3])
def test_few_rows_have_their_gradient(rows: int) -> None:
    layer = Linear(16, 24)
    x = torch.randn(rows, 16, requires_grad=True)
    y = torch.randn(rows, 24)
    ours = torch.autograd.grad((layer(x) * y).sum(), [x, layer.weight, layer.bias])
    plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
    theirs = torch.autograd.grad((plain * y).sum(), [x, layer.weight, layer.bias])
    torch.testing.assert_close(ours, theirs)
