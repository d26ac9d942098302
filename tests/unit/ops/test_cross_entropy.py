import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nanopoet.ops import cross_entropy
from nanopoet.ops.cross_entropy import (
    linear_cross_entropy,
    softmax_gradient,
    token_cross_entropy,
)
from nanopoet.ops.second_loss import SecondRows
from tests.support.second_rows import right_tokens


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rows", [7, 1024, 2500])
def test_it_is_the_cross_entropy_and_its_gradient(
    monkeypatch: pytest.MonkeyPatch, with_bias: bool, rows: int, multiple: int
) -> None:
    """This holds for several parts of unequal size, and for a padded vocabulary too."""
    monkeypatch.setattr(cross_entropy, "logits_multiple", lambda _: multiple)
    torch.manual_seed(0)
    x = torch.randn(rows, 5, requires_grad=True)
    weight = torch.randn(11, 5, requires_grad=True)
    bias = torch.randn(11, requires_grad=True) if with_bias else None
    targets = torch.randint(11, (rows,))
    plain = F.cross_entropy(F.linear(x, weight, bias), targets)
    ours = linear_cross_entropy(x, weight, bias, targets)
    torch.testing.assert_close(ours, plain)
    leaves = [x, weight] + ([] if bias is None else [bias])
    expected = torch.autograd.grad(2 * plain, leaves)
    for found, wanted in zip(torch.autograd.grad(2 * ours, leaves), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    each = token_cross_entropy(x, lambda part: F.linear(part, weight, bias), targets)
    torch.testing.assert_close(each.mean(), plain)


def test_under_autocast_the_loss_is_fp32_and_close() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(64, 32), torch.randn(100, 32, requires_grad=True)
    targets = torch.randint(100, (64,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(x, weight, None, targets)
    assert found.dtype == torch.float32
    expected = F.cross_entropy(F.linear(x, weight), targets)
    assert found.item() == pytest.approx(expected.item(), rel=5e-3)
    torch.autograd.backward(found)
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


def test_large_logits_do_not_overflow() -> None:
    logits, targets, scale = torch.tensor([[1e4, -1e4]]), torch.tensor([1]), torch.ones(1, 1)
    losses, gradient = softmax_gradient(logits, targets, scale)
    assert losses.tolist() == [2e4]
    assert gradient.tolist() == [[1.0, -1.0]]


def test_a_row_without_a_target_has_no_loss_and_no_gradient() -> None:
    x, weight = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    targets = torch.tensor([3, 1, 8, 1, 0, 1])
    loss = linear_cross_entropy(x, weight, None, targets, no_target=1)
    counts = targets != 1
    expected = torch.nn.functional.cross_entropy((x @ weight.t())[counts], targets[counts]) / 2
    assert loss.item() == pytest.approx(expected.item())
    [gradient] = torch.autograd.grad(loss, x)
    assert (gradient[~counts] == 0).all()
    assert torch.allclose(gradient, torch.autograd.grad(expected, x)[0], atol=1e-6)


def test_the_logits_of_all_rows_never_exist_at_once() -> None:
    parts = [part.stop - part.start for part in cross_entropy.row_parts(torch.empty(5000, 1))]
    assert max(parts) == 1024


def _random_rows(targets: Tensor, weights: Tensor, listed: bool) -> SecondRows:
    """Ask for random members that have the target, or for random others that have it.

    With `listed`, some ids are listed twice, but are members once.
    """
    inside = torch.rand(len(targets)) < 0.5
    members = (torch.rand(len(targets), 9) < 0.5).scatter_(1, targets[:, None], inside[:, None])
    if not listed:
        return SecondRows(None, members, inside, weights)
    tokens = torch.stack([torch.randperm(9) for _ in targets])
    members = members.gather(1, tokens)
    tokens = torch.cat([tokens, tokens[:, :4]], dim=1)
    members = torch.cat([members, torch.zeros(len(targets), 4, dtype=torch.bool)], dim=1)
    return SecondRows(tokens, members, inside, weights)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("listed", [False, True])
def test_a_second_loss_asks_for_the_right_tokens_at_its_places(
    monkeypatch: pytest.MonkeyPatch, multiple: int, share: float, listed: bool
) -> None:
    """All places, some, or none; in several parts of the batch."""
    monkeypatch.setattr(cross_entropy, "logits_multiple", lambda _: multiple)
    monkeypatch.setattr(cross_entropy, "row_parts", lambda _: (slice(0, 30), slice(30, 60)))
    torch.manual_seed(0)
    x, weight = torch.randn(40, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    targets, weights = torch.randint(9, (40,)), torch.rand(40)
    rows = _random_rows(targets, weights, listed)
    right = right_tokens(rows, 9)
    if share < 1:
        at = (torch.rand(40) < share).nonzero()[:, 0]
        tokens = None if rows.tokens is None else rows.tokens[at]
        rows = SecondRows(tokens, rows.members[at], rows.inside[at], rows.weights[at], at)
        weights = torch.zeros(40).scatter_(0, at, weights[at])
    value = linear_cross_entropy(x, weight, None, targets, no_target=1, second_rows=[rows])
    p = (x @ weight.t()).softmax(dim=1)
    counts = targets != 1
    plain = -(p.gather(1, targets[:, None])[:, 0].log() * counts).sum() / 40
    assert value.item() == pytest.approx(plain.item())
    both = plain - ((p * right).sum(dim=1).log() * weights * counts).sum() / 40
    for found, wanted in zip(
        torch.autograd.grad(value, [x, weight]), torch.autograd.grad(both, [x, weight]), strict=True
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("listed", [False, True])
def test_second_losses_add_up(listed: bool) -> None:
    torch.manual_seed(0)
    x, targets, scale = torch.randn(6, 9), torch.arange(6), torch.ones(6, 1)
    rows = _random_rows(targets, torch.ones(6), listed)
    one, two, together = (rows._replace(weights=torch.full((6,), w)) for w in (1.0, 2.0, 3.0))
    _, found = softmax_gradient(x, targets, scale, [one, two])
    _, wanted = softmax_gradient(x, targets, scale, [together])
    torch.testing.assert_close(found, wanted)


def test_a_second_loss_is_finite_where_what_is_right_is_all_but_impossible() -> None:
    logits, targets, scale = torch.tensor([[1e4, -1e4]]), torch.tensor([1]), torch.ones(1, 1)
    weights = torch.tensor([4.0])
    for inside in (True, False):
        members = torch.tensor([[not inside, inside]])
        rows = SecondRows(None, members, torch.tensor([inside]), weights)
        _, gradient = softmax_gradient(logits, targets, scale, [rows])
        assert gradient.isfinite().all()
        assert gradient[0, 1] == -1


def test_what_is_wanted_instead_of_the_targets_decides_the_gradient_and_not_the_value() -> None:
    """The gradient is that of the divergence, as autograd computes it."""
    torch.manual_seed(0)
    x, weight = torch.randn(40, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    targets, wanted = torch.randint(9, (40,)), torch.randn(40, 9)
    filled = wanted.masked_fill(targets[:, None] == 1, float("nan"))  # which is not read
    value = linear_cross_entropy(x, weight, None, targets, no_target=1, wanted=filled)
    own, counts = (x @ weight.t()).log_softmax(dim=1), (targets != 1).float()
    losses = F.nll_loss(own, targets, reduction="none") * counts
    assert value.item() == pytest.approx(losses.mean().item())
    gap = own - wanted.log_softmax(dim=1)
    divergence = ((own.exp() * gap).sum(dim=1) * counts).mean()
    for found, expected in zip(
        torch.autograd.grad(value, [x, weight]),
        torch.autograd.grad(divergence, [x, weight]),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("multiple", [1, 8])
def test_a_model_that_is_as_wanted_stays(monkeypatch: pytest.MonkeyPatch, multiple: int) -> None:
    monkeypatch.setattr(cross_entropy, "logits_multiple", lambda _: multiple)
    torch.manual_seed(0)
    x, weight = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4)
    wanted = (x @ weight.t()).detach() + 3.0
    loss = linear_cross_entropy(x, weight, None, torch.arange(6), wanted=wanted)
    [gradient] = torch.autograd.grad(loss, x)
    torch.testing.assert_close(gradient, torch.zeros_like(x))


def test_a_layer_that_is_not_trained_gets_no_gradient() -> None:
    x, weight = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4)
    loss = linear_cross_entropy(x, weight, None, torch.arange(6))
    torch.autograd.backward(loss)
    assert x.grad is not None
    assert weight.grad is None
