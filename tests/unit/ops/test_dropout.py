import pytest
import torch

from nanopoet.ops.dropout import dropout


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(999, 1001)
    y = dropout(x, p)
    kept = y != 0
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=2e-3)
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - p)))
    for shift in (1, 2, 4):  # elements that share a random number are independent
        both = (kept[:, shift:] & kept[:, :-shift]).float().mean().item()
        assert both == pytest.approx((1 - p) ** 2, abs=4e-3)


def test_dropout_without_probability_draws_nothing() -> None:
    x = torch.randn(5)
    state = torch.get_rng_state()
    assert dropout(x, 0) is x
    assert torch.equal(torch.get_rng_state(), state)
