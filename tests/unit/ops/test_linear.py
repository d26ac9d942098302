from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Barrier, Thread

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nanopoet.ops import linear
from nanopoet.ops.linear import Linear, packed

HERE = linear.CAN_PACK
needs_one_dnn = pytest.mark.skipif(not HERE[torch.float32], reason="oneDNN is not here")


@pytest.fixture(
    params=[
        (True, HERE, linear.MIN_WEIGHTS_FOR_ONE_ROW),
        (False, HERE, linear.MIN_WEIGHTS_FOR_ONE_ROW),
        (False, HERE, 1),
        (False, {}, 1),
    ],
    ids=["AMX", "without AMX", "without AMX, large", "without oneDNN"],
    autouse=True,
)
def cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try each test as on several CPUs."""
    amx, can_pack, weights = request.param
    monkeypatch.setattr(linear, "HAS_AMX", amx)
    monkeypatch.setattr(linear, "CAN_PACK", can_pack)
    monkeypatch.setattr(linear, "MIN_WEIGHTS_FOR_ONE_ROW", weights)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (3, 4), (0,), (1, 1)])
def test_packed_or_not_it_is_torch_s(
    shape: tuple[int, ...], bias: bool, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    layer = Linear(16, 24, bias=bias)
    x = torch.randn(*shape, 16)
    expected = F.linear(x, layer.weight, layer.bias).detach()
    with mode():
        plain = layer(x)
        with packed(layer):
            y = layer(x)
    assert y.shape == (*shape, 24)
    for found in (plain, y):
        torch.testing.assert_close(found.detach().clone(), expected)


@pytest.mark.parametrize("rows", [1, 3])
def test_it_is_torch_s_under_autocast(rows: int) -> None:
    layer, x = Linear(16, 24), torch.randn(rows, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), packed(layer):
        y, plain = layer(x), F.linear(x, layer.weight, layer.bias)
    assert y.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(y, plain)


@torch.no_grad()
def test_one_block_serves_both_precisions() -> None:
    layer, x = Linear(16, 24), torch.randn(3, 16)
    with packed(layer):
        before = layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        assert torch.equal(layer(x), before)


@torch.no_grad()
def test_a_row_may_lie_anywhere() -> None:
    layer, x = Linear(16, 24), torch.randn(16, 3)
    with packed(layer):
        for rows in (x.t(), x.t()[1:2]):
            expected = F.linear(rows.contiguous(), *layer.parameters())
            torch.testing.assert_close(layer(rows), expected)


@torch.no_grad()
def test_it_takes_other_dtypes() -> None:
    layer, x = Linear(16, 24).double(), torch.randn(3, 16, dtype=torch.float64)
    with packed(layer):
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
def test_the_next_block_sees_changed_weights(rows: int, change: Callable[[Linear], None]) -> None:
    layer, x = Linear(16, 24), torch.randn(rows, 16)
    with packed(layer):
        before: Tensor = layer(x)
    change(layer)
    expected = F.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), expected)
    with packed(layer):
        after = layer(x)
    torch.testing.assert_close(after, expected)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("rows", [1, 3])
def test_training_never_reads_packed_weights(rows: int) -> None:
    """A forward pass with gradients sees changed weights even inside a block."""
    layer = Linear(16, 24)
    x = torch.randn(rows, 16, requires_grad=True)
    y = torch.randn(rows, 24)
    with packed(layer):
        with torch.no_grad():
            layer(x)
        _step(layer)
        out = layer(x)
    expected = F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(out, expected)
    ours = torch.autograd.grad((out * y).sum(), [x, layer.weight, layer.bias])
    theirs = torch.autograd.grad((expected * y).sum(), [x, layer.weight, layer.bias])
    torch.testing.assert_close(ours, theirs)


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Make every CPU pack, and return the list of weights that have been packed."""
    found: list[Tensor] = []
    pack = torch.ops.mkldnn._reorder_linear_weight

    def count(weight: Tensor) -> Tensor:
        found.append(weight)
        packed_weight: Tensor = pack(weight)
        return packed_weight

    monkeypatch.setattr(linear, "CAN_PACK", HERE)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", count)
    return found


@needs_one_dnn
@torch.no_grad()
def test_weights_are_packed_once_in_nested_blocks(packings: list[Tensor]) -> None:
    model, x = nn.Sequential(Linear(16, 24), nn.GELU(), Linear(24, 16)), torch.randn(3, 16)
    model(x)
    assert not packings
    with packed(model):
        for _ in range(3):
            with packed(model):
                model(x)
        assert len(packings) == 2
    model(x)
    assert len(packings) == 2
    with packed(model):
        model(x)
    assert len(packings) == 4


@needs_one_dnn
@torch.no_grad()
def test_blocks_may_overlap(packings: list[Tensor]) -> None:
    """The first of two generators may end while the second one goes on."""
    layer, x = Linear(16, 24), torch.randn(3, 16)
    first, second = packed(layer), packed(layer)
    first.__enter__()
    second.__enter__()
    layer(x)
    first.__exit__(None, None, None)
    layer(x)
    assert len(packings) == 1
    second.__exit__(None, None, None)
    layer(x)
    assert len(packings) == 1
    with packed(layer):
        layer(x)
    assert len(packings) == 2


@needs_one_dnn
@torch.no_grad()
def test_an_error_ends_the_block(packings: list[Tensor]) -> None:
    layer, x = Linear(16, 24), torch.randn(3, 16)
    with pytest.raises(ZeroDivisionError), packed(layer):
        layer(x)
        raise ZeroDivisionError
    _step(layer)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert len(packings) == 1


def test_threads_may_share_a_layer() -> None:
    layer, x = Linear(16, 24), torch.randn(3, 16)
    expected = F.linear(x, layer.weight, layer.bias).detach()
    barrier, errors = Barrier(4), []

    @torch.no_grad()
    def work() -> None:
        barrier.wait()
        for _ in range(200):
            with packed(layer):
                if not torch.allclose(layer(x), expected, atol=1e-5):
                    errors.append("other numbers")

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with torch.no_grad():
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
