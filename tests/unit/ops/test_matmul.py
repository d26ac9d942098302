import pytest
import torch
import torch.nn.functional as F

from nanopoet.ops import matmul
from nanopoet.ops.matmul import linear, product


@pytest.fixture(params=[True, False], ids=["oneDNN where it is there", "without oneDNN"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "HAS_ONE_DNN", matmul.HAS_ONE_DNN and request.param)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_product_is_that_of_torch(dtype: torch.dtype, turned: tuple[bool, bool]) -> None:
    a, b = torch.randn(5, 7, dtype=dtype), torch.randn(3, 7, dtype=dtype)
    exact = a.double() @ b.double().t()
    one, other = (
        x.t().contiguous().t() if turn else x for x, turn in zip((a, b), turned, strict=True)
    )
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(product(one, other).double(), exact, atol=tolerance, rtol=tolerance)


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("compiled", [False, True])
def test_linear_has_the_gradients_of_torch(compiled: bool) -> None:
    x, weight = torch.randn(2, 5, 7), torch.randn(3, 7)
    way = torch.compile(linear, dynamic=False) if compiled else linear
    found, wanted = (
        (y, *torch.autograd.grad((y**2).sum(), inputs))
        for of in (way, F.linear)
        for inputs in [[x.clone().requires_grad_(), weight.clone().requires_grad_()]]
        for y in [of(*inputs)]
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
